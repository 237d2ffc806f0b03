//! What multi-head attention computes, of tensors: projections, heads, masks.

use limpid_core::{AttentionOptions, DType, Error, Result, Shape, Tensor};

use limpid_core::options;

options! {
    /// The arguments of [`multi_head_attention_forward`] beside query, key and value, by torch's names.
    MultiHeadAttentionForward {
        tensors {
            /// `[3·E, E]`: the projections of query, key and value, one below the other.
            in_proj_weight,
            /// `[3·E]`
            in_proj_bias,
            /// `[1, 1, E]`: a key that every sequence has at its end.
            bias_k,
            /// `[1, 1, E]`: the value of that key.
            bias_v,
            /// `[out, E]`; without it the heads are joined and not projected.
            out_proj_weight,
            /// `[out]`
            out_proj_bias,
            /// `[N, S]`, of one sequence `[S]`: bool, true for keys that are left out, or float, which is added.
            key_padding_mask,
            /// `[L, S]` or `[N·num_heads, L, S]`: bool, true for keys that are left out, or float, which is added.
            attn_mask,
            /// `[E, E]`, with `use_separate_proj_weight`.
            q_proj_weight,
            /// `[E, kdim]`, with `use_separate_proj_weight`.
            k_proj_weight,
            /// `[E, vdim]`, with `use_separate_proj_weight`.
            v_proj_weight,
            /// `[N·num_heads, S, E/num_heads]`: keys in place of the projected ones.
            static_k,
            /// `[N·num_heads, S, E/num_heads]`: values in place of the projected ones.
            static_v,
        }
        values {
            /// E, the size that the query must have.
            embed_dim_to_check: usize = 0,
            /// The number of heads, which divides E.
            num_heads: usize = 1,
            /// Whether every sequence has a key and a value of zeros at its end (default: no).
            add_zero_attn: bool = false,
            /// The probability with which a weight is left out, in training (default: 0).
            dropout_p: f64 = 0.0,
            /// Whether weights are left out (default: yes).
            training: bool = true,
            /// Whether the weights are a result too (default: yes). Without them the fused kernel is used.
            need_weights: bool = true,
            /// Whether query, key and value have projections of their own (default: no).
            use_separate_proj_weight: bool = false,
            /// Whether the weights are the mean of the heads (default: yes).
            average_attn_weights: bool = true,
            /// Says that `attn_mask` is the causal mask (default: no). Without weights and padding it is not read then.
            is_causal: bool = false,
        }
    }
}

/// softmax(q·kᵀ/√D)·v in `num_heads` heads of projected query `[L, N, E]`, key and value `[S, N, …]`, joined and
/// projected: the result `[L, N, out]` and, with `need_weights`, the weights `[N, L, S]` or, not averaged,
/// `[N, num_heads, L, S]`. One sequence may come without the axis N. A query that sees no key gives NaN with
/// `need_weights` and the bias without, as in torch. Torch's `nn.functional.multi_head_attention_forward`.
///
/// ```
/// use limpid::nn::{MultiHeadAttentionForward, multi_head_attention_forward};
/// use limpid::prelude::*;
/// let (x, one) = (Tensor::from([[1.0f32], [3.0]]), Tensor::ones([1, 1]));
/// let arguments = MultiHeadAttentionForward::new()
///     .embed_dim_to_check(1)
///     .in_proj_weight(&Tensor::from([[0.0f32], [1.0], [1.0]]))
///     .out_proj_weight(&one);
/// let (y, weights) = multi_head_attention_forward(&x, &x, &x, &arguments);
/// assert_eq!(y.to_vec::<f32>()?, [2.0, 2.0]);
/// assert_eq!(weights.unwrap().to_vec::<f32>()?, [0.5; 4]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn multi_head_attention_forward(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    arguments: &MultiHeadAttentionForward,
) -> (Tensor, Option<Tensor>) {
    let out = |y: Tensor| match &arguments.out_proj_weight {
        Some(weight) => y.linear(weight, arguments.out_proj_bias.as_ref()),
        None => y,
    };
    match attend(query, key, value, arguments, false, &out) {
        Ok(found) => found,
        Err(error) => refused(error, query, key, value, arguments),
    }
}

/// The results that carry `error`.
#[track_caller]
pub(super) fn refused(
    error: Error,
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    a: &MultiHeadAttentionForward,
) -> (Tensor, Option<Tensor>) {
    let inputs = [query, key, value];
    let y = Tensor::fail(error, &inputs, query.shape().clone(), query.dtype());
    let weights = a.need_weights.then(|| y.clone());
    (y, weights)
}

fn wrong(what: String) -> Error {
    Error::new(format!("multi_head_attention: {what}"))
}

/// The sizes that all parts share.
struct Sizes {
    /// Sequences.
    n: usize,
    /// Queries of each.
    l: usize,
    /// Size of a query.
    e: usize,
    heads: usize,
    /// Where the sequences and the places in them are counted: `[N, L, E]` or `[L, N, E]`.
    batch_first: bool,
}

impl Sizes {
    /// `[N, L, E]` or `[L, N, E]` as `[N, heads, L, E/heads]`.
    fn split(&self, x: &Tensor) -> Tensor {
        let shape = [x.size(0), x.size(1), self.heads, self.e / self.heads];
        let x = x.view(shape);
        if self.batch_first { x.permute([0, 2, 1, 3]) } else { x.permute([1, 2, 0, 3]) }
    }

    /// The opposite of `split`.
    fn join(&self, y: &Tensor) -> Tensor {
        let y = if self.batch_first { y.permute([0, 2, 1, 3]) } else { y.permute([2, 0, 1, 3]) };
        y.view([y.size(0), y.size(1), y.size(2) * y.size(3)])
    }
}

/// [`multi_head_attention_forward`] with `[N, L, E]` where `batch_first`; `out` projects the joined heads.
#[track_caller]
pub(super) fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    a: &MultiHeadAttentionForward,
    batch_first: bool,
    out: &dyn Fn(Tensor) -> Tensor,
) -> Result<(Tensor, Option<Tensor>)> {
    let batched = check_ranks(query, key, value, a)?;
    // One sequence is a batch of one, whose layout is free.
    let batch_first = batch_first || !batched;
    let same = [query.is(key), key.is(value)];
    let [mut q, mut k, mut v] = [query, key, value].map(Clone::clone);
    if !batched {
        [q, k, v] = [q, k, v].map(|t| t.unsqueeze(0));
    }
    let (n, l) = if batch_first { (q.size(0), q.size(1)) } else { (q.size(1), q.size(0)) };
    let sizes = Sizes { n, l, e: q.size(2), heads: a.num_heads, batch_first };
    check_sizes(&sizes, &q, &k, &v, a)?;
    let s = k.size(isize::from(batch_first));
    let [q, mut k, mut v] = project(&sizes, [&q, &k, &v], same, a)?;

    let mut extra = 0;
    if let (Some(bias_k), Some(bias_v)) = (&a.bias_k, &a.bias_v) {
        let time = isize::from(batch_first);
        let row = |bias: &Tensor| bias.expand_to(&k.shape().with(time as usize, 1));
        let (row_k, row_v) = (row(bias_k), row(bias_v));
        k = Tensor::cat(&[&k, &row_k], time);
        v = Tensor::cat(&[&v, &row_v], time);
        extra += 1;
    }
    let q = sizes.split(&q);
    let [mut k, mut v] = [(k, &a.static_k), (v, &a.static_v)].map(|(t, fixed)| match fixed {
        Some(fixed) => fixed.view([n, sizes.heads, fixed.size(1), fixed.size(2)]),
        None => sizes.split(&t),
    });
    if a.add_zero_attn {
        let zero = Tensor::zeros_of(k.shape().with(2, 1), k.dtype());
        k = Tensor::cat(&[&k, &zero], 2);
        v = Tensor::cat(&[&v, &zero], 2);
        extra += 1;
    }
    if k.size(2) != v.size(2) {
        return Err(wrong(format!("{} keys and {} values", k.size(2), v.size(2))));
    }
    let mask = merged_mask(&sizes, s, extra, k.size(2), q.dtype(), a)?;

    let (y, weights) = heads(&q, &k, &v, mask, a);
    let mut y = out(sizes.join(&y));
    let mut weights = weights;
    if a.average_attn_weights {
        weights = weights.map(|w| w.mean(1));
    }
    if !batched {
        (y, weights) = (y.squeeze(0), weights.map(|w| w.squeeze(0)));
    }
    Ok((y, weights))
}

/// The attention of each head, and its weights where they are needed.
fn heads(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<Tensor>,
    a: &MultiHeadAttentionForward,
) -> (Tensor, Option<Tensor>) {
    let dropout_p = if a.training { a.dropout_p } else { 0.0 };
    if !a.need_weights {
        let is_causal = a.is_causal && mask.is_none();
        let options = AttentionOptions { attn_mask: mask, dropout_p, is_causal, ..AttentionOptions::new() };
        return (q.scaled_dot_product_attention(k, v, &options), None);
    }
    // Torch scales the queries here and softmaxes as it is: rows that see nothing are NaN.
    let scores = (q * (1.0 / q.size(-1).max(1) as f64).sqrt()).matmul(&k.transpose(-2, -1));
    let scores = match mask {
        Some(mask) => scores + mask,
        None => scores,
    };
    let mut weights = scores.softmax(-1).tap("weights");
    if dropout_p > 0.0 {
        weights = weights.dropout(dropout_p);
    }
    (weights.matmul(v), Some(weights))
}

/// Query, key and value projected; what is one tensor goes through one product.
fn project(sizes: &Sizes, inputs: [&Tensor; 3], same: [bool; 2], a: &MultiHeadAttentionForward) -> Result<[Tensor; 3]> {
    let e = sizes.e;
    let part = |t: &Tensor, i: usize, count: usize| t.narrow(0, i * e, count * e);
    let bias = |i: usize, count: usize| a.in_proj_bias.as_ref().map(|b| part(b, i, count));
    if a.use_separate_proj_weight {
        let mut projected = Vec::new();
        let weights = [("q", &a.q_proj_weight), ("k", &a.k_proj_weight), ("v", &a.v_proj_weight)];
        for (i, (name, weight)) in weights.into_iter().enumerate() {
            let Some(weight) = weight else {
                return Err(wrong(format!("use_separate_proj_weight without {name}_proj_weight")));
            };
            check_weight(&format!("{name}_proj_weight"), weight, [e, inputs[i].size(2)], inputs[i])?;
            projected.push(inputs[i].linear(weight, bias(i, 1).as_ref()));
        }
        let Ok(projected) = <[Tensor; 3]>::try_from(projected) else { unreachable!("three weights") };
        return Ok(projected);
    }
    let Some(weight) = &a.in_proj_weight else {
        return Err(wrong("without in_proj_weight and without use_separate_proj_weight".to_owned()));
    };
    for input in inputs {
        check_weight("in_proj_weight", weight, [3 * e, input.size(2)], input)?;
    }
    let rows = |input: usize, i: usize, count: usize| {
        let weight = if count == 3 { weight.clone() } else { part(weight, i, count) };
        let bias = if count == 3 { a.in_proj_bias.clone() } else { bias(i, count) };
        inputs[input].linear(&weight, bias.as_ref())
    };
    let columns = |t: &Tensor, i: usize| t.narrow(-1, i * e, e);
    Ok(match same {
        [true, true] => {
            let all = rows(0, 0, 3);
            [0, 1, 2].map(|i| columns(&all, i))
        }
        [_, true] => {
            let both = rows(1, 1, 2);
            [rows(0, 0, 1), columns(&both, 0), columns(&both, 1)]
        }
        _ => [0, 1, 2].map(|i| rows(i, i, 1)),
    })
}

fn check_weight(name: &str, weight: &Tensor, expected: [usize; 2], input: &Tensor) -> Result<()> {
    if weight.shape()[..] != expected {
        let expected = Shape::from(expected);
        return Err(wrong(format!("{name} is {}, not {expected}, for {}", weight.shape(), input.shape())));
    }
    if weight.dtype() != input.dtype() {
        let what = format!("{name} is {}, the input {}", weight.dtype(), input.dtype());
        return Err(wrong(what).help(format!("x.to_dtype(DType::{:?})", weight.dtype())));
    }
    Ok(())
}

/// What is added to the scores [N, heads, L, S]: both masks, with 0 for the keys that were appended.
fn merged_mask(
    sizes: &Sizes,
    s: usize,
    extra: usize,
    keys: usize,
    dtype: DType,
    a: &MultiHeadAttentionForward,
) -> Result<Option<Tensor>> {
    let (n, l, heads) = (sizes.n, sizes.l, sizes.heads);
    let padded = |t: Tensor| if extra > 0 { t.pad(-1, 0, extra as isize, 0.0) } else { t };
    let mut mask = None;
    // The hint takes the mask's place where nothing else has to be added.
    let hint = a.is_causal && a.key_padding_mask.is_none() && !a.need_weights;
    if let Some(given) = a.attn_mask.as_ref().filter(|_| !hint) {
        let expected = if given.rank() == 2 { Shape::from([l, s]) } else { Shape::from([n * heads, l, s]) };
        if *given.shape() != expected {
            return Err(wrong(format!("attn_mask is {}, not {expected}", given.shape())));
        }
        let (n, heads) = if given.rank() == 2 { (1, 1) } else { (n, heads) };
        mask = Some(padded(additive("attn_mask", given, dtype)?.view([n, heads, l, s])));
    }
    if let Some(given) = &a.key_padding_mask {
        let given = if given.rank() == 1 { given.unsqueeze(0) } else { given.clone() };
        if given.shape()[..] != [n, keys - extra] {
            let expected = Shape::from([n, keys - extra]);
            return Err(wrong(format!("key_padding_mask is {}, not {expected}, [N, S]", given.shape())));
        }
        let row = padded(additive("key_padding_mask", &given, dtype)?).view([n, 1, 1, keys]);
        mask = Some(match mask {
            Some(mask) => mask + row,
            None => row,
        });
    }
    Ok(mask)
}

/// The mask as a number that is added: −∞ for what is left out.
#[track_caller]
pub(crate) fn additive(name: &str, mask: &Tensor, dtype: DType) -> Result<Tensor> {
    match mask.dtype() {
        DType::Bool => {
            let zero = Tensor::zeros_of(mask.shape(), dtype);
            Ok(zero.constant_like(f64::NEG_INFINITY).where_(mask, &zero))
        }
        float if float.is_float() => Ok(mask.to_dtype(dtype)),
        other => Err(wrong(format!("{name} is {other}")).help("bool, true for what is left out, or float")),
    }
}

/// Whether there is an axis of sequences.
fn check_ranks(q: &Tensor, k: &Tensor, v: &Tensor, a: &MultiHeadAttentionForward) -> Result<bool> {
    let rank = q.rank();
    if !(2..=3).contains(&rank) {
        return Err(wrong(format!("the query {} has {rank} axes", q.shape())).help("[L, E], or a batch with 3 axes"));
    }
    if k.rank() != rank || v.rank() != rank {
        return Err(wrong(format!("the query {} beside key {} and value {}", q.shape(), k.shape(), v.shape()))
            .help("all with an axis of sequences, or none"));
    }
    if let Some(mask) = a.key_padding_mask.as_ref().filter(|mask| mask.rank() != rank - 1) {
        let expected = if rank == 3 { "[N, S]" } else { "[S]" };
        return Err(wrong(format!("key_padding_mask is {}, not {expected}", mask.shape())));
    }
    if let Some(mask) = a.attn_mask.as_ref().filter(|mask| !(2..=3).contains(&mask.rank())) {
        return Err(wrong(format!("attn_mask is {}, neither [L, S] nor [N·num_heads, L, S]", mask.shape())));
    }
    if a.is_causal && a.attn_mask.is_none() {
        return Err(wrong("is_causal without attn_mask".to_owned())
            .help("attn_mask(&Transformer::generate_square_subsequent_mask(L))"));
    }
    Ok(rank == 3)
}

fn check_sizes(sizes: &Sizes, q: &Tensor, k: &Tensor, v: &Tensor, a: &MultiHeadAttentionForward) -> Result<()> {
    let (e, heads) = (a.embed_dim_to_check, a.num_heads);
    if e == 0 || heads == 0 || !e.is_multiple_of(heads) {
        return Err(wrong(format!("embed_dim {e} is not divisible by num_heads {heads}"))
            .help("embed_dim a multiple of num_heads, both above 0"));
    }
    if sizes.e != e {
        return Err(wrong(format!("the query {} has {} features, not {e}", q.shape(), sizes.e)));
    }
    let alike = if a.use_separate_proj_weight { k.shape()[..2] == v.shape()[..2] } else { k.shape() == v.shape() };
    if !alike {
        return Err(wrong(format!("key {} and value {} do not fit", k.shape(), v.shape())));
    }
    let batch = usize::from(!sizes.batch_first);
    if k.shape()[batch] != sizes.n {
        let what = format!("{} sequences of the query {}", sizes.n, q.shape());
        return Err(wrong(format!("{what}, {} of the key {}", k.shape()[batch], k.shape())));
    }
    if !q.dtype().is_float() || [k, v].iter().any(|t| t.dtype() != q.dtype()) {
        return Err(wrong(format!("query, key and value are {}, {}, {}", q.dtype(), k.dtype(), v.dtype())));
    }
    if a.training && !(0.0..=1.0).contains(&a.dropout_p) {
        return Err(wrong(format!("the probability of dropout is {}", a.dropout_p)).help("a number from 0 to 1"));
    }
    check_parameters(sizes, q, a)
}

fn check_parameters(sizes: &Sizes, q: &Tensor, a: &MultiHeadAttentionForward) -> Result<()> {
    let e = sizes.e;
    if a.bias_k.is_some() != a.bias_v.is_some() {
        return Err(wrong("one of bias_k and bias_v without the other".to_owned()));
    }
    if a.bias_k.is_some() && (a.static_k.is_some() || a.static_v.is_some()) {
        return Err(wrong("bias_k and bias_v beside static_k or static_v".to_owned()));
    }
    let columns = a.out_proj_weight.as_ref().map_or(e, |w| w.size(-1));
    let out = a.out_proj_weight.as_ref().map_or(e, |w| w.size(0));
    let rows = sizes.n * sizes.heads;
    // Axes of size 1 before the features may be left out.
    let short = |t: &Tensor| t.rank() < 3 && t.numel() == e && t.size(-1) == e;
    let row = |bias: &Option<Tensor>| match bias {
        Some(bias) if short(bias) => bias.shape().clone(),
        _ => Shape::from([1, 1, e]),
    };
    let fixed = |t: &Tensor| Shape::from([rows, t.size(1), e / sizes.heads]);
    let expected = [
        ("in_proj_bias", &a.in_proj_bias, Shape::from([3 * e])),
        ("bias_k", &a.bias_k, row(&a.bias_k)),
        ("bias_v", &a.bias_v, row(&a.bias_v)),
        ("out_proj_weight", &a.out_proj_weight, Shape::from([out, if columns == e { columns } else { e }])),
        ("out_proj_bias", &a.out_proj_bias, Shape::from([out])),
        ("static_k", &a.static_k, a.static_k.as_ref().map(fixed).unwrap_or_default()),
        ("static_v", &a.static_v, a.static_v.as_ref().map(fixed).unwrap_or_default()),
    ];
    for (name, given, shape) in expected {
        if let Some(given) = given.as_ref().filter(|t| *t.shape() != shape || t.dtype() != q.dtype()) {
            let have = format!("{} {}", given.dtype(), given.shape());
            return Err(wrong(format!("{name} is {have}, not {} {shape}", q.dtype())));
        }
    }
    Ok(())
}
