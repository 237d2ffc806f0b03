//! Errors of the elementary functions, in units of the last place (ULP).

use super::*;
use crate::fused::UnaryFn;

type Single = ::core::primitive::f32;
type Double = ::core::primitive::f64;

/// SplitMix64 (Steele, Lea, Flood 2014): reproducible test data.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

const FUNCTIONS: [UnaryFn; 10] = [
    UnaryFn::Exp,
    UnaryFn::Expm1,
    UnaryFn::Log,
    UnaryFn::Log1p,
    UnaryFn::Sin,
    UnaryFn::Cos,
    UnaryFn::Atan,
    UnaryFn::Tanh,
    UnaryFn::Erf,
    UnaryFn::Sigmoid,
];

fn truth_f64(f: UnaryFn, x: Double) -> Double {
    match f {
        UnaryFn::Exp => x.exp(),
        UnaryFn::Expm1 => x.exp_m1(),
        UnaryFn::Log => x.ln(),
        UnaryFn::Log1p => x.ln_1p(),
        UnaryFn::Sin => x.sin(),
        UnaryFn::Cos => x.cos(),
        UnaryFn::Atan => x.atan(),
        UnaryFn::Tanh => x.tanh(),
        UnaryFn::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        _ => {
            let mut y = [0.0];
            unary_f64(Isa::Portable, f, &[x], &mut y);
            y[0]
        }
    }
}

/// |y − truth| in units of the last place of an f32 as large as the truth.
fn error_f32(y: Single, truth: Double) -> Double {
    if y.to_bits() == (truth as Single).to_bits() || (y.is_nan() && truth.is_nan()) {
        return 0.0;
    }
    let exponent = ((truth.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let unit = (2.0 as Double).powi(exponent.clamp(-126, 127) - 23);
    let error = (Double::from(y) - truth).abs() / unit;
    if error.is_nan() { Double::INFINITY } else { error }
}

/// Inputs where something changes: zeros, subnormals, limits, switches between formulas, and neighbours.
fn boundaries() -> Vec<Single> {
    let near = [
        0.0,
        1e-45,
        1.2e-38,
        1e-20,
        2.4e-4,
        0.25,
        0.9,
        0.292_893_2,
        0.346_573_6,
        0.5,
        std::f32::consts::FRAC_1_SQRT_2,
        std::f32::consts::FRAC_PI_4,
        1.0,
        1.25,
        std::f32::consts::SQRT_2,
        std::f32::consts::FRAC_PI_2,
        2.0,
        std::f32::consts::PI,
        3.92,
        3.93,
        9.02,
        9.1,
        16.6,
        17.3,
        30.0,
        87.3,
        88.72284,
        89.0,
        90.0,
        103.97,
        104.0,
        105.0,
        1_048_576.0,
        1e10,
        3.4e38,
        Single::INFINITY,
    ];
    let around = |x: Single| (-3i32..=3).map(move |d| Single::from_bits(x.to_bits().wrapping_add_signed(d)));
    near.into_iter().flat_map(around).flat_map(|x| [x, -x]).chain([Single::NAN]).collect()
}

#[test]
fn f32_functions_keep_their_bounds() {
    let mut rng = Rng(11);
    let mut x = boundaries();
    // All magnitudes, and the usual ones.
    x.extend((0..500_000).map(|_| Single::from_bits(rng.next() as u32)));
    x.extend((0..500_000).map(|_| (rng.next() as i32) as Single * (20.0 / i32::MAX as Single)));
    let mut y = vec![0.0; x.len()];
    for f in FUNCTIONS {
        let bound = if matches!(f, UnaryFn::Expm1 | UnaryFn::Log1p | UnaryFn::Sin | UnaryFn::Cos) { 2.0 } else { 1.0 };
        let truth: Vec<Double> = x.iter().map(|&x| truth_f64(f, x.into())).collect();
        for isa in Isa::available() {
            unary_f32(isa, f, &x, &mut y);
            for ((&x, &y), &truth) in x.iter().zip(&y).zip(&truth) {
                let error = error_f32(y, truth);
                assert!(
                    error <= bound,
                    "{f:?}({x:e} = {:#x}) on {isa:?}: {y:e}, not {truth:e}: {error} ULP",
                    x.to_bits()
                );
            }
        }
    }
}

/// Φ(x) and the density of the normal, without cancellation (Abramowitz & Stegun 26.2.10 and 26.2.14).
fn normal(x: Double) -> (Double, Double) {
    let (z, density) = (x.abs(), (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt());
    let tail = if z < 2.0 {
        // 1/2 − density·Σ z^(2n+1)/(1·3·…·(2n+1))
        let mut term = z;
        0.5 - density * (1..100).map(|n| (term, term *= z * z / (2 * n + 1) as Double).0).sum::<Double>()
    } else {
        density / (1..300).rev().fold(z, |below, n| z + n as Double / below)
    };
    (if x < 0.0 { tail } else { 1.0 - tail }, density)
}

#[test]
fn gelu_and_its_slope_are_those_of_the_normal() {
    let mut rng = Rng(12);
    let mut x: Vec<Single> =
        (0..200_000).map(|_| (rng.next() as i32) as Single * (15.0 / i32::MAX as Single)).collect();
    x.extend(boundaries().into_iter().filter(|x| x.is_finite()));
    let mut y = vec![0.0; x.len()];
    for isa in Isa::available() {
        unary_f32(isa, UnaryFn::Gelu, &x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let truth = Double::from(x) * normal(x.into()).0;
            // Below 1e-30 the tail is no normal number; without a fused multiply-add its exponent is rounded.
            let relative = 7e-7 + if isa == Isa::Portable { 4e-8 * Double::from(x) * Double::from(x) } else { 0.0 };
            let error = (Double::from(y) - truth).abs();
            assert!(error <= relative * truth.abs() + 1e-30, "gelu({x:e}) on {isa:?}: {y:e}, not {truth:e}");
        }
        unary_f32(isa, UnaryFn::GeluSlope, &x, &mut y);
        for (&x, &y) in x.iter().zip(&y) {
            let (below, density) = normal(x.into());
            let truth = below + Double::from(x) * density;
            assert!((Double::from(y) - truth).abs() <= 4e-7, "slope of gelu at {x:e} on {isa:?}: {y:e}, not {truth:e}");
        }
        let wide: Vec<Double> = x.iter().map(|&x| x.into()).collect();
        let mut y = vec![0.0; x.len()];
        unary_f64(isa, UnaryFn::Gelu, &wide, &mut y);
        let near = |x: Double, y: Double| (y - x * normal(x).0).abs() <= 1e-15 * x.abs();
        assert!(wide.iter().zip(&y).all(|(&x, &y)| near(x, y)), "gelu in f64 on {isa:?}");
        unary_f64(isa, UnaryFn::GeluSlope, &wide, &mut y);
        let near = |x: Double, y: Double| (y - (normal(x).0 + x * normal(x).1)).abs() <= 3e-15;
        assert!(wide.iter().zip(&y).all(|(&x, &y)| near(x, y)), "slope of gelu in f64 on {isa:?}");
        let mut y = [0.0; 4];
        unary_f32(isa, UnaryFn::Gelu, &[Single::INFINITY, Single::NEG_INFINITY, Single::NAN, -0.0], &mut y);
        // As PyTorch: −∞·0.
        assert!(y[0] == Single::INFINITY && y[1].is_nan() && y[2].is_nan() && y[3].to_bits() == 1 << 31, "{y:?}");
    }
}

#[test]
fn f32_signs_of_zero() {
    for f in [UnaryFn::Expm1, UnaryFn::Log1p, UnaryFn::Sin, UnaryFn::Atan, UnaryFn::Tanh, UnaryFn::Erf] {
        for isa in Isa::available() {
            let (mut y, mut wide) = ([1.0; 2], [1.0; 2]);
            unary_f32(isa, f, &[0.0, -0.0], &mut y);
            unary_f64(isa, f, &[0.0, -0.0], &mut wide);
            assert_eq!(y.map(Single::to_bits), [0, 1 << 31], "{f:?} on {isa:?}");
            assert_eq!(wide.map(Double::to_bits), [0, 1 << 63], "{f:?} on {isa:?}");
        }
    }
}

/// True values from multi-precision arithmetic (mpmath, 200 to 1300 bits): function, argument, second
/// argument of pow, nearest f64, all as bits, and what is missing to the truth, in ULP. Arguments are of all
/// magnitudes, around multiples of π/2 for the sine and cosine, near 1 for logarithms and powers.
const VECTORS: &str = include_str!("vectors.txt");

struct Vector {
    f: Option<UnaryFn>,
    x: Double,
    y: Double,
    truth: Double,
    missing: Double,
}

fn vectors() -> Vec<Vector> {
    // More of them can be measured without compiling them in.
    let named = std::env::var("LIMPID_TEST_VECTORS").ok().map(|path| std::fs::read_to_string(path).unwrap());
    let text = named.as_deref().unwrap_or(VECTORS);
    let bits = |word: &str| Double::from_bits(u64::from_str_radix(word, 16).unwrap());
    let vector = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let f = FUNCTIONS.into_iter().find(|f| format!("{f:?}").to_lowercase() == words[0]);
        let last = words.len() - 1;
        assert!(f.is_some() || (words[0] == "pow" && last == 4), "{line}");
        Vector {
            f,
            x: bits(words[1]),
            y: bits(words[2]),
            truth: bits(words[last - 1]),
            missing: words[last].parse().unwrap(),
        }
    };
    text.lines().map(vector).collect()
}

impl Vector {
    /// |value − truth| in units of the truth's last place.
    fn error(&self, value: Double) -> Double {
        let steps = value.to_bits() as i64 - self.truth.to_bits() as i64;
        let away = if self.truth < 0.0 { -steps } else { steps };
        (away as Double - self.missing).abs()
    }
}

#[test]
fn f64_functions_are_within_2_ulp_of_the_true_value() {
    let vectors = vectors();
    for f in FUNCTIONS {
        let mine: Vec<&Vector> = vectors.iter().filter(|v| v.f == Some(f)).collect();
        assert!(mine.len() >= 100, "{f:?}");
        let x: Vec<Double> = mine.iter().map(|v| v.x).collect();
        for isa in Isa::available() {
            let mut y = vec![0.0; x.len()];
            unary_f64(isa, f, &x, &mut y);
            let (worst, at) = mine
                .iter()
                .zip(&y)
                .map(|(v, &y)| (v.error(y), v.x))
                .fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
            println!("{f:?} on {}: {worst:.3} ULP at {at:e}", isa.name());
            assert!(worst <= 2.0, "{f:?} on {isa:?}: {worst} ULP at {at:e}");
        }
    }
}

struct Pow<'a>(&'a [(Double, Double)]);

impl Job for Pow<'_> {
    type Out = Vec<(Double, Single)>;

    #[inline(always)]
    fn run<A: Arch>(self) -> Self::Out {
        self.0.iter().map(|&(x, y)| (f64::pow::<A>(x, y), f32::pow::<A>(x as Single, y as Single))).collect()
    }
}

#[test]
fn pow_is_within_2_ulp() {
    let vectors = vectors();
    let powers: Vec<&Vector> = vectors.iter().filter(|v| v.f.is_none()).collect();
    assert!(powers.len() >= 100);
    let pairs: Vec<(Double, Double)> = powers.iter().map(|v| (v.x, v.y)).collect();
    for isa in Isa::available() {
        let mut worst: Double = 0.0;
        let mut worst_single: Double = 0.0;
        for (v, (double, single)) in powers.iter().zip(dispatch(isa, Pow(&pairs))) {
            assert!(v.error(double) <= 2.0, "{:e} ^ {:e} on {isa:?}: {double:e}, {} ULP", v.x, v.y, v.error(double));
            worst = worst.max(v.error(double));
            let error = error_f32(single, Double::from(v.x as Single).powf((v.y as Single).into()));
            assert!(error <= 1.0, "f32: {:e} ^ {:e} on {isa:?}: {single:e}, {error} ULP", v.x, v.y);
            worst_single = worst_single.max(error);
        }
        println!("pow on {}: {worst:.3} ULP, f32 {worst_single:.3} ULP", isa.name());
    }
}

#[test]
fn pow_at_the_edges_agrees_with_ieee_754() {
    let inf = Double::INFINITY;
    let edges = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 1e300, 1e-300, 5e-324, 9_007_199_254_740_991.0, inf];
    let edges: Vec<Double> = edges.into_iter().flat_map(|x| [x, -x]).chain([Double::NAN]).collect();
    let pairs: Vec<_> = edges.iter().flat_map(|&x| edges.iter().map(move |&y| (x, y))).collect();
    for isa in Isa::available() {
        for ((x, y), (p, q)) in pairs.iter().zip(dispatch(isa, Pow(&pairs))) {
            let expected = x.powf(*y);
            let close = (p - expected).abs() <= 4e-16 * expected.abs();
            assert!(p.to_bits() == expected.to_bits() || (p.is_nan() && expected.is_nan()) || close, "{x} ^ {y}: {p}");
            let expected = (*x as Single).powf(*y as Single);
            let close = (q - expected).abs() <= 2e-7 * expected.abs();
            assert!(
                q.to_bits() == expected.to_bits() || (q.is_nan() && expected.is_nan()) || close,
                "f32 {x} ^ {y}: {q}"
            );
        }
    }
}

#[test]
fn f64_edges() {
    let (inf, half_turn) = (Double::INFINITY, std::f64::consts::FRAC_PI_2);
    let nan = Double::NAN;
    let cases: [(UnaryFn, &[(Double, Double)]); 10] = [
        (
            UnaryFn::Exp,
            &[(inf, inf), (-inf, 0.0), (710.0, inf), (-746.0, 0.0), (-745.0, 5e-324), (0.0, 1.0), (nan, nan)],
        ),
        (UnaryFn::Expm1, &[(inf, inf), (-inf, -1.0), (1e-300, 1e-300), (5e-324, 5e-324), (nan, nan)]),
        (UnaryFn::Log, &[(inf, inf), (0.0, -inf), (-0.0, -inf), (-1.0, nan), (1.0, 0.0), (nan, nan)]),
        (UnaryFn::Log1p, &[(inf, inf), (-1.0, -inf), (-1.5, nan), (1e-300, 1e-300), (5e-324, 5e-324), (nan, nan)]),
        (UnaryFn::Sin, &[(inf, nan), (-inf, nan), (nan, nan), (5e-324, 5e-324)]),
        (UnaryFn::Cos, &[(inf, nan), (-inf, nan), (nan, nan), (0.0, 1.0)]),
        (UnaryFn::Atan, &[(inf, half_turn), (-inf, -half_turn), (5e-324, 5e-324), (1e300, half_turn), (nan, nan)]),
        (UnaryFn::Tanh, &[(inf, 1.0), (-inf, -1.0), (5e-324, 5e-324), (1e300, 1.0), (nan, nan)]),
        (UnaryFn::Erf, &[(inf, 1.0), (-inf, -1.0), (1e300, 1.0), (nan, nan)]),
        (UnaryFn::Sigmoid, &[(inf, 1.0), (-inf, 0.0), (0.0, 0.5), (-745.0, 5e-324), (nan, nan)]),
    ];
    for (f, pairs) in cases {
        for isa in Isa::available() {
            for &(x, expected) in pairs {
                let mut y = [0.0];
                unary_f64(isa, f, &[x], &mut y);
                assert!(
                    y[0] == expected || (y[0].is_nan() && expected.is_nan()),
                    "{f:?}({x:e}) on {isa:?}: {:e}",
                    y[0]
                );
            }
        }
    }
}
