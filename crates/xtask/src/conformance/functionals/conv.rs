//! Convolutions.

use limpid::{ConvOptions, ConvTransposeOptions, Tensor};

use crate::conformance::args::{Args, Result};
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("conv1d", |a| conv(a, Tensor::conv1d)),
    ("conv2d", |a| conv(a, Tensor::conv2d)),
    ("conv3d", |a| conv(a, Tensor::conv3d)),
    ("conv_transpose1d", |a| conv_transpose(a, Tensor::conv_transpose1d)),
    ("conv_transpose2d", |a| conv_transpose(a, Tensor::conv_transpose2d)),
    ("conv_transpose3d", |a| conv_transpose(a, Tensor::conv_transpose3d)),
];

type Conv = fn(&Tensor, &Tensor, Option<&Tensor>, &ConvOptions) -> Tensor;
type ConvTranspose = fn(&Tensor, &Tensor, Option<&Tensor>, &ConvTransposeOptions) -> Tensor;

fn conv(a: &mut Args<'_>, f: Conv) -> Result<Vec<Tensor>> {
    let (x, weight, bias) = (a.required::<Tensor>("input")?, a.required("weight")?, a.option::<Tensor>("bias")?);
    let (stride, padding) = (a.or("stride", 1.into())?, a.or("padding", 0.into())?);
    let options = ConvOptions { stride, padding, dilation: a.or("dilation", 1.into())?, groups: a.or("groups", 1)? };
    Ok(vec![f(&x, &weight, bias.as_ref(), &options)])
}

fn conv_transpose(a: &mut Args<'_>, f: ConvTranspose) -> Result<Vec<Tensor>> {
    let (x, weight, bias) = (a.required::<Tensor>("input")?, a.required("weight")?, a.option::<Tensor>("bias")?);
    let (stride, padding) = (a.or("stride", 1.into())?, a.or("padding", 0.into())?);
    let (output_padding, groups) = (a.or("output_padding", 0.into())?, a.or("groups", 1)?);
    let dilation = a.or("dilation", 1.into())?;
    let options = ConvTransposeOptions { stride, padding, output_padding, groups, dilation };
    Ok(vec![f(&x, &weight, bias.as_ref(), &options)])
}
