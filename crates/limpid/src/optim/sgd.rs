//! Stochastic gradient descent.

use limpid_core::{Error, Rows, Shape, Tensor, setters};

use crate::optim::core::{Kept, Update};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};
use crate::param::Parameter;

/// p ← p − lr·d, with d = g + weight_decay·p, and with momentum b ← momentum·b + (1 − dampening)·d, d = b (nesterov:
/// d + momentum·b). Torch's `optim.SGD`; the rate is 1e-3 unless set.
///
/// ```
/// use limpid::prelude::*;
/// let w = Parameter::new(&Tensor::from([1.0f32, 2.0]));
/// let mut sgd = SGD::groups([Group::of(&[w.clone()])]).lr(0.1);
/// sgd.step(&w.tensor().square().sum(..))?;
/// assert_eq!(w.value()?.to_vec::<f32>()?, [0.8, 1.6]);
/// # Ok::<(), limpid::Error>(())
/// ```
pub type SGD = FirstOrder<Descent>;

/// The rule of [`SGD`].
#[derive(Debug)]
pub struct Descent;

setters! { SGD by with {
    /// With momentum (default: none).
    momentum: f64,
    /// With the gradient damped by 1 − dampening before it joins the momentum.
    dampening: f64,
    /// With this weight decay.
    weight_decay: f64,
    /// With Nesterov's momentum.
    nesterov: bool,
    /// Uphill.
    maximize: bool,
} }

impl Rule for Descent {
    const NAME: &'static str = "SGD";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1e-3], Range::NOT_NEGATIVE),
        spec("momentum", &[0.0], Range::NOT_NEGATIVE),
        spec("dampening", &[0.0], Range::ANY),
        spec("weight_decay", &[0.0], Range::NOT_NEGATIVE),
        spec("nesterov", &[0.0], Range::FLAG),
        spec("maximize", &[0.0], Range::FLAG),
    ];

    fn refuse(options: &Options, _parameters: &[Parameter]) -> Option<Error> {
        let (momentum, dampening) = (options.number("momentum"), options.number("dampening"));
        let wrong = options.flag("nesterov") && (momentum == 0.0 || dampening != 0.0);
        wrong.then(|| {
            let what = format!("SGD: nesterov with momentum {momentum} and dampening {dampening}");
            Error::new(what).help("a momentum of more than 0 and a dampening of 0")
        })
    }

    fn keeps(options: &Options, shape: &Shape) -> Vec<Kept> {
        let (momentum, dampening) = (options.number("momentum"), options.number("dampening"));
        let mut keeps = Vec::new();
        if momentum != 0.0 {
            keeps.push(Kept::like("momentum_buffer", shape));
            if dampening != 0.0 {
                keeps.push(Kept::steps());
            }
        }
        keeps
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let (momentum, dampening) = (u.number("momentum"), u.number("dampening"));
        let mut d = u.decayed();
        if momentum != 0.0 {
            let mut joins = d.clone();
            if dampening != 0.0 {
                // Torch's first buffer is the gradient itself, undamped.
                let steps = u.kept(1);
                let factor = steps.ones_like().where_(&steps.eq(0.0), 1.0 - dampening);
                u.count(1);
                joins = joins * factor.to_dtype(d.dtype());
            }
            let moved = u.kept(0) * momentum + joins;
            u.keep(0, &moved);
            d = if u.options.flag("nesterov") { d + &moved * momentum } else { moved };
        }
        &u.value - d * &u.lr
    }

    fn update_rows(u: &mut Update<'_>, rows: &Rows) -> Option<Tensor> {
        let plain = u.number("momentum") == 0.0 && u.number("weight_decay") == 0.0;
        let (sums, lr) = (u.row_sums(rows), u.lr.clone());
        plain.then(|| u.rows_moved(rows, |p| p - sums * lr))
    }
}
