//! Interpolation and sampling.

use limpid::{Factors, GridMode, GridOptions, GridPadding, InterpolateMode, InterpolateOptions, Sizes, Tensor};

use crate::conformance::args::{Args, Result};
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("affine_grid", |a| {
        let (theta, size) = (a.required::<Tensor>("theta")?, a.required::<Vec<usize>>("size")?);
        one(theta.affine_grid(&size, a.option("align_corners")?.unwrap_or(false)))
    }),
    ("grid_sample", |a| {
        let (x, grid) = (a.required::<Tensor>("input")?, a.required("grid")?);
        let (mode, padding) = (a.or("mode", "bilinear".to_owned())?, a.or("padding_mode", "zeros".to_owned())?);
        let mode = match mode.as_str() {
            "bilinear" => GridMode::Bilinear,
            "nearest" => GridMode::Nearest,
            "bicubic" => GridMode::Bicubic,
            other => return Err(format!("argument mode not read: {other}")),
        };
        let padding = match padding.as_str() {
            "zeros" => GridPadding::Zeros,
            "border" => GridPadding::Border,
            "reflection" => GridPadding::Reflection,
            other => return Err(format!("argument padding_mode not read: {other}")),
        };
        let align = a.option("align_corners")?.unwrap_or(false);
        one(x.grid_sample(&grid, &GridOptions::new().mode(mode).padding_mode(padding).align_corners(align)))
    }),
    ("interpolate.area", interpolate),
    ("interpolate.bicubic", interpolate),
    ("interpolate.bilinear", interpolate),
    ("interpolate.linear", interpolate),
    ("interpolate.nearest", interpolate),
    ("interpolate.nearest-exact", interpolate),
    ("interpolate.trilinear", interpolate),
    ("upsample", |a| {
        let (x, target) = (a.required::<Tensor>("input")?, target(a)?);
        let options = aligned(moded(target, a)?, a)?;
        one(x.interpolate(&options))
    }),
    ("upsample_bilinear", |a| {
        let (x, target) = (a.required::<Tensor>("input")?, target(a)?);
        one(x.interpolate(&target.mode(InterpolateMode::Bilinear).align_corners(true)))
    }),
    ("upsample_nearest", |a| {
        let (x, target) = (a.required::<Tensor>("input")?, target(a)?);
        one(x.interpolate(&target))
    }),
];

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

fn interpolate(a: &mut Args<'_>) -> Result<Vec<Tensor>> {
    let (x, target) = (a.required::<Tensor>("input")?, target(a)?);
    let options = aligned(moded(target, a)?, a)?;
    let options = options.recompute_scale_factor(a.option("recompute_scale_factor")?.unwrap_or(false));
    one(x.interpolate(&options.antialias(a.or("antialias", false)?)))
}

/// The size or the factor; torch refuses both, and none.
pub fn target(a: &mut Args<'_>) -> Result<InterpolateOptions> {
    let size: Option<Vec<usize>> = a.option("size")?;
    let factor: Option<Vec<f64>> = a.option("scale_factor")?;
    match (size, factor) {
        (Some(size), None) => Ok(InterpolateOptions::size(Sizes::from(size))),
        (None, Some(factor)) => Ok(InterpolateOptions::scale_factor(Factors::from(factor))),
        (size, factor) => Err(format!("argument size={size:?} beside scale_factor={factor:?}")),
    }
}

/// The next argument, `mode`.
pub fn moded(options: InterpolateOptions, a: &mut Args<'_>) -> Result<InterpolateOptions> {
    Ok(options.mode(match a.or("mode", "nearest".to_owned())?.as_str() {
        "nearest" => InterpolateMode::Nearest,
        "nearest-exact" => InterpolateMode::NearestExact,
        "linear" => InterpolateMode::Linear,
        "bilinear" => InterpolateMode::Bilinear,
        "trilinear" => InterpolateMode::Trilinear,
        "bicubic" => InterpolateMode::Bicubic,
        "area" => InterpolateMode::Area,
        other => return Err(format!("argument mode={other} is not built yet")),
    }))
}

/// The next argument, `align_corners`.
pub fn aligned(options: InterpolateOptions, a: &mut Args<'_>) -> Result<InterpolateOptions> {
    Ok(a.option("align_corners")?.into_iter().fold(options, InterpolateOptions::align_corners))
}
