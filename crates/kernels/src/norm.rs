//! Normalisation of contiguous rows (layer norm, RMS norm), and its gradients.

use std::borrow::Cow;

use crate::Cpu;
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::{each3, rows_per_task};
use crate::real::{Real, sum, sums};
use crate::slice::{Slice, SliceMut};

/// Elements that one task takes.
const TASK: usize = 32 << 10;
/// At most so many partial sums of the weights' gradients.
const PARTS: usize = 64;
/// Rows whose share in the weights' gradients is summed before it is added to the rest.
const SUBTOTAL: usize = 32;

/// Which rows are normalised, and around what.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Number of rows.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Whether the mean is taken off: a layer norm. If not, 0 stands for it: an RMS norm.
    pub centred: bool,
}

/// `out[r, c] = (x[r, c] - mean[r])·rstd[r]·weight[c] + bias[c]` with the row's mean and
/// `rstd = 1/√(variance + eps)`, the variance divided by `cols` (as `torch.nn.functional.layer_norm`, and `rms_norm`
/// where the mean is 0).
///
/// `src` and `out` are contiguous `[rows, cols]` and `weight`, `bias` `[cols]`, of one float type (no weight:
/// 1, no bias: 0). `mean` and `rstd` are `[rows]`, f64 for f64, else f32. f16 and bf16 are computed in f32 and
/// rounded once.
///
/// # Panics
/// When lengths or types do not fit each other, or the type is not a float.
pub fn row_norm(
    cpu: &Cpu,
    Rows { rows, cols, centred }: Rows,
    eps: f64,
    src: Slice,
    weight: Option<Slice>,
    bias: Option<Slice>,
    mut out: SliceMut,
    mut mean: SliceMut,
    mut rstd: SliceMut,
) {
    assert_eq!(src.dtype(), out.dtype());
    assert!(src.len() == rows * cols && out.len() == rows * cols && mean.len() == rows && rstd.len() == rows);
    for affine in [weight, bias].into_iter().flatten() {
        assert!(affine.len() == cols && affine.dtype() == src.dtype());
    }
    if src.dtype() == DType::F64 {
        let (weight, bias) = (weight.map(|w| w.get::<f64>()), bias.map(|b| b.get()));
        let norm = Norm { cols, centred, weight: full(weight, cols, 1.0), bias: full(bias, cols, 0.0) };
        return norm.forward(cpu, eps, src.get(), out.get(), mean.get(), rstd.get());
    }
    let (weight, bias) = (weight.map(|w| Floats::new(cpu, w)), bias.map(|b| Floats::new(cpu, b)));
    let weight = full(weight.as_ref().map(|w| w.get()), cols, 1.0);
    let bias = full(bias.as_ref().map(|b| b.get()), cols, 0.0);
    let (x, mut y) = (Floats::new(cpu, src), FloatsMut::new(out));
    Norm { cols, centred, weight, bias }.forward(cpu, eps, x.get(), y.get(), mean.get::<f32>(), rstd.get());
    y.finish(cpu);
}

/// The gradients of [`row_norm`] from the gradient `g` of its result. With x̂ = (x - mean)·rstd and
/// h = g·weight:
///
/// - `dx = rstd·(h - mean of h - x̂·mean of h·x̂)`, means over the row, that of h only where rows are centred;
/// - `dw[c] = Σ g[·, c]·x̂[·, c]` and `db[c] = Σ g[·, c]`, sums over the rows, where asked for.
///
/// Shapes and types are those of the forward pass: `x`, `g`, `dx` `[rows, cols]`; `weight`, `dw`, `db` `[cols]`;
/// `mean` and `rstd` `[rows]`, f32 for halves.
///
/// # Panics
/// When lengths or types do not fit each other, or the type is not a float.
pub fn row_norm_grad(
    cpu: &Cpu,
    Rows { rows, cols, centred }: Rows,
    x: Slice,
    weight: Option<Slice>,
    mean: Slice,
    rstd: Slice,
    g: Slice,
    mut dx: SliceMut,
    mut dw: Option<SliceMut>,
    mut db: Option<SliceMut>,
) {
    assert!(x.dtype() == dx.dtype() && g.dtype() == dx.dtype());
    assert!(x.len() == rows * cols && g.len() == rows * cols && dx.len() == rows * cols);
    assert!(mean.len() == rows && rstd.len() == rows && weight.is_none_or(|w| w.len() == cols));
    assert!([&dw, &db].into_iter().flatten().all(|d| d.len() == cols && d.dtype() == dx.dtype()));
    if x.dtype() == DType::F64 {
        let saved = Saved { x: x.get(), mean: mean.get(), rstd: rstd.get(), g: g.get() };
        let (dw, db) = (dw.as_mut().map(|d| d.get()), db.as_mut().map(|d| d.get()));
        let slopes = Slopes { cols, centred, weight: weight.map(|w| w.get()) };
        return slopes.backward(cpu, saved, dx.get::<f64>(), dw, db);
    }
    let (x, g, weight) = (Floats::new(cpu, x), Floats::new(cpu, g), weight.map(|w| Floats::new(cpu, w)));
    let slopes = Slopes { cols, centred, weight: weight.as_ref().map(|w| w.get()) };
    let saved = Saved { x: x.get(), mean: mean.get(), rstd: rstd.get(), g: g.get() };
    let (mut dx, mut dw, mut db) = (FloatsMut::new(dx), dw.map(FloatsMut::new), db.map(FloatsMut::new));
    let (dw_sums, db_sums) = (dw.as_mut().map(|d| d.get()), db.as_mut().map(|d| d.get()));
    slopes.backward(cpu, saved, dx.get(), dw_sums, db_sums);
    for out in [Some(dx), dw, db].into_iter().flatten() {
        out.finish(cpu);
    }
}

/// `values`, or `cols` times `default`.
fn full<T: Real>(values: Option<&[T]>, cols: usize, default: f64) -> Cow<'_, [T]> {
    values.map_or_else(|| Cow::Owned(vec![T::from_f64(default); cols]), Cow::Borrowed)
}

/// What all rows share. Without a weight or a bias they are filled in: they stay in the first cache.
struct Norm<'a, T: Real> {
    cols: usize,
    centred: bool,
    weight: Cow<'a, [T]>,
    bias: Cow<'a, [T]>,
}

/// What the backward pass gets.
#[derive(Clone, Copy)]
struct Saved<'a, T> {
    x: &'a [T],
    mean: &'a [T],
    rstd: &'a [T],
    g: &'a [T],
}

impl<T: Real> Norm<'_, T> {
    fn forward(&self, cpu: &Cpu, eps: f64, x: &[T], out: &mut [T], mean: &mut [T], rstd: &mut [T]) {
        let (cols, size) = (self.cols, rows_per_task(self.cols, TASK));
        let tasks = mean.len().div_ceil(size);
        each3(&cpu.pool, tasks, (out, size * cols), (mean, size), (rstd, size), |i, out, mean, rstd| {
            let x = &x[i * size * cols..][..out.len()];
            dispatch(cpu.isa, Forward { norm: self, eps, x, out, mean, rstd });
        });
    }
}

/// What all rows of the backward pass share.
#[derive(Clone, Copy)]
struct Slopes<'a, T> {
    cols: usize,
    centred: bool,
    weight: Option<&'a [T]>,
}

impl<T: Real> Slopes<'_, T> {
    fn backward(&self, cpu: &Cpu, saved: Saved<T>, dx: &mut [T], dw: Option<&mut [T]>, db: Option<&mut [T]>) {
        let (cols, rows) = (self.cols, saved.mean.len());
        // Sums over the rows need a part of each task.
        let sums = if dw.is_some() || db.is_some() { cols } else { 0 };
        let parts = if sums > 0 { rows.div_ceil(PARTS) } else { 1 };
        let size = rows_per_task(cols, TASK).max(parts);
        let tasks = rows.div_ceil(size);
        let (mut dw_parts, mut db_parts) = (vec![T::default(); tasks * sums], vec![T::default(); tasks * sums]);
        let parts = ((&mut dw_parts[..], sums), (&mut db_parts[..], sums));
        each3(&cpu.pool, tasks, (dx, size * cols), parts.0, parts.1, |i, dx, dw, db| {
            let rows = i * size..(i * size + size).min(rows);
            let (x, g) = (&saved.x[i * size * cols..][..dx.len()], &saved.g[i * size * cols..][..dx.len()]);
            let saved = Saved { x, g, mean: &saved.mean[rows.clone()], rstd: &saved.rstd[rows] };
            dispatch(cpu.isa, Backward { slopes: *self, saved, dx, dw, db });
        });
        for (out, parts) in [(dw, dw_parts), (db, db_parts)] {
            let Some(out) = out else { continue };
            out.fill(T::default());
            if cols > 0 {
                parts.chunks_exact(cols).for_each(|part| add(part, out));
            }
        }
    }
}

/// sums += x
#[inline(always)]
fn add<T: Real>(x: &[T], sums: &mut [T]) {
    sums.iter_mut().zip(x).for_each(|(sum, &x)| *sum = *sum + x);
}

struct Forward<'a, T: Real> {
    norm: &'a Norm<'a, T>,
    eps: f64,
    x: &'a [T],
    out: &'a mut [T],
    mean: &'a mut [T],
    rstd: &'a mut [T],
}

impl<T: Real> Job for Forward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let (cols, n) = (self.norm.cols, self.norm.cols as f64);
        let (weight, bias) = (&self.norm.weight[..cols], &self.norm.bias[..cols]);
        for (r, (mean, rstd)) in self.mean.iter_mut().zip(self.rstd).enumerate() {
            let x = &self.x[r * cols..][..cols];
            let out = &mut self.out[r * cols..][..cols];
            let m = T::from_f64(if self.norm.centred { sum(x, |x| x) / n } else { 0.0 });
            let variance = sum(x, |x| (x - m) * (x - m)) / n;
            let scale = T::from_f64(1.0 / (variance + self.eps).sqrt());
            for c in 0..cols {
                out[c] = ((x[c] - m) * scale).fma::<A>(weight[c], bias[c]);
            }
            (*mean, *rstd) = (m, scale);
        }
    }
}

struct Backward<'a, T: Real> {
    slopes: Slopes<'a, T>,
    saved: Saved<'a, T>,
    dx: &'a mut [T],
    /// Of the task's rows; empty when nobody asks for them.
    dw: &'a mut [T],
    db: &'a mut [T],
}

impl<T: Real> Job for Backward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Backward { slopes, saved, dx, dw, db } = self;
        let cols = slopes.cols;
        if cols == 0 {
            return;
        }
        // What is added up of a few rows, before it is added to the rest.
        let mut parts = vec![T::default(); 2 * dw.len()];
        let (dw_part, db_part) = parts.split_at_mut(dw.len());
        for r in 0..saved.mean.len() {
            let (x, g) = (&saved.x[r * cols..][..cols], &saved.g[r * cols..][..cols]);
            let (mean, rstd) = (saved.mean[r], saved.rstd[r]);
            row_slopes::<T, A>(slopes, [x, g], mean, rstd, &mut dx[r * cols..][..cols]);
            if dw.is_empty() {
                continue;
            }
            let sums = dw_part.iter_mut().zip(db_part.iter_mut());
            sums.zip(x.iter().zip(g)).for_each(|((dw, db), (&x, &g))| {
                *dw = ((x - mean) * rstd).fma::<A>(g, *dw);
                *db = *db + g;
            });
            if r % SUBTOTAL == SUBTOTAL - 1 || r + 1 == saved.mean.len() {
                add(dw_part, dw);
                add(db_part, db);
                dw_part.fill(T::default());
                db_part.fill(T::default());
            }
        }
    }
}

/// dx of one row: two sums in one pass, then the result in another.
#[inline(always)]
fn row_slopes<T: Real, A: Arch>(slopes: Slopes<T>, [x, g]: [&[T]; 2], mean: T, rstd: T, dx: &mut [T]) {
    let n = slopes.cols as f64;
    let normal = |x: T| (x - mean) * rstd;
    let [sum_h, sum_hx] = match slopes.weight {
        Some(weight) => sums([x, g, weight], |[x, g, w]| [g * w, g * w * normal(x)]),
        None => sums([x, g], |[x, g]| [g, g * normal(x)]),
    };
    let mean_h = T::from_f64(if slopes.centred { sum_h / n } else { 0.0 });
    let mean_hx = T::from_f64(sum_hx / n);
    let slope = |x: T, h: T| rstd * (h - mean_h - normal(x) * mean_hx);
    let rows = dx.iter_mut().zip(x.iter().zip(g));
    match slopes.weight {
        Some(weight) => rows.zip(weight).for_each(|((dx, (&x, &g)), &w)| *dx = slope(x, g * w)),
        None => rows.for_each(|(dx, (&x, &g))| *dx = slope(x, g)),
    }
}
