//! A model that takes rows as they are in their file.

use limpid_core::{Error, Tensor};

use crate::data::Scale;
use crate::module::{Field, Forward, Module, Visitor};
use crate::nn::Sequential;
use crate::param::Buffer;
use crate::site::{Scope, Site};

/// (x − mean)/std of each feature, with numbers that were learned on the training rows. They are buffers: saved with
/// the model, never trained.
#[derive(Debug)]
pub struct Standardize {
    /// What is subtracted, of the shape of a row.
    pub mean: Buffer,
    /// What is divided by, of the shape of a row.
    pub std: Buffer,
    site: Site,
}

impl Standardize {
    /// With these numbers.
    #[track_caller]
    pub fn new(scale: &Scale) -> Standardize {
        let buffer = |numbers: &[f32]| Buffer::new(&Tensor::from_slice(numbers, [numbers.len()]));
        Standardize { mean: buffer(&scale.mean), std: buffer(&scale.std), site: Site::here() }
    }
}

impl Module for Standardize {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.mean.visit_field("mean", visitor);
        self.std.visit_field("std", visitor);
    }
    fn kind(&self) -> &'static str {
        "Standardize"
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}

impl Forward for Standardize {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        let (have, width) = (x.size(-1), self.mean.numel());
        if have != width {
            let error = Error::new(format!("standardize: rows have {have} features, the scale was learned on {width}"));
            return scope.output(Tensor::failed(error.help(format!("rows of {width} features"))));
        }
        scope.output((x - &self.mean.tensor()) / &self.std.tensor())
    }
}

/// Layers behind a scale of their features.
#[derive(Debug)]
pub struct Network {
    /// The scale, where the features have one.
    pub scale: Option<Standardize>,
    /// The layers.
    pub layers: Sequential,
    site: Site,
}

impl Network {
    /// `layers` behind `scale`.
    #[track_caller]
    pub fn new(scale: Option<&Scale>, layers: Sequential) -> Network {
        Network { scale: scale.map(Standardize::new), layers, site: Site::here() }
    }
}

impl Module for Network {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.scale.visit_field("scale", visitor);
        self.layers.visit_field("layers", visitor);
    }
    fn kind(&self) -> &'static str {
        "Network"
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}

impl Forward for Network {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(match &self.scale {
            Some(scale) => self.layers.forward(&scale.forward(x)),
            None => self.layers.forward(x),
        })
    }
}
