//! What a tensor's values are like, in two passes.

use crate::Cpu;
use crate::dtype::DType;
use crate::floats::Floats;
use crate::isa::{Arch, Job, dispatch};
use crate::parts::each;
use crate::real::{LANES, Real};
use crate::slice::Slice;

/// Number of results before the histogram: finite elements, others, zeros, mean, standard deviation, minimum, maximum.
pub const FIELDS: usize = 7;

/// Elements that one task takes.
const TASK: usize = 16 << 10;

/// Counts, mean, deviation (over n − 1), minimum and maximum of the finite elements of `src`, then a histogram of
/// `out.len() - FIELDS` equal bins from minimum to maximum, the last one closed; where both are the same, all are in the
/// first. What is undefined (the mean of nothing, the deviation of one) is NaN.
///
/// # Panics
/// When `src` is not of floats or `out` has no room for the fields.
pub fn statistics(cpu: &Cpu, src: Slice, out: &mut [f64]) {
    assert!(out.len() >= FIELDS);
    if src.dtype() == DType::F64 {
        of::<f64>(cpu, src.get(), out)
    } else {
        of::<f32>(cpu, Floats::new(cpu, src).get(), out)
    }
}

fn of<T: Real>(cpu: &Cpu, x: &[T], out: &mut [f64]) {
    let tasks = x.len().div_ceil(TASK);
    let mut firsts = vec![First::default(); tasks];
    each(&cpu.pool, tasks, (&mut firsts, 1), |i, first| first[0] = dispatch(cpu.isa, Extent(part(x, i))));
    let first = firsts.into_iter().fold(First::default(), First::join);
    let n = first.finite as f64;
    let (fields, bins) = out.split_at_mut(FIELDS);
    let mean = if first.finite == 0 { f64::NAN } else { first.sum / n };
    let (min, max) = if first.finite == 0 { (f64::NAN, f64::NAN) } else { (first.min, first.max) };
    let width = (max - min) / bins.len().max(1) as f64;
    let scale = if width > 0.0 && width.is_finite() { width.recip() } else { 0.0 };
    // The squares of each task, then its counts.
    let stride = 1 + bins.len();
    let mut seconds = vec![0.0; tasks * stride];
    each(&cpu.pool, tasks, (&mut seconds, stride), |i, out| {
        dispatch(cpu.isa, Spread { x: part(x, i), mean, min, scale, out });
    });
    bins.fill(0.0);
    let mut squares = 0.0;
    for second in seconds.chunks_exact(stride) {
        squares += second[0];
        bins.iter_mut().zip(&second[1..]).for_each(|(bin, count)| *bin += count);
    }
    let deviation = if first.finite < 2 { f64::NAN } else { (squares / (n - 1.0)).sqrt() };
    fields.copy_from_slice(&[n, first.others as f64, first.zeros as f64, mean, deviation, min, max]);
}

fn part<T>(x: &[T], i: usize) -> &[T] {
    &x[i * TASK..x.len().min((i + 1) * TASK)]
}

/// Of the first pass.
#[derive(Clone, Copy)]
struct First {
    finite: u64,
    others: u64,
    zeros: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Default for First {
    fn default() -> First {
        First { finite: 0, others: 0, zeros: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl First {
    fn join(self, other: First) -> First {
        First {
            finite: self.finite + other.finite,
            others: self.others + other.others,
            zeros: self.zeros + other.zeros,
            sum: self.sum + other.sum,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

struct Extent<'a, T>(&'a [T]);

impl<T: Real> Job for Extent<'_, T> {
    type Out = First;

    #[inline(always)]
    fn run<A: Arch>(self) -> First {
        let zero = T::default();
        let infinity = T::from_f64(f64::INFINITY);
        let (mut sum, mut min, mut max) = ([0.0f64; LANES], [infinity; LANES], [T::NEG_INFINITY; LANES]);
        let (mut finite, mut zeros) = ([0u32; LANES], [0u32; LANES]);
        let mut lane = |l: usize, v: T| {
            // What is not finite gives NaN here.
            let ok = v * zero == zero;
            sum[l] += if ok { v.as_f64() } else { 0.0 };
            let (low, high) = (if ok { v } else { infinity }, if ok { v } else { T::NEG_INFINITY });
            min[l] = if low < min[l] { low } else { min[l] };
            max[l] = if high > max[l] { high } else { max[l] };
            finite[l] += u32::from(ok);
            zeros[l] += u32::from(v == zero);
        };
        let chunks = self.0.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            (0..LANES).for_each(|l| lane(l, chunk[l]));
        }
        rest.iter().enumerate().for_each(|(l, &v)| lane(l, v));
        let finite: u64 = finite.iter().map(|&n| u64::from(n)).sum();
        First {
            finite,
            others: self.0.len() as u64 - finite,
            zeros: zeros.iter().map(|&n| u64::from(n)).sum(),
            sum: sum.iter().sum(),
            min: min.iter().fold(f64::INFINITY, |m, v| m.min(v.as_f64())),
            max: max.iter().fold(f64::NEG_INFINITY, |m, v| m.max(v.as_f64())),
        }
    }
}

/// The second pass: Σ (x − mean)², then how many are in each bin.
struct Spread<'a, T> {
    x: &'a [T],
    mean: f64,
    min: f64,
    scale: f64,
    out: &'a mut [f64],
}

/// Bins of equal elements that follow each other are counted in tables of their own: a count need not wait for the
/// last one to be stored.
const TABLES: usize = 4;

impl<T: Real> Job for Spread<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Spread { x, mean, min, scale, out } = self;
        let bins = out.len() - 1;
        let (zero, last) = (T::default(), bins.saturating_sub(1) as f64);
        // One bin more takes what is not finite.
        let mut tables = vec![0u32; TABLES * (bins + 1)];
        let mut squares = [0.0f64; LANES];
        let mut place = [0u32; LANES];
        let mut piece = [zero; LANES];
        for chunk in x.chunks(LANES) {
            piece[..chunk.len()].copy_from_slice(chunk);
            for l in 0..LANES {
                let v = piece[l];
                let ok = (v * zero == zero) & (l < chunk.len());
                let d = if ok { v.as_f64() - mean } else { 0.0 };
                squares[l] += d * d;
                let at = (v.as_f64() - min) * scale;
                let at = if at < last { at } else { last };
                // Finite elements lie from 0 to `last`; others are sent to the extra bin.
                place[l] = if ok { at as i32 as u32 } else { bins as u32 };
            }
            for l in 0..chunk.len() {
                tables[(l % TABLES) * (bins + 1) + place[l] as usize] += 1;
            }
        }
        out[0] = squares.iter().sum();
        for (bin, count) in out[1..].iter_mut().enumerate() {
            *count = (0..TABLES).map(|t| f64::from(tables[t * (bins + 1) + bin])).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    /// The definition, one element at a time.
    fn plain(x: &[f64], bins: usize) -> Vec<f64> {
        let finite: Vec<f64> = x.iter().copied().filter(|v| v.is_finite()).collect();
        let n = finite.len() as f64;
        let mean = finite.iter().sum::<f64>() / n;
        let deviation = (finite.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let deviation = if finite.len() < 2 { f64::NAN } else { deviation };
        let min = finite.iter().copied().fold(f64::NAN, f64::min);
        let max = finite.iter().copied().fold(f64::NAN, f64::max);
        let mut counts = vec![0.0; bins];
        for v in &finite {
            let at = if max > min { (v - min) / (max - min) * bins as f64 } else { 0.0 };
            counts[(at as usize).min(bins - 1)] += 1.0;
        }
        let zeros = finite.iter().filter(|v| **v == 0.0).count() as f64;
        [n, x.len() as f64 - n, zeros, mean, deviation, min, max].into_iter().chain(counts).collect()
    }

    #[test]
    fn they_are_those_of_the_definition_on_every_instruction_set_and_thread() {
        let nan = f64::NAN;
        let ramp: Vec<f64> = (0..40_000).map(|i| f64::from((i * 7919 + 3) % 1021) / 8.0 - 50.0).collect();
        let mut holes = ramp.clone();
        holes.iter_mut().step_by(37).for_each(|v| *v = f64::INFINITY);
        holes.iter_mut().step_by(41).for_each(|v| *v = nan);
        let rows: [&[f64]; 8] =
            [&ramp, &holes, &[], &[2.5], &[3.0, 3.0, 3.0], &[nan, -f64::INFINITY], &[0.0, -0.0, 1.0], &ramp[..77]];
        for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
            for threads in [1, 3] {
                let cpu = Cpu::new(Some(isa), threads);
                for x in rows {
                    let mut out = vec![0.0; FIELDS + 7];
                    statistics(&cpu, Slice::of(x), &mut out);
                    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * b.abs() || a.is_nan() && b.is_nan();
                    let wanted = plain(x, 7);
                    assert!(out.iter().zip(&wanted).all(close), "{out:?} {wanted:?}");
                    let halves: Vec<f32> = x.iter().map(|&v| v as f32).collect();
                    statistics(&cpu, Slice::of(&halves[..]), &mut out);
                    assert!(out.iter().zip(&wanted).all(close), "f32 {out:?} {wanted:?}");
                }
            }
        }
    }
}
