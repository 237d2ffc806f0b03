//! Learning rates over time.

use limpid_core::Result;

use crate::optim::Optimizer;

/// A factor of the learning rate as a function of the number of steps: what a schedule is.
pub trait Schedule: std::fmt::Debug {
    /// The factor after `step` steps.
    fn factor(&self, step: u64, base_lr: f64) -> f64;
}

/// Times `gamma` every `step_size` steps. Torch's `StepLR`.
#[derive(Clone, Debug)]
pub struct StepLR {
    /// Steps between two changes.
    pub step_size: u64,
    /// The factor of each change.
    pub gamma: f64,
}

impl Schedule for StepLR {
    fn factor(&self, step: u64, _base_lr: f64) -> f64 {
        self.gamma.powi((step / self.step_size.max(1)) as i32)
    }
}

/// Half a cosine from the rate down to `eta_min` over `t_max` steps. Torch's `CosineAnnealingLR`.
#[derive(Clone, Debug)]
pub struct CosineAnnealingLR {
    /// Number of steps.
    pub t_max: u64,
    /// The rate at the end.
    pub eta_min: f64,
}

impl Schedule for CosineAnnealingLR {
    fn factor(&self, step: u64, base_lr: f64) -> f64 {
        if base_lr == 0.0 {
            return 0.0;
        }
        let turn = std::f64::consts::PI * step as f64 / self.t_max.max(1) as f64;
        (self.eta_min + (base_lr - self.eta_min) * (1.0 + turn.cos()) / 2.0) / base_lr
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

impl Schedule for LinearLR {
    fn factor(&self, step: u64, _base_lr: f64) -> f64 {
        let part = (step as f64 / self.total_iters.max(1) as f64).min(1.0);
        self.start_factor + (self.end_factor - self.start_factor) * part
    }
}

/// One schedule after the other; each counts its own steps. Torch's `SequentialLR`.
#[derive(Debug)]
pub struct SequentialLR {
    /// The schedules.
    pub schedules: Vec<Box<dyn Schedule>>,
    /// At which step the next one begins.
    pub milestones: Vec<u64>,
}

impl Schedule for SequentialLR {
    fn factor(&self, step: u64, base_lr: f64) -> f64 {
        let passed = self.milestones.iter().filter(|&&m| step >= m).count();
        let begin = if passed == 0 { 0 } else { self.milestones[passed - 1] };
        self.schedules.get(passed).or(self.schedules.last()).map_or(1.0, |s| s.factor(step - begin, base_lr))
    }
}

/// A schedule at work: sets the rates of an optimizer.
///
/// ```
/// use limpid::prelude::*;
/// let model = Linear::new(2, 1);
/// let mut sgd = SGD::new(&model).lr(1.0);
/// let mut schedule = LrScheduler::new(StepLR { step_size: 2, gamma: 0.1 });
/// let mut rates = Vec::new();
/// for _ in 0..4 {
///     rates.push(sgd.rates()[0]);
///     schedule.step(&mut sgd)?;
/// }
/// assert_eq!(rates, [1.0, 1.0, 0.1, 0.1]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Debug)]
pub struct LrScheduler {
    schedule: Box<dyn Schedule>,
    steps: u64,
}

impl LrScheduler {
    /// `schedule` from its beginning.
    pub fn new(schedule: impl Schedule + 'static) -> LrScheduler {
        LrScheduler { schedule: Box::new(schedule), steps: 0 }
    }

    /// Sets the rates for the first step: needed for a warm-up that begins below the rate.
    pub fn start(&self, optimizer: &mut impl Optimizer) -> Result<()> {
        self.set(optimizer)
    }

    /// Goes on by one step, and sets the rates.
    pub fn step(&mut self, optimizer: &mut impl Optimizer) -> Result<()> {
        self.steps += 1;
        self.set(optimizer)
    }

    fn set(&self, optimizer: &mut impl Optimizer) -> Result<()> {
        let base = optimizer.core().0.base_rates();
        let rates: Vec<f64> = base.iter().map(|&lr| lr * self.schedule.factor(self.steps, lr)).collect();
        optimizer.core_mut().0.set_rates(&rates)
    }

    /// Number of steps so far: what a checkpoint keeps.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Goes on from `steps`.
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }
}
