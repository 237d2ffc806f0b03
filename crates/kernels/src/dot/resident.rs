//! Products whose left factor stays in the second-level cache: every thread packs it for itself, and the panels of the
//! right factor that it multiplies.
//!
//! What one core has written and another one reads, and writes again the next time, travels between their caches: for
//! products of this size that takes longer than to pack it once more. Nothing is joined but the end.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Cpu;
use crate::buffer::Buffer;
use crate::isa::{Isa, dispatch};

use super::gemm::each;
use super::micro::{Ahead, Column, Kernels, LINE, STEPS};
use super::pack::{Pack, Strip};
use super::vector::Real;
use super::{FORK, Finish, Product};

/// Longest sums: a panel of B, too, must stay in the cache.
const DEPTH: usize = 2048;
/// Panels of B, at least: each is a task.
const PANELS: usize = 8;

/// Memory of one thread.
#[derive(Default)]
struct Own {
    /// The panels of A, and the number of the product that they are of.
    a: Option<Buffer>,
    product: u64,
    /// A panel of B.
    b: Option<Buffer>,
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

/// Whether a product should be computed by [`resident`].
pub(super) fn suits<T>(kernels: &Kernels<T>, p: &Product<T>) -> bool {
    p.m * p.k * size_of::<T>() <= kernels.block && p.k <= DEPTH && p.n > (PANELS - 1) * kernels.cols()
}

/// Computes c = a·b, one task for each panel of B, and passes c to `finish`. No size is zero.
pub(super) fn resident<T: Real>(cpu: &Cpu, p: &Product<T>, finish: Option<&Finish<T>>) {
    static PRODUCTS: AtomicU64 = AtomicU64::new(1);
    let product = PRODUCTS.fetch_add(1, Ordering::Relaxed);
    let kernels = T::kernels(cpu.isa);
    let width = kernels.cols();
    each(cpu, p.m * p.n * p.k >= FORK, p.n.div_ceil(width), &|task| {
        let mut own = OWN.take();
        let a = room::<T>(&mut own.a, p.m * p.k);
        if own.product != product {
            own.product = product;
            let strip = Strip { data: p.a.data, lane: p.a.rows, step: p.a.cols, lanes: 0, k: p.k };
            dispatch(cpu.isa, Pack { strip, lanes: p.m, width: kernels.rows(), fill: false, to: a });
        }
        let (from, b) = (task * width, room(&mut own.b, width * p.k));
        let cols = width.min(p.n - from);
        panel(cpu.isa, kernels, p, from, cols, a, b);
        OWN.set(own);
        // SAFETY: these columns of c belong to this task.
        unsafe { p.finish(finish, 0, p.m, from, cols) };
    });
}

/// Columns `from .. from + cols` of c, from packed panels of A; `b` is room for the panel of B.
fn panel<T: Real>(isa: Isa, kernels: &Kernels<T>, p: &Product<T>, from: usize, cols: usize, a: *const T, b: *mut T) {
    let (k, width) = (p.k, kernels.cols());
    // SAFETY: the columns are inside b and c; the panels have room for these sizes, and the kernels are those of this
    // machine.
    unsafe {
        let data = p.b.at(0, from);
        let strip = Strip { data, lane: p.b.cols, step: p.b.rows, lanes: 0, k };
        dispatch(isa, Pack { strip, lanes: cols, width, fill: true, to: b });
        let column = Column { rows: p.m, cols, k, a, b, c: p.c.add(from), c_row: p.n, accumulate: false };
        let next = data.wrapping_offset(width as isize * p.b.cols);
        column.run(kernels, |tile| ahead(p, next, tile * k.div_ceil(STEPS)));
    }
}

/// Where line `line` of the columns at `next` lies: they are fetched while the panel before them is multiplied.
#[inline]
fn ahead<T>(p: &Product<T>, next: *const T, line: usize) -> Ahead<T> {
    let size = LINE / size_of::<T>();
    if p.b.cols == 1 {
        // One line of every row, then the next line of every row.
        let (row, across) = (line % p.k, line / p.k * size);
        return Ahead { from: next.wrapping_offset(row as isize * p.b.rows + across as isize), step: p.b.rows };
    }
    let each = (p.k / size).max(1);
    let (col, down) = (line / each, line % each * size);
    Ahead::lines(next.wrapping_offset(col as isize * p.b.cols + down as isize * p.b.rows))
}
