//! AVX-512 with bf16: the tiles of [`super::micro_avx512`], where an element of a panel is a pair of steps in bf16.

use std::arch::x86_64::*;

use super::micro::{self, Kernels, Tile, TileFn};
use super::micro_avx512;
use super::vector::Vector;

/// Sixteen sums in f32, or sixteen pairs of bf16.
#[derive(Clone, Copy)]
struct Pairs(__m512);

impl Vector for Pairs {
    type Scalar = f32;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: by the caller.
        Pairs(unsafe { Vector::zero() })
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: by the caller.
        Pairs(unsafe { Vector::splat(x) })
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: by the caller.
        Pairs(unsafe { Vector::load(p) })
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: by the caller.
        Pairs(unsafe { Vector::load_first(p, n) })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: by the caller.
        unsafe { self.0.store(p) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: by the caller.
        unsafe { self.0.store_first(p, n) }
    }

    /// self + the products of both halves of each pair, in f32; denormal operands count as zero.
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: by the caller; registers of the same bits.
        unsafe {
            let pairs = |x: __m512| std::mem::transmute::<__m512, __m512bh>(x);
            Pairs(_mm512_dpbf16_ps(self.0, pairs(a.0), pairs(b.0)))
        }
    }

    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        // SAFETY: by the caller.
        Pairs(unsafe { self.0.add(a.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: by the caller.
        unsafe { self.0.sum() }
    }
}

#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")]
unsafe fn packed<const R: usize, const C: usize>(t: &Tile<f32>) {
    // SAFETY: by the caller; this function has the instructions.
    unsafe { micro::packed::<Pairs, R, C>(t) }
}

const PACKED: &[[TileFn<f32>; 2]] = &[
    [packed::<1, 1>, packed::<1, 2>],
    [packed::<2, 1>, packed::<2, 2>],
    [packed::<3, 1>, packed::<3, 2>],
    [packed::<4, 1>, packed::<4, 2>],
    [packed::<5, 1>, packed::<5, 2>],
    [packed::<6, 1>, packed::<6, 2>],
    [packed::<7, 1>, packed::<7, 2>],
    [packed::<8, 1>, packed::<8, 2>],
    [packed::<9, 1>, packed::<9, 2>],
    [packed::<10, 1>, packed::<10, 2>],
    [packed::<11, 1>, packed::<11, 2>],
    [packed::<12, 1>, packed::<12, 2>],
];

/// Panels of pairs; all else as for `f32`.
pub(super) static PAIRS: Kernels<f32> = Kernels { packed: PACKED, ..micro_avx512::kernels::<__m512>() };
