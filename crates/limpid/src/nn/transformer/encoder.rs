//! Self-attention and a network of two layers, once and stacked.

use std::fmt;
use std::sync::Arc;

use limpid_core::{DType, Error, Tensor, grad_enabled};

use super::config::{Activation, Config, Configured, layer_setters, masked};
use crate::nn::attention::additive;
use crate::nn::copy::DeepCopy;
use crate::nn::draws::Draws;
use crate::nn::{Dropout, LayerNorm, Linear, MultiheadAttention, failed};
use crate::site::{Scope, Site};
use crate::{Forward, Module};
use limpid_core::options;

options! {
    /// The masks of an encoder, by torch's names.
    EncoderOptions {
        tensors {
            /// `[S, S]` or `[N·nhead, S, S]`: bool, true for keys that are left out, or float, which is added. Torch's
            /// `TransformerEncoder` calls it `mask`.
            src_mask,
            /// `[N, S]`, of one sequence `[S]`: bool, true for padding, or float, which is added.
            src_key_padding_mask,
        }
        values {
            /// Says that the mask is the causal one (default: no). Without padding it is not read then.
            is_causal: bool = false,
        }
    }
}

/// norm1(x + attention(x)), then norm2(x + linear2(activation(linear1(x)))), with dropout in each part; with `norm_first`
/// x + attention(norm1(x)), then x + linear2(activation(linear1(norm2(x)))). Vaswani et al. (2017).
///
/// `[S, N, d_model]` → the same, with `batch_first` `[N, S, d_model]`; one sequence may come without N.
///
/// ```
/// use limpid::prelude::*;
/// let layer = TransformerEncoderLayer::new(8, 2).dim_feedforward(16).batch_first(true);
/// let x = Tensor::ones([3, 5, 8]);
/// assert_eq!(*layer.forward(&x).shape(), Shape::from([3, 5, 8]));
/// let causal = Transformer::generate_square_subsequent_mask(5);
/// let y = layer.forward_with(&x, &EncoderOptions::new().src_mask(&causal).is_causal(true));
/// assert_eq!(*y.shape(), Shape::from([3, 5, 8]));
/// ```
#[derive(Clone, Debug, Module)]
pub struct TransformerEncoderLayer {
    /// Each place looks at all others.
    pub self_attn: MultiheadAttention,
    /// To `dim_feedforward`.
    pub linear1: Linear,
    dropout: Dropout,
    /// Back to `d_model`.
    pub linear2: Linear,
    /// Of the attention.
    pub norm1: LayerNorm,
    /// Of the two linear layers.
    pub norm2: LayerNorm,
    dropout1: Dropout,
    dropout2: Dropout,
    #[module(skip)]
    config: Config,
    #[module(site)]
    site: Site,
    #[module(skip)]
    draws: Draws,
}

layer_setters!(TransformerEncoderLayer);

impl TransformerEncoderLayer {
    /// A layer over `d_model` features with `nhead` heads, f32.
    #[track_caller]
    pub fn new(d_model: usize, nhead: usize) -> TransformerEncoderLayer {
        TransformerEncoderLayer::made(Config::new(d_model, nhead), Site::here(), None)
    }

    #[track_caller]
    pub(super) fn made(config: Config, site: Site, draws: Option<Draws>) -> TransformerEncoderLayer {
        let (d, wide) = (config.d_model, config.dim_feedforward);
        let draw = || (config.attention(), config.linear(d, wide), config.linear(wide, d));
        let ((self_attn, linear1, linear2), draws) = Draws::either(draws, draw);
        TransformerEncoderLayer {
            self_attn,
            linear1,
            dropout: config.drop(),
            linear2,
            norm1: config.norm(),
            norm2: config.norm(),
            dropout1: config.drop(),
            dropout2: config.drop(),
            config,
            site,
            draws,
        }
    }

    /// The result for `src` with masks.
    #[track_caller]
    pub fn forward_with(&self, src: &Tensor, options: &EncoderOptions) -> Tensor {
        let scope = Scope::enter(self);
        let y = if self.config.norm_first {
            let x = src + self.attend(&self.norm1.forward(src), options);
            &x + self.feed_forward(&self.norm2.forward(&x))
        } else {
            let x = self.norm1.forward(&(src + self.attend(src, options)));
            self.norm2.forward(&(&x + self.feed_forward(&x)))
        };
        scope.output(y)
    }

    fn attend(&self, x: &Tensor, options: &EncoderOptions) -> Tensor {
        let options = masked(&options.src_key_padding_mask, &options.src_mask, options.is_causal);
        self.dropout1.forward(&self.self_attn.forward_with(x, x, x, &options).0)
    }

    fn feed_forward(&self, x: &Tensor) -> Tensor {
        let wide = self.config.activate(&self.linear1.forward(x));
        self.dropout2.forward(&self.linear2.forward(&self.dropout.forward(&wide)))
    }
}

impl Forward for TransformerEncoderLayer {
    #[track_caller]
    fn forward(&self, src: &Tensor) -> Tensor {
        self.forward_with(src, &EncoderOptions::new())
    }
}

impl Configured for TransformerEncoderLayer {
    fn config(&self) -> &Config {
        &self.config
    }

    #[track_caller]
    fn remade(self, config: Config) -> TransformerEncoderLayer {
        TransformerEncoderLayer::made(config, self.site, Some(self.draws))
    }

    fn fitted(self, config: Config) -> TransformerEncoderLayer {
        TransformerEncoderLayer {
            self_attn: config.fit_attention(self.self_attn),
            dropout: config.drop(),
            norm1: self.norm1.eps(config.layer_norm_eps),
            norm2: self.norm2.eps(config.layer_norm_eps),
            dropout1: config.drop(),
            dropout2: config.drop(),
            config,
            ..self
        }
    }
}

impl DeepCopy for TransformerEncoderLayer {
    fn deep_copy(&self) -> TransformerEncoderLayer {
        TransformerEncoderLayer {
            self_attn: self.self_attn.deep_copy(),
            linear1: self.linear1.deep_copy(),
            linear2: self.linear2.deep_copy(),
            norm1: self.norm1.deep_copy(),
            norm2: self.norm2.deep_copy(),
            ..self.clone()
        }
    }
}

/// `num_layers` layers one after the other, and a norm of the last one's result, where there is one. All start with
/// the parameters of the layer that is given, as in torch, and have their own from then on.
///
/// In evaluation without gradients torch turns a padded batch into sequences of different lengths, and its result has
/// zeros in the place of padding. So has this one, under the same conditions; `enable_nested_tensor(false)` ends that.
///
/// ```
/// use limpid::prelude::*;
/// let layer = TransformerEncoderLayer::new(8, 2).dim_feedforward(16);
/// let encoder = TransformerEncoder::new(&layer, 2).norm(LayerNorm::new(8));
/// assert_eq!(*encoder.forward(&Tensor::ones([5, 3, 8])).shape(), Shape::from([5, 3, 8]));
/// assert!(encoder.state_dict().get("layers.1.self_attn.in_proj_weight").is_some());
/// ```
#[derive(Clone, Module)]
pub struct TransformerEncoder {
    /// One after the other.
    pub layers: Vec<TransformerEncoderLayer>,
    norm: Option<Arc<dyn Forward>>,
    #[module(skip)]
    enable_nested_tensor: bool,
    #[module(skip)]
    mask_check: bool,
    #[module(site)]
    site: Site,
}

impl TransformerEncoder {
    /// `num_layers` copies of `encoder_layer`.
    #[track_caller]
    pub fn new(encoder_layer: &TransformerEncoderLayer, num_layers: usize) -> TransformerEncoder {
        let layers = (0..num_layers).map(|_| encoder_layer.deep_copy()).collect();
        TransformerEncoder::of(layers, Site::here())
    }

    pub(super) fn of(layers: Vec<TransformerEncoderLayer>, site: Site) -> TransformerEncoder {
        TransformerEncoder { layers, norm: None, enable_nested_tensor: true, mask_check: true, site }
    }

    /// What normalises the last layer's result (default: nothing).
    pub fn norm(mut self, norm: impl Forward + 'static) -> TransformerEncoder {
        self.norm = Some(Arc::new(norm));
        self
    }

    /// Whether results are zero in the place of padding in evaluation without gradients (default: yes).
    pub fn enable_nested_tensor(mut self, enable: bool) -> TransformerEncoder {
        self.enable_nested_tensor = enable;
        self
    }

    /// Whether it is seen to that padding comes behind all else before results are set to zero there (default: yes).
    pub fn mask_check(mut self, check: bool) -> TransformerEncoder {
        self.mask_check = check;
        self
    }

    /// The result for `src` with masks. Whether the mask is causal need not be said: torch looks for it to choose a
    /// kernel, and the result is the same.
    #[track_caller]
    pub fn forward_with(&self, src: &Tensor, options: &EncoderOptions) -> Tensor {
        let scope = Scope::enter(self);
        let Some(first) = self.layers.first() else {
            let error = Error::new("TransformerEncoder: no layers").help("num_layers above 0");
            return scope.output(failed(error, src, src.shape()));
        };
        let mut y = src.clone();
        for layer in &self.layers {
            y = layer.forward_with(&y, options);
        }
        if let Some(padding) = self.unpadded(first, src, options) {
            y = y.masked_fill(&padding.unsqueeze(-1), 0.0);
        }
        if let Some(norm) = &self.norm {
            y = norm.forward(&y);
        }
        scope.output(y)
    }

    /// Where torch's result is zero, because it computes with nested tensors: `[N, S]`.
    fn unpadded(&self, first: &TransformerEncoderLayer, src: &Tensor, options: &EncoderOptions) -> Option<Tensor> {
        let config = &first.config;
        let padding = options.src_key_padding_mask.as_ref().filter(|_| options.src_mask.is_none())?;
        let eligible = self.enable_nested_tensor
            && !config.norm_first
            && config.batch_first
            && config.bias
            && config.activation.is_relu_or_gelu()
            && config.nhead.is_multiple_of(2)
            && !first.site.mode().is_training()
            && src.rank() == 3;
        let differentiates = || src.requires_grad() || first.parameters().iter().any(|p| p.requires_grad());
        if !eligible || (grad_enabled() && differentiates()) || padding.shape()[..] != src.shape()[..2] {
            return None;
        }
        let padding = match additive("src_key_padding_mask", padding, src.dtype()) {
            Ok(added) => added.eq(f64::NEG_INFINITY),
            // The layers have said so.
            Err(_) => return None,
        };
        let s = padding.size(1);
        if !self.mask_check || s < 2 {
            return Some(padding);
        }
        // Padding before what counts: torch computes as ever.
        let (before, behind) = (padding.narrow(1, 0, s - 1), padding.narrow(1, 1, s - 1));
        let unordered = before.logical_and(&behind.logical_not()).to_dtype(DType::I64).sum(..);
        Some(padding.logical_and(&unordered.eq(0).expand_to(padding.shape())))
    }
}

impl Forward for TransformerEncoder {
    #[track_caller]
    fn forward(&self, src: &Tensor) -> Tensor {
        self.forward_with(src, &EncoderOptions::new())
    }
}

impl fmt::Debug for TransformerEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
