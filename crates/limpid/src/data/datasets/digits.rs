//! Handwritten digits, which ship with the crate.

use std::path::Path;

use limpid_core::{Error, Result, Tensor};
use limpid_io::csv::{self, Dialect};

use super::numbered;
use crate::data::{Dataset, file_error};

static CSV: &[u8] = include_bytes!("../../../data/digits.csv");

/// 1,797 images of handwritten digits, 8×8 pixels of 0 to 16, row by row: features `[1797, 64]`, ten classes.
///
/// Source: E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository
/// (1998), the test part, as scikit-learn distributes it.
///
/// # Errors
/// None that a file could cause: the data is in the program.
pub fn digits() -> Result<Dataset> {
    let table = csv::parse(Path::new("digits.csv"), CSV, Dialect::CSV).map_err(file_error)?;
    let Some((target, pixels)) = table.header.split_last() else {
        return Err(Error::new("digits.csv: the table has no columns"));
    };
    let names: Vec<&str> = pixels.iter().map(String::as_str).collect();
    let values: Vec<f32> = table.numeric(&names).map_err(file_error)?.into_iter().map(|x| x as f32).collect();
    let labels: Vec<i64> = table.numeric(&[target]).map_err(file_error)?.into_iter().map(|x| x as i64).collect();
    let rows = labels.len();
    let features = Tensor::from_vec(values, [rows, names.len()]);
    let data = Dataset::classification("digits", features, Tensor::from_vec(labels, [rows]), numbered(10))?;
    Ok(data.named_columns(pixels.to_vec()))
}
