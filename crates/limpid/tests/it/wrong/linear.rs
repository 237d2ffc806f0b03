//! Layers of products and of rows.

use limpid::prelude::*;

use super::{Wrong, wrong};

pub const WRONG: &[Wrong] = &[
    wrong(
        "linear: another number of features",
        || Ok(Linear::new(3, 2).forward(&Tensor::zeros([4, 5]))),
        &["[4, 5] × [3, 2]", "5 ≠ 3"],
    ),
    wrong(
        "embedding: an index beyond the table",
        || Ok(Embedding::new(3, 2).forward(&Tensor::from([1i64, 3]))),
        &["index 3", "size 3"],
    ),
    wrong(
        "embedding: floats as indices",
        || Ok(Embedding::new(3, 2).forward(&Tensor::zeros([2]))),
        &["embedding", "f32"],
    ),
    wrong(
        "embedding: no such row for padding",
        || Ok(Embedding::new(3, 2).padding_idx(3).forward(&Tensor::from([1i64]))),
        &["padding_idx 3", "3 rows"],
    ),
    wrong(
        "layer_norm: another last size",
        || Ok(LayerNorm::new(4).forward(&Tensor::zeros([2, 3]))),
        &["layer_norm", "[2, 3]", "[4]"],
    ),
    wrong(
        "mse_loss: shapes that would broadcast",
        || Ok(mse_loss(&Tensor::zeros([4, 1]), &Tensor::zeros([4]))),
        &["mse_loss", "[4, 1]", "[4]"],
    ),
    wrong(
        "cross_entropy: a class beyond the logits",
        || Ok(cross_entropy(&Tensor::zeros([2, 3]), &Tensor::from([0i64, 3]))),
        &["3"],
    ),
];
