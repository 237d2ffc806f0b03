//! The lesson's own numbers: worked examples of neuron, layer, collapse, XOR, softmax, vanishing gradients.

use limpid::prelude::*;

// What is measured here is what the examples print.
#[allow(dead_code)]
#[path = "../examples/universal.rs"]
mod universal;
#[allow(dead_code)]
#[path = "../examples/vanishing.rs"]
mod vanishing;
#[allow(dead_code)]
#[path = "../examples/xor_learned.rs"]
mod xor_learned;

fn close(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() <= tolerance, "{a} is not {b}");
}

#[test]
fn the_neuron() -> limpid::Result<()> {
    let z = |x: [f64; 2], w: [f64; 2]| (Tensor::from(w).matmul(&Tensor::from(x)) + 1.0).item();
    close(z([2.0, 3.0], [0.5, 0.2])?, 2.6, 1e-15);
    close(z([2.0, -1.0], [0.5, -1.5])?, 3.5, 0.0);
    assert_eq!(Tensor::from(3.5f64).relu().item()?, 3.5);
    Ok(())
}

#[test]
fn two_linear_layers_are_one() -> limpid::Result<()> {
    let x = Tensor::from([1.0f64, -2.0, 0.25]);
    let two = ((&x * 2.0 + 0.5) * 3.0 + 0.1).to_vec::<f64>()?;
    for (a, b) in two.iter().zip((x * 6.0 + 1.6).to_vec::<f64>()?) {
        close(*a, b, 1e-14);
    }
    close(two[0], 7.6, 1e-14);
    Ok(())
}

#[test]
fn a_hundred_linear_layers_are_one() -> limpid::Result<()> {
    let rng = Rng::new(7);
    let eye = Tensor::eye(8).to_dtype(DType::F64);
    let x = rng.randn([8], DType::F64);
    let (mut y, mut w_all, mut b_all) = (x.clone(), eye.clone(), Tensor::zeros_of([8], DType::F64));
    for _ in 0..100 {
        let w = &eye + rng.randn([8, 8], DType::F64) * 0.02;
        let b = rng.randn([8], DType::F64);
        (y, w_all, b_all) = (w.matmul(&y) + &b, w.matmul(&w_all), w.matmul(&b_all) + &b);
    }
    let one = (w_all.matmul(&x) + b_all).to_vec::<f64>()?;
    let scale = y.abs().amax(..).item()?;
    for (a, b) in y.to_vec::<f64>()?.iter().zip(one) {
        close(*a, b, 1e-9 * scale);
    }
    Ok(())
}

fn xor() -> (Tensor, Tensor) {
    let x = Tensor::from([[0.0f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
    (x, Tensor::from([[0.0f32], [1.0], [1.0], [0.0]]))
}

#[test]
fn xor_by_hand() -> limpid::Result<()> {
    let (x, y) = xor();
    let (w1, b1) = (Tensor::from([[1.0f32, 1.0], [1.0, 1.0]]), Tensor::from([0.0f32, -1.0]));
    let hidden = x.linear(&w1, Some(&b1)).relu();
    assert_eq!(hidden.to_vec::<f32>()?, [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 2.0, 1.0]);
    let out = hidden.linear(&Tensor::from([[1.0f32, -2.0]]), Some(&Tensor::from([0.0f32])));
    assert_eq!(out.to_vec::<f32>()?, y.to_vec::<f32>()?);
    Ok(())
}

#[test]
fn no_linear_model_learns_xor() -> limpid::Result<()> {
    let (x, y) = xor();
    manual_seed(7);
    let linear = Linear::new(2, 1);
    let mut sgd = SGD::new(&linear).lr(0.5);
    for _ in 0..500 {
        sgd.step(&mse_loss(&linear.forward(&x), &y))?;
    }
    // The least-squares solution predicts 1/2 everywhere.
    close(mse_loss(&linear.forward(&x), &y).item()?, 0.25, 1e-6);
    Ok(())
}

#[test]
fn a_small_network_learns_xor_from_most_seeds() -> limpid::Result<()> {
    let learned = xor_learned::learned()?;
    assert!(learned >= 95, "{learned} of 100 seeds");
    Ok(())
}

#[test]
fn softmax_of_the_lesson() -> limpid::Result<()> {
    let p = Tensor::from([2.0f64, 1.0, 0.1]).softmax(-1).to_vec::<f64>()?;
    for (a, b) in p.iter().zip([0.659, 0.242, 0.099]) {
        close(*a, b, 5e-4);
    }
    close(p.iter().sum(), 1.0, 1e-15);
    let large = Tensor::from([1000.0f32, 1001.0]).softmax(-1).to_vec::<f32>()?;
    // 1/(1 + e) and e/(1 + e)
    close(f64::from(large[0]), 0.268_941_42, 1e-7);
    close(f64::from(large[1]), 0.731_058_58, 1e-7);
    assert_eq!(Tensor::from([2.0f32, 1.0, 0.1]).argmax(-1).item()?, 0.0);
    Ok(())
}

#[test]
fn sigmoids_lose_the_gradient_and_relus_keep_it() -> limpid::Result<()> {
    let (sigmoid, relu) = (vanishing::gradient_norms(Tensor::sigmoid)?, vanishing::gradient_norms(Tensor::relu)?);
    assert!(sigmoid[0] / sigmoid[19] < 1e-8, "{}", sigmoid[0] / sigmoid[19]);
    assert!(relu[0] / relu[19] > 1e-2, "{}", relu[0] / relu[19]);
    Ok(())
}

#[test]
fn a_wide_layer_fits_a_sine_and_a_narrow_one_does_not() -> limpid::Result<()> {
    let median = |width: usize| -> limpid::Result<f64> {
        let mut errors = (0..5).map(|seed| Ok(universal::fit(width, seed)?.0)).collect::<limpid::Result<Vec<f64>>>()?;
        errors.sort_by(f64::total_cmp);
        Ok(errors[2])
    };
    let (narrow, wide) = (median(2)?, median(256)?);
    assert!(narrow > 0.1, "width 2: mean squared error {narrow}");
    assert!(wide < 1e-3, "width 256: mean squared error {wide}");
    Ok(())
}
