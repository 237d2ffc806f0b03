//! Stochastic depth.

use limpid_core::{Error, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::site::{Scope, Site};

/// What [`StochasticDepth`] drops together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StochasticDepthMode {
    /// The whole batch, by one draw.
    Batch,
    /// Each row, an element of the first axis, by a draw of its own.
    Row,
}

/// In training, each row (or the whole batch) zero with probability `p`, else x/(1 − p); in evaluation, x. Put behind
/// the branch of a residual block, it skips the block. torchvision's `ops.StochasticDepth`; Huang et al. (2016).
///
/// ```
/// use limpid::nn::{StochasticDepth, StochasticDepthMode};
/// use limpid::prelude::*;
/// let depth = StochasticDepth::new(1.0, StochasticDepthMode::Row);
/// assert_eq!(depth.forward(&Tensor::ones([2, 2])).to_vec::<f32>()?, [0.0; 4]);
/// depth.eval();
/// assert_eq!(depth.forward(&Tensor::ones([2, 2])).to_vec::<f32>()?, [1.0; 4]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct StochasticDepth {
    p: f64,
    #[module(skip)]
    mode: StochasticDepthMode,
    #[module(site)]
    site: Site,
}

impl StochasticDepth {
    /// The layer. A `p` outside of 0 … 1 is an error of the result.
    #[track_caller]
    pub fn new(p: f64, mode: StochasticDepthMode) -> StochasticDepth {
        StochasticDepth { p, mode, site: Site::here() }
    }

    fn arguments(&self) -> String {
        let mode = if self.mode == StochasticDepthMode::Batch { "batch" } else { "row" };
        format!("p={}, mode={mode}", self.p)
    }
}

impl Forward for StochasticDepth {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        if !(0.0..=1.0).contains(&self.p) {
            let error = Error::new(format!("stochastic_depth: the probability is {}", self.p));
            return scope.output(Tensor::fail(error.help("a number from 0 to 1"), &[x], x.shape().clone(), x.dtype()));
        }
        if self.p == 0.0 || !self.site.mode().is_training() {
            return scope.output(x.clone());
        }
        let rows = match self.mode {
            StochasticDepthMode::Row => x.shape().first().copied().unwrap_or(1),
            StochasticDepthMode::Batch => 1,
        };
        let mask: Vec<usize> = (0..x.rank()).map(|axis| if axis == 0 { rows } else { 1 }).collect();
        let kept = Tensor::rand(mask).ge(self.p);
        let scale = if self.p < 1.0 { 1.0 / (1.0 - self.p) } else { 0.0 };
        scope.output((x * scale).where_(&kept, x.zeros_like()))
    }
}
