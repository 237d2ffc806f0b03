//! Adam for gradients of few rows.

use limpid_core::{Error, Rows, Shape, Tensor, setters};

use crate::optim::core::{Kept, Update, power};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// Adam of the rows that have a gradient: moments and weights of all others stay as they are, and a step costs what was
/// read. For tables read by sparse lookups ([`Embedding::sparse`](crate::nn::Embedding::sparse)). Torch's
/// `optim.SparseAdam`; the rate is 1e-3 unless set.
///
/// ```
/// use limpid::prelude::*;
/// let words = Embedding::new(1000, 4).sparse(true);
/// let mut adam = SparseAdam::new(&words).lr(0.1);
/// adam.step(&words.forward(&Tensor::from([7i64, 3])).square().sum(..))?;
/// # Ok::<(), limpid::Error>(())
/// ```
pub type SparseAdam = FirstOrder<RowMoments>;

/// The rule of [`SparseAdam`].
#[derive(Debug)]
pub struct RowMoments;

setters! { SparseAdam by with {
    /// With these rates of forgetting (default: (0.9, 0.999)).
    betas: (f64, f64),
    /// With this addend of the denominator (default: 1e-8).
    eps: f64,
    /// Uphill.
    maximize: bool,
} }

impl Rule for RowMoments {
    const NAME: &'static str = "SparseAdam";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1e-3], Range::POSITIVE),
        spec("betas", &[0.9, 0.999], Range::BELOW_ONE),
        spec("eps", &[1e-8], Range::POSITIVE),
        spec("maximize", &[0.0], Range::FLAG),
    ];
    const DENSE: bool = false;

    fn keeps(_options: &Options, shape: &Shape) -> Vec<Kept> {
        vec![Kept::steps(), Kept::like("exp_avg", shape), Kept::like("exp_avg_sq", shape)]
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let error = Error::new("SparseAdam: a dense gradient");
        Tensor::fail(error, &[&u.grad], u.value.shape().clone(), u.value.dtype())
    }

    fn update_rows(u: &mut Update<'_>, rows: &Rows) -> Option<Tensor> {
        let ([b1, b2], eps) = (u.options.all("betas"), u.number("eps"));
        let steps = u.counted(0);
        let one = steps.ones_like();
        let (first, second) = (&one - power(b1, &steps), &one - power(b2, &steps));
        let g = u.row_sums(rows);
        let moment = u.keep_rows(1, rows, |m| m + (&g - m) * (1.0 - b1));
        let square = u.keep_rows(2, rows, |v| v + (&g * &g - v) * (1.0 - b2));
        let rate = (&u.rate * second.sqrt() / first).to_dtype(u.value.dtype());
        let step = moment / (square.sqrt() + eps) * rate;
        Some(u.rows_moved(rows, |p| p - step))
    }
}
