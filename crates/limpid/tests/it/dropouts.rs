//! Dropouts: what is dropped together, moments, masks of the gradient, seeds, modes.

use limpid::prelude::*;

/// y and the gradient of its sum, at all ones.
fn drawn(seed: u64, shape: &[usize], f: impl Fn(&Tensor) -> Tensor) -> (Vec<f64>, Vec<f64>) {
    manual_seed(seed);
    let x = Tensor::ones(shape).to_dtype(DType::F64).requires_grad_();
    let y = f(&x);
    let slope = gradients(&y.sum(..), &[&x]).unwrap().remove(0).unwrap();
    (y.to_vec().unwrap(), slope.to_vec().unwrap())
}

#[test]
fn the_gradient_has_the_mask_of_the_result() {
    for p in [0.1, 0.5, 0.9] {
        let (y, slope) = drawn(4, &[40, 30], |x| x.dropout(p));
        assert_eq!(y, slope);
        let zeros = y.iter().filter(|y| **y == 0.0).count() as f64;
        let error = (1200.0 * p * (1.0 - p)).sqrt();
        assert!((zeros - 1200.0 * p).abs() < 5.0 * error, "{zeros} zeros at {p}");
        assert!(y.iter().all(|y| *y == 0.0 || (y - 1.0 / (1.0 - p)).abs() < 1e-12));
    }
}

#[test]
fn channels_are_dropped_as_a_whole() {
    type F = fn(&Tensor) -> Tensor;
    let rows: &[(&str, F, &[usize], usize)] = &[
        ("1d, batch", |x| x.dropout1d(0.5), &[50, 20, 7], 7),
        ("1d", |x| x.dropout1d(0.5), &[1000, 7], 7),
        ("2d", |x| x.dropout2d(0.5), &[50, 20, 3, 2], 6),
        ("2d of three axes", |x| x.dropout2d(0.5), &[50, 20, 3], 3),
        ("3d, batch", |x| x.dropout3d(0.5), &[50, 20, 2, 1, 3], 6),
        ("3d", |x| x.dropout3d(0.5), &[1000, 2, 1, 3], 6),
        ("alpha", |x| x.feature_alpha_dropout(0.5), &[50, 20, 3, 2], 6),
    ];
    for (name, f, shape, together) in rows {
        let (y, slope) = drawn(1, shape, f);
        assert!(y.chunks(*together).all(|channel| channel.iter().all(|y| *y == channel[0])), "{name}");
        let kept = slope.chunks(*together).filter(|channel| channel[0] != 0.0).count();
        assert!((kept as f64 - 500.0).abs() < 5.0 * 250f64.sqrt(), "{name}: {kept} of 1000 are kept");
    }
}

#[test]
fn alpha_dropout_keeps_mean_and_variance() {
    manual_seed(8);
    let x = Tensor::randn([300, 200]);
    for p in [0.05, 0.3, 0.8] {
        let y = x.alpha_dropout(p);
        let (mean, variance) = (y.mean(..).item().unwrap(), y.var(.., 1.0).item().unwrap());
        // Of 60 000 values: the deviation of the mean is 0.004.
        assert!(mean.abs() < 0.025 && (variance - 1.0).abs() < 0.06, "{mean} and {variance} at {p}");
    }
    // −λα·a + b where dropped, as torch prints it for p = 0.5.
    let low = drawn(2, &[64], |x| x.alpha_dropout(0.5)).0.into_iter().fold(f64::INFINITY, f64::min);
    assert!((low + 0.7791939).abs() < 1e-6, "{low}");
}

#[test]
fn a_seed_names_the_draw() {
    type F = fn(&Tensor) -> Tensor;
    let all: &[F] = &[
        |x| x.dropout(0.5),
        |x| x.dropout2d(0.5),
        |x| x.alpha_dropout(0.5),
        |x| (x - 2.0).rrelu(0.1, 0.3),
        |x| x.gumbel_softmax(1.0, false, -1),
    ];
    for (i, f) in all.iter().enumerate() {
        assert_eq!(drawn(1, &[8, 9, 2], f), drawn(1, &[8, 9, 2], f), "{i}");
        assert_ne!(drawn(1, &[8, 9, 2], f), drawn(2, &[8, 9, 2], f), "{i}");
    }
    let (a, b) = (Tensor::ones([99]).dropout(0.5), Tensor::ones([99]).dropout(0.5));
    assert_ne!(a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap(), "each call draws");
}

#[test]
fn layers_drop_in_training_only_and_never_at_0() {
    let x = Tensor::ones([6, 5, 4, 3, 2]);
    let layers: Vec<Box<dyn Fn(f64) -> Box<dyn Forward>>> = vec![
        Box::new(|p| Box::new(Dropout::new(p))),
        Box::new(|p| Box::new(Dropout2d::new(p))),
        Box::new(|p| Box::new(Dropout3d::new(p))),
        Box::new(|p| Box::new(AlphaDropout::new(p))),
        Box::new(|p| Box::new(FeatureAlphaDropout::new(p))),
    ];
    let read = |y: Tensor| y.to_vec::<f32>().unwrap();
    for make in &layers {
        let layer = make(0.5);
        assert_ne!(read(layer.forward(&x)), read(x.clone()), "{}", layer.kind());
        layer.eval();
        assert_eq!(read(layer.forward(&x)), read(x.clone()), "{}", layer.kind());
        assert_eq!(read(make(0.0).forward(&x)), read(x.clone()), "{}", layer.kind());
        assert!(read(make(1.0).forward(&x)).iter().all(|y| *y == 0.0), "{}", layer.kind());
    }
    let leaky = RReLU::new().lower(0.1).upper(0.3);
    leaky.eval();
    assert!((leaky.forward(&Tensor::from([-1.0f64])).item().unwrap() + 0.2).abs() < 1e-12);
}

#[test]
fn stochastic_depth_drops_rows_or_the_batch_and_scales_the_rest() {
    use limpid::nn::{StochasticDepth, StochasticDepthMode};
    let rows = StochasticDepth::new(0.25, StochasticDepthMode::Row);
    let (y, slope) = drawn(3, &[2000, 3], |x| rows.forward(x));
    assert_eq!(y, slope);
    assert!(y.chunks(3).all(|row| row.iter().all(|y| *y == row[0])));
    let kept = y.iter().step_by(3).filter(|y| **y != 0.0).count();
    assert!((kept as f64 - 1500.0).abs() < 5.0 * 375f64.sqrt(), "{kept} of 2000 rows are kept");
    assert!(y.iter().all(|y| *y == 0.0 || (y - 4.0 / 3.0).abs() < 1e-12));
    // A batch is kept or dropped by one draw, and a draw is the seed's.
    let batch = StochasticDepth::new(0.5, StochasticDepthMode::Batch);
    let of = |seed| drawn(seed, &[5, 2], |x| batch.forward(x)).0;
    let kept: Vec<bool> = (0..100).map(|seed| of(seed)[0] != 0.0).collect();
    assert!((0..100).all(|seed| of(seed).iter().all(|y| (*y != 0.0) == kept[seed as usize])));
    assert!((20..80).contains(&kept.iter().filter(|kept| **kept).count()));
    batch.eval();
    assert_eq!(of(0), [1.0; 10]);
    let error = StochasticDepth::new(1.5, StochasticDepthMode::Row).forward(&Tensor::ones([2])).to_vec::<f32>();
    assert!(error.unwrap_err().to_string().contains("the probability is 1.5"));
}
