//! Reducing a kernel's result over the last dimensions of its index space.
//!
//! Where the inputs lie side by side along a reduced dimension, each row is folded in lanes. Where they lie
//! side by side along a kept one, the reduced dimensions are walked outside, and rows are added to rows.
//! Either way the work is cut into units by shape, so that no result depends on the number of threads.

use std::sync::atomic::{AtomicBool, Ordering};

use super::instr::ReduceFn;
use super::kernel::{Class, Kernel, TILE};
use super::lanes::{Cascade, Reduced, combine, fold_rows};
use super::plan::with_plan;
use super::tile::{Bound, Region, Scratch, with_scratch};
use super::walk::Axis;
use super::{Fault, Source, convert, lanes, ops, with_order};
use crate::Cpu;
use crate::dtype::{DType, Number};
use crate::slice::SliceMut;

/// Elements that one unit of work takes, about.
const UNIT: usize = 64 * TILE;
/// Rows that are added up one after the other, before partial sums are combined in pairs.
const BLOCK: usize = 16;
/// Shorter kept rows are taken several at a time, so that the loops over them are worth their start.
const WIDE: usize = 64;

/// `out[kept…]` = all elements over the last `reduced` dimensions of `dims`, combined; `out` is contiguous.
/// Sums of f16 and bf16 are f32, rounded once; integers wrap.
///
/// Panics as [`super::run`] does, and when the kernel has not one output, of the type of `out`.
pub fn reduce(
    cpu: &Cpu,
    kernel: &Kernel,
    f: ReduceFn,
    dims: &[usize],
    reduced: usize,
    inputs: &[Source],
    args: &[Number],
    out: SliceMut,
) -> Result<(), Fault> {
    assert!(args.len() >= kernel.args(), "{} arguments of {}", args.len(), kernel.args());
    assert!(kernel.outputs.len() == 1 && reduced <= dims.len(), "one output, {reduced} of {} dimensions", dims.len());
    let dtype = kernel.dtype(kernel.outputs[0]);
    assert_eq!(out.dtype(), dtype, "type of the output");
    let split = dims.len() - reduced;
    let kept: usize = dims[..split].iter().product();
    let length: usize = dims[split..].iter().product();
    assert_eq!(out.len(), kept, "elements of the output");
    let call = Call { cpu, kernel, f, dims, split, kept, length, inputs, args };
    match Class::of(dtype) {
        Class::F32 => call.run::<f32>(out),
        Class::F64 => call.run::<f64>(out),
        Class::I64 => call.run::<i64>(out),
    }
}

/// What a reduction was called with.
struct Call<'a> {
    cpu: &'a Cpu,
    kernel: &'a Kernel,
    f: ReduceFn,
    dims: &'a [usize],
    /// Dimensions before this one are kept.
    split: usize,
    /// Elements of the result.
    kept: usize,
    /// Elements that each of them is made of.
    length: usize,
    inputs: &'a [Source<'a>],
    args: &'a [Number],
}

impl Call<'_> {
    fn run<T: Reduced>(&self, mut out: SliceMut) -> Result<(), Fault> {
        let Call { kernel, f, kept, length, .. } = *self;
        let dtype = out.dtype();
        if kept == 0 {
            return Ok(());
        }
        if length == 0 {
            finish(self.cpu, dtype, &mut vec![T::identity(f, dtype); kept], &mut out);
            return Ok(());
        }
        let across = self.is_contiguous_across();
        let by_row = if across { self.split } else { 0 };
        with_order(self.dims.len(), None, |order| {
            // Reduced dimensions outside, where the kept ones are contiguous.
            order.rotate_left(by_row);
            with_plan(|plan| {
                plan.add_inputs(kernel, self.dims, order, self.inputs);
                let bound = Bound { isa: self.cpu.isa, kernel, plan, args: self.args };
                let mut results = if across { self.columns::<T>(&bound)? } else { self.rows::<T>(&bound)? };
                finish(self.cpu, dtype, &mut results[..kept], &mut out);
                Ok(())
            })
        })
    }

    /// Whether inputs lie side by side along kept dimensions, and none along reduced ones.
    fn is_contiguous_across(&self) -> bool {
        let along = |dims: std::ops::Range<usize>| {
            self.inputs.iter().any(|source| match source {
                Source::Data { strides, .. } => {
                    dims.clone().any(|d| self.dims[d] > 1 && strides[d].unsigned_abs() == 1)
                }
                _ => false,
            })
        };
        self.kept > 1 && self.length > 1 && along(0..self.split) && !along(self.split..self.dims.len())
    }

    /// Runs `unit(i, part)` for every part of `width` elements of the results, in tasks of `units`.
    fn units<T: Reduced>(
        &self,
        bound: &Bound,
        parts: &mut [T],
        width: usize,
        units: usize,
        unit: impl Fn(&mut Scratch, usize, &mut [T]) -> Result<(), Fault> + Sync,
    ) -> Result<(), Fault> {
        let failed = AtomicBool::new(false);
        let len = parts.len();
        let shared = Shared(parts.as_mut_ptr());
        let task = |i: usize| {
            let start = i * units * width;
            let n = len.min(start + units * width) - start;
            // SAFETY: in bounds, and no other task has these elements.
            let mine = unsafe { std::slice::from_raw_parts_mut(shared.at(start), n) };
            let done = with_scratch(|scratch| {
                bound.prepare(scratch, TILE.min(self.kept * self.length), false);
                mine.chunks_mut(width).enumerate().try_for_each(|(j, part)| unit(scratch, i * units + j, part))
            });
            if done.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
        };
        match len.div_ceil(units * width) {
            1 => task(0),
            tasks => self.cpu.pool.run(tasks, &task),
        }
        if failed.into_inner() { Err(Fault::DivisionByZero) } else { Ok(()) }
    }

    /// Folds rows of `length` elements that lie side by side.
    fn rows<T: Reduced>(&self, bound: &Bound) -> Result<Vec<T>, Fault> {
        let Call { f, kept, length, .. } = *self;
        let (isa, r) = (bound.isa, usize::from(self.kernel.outputs[0]));
        let mut parts = vec![T::identity(f, self.kernel.dtypes[r]); kept * length.div_ceil(UNIT)];
        if length <= TILE {
            // Several rows in a tile.
            let rows = TILE / length;
            self.units(bound, &mut parts, rows, UNIT / TILE, |scratch, i, part| {
                let n = part.len() * length;
                bound.compute(scratch, Region::Line { start: i * rows * length, len: n })?;
                // SAFETY: T is the class of the output, and the tile's instructions have run.
                fold_rows(isa, f, unsafe { bound.value::<T>(scratch, r, n) }, part);
                Ok(())
            })?;
            return Ok(parts);
        }
        let pieces = length.div_ceil(UNIT);
        self.units(bound, &mut parts, 1, (UNIT / length).max(1), |scratch, i, part| {
            let start = i % pieces * UNIT;
            let end = length.min(start + UNIT);
            // A tile's result at a time, in pairs of equal weight; the tiles of a unit are few.
            let mut sums = [part[0]; UNIT / TILE];
            let mut count = 0;
            for at in (start..end).step_by(TILE) {
                let n = TILE.min(end - at);
                bound.compute(scratch, Region::Line { start: i / pieces * length + at, len: n })?;
                // SAFETY: as above.
                fold_rows(isa, f, unsafe { bound.value::<T>(scratch, r, n) }, &mut sums[count..][..1]);
                count += 1;
            }
            part[0] = pairwise(f, &mut sums[..count]);
            Ok(())
        })?;
        if pieces > 1 {
            for row in 0..kept {
                parts[row] = pairwise(f, &mut parts[row * pieces..][..pieces]);
            }
        }
        Ok(parts)
    }

    /// Adds up `length` rows of `kept` elements that lie side by side.
    fn columns<T: Reduced>(&self, bound: &Bound) -> Result<Vec<T>, Fault> {
        let Call { f, kept, length, .. } = *self;
        let (isa, r) = (bound.isa, usize::from(self.kernel.outputs[0]));
        // Columns that are worked on together, and short rows that are taken as one.
        let width = kept.min(TILE);
        let group = if kept < WIDE { WIDE / kept } else { 1 };
        let rows = (UNIT / (width * group)).max(BLOCK) * group;
        let (blocks, pieces) = (kept.div_ceil(width), length.div_ceil(rows));
        let identity = T::identity(f, self.kernel.dtypes[r]);
        let mut parts = vec![identity; pieces * blocks * width];
        let units = (UNIT / (rows.min(length) * width)).max(1);
        self.units(bound, &mut parts, width, units, |scratch, i, part| {
            let column = i % blocks * width;
            let columns = width.min(kept - column);
            let (first, end) = (i / blocks * rows, length.min((i / blocks + 1) * rows));
            let wide = columns * group;
            let mut cascade = Cascade::new(wide);
            let mut block = vec![identity; wide];
            let mut count = 0;
            // Whole rows side by side: as many as a tile holds.
            let step = if blocks == 1 { (TILE / wide).max(1) * group } else { 1 };
            for row in (first..end).step_by(step) {
                let n = columns * step.min(end - row);
                bound.compute(scratch, Region::Line { start: row * kept + column, len: n })?;
                // SAFETY: T is the class of the output, and the tile's instructions have run.
                for x in unsafe { bound.value::<T>(scratch, r, n) }.chunks(wide) {
                    lanes::accumulate(isa, f, x, &mut block);
                    count += 1;
                    if count % BLOCK == 0 {
                        cascade.push(isa, f, &block);
                        block.fill(identity);
                    }
                }
            }
            cascade.push(isa, f, &block);
            let sums = cascade.finish(isa, f);
            part[..columns].copy_from_slice(&sums[..columns]);
            sums[columns..].chunks(columns).for_each(|row| lanes::accumulate(isa, f, row, part));
            Ok(())
        })?;
        let mut cascade = Cascade::new(blocks * width);
        for piece in parts.chunks(blocks * width).filter(|_| pieces > 1) {
            cascade.push(isa, f, piece);
        }
        if pieces > 1 {
            let total = blocks * width;
            parts[..total].copy_from_slice(cascade.finish(isa, f));
        }
        Ok(parts)
    }
}

/// The start of memory that tasks share, each taking elements of its own.
struct Shared<T>(*mut T);

impl<T> Shared<T> {
    fn at(&self, i: usize) -> *mut T {
        self.0.wrapping_add(i)
    }
}

// SAFETY: whoever makes slices of it sees to it that they do not overlap.
unsafe impl<T: Send> Sync for Shared<T> {}

/// Combines neighbours, then neighbouring pairs, and so on.
fn pairwise<T: Reduced>(f: ReduceFn, x: &mut [T]) -> T {
    let mut n = x.len();
    while n > 1 {
        for i in 0..n / 2 {
            x[i] = combine(f, x[2 * i], x[2 * i + 1]);
        }
        if n % 2 == 1 {
            x[n / 2] = x[n - 1];
        }
        n = n.div_ceil(2);
    }
    x[0]
}

/// Rounds or wraps the results to the type of `out` and writes them there.
fn finish<T: Reduced>(cpu: &Cpu, dtype: DType, results: &mut [T], out: &mut SliceMut) {
    let (from, n) = (results.as_mut_ptr(), results.len());
    match Class::of(dtype) {
        // SAFETY: T is the class of `dtype`, so this cast is to T itself.
        Class::F32 => ops::round(cpu.isa, dtype, unsafe { std::slice::from_raw_parts_mut(from.cast(), n) }),
        Class::F64 => {}
        // SAFETY: as above.
        Class::I64 => ops::wrap(cpu.isa, dtype, unsafe { std::slice::from_raw_parts_mut(from.cast(), n) }),
    }
    let axes = [Axis { size: n, stride: 1 }];
    let to = out.bytes().as_mut_ptr();
    // SAFETY: `out` has as many elements as there are results, of the class T.
    unsafe { convert::store(cpu.isa, dtype, results.as_ptr().cast(), to, &axes, 0, n) };
}
