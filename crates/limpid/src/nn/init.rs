//! Initial values: `torch.nn.init`. Each function writes its parameter at once, with numbers of this
//! thread's generator.

mod structured;

pub(crate) use structured::orthonormal;
pub use structured::{dirac_, eye_, orthogonal_, sparse_, trunc_normal_};

use limpid_core::{DType, Error, Result, Shape, Tensor};

use crate::param::Parameter;

/// The function after a layer, for [`calculate_gain`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// None, or a convolution.
    Linear,
    /// 1/(1 + e⁻ˣ)
    Sigmoid,
    /// tanh x
    Tanh,
    /// max(0, x)
    ReLU,
    /// x where x > 0, else this slope times x.
    LeakyReLU(f64),
    /// Self-normalising.
    SELU,
}

/// Whether the variance is kept forward (`FanIn`) or backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Number of inputs of an output.
    FanIn,
    /// Number of outputs of an input.
    FanOut,
}

/// The factor by which the deviation of initial weights makes up for what the function after them takes.
///
/// ```
/// use limpid::nn::init::{Nonlinearity, calculate_gain};
/// assert_eq!(calculate_gain(Nonlinearity::ReLU), 2f64.sqrt());
/// assert_eq!(calculate_gain(Nonlinearity::Tanh), 5.0 / 3.0);
/// ```
pub fn calculate_gain(nonlinearity: Nonlinearity) -> f64 {
    match nonlinearity {
        Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
        Nonlinearity::Tanh => 5.0 / 3.0,
        Nonlinearity::ReLU => 2f64.sqrt(),
        Nonlinearity::LeakyReLU(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
        Nonlinearity::SELU => 0.75,
    }
}

/// Inputs of an output and outputs of an input of weights `[out, in, window…]`.
///
/// # Errors
/// With fewer than two axes.
pub fn fans(shape: &Shape) -> Result<(usize, usize)> {
    if shape.rank() < 2 {
        return Err(Error::new(format!("init: fan in and fan out of a parameter of shape {shape}"))
            .help("uniform_ or normal_ for parameters with fewer than two axes"));
    }
    let window: usize = shape[2..].iter().product();
    Ok((shape[1] * window, shape[0] * window))
}

/// Numbers evenly spread over [low, high).
#[track_caller]
pub(crate) fn uniform(shape: impl Into<Shape>, dtype: DType, low: f64, high: f64) -> Tensor {
    Tensor::zeros_of(shape, dtype).rand_like() * (high - low) + low
}

/// Torch's first values of linear layers: Kaiming's uniform distribution with a = √5, which is
/// U(−1/√fan_in, 1/√fan_in), and the same for the bias.
#[track_caller]
pub(crate) fn default_uniform(shape: impl Into<Shape>, dtype: DType, fan_in: usize) -> Tensor {
    let bound = if fan_in > 0 { 1.0 / (fan_in as f64).sqrt() } else { 0.0 };
    uniform(shape, dtype, -bound, bound)
}

/// Glorot's and Bengio's first values of a matrix `[out, in]`.
#[track_caller]
pub(crate) fn xavier_uniform([out, within]: [usize; 2], dtype: DType) -> Tensor {
    let bound = if out > 0 || within > 0 { (6.0 / (out as f64 + within as f64)).sqrt() } else { 0.0 };
    uniform([out, within], dtype, -bound, bound)
}

#[track_caller]
fn filled(p: &Parameter, value: f64) -> Result<()> {
    p.set(&Tensor::full_of(p.shape(), value, p.dtype()))
}

/// Evenly spread over [low, high).
///
/// # Errors
/// When the parameter is no float.
///
/// ```
/// use limpid::prelude::*;
/// let layer = Linear::new(3, 2);
/// limpid::nn::init::uniform_(&layer.weight, 0.5, 1.0)?;
/// assert!(layer.weight.value()?.to_vec::<f32>()?.iter().all(|w| (0.5..1.0).contains(w)));
/// # Ok::<(), limpid::Error>(())
/// ```
pub fn uniform_(p: &Parameter, low: f64, high: f64) -> Result<()> {
    p.set(&uniform(p.shape(), p.dtype(), low, high))
}

/// Normally distributed.
///
/// # Errors
/// When the parameter is no float.
#[track_caller]
pub fn normal_(p: &Parameter, mean: f64, std: f64) -> Result<()> {
    p.set(&(Tensor::zeros_of(p.shape(), p.dtype()).randn_like() * std + mean))
}

/// All elements 0.
///
/// # Errors
/// When what is pending on the parameter fails.
#[track_caller]
pub fn zeros_(p: &Parameter) -> Result<()> {
    filled(p, 0.0)
}

/// All elements 1.
///
/// # Errors
/// When what is pending on the parameter fails.
#[track_caller]
pub fn ones_(p: &Parameter) -> Result<()> {
    filled(p, 1.0)
}

/// All elements `value`.
///
/// # Errors
/// When what is pending on the parameter fails.
#[track_caller]
pub fn constant_(p: &Parameter, value: f64) -> Result<()> {
    filled(p, value)
}

/// U(−a, a), a = gain·√(6/(fan_in + fan_out)). Glorot and Bengio (2010).
///
/// # Errors
/// With fewer than two axes.
pub fn xavier_uniform_(p: &Parameter, gain: f64) -> Result<()> {
    let (fan_in, fan_out) = fans(&p.shape())?;
    let bound = gain * (6.0 / (fan_in + fan_out) as f64).sqrt();
    uniform_(p, -bound, bound)
}

/// N(0, σ²), σ = gain·√(2/(fan_in + fan_out)). Glorot and Bengio (2010).
///
/// # Errors
/// With fewer than two axes.
pub fn xavier_normal_(p: &Parameter, gain: f64) -> Result<()> {
    let (fan_in, fan_out) = fans(&p.shape())?;
    normal_(p, 0.0, gain * (2.0 / (fan_in + fan_out) as f64).sqrt())
}

fn kaiming_std(p: &Parameter, mode: Mode, nonlinearity: Nonlinearity) -> Result<f64> {
    let (fan_in, fan_out) = fans(&p.shape())?;
    let fan = if mode == Mode::FanIn { fan_in } else { fan_out };
    Ok(calculate_gain(nonlinearity) / (fan as f64).sqrt())
}

/// U(−a, a), a = gain·√(3/fan). He et al. (2015).
///
/// # Errors
/// With fewer than two axes.
pub fn kaiming_uniform_(p: &Parameter, mode: Mode, nonlinearity: Nonlinearity) -> Result<()> {
    let bound = 3f64.sqrt() * kaiming_std(p, mode, nonlinearity)?;
    uniform_(p, -bound, bound)
}

/// N(0, σ²), σ = gain/√fan. He et al. (2015).
///
/// # Errors
/// With fewer than two axes.
pub fn kaiming_normal_(p: &Parameter, mode: Mode, nonlinearity: Nonlinearity) -> Result<()> {
    normal_(p, 0.0, kaiming_std(p, mode, nonlinearity)?)
}
