//! A right factor that is packed once and multiplied many times: the weights of a recurrent network, which every step
//! multiplies by.

use std::marker::PhantomData;

use crate::buffer::Buffer;
use crate::dtype::Element;
use crate::isa::Isa;

use super::micro::{Ahead, Tile};
use super::pack::{Strip, pack};
use super::vector::Real;

/// A matrix b [k, n] in panels: strips of columns in the order in which the micro-kernels read them.
#[derive(Debug)]
pub(crate) struct Panels<T> {
    memory: Buffer,
    k: usize,
    n: usize,
    isa: Isa,
    element: PhantomData<T>,
}

/// An element of matrices in panels: f32 or f64.
pub(crate) trait Factor: Element {
    /// Packs b, `[k, n]`, or `[n, k]` where `transposed`. Panics when it has another size.
    fn pack(isa: Isa, b: &[Self], k: usize, n: usize, transposed: bool) -> Panels<Self>;

    /// Rows that are best multiplied together.
    fn rows(isa: Isa) -> usize;

    /// c += a·b for a [m, k] and c [m, n]; `scratch` is memory that is used again and again. Panics when they have other
    /// sizes.
    fn add_product(m: usize, a: &[Self], b: &Panels<Self>, c: &mut [Self], scratch: &mut Vec<Self>);
}

impl<T> Panels<T> {
    /// Bytes that all panels take.
    pub(crate) fn bytes(&self) -> usize {
        self.memory.len()
    }
}

fn packed<T: Real>(isa: Isa, b: &[T], k: usize, n: usize, transposed: bool) -> Panels<T> {
    assert_eq!(b.len(), k * n, "elements of a factor in panels");
    let width = T::kernels(isa).cols();
    let mut memory = Buffer::new(n.next_multiple_of(width) * k * size_of::<T>());
    let to = memory.get_mut::<T>().as_mut_ptr();
    let (lane, step) = if transposed { (k, 1) } else { (1, n) };
    for j in (0..n).step_by(width) {
        let data = b.as_ptr().wrapping_add(j * lane);
        let strip = Strip { data, lane: lane as isize, step: step as isize, lanes: width.min(n - j), k };
        // SAFETY: the strip is inside b, whose size is checked; panel j/width has room for width·k elements.
        unsafe { pack(&strip, width, to.wrapping_add(j * k)) };
    }
    Panels { memory, k, n, isa, element: PhantomData }
}

fn add_product<T: Real>(m: usize, a: &[T], b: &Panels<T>, c: &mut [T], scratch: &mut Vec<T>) {
    let (k, n) = (b.k, b.n);
    assert!(c.len() == m * n && a.len() == m * k, "a product of {} by [{k}, {n}] added to {}", a.len(), c.len());
    let kernels = T::kernels(b.isa);
    let (width, height) = (kernels.cols(), kernels.rows());
    let panels = b.memory.get::<T>();
    scratch.resize(m * k, T::default());
    // Bands of the same height, or one row less: a low one would take as long as a high one.
    let bands = m.div_ceil(height).max(1);
    let edge = |band: usize| band * m / bands;
    for band in 0..bands {
        let (from, rows) = (edge(band), edge(band + 1) - edge(band));
        let data = a.as_ptr().wrapping_add(from * k);
        let strip = Strip { data, lane: k as isize, step: 1, lanes: rows, k };
        // SAFETY: the rows are inside a, and `scratch` has room for all of them.
        unsafe { pack(&strip, rows, scratch.as_mut_ptr().wrapping_add(from * k)) };
    }
    for j in (0..n).step_by(width) {
        let cols = width.min(n - j);
        let panel = panels[j * k..][..width * k].as_ptr();
        for band in (0..bands).filter(|_| m > 0) {
            let (from, rows) = (edge(band), edge(band + 1) - edge(band));
            let tile = Tile {
                k,
                a: scratch.as_ptr().wrapping_add(from * k),
                a_row: 1,
                a_k: rows as isize,
                b: panel,
                b_k: width as isize,
                c: c.as_mut_ptr().wrapping_add(from * n + j),
                c_row: n,
                cols,
                accumulate: true,
                ahead: Ahead::line(panel.wrapping_add(width * k), 0),
            };
            // SAFETY: the tile is inside the panels and c, whose sizes are checked; the kernel is one of this machine.
            unsafe { kernels.packed[rows - 1][(cols - 1) / kernels.lanes](&tile) };
        }
    }
}

macro_rules! factors {
    ($($t:ty),*) => {$(
        impl Factor for $t {
            fn pack(isa: Isa, b: &[$t], k: usize, n: usize, transposed: bool) -> Panels<$t> {
                packed(isa, b, k, n, transposed)
            }
            fn rows(isa: Isa) -> usize {
                <$t as Real>::kernels(isa).rows()
            }
            fn add_product(m: usize, a: &[$t], b: &Panels<$t>, c: &mut [$t], scratch: &mut Vec<$t>) {
                add_product(m, a, b, c, scratch);
            }
        }
    )*};
}
factors!(f32, f64);

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, whose sums are exact: against a plain loop, on every instruction set.
    #[test]
    fn products_by_panels_are_those_of_a_loop() {
        let whole = |n: usize, salt: usize| (0..n).map(|i| ((i * 7 + salt) % 9) as f32 - 4.0).collect::<Vec<f32>>();
        for isa in Isa::available() {
            for (m, n, k) in
                [(1, 1, 1), (3, 5, 2), (7, 33, 4), (14, 64, 9), (29, 100, 17), (2, 0, 3), (0, 3, 2), (2, 3, 0)]
            {
                let (a, b) = (whole(m * k, 1), whole(n * k, 2));
                for transposed in [false, true] {
                    let at = |i: usize, j: usize| if transposed { b[j * k + i] } else { b[i * n + j] };
                    let mut c = whole(m * n, 3);
                    let sum = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * at(l, j)).sum::<f32>();
                    let expected: Vec<f32> =
                        c.iter().enumerate().map(|(e, c)| c + sum(e / n.max(1), e % n.max(1))).collect();
                    f32::add_product(m, &a, &f32::pack(isa, &b, k, n, transposed), &mut c, &mut Vec::new());
                    assert_eq!(c, expected, "{m} {n} {k} {transposed} {}", isa.name());
                }
            }
        }
    }
}
