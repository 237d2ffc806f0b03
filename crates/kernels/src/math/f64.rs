//! Elementary functions of `f64`.

use crate::isa::Arch;

type F = ::core::primitive::f64;

/// eˣ
#[inline(always)]
pub fn exp<A: Arch>(x: F) -> F {
    x.exp()
}

/// eˣ − 1
#[inline(always)]
pub fn expm1<A: Arch>(x: F) -> F {
    x.exp_m1()
}

/// ln x
#[inline(always)]
pub fn log<A: Arch>(x: F) -> F {
    x.ln()
}

/// ln(1 + x)
#[inline(always)]
pub fn log1p<A: Arch>(x: F) -> F {
    x.ln_1p()
}

/// sin x
#[inline(always)]
pub fn sin<A: Arch>(x: F) -> F {
    x.sin()
}

/// cos x
#[inline(always)]
pub fn cos<A: Arch>(x: F) -> F {
    x.cos()
}

/// tanh x
#[inline(always)]
pub fn tanh<A: Arch>(x: F) -> F {
    x.tanh()
}

/// 2/√π ∫₀ˣ e^(−t²) dt, by its series near 0 and its continued fraction elsewhere.
#[inline(always)]
pub fn erf<A: Arch>(x: F) -> F {
    let t = x.abs();
    if t.is_nan() {
        return x;
    }
    if t < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= -x * x / n as F;
            sum += term / (2 * n + 1) as F;
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let mut fraction = t;
    for k in (1..120).rev() {
        fraction = t + k as F / 2.0 / fraction;
    }
    (1.0 - (-t * t).exp() / (fraction * std::f64::consts::PI.sqrt())).copysign(x)
}

/// 1 / (1 + e⁻ˣ)
#[inline(always)]
pub fn sigmoid<A: Arch>(x: F) -> F {
    1.0 / (1.0 + (-x).exp())
}

/// xʸ
#[inline(always)]
pub fn pow<A: Arch>(x: F, y: F) -> F {
    x.powf(y)
}
