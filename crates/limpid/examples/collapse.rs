//! Without a nonlinearity a stack of layers is one layer.
use limpid::prelude::*;

fn main() -> limpid::Result<()> {
    let x = Tensor::from([-1.0f64, 0.0, 1.0, 2.0]);
    let (two, one) = ((&x * 2.0 + 0.5) * 3.0 + 0.1, &x * 6.0 + 1.6);
    println!("3·(2x + 0.5) + 0.1 = {two}\n6x + 1.6            = {one}");

    // W' = W₁₀₀ … W₁ and b' = W(… (W b₁ + b₂) …) + b₁₀₀, from near-orthogonal layers of width 8.
    let rng = Rng::new(7);
    let x = rng.randn([8], DType::F64);
    let (mut y, mut w_all, mut b_all) =
        (x.clone(), Tensor::eye(8).to_dtype(DType::F64), Tensor::zeros_of([8], DType::F64));
    for _ in 0..100 {
        let w = Tensor::eye(8).to_dtype(DType::F64) + rng.randn([8, 8], DType::F64) * 0.02;
        let b = rng.randn([8], DType::F64);
        (y, w_all, b_all) = (w.matmul(&y) + &b, w.matmul(&w_all), w.matmul(&b_all) + &b);
    }
    let collapsed = w_all.matmul(&x) + b_all;
    println!("100 layers: {y}\none layer:  {collapsed}");
    println!("largest relative difference: {:.1e}", ((&y - collapsed) / y).abs().amax(..).item()?);
    Ok(())
}
