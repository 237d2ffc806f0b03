//! Losses: functions with torch's names, and the modules around them. Torch's older arguments `size_average` and `reduce`
//! are [`Reduction`] alone; its deprecated `NLLLoss2d` is [`NLLLoss`].

mod adaptive;
mod classification;
mod ctc;
mod distance;
mod embedding;
mod linear_cross_entropy;
mod margin;
mod regression;

pub use adaptive::AdaptiveLogSoftmaxWithLoss;
pub use classification::{
    BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss, binary_cross_entropy, binary_cross_entropy_with_logits,
    cross_entropy, nll_loss,
};
pub use ctc::{CTCLoss, ctc_loss};
pub use distance::{CosineSimilarity, PairwiseDistance, cosine_similarity, pairwise_distance};
pub use embedding::{
    CosineEmbeddingLoss, TripletMarginLoss, TripletMarginWithDistanceLoss, cosine_embedding_loss, triplet_margin_loss,
    triplet_margin_with_distance_loss,
};
pub use linear_cross_entropy::{LinearCrossEntropy, LinearCrossEntropyLoss, linear_cross_entropy};
pub use margin::{
    HingeEmbeddingLoss, MarginRankingLoss, MultiLabelMarginLoss, MultiLabelSoftMarginLoss, MultiMarginLoss,
    SoftMarginLoss, hinge_embedding_loss, margin_ranking_loss, multi_margin_loss, multilabel_margin_loss,
    multilabel_soft_margin_loss, soft_margin_loss,
};
pub use regression::{
    GaussianNLLLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss, PoissonNLLLoss, SmoothL1Loss, gaussian_nll_loss,
    huber_loss, kl_div, l1_loss, mse_loss, poisson_nll_loss, smooth_l1_loss,
};

use limpid_core::{Error, Tensor, setters};

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
    /// Their sum divided by the size of the first axis: of [`KLDivLoss`] alone.
    BatchMean,
}

impl Reduction {
    /// `losses` of the function `name` as one.
    #[track_caller]
    fn apply(self, name: &str, losses: &Tensor) -> Tensor {
        match self {
            Reduction::Mean => losses.mean(..),
            Reduction::Sum => losses.sum(..),
            Reduction::None => losses.clone(),
            Reduction::BatchMean => no_batch_mean(name, losses),
        }
    }
}

/// The refusal of a reduction that only `kl_div` has.
#[track_caller]
fn no_batch_mean(name: &str, losses: &Tensor) -> Tensor {
    refuse(name, "the reduction BatchMean is kl_div's alone".to_owned(), &[losses])
}

/// The result of the function `name` that refuses its `inputs`.
#[track_caller]
fn refuse(name: &str, what: String, inputs: &[&Tensor]) -> Tensor {
    let (shape, dtype) = (inputs[0].shape().clone(), inputs[0].dtype());
    Tensor::fail(Error::new(format!("{name}: {what}")), inputs, shape, dtype)
}

/// Refuses shapes that would broadcast, almost always a mistake in a loss, and losses of integers alone.
#[track_caller]
fn same_shape(name: &str, input: &Tensor, target: &Tensor) -> Option<Tensor> {
    if input.shape() != target.shape() {
        let error = Error::new(format!("{name}: the input has shape {}, the target {}", input.shape(), target.shape()));
        let error = error.help(format!("target.view({:?})", input.shape()));
        return Some(Tensor::fail(error, &[input, target], input.shape().clone(), input.dtype()));
    }
    if !input.dtype().is_float() && !target.dtype().is_float() {
        let what = format!("the input is {}, the target {}: one must be floats", input.dtype(), target.dtype());
        return Some(refuse(name, what, &[input, target]));
    }
    None
}
