//! What the layers of a transformer have in common: their arguments, and the parts made from them.

use std::fmt;
use std::sync::Arc;

use limpid_core::{DType, Error, Tensor};

use crate::nn::{Dropout, LayerNorm, Linear, MultiheadAttention, MultiheadAttentionOptions, failed, init};
use crate::param::Parameter;

/// The function between the two linear layers: `"relu"` (default), `"gelu"`, or any function of a tensor.
///
/// ```
/// use limpid::prelude::*;
/// let layer = TransformerEncoderLayer::new(4, 2).activation("gelu");
/// let other = TransformerEncoderLayer::new(4, 2).activation(|x: &Tensor| x.silu());
/// assert_eq!(layer.forward(&Tensor::zeros([3, 4])).shape(), other.forward(&Tensor::zeros([3, 4])).shape());
/// ```
#[derive(Clone)]
pub struct Activation(Function);

#[derive(Clone)]
enum Function {
    Relu,
    Gelu,
    Other(Arc<dyn Fn(&Tensor) -> Tensor + Send + Sync>),
    Unknown(String),
}

impl From<&str> for Activation {
    /// Another word than relu and gelu is an error of the result.
    fn from(name: &str) -> Activation {
        Activation(match name {
            "relu" => Function::Relu,
            "gelu" => Function::Gelu,
            other => Function::Unknown(other.to_owned()),
        })
    }
}

impl<F: Fn(&Tensor) -> Tensor + Send + Sync + 'static> From<F> for Activation {
    fn from(f: F) -> Activation {
        Activation(Function::Other(Arc::new(f)))
    }
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Function::Relu => "relu",
            Function::Gelu => "gelu",
            Function::Other(_) => "function",
            Function::Unknown(name) => name,
        })
    }
}

impl Activation {
    fn apply(&self, x: &Tensor) -> Tensor {
        match &self.0 {
            Function::Relu => x.relu(),
            Function::Gelu => x.gelu(),
            Function::Other(f) => f(x),
            Function::Unknown(name) => failed(
                Error::new(format!("activation is {name:?}")).help("\"relu\", \"gelu\" or a function"),
                x,
                x.shape(),
            ),
        }
    }

    /// One of the two that torch's fast path knows.
    pub(super) fn is_relu_or_gelu(&self) -> bool {
        matches!(self.0, Function::Relu | Function::Gelu)
    }
}

/// The arguments of a layer.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) d_model: usize,
    pub(super) nhead: usize,
    pub(super) dim_feedforward: usize,
    pub(super) dropout: f64,
    pub(super) activation: Activation,
    pub(super) layer_norm_eps: f64,
    pub(super) batch_first: bool,
    pub(super) norm_first: bool,
    pub(super) bias: bool,
    pub(super) dtype: DType,
    /// Whether all matrices start in Xavier's distribution, as in a whole transformer.
    pub(super) xavier: bool,
}

impl Config {
    pub(super) fn new(d_model: usize, nhead: usize) -> Config {
        Config {
            d_model,
            nhead,
            dim_feedforward: 2048,
            dropout: 0.1,
            activation: "relu".into(),
            layer_norm_eps: 1e-5,
            batch_first: false,
            norm_first: false,
            bias: true,
            dtype: DType::F32,
            xavier: false,
        }
    }

    /// Whether layers of both have the same parameters.
    pub(super) fn draws_as(&self, other: &Config) -> bool {
        (self.dim_feedforward, self.bias, self.dtype) == (other.dim_feedforward, other.bias, other.dtype)
    }

    pub(super) fn attention(&self) -> MultiheadAttention {
        let mut made = MultiheadAttention::new(self.d_model, self.nhead).bias(self.bias).dtype(self.dtype);
        made.out_proj = self.initialised(made.out_proj);
        self.fit_attention(made)
    }

    pub(super) fn fit_attention(&self, attention: MultiheadAttention) -> MultiheadAttention {
        attention.dropout(self.dropout).batch_first(self.batch_first)
    }

    pub(super) fn linear(&self, within: usize, out: usize) -> Linear {
        self.initialised(Linear::new(within, out).bias(self.bias).dtype(self.dtype))
    }

    #[track_caller]
    fn initialised(&self, mut linear: Linear) -> Linear {
        if self.xavier {
            let sizes = [linear.out_features(), linear.in_features()];
            linear.weight = Parameter::new(&init::xavier_uniform(sizes, self.dtype));
        }
        linear
    }

    #[track_caller]
    pub(super) fn norm(&self) -> LayerNorm {
        LayerNorm::new(self.d_model).eps(self.layer_norm_eps).bias(self.bias).dtype(self.dtype)
    }

    pub(super) fn drop(&self) -> Dropout {
        Dropout::new(self.dropout)
    }

    pub(super) fn activate(&self, x: &Tensor) -> Tensor {
        self.activation.apply(x)
    }
}

/// Attention without its weights, with these masks.
pub(super) fn masked(padding: &Option<Tensor>, mask: &Option<Tensor>, is_causal: bool) -> MultiheadAttentionOptions {
    let (key_padding_mask, attn_mask) = (padding.clone(), mask.clone());
    let need_weights = false;
    MultiheadAttentionOptions { key_padding_mask, attn_mask, need_weights, is_causal, ..Default::default() }
}

/// A layer, or several, made from a [`Config`].
pub(super) trait Configured: Sized {
    fn config(&self) -> &Config;

    /// The same with parameters for `config`, drawn again from where they were drawn.
    fn remade(self, config: Config) -> Self;

    /// The same parameters with the rest of `config`.
    fn fitted(self, config: Config) -> Self;

    #[track_caller]
    fn with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config().clone();
        change(&mut config);
        if config.draws_as(self.config()) { self.fitted(config) } else { self.remade(config) }
    }
}

/// The setters that all of them have.
macro_rules! layer_setters {
    ($name:ty) => {
        impl $name {
            /// The size between the two linear layers (default: 2048).
            pub fn dim_feedforward(self, size: usize) -> $name {
                self.with(|config| config.dim_feedforward = size)
            }

            /// The probability of dropout after each part and of the attention's weights (default: 0.1).
            pub fn dropout(self, p: f64) -> $name {
                self.with(|config| config.dropout = p)
            }

            /// The function between the two linear layers: `"relu"` (default), `"gelu"`, or any function of a tensor.
            pub fn activation(self, activation: impl Into<Activation>) -> $name {
                self.with(|config| config.activation = activation.into())
            }

            /// What the norms add to the variance (default: 10⁻⁵).
            pub fn layer_norm_eps(self, eps: f64) -> $name {
                self.with(|config| config.layer_norm_eps = eps)
            }

            /// Whether the sequences are counted by the first axis, before the places in them (default: no).
            pub fn batch_first(self, first: bool) -> $name {
                self.with(|config| config.batch_first = first)
            }

            /// Whether each part takes a normalised input instead of normalising its sum (default: no). Xiong et al.
            /// (2020).
            pub fn norm_first(self, first: bool) -> $name {
                self.with(|config| config.norm_first = first)
            }

            /// Whether linear layers and norms have biases (default: yes).
            pub fn bias(self, bias: bool) -> $name {
                self.with(|config| config.bias = bias)
            }

            /// The type of the parameters (default: f32).
            pub fn dtype(self, dtype: DType) -> $name {
                self.with(|config| config.dtype = dtype)
            }
        }
    };
}

pub(super) use layer_setters;
