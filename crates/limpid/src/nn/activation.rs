//! Functions of each element, and softmax.
//!
//! Those without arguments are also constants of the same name, so that `Sequential::new().add(ReLU)` reads as
//! it should; every use of the constant is a layer of its own.

use limpid_core::{Error, Tensor};

use crate::module::{Forward, Module, Visitor};
use crate::nn::failed;
use crate::site::{Scope, Site};

/// Layers of one function without arguments.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident: $f:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
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

        impl Module for $name {
            fn visit(&self, _visitor: &mut dyn Visitor) {}
            fn kind(&self) -> &'static str {
                stringify!($name)
            }
            fn site(&self) -> Option<&Site> {
                Some(&self.site)
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
#[derive(Clone, Debug)]
pub struct GELU {
    approximate: Option<&'static str>,
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
}

impl Module for GELU {
    fn visit(&self, _visitor: &mut dyn Visitor) {}
    fn kind(&self) -> &'static str {
        "GELU"
    }
    fn extra_repr(&self) -> String {
        format!("approximate='{}'", self.approximate.unwrap_or("none"))
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
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
#[derive(Clone, Debug)]
pub struct LeakyReLU {
    negative_slope: f64,
    site: Site,
}

impl LeakyReLU {
    /// The layer; torch's default slope is 0.01.
    #[track_caller]
    pub fn new(negative_slope: f64) -> LeakyReLU {
        LeakyReLU { negative_slope, site: Site::here() }
    }
}

impl Module for LeakyReLU {
    fn visit(&self, _visitor: &mut dyn Visitor) {}
    fn kind(&self) -> &'static str {
        "LeakyReLU"
    }
    fn extra_repr(&self) -> String {
        format!("negative_slope={}", self.negative_slope)
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}

impl Forward for LeakyReLU {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.leaky_relu(self.negative_slope))
    }
}

/// Layers over one axis.
macro_rules! over_axis {
    ($($(#[$doc:meta])* $name:ident: $f:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            dim: isize,
            site: Site,
        }

        impl $name {
            /// The layer over axis `dim`; negative ones count from the end.
            #[track_caller]
            pub fn new(dim: isize) -> $name {
                $name { dim, site: Site::here() }
            }
        }

        impl Module for $name {
            fn visit(&self, _visitor: &mut dyn Visitor) {}
            fn kind(&self) -> &'static str {
                stringify!($name)
            }
            fn extra_repr(&self) -> String {
                format!("dim={}", self.dim)
            }
            fn site(&self) -> Option<&Site> {
                Some(&self.site)
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
}
