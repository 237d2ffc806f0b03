//! Schedules that go up and down, and turn the momentum the other way (Smith 2015, 2017).

use std::f64::consts::PI;
use std::fmt;

use limpid_core::{Error, Result};

use super::cosine::{is_linear, known_strategy};
use super::{At, PerGroup, Schedule, ensure};

/// The height of a cycle as a function of its number or of the step.
struct Scale(Box<dyn Fn(f64) -> f64 + Send + Sync>);

impl fmt::Debug for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

/// The rate goes from `base_lr` up to `max_lr` and back, again and again, and the momentum from `max_momentum` down to
/// `base_momentum` and back. Torch's `CyclicLR`.
///
/// Modes: `"triangular"` all cycles alike, `"triangular2"` each half as high as the one before, `"exp_range"` the height
/// times gamma^step.
#[derive(Debug)]
pub struct CyclicLR {
    base_lr: PerGroup,
    max_lr: PerGroup,
    step_size_up: u64,
    step_size_down: Option<u64>,
    mode: String,
    gamma: f64,
    scale_fn: Option<Scale>,
    scale_mode: String,
    cycle_momentum: bool,
    base_momentum: PerGroup,
    max_momentum: PerGroup,
}

impl CyclicLR {
    /// Between these rates, 2000 steps up and as many down.
    pub fn new(base_lr: impl Into<PerGroup>, max_lr: impl Into<PerGroup>) -> CyclicLR {
        CyclicLR {
            base_lr: base_lr.into(),
            max_lr: max_lr.into(),
            step_size_up: 2000,
            step_size_down: None,
            mode: "triangular".to_owned(),
            gamma: 1.0,
            scale_fn: None,
            scale_mode: "cycle".to_owned(),
            cycle_momentum: true,
            base_momentum: 0.8.into(),
            max_momentum: 0.9.into(),
        }
    }

    /// Steps from the lowest rate to the highest.
    pub fn step_size_up(self, steps: u64) -> CyclicLR {
        CyclicLR { step_size_up: steps, ..self }
    }

    /// Steps from the highest rate to the lowest (default: as many as up).
    pub fn step_size_down(self, steps: u64) -> CyclicLR {
        CyclicLR { step_size_down: Some(steps), ..self }
    }

    /// `"triangular"`, `"triangular2"` or `"exp_range"`.
    pub fn mode(self, mode: &str) -> CyclicLR {
        CyclicLR { mode: mode.to_owned(), ..self }
    }

    /// The base of `"exp_range"`.
    pub fn gamma(self, gamma: f64) -> CyclicLR {
        CyclicLR { gamma, ..self }
    }

    /// The height as a function, instead of a mode.
    pub fn scale_fn(self, scale: impl Fn(f64) -> f64 + Send + Sync + 'static) -> CyclicLR {
        CyclicLR { scale_fn: Some(Scale(Box::new(scale))), ..self }
    }

    /// What that function is of: the number of the cycle from 1 (`"cycle"`), or of the step (`"iterations"`).
    pub fn scale_mode(self, mode: &str) -> CyclicLR {
        CyclicLR { scale_mode: mode.to_owned(), ..self }
    }

    /// Whether the momentum cycles too (default: yes); the optimizer must have momentum or betas then.
    pub fn cycle_momentum(self, cycle: bool) -> CyclicLR {
        CyclicLR { cycle_momentum: cycle, ..self }
    }

    /// The lowest momentum, at the highest rate.
    pub fn base_momentum(self, momentum: impl Into<PerGroup>) -> CyclicLR {
        CyclicLR { base_momentum: momentum.into(), ..self }
    }

    /// The highest momentum, at the lowest rate.
    pub fn max_momentum(self, momentum: impl Into<PerGroup>) -> CyclicLR {
        CyclicLR { max_momentum: momentum.into(), ..self }
    }

    fn sizes(&self) -> (f64, f64) {
        (self.step_size_up as f64, self.step_size_down.unwrap_or(self.step_size_up) as f64)
    }

    /// How far up the cycle is at this step, times the cycle's height.
    fn height(&self, step: u64) -> f64 {
        let (up, down) = self.sizes();
        let (total, ratio, step) = (up + down, up / (up + down), step as f64);
        let cycle = (1.0 + step / total).floor();
        let x = 1.0 + step / total - cycle;
        let along = if x <= ratio { x / ratio } else { (x - 1.0) / (ratio - 1.0) };
        let scale = match (&self.scale_fn, &self.mode[..]) {
            (Some(Scale(scale)), _) => scale(if self.scale_mode == "cycle" { cycle } else { step }),
            (None, "triangular2") => 1.0 / 2f64.powf(cycle - 1.0),
            (None, "exp_range") => self.gamma.powf(step),
            (None, _) => 1.0,
        };
        along * scale
    }
}

impl Schedule for CyclicLR {
    fn lr(&self, at: &At) -> Result<f64> {
        let (low, high) = (self.base_lr.of(at.group), self.max_lr.of(at.group));
        Ok(low + (high - low) * self.height(at.step))
    }

    fn momentum(&self, at: &At) -> Result<Option<f64>> {
        let (low, high) = (self.base_momentum.of(at.group), self.max_momentum.of(at.group));
        Ok(self.cycle_momentum.then(|| high - (high - low) * self.height(at.step)))
    }

    fn check(&self, groups: usize) -> Result<()> {
        let known = self.scale_fn.is_some() || ["triangular", "triangular2", "exp_range"].contains(&&self.mode[..]);
        let help = "\"triangular\", \"triangular2\", \"exp_range\", or a scale_fn";
        ensure(known, || format!("CyclicLR: there is no mode {:?}", self.mode), help)?;
        let known = ["cycle", "iterations"].contains(&&self.scale_mode[..]);
        let what = || format!("CyclicLR: there is no scale_mode {:?}", self.scale_mode);
        ensure(known, what, "\"cycle\" or \"iterations\"")?;
        let (up, down) = self.sizes();
        let what = || format!("CyclicLR: a cycle of {up} steps up and {down} down");
        ensure(up > 0.0 && down > 0.0, what, "at least one step each way")?;
        let all = [
            ("base_lr", &self.base_lr),
            ("max_lr", &self.max_lr),
            ("base_momentum", &self.base_momentum),
            ("max_momentum", &self.max_momentum),
        ];
        all.iter().try_for_each(|(name, values)| values.check("CyclicLR", name, groups))
    }
}

/// One cycle for the whole training: from max_lr/div_factor up to `max_lr`, and down to a tiny part of it; the momentum
/// goes the other way. Torch's `OneCycleLR`, stepped after every batch.
#[derive(Clone, Debug)]
pub struct OneCycleLR {
    max_lr: PerGroup,
    total_steps: Option<u64>,
    epochs: Option<u64>,
    steps_per_epoch: Option<u64>,
    pct_start: f64,
    linear: Result<bool, String>,
    cycle_momentum: bool,
    base_momentum: PerGroup,
    max_momentum: PerGroup,
    div_factor: f64,
    final_div_factor: f64,
    three_phase: bool,
}

impl OneCycleLR {
    /// Up to this rate. How long must be said too: by [`OneCycleLR::total_steps`], or epochs and steps of each.
    pub fn new(max_lr: impl Into<PerGroup>) -> OneCycleLR {
        OneCycleLR {
            max_lr: max_lr.into(),
            total_steps: None,
            epochs: None,
            steps_per_epoch: None,
            pct_start: 0.3,
            linear: Ok(false),
            cycle_momentum: true,
            base_momentum: 0.85.into(),
            max_momentum: 0.95.into(),
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }

    /// The number of steps.
    pub fn total_steps(self, steps: u64) -> OneCycleLR {
        OneCycleLR { total_steps: Some(steps), ..self }
    }

    /// The number of epochs, together with [`OneCycleLR::steps_per_epoch`].
    pub fn epochs(self, epochs: u64) -> OneCycleLR {
        OneCycleLR { epochs: Some(epochs), ..self }
    }

    /// The number of steps of an epoch.
    pub fn steps_per_epoch(self, steps: u64) -> OneCycleLR {
        OneCycleLR { steps_per_epoch: Some(steps), ..self }
    }

    /// The part of the steps that goes up (default: 0.3).
    pub fn pct_start(self, part: f64) -> OneCycleLR {
        OneCycleLR { pct_start: part, ..self }
    }

    /// Along a cosine (`"cos"`, the default) or a line (`"linear"`).
    pub fn anneal_strategy(self, strategy: &str) -> OneCycleLR {
        OneCycleLR { linear: is_linear(strategy), ..self }
    }

    /// Whether the momentum cycles too (default: yes); the optimizer must have momentum or betas then.
    pub fn cycle_momentum(self, cycle: bool) -> OneCycleLR {
        OneCycleLR { cycle_momentum: cycle, ..self }
    }

    /// The lowest momentum (default: 0.85).
    pub fn base_momentum(self, momentum: impl Into<PerGroup>) -> OneCycleLR {
        OneCycleLR { base_momentum: momentum.into(), ..self }
    }

    /// The highest momentum (default: 0.95).
    pub fn max_momentum(self, momentum: impl Into<PerGroup>) -> OneCycleLR {
        OneCycleLR { max_momentum: momentum.into(), ..self }
    }

    /// The first rate is max_lr/div_factor (default: 25).
    pub fn div_factor(self, factor: f64) -> OneCycleLR {
        OneCycleLR { div_factor: factor, ..self }
    }

    /// The last rate is the first one through this (default: 1e4).
    pub fn final_div_factor(self, factor: f64) -> OneCycleLR {
        OneCycleLR { final_div_factor: factor, ..self }
    }

    /// Whether it goes down as long as it went up, and only then to the last rate.
    pub fn three_phase(self, three: bool) -> OneCycleLR {
        OneCycleLR { three_phase: three, ..self }
    }

    fn steps(&self) -> Result<u64> {
        let product = || self.epochs?.checked_mul(self.steps_per_epoch?);
        let steps = self.total_steps.or_else(product).unwrap_or(0);
        let what = || "OneCycleLR: the number of steps is not given, or 0".to_owned();
        ensure(steps > 0, what, "total_steps(n), or epochs(n) and steps_per_epoch(n)")?;
        Ok(steps)
    }

    /// A value at a step, of the three that it moves between: first, at the height, last.
    fn along(&self, step: u64, [first, height, last]: [f64; 3]) -> Result<f64> {
        let total = self.steps()?;
        if step > total {
            return Err(Error::new(format!("OneCycleLR: step {step} of {total}")).help("more total_steps"));
        }
        let (part, end) = (self.pct_start * total as f64, (total - 1) as f64);
        let mut phases = vec![(part - 1.0, first, height)];
        if self.three_phase {
            phases.extend([(2.0 * part - 2.0, height, first), (end, first, last)]);
        } else {
            phases.push((end, height, last));
        }
        let (step, mut begin) = (step as f64, 0.0);
        let ends = phases.len() - 1;
        for (i, (end, from, to)) in phases.into_iter().enumerate() {
            if step > end && i < ends {
                begin = end;
                continue;
            }
            let t = (step - begin) / (end - begin);
            let cosine = || to + (from - to) / 2.0 * ((PI * t).cos() + 1.0);
            return Ok(if self.linear == Ok(true) { (to - from) * t + from } else { cosine() });
        }
        Ok(last)
    }
}

impl Schedule for OneCycleLR {
    fn lr(&self, at: &At) -> Result<f64> {
        let height = self.max_lr.of(at.group);
        let first = height / self.div_factor;
        self.along(at.step, [first, height, first / self.final_div_factor])
    }

    fn momentum(&self, at: &At) -> Result<Option<f64>> {
        let (low, high) = (self.base_momentum.of(at.group), self.max_momentum.of(at.group));
        if self.cycle_momentum { self.along(at.step, [high, low, high]).map(Some) } else { Ok(None) }
    }

    fn check(&self, groups: usize) -> Result<()> {
        self.steps()?;
        let what = || format!("OneCycleLR: pct_start is {}", self.pct_start);
        ensure((0.0..=1.0).contains(&self.pct_start), what, "a part from 0 to 1")?;
        known_strategy("OneCycleLR", &self.linear)?;
        let all =
            [("max_lr", &self.max_lr), ("base_momentum", &self.base_momentum), ("max_momentum", &self.max_momentum)];
        all.iter().try_for_each(|(name, values)| values.check("OneCycleLR", name, groups))
    }
}
