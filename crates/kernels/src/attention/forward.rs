//! Attention forward.

use std::ops::Range;

use crate::dot::{Block, Blocks, Dims, Operand, dot};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::{Shared, rows_per_task};
use crate::real::{Real, exp_below_in_place, max};
use crate::slice::{Slice, SliceMut};

use super::scores::{KEYS, Place, Problem, QUERIES, Scratch};

/// Up to so many queries, packing keys would cost more than their products.
const FEW: usize = 8;
/// Scores that one task makes, at least, where several short sequences can go together.
const TASK: usize = 16 << 10;
/// Tasks there should be, where one head can be cut.
const TASKS: usize = 16;

/// Where results go.
struct Results<'a, T> {
    out: Shared<'a, T>,
    maxima: Shared<'a, T>,
    totals: Shared<'a, T>,
}

impl<T: Real + Blocks> Problem<'_, T> {
    /// A task takes some queries of one head, or several heads with few.
    pub(super) fn forward(&self, out: &mut [T], maxima: &mut [T], totals: &mut [T]) {
        let (t, heads) = (self.shape.t, self.shape.samples * self.shape.heads);
        if t * heads == 0 {
            return;
        }
        let results = Results { out: Shared::new(out), maxima: Shared::new(maxima), totals: Shared::new(totals) };
        let blocks = t.div_ceil(QUERIES);
        let group = if blocks == 1 { rows_per_task(t * self.shape.s, TASK) } else { 1 };
        let cuts = TASKS.div_ceil(heads).min(blocks);
        let tasks = heads.div_ceil(group);
        self.cpu.pool.run(tasks * cuts, &|task| {
            // The last queries of a causal attention have most to do: they come first.
            let cut = cuts - 1 - task / tasks;
            let queries = |cut: usize| (cut * blocks / cuts * QUERIES).min(t);
            let first = task % tasks * group;
            for head in first..heads.min(first + group) {
                self.some_queries(head, queries(cut)..queries(cut + 1), &results);
            }
        });
    }

    /// Some queries of one head: each block of keys is packed once and seen by all of them.
    fn some_queries(&self, head: usize, queries: Range<usize>, results: &Results<T>) {
        let (isa, shape) = (self.cpu.isa, self.shape);
        let (d, e, count) = (shape.d, shape.e, queries.len());
        let end = self.visible_to(&queries);
        let (most, few) = (KEYS.min(end), shape.t < FEW);
        let packed = |k: usize, n: usize| if few { 0 } else { T::panels_len(isa, k, n) };
        let many = count.min(QUERIES);
        let sizes = [packed(d, most), packed(most, e), many * d, many * most, count * e, count, count];
        let mut scratch = Scratch::new::<T>(&sizes);
        let [keys, values, scaled, scores, sums, maxima, totals] = scratch.pieces(sizes);
        sums.fill(T::default());
        maxima.fill(T::NEG_INFINITY);
        totals.fill(T::default());
        let (sample, head) = (head / shape.heads, head % shape.heads);
        for key in (0..end).step_by(KEYS) {
            let all = Place { sample, head, query: queries.start, queries: count, key, keys: KEYS.min(end - key) };
            let v = self.v.matrix(sample, head / shape.shared, key);
            if !few {
                self.pack_keys(&all, keys);
                T::pack_panels(isa, all.keys, e, v, values);
            }
            for first in (0..count).step_by(QUERIES) {
                let n = QUERIES.min(count - first);
                let query = queries.start + first;
                let Some(seen @ 1..) = self.visible_to(&(query..query + n)).checked_sub(key) else { continue };
                let p = Place { query, queries: n, keys: all.keys.min(seen), ..all };
                let scores = &mut scores[..n * p.keys];
                let sums = &mut sums[first * e..][..n * e];
                if few {
                    self.few_scores(&p, scores);
                } else {
                    self.scores(&p, keys, scaled, scores);
                }
                let (maxima, totals) = (&mut maxima[first..][..n], &mut totals[first..][..n]);
                dispatch(isa, Step { keys: p.keys, e, scores, sums, maxima, totals });
                let powers = Block { data: scores, row: p.keys, col: 1 };
                if few {
                    self.add_product([n, e, p.keys], powers, v, sums);
                } else {
                    T::block_product(isa, [n, e, p.keys], powers, (values, all.keys), sums, true);
                }
            }
        }
        self.store(sample, head, queries, [sums, maxima, totals], results);
    }

    /// [`Problem::scores`] straight from the keys.
    fn few_scores(&self, p: &Place, scores: &mut [T]) {
        let (q, k) =
            (self.q.matrix(p.sample, p.head, p.query), self.k.matrix(p.sample, p.head / self.shape.shared, p.key));
        let transposed = Block { row: k.col, col: k.row, ..k };
        self.product([p.queries, p.keys, self.shape.d], q, transposed, scores);
        let scale = T::from_f64(self.shape.scale);
        scores.iter_mut().for_each(|x| *x = *x * scale);
        self.hide(p, scores);
    }

    /// sums += a·b
    fn add_product(&self, [m, n, k]: [usize; 3], a: Block<T>, b: Block<T>, sums: &mut [T]) {
        let mut part = vec![T::default(); m * n];
        self.product([m, n, k], a, b, &mut part);
        sums.iter_mut().zip(&part).for_each(|(sum, &x)| *sum = *sum + x);
    }

    fn product(&self, [m, n, k]: [usize; 3], a: Block<T>, b: Block<T>, out: &mut [T]) {
        let operand = |x: Block<'_, T>| (x.row as isize, x.col as isize);
        let ((a_rows, a_cols), (b_rows, b_cols)) = (operand(a), operand(b));
        let a = Operand { data: Slice::of(a.data), offset: 0, batch: &[], rows: a_rows, cols: a_cols };
        let b = Operand { data: Slice::of(b.data), offset: 0, batch: &[], rows: b_rows, cols: b_cols };
        dot(self.cpu, &Dims { batch: &[], m, n, k }, &a, &b, SliceMut::of(out), None);
    }

    /// Divides by the denominators of the softmax, and writes what belongs to these queries.
    fn store(
        &self,
        sample: usize,
        head: usize,
        queries: Range<usize>,
        [sums, maxima, totals]: [&[T]; 3],
        results: &Results<T>,
    ) {
        let (heads, t, e) = (self.shape.heads, self.shape.t, self.shape.e);
        let (at, count) = ((sample * heads + head) * t + queries.start, queries.len());
        // SAFETY: each query of each head is written by one task.
        let kept = unsafe { [results.maxima.range(at, count), results.totals.range(at, count)] };
        kept.into_iter().zip([maxima, totals]).for_each(|(to, from)| to.copy_from_slice(from));
        for (i, query) in queries.enumerate() {
            let scale = if totals[i] == T::default() { T::ONE } else { T::ONE / totals[i] };
            // SAFETY: as above.
            let out = unsafe { results.out.range(((sample * t + query) * heads + head) * e, e) };
            out.iter_mut().zip(&sums[i * e..][..e]).for_each(|(out, &sum)| *out = sum * scale);
        }
    }
}

/// Turns scores into powers of e below each row's maximum so far, and shrinks what was summed under a
/// smaller maximum.
struct Step<'a, T> {
    keys: usize,
    e: usize,
    scores: &'a mut [T],
    sums: &'a mut [T],
    maxima: &'a mut [T],
    totals: &'a mut [T],
}

impl<T: Real> Job for Step<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Step { keys, e, scores, sums, maxima, totals } = self;
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
                sums[i * e..][..e].iter_mut().for_each(|sum| *sum = *sum * shrink);
            }
            maxima[i] = m;
        }
    }
}
