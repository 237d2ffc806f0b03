//! Stable sorting, the k first of a sorted line, and where the extreme element is.
//!
//! Each element becomes an unsigned key that orders as the element does, with its position below it: all
//! keys of a line are then different, and any sorting method gives the stable order.

use half::{bf16, f16};

use crate::Cpu;
use crate::arithmetic::same_size;
use crate::dtype::{DType, Element};
use crate::parts::{Shared, each, rows_per_task};
use crate::scan::Lines;
use crate::slice::{Slice, SliceMut};

/// Elements that one task takes.
const TASK: usize = 8 << 10;
/// From here on sorting by bytes is faster than comparing.
const RADIX: usize = 512;
/// Neighbouring lines whose extrema are looked for together.
const COLUMNS: usize = 64;

/// An element that has a key: an integer with the same order. NaN is above all, -0 equals 0.
trait Keyed: Element {
    /// The key; it fits 32 bits unless the element has 64.
    fn key(self) -> u64;
}

impl Keyed for u8 {
    #[inline(always)]
    fn key(self) -> u64 {
        self.into()
    }
}

impl Keyed for i32 {
    #[inline(always)]
    fn key(self) -> u64 {
        (self as u32 ^ 1 << 31).into()
    }
}

impl Keyed for i64 {
    #[inline(always)]
    fn key(self) -> u64 {
        self as u64 ^ 1 << 63
    }
}

impl Keyed for f32 {
    #[inline(always)]
    fn key(self) -> u64 {
        // Adding 0 turns -0 into 0.
        let bits = (self + 0.0).to_bits();
        let ordered = bits ^ (((bits as i32 >> 31) as u32) | 1 << 31);
        if self.is_nan() { u32::MAX.into() } else { ordered.into() }
    }
}

impl Keyed for f64 {
    #[inline(always)]
    fn key(self) -> u64 {
        let bits = (self + 0.0).to_bits();
        let ordered = bits ^ (((bits as i64 >> 63) as u64) | 1 << 63);
        if self.is_nan() { u64::MAX } else { ordered }
    }
}

impl Keyed for f16 {
    #[inline(always)]
    fn key(self) -> u64 {
        self.to_f32().key()
    }
}

impl Keyed for bf16 {
    #[inline(always)]
    fn key(self) -> u64 {
        self.to_f32().key()
    }
}

/// A key with a position below it.
trait Packed: Ord + Copy + Send + Default {
    /// Bytes of the key.
    const BYTES: usize;
    fn new(key: u64, position: usize, descending: bool) -> Self;
    fn position(self) -> usize;
    /// Byte `i` of the key, the lowest first.
    fn byte(self, i: usize) -> usize;
}

/// For keys of 32 bits in lines of at most 2^32 elements.
impl Packed for u64 {
    const BYTES: usize = 4;
    #[inline(always)]
    fn new(key: u64, position: usize, descending: bool) -> u64 {
        (if descending { !key } else { key }) << 32 | position as u64
    }
    #[inline(always)]
    fn position(self) -> usize {
        self as u32 as usize
    }
    #[inline(always)]
    fn byte(self, i: usize) -> usize {
        (self >> (32 + 8 * i)) as u8 as usize
    }
}

impl Packed for u128 {
    const BYTES: usize = 8;
    #[inline(always)]
    fn new(key: u64, position: usize, descending: bool) -> u128 {
        (if descending { !key } else { key } as u128) << 64 | position as u128
    }
    #[inline(always)]
    fn position(self) -> usize {
        self as u64 as usize
    }
    #[inline(always)]
    fn byte(self, i: usize) -> usize {
        (self >> (64 + 8 * i)) as u8 as usize
    }
}

/// Sorts along `axis`, stably: equal elements keep their order, also descending. NaN counts as the
/// largest (as `torch.sort`): last when ascending, first when descending.
///
/// `src` and `values` are contiguous of `shape`; `indices` (i64, same shape) tells where along the axis
/// each value came from.
///
/// # Panics
/// When lengths or types do not fit each other.
pub fn sort(
    cpu: &Cpu,
    shape: &[usize],
    axis: usize,
    descending: bool,
    src: Slice,
    values: SliceMut,
    indices: SliceMut,
) {
    let lines = Lines::new(shape, axis);
    select(cpu, lines, lines.n, descending, src, values, indices);
}

/// The `k` first elements of the stable sort along `axis`: the largest, or the smallest, in order.
///
/// `values` and `indices` (i64) are contiguous of `shape` with `k` in place of the axis.
///
/// # Panics
/// When `k` is larger than the axis, or lengths or types do not fit each other.
pub fn top_k(
    cpu: &Cpu,
    shape: &[usize],
    axis: usize,
    k: usize,
    largest: bool,
    src: Slice,
    values: SliceMut,
    indices: SliceMut,
) {
    let lines = Lines::new(shape, axis);
    assert!(k <= lines.n, "the {k} first of {}", lines.n);
    select(cpu, lines, k, largest, src, values, indices);
}

/// The position along `axis` of the largest (or smallest) element: the first of several, and the first NaN
/// if there is one (as `torch.argmax`).
///
/// `src` is contiguous of `shape`; `indices` (i64) is contiguous of `shape` without the axis.
///
/// # Panics
/// When the axis has size 0 while there are lines, or lengths do not fit each other.
pub fn arg_extremum(cpu: &Cpu, shape: &[usize], axis: usize, largest: bool, src: Slice, mut indices: SliceMut) {
    let lines = Lines::new(shape, axis);
    assert!(src.len() == lines.len() && indices.len() == lines.outer * lines.inner);
    assert!(indices.is_empty() || lines.n > 0, "the extremum of no elements");
    let out = indices.get::<i64>();
    match src.dtype() {
        DType::Bool | DType::U8 => extremum::<u8>(cpu, lines, largest, src, out),
        DType::I32 => extremum::<i32>(cpu, lines, largest, src, out),
        DType::I64 => extremum::<i64>(cpu, lines, largest, src, out),
        DType::F16 => extremum::<f16>(cpu, lines, largest, src, out),
        DType::BF16 => extremum::<bf16>(cpu, lines, largest, src, out),
        DType::F32 => extremum::<f32>(cpu, lines, largest, src, out),
        DType::F64 => extremum::<f64>(cpu, lines, largest, src, out),
    }
}

fn extremum<T: Keyed>(cpu: &Cpu, lines: Lines, largest: bool, src: Slice, out: &mut [i64]) {
    let src = src.get::<T>();
    let Lines { outer, n, inner } = lines;
    // The smallest key wins, and a NaN gets 0, which no other float has.
    let key = |x: T| match x.partial_cmp(&x) {
        None => 0,
        Some(_) if largest => !x.key(),
        Some(_) => x.key(),
    };
    if inner == 1 {
        let per_task = rows_per_task(n, TASK);
        return each(&cpu.pool, outer.div_ceil(per_task), (out, per_task), |task, out| {
            let src = &src[task * per_task * n..][..out.len() * n];
            out.iter_mut().zip(src.chunks_exact(n)).for_each(|(out, row)| *out = first_least(row, key) as i64);
        });
    }
    let across = inner.div_ceil(COLUMNS);
    let blocks = outer * across;
    let per_task = rows_per_task(n * inner.min(COLUMNS), TASK);
    let out = Shared::new(out);
    cpu.pool.run(blocks.div_ceil(per_task), &|task| {
        for block in task * per_task..((task + 1) * per_task).min(blocks) {
            let column = block % across * COLUMNS;
            let width = COLUMNS.min(inner - column);
            let start = block / across * n * inner + column;
            // SAFETY: blocks are disjoint sets of lines, and each belongs to one task.
            let out = unsafe { out.range(block / across * inner + column, width) };
            out.fill(0);
            let mut best = [u64::MAX; COLUMNS];
            for t in 0..n {
                let src = &src[start + t * inner..start + t * inner + width];
                for ((best, &x), out) in best.iter_mut().zip(src).zip(out.iter_mut()) {
                    let key = key(x);
                    let better = key < *best;
                    *best = if better { key } else { *best };
                    *out = if better { t as i64 } else { *out };
                }
            }
        }
    });
}

/// The position of the first element with the least key.
fn first_least<T: Copy>(row: &[T], key: impl Fn(T) -> u64) -> usize {
    const LANES: usize = 16;
    let mut lanes = [u64::MAX; LANES];
    let (chunks, tail) = row.as_chunks::<LANES>();
    for x in chunks {
        for l in 0..LANES {
            lanes[l] = lanes[l].min(key(x[l]));
        }
    }
    let least = lanes.into_iter().chain(tail.iter().map(|&x| key(x))).min();
    row.iter().position(|&x| Some(key(x)) == least).expect("not empty")
}

fn select(
    cpu: &Cpu,
    lines: Lines,
    k: usize,
    descending: bool,
    src: Slice,
    mut values: SliceMut,
    mut indices: SliceMut,
) {
    assert_eq!(src.dtype(), values.dtype());
    let kept = lines.outer * k * lines.inner;
    assert!(src.len() == lines.len() && values.len() == kept && indices.len() == kept);
    if kept == 0 {
        return;
    }
    let indices = indices.get::<i64>();
    match src.dtype() {
        DType::Bool | DType::U8 => select_lines::<u8>(cpu, lines, k, descending, src, indices),
        DType::I32 => select_lines::<i32>(cpu, lines, k, descending, src, indices),
        DType::I64 => select_lines::<i64>(cpu, lines, k, descending, src, indices),
        DType::F16 => select_lines::<f16>(cpu, lines, k, descending, src, indices),
        DType::BF16 => select_lines::<bf16>(cpu, lines, k, descending, src, indices),
        DType::F32 => select_lines::<f32>(cpu, lines, k, descending, src, indices),
        DType::F64 => select_lines::<f64>(cpu, lines, k, descending, src, indices),
    }
    let moved = same_size(src.dtype());
    let (src, values) = (src.with_dtype(moved), SliceMut::new(moved, values.bytes()));
    match moved.size() {
        1 => fetch::<u8>(cpu, lines, k, src, indices, values),
        2 => fetch::<f16>(cpu, lines, k, src, indices, values),
        4 => fetch::<i32>(cpu, lines, k, src, indices, values),
        _ => fetch::<i64>(cpu, lines, k, src, indices, values),
    }
}

/// The elements that `indices` names along the axis.
fn fetch<T: Element>(cpu: &Cpu, lines: Lines, k: usize, src: Slice, indices: &[i64], mut values: SliceMut) {
    let (src, inner) = (src.get::<T>(), lines.inner);
    let per_task = rows_per_task(inner, TASK);
    each(&cpu.pool, (lines.outer * k).div_ceil(per_task), (values.get::<T>(), per_task * inner), |task, values| {
        for (r, row) in values.chunks_mut(inner).enumerate() {
            let r = task * per_task + r;
            let start = r / k * lines.n * inner;
            let indices = &indices[r * inner..(r + 1) * inner];
            for (i, (value, &index)) in row.iter_mut().zip(indices).enumerate() {
                *value = src[start + index as usize * inner + i];
            }
        }
    });
}

fn select_lines<T: Keyed>(cpu: &Cpu, lines: Lines, k: usize, descending: bool, src: Slice, indices: &mut [i64]) {
    if T::DTYPE.size() == 8 || lines.n > u32::MAX as usize {
        select_packed::<T, u128>(cpu, lines, k, descending, src.get(), indices);
    } else {
        select_packed::<T, u64>(cpu, lines, k, descending, src.get(), indices);
    }
}

fn select_packed<T: Keyed, P: Packed>(
    cpu: &Cpu,
    lines: Lines,
    k: usize,
    descending: bool,
    src: &[T],
    indices: &mut [i64],
) {
    let Lines { outer, n, inner } = lines;
    let out = Shared::new(indices);
    let count = outer * inner;
    let per_task = rows_per_task(n, TASK);
    cpu.pool.run(count.div_ceil(per_task), &|task| {
        let (mut keys, mut spare) = (Vec::with_capacity(n), Vec::new());
        for line in task * per_task..((task + 1) * per_task).min(count) {
            let (o, i) = (line / inner, line % inner);
            keys.clear();
            keys.extend((0..n).map(|t| P::new(src[(o * n + t) * inner + i].key(), t, descending)));
            if k == n && n >= RADIX {
                radix_sort(&mut keys, &mut spare);
            } else {
                if k < n {
                    keys.select_nth_unstable(k);
                }
                keys[..k].sort_unstable();
            }
            for (t, key) in keys[..k].iter().enumerate() {
                // SAFETY: each line belongs to one task.
                unsafe { *out.at((o * k + t) * inner + i) = key.position() as i64 };
            }
        }
    });
}

/// Sorts keys that stand in the order of their positions, byte by byte, the lowest first, each time keeping the
/// order so far (Knuth, The Art of Computer Programming 3, 5.2.5); bytes that all keys share are passed over.
fn radix_sort<P: Packed>(keys: &mut Vec<P>, spare: &mut Vec<P>) {
    spare.resize(keys.len(), P::default());
    let mut counts = [[0usize; 256]; 8];
    for key in keys.iter() {
        for (i, counts) in counts[..P::BYTES].iter_mut().enumerate() {
            counts[key.byte(i)] += 1;
        }
    }
    for (i, counts) in counts[..P::BYTES].iter_mut().enumerate() {
        if counts.contains(&keys.len()) {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            (*count, start) = (start, start + *count);
        }
        for &key in keys.iter() {
            let slot = &mut counts[key.byte(i)];
            spare[*slot] = key;
            *slot += 1;
        }
        std::mem::swap(keys, spare);
    }
}
