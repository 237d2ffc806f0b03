//! Products of blocks that a kernel holds in cache: attention's, whose right factors it packs itself.

use crate::dtype::Element;
use crate::isa::Isa;

use super::micro::{Ahead, Tile};
use super::pack::{Strip, pack};
use super::vector::Real;

/// A matrix in a slice: element `[i, j]` is `data[i·row + j·col]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) row: usize,
    pub(crate) col: usize,
}

impl<T> Block<'_, T> {
    /// Whether a matrix of `rows × cols` is inside the data.
    fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0 || cols == 0 || (rows - 1) * self.row + (cols - 1) * self.col < self.data.len()
    }
}

/// An element of blocks: f32 or f64.
pub(crate) trait Blocks: Element {
    /// Elements that b `[k, n]` takes in panels.
    fn panels_len(isa: Isa, k: usize, n: usize) -> usize;

    /// Packs b `[k, n]` into panels. Panics when it leaves its data or `to` is too small.
    fn pack_panels(isa: Isa, k: usize, n: usize, b: Block<Self>, to: &mut [Self]);

    /// c (+)= a·b for a `[m, k]`, the first k rows of b `[depth, n]` in panels, and c `[m, n]` contiguous; c is added to
    /// where `add`. Panics when one of them is too small.
    fn block_product(isa: Isa, size: [usize; 3], a: Block<Self>, b: (&[Self], usize), c: &mut [Self], add: bool);
}

fn panels_len<T: Real>(isa: Isa, k: usize, n: usize) -> usize {
    n.next_multiple_of(T::kernels(isa).cols()) * k
}

fn pack_panels<T: Real>(isa: Isa, k: usize, n: usize, b: Block<T>, to: &mut [T]) {
    assert!(b.holds(k, n) && to.len() >= panels_len::<T>(isa, k, n), "a block of {k} × {n}");
    let width = T::kernels(isa).cols();
    for j in (0..n).step_by(width) {
        let data = b.data.as_ptr().wrapping_add(j * b.col);
        let strip = Strip { data, lane: b.col as isize, step: b.row as isize, lanes: width.min(n - j), k };
        // SAFETY: the strip is inside b and panel j/width inside `to`, as was checked.
        unsafe { pack(&strip, width, to.as_mut_ptr().wrapping_add(j * k)) };
    }
}

fn block_product<T: Real>(
    isa: Isa,
    [m, n, k]: [usize; 3],
    a: Block<T>,
    (b, depth): (&[T], usize),
    c: &mut [T],
    add: bool,
) {
    let kernels = T::kernels(isa);
    assert!(a.holds(m, k) && c.len() >= m * n, "blocks of {m}, {n}, {k}");
    assert!(k <= depth && b.len() >= panels_len::<T>(isa, depth, n), "{k} of {depth} rows of a block in panels");
    let width = kernels.cols();
    // Bands of the same height, or one row less: a low one would take as long as a high one.
    let bands = m.div_ceil(kernels.rows());
    let edge = |band: usize| band * m / bands;
    for j in (0..n).step_by(width) {
        let cols = width.min(n - j);
        for (from, to) in (0..bands).map(|band| (edge(band), edge(band + 1))) {
            let tile = Tile {
                k,
                a: a.data.as_ptr().wrapping_add(from * a.row),
                a_row: a.row as isize,
                a_k: a.col as isize,
                b: b.as_ptr().wrapping_add(j * depth),
                b_k: width as isize,
                c: c.as_mut_ptr().wrapping_add(from * n + j),
                c_row: n,
                cols,
                accumulate: add,
                ahead: Ahead::line(b.as_ptr(), 0),
            };
            // SAFETY: the tile is inside a, the panels and c, as was checked; the kernel is one of this machine.
            unsafe { kernels.direct[to - from - 1][(cols - 1) / kernels.lanes](&tile) };
        }
    }
}

macro_rules! blocks {
    ($($t:ty),*) => {$(
        impl Blocks for $t {
            fn panels_len(isa: Isa, k: usize, n: usize) -> usize {
                panels_len::<$t>(isa, k, n)
            }
            fn pack_panels(isa: Isa, k: usize, n: usize, b: Block<$t>, to: &mut [$t]) {
                pack_panels(isa, k, n, b, to);
            }
            fn block_product(isa: Isa, size: [usize; 3], a: Block<$t>, b: (&[$t], usize), c: &mut [$t], add: bool) {
                block_product(isa, size, a, b, c, add);
            }
        }
    )*};
}
blocks!(f32, f64);

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, whose sums are exact: against a plain loop, on every instruction set.
    #[test]
    fn products_of_blocks_are_those_of_a_loop() {
        let whole = |n: usize, salt: usize| (0..n).map(|i| ((i * 7 + salt) % 9) as f32 - 4.0).collect::<Vec<f32>>();
        for isa in Isa::available() {
            for (m, n, k) in
                [(1, 1, 1), (3, 5, 2), (7, 33, 4), (14, 64, 9), (64, 100, 70), (2, 0, 3), (0, 3, 2), (2, 3, 0)]
            {
                // Rows are longer than the matrix is wide, or it is transposed.
                let a = whole(m * (k + 3), 1);
                let b = whole((k + 2) * (n + 2), 2);
                for (transposed, add) in [(false, true), (true, false)] {
                    let (row, col) = if transposed { (1, k + 2) } else { (n + 2, 1) };
                    let b = Block { data: &b, row, col };
                    let mut panels = vec![7.0; f32::panels_len(isa, k, n)];
                    f32::pack_panels(isa, k, n, b, &mut panels);
                    let a = Block { data: &a, row: k + 3, col: 1 };
                    let mut c = whole(m * n, 3);
                    let at = |x: &Block<f32>, i: usize, j: usize| x.data[i * x.row + j * x.col];
                    let sum = |i: usize, j: usize| (0..k).map(|l| at(&a, i, l) * at(&b, l, j)).sum::<f32>();
                    let old = |c: f32| if add { c } else { 0.0 };
                    let expected: Vec<f32> =
                        c.iter().enumerate().map(|(e, &c)| old(c) + sum(e / n.max(1), e % n.max(1))).collect();
                    f32::block_product(isa, [m, n, k], a, (&panels, k), &mut c, add);
                    assert_eq!(c, expected, "{m} {n} {k} {transposed} {}", isa.name());
                }
            }
        }
    }
}
