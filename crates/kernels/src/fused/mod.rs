//! A chain of elementwise operations in one pass, and reductions of its result.
//!
//! A [`Kernel`] is a list of instructions in single-assignment form. It runs over tiles of a thousand
//! elements: each instruction is one vectorised loop over registers that stay in the first-level cache, so
//! memory is read and written once however long the chain is. Registers have three classes: f32 (also f16
//! and bf16, each result rounded to its type), f64, and i64 (all integers and bool, each result wrapped).

mod convert;
mod halves;
mod idiom;
mod instr;
mod kernel;
mod lanes;
mod ops;
mod philox;
mod plan;
mod reduce;
mod tile;
mod walk;

pub use instr::{BinaryFn, Instr, ReduceFn, Reg, UnaryFn};
pub use kernel::Kernel;
pub use reduce::reduce;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::Cpu;
use crate::dtype::{DType, Number};
use crate::isa::Isa;
use crate::slice::{Slice, SliceMut};
use kernel::TILE;
use plan::with_plan;
use tile::{Bound, Region, Scratch, with_scratch};

/// What a kernel reads.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Elements `offset + Σ index · stride` of `data`, in elements; strides may be 0 or negative.
    Data {
        /// The memory.
        data: Slice<'a>,
        /// Where the first element is.
        offset: usize,
        /// One for each dimension.
        strides: &'a [isize],
    },
    /// The whole number `offset + Σ index · stride`, of type I64: counts, coordinates, flat indices.
    Index {
        /// The value at index 0.
        offset: i64,
        /// One for each dimension.
        strides: &'a [isize],
    },
    /// In place: the elements of this output, read before they are written.
    Output(usize),
}

/// What a kernel writes.
#[derive(Debug)]
pub struct Sink<'a> {
    /// The memory.
    pub data: SliceMut<'a>,
    /// Where the first element is.
    pub offset: usize,
    /// One for each dimension. They must nest: each longer than all that the shorter ones reach together,
    /// so that no two elements share a place.
    pub strides: &'a [isize],
}

/// What values can make of a kernel. The outputs are then partly written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An integer was divided by zero.
    DivisionByZero,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an integer was divided by zero")
    }
}

impl std::error::Error for Fault {}

/// Tiles that one task takes: enough to make its start invisible, few enough to share evenly.
const TILES_PER_TASK: usize = 16;

/// Ranks up to this need no memory for the order of dimensions.
const USUAL_RANK: usize = 8;

/// Calls `f` with the dimensions in the order that walks the first output forwards, outermost first.
fn with_order<R>(rank: usize, strides: Option<&[isize]>, f: impl FnOnce(&mut [usize]) -> R) -> R {
    let mut usual = [0; USUAL_RANK];
    let mut longer = Vec::new();
    let order = if rank <= USUAL_RANK {
        &mut usual[..rank]
    } else {
        longer.resize(rank, 0);
        &mut longer[..]
    };
    order.iter_mut().enumerate().for_each(|(d, o)| *o = d);
    if let Some(strides) = strides {
        order.sort_by_key(|&d| std::cmp::Reverse(strides[d].unsigned_abs()));
    }
    f(order)
}

/// Runs `kernel` on every index of `dims`: `outputs[o][i…] = kernel(inputs[…][i…], args)`.
///
/// Panics when operands do not fit the kernel (number, types), reach outside their memory, or when an
/// output has several elements in one place: faults of the caller.
pub fn run(
    cpu: &Cpu,
    kernel: &Kernel,
    dims: &[usize],
    inputs: &[Source],
    args: &[Number],
    outputs: &mut [Sink],
) -> Result<(), Fault> {
    assert!(args.len() >= kernel.args(), "{} arguments of {}", args.len(), kernel.args());
    assert_eq!(outputs.len(), kernel.outputs.len(), "number of outputs");
    let total: usize = dims.iter().product();
    if total == 0 {
        return Ok(());
    }
    with_order(dims.len(), outputs.first().map(|sink| sink.strides), |order| {
        with_plan(|plan| {
            plan.add_inputs(kernel, dims, order, inputs);
            plan.add_outputs(kernel, dims, order, outputs);
            let blocks = plan.blocks(dims, order, inputs, outputs);
            let bound = Bound { isa: cpu.isa, kernel, plan, args };
            let pieces = blocks.map_or(total.div_ceil(TILE), |blocks| blocks.count);
            let failed = AtomicBool::new(false);
            let task = |i: usize| {
                let first = i * TILES_PER_TASK;
                let end = pieces.min(first + TILES_PER_TASK);
                let done = with_scratch(|scratch| match blocks {
                    None => run_line(&bound, scratch, first * TILE, total.min(end * TILE)),
                    Some(blocks) => {
                        bound.prepare(scratch, TILE, false);
                        (first..end)
                            .try_for_each(|number| run_region(&bound, scratch, Region::Block { blocks, number }))
                    }
                });
                if done.is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
            };
            match pieces.div_ceil(TILES_PER_TASK) {
                1 => task(0),
                tasks => cpu.pool.run(tasks, &task),
            }
            if failed.into_inner() { Err(Fault::DivisionByZero) } else { Ok(()) }
        })
    })
}

/// Runs elements `start .. end` in the order of the walk.
fn run_line(bound: &Bound, scratch: &mut Scratch, start: usize, end: usize) -> Result<(), Fault> {
    bound.prepare(scratch, TILE.min(end - start), true);
    (start..end)
        .step_by(TILE)
        .try_for_each(|at| run_region(bound, scratch, Region::Line { start: at, len: TILE.min(end - at) }))
}

fn run_region(bound: &Bound, scratch: &mut Scratch, region: Region) -> Result<(), Fault> {
    bound.compute(scratch, region)?;
    bound.store(scratch, region);
    Ok(())
}

/// Runs `kernel` in place on `segment`, which holds elements `start ..` of a contiguous array of shape
/// `dims`: what a matrix product calls on finished pieces of its result while they are in the cache.
///
/// Sources are described over all of `dims`; `Source::Output(0)` is the segment itself. Runs on the calling
/// thread. Panics as [`run`] does, when the kernel's single output is not f32, and when the segment
/// reaches outside `dims`.
pub fn run_segment(
    isa: Isa,
    kernel: &Kernel,
    dims: &[usize],
    start: usize,
    segment: &mut [f32],
    inputs: &[Source],
    args: &[Number],
) -> Result<(), Fault> {
    assert!(args.len() >= kernel.args(), "{} arguments of {}", args.len(), kernel.args());
    assert!(kernel.outputs.len() == 1 && kernel.dtype(kernel.outputs[0]) == DType::F32, "one output of f32");
    let total: usize = dims.iter().product();
    let end = start.checked_add(segment.len()).filter(|&end| end <= total);
    let Some(end) = end else { panic!("a segment of {} from {start} in {total} elements", segment.len()) };
    if segment.is_empty() {
        return Ok(());
    }
    with_order(dims.len(), None, |order| {
        with_plan(|plan| {
            plan.add_inputs(kernel, dims, order, inputs);
            // Where element 0 would be: only those of the segment are touched.
            let first = segment.as_mut_ptr().wrapping_sub(start);
            plan.add_contiguous_output(DType::F32, first.cast(), total.max(2));
            with_scratch(|scratch| run_line(&Bound { isa, kernel, plan, args }, scratch, start, end))
        })
    })
}

#[cfg(test)]
mod reduce_tests;
#[cfg(test)]
mod tests;
