//! Operations along axes: reductions, running ones, sorting.

use limpid::{DType, MatrixNorm, Tensor};

use crate::conformance::args::{Args, Result};
use crate::conformance::functionals::typed_rows;
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("all", |a| reduce(a, "dim", |x, axes| x.all(axes), |x, axes| x.all_keepdim(axes))),
    ("amax", |a| reduce(a, "dim", |x, axes| x.amax(axes), |x, axes| x.amax_keepdim(axes))),
    ("amin", |a| reduce(a, "dim", |x, axes| x.amin(axes), |x, axes| x.amin_keepdim(axes))),
    ("any", |a| reduce(a, "dim", |x, axes| x.any(axes), |x, axes| x.any_keepdim(axes))),
    ("argmax", |a| reduce(a, "dim", |x, axes| x.argmax(axes), |x, axes| x.argmax_keepdim(axes))),
    ("argmin", |a| reduce(a, "dim", |x, axes| x.argmin(axes), |x, axes| x.argmin_keepdim(axes))),
    ("argsort", |a| Ok(vec![sorted(a)?.1])),
    ("cummax", |a| running_extremum(a, Tensor::cummax)),
    ("cummin", |a| running_extremum(a, Tensor::cummin)),
    ("cumprod", |a| running(a, Tensor::cumprod)),
    ("cumsum", |a| running(a, Tensor::cumsum)),
    ("log_softmax", |a| {
        let (x, dim) = typed_rows(a)?;
        Ok(vec![x.log_softmax(dim)])
    }),
    ("logsumexp", |a| {
        let (x, axes) = (a.required::<Tensor>("input")?, a.required::<Vec<isize>>("dim")?);
        let f = if a.or("keepdim", false)? { Tensor::logsumexp_keepdim } else { Tensor::logsumexp };
        Ok(vec![f(&x, &axes[..])])
    }),
    ("max", |a| extremum(a, Tensor::max, Tensor::max_keepdim, |x| x.amax(..), |x, y| x.maximum(y))),
    ("mean", |a| reduce(a, "dim", |x, axes| x.mean(axes), |x, axes| x.mean_keepdim(axes))),
    ("min", |a| extremum(a, Tensor::min, Tensor::min_keepdim, |x| x.amin(..), |x, y| x.minimum(y))),
    ("norm", |a| {
        let x = a.required::<Tensor>("input")?;
        let p = a.or("p", MatrixNorm::Fro)?;
        let axes = axes(a, "dim", &x)?;
        let keepdim = a.or("keepdim", false)?;
        a.absent("dtype")?;
        let f = if keepdim { Tensor::vector_norm_keepdim } else { Tensor::vector_norm };
        Ok(vec![match (p, &axes[..]) {
            (MatrixNorm::Nuc, &[rows, columns]) => x.matrix_norm(p, [rows, columns], keepdim),
            (MatrixNorm::Nuc, axes) => return Err(format!("argument dim not read: {axes:?}")),
            // The Euclidean norm has two names.
            (MatrixNorm::Fro, axes) => f(&x, 2.0, axes),
            (MatrixNorm::Ord(p), axes) => f(&x, p, axes),
        }])
    }),
    ("prod", |a| reduce(a, "dim", |x, axes| x.prod(axes), |x, axes| x.prod_keepdim(axes))),
    ("softmax", |a| {
        let (x, dim) = typed_rows(a)?;
        Ok(vec![x.softmax(dim)])
    }),
    ("sort", |a| {
        let (values, indices) = sorted(a)?;
        Ok(vec![values, indices])
    }),
    ("std", |a| spread(a, |x, axes, c| x.std(axes, c), |x, axes, c| x.std_keepdim(axes, c))),
    ("sum", |a| reduce(a, "dim", |x, axes| x.sum(axes), |x, axes| x.sum_keepdim(axes))),
    ("topk", |a| {
        let (x, k, dim) = (a.required::<Tensor>("input")?, a.required("k")?, a.or("dim", -1)?);
        let largest = a.or("largest", true)?;
        a.no_effect("sorted")?;
        let (values, indices) = x.topk_with(k, dim, largest);
        Ok(vec![values, indices])
    }),
    ("var", |a| spread(a, |x, axes, c| x.var(axes, c), |x, axes, c| x.var_keepdim(axes, c))),
];

/// The axes that the next argument names; all of `x` where it names none.
pub fn axes(a: &mut Args<'_>, name: &str, x: &Tensor) -> Result<Vec<isize>> {
    let named: Vec<isize> = a.option(name)?.unwrap_or_default();
    Ok(if named.is_empty() { (0..x.rank() as isize).collect() } else { named })
}

/// A reduction.
pub type Reduce = fn(&Tensor, &[isize]) -> Tensor;

/// A reduction, with another function where the axes stay.
pub fn reduce(a: &mut Args<'_>, name: &str, plain: Reduce, kept: Reduce) -> Result<Vec<Tensor>> {
    let x = a.required::<Tensor>("input")?;
    let axes = axes(a, name, &x)?;
    let keepdim = a.or("keepdim", false)?;
    let dtype: Option<DType> = a.keywords().option("dtype")?;
    let f = if keepdim { kept } else { plain };
    Ok(vec![f(&dtype.map_or(x.clone(), |dtype| x.to_dtype(dtype)), &axes)])
}

fn running(a: &mut Args<'_>, f: fn(&Tensor, isize) -> Tensor) -> Result<Vec<Tensor>> {
    let (x, dim) = typed_rows(a)?;
    Ok(vec![f(&x, dim)])
}

fn running_extremum(a: &mut Args<'_>, f: fn(&Tensor, isize) -> (Tensor, Tensor)) -> Result<Vec<Tensor>> {
    let (values, indices) = f(&a.required("input")?, a.required("dim")?);
    Ok(vec![values, indices])
}

/// Torch's three functions of one name: over all, along an axis with indices, of two tensors.
fn extremum(
    a: &mut Args<'_>,
    along: fn(&Tensor, isize) -> (Tensor, Tensor),
    kept: fn(&Tensor, isize) -> (Tensor, Tensor),
    all: fn(&Tensor) -> Tensor,
    of_two: fn(&Tensor, &Tensor) -> Tensor,
) -> Result<Vec<Tensor>> {
    let x = a.required::<Tensor>("input")?;
    match a.peek("dim").or(a.peek("other")) {
        None => Ok(vec![all(&x)]),
        Some(second) if second.get("tensor").is_some() => Ok(vec![of_two(&x, &a.required("other")?)]),
        Some(_) => {
            let dim = a.required("dim")?;
            let (values, indices) = if a.or("keepdim", false)? { kept(&x, dim) } else { along(&x, dim) };
            Ok(vec![values, indices])
        }
    }
}

fn sorted(a: &mut Args<'_>) -> Result<(Tensor, Tensor)> {
    let (x, dim, descending) = (a.required::<Tensor>("input")?, a.or("dim", -1)?, a.or("descending", false)?);
    // Limpid's order is always the stable one.
    a.keywords().no_effect("stable")?;
    Ok(x.sort(dim, descending))
}

/// A function of the input, axes and the correction.
type Spread = fn(&Tensor, &[isize], f64) -> Tensor;

/// One with two results.
pub type Pair = fn(&Tensor, &[isize], f64) -> (Tensor, Tensor);

fn spread(a: &mut Args<'_>, plain: Spread, kept: Spread) -> Result<Vec<Tensor>> {
    let (x, axes, keepdim, correction) = spread_of(a)?;
    Ok(vec![if keepdim { kept } else { plain }(&x, &axes, correction)])
}

/// Variance or deviation, and the mean.
pub fn pair_of_spread(a: &mut Args<'_>, plain: Pair, kept: Pair) -> Result<Vec<Tensor>> {
    let (x, axes, keepdim, correction) = spread_of(a)?;
    let (spread, mean) = if keepdim { kept } else { plain }(&x, &axes, correction);
    Ok(vec![spread, mean])
}

/// The arguments of variance and deviation: the older `unbiased` is a correction of 1 or 0, and may stand where `dim`
/// does.
fn spread_of(a: &mut Args<'_>) -> Result<(Tensor, Vec<isize>, bool, f64)> {
    let x = a.required::<Tensor>("input")?;
    let axes = match a.peek("dim") {
        Some(first) if first.is_boolean() => (0..x.rank() as isize).collect(),
        _ => axes(a, "dim", &x)?,
    };
    let unbiased: Option<bool> = a.option("unbiased")?;
    let keepdim = a.or("keepdim", false)?;
    let correction: Option<f64> = a.keywords().option("correction")?;
    Ok((x, axes, keepdim, correction.unwrap_or(if unbiased == Some(false) { 0.0 } else { 1.0 })))
}
