//! Cross entropy of logits and class numbers, row by row, and its gradient.

use crate::Cpu;
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::index::IndexFault;
use crate::isa::{Arch, Job, dispatch};
use crate::parts::{each, each3, rows_per_task};
use crate::real::{Real, max, sum_exp};
use crate::slice::{Slice, SliceMut};
use crate::softmax::{GROUP, SHORT, exp_all, shift, short_max, short_sum};

/// Logits that one task takes.
const TASK: usize = 32 << 10;

/// Checks that every class is `ignore_index` or one of `0 .. classes`.
fn check(target: &[i64], classes: usize, ignore_index: i64) -> Result<(), IndexFault> {
    let good = |&t: &i64| t == ignore_index || (t as u64) < classes as u64;
    match target.iter().position(|t| !good(t)) {
        None => Ok(()),
        Some(position) => Err(IndexFault { position, value: target[position], size: classes }),
    }
}

/// `loss[r] = lse[r] - logits[r, target[r]]` with `lse[r] = ln Σ exp(logits[r, ·])`; rows whose target is
/// `ignore_index` give a loss of 0.
///
/// `logits` is contiguous `[rows, classes]` of a float type and `target` (i64) `[rows]`. `loss` and `lse` are
/// `[rows]`, f64 for f64 logits, else each of f32 or the type of the logits: f32 keeps what the gradient needs.
///
/// # Errors
/// The first class that is neither `ignore_index` nor in `0 .. classes`; nothing is written then.
///
/// # Panics
/// When lengths or types do not fit each other, or the logits are not floats.
pub fn cross_entropy(
    cpu: &Cpu,
    rows: usize,
    classes: usize,
    logits: Slice,
    target: Slice,
    ignore_index: i64,
    mut loss: SliceMut,
    mut lse: SliceMut,
) -> Result<(), IndexFault> {
    assert!(logits.len() == rows * classes && target.len() == rows && loss.len() == rows && lse.len() == rows);
    let target = target.get::<i64>();
    check(target, classes, ignore_index)?;
    let rows = Targets { classes, target, ignore_index };
    if logits.dtype() == DType::F64 {
        rows.losses::<f64>(cpu, logits.get(), loss.get(), lse.get());
        return Ok(());
    }
    let (x, mut loss, mut lse) = (Floats::new(cpu, logits), FloatsMut::new(loss), FloatsMut::new(lse));
    rows.losses::<f32>(cpu, x.get(), loss.get(), lse.get());
    loss.finish(cpu);
    lse.finish(cpu);
    Ok(())
}

/// `out[r, c] = (exp(logits[r, c] - lse[r]) - [c = target[r]])·g[r]`: the gradient of [`cross_entropy`] by the
/// logits, from the gradient `g` of each row's loss; 0 in rows whose target is `ignore_index`.
///
/// `out` is contiguous `[rows, classes]` of the logits' type; `lse` and `g` are `[rows]`, f64 for f64 logits,
/// else each of any narrower float type.
///
/// # Panics
/// When lengths or types do not fit each other, or a class is out of range ([`cross_entropy`] reports it).
pub fn cross_entropy_grad(
    cpu: &Cpu,
    rows: usize,
    classes: usize,
    logits: Slice,
    lse: Slice,
    target: Slice,
    ignore_index: i64,
    g: Slice,
    mut out: SliceMut,
) {
    assert!(logits.len() == rows * classes && out.len() == rows * classes && logits.dtype() == out.dtype());
    assert!(target.len() == rows && lse.len() == rows && g.len() == rows);
    let target = target.get::<i64>();
    check(target, classes, ignore_index).unwrap_or_else(|fault| panic!("{fault}"));
    let rows = Targets { classes, target, ignore_index };
    if out.is_empty() {
        return;
    }
    if logits.dtype() == DType::F64 {
        return rows.gradients::<f64>(cpu, logits.get(), lse.get(), g.get(), out.get());
    }
    let (x, lse, g) = (Floats::new(cpu, logits), Floats::new(cpu, lse), Floats::new(cpu, g));
    let mut dx = FloatsMut::new(out);
    rows.gradients::<f32>(cpu, x.get(), lse.get(), g.get(), dx.get());
    dx.finish(cpu);
}

/// Checked classes.
#[derive(Clone, Copy, Debug)]
struct Targets<'a> {
    classes: usize,
    target: &'a [i64],
    ignore_index: i64,
}

impl Targets<'_> {
    fn losses<T: Real>(self, cpu: &Cpu, x: &[T], loss: &mut [T], lse: &mut [T]) {
        let Targets { classes, target, .. } = self;
        let size = rows_per_task(classes, TASK);
        let none: (&mut [u8], usize) = (&mut [], 0);
        each3(&cpu.pool, target.len().div_ceil(size), (loss, size), (lse, size), none, |i, loss, lse, _| {
            let target = &target[i * size..][..loss.len()];
            let x = &x[i * size * classes..][..loss.len() * classes];
            dispatch(cpu.isa, Losses { rows: Targets { target, ..self }, x, loss, lse });
        });
    }

    fn gradients<T: Real>(self, cpu: &Cpu, x: &[T], lse: &[T], g: &[T], out: &mut [T]) {
        let Targets { classes, target, .. } = self;
        let size = rows_per_task(classes, TASK);
        each(&cpu.pool, target.len().div_ceil(size), (out, size * classes), |i, out| {
            let rows = i * size..i * size + out.len() / classes;
            let (lse, g, target) = (&lse[rows.clone()], &g[rows.clone()], &target[rows]);
            let x = &x[i * size * classes..][..out.len()];
            dispatch(cpu.isa, Gradients { rows: Targets { target, ..self }, x, lse, g, out });
        });
    }
}

struct Losses<'a, T> {
    rows: Targets<'a>,
    x: &'a [T],
    loss: &'a mut [T],
    lse: &'a mut [T],
}

impl<T: Real> Job for Losses<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Losses { rows: Targets { classes, target, ignore_index }, x, loss, lse } = self;
        let mut shifted = [T::default(); GROUP];
        let mut powers = [T::default(); GROUP];
        let group = (GROUP / classes.max(1)).max(1);
        for (first, (loss, lse)) in (0..).step_by(group).zip(loss.chunks_mut(group).zip(lse.chunks_mut(group))) {
            let x = &x[first * classes..][..loss.len() * classes];
            if classes < SHORT && classes > 0 {
                let (shifted, powers) = (&mut shifted[..x.len()], &mut powers[..x.len()]);
                shift(classes, x, shifted);
                exp_all::<T, A>(shifted, powers);
            }
            for r in 0..loss.len() {
                let row = &x[r * classes..][..classes];
                let (m, total) = if classes < SHORT {
                    (short_max(row), short_sum(&powers[r * classes..][..classes]))
                } else {
                    let m = max(row);
                    (m, T::from_f64(sum_exp::<T, A>(row, m)))
                };
                let total = total.ln::<A>();
                let t = target[first + r];
                loss[r] = if t == ignore_index { T::default() } else { total - (row[t as usize] - m) };
                lse[r] = m + total;
            }
        }
    }
}

struct Gradients<'a, T> {
    rows: Targets<'a>,
    x: &'a [T],
    lse: &'a [T],
    g: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Job for Gradients<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Gradients { rows: Targets { classes, target, ignore_index }, x, lse, g, out } = self;
        let group = (GROUP / classes).max(1) * classes;
        for (first, out) in (0..).step_by(group).zip(out.chunks_mut(group)) {
            let (x, first) = (&x[first..][..out.len()], first / classes);
            for (r, (x, out)) in x.chunks_exact(classes).zip(out.chunks_exact_mut(classes)).enumerate() {
                let lse = lse[first + r];
                out.iter_mut().zip(x).for_each(|(out, &x)| *out = x - lse);
            }
            out.iter_mut().for_each(|out| *out = out.exp::<A>());
            for (r, out) in out.chunks_exact_mut(classes).enumerate() {
                let (t, g) = (target[first + r], g[first + r]);
                if t == ignore_index {
                    out.fill(T::default());
                    continue;
                }
                out[t as usize] = out[t as usize] - T::ONE;
                out.iter_mut().for_each(|out| *out = *out * g);
            }
        }
    }
}
