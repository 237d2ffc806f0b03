//! The average element of windows, and the gradient by the input.

use super::{Line, Pooling, TASK, Windows, by_stride};
use crate::Cpu;
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::{each, rows_per_task};
use crate::real::{Real, sum};
use crate::slice::{Slice, SliceMut};

/// What the sum of a window is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divisor {
    /// The number of its elements, with those in the padding or without.
    Count {
        /// Whether places in the padding count.
        padded: bool,
    },
    /// This number.
    Number(f64),
}

impl Divisor {
    /// The divisors of a row of results.
    fn row<T: Real>(self, shape: &Pooling, at: [usize; 2], into: &mut [T]) {
        match self {
            Divisor::Number(number) => into.fill(T::from_f64(number)),
            Divisor::Count { padded } => {
                let weight = |axis: usize, o| shape.windows[axis].weight(o, shape.size[axis], padded);
                let across = weight(0, at[0]) * weight(1, at[1]);
                let rows = into.iter_mut().enumerate();
                rows.for_each(|(o, into)| *into = T::from_f64((across * weight(2, o)) as f64));
            }
        }
    }
}

/// The divisors of the rows of results, kept as long as they stay the same: along the first two axes most do.
struct Divisors<T> {
    row: Vec<T>,
    of: Option<[usize; 2]>,
}

impl<T: Real> Divisors<T> {
    fn new(shape: &Pooling) -> Divisors<T> {
        Divisors { row: vec![T::ONE; shape.windows[2].count()], of: None }
    }

    fn at(&mut self, divisor: Divisor, shape: &Pooling, at: [usize; 2]) -> &[T] {
        let weights = match divisor {
            Divisor::Number(_) => [0; 2],
            Divisor::Count { padded } => [0, 1].map(|i| shape.windows[i].weight(at[i], shape.size[i], padded)),
        };
        if self.of.replace(weights) != Some(weights) {
            divisor.row(shape, at, &mut self.row);
        }
        &self.row
    }
}

/// The sum of each window over what `divisor` says.
///
/// `src` `[planes, size…]` and `out` `[planes, windows…]` are contiguous and of one float type; f16 and bf16 are
/// computed in f32 and rounded once.
///
/// # Panics
/// When lengths or types do not fit, or a stride or dilation is 0.
pub fn avg_pool(cpu: &Cpu, shape: &Pooling, divisor: Divisor, src: Slice, mut out: SliceMut) {
    shape.check(src.len(), out.len());
    assert_eq!(src.dtype(), out.dtype());
    if out.is_empty() {
        return;
    }
    if src.dtype() == DType::F64 {
        return average::<f64>(cpu, shape, divisor, src.get(), out.get());
    }
    let (src, mut wide) = (Floats::new(cpu, src), FloatsMut::new(out));
    average::<f32>(cpu, shape, divisor, src.get(), wide.get());
    wide.finish(cpu);
}

fn average<T: Real>(cpu: &Cpu, shape: &Pooling, divisor: Divisor, src: &[T], out: &mut [T]) {
    let (width, rows) = (shape.windows[2].count(), shape.rows_per_task());
    let size = rows * width;
    each(&cpu.pool, out.len().div_ceil(size), (out, size), |i, out| {
        dispatch(cpu.isa, Average { shape, divisor, src, first: i * rows, out });
    });
}

struct Average<'a, T> {
    shape: &'a Pooling,
    divisor: Divisor,
    src: &'a [T],
    first: usize,
    out: &'a mut [T],
}

impl<T: Real> Job for Average<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Average { shape, divisor, src, first, out } = self;
        let elements = shape.elements();
        let mut divisors = Divisors::new(shape);
        if shape.is_global() {
            let by = divisors.at(divisor, shape, [0; 2])[0];
            for (plane, mean) in src[first * elements..].chunks_exact(elements).zip(out) {
                *mean = T::from_f64(sum(plane, |x| x)) / by;
            }
            return;
        }
        let (windows, n) = (&shape.windows[2], shape.size[2]);
        let line = windows.line(n);
        let (len, padding) = line.map_or((n, 0), |line| (line.len, line.padding));
        let mut sums = vec![T::default(); len];
        for (i, out) in out.chunks_exact_mut(windows.count()).enumerate() {
            let (plane, at) = shape.row(first + i);
            let plane = &src[plane * elements..][..elements];
            join_lines(shape, plane, at, &mut sums[padding..][..n]);
            match line {
                Some(line) => by_stride!(line.stride, along_line(line, &sums, out)),
                None => {
                    for (o, out) in out.iter_mut().enumerate() {
                        let (first, len, step) = windows.taps(o, n);
                        *out = (0..len).fold(T::default(), |sum, i| sum + sums[first + i * step]);
                    }
                }
            }
            let divisors = divisors.at(divisor, shape, at);
            out.iter_mut().zip(divisors).for_each(|(sum, &divisor)| *sum = *sum / divisor);
        }
    }
}

/// The sum of each column of the lines that the windows `at` touch.
#[inline(always)]
fn join_lines<T: Real>(shape: &Pooling, plane: &[T], at: [usize; 2], sums: &mut [T]) {
    let mut begun = false;
    shape.lines(at, |start| {
        let line = &plane[start..][..sums.len()];
        match std::mem::replace(&mut begun, true) {
            false => sums.copy_from_slice(line),
            true => sums.iter_mut().zip(line).for_each(|(sum, &x)| *sum = *sum + x),
        }
    });
    if !begun {
        sums.fill(T::default());
    }
}

/// The sums of all windows of a line together.
#[inline(always)]
fn along_line<const S: usize, T: Real>(line: Line, sums: &[T], out: &mut [T]) {
    let stride = if S == 0 { line.stride } else { S };
    for k in 0..line.taps {
        // A group of `stride` elements for each window: no bounds to check in the loops.
        let taps = sums[k * line.dilation..][..line.count * stride].chunks_exact(stride);
        match k {
            0 => out.iter_mut().zip(taps).for_each(|(out, x)| *out = x[0]),
            _ => out.iter_mut().zip(taps).for_each(|(out, x)| *out = *out + x[0]),
        }
    }
}

/// The gradient of [`avg_pool`] by its input from the gradient `g` of its result: each element gets the sum of g over
/// the divisor of the windows that it is in.
///
/// `g` `[planes, windows…]` and `out` `[planes, size…]` are contiguous and of one float type; f16 and bf16 are computed
/// in f32 and rounded once.
///
/// # Panics
/// As [`avg_pool`].
pub fn avg_pool_grad(cpu: &Cpu, shape: &Pooling, divisor: Divisor, g: Slice, mut out: SliceMut) {
    shape.check(out.len(), g.len());
    assert_eq!(g.dtype(), out.dtype());
    if out.is_empty() {
        return;
    }
    if g.dtype() == DType::F64 {
        return spread::<f64>(cpu, shape, divisor, g.get(), out.get());
    }
    let (g, mut wide) = (Floats::new(cpu, g), FloatsMut::new(out));
    spread::<f32>(cpu, shape, divisor, g.get(), wide.get());
    wide.finish(cpu);
}

fn spread<T: Real>(cpu: &Cpu, shape: &Pooling, divisor: Divisor, g: &[T], out: &mut [T]) {
    let planes = rows_per_task(shape.elements() + shape.results(), TASK);
    let (from, to) = (planes * shape.results(), planes * shape.elements());
    each(&cpu.pool, out.len().div_ceil(to), (out, to), |i, out| {
        let start = (i * from).min(g.len());
        dispatch(cpu.isa, Spread { shape, divisor, g: &g[start..g.len().min(start + from)], out });
    });
}

struct Spread<'a, T> {
    shape: &'a Pooling,
    divisor: Divisor,
    g: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Job for Spread<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Spread { shape, divisor, g, out } = self;
        let (windows, n) = (&shape.windows[2], shape.size[2]);
        let (elements, width) = (shape.elements(), windows.count());
        let mut divisors = Divisors::new(shape);
        if shape.is_global() {
            let by = divisors.at(divisor, shape, [0; 2])[0];
            out.chunks_exact_mut(elements).zip(g).for_each(|(plane, &g)| plane.fill(g / by));
            return;
        }
        out.fill(T::default());
        if width == 0 {
            return;
        }
        let line = windows.line(n);
        let (len, padding) = line.map_or((n, 0), |line| (line.len, line.padding));
        let (mut shares, mut spread) = (vec![T::default(); width], vec![T::default(); len]);
        for (row, g) in g.chunks_exact(width).enumerate() {
            let (plane, at) = shape.row(row);
            let plane = &mut out[plane * elements..][..elements];
            let divisors = divisors.at(divisor, shape, at);
            shares.iter_mut().zip(divisors).zip(g).for_each(|((share, &divisor), &g)| *share = g / divisor);
            match line {
                Some(line) => by_stride!(line.stride, spread_line(line, &shares, &mut spread)),
                None => spread_each(windows, n, &shares, &mut spread),
            }
            shape.lines(at, |start| {
                let pairs = plane[start..][..n].iter_mut().zip(&spread[padding..]);
                pairs.for_each(|(x, &share)| *x = *x + share);
            });
        }
    }
}

/// What each place of a line gets of the shares of the windows that it is in.
#[inline(always)]
fn spread_line<const S: usize, T: Real>(line: Line, shares: &[T], spread: &mut [T]) {
    let stride = if S == 0 { line.stride } else { S };
    spread.fill(T::default());
    for k in 0..line.taps {
        let taps = spread[k * line.dilation..][..line.count * stride].chunks_exact_mut(stride);
        taps.zip(shares).for_each(|(x, &share)| x[0] = x[0] + share);
    }
}

/// As [`spread_line`], window after window.
#[inline(always)]
fn spread_each<T: Real>(windows: &Windows, n: usize, shares: &[T], spread: &mut [T]) {
    spread.fill(T::default());
    for (o, &share) in shares.iter().enumerate() {
        let (first, len, step) = windows.taps(o, n);
        for i in (0..len).map(|i| first + i * step) {
            spread[i] = spread[i] + share;
        }
    }
}
