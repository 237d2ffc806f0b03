//! The gradient at each of 20 layers, with sigmoid and with ReLU.
use limpid::prelude::*;

pub fn gradient_norms(activation: fn(&Tensor) -> Tensor) -> limpid::Result<Vec<f64>> {
    manual_seed(7);
    let layers: Vec<Linear> = (0..20).map(|_| Linear::new(32, 32)).collect();
    layers.iter().try_for_each(|l| l.weight.set(&(Tensor::randn([32, 32]) * (2.0f64 / 32.0).sqrt())))?;
    let out = layers.iter().fold(Tensor::randn([64, 32]), |x, layer| activation(&layer.forward(&x)));
    let weights: Vec<Tensor> = layers.iter().map(|l| l.weight.tensor()).collect();
    let grads = gradients(&out.square().mean(..), &weights.iter().collect::<Vec<_>>())?;
    grads.into_iter().map(|g| g.expect("every layer is reached").norm(..).item()).collect()
}

fn main() -> limpid::Result<()> {
    let (sigmoid, relu) = (gradient_norms(Tensor::sigmoid)?, gradient_norms(Tensor::relu)?);
    println!("layer    sigmoid       ReLU");
    for (i, (s, r)) in sigmoid.iter().zip(&relu).enumerate() {
        println!("{:5} {s:10.1e} {r:10.1e}", i + 1);
    }
    println!("first / last: sigmoid {:.1e}, ReLU {:.1e}", sigmoid[0] / sigmoid[19], relu[0] / relu[19]);
    Ok(())
}
