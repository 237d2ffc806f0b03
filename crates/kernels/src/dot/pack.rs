//! Packing: a strip of a matrix copied into the order in which a micro-kernel reads it.

use crate::isa::{Arch, Isa, Job, LINE, dispatch, prefetch};

use super::Matrix;
use super::micro::Ahead;
use super::vector::Real;

/// Where the elements of panels come from: rows of A or columns of B ("lanes"), each for all steps of k.
pub(super) trait Source<T>: Sync {
    /// Writes `lanes` lanes from the first one on, `k` steps from the first one on, as panels of `width` lanes, one after
    /// the other; the last one is narrower, or with `fill` filled up with zeros.
    ///
    /// # Safety
    /// The source has these lanes and steps, and `to` has room for the panels.
    unsafe fn pack(&self, isa: Isa, lanes: Range, k: Range, width: usize, fill: bool, to: *mut T);

    /// Where line `line` of the memory of lanes from `lane` on, `k` steps of them, lies: to be fetched before they are packed.
    fn ahead(&self, lane: usize, k: Range, line: usize) -> Ahead<T>;
}

/// A range of lanes or steps: `len` from `start`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub start: usize,
    pub len: usize,
}

impl Range {
    /// The pieces of `0..len`, each `step` long, the last one shorter.
    pub fn pieces(len: usize, step: usize) -> impl Iterator<Item = Range> {
        (0..len).step_by(step).map(move |start| Range { start, len: step.min(len - start) })
    }

    /// Part `i` of `parts`, whole panels of `width` each, as even as can be.
    pub fn part(&self, i: usize, parts: usize, width: usize) -> Range {
        let panels = self.len.div_ceil(width);
        let edge = |i: usize| self.len.min(i * panels / parts * width);
        Range { start: self.start + edge(i), len: edge(i + 1) - edge(i) }
    }

    /// Piece `i` of this range.
    pub fn piece(&self, i: usize, step: usize) -> Range {
        Range { start: self.start + i * step, len: step.min(self.len - i * step) }
    }
}

/// Rows are lanes, columns are steps.
impl<T: Real> Source<T> for Matrix<T> {
    unsafe fn pack(&self, isa: Isa, lanes: Range, k: Range, width: usize, fill: bool, to: *mut T) {
        let data = self.data.wrapping_offset(lanes.start as isize * self.rows + k.start as isize * self.cols);
        let strip = Strip { data, lane: self.rows, step: self.cols, lanes: 0, k: k.len };
        dispatch(isa, Pack { strip, lanes: lanes.len, width, fill, to });
    }

    fn ahead(&self, lane: usize, k: Range, line: usize) -> Ahead<T> {
        let size = LINE / size_of::<T>();
        let at = |lane: usize, k: usize| self.data.wrapping_offset(lane as isize * self.rows + k as isize * self.cols);
        if self.rows == 1 {
            // One line of every step, then the next line of every step.
            let from = at(lane + line / k.len * size, k.start + line % k.len);
            return Ahead { from, step: self.cols * size_of::<T>() as isize };
        }
        let each = (k.len / size).max(1);
        Ahead::line(at(lane + line / each, k.start + line % each * size), 0)
    }
}

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

impl<T> Strip<T> {
    /// The address of lane `lane` at step `k`, which must be inside.
    #[inline(always)]
    unsafe fn at(&self, lane: usize, k: usize) -> *const T {
        // SAFETY: inside, by the caller.
        unsafe { self.data.offset(lane as isize * self.lane + k as isize * self.step) }
    }
}

/// Packs some panels of one factor, one after the other.
struct Pack<T> {
    /// Where the lanes begin; how many there are is said by `lanes`.
    strip: Strip<T>,
    /// Lanes of all panels, inside the factor.
    lanes: usize,
    /// Lanes of a panel.
    width: usize,
    /// Whether the last panel is filled up with zeros.
    fill: bool,
    /// Where the panels go: memory of the task alone, with room for them.
    to: *mut T,
}

impl<T: Real> Job for Pack<T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let side_by_side = self.strip.lane == 1 && self.width == 12;
        // Twelve lanes are less than a cache line: a few panels together use up the lines that they fetch.
        let together = if side_by_side { self.lanes / (TOGETHER * 12) * TOGETHER * 12 } else { 0 };
        for first in (0..together).step_by(TOGETHER * 12) {
            let strip = Strip { data: self.strip.data.wrapping_add(first), ..self.strip };
            // SAFETY: as below.
            unsafe { copy::<T, 12, TOGETHER>(&strip, 12, self.to.add(first * self.strip.k)) };
        }
        for first in (together..self.lanes).step_by(self.width) {
            let lanes = self.width.min(self.lanes - first);
            let strip =
                Strip { data: self.strip.data.wrapping_offset(first as isize * self.strip.lane), lanes, ..self.strip };
            let width = if self.fill { self.width } else { lanes };
            // SAFETY: the lanes are inside the factor and the panels inside their memory, as whoever made this says.
            unsafe { pack(&strip, width, self.to.add(first * self.strip.k)) };
        }
    }
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
                32 => copy::<T, 32, 1>(s, width, to),
                16 => copy::<T, 16, 1>(s, width, to),
                12 => copy::<T, 12, 1>(s, width, to),
                8 => copy::<T, 8, 1>(s, width, to),
                6 => copy::<T, 6, 1>(s, width, to),
                4 => copy::<T, 4, 1>(s, width, to),
                _ => gather(s, width, to),
            }
        } else if s.step == 1 {
            transpose(s, width, to);
        } else {
            gather(s, width, to);
        }
    }
}

/// Steps that are fetched ahead where each is in another page, as the processor does not guess those.
const AHEAD: usize = 8;

/// Panels of twelve lanes that are packed together.
const TOGETHER: usize = 4;

/// Lanes side by side: whole registers, `N` lanes for each of `P` panels.
#[inline(always)]
unsafe fn copy<T: Real, const N: usize, const P: usize>(s: &Strip<T>, width: usize, to: *mut T) {
    for k in 0..s.k {
        // SAFETY: by the caller of `pack`.
        unsafe {
            for line in (0..P * N * size_of::<T>()).step_by(64) {
                prefetch(s.data.wrapping_offset((k + AHEAD) as isize * s.step).wrapping_byte_add(line));
            }
            for p in 0..P {
                let row = s.at(p * N, k).cast::<[T; N]>().read_unaligned();
                to.add((p * s.k + k) * width).cast::<[T; N]>().write_unaligned(row);
            }
        }
    }
}

/// Steps side by side: a line of each lane is read at once, so that it is used up while in cache, also
/// where all lanes fall into the same set of it.
#[inline(always)]
unsafe fn transpose<T: Real>(s: &Strip<T>, width: usize, to: *mut T) {
    let (whole, lanes) = (s.k - s.k % 4, s.lanes - s.lanes % 4);
    for k in (0..whole).step_by(BLOCK) {
        let end = whole.min(k + BLOCK);
        for lane in (0..lanes).step_by(4) {
            for i in (k..end).step_by(4) {
                // SAFETY: by the caller of `pack`.
                unsafe { T::transpose4(s.at(lane, i), s.lane, to.add(i * width + lane), width) };
            }
        }
        for lane in lanes..s.lanes {
            for i in k..end {
                // SAFETY: by the caller of `pack`.
                unsafe { *to.add(i * width + lane) = *s.at(lane, i) };
            }
        }
    }
    for k in whole..s.k {
        for lane in 0..s.lanes {
            // SAFETY: by the caller of `pack`.
            unsafe { *to.add(k * width + lane) = *s.at(lane, k) };
        }
    }
}

/// Any strides.
#[inline(always)]
unsafe fn gather<T: Real>(s: &Strip<T>, width: usize, to: *mut T) {
    for k in 0..s.k {
        for lane in 0..s.lanes {
            // SAFETY: by the caller of `pack`.
            unsafe { *to.add(k * width + lane) = *s.at(lane, k) };
        }
    }
}
