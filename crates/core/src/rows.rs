//! Some rows of a table: gradients of lookups that touch few of them.

use limpid_kernels::DType;

use crate::error::Error;
use crate::op::{index, movement};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The gradient of a table as the rows that were read: the sum over i of `values[i]` at row `indices[i]`, all else 0.
/// Torch's sparse tensor of one sparse axis.
///
/// ```
/// use limpid_core::{EmbeddingOptions, Tensor, gradients_by_rows};
/// let table = Tensor::zeros([5, 1]).requires_grad_();
/// let rows = table.embedding_with(&Tensor::from([3i64, 1, 3]), &EmbeddingOptions::new().sparse(true));
/// let (dense, rows) = gradients_by_rows(&rows.sum(..), &[&table])?.remove(0).unwrap();
/// let rows = rows.expect("the lookup is sparse");
/// assert_eq!(rows.indices().to_vec::<i64>()?, [3, 1, 3]);
/// assert_eq!(rows.row_sums().to_vec::<f32>()?, [2.0, 1.0, 2.0]);
/// assert_eq!(dense.to_vec::<f32>()?, [0.0, 1.0, 0.0, 2.0, 0.0]);
/// # Ok::<(), limpid_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rows {
    indices: Tensor,
    values: Tensor,
    shape: Shape,
}

impl Rows {
    /// What several lookups in `table` (index, gradient) read together.
    #[track_caller]
    pub(crate) fn joined(read: &[(Tensor, Tensor)], table: &Tensor) -> Rows {
        let width = table.shape()[1];
        let flat = |(index, grad): &(Tensor, Tensor)| {
            let n = index.numel();
            (movement::reshape(index, Shape::from([n])), movement::reshape(grad, Shape::from([n, width])))
        };
        let parts: Vec<(Tensor, Tensor)> = read.iter().map(flat).collect();
        let indices: Vec<&Tensor> = parts.iter().map(|part| &part.0).collect();
        let values: Vec<&Tensor> = parts.iter().map(|part| &part.1).collect();
        let [indices, values] = [indices, values].map(|all| match all[..] {
            [one] => one.clone(),
            _ => Tensor::cat(&all, 0),
        });
        Rows { indices, values, shape: table.shape().clone() }
    }

    /// The rows' places, i64 `[n]`; one may stand several times.
    pub fn indices(&self) -> &Tensor {
        &self.indices
    }

    /// `[n, width]`.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// The table's shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The same rows with other values.
    pub fn with_values(&self, values: &Tensor) -> Rows {
        Rows { values: values.clone(), ..self.clone() }
    }

    /// The sum of both.
    #[track_caller]
    pub fn add(&self, other: &Rows) -> Rows {
        let indices = Tensor::cat(&[&self.indices, &other.indices], 0);
        let values = Tensor::cat(&[&self.values, &other.values], 0);
        Rows { indices, values, shape: self.shape.clone() }
    }

    /// For each place the sum of all values of its row, `[n, width]`: what torch's `coalesce` gives, but a row that
    /// stands twice has its sum twice, so that sizes do not depend on values.
    #[track_caller]
    pub fn row_sums(&self) -> Tensor {
        if self.indices.numel() < 2 {
            return self.values.clone();
        }
        let (rank, _) = self.ranks();
        self.values.zeros_like().index_add(0, &rank, &self.values, 1.0).embedding(&rank)
    }

    /// The same table with the sum of each row at the row's first place and 0 at the others.
    #[track_caller]
    pub fn coalesce(&self) -> Rows {
        if self.indices.numel() < 2 {
            return self.clone();
        }
        let (_, first) = self.ranks();
        self.with_values(&self.row_sums().where_(&first.ne(0i64).unsqueeze(-1), 0.0))
    }

    /// For each place the number of different rows before it in rising order (equal rows have equal ranks), and 1 where a
    /// row stands for the first time.
    #[track_caller]
    fn ranks(&self) -> (Tensor, Tensor) {
        let n = self.indices.numel();
        let (sorted, order) = self.indices.sort(0, false);
        let changed = sorted.narrow(0, 1, n - 1).ne(sorted.narrow(0, 0, n - 1)).to_dtype(DType::I64);
        let begins = Tensor::cat(&[&Tensor::zeros_of([1], DType::I64).ones_like(), &changed], 0);
        let ranks = begins.cumsum(0) - 1;
        let at_places = |t: &Tensor| t.zeros_like().scatter(0, &order, t);
        (at_places(&ranks), at_places(&begins))
    }

    /// The sum of the squares of the table that this is.
    #[track_caller]
    pub fn square_sum(&self) -> Tensor {
        // Σ over places of value·(sum of its row) = Σ over rows of sum².
        (&self.values * self.row_sums()).sum(..)
    }

    /// The table.
    #[track_caller]
    pub fn to_dense(&self) -> Tensor {
        Tensor::zeros_of(self.shape.clone(), self.values.dtype()).index_add(0, &self.indices, &self.values, 1.0)
    }
}

impl Tensor {
    /// self `[rows, width]` with the rows at `index` (i64 `[n]`) replaced by what `update` makes of them, `[n, width]`.
    /// Where a row stands several times, `update` must give it the same values. Assigned to the cell that self is the
    /// value of, only these rows are written: the cost does not grow with the table.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let table = Tensor::from([[1.0f32], [2.0], [3.0]]);
    /// let updated = table.update_rows(&Tensor::from([2i64, 0]), |rows| rows * 10.0);
    /// assert_eq!(updated.to_vec::<f32>()?, [10.0, 2.0, 30.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: a table without two axes, an index that is not i64 `[n]` or is out of range, an update of another
    /// shape or type.
    #[track_caller]
    pub fn update_rows(&self, index: &Tensor, update: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        if self.rank() != 2 || index.rank() != 1 || index.dtype() != DType::I64 {
            let what = format!("update_rows: rows at {} {} of {}", index.dtype(), index.shape(), self.shape());
            let error = Error::new(what).help("a table [rows, width] and an index i64 [n]");
            return Tensor::fail(error, &[self, index], self.shape().clone(), self.dtype());
        }
        let rows = self.embedding(index);
        let new = update(&rows);
        if new.shape() != rows.shape() || new.dtype() != self.dtype() {
            let what =
                format!("update_rows: {} {} for rows {} {}", new.dtype(), new.shape(), self.dtype(), rows.shape());
            return Tensor::fail(Error::new(what), &[self, index, &new], self.shape().clone(), self.dtype());
        }
        let column = movement::reshape(index, Shape::from([index.numel(), 1]));
        index::scatter_rows(self, &movement::broadcast(&column, rows.shape()), &new)
    }
}
