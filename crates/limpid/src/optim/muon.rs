//! Muon (Jordan et al. 2024).

use limpid_core::{DType, Error, Shape, Tensor, setters};

use crate::optim::core::{Kept, Update};
use crate::optim::optimizer::{FirstOrder, Rule};
use crate::optim::options::{Options, Range, Spec, spec};
use crate::param::Parameter;

/// Muon, for the matrices of hidden layers: b ← momentum·b + (1 − momentum)·g ; the update (nesterov: g moved towards b
/// by momentum, else b) is made nearly orthogonal by `ns_steps` Newton–Schulz steps X ← aX + (b·XXᵀ + c·(XXᵀ)²)X in
/// bf16 ; p ← p·(1 − lr·weight_decay) − lr·r·X, where `adjust_lr_fn` says r. Torch's `optim.Muon`; the rate is 1e-3
/// unless set. Other parameters belong to another optimizer, as AdamW.
///
/// ```
/// use limpid::prelude::*;
/// let model = Linear::new(8, 4);
/// let bias = model.bias.clone().expect("it has one");
/// let mut muon = Muon::groups([Group::of(&[model.weight.clone()])]).lr(0.02);
/// let mut adam = AdamW::groups([Group::of(&[bias])]);
/// let loss = model.forward(&Tensor::ones([2, 8])).square().mean(..);
/// let gradients = loss.gradients(&model)?;
/// muon.apply(gradients.clone())?;
/// adam.apply(gradients)?;
/// # Ok::<(), limpid::Error>(())
/// ```
pub type Muon = FirstOrder<Orthogonal>;

/// The rule of [`Muon`].
#[derive(Debug)]
pub struct Orthogonal;

setters! { Muon by with {
    /// With this decoupled weight decay (default: 0.1).
    weight_decay: f64,
    /// With this momentum (default: 0.95).
    momentum: f64,
    /// With Nesterov's momentum (default: yes).
    nesterov: bool,
    /// With these coefficients (a, b, c) of the Newton–Schulz steps (default: (3.4445, −4.775, 2.0315)).
    ns_coefficients: (f64, f64, f64),
    /// With this smallest norm (default: 1e-7).
    eps: f64,
} }

/// What `adjust_lr_fn` may be.
const ADJUSTMENTS: [&str; 3] = ["original", "match_rms_adamw", "spectral_unclamped"];

impl Muon {
    /// With so many Newton–Schulz steps (default: 5).
    pub fn ns_steps(self, steps: usize) -> Muon {
        self.with("ns_steps", steps as f64)
    }

    /// With the rate of a matrix `[A, B]` times √max(1, A/B) (`"original"`, the default), 0.2·√max(A, B)
    /// (`"match_rms_adamw"`) or √(A/B) (`"spectral_unclamped"`).
    pub fn adjust_lr_fn(self, name: &str) -> Muon {
        match ADJUSTMENTS.iter().position(|known| *known == name) {
            Some(i) => self.with("adjust_lr_fn", i as f64),
            None => {
                let error = Error::new(format!("Muon: there is no adjust_lr_fn {name:?}"));
                self.fail(error.help(format!("one of {}", ADJUSTMENTS.join(", "))))
            }
        }
    }
}

/// The matrix with singular values of about 1, by Newton–Schulz steps in bf16 that sum in f32.
fn orthogonal(g: &Tensor, [a, b, c]: [f64; 3], steps: usize, eps: f64) -> Tensor {
    let tall = g.size(0) > g.size(1);
    let half = |x: Tensor| x.to_dtype(DType::BF16).to_dtype(DType::F32);
    let x = half(if tall { g.t() } else { g.clone() });
    let mut x = half(&x / half(x.norm(..)).clamp_min(eps));
    for _ in 0..steps {
        let gram = half(x.matmul(&x.t()));
        let update = half(added(b, &gram, &(gram.matmul(&gram) * c)));
        x = half(added(a, &x, &update.matmul(&x)));
    }
    if tall { x.t() } else { x }
}

/// factor·x + product in f32, rounded once, as torch's `addmm` of halves computes it: a bf16 that it rounds the other
/// way is far from it.
fn added(factor: f64, x: &Tensor, product: &Tensor) -> Tensor {
    let wide = x.to_dtype(DType::F64) * f64::from(factor as f32) + product.to_dtype(DType::F64);
    wide.to_dtype(DType::F32)
}

/// start + (end − start)·weight.
fn lerp(start: &Tensor, end: &Tensor, weight: f64) -> Tensor {
    start + (end - start) * weight
}

impl Rule for Orthogonal {
    const NAME: &'static str = "Muon";
    const OPTIONS: &'static [Spec] = &[
        spec("lr", &[1e-3], Range::NOT_NEGATIVE),
        spec("weight_decay", &[0.1], Range::NOT_NEGATIVE),
        spec("momentum", &[0.95], Range::NOT_NEGATIVE),
        spec("nesterov", &[1.0], Range::FLAG),
        spec("ns_coefficients", &[3.4445, -4.7750, 2.0315], Range::ANY),
        spec("eps", &[1e-7], Range::NOT_NEGATIVE),
        spec("ns_steps", &[5.0], Range::new("below 100", |x| x[0] >= 0.0 && x[0] < 100.0)),
        spec("adjust_lr_fn", &[0.0], Range::new("0, 1 or 2", |x| [0.0, 1.0, 2.0].contains(&x[0]))),
    ];

    fn refuse(_options: &Options, parameters: &[Parameter]) -> Option<Error> {
        let other = parameters.iter().find(|p| p.shape().len() != 2)?;
        let name = other.cell().label().map_or_else(String::new, |label| format!(" {label}"));
        let error = Error::new(format!("Muon: the parameter{name} has shape {}, which is no matrix", other.shape()));
        Some(error.help("Group::of(&[matrices]), and another optimizer for the rest"))
    }

    fn keeps(_options: &Options, shape: &Shape) -> Vec<Kept> {
        vec![Kept::like("momentum_buffer", shape)]
    }

    fn update(u: &mut Update<'_>) -> Tensor {
        let momentum = u.number("momentum");
        let buffer = lerp(&u.kept(0), &u.grad, 1.0 - momentum);
        u.keep(0, &buffer);
        let moved = if u.options.flag("nesterov") { lerp(&u.grad, &buffer, momentum) } else { buffer };
        let steps = u.number("ns_steps") as usize;
        let step = orthogonal(&moved, u.options.all("ns_coefficients"), steps, u.number("eps"));
        let (rows, columns) = (u.value.size(0) as f64, u.value.size(1) as f64);
        let ratio = match u.number("adjust_lr_fn") as usize {
            1 => 0.2 * rows.max(columns).sqrt(),
            2 => (rows / columns.max(1.0)).sqrt(),
            _ => (rows / columns.max(1.0)).max(1.0).sqrt(),
        };
        u.shrunk() - step.to_dtype(u.value.dtype()) * (&u.lr * ratio)
    }
}
