//! A softmax over many classes, of which most are rare.

use limpid_core::{DType, Error, Tensor};

use super::refuse;
use crate::Module;
use crate::module::Forward;
use crate::nn::draws::Draws;
use crate::nn::{Linear, Sequential};
use crate::site::{Scope, Site};

/// The adaptive softmax of Grave et al. (2017): frequent classes, below the first of the `cutoffs`, are told apart by the
/// head; the others fall into clusters between the cutoffs, which the head tells apart and whose classes a cluster of the
/// tail does, through a projection to in_features / div_valueⁱ⁺¹ features. Classes are sorted, the most frequent first.
/// Torch's `AdaptiveLogSoftmaxWithLoss`.
///
/// Every cluster computes every row, so that a step has one plan whatever the classes of its batch are.
///
/// ```
/// use limpid::prelude::*;
/// let loss = AdaptiveLogSoftmaxWithLoss::new(16, 1000, [10, 100]).div_value(2.0);
/// let (output, mean) = loss.forward(&Tensor::ones([2, 16]), &Tensor::from([3i64, 500]));
/// assert_eq!((output.shape().rank(), mean.item()? > 0.0), (1, true));
/// assert_eq!(*loss.log_prob(&Tensor::ones([2, 16])).shape(), Shape::from([2, 1000]));
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Debug, Module)]
pub struct AdaptiveLogSoftmaxWithLoss {
    /// From the features to the frequent classes and the clusters.
    pub head: Linear,
    /// For each cluster a projection and the classes in it.
    pub tail: Vec<Sequential>,
    #[module(skip)]
    made: Made,
    #[module(skip)]
    draws: Draws,
    #[module(site)]
    site: Site,
}

/// What the layers are made of.
#[derive(Clone, Debug)]
struct Made {
    in_features: usize,
    n_classes: usize,
    cutoffs: Vec<usize>,
    div_value: f64,
    head_bias: bool,
    dtype: DType,
}

impl Made {
    /// What is wrong with the arguments, if something is.
    fn wrong(&self) -> Option<String> {
        let rising = self.cutoffs.windows(2).all(|pair| pair[0] < pair[1]);
        let within = self.cutoffs.iter().all(|&c| 0 < c && c < self.n_classes);
        if self.cutoffs.is_empty() || !rising || !within {
            let what = format!("the cutoffs are {:?}, not rising and from 1 to below {}", self.cutoffs, self.n_classes);
            return Some(what);
        }
        (self.div_value.is_nan() || self.div_value <= 0.0)
            .then(|| format!("div_value is {}, not above 0", self.div_value))
    }

    /// The first class of each cluster, and the one behind its last.
    fn clusters(&self) -> impl Iterator<Item = (usize, usize)> {
        let ends = self.cutoffs.iter().skip(1).copied().chain([self.n_classes]);
        self.cutoffs.iter().copied().zip(ends)
    }

    #[track_caller]
    fn layers(&self) -> (Linear, Vec<Sequential>) {
        let linear = |within, out| Linear::new(within, out).bias(false).dtype(self.dtype);
        if self.wrong().is_some() {
            return (linear(self.in_features, 1), Vec::new());
        }
        let head = Linear::new(self.in_features, self.cutoffs[0] + self.cutoffs.len());
        let head = head.bias(self.head_bias).dtype(self.dtype);
        let mut tail = Vec::new();
        for (i, (first, end)) in self.clusters().enumerate() {
            let features = (self.in_features as f64 / self.div_value.powi(i as i32 + 1)).floor() as usize;
            let projection = linear(self.in_features, features);
            tail.push(Sequential::new().add(projection).add(linear(features, end - first)));
        }
        (head, tail)
    }
}

impl AdaptiveLogSoftmaxWithLoss {
    /// The layers, f32, with torch's `div_value` of 4 and a head without bias.
    #[track_caller]
    pub fn new(in_features: usize, n_classes: usize, cutoffs: impl Into<Vec<usize>>) -> AdaptiveLogSoftmaxWithLoss {
        let cutoffs = cutoffs.into();
        let made = Made { in_features, n_classes, cutoffs, div_value: 4.0, head_bias: false, dtype: DType::F32 };
        let ((head, tail), draws) = Draws::of(|| made.layers());
        AdaptiveLogSoftmaxWithLoss { head, tail, made, draws, site: Site::here() }
    }

    #[track_caller]
    fn remade(mut self, change: impl FnOnce(&mut Made)) -> AdaptiveLogSoftmaxWithLoss {
        change(&mut self.made);
        let ((head, tail), draws) = self.draws.again(|| self.made.layers());
        AdaptiveLogSoftmaxWithLoss { head, tail, draws, ..self }
    }

    /// By how much the features of each cluster are fewer than those of the one before.
    #[track_caller]
    pub fn div_value(self, value: f64) -> AdaptiveLogSoftmaxWithLoss {
        self.remade(|made| made.div_value = value)
    }

    /// Whether the head has a bias (default: no).
    #[track_caller]
    pub fn head_bias(self, bias: bool) -> AdaptiveLogSoftmaxWithLoss {
        self.remade(|made| made.head_bias = bias)
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> AdaptiveLogSoftmaxWithLoss {
        self.remade(|made| made.dtype = dtype)
    }

    /// What is wrong with the layer, or with its input and target.
    fn misfit(&self, x: &Tensor, target: Option<&Tensor>) -> Option<String> {
        if let Some(what) = self.made.wrong() {
            return Some(what);
        }
        let within = self.made.in_features;
        let rank = target.map_or(1, Tensor::rank) + 1;
        if x.rank() != rank || x.rank() > 2 || x.size(-1) != within || !x.dtype().is_float() {
            let against = target.map_or(String::new(), |t| format!(" against classes {}", t.shape()));
            return Some(format!("the input is {} {}{against}, not floats [N, {within}]", x.dtype(), x.shape()));
        }
        let target = target?;
        if target.rank() == 1 && target.size(0) != x.size(0) {
            return Some(format!("{} rows and {} classes", x.size(0), target.size(0)));
        }
        let wrong = target.dtype().is_float() || target.dtype() == DType::Bool;
        wrong.then(|| format!("the target is {}, not classes (i64)", target.dtype()))
    }

    /// The log-probability of each row's class `[N]`, and the mean of its negative: input `[N, in_features]` against
    /// classes `[N]`, or `[in_features]` against one class.
    ///
    /// # Errors
    /// At the read, where a class is out of range.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
        let scope = Scope::enter(self);
        if let Some(what) = self.misfit(input, Some(target)) {
            let error = Error::new(format!("adaptive_log_softmax: {what}"));
            let output = Tensor::fail(error.clone(), &[input, target], target.shape().clone(), input.dtype());
            return (output, Tensor::fail(error, &[input, target], ().into(), input.dtype()));
        }
        let one = target.rank() == 0;
        let (x, class) = if one { (input.unsqueeze(0), target.unsqueeze(0)) } else { (input.clone(), target.clone()) };
        let class = class.to_dtype(DType::I64);
        let last = self.made.n_classes - 1;
        let what = format!("adaptive_log_softmax: a class is not between 0 and {last}");
        let class = class.check_within(0.0, last as f64, &what);
        let frequent = self.made.cutoffs[0];
        let mut place = class.clone();
        let mut output = x.select(1, 0).zeros_like();
        for (i, (first, end)) in self.made.clusters().enumerate() {
            let inside = class.ge(first as i64).logical_and(&class.lt(end as i64));
            let own = (&class - first as i64).where_(&inside, 0);
            let log = self.tail[i].forward(&x).log_softmax(1);
            output = log.gather(1, &own.unsqueeze(1)).squeeze(1).where_(&inside, &output);
            place = place.masked_fill(&inside, (frequent + i) as i64);
        }
        let head = self.head.forward(&x).log_softmax(1);
        let output = output + head.gather(1, &place.unsqueeze(1)).squeeze(1);
        let loss = (-&output).mean(..);
        let output = if one { output.squeeze(0) } else { output };
        (scope.output(output), loss)
    }

    /// The log-probabilities of all classes: `[N, in_features]` → `[N, n_classes]`.
    #[track_caller]
    pub fn log_prob(&self, input: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        if let Some(what) = self.misfit(input, None) {
            return scope.output(refuse("adaptive_log_softmax", what, &[input]));
        }
        let head = self.head.forward(input).log_softmax(1);
        let frequent = self.made.cutoffs[0];
        let mut parts = vec![head.narrow(1, 0, frequent)];
        for (i, cluster) in self.tail.iter().enumerate() {
            parts.push(cluster.forward(input).log_softmax(1) + head.narrow(1, frequent + i, 1));
        }
        scope.output(Tensor::cat(&parts.iter().collect::<Vec<_>>(), 1))
    }

    /// The most probable class of each row: `[N, in_features]` → `[N]` (i64).
    #[track_caller]
    pub fn predict(&self, input: &Tensor) -> Tensor {
        self.log_prob(input).argmax(1)
    }
}
