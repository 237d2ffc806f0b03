//! Statistics along axes: order statistics, quantiles, what leaves NaN out, histograms.

use limpid_kernels::fused::ReduceFn;
use limpid_kernels::index::ScatterFn;
use limpid_kernels::{DType, Number};

use crate::error::Error;
use crate::op::{AxisList, index, movement, reduce, source};
use crate::shape::{Axes, Shape};
use crate::sugar::diagonal::moved_to_end;
use crate::sugar::operators::Value;
use crate::sugar::reduction::drop_axes;
use crate::sugar::shape::as_type;
use crate::tensor::Tensor;

/// A tensor whose last axis is what a statistic runs over.
struct Rows {
    /// `[…, n]`
    x: Tensor,
    /// The shape with the axes at size 1.
    kept: Shape,
    /// The axes.
    axes: AxisList,
}

impl Rows {
    /// The axes `axes` of `x` as one, the last.
    #[track_caller]
    fn over(x: &Tensor, name: &str, axes: &dyn Axes) -> Result<Rows, Tensor> {
        let axes: AxisList = match axes.resolve(x.shape()) {
            Ok(axes) => axes,
            Err(axis) => return Err(x.bad_axis(name, axis)),
        };
        let moved = moved_to_end(x, &axes);
        let outside = &moved.shape()[..x.rank() - axes.len()];
        let count = axes.iter().map(|&axis| x.shape()[axis]).product();
        let flat = outside.iter().copied().chain([count]).collect();
        Ok(Rows { x: movement::reshape(&moved, flat), kept: x.shape().reduced(&axes), axes })
    }

    /// Elements in a row.
    fn len(&self) -> usize {
        self.x.shape()[self.x.rank() - 1]
    }

    fn last(&self) -> usize {
        self.x.rank() - 1
    }

    /// A result with one element for each row, `[…, 1]`, in the shape that is asked for.
    #[track_caller]
    fn put_back(&self, y: &Tensor, keepdim: bool) -> Tensor {
        let y = movement::reshape(y, self.kept.clone());
        if keepdim { y } else { drop_axes(&y, &self.axes) }
    }

    /// The error of a statistic of no element.
    #[track_caller]
    fn refuse(&self, x: &Tensor, what: String) -> Tensor {
        Tensor::fail(Error::new(what), &[x], self.kept.clone(), x.dtype())
    }
}

/// A pair of a value and the place it is from, failed.
#[track_caller]
fn both(failed: Tensor) -> (Tensor, Tensor) {
    (failed.clone(), failed)
}

/// Each element's number of NaN in its row, `[…, 1]`, i64.
#[track_caller]
fn nans(rows: &Tensor) -> Tensor {
    let axes: AxisList = smallvec::smallvec![rows.rank() - 1];
    reduce::reduce(ReduceFn::Sum, &rows.ne(rows).to_dtype(DType::I64), &axes)
}

impl Tensor {
    /// The smallest and the largest element over `axes`; equal ones share the gradient. Torch's `aminmax`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (low, high) = Tensor::from([3.0f32, -1.0, 2.0]).aminmax(..);
    /// assert_eq!((low.item()?, high.item()?), (-1.0, 3.0));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn aminmax(&self, axes: impl Axes + Clone) -> (Tensor, Tensor) {
        (self.amin(axes.clone()), self.amax(axes))
    }

    /// [`Tensor::aminmax`] with the axes kept at size 1.
    #[track_caller]
    pub fn aminmax_keepdim(&self, axes: impl Axes + Clone) -> (Tensor, Tensor) {
        (self.amin_keepdim(axes.clone()), self.amax_keepdim(axes))
    }

    /// How many elements over `axes` are not 0, i64. Torch's `count_nonzero`.
    #[track_caller]
    pub fn count_nonzero(&self, axes: impl Axes) -> Tensor {
        self.to_dtype(DType::Bool).sum(axes)
    }

    /// Standard deviation and mean over `axes`. Torch's `std_mean`.
    #[track_caller]
    pub fn std_mean(&self, axes: impl Axes + Clone, correction: f64) -> (Tensor, Tensor) {
        (self.std(axes.clone(), correction), self.mean(axes))
    }

    /// [`Tensor::std_mean`] with the axes kept at size 1.
    #[track_caller]
    pub fn std_mean_keepdim(&self, axes: impl Axes + Clone, correction: f64) -> (Tensor, Tensor) {
        (self.std_keepdim(axes.clone(), correction), self.mean_keepdim(axes))
    }

    /// Variance and mean over `axes`. Torch's `var_mean`.
    #[track_caller]
    pub fn var_mean(&self, axes: impl Axes + Clone, correction: f64) -> (Tensor, Tensor) {
        (self.var(axes.clone(), correction), self.mean(axes))
    }

    /// [`Tensor::var_mean`] with the axes kept at size 1.
    #[track_caller]
    pub fn var_mean_keepdim(&self, axes: impl Axes + Clone, correction: f64) -> (Tensor, Tensor) {
        (self.var_keepdim(axes.clone(), correction), self.mean_keepdim(axes))
    }

    /// 0 in the place of NaN.
    #[track_caller]
    fn without_nan(&self) -> Tensor {
        if self.dtype().is_float() { self.where_(&self.isnan().logical_not(), 0.0) } else { self.clone() }
    }

    /// Σ x over `axes`, NaN left out. Torch's `nansum`.
    #[track_caller]
    pub fn nansum(&self, axes: impl Axes) -> Tensor {
        self.without_nan().sum(axes)
    }

    /// [`Tensor::nansum`] with the axes kept at size 1.
    #[track_caller]
    pub fn nansum_keepdim(&self, axes: impl Axes) -> Tensor {
        self.without_nan().sum_keepdim(axes)
    }

    /// The mean over `axes` of what is not NaN. Torch's `nanmean`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert_eq!(Tensor::from([1.0f32, f32::NAN, 3.0]).nanmean(..).item()?, 2.0);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn nanmean(&self, axes: impl Axes + Clone) -> Tensor {
        let x = self.to_float();
        let sum = x.nansum(axes.clone());
        &sum / x.eq(&x).sum(axes).to_dtype(x.dtype())
    }

    /// [`Tensor::nanmean`] with the axes kept at size 1.
    #[track_caller]
    pub fn nanmean_keepdim(&self, axes: impl Axes + Clone) -> Tensor {
        let x = self.to_float();
        let sum = x.nansum_keepdim(axes.clone());
        &sum / x.eq(&x).sum_keepdim(axes).to_dtype(x.dtype())
    }

    /// The element at each row's place `at` (`[…, 1]`) in rising order, and where it is from.
    #[track_caller]
    fn ranked(rows: &Rows, at: &Tensor, keepdim: bool) -> (Tensor, Tensor) {
        let (_, order) = reduce::sort(&rows.x.detach(), rows.last(), false);
        let place = index::gather(&order, rows.last(), at);
        let value = index::gather(&rows.x, rows.last(), &place);
        (rows.put_back(&value, keepdim), rows.put_back(&place, keepdim))
    }

    /// The k-th smallest element along `dim` (the first is 1) and its index; NaN counts as the largest. Torch's
    /// `kthvalue`, whose default axis is −1.
    #[track_caller]
    pub fn kthvalue(&self, k: usize, dim: isize) -> (Tensor, Tensor) {
        self.kth(k, dim, false)
    }

    /// [`Tensor::kthvalue`] with the axis kept at size 1.
    #[track_caller]
    pub fn kthvalue_keepdim(&self, k: usize, dim: isize) -> (Tensor, Tensor) {
        self.kth(k, dim, true)
    }

    #[track_caller]
    fn kth(&self, k: usize, dim: isize, keepdim: bool) -> (Tensor, Tensor) {
        let rows = match Rows::over(self, "kthvalue", &dim) {
            Ok(rows) => rows,
            Err(failed) => return both(failed),
        };
        if k == 0 || k > rows.len() {
            return both(rows.refuse(self, format!("kthvalue: number {k} of {} along axis {dim}", rows.len())));
        }
        let shape = rows.x.shape().with(rows.last(), 1);
        let at = source::scalar_of(Number::Int(k as i64 - 1), DType::I64, shape);
        Tensor::ranked(&rows, &at, keepdim)
    }

    /// The median along `dim`, the lower one of two, and its index; the first NaN where there is one. Torch's
    /// `median(dim)`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (value, index) = Tensor::from([5.0f32, 1.0, 3.0, 4.0]).median(0);
    /// assert_eq!((value.item()?, index.item()?), (3.0, 2.0));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn median(&self, dim: isize) -> (Tensor, Tensor) {
        self.middle("median", dim, false, false)
    }

    /// [`Tensor::median`] with the axis kept at size 1.
    #[track_caller]
    pub fn median_keepdim(&self, dim: isize) -> (Tensor, Tensor) {
        self.middle("median", dim, false, true)
    }

    /// The median along `dim` of what is not NaN, and its index. Torch's `nanmedian(dim)`.
    #[track_caller]
    pub fn nanmedian(&self, dim: isize) -> (Tensor, Tensor) {
        self.middle("nanmedian", dim, true, false)
    }

    /// [`Tensor::nanmedian`] with the axis kept at size 1.
    #[track_caller]
    pub fn nanmedian_keepdim(&self, dim: isize) -> (Tensor, Tensor) {
        self.middle("nanmedian", dim, true, true)
    }

    /// The median of all elements, the lower one of two; NaN where there is one. Equal ones share the gradient.
    /// Torch's `median()`.
    #[track_caller]
    pub fn median_all(&self) -> Tensor {
        self.middle_of_all("median", false)
    }

    /// The median of all elements that are not NaN. Torch's `nanmedian()`.
    #[track_caller]
    pub fn nanmedian_all(&self) -> Tensor {
        self.middle_of_all("nanmedian", true)
    }

    #[track_caller]
    fn middle(&self, name: &str, dim: isize, skip: bool, keepdim: bool) -> (Tensor, Tensor) {
        let rows = match Rows::over(self, name, &dim) {
            Ok(rows) => rows,
            Err(failed) => return both(failed),
        };
        if rows.len() == 0 {
            return both(rows.refuse(self, format!("{name}: the median of no element, shape {}", self.shape())));
        }
        let (nans, n) = (nans(&rows.x.detach()), rows.len() as i64);
        // NaN is sorted to the end: the first one comes behind all that are none.
        let at = if skip {
            ((n - 1 - &nans).maximum(0i64)).floor_divide(2i64)
        } else {
            (n - &nans).where_(&nans.gt(0i64), (n - 1) / 2)
        };
        Tensor::ranked(&rows, &at, keepdim)
    }

    #[track_caller]
    fn middle_of_all(&self, name: &str, skip: bool) -> Tensor {
        if self.numel() == 0 && self.dtype().is_float() {
            return Tensor::full_of((), f64::NAN, self.dtype());
        }
        let x = self.flatten(0);
        let (value, _) = x.detach().middle(name, 0, skip, false);
        if value.error().is_some() || !self.dtype().is_float() {
            return value;
        }
        // The largest of those that equal it is it, and they share its gradient.
        let equal = x.eq(&value).logical_or(&x.isnan().logical_and(&value.isnan()));
        x.where_(&equal, f64::NEG_INFINITY).amax(..)
    }

    /// The element that is most often along `dim`, the smallest of several such, and the index of the last of it.
    /// Torch's `mode`, whose default axis is −1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (value, index) = Tensor::from([3i64, 1, 2, 1, 2]).mode(0);
    /// assert_eq!((value.item()?, index.item()?), (1.0, 3.0));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn mode(&self, dim: isize) -> (Tensor, Tensor) {
        self.most_frequent(dim, false)
    }

    /// [`Tensor::mode`] with the axis kept at size 1.
    #[track_caller]
    pub fn mode_keepdim(&self, dim: isize) -> (Tensor, Tensor) {
        self.most_frequent(dim, true)
    }

    #[track_caller]
    fn most_frequent(&self, dim: isize, keepdim: bool) -> (Tensor, Tensor) {
        let rows = match Rows::over(self, "mode", &dim) {
            Ok(rows) => rows,
            Err(failed) => return both(failed),
        };
        let (axis, len) = (rows.last(), rows.len());
        if len == 0 {
            return both(rows.refuse(self, format!("mode: of no element, shape {}", self.shape())));
        }
        let (sorted, _) = reduce::sort(&rows.x.detach(), axis, false);
        let first = source::constant_of(Number::Int(1), DType::Bool, sorted.shape().with(axis, 1));
        let (behind, before) = (
            movement::slice(&sorted, axis, 1.min(len as i64 - 1), 1, len - 1),
            movement::slice(&sorted, axis, 0, 1, len - 1),
        );
        let begins = movement::concat(&[&first, &behind.ne(&before)], axis);
        let place = source::iota(sorted.shape().clone(), axis);
        let (start, _) = place.where_(&begins, 0i64).cummax(axis as isize);
        // The first of the longest runs ends where the length so far is largest for the first time.
        let at = (place - start).argmax_keepdim(axis as isize);
        Tensor::ranked(&rows, &at, keepdim)
    }

    /// The quantiles `q` (a number, a scalar, or a vector, whose axis comes first in the result) from 0 to 1 over
    /// `axes`: q·(n − 1) is a place in rising order. Between two places `interpolation` decides: `"linear"`, `"lower"`,
    /// `"higher"`, `"midpoint"` or `"nearest"`. NaN where there is one. Torch's `quantile`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([4.0f32, 1.0, 2.0]);
    /// assert_eq!(x.quantile(0.75, .., "linear").item()?, 3.0);
    /// assert_eq!(x.quantile(Tensor::from([0.0f32, 1.0]), .., "linear").to_vec::<f32>()?, [1.0, 4.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: `q` out of range or of another type, no elements, another name of an interpolation.
    #[track_caller]
    pub fn quantile(&self, q: impl Into<Value>, axes: impl Axes, interpolation: &str) -> Tensor {
        self.quantiles("quantile", q.into(), &axes, interpolation, false)
    }

    /// [`Tensor::quantile`] with the axes kept at size 1.
    #[track_caller]
    pub fn quantile_keepdim(&self, q: impl Into<Value>, axes: impl Axes, interpolation: &str) -> Tensor {
        self.quantiles("quantile", q.into(), &axes, interpolation, true)
    }

    /// [`Tensor::quantile`] of what is not NaN. Torch's `nanquantile`.
    #[track_caller]
    pub fn nanquantile(&self, q: impl Into<Value>, axes: impl Axes, interpolation: &str) -> Tensor {
        self.quantiles("nanquantile", q.into(), &axes, interpolation, false)
    }

    /// [`Tensor::nanquantile`] with the axes kept at size 1.
    #[track_caller]
    pub fn nanquantile_keepdim(&self, q: impl Into<Value>, axes: impl Axes, interpolation: &str) -> Tensor {
        self.quantiles("nanquantile", q.into(), &axes, interpolation, true)
    }

    #[track_caller]
    fn quantiles(&self, name: &str, q: Value, axes: &dyn Axes, interpolation: &str, keepdim: bool) -> Tensor {
        let rows = match Rows::over(self, name, axes) {
            Ok(rows) => rows,
            Err(failed) => return failed,
        };
        if !self.dtype().is_float() {
            return rows.refuse(self, format!("{name}: of {}, not of floats", self.dtype()));
        }
        if rows.len() == 0 {
            return rows.refuse(self, format!("{name}: of no element, shape {}", self.shape()));
        }
        if !matches!(interpolation, "linear" | "lower" | "higher" | "midpoint" | "nearest") {
            let what = format!("{name}: interpolation {interpolation:?}");
            let error = Error::new(what).help("one of \"linear\", \"lower\", \"higher\", \"midpoint\", \"nearest\"");
            return Tensor::fail(error, &[self], rows.kept.clone(), self.dtype());
        }
        let (q, single) = match q {
            Value::Number(n) if !(0.0..=1.0).contains(&n.as_f64()) => {
                return rows.refuse(self, format!("{name}: q {} is not from 0 to 1", n.as_f64()));
            }
            Value::Number(n) => (source::scalar_of(as_type(n, self.dtype()), self.dtype(), Shape::from([1])), true),
            Value::Tensor(t) if t.rank() > 1 || t.dtype() != self.dtype() => {
                let what = format!("q is {} {}, not a vector of {}", t.dtype(), t.shape(), self.dtype());
                return rows.refuse(self, format!("{name}: {what}"));
            }
            Value::Tensor(t) => (t.with_axis(), t.rank() == 0),
        };
        let y = rows.interpolated(&q, interpolation, name == "nanquantile");
        // One quantile after the other, in front.
        let mut parts = Vec::new();
        for i in 0..q.numel() {
            parts.push(rows.put_back(&movement::slice(&y, rows.last(), i as i64, 1, 1), keepdim));
        }
        match &parts[..] {
            [part] if single => part.clone(),
            [] => movement::reshape(&y, rows.put_back(&y.sum_keepdim(-1), keepdim).shape().inserted(0, 0)),
            parts => Tensor::stack(&parts.iter().collect::<Vec<_>>(), 0),
        }
    }

    /// How many elements lie in each of `bins` equal intervals from `min` to `max`, which count to the last one; what
    /// lies outside, and NaN, is not counted. Where `min` equals `max`, the smallest and the largest element are taken.
    /// Torch's `histc`, whose defaults are 100, 0 and 0.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([1.0f32, 2.0, 1.0, 4.0]).histc(4, 0.0, 4.0);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 2.0, 1.0, 1.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn histc(&self, bins: usize, min: f64, max: f64) -> Tensor {
        let at = std::panic::Location::caller();
        let fail = |what: String| {
            Tensor::fail_at(at, Error::new(format!("histc: {what}")), &[self], Shape::from([bins]), self.dtype())
        };
        if !self.dtype().is_float() {
            return fail(format!("of {}, not of floats", self.dtype()));
        }
        if bins == 0 || bins > i32::MAX as usize || !min.is_finite() || !max.is_finite() || min > max {
            return fail(format!("{bins} bins from {min} to {max}"));
        }
        if self.numel() == 0 {
            return Tensor::zeros_of([bins], self.dtype());
        }
        let x = self.detach().flatten(0);
        let (low, high) = if min == max {
            let (low, high) = x.aminmax(..);
            let same = low.eq(&high);
            ((&low - 1.0).where_(&same, &low), (&high + 1.0).where_(&same, &high))
        } else {
            let bound = |v: f64| source::scalar(Number::Float(v), x.dtype());
            (bound(min), bound(max))
        };
        let place = ((&x - &low) * bins as f64 / (&high - &low)).to_dtype(DType::I64).minimum(bins as i64 - 1);
        let inside = x.ge(&low).logical_and(&x.le(&high));
        // What lies outside goes to a bin of its own.
        let place = place.where_(&inside, bins as i64);
        let counts =
            index::scatter(ScatterFn::Add, &Tensor::zeros_of([bins + 1], x.dtype()), 0, &place, &x.ones_like());
        movement::slice(&counts, 0, 0, 1, bins)
    }

    /// The slices along `dim` whose p-norm is above `maxnorm` scaled down to it. Torch's `renorm`.
    #[track_caller]
    pub fn renorm(&self, p: f64, dim: isize, maxnorm: f64) -> Tensor {
        let at = std::panic::Location::caller();
        let fail = |what: String| Tensor::fail_at(at, Error::new(what), &[self], self.shape().clone(), self.dtype());
        let Some(axis) = self.shape().axis(dim) else { return self.bad_axis("renorm", dim) };
        if !self.dtype().is_float() || self.rank() < 2 {
            return fail(format!("renorm: {} {} is no matrix of floats", self.dtype(), self.shape()));
        }
        if !(p > 0.0 && maxnorm >= 0.0) {
            return fail(format!("renorm: norm {p} up to {maxnorm}"));
        }
        let others: Vec<isize> = (0..self.rank()).filter(|&i| i != axis).map(|i| i as isize).collect();
        let norm = self.vector_norm_keepdim(p, &others[..]);
        let scale = (maxnorm / (&norm + 1e-7)).where_(&norm.gt(maxnorm), 1.0);
        self * scale
    }
}

impl Rows {
    /// `[…, count of q]`
    #[track_caller]
    fn interpolated(&self, q: &Tensor, interpolation: &str, skip: bool) -> Tensor {
        let (axis, n) = (self.last(), self.len() as f64);
        let (sorted, _) = reduce::sort(&self.x, axis, false);
        let nans = nans(&self.x.detach()).to_dtype(DType::F64);
        // In f64, as torch: whether a place is whole decides.
        let q = q.to_dtype(DType::F64);
        // A NaN in a row decides it: the last place holds it.
        let rank = if skip {
            (q * (n - 1.0 - &nans)).maximum(0.0)
        } else {
            let rank = &q * q.constant_like(n - 1.0);
            rank.constant_like(n - 1.0).where_(&nans.gt(0.0), &rank)
        };
        let (below, above) = match interpolation {
            "lower" => (rank.floor(), rank.floor()),
            "higher" => (rank.ceil(), rank.ceil()),
            "nearest" => (rank.round(), rank.round()),
            _ => (rank.floor(), rank.ceil()),
        };
        let low = index::gather(&sorted, axis, &below.to_dtype(DType::I64));
        if !matches!(interpolation, "linear" | "midpoint") {
            return low;
        }
        let high = index::gather(&sorted, axis, &above.to_dtype(DType::I64));
        let weight = if interpolation == "midpoint" { rank.constant_like(0.5) } else { &rank - &below };
        low.lerp(&high, weight.to_dtype(sorted.dtype()))
    }
}
