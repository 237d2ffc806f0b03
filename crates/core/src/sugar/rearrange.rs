//! Axes moved, elements repeated, tensors side by side, grids.

use limpid_kernels::DType;

use crate::error::Error;
use crate::op::{AxisList, movement};
use crate::shape::Shape;
use crate::sugar::operators::Value;
use crate::tensor::Tensor;

impl Tensor {
    /// Axis `source[i]` moved to `destination[i]`, the others in their order. Torch's `movedim` and `moveaxis`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert_eq!(Tensor::zeros([2, 3, 4]).movedim(&[0], &[-1]).shape()[..], [3, 4, 2]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn movedim(&self, source: &[isize], destination: &[isize]) -> Tensor {
        let resolved = |axes: &[isize]| -> Option<Vec<usize>> {
            let all: Vec<usize> = axes.iter().map(|&axis| self.axis(axis)).collect::<Option<_>>()?;
            let twice = (0..all.len()).any(|i| all[..i].contains(&all[i]));
            (!twice).then_some(all)
        };
        let (from, to) = match (resolved(source), resolved(destination)) {
            (Some(from), Some(to)) if from.len() == to.len() => (from, to),
            _ => return self.refuse(format!("movedim: axes {source:?} of {} to {destination:?}", self.shape())),
        };
        if self.rank() == 0 {
            return self.clone();
        }
        let mut rest = (0..self.rank()).filter(|axis| !from.contains(axis));
        let order: AxisList = (0..self.rank())
            .map(|place| match to.iter().position(|&axis| axis == place) {
                Some(i) => from[i],
                None => rest.next().expect("as many places as axes"),
            })
            .collect();
        movement::permute(self, order)
    }

    /// Axes `a` and `b` exchanged: [`Tensor::transpose`] under numpy's name.
    #[track_caller]
    pub fn swapaxes(&self, a: isize, b: isize) -> Tensor {
        self.transpose(a, b)
    }

    /// Turned by `k` quarters in the plane of two axes, from the first towards the second. Torch's `rot90`, whose
    /// defaults are 1 and `[0, 1]`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[1i64, 2], [3, 4]]);
    /// assert_eq!(x.rot90(1, [0, 1]).to_vec::<i64>()?, [2, 4, 1, 3]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn rot90(&self, k: i64, dims: [isize; 2]) -> Tensor {
        let [a, b] = dims;
        match (self.shape().axis(a), self.shape().axis(b)) {
            (Some(i), Some(j)) if i != j => {}
            _ => return self.refuse(format!("rot90: axes {dims:?} of {} are no plane", self.shape())),
        }
        match k.rem_euclid(4) {
            1 => self.flip(b).transpose(a, b),
            2 => self.flip(a).flip(b),
            3 => self.flip(a).transpose(a, b),
            _ => self.clone(),
        }
    }

    /// Repeated as a whole `times[i]` times along axis i; what is missing in front, of `times` or of axes, counts as
    /// 1. Torch's `tile`.
    #[track_caller]
    pub fn tile(&self, times: &[usize]) -> Tensor {
        let missing = self.rank().saturating_sub(times.len());
        let times: Vec<usize> = std::iter::repeat_n(1, missing).chain(times.iter().copied()).collect();
        self.repeat(&times)
    }

    /// The slices along `dim`, without that axis. Torch's `unbind`.
    #[track_caller]
    pub fn unbind(&self, dim: isize) -> Vec<Tensor> {
        let Some(axis) = self.shape().axis(dim) else { return vec![self.bad_axis("unbind", dim)] };
        let row = |at: usize| movement::reshape(&movement::piece(self, axis, at, 1), self.shape().without(axis));
        (0..self.shape()[axis]).map(row).collect()
    }

    /// At least one axis: a scalar as `[1]`. Torch's `atleast_1d`.
    #[track_caller]
    pub fn atleast_1d(&self) -> Tensor {
        self.with_axis()
    }

    /// At least two axes: `[n]` as `[1, n]`. Torch's `atleast_2d`.
    #[track_caller]
    pub fn atleast_2d(&self) -> Tensor {
        if self.rank() < 2 { self.with_axis().unsqueeze(0) } else { self.clone() }
    }

    /// At least three axes: `[n]` as `[1, n, 1]`, `[m, n]` as `[m, n, 1]`. Torch's `atleast_3d`.
    #[track_caller]
    pub fn atleast_3d(&self) -> Tensor {
        if self.rank() < 3 { self.atleast_2d().unsqueeze(-1) } else { self.clone() }
    }

    /// The tensors side by side along axis 1, vectors along axis 0. Torch's `hstack`.
    #[track_caller]
    pub fn hstack(tensors: &[&Tensor]) -> Tensor {
        let mut all = Vec::new();
        for t in tensors {
            all.push(t.atleast_1d());
        }
        let dim = if all.first().is_some_and(|t| t.rank() == 1) { 0 } else { 1 };
        joined("hstack", &all, dim)
    }

    /// The tensors one below the other: along axis 0 of [`Tensor::atleast_2d`]. Torch's `vstack`.
    #[track_caller]
    pub fn vstack(tensors: &[&Tensor]) -> Tensor {
        let mut all = Vec::new();
        for t in tensors {
            all.push(t.atleast_2d());
        }
        joined("vstack", &all, 0)
    }

    /// The tensors one behind the other: along axis 2 of [`Tensor::atleast_3d`]. Torch's `dstack`.
    #[track_caller]
    pub fn dstack(tensors: &[&Tensor]) -> Tensor {
        let mut all = Vec::new();
        for t in tensors {
            all.push(t.atleast_3d());
        }
        joined("dstack", &all, 2)
    }

    /// The tensors side by side along axis 1, vectors as columns. Torch's `column_stack`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (a, b) = (Tensor::from([1.0f32, 2.0]), Tensor::from([3.0f32, 4.0]));
    /// assert_eq!(Tensor::column_stack(&[&a, &b]).to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn column_stack(tensors: &[&Tensor]) -> Tensor {
        let mut all = Vec::new();
        for t in tensors {
            all.push(if t.rank() < 2 { t.with_axis().unsqueeze(1) } else { (*t).clone() });
        }
        joined("column_stack", &all, 1)
    }

    /// The coordinates of a grid: vectors of n₁, n₂, … elements each stretched to `[n₁, n₂, …]` along its own axis.
    /// With `indexing` `"xy"` instead of `"ij"` the first two axes of the results are exchanged. Torch's `meshgrid`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let grid = Tensor::meshgrid(&[&Tensor::from([1i64, 2]), &Tensor::from([5i64, 6, 7])], "ij");
    /// assert_eq!(grid[0].to_vec::<i64>()?, [1, 1, 1, 2, 2, 2]);
    /// assert_eq!(grid[1].to_vec::<i64>()?, [5, 6, 7, 5, 6, 7]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn meshgrid(tensors: &[&Tensor], indexing: &str) -> Vec<Tensor> {
        let at = std::panic::Location::caller();
        let fail = |what: String| vec![Tensor::fail_at(at, Error::new(what), tensors, Shape::scalar(), DType::F32)];
        if !matches!(indexing, "ij" | "xy") {
            return fail(format!("meshgrid: indexing {indexing:?} is neither \"ij\" nor \"xy\""));
        }
        if tensors.is_empty() {
            return fail("meshgrid: no tensors".to_owned());
        }
        if let Some(t) = tensors.iter().find(|t| t.rank() > 1 || t.dtype() != tensors[0].dtype()) {
            return fail(format!("meshgrid: {} {} beside {}", t.dtype(), t.shape(), tensors[0].dtype()));
        }
        let shape: Shape = tensors.iter().map(|t| t.numel()).collect();
        let mut grids = Vec::new();
        for (axis, t) in tensors.iter().enumerate() {
            let thin: Shape = (0..tensors.len()).map(|i| if i == axis { t.numel() } else { 1 }).collect();
            let grid = movement::broadcast(&movement::reshape(t, thin), &shape);
            grids.push(if indexing == "xy" && tensors.len() > 1 { grid.transpose(0, 1) } else { grid });
        }
        grids
    }

    /// All rows that take one element of each vector, in order: `[n₁·n₂·…, count]`; one vector stays as it is.
    /// Torch's `cartesian_prod`.
    #[track_caller]
    pub fn cartesian_prod(tensors: &[&Tensor]) -> Tensor {
        if let Some(t) = tensors.iter().find(|t| t.rank() != 1) {
            let error = Error::new(format!("cartesian_prod: {} is no vector", t.shape()));
            return Tensor::fail(error, tensors, t.shape().clone(), t.dtype());
        }
        if let [only] = tensors {
            return (*only).clone();
        }
        let mut columns = Vec::new();
        for grid in Tensor::meshgrid(tensors, "ij") {
            columns.push(grid.flatten(0));
        }
        Tensor::stack(&columns.iter().collect::<Vec<_>>(), 1)
    }

    /// All choices of `r` elements of a vector, in the order of their places: `[count, r]`. Torch's `combinations`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([1i64, 2, 3]).combinations(2, false);
    /// assert_eq!(y.to_vec::<i64>()?, [1, 2, 1, 3, 2, 3]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn combinations(&self, r: usize, with_replacement: bool) -> Tensor {
        if self.rank() != 1 {
            return self.refuse(format!("combinations: {} is no vector", self.shape()));
        }
        let places =
            if r > self.numel() && !with_replacement { Vec::new() } else { choices(self.numel(), r, with_replacement) };
        let count = places.len().checked_div(r).unwrap_or(0);
        let chosen = self.index_select(0, &Tensor::from(places));
        movement::reshape(&chosen, Shape::from([count, r]))
    }

    /// Every element `repeats` times in a row, along `dim`, or of all elements in order where it is `None`. `repeats`
    /// is a number, or a number for each element (`[n]`, or one for all); these are read now, as they decide the size.
    /// Torch's `repeat_interleave`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([1.0f32, 2.0]);
    /// assert_eq!(x.repeat_interleave(2, None).to_vec::<f32>()?, [1.0, 1.0, 2.0, 2.0]);
    /// assert_eq!(x.repeat_interleave(Tensor::from([0i64, 3]), Some(0)).to_vec::<f32>()?, [2.0, 2.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn repeat_interleave(&self, repeats: impl Into<Value>, dim: Option<isize>) -> Tensor {
        let x = if dim.is_none() { self.flatten(0) } else { self.with_axis() };
        let dim = dim.unwrap_or(0);
        let Some(axis) = x.axis(dim) else { return self.bad_axis("repeat_interleave", dim) };
        let len = x.shape()[axis];
        let counts = match repeats.into() {
            Value::Number(n) => vec![n.as_i64()],
            Value::Tensor(t) if t.dtype().is_float() || t.dtype() == DType::Bool || t.rank() > 1 => {
                return self.refuse(format!(
                    "repeat_interleave: repeats are {} {}, not integers on one axis",
                    t.dtype(),
                    t.shape()
                ));
            }
            Value::Tensor(t) => match t.read_for_size("repeat_interleave") {
                Ok(counts) => counts,
                Err(error) => return Tensor::fail(error, &[self, &t], self.shape().clone(), self.dtype()),
            },
        };
        if let Some(n) = counts.iter().find(|&&n| n < 0) {
            return self.refuse(format!("repeat_interleave: {n} repeats"));
        }
        let each = if counts.len() == 1 { len } else { 1 };
        let total = counts.iter().try_fold(0usize, |sum, &n| sum.checked_add((n as usize).checked_mul(each)?));
        let Some(total) = total.filter(|&total| x.shape().with(axis, total).addressable()) else {
            return self.refuse(format!("repeat_interleave: more elements of {} than memory can address", x.shape()));
        };
        if let [n] = counts[..] {
            // The same for all, which needs no index.
            let wide = x.unsqueeze(axis as isize + 1);
            let wide = movement::broadcast(&wide, &wide.shape().with(axis + 1, n as usize));
            return movement::reshape(&wide, x.shape().with(axis, total));
        }
        if counts.len() != len {
            return self.refuse(format!("repeat_interleave: {} repeats for axis {dim} of {}", counts.len(), x.shape()));
        }
        let places = counts.iter().enumerate().flat_map(|(i, &n)| std::iter::repeat_n(i as i64, n as usize));
        x.index_select(axis as isize, &Tensor::from(places.collect::<Vec<_>>()))
    }

    /// The integers of self, which decide a size: evaluated now, refused where values are not known.
    #[track_caller]
    pub(crate) fn read_for_size(&self, name: &str) -> Result<Vec<i64>, Error> {
        if self.node.symbolic() && self.error().is_none() {
            return Err(Error::new(format!("{name}: the size of the result depends on values"))
                .help("doing it outside of the region"));
        }
        self.detach().to_vec::<i64>()
    }
}

#[track_caller]
fn joined(name: &str, tensors: &[Tensor], dim: isize) -> Tensor {
    if tensors.is_empty() {
        return Tensor::failed(Error::new(format!("{name}: no tensors")));
    }
    Tensor::cat(&tensors.iter().collect::<Vec<_>>(), dim)
}

/// The places of all choices of `r` among `n`, one choice after the other.
fn choices(n: usize, r: usize, with_replacement: bool) -> Vec<i64> {
    let step = usize::from(!with_replacement);
    let mut all = Vec::new();
    let mut chosen: Vec<usize> = (0..r).map(|i| i * step).collect();
    while r > 0 && chosen.last().is_some_and(|&last| last < n) {
        all.extend(chosen.iter().map(|&i| i as i64));
        // The last place that can move on; those behind it follow closely.
        let Some(at) = (0..r).rev().find(|&i| chosen[i] + 1 + (r - 1 - i) * step < n) else { break };
        let first = chosen[at] + 1;
        (at..r).for_each(|i| chosen[i] = first + (i - at) * step);
    }
    all
}
