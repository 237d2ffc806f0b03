//! Lengths of vectors.

use std::panic::Location;

use crate::error::Error;
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

/// Which norm of a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MatrixNorm {
    /// √Σ x²: "fro".
    Fro,
    /// The sum of the singular values: "nuc".
    Nuc,
    /// The largest (1) or smallest (−1) sum of |x| of a column, of a row (±∞), or singular value (±2).
    Ord(f64),
}

impl From<f64> for MatrixNorm {
    fn from(ord: f64) -> MatrixNorm {
        MatrixNorm::Ord(ord)
    }
}

impl Tensor {
    /// The norm of the matrices of axes `dims`, which stay with size 1 where `keepdim`. Torch's `linalg.matrix_norm`;
    /// its defaults are "fro" and (−2, −1).
    ///
    /// ```
    /// use limpid_core::{MatrixNorm, Tensor};
    /// let x = Tensor::from([[3.0f64, 0.0], [4.0, 5.0]]);
    /// assert_eq!(x.matrix_norm(1.0, [-2, -1], false).item()?, 7.0);
    /// assert!((x.matrix_norm(MatrixNorm::Nuc, [-2, -1], false).item()? - 80f64.sqrt()).abs() < 1e-12);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: another `ord`, axes that are not two of the tensor's, no floats.
    #[track_caller]
    pub fn matrix_norm(&self, ord: impl Into<MatrixNorm>, dims: [isize; 2], keepdim: bool) -> Tensor {
        // A closure does not know who called.
        let at = Location::caller();
        let fail = |what: String| {
            let error = Error::new(format!("linalg.matrix_norm: {what}"));
            Tensor::fail_at(at, error, &[self], self.shape().clone(), self.dtype())
        };
        let axes = dims.map(|dim| self.shape().axis(dim));
        let [Some(rows), Some(columns)] = axes else {
            return fail(format!("axes {dims:?} of {}", self.shape()));
        };
        if rows == columns || !self.dtype().is_float() {
            return fail(format!("axes {dims:?} of {} {}", self.dtype(), self.shape()));
        }
        let x = self.movedim(&dims, &[-2, -1]);
        let ord = ord.into();
        let y = match ord {
            MatrixNorm::Fro => x.vector_norm(2.0, [-2, -1]),
            MatrixNorm::Nuc => x.svdvals().sum(-1),
            MatrixNorm::Ord(p) if p.abs() == 2.0 => extreme(&x.svdvals(), p),
            MatrixNorm::Ord(p) if p.abs() == 1.0 => extreme(&x.abs().sum(-2), p),
            MatrixNorm::Ord(p) if p.is_infinite() => extreme(&x.abs().sum(-1), p),
            MatrixNorm::Ord(p) => return fail(format!("ord {p} is not 1, 2, ∞ or their negatives")),
        };
        if !keepdim {
            return y;
        }
        let (first, second) = (rows.min(columns) as isize, rows.max(columns) as isize);
        y.unsqueeze(first).unsqueeze(second)
    }

    /// The norm over `dims`: of vectors where there is one axis, of matrices where there are two, and without `dims` of
    /// the whole tensor, of one or two axes when `ord` is given. Without `ord` √Σ x². Torch's `linalg.norm`.
    ///
    /// # Errors
    /// At the read: what [`Tensor::matrix_norm`] refuses, more axes than two.
    #[track_caller]
    pub fn linalg_norm(&self, ord: Option<MatrixNorm>, dims: Option<&[isize]>, keepdim: bool) -> Tensor {
        let all: Vec<isize> = (0..self.rank() as isize).collect();
        let dims = dims.unwrap_or(&all);
        match (ord, dims) {
            (None, _) => self.vector_norm_over(2.0, dims, keepdim),
            (Some(MatrixNorm::Ord(p)), [_]) => self.vector_norm_over(p, dims, keepdim),
            (Some(ord), &[rows, columns]) => self.matrix_norm(ord, [rows, columns], keepdim),
            (Some(ord), _) => {
                let what = format!("linalg.norm: {ord:?} over axes {dims:?} of {}", self.shape());
                let error = Error::new(what).help("one axis or two");
                Tensor::fail(error, &[self], self.shape().clone(), self.dtype())
            }
        }
    }

    #[track_caller]
    fn vector_norm_over(&self, ord: f64, dims: &[isize], keepdim: bool) -> Tensor {
        if keepdim { self.vector_norm_keepdim(ord, dims) } else { self.vector_norm(ord, dims) }
    }
}

/// The largest of the last axis (0 of nothing), or the smallest where `sign` is negative.
#[track_caller]
fn extreme(x: &Tensor, sign: f64) -> Tensor {
    if sign > 0.0 && x.size(-1) == 0 {
        return x.sum(-1);
    }
    if sign < 0.0 { x.amin(-1) } else { x.amax(-1) }
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
    // The closure does not know who called.
    let _line = crate::origin::under(std::panic::Location::caller());
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
