//! Shuffles, padding and classes.

use limpid::{PadMode, Tensor};

use crate::conformance::args::{Args, Result};
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("channel_shuffle", |a| one(a.required::<Tensor>("input")?.channel_shuffle(a.required("groups")?))),
    ("one_hot", |a| {
        let (x, classes) = (a.required::<Tensor>("tensor")?, a.or::<isize>("num_classes", -1)?);
        one(x.one_hot(usize::try_from(classes).ok()))
    }),
    ("pad.circular", pad),
    ("pad.constant", pad),
    ("pad.reflect", pad),
    ("pad.replicate", pad),
    ("pad.replicate_negative", pad),
    ("pixel_shuffle", |a| one(a.required::<Tensor>("input")?.pixel_shuffle(a.required("upscale_factor")?))),
    ("pixel_unshuffle", |a| one(a.required::<Tensor>("input")?.pixel_unshuffle(a.required("downscale_factor")?))),
];

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

fn pad(a: &mut Args<'_>) -> Result<Vec<Tensor>> {
    let (x, sizes) = (a.required::<Tensor>("input")?, a.required::<Vec<isize>>("pad")?);
    let mode = a.or("mode", "constant".to_owned())?;
    let value: Option<f64> = a.option("value")?;
    let mode = match (mode.as_str(), value) {
        ("constant", value) => PadMode::Constant(value.unwrap_or(0.0)),
        ("reflect", None) => PadMode::Reflect,
        ("replicate", None) => PadMode::Replicate,
        ("circular", None) => PadMode::Circular,
        (other, _) => return Err(format!("argument mode not read: {other} with {value:?}")),
    };
    one(x.pad_with(&sizes, mode))
}
