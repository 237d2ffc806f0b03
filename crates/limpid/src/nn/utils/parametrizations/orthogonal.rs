//! Orthogonal matrices as functions of any.

use limpid_core::{Error, Result, Tensor};

use crate::Module;
use crate::nn::init::orthonormal;
use crate::nn::utils::parametrize::{Parametrization, register_parametrization};
use crate::param::{Buffer, Parameter};

/// How [`orthogonal`] makes an orthogonal matrix of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrthogonalMap {
    /// exp(A) of a skew-symmetric A.
    MatrixExp,
    /// (1 − A/2)⁻¹·(1 + A/2) of a skew-symmetric A.
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
        (&one - &half).solve(&(&one + &half))
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
    let turned = upper.solve_triangular(&v.narrow(-2, 0, k).transpose(-2, -1), true, true, false);
    let q = &one - v.matmul(&turned);
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

/// The columns below the diagonal of the reflections whose product, times the signs on the diagonal, gives q. On the
/// host: what is there once needs no plan.
fn reflections_of(q: &Tensor) -> Result<Tensor> {
    let (n, columns) = (q.size(-2), q.transpose(-2, -1));
    let mut all = columns.to_vec::<f64>()?;
    all.chunks_mut((n * q.size(-1)).max(1)).for_each(|matrix| reflected(matrix, n));
    Ok(Tensor::from_vec(all, columns.shape()).to_dtype(q.dtype()).transpose(-2, -1))
}

/// The orthonormal columns of a matrix become, below its diagonal, the vectors of LAPACK's reflections 1 − τ·v·vᵀ, whose
/// element on the diagonal is 1, and on it the signs of R.
fn reflected(columns: &mut [f64], rows: usize) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for k in 0..columns.len().checked_div(rows).unwrap_or(0) {
        let (before, after) = columns[k * rows..].split_at_mut(rows);
        let (alpha, v) = (before[k], &mut before[k + 1..]);
        let below = dot(v, v);
        // LAPACK makes no reflection of a column that has nothing below its diagonal: there is nothing to turn back.
        if below == 0.0 {
            before[k] = if alpha < 0.0 { 1.0 } else { -1.0 };
            continue;
        }
        let beta = -(alpha * alpha + below).sqrt().copysign(alpha);
        v.iter_mut().for_each(|x| *x /= alpha - beta);
        for column in after.chunks_exact_mut(rows) {
            let (first, rest) = (column[k], &mut column[k + 1..]);
            let along = (beta - alpha) / beta * (first + dot(v, rest));
            rest.iter_mut().zip(&*v).for_each(|(x, v)| *x -= along * v);
            column[k] = first - along;
        }
        before[k] = if beta < 0.0 { -1.0 } else { 1.0 };
    }
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
    Ok(orthonormal(&Tensor::cat(&[q, &more], -1)))
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
