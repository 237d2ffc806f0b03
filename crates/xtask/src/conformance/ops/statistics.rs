//! Statistics along axes, histograms, search.

use limpid::{DType, Tensor, Unique, Value};

use crate::conformance::args::{Args, Result};
use crate::conformance::ops::Call;
use crate::conformance::ops::reduce::{Pair, axes, pair_of_spread, reduce};

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("aminmax", |a| {
        let x = a.required::<Tensor>("input")?;
        let axes = axes(a.keywords(), "dim", &x)?;
        let keepdim = a.or("keepdim", false)?;
        both(if keepdim { x.aminmax_keepdim(&axes[..]) } else { x.aminmax(&axes[..]) })
    }),
    ("bucketize", |a| {
        let (x, boundaries) = (a.required::<Tensor>("input")?, a.required("boundaries")?);
        let narrow = a.keywords().or("out_int32", false)?;
        one(index_type(x.bucketize(&boundaries, a.or("right", false)?), narrow))
    }),
    ("count_nonzero", |a| {
        let x = a.required::<Tensor>("input")?;
        one(x.count_nonzero(&axes(a, "dim", &x)?[..]))
    }),
    ("cumulative_trapezoid", |a| trapezia(a, Tensor::cumulative_trapezoid)),
    ("diff", |a| {
        let (x, n, dim) = (a.required::<Tensor>("input")?, a.or("n", 1)?, a.or("dim", -1)?);
        let (prepend, append) = (a.option::<Tensor>("prepend")?, a.option::<Tensor>("append")?);
        one(x.diff(n, dim, prepend.as_ref(), append.as_ref()))
    }),
    ("histc", |a| {
        let x = a.required::<Tensor>("input")?;
        let (bins, min, max) = (a.or("bins", 100)?, a.or("min", 0.0)?, a.or("max", 0.0)?);
        one(x.histc(bins, min, max))
    }),
    ("isin", |a| {
        let (x, test) = (a.required::<Tensor>("elements")?, a.required::<Value>("test_elements")?);
        // What torch computes faster then.
        a.keywords().no_effect("assume_unique")?;
        one(x.isin(test, a.or("invert", false)?))
    }),
    ("kthvalue", |a| {
        let (x, k, dim) = (a.required::<Tensor>("input")?, a.required("k")?, a.or("dim", -1)?);
        both(if a.or("keepdim", false)? { x.kthvalue_keepdim(k, dim) } else { x.kthvalue(k, dim) })
    }),
    ("logcumsumexp", |a| {
        let x = a.required::<Tensor>("input")?;
        one(x.logcumsumexp(a.required("dim")?))
    }),
    ("median", |a| median(a, Tensor::median_all, Tensor::median, Tensor::median_keepdim)),
    ("mode", |a| {
        let (x, dim) = (a.required::<Tensor>("input")?, a.or("dim", -1)?);
        both(if a.or("keepdim", false)? { x.mode_keepdim(dim) } else { x.mode(dim) })
    }),
    ("msort", |a| one(a.required::<Tensor>("input")?.msort())),
    ("nanmean", |a| reduce(a, "dim", |x, axes| x.nanmean(axes), |x, axes| x.nanmean_keepdim(axes))),
    ("nanmedian", |a| median(a, Tensor::nanmedian_all, Tensor::nanmedian, Tensor::nanmedian_keepdim)),
    ("nanquantile", |a| {
        let f = |x: &Tensor, q, axes: &[isize], by: &str| x.nanquantile(q, axes, by);
        quantile(a, f, |x, q, axes, by| x.nanquantile_keepdim(q, axes, by))
    }),
    ("nansum", |a| reduce(a, "dim", |x, axes| x.nansum(axes), |x, axes| x.nansum_keepdim(axes))),
    ("quantile", |a| {
        let f = |x: &Tensor, q, axes: &[isize], by: &str| x.quantile(q, axes, by);
        quantile(a, f, |x, q, axes, by| x.quantile_keepdim(q, axes, by))
    }),
    ("renorm", |a| {
        let (x, p, dim) = (a.required::<Tensor>("input")?, a.required("p")?, a.required("dim")?);
        one(x.renorm(p, dim, a.required("maxnorm")?))
    }),
    ("searchsorted", |a| {
        let (sequence, values) = (a.required::<Tensor>("sorted_sequence")?, a.required::<Value>("input")?);
        let (narrow, right) = (a.keywords().or("out_int32", false)?, a.or("right", false)?);
        // Another name of `right`, which contradicts it in one way only.
        let side: Option<String> = a.option("side")?;
        let right = match side.as_deref() {
            None => right,
            Some("right") => true,
            Some("left") if !right => false,
            Some(side) => return Err(format!("argument side not read: {side}")),
        };
        let sorter: Option<Tensor> = a.option("sorter")?;
        one(index_type(sequence.searchsorted(values, right, sorter.as_ref()), narrow))
    }),
    ("std_mean", |a| pair_of_spread(a, STD_MEAN, |x, axes, c| x.std_mean_keepdim(axes, c))),
    ("trapezoid", |a| trapezia(a, Tensor::trapezoid)),
    ("unique", |a| {
        let x = a.required::<Tensor>("input")?;
        // Limpid's are always sorted.
        a.no_effect("sorted")?;
        let (inverse, counts) = (a.or("return_inverse", false)?, a.or("return_counts", false)?);
        Ok(parts(x.unique_with(a.option("dim")?), inverse, counts))
    }),
    ("unique_consecutive", |a| {
        let x = a.required::<Tensor>("input")?;
        let (inverse, counts) = (a.or("return_inverse", false)?, a.or("return_counts", false)?);
        Ok(parts(x.unique_consecutive(a.option("dim")?), inverse, counts))
    }),
    ("var_mean", |a| pair_of_spread(a, VAR_MEAN, |x, axes, c| x.var_mean_keepdim(axes, c))),
];

const STD_MEAN: Pair = |x, axes, c| x.std_mean(axes, c);
const VAR_MEAN: Pair = |x, axes, c| x.var_mean(axes, c);

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

fn both((a, b): (Tensor, Tensor)) -> Result<Vec<Tensor>> {
    Ok(vec![a, b])
}

/// Torch's `out_int32`.
fn index_type(index: Tensor, narrow: bool) -> Tensor {
    if narrow { index.to_dtype(DType::I32) } else { index }
}

/// What torch's `return_inverse` and `return_counts` ask for.
fn parts(found: Unique, inverse: bool, counts: bool) -> Vec<Tensor> {
    let mut all = vec![found.values];
    all.extend(inverse.then_some(found.inverse));
    all.extend(counts.then_some(found.counts));
    all
}

/// An integral, by places or by a distance, which are two functions of one name in torch.
fn trapezia(a: &mut Args<'_>, f: fn(&Tensor, Value, isize) -> Tensor) -> Result<Vec<Tensor>> {
    let y = a.required("y")?;
    let places: Option<Value> = a.option("x")?;
    let distance = a.keywords().option("dx")?;
    one(f(&y, places.or(distance).unwrap_or(1.into()), a.or("dim", -1)?))
}

/// The median of all, or along an axis with its index.
fn median(
    a: &mut Args<'_>,
    all: fn(&Tensor) -> Tensor,
    along: fn(&Tensor, isize) -> (Tensor, Tensor),
    kept: fn(&Tensor, isize) -> (Tensor, Tensor),
) -> Result<Vec<Tensor>> {
    let x = a.required("input")?;
    match a.option("dim")? {
        None => one(all(&x)),
        Some(dim) => both(if a.or("keepdim", false)? { kept(&x, dim) } else { along(&x, dim) }),
    }
}

/// Quantiles of the input over axes by an interpolation.
type Quantile = fn(&Tensor, Value, &[isize], &str) -> Tensor;

fn quantile(a: &mut Args<'_>, plain: Quantile, kept: Quantile) -> Result<Vec<Tensor>> {
    let (x, q) = (a.required::<Tensor>("input")?, a.required::<Value>("q")?);
    let axes = axes(a, "dim", &x)?;
    let f = if a.or("keepdim", false)? { kept } else { plain };
    one(f(&x, q, &axes, &a.keywords().or("interpolation", "linear".to_owned())?))
}
