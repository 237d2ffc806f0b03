//! `torch.nn.functional`.

pub mod activation;
mod attention;
mod conv;
mod embedding;
mod loss;
mod norm;
pub mod pool;
pub mod resample;
mod shape;

pub use loss::lengths;

use limpid::nn::{BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss, SmoothL1Loss};
use limpid::{DType, Tensor};

use crate::conformance::args::{Args, Result};
use crate::conformance::cases::Case;
use crate::conformance::check::{Recorded, Verdict};
pub use embedding::bag_mode;

use crate::conformance::modules::reduction;
use crate::conformance::ops::{Call, Function, record, run};

/// Every function by torch's name, with the arguments in the order of torch's signature.
const FUNCTIONALS: &[(&str, Call)] = &[
    ("binary_cross_entropy", |a| {
        let ((input, target), weight) = (pair(a)?, a.option::<Tensor>("weight")?);
        let (size_average, reduce) = (a.option("size_average")?, a.option("reduce")?);
        let reduction = reduction(a, size_average, reduce)?;
        one(BCELoss { weight: None, reduction }.weighted(&input, &target, weight.as_ref()))
    }),
    ("binary_cross_entropy_with_logits", |a| {
        let ((input, target), weight) = (pair(a)?, a.option::<Tensor>("weight")?);
        let (size_average, reduce) = (a.option("size_average")?, a.option("reduce")?);
        let loss = BCEWithLogitsLoss::new().reduction(reduction(a, size_average, reduce)?);
        let pos_weight = a.option::<Tensor>("pos_weight")?;
        one(loss.weighted(&input, &target, weight.as_ref(), pos_weight.as_ref()))
    }),
    ("cross_entropy", |a| {
        let ((input, target), weight) = (pair(a)?, a.option::<Tensor>("weight")?);
        let size_average = a.option("size_average")?;
        let (ignore_index, reduce) = (a.or("ignore_index", -100)?, a.option("reduce")?);
        let reduction = reduction(a, size_average, reduce)?;
        let label_smoothing = a.or("label_smoothing", 0.0)?;
        one(CrossEntropyLoss { weight: None, ignore_index, reduction, label_smoothing }.weighted(
            &input,
            &target,
            weight.as_ref(),
        ))
    }),
    ("l1_loss", |a| {
        let (input, target) = pair(a)?;
        let (size_average, reduce) = (a.option("size_average")?, a.option("reduce")?);
        let loss = L1Loss::new().reduction(reduction(a, size_average, reduce)?);
        one(match a.option("weight")? {
            Some(weight) => loss.weighted(&input, &target, &weight),
            None => loss.forward(&input, &target),
        })
    }),
    ("layer_norm", |a| {
        let (x, shape) = (a.required::<Tensor>("input")?, a.required::<Vec<usize>>("normalized_shape")?);
        let (weight, bias) = (a.option::<Tensor>("weight")?, a.option::<Tensor>("bias")?);
        one(x.layer_norm(shape, weight.as_ref(), bias.as_ref(), a.or("eps", 1e-5)?))
    }),
    ("linear", |a| {
        let (x, weight) = (a.required::<Tensor>("input")?, a.required("weight")?);
        one(x.linear(&weight, a.option::<Tensor>("bias")?.as_ref()))
    }),
    ("mse_loss", |a| {
        let (input, target) = pair(a)?;
        let (size_average, reduce) = (a.option("size_average")?, a.option("reduce")?);
        let loss = MSELoss::new().reduction(reduction(a, size_average, reduce)?);
        one(match a.option("weight")? {
            Some(weight) => loss.weighted(&input, &target, &weight),
            None => loss.forward(&input, &target),
        })
    }),
    ("nll_loss", |a| {
        let ((input, target), weight) = (pair(a)?, a.option::<Tensor>("weight")?);
        let size_average = a.option("size_average")?;
        let (ignore_index, reduce) = (a.or("ignore_index", -100)?, a.option("reduce")?);
        let reduction = reduction(a, size_average, reduce)?;
        one(NLLLoss { weight: None, ignore_index, reduction }.weighted(&input, &target, weight.as_ref()))
    }),
    ("smooth_l1_loss", |a| {
        let (input, target) = pair(a)?;
        let (size_average, reduce) = (a.option("size_average")?, a.option("reduce")?);
        let reduction = reduction(a, size_average, reduce)?;
        one(SmoothL1Loss { reduction, beta: a.or("beta", 1.0)? }.forward(&input, &target))
    }),
];

/// A function's one result.
pub fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

/// An input and a target.
pub fn pair(a: &mut Args<'_>) -> Result<(Tensor, Tensor)> {
    Ok((a.required("input")?, a.required("target")?))
}

/// The input in the type that is asked for, and the axis: what torch's softmax functions take.
pub fn typed_rows(a: &mut Args<'_>) -> Result<(Tensor, isize)> {
    let (x, dim) = (a.required::<Tensor>("input")?, a.required("dim")?);
    a.keywords().no_effect("_stacklevel")?;
    let dtype: Option<DType> = a.option("dtype")?;
    Ok((dtype.map_or(x.clone(), |dtype| x.to_dtype(dtype)), dim))
}

/// All families of functions.
const TABLES: &[&[(&str, Call)]] = &[
    FUNCTIONALS,
    activation::CALLS,
    attention::CALLS,
    conv::CALLS,
    embedding::CALLS,
    loss::CALLS,
    norm::CALLS,
    pool::CALLS,
    resample::CALLS,
    shape::CALLS,
];

/// The function of this name, if it is built.
fn function(class: &str) -> Option<Function> {
    let (_, call) = TABLES.iter().copied().flatten().find(|(name, _)| *name == class)?;
    Some(Box::new(call))
}

/// What runs the cases of `class`, if it is built.
pub fn find(class: &str) -> Option<Box<dyn Fn(&Case) -> Result<Verdict>>> {
    let call = function(class)?;
    Some(Box::new(move |case| run(&call, case)))
}

/// What only records them.
pub fn recorder(class: &str) -> Option<Box<dyn Fn(&Case) -> Result<Recorded>>> {
    let call = function(class)?;
    Some(Box::new(move |case| record(&call, case)))
}

/// Whether there are cases of `name` with one argument or another: `interpolate.area`.
pub fn has_variants(name: &str) -> bool {
    let variant = |full: &str| full.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    TABLES.iter().copied().flatten().any(|(full, _)| variant(full))
}
