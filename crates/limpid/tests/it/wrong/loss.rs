//! Losses and distances.

use limpid::loss::{LinearCrossEntropy, linear_cross_entropy};
use limpid::prelude::*;

use super::{Wrong, wrong};

fn classes<const N: usize>(classes: [i64; N]) -> Tensor {
    Tensor::from(classes)
}

/// Log-probabilities of five steps, two samples and four classes.
fn steps() -> Tensor {
    Tensor::zeros([5, 2, 4]).log_softmax(-1)
}

fn rows() -> Tensor {
    Tensor::zeros([2, 3])
}

fn labels() -> Tensor {
    Tensor::from([[1i64, 2], [3, 1]])
}

pub const WRONG: &[Wrong] = &[
    wrong(
        "ctc_loss: a target longer than its row of labels",
        || Ok(ctc_loss(&steps(), &labels(), [5, 5], [3, 2])),
        &["ctc_loss", "target length", "between 0 and 2", "[0] is 3"],
    ),
    wrong(
        "ctc_loss: an input longer than the steps",
        || Ok(ctc_loss(&steps(), &labels(), [5, 6], [2, 2])),
        &["ctc_loss", "input length", "between 0 and 5", "[1] is 6"],
    ),
    wrong(
        "ctc_loss: a negative input length",
        || Ok(ctc_loss(&steps(), &labels(), &classes([5, -1]), [2, 2])),
        &["input length", "[1] is -1"],
    ),
    wrong(
        "ctc_loss: a negative target length",
        || Ok(ctc_loss(&steps(), &labels(), [5, 5], &classes([-2, 2]))),
        &["target length", "[0] is -2"],
    ),
    wrong(
        "ctc_loss: a label beyond the classes",
        || Ok(ctc_loss(&steps(), &Tensor::from([[1i64, 4], [3, 1]]), [5, 5], [2, 2])),
        &["label", "between 0 and 3", "[0, 1] is 4"],
    ),
    wrong(
        "ctc_loss: a negative label",
        || Ok(ctc_loss(&steps(), &Tensor::from([[1i64, 2], [-1, 1]]), [5, 5], [2, 2])),
        &["label", "[1, 0] is -1"],
    ),
    wrong(
        "ctc_loss: labels one after the other, too few",
        || Ok(ctc_loss(&steps(), &classes([1, 3, 1]), [5, 5], [2, 2])),
        &["add up to the 3 labels", "is 4"],
    ),
    wrong(
        "ctc_loss: labels one after the other, too many",
        || Ok(ctc_loss(&steps(), &classes([1, 3, 1, 2, 2]), [5, 5], [2, 2])),
        &["add up to the 5 labels", "is 4"],
    ),
    wrong(
        "ctc_loss: no labels for lengths above 0",
        || Ok(ctc_loss(&steps(), &Tensor::zeros_of([0], DType::I64), [5, 5], [1, 0])),
        &["add up to the 0 labels"],
    ),
    wrong(
        "ctc_loss: a blank beyond the classes",
        || Ok(CTCLoss::new().blank(4).forward(&steps(), &labels(), [5, 5], [2, 2])),
        &["blank is 4", "4 classes"],
    ),
    wrong(
        "ctc_loss: lengths of another batch",
        || Ok(ctc_loss(&steps(), &labels(), [5, 5, 5], [2, 2])),
        &["3 input lengths", "batch of 2"],
    ),
    wrong(
        "ctc_loss: labels of another batch",
        || Ok(ctc_loss(&steps(), &Tensor::from([[1i64, 2]]), [5, 5], [2, 2])),
        &["targets [1, 2]", "batch of 2"],
    ),
    wrong("ctc_loss: labels that are floats", || Ok(ctc_loss(&steps(), &rows(), [5, 5], [2, 2])), &["f32", "integers"]),
    wrong(
        "ctc_loss: log-probabilities without steps",
        || Ok(ctc_loss(&Tensor::zeros([4]), &classes([1]), [1], [1])),
        &["[4]", "[T, N, C]"],
    ),
    wrong(
        "binary_cross_entropy: logits in place of probabilities",
        || Ok(binary_cross_entropy(&Tensor::from([0.5f32, 1.5]), &Tensor::from([0.0f32, 1.0]))),
        &["binary_cross_entropy", "input", "between 0 and 1", "[1] is 1.5"],
    ),
    wrong(
        "binary_cross_entropy: not a number",
        || Ok(binary_cross_entropy(&Tensor::from([f32::NAN]), &Tensor::from([1.0f32]))),
        &["between 0 and 1", "NaN"],
    ),
    wrong(
        "binary_cross_entropy: a target below 0",
        || Ok(binary_cross_entropy(&Tensor::from([0.5f32]), &Tensor::from([-1.0f32]))),
        &["target", "between 0 and 1", "is -1"],
    ),
    wrong(
        "binary_cross_entropy: weights of another size",
        || {
            let half = Tensor::full([2], 0.5);
            Ok(BCELoss::new().weight(&Tensor::ones([3])).forward(&half, &half))
        },
        &["weight has shape [3]"],
    ),
    wrong(
        "binary_cross_entropy_with_logits: positive weights of another size",
        || Ok(BCEWithLogitsLoss::new().pos_weight(&Tensor::ones([2])).forward(&rows(), &rows())),
        &["pos_weight", "[2]", "[2, 3]"],
    ),
    wrong(
        "cross_entropy: an ignored class beside probabilities",
        || Ok(CrossEntropyLoss::new().ignore_index(1).forward(&rows(), &rows().softmax(1))),
        &["ignore_index is 1", "probabilities"],
    ),
    wrong(
        "cross_entropy: weights of another number of classes",
        || Ok(CrossEntropyLoss::new().weight(&Tensor::ones([2])).forward(&rows(), &classes([0, 1]))),
        &["weight", "[2]", "3 classes"],
    ),
    wrong(
        "cross_entropy: kl_div's reduction",
        || Ok(CrossEntropyLoss::new().reduction(Reduction::BatchMean).forward(&rows(), &classes([0, 1]))),
        &["cross_entropy", "BatchMean"],
    ),
    wrong(
        "nll_loss: weights of another number of classes",
        || Ok(NLLLoss::new().weight(&Tensor::ones([2])).forward(&rows(), &classes([0, 1]))),
        &["nll_loss", "[2]", "3 classes"],
    ),
    wrong("nll_loss: a class beyond the rows", || Ok(nll_loss(&rows(), &classes([0, 4]))), &["4", "size 3"]),
    wrong(
        "mse_loss: kl_div's reduction",
        || Ok(MSELoss::new().reduction(Reduction::BatchMean).forward(&rows(), &rows())),
        &["mse_loss", "BatchMean", "kl_div"],
    ),
    wrong("mse_loss: integers alone", || Ok(mse_loss(&classes([1]), &classes([2]))), &["mse_loss", "i64", "floats"]),
    wrong(
        "mse_loss: weights of another size",
        || Ok(MSELoss::new().weighted(&rows(), &rows(), &Tensor::ones([3]))),
        &["weight", "[3]", "[2, 3]"],
    ),
    wrong("smooth_l1_loss: a negative beta", || Ok(smooth_l1_loss(&rows(), &rows(), -1.0)), &["beta is -1"]),
    wrong("huber_loss: a delta of 0", || Ok(huber_loss(&rows(), &rows(), 0.0)), &["delta is 0"]),
    wrong(
        "huber_loss: weights of another size",
        || Ok(HuberLoss::new().weighted(&rows(), &rows(), &Tensor::ones([3]))),
        &["huber_loss", "[3]"],
    ),
    wrong(
        "kl_div: shapes that would broadcast",
        || Ok(kl_div(&rows(), &Tensor::ones([3]))),
        &["kl_div", "[2, 3]", "[3]"],
    ),
    wrong(
        "poisson_nll_loss: shapes that would broadcast",
        || Ok(poisson_nll_loss(&rows(), &Tensor::ones([3]))),
        &["poisson_nll_loss", "[3]"],
    ),
    wrong(
        "gaussian_nll_loss: a negative variance",
        || Ok(gaussian_nll_loss(&rows(), &rows(), Tensor::from([[1.0f32, 1.0, 1.0], [1.0, -2.0, 1.0]]))),
        &["gaussian_nll_loss", "variance is below 0", "[1, 1] is -2"],
    ),
    wrong(
        "gaussian_nll_loss: a negative number",
        || Ok(gaussian_nll_loss(&rows(), &rows(), -1.0)),
        &["variance is -1"],
    ),
    wrong(
        "gaussian_nll_loss: a variance of another size",
        || Ok(gaussian_nll_loss(&rows(), &rows(), Tensor::ones([3]))),
        &["variance", "[3]", "[2, 3]"],
    ),
    wrong(
        "gaussian_nll_loss: a target of another size",
        || Ok(gaussian_nll_loss(&rows(), &Tensor::ones([2]), 1.0)),
        &["gaussian_nll_loss", "[2, 3]", "[2]"],
    ),
    wrong(
        "multi_margin_loss: a class beyond the scores",
        || Ok(multi_margin_loss(&rows(), &classes([0, 3]))),
        &["multi_margin_loss", "between 0 and 2", "is 3"],
    ),
    wrong("multi_margin_loss: a negative class", || Ok(multi_margin_loss(&rows(), &classes([0, -1]))), &["is -1"]),
    wrong(
        "multi_margin_loss: too many classes",
        || Ok(multi_margin_loss(&rows(), &classes([0, 1, 1]))),
        &["[2, 3]", "[2]", "[3]"],
    ),
    wrong(
        "multi_margin_loss: a power of 3",
        || Ok(MultiMarginLoss::new().p(3).forward(&rows(), &classes([0, 1]))),
        &["p is 3", "1 or 2"],
    ),
    wrong(
        "multi_margin_loss: weights of another number of classes",
        || Ok(MultiMarginLoss::new().weight(&Tensor::ones([2])).forward(&rows(), &classes([0, 1]))),
        &["weight", "[2]", "3 classes"],
    ),
    wrong(
        "multi_margin_loss: scores with three axes",
        || Ok(multi_margin_loss(&Tensor::zeros([2, 3, 4]), &classes([0, 1]))),
        &["[2, 3, 4]", "[N, C]"],
    ),
    wrong(
        "multi_margin_loss: classes that are floats",
        || Ok(multi_margin_loss(&rows(), &Tensor::ones([2]))),
        &["f32"],
    ),
    wrong(
        "multilabel_margin_loss: a class beyond the scores",
        || Ok(multilabel_margin_loss(&rows(), &Tensor::from([[0i64, 3, -1], [0, 1, -1]]))),
        &["between −1 and 2", "[0, 1] is 3"],
    ),
    wrong(
        "multilabel_margin_loss: a class beyond the scores behind the end",
        || Ok(multilabel_margin_loss(&rows(), &Tensor::from([[0i64, -1, 5], [0, 1, -1]]))),
        &["[0, 2] is 5"],
    ),
    wrong(
        "multilabel_margin_loss: one class for each row",
        || Ok(multilabel_margin_loss(&rows(), &classes([0, 1]))),
        &["multilabel_margin_loss", "[2, 3]", "[2]"],
    ),
    wrong(
        "multilabel_soft_margin_loss: weights of another number of classes",
        || Ok(MultiLabelSoftMarginLoss::new().weight(&Tensor::ones([2])).forward(&rows(), &rows())),
        &["weight", "[2]"],
    ),
    wrong(
        "multilabel_soft_margin_loss: no classes",
        || Ok(multilabel_soft_margin_loss(&Tensor::from(1.0f32), &Tensor::from(1.0f32))),
        &["multilabel_soft_margin_loss", "[]"],
    ),
    wrong(
        "soft_margin_loss: another size",
        || Ok(soft_margin_loss(&rows(), &Tensor::ones([2]))),
        &["soft_margin_loss"],
    ),
    wrong(
        "hinge_embedding_loss: another size",
        || Ok(hinge_embedding_loss(&rows(), &Tensor::ones([2]))),
        &["hinge_embedding_loss", "[2]"],
    ),
    wrong(
        "margin_ranking_loss: another size",
        || Ok(margin_ranking_loss(&rows(), &Tensor::ones([2]), &rows())),
        &["margin_ranking_loss", "[2]"],
    ),
    wrong(
        "margin_ranking_loss: one target for all",
        || Ok(margin_ranking_loss(&rows(), &rows(), &Tensor::from(1.0f32))),
        &["margin_ranking_loss", "[]"],
    ),
    wrong(
        "cosine_embedding_loss: a target of another batch",
        || Ok(cosine_embedding_loss(&rows(), &rows(), &classes([1, 1, -1]))),
        &["cosine_embedding_loss", "[3]"],
    ),
    wrong(
        "cosine_embedding_loss: a vector and a list of targets",
        || Ok(cosine_embedding_loss(&Tensor::zeros([3]), &Tensor::zeros([3]), &classes([1]))),
        &["cosine_embedding_loss", "[1]"],
    ),
    wrong(
        "triplet_margin_loss: a margin of 0",
        || Ok(TripletMarginLoss::new().margin(0.0).forward(&rows(), &rows(), &rows())),
        &["margin is 0"],
    ),
    wrong(
        "triplet_margin_loss: other numbers of axes",
        || Ok(triplet_margin_loss(&rows(), &rows(), &Tensor::zeros([3]))),
        &["triplet_margin_loss", "[3]"],
    ),
    wrong(
        "triplet_margin_with_distance_loss: a negative margin",
        || Ok(TripletMarginWithDistanceLoss::new().margin(-1.0).forward(&rows(), &rows(), &rows())),
        &["triplet_margin_with_distance_loss", "margin is -1"],
    ),
    wrong(
        "linear_cross_entropy: other features",
        || {
            let none = LinearCrossEntropy::default();
            Ok(linear_cross_entropy(&rows(), &Tensor::zeros([4, 2]), &classes([0, 1]), &none))
        },
        &["linear_cross_entropy", "[2, 3]", "[4, 2]"],
    ),
    wrong(
        "linear_cross_entropy: an ignored class beside probabilities",
        || {
            let options = LinearCrossEntropy { ignore_index: Some(1), ..LinearCrossEntropy::default() };
            let target = Tensor::zeros([2, 4]).softmax(1);
            Ok(linear_cross_entropy(&rows(), &Tensor::zeros([4, 3]), &target, &options))
        },
        &["ignore_index", "probabilities"],
    ),
    wrong(
        "LinearCrossEntropyLoss: sequences",
        || Ok(LinearCrossEntropyLoss::new(3, 4).forward(&Tensor::zeros([2, 2, 3]), &classes([0, 1]))),
        &["[2, 2, 3]", "[N, in]"],
    ),
    wrong(
        "adaptive softmax: cutoffs that fall",
        || Ok(AdaptiveLogSoftmaxWithLoss::new(4, 20, [10, 5]).forward(&Tensor::zeros([1, 4]), &classes([0])).1),
        &["cutoffs", "[10, 5]", "20"],
    ),
    wrong(
        "adaptive softmax: a cutoff beyond the classes",
        || Ok(AdaptiveLogSoftmaxWithLoss::new(4, 20, [5, 20]).log_prob(&Tensor::zeros([1, 4]))),
        &["cutoffs", "[5, 20]"],
    ),
    wrong(
        "adaptive softmax: no cutoffs",
        || Ok(AdaptiveLogSoftmaxWithLoss::new(4, 20, []).predict(&Tensor::zeros([1, 4]))),
        &["cutoffs", "[]"],
    ),
    wrong(
        "adaptive softmax: a class out of range",
        || Ok(AdaptiveLogSoftmaxWithLoss::new(4, 20, [5]).forward(&Tensor::zeros([2, 4]), &classes([0, 20])).0),
        &["between 0 and 19", "[1] is 20"],
    ),
    wrong(
        "adaptive softmax: other features",
        || Ok(AdaptiveLogSoftmaxWithLoss::new(4, 20, [5]).forward(&rows(), &classes([0, 1])).1),
        &["[2, 3]", "[N, 4]"],
    ),
    wrong(
        "cosine_similarity: sizes that do not broadcast",
        || Ok(cosine_similarity(&rows(), &Tensor::zeros([2, 4]), 1)),
        &["cosine_similarity", "[2, 4]"],
    ),
    wrong("cosine_similarity: no such axis", || Ok(cosine_similarity(&rows(), &rows(), 2)), &["no axis 2"]),
    wrong(
        "cosine_similarity: a negative eps",
        || Ok(CosineSimilarity::new().eps(-1.0).forward(&rows(), &rows())),
        &["eps is -1"],
    ),
    wrong(
        "pairwise_distance: sizes that do not broadcast",
        || Ok(pairwise_distance(&rows(), &Tensor::zeros([2, 4]))),
        &["pairwise_distance", "[2, 4]"],
    ),
    wrong("pdist: one row", || Ok(Tensor::zeros([3]).pdist(2.0)), &["pdist", "[3]"]),
    wrong("pdist: a negative power", || Ok(rows().pdist(-1.0)), &["p is -1"]),
    wrong("cdist: rows of other lengths", || Ok(rows().cdist(&Tensor::zeros([4, 2]), 2.0)), &["rows of 3 and of 2"]),
    wrong("cdist: integers", || Ok(labels().cdist(&labels(), 2.0)), &["cdist", "i64"]),
    wrong("cdist: a vector", || Ok(Tensor::zeros([3]).cdist(&rows(), 2.0)), &["cdist", "[3]"]),
    wrong(
        "bilinear: another second input",
        || Ok(Bilinear::new(3, 4, 5).forward(&rows(), &Tensor::zeros([2, 5]))),
        &["bilinear", "[2, 5]", "[5, 3, 4]"],
    ),
    wrong(
        "bilinear: another batch",
        || Ok(Bilinear::new(3, 4, 5).forward(&rows(), &Tensor::zeros([3, 4]))),
        &["bilinear", "[3, 4]", "last axis"],
    ),
    wrong("bilinear: no features", || Ok(Bilinear::new(0, 4, 5).forward(&rows(), &rows())), &["in1_features is 0"]),
    wrong(
        "bilinear: a bias of another size",
        || Ok(rows().bilinear(&Tensor::zeros([2, 4]), &Tensor::zeros([5, 3, 4]), Some(&Tensor::zeros([4])))),
        &["bias", "[4]", "[5]"],
    ),
];
