//! The same elements under other shapes; joining and splitting.

use limpid_kernels::{DType, Number};

use crate::error::Error;
use crate::op::{AxisList, Mark, contract, movement, source, structure};
use crate::shape::{Axes, Shape};
use crate::sugar::operators::Value;
use crate::sugar::reduction::drop_axes;
use crate::tensor::Tensor;

impl Tensor {
    #[track_caller]
    pub(crate) fn refuse(&self, what: String) -> Tensor {
        self.refuse_with(Error::new(what))
    }

    /// [`Tensor::refuse`] with an error that says more.
    #[track_caller]
    pub(crate) fn refuse_with(&self, error: Error) -> Tensor {
        Tensor::fail(error, &[self], self.shape().clone(), self.dtype())
    }

    /// The same elements in row-major order under `shape`; one size may be −1 and is worked out.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert_eq!(Tensor::arange(0, 6, 1).reshape([2, -1]).shape()[..], [2, 3]);
    /// ```
    #[track_caller]
    pub fn reshape<const N: usize>(&self, shape: [isize; N]) -> Tensor {
        self.reshape_dims(&shape)
    }

    /// [`Tensor::reshape`] with the sizes in a slice.
    #[track_caller]
    pub fn reshape_dims(&self, shape: &[isize]) -> Tensor {
        let known = shape.iter().filter(|&&s| s >= 0).fold(1usize, |known, &s| known.saturating_mul(s as usize));
        let open = shape.iter().filter(|&&s| s < 0).count();
        let fits = match open {
            0 => known == self.numel(),
            1 => known > 0 && self.numel().is_multiple_of(known),
            _ => false,
        };
        let fill = if fits && open == 1 { self.numel() / known } else { 1 };
        let sizes: Shape = shape.iter().map(|&s| if s < 0 { fill } else { s as usize }).collect();
        if !fits || shape.iter().any(|&s| s < -1) {
            let error = Error::new(format!(
                "reshape: {} elements of shape {} do not fill {shape:?}",
                self.numel(),
                self.shape()
            ));
            return Tensor::fail(error, &[self], sizes, self.dtype());
        }
        movement::reshape(self, sizes)
    }

    /// The same elements under `shape`, which has as many.
    #[track_caller]
    pub fn view(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        if shape.elements() != self.numel() {
            let error =
                Error::new(format!("view: {} elements of shape {} do not fill {shape}", self.numel(), self.shape()));
            return Tensor::fail(error, &[self], shape, self.dtype());
        }
        movement::reshape(self, shape)
    }

    /// Axes `start` to the last one as one. `flatten(0)` gives one axis, `flatten(1)` keeps the batch.
    #[track_caller]
    pub fn flatten(&self, start: isize) -> Tensor {
        self.flatten_range(start, -1)
    }

    /// Axes `start` to `end`, both included, as one.
    #[track_caller]
    pub fn flatten_range(&self, start: isize, end: isize) -> Tensor {
        let (Some(a), Some(b)) = (self.axis(start), self.axis(end)) else {
            return self.bad_axis("flatten", if self.axis(start).is_none() { start } else { end });
        };
        if self.rank() == 0 {
            return self.with_axis();
        }
        if a > b {
            return self.refuse(format!("flatten: axis {start} is behind axis {end}"));
        }
        let s = self.shape();
        let merged = s[a..=b].iter().product();
        movement::reshape(self, s[..a].iter().copied().chain([merged]).chain(s[b + 1..].iter().copied()).collect())
    }

    /// Axis `dim` as axes of `sizes`; one may be −1 and is worked out. Torch's `unflatten`.
    ///
    /// # Errors
    /// At the read: no such axis, no sizes, sizes that do not fill it.
    #[track_caller]
    pub fn unflatten(&self, dim: isize, sizes: &[isize]) -> Tensor {
        let Some(axis) = self.shape().axis(dim) else { return self.bad_axis("unflatten", dim) };
        let (s, size) = (self.shape(), self.shape()[axis]);
        let known = sizes.iter().filter(|&&n| n >= 0).try_fold(1usize, |all, &n| all.checked_mul(n.unsigned_abs()));
        let open = sizes.iter().filter(|&&n| n == -1).count();
        let fill = match (open, known) {
            (0, Some(known)) => (known == size).then_some(1),
            (1, Some(known)) if known > 0 => size.is_multiple_of(known).then_some(size / known),
            _ => None,
        };
        match fill {
            Some(fill) if !sizes.is_empty() && sizes.iter().all(|&n| n >= -1) => {
                let middle = sizes.iter().map(|&n| if n < 0 { fill } else { n.unsigned_abs() });
                let shape = s[..axis].iter().copied().chain(middle).chain(s[axis + 1..].iter().copied()).collect();
                movement::reshape(self, shape)
            }
            _ => {
                let error = Error::new(format!("unflatten: {sizes:?} do not fill axis {dim} of {s}"));
                let error = error.help(format!("sizes whose product is {size}; one may be -1"));
                Tensor::fail(error, &[self], s.clone(), self.dtype())
            }
        }
    }

    /// A new axis of size 1 before axis `dim` (−1: at the end).
    #[track_caller]
    pub fn unsqueeze(&self, dim: isize) -> Tensor {
        let rank = self.rank() as isize;
        let at = if dim < 0 { dim + rank + 1 } else { dim };
        if !(0..=rank).contains(&at) {
            return self.bad_axis("unsqueeze", dim);
        }
        movement::reshape(self, self.shape().inserted(at as usize, 1))
    }

    /// Without those of `axes` whose size is 1: one (`-1`), several (`[0, 2]`) or all (`..`).
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[[1.0f32], [2.0]]]);
    /// assert_eq!(x.squeeze(-1).shape()[..], [1, 2]);
    /// assert_eq!(x.squeeze([1, 2]).shape()[..], [1, 2]);
    /// assert_eq!(x.squeeze(..).shape()[..], [2]);
    /// ```
    #[track_caller]
    pub fn squeeze(&self, axes: impl Axes) -> Tensor {
        match axes.resolve(self.shape()) {
            Err(axis) => self.bad_axis("squeeze", axis),
            Ok(mut axes) => {
                axes.retain(|axis| self.shape()[*axis] == 1);
                if axes.is_empty() { self.clone() } else { drop_axes(self, &axes) }
            }
        }
    }

    /// Stretched to `shape`: sizes 1 become larger, axes are added in front.
    #[track_caller]
    pub fn expand_to(&self, shape: &Shape) -> Tensor {
        if self.shape().broadcast(shape).as_ref() != Some(shape) {
            let error = Error::new(format!("expand: {} does not stretch to {shape}", self.shape()));
            return Tensor::fail(error, &[self], shape.clone(), self.dtype());
        }
        movement::broadcast(self, shape)
    }

    /// Stretched to `shape`; −1 keeps a size.
    #[track_caller]
    pub fn expand<const N: usize>(&self, shape: [isize; N]) -> Tensor {
        let new = N.saturating_sub(self.rank());
        let size = |i: usize, s: isize| if s < 0 && i >= new { self.shape()[i - new] } else { s.max(0) as usize };
        if N < self.rank() {
            return self.refuse(format!("expand: {shape:?} has fewer axes than {}", self.shape()));
        }
        self.expand_to(&shape.iter().enumerate().map(|(i, &s)| size(i, s)).collect())
    }

    /// Axis i of the result is axis `axes[i]` of self.
    #[track_caller]
    pub fn permute<const N: usize>(&self, axes: [isize; N]) -> Tensor {
        let resolved: Option<AxisList> = axes.iter().map(|&a| self.shape().axis(a)).collect();
        match resolved {
            Some(list) if N == self.rank() && (0..N).all(|i| list.contains(&i)) => movement::permute(self, list),
            _ => self.refuse(format!("permute: {axes:?} is no order of the axes of {}", self.shape())),
        }
    }

    /// Axes `a` and `b` exchanged.
    #[track_caller]
    pub fn transpose(&self, a: isize, b: isize) -> Tensor {
        let (Some(i), Some(j)) = (self.axis(a), self.axis(b)) else {
            return self.bad_axis("transpose", if self.axis(a).is_none() { a } else { b });
        };
        if self.rank() == 0 {
            return self.clone();
        }
        let mut axes: AxisList = (0..self.rank()).collect();
        axes.swap(i, j);
        movement::permute(self, axes)
    }

    /// The transposed matrix; vectors and scalars stay.
    #[track_caller]
    pub fn t(&self) -> Tensor {
        match self.rank() {
            0 | 1 => self.clone(),
            2 => contract::transpose(self),
            _ => self.refuse(format!("t: {} is no matrix", self.shape())),
        }
    }

    /// The tensors one after the other along `dim`, in one type. Those of shape `[0]` are left out beside others
    /// of more axes, as in torch.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (a, b) = (Tensor::from([1.0f32]), Tensor::from([2.0f32, 3.0]));
    /// assert_eq!(Tensor::cat(&[&a, &b], 0).to_vec::<f32>()?, [1.0, 2.0, 3.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn cat(tensors: &[&Tensor], dim: isize) -> Tensor {
        let dtype = tensors.iter().map(|t| t.dtype()).reduce(crate::promote::promote);
        let Some(dtype) = dtype else { return Tensor::failed(Error::new("cat: no tensors")) };
        let counts = |t: &&Tensor| t.shape()[..] != [0];
        let filled: Vec<&Tensor> = tensors.iter().copied().filter(counts).collect();
        let tensors = if filled.is_empty() { tensors } else { &filled };
        let first = tensors[0];
        let Some(axis) = first.shape().axis(dim) else { return first.bad_axis("cat", dim) };
        let fits = |t: &&Tensor| t.rank() == first.rank() && t.shape().with(axis, 1) == first.shape().with(axis, 1);
        if let Some(t) = tensors.iter().find(|t| !fits(t)) {
            let error = Error::new(format!("cat: shapes {} and {} differ beside axis {dim}", first.shape(), t.shape()));
            return Tensor::fail(error, tensors, first.shape().clone(), first.dtype());
        }
        let cast: Vec<Tensor> = tensors.iter().map(|t| t.to_dtype(dtype)).collect();
        movement::concat(&cast.iter().collect::<Vec<_>>(), axis)
    }

    /// The tensors, of one shape, along a new axis `dim`.
    #[track_caller]
    pub fn stack(tensors: &[&Tensor], dim: isize) -> Tensor {
        if let Some(t) = tensors.iter().find(|t| t.shape() != tensors[0].shape()) {
            let error = Error::new(format!("stack: shapes {} and {} differ", tensors[0].shape(), t.shape()));
            return Tensor::fail(error, tensors, t.shape().clone(), t.dtype());
        }
        let mut wide: Vec<Tensor> = Vec::with_capacity(tensors.len());
        for t in tensors {
            wide.push(t.unsqueeze(dim));
        }
        Tensor::cat(&wide.iter().collect::<Vec<_>>(), dim)
    }

    /// Pieces of `size` along `dim`; the last may be shorter.
    #[track_caller]
    pub fn split(&self, size: usize, dim: isize) -> Vec<Tensor> {
        let Some(axis) = self.shape().axis(dim) else { return vec![self.bad_axis("split", dim)] };
        if size == 0 {
            return vec![self.refuse("split: pieces of size 0".to_owned())];
        }
        let len = self.shape()[axis];
        (0..len.max(1).div_ceil(size))
            .map(|i| movement::piece(self, axis, i * size, size.min(len - i * size)))
            .collect()
    }

    /// Pieces of these sizes along `dim`, which they fill. Torch's `split` with a list.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let parts = Tensor::arange(0, 5, 1).split_with_sizes(&[2, 3], 0);
    /// assert_eq!(parts[1].to_vec::<i64>()?, [2, 3, 4]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn split_with_sizes(&self, sizes: &[usize], dim: isize) -> Vec<Tensor> {
        let Some(axis) = self.shape().axis(dim) else { return vec![self.bad_axis("split_with_sizes", dim)] };
        let len = self.shape()[axis];
        if sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)) != Some(len) {
            return vec![self.refuse(format!("split_with_sizes: {sizes:?} do not add up to {len}, axis {dim}"))];
        }
        let mut start = 0;
        let piece = |&size: &usize| {
            start += size;
            movement::piece(self, axis, if size == 0 { 0 } else { start - size }, size)
        };
        sizes.iter().map(piece).collect()
    }

    /// `chunks` pieces of equal size along `dim`; the last may be shorter, and there may be fewer.
    #[track_caller]
    pub fn chunk(&self, chunks: usize, dim: isize) -> Vec<Tensor> {
        if chunks == 0 {
            return vec![self.refuse("chunk: 0 pieces".to_owned())];
        }
        self.split(self.size(dim).div_ceil(chunks).max(1), dim)
    }

    /// Repeated as a whole `times[i]` times along axis i; further axes are added in front.
    #[track_caller]
    pub fn repeat(&self, times: &[usize]) -> Tensor {
        if times.len() < self.rank() {
            return self.refuse(format!("repeat: {times:?} has fewer axes than {}", self.shape()));
        }
        let pad = times.len() - self.rank();
        let sizes: Vec<usize> = std::iter::repeat_n(1, pad).chain(self.shape().iter().copied()).collect();
        let spread: Shape = sizes.iter().flat_map(|&s| [1, s]).collect();
        let wide: Shape = times.iter().zip(&sizes).flat_map(|(&t, &s)| [t, s]).collect();
        let shape: Shape = times.iter().zip(&sizes).map(|(&t, &s)| t.saturating_mul(s)).collect();
        if !shape.addressable() || !wide.addressable() {
            let error = Error::new(format!(
                "repeat: {} repeated {times:?} times is more than memory can address",
                self.shape()
            ));
            return Tensor::fail(error, &[self], shape, self.dtype());
        }
        movement::reshape(&movement::broadcast(&movement::reshape(self, spread), &wide), shape)
    }

    /// `lo` and `hi` elements of `value` before and behind axis `dim`; negative numbers cut elements off.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([1.0f32, 2.0, 3.0]);
    /// assert_eq!(x.pad(0, 1, -1, 9.0).to_vec::<f32>()?, [9.0, 1.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn pad(&self, dim: isize, lo: isize, hi: isize, value: impl Into<Value>) -> Tensor {
        let Some(axis) = self.shape().axis(dim) else { return self.bad_axis("pad", dim) };
        let size = self.shape()[axis];
        let (cut, cut_end) = (lo.min(0).unsigned_abs(), hi.min(0).unsigned_abs());
        if size < cut.saturating_add(cut_end) {
            return self.refuse(format!("pad: {lo} and {hi} cut more than axis {dim} of size {size} has"));
        }
        let kept = size - cut - cut_end;
        let inner = movement::slice(self, axis, if kept == 0 { 0 } else { cut as i64 }, 1, kept);
        let (lo, hi) = (lo.max(0).unsigned_abs(), hi.max(0).unsigned_abs());
        let fill = match value.into() {
            Value::Tensor(t) if t.numel() != 1 => {
                return self.refuse(format!("pad: the value has shape {}", t.shape()));
            }
            Value::Tensor(t) => movement::reshape(&t, Shape::scalar()).to_dtype(self.dtype()),
            Value::Number(n) => source::scalar(as_type(n, self.dtype()), self.dtype()),
        };
        movement::pad(&inner, axis, lo, 0, lo + kept + hi, &fill)
    }

    /// The elements in reverse order along `dim`.
    #[track_caller]
    pub fn flip(&self, dim: isize) -> Tensor {
        let Some(axis) = self.axis(dim) else { return self.bad_axis("flip", dim) };
        if self.rank() == 0 {
            return self.clone();
        }
        let len = self.shape()[axis];
        movement::slice(self, axis, (len as i64 - 1).max(0), -1, len)
    }

    /// The elements moved on by `shift` along `dim`, the last ones to the front.
    #[track_caller]
    pub fn roll(&self, shift: isize, dim: isize) -> Tensor {
        let Some(axis) = self.shape().axis(dim) else { return self.bad_axis("roll", dim) };
        let len = self.shape()[axis];
        if len == 0 {
            return self.clone();
        }
        let at = (len as isize - shift.rem_euclid(len as isize)) as usize % len;
        let back = movement::slice(self, axis, at as i64, 1, len - at);
        movement::concat(&[&back, &movement::slice(self, axis, 0, 1, at)], axis)
    }

    /// The elements in row-major order moved on by `shift`, the last ones to the front, in the same shape. Torch's
    /// `roll` without axes.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert_eq!(Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]).roll_flat(1).to_vec::<f32>()?, [4.0, 1.0, 2.0, 3.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn roll_flat(&self, shift: isize) -> Tensor {
        movement::reshape(&self.flatten(0).roll(shift, 0), self.shape().clone())
    }

    /// Sliding windows of `size` along `dim`, `stride` apart: the windows are counted on `dim`, a new last
    /// axis runs within them. Torch's `unfold`.
    #[track_caller]
    pub fn unfold(&self, dim: isize, size: usize, stride: usize) -> Tensor {
        let Some(axis) = self.axis(dim) else { return self.bad_axis("unfold", dim) };
        if stride == 0 || size > self.with_axis().shape()[axis] {
            return self.refuse(format!("unfold: windows of {size} every {stride} on axis {dim} of {}", self.shape()));
        }
        if self.rank() == 0 {
            // A scalar is one window; its count is no axis.
            return movement::slice(&self.with_axis(), 0, 0, 1, size);
        }
        movement::window(self, axis, size, stride, 1)
    }

    /// The lower triangle of the last two axes: zero where column > row + `diagonal`.
    #[track_caller]
    pub fn tril(&self, diagonal: i64) -> Tensor {
        self.triangle("tril", diagonal, true)
    }

    /// The upper triangle of the last two axes: zero where column < row + `diagonal`.
    #[track_caller]
    pub fn triu(&self, diagonal: i64) -> Tensor {
        self.triangle("triu", diagonal, false)
    }

    #[track_caller]
    fn triangle(&self, name: &str, diagonal: i64, lower: bool) -> Tensor {
        let rank = self.rank();
        if rank < 2 {
            return self.refuse(format!("{name}: {} has less than two axes", self.shape()));
        }
        let row = source::iota(self.shape().clone(), rank - 2) + diagonal;
        let column = source::iota(self.shape().clone(), rank - 1);
        let kept = if lower { column.le(&row) } else { row.le(&column) };
        self.where_(&kept, self.zeros_like())
    }

    /// The matrix product. Vectors and batches as in torch: `[n]·[n]` is a scalar, batches broadcast.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let a = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(a.matmul(&Tensor::from([1.0f32, 1.0])).to_vec::<f32>()?, [3.0, 7.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        let at = std::panic::Location::caller();
        let (a, b) = (self.shape(), other.shape());
        let fail = |what: String, help: Option<String>| {
            let error = Error::new(what);
            let error = if let Some(help) = help { error.help(help) } else { error };
            let guess: Shape = match (a.rank(), b.rank()) {
                (0, _) | (_, 0) => Shape::scalar(),
                (_, 1) => a.without(a.rank() - 1),
                (1, _) => b.without(b.rank() - 2),
                _ => a.with(a.rank() - 1, b[b.rank() - 1]),
            };
            Tensor::fail_at(at, error, &[self, other], guess, self.dtype())
        };
        if a.rank() == 0 || b.rank() == 0 {
            return fail(format!("matmul: {a} × {b}: a scalar has no inner axis"), Some("a * b".to_owned()));
        }
        let inner = (a[a.rank() - 1], b[b.rank().saturating_sub(2)]);
        if inner.0 != inner.1 {
            let help = (b.rank() >= 2 && b[b.rank() - 1] == inner.0).then(|| "b.transpose(-1, -2)".to_owned());
            return fail(format!("matmul: inner sizes differ: {a} × {b}; {} ≠ {}", inner.0, inner.1), help);
        }
        if self.dtype() != other.dtype() || self.dtype() == DType::Bool {
            let what = format!("matmul: types {} and {}", self.dtype(), other.dtype());
            return fail(what, Some("the same number type on both sides: to_dtype".to_owned()));
        }
        let left = if a.rank() == 1 { self.unsqueeze(0) } else { self.clone() };
        let right = if b.rank() == 1 { other.unsqueeze(-1) } else { other.clone() };
        let batch = |t: &Tensor| -> Shape { t.shape()[..t.rank() - 2].iter().copied().collect() };
        let Some(joint) = batch(&left).broadcast(&batch(&right)) else {
            return fail(format!("matmul: the batches of {a} and {b} do not broadcast"), None);
        };
        let widen = |t: &Tensor| {
            let shape: Shape = joint.iter().chain(&t.shape()[t.rank() - 2..]).copied().collect();
            movement::broadcast(t, &shape)
        };
        let y = contract::dot(&widen(&left), &widen(&right));
        let y = if a.rank() == 1 { y.squeeze(-2) } else { y };
        if b.rank() == 1 { y.squeeze(-1) } else { y }
    }

    /// The value without its past: no gradient passes.
    #[track_caller]
    pub fn detach(&self) -> Tensor {
        if !self.node.trainable() {
            return self.clone();
        }
        structure::mark(self, Mark::Detach)
    }

    /// The same value as something to differentiate by, of which parameters need no mention.
    #[track_caller]
    pub fn requires_grad_(&self) -> Tensor {
        if !self.dtype().is_float() {
            return self.refuse(format!("requires_grad: only floats have gradients, not {}", self.dtype()));
        }
        structure::mark(self, Mark::Watch)
    }

    /// The value under a name in the graph.
    #[track_caller]
    pub(crate) fn named(&self, name: &str) -> Tensor {
        structure::mark(self, Mark::Tap(name.into()))
    }

    /// The value, if all elements are finite. If not, the run fails before it changes anything, and says
    /// `what` is not.
    #[track_caller]
    pub fn check_finite(&self, what: &str) -> Tensor {
        structure::mark(self, Mark::Finite(what.into()))
    }
}

/// `n` as a number of `dtype`'s kind.
pub(crate) fn as_type(n: Number, dtype: DType) -> Number {
    match dtype {
        d if d.is_float() => Number::Float(n.as_f64()),
        DType::Bool => Number::Int(i64::from(n.as_f64() != 0.0)),
        _ => Number::Int(n.as_i64()),
    }
}
