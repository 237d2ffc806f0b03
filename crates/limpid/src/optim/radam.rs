//! RAdam (Liu et al. 2019).

use limpid_core::{Shape, Tensor, setters};

use crate::optim::core::{Kept, Update, power};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// RAdam, Adam whose variance is rectified: with ρ∞ = 2/(1−β₂) − 1 and ρₜ = ρ∞ − 2tβ₂ᵗ/(1−β₂ᵗ), Adam's step times
/// √((ρₜ−4)(ρₜ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρₜ)) where ρₜ > 5, and before that lr times the mean gradient alone. Torch's
/// `optim.RAdam`; the rate is 1e-3 unless set.
pub type RAdam = FirstOrder<Rectified>;

/// The rule of [`RAdam`].
#[derive(Debug)]
pub struct Rectified;

setters! { RAdam by with {
    /// With these rates of forgetting (default: (0.9, 0.999)).
    betas: (f64, f64),
    /// With this addend of the denominator (default: 1e-8).
    eps: f64,
    /// With this weight decay (default: 0).
    weight_decay: f64,
    /// Whether the decay acts on the weights instead of the gradient.
    decoupled_weight_decay: bool,
    /// Uphill.
    maximize: bool,
} }

impl Rule for Rectified {
    const NAME: &'static str = "RAdam";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1e-3], Range::NOT_NEGATIVE),
        spec("betas", &[0.9, 0.999], Range::BELOW_ONE),
        spec("eps", &[1e-8], Range::NOT_NEGATIVE),
        spec("weight_decay", &[0.0], Range::NOT_NEGATIVE),
        spec("decoupled_weight_decay", &[0.0], Range::FLAG),
        spec("maximize", &[0.0], Range::FLAG),
    ];

    fn keeps(_options: &Options, shape: &Shape) -> Vec<Kept> {
        vec![Kept::steps(), Kept::like("exp_avg", shape), Kept::like("exp_avg_sq", shape)]
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let ([b1, b2], eps) = (u.options.all("betas"), u.number("eps"));
        let dtype = u.value.dtype();
        let steps = u.counted(0);
        let one = steps.ones_like();
        let (g, value) = if u.options.flag("decoupled_weight_decay") {
            (u.direction(), u.shrunk())
        } else {
            (u.decayed(), u.value.clone())
        };
        let moment = u.kept(1) * b1 + &g * (1.0 - b1);
        let square = u.kept(2) * b2 + &g * &g * (1.0 - b2);
        u.keep(1, &moment);
        u.keep(2, &square);
        let first = &one - power(b1, &steps);
        let forgotten = power(b2, &steps);
        let second = &one - &forgotten;
        let longest = 2.0 / (1.0 - b2) - 1.0;
        let length = (steps.zeros_like() + longest) - &steps * 2.0 * forgotten / &second;
        let certain = length.gt(5.0);
        // Where the length is short the root is not used, and may be of a negative number.
        let ratio = (&length - 4.0) * (&length - 2.0) * longest / (&length * ((longest - 4.0) * (longest - 2.0)));
        let rectified = (ratio.clamp_min(0.0) * &second).sqrt().to_dtype(dtype);
        let adaptive = rectified / (square.sqrt() + eps);
        let factor = adaptive.where_(&certain, adaptive.ones_like());
        value - moment * (&u.rate / first).to_dtype(dtype) * factor
    }
}
