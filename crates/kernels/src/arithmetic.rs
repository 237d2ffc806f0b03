//! Adding, multiplying and comparing elements of any type, and running generic code by [`DType`].

use half::{bf16, f16};

use crate::dtype::{DType, Element};

/// A type that sums are kept in. Integers wrap; NaN propagates in `max` and `min`.
pub(crate) trait Accumulator: Copy + Send + Sync + Default + 'static {
    /// a + b
    fn add(self, b: Self) -> Self;
    /// a · b
    fn mul(self, b: Self) -> Self;
    /// The larger; NaN if either is; `self` when both are equal.
    fn max(self, b: Self) -> Self;
    /// The smaller; NaN if either is; `self` when both are equal.
    fn min(self, b: Self) -> Self;
}

macro_rules! integer {
    ($($t:ty)*) => {$(
        impl Accumulator for $t {
            #[inline(always)]
            fn add(self, b: $t) -> $t { self.wrapping_add(b) }
            #[inline(always)]
            fn mul(self, b: $t) -> $t { self.wrapping_mul(b) }
            #[inline(always)]
            fn max(self, b: $t) -> $t { Ord::max(self, b) }
            #[inline(always)]
            fn min(self, b: $t) -> $t { Ord::min(self, b) }
        }
    )*};
}

macro_rules! float {
    ($($t:ty)*) => {$(
        impl Accumulator for $t {
            #[inline(always)]
            fn add(self, b: $t) -> $t { self + b }
            #[inline(always)]
            fn mul(self, b: $t) -> $t { self * b }
            #[inline(always)]
            fn max(self, b: $t) -> $t { if self >= b || self.is_nan() { self } else { b } }
            #[inline(always)]
            fn min(self, b: $t) -> $t { if self <= b || self.is_nan() { self } else { b } }
        }
    )*};
}

integer!(u8 i32 i64);
float!(f32 f64);

/// An element type with the type that it is accumulated in: f32 for the halves, else itself.
pub(crate) trait Arithmetic: Element {
    /// The type of sums.
    type Acc: Accumulator;
    /// The element as a sum of one.
    fn widen(self) -> Self::Acc;
    /// The sum, rounded to the element type.
    fn narrow(acc: Self::Acc) -> Self;
}

macro_rules! arithmetic {
    ($($t:ty, $acc:ty, $widen:expr, $narrow:expr;)*) => {$(
        impl Arithmetic for $t {
            type Acc = $acc;
            #[inline(always)]
            fn widen(self) -> $acc { ($widen)(self) }
            #[inline(always)]
            fn narrow(acc: $acc) -> $t { ($narrow)(acc) }
        }
    )*};
}

arithmetic! {
    u8, u8, |x| x, |x| x;
    i32, i32, |x| x, |x| x;
    i64, i64, |x| x, |x| x;
    f16, f32, f16::to_f32, f16::from_f32;
    bf16, f32, bf16::to_f32, bf16::from_f32;
    f32, f32, |x| x, |x| x;
    f64, f64, |x| x, |x| x;
}

/// A computation that is compiled once for each element type, see [`by_dtype`].
pub(crate) trait Typed {
    /// What it returns.
    type Out;
    /// The body.
    fn run<T: Arithmetic>(self) -> Self::Out;
}

/// Runs `job` for the storage type of `dtype` (u8 for bool).
pub(crate) fn by_dtype<J: Typed>(dtype: DType, job: J) -> J::Out {
    match dtype {
        DType::Bool | DType::U8 => job.run::<u8>(),
        DType::I32 => job.run::<i32>(),
        DType::I64 => job.run::<i64>(),
        DType::F16 => job.run::<f16>(),
        DType::BF16 => job.run::<bf16>(),
        DType::F32 => job.run::<f32>(),
        DType::F64 => job.run::<f64>(),
    }
}

/// A type that stands for all of its size in code that only moves elements.
pub(crate) fn same_size(dtype: DType) -> DType {
    match dtype.size() {
        1 => DType::U8,
        2 => DType::F16,
        4 => DType::I32,
        _ => DType::I64,
    }
}
