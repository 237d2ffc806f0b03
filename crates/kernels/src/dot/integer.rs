//! Integers: sums that wrap, in any order the same, so the plain loops are enough.

use crate::Cpu;
use crate::dtype::Element;
use crate::isa::{Arch, Job, dispatch};

use super::{Dims, FORK, Operand, TASK, offsets};

/// An integer whose arithmetic wraps.
pub(super) trait Wrapping: Element + Default {
    /// self + a·b modulo 2^bits.
    fn multiply_add(self, a: Self, b: Self) -> Self;
}

impl Wrapping for u8 {
    #[inline(always)]
    fn multiply_add(self, a: u8, b: u8) -> u8 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

impl Wrapping for i32 {
    #[inline(always)]
    fn multiply_add(self, a: i32, b: i32) -> i32 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

impl Wrapping for i64 {
    #[inline(always)]
    fn multiply_add(self, a: i64, b: i64) -> i64 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

/// One row of the product: out[j] = Σ_k a[k·a_step]·b[k, j].
struct Row<'r, T> {
    k: usize,
    a: &'r [T],
    a_start: isize,
    a_step: isize,
    b: &'r [T],
    b_start: isize,
    b_rows: isize,
    b_cols: isize,
    out: &'r mut [T],
}

impl<T: Wrapping> Job for Row<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        self.out.fill(T::default());
        for k in 0..self.k as isize {
            let x = self.a[(self.a_start + k * self.a_step) as usize];
            let start = self.b_start + k * self.b_rows;
            if self.b_cols == 1 {
                let row = &self.b[start as usize..start as usize + self.out.len()];
                for (to, &y) in self.out.iter_mut().zip(row) {
                    *to = to.multiply_add(x, y);
                }
            } else {
                for (j, to) in self.out.iter_mut().enumerate() {
                    *to = to.multiply_add(x, self.b[(start + j as isize * self.b_cols) as usize]);
                }
            }
        }
    }
}

/// The product of integers, modulo 2^bits.
pub(super) fn dot<T: Wrapping>(cpu: &Cpu, dims: &Dims, a: &Operand, b: &Operand, out: &mut [T]) {
    let (x, y) = (a.data.get::<T>(), b.data.get::<T>());
    let rows = out.len() / dims.n;
    let work = (dims.n * dims.k).max(1);
    let group = if rows * work < FORK { rows } else { (TASK / work).max(1) };
    let base = out.as_mut_ptr().expose_provenance();
    cpu.pool.run(rows.div_ceil(group), &|task| {
        for row in task * group..rows.min((task + 1) * group) {
            let (a_start, b_start) = offsets(dims.batch, a, b, row / dims.m);
            let target = std::ptr::with_exposed_provenance_mut::<T>(base).wrapping_add(row * dims.n);
            // SAFETY: row `row` of `out`, which is borrowed mutably and which no other task touches.
            let out = unsafe { std::slice::from_raw_parts_mut(target, dims.n) };
            let a_start = a_start + (row % dims.m) as isize * a.rows;
            let (a_step, b_rows, b_cols) = (a.cols, b.rows, b.cols);
            dispatch(cpu.isa, Row { k: dims.k, a: x, a_start, a_step, b: y, b_start, b_rows, b_cols, out });
        }
    });
}
