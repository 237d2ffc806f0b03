//! Dropouts: what torch's functions of these names do in training. In evaluation they are left out.
//!
//! Masks are functions of this thread's generator, drawn again for the gradient, never stored.

use crate::error::Error;
use crate::shape::Shape;
use crate::sugar::activation::{SELU_ALPHA, SELU_SCALE};
use crate::tensor::Tensor;

impl Tensor {
    /// The input as a float, or the error of a probability that is none.
    #[track_caller]
    fn to_drop(&self, name: &str, p: f64) -> Result<Tensor, Tensor> {
        if (0.0..=1.0).contains(&p) {
            return Ok(self.to_float());
        }
        let error = Error::new(format!("{name}: the probability is {p}")).help("a number from 0 to 1");
        Err(Tensor::fail(error, &[self], self.shape().clone(), self.dtype()))
    }

    /// The shape of a mask that drops whole channels: `leading` axes, and 1 on the others.
    #[track_caller]
    fn channels(&self, name: &str, leading: usize, ranks: std::ops::RangeInclusive<usize>) -> Result<Shape, Tensor> {
        if ranks.contains(&self.rank()) {
            return Ok(self.shape().iter().enumerate().map(|(i, &n)| if i < leading { n } else { 1 }).collect());
        }
        let (rank, shape) = (self.rank(), self.shape());
        let error = Error::new(format!("{name}: the input {shape} has {rank} axes"));
        let most = if *ranks.end() == usize::MAX { "or more".to_owned() } else { format!("to {}", ranks.end()) };
        let error = error.help(format!("{} {most}; dropout takes any number", ranks.start()));
        Err(Tensor::fail(error, &[self], shape.clone(), self.dtype()))
    }

    /// Zero where the mask drops, else x/(1 − p).
    #[track_caller]
    fn dropped(&self, p: f64, mask: Shape) -> Tensor {
        let kept = Tensor::rand(mask).ge(p);
        let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
        (self * scale).where_(&kept, self.zeros_like())
    }

    /// a·x + b, and a·α' + b where the mask drops: α' = −λ·α of SELU, a and b such that mean 0 and variance 1 stay.
    #[track_caller]
    fn alpha_dropped(&self, p: f64, mask: Shape) -> Tensor {
        if p == 1.0 {
            return self * 0.0;
        }
        let alpha = SELU_ALPHA * SELU_SCALE;
        let a = 1.0 / ((alpha * alpha * p + 1.0) * (1.0 - p)).sqrt();
        let kept = Tensor::rand(mask).ge(p);
        let low = self.zeros_like() - alpha;
        self.where_(&kept, low) * a + a * alpha * p
    }

    /// Zero with probability `p`, else x/(1 − p) (Hinton et al. 2012). Torch's `dropout` in training.
    ///
    /// # Errors
    /// At the read: `p` outside of 0 … 1.
    #[track_caller]
    pub fn dropout(&self, p: f64) -> Tensor {
        match self.to_drop("dropout", p) {
            Ok(x) => x.dropped(p, x.shape().clone()),
            Err(failed) => failed,
        }
    }

    /// Whole channels of `[n, c, l]` or `[c, l]` zero with probability `p`, else x/(1 − p) (Tompson et al. 2015). Torch's
    /// `dropout1d` in training.
    ///
    /// # Errors
    /// At the read: `p` outside of 0 … 1, another number of axes.
    #[track_caller]
    pub fn dropout1d(&self, p: f64) -> Tensor {
        self.feature_dropout("dropout1d", p, if self.rank() == 2 { 1 } else { 2 }, 2..=3)
    }

    /// Whole channels zero with probability `p`, else x/(1 − p). As in torch, the first two axes name them, also in
    /// `[n, c, l]`. Torch's `dropout2d` in training.
    ///
    /// # Errors
    /// At the read: `p` outside of 0 … 1, less than two axes.
    #[track_caller]
    pub fn dropout2d(&self, p: f64) -> Tensor {
        self.feature_dropout("dropout2d", p, 2, 2..=usize::MAX)
    }

    /// Whole channels of `[n, c, d, h, w]` or `[c, d, h, w]` zero with probability `p`, else x/(1 − p); with another number
    /// of axes the first names the channels, as in torch. Torch's `dropout3d` in training.
    ///
    /// # Errors
    /// At the read: `p` outside of 0 … 1, a scalar.
    #[track_caller]
    pub fn dropout3d(&self, p: f64) -> Tensor {
        self.feature_dropout("dropout3d", p, if self.rank() == 5 { 2 } else { 1 }, 1..=usize::MAX)
    }

    #[track_caller]
    fn feature_dropout(&self, name: &str, p: f64, leading: usize, ranks: std::ops::RangeInclusive<usize>) -> Tensor {
        match (self.to_drop(name, p), self.channels(name, leading, ranks)) {
            (Ok(x), Ok(mask)) => x.dropped(p, mask),
            (Err(failed), _) | (_, Err(failed)) => failed,
        }
    }

    /// With probability `p` the value that SELU takes far below 0, then a·x + b such that mean 0 and variance 1 stay what
    /// they are (Klambauer et al. 2017). Torch's `alpha_dropout` in training.
    ///
    /// # Errors
    /// At the read: `p` outside of 0 … 1.
    #[track_caller]
    pub fn alpha_dropout(&self, p: f64) -> Tensor {
        match self.to_drop("alpha_dropout", p) {
            Ok(x) => x.alpha_dropped(p, x.shape().clone()),
            Err(failed) => failed,
        }
    }

    /// [`Tensor::alpha_dropout`] of whole channels: the first two axes name them. Torch's `feature_alpha_dropout` in
    /// training.
    ///
    /// # Errors
    /// At the read: `p` outside of 0 … 1, less than two axes.
    #[track_caller]
    pub fn feature_alpha_dropout(&self, p: f64) -> Tensor {
        let name = "feature_alpha_dropout";
        match (self.to_drop(name, p), self.channels(name, 2, 2..=usize::MAX)) {
            (Ok(x), Ok(mask)) => x.alpha_dropped(p, mask),
            (Err(failed), _) | (_, Err(failed)) => failed,
        }
    }
}
