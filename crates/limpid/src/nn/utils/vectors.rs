//! Parameters as one vector.

use limpid_core::{Error, Result, Tensor, eval};

use crate::param::Parameter;

/// All parameters one behind the other, in row-major order: a function of them, with a gradient. Torch's function of
/// that name.
///
/// ```
/// use limpid::nn::utils::{parameters_to_vector, vector_to_parameters};
/// use limpid::prelude::*;
/// let model = Linear::new(2, 1);
/// vector_to_parameters(&Tensor::from([1.0f32, 2.0, 3.0]), &model.parameters())?;
/// assert_eq!(model.weight.value()?.to_vec::<f32>()?, [1.0, 2.0]);
/// assert_eq!(parameters_to_vector(&model.parameters()).to_vec::<f32>()?, [1.0, 2.0, 3.0]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn parameters_to_vector(parameters: &[Parameter]) -> Tensor {
    if parameters.is_empty() {
        return Tensor::failed(Error::new("parameters_to_vector: there are no parameters"));
    }
    let mut flat = Vec::with_capacity(parameters.len());
    for p in parameters {
        flat.push(p.tensor().view([p.numel()]));
    }
    Tensor::cat(&flat.iter().collect::<Vec<_>>(), 0)
}

/// Gives the parameters, one behind the other, the elements of `vector`, converted to their types. As in torch,
/// elements behind the last parameter's stay unused.
///
/// # Errors
/// When there are too few elements, or the vector can not be computed; no parameter is changed then.
pub fn vector_to_parameters(vector: &Tensor, parameters: &[Parameter]) -> Result<()> {
    let needed: usize = parameters.iter().map(Parameter::numel).sum();
    if vector.error().is_none() && (vector.rank() != 1 || vector.numel() < needed) {
        let (shape, count) = (vector.shape(), parameters.len());
        let what = format!("vector_to_parameters: shape {shape} for {count} parameters of {needed} elements");
        return Err(Error::new(what).help(format!("a vector of {needed}")));
    }
    let vector = vector.detach();
    eval([&vector])?;
    let mut at = 0;
    for p in parameters {
        p.set(&vector.narrow(0, at, p.numel()).view(p.shape()))?;
        at += p.numel();
    }
    Ok(())
}
