//! Initial values with a structure: cut off, identities, orthogonal, sparse. Values are drawn once, on the host or by a
//! few operations: none of this is recorded in a model's graph.

use limpid_core::{DType, Error, Result, Shape, Tensor, eval, rng_state, set_rng_state};

use super::uniform;
use crate::param::Parameter;

/// The distribution of the normal, Φ(x).
fn normal_cdf(x: f64) -> Result<f64> {
    Ok(0.5 * (1.0 + Tensor::from(x / std::f64::consts::SQRT_2).erf().item()?))
}

/// Normally distributed within [a, b]: values outside are drawn again.
///
/// Where less than three tenths of the normal lie within, candidates are spread evenly over [a, b] and accepted with the
/// probability of their density, as torch does; there the part of [a, b] whose density is below e⁻⁴⁰ of the largest is
/// left out.
///
/// # Errors
/// When the parameter is no float, std is not above 0, or a > b.
///
/// ```
/// use limpid::prelude::*;
/// let layer = Linear::new(30, 20);
/// limpid::nn::init::trunc_normal_(&layer.weight, 0.0, 1.0, -2.0, 2.0)?;
/// assert!(layer.weight.value()?.to_vec::<f32>()?.iter().all(|w| w.abs() <= 2.0));
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn trunc_normal_(p: &Parameter, mean: f64, std: f64, a: f64, b: f64) -> Result<()> {
    if !(std > 0.0 && a <= b && mean.is_finite()) {
        return Err(Error::new(format!("trunc_normal_: N({mean}, {std}²) within [{a}, {b}]")).help("std > 0, a ≤ b"));
    }
    let dtype = if p.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let like = Tensor::zeros_of(p.shape(), dtype);
    if normal_cdf((b - mean) / std)? - normal_cdf((a - mean) / std)? > 0.3 {
        let draw = || like.randn_like() * std + mean;
        let mut values = draw();
        loop {
            let outside = values.lt(a).logical_or(&values.gt(b));
            if !any(&outside, &values)? {
                return p.set(&values);
            }
            values = draw().where_(&outside, &values).detach();
        }
    }
    let mode = mean.clamp(a, b);
    let off = (mode - mean).abs();
    let reach = (off * off + 80.0 * std * std).sqrt() - off;
    let (low, high) = (a.max(mode - reach), b.min(mode + reach));
    let peak = -0.5 * ((mode - mean) / std).powi(2);
    let draw = || uniform(p.shape(), dtype, low, high);
    let refused = |values: &Tensor| like.rand_like().log().gt(((values - mean) / std).square() * -0.5 - peak);
    let mut values = draw();
    let mut pending = refused(&values);
    while any(&pending, &values)? {
        values = draw().where_(&pending, &values).detach();
        pending = pending.logical_and(&refused(&values)).detach();
    }
    p.set(&values)
}

/// Whether the condition holds anywhere. The values that go on are computed with it, once.
fn any(condition: &Tensor, values: &Tensor) -> Result<bool> {
    let any = condition.any(..);
    eval([condition, values, &any])?;
    Ok(any.item()? != 0.0)
}

/// Ones on the diagonal of a matrix, zeros elsewhere.
///
/// # Errors
/// Without exactly two axes.
pub fn eye_(p: &Parameter) -> Result<()> {
    let shape = p.shape();
    if shape.rank() != 2 {
        return Err(Error::new(format!("eye_: a parameter of shape {shape}, not a matrix")));
    }
    let (rows, cols) = (shape[0], shape[1]);
    p.set(&Tensor::eye(rows.max(cols)).narrow(0, 0, rows).narrow(1, 0, cols))
}

/// A convolution that passes on as many channels as it can: 1 in the middle of the windows from channel i to channel i
/// of each of `groups` groups, 0 elsewhere.
///
/// # Errors
/// Without 3, 4 or 5 axes; when the groups are not equal.
pub fn dirac_(p: &Parameter, groups: usize) -> Result<()> {
    let shape = p.shape();
    if !(3..=5).contains(&shape.rank()) {
        return Err(Error::new(format!("dirac_: a parameter of shape {shape}, not of a convolution")));
    }
    if groups == 0 || !shape[0].is_multiple_of(groups) {
        return Err(Error::new(format!("dirac_: {} channels are not {groups} equal groups", shape[0])));
    }
    let window: usize = shape[2..].iter().product();
    let middle = shape[2..].iter().fold(0, |at, size| at * size + size / 2);
    let mut values = vec![0.0f64; shape.elements()];
    let per_group = shape[0] / groups;
    for (group, channel) in (0..groups).flat_map(|g| (0..per_group.min(shape[1])).map(move |c| (g, c))) {
        let at = ((group * per_group + channel) * shape[1] + channel) * window + middle;
        if let Some(value) = values.get_mut(at) {
            *value = 1.0;
        }
    }
    p.set(&Tensor::from_vec(values, shape))
}

/// A matrix of orthonormal rows or columns, whichever are fewer, times `gain`; axes behind the first are one. The Q of
/// the QR decomposition of normal numbers with a positive diagonal of R: every orthogonal matrix is as likely.
/// In f64. Saxe et al. (2014).
///
/// # Errors
/// With fewer than two axes.
///
/// ```
/// use limpid::prelude::*;
/// let layer = Linear::new(5, 3);
/// limpid::nn::init::orthogonal_(&layer.weight, 1.0)?;
/// let w = layer.weight.value()?;
/// let off = (w.matmul(&w.t()) - Tensor::eye(3)).abs().amax(..);
/// assert!(off.item()? < 1e-6);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn orthogonal_(p: &Parameter, gain: f64) -> Result<()> {
    let shape = p.shape();
    if shape.rank() < 2 {
        return Err(Error::new(format!("orthogonal_: a parameter of shape {shape}, fewer than two axes")));
    }
    if shape.elements() == 0 {
        return Ok(());
    }
    let (rows, cols) = (shape[0], shape.elements() / shape[0]);
    let (long, short) = (rows.max(cols), rows.min(cols));
    let q = orthonormal(&Tensor::zeros_of([short, long], DType::F64).randn_like().t()) * gain;
    p.set(&if rows < cols { q.t() } else { q }.view(&shape))
}

/// Orthonormal columns that span those of x, such that R of the QR decomposition has a positive diagonal.
#[track_caller]
pub(crate) fn orthonormal(x: &Tensor) -> Tensor {
    let [q, r] = x.qr(false);
    q.where_(&r.diagonal(0, -2, -1).ge(0.0).unsqueeze(-2), &-&q)
}

/// N(0, std²) with ⌈`sparsity`·rows⌉ zeros at random places of each column. Martens (2010).
///
/// # Errors
/// Without exactly two axes; when `sparsity` is not from 0 to 1.
#[track_caller]
pub fn sparse_(p: &Parameter, sparsity: f64, std: f64) -> Result<()> {
    let shape: Shape = p.shape();
    if shape.rank() != 2 || !(0.0..=1.0).contains(&sparsity) {
        return Err(Error::new(format!("sparse_: a parameter of shape {shape}, a part of {sparsity} zeros"))
            .help("a matrix, and a number from 0 to 1"));
    }
    let before = rng_state();
    let zeros = (sparsity * shape[0] as f64).ceil() as usize;
    let values = Tensor::zeros_of(&shape, p.dtype()).randn_like() * std;
    if shape.elements() == 0 || values.error().is_some() {
        set_rng_state(before);
        return p.set(&values);
    }
    // The rank of a random number among those of its column.
    let rank = Tensor::zeros_of(&shape, DType::F64).rand_like().argsort(0, false).argsort(0, false);
    p.set(&values.zeros_like().where_(&rank.lt(zeros as i64), &values))
}
