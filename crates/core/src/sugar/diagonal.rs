//! Diagonals, and matrices made of them.

use limpid_kernels::DType;

use crate::error::Error;
use crate::op::{AxisList, movement, source};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The axes of `x` in the order: those not named, then `axes`.
#[track_caller]
pub(crate) fn moved_to_end(x: &Tensor, axes: &[usize]) -> Tensor {
    let kept = (0..x.rank()).filter(|axis| !axes.contains(axis));
    movement::permute(x, kept.chain(axes.iter().copied()).collect())
}

/// The last axes of `x` as the axes `axes`: undoes [`moved_to_end`].
#[track_caller]
pub(crate) fn moved_back(x: &Tensor, axes: &[usize]) -> Tensor {
    let mut order: AxisList = smallvec::smallvec![0; x.rank()];
    let kept = (0..x.rank()).filter(|axis| !axes.contains(axis));
    kept.chain(axes.iter().copied()).enumerate().for_each(|(from, to)| order[to] = from);
    movement::permute(x, order)
}

impl Tensor {
    /// Two different axes of a tensor of `rank` axes, or the failed tensor.
    #[track_caller]
    fn plane(&self, name: &str, rank: &Shape, dim1: isize, dim2: isize) -> Result<[usize; 2], Tensor> {
        let at = std::panic::Location::caller();
        let fail = |what: String| {
            Tensor::fail_at(at, Error::new(format!("{name}: {what}")), &[self], self.shape().clone(), self.dtype())
        };
        match (rank.axis(dim1), rank.axis(dim2)) {
            (Some(a), Some(b)) if a != b => Ok([a, b]),
            (Some(_), Some(_)) => Err(fail(format!("axes {dim1} and {dim2} of {} are the same", self.shape()))),
            (a, _) => {
                let wrong = if a.is_none() { dim1 } else { dim2 };
                Err(fail(format!("axis {wrong} where there are {} axes, input {}", rank.rank(), self.shape())))
            }
        }
    }

    /// The diagonal of the matrices of axes `dim1` and `dim2`, as a new last axis: elements whose index along `dim2`
    /// is `offset` larger than that along `dim1`. Torch's defaults are 0, 0 and 1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::arange(0, 6, 1).reshape([2, 3]);
    /// assert_eq!(x.diagonal(0, 0, 1).to_vec::<i64>()?, [0, 4]);
    /// assert_eq!(x.diagonal(1, 0, 1).to_vec::<i64>()?, [1, 5]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn diagonal(&self, offset: i64, dim1: isize, dim2: isize) -> Tensor {
        let axes = match self.plane("diagonal", self.shape(), dim1, dim2) {
            Ok(axes) => axes,
            Err(failed) => return failed,
        };
        let x = moved_to_end(self, &axes);
        let [rows, columns] = axes.map(|axis| self.shape()[axis]);
        let start = if offset >= 0 { offset as u64 } else { offset.unsigned_abs().saturating_mul(columns as u64) };
        let len = match offset {
            0.. => rows.min(columns.saturating_sub(offset.unsigned_abs() as usize)),
            _ => columns.min(rows.saturating_sub(offset.unsigned_abs() as usize)),
        };
        let outside: Shape = x.shape()[..x.rank() - 2].iter().copied().chain([rows * columns]).collect();
        let flat = movement::reshape(&x, outside);
        let axis = flat.rank() - 1;
        if len == 0 {
            return movement::slice(&flat, axis, 0, 1, 0);
        }
        movement::slice(&flat, axis, start as i64, columns as i64 + 1, len)
    }

    /// Matrices with the last axis on their diagonal and 0 beside it; they lie in the axes `dim1` and `dim2` of the
    /// result, `offset` columns from the main diagonal. Torch's defaults are 0, −2 and −1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([1.0f32, 2.0]).diag_embed(0, -2, -1);
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 0.0, 0.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn diag_embed(&self, offset: i64, dim1: isize, dim2: isize) -> Tensor {
        if self.rank() == 0 {
            let error = Error::new("diag_embed: a scalar has no axis for a diagonal");
            return Tensor::fail(error, &[self], Shape::from([1, 1]), self.dtype());
        }
        let (axis, len) = (self.rank() - 1, self.shape()[self.rank() - 1]);
        let size = len.saturating_add(offset.unsigned_abs() as usize);
        let shape: Shape = self.shape()[..axis].iter().copied().chain([size, size]).collect();
        let axes = match self.plane("diag_embed", &shape, dim1, dim2) {
            Ok(axes) => axes,
            Err(failed) => return failed,
        };
        if size.checked_mul(size).is_none() {
            let error = Error::new(format!("diag_embed: an offset of {offset} makes matrices of {size} × {size}"));
            return Tensor::fail(error, &[self], shape, self.dtype());
        }
        let away = offset.unsigned_abs() as usize;
        let lo = if offset >= 0 { away } else { away * size };
        let zero = movement::reshape(&Tensor::zeros_of([], self.dtype()), Shape::scalar());
        let flat = movement::pad(self, axis, lo, size, size * size, &zero);
        moved_back(&movement::reshape(&flat, shape), &axes)
    }

    /// Of a vector the matrix with it on a diagonal, of a matrix its diagonal; `diagonal` counts from the main one.
    /// Torch's `diag`.
    #[track_caller]
    pub fn diag(&self, diagonal: i64) -> Tensor {
        match self.rank() {
            1 => self.diag_embed(diagonal, -2, -1),
            2 => self.diagonal(diagonal, 0, 1),
            _ => {
                let error = Error::new(format!("diag: {} is no vector and no matrix", self.shape()))
                    .help("diagonal or diag_embed, which take batches");
                Tensor::fail(error, &[self], self.shape().clone(), self.dtype())
            }
        }
    }

    /// The sum of the diagonal of a matrix. Torch's `trace`.
    #[track_caller]
    pub fn trace(&self) -> Tensor {
        if self.rank() != 2 {
            let error = Error::new(format!("trace: {} is no matrix", self.shape()))
                .help("diagonal(0, -2, -1).sum(-1), which takes batches");
            return Tensor::fail(error, &[self], Shape::scalar(), self.dtype());
        }
        self.diagonal(0, 0, 1).sum(..)
    }

    /// self with `source` in the place of [`Tensor::diagonal`]. Torch's `diagonal_scatter`.
    #[track_caller]
    pub fn diagonal_scatter(&self, source: &Tensor, offset: i64, dim1: isize, dim2: isize) -> Tensor {
        let at = self.positions().diagonal(offset, dim1, dim2);
        if at.error().is_some() || self.error().is_some() {
            return self.diagonal(offset, dim1, dim2);
        }
        self.put_at("diagonal_scatter", &at, source, false)
    }

    /// The index of each element in row-major order, i64.
    #[track_caller]
    pub(crate) fn positions(&self) -> Tensor {
        movement::reshape(&source::iota(Shape::from([self.numel()]), 0), self.shape().clone())
    }

    /// The matrices (vectors and scalars count as one row) along the diagonal of one matrix. Torch's `block_diag`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::block_diag(&[&Tensor::from([[1.0f32, 2.0]]), &Tensor::from(3.0f32)]);
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0, 0.0, 0.0, 0.0, 3.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn block_diag(tensors: &[&Tensor]) -> Tensor {
        if let Some(t) = tensors.iter().find(|t| t.rank() > 2) {
            let error = Error::new(format!("block_diag: {} is no matrix", t.shape()));
            return Tensor::fail(error, tensors, t.shape().clone(), t.dtype());
        }
        if tensors.is_empty() {
            return Tensor::zeros([1, 0]);
        }
        let blocks: Vec<Tensor> = tensors.iter().map(|t| t.atleast_2d()).collect();
        let columns: usize = blocks.iter().map(|block| block.shape()[1]).sum();
        let mut before = 0;
        let mut rows = Vec::new();
        for block in &blocks {
            let behind = columns - before - block.shape()[1];
            rows.push(block.pad(1, before as isize, behind as isize, 0));
            before += block.shape()[1];
        }
        Tensor::cat(&rows.iter().collect::<Vec<_>>(), 0)
    }
}

/// Whether indices of this type are numbers of places: integers, not masks.
pub(crate) fn is_index(dtype: DType) -> bool {
    matches!(dtype, DType::I64 | DType::I32 | DType::U8)
}
