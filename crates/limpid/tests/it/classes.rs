//! Classes and functions of torch without recorded cases, against the numbers that PyTorch 2.15 printed: the calls stand
//! beside the tests, `data(*s)` is cos(0.7·i + 0.3) in float64.

use limpid::prelude::*;
use limpid::{Result, gradients};

fn data(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    Tensor::from_vec((0..n).map(|i| (i as f64 * 0.7 + 0.3).cos()).collect::<Vec<_>>(), shape)
}

#[track_caller]
fn near(ours: &Tensor, theirs: &[f64]) {
    let ours = ours.to_vec::<f64>().unwrap();
    let close = ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(ours.len() == theirs.len() && close, "{ours:?}\n{theirs:?}");
}

/// A layer, the shape of its input, its name once it has parameters; then its results in training and, after that step,
/// in evaluation, and the running statistics.
type Norm = (Box<dyn Forward>, &'static [usize], &'static str, [&'static [f64]; 4]);

/// m = Lazy…(momentum=0.3, dtype=float64); y = m(data(*s)); m.eval(); z = m(data(*s)). Instance norms with affine=True,
/// track_running_stats=True.
#[test]
fn lazy_norms_are_torchs() -> Result<()> {
    macro_rules! made {
        ($name:ident) => {
            Box::new($name::new().momentum(0.3).dtype(DType::F64))
        };
        ($name:ident, tracked) => {
            Box::new($name::new().momentum(0.3).affine(true).track_running_stats(true).dtype(DType::F64))
        };
    }
    let norms: [Norm; 6] = [
        (
            made!(LazyBatchNorm1d),
            &[2, 2, 3],
            "BatchNorm1d",
            [
                &[
                    1.156578237,
                    0.2508882744,
                    -1.209327691,
                    -0.7448156327,
                    -1.107210975,
                    -0.818991763,
                    -1.388162297,
                    0.094237253,
                    1.095786223,
                    1.59179536,
                    1.004529444,
                    0.07469356634,
                ],
                &[
                    0.9398793251,
                    0.468615943,
                    -0.2911874584,
                    -0.7191005888,
                    -0.9968894033,
                    -0.7759592094,
                    -0.384241599,
                    0.3871047271,
                    0.9082470323,
                    1.071994168,
                    0.6218341253,
                    -0.09091787736,
                ],
                &[0.1275996802, -0.05983432511],
                &[0.7755945429, 0.8877906294],
            ],
        ),
        (
            made!(LazyInstanceNorm1d, tracked),
            &[2, 2, 3],
            "InstanceNorm1d",
            [
                &[
                    1.11883311,
                    0.1896389629,
                    -1.308472073,
                    0.9306142038,
                    -1.386877484,
                    0.4562632803,
                    -1.295677697,
                    0.1570783402,
                    1.138599357,
                    1.123029012,
                    0.1828178618,
                    -1.305846874,
                ],
                &[
                    0.9288747125,
                    0.4631291356,
                    -0.287778079,
                    -0.7830745729,
                    -1.08557656,
                    -0.8449915575,
                    -0.3797426917,
                    0.3825722968,
                    0.8976127876,
                    1.167362937,
                    0.6771549067,
                    -0.0990062852,
                ],
                &[0.1275996802, -0.05983432511],
                &[0.7940809693, 0.7486566589],
            ],
        ),
        (
            made!(LazyBatchNorm2d),
            &[2, 2, 1, 2],
            "BatchNorm2d",
            [
                &[
                    1.228330108,
                    0.7328757695,
                    0.05444010877,
                    -1.368351953,
                    -1.104854705,
                    -0.8563511727,
                    -0.137162579,
                    1.451074423,
                ],
                &[
                    0.9869962951,
                    0.5678963597,
                    -0.09462637108,
                    -0.7867040607,
                    -0.9866217122,
                    -0.7764150269,
                    -0.187826178,
                    0.5847276087,
                ],
                &[-0.02208480504, -0.04563880035],
                &[0.9806818087, 0.7731719798],
            ],
        ),
        (
            made!(LazyInstanceNorm2d, tracked),
            &[1, 2, 1, 2],
            "InstanceNorm2d",
            [
                &[0.9998839122, -0.9998839122, 0.9999459988, -0.9999459988],
                &[0.8580033623, 0.3708552503, 0.001255407522, -0.6988465353],
                &[0.2243458192, -0.1299357315],
                &[0.725838006, 0.7555498232],
            ],
        ),
        (
            made!(LazyBatchNorm3d),
            &[2, 1, 1, 2, 2],
            "BatchNorm3d",
            [
                &[
                    1.60335328,
                    0.9803981125,
                    -0.02397327102,
                    -0.9373893154,
                    -1.330256182,
                    -1.017802446,
                    -0.14697998,
                    0.8726498022,
                ],
                &[
                    1.071556665,
                    0.6219676909,
                    -0.1028907319,
                    -0.7621063609,
                    -1.045639785,
                    -0.8201408049,
                    -0.1916651141,
                    0.5442053496,
                ],
                &[-0.03386180269],
                &[0.8521799957],
            ],
        ),
        (
            made!(LazyInstanceNorm3d, tracked),
            &[2, 1, 1, 2, 2],
            "InstanceNorm3d",
            [
                &[
                    1.236501556,
                    0.5933947934,
                    -0.4434663844,
                    -1.386429965,
                    -1.080258133,
                    -0.7152255133,
                    0.3021366392,
                    1.493347007,
                ],
                &[
                    1.073982141,
                    0.6233755191,
                    -0.1031236258,
                    -0.7638313939,
                    -1.048006598,
                    -0.8219971993,
                    -0.1920989494,
                    0.5454371622,
                ],
                &[-0.03386180269],
                &[0.848335179],
            ],
        ),
    ];
    for (norm, shape, name, [training, evaluation, mean, var]) in norms {
        assert_eq!((norm.kind(), norm.parameters().len()), (&format!("Lazy{name}")[..], 0));
        near(&norm.forward(&data(shape)), training);
        norm.eval();
        near(&norm.forward(&data(shape)), evaluation);
        assert_eq!(norm.kind(), name);
        let state = norm.state_dict();
        let names: Vec<&str> = state.names().collect();
        assert_eq!(names, ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"], "{name}");
        near(state.get("running_mean").unwrap(), mean);
        near(state.get("running_var").unwrap(), var);
    }
    Ok(())
}

/// l = LazyLinear(2, dtype=float64); l(data(2, 3)); l.weight.copy_(data(2, 3)); l.bias.copy_([1, -1]); l(data(2, 3))
#[test]
fn a_lazy_linear_layer_is_torchs() -> Result<()> {
    let (layer, x) = (LazyLinear::new(2).dtype(DType::F64), data(&[2, 3]));
    assert_eq!(*layer.forward(&x).shape(), Shape::from([2, 2]));
    layer.get_parameter("weight")?.set(&x)?;
    layer.get_parameter("bias")?.set(&Tensor::from([1.0f64, -1.0]))?;
    near(&layer.forward(&x), &[2.221195293, -2.142382314, -0.142382314, 1.167650462]);
    assert_eq!(layer.describe(), "Linear(in_features=3, out_features=2, bias=True)");
    let other = LazyLinear::new(2).dtype(DType::F64);
    assert!(other.load_state_dict(&layer.state_dict(), true)?.is_clean());
    near(&other.forward(&x), &[2.221195293, -2.142382314, -0.142382314, 1.167650462]);
    Ok(())
}

/// y, i = MaxPool…(2, stride=2, return_indices=True)(x); z = MaxUnpool…(2, stride=2)(y, i);
/// (z * arange(1, z.numel() + 1)).sum().backward()
#[test]
fn unpooling_puts_elements_where_torch_does() -> Result<()> {
    let check = |x: Tensor, z: Tensor, places: &[(usize, f64)]| -> Result<()> {
        let shape: Vec<usize> = z.shape().to_vec();
        let weights = Tensor::arange(1, z.numel() as i64 + 1, 1).to_dtype(DType::F64).view(shape);
        let slope = gradients(&(&z * weights).sum(..), &[&x])?.remove(0).expect("it depends on x");
        let (mut values, mut slopes) = (vec![0.0; x.numel()], vec![0.0; x.numel()]);
        for (at, value) in places {
            values[*at] = *value;
            slopes[*at] = *at as f64 + 1.0;
        }
        near(&z, &values);
        near(&slope, &slopes);
        Ok(())
    };
    let x = data(&[1, 1, 6]).requires_grad_();
    let (y, at) = MaxPool1d::new(2).stride(2).forward_with_indices(&x);
    let z = MaxUnpool1d::new(2).stride(2).forward(&y, &at, None);
    check(x, z, &[(0, 0.9553364891), (2, -0.1288444943), (5, -0.7909677119)])?;
    let x = data(&[1, 1, 4, 4]).requires_grad_();
    let (y, at) = MaxPool2d::new(2).stride(2).forward_with_indices(&x);
    let z = MaxUnpool2d::new(2).stride(2).forward(&y, &at, None);
    check(x, z, &[(0, 0.9553364891), (7, 0.4685166713), (9, 0.950232592), (10, 0.5260775174)])?;
    let x = data(&[1, 1, 2, 4, 2]).requires_grad_();
    let (y, at) = MaxPool3d::new(2).stride(2).forward_with_indices(&x);
    let z = MaxUnpool3d::new(2).stride(2).forward(&y, &at, None);
    check(x, z, &[(0, 0.9553364891), (7, 0.4685166713)])
}

/// UpsamplingNearest2d(scale_factor=2)(data(1, 1, 2, 2)), UpsamplingNearest2d(size=(3, 2))(…),
/// UpsamplingBilinear2d(scale_factor=2)(…)
#[test]
fn upsampling_layers_are_torchs() {
    let x = data(&[1, 1, 2, 2]);
    let [a, b, c, d] = [0.9553364891, 0.5403023059, -0.1288444943, -0.7373937155];
    let doubled = [a, a, b, b, a, a, b, b, c, c, d, d, c, c, d, d];
    near(&UpsamplingNearest2d::scale_factor(2.0).forward(&x), &doubled);
    near(&UpsamplingNearest2d::size([3, 2]).forward(&x), &[a, b, a, b, c, d]);
    let smooth = [
        0.9553364891,
        0.8169917614,
        0.6786470336,
        0.5403023059,
        0.593942828,
        0.4340964293,
        0.2742500307,
        0.1144036321,
        0.2325491668,
        0.05120109732,
        -0.1301469722,
        -0.3114950417,
        -0.1288444943,
        -0.3316942347,
        -0.5345439751,
        -0.7373937155,
    ];
    near(&UpsamplingBilinear2d::scale_factor(2.0).forward(&x), &smooth);
}

/// conv_tbc(data(3, 2, 2), data(3, 2, 2), tensor([0.5, -0.5]), 1)
#[test]
fn conv_tbc_is_torchs() {
    let x = data(&[3, 2, 2]);
    let theirs = [
        -1.911190355,
        -1.836824634,
        0.835140091,
        -1.012043645,
        3.868168792,
        0.7805184263,
        0.9951526737,
        0.8814413195,
        -1.479579772,
        -0.7449860869,
        -0.256698456,
        -1.443654227,
    ];
    near(&x.conv_tbc(&x, &Tensor::from([0.5f64, -0.5]), 1), &theirs);
    let narrow = x.conv_tbc(&data(&[2, 2, 3]), &Tensor::zeros_of([3], DType::F64), 0);
    assert_eq!(*narrow.shape(), Shape::from([2, 2, 3]));
    let wrong = x.conv_tbc(&data(&[3, 3, 2]), &Tensor::zeros_of([2], DType::F64), 0).error().expect("other channels");
    assert!(wrong.to_string().contains("conv_tbc"), "{wrong}");
    assert!(x.conv_tbc(&data(&[3, 2]), &Tensor::zeros_of([2], DType::F64), 0).error().is_some());
}

/// for name, m in model.named_modules() of torch, each after its children: the order of `apply`.
#[test]
fn apply_meets_children_before_their_parents() {
    let inner = Sequential::new().add(Linear::new(2, 2)).add(Tanh);
    let model = Sequential::new().add(inner).add(ReLU);
    let mut met = Vec::new();
    model.apply(|path, module| met.push(format!("{path}:{}", module.kind())));
    assert_eq!(met, ["0.0:Linear", "0.1:Tanh", "0:Sequential", "1:ReLU", ":Sequential"]);
    let boxed: Box<dyn Forward> = Box::new(model);
    let mut children = Vec::new();
    boxed.apply(|path, _| {
        if !path.is_empty() && !path.contains('.') {
            children.push(path.to_owned())
        }
    });
    assert_eq!(children, ["0", "1"]);
}

#[test]
fn parameters_and_buffers_are_found_by_their_paths() -> Result<()> {
    let model = Sequential::new().add(Linear::new(2, 3)).add(BatchNorm1d::new(3));
    assert_eq!(model.get_parameter("0.weight")?.shape(), Shape::from([3, 2]));
    assert_eq!(model.get_buffer("1.running_mean")?.value()?.to_vec::<f32>()?, [0.0; 3]);
    let error = model.get_parameter("0.weights").expect_err("no such name").to_string();
    assert!(error.contains("\"0.weights\"") && error.contains("one of 0.weight, 0.bias"), "{error}");
    assert!(model.get_buffer("0.weight").is_err(), "a parameter is no buffer");
    Ok(())
}

/// m = Sequential(Linear(2, 3), BatchNorm1d(3)).to(float64): floats change, counts do not.
#[test]
fn a_model_takes_another_type() -> Result<()> {
    let model = Sequential::new().add(Linear::new(2, 3)).add(BatchNorm1d::new(3));
    let before = model.forward(&data(&[4, 2]).to_dtype(DType::F32));
    model.to_dtype(DType::F64)?;
    let types: Vec<DType> = model.state_dict().iter().map(|(_, t)| t.dtype()).collect();
    use DType::{F32, F64, I64};
    assert_eq!(types, [F64, F64, F64, F64, F64, F64, I64]);
    let after = model.forward(&data(&[4, 2]));
    let off = (after - before.to_dtype(F64)).abs().amax(..).item()?;
    assert!(off < 1e-5, "what was recorded before is computed from the old values: {off}");
    let mut adam = Adam::new(&model);
    adam.step(&model.forward(&data(&[4, 2])).square().sum(..))?;
    // An optimizer keeps values of the type that the parameters had: an error, not another type.
    model.to_dtype(F32)?;
    let loss = model.forward(&data(&[4, 2]).to_dtype(F32)).square().sum(..);
    let weight = model.get_parameter("0.weight")?;
    let old = weight.value()?.to_vec::<f32>()?;
    assert!(adam.step(&loss).is_err());
    assert_eq!(weight.value()?.to_vec::<f32>()?, old);
    assert!(model.to_dtype(I64).is_err());
    assert!(Sequential::new().add(LazyLinear::new(2)).to_dtype(F64).is_err());
    Ok(())
}

#[test]
fn constants_fill_parameters() -> Result<()> {
    let p = Parameter::new(&Tensor::zeros([2, 2]));
    let filled: [(fn(&Parameter) -> Result<()>, f32); 3] =
        [(init::ones_, 1.0), (|p| init::constant_(p, 0.3), 0.3), (init::zeros_, 0.0)];
    for (fill, value) in filled {
        fill(&p)?;
        assert_eq!(p.value()?.to_vec::<f32>()?, [value; 4]);
    }
    Ok(())
}

/// torch.nn.utils.rnn.invert_permutation: inverse[permutation[i]] = i.
#[test]
fn the_inverse_of_a_permutation_is_its_order() -> Result<()> {
    let order = [2i64, 0, 3, 1];
    let inverse = Tensor::from(order).argsort(0, false).to_vec::<i64>()?;
    (0..4).for_each(|i| assert_eq!(inverse[order[i] as usize], i as i64));
    Ok(())
}

/// grouped_mm(data(5, 4), data(2, 4, 4), offs=tensor([2, 5])) and so on, in float32.
#[test]
fn products_of_groups_are_torchs() -> Result<()> {
    let rows: [(&[usize], &[usize], Option<&[i64]>, &[f64]); 5] = [
        (
            &[5, 4],
            &[2, 4, 4],
            Some(&[2, 5]),
            &[
                0.8053797,
                0.703544,
                0.2708206,
                -0.289274,
                -0.7104887,
                -0.582883,
                -0.1811384,
                0.3057984,
                0.1283264,
                0.4320068,
                0.5325077,
                0.3825618,
                -0.1575858,
                -0.2934723,
                -0.2913342,
                -0.152177,
                0.1686352,
                0.1210255,
                0.01649562,
                -0.09579247,
            ],
        ),
        (
            &[5, 4],
            &[3, 4, 4],
            Some(&[2, 2, 5]),
            &[
                0.8053797, 0.703544, 0.2708206, -0.289274, -0.7104887, -0.582883, -0.1811384, 0.3057984, -0.4813951,
                -0.2194679, 0.1456786, 0.4423101, 0.2308754, 0.04206909, -0.1665229, -0.2967966, 0.04632321, 0.140191,
                0.1681248, 0.1169869,
            ],
        ),
        (
            &[2, 3, 4],
            &[4, 8],
            Some(&[4, 8]),
            &[
                1.482631,
                0.5421,
                -0.6533887,
                -1.541579,
                1.526339,
                2.219253,
                1.868418,
                0.638836,
                -1.873301,
                -1.254943,
                -0.04636669,
                1.184017,
                -1.080612,
                -2.124857,
                -2.169749,
                -1.194174,
                2.047501,
                1.822772,
                0.7407643,
                -0.6896363,
                0.5100142,
                1.784922,
                2.220354,
                1.611518,
            ],
        ),
        (
            &[4, 8],
            &[8, 4],
            Some(&[4, 8]),
            &[
                0.8053797,
                0.703544,
                0.2708206,
                -0.289274,
                0.5334969,
                0.3948668,
                0.0705247,
                -0.2869863,
                0.02214438,
                -0.09105352,
                -0.1614274,
                -0.1558795,
                -0.4991481,
                -0.5361029,
                -0.32092,
                0.04519659,
                -0.08423823,
                -0.5206206,
                -0.712147,
                -0.5687395,
                -0.1575858,
                -0.2934723,
                -0.2913342,
                -0.152177,
                -0.1601981,
                0.06540641,
                0.2602492,
                0.3326928,
                -0.09090251,
                0.3949262,
                0.6950151,
                0.6682274,
            ],
        ),
        (
            &[2, 2, 4],
            &[2, 4, 4],
            None,
            &[
                0.8053797, 0.703544, 0.2708206, -0.289274, -0.7104887, -0.582883, -0.1811384, 0.3057984, 0.1283264,
                0.4320068, 0.5325077, 0.3825618, -0.1575858, -0.2934723, -0.2913342, -0.152177,
            ],
        ),
    ];
    let offs = |ends: &[i64]| Tensor::from_slice(ends, [ends.len()]);
    for (a, b, ends, theirs) in rows {
        let ours = data(a).grouped_mm(&data(b), ends.map(offs).as_ref()).to_vec::<f64>()?;
        let close = ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 2e-6);
        assert!(ours.len() == theirs.len() && close, "{a:?} × {b:?}: {ours:?}");
    }
    let (a, b) = (data(&[5, 4]).requires_grad_(), data(&[2, 4, 4]).requires_grad_());
    let loss = (a.grouped_mm(&b, Some(&offs(&[2, 5]))) * data(&[5, 4])).sum(..);
    let theirs: [&[f64]; 2] = [
        &[
            1.764945, -1.700193, 1.438976, -1.011476, -1.700193, 1.887844, -1.857344, 1.612218, 1.758041, -1.286271,
            0.6658664, 0.03148277, -2.132138, 1.810989, -1.280569, 0.602173, 2.259857, -2.126436, 1.747295, -1.166244,
        ],
        &[
            1.910939,
            1.306454,
            0.08752363,
            -1.172571,
            1.306454,
            0.9175565,
            0.09711769,
            -0.7689971,
            0.08752363,
            0.09711769,
            0.06103577,
            -0.003752224,
            -1.172571,
            -0.7689971,
            -0.003752224,
            0.7632574,
            1.654271,
            2.080966,
            1.528951,
            0.2578452,
            2.080966,
            2.774,
            2.162378,
            0.5337554,
            1.528951,
            2.162378,
            1.778805,
            0.5586321,
            0.2578452,
            0.5337554,
            0.5586321,
            0.3207753,
        ],
    ];
    for (slope, theirs) in gradients(&loss, &[&a, &b])?.into_iter().zip(theirs) {
        let ours = slope.expect("it depends on both").to_vec::<f64>()?;
        assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 2e-6), "{ours:?}");
    }
    // Rows behind the last group are 0, also where there is no group.
    let y = data(&[5, 4]).grouped_mm(&data(&[2, 4, 4]), Some(&offs(&[2, 4])));
    assert_eq!(y.narrow(0, 4, 1).to_vec::<f64>()?, [0.0; 4]);
    let none = data(&[5, 4]).grouped_mm(&data(&[0, 4, 3]), Some(&offs(&[])));
    assert_eq!(none.to_vec::<f64>()?, [0.0; 15]);
    let refused: [(&[usize], &[usize], Option<&[i64]>, &str); 7] = [
        (&[5, 4], &[2, 4, 4], None, "without offs"),
        (&[2, 2, 4], &[2, 4, 4], Some(&[1, 2]), "with offs"),
        (&[5, 4], &[2, 4, 4], Some(&[2, 3, 5]), "2 matrices for 3 groups"),
        (&[5, 8], &[2, 4, 4], Some(&[2, 5]), "inner sizes differ"),
        (&[5, 4], &[2, 4, 4], Some(&[3, 7]), "ends at 7"),
        (&[5, 4], &[2, 4, 4], Some(&[3, 2]), "ends at 2"),
        (&[4], &[2, 4, 4], Some(&[2, 5]), "no matrix"),
    ];
    for (a, b, ends, words) in refused {
        let error = data(a).grouped_mm(&data(b), ends.map(offs).as_ref()).error().expect("it is refused").to_string();
        assert!(error.contains("grouped_mm") && error.contains(words), "{error}");
    }
    Ok(())
}

/// clip_grad_value_(p, 0.3) of the gradient [1, -2, 0.1].
#[test]
fn gradients_are_limited_element_by_element() -> Result<()> {
    let p = Parameter::new(&Tensor::zeros_of([3], DType::F64));
    let loss = (p.tensor() * Tensor::from([1.0f64, -2.0, 0.1])).sum(..);
    let mut sgd = SGD::groups([Group::of(&[p.clone()])]).lr(1.0);
    sgd.apply(Gradients::new(&loss, vec![("p".to_owned(), p.clone())])?.clip_value(0.3))?;
    assert_eq!(p.value()?.to_vec::<f64>()?, [-0.3, 0.3, -0.1]);
    Ok(())
}
