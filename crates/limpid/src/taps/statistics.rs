//! What a tensor was like.

use std::fmt;

use limpid_core::Tensor;

/// Numbers about a tensor; see [`Tensor::statistics`]. What is undefined is NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Number of elements.
    pub count: u64,
    /// Elements that are infinite or no number; they count for nothing else.
    pub non_finite: u64,
    /// Elements that are 0.
    pub zeros: u64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation, over n − 1.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many lie in each of equal intervals from the smallest to the largest.
    pub histogram: Vec<u64>,
}

impl Statistics {
    /// What `t`, a result of [`Tensor::statistics`], says; none when it can not be computed.
    pub(super) fn read(t: &Tensor) -> Option<Statistics> {
        let numbers = t.to_vec::<f64>().ok()?;
        let (&[finite, non_finite, zeros, mean, std, min, max], bins) = numbers.split_first_chunk::<7>()?;
        let histogram = bins.iter().map(|&n| n as u64).collect();
        let [finite, non_finite, zeros] = [finite, non_finite, zeros].map(|n| n as u64);
        Some(Statistics { count: finite + non_finite, non_finite, zeros, mean, std, min, max, histogram })
    }
}

/// `mean 0.21 ± 0.34, 0 … 1.9, 48.2 % zero ▁▃█▂`
impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |n: u64| 100.0 * n as f64 / self.count.max(1) as f64;
        write!(f, "mean {:.3e} ± {:.3e}, {:.3e} … {:.3e}", self.mean, self.std, self.min, self.max)?;
        write!(f, ", {:.1} % zero", share(self.zeros))?;
        if self.non_finite > 0 {
            write!(f, ", {:.1} % not finite", share(self.non_finite))?;
        }
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let most = self.histogram.iter().copied().max().unwrap_or(0).max(1);
        if !self.histogram.is_empty() {
            f.write_str(" ")?;
        }
        self.histogram.iter().try_for_each(|&n| write!(f, "{}", BARS[(n * 7).div_ceil(most) as usize]))
    }
}
