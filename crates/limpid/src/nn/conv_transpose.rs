//! Transposed convolutions: one struct for the layers of one, two and three dimensions.

use limpid_core::{ConvTransposeOptions, DType, Error, Result, Sizes, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::nn::conv::{Weights, channels, shared};
use crate::nn::draws::Draws;
use crate::nn::lazy::{LazyLayer, OfState};
use crate::nn::{failed, of_dimensions, python};
use crate::param::Parameter;
use crate::site::{Scope, Site};

/// A transposed convolution over `N` spatial axes: [`ConvTranspose1d`], [`ConvTranspose2d`], [`ConvTranspose3d`].
/// Zeiler et al. (2010).
///
/// Each element of the input adds its window of weights to the result: `[B, in, H, W]` → `[B, out, H', W']`, or without
/// `B`. H' = (H − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1.
///
/// Weight `[in, out/groups, kernel…]` and bias `[out]` start in U(−1/√k, 1/√k), k = out/groups·Π kernel, as in torch.
///
/// ```
/// use limpid::prelude::*;
/// let layer = ConvTranspose2d::new(8, 3, 3).stride(2).padding(1);
/// let x = Tensor::zeros([4, 8, 14, 14]);
/// assert_eq!(*layer.forward(&x).shape(), Shape::from([4, 3, 27, 27]));
/// assert_eq!(*layer.forward_sized(&x, [28, 28]).shape(), Shape::from([4, 3, 28, 28]));
/// ```
#[derive(Clone, Debug, Module)]
#[module(kind = name, label = title, extra_repr = arguments)]
pub struct ConvTranspose<const N: usize> {
    /// `[in, out/groups, kernel…]`
    pub weight: Parameter,
    /// `[out]`
    pub bias: Option<Parameter>,
    #[module(site)]
    site: Site,
    #[module(skip)]
    sizes: Weights,
    #[module(skip)]
    options: ConvTransposeOptions,
    #[module(skip)]
    draws: Draws,
}

/// A transposed convolution of sequences: `[B, in, L]` → `[B, out, L']`. See [`ConvTranspose`].
pub type ConvTranspose1d = ConvTranspose<1>;
/// A transposed convolution of images: `[B, in, H, W]` → `[B, out, H', W']`. See [`ConvTranspose`].
pub type ConvTranspose2d = ConvTranspose<2>;
/// A transposed convolution of volumes: `[B, in, D, H, W]` → `[B, out, D', H', W']`. See [`ConvTranspose`].
pub type ConvTranspose3d = ConvTranspose<3>;

shared!(ConvTranspose: "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d");

impl<const N: usize> ConvTranspose<N> {
    /// A layer with windows of `kernel_size`, a bias and torch's defaults, f32.
    #[track_caller]
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Into<Sizes>) -> ConvTranspose<N> {
        let (kernel, groups, transposed) = (kernel_size.into(), 1, true);
        let sizes = Weights { inputs: in_channels, outputs: out_channels, kernel, groups, transposed };
        let ((weight, bias), draws) = Draws::of(|| sizes.draw(N, true, DType::F32));
        ConvTranspose { weight, bias, site: Site::here(), sizes, options: ConvTransposeOptions::new(), draws }
    }

    /// Steps in the result between two elements of the input (default: 1).
    pub fn stride(mut self, stride: impl Into<Sizes>) -> ConvTranspose<N> {
        self.options = self.options.stride(stride);
        self
    }

    /// What is cut off on both sides of each axis of the result (default: 0).
    pub fn padding(mut self, padding: impl Into<Sizes>) -> ConvTranspose<N> {
        self.options = self.options.padding(padding);
        self
    }

    /// What is added behind each axis of the result (default: 0): less than stride or dilation.
    pub fn output_padding(mut self, output_padding: impl Into<Sizes>) -> ConvTranspose<N> {
        self.options = self.options.output_padding(output_padding);
        self
    }

    fn arguments(&self) -> String {
        let ConvTransposeOptions { stride, padding, output_padding, groups, dilation } = &self.options;
        let rest = [
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("dilation", dilation, 1),
            ("output_padding", output_padding, 0),
        ];
        let mut text = self.sizes.arguments(N, &rest);
        if *groups != 1 {
            text += &format!(", groups={groups}");
        }
        if self.bias.is_none() {
            text += &format!(", bias={}", python(false));
        }
        text
    }

    /// The padding behind the result with which its spatial sizes are `sizes`: [H, W], or all sizes of the result.
    fn padding_for(&self, x: &Tensor, sizes: &[usize]) -> Result<Sizes> {
        let (name, o) = (self.name(), &self.options);
        let fail = |what: String| Err(Error::new(format!("{name}: {what}")));
        if channels(x, N).is_none() || (sizes.len() != N && sizes.len() != x.rank()) {
            let rank = x.rank();
            return fail(format!("output_size {sizes:?} of the input {} has not {N} or {rank} sizes", x.shape()));
        }
        let known = [&o.stride, &o.padding, &o.dilation, &self.sizes.kernel].map(|sizes| sizes.along(N));
        let [Some(stride), Some(padding), Some(dilation), Some(kernel)] = known else {
            return fail(format!("stride, padding or dilation is not one number or {N}"));
        };
        let (wanted, given) = (&sizes[sizes.len() - N..], &x.shape()[x.rank() - N..]);
        let mut more = Vec::new();
        for i in 0..N {
            let spread = given[i].saturating_sub(1).saturating_mul(stride[i]);
            let span = dilation[i].saturating_mul(kernel[i].saturating_sub(1)).saturating_add(1);
            let least = spread.saturating_add(span).saturating_sub(padding[i].saturating_mul(2));
            let most = least.saturating_add(stride[i].saturating_sub(1));
            if !(least..=most).contains(&wanted[i]) {
                return fail(format!("output_size {sizes:?}: from {least} to {most} is possible, not {}", wanted[i]));
            }
            more.push(wanted[i] - least);
        }
        Ok(Sizes::from(more))
    }

    #[track_caller]
    fn run(&self, x: &Tensor, options: &ConvTransposeOptions) -> Tensor {
        if let Err(error) = self.sizes.check(self.name(), N) {
            return failed(error, x, x.shape());
        }
        let (weight, bias) = (self.weight.tensor(), self.bias.as_ref().map(|p| p.tensor()));
        match N {
            1 => x.conv_transpose1d(&weight, bias.as_ref(), options),
            2 => x.conv_transpose2d(&weight, bias.as_ref(), options),
            _ => x.conv_transpose3d(&weight, bias.as_ref(), options),
        }
    }

    /// The result with the spatial sizes `output_size`, in place of `output_padding`: with a stride, inputs of several
    /// sizes come from one. Torch's argument `output_size` of the forward pass.
    #[track_caller]
    pub fn forward_sized(&self, x: &Tensor, output_size: impl Into<Sizes>) -> Tensor {
        let scope = Scope::enter(self);
        let output_size = output_size.into();
        let sizes = output_size.along(N).or_else(|| output_size.along(x.rank()));
        let padding = match sizes {
            Some(sizes) => self.padding_for(x, &sizes),
            None => Err(Error::new(format!("{}: output_size {output_size} has not {N} sizes", self.name()))),
        };
        scope.output(match padding {
            Ok(padding) => self.run(x, &self.options.clone().output_padding(padding)),
            Err(error) => failed(error, x, x.shape()),
        })
    }
}

impl<const N: usize> Forward for ConvTranspose<N> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(self.run(x, &self.options))
    }
}
