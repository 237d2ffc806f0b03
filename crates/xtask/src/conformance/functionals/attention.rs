//! Attention and transformers.

use limpid::{AttentionOptions, Tensor};

use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[("scaled_dot_product_attention", |a| {
    let (q, k, v) = (a.required::<Tensor>("query")?, a.required("key")?, a.required("value")?);
    let (attn_mask, dropout_p) = (a.option("attn_mask")?, a.or("dropout_p", 0.0)?);
    let (is_causal, scale) = (a.or("is_causal", false)?, a.keywords().option("scale")?);
    let enable_gqa = a.or("enable_gqa", false)?;
    if dropout_p > 0.0 && dropout_p < 1.0 {
        a.draws();
    }
    let options = AttentionOptions { attn_mask, dropout_p, is_causal, scale, enable_gqa, length: None };
    Ok(vec![q.scaled_dot_product_attention(&k, &v, &options)])
})];
