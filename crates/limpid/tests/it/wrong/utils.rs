//! `torch.nn.utils` and `torch.nn.init`.

use limpid::nn::init;
use limpid::nn::utils::parametrizations::{OrthogonalMap, SpectralNormOptions, orthogonal, spectral_norm, weight_norm};
use limpid::nn::utils::{functional_call, parameters_to_vector, parametrize, prune};
use limpid::prelude::*;

use super::{Wrong, wrong};

pub const WRONG: &[Wrong] = &[
    wrong("parameters_to_vector: none", || Ok(parameters_to_vector(&[])), &["parameters_to_vector", "no parameters"]),
    wrong(
        "LazyBatchNorm2d: no batch of pictures",
        || Ok(LazyBatchNorm2d::new().forward(&Tensor::zeros([3, 4]))),
        &["LazyBatchNorm2d", "[3, 4]"],
    ),
    wrong(
        "LazyInstanceNorm1d: four axes",
        || Ok(LazyInstanceNorm1d::new().forward(&Tensor::zeros([1, 2, 3, 4]))),
        &["LazyInstanceNorm1d", "[1, 2, 3, 4]"],
    ),
    wrong(
        "error_if_nonfinite: an infinite norm",
        || {
            let m = Linear::new(1, 1);
            let g = m.forward(&Tensor::from([[f32::INFINITY]])).sum(..).gradients(&m)?;
            Ok(g.clip_norm_with(1.0, &ClipNorm::new().error_if_nonfinite(true)).get("weight").unwrap().clone())
        },
        &["the norm of the gradients"],
    ),
    wrong("matrix_exp: not square", || Ok(Tensor::zeros([2, 3]).matrix_exp()), &["matrix_exp", "[2, 3]"]),
    wrong("matrix_exp: integers", || Ok(Tensor::zeros_of([2, 2], DType::I64).matrix_exp()), &["matrix_exp", "i64"]),
    wrong(
        "functional_call: no such parameter",
        || Ok(called("wieght", Tensor::zeros([1, 2]))),
        &["functional_call", "Linear has no parameter wieght"],
    ),
    wrong(
        "functional_call: another shape",
        || Ok(called("weight", Tensor::zeros([2, 1]))),
        &["functional_call", "weight is f32 [1, 2]", "[2, 1]"],
    ),
    wrong(
        "functional_call: a buffer",
        || {
            let (m, mut values) = (BatchNorm1d::new(2), StateDict::new());
            values.insert("running_mean", Tensor::zeros([2]));
            Ok(functional_call(&m, &values, || m.forward(&Tensor::zeros([3, 2]))))
        },
        &["no parameter running_mean", "load_state_dict"],
    ),
];

fn called(name: &str, value: Tensor) -> Tensor {
    let (m, mut values) = (Linear::new(2, 1), StateDict::new());
    values.insert(name, value);
    functional_call(&m, &values, || m.forward(&Tensor::zeros([3, 2])))
}

#[test]
fn parametrizations_refuse_at_once() {
    let p = |shape: &[usize]| Parameter::new(&Tensor::ones(shape));
    let spectral = SpectralNormOptions::new();
    let pruned = p(&[2, 2]);
    prune::identity(&pruned).unwrap();
    let normed = p(&[2, 2]);
    weight_norm(&normed, 0).unwrap();
    let rows: [(limpid::Result<()>, &str); 18] = [
        (weight_norm(&p(&[2, 3]), 2), "weight_norm: axis 2"),
        (spectral_norm(&p(&[2, 3]), &spectral.dim(2)), "spectral_norm: axis 2"),
        (spectral_norm(&p(&[2, 3]), &spectral.dim(-3)), "spectral_norm: axis -3"),
        (spectral_norm(&p(&[2, 3]), &spectral.n_power_iterations(0)), "0 power iterations"),
        (orthogonal(&p(&[3]), None, true), "orthogonal: Parameter without name (f32 [3]) holds no matrix"),
        (orthogonal(&p(&[3, 3]), OrthogonalMap::Cayley, false), "without trivialisation"),
        (parametrize::remove_parametrizations(&p(&[3]), true), "has no parametrization"),
        (parametrize::remove_parametrizations(&normed, false), "2 originals"),
        (weight_norm(&pruned, 0), "is pruned"),
        (prune::identity(&normed), "has a parametrization"),
        (prune::remove(&p(&[3])), "is not pruned"),
        (prune::l1_unstructured(&p(&[3]), 1.5, None), "the part 1.5"),
        (prune::l1_unstructured(&p(&[3]), 4usize, None), "4 of the 3 that are left"),
        (prune::l1_unstructured(&p(&[3]), 1usize, Some(&Tensor::ones([2]))), "scores of shape [2]"),
        (prune::random_structured(&p(&[3]), 0.5, 0), "shape [3]"),
        (prune::ln_structured(&p(&[3, 2]), 0.5, 2.0, 2, None), "axis 2"),
        (prune::custom_from_mask(&p(&[3]), &Tensor::ones([2])), "a mask of shape [2]"),
        (prune::global_unstructured(&[p(&[3]), p(&[2])], prune::Method::L1Unstructured, 6usize), "6 of the 5"),
    ];
    for (result, says) in rows {
        let error = result.expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(!prune::is_pruned(&Linear::new(1, 1)) && pruned.value().is_ok() && normed.value().is_ok());
}

/// What fails at once, with words of the message: these functions return a `Result`.
#[test]
fn initialisers_refuse_at_once() {
    let p = |shape: &[usize]| Parameter::new(&Tensor::zeros(shape));
    let integers = Parameter::new(&Tensor::from([[1i64, 2]]));
    let rows: [(limpid::Result<()>, &str); 14] = [
        (init::eye_(&p(&[3])), "eye_: a parameter of shape [3]"),
        (init::dirac_(&p(&[3, 2]), 1), "dirac_: a parameter of shape [3, 2]"),
        (init::dirac_(&p(&[3, 2, 1]), 2), "3 channels are not 2 equal groups"),
        (init::dirac_(&p(&[3, 2, 1]), 0), "0 equal groups"),
        (init::orthogonal_(&p(&[3]), 1.0), "orthogonal_: a parameter of shape [3]"),
        (init::sparse_(&p(&[3]), 0.5, 0.01), "sparse_: a parameter of shape [3]"),
        (init::sparse_(&p(&[3, 3]), 1.5, 0.01), "a part of 1.5"),
        (init::trunc_normal_(&p(&[3]), 0.0, -1.0, -2.0, 2.0), "trunc_normal_: N(0, -1²)"),
        (init::trunc_normal_(&p(&[3]), f64::NAN, 1.0, -2.0, 2.0), "trunc_normal_"),
        (init::trunc_normal_(&p(&[3]), 0.0, 1.0, f64::NAN, 2.0), "trunc_normal_"),
        (init::xavier_uniform_(&p(&[3]), 1.0), "fan in and fan out of a parameter of shape [3]"),
        (init::kaiming_normal_(&p(&[3]), init::Mode::FanOut, init::Nonlinearity::ReLU), "shape [3]"),
        (init::uniform_(&integers, 0.0, 1.0), "i64"),
        (init::normal_(&integers, 0.0, 1.0), "i64"),
    ];
    for (result, says) in rows {
        let error = result.expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}
