//! Training: the loop, what is measured, how the learning rate moves, and checkpoints that a run continues from.

pub mod checkpoint;
mod diagnose;
mod evaluate;
mod metrics;
mod network;
mod schedule;
mod trainer;

pub use evaluate::{Evaluation, Loss, accuracy, evaluate, in_eval_mode, predictions};
pub use metrics::{Confusion, Distance, Scores};
pub use network::{Network, Standardize};
pub use schedule::Schedule;
pub use trainer::{Epoch, Event, Options, Trainer, dict};
