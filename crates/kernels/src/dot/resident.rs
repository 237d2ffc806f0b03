//! Products whose left factor stays in the second-level cache: every thread packs it for itself, and the panels of the
//! right factor that it multiplies.
//!
//! What one core has written and another one reads, and writes again the next time, travels between their caches: for
//! products of this size that takes longer than to pack it once more. Nothing is joined but the end.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Cpu;
use crate::buffer::Buffer;

use super::gemm::{Factors, each};
use super::micro::{Column, STEPS};
use super::pack::Range;
use super::vector::Real;
use super::{FORK, pass_on};

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
pub(super) fn suits<T: Real>(p: &Factors<T>) -> bool {
    p.m * p.k * size_of::<T>() <= p.kernels.block && p.k <= DEPTH && p.n > (PANELS - 1) * p.kernels.cols()
}

/// Computes c = a·b, one task for each panel of B. No size is zero.
pub(super) fn resident<T: Real>(cpu: &Cpu, p: &Factors<T>) {
    static PRODUCTS: AtomicU64 = AtomicU64::new(1);
    let product = PRODUCTS.fetch_add(1, Ordering::Relaxed);
    let (width, rows, steps) = (p.kernels.cols(), Range { start: 0, len: p.m }, Range { start: 0, len: p.k });
    each(cpu, p.m * p.n * p.k >= FORK, p.n.div_ceil(width), &|task| {
        let mut own = OWN.take();
        let cols = Range { start: 0, len: p.n }.piece(task, width);
        let (a, b) = (room::<T>(&mut own.a, p.m * p.k), room(&mut own.b, width * p.k));
        // SAFETY: the ranges are inside the factors and c, both memories have room for their panels and are this thread's,
        // and the kernels are those of this machine.
        unsafe {
            if own.product != product {
                own.product = product;
                p.a.pack(cpu.isa, rows, steps, p.kernels.rows(), false, a);
            }
            p.b.pack(cpu.isa, cols, steps, width, true, b);
            let c = p.c.add(cols.start);
            let column = Column { rows: p.m, cols: cols.len, k: p.k, a, b, c, c_row: p.n, accumulate: false };
            // While this panel is multiplied, what the next one is made of is fetched.
            let lines = p.k.div_ceil(STEPS);
            column.run(p.kernels, |tile| p.b.ahead(cols.start + width, p.k, tile * lines));
            OWN.set(own);
            pass_on(p.c, p.n, p.finish, rows, cols);
        }
    });
}
