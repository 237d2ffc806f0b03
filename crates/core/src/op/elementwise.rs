//! One result element from the elements at the same place.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use half::{bf16, f16};
use limpid_kernels::DType;
use limpid_kernels::Number;
use limpid_kernels::fused::{BinaryFn, UnaryFn};
use smallvec::smallvec;

use crate::error::{Error, Result};
use crate::op::{Backward, Grads, Op, Saves, source};
use crate::reference::Array;
use crate::tensor::Tensor;
use crate::testing::{Fault, planted};

/// y = f(x): shape and type of x.
#[track_caller]
pub(crate) fn unary(f: UnaryFn, x: &Tensor) -> Tensor {
    Tensor::record(Op::Unary(f), &[x], x.shape().clone(), x.dtype())
}

/// y = f(a, b): a and b have the same shape and type; comparisons give bool.
#[track_caller]
pub(crate) fn binary(f: BinaryFn, a: &Tensor, b: &Tensor) -> Tensor {
    debug_assert_eq!((a.shape(), a.dtype()), (b.shape(), b.dtype()));
    let dtype = if is_comparison(f) { DType::Bool } else { a.dtype() };
    Tensor::record(Op::Binary(f), &[a, b], a.shape().clone(), dtype)
}

/// y = c ? a : b, element by element; c is bool, all shapes are equal.
#[track_caller]
pub(crate) fn select(c: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
    debug_assert_eq!((c.shape(), a.shape(), a.dtype()), (a.shape(), b.shape(), b.dtype()));
    Tensor::record(Op::Select, &[c, a, b], a.shape().clone(), a.dtype())
}

/// `y`, a function of the float x that is constant between steps: the gradient by x is 0 instead of absent.
#[track_caller]
pub(crate) fn flat(y: &Tensor, x: &Tensor) -> Tensor {
    if !x.dtype().is_float() {
        return y.clone();
    }
    select(&source::constant_of(Number::Int(1), DType::Bool, x.shape().clone()), y, x)
}

/// The value in another type, as torch casts.
#[track_caller]
pub(crate) fn cast(x: &Tensor, dtype: DType) -> Tensor {
    if x.dtype() == dtype {
        return x.clone();
    }
    Tensor::record(Op::Cast, &[x], x.shape().clone(), dtype)
}

/// The same bits as another type of the same size.
#[track_caller]
pub(crate) fn bitcast(x: &Tensor, dtype: DType) -> Tensor {
    if x.dtype().size() != dtype.size() {
        let error =
            Error::new(format!("view: {} has {} bytes, {dtype} has {}", x.dtype(), x.dtype().size(), dtype.size()));
        return Tensor::fail(error, &[x], x.shape().clone(), dtype);
    }
    Tensor::record(Op::BitCast, &[x], x.shape().clone(), dtype)
}

pub(crate) fn is_comparison(f: BinaryFn) -> bool {
    matches!(f, BinaryFn::Eq | BinaryFn::Ne | BinaryFn::Lt | BinaryFn::Le)
}

pub(crate) fn unary_name(f: UnaryFn) -> &'static str {
    match f {
        UnaryFn::Neg => "neg",
        UnaryFn::Abs => "abs",
        UnaryFn::Exp => "exp",
        UnaryFn::Expm1 => "expm1",
        UnaryFn::Log => "log",
        UnaryFn::Log1p => "log1p",
        UnaryFn::Sqrt => "sqrt",
        UnaryFn::Sin => "sin",
        UnaryFn::Cos => "cos",
        UnaryFn::Tanh => "tanh",
        UnaryFn::Atan => "atan",
        UnaryFn::Erf => "erf",
        UnaryFn::Sigmoid => "sigmoid",
        UnaryFn::Gelu => "gelu",
        UnaryFn::GeluSlope => "gelu_slope",
        UnaryFn::Floor => "floor",
        UnaryFn::Ceil => "ceil",
        UnaryFn::Trunc => "trunc",
        UnaryFn::Round => "round",
    }
}

pub(crate) fn binary_name(f: BinaryFn) -> &'static str {
    match f {
        BinaryFn::Add => "add",
        BinaryFn::Sub => "sub",
        BinaryFn::Mul => "mul",
        BinaryFn::Div => "div",
        BinaryFn::DivTrunc => "div_trunc",
        BinaryFn::DivFloor => "div_floor",
        BinaryFn::RemTrunc => "fmod",
        BinaryFn::RemFloor => "remainder",
        BinaryFn::Pow => "pow",
        BinaryFn::Max => "maximum",
        BinaryFn::Min => "minimum",
        BinaryFn::Eq => "eq",
        BinaryFn::Ne => "ne",
        BinaryFn::Lt => "lt",
        BinaryFn::Le => "le",
        BinaryFn::And => "and",
        BinaryFn::Or => "or",
        BinaryFn::Xor => "xor",
        BinaryFn::Shl => "shl",
        BinaryFn::Shr => "shr",
    }
}

pub(crate) fn unary_saves(f: UnaryFn) -> Saves {
    match f {
        UnaryFn::Exp | UnaryFn::Expm1 | UnaryFn::Sqrt | UnaryFn::Tanh | UnaryFn::Sigmoid => Saves::OUTPUT,
        UnaryFn::Neg | UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Trunc | UnaryFn::Round => Saves::NOTHING,
        UnaryFn::Abs
        | UnaryFn::Log
        | UnaryFn::Log1p
        | UnaryFn::Sin
        | UnaryFn::Cos
        | UnaryFn::Atan
        | UnaryFn::Erf
        | UnaryFn::Gelu
        | UnaryFn::GeluSlope => Saves::INPUTS,
    }
}

/// 1/√(2π): the density of the normal at 0.
const DENSITY: f64 = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

/// The gradient of y = f(x), g the gradient of y.
pub(crate) fn unary_vjp(f: UnaryFn, b: &Backward<'_>) -> Grads {
    let (x, y, g) = (&b.inputs[0], b.output, b.g());
    let gx = match f {
        UnaryFn::Neg => -g,
        // g·sign(x), 0 at 0
        UnaryFn::Abs => g * x.sign(),
        // g·y
        UnaryFn::Exp => g * y,
        // g·(y + 1)
        UnaryFn::Expm1 => g * (y + y.constant_like(1.0)),
        // g / x
        UnaryFn::Log => g / x,
        // g / (1 + x)
        UnaryFn::Log1p => g / (x + x.constant_like(1.0)),
        // g / (2y)
        UnaryFn::Sqrt => g / (y + y),
        UnaryFn::Sin => g * x.cos(),
        UnaryFn::Cos => -(g * x.sin()),
        // g / (x² + 1)
        UnaryFn::Atan => g / (x * x + x.constant_like(1.0)),
        UnaryFn::Tanh if planted(Fault::GradientOfTanh) => g * (y.constant_like(1.0) - y),
        // g·(1 − y²)
        UnaryFn::Tanh => g * (y.constant_like(1.0) - y * y),
        // g·(2/√π)·exp(−x²)
        UnaryFn::Erf => g * x.constant_like(FRAC_2_SQRT_PI) * (-(x * x)).exp(),
        // g·y·(1 − y)
        UnaryFn::Sigmoid => g * (y * (y.constant_like(1.0) - y)),
        UnaryFn::Gelu => g * unary(UnaryFn::GeluSlope, x),
        // g·(2 − x²)·e^(−x²/2)/√(2π)
        UnaryFn::GeluSlope => {
            let square = x * x;
            let density = (&square * x.constant_like(-0.5)).exp() * x.constant_like(DENSITY);
            g * ((x.constant_like(2.0) - square) * density)
        }
        // Constant between the steps: torch's gradient is zero, not absent.
        UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Trunc | UnaryFn::Round => g.zeros_like(),
    };
    smallvec![Some(gx)]
}

pub(crate) fn binary_saves(f: BinaryFn) -> Saves {
    match f {
        BinaryFn::Mul | BinaryFn::Max | BinaryFn::Min | BinaryFn::RemTrunc | BinaryFn::RemFloor => Saves::INPUTS,
        BinaryFn::Div => Saves { inputs: 2, output: true },
        BinaryFn::Pow => Saves::ALL,
        _ => Saves::NOTHING,
    }
}

/// The gradients of y = f(a, b), g the gradient of y.
pub(crate) fn binary_vjp(f: BinaryFn, bw: &Backward<'_>) -> Grads {
    let (a, b, y, g) = (&bw.inputs[0], &bw.inputs[1], bw.output, bw.g());
    let when = |i: usize, rule: &dyn Fn() -> Tensor| bw.needs[i].then(rule);
    match f {
        BinaryFn::Add => smallvec![Some(g.clone()), Some(g.clone())],
        BinaryFn::Sub => smallvec![Some(g.clone()), when(1, &|| -g)],
        // x·x: one product serves both sides.
        BinaryFn::Mul if std::ptr::eq(&*a.node, &*b.node) => {
            let product = g * b;
            smallvec![Some(product.clone()), Some(product)]
        }
        BinaryFn::Mul => smallvec![when(0, &|| g * b), when(1, &|| g * a)],
        // g/b ; −g·y/b
        BinaryFn::Div => smallvec![when(0, &|| g / b), when(1, &|| -(g * y) / b)],
        // Steps: zero, as torch.
        BinaryFn::DivTrunc | BinaryFn::DivFloor => {
            smallvec![when(0, &|| g.zeros_like()), when(1, &|| g.zeros_like())]
        }
        // a − b·round(a/b): g ; −g·round(a/b)
        BinaryFn::RemTrunc => smallvec![Some(g.clone()), when(1, &|| -(g * binary(BinaryFn::DivTrunc, a, b)))],
        BinaryFn::RemFloor => smallvec![Some(g.clone()), when(1, &|| -(g * binary(BinaryFn::DivFloor, a, b)))],
        // g·b·a^(b−1), 0 where b = 0 ; g·y·log a, 0 where a = 0 and b ≥ 0
        BinaryFn::Pow => {
            let zero = g.zeros_like();
            smallvec![
                when(0, &|| {
                    let slope = g * (b * binary(BinaryFn::Pow, a, &(b - b.constant_like(1.0))));
                    select(&b.eq(&zero), &zero, &slope)
                }),
                when(1, &|| {
                    let flat = a.eq(&zero).logical_and(&b.ge(&zero));
                    select(&flat, &zero, &(g * (y * a.log())))
                }),
            ]
        }
        // The winner takes g, a tie halves it; beside NaN both take it, as in torch.
        BinaryFn::Max | BinaryFn::Min => {
            let share = |mine: &Tensor, other: &Tensor| {
                let loses = if f == BinaryFn::Max { mine.lt(other) } else { other.lt(mine) };
                let half = g * g.constant_like(0.5);
                select(&loses, &g.zeros_like(), &select(&mine.eq(other), &half, g))
            };
            smallvec![when(0, &|| share(a, b)), when(1, &|| share(b, a))]
        }
        BinaryFn::Eq
        | BinaryFn::Ne
        | BinaryFn::Lt
        | BinaryFn::Le
        | BinaryFn::And
        | BinaryFn::Or
        | BinaryFn::Xor
        | BinaryFn::Shl
        | BinaryFn::Shr => Grads::new(),
    }
}

/// none ; select(c, g, 0) ; select(c, 0, g)
pub(crate) fn select_vjp(b: &Backward<'_>) -> Grads {
    let (c, g) = (&b.inputs[0], b.g());
    let zero = g.zeros_like();
    smallvec![None, b.needs[1].then(|| select(c, g, &zero)), b.needs[2].then(|| select(c, &zero, g)),]
}

/// Cast back, when both are floats.
pub(crate) fn cast_vjp(b: &Backward<'_>) -> Grads {
    let to = b.inputs[0].dtype();
    smallvec![to.is_float().then(|| cast(b.g(), to))]
}

/// f(x) in f64 by the standard library and textbook series: slow, independent of the kernels.
pub(crate) fn unary_reference(f: UnaryFn, x: &Array) -> Array {
    x.map(x.dtype, |n| match (f, n) {
        (UnaryFn::Neg, Number::Int(i)) => Number::Int(i.wrapping_neg()),
        (UnaryFn::Abs, Number::Int(i)) => Number::Int(i.wrapping_abs()),
        (_, Number::Int(_)) if !x.dtype.is_float() => n,
        _ => {
            let v = n.as_f64();
            Number::Float(match f {
                UnaryFn::Neg => -v,
                UnaryFn::Abs => v.abs(),
                UnaryFn::Exp => v.exp(),
                UnaryFn::Expm1 => v.exp_m1(),
                UnaryFn::Log => v.ln(),
                UnaryFn::Log1p => v.ln_1p(),
                UnaryFn::Sqrt => v.sqrt(),
                UnaryFn::Sin => v.sin(),
                UnaryFn::Cos => v.cos(),
                UnaryFn::Atan => v.atan(),
                UnaryFn::Tanh => v.tanh(),
                UnaryFn::Erf => erf(v),
                UnaryFn::Sigmoid if v < -30.0 => v.exp() / (1.0 + v.exp()),
                UnaryFn::Sigmoid => 1.0 / (1.0 + (-v).exp()),
                UnaryFn::Gelu => v * 0.5 * (1.0 + erf(v * FRAC_1_SQRT_2)),
                UnaryFn::GeluSlope => 0.5 * (1.0 + erf(v * FRAC_1_SQRT_2)) + v * DENSITY * (-0.5 * v * v).exp(),
                UnaryFn::Floor => v.floor(),
                UnaryFn::Ceil => v.ceil(),
                UnaryFn::Trunc => v.trunc(),
                UnaryFn::Round => v.round_ties_even(),
            })
        }
    })
}

/// The error function: the Maclaurin series below 3, the continued fraction of erfc above
/// (Abramowitz & Stegun 7.1.6 and 7.1.14); relative error below 1e-15.
fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let a = x.abs();
    if a < 3.0 {
        // 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): all terms positive, nothing cancels.
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term > sum * 1e-18 && term > 0.0 {
            n += 1.0;
            term *= 2.0 * a * a / (2.0 * n + 1.0);
            sum += term;
        }
        return (FRAC_2_SQRT_PI * (-a * a).exp() * sum).copysign(x);
    }
    let fraction = (1..=80).rev().fold(0.0, |f, n| f64::from(n) / 2.0 / (a + f));
    let erfc = (-a * a).exp() / std::f64::consts::PI.sqrt() / (a + fraction);
    (1.0 - erfc).copysign(x)
}

pub(crate) fn binary_reference(f: BinaryFn, a: &Array, b: &Array) -> Result<Array> {
    let dtype = if is_comparison(f) { DType::Bool } else { a.dtype };
    let mut zero = false;
    let result = a.zip(b, dtype, |x, y| match (x, y) {
        (Number::Int(x), Number::Int(y)) => Number::Int(int_binary(f, x, y, a.dtype).unwrap_or_else(|| {
            zero = true;
            0
        })),
        _ => float_binary(f, x.as_f64(), y.as_f64(), a.dtype),
    });
    if zero { Err(Error::new(format!("{}: integer division by zero", binary_name(f)))) } else { Ok(result) }
}

/// None for a division by zero.
fn int_binary(f: BinaryFn, x: i64, y: i64, dtype: DType) -> Option<i64> {
    let bits = 8 * dtype.size() as i64;
    Some(match f {
        BinaryFn::Add => x.wrapping_add(y),
        BinaryFn::Sub => x.wrapping_sub(y),
        BinaryFn::Mul => x.wrapping_mul(y),
        BinaryFn::Div | BinaryFn::DivTrunc => {
            if y == 0 {
                return None;
            }
            x.wrapping_div(y)
        }
        BinaryFn::DivFloor => {
            if y == 0 {
                return None;
            }
            let q = x.wrapping_div(y);
            if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) { q - 1 } else { q }
        }
        BinaryFn::RemTrunc => {
            if y == 0 {
                return None;
            }
            x.wrapping_rem(y)
        }
        BinaryFn::RemFloor => {
            if y == 0 {
                return None;
            }
            let r = x.wrapping_rem(y);
            if r != 0 && (r < 0) != (y < 0) { r + y } else { r }
        }
        // torch: an integer to a negative power is 0, but for the bases 1 and −1.
        BinaryFn::Pow if y < 0 => match x {
            1 => 1,
            -1 if y % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        },
        BinaryFn::Pow => {
            let (mut result, mut base, mut left) = (1i64, x, y as u64);
            while left > 0 {
                if left & 1 == 1 {
                    result = result.wrapping_mul(base);
                }
                base = base.wrapping_mul(base);
                left >>= 1;
            }
            result
        }
        BinaryFn::Max => x.max(y),
        BinaryFn::Min => x.min(y),
        BinaryFn::Eq => i64::from(x == y),
        BinaryFn::Ne => i64::from(x != y),
        BinaryFn::Lt => i64::from(x < y),
        BinaryFn::Le => i64::from(x <= y),
        BinaryFn::And => x & y,
        BinaryFn::Or => x | y,
        BinaryFn::Xor => x ^ y,
        BinaryFn::Shl => {
            if (0..bits).contains(&y) {
                x << y
            } else {
                0
            }
        }
        BinaryFn::Shr => {
            if (0..bits).contains(&y) {
                x >> y
            } else if x < 0 {
                -1
            } else {
                0
            }
        }
    })
}

fn float_binary(f: BinaryFn, x: f64, y: f64, dtype: DType) -> Number {
    let truth = |t: bool| Number::Int(i64::from(t));
    // The quotient is rounded to the type that is computed in, f32 for the halves, before it is cut.
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let quotient = || Array::round(wide, Number::Float(x / y)).as_f64();
    Number::Float(match f {
        BinaryFn::Add => x + y,
        BinaryFn::Sub => x - y,
        BinaryFn::Mul => x * y,
        BinaryFn::Div => x / y,
        BinaryFn::DivTrunc => quotient().trunc(),
        BinaryFn::DivFloor => floor_div(x, y),
        BinaryFn::RemTrunc => x % y,
        BinaryFn::RemFloor => {
            let r = x % y;
            if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
        }
        BinaryFn::Pow => x.powf(y),
        BinaryFn::Max if x.is_nan() || y.is_nan() => f64::NAN,
        BinaryFn::Max => x.max(y),
        BinaryFn::Min if x.is_nan() || y.is_nan() => f64::NAN,
        BinaryFn::Min => x.min(y),
        BinaryFn::Eq => return truth(x == y),
        BinaryFn::Ne => return truth(x != y),
        BinaryFn::Lt => return truth(x < y),
        BinaryFn::Le => return truth(x <= y),
        BinaryFn::And | BinaryFn::Or | BinaryFn::Xor | BinaryFn::Shl | BinaryFn::Shr => {
            unreachable!("bit operations are recorded on integers only")
        }
    })
}

/// Python's floor division of floats: exact, unlike the floor of a rounded quotient.
fn floor_div(x: f64, y: f64) -> f64 {
    if y == 0.0 {
        return x / y;
    }
    let mut r = x % y;
    if r != 0.0 && (r < 0.0) != (y < 0.0) {
        r += y;
    }
    ((x - r) / y).round()
}

pub(crate) fn select_reference(inputs: &[&Array]) -> Array {
    let (c, a, b) = (inputs[0], inputs[1], inputs[2]);
    let data = (0..a.data.len()).map(|i| if c.data[i].as_i64() != 0 { a.data[i] } else { b.data[i] }).collect();
    Array { dtype: a.dtype, shape: a.shape.clone(), data }
}

pub(crate) fn bitcast_reference(x: &Array, dtype: DType) -> Array {
    let bits = |n: Number| -> u64 {
        match x.dtype {
            DType::F64 => n.as_f64().to_bits(),
            DType::F32 => u64::from((n.as_f64() as f32).to_bits()),
            DType::F16 => u64::from(f16::from_f64(n.as_f64()).to_bits()),
            DType::BF16 => u64::from(bf16::from_f64(n.as_f64()).to_bits()),
            DType::Bool | DType::U8 | DType::I32 | DType::I64 => n.as_i64() as u64,
        }
    };
    x.map(dtype, |n| {
        let bits = bits(n);
        match dtype {
            DType::F64 => Number::Float(f64::from_bits(bits)),
            DType::F32 => Number::Float(f64::from(f32::from_bits(bits as u32))),
            DType::F16 => Number::Float(f16::from_bits(bits as u16).to_f64()),
            DType::BF16 => Number::Float(bf16::from_bits(bits as u16).to_f64()),
            DType::Bool | DType::U8 => Number::Int(i64::from(bits as u8)),
            DType::I32 => Number::Int(i64::from(bits as u32 as i32)),
            DType::I64 => Number::Int(bits as i64),
        }
    })
}
