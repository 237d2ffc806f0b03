//! Normalisations.

use limpid::nn::{ChannelNorm, CrossMapLRN2d, GroupNorm, LocalResponseNorm, RMSNorm};
use limpid::{DType, Forward};

use super::{Built, Make, layer};
use crate::conformance::args::{Args, Result};

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[
    ("BatchNorm1d", |a, dtype| channels(a, dtype, ChannelNorm::<1, false>::new, true)),
    ("BatchNorm2d", |a, dtype| channels(a, dtype, ChannelNorm::<2, false>::new, true)),
    ("BatchNorm3d", |a, dtype| channels(a, dtype, ChannelNorm::<3, false>::new, true)),
    ("CrossMapLRN2d", |a, _| {
        let made = CrossMapLRN2d::new(a.required("size")?).alpha(a.or("alpha", 1e-4)?);
        layer(made.beta(a.or("beta", 0.75)?).k(a.or("k", 1.0)?))
    }),
    ("GroupNorm", |a, dtype| {
        let made = GroupNorm::new(a.required("num_groups")?, a.required("num_channels")?).eps(a.or("eps", 1e-5)?);
        let made = made.affine(a.or("affine", true)?);
        layer(made.bias(a.keywords().or("bias", true)?).dtype(dtype))
    }),
    ("InstanceNorm1d", |a, dtype| channels(a, dtype, ChannelNorm::<1, true>::new, false)),
    ("InstanceNorm2d", |a, dtype| channels(a, dtype, ChannelNorm::<2, true>::new, false)),
    ("InstanceNorm3d", |a, dtype| channels(a, dtype, ChannelNorm::<3, true>::new, false)),
    ("LocalResponseNorm", |a, _| {
        let made = LocalResponseNorm::new(a.required("size")?).alpha(a.or("alpha", 1e-4)?);
        layer(made.beta(a.or("beta", 0.75)?).k(a.or("k", 1.0)?))
    }),
    ("RMSNorm", |a, dtype| {
        let made = RMSNorm::new(a.required::<Vec<usize>>("normalized_shape")?);
        let made = a.option("eps")?.into_iter().fold(made, RMSNorm::eps);
        layer(made.elementwise_affine(a.or("elementwise_affine", true)?).dtype(dtype))
    }),
];

/// A norm with running statistics; `both` is the default of `affine` and `track_running_stats`.
fn channels<const D: usize, const PER_SAMPLE: bool>(
    a: &mut Args<'_>,
    dtype: DType,
    make: fn(usize) -> ChannelNorm<D, PER_SAMPLE>,
    both: bool,
) -> Result<Built>
where
    ChannelNorm<D, PER_SAMPLE>: Forward,
{
    let made = make(a.required("num_features")?).eps(a.or("eps", 1e-5)?);
    let made = match a.peek("momentum") {
        Some(json) if json.is_null() => made.momentum(a.option::<f64>("momentum")?),
        _ => made.momentum(a.or("momentum", 0.1)?),
    };
    let made = made.affine(a.or("affine", both)?).track_running_stats(a.or("track_running_stats", both)?);
    ["device", "dtype"].iter().try_for_each(|name| a.absent(name))?;
    layer(made.bias(a.keywords().or("bias", true)?).dtype(dtype))
}
