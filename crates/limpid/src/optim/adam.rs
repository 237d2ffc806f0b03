//! Adam (Kingma, Ba 2014) and AdamW (Loshchilov, Hutter 2017).

use limpid_core::{Result, Tensor};

use crate::module::Module;
use crate::optim::{Core, CoreRef, Gradients, Group, Kept, Optimizer, Update};
use crate::state::StateDict;

/// What both are.
#[derive(Debug)]
struct Moments {
    core: CoreRef,
    betas: (f64, f64),
    eps: f64,
    amsgrad: bool,
    maximize: bool,
    /// Whether the decay acts on the weights instead of the gradient.
    decoupled: bool,
}

const KEPT: [Kept; 4] = [Kept::Steps, Kept::Like("exp_avg"), Kept::Like("exp_avg_sq"), Kept::Like("max_exp_avg_sq")];

impl Moments {
    fn new(groups: Vec<Group>, decoupled: bool) -> Moments {
        let core = CoreRef(Core::new(groups, 1e-3, if decoupled { 1e-2 } else { 0.0 }));
        Moments { core, betas: (0.9, 0.999), eps: 1e-8, amsgrad: false, maximize: false, decoupled }
    }

    fn keeps(&self) -> &'static [Kept] {
        if self.amsgrad { &KEPT } else { &KEPT[..3] }
    }

    fn record(&mut self, grads: &Gradients) -> Result<()> {
        let mut core = std::mem::replace(&mut self.core, CoreRef(Core::new(Vec::new(), 0.0, 0.0)));
        let done = core.0.record(grads, self.keeps(), &|u| self.rule(u));
        self.core = core;
        done
    }

    /// m ← β₁m + (1−β₁)g ; v ← β₂v + (1−β₂)g² ; p ← p − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + eps), t the number of the
    /// parameter's updates
    fn rule(&self, u: &mut Update<'_>) -> Tensor {
        let (b1, b2) = self.betas;
        let dtype = u.value.dtype();
        // In f64, as torch computes them on the host: 1 − β₂ᵗ has three digits in f32.
        let steps = u.kept(0) + 1.0;
        let one = steps.ones_like();
        let first = &one - steps.constant_like(b1).pow(&steps);
        let second = (&one - steps.constant_like(b2).pow(&steps)).sqrt();
        u.keep(0, &steps);
        let mut g = if self.maximize { -&u.grad } else { u.grad.clone() };
        let mut value = u.value.clone();
        if u.weight_decay != 0.0 {
            if self.decoupled {
                value = &value - &value * (&u.lr * u.weight_decay);
            } else {
                g = g + &value * u.weight_decay;
            }
        }
        let moment = u.kept(1) * b1 + &g * (1.0 - b1);
        let square = u.kept(2) * b2 + &g * &g * (1.0 - b2);
        u.keep(1, &moment);
        u.keep(2, &square);
        let spread = if self.amsgrad {
            let largest = u.kept(3).maximum(&square);
            u.keep(3, &largest);
            largest
        } else {
            square
        };
        let denominator = spread.sqrt() / second.to_dtype(dtype) + self.eps;
        let rate = &u.lr / first.to_dtype(dtype);
        value - moment / denominator * rate
    }

    fn state_dict(&self) -> StateDict {
        self.core.0.state_dict(self.keeps())
    }

    fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        let keeps = self.keeps();
        self.core.0.load_state_dict(state, keeps)
    }
}

/// Both have the same options; they differ in what weight decay means and in its default.
macro_rules! optimizer {
    ($(#[$doc:meta])* $name:ident, $decoupled:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Moments);

        impl $name {
            /// All parameters of `model`, with torch's defaults.
            pub fn new<M: Module + ?Sized>(model: &M) -> $name {
                $name::groups([Group::new(model)])
            }

            /// Groups with options of their own.
            pub fn groups(groups: impl IntoIterator<Item = Group>) -> $name {
                $name(Moments::new(groups.into_iter().collect(), $decoupled))
            }

            /// With this learning rate in all groups; default 1e-3.
            pub fn lr(mut self, lr: f64) -> $name {
                self.0.core.0.set_all(Some(lr), None);
                self
            }

            /// With this weight decay in all groups.
            pub fn weight_decay(mut self, decay: f64) -> $name {
                self.0.core.0.set_all(None, Some(decay));
                self
            }

            /// With these rates of forgetting; default (0.9, 0.999).
            pub fn betas(mut self, betas: (f64, f64)) -> $name {
                self.0.betas = betas;
                self
            }

            /// With this addend of the denominator; default 1e-8.
            pub fn eps(mut self, eps: f64) -> $name {
                self.0.eps = eps;
                self
            }

            /// With the largest second moment so far instead of the last one.
            pub fn amsgrad(mut self, amsgrad: bool) -> $name {
                self.0.amsgrad = amsgrad;
                self
            }

            /// Uphill.
            pub fn maximize(mut self, maximize: bool) -> $name {
                self.0.maximize = maximize;
                self
            }
        }

        impl Optimizer for $name {
            fn record(&mut self, grads: &Gradients) -> Result<()> {
                self.0.record(grads)
            }

            fn core(&self) -> &CoreRef {
                &self.0.core
            }

            fn core_mut(&mut self) -> &mut CoreRef {
                &mut self.0.core
            }

            fn state_dict(&self) -> StateDict {
                self.0.state_dict()
            }

            fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
                self.0.load_state_dict(state)
            }
        }
    };
}

optimizer!(
    /// Adam: each weight's step is its mean gradient over the root of its mean squared gradient. Weight decay is added
    /// to the gradient. Torch's `optim.Adam`.
    Adam,
    false
);
optimizer!(
    /// Adam with decoupled weight decay: the weights shrink by lr·decay beside the step. Torch's `optim.AdamW`; the
    /// decay is 1e-2 unless set.
    AdamW,
    true
);
