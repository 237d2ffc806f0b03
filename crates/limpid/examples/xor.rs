//! XOR by hand-picked weights, and why it takes the ReLU.
use limpid::prelude::*;

fn main() -> limpid::Result<()> {
    let x = Tensor::from([[0.0f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
    let y = Tensor::from([[0.0f32], [1.0], [1.0], [0.0]]);
    let (w1, b1) = (Tensor::from([[1.0f32, 1.0], [1.0, 1.0]]), Tensor::from([0.0f32, -1.0]));
    let (w2, b2) = (Tensor::from([[1.0f32, -2.0]]), Tensor::from([0.0f32]));
    let hidden = x.linear(&w1, Some(&b1)).relu();
    let out = hidden.linear(&w2, Some(&b2));
    println!("inputs\n{x}\nhidden\n{hidden}\nxor\n{out}");

    manual_seed(7);
    let linear = Linear::new(2, 1);
    let mut sgd = SGD::new(&linear).lr(0.5);
    for _ in 0..500 {
        sgd.step(&mse_loss(&linear.forward(&x), &y))?;
    }
    println!("the best linear model: mean squared error {:.4}", mse_loss(&linear.forward(&x), &y).item()?);
    Ok(())
}
