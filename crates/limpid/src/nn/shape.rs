//! Layers that compute nothing: other shapes, other orders.

use limpid_core::Tensor;

use crate::Module;
use crate::module::Forward;
use crate::site::{Scope, Site};

/// The input itself.
#[derive(Clone, Debug, Module)]
pub struct Identity {
    #[module(site)]
    site: Site,
}

/// The input itself.
#[allow(non_upper_case_globals, clippy::declare_interior_mutable_const)] // each use is meant to be a new layer
pub const Identity: Identity = Identity { site: Site::unplaced() };

impl Identity {
    /// The layer.
    #[allow(clippy::new_without_default)]
    #[track_caller]
    pub fn new() -> Identity {
        Identity { site: Site::here() }
    }
}

impl Forward for Identity {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.clone())
    }
}

/// The axes from `start_dim` (default 1) to `end_dim` (default −1) as one.
///
/// ```
/// use limpid::prelude::*;
/// assert_eq!(*Flatten.forward(&Tensor::zeros([2, 3, 4])).shape(), Shape::from([2, 12]));
/// ```
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct Flatten {
    start: isize,
    end: isize,
    #[module(site)]
    site: Site,
}

/// All axes but the first as one.
#[allow(non_upper_case_globals, clippy::declare_interior_mutable_const)] // each use is meant to be a new layer
pub const Flatten: Flatten = Flatten { start: 1, end: -1, site: Site::unplaced() };

impl Flatten {
    /// All axes but the first as one.
    #[allow(clippy::new_without_default)]
    #[track_caller]
    pub fn new() -> Flatten {
        Flatten { start: 1, end: -1, site: Site::here() }
    }

    /// The first axis of those that become one.
    pub fn start_dim(mut self, dim: isize) -> Flatten {
        self.start = dim;
        self
    }

    /// The last axis of those that become one.
    pub fn end_dim(mut self, dim: isize) -> Flatten {
        self.end = dim;
        self
    }

    fn arguments(&self) -> String {
        format!("start_dim={}, end_dim={}", self.start, self.end)
    }
}

impl Forward for Flatten {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.flatten_range(self.start, self.end))
    }
}

/// Axis `dim` as several, of sizes `unflattened_size`; one may be −1.
///
/// ```
/// use limpid::prelude::*;
/// let model = Sequential::new().add(Linear::new(8, 12)).add(Unflatten::new(1, [3, 4]));
/// assert_eq!(*model.forward(&Tensor::zeros([2, 8])).shape(), Shape::from([2, 3, 4]));
/// ```
#[derive(Clone, Debug, Module)]
#[module(extra_repr = arguments)]
pub struct Unflatten {
    #[module(skip)]
    dim: isize,
    #[module(skip)]
    sizes: Vec<isize>,
    #[module(site)]
    site: Site,
}

impl Unflatten {
    /// The layer.
    #[track_caller]
    pub fn new(dim: isize, unflattened_size: impl Into<Vec<isize>>) -> Unflatten {
        Unflatten { dim, sizes: unflattened_size.into(), site: Site::here() }
    }

    fn arguments(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(isize::to_string).collect();
        let comma = if sizes.len() == 1 { "," } else { "" };
        format!("dim={}, unflattened_size=({}{comma})", self.dim, sizes.join(", "))
    }
}

impl Forward for Unflatten {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.unflatten(self.dim, &self.sizes))
    }
}

/// Layers of one function and one number.
macro_rules! with_number {
    ($($(#[$doc:meta])* $name:ident: $f:ident($arg:ident);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        #[module(extra_repr = arguments)]
        pub struct $name {
            $arg: usize,
            #[module(site)]
            site: Site,
        }

        impl $name {
            /// The layer.
            #[track_caller]
            pub fn new($arg: usize) -> $name {
                $name { $arg, site: Site::here() }
            }

            fn arguments(&self) -> String {
                format!("{}={}", stringify!($arg), self.$arg)
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Tensor {
                let scope = Scope::enter(self);
                scope.output(x.$f(self.$arg))
            }
        }
    )*};
}

with_number! {
    /// The channels of `[n, c, …]` in groups, dealt out in turn. Zhang et al. (2017).
    ChannelShuffle: channel_shuffle(groups);
    /// `[…, c·r², h, w]` → `[…, c, h·r, w·r]`: r² channels become the r × r pixels at their place. Shi et al. (2016).
    PixelShuffle: pixel_shuffle(upscale_factor);
    /// `[…, c, h·r, w·r]` → `[…, c·r², h, w]`: the inverse of [`PixelShuffle`].
    PixelUnshuffle: pixel_unshuffle(downscale_factor);
}
