//! Lengths of vectors.

use crate::shape::Axes;
use crate::tensor::Tensor;

impl Tensor {
    /// The Euclidean norm over `axes`: √Σ x². The gradient at 0 is 0.
    #[track_caller]
    pub fn norm(&self, axes: impl Axes) -> Tensor {
        self.vector_norm(2.0, axes)
    }

    /// [`Tensor::norm`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([[3.0f32, 4.0]]).norm_keepdim(1);
    /// assert_eq!((&y.shape()[..], y.to_vec::<f32>()?), (&[1, 1][..], vec![5.0]));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn norm_keepdim(&self, axes: impl Axes) -> Tensor {
        self.vector_norm_keepdim(2.0, axes)
    }

    /// The p-norm over `axes`: (Σ |x|ᵖ)^(1/p) with p = `ord`; max |x| for +∞, min |x| for −∞, the number of
    /// elements that are not 0 for 0. Where the norm has no gradient, at 0, it is taken as 0. Torch's
    /// `linalg.vector_norm`, and `norm` with `p`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1.0f32, -2.0], [0.0, 3.0]]);
    /// assert_eq!(x.vector_norm(1.0, 1).to_vec::<f32>()?, [3.0, 3.0]);
    /// assert_eq!(x.vector_norm(f64::INFINITY, ..).item()?, 3.0);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn vector_norm(&self, ord: f64, axes: impl Axes) -> Tensor {
        norm(&self.to_float(), ord, |terms, fold| match fold {
            Fold::Sum => terms.sum(axes),
            Fold::Max => terms.amax(axes),
            Fold::Min => terms.amin(axes),
        })
    }

    /// [`Tensor::vector_norm`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([[1.0f32, -2.0]]).vector_norm_keepdim(1.0, 1);
    /// assert_eq!((&y.shape()[..], y.to_vec::<f32>()?), (&[1, 1][..], vec![3.0]));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn vector_norm_keepdim(&self, ord: f64, axes: impl Axes) -> Tensor {
        norm(&self.to_float(), ord, |terms, fold| match fold {
            Fold::Sum => terms.sum_keepdim(axes),
            Fold::Max => terms.amax_keepdim(axes),
            Fold::Min => terms.amin_keepdim(axes),
        })
    }
}

/// How the terms of a norm become one number.
#[derive(Clone, Copy, Debug)]
enum Fold {
    Sum,
    Max,
    Min,
}

#[track_caller]
fn norm(x: &Tensor, ord: f64, fold: impl FnOnce(&Tensor, Fold) -> Tensor) -> Tensor {
    match ord {
        f64::INFINITY => fold(&x.abs(), Fold::Max),
        f64::NEG_INFINITY => fold(&x.abs(), Fold::Min),
        0.0 => fold(&x.ne(x.zeros_like()).to_dtype(x.dtype()), Fold::Sum),
        1.0 => fold(&x.abs(), Fold::Sum),
        2.0 => {
            let sum = fold(&(x * x), Fold::Sum);
            off_zero(&sum, 0.0, Tensor::sqrt)
        }
        _ => {
            let at_zero = if ord < 0.0 { f64::INFINITY } else { 0.0 };
            let terms = off_zero(&x.abs(), at_zero, |x| x.pow(x.constant_like(ord)));
            // A sum of 0 has the root 0 for p > 0, and ∞ for p < 0, where it comes from infinite elements.
            let root = if ord < 0.0 { f64::INFINITY } else { 0.0 };
            off_zero(&fold(&terms, Fold::Sum), root, |sum| sum.pow(sum.constant_like(1.0 / ord)))
        }
    }
}

/// f(x), and `value` where x is 0: there f has no gradient, and gets 0.
#[track_caller]
fn off_zero(x: &Tensor, value: f64, f: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
    let zero = x.eq(x.zeros_like());
    let safe = x.constant_like(1.0).where_(&zero, x);
    x.constant_like(value).where_(&zero, f(&safe))
}
