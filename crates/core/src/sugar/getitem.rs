//! Python's `x[…]`: places, ranges, new axes, masks and tensors of indices, mixed.

use std::ops::{Range, RangeFrom, RangeFull, RangeTo};

use limpid_kernels::DType;
use limpid_kernels::index::ScatterFn;

use crate::error::Error;
use crate::op::{index, movement, source};
use crate::shape::Shape;
use crate::sugar::diagonal::is_index;
use crate::sugar::operators::Value;
use crate::tensor::Tensor;

/// One item of `x[…]`. What it is made from: numbers, ranges, `..`, tensors, arrays and vectors of numbers.
#[derive(Clone, Debug)]
pub enum Index {
    /// One place of an axis, which disappears; negative ones count from the end.
    At(isize),
    /// `start:end:step`, as [`Tensor::slice`] takes it.
    Slice(Option<isize>, Option<isize>, isize),
    /// A new axis of size 1: Python's `None`.
    NewAxis,
    /// As many whole axes as are not named: Python's `...`.
    Ellipsis,
    /// Integers: the places to take. Bools: a mask over as many axes as it has.
    Places(Tensor),
}

/// The items of one `x[…]`: a single one, a tuple of up to six, or a slice of [`Index`].
pub trait Indices {
    /// The items in order.
    fn indices(self) -> Vec<Index>;
}

macro_rules! items {
    ($($t:ty: |$x:ident| $made:expr;)*) => {$(
        impl From<$t> for Index {
            #[track_caller]
            fn from($x: $t) -> Index { $made }
        }
        impl Indices for $t {
            #[track_caller]
            fn indices(self) -> Vec<Index> { vec![self.into()] }
        }
    )*};
}

items! {
    isize: |at| Index::At(at);
    i32: |at| Index::At(at as isize);
    RangeFull: |_all| Index::Slice(None, None, 1);
    Range<isize>: |range| Index::Slice(Some(range.start), Some(range.end), 1);
    RangeFrom<isize>: |range| Index::Slice(Some(range.start), None, 1);
    RangeTo<isize>: |range| Index::Slice(None, Some(range.end), 1);
    Tensor: |places| Index::Places(places);
    &Tensor: |places| Index::Places(places.clone());
    Vec<i64>: |places| Index::Places(Tensor::from(places));
}

impl<const N: usize> From<[i64; N]> for Index {
    #[track_caller]
    fn from(places: [i64; N]) -> Index {
        Index::Places(Tensor::from(places))
    }
}

impl<const N: usize> Indices for [i64; N] {
    #[track_caller]
    fn indices(self) -> Vec<Index> {
        vec![self.into()]
    }
}

impl Indices for Index {
    fn indices(self) -> Vec<Index> {
        vec![self]
    }
}

impl Indices for &[Index] {
    fn indices(self) -> Vec<Index> {
        self.to_vec()
    }
}

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: Into<Index>),*> Indices for ($($name,)*) {
            #[track_caller]
            #[allow(non_snake_case)]
            fn indices(self) -> Vec<Index> {
                let ($($name,)*) = self;
                vec![$($name.into()),*]
            }
        }
    };
}
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);

impl Tensor {
    /// Python's `x[…]`, item by item and axis by axis: a place takes its axis away, a range keeps it, a tensor of
    /// integers takes these places (several broadcast and go together), a mask the places where it holds.
    /// What is not named stays whole. Where tensors stand side by side, their axes come in their place, otherwise in
    /// front, as in torch. The number of places that hold in a mask depends on its values: it is evaluated now.
    ///
    /// ```
    /// use limpid_core::{Index, Tensor};
    /// let x = Tensor::arange(0, 12, 1).reshape([3, 4]);
    /// assert_eq!(x.index((-1, 1..3)).to_vec::<i64>()?, [9, 10]);
    /// assert_eq!(x.index(([2, 0], [3, 1])).to_vec::<i64>()?, [11, 1]);
    /// assert_eq!(x.index((Index::Ellipsis, 0)).to_vec::<i64>()?, [0, 4, 8]);
    /// assert_eq!(x.index(x.gt(9)).to_vec::<i64>()?, [10, 11]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: more items than axes, places out of range, masks of other sizes, indices that do not broadcast.
    #[track_caller]
    pub fn index(&self, at: impl Indices) -> Tensor {
        match self.basic("index", at.indices()) {
            Ok((x, places)) if places.is_empty() => x,
            Ok((x, places)) => x.take_places(places),
            Err(failed) => failed,
        }
    }

    /// self with `values`, which stretch to the shape of [`Tensor::index`], at these places; with `accumulate` they
    /// are added there, each one where places repeat. Torch's `index_put`, and Python's `x[…] = values`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::zeros([3]);
    /// assert_eq!(x.index_put([0, 2], 5.0, false).to_vec::<f32>()?, [5.0, 0.0, 5.0]);
    /// let ones = Tensor::from([1.0f32, 1.0]);
    /// assert_eq!(x.index_put([1, 1], &ones, true).to_vec::<f32>()?, [0.0, 2.0, 0.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn index_put(&self, at: impl Indices, values: impl Into<Value>, accumulate: bool) -> Tensor {
        let places = self.positions().index(at);
        if places.error().is_some() {
            return Tensor::fail(
                places.error().expect("it has one"),
                &[self, &places],
                self.shape().clone(),
                self.dtype(),
            );
        }
        let values = match values.into() {
            Value::Tensor(t) => t,
            Value::Number(n) => source::scalar(crate::sugar::shape::as_type(n, self.dtype()), self.dtype()),
        };
        self.put_at("index_put", &places, &values, accumulate)
    }

    /// self with `values`, stretched to the shape of `places`, at these positions in row-major order.
    #[track_caller]
    pub(crate) fn put_at(&self, name: &str, places: &Tensor, values: &Tensor, accumulate: bool) -> Tensor {
        let fits = values.shape().broadcast(places.shape()).as_ref() == Some(places.shape());
        if !fits || values.dtype() != self.dtype() {
            let what =
                format!("{name}: values {} {} for {} {}", values.dtype(), values.shape(), self.dtype(), places.shape());
            return Tensor::fail(Error::new(what), &[self, places, values], self.shape().clone(), self.dtype());
        }
        if places.numel() == 0 {
            return self.clone();
        }
        let f = if accumulate { ScatterFn::Add } else { ScatterFn::Set };
        let values = movement::broadcast(values, places.shape());
        let flat = index::scatter(f, &self.flatten(0), 0, &places.flatten(0), &values.flatten(0));
        movement::reshape(&flat, self.shape().clone())
    }

    /// Places, ranges and new axes done; what is left are axes with tensors of indices.
    #[track_caller]
    fn basic(&self, name: &str, items: Vec<Index>) -> Result<(Tensor, Vec<(usize, Tensor)>), Tensor> {
        let fail = |what: String| Error::new(format!("{name}: {what}"));
        let at = std::panic::Location::caller();
        let failed = |error: Error| Err(Tensor::fail_at(at, error, &[self], self.shape().clone(), self.dtype()));
        let consumed = |item: &Index| match item {
            Index::At(_) | Index::Slice(..) => 1,
            Index::Places(t) if !is_mask(t) => 1,
            Index::Places(mask) => mask.rank(),
            Index::NewAxis | Index::Ellipsis => 0,
        };
        let named: usize = items.iter().map(consumed).sum();
        if named > self.rank() {
            return failed(fail(format!("{named} axes of a tensor of shape {}", self.shape())));
        }
        if items.iter().filter(|item| matches!(item, Index::Ellipsis)).count() > 1 {
            return failed(fail("more than one ellipsis".to_owned()));
        }
        let (mut x, mut axis, mut places) = (self.clone(), 0, Vec::new());
        for item in items {
            match item {
                Index::At(at) => x = x.select(axis as isize, at),
                Index::Slice(start, end, step) => {
                    x = x.slice(axis as isize, start, end, step);
                    axis += 1;
                }
                Index::NewAxis => {
                    x = x.unsqueeze(axis as isize);
                    axis += 1;
                }
                Index::Ellipsis => axis += self.rank() - named,
                Index::Places(t) if is_mask(&t) => {
                    let (wide, columns) = x.masked_axes(name, axis, &t)?;
                    x = wide;
                    for column in columns {
                        places.push((axis, column));
                        axis += 1;
                    }
                }
                Index::Places(t) if !is_index(t.dtype()) => {
                    return failed(
                        fail(format!("indices of {} are no places", t.dtype())).help("integers, or a bool mask"),
                    );
                }
                Index::Places(t) => {
                    places.push((axis, t));
                    axis += 1;
                }
            }
            if x.error().is_some() {
                return Err(x);
            }
        }
        Ok((x, places))
    }

    /// The places where `mask` holds, one tensor for each of its axes, which begin at `axis`. A mask without axes is
    /// one over a new axis of size 1.
    #[track_caller]
    fn masked_axes(&self, name: &str, axis: usize, mask: &Tensor) -> Result<(Tensor, Vec<Tensor>), Tensor> {
        if mask.rank() == 0 {
            let (x, mask) = (self.unsqueeze(axis as isize), mask.unsqueeze(0));
            return x.masked_axes(name, axis, &mask);
        }
        let over = &self.shape()[axis..axis + mask.rank()];
        if over != &mask.shape()[..] {
            let what = format!("{name}: a mask {} over axes of sizes {over:?} of {}", mask.shape(), self.shape());
            return Err(Tensor::fail(Error::new(what), &[self, mask], self.shape().clone(), self.dtype()));
        }
        let places = mask.nonzero();
        if let Some(error) = places.error() {
            return Err(Tensor::fail(error, &[self, mask], self.shape().clone(), self.dtype()));
        }
        let mut columns = Vec::new();
        for column in 0..mask.rank() {
            columns.push(places.select(1, column as isize));
        }
        Ok((self.clone(), columns))
    }

    /// The elements at tensors of places along some axes, which go together.
    #[track_caller]
    fn take_places(&self, places: Vec<(usize, Tensor)>) -> Tensor {
        let mut shape = Some(Shape::scalar());
        for (_, t) in &places {
            shape = shape.and_then(|shape| shape.broadcast(t.shape()));
        }
        let Some(shape) = shape else {
            let shapes: Vec<String> = places.iter().map(|(_, t)| t.shape().to_string()).collect();
            let error = Error::new(format!("index: indices of shapes {} do not broadcast", shapes.join(", ")));
            return Tensor::fail(error, &[self], self.shape().clone(), self.dtype());
        };
        let axes: Vec<usize> = places.iter().map(|(axis, _)| *axis).collect();
        let side_by_side = axes.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let sizes: Vec<usize> = axes.iter().map(|&axis| self.shape()[axis]).collect();
        // The named axes as one, in front; the place in it is checked axis by axis.
        let rest: Vec<usize> = (0..self.rank()).filter(|axis| !axes.contains(axis)).collect();
        let x = movement::permute(self, axes.iter().chain(&rest).copied().collect());
        let kept: Shape = rest.iter().map(|&axis| self.shape()[axis]).collect();
        let x = movement::reshape(&x, Shape::from([sizes.iter().product(), kept.elements()]));
        let flat = match &places[..] {
            [(_, one)] => Tensor::normal_index(one, sizes[0]),
            several => {
                let mut flat = Tensor::zeros_of(shape.clone(), DType::I64);
                for ((axis, t), &size) in several.iter().zip(&sizes) {
                    let checked = checked_place(*axis, &Tensor::normal_index(t, size), size);
                    flat = flat * size as i64 + movement::broadcast(&checked, &shape);
                }
                flat
            }
        };
        let taken = x.index_select(0, &flat.flatten(0));
        if taken.error().is_some() {
            return taken;
        }
        let y = movement::reshape(&taken, shape.iter().chain(kept.iter()).copied().collect());
        if !side_by_side {
            return y;
        }
        let (new, before) = (shape.rank(), axes[0]);
        let order = (new..new + before).chain(0..new).chain(new + before..y.rank()).collect();
        movement::permute(&y, order)
    }
}

/// Whether a tensor of indices is a mask. Torch still takes u8 as one.
fn is_mask(t: &Tensor) -> bool {
    matches!(t.dtype(), DType::Bool | DType::U8)
}

/// The same places, read from a table of them: one that is not there fails the run, under the axis that it is for.
#[track_caller]
fn checked_place(axis: usize, places: &Tensor, size: usize) -> Tensor {
    let table: Shape = std::iter::repeat_n(1, axis).chain([size]).collect();
    let thin: Shape = std::iter::repeat_n(1, axis).chain([places.numel()]).collect();
    let found = index::gather(&source::iota(table, axis), axis, &movement::reshape(places, thin));
    movement::reshape(&found, places.shape().clone())
}
