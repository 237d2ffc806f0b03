//! Slopes of losses where their formulas have edges.

use limpid::prelude::*;

fn slope(loss: fn(&Tensor, &Tensor) -> Tensor, x: f32, y: f32) -> f32 {
    let x = Parameter::new(&Tensor::from([x]));
    let leaf = x.tensor();
    let found = gradients(&loss(&leaf, &Tensor::from([y])), &[&leaf]).unwrap();
    found[0].as_ref().unwrap().to_vec::<f32>().unwrap()[0]
}

#[test]
fn logits_of_zero_have_the_slope_of_the_sigmoid() {
    // torch: F.binary_cross_entropy_with_logits(x, y) has the gradient sigmoid(x) − y
    for (x, y) in [(0.0f32, 0.0f32), (0.0, 1.0), (-0.0, 0.25), (2.0, 0.0), (-100.0, 1.0), (100.0, 0.0)] {
        let expected = 1.0 / (1.0 + (-x).exp()) - y;
        let found = slope(binary_cross_entropy_with_logits, x, y);
        assert!((found - expected).abs() < 1e-6, "x {x}, y {y}: {found}, not {expected}");
    }
}

#[test]
fn probabilities_of_zero_and_one_have_finite_slopes_and_losses() {
    for (p, y, loss) in [(0.0f32, 0.0f32, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 100.0), (1.0, 0.0, 100.0)] {
        assert!(slope(binary_cross_entropy, p, y).is_finite(), "p {p}, y {y}");
        assert_eq!(binary_cross_entropy(&Tensor::from([p]), &Tensor::from([y])).item().unwrap(), loss);
    }
    assert!((slope(binary_cross_entropy, 0.25, 1.0) + 4.0).abs() < 1e-5);
}

/// torch: the gradient is (p − t) / max(p·(1 − p), 1e-12), and logarithms are at least −100.
#[test]
fn saturated_probabilities_have_the_slopes_and_losses_of_torch() {
    for (p, t, expected) in [
        (0.0f32, 0.0f32, 0.0f32),
        (0.0, 1.0, -1e12),
        (0.0, 0.25, -2.5e11),
        (1.0, 1.0, 0.0),
        (1.0, 0.0, 1e12),
        (1.0, 0.25, 7.5e11),
        (1e-20, 1.0, -1e12),
        (1e-20, 0.0, 1e-8),
        (0.5, 1.0, -2.0),
        (0.25, 0.0, 4.0 / 3.0),
    ] {
        let found = slope(binary_cross_entropy, p, t);
        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "p {p}, t {t}: {found}, not {expected}");
    }
    // −log 1e-20 = 46.05; −log 1e-45 = 103.28, which is cut; log(1 − p) keeps small p.
    for (p, t, expected) in [(1e-20f32, 1.0f32, 46.0517), (1e-45, 1.0, 100.0), (0.0, 0.25, 25.0), (1e-10, 0.0, 1e-10)] {
        let found = binary_cross_entropy(&Tensor::from([p]), &Tensor::from([t])).item().unwrap();
        assert!((found - expected).abs() <= 1e-6 * expected, "p {p}, t {t}: {found}, not {expected}");
    }
    // By the target: log(1 − p) − log p.
    let t = Parameter::new(&Tensor::from([0.5f32, 0.5])).tensor();
    let loss = BCELoss::new().reduction(Reduction::Sum).forward(&Tensor::from([0.0f32, 0.25]), &t);
    let by_target = gradients(&loss, &[&t]).unwrap().remove(0).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(by_target[0], 100.0);
    assert!((by_target[1] - 3f32.ln()).abs() < 1e-6, "{by_target:?}");
}

#[test]
fn factors_of_classes_stand_in_the_state_and_one_row_needs_no_batch() {
    let weight = Tensor::from([1.0f32, 2.0, 0.5]);
    let nll = NLLLoss::new().weight(&weight);
    // torch: every weight of a loss is a buffer.
    let names = |state: StateDict| state.names().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(nll.state_dict()), ["weight"]);
    assert_eq!(names(CrossEntropyLoss::new().weight(&weight).state_dict()), ["weight"]);
    let bce = BCEWithLogitsLoss::new().weight(&weight).pos_weight(&weight);
    assert_eq!(names(bce.state_dict()), ["weight", "pos_weight"]);
    let (row, class) = (Tensor::from([-1.0f32, -2.0, -3.0]), Tensor::from(1i64));
    // The weighted mean over one row is that row's loss: 2·2 / 2.
    assert_eq!(nll.forward(&row, &class).item().unwrap(), 2.0);
    let each = NLLLoss::new().weight(&weight).reduction(Reduction::None).forward(&row, &class);
    assert_eq!((each.rank(), each.item().unwrap()), (0, 4.0));
}

#[test]
fn gradients_reach_the_factors_of_classes() {
    let weight = Parameter::new(&Tensor::from([3.0f64, 1.0]));
    let (logits, target) = (Tensor::from([[0.0f64, 0.0]]), Tensor::from([[1.0f64, 0.0]]));
    let leaf = weight.tensor();
    // The loss is w₀·log 2.
    let loss = CrossEntropyLoss::new().weighted(&logits, &target, Some(&leaf));
    let slope = gradients(&loss, &[&leaf]).unwrap()[0].as_ref().unwrap().to_vec::<f64>().unwrap();
    assert!((slope[0] - 2f64.ln()).abs() < 1e-12 && slope[1] == 0.0, "{slope:?}");
}

#[derive(Module)]
struct One {
    p: Parameter,
}

#[test]
fn a_step_on_forbidden_values_changes_nothing() {
    let one = One { p: Parameter::new(&Tensor::from([0.5f32, 0.25])) };
    let (p, x) = (&one.p, Tensor::from([1.0f32, 5.0]));
    let mut sgd = SGD::new(&one).lr(0.1).momentum(0.9);
    let error = sgd.step(&binary_cross_entropy(&(p.tensor() * x), &Tensor::ones([2]))).unwrap_err();
    assert!(error.what().contains("element [1] is 1.25"), "{error}");
    assert_eq!(p.value().unwrap().to_vec::<f32>().unwrap(), [0.5, 0.25]);
    // Its slopes are refused too, where nobody asks for the loss.
    let leaf = p.tensor();
    let loss = binary_cross_entropy(&(&leaf * 5.0), &Tensor::ones([2]));
    assert!(gradients(&loss, &[&leaf]).and_then(|mut g| g.remove(0).expect("it is used").eval()).is_err());
}
