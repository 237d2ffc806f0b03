//! Limpid: neural networks in Rust, and you can see into everything.
//!
//! ```
//! use limpid::prelude::*;
//! manual_seed(1);
//! let model = Sequential::new().add(Linear::new(2, 8)).add(Tanh).add(Linear::new(8, 1));
//! let x = Tensor::from([[0.0f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
//! let y = Tensor::from([[0.0f32], [1.0], [1.0], [0.0]]);
//! let mut adam = Adam::new(&model).lr(0.1);
//! let first = mse_loss(&model.forward(&x), &y).item()?;
//! for _ in 0..20 {
//!     adam.step(&mse_loss(&model.forward(&x), &y))?;
//! }
//! assert!(mse_loss(&model.forward(&x), &y).item()? < first);
//! # Ok::<(), limpid::Error>(())
//! ```

#![forbid(unsafe_code)]

// The macros say `::limpid::…`, here too.
extern crate self as limpid;

pub mod data;
mod derived;
mod describe;
mod glob;
pub mod loss;
mod module;
pub mod nn;
pub mod optim;
mod param;
pub mod prelude;
mod site;
mod state;
mod taps;
pub mod train;
mod walk;

pub use limpid_core::*;
pub use limpid_derive::{Module, forward};

pub use describe::{Row, Summary};
pub use module::{Field, Forward, Module, Visitor};
pub use param::{Buffer, Parameter};
pub use site::{Mode, Scope, Site};
pub use state::{LoadReport, StateDict};
pub use taps::{Seen, Statistics, Tap, tap};

/// This file: lines beside it are the library's own, not a user's.
pub(crate) const FILE: &str = file!();

/// The README's code is compiled with the documentation's examples.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// So is that for those who come from PyTorch.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/torch.md")]
struct Torch;
