//! Softmax and log-softmax of contiguous rows, and their gradients.

use crate::Cpu;
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::{each, rows_per_task};
use crate::real::{LANES, Real, exp_below, max, sum, sum_exp, sum2};
use crate::slice::{Slice, SliceMut};

/// Elements that one task takes.
const TASK: usize = 32 << 10;
/// Rows are worked on in groups of about so many elements, which stay in the first cache.
pub(crate) const GROUP: usize = 2048;
/// Rows shorter than this go through `exp` together with their neighbours.
pub(crate) const SHORT: usize = 4 * LANES;

/// `out[r, c] = exp(x[r, c] - m) / Σ exp(x[r, ·] - m)` with m the row's maximum; with `log`, its logarithm
/// `(x[r, c] - m) - ln Σ exp(x[r, ·] - m)`.
///
/// `src` and `out` are contiguous `[rows, cols]` of one float type; f16 and bf16 are computed in f32 and
/// rounded once. A row that holds a NaN or +∞, or nothing but -∞, gives NaN, as in torch.
///
/// # Panics
/// When lengths or types do not fit each other, or the type is not a float.
pub fn softmax(cpu: &Cpu, rows: usize, cols: usize, log: bool, src: Slice, mut out: SliceMut) {
    assert_eq!(src.dtype(), out.dtype());
    assert!(src.len() == rows * cols && out.len() == rows * cols);
    if out.is_empty() {
        return;
    }
    if src.dtype() == DType::F64 {
        return all_rows::<f64>(cpu, cols, log, src.get(), out.get());
    }
    let (x, mut y) = (Floats::new(cpu, src), FloatsMut::new(out));
    all_rows::<f32>(cpu, cols, log, x.get(), y.get());
    y.finish(cpu);
}

fn all_rows<T: Real>(cpu: &Cpu, cols: usize, log: bool, x: &[T], out: &mut [T]) {
    let size = rows_per_task(cols, TASK) * cols;
    each(&cpu.pool, out.len().div_ceil(size), (out, size), |i, out| {
        let x = &x[i * size..][..out.len()];
        dispatch(cpu.isa, Forward { cols, log, x, out });
    });
}

struct Forward<'a, T> {
    cols: usize,
    log: bool,
    x: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Job for Forward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Forward { cols, log, x, out } = self;
        if cols < SHORT {
            let group = GROUP / cols * cols;
            for (x, out) in x.chunks(group).zip(out.chunks_mut(group)) {
                short_rows::<T, A>(cols, log, x, out);
            }
            return;
        }
        for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
            let m = max(x);
            if log {
                let total = T::from_f64(sum_exp::<T, A>(x, m)).ln::<A>();
                out.iter_mut().zip(x).for_each(|(out, &x)| *out = (x - m) - total);
            } else {
                let scale = T::ONE / T::from_f64(exp_below::<T, A>(x, m, out));
                out.iter_mut().for_each(|out| *out = *out * scale);
            }
        }
    }
}

/// Several rows of at most [`GROUP`] elements together.
#[inline(always)]
fn short_rows<T: Real, A: Arch>(cols: usize, log: bool, x: &[T], out: &mut [T]) {
    let mut powers = [T::default(); GROUP];
    let powers = &mut powers[..x.len()];
    shift(cols, x, out);
    exp_all::<T, A>(out, powers);
    for (powers, out) in powers.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
        let total = short_sum(powers);
        if log {
            let total = total.ln::<A>();
            out.iter_mut().for_each(|out| *out = *out - total);
        } else {
            let scale = T::ONE / total;
            out.iter_mut().zip(powers).for_each(|(out, &power)| *out = power * scale);
        }
    }
}

/// out = x less the maximum of its row.
#[inline(always)]
pub(crate) fn shift<T: Real>(cols: usize, x: &[T], out: &mut [T]) {
    for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
        let m = short_max(x);
        out.iter_mut().zip(x).for_each(|(out, &x)| *out = x - m);
    }
}

/// The largest element of a short row.
#[inline(always)]
pub(crate) fn short_max<T: Real>(x: &[T]) -> T {
    x.iter().fold(T::NEG_INFINITY, |m, &x| if x > m { x } else { m })
}

/// The sum of a short row.
#[inline(always)]
pub(crate) fn short_sum<T: Real>(x: &[T]) -> T {
    x.iter().fold(T::default(), |sum, &x| sum + x)
}

/// out = exp(x)
#[inline(always)]
pub(crate) fn exp_all<T: Real, A: Arch>(x: &[T], out: &mut [T]) {
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = x.exp::<A>());
}

/// The gradient of [`softmax`] from its result `y` and the gradient `g` of that:
/// `y·(g - Σ g·y)`, or with `log` `g - exp(y)·Σ g`, sums over the row.
///
/// All are contiguous `[rows, cols]` of one float type; f16 and bf16 are computed in f32 and rounded once.
///
/// # Panics
/// When lengths or types do not fit each other, or the type is not a float.
pub fn softmax_grad(cpu: &Cpu, rows: usize, cols: usize, log: bool, y: Slice, g: Slice, mut out: SliceMut) {
    assert!(y.dtype() == out.dtype() && g.dtype() == out.dtype());
    assert!(y.len() == rows * cols && g.len() == rows * cols && out.len() == rows * cols);
    if out.is_empty() {
        return;
    }
    if y.dtype() == DType::F64 {
        return all_gradients::<f64>(cpu, cols, log, y.get(), g.get(), out.get());
    }
    let (y, g, mut dx) = (Floats::new(cpu, y), Floats::new(cpu, g), FloatsMut::new(out));
    all_gradients::<f32>(cpu, cols, log, y.get(), g.get(), dx.get());
    dx.finish(cpu);
}

fn all_gradients<T: Real>(cpu: &Cpu, cols: usize, log: bool, y: &[T], g: &[T], out: &mut [T]) {
    let size = rows_per_task(cols, TASK) * cols;
    each(&cpu.pool, out.len().div_ceil(size), (out, size), |i, out| {
        let (y, g) = (&y[i * size..][..out.len()], &g[i * size..][..out.len()]);
        dispatch(cpu.isa, Backward { cols, log, y, g, out });
    });
}

struct Backward<'a, T> {
    cols: usize,
    log: bool,
    y: &'a [T],
    g: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Job for Backward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Backward { cols, log, y, g, out } = self;
        let group = (GROUP / cols).max(1) * cols;
        for ((y, g), out) in y.chunks(group).zip(g.chunks(group)).zip(out.chunks_mut(group)) {
            if log {
                exp_all::<T, A>(y, out);
            }
            for ((y, g), out) in y.chunks_exact(cols).zip(g.chunks_exact(cols)).zip(out.chunks_exact_mut(cols)) {
                if log {
                    let total = T::from_f64(sum(g, |g| g));
                    out.iter_mut().zip(g).for_each(|(out, &g)| *out = g - *out * total);
                } else {
                    let total = T::from_f64(sum2(y, g, |y, g| y * g));
                    let rows = out.iter_mut().zip(y.iter().zip(g));
                    rows.for_each(|(out, (&y, &g))| *out = y * (g - total));
                }
            }
        }
    }
}
