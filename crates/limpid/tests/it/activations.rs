//! Activations: torch's values, its slopes at the kinks, and finite ones far away.

use limpid::prelude::*;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn slopes(f: fn(&Tensor) -> Tensor, at: &[f64]) -> Vec<f64> {
    let x = Tensor::from(at).requires_grad_();
    let found = gradients(&f(&x).sum(..), &[&x]).unwrap().remove(0);
    found.expect("x is used").to_vec().unwrap()
}

fn same(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a == b || (a - b).abs() <= tolerance || (a.is_nan() && b.is_nan()))
}

/// PyTorch 2.9 prints these for −2, −1, −0.5, 0, 0.5, 1 and 4.
#[test]
fn values_are_torchs() {
    let x = Tensor::from([-2.0f64, -1.0, -0.5, 0.0, 0.5, 1.0, 4.0]);
    let rows: &[(&str, Tensor, [f64; 7])] = &[
        ("celu", x.celu(2.0), [-1.2642411, -0.7869387, -0.4423984, 0.0, 0.5, 1.0, 4.0]),
        ("elu", x.elu(0.5), [-0.4323324, -0.3160603, -0.1967347, 0.0, 0.5, 1.0, 4.0]),
        ("selu", x.selu(), [-1.5201665, -1.1113307, -0.6917582, 0.0, 0.5253505, 1.050701, 4.2028039]),
        ("mish", x.mish(), [-0.2525015, -0.3034015, -0.2207438, 0.0, 0.3752452, 0.8650984, 3.9974128]),
        ("hardswish", x.hardswish(), [-0.3333333, -0.3333333, -0.2083333, 0.0, 0.2916667, 0.6666667, 4.0]),
        ("hardsigmoid", x.hardsigmoid(), [0.1666667, 0.3333333, 0.4166667, 0.5, 0.5833333, 0.6666667, 1.0]),
        ("softshrink", x.softshrink(0.5), [-1.5, -0.5, 0.0, 0.0, 0.0, 0.5, 3.5]),
        ("tanhshrink", x.tanhshrink(), [-1.0359724, -0.2384058, -0.0378828, 0.0, 0.0378828, 0.2384058, 3.0006707]),
        ("softsign", x.softsign(), [-0.6666667, -0.5, -0.3333333, 0.0, 0.3333333, 0.5, 0.8]),
        ("softmin", x.softmin(0), [0.5374334, 0.1977107, 0.1199176, 0.0727337, 0.0441152, 0.0267572, 0.0013322]),
        ("softplus", x.softplus_with(2.0, 1.0), [0.009075, 0.063464, 0.1566308, 0.3465736, 0.6566308, 1.0, 4.0]),
        (
            "log_sigmoid",
            x.log_sigmoid(),
            [-2.126928, -1.3132617, -0.974077, -std::f64::consts::LN_2, -0.474077, -0.3132617, -0.0181499],
        ),
    ];
    for (name, y, expected) in rows {
        let found = y.to_vec::<f64>().unwrap();
        assert!(same(&found, expected, 6e-8), "{name}: {found:?}");
    }
}

/// What torch's autograd says where the formulas change, at NaN and at infinity.
#[test]
fn slopes_at_the_kinks_are_torchs() {
    type F = fn(&Tensor) -> Tensor;
    let rows: &[(&str, F, &[f64], &[f64])] = &[
        ("hardtanh", |x| x.hardtanh(-1.0, 1.0), &[-1.0, 1.0, NAN, 0.0], &[0.0, 0.0, 1.0, 1.0]),
        ("relu6", Tensor::relu6, &[0.0, 6.0, NAN, 3.0], &[0.0, 0.0, 1.0, 1.0]),
        ("hardsigmoid", Tensor::hardsigmoid, &[-3.0, 3.0, 0.0], &[0.0, 0.0, 1.0 / 6.0]),
        ("hardswish", Tensor::hardswish, &[-3.0, 3.0, INF], &[0.0, 1.0, 1.0]),
        ("softshrink", |x| x.softshrink(0.5), &[-0.5, 0.5, 0.0, NAN, 1.0], &[0.0, 0.0, 0.0, 1.0, 1.0]),
        ("hardshrink", |x| x.hardshrink(0.5), &[-0.5, 0.5, 0.0, NAN, 1.0], &[0.0, 0.0, 0.0, 1.0, 1.0]),
        ("hardshrink below 0", |x| x.hardshrink(-0.5), &[-0.5, 0.5, 0.0], &[1.0, 1.0, 1.0]),
        ("threshold", |x| x.threshold(0.5, 9.0), &[0.5, 0.6, NAN, -INF], &[0.0, 1.0, 1.0, 0.0]),
        ("elu", |x| x.elu(1.0), &[0.0, NAN, -INF, INF, -800.0, 800.0], &[1.0, 1.0, 0.0, 1.0, 0.0, 1.0]),
        ("elu below 0", |x| x.elu(-1.0), &[0.0, 1.0], &[-1.0, 1.0]),
        ("celu", |x| x.celu(2.0), &[0.0, NAN, -INF, INF], &[1.0, 1.0, 0.0, 1.0]),
        (
            "selu",
            Tensor::selu,
            &[0.0, NAN, -INF, 1e3],
            &[1.7580993408473766, 1.0507009873554805, 0.0, 1.0507009873554805],
        ),
        ("softplus", |x| x.softplus_with(1.0, 20.0), &[0.0, 20.1, NAN, -INF, INF], &[0.5, 1.0, NAN, 0.0, 1.0]),
        ("log_sigmoid", Tensor::log_sigmoid, &[0.0, -INF, INF], &[0.5, 1.0, 0.0]),
        ("mish", Tensor::mish, &[0.0, 100.0, -1e3], &[0.6, 1.0, 0.0]),
        ("softsign", Tensor::softsign, &[0.0], &[1.0]),
        ("leaky_relu", |x| x.leaky_relu(0.01), &[0.0, NAN, -INF], &[0.01, 0.01, 0.01]),
        ("prelu", |x| x.prelu(&Tensor::from([0.25f64])), &[0.0, NAN, -INF, INF], &[0.25, 0.25, 0.25, 1.0]),
    ];
    for (name, f, at, expected) in rows {
        let found = slopes(*f, at);
        assert!(same(&found, expected, 1e-12), "{name} at {at:?}: {found:?}, not {expected:?}");
    }
}

#[test]
fn second_derivatives_of_softplus_are_those_of_the_smooth_function_at_its_edge() {
    let x = Tensor::from([0.0f64, -0.0, 1.0]).requires_grad_();
    for (name, y, sign) in [("softplus", x.softplus(), 1.0), ("log_sigmoid", x.log_sigmoid(), -1.0)] {
        let first = gradients(&y.sum(..), &[&x]).unwrap().remove(0).unwrap();
        let second = gradients(&first.sum(..), &[&x]).unwrap().remove(0).unwrap().to_vec::<f64>().unwrap();
        assert!(same(&second, &[0.25 * sign, 0.25 * sign, 0.19661193324148185 * sign], 1e-12), "{name}: {second:?}");
    }
}

#[test]
fn the_weight_of_prelu_takes_what_lies_below() {
    let x = Tensor::from([[-1.0f64, -2.0, 3.0], [4.0, -5.0, f64::INFINITY]]);
    for (count, expected) in [(1, vec![-8.0]), (3, vec![-1.0, -7.0, 0.0])] {
        let layer = PReLU::new().num_parameters(count).dtype(DType::F64);
        let w = layer.weight.tensor();
        let found = gradients(&x.prelu(&w).sum(..), &[&w]).unwrap().remove(0).unwrap();
        assert_eq!(found.to_vec::<f64>().unwrap(), expected);
    }
    let scalar = Tensor::from(-2.0f32);
    assert_eq!(PReLU::new().forward(&scalar).item().unwrap(), -0.5);
}

#[test]
fn integers_stay_where_torch_keeps_them() {
    let x = Tensor::from([-3i64, 1, 9]);
    assert_eq!(x.relu6().to_vec::<i64>().unwrap(), [0, 1, 6]);
    assert_eq!(x.threshold(1.0, 7.0).dtype(), DType::I64);
    assert_eq!(x.hardtanh(-1.0, 1.0).to_vec::<i64>().unwrap(), [-1, 1, 1]);
}

/// A number of the host is no part of a plan.
#[test]
fn another_slope_is_the_same_plan() {
    let x = Tensor::from([-1.0f32, 2.0]);
    let run = |alpha: f64| {
        let y = x.elu(alpha) + x.softplus_with(alpha, 20.0) + x.hardtanh(-alpha, alpha) + x.dropout(alpha / 10.0);
        y.eval().unwrap();
    };
    run(1.0);
    let before = limpid::stats().plans;
    (2..6).for_each(|i| run(f64::from(i)));
    assert_eq!(limpid::stats().plans, before);
}

#[test]
fn layers_print_as_torchs() {
    let model = Sequential::new()
        .add(CELU)
        .add(GLU::new(-1))
        .add(Hardshrink)
        .add(Hardtanh::new().max_val(2.5))
        .add(LogSigmoid)
        .add(PReLU::new().num_parameters(3))
        .add(RReLU::new())
        .add(Softmax2d::new())
        .add(Softmin::new(1))
        .add(Softplus)
        .add(Softshrink::new().lambd(1e-5))
        .add(Threshold::new(0.1, 20.0))
        .add(LeakyReLU::new(1.0))
        .add(AlphaDropout::new(0.5))
        .add(Dropout1d::new(0.2));
    let printed = "\
Sequential(
  (0): CELU(alpha=1.0)
  (1): GLU(dim=-1)
  (2): Hardshrink(0.5)
  (3): Hardtanh(min_val=-1.0, max_val=2.5)
  (4): LogSigmoid()
  (5): PReLU(num_parameters=3)
  (6): RReLU(lower=0.125, upper=0.3333333333333333)
  (7): Softmax2d()
  (8): Softmin(dim=1)
  (9): Softplus(beta=1.0, threshold=20.0)
  (10): Softshrink(1e-05)
  (11): Threshold(threshold=0.1, value=20.0)
  (12): LeakyReLU(negative_slope=1.0)
  (13): AlphaDropout(p=0.5, inplace=False)
  (14): Dropout1d(p=0.2, inplace=False)
)";
    assert_eq!(model.describe(), printed);
}

/// The largest of logits and Gumbel noise is a sample of their softmax (Gumbel 1954).
#[test]
fn gumbel_samples_follow_the_softmax() {
    manual_seed(3);
    let logits = Tensor::from([0.0f64, 1.0, -1.0, 2.0]);
    let (n, p) = (20_000.0, logits.softmax(-1).to_vec::<f64>().unwrap());
    let rows = logits.expand([20_000, 4]);
    let counts = rows.gumbel_softmax(0.7, true, -1).sum(0).to_vec::<f64>().unwrap();
    for (count, p) in counts.iter().zip(&p) {
        let error = (n * p * (1.0 - p)).sqrt();
        assert!((count - n * p).abs() < 5.0 * error, "{counts:?} of {p:?}");
    }
    let columns = rows.narrow(0, 0, 5).gumbel_softmax(1.0, true, 0).sum(0).to_vec::<f64>().unwrap();
    assert!(same(&columns, &[1.0; 4], 1e-12));
}

#[test]
fn hard_gumbel_samples_have_the_gradient_of_soft_ones() {
    let w = Tensor::from([1.0f64, 2.0, 3.0]);
    let run = |hard: bool| {
        manual_seed(5);
        let x = Tensor::from([0.5f64, 0.1, -0.4]).requires_grad_();
        let y = x.gumbel_softmax(0.5, hard, -1);
        let g = gradients(&(&y * &w).sum(..), &[&x]).unwrap().remove(0).unwrap();
        (y.to_vec::<f64>().unwrap(), g.to_vec::<f64>().unwrap())
    };
    let ((hard, a), (soft, b)) = (run(true), run(false));
    assert_eq!(a, b);
    let top = soft.iter().copied().fold(0.0, f64::max);
    let expected: Vec<f64> = soft.iter().map(|&s| f64::from(u8::from(s == top))).collect();
    assert!(same(&hard, &expected, 1e-12), "{hard:?} of {soft:?}");
}
