//! Functions of each element.

use std::f64::consts::{LN_2, LN_10};

use limpid_kernels::DType;
use limpid_kernels::fused::UnaryFn;

use crate::op::elementwise;
use crate::sugar::operators::Value;
use crate::tensor::Tensor;

/// Methods that apply one primitive to the value as a float.
macro_rules! float_functions {
    ($($(#[$doc:meta])* $name:ident: $f:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Tensor {
                elementwise::unary(UnaryFn::$f, &self.to_float())
            }
        )*}
    };
}

float_functions! {
    /// eˣ
    exp: Exp;
    /// eˣ − 1, exact near 0.
    expm1: Expm1;
    /// The natural logarithm; NaN below 0.
    log: Log;
    /// log(1 + x), exact near 0.
    log1p: Log1p;
    /// The square root; NaN below 0.
    sqrt: Sqrt;
    /// The sine of x in radians.
    sin: Sin;
    /// The cosine of x in radians.
    cos: Cos;
    /// The angle from −π/2 to π/2 whose tangent is x.
    atan: Atan;
    /// The hyperbolic tangent (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ).
    tanh: Tanh;
    /// The error function 2/√π ∫₀ˣ exp(−t²) dt.
    erf: Erf;
    /// 1 / (1 + e⁻ˣ)
    sigmoid: Sigmoid;
}

/// Roundings leave integers as they are.
macro_rules! roundings {
    ($($(#[$doc:meta])* $name:ident: $f:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Tensor {
                if self.dtype().is_float() { elementwise::unary(UnaryFn::$f, self) } else { self.clone() }
            }
        )*}
    };
}

roundings! {
    /// The next whole number below or equal.
    floor: Floor;
    /// The next whole number above or equal.
    ceil: Ceil;
    /// The whole part.
    trunc: Trunc;
    /// The nearest whole number, halves to the even one.
    round: Round;
}

impl Tensor {
    /// Rounded to `decimals` digits behind the point, before it where negative: round(x·10ᵈ) / 10ᵈ, halves to the
    /// even one. Integers stay.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([1234.5678f64]);
    /// assert_eq!(x.round_decimals(2).item()?, 1234.57);
    /// assert_eq!(x.round_decimals(-2).item()?, 1200.0);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn round_decimals(&self, decimals: i32) -> Tensor {
        if !self.dtype().is_float() || decimals == 0 {
            return self.round();
        }
        let scale = self.constant_like(10f64.powi(decimals.saturating_abs()));
        if decimals > 0 { (self * &scale).round() / scale } else { (self / &scale).round() * scale }
    }

    /// −x
    #[track_caller]
    pub fn neg(&self) -> Tensor {
        -self
    }

    /// |x|
    #[track_caller]
    pub fn abs(&self) -> Tensor {
        match self.dtype() {
            DType::Bool | DType::U8 => self.clone(),
            _ => elementwise::unary(UnaryFn::Abs, self),
        }
    }

    /// −1, 0 or 1; NaN gives 0, as in torch. The gradient is 0 everywhere.
    #[track_caller]
    pub fn sign(&self) -> Tensor {
        if self.dtype() == DType::Bool {
            return self.clone();
        }
        let zero = self.zeros_like();
        let above = elementwise::cast(&zero.lt(self), self.dtype());
        if self.dtype() == DType::U8 {
            return above;
        }
        let steps = above - elementwise::cast(&self.lt(&zero), self.dtype());
        elementwise::flat(&steps, self)
    }

    /// x·x
    #[track_caller]
    pub fn square(&self) -> Tensor {
        self * self
    }

    /// 1/x
    #[track_caller]
    pub fn reciprocal(&self) -> Tensor {
        let x = self.to_float();
        x.constant_like(1.0) / x
    }

    /// 1/√x
    #[track_caller]
    pub fn rsqrt(&self) -> Tensor {
        let x = self.to_float();
        x.constant_like(1.0) / x.sqrt()
    }

    /// 2ˣ
    #[track_caller]
    pub fn exp2(&self) -> Tensor {
        let x = self.to_float();
        (&x * x.constant_like(LN_2)).exp()
    }

    /// The logarithm to base 2.
    #[track_caller]
    pub fn log2(&self) -> Tensor {
        let x = self.to_float();
        x.log() * x.constant_like(1.0 / LN_2)
    }

    /// The logarithm to base 10.
    #[track_caller]
    pub fn log10(&self) -> Tensor {
        let x = self.to_float();
        x.log() * x.constant_like(1.0 / LN_10)
    }

    /// sin x / cos x
    #[track_caller]
    pub fn tan(&self) -> Tensor {
        self.sin() / self.cos()
    }

    /// x limited to `min` … `max`. Torch's `clamp`: where min > max, max.
    #[track_caller]
    pub fn clamp(&self, min: impl Into<Value>, max: impl Into<Value>) -> Tensor {
        let (min, max) = (min.into(), max.into());
        self.clamp_min(min).clamp_max(max)
    }

    /// x, and `min` where it is below. The gradient passes where x ≥ min.
    #[track_caller]
    pub fn clamp_min(&self, min: impl Into<Value>) -> Tensor {
        let min = min.into();
        // The condition is true for NaN on neither side, so NaN stays.
        self.where_(&self.lt(min.clone()).logical_not(), min)
    }

    /// x, and `max` where it is above. The gradient passes where x ≤ max.
    #[track_caller]
    pub fn clamp_max(&self, max: impl Into<Value>) -> Tensor {
        let max = max.into();
        self.where_(&self.gt(max.clone()).logical_not(), max)
    }

    /// Whether it is NaN.
    #[track_caller]
    pub fn isnan(&self) -> Tensor {
        self.ne(self)
    }

    /// Whether it is +∞ or −∞.
    #[track_caller]
    pub fn isinf(&self) -> Tensor {
        if self.dtype().is_float() { self.abs().eq(f64::INFINITY) } else { self.ne(self) }
    }

    /// Whether it is neither NaN nor infinite.
    #[track_caller]
    pub fn isfinite(&self) -> Tensor {
        if self.dtype().is_float() { self.abs().lt(f64::INFINITY) } else { self.eq(self) }
    }
}
