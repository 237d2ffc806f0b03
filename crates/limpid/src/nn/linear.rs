//! y = x·Wᵀ + b.

use limpid_core::{DType, Error, Tensor, rng_state, set_rng_state};

use crate::module::{Field, Forward, Module, Visitor};
use crate::nn::{failed, init, python};
use crate::param::Parameter;
use crate::site::{Scope, Site};

/// y = x·Wᵀ + b over the last axis: `[..., in_features]` → `[..., out_features]`.
///
/// Weight `[out, in]` and bias `[out]` start in U(−1/√in, 1/√in), as in torch.
///
/// ```
/// use limpid::prelude::*;
/// let layer = Linear::new(784, 512).bias(false);
/// let y = layer.forward(&Tensor::zeros([32, 784]));
/// assert_eq!(*y.shape(), Shape::from([32, 512]));
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Parameter,
    /// `[out]`
    pub bias: Option<Parameter>,
    site: Site,
    sizes: (usize, usize),
    draws: Draws,
}

/// The generator before, between and after the values of weight and bias: a setter draws them again as a
/// constructor with that argument would have.
#[derive(Clone, Copy, Debug)]
struct Draws {
    before: (u64, u64),
    weight: (u64, u64),
    after: (u64, u64),
}

impl Draws {
    /// Goes back to `state`, unless something else has been drawn since.
    fn rewind(&self, state: (u64, u64)) {
        if rng_state() == self.after {
            set_rng_state(state);
        }
    }
}

impl Linear {
    /// A layer from `in_features` to `out_features` with a bias, f32.
    #[track_caller]
    pub fn new(in_features: usize, out_features: usize) -> Linear {
        Linear::made(in_features, out_features, true, DType::F32, Site::here())
    }

    fn made(within: usize, out: usize, bias: bool, dtype: DType, site: Site) -> Linear {
        let before = rng_state();
        let weight = Parameter::new(&init::default_uniform([out, within], dtype, within));
        let between = rng_state();
        let bias = bias.then(|| Parameter::new(&init::default_uniform([out], dtype, within)));
        let draws = Draws { before, weight: between, after: rng_state() };
        Linear { weight, bias, site, sizes: (within, out), draws }
    }

    /// Whether a bias is added (default: yes).
    pub fn bias(mut self, bias: bool) -> Linear {
        if bias == self.bias.is_some() {
            return self;
        }
        if bias {
            let (within, out) = self.sizes;
            self.bias = Some(Parameter::new(&init::default_uniform([out], self.weight.dtype(), within)));
        } else {
            self.draws.rewind(self.draws.weight);
            self.bias = None;
        }
        self.draws.after = rng_state();
        self
    }

    /// The type of the parameters (default: f32).
    pub fn dtype(self, dtype: DType) -> Linear {
        if dtype == self.weight.dtype() {
            return self;
        }
        self.draws.rewind(self.draws.before);
        Linear::made(self.sizes.0, self.sizes.1, self.bias.is_some(), dtype, self.site)
    }

    /// The input's last size.
    pub fn in_features(&self) -> usize {
        self.sizes.0
    }

    /// The result's last size.
    pub fn out_features(&self) -> usize {
        self.sizes.1
    }

    fn refuse(&self, x: &Tensor) -> Tensor {
        let ((within, out), rank) = (self.sizes, x.rank());
        let have = if rank == 0 { 1 } else { x.size(-1) };
        let rows = if rank == 0 { 1 } else { x.size(0) };
        let what = format!("matmul: inner sizes differ: {} × [{within}, {out}]; {have} ≠ {within}", x.shape());
        let help = format!("flatten to [{rows}, {within}], or Linear::new({have}, {out})");
        let shape = if rank == 0 { [out].into() } else { x.shape().with(rank - 1, out) };
        failed(Error::new(what).help(help), x, &shape)
    }
}

impl Module for Linear {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.weight.visit_field("weight", visitor);
        self.bias.visit_field("bias", visitor);
    }
    fn kind(&self) -> &'static str {
        "Linear"
    }
    fn label(&self) -> String {
        format!("Linear {}→{}", self.sizes.0, self.sizes.1)
    }
    fn extra_repr(&self) -> String {
        let bias = python(self.bias.is_some());
        format!("in_features={}, out_features={}, bias={bias}", self.sizes.0, self.sizes.1)
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}

impl Forward for Linear {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        if x.rank() == 0 || x.size(-1) != self.sizes.0 {
            return scope.output(self.refuse(x));
        }
        let bias = self.bias.as_ref().map(|p| p.tensor());
        scope.output(x.linear(&self.weight.tensor(), bias.as_ref()))
    }
}
