//! Normalisations of each sample: over its last axes, or over groups of its channels.

use limpid_core::{DType, Error, Shape, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::nn::draws::line;
use crate::nn::{exponent, failed, python};
use crate::param::Parameter;
use crate::site::{Scope, Site};

/// A parameter whose elements start as `value`.
#[track_caller]
fn filled(shape: &Shape, value: f64, dtype: DType) -> Parameter {
    Parameter::new(&Tensor::full_of(shape, value, dtype))
}

/// `(8,)`, `(2, 3)`: as torch prints sizes.
fn tuple(shape: &Shape) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if sizes.len() == 1 { "," } else { "" };
    format!("({}{comma})", sizes.join(", "))
}

/// (x − mean)/√(var + eps)·weight + bias over the last axes, whose sizes are `normalized_shape`; the variance
/// is the biased one. Ba et al. (2016).
///
/// ```
/// use limpid::prelude::*;
/// let norm = LayerNorm::new(2).eps(0.0);
/// assert_eq!(norm.forward(&Tensor::from([[1.0f32, 3.0]])).to_vec::<f32>()?, [-1.0, 1.0]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(label = title, extra_repr = arguments)]
pub struct LayerNorm {
    /// Starts as ones.
    pub weight: Option<Parameter>,
    /// Starts as zeros.
    pub bias: Option<Parameter>,
    #[module(skip)]
    shape: Shape,
    #[module(skip)]
    eps: f64,
    #[module(site)]
    site: Site,
}

impl LayerNorm {
    /// The layer over the last axes, of sizes `normalized_shape`, f32, eps 10⁻⁵.
    #[track_caller]
    pub fn new(normalized_shape: impl Into<Shape>) -> LayerNorm {
        let shape = normalized_shape.into();
        let (weight, bias) = (filled(&shape, 1.0, DType::F32), filled(&shape, 0.0, DType::F32));
        LayerNorm { weight: Some(weight), bias: Some(bias), shape, eps: 1e-5, site: Site::here() }
    }

    /// What is added to the variance (default: 10⁻⁵).
    pub fn eps(mut self, eps: f64) -> LayerNorm {
        self.eps = eps;
        self
    }

    /// Whether there are weight and bias (default: yes).
    #[track_caller]
    pub fn elementwise_affine(mut self, affine: bool) -> LayerNorm {
        let _line = line();
        let dtype = self.param_dtype();
        self.weight = affine.then(|| filled(&self.shape, 1.0, dtype));
        self.bias = affine.then(|| filled(&self.shape, 0.0, dtype));
        self
    }

    /// Whether there is a bias beside the weight (default: yes).
    #[track_caller]
    pub fn bias(mut self, bias: bool) -> LayerNorm {
        let _line = line();
        let (wanted, dtype) = (bias && self.weight.is_some(), self.param_dtype());
        self.bias = wanted.then(|| filled(&self.shape, 0.0, dtype));
        self
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(mut self, dtype: DType) -> LayerNorm {
        let _line = line();
        self.weight = self.weight.map(|_| filled(&self.shape, 1.0, dtype));
        self.bias = self.bias.map(|_| filled(&self.shape, 0.0, dtype));
        self
    }

    fn param_dtype(&self) -> DType {
        self.weight.as_ref().map_or(DType::F32, Parameter::dtype)
    }

    fn title(&self) -> String {
        format!("LayerNorm {}", self.shape)
    }

    fn arguments(&self) -> String {
        let (eps, affine, bias) = (exponent(self.eps), python(self.weight.is_some()), python(self.bias.is_some()));
        format!("{}, eps={eps}, elementwise_affine={affine}, bias={bias}", tuple(&self.shape))
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

/// x/√(mean of x² + eps)·weight over the last axes, whose sizes are `normalized_shape`. Zhang and Sennrich (2019).
///
/// ```
/// use limpid::prelude::*;
/// let norm = RMSNorm::new(2).eps(0.0);
/// assert_eq!(norm.forward(&Tensor::from([[2.0f32, -2.0]])).to_vec::<f32>()?, [1.0, -1.0]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(label = title, extra_repr = arguments)]
pub struct RMSNorm {
    /// Starts as ones.
    pub weight: Option<Parameter>,
    #[module(skip)]
    shape: Shape,
    #[module(skip)]
    eps: Option<f64>,
    #[module(site)]
    site: Site,
}

impl RMSNorm {
    /// The layer over the last axes, of sizes `normalized_shape`, f32, eps the distance from 1 to the next number of
    /// the input's type.
    #[track_caller]
    pub fn new(normalized_shape: impl Into<Shape>) -> RMSNorm {
        let shape = normalized_shape.into();
        RMSNorm { weight: Some(filled(&shape, 1.0, DType::F32)), shape, eps: None, site: Site::here() }
    }

    /// What is added to the mean of the squares.
    pub fn eps(mut self, eps: f64) -> RMSNorm {
        self.eps = Some(eps);
        self
    }

    /// Whether there is a weight (default: yes).
    #[track_caller]
    pub fn elementwise_affine(mut self, affine: bool) -> RMSNorm {
        let _line = line();
        let dtype = self.weight.as_ref().map_or(DType::F32, Parameter::dtype);
        self.weight = affine.then(|| filled(&self.shape, 1.0, dtype));
        self
    }

    /// The type of the weight (default: f32).
    #[track_caller]
    pub fn dtype(mut self, dtype: DType) -> RMSNorm {
        let _line = line();
        self.weight = self.weight.map(|_| filled(&self.shape, 1.0, dtype));
        self
    }

    fn title(&self) -> String {
        format!("RMSNorm {}", self.shape)
    }

    fn arguments(&self) -> String {
        let eps = self.eps.map_or_else(|| "None".to_owned(), exponent);
        format!("{}, eps={eps}, elementwise_affine={}", tuple(&self.shape), python(self.weight.is_some()))
    }
}

impl Forward for RMSNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        let weight = self.weight.as_ref().map(|p| p.tensor());
        scope.output(x.rms_norm(&self.shape, weight.as_ref(), self.eps))
    }
}

/// (x − mean)/√(var + eps) over each group of channels of a sample `[batch, channels, …]`, times a weight plus a bias a
/// channel. Wu and He (2018).
///
/// ```
/// use limpid::prelude::*;
/// let norm = GroupNorm::new(2, 4).eps(0.0);
/// let y = norm.forward(&Tensor::from([[1.0f32, 3.0, 10.0, 30.0]]));
/// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(label = title, extra_repr = arguments)]
pub struct GroupNorm {
    /// One number a channel; starts as ones.
    pub weight: Option<Parameter>,
    /// One number a channel; starts as zeros.
    pub bias: Option<Parameter>,
    #[module(skip)]
    sizes: (usize, usize),
    #[module(skip)]
    eps: f64,
    #[module(site)]
    site: Site,
}

impl GroupNorm {
    /// The layer for `num_channels` channels in `num_groups` equal groups, f32, eps 10⁻⁵. Groups that are not equal
    /// are an error of the result.
    #[track_caller]
    pub fn new(num_groups: usize, num_channels: usize) -> GroupNorm {
        let of = |value: f64| Some(filled(&Shape::from([num_channels]), value, DType::F32));
        let (weight, bias) = (of(1.0), of(0.0));
        GroupNorm { weight, bias, sizes: (num_groups, num_channels), eps: 1e-5, site: Site::here() }
    }

    /// What is added to the variance (default: 10⁻⁵).
    pub fn eps(mut self, eps: f64) -> GroupNorm {
        self.eps = eps;
        self
    }

    /// Whether there are weight and bias (default: yes).
    #[track_caller]
    pub fn affine(mut self, affine: bool) -> GroupNorm {
        let _line = line();
        let (shape, dtype) = (Shape::from([self.sizes.1]), self.param_dtype());
        self.weight = affine.then(|| filled(&shape, 1.0, dtype));
        self.bias = affine.then(|| filled(&shape, 0.0, dtype));
        self
    }

    /// Whether there is a bias beside the weight (default: yes).
    #[track_caller]
    pub fn bias(mut self, bias: bool) -> GroupNorm {
        let _line = line();
        let (wanted, dtype) = (bias && self.weight.is_some(), self.param_dtype());
        self.bias = wanted.then(|| filled(&Shape::from([self.sizes.1]), 0.0, dtype));
        self
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(mut self, dtype: DType) -> GroupNorm {
        let _line = line();
        let shape = Shape::from([self.sizes.1]);
        self.weight = self.weight.map(|_| filled(&shape, 1.0, dtype));
        self.bias = self.bias.map(|_| filled(&shape, 0.0, dtype));
        self
    }

    fn param_dtype(&self) -> DType {
        self.weight.as_ref().map_or(DType::F32, Parameter::dtype)
    }

    fn title(&self) -> String {
        format!("GroupNorm {} of {}", self.sizes.0, self.sizes.1)
    }

    fn arguments(&self) -> String {
        let ((groups, channels), eps) = (self.sizes, exponent(self.eps));
        let (affine, bias) = (python(self.weight.is_some()), python(self.bias.is_some()));
        format!("{groups}, {channels}, eps={eps}, affine={affine}, bias={bias}")
    }
}

impl Forward for GroupNorm {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let (scope, (groups, channels)) = (Scope::enter(self), self.sizes);
        if groups == 0 || !channels.is_multiple_of(groups) {
            let error = Error::new(format!("group_norm: {channels} channels are not {groups} equal groups"));
            return scope.output(failed(error, x, x.shape()));
        }
        let weight = self.weight.as_ref().map(|p| p.tensor());
        let bias = self.bias.as_ref().map(|p| p.tensor());
        scope.output(x.group_norm(groups, weight.as_ref(), bias.as_ref(), self.eps))
    }
}

/// x/(k + alpha/size·Σ x²)^beta, the sum over `size` neighbouring channels. Krizhevsky et al. (2012).
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct LocalResponseNorm {
    size: usize,
    alpha: f64,
    beta: f64,
    k: f64,
    #[module(site)]
    site: Site,
}

/// [`LocalResponseNorm`] of pictures whose window is the same on both sides: of one channel less where `size` is even.
/// Torch has it beside the other for old models.
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct CrossMapLRN2d {
    size: usize,
    alpha: f64,
    beta: f64,
    k: f64,
    #[module(site)]
    site: Site,
}

/// What both are.
macro_rules! response {
    ($($name:ident $function:ident $k:literal,)*) => {$(
        impl $name {
            /// The layer over `size` channels; alpha 10⁻⁴, beta 0.75, k 1.
            #[track_caller]
            pub fn new(size: usize) -> $name {
                $name { size, alpha: 1e-4, beta: 0.75, k: 1.0, site: Site::here() }
            }

            /// The factor of the mean square (default: 10⁻⁴).
            pub fn alpha(mut self, alpha: f64) -> $name {
                self.alpha = alpha;
                self
            }

            /// The exponent (default: 0.75).
            pub fn beta(mut self, beta: f64) -> $name {
                self.beta = beta;
                self
            }

            /// What is added to the mean square (default: 1).
            pub fn k(mut self, k: f64) -> $name {
                self.k = k;
                self
            }

            fn arguments(&self) -> String {
                let [alpha, beta] = [self.alpha, self.beta].map(exponent);
                // Torch keeps the default of one as a whole number.
                let k = if self.k == 1.0 { $k.to_owned() } else { exponent(self.k) };
                format!("{}, alpha={alpha}, beta={beta}, k={k}", self.size)
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Tensor {
                let scope = Scope::enter(self);
                scope.output(x.$function(self.size, self.alpha, self.beta, self.k))
            }
        }
    )*};
}
response! { LocalResponseNorm local_response_norm "1.0", CrossMapLRN2d cross_map_lrn2d "1", }
