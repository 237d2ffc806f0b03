//! Normalisations.

use limpid::prelude::*;

use super::{Wrong, wrong};

fn channels(n: usize) -> NormOptions {
    NormOptions::new().weight(&Tensor::ones([n]))
}

pub const WRONG: &[Wrong] = &[
    wrong(
        "BatchNorm1d: one value a channel in training",
        || Ok(BatchNorm1d::new(3).forward(&Tensor::zeros([1, 3]))),
        &["batch_norm", "one value a channel", "[1, 3]"],
    ),
    wrong(
        "BatchNorm2d: one picture of one pixel in training",
        || Ok(BatchNorm2d::new(3).forward(&Tensor::zeros([1, 3, 1, 1]))),
        &["one value a channel", "[1, 3, 1, 1]"],
    ),
    wrong(
        "BatchNorm1d: another number of channels",
        || Ok(BatchNorm1d::new(3).forward(&Tensor::zeros([2, 4]))),
        &["BatchNorm1d", "4 channels", "3"],
    ),
    wrong(
        "BatchNorm1d: no batch",
        || Ok(BatchNorm1d::new(3).forward(&Tensor::zeros([3]))),
        &["BatchNorm1d", "1 axes", "[batch, channels, length]"],
    ),
    wrong(
        "BatchNorm1d: a picture",
        || Ok(BatchNorm1d::new(3).forward(&Tensor::zeros([2, 3, 4, 4]))),
        &["BatchNorm1d", "4 axes"],
    ),
    wrong(
        "BatchNorm2d: one picture without a batch",
        || Ok(BatchNorm2d::new(3).forward(&Tensor::zeros([3, 4, 4]))),
        &["BatchNorm2d", "3 axes", "height, width"],
    ),
    wrong(
        "BatchNorm3d: a picture",
        || Ok(BatchNorm3d::new(3).forward(&Tensor::zeros([2, 3, 4, 4]))),
        &["BatchNorm3d", "depth"],
    ),
    wrong(
        "BatchNorm1d: another type",
        || Ok(BatchNorm1d::new(3).forward(&Tensor::zeros_of([2, 3], DType::F64))),
        &["batch_norm", "f64", "f32"],
    ),
    wrong(
        "BatchNorm1d: integers",
        || Ok(BatchNorm1d::new(3).forward(&Tensor::zeros_of([2, 3], DType::I64))),
        &["batch_norm", "i64"],
    ),
    wrong(
        "BatchNorm1d: eps below 0",
        || Ok(BatchNorm1d::new(3).eps(-1.0).forward(&Tensor::zeros([2, 3]))),
        &["eps is -1"],
    ),
    wrong(
        "BatchNorm1d: eps 0 in training",
        || Ok(BatchNorm1d::new(3).eps(0.0).forward(&Tensor::zeros([2, 3]))),
        &["eps is 0"],
    ),
    wrong(
        "batch_norm: evaluation without statistics",
        || Ok(Tensor::zeros([2, 3]).batch_norm(false, &NormOptions::new())),
        &["batch_norm", "running_mean and running_var"],
    ),
    wrong(
        "batch_norm: a weight for other channels",
        || Ok(Tensor::zeros([2, 3]).batch_norm(true, &channels(2))),
        &["weight has shape [2]", "3 channels"],
    ),
    wrong(
        "batch_norm: no axis of channels",
        || Ok(Tensor::zeros([3]).batch_norm(true, &NormOptions::new())),
        &["[3]", "channels"],
    ),
    wrong(
        "instance_norm: evaluation without statistics",
        || Ok(Tensor::zeros([2, 3, 4]).instance_norm(false, &NormOptions::new())),
        &["instance_norm", "running_mean and running_var"],
    ),
    wrong(
        "InstanceNorm1d: one place",
        || Ok(InstanceNorm1d::new(3).forward(&Tensor::zeros([2, 3, 1]))),
        &["instance_norm", "one value a channel"],
    ),
    wrong(
        "InstanceNorm2d: two axes",
        || Ok(InstanceNorm2d::new(3).forward(&Tensor::zeros([2, 3]))),
        &["InstanceNorm2d", "2 axes"],
    ),
    wrong(
        "InstanceNorm1d: statistics of other channels",
        || Ok(InstanceNorm1d::new(3).track_running_stats(true).forward(&Tensor::zeros([2, 5, 4]))),
        &["InstanceNorm1d", "5 channels", "3"],
    ),
    wrong(
        "GroupNorm: groups that are not equal",
        || Ok(GroupNorm::new(2, 3).forward(&Tensor::zeros([2, 3]))),
        &["3 channels are not 2 equal groups"],
    ),
    wrong(
        "GroupNorm: no group",
        || Ok(GroupNorm::new(0, 3).forward(&Tensor::zeros([2, 3]))),
        &["3 channels are not 0 equal groups"],
    ),
    wrong(
        "GroupNorm: another number of channels",
        || Ok(GroupNorm::new(2, 4).forward(&Tensor::zeros([2, 6]))),
        &["group_norm", "[4]", "[2, 6]"],
    ),
    wrong(
        "group_norm: one value",
        || Ok(Tensor::zeros([1, 1]).group_norm(1, None, None, 1e-5)),
        &["group_norm", "one value a group"],
    ),
    wrong(
        "group_norm: a vector",
        || Ok(Tensor::zeros([4]).group_norm(2, None, None, 1e-5)),
        &["group_norm", "[4]", "channels"],
    ),
    wrong(
        "RMSNorm: another last size",
        || Ok(RMSNorm::new(4).forward(&Tensor::zeros([2, 3]))),
        &["rms_norm", "[2, 3]", "[4]"],
    ),
    wrong(
        "rms_norm: integers",
        || Ok(Tensor::zeros_of([2, 3], DType::I64).rms_norm(3, None, None)),
        &["rms_norm", "i64"],
    ),
    wrong(
        "LocalResponseNorm: no window",
        || Ok(LocalResponseNorm::new(0).forward(&Tensor::zeros([2, 3, 4]))),
        &["local_response_norm", "0 channels"],
    ),
    wrong(
        "LocalResponseNorm: two axes",
        || Ok(LocalResponseNorm::new(2).forward(&Tensor::zeros([2, 3]))),
        &["local_response_norm", "fewer than three axes"],
    ),
    wrong(
        "CrossMapLRN2d: three axes",
        || Ok(CrossMapLRN2d::new(3).forward(&Tensor::zeros([2, 3, 4]))),
        &["cross_map_lrn2d", "[2, 3, 4]"],
    ),
    wrong("normalize: no such axis", || Ok(Tensor::ones([2, 3]).normalize(2.0, 3, 1e-12)), &["normalize", "axis 3"]),
    wrong(
        "normalize: integers",
        || Ok(Tensor::zeros_of([2, 3], DType::I64).normalize(2.0, 1, 1e-12)),
        &["normalize", "i64"],
    ),
];
