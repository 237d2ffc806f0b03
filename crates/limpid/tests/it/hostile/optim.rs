//! Optimizers and schedules with absurd options, and what changes parameters: initialisation, pruning, parametrizations.

use limpid::Error;
use limpid::nn::init;
use limpid::nn::utils::{parameters_to_vector, parametrizations, prune, vector_to_parameters};
use limpid::optim::{AveragedModel, get_ema_avg_fn};
use limpid::prelude::*;

use super::{Call, Dice};

/// A result without a tensor, as one.
fn told(result: Result<(), Error>) -> Vec<Tensor> {
    // The error of an optimizer or of an initialisation is returned, not carried.
    if let Err(error) = result {
        drop(error.to_string());
    }
    Vec::new()
}

fn steps(d: &mut Dice, model: &Linear, optimizer: &mut dyn Optimizer) -> Vec<Tensor> {
    let x = d.f(&[3, 4]);
    for _ in 0..2 {
        let loss = model.forward(&x).square().mean(..);
        if optimizer.step_by(&mut || loss.clone()).is_err() {
            break;
        }
    }
    let _ = optimizer.set_lr(d.real(0.1));
    let _ = (optimizer.rates(), optimizer.momenta());
    let state = optimizer.state_dict();
    let mut out = told(optimizer.load_state_dict(&state));
    out.extend(model.parameters().iter().map(Parameter::tensor));
    out
}

macro_rules! optimizers {
    ($($name:ident |$d:ident, $o:ident| $with:expr;)*) => { &[$((stringify!($name), |$d: &mut Dice| {
        let model = Linear::new(4, 3).dtype($d.dtype());
        let $o = $name::new(&model).lr($d.real(0.1));
        let mut optimizer = $with;
        steps($d, &model, &mut optimizer)
    }),)*
    ("clipping", |d| {
        let model = Linear::new(4, 3);
        let Ok(grads) = model.forward(&d.f(&[2, 4])).square().mean(..).gradients(&model) else { return vec![] };
        let norm = grads.total_norm(d.real(2.0));
        let o = ClipNorm::new().norm_type(d.real(2.0)).error_if_nonfinite(d.flag());
        let grads = grads.clip_norm_with(d.real(1.0), &o).clip_value(d.real(1.0)).scale(d.real(1.0));
        let grads = grads.clip_with_norm(d.real(1.0), &d.part(&[]));
        let out = vec![norm, grads.norm()];
        let _ = SGD::new(&model).apply(grads);
        out
    }),
    ("AveragedModel", |d| {
        let average = AveragedModel::new(Linear::new(4, 3)).avg_fn(get_ema_avg_fn(d.real(0.9)));
        let average = average.use_buffers(d.flag());
        let _ = average.update_parameters(&Linear::new(d.few(4), 3));
        vec![average.forward(&d.f(&[2, 4]))]
    }),
    ] };
}

pub const STEPS: &[Call] = optimizers! {
    SGD |d, o| {
        o.momentum(d.real(0.9)).dampening(d.real(0.0)).weight_decay(d.real(0.0)).nesterov(d.flag()).maximize(d.flag())
    };
    Adam |d, o| o.betas((d.real(0.9), d.real(0.9))).eps(d.real(1e-8)).weight_decay(d.real(0.0)).amsgrad(d.flag());
    AdamW |d, o| o.betas((d.real(0.9), d.real(0.9))).eps(d.real(1e-8)).weight_decay(d.real(0.0)).maximize(d.flag());
    Rprop |d, o| o.etas((d.real(0.5), d.real(1.2))).step_sizes((d.real(1e-6), d.real(50.0)));
    Muon |d, o| o.weight_decay(d.real(0.0)).momentum(d.real(0.9)).eps(d.real(1e-7)).ns_steps(d.few(5));
    Adafactor |d, o| o.beta2_decay(d.real(-0.8)).d(d.real(1.0)).eps(d.maybe(|d| d.real(1e-8)), d.real(1e-3));
    Adadelta |d, o| o.rho(d.real(0.9)).eps(d.real(1e-6)).weight_decay(d.real(0.0));
    Adagrad |d, o| o.lr_decay(d.real(0.0)).initial_accumulator_value(d.real(0.0)).eps(d.real(1e-10));
    Adamax |d, o| o.betas((d.real(0.9), d.real(0.9))).eps(d.real(1e-8)).weight_decay(d.real(0.0));
    ASGD |d, o| o.lambd(d.real(1e-4)).alpha(d.real(0.75)).t0(d.real(1e6)).weight_decay(d.real(0.0));
    NAdam |d, o| o.betas((d.real(0.9), d.real(0.9))).eps(d.real(1e-8)).momentum_decay(d.real(4e-3));
    RAdam |d, o| o.betas((d.real(0.9), d.real(0.9))).eps(d.real(1e-8)).weight_decay(d.real(0.0));
    RMSprop |d, o| o.alpha(d.real(0.99)).eps(d.real(1e-8)).momentum(d.real(0.0)).centered(d.flag());
    SparseAdam |d, o| o.betas((d.real(0.9), d.real(0.9))).eps(d.real(1e-8));
    LBFGS |d, o| {
        let o = o.max_iter(d.few(3)).history_size(d.n(3)).tolerance_grad(d.real(1e-7)).tolerance_change(d.real(1e-9));
        if d.flag() { o.line_search_fn(d.pick(&["strong_wolfe", ""])) } else { o }
    };
};

fn schedule(d: &mut Dice, schedule: impl Schedule + 'static) -> Vec<Tensor> {
    let mut sgd = SGD::new(&Linear::new(2, 1)).lr(d.real(0.1)).momentum(0.9);
    let mut scheduler = LrScheduler::new(schedule);
    let _ = scheduler.start(&mut sgd);
    for _ in 0..6 {
        let _ = scheduler.step(&mut sgd);
    }
    scheduler.set_steps(d.int(1000) as u64);
    let _ = scheduler.step(&mut sgd);
    let _ = scheduler.step(&mut sgd);
    let state = scheduler.state_dict();
    told(scheduler.load_state_dict(&state))
}

fn count(d: &mut Dice, usual: usize) -> u64 {
    d.n(usual) as u64
}

pub const SCHEDULES: &[Call] = &[
    ("StepLR", |d| {
        let s = StepLR::new(count(d, 2)).gamma(d.real(0.1));
        schedule(d, s)
    }),
    ("MultiStepLR", |d| {
        let milestones: Vec<u64> = d.list(&[2, 4]).into_iter().map(|n| n as u64).collect();
        let s = MultiStepLR::new(milestones).gamma(d.real(0.1));
        schedule(d, s)
    }),
    ("ConstantLR", |d| {
        let s = ConstantLR { factor: d.real(0.5), total_iters: count(d, 3) };
        schedule(d, s)
    }),
    ("LinearLR", |d| {
        let s = LinearLR { start_factor: d.real(0.5), end_factor: d.real(1.0), total_iters: count(d, 3) };
        schedule(d, s)
    }),
    ("ExponentialLR", |d| {
        let s = ExponentialLR { gamma: d.real(0.9) };
        schedule(d, s)
    }),
    ("PolynomialLR", |d| {
        let s = PolynomialLR { total_iters: count(d, 3), power: d.real(1.0) };
        schedule(d, s)
    }),
    ("CosineAnnealingLR", |d| {
        let s = CosineAnnealingLR::new(count(d, 3)).eta_min(d.real(0.0));
        schedule(d, s)
    }),
    ("CosineAnnealingWarmRestarts", |d| {
        let s = CosineAnnealingWarmRestarts::new(count(d, 3)).t_mult(count(d, 2)).eta_min(d.real(0.0));
        schedule(d, s)
    }),
    ("SWALR", |d| {
        let s = SWALR::new(d.real(0.1)).anneal_epochs(count(d, 3)).anneal_strategy(d.pick(&["cos", "linear", ""]));
        schedule(d, s)
    }),
    ("LambdaLR", |d| {
        let factor = d.real(0.9);
        schedule(d, LambdaLR::new(move |_| factor));
        schedule(d, MultiplicativeLR::new(move |_| factor))
    }),
    ("CyclicLR", |d| {
        let mut s = CyclicLR::new(d.real(0.1), d.real(1.0)).step_size_up(count(d, 3)).gamma(d.real(1.0));
        s = s.step_size_down(count(d, 2)).mode(d.pick(&["triangular", "triangular2", "exp_range", ""]));
        s = s.cycle_momentum(d.flag()).base_momentum(d.real(0.8)).max_momentum(d.real(0.9));
        schedule(d, s)
    }),
    ("OneCycleLR", |d| {
        let mut s = OneCycleLR::new(d.real(0.1)).pct_start(d.real(0.3)).div_factor(d.real(25.0));
        s = if d.flag() { s.total_steps(count(d, 6)) } else { s.epochs(count(d, 2)).steps_per_epoch(count(d, 3)) };
        s = s.anneal_strategy(d.pick(&["cos", "linear", ""])).three_phase(d.flag()).final_div_factor(d.real(1e4));
        schedule(d, s)
    }),
    ("SequentialLR", |d| {
        let all: Vec<Box<dyn Schedule>> = match d.few(2) {
            0 => vec![],
            1 => vec![Box::new(StepLR::new(1))],
            _ => vec![Box::new(StepLR::new(1)), Box::new(ConstantLR::default())],
        };
        let milestones: Vec<u64> = d.list(&[2]).into_iter().map(|n| n as u64).collect();
        schedule(d, SequentialLR::new(all, milestones));
        let all: Vec<Box<dyn Schedule>> = if d.flag() { vec![] } else { vec![Box::new(LinearLR::default())] };
        schedule(d, ChainedScheduler::new(all))
    }),
    ("ReduceLROnPlateau", |d| {
        let mut sgd = SGD::new(&Linear::new(2, 1)).lr(d.real(0.1));
        let mut s =
            ReduceLROnPlateau::new().mode(d.pick(&["min", "max", ""])).factor(d.real(0.1)).patience(count(d, 1));
        s = s.threshold(d.real(1e-4)).threshold_mode(d.pick(&["rel", "abs", ""])).cooldown(count(d, 0));
        s = s.min_lr(d.real(0.0)).eps(d.real(1e-8));
        for _ in 0..5 {
            let _ = s.step(d.real(1.0), &mut sgd);
        }
        let state = s.state_dict();
        told(s.load_state_dict(&state))
    }),
];

pub const PARAMETERS: &[Call] = &[
    ("initialisations", |d| {
        let p = d.parameter(&[4, 3]);
        let results = [
            init::uniform_(&p, d.real(0.0), d.real(1.0)),
            init::normal_(&p, d.real(0.0), d.real(1.0)),
            init::constant_(&p, d.real(0.0)),
            init::xavier_uniform_(&p, d.real(1.0)),
            init::xavier_normal_(&p, d.real(1.0)),
            init::trunc_normal_(&p, d.real(0.0), d.real(1.0), d.real(-2.0), d.real(2.0)),
            init::eye_(&p),
            init::orthogonal_(&p, d.real(1.0)),
            init::sparse_(&p, d.real(0.1), d.real(0.01)),
            init::dirac_(&d.parameter(&[4, 3, 2]), d.n(1)),
        ];
        results.into_iter().for_each(|result| drop(told(result)));
        vec![p.tensor()]
    }),
    ("prune", |d| {
        let p = d.parameter(&[4, 3]);
        let scores = d.maybe(|d| d.f(&[4, 3]));
        told(match d.pick(&[0, 1, 2, 3, 4, 5]) {
            0 => prune::random_unstructured(&p, d.real(0.5)),
            1 => prune::l1_unstructured(&p, d.n(2), scores.as_ref()),
            2 => prune::random_structured(&p, d.real(0.5), d.axis(2)),
            3 => prune::ln_structured(&p, d.n(1), d.real(2.0), d.axis(2), scores.as_ref()),
            4 => prune::custom_from_mask(&p, &d.mask(&[4, 3])),
            _ => {
                prune::global_unstructured(&[p.clone(), d.parameter(&[2])], prune::Method::L1Unstructured, d.real(0.5))
            }
        });
        let y = p.tensor();
        told(prune::remove(&p));
        vec![y, p.tensor()]
    }),
    ("parametrizations", |d| {
        use parametrizations::{OrthogonalMap, SpectralNormOptions, orthogonal, spectral_norm, weight_norm};
        let p = d.parameter(&[4, 3]);
        told(match d.pick(&[0, 1, 2]) {
            0 => weight_norm(&p, d.maybe(|d| d.n(0))),
            1 => {
                let o = SpectralNormOptions::new().n_power_iterations(d.few(1)).eps(d.real(1e-12)).dim(d.axis(2));
                spectral_norm(&p, &o)
            }
            _ => {
                let map = d.pick(&[OrthogonalMap::MatrixExp, OrthogonalMap::Cayley, OrthogonalMap::Householder]);
                orthogonal(&p, map, d.flag())
            }
        });
        vec![p.tensor()]
    }),
    ("vectors", |d| {
        let parameters = [d.parameter(&[2, 3]), d.parameter(&[2])];
        let some = &parameters[..d.few(2).min(2)];
        told(vector_to_parameters(&d.f(&[8]), some));
        vec![parameters_to_vector(some)]
    }),
];
