//! Schedules: the learning rate before the first step and after each.

use limpid::optim::{CosineAnnealingLR, LinearLR, LrScheduler, Optimizer, SGD, Schedule, SequentialLR, StepLR};
use limpid::{DType, nn::Identity};
use serde_json::{Map, Value as Json, json};

use super::args::{Args, Result, Tensors, line};
use super::check::Verdict;

/// Reads the constructor's arguments and makes the schedule.
type Make = fn(&mut Args<'_>) -> Result<Box<dyn Schedule>>;

/// Every schedule by torch's name.
static SCHEDULES: &[(&str, Make)] = &[
    ("CosineAnnealingLR", |a| {
        Ok(Box::new(CosineAnnealingLR { t_max: a.required("T_max")?, eta_min: a.or("eta_min", 0.0)? }))
    }),
    ("LinearLR", |a| {
        let start_factor = a.or("start_factor", 1.0 / 3.0)?;
        let (end_factor, total_iters) = (a.or("end_factor", 1.0)?, a.or("total_iters", 5)?);
        Ok(Box::new(LinearLR { start_factor, end_factor, total_iters }))
    }),
    ("SequentialLR", |a| sequential(a.sentence()?)),
    ("StepLR", |a| Ok(Box::new(StepLR { step_size: a.required("step_size")?, gamma: a.or("gamma", 0.1)? }))),
];

/// A schedule whose kind is known at run time only.
#[derive(Debug)]
struct Any(Box<dyn Schedule>);

impl Schedule for Any {
    fn factor(&self, step: u64, base_lr: f64) -> f64 {
        self.0.factor(step, base_lr)
    }
}

/// `A(…) then B(…) …, milestone N, …`: how the cases write schedules that hold others.
fn sequential(sentence: &str) -> Result<Box<dyn Schedule>> {
    let unread = || format!("arguments not read: {sentence}");
    let (parts, milestones) = sentence.rsplit_once(", milestone").ok_or_else(unread)?;
    let milestones =
        milestones.trim_start_matches('s').split(',').map(|number| number.trim().parse().map_err(|_| unread()));
    let milestones: Vec<u64> = milestones.collect::<Result<_>>()?;
    let schedules: Vec<_> = parts.split(" then ").map(inner).collect::<Result<_>>()?;
    if schedules.len() != milestones.len() + 1 {
        return Err(unread());
    }
    Ok(Box::new(SequentialLR { schedules, milestones }))
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
    let (_, make) = SCHEDULES.iter().find(|(name, _)| *name == class)?;
    Some(Box::new(move |case| run(*make, case)))
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array().into_iter().flatten().filter_map(Json::as_f64).collect()
}

fn run(make: Make, case: &Json) -> Result<Verdict> {
    let none = Tensors::new();
    let mut args = Args::named(&case["kwargs"], &none);
    let schedule = make(&mut args)?;
    args.no_effect("last_epoch")?;
    args.finish()?;
    let base_lr = case["base_lr"].as_f64().ok_or("the case has no base_lr")?;
    let expected = numbers(&case["lr"]);
    // A rate of its own needs a group; which parameters are in it does not matter.
    let mut optimizer = SGD::new(&Identity::new());
    optimizer = optimizer.lr(base_lr);
    let mut scheduler = LrScheduler::new(Any(schedule));
    scheduler.start(&mut optimizer).map_err(line)?;
    let mut rates = optimizer.rates();
    for _ in 1..expected.len() {
        scheduler.step(&mut optimizer).map_err(line)?;
        rates.extend(optimizer.rates());
    }
    let mut verdict = Verdict::default();
    verdict.numbers("lr", &rates, &expected, DType::F64);
    if rates.len() != expected.len() {
        verdict.wrong(format!("{} rates, not {}", rates.len(), expected.len()));
    }
    if !case["momentum"].is_null() {
        verdict.wrong("momentum is not built yet");
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_in_sequence_are_read_from_a_sentence() {
        let read = sequential("LinearLR(0.5, total_iters=2) then StepLR(step_size=1, gamma=0.1), milestone 2");
        let schedule = read.expect("it is read");
        let factors: Vec<f64> = (0..4).map(|step| schedule.factor(step, 1.0)).collect();
        assert_eq!(factors, [0.5, 0.75, 1.0, 0.1]);
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
