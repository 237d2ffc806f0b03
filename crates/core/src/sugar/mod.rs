//! Composed operations: one function each, said in primitives and compounds.

mod creation;
mod display;
mod indexing;
mod math;
mod norms;
pub(crate) mod operators;
mod order;
pub(crate) mod reduction;
pub(crate) mod shape;
