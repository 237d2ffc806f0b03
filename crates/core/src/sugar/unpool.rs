//! What undoes a max pooling, and max pooling over windows of random sizes.

use limpid_kernels::DType;
use limpid_kernels::index::ScatterFn;

use crate::compound::pool::largest;
use crate::error::Result;
use crate::op::movement::{broadcast, reshape};
use crate::op::{index, source};
use crate::options;
use crate::shape::Shape;
use crate::sizes::Sizes;
use crate::sugar::pool::Planes;
use crate::sugar::windows::{PerAxis, along, error, positive};
use crate::tensor::Tensor;

options! {
    /// The windows that [`Tensor::max_unpool2d`] undoes. Torch's names and defaults.
    #[derive(PartialEq, Eq)]
    MaxUnpoolOptions {
        optional {
            /// Steps between two windows (default: the size of a window).
            stride: Sizes,
            /// The result's spatial sizes, or all of its sizes.
            output_size: Sizes,
        }
        into {
            /// Places around the input (default: 0).
            padding: Sizes = 0,
        }
    }
}

options! {
    /// The windows of [`Tensor::fractional_max_pool2d`]. Torch's names and defaults.
    FractionalMaxPoolOptions {
        tensors {
            /// Where windows begin, [N or more, C, axes] in 0 … 1; drawn where there are none.
            random_samples,
        }
        optional {
            /// Numbers of windows along the axes; this or `output_ratio`.
            output_size: Sizes,
            /// Numbers of windows as parts of the input's sizes, each in 0 … 1: one number, or one for each axis.
            output_ratio: Vec<f64>,
        }
    }
}

impl FractionalMaxPoolOptions {
    fn counts(&self, name: &str, size: &[usize]) -> Result<PerAxis> {
        let d = size.len();
        if let Some(sizes) = &self.output_size {
            return along(name, "output_size", sizes, d);
        }
        let Some(ratio) = &self.output_ratio else {
            return Err(error(name, "neither output_size nor output_ratio is given"));
        };
        if ratio.len() != 1 && ratio.len() != d {
            return Err(error(name, format_args!("output_ratio {ratio:?} is not one number or {d}")));
        }
        if ratio.iter().any(|&r| !(r > 0.0 && r < 1.0)) {
            return Err(error(name, format_args!("output_ratio {ratio:?} is not between 0 and 1")));
        }
        Ok(size.iter().enumerate().map(|(i, &n)| (n as f64 * ratio[i % ratio.len()]) as usize).collect())
    }
}

/// The sizes that `x`, whose planes have `size`, is unpooled to.
fn unpooled_size(name: &str, x: &Tensor, size: &[usize], kernel: &Sizes, o: &MaxUnpoolOptions) -> Result<PerAxis> {
    let d = size.len();
    let kernel_size = positive(name, "kernel_size", kernel, d)?;
    let stride = positive(name, "stride", o.stride.as_ref().unwrap_or(kernel), d)?;
    let padding = along(name, "padding", &o.padding, d)?;
    let usual = |i: usize| (size[i] as i64 - 1) * stride[i] as i64 - 2 * padding[i] as i64 + kernel_size[i] as i64;
    let sizes: PerAxis = match &o.output_size {
        None => (0..d).map(|i| usual(i).max(0) as usize).collect(),
        Some(given) => match given.along(d).or_else(|| given.along(x.rank())) {
            Some(sizes) => sizes[sizes.len() - d..].into(),
            None => return Err(error(name, format_args!("output_size {given} has not {d} or {} sizes", x.rank()))),
        },
    };
    for (i, &size) in sizes.iter().enumerate() {
        let (least, most) = (usual(i) - stride[i] as i64 + 1, usual(i) + stride[i] as i64 - 1);
        if size == 0 || !(least..=most).contains(&(size as i64)) {
            let what = format!("output_size {size} on axis {i}: from {} to {most} is possible", least.max(1));
            return Err(error(name, what));
        }
    }
    Ok(sizes)
}

impl Tensor {
    fn unpool_plan(
        &self,
        name: &str,
        d: usize,
        indices: &Tensor,
        kernel: &Sizes,
        options: &MaxUnpoolOptions,
    ) -> Result<(Planes, PerAxis)> {
        let planes = Planes::of(name, self, d)?;
        if indices.dtype() != DType::I64 {
            return Err(error(name, format_args!("the indices are {}, not i64", indices.dtype())));
        }
        if indices.shape() != self.shape() {
            let what = format!("the indices {} are not of the input's shape {}", indices.shape(), self.shape());
            return Err(error(name, what));
        }
        let sizes = unpooled_size(name, self, &planes.size, kernel, options)?;
        Ok((planes, sizes))
    }

    #[track_caller]
    pub(crate) fn max_unpool(
        &self,
        name: &str,
        d: usize,
        indices: &Tensor,
        kernel: impl Into<Sizes>,
        options: &MaxUnpoolOptions,
    ) -> Tensor {
        let (planes, sizes) = match self.unpool_plan(name, d, indices, &kernel.into(), options) {
            Ok(plan) => plan,
            Err(error) => return Tensor::fail(error, &[self, indices], self.shape().clone(), self.dtype()),
        };
        let flat = |t: &Tensor| reshape(t, Shape::from([planes.outer.elements(), planes.size.iter().product()]));
        let base = Tensor::zeros_of([planes.outer.elements(), sizes.iter().product()], self.dtype());
        let y = index::scatter(ScatterFn::Set, &base, 1, &flat(indices), &flat(self));
        reshape(&y, planes.outer.iter().chain(&sizes).copied().collect())
    }

    fn fractional_plan(
        &self,
        name: &str,
        d: usize,
        kernel: &Sizes,
        options: &FractionalMaxPoolOptions,
    ) -> Result<(Planes, PerAxis, PerAxis)> {
        let planes = Planes::of(name, self, d)?;
        if !self.dtype().is_float() {
            return Err(error(name, format_args!("the input is {}, not a float", self.dtype())));
        }
        let kernel = positive(name, "kernel_size", kernel, d)?;
        let counts = options.counts(name, &planes.size)?;
        for (i, &n) in planes.size.iter().enumerate() {
            if counts[i] == 0 {
                return Err(error(name, format_args!("no windows on an axis of {n}")));
            }
            if counts[i] + kernel[i] - 1 > n {
                let what = format!("{} windows of {} do not fit on an axis of {n}", counts[i], kernel[i]);
                return Err(error(name, what).help("fewer or smaller windows"));
            }
        }
        if let Some(samples) = &options.random_samples {
            let batch = if planes.outer.rank() == 2 { planes.outer[0] } else { 1 };
            let wanted = Shape::from([batch, *planes.outer.last().unwrap_or(&1), d]);
            let fits = samples.rank() == 3 && samples.shape()[0] >= batch && samples.shape()[1..] == wanted[1..];
            if !fits || samples.dtype() != self.dtype() {
                let what = format!("random_samples {} {}, not", samples.dtype(), samples.shape());
                return Err(error(name, format_args!("{what} {} {wanted}", self.dtype())));
            }
        }
        Ok((planes, kernel, counts))
    }

    #[track_caller]
    fn fractional(
        &self,
        name: &str,
        d: usize,
        kernel: impl Into<Sizes>,
        options: &FractionalMaxPoolOptions,
    ) -> (Tensor, Tensor) {
        let (planes, kernel, counts) = match self.fractional_plan(name, d, &kernel.into(), options) {
            Ok(plan) => plan,
            Err(error) => {
                let failed = Tensor::fail(error, &[self], self.shape().clone(), self.dtype());
                return (failed.clone(), failed);
            }
        };
        let count = planes.outer.elements();
        let samples = match &options.random_samples {
            Some(samples) => {
                let batch = if planes.outer.rank() == 2 { planes.outer[0] } else { 1 };
                reshape(&samples.narrow(0, 0, batch), Shape::from([count, d])).detach()
            }
            None => Tensor::zeros_of([count, d], self.dtype()).rand_like(),
        };
        // [planes, windows…, taps…]
        let shape: Shape = [count].into_iter().chain(counts.iter().copied()).chain(kernel.iter().copied()).collect();
        let strides = Shape::from(&planes.size[..]).strides();
        let mut places = Tensor::zeros_of(shape.clone(), DType::I64);
        for i in 0..d {
            // Torch's images take the first sample for the width, its volumes for the depth.
            let sample = samples.narrow(1, if d == 2 { 1 - i } else { i }, 1);
            let starts = starts(&sample, counts[i], planes.size[i] - kernel[i]);
            let thin = |keep: usize| -> Shape {
                (0..shape.rank()).map(|j| if j == keep || (j == 0 && keep == i + 1) { shape[j] } else { 1 }).collect()
            };
            let tap = source::iota(thin(1 + d + i), 1 + d + i);
            let along = broadcast(&reshape(&starts, thin(i + 1)), &shape) + broadcast(&tap, &shape);
            places = places + along * strides[i] as i64;
        }
        let (windows, taps) = (counts.iter().product::<usize>(), kernel.iter().product::<usize>());
        let flat = reshape(self, Shape::from([count, planes.size.iter().product()]));
        let (values, places) = largest(&flat, &reshape(&places, Shape::from([count, windows, taps])));
        let shape: Shape = planes.outer.iter().chain(&counts).copied().collect();
        (reshape(&values, shape.clone()), reshape(&places, shape))
    }
}

/// Where `count` windows begin: of the samples u [planes, 1], ⌊(i + u)·α⌋ − ⌊u·α⌋ with α = `last` / (`count` − 1), and the
/// last one at `last`. Graham (2014), in torch's arithmetic: i64 [planes, count].
#[track_caller]
fn starts(u: &Tensor, count: usize, last: usize) -> Tensor {
    let planes = u.shape()[0];
    let end =
        broadcast(&source::scalar(limpid_kernels::Number::Int(last as i64), DType::I64), &Shape::from([planes, 1]));
    if count < 2 {
        return end;
    }
    let alpha = last as f64 / (count - 1) as f64;
    let i = source::iota(Shape::from([1, count - 1]), 1).to_dtype(u.dtype());
    let whole = ((u + i) * alpha).trunc() - (u * alpha).trunc();
    Tensor::cat(&[&whole.to_dtype(DType::I64), &end], 1)
}

/// Over two and three axes.
macro_rules! fractional {
    ($($(#[$doc:meta])* $name:ident $both:ident $d:literal;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, kernel_size: impl Into<Sizes>, options: &FractionalMaxPoolOptions) -> Tensor {
                self.fractional(stringify!($name), $d, kernel_size, options).0
            }

            #[doc = concat!("[`Tensor::", stringify!($name), "`], and where each of the elements is: i64, the flat index in the plane.")]
            #[track_caller]
            pub fn $both(&self, kernel_size: impl Into<Sizes>, options: &FractionalMaxPoolOptions) -> (Tensor, Tensor) {
                self.fractional(stringify!($name), $d, kernel_size, options)
            }
        )*}
    };
}

fractional! {
    /// The largest elements of windows of `kernel_size` that begin at random places, in order, which overlap or leave
    /// out some elements (Graham, "Fractional Max-Pooling", 2014): x `[N, C, H, W]` or `[C, H, W]`. Torch's
    /// `fractional_max_pool2d`.
    ///
    /// ```
    /// use limpid_core::{FractionalMaxPoolOptions, Tensor};
    /// let x = Tensor::rand([1, 2, 7, 7]);
    /// assert_eq!(x.fractional_max_pool2d(2, &FractionalMaxPoolOptions::new().output_ratio([0.7])).shape()[..], [1, 2, 4, 4]);
    /// ```
    ///
    /// # Errors
    /// At the read: windows that do not fit, a ratio that is not between 0 and 1, samples of another shape or type.
    fractional_max_pool2d fractional_max_pool2d_with_indices 2;
    /// [`Tensor::fractional_max_pool2d`] over three axes: x `[N, C, D, H, W]` or `[C, D, H, W]`.
    fractional_max_pool3d fractional_max_pool3d_with_indices 3;
}
