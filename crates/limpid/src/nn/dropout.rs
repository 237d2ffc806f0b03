//! Dropouts.

use limpid_core::Tensor;

use crate::Module;
use crate::module::Forward;
use crate::nn::exponent;
use crate::site::{Scope, Site};

/// Layers that drop with a probability, in training only.
macro_rules! dropouts {
    ($($(#[$doc:meta])* $name:ident: $f:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        #[module(extra_repr = arguments)]
        pub struct $name {
            p: f64,
            #[module(site)]
            site: Site,
        }

        impl $name {
            /// The layer; torch's default is 0.5. A `p` outside of 0 … 1 is an error of the result.
            #[track_caller]
            pub fn new(p: f64) -> $name {
                $name { p, site: Site::here() }
            }

            fn arguments(&self) -> String {
                format!("p={}, inplace=False", exponent(self.p))
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Tensor {
                let scope = Scope::enter(self);
                // A probability that is none is an error in evaluation too.
                let valid = (0.0..=1.0).contains(&self.p);
                let drops = self.site.mode().is_training() && self.p != 0.0;
                scope.output(if drops || !valid { x.$f(self.p) } else { x.clone() })
            }
        }
    )*};
}

dropouts! {
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
    Dropout: dropout;
    /// In training, whole channels of `[n, c, l]` or `[c, l]` zero with probability `p`, else x/(1 − p); in evaluation, x.
    /// Tompson et al. (2015).
    Dropout1d: dropout1d;
    /// In training, whole channels of `[n, c, h, w]` zero with probability `p`, else x/(1 − p); in evaluation, x. As in
    /// torch, three axes are `[n, c, l]`. Tompson et al. (2015).
    Dropout2d: dropout2d;
    /// In training, whole channels of `[n, c, d, h, w]` or `[c, d, h, w]` zero with probability `p`, else x/(1 − p); in
    /// evaluation, x. Tompson et al. (2015).
    Dropout3d: dropout3d;
    /// In training, with probability `p` the value that SELU takes far below 0, all scaled and moved such that mean 0 and
    /// variance 1 stay; in evaluation, x. Klambauer et al. (2017).
    AlphaDropout: alpha_dropout;
    /// [`AlphaDropout`] of whole channels: the first two axes name them.
    FeatureAlphaDropout: feature_alpha_dropout;
}
