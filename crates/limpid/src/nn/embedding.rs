//! Rows of a table by index.

use limpid_core::{DType, Error, Tensor};

use crate::module::{Field, Forward, Module, Visitor};
use crate::nn::draws::Draws;
use crate::nn::failed;
use crate::param::Parameter;
use crate::site::{Scope, Site};

/// The rows of a table `[num_embeddings, embedding_dim]` at integer indices from 0 to below `num_embeddings`:
/// `[…]` → `[…, embedding_dim]`. The table starts normally distributed.
///
/// ```
/// use limpid::prelude::*;
/// let words = Embedding::new(10, 3).padding_idx(0);
/// let y = words.forward(&Tensor::from([[1i64, 0]]));
/// assert_eq!(*y.shape(), Shape::from([1, 2, 3]));
/// assert_eq!(y.to_vec::<f32>()?[3..], [0.0, 0.0, 0.0]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[num_embeddings, embedding_dim]`
    pub weight: Parameter,
    padding: Option<isize>,
    sizes: (usize, usize),
    site: Site,
    draws: Draws,
}

impl Embedding {
    /// A table of `num_embeddings` rows of `embedding_dim` numbers, f32.
    #[track_caller]
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Embedding {
        Embedding::made((num_embeddings, embedding_dim), DType::F32, Site::here(), None)
    }

    fn made(sizes: (usize, usize), dtype: DType, site: Site, draws: Option<Draws>) -> Embedding {
        let draw = || Parameter::new(&Tensor::zeros_of([sizes.0, sizes.1], dtype).randn_like());
        let (weight, draws) = draws.map_or_else(|| Draws::of(draw), |draws| draws.again(draw));
        Embedding { weight, padding: None, sizes, site, draws }
    }

    /// The row that starts as zeros and is not trained; negative ones count from the end.
    ///
    /// # Errors
    /// At the read of any result, when there is no such row.
    pub fn padding_idx(mut self, index: isize) -> Embedding {
        self.padding = Some(index);
        if let Some(row) = self.padding_row() {
            let at = Tensor::arange(0, self.sizes.0 as i64, 1).unsqueeze(-1);
            let weight = self.weight.snapshot();
            // A value that can not be computed stays one: the read will say so.
            let _ = self.weight.set(&weight.where_(&at.ne(row), 0.0));
        }
        self
    }

    /// The type of the table (default: f32).
    pub fn dtype(self, dtype: DType) -> Embedding {
        if dtype == self.weight.dtype() {
            return self;
        }
        let made = Embedding::made(self.sizes, dtype, self.site, Some(self.draws));
        match self.padding {
            Some(index) => made.padding_idx(index),
            None => made,
        }
    }

    fn padding_row(&self) -> Option<i64> {
        let (rows, index) = (self.sizes.0 as isize, self.padding?);
        (-rows..rows).contains(&index).then(|| index.rem_euclid(rows) as i64)
    }
}

impl Module for Embedding {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.weight.visit_field("weight", visitor);
    }
    fn kind(&self) -> &'static str {
        "Embedding"
    }
    fn label(&self) -> String {
        format!("Embedding {}×{}", self.sizes.0, self.sizes.1)
    }
    fn extra_repr(&self) -> String {
        let padding = self.padding_row().map_or_else(String::new, |row| format!(", padding_idx={row}"));
        format!("{}, {}{padding}", self.sizes.0, self.sizes.1)
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}

impl Forward for Embedding {
    /// `x`: integers of any shape.
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        let rows = self.weight.tensor().embedding(x);
        let row = match (self.padding, self.padding_row()) {
            (None, _) => return scope.output(rows),
            (Some(_), Some(row)) => row,
            (Some(index), None) => {
                let count = self.sizes.0;
                let what = format!("embedding: padding_idx {index} is out of range for a table of {count} rows");
                let error = Error::new(what).help(format!("−{count} to {}", count as i64 - 1));
                return scope.output(failed(error, &rows, rows.shape()));
            }
        };
        // The same value; no gradient reaches the padding row.
        scope.output(rows.where_(&x.unsqueeze(-1).ne(row), rows.detach()))
    }
}
