//! Between elements in memory and registers: types are converted and strides are walked.

use super::halves::{from_bf16, from_f16, to_bf16, to_f16};
use super::walk::{Axis, runs};
use crate::dtype::DType;
use crate::isa::{Arch, Isa, Job, dispatch};

/// Reads elements `start .. start + len` of an operand whose first element is at `from` into a register.
///
/// # Safety
/// Every element that `axes` reach must be valid to read, and `to` valid for `len` elements of the
/// register class of `dtype`, overlapping none of them.
pub(super) unsafe fn load(
    isa: Isa,
    dtype: DType,
    from: *const u8,
    axes: &[Axis],
    start: usize,
    len: usize,
    to: *mut u8,
) {
    dispatch(isa, Load { dtype, from, axes, start, len, to });
}

/// Writes a register to elements `start .. start + len` of an operand whose first element is at `to`.
///
/// # Safety
/// As for [`load`], with reading and writing exchanged.
pub(super) unsafe fn store(
    isa: Isa,
    dtype: DType,
    from: *const u8,
    to: *mut u8,
    axes: &[Axis],
    start: usize,
    len: usize,
) {
    dispatch(isa, Store { dtype, from, to, axes, start, len });
}

/// Writes `offset + Σ index · stride` for elements `start .. start + to.len()`.
pub(super) fn load_index(isa: Isa, offset: i64, axes: &[Axis], start: usize, to: &mut [i64]) {
    dispatch(isa, Index { offset, axes, start, to });
}

/// A piece of two dimensions of an operand: elements `offset + row · row_stride + column · column_stride`,
/// which are numbered row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) offset: isize,
    pub(super) row_stride: isize,
    pub(super) column_stride: isize,
}

impl Block {
    /// Calls `element(offset, number)` for each, along the shorter stride first: of a transposed operand
    /// every cache line is then used up before the next.
    #[inline(always)]
    fn elements(self, mut element: impl FnMut(isize, usize)) {
        let Block { rows, columns, offset, row_stride, column_stride } = self;
        if row_stride.unsigned_abs() < column_stride.unsigned_abs() {
            for column in 0..columns {
                let first = offset + column as isize * column_stride;
                (0..rows).for_each(|row| element(first + row as isize * row_stride, row * columns + column));
            }
        } else {
            for row in 0..rows {
                let first = offset + row as isize * row_stride;
                (0..columns)
                    .for_each(|column| element(first + column as isize * column_stride, row * columns + column));
            }
        }
    }
}

/// Reads a block into a register.
///
/// # Safety
/// As for [`load`]: all elements of the block must be valid to read, and `to` to write.
pub(super) unsafe fn load_block(isa: Isa, dtype: DType, from: *const u8, block: Block, to: *mut u8) {
    dispatch(isa, LoadBlock { dtype, from, block, to });
}

/// Writes a register to a block.
///
/// # Safety
/// As for [`load_block`], with reading and writing exchanged.
pub(super) unsafe fn store_block(isa: Isa, dtype: DType, from: *const u8, to: *mut u8, block: Block) {
    dispatch(isa, StoreBlock { dtype, from, to, block });
}

/// Writes the index itself, plus `offset`, for each element of a block.
pub(super) fn load_index_block(offset: i64, block: Block, to: &mut [i64]) {
    block.elements(|at, i| to[i] = offset.wrapping_add(at as i64));
}

struct LoadBlock {
    dtype: DType,
    from: *const u8,
    block: Block,
    to: *mut u8,
}

impl LoadBlock {
    #[inline(always)]
    fn elements<S: Copy, D: Copy>(self, convert: impl Fn(S) -> D) {
        let (from, to) = (self.from.cast::<S>(), self.to.cast::<D>());
        // SAFETY: the caller of `load_block` promises that all elements may be read and written.
        self.block.elements(|at, i| unsafe { *to.wrapping_add(i) = convert(*from.wrapping_offset(at)) });
    }
}

impl Job for LoadBlock {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        match self.dtype {
            DType::Bool | DType::U8 => self.elements(|x: u8| i64::from(x)),
            DType::I32 => self.elements(|x: i32| i64::from(x)),
            DType::I64 => self.elements(|x: i64| x),
            DType::F16 => self.elements(from_f16),
            DType::BF16 => self.elements(from_bf16),
            DType::F32 => self.elements(|x: f32| x),
            DType::F64 => self.elements(|x: f64| x),
        }
    }
}

struct StoreBlock {
    dtype: DType,
    from: *const u8,
    to: *mut u8,
    block: Block,
}

impl StoreBlock {
    #[inline(always)]
    fn elements<S: Copy, D: Copy>(self, convert: impl Fn(S) -> D) {
        let (from, to) = (self.from.cast::<S>(), self.to.cast::<D>());
        // SAFETY: the caller of `store_block` promises that all elements may be read and written.
        self.block.elements(|at, i| unsafe { *to.wrapping_offset(at) = convert(*from.wrapping_add(i)) });
    }
}

impl Job for StoreBlock {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        match self.dtype {
            DType::Bool | DType::U8 => self.elements(|x: i64| x as u8),
            DType::I32 => self.elements(|x: i64| x as i32),
            DType::I64 => self.elements(|x: i64| x),
            DType::F16 => self.elements(to_f16),
            DType::BF16 => self.elements(to_bf16),
            DType::F32 => self.elements(|x: f32| x),
            DType::F64 => self.elements(|x: f64| x),
        }
    }
}

struct Load<'a> {
    dtype: DType,
    from: *const u8,
    axes: &'a [Axis],
    start: usize,
    len: usize,
    to: *mut u8,
}

impl Load<'_> {
    #[inline(always)]
    fn elements<S: Copy, D: Copy>(self, convert: impl Fn(S) -> D) {
        let Load { from, axes, start, len, to, .. } = self;
        // SAFETY: the caller of `load` promises `len` elements there that nothing else refers to.
        let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<D>(), len) };
        runs(axes, start, len, |offset, stride, at, n| {
            let to = &mut to[at..at + n];
            let from = from.cast::<S>().wrapping_offset(offset);
            match stride {
                1 => {
                    // SAFETY: the caller of `load` promises that all reached elements may be read.
                    let from = unsafe { std::slice::from_raw_parts(from, n) };
                    to.iter_mut().zip(from).for_each(|(d, &s)| *d = convert(s));
                }
                // SAFETY: as above; a run has at least one element.
                0 => to.fill(convert(unsafe { *from })),
                _ => {
                    for (i, d) in to.iter_mut().enumerate() {
                        // SAFETY: as above.
                        *d = convert(unsafe { *from.wrapping_offset(i as isize * stride) });
                    }
                }
            }
        });
    }
}

impl Job for Load<'_> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        match self.dtype {
            DType::Bool | DType::U8 => self.elements(|x: u8| i64::from(x)),
            DType::I32 => self.elements(|x: i32| i64::from(x)),
            DType::I64 => self.elements(|x: i64| x),
            DType::F16 => self.elements(from_f16),
            DType::BF16 => self.elements(from_bf16),
            DType::F32 => self.elements(|x: f32| x),
            DType::F64 => self.elements(|x: f64| x),
        }
    }
}

struct Store<'a> {
    dtype: DType,
    from: *const u8,
    to: *mut u8,
    axes: &'a [Axis],
    start: usize,
    len: usize,
}

impl Store<'_> {
    #[inline(always)]
    fn elements<S: Copy, D: Copy>(self, convert: impl Fn(S) -> D) {
        let Store { from, to, axes, start, len, .. } = self;
        // SAFETY: the caller of `store` promises `len` elements there that nothing writes meanwhile.
        let from = unsafe { std::slice::from_raw_parts(from.cast::<S>(), len) };
        runs(axes, start, len, |offset, stride, at, n| {
            let from = &from[at..at + n];
            let to = to.cast::<D>().wrapping_offset(offset);
            if stride == 1 {
                // SAFETY: the caller of `store` promises that all reached elements may be written.
                let to = unsafe { std::slice::from_raw_parts_mut(to, n) };
                to.iter_mut().zip(from).for_each(|(d, &s)| *d = convert(s));
            } else {
                for (i, &s) in from.iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { *to.wrapping_offset(i as isize * stride) = convert(s) };
                }
            }
        });
    }
}

impl Job for Store<'_> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        match self.dtype {
            DType::Bool | DType::U8 => self.elements(|x: i64| x as u8),
            DType::I32 => self.elements(|x: i64| x as i32),
            DType::I64 => self.elements(|x: i64| x),
            DType::F16 => self.elements(to_f16),
            DType::BF16 => self.elements(to_bf16),
            DType::F32 => self.elements(|x: f32| x),
            DType::F64 => self.elements(|x: f64| x),
        }
    }
}

struct Index<'a> {
    offset: i64,
    axes: &'a [Axis],
    start: usize,
    to: &'a mut [i64],
}

impl Job for Index<'_> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Index { offset, axes, start, to } = self;
        runs(axes, start, to.len(), |first, stride, at, n| {
            let first = offset.wrapping_add(first as i64);
            for (i, d) in to[at..at + n].iter_mut().enumerate() {
                *d = first.wrapping_add((i as i64).wrapping_mul(stride as i64));
            }
        });
    }
}
