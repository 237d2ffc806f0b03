//! Data sets: rows of features with a target each, their splits, and the batches a training step sees.
//!
//! ```
//! use limpid::data::datasets;
//! let (train, test) = datasets::digits()?.split(0.8, 7);
//! assert_eq!((train.rows(), test.rows()), (1438, 359));
//! for (x, y) in train.batches(64).shuffled(7, 0).take(1) {
//!     assert_eq!((&x.shape()[..], &y.shape()[..]), (&[64, 64][..], &[64][..]));
//! }
//! # Ok::<(), limpid_core::Error>(())
//! ```
//! The order of the rows is a function of (seed, epoch) alone, so a run that was stopped can be continued in the
//! middle of an epoch, and no result depends on threads.

mod batches;
mod dataset;
pub mod datasets;
mod order;
mod scale;
mod split;
pub mod table;
#[cfg(test)]
mod tests;

pub use batches::Batches;
pub(crate) use batches::check_batch;
pub use dataset::{Dataset, Task};
pub use scale::Scale;

/// An error of a file as one of the library.
pub(crate) fn file_error(error: limpid_io::Error) -> limpid_core::Error {
    limpid_core::Error::new(error.to_string())
}
