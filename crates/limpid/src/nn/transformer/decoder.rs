//! Self-attention, attention to what an encoder made, and a network of two layers, once and stacked.

use std::fmt;
use std::sync::Arc;

use limpid_core::{DType, Error, Tensor};

use super::config::{Activation, Config, Configured, layer_setters, masked};
use crate::nn::copy::DeepCopy;
use crate::nn::draws::Draws;
use crate::nn::{Dropout, LayerNorm, Linear, MultiheadAttention, failed};
use crate::site::{Scope, Site};
use crate::{Forward, Module};
use limpid_core::options;

options! {
    /// The masks of a decoder, by torch's names.
    DecoderOptions {
        tensors {
            /// `[T, T]` or `[N·nhead, T, T]`: bool, true for keys that are left out, or float, which is added.
            tgt_mask,
            /// `[T, S]` or `[N·nhead, T, S]`, of the attention to the memory.
            memory_mask,
            /// `[N, T]`, of one sequence `[T]`: bool, true for padding, or float, which is added.
            tgt_key_padding_mask,
            /// `[N, S]`, of one sequence `[S]`: the padding of the memory.
            memory_key_padding_mask,
        }
        values {
            /// Says that `tgt_mask` is the causal one (default: no). Without padding it is not read then.
            tgt_is_causal: bool = false,
            /// Says that `memory_mask` is the causal one (default: no). Without padding it is not read then.
            memory_is_causal: bool = false,
        }
    }
}

/// norm1(x + attention(x)), norm2(x + attention(x, memory)), norm3(x + linear2(activation(linear1(x)))), with dropout in
/// each part; with `norm_first` the parts take normalised inputs. Vaswani et al. (2017).
///
/// `[T, N, d_model]` with a memory `[S, N, d_model]` → `[T, N, d_model]`, with `batch_first` N first; one sequence may
/// come without N.
#[derive(Clone, Debug, Module)]
pub struct TransformerDecoderLayer {
    /// Each place looks at all others.
    pub self_attn: MultiheadAttention,
    /// Each place looks at the memory.
    pub multihead_attn: MultiheadAttention,
    /// To `dim_feedforward`.
    pub linear1: Linear,
    dropout: Dropout,
    /// Back to `d_model`.
    pub linear2: Linear,
    /// Of the self-attention.
    pub norm1: LayerNorm,
    /// Of the attention to the memory.
    pub norm2: LayerNorm,
    /// Of the two linear layers.
    pub norm3: LayerNorm,
    dropout1: Dropout,
    dropout2: Dropout,
    dropout3: Dropout,
    #[module(skip)]
    config: Config,
    #[module(site)]
    site: Site,
    #[module(skip)]
    draws: Draws,
}

layer_setters!(TransformerDecoderLayer);

impl TransformerDecoderLayer {
    /// A layer over `d_model` features with `nhead` heads, f32.
    #[track_caller]
    pub fn new(d_model: usize, nhead: usize) -> TransformerDecoderLayer {
        TransformerDecoderLayer::made(Config::new(d_model, nhead), Site::here(), None)
    }

    #[track_caller]
    pub(super) fn made(config: Config, site: Site, draws: Option<Draws>) -> TransformerDecoderLayer {
        let (d, wide) = (config.d_model, config.dim_feedforward);
        let draw = || ([config.attention(), config.attention()], config.linear(d, wide), config.linear(wide, d));
        let (drawn, draws) = Draws::either(draws, draw);
        let ([self_attn, multihead_attn], linear1, linear2) = drawn;
        TransformerDecoderLayer {
            self_attn,
            multihead_attn,
            linear1,
            dropout: config.drop(),
            linear2,
            norm1: config.norm(),
            norm2: config.norm(),
            norm3: config.norm(),
            dropout1: config.drop(),
            dropout2: config.drop(),
            dropout3: config.drop(),
            config,
            site,
            draws,
        }
    }

    /// The result for `tgt` and `memory`, without masks.
    #[track_caller]
    pub fn forward(&self, tgt: &Tensor, memory: &Tensor) -> Tensor {
        self.forward_with(tgt, memory, &DecoderOptions::new())
    }

    /// The result for `tgt` and `memory` with masks.
    #[track_caller]
    pub fn forward_with(&self, tgt: &Tensor, memory: &Tensor, options: &DecoderOptions) -> Tensor {
        let scope = Scope::enter(self);
        let y = if self.config.norm_first {
            let x = tgt + self.attend(&self.norm1.forward(tgt), options);
            let x = &x + self.look(&self.norm2.forward(&x), memory, options);
            &x + self.feed_forward(&self.norm3.forward(&x))
        } else {
            let x = self.norm1.forward(&(tgt + self.attend(tgt, options)));
            let x = self.norm2.forward(&(&x + self.look(&x, memory, options)));
            self.norm3.forward(&(&x + self.feed_forward(&x)))
        };
        scope.output(y)
    }

    fn attend(&self, x: &Tensor, options: &DecoderOptions) -> Tensor {
        let options = masked(&options.tgt_key_padding_mask, &options.tgt_mask, options.tgt_is_causal);
        self.dropout1.forward(&self.self_attn.forward_with(x, x, x, &options).0)
    }

    fn look(&self, x: &Tensor, memory: &Tensor, options: &DecoderOptions) -> Tensor {
        let options = masked(&options.memory_key_padding_mask, &options.memory_mask, options.memory_is_causal);
        self.dropout2.forward(&self.multihead_attn.forward_with(x, memory, memory, &options).0)
    }

    fn feed_forward(&self, x: &Tensor) -> Tensor {
        let wide = self.config.activate(&self.linear1.forward(x));
        self.dropout3.forward(&self.linear2.forward(&self.dropout.forward(&wide)))
    }
}

impl Configured for TransformerDecoderLayer {
    fn config(&self) -> &Config {
        &self.config
    }

    #[track_caller]
    fn remade(self, config: Config) -> TransformerDecoderLayer {
        TransformerDecoderLayer::made(config, self.site, Some(self.draws))
    }

    fn fitted(self, config: Config) -> TransformerDecoderLayer {
        TransformerDecoderLayer {
            self_attn: config.fit_attention(self.self_attn),
            multihead_attn: config.fit_attention(self.multihead_attn),
            dropout: config.drop(),
            norm1: self.norm1.eps(config.layer_norm_eps),
            norm2: self.norm2.eps(config.layer_norm_eps),
            norm3: self.norm3.eps(config.layer_norm_eps),
            dropout1: config.drop(),
            dropout2: config.drop(),
            dropout3: config.drop(),
            config,
            ..self
        }
    }
}

impl DeepCopy for TransformerDecoderLayer {
    fn deep_copy(&self) -> TransformerDecoderLayer {
        TransformerDecoderLayer {
            self_attn: self.self_attn.deep_copy(),
            multihead_attn: self.multihead_attn.deep_copy(),
            linear1: self.linear1.deep_copy(),
            linear2: self.linear2.deep_copy(),
            norm1: self.norm1.deep_copy(),
            norm2: self.norm2.deep_copy(),
            norm3: self.norm3.deep_copy(),
            ..self.clone()
        }
    }
}

/// `num_layers` layers one after the other, and a norm of the last one's result, where there is one. All start with
/// the parameters of the layer that is given, as in torch, and have their own from then on.
#[derive(Clone, Module)]
pub struct TransformerDecoder {
    /// One after the other.
    pub layers: Vec<TransformerDecoderLayer>,
    norm: Option<Arc<dyn Forward>>,
    #[module(site)]
    site: Site,
}

impl TransformerDecoder {
    /// `num_layers` copies of `decoder_layer`.
    #[track_caller]
    pub fn new(decoder_layer: &TransformerDecoderLayer, num_layers: usize) -> TransformerDecoder {
        let layers = (0..num_layers).map(|_| decoder_layer.deep_copy()).collect();
        TransformerDecoder::of(layers, Site::here())
    }

    pub(super) fn of(layers: Vec<TransformerDecoderLayer>, site: Site) -> TransformerDecoder {
        TransformerDecoder { layers, norm: None, site }
    }

    /// What normalises the last layer's result (default: nothing).
    pub fn norm(mut self, norm: impl Forward + 'static) -> TransformerDecoder {
        self.norm = Some(Arc::new(norm));
        self
    }

    /// The result for `tgt` and `memory`, without masks.
    #[track_caller]
    pub fn forward(&self, tgt: &Tensor, memory: &Tensor) -> Tensor {
        self.forward_with(tgt, memory, &DecoderOptions::new())
    }

    /// The result for `tgt` and `memory` with masks. Whether the mask is causal need not be said: torch looks for it to
    /// choose a kernel, and the result is the same.
    #[track_caller]
    pub fn forward_with(&self, tgt: &Tensor, memory: &Tensor, options: &DecoderOptions) -> Tensor {
        let scope = Scope::enter(self);
        if self.layers.is_empty() {
            let error = Error::new("TransformerDecoder: no layers").help("num_layers above 0");
            return scope.output(failed(error, tgt, tgt.shape()));
        }
        let mut y = tgt.clone();
        for layer in &self.layers {
            y = layer.forward_with(&y, memory, options);
        }
        if let Some(norm) = &self.norm {
            y = norm.forward(&y);
        }
        scope.output(y)
    }
}

impl fmt::Debug for TransformerDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
