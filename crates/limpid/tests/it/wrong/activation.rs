//! Activations and dropouts.

use limpid::prelude::*;

use super::{Wrong, wrong};

pub const WRONG: &[Wrong] = &[
    wrong("celu: alpha 0", || Ok(CELU::new().alpha(0.0).forward(&Tensor::zeros([2]))), &["celu", "alpha is 0"]),
    wrong("hardtanh: limits in the wrong order", || Ok(Tensor::zeros([2]).hardtanh(1.0, -1.0)), &["min_val 1", "-1"]),
    wrong(
        "hardtanh: limits of the layer in the wrong order",
        || Ok(Hardtanh::new().min_val(3.0).forward(&Tensor::zeros([2]))),
        &["min_val 3", "max_val 1"],
    ),
    wrong(
        "softshrink: lambd below 0",
        || Ok(Softshrink::new().lambd(-1.0).forward(&Tensor::zeros([2]))),
        &["lambd is -1"],
    ),
    wrong("glu: an odd axis", || Ok(GLU::new(-1).forward(&Tensor::zeros([2, 3]))), &["[2, 3]", "odd size, 3"]),
    wrong("glu: no such axis", || Ok(Tensor::zeros([4]).glu(1)), &["glu", "1"]),
    wrong("glu: a scalar", || Ok(Tensor::zeros([]).glu(-1)), &["glu"]),
    wrong(
        "prelu: another number of channels",
        || Ok(PReLU::new().num_parameters(2).forward(&Tensor::zeros([4, 3]))),
        &["[2]", "[4, 3]"],
    ),
    wrong(
        "prelu: one for each element of a vector",
        || Ok(PReLU::new().num_parameters(3).forward(&Tensor::zeros([3]))),
        &["[3]", "1: one for each channel"],
    ),
    wrong("prelu: a matrix of weights", || Ok(Tensor::zeros([2, 3]).prelu(&Tensor::zeros([3, 1]))), &["[3, 1]"]),
    wrong(
        "prelu: another type",
        || Ok(PReLU::new().dtype(DType::F64).forward(&Tensor::zeros([2, 3]))),
        &["weight is f64", "f32"],
    ),
    wrong("rrelu: bounds in the wrong order", || Ok(Tensor::zeros([2]).rrelu(0.5, 0.1)), &["from 0.5 to 0.1"]),
    wrong("rrelu: an infinite bound", || Ok(Tensor::zeros([2]).rrelu(0.5, f64::INFINITY)), &["0.5 to inf"]),
    wrong(
        "rrelu: bounds in the wrong order in evaluation",
        || {
            let layer = RReLU::new().lower(0.9);
            layer.eval();
            Ok(layer.forward(&Tensor::zeros([2])))
        },
        &["from 0.9"],
    ),
    wrong("softmax2d: a matrix", || Ok(Softmax2d::new().forward(&Tensor::zeros([2, 3]))), &["Softmax2d", "[2, 3]"]),
    wrong("softmin: no such axis", || Ok(Softmin::new(2).forward(&Tensor::zeros([2, 3]))), &["2", "[2, 3]"]),
    wrong(
        "gelu: another approximation",
        || Ok(GELU::new().approximate("erf").forward(&Tensor::zeros([2]))),
        &["\"erf\""],
    ),
    wrong("gumbel_softmax: no such axis", || Ok(Tensor::zeros([2, 3]).gumbel_softmax(1.0, true, 2)), &["2", "[2, 3]"]),
    wrong("dropout: a probability above 1", || Ok(Dropout::new(1.5).forward(&Tensor::zeros([2]))), &["dropout", "1.5"]),
    wrong("dropout: a probability in percent", || Ok(Tensor::zeros([2]).dropout(50.0)), &["dropout", "50", "0 to 1"]),
    wrong("dropout: a probability that is NaN", || Ok(Dropout::new(f64::NAN).forward(&Tensor::zeros([2]))), &["NaN"]),
    wrong(
        "dropout: a probability below 0 in evaluation",
        || {
            let layer = Dropout::new(-0.1);
            layer.eval();
            Ok(layer.forward(&Tensor::zeros([2])))
        },
        &["dropout", "-0.1"],
    ),
    wrong(
        "dropout1d: a vector",
        || Ok(Dropout1d::new(0.5).forward(&Tensor::zeros([3]))),
        &["dropout1d", "[3]", "1 axes"],
    ),
    wrong(
        "dropout1d: an image",
        || Ok(Dropout1d::new(0.5).forward(&Tensor::zeros([1, 2, 3, 4]))),
        &["dropout1d", "4 axes", "2 to 3"],
    ),
    wrong("dropout2d: a vector", || Ok(Dropout2d::new(0.5).forward(&Tensor::zeros([3]))), &["dropout2d", "[3]"]),
    wrong("dropout3d: a scalar", || Ok(Dropout3d::new(0.5).forward(&Tensor::zeros([]))), &["dropout3d", "0 axes"]),
    wrong(
        "alpha_dropout: a probability below 0",
        || Ok(Tensor::zeros([3]).alpha_dropout(-1.0)),
        &["alpha_dropout", "-1"],
    ),
    wrong(
        "feature_alpha_dropout: a vector",
        || Ok(FeatureAlphaDropout::new(0.5).forward(&Tensor::zeros([3]))),
        &["feature_alpha_dropout", "[3]"],
    ),
];
