//! One instruction over one tile. Each loop holds one operation, so that each vectorises by itself.

use super::halves::{round_bf16, round_f16};
use super::instr::{BinaryFn, UnaryFn};
use super::philox;
use crate::dtype::DType;
use crate::isa::{Arch, Isa, Job, dispatch};
use crate::math;

/// What the generic loops need to know of a register class.
pub(super) trait Lane: Copy + PartialOrd + Send + Sync + 'static {
    /// The larger one, NaN when either is.
    fn max(self, other: Self) -> Self;
    /// The smaller one, NaN when either is.
    fn min(self, other: Self) -> Self;
}

impl Lane for f32 {
    #[inline(always)]
    fn max(self, other: f32) -> f32 {
        if self > other || self.is_nan() { self } else { other }
    }
    #[inline(always)]
    fn min(self, other: f32) -> f32 {
        if self < other || self.is_nan() { self } else { other }
    }
}

impl Lane for f64 {
    #[inline(always)]
    fn max(self, other: f64) -> f64 {
        if self > other || self.is_nan() { self } else { other }
    }
    #[inline(always)]
    fn min(self, other: f64) -> f64 {
        if self < other || self.is_nan() { self } else { other }
    }
}

impl Lane for i64 {
    #[inline(always)]
    fn max(self, other: i64) -> i64 {
        Ord::max(self, other)
    }
    #[inline(always)]
    fn min(self, other: i64) -> i64 {
        Ord::min(self, other)
    }
}

#[inline(always)]
fn map<T: Copy, U>(x: &[T], y: &mut [U], f: impl Fn(T) -> U) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x));
}

/// An operand: an element for each result, or one for all, which then needs no memory to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg<'a, T> {
    Each(&'a [T]),
    One(T),
}

#[inline(always)]
fn zip<T: Copy, U: Copy>(a: Arg<T>, b: Arg<T>, y: &mut [U], f: impl Fn(T, T) -> U) {
    match (a, b) {
        (Arg::Each(a), Arg::Each(b)) => {
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = f(a, b);
            }
        }
        (Arg::Each(a), Arg::One(b)) => map(a, y, |a| f(a, b)),
        (Arg::One(a), Arg::Each(b)) => map(b, y, |b| f(a, b)),
        (Arg::One(a), Arg::One(b)) => y.fill(f(a, b)),
    }
}

/// As [`zip`] for a function that is long: called by its name, so that it is inlined into each loop with the loop's
/// instruction set. Handed over as a value it would become a call, and its multiply-adds calls of a library.
macro_rules! zip_long {
    ($a:expr, $b:expr, $y:expr, $f:path) => {
        match ($a, $b) {
            (Arg::Each(a), Arg::Each(b)) => {
                for ((y, &a), &b) in $y.iter_mut().zip(a).zip(b) {
                    *y = $f(a, b);
                }
            }
            (Arg::Each(a), Arg::One(b)) => {
                for (y, &a) in $y.iter_mut().zip(a) {
                    *y = $f(a, b);
                }
            }
            (Arg::One(a), Arg::Each(b)) => {
                for (y, &b) in $y.iter_mut().zip(b) {
                    *y = $f(a, b);
                }
            }
            (Arg::One(a), Arg::One(b)) => $y.fill($f(a, b)),
        }
    };
}

/// y = f(a), for integers.
pub(super) fn unary_i64(isa: Isa, f: UnaryFn, x: &[i64], y: &mut [i64]) {
    dispatch(isa, UnaryI64 { f, x, y });
}

struct UnaryI64<'a> {
    f: UnaryFn,
    x: &'a [i64],
    y: &'a mut [i64],
}

impl Job for UnaryI64<'_> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        match self.f {
            UnaryFn::Neg => map(self.x, self.y, i64::wrapping_neg),
            UnaryFn::Abs => map(self.x, self.y, i64::wrapping_abs),
            // The roundings; nothing else passes `Kernel::new`.
            _ => self.y.copy_from_slice(self.x),
        }
    }
}

/// y = f(a, b), elementwise, for one register class.
pub(super) fn binary<'a, T>(isa: Isa, f: BinaryFn, a: Arg<'a, T>, b: Arg<'a, T>, y: &'a mut [T])
where
    Binary<'a, T, T>: Job,
{
    dispatch(isa, Binary { f, a, b, y });
}

/// y = a compared with b, as 0 or 1.
pub(super) fn compare<T: Lane>(isa: Isa, f: BinaryFn, a: Arg<T>, b: Arg<T>, y: &mut [i64]) {
    dispatch(isa, Compare(Binary { f, a, b, y }));
}

pub(super) struct Binary<'a, T, U> {
    f: BinaryFn,
    a: Arg<'a, T>,
    b: Arg<'a, T>,
    y: &'a mut [U],
}

struct Compare<'a, T>(Binary<'a, T, i64>);

impl<T: Lane> Job for Compare<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Binary { f, a, b, y } = self.0;
        match f {
            BinaryFn::Eq => zip(a, b, y, |a, b| i64::from(a == b)),
            BinaryFn::Ne => zip(a, b, y, |a, b| i64::from(a != b)),
            BinaryFn::Lt => zip(a, b, y, |a, b| i64::from(a < b)),
            BinaryFn::Le => zip(a, b, y, |a, b| i64::from(a <= b)),
            _ => unreachable!("not a comparison: {f:?}"),
        }
    }
}

impl Job for Binary<'_, f32, f32> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Binary { f, a, b, y } = self;
        match f {
            BinaryFn::Add => zip(a, b, y, |a, b| a + b),
            BinaryFn::Sub => zip(a, b, y, |a, b| a - b),
            BinaryFn::Mul => zip(a, b, y, |a, b| a * b),
            BinaryFn::Div => zip(a, b, y, |a, b| a / b),
            BinaryFn::DivTrunc => zip(a, b, y, |a, b| (a / b).trunc()),
            BinaryFn::DivFloor => zip(a, b, y, div_floor_f32),
            BinaryFn::RemTrunc => zip(a, b, y, |a, b| a % b),
            BinaryFn::RemFloor => zip(a, b, y, rem_floor_f32),
            BinaryFn::Pow => zip_long!(a, b, y, math::f32::pow::<A>),
            BinaryFn::Max => zip(a, b, y, Lane::max),
            BinaryFn::Min => zip(a, b, y, Lane::min),
            _ => unreachable!("not a function of floats: {f:?}"),
        }
    }
}

impl Job for Binary<'_, f64, f64> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Binary { f, a, b, y } = self;
        match f {
            BinaryFn::Add => zip(a, b, y, |a, b| a + b),
            BinaryFn::Sub => zip(a, b, y, |a, b| a - b),
            BinaryFn::Mul => zip(a, b, y, |a, b| a * b),
            BinaryFn::Div => zip(a, b, y, |a, b| a / b),
            BinaryFn::DivTrunc => zip(a, b, y, |a, b| (a / b).trunc()),
            BinaryFn::DivFloor => zip(a, b, y, div_floor_f64),
            BinaryFn::RemTrunc => zip(a, b, y, |a, b| a % b),
            BinaryFn::RemFloor => zip(a, b, y, rem_floor_f64),
            BinaryFn::Pow => zip_long!(a, b, y, math::f64::pow::<A>),
            BinaryFn::Max => zip(a, b, y, Lane::max),
            BinaryFn::Min => zip(a, b, y, Lane::min),
            _ => unreachable!("not a function of floats: {f:?}"),
        }
    }
}

/// The remainder with the sign of `b`, as Python's `%`.
#[inline(always)]
fn rem_floor_f64(a: f64, b: f64) -> f64 {
    let rem = a % b;
    if rem != 0.0 && (rem < 0.0) != (b < 0.0) { rem + b } else { rem }
}

/// The quotient rounded down, from the exact remainder, as Python's `//`: ⌊a / b⌋ of the rounded
/// quotient would be one too high where the quotient rounds up to a whole number.
#[inline(always)]
fn div_floor_f64(a: f64, b: f64) -> f64 {
    if b == 0.0 {
        return a / b;
    }
    let rem = a % b;
    let mut quotient = (a - rem) / b;
    if rem != 0.0 && (rem < 0.0) != (b < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return 0.0f64.copysign(a / b);
    }
    let floor = quotient.floor();
    if quotient - floor > 0.5 { floor + 1.0 } else { floor }
}

/// See [`rem_floor_f64`].
#[inline(always)]
fn rem_floor_f32(a: f32, b: f32) -> f32 {
    let rem = a % b;
    if rem != 0.0 && (rem < 0.0) != (b < 0.0) { rem + b } else { rem }
}

/// See [`div_floor_f64`].
#[inline(always)]
fn div_floor_f32(a: f32, b: f32) -> f32 {
    if b == 0.0 {
        return a / b;
    }
    let rem = a % b;
    let mut quotient = (a - rem) / b;
    if rem != 0.0 && (rem < 0.0) != (b < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return 0.0f32.copysign(a / b);
    }
    let floor = quotient.floor();
    if quotient - floor > 0.5 { floor + 1.0 } else { floor }
}

impl Job for Binary<'_, i64, i64> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Binary { f, a, b, y } = self;
        match f {
            BinaryFn::Add => zip(a, b, y, i64::wrapping_add),
            BinaryFn::Sub => zip(a, b, y, i64::wrapping_sub),
            BinaryFn::Mul => zip(a, b, y, i64::wrapping_mul),
            // Zero divisors are faults that the caller has found before.
            BinaryFn::DivTrunc => zip(a, b, y, i64::wrapping_div),
            BinaryFn::DivFloor => zip(a, b, y, |a, b| {
                let quotient = a.wrapping_div(b);
                let rem = a.wrapping_rem(b);
                if rem != 0 && (rem < 0) != (b < 0) { quotient - 1 } else { quotient }
            }),
            BinaryFn::RemTrunc => zip(a, b, y, i64::wrapping_rem),
            BinaryFn::RemFloor => zip(a, b, y, |a, b| {
                let rem = a.wrapping_rem(b);
                if rem != 0 && (rem < 0) != (b < 0) { rem + b } else { rem }
            }),
            BinaryFn::Pow => zip(a, b, y, pow_i64),
            BinaryFn::Max => zip(a, b, y, Lane::max),
            BinaryFn::Min => zip(a, b, y, Lane::min),
            BinaryFn::And => zip(a, b, y, |a, b| a & b),
            BinaryFn::Or => zip(a, b, y, |a, b| a | b),
            BinaryFn::Xor => zip(a, b, y, |a, b| a ^ b),
            BinaryFn::Shl => zip(a, b, y, |a, b| if (0..64).contains(&b) { a << (b & 63) } else { 0 }),
            BinaryFn::Shr => zip(a, b, y, |a, b| a >> if (0..64).contains(&b) { b } else { 63 }),
            _ => unreachable!("not a function of integers: {f:?}"),
        }
    }
}

/// aᵇ by squaring, wrapping; 1/aⁿ without its fraction for a negative power, 0 for a = 0.
#[inline(always)]
fn pow_i64(a: i64, b: i64) -> i64 {
    if b < 0 {
        return match a {
            1 => 1,
            -1 => 1 - 2 * (b & 1),
            _ => 0,
        };
    }
    let (mut base, mut power, mut result) = (a, b, 1i64);
    while power > 0 {
        if power & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        power >>= 1;
    }
    result
}

/// Whether any of them is 0.
pub(super) fn has_zero(x: Arg<i64>) -> bool {
    match x {
        Arg::Each(x) => x.contains(&0),
        Arg::One(x) => x == 0,
    }
}

/// y = a where c is not 0, else b.
pub(super) fn select<T: Copy>(isa: Isa, c: &[i64], a: Arg<T>, b: Arg<T>, y: &mut [T]) {
    dispatch(isa, Select { c, a, b, y });
}

struct Select<'a, T> {
    c: &'a [i64],
    a: Arg<'a, T>,
    b: Arg<'a, T>,
    y: &'a mut [T],
}

impl<T: Copy> Job for Select<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Select { c, a, b, y } = self;
        let pairs = y.iter_mut().zip(c);
        // A choice of values: else the compiler makes it one of addresses, and loads one by one.
        let choose = |c: i64, a: T, b: T| std::hint::select_unpredictable(c != 0, a, b);
        match (a, b) {
            (Arg::Each(a), Arg::Each(b)) => {
                pairs.zip(a).zip(b).for_each(|(((y, &c), &a), &b)| *y = choose(c, a, b));
            }
            (Arg::Each(a), Arg::One(b)) => pairs.zip(a).for_each(|((y, &c), &a)| *y = choose(c, a, b)),
            (Arg::One(a), Arg::Each(b)) => pairs.zip(b).for_each(|((y, &c), &b)| *y = choose(c, a, b)),
            (Arg::One(a), Arg::One(b)) => pairs.for_each(|(y, &c)| *y = choose(c, a, b)),
        }
    }
}

/// y = f(x), between any two classes: for casts.
pub(super) fn convert<T: Copy, U>(isa: Isa, x: &[T], y: &mut [U], f: impl Fn(T) -> U) {
    dispatch(isa, Convert { x, y, f });
}

struct Convert<'a, T, U, F> {
    x: &'a [T],
    y: &'a mut [U],
    f: F,
}

impl<T: Copy, U, F: Fn(T) -> U> Job for Convert<'_, T, U, F> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        map(self.x, self.y, self.f);
    }
}

/// Rounds results held as f32 to the type they have.
pub(super) fn round(isa: Isa, dtype: DType, x: &mut [f32]) {
    if matches!(dtype, DType::F16 | DType::BF16) {
        dispatch(isa, Round { dtype, x });
    }
}

struct Round<'a> {
    dtype: DType,
    x: &'a mut [f32],
}

impl Job for Round<'_> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        match self.dtype {
            DType::F16 => self.x.iter_mut().for_each(|x| *x = round_f16(*x)),
            _ => self.x.iter_mut().for_each(|x| *x = round_bf16(*x)),
        }
    }
}

/// Wraps results held as i64 to the type they have; to bool as x ≠ 0.
pub(super) fn wrap(isa: Isa, dtype: DType, x: &mut [i64]) {
    if dtype != DType::I64 {
        dispatch(isa, Wrap { dtype, x });
    }
}

struct Wrap<'a> {
    dtype: DType,
    x: &'a mut [i64],
}

impl Job for Wrap<'_> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        match self.dtype {
            DType::Bool => self.x.iter_mut().for_each(|x| *x = i64::from(*x != 0)),
            DType::U8 => self.x.iter_mut().for_each(|x| *x &= 0xff),
            _ => self.x.iter_mut().for_each(|x| *x = i64::from(*x as i32)),
        }
    }
}

/// y = the random word for each index.
pub(super) fn random(isa: Isa, index: &[i64], seed: u64, counter: u64, y: &mut [i64]) {
    dispatch(isa, Random { index, seed, counter, y });
}

struct Random<'a> {
    index: &'a [i64],
    seed: u64,
    counter: u64,
    y: &'a mut [i64],
}

impl Job for Random<'_> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Random { index, seed, counter, y } = self;
        map(index, y, |i| philox::word(i, seed, counter));
    }
}
