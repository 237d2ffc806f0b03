//! Losses: functions with torch's names, and the modules around them.

use limpid_core::{DType, Error, Tensor};

use crate::{Buffer, Module};

/// How the losses of the elements become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean; a weighted mean where there are weights.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay.
    None,
}

impl Reduction {
    #[track_caller]
    fn apply(self, losses: &Tensor) -> Tensor {
        match self {
            Reduction::Mean => losses.mean(..),
            Reduction::Sum => losses.sum(..),
            Reduction::None => losses.clone(),
        }
    }
}

/// Refuses shapes that would broadcast: almost always a mistake in a loss.
#[track_caller]
fn same_shape(name: &str, input: &Tensor, target: &Tensor) -> Option<Tensor> {
    if input.shape() == target.shape() {
        return None;
    }
    let error = Error::new(format!("{name}: the input has shape {}, the target {}", input.shape(), target.shape()));
    let error = error.help(format!("target.view({:?})", input.shape()));
    Some(Tensor::fail(error, &[input, target], input.shape().clone(), input.dtype()))
}

/// Σ (x − y)² / n. Torch's `mse_loss`.
///
/// ```
/// use limpid::prelude::*;
/// let loss = mse_loss(&Tensor::from([1.0f32, 4.0]), &Tensor::from([0.0f32, 2.0]));
/// assert_eq!(loss.item()?, 2.5);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn mse_loss(input: &Tensor, target: &Tensor) -> Tensor {
    MSELoss::default().forward(input, target)
}

/// Σ |x − y| / n. Torch's `l1_loss`.
#[track_caller]
pub fn l1_loss(input: &Tensor, target: &Tensor) -> Tensor {
    L1Loss::default().forward(input, target)
}

/// With d = |x − y|: d²/(2·beta) below `beta`, d − beta/2 above; the mean. Torch's `smooth_l1_loss`.
#[track_caller]
pub fn smooth_l1_loss(input: &Tensor, target: &Tensor, beta: f64) -> Tensor {
    SmoothL1Loss { beta, ..SmoothL1Loss::default() }.forward(input, target)
}

/// `−log softmax(logits)[target]`, the mean over rows: logits `[N, C]` or `[N, C, d…]`, targets as class indices (i64)
/// `[N]` or `[N, d…]`, or as probabilities of the shape of the logits. Torch's `cross_entropy`.
///
/// ```
/// use limpid::prelude::*;
/// let logits = Tensor::from([[0.0f32, 0.0]]);
/// let loss = cross_entropy(&logits, &Tensor::from([1i64])).item()?;
/// assert!((loss - 2.0f64.ln()).abs() < 1e-6);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn cross_entropy(input: &Tensor, target: &Tensor) -> Tensor {
    CrossEntropyLoss::default().forward(input, target)
}

/// `−x[target]`, the mean over rows, of log-probabilities `[N, C]` or `[N, C, d…]`. Torch's `nll_loss`.
#[track_caller]
pub fn nll_loss(input: &Tensor, target: &Tensor) -> Tensor {
    NLLLoss::default().forward(input, target)
}

/// −(y·log x + (1 − y)·log(1 − x)), the mean; logarithms are at least −100, and the gradient of an element is
/// (x − y) / max(x·(1 − x), 1e-12). Torch's `binary_cross_entropy`.
#[track_caller]
pub fn binary_cross_entropy(input: &Tensor, target: &Tensor) -> Tensor {
    BCELoss::default().forward(input, target)
}

/// The binary cross entropy of sigmoid(x) without overflow: max(x, 0) − x·y + log(1 + e^−|x|), the mean. Torch's
/// `binary_cross_entropy_with_logits`.
#[track_caller]
pub fn binary_cross_entropy_with_logits(input: &Tensor, target: &Tensor) -> Tensor {
    BCEWithLogitsLoss::default().forward(input, target)
}

/// Losses of two tensors of one shape that have no options but the reduction.
macro_rules! plain_loss {
    ($(#[$doc:meta])* $name:ident, $function:literal, $losses:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Module)]
        pub struct $name {
            /// How the losses become one.
            #[module(skip)]
            pub reduction: Reduction,
        }

        impl $name {
            /// With the mean.
            pub fn new() -> $name {
                $name::default()
            }

            /// With another reduction.
            pub fn reduction(mut self, reduction: Reduction) -> $name {
                self.reduction = reduction;
                self
            }

            /// The loss of `input` against `target`, which have one shape.
            #[track_caller]
            pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
                if let Some(failed) = same_shape($function, input, target) {
                    return failed;
                }
                let losses: fn(&Tensor, &Tensor) -> Tensor = $losses;
                self.reduction.apply(&losses(input, target))
            }
        }
    };
}

plain_loss!(
    /// (x − y)²: see [`mse_loss`].
    MSELoss, "mse_loss", |x, y| (x - y).square()
);
plain_loss!(
    /// |x − y|: see [`l1_loss`].
    L1Loss, "l1_loss", |x, y| (x - y).abs()
);

/// See [`smooth_l1_loss`].
#[derive(Clone, Debug, Module)]
pub struct SmoothL1Loss {
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
    /// Where the square ends and the line begins.
    pub beta: f64,
}

impl Default for SmoothL1Loss {
    fn default() -> SmoothL1Loss {
        SmoothL1Loss { reduction: Reduction::Mean, beta: 1.0 }
    }
}

impl SmoothL1Loss {
    /// The loss of `input` against `target`, which have one shape.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        if let Some(failed) = same_shape("smooth_l1_loss", input, target) {
            return failed;
        }
        if self.beta < 0.0 {
            return Tensor::failed(Error::new(format!("smooth_l1_loss: beta is {}, below 0", self.beta)));
        }
        let d = (input - target).abs();
        if self.beta == 0.0 {
            return self.reduction.apply(&d);
        }
        let square = &d * &d * (0.5 / self.beta);
        let line = &d - 0.5 * self.beta;
        self.reduction.apply(&square.where_(&d.lt(self.beta), line))
    }
}

/// See [`cross_entropy`].
#[derive(Clone, Debug, Module)]
pub struct CrossEntropyLoss {
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
    /// A factor for each class `[C]`.
    pub weight: Option<Buffer>,
    /// Rows of this class count nothing.
    #[module(skip)]
    pub ignore_index: i64,
    /// How much of each target is spread over all classes.
    pub label_smoothing: f64,
}

impl Default for CrossEntropyLoss {
    fn default() -> CrossEntropyLoss {
        CrossEntropyLoss { reduction: Reduction::Mean, weight: None, ignore_index: -100, label_smoothing: 0.0 }
    }
}

/// `[N, C, d…]` as rows `[N·d…, C]`, and the shape without the classes.
#[track_caller]
fn class_rows(input: &Tensor) -> (Tensor, Vec<usize>) {
    let shape = input.shape();
    let classes = shape[1];
    let rest: Vec<usize> = shape.iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, &s)| s).collect();
    if shape.rank() == 2 {
        return (input.clone(), rest);
    }
    let moved = input.flatten(2).transpose(1, 2);
    (moved.reshape([-1, classes as isize]), rest)
}

impl CrossEntropyLoss {
    /// With the mean, without weights.
    pub fn new() -> CrossEntropyLoss {
        CrossEntropyLoss::default()
    }

    /// With a factor for each class.
    pub fn weight(mut self, weight: &Tensor) -> CrossEntropyLoss {
        self.weight = Some(Buffer::new(weight));
        self
    }

    /// With another class that counts nothing.
    pub fn ignore_index(mut self, class: i64) -> CrossEntropyLoss {
        self.ignore_index = class;
        self
    }

    /// With targets smoothed: (1 − s)·onehot + s/C.
    pub fn label_smoothing(mut self, s: f64) -> CrossEntropyLoss {
        self.label_smoothing = s;
        self
    }

    /// With another reduction.
    pub fn reduction(mut self, reduction: Reduction) -> CrossEntropyLoss {
        self.reduction = reduction;
        self
    }

    #[track_caller]
    fn refuse(what: String, input: &Tensor, target: &Tensor) -> Tensor {
        let error = Error::new(format!("cross_entropy: {what}"));
        Tensor::fail(error, &[input, target], input.shape().clone(), input.dtype())
    }

    /// The loss of logits against classes or probabilities.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        let weight = self.weight.as_ref().map(|w| w.tensor());
        self.weighted(input, target, weight.as_ref())
    }

    /// [`CrossEntropyLoss::forward`] with these factors of the classes, which gradients reach: the `weight` of torch's
    /// function.
    #[track_caller]
    pub fn weighted(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Tensor {
        if input.rank() == 1 {
            let row = self.weighted(&input.unsqueeze(0), &target.unsqueeze(0), weight);
            return if self.reduction == Reduction::None { row.squeeze(0) } else { row };
        }
        if input.rank() < 2 || !input.dtype().is_float() {
            let what = format!("the logits are {} {}, not floats [N, C, …]", input.dtype(), input.shape());
            return CrossEntropyLoss::refuse(what, input, target);
        }
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            let what = format!("label_smoothing is {}, not between 0 and 1", self.label_smoothing);
            return CrossEntropyLoss::refuse(what, input, target);
        }
        let classes = input.size(1);
        if let Some(w) = weight.filter(|w| w.shape()[..] != [classes]) {
            let what = format!("the weight has shape {}, there are {classes} classes", w.shape());
            return CrossEntropyLoss::refuse(what, input, target);
        }
        let (logits, rest) = class_rows(input);
        let weight = weight.map(|w| w.to_dtype(logits.dtype()));
        if target.dtype().is_float() {
            return self.of_probabilities(input, target, &logits, &rest, weight.as_ref());
        }
        if target.shape()[..] != rest[..] {
            let what = format!("logits {} need classes of shape {rest:?}, not {}", input.shape(), target.shape());
            return CrossEntropyLoss::refuse(what, input, target);
        }
        let target = target.to_dtype(DType::I64).flatten(0);
        self.of_classes(&logits, &target, &rest, weight.as_ref())
    }

    #[track_caller]
    fn of_classes(&self, logits: &Tensor, target: &Tensor, rest: &[usize], weight: Option<&Tensor>) -> Tensor {
        let counts = target.ne(self.ignore_index);
        let losses = logits.cross_entropy_rows(target, self.ignore_index);
        let class = target.where_(&counts, 0);
        let row_weight = match weight {
            Some(w) => w.index_select(0, &class).where_(&counts, 0.0),
            None => counts.to_dtype(logits.dtype()),
        };
        let mut losses = if weight.is_some() { losses * &row_weight } else { losses };
        if self.label_smoothing > 0.0 {
            let log = logits.log_softmax(-1);
            let log = if let Some(w) = weight { log * w } else { log };
            let spread = (-log.sum(-1)).where_(&counts, 0.0);
            let s = self.label_smoothing;
            losses = losses * (1.0 - s) + spread * (s / logits.size(1) as f64);
        }
        match self.reduction {
            Reduction::None => losses.view(rest.to_vec()),
            Reduction::Sum => losses.sum(..),
            Reduction::Mean => losses.sum(..) / row_weight.sum(..),
        }
    }

    #[track_caller]
    fn of_probabilities(
        &self,
        input: &Tensor,
        target: &Tensor,
        logits: &Tensor,
        rest: &[usize],
        weight: Option<&Tensor>,
    ) -> Tensor {
        if target.shape() != input.shape() {
            let what = format!("probabilities of shape {} for logits {}", target.shape(), input.shape());
            return CrossEntropyLoss::refuse(what, input, target);
        }
        let (target, _) = class_rows(target);
        let (s, classes) = (self.label_smoothing, logits.size(1) as f64);
        let target = if s > 0.0 { target * (1.0 - s) + s / classes } else { target };
        let mut terms = logits.log_softmax(-1) * target;
        if let Some(w) = weight {
            terms = terms * w;
        }
        let losses = -terms.sum(-1);
        match self.reduction {
            Reduction::None => losses.view(rest.to_vec()),
            other => other.apply(&losses),
        }
    }
}

/// See [`nll_loss`].
#[derive(Clone, Debug, Module)]
pub struct NLLLoss {
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
    /// A factor for each class `[C]`.
    pub weight: Option<Buffer>,
    /// Rows of this class count nothing.
    #[module(skip)]
    pub ignore_index: i64,
}

impl Default for NLLLoss {
    fn default() -> NLLLoss {
        NLLLoss { reduction: Reduction::Mean, weight: None, ignore_index: -100 }
    }
}

impl NLLLoss {
    /// With the mean, without weights.
    pub fn new() -> NLLLoss {
        NLLLoss::default()
    }

    /// With a factor for each class.
    pub fn weight(mut self, weight: &Tensor) -> NLLLoss {
        self.weight = Some(Buffer::new(weight));
        self
    }

    /// With another class that counts nothing.
    pub fn ignore_index(mut self, class: i64) -> NLLLoss {
        self.ignore_index = class;
        self
    }

    /// With another reduction.
    pub fn reduction(mut self, reduction: Reduction) -> NLLLoss {
        self.reduction = reduction;
        self
    }

    /// The loss of log-probabilities against classes: `[N, C, …]` against `[N, …]`, or `[C]` against one class.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        if input.rank() == 1 && target.rank() == 0 {
            let row = self.forward(&input.unsqueeze(0), &target.unsqueeze(0));
            return if self.reduction == Reduction::None { row.squeeze(0) } else { row };
        }
        if input.rank() < 2 || target.dtype().is_float() {
            let what =
                format!("nll_loss: {} {} against {} {}", input.dtype(), input.shape(), target.dtype(), target.shape());
            let error = Error::new(what).help("log-probabilities [N, C, …] and class indices (i64) [N, …]");
            return Tensor::fail(error, &[input, target], input.shape().clone(), input.dtype());
        }
        let (rows, rest) = class_rows(input);
        if target.shape()[..] != rest[..] {
            let what =
                format!("nll_loss: input {} needs classes of shape {rest:?}, not {}", input.shape(), target.shape());
            return Tensor::fail(Error::new(what), &[input, target], input.shape().clone(), input.dtype());
        }
        let target = target.to_dtype(DType::I64).flatten(0);
        let counts = target.ne(self.ignore_index);
        let class = target.where_(&counts, 0);
        let picked = rows.gather(1, &class.unsqueeze(1)).squeeze(1);
        let row_weight = match &self.weight {
            Some(w) => w.tensor().to_dtype(rows.dtype()).index_select(0, &class).where_(&counts, 0.0),
            None => counts.to_dtype(rows.dtype()),
        };
        let losses = -picked * &row_weight;
        match self.reduction {
            Reduction::None => losses.view(rest),
            Reduction::Sum => losses.sum(..),
            Reduction::Mean => losses.sum(..) / row_weight.sum(..),
        }
    }
}

/// See [`binary_cross_entropy`].
#[derive(Clone, Debug, Default, Module)]
pub struct BCELoss {
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
    /// A factor for each element.
    pub weight: Option<Buffer>,
}

impl BCELoss {
    /// With the mean, without weights.
    pub fn new() -> BCELoss {
        BCELoss::default()
    }

    /// With a factor for each element.
    pub fn weight(mut self, weight: &Tensor) -> BCELoss {
        self.weight = Some(Buffer::new(weight));
        self
    }

    /// With another reduction.
    pub fn reduction(mut self, reduction: Reduction) -> BCELoss {
        self.reduction = reduction;
        self
    }

    /// The loss of probabilities against 0 … 1.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        if let Some(failed) = same_shape("binary_cross_entropy", input, target) {
            return failed;
        }
        let losses = input.binary_cross_entropy_elements(target);
        self.reduction.apply(&self.weight.as_ref().map_or(losses.clone(), |w| losses * w.tensor()))
    }
}

/// See [`binary_cross_entropy_with_logits`].
#[derive(Clone, Debug, Default, Module)]
pub struct BCEWithLogitsLoss {
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
    /// A factor for each element.
    pub weight: Option<Buffer>,
    /// A factor for what positive targets add.
    pub pos_weight: Option<Buffer>,
}

impl BCEWithLogitsLoss {
    /// With the mean, without weights.
    pub fn new() -> BCEWithLogitsLoss {
        BCEWithLogitsLoss::default()
    }

    /// With a factor for each element.
    pub fn weight(mut self, weight: &Tensor) -> BCEWithLogitsLoss {
        self.weight = Some(Buffer::new(weight));
        self
    }

    /// With another reduction.
    pub fn reduction(mut self, reduction: Reduction) -> BCEWithLogitsLoss {
        self.reduction = reduction;
        self
    }

    /// With a factor for what positive targets add, for each class.
    pub fn pos_weight(mut self, weight: &Tensor) -> BCEWithLogitsLoss {
        self.pos_weight = Some(Buffer::new(weight));
        self
    }

    /// The loss of logits against 0 … 1.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        if let Some(failed) = same_shape("binary_cross_entropy_with_logits", input, target) {
            return failed;
        }
        let one = input.ones_like();
        // (1 − y)·x + w·log(1 + e^−x), w = 1 + (pos_weight − 1)·y. The slope at 0 is −½ (with relu it would be 0).
        let tail = (-input).softplus();
        let losses = match &self.pos_weight {
            Some(p) => (&one - target) * input + (&one + (p.tensor() - 1.0) * target) * tail,
            None => (&one - target) * input + tail,
        };
        self.reduction.apply(&self.weight.as_ref().map_or(losses.clone(), |w| losses * w.tensor()))
    }
}
