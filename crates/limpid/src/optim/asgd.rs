//! Averaged stochastic gradient descent (Polyak, Juditsky 1992).

use limpid_core::{Shape, Tensor, setters};

use crate::optim::core::{Kept, Update};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// Averaged SGD: p ← p·(1 − λη) − η·g with η = lr/(1 + λ·lr·t)^α, and beside it the mean of the values from step t0 on,
/// which its state holds as `ax`. Torch's `optim.ASGD`; the rate is 1e-2 unless set.
pub type ASGD = FirstOrder<Averaged>;

/// The rule of [`ASGD`].
#[derive(Debug)]
pub struct Averaged;

setters! { ASGD by with {
    /// With this decay term λ (default: 1e-4).
    lambd: f64,
    /// With this power of the rate's fall (default: 0.75).
    alpha: f64,
    /// With averages from this step on (default: 1e6).
    t0: f64,
    /// With this weight decay (default: 0).
    weight_decay: f64,
    /// Uphill.
    maximize: bool,
} }

impl Rule for Averaged {
    const NAME: &'static str = "ASGD";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1e-2], Range::NOT_NEGATIVE),
        spec("lambd", &[1e-4], Range::NOT_NEGATIVE),
        spec("alpha", &[0.75], Range::NOT_NEGATIVE),
        spec("t0", &[1e6], Range::ANY),
        spec("weight_decay", &[0.0], Range::NOT_NEGATIVE),
        spec("maximize", &[0.0], Range::FLAG),
    ];

    fn keeps(options: &Options, shape: &Shape) -> Vec<Kept> {
        let (eta, mu) = (Kept::number("eta", options.number("lr")), Kept::number("mu", 1.0));
        vec![Kept::steps(), eta, mu, Kept::like("ax", shape)]
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let (lambda, alpha, t0) = (u.number("lambd"), u.number("alpha"), u.number("t0"));
        let dtype = u.value.dtype();
        let steps = u.counted(0);
        let g = u.decayed();
        let (eta, mu) = (u.kept(1), u.kept(2));
        let kept = (eta.ones_like() - &eta * lambda).to_dtype(dtype);
        let value = &u.value * kept - g * eta.to_dtype(dtype);
        let mean = u.kept(3);
        // A weight of 1 takes the value itself, without rounding.
        let moved = &mean + (&value - &mean) * mu.to_dtype(dtype);
        u.keep(3, &value.where_(&mu.eq(1.0), moved));
        u.keep(1, &(&u.rate / (&u.rate * lambda * &steps + 1.0).pow(alpha)));
        u.keep(2, &(steps - t0).clamp_min(1.0).reciprocal());
        value
    }
}
