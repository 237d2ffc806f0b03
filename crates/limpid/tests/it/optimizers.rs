//! Optimizers: resumed to the same bits, one plan whatever the rates, options by group, L-BFGS beside torch.

use limpid::prelude::*;
use limpid::{Capture, stats};

fn values(p: &Parameter) -> Vec<f64> {
    p.value().unwrap().to_vec().unwrap()
}

fn matrix() -> Parameter {
    Parameter::new(&Tensor::from([[0.5f64, -1.0, 2.0], [1.5, 0.25, -0.75]]))
}

fn loss(p: &Parameter) -> Tensor {
    let target = Tensor::from([[1.0f64, 0.0, 0.5], [-1.0, 2.0, 0.0]]);
    (p.tensor() - target).square().sum(..) + p.tensor().sin().sum(..)
}

type Make = fn(Group) -> Box<dyn Optimizer>;

/// Every optimizer with all its state in use.
const ALL: &[(&str, Make)] = &[
    ("ASGD", |g| Box::new(ASGD::groups([g]).lr(0.05).t0(2.0).lambd(0.1).weight_decay(0.1))),
    ("Adadelta", |g| Box::new(Adadelta::groups([g]).weight_decay(0.1))),
    ("Adafactor", |g| Box::new(Adafactor::groups([g]).weight_decay(0.1))),
    ("Adagrad", |g| Box::new(Adagrad::groups([g]).lr(0.1).lr_decay(0.1).initial_accumulator_value(0.5))),
    ("Adam", |g| Box::new(Adam::groups([g]).lr(0.1).amsgrad(true).weight_decay(0.1))),
    ("AdamW", |g| Box::new(AdamW::groups([g]).lr(0.1).maximize(true))),
    ("Adamax", |g| Box::new(Adamax::groups([g]).lr(0.1))),
    ("LBFGS", |g| Box::new(LBFGS::groups([g]).lr(0.1).max_iter(2).history_size(3))),
    ("LBFGS with a line search", |g| Box::new(LBFGS::groups([g]).max_iter(2).line_search_fn("strong_wolfe"))),
    ("Muon", |g| Box::new(Muon::groups([g]).lr(0.1))),
    ("NAdam", |g| Box::new(NAdam::groups([g]).lr(0.1).decoupled_weight_decay(true).weight_decay(0.1))),
    ("RAdam", |g| Box::new(RAdam::groups([g]).lr(0.1).betas((0.9, 0.9)))),
    ("RMSprop", |g| Box::new(RMSprop::groups([g]).centered(true).momentum(0.9))),
    ("Rprop", |g| Box::new(Rprop::groups([g]))),
    ("SGD", |g| Box::new(SGD::groups([g]).lr(0.1).momentum(0.9).dampening(0.5))),
];

#[test]
fn an_optimizer_goes_on_from_its_state_to_the_same_bits() -> limpid::Result<()> {
    for (name, make) in ALL {
        let step = |p: &Parameter, o: &mut Box<dyn Optimizer>| o.step_by(&mut || loss(p)).map(drop);
        let whole = matrix();
        let mut optimizer = make(Group::of(&[whole.clone()]));
        (0..3).try_for_each(|_| step(&whole, &mut optimizer))?;
        let (state, value) = (optimizer.state_dict(), whole.value()?);
        (0..3).try_for_each(|_| step(&whole, &mut optimizer))?;
        let resumed = Parameter::new(&value);
        let mut optimizer = make(Group::of(&[resumed.clone()]));
        optimizer.load_state_dict(&state)?;
        (0..3).try_for_each(|_| step(&resumed, &mut optimizer))?;
        assert_eq!(values(&whole), values(&resumed), "{name}");
        assert_ne!(values(&whole), value.to_vec::<f64>()?, "{name}");
    }
    Ok(())
}

#[test]
fn rates_and_momenta_that_change_make_no_new_plan() -> limpid::Result<()> {
    for (name, make) in ALL.iter().filter(|(name, _)| !name.starts_with("LBFGS")) {
        let p = matrix();
        let mut optimizer = make(Group::of(&[p.clone()]));
        let cycles = optimizer.momenta().is_some();
        let mut schedule = LrScheduler::new(CyclicLR::new(0.01, 0.1).step_size_up(3).cycle_momentum(cycles));
        schedule.start(&mut *optimizer)?;
        let mut step = || {
            optimizer.step_by(&mut || loss(&p))?;
            schedule.step(&mut *optimizer)
        };
        (0..2).try_for_each(|_| step())?;
        let before = stats().plans;
        (0..5).try_for_each(|_| step())?;
        assert_eq!(stats().plans, before, "{name}");
    }
    Ok(())
}

#[test]
fn a_group_has_options_of_its_own() -> limpid::Result<()> {
    let (a, b) = (matrix(), matrix());
    let own = Group::of(&[b.clone()]).option("momentum", 0.0).option("maximize", true).lr(0.01);
    let mut sgd = SGD::groups([Group::of(&[a.clone()]), own]).lr(0.1).momentum(0.9);
    assert_eq!((sgd.rates(), sgd.momenta()), (vec![0.1, 0.01], Some(vec![0.9, 0.0])));
    for _ in 0..2 {
        sgd.step(&(a.tensor().sum(..) + b.tensor().sum(..)))?;
    }
    // The gradient is 1: −0.1 and −0.19 with momentum, +0.01 twice without.
    assert!((values(&a)[0] - (0.5 - 0.1 - 0.19)).abs() < 1e-12);
    assert!((values(&b)[0] - (0.5 + 0.02)).abs() < 1e-12);
    Ok(())
}

#[test]
fn a_group_comes_later() -> limpid::Result<()> {
    let (a, b) = (matrix(), matrix());
    let mut sgd = SGD::groups([Group::of(&[a.clone()])]).lr(0.5).momentum(0.25);
    sgd.step(&a.tensor().sum(..))?;
    sgd.set_lr(0.125)?;
    // torch: the new group has the rate of the constructor, not the one of now.
    sgd.add_param_group(Group::of(&[b.clone()]).option("maximize", true))?;
    assert_eq!((sgd.rates(), sgd.momenta()), (vec![0.125, 0.5], Some(vec![0.25, 0.25])));
    sgd.step(&(a.tensor().sum(..) + b.tensor().sum(..)))?;
    assert!((values(&a)[0] - (0.5 - 0.5 - 0.125 * 1.25)).abs() < 1e-12);
    assert!((values(&b)[0] - (0.5 + 0.5)).abs() < 1e-12);
    let refused = [
        Group::of(&[a.clone()]),
        Group::of(&[b.clone()]),
        Group::of(&[matrix()]).option("betas", 0.5),
        Group::of(&[matrix()]).lr(-1.0),
    ];
    for group in refused {
        assert!(sgd.add_param_group(group).is_err());
    }
    assert_eq!(sgd.rates(), [0.125, 0.5], "nothing is changed by what is refused");
    sgd.step(&(a.tensor().sum(..) + b.tensor().sum(..)))?;
    assert!(LBFGS::groups([Group::of(&[a])]).add_param_group(Group::of(&[b])).is_err());
    Ok(())
}

fn rosenbrock(x: &Parameter) -> Tensor {
    let (a, b) = (x.tensor().select(0, 0), x.tensor().select(0, 1));
    (&a - 1.0).square() + (b - a.square()).square() * 100.0
}

#[test]
fn lbfgs_takes_the_way_of_torch() -> limpid::Result<()> {
    // From torch 2.15: the loss before the step, the place after it, and evaluations so far.
    let wolfe: &[(f64, [f64; 2], i64)] = &[
        (24.199999999999996, [0.38062264334648777, 0.12491013187293636], 25),
        (0.4234823024380289, [0.9999814210791366, 0.9999619651810989], 44),
        (4.221457511263308e-10, [0.9999814210791366, 0.9999619651810989], 45),
    ];
    let fixed: &[(f64, [f64; 2], i64)] = &[
        (24.199999999999996, [-1.02221297883133, 1.047205279251373], 10),
        (4.089867867994004, [-0.4583692865183132, 0.19534273340880481], 20),
        (2.1486257599824747, [0.4738888536301531, 0.12132746030625097], 30),
    ];
    let makes: [(fn(Group) -> LBFGS, _); 2] = [
        (|g| LBFGS::groups([g]).line_search_fn("strong_wolfe"), wolfe),
        (|g| LBFGS::groups([g]).lr(0.5).max_iter(10).history_size(3), fixed),
    ];
    for (make, expected) in makes {
        let x = Parameter::new(&Tensor::from([-1.2f64, 1.0]));
        let (mut lbfgs, mut asked) = (make(Group::of(&[x.clone()])), 0);
        for (loss, place, evaluations) in expected {
            let found = lbfgs.step_with(|| {
                asked += 1;
                rosenbrock(&x)
            })?;
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-7 * b.abs() + 1e-9;
            assert!(close(found.item()?, *loss), "{} {loss}", found.item()?);
            assert!(values(&x).iter().zip(place).all(|(a, b)| close(*a, *b)), "{:?} {place:?}", values(&x));
            assert_eq!(asked, *evaluations);
        }
    }
    Ok(())
}

#[test]
fn an_lbfgs_step_that_fails_leaves_nothing_behind() -> limpid::Result<()> {
    let x = Parameter::new(&Tensor::from([-1.2f64, 1.0]));
    let mut lbfgs = LBFGS::groups([Group::of(&[x.clone()])]).line_search_fn("strong_wolfe").max_iter(4);
    lbfgs.step_with(|| rosenbrock(&x))?;
    let state = |o: &LBFGS| o.state_dict().iter().map(|(_, t)| t.to_bytes().unwrap()).collect::<Vec<_>>();
    let before = (values(&x), state(&lbfgs));
    let mut asked = 0;
    let error = lbfgs.step_with(|| {
        asked += 1;
        let y = rosenbrock(&x);
        if asked == 3 { (y + f64::INFINITY).check_finite("loss") } else { y }
    });
    assert!(error.unwrap_err().what().starts_with("loss: not finite"));
    assert_eq!((values(&x), state(&lbfgs)), before);
    Ok(())
}

#[test]
fn a_schedule_goes_on_from_its_state() -> limpid::Result<()> {
    let makes: [fn() -> Box<dyn limpid::optim::Schedule>; 5] = [
        || Box::new(CosineAnnealingLR::new(5).eta_min(0.01)),
        || Box::new(OneCycleLR::new(0.5).total_steps(12)),
        || {
            Box::new(SequentialLR::new(
                vec![Box::new(LinearLR::default()), Box::new(ExponentialLR { gamma: 0.9 })],
                [4],
            ))
        },
        || Box::new(CosineAnnealingWarmRestarts::new(3).t_mult(2)),
        || Box::new(SWALR::new(0.01).anneal_epochs(4)),
    ];
    for make in makes {
        let sgd = || SGD::groups([Group::of(&[matrix()])]).lr(0.1).momentum(0.9);
        let (mut whole, mut schedule) = (sgd(), LrScheduler::new(make()));
        (0..4).try_for_each(|_| schedule.step(&mut whole))?;
        let states = (whole.state_dict(), schedule.state_dict());
        (0..4).try_for_each(|_| schedule.step(&mut whole))?;
        let (mut resumed, mut again) = (sgd(), LrScheduler::new(make()));
        resumed.load_state_dict(&states.0)?;
        again.load_state_dict(&states.1)?;
        (0..4).try_for_each(|_| again.step(&mut resumed))?;
        assert_eq!((whole.rates(), whole.momenta()), (resumed.rates(), resumed.momenta()), "{schedule:?}");
    }
    Ok(())
}

#[test]
fn a_plateau_goes_on_from_its_state() -> limpid::Result<()> {
    let sgd = || SGD::groups([Group::of(&[matrix()])]).lr(1.0);
    let make = || ReduceLROnPlateau::new().factor(0.5).patience(2).cooldown(1);
    let (mut whole, mut plateau) = (sgd(), make());
    (0..3).try_for_each(|_| plateau.step(1.0, &mut whole))?;
    let states = (whole.state_dict(), plateau.state_dict());
    let (mut resumed, mut again) = (sgd(), make());
    resumed.load_state_dict(&states.0)?;
    again.load_state_dict(&states.1)?;
    for (o, p) in [(&mut whole, &mut plateau), (&mut resumed, &mut again)] {
        p.step(1.0, o)?;
        assert_eq!(o.rates(), [0.5], "the third bad step");
    }
    Ok(())
}

#[test]
fn weights_are_annealed_to_a_constant_rate() -> limpid::Result<()> {
    // From torch 2.15: SGD(lr=1) with SWALR(swa_lr=0.1, anneal_epochs=4), cosine and linear.
    let expected = [
        ("cos", [1.0, 0.8681980515339464, 0.55, 0.23180194846605366, 0.1, 0.1]),
        ("linear", [1.0, 0.775, 0.55, 0.325, 0.1, 0.1]),
    ];
    for (strategy, expected) in expected {
        let mut sgd = SGD::groups([Group::of(&[matrix()])]).lr(1.0);
        let mut schedule = LrScheduler::new(SWALR::new(0.1).anneal_epochs(4).anneal_strategy(strategy));
        schedule.start(&mut sgd)?;
        for (step, rate) in expected.into_iter().enumerate() {
            assert!((sgd.rates()[0] - rate).abs() < 1e-12, "{strategy} {step}: {:?}", sgd.rates());
            schedule.step(&mut sgd)?;
        }
    }
    Ok(())
}

#[test]
fn averages_of_weights_are_those_of_torch() -> limpid::Result<()> {
    use limpid::optim::{AveragedModel, get_ema_avg_fn, get_swa_avg_fn};
    let build = || {
        Sequential::new()
            .add(Linear::new(2, 1).bias(false).dtype(DType::F64))
            .add(BatchNorm1d::new(1).dtype(DType::F64))
    };
    // From torch 2.15: weights, running mean and count of batches after three updates.
    let cases = [
        (false, false, [1.0, 0.33333333333333326], 1.0, 2.0),
        (false, true, [1.0, 0.33333333333333326], 0.5, 0.0),
        (true, false, [0.2899999999999999, 1.51], 1.0, 2.0),
        (true, true, [0.2899999999999999, 1.51], 0.14499999999999996, 0.0),
    ];
    for (ema, use_buffers, weight, mean, batches) in cases {
        let model = build();
        let average = if ema { get_ema_avg_fn(0.9) } else { get_swa_avg_fn() };
        let averaged = AveragedModel::new(build()).avg_fn(average).use_buffers(use_buffers);
        for k in 0..3 {
            let k = f64::from(k);
            let mut state = model.state_dict();
            state.insert("0.weight", Tensor::from([[k, 2.0 - k * k]]));
            state.insert("1.running_mean", Tensor::from([0.5 * k]));
            state.insert("1.num_batches_tracked", Tensor::from(k as i64));
            model.load_state_dict(&state, true)?;
            averaged.update_parameters(&model)?;
        }
        let state = averaged.state_dict();
        let names: Vec<&str> = state.names().collect();
        assert_eq!(names[..2], ["n_averaged", "module.0.weight"]);
        let get = |name: &str| state.get(name).expect("it is there").to_dtype(DType::F64).flatten(0).to_vec::<f64>();
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close(&get("module.0.weight")?, &weight), "{ema} {use_buffers}: {:?}", get("module.0.weight")?);
        assert!(close(&get("module.1.running_mean")?, &[mean]), "{ema} {use_buffers}");
        assert_eq!(get("module.1.num_batches_tracked")?, [batches]);
        assert_eq!(get("n_averaged")?, [3.0]);
    }
    Ok(())
}

#[test]
fn statistics_of_batches_are_computed_anew() -> limpid::Result<()> {
    let norm = BatchNorm1d::new(1).dtype(DType::F64);
    norm.eval();
    let batches = [Tensor::from([[1.0f64], [3.0]]), Tensor::from([[4.0f64], [6.0], [5.0]])];
    limpid::optim::update_bn(batches, &norm)?;
    let read = |b: &Option<limpid::Buffer>| b.as_ref().expect("it tracks").value().and_then(|t| t.item());
    // The means of (2, 5) and of the unbiased variances (2, 1), as torch 2.15.
    assert_eq!((read(&norm.running_mean)?, read(&norm.running_var)?), (3.5, 1.5));
    assert_eq!(read(&norm.num_batches_tracked)?, 2.0);
    assert!(!norm.is_training());
    Ok(())
}

#[test]
fn steps_are_captured_from_the_first_one_on() -> limpid::Result<()> {
    // What an optimizer keeps is made in its first step, which the capture records. LBFGS reads its losses.
    for (name, make) in ALL.iter().filter(|(name, _)| !name.starts_with("LBFGS")) {
        let losses = |captured: bool| {
            let (p, x) = (matrix(), Tensor::from(0.5f64));
            let mut optimizer = make(Group::of(&[p.clone()]));
            let mut step = move |x: &[Tensor]| {
                let loss = loss(&p) * &x[0];
                vec![optimizer.step(&loss).map_or_else(Tensor::failed, |loss| (*loss).clone())]
            };
            if captured {
                let mut capture = Capture::new(step);
                (0..5).map(|_| capture.run(&[&x])?[0].item()).collect::<limpid::Result<Vec<f64>>>()
            } else {
                (0..5).map(|_| step(&[x.clone()])[0].item()).collect()
            }
        };
        assert_eq!(losses(true)?, losses(false)?, "{name}");
    }
    Ok(())
}
