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
