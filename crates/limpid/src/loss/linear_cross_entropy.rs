//! A linear layer and the cross entropy of its result.

use limpid_core::{DType, Tensor};

use super::{CrossEntropyLoss, Reduction, refuse, setters};
use crate::nn::draws::Draws;
use crate::nn::{Linear, python};
use crate::site::{Scope, Site};
use crate::{Buffer, Module};

/// What [`linear_cross_entropy`] takes by name in torch.
#[derive(Clone, Debug)]
pub struct LinearCrossEntropy {
    /// `[C]` or `[C, d…]`
    pub linear_bias: Option<Tensor>,
    /// A factor for each class `[C]`.
    pub weight: Option<Tensor>,
    /// How the losses become one.
    pub reduction: Reduction,
    /// Rows of this class count nothing; without one, rows of −100.
    pub ignore_index: Option<i64>,
    /// How much of each target is spread over all classes.
    pub label_smoothing: f64,
}

impl Default for LinearCrossEntropy {
    fn default() -> LinearCrossEntropy {
        LinearCrossEntropy {
            linear_bias: None,
            weight: None,
            reduction: Reduction::Mean,
            ignore_index: None,
            label_smoothing: 0.0,
        }
    }
}

/// The cross entropy of x·Wᵀ + b: x `[N, in]` or `[in]`, weight `[C, in]` or `[C, d…, in]`, against classes `[N, d…]` or
/// probabilities `[N, C, d…]`. Torch's `linear_cross_entropy`.
///
/// ```
/// use limpid::prelude::*;
/// let (x, weight) = (Tensor::ones([2, 3]), Tensor::zeros([4, 3]));
/// let loss = linear_cross_entropy(&x, &weight, &Tensor::from([0i64, 3]), &LinearCrossEntropy::default());
/// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn linear_cross_entropy(
    input: &Tensor,
    linear_weight: &Tensor,
    target: &Tensor,
    options: &LinearCrossEntropy,
) -> Tensor {
    const NAME: &str = "linear_cross_entropy";
    let (x, w) = (input.shape(), linear_weight.shape());
    let bias = options.linear_bias.as_ref();
    if !(1..=2).contains(&x.rank()) || w.rank() < 2 || x.last() != w.last() {
        let what = format!("an input {x} and a weight {w} are not [N, in] and [C, …, in]");
        return refuse(NAME, what, &[input, linear_weight, target]);
    }
    if x.rank() == 1 && w.rank() > 2 {
        return refuse(NAME, format!("a weight {w} needs an input [N, in], not {x}"), &[input, linear_weight, target]);
    }
    let (within, outer) = (w[w.rank() - 1], &w[..w.rank() - 1]);
    if let Some(b) = bias.filter(|b| b.shape()[..] != *outer) {
        let what = format!("the bias has shape {}, the weight {w}", b.shape());
        return refuse(NAME, what, &[input, linear_weight, target, b]);
    }
    let out: usize = outer.iter().product();
    let flat = bias.map(|b| b.view([out]));
    let logits = input.linear(&linear_weight.view([out, within]), flat.as_ref());
    let shape: Vec<usize> = x[..x.rank() - 1].iter().chain(outer).copied().collect();
    let logits = logits.view(shape);
    if options.ignore_index.is_some() && target.shape() == logits.shape() {
        let what = "an ignore_index goes with classes, but the target is probabilities".to_owned();
        return refuse(NAME, what, &[input, linear_weight, target]);
    }
    let loss = CrossEntropyLoss {
        reduction: options.reduction,
        weight: None,
        ignore_index: options.ignore_index.unwrap_or(-100),
        label_smoothing: options.label_smoothing,
    };
    loss.weighted(&logits, target, options.weight.as_ref())
}

/// [`linear_cross_entropy`] with a [`Linear`] layer of its own, by default without a bias. Torch's
/// `LinearCrossEntropyLoss`.
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct LinearCrossEntropyLoss {
    /// A factor for each class `[C]`.
    pub weight: Option<Buffer>,
    /// From the features to the classes, `[C·d…, in]`.
    pub linear: Linear,
    #[module(skip)]
    made: Made,
    #[module(skip)]
    draws: Draws,
    #[module(site)]
    site: Site,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
    /// Rows of this class count nothing; without one, rows of −100.
    #[module(skip)]
    pub ignore_index: Option<i64>,
    /// How much of each target is spread over all classes.
    pub label_smoothing: f64,
}

/// What the layer is made of.
#[derive(Clone, Debug)]
struct Made {
    in_features: usize,
    num_classes: usize,
    out_features: Vec<usize>,
    bias: bool,
    dtype: DType,
}

impl Made {
    #[track_caller]
    fn linear(&self) -> Linear {
        let sizes = self.out_features.iter();
        let out = sizes.fold(self.num_classes, |out, &size| out.saturating_mul(size));
        Linear::new(self.in_features, out).bias(self.bias).dtype(self.dtype)
    }
}

impl LinearCrossEntropyLoss {
    /// The layer and the loss: the mean, without weights, smoothing and bias, f32.
    #[track_caller]
    pub fn new(in_features: usize, num_classes: usize) -> LinearCrossEntropyLoss {
        let made = Made { in_features, num_classes, out_features: Vec::new(), bias: false, dtype: DType::F32 };
        let (linear, draws) = Draws::of(|| made.linear());
        LinearCrossEntropyLoss {
            weight: None,
            linear,
            made,
            draws,
            site: Site::here(),
            reduction: Reduction::Mean,
            ignore_index: None,
            label_smoothing: 0.0,
        }
    }

    #[track_caller]
    fn remade(mut self, change: impl FnOnce(&mut Made)) -> LinearCrossEntropyLoss {
        change(&mut self.made);
        let (linear, draws) = self.draws.again(|| self.made.linear());
        LinearCrossEntropyLoss { linear, draws, ..self }
    }

    /// With further axes d… of the classes: losses `[N, d…]`.
    #[track_caller]
    pub fn out_features(self, sizes: impl Into<Vec<usize>>) -> LinearCrossEntropyLoss {
        let sizes = sizes.into();
        self.remade(|made| made.out_features = sizes)
    }

    /// Whether a bias is added (default: no).
    #[track_caller]
    pub fn bias(self, bias: bool) -> LinearCrossEntropyLoss {
        self.remade(|made| made.bias = bias)
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> LinearCrossEntropyLoss {
        self.remade(|made| made.dtype = dtype)
    }

    /// With a factor for each class.
    pub fn weight(mut self, weight: &Tensor) -> LinearCrossEntropyLoss {
        self.weight = Some(Buffer::new(weight));
        self
    }

    /// With a class that counts nothing.
    pub fn ignore_index(mut self, class: i64) -> LinearCrossEntropyLoss {
        self.ignore_index = Some(class);
        self
    }

    /// The loss of features against classes or probabilities.
    #[track_caller]
    pub fn forward(&self, input: &Tensor, target: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        let classes = || std::iter::once(self.made.num_classes).chain(self.made.out_features.iter().copied());
        let weight_shape: Vec<usize> = classes().chain([self.made.in_features]).collect();
        let options = LinearCrossEntropy {
            linear_bias: self.linear.bias.as_ref().map(|b| b.tensor().view(classes().collect::<Vec<_>>())),
            weight: self.weight.as_ref().map(|w| w.tensor()),
            reduction: self.reduction,
            ignore_index: self.ignore_index,
            label_smoothing: self.label_smoothing,
        };
        let weight = self.linear.weight.tensor().view(weight_shape);
        scope.output(linear_cross_entropy(input, &weight, target, &options))
    }

    fn arguments(&self) -> String {
        let made = &self.made;
        let sizes: Vec<String> = made.out_features.iter().map(usize::to_string).collect();
        let comma = if sizes.len() == 1 { "," } else { "" };
        let reduction = format!("{:?}", self.reduction).to_lowercase();
        let ignored = self.ignore_index.map_or("None".to_owned(), |class| class.to_string());
        format!(
            "in_features={}, num_classes={}, out_features=({}{comma}), bias={}, reduction={reduction}, \
             ignore_index={ignored}, label_smoothing={:?}, options=None",
            made.in_features,
            made.num_classes,
            sizes.join(", "),
            python(made.bias),
            self.label_smoothing,
        )
    }
}

setters!(LinearCrossEntropyLoss {
    /// With another reduction.
    reduction: Reduction,
    /// With targets smoothed: (1 − s)·onehot + s/C.
    label_smoothing: f64,
});
