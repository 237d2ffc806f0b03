//! What taps see: values, gradients, statistics; and what they change.

use limpid::prelude::*;
use limpid::{Capture, loop_over, seeing};

fn f64s(t: &Tensor) -> Vec<f64> {
    t.to_vec::<f64>().unwrap()
}

/// relu(x·2) · [1, −3]: a network whose gradients are known.
fn known() -> Sequential {
    let (first, second) = (Linear::new(1, 2).bias(false), Linear::new(2, 1).bias(false));
    first.weight.set(&Tensor::from([[2.0f32], [-2.0]])).unwrap();
    second.weight.set(&Tensor::from([[1.0f32, -3.0]])).unwrap();
    Sequential::new().add(first).add(ReLU).add(second)
}

#[test]
fn gradients_are_those_of_the_returned_loss() {
    let net = known();
    let x = Tensor::from([[1.0f32], [-2.0]]);
    let seen = Tap::new("**").gradients().run(&net, || net.forward(&x).square().sum(..)).unwrap();
    // Results: 2 and −12; 2·y by the output, times the weight by the hidden values, 0 where relu is closed.
    assert_eq!(f64s(seen.get("2").unwrap()), [2.0, -12.0]);
    assert_eq!(f64s(seen.gradient("2").unwrap()), [4.0, -24.0]);
    assert_eq!(f64s(seen.gradient("1").unwrap()), [4.0, -12.0, -24.0, 72.0]);
    assert_eq!(f64s(seen.gradient("0").unwrap()), [4.0, 0.0, 0.0, 72.0]);
    assert_eq!(seen.paths(), ["0", "1", "2", ""]);
    let error = Tap::new("**").gradients().run(&net, || net.forward(&x)).unwrap_err().to_string();
    assert!(error.contains("[2, 1]") && error.contains("loss"), "{error}");
}

#[test]
fn gradients_of_a_step_are_those_before_it() {
    let x = Tensor::from([[1.0f32], [-2.0]]);
    let net = known();
    let wanted = Tap::new("1").gradients().run(&net, || net.forward(&x).square().sum(..)).unwrap();
    let mut sgd = SGD::new(&net).lr(0.01);
    let seen = Tap::new("1").gradients().run(&net, || {
        let loss = net.forward(&x).square().sum(..);
        sgd.step(&loss).unwrap();
        loss
    });
    let seen = seen.unwrap();
    assert_eq!(f64s(seen.gradient("1").unwrap()), f64s(wanted.gradient("1").unwrap()));
    assert_eq!(f64s(seen.get("1").unwrap()), f64s(wanted.get("1").unwrap()));
    let twice = Tap::new("1").gradients().run(&net, || {
        let loss = net.forward(&x).square().sum(..);
        let total = loss.gradients(&net).unwrap() + loss.gradients(&net).unwrap();
        total.eval().unwrap();
        loss
    });
    let once = Tap::new("1").gradients().run(&net, || net.forward(&x).square().sum(..)).unwrap();
    let doubled: Vec<f64> = f64s(once.gradient("1").unwrap()).iter().map(|g| 2.0 * g).collect();
    assert_eq!(f64s(twice.unwrap().gradient("1").unwrap()), doubled, "passes add up");
}

/// The weights after some steps, and what the last one saw.
fn trained(tapped: impl Fn() -> Option<Tap>) -> (Vec<u32>, Option<limpid::Seen>) {
    manual_seed(3);
    let net = Sequential::new().add(Linear::new(5, 16)).add(GELU).add(Dropout::new(0.25)).add(Linear::new(16, 3));
    let mut adam = Adam::new(&net).lr(0.01);
    let (x, y) = (Tensor::randn([32, 5]), Tensor::arange(0, 32, 1) % 3);
    let mut last = None;
    for _ in 0..6 {
        let mut step = || {
            let loss = cross_entropy(&net.forward(&x), &y);
            adam.step(&loss).unwrap();
            loss
        };
        match tapped() {
            Some(tap) => last = Some(tap.run(&net, step).unwrap()),
            None => drop(step()),
        }
    }
    let weights =
        net.parameters().iter().flat_map(|p| p.value().unwrap().to_vec::<f32>().unwrap()).map(f32::to_bits).collect();
    (weights, last)
}

#[test]
fn a_tap_changes_no_bit_of_the_training() {
    let (plain, _) = trained(|| None);
    let taps: [fn() -> Tap; 4] = [
        || Tap::new("**"),
        || Tap::new("**").gradients(),
        || Tap::new("**").statistics(16),
        || Tap::new("**").gradients().statistics(16),
    ];
    for tap in taps {
        assert_eq!(trained(|| Some(tap())).0, plain);
    }
}

#[test]
fn statistics_are_those_of_the_values() {
    let (_, values) = trained(|| Some(Tap::new("**").gradients()));
    let (_, numbers) = trained(|| Some(Tap::new("**").gradients().statistics(4)));
    let (values, numbers) = (values.unwrap(), numbers.unwrap());
    let check = |tensor: &Tensor, found: limpid::Statistics| {
        let v = f64s(tensor);
        let (n, mean) = (v.len() as f64, v.iter().sum::<f64>() / v.len() as f64);
        let std = (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        assert_eq!((found.count, found.non_finite), (v.len() as u64, 0));
        assert_eq!(found.zeros, v.iter().filter(|x| **x == 0.0).count() as u64);
        assert!((found.mean - mean).abs() < 1e-9 && (found.std - std).abs() < 1e-9, "{found:?} {mean} {std}");
        assert_eq!(found.min, v.iter().copied().fold(f64::INFINITY, f64::min));
        assert_eq!(found.max, v.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        assert_eq!(found.histogram.iter().sum::<u64>(), found.count);
    };
    for path in ["0", "1", "2", "3"] {
        check(values.get(path).unwrap(), numbers.statistics(path).unwrap());
        check(values.gradient(path).unwrap(), numbers.gradient_statistics(path).unwrap());
        assert!(numbers.get(path).is_none(), "no tensor is kept");
    }
    let text = numbers.statistics("2").unwrap().to_string();
    assert!(text.contains("% zero") && text.ends_with(|c| ('▁'..='█').contains(&c)), "{text}");
}

#[test]
fn values_are_replaced_as_they_flow() {
    let net = known();
    let x = Tensor::from([[1.0f32]]);
    let with = |change: fn(&Tensor) -> Tensor| {
        let seen = Tap::new("1").replace("**:ReLU", change).run(&net, || net.forward(&x)).unwrap();
        (f64s(seen.get("1").unwrap()), f64s(seen.output()))
    };
    assert_eq!(with(|y| y.zeros_like()), (vec![0.0, 0.0], vec![0.0]));
    assert_eq!(with(|y| y * 3.0), (vec![6.0, 0.0], vec![6.0]));
    assert_eq!(with(|_| Tensor::from([[1.0f32, 1.0]])), (vec![1.0, 1.0], vec![-2.0]));
    // Gradients flow through the replacement: three times as steep.
    let weights = |tap: Tap| {
        let mut found = None;
        let loss = || {
            let loss = net.forward(&x).sum(..);
            found = Some(f64s(loss.gradients(&net).unwrap().get("0.weight").unwrap()));
            loss
        };
        tap.run(&net, loss).unwrap();
        found.unwrap()
    };
    assert_eq!(weights(Tap::new("**")), [1.0, 0.0]);
    assert_eq!(weights(Tap::new("**").replace("1", |y| y * 3.0)), [3.0, 0.0]);
    // Two taps: the inner one changes first.
    let inner = || Tap::new("1").replace("1", |y| y + 1.0).run(&net, || net.forward(&x)).unwrap().output().clone();
    let both = Tap::new("1").replace("1", |y| y * 10.0).run(&net, inner).unwrap();
    assert_eq!(f64s(both.get("1").unwrap()), [30.0, 10.0]);
}

#[test]
fn wrong_replacements_are_named() {
    let net = known();
    let x = Tensor::from([[1.0f32]]);
    let error = Tap::new("**").replace("1", |y| y.sum(..)).run(&net, || net.forward(&x)).unwrap_err().to_string();
    assert!(error.starts_with("tap: 1 is f32 [1, 2], what is to replace it is f32 []"), "{error}");
    let error = Tap::new("**").replace("7", |y| y.clone()).run(&net, || net.forward(&x)).unwrap_err().to_string();
    assert!(error.starts_with("tap: nothing matches \"7\""), "{error}");
}

#[derive(Module)]
struct Named {
    linear: Linear,
    #[module(skip)]
    runs: std::sync::atomic::AtomicUsize,
}

impl Named {
    #[forward]
    fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.linear.forward(x).tap("scores");
        if seeing::tap_wanted("weights") {
            self.runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let _ = y.softmax(-1).tap("weights");
        }
        // What runs many times is not seen.
        loop_over(&[y.clone()], &[Tensor::ones([3, 1])], |c, s| (vec![(&c[0] * &s[0]).tap("inside")], vec![]))
            .0
            .remove(0)
    }
}

#[test]
fn named_values_are_seen_replaced_and_computed_on_demand() {
    let net = Named { linear: Linear::new(2, 2), runs: 0.into() };
    let x = Tensor::ones([1, 2]);
    let plain = f64s(&net.forward(&x));
    let seen = tap(&net, "**", || net.forward(&x)).unwrap();
    assert_eq!(seen.paths(), ["linear", "scores", "weights"]);
    assert!((f64s(seen.get("weights").unwrap()).iter().sum::<f64>() - 1.0).abs() < 1e-6);
    assert_eq!(f64s(seen.output()), plain);
    let before = net.runs.load(std::sync::atomic::Ordering::Relaxed);
    let scores = Tap::new("scores").replace("scores", |y| y * 2.0).run(&net, || net.forward(&x)).unwrap();
    assert_eq!(f64s(scores.output()), plain.iter().map(|y| 2.0 * y).collect::<Vec<_>>());
    assert_eq!((before, net.runs.load(std::sync::atomic::Ordering::Relaxed)), (1, 1), "only who asks pays");
}

#[test]
fn captures_notice_modes_frozen_parameters_and_taps() {
    let net = Sequential::new().add(Linear::new(2, 4)).add(Dropout::new(0.5)).add(Linear::new(4, 1));
    let x = Tensor::ones([8, 2]);
    let mut sgd = SGD::new(&net).lr(0.1);
    let mut step = Capture::new(|v: &[Tensor]| {
        let loss = net.forward(&v[0]).square().mean(..);
        sgd.step(&loss).unwrap();
        vec![loss]
    });
    let weights = || net.state_dict().get("0.weight").unwrap().to_vec::<f32>().unwrap();
    for _ in 0..4 {
        step.run(&[&x]).unwrap();
    }
    assert!(step.is_frozen());
    for _ in 0..3 {
        let before = f64s(&net.forward(&x));
        let run = || step.run(&[&x]).unwrap().remove(0);
        let seen = Tap::new("2").gradients().run(&net, run).unwrap();
        let (y, g) = (f64s(seen.get("2").unwrap()), f64s(seen.gradient("2").unwrap()));
        assert!(before.len() == 8 && y.iter().zip(&g).all(|(y, g)| (g - y / 4.0).abs() < 1e-6), "{y:?} {g:?}");
    }
    net.eval();
    let plain = f64s(&net.forward(&x).square().mean(..));
    assert_eq!(f64s(&step.run(&[&x]).unwrap()[0]), plain, "no dropout in evaluation");
    net.freeze("0.*").unwrap();
    let frozen = weights();
    for _ in 0..3 {
        step.run(&[&x]).unwrap();
    }
    assert_eq!(weights(), frozen);
}
