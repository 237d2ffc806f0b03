//! Optimizers and schedules.

use limpid::Result;
use limpid::optim::{AveragedModel, Schedule, get_ema_avg_fn};
use limpid::prelude::*;

use super::{Wrong, wrong};

fn group() -> Group {
    Group::of(&[Parameter::new(&Tensor::from([[1.0f32, 2.0]]))])
}

/// A step of the optimizer that `make` makes, at the line of the caller.
#[track_caller]
fn step<O: Optimizer>(make: impl FnOnce(Group) -> O) -> Result<Tensor> {
    let p = Parameter::new(&Tensor::from([[1.0f32, 2.0]]));
    let mut optimizer = make(Group::of(&[p.clone()]));
    let loss = optimizer.step(&p.tensor().sum(..))?;
    Ok((*loss).clone())
}

/// Three steps of a schedule.
#[track_caller]
fn schedule(schedule: impl Schedule + 'static) -> Result<Tensor> {
    let mut sgd = SGD::groups([group()]).momentum(0.9);
    let mut scheduler = LrScheduler::new(schedule);
    scheduler.start(&mut sgd)?;
    scheduler.step(&mut sgd)?;
    scheduler.step(&mut sgd)?;
    Ok(Tensor::zeros([]))
}

#[track_caller]
fn plateau(mut plateau: ReduceLROnPlateau) -> Result<Tensor> {
    plateau.step(1.0, &mut SGD::groups([group()]))?;
    Ok(Tensor::zeros([]))
}

pub const WRONG: &[Wrong] = &[
    wrong("SGD: a negative rate", || step(|g| SGD::groups([g]).lr(-0.1)), &["SGD: lr is -0.1", "at least 0"]),
    wrong("SGD: a rate that is no number", || step(|g| SGD::groups([g]).lr(f64::NAN)), &["SGD: lr is NaN"]),
    wrong("SGD: a negative momentum", || step(|g| SGD::groups([g]).momentum(-0.9)), &["momentum is -0.9"]),
    wrong("SGD: a negative weight decay", || step(|g| SGD::groups([g]).weight_decay(-1.0)), &["weight_decay is -1"]),
    wrong("SGD: nesterov without momentum", || step(|g| SGD::groups([g]).nesterov(true)), &["nesterov", "momentum 0"]),
    wrong(
        "SGD: nesterov with dampening",
        || step(|g| SGD::groups([g]).nesterov(true).momentum(0.9).dampening(0.1)),
        &["nesterov", "dampening 0.1"],
    ),
    wrong(
        "SGD: an option that there is not",
        || step(|g| SGD::groups([g.option("beta1", 0.9)])),
        &["SGD: there is no option beta1", "one of lr, momentum"],
    ),
    wrong(
        "SGD: an option with too many values",
        || step(|g| SGD::groups([g.option("momentum", (0.9, 0.9))])),
        &["SGD: momentum has 2 values", "1 number"],
    ),
    wrong(
        "SGD: one parameter in two groups",
        || step(|g| SGD::groups([g.clone(), g])),
        &["is in two groups", "each parameter in one group"],
    ),
    wrong("Adam: a beta of 1", || step(|g| Adam::groups([g]).betas((0.9, 1.0))), &["Adam: betas is 0.9, 1", "below 1"]),
    wrong("Adam: a negative eps", || step(|g| Adam::groups([g]).eps(-1e-8)), &["Adam: eps is -0.00000001"]),
    wrong("AdamW: a group's negative rate", || step(|g| AdamW::groups([g.lr(-1.0)])), &["AdamW: lr is -1"]),
    wrong("Adagrad: a negative decay", || step(|g| Adagrad::groups([g]).lr_decay(-1.0)), &["Adagrad: lr_decay is -1"]),
    wrong("Adadelta: rho above 1", || step(|g| Adadelta::groups([g]).rho(1.5)), &["Adadelta: rho is 1.5", "0 to 1"]),
    wrong("Adafactor: d below 1", || step(|g| Adafactor::groups([g]).d(0.5)), &["Adafactor: d is 0.5", "at least 1"]),
    wrong(
        "Adafactor: a beta2_decay above 0",
        || step(|g| Adafactor::groups([g]).beta2_decay(0.8)),
        &["Adafactor: beta2_decay is 0.8", "at most 0"],
    ),
    wrong("ASGD: a negative lambd", || step(|g| ASGD::groups([g]).lambd(-1.0)), &["ASGD: lambd is -1"]),
    wrong("RMSprop: a negative alpha", || step(|g| RMSprop::groups([g]).alpha(-0.5)), &["RMSprop: alpha is -0.5"]),
    wrong("Rprop: etas the wrong way", || step(|g| Rprop::groups([g]).etas((1.2, 0.5))), &["Rprop: etas is 1.2, 0.5"]),
    wrong(
        "Muon: a vector",
        || {
            let p = Parameter::new(&Tensor::zeros([3]));
            let loss = Muon::groups([Group::of(&[p.clone()])]).step(&p.tensor().sum(..))?;
            Ok((*loss).clone())
        },
        &["Muon: the parameter", "[3]", "no matrix"],
    ),
    wrong(
        "Muon: too many steps",
        || step(|g| Muon::groups([g]).ns_steps(100)),
        &["Muon: ns_steps is 100", "below 100"],
    ),
    wrong(
        "Muon: an adjustment that there is not",
        || step(|g| Muon::groups([g]).adjust_lr_fn("rms")),
        &["adjust_lr_fn \"rms\"", "match_rms_adamw"],
    ),
    wrong("LBFGS: a loss instead of a closure", || step(|g| LBFGS::groups([g])), &["LBFGS", "step_with"]),
    wrong("LBFGS: two groups", || step(|g| LBFGS::groups([g, group()])), &["LBFGS: 2 groups"]),
    wrong(
        "LBFGS: a line search that there is not",
        || step(|g| LBFGS::groups([g]).line_search_fn("armijo")),
        &["line_search_fn \"armijo\"", "strong_wolfe"],
    ),
    wrong("StepLR: no steps", || schedule(StepLR::new(0)), &["StepLR: step_size is 0"]),
    wrong("MultiStepLR: milestones that fall", || schedule(MultiStepLR::new([5, 2])), &["MultiStepLR", "[5, 2]"]),
    wrong(
        "ConstantLR: a factor above 1",
        || schedule(ConstantLR { factor: 2.0, total_iters: 5 }),
        &["ConstantLR: the factor is 2"],
    ),
    wrong(
        "LinearLR: a start of 0",
        || schedule(LinearLR { start_factor: 0.0, ..LinearLR::default() }),
        &["LinearLR: the start_factor is 0"],
    ),
    wrong("CosineAnnealingLR: no steps", || schedule(CosineAnnealingLR::new(0)), &["CosineAnnealingLR: t_max is 0"]),
    wrong(
        "CosineAnnealingWarmRestarts: no steps",
        || schedule(CosineAnnealingWarmRestarts::new(0)),
        &["CosineAnnealingWarmRestarts: t_0 is 0"],
    ),
    wrong(
        "CyclicLR: a mode that there is not",
        || schedule(CyclicLR::new(0.1, 1.0).mode("square")),
        &["CyclicLR: there is no mode \"square\"", "triangular2"],
    ),
    wrong(
        "CyclicLR: rates for other groups",
        || schedule(CyclicLR::new(0.1, [1.0, 2.0])),
        &["CyclicLR: max_lr has 2 values", "1 groups"],
    ),
    wrong(
        "CyclicLR: an optimizer without momentum",
        || {
            LrScheduler::new(CyclicLR::new(0.1, 1.0)).start(&mut Adagrad::groups([group()]))?;
            Ok(Tensor::zeros([]))
        },
        &["Adagrad has neither momentum nor betas", "cycle_momentum(false)"],
    ),
    wrong("OneCycleLR: no length", || schedule(OneCycleLR::new(1.0)), &["OneCycleLR", "total_steps"]),
    wrong(
        "OneCycleLR: a step too many",
        || schedule(OneCycleLR::new(1.0).total_steps(1)),
        &["OneCycleLR: step 2 of 1"],
    ),
    wrong(
        "OneCycleLR: a strategy that there is not",
        || schedule(OneCycleLR::new(1.0).total_steps(9).anneal_strategy("sine")),
        &["OneCycleLR: there is no anneal_strategy \"sine\""],
    ),
    wrong(
        "SequentialLR: too few milestones",
        || schedule(SequentialLR::new(vec![Box::new(StepLR::new(1)), Box::new(StepLR::new(2))], Vec::new())),
        &["SequentialLR: 2 schedules and 0 milestones"],
    ),
    wrong("ChainedScheduler: nothing", || schedule(ChainedScheduler::new(Vec::new())), &["ChainedScheduler"]),
    wrong(
        "LambdaLR: functions for other groups",
        || schedule(LambdaLR::per_group(vec![Box::new(|_| 1.0), Box::new(|_| 1.0)])),
        &["LambdaLR: 2 functions for 1 groups"],
    ),
    wrong("ReduceLROnPlateau: a factor of 1", || plateau(ReduceLROnPlateau::new().factor(1.0)), &["the factor is 1"]),
    wrong(
        "ReduceLROnPlateau: a mode that there is not",
        || plateau(ReduceLROnPlateau::new().mode("least")),
        &["ReduceLROnPlateau: there is no mode \"least\""],
    ),
    wrong(
        "AveragedModel: its own parameters",
        || {
            let model = Linear::new(2, 1);
            AveragedModel::new(model.clone()).update_parameters(&model)?;
            Ok(Tensor::zeros([]))
        },
        &["AveragedModel: weight is the model's own", "a second model"],
    ),
    wrong(
        "AveragedModel: another model",
        || {
            AveragedModel::new(Linear::new(2, 1)).update_parameters(&Linear::new(3, 1))?;
            Ok(Tensor::zeros([]))
        },
        &["AveragedModel: weight is [1, 2], in the model [1, 3]"],
    ),
    wrong(
        "AveragedModel: a decay above 1",
        || {
            let (model, other) = (Linear::new(2, 1), Linear::new(2, 1));
            let ema = AveragedModel::new(other).avg_fn(get_ema_avg_fn(1.5));
            ema.update_parameters(&model)?;
            ema.update_parameters(&model)?;
            Ok(Tensor::zeros([]))
        },
        &["get_ema_avg_fn: the decay is 1.5"],
    ),
    wrong(
        "a state of another shape",
        || {
            let mut adam = Adam::groups([group()]);
            let mut state = limpid::StateDict::new();
            for name in ["step", "exp_avg", "exp_avg_sq"] {
                state.insert(format!("state.0.{name}"), Tensor::zeros([]));
            }
            match adam.load_state_dict(&state) {
                Ok(()) => Ok(Tensor::zeros([])),
                Err(error) => Ok(Tensor::failed(error)),
            }
        },
        &["exp_avg of 0 has shape [], not [1, 2]"],
    ),
];
