//! Pooling: the largest or the average element of windows of planes, and the gradient of the average.
//!
//! A plane has three axes; images have one of size 1 in front, sequences two. Each row of the result is made from the
//! rows of the input that its windows touch, one tap of all windows at a time.

use std::ops::Range;

use crate::Cpu;
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::{each, each3, rows_per_task};
use crate::real::Real;
use crate::slice::{Slice, SliceMut};

/// Taps that one task looks at.
const TASK: usize = 64 << 10;

/// Where the windows along one axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Windows {
    /// Window o has the places o·stride + k·dilation − padding for k below `size`, as far as they are there.
    Sliding {
        /// Number of windows.
        count: usize,
        /// Taps of a window.
        size: usize,
        /// Steps between two windows.
        stride: usize,
        /// Places before the axis at which the first window begins.
        padding: usize,
        /// Steps between two taps.
        dilation: usize,
    },
    /// Window o of n places goes from ⌊o·n/count⌋ to below ⌈(o + 1)·n/count⌉.
    Adaptive {
        /// Number of windows.
        count: usize,
    },
}

impl Windows {
    /// One window on an axis of size 1.
    pub const ONE: Windows = Windows::Adaptive { count: 1 };

    /// Number of windows.
    pub fn count(&self) -> usize {
        match *self {
            Windows::Sliding { count, .. } | Windows::Adaptive { count } => count,
        }
    }

    /// Number of taps of the longest window on an axis of `n` places.
    pub fn longest(&self, n: usize) -> usize {
        match *self {
            Windows::Sliding { size, .. } => size,
            Windows::Adaptive { .. } => (0..self.count()).map(|o| self.taps(o, n).1).max().unwrap_or(0),
        }
    }

    /// The first place of window `o`, the number of its places and the steps between them, of an axis of `n`.
    pub fn taps(&self, o: usize, n: usize) -> (usize, usize, usize) {
        match *self {
            Windows::Sliding { size, stride, padding, dilation, .. } => {
                let start = o * stride;
                let skipped = padding.saturating_sub(start).div_ceil(dilation);
                let first = start + skipped * dilation - padding;
                let left = n.saturating_sub(first).div_ceil(dilation);
                (first, left.min(size.saturating_sub(skipped)), dilation)
            }
            Windows::Adaptive { count } => {
                let first = o * n / count;
                (first, ((o + 1) * n).div_ceil(count) - first, 1)
            }
        }
    }

    /// How many elements the average of window `o` divides by: with `padded`, places in the padding count.
    pub fn weight(&self, o: usize, n: usize, padded: bool) -> usize {
        match *self {
            Windows::Sliding { size, stride, padding, dilation: 1, .. } if padded => {
                (o * stride + size).min(n + 2 * padding) - o * stride
            }
            _ => self.taps(o, n).1,
        }
    }

    /// Calls `f(windows, place, stride)` for runs of windows o, o + 1, … whose taps are at place, place + stride, …: of
    /// each window its taps in rising order.
    #[inline(always)]
    fn runs(&self, n: usize, mut f: impl FnMut(Range<usize>, usize, usize)) {
        match *self {
            Windows::Sliding { count, size, stride, padding, dilation } => {
                for shift in (0..size).map(|k| k * dilation) {
                    let first = padding.saturating_sub(shift).div_ceil(stride);
                    let end = (n + padding).saturating_sub(shift).div_ceil(stride).min(count);
                    if first < end {
                        f(first..end, first * stride + shift - padding, stride);
                    }
                }
            }
            Windows::Adaptive { count } => {
                for o in 0..count {
                    let (first, len, _) = self.taps(o, n);
                    (first..first + len).for_each(|place| f(o..o + 1, place, 1));
                }
            }
        }
    }
}

/// Planes of a size, and the windows along their axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pooling {
    /// Number of planes.
    pub planes: usize,
    /// Sizes of a plane.
    pub size: [usize; 3],
    /// Windows along its axes.
    pub windows: [Windows; 3],
}

impl Pooling {
    fn elements(&self) -> usize {
        self.size.iter().product()
    }

    /// Number of windows of a plane.
    fn results(&self) -> usize {
        self.windows.iter().map(Windows::count).product()
    }

    /// Plane, and window along the first two axes, of row `row` of the result.
    fn row(&self, row: usize) -> (usize, [usize; 2]) {
        let [d, h] = [self.windows[0].count(), self.windows[1].count()];
        (row / (d * h), [row / h % d, row % h])
    }

    /// Calls `f(place)` for the first element of each row of a plane that the windows `at` touch, in order.
    #[inline(always)]
    fn lines(&self, at: [usize; 2], mut f: impl FnMut(usize)) {
        let (d, deep, d_step) = self.windows[0].taps(at[0], self.size[0]);
        let (h, high, h_step) = self.windows[1].taps(at[1], self.size[1]);
        for i in 0..deep {
            for j in 0..high {
                f(((d + i * d_step) * self.size[1] + h + j * h_step) * self.size[2]);
            }
        }
    }

    /// Rows of the result that one task takes.
    fn rows_per_task(&self) -> usize {
        let taps: usize = self.windows.iter().zip(self.size).map(|(w, n)| w.longest(n)).product();
        rows_per_task(taps * self.windows[2].count(), TASK)
    }

    fn check(&self, src: usize, out: usize) {
        assert_eq!(src, self.planes * self.elements());
        assert_eq!(out, self.planes * self.results());
        for w in self.windows {
            if let Windows::Sliding { stride, dilation, .. } = w {
                assert!(stride > 0 && dilation > 0, "{self:?} has a zero");
            }
        }
    }
}

/// The largest element of each window and its place in the plane: the first of equal ones; the last NaN, if there is
/// one. A window of −∞ has the place of its first element.
///
/// `src` `[planes, size…]` and `out` `[planes, windows…]` are contiguous and of one float type, `places` as `out`, i64.
///
/// # Panics
/// When lengths or types do not fit, a stride or dilation is 0, or a plane has 2³² elements or more.
pub fn max_pool(cpu: &Cpu, shape: &Pooling, src: Slice, mut out: SliceMut, mut places: SliceMut) {
    shape.check(src.len(), out.len());
    assert!(src.dtype() == out.dtype() && places.len() == out.len());
    assert!(u32::try_from(shape.elements()).is_ok(), "{shape:?} is too large");
    if out.is_empty() {
        return;
    }
    if src.dtype() == DType::F64 {
        return largest::<f64>(cpu, shape, src.get(), out.get(), places.get());
    }
    let (src, mut wide) = (Floats::new(cpu, src), FloatsMut::new(out));
    largest::<f32>(cpu, shape, src.get(), wide.get(), places.get());
    wide.finish(cpu);
}

fn largest<T: Real>(cpu: &Cpu, shape: &Pooling, src: &[T], out: &mut [T], places: &mut [i64]) {
    let (width, rows) = (shape.windows[2].count(), shape.rows_per_task());
    let size = rows * width;
    each3(&cpu.pool, out.len().div_ceil(size), (out, size), (places, size), (&mut [0u8; 0], 0), |i, out, places, _| {
        dispatch(cpu.isa, Largest { shape, src, first: i * rows, out, places });
    });
}

struct Largest<'a, T> {
    shape: &'a Pooling,
    src: &'a [T],
    first: usize,
    out: &'a mut [T],
    places: &'a mut [i64],
}

impl<T: Real> Job for Largest<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Largest { shape, src, first, out, places } = self;
        let (windows, n) = (&shape.windows[2], shape.size[2]);
        let width = windows.count();
        let mut at = vec![0u32; width];
        for (i, (best, places)) in out.chunks_exact_mut(width).zip(places.chunks_exact_mut(width)).enumerate() {
            let (plane, windows_at) = shape.row(first + i);
            let plane = &src[plane * shape.elements()..][..shape.elements()];
            let mut begun = false;
            best.fill(T::NEG_INFINITY);
            shape.lines(windows_at, |start| {
                if !begun {
                    begun = true;
                    at.iter_mut().enumerate().for_each(|(o, at)| *at = (start + windows.taps(o, n).0) as u32);
                }
                let line = &plane[start..][..n];
                windows.runs(n, |os, place, stride| {
                    let (best, at, line) = (&mut best[os.clone()], &mut at[os], &line[place..]);
                    let start = (start + place) as u32;
                    match stride {
                        1 => keep_largest(best, at, line, start, 1),
                        2 => keep_largest(best, at, line, start, 2),
                        stride => keep_largest(best, at, line, start, stride),
                    }
                });
            });
            places.iter_mut().zip(&at).for_each(|(place, &at)| *place = i64::from(at));
        }
    }
}

#[inline(always)]
fn keep_largest<T: Real>(best: &mut [T], at: &mut [u32], line: &[T], start: u32, stride: usize) {
    let line = &line[..(best.len() - 1) * stride + 1];
    for (i, (best, at)) in best.iter_mut().zip(at).enumerate() {
        let x = line[i * stride];
        let wins = x > *best || x.is_nan();
        *best = if wins { x } else { *best };
        *at = if wins { start + (i * stride) as u32 } else { *at };
    }
}

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
        let (windows, n) = (&shape.windows[2], shape.size[2]);
        let mut divisors = vec![T::ONE; windows.count()];
        for (i, sums) in out.chunks_exact_mut(windows.count()).enumerate() {
            let (plane, at) = shape.row(first + i);
            let plane = &src[plane * shape.elements()..][..shape.elements()];
            sums.fill(T::default());
            shape.lines(at, |start| {
                let line = &plane[start..][..n];
                windows.runs(n, |os, place, stride| {
                    let (sums, line) = (&mut sums[os], &line[place..]);
                    match stride {
                        1 => sums.iter_mut().zip(line).for_each(|(sum, &x)| *sum = *sum + x),
                        _ => sums.iter_mut().zip(line.iter().step_by(stride)).for_each(|(sum, &x)| *sum = *sum + x),
                    }
                });
            });
            divisor.row(shape, at, &mut divisors);
            sums.iter_mut().zip(&divisors).for_each(|(sum, &divisor)| *sum = *sum / divisor);
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
        let mut shares = vec![T::ONE; windows.count()];
        out.fill(T::default());
        if shares.is_empty() {
            return;
        }
        for (row, g) in g.chunks_exact(windows.count()).enumerate() {
            let (plane, at) = shape.row(row);
            let plane = &mut out[plane * shape.elements()..][..shape.elements()];
            divisor.row(shape, at, &mut shares);
            shares.iter_mut().zip(g).for_each(|(share, &g)| *share = g / *share);
            shape.lines(at, |start| {
                let line = &mut plane[start..][..n];
                windows.runs(n, |os, place, stride| {
                    let (shares, line) = (&shares[os], &mut line[place..]);
                    match stride {
                        1 => line.iter_mut().zip(shares).for_each(|(x, &share)| *x = *x + share),
                        _ => line.iter_mut().step_by(stride).zip(shares).for_each(|(x, &share)| *x = *x + share),
                    }
                });
            });
        }
    }
}
