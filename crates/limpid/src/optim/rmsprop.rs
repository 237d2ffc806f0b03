//! RMSprop (Tieleman, Hinton 2012).

use limpid_core::{Shape, Tensor, setters};

use crate::optim::core::{Kept, Update};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// RMSprop: v ← αv + (1−α)g² ; p ← p − lr·g/(√v + eps). Centered: with v less the square of the mean gradient; with
/// momentum: b ← momentum·b + g/(√v + eps), p ← p − lr·b. Torch's `optim.RMSprop`; the rate is 1e-2 unless set.
pub type RMSprop = FirstOrder<MeanSquares>;

/// The rule of [`RMSprop`].
#[derive(Debug)]
pub struct MeanSquares;

setters! { RMSprop by with {
    /// With this rate of forgetting (default: 0.99).
    alpha: f64,
    /// With this addend of the denominator (default: 1e-8).
    eps: f64,
    /// With this weight decay (default: 0).
    weight_decay: f64,
    /// With momentum (default: none).
    momentum: f64,
    /// With the variance of the gradient instead of its mean square.
    centered: bool,
    /// Uphill.
    maximize: bool,
} }

impl Rule for MeanSquares {
    const NAME: &'static str = "RMSprop";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1e-2], Range::NOT_NEGATIVE),
        spec("alpha", &[0.99], Range::NOT_NEGATIVE),
        spec("eps", &[1e-8], Range::NOT_NEGATIVE),
        spec("weight_decay", &[0.0], Range::NOT_NEGATIVE),
        spec("momentum", &[0.0], Range::NOT_NEGATIVE),
        spec("centered", &[0.0], Range::FLAG),
        spec("maximize", &[0.0], Range::FLAG),
    ];

    fn keeps(options: &Options, shape: &Shape) -> Vec<Kept> {
        let mut keeps = vec![Kept::steps(), Kept::like("square_avg", shape)];
        if options.flag("centered") {
            keeps.push(Kept::like("grad_avg", shape));
        }
        if options.number("momentum") > 0.0 {
            keeps.push(Kept::like("momentum_buffer", shape));
        }
        keeps
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let (alpha, eps, momentum) = (u.number("alpha"), u.number("eps"), u.number("momentum"));
        let centered = u.options.flag("centered");
        u.count(0);
        let g = u.decayed();
        let mut square = u.kept(1) * alpha + &g * &g * (1.0 - alpha);
        u.keep(1, &square);
        if centered {
            let mean = u.kept(2) * alpha + &g * (1.0 - alpha);
            u.keep(2, &mean);
            square = square - &mean * &mean;
        }
        let mut step = g / (square.sqrt() + eps);
        if momentum > 0.0 {
            let n = 2 + usize::from(centered);
            step = u.kept(n) * momentum + step;
            u.keep(n, &step);
        }
        &u.value - step * &u.lr
    }
}
