//! Adam (Kingma, Ba 2014) and AdamW (Loshchilov, Hutter 2017).

use limpid_core::{Shape, Tensor, setters};

use crate::optim::core::{Kept, Update, power};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// Adam: each weight's step is its mean gradient over the root of its mean squared gradient,
/// m ← β₁m + (1−β₁)g ; v ← β₂v + (1−β₂)g² ; p ← p − lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + eps). Weight decay is added to
/// the gradient. Torch's `optim.Adam`.
pub type Adam = FirstOrder<Moments<false>>;

/// Adam with decoupled weight decay: the weights shrink by lr·decay beside the step. Torch's `optim.AdamW`; the decay
/// is 1e-2 unless set.
pub type AdamW = FirstOrder<Moments<true>>;

/// The rule of both: they differ in what weight decay means and in its default.
#[derive(Debug)]
pub struct Moments<const DECOUPLED: bool>;

setters! { Adam by with {
    /// With these rates of forgetting (default: (0.9, 0.999)).
    betas: (f64, f64),
    /// With this addend of the denominator (default: 1e-8).
    eps: f64,
    /// With this weight decay (default: 0).
    weight_decay: f64,
    /// With the largest second moment so far instead of the last one.
    amsgrad: bool,
    /// Uphill.
    maximize: bool,
    /// Whether the decay acts on the weights instead of the gradient.
    decoupled_weight_decay: bool,
} }

setters! { AdamW by with {
    /// With these rates of forgetting (default: (0.9, 0.999)).
    betas: (f64, f64),
    /// With this addend of the denominator (default: 1e-8).
    eps: f64,
    /// With this weight decay (default: 1e-2).
    weight_decay: f64,
    /// With the largest second moment so far instead of the last one.
    amsgrad: bool,
    /// Uphill.
    maximize: bool,
} }

impl<const DECOUPLED: bool> Rule for Moments<DECOUPLED> {
    const NAME: &'static str = if DECOUPLED { "AdamW" } else { "Adam" };
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1e-3], Range::NOT_NEGATIVE),
        spec("betas", &[0.9, 0.999], Range::BELOW_ONE),
        spec("eps", &[1e-8], Range::NOT_NEGATIVE),
        spec("weight_decay", if DECOUPLED { &[1e-2] } else { &[0.0] }, Range::NOT_NEGATIVE),
        spec("amsgrad", &[0.0], Range::FLAG),
        spec("maximize", &[0.0], Range::FLAG),
        spec("decoupled_weight_decay", if DECOUPLED { &[1.0] } else { &[0.0] }, Range::FLAG),
    ];

    fn keeps(options: &Options, shape: &Shape) -> Vec<Kept> {
        let mut keeps = vec![Kept::steps(), Kept::like("exp_avg", shape), Kept::like("exp_avg_sq", shape)];
        if options.flag("amsgrad") {
            keeps.push(Kept::like("max_exp_avg_sq", shape));
        }
        keeps
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let ([b1, b2], eps) = (u.options.all("betas"), u.number("eps"));
        let dtype = u.value.dtype();
        // In f64, as torch computes them on the host: 1 − β₂ᵗ has three digits in f32.
        let steps = u.counted(0);
        let one = steps.ones_like();
        let first = &one - power(b1, &steps);
        let second = &one / (&one - power(b2, &steps)).sqrt();
        let (g, value) = if u.options.flag("decoupled_weight_decay") {
            (u.direction(), u.shrunk())
        } else {
            (u.decayed(), u.value.clone())
        };
        let moment = u.kept(1) * b1 + &g * (1.0 - b1);
        let square = u.kept(2) * b2 + &g * &g * (1.0 - b2);
        u.keep(1, &moment);
        u.keep(2, &square);
        let spread = if u.options.flag("amsgrad") {
            let largest = u.kept(3).maximum(&square);
            u.keep(3, &largest);
            largest
        } else {
            square
        };
        let denominator = spread.sqrt() * second.to_dtype(dtype) + eps;
        let rate = &u.lr / first.to_dtype(dtype);
        value - moment / denominator * rate
    }
}
