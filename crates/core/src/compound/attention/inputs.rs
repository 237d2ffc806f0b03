//! What attention is called with, checked and brought into the form of the compound.

use limpid_kernels::{DType, Number};

use crate::error::{Error, Result};
use crate::op::{elementwise, movement, source};
use crate::options;
use crate::shape::Shape;
use crate::tensor::Tensor;

options! {
    /// What attention leaves out, and how it scales.
    ///
    /// ```
    /// use limpid_core::{AttentionOptions, Tensor};
    /// let x = Tensor::from([[1.0f32], [3.0]]);
    /// let y = x.scaled_dot_product_attention(&x, &x, &AttentionOptions::new().is_causal(true));
    /// assert_eq!(y.select(0, 0).to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    AttentionOptions {
        tensors {
            /// bool (true takes part) or float (is added to the scores), broadcast to `[…, T, S]`.
            attn_mask,
            /// How many of the keys count (one i64): a cache that is partly filled. Another length is no other plan. Not
            /// an argument of torch.
            length,
        }
        optional {
            /// The factor of the scores (default: 1/√D).
            scale: f64,
        }
        values {
            /// The probability with which a weight is left out (default: 0).
            dropout_p: f64 = 0.0,
            /// Whether query t sees keys 0 to t only (default: no).
            is_causal: bool = false,
            /// Whether several heads of the queries share one of the keys and values (default: no). Ainslie et al. (2023).
            enable_gqa: bool = false,
        }
    }
}

/// The inputs of the compound, and the batch axes of its result.
pub(super) struct Flat {
    pub(super) q: Tensor,
    pub(super) k: Tensor,
    pub(super) v: Tensor,
    pub(super) mask: Option<Tensor>,
    pub(super) scale: Option<Tensor>,
    pub(super) length: Option<Tensor>,
    pub(super) batch: Shape,
}

fn refused(what: String) -> Error {
    Error::new(format!("scaled_dot_product_attention: {what}"))
}

impl Flat {
    #[track_caller]
    pub(super) fn of(q: &Tensor, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> Result<Flat> {
        let shapes = format!("query {}, key {}, value {}", q.shape(), k.shape(), v.shape());
        if [q, k, v].iter().any(|t| t.rank() < 2) {
            return Err(refused(format!("{shapes} need at least 2 axes")));
        }
        if !q.dtype().is_float() || [k, v].iter().any(|t| t.dtype() != q.dtype()) {
            return Err(refused(format!("query, key and value are {}, {}, {}", q.dtype(), k.dtype(), v.dtype()))
                .help("one float type: to_dtype"));
        }
        if k.size(-1) != q.size(-1) || k.size(-2) != v.size(-2) {
            return Err(refused(format!("{shapes} do not fit")).help("[…, T, D], […, S, D] and […, S, E]"));
        }
        if !(0.0..=1.0).contains(&options.dropout_p) {
            return Err(refused(format!("dropout_p is {}", options.dropout_p)).help("a number from 0 to 1"));
        }
        if options.enable_gqa {
            check_groups(q, k, v)?;
        }
        let heads = options.enable_gqa.then(|| q.size(-3));
        let [of_q, of_k, of_v] = [q, k, v].map(|t| batch_of(t, heads));
        let Some(batch) = of_q.broadcast(&of_k).and_then(|joint| joint.broadcast(&of_v)) else {
            let error = refused(format!("the batches of {shapes} do not broadcast"));
            return Err(error.help("enable_gqa(true), where several heads of the queries share one of the keys"));
        };
        let full: Shape = batch.iter().copied().chain([q.size(-2), k.size(-2)]).collect();
        let mask = added(options, &full, q.dtype())?;
        let (q, k, v, mask) = grouped(q, k, v, mask, heads);
        let (q, k, v, batches) = flattened(&q, &k, &v);
        let mask = mask.map(|mask| four_axes(&mask, &batches));
        let length = options.length.as_ref().map(one_length).transpose()?;
        let wide = if q.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let scale = options.scale.map(|scale| source::scalar(Number::Float(scale), wide));
        Ok(Flat { q, k, v, mask, scale, length, batch })
    }
}

/// All axes but the last two; the last of them counts `heads`, if given.
fn batch_of(t: &Tensor, heads: Option<usize>) -> Shape {
    let batch = Shape::from(&t.shape()[..t.rank() - 2]);
    match heads {
        Some(heads) => batch.with(batch.rank() - 1, heads),
        None => batch,
    }
}

fn check_groups(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<()> {
    let shapes = format!("query {}, key {}, value {}", q.shape(), k.shape(), v.shape());
    if [q, k, v].iter().any(|t| t.rank() < 3) {
        return Err(refused(format!("enable_gqa: {shapes} need an axis of heads, the third from the end")));
    }
    let heads = q.size(-3);
    let divides = |of: usize| of == heads || (of > 0 && heads.is_multiple_of(of));
    if !divides(k.size(-3)) || !divides(v.size(-3)) {
        let [of_k, of_v] = [k, v].map(|t| t.size(-3));
        return Err(refused(format!(
            "enable_gqa: {of_k} heads of the key and {of_v} of the value do not divide {heads}"
        )));
    }
    Ok(())
}

/// What is added to the scores, of at least two axes.
#[track_caller]
fn added(options: &AttentionOptions, full: &Shape, dtype: DType) -> Result<Option<Tensor>> {
    let Some(mask) = &options.attn_mask else { return Ok(None) };
    if options.is_causal {
        let error = refused("attn_mask beside is_causal".to_owned());
        return Err(error.help("one of them: tril of ones is the causal mask"));
    }
    let fits = mask.rank() >= 2 && mask.shape().broadcast(full).as_ref() == Some(full);
    // Torch takes f32 masks for queries of each type.
    if !fits || ![DType::Bool, DType::F32, dtype].contains(&mask.dtype()) {
        let have = format!("{} {}", mask.dtype(), mask.shape());
        return Err(refused(format!("attn_mask {have} is no bool or {dtype} that broadcasts to {full}")));
    }
    Ok(Some(if mask.dtype() == DType::Bool { barrier(mask, dtype) } else { mask.to_dtype(dtype) }))
}

/// 0 where `seen`, −∞ elsewhere: what is added to the scores.
#[track_caller]
fn barrier(seen: &Tensor, dtype: DType) -> Tensor {
    let zero = source::constant(Number::Float(0.0), dtype).expand_to(seen.shape());
    elementwise::select(seen, &zero, &zero.constant_like(f64::NEG_INFINITY))
}

/// `length`, if it is one i64.
#[track_caller]
fn one_length(length: &Tensor) -> Result<Tensor> {
    if length.numel() != 1 || length.dtype() != DType::I64 {
        return Err(refused(format!("the length is {} {}, not one i64", length.dtype(), length.shape())));
    }
    Ok(movement::reshape(length, Shape::scalar()))
}

/// What bars all keys but the first `length`: [1, 1, 1, S].
#[track_caller]
pub(super) fn seen(length: &Tensor, s: usize, dtype: DType) -> Tensor {
    let row = Shape::from([1, 1, 1, s]);
    barrier(&source::iota(row.clone(), 3).lt(movement::reshape(length, Shape::scalar()).expand_to(&row)), dtype)
}

/// Axis −3 of `t` as two, of sizes `groups` and what is left.
#[track_caller]
fn split_heads(t: &Tensor, groups: usize) -> Tensor {
    let (rank, heads) = (t.rank(), t.size(-3));
    let parts = if heads == 1 { [1, 1] } else { [groups, heads.checked_div(groups).unwrap_or(1)] };
    let shape = t.shape()[..rank - 3].iter().copied().chain(parts).chain(t.shape()[rank - 2..].iter().copied());
    movement::reshape(t, shape.collect())
}

/// Each head `times` times.
#[track_caller]
fn repeat_heads(t: &Tensor, times: usize) -> Tensor {
    let rank = t.rank();
    let wide = t.shape().inserted(rank - 2, times);
    let shape = t.shape().with(rank - 3, t.size(-3) * times);
    movement::reshape(&movement::broadcast(&movement::reshape(t, t.shape().inserted(rank - 2, 1)), &wide), shape)
}

type Four = (Tensor, Tensor, Tensor, Option<Tensor>);

/// Where heads of the queries share keys, they stand on an axis of their own that keys and values lack.
#[track_caller]
fn grouped(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<Tensor>, heads: Option<usize>) -> Four {
    let plain = (q.clone(), k.clone(), v.clone());
    let Some(heads) = heads.filter(|&heads| k.size(-3) != heads || v.size(-3) != heads) else {
        return (plain.0, plain.1, plain.2, mask);
    };
    let groups = k.size(-3);
    if v.size(-3) != groups {
        let [k, v] = [k, v].map(|t| repeat_heads(t, heads.checked_div(t.size(-3)).unwrap_or(1)));
        return (plain.0, k, v, mask);
    }
    let mask = mask.map(|mask| if mask.rank() > 2 { split_heads(&mask, groups) } else { mask });
    // One head more than the keys have, of size 1.
    let lacking = |t: &Tensor| movement::reshape(t, t.shape().inserted(t.rank() - 2, 1));
    (split_heads(q, groups), lacking(k), lacking(v), mask)
}

/// Samples and heads each, and what the batches of the result were: those at the end that keys and values lack are
/// heads that share them.
#[track_caller]
fn flattened(q: &Tensor, k: &Tensor, v: &Tensor) -> (Tensor, Tensor, Tensor, Shape) {
    let [of_q, of_k, of_v] = [q, k, v].map(|t| batch_of(t, None));
    let keys = of_k.broadcast(&of_v).unwrap_or_default();
    let batch = of_q.broadcast(&keys).unwrap_or_default();
    let lost = (0..batch.rank()).take_while(|&i| i >= keys.rank() || keys[keys.rank() - 1 - i] == 1).count();
    let own = Shape::from(&batch[..batch.rank() - lost]);
    let shared: usize = batch[batch.rank() - lost..].iter().product();
    // The last of several axes counts heads.
    let groups = if own.rank() > 1 { own[own.rank() - 1] } else { 1 };
    let samples = if own.rank() > 1 { own[..own.rank() - 1].iter().product() } else { own.elements() };
    let flat = |t: &Tensor, batch: &Shape, lost: usize, heads: usize| {
        let matrix = [t.size(-2), t.size(-1)];
        let kept = t.rank() - 2 - lost.min(t.rank() - 2);
        let narrow = movement::reshape(t, t.shape()[..kept].iter().copied().chain(matrix).collect());
        let wide = movement::broadcast(&narrow, &batch.iter().copied().chain(matrix).collect());
        movement::reshape(&wide, Shape::from([samples, heads, matrix[0], matrix[1]]))
    };
    (flat(q, &batch, 0, groups * shared), flat(k, &own, lost, groups), flat(v, &own, lost, groups), batch)
}

/// [N or 1, H or 1, T or 1, S or 1], where N·H is the number of samples.
#[track_caller]
fn four_axes(mask: &Tensor, batch: &Shape) -> Tensor {
    let (t, s) = (mask.size(-2), mask.size(-1));
    let missing = (batch.rank() + 2).saturating_sub(mask.rank());
    let sizes: Shape = std::iter::repeat_n(1, missing).chain(mask.shape()[..mask.rank() - 2].iter().copied()).collect();
    let differs = |i: &usize| sizes[*i] != 1;
    let (first, last) = ((0..sizes.rank()).find(differs), (0..sizes.rank()).rfind(differs));
    let n: usize = sizes.iter().product();
    let full = |from: usize, to: usize| sizes[from..to] == batch[from..to];
    match (first, last) {
        (None, _) | (_, None) => movement::reshape(mask, Shape::from([1, 1, t, s])),
        (_, Some(last)) if full(0, last + 1) => movement::reshape(mask, Shape::from([n, 1, t, s])),
        (Some(first), _) if full(first, sizes.rank()) => movement::reshape(mask, Shape::from([1, n, t, s])),
        _ => {
            let wide = mask.expand_to(&batch.iter().copied().chain([t, s]).collect());
            movement::reshape(&wide, Shape::from([batch.elements(), 1, t, s]))
        }
    }
}
