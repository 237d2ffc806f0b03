//! AVX2 and FMA: tiles of 6 × 2 registers; 12 sums, 2 of B and the factor fill 15 of 16 registers.

use std::arch::x86_64::*;

use super::micro::{self, Axpy, AxpyFn, DOTS, Dots, DotsFn, Kernels, Tile, TileFn};
use super::placed;
use super::vector::{Real, Vector};

/// All bits set in the lowest `n` lanes.
#[inline(always)]
fn mask8(n: usize) -> __m256i {
    const BITS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: n <= 8, so 8 values are read from inside the table; inlined where AVX2 is there.
    unsafe { _mm256_loadu_si256(BITS.as_ptr().add(8 - n).cast()) }
}

/// All bits set in the lowest `n` lanes.
#[inline(always)]
fn mask4(n: usize) -> __m256i {
    const BITS: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];
    // SAFETY: n <= 4, so 4 values are read from inside the table; inlined where AVX2 is there.
    unsafe { _mm256_loadu_si256(BITS.as_ptr().add(4 - n).cast()) }
}

impl Vector for __m256 {
    type Scalar = f32;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_maskload_ps(p, mask8(n)) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: by the caller.
        unsafe { _mm256_storeu_ps(p, self) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: by the caller.
        unsafe { _mm256_maskstore_ps(p, mask8(n), self) }
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }

    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_add_ps(self, a) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: by the caller.
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(self), _mm256_extractf128_ps::<1>(self));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        }
    }
}

impl Vector for __m256d {
    type Scalar = f64;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_setzero_pd() }
    }

    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_set1_pd(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_loadu_pd(p) }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f64, n: usize) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_maskload_pd(p, mask4(n)) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        // SAFETY: by the caller.
        unsafe { _mm256_storeu_pd(p, self) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f64, n: usize) {
        // SAFETY: by the caller.
        unsafe { _mm256_maskstore_pd(p, mask4(n), self) }
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_fmadd_pd(a, b, self) }
    }

    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        // SAFETY: by the caller.
        unsafe { _mm256_add_pd(self, a) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        // SAFETY: by the caller.
        unsafe {
            let half = _mm_add_pd(_mm256_castpd256_pd128(self), _mm256_extractf128_pd::<1>(self));
            _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)))
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c,bmi2")]
unsafe fn packed<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
    // SAFETY: by the caller; this function has the instructions of `V`.
    unsafe { micro::packed::<V, R, C>(t) }
}

#[target_feature(enable = "avx2,fma,f16c,bmi2")]
unsafe fn direct<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
    // SAFETY: by the caller; this function has the instructions of `V`.
    unsafe { micro::direct::<V, R, C>(t) }
}

#[target_feature(enable = "avx2,fma,f16c,bmi2")]
unsafe fn dots<V: Vector, const R: usize, const S: usize>(t: &Dots<V::Scalar>) {
    // SAFETY: by the caller; this function has the instructions of `V`.
    unsafe { micro::dots::<V, R, S>(t) }
}

#[target_feature(enable = "avx2,fma,f16c,bmi2")]
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
    ];
    const DIRECT: &[[TileFn<V::Scalar>; 2]] = &[
        [direct::<V, 1, 1>, direct::<V, 1, 2>],
        [direct::<V, 2, 1>, direct::<V, 2, 2>],
        [direct::<V, 3, 1>, direct::<V, 3, 2>],
        [direct::<V, 4, 1>, direct::<V, 4, 2>],
        [direct::<V, 5, 1>, direct::<V, 5, 2>],
        [direct::<V, 6, 1>, direct::<V, 6, 2>],
    ];
    const DOTS: &[[DotsFn<V::Scalar>; DOTS]; DOTS] = &[
        [dots::<V, 1, 1>, dots::<V, 1, 2>, dots::<V, 1, 3>, dots::<V, 1, 4>],
        [dots::<V, 2, 1>, dots::<V, 2, 2>, dots::<V, 2, 3>, dots::<V, 2, 4>],
        [dots::<V, 3, 1>, dots::<V, 3, 2>, dots::<V, 3, 3>, dots::<V, 3, 4>],
        [dots::<V, 4, 1>, dots::<V, 4, 2>, dots::<V, 4, 3>, dots::<V, 4, 4>],
    ];
    const AXPY: AxpyFn<V::Scalar> = axpy::<V>;
}

const fn kernels<V: Vector>() -> Kernels<V::Scalar>
where
    V::Scalar: Real,
{
    Kernels {
        lanes: V::LANES,
        block: 384 << 10,
        packed: Table::<V>::PACKED,
        direct: Table::<V>::DIRECT,
        placed: placed::avx2::Table::<V>::TILES,
        dots: Table::<V>::DOTS,
        axpy: Table::<V>::AXPY,
    }
}

/// For `f32`.
pub(super) static F32: Kernels<f32> = kernels::<__m256>();
/// For `f64`.
pub(super) static F64: Kernels<f64> = kernels::<__m256d>();
