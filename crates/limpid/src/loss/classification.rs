//! Losses of classes and of probabilities.

use limpid_core::{DType, Error, Tensor};

use super::{Reduction, no_batch_mean, refuse, same_shape, setters};
use crate::{Buffer, Module};

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
            return refuse("cross_entropy", what, &[input, target]);
        }
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            let what = format!("label_smoothing is {}, not between 0 and 1", self.label_smoothing);
            return refuse("cross_entropy", what, &[input, target]);
        }
        let classes = input.size(1);
        if let Some(w) = weight.filter(|w| w.shape()[..] != [classes]) {
            let what = format!("the weight has shape {}, there are {classes} classes", w.shape());
            return refuse("cross_entropy", what, &[input, target]);
        }
        let (logits, rest) = class_rows(input);
        let weight = weight.map(|w| w.to_dtype(logits.dtype()));
        if target.dtype().is_float() {
            return self.of_probabilities(input, target, &logits, &rest, weight.as_ref());
        }
        if target.shape()[..] != rest[..] {
            let what = format!("logits {} need classes of shape {rest:?}, not {}", input.shape(), target.shape());
            return refuse("cross_entropy", what, &[input, target]);
        }
        if target.dtype() == DType::Bool {
            return refuse("cross_entropy", "the classes are bools, not integers".to_owned(), &[input, target]);
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
            Reduction::BatchMean => no_batch_mean("cross_entropy", &losses),
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
            return refuse("cross_entropy", what, &[input, target]);
        }
        if self.ignore_index >= 0 {
            let what = format!("ignore_index is {}, but the targets are probabilities", self.ignore_index);
            return refuse("cross_entropy", what, &[input, target]);
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
            other => other.apply("cross_entropy", &losses),
        }
    }
}

setters!(CrossEntropyLoss {
    /// With another class that counts nothing.
    ignore_index: i64,
    /// With targets smoothed: (1 − s)·onehot + s/C.
    label_smoothing: f64,
    /// With another reduction.
    reduction: Reduction,
});

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

    /// The loss of log-probabilities against classes: `[N, C, …]` against `[N, …]`, or `[C]` against one class.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        let weight = self.weight.as_ref().map(|w| w.tensor());
        self.weighted(input, target, weight.as_ref())
    }

    /// [`NLLLoss::forward`] with these factors of the classes, which gradients reach: the `weight` of torch's function.
    #[track_caller]
    pub fn weighted(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Tensor {
        if input.rank() == 1 && target.rank() == 0 {
            let row = self.weighted(&input.unsqueeze(0), &target.unsqueeze(0), weight);
            return if self.reduction == Reduction::None { row.squeeze(0) } else { row };
        }
        if input.rank() < 2 || target.dtype().is_float() || target.dtype() == DType::Bool {
            let what =
                format!("nll_loss: {} {} against {} {}", input.dtype(), input.shape(), target.dtype(), target.shape());
            let error = Error::new(what).help("log-probabilities [N, C, …] and class indices (i64) [N, …]");
            return Tensor::fail(error, &[input, target], input.shape().clone(), input.dtype());
        }
        let (rows, rest) = class_rows(input);
        if let Some(w) = weight.filter(|w| w.shape()[..] != [input.size(1)]) {
            let what = format!("the weight has shape {}, there are {} classes", w.shape(), input.size(1));
            return refuse("nll_loss", what, &[input, target, w]);
        }
        if target.shape()[..] != rest[..] {
            let what =
                format!("nll_loss: input {} needs classes of shape {rest:?}, not {}", input.shape(), target.shape());
            return Tensor::fail(Error::new(what), &[input, target], input.shape().clone(), input.dtype());
        }
        let target = target.to_dtype(DType::I64).flatten(0);
        let counts = target.ne(self.ignore_index);
        let class = target.where_(&counts, 0);
        let picked = rows.gather(1, &class.unsqueeze(1)).squeeze(1);
        let row_weight = match weight {
            Some(w) => w.to_dtype(rows.dtype()).index_select(0, &class).where_(&counts, 0.0),
            None => counts.to_dtype(rows.dtype()),
        };
        let losses = -picked * &row_weight;
        match self.reduction {
            Reduction::None => losses.view(rest),
            Reduction::Sum => losses.sum(..),
            Reduction::Mean => losses.sum(..) / row_weight.sum(..),
            Reduction::BatchMean => no_batch_mean("nll_loss", &losses),
        }
    }
}

setters!(NLLLoss {
    /// With another class that counts nothing.
    ignore_index: i64,
    /// With another reduction.
    reduction: Reduction,
});

/// `t`, whose elements must be from 0 to 1.
#[track_caller]
fn share(t: &Tensor, what: &str) -> Tensor {
    t.check_within(0.0, 1.0, &format!("binary_cross_entropy: {what} is not between 0 and 1"))
}

/// The losses times factors that broadcast to their shape.
#[track_caller]
fn weighted(name: &str, losses: &Tensor, weight: Option<&Tensor>) -> Result<Tensor, Tensor> {
    match weight {
        None => Ok(losses.clone()),
        Some(w) if w.shape().broadcast(losses.shape()).as_ref() == Some(losses.shape()) => Ok(losses * w),
        Some(w) => {
            let what = format!("the weight has shape {}, the losses {}", w.shape(), losses.shape());
            Err(refuse(name, what, &[losses, w]))
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

    /// The loss of probabilities against 0 … 1.
    ///
    /// # Errors
    /// At the read, where an element or a target is not between 0 and 1.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        let weight = self.weight.as_ref().map(|w| w.tensor());
        self.weighted(input, target, weight.as_ref())
    }

    /// [`BCELoss::forward`] with these factors of the elements, which gradients reach: the `weight` of torch's function.
    #[track_caller]
    pub fn weighted(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Tensor {
        if let Some(failed) = same_shape("binary_cross_entropy", input, target) {
            return failed;
        }
        let input = share(input, "an element of the input");
        let losses = input.binary_cross_entropy_elements(&share(target, "a target"));
        let losses = match weighted("binary_cross_entropy", &losses, weight) {
            Ok(losses) => losses,
            Err(failed) => return failed,
        };
        self.reduction.apply("binary_cross_entropy", &losses)
    }
}

setters!(BCELoss {
    /// With another reduction.
    reduction: Reduction,
});

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
        let weight = self.weight.as_ref().map(|w| w.tensor());
        let pos_weight = self.pos_weight.as_ref().map(|w| w.tensor());
        self.weighted(input, target, weight.as_ref(), pos_weight.as_ref())
    }

    /// [`BCEWithLogitsLoss::forward`] with these factors, which gradients reach: the `weight` and `pos_weight` of torch's
    /// function.
    #[track_caller]
    pub fn weighted(
        &self,
        input: &Tensor,
        target: &Tensor,
        weight: Option<&Tensor>,
        pos_weight: Option<&Tensor>,
    ) -> Tensor {
        const NAME: &str = "binary_cross_entropy_with_logits";
        if let Some(failed) = same_shape(NAME, input, target) {
            return failed;
        }
        let one = input.ones_like();
        // (1 − y)·x + w·log(1 + e^−x), w = 1 + (pos_weight − 1)·y. The slope at 0 is −½ (with relu it would be 0).
        let tail = (-input).softplus();
        let losses = match pos_weight {
            Some(p) if p.shape().broadcast(input.shape()).as_ref() != Some(input.shape()) => {
                let what = format!("pos_weight has shape {}, the input {}", p.shape(), input.shape());
                return refuse(NAME, what, &[input, target, p]);
            }
            Some(p) => (&one - target) * input + (&one + (p - 1.0) * target) * tail,
            None => (&one - target) * input + tail,
        };
        match weighted(NAME, &losses, weight) {
            Ok(losses) => self.reduction.apply(NAME, &losses),
            Err(failed) => failed,
        }
    }
}

setters!(BCEWithLogitsLoss {
    /// With another reduction.
    reduction: Reduction,
});
