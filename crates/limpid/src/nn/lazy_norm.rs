//! Normalisations whose number of channels the first input tells.

use limpid_core::{DType, Error, Result, Shape, Tensor};

use crate::nn::lazy::{Lazy, LazyLayer};
use crate::nn::{ChannelNorm, of_dimensions};

/// A [`BatchNorm1d`](crate::nn::BatchNorm1d) whose `num_features` the first input tells.
pub type LazyBatchNorm1d = Lazy<ChannelNorm<1, false>>;
/// A [`BatchNorm2d`](crate::nn::BatchNorm2d) whose `num_features` the first input tells.
pub type LazyBatchNorm2d = Lazy<ChannelNorm<2, false>>;
/// A [`BatchNorm3d`](crate::nn::BatchNorm3d) whose `num_features` the first input tells.
pub type LazyBatchNorm3d = Lazy<ChannelNorm<3, false>>;
/// An [`InstanceNorm1d`](crate::nn::InstanceNorm1d) whose `num_features` the first input tells.
pub type LazyInstanceNorm1d = Lazy<ChannelNorm<1, true>>;
/// An [`InstanceNorm2d`](crate::nn::InstanceNorm2d) whose `num_features` the first input tells.
pub type LazyInstanceNorm2d = Lazy<ChannelNorm<2, true>>;
/// An [`InstanceNorm3d`](crate::nn::InstanceNorm3d) whose `num_features` the first input tells.
pub type LazyInstanceNorm3d = Lazy<ChannelNorm<3, true>>;

impl<const D: usize, const PER_SAMPLE: bool> LazyLayer for ChannelNorm<D, PER_SAMPLE> {
    fn lazy_name(&self) -> &'static str {
        if PER_SAMPLE {
            of_dimensions(D, ["LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d"])
        } else {
            of_dimensions(D, ["LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d"])
        }
    }

    fn input_size(&self, x: &Tensor) -> Result<usize> {
        match (PER_SAMPLE, x.rank()) {
            (true, rank) if rank == D + 1 => Ok(x.shape()[0]),
            (_, rank) if rank == D + 2 || (rank == 2 && D == 1) => Ok(x.shape()[1]),
            _ => Err(Error::new(format!("{}: the input has shape {}", self.lazy_name(), x.shape()))
                .help(format!("[batch, channels, …] with {D} axes of places"))),
        }
    }

    fn state_size(&self, state: &dyn Fn(&str) -> Option<Shape>) -> Option<usize> {
        ["running_mean", "weight"].iter().find_map(|name| state(name)?.first().copied())
    }

    fn sized(&self, inputs: usize) -> Self {
        self.of_channels(inputs)
    }
}

impl<const D: usize, const PER_SAMPLE: bool> Lazy<ChannelNorm<D, PER_SAMPLE>> {
    /// A layer with torch's defaults, f32.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "a default would not know the line that made the layer")]
    pub fn new() -> Self {
        Lazy::of(ChannelNorm::new(0))
    }

    /// What is added to the variance (default: 10⁻⁵).
    #[track_caller]
    pub fn eps(self, eps: f64) -> Self {
        self.with(|layer| layer.eps(eps))
    }

    /// The weight of the new statistics in the running ones (default: 0.1).
    #[track_caller]
    pub fn momentum(self, momentum: impl Into<Option<f64>>) -> Self {
        self.with(|layer| layer.momentum(momentum))
    }

    /// Whether there are weight and bias (default: for a batch norm).
    #[track_caller]
    pub fn affine(self, affine: bool) -> Self {
        self.with(|layer| layer.affine(affine))
    }

    /// Whether there is a bias beside the weight (default: yes).
    #[track_caller]
    pub fn bias(self, bias: bool) -> Self {
        self.with(|layer| layer.bias(bias))
    }

    /// Whether running statistics are kept (default: for a batch norm).
    #[track_caller]
    pub fn track_running_stats(self, track: bool) -> Self {
        self.with(|layer| layer.track_running_stats(track))
    }

    /// The type of parameters and statistics (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> Self {
        self.with(|layer| layer.dtype(dtype))
    }
}
