//! Functions of each element, and softmax.
//!
//! Those without arguments are also constants of the same name, so that `Sequential::new().add(ReLU)` reads as
//! it should; every use of the constant is a layer of its own.

use limpid_core::{DType, Error, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::nn::{exponent, failed};
use crate::param::Parameter;
use crate::site::{Scope, Site};

/// Layers of one function without arguments.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident: $f:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        pub struct $name {
            #[module(site)]
            site: Site,
        }

        $(#[$doc])*
        #[allow(non_upper_case_globals, clippy::declare_interior_mutable_const)] // each use is meant to be a new layer
        pub const $name: $name = $name { site: Site::unplaced() };

        impl $name {
            /// The layer.
            #[allow(clippy::new_without_default)]
            #[track_caller]
            pub fn new() -> $name {
                $name { site: Site::here() }
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Tensor {
                let scope = Scope::enter(self);
                scope.output(x.$f())
            }
        }
    )*};
}

functions! {
    /// max(0, x); the gradient at 0 is 0.
    ReLU: relu;
    /// 1/(1 + e⁻ˣ)
    Sigmoid: sigmoid;
    /// tanh x
    Tanh: tanh;
    /// x·sigmoid(x), also called swish.
    SiLU: silu;
    /// relu6(x + 3)/6: 0 below −3, 1 above 3, a line between.
    Hardsigmoid: hardsigmoid;
    /// x·relu6(x + 3)/6. Howard et al. (2019).
    Hardswish: hardswish;
    /// log(sigmoid(x)), without overflow.
    LogSigmoid: log_sigmoid;
    /// x·tanh(softplus(x)). Misra (2019).
    Mish: mish;
    /// min(max(0, x), 6). Krizhevsky (2010).
    ReLU6: relu6;
    /// λ·x where x > 0, else λ·α·(eˣ − 1), with which normally distributed values stay so. Klambauer et al. (2017).
    SELU: selu;
    /// x/(1 + |x|)
    Softsign: softsign;
    /// x − tanh(x)
    Tanhshrink: tanhshrink;
}

/// x·Φ(x), Φ the distribution function of the normal; with `approximate("tanh")`
/// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
///
/// ```
/// use limpid::prelude::*;
/// let x = Tensor::from([1.0f32]);
/// assert!((GELU::new().forward(&x).item()? - 0.841345).abs() < 1e-6);
/// assert!((GELU::new().approximate("tanh").forward(&x).item()? - 0.841192).abs() < 1e-6);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct GELU {
    approximate: Option<&'static str>,
    #[module(site)]
    site: Site,
}

/// x·Φ(x), Φ the distribution function of the normal.
#[allow(non_upper_case_globals, clippy::declare_interior_mutable_const)] // each use is meant to be a new layer
pub const GELU: GELU = GELU { approximate: None, site: Site::unplaced() };

impl GELU {
    /// The exact form.
    #[allow(clippy::new_without_default)]
    #[track_caller]
    pub fn new() -> GELU {
        GELU { approximate: None, site: Site::here() }
    }

    /// `"none"` (default) or `"tanh"`. Any other word is an error of the result.
    pub fn approximate(mut self, how: &'static str) -> GELU {
        self.approximate = Some(how);
        self
    }

    fn arguments(&self) -> String {
        format!("approximate='{}'", self.approximate.unwrap_or("none"))
    }
}

impl Forward for GELU {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(match self.approximate {
            None | Some("none") => x.gelu(),
            Some("tanh") => x.gelu_tanh(),
            Some(word) => {
                failed(Error::new(format!("GELU: approximate is {word:?}")).help("\"none\" or \"tanh\""), x, x.shape())
            }
        })
    }
}

/// x where x > 0, else `negative_slope`·x.
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct LeakyReLU {
    negative_slope: f64,
    #[module(site)]
    site: Site,
}

impl LeakyReLU {
    /// The layer; torch's default slope is 0.01.
    #[track_caller]
    pub fn new(negative_slope: f64) -> LeakyReLU {
        LeakyReLU { negative_slope, site: Site::here() }
    }

    fn arguments(&self) -> String {
        format!("negative_slope={}", exponent(self.negative_slope))
    }
}

impl Forward for LeakyReLU {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.leaky_relu(self.negative_slope))
    }
}

/// Layers of one function with numbers, each with its default and a setter.
macro_rules! with_numbers {
    ($($(#[$doc:meta])* $name:ident: $f:ident($($(#[$about:meta])* $arg:ident = $default:expr),*), $print:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        #[module(extra_repr = arguments)]
        pub struct $name {
            $($arg: f64,)*
            #[module(site)]
            site: Site,
        }

        $(#[$doc])*
        #[allow(non_upper_case_globals, clippy::declare_interior_mutable_const)] // each use is meant to be a new layer
        pub const $name: $name = $name { $($arg: $default,)* site: Site::unplaced() };

        impl $name {
            /// The layer with torch's defaults.
            #[allow(clippy::new_without_default)]
            #[track_caller]
            pub fn new() -> $name {
                $name { $($arg: $default,)* site: Site::here() }
            }

            $(
                $(#[$about])*
                pub fn $arg(mut self, $arg: f64) -> $name {
                    self.$arg = $arg;
                    self
                }
            )*

            fn arguments(&self) -> String {
                format!($print, $(exponent(self.$arg)),*)
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Tensor {
                let scope = Scope::enter(self);
                scope.output(x.$f($(self.$arg),*))
            }
        }
    )*};
}

with_numbers! {
    /// x where x > 0, else α·(exp(x/α) − 1). Barron (2017). An `alpha` of 0 is an error of the result.
    CELU: celu(
        /// α (default: 1).
        alpha = 1.0
    ), "alpha={}";
    /// x where x > 0, else α·(eˣ − 1). Clevert et al. (2015).
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let model = Sequential::new().add(Linear::new(2, 3)).add(ELU).add(ELU::new().alpha(0.5));
    /// assert_eq!(model[2].extra_repr(), "alpha=0.5");
    /// ```
    ELU: elu(
        /// α (default: 1).
        alpha = 1.0
    ), "alpha={}";
    /// x, and 0 where |x| ≤ λ.
    Hardshrink: hardshrink(
        /// λ (default: 0.5).
        lambd = 0.5
    ), "{}";
    /// x limited to `min_val` … `max_val`. A `min_val` above `max_val` is an error of the result.
    Hardtanh: hardtanh(
        /// The lower limit (default: −1).
        min_val = -1.0,
        /// The upper limit (default: 1).
        max_val = 1.0
    ), "min_val={}, max_val={}";
    /// log(1 + exp(β·x))/β, and x itself where β·x > `threshold`.
    Softplus: softplus_with(
        /// β (default: 1).
        beta = 1.0,
        /// Where the line begins (default: 20).
        threshold = 20.0
    ), "beta={}, threshold={}";
    /// x moved by λ towards 0, and 0 where |x| ≤ λ. A `lambd` below 0 is an error of the result.
    Softshrink: softshrink(
        /// λ (default: 0.5).
        lambd = 0.5
    ), "{}";
}

/// x where x > `threshold`, else `value`.
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct Threshold {
    threshold: f64,
    value: f64,
    #[module(site)]
    site: Site,
}

impl Threshold {
    /// The layer.
    #[track_caller]
    pub fn new(threshold: f64, value: f64) -> Threshold {
        Threshold { threshold, value, site: Site::here() }
    }

    fn arguments(&self) -> String {
        format!("threshold={}, value={}", exponent(self.threshold), exponent(self.value))
    }
}

impl Forward for Threshold {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.threshold(self.threshold, self.value))
    }
}

/// x where x > 0, else r·x: in training r is evenly spread over `lower` … `upper`, drawn for each element, in evaluation
/// it is their mean. Xu et al. (2015). A `lower` above `upper` is an error of the result.
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct RReLU {
    lower: f64,
    upper: f64,
    #[module(site)]
    site: Site,
}

impl RReLU {
    /// The layer from 1/8 to 1/3.
    #[allow(clippy::new_without_default)]
    #[track_caller]
    pub fn new() -> RReLU {
        RReLU { lower: 1.0 / 8.0, upper: 1.0 / 3.0, site: Site::here() }
    }

    /// The smallest slope (default: 1/8).
    pub fn lower(mut self, lower: f64) -> RReLU {
        self.lower = lower;
        self
    }

    /// The largest slope (default: 1/3).
    pub fn upper(mut self, upper: f64) -> RReLU {
        self.upper = upper;
        self
    }

    fn arguments(&self) -> String {
        format!("lower={}, upper={}", exponent(self.lower), exponent(self.upper))
    }
}

impl Forward for RReLU {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        let drawn = self.site.mode().is_training() || self.lower > self.upper;
        scope.output(if drawn {
            x.rrelu(self.lower, self.upper)
        } else {
            x.leaky_relu(f64::midpoint(self.lower, self.upper))
        })
    }
}

/// x where x > 0, else w·x with a trained w: one for all elements, or one for each channel (axis 1). He et al. (2015).
///
/// ```
/// use limpid::prelude::*;
/// let layer = PReLU::new().num_parameters(3).init(0.5);
/// let y = layer.forward(&Tensor::full([1, 3, 2], -1.0));
/// assert_eq!(y.to_vec::<f32>()?, [-0.5; 6]);
/// assert_eq!(layer.weight.numel(), 3);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct PReLU {
    /// `[num_parameters]`
    pub weight: Parameter,
    #[module(skip)]
    init: f64,
    #[module(site)]
    site: Site,
}

impl PReLU {
    /// One w of 0.25, f32.
    #[allow(clippy::new_without_default)]
    #[track_caller]
    pub fn new() -> PReLU {
        PReLU::made(1, 0.25, DType::F32, Site::here())
    }

    #[track_caller]
    fn made(count: usize, init: f64, dtype: DType, site: Site) -> PReLU {
        PReLU { weight: Parameter::new(&Tensor::full_of([count], init, dtype)), init, site }
    }

    /// The exponent of w: 1, or that of the channels.
    #[track_caller]
    pub fn num_parameters(self, count: usize) -> PReLU {
        PReLU::made(count, self.init, self.weight.dtype(), self.site)
    }

    /// What each w is at first (default: 0.25).
    #[track_caller]
    pub fn init(self, init: f64) -> PReLU {
        PReLU::made(self.weight.numel(), init, self.weight.dtype(), self.site)
    }

    /// The type of the parameter (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> PReLU {
        PReLU::made(self.weight.numel(), self.init, dtype, self.site)
    }

    fn arguments(&self) -> String {
        format!("num_parameters={}", self.weight.numel())
    }
}

impl Forward for PReLU {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.prelu(&self.weight.tensor()))
    }
}

/// exp(x) / Σ exp(x) over the channels of images `[n, c, h, w]` or `[c, h, w]`.
#[derive(Clone, Debug, Module)]
pub struct Softmax2d {
    #[module(site)]
    site: Site,
}

impl Softmax2d {
    /// The layer.
    #[allow(clippy::new_without_default)]
    #[track_caller]
    pub fn new() -> Softmax2d {
        Softmax2d { site: Site::here() }
    }
}

impl Forward for Softmax2d {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(if matches!(x.rank(), 3 | 4) {
            x.softmax(-3)
        } else {
            let error = Error::new(format!("Softmax2d: the input {} is neither [n, c, h, w] nor [c, h, w]", x.shape()));
            failed(error.help("Softmax::new(dim) over another axis"), x, x.shape())
        })
    }
}

/// Layers over one axis.
macro_rules! over_axis {
    ($($(#[$doc:meta])* $name:ident: $f:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        #[module(extra_repr = arguments)]
        pub struct $name {
            dim: isize,
            #[module(site)]
            site: Site,
        }

        impl $name {
            /// The layer over axis `dim`; negative ones count from the end.
            #[track_caller]
            pub fn new(dim: isize) -> $name {
                $name { dim, site: Site::here() }
            }

            fn arguments(&self) -> String {
                format!("dim={}", self.dim)
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Tensor {
                let scope = Scope::enter(self);
                scope.output(x.$f(self.dim))
            }
        }
    )*};
}

over_axis! {
    /// exp(x) / Σ exp(x) along one axis, without overflow.
    Softmax: softmax;
    /// log(softmax(x)) along one axis, without overflow or cancellation.
    LogSoftmax: log_softmax;
    /// exp(−x) / Σ exp(−x) along one axis, without overflow.
    Softmin: softmin;
    /// a·sigmoid(b) of the halves a and b along one axis; torch's default is −1. Dauphin et al. (2016).
    GLU: glu;
}
