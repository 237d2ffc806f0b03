//! Products that are computed straight from their operands: those so small, or so narrow, that packing
//! would cost more than it gains.
//!
//! Sums are cut at the same places as in [`super::gemm`], so where tiles are used the bits are the same.

use std::mem::MaybeUninit;

use crate::Cpu;
use crate::buffer::Buffer;

use super::gemm::{STAGE_K, each};
use super::micro::{Ahead, DOTS, Dots, Kernels, Tile};
use super::pack::{Range, Strip, pack};
use super::vector::Real;
use super::{FORK, Finish, Matrix, Product, TASK, pass_on};

/// Multiply-adds up to which B with columns side by side is better not packed.
const DIRECT: usize = 1 << 21;
/// Multiply-adds up to which one copy of B is better than packing both factors.
const COPY: usize = 1 << 18;
/// Rows up to which every element of B is used so seldom that moving it does not pay.
const FEW_ROWS: usize = 8;
/// Columns up to which a copy of B is negligible, and A is used so seldom that moving it does not pay.
const FEW_COLS: usize = 16;
/// Elements that a copy of B may have on the stack.
const STACK: usize = 1024;
/// Most tasks of a product.
const TASKS: usize = 64;

/// Whether rows of A and columns of B are side by side in memory, long, and few.
fn is_dotted<T>(kernels: &Kernels<T>, p: &Product<T>) -> bool {
    p.m <= FEW_ROWS && p.k >= 2 * kernels.lanes && p.a.cols == 1 && p.b.rows == 1 && p.b.cols != 1
}

/// Whether a product should be computed by [`small`].
pub(super) fn suits<T: Real>(cpu: &Cpu, p: &Product<T>) -> bool {
    let work = p.m * p.n * p.k;
    if p.m <= FEW_ROWS {
        work <= COPY || p.b.cols == 1 || is_dotted(T::kernels(cpu.isa), p)
    } else {
        p.n <= FEW_COLS || work <= if p.b.cols == 1 { DIRECT } else { COPY }
    }
}

/// Whether a product of this size is worth packing, however its operands lie.
pub(super) fn pays(m: usize, n: usize, k: usize) -> bool {
    m > FEW_ROWS && n > FEW_COLS && m * n * k > COPY
}

/// Computes c = a·b straight from the operands, and passes c to `finish`.
pub(super) fn small<T: Real>(cpu: &Cpu, p: &Product<T>, finish: Option<&Finish<T>>) {
    let kernels = T::kernels(cpu.isa);
    if is_dotted(kernels, p) {
        pieces(cpu, kernels, p, finish, &|i, j| dots(kernels, p, i, j));
    } else if p.b.cols == 1 {
        pieces(cpu, kernels, p, finish, &|i, j| tiles(kernels, p, i, j));
    } else if p.n * p.k <= STACK {
        let mut copy = [const { MaybeUninit::<T>::uninit() }; STACK];
        copied(cpu, kernels, p, finish, copy.as_mut_ptr().cast());
    } else {
        let mut copy = Buffer::new(p.n * p.k * size_of::<T>());
        copied(cpu, kernels, p, finish, copy.get_mut().as_mut_ptr());
    }
}

/// Copies B to `to`, which has room for it, with columns side by side, and multiplies by the copy.
fn copied<T: Real>(cpu: &Cpu, kernels: &Kernels<T>, p: &Product<T>, finish: Option<&Finish<T>>, to: *mut T) {
    let strip = Strip { data: p.b.data, lane: p.b.cols, step: p.b.rows, lanes: p.n, k: p.k };
    // SAFETY: the strip is B, and `to` has room for n·k elements.
    unsafe { pack(&strip, p.n, to) };
    let p = Product { b: Matrix { data: to, rows: p.n as isize, cols: 1 }, ..*p };
    pieces(cpu, kernels, &p, finish, &|i, j| tiles(kernels, &p, i, j));
}

/// Runs `piece` for the rows and columns of each piece of c, on several threads if there is enough work.
fn pieces<T: Real>(
    cpu: &Cpu,
    kernels: &Kernels<T>,
    p: &Product<T>,
    finish: Option<&Finish<T>>,
    piece: &(dyn Fn(Range, Range) + Sync),
) {
    let work = p.m * p.n * p.k;
    let (rows, cols) = (Range { start: 0, len: p.m }, Range { start: 0, len: p.n });
    if work < FORK {
        piece(rows, cols);
        // SAFETY: c is valid for m·n elements and ours.
        return unsafe { pass_on(p.c, p.n, finish, rows, cols) };
    }
    let tasks = (work / TASK).min(TASKS);
    let (down, across) = if p.m <= FEW_ROWS {
        (1, tasks.min(p.n.div_ceil(kernels.cols())))
    } else {
        (tasks.min(p.m.div_ceil(kernels.rows())), 1)
    };
    each(cpu, down * across > 1, down * across, &|task| {
        let i = rows.part(task % down, down, kernels.rows());
        let j = cols.part(task / down, across, kernels.cols());
        piece(i, j);
        // SAFETY: this piece of c belongs to this task.
        unsafe { pass_on(p.c, p.n, finish, i, j) };
    });
}

/// Tiles from A with any strides and B with columns side by side.
fn tiles<T: Real>(kernels: &Kernels<T>, p: &Product<T>, rows: Range, cols: Range) {
    // With k = 0 there is one block without steps, which writes zeros.
    for from in (0..p.k.max(1)).step_by(STAGE_K) {
        let k = STAGE_K.min(p.k - from);
        for j in (cols.start..cols.start + cols.len).step_by(kernels.cols()) {
            let width = kernels.cols().min(cols.start + cols.len - j);
            for i in (rows.start..rows.start + rows.len).step_by(kernels.rows()) {
                let height = kernels.rows().min(rows.start + rows.len - i);
                let tile = Tile {
                    k,
                    a: p.a.data.wrapping_offset(i as isize * p.a.rows + from as isize * p.a.cols),
                    a_row: p.a.rows,
                    a_k: p.a.cols,
                    b: p.b.data.wrapping_offset(from as isize * p.b.rows + j as isize),
                    b_k: p.b.rows,
                    c: p.c.wrapping_add(i * p.n + j),
                    c_row: p.n,
                    cols: width,
                    accumulate: from > 0,
                    ahead: Ahead::line(p.b.data, 0),
                };
                // SAFETY: the tile is inside the factors and c; the kernel is one of this machine. With k = 0
                // no element of the factors is touched.
                unsafe { kernels.direct[height - 1][(width - 1) / kernels.lanes](&tile) };
            }
        }
    }
}

/// Dot products of rows of A and columns of B, both side by side.
fn dots<T: Real>(kernels: &Kernels<T>, p: &Product<T>, rows: Range, cols: Range) {
    let (bottom, right) = (rows.start + rows.len, cols.start + cols.len);
    for j in (cols.start..right).step_by(DOTS) {
        for i in (rows.start..bottom).step_by(DOTS) {
            // SAFETY: the tile is inside the factors and c; the kernel is one of this machine.
            unsafe {
                let (a, b, c) = (p.a.at(i, 0), p.b.at(0, j), p.c.add(i * p.n + j));
                let tile = Dots { k: p.k, a, a_row: p.a.rows, b, b_col: p.b.cols, c, c_row: p.n };
                kernels.dots[DOTS.min(bottom - i) - 1][DOTS.min(right - j) - 1](&tile);
            }
        }
    }
}
