//! Features brought to a common scale.

use limpid_core::{Error, Result, Tensor};

use super::Dataset;

/// Shift and scale of each column: (x − mean)/std. It is learned on the training part only, and belongs to the
/// model: new rows must be scaled with the same numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// What is subtracted: one number for each feature of a row.
    pub mean: Vec<f32>,
    /// What is divided by, over 0.
    pub std: Vec<f32>,
}

impl Scale {
    /// Mean and standard deviation of each column over the rows of `values` `[rows, …]`; a column whose numbers
    /// are all the same keeps its scale (std 1).
    ///
    /// # Errors
    /// Those that the tensor carries.
    pub fn learn(values: &Tensor) -> Result<Scale> {
        let numbers = values.to_vec::<f32>()?;
        let rows = values.size(0).max(1);
        let width = numbers.len() / rows;
        let mut scale = Scale { mean: Vec::with_capacity(width), std: Vec::with_capacity(width) };
        for column in 0..width {
            let numbers = || numbers.iter().skip(column).step_by(width).map(|&x| f64::from(x));
            let mean = numbers().sum::<f64>() / rows as f64;
            let variance = numbers().map(|x| (x - mean) * (x - mean)).sum::<f64>() / rows as f64;
            scale.mean.push(mean as f32);
            // Below the rounding of the numbers themselves it is noise, not a scale.
            let constant = variance.sqrt() <= mean.abs() * f64::from(f32::EPSILON);
            scale.std.push(if constant { 1.0 } else { variance.sqrt() as f32 });
        }
        Ok(scale)
    }

    /// x/`divisor` for every feature of `width`.
    pub fn by(divisor: f32, width: usize) -> Scale {
        Scale { mean: vec![0.0; width], std: vec![divisor; width] }
    }

    /// The scaled rows.
    ///
    /// # Errors
    /// Rows of another width.
    pub fn apply(&self, data: &Dataset) -> Result<Dataset> {
        let width: usize = data.row_shape().iter().product();
        if width != self.mean.len() {
            let (name, learned) = (data.name(), self.mean.len());
            return Err(Error::new(format!("{name}: rows have {width} features, the scale was learned on {learned}")));
        }
        let shape = || data.row_shape().to_vec();
        let mean = Tensor::from_vec(self.mean.clone(), shape());
        let std = Tensor::from_vec(self.std.clone(), shape());
        let scaled = (data.features() - mean) / std;
        scaled.eval()?;
        Ok(data.with_features(scaled))
    }
}
