//! `+ - * / %`, bits and shifts, comparisons and logic, on tensors and numbers, with torch's broadcasting and promotion.

use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Rem, Shl, Shr, Sub};

use limpid_kernels::fused::{BinaryFn, UnaryFn};
use limpid_kernels::{DType, Number};

use crate::error::Error;
use crate::op::{elementwise, movement, source};
use crate::promote::{Operand, float_type, result_type};
use crate::shape::Shape;
use crate::sugar::shape::as_type;
use crate::tensor::Tensor;

/// The other side of an operation: a tensor or a number.
#[derive(Clone, Debug)]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// A number of the host: bound at run time, takes its type from the tensor beside it.
    Number(Number),
}

impl From<Tensor> for Value {
    fn from(t: Tensor) -> Value {
        Value::Tensor(t)
    }
}

impl From<&Tensor> for Value {
    fn from(t: &Tensor) -> Value {
        Value::Tensor(t.clone())
    }
}

macro_rules! numbers {
    ($($t:ty: $v:ident,)*) => {$(
        impl From<$t> for Value {
            fn from(n: $t) -> Value { Value::Number(Number::$v(n.into())) }
        }
    )*};
}
numbers! { f32: Float, f64: Float, i32: Int, i64: Int, u8: Int, bool: Int, }

impl Value {
    fn operand(&self) -> Operand {
        match self {
            Value::Tensor(t) if t.rank() == 0 => Operand::Scalar(t.dtype()),
            Value::Tensor(t) => Operand::Array(t.dtype()),
            Value::Number(n) => Operand::Number(*n),
        }
    }

    fn shape(&self) -> Shape {
        match self {
            Value::Tensor(t) => t.shape().clone(),
            Value::Number(_) => Shape::scalar(),
        }
    }

    #[track_caller]
    fn to_tensor(&self, dtype: DType, shape: &Shape) -> Tensor {
        match self {
            Value::Tensor(t) => movement::broadcast(&elementwise::cast(t, dtype), shape),
            Value::Number(n) => source::scalar_of(as_type(*n, dtype), dtype, shape.clone()),
        }
    }
}

/// Both sides where nothing is to be promoted or stretched: floats of one type and shape, or one beside a number.
#[track_caller]
fn alike(a: &Value, b: &Value) -> Option<(Tensor, Tensor)> {
    match (a, b) {
        (Value::Tensor(x), Value::Tensor(y)) if x.dtype().is_float() => {
            (x.dtype() == y.dtype() && x.shape() == y.shape()).then(|| (x.clone(), y.clone()))
        }
        (Value::Tensor(x), Value::Number(_)) if x.dtype().is_float() => {
            Some((x.clone(), b.to_tensor(x.dtype(), x.shape())))
        }
        (Value::Number(_), Value::Tensor(y)) if y.dtype().is_float() => {
            Some((a.to_tensor(y.dtype(), y.shape()), y.clone()))
        }
        _ => None,
    }
}

/// Both sides in one type and one shape; the error when the shapes do not broadcast.
#[track_caller]
pub(crate) fn align(name: &str, a: &Value, b: &Value, to_float: bool) -> Result<(Tensor, Tensor), Tensor> {
    if let Some(both) = alike(a, b) {
        return Ok(both);
    }
    let mut dtype = result_type(&[a.operand(), b.operand()]);
    if to_float {
        dtype = float_type(dtype);
    }
    let (sa, sb) = (a.shape(), b.shape());
    let Some(shape) = sa.broadcast(&sb) else {
        let error = Error::new(format!("{name}: shapes {sa} and {sb} do not broadcast"))
            .help("sizes that are equal or 1, counted from the last axis: unsqueeze or reshape one side");
        let inputs: Vec<&Tensor> =
            [a, b].into_iter().filter_map(|v| if let Value::Tensor(t) = v { Some(t) } else { None }).collect();
        let guess = if sa.rank() >= sb.rank() { sa } else { sb };
        return Err(Tensor::fail(error, &inputs, guess, dtype));
    };
    Ok((a.to_tensor(dtype, &shape), b.to_tensor(dtype, &shape)))
}

/// f over both sides, aligned. Sums and products of bools are bools, as in torch.
#[track_caller]
pub(crate) fn apply(f: BinaryFn, name: &str, a: &Value, b: &Value) -> Tensor {
    let (x, y) = match align(name, a, b, matches!(f, BinaryFn::Div)) {
        Ok(both) => both,
        Err(failed) => return failed,
    };
    let bits = matches!(f, BinaryFn::And | BinaryFn::Or | BinaryFn::Xor | BinaryFn::Shl | BinaryFn::Shr);
    let shifts_bool = matches!(f, BinaryFn::Shl | BinaryFn::Shr) && x.dtype() == DType::Bool;
    if (bits && x.dtype().is_float()) || shifts_bool {
        let error = Error::new(format!("{name}: not defined for {}", x.dtype()));
        return Tensor::fail(error, &[&x, &y], x.shape().clone(), x.dtype());
    }
    match (f, x.dtype()) {
        (BinaryFn::Add | BinaryFn::Max, DType::Bool) => elementwise::binary(BinaryFn::Or, &x, &y),
        (BinaryFn::Mul | BinaryFn::Min, DType::Bool) => elementwise::binary(BinaryFn::And, &x, &y),
        (BinaryFn::Sub, DType::Bool) => {
            let error = Error::new("sub: not defined for bool").help("^ or logical_xor");
            Tensor::fail(error, &[&x, &y], x.shape().clone(), DType::Bool)
        }
        (
            BinaryFn::DivTrunc | BinaryFn::DivFloor | BinaryFn::RemTrunc | BinaryFn::RemFloor | BinaryFn::Pow,
            DType::Bool,
        ) => {
            let (x, y) = (elementwise::cast(&x, DType::I64), elementwise::cast(&y, DType::I64));
            elementwise::binary(f, &x, &y)
        }
        _ => elementwise::binary(f, &x, &y),
    }
}

macro_rules! operator {
    ($($trait:ident, $method:ident, $f:ident, $name:literal;)*) => {$(
        impl<R: Into<Value>> $trait<R> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: R) -> Tensor {
                apply(BinaryFn::$f, $name, &Value::Tensor(self.clone()), &other.into())
            }
        }
        impl<R: Into<Value>> $trait<R> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: R) -> Tensor {
                apply(BinaryFn::$f, $name, &Value::Tensor(self), &other.into())
            }
        }
        operator!(@number $trait, $method, $f, $name, f32 f64 i32 i64);
    )*};
    (@number $trait:ident, $method:ident, $f:ident, $name:literal, $($t:ty)*) => {$(
        impl $trait<Tensor> for $t {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: Tensor) -> Tensor {
                apply(BinaryFn::$f, $name, &self.into(), &Value::Tensor(other))
            }
        }
        impl $trait<&Tensor> for $t {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor {
                apply(BinaryFn::$f, $name, &self.into(), &Value::Tensor(other.clone()))
            }
        }
    )*};
}

operator! {
    Add, add, Add, "add";
    Sub, sub, Sub, "sub";
    Mul, mul, Mul, "mul";
    Div, div, Div, "div";
    Rem, rem, RemFloor, "remainder";
    BitAnd, bitand, And, "bitwise_and";
    BitOr, bitor, Or, "bitwise_or";
    BitXor, bitxor, Xor, "bitwise_xor";
    Shl, shl, Shl, "bitwise_left_shift";
    Shr, shr, Shr, "bitwise_right_shift";
}

impl Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        if self.dtype() == DType::Bool {
            let error = Error::new("neg: not defined for bool").help("logical_not");
            return Tensor::fail(error, &[self], self.shape().clone(), DType::Bool);
        }
        elementwise::unary(UnaryFn::Neg, self)
    }
}

impl Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        -&self
    }
}

impl Not for &Tensor {
    type Output = Tensor;
    /// The complement of every bit; of a bool its opposite.
    #[track_caller]
    fn not(self) -> Tensor {
        if self.dtype() == DType::Bool { self.logical_not() } else { self ^ -1i64 }
    }
}

impl Tensor {
    #[track_caller]
    fn compare(&self, f: BinaryFn, name: &str, other: Value, swapped: bool) -> Tensor {
        let me = Value::Tensor(self.clone());
        if swapped { apply(f, name, &other, &me) } else { apply(f, name, &me, &other) }
    }

    /// Whether the elements are equal; NaN equals nothing.
    #[track_caller]
    pub fn eq(&self, other: impl Into<Value>) -> Tensor {
        self.compare(BinaryFn::Eq, "eq", other.into(), false)
    }

    /// Whether the elements differ; NaN differs from everything.
    #[track_caller]
    pub fn ne(&self, other: impl Into<Value>) -> Tensor {
        self.compare(BinaryFn::Ne, "ne", other.into(), false)
    }

    /// Whether self < other.
    #[track_caller]
    pub fn lt(&self, other: impl Into<Value>) -> Tensor {
        self.compare(BinaryFn::Lt, "lt", other.into(), false)
    }

    /// Whether self ≤ other.
    #[track_caller]
    pub fn le(&self, other: impl Into<Value>) -> Tensor {
        self.compare(BinaryFn::Le, "le", other.into(), false)
    }

    /// Whether self > other.
    #[track_caller]
    pub fn gt(&self, other: impl Into<Value>) -> Tensor {
        self.compare(BinaryFn::Lt, "gt", other.into(), true)
    }

    /// Whether self ≥ other.
    #[track_caller]
    pub fn ge(&self, other: impl Into<Value>) -> Tensor {
        self.compare(BinaryFn::Le, "ge", other.into(), true)
    }

    #[track_caller]
    fn truth(&self) -> Tensor {
        elementwise::cast(self, DType::Bool)
    }

    /// Whether both are not 0.
    #[track_caller]
    pub fn logical_and(&self, other: &Tensor) -> Tensor {
        apply(BinaryFn::And, "logical_and", &self.truth().into(), &other.truth().into())
    }

    /// Whether one of both is not 0.
    #[track_caller]
    pub fn logical_or(&self, other: &Tensor) -> Tensor {
        apply(BinaryFn::Or, "logical_or", &self.truth().into(), &other.truth().into())
    }

    /// Whether exactly one is not 0.
    #[track_caller]
    pub fn logical_xor(&self, other: &Tensor) -> Tensor {
        apply(BinaryFn::Xor, "logical_xor", &self.truth().into(), &other.truth().into())
    }

    /// Whether it is 0.
    #[track_caller]
    pub fn logical_not(&self) -> Tensor {
        let truth = self.truth();
        elementwise::binary(BinaryFn::Xor, &truth, &truth.constant_like(1.0))
    }

    /// self to the power of `exponent`.
    #[track_caller]
    pub fn pow(&self, exponent: impl Into<Value>) -> Tensor {
        apply(BinaryFn::Pow, "pow", &self.into(), &exponent.into())
    }

    /// The larger element; NaN wins.
    #[track_caller]
    pub fn maximum(&self, other: impl Into<Value>) -> Tensor {
        apply(BinaryFn::Max, "maximum", &self.into(), &other.into())
    }

    /// The smaller element; NaN wins.
    #[track_caller]
    pub fn minimum(&self, other: impl Into<Value>) -> Tensor {
        apply(BinaryFn::Min, "minimum", &self.into(), &other.into())
    }

    /// The quotient rounded towards −∞. Torch's `floor_divide`.
    #[track_caller]
    pub fn floor_divide(&self, other: impl Into<Value>) -> Tensor {
        apply(BinaryFn::DivFloor, "floor_divide", &self.into(), &other.into())
    }

    /// The quotient rounded towards 0. Torch's `div(rounding_mode="trunc")`.
    #[track_caller]
    pub fn trunc_divide(&self, other: impl Into<Value>) -> Tensor {
        apply(BinaryFn::DivTrunc, "trunc_divide", &self.into(), &other.into())
    }

    /// The remainder with the sign of the dividend. Torch's `fmod`; `%` is torch's `remainder`.
    #[track_caller]
    pub fn fmod(&self, other: impl Into<Value>) -> Tensor {
        apply(BinaryFn::RemTrunc, "fmod", &self.into(), &other.into())
    }

    /// self·2ⁿ: the bits moved up by `n` places, `self << n` (integers). Those that leave the type are lost; 0 where
    /// n is negative or at least the number of bits.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([1i64, -3]);
    /// assert_eq!(x.bitwise_left_shift(4).to_vec::<i64>()?, [16, -48]);
    /// assert_eq!((x >> 1).to_vec::<i64>()?, [0, -2]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn bitwise_left_shift(&self, n: impl Into<Value>) -> Tensor {
        self << n
    }

    /// ⌊self / 2ⁿ⌋: the bits moved down by `n` places, `self >> n` (integers). The sign stays: where n is negative
    /// or at least the number of bits the result is −1 or 0.
    #[track_caller]
    pub fn bitwise_right_shift(&self, n: impl Into<Value>) -> Tensor {
        self >> n
    }

    /// self where `condition` holds, else `other`. Torch's `where`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([-1.0f32, 2.0]);
    /// assert_eq!(x.where_(&x.gt(0.0), 0.0).to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn where_(&self, condition: &Tensor, other: impl Into<Value>) -> Tensor {
        let (a, b) = match align("where", &self.into(), &other.into(), false) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        let Some(shape) = a.shape().broadcast(condition.shape()) else {
            let what = format!("where: the condition {} does not broadcast with {}", condition.shape(), a.shape());
            return Tensor::fail(Error::new(what), &[&a, &b, condition], a.shape().clone(), a.dtype());
        };
        let wide = |t: &Tensor| movement::broadcast(t, &shape);
        elementwise::select(&wide(&condition.truth()), &wide(&a), &wide(&b))
    }
}
