//! Functions of two numbers.

use std::f64::consts::{FRAC_PI_2, LN_2, PI};

use limpid_kernels::DType;
use smallvec::smallvec;

use super::bodies::{negative, with_sign};
use crate::compound::{Compound, call_one, first_result};
use crate::op::{Backward, Grads};
use crate::region::Meta;
use crate::sugar::operators::{Value, align};
use crate::tensor::Tensor;

/// Which function.
#[derive(Clone, Copy, Debug)]
enum Function {
    Atan2,
    Hypot,
    LogAddExp,
    LogAddExp2,
    XLogY,
    XLog1PY,
}

/// y = f(a, b), in the type of both.
#[derive(Debug)]
struct Pair(Function);

impl Compound for Pair {
    fn name(&self) -> &'static str {
        match self.0 {
            Function::Atan2 => "atan2",
            Function::Hypot => "hypot",
            Function::LogAddExp => "logaddexp",
            Function::LogAddExp2 => "logaddexp2",
            Function::XLogY => "xlogy",
            Function::XLog1PY => "xlog1py",
        }
    }

    fn key(&self, _key: &mut Vec<u64>) {}

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![inputs[0].clone()]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (a, b) = (inputs[0].to_dtype(DType::F64), inputs[1].to_dtype(DType::F64));
        let y = match self.0 {
            Function::Atan2 => atan2(&a, &b),
            Function::Hypot => hypot(&a, &b),
            Function::LogAddExp => larger(&a, &b, &(-(&a - &b).abs()).exp().log1p()),
            Function::LogAddExp2 => larger(&a, &b, &(((-(&a - &b).abs()) * LN_2).exp().log1p() / LN_2)),
            Function::XLogY => none_of_nothing(&a, &b, &(&a * b.log())),
            Function::XLog1PY => none_of_nothing(&a, &b, &(&a * b.log1p())),
        };
        vec![y.to_dtype(inputs[0].dtype())]
    }

    fn vjp(&self, bw: &Backward<'_>) -> Option<Grads> {
        let (a, b, g) = (&bw.inputs[0], &bw.inputs[1], bw.g());
        let k = |v: f64| a.constant_like(v);
        // Torch gives log y·g, and 0 where there is nothing to take the logarithm of.
        let of_nothing = |limit: f64, slope: Tensor| {
            let none = a.eq(k(0.0)).logical_and(&b.le(k(limit)));
            slope.where_(&none.logical_not(), k(0.0))
        };
        let (ga, gb) = match self.0 {
            Function::Atan2 => {
                let square = a * a + b * b;
                let inverse = square.reciprocal().where_(&square.ne(k(0.0)), k(0.0));
                (g * (b * &inverse), g * (-a * inverse))
            }
            Function::Hypot => {
                let y = first_result(bw);
                (g * (a / &y), g * (b / &y))
            }
            // Not 1 / (1 + exp(b − a)), whose own gradient is ∞/∞ where that overflows.
            Function::LogAddExp => (g * (a - b).sigmoid(), g * (b - a).sigmoid()),
            Function::LogAddExp2 => (g * ((a - b) * LN_2).sigmoid(), g * ((b - a) * LN_2).sigmoid()),
            Function::XLogY => (of_nothing(0.0, g.xlogy(b)), g * a / b),
            Function::XLog1PY => (of_nothing(-1.0, g.xlog1py(b)), g * a / (b + k(1.0))),
        };
        Some(smallvec![Some(ga), Some(gb)])
    }
}

fn atan2(y: &Tensor, x: &Tensor) -> Tensor {
    let (a, b) = (y.abs(), x.abs());
    let (high, low) = (a.maximum(&b), a.minimum(&b));
    let ratio = (&low / &high).where_(&high.eq(0.0).logical_not(), 0.0);
    let ratio = ratio.where_(&low.eq(f64::INFINITY).logical_not(), 1.0);
    let angle = ratio.atan();
    let angle = (FRAC_PI_2 - &angle).where_(&a.gt(&b), &angle);
    with_sign(&(PI - &angle).where_(&negative(x), &angle), y)
}

fn hypot(x: &Tensor, y: &Tensor) -> Tensor {
    let (a, b) = (x.abs(), y.abs());
    let (high, low) = (a.maximum(&b), a.minimum(&b));
    let ratio = (&low / &high).where_(&high.eq(0.0).logical_not(), 0.0);
    let length = &high * (&ratio * &ratio + 1.0).sqrt();
    let infinite = a.eq(f64::INFINITY).logical_or(&b.eq(f64::INFINITY));
    length.where_(&infinite.logical_not(), f64::INFINITY)
}

/// The larger one and what the smaller one adds; two infinities are themselves.
fn larger(a: &Tensor, b: &Tensor, added: &Tensor) -> Tensor {
    let same = a.eq(b).logical_and(&a.isinf());
    a.where_(&same, a.maximum(b) + added)
}

/// 0 where a is 0, but for NaN.
fn none_of_nothing(a: &Tensor, b: &Tensor, y: &Tensor) -> Tensor {
    let y = y.where_(&a.eq(0.0).logical_not(), 0.0);
    b.where_(&b.isnan(), y)
}

/// Methods of one function each.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident: $f:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, other: impl Into<Value>) -> Tensor {
                match align(stringify!($name), &self.into(), &other.into(), true) {
                    Ok((a, b)) => call_one(Pair(Function::$f), &[&a, &b]),
                    Err(failed) => failed,
                }
            }
        )*}
    };
}

functions! {
    /// The angle of the point (other, self), from −π to π: the signs of both decide the quadrant.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert_eq!(Tensor::from(1.0f64).atan2(-1.0).item()?, 3.0 * std::f64::consts::FRAC_PI_4);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    atan2: Atan2;
    /// √(self² + other²), which does not overflow before the result does.
    hypot: Hypot;
    /// ln(exp(self) + exp(other)) without overflow.
    logaddexp: LogAddExp;
    /// log₂(2^self + 2^other) without overflow.
    logaddexp2: LogAddExp2;
    /// self·ln(other), 0 where self is 0.
    xlogy: XLogY;
    /// self·ln(1 + other), 0 where self is 0. Torch's `special.xlog1py`.
    xlog1py: XLog1PY;
}
