//! Initialisers: mean, deviation and extremes of what they draw, and the gains.

use limpid::nn::init::{self, Mode, Nonlinearity};
use limpid::{DType, Parameter, Tensor, manual_seed};
use serde_json::Value as Json;

use super::args::{Args, Result, Tensors, line};
use super::check::Verdict;

/// Reads the arguments after the tensor and fills it.
type Fill = fn(&mut Args<'_>, &Parameter) -> Result<()>;

/// Every initialiser by torch's name.
const INITIALISERS: &[(&str, Fill)] = &[
    ("constant_", |a, p| init::constant_(p, a.required("val")?).map_err(line)),
    ("kaiming_normal_", |a, p| {
        let (mode, nonlinearity) = kaiming(a)?;
        init::kaiming_normal_(p, mode, nonlinearity).map_err(line)
    }),
    ("kaiming_uniform_", |a, p| {
        let (mode, nonlinearity) = kaiming(a)?;
        init::kaiming_uniform_(p, mode, nonlinearity).map_err(line)
    }),
    ("normal_", |a, p| init::normal_(p, a.or("mean", 0.0)?, a.or("std", 1.0)?).map_err(line)),
    ("ones_", |_, p| init::ones_(p).map_err(line)),
    ("trunc_normal_", |a, p| {
        let (mean, std) = (a.or("mean", 0.0)?, a.or("std", 1.0)?);
        init::trunc_normal_(p, mean, std, a.or("a", -2.0)?, a.or("b", 2.0)?).map_err(line)
    }),
    ("uniform_", |a, p| init::uniform_(p, a.or("a", 0.0)?, a.or("b", 1.0)?).map_err(line)),
    ("xavier_normal_", |a, p| init::xavier_normal_(p, a.or("gain", 1.0)?).map_err(line)),
    ("xavier_uniform_", |a, p| init::xavier_uniform_(p, a.or("gain", 1.0)?).map_err(line)),
    ("zeros_", |_, p| init::zeros_(p).map_err(line)),
];

fn kaiming(a: &mut Args<'_>) -> Result<(Mode, Nonlinearity)> {
    let slope = a.or("a", 0.0)?;
    let mode = match a.or("mode", "fan_in".to_owned())?.as_str() {
        "fan_in" => Mode::FanIn,
        "fan_out" => Mode::FanOut,
        other => return Err(format!("argument mode not read: {other}")),
    };
    let name = a.or("nonlinearity", "leaky_relu".to_owned())?;
    let found = nonlinearity(&name, slope).ok_or_else(|| format!("argument nonlinearity not read: {name}"))?;
    Ok((mode, found))
}

/// Torch's name of a nonlinearity; `slope` is that of the leaky one.
fn nonlinearity(name: &str, slope: f64) -> Option<Nonlinearity> {
    Some(match name {
        "linear" | "conv1d" | "conv2d" | "conv3d" | "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d" => {
            Nonlinearity::Linear
        }
        "sigmoid" => Nonlinearity::Sigmoid,
        "tanh" => Nonlinearity::Tanh,
        "relu" => Nonlinearity::ReLU,
        "leaky_relu" => Nonlinearity::LeakyReLU(slope),
        "selu" => Nonlinearity::SELU,
        _ => return None,
    })
}

/// What runs the cases of `class`, if it is built.
pub fn find(class: &str) -> Option<Box<dyn Fn(&Json) -> Result<Verdict>>> {
    let (_, fill) = INITIALISERS.iter().find(|(name, _)| *name == class)?;
    Some(Box::new(move |case| run(*fill, case)))
}

fn run(fill: Fill, case: &Json) -> Result<Verdict> {
    let sizes = case["shape"].as_array().into_iter().flatten().filter_map(Json::as_u64);
    let shape: Vec<usize> = sizes.map(|size| size as usize).collect();
    let parameter = Parameter::new(&Tensor::zeros_of(shape, DType::F64));
    let none = Tensors::new();
    let mut args = Args::named(&case["kwargs"], &none);
    manual_seed(7);
    fill(&mut args, &parameter)?;
    args.finish()?;
    let values = parameter.value().map_err(line)?;
    let read = |t: Tensor| t.item().map_err(line);
    let (mean, std) = (read(values.mean(..))?, read(values.std(.., 1.0))?);
    let (min, max) = (read(values.amin(..))?, read(values.amax(..))?);
    let theirs = |name: &str| case[name].as_f64().ok_or_else(|| format!("the case has no {name}"));
    let (spread, tolerance) = (theirs("std")?, &case["tolerance"]);
    let within = |name: &str| tolerance[name].as_f64().ok_or_else(|| format!("the case has no tolerance {name}"));
    let mut verdict = Verdict::default();
    // Extremes of samples vary by a fraction of the deviation: further away is another distribution.
    let rows = [
        ("mean", mean, within("mean")?),
        ("std", std, within("std_relative")? * spread),
        ("min", min, spread),
        ("max", max, spread),
    ];
    for (name, ours, limit) in rows {
        let difference = (ours - theirs(name)?).abs();
        if difference > limit || difference.is_nan() {
            verdict.largest = verdict.largest.max(difference);
            verdict.wrong(format!("{name} is {ours:e}, not {:e}", theirs(name)?));
        }
    }
    Ok(verdict)
}

/// Compares the gain of one nonlinearity.
pub fn gain(name: &str, expected: f64) -> Result<Verdict> {
    let found = nonlinearity(name, 0.01).ok_or_else(|| format!("nonlinearity {name} is not built yet"))?;
    let mut verdict = Verdict::default();
    verdict.numbers("gain", &[init::calculate_gain(found)], &[expected], DType::F64);
    Ok(verdict)
}
