//! Along an axis, element by element: running sums and extrema, sorting.

use limpid_kernels::DType;
use limpid_kernels::scan::ScanFn;

use crate::error::Error;
use crate::op::{movement, reduce};
use crate::tensor::Tensor;

impl Tensor {
    #[track_caller]
    fn scanned(&self, f: ScanFn, name: &str, dim: isize) -> Tensor {
        let Some(axis) = self.axis(dim) else { return self.bad_axis(name, dim) };
        let whole = matches!(f, ScanFn::Sum | ScanFn::Prod) && !self.dtype().is_float();
        let x = if whole { self.to_dtype(DType::I64) } else { self.clone() };
        if x.rank() == 0 { x } else { reduce::scan(f, &x, axis, false) }
    }

    /// The running sum along `dim`. Integers give i64.
    #[track_caller]
    pub fn cumsum(&self, dim: isize) -> Tensor {
        self.scanned(ScanFn::Sum, "cumsum", dim)
    }

    /// The running product along `dim`. Integers give i64.
    #[track_caller]
    pub fn cumprod(&self, dim: isize) -> Tensor {
        self.scanned(ScanFn::Prod, "cumprod", dim)
    }

    /// The running maximum `y[i] = max(x[0], …, x[i])` along `dim` and the index of each: of equal elements the
    /// last, which takes the gradient. NaN counts as the largest.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (values, indices) = Tensor::from([1.0f32, 3.0, 2.0, 3.0]).cummax(0);
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 3.0, 3.0, 3.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [0, 1, 1, 3]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn cummax(&self, dim: isize) -> (Tensor, Tensor) {
        self.running_extremum(ScanFn::Max, "cummax", dim)
    }

    /// The running minimum `y[i] = min(x[0], …, x[i])` along `dim` and the index of each: of equal elements the
    /// last, which takes the gradient. NaN wins here too.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (values, indices) = Tensor::from([2.0f32, 3.0, 1.0]).cummin(0);
    /// assert_eq!(values.to_vec::<f32>()?, [2.0, 2.0, 1.0]);
    /// assert_eq!(indices.to_vec::<i64>()?, [0, 0, 2]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn cummin(&self, dim: isize) -> (Tensor, Tensor) {
        self.running_extremum(ScanFn::Min, "cummin", dim)
    }

    #[track_caller]
    fn running_extremum(&self, f: ScanFn, name: &str, dim: isize) -> (Tensor, Tensor) {
        let values = self.scanned(f, name, dim);
        let Some(axis) = self.axis(dim) else { return (values.clone(), values) };
        if self.rank() == 0 {
            return (values, Tensor::zeros_of([], DType::I64));
        }
        let indices = reduce::running_winner(&self.detach(), &values.detach(), axis, false);
        (values, indices)
    }

    /// The values in stable order along `dim` and their indices; NaN is the largest.
    #[track_caller]
    pub fn sort(&self, dim: isize, descending: bool) -> (Tensor, Tensor) {
        match self.axis(dim) {
            Some(_) if self.rank() == 0 => (self.clone(), Tensor::zeros_of([], DType::I64)),
            Some(axis) => reduce::sort(self, axis, descending),
            None => (self.bad_axis("sort", dim), self.bad_axis("sort", dim)),
        }
    }

    /// The indices that sort along `dim`.
    #[track_caller]
    pub fn argsort(&self, dim: isize, descending: bool) -> Tensor {
        self.sort(dim, descending).1
    }

    /// Every axis 0 in rising order. Torch's `msort`.
    #[track_caller]
    pub fn msort(&self) -> Tensor {
        self.sort(0, false).0
    }

    /// The `k` largest elements along `dim`, largest first, and their indices.
    #[track_caller]
    pub fn topk(&self, k: usize, dim: isize) -> (Tensor, Tensor) {
        self.topk_with(k, dim, true)
    }

    /// The `k` largest elements along `dim`, or the `k` smallest, the most extreme first, and their indices. Torch's
    /// `topk` with `largest`.
    #[track_caller]
    pub fn topk_with(&self, k: usize, dim: isize, largest: bool) -> (Tensor, Tensor) {
        let (values, order) = self.sort(dim, largest);
        let Some(axis) = self.axis(dim) else { return (values, order) };
        if self.rank() == 0 && k == 1 {
            return (values, order);
        }
        if self.rank() == 0 || k > self.shape()[axis] {
            let error = Error::new(format!("topk: {k} of axis {dim} of a tensor of shape {}", self.shape()));
            let failed = Tensor::fail(error, &[self], self.with_axis().shape().with(axis, k), self.dtype());
            return (failed.clone(), failed);
        }
        (movement::slice(&values, axis, 0, 1, k), movement::slice(&order, axis, 0, 1, k))
    }
}
