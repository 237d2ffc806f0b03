//! Adamax (Kingma, Ba 2014).

use limpid_core::{Shape, Tensor, setters};

use crate::optim::core::{Kept, Update, power};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// Adamax, Adam by the infinity norm: m ← β₁m + (1−β₁)g ; u ← max(β₂u, |g| + eps) ; p ← p − lr/(1−β₁ᵗ) · m/u.
/// Torch's `optim.Adamax`; the rate is 2e-3 unless set.
pub type Adamax = FirstOrder<Largest>;

/// The rule of [`Adamax`].
#[derive(Debug)]
pub struct Largest;

setters! { Adamax by with {
    /// With these rates of forgetting (default: (0.9, 0.999)).
    betas: (f64, f64),
    /// With this addend of the gradient's size (default: 1e-8).
    eps: f64,
    /// With this weight decay (default: 0).
    weight_decay: f64,
    /// Uphill.
    maximize: bool,
} }

impl Rule for Largest {
    const NAME: &'static str = "Adamax";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[2e-3], Range::NOT_NEGATIVE),
        spec("betas", &[0.9, 0.999], Range::BELOW_ONE),
        spec("eps", &[1e-8], Range::NOT_NEGATIVE),
        spec("weight_decay", &[0.0], Range::NOT_NEGATIVE),
        spec("maximize", &[0.0], Range::FLAG),
    ];

    fn keeps(_options: &Options, shape: &Shape) -> Vec<Kept> {
        vec![Kept::steps(), Kept::like("exp_avg", shape), Kept::like("exp_inf", shape)]
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let ([b1, b2], eps) = (u.options.all("betas"), u.number("eps"));
        let steps = u.counted(0);
        let first = steps.ones_like() - power(b1, &steps);
        let g = u.decayed();
        let moment = u.kept(1) * b1 + &g * (1.0 - b1);
        let largest = (u.kept(2) * b2).maximum(g.abs() + eps);
        u.keep(1, &moment);
        u.keep(2, &largest);
        &u.value - moment / largest * (&u.rate / first).to_dtype(u.value.dtype())
    }
}
