//! Finding values: in sorted sequences, among others, each once.

use limpid_kernels::index::ScatterFn;
use limpid_kernels::{DType, Number};

use crate::error::Error;
use crate::op::{index, movement, source};
use crate::promote::promote;
use crate::shape::Shape;
use crate::sugar::operators::Value;
use crate::tensor::Tensor;

/// What [`Tensor::unique_with`] and [`Tensor::unique_consecutive`] find.
#[derive(Clone, Debug)]
pub struct Unique {
    /// The different values, or slices.
    pub values: Tensor,
    /// For each element, or slice, the place of its value in `values`, i64.
    pub inverse: Tensor,
    /// How often each value occurs, i64.
    pub counts: Tensor,
}

impl Unique {
    fn failed(error: &Tensor) -> Unique {
        Unique { values: error.clone(), inverse: error.clone(), counts: error.clone() }
    }
}

impl Tensor {
    /// Where each of `values` would be put into self, which is sorted along its last axis: the first place whose
    /// element is not below it, or, with `right`, the first whose element is above it; i64, in the shape of `values`.
    /// Self is a vector, or has the other sizes of `values`. `sorter` holds the indices that sort self where it is not
    /// sorted (`argsort`). By halving: log₂ n reads for each value. Torch's `searchsorted`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let sorted = Tensor::from([1.0f32, 3.0, 5.0]);
    /// let values = Tensor::from([3.0f32, 4.0, 9.0]);
    /// assert_eq!(sorted.searchsorted(&values, false, None).to_vec::<i64>()?, [1, 2, 3]);
    /// assert_eq!(sorted.searchsorted(&values, true, None).to_vec::<i64>()?, [2, 2, 3]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: shapes that do not fit, types that differ.
    #[track_caller]
    pub fn searchsorted(&self, values: impl Into<Value>, right: bool, sorter: Option<&Tensor>) -> Tensor {
        self.searched("searchsorted", values.into(), right, sorter)
    }

    /// The interval between `boundaries`, a sorted vector, in which each element lies: i with
    /// `boundaries[i−1]` < x ≤ `boundaries[i]`, with `right` ≤ and <. Torch's `bucketize`.
    #[track_caller]
    pub fn bucketize(&self, boundaries: &Tensor, right: bool) -> Tensor {
        if boundaries.rank() != 1 {
            let error = Error::new(format!("bucketize: boundaries {} are no vector", boundaries.shape()));
            return Tensor::fail(error, &[self, boundaries], self.shape().clone(), DType::I64);
        }
        boundaries.searched("bucketize", self.into(), right, None)
    }

    #[track_caller]
    fn searched(&self, name: &str, values: Value, right: bool, sorter: Option<&Tensor>) -> Tensor {
        let values = match values {
            Value::Tensor(t) => t,
            Value::Number(n) => source::scalar(crate::sugar::shape::as_type(n, self.dtype()), self.dtype()),
        };
        let at = std::panic::Location::caller();
        let fail = |what: String| {
            let error = Error::new(format!("{name}: {what}"));
            Tensor::fail_at(at, error, &[self, &values], values.shape().clone(), DType::I64)
        };
        let batched = self.rank() == values.rank()
            && self.rank() > 0
            && self.shape()[..self.rank() - 1] == values.shape()[..self.rank() - 1];
        if self.rank() != 1 && !batched {
            return fail(format!("values {} in sequences {}", values.shape(), self.shape()));
        }
        if self.dtype() != values.dtype() {
            return fail(format!("values of {} in a sequence of {}", values.dtype(), self.dtype()));
        }
        let axis = self.rank() - 1;
        let sequence = match sorter {
            Some(sorter) if sorter.shape() != self.shape() || sorter.dtype() != DType::I64 => {
                return fail(format!("sorter {} {} for {}", sorter.dtype(), sorter.shape(), self.shape()));
            }
            Some(sorter) => index::gather(&self.detach(), axis, sorter),
            None => self.detach(),
        };
        let flat = if self.rank() == 1 { values.detach().flatten(0) } else { values.detach() };
        let found = halved(&sequence, &flat, axis, right);
        movement::reshape(&found, values.shape().clone())
    }

    /// Whether each element is one of `test`. Torch's `isin`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([1i64, 2, 3]);
    /// assert_eq!(x.isin(&Tensor::from([3i64, 5, 1]), false).to_vec::<u8>()?, [1, 0, 1]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn isin(&self, test: impl Into<Value>, invert: bool) -> Tensor {
        let found = match test.into() {
            Value::Number(_) if self.numel() == 0 => self.to_dtype(DType::Bool),
            Value::Number(n) => self.eq(Value::Number(n)),
            Value::Tensor(test) if test.numel() == 0 => self.ne(self).logical_and(&self.eq(self)),
            Value::Tensor(test) => {
                let dtype = promote(self.dtype(), test.dtype());
                let (x, test) = (self.detach().to_dtype(dtype), test.detach().to_dtype(dtype));
                let (sorted, _) = test.flatten(0).sort(0, false);
                let place = halved(&sorted, &x.flatten(0), 0, false).minimum(test.numel() as i64 - 1);
                movement::reshape(&index::gather(&sorted, 0, &place).eq(x.flatten(0)), self.shape().clone())
            }
        };
        if invert { found.logical_not() } else { found }
    }

    /// The different values in rising order, as one axis. Their number depends on the values, so self is
    /// evaluated now; the gradient goes to the first place of each.
    #[track_caller]
    pub fn unique(&self) -> Tensor {
        self.unique_with(None).values
    }

    /// The different values in rising order as one axis, or, with `dim`, the different slices along it, ordered by
    /// their elements; for each element where its value is, and how often each occurs. Their number depends on the
    /// values, so self is evaluated now. Torch's `unique` with `return_inverse` and `return_counts`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let unique = Tensor::from([5i64, 2, 5]).unique_with(None);
    /// assert_eq!(unique.values.to_vec::<i64>()?, [2, 5]);
    /// assert_eq!(unique.inverse.to_vec::<i64>()?, [1, 0, 1]);
    /// assert_eq!(unique.counts.to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn unique_with(&self, dim: Option<isize>) -> Unique {
        let (x, axis) = match self.slices_along("unique", dim) {
            Ok(both) => both,
            Err(failed) => return Unique::failed(&failed),
        };
        let order = match dim {
            None => x.detach().argsort(0, false),
            Some(_) => match x.lexicographic(axis) {
                Ok(order) => order,
                Err(failed) => return Unique::failed(&failed),
            },
        };
        let found = x.runs("unique", axis, &order);
        self.shaped(dim, found)
    }

    /// Each run of equal neighbours once: values, or slices along `dim`, in their order. Torch's `unique_consecutive`.
    #[track_caller]
    pub fn unique_consecutive(&self, dim: Option<isize>) -> Unique {
        match self.slices_along("unique_consecutive", dim) {
            Ok((x, axis)) => {
                let order = source::iota(Shape::from([x.shape()[axis]]), 0);
                let found = x.runs("unique_consecutive", axis, &order);
                self.shaped(dim, found)
            }
            Err(failed) => Unique::failed(&failed),
        }
    }

    /// What is told apart: all elements in a row, or the slices along `dim`.
    #[track_caller]
    fn slices_along(&self, name: &str, dim: Option<isize>) -> Result<(Tensor, usize), Tensor> {
        let Some(dim) = dim else { return Ok((self.flatten(0), 0)) };
        let x = self.with_axis();
        match x.shape().axis(dim) {
            Some(axis) => Ok((x, axis)),
            None => Err(self.bad_axis(name, dim)),
        }
    }

    /// The inverse of all elements has their shape.
    #[track_caller]
    fn shaped(&self, dim: Option<isize>, mut found: Unique) -> Unique {
        if dim.is_none() && found.inverse.error().is_none() {
            found.inverse = movement::reshape(&found.inverse, self.shape().clone());
        }
        found
    }

    /// The runs of equal slices along `axis`, taken in `order`.
    #[track_caller]
    fn runs(&self, name: &str, axis: usize, order: &Tensor) -> Unique {
        let n = self.shape()[axis];
        let sorted = self.detach().index_select(axis as isize, order);
        let mut begins = Tensor::from_bools(&vec![true; n.min(1)], [n.min(1)]);
        if n > 1 {
            let changed = sorted.narrow(axis as isize, 1, n - 1).ne(sorted.narrow(axis as isize, 0, n - 1));
            let others: Vec<isize> = (0..self.rank()).filter(|&i| i != axis).map(|i| i as isize).collect();
            begins = Tensor::cat(&[&begins, &changed.any(&others[..])], 0);
        }
        let starts = match begins.places(name) {
            Ok(starts) => starts,
            Err(failed) => return Unique::failed(&failed),
        };
        let run = begins.to_dtype(DType::I64).cumsum(0) - 1;
        let end = Tensor::from([n as i64]);
        let ends = Tensor::cat(&[&starts, &end], 0).narrow(0, 1, starts.numel());
        Unique {
            values: self.index_select(axis as isize, &order.index_select(0, &starts)),
            inverse: index::scatter(ScatterFn::Set, &run.zeros_like(), 0, order, &run),
            counts: ends - starts,
        }
    }

    /// The order of the slices along `axis` by their elements; NaN counts as the largest. Evaluates self.
    #[track_caller]
    fn lexicographic(&self, axis: usize) -> Result<Tensor, Tensor> {
        let at = std::panic::Location::caller();
        let fail = |error: Error| Tensor::fail_at(at, error, &[self], self.shape().clone(), self.dtype());
        if self.node.symbolic() && self.error().is_none() {
            return Err(fail(
                Error::new("unique: the size of the result depends on values").help("doing it outside of the region"),
            ));
        }
        let front = self.detach().movedim(&[axis as isize], &[0]);
        let n = self.shape()[axis];
        let width = front.numel().checked_div(n).unwrap_or(0);
        let numbers: Vec<Number> = if self.dtype().is_float() {
            front.to_dtype(DType::F64).to_vec::<f64>().map_err(fail)?.into_iter().map(Number::Float).collect()
        } else {
            front.to_dtype(DType::I64).to_vec::<i64>().map_err(fail)?.into_iter().map(Number::Int).collect()
        };
        let mut order: Vec<i64> = (0..n as i64).collect();
        let slice = |i: i64| numbers[i as usize * width..][..width].iter();
        order.sort_by(|&a, &b| {
            let unequal = slice(a).zip(slice(b)).map(|(&x, &y)| crate::op::reduce::order(x, y)).find(|o| o.is_ne());
            unequal.unwrap_or(std::cmp::Ordering::Equal)
        });
        Ok(Tensor::from(order))
    }
}

/// How many elements of `sequence`, sorted along `axis`, come before each of `values`: by halving.
#[track_caller]
fn halved(sequence: &Tensor, values: &Tensor, axis: usize, right: bool) -> Tensor {
    let n = sequence.shape()[axis];
    let mut found = Tensor::zeros_of(values.shape(), DType::I64);
    if n == 0 || values.numel() == 0 {
        return found;
    }
    let mut step = 1usize << (usize::BITS - 1 - n.leading_zeros());
    while step > 0 {
        let next = &found + step as i64;
        let probe = index::gather(sequence, axis, &(next.minimum(n as i64) - 1));
        let before = if right { probe.le(values) } else { probe.lt(values) };
        // NaN comes behind all.
        let before = before.logical_or(&values.isnan());
        found = next.where_(&before.logical_and(&next.le(n as i64)), &found);
        step /= 2;
    }
    found
}
