//! Writing at indices: whole slices, combined elements, masks, parts of a tensor.

use limpid_kernels::index::ScatterFn;
use limpid_kernels::{DType, Number};

use crate::error::Error;
use crate::op::{index, movement, source};
use crate::shape::Shape;
use crate::sugar::diagonal::is_index;
use crate::sugar::operators::Value;
use crate::sugar::shape::as_type;
use crate::tensor::Tensor;

/// What is combined, and what counts when the element itself does not: sums with 0, products with 1, the largest with
/// the smallest of all.
fn neutral(f: ScatterFn, dtype: DType) -> Number {
    let lowest = |d: DType| match d {
        DType::I64 => i64::MIN,
        DType::I32 => i32::MIN.into(),
        _ => 0,
    };
    let highest = |d: DType| match d {
        DType::I64 => i64::MAX,
        DType::I32 => i32::MAX.into(),
        DType::U8 => 255,
        _ => 1,
    };
    let (float, int) = match f {
        ScatterFn::Set | ScatterFn::Add => (0.0, 0),
        ScatterFn::Mul => (1.0, 1),
        ScatterFn::Max => (f64::NEG_INFINITY, lowest(dtype)),
        ScatterFn::Min => (f64::INFINITY, highest(dtype)),
    };
    if dtype.is_float() { Number::Float(float) } else { Number::Int(int) }
}

impl Tensor {
    /// Rows of self at a vector of places along `dim`: the axis, the places and the source as [`Tensor::scatter`]
    /// takes them, or the failed tensor.
    #[track_caller]
    fn slices(&self, name: &str, dim: isize, index: &Tensor, source: &Tensor) -> Result<(Tensor, Tensor), Tensor> {
        let at = std::panic::Location::caller();
        let fail = |what: String| {
            let error = Error::new(format!("{name}: {what}"));
            Err(Tensor::fail_at(at, error, &[self, index, source], self.shape().clone(), self.dtype()))
        };
        let Some(axis) = self.axis(dim) else { return Err(self.bad_axis(name, dim)) };
        if index.rank() > 1 || !is_index(index.dtype()) {
            return fail(format!("the index is {} {}, not integers on one axis", index.dtype(), index.shape()));
        }
        let whole = self.with_axis();
        let shape = whole.shape().with(axis, index.numel());
        // A scalar stands for a vector of one element on either side.
        if *source.with_axis().shape() != shape || (source.rank() == 0 && self.rank() > 1) {
            return fail(format!(
                "{} places along axis {dim} of {}, source {}",
                index.numel(),
                self.shape(),
                source.shape()
            ));
        }
        let thin: Shape = (0..shape.rank()).map(|i| if i == axis { index.numel() } else { 1 }).collect();
        let places = movement::broadcast(&movement::reshape(&index.to_dtype(DType::I64), thin), &shape);
        Ok((places, movement::reshape(source, shape)))
    }

    #[track_caller]
    fn combine_slices(&self, name: &str, f: ScatterFn, dim: isize, index: &Tensor, source: &Tensor) -> Tensor {
        match self.slices(name, dim, index, source) {
            Ok((places, source)) => self.scatter_with(f, dim, &places, &source),
            Err(failed) => failed,
        }
    }

    /// self with the slice `index[i]` along `dim` replaced by slice i of `source`. Of several for one place the last
    /// stays. Torch's `index_copy`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let rows = Tensor::from([[5.0f32, 6.0]]);
    /// let y = Tensor::zeros([2, 2]).index_copy(0, &Tensor::from([1i64]), &rows);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 0.0, 5.0, 6.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: an index that is not a vector of integers or is out of range, a source of other sizes or type.
    #[track_caller]
    pub fn index_copy(&self, dim: isize, index: &Tensor, source: &Tensor) -> Tensor {
        self.combine_slices("index_copy", ScatterFn::Set, dim, index, source)
    }

    /// self with `alpha` times slice i of `source` added to the slice `index[i]` along `dim`. Torch's `index_add`,
    /// where `alpha` is 1 by itself.
    #[track_caller]
    pub fn index_add(&self, dim: isize, index: &Tensor, source: &Tensor, alpha: f64) -> Tensor {
        let source = source.scaled("index_add", "alpha", alpha);
        self.combine_slices("index_add", ScatterFn::Add, dim, index, &source)
    }

    /// self with `value`, a number or a scalar tensor, in all slices `index[i]` along `dim`. Torch's `index_fill`.
    #[track_caller]
    pub fn index_fill(&self, dim: isize, index: &Tensor, value: impl Into<Value>) -> Tensor {
        let Some(axis) = self.axis(dim) else { return self.bad_axis("index_fill", dim) };
        let at = std::panic::Location::caller();
        let fail = |what: String| {
            let error = Error::new(format!("index_fill: {what}"));
            Tensor::fail_at(at, error, &[self, index], self.shape().clone(), self.dtype())
        };
        let value = value.into();
        if let Value::Tensor(t) = &value
            && t.rank() > 0
        {
            return fail(format!("the value has shape {}, it is no scalar", t.shape()));
        }
        if index.rank() > 1 || !is_index(index.dtype()) {
            return fail(format!("the index is {} {}, not integers on one axis", index.dtype(), index.shape()));
        }
        // By a mask: a place that is named twice is filled once, also in the gradient of the value.
        let shape = self.with_axis().shape().clone();
        let thin: Shape = (0..shape.rank()).map(|i| if i == axis { shape[i] } else { 1 }).collect();
        let named = Tensor::zeros_of([shape[axis]], DType::Bool).index_copy(
            0,
            index,
            &source::constant_of(Number::Int(1), DType::Bool, index.with_axis().shape().clone()),
        );
        if named.error().is_some() {
            return fail(named.error().expect("it has one").what().to_owned());
        }
        let named =
            if self.rank() == 0 { movement::reshape(&named, Shape::scalar()) } else { movement::reshape(&named, thin) };
        let value = match value {
            Value::Tensor(t) => t.to_dtype(self.dtype()),
            Value::Number(n) => source::scalar(as_type(n, self.dtype()), self.dtype()),
        };
        movement::broadcast(&value, self.shape()).where_(&named, self)
    }

    /// [`Tensor::scatter_reduce`] with whole slices: slice i of `source` goes to the slice `index[i]` along `dim`.
    /// Torch's `index_reduce`.
    #[track_caller]
    pub fn index_reduce(
        &self,
        dim: isize,
        index: &Tensor,
        source: &Tensor,
        reduce: &str,
        include_self: bool,
    ) -> Tensor {
        match self.slices("index_reduce", dim, index, source) {
            Ok((places, source)) => self.reduced_at("index_reduce", dim, &places, &source, reduce, include_self),
            Err(failed) => failed,
        }
    }

    /// self with each place combined with the elements of `source` that `index` sends there, in row-major order.
    /// `reduce` is `"sum"`, `"prod"`, `"mean"`, `"amax"` or `"amin"`; NaN wins in the last two, and equal winners share
    /// the gradient. Without `include_self` a place that something is sent to begins from nothing. Torch's
    /// `scatter_reduce`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (x, index) = (Tensor::from([4.0f32, 2.0]), Tensor::from([0i64, 0]));
    /// let source = Tensor::from([3.0f32, 0.5]);
    /// assert_eq!(x.scatter_reduce(0, &index, &source, "amax", true).to_vec::<f32>()?, [4.0, 2.0]);
    /// assert_eq!(x.scatter_reduce(0, &index, &source, "amax", false).to_vec::<f32>()?, [3.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: another `reduce`; an index that does not fit or is out of range; a source of another type.
    #[track_caller]
    pub fn scatter_reduce(
        &self,
        dim: isize,
        index: &Tensor,
        source: impl Into<Value>,
        reduce: &str,
        include_self: bool,
    ) -> Tensor {
        let source = self.source_at(index, source.into());
        self.reduced_at("scatter_reduce", dim, index, &source, reduce, include_self)
    }

    #[track_caller]
    fn reduced_at(
        &self,
        name: &str,
        dim: isize,
        index: &Tensor,
        source: &Tensor,
        reduce: &str,
        include_self: bool,
    ) -> Tensor {
        let f = match reduce {
            "sum" | "mean" => ScatterFn::Add,
            "prod" => ScatterFn::Mul,
            "amax" => ScatterFn::Max,
            "amin" => ScatterFn::Min,
            _ => {
                let error = Error::new(format!("{name}: {reduce:?} is no reduction"));
                let error = error.help("one of \"sum\", \"prod\", \"mean\", \"amax\", \"amin\"");
                return Tensor::fail(error, &[self, index, source], self.shape().clone(), self.dtype());
            }
        };
        let nothing = source::constant_of(neutral(f, self.dtype()), self.dtype(), index.shape().clone());
        let base = if include_self { self.clone() } else { self.scatter_with(ScatterFn::Set, dim, index, &nothing) };
        let y = base.scatter_with(f, dim, index, source);
        if reduce != "mean" || y.error().is_some() {
            return y;
        }
        let one = source::constant_of(as_type(Number::Int(1), self.dtype()), self.dtype(), index.shape().clone());
        let start = if include_self { self.ones_like() } else { self.zeros_like() };
        let count = start.scatter_with(ScatterFn::Add, dim, index, &one).maximum(self.ones_like());
        if self.dtype().is_float() { y / count } else { y.floor_divide(count) }
    }

    /// The elements of self at `indices` along `dim`, where all other sizes broadcast; of the flattened tensor where
    /// `dim` is `None`. What takes the results of `argmax` and `argsort`. Torch's `take_along_dim`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[3.0f32, 1.0], [5.0, 7.0]]);
    /// assert_eq!(x.take_along_dim(&x.argmax_keepdim(1), Some(1)).to_vec::<f32>()?, [3.0, 7.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn take_along_dim(&self, indices: &Tensor, dim: Option<isize>) -> Tensor {
        let Some(dim) = dim else { return self.flatten(0).gather(0, &indices.flatten(0)) };
        let Some(axis) = self.axis(dim) else { return self.bad_axis("take_along_dim", dim) };
        let (x, places) = (self.with_axis(), indices.with_axis());
        let joint = match x.rank() == places.rank() {
            true => x.shape().with(axis, 1).broadcast(&places.shape().with(axis, 1)),
            false => None,
        };
        let Some(joint) = joint else {
            let what = format!("take_along_dim: indices {} of {} along axis {dim}", indices.shape(), self.shape());
            return Tensor::fail(Error::new(what), &[self, indices], indices.shape().clone(), self.dtype());
        };
        let wide = |t: &Tensor| joint.with(axis, t.shape()[axis]);
        let (x, places) = (movement::broadcast(&x, &wide(&x)), movement::broadcast(&places, &wide(&places)));
        x.gather(dim, &places)
    }

    /// self, stretched to `mask`, with the elements of `source` in row-major order where the mask holds. Torch's
    /// `masked_scatter`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let mask = Tensor::from([true, false, true]);
    /// let y = Tensor::zeros([3]).masked_scatter(&mask, &Tensor::from([7.0f32, 8.0]));
    /// assert_eq!(y.to_vec::<f32>()?, [7.0, 0.0, 8.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: shapes that do not broadcast, fewer elements in `source` than places where the mask holds.
    #[track_caller]
    pub fn masked_scatter(&self, mask: &Tensor, source: &Tensor) -> Tensor {
        let at = std::panic::Location::caller();
        let fail = |what: String| {
            let error = Error::new(format!("masked_scatter: {what}"));
            Tensor::fail_at(at, error, &[self, mask, source], self.shape().clone(), self.dtype())
        };
        let Some(shape) = self.shape().broadcast(mask.shape()) else {
            return fail(format!("mask {} and {} do not broadcast", mask.shape(), self.shape()));
        };
        if mask.dtype() != DType::Bool || source.dtype() != self.dtype() {
            return fail(format!("a mask of {}, {} into {}", mask.dtype(), source.dtype(), self.dtype()));
        }
        let mask = movement::broadcast(mask, &shape);
        // Place 0 is read where nothing is taken; the n-th element that is taken is at place n.
        let table = Tensor::cat(&[&Tensor::zeros_of([1], self.dtype()), &source.flatten(0)], 0);
        let nth = mask.flatten(0).to_dtype(DType::I64).cumsum(0);
        let place = nth.where_(&mask.flatten(0), 0);
        let taken = movement::reshape(&index::gather(&table, 0, &place), shape.clone());
        taken.where_(&mask, movement::broadcast(self, &shape))
    }

    /// self with `source` in the place of `select(dim, at)`. Torch's `select_scatter`.
    #[track_caller]
    pub fn select_scatter(&self, source: &Tensor, dim: isize, at: isize) -> Tensor {
        let part = self.select(dim, at);
        if part.error().is_some() {
            return part;
        }
        let axis = self.shape().axis(dim).expect("select has it");
        if part.shape() != source.shape() || source.dtype() != self.dtype() {
            let (theirs, ours) = (source.shape(), part.shape());
            let what = format!("select_scatter: source {} {theirs} for {} {ours}", source.dtype(), self.dtype());
            return Tensor::fail(Error::new(what), &[self, source], self.shape().clone(), self.dtype());
        }
        let at = if at < 0 { at + self.shape()[axis] as isize } else { at };
        movement::write(self, axis, at as i64, &source.unsqueeze(axis as isize))
    }

    /// self with `source` in the place of [`Tensor::slice`]. Torch's `slice_scatter`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::zeros([5]).slice_scatter(&Tensor::from([1.0f32, 2.0]), 0, Some(1), Some(5), 2);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 1.0, 0.0, 2.0, 0.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn slice_scatter(
        &self,
        source: &Tensor,
        dim: isize,
        start: Option<isize>,
        end: Option<isize>,
        step: isize,
    ) -> Tensor {
        let Some(axis) = self.shape().axis(dim) else { return self.bad_axis("slice_scatter", dim) };
        let places = source::iota(Shape::from([self.shape()[axis]]), 0).slice(0, start, end, step);
        if places.error().is_some() {
            return self.slice(dim, start, end, step);
        }
        let part = self.shape().with(axis, places.numel());
        if part != *source.shape() || source.dtype() != self.dtype() {
            let what =
                format!("slice_scatter: source {} {} for {} {part}", source.dtype(), source.shape(), self.dtype());
            return Tensor::fail(Error::new(what), &[self, source], self.shape().clone(), self.dtype());
        }
        self.index_copy(dim, &places, source)
    }
}
