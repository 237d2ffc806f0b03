//! XOR learned from a random start by a 2-8-1 network, from 100 seeds.
use limpid::prelude::*;

pub fn learned() -> limpid::Result<u32> {
    let x = Tensor::from([[0.0f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
    let y = Tensor::from([[0.0f32], [1.0], [1.0], [0.0]]);
    let mut learned = 0;
    for seed in 0..100 {
        manual_seed(seed);
        let model = Sequential::new().add(Linear::new(2, 8)).add(Tanh).add(Linear::new(8, 1));
        let mut adam = Adam::new(&model).lr(0.05);
        for _ in 0..300 {
            adam.step(&mse_loss(&model.forward(&x), &y))?;
        }
        let right = model.forward(&x).gt(0.5).eq(y.gt(0.5)).all(..).item()? == 1.0;
        learned += u32::from(right);
    }
    Ok(learned)
}

fn main() -> limpid::Result<()> {
    println!("{} of 100 seeds learned XOR in 300 steps", learned()?);
    Ok(())
}
