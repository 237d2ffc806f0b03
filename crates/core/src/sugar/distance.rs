//! Distances between vectors.

use crate::error::Error;
use crate::promote::promote;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The p-norm over the last axis, with the gradients of torch's distances: 0 at distance 0, and by the largest
/// difference for p = ∞, by each of them where several are largest.
#[track_caller]
fn length(difference: &Tensor, p: f64) -> Tensor {
    if p != f64::INFINITY {
        return difference.vector_norm(p, -1);
    }
    if difference.size(-1) == 0 {
        return difference.sum(-1);
    }
    let sizes = difference.abs();
    let largest = sizes.amax_keepdim(-1).detach();
    // Nothing but the gradient.
    let slope = (&sizes - sizes.detach()).where_(&sizes.eq(&largest), 0.0).sum(-1);
    largest.squeeze(-1) + slope
}

impl Tensor {
    /// The p-norm of self − other over all elements: one number. The shapes may broadcast. Torch's `dist`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (x, y) = (Tensor::from([4.0f32, 1.0]), Tensor::from([1.0f32, -3.0]));
    /// assert_eq!(x.dist(&y, 2.0).item()?, 5.0);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn dist(&self, other: &Tensor, p: f64) -> Tensor {
        (self - other).vector_norm(p, ..)
    }

    /// The p-norm of the difference of each row of self `[…, n, m]` and each row of other `[…, k, m]`: `[…, n, k]`,
    /// p from 0 to ∞; the axes before broadcast. Where a distance is 0 its gradient is 0. Torch's `cdist`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (x, y) = (Tensor::from([[0.0f32, 0.0], [3.0, 0.0]]), Tensor::from([[3.0f32, 4.0]]));
    /// assert_eq!(x.cdist(&y, 2.0).to_vec::<f32>()?, [5.0, 4.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: rows of different lengths, integers, a p below 0.
    #[track_caller]
    pub fn cdist(&self, other: &Tensor, p: f64) -> Tensor {
        let (a, b) = (self.shape(), other.shape());
        let dtype = promote(self.dtype(), other.dtype());
        let wrong = if a.rank() < 2 || b.rank() < 2 {
            Some(format!("{a} and {b} are not rows [n, m] and [k, m]"))
        } else if a[a.rank() - 1] != b[b.rank() - 1] {
            Some(format!("rows of {} and of {} numbers: {a} and {b}", a[a.rank() - 1], b[b.rank() - 1]))
        } else if !(self.dtype().is_float() && other.dtype().is_float()) {
            Some(format!("rows of {} and {}, not floats", self.dtype(), other.dtype()))
        } else if p.is_nan() || p < 0.0 {
            Some(format!("p is {p}, not from 0 to infinity"))
        } else if Shape::from(&a[..a.rank() - 2]).broadcast(&Shape::from(&b[..b.rank() - 2])).is_none() {
            Some(format!("the axes before the rows do not broadcast: {a} and {b}"))
        } else {
            None
        };
        if let Some(what) = wrong {
            return Tensor::fail(Error::new(format!("cdist: {what}")), &[self, other], a.clone(), dtype);
        }
        length(&(self.unsqueeze(-2) - other.unsqueeze(-3)), p)
    }

    /// The p-norm of the difference of each two rows of self `[n, m]`: `[n·(n − 1)/2]`, in the order (0, 1), (0, 2),
    /// … (1, 2), …; torch's `pdist`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[0.0f32], [1.0], [5.0]]);
    /// assert_eq!(x.pdist(2.0).to_vec::<f32>()?, [1.0, 5.0, 4.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: other than two axes, integers, a p below 0.
    #[track_caller]
    pub fn pdist(&self, p: f64) -> Tensor {
        let wrong = if self.rank() != 2 {
            Some(format!("{} is not rows [n, m]", self.shape()))
        } else if !self.dtype().is_float() {
            Some(format!("rows of {}, not floats", self.dtype()))
        } else if p.is_nan() || p < 0.0 {
            Some(format!("p is {p}, not from 0 to infinity"))
        } else {
            None
        };
        let n = self.shape().first().copied().unwrap_or(1);
        if let Some(what) = wrong {
            let shape = Shape::from([n * n.saturating_sub(1) / 2]);
            return Tensor::fail(Error::new(format!("pdist: {what}")), &[self], shape, self.dtype());
        }
        let pairs = || (0..n as i64).flat_map(|i| (i + 1..n as i64).map(move |j| (i, j)));
        let rows = |of: fn((i64, i64)) -> i64| pairs().map(of).collect::<Vec<_>>();
        let (first, second) = (Tensor::from(rows(|pair| pair.0)), Tensor::from(rows(|pair| pair.1)));
        length(&(self.index_select(0, &first) - self.index_select(0, &second)), p)
    }
}
