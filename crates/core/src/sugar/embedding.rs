//! Lookups in a table, with what torch can do beside the lookup, and sums over bags of rows.

use limpid_kernels::DType;
use limpid_kernels::index::ScatterFn;

use crate::error::Error;
use crate::op::movement;
use crate::options;
use crate::shape::Shape;
use crate::tensor::Tensor;

options! {
    /// What a lookup does beside reading rows: torch's keywords of `embedding`, with its defaults.
    ///
    /// ```
    /// use limpid_core::{EmbeddingOptions, Tensor};
    /// let table = Tensor::from([[3.0f32, 4.0], [0.3, 0.4]]);
    /// let rows = table.embedding_with(&Tensor::from([0i64, 1]), &EmbeddingOptions::new().max_norm(1.0));
    /// assert!((rows.norm(1).to_vec::<f32>()?[0] - 1.0).abs() < 1e-6);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[derive(PartialEq)]
    EmbeddingOptions {
        into {
            /// The row that gets no gradient, and that bags leave out; negative ones count from the end.
            padding_idx: Option<isize> = None,
            /// Rows with a larger norm are scaled down to this one before they are read. A table that is a tensor stays
            /// as it is; the modules change theirs, as torch does.
            max_norm: Option<f64> = None,
        }
        values {
            /// The p of the p-norm of `max_norm` (default: 2).
            norm_type: f64 = 2.0,
            /// Whether the gradient of a row is divided by the number of times it is read.
            scale_grad_by_freq: bool = false,
            /// Whether the table's gradient is one of rows ([`gradients_by_rows`](crate::gradients_by_rows)), so that a
            /// step costs what was read, not the table.
            sparse: bool = false,
        }
    }
}

impl EmbeddingOptions {
    /// The padding row from 0, in a table of `rows`.
    fn padding(&self, name: &str, rows: usize) -> Result<Option<i64>, Error> {
        let Some(index) = self.padding_idx else { return Ok(None) };
        let count = rows as isize;
        if !(-count..count).contains(&index) {
            let what = format!("{name}: padding_idx {index} is out of range for a table of {rows} rows");
            return Err(Error::new(what).help(format!("−{rows} to {}", count - 1)));
        }
        Ok(Some(index.rem_euclid(count) as i64))
    }

    fn check(&self, name: &str) -> Result<(), Error> {
        if self.sparse && self.scale_grad_by_freq {
            let error = Error::new(format!("{name}: scale_grad_by_freq with sparse gradients"));
            return Err(error.help("one of the two"));
        }
        match self.max_norm {
            Some(norm) if norm.is_nan() || norm < 0.0 => {
                Err(Error::new(format!("{name}: max_norm is {norm}")).help("at least 0"))
            }
            _ => Ok(()),
        }
    }
}

/// How a bag's rows become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BagMode {
    /// Their sum, each times its weight where there are some.
    Sum,
    /// Their mean.
    #[default]
    Mean,
    /// The largest of each column.
    Max,
}

options! {
    /// Torch's keywords of `embedding_bag` beside those of [`EmbeddingOptions`].
    EmbeddingBagOptions {
        tensors {
            /// Where each bag begins in an index of one axis: integers `[bags]`, rising from 0.
            offsets,
            /// A factor for each index, of its shape; with sums only.
            per_sample_weights,
        }
        values {
            /// The options of the lookup.
            rows: EmbeddingOptions = EmbeddingOptions::new(),
            /// Sum, mean (default) or maximum.
            mode: BagMode = BagMode::Mean,
            /// Whether the last offset is the end of the last bag instead of the beginning of one.
            include_last_offset: bool = false,
        }
    }
}

impl Tensor {
    /// [`Tensor::embedding`] with torch's keywords.
    ///
    /// # Errors
    /// At the read: as [`Tensor::embedding`]; a padding row that there is not; `scale_grad_by_freq` with `sparse`.
    #[track_caller]
    pub fn embedding_with(&self, index: &Tensor, options: &EmbeddingOptions) -> Tensor {
        self.looked_up("embedding", index, options)
    }

    #[track_caller]
    fn looked_up(&self, name: &str, index: &Tensor, options: &EmbeddingOptions) -> Tensor {
        let mut rows = self.rows_at(index, options.sparse);
        if rows.error().is_some() {
            return rows;
        }
        let count = self.shape()[0];
        let padding = match options.check(name).and_then(|()| options.padding(name, count)) {
            Ok(padding) => padding,
            Err(error) => return Tensor::fail(error, &[&rows], rows.shape().clone(), rows.dtype()),
        };
        let index = index.to_dtype(DType::I64);
        if let Some(max_norm) = options.max_norm {
            // The values of the scaled rows, with the gradient of the rows themselves: torch scales outside of it.
            let scaled = rows.detach().limited(max_norm, options.norm_type);
            rows = scaled + (&rows - rows.detach());
        }
        if options.scale_grad_by_freq {
            let flat = index.view([index.numel()]);
            let ones = Tensor::ones([flat.numel()]).to_dtype(rows.dtype());
            let times = Tensor::zeros_of([count], rows.dtype()).index_add(0, &flat, &ones, 1.0).index_select(0, &flat);
            let times = times.view(index.shape().clone()).unsqueeze(-1);
            rows = rows.detach() + (&rows - rows.detach()) / times;
        }
        match padding {
            // The same value; no gradient reaches the padding row.
            Some(row) => rows.where_(&index.unsqueeze(-1).ne(row), rows.detach()),
            None => rows,
        }
    }

    /// Each row (along the last axis) with a p-norm above `max_norm` scaled down to it: ·max_norm/(norm + 1e-7).
    #[track_caller]
    fn limited(&self, max_norm: f64, p: f64) -> Tensor {
        if self.size(-1) == 0 {
            return self.clone();
        }
        let norm = self.vector_norm_keepdim(p, -1);
        let factor = (norm.zeros_like() + max_norm) / (&norm + 1e-7);
        self * factor.where_(&norm.gt(max_norm), factor.ones_like())
    }

    /// self `[rows, width]` with the rows at `index` that have a larger p-norm than `max_norm` scaled down to it: torch's
    /// `embedding_renorm_`, whose effect an assignment of the result is.
    ///
    /// # Errors
    /// At the read: as [`Tensor::embedding`].
    #[track_caller]
    pub fn embedding_renorm(&self, index: &Tensor, max_norm: f64, norm_type: f64) -> Tensor {
        let flat = index.to_dtype(DType::I64).view([index.numel()]);
        self.update_rows(&flat, |rows| rows.limited(max_norm, norm_type))
    }

    /// The rows of self `[rows, width]` at `index`, summed (or averaged, or the largest) over bags: `[bags, width]`. An
    /// index of two axes has a bag in each row; with one axis the offsets say where bags begin. An empty bag gives 0.
    /// Torch's `embedding_bag`.
    ///
    /// ```
    /// use limpid_core::{BagMode, EmbeddingBagOptions, Tensor};
    /// let table = Tensor::from([[1.0f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    /// let options = EmbeddingBagOptions::new().mode(BagMode::Sum).offsets(&Tensor::from([0i64, 2]));
    /// let bags = table.embedding_bag(&Tensor::from([0i64, 1, 2]), &options);
    /// assert_eq!(bags.to_vec::<f32>()?, [4.0, 6.0, 5.0, 6.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: as [`Tensor::embedding_with`]; offsets that are missing, do not begin at 0, fall or go beyond the
    /// index; weights of another shape or without sums; maxima with `scale_grad_by_freq` or `sparse`.
    #[track_caller]
    pub fn embedding_bag(&self, index: &Tensor, options: &EmbeddingBagOptions) -> Tensor {
        let width = self.shape().last().copied().unwrap_or(1);
        let count = match (index.rank(), &options.offsets) {
            (2, _) => index.shape()[0],
            (_, Some(offsets)) => offsets.numel().saturating_sub(usize::from(options.include_last_offset)),
            _ => 1,
        };
        if let Some(error) = self.bag_error(index, options) {
            return Tensor::fail(error, &[self, index], Shape::from([count, width]), self.dtype());
        }
        let n = index.numel();
        let flat = index.to_dtype(DType::I64).view([n]);
        let rows = self.looked_up("embedding_bag", &flat, &options.rows);
        if rows.error().is_some() {
            return Tensor::fail(Error::new("embedding_bag"), &[&rows], Shape::from([count, width]), self.dtype());
        }
        if count == 0 {
            return Tensor::zeros_of([0, width], self.dtype());
        }
        // Which places count: those that are not padding.
        let padding = options.rows.padding("embedding_bag", self.shape()[0]).ok().flatten();
        let counts = padding.map(|row| flat.ne(row));
        let bags = Bags::new(index, options.offsets.as_ref(), options.include_last_offset, count);
        if options.mode == BagMode::Max {
            return bags.largest(&rows, counts.as_ref());
        }
        let factor = match (&options.per_sample_weights, &counts) {
            (Some(weights), None) => Some(weights.view([n])),
            (Some(weights), Some(counts)) => Some(weights.view([n]).where_(counts, 0.0)),
            (None, Some(counts)) => Some(counts.to_dtype(rows.dtype())),
            (None, None) => None,
        };
        let sums = bags.sum(&factor.map_or(rows.clone(), |factor| &rows * factor.unsqueeze(-1)));
        if options.mode == BagMode::Sum {
            return sums;
        }
        let one = Tensor::ones([n, 1]).to_dtype(rows.dtype());
        let one = counts.map_or(one, |counts| counts.to_dtype(rows.dtype()).unsqueeze(-1));
        sums / bags.sum(&one).clamp_min(1.0)
    }

    /// What is wrong with the arguments of a bag, by their shapes and types.
    fn bag_error(&self, index: &Tensor, options: &EmbeddingBagOptions) -> Option<Error> {
        let (shape, mode) = (index.shape(), options.mode);
        let what = |what: String, help: &str| Some(Error::new(format!("embedding_bag: {what}")).help(help));
        if self.rank() != 2 {
            return what(format!("the table has shape {}", self.shape()), "a table [rows, width]");
        }
        if index.dtype().is_float() || index.dtype() == DType::Bool {
            return what(format!("the index is {}", index.dtype()), "integers");
        }
        match (index.rank(), &options.offsets) {
            (1, Some(offsets))
                if offsets.rank() != 1 || offsets.dtype().is_float() || offsets.dtype() == DType::Bool =>
            {
                return what(format!("offsets {} {}", offsets.dtype(), offsets.shape()), "integers of one axis");
            }
            (1, Some(offsets)) if offsets.numel() == 0 && options.include_last_offset => {
                return what("there is no last offset".to_owned(), "at least one offset with include_last_offset");
            }
            (1, Some(_)) | (2, None) => {}
            (1, None) => return what(format!("an index {shape} without offsets"), "offsets, or an index of two axes"),
            (2, Some(_)) => return what(format!("an index {shape} with offsets"), "offsets(None): each row is a bag"),
            _ => return what(format!("an index of shape {shape}"), "one axis and offsets, or two axes"),
        }
        if let Some(weights) = &options.per_sample_weights {
            if weights.shape() != shape || weights.dtype() != self.dtype() {
                let have = format!("per_sample_weights {} {} for an index {shape}", weights.dtype(), weights.shape());
                return what(have, "a weight for each index, of the table's type");
            }
            if mode != BagMode::Sum {
                return what(format!("per_sample_weights with mode {mode:?}"), "BagMode::Sum");
            }
        }
        if mode == BagMode::Max && (options.rows.scale_grad_by_freq || options.rows.sparse) {
            let name = if options.rows.sparse { "sparse" } else { "scale_grad_by_freq" };
            return what(format!("{name} with maxima"), "BagMode::Sum or BagMode::Mean");
        }
        None
    }
}

/// Which bag each place belongs to.
enum Bags {
    /// Bags of equal length.
    Rows { count: usize, length: usize },
    /// By offsets: the bag of each place, i64 `[n]`. What comes after a last offset is in a bag more.
    Ragged { of: Tensor, count: usize, after: bool },
}

impl Bags {
    #[track_caller]
    fn new(index: &Tensor, offsets: Option<&Tensor>, last: bool, count: usize) -> Bags {
        let Some(offsets) = offsets else { return Bags::Rows { count, length: index.shape()[1] } };
        let (n, starts) = (index.numel(), offsets.numel());
        let mut offsets = offsets.to_dtype(DType::I64);
        if starts > 0 {
            let first = Tensor::zeros_of([1], DType::I64);
            let before = Tensor::cat(&[&first, &offsets.narrow(0, 0, starts - 1)], 0);
            let begins = offsets.index_along(0).gt(0i64).logical_or(&offsets.eq(0i64));
            let holds = begins.logical_and(&offsets.ge(&before)).logical_and(&offsets.le(n as i64));
            let what = format!("embedding_bag: offsets rise from 0 to at most {n}");
            offsets = offsets.check(&holds, &what);
        }
        // How many offsets are at most the place.
        let ones = offsets.ones_like();
        let begun = Tensor::zeros_of([n + 1], DType::I64).index_add(0, &offsets, &ones, 1.0).cumsum(0).narrow(0, 0, n);
        Bags::Ragged { of: begun - 1, count, after: last }
    }

    /// The sum of `[n, width]` over each bag.
    #[track_caller]
    fn sum(&self, rows: &Tensor) -> Tensor {
        let width = rows.shape()[1];
        match self {
            Bags::Rows { count, length } => rows.view([*count, *length, width]).sum(1),
            Bags::Ragged { of, .. } => self.real(&self.combined(ScatterFn::Add, rows, of, 0.0, width)),
        }
    }

    /// Rows at places combined into bags that begin with `init`.
    #[track_caller]
    fn combined(&self, f: ScatterFn, rows: &Tensor, of: &Tensor, init: f64, width: usize) -> Tensor {
        let count = self.count();
        let start = Tensor::full_of([count, width], init, rows.dtype());
        if rows.numel() == 0 {
            return start;
        }
        let column = movement::reshape(of, Shape::from([of.numel(), 1]));
        start.scatter_with(f, 0, &movement::broadcast(&column, rows.shape()), rows)
    }

    fn count(&self) -> usize {
        match self {
            Bags::Rows { count, .. } => *count,
            Bags::Ragged { count, after, .. } => count + usize::from(*after),
        }
    }

    fn real_count(&self) -> usize {
        match self {
            Bags::Rows { count, .. } | Bags::Ragged { count, .. } => *count,
        }
    }

    /// Without the bag of what comes after the last offset.
    #[track_caller]
    fn real(&self, bags: &Tensor) -> Tensor {
        match self {
            Bags::Ragged { count, after: true, .. } => bags.narrow(0, 0, *count),
            _ => bags.clone(),
        }
    }

    /// The largest of each column in each bag, the first of equals; 0 for a bag without places.
    #[track_caller]
    fn largest(&self, rows: &Tensor, counts: Option<&Tensor>) -> Tensor {
        let (n, width) = (rows.shape()[0], rows.shape()[1]);
        let count = self.real_count();
        let of = match self {
            Bags::Ragged { of, .. } => of.clone(),
            Bags::Rows { length, .. } => Tensor::arange(0, n as i64, 1).floor_divide((*length).max(1) as i64),
        };
        if n == 0 {
            return Tensor::zeros_of([count, width], rows.dtype());
        }
        let lowest = f64::NEG_INFINITY;
        let seen = rows.detach();
        let seen = counts.map_or(seen.clone(), |counts| seen.where_(&counts.unsqueeze(-1), lowest));
        let largest = self.combined(ScatterFn::Max, &seen, &of, lowest, width);
        let mut wins = seen.eq(largest.embedding(&of));
        if let Some(counts) = counts {
            wins = wins.logical_and(&movement::broadcast(&counts.unsqueeze(-1), wins.shape()));
        }
        let place = Tensor::arange(0, n as i64, 1).unsqueeze(-1);
        let place = movement::broadcast(&place, wins.shape()).where_(&wins, n as i64);
        let winner = self.combined(ScatterFn::Min, &place, &of, n as f64, width);
        let found = rows.gather(0, &winner.clamp_max(n as i64 - 1));
        self.real(&found.where_(&winner.lt(n as i64), 0.0))
    }
}
