//! Max pooling over windows of random sizes, and sliding blocks.

use limpid_core::{DType, FoldOptions, FractionalMaxPoolOptions, Sizes, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::nn::of_dimensions;
use crate::param::Buffer;
use crate::site::{Scope, Site};

/// The largest elements of windows that begin at random places: [`FractionalMaxPool2d`], [`FractionalMaxPool3d`].
/// Graham (2014).
///
/// ```
/// use limpid::prelude::*;
/// let layer = FractionalMaxPool2d::new(2).output_ratio(0.7);
/// assert_eq!(*layer.forward(&Tensor::rand([1, 3, 10, 10])).shape(), Shape::from([1, 3, 7, 7]));
/// ```
#[derive(Clone, Debug, Module)]
#[module(kind = name)]
pub struct FractionalMaxPool<const N: usize> {
    #[module(skip)]
    kernel_size: Sizes,
    #[module(skip)]
    options: FractionalMaxPoolOptions,
    #[module(rename = "_random_samples")]
    random_samples: Option<Buffer>,
    #[module(site)]
    site: Site,
}

/// Fractional max pooling of images. See [`FractionalMaxPool`].
pub type FractionalMaxPool2d = FractionalMaxPool<2>;
/// Fractional max pooling of volumes. See [`FractionalMaxPool`].
pub type FractionalMaxPool3d = FractionalMaxPool<3>;

impl<const N: usize> FractionalMaxPool<N> {
    /// The layer with windows of this size; `output_size` or `output_ratio` says how many.
    #[track_caller]
    pub fn new(kernel_size: impl Into<Sizes>) -> FractionalMaxPool<N> {
        let (kernel_size, options) = (kernel_size.into(), FractionalMaxPoolOptions::default());
        FractionalMaxPool { kernel_size, options, random_samples: None, site: Site::here() }
    }

    /// Numbers of windows along the axes.
    pub fn output_size(mut self, output_size: impl Into<Sizes>) -> FractionalMaxPool<N> {
        self.options.output_size = Some(output_size.into());
        self
    }

    /// Numbers of windows as a part of the input's sizes, between 0 and 1.
    pub fn output_ratio(self, output_ratio: f64) -> FractionalMaxPool<N> {
        self.output_ratios(vec![output_ratio])
    }

    /// Numbers of windows as parts of the input's sizes, one for each axis.
    pub fn output_ratios(mut self, output_ratio: Vec<f64>) -> FractionalMaxPool<N> {
        self.options.output_ratio = Some(output_ratio);
        self
    }

    /// Where windows begin, `[B, C, axes]` between 0 and 1, in place of random numbers: a buffer of the layer, as torch's
    /// `_random_samples`.
    pub fn random_samples(mut self, samples: &Tensor) -> FractionalMaxPool<N> {
        self.random_samples = Some(Buffer::new(samples));
        self
    }

    /// The type of the samples (default: as they were given).
    pub fn dtype(mut self, dtype: DType) -> FractionalMaxPool<N> {
        self.random_samples = self.random_samples.map(|samples| Buffer::new(&samples.snapshot().to_dtype(dtype)));
        self
    }

    /// The elements, and where each of them is: i64, the flat index in the plane. Torch's `return_indices=True`.
    #[track_caller]
    pub fn forward_with_indices(&self, x: &Tensor) -> (Tensor, Tensor) {
        let scope = Scope::enter(self);
        let random_samples = self.random_samples.as_ref().map(|samples| samples.tensor().to_dtype(x.dtype()));
        let options = FractionalMaxPoolOptions { random_samples, ..self.options.clone() };
        let (y, indices) = match N {
            2 => x.fractional_max_pool2d_with_indices(self.kernel_size.clone(), &options),
            _ => x.fractional_max_pool3d_with_indices(self.kernel_size.clone(), &options),
        };
        (scope.output(y), indices)
    }

    fn name(&self) -> &'static str {
        of_dimensions(N, ["FractionalMaxPool1d", "FractionalMaxPool2d", "FractionalMaxPool3d"])
    }
}

impl<const N: usize> Forward for FractionalMaxPool<N> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with_indices(x).0
    }
}

/// The options of both layers of blocks.
macro_rules! block_options {
    ($name:ident) => {
        impl $name {
            /// Steps between two elements of a block (default: 1).
            pub fn dilation(mut self, dilation: impl Into<Sizes>) -> $name {
                self.options = self.options.dilation(dilation);
                self
            }

            /// Zeros around the image (default: 0).
            pub fn padding(mut self, padding: impl Into<Sizes>) -> $name {
                self.options = self.options.padding(padding);
                self
            }

            /// Steps between two blocks (default: 1).
            pub fn stride(mut self, stride: impl Into<Sizes>) -> $name {
                self.options = self.options.stride(stride);
                self
            }

            fn blocks(&self) -> String {
                let FoldOptions { dilation, padding, stride } = &self.options;
                format!("kernel_size={}, dilation={dilation}, padding={padding}, stride={stride}", self.kernel_size)
            }
        }
    };
}

block_options!(Unfold);
block_options!(Fold);

/// The sliding blocks of an image as columns: `[B, C, H, W]` → `[B, C·K·K, L]`, or without `B`.
///
/// ```
/// use limpid::prelude::*;
/// let x = Tensor::rand([2, 3, 6, 6]);
/// let columns = Unfold::new(2).stride(2).forward(&x);
/// assert_eq!(*columns.shape(), Shape::from([2, 12, 9]));
/// let back = Fold::new(6, 2).stride(2).forward(&columns);
/// assert_eq!(back.to_vec::<f32>()?, x.to_vec::<f32>()?);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug, Module)]
#[module(extra_repr = blocks)]
pub struct Unfold {
    #[module(skip)]
    kernel_size: Sizes,
    #[module(skip)]
    options: FoldOptions,
    #[module(site)]
    site: Site,
}

impl Unfold {
    /// The layer with blocks of this size.
    #[track_caller]
    pub fn new(kernel_size: impl Into<Sizes>) -> Unfold {
        Unfold { kernel_size: kernel_size.into(), options: FoldOptions::new(), site: Site::here() }
    }
}

impl Forward for Unfold {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.im2col(self.kernel_size.clone(), &self.options))
    }
}

/// The sum of sliding blocks at their places in an image: `[B, C·K·K, L]` → `[B, C, H, W]`, or without `B`.
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct Fold {
    #[module(skip)]
    output_size: Sizes,
    #[module(skip)]
    kernel_size: Sizes,
    #[module(skip)]
    options: FoldOptions,
    #[module(site)]
    site: Site,
}

impl Fold {
    /// The layer with images and blocks of these sizes.
    #[track_caller]
    pub fn new(output_size: impl Into<Sizes>, kernel_size: impl Into<Sizes>) -> Fold {
        let (output_size, kernel_size) = (output_size.into(), kernel_size.into());
        Fold { output_size, kernel_size, options: FoldOptions::new(), site: Site::here() }
    }

    fn arguments(&self) -> String {
        format!("output_size={}, {}", self.output_size, self.blocks())
    }
}

impl Forward for Fold {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.fold(self.output_size.clone(), self.kernel_size.clone(), &self.options))
    }
}
