//! Where a loss stopped being a number.

use limpid_core::{Error, Tensor, no_grad};

use super::evaluate::Loss;
use crate::module::Forward;
use crate::taps::Tap;

/// `error` of step `step`, and where its first number that is not finite came from, where that is the reason. The
/// step is computed again from the weights before it, layer by layer.
pub(crate) fn explain(error: Error, model: &dyn Forward, loss: &Loss, batch: (&Tensor, &Tensor), step: u64) -> Error {
    let (x, y) = batch;
    let origin = no_grad(|| first(model, loss, x, y));
    let Some(origin) = origin else { return error.note(format!("in step {step}")) };
    Error::new(format!("the loss is not finite in step {step}"))
        .note(origin)
        .help("a smaller learning rate (--optimizer.lr), or --optimizer.clip_norm 1")
}

/// The first parameter or result that is not finite, as a sentence.
fn first(model: &dyn Forward, loss: &Loss, x: &Tensor, y: &Tensor) -> Option<String> {
    if let Some(what) = wrong(x) {
        return Some(format!("the features of the batch hold {what}"));
    }
    for (name, parameter) in model.named_parameters() {
        if let Some(what) = parameter.value().ok().and_then(|value| wrong(&value)) {
            return Some(format!("first: the parameter {name}, which holds {what} since the step before"));
        }
    }
    let mut output = None;
    let seen = Tap::new("**").record(|| output.insert(model.forward(x)).clone()).ok()?;
    // Inner results come before those of the modules around them.
    for (path, kind, result) in seen.iter() {
        if let Some(what) = wrong(result) {
            return Some(format!("first: the result of {path} ({kind}), which holds {what}"));
        }
    }
    let value = loss(output.as_ref()?, y).item().ok()?;
    (!value.is_finite()).then(|| format!("first: the loss itself, {value}; the model's output is finite"))
}

/// The first element that is not finite, in words.
fn wrong(values: &Tensor) -> Option<String> {
    let at = values.to_vec::<f64>().ok()?.into_iter().find(|x| !x.is_finite())?;
    Some(if at.is_nan() { "NaN".to_owned() } else { format!("{at}") })
}
