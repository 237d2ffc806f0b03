//! Rows of a table.

use limpid_kernels::DType;
use limpid_kernels::index::gather;

use crate::compound::{Compound, Fault, Io, call_one};
use crate::error::{Error, Result};
use crate::op::{Saves, index, movement};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// y[i…, j] = table[index[i…], j]: table [rows, width], index i64 of any shape. An index out of range fails the run
/// before anything is written.
#[derive(Debug)]
struct Embedding {
    /// Whether the gradient of the table may be one of rows.
    sparse: bool,
}

impl Compound for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(u64::from(self.sparse));
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (table, index) = (&inputs[0], &inputs[1]);
        vec![(index.0.iter().copied().chain([table.0[1]]).collect(), table.1)]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (table, index) = (&inputs[0], &inputs[1]);
        let (count, width) = (index.numel(), table.shape()[1]);
        let column = movement::reshape(index, Shape::from([count, 1]));
        let rows = index::gather(table, 0, &movement::broadcast(&column, &Shape::from([count, width])));
        vec![movement::reshape(&rows, index.shape().iter().copied().chain([width]).collect())]
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    fn reads_rows(&self) -> bool {
        self.sparse
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn may_fail(&self) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (table, count) = (&io.shapes[0], io.shapes[1].elements());
        let out = io.outputs[0].reborrow();
        gather(io.cpu, &[count, table[1]], 0, io.inputs[0], table, io.inputs[1], 0, &[1, 0], out)
            .map_err(|fault| Fault::Index { axis: 0, fault })
    }
}

impl Tensor {
    /// The rows of self `[rows, width]` at `index` (integers from 0 to below `rows`, any shape): `[…, width]`. The
    /// gradient of a row is the sum over the places that read it. Torch's `embedding`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let table = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(table.embedding(&Tensor::from([1i64, 0])).to_vec::<f32>()?, [3.0, 4.0, 1.0, 2.0]);
    /// let error = table.embedding(&Tensor::from([2i64])).to_vec::<f32>().unwrap_err();
    /// assert_eq!(error.what(), "embedding: index 2 is out of range for axis 0 of size 2");
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: a table without two axes, an index that is not of integers or is out of range.
    #[track_caller]
    pub fn embedding(&self, index: &Tensor) -> Tensor {
        self.rows_at(index, false)
    }

    #[track_caller]
    pub(crate) fn rows_at(&self, index: &Tensor, sparse: bool) -> Tensor {
        let wrong = if self.rank() != 2 {
            Some(format!("embedding: the table has shape {}, not [rows, width]", self.shape()))
        } else if index.dtype().is_float() || index.dtype() == DType::Bool {
            Some(format!("embedding: the index is {}, not integers", index.dtype()))
        } else {
            None
        };
        if let Some(what) = wrong {
            let width = self.shape().get(1..).unwrap_or(&[]);
            let shape = index.shape().iter().chain(width).copied().collect();
            return Tensor::fail(Error::new(what), &[self, index], shape, self.dtype());
        }
        call_one(Embedding { sparse }, &[self, &index.to_dtype(DType::I64)])
    }
}
