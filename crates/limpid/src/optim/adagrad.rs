//! Adagrad (Duchi, Hazan, Singer 2011).

use limpid_core::{Rows, Shape, Tensor, setters};

use crate::optim::core::{Kept, Update};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// Adagrad: s ← s + g² ; p ← p − lr/(1 + (t−1)·lr_decay) · g/(√s + eps). Torch's `optim.Adagrad`; the rate is 1e-2
/// unless set.
pub type Adagrad = FirstOrder<Sums>;

/// The rule of [`Adagrad`].
#[derive(Debug)]
pub struct Sums;

setters! { Adagrad by with {
    /// With a rate that falls with the number of steps (default: 0).
    lr_decay: f64,
    /// With this weight decay (default: 0).
    weight_decay: f64,
    /// With sums that begin here (default: 0).
    initial_accumulator_value: f64,
    /// With this addend of the denominator (default: 1e-10).
    eps: f64,
    /// Uphill.
    maximize: bool,
} }

/// lr/(1 + (t−1)·lr_decay), in the parameter's type; counts the step.
fn rate(u: &mut Update<'_>) -> Tensor {
    let steps = u.counted(0);
    (&u.rate / ((steps - 1.0) * u.number("lr_decay") + 1.0)).to_dtype(u.value.dtype())
}

impl Rule for Sums {
    const NAME: &'static str = "Adagrad";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1e-2], Range::NOT_NEGATIVE),
        spec("lr_decay", &[0.0], Range::NOT_NEGATIVE),
        spec("weight_decay", &[0.0], Range::NOT_NEGATIVE),
        spec("initial_accumulator_value", &[0.0], Range::NOT_NEGATIVE),
        spec("eps", &[1e-10], Range::NOT_NEGATIVE),
        spec("maximize", &[0.0], Range::FLAG),
    ];

    fn keeps(options: &Options, shape: &Shape) -> Vec<Kept> {
        vec![Kept::steps(), Kept::like("sum", shape).of(options.number("initial_accumulator_value"))]
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let rate = rate(u);
        let g = u.decayed();
        let sum = u.kept(1) + &g * &g;
        u.keep(1, &sum);
        &u.value - g / (sum.sqrt() + u.number("eps")) * rate
    }

    fn update_rows(u: &mut Update<'_>, rows: &Rows) -> Option<Tensor> {
        if u.number("weight_decay") != 0.0 {
            return None;
        }
        let (rate, g) = (rate(u), u.row_sums(rows));
        let sum = u.keep_rows(1, rows, |sum| sum + &g * &g);
        let step = g / (sum.sqrt() + u.number("eps")) * rate;
        Some(u.rows_moved(rows, |p| p - step))
    }
}
