//! Attention in several heads.

mod forward;

pub use forward::{MultiHeadAttentionForward, multi_head_attention_forward};

pub(crate) use forward::additive;

use limpid_core::{DType, Tensor};

use crate::Module;
use crate::nn::copy::DeepCopy;
use crate::nn::draws::Draws;
use crate::nn::{Linear, init};
use crate::param::Parameter;
use crate::site::{Scope, Site};
use limpid_core::options;

options! {
    /// What [`MultiheadAttention::forward_with`] leaves out and returns, by torch's names.
    MultiheadAttentionOptions {
        tensors {
            /// `[N, S]`, of one sequence `[S]`: bool, true for keys that are left out, or float, which is added.
            key_padding_mask,
            /// `[L, S]` or `[N·num_heads, L, S]`: bool, true for keys that are left out, or float, which is added.
            attn_mask,
        }
        values {
            /// Whether the weights are a result too (default: yes). Without them the fused kernel is used.
            need_weights: bool = true,
            /// Whether the weights are the mean of the heads (default: yes).
            average_attn_weights: bool = true,
            /// Says that `attn_mask` is the causal mask (default: no). Without weights and padding it is not read then.
            is_causal: bool = false,
        }
    }
}

/// Attention in `num_heads` heads: softmax(q·kᵀ/√D)·v of projected query, key and value, D = embed_dim/num_heads, joined
/// and projected. Vaswani et al. (2017).
///
/// Query `[L, N, embed_dim]`, key `[S, N, kdim]`, value `[S, N, vdim]`; with `batch_first` N comes first; one sequence may
/// come without N. The projections start in Xavier's uniform distribution, their biases as zeros. A `tap` finds the
/// weights of each head as `weights` below the module's path, also where they are not asked for; it knows gradients by
/// them where they are.
///
/// ```
/// use limpid::prelude::*;
/// let attention = MultiheadAttention::new(8, 2).batch_first(true);
/// let x = Tensor::ones([3, 5, 8]);
/// let (y, weights) = attention.forward(&x, &x, &x);
/// assert_eq!(*y.shape(), Shape::from([3, 5, 8]));
/// assert_eq!(*weights.unwrap().shape(), Shape::from([3, 5, 5]));
/// let fast = MultiheadAttentionOptions::new().need_weights(false);
/// let seen = tap(&attention, "weights", || attention.forward_with(&x, &x, &x, &fast).0)?;
/// assert_eq!(*seen.get("weights").unwrap().shape(), Shape::from([3, 2, 5, 5]));
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(label = title)]
pub struct MultiheadAttention {
    /// `[embed_dim, embed_dim]`, where kdim or vdim differs from embed_dim.
    pub q_proj_weight: Option<Parameter>,
    /// `[embed_dim, kdim]`, where kdim or vdim differs from embed_dim.
    pub k_proj_weight: Option<Parameter>,
    /// `[embed_dim, vdim]`, where kdim or vdim differs from embed_dim.
    pub v_proj_weight: Option<Parameter>,
    /// `[3·embed_dim, embed_dim]`: the projections of query, key and value, where all have one size.
    pub in_proj_weight: Option<Parameter>,
    /// `[3·embed_dim]`
    pub in_proj_bias: Option<Parameter>,
    /// `[1, 1, embed_dim]`, with `add_bias_kv`.
    pub bias_k: Option<Parameter>,
    /// `[1, 1, embed_dim]`, with `add_bias_kv`.
    pub bias_v: Option<Parameter>,
    /// The projection of the joined heads.
    pub out_proj: Linear,
    #[module(skip)]
    config: Config,
    #[module(site)]
    site: Site,
    #[module(skip)]
    draws: Draws,
}

/// What the constructor and the setters say.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Config {
    embed_dim: usize,
    num_heads: usize,
    kdim: usize,
    vdim: usize,
    bias: bool,
    add_bias_kv: bool,
    dtype: DType,
    dropout: f64,
    add_zero_attn: bool,
    batch_first: bool,
}

/// All that is drawn.
struct Parameters {
    separate: [Option<Parameter>; 3],
    packed: Option<Parameter>,
    in_proj_bias: Option<Parameter>,
    bias_kv: [Option<Parameter>; 2],
    out_proj: Linear,
}

impl Parameters {
    #[track_caller]
    fn drawn(c: &Config) -> Parameters {
        let (e, dtype) = (c.embed_dim, c.dtype);
        let weight = |out: usize, within: usize| Some(Parameter::new(&init::xavier_uniform([out, within], dtype)));
        let zeros = |n: usize| c.bias.then(|| Parameter::new(&Tensor::zeros_of([n], dtype)));
        let mut out_proj = Linear::new(e, e).bias(c.bias).dtype(dtype);
        out_proj.bias = zeros(e);
        let one = c.kdim == e && c.vdim == e;
        // Xavier's normal distribution: both fans are e.
        let row = || Parameter::new(&(Tensor::zeros_of([1, 1, e], dtype).randn_like() / (e.max(1) as f64).sqrt()));
        Parameters {
            packed: if one { weight(e.saturating_mul(3), e) } else { None },
            separate: if one { [None, None, None] } else { [e, c.kdim, c.vdim].map(|within| weight(e, within)) },
            in_proj_bias: zeros(e.saturating_mul(3)),
            bias_kv: [(); 2].map(|()| c.add_bias_kv.then(row)),
            out_proj,
        }
    }
}

impl MultiheadAttention {
    /// Attention over `embed_dim` features in `num_heads` heads, f32. That `num_heads` does not divide `embed_dim` is an
    /// error of the result.
    #[track_caller]
    pub fn new(embed_dim: usize, num_heads: usize) -> MultiheadAttention {
        let config = Config {
            embed_dim,
            num_heads,
            kdim: embed_dim,
            vdim: embed_dim,
            bias: true,
            add_bias_kv: false,
            dtype: DType::F32,
            dropout: 0.0,
            add_zero_attn: false,
            batch_first: false,
        };
        MultiheadAttention::made(config, Site::here(), None)
    }

    #[track_caller]
    fn made(config: Config, site: Site, draws: Option<Draws>) -> MultiheadAttention {
        let draw = || Parameters::drawn(&config);
        let (drawn, draws) = Draws::either(draws, draw);
        let [q_proj_weight, k_proj_weight, v_proj_weight] = drawn.separate;
        let [bias_k, bias_v] = drawn.bias_kv;
        MultiheadAttention {
            q_proj_weight,
            k_proj_weight,
            v_proj_weight,
            in_proj_weight: drawn.packed,
            in_proj_bias: drawn.in_proj_bias,
            bias_k,
            bias_v,
            out_proj: drawn.out_proj,
            config,
            site,
            draws,
        }
    }

    #[track_caller]
    fn redrawn(self, config: Config) -> MultiheadAttention {
        if config == self.config { self } else { MultiheadAttention::made(config, self.site, Some(self.draws)) }
    }

    /// The probability with which a weight is left out in training (default: 0).
    pub fn dropout(mut self, p: f64) -> MultiheadAttention {
        self.config.dropout = p;
        self
    }

    /// Whether the projections have biases (default: yes).
    #[track_caller]
    pub fn bias(self, bias: bool) -> MultiheadAttention {
        let config = Config { bias, ..self.config };
        self.redrawn(config)
    }

    /// Whether every sequence has a key and a value more, which are learned (default: no).
    #[track_caller]
    pub fn add_bias_kv(self, add: bool) -> MultiheadAttention {
        let config = Config { add_bias_kv: add, ..self.config };
        self.redrawn(config)
    }

    /// Whether every sequence has a key and a value of zeros more (default: no).
    pub fn add_zero_attn(mut self, add: bool) -> MultiheadAttention {
        self.config.add_zero_attn = add;
        self
    }

    /// The features of the key (default: embed_dim).
    #[track_caller]
    pub fn kdim(self, kdim: usize) -> MultiheadAttention {
        let config = Config { kdim, ..self.config };
        self.redrawn(config)
    }

    /// The features of the value (default: embed_dim).
    #[track_caller]
    pub fn vdim(self, vdim: usize) -> MultiheadAttention {
        let config = Config { vdim, ..self.config };
        self.redrawn(config)
    }

    /// Whether the sequences are counted by the first axis, before the places in them (default: no).
    pub fn batch_first(mut self, first: bool) -> MultiheadAttention {
        self.config.batch_first = first;
        self
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> MultiheadAttention {
        let config = Config { dtype, ..self.config };
        self.redrawn(config)
    }

    /// The features of query and result.
    pub fn embed_dim(&self) -> usize {
        self.config.embed_dim
    }

    /// The number of heads.
    pub fn num_heads(&self) -> usize {
        self.config.num_heads
    }

    fn title(&self) -> String {
        format!("MultiheadAttention {}, {} heads", self.config.embed_dim, self.config.num_heads)
    }

    /// The result, and the weights averaged over the heads: [`MultiheadAttention::forward_with`] without masks.
    #[track_caller]
    pub fn forward(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> (Tensor, Option<Tensor>) {
        self.forward_with(query, key, value, &MultiheadAttentionOptions::new())
    }

    /// The result `[L, N, embed_dim]`, or `[N, L, embed_dim]`, and, where they are needed, the weights `[N, L, S]` or
    /// `[N, num_heads, L, S]`. Query, key and value that are one tensor are projected by one matrix product.
    #[track_caller]
    pub fn forward_with(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        options: &MultiheadAttentionOptions,
    ) -> (Tensor, Option<Tensor>) {
        let scope = Scope::enter(self);
        let arguments = self.arguments(options);
        let out = |y: Tensor| crate::Forward::forward(&self.out_proj, &y);
        let found = forward::attend(query, key, value, &arguments, self.config.batch_first, &out);
        let (y, weights) = match found {
            Ok(found) => found,
            Err(error) => forward::refused(error, query, key, value, &arguments),
        };
        (scope.output(y), weights)
    }

    fn arguments(&self, options: &MultiheadAttentionOptions) -> MultiHeadAttentionForward {
        let tensor = |p: &Option<Parameter>| p.as_ref().map(|p| p.tensor());
        MultiHeadAttentionForward {
            in_proj_weight: tensor(&self.in_proj_weight),
            in_proj_bias: tensor(&self.in_proj_bias),
            bias_k: tensor(&self.bias_k),
            bias_v: tensor(&self.bias_v),
            key_padding_mask: options.key_padding_mask.clone(),
            attn_mask: options.attn_mask.clone(),
            q_proj_weight: tensor(&self.q_proj_weight),
            k_proj_weight: tensor(&self.k_proj_weight),
            v_proj_weight: tensor(&self.v_proj_weight),
            embed_dim_to_check: self.config.embed_dim,
            num_heads: self.config.num_heads,
            add_zero_attn: self.config.add_zero_attn,
            dropout_p: self.config.dropout,
            training: self.site.mode().is_training(),
            need_weights: options.need_weights,
            use_separate_proj_weight: self.in_proj_weight.is_none(),
            average_attn_weights: options.average_attn_weights,
            is_causal: options.is_causal,
            ..MultiHeadAttentionForward::new()
        }
    }
}

impl DeepCopy for MultiheadAttention {
    fn deep_copy(&self) -> MultiheadAttention {
        MultiheadAttention {
            q_proj_weight: self.q_proj_weight.deep_copy(),
            k_proj_weight: self.k_proj_weight.deep_copy(),
            v_proj_weight: self.v_proj_weight.deep_copy(),
            in_proj_weight: self.in_proj_weight.deep_copy(),
            in_proj_bias: self.in_proj_bias.deep_copy(),
            bias_k: self.bias_k.deep_copy(),
            bias_v: self.bias_v.deep_copy(),
            out_proj: self.out_proj.deep_copy(),
            ..self.clone()
        }
    }
}
