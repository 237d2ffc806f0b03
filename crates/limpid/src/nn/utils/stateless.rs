//! A model with other parameters.

use std::collections::HashMap;

use limpid_core::{Error, Result, Tensor};

use crate::derived::with_stand_ins;
use crate::module::Module;
use crate::state::StateDict;
use crate::walk::{Item, walk};

/// Runs `run` with the tensors of `values` in place of the parameters of `model` of those names; the parameters stay as
/// they are. Gradients go to the tensors: a step of learning within a loss, an ensemble, a network whose weights another
/// one computes. Torch's `func.functional_call`; holds on this thread until `run` returns.
///
/// # Errors
/// When `model` has no parameter of a name (a buffer is none), or one of another shape or type.
///
/// ```
/// use limpid::nn::utils::functional_call;
/// use limpid::prelude::*;
/// let model = Linear::new(2, 1).bias(false);
/// let mut values = StateDict::new();
/// values.insert("weight", Tensor::from([[10.0f32, 1.0]]));
/// let y = functional_call(&model, &values, || model.forward(&Tensor::from([[1.0f32, 2.0]])));
/// assert_eq!(y.item()?, 12.0);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn functional_call<M: Module + ?Sized>(model: &M, values: &StateDict, run: impl FnOnce() -> Tensor) -> Tensor {
    match stand_ins(model, values) {
        Ok(values) => with_stand_ins(values, run),
        Err(error) => Tensor::failed(error),
    }
}

fn stand_ins<M: Module + ?Sized>(model: &M, values: &StateDict) -> Result<HashMap<u64, Tensor>> {
    let (mut known, mut buffers) = (HashMap::new(), Vec::new());
    walk(model, &mut |path, item| match item {
        Item::Parameter(p) => {
            known.insert(path.to_owned(), p.clone());
        }
        Item::Buffer(_) => buffers.push(path.to_owned()),
        _ => {}
    });
    let mut found = HashMap::new();
    for (name, value) in values.iter() {
        let Some(p) = known.get(name) else {
            let error = Error::new(format!("functional_call: {} has no parameter {name}", model.kind()));
            return Err(if buffers.iter().any(|buffer| buffer == name) {
                error.help("load_state_dict or set for a buffer: what a pass assigns to it stays in the model")
            } else {
                error
            });
        };
        if value.error().is_none() && (value.shape(), value.dtype()) != (&p.shape(), p.dtype()) {
            let (shape, dtype) = (value.shape(), value.dtype());
            let what = format!("functional_call: {name} is {} {}, the value {dtype} {shape}", p.dtype(), p.shape());
            return Err(Error::new(what));
        }
        found.insert(p.cell().id(), value.clone());
    }
    Ok(found)
}
