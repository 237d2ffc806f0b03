//! What every machine has: tiles of 4 × 2 small arrays that the compiler keeps in registers.

use super::micro::{self, Axpy, AxpyFn, DOTS, Dots, DotsFn, Kernels, Tile, TileFn};
use super::placed;
use super::vector::{Real, Vector};

impl Vector for [f32; 4] {
    type Scalar = f32;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; 4]
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: by the caller.
        unsafe { p.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        // SAFETY: by the caller.
        unsafe { std::array::from_fn(|i| if i < n { *p.add(i) } else { 0.0 }) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: by the caller.
        unsafe { p.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        // SAFETY: by the caller.
        unsafe { self.as_ptr().copy_to_nonoverlapping(p, n) }
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] + a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        std::array::from_fn(|i| self[i] + a[i])
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self[0] + self[2]) + (self[1] + self[3])
    }
}

impl Vector for [f64; 2] {
    type Scalar = f64;
    const LANES: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 2]
    }

    #[inline(always)]
    unsafe fn splat(x: f64) -> Self {
        [x; 2]
    }

    #[inline(always)]
    unsafe fn load(p: *const f64) -> Self {
        // SAFETY: by the caller.
        unsafe { p.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_first(p: *const f64, n: usize) -> Self {
        // SAFETY: by the caller.
        unsafe { std::array::from_fn(|i| if i < n { *p.add(i) } else { 0.0 }) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f64) {
        // SAFETY: by the caller.
        unsafe { p.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut f64, n: usize) {
        // SAFETY: by the caller.
        unsafe { self.as_ptr().copy_to_nonoverlapping(p, n) }
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] + a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn add(self, a: Self) -> Self {
        std::array::from_fn(|i| self[i] + a[i])
    }

    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        self[0] + self[1]
    }
}

unsafe fn packed<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
    // SAFETY: by the caller.
    unsafe { micro::packed::<V, R, C>(t) }
}

unsafe fn direct<V: Vector, const R: usize, const C: usize>(t: &Tile<V::Scalar>) {
    // SAFETY: by the caller.
    unsafe { micro::direct::<V, R, C>(t) }
}

unsafe fn dots<V: Vector, const R: usize, const S: usize>(t: &Dots<V::Scalar>) {
    // SAFETY: by the caller.
    unsafe { micro::dots::<V, R, S>(t) }
}

unsafe fn axpy<V: Vector>(t: &Axpy<V::Scalar>) {
    // SAFETY: by the caller.
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
    ];
    const DIRECT: &[[TileFn<V::Scalar>; 2]] = &[
        [direct::<V, 1, 1>, direct::<V, 1, 2>],
        [direct::<V, 2, 1>, direct::<V, 2, 2>],
        [direct::<V, 3, 1>, direct::<V, 3, 2>],
        [direct::<V, 4, 1>, direct::<V, 4, 2>],
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
        block: 192 << 10,
        packed: Table::<V>::PACKED,
        direct: Table::<V>::DIRECT,
        placed: placed::portable::Table::<V>::TILES,
        dots: Table::<V>::DOTS,
        axpy: Table::<V>::AXPY,
    }
}

/// For `f32`.
pub(super) static F32: Kernels<f32> = kernels::<[f32; 4]>();
/// For `f64`.
pub(super) static F64: Kernels<f64> = kernels::<[f64; 2]>();
