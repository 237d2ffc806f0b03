//! A rate that falls when a measure no longer improves.

use std::panic::Location;

use limpid_core::{Result, Tensor};

use super::{PerGroup, ensure, number};
use crate::optim::Optimizer;
use crate::optim::optimizer::located;
use crate::state::StateDict;

/// Times `factor` when the measure has not become better for more than `patience` steps. Torch's `ReduceLROnPlateau`.
///
/// ```
/// use limpid::prelude::*;
/// let mut sgd = SGD::new(&Linear::new(1, 1)).lr(1.0);
/// let mut plateau = ReduceLROnPlateau::new().factor(0.5).patience(1);
/// for loss in [1.0, 0.9, 0.9, 0.9] {
///     plateau.step(loss, &mut sgd)?;
/// }
/// assert_eq!(sgd.rates(), [0.5]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReduceLROnPlateau {
    mode: String,
    factor: f64,
    patience: u64,
    threshold: f64,
    threshold_mode: String,
    cooldown: u64,
    min_lr: PerGroup,
    eps: f64,
    best: Option<f64>,
    bad: u64,
    cooling: u64,
    steps: u64,
}

impl Default for ReduceLROnPlateau {
    fn default() -> ReduceLROnPlateau {
        ReduceLROnPlateau::new()
    }
}

impl ReduceLROnPlateau {
    /// With torch's defaults: a tenth of the rate after 10 steps without a smaller measure.
    pub fn new() -> ReduceLROnPlateau {
        ReduceLROnPlateau {
            mode: "min".to_owned(),
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: "rel".to_owned(),
            cooldown: 0,
            min_lr: 0.0.into(),
            eps: 1e-8,
            best: None,
            bad: 0,
            cooling: 0,
            steps: 0,
        }
    }

    /// Whether smaller (`"min"`) or larger (`"max"`) is better.
    pub fn mode(self, mode: &str) -> ReduceLROnPlateau {
        ReduceLROnPlateau { mode: mode.to_owned(), ..self }
    }

    /// The factor of each change, below 1.
    pub fn factor(self, factor: f64) -> ReduceLROnPlateau {
        ReduceLROnPlateau { factor, ..self }
    }

    /// So many steps without improvement are tolerated.
    pub fn patience(self, steps: u64) -> ReduceLROnPlateau {
        ReduceLROnPlateau { patience: steps, ..self }
    }

    /// Only what is better by this counts.
    pub fn threshold(self, threshold: f64) -> ReduceLROnPlateau {
        ReduceLROnPlateau { threshold, ..self }
    }

    /// Whether the threshold is a part of the best measure (`"rel"`) or a difference to it (`"abs"`).
    pub fn threshold_mode(self, mode: &str) -> ReduceLROnPlateau {
        ReduceLROnPlateau { threshold_mode: mode.to_owned(), ..self }
    }

    /// So many steps after a change are not counted.
    pub fn cooldown(self, steps: u64) -> ReduceLROnPlateau {
        ReduceLROnPlateau { cooldown: steps, ..self }
    }

    /// The rate never falls below this.
    pub fn min_lr(self, rate: impl Into<PerGroup>) -> ReduceLROnPlateau {
        ReduceLROnPlateau { min_lr: rate.into(), ..self }
    }

    /// A change of the rate by no more than this is not made.
    pub fn eps(self, eps: f64) -> ReduceLROnPlateau {
        ReduceLROnPlateau { eps, ..self }
    }

    fn check(&self, groups: usize) -> Result<()> {
        let (factor, mode) = (self.factor, &self.mode);
        ensure(factor < 1.0, || format!("ReduceLROnPlateau: the factor is {factor}"), "a factor below 1")?;
        let what = || format!("ReduceLROnPlateau: there is no mode {mode:?}");
        ensure(["min", "max"].contains(&&mode[..]), what, "\"min\" or \"max\"")?;
        let what = || format!("ReduceLROnPlateau: there is no threshold_mode {:?}", self.threshold_mode);
        ensure(["rel", "abs"].contains(&&self.threshold_mode[..]), what, "\"rel\" or \"abs\"")?;
        self.min_lr.check("ReduceLROnPlateau", "min_lr", groups)
    }

    fn is_better(&self, metric: f64) -> bool {
        let smaller = self.mode == "min";
        let Some(best) = self.best else {
            return if smaller { metric < f64::INFINITY } else { metric > f64::NEG_INFINITY };
        };
        match (smaller, self.threshold_mode == "rel") {
            (true, true) => metric < best * (1.0 - self.threshold),
            (true, false) => metric < best - self.threshold,
            (false, true) => metric > best * (self.threshold + 1.0),
            (false, false) => metric > best + self.threshold,
        }
    }

    /// Takes the measure of a step, and lowers the rates where it has been bad for too long.
    ///
    /// # Errors
    /// Options that it can not have.
    #[track_caller]
    pub fn step(&mut self, metric: f64, optimizer: &mut (impl Optimizer + ?Sized)) -> Result<()> {
        let here = Location::caller();
        let rates = optimizer.rates();
        located(self.check(rates.len()), here)?;
        self.steps += 1;
        if self.is_better(metric) {
            (self.best, self.bad) = (Some(metric), 0);
        } else {
            self.bad += 1;
        }
        if self.cooling > 0 {
            (self.cooling, self.bad) = (self.cooling - 1, 0);
        }
        if self.bad <= self.patience {
            return Ok(());
        }
        (self.cooling, self.bad) = (self.cooldown, 0);
        let lower = |(group, lr): (usize, f64)| {
            let new = (lr * self.factor).max(self.min_lr.of(group));
            if lr - new > self.eps { new } else { lr }
        };
        let rates: Vec<f64> = rates.into_iter().enumerate().map(lower).collect();
        located(optimizer.core_mut().0.set_rates(&rates), here)
    }

    /// Number of steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What a checkpoint keeps beside the optimizer's state, by torch's names.
    pub fn state_dict(&self) -> StateDict {
        let worst = if self.mode == "max" { f64::NEG_INFINITY } else { f64::INFINITY };
        let mut state = StateDict::new();
        state.insert("best", Tensor::from(self.best.unwrap_or(worst)));
        for (name, count) in self.counts() {
            state.insert(name, Tensor::from(count as i64));
        }
        state
    }

    fn counts(&self) -> [(&'static str, u64); 3] {
        [("num_bad_epochs", self.bad), ("cooldown_counter", self.cooling), ("last_epoch", self.steps)]
    }

    /// Goes on from what [`ReduceLROnPlateau::state_dict`] returned.
    ///
    /// # Errors
    /// When an entry is missing.
    pub fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        let best = number(state, "best")?.item()?;
        let count = |name: &str| Ok(u64::try_from(number(state, name)?.item_i64()?).unwrap_or(0));
        let [bad, cooling, steps] = [count("num_bad_epochs")?, count("cooldown_counter")?, count("last_epoch")?];
        (self.best, self.bad, self.cooling, self.steps) = (best.is_finite().then_some(best), bad, cooling, steps);
        Ok(())
    }
}
