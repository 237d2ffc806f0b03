//! `limpid bench --check`: the first losses of the training cases, against PyTorch's.

use limpid::prelude::*;
use limpid::{Error, Result};

use super::cases::{CASES, Work};
use super::nets::{Training, Values};
use crate::terminal::say;

/// PyTorch's first 20 losses of each training case, computed in f64: made by `benches/peers/losses.py --double`.
const LOSSES: &str = include_str!("../../bench/losses.tsv");

/// Torch's tolerance for f32; after 20 steps of training its rounding has grown, so ten times that. PyTorch's own f32 is up
/// to 5e-6 from these (ResNet-18, where a unit near 0 changes sides) and mostly 3e-7.
const TOLERANCE: f64 = 1.3e-5;

/// Weights and batches from a formula, so that they need no file: element i of tensor t is
/// scale·cos(0.7·i + 0.3 + t).
fn formula(shape: &[usize], t: usize, scale: f64) -> Tensor {
    let n: usize = shape.iter().product();
    let values = (0..n).map(|i| (scale * (0.7 * i as f64 + 0.3 + t as f64).cos()) as f32).collect();
    Tensor::from_vec(values, shape)
}

impl Values {
    /// Those of step `i`, by formula; of inputs and targets alike.
    fn by_formula(&self, i: usize) -> Tensor {
        match *self {
            Values::Given(values, shape) => Tensor::from_slice(values, shape),
            Values::Normal(shape) => formula(shape, 100 + i, 1.0),
            Values::Below(limit, shape) => {
                let n: usize = shape.iter().product();
                Tensor::from((0..n).map(|j| ((j * 7 + i) as i64) % limit).collect::<Vec<_>>()).view(shape)
            }
        }
    }
}

/// The largest relative difference of the losses of `training` from `expected`.
fn difference(training: &Training, expected: &[f64]) -> Result<f64> {
    let model = (training.model)();
    for (t, (_, p)) in model.named_parameters().into_iter().enumerate() {
        let shape = p.shape();
        // The inputs of a row of weights; of a vector, its length.
        let fan: usize = shape[usize::from(shape.rank() > 1)..].iter().product();
        p.set(&formula(&shape, t, 1.0 / (fan as f64).sqrt()))?;
    }
    let mut apply = training.rule.optimizer(&*model);
    let mut worst: f64 = 0.0;
    for (i, expected) in expected.iter().enumerate() {
        let [x, y] = [&training.x, &training.y].map(|values| values.by_formula(i));
        let loss = apply(&(training.loss)(&model.forward(&x), &y))?.item()?;
        let difference = (loss - expected).abs() / expected.abs();
        worst = if difference.is_nan() { difference } else { worst.max(difference) };
    }
    Ok(worst)
}

pub fn check() -> Result<()> {
    for case in CASES {
        let Work::Training(training) = &case.work else { continue };
        let Some(line) = LOSSES.lines().find_map(|line| line.strip_prefix(case.name)) else { continue };
        let expected: Vec<f64> = line.split_whitespace().filter_map(|value| value.parse().ok()).collect();
        let (name, worst, count) = (case.name, difference(training, &expected)?, expected.len());
        say(&format!("{name}: {count} losses, largest relative difference {worst:.1e} (at most {TOLERANCE:.1e})\n"));
        if worst.is_nan() || worst > TOLERANCE {
            return Err(Error::new(format!("{name}: the losses differ from PyTorch's by {worst:.1e}")));
        }
    }
    Ok(())
}
