//! Many elements to one: sums, means, extrema.

use limpid_kernels::DType;
use limpid_kernels::fused::ReduceFn;

use crate::error::Error;
use crate::op::{AxisList, index, movement, reduce, source};
use crate::shape::{Axes, Shape};
use crate::tensor::Tensor;

impl Tensor {
    /// The failed tensor of a function that was given an axis which is not there.
    #[track_caller]
    pub(crate) fn bad_axis(&self, name: &str, axis: isize) -> Tensor {
        let rank = self.rank();
        let error = Error::new(format!("{name}: axis {axis} of a tensor of shape {}", self.shape()));
        let error = if rank == 0 { error } else { error.help(format!("an axis from -{rank} to {}", rank - 1)) };
        Tensor::fail(error, &[self], self.shape().clone(), self.dtype())
    }

    /// The axis that `dim` names: `-1` is the last, and a scalar has that of `[1]`, as in torch.
    pub(crate) fn axis(&self, dim: isize) -> Option<usize> {
        if self.rank() == 0 { matches!(dim, 0 | -1).then_some(0) } else { self.shape().axis(dim) }
    }

    /// A scalar as `[1]`, others as they are: what [`Tensor::axis`] counts in.
    #[track_caller]
    pub(crate) fn with_axis(&self) -> Tensor {
        if self.rank() == 0 { movement::reshape(self, Shape::from([1])) } else { self.clone() }
    }

    #[track_caller]
    fn reduce_keepdim(&self, f: ReduceFn, name: &str, axes: &dyn Axes) -> Result<(Tensor, AxisList), Tensor> {
        let axes = match axes.resolve(self.shape()) {
            Ok(axes) => axes,
            Err(axis) if self.shape().axis(axis).is_none() => return Err(self.bad_axis(name, axis)),
            Err(axis) => return Err(self.refuse(format!("{name}: axis {axis} is named twice"))),
        };
        if matches!(f, ReduceFn::Max | ReduceFn::Min) && axes.iter().any(|&a| self.shape()[a] == 0) {
            let error = Error::new(format!("{name}: the extremum of no element, shape {}", self.shape()));
            return Err(Tensor::fail(error, &[self], self.shape().reduced(&axes), self.dtype()));
        }
        // Sums of integers and bools are i64, as in torch.
        let summed = matches!(f, ReduceFn::Sum | ReduceFn::Prod) && !self.dtype().is_float();
        let x = if summed { self.to_dtype(DType::I64) } else { self.clone() };
        Ok((reduce::reduce(f, &x, &axes), axes))
    }

    #[track_caller]
    fn reduced(&self, f: ReduceFn, name: &str, axes: &dyn Axes, keepdim: bool) -> Tensor {
        match self.reduce_keepdim(f, name, axes) {
            Err(failed) => failed,
            Ok((y, _)) if keepdim => y,
            Ok((y, axes)) => drop_axes(&y, &axes),
        }
    }

    /// Σ x over `axes`: one (`-1`), several (`[0, 1]`) or all (`..`). Integers and bools give i64; f32 sums
    /// are sums of f32, in an order that depends on the shape alone.
    #[track_caller]
    pub fn sum(&self, axes: impl Axes) -> Tensor {
        self.reduced(ReduceFn::Sum, "sum", &axes, false)
    }

    /// [`Tensor::sum`] with the axes kept at size 1.
    #[track_caller]
    pub fn sum_keepdim(&self, axes: impl Axes) -> Tensor {
        self.reduced(ReduceFn::Sum, "sum", &axes, true)
    }

    /// ∏ x over `axes`.
    #[track_caller]
    pub fn prod(&self, axes: impl Axes) -> Tensor {
        self.reduced(ReduceFn::Prod, "prod", &axes, false)
    }

    /// [`Tensor::prod`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.prod_keepdim(1).shape()[..], [2, 1]);
    /// assert_eq!(x.prod_keepdim(1).to_vec::<f32>()?, [2.0, 12.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn prod_keepdim(&self, axes: impl Axes) -> Tensor {
        self.reduced(ReduceFn::Prod, "prod", &axes, true)
    }

    #[track_caller]
    fn mean_of(&self, axes: &dyn Axes, keepdim: bool) -> Tensor {
        let x = self.to_float();
        match x.reduce_keepdim(ReduceFn::Sum, "mean", axes) {
            Err(failed) => failed,
            Ok((sum, axes)) => {
                let count: usize = axes.iter().map(|&a| x.shape()[a]).product();
                let mean = &sum / sum.constant_like(count as f64);
                if keepdim { mean } else { drop_axes(&mean, &axes) }
            }
        }
    }

    /// The mean over `axes`; NaN over no element.
    #[track_caller]
    pub fn mean(&self, axes: impl Axes) -> Tensor {
        self.mean_of(&axes, false)
    }

    /// [`Tensor::mean`] with the axes kept at size 1.
    #[track_caller]
    pub fn mean_keepdim(&self, axes: impl Axes) -> Tensor {
        self.mean_of(&axes, true)
    }

    /// The variance over `axes`: Σ (x − mean)² / (n − correction). Torch's default correction is 1.
    #[track_caller]
    pub fn var(&self, axes: impl Axes, correction: f64) -> Tensor {
        self.var_of(&axes, correction, false)
    }

    /// [`Tensor::var`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.var_keepdim(0, 1.0).shape()[..], [1, 2]);
    /// assert_eq!(x.var_keepdim(0, 1.0).to_vec::<f32>()?, [2.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn var_keepdim(&self, axes: impl Axes, correction: f64) -> Tensor {
        self.var_of(&axes, correction, true)
    }

    #[track_caller]
    fn var_of(&self, axes: &dyn Axes, correction: f64, keepdim: bool) -> Tensor {
        let x = self.to_float();
        let axes = match axes.resolve(x.shape()) {
            Ok(axes) => axes,
            Err(axis) => return self.bad_axis("var", axis),
        };
        let count: usize = axes.iter().map(|&a| x.shape()[a]).product();
        let sum = reduce::reduce(ReduceFn::Sum, &x, &axes);
        let centred = &x - &sum / sum.constant_like(count as f64);
        let sum = reduce::reduce(ReduceFn::Sum, &(&centred * &centred), &axes);
        let var = &sum / sum.constant_like((count as f64 - correction).max(0.0));
        if keepdim { var } else { drop_axes(&var, &axes) }
    }

    /// The square root of [`Tensor::var`].
    #[track_caller]
    pub fn std(&self, axes: impl Axes, correction: f64) -> Tensor {
        self.var(axes, correction).sqrt()
    }

    /// [`Tensor::std`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.std_keepdim(1, 0.0).shape()[..], [2, 1]);
    /// assert_eq!(x.std_keepdim(1, 0.0).to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn std_keepdim(&self, axes: impl Axes, correction: f64) -> Tensor {
        self.var_keepdim(axes, correction).sqrt()
    }

    /// The largest element over `axes`; equal ones share the gradient.
    #[track_caller]
    pub fn amax(&self, axes: impl Axes) -> Tensor {
        self.reduced(ReduceFn::Max, "amax", &axes, false)
    }

    /// [`Tensor::amax`] with the axes kept at size 1.
    #[track_caller]
    pub fn amax_keepdim(&self, axes: impl Axes) -> Tensor {
        self.reduced(ReduceFn::Max, "amax", &axes, true)
    }

    /// The smallest element over `axes`; equal ones share the gradient.
    #[track_caller]
    pub fn amin(&self, axes: impl Axes) -> Tensor {
        self.reduced(ReduceFn::Min, "amin", &axes, false)
    }

    /// [`Tensor::amin`] with the axes kept at size 1.
    #[track_caller]
    pub fn amin_keepdim(&self, axes: impl Axes) -> Tensor {
        self.reduced(ReduceFn::Min, "amin", &axes, true)
    }

    /// Whether any element over `axes` is not 0.
    #[track_caller]
    pub fn any(&self, axes: impl Axes) -> Tensor {
        self.truth_of(ReduceFn::Max, "any", &axes, false)
    }

    /// [`Tensor::any`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[0.0f32, 2.0], [0.0, 0.0]]);
    /// assert_eq!(x.any_keepdim(1).shape()[..], [2, 1]);
    /// assert_eq!(x.any_keepdim(1).to_vec::<u8>()?, [1, 0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn any_keepdim(&self, axes: impl Axes) -> Tensor {
        self.truth_of(ReduceFn::Max, "any", &axes, true)
    }

    /// Whether all elements over `axes` are not 0.
    #[track_caller]
    pub fn all(&self, axes: impl Axes) -> Tensor {
        self.truth_of(ReduceFn::Min, "all", &axes, false)
    }

    /// [`Tensor::all`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[0.0f32, 2.0], [1.0, 3.0]]);
    /// assert_eq!(x.all_keepdim(1).shape()[..], [2, 1]);
    /// assert_eq!(x.all_keepdim(1).to_vec::<u8>()?, [0, 1]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn all_keepdim(&self, axes: impl Axes) -> Tensor {
        self.truth_of(ReduceFn::Min, "all", &axes, true)
    }

    #[track_caller]
    fn truth_of(&self, f: ReduceFn, name: &str, axes: &dyn Axes, keepdim: bool) -> Tensor {
        let axes = match axes.resolve(self.shape()) {
            Ok(axes) => axes,
            Err(axis) => return self.bad_axis(name, axis),
        };
        let y = reduce::reduce(f, &self.to_dtype(DType::Bool), &axes);
        if keepdim { y } else { drop_axes(&y, &axes) }
    }

    /// The largest element along `dim` and its index: of equal ones the first, which alone takes the
    /// gradient. NaN counts as the largest. Torch's `max(dim)`.
    #[track_caller]
    pub fn max(&self, dim: isize) -> (Tensor, Tensor) {
        self.extremum("max", dim, true, false)
    }

    /// [`Tensor::max`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// let (values, indices) = x.max_keepdim(1);
    /// assert_eq!((&values.shape()[..], values.to_vec::<f32>()?), (&[2, 1][..], vec![2.0, 4.0]));
    /// assert_eq!((&indices.shape()[..], indices.to_vec::<i64>()?), (&[2, 1][..], vec![1, 1]));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn max_keepdim(&self, dim: isize) -> (Tensor, Tensor) {
        self.extremum("max", dim, true, true)
    }

    /// The smallest element along `dim` and its index. NaN wins here too.
    #[track_caller]
    pub fn min(&self, dim: isize) -> (Tensor, Tensor) {
        self.extremum("min", dim, false, false)
    }

    /// [`Tensor::min`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// let (values, indices) = x.min_keepdim(0);
    /// assert_eq!((&values.shape()[..], values.to_vec::<f32>()?), (&[1, 2][..], vec![1.0, 2.0]));
    /// assert_eq!((&indices.shape()[..], indices.to_vec::<i64>()?), (&[1, 2][..], vec![0, 0]));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn min_keepdim(&self, dim: isize) -> (Tensor, Tensor) {
        self.extremum("min", dim, false, true)
    }

    #[track_caller]
    fn extremum(&self, name: &str, dim: isize, largest: bool, keepdim: bool) -> (Tensor, Tensor) {
        let index = self.arg_extremum(name, &dim, largest, true);
        if index.error().is_some() {
            return (index.clone(), index);
        }
        if self.rank() == 0 {
            return (self.clone(), index);
        }
        let axis = self.shape().axis(dim).expect("checked");
        let value = index::gather(self, axis, &index);
        if keepdim {
            return (value, index);
        }
        let axes = smallvec::smallvec![axis];
        (drop_axes(&value, &axes), drop_axes(&index, &axes))
    }

    /// The index of the largest element along one axis (`-1`), of equal ones the first; NaN wins. i64. Over
    /// several or all axes (`..`) it is the index in these axes flattened.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert_eq!(Tensor::from([2.0f32, 1.0, 0.1]).argmax(-1).item()?, 0.0);
    /// assert_eq!(Tensor::from([[2.0f32, 1.0], [0.1, 3.0]]).argmax(..).item()?, 3.0);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn argmax(&self, axes: impl Axes) -> Tensor {
        self.arg_extremum("argmax", &axes, true, false)
    }

    /// [`Tensor::argmax`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.argmax_keepdim(1).shape()[..], [2, 1]);
    /// assert_eq!(x.argmax_keepdim(1).to_vec::<i64>()?, [1, 1]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn argmax_keepdim(&self, axes: impl Axes) -> Tensor {
        self.arg_extremum("argmax", &axes, true, true)
    }

    /// The index of the smallest element along one axis (`-1`), of equal ones the first; NaN wins. i64. Over
    /// several or all axes (`..`) it is the index in these axes flattened.
    #[track_caller]
    pub fn argmin(&self, axes: impl Axes) -> Tensor {
        self.arg_extremum("argmin", &axes, false, false)
    }

    /// [`Tensor::argmin`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.argmin_keepdim(..).shape()[..], [1, 1]);
    /// assert_eq!(x.argmin_keepdim(..).to_vec::<i64>()?, [0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn argmin_keepdim(&self, axes: impl Axes) -> Tensor {
        self.arg_extremum("argmin", &axes, false, true)
    }

    /// The first place that holds the extremum: said in reductions, so that it joins their passes.
    #[track_caller]
    fn arg_extremum(&self, name: &str, axes: &dyn Axes, largest: bool, keepdim: bool) -> Tensor {
        let axes: AxisList = match axes.resolve(self.shape()) {
            Ok(axes) => axes,
            Err(axis) => return self.bad_axis(name, axis),
        };
        if axes.is_empty() {
            return Tensor::zeros_of(self.shape(), DType::I64);
        }
        let len: usize = axes.iter().map(|&a| self.shape()[a]).product();
        if len == 0 {
            let error = Error::new(format!("{name}: the extremum of no element, shape {}", self.shape()));
            return Tensor::fail(error, &[self], self.shape().reduced(&axes), DType::I64);
        }
        let x = self.detach();
        let f = if largest { ReduceFn::Max } else { ReduceFn::Min };
        let best = movement::broadcast(&reduce::reduce(f, &x, &axes), x.shape());
        let wins = x.eq(&best).logical_or(&x.ne(&x));
        let along = |&a: &usize| (source::iota(x.shape().clone(), a), x.shape()[a] as f64);
        let flatten = |(outer, _): (Tensor, f64), (inner, size)| (&outer * outer.constant_like(size) + inner, size);
        let (place, _) = axes.iter().map(along).reduce(flatten).expect("one axis or more");
        let none = place.constant_like(len as f64);
        let first = reduce::reduce(ReduceFn::Min, &place.where_(&wins, &none), &axes);
        if keepdim { first } else { drop_axes(&first, &axes) }
    }

    /// log Σ exp(x) over `axes`, without overflow; −∞ over no element.
    #[track_caller]
    pub fn logsumexp(&self, axes: impl Axes) -> Tensor {
        self.logsumexp_of(&axes, false)
    }

    /// [`Tensor::logsumexp`] with the axes kept at size 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1000.0f32, 1000.0]]);
    /// let y = x.logsumexp_keepdim(1);
    /// assert_eq!((&y.shape()[..], y.to_vec::<f32>()?), (&[1, 1][..], vec![1000.0 + 2f32.ln()]));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn logsumexp_keepdim(&self, axes: impl Axes) -> Tensor {
        self.logsumexp_of(&axes, true)
    }

    #[track_caller]
    fn logsumexp_of(&self, axes: &dyn Axes, keepdim: bool) -> Tensor {
        let x = self.to_float();
        let axes: AxisList = match axes.resolve(x.shape()) {
            Ok(axes) => axes,
            Err(axis) => return x.bad_axis("logsumexp", axis),
        };
        let max = reduce::reduce(ReduceFn::Max, &x.detach(), &axes);
        // An infinite maximum would give NaN as its own difference.
        let shift = max.where_(&max.isfinite(), 0.0);
        let sum = reduce::reduce(ReduceFn::Sum, &(&x - &shift).exp(), &axes).log() + shift;
        if keepdim { sum } else { drop_axes(&sum, &axes) }
    }
}

/// The tensor without `axes`, which have size 1.
#[track_caller]
pub(crate) fn drop_axes(x: &Tensor, axes: &AxisList) -> Tensor {
    let shape: Shape = (0..x.rank()).filter(|i| !axes.contains(i)).map(|i| x.shape()[i]).collect();
    movement::reshape(x, shape)
}
