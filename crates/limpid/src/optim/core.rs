//! What all optimizers share: groups, rates, values kept for each parameter, the order of an update.

use std::collections::HashSet;
use std::sync::Arc;

use limpid_core::{Assignment, Cell, DType, Error, Result, Rows, Shape, Tensor, assign_all};

use crate::optim::Gradients;
use crate::optim::optimizer::Rule;
use crate::optim::options::{Group, Numbers, Options, Spec};
use crate::param::Parameter;
use crate::state::StateDict;

/// Groups at work.
#[derive(Debug)]
pub struct Core {
    name: &'static str,
    specs: &'static [Spec],
    /// What a group has that is given nothing itself.
    defaults: Options,
    pub(crate) groups: Vec<Trained>,
    error: Option<Error>,
}

/// A group at work.
#[derive(Debug)]
pub(crate) struct Trained {
    pub(crate) names: Vec<String>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) options: Options,
    /// f64, shape []: changes without another plan.
    lr: Arc<Cell>,
    /// The rate that schedules start from.
    base_lr: f64,
    /// Values kept for each parameter: made when it is first updated.
    kept: Vec<Vec<Arc<Cell>>>,
}

/// One parameter's update. A rule only collects assignments: they are made together when every rule has run.
#[derive(Debug)]
pub struct Update<'a> {
    pub(crate) value: Tensor,
    pub(crate) grad: Tensor,
    /// The rate in the parameter's type.
    pub(crate) lr: Tensor,
    /// The rate as it was set, f64.
    pub(crate) rate: Tensor,
    pub(crate) options: &'a Options,
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

    /// Counts this update: the n-th kept value is the number of updates.
    pub(crate) fn count(&mut self, n: usize) {
        self.keep(n, &(self.kept(n) + 1.0));
    }

    /// The number of updates with this one, f64.
    pub(crate) fn counted(&mut self, n: usize) -> Tensor {
        let steps = self.kept(n) + 1.0;
        self.keep(n, &steps);
        steps
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.options.number(name)
    }

    /// The gradient, uphill with `maximize`.
    pub(crate) fn direction(&self) -> Tensor {
        if self.options.flag("maximize") { -&self.grad } else { self.grad.clone() }
    }

    /// The n-th kept value, of which the rows of `rows` are changed by `update`, which is given them; returns them as
    /// they are now.
    pub(crate) fn keep_rows(&mut self, n: usize, rows: &Rows, update: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        let mut changed = None;
        let new = self.kept(n).update_rows(rows.indices(), |old| changed.insert(update(old)).clone());
        self.keep(n, &new);
        changed.unwrap_or_else(|| rows.values().clone())
    }

    /// The sum of the gradient of each row, uphill with `maximize`.
    pub(crate) fn row_sums(&self, rows: &Rows) -> Tensor {
        if self.options.flag("maximize") { -rows.row_sums() } else { rows.row_sums() }
    }

    /// The parameter with its rows changed by `update`.
    pub(crate) fn rows_moved(&self, rows: &Rows, update: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        self.value.update_rows(rows.indices(), update)
    }

    /// The gradient of the loss with weight_decay·p²/2 in it: decay that is not decoupled.
    pub(crate) fn decayed(&self) -> Tensor {
        let (g, decay) = (self.direction(), self.number("weight_decay"));
        if decay == 0.0 { g } else { g + &self.value * decay }
    }

    /// p·(1 − lr·weight_decay): decay that is decoupled from the gradient.
    pub(crate) fn shrunk(&self) -> Tensor {
        let decay = self.number("weight_decay");
        if decay == 0.0 { self.value.clone() } else { &self.value - &self.value * (&self.lr * decay) }
    }
}

/// baseᵗ, where a base that a schedule changes makes no new plan.
pub(crate) fn power(base: f64, t: &Tensor) -> Tensor {
    (t.zeros_like() + base).pow(t)
}

/// A value that an optimizer keeps for each parameter: its name in a state dict, its shape, what it begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    name: &'static str,
    /// None: a number in f64.
    shape: Option<Shape>,
    init: f64,
}

impl Kept {
    /// Zeros shaped as the parameter.
    pub(crate) fn like(name: &'static str, shape: &Shape) -> Kept {
        Kept { name, shape: Some(shape.clone()), init: 0.0 }
    }

    /// A number in f64.
    pub(crate) fn number(name: &'static str, init: f64) -> Kept {
        Kept { name, shape: None, init }
    }

    /// The number of the parameter's updates.
    pub(crate) fn steps() -> Kept {
        Kept::number("step", 0.0)
    }

    /// Beginning with `init` everywhere.
    pub(crate) fn of(self, init: f64) -> Kept {
        Kept { init, ..self }
    }

    fn cell(&self, dtype: DType) -> Arc<Cell> {
        match &self.shape {
            Some(shape) => Cell::filled(shape.clone(), self.init, dtype),
            None => Cell::filled(Shape::scalar(), self.init, DType::F64),
        }
    }
}

/// What an optimizer keeps for a parameter of this shape.
pub(crate) type Keeps = fn(&Options, &Shape) -> Vec<Kept>;

impl Core {
    pub(crate) fn new(name: &'static str, specs: &'static [Spec], groups: impl IntoIterator<Item = Group>) -> Core {
        let mut core = Core { name, specs, defaults: Options::new(specs), groups: Vec::new(), error: None };
        groups.into_iter().for_each(|group| core.add(group));
        core
    }

    fn add(&mut self, mut group: Group) {
        let (mut known, mut names) = (HashSet::new(), HashSet::new());
        for other in &self.groups {
            known.extend(other.parameters.iter().map(|p| p.cell().id()));
            names.extend(other.names.iter().cloned());
        }
        if let Some(error) = group.error.take() {
            self.fail(error);
        }
        let number = self.groups.len();
        for (name, p) in group.names.iter_mut().zip(&group.parameters) {
            if !known.insert(p.cell().id()) {
                let error = Error::new(format!("optimizer: the parameter {name} is in two groups"));
                self.fail(error.help("each parameter in one group"));
            }
            // Parameters without names are numbered in each group.
            if !names.insert(name.clone()) {
                *name = format!("{number}.{name}");
            }
        }
        let mut options = self.defaults.clone();
        for (name, value) in group.own {
            if options.get(&name).is_none() {
                let known: Vec<&str> = self.specs.iter().map(|spec| spec.name).collect();
                let error = Error::new(format!("{}: there is no option {name}", self.name));
                self.fail(error.help(format!("one of {}", known.join(", "))));
            }
            options.set(&name, value, true);
        }
        let lr = options.number("lr");
        let kept = group.parameters.iter().map(|_| Vec::new()).collect();
        let (names, parameters) = (group.names, group.parameters);
        self.groups.push(Trained {
            names,
            parameters,
            options,
            lr: Cell::new(&Tensor::from(lr), false),
            base_lr: lr,
            kept,
        });
    }

    /// One more group, or the error of it.
    pub(crate) fn add_later(&mut self, group: Group) -> Result<()> {
        self.check()?;
        self.add(group);
        let found = self.check();
        if found.is_err() {
            self.error = None;
            self.groups.pop();
        }
        found
    }

    /// Keeps the first of several errors for the step.
    pub(crate) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    /// Sets an option of all groups that were not given it.
    pub(crate) fn set_all(&mut self, name: &str, value: impl Into<Numbers>) {
        let value = value.into();
        self.defaults.set(name, value.clone(), false);
        for group in self.groups.iter_mut().filter(|group| !group.options.owns(name)) {
            group.options.set(name, value.clone(), false);
            if name == "lr" {
                group.base_lr = group.options.number("lr");
                if let Err(error) = group.lr.set_number(group.base_lr) {
                    self.error.get_or_insert(error);
                }
            }
        }
    }

    pub(crate) fn rates(&self) -> Vec<f64> {
        self.groups.iter().map(|g| g.options.number("lr")).collect()
    }

    pub(crate) fn base_rates(&self) -> Vec<f64> {
        self.groups.iter().map(|g| g.base_lr).collect()
    }

    pub(crate) fn set_rates(&mut self, rates: &[f64]) -> Result<()> {
        for (group, &lr) in self.groups.iter_mut().zip(rates) {
            group.lr.set_number(lr)?;
            group.options.set("lr", lr.into(), false);
        }
        Ok(())
    }

    /// The momentum of each group, or the first of its betas.
    pub(crate) fn momenta(&self) -> Option<Vec<f64>> {
        let first = |options: &Options| Some(*options.get("momentum").or(options.get("betas"))?.first()?);
        self.groups.iter().map(|g| first(&g.options)).collect()
    }

    pub(crate) fn set_momentum(&mut self, group: usize, momentum: f64) -> Result<()> {
        let options = &mut self.groups[group].options;
        match (options.get("momentum"), options.get("betas").map(<[f64]>::to_vec)) {
            (Some(_), _) => options.set("momentum", momentum.into(), false),
            (None, Some(betas)) => {
                let rest = betas.iter().skip(1).copied();
                options.set("betas", Numbers(std::iter::once(momentum).chain(rest).collect()), false);
            }
            (None, None) => {
                let error = Error::new(format!("schedule: {} has neither momentum nor betas to cycle", self.name));
                return Err(error.help("cycle_momentum(false), or an optimizer that has them"));
            }
        }
        Ok(())
    }

    pub(crate) fn parameters(&self) -> Vec<(String, Parameter)> {
        self.groups.iter().flat_map(|g| g.names.iter().cloned().zip(g.parameters.iter().cloned())).collect()
    }

    /// Whether groups and options are in order: asked before anything is recorded.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        self.groups.iter().try_for_each(|group| group.options.check(self.name))
    }

    /// Records the update of every parameter that has a gradient.
    pub(crate) fn record<R: Rule>(&mut self, grads: &Gradients) -> Result<()> {
        self.check()?;
        let mut assignments: Vec<Assignment> = Vec::new();
        for group in &mut self.groups {
            let rate = group.lr.tensor();
            for ((name, p), kept) in group.names.iter().zip(&group.parameters).zip(&mut group.kept) {
                let Some(grad) = grads.of(p).filter(|_| p.requires_grad()) else { continue };
                let value = p.cell().tensor();
                if kept.is_empty() {
                    let keeps = R::keeps(&group.options, value.shape());
                    kept.extend(keeps.iter().map(|kept| kept.cell(value.dtype())));
                }
                let lr = rate.to_dtype(value.dtype());
                let mut update = Update {
                    value: value.clone(),
                    grad,
                    lr,
                    rate: rate.clone(),
                    options: &group.options,
                    kept,
                    assignments: &mut assignments,
                };
                let new = match grads.rows_of(p) {
                    Some(rows) => R::update_rows(&mut update, rows).ok_or_else(|| refused::<R>(name, true))?,
                    None if R::DENSE => R::update(&mut update),
                    None => return Err(refused::<R>(name, false)),
                };
                assignments.push(Assignment { cell: p.cell().clone(), old: value, new });
            }
        }
        assign_all(&assignments)
    }

    pub(crate) fn state_dict(&self, keeps: Keeps) -> StateDict {
        let mut state = StateDict::new();
        for (i, group) in self.groups.iter().enumerate() {
            for (name, value) in group.options.iter() {
                let value = if let [number] = value { Tensor::from(*number) } else { Tensor::from(value.to_vec()) };
                state.insert(format!("group.{i}.{name}"), value);
            }
            state.insert(format!("group.{i}.initial_lr"), Tensor::from(group.base_lr));
            for ((name, p), kept) in group.names.iter().zip(&group.parameters).zip(&group.kept) {
                for (cell, what) in kept.iter().zip(keeps(&group.options, &p.shape())) {
                    state.insert(format!("state.{name}.{}", what.name), limpid_core::fallible(|| cell.value()));
                }
            }
        }
        state
    }

    /// Takes over a state when all of it fits; a parameter that it does not name begins anew, and an option that it
    /// does not name stays.
    pub(crate) fn load_state_dict(&mut self, state: &StateDict, keeps: Keeps) -> Result<()> {
        let mut loaded = Vec::new();
        for (i, group) in self.groups.iter().enumerate() {
            let mut options = group.options.clone();
            for (name, old) in group.options.iter() {
                let Some(value) = state.get(&format!("group.{i}.{name}")) else { continue };
                let value = value.to_dtype(DType::F64).flatten(0).to_vec::<f64>()?;
                if value.len() != old.len() {
                    let (have, wanted) = (value.len(), old.len());
                    return Err(Error::new(format!("optimizer: {name} has {have} values in the state, not {wanted}")));
                }
                options.set(name, Numbers(value), false);
            }
            options.check(self.name)?;
            let base_lr = state.get(&format!("group.{i}.initial_lr")).map_or(Ok(group.base_lr), Tensor::item)?;
            let kept = group.names.iter().zip(&group.parameters);
            let kept = kept.map(|(name, p)| load(state, name, p, &keeps(&options, &p.shape())));
            let kept = kept.collect::<Result<Vec<_>>>()?;
            loaded.push((options, base_lr, kept));
        }
        for (group, (options, base_lr, kept)) in self.groups.iter_mut().zip(loaded) {
            group.lr.set_number(options.number("lr"))?;
            (group.options, group.base_lr, group.kept) = (options, base_lr, kept);
        }
        Ok(())
    }
}

/// A gradient of a kind that the rule can not take.
fn refused<R: Rule>(name: &str, sparse: bool) -> Error {
    let rule = R::NAME;
    if sparse {
        let what = format!("{rule}: the gradient of {name} is of rows only (sparse), which these options do not take");
        Error::new(what).help("SparseAdam, Adagrad or SGD, without momentum and weight decay, or sparse(false)")
    } else {
        Error::new(format!("{rule}: the gradient of {name} is dense")).help("Adam, or a table that is sparse(true)")
    }
}

/// What a state holds for one parameter: nothing, or all of `keeps`.
fn load(state: &StateDict, name: &str, p: &Parameter, keeps: &[Kept]) -> Result<Vec<Arc<Cell>>> {
    let find = |kept: &Kept| state.get(&format!("state.{name}.{}", kept.name));
    if keeps.iter().all(|kept| find(kept).is_none()) {
        return Ok(Vec::new());
    }
    let one = |kept: &Kept| {
        let what = kept.name;
        let value = find(kept).ok_or_else(|| Error::new(format!("optimizer: {what} of {name} is missing")))?;
        let (wanted, dtype) = kept.shape.clone().map_or((Shape::scalar(), DType::F64), |shape| (shape, p.dtype()));
        if *value.shape() != wanted {
            let have = value.shape();
            return Err(Error::new(format!("optimizer: {what} of {name} has shape {have}, not {wanted}")));
        }
        Ok(Cell::new(&value.to_dtype(dtype), false))
    };
    keeps.iter().map(one).collect()
}
