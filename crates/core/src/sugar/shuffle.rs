//! Channels and pixels in another order.

use crate::error::Error;
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Tensor {
    #[track_caller]
    fn refuse_shuffle(&self, what: String, help: &str) -> Tensor {
        Tensor::fail(Error::new(what).help(help), &[self], self.shape().clone(), self.dtype())
    }

    /// The sizes before the last three axes as one, and those three; `None` where there are less.
    fn planes(&self) -> Option<(&[usize], usize, [usize; 3])> {
        let (before, last) = self.shape().split_last_chunk::<3>()?;
        Some((before, before.iter().product(), *last))
    }

    /// The channels of `[n, c, …]` in `groups` dealt out in turn: channel g·(c/groups) + i becomes i·groups + g (Zhang et al.
    /// 2017). Torch's `channel_shuffle`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::arange(0, 6, 1).view([1, 6, 1]);
    /// assert_eq!(x.channel_shuffle(2).to_vec::<i64>()?, [0, 3, 1, 4, 2, 5]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: less than three axes, no groups, channels that they do not divide.
    #[track_caller]
    pub fn channel_shuffle(&self, groups: usize) -> Tensor {
        let shape = self.shape();
        if self.rank() < 3 {
            let what = format!("channel_shuffle: the input {shape} has {} axes", self.rank());
            return self.refuse_shuffle(what, "[batch, channels, length], or more axes");
        }
        let (n, c) = (shape[0], shape[1]);
        if groups == 0 || !c.is_multiple_of(groups) {
            let what = format!("channel_shuffle: {c} channels of {shape} in {groups} groups");
            return self.refuse_shuffle(what, "a number of groups that divides the channels");
        }
        let rest = shape[2..].iter().product();
        self.view([n, groups, c / groups, rest]).permute([0, 2, 1, 3]).view(shape.clone())
    }

    /// `[…, c·r², h, w]` → `[…, c, h·r, w·r]`: r² channels become the r × r pixels at their place (Shi et al. 2016). Torch's
    /// `pixel_shuffle`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::arange(0, 4, 1).view([4, 1, 1]);
    /// assert_eq!(x.pixel_shuffle(2).shape()[..], [1, 2, 2]);
    /// ```
    ///
    /// # Errors
    /// At the read: less than three axes, a factor of 0, channels that its square does not divide.
    #[track_caller]
    pub fn pixel_shuffle(&self, upscale_factor: usize) -> Tensor {
        let (r, shape) = (upscale_factor, self.shape());
        let Some((before, n, [c, h, w])) = self.planes() else {
            return self
                .refuse_shuffle(format!("pixel_shuffle: the input {shape} has less than 3 axes"), "[channels, h, w]");
        };
        let square = r.checked_mul(r).filter(|&square| square > 0 && c.is_multiple_of(square));
        let Some(square) = square else {
            let what = format!("pixel_shuffle: {c} channels of {shape} by upscale_factor {r}");
            return self.refuse_shuffle(what, "a factor above 0 whose square divides the channels");
        };
        let (Some(high), Some(wide)) = (h.checked_mul(r), w.checked_mul(r)) else {
            return self.refuse_shuffle(format!("pixel_shuffle: upscale_factor {r} is too large"), "a smaller one");
        };
        let out = before.iter().copied().chain([c / square, high, wide]).collect::<Shape>();
        self.view([n, c / square, r, r, h, w]).permute([0, 1, 4, 2, 5, 3]).view(out)
    }

    /// `[…, c, h·r, w·r]` → `[…, c·r², h, w]`: the inverse of [`Tensor::pixel_shuffle`]. Torch's `pixel_unshuffle`.
    ///
    /// # Errors
    /// At the read: less than three axes, a factor of 0, a height or width that it does not divide.
    #[track_caller]
    pub fn pixel_unshuffle(&self, downscale_factor: usize) -> Tensor {
        let (r, shape) = (downscale_factor, self.shape());
        let Some((before, n, [c, h, w])) = self.planes() else {
            let what = format!("pixel_unshuffle: the input {shape} has less than 3 axes");
            return self.refuse_shuffle(what, "[channels, h, w]");
        };
        if r == 0 || !h.is_multiple_of(r) || !w.is_multiple_of(r) {
            let what = format!("pixel_unshuffle: height {h} and width {w} of {shape} by downscale_factor {r}");
            return self.refuse_shuffle(what, "a factor above 0 that divides both");
        }
        let Some(channels) = r.checked_mul(r).and_then(|square| square.checked_mul(c)) else {
            return self.refuse_shuffle(format!("pixel_unshuffle: downscale_factor {r} is too large"), "a smaller one");
        };
        let (h, w) = (h / r, w / r);
        let out = before.iter().copied().chain([channels, h, w]).collect::<Shape>();
        self.view([n, c, h, r, w, r]).permute([0, 1, 3, 5, 2, 4]).view(out)
    }
}
