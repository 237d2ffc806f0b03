//! Distances, and losses of sequences and of many classes, against PyTorch's numbers.

use limpid::prelude::*;

fn near(found: &[f64], expected: &[f64], what: &str) {
    let close = found.iter().zip(expected).all(|(a, b)| a == b || (a - b).abs() <= 1e-9 * (1.0 + b.abs()));
    assert!(found.len() == expected.len() && close, "{what}: {found:?}, not {expected:?}");
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_vec::<f64>().unwrap()
}

/// The gradient of Σ d·i by x.
fn slope(d: &Tensor, x: &Tensor) -> Vec<f64> {
    let i = Tensor::from((0..d.numel()).map(|i| i as f64).collect::<Vec<_>>()).view(d.shape());
    let found = gradients(&(d * i).sum(..), &[x]).unwrap().remove(0);
    found.map_or(vec![0.0; x.numel()], |g| values(&g))
}

/// Torch: 2.15, `cdist` and `pdist` of rows of which two are equal, and the gradients of Σ d·i.
#[test]
fn equal_rows_have_the_distance_0_and_no_slope() {
    let x = Tensor::from([[0.0f64, 0.0], [1.0, 2.0], [1.0, 2.0], [4.0, -2.0]]).requires_grad_();
    let infinite = f64::INFINITY;
    let cdist: [(f64, [f64; 8]); 6] = [
        (0.0, [0.0; 8]),
        (
            0.5,
            [
                -7.242640687119285,
                -5.121320343559642,
                7.242640687119286,
                5.121320343559642,
                14.485281374238571,
                10.242640687119284,
                60.612672336643215,
                -60.91445554083107,
            ],
        ),
        (1.0, [-3.0, -3.0, 3.0, 3.0, 6.0, 6.0, 30.0, -30.0]),
        (
            2.0,
            [
                -1.3416407864998738,
                -2.6832815729997477,
                1.3416407864998738,
                2.6832815729997477,
                2.6832815729997477,
                5.366563145999495,
                20.64984471899924,
                -20.824922359499624,
            ],
        ),
        (
            3.0,
            [
                -0.6933612743506347,
                -2.7734450974025386,
                0.6933612743506347,
                2.7734450974025386,
                1.3867225487012693,
                5.546890194805077,
                17.662213678548863,
                -18.6878676209919,
            ],
        ),
        (infinite, [0.0, -3.0, 0.0, 3.0, 0.0, 6.0, 9.0, -21.0]),
    ];
    for (p, expected) in cdist {
        let other = x.detach().narrow(0, 0, 3);
        near(&slope(&x.cdist(&other, p), &x), &expected, &format!("cdist, p = {p}"));
    }
    let pdist: [(f64, [f64; 6], [f64; 8]); 3] = [
        (1.0, [3.0, 3.0, 6.0, 0.0, 7.0, 7.0], [-3.0, 1.0, -4.0, 4.0, -4.0, 6.0, 11.0, -11.0]),
        (
            2.0,
            [2.23606797749979, 2.23606797749979, 4.47213595499958, 0.0, 5.0, 5.0],
            [
                -2.23606797749979,
                0.0,
                -2.4,
                3.2,
                -2.552786404500042,
                4.894427190999916,
                7.188854381999832,
                -8.094427190999916,
            ],
        ),
        (infinite, [2.0, 2.0, 4.0, 0.0, 4.0, 4.0], [-2.0, -1.0, 0.0, 4.0, 0.0, 6.0, 2.0, -9.0]),
    ];
    for (p, distances, slopes) in pdist {
        let d = x.pdist(p);
        near(&values(&d), &distances, &format!("pdist, p = {p}"));
        near(&slope(&d, &x), &slopes, &format!("slope of pdist, p = {p}"));
    }
    // Of several largest differences each has the whole slope.
    let tied = Tensor::from([[2.0f64, 2.0], [0.0, 1.0]]).requires_grad_();
    let d = tied.cdist(&Tensor::zeros_of([1, 2], DType::F64), infinite);
    near(&values(&gradients(&d.sum(..), &[&tied]).unwrap().remove(0).unwrap()), &[1.0, 1.0, 0.0, 1.0], "ties");
}

#[test]
fn nothing_has_no_distance() {
    assert_eq!(Tensor::zeros([1, 3]).pdist(2.0).to_vec::<f32>().unwrap(), [0.0; 0]);
    assert_eq!(Tensor::zeros([3, 0]).pdist(2.0).to_vec::<f32>().unwrap(), [0.0; 3]);
    for p in [0.0, 1.0, 2.0, f64::INFINITY] {
        let d = Tensor::zeros([2, 0]).cdist(&Tensor::zeros([4, 0]), p);
        assert_eq!((&d.shape()[..], d.to_vec::<f32>().unwrap()), (&[2, 4][..], vec![0.0; 8]));
        assert_eq!(*Tensor::zeros([0, 3]).cdist(&Tensor::zeros([4, 3]), p).shape(), Shape::from([0, 4]));
    }
}

/// Torch raises a small length to eps for the value alone: the gradient is that of the length.
#[test]
fn short_vectors_have_torchs_cosine_and_slope() {
    let one = Tensor::ones([1, 2]).to_dtype(DType::F64);
    for (x, cosine, expected) in [(0.0, 0.0, 70_710_678.118_654_74), (1e-9, 0.1414213562373095, 60_710_678.118_654_74)]
    {
        let x = Tensor::full_of([1, 2], x, DType::F64).requires_grad_();
        let y = cosine_similarity(&x, &one, 1);
        near(&values(&y), &[cosine], "cosine");
        near(&values(&gradients(&y.sum(..), &[&x]).unwrap().remove(0).unwrap()), &[expected; 2], "slope");
    }
}

/// sin(1.7·i + 0.3)·2 as logits of steps, samples and classes.
fn logits(steps: usize, batch: usize, classes: usize) -> Tensor {
    let x = (0..steps * batch * classes).map(|i| (i as f64 * 1.7 + 0.3).sin() * 2.0).collect::<Vec<_>>();
    Tensor::from_vec(x, [steps, batch, classes])
}

fn each(loss: CTCLoss) -> CTCLoss {
    loss.reduction(Reduction::None)
}

/// Torch 2.15's numbers.
#[test]
fn ctc_is_torchs() {
    let y = logits(6, 3, 4).log_softmax(-1);
    let targets = Tensor::from([[1i64, 2, 1], [3, 3, 0], [2, 0, 0]]);
    let (inputs, lengths) = ([6usize, 5, 4], [3usize, 2, 1]);
    let all = each(CTCLoss::new()).forward(&y, &targets, inputs, lengths);
    near(&values(&all), &[2.2694195682, 7.6260235489, 3.5452478191].map(|x: f64| x), "none");
    near(&[ctc_loss(&y, &targets, inputs, lengths).item().unwrap()], &[2.7049109276], "mean");
    let sum = CTCLoss::new().reduction(Reduction::Sum).forward(&y, &targets, inputs, lengths);
    near(&[sum.item().unwrap()], &[13.4406909362], "sum");
    // One after the other, another blank, lengths as tensors of another type.
    let flat = Tensor::from([1i64, 2, 1, 0, 0, 2]);
    let [inputs_too, lengths_too] = [inputs, lengths].map(|n| Tensor::from(n.map(|n| n as i32)));
    let loss = each(CTCLoss::new().blank(3)).forward(&y, &flat, &inputs_too, &lengths_too);
    near(&values(&loss), &[3.0189820484, 5.6106669707, 4.2761978381], "one after the other");
    // Nothing to spell, and nothing to spell it with.
    let loss = each(CTCLoss::new()).forward(&y, &Tensor::from([1i64, 2]), [6, 5, 0], [0, 2, 0]);
    near(&values(&loss), &[10.8679484746, 3.6889278716, 0.0], "empty targets");
    // One sample without a batch.
    let one = y.select(1, 1);
    let loss = each(CTCLoss::new()).forward(&one, &Tensor::from([3i64, 3]), [5], [2]);
    assert_eq!(loss.rank(), 0);
    near(&[loss.item().unwrap()], &[7.6260235489], "one sample");
    let leaf = y.detach().requires_grad_();
    let found = gradients(&ctc_loss(&leaf, &targets, inputs, lengths), &[&leaf]).unwrap().remove(0).unwrap();
    let expected = [
        -0.018564363243022203,
        0.06564349769777741,
        0.003507882731756849,
        -0.050587017186511915,
        -0.01680296993071812,
        0.003065418354970097,
        0.005649375577306438,
        0.008088175998441674,
        -0.03955294640860794,
        0.005823277403237652,
        0.11171741015194442,
        -0.077987741146574,
    ];
    near(&values(&found.select(1, 1))[..12], &expected, "gradient");
    near(&values(&found.select(1, 1))[20..], &[0.0; 4], "gradient behind the input");
}

#[test]
fn what_is_too_long_to_spell_is_infinite_or_nothing() {
    let y = logits(6, 3, 4).log_softmax(-1).detach().requires_grad_();
    let targets = Tensor::from([[1i64, 2, 1], [3, 3, 0], [2, 0, 0]]);
    let all = each(CTCLoss::new()).forward(&y, &targets, [6, 2, 4], [3, 2, 1]);
    near(&values(&all), &[2.2694195682, f64::INFINITY, 3.5452478191], "none");
    let mean = CTCLoss::new().zero_infinity(true).forward(&y, &targets, [6, 2, 4], [3, 2, 1]);
    near(&[mean.item().unwrap()], &[1.4339070028], "zero_infinity");
    let slopes = gradients(&mean, &[&y]).unwrap().remove(0).unwrap();
    near(&values(&slopes.select(1, 1)), &[0.0; 24], "zero_infinity");
    assert!(values(&slopes.select(1, 0)).iter().all(|g| g.is_finite() && *g != 0.0));
    // Labels one after the other, more of them than steps.
    let flat = Tensor::from(vec![1i64; 12]);
    let all = each(CTCLoss::new()).forward(&y, &flat, [6, 6, 6], [10, 1, 1]);
    let [first, second, third] = all.to_array::<f64, 3>().unwrap();
    assert!(first == f64::INFINITY && second.is_finite() && third.is_finite(), "{first} {second} {third}");
}

/// Values are no part of a plan: other labels and lengths make no other.
#[test]
fn other_labels_and_lengths_are_the_same_plan() {
    let y = logits(6, 3, 4).log_softmax(-1).detach();
    let run = |label: i64, inputs: [usize; 3], lengths: [usize; 3]| {
        let targets = Tensor::from(vec![label; 6]);
        ctc_loss(&y, &targets, inputs, lengths).item().unwrap()
    };
    let first = run(1, [6, 5, 4], [2, 2, 2]);
    let plans = limpid::stats().plans;
    let second = run(2, [6, 6, 6], [1, 2, 3]);
    assert!(first.is_finite() && second.is_finite() && first != second);
    assert_eq!(limpid::stats().plans, plans);
}

/// Torch 2.15, with sin(0.9·i + k) as the k-th parameter.
#[test]
fn the_adaptive_softmax_is_torchs() {
    let loss = AdaptiveLogSoftmaxWithLoss::new(4, 8, [2, 5]).div_value(2.0).head_bias(true).dtype(DType::F64);
    let names: Vec<String> = loss.named_parameters().into_iter().map(|(name, _)| name).collect();
    let expected =
        ["head.weight", "head.bias", "tail.0.0.weight", "tail.0.1.weight", "tail.1.0.weight", "tail.1.1.weight"];
    assert_eq!(names, expected);
    for (k, (_, p)) in loss.named_parameters().into_iter().enumerate() {
        let n = p.shape().elements();
        let w = (0..n).map(|i| (i as f64 * 0.9 + k as f64).sin()).collect::<Vec<_>>();
        p.set(&Tensor::from_vec(w, p.shape())).unwrap();
    }
    let x = Tensor::from_vec((0..12).map(|i| f64::from(i).sin()).collect::<Vec<_>>(), [3, 4]);
    let classes = Tensor::from([1i64, 4, 7]);
    let (output, mean) = loss.forward(&x, &classes);
    near(&values(&output), &[-3.39667181497981, -5.836296039700324, -7.181346605589665], "output");
    near(&[mean.item().unwrap()], &[5.471438153423267], "loss");
    assert_eq!(loss.predict(&x).to_vec::<i64>().unwrap(), [0, 1, 2]);
    let log = loss.log_prob(&x);
    near(&values(&log.exp().sum(1)), &[1.0; 3], "probabilities");
    near(&values(&log.gather(1, &classes.unsqueeze(1)).squeeze(1)), &values(&output), "the same from all classes");
    let (one, own) = loss.forward(&x.select(0, 1), &Tensor::from(4i64));
    assert_eq!((one.rank(), one.item().unwrap(), own.item().unwrap()), (0, -own.item().unwrap(), -one.item().unwrap()));
    // More features to a cluster than there are: none at all, as in torch.
    let narrow = AdaptiveLogSoftmaxWithLoss::new(8, 20, [4, 10]);
    assert_eq!(narrow.tail.len(), 2);
    assert!(narrow.forward(&Tensor::ones([2, 8]), &Tensor::from([3i64, 15])).1.item().unwrap().is_finite());
}
