//! The one contraction: a batched matrix product over views.

use limpid_kernels::Number;
use smallvec::smallvec;

use crate::op::movement::permute;
use crate::op::{AxisList, Backward, Grads, Op};
use crate::reference::Array;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// y[b…, i, j] = Σ_k a[b…, i, k] · b[b…, k, j]: batch axes and types are equal. f16 and bf16 accumulate
/// in f32 and round once.
#[track_caller]
pub(crate) fn dot(a: &Tensor, b: &Tensor) -> Tensor {
    let rank = a.rank();
    debug_assert_eq!(a.shape()[..rank - 2], b.shape()[..rank - 2]);
    debug_assert_eq!((a.shape()[rank - 1], a.dtype()), (b.shape()[rank - 2], b.dtype()));
    let shape = a.shape().with(rank - 1, b.shape()[rank - 1]);
    Tensor::record(Op::Dot, &[a, b], shape, a.dtype())
}

/// The last two axes exchanged.
#[track_caller]
pub(crate) fn transpose(x: &Tensor) -> Tensor {
    let rank = x.rank();
    let mut axes: AxisList = (0..rank).collect();
    axes.swap(rank - 2, rank - 1);
    permute(x, axes)
}

/// g·bᵀ ; aᵀ·g
pub(crate) fn dot_vjp(b: &Backward<'_>) -> Grads {
    smallvec![
        b.needs[0].then(|| dot(b.g(), &transpose(&b.inputs[1]))),
        b.needs[1].then(|| dot(&transpose(&b.inputs[0]), b.g())),
    ]
}

pub(crate) fn dot_reference(a: &Array, b: &Array, shape: &Shape) -> Array {
    let rank = shape.rank();
    let k = a.shape[rank - 1];
    Array::from_fn(shape.clone(), a.dtype, |at| {
        let (mut left, mut right) = (at.to_vec(), at.to_vec());
        let mut sum = if a.dtype.is_float() { Number::Float(0.0) } else { Number::Int(0) };
        for i in 0..k {
            left[rank - 1] = i;
            right[rank - 2] = i;
            sum = match (sum, a.get(&left), b.get(&right)) {
                (Number::Int(s), Number::Int(x), Number::Int(y)) => Number::Int(s.wrapping_add(x.wrapping_mul(y))),
                (s, x, y) => Number::Float(s.as_f64() + x.as_f64() * y.as_f64()),
            };
        }
        sum
    })
    .rounded()
}
