//! Gather and scatter along one axis.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Cpu;
use crate::arithmetic::{Accumulator, Arithmetic, Typed, by_dtype, same_size};
use crate::dtype::{DType, Element};
use crate::floats::{Floats, FloatsMut};
use crate::isa::prefetch;
use crate::parts::{Shared, each, rows_per_task};
use crate::slice::{Slice, SliceMut};

/// Elements that one task moves.
const TASK: usize = 32 << 10;
/// A scatter is not cut into narrower rows than this: tasks would fight for cache lines.
const COLUMNS: usize = 64;

/// An index that is outside of the axis that it selects from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexFault {
    /// Where it stands in the index, counted in row-major order; the first of several.
    pub position: usize,
    /// The index.
    pub value: i64,
    /// The size of the axis: valid are `0 .. size`.
    pub size: usize,
}

impl std::fmt::Display for IndexFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "index {} at position {} is outside of 0..{}", self.value, self.position, self.size)
    }
}

impl std::error::Error for IndexFault {}

/// How [`scatter`] combines an update with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScatterFn {
    /// The last update wins.
    Set,
    /// Sum (logical or for bool).
    Add,
    /// Product (logical and for bool).
    Mul,
    /// The larger; NaN if either is.
    Max,
    /// The smaller; NaN if either is.
    Min,
}

/// One dimension of the index: its size and, per element, the strides of the dense side (`dense`: the
/// array that has the index's shape), of the indexed side (`indexed`: 0 along the axis) and of the index.
#[derive(Clone, Copy, Debug)]
struct Dim {
    size: usize,
    dense: usize,
    indexed: usize,
    index: isize,
    axis: bool,
}

/// The iteration space of a gather or scatter: dimensions of size one dropped, neighbours merged.
#[derive(Debug)]
struct Space<'a> {
    dims: Vec<Dim>,
    /// Number of index elements.
    len: usize,
    /// Size of the axis that is indexed, and its stride.
    size: usize,
    step: usize,
    index: &'a [i64],
    offset: isize,
}

/// A piece of an innermost row: where it starts on each side.
#[derive(Clone, Copy, Debug)]
struct Row {
    len: usize,
    dense: usize,
    indexed: usize,
    index: isize,
}

impl<'a> Space<'a> {
    fn new(
        shape: &[usize],
        axis: usize,
        indexed_shape: &[usize],
        index: Slice<'a>,
        offset: usize,
        strides: &[isize],
    ) -> Space<'a> {
        assert!(axis < shape.len() && shape.len() == indexed_shape.len() && shape.len() == strides.len());
        let mut dims: Vec<Dim> = Vec::with_capacity(shape.len());
        let (mut dense, mut indexed, mut step) = (1, 1, 0);
        for d in (0..shape.len()).rev() {
            assert!(d == axis || shape[d] <= indexed_shape[d], "dimension {d}: {shape:?} of {indexed_shape:?}");
            if d == axis {
                step = indexed;
            }
            let stride = if d == axis { 0 } else { indexed };
            let dim = Dim { size: shape[d], dense, indexed: stride, index: strides[d], axis: d == axis };
            dense *= shape[d];
            indexed *= indexed_shape[d];
            if dim.size == 1 {
                continue;
            }
            // `inner` is the dimension to the right of this one: built from the right, reversed below.
            match dims.last_mut() {
                Some(inner)
                    if !inner.axis
                        && !dim.axis
                        && dim.indexed == inner.indexed * inner.size
                        && dim.index == inner.index * inner.size as isize =>
                {
                    inner.size *= dim.size;
                }
                _ => dims.push(dim),
            }
        }
        if dims.is_empty() {
            dims.push(Dim { size: 1, dense: 1, indexed: 0, index: 0, axis: true });
        }
        dims.reverse();
        let len = shape.iter().product();
        Space { dims, len, size: indexed_shape[axis], step, index: index.get(), offset: offset as isize }
    }

    /// Index element at `at`, counted from the start of the index's buffer. Panics out of bounds.
    #[inline(always)]
    fn value(&self, at: isize) -> i64 {
        self.index[at as usize]
    }

    /// Calls `row` for the pieces of innermost rows that make up the elements `start .. end` of the space,
    /// in order, until it returns false.
    fn rows(&self, start: usize, end: usize, mut row: impl FnMut(Row) -> bool) {
        let (last, outer) = self.dims.split_last().expect("never empty");
        let mut at = vec![0usize; outer.len()];
        let mut rest = start / last.size.max(1);
        for (coordinate, dim) in at.iter_mut().zip(outer).rev() {
            *coordinate = rest % dim.size;
            rest /= dim.size;
        }
        let (mut flat, mut column) = (start, start % last.size.max(1));
        while flat < end {
            let mut r = Row { len: (last.size - column).min(end - flat), dense: 0, indexed: 0, index: self.offset };
            for (&c, dim) in at.iter().zip(outer).chain(std::iter::once((&column, last))) {
                r.dense += c * dim.dense;
                r.indexed += c * dim.indexed;
                r.index += c as isize * dim.index;
            }
            if !row(r) {
                return;
            }
            flat += r.len;
            column = 0;
            for (coordinate, dim) in at.iter_mut().zip(outer).rev() {
                *coordinate += 1;
                if *coordinate < dim.size {
                    break;
                }
                *coordinate = 0;
            }
        }
    }

    fn last(&self) -> Dim {
        *self.dims.last().expect("never empty")
    }

    /// The fault at the lowest position that tasks have put into `first`, if any.
    fn fault(&self, first: AtomicUsize) -> Result<(), IndexFault> {
        let position = first.into_inner();
        if position == usize::MAX {
            return Ok(());
        }
        let mut value = 0;
        self.rows(position, position + 1, |row| {
            value = self.value(row.index);
            false
        });
        Err(IndexFault { position, value, size: self.size })
    }

    /// Checks every index.
    fn check(&self, cpu: &Cpu) -> Result<(), IndexFault> {
        let first = AtomicUsize::new(usize::MAX);
        let last = self.last();
        let good = |at: isize| (self.value(at) as u64) < self.size as u64;
        cpu.pool.run(self.len.div_ceil(TASK), &|task| {
            let start = task * TASK;
            let mut flat = start;
            self.rows(start, (start + TASK).min(self.len), |row| {
                let distinct = if last.index == 0 { 1 } else { row.len };
                let bad = (0..distinct).find(|&j| !good(row.index + j as isize * last.index));
                if let Some(j) = bad {
                    first.fetch_min(flat + j, Ordering::Relaxed);
                }
                flat += row.len;
                bad.is_none()
            });
        });
        self.fault(first)
    }
}

/// `out[i0 .. ia .. in] = src[i0 .. index[i0 .. ia .. in] .. in]`, as `torch.gather`, for every type.
///
/// `out` is contiguous of `shape`, `src` contiguous of `src_shape`, which is at least as large as `shape`
/// in every dimension but `axis`. The index (i64) is a view of `shape` with `offset` and `strides` in
/// elements; where its stride is 0 along trailing dimensions, whole rows are copied (an embedding).
///
/// # Errors
/// The first index outside of `0 .. src_shape[axis]` (negative ones too); `out` then holds any numbers.
///
/// # Panics
/// When shapes, types or lengths do not fit each other.
pub fn gather(
    cpu: &Cpu,
    shape: &[usize],
    axis: usize,
    src: Slice,
    src_shape: &[usize],
    index: Slice,
    offset: usize,
    strides: &[isize],
    mut out: SliceMut,
) -> Result<(), IndexFault> {
    assert_eq!(src.dtype(), out.dtype());
    assert_eq!(src.len(), src_shape.iter().product::<usize>());
    assert_eq!(out.len(), shape.iter().product::<usize>());
    let space = Space::new(shape, axis, src_shape, index, offset, strides);
    if space.len == 0 {
        return Ok(());
    }
    let moved = same_size(src.dtype());
    let (src, out) = (src.with_dtype(moved), SliceMut::new(moved, out.bytes()));
    match moved.size() {
        1 => gather_elements::<u8>(cpu, &space, src, out),
        2 => gather_elements::<half::f16>(cpu, &space, src, out),
        4 => gather_elements::<i32>(cpu, &space, src, out),
        _ => gather_elements::<i64>(cpu, &space, src, out),
    }
}

fn gather_elements<T: Element>(cpu: &Cpu, space: &Space, src: Slice, mut out: SliceMut) -> Result<(), IndexFault> {
    let src = src.get::<T>();
    let first = AtomicUsize::new(usize::MAX);
    if let Some(table) = Table::of(space) {
        let rows = rows_per_task(table.width, TASK);
        each(&cpu.pool, table.count.div_ceil(rows), (out.get::<T>(), rows * table.width), |task, out| {
            if let Some(row) = table.copy(task * rows, src, out) {
                first.fetch_min(row * table.width, Ordering::Relaxed);
            }
        });
        return space.fault(first);
    }
    each(&cpu.pool, space.len.div_ceil(TASK), (out.get::<T>(), TASK), |task, out| {
        let start = task * TASK;
        let mut done = 0;
        space.rows(start, start + out.len(), |row| {
            let bad = gather_row(space, row, src, &mut out[done..done + row.len]);
            if let Some(j) = bad {
                first.fetch_min(start + done + j, Ordering::Relaxed);
            }
            done += row.len;
            bad.is_none()
        });
    });
    space.fault(first)
}

/// Whole rows of a matrix at an index of one dimension: an embedding.
struct Table<'a> {
    index: &'a [i64],
    offset: isize,
    stride: isize,
    /// Rows that are read.
    count: usize,
    /// Rows that there are.
    size: usize,
    width: usize,
}

impl<'a> Table<'a> {
    /// Bytes that are fetched ahead: rows are far apart, and the processor does not guess where.
    const AHEAD: usize = 2048;

    fn of(space: &Space<'a>) -> Option<Table<'a>> {
        let [rows, row] = space.dims[..] else { return None };
        let whole = rows.axis && row.index == 0 && row.indexed == 1 && space.step == row.size;
        whole.then_some(Table {
            index: space.index,
            offset: space.offset,
            stride: rows.index,
            count: rows.size,
            size: space.size,
            width: row.size,
        })
    }

    /// Where row `i` of the result comes from, unless the index is out of range.
    #[inline(always)]
    fn start(&self, i: usize) -> Option<usize> {
        let value = self.index[(self.offset + i as isize * self.stride) as usize];
        ((value as u64) < self.size as u64).then(|| value as usize * self.width)
    }

    /// Copies the rows from `first` on that `out` has room for; returns the first whose index is bad.
    fn copy<T: Element>(&self, first: usize, src: &[T], out: &mut [T]) -> Option<usize> {
        let bytes = self.width * size_of::<T>();
        let (ahead, end) = (Self::AHEAD.div_ceil(bytes.max(1)), first + out.len() / self.width);
        for (i, out) in out.chunks_exact_mut(self.width).enumerate() {
            if let Some(start) = (i + ahead < end - first).then(|| self.start(first + i + ahead)).flatten() {
                let row = src[start..].as_ptr();
                (0..bytes.min(Self::AHEAD)).step_by(64).for_each(|at| prefetch(row.wrapping_byte_add(at)));
            }
            let Some(start) = self.start(first + i) else { return Some(first + i) };
            out.copy_from_slice(&src[start..start + self.width]);
        }
        None
    }
}

/// One row; returns where the first bad index is.
fn gather_row<T: Element>(space: &Space, row: Row, src: &[T], out: &mut [T]) -> Option<usize> {
    let last = space.last();
    if last.index == 0 {
        let value = space.value(row.index);
        if value as u64 >= space.size as u64 {
            return Some(0);
        }
        let start = row.indexed + value as usize * space.step;
        if last.axis {
            out.fill(src[start]);
            return None;
        }
        if last.indexed == 1 {
            out.copy_from_slice(&src[start..start + row.len]);
            return None;
        }
    }
    for (j, out) in out.iter_mut().enumerate() {
        let value = space.value(row.index + j as isize * last.index);
        if value as u64 >= space.size as u64 {
            return Some(j);
        }
        *out = src[row.indexed + j * last.indexed + value as usize * space.step];
    }
    None
}

/// Combines `updates` with the base that `out` holds: `out[i0 .. index[i..] .. in] f= updates[i0 .. ia .. in]`,
/// in the row-major order of the updates, as `torch.scatter` and `scatter_reduce` with the base included.
///
/// `updates` is contiguous of `shape`, `out` contiguous of `base_shape`, which is at least as large as
/// `shape` in every dimension but `axis`. The index is as in [`gather`]. f16 and bf16 are combined in f32
/// and rounded once.
///
/// # Errors
/// The first index outside of `0 .. base_shape[axis]`; `out` is then unchanged.
///
/// # Panics
/// When shapes, types or lengths do not fit each other.
pub fn scatter(
    cpu: &Cpu,
    f: ScatterFn,
    shape: &[usize],
    axis: usize,
    updates: Slice,
    index: Slice,
    offset: usize,
    strides: &[isize],
    mut out: SliceMut,
    base_shape: &[usize],
) -> Result<(), IndexFault> {
    assert_eq!(updates.dtype(), out.dtype());
    assert_eq!(updates.len(), shape.iter().product::<usize>());
    assert_eq!(out.len(), base_shape.iter().product::<usize>());
    let space = Space::new(shape, axis, base_shape, index, offset, strides);
    if space.len == 0 {
        return Ok(());
    }
    space.check(cpu)?;
    let dtype = out.dtype();
    if f == ScatterFn::Set {
        let moved = same_size(dtype);
        let (updates, out) = (updates.with_dtype(moved), SliceMut::new(moved, out.bytes()));
        match moved.size() {
            1 => scatter_elements::<u8>(cpu, &space, updates, out, |_, u| u),
            2 => scatter_elements::<half::f16>(cpu, &space, updates, out, |_, u| u),
            4 => scatter_elements::<i32>(cpu, &space, updates, out, |_, u| u),
            _ => scatter_elements::<i64>(cpu, &space, updates, out, |_, u| u),
        }
        return Ok(());
    }
    let f = match (f, dtype) {
        (ScatterFn::Add, DType::Bool) => ScatterFn::Max,
        (ScatterFn::Mul, DType::Bool) => ScatterFn::Min,
        _ => f,
    };
    by_dtype(dtype, Combine { cpu, space: &space, f, updates, out });
    Ok(())
}

struct Combine<'a> {
    cpu: &'a Cpu,
    space: &'a Space<'a>,
    f: ScatterFn,
    updates: Slice<'a>,
    out: SliceMut<'a>,
}

impl Typed for Combine<'_> {
    type Out = ();

    fn run<T: Arithmetic>(self) {
        let Combine { cpu, space, f, updates, out } = self;
        if !matches!(out.dtype(), DType::F16 | DType::BF16) {
            return combine::<T>(cpu, f, space, updates, out);
        }
        let updates = Floats::new(cpu, updates);
        let mut base = FloatsMut::keeping(cpu, out);
        combine::<f32>(cpu, f, space, Slice::of(updates.get()), SliceMut::of(base.get()));
        base.finish(cpu);
    }
}

/// As [`scatter`], for a type that is its own accumulator and a checked index.
fn combine<T: Arithmetic>(cpu: &Cpu, f: ScatterFn, space: &Space, updates: Slice, out: SliceMut) {
    match f {
        ScatterFn::Set => scatter_elements::<T>(cpu, space, updates, out, |_, u| u),
        ScatterFn::Add => scatter_elements::<T>(cpu, space, updates, out, |a, u| T::narrow(a.widen().add(u.widen()))),
        ScatterFn::Mul => scatter_elements::<T>(cpu, space, updates, out, |a, u| T::narrow(a.widen().mul(u.widen()))),
        ScatterFn::Max => scatter_elements::<T>(cpu, space, updates, out, |a, u| T::narrow(a.widen().max(u.widen()))),
        ScatterFn::Min => scatter_elements::<T>(cpu, space, updates, out, |a, u| T::narrow(a.widen().min(u.widen()))),
    }
}

/// Cuts the space along its largest dimension that is not the axis: updates in different places along it
/// never meet, so the cut changes no order of combination.
fn scatter_elements<T: Element>(
    cpu: &Cpu,
    space: &Space,
    updates: Slice,
    mut out: SliceMut,
    f: impl Fn(T, T) -> T + Sync,
) {
    let updates = updates.get::<T>();
    let out = Shared::new(out.get::<T>());
    let cut = (0..space.dims.len()).filter(|&d| !space.dims[d].axis).max_by_key(|&d| space.dims[d].size);
    let Some(cut) = cut.filter(|_| space.len > TASK) else {
        return scatter_rows(space, updates, &out, &f);
    };
    let dim = space.dims[cut];
    let least = if cut + 1 == space.dims.len() { COLUMNS } else { 1 };
    let block = (TASK / (space.len / dim.size)).max(least);
    cpu.pool.run(dim.size.div_ceil(block), &|task| {
        let start = task * block;
        let mut dims = space.dims.clone();
        dims[cut].size = block.min(dim.size - start);
        let len = dims.iter().map(|d| d.size).product();
        let offset = space.offset + start as isize * dim.index;
        let part = Space { dims, len, offset, ..*space };
        // The part starts at `start` on the dense and the indexed side too.
        let shift = Row { len: 0, dense: start * dim.dense, indexed: start * dim.indexed, index: 0 };
        part.rows(0, part.len, |row| {
            let row = Row { dense: row.dense + shift.dense, indexed: row.indexed + shift.indexed, ..row };
            scatter_row(&part, row, updates, &out, &f);
            true
        });
    });
}

fn scatter_rows<T: Element>(space: &Space, updates: &[T], out: &Shared<T>, f: &impl Fn(T, T) -> T) {
    space.rows(0, space.len, |row| {
        scatter_row(space, row, updates, out, f);
        true
    });
}

fn scatter_row<T: Element>(space: &Space, row: Row, updates: &[T], out: &Shared<T>, f: &impl Fn(T, T) -> T) {
    let last = space.last();
    let updates = &updates[row.dense..row.dense + row.len];
    if last.index == 0 && last.indexed == 1 {
        let start = row.indexed + space.value(row.index) as usize * space.step;
        // SAFETY: tasks differ in a coordinate other than the axis, so their elements are disjoint.
        let out = unsafe { out.range(start, row.len) };
        out.iter_mut().zip(updates).for_each(|(out, &u)| *out = f(*out, u));
        return;
    }
    for (j, &u) in updates.iter().enumerate() {
        let value = space.value(row.index + j as isize * last.index) as usize;
        // SAFETY: as above.
        let out = unsafe { out.at(row.indexed + j * last.indexed + value * space.step) };
        *out = f(*out, u);
    }
}
