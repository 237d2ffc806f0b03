//! Composed operations: one function each, said in primitives and compounds.

mod creation;
mod display;
mod indexing;
mod math;
mod norms;
pub(crate) mod operators;
mod reduction;
pub(crate) mod shape;
