//! Pooling.

use limpid::{
    AvgPoolOptions, FoldOptions, FractionalMaxPoolOptions, MaxPoolOptions, MaxUnpoolOptions, OutputSizes, Sizes, Tensor,
};

use crate::conformance::args::{Args, Result};
use crate::conformance::ops::Call;
use crate::conformance::random::Law;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("adaptive_avg_pool1d", |a| one(input(a)?.adaptive_avg_pool1d(output_size(a)?))),
    ("adaptive_avg_pool2d", |a| one(input(a)?.adaptive_avg_pool2d(output_size(a)?))),
    ("adaptive_avg_pool3d", |a| one(input(a)?.adaptive_avg_pool3d(output_size(a)?))),
    ("adaptive_max_pool1d", |a| adaptive_max(a, Tensor::adaptive_max_pool1d_with_indices)),
    ("adaptive_max_pool2d", |a| adaptive_max(a, Tensor::adaptive_max_pool2d_with_indices)),
    ("adaptive_max_pool3d", |a| adaptive_max(a, Tensor::adaptive_max_pool3d_with_indices)),
    ("avg_pool1d", |a| avg_pool(a, false, Tensor::avg_pool1d)),
    ("avg_pool2d", |a| avg_pool(a, true, Tensor::avg_pool2d)),
    ("avg_pool3d", |a| avg_pool(a, true, Tensor::avg_pool3d)),
    ("fold", |a| {
        let (x, size, kernel) = (input(a)?, a.required::<Sizes>("output_size")?, a.required::<Sizes>("kernel_size")?);
        one(x.fold(size, kernel, &blocks(a)?))
    }),
    ("fractional_max_pool2d", |a| fractional(a, Tensor::fractional_max_pool2d_with_indices)),
    ("fractional_max_pool3d", |a| fractional(a, Tensor::fractional_max_pool3d_with_indices)),
    ("lp_pool1d", |a| lp_pool(a, Tensor::lp_pool1d)),
    ("lp_pool2d", |a| lp_pool(a, Tensor::lp_pool2d)),
    ("lp_pool3d", |a| lp_pool(a, Tensor::lp_pool3d)),
    ("max_pool1d", |a| max_pool(a, Tensor::max_pool1d_with_indices)),
    ("max_pool2d", |a| max_pool(a, Tensor::max_pool2d_with_indices)),
    ("max_pool3d", |a| max_pool(a, Tensor::max_pool3d_with_indices)),
    ("max_unpool1d", |a| max_unpool(a, Tensor::max_unpool1d)),
    ("max_unpool1d.grad", |a| max_unpool(a, Tensor::max_unpool1d)),
    ("max_unpool2d", |a| max_unpool(a, Tensor::max_unpool2d)),
    ("max_unpool2d.grad", |a| max_unpool(a, Tensor::max_unpool2d)),
    ("max_unpool3d", |a| max_unpool(a, Tensor::max_unpool3d)),
    ("max_unpool3d.grad", |a| max_unpool(a, Tensor::max_unpool3d)),
    ("unfold", |a| {
        let (x, kernel) = (input(a)?, a.required::<Sizes>("kernel_size")?);
        one(x.im2col(kernel, &blocks(a)?))
    }),
];

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

fn input(a: &mut Args<'_>) -> Result<Tensor> {
    a.required("input")
}

fn output_size(a: &mut Args<'_>) -> Result<OutputSizes> {
    a.required("output_size")
}

/// Sizes, or none: torch also writes `[]` for none.
pub fn sizes(a: &mut Args<'_>, name: &str) -> Result<Option<Sizes>> {
    Ok(a.option::<Vec<usize>>(name)?.filter(|sizes| !sizes.is_empty()).map(Sizes::from))
}

/// The values, and the indices where they are asked for.
fn with(a: &mut Args<'_>, (values, indices): (Tensor, Tensor)) -> Result<Vec<Tensor>> {
    Ok(if a.or("return_indices", false)? { vec![values, indices] } else { vec![values] })
}

fn max_pool(a: &mut Args<'_>, f: fn(&Tensor, Sizes, &MaxPoolOptions) -> (Tensor, Tensor)) -> Result<Vec<Tensor>> {
    let (x, kernel, stride) = (input(a)?, a.required("kernel_size")?, sizes(a, "stride")?);
    let (padding, dilation) = (a.or("padding", 0.into())?, a.or("dilation", 1.into())?);
    let options = MaxPoolOptions { stride, padding, dilation, ceil_mode: a.or("ceil_mode", false)? };
    with(a, f(&x, kernel, &options))
}

fn adaptive_max(a: &mut Args<'_>, f: fn(&Tensor, OutputSizes) -> (Tensor, Tensor)) -> Result<Vec<Tensor>> {
    let (x, size) = (input(a)?, output_size(a)?);
    with(a, f(&x, size))
}

/// Torch's `avg_pool1d` has no `divisor_override`.
fn avg_pool(a: &mut Args<'_>, divisor: bool, f: fn(&Tensor, Sizes, &AvgPoolOptions) -> Tensor) -> Result<Vec<Tensor>> {
    let (x, kernel, stride) = (input(a)?, a.required("kernel_size")?, sizes(a, "stride")?);
    let (padding, ceil_mode) = (a.or("padding", 0.into())?, a.or("ceil_mode", false)?);
    let count_include_pad = a.or("count_include_pad", true)?;
    let divisor_override = if divisor { a.option("divisor_override")? } else { None };
    one(f(&x, kernel, &AvgPoolOptions { stride, padding, ceil_mode, count_include_pad, divisor_override }))
}

fn lp_pool(a: &mut Args<'_>, f: fn(&Tensor, f64, Sizes, Option<Sizes>, bool) -> Tensor) -> Result<Vec<Tensor>> {
    let (x, norm, kernel) = (input(a)?, a.required("norm_type")?, a.required("kernel_size")?);
    let stride = sizes(a, "stride")?;
    one(f(&x, norm, kernel, stride, a.or("ceil_mode", false)?))
}

fn max_unpool(a: &mut Args<'_>, f: fn(&Tensor, &Tensor, Sizes, &MaxUnpoolOptions) -> Tensor) -> Result<Vec<Tensor>> {
    let (x, indices, kernel) = (input(a)?, a.required("indices")?, a.required("kernel_size")?);
    let (stride, padding) = (sizes(a, "stride")?, a.or("padding", 0.into())?);
    one(f(&x, &indices, kernel, &MaxUnpoolOptions { stride, padding, output_size: a.option("output_size")? }))
}

fn fractional(
    a: &mut Args<'_>,
    f: fn(&Tensor, Sizes, &FractionalMaxPoolOptions) -> (Tensor, Tensor),
) -> Result<Vec<Tensor>> {
    let (x, kernel) = (input(a)?, a.required("kernel_size")?);
    let (output_size, output_ratio) = (a.option("output_size")?, a.option("output_ratio")?);
    let indices: bool = a.or("return_indices", false)?;
    let random_samples = a.option("_random_samples")?;
    if random_samples.is_none() {
        a.draws(Law::Any);
    }
    let (values, places) = f(&x, kernel, &FractionalMaxPoolOptions { output_size, output_ratio, random_samples });
    Ok(if indices { vec![values, places] } else { vec![values] })
}

fn blocks(a: &mut Args<'_>) -> Result<FoldOptions> {
    let (dilation, padding) = (a.or("dilation", 1.into())?, a.or("padding", 0.into())?);
    Ok(FoldOptions { dilation, padding, stride: a.or("stride", 1.into())? })
}
