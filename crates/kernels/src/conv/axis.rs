//! One axis of a convolution, and the phases that it falls into.

/// How a convolution moves along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Elements of the image.
    pub size: usize,
    /// Elements of the window.
    pub kernel: usize,
    /// Places between two windows.
    pub stride: usize,
    /// Zeros before the first element; negative ones cut elements off.
    pub lo: isize,
    /// Zeros behind the last element; negative ones cut elements off.
    pub hi: isize,
    /// Places between two elements of the window.
    pub dilation: usize,
    /// Places between two elements of the image, filled with zeros (1: none): what makes a convolution transposed.
    pub input_dilation: usize,
}

impl Axis {
    /// An axis of `size` elements and a window of `kernel`, one step at a time, no padding.
    pub const fn new(size: usize, kernel: usize) -> Axis {
        Axis { size, kernel, stride: 1, lo: 0, hi: 0, dilation: 1, input_dilation: 1 }
    }

    /// Number of windows: `(padded size - dilation·(kernel - 1) - 1) / stride + 1`, rounded down; 0 where the window is
    /// larger than the padded image.
    pub fn windows(&self) -> usize {
        let spread = if self.size == 0 { 0 } else { (self.size as isize - 1) * self.input_dilation as isize + 1 };
        let span = (self.kernel as isize - 1) * self.dilation as isize + 1;
        let room = spread + self.lo + self.hi - span;
        if room < 0 || self.kernel == 0 { 0 } else { room as usize / self.stride + 1 }
    }

    /// The windows by which elements of theirs meet elements of the image, not zeros between them: with an input dilation
    /// of 2 every other window sees the same elements of its kernel. Phases without any are left out.
    pub(super) fn phases(&self) -> Vec<Phase> {
        let windows = self.windows();
        let common = gcd(self.stride, self.input_dilation);
        let (step, stride) = (self.input_dilation / common, self.stride / common);
        let spread = self.input_dilation as isize;
        let phase = |first: usize| {
            let at = |k: usize| (first * self.stride + k * self.dilation) as isize - self.lo;
            let meets = (0..self.kernel).filter(|&k| at(k).rem_euclid(spread) == 0);
            let taps: Vec<(usize, isize)> = meets.map(|k| (k, at(k).div_euclid(spread))).collect();
            Phase { first, step, count: (windows - first).div_ceil(step), stride, taps }
        };
        (0..step.min(windows)).map(phase).filter(|p| !p.taps.is_empty()).collect()
    }

    /// Whether some windows see zeros only.
    pub(super) fn leaves_out(&self) -> bool {
        let seen: usize = self.phases().iter().map(|p| p.count).sum();
        seen < self.windows()
    }
}

/// Windows `first`, `first + step`, …: the t-th of them meets with element `k` of the kernel element `t·stride + offset` of
/// the image, for each (k, offset) of `taps`; zero where the image has no such element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    pub first: usize,
    pub step: usize,
    pub count: usize,
    pub stride: usize,
    pub taps: Vec<(usize, isize)>,
}

impl Phase {
    /// The first element of the image that windows `from .. from + len` meet, and how many there are from it to the last.
    pub fn reach(&self, from: usize, len: usize) -> (isize, usize) {
        let offsets = || self.taps.iter().map(|&(_, offset)| offset);
        let (low, high) = (offsets().min().unwrap_or(0), offsets().max().unwrap_or(0));
        let first = (from * self.stride) as isize + low;
        (first, (len.max(1) - 1) * self.stride + (high - low) as usize + 1)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every window meets, from the definition: place `w·stride + k·dilation - lo` of the spread image, where it is
    /// not a zero in between.
    #[test]
    fn phases_are_the_windows() {
        let mut checked = 0;
        for (size, kernel, stride) in [(5, 3, 1), (6, 2, 2), (1, 4, 3), (7, 1, 2)] {
            for (lo, hi, dilation, input_dilation) in
                [(0, 0, 1, 1), (2, 3, 2, 2), (4, 3, 1, 3), (-1, 2, 1, 4), (3, 4, 3, 6)]
            {
                let axis = Axis { size, kernel, stride, lo, hi, dilation, input_dilation };
                let mut met = vec![vec![]; axis.windows()];
                for phase in axis.phases() {
                    for t in 0..phase.count {
                        let there = |&(k, offset): &(usize, isize)| (k, (t * phase.stride) as isize + offset);
                        met[phase.first + t * phase.step] = phase.taps.iter().map(there).collect();
                    }
                }
                for (w, met) in met.iter().enumerate() {
                    let place = |k: usize| (w * stride + k * dilation) as isize - lo;
                    let spread = input_dilation as isize;
                    let on = (0..kernel).filter(|&k| place(k).rem_euclid(spread) == 0);
                    assert_eq!(*met, on.map(|k| (k, place(k).div_euclid(spread))).collect::<Vec<_>>(), "{axis:?} {w}");
                    checked += 1;
                }
            }
        }
        assert!(checked > 50);
    }
}
