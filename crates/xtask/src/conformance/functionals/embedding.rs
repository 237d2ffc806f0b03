//! Embeddings.

use limpid::{BagMode, EmbeddingBagOptions, EmbeddingOptions, Tensor};

use crate::conformance::args::{Args, Result};
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    // PyTorch's own cases give the table first.
    ("embedding", |a| {
        let (weight, index) = (a.required::<Tensor>("weight")?, a.required("input")?);
        let options = EmbeddingOptions::new().padding_idx(a.option::<isize>("padding_idx")?);
        let options = options.max_norm(a.option::<f64>("max_norm")?).norm_type(a.or("norm_type", 2.0)?);
        let options = options.scale_grad_by_freq(a.or("scale_grad_by_freq", false)?);
        Ok(vec![weight.embedding_with(&index, &options.sparse(a.or("sparse", false)?))])
    }),
    ("embedding_bag", |a| {
        let (weight, index) = (a.required::<Tensor>("weight")?, a.required("input")?);
        let mut options = EmbeddingBagOptions { offsets: a.option("offsets")?, ..EmbeddingBagOptions::new() };
        let rows = EmbeddingOptions::new().max_norm(a.option::<f64>("max_norm")?).norm_type(a.or("norm_type", 2.0)?);
        let rows = rows.scale_grad_by_freq(a.or("scale_grad_by_freq", false)?);
        options.mode = bag_mode(a)?;
        let rows = rows.sparse(a.or("sparse", false)?);
        options.per_sample_weights = a.option("per_sample_weights")?;
        options.include_last_offset = a.or("include_last_offset", false)?;
        Ok(vec![weight.embedding_bag(&index, &options.rows(rows.padding_idx(a.option::<isize>("padding_idx")?)))])
    }),
];

/// Torch's names of modes.
pub fn bag_mode(a: &mut Args<'_>) -> Result<BagMode> {
    Ok(match a.or("mode", "mean".to_owned())?.as_str() {
        "sum" => BagMode::Sum,
        "mean" => BagMode::Mean,
        "max" => BagMode::Max,
        other => return Err(format!("argument mode not read: {other}")),
    })
}
