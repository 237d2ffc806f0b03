//! Parts of a tensor: by range, by index, by mask.

use limpid_kernels::DType;
use limpid_kernels::index::ScatterFn;

use crate::error::Error;
use crate::op::{index, movement, source};
use crate::shape::Shape;
use crate::sugar::operators::Value;
use crate::sugar::shape::as_type;
use crate::tensor::Tensor;

impl Tensor {
    #[track_caller]
    fn wrong_index(&self, what: String) -> Tensor {
        Tensor::fail(Error::new(what), &[self], self.shape().clone(), self.dtype())
    }

    /// `len` elements from `start` on along `dim`; a negative start counts from the end. Another start finds the same
    /// plan.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert_eq!(Tensor::arange(0, 6, 1).narrow(0, -2, 2).to_vec::<i64>()?, [4, 5]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn narrow(&self, dim: isize, start: impl TryInto<isize>, len: usize) -> Tensor {
        let Some(axis) = self.shape().axis(dim) else { return self.bad_axis("narrow", dim) };
        let size = self.shape()[axis];
        let start = start.try_into().unwrap_or(isize::MAX);
        let place = if start < 0 { start.saturating_add_unsigned(size) } else { start };
        let end = place.checked_add_unsigned(len).filter(|&end| place >= 0 && end <= size as isize);
        if end.is_none() {
            let error = Error::new(format!("narrow: {len} elements from {start} on along axis {dim} of size {size}"));
            return Tensor::fail(error, &[self], self.shape().with(axis, len), self.dtype());
        }
        movement::slice(self, axis, if len == 0 { 0 } else { place as i64 }, 1, len)
    }

    /// The elements at `at` along `dim`, which disappears; negative ones count from the end.
    #[track_caller]
    pub fn select(&self, dim: isize, at: isize) -> Tensor {
        let Some(axis) = self.shape().axis(dim) else { return self.bad_axis("select", dim) };
        let size = self.shape()[axis];
        let place = if at < 0 { at + size as isize } else { at };
        if !(0..size as isize).contains(&place) {
            let error = Error::new(format!("select: {at} of axis {dim} of size {size}"));
            return Tensor::fail(error, &[self], self.shape().without(axis), self.dtype());
        }
        let row = movement::slice(self, axis, place as i64, 1, 1);
        movement::reshape(&row, self.shape().without(axis))
    }

    /// Python's `x[start:end:step]` along `dim`: negative bounds count from the end, bounds out of range are
    /// cut, a negative step runs backwards. `None` is the natural end.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::arange(0, 6, 1);
    /// assert_eq!(x.slice(0, Some(1), None, 2).to_vec::<i64>()?, [1, 3, 5]);
    /// assert_eq!(x.slice(0, None, None, -2).to_vec::<i64>()?, [5, 3, 1]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn slice(&self, dim: isize, start: Option<isize>, end: Option<isize>, step: isize) -> Tensor {
        let Some(axis) = self.shape().axis(dim) else { return self.bad_axis("slice", dim) };
        if step == 0 {
            return self.wrong_index("slice: the step is 0".to_owned());
        }
        let size = self.shape()[axis] as isize;
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let bound = |b: Option<isize>, natural: isize| match b {
            None => natural,
            Some(b) => (if b < 0 { b + size } else { b }).clamp(low, high),
        };
        let start = bound(start, if step > 0 { 0 } else { size - 1 });
        let end = bound(end, if step > 0 { size } else { -1 });
        let len = if step > 0 { end - start } else { start - end }.max(0) as usize;
        // A step beyond the last element is none: only the first one is taken.
        let step = if step.unsigned_abs() >= len { step.signum() * len.max(1) as isize } else { step };
        let len = len.div_ceil(step.unsigned_abs());
        if len == 0 {
            return movement::slice(self, axis, 0, 1, 0);
        }
        movement::slice(self, axis, start as i64, step as i64, len)
    }

    /// i64 indices in which negative ones have been moved to count from the front; those out of range stay as the
    /// user wrote them.
    #[track_caller]
    pub(crate) fn normal_index(index: &Tensor, size: usize) -> Tensor {
        let index = index.to_dtype(DType::I64);
        let moved = &index + index.constant_like(size as f64);
        let zero = index.zeros_like();
        moved.where_(&index.lt(&zero).logical_and(&moved.ge(&zero)), &index)
    }

    /// The slices at `index` (integers, one axis) along `dim`. Negative indices count from the end; one out
    /// of range fails the read.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    /// assert_eq!(x.index_select(0, &Tensor::from([2i64, 0])).to_vec::<f32>()?, [5.0, 6.0, 1.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn index_select(&self, dim: isize, index: &Tensor) -> Tensor {
        let Some(axis) = self.axis(dim) else { return self.bad_axis("index_select", dim) };
        if index.rank() > 1 || index.dtype().is_float() || index.dtype() == DType::Bool {
            return self.wrong_index(format!(
                "index_select: the index is {} {}, not integers on one axis",
                index.dtype(),
                index.shape()
            ));
        }
        let count = index.numel();
        if self.rank() == 0 {
            if count != 1 {
                return self.wrong_index(format!("index_select: {count} elements of a scalar"));
            }
            let one = index::gather(&self.with_axis(), 0, &Tensor::normal_index(&index.flatten(0), 1));
            return movement::reshape(&one, Shape::scalar());
        }
        let mut thin: Shape = std::iter::repeat_n(1, self.rank()).collect();
        thin = thin.with(axis, count);
        let index = movement::reshape(&Tensor::normal_index(index, self.shape()[axis]), thin);
        index::gather(self, axis, &movement::broadcast(&index, &self.shape().with(axis, count)))
    }

    #[track_caller]
    pub(crate) fn check_index(&self, name: &str, axis: usize, index: &Tensor) -> Option<Tensor> {
        let fits =
            index.rank() == self.rank() && (0..self.rank()).all(|i| i == axis || index.shape()[i] <= self.shape()[i]);
        if fits && !index.dtype().is_float() && index.dtype() != DType::Bool {
            return None;
        }
        let what = format!(
            "{name}: index {} {} does not fit {} along axis {axis}",
            index.dtype(),
            index.shape(),
            self.shape()
        );
        Some(Tensor::fail(Error::new(what), &[self, index], index.shape().clone(), self.dtype()))
    }

    /// `y[i][j] = x[index[i][j]][j]` for `dim` 0: torch.gather. An index without elements may have any shape.
    #[track_caller]
    pub fn gather(&self, dim: isize, index: &Tensor) -> Tensor {
        let Some(axis) = self.axis(dim) else { return self.bad_axis("gather", dim) };
        if index.numel() == 0 && !index.dtype().is_float() {
            let none = movement::slice(&self.flatten(0), 0, 0, 1, 0);
            return movement::reshape(&none, index.shape().clone());
        }
        let (mut x, places) = (self.with_axis(), index.with_axis());
        if let Some(failed) = x.check_index("gather", axis, &places) {
            return failed;
        }
        let places = Tensor::normal_index(&places, x.shape()[axis]);
        // The axes beside `dim` may be shorter in the index.
        for i in (0..x.rank()).filter(|&i| i != axis) {
            x = movement::slice(&x, i, 0, 1, places.shape()[i]);
        }
        movement::reshape(&index::gather(&x, axis, &places), index.shape().clone())
    }

    #[track_caller]
    pub(crate) fn scatter_with(&self, f: ScatterFn, dim: isize, index: &Tensor, source: &Tensor) -> Tensor {
        let name = index::scatter_name(f);
        let Some(axis) = self.axis(dim) else { return self.bad_axis(name, dim) };
        if index.numel() == 0 && !index.dtype().is_float() {
            return self.clone();
        }
        if self.rank() == 0 || index.rank() == 0 || source.rank() == 0 {
            let (x, index, source) = (self.with_axis(), index.with_axis(), source.with_axis());
            let y = x.scatter_with(f, dim, &index, &source);
            return if y.error().is_some() { y } else { movement::reshape(&y, self.shape().clone()) };
        }
        if let Some(failed) = self.check_index(name, axis, index) {
            return failed;
        }
        let covers =
            source.rank() == index.rank() && source.shape().iter().zip(index.shape().iter()).all(|(s, i)| s >= i);
        if !covers || source.dtype() != self.dtype() {
            let what = format!(
                "{name}: the source {} {} does not cover the index {} in {}",
                source.dtype(),
                source.shape(),
                index.shape(),
                self.dtype()
            );
            return Tensor::fail(Error::new(what), &[self, index, source], self.shape().clone(), self.dtype());
        }
        let mut updates = source.clone();
        for i in 0..source.rank() {
            updates = movement::slice(&updates, i, 0, 1, index.shape()[i]);
        }
        index::scatter(f, self, axis, &Tensor::normal_index(index, self.shape()[axis]), &updates)
    }

    /// self with `y[index[i][j]][j] = source[i][j]` for `dim` 0: torch.scatter. Of several writes to one
    /// place the last in row-major order stays. A number as the source is written at each place.
    #[track_caller]
    pub fn scatter(&self, dim: isize, index: &Tensor, source: impl Into<Value>) -> Tensor {
        self.scatter_with(ScatterFn::Set, dim, index, &self.source_at(index, source.into()))
    }

    /// self with `y[index[i][j]][j] += source[i][j]` for `dim` 0, in row-major order: torch.scatter_add. A number as
    /// the source is added at each place.
    #[track_caller]
    pub fn scatter_add(&self, dim: isize, index: &Tensor, source: impl Into<Value>) -> Tensor {
        self.scatter_with(ScatterFn::Add, dim, index, &self.source_at(index, source.into()))
    }

    /// What is written at `index`: a number counts as one for each place.
    #[track_caller]
    pub(crate) fn source_at(&self, index: &Tensor, source: Value) -> Tensor {
        match source {
            Value::Tensor(source) => source,
            Value::Number(n) => source::scalar_of(as_type(n, self.dtype()), self.dtype(), index.shape().clone()),
        }
    }

    /// self, and `value` where `mask` holds.
    #[track_caller]
    pub fn masked_fill(&self, mask: &Tensor, value: impl Into<Value>) -> Tensor {
        self.where_(&mask.logical_not(), value)
    }

    /// The flat places of the elements that are not 0: i64 `[count, rank]`. The number depends on the values,
    /// so self is evaluated now.
    #[track_caller]
    pub fn nonzero(&self) -> Tensor {
        let flat = match self.places("nonzero") {
            Ok(flat) => flat,
            Err(failed) => return failed,
        };
        let count = flat.numel();
        let strides = self.shape().strides();
        let columns: Vec<Tensor> =
            (0..self.rank()).map(|i| flat.floor_divide(strides[i] as i64) % (self.shape()[i].max(1) as i64)).collect();
        if columns.is_empty() {
            return Tensor::zeros_of([count, 0], DType::I64);
        }
        Tensor::stack(&columns.iter().collect::<Vec<_>>(), 1)
    }

    /// The elements where `mask` (of the same shape) holds, in order, as one axis. The number depends on the
    /// values, so the mask is evaluated now; gradients pass.
    #[track_caller]
    pub fn masked_select(&self, mask: &Tensor) -> Tensor {
        let Some(shape) = self.shape().broadcast(mask.shape()) else {
            let what = format!("masked_select: mask {} and {} do not broadcast", mask.shape(), self.shape());
            return Tensor::fail(Error::new(what), &[self, mask], Shape::from([0]), self.dtype());
        };
        match movement::broadcast(mask, &shape).places("masked_select") {
            Err(failed) => failed,
            Ok(places) => movement::broadcast(self, &shape).flatten(0).index_select(0, &places),
        }
    }

    /// The flat indices of what is not 0.
    #[track_caller]
    pub(crate) fn places(&self, name: &str) -> Result<Tensor, Tensor> {
        if self.node.symbolic() && self.error().is_none() {
            let error = Error::new(format!("{name}: the size of the result depends on values"))
                .help("a mask (where_, masked_fill), whose size is known, or doing it outside of the region");
            return Err(Tensor::fail(error, &[self], Shape::from([0]), DType::I64));
        }
        match self.detach().to_dtype(DType::Bool).to_vec::<u8>() {
            Ok(bits) => {
                let places: Vec<i64> =
                    bits.iter().enumerate().filter(|(_, b)| **b != 0).map(|(i, _)| i as i64).collect();
                Ok(Tensor::from(places))
            }
            Err(error) => Err(Tensor::fail(error, &[self], Shape::from([0]), DType::I64)),
        }
    }

    /// The elements at `index` of the flattened tensor, in the shape of `index`.
    #[track_caller]
    pub fn take(&self, index: &Tensor) -> Tensor {
        let flat = self.flatten(0).index_select(0, &index.flatten(0));
        if flat.error().is_some() { flat } else { movement::reshape(&flat, index.shape().clone()) }
    }

    /// The index along `dim` at each element, i64.
    #[track_caller]
    pub fn index_along(&self, dim: isize) -> Tensor {
        match self.axis(dim) {
            Some(_) if self.rank() == 0 => Tensor::zeros_of([], DType::I64),
            Some(axis) => source::iota(self.shape().clone(), axis),
            None => self.bad_axis("index_along", dim),
        }
    }
}
