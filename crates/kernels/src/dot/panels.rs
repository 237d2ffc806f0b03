//! A right factor that is multiplied from the left by a few rows again and again: the weights of a recurrent network,
//! which every step multiplies by.

use crate::Cpu;
use crate::buffer::Buffer;
use crate::dtype::Element;
use crate::isa::Isa;
use crate::parts;

use super::micro::{DOTS, Dots};
use super::pack::{Strip, pack};
use super::steps::{BLOCK, Steps, Tile, Upcoming};
use crate::isa::prefetch;

/// Columns that are computed together: whole panels of any instruction set.
pub(crate) const COLUMNS: usize = 32;

/// Some rows of a left factor, in blocks of columns: element [r, k] is at `k / block · rows · block + r · block + k % block`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band {
    rows: usize,
    block: usize,
}

impl Band {
    /// `rows` rows of a factor of `k` columns, as `b` multiplies it.
    pub(crate) fn new<T>(rows: usize, b: &Panels<T>) -> Band {
        let block = if matches!(b.form, Form::Columns(_)) { b.k.max(1) } else { BLOCK };
        Band { rows, block }
    }

    /// Another number of rows of the same factor.
    pub(crate) fn of(self, rows: usize) -> Band {
        Band { rows, ..self }
    }

    /// Elements of `k` columns.
    pub(crate) fn len(&self, k: usize) -> usize {
        self.rows * k.next_multiple_of(self.block)
    }

    /// Where column `k` of row `r` is, and how many columns from there on lie side by side.
    #[inline(always)]
    pub(crate) fn at(&self, r: usize, k: usize) -> (usize, usize) {
        let inside = k % self.block;
        ((k - inside) * self.rows + r * self.block + inside, self.block - inside)
    }
}

#[derive(Debug)]
enum Form<'a, T> {
    /// Strips of columns in the order in which the micro-kernels read them, the last one filled up with zeros.
    Packed(Buffer),
    /// The columns one after the other, as they are: for so few rows that a copy would cost more than it gains.
    Columns(&'a [T]),
}

/// A matrix b [k, n].
#[derive(Debug)]
pub(crate) struct Panels<'a, T> {
    form: Form<'a, T>,
    k: usize,
    n: usize,
    isa: Isa,
}

impl<T> Panels<'_, T> {
    /// Rows of the matrix.
    pub(crate) fn k(&self) -> usize {
        self.k
    }
}

/// An element of matrices in panels: f32 or f64.
pub(crate) trait Factor: Element {
    /// Makes panels of b, `[k, n]`, or `[n, k]` where `transposed`, to be multiplied by `rows` rows at a time. Panics when
    /// it has another size.
    fn pack<'a>(cpu: &Cpu, b: &'a [Self], k: usize, n: usize, transposed: bool, rows: usize) -> Panels<'a, Self>;

    /// c = a·b, or c += a·b where it is to be `added`, for the columns of b from `from` on, at most [`COLUMNS`] of them:
    /// a lies in a band, and c has [`COLUMNS`] columns, of which those behind the last one of b hold anything. Panics when
    /// they have other sizes, or `from` is no multiple of [`COLUMNS`] inside b.
    ///
    /// The same columns of the band's rows in the matrices of `ahead` are in cache then.
    fn product(
        a: &[Self],
        band: Band,
        b: &Panels<Self>,
        from: usize,
        c: &mut [Self],
        added: bool,
        ahead: Option<Upcoming<Self>>,
    );
}

fn packed<'a, T: Steps>(cpu: &Cpu, b: &'a [T], k: usize, n: usize, transposed: bool, rows: usize) -> Panels<'a, T> {
    assert_eq!(b.len(), k * n, "elements of a factor in panels");
    if transposed && rows <= DOTS && k > 0 {
        return Panels { form: Form::Columns(b), k, n, isa: cpu.isa };
    }
    let width = T::kernels(cpu.isa).cols();
    let mut memory = Buffer::new(n.next_multiple_of(width) * k * size_of::<T>());
    let (lane, step) = if transposed { (k, 1) } else { (1, n) };
    let panels = if k == 0 { 0 } else { n.div_ceil(width) };
    parts::each(&cpu.pool, panels, (memory.get_mut::<T>(), width * k), |panel, to| {
        let j = panel * width;
        let data = b.as_ptr().wrapping_add(j * lane);
        let strip = Strip { data, lane: lane as isize, step: step as isize, lanes: width.min(n - j), k };
        // SAFETY: the strip is inside b, whose size is checked; `to` has width·k elements.
        unsafe { pack(&strip, width, to.as_mut_ptr()) };
    });
    Panels { form: Form::Packed(memory), k, n, isa: cpu.isa }
}

fn product<T: Steps>(
    a: &[T],
    band: Band,
    b: &Panels<T>,
    from: usize,
    c: &mut [T],
    added: bool,
    ahead: Option<Upcoming<T>>,
) {
    let (rows, k) = (band.rows, b.k);
    assert!(a.len() >= band.len(k) && c.len() >= rows * COLUMNS, "{} and {} for {rows} rows of {k}", a.len(), c.len());
    assert!(from < b.n && from.is_multiple_of(COLUMNS), "columns from {from} of {}", b.n);
    let cols = COLUMNS.min(b.n - from);
    let c = c.as_mut_ptr();
    match &b.form {
        Form::Packed(memory) => {
            let kernels = T::kernels(b.isa);
            let (width, lanes, tiles) = (kernels.cols(), kernels.lanes, T::steps(b.isa));
            let bands = rows.div_ceil(tiles.len());
            let panels = &memory.get::<T>()[from * k..];
            for j in (0..cols).step_by(width) {
                let panel = panels[j * k..][..width * k].as_ptr();
                for i in 0..bands {
                    let (first, end) = (i * rows / bands, (i + 1) * rows / bands);
                    // With narrow panels the first one asks for all.
                    let ahead = ahead.filter(|_| j == 0);
                    let tile = Tile {
                        k,
                        a: a.as_ptr().wrapping_add(first * BLOCK),
                        a_block: rows * BLOCK,
                        b: panel,
                        c: c.wrapping_add(first * COLUMNS + j),
                        c_row: COLUMNS,
                        accumulate: added,
                        rows: if ahead.is_some() { end - first } else { 0 },
                        ahead: ahead.map_or(Upcoming { at: [panel; 2], row: 0 }, |x| x.below(first)),
                        lines: (cols * size_of::<T>()).div_ceil(64),
                    };
                    // SAFETY: the tile is inside the band, the panel and c, whose sizes are checked; the kernel is one of
                    // this machine.
                    unsafe { tiles[end - first - 1][(width.min(cols - j) - 1) / lanes](&tile) };
                }
            }
        }
        Form::Columns(columns) => {
            assert!(rows <= DOTS && !added, "columns are multiplied by few rows");
            let kernels = T::kernels(b.isa);
            for j in (0..cols).step_by(DOTS) {
                let (count, b) = (DOTS.min(cols - j), columns[(from + j) * k..].as_ptr());
                let c = c.wrapping_add(j);
                // The next columns, wherever they are: a processor does not guess so short a way ahead.
                for line in (0..DOTS * k * size_of::<T>()).step_by(64) {
                    prefetch(b.wrapping_add(DOTS * k).wrapping_byte_add(line));
                }
                let tile = Dots { k, a: a.as_ptr(), a_row: k as isize, b, b_col: k as isize, c, c_row: COLUMNS };
                // SAFETY: rows and columns are inside the band, b and c, whose sizes are checked; the kernel is one of
                // this machine.
                unsafe { kernels.dots[rows - 1][count - 1](&tile) };
            }
        }
    }
}

macro_rules! factors {
    ($($t:ty),*) => {$(
        impl Factor for $t {
            fn pack<'a>(cpu: &Cpu, b: &'a [$t], k: usize, n: usize, transposed: bool, rows: usize) -> Panels<'a, $t> {
                packed(cpu, b, k, n, transposed, rows)
            }
            fn product(
                a: &[$t],
                band: Band,
                b: &Panels<$t>,
                from: usize,
                c: &mut [$t],
                added: bool,
                ahead: Option<Upcoming<$t>>,
            ) {
                product(a, band, b, from, c, added, ahead);
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
            let cpu = Cpu::new(Some(isa), 2);
            for (rows, n, k) in [(1, 1, 1), (3, 5, 2), (5, 33, 4), (12, 64, 9), (7, 100, 17), (11, 40, 600), (2, 3, 0)]
            {
                let (a, b) = (whole(rows * k, 1), whole(n * k, 2));
                for (transposed, added) in [(false, false), (false, true), (true, rows > DOTS)] {
                    let at = |l: usize, j: usize| if transposed { b[j * k + l] } else { b[l * n + j] };
                    let panels = f32::pack(&cpu, &b, k, n, transposed, rows);
                    let band = Band::new(rows, &panels);
                    let mut factor = vec![f32::NAN; band.len(k)];
                    for r in 0..rows {
                        for l in 0..k {
                            factor[band.at(r, l).0] = a[r * k + l];
                        }
                    }
                    for from in (0..n).step_by(COLUMNS) {
                        let mut c = whole(rows * COLUMNS, 3);
                        let old = c.clone();
                        let ahead = (n % 2 == 0).then_some(Upcoming { at: [a.as_ptr(), std::ptr::null()], row: k });
                        f32::product(&factor, band, &panels, from, &mut c, added, ahead);
                        for (r, j) in (0..rows).flat_map(|r| (0..COLUMNS.min(n - from)).map(move |j| (r, j))) {
                            let sum: f32 = (0..k).map(|l| a[r * k + l] * at(l, from + j)).sum();
                            let before = if added { old[r * COLUMNS + j] } else { 0.0 };
                            let what = format!("{rows} {n} {k} {transposed} {added} {}", isa.name());
                            assert_eq!(c[r * COLUMNS + j], before + sum, "{what}");
                        }
                    }
                }
            }
        }
    }
}
