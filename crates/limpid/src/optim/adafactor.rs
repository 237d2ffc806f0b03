//! Adafactor (Shazeer, Stern 2018).

use limpid_core::{DType, Shape, Tensor, setters};

use crate::optim::core::{Kept, Update};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};

/// Adafactor: of a matrix's mean squared gradients only the means R of rows and C of columns are kept, V = R·C/mean(R),
/// and the step is relative to the size of the weights: with ρ = min(lr, 1/√t),
/// p ← p − max(eps₂, rms(p))·ρ · u/max(1, rms(u)/d), u = g/√V, where the means forget at 1 − t^beta2_decay. Weight decay
/// is decoupled. Torch's `optim.Adafactor`; the rate is 1e-2 unless set.
pub type Adafactor = FirstOrder<Factors>;

/// The rule of [`Adafactor`].
#[derive(Debug)]
pub struct Factors;

setters! { Adafactor by with {
    /// With this power of the step, at most 0 (default: −0.8).
    beta2_decay: f64,
    /// With updates clipped to this root mean square (default: 1).
    d: f64,
    /// With this weight decay (default: 0).
    weight_decay: f64,
    /// Uphill.
    maximize: bool,
} }

impl Adafactor {
    /// With the smallest root of a mean square (default: None, the distance of 1 to the next number of the parameter's
    /// type) and the smallest size of the weights (default: 1e-3).
    pub fn eps(self, eps1: Option<f64>, eps2: f64) -> Adafactor {
        self.with("eps", (eps1.unwrap_or(f64::NAN), eps2))
    }
}

/// The distance of 1 to the next larger number.
fn machine_epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON,
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        _ => f64::from(f32::EPSILON),
    }
}

/// √(mean of the squares), of no elements 0.
fn rms(x: &Tensor) -> Tensor {
    x.norm(..) / (x.numel().max(1) as f64).sqrt()
}

impl Rule for Factors {
    const NAME: &'static str = "Adafactor";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1e-2], Range::NOT_NEGATIVE),
        spec("beta2_decay", &[-0.8], Range::NOT_POSITIVE),
        spec(
            "eps",
            &[f64::NAN, 1e-3],
            Range::new("none or at least 0, and at least 0", |x| (x[0].is_nan() || x[0] >= 0.0) && x[1] >= 0.0),
        ),
        spec("d", &[1.0], Range::new("at least 1", |x| x[0] >= 1.0)),
        spec("weight_decay", &[0.0], Range::NOT_NEGATIVE),
        spec("maximize", &[0.0], Range::FLAG),
    ];

    fn keeps(_options: &Options, shape: &Shape) -> Vec<Kept> {
        let rank = shape.len();
        if rank < 2 {
            return vec![Kept::steps(), Kept::like("variance", shape)];
        }
        let (rows, columns) = (shape.with(rank - 1, 1), shape.with(rank - 2, 1));
        vec![Kept::steps(), Kept::like("row_var", &rows), Kept::like("col_var", &columns)]
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let ([eps1, eps2], d) = (u.options.all("eps"), u.number("d"));
        let dtype = u.value.dtype();
        let eps1 = if eps1.is_nan() { machine_epsilon(dtype) } else { eps1 };
        let steps = u.counted(0);
        let learned = steps.pow(u.number("beta2_decay")).to_dtype(dtype);
        let rate = u.rate.minimum(steps.rsqrt()) * rms(&u.value).to_dtype(DType::F64).clamp_min(eps2);
        let g = u.direction();
        let value = u.shrunk();
        let estimate = if g.rank() < 2 {
            let old = u.kept(1);
            let variance = &old + (&g * &g - &old) * &learned;
            u.keep(1, &variance);
            variance
        } else {
            let square = &g * &g;
            let (rows, columns) = (u.kept(1), u.kept(2));
            let rows = &rows + (square.mean_keepdim(-1) - &rows) * &learned;
            let columns = &columns + (square.mean_keepdim(-2) - &columns) * &learned;
            u.keep(1, &rows);
            u.keep(2, &columns);
            let mean = rows.mean_keepdim(-2).clamp_min(eps1);
            &rows * &columns / mean
        };
        let update = g * estimate.clamp_min(eps1 * eps1).rsqrt();
        let clipped = rms(&update).to_dtype(DType::F64) / d;
        value - update * (rate / clipped.clamp_min(1.0)).to_dtype(dtype)
    }
}
