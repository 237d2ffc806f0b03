//! AVX-512: tiles of 12 × 2 registers; 24 sums, 2 of B and the factor fill 27 of 32 registers.

use std::arch::x86_64::*;

use super::micro::{self, Axpy, AxpyFn, DOTS, Dots, DotsFn, Kernels, Tile, TileFn};
use super::placed;
use super::vector::{Real, Vector};

/// The lowest `n` lanes.
#[inline(always)]
fn mask16(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

/// The lowest `n` lanes.
#[inline(always)]
fn mask8(n: usize) -> __mmask8 {
    ((1u32 << n) - 1) as __mmask8
}

impl Vector for __m512 {
    type Scalar = f32;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_maskz_loadu_ps(mask16(n), p) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: by the caller.
        unsafe { _mm512_storeu_ps(p, self) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: by the caller.
        unsafe { _mm512_mask_storeu_ps(p, mask16(n), self) }
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }

    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_add_ps(self, a) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: by the caller.
        unsafe { _mm512_reduce_add_ps(self) }
    }
}

impl Vector for __m512d {
    type Scalar = f64;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_setzero_pd() }
    }

    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_set1_pd(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_loadu_pd(p) }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f64, n: usize) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_maskz_loadu_pd(mask8(n), p) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        // SAFETY: by the caller.
        unsafe { _mm512_storeu_pd(p, self) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f64, n: usize) {
        // SAFETY: by the caller.
        unsafe { _mm512_mask_storeu_pd(p, mask8(n), self) }
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_fmadd_pd(a, b, self) }
    }

    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm512_add_pd(self, a) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        // SAFETY: by the caller.
        unsafe { _mm512_reduce_add_pd(self) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")]
unsafe fn packed<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
    // SAFETY: by the caller; this function has the instructions of `V`.
    unsafe { micro::packed::<V, R, C>(t) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")]
unsafe fn direct<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
    // SAFETY: by the caller; this function has the instructions of `V`.
    unsafe { micro::direct::<V, R, C>(t) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")]
unsafe fn dots<V: Vector, const R: usize, const S: usize>(t: &Dots<V::Scalar>) {
    // SAFETY: by the caller; this function has the instructions of `V`.
    unsafe { micro::dots::<V, R, S>(t) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")]
unsafe fn axpy<V: Vector>(t: &Axpy<V::Scalar>) {
    // SAFETY: by the caller; this function has the instructions of `V`.
    unsafe { micro::axpy::<V>(t) }
}

/// The kernels that are made of registers `V`.
struct Table<V>(V);

impl<V: Vector> Table<V> {
    const PACKED: &[[TileFn<V::Scalar>; 2]] = &[
        [packed::<V, 1, 1>, packed::<V, 1, 2>],
        [packed::<V, 2, 1>, packed::<V, 2, 2>],
        [packed::<V, 3, 1>, packed::<V, 3, 2>],
        [packed::<V, 4, 1>, packed::<V, 4, 2>],
        [packed::<V, 5, 1>, packed::<V, 5, 2>],
        [packed::<V, 6, 1>, packed::<V, 6, 2>],
        [packed::<V, 7, 1>, packed::<V, 7, 2>],
        [packed::<V, 8, 1>, packed::<V, 8, 2>],
        [packed::<V, 9, 1>, packed::<V, 9, 2>],
        [packed::<V, 10, 1>, packed::<V, 10, 2>],
        [packed::<V, 11, 1>, packed::<V, 11, 2>],
        [packed::<V, 12, 1>, packed::<V, 12, 2>],
    ];
    const DIRECT: &[[TileFn<V::Scalar>; 2]] = &[
        [direct::<V, 1, 1>, direct::<V, 1, 2>],
        [direct::<V, 2, 1>, direct::<V, 2, 2>],
        [direct::<V, 3, 1>, direct::<V, 3, 2>],
        [direct::<V, 4, 1>, direct::<V, 4, 2>],
        [direct::<V, 5, 1>, direct::<V, 5, 2>],
        [direct::<V, 6, 1>, direct::<V, 6, 2>],
        [direct::<V, 7, 1>, direct::<V, 7, 2>],
        [direct::<V, 8, 1>, direct::<V, 8, 2>],
        [direct::<V, 9, 1>, direct::<V, 9, 2>],
        [direct::<V, 10, 1>, direct::<V, 10, 2>],
        [direct::<V, 11, 1>, direct::<V, 11, 2>],
        [direct::<V, 12, 1>, direct::<V, 12, 2>],
    ];
    const DOTS: &[[DotsFn<V::Scalar>; DOTS]; DOTS] = &[
        [dots::<V, 1, 1>, dots::<V, 1, 2>, dots::<V, 1, 3>, dots::<V, 1, 4>],
        [dots::<V, 2, 1>, dots::<V, 2, 2>, dots::<V, 2, 3>, dots::<V, 2, 4>],
        [dots::<V, 3, 1>, dots::<V, 3, 2>, dots::<V, 3, 3>, dots::<V, 3, 4>],
        [dots::<V, 4, 1>, dots::<V, 4, 2>, dots::<V, 4, 3>, dots::<V, 4, 4>],
    ];
    const AXPY: AxpyFn<V::Scalar> = axpy::<V>;
}

pub(super) const fn kernels<V: Vector>() -> Kernels<V::Scalar>
where
    V::Scalar: Real,
{
    Kernels {
        lanes: V::LANES,
        block: 768 << 10,
        packed: Table::<V>::PACKED,
        direct: Table::<V>::DIRECT,
        placed: placed::avx512::Table::<V>::TILES,
        dots: Table::<V>::DOTS,
        axpy: Table::<V>::AXPY,
    }
}

/// For `f32`.
pub(super) static F32: Kernels<f32> = kernels::<__m512>();
/// For `f64`.
pub(super) static F64: Kernels<f64> = kernels::<__m512d>();
