//! Activations and dropouts.

use limpid::nn::RReLU;
use limpid::{Forward, Module, Tensor};

use crate::conformance::args::{Args, Result};
use crate::conformance::functionals::typed_rows;
use crate::conformance::ops::Call;
use crate::conformance::random::Law;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("alpha_dropout", |a| dropout(a, false, Tensor::alpha_dropout, ALPHA)),
    ("celu", |a| in_place_with(a, ("alpha", 1.0), Tensor::celu)),
    ("dropout", |a| dropout(a, true, Tensor::dropout, ELEMENTS)),
    ("dropout1d", |a| dropout(a, true, Tensor::dropout1d, CHANNELS_1D)),
    ("dropout2d", |a| dropout(a, true, Tensor::dropout2d, CHANNELS_2D)),
    ("dropout3d", |a| dropout(a, true, Tensor::dropout3d, CHANNELS_3D)),
    ("elu", |a| in_place_with(a, ("alpha", 1.0), Tensor::elu)),
    ("feature_alpha_dropout.with_train", |a| dropout(a, false, Tensor::feature_alpha_dropout, FEATURE_ALPHA)),
    ("feature_alpha_dropout.without_train", |a| dropout(a, false, Tensor::feature_alpha_dropout, FEATURE_ALPHA)),
    ("gelu", |a| {
        let x = a.required::<Tensor>("input")?;
        one(match a.or("approximate", "none".to_owned())?.as_str() {
            "none" => x.gelu(),
            "tanh" => x.gelu_tanh(),
            other => return Err(format!("argument approximate not read: {other}")),
        })
    }),
    ("glu", |a| one(a.required::<Tensor>("input")?.glu(a.or("dim", -1)?))),
    ("hardshrink", |a| one(a.required::<Tensor>("input")?.hardshrink(a.or("lambd", 0.5)?))),
    ("hardsigmoid", |a| in_place(a, Tensor::hardsigmoid)),
    ("hardswish", |a| in_place(a, Tensor::hardswish)),
    ("hardtanh", |a| {
        let (x, min, max) = (a.required::<Tensor>("input")?, a.or("min_val", -1.0)?, a.or("max_val", 1.0)?);
        a.no_effect("inplace")?;
        one(x.hardtanh(min, max))
    }),
    ("leaky_relu", |a| in_place_with(a, ("negative_slope", 0.01), Tensor::leaky_relu)),
    ("log_softmax", |a| over_axis(a, Tensor::log_softmax)),
    ("logsigmoid", |a| one(a.required::<Tensor>("input")?.log_sigmoid())),
    ("mish", |a| in_place(a, Tensor::mish)),
    ("prelu", |a| one(a.required::<Tensor>("input")?.prelu(&a.required("weight")?))),
    ("relu", |a| in_place(a, Tensor::relu)),
    ("relu6", |a| in_place(a, Tensor::relu6)),
    ("rrelu", |a| {
        let (x, lower, upper) = (a.required::<Tensor>("input")?, a.or("lower", 1.0 / 8.0)?, a.or("upper", 1.0 / 3.0)?);
        let layer = RReLU::new().lower(lower).upper(upper);
        if a.or("training", false)? {
            a.draws(Law::Slopes { lower, upper });
        } else {
            layer.eval();
        }
        a.no_effect("inplace")?;
        one(layer.forward(&x))
    }),
    ("selu", |a| in_place(a, Tensor::selu)),
    ("silu", |a| in_place(a, Tensor::silu)),
    ("softmax", |a| over_axis(a, Tensor::softmax)),
    ("softmin", |a| over_axis(a, Tensor::softmin)),
    ("softmin.with_dtype", |a| over_axis(a, Tensor::softmin)),
    ("softplus", |a| {
        let x = a.required::<Tensor>("input")?;
        one(x.softplus_with(a.or("beta", 1.0)?, a.or("threshold", 20.0)?))
    }),
    ("softshrink", |a| one(a.required::<Tensor>("input")?.softshrink(a.or("lambd", 0.5)?))),
    ("softsign", |a| one(a.required::<Tensor>("input")?.softsign())),
    ("tanhshrink", |a| one(a.required::<Tensor>("input")?.tanhshrink())),
    ("threshold", |a| {
        let (x, threshold, value) = (a.required::<Tensor>("input")?, a.required("threshold")?, a.required("value")?);
        a.no_effect("inplace")?;
        one(x.threshold(threshold, value))
    }),
];

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

fn in_place(a: &mut Args<'_>, f: fn(&Tensor) -> Tensor) -> Result<Vec<Tensor>> {
    let x = a.required("input")?;
    a.no_effect("inplace")?;
    one(f(&x))
}

/// A function of a number that has a default.
fn in_place_with(a: &mut Args<'_>, number: (&str, f64), f: fn(&Tensor, f64) -> Tensor) -> Result<Vec<Tensor>> {
    let (x, number) = (a.required("input")?, a.or(number.0, number.1)?);
    a.no_effect("inplace")?;
    one(f(&x, number))
}

fn over_axis(a: &mut Args<'_>, f: fn(&Tensor, isize) -> Tensor) -> Result<Vec<Tensor>> {
    let (x, dim) = typed_rows(a)?;
    one(f(&x, dim))
}

/// What a dropout with this probability does to this input.
pub type Dropping = fn(f64, &Tensor) -> Law;

/// Each element is drawn.
pub const ELEMENTS: Dropping = |p, x| Law::Dropout { p, axes: x.rank() };
/// `[n, c, l]` or `[c, l]`.
pub const CHANNELS_1D: Dropping = |p, x| Law::Dropout { p, axes: if x.rank() == 2 { 1 } else { 2 } };
/// The first two axes.
pub const CHANNELS_2D: Dropping = |p, _| Law::Dropout { p, axes: 2 };
/// `[n, c, d, h, w]` or `[c, d, h, w]`.
pub const CHANNELS_3D: Dropping = |p, x| Law::Dropout { p, axes: if x.rank() == 5 { 2 } else { 1 } };
/// Each element is drawn.
pub const ALPHA: Dropping = |p, x| Law::AlphaDropout { p, axes: x.rank() };
/// The first two axes.
pub const FEATURE_ALPHA: Dropping = |p, _| Law::AlphaDropout { p, axes: 2 };

fn dropout(a: &mut Args<'_>, by_default: bool, f: fn(&Tensor, f64) -> Tensor, law: Dropping) -> Result<Vec<Tensor>> {
    let (x, p, training) = (a.required::<Tensor>("input")?, a.or("p", 0.5)?, a.or("training", by_default)?);
    a.no_effect("inplace")?;
    if training && p > 0.0 && p < 1.0 {
        a.draws(law(p, &x));
    }
    one(if training { f(&x, p) } else { x })
}
