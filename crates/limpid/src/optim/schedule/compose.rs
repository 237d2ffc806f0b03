//! Schedules made of others.

use limpid_core::Result;

use super::{At, Schedule, ensure};

/// One schedule after the other; each counts its own steps. Torch's `SequentialLR`.
#[derive(Debug)]
pub struct SequentialLR {
    /// The schedules.
    pub schedules: Vec<Box<dyn Schedule>>,
    /// At which step the next one begins.
    pub milestones: Vec<u64>,
}

impl SequentialLR {
    /// `schedules`, of which the next one begins at each of the `milestones`.
    pub fn new(schedules: Vec<Box<dyn Schedule>>, milestones: impl Into<Vec<u64>>) -> SequentialLR {
        SequentialLR { schedules, milestones: milestones.into() }
    }

    /// The schedule at work, and what it is asked.
    fn now(&self, at: &At) -> Option<(&dyn Schedule, At)> {
        let passed = self.milestones.iter().filter(|&&m| at.step >= m).count();
        let begin = passed.checked_sub(1).map_or(0, |last| self.milestones[last]);
        Some((self.schedules.get(passed)?.as_ref(), At { step: at.step - begin, ..*at }))
    }
}

impl Schedule for SequentialLR {
    fn lr(&self, at: &At) -> Result<f64> {
        self.now(at).map_or(Ok(at.lr), |(schedule, at)| schedule.lr(&at))
    }

    fn momentum(&self, at: &At) -> Result<Option<f64>> {
        self.now(at).map_or(Ok(None), |(schedule, at)| schedule.momentum(&at))
    }

    fn check(&self, groups: usize) -> Result<()> {
        let (schedules, milestones) = (self.schedules.len(), self.milestones.len());
        let what = || format!("SequentialLR: {schedules} schedules and {milestones} milestones");
        ensure(schedules == milestones + 1, what, "one schedule more than milestones")?;
        let what = || format!("SequentialLR: the milestones {:?} do not rise", self.milestones);
        ensure(self.milestones.is_sorted(), what, "milestones in rising order")?;
        self.schedules.iter().try_for_each(|schedule| schedule.check(groups))
    }
}

/// Several schedules at once: each goes on from the rate that the one before it set. Torch's `ChainedScheduler`.
#[derive(Debug)]
pub struct ChainedScheduler {
    /// The schedules.
    pub schedules: Vec<Box<dyn Schedule>>,
}

impl ChainedScheduler {
    /// All of `schedules` at every step.
    pub fn new(schedules: Vec<Box<dyn Schedule>>) -> ChainedScheduler {
        ChainedScheduler { schedules }
    }
}

impl Schedule for ChainedScheduler {
    fn lr(&self, at: &At) -> Result<f64> {
        self.schedules.iter().try_fold(at.lr, |lr, schedule| schedule.lr(&At { lr, ..*at }))
    }

    fn momentum(&self, at: &At) -> Result<Option<f64>> {
        let mut last = None;
        for schedule in &self.schedules {
            last = schedule.momentum(at)?.or(last);
        }
        Ok(last)
    }

    fn check(&self, groups: usize) -> Result<()> {
        let what = || "ChainedScheduler: there is no schedule".to_owned();
        ensure(!self.schedules.is_empty(), what, "at least one schedule")?;
        self.schedules.iter().try_for_each(|schedule| schedule.check(groups))
    }
}
