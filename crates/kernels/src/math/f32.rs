//! Elementary functions of `f32`.
//!
//! Most have their core in `f64`: eight lanes instead of sixteen, but half the steps that a result within
//! 1 ULP would take in `f32`, and the last rounding is nearly the only one. Polynomials are Chebyshev fits.

use super::f64::{FRAC_2_PI, HALF_PI_1, HALF_PI_2, MAGIC, REDUCTION_LIMIT, pow_specials, pow2, reduce_large};
use super::{horner32, horner64};
use crate::isa::Arch;
use crate::real::Real;

/// eʳ = 1 + r + r² Q(r) for |r| ≤ ln 2 / 2, within 2⁻³² of eʳ.
const EXP_Q: [f64; 6] = [
    0.500000001346581,
    0.16666666681623232,
    0.041666464925285904,
    0.0083333109254809,
    0.0013933649996309251,
    0.00019890990824673654,
];

/// ln(1 + f) = f − f²/2 + f³ Q(f) for √½ ≤ 1 + f ≤ √2.
const LOG_Q: [f32; 10] = [
    0.333333343,
    -0.249999896,
    0.200000107,
    -0.166680023,
    0.142865255,
    -0.124507189,
    0.110377498,
    -0.106463723,
    0.105311975,
    -0.0620147549,
];

/// erf x = x + x P(x²) for |x| ≤ 1.
const ERF_P: [f32; 8] = [
    0.128379166,
    -0.376126349,
    0.112837434,
    -0.0268635508,
    0.00521640619,
    -0.000842323236,
    0.000108587818,
    -8.57798841e-06,
];

/// 1 − erf t in powers of t − 2.40625, for 1 ≤ t ≤ 3.93: an f32, and the difference is exact.
const ERFC: [f32; 16] = [
    0.000666621141,
    -0.00345042464,
    0.00830261037,
    -0.0121686924,
    0.0118726492,
    -0.00777638145,
    0.00307235471,
    -0.000262086018,
    -0.000502841605,
    0.000322111853,
    -6.33350355e-05,
    -2.71568333e-05,
    1.91335857e-05,
    -2.08232541e-06,
    -1.39014571e-06,
    3.65558179e-07,
];

/// ln((1 + s) / (1 − s)) = 2s + s³ R(s²) for |s| ≤ 0.1716, within 2⁻⁴³.
const ATANH_R: [f64; 6] = [
    0.6666666666666206,
    0.4000000001126354,
    0.2857142412022083,
    0.22222864249374918,
    0.18140107756610346,
    0.1662311658428347,
];

/// sin r = r + r³ S(r²) for |r| ≤ π/4.
const SIN_S: [f64; 4] = [-0.16666666663832763, 0.008333331865959415, -0.00019840082012765537, 2.7249314054698804e-06];

/// cos r = 1 − r²/2 + r⁴ C(r²) for |r| ≤ π/4.
const COS_C: [f64; 4] = [0.0416666666643024, -0.0013888887664713619, 2.4800596435621998e-05, -2.7300448619488353e-07];

/// 2ⁿ and e^(x − n ln 2) − 1, for the n that is nearest to x / ln 2; |x| up to 700.
#[inline(always)]
fn exp_parts<A: Arch>(x: f64) -> (f64, f64) {
    let n = A::fma64(x, std::f64::consts::LOG2_E, MAGIC) - MAGIC;
    let r = A::fma64(n, -std::f64::consts::LN_2, x);
    (pow2(n), A::fma64(r * r, horner64::<A, _>(r, EXP_Q), r))
}

/// `x` kept within `low ..= high`; NaN stays NaN.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// 1 / d for a d whose reciprocal f32 has: a division in f32 and one step of Newton's method, which is
/// cheaper than a division in f64.
#[inline(always)]
fn reciprocal<A: Arch>(d: f64) -> f64 {
    let y = f64::from(1.0 / d as f32);
    y * A::fma64(-d, y, 2.0)
}

/// eˣ
#[inline(always)]
pub fn exp<A: Arch>(x: f32) -> f32 {
    // Beyond these the result is 0 or infinite in f32, but neither in f64.
    let (scale, p) = exp_parts::<A>(clamp(x, -105.0, 90.0).into());
    A::fma64(scale, p, scale) as f32
}

/// eˣ − 1
#[inline(always)]
pub fn expm1<A: Arch>(x: f32) -> f32 {
    let (scale, p) = exp_parts::<A>(clamp(x, -30.0, 90.0).into());
    // The sign is lost at −0.
    (A::fma64(scale, p, scale - 1.0) as f32).copysign(x)
}

/// 1 / (1 + e⁻ˣ)
#[inline(always)]
pub fn sigmoid<A: Arch>(x: f32) -> f32 {
    let negative = clamp(-x.abs(), -105.0, 0.0);
    let (scale, p) = exp_parts::<A>(negative.into());
    let e = A::fma64(scale, p, scale);
    let numerator = if x < 0.0 { e } else { 1.0 };
    (numerator * reciprocal::<A>(1.0 + e)) as f32
}

/// tanh x = (e²ˣ − 1) / (e²ˣ + 1)
#[inline(always)]
pub fn tanh<A: Arch>(x: f32) -> f32 {
    // From 9.02 on it is 1.
    let (scale, p) = exp_parts::<A>(2.0 * f64::from(clamp(x, -9.1, 9.1)));
    let expm1 = A::fma64(scale, p, scale - 1.0);
    ((expm1 * reciprocal::<A>(expm1 + 2.0)) as f32).copysign(x)
}

/// ln x, in the manner of fdlibm: x = 2ᵉ (1 + f), the sum e ln 2 + f held in two numbers.
#[inline(always)]
pub fn log<A: Arch>(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    // 15 bits, so that its products with exponents are exact.
    const LN_2_HIGH: f32 = 0.693_145_75;
    const LN_2_LOW: f32 = 1.428_606_8e-6;
    let subnormal = x < f32::MIN_POSITIVE;
    let normal = if subnormal { x * 8_388_608.0 } else { x };
    let bits = normal.to_bits().wrapping_sub(SQRT_HALF);
    let e = (bits as i32 >> 23) as f32 - if subnormal { 23.0 } else { 0.0 };
    let f = f32::from_bits((bits & 0x7f_ffff) + SQRT_HALF) - 1.0;

    let square = f * f;
    let tail = A::fma32(square * f, horner32::<A, _>(f, LOG_Q), A::fma32(e, LN_2_LOW, -0.5 * square));
    let high = e * LN_2_HIGH;
    let sum = high + f;
    let lost = f - (sum - high);
    let y = sum + (lost + tail);

    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    // Negative, or NaN itself.
    if x >= 0.0 { y } else { f32::NAN }
}

/// ln(2ᵉ (1 + f)) for √½ ≤ 1 + f ≤ √2, within 2⁻⁴⁰ of it.
#[inline(always)]
fn log_core<A: Arch>(e: f64, f: f64) -> f64 {
    let s = f / (2.0 + f);
    let z = s * s;
    let tail = s * z * horner64::<A, _>(z, ATANH_R);
    A::fma64(e, std::f64::consts::LN_2, A::fma64(2.0, s, tail))
}

/// Splits a positive normal u into e and f: u = 2ᵉ (1 + f), √½ ≤ 1 + f ≤ √2.
#[inline(always)]
pub(super) fn split(u: f64) -> (f64, f64) {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let bits = u.to_bits().wrapping_sub(SQRT_HALF);
    // The exponent, biased to be positive, becomes a float by way of the bits of 2⁵² + it.
    let biased = (bits >> 52).wrapping_add(1024) & 0xfff;
    let e = f64::from_bits(biased | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1024.0);
    (e, f64::from_bits((bits & 0xf_ffff_ffff_ffff) + SQRT_HALF) - 1.0)
}

/// ln(1 + x)
#[inline(always)]
pub fn log1p<A: Arch>(x: f32) -> f32 {
    let wide = f64::from(x);
    let (e, f) = split(1.0 + wide);
    // Where 1 + x was not scaled, x itself has what the sum lost.
    let y = log_core::<A>(e, if e == 0.0 { wide } else { f }) as f32;
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == -1.0 { f32::NEG_INFINITY } else { y };
    // Also keeps −0.
    let y = if x == 0.0 { x } else { y };
    if x >= -1.0 { y } else { f32::NAN }
}

/// The number of quarter turns nearest to x (its lowest bits), and what is left, in radians.
#[inline(always)]
fn quarter_turns<A: Arch>(x: f64) -> (u64, f64) {
    let t = A::fma64(x, FRAC_2_PI, MAGIC);
    let n = t - MAGIC;
    (t.to_bits(), (x - n * HALF_PI_1) - n * HALF_PI_2)
}

/// The sine of r and `turns` quarter turns.
#[inline(always)]
fn sin_of<A: Arch>(turns: u64, r: f64) -> f32 {
    let z = r * r;
    let sin = A::fma64(r * z, horner64::<A, _>(z, SIN_S), r);
    let cos = A::fma64(z * z, horner64::<A, _>(z, COS_C), A::fma64(z, -0.5, 1.0));
    let y = if turns & 1 == 0 { sin } else { cos };
    f64::from_bits(y.to_bits() ^ ((turns & 2) << 62)) as f32
}

/// sin x for |x| up to [`REDUCTION_LIMIT`], without a branch.
#[inline(always)]
pub(super) fn sin_small<A: Arch>(x: f32) -> f32 {
    let (turns, r) = quarter_turns::<A>(x.into());
    // Keeps −0.
    if x == 0.0 { x } else { sin_of::<A>(turns, r) }
}

/// cos x for |x| up to [`REDUCTION_LIMIT`], without a branch.
#[inline(always)]
pub(super) fn cos_small<A: Arch>(x: f32) -> f32 {
    let (turns, r) = quarter_turns::<A>(x.into());
    sin_of::<A>(turns.wrapping_add(1), r)
}

/// sin x, x in radians.
#[inline(always)]
pub fn sin<A: Arch>(x: f32) -> f32 {
    if x.abs() <= REDUCTION_LIMIT as f32 {
        return sin_small::<A>(x);
    }
    let (turns, r, _) = reduce_large(x.into());
    sin_of::<A>(turns, r)
}

/// cos x, x in radians.
#[inline(always)]
pub fn cos<A: Arch>(x: f32) -> f32 {
    if x.abs() <= REDUCTION_LIMIT as f32 {
        return cos_small::<A>(x);
    }
    let (turns, r, _) = reduce_large(x.into());
    sin_of::<A>(turns.wrapping_add(1), r)
}

/// The angle whose tangent is x, in f64, rounded once.
#[inline(always)]
pub fn atan<A: Arch>(x: f32) -> f32 {
    super::f64::atan::<A>(f64::from(x)) as f32
}

/// erf x = 2/√π ∫₀ˣ e^(−t²) dt: one polynomial up to 1, and one for what is missing to 1 above.
#[inline(always)]
pub fn erf<A: Arch>(x: f32) -> f32 {
    let t = x.abs();
    // From 3.92 on it is 1.
    let u = (if t > 3.929_687_5 { 3.929_687_5 } else { t }) - 2.406_25;
    let (small, missing) = if A::FMA {
        (A::fma32(x, horner32::<A, _>(x * x, ERF_P), x), horner32::<A, _>(u, ERFC))
    } else {
        // Two roundings a step would add up to more than 1 ULP.
        let wide = f64::from(x);
        let small = wide + wide * horner64::<A, _>(wide * wide, ERF_P.map(f64::from));
        (small as f32, horner64::<A, _>(u.into(), ERFC.map(f64::from)) as f32)
    };
    // Written so that NaN gives NaN.
    if t > 1.0 { (1.0 - missing).copysign(x) } else { small }
}

/// xʸ, as C's `pow`: 1 for x = 1 or y = 0, NaN for a negative x and a y that is not whole.
#[inline(always)]
pub fn pow<A: Arch>(x: f32, y: f32) -> f32 {
    let (wide, power) = (f64::from(x), f64::from(y));
    let (e, f) = split(wide.abs());
    let exponent = power * log_core::<A>(e, f);
    let exponent = if exponent > 90.0 { 90.0 } else { exponent };
    let exponent = if exponent < -105.0 { -105.0 } else { exponent };
    let (scale, p) = exp_parts::<A>(exponent);
    pow_specials(wide, power, A::fma64(scale, p, scale)) as f32
}

/// Φ(−z)·e^(z²/2) = t·P(t) with t = 1/(1 + z·[`TAIL_T`]) for z from 0 to 16, within 2⁻²⁵ of itself: a minimax fit.
const TAIL: [f32; 9] = [
    0.107_721_426,
    0.107_530_415,
    0.101_895_35,
    0.071_733_11,
    0.108_537_57,
    -0.070_201_263,
    0.170_620_89,
    -0.126_876_46,
    0.029_038_988,
];
const TAIL_T: f32 = 0.27;

/// Φ(x) and e^(−x²/2), in f32 throughout: what is in the tail keeps its relative precision.
#[inline(always)]
fn normal<A: Arch>(x: f32) -> (f32, f32) {
    let z = x.abs();
    // Beyond, the power is 0 anyway; a NaN passes.
    let z = if z > 16.0 { 16.0 } else { z };
    let square = z * z;
    // What the square lost matters in the exponent.
    let lost = A::fma32(z, z, -square);
    let power = Real::exp::<A>(-0.5 * square);
    let power = A::fma32(power, -0.5 * lost, power);
    let t = 1.0 / A::fma32(z, TAIL_T, 1.0);
    let p = TAIL.iter().rev().skip(1).fold(TAIL[8], |p, &c| A::fma32(p, t, c));
    let tail = power * (t * p);
    (if x < 0.0 { tail } else { 1.0 - tail }, power)
}

/// x·Φ(x), within 10 ULP
#[inline(always)]
pub fn gelu<A: Arch>(x: f32) -> f32 {
    x * normal::<A>(x).0
}

/// Φ(x) + x·e^(−x²/2)/√(2π), within 2⁻²¹
#[inline(always)]
pub fn gelu_slope<A: Arch>(x: f32) -> f32 {
    let (below, power) = normal::<A>(x);
    A::fma32(x * 0.398_942_28, power, below)
}
