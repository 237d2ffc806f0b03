//! The same elements in other places: views where strides allow, copies where not.
//!
//! The adjoint pairs are complete: slice ↔ pad, window ↔ overlap_add, broadcast ↔ sum, permute and
//! reshape their own inverses. That is why strided slices and interior padding are in.

use limpid_kernels::Number;
use limpid_kernels::fused::ReduceFn;
use smallvec::smallvec;

use crate::op::{AxisList, Backward, Grads, Op, reduce, source};
use crate::reference::Array;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The same elements in row-major order under `shape`, which has as many.
#[track_caller]
pub(crate) fn reshape(x: &Tensor, shape: Shape) -> Tensor {
    debug_assert_eq!(x.numel(), shape.elements());
    if *x.shape() == shape {
        return x.clone();
    }
    if let Some(number) = source::filled(x, &shape) {
        return number;
    }
    Tensor::record(Op::Reshape, &[x], shape, x.dtype())
}

/// Axis i of the result is axis `axes[i]` of x.
#[track_caller]
pub(crate) fn permute(x: &Tensor, axes: AxisList) -> Tensor {
    if axes.iter().enumerate().all(|(i, &a)| i == a) {
        return x.clone();
    }
    let shape = axes.iter().map(|&a| x.shape()[a]).collect();
    Tensor::record(Op::Permute(axes), &[x], shape, x.dtype())
}

/// Stretches axes of size 1 (and adds axes in front) to `shape`, to which x broadcasts.
#[track_caller]
pub(crate) fn broadcast(x: &Tensor, shape: &Shape) -> Tensor {
    if x.shape() == shape {
        return x.clone();
    }
    if let Some(number) = source::filled(x, shape) {
        return number;
    }
    debug_assert_eq!(x.shape().broadcast(shape).as_ref(), Some(shape));
    Tensor::record(Op::Broadcast, &[x], shape.clone(), x.dtype())
}

/// y[i] = x[start + step·i] along `axis`, for i below `len`; all in range, step not 0.
#[track_caller]
pub(crate) fn slice(x: &Tensor, axis: usize, start: i64, step: i64, len: usize) -> Tensor {
    debug_assert!(len == 0 || (0..x.shape()[axis] as i64).contains(&start));
    debug_assert!(len == 0 || (0..x.shape()[axis] as i64).contains(&(start + step * (len as i64 - 1))));
    if start == 0 && step == 1 && len == x.shape()[axis] {
        return x.clone();
    }
    let fixed = crate::compound::in_body();
    Tensor::record(Op::Slice { axis, start, step, fixed }, &[x], x.shape().with(axis, len), x.dtype())
}

/// [`slice`] with step 1 where the start belongs to the structure: one of the pieces that an axis is cut into.
#[track_caller]
pub(crate) fn piece(x: &Tensor, axis: usize, start: usize, len: usize) -> Tensor {
    if start == 0 && len == x.shape()[axis] {
        return x.clone();
    }
    let op = Op::Slice { axis, start: start as i64, step: 1, fixed: true };
    Tensor::record(op, &[x], x.shape().with(axis, len), x.dtype())
}

/// a + b, if they are pieces side by side with zeros around: the pieces one after the other. So the gradient of what is
/// cut into pieces is written once.
#[track_caller]
pub(crate) fn sum_of_pieces(a: &Tensor, b: &Tensor) -> Option<Tensor> {
    let inside = |x: &Tensor| match x.node.op {
        Op::Pad { axis, lo, interior: 0 } => {
            let inputs = x.node.inputs();
            let zero = inputs.get(1).is_some_and(|fill| matches!(fill.op, Op::Const(n) if n.as_f64() == 0.0));
            zero.then(|| (axis, lo, Tensor::hold(inputs[0].clone())))
        }
        _ => None,
    };
    let ((axis, first, x), (other, second, y)) = (inside(a)?, inside(b)?);
    let (lo, x, y) = if first < second { (first, x, y) } else { (second, y, x) };
    if axis != other || lo + x.shape()[axis] != first.max(second) || a.shape() != b.shape() {
        return None;
    }
    let mut pieces = Vec::new();
    for piece in [x, y] {
        match piece.node.op {
            Op::Concat { axis: joined } if joined == axis && !piece.node.has_value() => {
                pieces.extend(piece.node.inputs().iter().map(|node| Tensor::hold(node.clone())));
            }
            _ => pieces.push(piece),
        }
    }
    let joined = concat(&pieces.iter().collect::<Vec<_>>(), axis);
    Some(pad(&joined, axis, lo, 0, a.shape()[axis], &zero(a)))
}

/// y[lo + i·(interior+1)] = x[i] along `axis`, `fill` (shape `[]`) elsewhere; `len` is the new size.
#[track_caller]
pub(crate) fn pad(x: &Tensor, axis: usize, lo: usize, interior: usize, len: usize, fill: &Tensor) -> Tensor {
    debug_assert!(x.shape()[axis] == 0 || lo + (x.shape()[axis] - 1) * (interior + 1) < len);
    if lo == 0 && (interior == 0 || x.shape()[axis] <= 1) && len == x.shape()[axis] {
        return x.clone();
    }
    Tensor::record(Op::Pad { axis, lo, interior }, &[x, fill], x.shape().with(axis, len), x.dtype())
}

/// The tensors one after the other along `axis`; they agree in type and in all other sizes.
#[track_caller]
pub(crate) fn concat(xs: &[&Tensor], axis: usize) -> Tensor {
    if let [x] = xs {
        return (*x).clone();
    }
    let len = xs.iter().map(|x| x.shape()[axis]).sum();
    Tensor::record(Op::Concat { axis }, xs, xs[0].shape().with(axis, len), xs[0].dtype())
}

/// Number of windows of `size` elements, `dilation` apart, `stride` between windows, in `len` elements.
pub(crate) fn windows(len: usize, size: usize, stride: usize, dilation: usize) -> usize {
    let span = size.saturating_sub(1) * dilation + 1;
    if size == 0 || len < span { 0 } else { (len - span) / stride + 1 }
}

/// Sliding windows along `axis`: that axis counts the windows, a new last axis of `size` runs in them.
#[track_caller]
pub(crate) fn window(x: &Tensor, axis: usize, size: usize, stride: usize, dilation: usize) -> Tensor {
    let mut shape = x.shape().with(axis, windows(x.shape()[axis], size, stride, dilation));
    shape.push(size);
    Tensor::record(Op::Window { axis, stride, dilation }, &[x], shape, x.dtype())
}

/// The sum of windows put back to their places: the adjoint of [`window`], `len` its input's size.
#[track_caller]
pub(crate) fn overlap_add(x: &Tensor, axis: usize, len: usize, stride: usize, dilation: usize) -> Tensor {
    let shape = x.shape().without(x.rank() - 1).with(axis, len);
    Tensor::record(Op::OverlapAdd { axis, stride, dilation }, &[x], shape, x.dtype())
}

/// `base` with `value` written at `start` along `axis`; `start` is a number of the host.
#[track_caller]
pub(crate) fn write(base: &Tensor, axis: usize, start: i64, value: &Tensor) -> Tensor {
    debug_assert!(start >= 0 && start as usize + value.shape()[axis] <= base.shape()[axis]);
    let fixed = crate::compound::in_body();
    Tensor::record(Op::Write { axis, start, fixed }, &[base, value], base.shape().clone(), base.dtype())
}

pub(crate) fn reshape_vjp(b: &Backward<'_>) -> Grads {
    smallvec![Some(reshape(b.g(), b.inputs[0].shape().clone()))]
}

pub(crate) fn permute_vjp(axes: &AxisList, b: &Backward<'_>) -> Grads {
    let mut inverse: AxisList = smallvec![0; axes.len()];
    axes.iter().enumerate().for_each(|(i, &a)| inverse[a] = i);
    smallvec![Some(permute(b.g(), inverse))]
}

/// The sum over what was stretched.
pub(crate) fn broadcast_vjp(b: &Backward<'_>) -> Grads {
    let (x, g) = (&b.inputs[0], b.g());
    let new = g.rank() - x.rank();
    let stretched: AxisList = (0..g.rank()).filter(|&i| i < new || x.shape()[i - new] != g.shape()[i]).collect();
    smallvec![Some(reshape(&reduce::reduce(ReduceFn::Sum, g, &stretched), x.shape().clone()))]
}

/// Zeros between and around; flipped first when the step is negative.
pub(crate) fn slice_vjp(axis: usize, start: i64, step: i64, fixed: bool, b: &Backward<'_>) -> Grads {
    let (x, g) = (&b.inputs[0], b.g());
    let (size, len) = (x.shape()[axis], g.shape()[axis]);
    let forward = if step < 0 && len > 0 { slice(g, axis, len as i64 - 1, -1, len) } else { g.clone() };
    let first = if step < 0 { start + step * (len as i64 - 1) } else { start };
    if len == 0 {
        return smallvec![Some(x.zeros_like())];
    }
    if step == 1 && !fixed {
        // The start is a number of the host, so it stays one in the gradient: 469 batches, one plan.
        return smallvec![Some(write(&x.zeros_like(), axis, first, &forward))];
    }
    let interior = step.unsigned_abs() as usize - 1;
    smallvec![Some(pad(&forward, axis, first as usize, interior, size, &zero(g)))]
}

#[track_caller]
fn zero(like: &Tensor) -> Tensor {
    super::source::constant(if like.dtype().is_float() { Number::Float(0.0) } else { Number::Int(0) }, like.dtype())
}

pub(crate) fn pad_vjp(axis: usize, lo: usize, interior: usize, b: &Backward<'_>) -> Grads {
    let (x, g) = (&b.inputs[0], b.g());
    let inner = slice(g, axis, lo as i64, interior as i64 + 1, x.shape()[axis]);
    let all = |t: &Tensor| reshape(&reduce::reduce(ReduceFn::Sum, t, &(0..t.rank()).collect()), Shape::scalar());
    let fill = b.needs[1].then(|| all(g) - all(&inner));
    smallvec![Some(inner), fill]
}

/// One slice each.
pub(crate) fn concat_vjp(axis: usize, b: &Backward<'_>) -> Grads {
    let mut start = 0;
    let mut grads = Grads::new();
    for (x, &needed) in b.inputs.iter().zip(b.needs) {
        let len = x.shape()[axis];
        grads.push(needed.then(|| slice(b.g(), axis, start, 1, len)));
        start += len as i64;
    }
    grads
}

pub(crate) fn window_vjp(axis: usize, stride: usize, dilation: usize, b: &Backward<'_>) -> Grads {
    smallvec![Some(overlap_add(b.g(), axis, b.inputs[0].shape()[axis], stride, dilation))]
}

pub(crate) fn overlap_add_vjp(axis: usize, stride: usize, dilation: usize, b: &Backward<'_>) -> Grads {
    let (x, g) = (&b.inputs[0], b.g());
    let (count, size) = (x.shape()[axis], x.shape()[x.rank() - 1]);
    let all = window(g, axis, size, stride, dilation);
    // The length may have room for more windows than were added.
    smallvec![Some(slice(&all, axis, 0, 1, count))]
}

/// The gradient with zeros where it was written ; the slice that was written.
pub(crate) fn write_vjp(axis: usize, start: i64, b: &Backward<'_>) -> Grads {
    let (value, g) = (&b.inputs[1], b.g());
    smallvec![
        b.needs[0].then(|| write(g, axis, start, &value.zeros_like())),
        b.needs[1].then(|| slice(g, axis, start, 1, value.shape()[axis])),
    ]
}

pub(crate) fn permute_reference(axes: &AxisList, x: &Array, shape: &Shape) -> Array {
    Array::from_fn(shape.clone(), x.dtype, |at| {
        let mut from = vec![0; at.len()];
        axes.iter().enumerate().for_each(|(i, &a)| from[a] = at[i]);
        x.get(&from)
    })
}

pub(crate) fn broadcast_reference(x: &Array, shape: &Shape) -> Array {
    Array::from_fn(shape.clone(), x.dtype, |at| {
        let at = &at[at.len() - x.shape.rank()..];
        let from: Vec<usize> = at.iter().zip(x.shape.iter()).map(|(&i, &size)| if size == 1 { 0 } else { i }).collect();
        x.get(&from)
    })
}

pub(crate) fn slice_reference(axis: usize, start: i64, step: i64, x: &Array, shape: &Shape) -> Array {
    Array::from_fn(shape.clone(), x.dtype, |at| {
        let mut from = at.to_vec();
        from[axis] = (start + step * at[axis] as i64) as usize;
        x.get(&from)
    })
}

pub(crate) fn pad_reference(axis: usize, lo: usize, interior: usize, inputs: &[&Array], shape: &Shape) -> Array {
    let (x, fill) = (inputs[0], inputs[1].data[0]);
    Array::from_fn(shape.clone(), x.dtype, |at| {
        let mut from = at.to_vec();
        let Some(inside) = at[axis].checked_sub(lo) else { return fill };
        from[axis] = inside / (interior + 1);
        if inside % (interior + 1) == 0 && from[axis] < x.shape[axis] { x.get(&from) } else { fill }
    })
}

pub(crate) fn concat_reference(axis: usize, inputs: &[&Array], shape: &Shape) -> Array {
    Array::from_fn(shape.clone(), inputs[0].dtype, |at| {
        let mut from = at.to_vec();
        for x in inputs {
            if from[axis] < x.shape[axis] {
                return x.get(&from);
            }
            from[axis] -= x.shape[axis];
        }
        unreachable!("the sizes add up")
    })
}

pub(crate) fn window_reference(axis: usize, stride: usize, dilation: usize, x: &Array, shape: &Shape) -> Array {
    Array::from_fn(shape.clone(), x.dtype, |at| {
        let mut from = at[..at.len() - 1].to_vec();
        from[axis] = at[axis] * stride + at[at.len() - 1] * dilation;
        x.get(&from)
    })
}

pub(crate) fn overlap_add_reference(axis: usize, stride: usize, dilation: usize, x: &Array, shape: &Shape) -> Array {
    let mut out = Array::filled(shape.clone(), x.dtype, Number::Int(0)).cast(x.dtype);
    x.for_each(|at, value| {
        let mut to = at[..at.len() - 1].to_vec();
        to[axis] = at[axis] * stride + at[at.len() - 1] * dilation;
        out.add(&to, value);
    });
    out.rounded()
}

pub(crate) fn write_reference(axis: usize, start: i64, inputs: &[&Array]) -> Array {
    let mut out = inputs[0].clone();
    inputs[1].for_each(|at, value| {
        let mut to = at.to_vec();
        to[axis] += start as usize;
        out.set(&to, value);
    });
    out
}
