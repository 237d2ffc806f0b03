//! Losses and distances.

use limpid::loss::{LinearCrossEntropy, linear_cross_entropy};
use limpid::nn::{
    CTCLoss, CosineEmbeddingLoss, CosineSimilarity, GaussianNLLLoss, HingeEmbeddingLoss, HuberLoss, KLDivLoss, Lengths,
    MarginRankingLoss, MultiLabelMarginLoss, MultiLabelSoftMarginLoss, MultiMarginLoss, PairwiseDistance,
    PoissonNLLLoss, SoftMarginLoss, TripletMarginLoss,
};
use limpid::{Tensor, Value};

use super::{one, pair};
use crate::conformance::args::{Args, Result};
use crate::conformance::modules::{older, reduction, with_distance};
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("bilinear", |a| {
        let (x, y, weight): (Tensor, Tensor, Tensor) =
            (a.required("input1")?, a.required("input2")?, a.required("weight")?);
        one(x.bilinear(&y, &weight, a.option::<Tensor>("bias")?.as_ref()))
    }),
    ("cosine_embedding_loss", |a| {
        let [x, y, target] = three(a, ["input1", "input2", "target"])?;
        let margin = a.or("margin", 0.0)?;
        one(CosineEmbeddingLoss { margin, reduction: older(a)? }.forward(&x, &y, &target))
    }),
    ("cosine_similarity", |a| {
        let (x, y): (Tensor, Tensor) = (a.required("x1")?, a.required("x2")?);
        one(CosineSimilarity { dim: a.or("dim", 1)?, eps: a.or("eps", 1e-8)? }.forward(&x, &y))
    }),
    ("ctc_loss", |a| {
        let (y, targets): (Tensor, Tensor) = (a.required("log_probs")?, a.required("targets")?);
        let (inputs, targeted) = (lengths(a, "input_lengths")?, lengths(a, "target_lengths")?);
        let blank = a.or("blank", 0)?;
        let reduction = reduction(a, None, None)?;
        let loss = CTCLoss { blank, reduction, zero_infinity: a.or("zero_infinity", false)? };
        one(loss.forward(&y, &targets, inputs, targeted))
    }),
    ("gaussian_nll_loss", |a| {
        let (input, target) = pair(a)?;
        let var: Value = a.required("var")?;
        let (full, eps) = (a.or("full", false)?, a.or("eps", 1e-6)?);
        one(GaussianNLLLoss { full, eps, reduction: reduction(a, None, None)? }.forward(&input, &target, var))
    }),
    ("hinge_embedding_loss", |a| {
        let ((input, target), margin) = (pair(a)?, a.or("margin", 1.0)?);
        one(HingeEmbeddingLoss { margin, reduction: older(a)? }.forward(&input, &target))
    }),
    ("huber_loss", |a| {
        let ((input, target), reduction) = (pair(a)?, reduction(a, None, None)?);
        let loss = HuberLoss { reduction, delta: a.or("delta", 1.0)? };
        one(match a.option("weight")? {
            Some(weight) => loss.weighted(&input, &target, &weight),
            None => loss.forward(&input, &target),
        })
    }),
    ("kl_div", |a| {
        let ((input, target), reduction) = (pair(a)?, older(a)?);
        one(KLDivLoss { reduction, log_target: a.or("log_target", false)? }.forward(&input, &target))
    }),
    ("linear_cross_entropy", |a| {
        let [input, linear_weight, target] = three(a, ["input", "linear_weight", "target"])?;
        let (linear_bias, weight) = (a.keywords().option("linear_bias")?, a.option("weight")?);
        let reduction = reduction(a, None, None)?;
        let (ignore_index, label_smoothing) = (a.option("ignore_index")?, a.or("label_smoothing", 0.0)?);
        a.absent("options")?;
        let options = LinearCrossEntropy { linear_bias, weight, reduction, ignore_index, label_smoothing };
        one(linear_cross_entropy(&input, &linear_weight, &target, &options))
    }),
    ("margin_ranking_loss", |a| {
        let [x, y, target] = three(a, ["input1", "input2", "target"])?;
        let margin = a.or("margin", 0.0)?;
        one(MarginRankingLoss { margin, reduction: older(a)? }.forward(&x, &y, &target))
    }),
    ("multi_margin_loss", |a| {
        let ((input, target), p, margin) = (pair(a)?, a.or("p", 1)?, a.or("margin", 1.0)?);
        let weight = a.option::<Tensor>("weight")?;
        let loss = MultiMarginLoss { p, margin, weight: None, reduction: older(a)? };
        one(loss.weighted(&input, &target, weight.as_ref()))
    }),
    ("multilabel_margin_loss", |a| {
        let (input, target) = pair(a)?;
        one(MultiLabelMarginLoss { reduction: older(a)? }.forward(&input, &target))
    }),
    ("multilabel_soft_margin_loss", |a| {
        let ((input, target), weight) = (pair(a)?, a.option::<Tensor>("weight")?);
        let loss = MultiLabelSoftMarginLoss { weight: None, reduction: older(a)? };
        one(loss.weighted(&input, &target, weight.as_ref()))
    }),
    ("pairwise_distance", |a| {
        let (x, y): (Tensor, Tensor) = (a.required("x1")?, a.required("x2")?);
        let (p, eps) = (a.or("p", 2.0)?, a.or("eps", 1e-6)?);
        one(PairwiseDistance { p, eps, keepdim: a.or("keepdim", false)? }.forward(&x, &y))
    }),
    ("pdist", |a| one(a.required::<Tensor>("input")?.pdist(a.or("p", 2.0)?))),
    ("poisson_nll_loss", |a| {
        let ((input, target), log_input, full) = (pair(a)?, a.or("log_input", true)?, a.or("full", false)?);
        let (size_average, eps) = (a.option("size_average")?, a.or("eps", 1e-8)?);
        let reduce = a.option("reduce")?;
        let reduction = reduction(a, size_average, reduce)?;
        one(PoissonNLLLoss { log_input, full, eps, reduction }.forward(&input, &target))
    }),
    ("soft_margin_loss", |a| {
        let (input, target) = pair(a)?;
        one(SoftMarginLoss { reduction: older(a)? }.forward(&input, &target))
    }),
    ("triplet_margin_loss", |a| {
        let [x, y, z] = three(a, ["anchor", "positive", "negative"])?;
        let (margin, p, eps) = (a.or("margin", 1.0)?, a.or("p", 2.0)?, a.or("eps", 1e-6)?);
        let swap = a.or("swap", false)?;
        one(TripletMarginLoss { margin, p, eps, swap, reduction: older(a)? }.forward(&x, &y, &z))
    }),
    ("triplet_margin_with_distance_loss", |a| {
        let [x, y, z] = three(a, ["anchor", "positive", "negative"])?;
        one(with_distance(a.keywords())?.forward(&x, &y, &z))
    }),
];

fn three(a: &mut Args<'_>, names: [&str; 3]) -> Result<[Tensor; 3]> {
    Ok([a.required(names[0])?, a.required(names[1])?, a.required(names[2])?])
}

/// Lengths as a tensor, a list or one number.
pub fn lengths(a: &mut Args<'_>, name: &str) -> Result<Lengths> {
    match a.peek(name) {
        Some(json) if json.get("tensor").is_some() => Ok(Lengths::Tensor(a.required(name)?)),
        _ => Ok(a.required::<Vec<i64>>(name)?.into()),
    }
}
