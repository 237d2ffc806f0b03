//! Elementary functions, branch-free so that loops over them vectorise, and the same on every machine.
//!
//! Each is generic over `Arch`, so that one body is compiled with and without fused multiply-add.
//! `docs/ulp.md` has the measured errors.
#![allow(clippy::excessive_precision)]

#[cfg(target_arch = "x86_64")]
mod erf_avx512;
pub mod f32;
pub mod f64;

use crate::fused::UnaryFn;
use crate::isa::{Arch, Isa, Job, dispatch};

/// y\[i\] = f(x\[i\]), compiled for `isa`. Panics when the lengths differ.
pub fn unary_f32(isa: Isa, f: UnaryFn, x: &[::core::primitive::f32], y: &mut [::core::primitive::f32]) {
    assert_eq!(x.len(), y.len());
    #[cfg(target_arch = "x86_64")]
    if f == UnaryFn::Erf && isa.min(Isa::detect()) >= Isa::Avx512 {
        // SAFETY: this machine has AVX-512.
        return unsafe { erf_avx512::erf(x, y) };
    }
    dispatch(isa, Unary32 { f, x, y });
}

/// y\[i\] = f(x\[i\]), compiled for `isa`. Panics when the lengths differ.
pub fn unary_f64(isa: Isa, f: UnaryFn, x: &[::core::primitive::f64], y: &mut [::core::primitive::f64]) {
    assert_eq!(x.len(), y.len());
    dispatch(isa, Unary64 { f, x, y });
}

struct Unary32<'a> {
    f: UnaryFn,
    x: &'a [::core::primitive::f32],
    y: &'a mut [::core::primitive::f32],
}

struct Unary64<'a> {
    f: UnaryFn,
    x: &'a [::core::primitive::f64],
    y: &'a mut [::core::primitive::f64],
}

/// c₀ + c₁ x + c₂ x² + …
#[inline(always)]
fn horner32<A: Arch, const N: usize>(
    x: ::core::primitive::f32,
    c: [::core::primitive::f32; N],
) -> ::core::primitive::f32 {
    c[..N - 1].iter().rev().fold(c[N - 1], |sum, &c| A::fma32(sum, x, c))
}

/// c₀ + c₁ x + c₂ x² + …
#[inline(always)]
fn horner64<A: Arch, const N: usize>(
    x: ::core::primitive::f64,
    c: [::core::primitive::f64; N],
) -> ::core::primitive::f64 {
    c[..N - 1].iter().rev().fold(c[N - 1], |sum, &c| A::fma64(sum, x, c))
}

/// A loop without branches, then a second look at the few elements that it is not meant for.
#[inline(always)]
fn map_within<T: Copy>(x: &[T], y: &mut [T], within: impl Fn(T) -> bool, f: impl Fn(T) -> T, other: impl Fn(T) -> T) {
    map(x, y, f);
    if !x.iter().fold(true, |all, &x| all & within(x)) {
        for (y, &x) in y.iter_mut().zip(x).filter(|&(_, &x)| !within(x)) {
            *y = other(x);
        }
    }
}

/// One loop for each function, so that each vectorises by itself.
#[inline(always)]
fn map<T: Copy>(x: &[T], y: &mut [T], f: impl Fn(T) -> T) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = f(x);
    }
}

impl Job for Unary32<'_> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Unary32 { f, x, y } = self;
        match f {
            UnaryFn::Neg => map(x, y, |x| -x),
            UnaryFn::Abs => map(x, y, |x| x.abs()),
            UnaryFn::Exp => map(x, y, f32::exp::<A>),
            UnaryFn::Expm1 => map(x, y, f32::expm1::<A>),
            UnaryFn::Log => map(x, y, f32::log::<A>),
            UnaryFn::Log1p => map(x, y, f32::log1p::<A>),
            UnaryFn::Sqrt => map(x, y, |x| x.sqrt()),
            UnaryFn::Sin => map_within(
                x,
                y,
                |x| x.abs() <= f64::REDUCTION_LIMIT as ::core::primitive::f32,
                f32::sin_small::<A>,
                f32::sin::<A>,
            ),
            UnaryFn::Cos => map_within(
                x,
                y,
                |x| x.abs() <= f64::REDUCTION_LIMIT as ::core::primitive::f32,
                f32::cos_small::<A>,
                f32::cos::<A>,
            ),
            UnaryFn::Atan => map(x, y, f32::atan::<A>),
            UnaryFn::Tanh => map(x, y, f32::tanh::<A>),
            UnaryFn::Erf => map(x, y, f32::erf::<A>),
            UnaryFn::Sigmoid => map(x, y, f32::sigmoid::<A>),
            UnaryFn::Gelu => map(x, y, f32::gelu::<A>),
            UnaryFn::GeluSlope => map(x, y, f32::gelu_slope::<A>),
            UnaryFn::Floor => map(x, y, |x| x.floor()),
            UnaryFn::Ceil => map(x, y, |x| x.ceil()),
            UnaryFn::Trunc => map(x, y, |x| x.trunc()),
            UnaryFn::Round => map(x, y, |x| x.round_ties_even()),
        }
    }
}

impl Job for Unary64<'_> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Unary64 { f, x, y } = self;
        match f {
            UnaryFn::Neg => map(x, y, |x| -x),
            UnaryFn::Abs => map(x, y, |x| x.abs()),
            UnaryFn::Exp => map(x, y, f64::exp::<A>),
            UnaryFn::Expm1 => map(x, y, f64::expm1::<A>),
            UnaryFn::Log => map(x, y, f64::log::<A>),
            UnaryFn::Log1p => map(x, y, f64::log1p::<A>),
            UnaryFn::Sqrt => map(x, y, |x| x.sqrt()),
            UnaryFn::Sin => map_within(x, y, |x| x.abs() <= f64::REDUCTION_LIMIT, f64::sin_small::<A>, f64::sin::<A>),
            UnaryFn::Cos => map_within(x, y, |x| x.abs() <= f64::REDUCTION_LIMIT, f64::cos_small::<A>, f64::cos::<A>),
            UnaryFn::Atan => map(x, y, f64::atan::<A>),
            UnaryFn::Tanh => map(x, y, f64::tanh::<A>),
            UnaryFn::Erf => map(x, y, f64::erf::<A>),
            UnaryFn::Sigmoid => map(x, y, f64::sigmoid::<A>),
            UnaryFn::Gelu => map(x, y, f64::gelu::<A>),
            UnaryFn::GeluSlope => map(x, y, f64::gelu_slope::<A>),
            UnaryFn::Floor => map(x, y, |x| x.floor()),
            UnaryFn::Ceil => map(x, y, |x| x.ceil()),
            UnaryFn::Trunc => map(x, y, |x| x.trunc()),
            UnaryFn::Round => map(x, y, |x| x.round_ties_even()),
        }
    }
}

#[cfg(test)]
mod tests;
