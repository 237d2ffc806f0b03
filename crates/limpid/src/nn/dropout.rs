//! Dropout.

use limpid_core::{Error, Tensor};

use crate::module::{Forward, Module, Visitor};
use crate::nn::failed;
use crate::site::{Scope, Site};

/// In training, zero with probability `p`, else x/(1 − p); in evaluation, x. Hinton et al. (2012).
///
/// The mask is a function of this thread's generator: drawn again for the gradient, never stored.
///
/// ```
/// use limpid::prelude::*;
/// let drop = Dropout::new(0.5);
/// drop.eval();
/// assert_eq!(drop.forward(&Tensor::ones([4])).to_vec::<f32>()?, [1.0; 4]);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dropout {
    p: f64,
    site: Site,
}

impl Dropout {
    /// The layer; torch's default is 0.5. A `p` outside of 0 … 1 is an error of the result.
    #[track_caller]
    pub fn new(p: f64) -> Dropout {
        Dropout { p, site: Site::here() }
    }
}

impl Module for Dropout {
    fn visit(&self, _visitor: &mut dyn Visitor) {}
    fn kind(&self) -> &'static str {
        "Dropout"
    }
    fn extra_repr(&self) -> String {
        format!("p={}, inplace=False", self.p)
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}

impl Forward for Dropout {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(if !(0.0..=1.0).contains(&self.p) {
            let error = Error::new(format!("dropout: the probability is {}", self.p));
            failed(error.help("a number from 0 to 1"), x, x.shape())
        } else if self.site.mode().is_training() && self.p > 0.0 {
            x.dropout(self.p)
        } else {
            x.clone()
        })
    }
}
