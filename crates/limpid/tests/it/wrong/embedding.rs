//! Lookups and bags.

use limpid::Result;
use limpid::prelude::*;

use super::{Wrong, wrong};

/// A bag of an index of one axis with these offsets.
#[track_caller]
fn bag(index: &[i64], offsets: Option<Tensor>, edit: fn(EmbeddingBagOptions) -> EmbeddingBagOptions) -> Result<Tensor> {
    let options = edit(EmbeddingBagOptions { offsets, ..EmbeddingBagOptions::new() });
    Ok(Tensor::ones([4, 2]).embedding_bag(&Tensor::from(index.to_vec()), &options))
}

/// A step on a table that is read sparsely.
#[track_caller]
fn step<O: Optimizer>(make: impl FnOnce(&Embedding) -> O, sparse: bool) -> Result<Tensor> {
    let table = Embedding::new(4, 2).sparse(sparse);
    let loss = table.forward(&Tensor::from([1i64, 2])).sum(..);
    Ok((*make(&table).step(&loss)?).clone())
}

fn same(options: EmbeddingBagOptions) -> EmbeddingBagOptions {
    options
}

pub const WRONG: &[Wrong] = &[
    wrong(
        "embedding: a negative index",
        || Ok(Embedding::new(3, 2).forward(&Tensor::from([-1i64]))),
        &["index -1", "size 3"],
    ),
    wrong(
        "embedding: padding below the table",
        || Ok(Embedding::new(3, 2).padding_idx(-4).forward(&Tensor::from([1i64]))),
        &["padding_idx -4", "3 rows", "−3 to 2"],
    ),
    wrong(
        "embedding: bools as indices",
        || Ok(Embedding::new(3, 2).forward(&Tensor::from([true]))),
        &["embedding: the index is bool"],
    ),
    wrong(
        "embedding: a table of one axis",
        || Ok(Tensor::ones([3]).embedding_with(&Tensor::from([1i64]), &EmbeddingOptions::new())),
        &["embedding: the table has shape [3]"],
    ),
    wrong(
        "embedding: frequencies with sparse gradients",
        || Ok(Embedding::new(3, 2).scale_grad_by_freq(true).sparse(true).forward(&Tensor::from([1i64]))),
        &["scale_grad_by_freq with sparse"],
    ),
    wrong(
        "embedding: a negative max_norm",
        || Ok(Embedding::new(3, 2).max_norm(-1.0).forward(&Tensor::from([1i64]))),
        &["max_norm is -1"],
    ),
    wrong(
        "embedding: a pretrained vector",
        || Ok(Embedding::from_pretrained(&Tensor::ones([3])).forward(&Tensor::from([1i64]))),
        &["Embedding: pretrained embeddings of shape [3]"],
    ),
    wrong("embedding_bag: no offsets", || bag(&[1, 2], None, same), &["[2] without offsets"]),
    wrong(
        "embedding_bag: offsets that do not begin at 0",
        || bag(&[1, 2], Some(Tensor::from([1i64])), same),
        &["offsets rise from 0", "[0] is 1"],
    ),
    wrong(
        "embedding_bag: offsets that fall",
        || bag(&[1, 2, 3], Some(Tensor::from([0i64, 2, 1])), same),
        &["offsets rise from 0", "[2] is 1"],
    ),
    wrong(
        "embedding_bag: offsets beyond the index",
        || bag(&[1, 2, 3], Some(Tensor::from([0i64, 4])), same),
        &["at most 3", "[1] is 4"],
    ),
    wrong(
        "embedding_bag: floats as offsets",
        || bag(&[1, 2], Some(Tensor::from([0.0f32])), same),
        &["offsets f32 [1]", "integers"],
    ),
    wrong(
        "embedding_bag: no last offset",
        || bag(&[1, 2], Some(Tensor::zeros_of([0], DType::I64)), |o| o.include_last_offset(true)),
        &["no last offset"],
    ),
    wrong(
        "embedding_bag: offsets for an index of two axes",
        || {
            let options = EmbeddingBagOptions::new().offsets(&Tensor::from([0i64]));
            Ok(Tensor::ones([4, 2]).embedding_bag(&Tensor::from([[1i64, 2]]), &options))
        },
        &["[1, 2] with offsets"],
    ),
    wrong(
        "embedding_bag: an index of three axes",
        || Ok(EmbeddingBag::new(4, 2).forward(&Tensor::zeros_of([1, 1, 1], DType::I64), None, None)),
        &["an index of shape [1, 1, 1]"],
    ),
    wrong(
        "embedding_bag: an index beyond the table",
        || bag(&[1, 4], Some(Tensor::from([0i64])), same),
        &["index 4", "size 4"],
    ),
    wrong(
        "embedding_bag: weights with means",
        || bag(&[1, 2], Some(Tensor::from([0i64])), |o| o.per_sample_weights(&Tensor::ones([2]))),
        &["per_sample_weights with mode Mean", "Sum"],
    ),
    wrong(
        "embedding_bag: weights of another shape",
        || bag(&[1, 2], Some(Tensor::from([0i64])), |o| o.mode(BagMode::Sum).per_sample_weights(&Tensor::ones([3]))),
        &["per_sample_weights f32 [3] for an index [2]"],
    ),
    wrong(
        "embedding_bag: sparse maxima",
        || {
            bag(&[1, 2], Some(Tensor::from([0i64])), |o| {
                o.mode(BagMode::Max).rows(EmbeddingOptions::new().sparse(true))
            })
        },
        &["sparse with maxima"],
    ),
    wrong(
        "embedding_bag: frequencies with maxima",
        || {
            let bags = EmbeddingBag::new(4, 2).mode(BagMode::Max).scale_grad_by_freq(true);
            Ok(bags.forward(&Tensor::from([[1i64]]), None, None))
        },
        &["scale_grad_by_freq with maxima"],
    ),
    wrong("Adam: a sparse gradient", || step(Adam::new, true), &["Adam", "weight is of rows only", "SparseAdam"]),
    wrong(
        "SGD: a sparse gradient with momentum",
        || step(|e| SGD::new(e).momentum(0.9), true),
        &["SGD", "of rows only", "without momentum"],
    ),
    wrong("SparseAdam: a dense gradient", || step(SparseAdam::new, false), &["SparseAdam", "dense", "Adam"]),
    wrong(
        "SparseAdam: a rate of 0",
        || step(|e| SparseAdam::new(e).lr(0.0), true),
        &["SparseAdam: lr is 0", "more than 0"],
    ),
    wrong(
        "update_rows: an update of another shape",
        || Ok(Tensor::ones([4, 2]).update_rows(&Tensor::from([1i64]), |rows| rows.sum(..))),
        &["update_rows", "f32 []", "[1, 2]"],
    ),
];
