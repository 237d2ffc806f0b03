//! Losses that leave right answers alone once they are right by a margin.

use limpid_core::{DType, Tensor};

use super::{Reduction, refuse, same_shape, setters};
use crate::{Buffer, Module};

/// x where y = 1, max(0, margin − x) where y = −1, the mean: a distance x of like and of unlike pairs. Torch's
/// `hinge_embedding_loss`.
#[track_caller]
pub fn hinge_embedding_loss(input: &Tensor, target: &Tensor) -> Tensor {
    HingeEmbeddingLoss::new().forward(input, target)
}

/// max(0, −y·(x₁ − x₂) + margin), the mean: y = 1 where x₁ shall be the larger, −1 where x₂. Torch's
/// `margin_ranking_loss`.
#[track_caller]
pub fn margin_ranking_loss(input1: &Tensor, input2: &Tensor, target: &Tensor) -> Tensor {
    MarginRankingLoss::new().forward(input1, input2, target)
}

/// log(1 + exp(−y·x)) with y = 1 or −1, the mean. Torch's `soft_margin_loss`.
#[track_caller]
pub fn soft_margin_loss(input: &Tensor, target: &Tensor) -> Tensor {
    SoftMarginLoss::new().forward(input, target)
}

/// Σ max(0, margin − x\[y\] + x\[i\])ᵖ / C over the classes i ≠ y, the mean over rows: see [`MultiMarginLoss`]. Torch's
/// `multi_margin_loss`.
#[track_caller]
pub fn multi_margin_loss(input: &Tensor, target: &Tensor) -> Tensor {
    MultiMarginLoss::new().forward(input, target)
}

/// Σ max(0, 1 − x\[y\] + x\[i\]) / C over the classes y of a row and all others i, the mean over rows: see
/// [`MultiLabelMarginLoss`]. Torch's `multilabel_margin_loss`.
#[track_caller]
pub fn multilabel_margin_loss(input: &Tensor, target: &Tensor) -> Tensor {
    MultiLabelMarginLoss::new().forward(input, target)
}

/// The binary cross entropy of logits, the mean over the classes and then over rows: see [`MultiLabelSoftMarginLoss`].
/// Torch's `multilabel_soft_margin_loss`.
#[track_caller]
pub fn multilabel_soft_margin_loss(input: &Tensor, target: &Tensor) -> Tensor {
    MultiLabelSoftMarginLoss::new().forward(input, target)
}

/// See [`hinge_embedding_loss`].
#[derive(Clone, Debug, Module)]
pub struct HingeEmbeddingLoss {
    /// How far apart unlike pairs shall be.
    pub margin: f64,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl Default for HingeEmbeddingLoss {
    fn default() -> HingeEmbeddingLoss {
        HingeEmbeddingLoss { margin: 1.0, reduction: Reduction::Mean }
    }
}

impl HingeEmbeddingLoss {
    /// With a margin of 1 and the mean.
    pub fn new() -> HingeEmbeddingLoss {
        HingeEmbeddingLoss::default()
    }

    /// The loss of distances `input` against `target` of one shape, which holds 1 and −1.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        if let Some(failed) = same_shape("hinge_embedding_loss", input, target) {
            return failed;
        }
        let apart = (self.margin - input).clamp_min(0).where_(&target.ne(1), 0);
        let losses = apart + input.where_(&target.ne(-1), 0);
        self.reduction.apply("hinge_embedding_loss", &losses)
    }
}

setters!(HingeEmbeddingLoss {
    /// With another margin.
    margin: f64,
    /// With another reduction.
    reduction: Reduction,
});

/// See [`margin_ranking_loss`].
#[derive(Clone, Debug, Default, Module)]
pub struct MarginRankingLoss {
    /// By how much the larger shall be larger.
    pub margin: f64,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl MarginRankingLoss {
    /// With a margin of 0 and the mean.
    pub fn new() -> MarginRankingLoss {
        MarginRankingLoss::default()
    }

    /// The loss of two inputs of one shape against `target` of that shape, which holds 1 and −1.
    #[track_caller]
    pub fn forward(&self, input1: &Tensor, input2: &Tensor, target: &Tensor) -> Tensor {
        if let Some(failed) = same_shape("margin_ranking_loss", input1, input2) {
            return failed;
        }
        if let Some(failed) = same_shape("margin_ranking_loss", input1, target) {
            return failed;
        }
        let losses = ((input2 - input1) * target + self.margin).clamp_min(0);
        self.reduction.apply("margin_ranking_loss", &losses)
    }
}

setters!(MarginRankingLoss {
    /// With another margin.
    margin: f64,
    /// With another reduction.
    reduction: Reduction,
});

/// See [`soft_margin_loss`].
#[derive(Clone, Debug, Default, Module)]
pub struct SoftMarginLoss {
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl SoftMarginLoss {
    /// With the mean.
    pub fn new() -> SoftMarginLoss {
        SoftMarginLoss::default()
    }

    /// The loss of `input` against `target` of one shape, which holds 1 and −1.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        if let Some(failed) = same_shape("soft_margin_loss", input, target) {
            return failed;
        }
        self.reduction.apply("soft_margin_loss", &(-(target * input)).softplus())
    }
}

setters!(SoftMarginLoss {
    /// With another reduction.
    reduction: Reduction,
});

/// What is wrong with scores and their classes: a list of them for each row, or one.
fn misfit(input: &Tensor, target: &Tensor, lists: bool) -> Option<String> {
    let (shape, own) = (input.shape(), target.shape());
    if shape.rank() > 2 || shape.last() == Some(&0) || !input.dtype().is_float() {
        return Some(format!("the input is {} {shape}, not floats [N, C] or [C] with C above 0", input.dtype()));
    }
    if target.dtype().is_float() || target.dtype() == DType::Bool {
        return Some(format!("the target is {}, not classes (i64)", target.dtype()));
    }
    let need = if lists { &shape[..] } else { &shape[..shape.rank().saturating_sub(1)] };
    // The class of one row may stand in a list of one.
    let listed = !lists && shape.rank() < 2 && own[..] == [1];
    (own[..] != *need && !listed).then(|| format!("an input {shape} needs classes of shape {need:?}, not {own}"))
}

/// Scores as rows `[N, C]`, their classes as rows of i64, and whether it was one row.
#[track_caller]
fn rows(name: &str, input: &Tensor, target: &Tensor, lists: bool) -> Result<(Tensor, Tensor, bool), Tensor> {
    if let Some(what) = misfit(input, target, lists) {
        return Err(refuse(name, what, &[input, target]));
    }
    let shape = input.shape();
    let one = shape.rank() < 2;
    let classes = shape.last().copied().unwrap_or(1);
    let count = if one { 1 } else { shape[0] };
    let target = target.to_dtype(DType::I64).view([count, if lists { classes } else { 1 }]);
    Ok((input.view([count, classes]), target, one))
}

/// The losses of rows as one, or as the one of a row alone.
#[track_caller]
fn reduced(name: &str, reduction: Reduction, losses: &Tensor, one: bool, rank: usize) -> Tensor {
    match reduction {
        // A row alone has one loss, in the shape of its target.
        Reduction::None if one && rank == 0 => losses.squeeze(0),
        other => other.apply(name, losses),
    }
}

/// Σ max(0, margin − x\[y\] + x\[i\])ᵖ·weight\[y\] / C over the classes i ≠ y of a row: scores `[N, C]` against classes `[N]`,
/// or `[C]` against one class; p is 1 or 2. Crammer and Singer (2001). Torch's `MultiMarginLoss`.
#[derive(Clone, Debug, Module)]
pub struct MultiMarginLoss {
    /// The power, 1 or 2.
    #[module(skip)]
    pub p: i64,
    /// By how much the class shall be ahead.
    pub margin: f64,
    /// A factor for each class `[C]`.
    pub weight: Option<Buffer>,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl Default for MultiMarginLoss {
    fn default() -> MultiMarginLoss {
        MultiMarginLoss { p: 1, margin: 1.0, weight: None, reduction: Reduction::Mean }
    }
}

impl MultiMarginLoss {
    /// With p = 1, a margin of 1 and the mean.
    pub fn new() -> MultiMarginLoss {
        MultiMarginLoss::default()
    }

    /// With a factor for each class.
    pub fn weight(mut self, weight: &Tensor) -> MultiMarginLoss {
        self.weight = Some(Buffer::new(weight));
        self
    }

    /// The loss of scores against classes.
    ///
    /// # Errors
    /// At the read, where a class is out of range.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        let weight = self.weight.as_ref().map(|w| w.tensor());
        self.weighted(input, target, weight.as_ref())
    }

    /// [`MultiMarginLoss::forward`] with these factors of the classes: the `weight` of torch's function.
    #[track_caller]
    pub fn weighted(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Tensor {
        const NAME: &str = "multi_margin_loss";
        let (x, class, one) = match rows(NAME, input, target, false) {
            Ok(rows) => rows,
            Err(failed) => return failed,
        };
        if self.p != 1 && self.p != 2 {
            return refuse(NAME, format!("p is {}, not 1 or 2", self.p), &[input, target]);
        }
        let classes = x.size(1);
        if let Some(w) = weight.filter(|w| w.shape()[..] != [classes]) {
            let what = format!("the weight has shape {}, there are {classes} classes", w.shape());
            return refuse(NAME, what, &[input, target, w]);
        }
        let last = classes - 1;
        let class = class.check_within(0.0, last as f64, &format!("{NAME}: a class is not between 0 and {last}"));
        let slack = self.margin - x.gather(1, &class) + &x;
        // At a slack of 0 the slope is 0.
        let slack = slack.where_(&slack.gt(0), 0);
        let slack = if self.p == 2 { slack.square() } else { slack };
        let others = x.index_along(1).ne(&class);
        let losses = slack.where_(&others, 0).sum(1) / classes as f64;
        let losses = match weight {
            Some(w) => losses * w.to_dtype(x.dtype()).index_select(0, &class.squeeze(1)),
            None => losses,
        };
        reduced(NAME, self.reduction, &losses, one, target.rank())
    }
}

setters!(MultiMarginLoss {
    /// With another power, 1 or 2.
    p: i64,
    /// With another margin.
    margin: f64,
    /// With another reduction.
    reduction: Reduction,
});

/// Σ max(0, 1 − x\[y\] + x\[i\]) / C over the classes y that a row's target names and the classes i that it does not: scores
/// `[N, C]` or `[C]` against a target of the same shape, whose classes end at the first −1. Torch's
/// `MultiLabelMarginLoss`.
#[derive(Clone, Debug, Default, Module)]
pub struct MultiLabelMarginLoss {
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl MultiLabelMarginLoss {
    /// With the mean.
    pub fn new() -> MultiLabelMarginLoss {
        MultiLabelMarginLoss::default()
    }

    /// The loss of scores against lists of classes.
    ///
    /// # Errors
    /// At the read, where a class is out of range.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "multilabel_margin_loss";
        let (x, class, _) = match rows(NAME, input, target, true) {
            Ok(rows) => rows,
            Err(failed) => return failed,
        };
        let classes = x.size(1);
        let last = classes - 1;
        let class = class.check_within(-1.0, last as f64, &format!("{NAME}: a class is not between −1 and {last}"));
        // A class counts where no −1 has come yet.
        let counts = class.ge(0).to_dtype(DType::I64).cummin(1).0;
        let class = class.where_(&counts.ne(0), 0);
        let named = counts.zeros_like().scatter_add(1, &class, &counts).ne(0);
        let counts = counts.ne(0).unsqueeze(2);
        let slack: Tensor = 1.0 - x.gather(1, &class).unsqueeze(2) + x.unsqueeze(1);
        let slack = slack.where_(&slack.gt(0), 0);
        let pairs = counts.logical_and(&named.logical_not().unsqueeze(1));
        let losses = slack.where_(&pairs, 0).sum([1, 2]) / classes as f64;
        reduced(NAME, self.reduction, &losses, input.rank() < 2, 0)
    }
}

setters!(MultiLabelMarginLoss {
    /// With another reduction.
    reduction: Reduction,
});

/// −Σ weight·(y·log sigmoid(x) + (1 − y)·log sigmoid(−x)) / C over the last axis: logits against 0 or 1 for each class, of
/// one shape. Torch's `MultiLabelSoftMarginLoss`.
#[derive(Clone, Debug, Default, Module)]
pub struct MultiLabelSoftMarginLoss {
    /// A factor for each class.
    pub weight: Option<Buffer>,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl MultiLabelSoftMarginLoss {
    /// With the mean, without weights.
    pub fn new() -> MultiLabelSoftMarginLoss {
        MultiLabelSoftMarginLoss::default()
    }

    /// With a factor for each class.
    pub fn weight(mut self, weight: &Tensor) -> MultiLabelSoftMarginLoss {
        self.weight = Some(Buffer::new(weight));
        self
    }

    /// The loss of logits against classes that are on or off.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        let weight = self.weight.as_ref().map(|w| w.tensor());
        self.weighted(input, target, weight.as_ref())
    }

    /// [`MultiLabelSoftMarginLoss::forward`] with these factors, which gradients reach: the `weight` of torch's function.
    #[track_caller]
    pub fn weighted(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Tensor {
        const NAME: &str = "multilabel_soft_margin_loss";
        if let Some(failed) = same_shape(NAME, input, target) {
            return failed;
        }
        if input.rank() == 0 || input.size(-1) == 0 {
            return refuse(NAME, format!("the input has shape {}, without classes", input.shape()), &[input, target]);
        }
        let losses = -(target * input.log_sigmoid() + (1.0 - target) * (-input).log_sigmoid());
        let losses = match weight {
            None => losses,
            Some(w) if w.shape().broadcast(input.shape()).as_ref() == Some(input.shape()) => losses * w,
            Some(w) => {
                let what = format!("the weight has shape {}, the input {}", w.shape(), input.shape());
                return refuse(NAME, what, &[input, target, w]);
            }
        };
        self.reduction.apply(NAME, &(losses.sum(-1) / input.size(-1) as f64))
    }
}

setters!(MultiLabelSoftMarginLoss {
    /// With another reduction.
    reduction: Reduction,
});
