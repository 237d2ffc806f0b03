//! Schedules: the learning rate before the first step and after each.

use limpid::optim::{
    ChainedScheduler, ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, ExponentialLR, LambdaLR,
    LinearLR, LrScheduler, MultiStepLR, MultiplicativeLR, OneCycleLR, Optimizer, PerGroup, PolynomialLR,
    ReduceLROnPlateau, SGD, Schedule, SequentialLR, StepLR,
};
use limpid::{DType, nn::Identity};
use serde_json::{Map, Value as Json, json};

use super::args::{Args, Result, Tensors, line};
use super::check::Verdict;

/// Reads the constructor's arguments and makes the schedule.
type Make = fn(&mut Args<'_>) -> Result<Box<dyn Schedule>>;

/// Every schedule by torch's name.
static SCHEDULES: &[(&str, Make)] = &[
    ("ChainedScheduler", |a| Ok(Box::new(ChainedScheduler::new(all(a.sentence()?, " with ")?)))),
    ("ConstantLR", |a| {
        Ok(Box::new(ConstantLR { factor: a.or("factor", 1.0 / 3.0)?, total_iters: a.or("total_iters", 5)? }))
    }),
    ("CosineAnnealingLR", |a| {
        Ok(Box::new(CosineAnnealingLR { t_max: a.required("T_max")?, eta_min: a.or("eta_min", 0.0)? }))
    }),
    ("CosineAnnealingWarmRestarts", |a| {
        let made = CosineAnnealingWarmRestarts::new(a.required("T_0")?).t_mult(a.or("T_mult", 1)?);
        Ok(Box::new(made.eta_min(a.or("eta_min", 0.0)?)))
    }),
    ("CyclicLR", |a| {
        let made = CyclicLR::new(per_group(a, "base_lr")?, per_group(a, "max_lr")?);
        let made = made.step_size_up(a.or("step_size_up", 2000)?);
        let made = a.option("step_size_down")?.into_iter().fold(made, CyclicLR::step_size_down);
        let made = made.mode(&a.or("mode", "triangular".to_owned())?).gamma(a.or("gamma", 1.0)?);
        a.absent("scale_fn")?;
        let made = made.scale_mode(&a.or("scale_mode", "cycle".to_owned())?);
        let made = made.cycle_momentum(a.or("cycle_momentum", true)?);
        let made = made.base_momentum(a.or("base_momentum", vec![0.8])?);
        Ok(Box::new(made.max_momentum(a.or("max_momentum", vec![0.9])?)))
    }),
    ("ExponentialLR", |a| Ok(Box::new(ExponentialLR { gamma: a.required("gamma")? }))),
    ("LambdaLR", |a| Ok(Box::new(LambdaLR::new(function(a.sentence()?)?)))),
    ("LinearLR", |a| {
        let start_factor = a.or("start_factor", 1.0 / 3.0)?;
        let (end_factor, total_iters) = (a.or("end_factor", 1.0)?, a.or("total_iters", 5)?);
        Ok(Box::new(LinearLR { start_factor, end_factor, total_iters }))
    }),
    ("MultiStepLR", |a| {
        Ok(Box::new(MultiStepLR::new(a.required::<Vec<u64>>("milestones")?).gamma(a.or("gamma", 0.1)?)))
    }),
    ("MultiplicativeLR", |a| Ok(Box::new(MultiplicativeLR::new(function(a.sentence()?)?)))),
    ("OneCycleLR", |a| {
        let made = OneCycleLR::new(per_group(a, "max_lr")?);
        let made = a.option("total_steps")?.into_iter().fold(made, OneCycleLR::total_steps);
        let made = a.option("epochs")?.into_iter().fold(made, OneCycleLR::epochs);
        let made = a.option("steps_per_epoch")?.into_iter().fold(made, OneCycleLR::steps_per_epoch);
        let made = made.pct_start(a.or("pct_start", 0.3)?);
        let made = made.anneal_strategy(&a.or("anneal_strategy", "cos".to_owned())?);
        let made = made.cycle_momentum(a.or("cycle_momentum", true)?);
        let made = made.base_momentum(a.or("base_momentum", vec![0.85])?);
        let made = made.max_momentum(a.or("max_momentum", vec![0.95])?);
        let made = made.div_factor(a.or("div_factor", 25.0)?).final_div_factor(a.or("final_div_factor", 1e4)?);
        Ok(Box::new(made.three_phase(a.or("three_phase", false)?)))
    }),
    ("PolynomialLR", |a| {
        Ok(Box::new(PolynomialLR { total_iters: a.or("total_iters", 5)?, power: a.or("power", 1.0)? }))
    }),
    ("SequentialLR", |a| sequential(a.sentence()?)),
    ("StepLR", |a| Ok(Box::new(StepLR { step_size: a.required("step_size")?, gamma: a.or("gamma", 0.1)? }))),
];

/// The schedule that goes by a measure.
const PLATEAU: &str = "ReduceLROnPlateau";

fn plateau(a: &mut Args<'_>) -> Result<ReduceLROnPlateau> {
    let made = ReduceLROnPlateau::new().mode(&a.or("mode", "min".to_owned())?).factor(a.or("factor", 0.1)?);
    let made = made.patience(a.or("patience", 10)?).threshold(a.or("threshold", 1e-4)?);
    let made = made.threshold_mode(&a.or("threshold_mode", "rel".to_owned())?).cooldown(a.or("cooldown", 0)?);
    Ok(made.min_lr(a.or("min_lr", vec![0.0])?).eps(a.or("eps", 1e-8)?))
}

/// One number, or one for each group.
fn per_group(a: &mut Args<'_>, name: &str) -> Result<PerGroup> {
    Ok(a.required::<Vec<f64>>(name)?.into())
}

/// `0.95 ** epoch` or `0.97`: how the cases write functions.
fn function(sentence: &str) -> Result<impl Fn(u64) -> f64 + Send + Sync + 'static> {
    let (base, power) = sentence
        .split_once(" ** epoch")
        .map_or((sentence, false), |(base, rest)| (if rest.is_empty() { base } else { "" }, true));
    let base: f64 = base.trim().parse().map_err(|_| format!("arguments not read: {sentence}"))?;
    Ok(move |step: u64| if power { base.powi(step as i32) } else { base })
}

/// `A(…) then B(…) …, milestone N, …`: how the cases write schedules that hold others.
fn sequential(sentence: &str) -> Result<Box<dyn Schedule>> {
    let unread = || format!("arguments not read: {sentence}");
    let (parts, milestones) = sentence.rsplit_once(", milestone").ok_or_else(unread)?;
    let milestones =
        milestones.trim_start_matches('s').split(',').map(|number| number.trim().parse().map_err(|_| unread()));
    let milestones: Vec<u64> = milestones.collect::<Result<_>>()?;
    let schedules = all(parts, " then ")?;
    if schedules.len() != milestones.len() + 1 {
        return Err(unread());
    }
    Ok(Box::new(SequentialLR { schedules, milestones }))
}

/// Several schedules with this word between them.
fn all(sentence: &str, between: &str) -> Result<Vec<Box<dyn Schedule>>> {
    sentence.split(between).map(inner).collect()
}

/// One schedule as Python writes its constructor's call.
fn inner(text: &str) -> Result<Box<dyn Schedule>> {
    let unread = || format!("arguments not read: {text}");
    let (name, rest) = text.split_once('(').ok_or_else(unread)?;
    let list = rest.strip_suffix(')').ok_or_else(unread)?;
    let (mut positional, mut named) = (Vec::new(), Map::new());
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (key, value) = item.split_once('=').map_or((None, item), |(key, value)| (Some(key), value));
        let value: Json = serde_json::from_str(value).map_err(|_| unread())?;
        match key {
            Some(key) => drop(named.insert(key.to_owned(), value)),
            None => positional.push(value),
        }
    }
    let (_, make) = SCHEDULES.iter().find(|(n, _)| *n == name).ok_or_else(|| format!("{name} is not built yet"))?;
    let (call, none) = (json!({"args": positional, "kwargs": named}), Tensors::new());
    let mut args = Args::new(&call, &none);
    let schedule = make(&mut args)?;
    args.finish().map(|()| schedule)
}

/// What runs the cases of `class`, if it is built.
pub fn find(class: &str) -> Option<Box<dyn Fn(&Json) -> Result<Verdict>>> {
    if class == PLATEAU {
        return Some(Box::new(run_plateau));
    }
    let (_, make) = SCHEDULES.iter().find(|(name, _)| *name == class)?;
    Some(Box::new(move |case| run(*make, case)))
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().into_iter().flatten().filter_map(Json::as_f64).collect()
}

/// An optimizer with the case's rate: which parameters are in it does not matter.
fn optimizer(case: &Json) -> Result<SGD> {
    let base_lr = case["base_lr"].as_f64().ok_or("the case has no base_lr")?;
    Ok(SGD::new(&Identity::new()).lr(base_lr))
}

fn run(make: Make, case: &Json) -> Result<Verdict> {
    let none = Tensors::new();
    let mut args = Args::named(&case["kwargs"], &none);
    let schedule = make(&mut args)?;
    args.no_effect("last_epoch")?;
    args.finish()?;
    let mut optimizer = optimizer(case)?;
    let mut scheduler = LrScheduler::new(schedule);
    scheduler.start(&mut optimizer).map_err(line)?;
    let (mut rates, mut momenta) = (optimizer.rates(), optimizer.momenta().unwrap_or_default());
    for _ in 1..numbers(&case["lr"]).len() {
        scheduler.step(&mut optimizer).map_err(line)?;
        rates.extend(optimizer.rates());
        momenta.extend(optimizer.momenta().unwrap_or_default());
    }
    Ok(verdict(case, &rates, &momenta))
}

fn run_plateau(case: &Json) -> Result<Verdict> {
    let none = Tensors::new();
    let mut args = Args::named(&case["kwargs"], &none);
    let mut scheduler = plateau(&mut args)?;
    args.finish()?;
    let mut optimizer = optimizer(case)?;
    let mut rates = optimizer.rates();
    for metric in numbers(&case["metric"]) {
        scheduler.step(metric, &mut optimizer).map_err(line)?;
        rates.extend(optimizer.rates());
    }
    Ok(verdict(case, &rates, &[]))
}

fn verdict(case: &Json, rates: &[f64], momenta: &[f64]) -> Verdict {
    let mut verdict = Verdict::default();
    for (name, ours) in [("lr", rates), ("momentum", momenta)].into_iter().filter(|(name, _)| !case[*name].is_null()) {
        let theirs = numbers(&case[name]);
        verdict.numbers(name, ours, &theirs, DType::F64);
        if ours.len() != theirs.len() {
            verdict.wrong(format!("{} values of {name}, not {}", ours.len(), theirs.len()));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_in_sequence_are_read_from_a_sentence() {
        let read = sequential("LinearLR(0.5, total_iters=2) then StepLR(step_size=1, gamma=0.1), milestone 2");
        let schedule = read.expect("it is read");
        let (mut sgd, mut scheduler) = (SGD::new(&Identity::new()).lr(1.0), LrScheduler::new(schedule));
        scheduler.start(&mut sgd).expect("it begins");
        let mut rates = sgd.rates();
        for _ in 0..3 {
            scheduler.step(&mut sgd).expect("it goes on");
            rates.extend(sgd.rates());
        }
        assert_eq!(rates, [0.5, 0.75, 1.0, 0.1]);
    }

    #[test]
    fn what_is_not_read_is_an_error() {
        for sentence in [
            "StepLR(1)",
            "StepLR(1) then StepLR(2)",
            "StepLR(1) then StepLR(2), milestones 1, 2",
            "StepLR(1) then StepLR(2, last=3), milestone 1",
            "StepLR(1) then NoLR(2), milestone 1",
        ] {
            assert!(sequential(sentence).is_err(), "{sentence}");
        }
    }
}
