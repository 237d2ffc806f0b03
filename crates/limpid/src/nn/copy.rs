//! Copies that share nothing with the original: torch's `deepcopy`.

use crate::nn::{Dropout, LayerNorm, Linear};
use crate::param::Parameter;

/// A clone of a layer has the same parameters; this copy has its own, of the same values.
pub(crate) trait DeepCopy {
    fn deep_copy(&self) -> Self;
}

impl DeepCopy for Parameter {
    fn deep_copy(&self) -> Parameter {
        let copy = Parameter::new(&self.snapshot());
        copy.requires_grad_(self.requires_grad());
        copy
    }
}

impl<T: DeepCopy> DeepCopy for Option<T> {
    fn deep_copy(&self) -> Option<T> {
        self.as_ref().map(T::deep_copy)
    }
}

impl DeepCopy for Linear {
    fn deep_copy(&self) -> Linear {
        let mut copy = self.clone();
        (copy.weight, copy.bias) = (self.weight.deep_copy(), self.bias.deep_copy());
        copy
    }
}

impl DeepCopy for LayerNorm {
    fn deep_copy(&self) -> LayerNorm {
        let mut copy = self.clone();
        (copy.weight, copy.bias) = (self.weight.deep_copy(), self.bias.deep_copy());
        copy
    }
}

impl DeepCopy for Dropout {
    fn deep_copy(&self) -> Dropout {
        self.clone()
    }
}
