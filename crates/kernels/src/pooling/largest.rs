//! The largest element of windows, and the gradient by the input.

use super::{Line, Pooling, TASK, Windows, by_stride};
use crate::Cpu;
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::{each, each3, rows_per_task};
use crate::real::Real;
use crate::slice::{Slice, SliceMut};

/// The largest element of each window and its place in the plane: the first of equal ones; the last NaN, if there is
/// one. A window of −∞ has the place of its first element.
///
/// `src` `[planes, size…]` and `out` `[planes, windows…]` are contiguous and of one float type; `places` as `out`, i32,
/// or empty where nobody wants them.
///
/// # Panics
/// When lengths or types do not fit, a stride or dilation is 0, or a plane has 2³¹ elements or more.
pub fn max_pool(cpu: &Cpu, shape: &Pooling, src: Slice, mut out: SliceMut, mut places: SliceMut) {
    shape.check(src.len(), out.len());
    assert!(src.dtype() == out.dtype() && (places.is_empty() || places.len() == out.len()));
    assert!(i32::try_from(shape.elements()).is_ok(), "{shape:?} is too large");
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

fn largest<T: Real>(cpu: &Cpu, shape: &Pooling, src: &[T], out: &mut [T], places: &mut [i32]) {
    let rows = shape.rows_per_task();
    let size = rows * shape.windows[2].count();
    each3(&cpu.pool, out.len().div_ceil(size), (out, size), (places, size), (&mut [0u8; 0], 0), |i, out, places, _| {
        if places.is_empty() {
            dispatch(cpu.isa, Largest::<T, false> { shape, src, first: i * rows, out, places });
        } else {
            dispatch(cpu.isa, Largest::<T, true> { shape, src, first: i * rows, out, places });
        }
    });
}

struct Largest<'a, T, const PLACES: bool> {
    shape: &'a Pooling,
    src: &'a [T],
    first: usize,
    out: &'a mut [T],
    places: &'a mut [i32],
}

impl<T: Real, const PLACES: bool> Job for Largest<'_, T, PLACES> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Largest { shape, src, first, out, places } = self;
        let (windows, n) = (&shape.windows[2], shape.size[2]);
        let (width, line) = (windows.count(), windows.line(n));
        let (len, padding) = line.map_or((n, 0), |line| (line.len, line.padding));
        // What pads is smaller than anything, and comes after it among equals.
        let (mut best, mut at) = (vec![T::NEG_INFINITY; len], vec![i32::MAX; if PLACES { len } else { 0 }]);
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let (plane, windows_at) = shape.row(first + i);
            let plane = &src[plane * shape.elements()..][..shape.elements()];
            let places = if PLACES { &mut places[i * width..][..width] } else { &mut [] };
            let inside = if PLACES { &mut at[padding..][..n] } else { &mut [] };
            join_lines::<T, PLACES>(shape, plane, windows_at, &mut best[padding..][..n], inside);
            match line {
                Some(line) => by_stride!(line.stride, along_line(line, &best, &at, out, places)),
                None => one_by_one::<T, PLACES>(windows, n, &best, &at, out, places),
            }
        }
    }
}

/// The largest of each column of the lines that the windows `at` touch, and its place in the plane.
#[inline(always)]
fn join_lines<T: Real, const PLACES: bool>(
    shape: &Pooling,
    plane: &[T],
    at: [usize; 2],
    best: &mut [T],
    places: &mut [i32],
) {
    let mut begun = false;
    shape.lines(at, |start| {
        let line = &plane[start..][..best.len()];
        let start = start as i32;
        if !std::mem::replace(&mut begun, true) {
            best.copy_from_slice(line);
            places.iter_mut().enumerate().for_each(|(i, place)| *place = start + i as i32);
        } else if PLACES {
            for (i, ((best, place), &x)) in best.iter_mut().zip(places.iter_mut()).zip(line).enumerate() {
                let wins = (x > *best) | x.is_nan();
                *best = if wins { x } else { *best };
                *place = if wins { start + i as i32 } else { *place };
            }
        } else {
            best.iter_mut().zip(line).for_each(|(best, &x)| *best = larger(*best, x));
        }
    });
}

/// The larger; the second where it is a NaN.
#[inline(always)]
fn larger<T: Real>(best: T, x: T) -> T {
    if (x > best) | x.is_nan() { x } else { best }
}

/// Whether x at place p is the window's element rather than the best so far.
#[inline(always)]
fn wins<T: Real>((x, p): (T, i32), (best, place): (T, i32)) -> bool {
    (x > best) | ((x == best) & (p < place)) | (x.is_nan() & (!best.is_nan() | (p > place)))
}

/// All windows of a line together. Without places, `at` and `places` are empty.
#[inline(always)]
fn along_line<const S: usize, T: Real>(line: Line, best: &[T], at: &[i32], out: &mut [T], places: &mut [i32]) {
    // A group of `stride` elements for each window: no bounds to check in the loops.
    let stride = if S == 0 { line.stride } else { S };
    let group = |k: usize| k * line.dilation..k * line.dilation + line.count * stride;
    for k in 0..line.taps {
        let best = best[group(k)].chunks_exact(stride);
        if places.is_empty() {
            match k {
                0 => out.iter_mut().zip(best).for_each(|(out, x)| *out = x[0]),
                _ => out.iter_mut().zip(best).for_each(|(out, x)| *out = larger(*out, x[0])),
            }
            continue;
        }
        let taps = best.zip(at[group(k)].chunks_exact(stride));
        let results = out.iter_mut().zip(places.iter_mut());
        match k {
            0 => results.zip(taps).for_each(|((out, place), (x, p))| (*out, *place) = (x[0], p[0])),
            _ => results.zip(taps).for_each(|((out, place), (x, p))| {
                let wins = wins((x[0], p[0]), (*out, *place));
                *out = if wins { x[0] } else { *out };
                *place = if wins { p[0] } else { *place };
            }),
        }
    }
}

/// Window after window.
#[inline(always)]
fn one_by_one<T: Real, const PLACES: bool>(
    windows: &Windows,
    n: usize,
    best: &[T],
    at: &[i32],
    out: &mut [T],
    places: &mut [i32],
) {
    for (o, out) in out.iter_mut().enumerate() {
        let (first, len, step) = windows.taps(o, n);
        if PLACES {
            let mut found = (best[first], at[first]);
            for i in (0..len).map(|i| first + i * step) {
                found = if wins((best[i], at[i]), found) { (best[i], at[i]) } else { found };
            }
            (*out, places[o]) = found;
        } else {
            *out = (0..len).fold(best[first], |largest, i| larger(largest, best[first + i * step]));
        }
    }
}

/// The gradient of [`max_pool`] by its input from the gradient `g` of its result: each element gets the sum of g of the
/// windows whose largest it is, of planes of `elements` elements.
///
/// `places` (i32) and `g` `[planes, windows…]` and `out` `[planes, size…]` are contiguous, `g` and `out` of one float
/// type; f16 and bf16 are added up in f32 and rounded once.
///
/// # Panics
/// When lengths or types do not fit, or a place is not in the plane.
pub fn max_pool_grad(cpu: &Cpu, planes: usize, places: Slice, g: Slice, mut out: SliceMut) {
    assert!(places.len() == g.len() && g.dtype() == out.dtype());
    if out.is_empty() {
        return;
    }
    assert!(g.len().is_multiple_of(planes) && out.len().is_multiple_of(planes));
    if g.dtype() == DType::F64 {
        return give_back::<f64>(cpu, planes, places.get(), g.get(), out.get());
    }
    let (g, mut wide) = (Floats::new(cpu, g), FloatsMut::new(out));
    give_back::<f32>(cpu, planes, places.get(), g.get(), wide.get());
    wide.finish(cpu);
}

fn give_back<T: Real>(cpu: &Cpu, planes: usize, places: &[i32], g: &[T], out: &mut [T]) {
    let (windows, elements) = (g.len() / planes, out.len() / planes);
    let taken = rows_per_task(elements + windows, TASK);
    each(&cpu.pool, planes.div_ceil(taken), (out, taken * elements), |i, out| {
        for (p, out) in out.chunks_exact_mut(elements).enumerate() {
            let start = (i * taken + p) * windows;
            out.fill(T::default());
            for (&place, &g) in places[start..][..windows].iter().zip(&g[start..][..windows]) {
                let x = &mut out[place as usize];
                *x = *x + g;
            }
        }
    });
}
