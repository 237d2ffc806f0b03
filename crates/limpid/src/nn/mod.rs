//! Layers: constructors, defaults, initialisers and meaning are those of `torch.nn`. What torch takes by
//! position is an argument; the rest are setters.

mod activation;
mod draws;
mod dropout;
mod embedding;
pub mod init;
mod linear;
mod norm;
mod sequential;
mod shape;

pub use activation::{GELU, LeakyReLU, LogSoftmax, ReLU, SiLU, Sigmoid, Softmax, Tanh};
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use linear::Linear;
pub use norm::LayerNorm;
pub use sequential::Sequential;
pub use shape::{Flatten, Identity};

pub use crate::loss::{
    BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss, Reduction, SmoothL1Loss,
};

use limpid_core::{Error, Shape, Tensor};

/// A tensor of `shape` and the type of `like` that carries `error`, or the error that `like` carries.
#[track_caller]
pub(crate) fn failed(error: Error, like: &Tensor, shape: &Shape) -> Tensor {
    Tensor::fail(error, &[like], shape.clone(), like.dtype())
}

/// `True` and `False`, as torch prints them.
pub(crate) fn python(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
