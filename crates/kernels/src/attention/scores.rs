//! What attention forward and backward have in common: the inputs, and the scores of a block.

use std::ops::Range;

use crate::Cpu;
use crate::buffer::Buffer;
use crate::dot::{Block, Blocks};
use crate::dtype::Element;
use crate::real::Real;
use crate::slice::Slice;

use super::{Attention, Inputs, Mask, Rows};

/// Queries that go together.
pub(super) const QUERIES: usize = 64;
/// Keys that go together. They order the sums, so they are the same for every instruction set.
pub(super) const KEYS: usize = 128;

/// [`Rows`] of a known type.
#[derive(Clone, Copy)]
pub(super) struct Typed<'a, T> {
    data: &'a [T],
    sample: usize,
    head: usize,
    row: usize,
}

impl<'a, T> Typed<'a, T> {
    pub(super) fn new(rows: &Rows, data: &'a [T]) -> Typed<'a, T> {
        Typed { data, sample: rows.sample, head: rows.head, row: rows.row }
    }

    /// The matrix of one sample and head, from row `first` on.
    pub(super) fn matrix(&self, sample: usize, head: usize, first: usize) -> Block<'a, T> {
        let start = sample * self.sample + head * self.head + first * self.row;
        // A matrix without elements may start behind the end.
        Block { data: &self.data[start.min(self.data.len())..], row: self.row, col: 1 }
    }
}

/// [`Mask`] of a known type.
#[derive(Clone, Copy)]
pub(super) struct Added<'a, T> {
    data: &'a [T],
    offset: usize,
    heads: usize,
    strides: [isize; 4],
}

impl<'a, T> Added<'a, T> {
    pub(super) fn new(mask: &Mask, data: &'a [T]) -> Added<'a, T> {
        Added { data, offset: mask.offset, heads: mask.heads, strides: mask.strides }
    }
}

/// The inputs in the type in which sums are made.
pub(super) struct Problem<'a, T> {
    pub(super) cpu: &'a Cpu,
    pub(super) shape: &'a Attention,
    pub(super) q: Typed<'a, T>,
    pub(super) k: Typed<'a, T>,
    pub(super) v: Typed<'a, T>,
    pub(super) mask: Option<Added<'a, T>>,
}

/// Some queries and some keys of one head.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) sample: usize,
    pub(super) head: usize,
    /// The first query, and how many.
    pub(super) query: usize,
    pub(super) queries: usize,
    /// The first key, and how many.
    pub(super) key: usize,
    pub(super) keys: usize,
}

impl<'a, T: Real + Blocks> Problem<'a, T> {
    pub(super) fn typed(
        cpu: &'a Cpu,
        shape: &'a Attention,
        inputs: &Inputs<'a>,
        get: impl Fn(Slice<'a>) -> &'a [T],
    ) -> Problem<'a, T> {
        let [q, k, v] = [&inputs.q, &inputs.k, &inputs.v].map(|x| Typed::new(x, get(x.data)));
        let mask = inputs.mask.as_ref().map(|m| Added::new(m, get(m.data)));
        Problem { cpu, shape, q, k, v, mask }
    }

    /// Number of keys that query `i` may see.
    pub(super) fn visible(&self, i: usize) -> usize {
        let all = self.shape.s;
        self.shape.causal.map_or(all, |shift| all.min(usize::try_from(i as isize + shift + 1).unwrap_or(0)))
    }

    /// Number of keys that one of these queries may see.
    pub(super) fn visible_to(&self, queries: &Range<usize>) -> usize {
        queries.end.checked_sub(1).map_or(0, |last| self.visible(last))
    }

    /// What queries and keys are each multiplied with: a root of the scale, as in torch, so that products are as large as
    /// scores are; that of the queries has its sign.
    fn roots(&self) -> [T; 2] {
        let root = self.shape.scale.abs().sqrt();
        [root.copysign(self.shape.scale), root].map(T::from_f64)
    }

    /// The keys of one block times a root of the scale, transposed, in panels.
    pub(super) fn pack_keys(&self, p: &Place, to: &mut [T]) {
        let k = self.k.matrix(p.sample, p.head / self.shape.shared, p.key);
        let transposed = Block { row: k.col, col: k.row, ..k };
        T::pack_panels(self.cpu.isa, self.shape.d, p.keys, transposed, to);
        let [_, root] = self.roots();
        to.iter_mut().for_each(|x| *x = *x * root);
    }

    /// The scores of a block, `[queries, keys]`; `keys` as packed by [`Problem::pack_keys`]. `scaled` has room for the
    /// queries.
    pub(super) fn scores(&self, p: &Place, keys: &[T], scaled: &mut [T], scores: &mut [T]) {
        let (d, [root, _]) = (self.shape.d, self.roots());
        let q = self.q.matrix(p.sample, p.head, p.query);
        for (i, scaled) in scaled[..p.queries * d].chunks_exact_mut(d.max(1)).enumerate() {
            let q = &q.data[i * q.row..][..d];
            scaled.iter_mut().zip(q).for_each(|(scaled, &q)| *scaled = q * root);
        }
        let scaled = Block { data: scaled, row: d, col: 1 };
        T::block_product(self.cpu.isa, [p.queries, p.keys, d], scaled, (keys, d), scores, false);
        self.hide(p, scores);
    }

    /// Adds the mask, and -∞ where causality hides a key.
    pub(super) fn hide(&self, p: &Place, scores: &mut [T]) {
        if let Some(mask) = &self.mask {
            self.add_mask(mask, p, scores);
        }
        for (i, scores) in scores.chunks_exact_mut(p.keys).enumerate() {
            let visible = self.visible(p.query + i).saturating_sub(p.key).min(p.keys);
            scores[visible..].fill(T::NEG_INFINITY);
        }
    }

    fn add_mask(&self, mask: &Added<T>, p: &Place, scores: &mut [T]) {
        let batch = p.sample * self.shape.heads + p.head;
        let [sample, head, row, col] = mask.strides;
        let at = [batch / mask.heads, batch % mask.heads].map(|i| i as isize);
        let start = mask.offset as isize + at[0] * sample + at[1] * head + p.key as isize * col;
        for (i, scores) in scores.chunks_exact_mut(p.keys).enumerate() {
            let start = start + (p.query + i) as isize * row;
            if col == 1 {
                let mask = &mask.data[start as usize..][..p.keys];
                scores.iter_mut().zip(mask).for_each(|(score, &m)| *score = *score + m);
            } else {
                let at = |j: usize| mask.data[(start + j as isize * col) as usize];
                scores.iter_mut().enumerate().for_each(|(j, score)| *score = *score + at(j));
            }
        }
    }
}

/// Memory for one task, cut into pieces.
pub(super) struct Scratch(Buffer);

impl Scratch {
    pub(super) fn new<T: Element>(sizes: &[usize]) -> Scratch {
        Scratch(Buffer::new(sizes.iter().sum::<usize>() * size_of::<T>()))
    }

    /// Pieces of these sizes, which hold any numbers.
    pub(super) fn pieces<T: Element, const N: usize>(&mut self, sizes: [usize; N]) -> [&mut [T]; N] {
        let mut rest = self.0.get_mut::<T>();
        sizes.map(|size| rest.split_off_mut(..size).expect("as many as were asked for"))
    }
}
