//! Stochastic gradient descent.

use limpid_core::Result;

use crate::module::Module;
use crate::optim::{Core, CoreRef, Gradients, Group, Kept, Optimizer, Update};
use crate::state::StateDict;
use limpid_core::Tensor;

/// p ← p − lr·d, with d = g + weight_decay·p, and with momentum b ← momentum·b + (1 − dampening)·d, d = b (nesterov:
/// d + momentum·b). Torch's `optim.SGD`.
///
/// ```
/// use limpid::prelude::*;
/// let w = Parameter::new(&Tensor::from([1.0f32, 2.0]));
/// let mut sgd = SGD::groups([Group::of(&[w.clone()])]).lr(0.1);
/// sgd.step(&w.tensor().square().sum(..))?;
/// assert_eq!(w.value()?.to_vec::<f32>()?, [0.8, 1.6]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Debug)]
pub struct SGD {
    core: CoreRef,
    momentum: f64,
    dampening: f64,
    nesterov: bool,
    maximize: bool,
}

impl SGD {
    /// All parameters of `model`, rate 1e-3, no momentum.
    pub fn new<M: Module + ?Sized>(model: &M) -> SGD {
        SGD::groups([Group::new(model)])
    }

    /// Groups with options of their own.
    pub fn groups(groups: impl IntoIterator<Item = Group>) -> SGD {
        let core = CoreRef(Core::new(groups.into_iter().collect(), 1e-3, 0.0));
        SGD { core, momentum: 0.0, dampening: 0.0, nesterov: false, maximize: false }
    }

    /// With this learning rate in all groups.
    pub fn lr(mut self, lr: f64) -> SGD {
        self.core.0.set_all(Some(lr), None);
        self
    }

    /// With this weight decay in all groups.
    pub fn weight_decay(mut self, decay: f64) -> SGD {
        self.core.0.set_all(None, Some(decay));
        self
    }

    /// With momentum.
    pub fn momentum(mut self, momentum: f64) -> SGD {
        self.momentum = momentum;
        self
    }

    /// With the gradient damped before it joins the momentum.
    pub fn dampening(mut self, dampening: f64) -> SGD {
        self.dampening = dampening;
        self
    }

    /// With Nesterov's momentum.
    pub fn nesterov(mut self, nesterov: bool) -> SGD {
        self.nesterov = nesterov;
        self
    }

    /// Uphill.
    pub fn maximize(mut self, maximize: bool) -> SGD {
        self.maximize = maximize;
        self
    }

    fn keeps(&self) -> &'static [Kept] {
        match (self.momentum != 0.0, self.dampening != 0.0) {
            (false, _) => &[],
            (true, false) => &[Kept::Like("momentum_buffer")],
            (true, true) => &[Kept::Like("momentum_buffer"), Kept::Steps],
        }
    }

    fn rule(&self, u: &mut Update<'_>) -> Tensor {
        let mut d = if self.maximize { -&u.grad } else { u.grad.clone() };
        if u.weight_decay != 0.0 {
            d = d + &u.value * u.weight_decay;
        }
        if self.momentum != 0.0 {
            let mut joins = d.clone();
            if self.dampening != 0.0 {
                // Torch's first buffer is the gradient itself, undamped.
                let steps = u.kept(1);
                let factor = steps.ones_like().where_(&steps.eq(0.0), 1.0 - self.dampening);
                u.keep(1, &(&steps + 1.0));
                joins = joins * factor.to_dtype(d.dtype());
            }
            let moved = u.kept(0) * self.momentum + joins;
            u.keep(0, &moved);
            d = if self.nesterov { d + &moved * self.momentum } else { moved };
        }
        &u.value - d * &u.lr
    }
}

impl Optimizer for SGD {
    fn record(&mut self, grads: &Gradients) -> Result<()> {
        let mut core = std::mem::replace(&mut self.core, CoreRef(Core::new(Vec::new(), 0.0, 0.0)));
        let done = core.0.record(grads, self.keeps(), &|u| self.rule(u));
        self.core = core;
        done
    }

    fn core(&self) -> &CoreRef {
        &self.core
    }

    fn core_mut(&mut self) -> &mut CoreRef {
        &mut self.core
    }

    fn state_dict(&self) -> StateDict {
        self.core.0.state_dict(self.keeps())
    }

    fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        let keeps = self.keeps();
        self.core.0.load_state_dict(state, keeps)
    }
}
