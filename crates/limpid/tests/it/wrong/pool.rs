//! Pooling and sliding blocks.

use limpid::prelude::*;

use super::{Wrong, wrong};

fn image() -> Tensor {
    Tensor::zeros([1, 2, 4, 4])
}

fn pooled() -> (Tensor, Tensor) {
    MaxPool2d::new(2).forward_with_indices(&image())
}

pub const WRONG: &[Wrong] = &[
    wrong(
        "max_pool: an image without channels",
        || Ok(MaxPool2d::new(2).forward(&Tensor::zeros([4, 4]))),
        &["max_pool2d", "[4, 4]", "[batch, channels, height, width]"],
    ),
    wrong(
        "max_pool: a padding of more than half a window",
        || Ok(MaxPool2d::new(3).padding(2).forward(&image())),
        &["padding 2", "half of the window 3"],
    ),
    wrong("max_pool: a window of 0", || Ok(MaxPool2d::new(0).forward(&image())), &["kernel_size", "0"]),
    wrong("max_pool: a stride of 0", || Ok(MaxPool2d::new(2).stride([1, 0]).forward(&image())), &["stride", "(1, 0)"]),
    wrong(
        "max_pool: a window larger than the image",
        || Ok(MaxPool2d::new(5).forward(&image())),
        &["window of 5", "size 4"],
    ),
    wrong(
        "max_pool: a dilated window larger than the image",
        || Ok(MaxPool2d::new(3).dilation(2).forward(&image())),
        &["window of 5", "size 4"],
    ),
    wrong(
        "max_pool: no channels",
        || Ok(MaxPool2d::new(2).forward(&Tensor::zeros([2, 0, 4, 4]))),
        &["[2, 0, 4, 4]", "not the batch"],
    ),
    wrong(
        "max_pool: a window of another number of axes",
        || Ok(MaxPool2d::new([2, 2, 2]).forward(&image())),
        &["kernel_size is (2, 2, 2)"],
    ),
    wrong(
        "avg_pool: a padding of more than half a window",
        || Ok(AvgPool2d::new(2).padding(2).forward(&image())),
        &["avg_pool2d", "padding 2"],
    ),
    wrong(
        "avg_pool: a divisor of 0",
        || Ok(AvgPool2d::new(2).divisor_override(0).forward(&image())),
        &["divisor_override is 0"],
    ),
    wrong(
        "avg_pool: integers",
        || Ok(AvgPool2d::new(2).forward(&image().to_dtype(DType::I64))),
        &["i64", "not a float"],
    ),
    wrong(
        "avg_pool: a window larger than the input",
        || Ok(AvgPool1d::new(5).forward(&Tensor::zeros([1, 4]))),
        &["window of 5"],
    ),
    wrong("lp_pool: no norm", || Ok(LPPool2d::new(0.0, 2).forward(&image())), &["norm_type is 0"]),
    wrong(
        "lp_pool: a window larger than the image",
        || Ok(LPPool2d::new(2.0, 5).forward(&image())),
        &["lp_pool2d", "window of 5"],
    ),
    wrong(
        "adaptive_avg_pool: a size for each of three axes",
        || Ok(AdaptiveAvgPool2d::new([1, 1, 1]).forward(&image())),
        &["output_size is (1, 1, 1)"],
    ),
    wrong(
        "adaptive_avg_pool: an empty image",
        || Ok(AdaptiveAvgPool2d::new(1).forward(&Tensor::zeros([2, 3, 0, 4]))),
        &["[2, 3, 0, 4]", "size of 0"],
    ),
    wrong(
        "adaptive_avg_pool: a flat batch",
        || Ok(AdaptiveAvgPool2d::new(1).forward(&Tensor::zeros([2, 3]))),
        &["adaptive_avg_pool2d", "[2, 3]"],
    ),
    wrong(
        "adaptive_max_pool: integers",
        || Ok(AdaptiveMaxPool2d::new(1).forward(&image().to_dtype(DType::I32))),
        &["adaptive_max_pool2d", "i32"],
    ),
    wrong(
        "max_unpool: indices of another shape",
        || Ok(MaxUnpool2d::new(2).forward(&pooled().0, &Tensor::zeros_of([1, 2, 2, 3], DType::I64), None)),
        &["max_unpool2d", "[1, 2, 2, 3]", "[1, 2, 2, 2]"],
    ),
    wrong(
        "max_unpool: indices of i32",
        || Ok(MaxUnpool2d::new(2).forward(&pooled().0, &pooled().1.to_dtype(DType::I32), None)),
        &["i32", "i64"],
    ),
    wrong(
        "max_unpool: values and indices exchanged",
        || Ok(MaxUnpool2d::new(2).forward(&pooled().1, &pooled().0, None)),
        &["indices are f32"],
    ),
    wrong(
        "max_unpool: an index outside of the plane",
        || Ok(MaxUnpool1d::new(2).forward(&Tensor::zeros([1, 1, 2]), &Tensor::from([[[0i64, 4]]]), None)),
        &["index 4", "size 4"],
    ),
    wrong(
        "max_unpool: a size that the pooling does not give",
        || Ok(MaxUnpool2d::new(2).forward(&pooled().0, &pooled().1, Some(Sizes::from([6, 4])))),
        &["output_size 6", "from 3 to 5"],
    ),
    wrong(
        "max_unpool: a size of another number of axes",
        || Ok(MaxUnpool2d::new(2).forward(&pooled().0, &pooled().1, Some(Sizes::from([4, 4, 4])))),
        &["output_size (4, 4, 4)"],
    ),
    wrong(
        "fractional_max_pool: neither size nor ratio",
        || Ok(FractionalMaxPool2d::new(2).forward(&image())),
        &["neither output_size nor output_ratio"],
    ),
    wrong(
        "fractional_max_pool: a ratio of 1",
        || Ok(FractionalMaxPool2d::new(2).output_ratio(1.0).forward(&image())),
        &["output_ratio [1.0]", "between 0 and 1"],
    ),
    wrong(
        "fractional_max_pool: more windows than fit",
        || Ok(FractionalMaxPool2d::new(2).output_size(4).forward(&image())),
        &["4 windows of 2", "axis of 4"],
    ),
    wrong(
        "fractional_max_pool: samples for other axes",
        || {
            let layer = FractionalMaxPool2d::new(2).output_size(2).random_samples(&Tensor::zeros([1, 2, 3]));
            Ok(layer.forward(&image()))
        },
        &["random_samples", "[1, 2, 3]", "[1, 2, 2]"],
    ),
    wrong(
        "unfold: a block larger than the image",
        || Ok(Unfold::new(5).forward(&image())),
        &["im2col", "[5, 5]", "[4, 4]"],
    ),
    wrong("unfold: a matrix", || Ok(Unfold::new(2).forward(&Tensor::zeros([4, 4]))), &["im2col", "[4, 4]"]),
    wrong(
        "fold: rows that are no blocks",
        || Ok(Fold::new(4, 2).forward(&Tensor::zeros([1, 5, 9]))),
        &["fold", "5 rows", "4 elements"],
    ),
    wrong(
        "fold: another number of blocks",
        || Ok(Fold::new(4, 2).forward(&Tensor::zeros([1, 4, 8]))),
        &["8 blocks", "has 9"],
    ),
    wrong("fold: an image", || Ok(Fold::new(4, 2).forward(&image())), &["[1, 2, 4, 4]", "not 2 or 3"]),
];
