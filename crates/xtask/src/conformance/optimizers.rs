//! Optimizers: twenty steps on a small problem, every parameter after every step.

use limpid::optim::{Adam, AdamW, Group, Optimizer, SGD};
use limpid::{Parameter, Tensor, loss};

use super::args::{Args, Result, Tensors, line};
use super::cases::Case;
use super::check::Verdict;

/// Reads the constructor's arguments and makes the optimizer.
type Make = fn(&mut Args<'_>, Group) -> Result<Box<dyn Optimizer>>;

/// Every optimizer by torch's name.
const OPTIMIZERS: &[(&str, Make)] = &[
    ("Adam", |a, group| {
        let adam = Adam::groups([group]).lr(a.or("lr", 1e-3)?).betas(a.or("betas", (0.9, 0.999))?);
        let adam = adam.eps(a.or("eps", 1e-8)?).weight_decay(a.or("weight_decay", 0.0)?);
        let adam = adam.amsgrad(a.or("amsgrad", false)?);
        a.keywords().no_effect("foreach")?;
        let adam = adam.maximize(a.or("maximize", false)?);
        ["capturable", "differentiable", "fused"].iter().try_for_each(|name| a.no_effect(name))?;
        a.only("decoupled_weight_decay", false)?;
        Ok(Box::new(adam))
    }),
    ("AdamW", |a, group| {
        let adam = AdamW::groups([group]).lr(a.or("lr", 1e-3)?).betas(a.or("betas", (0.9, 0.999))?);
        let adam = adam.eps(a.or("eps", 1e-8)?).weight_decay(a.or("weight_decay", 1e-2)?);
        let adam = adam.amsgrad(a.or("amsgrad", false)?);
        let adam = adam.maximize(a.keywords().or("maximize", false)?);
        ["foreach", "capturable", "differentiable", "fused"].iter().try_for_each(|name| a.no_effect(name))?;
        Ok(Box::new(adam))
    }),
    ("SGD", |a, group| {
        let sgd = SGD::groups([group]).lr(a.or("lr", 1e-3)?).momentum(a.or("momentum", 0.0)?);
        let sgd = sgd.dampening(a.or("dampening", 0.0)?).weight_decay(a.or("weight_decay", 0.0)?);
        let sgd = sgd.nesterov(a.or("nesterov", false)?);
        let sgd = sgd.maximize(a.keywords().or("maximize", false)?);
        ["foreach", "differentiable", "fused"].iter().try_for_each(|name| a.no_effect(name))?;
        Ok(Box::new(sgd))
    }),
];

/// The loss of the parameters and the problem's data.
type Problem = fn(&dyn Fn(&str) -> Result<Tensor>) -> Result<Tensor>;

/// The problems, whose formulas the index states: what an optimizer is tried on.
const PROBLEMS: &[(&str, Problem)] = &[
    ("mixed", |t| {
        let (x, a) = (t("x")?, t("A")?);
        let quadratic = (&x * a.matmul(&x)).sum(..) * 0.5 - (t("b")? * &x).sum(..);
        Ok(quadratic + loss::binary_cross_entropy_with_logits(&(t("X")?.matmul(&t("w")?) + t("c")?), &t("y")?))
    }),
    ("matrix", |t| {
        let x = t("X")?.narrow(0, 0, 8).t();
        Ok((t("w")?.matmul(&x) - t("M")?.matmul(&x)).square().mean(..) * 0.5)
    }),
    ("sparse", |t| Ok((t("e")?.embedding(&t("ids")?) - 1.0).square().sum(..))),
];

/// What runs the cases of `class`, if it is built.
pub fn find(class: &str) -> Option<Box<dyn Fn(&Case) -> Result<Verdict>>> {
    let (_, make) = OPTIMIZERS.iter().find(|(name, _)| *name == class)?;
    Some(Box::new(move |case| run(*make, case)))
}

fn run(make: Make, case: &Case) -> Result<Verdict> {
    let names = case.json["params"].as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(|name| name.as_str()).collect();
    let tensor = |name: String| case.tensors.get(&name).ok_or_else(|| format!("there is no tensor {name}"));
    let paths = names.iter().map(|name| tensor(format!("path.{name}"))).collect::<Result<Vec<_>>>()?;
    let parameters: Vec<Parameter> = paths.iter().map(|path| Parameter::new(&path.select(0, 0))).collect();
    let none = Tensors::new();
    let mut args = Args::named(&case.json["kwargs"], &none);
    let mut optimizer = make(&mut args, Group::of(&parameters))?;
    args.finish()?;
    let problem = case.json["problem"].as_str().unwrap_or_default();
    let found = PROBLEMS.iter().find(|(name, _)| *name == problem);
    let loss_of = found.ok_or_else(|| format!("problem {problem} is not known"))?.1;
    let losses = tensor("loss".to_owned())?;
    let mut verdict = Verdict::default();
    for step in 0..losses.size(0) {
        let loss = loss_of(&|name| match names.iter().position(|n| *n == name) {
            Some(i) => Ok(parameters[i].tensor()),
            None => tensor(format!("data.{name}")).cloned(),
        })?;
        let loss = optimizer.step(&loss).map_err(line)?;
        verdict.compare(&format!("loss {step}"), &loss, &losses.select(0, step as isize));
        for ((name, parameter), path) in names.iter().zip(&parameters).zip(&paths) {
            let value = parameter.value().map_err(line)?;
            verdict.compare(&format!("{name} after step {}", step + 1), &value, &path.select(0, step as isize + 1));
        }
    }
    Ok(verdict)
}
