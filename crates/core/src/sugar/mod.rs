//! Composed operations: one function each, said in primitives and compounds.

mod activation;
mod arithmetic;
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
mod running;
mod scatter;
pub(crate) mod search;
pub(crate) mod shape;
mod statistics;
pub(crate) mod windows;
