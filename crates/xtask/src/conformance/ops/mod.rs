//! Operations of tensors.

mod fft;
mod index;
mod linalg;
mod products;
mod reduce;
mod shape;
mod special;
mod statistics;

use limpid::{Tensor, Value};

use crate::conformance::args::{Args, Result};
use crate::conformance::cases::Case;
use crate::conformance::check::{Recorded, Verdict};
use crate::conformance::modules::inputs;
use crate::conformance::random;

/// Reads the arguments and calls the function.
pub type Call = fn(&mut Args<'_>) -> Result<Vec<Tensor>>;

/// A [`Call`] that was found by its name.
pub type Function = Box<dyn Fn(&mut Args<'_>) -> Result<Vec<Tensor>>>;

/// Functions of one tensor and nothing else.
const UNARY: &[(&str, fn(&Tensor) -> Tensor)] = &[
    ("abs", Tensor::abs),
    ("ceil", Tensor::ceil),
    ("cos", Tensor::cos),
    ("erf", Tensor::erf),
    ("erfc", Tensor::erfc),
    ("exp", Tensor::exp),
    ("exp2", Tensor::exp2),
    ("expm1", Tensor::expm1),
    ("floor", Tensor::floor),
    ("isfinite", Tensor::isfinite),
    ("isinf", Tensor::isinf),
    ("isnan", Tensor::isnan),
    ("log", Tensor::log),
    ("log10", Tensor::log10),
    ("log1p", Tensor::log1p),
    ("log2", Tensor::log2),
    ("logical_not", Tensor::logical_not),
    ("neg", Tensor::neg),
    ("reciprocal", Tensor::reciprocal),
    ("rsqrt", Tensor::rsqrt),
    ("sigmoid", Tensor::sigmoid),
    ("sign", Tensor::sign),
    ("sin", Tensor::sin),
    ("sqrt", Tensor::sqrt),
    ("square", Tensor::square),
    ("tan", Tensor::tan),
    ("tanh", Tensor::tanh),
    ("trunc", Tensor::trunc),
];

/// Functions of a tensor and a tensor or number.
const BINARY: &[(&str, fn(&Tensor, Value) -> Tensor)] = &[
    ("clamp_max", Tensor::clamp_max),
    ("clamp_min", Tensor::clamp_min),
    ("eq", Tensor::eq),
    ("floor_divide", Tensor::floor_divide),
    ("fmod", Tensor::fmod),
    ("ge", Tensor::ge),
    ("gt", Tensor::gt),
    ("le", Tensor::le),
    ("lt", Tensor::lt),
    ("maximum", Tensor::maximum),
    ("minimum", Tensor::minimum),
    ("mul", |x, y| x * y),
    ("ne", Tensor::ne),
    ("pow", Tensor::pow),
    ("remainder", |x, y| x % y),
    ("true_divide", |x, y| x / y),
];

/// Functions of two tensors.
const PAIRS: &[(&str, fn(&Tensor, &Tensor) -> Tensor)] = &[
    ("bmm", Tensor::matmul),
    ("dot", Tensor::matmul),
    ("logical_and", Tensor::logical_and),
    ("logical_or", Tensor::logical_or),
    ("logical_xor", Tensor::logical_xor),
    ("masked_select", Tensor::masked_select),
    ("matmul", Tensor::matmul),
    ("mm", Tensor::matmul),
    ("mv", Tensor::matmul),
    ("take", Tensor::take),
];

/// Functions of numbers with more arguments, in the order of torch's signatures.
const CALLS: &[(&str, Call)] = &[
    ("clamp", |a| {
        let x: Tensor = a.required("input")?;
        match (a.option::<Value>("min")?, a.option::<Value>("max")?) {
            (Some(min), Some(max)) => one(x.clamp(min, max)),
            (Some(min), None) => one(x.clamp_min(min)),
            (None, Some(max)) => one(x.clamp_max(max)),
            (None, None) => Err("torch refuses a clamp without bounds".to_owned()),
        }
    }),
    // The last argument of torch's `cdist` chooses how it computes.
    ("cdist", |a| {
        let (x, y): (Tensor, Tensor) = (a.required("x1")?, a.required("x2")?);
        let p = a.or("p", 2.0)?;
        a.no_effect("compute_mode")?;
        one(x.cdist(&y, p))
    }),
    ("dist", |a| {
        let (x, y): (Tensor, Tensor) = (a.required("input")?, a.required("other")?);
        one(x.dist(&y, a.or("p", 2.0)?))
    }),
    ("div", |a| {
        let (x, y): (Tensor, Value) = (a.required("input")?, a.required("other")?);
        match a.option::<String>("rounding_mode")?.as_deref() {
            None => one(x / y),
            Some("trunc") => one(x.trunc_divide(y)),
            Some("floor") => one(x.floor_divide(y)),
            Some(other) => Err(format!("argument rounding_mode not read: {other}")),
        }
    }),
    ("round", |a| {
        let x: Tensor = a.required("input")?;
        let decimals: i64 = a.keywords().or("decimals", 0)?;
        one(x.round_decimals(decimals.try_into().map_err(|_| format!("argument decimals not read: {decimals}"))?))
    }),
];

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

/// All families of operations with more arguments.
const TABLES: &[&[(&str, Call)]] = &[
    CALLS,
    fft::CALLS,
    index::CALLS,
    linalg::CALLS,
    products::CALLS,
    reduce::CALLS,
    shape::CALLS,
    special::CALLS,
    statistics::CALLS,
];

/// The function of this name, if it is built: torch's function of that name, or of the name before the variant
/// (`div.floor_rounding`).
fn function(class: &str) -> Option<Function> {
    named(class).or_else(|| named(class.rsplit_once('.')?.0))
}

fn named(name: &str) -> Option<Function> {
    if let Some((_, f)) = UNARY.iter().chain(special::UNARY).find(|(n, _)| *n == name) {
        return Some(Box::new(move |a| one(f(&a.required("input")?))));
    }
    if let Some((_, f)) = BINARY.iter().chain(special::BINARY).find(|(n, _)| *n == name) {
        return Some(Box::new(move |a| one(f(&a.required("input")?, a.required("other")?))));
    }
    if let Some((_, f)) = PAIRS.iter().find(|(n, _)| *n == name) {
        return Some(Box::new(move |a| one(f(&a.required("input")?, &a.required("other")?))));
    }
    let (_, call) = TABLES.iter().copied().flatten().find(|(n, _)| *n == name)?;
    Some(Box::new(call))
}

/// What runs the cases of `class`, if it is built.
pub fn find(class: &str) -> Option<Box<dyn Fn(&Case) -> Result<Verdict>>> {
    let call = function(class)?;
    Some(Box::new(move |case| run(&call, case)))
}

/// What only records them.
pub fn recorder(class: &str) -> Option<Box<dyn Fn(&Case) -> Result<Recorded>>> {
    let call = function(class)?;
    Some(Box::new(move |case| record(&call, case)))
}

/// Calls a function with the arguments of a case.
pub fn record(call: &Function, case: &Case) -> Result<Recorded> {
    let inputs = inputs(case);
    let mut args = Args::new(&case.json, &inputs);
    let outputs = call(&mut args)?;
    args.finish()?;
    let law = args.law();
    Ok(Recorded { outputs, leaves: inputs.into_iter().collect(), law })
}

/// Calls a function with the arguments of a case, and compares outputs and gradients.
pub fn run(call: &Function, case: &Case) -> Result<Verdict> {
    let Recorded { outputs, leaves, law } = record(call, case)?;
    let mut verdict = Verdict::default();
    if let Some(law) = law {
        let inputs = leaves.iter().cloned().collect();
        random::check(&mut verdict, case, &law, &leaves, &|| call(&mut Args::new(&case.json, &inputs)))?;
        return Ok(verdict);
    }
    verdict.outputs(case, case.json["outputs"].as_u64().unwrap_or(0) as usize, &outputs, &leaves)?;
    Ok(verdict)
}
