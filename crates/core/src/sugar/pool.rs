//! Poolings under torch's names: the largest element, the average or the norm of windows.

use limpid_kernels::pooling::{Divisor, Windows};

use crate::compound::pool::{Axes, avg_pool, max_pool};
use crate::error::Result;
use crate::op::movement::reshape;
use crate::options;
use crate::shape::Shape;
use crate::sizes::{OutputSizes, Sizes};
use crate::sugar::unpool::MaxUnpoolOptions;
use crate::sugar::windows::{PerAxis, along, batched, error, positive};
use crate::tensor::Tensor;

options! {
    /// How the windows of [`Tensor::max_pool2d`] move. Torch's names and defaults.
    #[derive(PartialEq, Eq)]
    MaxPoolOptions {
        optional {
            /// Steps between two windows (default: the size of a window).
            stride: Sizes,
        }
        into {
            /// Places of −∞ around the input (default: 0): at most half a window.
            padding: Sizes = 0,
            /// Steps between two elements of a window (default: 1).
            dilation: Sizes = 1,
        }
        values {
            /// Whether a last window may reach beyond the padding (default: no).
            ceil_mode: bool = false,
        }
    }
}

options! {
    /// How the windows of [`Tensor::avg_pool2d`] move, and what they divide by. Torch's names and defaults.
    #[derive(PartialEq)]
    AvgPoolOptions {
        optional {
            /// Steps between two windows (default: the size of a window).
            stride: Sizes,
            /// What sums are divided by in place of the number of elements.
            divisor_override: i64,
        }
        into {
            /// Zeros around the input (default: 0): at most half a window.
            padding: Sizes = 0,
        }
        values {
            /// Whether a last window may reach beyond the padding (default: no).
            ceil_mode: bool = false,
            /// Whether the padding's places are counted (default: yes).
            count_include_pad: bool = true,
        }
    }
}

/// What a pooling takes apart: `x` as planes [P, size…], and what stands before the sizes.
pub(crate) struct Planes {
    /// [batch, channels] or [channels]
    pub(crate) outer: Shape,
    /// Sizes of a plane.
    pub(crate) size: PerAxis,
}

impl Planes {
    /// Of a tensor whose sizes behind the batch are not 0.
    pub(crate) fn of(name: &str, x: &Tensor, axes: usize) -> Result<Planes> {
        let shape = x.shape();
        let batch = usize::from(batched(name, shape, axes)?);
        if shape[batch..].contains(&0) {
            let what = format!("the input {shape} has a size of 0 that is not the batch's");
            return Err(error(name, what));
        }
        let at = shape.rank() - axes;
        Ok(Planes { outer: shape[..at].iter().copied().collect(), size: shape[at..].into() })
    }

    /// `x` as [P, size…].
    #[track_caller]
    pub(crate) fn planes(&self, x: &Tensor) -> Tensor {
        reshape(x, std::iter::once(self.outer.elements()).chain(self.size.iter().copied()).collect())
    }

    /// [P, …] as [batch, channels, …].
    #[track_caller]
    pub(crate) fn back(&self, y: &Tensor) -> Tensor {
        reshape(y, self.outer.iter().chain(&y.shape()[1..]).copied().collect())
    }
}

/// The windows of a pooling, by torch's formula: with `ceil` the last one may be incomplete, but does not begin behind
/// the input and the padding before it.
struct Sliding<'a> {
    kernel: &'a Sizes,
    stride: Option<&'a Sizes>,
    padding: &'a Sizes,
    dilation: &'a Sizes,
    ceil: bool,
}

impl Sliding<'_> {
    fn windows(&self, name: &str, planes: &Planes) -> Result<Axes> {
        let d = planes.size.len();
        let kernel = positive(name, "kernel_size", self.kernel, d)?;
        let stride = positive(name, "stride", self.stride.unwrap_or(self.kernel), d)?;
        let padding = along(name, "padding", self.padding, d)?;
        let dilation = positive(name, "dilation", self.dilation, d)?;
        (0..d).map(|i| self.axis(name, planes.size[i], kernel[i], stride[i], padding[i], dilation[i])).collect()
    }

    fn axis(
        &self,
        name: &str,
        n: usize,
        size: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> Result<Windows> {
        let span = (size - 1).saturating_mul(dilation).saturating_add(1);
        if padding > span / 2 {
            let what = format!("padding {padding} is more than half of the window {span}");
            return Err(error(name, what).help("x.pad, or a larger kernel_size"));
        }
        let room = n as i64 + 2 * padding as i64 - span as i64;
        let rounded = if self.ceil { room + stride as i64 - 1 } else { room };
        let mut count = rounded.div_euclid(stride as i64) + 1;
        if self.ceil && (count - 1) * stride as i64 >= (n + padding) as i64 {
            count -= 1;
        }
        let windows = Windows::Sliding { count: count.max(0) as usize, size, stride, padding, dilation };
        if count < 1 {
            let padded = n + 2 * padding;
            let what = format!("a window of {span} does not fit into the padded size {padded} of an axis of {n}");
            return Err(error(name, what).help("a smaller kernel_size"));
        }
        match (0..count as usize).find(|&o| windows.taps(o, n).1 == 0) {
            Some(o) => {
                Err(error(name, format_args!("window {o} of an axis of {n} has no element outside of the padding")))
            }
            None => Ok(windows),
        }
    }
}

fn adaptive(name: &str, planes: &Planes, output_size: &OutputSizes) -> Result<Axes> {
    let d = planes.size.len();
    let counts = output_size.along(&planes.size).ok_or_else(|| {
        error(name, format_args!("output_size is {output_size}")).help(format!("one size, or one for each of {d} axes"))
    })?;
    if let Some(count) = counts.iter().find(|&&count| count > i32::MAX as usize) {
        return Err(error(name, format_args!("output_size {count} is too large")));
    }
    Ok(counts.iter().map(|&count| Windows::Adaptive { count }).collect())
}

impl Tensor {
    /// A tensor that carries `error`, as of a pooling that changes no sizes.
    #[track_caller]
    pub(crate) fn unpooled(&self, error: crate::Error) -> Tensor {
        Tensor::fail(error, &[self], self.shape().clone(), self.dtype())
    }

    #[track_caller]
    fn pool_largest(&self, windows: Result<(Planes, Axes)>) -> (Tensor, Tensor) {
        match windows {
            Err(error) => (self.unpooled(error.clone()), self.unpooled(error)),
            Ok((planes, axes)) => {
                let (values, places) = max_pool(&planes.planes(self), axes);
                (planes.back(&values), planes.back(&places))
            }
        }
    }

    fn max_windows(&self, name: &str, d: usize, kernel: &Sizes, o: &MaxPoolOptions) -> Result<(Planes, Axes)> {
        let planes = Planes::of(name, self, d)?;
        if self.dtype() == limpid_kernels::DType::Bool {
            return Err(error(name, "the input is bool, not numbers"));
        }
        let stride = o.stride.as_ref();
        let sliding = Sliding { kernel, stride, padding: &o.padding, dilation: &o.dilation, ceil: o.ceil_mode };
        let axes = sliding.windows(name, &planes)?;
        Ok((planes, axes))
    }

    #[track_caller]
    fn max_pool(&self, name: &str, d: usize, kernel: impl Into<Sizes>, options: &MaxPoolOptions) -> Tensor {
        self.max_pool_with_indices(name, d, kernel, options).0
    }

    #[track_caller]
    fn max_pool_with_indices(
        &self,
        name: &str,
        d: usize,
        kernel: impl Into<Sizes>,
        options: &MaxPoolOptions,
    ) -> (Tensor, Tensor) {
        let name = name.trim_end_matches("_with_indices");
        self.pool_largest(self.max_windows(name, d, &kernel.into(), options))
    }

    fn float_planes(&self, name: &str, d: usize) -> Result<Planes> {
        let planes = Planes::of(name, self, d)?;
        if self.dtype().is_float() {
            return Ok(planes);
        }
        Err(error(name, format_args!("the input is {}, not a float", self.dtype())).help("to_dtype(DType::F32)"))
    }

    fn avg_windows(&self, name: &str, d: usize, kernel: &Sizes, o: &AvgPoolOptions) -> Result<(Planes, Axes, Divisor)> {
        let planes = self.float_planes(name, d)?;
        let (stride, dilation) = (o.stride.as_ref(), 1.into());
        let sliding = Sliding { kernel, stride, padding: &o.padding, dilation: &dilation, ceil: o.ceil_mode };
        let axes = sliding.windows(name, &planes)?;
        let divisor = match o.divisor_override {
            Some(0) => return Err(error(name, "divisor_override is 0")),
            Some(number) => Divisor::Number(number as f64),
            None => Divisor::Count { padded: o.count_include_pad },
        };
        Ok((planes, axes, divisor))
    }

    #[track_caller]
    fn avg_pool(&self, name: &str, d: usize, kernel: impl Into<Sizes>, options: &AvgPoolOptions) -> Tensor {
        match self.avg_windows(name, d, &kernel.into(), options) {
            Ok((planes, axes, divisor)) => planes.back(&avg_pool(&planes.planes(self), axes, divisor)),
            Err(error) => self.unpooled(error),
        }
    }

    #[track_caller]
    fn lp_pool(
        &self,
        name: &str,
        d: usize,
        norm_type: f64,
        kernel: impl Into<Sizes>,
        stride: Option<Sizes>,
        ceil_mode: bool,
    ) -> Tensor {
        let kernel: Sizes = kernel.into();
        if norm_type == 0.0 {
            return self.unpooled(error(name, "norm_type is 0"));
        }
        let size = match positive(name, "kernel_size", &kernel, d) {
            Ok(sizes) => sizes.iter().map(|&size| size as f64).product::<f64>(),
            Err(error) => return self.unpooled(error),
        };
        let options = AvgPoolOptions { stride, ceil_mode, ..AvgPoolOptions::new() };
        let mean = self.pow(norm_type).avg_pool(name, d, kernel, &options);
        // As torch: the sign and the magnitude apart, so that a mean of 0 has the gradient that torch gives it.
        ((mean.sign() * mean.abs().relu()) * size).pow(1.0 / norm_type)
    }

    #[track_caller]
    fn adaptive_avg_pool(&self, name: &str, d: usize, output_size: impl Into<OutputSizes>) -> Tensor {
        let planes = match self.float_planes(name, d) {
            Ok(planes) => planes,
            Err(error) => return self.unpooled(error),
        };
        match adaptive(name, &planes, &output_size.into()) {
            Ok(axes) => planes.back(&avg_pool(&planes.planes(self), axes, Divisor::Count { padded: false })),
            Err(error) => self.unpooled(error),
        }
    }

    #[track_caller]
    fn adaptive_max_pool(&self, name: &str, d: usize, output_size: impl Into<OutputSizes>) -> Tensor {
        self.adaptive_max_pool_with_indices(name, d, output_size).0
    }

    #[track_caller]
    fn adaptive_max_pool_with_indices(
        &self,
        name: &str,
        d: usize,
        output_size: impl Into<OutputSizes>,
    ) -> (Tensor, Tensor) {
        let name = name.trim_end_matches("_with_indices");
        let planes = match self.float_planes(name, d) {
            Ok(planes) => planes,
            Err(error) => return self.pool_largest(Err(error)),
        };
        let axes = adaptive(name, &planes, &output_size.into());
        self.pool_largest(axes.map(|axes| (planes, axes)))
    }
}

/// The function over two axes, and the same over one and three.
macro_rules! dimensions {
    ($($(#[$doc:meta])* $inner:ident: $one:ident $two:ident $three:ident
        ($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl Tensor {$(
            #[doc = concat!("[`Tensor::", stringify!($two), "`] over one axis: x `[N, C, L]` or `[C, L]`.")]
            #[track_caller]
            pub fn $one(&self, $($arg: $type),*) -> $out {
                self.$inner(stringify!($one), 1, $($arg),*)
            }

            $(#[$doc])*
            #[track_caller]
            pub fn $two(&self, $($arg: $type),*) -> $out {
                self.$inner(stringify!($two), 2, $($arg),*)
            }

            #[doc = concat!("[`Tensor::", stringify!($two), "`] over three axes: x `[N, C, D, H, W]` or `[C, D, H, W]`.")]
            #[track_caller]
            pub fn $three(&self, $($arg: $type),*) -> $out {
                self.$inner(stringify!($three), 3, $($arg),*)
            }
        )*}
    };
}

dimensions! {
    /// The largest element of each window: x `[N, C, H, W]` or `[C, H, W]` → `[N, C, H', W']`,
    /// H' = ⌊(H + 2·padding − dilation·(kernel_size − 1) − 1) / stride⌋ + 1, rounded up with `ceil_mode`. NaN wins; the
    /// first of equal elements gets the gradient. Torch's `max_pool2d`.
    ///
    /// ```
    /// use limpid_core::{MaxPoolOptions, Tensor};
    /// let x = Tensor::from([[[1.0f32, 2.0, 3.0, 4.0]]]);
    /// assert_eq!(x.max_pool2d([1, 2], &MaxPoolOptions::new()).to_vec::<f32>()?, [2.0, 4.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: another number of axes, an empty input, a kernel, stride or dilation of 0, a padding of more than
    /// half of the window, a window that is larger than the padded input.
    max_pool: max_pool1d max_pool2d max_pool3d(kernel_size: impl Into<Sizes>, options: &MaxPoolOptions) -> Tensor;

    /// [`Tensor::max_pool2d`], and where each of the elements is: i64, the flat index in the plane without its padding.
    /// Torch's `max_pool2d(return_indices=True)`.
    max_pool_with_indices: max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
        (kernel_size: impl Into<Sizes>, options: &MaxPoolOptions) -> (Tensor, Tensor);

    /// The average of each window: x `[N, C, H, W]` or `[C, H, W]` → `[N, C, H', W']`,
    /// H' = ⌊(H + 2·padding − kernel_size) / stride⌋ + 1, rounded up with `ceil_mode`. Torch's `avg_pool2d`.
    ///
    /// ```
    /// use limpid_core::{AvgPoolOptions, Tensor};
    /// let x = Tensor::from([[[1.0f32, 2.0, 3.0, 4.0]]]);
    /// assert_eq!(x.avg_pool2d([1, 2], &AvgPoolOptions::new()).to_vec::<f32>()?, [1.5, 3.5]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: as [`Tensor::max_pool2d`], an input that is not of floats, a divisor of 0.
    avg_pool: avg_pool1d avg_pool2d avg_pool3d(kernel_size: impl Into<Sizes>, options: &AvgPoolOptions) -> Tensor;

    /// The norm (Σ xᵖ)^(1/p) of each window, p = `norm_type`; `stride` is the size of a window where it is `None`. A last
    /// incomplete window of `ceil_mode` counts as a whole one. Torch's `lp_pool2d`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[[3.0f32, 4.0]]]);
    /// assert_eq!(x.lp_pool2d(2.0, [1, 2], None, false).item()?, 5.0);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    lp_pool: lp_pool1d lp_pool2d lp_pool3d
        (norm_type: f64, kernel_size: impl Into<Sizes>, stride: Option<Sizes>, ceil_mode: bool) -> Tensor;

    /// The averages of windows that cover the input, as many as `output_size` says; `None` keeps a size. Window o of
    /// an axis of n places goes from ⌊o·n/count⌋ to below ⌈(o + 1)·n/count⌉. Torch's `adaptive_avg_pool2d`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[[1.0f32, 2.0, 6.0]]]);
    /// assert_eq!(x.adaptive_avg_pool2d(1).item()?, 3.0);
    /// assert_eq!(x.adaptive_avg_pool2d([None, Some(2)]).to_vec::<f32>()?, [1.5, 4.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    adaptive_avg_pool: adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
        (output_size: impl Into<OutputSizes>) -> Tensor;

    /// The largest elements of the windows of [`Tensor::adaptive_avg_pool2d`]. Torch's `adaptive_max_pool2d`.
    adaptive_max_pool: adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
        (output_size: impl Into<OutputSizes>) -> Tensor;

    /// [`Tensor::adaptive_max_pool2d`], and where each of the elements is: i64, the flat index in the plane. Torch's
    /// `adaptive_max_pool2d(return_indices=True)`.
    adaptive_max_pool_with_indices:
        adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices
        (output_size: impl Into<OutputSizes>) -> (Tensor, Tensor);

    /// The elements at their places in planes of zeros, the opposite of [`Tensor::max_pool2d_with_indices`]: x and
    /// `indices` `[N, C, H, W]` or `[C, H, W]`. The result's sizes are (H − 1)·stride − 2·padding + kernel_size, or
    /// `output_size`. Torch's `max_unpool2d`.
    ///
    /// ```
    /// use limpid_core::{MaxPoolOptions, MaxUnpoolOptions, Tensor};
    /// let x = Tensor::from([[[1.0f32, 2.0, 4.0, 3.0]]]);
    /// let (y, indices) = x.max_pool2d_with_indices([1, 2], &MaxPoolOptions::new());
    /// let back = y.max_unpool2d(&indices, [1, 2], &MaxUnpoolOptions::default());
    /// assert_eq!(back.to_vec::<f32>()?, [0.0, 2.0, 4.0, 0.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: indices of another shape or type, one that is outside of the plane, an `output_size` that is a
    /// stride or more away from the sizes that the windows give.
    max_unpool: max_unpool1d max_unpool2d max_unpool3d
        (indices: &Tensor, kernel_size: impl Into<Sizes>, options: &MaxUnpoolOptions) -> Tensor;
}
