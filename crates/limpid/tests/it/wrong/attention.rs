//! Attention and transformers.

use limpid::AttentionOptions;
use limpid::nn::{MultiHeadAttentionForward, multi_head_attention_forward};
use limpid::prelude::*;

use super::{Wrong, wrong};

fn zeros<const N: usize>(shape: [usize; N]) -> Tensor {
    Tensor::zeros(shape)
}

fn none<const N: usize>(shape: [usize; N]) -> Tensor {
    Tensor::zeros_of(shape, DType::Bool)
}

/// Queries, keys and values of attention.
#[track_caller]
fn sdpa(q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> limpid::Result<Tensor> {
    Ok(q.scaled_dot_product_attention(k, v, options))
}

/// `[3, 2, 4]` attending to itself.
#[track_caller]
fn attend(options: &MultiheadAttentionOptions) -> limpid::Result<Tensor> {
    let x = zeros([3, 2, 4]);
    Ok(MultiheadAttention::new(4, 2).forward_with(&x, &x, &x, options).0)
}

#[track_caller]
fn three(q: &Tensor, k: &Tensor, v: &Tensor) -> limpid::Result<Tensor> {
    Ok(MultiheadAttention::new(4, 2).forward(q, k, v).0)
}

#[track_caller]
fn function(change: fn(MultiHeadAttentionForward) -> MultiHeadAttentionForward) -> limpid::Result<Tensor> {
    let x = zeros([3, 2, 4]);
    let arguments = MultiHeadAttentionForward::new().embed_dim_to_check(4).num_heads(2).in_proj_weight(&zeros([12, 4]));
    Ok(multi_head_attention_forward(&x, &x, &x, &change(arguments)).0)
}

pub const WRONG: &[Wrong] = &[
    wrong(
        "sdpa: queries and keys of other sizes",
        || sdpa(&zeros([2, 3, 8]), &zeros([2, 3, 4]), &zeros([2, 3, 4]), &AttentionOptions::new()),
        &["scaled_dot_product_attention", "[2, 3, 8]", "[2, 3, 4]", "do not fit"],
    ),
    wrong(
        "sdpa: keys and values of other lengths",
        || sdpa(&zeros([3, 8]), &zeros([5, 8]), &zeros([4, 8]), &AttentionOptions::new()),
        &["[5, 8]", "[4, 8]", "do not fit"],
    ),
    wrong(
        "sdpa: a vector",
        || sdpa(&zeros([8]), &zeros([8]), &zeros([8]), &AttentionOptions::new()),
        &["[8]", "2 axes"],
    ),
    wrong(
        "sdpa: other types",
        || sdpa(&zeros([3, 8]), &Tensor::zeros_of([3, 8], DType::F64), &zeros([3, 8]), &AttentionOptions::new()),
        &["f32, f64, f32"],
    ),
    wrong(
        "sdpa: integers",
        || {
            let x = Tensor::zeros_of([3, 8], DType::I64);
            sdpa(&x, &x, &x, &AttentionOptions::new())
        },
        &["i64, i64, i64"],
    ),
    wrong(
        "sdpa: fewer heads without enable_gqa",
        || sdpa(&zeros([2, 4, 3, 8]), &zeros([2, 2, 5, 8]), &zeros([2, 2, 5, 8]), &AttentionOptions::new()),
        &["do not broadcast", "enable_gqa"],
    ),
    wrong(
        "sdpa: groups that do not divide",
        || {
            let k = zeros([2, 3, 5, 8]);
            sdpa(&zeros([2, 4, 3, 8]), &k, &k, &AttentionOptions::new().enable_gqa(true))
        },
        &["enable_gqa", "3 heads", "do not divide 4"],
    ),
    wrong(
        "sdpa: groups without heads",
        || sdpa(&zeros([3, 8]), &zeros([3, 8]), &zeros([3, 8]), &AttentionOptions::new().enable_gqa(true)),
        &["enable_gqa", "axis of heads"],
    ),
    wrong(
        "sdpa: a mask and is_causal",
        || {
            let (x, options) = (zeros([3, 8]), AttentionOptions::new().attn_mask(&none([3, 3])).is_causal(true));
            sdpa(&x, &x, &x, &options)
        },
        &["attn_mask beside is_causal"],
    ),
    wrong(
        "sdpa: a mask of integers",
        || {
            let (x, mask) = (zeros([3, 8]), Tensor::zeros_of([3, 3], DType::I64));
            sdpa(&x, &x, &x, &AttentionOptions::new().attn_mask(&mask))
        },
        &["attn_mask i64", "bool"],
    ),
    wrong(
        "sdpa: a mask of another shape",
        || sdpa(&zeros([3, 8]), &zeros([5, 8]), &zeros([5, 8]), &AttentionOptions::new().attn_mask(&none([5, 3]))),
        &["attn_mask bool [5, 3]", "[3, 5]"],
    ),
    wrong(
        "sdpa: a mask with more samples",
        || {
            let x = zeros([3, 8]);
            sdpa(&x, &x, &x, &AttentionOptions::new().attn_mask(&none([2, 3, 3])))
        },
        &["[2, 3, 3]", "[3, 3]"],
    ),
    wrong(
        "sdpa: a mask of one axis",
        || {
            let x = zeros([3, 8]);
            sdpa(&x, &x, &x, &AttentionOptions::new().attn_mask(&none([3])))
        },
        &["attn_mask bool [3]"],
    ),
    wrong(
        "sdpa: no probability",
        || {
            let x = zeros([3, 8]);
            sdpa(&x, &x, &x, &AttentionOptions::new().dropout_p(1.5))
        },
        &["dropout_p is 1.5"],
    ),
    wrong(
        "attention: heads that do not divide",
        || {
            let x = zeros([3, 2, 4]);
            Ok(MultiheadAttention::new(4, 3).forward(&x, &x, &x).0)
        },
        &["embed_dim 4", "num_heads 3"],
    ),
    wrong(
        "attention: no heads",
        || {
            let x = zeros([3, 2, 4]);
            Ok(MultiheadAttention::new(4, 0).forward(&x, &x, &x).0)
        },
        &["embed_dim 4", "num_heads 0"],
    ),
    wrong(
        "attention: another number of features",
        || three(&zeros([3, 2, 5]), &zeros([3, 2, 4]), &zeros([3, 2, 4])),
        &["[3, 2, 5]", "5 features, not 4"],
    ),
    wrong(
        "attention: another number of the key's features",
        || three(&zeros([3, 2, 4]), &zeros([3, 2, 5]), &zeros([3, 2, 5])),
        &["in_proj_weight is [12, 4], not [12, 5]"],
    ),
    wrong(
        "attention: keys and values of other lengths",
        || three(&zeros([3, 2, 4]), &zeros([5, 2, 4]), &zeros([4, 2, 4])),
        &["[5, 2, 4]", "[4, 2, 4]", "do not fit"],
    ),
    wrong(
        "attention: other numbers of sequences",
        || three(&zeros([3, 2, 4]), &zeros([3, 5, 4]), &zeros([3, 5, 4])),
        &["2 sequences of the query", "5 of the key"],
    ),
    wrong(
        "attention: one sequence and a batch",
        || three(&zeros([3, 4]), &zeros([3, 2, 4]), &zeros([3, 2, 4])),
        &["[3, 4]", "[3, 2, 4]"],
    ),
    wrong(
        "attention: four axes",
        || three(&zeros([1, 3, 2, 4]), &zeros([1, 3, 2, 4]), &zeros([1, 3, 2, 4])),
        &["[1, 3, 2, 4] has 4 axes"],
    ),
    wrong(
        "attention: another type than the parameters",
        || {
            let x = Tensor::zeros_of([3, 2, 4], DType::F64);
            three(&x, &x, &x)
        },
        &["f64", "f32"],
    ),
    wrong(
        "attention: padding in the order of the query",
        || attend(&MultiheadAttentionOptions::new().key_padding_mask(&none([3, 2]))),
        &["key_padding_mask is [3, 2], not [2, 3]"],
    ),
    wrong(
        "attention: padding of one sequence",
        || attend(&MultiheadAttentionOptions::new().key_padding_mask(&none([3]))),
        &["key_padding_mask is [3], not [N, S]"],
    ),
    wrong(
        "attention: padding of integers",
        || attend(&MultiheadAttentionOptions::new().key_padding_mask(&Tensor::zeros_of([2, 3], DType::I64))),
        &["key_padding_mask is i64", "bool"],
    ),
    wrong(
        "attention: a mask of another shape",
        || attend(&MultiheadAttentionOptions::new().attn_mask(&none([2, 2]))),
        &["attn_mask is [2, 2], not [3, 3]"],
    ),
    wrong(
        "attention: a mask by sample instead of by head",
        || attend(&MultiheadAttentionOptions::new().attn_mask(&none([2, 3, 3]))),
        &["attn_mask is [2, 3, 3], not [4, 3, 3]"],
    ),
    wrong(
        "attention: a mask of one axis",
        || attend(&MultiheadAttentionOptions::new().attn_mask(&none([3]))),
        &["attn_mask is [3]", "[L, S]"],
    ),
    wrong(
        "attention: is_causal without a mask",
        || attend(&MultiheadAttentionOptions::new().is_causal(true)),
        &["is_causal without attn_mask", "generate_square_subsequent_mask"],
    ),
    wrong(
        "attention: no probability",
        || {
            let x = zeros([3, 2, 4]);
            Ok(MultiheadAttention::new(4, 2).dropout(-0.5).forward(&x, &x, &x).0)
        },
        &["dropout is -0.5"],
    ),
    wrong(
        "function: no projection",
        || function(|a| MultiHeadAttentionForward { in_proj_weight: None, ..a }),
        &["without in_proj_weight"],
    ),
    wrong(
        "function: separate projections that lack",
        || function(|a| a.use_separate_proj_weight(true)),
        &["use_separate_proj_weight without q_proj_weight"],
    ),
    wrong("function: bias_k alone", || function(|a| a.bias_k(&zeros([1, 1, 4]))), &["bias_k", "without the other"]),
    wrong(
        "function: a bias for fixed keys",
        || function(|a| a.bias_k(&zeros([1, 1, 4])).bias_v(&zeros([1, 1, 4])).static_k(&zeros([4, 3, 2]))),
        &["bias_k and bias_v beside static_k"],
    ),
    wrong(
        "function: fixed keys of other heads",
        || function(|a| a.static_k(&zeros([2, 3, 4]))),
        &["static_k is f32 [2, 3, 4]", "[4, 3, 2]"],
    ),
    wrong(
        "function: a projection of another size",
        || function(|a| a.out_proj_weight(&zeros([4, 3]))),
        &["out_proj_weight is f32 [4, 3]"],
    ),
    wrong(
        "encoder: an unknown activation",
        || Ok(TransformerEncoderLayer::new(4, 2).activation("tanh").forward(&zeros([3, 4]))),
        &["activation is \"tanh\"", "relu"],
    ),
    wrong(
        "encoder: no layers",
        || Ok(TransformerEncoder::new(&TransformerEncoderLayer::new(4, 2), 0).forward(&zeros([3, 4]))),
        &["no layers"],
    ),
    wrong(
        "encoder: a mask of another length",
        || {
            let layer = TransformerEncoderLayer::new(4, 2);
            Ok(layer.forward_with(&zeros([3, 2, 4]), &EncoderOptions::new().src_mask(&zeros([4, 4]))))
        },
        &["attn_mask is [4, 4], not [3, 3]"],
    ),
    wrong(
        "encoder: no probability",
        || Ok(TransformerEncoderLayer::new(4, 2).dropout(1.5).forward(&zeros([3, 4]))),
        &["dropout", "1.5"],
    ),
    wrong(
        "decoder: no layers",
        || {
            let decoder = TransformerDecoder::new(&TransformerDecoderLayer::new(4, 2), 0);
            Ok(decoder.forward(&zeros([3, 4]), &zeros([3, 4])))
        },
        &["no layers"],
    ),
    wrong(
        "decoder: a memory without sequences",
        || Ok(TransformerDecoderLayer::new(4, 2).forward(&zeros([3, 2, 4]), &zeros([3, 4]))),
        &["[3, 2, 4]", "[3, 4]"],
    ),
    wrong(
        "transformer: other numbers of sequences",
        || Ok(small().forward(&zeros([3, 2, 4]), &zeros([3, 5, 4]))),
        &["[3, 2, 4]", "[3, 5, 4]", "batch_first"],
    ),
    wrong(
        "transformer: another number of features",
        || Ok(small().forward(&zeros([3, 2, 4]), &zeros([3, 2, 5]))),
        &["[3, 2, 5]", "4 features"],
    ),
    wrong(
        "transformer: one sequence and a batch",
        || Ok(small().forward(&zeros([3, 2, 4]), &zeros([3, 4]))),
        &["[3, 2, 4]", "[3, 4]"],
    ),
];

#[track_caller]
fn small() -> Transformer {
    Transformer::new(4, 2).num_encoder_layers(1).num_decoder_layers(1).dim_feedforward(4)
}
