//! Steps of networks: training and inference, recorded or captured.

use limpid::prelude::*;
use limpid::{Capture, Result};

use super::cases::{Does, How, Prepared};

/// What a network is fed.
pub enum Values {
    /// These, of this shape.
    Given(&'static [f32], &'static [usize]),
    /// Normally distributed.
    Normal(&'static [usize]),
    /// Integers below a limit.
    Below(i64, &'static [usize]),
}

impl Values {
    /// Those of step `turn`, which differ from those of other steps.
    fn drawn(&self, turn: usize) -> Tensor {
        match *self {
            Values::Given(values, shape) => Tensor::from_slice(values, shape) + 0.001 * turn as f64,
            Values::Normal(shape) => Tensor::randn(shape),
            Values::Below(limit, shape) => Tensor::randint(0, limit, shape),
        }
    }
}

/// How weights are trained.
#[derive(Clone, Copy)]
pub enum Rule {
    Sgd { lr: f64, momentum: f64 },
    Adam { lr: f64 },
    AdamW { lr: f64 },
}

/// A step of an optimizer: the loss that it returns was computed before.
pub type Apply = Box<dyn FnMut(&Tensor) -> Result<Tensor>>;

impl Rule {
    /// An optimizer of all parameters of `model`.
    pub fn optimizer(self, model: &dyn Forward) -> Apply {
        fn steps(mut optimizer: impl Optimizer + 'static) -> Apply {
            Box::new(move |loss| optimizer.step(loss).map(|loss| (*loss).clone()))
        }
        match self {
            Rule::Sgd { lr, momentum } => steps(SGD::new(model).lr(lr).momentum(momentum)),
            Rule::Adam { lr } => steps(Adam::new(model).lr(lr)),
            Rule::AdamW { lr } => steps(AdamW::new(model).lr(lr)),
        }
    }
}

/// A training step: forward, backward and the optimizer's update.
pub struct Training {
    pub model: fn() -> Box<dyn Forward>,
    pub x: Values,
    pub y: Values,
    pub rule: Rule,
    pub loss: fn(&Tensor, &Tensor) -> Tensor,
}

/// A forward pass in evaluation mode.
pub struct Inference {
    pub model: fn() -> Box<dyn Forward>,
    pub x: Values,
}

/// Batches that take turns.
const BATCHES: usize = 4;

impl Training {
    pub fn prepare(&self, how: How) -> Result<Prepared> {
        let model = (self.model)();
        let batches: Vec<[Tensor; 2]> = (0..BATCHES).map(|i| [&self.x, &self.y].map(|v| v.drawn(i))).collect();
        eval(batches.iter().flatten())?;
        let (mut apply, loss) = (self.rule.optimizer(&*model), self.loss);
        let body = move |batch: &[Tensor]| {
            let mut run = || apply(&loss(&model.forward(&batch[0]), &batch[1]));
            if how != How::Tapped {
                return run();
            }
            let tap = Tap::new("**").gradients().statistics(32);
            tap.run(&*model, || run().unwrap_or_else(Tensor::failed)).map(|seen| seen.output().clone())
        };
        Ok(repeated(how, batches, body))
    }
}

impl Inference {
    pub fn prepare(&self, how: How) -> Result<Prepared> {
        let model = (self.model)();
        model.eval();
        let inputs: Vec<[Tensor; 1]> = (0..BATCHES).map(|i| [self.x.drawn(i)]).collect();
        eval(inputs.iter().flatten())?;
        Ok(repeated(how, inputs, move |x| Ok(no_grad(|| model.forward(&x[0])))))
    }
}

/// Steps of `body` on `inputs` in turn; its result is evaluated.
fn repeated<const N: usize>(
    how: How,
    inputs: Vec<[Tensor; N]>,
    mut body: impl FnMut(&[Tensor]) -> Result<Tensor> + 'static,
) -> Prepared {
    let mut turn = 0;
    let mut next = move || {
        turn += 1;
        inputs[turn % inputs.len()].clone()
    };
    if how == How::Captured {
        let mut capture = Capture::new(move |x: &[Tensor]| vec![body(x).unwrap_or_else(Tensor::failed)]);
        Prepared::new(Does::Step, move || capture.run(&next().each_ref()).map(drop))
    } else {
        Prepared::new(Does::Step, move || body(&next())?.eval())
    }
}
