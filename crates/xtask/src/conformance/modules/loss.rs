//! Losses and distances.

use std::rc::Rc;

use limpid::nn::{
    AdaptiveLogSoftmaxWithLoss, Bilinear, CTCLoss, CosineEmbeddingLoss, CosineSimilarity, GaussianNLLLoss,
    HingeEmbeddingLoss, HuberLoss, KLDivLoss, LinearCrossEntropyLoss, MarginRankingLoss, MultiLabelMarginLoss,
    MultiLabelSoftMarginLoss, MultiMarginLoss, PairwiseDistance, PoissonNLLLoss, Reduction, SoftMarginLoss,
    TripletMarginLoss, TripletMarginWithDistanceLoss,
};
use limpid::{DType, Module, Tensor};

use super::{Built, Make, buffer, loss, reduction};
use crate::conformance::args::{Args, Result};
use crate::conformance::functionals::lengths;

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[
    ("AdaptiveLogSoftmaxWithLoss", |a, dtype| {
        let (features, classes) = (a.required("in_features")?, a.required("n_classes")?);
        let made = AdaptiveLogSoftmaxWithLoss::new(features, classes, a.required::<Vec<usize>>("cutoffs")?);
        let made = made.div_value(a.or("div_value", 4.0)?).head_bias(a.or("head_bias", false)?).dtype(dtype);
        a.no_effect("device")?;
        let module = Rc::new(typed(a, made, AdaptiveLogSoftmaxWithLoss::dtype)?);
        let called = module.clone();
        let forward = move |a: &mut Args<'_>| {
            let (output, loss) = called.forward(&a.required("input_")?, &a.required("target_")?);
            Ok(vec![output, loss])
        };
        Ok(Built { module, forward: Box::new(forward) })
    }),
    ("Bilinear", |a, dtype| {
        let sizes = (a.required("in1_features")?, a.required("in2_features")?, a.required("out_features")?);
        let made = Bilinear::new(sizes.0, sizes.1, sizes.2).bias(a.or("bias", true)?).dtype(dtype);
        a.no_effect("device")?;
        two(typed(a, made, Bilinear::dtype)?, ["input1", "input2"], Bilinear::forward)
    }),
    // Torch computes in the type of the input: its f32 gradients are up to 8.2e-5 from its own f64 ones, from which
    // Limpid's, computed in f64, are 3e-8. Seven f32 cases miss by that.
    ("CTCLoss", |a, _| {
        let blank = a.or("blank", 0)?;
        let reduction = reduction(a, None, None)?;
        let module = Rc::new(CTCLoss { blank, reduction, zero_infinity: a.or("zero_infinity", false)? });
        let called = module.clone();
        let forward = move |a: &mut Args<'_>| {
            let (y, targets): (Tensor, Tensor) = (a.required("log_probs")?, a.required("targets")?);
            let (inputs, targeted) = (lengths(a, "input_lengths")?, lengths(a, "target_lengths")?);
            Ok(vec![called.forward(&y, &targets, inputs, targeted)])
        };
        Ok(Built { module, forward: Box::new(forward) })
    }),
    ("CosineEmbeddingLoss", |a, _| {
        let margin = a.or("margin", 0.0)?;
        let made = CosineEmbeddingLoss { margin, reduction: older(a)? };
        three(made, ["input1", "input2", "target"], CosineEmbeddingLoss::forward)
    }),
    ("CosineSimilarity", |a, _| {
        let made = CosineSimilarity { dim: a.or("dim", 1)?, eps: a.or("eps", 1e-8)? };
        two(made, ["x1", "x2"], CosineSimilarity::forward)
    }),
    ("GaussianNLLLoss", |a, _| {
        let (full, eps) = (a.keywords().or("full", false)?, a.or("eps", 1e-6)?);
        let made = GaussianNLLLoss { full, eps, reduction: reduction(a, None, None)? };
        let module = Rc::new(made);
        let called = module.clone();
        let forward = move |a: &mut Args<'_>| {
            let (input, target): (Tensor, Tensor) = (a.required("input")?, a.required("target")?);
            Ok(vec![called.forward(&input, &target, a.required::<limpid::Value>("var")?)])
        };
        Ok(Built { module, forward: Box::new(forward) })
    }),
    ("HingeEmbeddingLoss", |a, _| {
        let margin = a.or("margin", 1.0)?;
        loss(HingeEmbeddingLoss { margin, reduction: older(a)? }, HingeEmbeddingLoss::forward)
    }),
    ("HuberLoss", |a, _| {
        let reduction = reduction(a, None, None)?;
        loss(HuberLoss { reduction, delta: a.or("delta", 1.0)? }, HuberLoss::forward)
    }),
    ("KLDivLoss", |a, _| {
        let reduction = older(a)?;
        loss(KLDivLoss { reduction, log_target: a.or("log_target", false)? }, KLDivLoss::forward)
    }),
    ("LinearCrossEntropyLoss", |a, dtype| {
        let made = LinearCrossEntropyLoss::new(a.required("in_features")?, a.required("num_classes")?).dtype(dtype);
        let made = made.out_features(a.keywords().or::<Vec<usize>>("out_features", Vec::new())?);
        let made = made.bias(a.or("bias", false)?);
        a.no_effect("device")?;
        let mut made = typed(a, made, LinearCrossEntropyLoss::dtype)?;
        made.reduction = reduction(a, None, None)?;
        made.weight = buffer(a.option("weight")?);
        made.ignore_index = a.option("ignore_index")?;
        made.label_smoothing = a.or("label_smoothing", 0.0)?;
        a.absent("options")?;
        loss(made, LinearCrossEntropyLoss::forward)
    }),
    ("MarginRankingLoss", |a, _| {
        let margin = a.or("margin", 0.0)?;
        let made = MarginRankingLoss { margin, reduction: older(a)? };
        three(made, ["input1", "input2", "target"], MarginRankingLoss::forward)
    }),
    ("MultiLabelMarginLoss", |a, _| loss(MultiLabelMarginLoss { reduction: older(a)? }, MultiLabelMarginLoss::forward)),
    ("MultiLabelSoftMarginLoss", |a, _| {
        let weight = buffer(a.option("weight")?);
        loss(MultiLabelSoftMarginLoss { weight, reduction: older(a)? }, MultiLabelSoftMarginLoss::forward)
    }),
    ("MultiMarginLoss", |a, _| {
        let (p, margin, weight) = (a.or("p", 1)?, a.or("margin", 1.0)?, buffer(a.option("weight")?));
        loss(MultiMarginLoss { p, margin, weight, reduction: older(a)? }, MultiMarginLoss::forward)
    }),
    ("NLLLoss2d", |a, dtype| {
        let (_, make) = super::MODULES.iter().find(|(name, _)| *name == "NLLLoss").expect("a class of torch's");
        make(a, dtype)
    }),
    ("PairwiseDistance", |a, _| {
        let (p, eps) = (a.or("p", 2.0)?, a.or("eps", 1e-6)?);
        let made = PairwiseDistance { p, eps, keepdim: a.or("keepdim", false)? };
        two(made, ["x1", "x2"], PairwiseDistance::forward)
    }),
    ("PoissonNLLLoss", |a, _| {
        let (log_input, full) = (a.or("log_input", true)?, a.or("full", false)?);
        let (size_average, eps) = (a.option("size_average")?, a.or("eps", 1e-8)?);
        let reduce = a.option("reduce")?;
        let reduction = reduction(a, size_average, reduce)?;
        loss(PoissonNLLLoss { log_input, full, eps, reduction }, PoissonNLLLoss::forward)
    }),
    ("SoftMarginLoss", |a, _| loss(SoftMarginLoss { reduction: older(a)? }, SoftMarginLoss::forward)),
    ("TripletMarginLoss", |a, _| {
        let (margin, p, eps) = (a.or("margin", 1.0)?, a.or("p", 2.0)?, a.or("eps", 1e-6)?);
        let swap = a.or("swap", false)?;
        let made = TripletMarginLoss { margin, p, eps, swap, reduction: older(a)? };
        three(made, ["anchor", "positive", "negative"], TripletMarginLoss::forward)
    }),
    ("TripletMarginWithDistanceLoss", |a, _| {
        let made = with_distance(a.keywords())?;
        three(made, ["anchor", "positive", "negative"], TripletMarginWithDistanceLoss::forward)
    }),
];

/// Torch's older arguments, and the reduction behind them.
pub fn older(a: &mut Args<'_>) -> Result<Reduction> {
    let (size_average, reduce) = (a.option("size_average")?, a.option("reduce")?);
    reduction(a, size_average, reduce)
}

/// The loss with the distance, margin, swap and reduction that the call names.
pub fn with_distance(a: &mut Args<'_>) -> Result<TripletMarginWithDistanceLoss> {
    let made = TripletMarginWithDistanceLoss::new();
    let made = match a.peek("distance_function") {
        None | Some(serde_json::Value::Null) => made,
        Some(json) if json["repr"] == "PairwiseDistance()" => {
            made.distance(|x, y| PairwiseDistance::new().forward(x, y))
        }
        Some(other) => return Err(format!("argument distance_function not read: {other}")),
    };
    a.no_effect("distance_function")?;
    let made = made.margin(a.or("margin", 1.0)?).swap(a.or("swap", false)?);
    Ok(made.reduction(reduction(a, None, None)?))
}

/// The module in the type that the call names, if it names one.
fn typed<M>(a: &mut Args<'_>, module: M, set: fn(M, DType) -> M) -> Result<M> {
    Ok(match a.peek("dtype") {
        None | Some(serde_json::Value::Null) => {
            a.no_effect("dtype")?;
            module
        }
        Some(_) => set(module, a.required("dtype")?),
    })
}

/// A module of two tensors.
fn two<M: Module + 'static>(
    module: M,
    names: [&'static str; 2],
    forward: fn(&M, &Tensor, &Tensor) -> Tensor,
) -> Result<Built> {
    let module = Rc::new(module);
    let called = module.clone();
    let forward = move |a: &mut Args<'_>| {
        let (x, y) = (a.required(names[0])?, a.required(names[1])?);
        Ok(vec![forward(&called, &x, &y)])
    };
    Ok(Built { module, forward: Box::new(forward) })
}

/// A module of three tensors.
fn three<M: Module + 'static>(
    module: M,
    names: [&'static str; 3],
    forward: fn(&M, &Tensor, &Tensor, &Tensor) -> Tensor,
) -> Result<Built> {
    let module = Rc::new(module);
    let called = module.clone();
    let forward = move |a: &mut Args<'_>| {
        let (x, y, z) = (a.required(names[0])?, a.required(names[1])?, a.required(names[2])?);
        Ok(vec![forward(&called, &x, &y, &z)])
    };
    Ok(Built { module, forward: Box::new(forward) })
}
