//! Many elements to one, along axes: reductions, running reductions, sorting.

use limpid_kernels::fused::ReduceFn;
use limpid_kernels::scan::ScanFn;
use limpid_kernels::{DType, Number};
use smallvec::smallvec;

use crate::op::index::scatter;
use crate::op::movement::{broadcast, slice};
use crate::op::{AxisList, Backward, Grads, Op, elementwise, source};
use crate::reference::Array;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::testing::{Fault, planted};
use limpid_kernels::index::ScatterFn;

/// Combines all elements along `axes`, which stay with size 1. f32 sums are sums of f32.
#[track_caller]
pub(crate) fn reduce(f: ReduceFn, x: &Tensor, axes: &AxisList) -> Tensor {
    if axes.is_empty() {
        return x.clone();
    }
    Tensor::record(Op::Reduce { f, axes: axes.clone() }, &[x], x.shape().reduced(axes), x.dtype())
}

/// y[i] = f(x[0], …, x[i]) along `axis`; from the last element backwards when `reverse`.
#[track_caller]
pub(crate) fn scan(f: ScanFn, x: &Tensor, axis: usize, reverse: bool) -> Tensor {
    Tensor::record(Op::Scan { f, axis, reverse }, &[x], x.shape().clone(), x.dtype())
}

/// The values in stable order along `axis` and where they came from; NaN counts as the largest.
#[track_caller]
pub(crate) fn sort(x: &Tensor, axis: usize, descending: bool) -> (Tensor, Tensor) {
    let both = Tensor::record(Op::Sort { axis, descending }, &[x], x.shape().clone(), x.dtype());
    let index = Tensor::record(Op::Part(1), &[&both], x.shape().clone(), DType::I64);
    (Tensor::record(Op::Part(0), &[&both], x.shape().clone(), x.dtype()), index)
}

pub(crate) fn reduce_name(f: ReduceFn) -> &'static str {
    match f {
        ReduceFn::Sum => "sum",
        ReduceFn::Prod => "prod",
        ReduceFn::Max => "amax",
        ReduceFn::Min => "amin",
    }
}

pub(crate) fn scan_name(f: ScanFn) -> &'static str {
    match f {
        ScanFn::Sum => "cumsum",
        ScanFn::Prod => "cumprod",
        ScanFn::Max => "cummax",
        ScanFn::Min => "cummin",
    }
}

/// Sum: the gradient broadcast. Max and min: shared by the winners. Product: the product of the others,
/// which stays right where elements are zero.
pub(crate) fn reduce_vjp(f: ReduceFn, axes: &AxisList, b: &Backward<'_>) -> Grads {
    let (x, y, g) = (&b.inputs[0], b.output, b.g());
    let wide = |t: &Tensor| broadcast(t, x.shape());
    let gx = match f {
        ReduceFn::Sum => wide(g),
        ReduceFn::Max | ReduceFn::Min => {
            // A NaN result came from the NaN elements: they are its winners.
            let wins = x.eq(wide(y)).logical_or(&x.ne(x));
            let count = reduce(ReduceFn::Sum, &elementwise::cast(&wins, x.dtype()), axes);
            let share = if planted(Fault::GradientOfTies) { g.clone() } else { g / count };
            elementwise::select(&wins, &wide(&share), &x.zeros_like())
        }
        ReduceFn::Prod => wide(g) * product_of_others(x, axes),
    };
    smallvec![Some(gx)]
}

/// For each element the product of all others along `axes`: what is before it times what is after it.
fn product_of_others(x: &Tensor, axes: &AxisList) -> Tensor {
    let kept: AxisList = (0..x.rank()).filter(|a| !axes.contains(a)).collect();
    let order: AxisList = kept.iter().chain(axes.iter()).copied().collect();
    let moved = super::movement::permute(x, order.clone());
    let mut flat: Shape = kept.iter().map(|&a| x.shape()[a]).collect();
    flat.push(axes.iter().map(|&a| x.shape()[a]).product());
    let row = super::movement::reshape(&moved, flat);
    let others = exclusive_product(&row, row.rank() - 1, false) * exclusive_product(&row, row.rank() - 1, true);
    let back = super::movement::reshape(&others, moved.shape().clone());
    let mut inverse: AxisList = smallvec![0; order.len()];
    order.iter().enumerate().for_each(|(i, &a)| inverse[a] = i);
    super::movement::permute(&back, inverse)
}

/// The running product without the element itself.
fn exclusive_product(x: &Tensor, axis: usize, reverse: bool) -> Tensor {
    let len = x.shape()[axis];
    if len == 0 {
        return x.clone();
    }
    let one = source::constant(Number::Float(1.0), x.dtype());
    let running = scan(ScanFn::Prod, x, axis, reverse);
    if reverse {
        super::movement::pad(&slice(&running, axis, 1.min(len as i64 - 1), 1, len - 1), axis, 0, 0, len, &one)
    } else {
        super::movement::pad(&slice(&running, axis, 0, 1, len - 1), axis, 1, 0, len, &one)
    }
}

pub(crate) fn scan_vjp(f: ScanFn, axis: usize, reverse: bool, b: &Backward<'_>) -> Grads {
    let (x, y, g) = (&b.inputs[0], b.output, b.g());
    let gx = match f {
        ScanFn::Sum => scan(ScanFn::Sum, g, axis, !reverse),
        ScanFn::Prod => cumprod_vjp(x, g, axis, reverse),
        // Each result came from the last place where the running winner changed.
        ScanFn::Max | ScanFn::Min => {
            let winner = running_winner(x, y, axis, reverse);
            scatter(ScatterFn::Add, &x.zeros_like(), axis, &winner, g)
        }
    };
    smallvec![Some(gx)]
}

/// Where along `axis` each running extremum `y` of `x` came from, i64: of equal elements the one that was
/// reached last, as in torch.
#[track_caller]
pub(crate) fn running_winner(x: &Tensor, y: &Tensor, axis: usize, reverse: bool) -> Tensor {
    let position = source::iota(x.shape().clone(), axis);
    // A place wins when its element is the running result there; a NaN result came from NaN elements.
    let won = x.eq(y).logical_or(&x.ne(x));
    let nowhere = if reverse { x.shape()[axis] as i64 } else { -1 };
    let nowhere = broadcast(&source::constant(Number::Int(nowhere), DType::I64), x.shape());
    let f = if reverse { ScanFn::Min } else { ScanFn::Max };
    scan(f, &elementwise::select(&won, &position, &nowhere), axis, reverse)
}

/// dx[k] = Σ_{i≥k} g[i] · ∏_{j≤i, j≠k} x[j], right at zeros: the products without x[k] are taken from a
/// table [k, i] in which the diagonal is set to 1.
fn cumprod_vjp(x: &Tensor, g: &Tensor, axis: usize, reverse: bool) -> Tensor {
    let rank = x.rank();
    let len = x.shape()[axis];
    let square = x.shape().inserted(axis, len);
    // rows: k, the element left out; columns: the running index.
    let row = broadcast(&super::movement::reshape(x, x.shape().inserted(axis, 1)), &square);
    let (k, i) = (source::iota(square.clone(), axis), source::iota(square.clone(), axis + 1));
    let one = broadcast(&source::constant(Number::Float(1.0), x.dtype()), &square);
    let without = scan(ScanFn::Prod, &elementwise::select(&k.eq(&i), &one, &row), axis + 1, reverse);
    let reached = if reverse { i.le(&k) } else { k.le(&i) };
    let wide = broadcast(&super::movement::reshape(g, g.shape().inserted(axis, 1)), &square);
    let terms = elementwise::select(
        &reached,
        &(wide * without),
        &broadcast(&source::constant(Number::Float(0.0), x.dtype()), &square),
    );
    let sum = reduce(ReduceFn::Sum, &terms, &smallvec![axis + 1]);
    debug_assert_eq!(sum.rank(), rank + 1);
    super::movement::reshape(&sum, x.shape().clone())
}

/// The gradient of the values goes back to where they came from.
pub(crate) fn sort_vjp(axis: usize, b: &Backward<'_>) -> Grads {
    let x = &b.inputs[0];
    let Some(g) = &b.grads[0] else { return smallvec![None] };
    let index = Tensor::record(Op::Part(1), &[b.output], x.shape().clone(), DType::I64);
    smallvec![Some(scatter(ScatterFn::Add, &x.zeros_like(), axis, &index, g))]
}

fn combine(f: ReduceFn, dtype: DType, a: Number, b: Number) -> Number {
    match (f, a, b) {
        (ReduceFn::Sum, Number::Int(a), Number::Int(b)) => Array::round(dtype, Number::Int(a.wrapping_add(b))),
        (ReduceFn::Prod, Number::Int(a), Number::Int(b)) => Array::round(dtype, Number::Int(a.wrapping_mul(b))),
        (ReduceFn::Max, Number::Int(a), Number::Int(b)) => Number::Int(a.max(b)),
        (ReduceFn::Min, Number::Int(a), Number::Int(b)) => Number::Int(a.min(b)),
        // Sums and products of floats run in f64 and are rounded once by the caller.
        (ReduceFn::Sum, a, b) => Number::Float(a.as_f64() + b.as_f64()),
        (ReduceFn::Prod, a, b) => Number::Float(a.as_f64() * b.as_f64()),
        (_, a, b) if a.as_f64().is_nan() || b.as_f64().is_nan() => Number::Float(f64::NAN),
        (ReduceFn::Max, a, b) => Number::Float(a.as_f64().max(b.as_f64())),
        (ReduceFn::Min, a, b) => Number::Float(a.as_f64().min(b.as_f64())),
    }
}

/// What an empty reduction gives.
pub(crate) fn identity(f: ReduceFn, dtype: DType) -> Number {
    let float = dtype.is_float();
    match f {
        ReduceFn::Sum if float => Number::Float(0.0),
        ReduceFn::Sum => Number::Int(0),
        ReduceFn::Prod if float => Number::Float(1.0),
        ReduceFn::Prod => Number::Int(1),
        ReduceFn::Max if float => Number::Float(f64::NEG_INFINITY),
        ReduceFn::Min if float => Number::Float(f64::INFINITY),
        ReduceFn::Max => Number::Int(match dtype {
            DType::I64 => i64::MIN,
            DType::I32 => i32::MIN.into(),
            _ => 0,
        }),
        ReduceFn::Min => Number::Int(match dtype {
            DType::I64 => i64::MAX,
            DType::I32 => i32::MAX.into(),
            DType::U8 => 255,
            _ => 1,
        }),
    }
}

pub(crate) fn reduce_reference(f: ReduceFn, axes: &AxisList, x: &Array, shape: &Shape) -> Array {
    let mut out = Array::filled(shape.clone(), x.dtype, identity(f, x.dtype));
    x.for_each(|at, value| {
        let to: Vec<usize> = at.iter().enumerate().map(|(i, &p)| if axes.contains(&i) { 0 } else { p }).collect();
        let combined = combine(f, x.dtype, out.get(&to), value);
        out.set(&to, combined);
    });
    out.rounded()
}

pub(crate) fn scan_reference(f: ScanFn, axis: usize, reverse: bool, x: &Array) -> Array {
    let f = match f {
        ScanFn::Sum => ReduceFn::Sum,
        ScanFn::Prod => ReduceFn::Prod,
        ScanFn::Max => ReduceFn::Max,
        ScanFn::Min => ReduceFn::Min,
    };
    let len = x.shape[axis];
    let lines = Array::filled(x.shape.with(axis, 1), x.dtype, Number::Int(0));
    let mut out = x.clone();
    lines.for_each(|at, _| {
        let mut running = identity(f, x.dtype);
        for i in 0..len {
            let mut place = at.to_vec();
            place[axis] = if reverse { len - 1 - i } else { i };
            running = combine(f, x.dtype, running, x.get(&place));
            out.set(&place, running);
        }
    });
    out.rounded()
}

/// NaN counts as the largest.
pub(crate) fn order(a: Number, b: Number) -> std::cmp::Ordering {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => a.cmp(&b),
        (a, b) => {
            let (a, b) = (a.as_f64(), b.as_f64());
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
    }
}

pub(crate) fn sort_reference(axis: usize, descending: bool, x: &Array) -> Vec<Array> {
    let len = x.shape[axis];
    let lines = Array::filled(x.shape.with(axis, 1), x.dtype, Number::Int(0));
    let mut values = x.clone();
    let mut index = Array::filled(x.shape.clone(), DType::I64, Number::Int(0));
    lines.for_each(|at, _| {
        let place = |i: usize| {
            let mut place = at.to_vec();
            place[axis] = i;
            place
        };
        let mut line: Vec<(usize, Number)> = (0..len).map(|i| (i, x.get(&place(i)))).collect();
        line.sort_by(|a, b| if descending { order(b.1, a.1) } else { order(a.1, b.1) });
        for (i, (from, value)) in line.into_iter().enumerate() {
            values.set(&place(i), value);
            index.set(&place(i), Number::Int(from as i64));
        }
    });
    vec![values, index]
}
