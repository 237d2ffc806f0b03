//! Pooling.

use std::rc::Rc;

use limpid::nn::{
    AdaptiveAvgPool, AdaptiveMaxPool, AvgPool, Fold, FractionalMaxPool, LPPool, MaxPool, MaxUnpool, Unfold,
};
use limpid::{DType, Forward, OutputSizes, Sizes, Tensor};

use super::{Built, Make, layer};
use crate::conformance::args::{Args, Result};
use crate::conformance::functionals::pool::sizes;
use crate::conformance::random::Law;

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[
    ("AdaptiveAvgPool1d", |a, _| layer(AdaptiveAvgPool::<1>::new(a.required::<OutputSizes>("output_size")?))),
    ("AdaptiveAvgPool2d", |a, _| layer(AdaptiveAvgPool::<2>::new(a.required::<OutputSizes>("output_size")?))),
    ("AdaptiveAvgPool3d", |a, _| layer(AdaptiveAvgPool::<3>::new(a.required::<OutputSizes>("output_size")?))),
    ("AdaptiveMaxPool1d", adaptive_max::<1>),
    ("AdaptiveMaxPool2d", adaptive_max::<2>),
    ("AdaptiveMaxPool3d", adaptive_max::<3>),
    ("AvgPool1d", avg_pool::<1>),
    ("AvgPool2d", avg_pool::<2>),
    ("AvgPool3d", avg_pool::<3>),
    ("Fold", |a, _| {
        let made = Fold::new(a.required::<Sizes>("output_size")?, a.required::<Sizes>("kernel_size")?);
        let made = made.dilation(a.or("dilation", Sizes::from(1))?).padding(a.or("padding", Sizes::from(0))?);
        layer(made.stride(a.or("stride", Sizes::from(1))?))
    }),
    ("FractionalMaxPool2d", fractional::<2>),
    ("FractionalMaxPool3d", fractional::<3>),
    ("LPPool1d", lp_pool::<1>),
    ("LPPool2d", lp_pool::<2>),
    ("LPPool3d", lp_pool::<3>),
    ("MaxPool1d", max_pool::<1>),
    ("MaxPool2d", max_pool::<2>),
    ("MaxPool3d", max_pool::<3>),
    ("MaxUnpool1d", max_unpool::<1>),
    ("MaxUnpool2d", max_unpool::<2>),
    ("MaxUnpool3d", max_unpool::<3>),
    ("Unfold", |a, _| {
        let made = Unfold::new(a.required::<Sizes>("kernel_size")?).dilation(a.or("dilation", Sizes::from(1))?);
        let made = made.padding(a.or("padding", Sizes::from(0))?);
        layer(made.stride(a.or("stride", Sizes::from(1))?))
    }),
];

/// A layer that returns indices too where it is asked to.
fn indexed<M: Forward + 'static>(module: M, indices: bool, both: fn(&M, &Tensor) -> (Tensor, Tensor)) -> Result<Built> {
    if !indices {
        return layer(module);
    }
    let module = Rc::new(module);
    let called = module.clone();
    let forward = move |a: &mut Args<'_>| {
        let (y, places) = both(&called, &a.required("input")?);
        Ok(vec![y, places])
    };
    Ok(Built { module, forward: Box::new(forward) })
}

fn max_pool<const N: usize>(a: &mut Args<'_>, _: DType) -> Result<Built> {
    let mut made = MaxPool::<N>::new(a.required::<Sizes>("kernel_size")?);
    if let Some(stride) = sizes(a, "stride")? {
        made = made.stride(stride);
    }
    let made = made.padding(a.or("padding", Sizes::from(0))?).dilation(a.or("dilation", Sizes::from(1))?);
    let indices = a.or("return_indices", false)?;
    indexed(made.ceil_mode(a.or("ceil_mode", false)?), indices, MaxPool::forward_with_indices)
}

fn adaptive_max<const N: usize>(a: &mut Args<'_>, _: DType) -> Result<Built> {
    let made = AdaptiveMaxPool::<N>::new(a.required::<OutputSizes>("output_size")?);
    indexed(made, a.or("return_indices", false)?, AdaptiveMaxPool::forward_with_indices)
}

fn avg_pool<const N: usize>(a: &mut Args<'_>, _: DType) -> Result<Built> {
    let mut made = AvgPool::<N>::new(a.required::<Sizes>("kernel_size")?);
    if let Some(stride) = sizes(a, "stride")? {
        made = made.stride(stride);
    }
    let made = made.padding(a.or("padding", Sizes::from(0))?).ceil_mode(a.or("ceil_mode", false)?);
    let made = made.count_include_pad(a.or("count_include_pad", true)?);
    // Torch's AvgPool1d has no such argument.
    let divisor = if N > 1 { a.option("divisor_override")? } else { None };
    layer(match divisor {
        Some(divisor) => made.divisor_override(divisor),
        None => made,
    })
}

fn lp_pool<const N: usize>(a: &mut Args<'_>, _: DType) -> Result<Built> {
    let mut made = LPPool::<N>::new(a.required("norm_type")?, a.required::<Sizes>("kernel_size")?);
    if let Some(stride) = sizes(a, "stride")? {
        made = made.stride(stride);
    }
    layer(made.ceil_mode(a.or("ceil_mode", false)?))
}

fn max_unpool<const N: usize>(a: &mut Args<'_>, _: DType) -> Result<Built> {
    let mut made = MaxUnpool::<N>::new(a.required::<Sizes>("kernel_size")?);
    if let Some(stride) = sizes(a, "stride")? {
        made = made.stride(stride);
    }
    let module = Rc::new(made.padding(a.or("padding", Sizes::from(0))?));
    let called = module.clone();
    let forward = move |a: &mut Args<'_>| {
        let (x, indices) = (a.required("input")?, a.required("indices")?);
        Ok(vec![called.forward(&x, &indices, a.option("output_size")?)])
    };
    Ok(Built { module, forward: Box::new(forward) })
}

fn fractional<const N: usize>(a: &mut Args<'_>, dtype: DType) -> Result<Built> {
    let mut made = FractionalMaxPool::<N>::new(a.required::<Sizes>("kernel_size")?);
    if let Some(sizes) = a.option::<Sizes>("output_size")? {
        made = made.output_size(sizes);
    }
    if let Some(ratio) = a.option::<Vec<f64>>("output_ratio")? {
        made = made.output_ratios(ratio);
    }
    let indices = a.or("return_indices", false)?;
    match a.option::<Tensor>("_random_samples")? {
        Some(samples) => made = made.random_samples(&samples),
        None => a.draws(Law::Any),
    }
    indexed(made.dtype(dtype), indices, FractionalMaxPool::forward_with_indices)
}
