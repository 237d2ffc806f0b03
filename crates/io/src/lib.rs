//! The files of Limpid: bytes to and from parsed documents, and nothing of tensors or graphs.
//!
//! A file that is read is hostile until parsed: sizes are checked before memory is taken, nothing in it is
//! executed, no input makes a panic, and an [`Error`] names the file, the place, the field and what to do.
//! A file that is written is complete or absent (see [`mod@write`]).
//!
//! Elements are little-endian and row-major everywhere in this crate's interface, whatever a file holds.
#![forbid(unsafe_code)]

mod array;
pub mod csv;
mod error;
pub mod idx;
pub mod npy;
pub mod safetensors;
mod source;
pub mod write;

pub use array::{Array, DType};
pub use error::{At, Error};
