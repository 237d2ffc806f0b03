//! A layer a = φ(Wx + b), W of shape m×n, and a chain of layers: the forward pass.
use limpid::prelude::*;

fn main() -> limpid::Result<()> {
    let x = Tensor::from([1.0f32, -2.0, 0.5]);
    let w = Tensor::from([[0.2f32, -0.5, 1.0], [1.5, 0.3, -0.7]]);
    let b = Tensor::from([0.1f32, -0.2]);
    let a = (w.matmul(&x) + &b).relu();
    println!("W x + b = {}\na = ReLU(W x + b) = {a}", w.matmul(&x) + &b);

    manual_seed(7);
    let layers =
        Sequential::new().add(Linear::new(3, 4)).add(ReLU).add(Linear::new(4, 4)).add(ReLU).add(Linear::new(4, 2));
    let mut a = x;
    for (i, layer) in layers.iter().enumerate() {
        a = layer.forward(&a);
        println!("after layer {i}: {a}");
    }
    Ok(())
}
