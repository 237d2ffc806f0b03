//! Attention and transformers.

use limpid::nn::{MultiHeadAttentionForward, multi_head_attention_forward};
use limpid::{AttentionOptions, Tensor};

use crate::conformance::args::{Args, Result};
use crate::conformance::ops::Call;
use crate::conformance::random::Law;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("multi_head_attention_forward", multi_head),
    ("scaled_dot_product_attention", |a| {
        let (q, k, v) = (a.required::<Tensor>("query")?, a.required("key")?, a.required("value")?);
        let (attn_mask, dropout_p) = (a.option("attn_mask")?, a.or("dropout_p", 0.0)?);
        let (is_causal, scale) = (a.or("is_causal", false)?, a.keywords().option("scale")?);
        let enable_gqa = a.or("enable_gqa", false)?;
        let options = AttentionOptions { attn_mask, dropout_p, is_causal, scale, enable_gqa, length: None };
        if dropout_p > 0.0 && dropout_p < 1.0 {
            a.draws(Law::Mean(q.scaled_dot_product_attention(&k, &v, &options.clone().dropout_p(0.0))));
        }
        Ok(vec![q.scaled_dot_product_attention(&k, &v, &options)])
    }),
];

fn multi_head(a: &mut Args<'_>) -> Result<Vec<Tensor>> {
    let (query, key, value) = (a.required("query")?, a.required("key")?, a.required("value")?);
    let arguments = MultiHeadAttentionForward {
        embed_dim_to_check: a.required("embed_dim_to_check")?,
        num_heads: a.required("num_heads")?,
        in_proj_weight: a.option("in_proj_weight")?,
        in_proj_bias: a.option("in_proj_bias")?,
        bias_k: a.option("bias_k")?,
        bias_v: a.option("bias_v")?,
        add_zero_attn: a.required("add_zero_attn")?,
        dropout_p: a.required("dropout_p")?,
        out_proj_weight: Some(a.required("out_proj_weight")?),
        out_proj_bias: a.option("out_proj_bias")?,
        training: a.or("training", true)?,
        key_padding_mask: a.option("key_padding_mask")?,
        need_weights: a.or("need_weights", true)?,
        attn_mask: a.option("attn_mask")?,
        use_separate_proj_weight: a.or("use_separate_proj_weight", false)?,
        q_proj_weight: a.option("q_proj_weight")?,
        k_proj_weight: a.option("k_proj_weight")?,
        v_proj_weight: a.option("v_proj_weight")?,
        static_k: a.option("static_k")?,
        static_v: a.option("static_v")?,
        average_attn_weights: a.or("average_attn_weights", true)?,
        is_causal: a.or("is_causal", false)?,
    };
    if arguments.training && arguments.dropout_p > 0.0 && arguments.dropout_p < 1.0 {
        let settled = arguments.clone().training(false);
        a.draws(Law::Mean(multi_head_attention_forward(&query, &key, &value, &settled).0));
    }
    let (y, weights) = multi_head_attention_forward(&query, &key, &value, &arguments);
    Ok([y].into_iter().chain(weights).collect())
}
