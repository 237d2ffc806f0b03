//! Parameters whose value is a function of others. Numbers are those that PyTorch 2.15 printed.

use limpid::nn::utils::functional_call;
use limpid::nn::utils::parametrizations::{
    OrthogonalMap, SpectralNormOptions, orthogonal, spectral_norm, spectral_norm_beside, weight_norm,
    weight_norm_beside,
};
use limpid::nn::utils::parametrize::{
    Parametrization, is_parametrized, register_parametrization, remove_parametrizations, transfer_parametrizations,
};
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

fn linear(inputs: usize, outputs: usize) -> Linear {
    let m = Linear::new(inputs, outputs).dtype(DType::F64);
    fill(&m);
    m
}

fn doubles(t: &Tensor) -> Vec<f64> {
    t.to_vec::<f64>().unwrap()
}

#[track_caller]
fn near(ours: &Tensor, theirs: &[f64]) {
    let ours = doubles(ours);
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-10 * (1.0 + b.abs());
    assert!(ours.len() >= theirs.len() && ours.iter().zip(theirs).all(close), "{ours:?}\n{theirs:?}");
}

fn named(m: &dyn Module, name: &str) -> Parameter {
    m.named_parameters().into_iter().find(|(known, _)| known == name).unwrap().1
}

fn names(m: &dyn Module) -> Vec<String> {
    m.state_dict().names().map(str::to_owned).collect()
}

/// U.parametrizations.weight_norm(m, dim=dim); m.parametrizations.weight.original0.data *= 2; (m(x)**2).sum().backward()
#[test]
fn weight_norm_is_torchs_along_any_axis() {
    let rows: [(Option<usize>, &[usize], &[f64], &[f64]); 3] = [
        (Some(0), &[2, 1], &[136.77503434332178, 83.14103165928265], &[-13.887564097484237, 16.839412615080263]),
        (
            Some(1),
            &[1, 3],
            &[122.09850630593999, 99.8496556935796, 31.051087249282638],
            &[-12.31865957722956, 21.371374843571477],
        ),
        (None, &[], &[159.558536564071], &[-1.5085544274077165, 24.955951004889187]),
    ];
    for (dim, shape, g_grad, v_grad) in rows {
        let m = linear(3, 2);
        weight_norm(&m.weight, dim).unwrap();
        assert_eq!(names(&m), ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]);
        let g = named(&m, "parametrizations.weight.original0");
        assert_eq!(g.shape(), Shape::from(shape));
        g.set(&(g.value().unwrap() * 2.0)).unwrap();
        let grads = m.forward(&data([2, 3], 0.7)).square().sum(..).gradients(&m).unwrap();
        near(&m.weight.value().unwrap(), &[4.821345956502424, 3.161209223472559, 0.48462202281790145]);
        near(grads.get("parametrizations.weight.original0").unwrap(), g_grad);
        near(grads.get("parametrizations.weight.original1").unwrap(), v_grad);
    }
}

/// U.parametrizations.spectral_norm(m); s._u.copy_(normalize(data((2,), 1.3))); s._v.copy_(normalize(data((3,), 1.7)))
#[test]
fn spectral_norm_follows_the_largest_singular_value_in_training_only() {
    let m = linear(3, 2);
    spectral_norm(&m.weight, &SpectralNormOptions::new()).unwrap();
    let theirs =
        ["bias", "parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"];
    assert_eq!(names(&m), theirs);
    let buffers = m.buffers();
    for (buffer, start) in buffers.iter().zip([data([2], 1.3), data([3], 1.7)]) {
        buffer.set(&start.normalize(2.0, 0, 1e-12)).unwrap();
    }
    let loss = m.forward(&data([2, 3], 0.7)).square().sum(..);
    near(&loss, &[35.069766996723274]);
    near(&buffers[0].value().unwrap(), &[0.9938251733424106, -0.11095731084938697]);
    near(&buffers[1].value().unwrap(), &[0.8159404880974058, 0.5660506545675289, 0.11759156579890932]);
    let grads = loss.gradients(&m).unwrap();
    let theirs = [-1.4696105793794416, -1.7488727501870267, -1.0471072675611333, -1.1272057833248412];
    near(grads.get("parametrizations.weight.original").unwrap(), &theirs);
    m.eval();
    let weight = [0.7855459658740831, 0.5150584868181224, 0.07895987519520556, -0.31764587771963426];
    near(&m.weight.value().unwrap(), &weight);
    near(&m.weight.value().unwrap(), &weight);
    assert_eq!(
        m.describe(),
        "ParametrizedLinear(\n  in_features=3, out_features=2, bias=True\n  (parametrizations): ModuleDict(\n    \
         (weight): ParametrizationList(\n      (0): _SpectralNorm()\n    )\n  )\n)"
    );
    // Along another axis: spectral_norm(Conv1d(2, 3, 2), n_power_iterations=2, dim=1)
    let m = Conv1d::new(2, 3, 2).dtype(DType::F64);
    fill(&m);
    spectral_norm(&m.weight, &SpectralNormOptions::new().n_power_iterations(2).dim(1)).unwrap();
    for (buffer, start) in m.buffers().iter().zip([data([2], 1.3), data([6], 1.7)]) {
        buffer.set(&start.normalize(2.0, 0, 1e-12)).unwrap();
    }
    near(&m.weight.value().unwrap(), &[0.5064171167347465, 0.3320422294498865, 0.050902982220267644]);
    near(&m.buffers()[0].value().unwrap(), &[0.9674234075795706, 0.25316388065269546]);
}

/// U.spectral_norm(m); m.weight_u.copy_(normalize(data((2,), 1.3), dim=0)); m(data((2, 3)))
#[test]
fn the_older_spectral_norm_has_its_own_names_and_order() {
    let m = linear(3, 2);
    spectral_norm_beside(&m.weight, &SpectralNormOptions::new()).unwrap();
    assert_eq!(names(&m), ["weight_orig", "bias", "weight_u", "weight_v"]);
    let u = m.buffers().remove(0);
    u.set(&data([2], 1.3).normalize(2.0, 0, 1e-12)).unwrap();
    let y = [4.942848644078591, -0.09977045604486223, 0.9037102793551948, 2.728176902092524];
    near(&m.forward(&data([2, 3], 0.7)), &y);
    near(&u.value().unwrap(), &[0.8722505863194384, -0.4890592138641251]);
    m.eval();
    let before = doubles(&u.value().unwrap());
    m.forward(&data([2, 3], 0.7)).eval().unwrap();
    assert_eq!(doubles(&u.value().unwrap()), before);
}

/// U.parametrizations.orthogonal(m, orthogonal_map=map); base = eye; original += data(shape, 0.45) * 0.3 (its diagonal
/// only for the first two maps); (m(data((2, k))) * data((2, n), 1.1)).sum().backward()
#[test]
fn orthogonal_maps_are_torchs() {
    use OrthogonalMap::{Cayley, Householder, MatrixExp};
    let rows: [(usize, usize, OrthogonalMap, &[f64], &[f64]); 8] = [
        (
            3,
            3,
            MatrixExp,
            &[0.8994704962772037, -0.18671213300452705, 0.3950840489259732, 0.005420727299350697],
            &[0.0, 0.0, 0.0, -5.405246005853272, 0.0, 0.0, -2.201912426966537, -3.403860026313699, 0.0],
        ),
        (
            3,
            3,
            Cayley,
            &[0.905303641407103, -0.1789017207630888, 0.3852525031236596, 0.008129605824509174],
            &[0.0, 0.0, 0.0, -5.2417104307747096, 0.0, 0.0, -2.1609366029930284, -3.2393577804113645, 0.0],
        ),
        (
            4,
            2,
            MatrixExp,
            &[0.8314054883446365, -0.44241047592101673, 0.21480078374989361, 0.7942807054168809],
            &[0.0, 0.0, -2.5632093409344163, 0.0, 0.8410184645003936, -3.468828578091939],
        ),
        (
            4,
            2,
            Cayley,
            &[0.8464363288497667, -0.4188890964138795, 0.2123420889764873, 0.8127470217629418],
            &[0.0, 0.0, -2.359298779045538, 0.0, 0.6849636216428799, -3.362326113414943],
        ),
        (
            2,
            4,
            MatrixExp,
            &[0.7705932159711236, 0.603356484705236, 0.20231054991140265, -0.034892538714864606],
            &[0.0, -4.043968860102921, -0.17770678235439635, -1.8001377277032997, 0.0, 0.0],
        ),
        (
            3,
            3,
            Householder,
            &[0.6561173596734811, -0.6450454737627521, 0.3916967540244448, 0.16979751747164565],
            &[0.0, 0.0, 0.0, -13.006142022849007, 0.0, 0.0, 8.642039253199641, 0.5533201972925408, 0.0],
        ),
        (
            4,
            2,
            Householder,
            &[0.47546346759856184, -0.838817620860235, 0.542106897498613, 0.23151173963007265],
            &[0.0, 0.0, -3.878158712707944, 0.0, 5.664496241063061, -6.541213549642195],
        ),
        (
            2,
            4,
            Householder,
            &[0.3400854870525727, 0.789328203587318, 0.4923670437949757, 0.13739557017032308],
            &[0.0, -7.386107943903653, -1.550806143848762, -2.9130001022906495, 0.0, 0.0, -2.6588748497051586],
        ),
    ];
    for (out, inputs, map, weight, grad) in rows {
        let m = Linear::new(inputs, out).bias(false).dtype(DType::F64);
        fill(&m);
        orthogonal(&m.weight, map, true).unwrap();
        assert_eq!(names(&m), ["parametrizations.weight.original", "parametrizations.weight.0.base"]);
        m.buffers()[0].set(&Tensor::eye(out.max(inputs))).unwrap();
        let x = named(&m, "parametrizations.weight.original");
        let mut step = data([out, inputs], 0.45) * 0.3;
        if map == Householder {
            step = step.triu(1) + step.tril(-1);
        }
        x.set(&(x.value().unwrap() + step)).unwrap();
        near(&m.weight.value().unwrap(), weight);
        let y = m.forward(&data([2, inputs], 0.7)) * data([2, out], 1.1);
        near(y.sum(..).gradients(&m).unwrap().get("parametrizations.weight.original").unwrap(), grad);
    }
}

/// U.parametrizations.orthogonal(Linear(3, 3)); U.parametrizations.orthogonal(Linear(2, 4), use_trivialization=False)
#[test]
fn an_orthogonal_parameter_starts_at_the_nearest_by_qr_and_stays_orthogonal() {
    let m = Linear::new(3, 3).bias(false).dtype(DType::F64);
    fill(&m);
    orthogonal(&m.weight, None, true).unwrap();
    near(&m.weight.value().unwrap(), &[0.9266541311536189, -0.21205193466461592, 0.3103966788174851]);
    let m = Linear::new(2, 4).bias(false).dtype(DType::F64);
    fill(&m);
    orthogonal(&m.weight, None, false).unwrap();
    near(&m.weight.value().unwrap(), &[0.8459272079619804, 0.0027943217446389492, 0.08502915127389667]);
    let x = named(&m, "parametrizations.weight.original").value().unwrap();
    near(&x, &[-1.0, -1.8625648194616171, 0.04606311175605575, 1.0, -0.28481987629682287, 0.034599160273342276]);
    // An orthogonal value can be assigned, and comes back.
    let q = m.weight.value().unwrap().flip(0);
    m.weight.set(&q).unwrap();
    near(&m.weight.value().unwrap(), &doubles(&q));

    manual_seed(3);
    for (out, inputs, map) in [(4, 4, None), (5, 3, Some(OrthogonalMap::Cayley)), (3, 5, None)] {
        let m = Linear::new(inputs, out).dtype(DType::F64);
        orthogonal(&m.weight, map, true).unwrap();
        let mut sgd = SGD::new(&m).lr(0.3);
        for _ in 0..10 {
            sgd.step(&(m.forward(&data([6, inputs], 0.7)) - data([6, out], 1.3)).square().mean(..)).unwrap();
        }
        let q = m.weight.value().unwrap();
        let q = if out < inputs { q.t() } else { q };
        let off = q.t().matmul(&q) - Tensor::eye(out.min(inputs)).to_dtype(DType::F64);
        assert!(off.abs().amax(..).item().unwrap() < 1e-10, "{out} {inputs} {map:?}");
    }
}

/// torch.matrix_exp(data((3, 3), 0.9) * 4)
#[test]
fn the_exponential_of_a_matrix_has_its_value_and_gradient() {
    let a = data([3, 3], 0.9) * 4.0;
    near(&a.matrix_exp(), &[-414.6897236011404, -474.6966128241397, -376.89502438539455, 563.1570358092048]);
    // d/dt of the trace of exp(A + t·1) is the trace of exp(A): Σ over the diagonal of the gradient.
    let a = (data([2, 3, 3], 0.9) * 0.7).requires_grad_();
    let trace = |t: &Tensor| t.diagonal(0, -2, -1).sum(..);
    let slope = gradients(&trace(&a.matrix_exp()), &[&a]).unwrap().remove(0).unwrap();
    near(&trace(&slope), &doubles(&trace(&a.matrix_exp())));
    assert!(doubles(&(data([2, 2], 0.9) * 1e9).matrix_exp())[0].is_nan());
}

#[derive(Module)]
struct Symmetric;

impl Parametrization for Symmetric {
    fn forward(&self, originals: &[Tensor]) -> Tensor {
        originals[0].triu(0) + originals[0].triu(1).t()
    }
}

#[derive(Module)]
struct Narrower;

impl Parametrization for Narrower {
    fn forward(&self, originals: &[Tensor]) -> Tensor {
        originals[0].narrow(0, 0, 1)
    }
}

#[test]
fn parametrizations_follow_each_other_and_come_off() {
    let m = linear(3, 3);
    let mut made_before = SGD::new(&m).lr(0.1);
    let original = m.weight.value().unwrap();
    register_parametrization(&m.weight, Symmetric).unwrap();
    register_parametrization(&m.weight, Symmetric).unwrap();
    assert!(is_parametrized(&m.weight) && !is_parametrized(m.bias.as_ref().unwrap()));
    let symmetric = doubles(&m.weight.value().unwrap());
    // The parameter is the original still: an optimizer that was made before trains it.
    made_before.step(&m.forward(&data([2, 3], 0.7)).square().sum(..)).unwrap();
    assert_ne!(doubles(&m.weight.value().unwrap()), symmetric);
    let error = register_parametrization(&m.weight, Narrower).unwrap_err().to_string();
    assert!(error.contains("[1, 3]"), "{error}");
    remove_parametrizations(&m.weight, true).unwrap();
    let w = m.weight.value().unwrap();
    assert_eq!((doubles(&w), names(&m)), (doubles(&w.t()), vec!["weight".to_owned(), "bias".to_owned()]));
    assert!(remove_parametrizations(&m.weight, true).is_err());

    m.weight.set(&original).unwrap();
    register_parametrization(&m.weight, Symmetric).unwrap();
    remove_parametrizations(&m.weight, false).unwrap();
    assert_eq!(doubles(&m.weight.value().unwrap()), doubles(&original));
    weight_norm(&m.weight, 0).unwrap();
    assert!(remove_parametrizations(&m.weight, false).unwrap_err().what().contains("2 originals"));
    // What is assigned is what it has.
    m.weight.set(&data([3, 3], 1.9)).unwrap();
    near(&m.weight.value().unwrap(), &doubles(&data([3, 3], 1.9)));
    remove_parametrizations(&m.weight, true).unwrap();
    near(&m.weight.value().unwrap(), &doubles(&data([3, 3], 1.9)));
    // The older one stands beside: list(U.weight_norm(m).state_dict()) has weight_g and weight_v.
    weight_norm_beside(&m.weight, 0).unwrap();
    assert_eq!(names(&m), ["weight_g", "weight_v", "bias"]);
    assert!(register_parametrization(&m.weight, Symmetric).is_err());
    remove_parametrizations(&m.weight, true).unwrap();
    near(&m.weight.value().unwrap(), &doubles(&data([3, 3], 1.9)));
}

/// P.register_parametrization(a, "weight", Symmetric()); P.transfer_parametrizations_and_params(a, b): then
/// a.parametrizations.weight.original is b.parametrizations.weight.original.
#[test]
fn parametrizations_go_to_another_layer_with_their_originals() {
    let (a, b) = (linear(2, 2), linear(2, 2));
    a.weight.set(&Tensor::from([[1.0f64, 2.0], [3.0, 4.0]])).unwrap();
    transfer_parametrizations(&a.weight, &b.weight).unwrap();
    assert!(!is_parametrized(&b.weight), "there is none to go");
    register_parametrization(&a.weight, Symmetric).unwrap();
    transfer_parametrizations(&a.weight, &b.weight).unwrap();
    assert_eq!(doubles(&b.weight.value().unwrap()), [1.0, 2.0, 2.0, 4.0]);
    assert_eq!(names(&b), ["bias", "parametrizations.weight.original"]);
    let original = named(&b, "parametrizations.weight.original");
    original.set(&(original.tensor() * 2.0)).unwrap();
    for layer in [&a, &b] {
        assert_eq!(doubles(&layer.weight.value().unwrap()), [2.0, 4.0, 4.0, 8.0]);
    }
    let both = Sequential::new().add(a.clone()).add(b.clone());
    assert_eq!(both.num_parameters(), 4 + 2 + 2, "tied originals count once");
    assert!(transfer_parametrizations(&a.weight, &b.weight).is_err());
    assert!(transfer_parametrizations(&a.weight, &linear(3, 2).weight).is_err());
    remove_parametrizations(&b.weight, true).unwrap();
    b.weight.set(&Tensor::zeros_of([2, 2], DType::F64)).unwrap();
    assert_eq!(doubles(&a.weight.value().unwrap()), [2.0, 4.0, 4.0, 8.0], "no longer tied");
}

#[test]
fn a_parametrized_model_is_saved_loaded_frozen_and_trained() {
    manual_seed(1);
    let make = || {
        let m = Sequential::new().add(Linear::new(3, 4)).add(Tanh).add(Linear::new(4, 1));
        for (_, p) in m.named_parameters().iter().filter(|(name, _)| name.ends_with("weight")) {
            spectral_norm(p, &SpectralNormOptions::new()).unwrap();
        }
        m
    };
    let (a, b) = (make(), make());
    let x = Tensor::randn([8, 3]);
    let mut adam = Adam::new(&a).lr(0.05);
    let loss = || (a.forward(&x) - x.sum(-1).unsqueeze(1) * 0.2).square().mean(..);
    let first = loss().item().unwrap();
    (0..30).for_each(|_| drop(adam.step(&loss()).unwrap()));
    assert!(loss().item().unwrap() < first);
    assert!(b.load_state_dict(&a.state_dict(), true).unwrap().is_clean());
    a.eval();
    b.eval();
    assert_eq!(a.forward(&x).to_bytes().unwrap(), b.forward(&x).to_bytes().unwrap());
    assert_eq!(b.freeze("0.**").unwrap(), 2);
    assert_eq!(b.named_parameters()[1].0, "0.parametrizations.weight.original");
    assert!(!b.named_parameters()[1].1.requires_grad() && b.num_parameters() == 3 * 4 + 4 + 4 + 1);
}

#[test]
fn a_function_of_other_parameters_takes_gradients() {
    let m = linear(2, 1);
    let mut values = StateDict::new();
    let w = Tensor::from([[10.0f64, 1.0]]).requires_grad_();
    values.insert("weight", &w * 2.0);
    let x = Tensor::from([[1.0f64, 2.0]]);
    let before = doubles(&m.forward(&x));
    let y = functional_call(&m, &values, || m.forward(&x).sum(..));
    assert_eq!(y.item().unwrap(), 24.0 + data([1], 0.8).item().unwrap());
    assert_eq!(doubles(&gradients(&y, &[&w]).unwrap()[0].clone().unwrap()), [2.0, 4.0]);
    assert_eq!(doubles(&m.forward(&x)), before);
    // A panic inside leaves nothing in place.
    let inside = || functional_call(&m, &values, || panic!("of the caller"));
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(inside));
    assert_eq!(doubles(&m.forward(&x)), before);
    // The originals of a parametrized parameter are what can be given.
    weight_norm(&m.weight, 0).unwrap();
    let mut values = StateDict::new();
    values.insert("parametrizations.weight.original0", Tensor::from([[0.0f64]]));
    let y = functional_call(&m, &values, || m.forward(&x).sum(..));
    assert_eq!(y.item().unwrap(), data([1], 0.8).item().unwrap());
}
