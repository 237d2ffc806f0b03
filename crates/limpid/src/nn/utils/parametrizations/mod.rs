//! Parametrizations: `torch.nn.utils.parametrizations`, and the older `weight_norm` and `spectral_norm` of
//! `torch.nn.utils`, whose originals stand beside where the parameter stood.

mod orthogonal;

pub use orthogonal::{OrthogonalMap, orthogonal};

use std::sync::Arc;

use limpid_core::{Error, Result, Tensor, options};

use crate::Module;
use crate::derived::Style;
use crate::module::Visitor;
use crate::nn::utils::parametrize::{Parametrization, put, register_parametrization};
use crate::param::{Buffer, Parameter};
use crate::site::Mode;

/// w = g·v/‖v‖, the norm over all axes but `dim`.
#[derive(Debug, Module)]
#[module(kind = name)]
struct WeightNorm {
    #[module(skip)]
    dim: Option<usize>,
}

impl WeightNorm {
    fn name(&self) -> &'static str {
        "_WeightNorm"
    }

    #[track_caller]
    fn norm(&self, v: &Tensor) -> Tensor {
        let Some(dim) = self.dim else { return v.norm(..) };
        let others: Vec<isize> = (0..v.rank()).filter(|&axis| axis != dim).map(|axis| axis as isize).collect();
        // Nothing is summed where there is one axis only.
        if others.is_empty() { v.abs() } else { v.norm_keepdim(&others[..]) }
    }
}

impl Parametrization for WeightNorm {
    fn forward(&self, originals: &[Tensor]) -> Tensor {
        match originals {
            [g, v] => v * (g / self.norm(v)),
            _ => Tensor::failed(Error::new("weight_norm: not g and v")),
        }
    }

    fn right_inverse(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        Ok(vec![self.norm(value), value.clone()])
    }
}

fn checked_norm(name: &str, parameter: &Parameter, dim: Option<usize>) -> Result<WeightNorm> {
    let rank = parameter.shape().rank();
    match dim {
        Some(dim) if dim >= rank => {
            Err(Error::new(format!("{name}: axis {dim} of {parameter:?}"))
                .help(format!("an axis below {rank}, or None")))
        }
        _ => Ok(WeightNorm { dim }),
    }
}

/// w = g·v/‖v‖ with originals g (`original0`) and v (`original1`), the norm over all axes but `dim` (torch's default: 0),
/// or over all where it is `None`. Salimans and Kingma (2016).
///
/// ```
/// use limpid::nn::utils::parametrizations::weight_norm;
/// use limpid::prelude::*;
/// let layer = Linear::new(20, 40);
/// weight_norm(&layer.weight, Some(0))?;
/// let names: Vec<String> = layer.state_dict().names().map(str::to_owned).collect();
/// assert_eq!(names, ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]);
/// assert_eq!(*layer.state_dict().get(&names[1]).unwrap().shape(), Shape::from([40, 1]));
/// # Ok::<(), limpid::Error>(())
/// ```
///
/// # Errors
/// Where there is no such axis, or the value can not be computed.
pub fn weight_norm(parameter: &Parameter, dim: impl Into<Option<usize>>) -> Result<()> {
    register_parametrization(parameter, checked_norm("weight_norm", parameter, dim.into())?)
}

/// [`weight_norm`] with the names of torch's older `nn.utils.weight_norm`: `weight_g` and `weight_v`.
/// [`remove_parametrizations`](super::parametrize::remove_parametrizations) takes it off.
///
/// # Errors
/// As [`weight_norm`]; where the parameter has a parametrization.
pub fn weight_norm_beside(parameter: &Parameter, dim: impl Into<Option<usize>>) -> Result<()> {
    beside(parameter, &["g", "v"], Arc::new(checked_norm("weight_norm", parameter, dim.into())?))
}

fn beside(parameter: &Parameter, names: &[&str], step: Arc<dyn Parametrization>) -> Result<()> {
    if parameter.derived().is_some() {
        let error = Error::new(format!("parametrize: {parameter:?} has a parametrization"));
        return Err(error.help("parametrize::remove_parametrizations first"));
    }
    put(parameter, Style::Beside, names, step)
}

options! {
    /// What [`spectral_norm`] takes. Torch's names and defaults.
    #[derive(Copy)]
    SpectralNormOptions {
        values {
            /// Power iterations at each pass in training (default: 1).
            n_power_iterations: usize = 1,
            /// Below which no vector is divided by its norm (default: 10⁻¹²).
            eps: f64 = 1e-12,
            /// The axis of the outputs (default: 0): 1 for transposed convolutions.
            dim: isize = 0,
        }
    }
}

/// w/σ with σ = uᵀ·W·v, the largest singular value of w as a matrix, by power iteration.
#[derive(Debug)]
struct SpectralNorm {
    u: Buffer,
    v: Buffer,
    mode: Mode,
    options: SpectralNormOptions,
    dim: usize,
    /// Torch's older one: other names, and v before u.
    older: bool,
}

impl Module for SpectralNorm {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let [u, v] = if self.older { ["u", "v"] } else { ["_u", "_v"] };
        visitor.buffer(u, &self.u);
        visitor.buffer(v, &self.v);
        visitor.mode(&self.mode);
    }
    fn kind(&self) -> &'static str {
        "_SpectralNorm"
    }
}

impl SpectralNorm {
    /// With random vectors.
    fn new(parameter: &Parameter, options: &SpectralNormOptions, older: bool) -> Result<SpectralNorm> {
        let shape = parameter.shape();
        let Some(dim) = shape.axis(options.dim) else {
            return Err(Error::new(format!("spectral_norm: axis {} of {parameter:?}", options.dim)));
        };
        if options.n_power_iterations == 0 {
            return Err(Error::new("spectral_norm: 0 power iterations").help("n_power_iterations of 1 or more"));
        }
        let (rows, dtype) = (shape[dim], parameter.dtype());
        let columns = shape.elements().checked_div(rows).unwrap_or(0);
        let [u, v] = [rows, columns]
            .map(|n| Buffer::new(&Tensor::zeros_of([n], dtype).randn_like().normalize(2.0, 0, options.eps)));
        Ok(SpectralNorm { u, v, mode: Mode::new(), options: *options, dim, older })
    }

    /// The weight as a matrix with its outputs as rows.
    #[track_caller]
    fn matrix(&self, weight: &Tensor) -> Tensor {
        weight.movedim(&[self.dim as isize], &[0]).flatten(1)
    }

    /// The vectors after so many iterations.
    #[track_caller]
    fn iterated(&self, matrix: &Tensor, times: usize) -> (Tensor, Tensor) {
        let (matrix, mut u, mut v) = (matrix.detach(), self.u.tensor(), self.v.tensor());
        let unit = |x: Tensor| x.normalize(2.0, 0, self.options.eps);
        for _ in 0..times {
            if self.older {
                v = unit(matrix.t().matmul(&u));
                u = unit(matrix.matmul(&v));
            } else {
                u = unit(matrix.matmul(&v));
                v = unit(matrix.t().matmul(&u));
            }
        }
        (u.detach(), v.detach())
    }
}

impl Parametrization for SpectralNorm {
    fn forward(&self, originals: &[Tensor]) -> Tensor {
        let [weight] = originals else { return Tensor::failed(Error::new("spectral_norm: not one original")) };
        if weight.rank() == 1 {
            return weight.normalize(2.0, 0, self.options.eps);
        }
        let matrix = self.matrix(weight);
        let training = self.mode.is_training();
        let (u, v) = self.iterated(&matrix, if training { self.options.n_power_iterations } else { 0 });
        if training {
            self.u.assign(&u);
            self.v.assign(&v);
        }
        weight / u.matmul(&matrix.matmul(&v))
    }
}

/// Spectral normalisation: w divided by its largest singular value as a matrix, which an estimate follows by
/// `n_power_iterations` of the power method at each pass in training; the estimate's vectors are buffers (`_u`, `_v`).
/// Miyato et al. (2018).
///
/// ```
/// use limpid::nn::utils::parametrizations::{SpectralNormOptions, spectral_norm};
/// use limpid::prelude::*;
/// let layer = Linear::new(8, 8);
/// spectral_norm(&layer.weight, &SpectralNormOptions::new())?;
/// assert!((0..20).map(|_| layer.weight.value()).last().unwrap()?.norm(..).item()? >= 0.99);
/// # Ok::<(), limpid::Error>(())
/// ```
///
/// # Errors
/// Where there is no such axis, no iteration, or the value can not be computed.
pub fn spectral_norm(parameter: &Parameter, options: &SpectralNormOptions) -> Result<()> {
    let norm = SpectralNorm::new(parameter, options, false)?;
    if parameter.shape().rank() > 1 {
        let (u, v) = norm.iterated(&norm.matrix(&parameter.value()?), 15);
        limpid_core::eval([&u, &v])?;
        norm.u.set(&u)?;
        norm.v.set(&v)?;
    }
    register_parametrization(parameter, norm)
}

/// [`spectral_norm`] as torch's older `nn.utils.spectral_norm` computes and names it: `weight_orig`, `weight_u`,
/// `weight_v`. [`remove_parametrizations`](super::parametrize::remove_parametrizations) takes it off.
///
/// # Errors
/// As [`spectral_norm`]; where the parameter has a parametrization.
pub fn spectral_norm_beside(parameter: &Parameter, options: &SpectralNormOptions) -> Result<()> {
    beside(parameter, &["orig"], Arc::new(SpectralNorm::new(parameter, options, true)?))
}
