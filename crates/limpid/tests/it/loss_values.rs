//! Values of losses against PyTorch's (2.15), and their slopes, and slopes of slopes, against differences.

use limpid::loss::{LinearCrossEntropy, linear_cross_entropy};
use limpid::prelude::*;

const X: [[f64; 3]; 2] = [[0.5, -1.2, 2.0], [0.1, 0.7, -0.4]];
const Y: [[f64; 3]; 2] = [[0.0, 1.0, 0.25], [1.0, -0.5, 0.3]];
/// Factors.
const W: [[f64; 3]; 2] = [[1.0, 2.0, 0.5], [0.0, 3.0, 1.0]];
/// Signs.
const S: [[f64; 3]; 2] = [[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]];

fn t(rows: [[f64; 3]; 2]) -> Tensor {
    Tensor::from(rows)
}

fn holds(name: &str, loss: &Tensor, expected: &[f64]) {
    let found = loss.to_vec::<f64>().unwrap();
    let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
    assert!(found.len() == expected.len() && close, "{name}: {found:?}, not {expected:?}");
}

#[test]
fn weighted_losses_are_torchs() {
    let (x, y, w) = (t(X), t(Y), t(W));
    let each = [0.25, 9.68, 1.53125, 0.0, 4.32, 0.49];
    holds("mse", &MSELoss::new().weighted(&x, &y, &w), &[2.1695]);
    holds("mse", &MSELoss::new().reduction(Reduction::None).weighted(&x, &y, &w), &each);
    holds("l1", &L1Loss::new().weighted(&x, &y, &w), &[1.3433333333333333]);
    holds("l1", &L1Loss::new().reduction(Reduction::Sum).weighted(&x, &y, &w), &[10.075]);
    // Huber's mean does not divide by the factors.
    holds("huber", &HuberLoss::new().weighted(&x, &y, &w), &[1.0825]);
    holds("huber", &HuberLoss::new().reduction(Reduction::Sum).weighted(&x, &y, &w), &[6.495]);
}

#[test]
fn losses_with_margins_are_torchs() {
    let (x, y, s) = (t(X), t(Y), t(S));
    let classes = Tensor::from([2i64, 0]);
    let weight = Tensor::from([0.5f64, 1.0, 2.0]);
    holds("multi_margin", &multi_margin_loss(&x, &classes), &[0.35]);
    let squares = MultiMarginLoss::new().p(2).margin(0.5).weight(&weight);
    holds("multi_margin, squares", &squares.forward(&x, &classes), &[0.10083333333333334]);
    let each = MultiMarginLoss::new().reduction(Reduction::None);
    let one = each.forward(&x.select(0, 0), &Tensor::from(2i64));
    assert_eq!((one.rank(), one.item().unwrap()), (0, 0.0));
    assert_eq!(each.forward(&x.select(0, 0), &Tensor::from([2i64])).shape()[..], [1]);
    let each = MultiLabelMarginLoss::new().reduction(Reduction::None);
    let lists = |lists: [[i64; 3]; 2]| each.forward(&x, &Tensor::from(lists));
    holds("multilabel_margin", &lists([[2, 0, -1], [1, -1, 0]]), &[0.0, 0.13333333333333333]);
    holds("multilabel_margin, nothing named", &lists([[2, 2, -1], [-1, 1, 0]]), &[0.0, 0.0]);
    holds("soft_margin", &soft_margin_loss(&x, &s), &[0.6041475706533487]);
    let on = s.gt(0.0).to_dtype(DType::F64);
    let soft = MultiLabelSoftMarginLoss::new().weight(&weight);
    holds("multilabel_soft_margin", &soft.forward(&x, &on), &[0.6759319775393631]);
    holds("hinge_embedding", &HingeEmbeddingLoss::new().margin(1.5).forward(&x, &s), &[1.1666666666666667]);
    holds("margin_ranking", &MarginRankingLoss::new().margin(0.2).forward(&x, &y, &s), &[0.3833333333333333]);
    // A target that is neither 1 nor −1 counts on both sides; torch: 0.3, 0.7, 1.0, 0.0.
    let each = HingeEmbeddingLoss::new().reduction(Reduction::None);
    let found = each.forward(&Tensor::from([0.3f64, 0.3, 0.3, 2.0]), &Tensor::from([1.0f64, -1.0, 0.0, -1.0]));
    holds("hinge_embedding, 0", &found, &[0.3, 0.7, 1.0, 0.0]);
}

#[test]
fn losses_of_vectors_are_torchs() {
    let (x, y, s) = (t(X), t(Y), t(S));
    let each = CosineEmbeddingLoss::new().margin(0.1).reduction(Reduction::None);
    holds("cosine_embedding", &each.forward(&x, &y, &Tensor::from([1i64, -1])), &[1.2846934251519186, 0.0]);
    let each = TripletMarginLoss::new().p(3.0).swap(true).reduction(Reduction::None);
    holds("triplet_margin", &each.forward(&x, &y, &s), &[2.484270006767278, 0.371195619975611]);
    let each = TripletMarginWithDistanceLoss::new().distance(|a, b| 1.0 - cosine_similarity(a, b, 1));
    let each = each.reduction(Reduction::None);
    holds("triplet_margin of cosines", &each.forward(&x, &y, &s), &[2.1802333731593455, 0.5406360888822381]);
    let mean = triplet_margin_with_distance_loss(&x, &y, &s, |a, b| 1.0 - cosine_similarity(a, b, 1));
    holds("its mean", &mean, &[(2.1802333731593455 + 0.5406360888822381) / 2.0]);
}

#[test]
fn losses_of_distributions_are_torchs() {
    let (x, y, w) = (t(X), t(Y), t(W));
    let (log, p) = (x.log_softmax(1), y.softmax(1));
    holds("kl_div", &kl_div(&log, &p), &[0.2717363111018343]);
    holds("kl_div", &KLDivLoss::new().reduction(Reduction::Sum).forward(&log, &p), &[1.630417866611006]);
    let batch = KLDivLoss::new().reduction(Reduction::BatchMean);
    holds("kl_div", &batch.forward(&log, &p), &[0.815208933305503]);
    holds("kl_div of logarithms", &batch.log_target(true).forward(&log, &p.log()), &[0.815208933305503]);
    holds("poisson", &poisson_nll_loss(&x, &w), &[2.054702542187458]);
    let rates = PoissonNLLLoss::new().log_input(false).full(true);
    holds("poisson of rates", &rates.forward(&x.exp(), &w), &[2.4573505297187013]);
    holds("gaussian", &gaussian_nll_loss(&x, &y, x.exp()), &[1.7095381769831794]);
    let rows = GaussianNLLLoss::new().full(true).forward(&x, &y, Tensor::from([0.5f64, 2.0]));
    holds("gaussian, one variance a row", &rows, &[2.391855199871339]);
    holds("gaussian, one variance", &gaussian_nll_loss(&x, &y, 0.7), &[1.1183887185068244]);
    // The variance is raised to eps, its gradient is that of eps: torch −4.9999950643e11.
    let var = Tensor::from([1e-9f64, 4.0]).requires_grad_();
    let sum = GaussianNLLLoss::new().reduction(Reduction::Sum);
    let loss = sum.forward(&Tensor::from([1.0f64, 2.0]), &Tensor::zeros([2]), &var);
    let slope = gradients(&loss, &[&var]).unwrap().remove(0).unwrap().to_array::<f64, 2>().unwrap();
    assert!((slope[0] / -4.999995e11 - 1.0).abs() < 1e-6 && slope[1] == 0.0, "{slope:?}");
}

#[test]
fn the_cross_entropy_of_a_linear_layer_is_torchs() {
    let x = t(X);
    let weight = Tensor::from((0..12).map(|i| f64::from(i).sin()).collect::<Vec<_>>());
    let none = LinearCrossEntropy::default();
    let loss = linear_cross_entropy(&x, &weight.view([4, 3]), &Tensor::from([3i64, 1]), &none);
    holds("linear_cross_entropy", &loss, &[2.237698666348739]);
    let options = LinearCrossEntropy {
        linear_bias: Some(Tensor::from([[0.1f64, 0.2], [0.3, 0.4]])),
        reduction: Reduction::None,
        ..none
    };
    let loss = linear_cross_entropy(&x, &weight.view([2, 2, 3]), &Tensor::from([[0i64, 1], [1, 1]]), &options);
    let expected = [0.9382467527323106, 0.6941328090566993, 0.68771449225699, 0.5160426633940708];
    holds("linear_cross_entropy, another axis", &loss, &expected);
    let module = LinearCrossEntropyLoss::new(3, 2).out_features([2]).bias(true).ignore_index(1);
    assert_eq!(
        module.extra_repr(),
        "in_features=3, num_classes=2, out_features=(2,), bias=True, reduction=mean, ignore_index=1, \
         label_smoothing=0.0, options=None"
    );
    assert_eq!(module.state_dict().names().collect::<Vec<_>>(), ["linear.weight", "linear.bias"]);
    assert_eq!(module.linear.weight.shape()[..], [4, 3]);
}

/// A loss of two tensors like [`X`] and [`Y`].
type Loss = fn(&Tensor, &Tensor) -> Tensor;

const LOSSES: &[(&str, Loss)] = &[
    ("mse_loss", mse_loss),
    ("smooth_l1_loss", |x, y| smooth_l1_loss(x, y, 0.75)),
    ("huber_loss", |x, y| huber_loss(x, y, 0.75)),
    ("kl_div", |x, y| kl_div(&x.log_softmax(1), &y.softmax(1))),
    ("kl_div of logarithms", |x, y| KLDivLoss::new().log_target(true).forward(x, y)),
    ("poisson_nll_loss", poisson_nll_loss),
    ("poisson_nll_loss of rates", |x, y| {
        PoissonNLLLoss::new().log_input(false).full(true).forward(&x.exp(), &(y.square() + 1.1))
    }),
    ("gaussian_nll_loss", |x, y| gaussian_nll_loss(x, y, x.square() + y.exp())),
    ("binary_cross_entropy", |x, y| binary_cross_entropy(&x.sigmoid(), &y.sigmoid())),
    ("binary_cross_entropy_with_logits", |x, y| binary_cross_entropy_with_logits(x, &y.sigmoid())),
    ("cross_entropy of probabilities", |x, y| cross_entropy(x, &y.softmax(1))),
    ("nll_loss", |x, _| nll_loss(&x.log_softmax(1), &Tensor::from([2i64, 0]))),
    ("soft_margin_loss", |x, y| soft_margin_loss(x, y)),
    ("multilabel_soft_margin_loss", |x, y| multilabel_soft_margin_loss(x, &y.sigmoid())),
    ("hinge_embedding_loss", |x, _| HingeEmbeddingLoss::new().forward(&x.square(), &t(S))),
    ("margin_ranking_loss", |x, y| MarginRankingLoss::new().margin(0.2).forward(&x.square(), y, &t(S))),
    ("multi_margin_loss", |x, y| MultiMarginLoss::new().p(2).forward(&(x * y), &Tensor::from([2i64, 0]))),
    ("multilabel_margin_loss", |x, y| multilabel_margin_loss(&(x * y), &Tensor::from([[2i64, 0, -1], [1, -1, 0]]))),
    ("cosine_embedding_loss", |x, y| cosine_embedding_loss(x, y, &Tensor::from([1i64, -1]))),
    ("cosine_similarity", |x, y| cosine_similarity(x, y, 1).sum(..)),
    ("pairwise_distance", |x, y| PairwiseDistance::new().p(3.0).forward(x, y).sum(..)),
    ("triplet_margin_loss", |x, y| TripletMarginLoss::new().swap(true).forward(x, y, &t(S))),
    ("linear_cross_entropy", |x, y| {
        linear_cross_entropy(x, y, &Tensor::from([1i64, 0]), &LinearCrossEntropy::default())
    }),
    ("ctc_loss", |x, y| {
        let log = Tensor::stack(&[x, y, &(x * y)], 0).log_softmax(2);
        ctc_loss(&log, &Tensor::from([[1i64, 1], [2, 0]]), [3, 2], [2, 1])
    }),
];

/// The gradients of Σ loss·factor by both tensors, one after the other.
fn slopes(loss: Loss, x: &Tensor, y: &Tensor) -> Tensor {
    let found = gradients(&loss(x, y), &[x, y]).unwrap();
    let whole: Vec<Tensor> = found.into_iter().map(|g| g.unwrap_or_else(|| x.zeros_like()).flatten(0)).collect();
    Tensor::cat(&[&whole[0], &whole[1]], 0)
}

/// The value of `f` and its slopes by differences, at the twelve numbers of [`X`] and [`Y`].
fn differences(f: &dyn Fn(&Tensor, &Tensor) -> f64) -> Vec<f64> {
    const H: f64 = 1e-5;
    let at = |i: usize, h: f64| {
        let mut both = [X, Y];
        both[i / 6][i % 6 / 3][i % 3] += h;
        f(&t(both[0]).requires_grad_(), &t(both[1]).requires_grad_())
    };
    (0..12).map(|i| (at(i, H) - at(i, -H)) / (2.0 * H)).collect()
}

#[test]
fn slopes_and_their_slopes_are_those_by_differences() {
    let mut problems = Vec::new();
    let factors = || Tensor::from((0..12).map(|i| (f64::from(i) * 0.7 + 0.3).cos()).collect::<Vec<_>>());
    for (name, loss) in LOSSES {
        let (x, y) = (t(X).requires_grad_(), t(Y).requires_grad_());
        let own = slopes(*loss, &x, &y).to_vec::<f64>().unwrap();
        let second = gradients(&(slopes(*loss, &x, &y) * factors()).sum(..), &[&x, &y]).unwrap();
        let second: Vec<f64> =
            second.iter().flat_map(|g| g.as_ref().map_or(vec![0.0; 6], |g| g.to_vec::<f64>().unwrap())).collect();
        let by_values = differences(&|x, y| loss(x, y).item().unwrap());
        let by_slopes = differences(&|x, y| (slopes(*loss, x, y) * factors()).sum(..).item().unwrap());
        for (order, found, expected) in [("first", own, by_values), ("second", second, by_slopes)] {
            let far = found.iter().zip(&expected).position(|(a, b)| (a - b).abs() > 1e-6 * (1.0 + b.abs()));
            problems.extend(far.map(|i| format!("{name}, {order}: [{i}] is {}, not {}", found[i], expected[i])));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
