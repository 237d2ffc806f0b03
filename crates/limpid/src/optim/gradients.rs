//! Gradients by parameter and name.

use std::collections::HashMap;
use std::ops::Add;

use limpid_core::{Error, Result, Tensor, gradients};

use crate::module::Module;
use crate::param::Parameter;
use crate::taps;

/// The gradient of each parameter that a loss reaches; one that it does not reach has none.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    names: Vec<String>,
    index: HashMap<u64, usize>,
    grads: Vec<Option<Tensor>>,
}

/// Gradients of a loss.
pub trait LossExt {
    /// The gradients by the parameters of `model`, recorded, not computed.
    ///
    /// # Errors
    /// What the loss carries; when it is no scalar; when its parameters have changed since.
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let model = Linear::new(2, 1);
    /// let mut sgd = SGD::new(&model).lr(0.1);
    /// let loss = model.forward(&Tensor::from([[1.0f32, 2.0]])).square().sum(..);
    /// let g = loss.gradients(&model)?.clip_norm(1.0);
    /// assert!(g.norm().item()? <= 1.0 + 1e-6);
    /// sgd.apply(g)?;
    /// # Ok::<(), limpid::Error>(())
    /// ```
    fn gradients<M: Module + ?Sized>(&self, model: &M) -> Result<Gradients>;
}

impl LossExt for Tensor {
    #[track_caller]
    fn gradients<M: Module + ?Sized>(&self, model: &M) -> Result<Gradients> {
        Gradients::new(self, model.named_parameters())
    }
}

impl Gradients {
    /// The gradients of `loss` by `parameters`; frozen ones have none, and those that it does not reach.
    ///
    /// # Errors
    /// What [`limpid_core::gradients`] refuses; a loss that no trainable parameter reaches, as torch's `backward`; a
    /// parameter that another thread changed since the loss was recorded.
    #[track_caller]
    pub fn new(loss: &Tensor, parameters: Vec<(String, Parameter)>) -> Result<Gradients> {
        let leaves: Vec<Tensor> = parameters.iter().map(|(_, p)| p.tensor()).collect();
        // Taps that want gradients get them from the same pass.
        let watched = taps::watched();
        let mut found = gradients(loss, &leaves.iter().chain(&watched).collect::<Vec<_>>())?;
        taps::arrived(found.split_off(leaves.len()));
        if !loss.requires_grad() {
            let error = Error::new("gradients: the loss is computed from no trainable parameter");
            return Err(error.help("requires_grad_(true) on what is to be trained, and nothing detached on the way"));
        }
        for ((name, p), _) in parameters.iter().zip(&found).filter(|((_, p), g)| g.is_none() && p.requires_grad()) {
            if loss.differentiates(p.cell()) {
                let what = if name.is_empty() { "a parameter" } else { name };
                let error = Error::new(format!("gradients: {what} has changed since the loss was recorded"));
                return Err(error.help("one thread at a time that steps, or recording the step again"));
            }
        }
        let grads = found.into_iter().zip(&parameters).map(|(g, (_, p))| g.filter(|_| p.requires_grad())).collect();
        let index = parameters.iter().enumerate().map(|(i, (_, p))| (p.cell().id(), i)).collect();
        Ok(Gradients { names: parameters.into_iter().map(|(name, _)| name).collect(), index, grads })
    }

    /// The gradient of the parameter at `path`; none where the loss does not reach it.
    pub fn get(&self, path: &str) -> Option<&Tensor> {
        let i = self.names.iter().position(|n| n == path)?;
        self.grads[i].as_ref()
    }

    /// The gradient of `parameter`.
    pub fn of(&self, parameter: &Parameter) -> Option<Tensor> {
        self.grads[*self.index.get(&parameter.cell().id())?].clone()
    }

    /// Names and gradients of all parameters that are reached.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.names.iter().zip(&self.grads).filter_map(|(n, g)| Some((n.as_str(), g.as_ref()?)))
    }

    fn map(mut self, f: impl Fn(&Tensor) -> Tensor) -> Gradients {
        self.grads.iter_mut().flatten().for_each(|g| *g = f(g));
        self
    }

    /// All of them times `factor`.
    #[track_caller]
    pub fn scale(self, factor: f64) -> Gradients {
        self.map(|g| g * factor)
    }

    /// The Euclidean norm of all together.
    #[track_caller]
    pub fn norm(&self) -> Tensor {
        let squares: Vec<Tensor> = self.grads.iter().flatten().map(|g| g.square().sum(..)).collect();
        let sum = squares.into_iter().reduce(|a, b| a + b);
        sum.map_or_else(|| Tensor::zeros([]), |s| s.sqrt())
    }

    /// Scaled so that the norm is at most `max_norm`: by min(1, max_norm / (norm + 1e-6)). Torch's
    /// `clip_grad_norm_`.
    #[track_caller]
    pub fn clip_norm(self, max_norm: f64) -> Gradients {
        let norm = self.norm();
        let factor = (max_norm / (norm + 1e-6)).clamp_max(1.0);
        self.map(|g| g * factor.to_dtype(g.dtype()))
    }

    /// Each element limited to −limit … limit. Torch's `clip_grad_value_`.
    #[track_caller]
    pub fn clip_value(self, limit: f64) -> Gradients {
        self.map(|g| g.clamp(-limit, limit))
    }

    /// Computes all of them now: a micro-batch whose graph need not live on.
    pub fn eval(&self) -> Result<()> {
        limpid_core::eval(self.grads.iter().flatten())
    }
}

impl Add for Gradients {
    type Output = Gradients;

    /// The sum, parameter by parameter; a missing gradient counts as zero. Both sides are computed now, so that
    /// accumulated micro-batches take constant memory; an error waits in the sum.
    fn add(mut self, other: Gradients) -> Gradients {
        let _ = self.eval().and(other.eval());
        for (id, &theirs) in &other.index {
            let theirs_grad = other.grads[theirs].clone();
            match self.index.get(id) {
                Some(&mine) => {
                    self.grads[mine] = match (self.grads[mine].take(), theirs_grad) {
                        (Some(a), Some(b)) => Some(a.detach() + b.detach()),
                        (a, b) => a.or(b),
                    };
                }
                None => {
                    self.index.insert(*id, self.grads.len());
                    self.names.push(other.names[theirs].clone());
                    self.grads.push(theirs_grad);
                }
            }
        }
        self
    }
}
