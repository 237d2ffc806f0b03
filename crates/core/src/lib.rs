//! The record of Limpid: whatever a program does with tensors is written down as one graph, which is
//! differentiated, rewritten, planned, run and shown.
//!
//! The source reads as the pipeline:
//!
//! 1. **record**: [`Tensor`] operations (`sugar/`, `compound/`) append nodes (`node.rs`) of primitives
//!    (`op/`), with where they came from (`origin.rs`); regions (`region.rs`) and cells (`cell.rs`) beside.
//! 2. **differentiate**: [`gradients`] appends the chain rule as more nodes (`grad.rs`).
//! 3. **rewrite**, **plan**, **run**: `exec/`.
//! 4. **see**: `reference.rs` says what every node means, slowly and plainly.

#![forbid(unsafe_code)]

mod below;
mod cell;
mod compound;
mod config;
mod error;
mod exec;
mod grad;
mod graph;
mod node;
mod op;
mod options;
pub mod origin;
mod profile;
mod promote;
pub mod reference;
mod region;
mod rng;
mod rows;
pub mod seeing;
mod shape;
mod show;
mod sizes;
mod sugar;
mod tensor;
#[doc(hidden)]
pub mod testing;

pub use cell::{Assignment, Cell, assign_all};
pub use compound::attention::AttentionOptions;
pub use compound::batch_norm::NormOptions;
pub use compound::conv::ConvAxis;
pub use compound::recurrence::{Recurred, Recurrence};
pub use compound::recurrent::{RecurrentCell, RecurrentEdit};
pub use config::{Config, config, cpu, set_isa, set_threads};
pub use error::{Error, Result};
pub use exec::cache::{cached_plans, force_collisions};
pub use exec::capture::{Capture, invalidate_captures};
pub use exec::settle;
pub use exec::stats::{Stats, stats};
pub use grad::{gradients, gradients_by_rows, gradients_with};
pub use limpid_kernels::limits::Limits;
pub use limpid_kernels::{DType, Element, Isa, Number};
pub use node::{grad_enabled, no_grad};
pub use op::structure::{branch, call, loop_over, loop_times};
pub use profile::{Profile, ProfileMemory, ProfileRow, profile};
pub use promote::promote;
pub use rng::{Rng, manual_seed, rng_state, set_rng_state};
pub use rows::Rows;
pub use shape::{Axes, Shape};
pub use show::shown;
pub use sizes::{OutputSizes, Sizes};
pub use sugar::conv::{ConvOptions, ConvTransposeOptions, Padding};
pub use sugar::embedding::{BagMode, EmbeddingBagOptions, EmbeddingOptions};
pub use sugar::fft::{FftNorm, StftOptions};
pub use sugar::fold::FoldOptions;
pub use sugar::getitem::{Index, Indices};
pub use sugar::grid::{GridMode, GridOptions, GridPadding};
pub use sugar::norms::MatrixNorm;
pub use sugar::operators::Value;
pub use sugar::pad::PadMode;
pub use sugar::pool::{AvgPoolOptions, MaxPoolOptions};
pub use sugar::products::Contracted;
pub use sugar::resample::{Factors, InterpolateMode, InterpolateOptions};
pub use sugar::search::Unique;
pub use sugar::unpool::{FractionalMaxPoolOptions, MaxUnpoolOptions};
pub use tensor::{Tensor, eval, fallible};
