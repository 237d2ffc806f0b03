//! Convolutions, and layers that learn their sizes.

use std::rc::Rc;

use limpid::nn::{Conv, ConvTranspose, Lazy, LazyLinear};
use limpid::{DType, PadMode, Padding, Sizes};

use super::{Built, Make, layer};
use crate::conformance::args::{Args, Result};

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[
    ("Conv1d", conv::<1>),
    ("Conv2d", conv::<2>),
    ("Conv3d", conv::<3>),
    ("ConvTranspose1d", conv_transpose::<1>),
    ("ConvTranspose2d", conv_transpose::<2>),
    ("ConvTranspose3d", conv_transpose::<3>),
    ("LazyConv1d", lazy_conv::<1>),
    ("LazyConv2d", lazy_conv::<2>),
    ("LazyConv3d", lazy_conv::<3>),
    ("LazyConvTranspose1d", lazy_conv_transpose::<1>),
    ("LazyConvTranspose2d", lazy_conv_transpose::<2>),
    ("LazyConvTranspose3d", lazy_conv_transpose::<3>),
    ("LazyLinear", |a, dtype| {
        layer(LazyLinear::new(a.required("out_features")?).bias(a.or("bias", true)?).dtype(dtype))
    }),
];

/// What both kinds of convolutions take after the stride.
struct Rest {
    dilation: Sizes,
    groups: usize,
    bias: bool,
    mode: PadMode,
}

fn one() -> Sizes {
    1.into()
}

fn mode(a: &mut Args<'_>) -> Result<PadMode> {
    Ok(match a.or("padding_mode", "zeros".to_owned())?.as_str() {
        "zeros" => PadMode::Constant(0.0),
        "reflect" => PadMode::Reflect,
        "replicate" => PadMode::Replicate,
        "circular" => PadMode::Circular,
        other => return Err(format!("argument padding_mode not read: {other}")),
    })
}

fn conv_rest(a: &mut Args<'_>) -> Result<(Padding, Rest)> {
    let padding = a.or("padding", 0.into())?;
    let (dilation, groups, bias) = (a.or("dilation", one())?, a.or("groups", 1)?, a.or("bias", true)?);
    Ok((padding, Rest { dilation, groups, bias, mode: mode(a)? }))
}

fn transposed_rest(a: &mut Args<'_>) -> Result<((Sizes, Sizes), Rest)> {
    let padding = (a.or("padding", 0.into())?, a.or("output_padding", 0.into())?);
    let (groups, bias, dilation) = (a.or("groups", 1)?, a.or("bias", true)?, a.or("dilation", one())?);
    a.only("padding_mode", "zeros".to_owned())?;
    Ok((padding, Rest { dilation, groups, bias, mode: PadMode::Constant(0.0) }))
}

fn conv<const N: usize>(a: &mut Args<'_>, dtype: DType) -> Result<Built> {
    let (inputs, outputs) = (a.required("in_channels")?, a.required("out_channels")?);
    let made = Conv::<N>::new(inputs, outputs, a.required::<Sizes>("kernel_size")?).stride(a.or("stride", one())?);
    let (padding, rest) = conv_rest(a)?;
    let made = made.padding(padding).dilation(rest.dilation).groups(rest.groups);
    layer(made.bias(rest.bias).padding_mode(rest.mode).dtype(dtype))
}

fn lazy_conv<const N: usize>(a: &mut Args<'_>, dtype: DType) -> Result<Built> {
    let outputs = a.required("out_channels")?;
    let made = Lazy::<Conv<N>>::new(outputs, a.required::<Sizes>("kernel_size")?).stride(a.or("stride", one())?);
    let (padding, rest) = conv_rest(a)?;
    let made = made.padding(padding).dilation(rest.dilation).groups(rest.groups);
    layer(made.bias(rest.bias).padding_mode(rest.mode).dtype(dtype))
}

fn conv_transpose<const N: usize>(a: &mut Args<'_>, dtype: DType) -> Result<Built> {
    let (inputs, outputs) = (a.required("in_channels")?, a.required("out_channels")?);
    let kernel = a.required::<Sizes>("kernel_size")?;
    let made = ConvTranspose::<N>::new(inputs, outputs, kernel).stride(a.or("stride", one())?);
    let ((padding, more), rest) = transposed_rest(a)?;
    let made = made.padding(padding).output_padding(more).groups(rest.groups).bias(rest.bias);
    let module = Rc::new(made.dilation(rest.dilation).dtype(dtype));
    let called = module.clone();
    let forward = move |a: &mut Args<'_>| {
        let x = a.required("input")?;
        Ok(vec![match a.option::<Sizes>("output_size")? {
            Some(sizes) => called.forward_sized(&x, sizes),
            None => limpid::Forward::forward(&*called, &x),
        }])
    };
    Ok(Built { module, forward: Box::new(forward) })
}

fn lazy_conv_transpose<const N: usize>(a: &mut Args<'_>, dtype: DType) -> Result<Built> {
    let outputs = a.required("out_channels")?;
    let kernel = a.required::<Sizes>("kernel_size")?;
    let made = Lazy::<ConvTranspose<N>>::new(outputs, kernel).stride(a.or("stride", one())?);
    let ((padding, more), rest) = transposed_rest(a)?;
    let made = made.padding(padding).output_padding(more).groups(rest.groups).bias(rest.bias);
    let module = Rc::new(made.dilation(rest.dilation).dtype(dtype));
    let called = module.clone();
    let forward = move |a: &mut Args<'_>| {
        let x = a.required("input")?;
        Ok(vec![match a.option::<Sizes>("output_size")? {
            Some(sizes) => called.forward_sized(&x, sizes),
            None => limpid::Forward::forward(&*called, &x),
        }])
    };
    Ok(Built { module, forward: Box::new(forward) })
}
