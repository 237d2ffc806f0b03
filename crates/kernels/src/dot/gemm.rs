//! The product of matrices that are worth packing.
//!
//! The work goes in stages that bound the memory of the packed panels. A stage packs its part of A and of B,
//! each element once, then cuts its part of C into tasks, each of which multiplies the panels of its piece:
//! its part of A stays in the second-level cache, and a panel of B passes by. Two joins a stage, and no task
//! waits for another.

use crate::Cpu;
use crate::buffer::Buffer;

use super::micro::{Ahead, Column, Kernels};
use super::pack::{Range, Source};
use super::vector::Real;
use super::{FORK, Finish, pass_on, resident};

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

/// A product whose factors are packed: c = a·b, c contiguous [m, n].
pub(super) struct Factors<'s, T: Real> {
    pub kernels: &'static Kernels<T>,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Its lanes are rows.
    pub a: &'s dyn Source<T>,
    /// Its lanes are columns.
    pub b: &'s dyn Source<T>,
    /// Valid for m·n elements that nobody else uses.
    pub c: *mut T,
    /// What finished elements are passed to.
    pub finish: Option<&'s Finish<'s, T>>,
}

// SAFETY: the factors are only read; tasks write disjoint parts of c.
unsafe impl<T: Real> Sync for Factors<'_, T> {}

impl<T: Real> Factors<'_, T> {
    /// Computes the product in the way that suits its size. No size is zero.
    pub fn multiply(&self, cpu: &Cpu) {
        if resident::suits(self) { resident::resident(cpu, self) } else { gemm(cpu, self) }
    }
}

/// One stage.
struct Stage<'s, T: Real> {
    p: &'s Factors<'s, T>,
    i: Range,
    j: Range,
    k: Range,
    /// The panels of A one after the other, the last one as high as rows are left.
    a: Shared<T>,
    /// The panels of B one after the other, the last one filled up with zeros.
    b: Shared<T>,
}

/// Computes c = a·b in stages.
fn gemm<T: Real>(cpu: &Cpu, p: &Factors<T>) {
    let depth = p.k.min(STAGE_K);
    let mut a = Buffer::new(p.m.min(STAGE_M) * depth * size_of::<T>());
    let mut b = Buffer::new(p.n.min(STAGE_N).next_multiple_of(p.kernels.cols()) * depth * size_of::<T>());
    let (a, b) = (Shared(a.get_mut::<T>().as_mut_ptr()), Shared(b.get_mut::<T>().as_mut_ptr()));
    for j in Range::pieces(p.n, STAGE_N) {
        for k in Range::pieces(p.k, STAGE_K) {
            for i in Range::pieces(p.m, STAGE_M) {
                let stage = Stage { p, i, j, k, a, b };
                let parallel = i.len * j.len * k.len >= FORK;
                stage.pack(cpu, parallel, i.start == 0);
                stage.multiply(cpu, parallel);
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
        let (rows, cols) = (p.kernels.rows(), p.kernels.cols());
        let (group_a, group_b) = (group(rows), group(cols));
        let (tasks_a, tasks_b) = (self.i.len.div_ceil(group_a), if new { self.j.len.div_ceil(group_b) } else { 0 });
        each(cpu, parallel, tasks_a + tasks_b, &|task| {
            // SAFETY: the ranges are inside the factors, and each task has its own part of the panels.
            unsafe {
                if task < tasks_a {
                    p.a.pack(cpu.isa, self.i.piece(task, group_a), self.k, rows, false, self.a.at(task * group_a * k));
                } else {
                    let task = task - tasks_a;
                    p.b.pack(cpu.isa, self.j.piece(task, group_b), self.k, cols, true, self.b.at(task * group_b * k));
                }
            }
        });
    }

    /// Multiplies the packed panels, one task for each piece of C.
    fn multiply(&self, cpu: &Cpu, parallel: bool) {
        let kernels = self.p.kernels;
        let most = (kernels.block / (self.k.len * size_of::<T>())).clamp(kernels.rows(), TASK_M);
        let (down, across) = cut(self.i.len, self.j.len, self.k.len, most);
        each(cpu, parallel, down * across, &|task| {
            let i = self.i.part(task % down, down, kernels.rows());
            let j = self.j.part(task / down, across, kernels.cols());
            self.piece(i, j);
            if self.k.start + self.k.len == self.p.k && i.len * j.len > 0 {
                // SAFETY: this piece of c belongs to this task.
                unsafe { pass_on(self.p.c, self.p.n, self.p.finish, i, j) };
            }
        });
    }

    /// One piece of C.
    fn piece(&self, i: Range, j: Range) {
        let (kernels, k) = (self.p.kernels, self.k.len);
        let cols = kernels.cols();
        // While the tiles of a panel of B are made, the next one is fetched, in equal shares.
        let share = (cols * k).div_ceil(i.len.div_ceil(kernels.rows()).max(1));
        for right in (j.start..j.start + j.len).step_by(cols) {
            let width = cols.min(j.start + j.len - right);
            // SAFETY: these panels were packed by `pack`; c is inside the piece of this task, and the kernels are those of
            // this machine.
            unsafe {
                let (a, b) = (self.a.at((i.start - self.i.start) * k), self.b.at((right - self.j.start) * k));
                let c = self.p.c.add(i.start * self.p.n + right);
                let accumulate = self.k.start > 0;
                let column = Column { rows: i.len, cols: width, k, a, b, c, c_row: self.p.n, accumulate };
                column.run(kernels, |tile| Ahead::lines(b.wrapping_add(cols * k + tile * share)));
            }
        }
    }
}
