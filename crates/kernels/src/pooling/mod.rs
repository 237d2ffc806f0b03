//! Pooling: the largest or the average element of windows of planes, and the gradients of both.
//!
//! A plane has three axes; images have one of size 1 in front, sequences two. A row of results is made in two steps: the
//! lines of the input that its windows touch are joined into one, element by element in whole vectors; then the windows
//! along that line are joined, one tap of all windows at a time.

mod average;
mod largest;

pub use average::{Divisor, avg_pool, avg_pool_grad};
pub use largest::{max_pool, max_pool_grad};

use crate::parts::rows_per_task;

/// Taps that one task looks at.
const TASK: usize = 64 << 10;

/// Where the windows along one axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Windows {
    /// Window o has the places o·stride + k·dilation − padding for k below `size`, as far as they are there.
    Sliding {
        /// Number of windows.
        count: usize,
        /// Taps of a window.
        size: usize,
        /// Steps between two windows.
        stride: usize,
        /// Places before the axis at which the first window begins.
        padding: usize,
        /// Steps between two taps.
        dilation: usize,
    },
    /// Window o of n places goes from ⌊o·n/count⌋ to below ⌈(o + 1)·n/count⌉.
    Adaptive {
        /// Number of windows.
        count: usize,
    },
}

impl Windows {
    /// One window on an axis of size 1.
    pub const ONE: Windows = Windows::Adaptive { count: 1 };

    /// Number of windows.
    pub fn count(&self) -> usize {
        match *self {
            Windows::Sliding { count, .. } | Windows::Adaptive { count } => count,
        }
    }

    /// Number of taps of the longest window on an axis of `n` places.
    pub fn longest(&self, n: usize) -> usize {
        match *self {
            Windows::Sliding { size, .. } => size,
            Windows::Adaptive { .. } => (0..self.count()).map(|o| self.taps(o, n).1).max().unwrap_or(0),
        }
    }

    /// The first place of window `o`, the number of its places and the steps between them, of an axis of `n`.
    pub fn taps(&self, o: usize, n: usize) -> (usize, usize, usize) {
        match *self {
            Windows::Sliding { size, stride, padding, dilation, .. } => {
                let start = o * stride;
                let skipped = padding.saturating_sub(start).div_ceil(dilation);
                let first = start + skipped * dilation - padding;
                let left = n.saturating_sub(first).div_ceil(dilation);
                (first, left.min(size.saturating_sub(skipped)), dilation)
            }
            Windows::Adaptive { count } => {
                let first = o * n / count;
                (first, ((o + 1) * n).div_ceil(count) - first, 1)
            }
        }
    }

    /// How many elements the average of window `o` divides by: with `padded`, places in the padding count.
    pub fn weight(&self, o: usize, n: usize, padded: bool) -> usize {
        match *self {
            Windows::Sliding { size, stride, padding, dilation: 1, .. } if padded => {
                (o * stride + size).min(n + 2 * padding) - o * stride
            }
            _ => self.taps(o, n).1,
        }
    }

    /// How to walk all windows of an axis of `n` places together, where that is better than one by one.
    fn line(&self, n: usize) -> Option<Line> {
        let Windows::Sliding { count, size, stride, padding, dilation } = *self else { return None };
        let stride = if count == 1 { 1 } else { stride };
        let reach = (size.saturating_sub(1)).saturating_mul(dilation).saturating_add(count.saturating_mul(stride));
        let len = reach.max(padding.saturating_add(n));
        // Short lines are not worth the steps, nor is one that is mostly padding.
        (count >= 4 && len <= 2 * n + 64).then_some(Line { len, padding, count, taps: size, stride, dilation })
    }
}

/// An axis with its padding, laid out so that each window has all its taps: tap k of window o is at
/// o·stride + k·dilation. From the first of every tap on there is room for count·stride elements.
#[derive(Clone, Copy, Debug)]
struct Line {
    len: usize,
    padding: usize,
    count: usize,
    taps: usize,
    stride: usize,
    dilation: usize,
}

/// Calls a function of a const stride where there is one, else with the stride as a number.
macro_rules! by_stride {
    ($stride:expr, $f:ident($($arg:expr),*)) => {
        match $stride {
            1 => $f::<1, _>($($arg),*),
            2 => $f::<2, _>($($arg),*),
            3 => $f::<3, _>($($arg),*),
            4 => $f::<4, _>($($arg),*),
            _ => $f::<0, _>($($arg),*),
        }
    };
}
use by_stride;

/// Planes of a size, and the windows along their axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pooling {
    /// Number of planes.
    pub planes: usize,
    /// Sizes of a plane.
    pub size: [usize; 3],
    /// Windows along its axes.
    pub windows: [Windows; 3],
}

impl Pooling {
    fn elements(&self) -> usize {
        self.size.iter().product()
    }

    /// Number of windows of a plane.
    fn results(&self) -> usize {
        self.windows.iter().map(Windows::count).product()
    }

    /// Plane, and window along the first two axes, of row `row` of the result.
    fn row(&self, row: usize) -> (usize, [usize; 2]) {
        let [d, h] = [self.windows[0].count(), self.windows[1].count()];
        (row / (d * h), [row / h % d, row % h])
    }

    /// Calls `f(place)` for the first element of each row of a plane that the windows `at` touch, in order.
    #[inline(always)]
    fn lines(&self, at: [usize; 2], mut f: impl FnMut(usize)) {
        let (d, deep, d_step) = self.windows[0].taps(at[0], self.size[0]);
        let (h, high, h_step) = self.windows[1].taps(at[1], self.size[1]);
        for i in 0..deep {
            for j in 0..high {
                f(((d + i * d_step) * self.size[1] + h + j * h_step) * self.size[2]);
            }
        }
    }

    /// Whether the only window of a plane is all of it.
    fn is_global(&self) -> bool {
        self.windows == [Windows::ONE; 3]
    }

    /// Rows of the result that one task takes.
    fn rows_per_task(&self) -> usize {
        let taps: usize = self.windows.iter().zip(self.size).map(|(w, n)| w.longest(n)).product();
        rows_per_task(taps * self.windows[2].count(), TASK)
    }

    fn check(&self, src: usize, out: usize) {
        assert_eq!(src, self.planes * self.elements());
        assert_eq!(out, self.planes * self.results());
        for w in self.windows {
            if let Windows::Sliding { stride, dilation, .. } = w {
                assert!(stride > 0 && dilation > 0, "{self:?} has a zero");
            }
        }
    }
}
