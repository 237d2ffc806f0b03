//! Layers that compute nothing.

use limpid_core::Tensor;

use crate::module::{Forward, Module, Visitor};
use crate::site::{Scope, Site};

/// The input itself.
#[derive(Clone, Debug)]
pub struct Identity {
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

impl Module for Identity {
    fn visit(&self, _visitor: &mut dyn Visitor) {}
    fn kind(&self) -> &'static str {
        "Identity"
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
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
#[derive(Clone, Debug)]
pub struct Flatten {
    start: isize,
    end: isize,
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
}

impl Module for Flatten {
    fn visit(&self, _visitor: &mut dyn Visitor) {}
    fn kind(&self) -> &'static str {
        "Flatten"
    }
    fn extra_repr(&self) -> String {
        format!("start_dim={}, end_dim={}", self.start, self.end)
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}

impl Forward for Flatten {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(x.flatten_range(self.start, self.end))
    }
}
