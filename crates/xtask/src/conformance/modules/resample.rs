//! Interpolation.

use limpid::nn::{Upsample, UpsamplingBilinear2d, UpsamplingNearest2d};

use super::{Make, layer};
use crate::conformance::functionals::resample::{aligned, moded, target};

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[
    ("Upsample", |a, _| {
        let target = target(a)?;
        let options = aligned(moded(target, a)?, a)?;
        layer(Upsample::of(options.recompute_scale_factor(a.option("recompute_scale_factor")?.unwrap_or(false))))
    }),
    ("UpsamplingBilinear2d", |a, _| layer(UpsamplingBilinear2d::of(target(a)?))),
    ("UpsamplingNearest2d", |a, _| layer(UpsamplingNearest2d::of(target(a)?))),
];
