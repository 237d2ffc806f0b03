//! One hidden layer fits sin(3x) on [−π, π] better the wider it is.
use limpid::prelude::*;
pub fn fit(width: usize, seed: u64) -> limpid::Result<(f64, f64)> {
    manual_seed(seed);
    let x = Tensor::linspace(-1.0, 1.0, 256).reshape([256, 1]); // in units of π
    let y = (&x * (3.0 * std::f64::consts::PI)).sin();
    let model = Sequential::new().add(Linear::new(1, width)).add(Tanh).add(Linear::new(width, 1));
    let mut adam = Adam::new(&model).lr(0.01);
    for step in (0..3000).map(f64::from) {
        adam.set_lr(0.01 * (1.0 - step / 3000.0) + 1e-5)?;
        adam.step(&mse_loss(&model.forward(&(&x * 4.0)), &y))?;
    }
    let e = model.forward(&(&x * 4.0)) - y;
    Ok((e.square().mean(..).item()?, e.abs().amax(..).item()?))
}

fn main() -> limpid::Result<()> {
    println!("width   mean squared   largest   (medians of 5 seeds)");
    for width in [2, 4, 8, 16, 32, 64, 128, 256] {
        let mut fits = (0..5).map(|seed| fit(width, seed)).collect::<limpid::Result<Vec<_>>>()?;
        fits.sort_by(|a, b| a.0.total_cmp(&b.0));
        println!("{width:5} {:14.1e} {:9.1e}", fits[2].0, fits[2].1);
    }
    Ok(())
}
