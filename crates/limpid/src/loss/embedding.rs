//! Losses of vectors that shall be near each other, or far apart.

use std::sync::Arc;

use limpid_core::Tensor;

use super::distance::PairwiseDistance;
use super::{Reduction, refuse, setters};
use crate::Module;

/// 1 − cos(x₁, x₂) where y = 1, max(0, cos(x₁, x₂) − margin) where y = −1, the mean over rows: see
/// [`CosineEmbeddingLoss`]. Torch's `cosine_embedding_loss`.
#[track_caller]
pub fn cosine_embedding_loss(input1: &Tensor, input2: &Tensor, target: &Tensor) -> Tensor {
    CosineEmbeddingLoss::new().forward(input1, input2, target)
}

/// max(0, ‖a − p‖ − ‖a − n‖ + margin), the mean over rows: see [`TripletMarginLoss`]. Torch's `triplet_margin_loss`.
#[track_caller]
pub fn triplet_margin_loss(anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Tensor {
    TripletMarginLoss::new().forward(anchor, positive, negative)
}

/// [`triplet_margin_loss`] with another distance. Torch's `triplet_margin_with_distance_loss`.
#[track_caller]
pub fn triplet_margin_with_distance_loss(
    anchor: &Tensor,
    positive: &Tensor,
    negative: &Tensor,
    distance: impl Fn(&Tensor, &Tensor) -> Tensor,
) -> Tensor {
    let loss = TripletMarginWithDistanceLoss::new();
    loss.of(anchor, positive, negative, &distance)
}

/// 1 − cos(x₁, x₂) where y = 1, max(0, cos(x₁, x₂) − margin) where y = −1: rows `[N, D]` against `[N]`, or `[D]` against one
/// number. Torch's `CosineEmbeddingLoss`.
#[derive(Clone, Debug, Default, Module)]
pub struct CosineEmbeddingLoss {
    /// The cosine from which unlike vectors count, best 0 to 0.5.
    pub margin: f64,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl CosineEmbeddingLoss {
    /// With a margin of 0 and the mean.
    pub fn new() -> CosineEmbeddingLoss {
        CosineEmbeddingLoss::default()
    }

    /// The loss of two vectors, row by row.
    #[track_caller]
    pub fn forward(&self, input1: &Tensor, input2: &Tensor, target: &Tensor) -> Tensor {
        const NAME: &str = "cosine_embedding_loss";
        let (a, b) = (input1.shape(), input2.shape());
        let rank = a.rank();
        if a != b || !(1..=2).contains(&rank) || target.shape()[..] != a[..rank - 1] {
            let what = format!("inputs {a} and {b} and a target {} are not [N, D], [N, D] and [N]", target.shape());
            return refuse(NAME, what, &[input1, input2, target]);
        }
        let (x, y) = (input1.to_float(), input2.to_float());
        // Torch's own guard against zero vectors.
        const EPSILON: f64 = 1e-12;
        let squares = (x.square().sum(-1) + EPSILON) * (y.square().sum(-1) + EPSILON);
        let cosine = (&x * &y).sum(-1) / squares.sqrt();
        let like: Tensor = 1.0 - &cosine;
        let like = like.where_(&target.eq(1), 0);
        let unlike = (cosine - self.margin).clamp_min(0).where_(&target.eq(-1), 0);
        self.reduction.apply(NAME, &(like + unlike))
    }
}

setters!(CosineEmbeddingLoss {
    /// With another margin.
    margin: f64,
    /// With another reduction.
    reduction: Reduction,
});

/// max(0, d(a, p) − d(a, n) + margin) with distances d of the last axis, Σ |xᵢ − yᵢ + eps|ᵖ to the power 1/p; with `swap`
/// the smaller of d(a, n) and d(p, n). Balntas et al. (2016). Torch's `TripletMarginLoss`.
#[derive(Clone, Debug, Module)]
pub struct TripletMarginLoss {
    /// How much farther the negative shall be than the positive, above 0.
    pub margin: f64,
    /// The power of the distance.
    pub p: f64,
    /// What is added to each difference.
    pub eps: f64,
    /// Whether the positive may take the anchor's place.
    pub swap: bool,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl Default for TripletMarginLoss {
    fn default() -> TripletMarginLoss {
        TripletMarginLoss { margin: 1.0, p: 2.0, eps: 1e-6, swap: false, reduction: Reduction::Mean }
    }
}

impl TripletMarginLoss {
    /// With a margin of 1, Euclid's distance and the mean.
    pub fn new() -> TripletMarginLoss {
        TripletMarginLoss::default()
    }

    /// The loss of anchors, what they shall be near to and what they shall be far from.
    #[track_caller]
    pub fn forward(&self, anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Tensor {
        let distance = PairwiseDistance::new().p(self.p).eps(self.eps);
        let (margin, swap) = (self.margin, self.swap);
        let triplet = Triplet { name: "triplet_margin_loss", margin, swap, reduction: self.reduction };
        triplet.loss([anchor, positive, negative], |x, y| distance.forward(x, y))
    }
}

setters!(TripletMarginLoss {
    /// With another margin, above 0.
    margin: f64,
    /// With another power of the distance.
    p: f64,
    /// With another number that is added to each difference.
    eps: f64,
    /// Whether the positive may take the anchor's place (default: no).
    swap: bool,
    /// With another reduction.
    reduction: Reduction,
});

/// What both triplet losses share.
struct Triplet {
    name: &'static str,
    margin: f64,
    swap: bool,
    reduction: Reduction,
}

impl Triplet {
    #[track_caller]
    fn loss(&self, triplet: [&Tensor; 3], distance: impl Fn(&Tensor, &Tensor) -> Tensor) -> Tensor {
        let [anchor, positive, negative] = triplet;
        let shapes = triplet.map(|t| t.shape().clone());
        if self.margin <= 0.0 || self.margin.is_nan() {
            return refuse(self.name, format!("the margin is {}, not above 0", self.margin), &triplet);
        }
        let [a, p, n] = &shapes;
        let fits = a.rank() == p.rank() && a.rank() == n.rank();
        if !fits || a.broadcast(p).and_then(|s| s.broadcast(n)).is_none() {
            return refuse(self.name, format!("anchor {a}, positive {p} and negative {n} differ"), &triplet);
        }
        let near = distance(anchor, positive);
        let far = distance(anchor, negative);
        let far = if self.swap { far.minimum(distance(positive, negative)) } else { far };
        self.reduction.apply(self.name, &(near - far + self.margin).clamp_min(0))
    }
}

/// A distance of two tensors.
type Distance = Arc<dyn Fn(&Tensor, &Tensor) -> Tensor + Send + Sync>;

/// [`TripletMarginLoss`] with any distance; without one, Euclid's. Torch's `TripletMarginWithDistanceLoss`.
///
/// ```
/// use limpid::prelude::*;
/// let loss = TripletMarginWithDistanceLoss::new().distance(|x, y| 1.0 - cosine_similarity(x, y, -1));
/// let (a, n) = (Tensor::from([[1.0f32, 0.0]]), Tensor::from([[0.0f32, 1.0]]));
/// assert_eq!(loss.forward(&a, &a, &n).item()?, 0.0);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Clone, Module)]
pub struct TripletMarginWithDistanceLoss {
    #[module(skip)]
    distance: Distance,
    /// How much farther the negative shall be than the positive, above 0.
    pub margin: f64,
    /// Whether the positive may take the anchor's place.
    pub swap: bool,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
}

impl Default for TripletMarginWithDistanceLoss {
    fn default() -> TripletMarginWithDistanceLoss {
        let euclid = PairwiseDistance::new();
        TripletMarginWithDistanceLoss {
            distance: Arc::new(move |x, y| euclid.forward(x, y)),
            margin: 1.0,
            swap: false,
            reduction: Reduction::Mean,
        }
    }
}

impl TripletMarginWithDistanceLoss {
    /// With Euclid's distance, a margin of 1 and the mean.
    pub fn new() -> TripletMarginWithDistanceLoss {
        TripletMarginWithDistanceLoss::default()
    }

    /// With another distance of two tensors: torch's `distance_function`.
    pub fn distance(
        mut self,
        distance: impl Fn(&Tensor, &Tensor) -> Tensor + Send + Sync + 'static,
    ) -> TripletMarginWithDistanceLoss {
        self.distance = Arc::new(distance);
        self
    }

    /// The loss of anchors, what they shall be near to and what they shall be far from.
    #[track_caller]
    pub fn forward(&self, anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Tensor {
        self.of(anchor, positive, negative, &*self.distance)
    }

    #[track_caller]
    fn of(
        &self,
        anchor: &Tensor,
        positive: &Tensor,
        negative: &Tensor,
        distance: &dyn Fn(&Tensor, &Tensor) -> Tensor,
    ) -> Tensor {
        let (margin, swap) = (self.margin, self.swap);
        let triplet = Triplet { name: "triplet_margin_with_distance_loss", margin, swap, reduction: self.reduction };
        triplet.loss([anchor, positive, negative], distance)
    }
}

impl std::fmt::Debug for TripletMarginWithDistanceLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (margin, swap) = (self.margin, self.swap);
        write!(f, "TripletMarginWithDistanceLoss {{ margin: {margin}, swap: {swap}, reduction: {:?} }}", self.reduction)
    }
}

setters!(TripletMarginWithDistanceLoss {
    /// With another margin, above 0.
    margin: f64,
    /// Whether the positive may take the anchor's place (default: no).
    swap: bool,
    /// With another reduction.
    reduction: Reduction,
});
