//! The memory map of a training step: within a fifth of the largest set of values that are alive at once.

use limpid::prelude::*;
use limpid::{Result, profile};

use super::models::{Gpt, cnn, gru, lstm, mlp, resnet18};
use super::nets::Rule;

/// What a second step of training needs: in the first one the optimizer begins to keep something.
fn check(name: &str, model: &dyn Forward, rule: Rule, x: &Tensor, classes: i64) -> Result<()> {
    let mut apply = rule.optimizer(model);
    let loss = || {
        let scores = model.forward(x).flatten_range(0, -2);
        cross_entropy(&scores, &Tensor::randint(0, classes, [scores.size(0)]))
    };
    apply(&loss()).map(drop)?;
    let (profile, done) = profile(|| apply(&loss()).map(drop));
    done?;
    let memory = profile.memory();
    let ratio = memory.scratch as f64 / memory.scratch_bound as f64;
    assert!(memory.scratch >= memory.scratch_bound && ratio <= 1.2, "{name}: {ratio} of the least, {memory:?}");
    Ok(())
}

#[test]
fn the_memory_of_training_is_near_the_least() -> Result<()> {
    let (adam, sgd) = (Rule::Adam { lr: 1e-3 }, Rule::Sgd { lr: 0.01, momentum: 0.9 });
    check("mlp", &mlp(), adam, &Tensor::randn([16, 784]), 10)?;
    check("cnn", &cnn(), adam, &Tensor::randn([2, 1, 28, 28]), 10)?;
    check("lstm", &lstm(), adam, &Tensor::randn([2, 6, 64]), 10)?;
    check("gru", &gru(), adam, &Tensor::randn([2, 6, 64]), 10)?;
    check("resnet18", &resnet18(), sgd, &Tensor::randn([2, 3, 32, 32]), 10)?;
    let gpt = Gpt::new(65, 32, 48, 4, 3);
    check("gpt", &gpt, Rule::AdamW { lr: 1e-3 }, &Tensor::randint(0, 65, [2, 32]), 65)
}
