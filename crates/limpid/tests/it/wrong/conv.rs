//! Convolutions.

use limpid::prelude::*;

use super::{Wrong, wrong};

fn image(channels: usize) -> Tensor {
    Tensor::zeros([1, channels, 5, 5])
}

fn window() -> Tensor {
    Tensor::zeros([2, 4, 3, 3])
}

pub const WRONG: &[Wrong] = &[
    wrong(
        "conv: another number of channels",
        || Ok(Conv2d::new(3, 8, 3).forward(&image(4))),
        &["conv2d", "4 channels", "takes 3"],
    ),
    wrong(
        "conv: channels last",
        || Ok(Conv2d::new(3, 8, 3).forward(&Tensor::zeros([1, 28, 28, 3]))),
        &["[1, 28, 28, 3]", "28 channels"],
    ),
    wrong(
        "conv: an image without channels",
        || Ok(Conv2d::new(1, 8, 3).forward(&Tensor::zeros([28, 28]))),
        &["[28, 28]", "[batch, channels, height, width]"],
    ),
    wrong(
        "conv: a flat batch",
        || Ok(Conv1d::new(1, 8, 3).forward(&Tensor::zeros([7]))),
        &["conv1d", "[batch, channels, length]"],
    ),
    wrong(
        "conv: a window larger than the image",
        || Ok(Conv2d::new(4, 2, 7).forward(&image(4))),
        &["window of 7", "size 5"],
    ),
    wrong(
        "conv: a dilated window larger than the image",
        || Ok(Conv2d::new(4, 2, 3).dilation(3).forward(&image(4))),
        &["window of 7", "size 5"],
    ),
    wrong(
        "conv: an empty image",
        || Ok(Conv1d::new(1, 1, 1).padding(1).forward(&Tensor::zeros([2, 1, 0]))),
        &["size of 0"],
    ),
    wrong("conv: a stride of 0", || Ok(Conv2d::new(4, 2, 3).stride(0).forward(&image(4))), &["stride", "0"]),
    wrong(
        "conv: a dilation of 0",
        || Ok(Conv2d::new(4, 2, 3).dilation([1, 0]).forward(&image(4))),
        &["dilation", "(1, 0)"],
    ),
    wrong(
        "conv: padding Same with a stride",
        || Ok(Conv2d::new(4, 2, 3).stride(2).padding(Padding::Same).forward(&image(4))),
        &["Same", "stride 2"],
    ),
    wrong(
        "conv: padding Same with a stride, mirrored",
        || {
            let layer = Conv2d::new(4, 2, 3).stride(2).padding(Padding::Same).padding_mode(PadMode::Reflect);
            Ok(layer.forward(&image(4)))
        },
        &["Conv2d", "Same", "stride 2"],
    ),
    wrong(
        "conv: groups that do not divide the channels",
        || Ok(Conv2d::new(4, 8, 3).groups(3).forward(&image(4))),
        &["4 input", "8 output", "3 groups"],
    ),
    wrong("conv: no groups", || Ok(Conv2d::new(4, 8, 3).groups(0).forward(&image(4))), &["0 groups"]),
    wrong("conv: a kernel of size 0", || Ok(Conv2d::new(4, 8, 0).forward(&image(4))), &["[8, 4, 0, 0]"]),
    wrong(
        "conv: a kernel of another number of axes",
        || Ok(Conv2d::new(4, 8, [3, 3, 3]).forward(&image(4))),
        &["kernel_size (3, 3, 3)"],
    ),
    wrong(
        "conv: padding of another number of axes",
        || Ok(Conv2d::new(4, 8, 3).padding([1, 1, 1]).forward(&image(4))),
        &["padding is (1, 1, 1)", "2 spatial axes"],
    ),
    wrong(
        "conv: more is mirrored than there is",
        || Ok(Conv2d::new(4, 2, 3).padding(5).padding_mode(PadMode::Reflect).forward(&image(4))),
        &["pad: 5 and 5", "[1, 4, 5, 5]", "reflect"],
    ),
    wrong(
        "conv: wrapped around more than once",
        || Ok(Conv2d::new(4, 2, 3).padding(6).padding_mode(PadMode::Circular).forward(&image(4))),
        &["pad: 6 and 6", "circular"],
    ),
    wrong(
        "conv: another type than the weights",
        || Ok(Conv2d::new(4, 2, 3).forward(&image(4).to_dtype(DType::F64))),
        &["f64", "f32"],
    ),
    wrong(
        "conv: integers",
        || Ok(Conv2d::new(4, 2, 3).forward(&image(4).to_dtype(DType::I64))),
        &["i64", "not a float"],
    ),
    wrong(
        "conv: a bias of another size",
        || Ok(image(4).conv2d(&window(), Some(&Tensor::zeros([4])), &ConvOptions::new())),
        &["bias [4]", "[2]"],
    ),
    wrong(
        "conv: a weight without its window",
        || Ok(image(4).conv2d(&Tensor::zeros([2, 4]), None, &ConvOptions::new())),
        &["weight [2, 4]", "4"],
    ),
    wrong(
        "conv_transpose: another number of channels",
        || Ok(ConvTranspose2d::new(3, 8, 3).forward(&image(4))),
        &["conv_transpose2d", "4 channels", "takes 3"],
    ),
    wrong(
        "conv_transpose: output_padding not below the stride",
        || Ok(ConvTranspose2d::new(4, 8, 3).stride(2).output_padding(2).forward(&image(4))),
        &["output_padding 2", "stride 2"],
    ),
    wrong(
        "conv_transpose: an output size that no input gives",
        || Ok(ConvTranspose2d::new(4, 8, 3).stride(2).forward_sized(&image(4), [13, 11])),
        &["output_size [13, 11]", "from 11 to 12"],
    ),
    wrong(
        "conv_transpose: an output size of another number of axes",
        || Ok(ConvTranspose2d::new(4, 8, 3).forward_sized(&image(4), [1, 7, 7])),
        &["output_size", "3"],
    ),
    wrong(
        "conv_transpose: all cut off",
        || Ok(ConvTranspose1d::new(1, 1, 1).padding(1).forward(&Tensor::zeros([1, 1, 1]))),
        &["padding 1 cuts off all"],
    ),
    wrong(
        "lazy: a first input that is none",
        || Ok(LazyConv2d::new(8, 3).forward(&Tensor::zeros([4, 4]))),
        &["LazyConv2d", "[4, 4]"],
    ),
    wrong(
        "lazy: groups that do not divide what the input has",
        || Ok(LazyConv2d::new(8, 3).groups(4).forward(&image(6))),
        &["6 input", "4 groups"],
    ),
    wrong(
        "lazy: another input than the first",
        || {
            let layer = LazyLinear::new(2);
            layer.forward(&Tensor::zeros([1, 3])).eval()?;
            Ok(layer.forward(&Tensor::zeros([1, 4])))
        },
        &["4 ≠ 3"],
    ),
    wrong("lazy: a scalar", || Ok(LazyLinear::new(2).forward(&Tensor::from(1.0f32))), &["LazyLinear", "scalar"]),
];
