//! `torch.nn.utils`: parameters as one vector, layers fused, and parameters whose value is a function of others.
//!
//! Clipping is a method of [`Gradients`](crate::optim::Gradients).

mod fusion;
pub mod parametrizations;
pub mod parametrize;
pub mod prune;
mod stateless;
mod vectors;

pub use fusion::{Fusible, fuse_bn_weights, fuse_conv_bn_eval, fuse_linear_bn_eval};
pub use stateless::functional_call;
pub use vectors::{parameters_to_vector, vector_to_parameters};
