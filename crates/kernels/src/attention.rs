//! Attention with a softmax that runs along: no matrix of all scores is ever in memory.
//!
//! Milakov, Gimelshein: Online normalizer calculation for softmax (2018); Dao and others: FlashAttention (2022).

use crate::Cpu;
use crate::dot::{Dims, Operand, dot};
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::{Shared, each3, rows_per_task};
use crate::real::{Real, exp_below_in_place, max};
use crate::slice::{Slice, SliceMut};

/// Queries that go together.
const QUERIES: usize = 64;
/// Keys that go together.
const KEYS: usize = 256;
/// Scores that one task makes, at least, where several short sequences can go together.
const TASK: usize = 16 << 10;

/// The shape of an attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention<'a> {
    /// Sizes of the leading dimensions: samples, heads.
    pub batch: &'a [usize],
    /// How many samples, one after the other, share their keys and values: 1, or the queries' heads of a group.
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

/// Numbers that are added to the scores: a view of `[batch.., t, s]`, in the type of the queries.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'a> {
    /// The elements.
    pub data: Slice<'a>,
    /// Where element [0.., 0, 0] is.
    pub offset: usize,
    /// Strides in elements of the batch dimensions, queries and keys; 0 to broadcast.
    pub strides: &'a [isize],
}

/// `out[b, i] = Σ_j p[b, i, j]·v[b, j]` with `p[b, i, ·] = softmax(scale·q[b, i]·k[b, ·] + mask[b, i, ·])`, and
/// `lse[b, i]`, the logarithm of the softmax's denominator: `p = exp(score - lse)`.
///
/// `q` `[batch.., t, d]`, `k` `[batch/shared, s, d]`, `v` `[batch/shared, s, e]` and `out` `[batch.., t, e]` are contiguous
/// and of one float type; f16 and bf16 are computed in f32 and rounded once. `lse` `[batch.., t]` is f64 for f64, else f32.
/// A query that sees no key (all masked by -∞ or by causality, or s = 0) gives zeros and an lse of -∞, as
/// `torch.nn.functional.scaled_dot_product_attention` does since torch 2.5; NaN in a score gives NaN.
///
/// # Panics
/// When lengths or types do not fit each other, the mask leaves its data, or the type is not a float.
pub fn attention(
    cpu: &Cpu,
    shape: &Attention,
    q: Slice,
    k: Slice,
    v: Slice,
    mask: Option<&Mask>,
    mut out: SliceMut,
    mut lse: SliceMut,
) {
    let Attention { t, s, d, e, shared, .. } = *shape;
    let batches = shape.batch.iter().product::<usize>();
    assert!(shared > 0 && batches.is_multiple_of(shared), "{batches} samples share by {shared}");
    assert!([k.dtype(), v.dtype(), out.dtype()].iter().all(|&other| other == q.dtype()));
    let keys = batches / shared * s;
    assert!(q.len() == batches * t * d && k.len() == keys * d && v.len() == keys * e);
    assert!(out.len() == batches * t * e && lse.len() == batches * t);
    assert!(mask.is_none_or(|m| m.strides.len() == shape.batch.len() + 2 && m.data.dtype() == q.dtype()));
    if lse.is_empty() {
        return;
    }
    if q.dtype() == DType::F64 {
        let job = Blocks { cpu, shape, q: q.get::<f64>(), k: k.get(), v: v.get(), mask: mask.map(|m| m.data.get()) };
        return job.run(mask, out.get(), lse.get());
    }
    let (q, k, v, m) =
        (Floats::new(cpu, q), Floats::new(cpu, k), Floats::new(cpu, v), mask.map(|m| Floats::new(cpu, m.data)));
    let job = Blocks { cpu, shape, q: q.get(), k: k.get(), v: v.get(), mask: m.as_ref().map(|m| m.get()) };
    let mut sums = FloatsMut::new(out);
    job.run(mask, sums.get(), lse.get::<f32>());
    sums.finish(cpu);
}

struct Blocks<'a, T> {
    cpu: &'a Cpu,
    shape: &'a Attention<'a>,
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    mask: Option<&'a [T]>,
}

impl<T: Real> Blocks<'_, T> {
    /// A task takes one block of queries, or the queries of several short sequences.
    fn run(&self, view: Option<&Mask>, out: &mut [T], lse: &mut [T]) {
        let Attention { t, s, e, .. } = *self.shape;
        let queries = if t <= QUERIES { t * rows_per_task(t * s.max(1), TASK) } else { QUERIES };
        // Long sequences are cut so that no block crosses from one to the next.
        let blocks = t.div_ceil(QUERIES);
        let batches = lse.len() / t;
        if t <= QUERIES {
            let none: (&mut [u8], usize) = (&mut [], 0);
            let tasks = lse.len().div_ceil(queries);
            return each3(&self.cpu.pool, tasks, (out, queries * e), (lse, queries), none, |task, out, lse, _| {
                let first = task * (queries / t);
                for i in 0..lse.len() / t {
                    self.block(view, first + i, 0, &mut out[i * t * e..][..t * e], &mut lse[i * t..][..t]);
                }
            });
        }
        let (out, lse) = (Shared::new(out), Shared::new(lse));
        self.cpu.pool.run(batches * blocks, &|task| {
            // The last blocks of a causal attention have most to do: they come first.
            let (batch, first) = (task % batches, (blocks - 1 - task / batches) * QUERIES);
            let (start, count) = (batch * t + first, QUERIES.min(t - first));
            // SAFETY: tasks have different queries.
            let (out, lse) = unsafe { (out.range(start * e, count * e), lse.range(start, count)) };
            self.block(view, batch, first, out, lse);
        });
    }

    /// Number of keys that query `i` may see.
    fn visible(&self, i: usize) -> usize {
        let all = self.shape.s;
        self.shape.causal.map_or(all, |shift| all.min(usize::try_from(i as isize + shift + 1).unwrap_or(0)))
    }

    /// Queries `first ..` of one sequence, as many as `lse` has.
    fn block(&self, view: Option<&Mask>, batch: usize, first: usize, out: &mut [T], lse: &mut [T]) {
        let Attention { t, s, d, e, shared, .. } = *self.shape;
        let count = lse.len();
        // Scaling the queries costs less than scaling the scores.
        let scale = T::from_f64(self.shape.scale);
        let q: Vec<T> = self.q[(batch * t + first) * d..][..count * d].iter().map(|&q| q * scale).collect();
        let group = batch / shared;
        let (k, v) = (&self.k[group * s * d..][..s * d], &self.v[group * s * e..][..s * e]);
        let (mut scores, mut part) = (vec![T::default(); count * KEYS.min(s)], vec![T::default(); count * e]);
        let (mut maxima, mut totals) = (vec![T::NEG_INFINITY; count], vec![T::default(); count]);
        out.fill(T::default());
        let end = self.visible(first + count - 1);
        for from in (0..end).step_by(KEYS) {
            let keys = KEYS.min(end - from);
            let scores = &mut scores[..count * keys];
            product(self.cpu, [count, keys, d], &q, &k[from * d..][..keys * d], true, scores);
            if let (Some(view), Some(mask)) = (view, self.mask) {
                self.add_mask(view, mask, batch, first, from, keys, scores);
            }
            for (i, scores) in scores.chunks_exact_mut(keys).enumerate() {
                scores[self.visible(first + i).saturating_sub(from).min(keys)..].fill(T::NEG_INFINITY);
            }
            let step = Step { keys, e, scores, out, maxima: &mut maxima, totals: &mut totals };
            dispatch(self.cpu.isa, step);
            product(self.cpu, [count, e, keys], scores, &v[from * e..][..keys * e], false, &mut part);
            out.iter_mut().zip(&part).for_each(|(out, &part)| *out = *out + part);
        }
        dispatch(self.cpu.isa, Finish { e, out, lse, maxima: &maxima, totals: &totals });
    }

    /// scores += mask
    fn add_mask(
        &self,
        view: &Mask,
        mask: &[T],
        batch: usize,
        first: usize,
        from: usize,
        keys: usize,
        scores: &mut [T],
    ) {
        let (batch_strides, inner) = view.strides.split_at(self.shape.batch.len());
        let (mut start, mut rest) = (view.offset as isize, batch);
        for (&size, &stride) in self.shape.batch.iter().zip(batch_strides).rev() {
            start += (rest % size) as isize * stride;
            rest /= size;
        }
        for (i, scores) in scores.chunks_exact_mut(keys).enumerate() {
            let row = start + (first + i) as isize * inner[0] + from as isize * inner[1];
            if inner[1] == 1 {
                let mask = &mask[row as usize..][..keys];
                scores.iter_mut().zip(mask).for_each(|(score, &m)| *score = *score + m);
            } else {
                let at = |j: usize| mask[(row + j as isize * inner[1]) as usize];
                scores.iter_mut().enumerate().for_each(|(j, score)| *score = *score + at(j));
            }
        }
    }
}

/// out = a·b for a [m, k] and b [k, n], or b [n, k] transposed.
fn product<T: Real>(cpu: &Cpu, [m, n, k]: [usize; 3], a: &[T], b: &[T], transposed: bool, out: &mut [T]) {
    let (rows, cols) = if transposed { (1, k as isize) } else { (n as isize, 1) };
    let a = Operand { data: Slice::of(a), offset: 0, batch: &[], rows: k as isize, cols: 1 };
    let b = Operand { data: Slice::of(b), offset: 0, batch: &[], rows, cols };
    dot(cpu, &Dims { batch: &[], m, n, k }, &a, &b, SliceMut::of(out), None);
}

/// Turns scores into powers of e below each row's maximum so far, and shrinks what was summed under a
/// smaller maximum.
struct Step<'a, T> {
    keys: usize,
    e: usize,
    scores: &'a mut [T],
    out: &'a mut [T],
    maxima: &'a mut [T],
    totals: &'a mut [T],
}

impl<T: Real> Job for Step<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Step { keys, e, scores, out, maxima, totals } = self;
        for (i, scores) in scores.chunks_exact_mut(keys).enumerate() {
            let highest = max(scores);
            let m = if highest > maxima[i] { highest } else { maxima[i] };
            if m == T::NEG_INFINITY {
                // Nothing is visible so far; a NaN stays one.
                scores.iter_mut().for_each(|x| *x = if x.is_nan() { *x } else { T::default() });
                totals[i] = scores.iter().fold(totals[i], |sum, &x| sum + x);
                continue;
            }
            let shrink = (maxima[i] - m).exp::<A>();
            let total = T::from_f64(exp_below_in_place::<T, A>(scores, m));
            totals[i] = totals[i].fma::<A>(shrink, total);
            if shrink != T::ONE {
                out[i * e..][..e].iter_mut().for_each(|out| *out = *out * shrink);
            }
            maxima[i] = m;
        }
    }
}

/// Divides by the denominators of the softmax.
struct Finish<'a, T> {
    e: usize,
    out: &'a mut [T],
    lse: &'a mut [T],
    maxima: &'a [T],
    totals: &'a [T],
}

impl<T: Real> Job for Finish<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Finish { e, out, lse, maxima, totals } = self;
        for (i, lse) in lse.iter_mut().enumerate() {
            *lse = maxima[i] + totals[i].ln::<A>();
            if totals[i] != T::default() {
                let scale = T::ONE / totals[i];
                out[i * e..][..e].iter_mut().for_each(|out| *out = *out * scale);
            }
        }
    }
}
