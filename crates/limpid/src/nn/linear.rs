//! y = x·Wᵀ + b.

use limpid_core::{DType, Error, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::nn::draws::Draws;
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
#[derive(Clone, Debug, Module)]
#[module(label = title, extra_repr = arguments)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Parameter,
    /// `[out]`
    pub bias: Option<Parameter>,
    #[module(site)]
    site: Site,
    #[module(skip)]
    sizes: (usize, usize),
    #[module(skip)]
    draws: Draws,
}

impl Linear {
    /// A layer from `in_features` to `out_features` with a bias, f32.
    #[track_caller]
    pub fn new(in_features: usize, out_features: usize) -> Linear {
        Linear::made((in_features, out_features), true, DType::F32, Site::here(), None)
    }

    #[track_caller]
    fn made(sizes: (usize, usize), bias: bool, dtype: DType, site: Site, draws: Option<Draws>) -> Linear {
        let (within, out) = sizes;
        let draw = || {
            let weight = Parameter::new(&init::default_uniform([out, within], dtype, within));
            (weight, bias.then(|| Parameter::new(&init::default_uniform([out], dtype, within))))
        };
        let ((weight, bias), draws) = Draws::either(draws, draw);
        Linear { weight, bias, site, sizes, draws }
    }

    /// Whether a bias is added (default: yes).
    #[track_caller]
    pub fn bias(self, bias: bool) -> Linear {
        if bias == self.bias.is_some() {
            return self;
        }
        Linear::made(self.sizes, bias, self.weight.dtype(), self.site, Some(self.draws))
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> Linear {
        if dtype == self.weight.dtype() {
            return self;
        }
        Linear::made(self.sizes, self.bias.is_some(), dtype, self.site, Some(self.draws))
    }

    /// The layer with another number of inputs and parameters of its own.
    #[track_caller]
    pub(crate) fn resized(&self, within: usize) -> Linear {
        let (sizes, bias) = ((within, self.sizes.1), self.bias.is_some());
        Linear::made(sizes, bias, self.weight.dtype(), self.site.clone(), Some(self.draws))
    }

    /// The input's last size.
    pub fn in_features(&self) -> usize {
        self.sizes.0
    }

    /// The result's last size.
    pub fn out_features(&self) -> usize {
        self.sizes.1
    }

    fn title(&self) -> String {
        format!("Linear {}→{}", self.sizes.0, self.sizes.1)
    }

    fn arguments(&self) -> String {
        let bias = python(self.bias.is_some());
        format!("in_features={}, out_features={}, bias={bias}", self.sizes.0, self.sizes.1)
    }

    fn refuse(&self, x: &Tensor) -> Tensor {
        let ((within, out), rank) = (self.sizes, x.rank());
        let have = if rank == 0 { 1 } else { x.size(-1) };
        let what = format!("matmul: inner sizes differ: {} × [{within}, {out}]; {have} ≠ {within}", x.shape());
        let rows = if rank == 0 { 1 } else { x.size(0) };
        let flat = rank < 3 || rows.checked_mul(within) == Some(x.numel());
        let flatten = if flat { format!("flatten to [{rows}, {within}], or ") } else { String::new() };
        let help = format!("{flatten}Linear::new({have}, {out})");
        let shape = if rank == 0 { [out].into() } else { x.shape().with(rank - 1, out) };
        failed(Error::new(what).help(help), x, &shape)
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
