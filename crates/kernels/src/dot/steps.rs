//! Micro-kernels for a left factor that is made anew for each product: it lies in blocks of [`BLOCK`] columns, rows one
//! after the other in a block, so that whoever makes it writes whole cache lines, and no copy is needed.

use super::vector::{Real, Vector};
use crate::isa::{Isa, prefetch};

/// Columns of the left factor that lie side by side.
pub(super) const BLOCK: usize = 16;
/// Steps that are added up in one chain, see [`super::micro`].
const CHAIN: usize = 256;
/// Steps that the panel is fetched ahead.
const AHEAD: usize = 12;

/// A tile of C: c[r, j] (+)= Σ_k a[r, k]·b[k, j]; rows and registers of columns are those of the kernel called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile<T> {
    /// Length of the sums.
    pub k: usize,
    /// a[0, 0]; rows are [`BLOCK`] apart.
    pub a: *const T,
    /// Distance of the blocks of A.
    pub a_block: usize,
    /// A panel of twice the lanes.
    pub b: *const T,
    /// c[0, 0]
    pub c: *mut T,
    /// Distance of rows of C.
    pub c_row: usize,
    /// Whether the product is added to C, or replaces it.
    pub accumulate: bool,
    /// What is asked for meanwhile.
    pub ahead: Upcoming<T>,
    /// How many lines of each row of it, and of how many rows.
    pub lines: usize,
    pub rows: usize,
}

/// Two matrices that are used after a product, asked for while it runs: addresses of any kind, rows so many elements
/// apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upcoming<T> {
    pub(crate) at: [*const T; 2],
    pub(crate) row: usize,
}

impl<T> Upcoming<T> {
    /// The same from row `row` on.
    pub(super) fn below(self, row: usize) -> Upcoming<T> {
        Upcoming { at: self.at.map(|p| p.wrapping_add(row * self.row)), row: self.row }
    }
}

/// Computes a tile. The machine must have the kernel's instructions, and the pointers must be valid for it.
pub(super) type TileFn<T> = unsafe fn(&Tile<T>);
/// Kernels by rows, then by registers of columns.
pub(super) type Table<T> = &'static [[TileFn<T>; 2]];

/// A type that has these kernels.
pub(super) trait Steps: Real {
    fn steps(isa: Isa) -> Table<Self>;
}

/// A tile of `R` rows and `C` registers of columns, all of them.
///
/// # Safety
/// A and B are valid for `t.k` steps, C for `R` rows of `C` registers; the function this is inlined into has the
/// instructions of `V`.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
    // SAFETY: by the caller.
    unsafe {
        let (mut a, mut b, mut left, mut accumulate) = (t.a, t.b, t.k, t.accumulate);
        let (mut row, mut line, mut ahead) = (0, 0, 0);
        loop {
            let mut acc = [[V::zero(); C]; R];
            let mut chain = left.min(CHAIN);
            left -= chain;
            while chain > 0 {
                let steps = chain.min(BLOCK);
                if row < t.rows {
                    prefetch(t.ahead.at[0].wrapping_byte_add(ahead + 64 * line));
                    prefetch(t.ahead.at[1].wrapping_byte_add(ahead + 64 * line));
                    line += 1;
                    if line == t.lines {
                        (row, line, ahead) = (row + 1, 0, ahead + t.ahead.row * size_of::<V::Scalar>());
                    }
                }
                for k in 0..steps {
                    let mut column = [V::zero(); C];
                    for v in 0..C {
                        prefetch(b.wrapping_add((2 * AHEAD + v) * V::LANES));
                        column[v] = V::load(b.add(v * V::LANES));
                    }
                    b = b.add(2 * V::LANES);
                    for r in 0..R {
                        let x = V::splat(*a.add(r * BLOCK + k));
                        for v in 0..C {
                            acc[r][v] = acc[r][v].fma(x, column[v]);
                        }
                    }
                }
                a = a.add(t.a_block);
                chain -= steps;
            }
            for r in 0..R {
                for v in 0..C {
                    let p = t.c.add(r * t.c_row + v * V::LANES);
                    let sum = if accumulate { V::load(p).add(acc[r][v]) } else { acc[r][v] };
                    sum.store(p);
                }
            }
            if left == 0 {
                return;
            }
            accumulate = true;
        }
    }
}

/// A table of kernels that are compiled with the instructions of a target.
macro_rules! table {
    ($(#[$compiled:meta])? $name:ident, $($rows:literal)*) => {
        mod $name {
            use super::{Table, Tile, TileFn, Vector};

            $(#[$compiled])?
            unsafe fn tile<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
                // SAFETY: by the caller; this function has the instructions of `V`.
                unsafe { super::tile::<V, R, C>(t) }
            }

            struct All<V>(V);
            impl<V: Vector> All<V> {
                const TILES: &[[TileFn<V::Scalar>; 2]] = &[$([tile::<V, $rows, 1>, tile::<V, $rows, 2>]),*];
            }

            pub(super) fn tiles<V: Vector + 'static>() -> Table<V::Scalar> {
                All::<V>::TILES
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
table!(#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")] avx512, 1 2 3 4 5 6 7 8 9 10 11 12);
#[cfg(target_arch = "x86_64")]
table!(#[target_feature(enable = "avx2,fma,f16c,bmi2")] avx2, 1 2 3 4 5 6);
table!(portable, 1 2 3 4);

impl Steps for f32 {
    fn steps(isa: Isa) -> Table<f32> {
        match isa.min(Isa::detect()) {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::tiles::<std::arch::x86_64::__m512>(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::tiles::<std::arch::x86_64::__m256>(),
            _ => portable::tiles::<[f32; 4]>(),
        }
    }
}

impl Steps for f64 {
    fn steps(isa: Isa) -> Table<f64> {
        match isa.min(Isa::detect()) {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => avx512::tiles::<std::arch::x86_64::__m512d>(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::tiles::<std::arch::x86_64::__m256d>(),
            _ => portable::tiles::<[f64; 2]>(),
        }
    }
}
