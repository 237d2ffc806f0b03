//! The functions, of f64.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2, PI};

use limpid_kernels::DType;

use super::tables::{ERFCX, I0E_FAR, I0E_NEAR, I1E_FAR, I1E_NEAR, QUANTILE_CENTRE, QUANTILE_FAR, QUANTILE_TAIL};
use crate::tensor::Tensor;

/// Σ c[i]·tⁱ
pub(super) fn horner(t: &Tensor, coefficients: &[f64]) -> Tensor {
    let (last, others) = coefficients.split_last().expect("a polynomial");
    others.iter().rev().fold(t.constant_like(*last), |y, &c| y * t + t.constant_like(c))
}

/// Whether the sign is minus, also of −0 and NaN.
pub(super) fn negative(x: &Tensor) -> Tensor {
    x.view_dtype(DType::I64).lt(0i64)
}

/// |y| with the sign of x.
pub(super) fn with_sign(y: &Tensor, x: &Tensor) -> Tensor {
    (-y).where_(&negative(x), y)
}

pub(super) fn asin(x: &Tensor) -> Tensor {
    (x / ((1f64 - x) * (1f64 + x)).sqrt()).atan()
}

pub(super) fn acos(x: &Tensor) -> Tensor {
    ((1f64 - x) / (1f64 + x)).sqrt().atan() * 2.0
}

pub(super) fn acosh(x: &Tensor) -> Tensor {
    let t = x - 1.0;
    let near = (&t + (&t * 2.0 + &t * &t).sqrt()).log1p();
    (x.log() + LN_2).where_(&x.gt(1e100), near)
}

pub(super) fn asinh(x: &Tensor) -> Tensor {
    let a = x.abs();
    let square = &a * &a;
    let near = (&a + &square / ((&square + 1.0).sqrt() + 1.0)).log1p();
    with_sign(&(a.log() + LN_2).where_(&a.gt(1e100), near), x)
}

pub(super) fn atanh(x: &Tensor) -> Tensor {
    let a = x.abs();
    with_sign(&(((&a * 2.0) / (1.0 - &a)).log1p() * 0.5), x)
}

/// eˣ/2, also where eˣ alone overflows.
fn half_exp(a: &Tensor) -> Tensor {
    let root = (a * 0.5).exp();
    (&root * 0.5 * &root).where_(&a.gt(700.0), a.exp() * 0.5)
}

pub(super) fn cosh(x: &Tensor) -> Tensor {
    let a = x.abs();
    half_exp(&a) + (-&a).exp() * 0.5
}

pub(super) fn sinh(x: &Tensor) -> Tensor {
    let a = x.abs();
    let near = (a.expm1() - (-&a).expm1()) * 0.5;
    with_sign(&half_exp(&a).where_(&a.gt(700.0), near), x)
}

pub(super) fn entr(x: &Tensor) -> Tensor {
    let below = x.zeros_like().where_(&x.eq(0.0), f64::NEG_INFINITY);
    let found = (-(x * x.log())).where_(&x.gt(0.0), below);
    x.where_(&x.isnan(), found)
}

/// exp(x²)·erfc(x) for x ≥ 0.
fn scaled_erfc(a: &Tensor) -> Tensor {
    let t = 1.0 - 7.5 / (a + 3.75);
    horner(&t, &ERFCX) / (a * 2.0 + 1.0)
}

pub(super) fn erfcx(x: &Tensor) -> Tensor {
    let scaled = scaled_erfc(&x.abs());
    let mirrored = (x * x).exp() * 2.0 - &scaled;
    mirrored.where_(&x.lt(0.0), scaled)
}

pub(super) fn erfc(x: &Tensor) -> Tensor {
    let far = (-(x * x)).exp() * scaled_erfc(&x.abs());
    far.where_(&x.gt(0.5), 1.0 - x.erf())
}

pub(super) fn ndtr(x: &Tensor) -> Tensor {
    erfc(&(x * -FRAC_1_SQRT_2)) * 0.5
}

pub(super) fn log_ndtr(x: &Tensor) -> Tensor {
    let z = x * FRAC_1_SQRT_2;
    let far = (scaled_erfc(&z.abs()) * 0.5).log() - &z * &z;
    let near = (erfc(&z) * -0.5).log1p();
    far.where_(&x.lt(-1.0), near)
}

fn rational(t: &Tensor, [above, below]: &[[f64; 8]; 2]) -> Tensor {
    horner(t, above) / horner(t, below)
}

/// The normal quantile of ½ + q, where `tail` is ½ − |q|, given apart as it may be tiny.
fn quantile(q: &Tensor, tail: &Tensor) -> Tensor {
    let centre = q * rational(&(0.180625 - q * q), &QUANTILE_CENTRE);
    let r = (-tail.log()).sqrt();
    let near = rational(&(&r - 1.6), &QUANTILE_TAIL);
    let far = rational(&(&r - 5.0), &QUANTILE_FAR);
    let outer = far.where_(&r.gt(5.0), near);
    let outer = outer.where_(&tail.eq(0.0).logical_not(), f64::INFINITY);
    centre.where_(&q.abs().le(0.425), with_sign(&outer, q))
}

pub(super) fn ndtri(x: &Tensor) -> Tensor {
    quantile(&(x - 0.5), &x.minimum(1f64 - x))
}

pub(super) fn erfinv(x: &Tensor) -> Tensor {
    quantile(&(x * 0.5), &((1f64 - x.abs()) * 0.5)) * FRAC_1_SQRT_2
}

/// sin πx and cos πx: of the distance to the nearest whole number, with a sign where that is odd.
pub(super) fn sin_cos_pi(x: &Tensor) -> (Tensor, Tensor) {
    let k = |v: f64| x.constant_like(v);
    let whole = x.round();
    let odd = (&whole - (&whole * k(0.5)).round() * k(2.0)).abs();
    let (sign, angle) = (k(1.0) - odd * k(2.0), (x - &whole) * k(PI));
    (angle.sin() * &sign, angle.cos() * sign)
}

pub(super) fn sinc(x: &Tensor) -> Tensor {
    let zero = x.eq(0.0);
    let safe = x.ones_like().where_(&zero, x);
    (sin_cos_pi(&safe).0 / (&safe * PI)).where_(&zero.logical_not(), 1.0)
}

/// (πx·cos πx − sin πx)/(πx²); near 0, where that is a difference of equals, its series.
pub(super) fn sinc_slope(x: &Tensor) -> Tensor {
    let k = |v: f64| x.constant_like(v);
    let near = x.abs().lt(k(1e-2));
    let square = x * x;
    let terms = [-PI.powi(2) / 3.0, PI.powi(4) / 30.0, -PI.powi(6) / 840.0, PI.powi(8) / 45360.0];
    let series = x * horner(&square, &terms);
    let safe = k(1.0).where_(&near, x);
    let (sin, cos) = sin_cos_pi(&safe);
    let far = (&safe * k(PI) * cos - sin) / (&safe * &safe * k(PI));
    series.where_(&near, far)
}

/// Up to 8, and above 8 times √|x|: the variables of the tables.
fn bessel(x: &Tensor, near: &[f64], far: &[f64]) -> (Tensor, Tensor) {
    let a = x.abs();
    let small = horner(&(a.minimum(8.0) * 0.25 - 1.0), near);
    let large = horner(&(16.0 / a.maximum(8.0) - 1.0), far) / a.maximum(8.0).sqrt();
    (small, large)
}

pub(super) fn i0e(x: &Tensor) -> Tensor {
    let (near, far) = bessel(x, &I0E_NEAR, &I0E_FAR);
    far.where_(&x.abs().gt(8.0), near)
}

pub(super) fn i1e(x: &Tensor) -> Tensor {
    let (near, far) = bessel(x, &I1E_NEAR, &I1E_FAR);
    with_sign(&far, x).where_(&x.abs().gt(8.0), near * x)
}
