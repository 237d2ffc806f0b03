//! Elementary functions of `f64`, within 2 ULP.
//!
//! The reductions follow Cody and Waite (*Software Manual for the Elementary Functions*, 1980); what one
//! number can not hold is carried in a second. Polynomials are Chebyshev fits.

use super::f32::split;
use super::horner64;
use crate::isa::Arch;

/// 1.5 · 2⁵²: adding it rounds to a whole number, which is then in the lowest bits.
pub(super) const MAGIC: f64 = 6_755_399_441_055_744.0;
/// 2/π
pub(super) const FRAC_2_PI: f64 = std::f64::consts::FRAC_2_PI;
/// The first 33 bits of π/2: products with up to 20 more bits are exact.
pub(super) const HALF_PI_1: f64 = 1.5707963267341256;
/// The rest of π/2, as one number.
pub(super) const HALF_PI_2: f64 = 6.077_100_506_506_192e-11;
/// The next 33 bits of π/2, and the rest of it.
const HALF_PI_2A: f64 = 6.077_100_506_303_966e-11;
const HALF_PI_2B: f64 = 2.022_266_248_795_950_6e-21;
/// Up to here sine and cosine reduce their argument in f64.
pub(super) const REDUCTION_LIMIT: f64 = 1_048_576.0;
/// The first 32 bits of ln 2: its products with exponents are exact.
const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// eʳ = 1 + r + r² Q(r) for |r| ≤ ln 2 / 2.
const EXP_Q: [f64; 12] = [
    0.5,
    0.16666666666666666,
    0.04166666666666668,
    0.008333333333333333,
    0.0013888888888879073,
    0.00019841269841263298,
    2.4801587336442236e-05,
    2.755731924721873e-06,
    2.75572632790885e-07,
    2.505207109429355e-08,
    2.0918137737642736e-09,
    1.608662795678037e-10,
];

/// ln((1 + s) / (1 − s)) = 2s + s³ R(s²) for |s| ≤ 0.1716.
const LOG_R: [f64; 8] = [
    0.6666666666666666,
    0.40000000000000885,
    0.28571428570799784,
    0.22222222392581045,
    0.18181795547521137,
    0.15386244737621665,
    0.13268638369266825,
    0.13088034850927555,
];

/// ln((1 + s) / (1 − s)) = 2s + 2/3 s³ + s⁵ R(s²) for |s| ≤ 0.1716.
const POW_R: [f64; 9] = [
    0.4,
    0.28571428571428564,
    0.2222222222222847,
    0.1818181817964499,
    0.1538461576290815,
    0.13333296397963834,
    0.11766819021629554,
    0.10456195110401492,
    0.1076362151501126,
];

/// (x − atan x) / x³ in powers of x², |x| ≤ 7/16: fdlibm's.
const ATAN_P: [f64; 11] = [
    3.33333333333329318027e-01,
    -1.99999999998764832476e-01,
    1.42857142725034663711e-01,
    -1.11111104054623557880e-01,
    9.09088713343650656196e-02,
    -7.69187620504482999495e-02,
    6.66107313738753120669e-02,
    -5.83357013379057348645e-02,
    4.97687799461593236017e-02,
    -3.65315727442169155270e-02,
    1.62858201153657823623e-02,
];

/// erf x = x + x P(x²) for |x| ≤ 1.
const ERF_P: [f64; 14] = [
    0.1283791670955126,
    -0.37612638903183754,
    0.1128379167095512,
    -0.02686617064512984,
    0.0052239776254232985,
    -0.000854832702193483,
    0.00012055332902888736,
    -1.4925647567519332e-05,
    1.6462045441468418e-06,
    -1.6364642158167616e-07,
    1.4792401209404813e-08,
    -1.216456005728345e-09,
    8.709045129053106e-11,
    -4.230945824295338e-12,
];

/// e^(t²) (1 − erf t) in powers of (t − 3) / (t + 3), for 1 ≤ t ≤ 6.
const ERFC_G: [f64; 17] = [
    0.17900115118138996,
    -0.3262335600430372,
    0.24560380171233093,
    -0.15011593650077582,
    0.07166583719797331,
    -0.024392499318790735,
    0.004269136333077869,
    0.0007077464435611972,
    -0.0005970619531815352,
    4.525520140579536e-05,
    6.405657794051666e-05,
    -1.2859347351455289e-05,
    -7.977696579644072e-06,
    2.1124428949403864e-06,
    1.2459620847174093e-06,
    -2.6915157592850126e-07,
    -2.0355575642200858e-07,
];

/// sin r = r + r³ S(r²) for |r| ≤ π/4.
const SIN_S: [f64; 7] = [
    -0.16666666666666666,
    0.008333333333333331,
    -0.00019841269841265017,
    2.755731921930192e-06,
    -2.5052106219521895e-08,
    1.6058529572267877e-10,
    -7.586576588171073e-13,
];

/// cos r = 1 − r²/2 + r⁴ C(r²) for |r| ≤ π/4.
const COS_C: [f64; 6] = [
    0.041666666666666664,
    -0.0013888888888887382,
    2.480158729874307e-05,
    -2.7557317260008837e-07,
    2.0876143827993133e-09,
    -1.1382456778061306e-11,
];

/// 2ⁿ for a whole n in −1022 ..= 1023.
#[inline(always)]
pub(super) fn pow2(n: f64) -> f64 {
    f64::from_bits((n + (MAGIC + 1023.0)).to_bits() << 52)
}

/// x · 2ⁿ for a whole n in −2044 ..= 2046, rounded once where the result is subnormal.
#[inline(always)]
fn scale(x: f64, n: f64) -> f64 {
    let half = (0.5 * n + MAGIC) - MAGIC;
    x * pow2(half) * pow2(n - half)
}

/// `x` kept within `low ..= high`; NaN stays NaN.
#[inline(always)]
fn clamp(x: f64, low: f64, high: f64) -> f64 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// a + b and what its rounding lost (Knuth).
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// a · b and what its rounding lost: with a fused multiply-add, or in halves of the bits (Dekker).
#[inline(always)]
fn two_product<A: Arch>(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    if A::FMA {
        return (product, a.mul_add(b, -product));
    }
    let halves = |x: f64| {
        let c = 134_217_729.0 * x;
        let high = c - (c - x);
        (high, x - high)
    };
    let ((ah, al), (bh, bl)) = (halves(a), halves(b));
    (product, ((ah * bh - product) + ah * bl + al * bh) + al * bl)
}

/// n, r and t with e^(x + extra) = 2ⁿ (1 + r + t), |r| ≤ ln 2 / 2, t small beside r.
#[inline(always)]
fn exp_parts<A: Arch>(x: f64, extra: f64) -> (f64, f64, f64) {
    let n = A::fma64(x, std::f64::consts::LOG2_E, MAGIC) - MAGIC;
    let high = x - n * LN_2_HIGH;
    let low = n * LN_2_LOW;
    let r = high - low;
    let lost = ((high - r) - low) + extra;
    let tail = r * r * horner64::<A, _>(r, EXP_Q);
    // eʳ for what r lost.
    (n, r, A::fma64(lost, 1.0 + (r + tail), tail))
}

/// eˣ
#[inline(always)]
pub fn exp<A: Arch>(x: f64) -> f64 {
    let (n, r, t) = exp_parts::<A>(clamp(x, -746.0, 710.0), 0.0);
    scale(1.0 + (r + t), n)
}

/// eˣ − 1
#[inline(always)]
pub fn expm1<A: Arch>(x: f64) -> f64 {
    let (n, r, t) = exp_parts::<A>(clamp(x, -40.0, 710.0), 0.0);
    // 2ⁿ⁻¹, as 2¹⁰²⁴ overflows.
    let half = pow2(n - 1.0);
    let (sum, lost) = two_sum(half - 0.5, half * r);
    let y = 2.0 * (sum + (lost + half * t));
    // Half of a subnormal would lose bits, and −0 its sign.
    if x.abs() < f64::EPSILON / 4.0 { x } else { y }
}

/// 1 / (1 + e⁻ˣ)
#[inline(always)]
pub fn sigmoid<A: Arch>(x: f64) -> f64 {
    let (n, r, t) = exp_parts::<A>(clamp(-x.abs(), -746.0, 0.0), 0.0);
    let (power, lost) = two_sum(1.0, r);
    let (power, low) = two_sum(power, lost + t);
    // 1 + e, which does not see an e that is subnormal.
    let two_n = pow2(if n < -1000.0 { -1000.0 } else { n });
    let (d, d_lost) = two_sum(1.0, two_n * power);
    let d_low = d_lost + two_n * low;
    let (a, a_low) = if x < 0.0 { (power, low) } else { (1.0, 0.0) };
    scale(quotient::<A>(a, a_low, d, d_low), if x < 0.0 { n } else { 0.0 })
}

/// (a + a_low) / (d + d_low), where the second parts are below an ULP of the first.
#[inline(always)]
fn quotient<A: Arch>(a: f64, a_low: f64, d: f64, d_low: f64) -> f64 {
    let q = a / d;
    let (product, lost) = two_product::<A>(q, d);
    q + (((a - product) - lost) + (a_low - q * d_low)) / d
}

/// tanh x = (e²ˣ − 1) / (e²ˣ + 1)
#[inline(always)]
pub fn tanh<A: Arch>(x: f64) -> f64 {
    // From 19.07 on it is 1.
    let (n, r, t) = exp_parts::<A>(2.0 * clamp(x.abs(), 0.0, 20.0), 0.0);
    let two_n = pow2(n);
    let (sum, lost) = two_sum(two_n - 1.0, two_n * r);
    let (sum, low) = two_sum(sum, lost + two_n * t);
    let (d, d_lost) = two_sum(sum, 2.0);
    quotient::<A>(sum, low, d, d_lost + low).copysign(x)
}

/// ln(2ᵉ (1 + f) + c) for √½ ≤ 1 + f ≤ √2 and a small c, given as c / 2ᵉ (fdlibm's order of terms).
#[inline(always)]
fn log_core<A: Arch>(e: f64, f: f64, c: f64) -> f64 {
    let s = f / (2.0 + f);
    let z = s * s;
    let half_square = 0.5 * f * f;
    let r = z * horner64::<A, _>(z, LOG_R);
    let tail = A::fma64(s, half_square + r, A::fma64(e, LN_2_LOW, c));
    let high = e * LN_2_HIGH;
    let sum = high + f;
    let lost = f - (sum - high);
    let (sum, lost2) = two_sum(sum, -half_square);
    sum + ((lost + lost2) + tail)
}

/// Powers of two that make subnormals normal: the factor, and its exponent.
#[inline(always)]
fn normalise(x: f64) -> (f64, f64) {
    let subnormal = x < f64::MIN_POSITIVE;
    (if subnormal { x * 18_014_398_509_481_984.0 } else { x }, if subnormal { 54.0 } else { 0.0 })
}

/// ln x
#[inline(always)]
pub fn log<A: Arch>(x: f64) -> f64 {
    let (normal, shift) = normalise(x);
    let (e, f) = split(normal);
    let y = log_core::<A>(e - shift, f, 0.0);
    let y = if x == f64::INFINITY { x } else { y };
    let y = if x == 0.0 { f64::NEG_INFINITY } else { y };
    // Negative, or NaN itself.
    if x >= 0.0 { y } else { f64::NAN }
}

/// ln(1 + x)
#[inline(always)]
pub fn log1p<A: Arch>(x: f64) -> f64 {
    let (sum, lost) = two_sum(1.0, x);
    let (e, f) = split(sum);
    let unscaled = e == 0.0;
    // Where 1 + x was not scaled, x itself has what the sum lost; else that is worth lost / (1 + x).
    let y = log_core::<A>(e, if unscaled { x } else { f }, if unscaled { 0.0 } else { lost / sum });
    let y = if x == f64::INFINITY { x } else { y };
    let y = if x == -1.0 { f64::NEG_INFINITY } else { y };
    // Also keeps −0.
    let y = if x == 0.0 { x } else { y };
    if x >= -1.0 { y } else { f64::NAN }
}

/// erf x = 2/√π ∫₀ˣ e^(−t²) dt
#[inline(always)]
pub fn erf<A: Arch>(x: f64) -> f64 {
    let t = x.abs();
    let small = A::fma64(x, horner64::<A, _>(x * x, ERF_P), x);
    // From 5.93 on it is 1.
    let t = if t > 6.0 { 6.0 } else { t };
    let (n, r, tail) = exp_parts::<A>(-t * t, 0.0);
    let g = horner64::<A, _>((t - 3.0) / (t + 3.0), ERFC_G);
    let large = (1.0 - g * (pow2(n) * (1.0 + (r + tail)))).copysign(x);
    if t < 1.0 { small } else { large }
}

/// The angle whose tangent is x, in the manner of fdlibm: that of the nearest of 0, ½, 1, 3⁄2 and ∞, in two numbers, and
/// the rest as a polynomial.
#[inline(always)]
pub fn atan<A: Arch>(x: f64) -> f64 {
    let t = x.abs();
    let (n, d, high, low) = if t < 0.4375 {
        (t, 1.0, 0.0, 0.0)
    } else if t < 0.6875 {
        (2.0 * t - 1.0, 2.0 + t, 0.4636476090008061, 2.2698777452961687e-17)
    } else if t < 1.1875 {
        (t - 1.0, t + 1.0, std::f64::consts::FRAC_PI_4, 3.061616997868383e-17)
    } else if t < 2.4375 {
        (t - 1.5, 1.0 + 1.5 * t, 0.982793723247329, 1.3903311031230998e-17)
    } else {
        (-1.0, t, std::f64::consts::FRAC_PI_2, 6.123233995736766e-17)
    };
    let r = n / d;
    let rest = r * (r * r) * horner64::<A, _>(r * r, ATAN_P);
    (high - ((rest - low) - r)).copysign(x)
}

/// The number of quarter turns nearest to x (its lowest bits), and what is left, in two numbers.
#[inline(always)]
fn quarter_turns<A: Arch>(x: f64) -> (u64, f64, f64) {
    let t = A::fma64(x, FRAC_2_PI, MAGIC);
    let n = t - MAGIC;
    let (high, lost) = two_sum(x - n * HALF_PI_1, -n * HALF_PI_2A);
    let low = lost - n * HALF_PI_2B;
    let r = high + low;
    (t.to_bits(), r, (high - r) + low)
}

/// The sine of r + low and `turns` quarter turns.
#[inline(always)]
fn sin_of<A: Arch>(turns: u64, r: f64, low: f64) -> f64 {
    let z = r * r;
    let half = 0.5 * z;
    let sin = r + A::fma64(r * z, horner64::<A, _>(z, SIN_S), A::fma64(-half, low, low));
    let one = 1.0 - half;
    let cos = one + (((1.0 - one) - half) + A::fma64(z * z, horner64::<A, _>(z, COS_C), -r * low));
    let y = if turns & 1 == 0 { sin } else { cos };
    f64::from_bits(y.to_bits() ^ ((turns & 2) << 62))
}

/// sin x for |x| up to [`REDUCTION_LIMIT`], without a branch.
#[inline(always)]
pub(super) fn sin_small<A: Arch>(x: f64) -> f64 {
    let (turns, r, low) = quarter_turns::<A>(x);
    // Keeps −0.
    if x == 0.0 { x } else { sin_of::<A>(turns, r, low) }
}

/// cos x for |x| up to [`REDUCTION_LIMIT`], without a branch.
#[inline(always)]
pub(super) fn cos_small<A: Arch>(x: f64) -> f64 {
    let (turns, r, low) = quarter_turns::<A>(x);
    sin_of::<A>(turns.wrapping_add(1), r, low)
}

/// sin x, x in radians.
#[inline(always)]
pub fn sin<A: Arch>(x: f64) -> f64 {
    if x.abs() <= REDUCTION_LIMIT {
        return sin_small::<A>(x);
    }
    let (turns, r, low) = reduce_large(x);
    sin_of::<A>(turns, r, low)
}

/// cos x, x in radians.
#[inline(always)]
pub fn cos<A: Arch>(x: f64) -> f64 {
    if x.abs() <= REDUCTION_LIMIT {
        return cos_small::<A>(x);
    }
    let (turns, r, low) = reduce_large(x);
    sin_of::<A>(turns.wrapping_add(1), r, low)
}

/// Quarter turns and the rest of an |x| above [`REDUCTION_LIMIT`], from as many bits of 2/π as it takes
/// (Payne and Hanek, *Radian reduction for trigonometric functions*, 1983). NaN for an infinite x.
#[cold]
pub(super) fn reduce_large(x: f64) -> (u64, f64, f64) {
    /// The bits of 2/π behind the point, after 64 zeros.
    const BITS: [u64; 21] = [
        0,
        0xa2f9_836e_4e44_1529,
        0xfc27_57d1_f534_ddc0,
        0xdb62_9599_3c43_9041,
        0xfe51_63ab_debb_c561,
        0xb724_6e3a_424d_d2e0,
        0x0649_2eea_09d1_921c,
        0xfe1d_eb1c_b129_a73e,
        0xe882_35f5_2ebb_4484,
        0xe99c_7026_b45f_7e41,
        0x3991_d639_8353_39f4,
        0x9c84_5f8b_bdf9_283b,
        0x1ff8_97ff_de05_980f,
        0xef2f_118b_5a0a_6d1f,
        0x6d36_7ecf_27cb_09b7,
        0x4f46_3f66_9e5f_ea2d,
        0x7527_bac7_ebe5_f17b,
        0x3d07_39f7_8a52_92ea,
        0x6bfb_5fb1_1f8d_5d08,
        0x5603_3046_fc7b_6bab,
        0xf0cf_bc20_9af4_361d,
    ];
    if !x.is_finite() {
        return (0, f64::NAN, 0.0);
    }
    let bits = x.to_bits();
    let mantissa = u128::from(bits & 0xf_ffff_ffff_ffff | 1 << 52);
    let exponent = ((bits >> 52) & 0x7ff) as isize - 1075;
    // Bits of 2/π that make whole multiples of four quarter turns are left out: 192 from here on matter.
    let first = (exponent - 2 + 64) as usize;
    let word = |i: usize| {
        let (at, shift) = (first / 64 + i, first % 64);
        BITS[at] << shift | if shift == 0 { 0 } else { BITS[at + 1] >> (64 - shift) }
    };
    let low = mantissa * u128::from(word(2));
    let middle = mantissa * u128::from(word(1)) + (low >> 64);
    let high = (mantissa * u128::from(word(0)) + (middle >> 64)) as u64;
    // Two bits of quarter turns, then the fraction of one: as a signed number it is the nearest's.
    let fraction =
        (u128::from(high) << 66 | (middle & u128::from(u64::MAX)) << 2 | (low & u128::from(u64::MAX)) >> 62) as i128;
    let turns = (high >> 62).wrapping_add(u64::from(fraction < 0));
    let top = fraction as f64;
    let rest = (fraction - top as i128) as f64;
    let unit = pow2(-128.0);
    let (top, rest) = (top * unit, rest * unit);
    // π/2 in two numbers.
    let product = top * std::f64::consts::FRAC_PI_2;
    let lost = top.mul_add(std::f64::consts::FRAC_PI_2, -product);
    let tail = lost + (top * 6.123_233_995_736_766e-17 + rest * std::f64::consts::FRAC_PI_2);
    let (r, low) = (product + tail, (product - (product + tail)) + tail);
    if x < 0.0 { (turns.wrapping_neg(), -r, -low) } else { (turns, r, low) }
}

/// ln of a positive normal x, in two numbers, within 2⁻⁶⁴ of it.
#[inline(always)]
fn log_two<A: Arch>(x: f64) -> (f64, f64) {
    // 42 bits of ln 2, so that its products with exponents are exact.
    const HIGH: f64 = 0.693_147_180_559_890_3;
    const LOW: f64 = 5.497_923_018_708_371e-14;
    // 2/3 in two numbers.
    const THIRDS: (f64, f64) = (2.0 / 3.0, 3.700_743_415_417_188_5e-17);
    let (normal, shift) = normalise(x);
    let (e, f) = split(normal);
    let e = e - shift;
    // s = f / (2 + f)
    let (d, d_low) = two_sum(2.0, f);
    let s = f / d;
    let (product, lost) = two_product::<A>(s, d);
    let s_low = (((f - product) - lost) - s * d_low) / d;
    // s²
    let (z, z_lost) = two_product::<A>(s, s);
    let z_low = z_lost + 2.0 * s * s_low;
    // s² (2/3 + s² R)
    let r = z * horner64::<A, _>(z, POW_R);
    let (c, c_lost) = two_sum(THIRDS.0, r);
    let c_low = c_lost + THIRDS.1;
    let (w, w_lost) = two_product::<A>(z, c);
    let w_low = w_lost + (z * c_low + z_low * c);
    // s times that, and 2s, and e ln 2
    let (v, v_lost) = two_product::<A>(s, w);
    let v_low = v_lost + (s * w_low + s_low * w);
    let (a, a_lost) = two_sum(e * HIGH, 2.0 * s);
    let (b, b_lost) = two_sum(a, v);
    let low = (a_lost + b_lost) + (v_low + 2.0 * s_low + e * LOW);
    (b + low, (b - (b + low)) + low)
}

/// xʸ, as C's `pow`: 1 for x = 1 or y = 0, NaN for a negative x and a y that is not whole.
#[inline(always)]
pub fn pow<A: Arch>(x: f64, y: f64) -> f64 {
    let (l, l_low) = log_two::<A>(x.abs());
    // Powers beyond these give 0, 1 or infinity as these do.
    let power = clamp(y, -1e20, 1e20);
    let (product, lost) = two_product::<A>(power, l);
    let within = product.abs() < 750.0;
    let extra = if within { lost + power * l_low } else { 0.0 };
    let (n, r, t) = exp_parts::<A>(clamp(product, -746.0, 710.0), extra);
    pow_specials(x, y, scale(1.0 + (r + t), n))
}

/// The power xʸ from that of |x|, as IEEE 754 has it for zeros, infinities, NaN and negative numbers.
#[inline(always)]
pub(super) fn pow_specials(x: f64, y: f64, power: f64) -> f64 {
    let t = x.abs();
    // Without branches, also in the conditions: so it vectorises.
    let whole = y.trunc() == y;
    let odd = whole & ((0.5 * y).trunc() != 0.5 * y);
    let grows = (y > 0.0) == (t > 1.0);
    let at_infinite_y = if t == 1.0 {
        1.0
    } else if grows {
        f64::INFINITY
    } else {
        0.0
    };
    let at_extreme_x = if (t == 0.0) == (y > 0.0) { 0.0 } else { f64::INFINITY };
    let power = if (t == 0.0) | (t == f64::INFINITY) { at_extreme_x } else { power };
    let power = if y.abs() == f64::INFINITY { at_infinite_y } else { power };
    let negative = x.is_sign_negative();
    let power = if negative & odd { -power } else { power };
    let power = if (x < 0.0) & !whole & (t != f64::INFINITY) { f64::NAN } else { power };
    let power = if x.is_nan() | y.is_nan() { f64::NAN } else { power };
    if (x == 1.0) | (y == 0.0) { 1.0 } else { power }
}

/// x·Φ(x) = x/2·(1 + erf(x/√2))
#[inline(always)]
pub fn gelu<A: Arch>(x: f64) -> f64 {
    0.5 * x * (1.0 + erf::<A>(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// Φ(x) + x·e^(−x²/2)/√(2π)
#[inline(always)]
pub fn gelu_slope<A: Arch>(x: f64) -> f64 {
    let density = exp::<A>(-0.5 * x * x) * (0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
    0.5 * (1.0 + erf::<A>(x * std::f64::consts::FRAC_1_SQRT_2)) + x * density
}
