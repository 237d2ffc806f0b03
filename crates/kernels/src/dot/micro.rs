//! The micro-kernels: a tile of the product is held in registers while k runs.
//!
//! The tiles are those of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
//! (ACM TOMS 34, 2008): one column of a panel of A times one row of a panel of B is an outer product
//! that is added to the tile. Each element of the product is one chain of multiply-adds in order of k,
//! whatever tile it falls in, so how a matrix is cut changes no bit of the result.

use super::placed;
use super::vector::Vector;
use crate::isa::{LINE, prefetch};

/// A tile of C: `rows × cols`, c[r, j] (+)= Σ_k a[r, k]·b[k, j]; the number of rows is that of the kernel called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile<T> {
    /// Length of the sums.
    pub k: usize,
    /// a[0, 0]; a panel has its rows side by side.
    pub a: *const T,
    /// Distance of rows of A. Not used by packed kernels.
    pub a_row: isize,
    /// Distance of columns of A. Not used by packed kernels.
    pub a_k: isize,
    /// b[0, 0]; columns are side by side.
    pub b: *const T,
    /// Distance of rows of B. Not used by packed kernels.
    pub b_k: isize,
    /// c[0, 0]; columns are side by side.
    pub c: *mut T,
    /// Distance of rows of C.
    pub c_row: usize,
    /// Columns to compute: 1 ..= twice the lanes.
    pub cols: usize,
    /// Whether the product is added to C, or replaces it.
    pub accumulate: bool,
    /// What a packed kernel asks for while it runs: the next panel of B.
    pub ahead: Ahead<T>,
}

/// Memory to be fetched while a tile is made: a cache line every [`STEPS`] steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead<T> {
    /// The first address, which may be any.
    pub from: *const T,
    /// Bytes from one line asked for to the next.
    pub step: isize,
}

impl<T> Ahead<T> {
    /// The lines from number `line` on, counted from `first`.
    pub fn line(first: *const T, line: usize) -> Ahead<T> {
        Ahead { from: first.wrapping_byte_add(line * LINE), step: LINE as isize }
    }
}

/// Steps that a packed kernel makes for each cache line it asks for.
pub(super) const STEPS: usize = 4;
/// Rows of B that a direct kernel fetches ahead.
const AHEAD: isize = 8;
/// Steps that are added up in one chain: what a sum loses grows with the root of its length, and the tile stays in the
/// first cache between two chains.
pub(super) const CHAIN: usize = 256;

/// A tile of C of dot products: c[r, s] = Σ_k a[r, k]·b[s, k], both operands side by side in k.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dots<T> {
    /// Length of the sums.
    pub k: usize,
    /// a[0, 0].
    pub a: *const T,
    /// Distance of rows of A.
    pub a_row: isize,
    /// b[0, 0].
    pub b: *const T,
    /// Distance of columns of B.
    pub b_col: isize,
    /// c[0, 0].
    pub c: *mut T,
    /// Distance of rows of C.
    pub c_row: usize,
}

/// y[..rows] += Σ_s x[s]·a[s, ..rows] for up to [`AXPY`] columns, each side by side in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axpy<T> {
    /// Length of `y`.
    pub rows: usize,
    /// a[0, 0].
    pub a: *const T,
    /// Distance of columns of A.
    pub a_col: isize,
    /// One factor for each column.
    pub x: [T; AXPY],
    /// y[0].
    pub y: *mut T,
}

/// Columns that one [`Axpy`] adds.
pub(super) const AXPY: usize = 8;
/// Largest tile of [`Dots`], each way.
pub(super) const DOTS: usize = 4;

/// Computes a tile. The machine must have the kernel's instructions, and the pointers must be valid for it.
pub(super) type TileFn<T> = unsafe fn(&Tile<T>);
/// Computes a tile of dot products, under the same conditions.
pub(super) type DotsFn<T> = unsafe fn(&Dots<T>);
/// Adds columns to a vector, under the same conditions.
pub(super) type AxpyFn<T> = unsafe fn(&Axpy<T>);

/// The micro-kernels of one instruction set and type.
#[derive(Debug)]
pub(super) struct Kernels<T: 'static> {
    /// Lanes of a register; a panel of B is twice as wide.
    pub lanes: usize,
    /// Bytes of A that a task works on: what fits in the second-level cache of machines with these instructions,
    /// beside a panel of B.
    pub block: usize,
    /// `packed[r - 1][v - 1]`: r rows and v registers of columns, from panels.
    pub packed: &'static [[TileFn<T>; 2]],
    /// The same from matrices with strides.
    pub direct: &'static [[TileFn<T>; 2]],
    /// `placed[r - 1][v - 1]`: the same from rows at any places and a panel of B.
    pub placed: &'static [[placed::TileFn<T>; 2]],
    /// `dots[r - 1][s - 1]`: r rows by s columns.
    pub dots: &'static [[DotsFn<T>; DOTS]; DOTS],
    /// Adds [`AXPY`] columns.
    pub axpy: AxpyFn<T>,
}

impl<T> Kernels<T> {
    /// Rows of a full tile, and of a panel of A.
    #[inline]
    pub fn rows(&self) -> usize {
        self.packed.len()
    }

    /// Columns of a full tile, and of a panel of B.
    #[inline]
    pub fn cols(&self) -> usize {
        2 * self.lanes
    }
}

/// The tiles that panels of A, one below the other, make with one panel of B.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<T> {
    /// Rows of A: whole panels, the last one as high as rows are left.
    pub rows: usize,
    /// Columns of B: 1 ..= twice the lanes.
    pub cols: usize,
    /// Length of the sums.
    pub k: usize,
    /// The panels of A.
    pub a: *const T,
    /// The panel of B.
    pub b: *const T,
    /// c[0, 0]; columns are side by side.
    pub c: *mut T,
    /// Distance of rows of C.
    pub c_row: usize,
    /// Whether the product is added to C, or replaces it.
    pub accumulate: bool,
}

impl<T> Column<T> {
    /// Computes them; `ahead` says what tile n asks for.
    ///
    /// # Safety
    /// The panels and C are valid for these sizes, and the kernels are those of this machine.
    #[inline]
    pub unsafe fn run(&self, kernels: &Kernels<T>, ahead: impl Fn(usize) -> Ahead<T>) {
        let &Column { rows, cols, k, a, b, c, c_row, accumulate } = self;
        for (n, from) in (0..rows).step_by(kernels.rows()).enumerate() {
            let height = kernels.rows().min(rows - from);
            // SAFETY: by the caller.
            unsafe {
                let (a, c, ahead) = (a.add(from * k), c.add(from * c_row), ahead(n));
                let tile = Tile { k, a, a_row: 1, a_k: 0, b, b_k: 0, c, c_row, cols, accumulate, ahead };
                kernels.packed[height - 1][(cols - 1) / kernels.lanes](&tile);
            }
        }
    }
}

/// Writes a tile that stands in registers.
#[inline(always)]
unsafe fn write<V: Vector, const R: usize, const C: usize>(acc: &[[V; C]; R], t: &Tile<V::Scalar>, accumulate: bool) {
    for r in 0..R {
        for v in 0..C {
            // SAFETY: by the caller, C is valid for R rows of `cols` elements and the instructions are there.
            unsafe {
                let p = t.c.add(r * t.c_row + v * V::LANES);
                let left = t.cols - v * V::LANES;
                if left >= V::LANES {
                    let sum = if accumulate { V::load(p).add(acc[r][v]) } else { acc[r][v] };
                    sum.store(p);
                } else {
                    let sum = if accumulate { V::load_first(p, left).add(acc[r][v]) } else { acc[r][v] };
                    sum.store_first(p, left);
                }
            }
        }
    }
}

/// Adds one step of packed panels.
#[inline(always)]
unsafe fn outer<V: Vector, const R: usize, const C: usize>(
    a: *const V::Scalar,
    b: *const V::Scalar,
    acc: &mut [[V; C]; R],
) {
    // SAFETY: by the caller, the panels have this step and the instructions are there.
    unsafe {
        let mut row = [V::zero(); C];
        for v in 0..C {
            row[v] = V::load(b.add(v * V::LANES));
        }
        for r in 0..R {
            let x = V::splat(*a.add(r));
            for v in 0..C {
                acc[r][v] = acc[r][v].fma(x, row[v]);
            }
        }
    }
}

/// A tile from a panel of A (`R` rows side by side) and a panel of B (twice the lanes side by side).
///
/// # Safety
/// The panels are valid for `t.k` steps, C for `R` rows of `t.cols` ≤ `C·LANES` elements, more than `(C - 1)·LANES`;
/// the function this is inlined into has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn packed<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
    // SAFETY: by the caller.
    unsafe {
        for r in 0..R {
            for v in 0..C {
                prefetch(t.c.wrapping_add(r * t.c_row + v * V::LANES));
            }
        }
        let (mut a, mut b, mut ahead) = (t.a, t.b, t.ahead.from);
        let (mut left, mut accumulate) = (t.k, t.accumulate);
        loop {
            let mut acc = [[V::zero(); C]; R];
            let mut chain = left.min(CHAIN);
            left -= chain;
            while chain > 0 {
                prefetch(ahead);
                ahead = ahead.wrapping_byte_offset(t.ahead.step);
                let steps = chain.min(STEPS);
                for _ in 0..steps {
                    outer::<V, R, C>(a, b, &mut acc);
                    a = a.add(R);
                    b = b.add(2 * V::LANES);
                }
                chain -= steps;
            }
            write(&acc, t, accumulate);
            if left == 0 {
                return;
            }
            accumulate = true;
        }
    }
}

/// The same tile from A with any strides and B with columns side by side.
///
/// # Safety
/// As [`packed`], where A is valid for its strides and B for `t.cols` columns.
#[inline(always)]
pub(super) unsafe fn direct<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
    // SAFETY: by the caller.
    unsafe {
        let whole = t.cols == C * V::LANES;
        let last = t.cols - (C - 1) * V::LANES;
        let (mut begin, mut accumulate) = (0, t.accumulate);
        loop {
            let mut acc = [[V::zero(); C]; R];
            let end = t.k.min(begin + CHAIN);
            for k in begin as isize..end as isize {
                let (a, b) = (t.a.offset(k * t.a_k), t.b.offset(k * t.b_k));
                prefetch(b.wrapping_offset(AHEAD * t.b_k));
                let mut row = [V::zero(); C];
                for v in 0..C {
                    let p = b.add(v * V::LANES);
                    row[v] = if whole || v + 1 < C { V::load(p) } else { V::load_first(p, last) };
                }
                for r in 0..R {
                    let x = V::splat(*a.offset(r as isize * t.a_row));
                    for v in 0..C {
                        acc[r][v] = acc[r][v].fma(x, row[v]);
                    }
                }
            }
            write(&acc, t, accumulate);
            if end == t.k {
                return;
            }
            (begin, accumulate) = (end, true);
        }
    }
}

/// `R × S` dot products.
///
/// # Safety
/// The rows of A, the columns of B and C are valid; the function this is inlined into has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn dots<V: Vector, const R: usize, const S: usize>(t: &Dots<V::Scalar>) {
    // SAFETY: by the caller.
    unsafe {
        let mut acc = [[V::zero(); S]; R];
        let mut k = 0;
        while k < t.k {
            let left = t.k - k;
            let load = |p: *const V::Scalar| if left >= V::LANES { V::load(p) } else { V::load_first(p, left) };
            let (mut x, mut y) = ([V::zero(); R], [V::zero(); S]);
            for r in 0..R {
                x[r] = load(t.a.offset(r as isize * t.a_row).add(k));
            }
            for s in 0..S {
                y[s] = load(t.b.offset(s as isize * t.b_col).add(k));
            }
            for r in 0..R {
                for s in 0..S {
                    acc[r][s] = acc[r][s].fma(x[r], y[s]);
                }
            }
            k += V::LANES;
        }
        for r in 0..R {
            for s in 0..S {
                *t.c.add(r * t.c_row + s) = acc[r][s].sum();
            }
        }
    }
}

/// Adds [`AXPY`] columns to a vector.
///
/// # Safety
/// The columns and `y` are valid for `t.rows` elements; the function this is inlined into has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn axpy<V: Vector>(t: &Axpy<V::Scalar>) {
    // SAFETY: by the caller.
    unsafe {
        let mut x = [V::zero(); AXPY];
        for s in 0..AXPY {
            x[s] = V::splat(t.x[s]);
        }
        let mut i = 0;
        while i < t.rows {
            let left = t.rows - i;
            let whole = left >= V::LANES;
            let load = |p: *const V::Scalar| if whole { V::load(p) } else { V::load_first(p, left) };
            let mut y = load(t.y.add(i));
            for s in 0..AXPY {
                y = y.fma(x[s], load(t.a.offset(s as isize * t.a_col).add(i)));
            }
            if whole {
                y.store(t.y.add(i));
            } else {
                y.store_first(t.y.add(i), left);
            }
            i += V::LANES;
        }
    }
}
