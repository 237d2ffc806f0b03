//! Distances and likenesses of vectors, pair by pair.

use limpid_core::Tensor;

use super::{refuse, setters};
use crate::Module;

/// x₁·x₂ / (max(‖x₁‖, 1e-8)·max(‖x₂‖, 1e-8)) along `dim`; the shapes broadcast. Torch's `cosine_similarity`, whose `eps`
/// is a setter of [`CosineSimilarity`].
///
/// ```
/// use limpid::prelude::*;
/// let (x, y) = (Tensor::from([3.0f32, 4.0]), Tensor::from([4.0f32, 3.0]));
/// assert!((cosine_similarity(&x, &y, 0).item()? - 0.96).abs() < 1e-6);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn cosine_similarity(x1: &Tensor, x2: &Tensor, dim: isize) -> Tensor {
    CosineSimilarity::new().dim(dim).forward(x1, x2)
}

/// ‖x₁ − x₂ + 1e-6‖ along the last axis; the shapes broadcast. Torch's `pairwise_distance`, whose `p`, `eps` and `keepdim`
/// are setters of [`PairwiseDistance`].
#[track_caller]
pub fn pairwise_distance(x1: &Tensor, x2: &Tensor) -> Tensor {
    PairwiseDistance::new().forward(x1, x2)
}

/// See [`cosine_similarity`]. Torch's `CosineSimilarity`.
#[derive(Clone, Debug, Module)]
pub struct CosineSimilarity {
    /// The axis of the vectors.
    pub dim: isize,
    /// The smallest length that is divided by.
    pub eps: f64,
}

impl Default for CosineSimilarity {
    fn default() -> CosineSimilarity {
        CosineSimilarity { dim: 1, eps: 1e-8 }
    }
}

impl CosineSimilarity {
    /// Along axis 1, with an eps of 1e-8.
    pub fn new() -> CosineSimilarity {
        CosineSimilarity::default()
    }

    /// The cosines of the angles between vectors.
    #[track_caller]
    pub fn forward(&self, x1: &Tensor, x2: &Tensor) -> Tensor {
        const NAME: &str = "cosine_similarity";
        let Some(shape) = x1.shape().broadcast(x2.shape()) else {
            let what = format!("shapes {} and {} do not broadcast", x1.shape(), x2.shape());
            return refuse(NAME, what, &[x1, x2]);
        };
        if !x1.dtype().is_float() && !x2.dtype().is_float() {
            let what = format!("vectors of {} and {}: one must be floats", x1.dtype(), x2.dtype());
            return refuse(NAME, what, &[x1, x2]);
        }
        if self.eps < 0.0 || self.eps.is_nan() {
            return refuse(NAME, format!("eps is {}, below 0", self.eps), &[x1, x2]);
        }
        if shape.rank() > 0 && shape.axis(self.dim).is_none() {
            return refuse(NAME, format!("there is no axis {} in {shape}", self.dim), &[x1, x2]);
        }
        let dtype = limpid_core::promote(x1.dtype(), x2.dtype());
        let unit = |x: &Tensor| {
            let x = x.to_dtype(dtype).expand_to(&shape);
            let length = x.norm_keepdim(self.dim);
            // The gradient is that of the length, also where it is raised to eps.
            let length = &length + (length.clamp_min(self.eps) - &length).detach();
            x / length
        };
        (unit(x1) * unit(x2)).sum(self.dim)
    }
}

setters!(CosineSimilarity {
    /// Along another axis.
    dim: isize,
    /// With another smallest length.
    eps: f64,
});

/// (Σ |x₁ − x₂ + eps|ᵖ)^(1/p) along the last axis. Torch's `PairwiseDistance`.
#[derive(Clone, Debug, Module)]
pub struct PairwiseDistance {
    /// The power; also negative, 0 and infinite ones, as in `Tensor::vector_norm`.
    pub p: f64,
    /// What is added to each difference.
    pub eps: f64,
    /// Whether the last axis stays, at size 1.
    pub keepdim: bool,
}

impl Default for PairwiseDistance {
    fn default() -> PairwiseDistance {
        PairwiseDistance { p: 2.0, eps: 1e-6, keepdim: false }
    }
}

impl PairwiseDistance {
    /// Euclid's, with an eps of 1e-6.
    pub fn new() -> PairwiseDistance {
        PairwiseDistance::default()
    }

    /// The distances of vectors.
    #[track_caller]
    pub fn forward(&self, x1: &Tensor, x2: &Tensor) -> Tensor {
        if x1.shape().broadcast(x2.shape()).is_none() {
            let what = format!("shapes {} and {} do not broadcast", x1.shape(), x2.shape());
            return refuse("pairwise_distance", what, &[x1, x2]);
        }
        let difference = x1 - x2 + self.eps;
        if self.keepdim { difference.vector_norm_keepdim(self.p, -1) } else { difference.vector_norm(self.p, -1) }
    }
}

setters!(PairwiseDistance {
    /// With another power.
    p: f64,
    /// With another number that is added to each difference.
    eps: f64,
    /// Whether the last axis stays, at size 1 (default: no).
    keepdim: bool,
});
