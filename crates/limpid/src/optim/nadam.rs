//! NAdam (Dozat 2016).

use limpid_core::{Shape, Tensor, setters};

use crate::optim::core::{Kept, Update, power};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// NAdam, Adam with Nesterov's momentum: with μₜ = β₁(1 − ½·0.96^(t·momentum_decay)) and M the product of all μ so far,
/// p ← p − lr·((1−μₜ)/(1−Mₜ)·g + μₜ₊₁/(1−Mₜ₊₁)·m) / (√(v/(1−β₂ᵗ)) + eps). Torch's `optim.NAdam`; the rate is 2e-3
/// unless set.
pub type NAdam = FirstOrder<Nesterov>;

/// The rule of [`NAdam`].
#[derive(Debug)]
pub struct Nesterov;

setters! { NAdam by with {
    /// With these rates of forgetting (default: (0.9, 0.999)).
    betas: (f64, f64),
    /// With this addend of the denominator (default: 1e-8).
    eps: f64,
    /// With this weight decay (default: 0).
    weight_decay: f64,
    /// With a momentum that grows at this rate (default: 4e-3).
    momentum_decay: f64,
    /// Whether the decay acts on the weights instead of the gradient.
    decoupled_weight_decay: bool,
    /// Uphill.
    maximize: bool,
} }

impl Rule for Nesterov {
    const NAME: &'static str = "NAdam";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[2e-3], Range::NOT_NEGATIVE),
        spec("betas", &[0.9, 0.999], Range::BELOW_ONE),
        spec("eps", &[1e-8], Range::NOT_NEGATIVE),
        spec("weight_decay", &[0.0], Range::NOT_NEGATIVE),
        spec("momentum_decay", &[4e-3], Range::NOT_NEGATIVE),
        spec("decoupled_weight_decay", &[0.0], Range::FLAG),
        spec("maximize", &[0.0], Range::FLAG),
    ];

    fn keeps(_options: &Options, shape: &Shape) -> Vec<Kept> {
        let product = Kept::number("mu_product", 1.0);
        vec![Kept::steps(), product, Kept::like("exp_avg", shape), Kept::like("exp_avg_sq", shape)]
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let ([b1, b2], eps, decay) = (u.options.all("betas"), u.number("eps"), u.number("momentum_decay"));
        let dtype = u.value.dtype();
        let steps = u.counted(0);
        let one = steps.ones_like();
        let mu = |t: &Tensor| (&one - power(0.96, &(t * decay)) * 0.5) * b1;
        let (now, next) = (mu(&steps), mu(&(&steps + 1.0)));
        let product = u.kept(1) * &now;
        u.keep(1, &product);
        let (g, value) = if u.options.flag("decoupled_weight_decay") {
            (u.direction(), u.shrunk())
        } else {
            (u.decayed(), u.value.clone())
        };
        let moment = u.kept(2) * b1 + &g * (1.0 - b1);
        let square = u.kept(3) * b2 + &g * &g * (1.0 - b2);
        u.keep(2, &moment);
        u.keep(3, &square);
        let second = &one - power(b2, &steps);
        let denominator = (square / second.to_dtype(dtype)).sqrt() + eps;
        let by_gradient = &u.rate * (&one - now) / (&one - &product);
        let by_moment = &u.rate * &next / (&one - product * &next);
        value - (g * by_gradient.to_dtype(dtype) + moment * by_moment.to_dtype(dtype)) / denominator
    }
}
