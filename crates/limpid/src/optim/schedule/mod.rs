//! Learning rates over time: torch's `optim.lr_scheduler`.

mod compose;
mod cosine;
mod cyclic;
mod plateau;
mod simple;

pub use compose::{ChainedScheduler, SequentialLR};
pub use cosine::{CosineAnnealingLR, CosineAnnealingWarmRestarts, SWALR};
pub use cyclic::{CyclicLR, OneCycleLR};
pub use plateau::ReduceLROnPlateau;
pub use simple::{ConstantLR, ExponentialLR, LambdaLR, LinearLR, MultiStepLR, MultiplicativeLR, PolynomialLR, StepLR};

use std::panic::Location;

use limpid_core::{Error, Result, Tensor};

use crate::optim::Optimizer;
use crate::optim::optimizer::located;
use crate::state::StateDict;

/// What a schedule is asked: the rate of one group after `step` steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At {
    /// Number of steps so far; 0 asks for the rate of the first step.
    pub step: u64,
    /// Whether no rate has been set yet. Step 0 without this is a schedule that begins when others have run.
    pub begin: bool,
    /// The rate of now.
    pub lr: f64,
    /// The rate that the optimizer was given.
    pub base_lr: f64,
    /// The number of the group.
    pub group: usize,
}

/// How a learning rate changes from step to step. As in torch the next rate is computed from the one of now, so that
/// schedules can be chained, and a rate set by hand is where they go on.
pub trait Schedule: std::fmt::Debug + Send + Sync {
    /// The rate.
    ///
    /// # Errors
    /// When there is none at this step.
    fn lr(&self, at: &At) -> Result<f64>;

    /// The momentum (or first beta), where the schedule sets one.
    ///
    /// # Errors
    /// As [`Schedule::lr`].
    fn momentum(&self, _at: &At) -> Result<Option<f64>> {
        Ok(None)
    }

    /// Refuses options that can not be, for an optimizer of this many groups.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self, _groups: usize) -> Result<()> {
        Ok(())
    }
}

impl<S: Schedule + ?Sized> Schedule for Box<S> {
    fn lr(&self, at: &At) -> Result<f64> {
        (**self).lr(at)
    }
    fn momentum(&self, at: &At) -> Result<Option<f64>> {
        (**self).momentum(at)
    }
    fn check(&self, groups: usize) -> Result<()> {
        (**self).check(groups)
    }
}

/// One number for all groups, or one for each.
#[derive(Clone, Debug, PartialEq)]
pub struct PerGroup(Vec<f64>);

impl From<f64> for PerGroup {
    fn from(number: f64) -> PerGroup {
        PerGroup(vec![number])
    }
}

impl From<Vec<f64>> for PerGroup {
    fn from(numbers: Vec<f64>) -> PerGroup {
        PerGroup(numbers)
    }
}

impl<const N: usize> From<[f64; N]> for PerGroup {
    fn from(numbers: [f64; N]) -> PerGroup {
        PerGroup(numbers.to_vec())
    }
}

impl PerGroup {
    /// The number of a group, after [`PerGroup::check`].
    fn of(&self, group: usize) -> f64 {
        let same = self.0.first().copied().unwrap_or(f64::NAN);
        if self.0.len() > 1 { self.0.get(group).copied().unwrap_or(f64::NAN) } else { same }
    }

    fn check(&self, schedule: &str, name: &str, groups: usize) -> Result<()> {
        if self.0.len() == 1 || self.0.len() == groups {
            return Ok(());
        }
        let what = format!("{schedule}: {name} has {} values, the optimizer {groups} groups", self.0.len());
        Err(Error::new(what).help("one number, or one for each group"))
    }
}

/// An error of a schedule, where `holds` does not.
fn ensure(holds: bool, what: impl FnOnce() -> String, help: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::new(what()).help(help)) }
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
    /// None: no rate has been set yet.
    steps: Option<u64>,
}

impl LrScheduler {
    /// `schedule` from its beginning.
    pub fn new(schedule: impl Schedule + 'static) -> LrScheduler {
        LrScheduler { schedule: Box::new(schedule), steps: None }
    }

    /// Sets the rates for the first step, as torch's constructor does: needed for a schedule that does not begin at the
    /// optimizer's rate.
    ///
    /// # Errors
    /// Options that the schedule can not have.
    #[track_caller]
    pub fn start(&mut self, optimizer: &mut (impl Optimizer + ?Sized)) -> Result<()> {
        let here = Location::caller();
        self.steps = None;
        located(self.set(0, true, optimizer), here)?;
        self.steps = Some(0);
        Ok(())
    }

    /// Goes on by one step, and sets the rates: after the optimizer's step.
    ///
    /// # Errors
    /// Options that the schedule can not have, or a step beyond its last.
    #[track_caller]
    pub fn step(&mut self, optimizer: &mut (impl Optimizer + ?Sized)) -> Result<()> {
        let here = Location::caller();
        if self.steps.is_none() {
            located(self.set(0, true, optimizer), here)?;
        }
        let step = self.steps().saturating_add(1);
        self.steps.get_or_insert(0);
        located(self.set(step, false, optimizer), here)?;
        self.steps = Some(step);
        Ok(())
    }

    fn set(&self, step: u64, begin: bool, optimizer: &mut (impl Optimizer + ?Sized)) -> Result<()> {
        let core = &mut optimizer.core_mut().0;
        let (rates, base) = (core.rates(), core.base_rates());
        self.schedule.check(rates.len())?;
        let (mut next, mut momenta) = (Vec::new(), Vec::new());
        for (group, (lr, base_lr)) in rates.into_iter().zip(base).enumerate() {
            let at = At { step, begin, lr, base_lr, group };
            next.push(self.schedule.lr(&at)?);
            momenta.push(self.schedule.momentum(&at)?);
        }
        for (group, momentum) in momenta.into_iter().enumerate() {
            momentum.map_or(Ok(()), |momentum| core.set_momentum(group, momentum))?;
        }
        core.set_rates(&next)
    }

    /// Number of steps so far.
    pub fn steps(&self) -> u64 {
        self.steps.unwrap_or(0)
    }

    /// Goes on from `steps`, with the rates that the optimizer has: those of its own state.
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = Some(steps);
    }

    /// What a checkpoint keeps beside the optimizer's state, in which the rates are: `last_epoch`, the number of steps,
    /// −1 before the first rate was set.
    pub fn state_dict(&self) -> StateDict {
        let mut state = StateDict::new();
        state.insert("last_epoch", Tensor::from(self.steps.map_or(-1, |steps| steps as i64)));
        state
    }

    /// Goes on from what [`LrScheduler::state_dict`] returned.
    ///
    /// # Errors
    /// When `last_epoch` is missing.
    pub fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        self.steps = u64::try_from(number(state, "last_epoch")?.item_i64()?).ok();
        Ok(())
    }
}

/// An entry of a schedule's state.
fn number<'a>(state: &'a StateDict, name: &str) -> Result<&'a Tensor> {
    state.get(name).ok_or_else(|| Error::new(format!("schedule: {name} is missing in the state")))
}
