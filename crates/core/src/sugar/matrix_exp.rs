//! The exponential of a matrix.

use limpid_kernels::DType;

use crate::op::structure::loop_times;
use crate::tensor::Tensor;

/// The norm to which a matrix is scaled, and the terms of the series that are enough there for f64.
const RADIUS: f64 = 0.5;
const TERMS: usize = 15;
/// Squarings at most: a norm of 2¹⁹.
const SQUARINGS: usize = 20;

impl Tensor {
    /// exp(A) = Σ Aᵏ/k! of each matrix of `[…, n, n]`, by scaling and squaring: exp(A) = exp(A/2ˢ)^(2ˢ), with so many
    /// squarings, known at run time, that the series of A/2ˢ ends after a few terms. NaN where the largest column sum
    /// of |A| is above half a million. Torch's `matrix_exp`. Higham (2005).
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let turn = Tensor::from([[0.0f64, -5.0], [5.0, 0.0]]).matrix_exp().to_vec::<f64>()?;
    /// let (sin, cos) = 5f64.sin_cos();
    /// assert!((turn[0] - cos).abs() < 1e-12 && (turn[2] - sin).abs() < 1e-12);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn matrix_exp(&self) -> Tensor {
        let (shape, rank) = (self.shape(), self.rank());
        if rank < 2 || shape[rank - 1] != shape[rank - 2] {
            return self.refuse(format!("matrix_exp: shape {shape}, not of square matrices"));
        }
        if !self.dtype().is_float() {
            return self.refuse(format!("matrix_exp: the matrix is {}, not a float", self.dtype()));
        }
        if self.numel() == 0 {
            return self.clone();
        }
        let dtype = if self.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let x = self.to_dtype(dtype);
        let norm = x.detach().abs().sum(-2).amax(..);
        let steps = (norm / RADIUS).log2().ceil().clamp(0.0, SQUARINGS as f64);
        let scaled = &x * (-&steps).exp2();
        let one = Tensor::eye(shape[rank - 1]).to_dtype(dtype).expand_to(shape);
        let mut series = one.clone();
        for k in (1..TERMS).rev() {
            series = &one + scaled.matmul(&series) * scaled.constant_like(1.0 / k as f64);
        }
        let (power, _) = loop_times(&steps.to_dtype(DType::I64), SQUARINGS, &[series], &[], |carry, _| {
            (vec![carry[0].matmul(&carry[0])], vec![])
        });
        let y = power.into_iter().next().unwrap_or_else(|| x.clone());
        let beyond = steps.ge(SQUARINGS as f64);
        y.constant_like(f64::NAN).where_(&beyond, &y).to_dtype(self.dtype())
    }
}
