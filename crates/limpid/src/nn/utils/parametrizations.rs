//! Parametrizations: `torch.nn.utils.parametrizations`, and the older `weight_norm` and `spectral_norm` of
//! `torch.nn.utils`, whose originals stand beside where the parameter stood.

use std::sync::Arc;

use limpid_core::{Error, Result, Tensor};

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

/// What [`spectral_norm`] takes; torch's defaults.
#[derive(Clone, Copy, Debug)]
pub struct SpectralNormOptions {
    /// Power iterations at each pass in training.
    pub n_power_iterations: usize,
    /// Below which no vector is divided by its norm.
    pub eps: f64,
    /// The axis of the outputs: 1 for transposed convolutions.
    pub dim: isize,
}

impl Default for SpectralNormOptions {
    fn default() -> SpectralNormOptions {
        SpectralNormOptions { n_power_iterations: 1, eps: 1e-12, dim: 0 }
    }
}

impl SpectralNormOptions {
    /// One iteration, eps 10⁻¹², axis 0.
    pub fn new() -> SpectralNormOptions {
        SpectralNormOptions::default()
    }

    /// Power iterations at each pass in training (default: 1).
    pub fn n_power_iterations(self, n_power_iterations: usize) -> SpectralNormOptions {
        SpectralNormOptions { n_power_iterations, ..self }
    }

    /// Below which no vector is divided by its norm (default: 10⁻¹²).
    pub fn eps(self, eps: f64) -> SpectralNormOptions {
        SpectralNormOptions { eps, ..self }
    }

    /// The axis of the outputs (default: 0; 1 for transposed convolutions).
    pub fn dim(self, dim: isize) -> SpectralNormOptions {
        SpectralNormOptions { dim, ..self }
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

/// How [`orthogonal`] makes an orthogonal matrix of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrthogonalMap {
    /// exp(A) of a skew-symmetric A.
    MatrixExp,
    /// (1 + A/2)·(1 − A/2)⁻¹ of a skew-symmetric A.
    Cayley,
    /// The product of Householder's reflections by the columns below the diagonal.
    Householder,
}

/// An orthogonal matrix as a function of any.
#[derive(Debug, Module)]
#[module(kind = name)]
struct Orthogonal {
    /// The matrix around which the function is taken.
    base: Option<Buffer>,
    #[module(skip)]
    map: OrthogonalMap,
}

impl Orthogonal {
    fn name(&self) -> &'static str {
        "_Orthogonal"
    }
}

/// Axes −2 and −1 exchanged where there are more columns than rows; and whether they were.
#[track_caller]
fn tall(x: &Tensor) -> (Tensor, bool) {
    let wide = x.size(-2) < x.size(-1);
    (if wide { x.transpose(-2, -1) } else { x.clone() }, wide)
}

/// exp(A), or Cayley's function of A, the skew-symmetric matrix of x's lower triangle; its first k columns.
#[track_caller]
fn of_skew(x: &Tensor, map: OrthogonalMap) -> Tensor {
    let (n, k) = (x.size(-2), x.size(-1));
    let lower = x.tril(0).pad(-1, 0, (n - k) as isize, 0.0);
    let skew = &lower - lower.transpose(-2, -1);
    let q = if map == OrthogonalMap::MatrixExp {
        skew.matrix_exp()
    } else {
        let half = &skew * 0.5;
        let one = Tensor::eye(n).to_dtype(x.dtype());
        // 1 − A/2 has the symmetric part 1, so elimination needs no exchange of rows.
        (&one - &half).inverse_without_pivots().matmul(&(&one + &half))
    };
    q.narrow(-1, 0, k)
}

/// The first k columns of the product of the reflections by v = (0…, 1, x below the diagonal), times the signs on the
/// diagonal of x. The product is 1 − V·U⁻¹·Vᵀ, U upper triangular with V·Vᵀ above its diagonal and half of it on it.
#[track_caller]
fn of_reflections(x: &Tensor) -> Tensor {
    let (n, k) = (x.size(-2), x.size(-1));
    let one = Tensor::eye(n).to_dtype(x.dtype()).narrow(-1, 0, k);
    let v = x.tril(-1) + &one;
    let products = v.transpose(-2, -1).matmul(&v);
    let upper = products.triu(1) + products.triu(0).tril(0) * 0.5;
    let q = &one - v.matmul(&upper.inverse_without_pivots()).matmul(&v.narrow(-2, 0, k).transpose(-2, -1));
    q * x.detach().diagonal(0, -2, -1).trunc().unsqueeze(-2)
}

impl Parametrization for Orthogonal {
    fn forward(&self, originals: &[Tensor]) -> Tensor {
        let [x] = originals else { return Tensor::failed(Error::new("orthogonal: not one original")) };
        let (x, wide) = tall(x);
        let mut q = match self.map {
            OrthogonalMap::Householder => of_reflections(&x),
            map => of_skew(&x, map),
        };
        if let Some(base) = &self.base {
            q = base.tensor().matmul(&q);
        }
        if wide { q.transpose(-2, -1) } else { q }
    }

    fn right_inverse(&self, value: &Tensor) -> Result<Vec<Tensor>> {
        let (q, wide) = tall(value);
        let Some(base) = &self.base else {
            if self.map != OrthogonalMap::Householder {
                let error = Error::new("orthogonal: no original is known for a value without trivialisation");
                return Err(error.help("use_trivialization, or Householder"));
            }
            let x = reflections_of(&q)?;
            return Ok(vec![if wide { x.transpose(-2, -1) } else { x }]);
        };
        base.set(&completed(&q)?)?;
        // With −1 on its diagonal and 0 elsewhere, each function gives the identity.
        let minus = -Tensor::eye(q.size(-2)).to_dtype(q.dtype()).narrow(-1, 0, q.size(-1)).expand_to(q.shape());
        Ok(vec![if wide { minus.transpose(-2, -1) } else { minus }])
    }
}

/// `f` of each matrix of a batch, on the host: of its columns, and how long they are.
fn each_matrix(x: &Tensor, f: impl Fn(Vec<f64>, usize) -> Vec<f64>) -> Result<Tensor> {
    let (n, columns) = (x.size(-2), x.transpose(-2, -1));
    let all = columns.to_vec::<f64>()?;
    let made: Vec<f64> = all.chunks((n * x.size(-1)).max(1)).flat_map(|matrix| f(matrix.to_vec(), n)).collect();
    Ok(Tensor::from_vec(made, columns.shape()).to_dtype(x.dtype()).transpose(-2, -1))
}

/// The columns below the diagonal of the reflections whose product, times the signs on the diagonal, gives Q of Q·R.
fn reflections_of(q: &Tensor) -> Result<Tensor> {
    each_matrix(q, |columns, n| {
        let qr = super::qr::decompose(columns, n);
        let mut x = qr.columns;
        for (k, tau) in qr.tau.iter().enumerate() {
            let sign = if x[k * n + k] < 0.0 { -1.0 } else { 1.0 };
            // Without a reflection there is nothing to turn back.
            x[k * n + k] = if *tau == 0.0 { -sign } else { sign };
        }
        x
    })
}

/// An orthogonal matrix [n, n] whose first columns are those of q, made orthonormal where they are not.
fn completed(q: &Tensor) -> Result<Tensor> {
    let (n, k) = (q.size(-2), q.size(-1));
    let one = Tensor::eye(k).to_dtype(q.dtype());
    let off = (q.transpose(-2, -1).matmul(q) - one).abs().amax(..).item()?;
    let eps = if q.dtype() == limpid_core::DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    if n == k && off <= 10.0 * n as f64 * eps {
        return Ok(q.clone());
    }
    let more = Tensor::zeros_of(q.shape().with(q.rank() - 1, n - k), q.dtype()).randn_like();
    each_matrix(&Tensor::cat(&[q, &more], -1), super::qr::orthonormal)
}

/// An orthogonal matrix (of each of the last two axes): orthonormal columns, or rows where these are fewer. `map` is
/// torch's `orthogonal_map`: without one, [`OrthogonalMap::MatrixExp`] for square matrices, else
/// [`OrthogonalMap::Householder`]. With `use_trivialization` (torch's default) a buffer `base` keeps the value that the
/// parameter has now, made orthogonal where it is not, and the function turns it. Lezcano-Casado (2019).
///
/// ```
/// use limpid::nn::utils::parametrizations::orthogonal;
/// use limpid::prelude::*;
/// let layer = Linear::new(3, 5);
/// orthogonal(&layer.weight, None, true)?;
/// let w = layer.weight.value()?;
/// assert!((w.t().matmul(&w) - Tensor::eye(3)).abs().amax(..).item()? < 1e-5);
/// # Ok::<(), limpid::Error>(())
/// ```
///
/// # Errors
/// With fewer than two axes; without trivialisation except for Householder's map; when the value can not be computed.
pub fn orthogonal(
    parameter: &Parameter,
    map: impl Into<Option<OrthogonalMap>>,
    use_trivialization: bool,
) -> Result<()> {
    let shape = parameter.shape();
    let rank = shape.rank();
    if rank < 2 || shape.elements() == 0 {
        return Err(Error::new(format!("orthogonal: {parameter:?} holds no matrix")));
    }
    let square = shape[rank - 2] == shape[rank - 1];
    let usual = if square { OrthogonalMap::MatrixExp } else { OrthogonalMap::Householder };
    let n = shape[rank - 2].max(shape[rank - 1]);
    let base = || Buffer::new(&Tensor::zeros_of(shape.with(rank - 2, n).with(rank - 1, n), parameter.dtype()));
    let step = Orthogonal { base: use_trivialization.then(base), map: map.into().unwrap_or(usual) };
    register_parametrization(parameter, step)
}
