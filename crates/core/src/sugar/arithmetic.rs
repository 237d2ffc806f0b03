//! Arithmetic with more than two arguments, and with rules of its own for signs, steps and NaN.

use limpid_kernels::{DType, Number};

use crate::error::Error;
use crate::op::{elementwise, movement};
use crate::sugar::operators::{Value, align};
use crate::tensor::Tensor;

impl Tensor {
    /// alpha·other, where both sides can be multiplied.
    #[track_caller]
    fn times_alpha(&self, name: &str, other: Value, alpha: Value) -> Result<Value, Tensor> {
        let at = std::panic::Location::caller();
        let fail = |what: String| {
            Err(Tensor::fail_at(at, Error::new(format!("{name}: {what}")), &[self], self.shape().clone(), self.dtype()))
        };
        let Value::Number(alpha) = alpha else { return fail("alpha is a tensor, not a number".to_owned()) };
        let bools = [&self.into(), &other].iter().all(|v| matches!(v, Value::Tensor(t) if t.dtype() == DType::Bool));
        if bools {
            return fail("alpha for bools".to_owned());
        }
        let whole = !self.dtype().is_float()
            && match &other {
                Value::Tensor(t) => !t.dtype().is_float(),
                Value::Number(n) => matches!(n, Number::Int(_)),
            };
        if whole && matches!(alpha, Number::Float(_)) {
            return fail(format!("alpha {} for integers", alpha.as_f64()));
        }
        Ok(match (other, alpha) {
            (Value::Tensor(t), alpha) => (t * Value::Number(alpha)).into(),
            (Value::Number(Number::Int(n)), Number::Int(alpha)) => n.wrapping_mul(alpha).into(),
            (Value::Number(n), alpha) => (n.as_f64() * alpha.as_f64()).into(),
        })
    }

    /// self + `alpha`·other. Torch's `add` with `alpha`.
    #[track_caller]
    pub fn add_with(&self, other: impl Into<Value>, alpha: impl Into<Value>) -> Tensor {
        match self.times_alpha("add", other.into(), alpha.into()) {
            Ok(other) => self + other,
            Err(failed) => failed,
        }
    }

    /// self − `alpha`·other. Torch's `sub` with `alpha`.
    #[track_caller]
    pub fn sub_with(&self, other: impl Into<Value>, alpha: impl Into<Value>) -> Tensor {
        match self.times_alpha("sub", other.into(), alpha.into()) {
            Ok(other) => self - other,
            Err(failed) => failed,
        }
    }

    /// other − `alpha`·self. Torch's `rsub`, where `alpha` is 1 by itself.
    #[track_caller]
    pub fn rsub(&self, other: impl Into<Value>, alpha: impl Into<Value>) -> Tensor {
        let other = other.into();
        let first = match &other {
            Value::Tensor(t) => t.clone(),
            Value::Number(_) => self.clone(),
        };
        match first.times_alpha("rsub", self.into(), alpha.into()) {
            Err(failed) => failed,
            Ok(me) => match (other, me) {
                (Value::Tensor(t), me) => t - me,
                (Value::Number(n), Value::Tensor(me)) => -(me - Value::Number(n)),
                (Value::Number(_), Value::Number(_)) => unreachable!("self is a tensor"),
            },
        }
    }

    /// self + `value`·a·b. Torch's `addcmul`, where `value` is 1 by itself.
    #[track_caller]
    pub fn addcmul(&self, a: &Tensor, b: &Tensor, value: impl Into<Value>) -> Tensor {
        self.add_with(a * b, value)
    }

    /// self + `value`·a/b, of floats. Torch's `addcdiv`, where `value` is 1 by itself.
    #[track_caller]
    pub fn addcdiv(&self, a: &Tensor, b: &Tensor, value: impl Into<Value>) -> Tensor {
        if !a.dtype().is_float() && !b.dtype().is_float() {
            let error = Error::new(format!("addcdiv: a quotient of {} and {}", a.dtype(), b.dtype()))
                .help("to_float on one side, or trunc_divide");
            return Tensor::fail(error, &[self, a, b], self.shape().clone(), self.dtype());
        }
        self.add_with(a / b, value)
    }

    /// self + `weight`·(end − self): on the way from self to `end`, exact at both. Torch's `lerp`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([0.0f32, 10.0]).lerp(&Tensor::from([4.0f32, 20.0]), 0.25);
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 12.5]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn lerp(&self, end: &Tensor, weight: impl Into<Value>) -> Tensor {
        let weight = match weight.into() {
            Value::Tensor(t) => t,
            Value::Number(n) => crate::op::source::scalar(Number::Float(n.as_f64()), self.dtype()),
        };
        let types = [self.dtype(), end.dtype(), weight.dtype()];
        if !types[0].is_float() || types.iter().any(|&t| t != types[0]) {
            let error =
                Error::new(format!("lerp: from {} to {} by {}, not one type of floats", types[0], types[1], types[2]));
            return Tensor::fail(error, &[self, end, &weight], self.shape().clone(), self.dtype());
        }
        let way = end - self;
        let near = self + &weight * &way;
        if near.error().is_some() {
            return near;
        }
        let far = end - way * (1.0 - &weight);
        near.where_(&weight.abs().lt(0.5), far)
    }

    /// The larger element; NaN only where both are. Equal ones share the gradient. Torch's `fmax`.
    #[track_caller]
    pub fn fmax(&self, other: impl Into<Value>) -> Tensor {
        match align("fmax", &self.into(), &other.into(), false) {
            Ok((a, b)) => a.where_(&a.isnan().logical_not(), &b).maximum(b.where_(&b.isnan().logical_not(), &a)),
            Err(failed) => failed,
        }
    }

    /// The smaller element; NaN only where both are. Equal ones share the gradient. Torch's `fmin`.
    #[track_caller]
    pub fn fmin(&self, other: impl Into<Value>) -> Tensor {
        match align("fmin", &self.into(), &other.into(), false) {
            Ok((a, b)) => a.where_(&a.isnan().logical_not(), &b).minimum(b.where_(&b.isnan().logical_not(), &a)),
            Err(failed) => failed,
        }
    }

    /// Whether the sign is minus, also of −0. Torch's `signbit`.
    #[track_caller]
    pub fn signbit(&self) -> Tensor {
        match self.dtype() {
            DType::F64 => self.detach().view_dtype(DType::I64).lt(0),
            DType::F32 | DType::F16 | DType::BF16 => self.detach().to_dtype(DType::F32).view_dtype(DType::I32).lt(0),
            DType::Bool => self.ne(self),
            DType::U8 | DType::I32 | DType::I64 => self.lt(0),
        }
    }

    /// |self| with the sign of `other`, also of −0. The gradient at 0 is 0. Torch's `copysign`.
    #[track_caller]
    pub fn copysign(&self, other: impl Into<Value>) -> Tensor {
        match align("copysign", &self.into(), &other.into(), true) {
            Ok((a, b)) => {
                let (size, minus) = (a.abs(), b.signbit());
                elementwise::flat(&(-&size).where_(&minus, &size), &b)
            }
            Err(failed) => failed,
        }
    }

    /// self to the power of `exponent`, in f64. Torch's `float_power`.
    #[track_caller]
    pub fn float_power(&self, exponent: impl Into<Value>) -> Tensor {
        let exponent = match exponent.into() {
            Value::Tensor(t) => t.to_dtype(DType::F64).into(),
            number => number,
        };
        self.to_dtype(DType::F64).pow(exponent)
    }

    /// What is behind the point, with the sign of x: x − trunc(x). Torch's `frac`.
    #[track_caller]
    pub fn frac(&self) -> Tensor {
        self - self.trunc()
    }

    /// 0 below 0, 1 above, `values` at 0. Torch's `heaviside`.
    #[track_caller]
    pub fn heaviside(&self, values: impl Into<Value>) -> Tensor {
        match align("heaviside", &self.into(), &values.into(), false) {
            Ok((x, at_zero)) => {
                let zero = x.zeros_like();
                at_zero.detach().where_(&x.eq(&zero), elementwise::cast(&x.gt(&zero), x.dtype()))
            }
            Err(failed) => failed,
        }
    }

    /// Whether |self − other| ≤ `atol` + `rtol`·|other|; infinities are close to themselves only, and NaN to NaN with
    /// `equal_nan`. Torch's `isclose`, whose defaults are 1e-5, 1e-8 and false.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([1.0f64, 2.0]);
    /// assert_eq!(x.isclose(&Tensor::from([1.000001, 2.1]), 1e-5, 1e-8, false).to_vec::<u8>()?, [1, 0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn isclose(&self, other: &Tensor, rtol: f64, atol: f64, equal_nan: bool) -> Tensor {
        let at = std::panic::Location::caller();
        let fail = |what: String| {
            Tensor::fail_at(
                at,
                Error::new(format!("isclose: {what}")),
                &[self, other],
                self.shape().clone(),
                DType::Bool,
            )
        };
        if self.dtype() != other.dtype() {
            return fail(format!("types {} and {}", self.dtype(), other.dtype()));
        }
        if !(rtol >= 0.0 && atol >= 0.0) {
            return fail(format!("tolerances {rtol} and {atol} are not at least 0"));
        }
        let (a, b) = match align("isclose", &self.into(), &other.into(), false) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        let equal = a.eq(&b);
        let (x, y) = (a.to_float(), b.to_float());
        let distance = (&x - &y).abs();
        let near = distance.isfinite().logical_and(&distance.le(y.abs() * rtol + atol));
        let close = equal.logical_or(&near);
        if equal_nan { close.logical_or(&a.isnan().logical_and(&b.isnan())) } else { close }
    }

    /// `nan` in the place of NaN, `posinf` and `neginf` in that of the infinities: by themselves the largest and the
    /// smallest number of the type. Torch's `nan_to_num`, where `nan` is 0.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([f32::NAN, f32::INFINITY, 1.0]);
    /// assert_eq!(x.nan_to_num(0.0, None, Some(-1.0)).to_vec::<f32>()?, [0.0, f32::MAX, 1.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn nan_to_num(&self, nan: f64, posinf: Option<f64>, neginf: Option<f64>) -> Tensor {
        let largest = match self.dtype() {
            DType::F64 => f64::MAX,
            DType::F32 => f32::MAX.into(),
            DType::F16 => half::f16::MAX.to_f64(),
            DType::BF16 => half::bf16::MAX.to_f64(),
            DType::Bool | DType::U8 | DType::I32 | DType::I64 => return self.clone(),
        };
        let x = self.where_(&self.isnan().logical_not(), nan);
        let x = x.where_(&self.ne(f64::INFINITY), posinf.unwrap_or(largest));
        x.where_(&self.ne(f64::NEG_INFINITY), neginf.unwrap_or(-largest))
    }

    /// The direction of x: [`Tensor::sign`] of real numbers. Torch's `sgn`.
    #[track_caller]
    pub fn sgn(&self) -> Tensor {
        self.sign()
    }

    /// log Σ exp(x) up to each element along `dim`, without overflow. Torch's `logcumsumexp`; by doubling steps, so that
    /// log₂ n passes do (Hillis & Steele, "Data Parallel Algorithms", 1986).
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([1000.0f64, 1000.0]).logcumsumexp(0);
    /// assert_eq!(y.to_vec::<f64>()?, [1000.0, 1000.0 + 2f64.ln()]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn logcumsumexp(&self, dim: isize) -> Tensor {
        let Some(axis) = self.axis(dim) else { return self.bad_axis("logcumsumexp", dim) };
        let mut y = self.to_float();
        if self.rank() == 0 {
            return y;
        }
        let len = y.shape()[axis];
        let mut step = 1;
        while step < len {
            let before = movement::slice(&y, axis, 0, 1, len - step);
            let behind = movement::slice(&y, axis, step as i64, 1, len - step);
            // Of −∞ and −∞ the sum is −∞, and no gradient passes.
            let none = before.eq(f64::NEG_INFINITY).logical_and(&behind.eq(f64::NEG_INFINITY));
            let safe = behind.where_(&none.logical_not(), 0.0).logaddexp(before.where_(&none.logical_not(), 0.0));
            let joined = safe.where_(&none.logical_not(), f64::NEG_INFINITY);
            y = movement::concat(&[&movement::slice(&y, axis, 0, 1, step), &joined], axis);
            step *= 2;
        }
        y
    }
}
