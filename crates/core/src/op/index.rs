//! Reading and writing at places that are themselves data.

use limpid_kernels::Number;
use limpid_kernels::index::ScatterFn;
use smallvec::smallvec;

use crate::error::{Error, Result};
use crate::op::{Backward, Grads, Op, elementwise};
use crate::reference::Array;
use crate::tensor::Tensor;
use crate::testing::{Fault, planted};

/// y[i…] = x[…, index[i…], …] along `axis`: torch.gather. `index` is i64 and has the result's shape, in
/// which all axes but `axis` are at most x's. An index out of range fails the run.
#[track_caller]
pub(crate) fn gather(x: &Tensor, axis: usize, index: &Tensor) -> Tensor {
    Tensor::record(Op::Gather { axis }, &[x, index], index.shape().clone(), x.dtype())
}

/// `base` with `updates` combined in at `index` along `axis`: torch.scatter. `index` has the shape of
/// `updates`. Several updates of one place are combined in row-major order.
#[track_caller]
pub(crate) fn scatter(f: ScatterFn, base: &Tensor, axis: usize, index: &Tensor, updates: &Tensor) -> Tensor {
    combined(Op::Scatter { f, axis, checked: false }, base, index, updates)
}

/// [`scatter`] along axis 0 of rows at an index at which rows of `base` have been read, and that the updates are computed
/// from: where `base` is a cell that is assigned the result, only those rows are written.
#[track_caller]
pub(crate) fn scatter_rows(base: &Tensor, index: &Tensor, updates: &Tensor) -> Tensor {
    combined(Op::Scatter { f: ScatterFn::Set, axis: 0, checked: true }, base, index, updates)
}

#[track_caller]
fn combined(op: Op, base: &Tensor, index: &Tensor, updates: &Tensor) -> Tensor {
    debug_assert_eq!((index.shape(), base.dtype()), (updates.shape(), updates.dtype()));
    Tensor::record(op, &[base, index, updates], base.shape().clone(), base.dtype())
}

pub(crate) fn scatter_name(f: ScatterFn) -> &'static str {
    match f {
        ScatterFn::Set => "scatter",
        ScatterFn::Add => "scatter_add",
        ScatterFn::Mul => "scatter_mul",
        ScatterFn::Max => "scatter_max",
        ScatterFn::Min => "scatter_min",
    }
}

/// The gradient added up where it was read.
pub(crate) fn gather_vjp(axis: usize, b: &Backward<'_>) -> Grads {
    let (x, index) = (&b.inputs[0], &b.inputs[1]);
    let f = if planted(Fault::GradientOfGather) { ScatterFn::Set } else { ScatterFn::Add };
    smallvec![Some(scatter(f, &x.zeros_like(), axis, index, b.g())), None]
}

/// add: g, gathered g. set: g with the written places zeroed, and for the updates g where each was the
/// one that stayed. max and min: the winners share. mul: the product of the others.
pub(crate) fn scatter_vjp(f: ScatterFn, axis: usize, b: &Backward<'_>) -> Grads {
    let (base, index, updates, y, g) = (&b.inputs[0], &b.inputs[1], &b.inputs[2], b.output, b.g());
    let at = |t: &Tensor| gather(t, axis, index);
    let (gb, gu) = match f {
        ScatterFn::Add => (g.clone(), at(g)),
        ScatterFn::Set => {
            // torch gives every update the gradient of its place; with duplicates that is arbitrary there too.
            let zeros = updates.zeros_like();
            (scatter(ScatterFn::Set, g, axis, index, &zeros), at(g))
        }
        ScatterFn::Max | ScatterFn::Min => {
            let base_wins = base.eq(y);
            let update_wins = updates.eq(at(y));
            let ones = elementwise::cast(&update_wins, g.dtype());
            let count = scatter(ScatterFn::Add, &elementwise::cast(&base_wins, g.dtype()), axis, index, &ones);
            let share = g / &count;
            (
                elementwise::select(&base_wins, &share, &g.zeros_like()),
                elementwise::select(&update_wins, &at(&share), &updates.zeros_like()),
            )
        }
        // Of each factor the product of the others: y/x; where a single factor of a place is 0, the product without
        // it; where several are, 0.
        ScatterFn::Mul => {
            let factors = scatter(ScatterFn::Mul, &base.constant_like(1.0), axis, index, updates);
            let (zero, one) = (updates.eq(updates.zeros_like()), updates.constant_like(1.0));
            let found = elementwise::cast(&zero, updates.dtype());
            let count = at(&scatter(ScatterFn::Add, &base.zeros_like(), axis, index, &found));
            let alone = zero.logical_and(&count.eq(&one));
            let others = scatter(ScatterFn::Mul, base, axis, index, &elementwise::select(&alone, &one, updates));
            let divided = at(&(g * y)) / elementwise::select(&zero, &one, updates);
            (g * factors, elementwise::select(&alone, &at(&(g * others)), &divided))
        }
    };
    smallvec![Some(gb), None, Some(gu)]
}

/// The error of an index that is out of range.
pub(crate) fn out_of_range(what: &str, value: i64, size: usize, axis: usize) -> Error {
    Error::new(format!("{what}: index {value} is out of range for axis {axis} of size {size}"))
        .help(format!("indices from 0 to {}", size.saturating_sub(1)))
}

fn place(what: &str, at: &[usize], axis: usize, index: &Array, size: usize) -> Result<Vec<usize>> {
    let value = index.get(at).as_i64();
    if !(0..size as i64).contains(&value) {
        return Err(out_of_range(what, value, size, axis));
    }
    let mut place = at.to_vec();
    place[axis] = value as usize;
    Ok(place)
}

pub(crate) fn gather_reference(axis: usize, x: &Array, index: &Array) -> Result<Array> {
    let mut failed = None;
    let out = Array::from_fn(index.shape.clone(), x.dtype, |at| {
        place("gather", at, axis, index, x.shape[axis]).map_or_else(
            |e| {
                failed.get_or_insert(e);
                Number::Int(0)
            },
            |place| x.get(&place),
        )
    });
    failed.map_or(Ok(out), Err)
}

pub(crate) fn scatter_reference(f: ScatterFn, axis: usize, inputs: &[&Array]) -> Result<Array> {
    let (base, index, updates) = (inputs[0], inputs[1], inputs[2]);
    let mut out = base.clone();
    let mut failed = None;
    updates.for_each(|at, value| {
        let to = match place(scatter_name(f), at, axis, index, base.shape[axis]) {
            Ok(to) => to,
            Err(e) => {
                failed.get_or_insert(e);
                return;
            }
        };
        let old = out.get(&to);
        let combined = match (f, old, value) {
            (ScatterFn::Set, _, v) => v,
            (ScatterFn::Add, Number::Int(a), Number::Int(b)) => Number::Int(a.wrapping_add(b)),
            (ScatterFn::Mul, Number::Int(a), Number::Int(b)) => Number::Int(a.wrapping_mul(b)),
            (ScatterFn::Max, Number::Int(a), Number::Int(b)) => Number::Int(a.max(b)),
            (ScatterFn::Min, Number::Int(a), Number::Int(b)) => Number::Int(a.min(b)),
            (ScatterFn::Add, a, b) => Number::Float(a.as_f64() + b.as_f64()),
            (ScatterFn::Mul, a, b) => Number::Float(a.as_f64() * b.as_f64()),
            (_, a, b) if a.as_f64().is_nan() || b.as_f64().is_nan() => Number::Float(f64::NAN),
            (ScatterFn::Max, a, b) => Number::Float(a.as_f64().max(b.as_f64())),
            (ScatterFn::Min, a, b) => Number::Float(a.as_f64().min(b.as_f64())),
        };
        out.set(&to, combined);
    });
    failed.map_or(Ok(out.rounded()), Err)
}
