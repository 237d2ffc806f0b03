//! Packing: a strip of a matrix copied into the order in which a micro-kernel reads it.

use super::vector::Real;

/// A strip: `lanes` rows of A or columns of B, for `k` steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strip<T> {
    /// Element [lane 0, step 0].
    pub data: *const T,
    /// Distance of lanes.
    pub lane: isize,
    /// Distance of steps.
    pub step: isize,
    /// Number of lanes.
    pub lanes: usize,
    /// Number of steps.
    pub k: usize,
}

/// Steps that are transposed together: a cache line of f32.
const BLOCK: usize = 16;

/// Copies a strip to `to`, `width` elements for each step, those past the strip's lanes zero.
///
/// # Safety
/// The strip is readable, `to` is writable for `width · k` elements, and `width` is at least `lanes`.
#[inline(always)]
pub(super) unsafe fn pack<T: Real>(s: &Strip<T>, width: usize, to: *mut T) {
    // SAFETY: by the caller, here and in the functions called.
    unsafe {
        if s.lanes < width {
            std::slice::from_raw_parts_mut(to, width * s.k).fill(T::default());
        }
        if s.lane == 1 {
            match s.lanes {
                32 => copy::<T, 32>(s, width, to),
                16 => copy::<T, 16>(s, width, to),
                12 => copy::<T, 12>(s, width, to),
                8 => copy::<T, 8>(s, width, to),
                6 => copy::<T, 6>(s, width, to),
                4 => copy::<T, 4>(s, width, to),
                _ => gather(s, width, to),
            }
        } else if s.step == 1 {
            transpose(s, width, to);
        } else {
            gather(s, width, to);
        }
    }
}

/// Lanes side by side: whole registers.
#[inline(always)]
unsafe fn copy<T: Real, const N: usize>(s: &Strip<T>, width: usize, to: *mut T) {
    for k in 0..s.k {
        // SAFETY: by the caller of `pack`.
        unsafe {
            let row = s.data.offset(k as isize * s.step).cast::<[T; N]>().read_unaligned();
            to.add(k * width).cast::<[T; N]>().write_unaligned(row);
        }
    }
}

/// Steps side by side: a line of each lane is read at once, so that it is used up while in cache, also
/// where all lanes fall into the same set of it.
#[inline(always)]
unsafe fn transpose<T: Real>(s: &Strip<T>, width: usize, to: *mut T) {
    let whole = s.k - s.k % BLOCK;
    for k in (0..whole).step_by(BLOCK) {
        for lane in 0..s.lanes {
            // SAFETY: by the caller of `pack`.
            unsafe {
                let line = s.data.offset(lane as isize * s.lane).add(k).cast::<[T; BLOCK]>().read_unaligned();
                for i in 0..BLOCK {
                    *to.add((k + i) * width + lane) = line[i];
                }
            }
        }
    }
    for k in whole..s.k {
        for lane in 0..s.lanes {
            // SAFETY: by the caller of `pack`.
            unsafe { *to.add(k * width + lane) = *s.data.offset(lane as isize * s.lane).add(k) };
        }
    }
}

/// Any strides.
#[inline(always)]
unsafe fn gather<T: Real>(s: &Strip<T>, width: usize, to: *mut T) {
    for k in 0..s.k {
        for lane in 0..s.lanes {
            // SAFETY: by the caller of `pack`.
            unsafe { *to.add(k * width + lane) = *s.data.offset(lane as isize * s.lane + k as isize * s.step) };
        }
    }
}
