//! Losses of numbers against numbers.

use limpid_core::{Tensor, Value};

use super::{Reduction, refuse, same_shape, setters};
use crate::Module;

/// Σ (x − y)² / n. Torch's `mse_loss`.
///
/// ```
/// use limpid::prelude::*;
/// let loss = mse_loss(&Tensor::from([1.0f32, 4.0]), &Tensor::from([0.0f32, 2.0]));
/// assert_eq!(loss.item()?, 2.5);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn mse_loss(input: &Tensor, target: &Tensor) -> Tensor {
    MSELoss::default().forward(input, target)
}

/// Σ |x − y| / n. Torch's `l1_loss`.
#[track_caller]
pub fn l1_loss(input: &Tensor, target: &Tensor) -> Tensor {
    L1Loss::default().forward(input, target)
}

/// With d = |x − y|: d²/(2·beta) below `beta`, d − beta/2 above; the mean. Torch's `smooth_l1_loss`.
#[track_caller]
pub fn smooth_l1_loss(input: &Tensor, target: &Tensor, beta: f64) -> Tensor {
    SmoothL1Loss { beta, ..SmoothL1Loss::default() }.forward(input, target)
}

/// With d = |x − y|: d²/2 below `delta`, delta·(d − delta/2) above; the mean. Huber (1964). Torch's `huber_loss`.
#[track_caller]
pub fn huber_loss(input: &Tensor, target: &Tensor, delta: f64) -> Tensor {
    HuberLoss::new().delta(delta).forward(input, target)
}

/// y·(log y − x) of log-probabilities x and probabilities y, the mean over all elements: see [`KLDivLoss`], whose
/// reduction `BatchMean` is the divergence of Kullback and Leibler (1951). Torch's `kl_div`.
#[track_caller]
pub fn kl_div(input: &Tensor, target: &Tensor) -> Tensor {
    KLDivLoss::new().forward(input, target)
}

/// eˣ − y·x for the logarithm x of a rate and a count y, the mean. Torch's `poisson_nll_loss`.
#[track_caller]
pub fn poisson_nll_loss(input: &Tensor, target: &Tensor) -> Tensor {
    PoissonNLLLoss::new().forward(input, target)
}

/// ½·(log v + (x − y)²/v) for a mean x and a variance v, the mean over the elements: see [`GaussianNLLLoss`]. Torch's
/// `gaussian_nll_loss`.
#[track_caller]
pub fn gaussian_nll_loss(input: &Tensor, target: &Tensor, var: impl Into<Value>) -> Tensor {
    GaussianNLLLoss::new().forward(input, target, var)
}

/// Losses of two tensors of one shape that have no options but the reduction.
macro_rules! plain_loss {
    ($(#[$doc:meta])* $name:ident, $function:literal, $losses:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Module)]
        pub struct $name {
            /// How the losses become one.
            #[module(skip)]
            pub reduction: Reduction,
        }

        impl $name {
            /// With the mean.
            pub fn new() -> $name {
                $name::default()
            }

            /// The loss of `input` against `target`, which have one shape.
            #[track_caller]
            pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
                if let Some(failed) = same_shape($function, input, target) {
                    return failed;
                }
                let losses: fn(&Tensor, &Tensor) -> Tensor = $losses;
                self.reduction.apply($function, &losses(input, target))
            }

            /// [`Self::forward`] with a factor for each element; the mean is then weighted: the `weight` of torch's
            /// function.
            #[track_caller]
            pub fn weighted(&self, input: &Tensor, target: &Tensor, weight: &Tensor) -> Tensor {
                if let Some(failed) = same_shape($function, input, target) {
                    return failed;
                }
                if weight.shape() != input.shape() {
                    let what = format!("the weight has shape {}, the input {}", weight.shape(), input.shape());
                    return refuse($function, what, &[input, target, weight]);
                }
                let losses: fn(&Tensor, &Tensor) -> Tensor = $losses;
                let losses = losses(input, target) * weight;
                match self.reduction {
                    Reduction::Mean => losses.sum(..) / weight.sum(..),
                    other => other.apply($function, &losses),
                }
            }
        }

        setters!($name {
            /// With another reduction.
            reduction: Reduction,
        });
    };
}

plain_loss!(
    /// (x − y)²: see [`mse_loss`].
    MSELoss, "mse_loss", |x, y| (x - y).square()
);
plain_loss!(
    /// |x − y|: see [`l1_loss`].
    L1Loss, "l1_loss", |x, y| (x - y).abs()
);

/// See [`smooth_l1_loss`].
#[derive(Clone, Debug, Module)]
pub struct SmoothL1Loss {
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
    /// Where the square ends and the line begins.
    pub beta: f64,
}

impl Default for SmoothL1Loss {
    fn default() -> SmoothL1Loss {
        SmoothL1Loss { reduction: Reduction::Mean, beta: 1.0 }
    }
}

impl SmoothL1Loss {
    /// With the mean and a beta of 1.
    pub fn new() -> SmoothL1Loss {
        SmoothL1Loss::default()
    }

    /// The loss of `input` against `target`, which have one shape.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        if let Some(failed) = same_shape("smooth_l1_loss", input, target) {
            return failed;
        }
        if self.beta < 0.0 || self.beta.is_nan() {
            return refuse("smooth_l1_loss", format!("beta is {}, below 0", self.beta), &[input, target]);
        }
        let difference = input - target;
        let d = difference.abs();
        if self.beta == 0.0 {
            return self.reduction.apply("smooth_l1_loss", &d);
        }
        let square = difference.square() * (0.5 / self.beta);
        let line = &d - 0.5 * self.beta;
        self.reduction.apply("smooth_l1_loss", &square.where_(&d.lt(self.beta), line))
    }
}

setters!(SmoothL1Loss {
    /// With another reduction.
    reduction: Reduction,
    /// With another place where the square ends.
    beta: f64,
});

/// See [`huber_loss`].
#[derive(Clone, Debug, Module)]
pub struct HuberLoss {
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
    /// Where the square ends and the line begins, above 0.
    pub delta: f64,
}

impl Default for HuberLoss {
    fn default() -> HuberLoss {
        HuberLoss { reduction: Reduction::Mean, delta: 1.0 }
    }
}

impl HuberLoss {
    /// With the mean and a delta of 1.
    pub fn new() -> HuberLoss {
        HuberLoss::default()
    }

    /// The loss of `input` against `target`, which have one shape.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        match self.losses(input, target) {
            Ok(losses) => self.reduction.apply("huber_loss", &losses),
            Err(failed) => failed,
        }
    }

    /// [`HuberLoss::forward`] with a factor for each element, which the mean does not divide by: the `weight` of
    /// torch's function.
    #[track_caller]
    pub fn weighted(&self, input: &Tensor, target: &Tensor, weight: &Tensor) -> Tensor {
        if weight.shape() != input.shape() {
            let what = format!("the weight has shape {}, the input {}", weight.shape(), input.shape());
            return refuse("huber_loss", what, &[input, target, weight]);
        }
        match self.losses(input, target) {
            Ok(losses) => self.reduction.apply("huber_loss", &(losses * weight)),
            Err(failed) => failed,
        }
    }

    #[track_caller]
    fn losses(&self, input: &Tensor, target: &Tensor) -> Result<Tensor, Tensor> {
        if let Some(failed) = same_shape("huber_loss", input, target) {
            return Err(failed);
        }
        if self.delta <= 0.0 || self.delta.is_nan() {
            return Err(refuse("huber_loss", format!("delta is {}, not above 0", self.delta), &[input, target]));
        }
        let difference = input - target;
        let d = difference.abs();
        let line = (&d - 0.5 * self.delta) * self.delta;
        Ok((difference.square() * 0.5).where_(&d.lt(self.delta), line))
    }
}

setters!(HuberLoss {
    /// With another reduction.
    reduction: Reduction,
    /// With another place where the square ends.
    delta: f64,
});

/// y·(log y − x) of log-probabilities x and probabilities y (or their logarithms, with `log_target`); 0 where y is 0.
/// Only the reduction `BatchMean` gives the divergence of Kullback and Leibler (1951). Torch's `KLDivLoss`.
///
/// ```
/// use limpid::prelude::*;
/// let (x, y) = (Tensor::from([[0.5f32, 0.5]]).log(), Tensor::from([[1.0f32, 0.0]]));
/// let loss = KLDivLoss::new().reduction(Reduction::BatchMean).forward(&x, &y);
/// assert!((loss.item()? - 2f64.ln()).abs() < 1e-6);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Default, Module)]
pub struct KLDivLoss {
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
    /// Whether the target is logarithms.
    pub log_target: bool,
}

impl KLDivLoss {
    /// With the mean over all elements, of a target of probabilities.
    pub fn new() -> KLDivLoss {
        KLDivLoss::default()
    }

    /// The loss of log-probabilities `input` against `target`, which have one shape.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        if let Some(failed) = same_shape("kl_div", input, target) {
            return failed;
        }
        let losses = if self.log_target {
            target.exp() * (target - input)
        } else {
            // y·log y is 0 at 0, and so is its gradient.
            let zero = target.eq(0);
            let own = target * target.to_float().masked_fill(&zero, 1.0).log();
            own - target * input
        };
        match self.reduction {
            Reduction::BatchMean if input.rank() > 0 => losses.sum(..) / input.size(0) as f64,
            Reduction::BatchMean => losses,
            other => other.apply("kl_div", &losses),
        }
    }
}

setters!(KLDivLoss {
    /// With another reduction.
    reduction: Reduction,
    /// Whether the target is logarithms (default: no).
    log_target: bool,
});

/// The negative logarithm of Poisson's probability of a count y: eˣ − y·x of x, the logarithm of the rate, or
/// x − y·log(x + eps) of the rate itself. Torch's `PoissonNLLLoss`.
///
/// log y! does not depend on x and is left out; with `full` it is added where y > 1, as Stirling's
/// y·log y − y + ½·log(2πy).
#[derive(Clone, Debug, Module)]
pub struct PoissonNLLLoss {
    /// Whether the input is the logarithm of the rate.
    pub log_input: bool,
    /// Whether log y! is added.
    pub full: bool,
    /// What keeps the logarithm of a rate of 0 finite.
    pub eps: f64,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl Default for PoissonNLLLoss {
    fn default() -> PoissonNLLLoss {
        PoissonNLLLoss { log_input: true, full: false, eps: 1e-8, reduction: Reduction::Mean }
    }
}

impl PoissonNLLLoss {
    /// Of logarithms of rates, with the mean.
    pub fn new() -> PoissonNLLLoss {
        PoissonNLLLoss::default()
    }

    /// The loss of rates `input` against counts `target`, which have one shape.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        if let Some(failed) = same_shape("poisson_nll_loss", input, target) {
            return failed;
        }
        let losses =
            if self.log_input { input.exp() - target * input } else { input - target * (input + self.eps).log() };
        if !self.full {
            return self.reduction.apply("poisson_nll_loss", &losses);
        }
        let small = target.le(1);
        let y = target.to_float();
        let stirling = &y * y.log() - &y + (&y * std::f64::consts::TAU).log() * 0.5;
        self.reduction.apply("poisson_nll_loss", &(losses + stirling.masked_fill(&small, 0.0)))
    }
}

setters!(PoissonNLLLoss {
    /// Whether the input is the logarithm of the rate (default: yes).
    log_input: bool,
    /// Whether log y! is added (default: no).
    full: bool,
    /// With another number that keeps logarithms finite.
    eps: f64,
    /// With another reduction.
    reduction: Reduction,
});

/// The negative logarithm of the normal density, ½·(log v + (x − y)²/v), of a mean x and a variance v that is at least
/// `eps`; with `full`, ½·log 2π more. Nix and Weigend (1994). Torch's `GaussianNLLLoss`.
///
/// The variance has the shape of the input, that shape with 1 on one axis, or it lacks the last axis; or it is one
/// number. Its gradient is the same below `eps`, so that it finds out of there.
#[derive(Clone, Debug, Module)]
pub struct GaussianNLLLoss {
    /// Whether the constant is added.
    pub full: bool,
    /// The smallest variance.
    pub eps: f64,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl Default for GaussianNLLLoss {
    fn default() -> GaussianNLLLoss {
        GaussianNLLLoss { full: false, eps: 1e-6, reduction: Reduction::Mean }
    }
}

impl GaussianNLLLoss {
    /// Without the constant, with the mean.
    pub fn new() -> GaussianNLLLoss {
        GaussianNLLLoss::default()
    }

    /// The loss of means `input` against `target`, which has their shape or stretches to it, given the variances.
    ///
    /// # Errors
    /// At the read, where a variance is below 0.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor, var: impl Into<Value>) -> Tensor {
        // Here torch lets a target stretch to the input without a warning.
        if target.shape().broadcast(input.shape()).as_ref() != Some(input.shape()) {
            let what = format!("the input has shape {}, the target {}", input.shape(), target.shape());
            return refuse("gaussian_nll_loss", what, &[input, target]);
        }
        let var = match var.into() {
            Value::Tensor(var) => var,
            Value::Number(n) if n.as_f64() < 0.0 => {
                return refuse("gaussian_nll_loss", format!("the variance is {}, below 0", n.as_f64()), &[input]);
            }
            Value::Number(n) => input.to_float().zeros_like() + n.as_f64(),
        };
        let (shape, own) = (input.shape(), var.shape());
        let other = || shape.iter().zip(own.iter()).filter(|(a, b)| a != b).collect::<Vec<_>>();
        let short = own.rank() + 1 == shape.rank() && shape.starts_with(own);
        let stretched = || own.rank() == shape.rank() && matches!(other()[..], [(_, 1)]);
        if own != shape && !short && !stretched() {
            let what = format!("the variance has shape {own}, the input {shape}");
            return refuse("gaussian_nll_loss", what, &[input, target, &var]);
        }
        let var = if short { var.unsqueeze(-1) } else { var };
        let var = var.check(&var.lt(0).logical_not(), "gaussian_nll_loss: a variance is below 0");
        // The gradient of a variance that is raised to eps is that of eps.
        let var = &var + (var.clamp_min(self.eps) - &var).detach();
        let losses = (var.log() + (input - target).square() / &var) * 0.5;
        let constant = if self.full { 0.5 * std::f64::consts::TAU.ln() } else { 0.0 };
        let losses = if self.full { losses + constant } else { losses };
        self.reduction.apply("gaussian_nll_loss", &losses)
    }
}

setters!(GaussianNLLLoss {
    /// Whether the constant is added (default: no).
    full: bool,
    /// With another smallest variance.
    eps: f64,
    /// With another reduction.
    reduction: Reduction,
});
