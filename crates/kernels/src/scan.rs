//! Running sums, products and extrema along one axis.

use crate::Cpu;
use crate::arithmetic::{Accumulator, Arithmetic, Typed, by_dtype};
use crate::dtype::DType;
use crate::parts::{Shared, each};
use crate::slice::{Slice, SliceMut};

/// Elements that one task scans.
const TASK: usize = 32 << 10;
/// Neighbouring lines that are scanned together, so that memory is read in order.
const COLUMNS: usize = 64;
/// Lines of neighbouring elements that are scanned in step.
const TOGETHER: usize = 8;

/// What a scan accumulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanFn {
    /// Sum (logical or for bool).
    Sum,
    /// Product (logical and for bool).
    Prod,
    /// The largest so far; NaN from the first NaN on.
    Max,
    /// The smallest so far; NaN from the first NaN on.
    Min,
}

/// Where the lines of an axis are: `outer` × `n` × `inner`, contiguous.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    pub(crate) outer: usize,
    pub(crate) n: usize,
    pub(crate) inner: usize,
}

impl Lines {
    /// The lines of `axis` in a contiguous array of `shape`.
    pub(crate) fn new(shape: &[usize], axis: usize) -> Lines {
        assert!(axis < shape.len(), "axis {axis} of {shape:?}");
        let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        Lines { outer, n: shape[axis], inner }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.outer * self.n * self.inner
    }
}

/// `out[.., t, ..] = f(src[.., 0, ..], …, src[.., t, ..])` along `axis`; with `reverse`, from the end.
///
/// `src` and `out` are contiguous of `shape` and of one type. Integers wrap. Sums and products of f32 are
/// kept in f64 and those of f16 and bf16 in f32, and every element is rounded once.
///
/// # Panics
/// When lengths or types differ, or the axis is out of range.
pub fn scan(cpu: &Cpu, f: ScanFn, shape: &[usize], axis: usize, reverse: bool, src: Slice, out: SliceMut) {
    let lines = Lines::new(shape, axis);
    assert_eq!(src.dtype(), out.dtype());
    assert!(src.len() == lines.len() && out.len() == lines.len());
    if lines.len() == 0 {
        return;
    }
    let f = match (f, src.dtype()) {
        (ScanFn::Sum, DType::Bool) => ScanFn::Max,
        (ScanFn::Prod, DType::Bool) => ScanFn::Min,
        _ => f,
    };
    if src.dtype() == DType::F32 && matches!(f, ScanFn::Sum | ScanFn::Prod) {
        return choose(cpu, f, lines, reverse, src.get(), out, |x: f32| x as f64, |a| a as f32);
    }
    by_dtype(src.dtype(), Scan { cpu, f, lines, reverse, src, out });
}

struct Scan<'a> {
    cpu: &'a Cpu,
    f: ScanFn,
    lines: Lines,
    reverse: bool,
    src: Slice<'a>,
    out: SliceMut<'a>,
}

impl Typed for Scan<'_> {
    type Out = ();

    fn run<T: Arithmetic>(self) {
        choose(self.cpu, self.f, self.lines, self.reverse, self.src.get::<T>(), self.out, T::widen, T::narrow);
    }
}

fn choose<T: Arithmetic, A: Accumulator>(
    cpu: &Cpu,
    f: ScanFn,
    lines: Lines,
    reverse: bool,
    src: &[T],
    out: SliceMut,
    widen: impl Fn(T) -> A + Sync,
    narrow: impl Fn(A) -> T + Sync,
) {
    match f {
        ScanFn::Sum => all_lines(cpu, lines, reverse, src, out, A::add, widen, narrow),
        ScanFn::Prod => all_lines(cpu, lines, reverse, src, out, A::mul, widen, narrow),
        ScanFn::Max => all_lines(cpu, lines, reverse, src, out, A::max, widen, narrow),
        ScanFn::Min => all_lines(cpu, lines, reverse, src, out, A::min, widen, narrow),
    }
}

/// One task takes some blocks; a block is up to [`COLUMNS`] neighbouring lines, or where elements of a line are
/// neighbours themselves, up to [`TOGETHER`] lines: their sums do not wait for each other.
fn all_lines<T: Arithmetic, A: Accumulator>(
    cpu: &Cpu,
    lines: Lines,
    reverse: bool,
    src: &[T],
    mut out: SliceMut,
    f: impl Fn(A, A) -> A + Sync,
    widen: impl Fn(T) -> A + Sync,
    narrow: impl Fn(A) -> T + Sync,
) {
    let Lines { outer, n, inner } = lines;
    if inner == 1 {
        let size = (TASK / n).max(1).next_multiple_of(TOGETHER) * n;
        return each(&cpu.pool, src.len().div_ceil(size), (out.get::<T>(), size), |task, out| {
            let src = &src[task * size..][..out.len()];
            let (group, rest) = (TOGETHER * n, out.len() / (TOGETHER * n) * TOGETHER * n);
            for (src, out) in src.chunks_exact(group).zip(out.chunks_exact_mut(group)) {
                neighbours::<T, A, TOGETHER>(n, reverse, src, out, &f, &widen, &narrow);
            }
            for (src, out) in src[rest..].chunks_exact(n).zip(out[rest..].chunks_exact_mut(n)) {
                neighbours::<T, A, 1>(n, reverse, src, out, &f, &widen, &narrow);
            }
        });
    }
    let out = Shared::new(out.get::<T>());
    let across = inner.div_ceil(COLUMNS);
    let blocks = outer * across;
    let per_task = (TASK / (n * inner.min(COLUMNS))).max(1);
    cpu.pool.run(blocks.div_ceil(per_task), &|task| {
        for block in task * per_task..((task + 1) * per_task).min(blocks) {
            let column = block % across * COLUMNS;
            let width = COLUMNS.min(inner - column);
            let start = block / across * n * inner + column;
            let mut acc = [A::default(); COLUMNS];
            for t in 0..n {
                let at = start + if reverse { n - 1 - t } else { t } * inner;
                let src = &src[at..at + width];
                // SAFETY: blocks are disjoint sets of lines, and each belongs to one task.
                let out = unsafe { out.range(at, width) };
                for ((acc, &x), out) in acc.iter_mut().zip(src).zip(out) {
                    *acc = if t == 0 { widen(x) } else { f(*acc, widen(x)) };
                    *out = narrow(*acc);
                }
            }
        }
    });
}

/// Scans L lines of `n` elements, one after the other in memory, in step.
#[inline(always)]
fn neighbours<T: Arithmetic, A: Accumulator, const L: usize>(
    n: usize,
    reverse: bool,
    src: &[T],
    out: &mut [T],
    f: &impl Fn(A, A) -> A,
    widen: &impl Fn(T) -> A,
    narrow: &impl Fn(A) -> T,
) {
    let src: [&[T]; L] = std::array::from_fn(|l| &src[l * n..][..n]);
    let mut rows = out.chunks_exact_mut(n);
    let out: [&mut [T]; L] = std::array::from_fn(|_| rows.next().expect("L rows"));
    let first = if reverse { n - 1 } else { 0 };
    let mut acc: [A; L] = std::array::from_fn(|l| widen(src[l][first]));
    for l in 0..L {
        out[l][first] = narrow(acc[l]);
    }
    for t in 1..n {
        let t = if reverse { n - 1 - t } else { t };
        for l in 0..L {
            acc[l] = f(acc[l], widen(src[l][t]));
            out[l][t] = narrow(acc[l]);
        }
    }
}
