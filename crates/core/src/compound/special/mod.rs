//! Functions of one and two numbers that have no kernel of their own: inverse and hyperbolic functions, the error
//! function's relatives, gamma functions, Bessel functions. Each is computed in f64 and rounded once, and has the
//! gradient that torch writes down.

mod bodies;
mod gamma;
mod pairs;
mod tables;

use limpid_kernels::DType;
use smallvec::smallvec;

use crate::compound::{Compound, call_one, first_result};
use crate::op::{Backward, Grads, Saves};
use crate::region::Meta;
use crate::tensor::Tensor;

/// Which function.
#[derive(Clone, Copy, Debug)]
enum Function {
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atanh,
    Cosh,
    Digamma,
    Entr,
    Erfc,
    Erfcx,
    Erfinv,
    I0,
    I0e,
    I1,
    I1e,
    Lgamma,
    LogNdtr,
    Logit,
    Ndtr,
    Ndtri,
    Polygamma(u32),
    Sinc,
    Sinh,
}

/// y = f(x), in the type of x.
#[derive(Debug)]
struct Special(Function);

impl Compound for Special {
    fn name(&self) -> &'static str {
        match self.0 {
            Function::Acos => "acos",
            Function::Acosh => "acosh",
            Function::Asin => "asin",
            Function::Asinh => "asinh",
            Function::Atanh => "atanh",
            Function::Cosh => "cosh",
            Function::Digamma => "digamma",
            Function::Entr => "entr",
            Function::Erfc => "erfc",
            Function::Erfcx => "erfcx",
            Function::Erfinv => "erfinv",
            Function::I0 => "i0",
            Function::I0e => "i0e",
            Function::I1 => "i1",
            Function::I1e => "i1e",
            Function::Lgamma => "lgamma",
            Function::LogNdtr => "log_ndtr",
            Function::Logit => "logit",
            Function::Ndtr => "ndtr",
            Function::Ndtri => "ndtri",
            Function::Polygamma(_) => "polygamma",
            Function::Sinc => "sinc",
            Function::Sinh => "sinh",
        }
    }

    fn key(&self, key: &mut Vec<u64>) {
        if let Function::Polygamma(n) = self.0 {
            key.push(n.into());
        }
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        inputs.to_vec()
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = &inputs[0];
        vec![value(self.0, &x.to_dtype(DType::F64)).to_dtype(x.dtype())]
    }

    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let (x, y, g) = (&b.inputs[0], first_result(b), b.g());
        // In the type of x, as torch computes it; in f64 where terms cancel.
        let dtype = match self.0 {
            Function::Sinc | Function::I0e | Function::I1 | Function::I1e => DType::F64,
            _ => x.dtype(),
        };
        let slope = slope(self.0, &x.to_dtype(dtype), &y.to_dtype(dtype));
        Some(smallvec![Some(g * slope.to_dtype(g.dtype()))])
    }

    fn saves(&self) -> Saves {
        match self.0 {
            Function::Erfinv | Function::Ndtri => Saves::OUTPUT,
            Function::Erfcx | Function::I0e | Function::I1e | Function::I1 => Saves::ALL,
            _ => Saves::INPUTS,
        }
    }
}

/// f(x) of f64.
fn value(f: Function, x: &Tensor) -> Tensor {
    match f {
        Function::Acos => bodies::acos(x),
        Function::Acosh => bodies::acosh(x),
        Function::Asin => bodies::asin(x),
        Function::Asinh => bodies::asinh(x),
        Function::Atanh => bodies::atanh(x),
        Function::Cosh => bodies::cosh(x),
        Function::Digamma => gamma::digamma(x),
        Function::Entr => bodies::entr(x),
        Function::Erfc => bodies::erfc(x),
        Function::Erfcx => bodies::erfcx(x),
        Function::Erfinv => bodies::erfinv(x),
        Function::I0 => bodies::i0e(x) * x.abs().exp(),
        Function::I0e => bodies::i0e(x),
        Function::I1 => bodies::i1e(x) * x.abs().exp(),
        Function::I1e => bodies::i1e(x),
        Function::Lgamma => gamma::lgamma(x),
        Function::LogNdtr => bodies::log_ndtr(x),
        Function::Logit => (x / (1f64 - x)).log(),
        Function::Ndtr => bodies::ndtr(x),
        Function::Ndtri => bodies::ndtri(x),
        Function::Polygamma(n) => gamma::polygamma(n, x),
        Function::Sinc => bodies::sinc(x),
        Function::Sinh => bodies::sinh(x),
    }
}

/// f′(x), given y = f(x): torch's formulas.
fn slope(f: Function, x: &Tensor, y: &Tensor) -> Tensor {
    let k = |v: f64| x.constant_like(v);
    let square = || x * x;
    match f {
        Function::Acos => -(k(1.0) - square()).rsqrt(),
        Function::Acosh => (square() - k(1.0)).rsqrt(),
        Function::Asin => (k(1.0) - square()).rsqrt(),
        Function::Asinh => (square() + k(1.0)).rsqrt(),
        Function::Atanh => (k(1.0) - square()).reciprocal(),
        Function::Cosh => x.sinh(),
        Function::Digamma => x.polygamma(1),
        Function::Entr => -(x.log() + k(1.0)),
        Function::Erfc => k(-std::f64::consts::FRAC_2_SQRT_PI) * (-square()).exp(),
        Function::Erfcx => k(2.0) * x * y - k(std::f64::consts::FRAC_2_SQRT_PI),
        Function::Erfinv => k(std::f64::consts::PI.sqrt() / 2.0) * (y * y).exp(),
        Function::I0 => x.i1(),
        Function::I0e => x.i1e() - x.sign() * y,
        // At 0 the limit, as torch: where x is small i1(x)/x is ½.
        Function::I1 => {
            let small = x.abs().le(k(1e-16));
            k(0.5).where_(&small, x.i0() - y / k(1.0).where_(&small, x))
        }
        Function::I1e => {
            let small = x.abs().le(k(1e-16));
            let safe = k(1.0).where_(&small, x);
            k(0.5).where_(&small, x.i0e() - y * (x.sign() + safe.reciprocal()))
        }
        Function::Lgamma => x.digamma(),
        Function::LogNdtr => k((2.0 / std::f64::consts::PI).sqrt()) / (x * k(-std::f64::consts::FRAC_1_SQRT_2)).erfcx(),
        Function::Logit => {
            let inside = x.ge(k(0.0)).logical_and(&x.le(k(1.0)));
            (x * (k(1.0) - x)).reciprocal().where_(&inside, k(f64::NAN))
        }
        Function::Ndtr => k(1.0 / (2.0 * std::f64::consts::PI).sqrt()) * (square() * k(-0.5)).exp(),
        Function::Ndtri => k((2.0 * std::f64::consts::PI).sqrt()) * (y * y * k(0.5)).exp(),
        Function::Polygamma(n) => x.polygamma(n.saturating_add(1)),
        Function::Sinc => bodies::sinc_slope(x),
        Function::Sinh => x.cosh(),
    }
}

/// Methods of one function each.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident: $f:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Tensor {
                call_one(Special(Function::$f), &[&self.to_float()])
            }
        )*}
    };
}

functions! {
    /// The angle from 0 to π whose cosine is x; NaN outside −1 … 1.
    acos: Acos;
    /// The positive number whose hyperbolic cosine is x, ln(x + √(x² − 1)); NaN below 1.
    acosh: Acosh;
    /// The angle from −π/2 to π/2 whose sine is x; NaN outside −1 … 1.
    asin: Asin;
    /// The number whose hyperbolic sine is x, ln(x + √(x² + 1)).
    asinh: Asinh;
    /// The number whose hyperbolic tangent is x, ½ ln((1 + x)/(1 − x)); NaN outside −1 … 1.
    atanh: Atanh;
    /// The hyperbolic cosine (eˣ + e⁻ˣ)/2.
    cosh: Cosh;
    /// ψ(x) = Γ′(x)/Γ(x), the slope of [`Tensor::lgamma`]. Abramowitz & Stegun 6.3.
    digamma: Digamma;
    /// −x ln x: 0 at 0, −∞ below. Torch's `special.entr`.
    entr: Entr;
    /// 1 − erf(x), exact also where erf is close to 1.
    erfc: Erfc;
    /// exp(x²)·(1 − erf(x)), which does not vanish for large x. Torch's `special.erfcx`; Shepherd & Laframboise,
    /// "Chebyshev Approximation of (1 + 2x) exp(x²) erfc x", Mathematics of Computation 36, 1981.
    erfcx: Erfcx;
    /// The number whose error function is x; ±∞ at ±1, NaN outside.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert!((Tensor::from(0.5f64).erfinv().item()? - 0.4769362762044699).abs() < 1e-15);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    erfinv: Erfinv;
    /// The modified Bessel function of the first kind I₀(x).
    i0: I0;
    /// exp(−|x|)·I₀(x). Torch's `special.i0e`.
    i0e: I0e;
    /// The modified Bessel function of the first kind I₁(x). Torch's `special.i1`.
    i1: I1;
    /// exp(−|x|)·I₁(x). Torch's `special.i1e`.
    i1e: I1e;
    /// ln |Γ(x)|; +∞ at 0, −1, −2, …. Torch's `lgamma`, also called `special.gammaln`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert!((Tensor::from(5.0f64).lgamma().item()? - 24f64.ln()).abs() < 1e-14);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    lgamma: Lgamma;
    /// ln Φ(x), exact where Φ vanishes. Torch's `special.log_ndtr`.
    log_ndtr: LogNdtr;
    /// Φ(x), the distribution of the normal: the probability of a draw below x. Torch's `special.ndtr`.
    ndtr: Ndtr;
    /// The number whose Φ is x: the quantile of the normal. Torch's `special.ndtri`.
    ndtri: Ndtri;
    /// sin(πx)/(πx), 1 at 0.
    sinc: Sinc;
    /// The hyperbolic sine (eˣ − e⁻ˣ)/2.
    sinh: Sinh;
}

impl Tensor {
    /// ψ⁽ⁿ⁾(x), the n-th derivative of [`Tensor::digamma`]. Torch's `polygamma(n, x)`; Abramowitz & Stegun 6.4.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from(1.0f64).polygamma(1).item()?;
    /// assert!((y - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-14);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn polygamma(&self, n: u32) -> Tensor {
        let f = if n == 0 { Function::Digamma } else { Function::Polygamma(n) };
        call_one(Special(f), &[&self.to_float()])
    }

    /// ln(x/(1 − x)), the inverse of `sigmoid`; with `eps` x is first limited to `eps` … 1 − `eps`. Torch's `logit`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([0.5f64, 0.0]).logit(Some(0.25));
    /// assert_eq!(y.to_vec::<f64>()?, [0.0, (1.0f64 / 3.0).ln()]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn logit(&self, eps: Option<f64>) -> Tensor {
        let x = self.to_float();
        let Some(eps) = eps else { return call_one(Special(Function::Logit), &[&x]) };
        let high = crate::op::source::scalar(limpid_kernels::Number::Float(1.0 - eps), x.dtype());
        let limited = high.where_(&x.gt(1.0 - eps), &x);
        let low = crate::op::source::scalar(limpid_kernels::Number::Float(eps), x.dtype());
        call_one(Special(Function::Logit), &[&low.where_(&x.lt(eps), limited)])
    }

    /// The logarithm of the gamma function of `p` dimensions:
    /// p(p − 1)/4·ln π + Σ lgamma(x − i/2) for i below p. Torch's `mvlgamma`, also `special.multigammaln`.
    #[track_caller]
    pub fn mvlgamma(&self, p: u32) -> Tensor {
        let x = self.to_float();
        let n = f64::from(p);
        let mut sum = x.constant_like(n * (n - 1.0) / 4.0 * std::f64::consts::PI.ln());
        for i in 0..p {
            sum = sum + (&x - x.constant_like(f64::from(i) / 2.0)).lgamma();
        }
        sum
    }
}
