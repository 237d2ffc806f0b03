//! The engine against the reference interpreter, finite differences and itself.
//!
//! One binary, so that it links once. What is random is drawn from fixed seeds, which every failure prints;
//! `LIMPID_SEED` draws others.

mod effects;
mod extremes;
mod faults;
mod gradients;
mod graphs;
mod linalg;
mod memory;
mod operations;
mod profile;
mod random_graphs;
mod recurrent;
mod regions;
mod special;
mod support;
mod threads;
