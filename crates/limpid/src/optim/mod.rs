//! Optimizers: gradients by parameter, and updates that are recorded like everything else.
//!
//! A step records the gradient and every update as assignments and evaluates them with the loss: one plan, in place.
//! Rates and step counts are values of cells, not of the structure, so a schedule makes no new plan.

mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod asgd;
mod core;
mod gradients;
mod lbfgs;
mod line_search;
mod muon;
mod nadam;
mod optimizer;
mod options;
mod radam;
mod rmsprop;
mod rprop;
mod schedule;
mod sgd;
mod sparse_adam;
mod swa;

pub use adadelta::Adadelta;
pub use adafactor::Adafactor;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use asgd::ASGD;
pub use gradients::{ClipNorm, Gradients, LossExt};
pub use lbfgs::LBFGS;
pub use muon::Muon;
pub use nadam::NAdam;
pub use optimizer::{CoreRef, FirstOrder, Optimizer, StepLoss};
pub use options::{Group, Numbers};
pub use radam::RAdam;
pub use rmsprop::RMSprop;
pub use rprop::Rprop;
pub use schedule::{
    At, ChainedScheduler, ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, ExponentialLR,
    LambdaLR, LinearLR, LrScheduler, MultiStepLR, MultiplicativeLR, OneCycleLR, PerGroup, PolynomialLR,
    ReduceLROnPlateau, SWALR, Schedule, SequentialLR, StepLR,
};
pub use sgd::SGD;
pub use sparse_adam::SparseAdam;
pub use swa::{AveragedModel, AvgFn, get_ema_avg_fn, get_swa_avg_fn, update_bn};
