//! Optimizers: gradients by parameter, and updates that are recorded like everything else.
//!
//! A step records the gradient and every update as assignments and evaluates them with the loss: one plan, in place.
//! Rates and step counts are values of cells, not of the structure, so a schedule makes no new plan.

mod adam;
mod gradients;
mod schedule;
mod sgd;

pub use adam::{Adam, AdamW};
pub use gradients::{Gradients, LossExt};
pub use schedule::{CosineAnnealingLR, LinearLR, LrScheduler, Schedule, SequentialLR, StepLR};
pub use sgd::SGD;

use std::collections::HashSet;
use std::sync::Arc;

use limpid_core::{Assignment, Cell, Error, Result, Tensor, assign_all, origin};

use crate::module::Module;
use crate::param::Parameter;
use crate::state::StateDict;

/// Parameters with a rate and a decay of their own.
#[derive(Clone, Debug)]
pub struct Group {
    names: Vec<String>,
    parameters: Vec<Parameter>,
    lr: f64,
    weight_decay: f64,
}

impl Group {
    /// The parameters of `module`.
    pub fn new<M: Module + ?Sized>(module: &M) -> Group {
        let (names, parameters) = module.named_parameters().into_iter().unzip();
        Group { names, parameters, lr: f64::NAN, weight_decay: f64::NAN }
    }

    /// These parameters.
    pub fn of(parameters: &[Parameter]) -> Group {
        let names = parameters
            .iter()
            .enumerate()
            .map(|(i, p)| p.cell().label().map_or_else(|| i.to_string(), |label| label.to_string()))
            .collect();
        Group { names, parameters: parameters.to_vec(), lr: f64::NAN, weight_decay: f64::NAN }
    }

    /// With its own learning rate, which the optimizer's does not replace.
    pub fn lr(mut self, lr: f64) -> Group {
        self.lr = lr;
        self
    }

    /// With its own weight decay.
    pub fn weight_decay(mut self, decay: f64) -> Group {
        self.weight_decay = decay;
        self
    }
}

/// What all optimizers share: groups, rates, the order of an update.
#[derive(Debug)]
pub(crate) struct Core {
    groups: Vec<Trained>,
    error: Option<Error>,
}

/// A group at work.
#[derive(Debug)]
pub(crate) struct Trained {
    names: Vec<String>,
    parameters: Vec<Parameter>,
    /// f64, shape []: changes without another plan.
    lr: Arc<Cell>,
    base_lr: f64,
    /// Whether the group was given a rate and a decay of its own.
    own: (bool, bool),
    pub(crate) weight_decay: f64,
    /// Values kept for each parameter: made when it is first updated.
    kept: Vec<Vec<Arc<Cell>>>,
}

/// One parameter's update. A rule only collects assignments: they are made together when every rule has run.
pub(crate) struct Update<'a> {
    pub(crate) value: Tensor,
    pub(crate) grad: Tensor,
    /// The rate in the parameter's type.
    pub(crate) lr: Tensor,
    pub(crate) weight_decay: f64,
    kept: &'a [Arc<Cell>],
    assignments: &'a mut Vec<Assignment>,
}

impl Update<'_> {
    /// The n-th kept value.
    pub(crate) fn kept(&self, n: usize) -> Tensor {
        self.kept[n].tensor()
    }

    /// Gives the n-th kept value another one.
    pub(crate) fn keep(&mut self, n: usize, value: &Tensor) {
        let cell = self.kept[n].clone();
        self.assignments.push(Assignment { old: cell.tensor(), cell, new: value.clone() });
    }
}

/// A value that an optimizer keeps for each parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kept {
    /// Shaped as the parameter, zeros in the beginning: its name in a state dict.
    Like(&'static str),
    /// The number of the parameter's updates, f64.
    Steps,
}

impl Kept {
    fn name(self) -> &'static str {
        match self {
            Kept::Like(name) => name,
            Kept::Steps => "step",
        }
    }
}

impl Core {
    pub(crate) fn new(groups: Vec<Group>, lr: f64, weight_decay: f64) -> Core {
        let mut core = Core { groups: Vec::new(), error: None };
        groups.into_iter().for_each(|g| core.add(g, lr, weight_decay));
        core
    }

    pub(crate) fn add(&mut self, group: Group, lr: f64, weight_decay: f64) {
        let mut known: HashSet<u64> = self.groups.iter().flat_map(|g| &g.parameters).map(|p| p.cell().id()).collect();
        for (name, p) in group.names.iter().zip(&group.parameters) {
            if !known.insert(p.cell().id()) {
                let error = Error::new(format!("optimizer: the parameter {name} is in two groups"));
                self.error.get_or_insert(error.help("each parameter in one group"));
            }
        }
        let own = (!group.lr.is_nan(), !group.weight_decay.is_nan());
        let lr = if group.lr.is_nan() { lr } else { group.lr };
        let weight_decay = if group.weight_decay.is_nan() { weight_decay } else { group.weight_decay };
        let kept = group.parameters.iter().map(|_| Vec::new()).collect();
        self.groups.push(Trained {
            names: group.names,
            parameters: group.parameters,
            lr: Cell::new(&Tensor::from(lr), false),
            base_lr: lr,
            own,
            weight_decay,
            kept,
        });
    }

    pub(crate) fn set_all(&mut self, lr: Option<f64>, weight_decay: Option<f64>) {
        for group in &mut self.groups {
            if let Some(lr) = lr.filter(|_| !group.own.0) {
                group.base_lr = lr;
                if let Err(error) = group.lr.set_number(lr) {
                    self.error.get_or_insert(error);
                }
            }
            if let Some(decay) = weight_decay.filter(|_| !group.own.1) {
                group.weight_decay = decay;
            }
        }
    }

    pub(crate) fn rates(&self) -> Vec<f64> {
        self.groups.iter().map(|g| g.lr.value().and_then(|t| t.item()).unwrap_or(g.base_lr)).collect()
    }

    pub(crate) fn base_rates(&self) -> Vec<f64> {
        self.groups.iter().map(|g| g.base_lr).collect()
    }

    pub(crate) fn set_rates(&mut self, rates: &[f64]) -> Result<()> {
        self.groups.iter().zip(rates).try_for_each(|(g, &lr)| g.lr.set_number(lr))
    }

    pub(crate) fn parameters(&self) -> Vec<(String, Parameter)> {
        self.groups.iter().flat_map(|g| g.names.iter().cloned().zip(g.parameters.iter().cloned())).collect()
    }

    /// Whether the groups are in order: asked before anything is recorded.
    pub(crate) fn check(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// Records the update of every parameter that has a gradient. `keeps` is what the rule keeps for each.
    pub(crate) fn record(
        &mut self,
        grads: &Gradients,
        keeps: &[Kept],
        rule: &dyn Fn(&mut Update<'_>) -> Tensor,
    ) -> Result<()> {
        self.check()?;
        let mut assignments: Vec<Assignment> = Vec::new();
        for group in &mut self.groups {
            let lr = group.lr.tensor();
            for (p, kept) in group.parameters.iter().zip(&mut group.kept) {
                let Some(grad) = grads.of(p).filter(|_| p.requires_grad()) else { continue };
                let value = p.tensor();
                if kept.is_empty() {
                    kept.extend(keeps.iter().map(|kind| match kind {
                        Kept::Like(_) => Cell::new(&value.detach().zeros_like(), false),
                        Kept::Steps => Cell::new(&Tensor::from(0.0f64), false),
                    }));
                }
                let lr = lr.to_dtype(value.dtype());
                let weight_decay = group.weight_decay;
                let mut update =
                    Update { value: value.clone(), grad, lr, weight_decay, kept, assignments: &mut assignments };
                let new = rule(&mut update);
                assignments.push(Assignment { cell: p.cell().clone(), old: value, new });
            }
        }
        assign_all(&assignments)
    }

    pub(crate) fn state_dict(&self, keeps: &[Kept]) -> StateDict {
        let mut state = StateDict::new();
        for (i, group) in self.groups.iter().enumerate() {
            state.insert(format!("group.{i}.lr"), limpid_core::fallible(|| group.lr.value()));
            for (name, kept) in group.names.iter().zip(&group.kept) {
                for (cell, what) in kept.iter().zip(keeps) {
                    state.insert(format!("state.{name}.{}", what.name()), limpid_core::fallible(|| cell.value()));
                }
            }
        }
        state
    }

    /// Takes over a state when all of it fits; a parameter that it does not name begins anew.
    pub(crate) fn load_state_dict(&mut self, state: &StateDict, keeps: &[Kept]) -> Result<()> {
        let mut loaded: Vec<Vec<Vec<Arc<Cell>>>> = Vec::new();
        for group in &self.groups {
            let mut cells = Vec::new();
            for (name, p) in group.names.iter().zip(&group.parameters) {
                let found: Vec<Option<&Tensor>> =
                    keeps.iter().map(|kind| state.get(&format!("state.{name}.{}", kind.name()))).collect();
                if found.iter().all(Option::is_none) {
                    cells.push(Vec::new());
                    continue;
                }
                let mut kept = Vec::new();
                for (kind, value) in keeps.iter().zip(found) {
                    let what = kind.name();
                    let value = value.ok_or_else(|| Error::new(format!("optimizer: {what} of {name} is missing")))?;
                    let wanted = if *kind == Kept::Steps { limpid_core::Shape::scalar() } else { p.shape() };
                    if *value.shape() != wanted {
                        let have = value.shape();
                        return Err(Error::new(format!("optimizer: {what} of {name} has shape {have}, not {wanted}")));
                    }
                    kept.push(Cell::new(value, false));
                }
                cells.push(kept);
            }
            loaded.push(cells);
        }
        for (i, (group, kept)) in self.groups.iter_mut().zip(loaded).enumerate() {
            if let Some(lr) = state.get(&format!("group.{i}.lr")) {
                group.lr.set_value(lr)?;
            }
            group.kept = kept;
        }
        Ok(())
    }
}

/// The loss of a step, computed in the step's plan. It need not be used; it reads as the tensor that it is.
#[derive(Clone, Debug)]
pub struct StepLoss(Tensor);

impl std::ops::Deref for StepLoss {
    type Target = Tensor;
    fn deref(&self) -> &Tensor {
        &self.0
    }
}

/// What every optimizer can do.
pub trait Optimizer {
    /// Records the updates for `grads`: they run with the next evaluation.
    #[doc(hidden)]
    fn record(&mut self, grads: &Gradients) -> Result<()>;

    #[doc(hidden)]
    fn core(&self) -> &CoreRef;

    #[doc(hidden)]
    fn core_mut(&mut self) -> &mut CoreRef;

    /// The gradient of `loss` by all parameters, and the update, in one plan. Returns the loss, evaluated.
    ///
    /// One thread at a time steps a parameter. Where two do, each step is made whole or refused with an error; of
    /// several parameters one may be passed by, when its loss was recorded while the other thread's step ran.
    ///
    /// # Errors
    /// What the loss carries, or computing it meets; then parameters and optimizer are what they were.
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let model = Linear::new(1, 1);
    /// let mut adam = Adam::new(&model).lr(0.1);
    /// let loss = model.forward(&Tensor::from([[1.0f32]])).square().sum(..);
    /// println!("{:.4}", adam.step(&loss)?.item()?);
    /// # Ok::<(), limpid::Error>(())
    /// ```
    #[track_caller]
    fn step(&mut self, loss: &Tensor) -> Result<StepLoss> {
        self.core().0.check()?;
        let _scope = enter();
        let parameters = self.core().0.parameters();
        let grads = Gradients::new(loss, parameters)?;
        self.record(&grads)?;
        limpid_core::eval([loss])?;
        Ok(StepLoss(loss.clone()))
    }

    /// The update for `grads`: of several losses, accumulated, clipped.
    #[track_caller]
    fn apply(&mut self, grads: Gradients) -> Result<()> {
        self.core().0.check()?;
        let _scope = enter();
        self.record(&grads)?;
        limpid_core::settle()
    }

    /// [`Optimizer::step`] of what `closure` returns: for optimizers that ask for the loss more than once.
    #[track_caller]
    fn step_with(&mut self, mut closure: impl FnMut() -> Tensor) -> Result<StepLoss>
    where
        Self: Sized,
    {
        self.step(&closure())
    }

    /// Sets the learning rate of all groups. No plan is made anew.
    fn set_lr(&mut self, lr: f64) -> Result<()> {
        let rates = vec![lr; self.core().0.rates().len()];
        self.core_mut().0.set_rates(&rates)
    }

    /// The learning rate of each group.
    fn rates(&self) -> Vec<f64> {
        self.core().0.rates()
    }

    /// Everything that the next step depends on, by name.
    fn state_dict(&self) -> StateDict;

    /// Takes over what [`Optimizer::state_dict`] returned.
    ///
    /// # Errors
    /// When a shape differs.
    fn load_state_dict(&mut self, state: &StateDict) -> Result<()>;
}

/// The shared part, closed to others.
#[derive(Debug)]
pub struct CoreRef(pub(crate) Core);

/// What the update records belongs to the line that asked for the step.
#[track_caller]
fn enter() -> origin::ScopeGuard {
    origin::enter("optimizer".into(), "step".into(), None, std::panic::Location::caller())
}
