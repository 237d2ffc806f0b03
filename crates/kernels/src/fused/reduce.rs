//! Reducing a kernel's result over the last dimensions of its index space.

use std::sync::atomic::{AtomicBool, Ordering};

use super::instr::ReduceFn;
use super::kernel::{Class, Kernel, TILE};
use super::ops::Lane;
use super::tile::{Bound, Scratch, with_plan, with_scratch};
use super::{Fault, Source, convert, with_order};
use crate::Cpu;
use crate::dtype::{DType, Number};
use crate::slice::SliceMut;

/// A register class that can be reduced.
trait Reduced: Lane + Default {
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// What combining nothing gives, for elements of `dtype`.
    fn identity(f: ReduceFn, dtype: DType) -> Self;
}

impl Reduced for f32 {
    #[inline(always)]
    fn add(self, other: f32) -> f32 {
        self + other
    }
    #[inline(always)]
    fn mul(self, other: f32) -> f32 {
        self * other
    }
    fn identity(f: ReduceFn, _: DType) -> f32 {
        match f {
            ReduceFn::Sum => 0.0,
            ReduceFn::Prod => 1.0,
            ReduceFn::Max => f32::NEG_INFINITY,
            ReduceFn::Min => f32::INFINITY,
        }
    }
}

impl Reduced for f64 {
    #[inline(always)]
    fn add(self, other: f64) -> f64 {
        self + other
    }
    #[inline(always)]
    fn mul(self, other: f64) -> f64 {
        self * other
    }
    fn identity(f: ReduceFn, dtype: DType) -> f64 {
        f32::identity(f, dtype).into()
    }
}

impl Reduced for i64 {
    #[inline(always)]
    fn add(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn mul(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
    fn identity(f: ReduceFn, dtype: DType) -> i64 {
        let (low, high) = match dtype {
            DType::Bool => (0, 1),
            DType::U8 => (0, 255),
            DType::I32 => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN, i64::MAX),
        };
        match f {
            ReduceFn::Sum => 0,
            ReduceFn::Prod => 1,
            ReduceFn::Max => low,
            ReduceFn::Min => high,
        }
    }
}

#[inline(always)]
fn combine<T: Reduced>(f: ReduceFn, a: T, b: T) -> T {
    match f {
        ReduceFn::Sum => a.add(b),
        ReduceFn::Prod => a.mul(b),
        ReduceFn::Max => a.max(b),
        ReduceFn::Min => a.min(b),
    }
}

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
    let kept: usize = dims[..dims.len() - reduced].iter().product();
    let length: usize = dims[dims.len() - reduced..].iter().product();
    assert_eq!(out.len(), kept, "elements of the output");
    match Class::of(dtype) {
        Class::F32 => reduce_class::<f32>(cpu, kernel, f, dims, kept, length, inputs, args, out),
        Class::F64 => reduce_class::<f64>(cpu, kernel, f, dims, kept, length, inputs, args, out),
        Class::I64 => reduce_class::<i64>(cpu, kernel, f, dims, kept, length, inputs, args, out),
    }
}

fn reduce_class<T: Reduced>(
    cpu: &Cpu,
    kernel: &Kernel,
    f: ReduceFn,
    dims: &[usize],
    kept: usize,
    length: usize,
    inputs: &[Source],
    args: &[Number],
    mut out: SliceMut,
) -> Result<(), Fault> {
    if kept == 0 {
        return Ok(());
    }
    let dtype = out.dtype();
    let mut results = vec![T::identity(f, dtype); kept];
    let mut done = Ok(());
    if length > 0 {
        let failed = AtomicBool::new(false);
        with_order(dims.len(), None, |order| {
            with_plan(|plan| {
                plan.add_inputs(kernel, dims, order, inputs);
                let bound = Bound { isa: cpu.isa, kernel, plan, args };
                with_scratch(|scratch| {
                    bound.prepare(scratch, TILE.min(kept * length), false);
                    for (row, result) in results.iter_mut().enumerate() {
                        match reduce_row(&bound, scratch, f, row * length, length) {
                            Ok(value) => *result = value,
                            Err(_) => failed.store(true, Ordering::Relaxed),
                        }
                    }
                });
            });
        });
        if failed.into_inner() {
            done = Err(Fault::DivisionByZero);
        }
    }
    finish(cpu, dtype, &mut results, &mut out);
    done
}

fn reduce_row<T: Reduced>(
    bound: &Bound,
    scratch: &mut Scratch,
    f: ReduceFn,
    start: usize,
    len: usize,
) -> Result<T, Fault> {
    let r = usize::from(bound.kernel.outputs[0]);
    let mut total = T::identity(f, bound.kernel.dtypes[r]);
    for at in (0..len).step_by(TILE) {
        let n = TILE.min(len - at);
        bound.compute(scratch, start + at, n)?;
        // SAFETY: T is the class of the output, and the tile's instructions have run.
        let tile = unsafe { bound.value::<T>(scratch, r, n) };
        let part = tile.iter().fold(T::identity(f, bound.kernel.dtypes[r]), |a, &b| combine(f, a, b));
        total = combine(f, total, part);
    }
    Ok(total)
}

/// Rounds or wraps the results to the type of `out` and writes them there.
fn finish<T: Reduced>(cpu: &Cpu, dtype: DType, results: &mut [T], out: &mut SliceMut) {
    let from: *mut T = results.as_mut_ptr();
    // SAFETY: T is the class of `dtype`, so exactly one of these casts is to T itself.
    match Class::of(dtype) {
        Class::F32 => {
            super::ops::round(cpu.isa, dtype, unsafe { std::slice::from_raw_parts_mut(from.cast(), results.len()) })
        }
        Class::F64 => {}
        // SAFETY: as above.
        Class::I64 => {
            super::ops::wrap(cpu.isa, dtype, unsafe { std::slice::from_raw_parts_mut(from.cast(), results.len()) })
        }
    }
    let axes = [super::walk::Axis { size: results.len(), stride: 1 }];
    let to = out.bytes().as_mut_ptr();
    // SAFETY: `out` has as many elements as there are results, of the class T.
    unsafe { convert::store(cpu.isa, dtype, results.as_ptr().cast(), to, &axes, 0, results.len()) };
}
