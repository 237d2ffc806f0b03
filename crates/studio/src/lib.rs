//! Pages that show what was trained. They are single files: no script, font or picture comes from elsewhere.

#![forbid(unsafe_code)]

mod html;
pub mod report;
mod svg;

pub use report::{Curve, Layer, Matrix, Report};
