//! Attention backward: the weights are computed again, a block at a time.

use std::ops::Range;

use crate::dot::{Block, Blocks};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::Shared;
use crate::real::{Real, max, sum, sum2};

use super::scores::{KEYS, Place, Problem, QUERIES, Scratch, Typed};

/// From so many heads of the keys on, a task takes all of one; else queries and keys are cut apart, which makes the
/// weights twice.
const HEADS: usize = 4;
/// Queries or keys that a task takes where they are cut.
const CUT: usize = 256;

/// What the gradient reads beside the inputs.
pub(super) struct Below<'a, T> {
    pub(super) out: Typed<'a, T>,
    pub(super) grad: Typed<'a, T>,
    pub(super) maxima: &'a [T],
    pub(super) totals: &'a [T],
}

/// Where gradients go.
struct Grads<'a, T> {
    dq: Shared<'a, T>,
    dk: Shared<'a, T>,
    dv: Shared<'a, T>,
}

/// What a task computes.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    All,
    Queries,
    Keys,
}

impl<T: Real + Blocks> Problem<'_, T> {
    pub(super) fn backward(&self, below: &Below<T>, dq: &mut [T], dk: &mut [T], dv: &mut [T]) {
        let (t, s, groups) = (self.shape.t, self.shape.s, self.shape.samples * self.shape.heads / self.shape.shared);
        let grads = Grads { dq: Shared::new(dq), dk: Shared::new(dk), dv: Shared::new(dv) };
        if groups >= HEADS {
            return self.cpu.pool.run(groups, &|group| self.task(below, group, 0..t, 0..s, Part::All, &grads));
        }
        let (of_queries, of_keys) = (t.div_ceil(CUT), s.div_ceil(CUT));
        let cuts = of_queries + of_keys;
        self.cpu.pool.run(groups * cuts, &|task| {
            let (group, cut) = (task / cuts, task % cuts);
            match cut.checked_sub(of_queries) {
                None => {
                    let queries = cut * CUT..t.min((cut + 1) * CUT);
                    self.task(below, group, queries, 0..s, Part::Queries, &grads);
                }
                Some(cut) => self.task(below, group, 0..t, cut * CUT..s.min((cut + 1) * CUT), Part::Keys, &grads),
            }
        });
    }

    /// The gradients of some queries and keys of the heads that share one of the keys. Blocks of keys come one after the
    /// other; each is packed once and meets all queries that see it.
    fn task(
        &self,
        below: &Below<T>,
        group: usize,
        queries: Range<usize>,
        keys: Range<usize>,
        part: Part,
        grads: &Grads<T>,
    ) {
        let (isa, shape) = (self.cpu.isa, self.shape);
        let (shared, d, e, count) = (shape.shared, shape.d, shape.e, queries.len());
        let (sample, own) = (group / (shape.heads / shared), group % (shape.heads / shared));
        let (many, most) = (QUERIES.min(count), KEYS.min(keys.len()));
        let packed = |k: usize, n: usize| T::panels_len(isa, k, n);
        let sizes = [
            shared * count * d,
            most * d,
            most * e,
            shared * count,
            packed(d, most),
            packed(most, d),
            packed(e, most),
            packed(many, d).max(packed(many, e)),
            many * d,
            many * most,
            many * most,
        ];
        let mut scratch = Scratch::new::<T>(&sizes);
        let [dq, dk, dv, dots, keys_across, keys_down, values, panels, scaled, p, ds] = scratch.pieces(sizes);
        dq.fill(T::default());
        // A block that has all keys needs nothing from forward, whose scores may be rounded in another way.
        let whole = keys.len() == shape.s && keys.len() <= KEYS;
        for head in (0..shared).filter(|_| !whole) {
            let (from, dots) = (own * shared + head, &mut dots[head * count..][..count]);
            let [out, grad] = [&below.out, &below.grad].map(|x| x.matrix(sample, from, queries.start));
            dispatch(isa, Dots { e, out, grad, dots });
        }
        for key in keys.clone().step_by(KEYS) {
            let keys = KEYS.min(keys.end - key);
            let (dk, dv) = (&mut dk[..keys * d], &mut dv[..keys * e]);
            dk.fill(T::default());
            dv.fill(T::default());
            let all = Place { sample, head: own * shared, query: 0, queries: 0, key, keys };
            self.pack_keys(&all, keys_across);
            T::pack_panels(isa, keys, d, self.k.matrix(sample, own, key), keys_down);
            let v = self.v.matrix(sample, own, key);
            T::pack_panels(isa, e, keys, Block { row: v.col, col: v.row, ..v }, values);
            for (head, first) in (0..shared).flat_map(|head| (0..count).step_by(QUERIES).map(move |i| (head, i))) {
                let (n, query) = (QUERIES.min(count - first), queries.start + first);
                let Some(seen @ 1..) = self.visible_to(&(query..query + n)).checked_sub(key) else { continue };
                let place = Place { head: own * shared + head, query, queries: n, keys: keys.min(seen), ..all };
                let (p, ds) = (&mut p[..n * place.keys], &mut ds[..n * place.keys]);
                let [q, g] = [&self.q, &below.grad].map(|x| x.matrix(sample, place.head, query));
                self.scores(&place, keys_across, scaled, p);
                T::block_product(isa, [n, place.keys, e], g, (values, e), ds, false);
                let row = (sample * shape.heads + place.head) * shape.t + query;
                let at = head * count + first;
                let known = Known {
                    maxima: &below.maxima[row..][..n],
                    totals: &below.totals[row..][..n],
                    dots: &dots[at..][..n],
                };
                dispatch(isa, Weights { keys: place.keys, p, ds, known: (!whole).then_some(known) });
                if part != Part::Queries {
                    let [p, ds] = [&*p, &*ds].map(|data| Block { data, row: 1, col: place.keys });
                    T::pack_panels(isa, n, e, g, panels);
                    T::block_product(isa, [place.keys, e, n], p, (panels, n), dv, true);
                    T::pack_panels(isa, n, d, q, panels);
                    T::block_product(isa, [place.keys, d, n], ds, (panels, n), dk, true);
                }
                if part != Part::Keys {
                    let (ds, dq) = (Block { data: ds, row: place.keys, col: 1 }, &mut dq[at * d..][..n * d]);
                    T::block_product(isa, [n, d, place.keys], ds, (keys_down, keys), dq, true);
                }
            }
            if part != Part::Queries {
                let (heads, first) = (shape.heads / shared, sample * shape.s + key);
                store(&grads.dk, dk, d, T::from_f64(shape.scale), |i| ((first + i) * heads + own) * d);
                store(&grads.dv, dv, e, T::ONE, |i| ((first + i) * heads + own) * e);
            }
        }
        if part != Part::Keys {
            for head in 0..shared {
                let (dq, first) = (&dq[head * count * d..][..count * d], sample * shape.t + queries.start);
                let at = |i: usize| ((first + i) * shape.heads + own * shared + head) * d;
                store(&grads.dq, dq, d, T::from_f64(shape.scale), at);
            }
        }
    }
}

/// Writes rows of `width` elements times `scale`; row i goes to `at(i)`, which belongs to this task.
fn store<T: Real>(to: &Shared<T>, from: &[T], width: usize, scale: T, at: impl Fn(usize) -> usize) {
    for (i, row) in from.chunks_exact(width.max(1)).enumerate() {
        // SAFETY: each row of each gradient is written by one task.
        let to = unsafe { to.range(at(i), width) };
        to.iter_mut().zip(row).for_each(|(to, &x)| *to = x * scale);
    }
}

/// dots[i] = Σ out[i]·grad[i], which is Σ p·dp over all keys.
struct Dots<'a, T> {
    e: usize,
    out: Block<'a, T>,
    grad: Block<'a, T>,
    dots: &'a mut [T],
}

impl<T: Real> Job for Dots<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Dots { e, out, grad, dots } = self;
        if e == 0 {
            return dots.fill(T::default());
        }
        for (i, dot) in dots.iter_mut().enumerate() {
            let (out, grad) = (&out.data[i * out.row..][..e], &grad.data[i * grad.row..][..e]);
            *dot = T::from_f64(sum2(out, grad, |a, b| a * b));
        }
    }
}

/// What is known of rows whose keys are in several blocks.
struct Known<'a, T> {
    /// The largest scores.
    maxima: &'a [T],
    /// Σ of the powers below them.
    totals: &'a [T],
    /// Σ p·dp
    dots: &'a [T],
}

/// Turns scores into weights p, and their gradients dp into those of the scores: ds = p·(dp - Σ p·dp).
struct Weights<'a, T> {
    keys: usize,
    p: &'a mut [T],
    ds: &'a mut [T],
    known: Option<Known<'a, T>>,
}

impl<T: Real> Job for Weights<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let rows = self.p.chunks_exact_mut(self.keys).zip(self.ds.chunks_exact_mut(self.keys));
        for (i, (p, ds)) in rows.enumerate() {
            let largest = match &self.known {
                Some(known) => known.maxima[i],
                // The maximum passes NaN over: where there is nothing but NaN and -∞ it must not look like a row that sees
                // nothing.
                None => match max(p) {
                    lowest if lowest == T::NEG_INFINITY => T::from_f64(sum(p, |p| p)),
                    largest => largest,
                },
            };
            // Σ p·dp is counted from the dp of the largest weight: where that is nearly 1 nothing cancels.
            let at = if self.known.is_some() { None } else { p.iter().position(|&p| p == largest) };
            for p in p.iter_mut() {
                *p = (*p - largest).exp::<A>();
            }
            let (total, origin, dot) = match &self.known {
                Some(known) => (known.totals[i], T::default(), known.dots[i]),
                None => {
                    let origin = at.map_or(T::default(), |at| ds[at]);
                    let total = sum(p, |p| p);
                    (T::from_f64(total), origin, T::from_f64(sum2(p, ds, |p, dp| p * (dp - origin)) / total))
                }
            };
            if total == T::default() || largest == T::NEG_INFINITY {
                // This query sees nothing.
                p.fill(T::default());
                ds.fill(T::default());
                continue;
            }
            let scale = T::ONE / total;
            for (p, ds) in p.iter_mut().zip(ds) {
                *p = *p * scale;
                *ds = *p * (*ds - origin - dot);
            }
        }
    }
}
