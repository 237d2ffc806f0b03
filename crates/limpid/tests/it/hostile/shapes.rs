//! Shapes, places, and what is read or written there.

use limpid::Index;
use limpid::prelude::*;

use super::{Call, Dice};

pub const SHAPES: &[Call] = &[
    ("reshape", |d| {
        let sizes = d.ints(&[3, -1]);
        vec![d.f(&[2, 3]).reshape_dims(&sizes), d.f(&[2, 3]).view(d.list(&[6]))]
    }),
    ("flatten", |d| vec![d.f(&[2, 3, 2]).flatten(d.axis(3)), d.f(&[2, 3, 2]).flatten_range(d.axis(3), d.axis(3))]),
    ("unflatten", |d| {
        let sizes = d.ints(&[2, -1]);
        vec![d.f(&[2, 4]).unflatten(d.axis(2), &sizes)]
    }),
    ("unsqueeze", |d| vec![d.x().unsqueeze(d.axis(3)), d.x().squeeze(d.axis(3)), d.x().squeeze(..)]),
    ("expand", |d| {
        vec![
            d.f(&[2, 1]).expand_to(&Shape::from(d.list(&[2, 3]))),
            d.f(&[2, 1]).expand([d.int(-1) as isize, d.int(3) as isize]),
        ]
    }),
    ("permute", |d| vec![d.f(&[2, 3, 2]).permute([d.axis(3), d.axis(3), d.axis(3)])]),
    ("transpose", |d| vec![d.x().transpose(d.axis(2), d.axis(2)), d.x().swapaxes(d.axis(2), d.axis(2))]),
    ("movedim", |d| {
        let (from, to) = (d.ints(&[0, 1]), d.ints(&[1, 0]));
        vec![d.f(&[2, 3, 2]).movedim(&from, &to)]
    }),
    ("rot90", |d| vec![d.f(&[2, 3]).rot90(d.int(1), [d.axis(2), d.axis(2)])]),
    ("cat", |d| {
        let tensors = [d.f(&[2, 3]), d.f(&[2, 3]), d.f(&[2, 3])];
        let some: Vec<&Tensor> = tensors.iter().take(d.few(3)).collect();
        vec![Tensor::cat(&some, d.axis(2)), Tensor::stack(&some, d.axis(3))]
    }),
    ("stacks", |d| {
        let tensors = [d.f(&[2, 3]), d.f(&[2, 3]), d.f(&[2, 3])];
        let some: Vec<&Tensor> = tensors.iter().take(d.few(3)).collect();
        vec![Tensor::hstack(&some), Tensor::vstack(&some), Tensor::dstack(&some), Tensor::column_stack(&some)]
    }),
    ("block_diag", |d| {
        let tensors = [d.f(&[2, 3]), d.x(), d.f(&[1])];
        vec![Tensor::block_diag(&tensors.iter().take(d.few(3)).collect::<Vec<_>>())]
    }),
    ("meshgrid", |d| {
        let tensors = [d.f(&[2]), d.f(&[3])];
        let some: Vec<&Tensor> = tensors.iter().take(d.few(2)).collect();
        let mut out = Tensor::meshgrid(&some, d.pick(&["ij", "xy", "", "ji"]));
        out.push(Tensor::cartesian_prod(&some));
        out
    }),
    ("split", |d| d.f(&[4, 3]).split(d.n(2), d.axis(2))),
    ("split_with_sizes", |d| {
        let sizes = d.list(&[1, 3]);
        d.f(&[4, 4]).split_with_sizes(&sizes, d.axis(2))
    }),
    ("chunk", |d| d.f(&[4, 3]).chunk(d.n(2), d.axis(2))),
    ("unbind", |d| d.f(&[4, 3]).unbind(d.axis(2))),
    ("repeat", |d| {
        let times = d.list(&[2, 1]);
        vec![d.f(&[2, 3]).repeat(&times), d.f(&[2, 3]).tile(&times)]
    }),
    ("repeat_interleave", |d| {
        vec![
            d.f(&[2, 3]).repeat_interleave(d.int(2), d.maybe(|d| d.axis(2))),
            d.f(&[2, 3]).repeat_interleave(d.i(&[3], 3), Some(d.axis(2))),
        ]
    }),
    ("combinations", |d| vec![d.f(&[4]).combinations(d.few(2), d.flag()), d.f(&[3]).combinations(d.n(2), false)]),
    ("pad", |d| vec![d.f(&[2, 3]).pad(d.axis(2), d.int(1) as isize, d.int(0) as isize, d.real(0.0))]),
    ("flip", |d| {
        vec![d.x().flip(d.axis(2)), d.x().roll(d.int(1) as isize, d.axis(2)), d.x().roll_flat(d.int(1) as isize)]
    }),
    ("tril", |d| vec![d.f(&[2, 3]).tril(d.int(0)), d.f(&[2, 3]).triu(d.int(1))]),
    ("diagonal", |d| {
        vec![
            d.f(&[2, 3, 2]).diagonal(d.int(0), d.axis(3), d.axis(3)),
            d.f(&[2, 3]).diag_embed(d.int(0), d.axis(3), d.axis(3)),
            d.x().diag(d.int(1)),
        ]
    }),
    ("diagonal_scatter", |d| vec![d.f(&[3, 3]).diagonal_scatter(&d.f(&[3]), d.int(0), d.axis(2), d.axis(2))]),
    ("unfold", |d| vec![d.f(&[2, 7]).unfold(d.axis(2), d.n(3), d.n(2))]),
    ("shuffles", |d| {
        vec![
            d.f(&[2, 4, 2, 2]).channel_shuffle(d.n(2)),
            d.f(&[2, 4, 2, 2]).pixel_shuffle(d.n(2)),
            d.f(&[2, 1, 4, 4]).pixel_unshuffle(d.n(2)),
        ]
    }),
];

pub const PLACES: &[Call] = &[
    ("narrow", |d| vec![d.f(&[4, 3]).narrow(d.axis(2), d.int(1), d.n(2)), d.f(&[4, 3]).select(d.axis(2), d.axis(3))]),
    ("slice", |d| {
        let (start, end) = (d.maybe(|d| d.int(1) as isize), d.maybe(|d| d.int(3) as isize));
        vec![d.f(&[4, 3]).slice(d.axis(2), start, end, d.int(2) as isize)]
    }),
    ("index_select", |d| vec![d.f(&[4, 3]).index_select(d.axis(2), &d.i(&[2], 3)), d.f(&[4, 3]).take(&d.i(&[2], 12))]),
    ("gather", |d| vec![d.f(&[4, 3]).gather(d.axis(2), &d.i(&[2, 2], 3))]),
    ("scatter", |d| {
        vec![
            d.f(&[4, 3]).scatter(d.axis(2), &d.i(&[2, 2], 3), d.f(&[2, 2])),
            d.f(&[4, 3]).scatter(d.axis(2), &d.i(&[2, 2], 3), d.real(1.0)),
            d.f(&[4, 3]).scatter_add(d.axis(2), &d.i(&[2, 2], 3), d.f(&[2, 2])),
        ]
    }),
    ("scatter_reduce", |d| {
        let how = d.pick(&["sum", "prod", "mean", "amax", "amin", "", "max"]);
        vec![d.f(&[4, 3]).scatter_reduce(d.axis(2), &d.i(&[2, 2], 3), d.f(&[2, 2]), how, d.flag())]
    }),
    ("index_reduce", |d| {
        let how = d.pick(&["prod", "mean", "amax", "amin", "", "sum"]);
        vec![d.f(&[4, 3]).index_reduce(d.pick(&[0, -2, 1, 7]), &d.i(&[2], 4), &d.f(&[2, 3]), how, d.flag())]
    }),
    ("index_add", |d| {
        let at = d.i(&[2], 4);
        vec![
            d.f(&[4, 3]).index_add(d.pick(&[0, -2, 1, 7]), &at, &d.f(&[2, 3]), d.real(1.0)),
            d.f(&[4, 3]).index_copy(d.pick(&[0, -2, 1, 7]), &at, &d.f(&[2, 3])),
            d.f(&[4, 3]).index_fill(d.axis(2), &d.i(&[2], 3), d.real(0.0)),
        ]
    }),
    ("take_along_dim", |d| vec![d.f(&[4, 3]).take_along_dim(&d.i(&[4, 1], 3), d.maybe(|d| d.axis(2)))]),
    ("masked", |d| {
        let mask = d.mask(&[4, 3]);
        vec![d.f(&[4, 3]).masked_select(&mask), d.f(&[4, 3]).masked_scatter(&mask, &d.f(&[12]))]
    }),
    ("select_scatter", |d| vec![d.f(&[4, 3]).select_scatter(&d.f(&[3]), d.axis(2), d.int(1) as isize)]),
    ("slice_scatter", |d| {
        let (start, end) = (d.maybe(|d| d.int(1) as isize), d.maybe(|d| d.int(3) as isize));
        vec![d.f(&[4, 3]).slice_scatter(&d.f(&[2, 3]), d.pick(&[0, -2, 9]), start, end, d.int(1) as isize)]
    }),
    ("index_along", |d| vec![d.x().index_along(d.axis(2))]),
    ("index", |d| {
        let items = items(d);
        vec![d.f(&[4, 3, 2]).index(&items[..])]
    }),
    ("index_put", |d| {
        let items = items(d);
        vec![
            d.f(&[4, 3, 2]).index_put(&items[..], d.real(1.0), d.flag()),
            d.f(&[4, 3, 2]).index_put(&items[..], d.f(&[2]), d.flag()),
        ]
    }),
    ("embedding", |d| {
        let o = rows(d);
        vec![d.f(&[5, 3]).embedding(&d.i(&[2, 2], 5)), d.f(&[5, 3]).embedding_with(&d.i(&[2, 2], 5), &o)]
    }),
    ("embedding_renorm", |d| vec![d.f(&[5, 3]).embedding_renorm(&d.i(&[2], 5), d.real(1.0), d.real(2.0))]),
    ("embedding_bag", |d| {
        let ragged = d.flag();
        let mut o = EmbeddingBagOptions::new().rows(rows(d)).include_last_offset(d.flag());
        o = o.mode(d.pick(&[BagMode::Sum, BagMode::Mean, BagMode::Max]));
        if ragged {
            let ends = d.i(&[2], 1);
            o = o.offsets(&ends.cumsum(0));
        }
        let shape: &[usize] = if ragged { &[4] } else { &[2, 2] };
        if d.flag() {
            o = o.per_sample_weights(&d.f(shape));
        }
        vec![d.f(&[5, 3]).embedding_bag(&d.i(shape, 5), &o)]
    }),
];

fn rows(d: &mut Dice) -> EmbeddingOptions {
    let padding = d.maybe(|d| d.axis(5));
    let norm = d.maybe(|d| d.real(1.0));
    EmbeddingOptions::new()
        .padding_idx(padding)
        .max_norm(norm)
        .norm_type(d.real(2.0))
        .scale_grad_by_freq(d.flag())
        .sparse(d.pick(&[false, false, true]))
}

fn items(d: &mut Dice) -> Vec<Index> {
    let count = d.few(2);
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(match d.pick(&[0, 1, 2, 3, 4, 5]) {
            0 => Index::At(d.axis(2)),
            1 => Index::Slice(d.maybe(|d| d.int(0) as isize), d.maybe(|d| d.int(2) as isize), d.int(1) as isize),
            2 => Index::NewAxis,
            3 => Index::Ellipsis,
            4 => Index::Places(d.mask(&[4])),
            _ => Index::Places(d.i(&[2], 2)),
        });
    }
    items
}
