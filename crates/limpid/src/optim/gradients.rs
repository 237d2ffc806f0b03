//! Gradients by parameter and name.

use std::collections::HashMap;
use std::ops::Add;

use limpid_core::{DType, Error, Result, Rows, Shape, Tensor, gradients_by_rows};

use crate::module::Module;
use crate::param::Parameter;
use crate::taps;

/// The gradient of each parameter that a loss reaches; one that it does not reach has none.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    names: Vec<String>,
    index: HashMap<u64, usize>,
    grads: Vec<Option<Grad>>,
}

/// A gradient, and the same as rows where that is all it is: then the dense one is recorded, and computed when asked.
#[derive(Clone, Debug)]
struct Grad {
    dense: Tensor,
    rows: Option<Rows>,
}

impl Grad {
    /// What is to be computed of it.
    fn cheapest(&self) -> &Tensor {
        self.rows.as_ref().map_or(&self.dense, Rows::values)
    }

    fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Grad {
        match &self.rows {
            Some(rows) => Grad::of(rows.with_values(&f(rows.values()))),
            None => Grad { dense: f(&self.dense), rows: None },
        }
    }

    fn of(rows: Rows) -> Grad {
        Grad { dense: rows.to_dense(), rows: Some(rows) }
    }

    fn detached(&self) -> Grad {
        self.map(|g| g.detach())
    }

    fn plus(&self, other: &Grad) -> Grad {
        match (&self.rows, &other.rows) {
            (Some(a), Some(b)) => Grad::of(a.add(b)),
            _ => Grad { dense: &self.dense + &other.dense, rows: None },
        }
    }
}

/// What [`Gradients::clip_norm_with`] takes; torch's defaults.
#[derive(Clone, Copy, Debug)]
pub struct ClipNorm {
    /// The p of the norm; ∞ is the largest element.
    pub norm_type: f64,
    /// Whether a norm that is NaN or infinite is an error.
    pub error_if_nonfinite: bool,
}

impl Default for ClipNorm {
    fn default() -> ClipNorm {
        ClipNorm { norm_type: 2.0, error_if_nonfinite: false }
    }
}

impl ClipNorm {
    /// The Euclidean norm, whatever it is.
    pub fn new() -> ClipNorm {
        ClipNorm::default()
    }

    /// The p of the norm (default: 2).
    pub fn norm_type(self, norm_type: f64) -> ClipNorm {
        ClipNorm { norm_type, ..self }
    }

    /// Whether a norm that is NaN or infinite is an error (default: no).
    pub fn error_if_nonfinite(self, error: bool) -> ClipNorm {
        ClipNorm { error_if_nonfinite: error, ..self }
    }
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
        let leaves: Vec<Tensor> = parameters.iter().map(|(_, p)| p.cell().tensor()).collect();
        // Taps that want gradients get them from the same pass.
        let watched = taps::watched();
        let mut found = gradients_by_rows(loss, &leaves.iter().chain(&watched).collect::<Vec<_>>())?;
        taps::arrived(found.split_off(leaves.len()).into_iter().map(|g| Some(g?.0)).collect());
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
        let grad = |(g, (_, p)): (Option<(Tensor, Option<Rows>)>, &(String, Parameter))| {
            g.filter(|_| p.requires_grad()).map(|(dense, rows)| Grad { dense, rows })
        };
        let grads = found.into_iter().zip(&parameters).map(grad).collect();
        let index = parameters.iter().enumerate().map(|(i, (_, p))| (p.cell().id(), i)).collect();
        Ok(Gradients { names: parameters.into_iter().map(|(name, _)| name).collect(), index, grads })
    }

    /// The gradient of the parameter at `path`; none where the loss does not reach it.
    pub fn get(&self, path: &str) -> Option<&Tensor> {
        let i = self.names.iter().position(|n| n == path)?;
        self.grads[i].as_ref().map(|g| &g.dense)
    }

    /// The gradient of `parameter`.
    pub fn of(&self, parameter: &Parameter) -> Option<Tensor> {
        self.grads[*self.index.get(&parameter.cell().id())?].as_ref().map(|g| g.dense.clone())
    }

    /// The gradient of `parameter` as rows, where it is a table that only sparse lookups have read
    /// ([`Embedding::sparse`](crate::nn::Embedding::sparse)).
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let words = Embedding::new(1000, 4).sparse(true);
    /// let loss = words.forward(&Tensor::from([7i64, 3])).square().sum(..);
    /// let gradients = loss.gradients(&words)?;
    /// let rows = gradients.rows_of(&words.weight).expect("only lookups");
    /// assert_eq!(rows.indices().to_vec::<i64>()?, [7, 3]);
    /// assert_eq!(*rows.values().shape(), Shape::from([2, 4]));
    /// # Ok::<(), limpid::Error>(())
    /// ```
    pub fn rows_of(&self, parameter: &Parameter) -> Option<&Rows> {
        self.grads[*self.index.get(&parameter.cell().id())?].as_ref()?.rows.as_ref()
    }

    /// Names and gradients of all parameters that are reached.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.names.iter().zip(&self.grads).filter_map(|(n, g)| Some((n.as_str(), &g.as_ref()?.dense)))
    }

    fn map(mut self, f: impl Fn(&Tensor) -> Tensor) -> Gradients {
        self.grads.iter_mut().flatten().for_each(|g| *g = g.map(&f));
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
        self.total_norm(2.0)
    }

    /// The p-norm of all together, p = `norm_type`, which may be infinite: that of the norms of each. 0 where there is
    /// no gradient. Torch's `get_total_norm`.
    ///
    /// A norm that must be finite: `g.total_norm(2.0).check_finite("norm of the gradients")`.
    #[track_caller]
    pub fn total_norm(&self, norm_type: f64) -> Tensor {
        let mut norms: Vec<Tensor> = Vec::new();
        for g in self.grads.iter().flatten() {
            // Squares of halves would not fit into their type.
            let wide = |g: &Tensor| if g.dtype() == DType::F64 { g.clone() } else { g.to_dtype(DType::F32) };
            norms.push(match &g.rows {
                Some(rows) if norm_type == 2.0 => rows.with_values(&wide(rows.values())).square_sum().sqrt(),
                _ => wide(&g.dense).vector_norm(norm_type, ..),
            });
        }
        let Some(dtype) = norms.iter().map(|norm| norm.dtype()).max() else { return Tensor::zeros([]) };
        let norms: Vec<Tensor> = norms.into_iter().map(|norm| norm.to_dtype(dtype)).collect();
        match &norms[..] {
            [one] => one.clone(),
            all => Tensor::stack(&all.iter().collect::<Vec<_>>(), 0).vector_norm(norm_type, 0),
        }
    }

    /// Scaled so that the norm is at most `max_norm`: by min(1, max_norm / (norm + 1e-6)). Torch's
    /// `clip_grad_norm_`.
    #[track_caller]
    pub fn clip_norm(self, max_norm: f64) -> Gradients {
        self.clip_norm_with(max_norm, &ClipNorm::new())
    }

    /// [`Gradients::clip_norm`] by another norm, or such that a norm that is not finite is an error of the step.
    #[track_caller]
    pub fn clip_norm_with(self, max_norm: f64, options: &ClipNorm) -> Gradients {
        let norm = self.total_norm(options.norm_type);
        let norm = if options.error_if_nonfinite { norm.check_finite("the norm of the gradients") } else { norm };
        self.clip_with_norm(max_norm, &norm)
    }

    /// All of them times min(1, max_norm / (total_norm + 1e-6)). Torch's `clip_grads_with_norm_`.
    #[track_caller]
    pub fn clip_with_norm(mut self, max_norm: f64, total_norm: &Tensor) -> Gradients {
        let factor = (max_norm / (total_norm + 1e-6)).clamp_max(1.0);
        let factor = if factor.numel() == 1 { factor } else { no_number(total_norm) };
        for g in self.grads.iter_mut().flatten() {
            *g = g.map(|g| g * factor.to_dtype(g.dtype()));
        }
        self
    }

    /// Each element limited to −limit … limit. Torch's `clip_grad_value_`.
    #[track_caller]
    pub fn clip_value(self, limit: f64) -> Gradients {
        // Of a row that stands several times the sum is limited.
        let mut all = self;
        for g in all.grads.iter_mut().flatten() {
            let summed = g.rows.as_ref().map_or_else(|| g.clone(), |rows| Grad::of(rows.coalesce()));
            *g = summed.map(|g| g.clamp(-limit, limit));
        }
        all
    }

    /// Computes all of them now: a micro-batch whose graph need not live on.
    pub fn eval(&self) -> Result<()> {
        limpid_core::eval(self.grads.iter().flatten().map(Grad::cheapest))
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
                        (Some(a), Some(b)) => Some(a.detached().plus(&b.detached())),
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

/// What stands for a norm that is not one number.
#[track_caller]
fn no_number(norm: &Tensor) -> Tensor {
    let error = Error::new(format!("clip_with_norm: the norm has shape {}, it is one number", norm.shape()));
    Tensor::fail(error, &[norm], Shape::scalar(), norm.dtype())
}
