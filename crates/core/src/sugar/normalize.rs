//! Vectors brought to a length, and channels by their neighbours.

use crate::error::Error;
use crate::op::movement;
use crate::tensor::Tensor;

impl Tensor {
    /// x / max(‖x‖ₚ, eps) along `dim`. Torch's `nn.functional.normalize`; its defaults are p = 2, dim = 1, eps = 10⁻¹².
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([[3.0f32, 4.0], [0.0, 0.0]]).normalize(2.0, 1, 1e-12);
    /// assert_eq!(y.to_vec::<f32>()?, [0.6, 0.8, 0.0, 0.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn normalize(&self, p: f64, dim: isize, eps: f64) -> Tensor {
        if !self.dtype().is_float() {
            return self.refuse(format!("normalize: the input is {}, not a float", self.dtype()));
        }
        if self.axis(dim).is_none() {
            return self.bad_axis("normalize", dim);
        }
        self / self.vector_norm_keepdim(p, dim).clamp_min(eps)
    }

    /// x / (k + `alpha`/`size` · Σ x²)^`beta`, the sum over `size` neighbouring channels of `[batch, channels, …]`, with
    /// zeros beyond the ends. Torch's `nn.functional.local_response_norm`; its defaults are alpha = 10⁻⁴, beta = 0.75,
    /// k = 1. Krizhevsky et al. (2012).
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([[[1.0f64], [2.0]]]).local_response_norm(2, 2.0, 1.0, 1.0);
    /// assert_eq!(y.to_vec::<f64>()?, [1.0 / 2.0, 2.0 / 6.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn local_response_norm(&self, size: usize, alpha: f64, beta: f64, k: f64) -> Tensor {
        let window = (size / 2, size.saturating_sub(1) / 2);
        self.response("local_response_norm", size, window, (alpha, beta, k))
    }

    /// [`Tensor::local_response_norm`] of pictures as torch's `nn.CrossMapLRN2d` computes it: over a window that is the
    /// same on both sides (where `size` is even, of one channel less), and with channel 0 in every sum, as that layer
    /// never takes it out. The gradient is that of this function.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[[[1.0f64]], [[2.0]], [[3.0]]]]);
    /// let y = x.cross_map_lrn2d(1, 1.0, 1.0, 1.0);
    /// assert_eq!(y.to_vec::<f64>()?, [1.0 / 2.0, 2.0 / 6.0, 3.0 / 11.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn cross_map_lrn2d(&self, size: usize, alpha: f64, beta: f64, k: f64) -> Tensor {
        if self.rank() != 4 {
            let shape = self.shape();
            return self.refuse(format!("cross_map_lrn2d: the input has shape {shape}, not [batch, channels, h, w]"));
        }
        let side = size.saturating_sub(1) / 2;
        self.response("cross_map_lrn2d", size, (side, side), (alpha, beta, k))
    }

    /// x / (k + alpha/size · Σ x²)^beta over so many channels before each and after it.
    #[track_caller]
    fn response(&self, name: &str, size: usize, window: (usize, usize), numbers: (f64, f64, f64)) -> Tensor {
        let ((before, after), (alpha, beta, k)) = (window, numbers);
        if self.rank() < 3 {
            let shape = self.shape();
            let error = Error::new(format!("{name}: the input has shape {shape}, fewer than three axes"));
            return Tensor::fail(error.help("[batch, channels, places…]"), &[self], shape.clone(), self.dtype());
        }
        if size == 0 || size > i32::MAX as usize {
            return self.refuse(format!("{name}: a window of {size} channels"));
        }
        if !self.dtype().is_float() {
            return self.refuse(format!("{name}: the input is {}, not a float", self.dtype()));
        }
        if self.numel() == 0 {
            return self.clone();
        }
        let squares = self.square().pad(1, before as isize, after as isize, 0.0);
        let mut sums = movement::window(&squares, 1, before + 1 + after, 1, 1).sum(-1);
        let beyond = self.size(1).saturating_sub(before + 1);
        if name == "cross_map_lrn2d" && beyond > 0 {
            let first = self.narrow(1, 0, 1).square().expand_to(&self.shape().with(1, beyond));
            sums = sums + first.pad(1, before as isize + 1, 0, 0.0);
        }
        self / (sums * (alpha / size as f64) + k).pow(beta)
    }
}
