//! Activations and dropouts.

use std::rc::Rc;

use limpid::nn::{
    AlphaDropout, CELU, Dropout, Dropout1d, Dropout2d, Dropout3d, ELU, FeatureAlphaDropout, GLU, Hardshrink,
    Hardsigmoid, Hardswish, Hardtanh, LogSigmoid, Mish, PReLU, RReLU, ReLU6, SELU, Softmax2d, Softmin, Softplus,
    Softshrink, Softsign, Tanhshrink, Threshold,
};
use limpid::{Forward, Tensor};

use super::{Built, Make, layer, plain};
use crate::conformance::args::{Args, Result};
use crate::conformance::functionals::activation::{
    ALPHA, CHANNELS_1D, CHANNELS_2D, CHANNELS_3D, Dropping, ELEMENTS, FEATURE_ALPHA,
};
use crate::conformance::random::Law;

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[
    ("AlphaDropout", |a, _| dropout(a, AlphaDropout::new, ALPHA)),
    ("CELU", |a, _| {
        let alpha = a.or("alpha", 1.0)?;
        plain(a, CELU::new().alpha(alpha))
    }),
    ("Dropout", |a, _| dropout(a, Dropout::new, ELEMENTS)),
    ("Dropout1d", |a, _| dropout(a, Dropout1d::new, CHANNELS_1D)),
    ("Dropout2d", |a, _| dropout(a, Dropout2d::new, CHANNELS_2D)),
    ("Dropout3d", |a, _| dropout(a, Dropout3d::new, CHANNELS_3D)),
    ("ELU", |a, _| {
        let alpha = a.or("alpha", 1.0)?;
        plain(a, ELU::new().alpha(alpha))
    }),
    ("FeatureAlphaDropout", |a, _| dropout(a, FeatureAlphaDropout::new, FEATURE_ALPHA)),
    ("GLU", |a, _| layer(GLU::new(a.or("dim", -1)?))),
    ("Hardshrink", |a, _| layer(Hardshrink::new().lambd(a.or("lambd", 0.5)?))),
    ("Hardsigmoid", |a, _| plain(a, Hardsigmoid::new())),
    ("Hardswish", |a, _| plain(a, Hardswish::new())),
    ("Hardtanh", |a, _| {
        let made = Hardtanh::new().min_val(a.or("min_val", -1.0)?).max_val(a.or("max_val", 1.0)?);
        a.no_effect("inplace")?;
        // Their older names.
        let made = a.option("min_value")?.into_iter().fold(made, Hardtanh::min_val);
        layer(a.option("max_value")?.into_iter().fold(made, Hardtanh::max_val))
    }),
    ("LogSigmoid", |_, _| layer(LogSigmoid::new())),
    ("Mish", |a, _| plain(a, Mish::new())),
    ("PReLU", |a, dtype| {
        layer(PReLU::new().num_parameters(a.or("num_parameters", 1)?).init(a.or("init", 0.25)?).dtype(dtype))
    }),
    ("RReLU", |a, _| {
        let (lower, upper) = (a.or("lower", 1.0 / 8.0)?, a.or("upper", 1.0 / 3.0)?);
        let made = RReLU::new().lower(lower).upper(upper);
        a.no_effect("inplace")?;
        drawing(made, move |_| Law::Slopes { lower, upper })
    }),
    ("ReLU6", |a, _| plain(a, ReLU6::new())),
    ("SELU", |a, _| plain(a, SELU::new())),
    ("Softmax2d", |_, _| layer(Softmax2d::new())),
    ("Softmin", |a, _| layer(Softmin::new(a.required("dim")?))),
    ("Softplus", |a, _| layer(Softplus::new().beta(a.or("beta", 1.0)?).threshold(a.or("threshold", 20.0)?))),
    ("Softshrink", |a, _| layer(Softshrink::new().lambd(a.or("lambd", 0.5)?))),
    ("Softsign", |_, _| layer(Softsign::new())),
    ("Tanhshrink", |_, _| layer(Tanhshrink::new())),
    ("Threshold", |a, _| {
        let made = Threshold::new(a.required("threshold")?, a.required("value")?);
        plain(a, made)
    }),
];

/// A layer that draws in training; `law` says how, for an input.
fn drawing<M: Forward + 'static>(module: M, law: impl Fn(&Tensor) -> Law + 'static) -> Result<Built> {
    let module = Rc::new(module);
    let called = module.clone();
    let forward = move |a: &mut Args<'_>| {
        let x = a.required("input")?;
        if called.is_training() {
            a.draws(law(&x));
        }
        Ok(vec![called.forward(&x)])
    };
    Ok(Built { module, forward: Box::new(forward) })
}

fn dropout<M: Forward + 'static>(a: &mut Args<'_>, new: fn(f64) -> M, law: Dropping) -> Result<Built> {
    let p = a.or("p", 0.5)?;
    a.no_effect("inplace")?;
    if p > 0.0 && p < 1.0 { drawing(new(p), move |x| law(p, x)) } else { layer(new(p)) }
}
