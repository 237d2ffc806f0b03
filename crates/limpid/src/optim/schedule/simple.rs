//! Schedules that multiply the rate: by a constant, at milestones, along a line or a power, or as a function says.

use std::fmt;

use limpid_core::Result;

use super::{At, Schedule, ensure};

/// Times `gamma` every `step_size` steps. Torch's `StepLR`.
#[derive(Clone, Debug)]
pub struct StepLR {
    /// Steps between two changes.
    pub step_size: u64,
    /// The factor of each change.
    pub gamma: f64,
}

impl StepLR {
    /// With torch's `gamma` of 0.1.
    pub fn new(step_size: u64) -> StepLR {
        StepLR { step_size, gamma: 0.1 }
    }

    /// With this factor.
    pub fn gamma(self, gamma: f64) -> StepLR {
        StepLR { gamma, ..self }
    }
}

impl Schedule for StepLR {
    fn lr(&self, at: &At) -> Result<f64> {
        Ok(match at.step {
            0 if at.begin => at.lr,
            0 => at.base_lr,
            step if step.is_multiple_of(self.step_size) => at.lr * self.gamma,
            _ => at.lr,
        })
    }

    fn check(&self, _groups: usize) -> Result<()> {
        ensure(self.step_size > 0, || "StepLR: step_size is 0".to_owned(), "the number of steps between two changes")
    }
}

/// Times `gamma` at each of the `milestones`. Torch's `MultiStepLR`.
#[derive(Clone, Debug)]
pub struct MultiStepLR {
    /// Numbers of steps, rising; one that stands twice counts twice.
    pub milestones: Vec<u64>,
    /// The factor of each change.
    pub gamma: f64,
}

impl MultiStepLR {
    /// With torch's `gamma` of 0.1.
    pub fn new(milestones: impl Into<Vec<u64>>) -> MultiStepLR {
        MultiStepLR { milestones: milestones.into(), gamma: 0.1 }
    }

    /// With this factor.
    pub fn gamma(self, gamma: f64) -> MultiStepLR {
        MultiStepLR { gamma, ..self }
    }
}

impl Schedule for MultiStepLR {
    fn lr(&self, at: &At) -> Result<f64> {
        let times = self.milestones.iter().filter(|&&m| m == at.step).count() as i32;
        let from = if at.step == 0 && !at.begin { at.base_lr } else { at.lr };
        Ok(if times == 0 { from } else { from * self.gamma.powi(times) })
    }

    fn check(&self, _groups: usize) -> Result<()> {
        let what = || format!("MultiStepLR: the milestones {:?} do not rise", self.milestones);
        ensure(self.milestones.is_sorted(), what, "milestones in rising order")
    }
}

/// Times `factor` for the first `total_iters` steps: a warm-up in one step. Torch's `ConstantLR`.
#[derive(Clone, Debug)]
pub struct ConstantLR {
    /// From 0 to 1.
    pub factor: f64,
    /// After so many steps the rate is the optimizer's.
    pub total_iters: u64,
}

impl Default for ConstantLR {
    /// Torch's: a third of the rate for 5 steps.
    fn default() -> ConstantLR {
        ConstantLR { factor: 1.0 / 3.0, total_iters: 5 }
    }
}

impl Schedule for ConstantLR {
    fn lr(&self, at: &At) -> Result<f64> {
        Ok(match at.step {
            0 if at.begin => at.lr * self.factor,
            0 if self.total_iters == 0 => at.base_lr,
            0 => at.base_lr * self.factor,
            step if step == self.total_iters => at.lr * (1.0 / self.factor),
            _ => at.lr,
        })
    }

    fn check(&self, _groups: usize) -> Result<()> {
        let what = || format!("ConstantLR: the factor is {}", self.factor);
        ensure((0.0..=1.0).contains(&self.factor), what, "a factor from 0 to 1")
    }
}

/// A straight line from `start_factor` to `end_factor` over `total_iters` steps: a warm-up. Torch's `LinearLR`.
#[derive(Clone, Debug)]
pub struct LinearLR {
    /// The factor in the beginning.
    pub start_factor: f64,
    /// The factor from the end on.
    pub end_factor: f64,
    /// Number of steps.
    pub total_iters: u64,
}

impl Default for LinearLR {
    /// Torch's: from a third of the rate to all of it in 5 steps.
    fn default() -> LinearLR {
        LinearLR { start_factor: 1.0 / 3.0, end_factor: 1.0, total_iters: 5 }
    }
}

impl Schedule for LinearLR {
    fn lr(&self, at: &At) -> Result<f64> {
        let rise = self.end_factor - self.start_factor;
        Ok(match at.step {
            0 if at.begin => at.lr * self.start_factor,
            0 => at.base_lr * self.start_factor,
            step if step > self.total_iters => at.lr,
            step => {
                let factor = self.total_iters as f64 * self.start_factor + (step - 1) as f64 * rise;
                at.lr * (1.0 + rise / factor)
            }
        })
    }

    fn check(&self, _groups: usize) -> Result<()> {
        let (start, end) = (self.start_factor, self.end_factor);
        let what = || format!("LinearLR: the start_factor is {start}");
        ensure(start > 0.0 && start <= 1.0, what, "a factor above 0 and up to 1")?;
        ensure((0.0..=1.0).contains(&end), || format!("LinearLR: the end_factor is {end}"), "a factor from 0 to 1")
    }
}

/// Times `gamma` at every step. Torch's `ExponentialLR`.
#[derive(Clone, Debug)]
pub struct ExponentialLR {
    /// The factor of each step.
    pub gamma: f64,
}

impl Schedule for ExponentialLR {
    fn lr(&self, at: &At) -> Result<f64> {
        Ok(match at.step {
            0 if at.begin => at.lr,
            0 => at.base_lr,
            _ => at.lr * self.gamma,
        })
    }
}

/// lr·(1 − step/total_iters)^power: from the rate to 0. Torch's `PolynomialLR`.
#[derive(Clone, Debug)]
pub struct PolynomialLR {
    /// Number of steps; the rate is 0 from there on.
    pub total_iters: u64,
    /// The power.
    pub power: f64,
}

impl Default for PolynomialLR {
    /// Torch's: a line to 0 in 5 steps.
    fn default() -> PolynomialLR {
        PolynomialLR { total_iters: 5, power: 1.0 }
    }
}

impl Schedule for PolynomialLR {
    fn lr(&self, at: &At) -> Result<f64> {
        let left = |step: u64| 1.0 - step as f64 / self.total_iters as f64;
        Ok(match at.step {
            0 if at.begin => at.lr,
            0 => at.base_lr,
            step if step > self.total_iters => at.lr,
            step => at.lr * (left(step) / left(step - 1)).powf(self.power),
        })
    }
}

/// A function of the number of steps.
type Factor = Box<dyn Fn(u64) -> f64 + Send + Sync>;

/// One function for all groups, or one for each.
struct Factors(Vec<Factor>);

impl Factors {
    fn of(&self, group: usize, step: u64) -> f64 {
        let one = if self.0.len() == 1 { self.0.first() } else { self.0.get(group) };
        one.map_or(f64::NAN, |factor| factor(step))
    }

    fn check(&self, schedule: &str, groups: usize) -> Result<()> {
        let what = || format!("{schedule}: {} functions for {groups} groups", self.0.len());
        ensure(self.0.len() == 1 || self.0.len() == groups, what, "one function, or one for each group")
    }
}

impl fmt::Debug for Factors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} functions", self.0.len())
    }
}

/// The optimizer's rate times a function of the number of steps. Torch's `LambdaLR`.
///
/// ```
/// use limpid::prelude::*;
/// let mut sgd = SGD::new(&Linear::new(1, 1)).lr(1.0);
/// let mut schedule = LrScheduler::new(LambdaLR::new(|step| 0.5f64.powi(step as i32)));
/// schedule.step(&mut sgd)?;
/// schedule.step(&mut sgd)?;
/// assert_eq!(sgd.rates(), [0.25]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Debug)]
pub struct LambdaLR(Factors);

impl LambdaLR {
    /// The same function for all groups.
    pub fn new(factor: impl Fn(u64) -> f64 + Send + Sync + 'static) -> LambdaLR {
        LambdaLR(Factors(vec![Box::new(factor)]))
    }

    /// A function for each group.
    pub fn per_group(factors: Vec<Box<dyn Fn(u64) -> f64 + Send + Sync>>) -> LambdaLR {
        LambdaLR(Factors(factors))
    }
}

impl Schedule for LambdaLR {
    fn lr(&self, at: &At) -> Result<f64> {
        Ok(at.base_lr * self.0.of(at.group, at.step))
    }

    fn check(&self, groups: usize) -> Result<()> {
        self.0.check("LambdaLR", groups)
    }
}

/// The rate of now times a function of the number of steps. Torch's `MultiplicativeLR`.
#[derive(Debug)]
pub struct MultiplicativeLR(Factors);

impl MultiplicativeLR {
    /// The same function for all groups.
    pub fn new(factor: impl Fn(u64) -> f64 + Send + Sync + 'static) -> MultiplicativeLR {
        MultiplicativeLR(Factors(vec![Box::new(factor)]))
    }

    /// A function for each group.
    pub fn per_group(factors: Vec<Box<dyn Fn(u64) -> f64 + Send + Sync>>) -> MultiplicativeLR {
        MultiplicativeLR(Factors(factors))
    }
}

impl Schedule for MultiplicativeLR {
    fn lr(&self, at: &At) -> Result<f64> {
        Ok(if at.begin { at.lr } else { at.lr * self.0.of(at.group, at.step) })
    }

    fn check(&self, groups: usize) -> Result<()> {
        self.0.check("MultiplicativeLR", groups)
    }
}
