//! Padding, shuffles and other shapes.

use limpid::PadMode;
use limpid::prelude::*;

use super::{Wrong, wrong};

pub const WRONG: &[Wrong] = &[
    wrong(
        "pad: as many mirrored as there are",
        || Ok(Tensor::zeros([1, 2, 3]).pad_with(&[3, 1], PadMode::Reflect)),
        &["3 and 1", "axis 2 of [1, 2, 3]", "reflect"],
    ),
    wrong(
        "pad: more than once around",
        || Ok(CircularPad1d::new([4, 1]).forward(&Tensor::zeros([1, 2, 3]))),
        &["4 and 1", "circular"],
    ),
    wrong(
        "pad: nothing left of a ring",
        || Ok(Tensor::zeros([1, 2, 3]).pad_with(&[-2, -2], PadMode::Circular)),
        &["-2 and -2", "circular"],
    ),
    wrong(
        "pad: nothing to repeat",
        || Ok(ReplicationPad1d::new(1).forward(&Tensor::zeros([1, 2, 0]))),
        &["replicate", "[1, 2, 0]"],
    ),
    wrong(
        "pad: nothing left to repeat",
        || Ok(Tensor::zeros([1, 2, 3]).pad_with(&[-2, -1], PadMode::Replicate)),
        &["-2 and -1", "replicate"],
    ),
    wrong(
        "pad: more cut than there is",
        || Ok(Tensor::zeros([2, 3]).pad_with(&[-2, -2], PadMode::Constant(0.0))),
        &["-2 and -2", "[2, 3]"],
    ),
    wrong(
        "pad: an odd number of sizes",
        || Ok(Tensor::zeros([2, 3]).pad_with(&[1], PadMode::Constant(0.0))),
        &["[1]", "pairs"],
    ),
    wrong(
        "pad: more pairs than axes",
        || Ok(Tensor::zeros([2, 3]).pad_with(&[1; 6], PadMode::Constant(0.0))),
        &["6 numbers for [2, 3]"],
    ),
    wrong(
        "pad: an axis of channels mirrored",
        || Ok(Tensor::zeros([1, 2, 3]).pad_with(&[1; 6], PadMode::Reflect)),
        &["6 numbers for [1, 2, 3]", "reflect"],
    ),
    wrong(
        "pad: one axis of an image mirrored",
        || Ok(Tensor::zeros([1, 1, 2, 3]).pad_with(&[1, 1], PadMode::Reflect)),
        &["2 numbers for [1, 1, 2, 3]"],
    ),
    wrong(
        "pad: sizes beyond memory",
        || Ok(Tensor::zeros([2, 3]).pad_with(&[isize::MAX, isize::MAX], PadMode::Constant(0.0))),
        &["too large"],
    ),
    wrong(
        "ReflectionPad1d: a vector",
        || Ok(ReflectionPad1d::new(1).forward(&Tensor::zeros([3]))),
        &["[3]", "reflect"],
    ),
    wrong(
        "ReflectionPad1d: an image",
        || Ok(ReflectionPad1d::new(1).forward(&Tensor::zeros([1, 2, 3, 4]))),
        &["[1, 2, 3, 4]", "reflect"],
    ),
    wrong(
        "ZeroPad2d: a vector",
        || Ok(ZeroPad2d::new(1).forward(&Tensor::zeros([3]))),
        &["ZeroPad2d", "[3]", "1 axes"],
    ),
    wrong(
        "ZeroPad2d: two numbers",
        || Ok(ZeroPad2d::new([1, 2]).forward(&Tensor::zeros([1, 1, 3, 3]))),
        &["ZeroPad2d", "2 numbers", "4"],
    ),
    wrong(
        "ConstantPad3d: a matrix",
        || Ok(ConstantPad3d::new(1, 2.0).forward(&Tensor::zeros([3, 3]))),
        &["ConstantPad3d", "[3, 3]"],
    ),
    wrong(
        "pixel_shuffle: a matrix",
        || Ok(PixelShuffle::new(2).forward(&Tensor::zeros([2, 3]))),
        &["pixel_shuffle", "[2, 3]"],
    ),
    wrong(
        "pixel_shuffle: too few channels",
        || Ok(PixelShuffle::new(2).forward(&Tensor::zeros([3, 2, 2]))),
        &["3 channels", "upscale_factor 2"],
    ),
    wrong(
        "pixel_shuffle: a factor of 0",
        || Ok(PixelShuffle::new(0).forward(&Tensor::zeros([4, 2, 2]))),
        &["upscale_factor 0"],
    ),
    wrong(
        "pixel_shuffle: a factor beyond numbers",
        || Ok(PixelShuffle::new(usize::MAX).forward(&Tensor::zeros([4, 2, 2]))),
        &["upscale_factor"],
    ),
    wrong(
        "pixel_unshuffle: an odd height",
        || Ok(PixelUnshuffle::new(2).forward(&Tensor::zeros([1, 3, 4]))),
        &["height 3", "downscale_factor 2"],
    ),
    wrong(
        "pixel_unshuffle: a factor of 0",
        || Ok(PixelUnshuffle::new(0).forward(&Tensor::zeros([1, 4, 4]))),
        &["downscale_factor 0"],
    ),
    wrong(
        "channel_shuffle: groups that do not divide",
        || Ok(ChannelShuffle::new(3).forward(&Tensor::zeros([1, 4, 2]))),
        &["4 channels", "3 groups"],
    ),
    wrong(
        "channel_shuffle: no groups",
        || Ok(ChannelShuffle::new(0).forward(&Tensor::zeros([1, 4, 2]))),
        &["0 groups"],
    ),
    wrong("channel_shuffle: a matrix", || Ok(Tensor::zeros([1, 4]).channel_shuffle(2)), &["[1, 4]", "2 axes"]),
    wrong(
        "unflatten: sizes that do not fill",
        || Ok(Unflatten::new(1, [2, 3]).forward(&Tensor::zeros([1, 5]))),
        &["[2, 3]", "axis 1 of [1, 5]", "5"],
    ),
    wrong(
        "unflatten: two open sizes",
        || Ok(Tensor::zeros([1, 4]).unflatten(1, &[-1, -1])),
        &["unflatten", "[-1, -1]"],
    ),
    wrong("unflatten: no sizes", || Ok(Tensor::zeros([1, 1]).unflatten(1, &[])), &["unflatten", "[]"]),
    wrong("unflatten: no such axis", || Ok(Tensor::zeros([1, 4]).unflatten(3, &[2, 2])), &["unflatten", "3"]),
    wrong(
        "flatten: axes in the wrong order",
        || Ok(Flatten::new().start_dim(2).end_dim(1).forward(&Tensor::zeros([2, 3, 4]))),
        &["2", "1"],
    ),
    wrong("one_hot: a class beyond the last", || Ok(Tensor::from([0i64, 3]).one_hot(3)), &["index 3", "0 to 2"]),
    wrong("one_hot: a class below 0", || Ok(Tensor::from([0i64, -1]).one_hot(3)), &["index -1"]),
    wrong("one_hot: floats", || Ok(Tensor::from([1.0f32]).one_hot(3)), &["one_hot", "f32"]),
    wrong("one_hot: the classes of nothing", || Ok(Tensor::zeros_of([0], DType::I64).one_hot(None)), &["one_hot"]),
];
