//! Rprop (Riedmiller, Braun 1993).

use limpid_core::{Shape, Tensor, setters};

use crate::optim::core::{Kept, Update};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// Rprop, for whole batches: each weight has a step of its own, which grows by η⁺ while the sign of its gradient stays,
/// shrinks by η⁻ when it turns (and the weight waits), and starts at lr: p ← p − sign(g)·step. Torch's `optim.Rprop`;
/// the rate is 1e-2 unless set.
pub type Rprop = FirstOrder<Signs>;

/// The rule of [`Rprop`].
#[derive(Debug)]
pub struct Signs;

setters! { Rprop by with {
    /// With these factors (η⁻, η⁺) (default: (0.5, 1.2)).
    etas: (f64, f64),
    /// With steps from the first to the second (default: (1e-6, 50)).
    step_sizes: (f64, f64),
    /// Uphill.
    maximize: bool,
} }

impl Rule for Signs {
    const NAME: &'static str = "Rprop";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1e-2], Range::NOT_NEGATIVE),
        spec(
            "etas",
            &[0.5, 1.2],
            Range::new("one between 0 and 1 and one above 1", |x| 0.0 < x[0] && x[0] < 1.0 && 1.0 < x[1]),
        ),
        spec("step_sizes", &[1e-6, 50.0], Range::ANY),
        spec("maximize", &[0.0], Range::FLAG),
    ];

    fn keeps(options: &Options, shape: &Shape) -> Vec<Kept> {
        vec![Kept::steps(), Kept::like("prev", shape), Kept::like("step_size", shape).of(options.number("lr"))]
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let ([shrink, grow], [smallest, largest]) = (u.options.all("etas"), u.options.all("step_sizes"));
        u.count(0);
        let g = u.direction();
        let agreement = &g * u.kept(1);
        let turned = agreement.lt(0.0);
        let one = agreement.ones_like();
        let factor = (&one * grow).where_(&agreement.gt(0.0), (&one * shrink).where_(&turned, one));
        let step = (u.kept(2) * factor).clamp(smallest, largest);
        let g = g.zeros_like().where_(&turned, g);
        u.keep(1, &g);
        u.keep(2, &step);
        &u.value - g.sign() * step
    }
}
