//! The eight data types, and the number that stands for one element of any of them.

use half::{bf16, f16};

/// The type of a tensor's elements. `Bool` is stored as one byte, 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 32 bits; arithmetic wraps.
    I32,
    /// Signed, 64 bits; arithmetic wraps.
    I64,
    /// IEEE binary16.
    F16,
    /// bfloat16: the upper half of an `f32`.
    BF16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
}

impl DType {
    /// All of them, narrowest category first.
    pub const ALL: [DType; 8] =
        [DType::Bool, DType::U8, DType::I32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 => 1,
            DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// Whether this is one of f16, bf16, f32, f64.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// The name that users write: `f32`, `i64`, `bool`, …
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One number on the host: what a Rust literal beside a tensor is, before it takes a data type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer or a truth value.
    Int(i64),
    /// A real number.
    Float(f64),
}

impl Number {
    /// The number as a float.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(i) => i as f64,
            Number::Float(f) => f,
        }
    }

    /// The number as an integer: floats are truncated towards zero and saturate.
    pub fn as_i64(self) -> i64 {
        match self {
            Number::Int(i) => i,
            Number::Float(f) => f as i64,
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that is the storage of a [`DType`]. `Bool` has none of its own: it is stored as `u8`.
///
/// Sealed, because slices of it are made from raw bytes: every bit pattern must be valid.
pub trait Element: sealed::Sealed + Copy + Send + Sync + PartialOrd + std::fmt::Debug + 'static {
    /// The data type that this is the storage of.
    const DTYPE: DType;
    /// Converts a number, as PyTorch casts: floats to integers truncate.
    fn from_number(n: Number) -> Self;
    /// The element as a number.
    fn to_number(self) -> Number;
}

macro_rules! element {
    ($($t:ty, $d:ident, $v:ident, $from:expr, $to:expr;)*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            fn from_number(n: Number) -> Self { ($from)(n) }
            fn to_number(self) -> Number { Number::$v(($to)(self)) }
        }
    )*};
}

element! {
    u8, U8, Int, |n: Number| n.as_i64() as u8, |x| x as i64;
    i32, I32, Int, |n: Number| n.as_i64() as i32, |x| x as i64;
    i64, I64, Int, |n: Number| n.as_i64(), |x| x;
    f16, F16, Float, |n: Number| f16::from_f64(n.as_f64()), |x: f16| x.to_f64();
    bf16, BF16, Float, |n: Number| bf16::from_f64(n.as_f64()), |x: bf16| x.to_f64();
    f32, F32, Float, |n: Number| n.as_f64() as f32, |x| x as f64;
    f64, F64, Float, |n: Number| n.as_f64(), |x| x;
}
