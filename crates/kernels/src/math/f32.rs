//! Elementary functions of `f32`.

use crate::isa::Arch;

type F = ::core::primitive::f32;

/// eˣ
#[inline(always)]
pub fn exp<A: Arch>(x: F) -> F {
    super::f64::exp::<A>(x.into()) as F
}

/// eˣ − 1
#[inline(always)]
pub fn expm1<A: Arch>(x: F) -> F {
    super::f64::expm1::<A>(x.into()) as F
}

/// ln x
#[inline(always)]
pub fn log<A: Arch>(x: F) -> F {
    super::f64::log::<A>(x.into()) as F
}

/// ln(1 + x)
#[inline(always)]
pub fn log1p<A: Arch>(x: F) -> F {
    super::f64::log1p::<A>(x.into()) as F
}

/// sin x
#[inline(always)]
pub fn sin<A: Arch>(x: F) -> F {
    super::f64::sin::<A>(x.into()) as F
}

/// cos x
#[inline(always)]
pub fn cos<A: Arch>(x: F) -> F {
    super::f64::cos::<A>(x.into()) as F
}

/// tanh x
#[inline(always)]
pub fn tanh<A: Arch>(x: F) -> F {
    super::f64::tanh::<A>(x.into()) as F
}

/// 2/√π ∫₀ˣ e^(−t²) dt
#[inline(always)]
pub fn erf<A: Arch>(x: F) -> F {
    super::f64::erf::<A>(x.into()) as F
}

/// 1 / (1 + e⁻ˣ)
#[inline(always)]
pub fn sigmoid<A: Arch>(x: F) -> F {
    super::f64::sigmoid::<A>(x.into()) as F
}

/// xʸ
#[inline(always)]
pub fn pow<A: Arch>(x: F, y: F) -> F {
    super::f64::pow::<A>(x.into(), y.into()) as F
}
