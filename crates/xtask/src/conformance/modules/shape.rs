//! Shapes, shuffles and padding.

use limpid::nn::{
    ChannelShuffle, CircularPad, ConstantPad, Flatten, Identity, PadSizes, PixelShuffle, PixelUnshuffle, ReflectionPad,
    ReplicationPad, Unflatten, ZeroPad,
};

use super::{Make, layer};
use crate::conformance::args::{Args, Result};

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[
    ("ChannelShuffle", |a, _| layer(ChannelShuffle::new(a.required("groups")?))),
    ("CircularPad1d", |a, _| layer(CircularPad::<1>::new(padding(a)?))),
    ("CircularPad2d", |a, _| layer(CircularPad::<2>::new(padding(a)?))),
    ("CircularPad3d", |a, _| layer(CircularPad::<3>::new(padding(a)?))),
    ("ConstantPad1d", |a, _| layer(ConstantPad::<1>::new(padding(a)?, a.required("value")?))),
    ("ConstantPad2d", |a, _| layer(ConstantPad::<2>::new(padding(a)?, a.required("value")?))),
    ("ConstantPad3d", |a, _| layer(ConstantPad::<3>::new(padding(a)?, a.required("value")?))),
    ("Flatten", |a, _| layer(Flatten::new().start_dim(a.or("start_dim", 1)?).end_dim(a.or("end_dim", -1)?))),
    ("Identity", |_, _| layer(Identity::new())),
    ("PixelShuffle", |a, _| layer(PixelShuffle::new(a.required("upscale_factor")?))),
    ("PixelUnshuffle", |a, _| layer(PixelUnshuffle::new(a.required("downscale_factor")?))),
    ("ReflectionPad1d", |a, _| layer(ReflectionPad::<1>::new(padding(a)?))),
    ("ReflectionPad2d", |a, _| layer(ReflectionPad::<2>::new(padding(a)?))),
    ("ReflectionPad3d", |a, _| layer(ReflectionPad::<3>::new(padding(a)?))),
    ("ReplicationPad1d", |a, _| layer(ReplicationPad::<1>::new(padding(a)?))),
    ("ReplicationPad2d", |a, _| layer(ReplicationPad::<2>::new(padding(a)?))),
    ("ReplicationPad3d", |a, _| layer(ReplicationPad::<3>::new(padding(a)?))),
    ("Unflatten", |a, _| {
        let dim = a.required("dim")?;
        layer(Unflatten::new(dim, a.required::<Vec<isize>>("unflattened_size")?))
    }),
    ("ZeroPad1d", |a, _| layer(ZeroPad::<1>::new(padding(a)?))),
    ("ZeroPad2d", |a, _| layer(ZeroPad::<2>::new(padding(a)?))),
    ("ZeroPad3d", |a, _| layer(ZeroPad::<3>::new(padding(a)?))),
];

/// One number, or one for each side.
fn padding(a: &mut Args<'_>) -> Result<PadSizes> {
    Ok(a.required::<Vec<isize>>("padding")?.into())
}
