//! Products so small that packing would cost more than it gains.

use std::mem::MaybeUninit;

use crate::Cpu;
use crate::buffer::Buffer;

use super::micro::{DOTS, Dots, Kernels, Tile};
use super::vector::Real;
use super::{Finish, Matrix, Product};

/// Largest number of multiply-adds of a small product.
pub(super) const LIMIT: usize = 32 * 32 * 32;
/// Elements that a copy of B may have on the stack.
const STACK: usize = 1024;

/// Computes c = a·b straight from the operands, and passes c to `finish`.
pub(super) fn small<T: Real>(cpu: &Cpu, p: &Product<T>, finish: Option<&Finish<T>>) {
    let kernels = T::kernels(cpu.isa);
    if p.k >= kernels.lanes && p.a.cols == 1 && p.b.rows == 1 && p.b.cols != 1 {
        dots(kernels, p);
    } else if p.b.cols == 1 {
        tiles(kernels, p, p.b);
    } else if p.n * p.k <= STACK {
        let mut copy = [const { MaybeUninit::uninit() }; STACK];
        rows(kernels, p, &mut copy);
    } else {
        let mut copy = Buffer::new(p.n * p.k * size_of::<T>());
        let copy = copy.get_mut::<T>();
        // SAFETY: the same memory; only values are written to it.
        rows(kernels, p, unsafe { &mut *(copy as *mut [T] as *mut [MaybeUninit<T>]) });
    }
    // SAFETY: c is valid for m·n elements and ours.
    unsafe { p.finish(finish, 0, p.m, 0, p.n) };
}

/// Copies B to rows with columns side by side, and multiplies by it.
fn rows<T: Real>(kernels: &Kernels<T>, p: &Product<T>, copy: &mut [MaybeUninit<T>]) {
    for k in 0..p.k {
        for j in 0..p.n {
            // SAFETY: row and column are inside B.
            copy[k * p.n + j].write(unsafe { *p.b.at(k, j) });
        }
    }
    tiles(kernels, p, Matrix { data: copy.as_ptr().cast(), rows: p.n as isize, cols: 1 });
}

/// Tiles from A with any strides and `b` with columns side by side.
fn tiles<T: Real>(kernels: &Kernels<T>, p: &Product<T>, b: Matrix<T>) {
    for j in (0..p.n).step_by(kernels.cols()) {
        let cols = kernels.cols().min(p.n - j);
        for i in (0..p.m).step_by(kernels.rows()) {
            let rows = kernels.rows().min(p.m - i);
            // SAFETY: the tile is inside the factors and c; the kernel is one of this machine. With k = 0
            // no factor is touched, so their addresses only need not to overflow.
            unsafe {
                let tile = Tile {
                    k: p.k,
                    a: p.a.data.wrapping_offset(i as isize * p.a.rows),
                    a_row: p.a.rows,
                    a_k: p.a.cols,
                    b: b.data.wrapping_add(j),
                    b_k: b.rows,
                    c: p.c.add(i * p.n + j),
                    c_row: p.n,
                    cols,
                    accumulate: false,
                    ahead: b.data,
                };
                kernels.direct[rows - 1][(cols - 1) / kernels.lanes](&tile);
            }
        }
    }
}

/// Dot products of rows of A and columns of B, both side by side.
fn dots<T: Real>(kernels: &Kernels<T>, p: &Product<T>) {
    for i in (0..p.m).step_by(DOTS) {
        for j in (0..p.n).step_by(DOTS) {
            let (rows, cols) = (DOTS.min(p.m - i), DOTS.min(p.n - j));
            // SAFETY: the tile is inside the factors and c; the kernel is one of this machine.
            unsafe {
                let (a, b, c) = (p.a.at(i, 0), p.b.at(0, j), p.c.add(i * p.n + j));
                let tile = Dots { k: p.k, a, a_row: p.a.rows, b, b_col: p.b.cols, c, c_row: p.n };
                kernels.dots[rows - 1][cols - 1](&tile);
            }
        }
    }
}
