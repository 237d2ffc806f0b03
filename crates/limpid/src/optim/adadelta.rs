//! Adadelta (Zeiler 2012).

use limpid_core::{Shape, Tensor, setters};

use crate::optim::core::{Kept, Update};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// Adadelta: v ← ρv + (1−ρ)g² ; Δ = √(u + eps)/√(v + eps) · g ; u ← ρu + (1−ρ)Δ² ; p ← p − lr·Δ. Torch's
/// `optim.Adadelta`; the rate is 1 unless set.
pub type Adadelta = FirstOrder<Deltas>;

/// The rule of [`Adadelta`].
#[derive(Debug)]
pub struct Deltas;

setters! { Adadelta by with {
    /// With this rate of forgetting (default: 0.9).
    rho: f64,
    /// With this addend under the roots (default: 1e-6).
    eps: f64,
    /// With this weight decay (default: 0).
    weight_decay: f64,
    /// Uphill.
    maximize: bool,
} }

impl Rule for Deltas {
    const NAME: &'static str = "Adadelta";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1.0], Range::NOT_NEGATIVE),
        spec("rho", &[0.9], Range::PART),
        spec("eps", &[1e-6], Range::NOT_NEGATIVE),
        spec("weight_decay", &[0.0], Range::NOT_NEGATIVE),
        spec("maximize", &[0.0], Range::FLAG),
    ];

    fn keeps(_options: &Options, shape: &Shape) -> Vec<Kept> {
        vec![Kept::steps(), Kept::like("square_avg", shape), Kept::like("acc_delta", shape)]
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let (rho, eps) = (u.number("rho"), u.number("eps"));
        u.count(0);
        let g = u.decayed();
        let square = u.kept(1) * rho + &g * &g * (1.0 - rho);
        u.keep(1, &square);
        let delta = (u.kept(2) + eps).sqrt() / (square + eps).sqrt() * g;
        u.keep(2, &(u.kept(2) * rho + &delta * &delta * (1.0 - rho)));
        &u.value - delta * &u.lr
    }
}
