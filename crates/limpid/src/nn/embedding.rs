//! Rows of a table by index, and sums of them.

use limpid_core::{BagMode, DType, EmbeddingBagOptions, EmbeddingOptions, Error, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::nn::draws::Draws;
use crate::param::Parameter;
use crate::site::{Scope, Site};

/// A table and how it is read: what both layers are.
#[derive(Clone, Debug)]
struct Table {
    sizes: (usize, usize),
    /// None where the table was given.
    draws: Option<Draws>,
    padding: Option<isize>,
    max_norm: Option<f64>,
    norm_type: f64,
    by_freq: bool,
    sparse: bool,
}

impl Table {
    #[track_caller]
    fn drawn(sizes: (usize, usize), dtype: DType, draws: Option<Draws>) -> (Parameter, Draws) {
        let draw = || Parameter::new(&Tensor::zeros_of([sizes.0, sizes.1], dtype).randn_like());
        Draws::either(draws, draw)
    }

    fn new(sizes: (usize, usize), draws: Option<Draws>) -> Table {
        Table { sizes, draws, padding: None, max_norm: None, norm_type: 2.0, by_freq: false, sparse: false }
    }

    /// The table itself and its frame; one that is no table fails when it is read.
    #[track_caller]
    fn given(name: &str, embeddings: &Tensor) -> (Parameter, Table) {
        let shape = embeddings.shape();
        if let [rows, width] = **shape {
            let weight = Parameter::new(embeddings);
            weight.requires_grad_(false);
            return (weight, Table::new((rows, width), None));
        }
        let error = Error::new(format!("{name}: pretrained embeddings of shape {shape}")).help("a table [rows, width]");
        let failed = Tensor::fail(error, &[embeddings], [0, 0].into(), embeddings.dtype());
        (Parameter::new(&failed), Table::new((0, 0), None))
    }

    fn padding_row(&self) -> Option<i64> {
        let (rows, index) = (isize::try_from(self.sizes.0).unwrap_or(isize::MAX), self.padding?);
        (-rows..rows).contains(&index).then(|| index.rem_euclid(rows) as i64)
    }

    /// The padding row of a table that was drawn is 0.
    fn fill_padding(&self, weight: &Parameter) {
        if let (Some(row), Some(_)) = (self.padding_row(), &self.draws) {
            let at = Tensor::arange(0, self.sizes.0 as i64, 1).unsqueeze(-1);
            // A value that can not be computed stays one: the read will say so.
            let _ = weight.set(&weight.snapshot().where_(&at.ne(row), 0.0));
        }
    }

    #[track_caller]
    fn retyped(&mut self, weight: &mut Parameter, dtype: DType) {
        if dtype == weight.dtype() {
            return;
        }
        match self.draws.take() {
            Some(draws) => {
                let (made, draws) = Table::drawn(self.sizes, dtype, Some(draws));
                (*weight, self.draws) = (made, Some(draws));
                self.fill_padding(weight);
            }
            None => {
                let trained = weight.requires_grad();
                *weight = Parameter::new(&weight.snapshot().to_dtype(dtype));
                weight.requires_grad_(trained);
            }
        }
    }

    /// The options of a lookup, whose rows have been scaled already.
    fn lookup(&self) -> EmbeddingOptions {
        let options = EmbeddingOptions::new().padding_idx(self.padding).norm_type(self.norm_type);
        options.scale_grad_by_freq(self.by_freq).sparse(self.sparse)
    }

    /// Scales down the rows at `index` that are too long, in the table. Torch does it before it reads them. It is done
    /// at once: what was recorded from the table before keeps the old rows.
    fn limit(&self, weight: &Parameter, index: &Tensor) {
        let Some(max_norm) = self.max_norm.filter(|norm| *norm >= 0.0) else { return };
        let table = weight.tensor().detach();
        let rows = table.embedding(index);
        if rows.error().is_some() || rows.numel() == 0 {
            return;
        }
        // An index out of range is said by the lookup.
        let longest = rows.vector_norm(self.norm_type, -1).amax(..).item();
        if longest.is_ok_and(|longest| longest > max_norm) {
            weight.cell().assign(&table.embedding_renorm(index, max_norm, self.norm_type));
            let _ = weight.cell().settle();
        }
    }

    /// An unusable limit, for the lookup to say.
    fn bad_limit(&self) -> Option<f64> {
        self.max_norm.filter(|norm| norm.is_nan() || *norm < 0.0)
    }

    /// What torch prints of the options of both.
    fn arguments(&self) -> String {
        let mut text = format!("{}, {}", self.sizes.0, self.sizes.1);
        let mut put = |what: Option<String>| text.extend(what.map(|what| format!(", {what}")));
        put(self.max_norm.map(|norm| format!("max_norm={norm:?}")));
        put((self.norm_type != 2.0).then(|| format!("norm_type={:?}", self.norm_type)));
        put(self.by_freq.then(|| "scale_grad_by_freq=True".to_owned()));
        text
    }
}

/// The setters that both layers have.
macro_rules! shared {
    ($name:ident) => {
        impl $name {
            /// The row that starts as zeros and is not trained; negative ones count from the end.
            ///
            /// # Errors
            /// At the read of any result, when there is no such row.
            #[track_caller]
            pub fn padding_idx(mut self, index: impl Into<Option<isize>>) -> $name {
                self.table.padding = index.into();
                self.table.fill_padding(&self.weight);
                self
            }

            /// Rows with a larger norm are scaled down to this one, in the table, before they are read. That changes
            /// the parameter: a table that is read twice before a step must not grow in between.
            pub fn max_norm(mut self, norm: impl Into<Option<f64>>) -> $name {
                self.table.max_norm = norm.into();
                self
            }

            /// The p of the p-norm of `max_norm` (default: 2).
            pub fn norm_type(mut self, p: f64) -> $name {
                self.table.norm_type = p;
                self
            }

            /// Whether the gradient of a row is divided by the number of times it is read.
            pub fn scale_grad_by_freq(mut self, scale: bool) -> $name {
                self.table.by_freq = scale;
                self
            }

            /// Whether the gradient is one of rows: a step costs what was read, not the table. SparseAdam, Adagrad and
            /// SGD without momentum take it.
            pub fn sparse(mut self, sparse: bool) -> $name {
                self.table.sparse = sparse;
                self
            }

            /// Whether the table is not trained: by default one that was given is not, one that was drawn is.
            #[track_caller]
            pub fn freeze(self, freeze: bool) -> $name {
                self.weight.requires_grad_(!freeze);
                self
            }

            /// The type of the table (default: f32, or that of the table given).
            #[track_caller]
            pub fn dtype(mut self, dtype: DType) -> $name {
                self.table.retyped(&mut self.weight, dtype);
                self
            }
        }
    };
}

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
#[derive(Clone, Debug, Module)]
#[module(label = title, extra_repr = arguments)]
pub struct Embedding {
    /// `[num_embeddings, embedding_dim]`
    pub weight: Parameter,
    #[module(skip)]
    table: Table,
    #[module(site)]
    site: Site,
}

shared!(Embedding);

impl Embedding {
    /// A table of `num_embeddings` rows of `embedding_dim` numbers, f32.
    #[track_caller]
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Embedding {
        let sizes = (num_embeddings, embedding_dim);
        let (weight, draws) = Table::drawn(sizes, DType::F32, None);
        Embedding { weight, table: Table::new(sizes, Some(draws)), site: Site::here() }
    }

    /// This table, which is not trained unless [`Embedding::freeze`] says so. Torch's `from_pretrained`.
    ///
    /// # Errors
    /// At the read of any result, when it is no table `[rows, width]`.
    #[track_caller]
    pub fn from_pretrained(embeddings: &Tensor) -> Embedding {
        let (weight, table) = Table::given("Embedding", embeddings);
        Embedding { weight, table, site: Site::here() }
    }

    fn title(&self) -> String {
        format!("Embedding {}×{}", self.table.sizes.0, self.table.sizes.1)
    }

    fn arguments(&self) -> String {
        let (rows, width) = self.table.sizes;
        let mut text = self.table.arguments();
        if let Some(row) = self.table.padding_row() {
            let sizes = format!("{rows}, {width}");
            text = format!("{sizes}, padding_idx={row}{}", &text[sizes.len()..]);
        }
        if self.table.sparse { text + ", sparse=True" } else { text }
    }
}

impl Forward for Embedding {
    /// `x`: integers of any shape.
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        self.table.limit(&self.weight, x);
        scope.output(self.weight.tensor().embedding_with(x, &self.table.lookup().max_norm(self.table.bad_limit())))
    }
}

/// Sums, means or maxima over bags of rows of a table, without the rows in between: `[bags, length]`, or `[n]` with
/// offsets, → `[bags, embedding_dim]`. The table starts normally distributed.
///
/// ```
/// use limpid::prelude::*;
/// let words = EmbeddingBag::from_pretrained(&Tensor::from([[1.0f32, 2.0], [3.0, 4.0]])).mode(BagMode::Sum);
/// let y = words.forward(&Tensor::from([0i64, 1, 1]), Some(&Tensor::from([0i64, 1])), None);
/// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0, 6.0, 8.0]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(label = title, extra_repr = arguments)]
pub struct EmbeddingBag {
    /// `[num_embeddings, embedding_dim]`
    pub weight: Parameter,
    #[module(skip)]
    table: Table,
    #[module(skip)]
    mode: BagMode,
    #[module(skip)]
    include_last_offset: bool,
    #[module(site)]
    site: Site,
}

shared!(EmbeddingBag);

impl EmbeddingBag {
    /// Means over bags of a table of `num_embeddings` rows of `embedding_dim` numbers, f32.
    #[track_caller]
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> EmbeddingBag {
        let sizes = (num_embeddings, embedding_dim);
        let (weight, draws) = Table::drawn(sizes, DType::F32, None);
        EmbeddingBag::made(weight, Table::new(sizes, Some(draws)), Site::here())
    }

    /// This table, which is not trained unless [`EmbeddingBag::freeze`] says so. Torch's `from_pretrained`.
    ///
    /// # Errors
    /// At the read of any result, when it is no table `[rows, width]`.
    #[track_caller]
    pub fn from_pretrained(embeddings: &Tensor) -> EmbeddingBag {
        let (weight, table) = Table::given("EmbeddingBag", embeddings);
        EmbeddingBag::made(weight, table, Site::here())
    }

    #[track_caller]
    fn made(weight: Parameter, table: Table, site: Site) -> EmbeddingBag {
        EmbeddingBag { weight, table, mode: BagMode::Mean, include_last_offset: false, site }
    }

    /// Sums, means (default) or maxima.
    pub fn mode(self, mode: BagMode) -> EmbeddingBag {
        EmbeddingBag { mode, ..self }
    }

    /// Whether the last offset is the end of the last bag instead of the beginning of one.
    pub fn include_last_offset(self, include: bool) -> EmbeddingBag {
        EmbeddingBag { include_last_offset: include, ..self }
    }

    fn title(&self) -> String {
        format!("EmbeddingBag {}×{}", self.table.sizes.0, self.table.sizes.1)
    }

    fn arguments(&self) -> String {
        let mode = match self.mode {
            BagMode::Sum => "sum",
            BagMode::Mean => "mean",
            BagMode::Max => "max",
        };
        let padding = self.table.padding_row().map_or_else(String::new, |row| format!(", padding_idx={row}"));
        format!("{}, mode='{mode}'{padding}", self.table.arguments())
    }

    /// `x`: integers `[bags, length]`, or `[n]` with `offsets`, where each bag begins. `per_sample_weights`, of the shape
    /// of `x`, are factors of the rows, with sums only.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, offsets: Option<&Tensor>, per_sample_weights: Option<&Tensor>) -> Tensor {
        let scope = Scope::enter(self);
        self.table.limit(&self.weight, x);
        let options = EmbeddingBagOptions {
            rows: self.table.lookup().max_norm(self.table.bad_limit()),
            mode: self.mode,
            offsets: offsets.cloned(),
            include_last_offset: self.include_last_offset,
            per_sample_weights: per_sample_weights.cloned(),
        };
        scope.output(self.weight.tensor().embedding_bag(x, &options))
    }
}
