//! MNIST, and whatever else has its four files.

use std::path::{Path, PathBuf};

use limpid_core::{Error, Result, Tensor};
use limpid_io::{Array, DType, idx};

use super::numbered;
use crate::data::{Dataset, file_error};

/// The training and the test part from the folder of the four IDX files (`train-images-idx3-ubyte`, …; plain or
/// `.gz`): images as features `[rows, height·width]` of 0 to 1, ten classes.
///
/// # Errors
/// A file that is missing or damaged, that holds no bytes of the right number of axes, images and labels that are
/// not equally many, parts of different image sizes, or a label over 9.
pub fn mnist(folder: &Path) -> Result<(Dataset, Dataset)> {
    let (train, size) = part(folder, "train")?;
    let (test, test_size) = part(folder, "t10k")?;
    if size != test_size {
        let place = folder.display();
        return Err(Error::new(format!("{place}: training images have {size} pixels, test images {test_size}")));
    }
    Ok((train, test))
}

/// One part, and the number of pixels of an image.
fn part(folder: &Path, prefix: &str) -> Result<(Dataset, usize)> {
    let (images_path, images) = bytes(folder, &format!("{prefix}-images-idx3-ubyte"), 3)?;
    let (labels_path, labels) = bytes(folder, &format!("{prefix}-labels-idx1-ubyte"), 1)?;
    let (rows, pixels) = (images.shape[0], images.shape[1] * images.shape[2]);
    if labels.shape[0] != rows {
        let (labels, place) = (labels.shape[0], labels_path.display());
        let error = Error::new(format!("{place}: {labels} labels for {rows} images in {}", images_path.display()));
        return Err(error.help("the files of one data set"));
    }
    if let Some((row, label)) = labels.bytes.iter().enumerate().find(|(_, label)| **label > 9) {
        let error = Error::new(format!("{}: label {row} is {label}, but there are 10 classes", labels_path.display()));
        return Err(error.note(format!("at byte {}, labels", 8 + row)).help("labels from 0 to 9"));
    }
    let features: Vec<f32> = images.bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let labels: Vec<i64> = labels.bytes.iter().map(|&byte| i64::from(byte)).collect();
    let name = if prefix == "train" { "mnist" } else { "mnist (test)" };
    let features = Tensor::from_vec(features, [rows, pixels]);
    let data = Dataset::classification(name, features, Tensor::from_vec(labels, [rows]), numbered(10))?;
    Ok((data, pixels))
}

/// The array of a file of bytes with this many axes, packed or not.
fn bytes(folder: &Path, name: &str, axes: usize) -> Result<(PathBuf, Array)> {
    let (plain, packed) = (folder.join(name), folder.join(format!("{name}.gz")));
    let path = if !plain.exists() && packed.exists() { packed } else { plain };
    let array = idx::read(&path).map_err(file_error)?;
    if array.dtype != DType::U8 || array.shape.len() != axes {
        let (dtype, shape, place) = (array.dtype, &array.shape, path.display());
        let error = Error::new(format!("{place}: it holds {dtype} of shape {shape:?}, not u8 of {axes} axes"));
        return Err(error.help("the file of this name from MNIST"));
    }
    Ok((path, array))
}
