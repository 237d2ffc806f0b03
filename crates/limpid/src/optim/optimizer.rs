//! What every optimizer can do, and the ones that are a rule for each parameter.

use std::marker::PhantomData;
use std::panic::Location;

use limpid_core::{Error, Result, Rows, Shape, Tensor, origin};

use crate::module::Module;
use crate::optim::Gradients;
use crate::optim::core::{Core, Kept, Update};
use crate::optim::options::{Group, Numbers, Options, Spec};
use crate::param::Parameter;
use crate::state::StateDict;

/// The loss of a step, computed in the step's plan. It need not be used; it reads as the tensor that it is.
#[derive(Clone, Debug)]
pub struct StepLoss(pub(crate) Tensor);

impl std::ops::Deref for StepLoss {
    type Target = Tensor;
    fn deref(&self) -> &Tensor {
        &self.0
    }
}

impl From<StepLoss> for Tensor {
    fn from(loss: StepLoss) -> Tensor {
        loss.0
    }
}

/// What every optimizer can do.
///
/// Torch's `foreach`, `fused`, `capturable` and `differentiable` choose how it computes, not what: there is nothing to
/// choose here, since every step is one plan.
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
    /// An option that the optimizer can not have; what the loss carries, or computing it meets. Then parameters and
    /// optimizer are what they were.
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
        let _scope = enter();
        let here = Location::caller();
        let mut run = || {
            self.core().0.check()?;
            let parameters = self.core().0.parameters();
            let grads = Gradients::new(loss, parameters)?;
            self.record(&grads)?;
            // What nobody holds is not kept: its memory is that of the next gradient.
            drop(grads);
            limpid_core::eval([loss])
        };
        located(run(), here)?;
        Ok(StepLoss(loss.clone()))
    }

    /// The update for `grads`: of several losses, accumulated, clipped.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    #[track_caller]
    fn apply(&mut self, grads: Gradients) -> Result<()> {
        let _scope = enter();
        let here = Location::caller();
        let run = || {
            self.core().0.check()?;
            self.record(&grads)?;
            drop(grads);
            limpid_core::settle()
        };
        located(run(), here)
    }

    /// [`Optimizer::step`] of what `closure` returns: for optimizers that ask for the loss more than once.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    #[track_caller]
    fn step_with(&mut self, mut closure: impl FnMut() -> Tensor) -> Result<StepLoss>
    where
        Self: Sized,
    {
        self.step_by(&mut closure)
    }

    /// [`Optimizer::step_with`] where the kind of the optimizer is known at run time only.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    #[track_caller]
    fn step_by(&mut self, closure: &mut dyn FnMut() -> Tensor) -> Result<StepLoss> {
        self.step(&closure())
    }

    /// One more group: layers that train from now on. It has the options that the optimizer was made with, where it has none
    /// of its own. Torch's function of that name.
    ///
    /// # Errors
    /// When a parameter is in another group, an option is none of the optimizer's or can not be, or there can be one group
    /// only. Nothing is changed then.
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let (body, head) = (Linear::new(2, 8), Linear::new(8, 1));
    /// let mut sgd = SGD::new(&head).lr(0.1);
    /// sgd.add_param_group(Group::new(&body).lr(0.01))?;
    /// assert_eq!(sgd.rates(), [0.1, 0.01]);
    /// # Ok::<(), limpid::Error>(())
    /// ```
    fn add_param_group(&mut self, group: Group) -> Result<()> {
        self.core_mut().0.add_later(group)
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

    /// The momentum of each group, or the first of its betas; none where the optimizer has neither.
    fn momenta(&self) -> Option<Vec<f64>> {
        self.core().0.momenta()
    }

    /// Everything that the next step depends on, by name: `state.<parameter>.<torch's name>` and the options of each
    /// group as `group.<i>.<option>`.
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
pub(crate) fn enter() -> origin::ScopeGuard {
    origin::enter("optimizer".into(), "step".into(), None, Location::caller())
}

/// An error that has no line of its own is one of the line that asked for the step.
pub(crate) fn located<T>(result: Result<T>, here: &'static Location<'static>) -> Result<T> {
    result.map_err(|error| error.at(&origin::Origin::new(here)))
}

/// How an optimizer updates one parameter.
pub trait Rule: std::fmt::Debug + Send + Sync + 'static {
    /// Torch's name.
    const NAME: &'static str;
    /// Its options in the order of torch's signature.
    const OPTIONS: &'static [Spec];

    /// What is kept for a parameter of this shape.
    fn keeps(options: &Options, shape: &Shape) -> Vec<Kept>;

    /// The parameter's new value; what is kept is assigned on the way.
    fn update(u: &mut Update<'_>) -> Tensor;

    /// Whether it takes gradients that are not of rows only.
    const DENSE: bool = true;

    /// The parameter's new value by a gradient of rows; none where the rule, or these options, can not.
    fn update_rows(_u: &mut Update<'_>, _rows: &Rows) -> Option<Tensor> {
        None
    }

    /// Options that do not go together, or parameters that it can not train.
    fn refuse(_options: &Options, _parameters: &[Parameter]) -> Option<Error> {
        None
    }
}

/// An optimizer that updates each parameter by its own gradient: [`SGD`](crate::optim::SGD),
/// [`Adam`](crate::optim::Adam) and their kin.
#[derive(Debug)]
pub struct FirstOrder<R> {
    core: CoreRef,
    rule: PhantomData<R>,
}

impl<R: Rule> FirstOrder<R> {
    /// All parameters of `model`, with torch's defaults.
    pub fn new<M: Module + ?Sized>(model: &M) -> FirstOrder<R> {
        FirstOrder::groups([Group::new(model)])
    }

    /// Groups with options of their own.
    pub fn groups(groups: impl IntoIterator<Item = Group>) -> FirstOrder<R> {
        FirstOrder { core: CoreRef(Core::new(R::NAME, R::OPTIONS, groups)), rule: PhantomData }
    }

    /// With this learning rate in all groups that have none of their own.
    pub fn lr(self, lr: f64) -> FirstOrder<R> {
        self.with("lr", lr)
    }

    /// With an error that the step will say.
    pub(crate) fn fail(mut self, error: Error) -> FirstOrder<R> {
        self.core.0.fail(error);
        self
    }

    /// With this value of an option in all groups that have none of their own.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Numbers>) -> FirstOrder<R> {
        self.core.0.set_all(name, value);
        self
    }
}

impl<R: Rule> Optimizer for FirstOrder<R> {
    fn record(&mut self, grads: &Gradients) -> Result<()> {
        let refused = self.core.0.groups.iter().find_map(|group| R::refuse(&group.options, &group.parameters));
        refused.map_or(Ok(()), Err)?;
        self.core.0.record::<R>(grads)
    }

    fn core(&self) -> &CoreRef {
        &self.core
    }

    fn core_mut(&mut self) -> &mut CoreRef {
        &mut self.core
    }

    fn state_dict(&self) -> StateDict {
        self.core.0.state_dict(R::keeps)
    }

    fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        self.core.0.load_state_dict(state, R::keeps)
    }
}
