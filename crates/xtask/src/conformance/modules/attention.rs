//! Attention and transformers.

use std::rc::Rc;

use limpid::nn::{
    Activation, DecoderOptions, EncoderOptions, LayerNorm, MultiheadAttention, MultiheadAttentionOptions, Transformer,
    TransformerDecoder, TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer, TransformerOptions,
};
use limpid::{DType, Module, Tensor};
use serde_json::Value as Json;

use super::{Built, Make};
use crate::conformance::args::{Args, Read, Result, Tensors};
use crate::conformance::random::Law;

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[
    ("MultiheadAttention", |a, dtype| {
        let made = MultiheadAttention::new(a.required("embed_dim")?, a.required("num_heads")?);
        let p = a.or("dropout", 0.0)?;
        let made = made.dropout(p).bias(a.or("bias", true)?);
        let made = made.add_bias_kv(a.or("add_bias_kv", false)?).add_zero_attn(a.or("add_zero_attn", false)?);
        let made = a.option("kdim")?.into_iter().fold(made, MultiheadAttention::kdim);
        let made = a.option("vdim")?.into_iter().fold(made, MultiheadAttention::vdim);
        let made = made.batch_first(a.or("batch_first", false)?);
        built(made.dtype(dtype), move |made, a| {
            let (query, key, value) = (a.required("query")?, a.required("key")?, a.required("value")?);
            let options = MultiheadAttentionOptions {
                key_padding_mask: a.option("key_padding_mask")?,
                need_weights: a.or("need_weights", true)?,
                attn_mask: a.option("attn_mask")?,
                average_attn_weights: a.or("average_attn_weights", true)?,
                is_causal: a.or("is_causal", false)?,
            };
            let (y, weights) = made.forward_with(&query, &key, &value, &options);
            if drops(made, p) {
                made.eval();
                a.draws(Law::Mean(made.forward_with(&query, &key, &value, &options).0));
                made.train();
            }
            Ok([y].into_iter().chain(weights).collect())
        })
    }),
    ("Transformer", |a, dtype| {
        let made = Transformer::new(a.or("d_model", 512)?, a.or("nhead", 8)?);
        let made = made.num_encoder_layers(a.or("num_encoder_layers", 6)?);
        let made = made.num_decoder_layers(a.or("num_decoder_layers", 6)?);
        let (size, p) = (a.or("dim_feedforward", 2048)?, a.or("dropout", 0.1)?);
        let made = made.dim_feedforward(size).dropout(p);
        let made = made.activation(a.or("activation", Activation::from("relu"))?);
        a.absent("custom_encoder")?;
        a.absent("custom_decoder")?;
        let made = made.layer_norm_eps(a.or("layer_norm_eps", 1e-5)?).batch_first(a.or("batch_first", false)?);
        let made = made.norm_first(a.or("norm_first", false)?).bias(a.or("bias", true)?);
        built(made.dtype(dtype), move |made, a| {
            random(a, made, p);
            let (src, tgt) = (a.required("src")?, a.required("tgt")?);
            let options = TransformerOptions {
                src_mask: a.option("src_mask")?,
                tgt_mask: a.option("tgt_mask")?,
                memory_mask: a.option("memory_mask")?,
                src_key_padding_mask: a.option("src_key_padding_mask")?,
                tgt_key_padding_mask: a.option("tgt_key_padding_mask")?,
                memory_key_padding_mask: a.option("memory_key_padding_mask")?,
                src_is_causal: hint(a, "src_is_causal")?,
                tgt_is_causal: hint(a, "tgt_is_causal")?,
                memory_is_causal: a.or("memory_is_causal", false)?,
            };
            Ok(vec![made.forward_with(&src, &tgt, &options)])
        })
    }),
    ("TransformerDecoder", |a, dtype| {
        let (layer, p) = nested(a, "decoder_layer", |a| decoder_layer(a, dtype))?;
        let made = TransformerDecoder::new(&layer, a.required("num_layers")?);
        let made = norm(a, dtype)?.into_iter().fold(made, TransformerDecoder::norm);
        built(made, move |made, a| {
            random(a, made, p);
            let (tgt, memory) = (a.required("tgt")?, a.required("memory")?);
            Ok(vec![made.forward_with(&tgt, &memory, &decoder_options(a)?)])
        })
    }),
    ("TransformerDecoderLayer", |a, dtype| {
        let (made, p) = decoder_layer(a, dtype)?;
        built(made, move |made, a| {
            random(a, made, p);
            let (tgt, memory) = (a.required("tgt")?, a.required("memory")?);
            Ok(vec![made.forward_with(&tgt, &memory, &decoder_options(a)?)])
        })
    }),
    ("TransformerEncoder", |a, dtype| {
        let (layer, p) = nested(a, "encoder_layer", |a| encoder_layer(a, dtype))?;
        let made = TransformerEncoder::new(&layer, a.required("num_layers")?);
        let made = norm(a, dtype)?.into_iter().fold(made, TransformerEncoder::norm);
        let made = made.enable_nested_tensor(a.or("enable_nested_tensor", true)?);
        built(made.mask_check(a.or("mask_check", true)?), move |made, a| {
            random(a, made, p);
            let src = a.required("src")?;
            let options = EncoderOptions {
                src_mask: a.option("mask")?,
                src_key_padding_mask: a.option("src_key_padding_mask")?,
                is_causal: hint(a, "is_causal")?,
            };
            Ok(vec![made.forward_with(&src, &options)])
        })
    }),
    ("TransformerEncoderLayer", |a, dtype| {
        let (made, p) = encoder_layer(a, dtype)?;
        built(made, move |made, a| {
            random(a, made, p);
            let src = a.required("src")?;
            let options = EncoderOptions {
                src_mask: a.option("src_mask")?,
                src_key_padding_mask: a.option("src_key_padding_mask")?,
                is_causal: a.or("is_causal", false)?,
            };
            Ok(vec![made.forward_with(&src, &options)])
        })
    }),
];

/// A module that takes several tensors.
fn built<M: Module + 'static>(
    module: M,
    forward: impl Fn(&M, &mut Args<'_>) -> Result<Vec<Tensor>> + 'static,
) -> Result<Built> {
    let module = Rc::new(module);
    let called = module.clone();
    Ok(Built { module, forward: Box::new(move |a| forward(&called, a)) })
}

/// Whether something is drawn.
fn drops(module: &dyn Module, p: f64) -> bool {
    module.is_training() && p > 0.0 && p < 1.0
}

/// Between dropouts stand functions that are not linear: no mean is known.
fn random(a: &mut Args<'_>, module: &dyn Module, p: f64) {
    if drops(module, p) {
        a.draws(Law::Any);
    }
}

/// `None` lets torch look for itself, which changes no result.
fn hint(a: &mut Args<'_>, name: &str) -> Result<bool> {
    Ok(a.option(name)?.unwrap_or(false))
}

/// The module that the next argument describes by the arguments of its constructor.
fn nested<T>(a: &mut Args<'_>, name: &str, make: impl FnOnce(&mut Args<'_>) -> Result<T>) -> Result<T> {
    let json = a.peek(name).ok_or_else(|| format!("without argument {name} is not built yet"))?;
    a.no_effect(name)?;
    let none = Tensors::new();
    let mut inner = Args::named(json, &none);
    let made = make(&mut inner)?;
    inner.no_effect("module")?;
    inner.finish()?;
    Ok(made)
}

fn norm(a: &mut Args<'_>, dtype: DType) -> Result<Option<LayerNorm>> {
    if a.peek("norm").is_none_or(Json::is_null) {
        a.absent("norm")?;
        return Ok(None);
    }
    let made = nested(a, "norm", |a| {
        a.only("module", "LayerNorm".to_owned())?;
        let made = LayerNorm::new(a.required::<Vec<usize>>("normalized_shape")?).eps(a.or("eps", 1e-5)?);
        let made = made.elementwise_affine(a.or("elementwise_affine", true)?);
        Ok(made.bias(a.or("bias", true)?).dtype(dtype))
    });
    made.map(Some)
}

/// What both layers take.
struct Layer {
    d_model: usize,
    nhead: usize,
    dim_feedforward: usize,
    dropout: f64,
    activation: Activation,
    layer_norm_eps: f64,
    batch_first: bool,
    norm_first: bool,
    bias: bool,
}

fn arguments(a: &mut Args<'_>) -> Result<Layer> {
    Ok(Layer {
        d_model: a.required("d_model")?,
        nhead: a.required("nhead")?,
        dim_feedforward: a.or("dim_feedforward", 2048)?,
        dropout: a.or("dropout", 0.1)?,
        activation: a.or("activation", Activation::from("relu"))?,
        layer_norm_eps: a.or("layer_norm_eps", 1e-5)?,
        batch_first: a.or("batch_first", false)?,
        norm_first: a.or("norm_first", false)?,
        bias: a.or("bias", true)?,
    })
}

fn encoder_layer(a: &mut Args<'_>, dtype: DType) -> Result<(TransformerEncoderLayer, f64)> {
    let l = arguments(a)?;
    let made = TransformerEncoderLayer::new(l.d_model, l.nhead).dim_feedforward(l.dim_feedforward).dropout(l.dropout);
    let made = made.activation(l.activation).layer_norm_eps(l.layer_norm_eps).batch_first(l.batch_first);
    Ok((made.norm_first(l.norm_first).bias(l.bias).dtype(dtype), l.dropout))
}

fn decoder_layer(a: &mut Args<'_>, dtype: DType) -> Result<(TransformerDecoderLayer, f64)> {
    let l = arguments(a)?;
    let made = TransformerDecoderLayer::new(l.d_model, l.nhead).dim_feedforward(l.dim_feedforward).dropout(l.dropout);
    let made = made.activation(l.activation).layer_norm_eps(l.layer_norm_eps).batch_first(l.batch_first);
    Ok((made.norm_first(l.norm_first).bias(l.bias).dtype(dtype), l.dropout))
}

fn decoder_options(a: &mut Args<'_>) -> Result<DecoderOptions> {
    Ok(DecoderOptions {
        tgt_mask: a.option("tgt_mask")?,
        memory_mask: a.option("memory_mask")?,
        tgt_key_padding_mask: a.option("tgt_key_padding_mask")?,
        memory_key_padding_mask: a.option("memory_key_padding_mask")?,
        tgt_is_causal: hint(a, "tgt_is_causal")?,
        memory_is_causal: a.or("memory_is_causal", false)?,
    })
}

/// `"gelu"` and `{"function": "gelu"}`.
impl Read for Activation {
    fn read(json: &Json, _tensors: &Tensors) -> Option<Activation> {
        let name = json.as_str().or_else(|| json.get("function")?.as_str())?;
        match name {
            "relu" | "gelu" => Some(name.into()),
            _ => None,
        }
    }
}
