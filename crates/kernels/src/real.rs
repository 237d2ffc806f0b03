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
    /// Rounded towards zero.
    ///
    /// # Safety
    /// It is no NaN and an i32 can hold it.
    unsafe fn truncate(self) -> i32;
    fn is_nan(self) -> bool;
    /// eˣ, within 2 ULP.
    fn exp<A: Arch>(self) -> Self;
    /// ln x
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
    unsafe fn truncate(self) -> i32 {
        // SAFETY: promised by the caller.
        unsafe { self.to_int_unchecked() }
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
    #[inline(always)]
    fn exp<A: Arch>(self) -> f32 {
        exp_f32::<A>(self)
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
    unsafe fn truncate(self) -> i32 {
        // SAFETY: promised by the caller.
        unsafe { self.to_int_unchecked() }
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

/// eʳ = 1 + r + r²·Q(r) for |r| ≤ ln 2 / 2 within 2⁻²⁶: a Chebyshev fit.
const EXP_Q: [f32; 5] = [0.5, 0.16666573, 0.041666456, 0.008363777, 0.0013934545];
/// Adding it rounds to an integer, which then stands in the low bits.
const MAGIC: f32 = 12582912.0;
/// ln 2 in two parts; the first has so few bits that its products with exponents are exact.
const LN_2: [f32; 2] = [355.0 / 512.0, -2.1219444e-4];

/// eˣ within 2 ULP, NaN and infinities right: in f32 throughout, so that it takes a third of the time of
/// [`crate::math::f32::exp`], which is within 1 ULP. Sums of powers do not gain from the difference.
#[inline(always)]
fn exp_f32<A: Arch>(x: f32) -> f32 {
    // Beyond these the result is 0 or infinite anyway; a NaN passes both.
    let x = if x < -105.0 { -105.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = A::fma32(x, std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = A::fma32(n, -LN_2[1], A::fma32(n, -LN_2[0], x));
    let q = EXP_Q.iter().rev().skip(1).fold(EXP_Q[4], |q, &c| A::fma32(q, r, c));
    let power = A::fma32(q, r * r, r) + 1.0;
    // 2ⁿ in two factors: n may be out of the range of exponents while the product is in it.
    let exponent = shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i32;
    let half = exponent >> 1;
    let factor = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    power * factor(half) * factor(exponent.wrapping_sub(half))
}

/// Joins the lanes of a fold, pairwise.
#[inline(always)]
pub(crate) fn join<T: Copy, const L: usize>(mut lanes: [T; L], f: impl Fn(T, T) -> T) -> T {
    let mut width = L / 2;
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

/// Σ f(x\[i\]); `f` must be a few instructions, so that it is inlined (as everywhere below).
#[inline(always)]
pub(crate) fn sum<T: Real>(x: &[T], f: impl Fn(T) -> T) -> f64 {
    if x.len() < LANES {
        // Joining lanes would take longer than the row.
        return x.iter().fold(T::default(), |sum, &x| sum + f(x)).as_f64();
    }
    let mut total = 0.0;
    for x in x.chunks(BLOCK) {
        let mut lanes = [T::default(); LANES];
        let (xs, tail) = x.as_chunks::<LANES>();
        for x in xs {
            for l in 0..LANES {
                lanes[l] = lanes[l] + f(x[l]);
            }
        }
        lanes.iter_mut().zip(tail).for_each(|(lane, &x)| *lane = *lane + f(x));
        total += join(lanes, |a, b| a + b).as_f64();
    }
    total
}

/// Σ f(x\[i\], y\[i\])
#[inline(always)]
pub(crate) fn sum2<T: Real>(x: &[T], y: &[T], f: impl Fn(T, T) -> T) -> f64 {
    if x.len() < LANES {
        return x.iter().zip(y).fold(T::default(), |sum, (&x, &y)| sum + f(x, y)).as_f64();
    }
    let mut total = 0.0;
    for (x, y) in x.chunks(BLOCK).zip(y.chunks(BLOCK)) {
        let mut lanes = [T::default(); LANES];
        let ((xs, x_tail), (ys, y_tail)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        for (x, y) in xs.iter().zip(ys) {
            for l in 0..LANES {
                lanes[l] = lanes[l] + f(x[l], y[l]);
            }
        }
        let tail = x_tail.iter().zip(y_tail);
        lanes.iter_mut().zip(tail).for_each(|(lane, (&x, &y))| *lane = *lane + f(x, y));
        total += join(lanes, |a, b| a + b).as_f64();
    }
    total
}

/// Both Σ of f(x\[0\]\[i\], x\[1\]\[i\], …) over rows of one length.
#[inline(always)]
pub(crate) fn sums<T: Real, const N: usize>(rows: [&[T]; N], f: impl Fn([T; N]) -> [T; 2]) -> [f64; 2] {
    let len = rows[0].len();
    let rows = rows.map(|row| &row[..len]);
    if len < LANES {
        let mut total = [T::default(); 2];
        for i in 0..len {
            let [a, b] = f(rows.map(|row| row[i]));
            total = [total[0] + a, total[1] + b];
        }
        return total.map(T::as_f64);
    }
    let mut total = [0.0; 2];
    for start in (0..len).step_by(BLOCK) {
        let rows = rows.map(|row| row[start..len.min(start + BLOCK)].as_chunks::<LANES>());
        let mut lanes = [[T::default(); LANES]; 2];
        for c in 0..rows[0].0.len() {
            let chunks = rows.map(|(chunks, _)| &chunks[c]);
            for l in 0..LANES {
                let [a, b] = f(chunks.map(|chunk| chunk[l]));
                (lanes[0][l], lanes[1][l]) = (lanes[0][l] + a, lanes[1][l] + b);
            }
        }
        for l in 0..rows[0].1.len() {
            let [a, b] = f(rows.map(|(_, tail)| tail[l]));
            (lanes[0][l], lanes[1][l]) = (lanes[0][l] + a, lanes[1][l] + b);
        }
        let [a, b] = lanes.map(|lanes| join(lanes, |a, b| a + b).as_f64());
        total = [total[0] + a, total[1] + b];
    }
    total
}

/// Σ exp(x\[i\] - m)
#[inline(always)]
pub(crate) fn sum_exp<T: Real, A: Arch>(x: &[T], m: T) -> f64 {
    let mut total = 0.0;
    for x in x.chunks(BLOCK) {
        let mut lanes = [T::default(); LANES];
        let (xs, tail) = x.as_chunks::<LANES>();
        for x in xs {
            for l in 0..LANES {
                lanes[l] = lanes[l] + (x[l] - m).exp::<A>();
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(tail) {
            *lane = *lane + (x - m).exp::<A>();
        }
        total += join(lanes, |a, b| a + b).as_f64();
    }
    total
}

/// out\[i\] = exp(x\[i\] - m); returns the sum.
#[inline(always)]
pub(crate) fn exp_below<T: Real, A: Arch>(x: &[T], m: T, out: &mut [T]) -> f64 {
    let mut total = 0.0;
    for (x, out) in x.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        let mut lanes = [T::default(); LANES];
        let ((xs, x_tail), (outs, out_tail)) = (x.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
        for (x, out) in xs.iter().zip(outs) {
            for l in 0..LANES {
                out[l] = (x[l] - m).exp::<A>();
                lanes[l] = lanes[l] + out[l];
            }
        }
        for (lane, (&x, out)) in lanes.iter_mut().zip(x_tail.iter().zip(out_tail)) {
            *out = (x - m).exp::<A>();
            *lane = *lane + *out;
        }
        total += join(lanes, |a, b| a + b).as_f64();
    }
    total
}

/// x\[i\] = exp(x\[i\] - m); returns the sum.
#[inline(always)]
pub(crate) fn exp_below_in_place<T: Real, A: Arch>(x: &mut [T], m: T) -> f64 {
    let mut total = 0.0;
    for x in x.chunks_mut(BLOCK) {
        let mut lanes = [T::default(); LANES];
        let (xs, tail) = x.as_chunks_mut::<LANES>();
        for x in xs {
            for l in 0..LANES {
                x[l] = (x[l] - m).exp::<A>();
                lanes[l] = lanes[l] + x[l];
            }
        }
        for (lane, x) in lanes.iter_mut().zip(tail) {
            *x = (*x - m).exp::<A>();
            *lane = *lane + *x;
        }
        total += join(lanes, |a, b| a + b).as_f64();
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Job, Plain, dispatch};

    struct ExpAll<'a>(&'a [f32], &'a mut [f32]);

    impl Job for ExpAll<'_> {
        type Out = ();

        #[inline(always)]
        fn run<A: Arch>(self) {
            self.1.iter_mut().zip(self.0).for_each(|(y, &x)| *y = Real::exp::<A>(x));
        }
    }

    /// Distance in units of the last place, counted through zero.
    fn ulps(a: f32, b: f32) -> u32 {
        let place = |x: f32| if x < 0.0 { -((x.to_bits() & 0x7fff_ffff) as i64) } else { x.to_bits() as i64 };
        (place(a) - place(b)).unsigned_abs() as u32
    }

    #[test]
    fn exp_is_within_two_ulp() {
        let mut x: Vec<f32> = (0..u32::MAX).step_by(997).map(f32::from_bits).collect();
        // And densely where results are not trivial.
        x.extend((0..400_000).map(|i| -105.0 + i as f32 * 0.000_49));
        for isa in Isa::available() {
            let mut y = vec![0.0; x.len()];
            dispatch(isa, ExpAll(&x, &mut y));
            for (&x, &y) in x.iter().zip(&y) {
                let exact = (x as f64).exp() as f32;
                assert!(y.is_nan() == x.is_nan(), "exp({x}) is {y}");
                assert!(x.is_nan() || ulps(y, exact) <= 2, "{}: exp({x}) is {y}, not {exact}", isa.name());
            }
        }
    }

    #[test]
    fn sums_of_any_length_are_accurate() {
        for n in [0, 1, 3, 4, 31, 32, 33, 4095, 4096, 4097, 100_003] {
            let x: Vec<f32> = (0..n).map(|i| 0.1 + (i % 7) as f32).collect();
            let exact: f64 = x.iter().map(|&x| x as f64 * x as f64).sum();
            let got = sum2(&x, &x, |a, b| a * b);
            let both = sums([&x, &x], |[a, b]| [a * b, -(a * b)]);
            assert!((both[0] - exact).abs() <= exact * 1e-6 && both[1] == -both[0], "{n}: {both:?} is not {exact}");
            assert!((got - exact).abs() <= exact * 1e-6, "{n}: {got} is not {exact}");
            assert!((sum(&x, |x| x * x) - exact).abs() <= exact * 1e-6, "{n}");
        }
    }

    #[test]
    fn sums_of_powers_are_the_same_wherever_they_are_written() {
        for n in [0, 1, 31, 32, 33, 4097, 10_003] {
            let x: Vec<f32> = (0..n).map(|i| (i % 11) as f32).collect();
            let exact: f64 = x.iter().map(|&x| (x as f64 - 10.0).exp()).sum();
            let (mut out, mut x2) = (vec![0.0; n], x.clone());
            let sums = [
                sum_exp::<f32, Plain>(&x, 10.0),
                exp_below::<f32, Plain>(&x, 10.0, &mut out),
                exp_below_in_place::<f32, Plain>(&mut x2, 10.0),
            ];
            assert!(sums.iter().all(|&sum| sum == sums[0] && (sum - exact).abs() <= exact * 1e-6), "{sums:?} {exact}");
            assert_eq!(out, x2);
        }
    }
}
