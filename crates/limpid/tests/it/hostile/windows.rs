//! Windows over spatial axes: convolutions, poolings, blocks, paddings, samplings, norms of channels.

use limpid::ConvAxis;
use limpid::prelude::*;

use super::{Call, Dice};

fn conv(d: &mut Dice) -> ConvOptions {
    let padding = d.sizes(0);
    let padding = d.pick(&[Padding::Sizes(padding.clone()), Padding::Sizes(padding), Padding::Same, Padding::Valid]);
    ConvOptions::new().stride(d.sizes(1)).padding(padding).dilation(d.sizes(1)).groups(d.n(1))
}

fn transposed(d: &mut Dice) -> ConvTransposeOptions {
    ConvTransposeOptions::new()
        .stride(d.sizes(2))
        .padding(d.sizes(0))
        .output_padding(d.sizes(0))
        .groups(d.n(1))
        .dilation(d.sizes(1))
}

fn max_pool(d: &mut Dice) -> MaxPoolOptions {
    let mut o = MaxPoolOptions::new().padding(d.sizes(0)).dilation(d.sizes(1)).ceil_mode(d.flag());
    if d.flag() {
        o = o.stride(d.sizes(2));
    }
    o
}

fn avg_pool(d: &mut Dice) -> AvgPoolOptions {
    let mut o = AvgPoolOptions::new().padding(d.sizes(0)).ceil_mode(d.flag()).count_include_pad(d.flag());
    if d.flag() {
        o = o.stride(d.sizes(2));
    }
    if d.flag() {
        o = o.divisor_override(d.int(2));
    }
    o
}

fn axis(d: &mut Dice) -> ConvAxis {
    ConvAxis { stride: d.n(1), lo: d.int(0), hi: d.int(0), dilation: d.n(1), input_dilation: d.n(1) }
}

fn output_sizes(d: &mut Dice) -> OutputSizes {
    match d.pick(&[0, 0, 1, 2]) {
        0 => OutputSizes::from(d.n(2)),
        1 => OutputSizes::from([None, Some(d.n(2))]),
        _ => OutputSizes::from(d.list(&[]).into_iter().map(Some).collect::<Vec<_>>()),
    }
}

pub fn interpolate(d: &mut Dice, axes: usize) -> InterpolateOptions {
    use InterpolateMode::*;
    let mut o = match d.pick(&[0, 1, 2]) {
        0 => InterpolateOptions::size(d.sizes(3)),
        1 => InterpolateOptions::scale_factor(d.real(2.0)),
        _ => InterpolateOptions::scale_factor([d.real(2.0), d.real(0.5)]),
    };
    let usual = [Linear, Bilinear, Trilinear][axes - 1];
    o = o.mode(d.pick(&[usual, usual, Nearest, NearestExact, Linear, Bilinear, Bicubic, Trilinear, Area]));
    if d.flag() {
        o = o.align_corners(d.flag());
    }
    o.recompute_scale_factor(d.flag()).antialias(d.pick(&[false, false, true]))
}

fn fractional(d: &mut Dice, axes: usize) -> FractionalMaxPoolOptions {
    let mut o = if d.flag() {
        FractionalMaxPoolOptions::new().output_size(d.sizes(2))
    } else {
        FractionalMaxPoolOptions::new().output_ratio(vec![d.real(0.6)])
    };
    if d.flag() {
        o.random_samples = Some(d.part(&[2, 3, axes]));
    }
    o
}

fn norm(d: &mut Dice) -> NormOptions {
    let mut o = NormOptions::new().eps(d.real(1e-5));
    if d.flag() {
        o = o.momentum(d.real(0.1));
    }
    if d.flag() {
        o = o.weight(&d.f(&[3])).bias(&d.f(&[3]));
    }
    if d.flag() {
        let (mean, var) = (Buffer::new(&d.f(&[3]).detach()), Buffer::new(&d.part(&[3]).detach()));
        o = o.running_mean(mean.cell().clone()).running_var(var.cell().clone());
    }
    o
}

pub const WINDOWS: &[Call] = &[
    ("conv1d", |d| {
        let (b, o) = (d.maybe(|d| d.f(&[4])), conv(d));
        vec![d.f(&[2, 3, 7]).conv1d(&d.f(&[4, 3, 3]), b.as_ref(), &o)]
    }),
    ("conv2d", |d| {
        let (b, o) = (d.maybe(|d| d.f(&[4])), conv(d));
        vec![d.f(&[2, 3, 5, 7]).conv2d(&d.f(&[4, 3, 3, 2]), b.as_ref(), &o)]
    }),
    ("conv3d", |d| {
        let (b, o) = (d.maybe(|d| d.f(&[2])), conv(d));
        vec![d.f(&[1, 2, 3, 4, 3]).conv3d(&d.f(&[2, 2, 2, 2, 1]), b.as_ref(), &o)]
    }),
    ("conv of axes", |d| {
        let axes = [axis(d), axis(d)];
        let count = d.few(1).min(2);
        vec![d.f(&[2, 3, 7]).conv(&d.f(&[4, 3, 3]), &axes[..count], d.n(1))]
    }),
    ("conv_transpose1d", |d| {
        let (b, o) = (d.maybe(|d| d.f(&[4])), transposed(d));
        vec![d.f(&[2, 3, 5]).conv_transpose1d(&d.f(&[3, 4, 3]), b.as_ref(), &o)]
    }),
    ("conv_transpose2d", |d| {
        let (b, o) = (d.maybe(|d| d.f(&[4])), transposed(d));
        vec![d.f(&[2, 3, 4, 3]).conv_transpose2d(&d.f(&[3, 4, 2, 3]), b.as_ref(), &o)]
    }),
    ("conv_transpose3d", |d| {
        let (b, o) = (d.maybe(|d| d.f(&[2])), transposed(d));
        vec![d.f(&[1, 2, 2, 3, 2]).conv_transpose3d(&d.f(&[2, 2, 2, 1, 2]), b.as_ref(), &o)]
    }),
    ("max_pools", |d| {
        let o = max_pool(d);
        let (a, b) = d.f(&[2, 3, 7]).max_pool1d_with_indices(d.sizes(2), &o);
        let (e, f) = d.f(&[1, 2, 4, 4, 3]).max_pool3d_with_indices(d.sizes(2), &o);
        vec![a, b, d.f(&[2, 3, 4, 5]).max_pool2d(d.sizes(2), &o), e, f]
    }),
    ("avg_pools", |d| {
        let o = avg_pool(d);
        vec![
            d.f(&[2, 3, 7]).avg_pool1d(d.sizes(2), &o),
            d.f(&[2, 3, 4, 5]).avg_pool2d(d.sizes(2), &o),
            d.f(&[1, 2, 4, 4, 3]).avg_pool3d(d.sizes(2), &o),
        ]
    }),
    ("lp_pools", |d| {
        let stride = d.maybe(|d| d.sizes(2));
        vec![
            d.f(&[2, 3, 7]).lp_pool1d(d.real(2.0), d.sizes(2), stride.clone(), d.flag()),
            d.f(&[2, 3, 4, 5]).lp_pool2d(d.real(3.0), d.sizes(2), stride.clone(), d.flag()),
            d.f(&[1, 2, 4, 4, 3]).lp_pool3d(d.real(1.0), d.sizes(2), stride, d.flag()),
        ]
    }),
    ("adaptive_avg_pools", |d| {
        let o = output_sizes(d);
        vec![
            d.f(&[2, 3, 7]).adaptive_avg_pool1d(o.clone()),
            d.f(&[2, 3, 4, 5]).adaptive_avg_pool2d(o.clone()),
            d.f(&[1, 2, 4, 4, 3]).adaptive_avg_pool3d(o),
        ]
    }),
    ("adaptive_max_pools", |d| {
        let o = output_sizes(d);
        let (a, b) = d.f(&[2, 3, 4, 5]).adaptive_max_pool2d_with_indices(o.clone());
        vec![a, b, d.f(&[2, 3, 7]).adaptive_max_pool1d(o.clone()), d.f(&[1, 2, 4, 4, 3]).adaptive_max_pool3d(o)]
    }),
    ("max_unpools", |d| {
        let stride = d.maybe(|d| d.sizes(2));
        let o = MaxUnpoolOptions { stride, padding: d.sizes(0), output_size: d.maybe(|d| d.sizes(4)) };
        vec![
            d.f(&[2, 3, 2]).max_unpool1d(&d.i(&[2, 3, 2], 4), d.sizes(2), &o),
            d.f(&[2, 3, 2, 2]).max_unpool2d(&d.i(&[2, 3, 2, 2], 16), d.sizes(2), &o),
            d.f(&[1, 2, 2, 2, 2]).max_unpool3d(&d.i(&[1, 2, 2, 2, 2], 64), d.sizes(2), &o),
        ]
    }),
    ("fractional_max_pools", |d| {
        let o = fractional(d, 2);
        let (a, b) = d.f(&[2, 3, 5, 5]).fractional_max_pool2d_with_indices(d.sizes(2), &o);
        let o = fractional(d, 3);
        vec![a, b, d.f(&[2, 3, 5, 5, 4]).fractional_max_pool3d(d.sizes(2), &o)]
    }),
    ("fold", |d| {
        let o = FoldOptions::new().dilation(d.sizes(1)).padding(d.sizes(0)).stride(d.sizes(1));
        vec![d.f(&[2, 3, 4, 4]).im2col(d.sizes(2), &o), d.f(&[2, 12, 9]).fold(d.sizes(4), d.sizes(2), &o)]
    }),
    ("pad_with", |d| {
        let value = d.real(0.0);
        let mode = d.pick(&[PadMode::Constant(value), PadMode::Reflect, PadMode::Replicate, PadMode::Circular]);
        let sizes = d.ints(&[1, 1, 0, 1]);
        vec![d.f(&[2, 3, 4]).pad_with(&sizes, mode)]
    }),
    ("interpolate1", |d| {
        let o = interpolate(d, 1);
        vec![d.f(&[2, 3, 5]).interpolate(&o)]
    }),
    ("interpolate2", |d| {
        let o = interpolate(d, 2);
        vec![d.f(&[2, 3, 4, 5]).interpolate(&o)]
    }),
    ("interpolate3", |d| {
        let o = interpolate(d, 3);
        vec![d.f(&[1, 2, 3, 4, 2]).interpolate(&o)]
    }),
    ("grid_sample", |d| {
        let o = GridOptions::default()
            .mode(d.pick(&[GridMode::Bilinear, GridMode::Nearest, GridMode::Bicubic]))
            .padding_mode(d.pick(&[GridPadding::Zeros, GridPadding::Border, GridPadding::Reflection]))
            .align_corners(d.flag());
        vec![
            d.f(&[2, 3, 4, 5]).grid_sample(&d.f(&[2, 3, 2, 2]), &o),
            d.f(&[1, 2, 3, 2, 2]).grid_sample(&d.f(&[1, 2, 2, 2, 3]), &o),
        ]
    }),
    ("affine_grid", |d| {
        let (two, three) = (d.list(&[2, 3, 4, 5]), d.list(&[1, 2, 3, 2, 2]));
        vec![d.f(&[2, 2, 3]).affine_grid(&two, d.flag()), d.f(&[1, 3, 4]).affine_grid(&three, d.flag())]
    }),
    ("batch_norm", |d| {
        let o = norm(d);
        vec![d.f(&[2, 3, 4]).batch_norm(d.flag(), &o)]
    }),
    ("instance_norm", |d| {
        let o = norm(d);
        vec![d.f(&[2, 3, 4]).instance_norm(d.flag(), &o)]
    }),
    ("group_norm", |d| {
        let (w, b) = (d.maybe(|d| d.f(&[4])), d.maybe(|d| d.f(&[4])));
        vec![d.f(&[2, 4, 3]).group_norm(d.n(2), w.as_ref(), b.as_ref(), d.real(1e-5))]
    }),
    ("layer_norm", |d| {
        let (w, b) = (d.maybe(|d| d.f(&[4])), d.maybe(|d| d.f(&[4])));
        let shape = d.list(&[4]);
        vec![
            d.f(&[2, 4]).layer_norm(shape.clone(), w.as_ref(), b.as_ref(), d.real(1e-5)),
            d.f(&[2, 4]).rms_norm(shape, w.as_ref(), d.maybe(|d| d.real(1e-5))),
        ]
    }),
    ("local_response_norm", |d| {
        vec![
            d.f(&[2, 4, 3]).local_response_norm(d.n(2), d.real(1e-4), d.real(0.75), d.real(1.0)),
            d.f(&[2, 4, 3, 2]).cross_map_lrn2d(d.n(2), d.real(1e-4), d.real(0.75), d.real(1.0)),
        ]
    }),
];
