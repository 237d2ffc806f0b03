//! Training: what is measured, how the learning rate moves, and checkpoints that a run continues from.

pub mod checkpoint;
mod metrics;
mod schedule;

pub use metrics::{Confusion, Distance, Scores};
pub use schedule::Schedule;
