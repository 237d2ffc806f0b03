//! The product of matrices that are worth packing.
//!
//! The work goes in stages that bound the memory of the packed panels. A stage packs its part of A and of B,
//! each element once, then cuts its part of C into tasks; a task runs all of the stage's k for its piece, in
//! blocks of [`KC`] whose panels stay in the second-level cache. Two joins a stage, and no task waits for
//! another.

use crate::Cpu;
use crate::buffer::Buffer;
use crate::isa::{Arch, Job, dispatch};

use super::micro::{Kernels, Tile};
use super::pack::{Strip, pack};
use super::vector::Real;
use super::{FORK, Finish, Product};

/// Length of a block of k. It orders the sums, so it is the same for every instruction set and thread count.
const KC: usize = 256;
/// A stage takes at most this much of k, m and n.
const STAGE_K: usize = 4 * KC;
const STAGE_M: usize = 4096;
const STAGE_N: usize = 4096;
/// A task takes at most this much of m and n.
const TASK_M: usize = 192;
const TASK_N: usize = 512;
/// Tasks are made smaller until a stage has this many …
const TASKS: usize = 32;
/// … or each has no more than this many multiply-adds.
const TASK_WORK: usize = 1 << 20;
/// Elements that one task of packing copies, about.
const PACK: usize = 1 << 15;

/// Memory that tasks write disjoint parts of.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);
// SAFETY: every use says why its part is its own.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The address of element `i`, which must be inside.
    #[inline(always)]
    unsafe fn at(&self, i: usize) -> *mut T {
        // SAFETY: by the caller.
        unsafe { self.0.add(i) }
    }
}

/// A range of the product: `len` from `start`.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: usize,
    len: usize,
}

impl Range {
    /// The pieces of `0..len`, each `step` long, the last one shorter.
    fn pieces(len: usize, step: usize) -> impl Iterator<Item = Range> {
        (0..len).step_by(step).map(move |start| Range { start, len: step.min(len - start) })
    }

    /// Piece `i` of this range.
    fn piece(&self, i: usize, step: usize) -> Range {
        Range { start: self.start + i * step, len: step.min(self.len - i * step) }
    }
}

/// One stage.
struct Stage<'s, T: Real> {
    p: &'s Product<T>,
    kernels: &'static Kernels<T>,
    i: Range,
    j: Range,
    k: Range,
    /// For each block of k, the panels of A one after the other, the last one as high as rows are left.
    a: Shared<T>,
    /// For each block of k, the panels of B one after the other, the last one filled up with zeros.
    b: Shared<T>,
}

/// Computes c = a·b through packed panels, and passes c to `finish`.
pub(super) fn gemm<T: Real>(cpu: &Cpu, p: &Product<T>, finish: Option<&Finish<T>>) {
    let kernels = T::kernels(cpu.isa);
    if p.k == 0 {
        // SAFETY: c is valid for m·n elements and ours.
        unsafe { std::slice::from_raw_parts_mut(p.c, p.m * p.n).fill(T::default()) };
        // SAFETY: as above.
        return unsafe { p.finish(finish, 0, p.m, 0, p.n) };
    }
    let depth = p.k.min(STAGE_K);
    let mut a = Buffer::new(p.m.min(STAGE_M) * depth * size_of::<T>());
    let mut b = Buffer::new(p.n.min(STAGE_N).next_multiple_of(kernels.cols()) * depth * size_of::<T>());
    let (a, b) = (Shared(a.get_mut::<T>().as_mut_ptr()), Shared(b.get_mut::<T>().as_mut_ptr()));
    for j in Range::pieces(p.n, STAGE_N) {
        for k in Range::pieces(p.k, STAGE_K) {
            for i in Range::pieces(p.m, STAGE_M) {
                let stage = Stage { p, kernels, i, j, k, a, b };
                let parallel = i.len * j.len * k.len >= FORK;
                stage.pack(cpu, parallel, i.start == 0);
                stage.multiply(cpu, parallel, finish);
            }
        }
    }
}

/// Runs tasks on the pool, or here.
fn each(cpu: &Cpu, parallel: bool, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    if parallel { cpu.pool.run(tasks, task) } else { (0..tasks).for_each(task) }
}

/// Sizes of the pieces of C, whole panels each: as large as the cache takes, but enough of them for many threads.
fn cut(m: usize, n: usize, k: usize, rows: usize, cols: usize) -> (usize, usize) {
    let (mut down, mut across) = (m.div_ceil(TASK_M), n.div_ceil(TASK_N));
    while down * across < TASKS && (m / down) * (n / across) * k > TASK_WORK {
        if n / across > m / down { across += 1 } else { down += 1 }
    }
    (m.div_ceil(down).next_multiple_of(rows), n.div_ceil(across).next_multiple_of(cols))
}

/// Packs panels `first..` of one factor's block of k.
struct Pack<'s, T: Real> {
    strip: Strip<T>,
    /// Lanes of the factor from the strip's first on.
    lanes: usize,
    /// Lanes of a panel.
    width: usize,
    /// Whether the last panel is filled up with zeros.
    fill: bool,
    to: &'s Shared<T>,
    /// Where the panels go.
    at: usize,
}

impl<T: Real> Job for Pack<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        for first in (0..self.lanes).step_by(self.width) {
            let lanes = self.width.min(self.lanes - first);
            let strip =
                Strip { data: self.strip.data.wrapping_offset(first as isize * self.strip.lane), lanes, ..self.strip };
            let width = if self.fill { self.width } else { lanes };
            // SAFETY: the lanes are inside the factor; the panels of this task lie side by side in its own part of the buffer.
            unsafe { pack(&strip, width, self.to.at(self.at + first * self.strip.k)) };
        }
    }
}

impl<T: Real> Stage<'_, T> {
    /// Packs A, and B where it is `new`.
    fn pack(&self, cpu: &Cpu, parallel: bool, new: bool) {
        let (rows, cols) = (self.kernels.rows(), self.kernels.cols());
        let depth = KC.min(self.k.len);
        let group = |width: usize| (PACK / (width * depth)).max(1) * width;
        let (group_a, group_b) = (group(rows), group(cols));
        let blocks = self.k.len.div_ceil(KC);
        let (tasks_a, tasks_b) = (self.i.len.div_ceil(group_a), if new { self.j.len.div_ceil(group_b) } else { 0 });
        each(cpu, parallel, blocks * (tasks_a + tasks_b), &|task| {
            let k = self.k.piece(task % blocks, KC);
            let before = k.start - self.k.start;
            let task = task / blocks;
            let job = if task < tasks_a {
                let i = self.i.piece(task, group_a);
                // SAFETY: row and column are inside A.
                let data = unsafe { self.p.a.at(i.start, k.start) };
                let strip = Strip { data, lane: self.p.a.rows, step: self.p.a.cols, lanes: 0, k: k.len };
                let at = self.i.len * before + task * group_a * k.len;
                Pack { strip, lanes: i.len, width: rows, fill: false, to: &self.a, at }
            } else {
                let task = task - tasks_a;
                let j = self.j.piece(task, group_b);
                // SAFETY: row and column are inside B.
                let data = unsafe { self.p.b.at(k.start, j.start) };
                let strip = Strip { data, lane: self.p.b.cols, step: self.p.b.rows, lanes: 0, k: k.len };
                let at = self.j.len.next_multiple_of(cols) * before + task * group_b * k.len;
                Pack { strip, lanes: j.len, width: cols, fill: true, to: &self.b, at }
            };
            dispatch(cpu.isa, job);
        });
    }

    /// Multiplies the packed panels, one task for each piece of C.
    fn multiply(&self, cpu: &Cpu, parallel: bool, finish: Option<&Finish<T>>) {
        let (down, across) = cut(self.i.len, self.j.len, self.k.len, self.kernels.rows(), self.kernels.cols());
        let pieces = self.i.len.div_ceil(down);
        each(cpu, parallel, pieces * self.j.len.div_ceil(across), &|task| {
            let (i, j) = (self.i.piece(task % pieces, down), self.j.piece(task / pieces, across));
            for k in Range::pieces(self.k.len, KC) {
                self.block(i, j, k);
            }
            if self.k.start + self.k.len == self.p.k {
                // SAFETY: this piece of c belongs to this task.
                unsafe { self.p.finish(finish, i.start, i.len, j.start, j.len) };
            }
        });
    }

    /// Adds one block of k (relative to the stage) to a piece of C.
    fn block(&self, i: Range, j: Range, k: Range) {
        let (rows, cols, lanes) = (self.kernels.rows(), self.kernels.cols(), self.kernels.lanes);
        let wide = self.j.len.next_multiple_of(cols);
        for right in (0..j.len).step_by(cols) {
            let width = cols.min(j.len - right);
            let at = j.start + right;
            // SAFETY: this panel was packed by `pack`.
            let b = unsafe { self.b.at(wide * k.start + (at - self.j.start) * k.len) };
            for below in (0..i.len).step_by(rows) {
                let height = rows.min(i.len - below);
                let from = i.start + below;
                // SAFETY: panels as above; c is inside the piece of this task, and the kernel is one of this machine.
                unsafe {
                    let a = self.a.at(self.i.len * k.start + (from - self.i.start) * k.len);
                    let c = self.p.c.add(from * self.p.n + at);
                    let accumulate = self.k.start + k.start > 0;
                    let tile =
                        Tile { k: k.len, a, a_row: 1, a_k: 0, b, b_k: 0, c, c_row: self.p.n, cols: width, accumulate };
                    self.kernels.packed[height - 1][(width - 1) / lanes](&tile);
                }
            }
        }
    }
}
