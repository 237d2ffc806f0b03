//! Functions of each element.

use limpid::{Tensor, Value};

use crate::conformance::args::{Args, Result};
use crate::conformance::ops::Call;

/// Functions of one tensor and nothing else.
pub const UNARY: &[(&str, fn(&Tensor) -> Tensor)] = &[
    ("acos", Tensor::acos),
    ("acosh", Tensor::acosh),
    ("asin", Tensor::asin),
    ("asinh", Tensor::asinh),
    ("atan", Tensor::atan),
    ("atanh", Tensor::atanh),
    ("cosh", Tensor::cosh),
    ("digamma", Tensor::digamma),
    ("erfinv", Tensor::erfinv),
    ("frac", Tensor::frac),
    ("i0", Tensor::i0),
    ("lgamma", Tensor::lgamma),
    ("sgn", Tensor::sgn),
    ("signbit", Tensor::signbit),
    ("sinc", Tensor::sinc),
    ("sinh", Tensor::sinh),
    ("special.entr", Tensor::entr),
    ("special.erfcx", Tensor::erfcx),
    ("special.i0e", Tensor::i0e),
    ("special.i1", Tensor::i1),
    ("special.i1e", Tensor::i1e),
    ("special.log_ndtr", Tensor::log_ndtr),
    ("special.ndtr", Tensor::ndtr),
    ("special.ndtri", Tensor::ndtri),
];

/// Functions of a tensor and a tensor or number.
pub const BINARY: &[(&str, fn(&Tensor, Value) -> Tensor)] = &[
    ("atan2", Tensor::atan2),
    ("copysign", Tensor::copysign),
    ("float_power", Tensor::float_power),
    ("fmax", Tensor::fmax),
    ("fmin", Tensor::fmin),
    ("heaviside", Tensor::heaviside),
    ("hypot", Tensor::hypot),
    ("logaddexp", Tensor::logaddexp),
    ("logaddexp2", Tensor::logaddexp2),
    ("special.xlog1py", Tensor::xlog1py),
    ("xlogy", Tensor::xlogy),
];

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("add", |a| scaled(a, |x, y, alpha| if let Some(alpha) = alpha { x.add_with(y, alpha) } else { x + y })),
    ("addcdiv", |a| third(a, Tensor::addcdiv)),
    ("addcmul", |a| third(a, Tensor::addcmul)),
    ("isclose", |a| {
        let (x, y) = (a.required::<Tensor>("input")?, a.required("other")?);
        let (rtol, atol) = (a.or("rtol", 1e-5)?, a.or("atol", 1e-8)?);
        one(x.isclose(&y, rtol, atol, a.or("equal_nan", false)?))
    }),
    ("lerp", |a| {
        let (x, end) = (a.required::<Tensor>("input")?, a.required("end")?);
        one(x.lerp(&end, a.required::<Value>("weight")?))
    }),
    ("logit", |a| {
        let x = a.required::<Tensor>("input")?;
        one(x.logit(a.option("eps")?))
    }),
    ("mvlgamma", |a| {
        let x = a.required::<Tensor>("input")?;
        one(x.mvlgamma(a.required::<u64>("p")? as u32))
    }),
    ("nan_to_num", |a| {
        let x = a.required::<Tensor>("input")?;
        let nan: Option<f64> = a.option("nan")?;
        one(x.nan_to_num(nan.unwrap_or(0.0), a.option("posinf")?, a.option("neginf")?))
    }),
    ("polygamma", polygamma),
    ("rsub", |a| scaled(a, |x, y, alpha| x.rsub(y, alpha.unwrap_or(1.into())))),
    ("special.polygamma", polygamma),
    ("sub", |a| scaled(a, |x, y, alpha| if let Some(alpha) = alpha { x.sub_with(y, alpha) } else { x - y })),
];

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

/// PyTorch's own cases give the tensor first.
fn polygamma(a: &mut Args<'_>) -> Result<Vec<Tensor>> {
    let x = a.required::<Tensor>("input")?;
    one(x.polygamma(a.required::<u64>("n")? as u32))
}

/// A sum or difference with torch's `alpha`.
fn scaled(a: &mut Args<'_>, f: fn(&Tensor, Value, Option<Value>) -> Tensor) -> Result<Vec<Tensor>> {
    let (x, y) = (a.required("input")?, a.required("other")?);
    one(f(&x, y, a.keywords().option("alpha")?))
}

/// A function of three tensors and a factor.
fn third(a: &mut Args<'_>, f: fn(&Tensor, &Tensor, &Tensor, Value) -> Tensor) -> Result<Vec<Tensor>> {
    let (x, first, second) = (a.required("input")?, a.required("tensor1")?, a.required("tensor2")?);
    one(f(&x, &first, &second, a.keywords().or("value", 1.into())?))
}
