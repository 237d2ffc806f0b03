//! `torch.nn.utils` and `torch.nn.init`. Numbers are those that PyTorch 2.15 printed.

use limpid::nn::init;
use limpid::nn::utils::{fuse_conv_bn_eval, fuse_linear_bn_eval, parameters_to_vector, vector_to_parameters};
use limpid::prelude::*;

/// cos(k·i + 0.3)·2 + 0.5, as the Python lines beside the tests compute it.
fn data(shape: impl Into<Shape>, k: f64) -> Tensor {
    let shape = shape.into();
    let values: Vec<f64> = (0..shape.elements()).map(|i| (i as f64 * k + 0.3).cos() * 2.0 + 0.5).collect();
    Tensor::from_vec(values, shape)
}

/// for i, p in enumerate(m.parameters()): p.data = data(p.shape, 0.7 + 0.1 * i)
fn fill(m: &dyn Module) {
    for (i, p) in m.parameters().iter().enumerate() {
        p.set(&data(p.shape(), 0.7 + 0.1 * i as f64)).unwrap();
    }
}

fn doubles(t: &Tensor) -> Vec<f64> {
    t.to_vec::<f64>().unwrap()
}

#[track_caller]
fn near(ours: &Tensor, theirs: &[f64]) {
    let ours = doubles(ours);
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9 * (1.0 + b.abs());
    assert!(ours.len() >= theirs.len() && ours.iter().zip(theirs).all(close), "{ours:?}\n{theirs:?}");
}

/// (m(x)**2).sum().backward(); clip_grad_norm_(m.parameters(), 1.5, norm_type)
#[test]
fn gradients_are_clipped_by_any_norm() {
    let m = Linear::new(3, 2).dtype(DType::F64);
    fill(&m);
    let rows = [
        (1.0, 201.65417531661805, 0.4238372990070598, 0.12213212262106489),
        (2.0, 85.0178701053525, 1.0053011244849663, 0.28968559514307207),
        (3.0, 67.89768294499363, 1.2587846367892308, 0.36272890558245596),
        (f64::INFINITY, 56.97904094901919, 1.499999973674531, 0.43223704271803703),
        (-1.0, 1.7767903668830094, 48.102755909639875, 13.861195550581861),
        (0.5, 1436.4594844211504, 0.059499458419093924, 0.01714524693450042),
    ];
    for (norm_type, norm, weight, bias) in rows {
        let g = m.forward(&data([2, 3], 0.7)).square().sum(..).gradients(&m).unwrap();
        near(&g.total_norm(norm_type), &[norm]);
        let clipped = g.clip_norm_with(1.5, &ClipNorm::new().norm_type(norm_type));
        near(clipped.get("weight").unwrap(), &[weight]);
        near(clipped.get("bias").unwrap(), &[bias]);
    }
}

#[test]
fn a_norm_that_is_not_finite_stops_the_step_where_that_is_asked() {
    let m = Linear::new(2, 1);
    let mut sgd = SGD::new(&m).lr(0.1);
    let before = m.weight.value().unwrap().to_bytes().unwrap();
    let loss = || m.forward(&Tensor::from([[f32::INFINITY, 1.0]])).sum(..);
    let g = loss().gradients(&m).unwrap().clip_norm_with(1.0, &ClipNorm::new().error_if_nonfinite(true));
    let error = sgd.apply(g).and_then(|()| m.weight.value()).unwrap_err().to_string();
    assert!(error.contains("the norm of the gradients"), "{error}");
    assert_eq!(m.weight.value().unwrap().to_bytes().unwrap(), before);
    // Without it the gradients become NaN, as in torch.
    let g = loss().gradients(&m).unwrap().clip_norm(1.0);
    assert!(g.get("weight").unwrap().to_vec::<f32>().unwrap()[0].is_nan());
    // No gradient at all has the norm 0.
    assert_eq!(Gradients::default().total_norm(2.0).item().unwrap(), 0.0);
}

fn filled_norm<const N: usize>(bn: ChannelNorm<N, false>) -> ChannelNorm<N, false> {
    let bn = bn.dtype(DType::F64);
    fill(&bn);
    let n = bn.num_features();
    bn.running_mean.as_ref().unwrap().set(&data([n], 0.9)).unwrap();
    bn.running_var.as_ref().unwrap().set(&(data([n], 1.1).abs() + 0.1)).unwrap();
    bn.eval();
    bn
}

/// fuse_conv_bn_eval(ConvTranspose2d(2, 4, 2, stride=2), bn, transpose=True); fuse_linear_bn_eval(Linear(3, 2), bn)
#[test]
fn a_layer_takes_in_the_batch_norm_behind_it() {
    let conv = ConvTranspose2d::new(2, 4, 2).stride(2).dtype(DType::F64);
    fill(&conv);
    conv.eval();
    let bn = filled_norm(BatchNorm2d::new(4));
    let fused = fuse_conv_bn_eval(&conv, &bn).unwrap();
    let weight = [3.6675889917678566, 2.404726035692673, 0.3686510804432278, -1.4830380079778918, -2.442656281722822];
    near(&fused.weight.value().unwrap(), &weight);
    let bias = [2.410672978251212, 1.7046872543728713, -0.06633577200578974, -1.450042948934164];
    near(&fused.bias.as_ref().unwrap().value().unwrap(), &bias);
    let x = data([2, 2, 3, 3], 0.6);
    near(&fused.forward(&x), &doubles(&bn.forward(&conv.forward(&x))));

    let linear = Linear::new(3, 2).dtype(DType::F64);
    fill(&linear);
    linear.eval();
    let fused = fuse_linear_bn_eval(&linear, &filled_norm(BatchNorm1d::new(2))).unwrap();
    near(&fused.weight.value().unwrap(), &[3.6675889917678566, 2.404726035692673, 0.3686510804432278]);
    near(&fused.bias.as_ref().unwrap().value().unwrap(), &[2.410672978251212, 1.7046872543728713]);
}

#[test]
fn fusing_holds_in_groups_and_without_bias_and_refuses_what_does_not_fit() {
    let bn = filled_norm(BatchNorm2d::new(4));
    let x = data([2, 4, 5, 5], 0.6);
    let conv = Conv2d::new(4, 4, 3).groups(2).bias(false).dtype(DType::F64);
    conv.eval();
    near(&fuse_conv_bn_eval(&conv, &bn).unwrap().forward(&x), &doubles(&bn.forward(&conv.forward(&x))));
    let conv = ConvTranspose2d::new(4, 4, 3).groups(2).dtype(DType::F64);
    conv.eval();
    near(&fuse_conv_bn_eval(&conv, &bn).unwrap().forward(&x), &doubles(&bn.forward(&conv.forward(&x))));
    conv.train();
    assert!(fuse_conv_bn_eval(&conv, &bn).unwrap_err().what().contains("trains"));
    let conv = Conv2d::new(4, 6, 3).dtype(DType::F64);
    conv.eval();
    assert!(fuse_conv_bn_eval(&conv, &bn).unwrap_err().what().contains("4 channels"));
    let untracked = BatchNorm2d::new(6).track_running_stats(false);
    untracked.eval();
    assert!(fuse_conv_bn_eval(&conv, &untracked).unwrap_err().what().contains("running statistics"));
}

#[test]
fn parameters_are_one_vector() {
    let m = Linear::new(2, 2).dtype(DType::F64);
    let vector = data([6], 0.4);
    vector_to_parameters(&vector, &m.parameters()).unwrap();
    near(&parameters_to_vector(&m.parameters()), &doubles(&vector));
    let error = vector_to_parameters(&data([5], 0.4), &m.parameters()).unwrap_err().to_string();
    assert!(error.contains("[5]") && error.contains("6"), "{error}");
    let g = parameters_to_vector(&m.parameters()).square().sum(..).gradients(&m).unwrap();
    near(g.get("bias").unwrap(), &doubles(&(vector.narrow(0, 4, 2) * 2.0)));
}

/// Mean and deviation of N(0, 1) within [a, b], by Φ and φ.
#[test]
fn a_cut_normal_has_the_moments_of_the_formula_also_far_out() {
    // φ(a), φ(b) and Φ(b) − Φ(a) of the tables: [1, 2]; and of the tail [4, 9], φ(4) = 1.3383022576e-4,
    // 1 − Φ(4) = 3.1671241833e-5.
    let rows = [
        (1.0, 2.0, (0.24197072451914337 - 0.05399096651318806) / 0.13590512198327787),
        (4.0, 9.0, 1.3383022576488537e-4 / 3.167124183311998e-5),
    ];
    manual_seed(5);
    for (a, b, mean) in rows {
        let p = Parameter::new(&Tensor::zeros_of([200, 200], DType::F64));
        init::trunc_normal_(&p, 0.0, 1.0, a, b).unwrap();
        let values = p.value().unwrap();
        assert!(values.amin(..).item().unwrap() >= a && values.amax(..).item().unwrap() <= b);
        let spread = values.std(.., 1.0).item().unwrap() / 200.0;
        assert!((values.mean(..).item().unwrap() - mean).abs() < 4.0 * spread, "{a} {b}");
    }
    let p = Parameter::new(&Tensor::zeros([3]));
    assert!(init::trunc_normal_(&p, 0.0, 1.0, 2.0, 1.0).is_err());
    assert!(init::trunc_normal_(&p, 0.0, 0.0, -1.0, 1.0).is_err());
    init::trunc_normal_(&p, 0.0, 1e-9, 5.0, 7.0).unwrap();
    assert!(p.value().unwrap().to_vec::<f32>().unwrap().iter().all(|x| (x - 5.0).abs() < 1e-6), "the nearest end");
}

#[test]
fn initial_matrices_have_their_structure() {
    manual_seed(9);
    let made = |shape: &[usize], f: &dyn Fn(&Parameter) -> limpid::Result<()>| {
        let p = Parameter::new(&Tensor::zeros_of(shape, DType::F64));
        f(&p).unwrap();
        p.value().unwrap()
    };
    near(&made(&[2, 3], &init::eye_), &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    // torch.nn.init.dirac_(torch.empty(4, 1, 3), 2).nonzero(): (0, 0, 1), (2, 0, 1)
    let dirac = made(&[4, 1, 3], &|p| init::dirac_(p, 2));
    near(&dirac, &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    for shape in [&[4, 4][..], &[6, 3], &[2, 3, 2]] {
        let q = made(shape, &|p| init::orthogonal_(p, 2.0)).flatten(1);
        let q = if q.size(0) > q.size(1) { q.t() } else { q };
        let off = q.matmul(&q.t()) / 4.0 - Tensor::eye(q.size(0)).to_dtype(DType::F64);
        assert!(off.abs().amax(..).item().unwrap() < 1e-12, "{shape:?}");
    }
    // Signs are as likely on the diagonal of many: no reflection is preferred.
    let sum: f64 = (0..400).map(|_| doubles(&made(&[1, 1], &|p| init::orthogonal_(p, 1.0)))[0]).sum();
    assert!(sum.abs() < 100.0, "{sum}");
    let sparse = made(&[10, 7], &|p| init::sparse_(p, 0.25, 0.5));
    assert_eq!(doubles(&sparse.eq(0.0).to_dtype(DType::F64).sum(0)), [3.0; 7]);
    let std = made(&[200, 200], &|p| init::sparse_(p, 0.0, 0.5)).std(.., 1.0).item().unwrap();
    assert!((std - 0.5).abs() < 0.01, "{std}");
}

#[test]
fn lazy_norms_take_their_channels_from_the_input_or_a_state() {
    let model = Sequential::new().add(LazyBatchNorm2d::new().momentum(0.3)).add(LazyInstanceNorm2d::new().affine(true));
    assert_eq!(model[0].kind(), "LazyBatchNorm2d");
    assert_eq!(*model.forward(&Tensor::randn([2, 3, 4, 4])).shape(), Shape::from([2, 3, 4, 4]));
    let expected = "BatchNorm2d(3, eps=1e-05, momentum=0.3, affine=True, bias=True, track_running_stats=True)";
    assert_eq!(model[0].describe(), expected);
    let other = Sequential::new().add(LazyBatchNorm2d::new()).add(LazyInstanceNorm2d::new().affine(true));
    assert!(other.load_state_dict(&model.state_dict(), true).unwrap().is_clean());
    assert_eq!(other.num_parameters(), 12);
    let norm = LazyInstanceNorm1d::new().affine(true);
    assert_eq!(*norm.forward(&Tensor::randn([3, 8])).shape(), Shape::from([3, 8]));
    assert_eq!(norm.num_parameters(), 6, "one sample [channels, length] has its channels first");
}
