//! Combining the elements of a tile into fewer: the inner loops of reductions.

use super::instr::ReduceFn;
use super::ops::Lane;
use crate::dtype::DType;
use crate::isa::{Arch, Isa, Job, dispatch};
use crate::real::join;

/// A register class that can be reduced.
pub(super) trait Reduced: Lane {
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// What combining nothing gives, for elements of `dtype`.
    fn identity(f: ReduceFn, dtype: DType) -> Self;
}

impl Reduced for f32 {
    #[inline(always)]
    fn add(self, other: f32) -> f32 {
        self + other
    }
    #[inline(always)]
    fn mul(self, other: f32) -> f32 {
        self * other
    }
    fn identity(f: ReduceFn, _: DType) -> f32 {
        match f {
            ReduceFn::Sum => 0.0,
            ReduceFn::Prod => 1.0,
            ReduceFn::Max => f32::NEG_INFINITY,
            ReduceFn::Min => f32::INFINITY,
        }
    }
}

impl Reduced for f64 {
    #[inline(always)]
    fn add(self, other: f64) -> f64 {
        self + other
    }
    #[inline(always)]
    fn mul(self, other: f64) -> f64 {
        self * other
    }
    fn identity(f: ReduceFn, dtype: DType) -> f64 {
        f32::identity(f, dtype).into()
    }
}

impl Reduced for i64 {
    #[inline(always)]
    fn add(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn mul(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
    fn identity(f: ReduceFn, dtype: DType) -> i64 {
        let (low, high) = match dtype {
            DType::Bool => (0, 1),
            DType::U8 => (0, 255),
            DType::I32 => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN, i64::MAX),
        };
        match f {
            ReduceFn::Sum => 0,
            ReduceFn::Prod => 1,
            ReduceFn::Max => low,
            ReduceFn::Min => high,
        }
    }
}

/// Two elements into one.
#[inline(always)]
pub(super) fn combine<T: Reduced>(f: ReduceFn, a: T, b: T) -> T {
    match f {
        ReduceFn::Sum => a.add(b),
        ReduceFn::Prod => a.mul(b),
        ReduceFn::Max => a.max(b),
        ReduceFn::Min => a.min(b),
    }
}

/// `out[i]` = row i of `x` combined; rows of `x.len() / out.len()` elements, at least one.
pub(super) fn fold_rows<T: Reduced>(isa: Isa, f: ReduceFn, x: &[T], out: &mut [T]) {
    dispatch(isa, FoldRows { f, x, out });
}

struct FoldRows<'a, T> {
    f: ReduceFn,
    x: &'a [T],
    out: &'a mut [T],
}

impl<T: Reduced> Job for FoldRows<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let FoldRows { f, x, out } = self;
        // A loop for each, so that each vectorises by itself.
        match f {
            ReduceFn::Sum => rows(x, out, T::add),
            ReduceFn::Prod => rows(x, out, T::mul),
            ReduceFn::Max => rows(x, out, T::max),
            ReduceFn::Min => rows(x, out, T::min),
        }
    }
}

#[inline(always)]
fn rows<T: Reduced>(x: &[T], out: &mut [T], f: impl Fn(T, T) -> T + Copy) {
    let len = x.len() / out.len();
    let rows = out.iter_mut().zip(x.chunks_exact(len));
    // The number of lanes depends on the length of a row alone, and so does the order of the sum.
    match len {
        64.. => rows.for_each(|(out, row)| *out = fold::<T, 64>(row, f)),
        16.. => rows.for_each(|(out, row)| *out = fold::<T, 16>(row, f)),
        _ => rows.for_each(|(out, row)| *out = fold::<T, 1>(row, f)),
    }
}

/// Lane l takes elements l, l + L, l + 2L, …; then the lanes are combined by halves.
#[inline(always)]
fn fold<T: Reduced, const L: usize>(row: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [row[0]; L];
    lanes.copy_from_slice(&row[..L]);
    let mut chunks = row[L..].chunks_exact(L);
    for chunk in &mut chunks {
        for l in 0..L {
            lanes[l] = f(lanes[l], chunk[l]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane = f(*lane, x);
    }
    join(lanes, f)
}

/// `into[i]` = `into[i]` combined with `x[i]`, as far as `x` goes.
pub(super) fn accumulate<T: Reduced>(isa: Isa, f: ReduceFn, x: &[T], into: &mut [T]) {
    dispatch(isa, Accumulate { f, x, into });
}

struct Accumulate<'a, T> {
    f: ReduceFn,
    x: &'a [T],
    into: &'a mut [T],
}

impl<T: Reduced> Job for Accumulate<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Accumulate { f, x, into } = self;
        let pairs = into.iter_mut().zip(x);
        match f {
            ReduceFn::Sum => pairs.for_each(|(a, &b)| *a = a.add(b)),
            ReduceFn::Prod => pairs.for_each(|(a, &b)| *a = a.mul(b)),
            ReduceFn::Max => pairs.for_each(|(a, &b)| *a = T::max(*a, b)),
            ReduceFn::Min => pairs.for_each(|(a, &b)| *a = T::min(*a, b)),
        }
    }
}

/// Partial results, combined in pairs of equal weight: a sum of n of them has log n roundings, and its
/// order depends on n alone. Each is a row of `width` elements.
pub(super) struct Cascade<T> {
    width: usize,
    rows: Vec<T>,
    /// How many partial results have been put in. Each set bit is a row.
    count: usize,
}

impl<T: Reduced> Cascade<T> {
    pub(super) fn new(width: usize) -> Cascade<T> {
        Cascade { width, rows: Vec::new(), count: 0 }
    }

    /// Puts in one more partial result.
    pub(super) fn push(&mut self, isa: Isa, f: ReduceFn, row: &[T]) {
        self.rows.extend_from_slice(row);
        let mut count = self.count;
        while count & 1 == 1 {
            self.merge(isa, f);
            count >>= 1;
        }
        self.count += 1;
    }

    fn merge(&mut self, isa: Isa, f: ReduceFn) {
        let last = self.rows.len() - self.width;
        let (before, row) = self.rows.split_at_mut(last);
        let into = before.len() - self.width;
        accumulate(isa, f, row, &mut before[into..]);
        self.rows.truncate(last);
    }

    /// All of them combined; at least one was put in.
    pub(super) fn finish(&mut self, isa: Isa, f: ReduceFn) -> &[T] {
        while self.rows.len() > self.width {
            self.merge(isa, f);
        }
        self.count = 0;
        &self.rows
    }
}
