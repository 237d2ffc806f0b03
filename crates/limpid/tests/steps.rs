//! Steps that fail, groups, accumulation, several losses and optimizers, penalties.

use limpid::prelude::*;

fn values(p: &Parameter) -> Vec<f32> {
    p.value().unwrap().to_vec().unwrap()
}

#[test]
fn a_failed_step_leaves_nothing_behind() -> limpid::Result<()> {
    manual_seed(1);
    let table = Embedding::new(4, 2);
    let mut adam = Adam::new(&table).lr(0.1);
    let before = values(&table.weight);
    let loss = table.forward(&Tensor::from([1i64, 9])).sum(..);
    assert!(adam.step(&loss).is_err());
    assert!(loss.item().is_err());
    assert!(adam.step(&loss).is_err());
    assert_eq!(values(&table.weight), before);
    adam.step(&table.forward(&Tensor::from([1i64])).sum(..))?;
    // The first step of Adam moves by the rate, whatever failed before.
    let after = values(&table.weight);
    assert!((before[2] - after[2] - 0.1).abs() < 1e-5, "{} {}", before[2], after[2]);
    assert_eq!(after[0], before[0]);
    Ok(())
}

#[test]
fn groups_keep_their_own_rates() -> limpid::Result<()> {
    let (a, b) = (Parameter::new(&Tensor::from([1.0f32])), Parameter::new(&Tensor::from([1.0f32])));
    let mut sgd = SGD::groups([Group::of(&[a.clone()]).lr(0.5), Group::of(&[b.clone()])]).lr(0.1);
    assert_eq!(sgd.rates(), [0.5, 0.1]);
    sgd.step(&(a.tensor() + b.tensor()).sum(..))?;
    assert_eq!((values(&a), values(&b)), (vec![0.5], vec![0.9]));
    let mut twice = SGD::groups([Group::of(&[a.clone()]), Group::of(&[a.clone()])]);
    let error = twice.step(&a.tensor().sum(..)).unwrap_err().to_string();
    assert!(error.contains("is in two groups"), "{error}");
    assert_eq!(values(&a), [0.5]);
    Ok(())
}

#[test]
fn accumulated_micro_batches_are_one_batch() -> limpid::Result<()> {
    let x = Tensor::from([[1.0f32, 2.0], [3.0, -1.0], [0.5, 0.5], [2.0, 2.0]]);
    let train = |pieces: usize| -> limpid::Result<Vec<f32>> {
        manual_seed(3);
        let model = Linear::new(2, 1);
        let mut sgd = SGD::new(&model).lr(0.1);
        let mut total: Option<Gradients> = None;
        for part in x.chunk(pieces, 0) {
            let loss = model.forward(&part).square().sum(..) / 4.0;
            let g = loss.gradients(&model)?;
            total = Some(if let Some(t) = total { t + g } else { g });
        }
        sgd.apply(total.expect("at least one piece"))?;
        Ok(values(&model.weight))
    };
    let (whole, pieces) = (train(1)?, train(4)?);
    assert!(whole.iter().zip(&pieces).all(|(a, b)| (a - b).abs() < 1e-6), "{whole:?} {pieces:?}");
    Ok(())
}

#[test]
fn two_optimizers_take_turns() -> limpid::Result<()> {
    // A tiny GAN: the generator is untouched by the discriminator's step and the other way round.
    manual_seed(5);
    let (g, d) = (Linear::new(2, 2), Linear::new(2, 1));
    let (mut og, mut od) = (Adam::new(&g).lr(0.01), Adam::new(&d).lr(0.01));
    let real = Tensor::from([[1.0f32, 1.0]]);
    for _ in 0..3 {
        let (before_g, before_d) = (values(&g.weight), values(&d.weight));
        let fake = g.forward(&Tensor::randn([1, 2]));
        let loss = binary_cross_entropy_with_logits(&d.forward(&real), &Tensor::ones([1, 1]))
            + binary_cross_entropy_with_logits(&d.forward(&fake.detach()), &Tensor::zeros([1, 1]));
        od.step(&loss)?;
        assert_eq!(values(&g.weight), before_g);
        assert_ne!(values(&d.weight), before_d);
        let before_d = values(&d.weight);
        og.step(&binary_cross_entropy_with_logits(&d.forward(&fake), &Tensor::ones([1, 1])))?;
        assert_ne!(values(&g.weight), before_g);
        assert_eq!(values(&d.weight), before_d);
    }
    Ok(())
}

#[test]
fn a_gradient_penalty_is_differentiated_again() -> limpid::Result<()> {
    // f = w·x², the penalty (df/dx)² = (2wx)² at x = 3: d/dw = 2·(2wx)·2x = 8wx² = 72w.
    let w = Parameter::new(&Tensor::from([0.5f64]));
    let x = Tensor::from([3.0f64]).requires_grad_();
    let f = (w.tensor() * &x * &x).sum(..);
    let slope = gradients(&f, &[&x])?.remove(0).expect("f depends on x");
    let mut sgd = SGD::groups([Group::of(&[w.clone()])]).lr(0.01);
    sgd.step(&slope.square().sum(..))?;
    assert!((w.value()?.item()? - (0.5 - 0.01 * 36.0)).abs() < 1e-12);
    Ok(())
}

#[test]
fn closures_and_clipping() -> limpid::Result<()> {
    let w = Parameter::new(&Tensor::from([3.0f32, 4.0]));
    let mut sgd = SGD::groups([Group::of(&[w.clone()])]).lr(1.0);
    sgd.step_with(|| w.tensor().sum(..))?;
    assert_eq!(values(&w), [2.0, 3.0]);
    // The gradient of |w|²/2 is w: clipped from √13 to norm 1.
    let g = Gradients::new(&(w.tensor().square().sum(..) * 0.5), vec![("w".to_owned(), w.clone())])?.clip_norm(1.0);
    assert!((g.norm().item()? - 1.0).abs() < 1e-5);
    assert!((g.get("w").expect("reached").to_vec::<f32>()?[0] - 2.0 / 13f32.sqrt()).abs() < 1e-5);
    let g = g.scale(10.0).clip_value(0.25);
    sgd.apply(g)?;
    assert_eq!(values(&w), [1.75, 2.75]);
    Ok(())
}

#[test]
fn of_two_threads_that_step_one_parameter_each_step_is_made_or_refused() -> limpid::Result<()> {
    // The gradient is 1 everywhere: a step that succeeds moves every element by the rate, and no other moves any.
    let weight = Parameter::new(&Tensor::from([0.0f64, 100.0]));
    let steps = 200;
    let work = || {
        let mut sgd = SGD::groups([Group::of(&[weight.clone()])]).lr(1.0);
        let step = |_: &i32| match sgd.step(&weight.tensor().sum(..)) {
            Ok(_) => true,
            Err(error) => {
                let message = error.to_string();
                let refused = ["gradients: ", "read: ", "assign: "].iter().any(|start| message.starts_with(start));
                assert!(refused, "{message}");
                false
            }
        };
        (0..steps).filter(step).count()
    };
    for round in 0..20 {
        let before = values64(&weight)?[0];
        let done: usize = std::thread::scope(|scope| {
            let threads = [scope.spawn(work), scope.spawn(work)];
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
        });
        let after = before - done as f64;
        assert_eq!(values64(&weight)?, [after, after + 100.0], "round {round}: {done} steps");
        assert!(done >= steps as usize, "round {round}: of two threads that race, one goes on: {done}");
    }
    Ok(())
}

fn values64(p: &Parameter) -> limpid::Result<Vec<f64>> {
    p.value()?.to_vec()
}

#[test]
fn a_clipped_step_that_fails_leaves_nothing_behind() -> limpid::Result<()> {
    use limpid::data::Dataset;
    use limpid::train::{Options, Schedule, Trainer};
    use std::ops::ControlFlow;
    let features = Tensor::from([[1.0f32, 2.0], [3.0, 1e30]]);
    let data = Dataset::regression("two", features, Tensor::from([[1.0f32], [2.0]]), vec!["y".into()])?;
    for clip_norm in [None, Some(1.0)] {
        manual_seed(1);
        let model = Sequential::new().add(Linear::new(2, 1));
        let options =
            Options { epochs: 1, batch: 2, seed: 0, lr: 0.1, schedule: Schedule::Constant, warmup: 0.0, clip_norm };
        let loss = |x: &Tensor, y: &Tensor| mse_loss(x, y);
        let before: Vec<Vec<f32>> = model.parameters().iter().map(values).collect();
        let adam = Box::new(Adam::new(&model).lr(0.1));
        let mut trainer = Trainer::new(&model, adam, &loss, &loss, &data, None, options)?;
        let error = trainer.run(&mut |_, _| Ok(ControlFlow::Continue(()))).unwrap_err().to_string();
        assert!(error.contains("step 1"), "{error}");
        let after: Vec<Vec<f32>> = model.parameters().iter().map(values).collect();
        assert_eq!(before, after, "clip_norm {clip_norm:?}");
        // The optimizer has counted no step.
        let state = trainer.checkpoint().optimizer;
        let steps = state.iter().filter(|(name, _)| name.ends_with(".step"));
        assert!(steps.map(|(_, t)| t.item().unwrap()).all(|n| n == 0.0), "clip_norm {clip_norm:?}");
    }
    Ok(())
}

#[test]
fn clipped_gradients_of_a_loss_that_fails_change_no_parameter_and_no_state() -> limpid::Result<()> {
    manual_seed(1);
    let table = Embedding::new(4, 2);
    let mut adam = Adam::new(&table).lr(0.1);
    let loss = |index: i64| table.forward(&Tensor::from([1i64, index])).square().sum(..);
    adam.apply(loss(2).gradients(&table)?.clip_norm(1.0))?;
    let state = |adam: &Adam| -> Vec<Vec<u8>> {
        let all = [adam.state_dict(), table.state_dict()];
        all.iter().flat_map(|s| s.iter().map(|(_, t)| t.to_bytes().unwrap()).collect::<Vec<_>>()).collect()
    };
    let before = state(&adam);
    // A row that is not there; a loss that is infinite though its gradients are not.
    let missing = loss(9);
    let infinite = (loss(2) + f64::INFINITY).check_finite("loss");
    for (loss, expected) in [(missing, "embedding: index 9"), (infinite, "loss: not finite")] {
        let error = adam.apply(loss.gradients(&table)?.clip_norm(1.0)).unwrap_err();
        assert!(error.what().starts_with(expected), "{error}");
        assert_eq!(state(&adam), before, "{expected}");
    }
    adam.apply(loss(2).gradients(&table)?.clip_norm(1.0))?;
    assert_ne!(state(&adam), before);
    Ok(())
}
