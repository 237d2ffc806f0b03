//! Layers whose number of inputs the first input tells: torch's `LazyLinear`, `LazyConv2d`, ….

use std::sync::OnceLock;

use limpid_core::{DType, Error, PadMode, Padding, Result, Shape, Sizes, Tensor};

use crate::module::{Forward, Module, Visitor};
use crate::nn::draws::line;
use crate::nn::{Conv, ConvTranspose, Linear, failed};
use crate::site::{self, Scope, Site};
use crate::walk::{Item, walk};

/// The shapes of a state dict's tensors by their names in the layer.
pub(crate) type OfState<'a> = &'a dyn Fn(&str) -> Option<Shape>;

/// A layer that can be made without the number of its inputs.
pub trait LazyLayer: Forward + Clone {
    /// Its name before its parameters are made: `LazyLinear`.
    fn lazy_name(&self) -> &'static str;

    /// The number of inputs that `x` has: features or channels.
    ///
    /// # Errors
    /// When `x` is no input of such a layer.
    fn input_size(&self, x: &Tensor) -> Result<usize>;

    /// The number of inputs that the shapes in a state dict tell.
    fn state_size(&self, state: &dyn Fn(&str) -> Option<Shape>) -> Option<usize>;

    /// The layer with `inputs` inputs and parameters of its own.
    fn sized(&self, inputs: usize) -> Self;
}

/// What a module says that has no parameters yet.
pub trait Uninitialised {
    /// Makes the parameters, where the shapes in a state dict tell their sizes.
    fn initialise(&self, path: &str, state: &dyn Fn(&str) -> Option<Shape>);

    /// The names that its parameters and persistent buffers will have.
    fn names(&self) -> Vec<String>;

    /// What a read says of it.
    fn error(&self) -> Error;
}

/// A layer whose parameters are made at its first forward pass, or when a state dict is loaded: it is then the layer
/// that a constructor with that number of inputs makes, under its name. Before, it has no parameters: an optimizer is
/// made after the first pass.
///
/// ```
/// use limpid::prelude::*;
/// let model = Sequential::new().add(LazyConv2d::new(8, 3)).add(ReLU).add(Flatten::new()).add(LazyLinear::new(10));
/// assert_eq!(model.num_parameters(), 0);
/// assert_eq!(*model.forward(&Tensor::zeros([2, 3, 6, 6])).shape(), Shape::from([2, 10]));
/// assert_eq!(model.num_parameters(), (3 * 9 + 1) * 8 + (8 * 16 + 1) * 10);
/// assert_eq!(model[3].describe(), "Linear(in_features=128, out_features=10, bias=True)");
/// ```
#[derive(Clone, Debug)]
pub struct Lazy<M> {
    /// The layer without inputs.
    layer: M,
    made: OnceLock<M>,
}

impl<M: LazyLayer> Lazy<M> {
    /// The layer that `layer`, which has no inputs, becomes.
    pub(crate) fn of(layer: M) -> Lazy<M> {
        Lazy { layer, made: OnceLock::new() }
    }

    /// With arguments changed; before the parameters are made.
    pub(crate) fn with(self, change: impl FnOnce(M) -> M) -> Lazy<M> {
        Lazy::of(change(self.layer))
    }

    /// The layer with its parameters, once they are made.
    pub fn get(&self) -> Option<&M> {
        self.made.get()
    }

    fn now(&self) -> &M {
        self.made.get().unwrap_or(&self.layer)
    }

    #[track_caller]
    fn make(&self, inputs: usize) -> &M {
        let _line = line();
        self.made.get_or_init(|| {
            let made = self.layer.sized(inputs);
            if let Some(path) = self.layer.site().and_then(Site::path) {
                site::label_below(&made, &path);
            }
            made
        })
    }
}

impl<M: LazyLayer> Module for Lazy<M> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        if let Some(made) = self.made.get() {
            made.visit(visitor);
        }
    }
    fn kind(&self) -> &'static str {
        self.made.get().map_or_else(|| self.layer.lazy_name(), M::kind)
    }
    fn label(&self) -> String {
        self.made.get().map_or_else(|| self.layer.lazy_name().to_owned(), M::label)
    }
    fn extra_repr(&self) -> String {
        self.now().extra_repr()
    }
    fn site(&self) -> Option<&Site> {
        self.now().site()
    }
    fn uninitialised(&self) -> Option<&dyn Uninitialised> {
        // A layer without parameters is no other layer before its first pass.
        if self.made.get().is_some() || self.names().is_empty() { None } else { Some(self) }
    }
}

impl<M: LazyLayer> Uninitialised for Lazy<M> {
    fn initialise(&self, path: &str, state: &dyn Fn(&str) -> Option<Shape>) {
        if let Some(inputs) = self.layer.state_size(state) {
            site::label_below(self.make(inputs), path);
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        walk(&self.layer, &mut |path, item| match item {
            Item::Parameter(_) => names.push(path.to_owned()),
            Item::Buffer(b) if b.persistent() => names.push(path.to_owned()),
            _ => {}
        });
        names
    }

    fn error(&self) -> Error {
        let what = format!("{}: there are no parameters before the first forward pass", self.layer.lazy_name());
        Error::new(what).help("one forward pass first, or a layer that is not lazy")
    }
}

impl<M: LazyLayer> Forward for Lazy<M> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(made) = self.made.get() {
            return made.forward(x);
        }
        // Nothing is made of an input that is wrong.
        let inputs = match (x.error(), self.layer.input_size(x)) {
            (None, Ok(inputs)) => inputs,
            (error, inputs) => {
                let scope = Scope::enter(self);
                let error = error.or(inputs.err()).unwrap_or_else(|| self.error());
                return scope.output(failed(error, x, x.shape()));
            }
        };
        if self.site().is_some_and(|site| site.path().is_none()) {
            site::name(self);
        }
        self.make(inputs).forward(x)
    }
}

/// A [`Linear`] whose `in_features` the first input tells.
pub type LazyLinear = Lazy<Linear>;
/// A [`Conv1d`](crate::nn::Conv1d) whose `in_channels` the first input tells.
pub type LazyConv1d = Lazy<Conv<1>>;
/// A [`Conv2d`](crate::nn::Conv2d) whose `in_channels` the first input tells.
pub type LazyConv2d = Lazy<Conv<2>>;
/// A [`Conv3d`](crate::nn::Conv3d) whose `in_channels` the first input tells.
pub type LazyConv3d = Lazy<Conv<3>>;
/// A [`ConvTranspose1d`](crate::nn::ConvTranspose1d) whose `in_channels` the first input tells.
pub type LazyConvTranspose1d = Lazy<ConvTranspose<1>>;
/// A [`ConvTranspose2d`](crate::nn::ConvTranspose2d) whose `in_channels` the first input tells.
pub type LazyConvTranspose2d = Lazy<ConvTranspose<2>>;
/// A [`ConvTranspose3d`](crate::nn::ConvTranspose3d) whose `in_channels` the first input tells.
pub type LazyConvTranspose3d = Lazy<ConvTranspose<3>>;

impl Lazy<Linear> {
    /// A layer to `out_features` with a bias, f32.
    #[track_caller]
    pub fn new(out_features: usize) -> LazyLinear {
        Lazy::of(Linear::new(0, out_features))
    }

    /// Whether a bias is added (default: yes).
    #[track_caller]
    pub fn bias(self, bias: bool) -> LazyLinear {
        self.with(|layer| layer.bias(bias))
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> LazyLinear {
        self.with(|layer| layer.dtype(dtype))
    }
}

impl<const N: usize> Lazy<Conv<N>> {
    /// A layer with windows of `kernel_size`, a bias and torch's defaults, f32.
    #[track_caller]
    pub fn new(out_channels: usize, kernel_size: impl Into<Sizes>) -> Lazy<Conv<N>> {
        Lazy::of(Conv::new(0, out_channels, kernel_size))
    }

    /// Steps between two windows (default: 1).
    #[track_caller]
    pub fn stride(self, stride: impl Into<Sizes>) -> Lazy<Conv<N>> {
        self.with(|layer| layer.stride(stride))
    }

    /// What is added on both sides of each axis (default: 0).
    #[track_caller]
    pub fn padding(self, padding: impl Into<Padding>) -> Lazy<Conv<N>> {
        self.with(|layer| layer.padding(padding))
    }

    /// Steps between two elements of a window (default: 1).
    #[track_caller]
    pub fn dilation(self, dilation: impl Into<Sizes>) -> Lazy<Conv<N>> {
        self.with(|layer| layer.dilation(dilation))
    }

    /// Groups of channels that do not see each other (default: 1).
    #[track_caller]
    pub fn groups(self, groups: usize) -> Lazy<Conv<N>> {
        self.with(|layer| layer.groups(groups))
    }

    /// Whether a bias is added (default: yes).
    #[track_caller]
    pub fn bias(self, bias: bool) -> Lazy<Conv<N>> {
        self.with(|layer| layer.bias(bias))
    }

    /// What is added around the input (default: zeros).
    #[track_caller]
    pub fn padding_mode(self, mode: PadMode) -> Lazy<Conv<N>> {
        self.with(|layer| layer.padding_mode(mode))
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> Lazy<Conv<N>> {
        self.with(|layer| layer.dtype(dtype))
    }
}

impl<const N: usize> Lazy<ConvTranspose<N>> {
    /// A layer with windows of `kernel_size`, a bias and torch's defaults, f32.
    #[track_caller]
    pub fn new(out_channels: usize, kernel_size: impl Into<Sizes>) -> Lazy<ConvTranspose<N>> {
        Lazy::of(ConvTranspose::new(0, out_channels, kernel_size))
    }

    /// Steps in the result between two elements of the input (default: 1).
    #[track_caller]
    pub fn stride(self, stride: impl Into<Sizes>) -> Lazy<ConvTranspose<N>> {
        self.with(|layer| layer.stride(stride))
    }

    /// What is cut off on both sides of each axis of the result (default: 0).
    #[track_caller]
    pub fn padding(self, padding: impl Into<Sizes>) -> Lazy<ConvTranspose<N>> {
        self.with(|layer| layer.padding(padding))
    }

    /// What is added behind each axis of the result (default: 0).
    #[track_caller]
    pub fn output_padding(self, output_padding: impl Into<Sizes>) -> Lazy<ConvTranspose<N>> {
        self.with(|layer| layer.output_padding(output_padding))
    }

    /// Groups of channels that do not see each other (default: 1).
    #[track_caller]
    pub fn groups(self, groups: usize) -> Lazy<ConvTranspose<N>> {
        self.with(|layer| layer.groups(groups))
    }

    /// Whether a bias is added (default: yes).
    #[track_caller]
    pub fn bias(self, bias: bool) -> Lazy<ConvTranspose<N>> {
        self.with(|layer| layer.bias(bias))
    }

    /// Steps between two elements of a window (default: 1).
    #[track_caller]
    pub fn dilation(self, dilation: impl Into<Sizes>) -> Lazy<ConvTranspose<N>> {
        self.with(|layer| layer.dilation(dilation))
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> Lazy<ConvTranspose<N>> {
        self.with(|layer| layer.dtype(dtype))
    }

    /// The result with the spatial sizes `output_size`: as
    /// [`ConvTranspose::forward_sized`](crate::nn::ConvTranspose::forward_sized).
    #[track_caller]
    pub fn forward_sized(&self, x: &Tensor, output_size: impl Into<Sizes>) -> Tensor {
        if self.get().is_none() {
            // The first pass makes the parameters; its result is not computed.
            let first = self.forward(x);
            if self.get().is_none() {
                return first;
            }
        }
        self.now().forward_sized(x, output_size)
    }
}

impl LazyLayer for Linear {
    fn lazy_name(&self) -> &'static str {
        "LazyLinear"
    }

    fn input_size(&self, x: &Tensor) -> Result<usize> {
        match x.shape().last() {
            Some(&size) => Ok(size),
            None => Err(Error::new("LazyLinear: the input is a scalar").help("an input [..., features]")),
        }
    }

    fn state_size(&self, state: OfState<'_>) -> Option<usize> {
        state("weight")?.get(1).copied()
    }

    fn sized(&self, inputs: usize) -> Linear {
        self.resized(inputs)
    }
}
