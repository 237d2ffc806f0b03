//! y = x₁·W·x₂ + b.

use limpid_core::{DType, Error, Tensor};

use crate::Module;
use crate::nn::draws::Draws;
use crate::nn::{init, python};
use crate::param::Parameter;
use crate::site::{Scope, Site};

/// y[…, o] = Σᵢⱼ x₁[…, i]·W[o, i, j]·x₂[…, j] + b\[o\]: `[…, in1_features]` and `[…, in2_features]` → `[…, out_features]`.
/// Torch's `Bilinear`.
///
/// Weight `[out, in1, in2]` and bias `[out]` start in U(−1/√in1, 1/√in1), as in torch.
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct Bilinear {
    /// `[out, in1, in2]`
    pub weight: Parameter,
    /// `[out]`
    pub bias: Option<Parameter>,
    #[module(site)]
    site: Site,
    #[module(skip)]
    sizes: [usize; 3],
    #[module(skip)]
    draws: Draws,
}

impl Bilinear {
    /// A layer of two inputs with a bias, f32.
    #[track_caller]
    pub fn new(in1_features: usize, in2_features: usize, out_features: usize) -> Bilinear {
        let sizes = [in1_features, in2_features, out_features];
        Bilinear::made(sizes, true, DType::F32, Site::here(), None)
    }

    #[track_caller]
    fn made(sizes: [usize; 3], bias: bool, dtype: DType, site: Site, draws: Option<Draws>) -> Bilinear {
        let [in1, in2, out] = sizes;
        let draw = || {
            let weight = Parameter::new(&init::default_uniform([out, in1, in2], dtype, in1));
            (weight, bias.then(|| Parameter::new(&init::default_uniform([out], dtype, in1))))
        };
        let ((weight, bias), draws) = Draws::either(draws, draw);
        Bilinear { weight, bias, site, sizes, draws }
    }

    /// Whether a bias is added (default: yes).
    #[track_caller]
    pub fn bias(self, bias: bool) -> Bilinear {
        Bilinear::made(self.sizes, bias, self.weight.dtype(), self.site, Some(self.draws))
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> Bilinear {
        Bilinear::made(self.sizes, self.bias.is_some(), dtype, self.site, Some(self.draws))
    }

    fn arguments(&self) -> String {
        let ([in1, in2, out], bias) = (self.sizes, python(self.bias.is_some()));
        format!("in1_features={in1}, in2_features={in2}, out_features={out}, bias={bias}")
    }

    /// The bilinear form of two inputs that differ in the last axis alone.
    #[track_caller]
    pub fn forward(&self, input1: &Tensor, input2: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        if self.sizes[0] == 0 {
            let error = Error::new("bilinear: in1_features is 0").help("a number above 0");
            let shape = input1.shape().clone();
            return scope.output(Tensor::fail(error, &[input1, input2], shape, input1.dtype()));
        }
        let bias = self.bias.as_ref().map(|b| b.tensor());
        scope.output(input1.bilinear(input2, &self.weight.tensor(), bias.as_ref()))
    }
}
