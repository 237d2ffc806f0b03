//! Signals, images and volumes at another resolution.

use limpid_core::{Factors, InterpolateMode, InterpolateOptions, Sizes, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::site::{Scope, Site};

/// The input `[n, c, …]` at another resolution of its one to three last axes.
///
/// ```
/// use limpid::prelude::*;
/// let twice = Upsample::scale_factor(2.0).mode(InterpolateMode::Bilinear);
/// assert_eq!(*twice.forward(&Tensor::zeros([1, 3, 4, 5])).shape(), Shape::from([1, 3, 8, 10]));
/// ```
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct Upsample {
    #[module(skip)]
    options: InterpolateOptions,
    #[module(site)]
    site: Site,
}

impl Upsample {
    /// The layer whose results have this size.
    #[track_caller]
    pub fn size(size: impl Into<Sizes>) -> Upsample {
        Upsample::of(InterpolateOptions::size(size))
    }

    /// The layer whose results are so many times as large, rounded down.
    #[track_caller]
    pub fn scale_factor(factor: impl Into<Factors>) -> Upsample {
        Upsample::of(InterpolateOptions::scale_factor(factor))
    }

    /// The layer with these options.
    #[track_caller]
    pub fn of(options: InterpolateOptions) -> Upsample {
        Upsample { options, site: Site::here() }
    }

    /// What stands between the elements (default: the nearest).
    pub fn mode(mut self, mode: InterpolateMode) -> Upsample {
        self.options = self.options.mode(mode);
        self
    }

    /// Whether the centres of the outermost elements stay where they are (default: no).
    pub fn align_corners(mut self, align: bool) -> Upsample {
        self.options = self.options.align_corners(align);
        self
    }

    /// Whether the distance between elements is the ratio of the sizes, instead of the factor asked for (default: no).
    pub fn recompute_scale_factor(mut self, recompute: bool) -> Upsample {
        self.options = self.options.recompute_scale_factor(recompute);
        self
    }

    fn arguments(&self) -> String {
        self.options.to_string()
    }
}

impl Forward for Upsample {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.interpolate(&self.options))
    }
}

/// Layers that are [`Upsample`] of images with fixed options.
macro_rules! of_images {
    ($($(#[$doc:meta])* $name:ident: $options:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        #[module(extra_repr = arguments)]
        pub struct $name {
            #[module(skip)]
            options: InterpolateOptions,
            #[module(site)]
            site: Site,
        }

        impl $name {
            /// The layer whose results have this size.
            #[track_caller]
            pub fn size(size: impl Into<Sizes>) -> $name {
                $name::of(InterpolateOptions::size(size))
            }

            /// The layer whose results are so many times as large, rounded down.
            #[track_caller]
            pub fn scale_factor(factor: impl Into<Factors>) -> $name {
                $name::of(InterpolateOptions::scale_factor(factor))
            }

            /// The layer with the size or the factor of these options.
            #[track_caller]
            pub fn of(options: InterpolateOptions) -> $name {
                $name { options: $options(options), site: Site::here() }
            }

            fn arguments(&self) -> String {
                self.options.to_string()
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Tensor {
                let scope = Scope::enter(self);
                scope.output(x.interpolate(&self.options))
            }
        }
    )*};
}

of_images! {
    /// Images `[n, c, h, w]` at another resolution by the nearest elements.
    UpsamplingNearest2d: |options: InterpolateOptions| options;
    /// Images `[n, c, h, w]` at another resolution, bilinear with aligned corners.
    UpsamplingBilinear2d:
        |options: InterpolateOptions| options.mode(InterpolateMode::Bilinear).align_corners(true);
}
