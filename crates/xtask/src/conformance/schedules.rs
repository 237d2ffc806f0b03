//! Schedules: the learning rate before the first step and after each.

use limpid::optim::{CosineAnnealingLR, LinearLR, LrScheduler, Optimizer, SGD, Schedule, StepLR};
use limpid::{DType, nn::Identity};
use serde_json::Value as Json;

use super::args::{Args, Result, Tensors, line};
use super::check::Verdict;

/// Reads the constructor's arguments and makes the schedule.
type Make = fn(&mut Args<'_>) -> Result<Box<dyn Schedule>>;

/// Every schedule by torch's name.
const SCHEDULES: &[(&str, Make)] = &[
    ("CosineAnnealingLR", |a| {
        Ok(Box::new(CosineAnnealingLR { t_max: a.required("T_max")?, eta_min: a.or("eta_min", 0.0)? }))
    }),
    ("LinearLR", |a| {
        let start_factor = a.or("start_factor", 1.0 / 3.0)?;
        let (end_factor, total_iters) = (a.or("end_factor", 1.0)?, a.or("total_iters", 5)?);
        Ok(Box::new(LinearLR { start_factor, end_factor, total_iters }))
    }),
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
