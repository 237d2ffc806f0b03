//! A layer and the batch normalisation behind it as one layer, for evaluation.

use limpid_core::{Error, NormOptions, Result, Shape, Tensor};

use crate::module::Module;
use crate::nn::{ChannelNorm, Conv, ConvTranspose, Linear};
use crate::param::Parameter;

/// A convolution that [`fuse_conv_bn_eval`] takes.
pub trait Fusible: Module + Clone {
    /// Its weight and bias.
    fn parts(&self) -> (&Parameter, Option<&Parameter>);

    /// The same layer with other ones.
    fn with_parts(&self, weight: Parameter, bias: Parameter) -> Self;

    /// The numbers `scale` of the result's channels, in the shape that multiplies the weight.
    fn beside(&self, scale: &Tensor) -> Tensor;
}

/// `[n]` as `[n, 1, 1, …]`.
fn first_axis(scale: &Tensor, rank: usize) -> Tensor {
    let shape: Shape = std::iter::once(scale.numel()).chain(std::iter::repeat_n(1, rank.saturating_sub(1))).collect();
    scale.view(shape)
}

impl<const N: usize> Fusible for Conv<N> {
    fn parts(&self) -> (&Parameter, Option<&Parameter>) {
        (&self.weight, self.bias.as_ref())
    }

    fn with_parts(&self, weight: Parameter, bias: Parameter) -> Conv<N> {
        let mut fused = self.clone();
        (fused.weight, fused.bias) = (weight, Some(bias));
        fused
    }

    fn beside(&self, scale: &Tensor) -> Tensor {
        first_axis(scale, N + 2)
    }
}

impl<const N: usize> Fusible for ConvTranspose<N> {
    fn parts(&self) -> (&Parameter, Option<&Parameter>) {
        (&self.weight, self.bias.as_ref())
    }

    fn with_parts(&self, weight: Parameter, bias: Parameter) -> ConvTranspose<N> {
        let mut fused = self.clone();
        (fused.weight, fused.bias) = (weight, Some(bias));
        fused
    }

    /// The weight is `[in, out / groups, window…]`: the rows of a group have that group's channels.
    fn beside(&self, scale: &Tensor) -> Tensor {
        let shape = self.weight.shape();
        let (inputs, channels) = (shape[0], shape[1].max(1));
        let groups = (scale.numel() / channels).max(1);
        let rows = scale.view([groups, 1, channels]).expand_to(&Shape::from([groups, inputs / groups, channels]));
        let ones = std::iter::repeat_n(1, N);
        rows.view([inputs, channels].into_iter().chain(ones).collect::<Shape>())
    }
}

/// Scale and shift of each channel that a batch norm with these running statistics amounts to: of x, scale·x + shift.
#[track_caller]
fn scale_and_shift(bn: &NormOptions) -> Result<(Tensor, Tensor)> {
    let (Some(mean), Some(var)) = (&bn.running_mean, &bn.running_var) else {
        let error = Error::new("fuse: the batch normalisation keeps no running statistics");
        return Err(error.help("track_running_stats(true)"));
    };
    let mut scale = (var.tensor() + bn.eps).rsqrt();
    if let Some(weight) = &bn.weight {
        scale = scale * weight;
    }
    let mut shift = -mean.tensor() * &scale;
    if let Some(bias) = &bn.bias {
        shift = shift + bias;
    }
    Ok((scale, shift))
}

/// Weight and bias of the product that takes in the batch norm behind it: `weight`·scale and (bias − mean)·scale +
/// shift, where scale is one number for each of the first axis of the weight. Torch's `fuse_conv_bn_weights` and
/// `fuse_linear_bn_weights`.
///
/// # Errors
/// Without running statistics, or when the values can not be computed.
pub fn fuse_bn_weights(weight: &Tensor, bias: Option<&Tensor>, bn: &NormOptions) -> Result<(Tensor, Tensor)> {
    let (scale, shift) = scale_and_shift(bn)?;
    let bias = bias.map_or_else(|| shift.clone(), |bias| bias * &scale + &shift);
    let fused = ((weight * first_axis(&scale, weight.rank())).detach().to_dtype(weight.dtype()), bias.detach());
    limpid_core::eval([&fused.0, &fused.1])?;
    Ok(fused)
}

fn trained_like(value: &Tensor, like: &Parameter) -> Parameter {
    let p = Parameter::new(value);
    p.requires_grad_(like.requires_grad());
    p
}

fn in_evaluation(training: bool) -> Result<()> {
    if training {
        let error = Error::new("fuse: a layer trains, and its batch statistics are not known");
        return Err(error.help("eval() of both layers"));
    }
    Ok(())
}

/// A convolution (or transposed one) that computes what `bn` makes of the result of `conv`, both in evaluation. Torch's
/// function of that name; it knows by itself whether the convolution is transposed, also in groups.
///
/// # Errors
/// When one of them trains, `bn` keeps no running statistics or has another number of channels.
///
/// ```
/// use limpid::nn::utils::fuse_conv_bn_eval;
/// use limpid::prelude::*;
/// let (conv, bn) = (Conv2d::new(3, 4, 3), BatchNorm2d::new(4));
/// conv.eval();
/// bn.eval();
/// let fused = fuse_conv_bn_eval(&conv, &bn)?;
/// let x = Tensor::randn([2, 3, 5, 5]);
/// let off = (fused.forward(&x) - bn.forward(&conv.forward(&x))).abs().amax(..);
/// assert!(off.item()? < 1e-5);
/// # Ok::<(), limpid::Error>(())
/// ```
pub fn fuse_conv_bn_eval<C: Fusible, const N: usize>(conv: &C, bn: &ChannelNorm<N, false>) -> Result<C> {
    in_evaluation(conv.is_training() || bn.is_training())?;
    let (weight, bias) = conv.parts();
    let options = bn.options();
    let (scale, shift) = scale_and_shift(&options)?;
    let channels = conv.beside(&Tensor::zeros([bn.num_features()])).numel();
    let fits = bias.is_none_or(|b| b.numel() == bn.num_features()) && weight.numel().is_multiple_of(channels.max(1));
    let widened = conv.beside(&scale);
    if !fits || widened.error().is_some() || widened.shape().broadcast(&weight.shape()) != Some(weight.shape()) {
        let (shape, n) = (weight.shape(), bn.num_features());
        let what = format!("fuse: a batch norm of {n} channels behind a convolution of weight {shape}");
        return Err(Error::new(what));
    }
    let value = (weight.tensor() * widened).to_dtype(weight.dtype()).detach();
    let moved = bias.map_or_else(|| shift.clone(), |bias| bias.tensor() * &scale + &shift).detach();
    limpid_core::eval([&value, &moved])?;
    Ok(conv.with_parts(trained_like(&value, weight), trained_like(&moved, bias.unwrap_or(weight))))
}

/// A [`Linear`] that computes what `bn` makes of the result of `linear`, both in evaluation; `bn` has its number of
/// features, or one. Torch's function of that name.
///
/// # Errors
/// When one of them trains, `bn` keeps no running statistics or has another number of channels.
pub fn fuse_linear_bn_eval<const N: usize>(linear: &Linear, bn: &ChannelNorm<N, false>) -> Result<Linear> {
    in_evaluation(linear.is_training() || bn.is_training())?;
    let (out, n) = (linear.out_features(), bn.num_features());
    if n != out && n != 1 {
        return Err(Error::new(format!("fuse: a batch norm of {n} channels behind a Linear of {out} features")));
    }
    let (weight, bias) = (linear.weight.tensor(), linear.bias.as_ref().map(|p| p.tensor()));
    let (value, moved) = fuse_bn_weights(&weight, bias.as_ref(), &bn.options())?;
    let moved = moved.expand_to(&Shape::from([out]));
    let bias = linear.bias.as_ref().unwrap_or(&linear.weight);
    let mut fused = linear.clone();
    (fused.weight, fused.bias) = (trained_like(&value, &linear.weight), Some(trained_like(&moved, bias)));
    Ok(fused)
}
