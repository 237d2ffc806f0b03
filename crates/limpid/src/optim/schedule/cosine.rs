//! Schedules along a cosine.

use std::f64::consts::PI;

use limpid_core::Result;

use super::{At, PerGroup, Schedule, ensure};

/// Half a cosine from the rate down to `eta_min` over `t_max` steps, and up again after it (Loshchilov, Hutter 2016).
/// Torch's `CosineAnnealingLR`.
#[derive(Clone, Debug)]
pub struct CosineAnnealingLR {
    /// Number of steps.
    pub t_max: u64,
    /// The rate at the end.
    pub eta_min: f64,
}

impl CosineAnnealingLR {
    /// Down to 0.
    pub fn new(t_max: u64) -> CosineAnnealingLR {
        CosineAnnealingLR { t_max, eta_min: 0.0 }
    }

    /// Down to this rate.
    pub fn eta_min(self, eta_min: f64) -> CosineAnnealingLR {
        CosineAnnealingLR { eta_min, ..self }
    }
}

impl Schedule for CosineAnnealingLR {
    fn lr(&self, at: &At) -> Result<f64> {
        let (t, min) = (self.t_max as f64, self.eta_min);
        let height = |step: u64| 1.0 + (PI * step as f64 / t).cos();
        Ok(match at.step {
            0 if at.begin => at.lr,
            0 => at.base_lr,
            // From the lowest point on, where the next factor would be 0/0.
            step if (step - 1) % self.t_max.saturating_mul(2) == self.t_max => {
                at.lr + (at.base_lr - min) * (1.0 - (PI / t).cos()) / 2.0
            }
            step => height(step) / height(step - 1) * (at.lr - min) + min,
        })
    }

    fn check(&self, _groups: usize) -> Result<()> {
        ensure(self.t_max > 0, || "CosineAnnealingLR: t_max is 0".to_owned(), "the number of steps to the lowest rate")
    }
}

/// Half cosines from the rate down to `eta_min`, the first over `t_0` steps, each next one `t_mult` times as long: SGDR
/// (Loshchilov, Hutter 2016). Torch's `CosineAnnealingWarmRestarts`.
#[derive(Clone, Debug)]
pub struct CosineAnnealingWarmRestarts {
    /// Steps of the first cosine.
    pub t_0: u64,
    /// The factor of the next ones' steps.
    pub t_mult: u64,
    /// The rate at the end of each.
    pub eta_min: f64,
}

impl CosineAnnealingWarmRestarts {
    /// Equal cosines down to 0.
    pub fn new(t_0: u64) -> CosineAnnealingWarmRestarts {
        CosineAnnealingWarmRestarts { t_0, t_mult: 1, eta_min: 0.0 }
    }

    /// Each so many times as long as the one before.
    pub fn t_mult(self, t_mult: u64) -> CosineAnnealingWarmRestarts {
        CosineAnnealingWarmRestarts { t_mult, ..self }
    }

    /// Down to this rate.
    pub fn eta_min(self, eta_min: f64) -> CosineAnnealingWarmRestarts {
        CosineAnnealingWarmRestarts { eta_min, ..self }
    }

    /// Steps since the last restart, and from it to the next.
    fn position(&self, step: u64) -> (u64, u64) {
        if self.t_mult == 1 {
            return (step % self.t_0, self.t_0);
        }
        let (mut since, mut length) = (step, self.t_0);
        while since >= length {
            since -= length;
            length = length.saturating_mul(self.t_mult);
        }
        (since, length)
    }
}

impl Schedule for CosineAnnealingWarmRestarts {
    fn lr(&self, at: &At) -> Result<f64> {
        let (since, length) = self.position(at.step);
        let height = 1.0 + (PI * since as f64 / length as f64).cos();
        Ok(self.eta_min + (at.base_lr - self.eta_min) * height / 2.0)
    }

    fn check(&self, _groups: usize) -> Result<()> {
        ensure(self.t_0 > 0, || "CosineAnnealingWarmRestarts: t_0 is 0".to_owned(), "the steps to the first restart")?;
        ensure(self.t_mult > 0, || "CosineAnnealingWarmRestarts: t_mult is 0".to_owned(), "a factor of at least 1")
    }
}

/// From the rate of now to `swa_lr` in `anneal_epochs` steps, where it stays: for averages of weights. Torch's
/// `swa_utils.SWALR`.
#[derive(Clone, Debug)]
pub struct SWALR {
    swa_lr: PerGroup,
    anneal_epochs: u64,
    linear: Result<bool, String>,
}

impl SWALR {
    /// Along a cosine in 10 steps.
    pub fn new(swa_lr: impl Into<PerGroup>) -> SWALR {
        SWALR { swa_lr: swa_lr.into(), anneal_epochs: 10, linear: Ok(false) }
    }

    /// In so many steps.
    pub fn anneal_epochs(self, anneal_epochs: u64) -> SWALR {
        SWALR { anneal_epochs, ..self }
    }

    /// Along a cosine (`"cos"`) or a line (`"linear"`).
    pub fn anneal_strategy(self, strategy: &str) -> SWALR {
        SWALR { linear: is_linear(strategy), ..self }
    }

    /// How much of the way is done after this many steps.
    fn way(&self, step: u64) -> f64 {
        let t = (step as f64 / self.anneal_epochs.max(1) as f64).clamp(0.0, 1.0);
        if self.linear == Ok(true) { t } else { (1.0 - (PI * t).cos()) / 2.0 }
    }
}

impl Schedule for SWALR {
    fn lr(&self, at: &At) -> Result<f64> {
        let to = self.swa_lr.of(at.group);
        let step = if self.anneal_epochs == 0 { at.step.max(1) } else { at.step };
        let (before, now) = (self.way(step.saturating_sub(1)), self.way(step));
        let from = if before == 1.0 { to } else { (at.lr - before * to) / (1.0 - before) };
        Ok(to * now + from * (1.0 - now))
    }

    fn check(&self, groups: usize) -> Result<()> {
        self.swa_lr.check("SWALR", "swa_lr", groups)?;
        known_strategy("SWALR", &self.linear)
    }
}

/// Whether the way is a line, or the word that is no strategy.
pub(super) fn is_linear(strategy: &str) -> Result<bool, String> {
    match strategy {
        "linear" => Ok(true),
        "cos" => Ok(false),
        other => Err(other.to_owned()),
    }
}

pub(super) fn known_strategy(schedule: &str, linear: &Result<bool, String>) -> Result<()> {
    let word = linear.as_ref().err().map_or("", String::as_str);
    let what = || format!("{schedule}: there is no anneal_strategy {word:?}");
    ensure(linear.is_ok(), what, "\"cos\" or \"linear\"")
}
