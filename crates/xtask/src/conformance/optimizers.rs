//! Optimizers: twenty steps on a small problem, every parameter after every step.

use limpid::optim::{
    ASGD, Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Group, LBFGS, Muon, NAdam, Optimizer, RAdam, RMSprop,
    Rprop, SGD, SparseAdam,
};
use limpid::{EmbeddingOptions, Error, Parameter, Tensor, fallible, loss};

use serde_json::Value as Json;

use super::args::{Args, Read, Result, Tensors, line};
use super::cases::Case;
use super::check::Verdict;

/// Reads the constructor's arguments and makes the optimizer.
type Make = fn(&mut Args<'_>, Group) -> Result<Box<dyn Optimizer>>;

/// Every optimizer by torch's name.
const OPTIMIZERS: &[(&str, Make)] = &[
    ("ASGD", |a, group| {
        let made = ASGD::groups([group]).lr(a.or("lr", 1e-2)?).lambd(a.or("lambd", 1e-4)?);
        let made = made.alpha(a.or("alpha", 0.75)?).t0(a.or("t0", 1e6)?).weight_decay(a.or("weight_decay", 0.0)?);
        a.no_effect("foreach")?;
        let made = made.maximize(a.or("maximize", false)?);
        no_effect(a, &["differentiable", "capturable"])?;
        Ok(Box::new(made))
    }),
    ("Adadelta", |a, group| {
        let made = Adadelta::groups([group]).lr(a.or("lr", 1.0)?).rho(a.or("rho", 0.9)?).eps(a.or("eps", 1e-6)?);
        let made = made.weight_decay(a.or("weight_decay", 0.0)?);
        no_effect(a, &["foreach", "capturable"])?;
        let made = made.maximize(a.keywords().or("maximize", false)?);
        no_effect(a, &["differentiable"])?;
        Ok(Box::new(made))
    }),
    ("Adafactor", |a, group| {
        let made = Adafactor::groups([group]).lr(a.or("lr", 1e-2)?).beta2_decay(a.or("beta2_decay", -0.8)?);
        let (eps1, eps2) = a.or("eps", (Maybe(None), 1e-3))?;
        let made = made.eps(eps1.0, eps2).d(a.or("d", 1.0)?).weight_decay(a.or("weight_decay", 0.0)?);
        a.keywords().no_effect("foreach")?;
        Ok(Box::new(made.maximize(a.or("maximize", false)?)))
    }),
    ("Adagrad", |a, group| {
        let made = Adagrad::groups([group]).lr(a.or("lr", 1e-2)?).lr_decay(a.or("lr_decay", 0.0)?);
        let made = made.weight_decay(a.or("weight_decay", 0.0)?);
        let made = made.initial_accumulator_value(a.or("initial_accumulator_value", 0.0)?).eps(a.or("eps", 1e-10)?);
        a.no_effect("foreach")?;
        let made = made.maximize(a.keywords().or("maximize", false)?);
        no_effect(a, &["differentiable", "fused"])?;
        Ok(Box::new(made))
    }),
    ("Adam", |a, group| {
        let adam = Adam::groups([group]).lr(a.or("lr", 1e-3)?).betas(a.or("betas", (0.9, 0.999))?);
        let adam = adam.eps(a.or("eps", 1e-8)?).weight_decay(a.or("weight_decay", 0.0)?);
        let adam = adam.amsgrad(a.or("amsgrad", false)?);
        a.keywords().no_effect("foreach")?;
        let adam = adam.maximize(a.or("maximize", false)?);
        no_effect(a, &["capturable", "differentiable", "fused"])?;
        Ok(Box::new(adam.decoupled_weight_decay(a.or("decoupled_weight_decay", false)?)))
    }),
    ("AdamW", |a, group| {
        let adam = AdamW::groups([group]).lr(a.or("lr", 1e-3)?).betas(a.or("betas", (0.9, 0.999))?);
        let adam = adam.eps(a.or("eps", 1e-8)?).weight_decay(a.or("weight_decay", 1e-2)?);
        let adam = adam.amsgrad(a.or("amsgrad", false)?);
        let adam = adam.maximize(a.keywords().or("maximize", false)?);
        no_effect(a, &["foreach", "capturable", "differentiable", "fused"])?;
        Ok(Box::new(adam))
    }),
    ("Adamax", |a, group| {
        let made = Adamax::groups([group]).lr(a.or("lr", 2e-3)?).betas(a.or("betas", (0.9, 0.999))?);
        let made = made.eps(a.or("eps", 1e-8)?).weight_decay(a.or("weight_decay", 0.0)?);
        a.no_effect("foreach")?;
        let made = made.maximize(a.keywords().or("maximize", false)?);
        no_effect(a, &["differentiable", "capturable"])?;
        Ok(Box::new(made))
    }),
    ("LBFGS", |a, group| {
        let made = LBFGS::groups([group]).lr(a.or("lr", 1.0)?).max_iter(a.or("max_iter", 20)?);
        let made = a.option("max_eval")?.into_iter().fold(made, LBFGS::max_eval);
        let made = made.tolerance_grad(a.or("tolerance_grad", 1e-7)?);
        let made = made.tolerance_change(a.or("tolerance_change", 1e-9)?).history_size(a.or("history_size", 100)?);
        let search = a.option::<String>("line_search_fn")?;
        let made = search.iter().fold(made, |made, name| made.line_search_fn(name));
        Ok(Box::new(made.maximize(a.keywords().or("maximize", false)?)))
    }),
    ("Muon", |a, group| {
        let made = Muon::groups([group]).lr(a.or("lr", 1e-3)?).weight_decay(a.or("weight_decay", 0.1)?);
        let made = made.momentum(a.or("momentum", 0.95)?).nesterov(a.or("nesterov", true)?);
        let usual = vec![3.4445, -4.7750, 2.0315];
        let [x, y, z] = a.or("ns_coefficients", usual)?.try_into().map_err(|_| "ns_coefficients are not three")?;
        let made = made.ns_coefficients((x, y, z)).eps(a.or("eps", 1e-7)?).ns_steps(a.or("ns_steps", 5)?);
        Ok(Box::new(made.adjust_lr_fn(&a.option("adjust_lr_fn")?.unwrap_or_else(|| "original".to_owned()))))
    }),
    ("NAdam", |a, group| {
        let made = NAdam::groups([group]).lr(a.or("lr", 2e-3)?).betas(a.or("betas", (0.9, 0.999))?);
        let made = made.eps(a.or("eps", 1e-8)?).weight_decay(a.or("weight_decay", 0.0)?);
        let made = made.momentum_decay(a.or("momentum_decay", 4e-3)?);
        let made = made.decoupled_weight_decay(a.or("decoupled_weight_decay", false)?);
        a.keywords().no_effect("foreach")?;
        let made = made.maximize(a.or("maximize", false)?);
        no_effect(a, &["capturable", "differentiable"])?;
        Ok(Box::new(made))
    }),
    ("RAdam", |a, group| {
        let made = RAdam::groups([group]).lr(a.or("lr", 1e-3)?).betas(a.or("betas", (0.9, 0.999))?);
        let made = made.eps(a.or("eps", 1e-8)?).weight_decay(a.or("weight_decay", 0.0)?);
        let made = made.decoupled_weight_decay(a.or("decoupled_weight_decay", false)?);
        a.keywords().no_effect("foreach")?;
        let made = made.maximize(a.or("maximize", false)?);
        no_effect(a, &["capturable", "differentiable"])?;
        Ok(Box::new(made))
    }),
    ("RMSprop", |a, group| {
        let made = RMSprop::groups([group]).lr(a.or("lr", 1e-2)?).alpha(a.or("alpha", 0.99)?).eps(a.or("eps", 1e-8)?);
        let made = made.weight_decay(a.or("weight_decay", 0.0)?).momentum(a.or("momentum", 0.0)?);
        let made = made.centered(a.or("centered", false)?);
        no_effect(a, &["capturable", "foreach"])?;
        let made = made.maximize(a.or("maximize", false)?);
        no_effect(a, &["differentiable"])?;
        Ok(Box::new(made))
    }),
    ("Rprop", |a, group| {
        let made = Rprop::groups([group]).lr(a.or("lr", 1e-2)?).etas(a.or("etas", (0.5, 1.2))?);
        let made = made.step_sizes(a.or("step_sizes", (1e-6, 50.0))?);
        a.keywords();
        no_effect(a, &["capturable", "foreach"])?;
        let made = made.maximize(a.or("maximize", false)?);
        no_effect(a, &["differentiable"])?;
        Ok(Box::new(made))
    }),
    ("SGD", |a, group| {
        let sgd = SGD::groups([group]).lr(a.or("lr", 1e-3)?).momentum(a.or("momentum", 0.0)?);
        let sgd = sgd.dampening(a.or("dampening", 0.0)?).weight_decay(a.or("weight_decay", 0.0)?);
        let sgd = sgd.nesterov(a.or("nesterov", false)?);
        let sgd = sgd.maximize(a.keywords().or("maximize", false)?);
        no_effect(a, &["foreach", "differentiable", "fused"])?;
        Ok(Box::new(sgd))
    }),
    ("SparseAdam", |a, group| {
        let made = SparseAdam::groups([group]).lr(a.or("lr", 1e-3)?).betas(a.or("betas", (0.9, 0.999))?);
        Ok(Box::new(made.eps(a.or("eps", 1e-8)?).maximize(a.or("maximize", false)?)))
    }),
];

/// A number or Python's `None`.
struct Maybe(Option<f64>);

impl Read for Maybe {
    fn read(json: &Json, tensors: &Tensors) -> Option<Maybe> {
        if json.is_null() { Some(Maybe(None)) } else { f64::read(json, tensors).map(|x| Maybe(Some(x))) }
    }
}

/// The next parameters, which choose how torch computes and change no value.
fn no_effect(a: &mut Args<'_>, names: &[&str]) -> Result<()> {
    names.iter().try_for_each(|name| a.no_effect(name))
}

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
    ("sparse", |t| {
        let rows = t("e")?.embedding_with(&t("ids")?, &EmbeddingOptions::new().sparse(true));
        Ok((rows - 1.0).square().sum(..))
    }),
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
        let mut closure = || {
            fallible(|| {
                let loss = loss_of(&|name| match names.iter().position(|n| *n == name) {
                    Some(i) => Ok(parameters[i].tensor()),
                    None => tensor(format!("data.{name}")).cloned(),
                });
                loss.map_err(Error::new)
            })
        };
        let loss = optimizer.step_by(&mut closure).map_err(line)?;
        verdict.compare(&format!("loss {step}"), &loss, &losses.select(0, step as isize));
        for ((name, parameter), path) in names.iter().zip(&parameters).zip(&paths) {
            let value = parameter.value().map_err(line)?;
            verdict.compare(&format!("{name} after step {}", step + 1), &value, &path.select(0, step as isize + 1));
        }
    }
    Ok(verdict)
}
