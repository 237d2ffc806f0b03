//! A matrix times a vector: every element of the matrix is read once, so memory is the limit.

use crate::Cpu;
use crate::buffer::Buffer;

use super::micro::{AXPY, Ahead, Axpy, DOTS, Dots, Kernels, Tile};
use super::vector::Real;
use super::{Finish, Matrix};

/// Below this many elements of the matrix a fork costs more than it gains.
const FORK: usize = 1 << 16;
/// Elements of the matrix that one task reads at least.
const TASK: usize = 1 << 15;
/// Rows that a task takes at least where columns are side by side in memory, so that it reads whole pages.
const ROWS: usize = 512;

/// y[i] = Σ_k a[i, k]·x[k·step]; y is contiguous. Pointers as in a `Product`.
#[derive(Clone, Copy, Debug)]
pub(super) struct MatVec<T> {
    /// Length of y.
    pub rows: usize,
    /// Length of x.
    pub k: usize,
    /// The matrix.
    pub a: Matrix<T>,
    /// The vector.
    pub x: *const T,
    /// Its stride.
    pub step: isize,
    /// The result.
    pub y: *mut T,
}

// SAFETY: the factors are only read; tasks write disjoint parts of y.
unsafe impl<T: Sync> Sync for MatVec<T> {}

/// Computes y = a·x and passes y to `finish`.
pub(super) fn gemv<T: Real>(cpu: &Cpu, p: &MatVec<T>, finish: Option<&Finish<T>>) {
    let kernels = T::kernels(cpu.isa);
    let mut copy = None;
    let mut p = *p;
    if p.step != 1 && p.k > 1 {
        let buffer = copy.insert(Buffer::new(p.k * size_of::<T>()));
        let x = buffer.get_mut::<T>();
        for (k, to) in x.iter_mut().enumerate() {
            // SAFETY: inside the operand.
            *to = unsafe { *p.x.offset(k as isize * p.step) };
        }
        p.x = x.as_ptr();
    }
    let least = if p.a.rows == 1 && p.a.cols != 1 { ROWS } else { DOTS };
    let chunk = (TASK / p.k.max(1)).max(least).next_multiple_of(DOTS);
    let work = |task: usize| {
        let (start, p) = (task * chunk, &p);
        let rows = chunk.min(p.rows - start);
        p.chunk(kernels, start, rows);
        if let Some(finish) = finish {
            // SAFETY: these elements of y belong to this task.
            finish(start, unsafe { std::slice::from_raw_parts_mut(p.y.add(start), rows) });
        }
    };
    let tasks = p.rows.div_ceil(chunk);
    if p.rows * p.k < FORK { (0..tasks).for_each(work) } else { cpu.pool.run(tasks, &work) }
}

impl<T: Real> MatVec<T> {
    /// Elements `start .. start + rows` of y.
    fn chunk(&self, kernels: &Kernels<T>, start: usize, rows: usize) {
        if self.a.cols == 1 || self.k <= 1 {
            self.dots(kernels, start, rows, self.a.data, self.a.rows);
        } else if self.a.rows == 1 {
            self.columns(kernels, start, rows);
        } else {
            self.gathered(kernels, start, rows);
        }
    }

    /// Rows side by side in k, `apart` from each other, row 0 at `a`.
    fn dots(&self, kernels: &Kernels<T>, start: usize, rows: usize, a: *const T, apart: isize) {
        for i in (start..start + rows).step_by(DOTS) {
            let count = DOTS.min(start + rows - i);
            // SAFETY: the rows are inside the matrix (with k = 0 they are not touched), y has them, and the
            // kernel is one of this machine.
            unsafe {
                let b = a.wrapping_offset(i as isize * apart);
                let tile = Dots { k: self.k, a: self.x, a_row: 0, b, b_col: apart, c: self.y.add(i), c_row: 0 };
                kernels.dots[0][count - 1](&tile);
            }
        }
    }

    /// Columns side by side: a few of them are added to y at a time, which stays in cache.
    fn columns(&self, kernels: &Kernels<T>, start: usize, rows: usize) {
        let whole = self.k - self.k % AXPY;
        // SAFETY: the columns are inside the matrix, y has these rows, x has k elements, and the kernels are
        // those of this machine.
        unsafe {
            let y = self.y.add(start);
            std::slice::from_raw_parts_mut(y, rows).fill(T::default());
            for k in (0..whole).step_by(AXPY) {
                let x = self.x.add(k).cast::<[T; AXPY]>().read_unaligned();
                (kernels.axpy)(&Axpy { rows, a: self.a.at(start, k), a_col: self.a.cols, x, y });
            }
            if whole == self.k {
                return;
            }
            let (k, a, a_k, b_k) = (self.k - whole, self.x.add(whole), 1, self.a.cols);
            for i in (0..rows).step_by(kernels.cols()) {
                let cols = kernels.cols().min(rows - i);
                let (b, c) = (self.a.at(start + i, whole), y.add(i));
                let tile =
                    Tile { k, a, a_row: 0, a_k, b, b_k, c, c_row: 0, cols, accumulate: true, ahead: Ahead::line(b, 0) };
                kernels.direct[0][(cols - 1) / kernels.lanes](&tile);
            }
        }
    }

    /// Any strides: a few rows at a time are copied side by side.
    fn gathered(&self, kernels: &Kernels<T>, start: usize, rows: usize) {
        let mut copy = Buffer::new(DOTS * self.k * size_of::<T>());
        let copy = copy.get_mut::<T>();
        for i in (start..start + rows).step_by(DOTS) {
            let count = DOTS.min(start + rows - i);
            for (r, row) in copy.chunks_exact_mut(self.k).take(count).enumerate() {
                for (k, to) in row.iter_mut().enumerate() {
                    // SAFETY: inside the matrix.
                    *to = unsafe { *self.a.at(i + r, k) };
                }
            }
            // Row i of the matrix is row 0 of the copy.
            let a = copy.as_ptr().wrapping_offset(-((i * self.k) as isize));
            self.dots(kernels, i, count, a, self.k as isize);
        }
    }
}
