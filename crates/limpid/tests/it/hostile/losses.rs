//! Losses and distances.

use limpid::loss::*;

use super::{Call, Dice};

fn reduction(d: &mut Dice) -> Reduction {
    d.pick(&[Reduction::Mean, Reduction::Sum, Reduction::None, Reduction::BatchMean])
}

macro_rules! of_two {
    ($($name:ident $input:ident $target:ident;)*) => { &[$((stringify!($name), |d: &mut Dice| {
        let loss = $name::new().reduction(reduction(d));
        d.show(&loss);
        let x = d.$input(&[2, 3]);
        vec![loss.forward(&x, &d.$target(&[2, 3]))]
    }),)*
    ("SmoothL1Loss", |d| {
        vec![SmoothL1Loss::new().beta(d.real(1.0)).reduction(reduction(d)).forward(&d.f(&[2, 3]), &d.f(&[2, 3]))]
    }),
    ("HuberLoss", |d| {
        let loss = HuberLoss::new().delta(d.real(1.0)).reduction(reduction(d));
        vec![loss.forward(&d.f(&[2, 3]), &d.f(&[2, 3])), loss.weighted(&d.f(&[2, 3]), &d.f(&[2, 3]), &d.part(&[2, 3]))]
    }),
    ("mse weighted", |d| {
        vec![MSELoss::new().reduction(reduction(d)).weighted(&d.f(&[2, 3]), &d.f(&[2, 3]), &d.part(&[2, 3]))]
    }),
    ("KLDivLoss", |d| {
        let loss = KLDivLoss::new().log_target(d.flag()).reduction(reduction(d));
        vec![loss.forward(&d.f(&[2, 3]), &d.part(&[2, 3]))]
    }),
    ("PoissonNLLLoss", |d| {
        let loss = PoissonNLLLoss::new().log_input(d.flag()).full(d.flag()).eps(d.real(1e-8)).reduction(reduction(d));
        vec![loss.forward(&d.f(&[2, 3]), &d.part(&[2, 3]))]
    }),
    ("GaussianNLLLoss", |d| {
        let loss = GaussianNLLLoss::new().full(d.flag()).eps(d.real(1e-6)).reduction(reduction(d));
        let var = d.pick(&[&[2usize, 3][..], &[2, 1], &[2]]);
        let (x, y) = (d.f(&[2, 3]), d.f(&[2, 3]));
        vec![loss.forward(&x, &y, &d.part(var)), loss.forward(&x, &y, d.real(1.0))]
    }),
    ("CrossEntropyLoss", |d| {
        let mut loss = CrossEntropyLoss::new().label_smoothing(d.real(0.0)).ignore_index(d.int(-100));
        loss = loss.reduction(reduction(d));
        if d.flag() {
            loss = loss.weight(&d.part(&[3]));
        }
        d.show(&loss);
        vec![
            loss.forward(&d.f(&[2, 3]), &d.i(&[2], 3)),
            loss.forward(&d.f(&[2, 3, 2]), &d.i(&[2, 2], 3)),
            loss.forward(&d.f(&[2, 3]), &d.part(&[2, 3])),
            loss.forward(&d.f(&[3]), &d.i(&[], 3)),
        ]
    }),
    ("cross_entropy_rows", |d| vec![d.f(&[2, 3]).cross_entropy_rows(&d.i(&[2], 3), d.int(-100))]),
    ("binary_cross_entropy_elements", |d| vec![d.part(&[2, 3]).binary_cross_entropy_elements(&d.part(&[2, 3]))]),
    ("NLLLoss", |d| {
        let mut loss = NLLLoss::new().ignore_index(d.int(-100)).reduction(reduction(d));
        if d.flag() {
            loss = loss.weight(&d.part(&[3]));
        }
        vec![loss.forward(&d.f(&[2, 3]), &d.i(&[2], 3)), loss.forward(&d.f(&[2, 3, 2]), &d.i(&[2, 2], 3))]
    }),
    ("BCELoss", |d| {
        let mut loss = BCELoss::new().reduction(reduction(d));
        if d.flag() {
            loss = loss.weight(&d.part(&[3]));
        }
        vec![loss.forward(&d.part(&[2, 3]), &d.part(&[2, 3]))]
    }),
    ("BCEWithLogitsLoss", |d| {
        let mut loss = BCEWithLogitsLoss::new().reduction(reduction(d));
        if d.flag() {
            loss = loss.weight(&d.part(&[3])).pos_weight(&d.part(&[3]));
        }
        vec![loss.forward(&d.f(&[2, 3]), &d.part(&[2, 3]))]
    }),
    ("LinearCrossEntropyLoss", |d| {
        let mut loss = LinearCrossEntropyLoss::new(d.n(4), d.n(3)).bias(d.flag()).dtype(d.dtype());
        if d.flag() {
            loss = loss.out_features(d.list(&[2]));
        }
        loss = loss.ignore_index(d.int(-100)).label_smoothing(d.real(0.0)).reduction(reduction(d));
        if d.flag() {
            loss = loss.weight(&d.part(&[3]));
        }
        d.show(&loss);
        vec![loss.forward(&d.f(&[2, 4]), &d.i(&[2], 3))]
    }),
    ("linear_cross_entropy", |d| {
        let o = LinearCrossEntropy { linear_bias: d.maybe(|d| d.f(&[3])), ..LinearCrossEntropy::default() };
        vec![linear_cross_entropy(&d.f(&[2, 4]), &d.f(&[3, 4]), &d.i(&[2], 3), &o)]
    }),
    ("AdaptiveLogSoftmaxWithLoss", |d| {
        let mut loss = AdaptiveLogSoftmaxWithLoss::new(d.n(4), d.n(9), d.list(&[3, 6])).div_value(d.real(2.0));
        loss = loss.head_bias(d.flag()).dtype(d.dtype());
        d.show(&loss);
        let (a, b) = loss.forward(&d.f(&[2, 4]), &d.i(&[2], 9));
        vec![a, b, loss.log_prob(&d.f(&[2, 4])), loss.predict(&d.f(&[2, 4]))]
    }),
    ("HingeEmbeddingLoss", |d| {
        let loss = HingeEmbeddingLoss::new().margin(d.real(1.0)).reduction(reduction(d));
        vec![loss.forward(&d.f(&[2, 3]), &d.i(&[2, 3], 2))]
    }),
    ("MarginRankingLoss", |d| {
        let loss = MarginRankingLoss::new().margin(d.real(0.0)).reduction(reduction(d));
        vec![loss.forward(&d.f(&[3]), &d.f(&[3]), &d.i(&[3], 2))]
    }),
    ("MultiMarginLoss", |d| {
        let mut loss = MultiMarginLoss::new().p(d.int(1)).margin(d.real(1.0)).reduction(reduction(d));
        if d.flag() {
            loss = loss.weight(&d.part(&[3]));
        }
        vec![loss.forward(&d.f(&[2, 3]), &d.i(&[2], 3))]
    }),
    ("MultiLabelMarginLoss", |d| {
        let loss = MultiLabelMarginLoss::new().reduction(reduction(d));
        vec![loss.forward(&d.f(&[2, 3]), &d.i(&[2, 3], 3)), loss.forward(&d.f(&[2, 3]), &(d.i(&[2, 3], 4) - 1))]
    }),
    ("MultiLabelSoftMarginLoss", |d| {
        let mut loss = MultiLabelSoftMarginLoss::new().reduction(reduction(d));
        if d.flag() {
            loss = loss.weight(&d.part(&[3]));
        }
        vec![loss.forward(&d.f(&[2, 3]), &d.part(&[2, 3]))]
    }),
    ("CosineEmbeddingLoss", |d| {
        let loss = CosineEmbeddingLoss::new().margin(d.real(0.0)).reduction(reduction(d));
        vec![loss.forward(&d.f(&[2, 3]), &d.f(&[2, 3]), &d.i(&[2], 2))]
    }),
    ("TripletMarginLoss", |d| {
        let loss = TripletMarginLoss::new().margin(d.real(1.0)).p(d.real(2.0)).eps(d.real(1e-6)).swap(d.flag());
        vec![loss.reduction(reduction(d)).forward(&d.f(&[2, 3]), &d.f(&[2, 3]), &d.f(&[2, 3]))]
    }),
    ("TripletMarginWithDistanceLoss", |d| {
        let mut loss = TripletMarginWithDistanceLoss::new().margin(d.real(1.0)).swap(d.flag()).reduction(reduction(d));
        if d.flag() {
            loss = loss.distance(|a, b| (a - b).abs().amax(-1));
        }
        vec![loss.forward(&d.f(&[2, 3]), &d.f(&[2, 3]), &d.f(&[2, 3]))]
    }),
    ("CosineSimilarity", |d| {
        vec![CosineSimilarity::new().dim(d.axis(2)).eps(d.real(1e-8)).forward(&d.f(&[2, 3]), &d.f(&[2, 3]))]
    }),
    ("PairwiseDistance", |d| {
        let distance = PairwiseDistance::new().p(d.real(2.0)).eps(d.real(1e-6)).keepdim(d.flag());
        vec![distance.forward(&d.f(&[2, 3]), &d.f(&[2, 3]))]
    }),
    ("CTCLoss", |d| {
        let loss = CTCLoss::new().blank(d.n(0)).zero_infinity(d.flag()).reduction(reduction(d));
        let targets = if d.flag() { d.i(&[2, 3], 4) } else { d.i(&[6], 4) };
        let scores = d.f(&[5, 2, 4]).log_softmax(-1);
        let (a, b) = (d.list(&[5, 4]), d.list(&[3, 3]));
        vec![loss.forward(&scores, &targets, a, b), loss.forward(&scores, &targets, &d.i(&[2], 6), &d.i(&[2], 4))]
    }),
    ("ctc_losses", |d| {
        let x = d.f(&[5, 2, 4]).log_softmax(-1);
        vec![x.ctc_losses(&d.i(&[2, 3], 4), &d.i(&[2], 6), &d.i(&[2], 4), d.n(0), d.flag())]
    }),
    ] };
}

pub const LOSSES: &[Call] = of_two! {
    MSELoss f f;
    L1Loss f f;
    SoftMarginLoss f f;
};
