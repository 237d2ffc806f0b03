//! Products of vectors and matrices beside `matmul`: scaled and added, outer, Kronecker, cross, over chosen axes.

use limpid_kernels::DType;

use crate::error::Error;
use crate::op::movement;
use crate::shape::Shape;
use crate::sugar::diagonal::moved_to_end;
use crate::tensor::Tensor;

/// Over which axes [`Tensor::tensordot`] sums: the last ones of the first tensor with the first ones of the second
/// (`2`), or these of the first with these of the second (`([0, 1], [1, 0])`).
#[derive(Clone, Debug)]
pub enum Contracted {
    /// That many: the last axes of the first tensor, the first ones of the second.
    Count(usize),
    /// Axes of the first and of the second, pair by pair.
    Axes(Vec<isize>, Vec<isize>),
}

impl From<usize> for Contracted {
    fn from(count: usize) -> Contracted {
        Contracted::Count(count)
    }
}

impl<const N: usize> From<([isize; N], [isize; N])> for Contracted {
    fn from((a, b): ([isize; N], [isize; N])) -> Contracted {
        Contracted::Axes(a.to_vec(), b.to_vec())
    }
}

impl From<(&[isize], &[isize])> for Contracted {
    fn from((a, b): (&[isize], &[isize])) -> Contracted {
        Contracted::Axes(a.to_vec(), b.to_vec())
    }
}

impl Tensor {
    /// self·factor in the type of self; the error where an integer is to be multiplied by a fraction.
    #[track_caller]
    pub(crate) fn scaled(&self, name: &str, what: &str, factor: f64) -> Tensor {
        if factor == 1.0 {
            return self.clone();
        }
        if self.dtype().is_float() {
            return self * factor;
        }
        if factor.fract() != 0.0 || self.dtype() == DType::Bool {
            let error = Error::new(format!("{name}: {what} {factor} for {}", self.dtype()));
            return Tensor::fail(error.help("to_dtype"), &[self], self.shape().clone(), self.dtype());
        }
        self * factor as i64
    }

    /// `beta`·self + `alpha`·product, self stretched to the product; with `beta` 0 self is not looked at.
    #[track_caller]
    fn plus_product(&self, name: &str, product: &Tensor, beta: f64, alpha: f64) -> Tensor {
        let product = product.scaled(name, "alpha", alpha);
        if product.error().is_some() {
            return product;
        }
        let shape = product.shape();
        if self.shape().broadcast(shape).as_ref() != Some(shape) {
            let error = Error::new(format!("{name}: self {} does not stretch to the product {shape}", self.shape()));
            return Tensor::fail(error, &[self, &product], shape.clone(), self.dtype());
        }
        if self.dtype() != product.dtype() {
            let error = Error::new(format!("{name}: self is {}, the product {}", self.dtype(), product.dtype()));
            return Tensor::fail(error.help("to_dtype"), &[self, &product], shape.clone(), self.dtype());
        }
        if beta == 0.0 { product } else { self.scaled(name, "beta", beta) + product }
    }

    /// Whether both have these numbers of axes; the error where not.
    #[track_caller]
    fn ranks(name: &str, a: &Tensor, b: &Tensor, ranks: (usize, usize)) -> Option<Tensor> {
        if (a.rank(), b.rank()) == ranks {
            return None;
        }
        let word = |rank| ["a scalar", "a vector", "a matrix", "a batch of matrices"][rank];
        let what = format!("{name}: {} × {}, not {} and {}", a.shape(), b.shape(), word(ranks.0), word(ranks.1));
        Some(Tensor::fail(Error::new(what), &[a, b], a.shape().clone(), a.dtype()))
    }

    /// Whether both are batches of matrices, as many and with one inner size; the error where not.
    #[track_caller]
    fn same_batches(name: &str, a: &Tensor, b: &Tensor) -> Option<Tensor> {
        if let Some(failed) = Tensor::ranks(name, a, b, (3, 3)) {
            return Some(failed);
        }
        let ([batch, m, inner], [others, k, n]) = (a.dims::<3>(), b.dims::<3>());
        if (batch, inner) == (others, k) {
            return None;
        }
        let what = if batch == others {
            format!("inner sizes {inner} and {k}")
        } else {
            format!("batches of {batch} and {others}")
        };
        let error = Error::new(format!("{name}: {} × {}: {what}", a.shape(), b.shape()));
        Some(Tensor::fail(error, &[a, b], Shape::from([batch, m, n]), a.dtype()))
    }

    /// `beta`·self + `alpha`·(a·b): matrices `a` `[m, k]` and `b` `[k, n]`, self stretched to `[m, n]`. With `beta` 0
    /// self does not count, whatever it holds. Torch's `addmm`, whose defaults are 1 and 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (a, b) = (Tensor::from([[1.0f32, 2.0]]), Tensor::from([[3.0f32], [4.0]]));
    /// assert_eq!(Tensor::from([1.0f32]).addmm(&a, &b, 2.0, 1.0).to_vec::<f32>()?, [13.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: other numbers of axes, inner sizes that differ, a self that does not stretch to the product.
    #[track_caller]
    pub fn addmm(&self, a: &Tensor, b: &Tensor, beta: f64, alpha: f64) -> Tensor {
        match Tensor::ranks("addmm", a, b, (2, 2)) {
            Some(failed) => failed,
            None => self.plus_product("addmm", &a.matmul(b), beta, alpha),
        }
    }

    /// `beta`·self + `alpha`·(a·v): a matrix `a` `[m, k]` and a vector `v` `[k]`, self stretched to `[m]`. Torch's
    /// `addmv`.
    #[track_caller]
    pub fn addmv(&self, a: &Tensor, v: &Tensor, beta: f64, alpha: f64) -> Tensor {
        match Tensor::ranks("addmv", a, v, (2, 1)) {
            Some(failed) => failed,
            None => self.plus_product("addmv", &a.matmul(v), beta, alpha),
        }
    }

    /// `beta`·self + `alpha`·(v ⊗ w): vectors `v` `[m]` and `w` `[n]`, self stretched to `[m, n]`. Torch's `addr`.
    #[track_caller]
    pub fn addr(&self, v: &Tensor, w: &Tensor, beta: f64, alpha: f64) -> Tensor {
        match Tensor::ranks("addr", v, w, (1, 1)) {
            Some(failed) => failed,
            None => self.plus_product("addr", &(v.unsqueeze(1) * w), beta, alpha),
        }
    }

    /// `beta`·self + `alpha`·(a·b) for each matrix of the batches `a` `[b, m, k]` and `b` `[b, k, n]`. Torch's
    /// `baddbmm`.
    #[track_caller]
    pub fn baddbmm(&self, a: &Tensor, b: &Tensor, beta: f64, alpha: f64) -> Tensor {
        match Tensor::same_batches("baddbmm", a, b) {
            Some(failed) => failed,
            None => self.plus_product("baddbmm", &a.matmul(b), beta, alpha),
        }
    }

    /// `beta`·self + `alpha`·Σ a·b over the batches `a` `[b, m, k]` and `b` `[b, k, n]`: self is stretched to
    /// `[m, n]`. Torch's `addbmm`.
    #[track_caller]
    pub fn addbmm(&self, a: &Tensor, b: &Tensor, beta: f64, alpha: f64) -> Tensor {
        if let Some(failed) = Tensor::same_batches("addbmm", a, b) {
            return failed;
        }
        // One sum over batches and inner axis: one matrix product.
        let (wide, high) = (a.transpose(0, 1).flatten(1), b.flatten_range(0, 1));
        self.plus_product("addbmm", &wide.matmul(&high), beta, alpha)
    }

    /// y\[i\]\[j\] = self\[i\]·other\[j\] of two vectors. Torch's `outer`, also called `ger`.
    #[track_caller]
    pub fn outer(&self, other: &Tensor) -> Tensor {
        match Tensor::ranks("outer", self, other, (1, 1)) {
            Some(failed) => failed,
            None => self.unsqueeze(1) * other,
        }
    }

    /// The sum of products over the last axes: `[…, k]` and `[…′, k]` give `[…, …′]`; a scalar multiplies. Torch's
    /// `inner`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (a, b) = (Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]), Tensor::from([1.0f32, 10.0]));
    /// assert_eq!(a.inner(&b).to_vec::<f32>()?, [21.0, 43.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn inner(&self, other: &Tensor) -> Tensor {
        let (a, b) = (self.shape(), other.shape());
        if a.rank() == 0 || b.rank() == 0 {
            return self * other;
        }
        if a.last() != b.last() {
            let error = Error::new(format!("inner: the last sizes of {a} and {b} differ"));
            let shape = a[..a.rank() - 1].iter().chain(&b[..b.rank() - 1]).copied().collect();
            return Tensor::fail(error, &[self, other], shape, self.dtype());
        }
        self.tensordot(other, (&[-1][..], &[-1][..]))
    }

    /// The Kronecker product: every element of self times the whole of `other`, sizes multiply; the shorter shape is
    /// filled up with 1 in front. Torch's `kron`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([1.0f32, 2.0]).kron(&Tensor::from([1.0f32, 1.0, 5.0]));
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 1.0, 5.0, 2.0, 2.0, 10.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn kron(&self, other: &Tensor) -> Tensor {
        let rank = self.rank().max(other.rank());
        let padded = |t: &Tensor| -> Vec<usize> {
            std::iter::repeat_n(1, rank - t.rank()).chain(t.shape().iter().copied()).collect()
        };
        let (a, b) = (padded(self), padded(other));
        let left = movement::reshape(self, a.iter().flat_map(|&size| [size, 1]).collect());
        let right = movement::reshape(other, b.iter().flat_map(|&size| [1, size]).collect());
        movement::reshape(&(left * right), a.iter().zip(&b).map(|(a, b)| a * b).collect())
    }

    /// The cross product of the vectors along `dim`, where both sizes are 3; the other axes broadcast. Torch's
    /// `linalg.cross`; [`Tensor::cross_first`] takes the axis that `torch.cross` takes by itself.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (x, y) = (Tensor::from([1.0f32, 0.0, 0.0]), Tensor::from([0.0f32, 1.0, 0.0]));
    /// assert_eq!(x.cross(&y, -1).to_vec::<f32>()?, [0.0, 0.0, 1.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn cross(&self, other: &Tensor, dim: isize) -> Tensor {
        let (a, b) = (self.shape(), other.shape());
        let fail = |what: String| Err::<(isize, Shape), _>(Error::new(format!("cross: {what}")));
        let checked = match (a.axis(dim), b.axis(dim)) {
            _ if a.rank() != b.rank() => fail(format!("{a} and {b} have different numbers of axes")),
            (Some(axis), _) if (a[axis], b[axis]) != (3, 3) => {
                fail(format!("the sizes of {a} and {b} along axis {dim} are not 3"))
            }
            (Some(_), _) if a.broadcast(b).is_none() => fail(format!("{a} and {b} do not broadcast")),
            (Some(axis), _) => Ok((axis as isize, a.broadcast(b).expect("they do"))),
            (None, _) => return self.bad_axis("cross", dim),
        };
        let (axis, shape) = match checked {
            Ok(checked) => checked,
            Err(error) => return Tensor::fail(error, &[self, other], a.clone(), self.dtype()),
        };
        let (x, y) = (self.expand_to(&shape), other.expand_to(&shape));
        x.roll(-1, axis) * y.roll(-2, axis) - x.roll(-2, axis) * y.roll(-1, axis)
    }

    /// [`Tensor::cross`] along the first axis of size 3: `torch.cross` without `dim`.
    #[track_caller]
    pub fn cross_first(&self, other: &Tensor) -> Tensor {
        match self.shape().iter().position(|&size| size == 3) {
            Some(axis) => self.cross(other, axis as isize),
            None => {
                let error = Error::new(format!("cross: no axis of {} has size 3", self.shape()));
                Tensor::fail(error, &[self, other], self.shape().clone(), self.dtype())
            }
        }
    }

    /// The sum of products over pairs of axes; the other axes of self, then those of `other`, stay. Of two paired
    /// sizes one may be 1. Torch's `tensordot`, whose default is 2.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (a, b) = (Tensor::ones([2, 3, 4]), Tensor::ones([4, 3, 5]));
    /// assert_eq!(a.tensordot(&b, ([1, 2], [1, 0])).shape()[..], [2, 5]);
    /// assert_eq!(a.tensordot(&Tensor::ones([4, 6]), 1).shape()[..], [2, 3, 6]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn tensordot(&self, other: &Tensor, dims: impl Into<Contracted>) -> Tensor {
        let (first, second) = match dims.into() {
            Contracted::Axes(a, b) => (a, b),
            Contracted::Count(n) if n > self.rank().min(other.rank()) => {
                let what = format!("tensordot: {n} axes of {} and {}", self.shape(), other.shape());
                return Tensor::fail(Error::new(what), &[self, other], Shape::scalar(), self.dtype());
            }
            Contracted::Count(n) => {
                let rank = self.rank() as isize;
                ((rank - n as isize..rank).collect(), (0..n as isize).collect())
            }
        };
        match summed_pairs(self, other, &first, &second) {
            Err(what) => {
                let error = Error::new(format!("tensordot: {what}"));
                Tensor::fail(error, &[self, other], Shape::scalar(), self.dtype())
            }
            Ok((a, b)) => contract(&a.0, &a.1, &b.0, &b.1),
        }
    }
}

/// A tensor and the axes of it that are summed over.
type Side = (Tensor, Vec<usize>);

/// Both sides with paired axes of one size: where one is 1, the other is summed already.
#[track_caller]
fn summed_pairs(a: &Tensor, b: &Tensor, first: &[isize], second: &[isize]) -> Result<(Side, Side), String> {
    if first.len() != second.len() {
        return Err(format!("{} axes of the first tensor for {} of the second", first.len(), second.len()));
    }
    let find = |t: &Tensor, axes: &[isize]| -> Result<Vec<usize>, String> {
        let mut found = Vec::new();
        for &axis in axes {
            let at = t.shape().axis(axis).ok_or_else(|| format!("axis {axis} of a tensor of shape {}", t.shape()))?;
            if found.contains(&at) {
                return Err(format!("axis {axis} of {} is named twice", t.shape()));
            }
            found.push(at);
        }
        Ok(found)
    };
    let (left, right) = (find(a, first)?, find(b, second)?);
    let (mut x, mut y) = (a.clone(), b.clone());
    for (&i, &j) in left.iter().zip(&right) {
        match (a.shape()[i], b.shape()[j]) {
            (n, m) if n == m => {}
            (_, 1) => x = x.sum_keepdim(i as isize),
            (1, _) => y = y.sum_keepdim(j as isize),
            (n, m) => return Err(format!("{} along axis {i} and {} along axis {j}: {n} ≠ {m}", a.shape(), b.shape())),
        }
    }
    Ok(((x, left), (y, right)))
}

/// The matrix product over `left` of `a` and `right` of `b`, whose sizes agree.
#[track_caller]
fn contract(a: &Tensor, left: &[usize], b: &Tensor, right: &[usize]) -> Tensor {
    let (x, y) = (moved_to_end(a, left), moved_to_end(b, right));
    let kept = |t: &Tensor| Shape::from(&t.shape()[..t.rank() - left.len()]);
    let (rows, columns) = (kept(&x), kept(&y));
    let inner = left.iter().map(|&axis| a.shape()[axis]).product();
    let x = movement::reshape(&x, Shape::from([rows.elements(), inner]));
    let y = movement::reshape(&y, Shape::from([columns.elements(), inner])).transpose(0, 1);
    let product = x.matmul(&y);
    let shape: Shape = rows.iter().chain(columns.iter()).copied().collect();
    if product.error().is_some() { product } else { movement::reshape(&product, shape) }
}
