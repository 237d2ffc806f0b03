//! f32 and f64 behind one trait, and folds of rows that vectorise.

use std::ops::{Add, Div, Mul, Sub};

use crate::dtype::Element;
use crate::isa::Arch;

/// A fold runs in this many lanes, which are joined in the end: several vectors of any instruction set.
pub(crate) const LANES: usize = 32;
/// Sums of so many elements are added up in f64, so that long rows lose nothing.
const BLOCK: usize = 4096;

/// f32 or f64.
pub(crate) trait Real:
    Element + Default + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    const ONE: Self;
    const NEG_INFINITY: Self;
    fn from_f64(x: f64) -> Self;
    fn as_f64(self) -> f64;
    fn is_nan(self) -> bool;
    fn exp<A: Arch>(self) -> Self;
    fn ln<A: Arch>(self) -> Self;
    /// self·b + c
    fn fma<A: Arch>(self, b: Self, c: Self) -> Self;
}

impl Real for f32 {
    const ONE: f32 = 1.0;
    const NEG_INFINITY: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn as_f64(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
    #[inline(always)]
    fn exp<A: Arch>(self) -> f32 {
        crate::math::f32::exp::<A>(self)
    }
    #[inline(always)]
    fn ln<A: Arch>(self) -> f32 {
        crate::math::f32::log::<A>(self)
    }
    #[inline(always)]
    fn fma<A: Arch>(self, b: f32, c: f32) -> f32 {
        A::fma32(self, b, c)
    }
}

impl Real for f64 {
    const ONE: f64 = 1.0;
    const NEG_INFINITY: f64 = f64::NEG_INFINITY;
    #[inline(always)]
    fn from_f64(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn as_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
    #[inline(always)]
    fn exp<A: Arch>(self) -> f64 {
        crate::math::f64::exp::<A>(self)
    }
    #[inline(always)]
    fn ln<A: Arch>(self) -> f64 {
        crate::math::f64::log::<A>(self)
    }
    #[inline(always)]
    fn fma<A: Arch>(self, b: f64, c: f64) -> f64 {
        A::fma64(self, b, c)
    }
}

/// Joins the lanes of a fold, pairwise.
#[inline(always)]
fn join<T: Copy>(mut lanes: [T; LANES], f: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] = f(lanes[l], lanes[l + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest element; NaNs are passed over. -∞ for an empty row.
#[inline(always)]
pub(crate) fn max<T: Real>(x: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut lanes = [T::NEG_INFINITY; LANES];
    let (chunks, tail) = x.as_chunks::<LANES>();
    for x in chunks {
        for l in 0..LANES {
            lanes[l] = larger(lanes[l], x[l]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(tail) {
        *lane = larger(*lane, x);
    }
    join(lanes, larger)
}

/// Σ f(x\[i\])
#[inline(always)]
pub(crate) fn sum<T: Real>(x: &[T], f: impl Fn(T) -> T) -> f64 {
    let mut total = 0.0;
    for x in x.chunks(BLOCK) {
        let mut lanes = [T::default(); LANES];
        let (chunks, tail) = x.as_chunks::<LANES>();
        for x in chunks {
            for l in 0..LANES {
                lanes[l] = lanes[l] + f(x[l]);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(tail) {
            *lane = *lane + f(x);
        }
        total += join(lanes, |a, b| a + b).as_f64();
    }
    total
}

/// Σ f(x\[i\], y\[i\])
#[inline(always)]
pub(crate) fn sum2<T: Real>(x: &[T], y: &[T], f: impl Fn(T, T) -> T) -> f64 {
    let mut total = 0.0;
    for (x, y) in x.chunks(BLOCK).zip(y.chunks(BLOCK)) {
        let mut lanes = [T::default(); LANES];
        let ((xs, x_tail), (ys, y_tail)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        for (x, y) in xs.iter().zip(ys) {
            for l in 0..LANES {
                lanes[l] = lanes[l] + f(x[l], y[l]);
            }
        }
        for (lane, (&x, &y)) in lanes.iter_mut().zip(x_tail.iter().zip(y_tail)) {
            *lane = *lane + f(x, y);
        }
        total += join(lanes, |a, b| a + b).as_f64();
    }
    total
}

/// Σ f(x\[i\], y\[i\], z\[i\])
#[inline(always)]
pub(crate) fn sum3<T: Real>(x: &[T], y: &[T], z: &[T], f: impl Fn(T, T, T) -> T) -> f64 {
    let mut total = 0.0;
    for ((x, y), z) in x.chunks(BLOCK).zip(y.chunks(BLOCK)).zip(z.chunks(BLOCK)) {
        let mut lanes = [T::default(); LANES];
        let (xs, x_tail) = x.as_chunks::<LANES>();
        let ((ys, y_tail), (zs, z_tail)) = (y.as_chunks::<LANES>(), z.as_chunks::<LANES>());
        for ((x, y), z) in xs.iter().zip(ys).zip(zs) {
            for l in 0..LANES {
                lanes[l] = lanes[l] + f(x[l], y[l], z[l]);
            }
        }
        for (l, ((&x, &y), &z)) in x_tail.iter().zip(y_tail).zip(z_tail).enumerate() {
            lanes[l] = lanes[l] + f(x, y, z);
        }
        total += join(lanes, |a, b| a + b).as_f64();
    }
    total
}

/// out\[i\] = f(x\[i\]); returns the sum of what was written.
#[inline(always)]
pub(crate) fn map_sum<T: Real>(x: &[T], out: &mut [T], f: impl Fn(T) -> T) -> f64 {
    let mut total = 0.0;
    for (x, out) in x.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        let mut lanes = [T::default(); LANES];
        let ((xs, x_tail), (outs, out_tail)) = (x.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
        for (x, out) in xs.iter().zip(outs) {
            for l in 0..LANES {
                out[l] = f(x[l]);
                lanes[l] = lanes[l] + out[l];
            }
        }
        for (lane, (&x, out)) in lanes.iter_mut().zip(x_tail.iter().zip(out_tail)) {
            *out = f(x);
            *lane = *lane + *out;
        }
        total += join(lanes, |a, b| a + b).as_f64();
    }
    total
}

/// x\[i\] = f(x\[i\]); returns the sum of what was written.
#[inline(always)]
pub(crate) fn update_sum<T: Real>(x: &mut [T], f: impl Fn(T) -> T) -> f64 {
    let mut total = 0.0;
    for x in x.chunks_mut(BLOCK) {
        let mut lanes = [T::default(); LANES];
        let (xs, tail) = x.as_chunks_mut::<LANES>();
        for x in xs {
            for l in 0..LANES {
                x[l] = f(x[l]);
                lanes[l] = lanes[l] + x[l];
            }
        }
        for (lane, x) in lanes.iter_mut().zip(tail) {
            *x = f(*x);
            *lane = *lane + *x;
        }
        total += join(lanes, |a, b| a + b).as_f64();
    }
    total
}
