//! Elements around a tensor: constant ones, or its own again.

use limpid_kernels::Number;

use crate::error::{Error, Result};
use crate::op::movement;
use crate::sugar::operators::Value;
use crate::sugar::shape::as_type;
use crate::tensor::Tensor;

/// What [`Tensor::pad_with`] puts around a, b, c.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A number: v v | a b c | v v.
    Constant(f64),
    /// The elements mirrored at the first and the last one: c b | a b c | b a.
    Reflect,
    /// The first and the last element again: a a | a b c | c c.
    Replicate,
    /// The elements again, as on a ring: b c | a b c | a b.
    Circular,
}

impl PadMode {
    /// Torch's word.
    pub fn name(self) -> &'static str {
        match self {
            PadMode::Constant(_) => "constant",
            PadMode::Reflect => "reflect",
            PadMode::Replicate => "replicate",
            PadMode::Circular => "circular",
        }
    }
}

/// The elements before and behind an axis; negative numbers cut off.
type Around = (isize, isize);

/// No size is larger, so that sums fit.
const LARGEST: usize = i32::MAX as usize;

impl Tensor {
    /// `sizes`: elements before and behind the last axis, then before and behind the one before it, and so on; negative
    /// numbers cut elements off. A mode other than `Constant` pads all axes behind the batch and the channels, or behind
    /// the channels. Torch's `pad`.
    ///
    /// ```
    /// use limpid_core::{PadMode, Tensor};
    /// let x = Tensor::from([[1.0f32, 2.0, 3.0]]);
    /// assert_eq!(x.pad_with(&[2, 1], PadMode::Reflect).to_vec::<f32>()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// assert_eq!(x.pad_with(&[1, -1], PadMode::Constant(9.0)).to_vec::<f32>()?, [9.0, 1.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: an odd number of sizes or too many, an axis that has too few elements for the mode, nothing left.
    #[track_caller]
    pub fn pad_with(&self, sizes: &[isize], mode: PadMode) -> Tensor {
        let pairs: Vec<Around> = sizes.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        if let Err(error) = self.check_pads(sizes, &pairs, mode) {
            let axes = (0..self.rank()).map(|i| {
                let (lo, hi) = pairs.get(self.rank() - 1 - i).copied().unwrap_or_default();
                self.shape()[i].saturating_add_signed(lo.saturating_add(hi)).min(LARGEST)
            });
            return Tensor::fail(error, &[self], axes.collect(), self.dtype());
        }
        let mut y = self.clone();
        for (i, &(lo, hi)) in pairs.iter().enumerate() {
            y = y.pad_axis(self.rank() - 1 - i, (lo, hi), mode);
        }
        y
    }

    fn check_pads(&self, sizes: &[isize], pairs: &[Around], mode: PadMode) -> Result<()> {
        let (shape, rank, count) = (self.shape(), self.rank(), pairs.len());
        let error = |what: String| Err(Error::new(format!("pad: {what}")));
        if sizes.len() % 2 == 1 {
            return error(format!("{sizes:?} are no pairs"))
                .map_err(|e| e.help("a number before and one behind each axis"));
        }
        let wrong_rank = match mode {
            PadMode::Constant(_) => count > rank,
            _ => !(1..=3).contains(&count) || !(count + 1..=count + 2).contains(&rank),
        };
        if wrong_rank {
            let help = match mode {
                PadMode::Constant(_) => format!("at most two numbers for each axis, {}", 2 * rank),
                _ => "two numbers for each axis behind [batch, channels] or [channels], of which there are 1 to 3"
                    .to_owned(),
            };
            let what = format!("{} numbers for {shape} in mode {}", sizes.len(), mode.name());
            return error(what).map_err(|e| e.help(help));
        }
        for (i, &(lo, hi)) in pairs.iter().enumerate() {
            let (axis, size) = (rank - 1 - i, shape[rank - 1 - i]);
            if lo.max(hi) > LARGEST as isize || lo.min(hi) < -(LARGEST as isize) {
                return error(format!("{lo} and {hi} around axis {axis} are too large"));
            }
            let (len, most) = (size as isize + lo + hi, lo.max(hi).max(0) as usize);
            let kept = size as isize + lo.min(0) + hi.min(0);
            let (few, limit) = match mode {
                PadMode::Constant(_) => (len < 0 || kept < 0, "0 or more elements are to be left"),
                PadMode::Reflect => (len < 1 || most >= size.max(1), "less than the axis has, and something left"),
                PadMode::Replicate => (len < 1 || size == 0, "something to repeat, and something left"),
                // What is cut off is not there to be repeated.
                PadMode::Circular => (kept < 1 || most as isize > kept, "at most what the axis has after cutting"),
            };
            if few && (lo, hi) != (0, 0) {
                let what = format!("{lo} and {hi} around axis {axis} of {shape} in mode {}", mode.name());
                return error(what).map_err(|e| e.help(limit));
            }
        }
        Ok(())
    }

    /// `around` has been checked.
    #[track_caller]
    fn pad_axis(&self, axis: usize, around: Around, mode: PadMode) -> Tensor {
        let (lo, hi) = around;
        if around == (0, 0) {
            return self.clone();
        }
        match mode {
            PadMode::Constant(value) => {
                let value = Value::Number(as_type(Number::Float(value), self.dtype()));
                self.pad(axis as isize, lo, hi, value)
            }
            PadMode::Circular => {
                let x = self.cut_axis(axis, (lo.min(0), hi.min(0)));
                x.surrounded(axis, (lo.max(0) as usize, hi.max(0) as usize), mode)
            }
            PadMode::Reflect | PadMode::Replicate => {
                let y = self.surrounded(axis, (lo.max(0) as usize, hi.max(0) as usize), mode);
                y.cut_axis(axis, (lo.min(0), hi.min(0)))
            }
        }
    }

    /// Without the first `-lo` and the last `-hi` elements; the numbers are 0 or negative.
    #[track_caller]
    fn cut_axis(&self, axis: usize, (lo, hi): Around) -> Tensor {
        let len = self.shape()[axis] - lo.unsigned_abs() - hi.unsigned_abs();
        movement::slice(self, axis, -lo as i64, 1, len)
    }

    /// With `lo` and `hi` elements more, made of its own.
    #[track_caller]
    fn surrounded(&self, axis: usize, (lo, hi): (usize, usize), mode: PadMode) -> Tensor {
        let size = self.shape()[axis];
        let mut parts: Vec<Tensor> = Vec::new();
        for (count, first) in [(lo, true), (hi, false)] {
            if count > 0 {
                let (start, step, len) = match (mode, first) {
                    (PadMode::Reflect, true) => (count, -1, count),
                    (PadMode::Reflect, false) => (size - 2, -1, count),
                    (PadMode::Circular, true) => (size - count, 1, count),
                    (PadMode::Circular, false) => (0, 1, count),
                    (_, true) => (0, 1, 1),
                    (_, false) => (size - 1, 1, 1),
                };
                let part = movement::slice(self, axis, start as i64, step, len);
                parts.push(movement::broadcast(&part, &self.shape().with(axis, count)));
            }
            if first {
                parts.push(self.clone());
            }
        }
        movement::concat(&parts.iter().collect::<Vec<_>>(), axis)
    }
}
