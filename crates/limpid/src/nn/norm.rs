//! Layer normalisation.

use limpid_core::{DType, Shape, Tensor};

use crate::module::{Field, Forward, Module, Visitor};
use crate::nn::python;
use crate::param::Parameter;
use crate::site::{Scope, Site};

/// (x − mean)/√(var + eps)·weight + bias over the last axes, whose sizes are `normalized_shape`; the variance
/// is the biased one. Ba et al. (2016).
///
/// ```
/// use limpid::prelude::*;
/// let norm = LayerNorm::new(2).eps(0.0);
/// assert_eq!(norm.forward(&Tensor::from([[1.0f32, 3.0]])).to_vec::<f32>()?, [-1.0, 1.0]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Starts as ones.
    pub weight: Option<Parameter>,
    /// Starts as zeros.
    pub bias: Option<Parameter>,
    shape: Shape,
    eps: f64,
    site: Site,
}

impl LayerNorm {
    /// The layer over the last axes, of sizes `normalized_shape`, f32, eps 10⁻⁵.
    #[track_caller]
    pub fn new(normalized_shape: impl Into<Shape>) -> LayerNorm {
        let shape = normalized_shape.into();
        let filled = |value: f64| Some(Parameter::new(&Tensor::full_of(&shape, value, DType::F32)));
        LayerNorm { weight: filled(1.0), bias: filled(0.0), shape, eps: 1e-5, site: Site::here() }
    }

    /// What is added to the variance (default: 10⁻⁵).
    pub fn eps(mut self, eps: f64) -> LayerNorm {
        self.eps = eps;
        self
    }

    /// Whether there are weight and bias (default: yes).
    pub fn elementwise_affine(mut self, affine: bool) -> LayerNorm {
        let dtype = self.param_dtype();
        let filled = |value: f64| affine.then(|| Parameter::new(&Tensor::full_of(&self.shape, value, dtype)));
        (self.weight, self.bias) = (filled(1.0), filled(0.0));
        self
    }

    /// Whether there is a bias beside the weight (default: yes).
    pub fn bias(mut self, bias: bool) -> LayerNorm {
        let dtype = self.param_dtype();
        let wanted = bias && self.weight.is_some();
        self.bias = wanted.then(|| Parameter::new(&Tensor::full_of(&self.shape, 0.0, dtype)));
        self
    }

    /// The type of the parameters (default: f32).
    pub fn dtype(mut self, dtype: DType) -> LayerNorm {
        let filled = |has: bool, v: f64| has.then(|| Parameter::new(&Tensor::full_of(&self.shape, v, dtype)));
        let (weight, bias) = (filled(self.weight.is_some(), 1.0), filled(self.bias.is_some(), 0.0));
        (self.weight, self.bias) = (weight, bias);
        self
    }

    fn param_dtype(&self) -> DType {
        self.weight.as_ref().map_or(DType::F32, Parameter::dtype)
    }
}

impl Module for LayerNorm {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.weight.visit_field("weight", visitor);
        self.bias.visit_field("bias", visitor);
    }
    fn kind(&self) -> &'static str {
        "LayerNorm"
    }
    fn label(&self) -> String {
        format!("LayerNorm {}", self.shape)
    }
    fn extra_repr(&self) -> String {
        let sizes: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        let comma = if sizes.len() == 1 { "," } else { "" };
        let (eps, affine) = (exponent(self.eps), python(self.weight.is_some()));
        format!("({}{comma}), eps={eps}, elementwise_affine={affine}", sizes.join(", "))
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}

/// 0.00001 as python writes it: 1e-05.
fn exponent(x: f64) -> String {
    if x == 0.0 || x.abs() >= 1e-4 {
        return format!("{x:?}");
    }
    let text = format!("{x:e}");
    match text.split_once("e-") {
        Some((digits, power)) if power.len() == 1 => format!("{digits}e-0{power}"),
        _ => text,
    }
}

impl Forward for LayerNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        let weight = self.weight.as_ref().map(|p| p.tensor());
        let bias = self.bias.as_ref().map(|p| p.tensor());
        scope.output(x.layer_norm(&self.shape, weight.as_ref(), bias.as_ref(), self.eps))
    }
}
