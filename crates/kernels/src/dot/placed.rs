//! Products whose left factor is never laid out: element [r, k] is wherever `places[r] + steps[k]` says.
//!
//! That is what the matrix of a convolution looks like (its rows the windows, its columns the elements of a window), and
//! its transpose; to broadcast an element costs the same wherever it stands, so nothing is copied.

use crate::isa::Isa;

use super::pack::{Strip, pack};
use super::vector::{Real, Vector};
use crate::isa::prefetch;

/// A matrix a[r, k] = data[places[r] + steps[k]].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a, T> {
    /// What holds the elements.
    pub data: &'a [T],
    /// Where each row begins.
    pub places: &'a [u32],
    /// Where each column is, from there.
    pub steps: &'a [u32],
}

/// An element of placed matrices: f32 or f64.
pub(crate) trait Sums: crate::real::Real {
    /// Columns of a panel: [`Sums::multiply`] makes so many, or half as many, at once.
    fn width(isa: Isa) -> usize;

    /// c = a·b, or c += a·b where `accumulate`: b [k, width] is a panel of `width` = [`Sums::width`] columns, c [rows,
    /// width]. Only the first `cols` columns of c are wanted. Panics when a place is outside of the data, or b or c has
    /// another size.
    fn multiply(isa: Isa, a: &Placed<'_, Self>, b: &[Self], c: &mut [Self], cols: usize, accumulate: bool);

    /// to[i·width + l] = from[l·lane + i·step] for `lanes` lanes l and `k` steps i, zero for lanes from there to the width.
    /// Panics when an element is outside.
    fn panel(from: &[Self], strides: (usize, usize), sizes: (usize, usize), width: usize, to: &mut [Self]);
}

macro_rules! sums {
    ($($t:ty),*) => {$(
        impl Sums for $t {
            fn width(isa: Isa) -> usize {
                <$t as Real>::kernels(isa).cols()
            }
            fn multiply(isa: Isa, a: &Placed<'_, $t>, b: &[$t], c: &mut [$t], cols: usize, accumulate: bool) {
                multiply(isa, a, b, c, cols, accumulate);
            }
            fn panel(from: &[$t], strides: (usize, usize), sizes: (usize, usize), width: usize, to: &mut [$t]) {
                panel(from, strides, sizes, width, to);
            }
        }
    )*};
}
sums!(f32, f64);

fn multiply<T: Real>(isa: Isa, a: &Placed<'_, T>, b: &[T], c: &mut [T], cols: usize, accumulate: bool) {
    let kernels = T::kernels(isa);
    let (m, k, width) = (a.places.len(), a.steps.len(), kernels.cols());
    assert!(b.len() == k * width && c.len() == m * width, "{m}·{k} by {} into {}", b.len(), c.len());
    if m == 0 {
        return;
    }
    let furthest = |offsets: &[u32]| offsets.iter().fold(0, |most, &o| most.max(o)) as usize;
    assert!(k == 0 || furthest(a.places) + furthest(a.steps) < a.data.len(), "a place outside of the data");
    let half = usize::from(cols > kernels.lanes);
    // Bands of the same height, or one row less: a low one would take as long as a high one.
    let bands = m.div_ceil(kernels.placed.len());
    for begin in (0..k.max(1)).step_by(CHAIN) {
        for band in 0..bands {
            let (from, to) = (band * m / bands, (band + 1) * m / bands);
            let tile = Tile {
                data: a.data.as_ptr(),
                places: a.places[from..].as_ptr(),
                steps: a.steps[begin..].as_ptr(),
                k: CHAIN.min(k - begin),
                b: b[begin * width..].as_ptr(),
                c: c[from * width..].as_mut_ptr(),
                accumulate: accumulate || begin > 0,
            };
            // SAFETY: every element is inside the data, b and c have room for the tile, all checked above; the kernel is
            // one of this machine.
            unsafe { kernels.placed[to - from - 1][half](&tile) };
        }
    }
}

fn panel<T: Real>(from: &[T], (lane, step): (usize, usize), (lanes, k): (usize, usize), width: usize, to: &mut [T]) {
    assert!(lanes <= width && width * k <= to.len(), "{k} steps of {width} in {}", to.len());
    if lanes == 0 || k == 0 {
        return to[..width * k].fill(T::default());
    }
    assert!((lanes - 1) * lane + (k - 1) * step < from.len(), "a strip outside of its matrix");
    let strip = Strip { data: from.as_ptr(), lane: lane as isize, step: step as isize, lanes, k };
    // SAFETY: both are inside, as checked.
    unsafe { pack(&strip, width, to.as_mut_ptr()) };
}

/// One tile, of as many rows as its kernel has.
#[derive(Debug)]
pub(super) struct Tile<T> {
    data: *const T,
    places: *const u32,
    steps: *const u32,
    k: usize,
    b: *const T,
    c: *mut T,
    accumulate: bool,
}

/// Computes a tile. The machine must have the kernel's instructions, and the pointers must be valid for it.
pub(super) type TileFn<T> = unsafe fn(&Tile<T>);

/// A tile of `R` rows and `C` registers of columns, of rows of two registers.
///
/// # Safety
/// All elements of the tile are valid; the function this is inlined into has the instructions of `V`.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
    // SAFETY: by the caller.
    unsafe {
        let mut rows = [t.data; R];
        for r in 0..R {
            rows[r] = t.data.add(*t.places.add(r) as usize);
        }
        let mut acc = [[V::zero(); C]; R];
        let mut b = t.b;
        for k in 0..t.k {
            let step = *t.steps.add(k) as usize;
            let mut row = [V::zero(); C];
            for v in 0..C {
                row[v] = V::load(b.add(v * V::LANES));
            }
            prefetch(b.wrapping_add(AHEAD * 2 * V::LANES));
            b = b.add(2 * V::LANES);
            for r in 0..R {
                let x = V::splat(*rows[r].add(step));
                for v in 0..C {
                    acc[r][v] = acc[r][v].fma(x, row[v]);
                }
            }
        }
        for r in 0..R {
            for v in 0..C {
                let p = t.c.add((2 * r + v) * V::LANES);
                let sum = if t.accumulate { V::load(p).add(acc[r][v]) } else { acc[r][v] };
                sum.store(p);
            }
        }
    }
}

/// Products that are added up before the sum joins the others. A convolution's sums are long, and the error of one grows
/// with its chains: with 256 steps it was up to five times PyTorch's on its own cases.
const CHAIN: usize = 64;

/// Steps that b is asked for ahead.
const AHEAD: usize = 8;

/// A table of the tiles of `$rows` rows, compiled for some instructions.
macro_rules! table {
    ($name:ident, $(#[$features:meta])?, $($rows:literal)*) => {
        pub(super) mod $name {
            use super::{Tile, TileFn, Vector};

            $(#[$features])?
            unsafe fn tile<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
                // SAFETY: by the caller; this function has the instructions of `V`.
                unsafe { super::tile::<V, R, C>(t) }
            }

            pub(in crate::dot) struct Table<V>(V);

            impl<V: Vector> Table<V> {
                pub(in crate::dot) const TILES: &[[TileFn<V::Scalar>; 2]] = &[$([tile::<V, $rows, 1>, tile::<V, $rows, 2>]),*];
            }
        }
    };
}
table!(portable, , 1 2 3 4);
#[cfg(target_arch = "x86_64")]
table!(avx2, #[target_feature(enable = "avx2,fma,f16c,bmi2")], 1 2 3 4 5 6);
#[cfg(target_arch = "x86_64")]
table!(avx512, #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")],
    1 2 3 4 5 6 7 8 9 10 11 12 13 14);
