//! The product of matrices that are worth packing.
//!
//! The work goes in stages that bound the memory of the packed panels. A stage packs its part of A and of B,
//! each element once, then cuts its part of C into tasks, each of which multiplies the panels of its piece:
//! its part of A stays in the second-level cache, and a panel of B passes by. Two joins a stage, and no task
//! waits for another.

use crate::Cpu;
use crate::buffer::Buffer;
use crate::isa::dispatch;

use super::micro::{Ahead, Column, Kernels};
use super::pack::{Pack, Strip};
use super::vector::Real;
use super::{FORK, Finish, Product};

/// A stage takes at most this much of k. It orders the sums, so it is the same for every instruction set and
/// number of threads. Long: C is read and written once a stage, which costs more than to stream panels.
pub(super) const STAGE_K: usize = 1024;
/// A stage takes at most this much of m and n.
const STAGE_M: usize = 4096;
const STAGE_N: usize = 4096;
/// A task takes at most this much of m, or less if [`Kernels::block`] holds less, and of n: its piece of C, too, stays
/// in cache until the epilogue has run.
const TASK_M: usize = 256;
const TASK_N: usize = 512;
/// Tasks are made smaller until a stage has this many …
const TASKS: usize = 64;
/// … or each has no more than this many multiply-adds.
const TASK_WORK: usize = 1 << 19;
/// Elements that one task of packing copies, about.
const PACK: usize = 1 << 13;

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
pub(super) struct Range {
    pub start: usize,
    pub len: usize,
}

impl Range {
    /// The pieces of `0..len`, each `step` long, the last one shorter.
    fn pieces(len: usize, step: usize) -> impl Iterator<Item = Range> {
        (0..len).step_by(step).map(move |start| Range { start, len: step.min(len - start) })
    }

    /// Part `i` of `parts`, whole panels of `width` each, as even as can be.
    pub fn part(&self, i: usize, parts: usize, width: usize) -> Range {
        let panels = self.len.div_ceil(width);
        let edge = |i: usize| self.len.min(i * panels / parts * width);
        Range { start: self.start + edge(i), len: edge(i + 1) - edge(i) }
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
    /// The panels of A one after the other, the last one as high as rows are left.
    a: Shared<T>,
    /// The panels of B one after the other, the last one filled up with zeros.
    b: Shared<T>,
}

/// Computes c = a·b through packed panels, and passes c to `finish`. No size is zero.
pub(super) fn gemm<T: Real>(cpu: &Cpu, p: &Product<T>, finish: Option<&Finish<T>>) {
    let kernels = T::kernels(cpu.isa);
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
pub(super) fn each(cpu: &Cpu, parallel: bool, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    if parallel { cpu.pool.run(tasks, task) } else { (0..tasks).for_each(task) }
}

/// How many pieces C is cut into, down and across: at most `most` rows each, and enough for many threads.
fn cut(m: usize, n: usize, k: usize, most: usize) -> (usize, usize) {
    let (mut down, mut across) = (m.div_ceil(most), n.div_ceil(TASK_N));
    while down * across < TASKS && (m / down) * (n / across) * k > TASK_WORK {
        if n / across > m / down { across += 1 } else { down += 1 }
    }
    (down, across)
}

impl<T: Real> Stage<'_, T> {
    /// Packs A, and B where it is `new`.
    fn pack(&self, cpu: &Cpu, parallel: bool, new: bool) {
        let (p, k) = (self.p, self.k.len);
        let group = |width: usize| (PACK / (width * k)).max(1) * width;
        let (rows, cols) = (self.kernels.rows(), self.kernels.cols());
        let (group_a, group_b) = (group(rows), group(cols));
        let (tasks_a, tasks_b) = (self.i.len.div_ceil(group_a), if new { self.j.len.div_ceil(group_b) } else { 0 });
        each(cpu, parallel, tasks_a + tasks_b, &|task| {
            let job = if task < tasks_a {
                let i = self.i.piece(task, group_a);
                // SAFETY: row and column are inside A.
                let data = unsafe { p.a.at(i.start, self.k.start) };
                let strip = Strip { data, lane: p.a.rows, step: p.a.cols, lanes: 0, k };
                // SAFETY: panels before these have so many elements.
                let to = unsafe { self.a.at(task * group_a * k) };
                Pack { strip, lanes: i.len, width: rows, fill: false, to }
            } else {
                let task = task - tasks_a;
                let j = self.j.piece(task, group_b);
                // SAFETY: row and column are inside B.
                let data = unsafe { p.b.at(self.k.start, j.start) };
                let strip = Strip { data, lane: p.b.cols, step: p.b.rows, lanes: 0, k };
                // SAFETY: as above.
                let to = unsafe { self.b.at(task * group_b * k) };
                Pack { strip, lanes: j.len, width: cols, fill: true, to }
            };
            dispatch(cpu.isa, job);
        });
    }

    /// Multiplies the packed panels, one task for each piece of C.
    fn multiply(&self, cpu: &Cpu, parallel: bool, finish: Option<&Finish<T>>) {
        let most = (self.kernels.block / (self.k.len * size_of::<T>())).clamp(self.kernels.rows(), TASK_M);
        let (down, across) = cut(self.i.len, self.j.len, self.k.len, most);
        each(cpu, parallel, down * across, &|task| {
            let i = self.i.part(task % down, down, self.kernels.rows());
            let j = self.j.part(task / down, across, self.kernels.cols());
            self.piece(i, j);
            if self.k.start + self.k.len == self.p.k && i.len * j.len > 0 {
                // SAFETY: this piece of c belongs to this task.
                unsafe { self.p.finish(finish, i.start, i.len, j.start, j.len) };
            }
        });
    }

    /// One piece of C.
    fn piece(&self, i: Range, j: Range) {
        let (cols, k) = (self.kernels.cols(), self.k.len);
        // While the tiles of a panel of B are made, the next one is fetched, in equal shares.
        let share = (cols * k).div_ceil(i.len.div_ceil(self.kernels.rows()).max(1));
        for right in (j.start..j.start + j.len).step_by(cols) {
            let width = cols.min(j.start + j.len - right);
            // SAFETY: these panels were packed by `pack`; c is inside the piece of this task, and the kernels are those of
            // this machine.
            unsafe {
                let (a, b) = (self.a.at((i.start - self.i.start) * k), self.b.at((right - self.j.start) * k));
                let c = self.p.c.add(i.start * self.p.n + right);
                let accumulate = self.k.start > 0;
                let column = Column { rows: i.len, cols: width, k, a, b, c, c_row: self.p.n, accumulate };
                column.run(self.kernels, |tile| Ahead::lines(b.wrapping_add(cols * k + tile * share)));
            }
        }
    }
}
