//! Pooling: one struct for the layers of one, two and three dimensions.

use limpid_core::{AvgPoolOptions, MaxPoolOptions, MaxUnpoolOptions, OutputSizes, Sizes, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::nn::conv::tuple;
use crate::nn::{of_dimensions, python};
use crate::site::{Scope, Site};

/// The largest element of each window: [`MaxPool1d`], [`MaxPool2d`], [`MaxPool3d`].
///
/// `[B, C, H, W]` → `[B, C, H', W']`, or without `B`, H' = ⌊(H + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1. The
/// padding is −∞, NaN wins, and the first of equal elements gets the gradient.
///
/// ```
/// use limpid::prelude::*;
/// let x = Tensor::from([[[1.0f32, 3.0, 2.0, 5.0, 4.0]]]);
/// assert_eq!(MaxPool1d::new(2).forward(&x).to_vec::<f32>()?, [3.0, 5.0]);
/// let (y, indices) = MaxPool1d::new(2).ceil_mode(true).forward_with_indices(&x);
/// assert_eq!((y.to_vec::<f32>()?, indices.to_vec::<i64>()?), (vec![3.0, 5.0, 4.0], vec![1, 3, 4]));
/// assert_eq!(*AdaptiveAvgPool2d::new(1).forward(&Tensor::ones([2, 8, 7, 7])).shape(), Shape::from([2, 8, 1, 1]));
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(kind = name, extra_repr = arguments)]
pub struct MaxPool<const N: usize> {
    #[module(skip)]
    kernel_size: Sizes,
    #[module(skip)]
    options: MaxPoolOptions,
    #[module(site)]
    site: Site,
}

/// The largest element of windows of sequences. See [`MaxPool`].
pub type MaxPool1d = MaxPool<1>;
/// The largest element of windows of images. See [`MaxPool`].
pub type MaxPool2d = MaxPool<2>;
/// The largest element of windows of volumes. See [`MaxPool`].
pub type MaxPool3d = MaxPool<3>;

impl<const N: usize> MaxPool<N> {
    /// The layer, its windows one beside the other.
    #[track_caller]
    pub fn new(kernel_size: impl Into<Sizes>) -> MaxPool<N> {
        MaxPool { kernel_size: kernel_size.into(), options: MaxPoolOptions::new(), site: Site::here() }
    }

    /// Steps between two windows (default: their size).
    pub fn stride(mut self, stride: impl Into<Sizes>) -> MaxPool<N> {
        self.options = self.options.stride(stride);
        self
    }

    /// Places of −∞ on both sides (default: 0): at most half a window.
    pub fn padding(mut self, padding: impl Into<Sizes>) -> MaxPool<N> {
        self.options = self.options.padding(padding);
        self
    }

    /// Steps between two elements of a window (default: 1).
    pub fn dilation(mut self, dilation: impl Into<Sizes>) -> MaxPool<N> {
        self.options = self.options.dilation(dilation);
        self
    }

    /// Whether a last window may reach beyond the padding (default: no).
    pub fn ceil_mode(mut self, ceil_mode: bool) -> MaxPool<N> {
        self.options = self.options.ceil_mode(ceil_mode);
        self
    }

    /// The elements, and where each of them is: i64, the flat index in the plane. Torch's `return_indices=True`.
    #[track_caller]
    pub fn forward_with_indices(&self, x: &Tensor) -> (Tensor, Tensor) {
        let scope = Scope::enter(self);
        let (y, indices) = match N {
            1 => x.max_pool1d_with_indices(self.kernel_size.clone(), &self.options),
            2 => x.max_pool2d_with_indices(self.kernel_size.clone(), &self.options),
            _ => x.max_pool3d_with_indices(self.kernel_size.clone(), &self.options),
        };
        (scope.output(y), indices)
    }

    fn name(&self) -> &'static str {
        of_dimensions(N, ["MaxPool1d", "MaxPool2d", "MaxPool3d"])
    }

    fn arguments(&self) -> String {
        let MaxPoolOptions { stride, padding, dilation, ceil_mode } = &self.options;
        let (kernel, stride) = (&self.kernel_size, stride.as_ref().unwrap_or(&self.kernel_size));
        let ceil = python(*ceil_mode);
        format!("kernel_size={kernel}, stride={stride}, padding={padding}, dilation={dilation}, ceil_mode={ceil}")
    }
}

impl<const N: usize> Forward for MaxPool<N> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with_indices(x).0
    }
}

/// The average of each window: [`AvgPool1d`], [`AvgPool2d`], [`AvgPool3d`].
///
/// `[B, C, H, W]` → `[B, C, H', W']`, or without `B`, H' = ⌊(H + 2·padding − kernel) / stride⌋ + 1.
#[derive(Clone, Debug, Module)]
#[module(kind = name, extra_repr = arguments)]
pub struct AvgPool<const N: usize> {
    #[module(skip)]
    kernel_size: Sizes,
    #[module(skip)]
    options: AvgPoolOptions,
    #[module(site)]
    site: Site,
}

/// The average of windows of sequences. See [`AvgPool`].
pub type AvgPool1d = AvgPool<1>;
/// The average of windows of images. See [`AvgPool`].
pub type AvgPool2d = AvgPool<2>;
/// The average of windows of volumes. See [`AvgPool`].
pub type AvgPool3d = AvgPool<3>;

impl<const N: usize> AvgPool<N> {
    /// The layer, its windows one beside the other.
    #[track_caller]
    pub fn new(kernel_size: impl Into<Sizes>) -> AvgPool<N> {
        AvgPool { kernel_size: kernel_size.into(), options: AvgPoolOptions::new(), site: Site::here() }
    }

    /// Steps between two windows (default: their size).
    pub fn stride(mut self, stride: impl Into<Sizes>) -> AvgPool<N> {
        self.options = self.options.stride(stride);
        self
    }

    /// Zeros on both sides (default: 0): at most half a window.
    pub fn padding(mut self, padding: impl Into<Sizes>) -> AvgPool<N> {
        self.options = self.options.padding(padding);
        self
    }

    /// Whether a last window may reach beyond the padding (default: no).
    pub fn ceil_mode(mut self, ceil_mode: bool) -> AvgPool<N> {
        self.options = self.options.ceil_mode(ceil_mode);
        self
    }

    /// Whether the padding's places are counted (default: yes).
    pub fn count_include_pad(mut self, count: bool) -> AvgPool<N> {
        self.options = self.options.count_include_pad(count);
        self
    }

    /// What sums are divided by in place of the number of elements.
    pub fn divisor_override(mut self, divisor: i64) -> AvgPool<N> {
        self.options = self.options.divisor_override(divisor);
        self
    }

    fn name(&self) -> &'static str {
        of_dimensions(N, ["AvgPool1d", "AvgPool2d", "AvgPool3d"])
    }

    fn arguments(&self) -> String {
        let stride = self.options.stride.as_ref().unwrap_or(&self.kernel_size);
        // Torch makes tuples of these arguments in one dimension only.
        let text = |sizes: &Sizes| if N == 1 { tuple(sizes, 1) } else { sizes.to_string() };
        let [kernel, stride, padding] = [&self.kernel_size, stride, &self.options.padding].map(text);
        format!("kernel_size={kernel}, stride={stride}, padding={padding}")
    }
}

impl<const N: usize> Forward for AvgPool<N> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(match N {
            1 => x.avg_pool1d(self.kernel_size.clone(), &self.options),
            2 => x.avg_pool2d(self.kernel_size.clone(), &self.options),
            _ => x.avg_pool3d(self.kernel_size.clone(), &self.options),
        })
    }
}

/// The norm (Σ xᵖ)^(1/p) of each window: [`LPPool1d`], [`LPPool2d`], [`LPPool3d`].
#[derive(Clone, Debug, Module)]
#[module(kind = name, extra_repr = arguments)]
pub struct LPPool<const N: usize> {
    norm_type: f64,
    #[module(skip)]
    kernel_size: Sizes,
    #[module(skip)]
    stride: Option<Sizes>,
    ceil_mode: bool,
    #[module(site)]
    site: Site,
}

/// The norm of windows of sequences. See [`LPPool`].
pub type LPPool1d = LPPool<1>;
/// The norm of windows of images. See [`LPPool`].
pub type LPPool2d = LPPool<2>;
/// The norm of windows of volumes. See [`LPPool`].
pub type LPPool3d = LPPool<3>;

impl<const N: usize> LPPool<N> {
    /// The layer with p = `norm_type`, its windows one beside the other.
    #[track_caller]
    pub fn new(norm_type: f64, kernel_size: impl Into<Sizes>) -> LPPool<N> {
        LPPool { norm_type, kernel_size: kernel_size.into(), stride: None, ceil_mode: false, site: Site::here() }
    }

    /// Steps between two windows (default: their size).
    pub fn stride(mut self, stride: impl Into<Sizes>) -> LPPool<N> {
        self.stride = Some(stride.into());
        self
    }

    /// Whether a last window may reach beyond the input (default: no).
    pub fn ceil_mode(mut self, ceil_mode: bool) -> LPPool<N> {
        self.ceil_mode = ceil_mode;
        self
    }

    fn name(&self) -> &'static str {
        of_dimensions(N, ["LPPool1d", "LPPool2d", "LPPool3d"])
    }

    fn arguments(&self) -> String {
        let stride = self.stride.as_ref().map_or_else(|| "None".to_owned(), Sizes::to_string);
        let (norm, kernel, ceil) = (self.norm_type, &self.kernel_size, python(self.ceil_mode));
        format!("norm_type={norm}, kernel_size={kernel}, stride={stride}, ceil_mode={ceil}")
    }
}

impl<const N: usize> Forward for LPPool<N> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        let (p, kernel, stride) = (self.norm_type, self.kernel_size.clone(), self.stride.clone());
        scope.output(match N {
            1 => x.lp_pool1d(p, kernel, stride, self.ceil_mode),
            2 => x.lp_pool2d(p, kernel, stride, self.ceil_mode),
            _ => x.lp_pool3d(p, kernel, stride, self.ceil_mode),
        })
    }
}

/// The averages of so many windows as the result has places, which cover the input: [`AdaptiveAvgPool1d`],
/// [`AdaptiveAvgPool2d`], [`AdaptiveAvgPool3d`].
#[derive(Clone, Debug, Module)]
#[module(kind = name, extra_repr = arguments)]
pub struct AdaptiveAvgPool<const N: usize> {
    #[module(skip)]
    output_size: OutputSizes,
    #[module(site)]
    site: Site,
}

/// Averages that cover a sequence. See [`AdaptiveAvgPool`].
pub type AdaptiveAvgPool1d = AdaptiveAvgPool<1>;
/// Averages that cover an image. See [`AdaptiveAvgPool`].
pub type AdaptiveAvgPool2d = AdaptiveAvgPool<2>;
/// Averages that cover a volume. See [`AdaptiveAvgPool`].
pub type AdaptiveAvgPool3d = AdaptiveAvgPool<3>;

impl<const N: usize> AdaptiveAvgPool<N> {
    /// The layer with results of `output_size`; `None` keeps a size.
    #[track_caller]
    pub fn new(output_size: impl Into<OutputSizes>) -> AdaptiveAvgPool<N> {
        AdaptiveAvgPool { output_size: output_size.into(), site: Site::here() }
    }

    fn name(&self) -> &'static str {
        of_dimensions(N, ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"])
    }

    fn arguments(&self) -> String {
        format!("output_size={}", self.output_size)
    }
}

impl<const N: usize> Forward for AdaptiveAvgPool<N> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(match N {
            1 => x.adaptive_avg_pool1d(self.output_size.clone()),
            2 => x.adaptive_avg_pool2d(self.output_size.clone()),
            _ => x.adaptive_avg_pool3d(self.output_size.clone()),
        })
    }
}

/// The largest elements of the windows of [`AdaptiveAvgPool`]: [`AdaptiveMaxPool1d`], [`AdaptiveMaxPool2d`],
/// [`AdaptiveMaxPool3d`].
#[derive(Clone, Debug, Module)]
#[module(kind = name, extra_repr = arguments)]
pub struct AdaptiveMaxPool<const N: usize> {
    #[module(skip)]
    output_size: OutputSizes,
    #[module(site)]
    site: Site,
}

/// Largest elements that cover a sequence. See [`AdaptiveMaxPool`].
pub type AdaptiveMaxPool1d = AdaptiveMaxPool<1>;
/// Largest elements that cover an image. See [`AdaptiveMaxPool`].
pub type AdaptiveMaxPool2d = AdaptiveMaxPool<2>;
/// Largest elements that cover a volume. See [`AdaptiveMaxPool`].
pub type AdaptiveMaxPool3d = AdaptiveMaxPool<3>;

impl<const N: usize> AdaptiveMaxPool<N> {
    /// The layer with results of `output_size`; `None` keeps a size.
    #[track_caller]
    pub fn new(output_size: impl Into<OutputSizes>) -> AdaptiveMaxPool<N> {
        AdaptiveMaxPool { output_size: output_size.into(), site: Site::here() }
    }

    /// The elements, and where each of them is: i64, the flat index in the plane. Torch's `return_indices=True`.
    #[track_caller]
    pub fn forward_with_indices(&self, x: &Tensor) -> (Tensor, Tensor) {
        let scope = Scope::enter(self);
        let (y, indices) = match N {
            1 => x.adaptive_max_pool1d_with_indices(self.output_size.clone()),
            2 => x.adaptive_max_pool2d_with_indices(self.output_size.clone()),
            _ => x.adaptive_max_pool3d_with_indices(self.output_size.clone()),
        };
        (scope.output(y), indices)
    }

    fn name(&self) -> &'static str {
        of_dimensions(N, ["AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"])
    }

    fn arguments(&self) -> String {
        format!("output_size={}", self.output_size)
    }
}

impl<const N: usize> Forward for AdaptiveMaxPool<N> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with_indices(x).0
    }
}

/// The elements of a max pooling back at their places, zeros elsewhere: [`MaxUnpool1d`], [`MaxUnpool2d`],
/// [`MaxUnpool3d`].
#[derive(Clone, Debug, Module)]
#[module(kind = name, extra_repr = arguments)]
pub struct MaxUnpool<const N: usize> {
    #[module(skip)]
    kernel_size: Sizes,
    #[module(skip)]
    options: MaxUnpoolOptions,
    #[module(site)]
    site: Site,
}

/// The elements of a [`MaxPool1d`] back at their places. See [`MaxUnpool`].
pub type MaxUnpool1d = MaxUnpool<1>;
/// The elements of a [`MaxPool2d`] back at their places. See [`MaxUnpool`].
pub type MaxUnpool2d = MaxUnpool<2>;
/// The elements of a [`MaxPool3d`] back at their places. See [`MaxUnpool`].
pub type MaxUnpool3d = MaxUnpool<3>;

impl<const N: usize> MaxUnpool<N> {
    /// The layer for windows of this size, one beside the other.
    #[track_caller]
    pub fn new(kernel_size: impl Into<Sizes>) -> MaxUnpool<N> {
        MaxUnpool { kernel_size: kernel_size.into(), options: MaxUnpoolOptions::default(), site: Site::here() }
    }

    /// Steps between two windows (default: their size).
    pub fn stride(mut self, stride: impl Into<Sizes>) -> MaxUnpool<N> {
        self.options.stride = Some(stride.into());
        self
    }

    /// Places that the pooling added on both sides (default: 0).
    pub fn padding(mut self, padding: impl Into<Sizes>) -> MaxUnpool<N> {
        self.options.padding = padding.into();
        self
    }

    /// The elements of `x` at `indices`, which the pooling returned; in planes of `output_size`, where several sizes
    /// give the same result of the pooling.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, indices: &Tensor, output_size: Option<Sizes>) -> Tensor {
        let scope = Scope::enter(self);
        let (kernel, options) = (self.kernel_size.clone(), MaxUnpoolOptions { output_size, ..self.options.clone() });
        scope.output(match N {
            1 => x.max_unpool1d(indices, kernel, &options),
            2 => x.max_unpool2d(indices, kernel, &options),
            _ => x.max_unpool3d(indices, kernel, &options),
        })
    }

    fn name(&self) -> &'static str {
        of_dimensions(N, ["MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"])
    }

    fn arguments(&self) -> String {
        let stride = self.options.stride.as_ref().unwrap_or(&self.kernel_size);
        let [kernel, stride, padding] = [&self.kernel_size, stride, &self.options.padding].map(|s| tuple(s, N));
        format!("kernel_size={kernel}, stride={stride}, padding={padding}")
    }
}
