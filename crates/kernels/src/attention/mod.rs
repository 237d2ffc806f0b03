//! Attention with a softmax that runs along, forward and backward: no matrix of all scores is ever in memory.
//!
//! Milakov, Gimelshein: Online normalizer calculation for softmax (2018); Dao and others: FlashAttention (2022).

mod backward;
mod forward;
mod scores;

use crate::Cpu;
use crate::buffer::Buffer;
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::slice::{Slice, SliceMut};

use scores::{Problem, Typed};

/// The shape of an attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Number of samples.
    pub samples: usize,
    /// Heads of the queries in each sample.
    pub heads: usize,
    /// How many heads, one after the other, share one head of the keys and values.
    pub shared: usize,
    /// Number of queries.
    pub t: usize,
    /// Number of keys and values.
    pub s: usize,
    /// Size of a query and of a key.
    pub d: usize,
    /// Size of a value.
    pub e: usize,
    /// With `Some(shift)`, query i sees only the keys `0 ..= i + shift`: 0 for torch's `is_causal`, s - t for queries
    /// that are the last of a sequence.
    pub causal: Option<isize>,
    /// What products of queries and keys are multiplied by, mostly 1/√d.
    pub scale: f64,
}

/// A matrix for each sample and head, whose rows have their elements side by side: element `[n, h, i, j]` is
/// `data[n·sample + h·head + i·row + j]`.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The elements.
    pub data: Slice<'a>,
    /// Distance of samples.
    pub sample: usize,
    /// Distance of heads.
    pub head: usize,
    /// Distance of rows.
    pub row: usize,
}

impl<'a> Rows<'a> {
    /// Contiguous `[samples, heads, rows, cols]`.
    pub fn by_head(data: Slice<'a>, heads: usize, rows: usize, cols: usize) -> Rows<'a> {
        Rows { data, sample: heads * rows * cols, head: rows * cols, row: cols }
    }

    /// Contiguous `[samples, rows, heads, cols]`.
    pub fn by_row(data: Slice<'a>, heads: usize, rows: usize, cols: usize) -> Rows<'a> {
        Rows { data, sample: heads * rows * cols, head: cols, row: heads * cols }
    }

    /// Panics unless matrices of such sizes are inside the data.
    fn check(&self, dtype: DType, [samples, heads, rows, cols]: [usize; 4]) {
        assert_eq!(self.data.dtype(), dtype);
        if samples * heads * rows * cols > 0 {
            let last = (samples - 1) * self.sample + (heads - 1) * self.head + (rows - 1) * self.row + cols - 1;
            assert!(last < self.data.len(), "rows of attention reach {last} of {} elements", self.data.len());
        }
    }
}

/// Numbers that are added to the scores, in the type of the queries. Matrix `b` of the batch, sample · heads + head, is
/// seen at `[b / heads, b % heads]`.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'a> {
    /// The elements.
    pub data: Slice<'a>,
    /// Where element [0, 0, 0, 0] is.
    pub offset: usize,
    /// What the second axis counts.
    pub heads: usize,
    /// Strides in elements of both batch axes, queries and keys; 0 to broadcast.
    pub strides: [isize; 4],
}

/// What attention reads.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Queries `[samples, heads, t, d]`.
    pub q: Rows<'a>,
    /// Keys `[samples, heads/shared, s, d]`.
    pub k: Rows<'a>,
    /// Values `[samples, heads/shared, s, e]`.
    pub v: Rows<'a>,
    /// What is added to the scores.
    pub mask: Option<Mask<'a>>,
}

impl Inputs<'_> {
    fn check(&self, shape: &Attention) {
        let Attention { samples, heads, shared, t, s, d, e, .. } = *shape;
        assert!(shared > 0 && heads.is_multiple_of(shared), "{heads} heads share by {shared}");
        let dtype = self.q.data.dtype();
        self.q.check(dtype, [samples, heads, t, d]);
        self.k.check(dtype, [samples, heads / shared, s, d]);
        self.v.check(dtype, [samples, heads / shared, s, e]);
        assert!(self.mask.is_none_or(|m| m.data.dtype() == dtype && m.heads > 0));
    }
}

/// `out[n, i, h] = Σ_j p[n, h, i, j]·v[n, h, j]` with `p[n, h, i, ·] = softmax(scale·q[n, h, i]·k[n, h, ·] + mask)`.
/// Beside it the softmax's parts, `maxima` m and `totals` Σ exp(score - m): p = exp(score - m)/total.
///
/// `out` is contiguous `[samples, t, heads, e]`, so that the heads of a query stand together, of the inputs' float type;
/// f16 and bf16 are computed in f32 and rounded once. `maxima` and `totals` `[samples, heads, t]` are f64 for f64, else
/// f32. A query that sees no key (all masked by -∞ or by causality, or s = 0) gives zeros, a maximum of -∞ and a total of
/// 0, as `torch.nn.functional.scaled_dot_product_attention` does since torch 2.5; NaN in a score gives NaN.
///
/// # Panics
/// When sizes or types do not fit each other, an input leaves its data, or the type is not a float.
pub fn attention(
    cpu: &Cpu,
    shape: &Attention,
    inputs: &Inputs,
    mut out: SliceMut,
    mut maxima: SliceMut,
    mut totals: SliceMut,
) {
    inputs.check(shape);
    let rows = shape.samples * shape.heads * shape.t;
    assert!(out.dtype() == inputs.q.data.dtype() && out.len() == rows * shape.e);
    assert!(maxima.len() == rows && totals.len() == rows);
    if out.dtype() == DType::F64 {
        let problem = Problem::typed(cpu, shape, inputs, |x| x.get::<f64>());
        return problem.forward(out.get(), maxima.get(), totals.get());
    }
    let wide = Wide::new(cpu, inputs);
    let mut sums = FloatsMut::new(out);
    wide.problem(cpu, shape, inputs).forward(sums.get(), maxima.get(), totals.get());
    sums.finish(cpu);
}

/// What [`attention_grad`] reads beside the inputs.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// The result of [`attention`], `[samples, t, heads, e]`.
    pub out: Slice<'a>,
    /// Its maxima.
    pub maxima: Slice<'a>,
    /// Its totals.
    pub totals: Slice<'a>,
    /// The gradient of the result, `[samples, heads, t, e]`.
    pub grad: Rows<'a>,
}

/// The gradients of [`attention`] by q, k and v, with p computed again from scores, maxima and totals:
/// `dv = pᵀ·g`, `dscores = p·(g·vᵀ - Σ out·g)`, `dq = scale·dscores·k`, `dk = scale·dscoresᵀ·q`. For f16 and bf16 the
/// result is computed again as well, because it is rounded.
///
/// All are contiguous with the heads of a row together: `dq` `[samples, t, heads, d]`, `dk` `[samples, s, heads/shared, d]`,
/// `dv` `[samples, s, heads/shared, e]`, of the inputs' type.
///
/// # Panics
/// As [`attention`].
pub fn attention_grad(
    cpu: &Cpu,
    shape: &Attention,
    inputs: &Inputs,
    forward: &Forward,
    mut dq: SliceMut,
    mut dk: SliceMut,
    mut dv: SliceMut,
) {
    inputs.check(shape);
    let Attention { samples, heads, shared, t, s, d, e, .. } = *shape;
    let (queries, keys, dtype) = (samples * heads * t, samples * (heads / shared) * s, inputs.q.data.dtype());
    forward.grad.check(dtype, [samples, heads, t, e]);
    assert!(forward.out.dtype() == dtype && forward.out.len() == queries * e);
    assert!(forward.maxima.len() == queries && forward.totals.len() == queries);
    assert!([&dq, &dk, &dv].iter().all(|x| x.dtype() == dtype));
    assert!(dq.len() == queries * d && dk.len() == keys * d && dv.len() == keys * e);
    let out = Rows::by_row(forward.out, heads, t, e);
    if dtype == DType::F64 {
        let problem = Problem::typed(cpu, shape, inputs, |x| x.get::<f64>());
        let [out, grad] = [&out, &forward.grad].map(|x| Typed::new(x, x.data.get()));
        let below = backward::Below { out, grad, maxima: forward.maxima.get(), totals: forward.totals.get() };
        return problem.backward(&below, dq.get(), dk.get(), dv.get());
    }
    let wide = Wide::new(cpu, inputs);
    let problem = wide.problem(cpu, shape, inputs);
    let grads = Floats::new(cpu, forward.grad.data);
    let grad = Typed::new(&forward.grad, grads.get());
    let mut exact = Buffer::new(if dtype == DType::F32 { 0 } else { queries * (e + 2) * size_of::<f32>() });
    let outs = if dtype == DType::F32 {
        forward.out.get::<f32>()
    } else {
        // Σ out·g needs the result as it was before it was rounded.
        let (out, parts) = exact.get_mut::<f32>().split_at_mut(queries * e);
        let (maxima, totals) = parts.split_at_mut(queries);
        problem.forward(out, maxima, totals);
        out
    };
    let out = Typed::new(&out, outs);
    let below = backward::Below { out, grad, maxima: forward.maxima.get(), totals: forward.totals.get() };
    let [mut dq, mut dk, mut dv] = [dq, dk, dv].map(FloatsMut::new);
    problem.backward(&below, dq.get(), dk.get(), dv.get());
    [dq, dk, dv].into_iter().for_each(|x| x.finish(cpu));
}

/// The inputs as f32.
struct Wide<'a> {
    q: Floats<'a>,
    k: Floats<'a>,
    v: Floats<'a>,
    mask: Option<Floats<'a>>,
}

impl<'a> Wide<'a> {
    fn new(cpu: &Cpu, inputs: &Inputs<'a>) -> Wide<'a> {
        let [q, k, v] = [&inputs.q, &inputs.k, &inputs.v].map(|x| Floats::new(cpu, x.data));
        Wide { q, k, v, mask: inputs.mask.map(|m| Floats::new(cpu, m.data)) }
    }

    fn problem<'p>(&'p self, cpu: &'p Cpu, shape: &'p Attention, inputs: &Inputs) -> Problem<'p, f32> {
        Problem {
            cpu,
            shape,
            q: Typed::new(&inputs.q, self.q.get()),
            k: Typed::new(&inputs.k, self.k.get()),
            v: Typed::new(&inputs.v, self.v.get()),
            mask: self.mask.as_ref().zip(inputs.mask.as_ref()).map(|(data, m)| scores::Added::new(m, data.get())),
        }
    }
}
