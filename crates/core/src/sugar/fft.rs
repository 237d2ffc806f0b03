//! Fourier transforms: `torch.fft` and `stft`. A complex number is a pair (re, im) on a last axis of 2.

use limpid_kernels::DType;

use crate::compound::fft::transform;
use crate::error::Error;
use crate::options;
use crate::shape::Shape;
use crate::sugar::pad::PadMode;
use crate::tensor::Tensor;

/// Where the factor 1/n of a transform and its inverse goes. Torch's `norm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FftNorm {
    /// To the inverse one: "backward".
    #[default]
    Backward,
    /// 1/√n to each: "ortho".
    Ortho,
    /// To the forward one: "forward".
    Forward,
}

impl FftNorm {
    fn factor(self, n: usize, inverse: bool) -> f64 {
        match (self, inverse) {
            (FftNorm::Ortho, _) => 1.0 / (n as f64).sqrt(),
            (FftNorm::Backward, true) | (FftNorm::Forward, false) => 1.0 / n as f64,
            _ => 1.0,
        }
    }
}

options! {
    /// The arguments of [`Tensor::stft`]. Torch's names and defaults.
    StftOptions {
        tensors {
            /// A factor for each place of the window (default: ones).
            window,
        }
        into {
            /// Places between two frames (default: a quarter of `n_fft`).
            hop_length: Option<usize> = None,
            /// The window's length (default: `n_fft`); a shorter one stands in the middle of the frame.
            win_length: Option<usize> = None,
        }
        values {
            /// Whether frame t is centred at t·hop (default: yes): the signal is padded by half a frame.
            center: bool = true,
            /// How it is padded (default: mirrored).
            pad_mode: PadMode = PadMode::Reflect,
            /// Whether results are divided by √n_fft (default: no).
            normalized: bool = false,
            /// Whether only the frequencies up to the half are returned (default: yes).
            onesided: bool = true,
        }
    }
}

impl Tensor {
    /// The axis `dim` moved behind the others (before the pair), cut or filled with zeros to `n`.
    #[track_caller]
    fn fft_lines(&self, name: &str, n: Option<usize>, dim: isize, complex: bool) -> Result<(Tensor, isize), Error> {
        let axes = self.rank() - usize::from(complex && self.rank() > 0);
        if complex && self.shape().last() != Some(&2) {
            let what = format!("{name}: {} has no last axis of 2 for (re, im)", self.shape());
            return Err(Error::new(what));
        }
        let shape: Shape = self.shape().iter().copied().take(axes).collect();
        let Some(axis) = shape.axis(dim) else {
            return Err(Error::new(format!("{name}: axis {dim} is out of range for a signal of {axes} axes")));
        };
        let n = n.unwrap_or(shape[axis]);
        if n == 0 || n > i32::MAX as usize {
            return Err(Error::new(format!("{name}: a transform of {n} points")));
        }
        let x = if matches!(self.dtype(), DType::F32 | DType::F64) { self.clone() } else { self.to_dtype(DType::F32) };
        let x = x.narrow(axis as isize, 0, n.min(shape[axis]));
        let missing = n as isize - x.size(axis as isize) as isize;
        let x = if missing > 0 { x.pad(axis as isize, 0, missing, 0.0) } else { x };
        Ok((x.movedim(&[axis as isize], &[axes as isize - 1]), axis as isize))
    }

    /// The discrete Fourier transform along `dim` of real signals: `[…, n, …]` → `[…, n/2 + 1, …, 2]`, the frequencies from
    /// 0 to the half; the others are their conjugates. The signal is cut or filled with zeros to `n` points. Torch's
    /// `fft.rfft`.
    ///
    /// ```
    /// use limpid_core::{FftNorm, Tensor};
    /// let y = Tensor::from([1.0f64, 0.0, -1.0, 0.0]).rfft(None, -1, FftNorm::Backward);
    /// assert_eq!(y.to_vec::<f64>()?, [0.0, 0.0, 2.0, 0.0, 0.0, 0.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: no such axis, no points.
    #[track_caller]
    pub fn rfft(&self, n: Option<usize>, dim: isize, norm: FftNorm) -> Tensor {
        let (x, axis) = match self.fft_lines("fft.rfft", n, dim, false) {
            Ok(lines) => lines,
            Err(error) => return self.refuse_with(error),
        };
        let (n, last) = (x.size(-1), x.rank() as isize - 1);
        let y = transform(&x.to_complex(), false);
        let y = y.narrow(last, 0, n / 2 + 1) * norm.factor(n, false);
        y.movedim(&[last], &[axis])
    }

    /// The real signal of `n` points (default: 2·(m − 1)) with the frequencies `[…, m, …, 2]` along `dim`: the inverse of
    /// [`Tensor::rfft`]. The imaginary parts of frequency 0 and, for even n, of the half count nothing. Torch's `fft.irfft`.
    ///
    /// # Errors
    /// At the read: no last axis of 2, no such axis, no points.
    #[track_caller]
    pub fn irfft(&self, n: Option<usize>, dim: isize, norm: FftNorm) -> Tensor {
        let axes: Shape = self.shape().iter().copied().take(self.rank().saturating_sub(1)).collect();
        let n = n.unwrap_or_else(|| axes.axis(dim).map_or(0, |axis| 2 * axes[axis].saturating_sub(1)));
        let lines = if n == 0 {
            Err(Error::new("fft.irfft: a transform of no points"))
        } else {
            self.fft_lines("fft.irfft", Some(n / 2 + 1), dim, true)
        };
        let (half, axis) = match lines {
            Ok(lines) => lines,
            Err(error) => return self.refuse_with(error),
        };
        let last = half.rank() as isize - 2;
        // The frequencies beyond the half: the conjugates, from the highest down.
        let mirrored = half.narrow(last, 1, (n - 1) / 2).flip(last);
        let signs = Tensor::from([1.0f64, -1.0]).to_dtype(half.dtype());
        let y = transform(&Tensor::cat(&[&half, &(mirrored * signs)], last), true);
        (y.narrow(-1, 0, 1).squeeze(-1) * norm.factor(n, true)).movedim(&[last], &[axis])
    }

    /// Real numbers as complex ones: pairs with an imaginary part of 0.
    #[track_caller]
    pub fn to_complex(&self) -> Tensor {
        let pair = self.unsqueeze(-1);
        Tensor::cat(&[&pair, &pair.zeros_like()], -1)
    }

    /// The transform of complex signals `[…, n, …, 2]` along `dim`, or its inverse. Torch's `fft.fft` and `fft.ifft`.
    ///
    /// # Errors
    /// At the read: no last axis of 2, no such axis, no points.
    #[track_caller]
    pub fn fft(&self, n: Option<usize>, dim: isize, norm: FftNorm) -> Tensor {
        self.complex_transform("fft.fft", n, dim, norm, false)
    }

    /// See [`Tensor::fft`].
    #[track_caller]
    pub fn ifft(&self, n: Option<usize>, dim: isize, norm: FftNorm) -> Tensor {
        self.complex_transform("fft.ifft", n, dim, norm, true)
    }

    #[track_caller]
    fn complex_transform(&self, name: &str, n: Option<usize>, dim: isize, norm: FftNorm, inverse: bool) -> Tensor {
        let (x, axis) = match self.fft_lines(name, n, dim, true) {
            Ok(lines) => lines,
            Err(error) => return self.refuse_with(error),
        };
        let (n, last) = (x.size(-2), x.rank() as isize - 2);
        (transform(&x, inverse) * norm.factor(n, inverse)).movedim(&[last], &[axis])
    }

    /// The short-time Fourier transform of signals `[t]` or `[b, t]`: `[…, frequencies, frames, 2]`. Frame f holds the
    /// `n_fft` points from f·hop on, times the window. Torch's `stft`.
    ///
    /// # Errors
    /// At the read: a signal of other axes or shorter than a frame, a window of another length, a hop of 0.
    #[track_caller]
    pub fn stft(&self, n_fft: usize, options: &StftOptions) -> Tensor {
        let hop = options.hop_length.unwrap_or(n_fft / 4);
        let length = options.win_length.unwrap_or(n_fft);
        let what = match (self.rank(), n_fft, hop, length) {
            (1 | 2, 1.., 1.., 1..) if length <= n_fft => None,
            (1 | 2, ..) => Some(format!("stft: n_fft {n_fft}, hop_length {hop}, win_length {length}")),
            _ => Some(format!("stft: the signal has shape {}, not [t] or [b, t]", self.shape())),
        };
        let what = what.or_else(|| {
            let window = options.window.as_ref().filter(|w| w.shape()[..] != [length])?;
            Some(format!("stft: the window has shape {}, not [{length}]", window.shape()))
        });
        if let Some(what) = what {
            return self.refuse(what);
        }
        let half = (n_fft / 2) as isize;
        let x = if self.rank() == 1 { self.unsqueeze(0) } else { self.clone() };
        let x = if options.center { x.pad_with(&[half, half], options.pad_mode) } else { x };
        if x.error().is_none() && x.size(1) < n_fft {
            return self.refuse(format!("stft: frames of {n_fft} points of a signal of {}", x.size(1)));
        }
        let frames = x.unfold(1, n_fft, hop);
        let window = match &options.window {
            Some(window) => Some(window.clone()),
            None => (length < n_fft).then(|| Tensor::full_of([length], 1.0, x.dtype())),
        };
        let before = (n_fft - length) / 2;
        let frames = match window {
            Some(window) => frames * window.pad(0, before as isize, (n_fft - length - before) as isize, 0.0),
            None => frames,
        };
        let norm = if options.normalized { FftNorm::Ortho } else { FftNorm::Backward };
        let y = if options.onesided { frames.rfft(None, -1, norm) } else { frames.to_complex().fft(None, -1, norm) };
        let y = y.transpose(1, 2);
        if self.rank() == 1 { y.squeeze(0) } else { y }
    }
}
