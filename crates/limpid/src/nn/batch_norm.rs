//! Normalisations by channel that can keep running statistics: of a batch, or of each instance.

use limpid_core::{DType, Error, NormOptions, Result, Shape, Tensor, Value};

use crate::Module;
use crate::module::Forward;
use crate::nn::{exponent, failed, of_dimensions, python};
use crate::param::{Buffer, Parameter};
use crate::site::{Scope, Site};

/// (x − mean)/√(var + eps)·weight + bias for each channel of `[batch, channels, D places…]`, over the batch and all
/// places, or over the places of each sample where it is `PER_SAMPLE`. The variance is the biased one.
///
/// In training, mean and variance are the input's, and the running ones take (1 − momentum)·old + momentum·new, new
/// being the *unbiased* variance; in evaluation they are the running ones, or the input's where none are kept.
#[derive(Clone, Debug, Module)]
#[module(kind = name, label = title, extra_repr = arguments)]
pub struct ChannelNorm<const D: usize, const PER_SAMPLE: bool> {
    /// One number a channel; starts as ones.
    pub weight: Option<Parameter>,
    /// One number a channel; starts as zeros.
    pub bias: Option<Parameter>,
    /// Starts as zeros.
    pub running_mean: Option<Buffer>,
    /// Starts as ones.
    pub running_var: Option<Buffer>,
    /// How many batches the running statistics have seen, i64.
    pub num_batches_tracked: Option<Buffer>,
    #[module(skip)]
    num_features: usize,
    #[module(skip)]
    eps: f64,
    #[module(skip)]
    momentum: Option<f64>,
    #[module(skip)]
    dtype: DType,
    #[module(site)]
    site: Site,
}

/// Over a batch `[batch, channels]` or `[batch, channels, length]`. Ioffe and Szegedy (2015).
///
/// ```
/// use limpid::prelude::*;
/// let norm = BatchNorm1d::new(1).eps(1e-12);
/// let x = Tensor::from([[1.0f32], [3.0]]);
/// assert_eq!(norm.forward(&x).to_vec::<f32>()?, [-1.0, 1.0]);
/// assert_eq!(norm.running_mean.as_ref().unwrap().value()?.to_vec::<f32>()?, [0.2]);
/// norm.eval();
/// assert!((norm.forward(&x).to_vec::<f32>()?[0] - 0.8 / 1.1f32.sqrt()).abs() < 1e-6);
/// # Ok::<(), limpid::Error>(())
/// ```
pub type BatchNorm1d = ChannelNorm<1, false>;
/// Over a batch of pictures `[batch, channels, height, width]`.
pub type BatchNorm2d = ChannelNorm<2, false>;
/// Over a batch of volumes `[batch, channels, depth, height, width]`.
pub type BatchNorm3d = ChannelNorm<3, false>;
/// Over the length of `[batch, channels, length]`, or of `[channels, length]`. Ulyanov et al. (2016).
pub type InstanceNorm1d = ChannelNorm<1, true>;
/// Over a picture `[batch, channels, height, width]`, or `[channels, height, width]`.
pub type InstanceNorm2d = ChannelNorm<2, true>;
/// Over a volume `[batch, channels, depth, height, width]`, or `[channels, depth, height, width]`.
pub type InstanceNorm3d = ChannelNorm<3, true>;

impl<const D: usize, const PER_SAMPLE: bool> ChannelNorm<D, PER_SAMPLE> {
    /// The layer for `num_features` channels, f32, eps 10⁻⁵, momentum 0.1. A batch norm has weight, bias and running
    /// statistics, an instance norm has none of them.
    #[track_caller]
    pub fn new(num_features: usize) -> Self {
        let nothing = ChannelNorm {
            weight: None,
            bias: None,
            running_mean: None,
            running_var: None,
            num_batches_tracked: None,
            num_features,
            eps: 1e-5,
            momentum: Some(0.1),
            dtype: DType::F32,
            site: Site::here(),
        };
        nothing.affine(!PER_SAMPLE).track_running_stats(!PER_SAMPLE)
    }

    #[track_caller]
    fn filled(&self, value: f64) -> Tensor {
        Tensor::full_of([self.num_features], value, self.dtype)
    }

    /// What is added to the variance (default: 10⁻⁵).
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The weight of the new statistics in the running ones (default: 0.1). `None`: that of the mean over all batches,
    /// one divided by their number; of an instance norm, 0, as in torch.
    pub fn momentum(mut self, momentum: impl Into<Option<f64>>) -> Self {
        self.momentum = momentum.into();
        self
    }

    /// Whether there are weight and bias (default: for a batch norm).
    #[track_caller]
    pub fn affine(mut self, affine: bool) -> Self {
        self.weight = affine.then(|| Parameter::new(&self.filled(1.0)));
        self.bias = affine.then(|| Parameter::new(&self.filled(0.0)));
        self
    }

    /// Whether there is a bias beside the weight (default: yes).
    #[track_caller]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = (bias && self.weight.is_some()).then(|| Parameter::new(&self.filled(0.0)));
        self
    }

    /// Whether running statistics are kept (default: for a batch norm).
    #[track_caller]
    pub fn track_running_stats(mut self, track: bool) -> Self {
        self.running_mean = track.then(|| Buffer::new(&self.filled(0.0)));
        self.running_var = track.then(|| Buffer::new(&self.filled(1.0)));
        self.num_batches_tracked = track.then(|| Buffer::new(&Tensor::zeros_of([], DType::I64)));
        self
    }

    /// The type of parameters and statistics (default: f32).
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self.made_again()
    }

    /// The same layer for so many channels, with parameters and statistics of its own.
    pub(crate) fn of_channels(&self, num_features: usize) -> Self {
        ChannelNorm { num_features, ..self.clone() }.made_again()
    }

    fn made_again(self) -> Self {
        let (affine, bias, track) = (self.weight.is_some(), self.bias.is_some(), self.running_mean.is_some());
        self.affine(affine).bias(bias).track_running_stats(track)
    }

    /// Number of channels.
    pub fn num_features(&self) -> usize {
        self.num_features
    }

    /// Parameters, statistics and eps: what [`Tensor::batch_norm`] takes.
    #[track_caller]
    pub fn options(&self) -> NormOptions {
        NormOptions {
            weight: self.weight.as_ref().map(|p| p.tensor()),
            bias: self.bias.as_ref().map(|p| p.tensor()),
            running_mean: self.running_mean.as_ref().map(Into::into),
            running_var: self.running_var.as_ref().map(Into::into),
            eps: self.eps,
            ..NormOptions::new()
        }
    }

    /// Running statistics as at the beginning.
    ///
    /// # Errors
    /// When what is pending on them fails.
    #[track_caller]
    pub fn reset_running_stats(&self) -> Result<()> {
        let all = [(&self.running_mean, 0.0), (&self.running_var, 1.0), (&self.num_batches_tracked, 0.0)];
        all.into_iter().try_for_each(|(buffer, value)| match buffer {
            Some(buffer) => buffer.set(&Tensor::full_of(buffer.shape(), value, buffer.dtype())),
            None => Ok(()),
        })
    }

    fn name(&self) -> &'static str {
        if PER_SAMPLE {
            of_dimensions(D, ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"])
        } else {
            of_dimensions(D, ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"])
        }
    }

    fn title(&self) -> String {
        format!("{} {}", self.name(), self.num_features)
    }

    fn arguments(&self) -> String {
        let momentum = self.momentum.map_or_else(|| "None".to_owned(), exponent);
        let [affine, bias, track] =
            [self.weight.is_some(), self.bias.is_some(), self.running_mean.is_some()].map(python);
        let (n, eps) = (self.num_features, exponent(self.eps));
        format!("{n}, eps={eps}, momentum={momentum}, affine={affine}, bias={bias}, track_running_stats={track}")
    }

    /// Why the layer does not take `x`, whose channels are on axis `at`.
    fn refusal(&self, x: &Tensor, at: usize) -> Option<Error> {
        let (name, n) = (self.name(), self.num_features);
        let ranks: &[usize] = match (D, PER_SAMPLE) {
            (1, _) => &[2, 3],
            (_, false) => &[D + 2],
            (_, true) => &[D + 1, D + 2],
        };
        if !ranks.contains(&x.rank()) {
            let places = ["length", "height, width", "depth, height, width"].get(D.wrapping_sub(1));
            let shape = format!("[batch, channels, {}]", places.unwrap_or(&"places…"));
            let what = format!("{name}: the input has shape {}, {} axes", x.shape(), x.rank());
            return Some(Error::new(what).help(format!("an input {shape}")));
        }
        let used = !PER_SAMPLE || self.weight.is_some() || self.running_mean.is_some();
        (used && x.shape()[at] != n).then(|| {
            let (shape, channels) = (x.shape(), x.shape()[at]);
            let error = Error::new(format!("{name}: the input {shape} has {channels} channels, the layer {n}"));
            error.help(format!("{name}::new({channels})"))
        })
    }

    /// Whether the input's own statistics are used; it is counted when the running ones follow them.
    fn uses_own(&self) -> bool {
        self.site.mode().is_training() || self.running_mean.is_none() || self.running_var.is_none()
    }

    /// The weight of the new statistics; of a batch norm it counts the batch.
    #[track_caller]
    fn counted(&self) -> Value {
        let Some(count) = self.num_batches_tracked.as_ref().filter(|_| !PER_SAMPLE && self.uses_own()) else {
            return self.momentum.unwrap_or(0.0).into();
        };
        let next = count.tensor() + 1;
        count.assign(&next);
        match self.momentum.filter(|_| !CUMULATIVE.get()) {
            Some(momentum) => momentum.into(),
            None => next.to_dtype(DType::F64).reciprocal().into(),
        }
    }
}

thread_local! {
    static CUMULATIVE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `f` with the running statistics of batch norms as means over all batches, whatever their momentum.
pub(crate) fn cumulative<T>(f: impl FnOnce() -> T) -> T {
    let before = CUMULATIVE.replace(true);
    let result = f();
    CUMULATIVE.set(before);
    result
}

impl<const D: usize, const PER_SAMPLE: bool> Forward for ChannelNorm<D, PER_SAMPLE> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        let one_sample = PER_SAMPLE && x.rank() == D + 1;
        if let Some(error) = self.refusal(x, if one_sample { 0 } else { 1 }) {
            return scope.output(failed(error, x, x.shape()));
        }
        let own = self.uses_own();
        let options = self.options();
        let rows = if one_sample { x.unsqueeze(0) } else { x.clone() };
        scope.output(match (PER_SAMPLE, one_sample) {
            (false, _) => self.batch(&rows, own, options),
            (true, true) => rows.instance_norm(own, &options.momentum(self.counted())).squeeze(0),
            (true, false) => rows.instance_norm(own, &options.momentum(self.counted())),
        })
    }
}

impl<const D: usize, const PER_SAMPLE: bool> ChannelNorm<D, PER_SAMPLE> {
    #[track_caller]
    fn batch(&self, x: &Tensor, own: bool, options: NormOptions) -> Tensor {
        let shape: &Shape = x.shape();
        // A batch that is refused is not counted.
        let one = own && shape[0] * shape[2..].iter().product::<usize>() == 1;
        let momentum = if one { 0.0.into() } else { self.counted() };
        x.batch_norm(own, &options.momentum(momentum))
    }
}
