//! Normalisations: statistics that run on, modes, shapes, what is printed. Numbers are those that PyTorch 2.15 printed.

use limpid::prelude::*;

/// cos(k·i + 0.3)·2 + 0.5, as the Python lines beside the tests compute it.
fn data(shape: &[usize], k: f64) -> Tensor {
    let n = shape.iter().product::<usize>();
    let values: Vec<f64> = (0..n).map(|i| (i as f64 * k + 0.3).cos() * 2.0 + 0.5).collect();
    Tensor::from_vec(values, shape)
}

fn near(ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() < 1e-12, "{ours:?}\n{theirs:?}");
    }
}

fn doubles(t: &Tensor) -> Vec<f64> {
    t.to_vec::<f64>().unwrap()
}

fn held(buffer: &Option<Buffer>) -> Vec<f64> {
    doubles(&buffer.as_ref().unwrap().value().unwrap())
}

/// m = BatchNorm1d(2, momentum=None).double(); for i in range(3): y = m(data((3, 2), 0.7 + i))
#[test]
fn without_momentum_the_running_statistics_are_means_over_all_batches() {
    let norm = BatchNorm1d::new(2).momentum(None).dtype(DType::F64);
    let y = (0..3).map(|i| norm.forward(&data(&[3, 2], 0.7 + f64::from(i)))).last().unwrap();
    near(&held(&norm.running_mean), &[1.0585389487211714, -0.11312719311594943]);
    near(&held(&norm.running_var), &[2.8222329561903647, 2.099326849755086]);
    assert_eq!(norm.num_batches_tracked.as_ref().unwrap().value().unwrap().item_i64().unwrap(), 3);
    let theirs = [0.8614044959595972, -1.092548859593905, 0.5406165457300323];
    near(&doubles(&y)[..3], &theirs);
}

/// m = BatchNorm2d(2, momentum=0.3).double(); m(data((2, 2, 2, 1))); m.eval(); m(data((1, 2, 1, 2)))
#[test]
fn evaluation_uses_what_training_kept() {
    let norm = BatchNorm2d::new(2).momentum(0.3).dtype(DType::F64);
    // Nobody reads this result: the statistics move on nevertheless, once.
    let _unread = norm.forward(&data(&[2, 2, 2, 1], 0.7));
    norm.eval();
    let y = norm.forward(&data(&[1, 2, 1, 2], 0.7));
    near(&doubles(&y), &[1.707179697957283, 1.0923542559051085, 0.18426259490121455, -1.0373040082420342]);
    near(&held(&norm.running_mean), &[0.10583038992090742, 0.0587223993049239]);
    near(&held(&norm.running_var), &[1.8227272349067614, 0.99268791924895]);
    assert_eq!(norm.num_batches_tracked.as_ref().unwrap().value().unwrap().item_i64().unwrap(), 1);
    norm.reset_running_stats().unwrap();
    assert_eq!((held(&norm.running_mean), held(&norm.running_var)), (vec![0.0; 2], vec![1.0; 2]));
}

/// m = InstanceNorm1d(2, track_running_stats=True, affine=True, momentum=0.4).double(); m(data((2, 2, 3))); m.eval();
/// m(data((2, 3)))
#[test]
fn an_instance_norm_tracks_means_over_the_batch() {
    let norm = InstanceNorm1d::new(2).track_running_stats(true).affine(true).momentum(0.4).dtype(DType::F64);
    let y = norm.forward(&data(&[2, 2, 3], 0.7));
    near(&doubles(&y)[..3], &[1.1188541403708943, 0.18964252754717126, -1.3084966679180656]);
    near(&held(&norm.running_mean), &[0.5402658137749137, 0.04044179970694417]);
    near(&held(&norm.running_var), &[1.1017651694474708, 0.859502180781091]);
    // Torch's instance norms do not count.
    assert_eq!(held(&norm.num_batches_tracked), [0.0]);
    norm.eval();
    let y = norm.forward(&data(&[2, 3], 0.7));
    let theirs = [
        1.7819260100552359,
        0.9911247126109093,
        -0.28385980456048704,
        -1.0950604544610392,
        -1.65970671518005,
        -1.2106338895759454,
    ];
    near(&doubles(&y), &theirs);
}

#[test]
fn a_step_trains_and_moves_the_statistics_once() {
    let model = Sequential::new().add(Linear::new(2, 3)).add(BatchNorm1d::new(3)).add(ReLU).add(Linear::new(3, 1));
    let mut sgd = SGD::new(&model).lr(0.1);
    let x = data(&[6, 2], 0.9).to_dtype(DType::F32);
    for _ in 0..4 {
        sgd.step(&model.forward(&x).square().mean(..)).unwrap();
    }
    let state = model.state_dict();
    let names: Vec<_> = state.names().filter(|name| name.starts_with("1.")).collect();
    let theirs = ["1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"];
    assert_eq!(names, theirs);
    assert_eq!(state.get("1.num_batches_tracked").unwrap().item_i64().unwrap(), 4);
    model.eval();
    model.forward(&x).eval().unwrap();
    assert_eq!(model.state_dict().get("1.num_batches_tracked").unwrap().item_i64().unwrap(), 4);
}

#[test]
fn one_plan_serves_every_momentum_and_every_batch() {
    let norms = [0.1, 0.2, 0.3].map(|m| BatchNorm1d::new(3).momentum(m));
    norms[0].forward(&data(&[4, 3], 0.7).to_dtype(DType::F32)).eval().unwrap();
    let before = limpid::stats().plans;
    for (i, norm) in norms.iter().enumerate() {
        norm.forward(&data(&[4, 3], 0.1 + i as f64).to_dtype(DType::F32)).eval().unwrap();
    }
    assert_eq!(limpid::stats().plans, before);
}

#[test]
fn an_empty_batch_and_one_without_statistics() {
    let norm = BatchNorm1d::new(3);
    let y = norm.forward(&Tensor::zeros([0, 3]));
    assert_eq!((y.shape().clone(), y.to_vec::<f32>().unwrap()), (Shape::from([0, 3]), vec![]));
    assert_eq!(held(&norm.running_var), [1.0; 3], "a batch of none moves nothing");
    let norm = BatchNorm1d::new(1).track_running_stats(false).affine(false).eps(1e-12).dtype(DType::F64);
    norm.eval();
    assert!(norm.state_dict().is_empty());
    near(&doubles(&norm.forward(&Tensor::from([[1.0f64], [3.0]]))), &[-1.0, 1.0]);
    // A batch that is refused changes nothing.
    let norm = BatchNorm1d::new(2);
    assert!(norm.forward(&Tensor::zeros([1, 2])).eval().is_err());
    assert_eq!(held(&norm.num_batches_tracked), [0.0]);
}

/// rms_norm(torch.tensor([[1e-3, 2e-3]], dtype=d), [2])
#[test]
fn the_eps_of_an_rms_norm_is_that_of_the_type() {
    let y = |d| RMSNorm::new(2).dtype(d).forward(&Tensor::from([[1e-3f64, 2e-3]]).to_dtype(d)).to_vec::<f64>().unwrap();
    near(&y(DType::F64), &[0.6324555320055891, 1.2649110640111783]);
    for (dtype, theirs) in [(DType::F32, 0.6178953051567078), (DType::F16, 0.61767578125), (DType::BF16, 0.6171875)] {
        assert!((y(dtype)[0] - theirs).abs() < 1e-7, "{dtype}");
    }
}

/// CrossMapLRN2d(n, alpha=0.5, beta=0.5, k=2.)(data((1, 5, 1, 1)).float())
#[test]
fn a_cross_map_norm_of_an_even_size_has_one_channel_less() {
    let norm = |n| CrossMapLRN2d::new(n).alpha(0.5).beta(0.5).k(2.0).forward(&data(&[1, 5, 1, 1], 0.7));
    let rows = [
        (4, [1.3829097747802734, 0.9056387543678284, 0.1362067013978958, -0.550706684589386, -0.8474417328834534]),
        (3, [1.3102755546569824, 0.857868492603302, 0.12854927778244019, -0.5202402472496033, -0.8007377982139587]),
    ];
    for (n, theirs) in rows {
        let ours = doubles(&norm(n));
        assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-6), "{n}: {ours:?}");
    }
}

#[test]
fn they_print_as_torch_does() {
    let printed = [
        (
            BatchNorm2d::new(3).momentum(None).bias(false).describe(),
            "BatchNorm2d(3, eps=1e-05, momentum=None, affine=True, bias=False, track_running_stats=True)",
        ),
        (
            InstanceNorm1d::new(3).describe(),
            "InstanceNorm1d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)",
        ),
        (GroupNorm::new(2, 4).describe(), "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)"),
        (RMSNorm::new([2, 3]).describe(), "RMSNorm((2, 3), eps=None, elementwise_affine=True)"),
        (RMSNorm::new(4).eps(1e-6).describe(), "RMSNorm((4,), eps=1e-06, elementwise_affine=True)"),
        (LocalResponseNorm::new(2).describe(), "LocalResponseNorm(2, alpha=0.0001, beta=0.75, k=1.0)"),
        (CrossMapLRN2d::new(3).describe(), "CrossMapLRN2d(3, alpha=0.0001, beta=0.75, k=1)"),
        (
            LayerNorm::new([2, 3]).bias(false).describe(),
            "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True, bias=False)",
        ),
    ];
    for (ours, theirs) in printed {
        assert_eq!(ours, theirs);
    }
}
