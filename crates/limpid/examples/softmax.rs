//! From logits to probabilities.
use limpid::prelude::*;

fn main() -> limpid::Result<()> {
    let logits = Tensor::from([2.0f32, 1.0, 0.1]);
    println!("logits         {logits}   sum {:.3}", logits.sum(..).item()?);
    println!("probabilities  {}   sum {:.3}", logits.softmax(-1), logits.softmax(-1).sum(..).item()?);
    println!("argmax         {}", logits.argmax(-1));
    println!("shifted by 5   {}", (&logits + 5.0).softmax(-1));
    let large = Tensor::from([1000.0f32, 1001.0]);
    println!("of {large}: {}, where exp gives {}", large.softmax(-1), large.exp());
    Ok(())
}
