//! Interpolation and sampling.

use limpid::prelude::*;

use super::{Wrong, wrong};

type To = InterpolateOptions;

pub const WRONG: &[Wrong] = &[
    wrong(
        "interpolate: bilinear on a signal",
        || Ok(Tensor::zeros([1, 2, 3]).interpolate(&To::size(4).mode(InterpolateMode::Bilinear))),
        &["[1, 2, 3]", "bilinear", "height, width"],
    ),
    wrong("interpolate: a matrix", || Ok(Upsample::size(4).forward(&Tensor::zeros([2, 3]))), &["[2, 3]", "2 axes"]),
    wrong(
        "interpolate: sizes of another number of axes",
        || Ok(Upsample::size([4, 4, 4]).forward(&Tensor::zeros([1, 2, 3, 3]))),
        &["size (4, 4, 4)", "[1, 2, 3, 3]"],
    ),
    wrong(
        "interpolate: factors of another number of axes",
        || Ok(Upsample::scale_factor([2.0, 2.0]).forward(&Tensor::zeros([1, 2, 3]))),
        &["scale_factor (2.0, 2.0)", "[1, 2, 3]"],
    ),
    wrong(
        "interpolate: to nothing",
        || Ok(Upsample::size(0).forward(&Tensor::zeros([1, 2, 3]))),
        &["[1, 2, 3] to [0.0]"],
    ),
    wrong(
        "interpolate: by a factor that leaves nothing",
        || Ok(Upsample::scale_factor(0.1).forward(&Tensor::zeros([1, 2, 3]))),
        &["[1, 2, 3] to [0.0]"],
    ),
    wrong(
        "interpolate: by a factor below 0",
        || Ok(Upsample::scale_factor(-1.0).forward(&Tensor::zeros([1, 2, 3]))),
        &["[1, 2, 3] to [-3.0]"],
    ),
    wrong("interpolate: by NaN", || Ok(Upsample::scale_factor(f64::NAN).forward(&Tensor::zeros([1, 2, 3]))), &["NaN"]),
    wrong(
        "interpolate: beyond memory",
        || Ok(Upsample::scale_factor(1e300).forward(&Tensor::zeros([1, 2, 3]))),
        &["interpolate"],
    ),
    wrong("interpolate: from nothing", || Ok(Upsample::size(3).forward(&Tensor::zeros([1, 2, 0]))), &["[1, 2, 0]"]),
    wrong("interpolate: no channels", || Ok(Upsample::size(3).forward(&Tensor::zeros([1, 0, 3]))), &["[1, 0, 3]"]),
    wrong(
        "interpolate: corners of the nearest",
        || Ok(Tensor::zeros([1, 2, 3]).interpolate(&To::size(3).align_corners(true))),
        &["align_corners", "nearest"],
    ),
    wrong(
        "interpolate: smoothing a signal",
        || Ok(Tensor::zeros([1, 2, 3]).interpolate(&To::size(3).mode(InterpolateMode::Linear).antialias(true))),
        &["antialias", "linear"],
    ),
    wrong(
        "interpolate: a size and its factor anew",
        || Ok(Tensor::zeros([1, 2, 3]).interpolate(&To::size(3).recompute_scale_factor(true))),
        &["recompute_scale_factor"],
    ),
    wrong(
        "interpolate: a bicubic volume",
        || Ok(Tensor::zeros([1, 2, 3, 4, 5]).interpolate(&To::size(4).mode(InterpolateMode::Bicubic))),
        &["bicubic", "5 axes"],
    ),
    wrong(
        "UpsamplingBilinear2d: a signal",
        || Ok(UpsamplingBilinear2d::size(4).forward(&Tensor::zeros([1, 2, 3]))),
        &["bilinear", "[1, 2, 3]"],
    ),
    wrong(
        "grid_sample: a signal",
        || Ok(Tensor::zeros([2, 3, 4]).grid_sample(&Tensor::zeros([2, 3, 1]), &GridOptions::new())),
        &["[2, 3, 4]", "3 axes"],
    ),
    wrong(
        "grid_sample: another batch",
        || Ok(Tensor::zeros([2, 3, 4, 4]).grid_sample(&Tensor::zeros([1, 3, 4, 2]), &GridOptions::new())),
        &["[1, 3, 4, 2]", "[2, 3, 4, 4]"],
    ),
    wrong(
        "grid_sample: three coordinates of an image",
        || Ok(Tensor::zeros([2, 3, 4, 4]).grid_sample(&Tensor::zeros([2, 3, 4, 3]), &GridOptions::new())),
        &["[2, 3, 4, 3]", "a coordinate for each axis"],
    ),
    wrong(
        "grid_sample: another type",
        || {
            let grid = Tensor::zeros_of([2, 3, 4, 2], DType::F64);
            Ok(Tensor::zeros([2, 3, 4, 4]).grid_sample(&grid, &GridOptions::new()))
        },
        &["the input is f32", "f64"],
    ),
    wrong(
        "grid_sample: an empty image",
        || Ok(Tensor::zeros([2, 3, 0, 4]).grid_sample(&Tensor::zeros([2, 3, 4, 2]), &GridOptions::new())),
        &["[2, 3, 0, 4]"],
    ),
    wrong("affine_grid: a signal", || Ok(Tensor::zeros([1, 2, 3]).affine_grid(&[1, 1, 2], false)), &["3 axes"]),
    wrong(
        "affine_grid: a matrix without a shift",
        || Ok(Tensor::zeros([1, 2, 2]).affine_grid(&[1, 1, 2, 2], false)),
        &["[1, 2, 2]", "[1, 2, 3]"],
    ),
    wrong(
        "affine_grid: another batch",
        || Ok(Tensor::zeros([2, 2, 3]).affine_grid(&[1, 1, 2, 2], false)),
        &["[2, 2, 3]", "[1, 2, 3]"],
    ),
    wrong(
        "affine_grid: integers",
        || Ok(Tensor::zeros_of([1, 2, 3], DType::I64).affine_grid(&[1, 1, 2, 2], false)),
        &["i64"],
    ),
    wrong(
        "affine_grid: no height",
        || Ok(Tensor::zeros([1, 2, 3]).affine_grid(&[1, 1, 0, 2], false)),
        &["[1, 1, 0, 2]"],
    ),
];
