//! Convolutions: one struct for the layers of one, two and three dimensions.

use limpid_core::{ConvOptions, DType, Error, PadMode, Padding, Result, Sizes, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::nn::draws::Draws;
use crate::nn::lazy::{LazyLayer, OfState};
use crate::nn::{failed, init, of_dimensions, python};
use crate::param::Parameter;
use crate::site::{Scope, Site};

/// What is around the input unless something else is asked for.
const ZEROS: PadMode = PadMode::Constant(0.0);

/// The sizes of a layer's parameters.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) kernel: Sizes,
    pub(super) groups: usize,
    /// Whether weights are [in, out/groups, …] and not [out, in/groups, …].
    pub(super) transposed: bool,
}

impl Weights {
    /// The first values: U(−1/√fan, 1/√fan), fan the product of the weight's sizes but the first.
    #[track_caller]
    pub(super) fn draw(&self, axes: usize, bias: bool, dtype: DType) -> (Parameter, Option<Parameter>) {
        let (first, second) = if self.transposed { (self.inputs, self.outputs) } else { (self.outputs, self.inputs) };
        // What does not fit is refused by the forward pass.
        let kernel = self.kernel.along(axes).unwrap_or_else(|| vec![1; axes].into());
        let shape: Vec<usize> = [first, second / self.groups.max(1)].into_iter().chain(kernel).collect();
        let fan = shape[1..].iter().fold(1, |fan: usize, &size| fan.saturating_mul(size));
        let weight = Parameter::new(&init::default_uniform(shape, dtype, fan));
        (weight, bias.then(|| Parameter::new(&init::default_uniform([self.outputs], dtype, fan))))
    }

    /// What torch's constructor refuses.
    pub(super) fn check(&self, kind: &str, axes: usize) -> Result<()> {
        let (inputs, outputs, groups) = (self.inputs, self.outputs, self.groups);
        if self.kernel.along(axes).is_none() {
            return Err(Error::new(format!("{kind}: kernel_size {} is not one number or {axes}", self.kernel)));
        }
        if groups == 0 || inputs % groups != 0 || outputs % groups != 0 {
            let what = format!("{inputs} input and {outputs} output channels do not divide into {groups} groups");
            return Err(Error::new(format!("{kind}: {what}")));
        }
        Ok(())
    }

    /// The number of input channels that a state's weight tells.
    pub(super) fn inputs_of(&self, state: OfState<'_>) -> Option<usize> {
        let weight = state("weight")?;
        if self.transposed { weight.first().copied() } else { weight.get(1)?.checked_mul(self.groups) }
    }

    /// `4, 8, kernel_size=(3, 3)`, and what else torch prints of both kinds of layers.
    pub(super) fn arguments(&self, axes: usize, rest: &[(&str, &Sizes, usize)]) -> String {
        let mut text = format!("{}, {}, kernel_size={}", self.inputs, self.outputs, tuple(&self.kernel, axes));
        for (name, sizes, default) in rest {
            let is_default = sizes.along(axes).is_some_and(|sizes| sizes.iter().all(|size| size == default));
            if !is_default || *name == "stride" {
                text += &format!(", {name}={}", tuple(sizes, axes));
            }
        }
        text
    }
}

/// The channels of an input with `axes` spatial axes.
pub(super) fn channels(x: &Tensor, axes: usize) -> Option<usize> {
    let at = x.rank().checked_sub(axes + 1).filter(|at| *at < 2)?;
    Some(x.shape()[at])
}

/// `(3, 3)`, `(3,)`: sizes as the layers print them that make them tuples.
pub(super) fn tuple(sizes: &Sizes, axes: usize) -> String {
    match sizes.along(axes) {
        None => sizes.to_string(),
        Some(sizes) if axes == 1 => format!("({},)", sizes[0]),
        Some(sizes) => Sizes::from(&sizes[..]).to_string(),
    }
}

/// A convolution over `N` spatial axes: [`Conv1d`], [`Conv2d`], [`Conv3d`].
///
/// y[n, o] = bias\[o\] + Σ_c weight[o, c] ⋆ x[n, c], ⋆ the cross-correlation: `[B, in, H, W]` → `[B, out, H', W']`, or
/// without `B`. H' = ⌊(H + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1.
///
/// Weight `[out, in/groups, kernel…]` and bias `[out]` start in U(−1/√k, 1/√k), k = in/groups·Π kernel, as in torch.
///
/// ```
/// use limpid::prelude::*;
/// let layer = Conv2d::new(3, 8, 3).stride(2).padding(1);
/// let y = layer.forward(&Tensor::zeros([4, 3, 28, 28]));
/// assert_eq!(*y.shape(), Shape::from([4, 8, 14, 14]));
/// ```
#[derive(Clone, Debug, Module)]
#[module(kind = name, label = title, extra_repr = arguments)]
pub struct Conv<const N: usize> {
    /// `[out, in/groups, kernel…]`
    pub weight: Parameter,
    /// `[out]`
    pub bias: Option<Parameter>,
    #[module(site)]
    site: Site,
    #[module(skip)]
    sizes: Weights,
    #[module(skip)]
    options: ConvOptions,
    #[module(skip)]
    padding_mode: PadMode,
    #[module(skip)]
    draws: Draws,
}

/// A convolution of sequences: `[B, in, L]` → `[B, out, L']`. See [`Conv`].
pub type Conv1d = Conv<1>;
/// A convolution of images: `[B, in, H, W]` → `[B, out, H', W']`. See [`Conv`].
pub type Conv2d = Conv<2>;
/// A convolution of volumes: `[B, in, D, H, W]` → `[B, out, D', H', W']`. See [`Conv`].
pub type Conv3d = Conv<3>;

/// What both kinds of convolution have.
macro_rules! shared {
    ($name:ident: $($kind:literal),*) => {
        impl<const N: usize> $name<N> {
            fn name(&self) -> &'static str {
                of_dimensions(N, [$($kind),*])
            }

            fn title(&self) -> String {
                format!("{} {}→{}", self.name(), self.sizes.inputs, self.sizes.outputs)
            }

            /// The layer with the parameters that a constructor with these sizes would have drawn.
            #[track_caller]
            fn drawn(mut self, sizes: Weights, bias: bool, dtype: DType) -> $name<N> {
                ((self.weight, self.bias), self.draws) = self.draws.again(|| sizes.draw(N, bias, dtype));
                self.sizes = sizes;
                self
            }

            /// Steps between two elements of a window (default: 1).
            pub fn dilation(mut self, dilation: impl Into<Sizes>) -> $name<N> {
                self.options = self.options.dilation(dilation);
                self
            }

            /// Groups of channels that do not see each other (default: 1).
            #[track_caller]
            pub fn groups(mut self, groups: usize) -> $name<N> {
                self.options.groups = groups;
                let (sizes, bias, dtype) =
                    (Weights { groups, ..self.sizes.clone() }, self.bias.is_some(), self.weight.dtype());
                if groups == self.sizes.groups { self } else { self.drawn(sizes, bias, dtype) }
            }

            /// Whether a bias is added (default: yes).
            #[track_caller]
            pub fn bias(self, bias: bool) -> $name<N> {
                let (sizes, dtype) = (self.sizes.clone(), self.weight.dtype());
                if bias == self.bias.is_some() { self } else { self.drawn(sizes, bias, dtype) }
            }

            /// The type of the parameters (default: f32).
            #[track_caller]
            pub fn dtype(self, dtype: DType) -> $name<N> {
                let (sizes, bias) = (self.sizes.clone(), self.bias.is_some());
                if dtype == self.weight.dtype() { self } else { self.drawn(sizes, bias, dtype) }
            }

            /// Channels of the input.
            pub fn in_channels(&self) -> usize {
                self.sizes.inputs
            }

            /// Channels of the result.
            pub fn out_channels(&self) -> usize {
                self.sizes.outputs
            }
        }

        impl<const N: usize> LazyLayer for $name<N> {
            fn lazy_name(&self) -> &'static str {
                of_dimensions(N, [$(concat!("Lazy", $kind)),*])
            }

            fn input_size(&self, x: &Tensor) -> Result<usize> {
                channels(x, N).ok_or_else(|| {
                    Error::new(format!("{}: the input {} has not {} or {} axes", self.lazy_name(), x.shape(), N + 1, N + 2))
                })
            }

            fn state_size(&self, state: OfState<'_>) -> Option<usize> {
                self.sizes.inputs_of(state)
            }

            #[track_caller]
            fn sized(&self, inputs: usize) -> $name<N> {
                let sizes = Weights { inputs, ..self.sizes.clone() };
                self.clone().drawn(sizes, self.bias.is_some(), self.weight.dtype())
            }
        }
    };
}
pub(super) use shared;

shared!(Conv: "Conv1d", "Conv2d", "Conv3d");

impl<const N: usize> Conv<N> {
    /// A layer with windows of `kernel_size`, a bias and torch's defaults, f32.
    #[track_caller]
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Into<Sizes>) -> Conv<N> {
        let (kernel, groups, transposed) = (kernel_size.into(), 1, false);
        let sizes = Weights { inputs: in_channels, outputs: out_channels, kernel, groups, transposed };
        let ((weight, bias), draws) = Draws::of(|| sizes.draw(N, true, DType::F32));
        let (site, options) = (Site::here(), ConvOptions::new());
        Conv { weight, bias, site, sizes, options, padding_mode: ZEROS, draws }
    }

    /// Steps between two windows (default: 1).
    pub fn stride(mut self, stride: impl Into<Sizes>) -> Conv<N> {
        self.options = self.options.stride(stride);
        self
    }

    /// What is added on both sides of each axis: numbers, [`Padding::Same`] or [`Padding::Valid`] (default: 0).
    pub fn padding(mut self, padding: impl Into<Padding>) -> Conv<N> {
        self.options = self.options.padding(padding);
        self
    }

    /// What `padding` adds around the input (default: zeros). Torch's `padding_mode`.
    pub fn padding_mode(mut self, mode: PadMode) -> Conv<N> {
        self.padding_mode = mode;
        self
    }

    fn arguments(&self) -> String {
        let ConvOptions { stride, padding, dilation, groups } = &self.options;
        let mut text = self.sizes.arguments(N, &[("stride", stride, 1)]);
        match padding {
            Padding::Sizes(sizes) if sizes.along(N).is_some_and(|sizes| sizes.iter().all(|&size| size == 0)) => {}
            Padding::Sizes(sizes) => text += &format!(", padding={}", tuple(sizes, N)),
            word => text += &format!(", padding={word}"),
        }
        if dilation.along(N).is_none_or(|sizes| sizes.iter().any(|&size| size != 1)) {
            text += &format!(", dilation={}", tuple(dilation, N));
        }
        if *groups != 1 {
            text += &format!(", groups={groups}");
        }
        if self.bias.is_none() {
            text += &format!(", bias={}", python(false));
        }
        if self.padding_mode != ZEROS {
            text += &format!(", padding_mode={}", self.padding_mode.name());
        }
        text
    }

    /// How much is added before and behind each spatial axis.
    fn around(&self) -> Result<Vec<(usize, usize)>> {
        let fail = |what: String| Err(Error::new(format!("{}: {what}", self.name())));
        let o = &self.options;
        Ok(match &o.padding {
            Padding::Valid => vec![(0, 0); N],
            Padding::Sizes(sizes) => match sizes.along(N) {
                Some(sizes) => sizes.iter().map(|&p| (p, p)).collect(),
                None => return fail(format!("padding {sizes} is not one number or {N}")),
            },
            Padding::Same => {
                if o.stride.along(N).is_none_or(|stride| stride.iter().any(|&s| s != 1)) {
                    return fail(format!("padding Same keeps the size, which stride {} does not", o.stride));
                }
                let (Some(kernel), Some(dilation)) = (self.sizes.kernel.along(N), o.dilation.along(N)) else {
                    return fail(format!("dilation {} is not one number or {N}", o.dilation));
                };
                let spans = kernel.iter().zip(&dilation).map(|(&k, &d)| k.saturating_sub(1).saturating_mul(d));
                spans.map(|span| (span / 2, span - span / 2)).collect()
            }
        })
    }
}

impl<const N: usize> Forward for Conv<N> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        if let Err(error) = self.sizes.check(self.name(), N) {
            return scope.output(failed(error, x, x.shape()));
        }
        let (mut x, mut options) = (x.clone(), self.options.clone());
        if self.padding_mode != ZEROS && channels(&x, N).is_some() {
            let around = match self.around() {
                Ok(around) => around,
                Err(error) => return scope.output(failed(error, &x, x.shape())),
            };
            // The last axis first.
            let sides: Vec<isize> =
                around.iter().rev().flat_map(|&(lo, hi)| [lo, hi]).map(|n| n.min(i32::MAX as usize) as isize).collect();
            x = x.pad_with(&sides, self.padding_mode);
            options = options.padding(0);
        }
        let (weight, bias) = (self.weight.tensor(), self.bias.as_ref().map(|p| p.tensor()));
        scope.output(match N {
            1 => x.conv1d(&weight, bias.as_ref(), &options),
            2 => x.conv2d(&weight, bias.as_ref(), &options),
            _ => x.conv3d(&weight, bias.as_ref(), &options),
        })
    }
}
