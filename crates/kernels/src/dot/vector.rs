//! What the micro-kernels need of a vector register, so that each of them is written once.

use crate::dtype::Element;
use crate::isa::Isa;

use super::micro::Kernels;

/// A type that sums of products are made in: `f32` or `f64`.
pub(super) trait Real: Element + Default + std::ops::Add<Output = Self> + std::ops::Mul<Output = Self> {
    /// The micro-kernels for an instruction set, or for the best one below it that this machine has.
    fn kernels(isa: Isa) -> &'static Kernels<Self>;

    /// Transposes 4 × 4 elements: to[i·width + lane] = from[lane·apart + i].
    ///
    /// # Safety
    /// Both are valid for these elements.
    #[inline(always)]
    unsafe fn transpose4(from: *const Self, apart: isize, to: *mut Self, width: usize) {
        for lane in 0..4 {
            // SAFETY: by the caller.
            let line = unsafe { from.offset(lane as isize * apart).cast::<[Self; 4]>().read_unaligned() };
            for i in 0..4 {
                // SAFETY: by the caller.
                unsafe { *to.add(i * width + lane) = line[i] };
            }
        }
    }
}

impl Real for f32 {
    #[inline]
    fn kernels(isa: Isa) -> &'static Kernels<f32> {
        match isa.min(Isa::detect()) {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => &super::micro_avx512::F32,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &super::micro_avx2::F32,
            _ => &super::micro_portable::F32,
        }
    }

    // The compiler does not find these shuffles. SSE is part of every x86-64.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn transpose4(from: *const f32, apart: isize, to: *mut f32, width: usize) {
        use std::arch::x86_64::*;
        // SAFETY: by the caller; loads and stores of 4 elements at any alignment.
        unsafe {
            let (a, b) = (_mm_loadu_ps(from), _mm_loadu_ps(from.offset(apart)));
            let (c, d) = (_mm_loadu_ps(from.offset(2 * apart)), _mm_loadu_ps(from.offset(3 * apart)));
            let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
            _mm_storeu_ps(to, _mm_movelh_ps(ab, cd));
            _mm_storeu_ps(to.add(width), _mm_movehl_ps(cd, ab));
            let (ab, cd) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
            _mm_storeu_ps(to.add(2 * width), _mm_movelh_ps(ab, cd));
            _mm_storeu_ps(to.add(3 * width), _mm_movehl_ps(cd, ab));
        }
    }
}

impl Real for f64 {
    #[inline]
    fn kernels(isa: Isa) -> &'static Kernels<f64> {
        match isa.min(Isa::detect()) {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => &super::micro_avx512::F64,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &super::micro_avx2::F64,
            _ => &super::micro_portable::F64,
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn transpose4(from: *const f64, apart: isize, to: *mut f64, width: usize) {
        use std::arch::x86_64::*;
        for (lane, i) in [(0, 0), (0, 2), (2, 0), (2, 2)] {
            // SAFETY: by the caller; loads and stores of 2 elements at any alignment.
            unsafe {
                let from = from.offset(lane as isize * apart + i as isize);
                let to = to.add(i * width + lane);
                let (a, b) = (_mm_loadu_pd(from), _mm_loadu_pd(from.offset(apart)));
                _mm_storeu_pd(to, _mm_unpacklo_pd(a, b));
                _mm_storeu_pd(to.add(width), _mm_unpackhi_pd(a, b));
            }
        }
    }
}

/// A register of [`Vector::LANES`] scalars.
///
/// All methods are unsafe for the same two reasons: the machine must have the instructions (the caller is
/// compiled for them), and a pointer must be valid for the lanes that the method touches.
pub(super) trait Vector: Copy {
    /// One lane.
    type Scalar: Real;
    /// Number of lanes.
    const LANES: usize;

    /// All lanes zero.
    unsafe fn zero() -> Self;
    /// All lanes `x`.
    unsafe fn splat(x: Self::Scalar) -> Self;
    /// The lanes from `p`, at any alignment.
    unsafe fn load(p: *const Self::Scalar) -> Self;
    /// The first `n` lanes from `p`, the others zero; touches no memory beyond them.
    unsafe fn load_first(p: *const Self::Scalar, n: usize) -> Self;
    /// The lanes to `p`, at any alignment.
    unsafe fn store(self, p: *mut Self::Scalar);
    /// The first `n` lanes to `p`; touches no memory beyond them.
    unsafe fn store_first(self, p: *mut Self::Scalar, n: usize);
    /// self + a·b, with one rounding where the machine has an instruction for it.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// self + a
    unsafe fn add(self, a: Self) -> Self;
    /// The sum of all lanes, added in halves.
    unsafe fn sum(self) -> Self::Scalar;
}
