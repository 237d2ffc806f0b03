//! The product of matrices that are worth packing.
//!
//! A task makes a piece of C: some rows of A, whose panels stay in the second-level cache, times a panel or a few of B.
//! Every thread packs for itself what it multiplies, and keeps it for the tasks that follow: those of one thread have the
//! same rows, then the same strip of B. What one core has written and another one reads, and writes again the next time,
//! travels between their caches, and that takes longer than to pack it once more. Nothing is joined but the end of a stage.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::Cpu;
use crate::buffer::Buffer;

use super::micro::{Ahead, Column, Kernels, STEPS};
use super::pack::{Range, Source};
use super::vector::Real;
use super::{FORK, Finish, pass_on};

/// A stage takes at most this much of k. It orders the sums, so it is the same for every instruction set and
/// number of threads. Long: C is read and written once a stage, which costs more than to stream panels.
pub(super) const STAGE_K: usize = 1024;
/// Columns of B that a thread keeps in panels, about.
const STRIP: usize = 1024;
/// Rows are cut into more blocks than the cache asks for until a stage has this many tasks …
const TASKS: usize = 16;
/// … or each has no more than this many multiply-adds.
const TASK_WORK: usize = 1 << 20;
/// Finished elements are passed on in pieces of so many columns, about: those of one task can be so few that to call for
/// each row of them would take longer than the product.
const FINISH: usize = 512;

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

/// What one thread has packed.
#[derive(Default)]
struct Own {
    a: Option<Buffer>,
    /// The stage and the block of rows that `a` is of.
    rows: (u64, usize),
    b: Option<Buffer>,
    /// The stage and the strip that `b` is of.
    strip: (u64, usize),
    /// Which panels of the strip are there.
    packed: Vec<bool>,
}

thread_local! {
    static OWN: Cell<Own> = Cell::default();
}

/// Room for `len` elements.
fn room<T>(buffer: &mut Option<Buffer>, len: usize) -> *mut T {
    let bytes = len * size_of::<T>();
    if buffer.as_ref().is_none_or(|buffer| buffer.len() < bytes) {
        // The old one first, so that the pool may give it again.
        *buffer = None;
        *buffer = Some(Buffer::new(bytes));
    }
    buffer.as_ref().expect("made above").address().cast()
}

/// Runs tasks on the pool, or here.
pub(super) fn each(cpu: &Cpu, parallel: bool, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    if parallel { cpu.pool.run(tasks, task) } else { (0..tasks).for_each(task) }
}

/// How a stage is cut into tasks: strip by strip, in each of them block by block of rows, and there `group` panels at a
/// time.
struct Cut {
    blocks: usize,
    group: usize,
    /// Groups of a whole strip.
    groups: usize,
    /// Groups of all strips.
    all: usize,
    /// Groups whose columns are passed on together; they are in one strip.
    wide: usize,
}

impl Cut {
    fn new<T: Real>(p: &Factors<T>, k: usize) -> Cut {
        let cols = p.kernels.cols();
        let most = (p.kernels.block / (k * size_of::<T>())).max(p.kernels.rows());
        let panels = p.n.div_ceil(cols);
        let mut blocks = p.m.div_ceil(most);
        while blocks * panels < TASKS && p.m / blocks * cols * k > TASK_WORK {
            blocks += 1;
        }
        let group = (TASK_WORK / (p.m / blocks * cols * k)).clamp(1, (STRIP / cols).max(1));
        let (groups, all) = ((STRIP / (group * cols)).max(1), panels.div_ceil(group));
        // Two pieces at least, so that two threads have work to the end.
        let wide = (FINISH / (group * cols)).min(all.div_ceil(2)).clamp(1, groups);
        Cut { blocks, group, groups, all, wide }
    }

    /// How many pieces are passed on.
    fn pieces(&self) -> usize {
        self.all.div_ceil(self.groups) * self.groups.div_ceil(self.wide) * self.blocks
    }

    /// The strip, the block of rows, and the group in the strip of a task.
    fn task(&self, task: usize) -> (usize, usize, usize) {
        let strip = task / (self.blocks * self.groups);
        let groups = self.groups.min(self.all - strip * self.groups);
        let rest = task - strip * self.blocks * self.groups;
        (strip, rest / groups, rest % groups)
    }
}

impl<T: Real> Factors<'_, T> {
    /// Computes the product. No size is zero.
    pub fn multiply(&self, cpu: &Cpu) {
        static STAGES: AtomicU64 = AtomicU64::new(1);
        for k in Range::pieces(self.k, STAGE_K) {
            let (cut, stage) = (Cut::new(self, k.len), STAGES.fetch_add(1, Ordering::Relaxed));
            let parallel = self.m * self.n * k.len >= FORK;
            let last = k.start + k.len == self.k && self.finish.is_some();
            let done: Vec<AtomicUsize> =
                (0..if last { cut.pieces() } else { 0 }).map(|_| AtomicUsize::new(0)).collect();
            each(cpu, parallel, cut.all * cut.blocks, &|task| {
                let mut own = OWN.take();
                self.piece(cpu, &mut own, &cut, stage, k, task);
                OWN.set(own);
                if last {
                    self.pass_on_piece(&cut, task, &done);
                }
            });
        }
    }

    /// The task that is the last of a piece's passes it on.
    fn pass_on_piece(&self, cut: &Cut, task: usize, done: &[AtomicUsize]) {
        let (strip, block, group) = cut.task(task);
        let groups = cut.groups.min(cut.all - strip * cut.groups);
        let (piece, pieces) = (group / cut.wide, cut.groups.div_ceil(cut.wide));
        let together = cut.wide.min(groups - piece * cut.wide);
        // What others have written of the piece is seen by whoever counts last.
        let before = done[(strip * cut.blocks + block) * pieces + piece].fetch_add(1, Ordering::AcqRel);
        if before + 1 == together {
            let width = cut.group * self.kernels.cols();
            let i = Range { start: 0, len: self.m }.part(block, cut.blocks, self.kernels.rows());
            let start = (strip * cut.groups + piece * cut.wide) * width;
            let j = Range { start, len: (together * width).min(self.n - start) };
            // SAFETY: all tasks of this piece of c are done, and it is passed on once.
            unsafe { pass_on(self.c, self.n, self.finish, i, j) };
        }
    }

    /// One piece of C.
    fn piece(&self, cpu: &Cpu, own: &mut Own, cut: &Cut, stage: u64, k: Range, task: usize) {
        let (strip, block, group) = cut.task(task);
        let (rows, cols) = (self.kernels.rows(), self.kernels.cols());
        let i = Range { start: 0, len: self.m }.part(block, cut.blocks, rows);
        let strip_cols = Range { start: 0, len: self.n }.piece(strip, cut.groups * cut.group * cols);
        let j = strip_cols.piece(group, cut.group * cols);
        let a = room::<T>(&mut own.a, i.len * k.len);
        if own.rows != (stage, block) {
            own.rows = (stage, block);
            // SAFETY: these rows and steps are inside A, and there is room for them.
            unsafe { self.a.pack(cpu.isa, i, k, rows, false, a) };
        }
        // With one block of rows a panel is used once, so that all have one place.
        let kept = if cut.blocks > 1 { strip_cols.len.div_ceil(cols) } else { 1 };
        let b = room::<T>(&mut own.b, kept * cols * k.len);
        if own.strip != (stage, strip) {
            own.strip = (stage, strip);
            own.packed.clear();
            own.packed.resize(kept, false);
        }
        for piece in Range::pieces(j.len, cols) {
            let lanes = Range { start: j.start + piece.start, len: piece.len };
            let panel = (lanes.start - strip_cols.start) / cols;
            let at = |panel: usize| b.wrapping_add(panel % kept * cols * k.len);
            // SAFETY: the ranges are inside the factors and c, the memories have room for their panels and are this
            // thread's, and the kernels are those of this machine.
            unsafe {
                if kept == 1 || !own.packed[panel] {
                    own.packed[panel % kept] = true;
                    self.b.pack(cpu.isa, lanes, k, cols, true, at(panel));
                }
                let c = self.c.add(i.start * self.n + lanes.start);
                let accumulate = k.start > 0;
                let column =
                    Column { rows: i.len, cols: lanes.len, k: k.len, a, b: at(panel), c, c_row: self.n, accumulate };
                // Meanwhile the next panel is fetched, or what it will be made of.
                let lines = k.len.div_ceil(STEPS);
                match own.packed.get(panel + 1) {
                    Some(true) => column.run(self.kernels, |tile| Ahead::line(at(panel + 1), tile * lines)),
                    _ => column.run(self.kernels, |tile| self.b.ahead(lanes.start + cols, k, tile * lines)),
                }
            }
        }
    }
}
