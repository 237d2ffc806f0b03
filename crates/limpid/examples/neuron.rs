//! One neuron: z = w·x + b, a = φ(z).
use limpid::prelude::*;

fn neuron(x: [f64; 2], w: [f64; 2], b: f64) -> Tensor {
    Tensor::from(w).matmul(&Tensor::from(x)) + b
}

fn main() -> limpid::Result<()> {
    let z = neuron([2.0, 3.0], [0.5, 0.2], 1.0);
    println!("x = [2, 3], w = [0.5, 0.2], b = 1:     z = {}", z.item()?);
    let z = neuron([2.0, -1.0], [0.5, -1.5], 1.0);
    println!("x = [2, -1], w = [0.5, -1.5], b = 1:   z = {}, ReLU(z) = {}", z.item()?, z.relu().item()?);
    Ok(())
}
