//! `torch.nn.utils` and `torch.nn.init`.

use limpid::nn::init;
use limpid::nn::utils::parameters_to_vector;
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
];

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
