//! Composed operations: one function each, said in primitives and compounds.

mod activation;
mod bilinear;
pub(crate) mod conv;
mod creation;
pub(crate) mod diagonal;
mod display;
mod distance;
mod dropout;
mod einsum;
pub(crate) mod getitem;
mod indexing;
mod math;
mod normalize;
mod norms;
pub(crate) mod operators;
mod order;
pub(crate) mod products;
mod rearrange;
pub(crate) mod reduction;
mod scatter;
pub(crate) mod shape;
pub(crate) mod windows;
