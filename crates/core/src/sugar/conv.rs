//! Convolutions and transposed convolutions under torch's names.

use crate::compound::conv::{ConvAxis, convolve, convolve_turned};
use crate::error::Result;
use crate::op::movement::reshape;
use crate::options;
use crate::sizes::Sizes;
use crate::sugar::windows::{along, batched, error, positive, with_batch, without_batch};
use crate::tensor::Tensor;

/// The zeros around the input of a convolution.
///
/// ```
/// use limpid_core::{Padding, Sizes};
/// assert_eq!(Padding::from([1, 2]), Padding::Sizes(Sizes::from([1, 2])));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// So many on both sides of each axis.
    Sizes(Sizes),
    /// As many as keep the size, for a stride of 1; an odd one more behind. Torch's `"same"`.
    Same,
    /// None. Torch's `"valid"`.
    Valid,
}

impl<S: Into<Sizes>> From<S> for Padding {
    fn from(sizes: S) -> Padding {
        Padding::Sizes(sizes.into())
    }
}

/// As torch prints it.
impl std::fmt::Display for Padding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Padding::Sizes(sizes) => sizes.fmt(f),
            Padding::Same => f.write_str("same"),
            Padding::Valid => f.write_str("valid"),
        }
    }
}

options! {
    /// How the windows of [`Tensor::conv1d`], [`Tensor::conv2d`] and [`Tensor::conv3d`] move. Torch's names and defaults.
    #[derive(PartialEq, Eq)]
    ConvOptions {
        into {
            /// Steps between two windows (default: 1).
            stride: Sizes = 1,
            /// Zeros around the input (default: 0): numbers, [`Padding::Same`] or [`Padding::Valid`].
            padding: Padding = 0,
            /// Steps between two elements of a window (default: 1).
            dilation: Sizes = 1,
        }
        values {
            /// Groups of channels that do not see each other (default: 1).
            groups: usize = 1,
        }
    }
}

options! {
    /// How the windows of [`Tensor::conv_transpose1d`], [`Tensor::conv_transpose2d`] and [`Tensor::conv_transpose3d`]
    /// move. Torch's names and defaults.
    #[derive(PartialEq, Eq)]
    ConvTransposeOptions {
        into {
            /// Steps in the result between two elements of the input (default: 1).
            stride: Sizes = 1,
            /// Elements that are cut off on both sides of the result (default: 0).
            padding: Sizes = 0,
            /// Elements that are added behind the result (default: 0): less than the stride or the dilation.
            output_padding: Sizes = 0,
            /// Steps between two elements of a window (default: 1).
            dilation: Sizes = 1,
        }
        values {
            /// Groups of channels that do not see each other (default: 1).
            groups: usize = 1,
        }
    }
}

/// A convolution of either kind over `axes` spatial axes.
struct Call<'a> {
    name: &'static str,
    axes: usize,
    x: &'a Tensor,
    weight: &'a Tensor,
    bias: Option<&'a Tensor>,
}

impl Call<'_> {
    /// What both kinds refuse; `transposed` weights are [in, out/groups, …], others [out, in/groups, …].
    fn check(&self, groups: usize, transposed: bool) -> Result<()> {
        let (name, x, w) = (self.name, self.x.shape(), self.weight.shape());
        let fail = |what: String| Err(error(name, what));
        let spatial = x.rank() - self.axes;
        if w.rank() != self.axes + 2 {
            return fail(format!("the weight {w} has {} axes, not {}", w.rank(), self.axes + 2));
        }
        if w[2..].contains(&0) || w[0] == 0 {
            return fail(format!("the weight {w} has a size of 0"));
        }
        if x[spatial..].contains(&0) {
            return fail(format!("the input {x} has a spatial size of 0"));
        }
        let channels = x[spatial - 1];
        let (inputs, outputs) = if transposed { (w[0], w[1].saturating_mul(groups)) } else { (channels, w[0]) };
        if groups == 0 || inputs % groups != 0 || outputs % groups != 0 {
            return fail(format!("{inputs} input and {outputs} output channels do not divide into {groups} groups"));
        }
        let takes = if transposed { w[0] } else { w[1].saturating_mul(groups) };
        if channels != takes {
            let what = format!("the input {x} has {channels} channels, the weight {w} takes {takes}");
            let what = if groups > 1 { format!("{what} in {groups} groups") } else { what };
            let help = format!("a layer of {channels} channels, or an input of {takes}");
            return Err(error(name, what).help(help));
        }
        if let Some(bias) = self.bias
            && bias.shape()[..] != [outputs]
        {
            return fail(format!("the bias {} is not [{outputs}]", bias.shape()));
        }
        let dtype = self.x.dtype();
        if !dtype.is_float() {
            return Err(error(name, format_args!("the input is {dtype}, not a float")).help("to_dtype(DType::F32)"));
        }
        if let Some(other) = [Some(self.weight), self.bias].into_iter().flatten().find(|t| t.dtype() != dtype) {
            let what = format!("the input is {dtype}, weight or bias {}", other.dtype());
            return Err(error(name, what).help("one type for all"));
        }
        Ok(())
    }

    fn axes_of(&self, options: &ConvOptions) -> Result<(bool, Vec<ConvAxis>)> {
        let (name, d) = (self.name, self.axes);
        let batched = batched(name, self.x.shape(), d)?;
        self.check(options.groups, false)?;
        let stride = positive(name, "stride", &options.stride, d)?;
        let dilation = positive(name, "dilation", &options.dilation, d)?;
        let kernel = &self.weight.shape()[2..];
        let spans = (0..d).map(|i| (kernel[i] - 1).saturating_mul(dilation[i]));
        let around: Vec<(usize, usize)> = match &options.padding {
            Padding::Sizes(sizes) => along(name, "padding", sizes, d)?.iter().map(|&p| (p, p)).collect(),
            Padding::Valid => vec![(0, 0); d],
            Padding::Same if stride.iter().any(|&s| s != 1) => {
                let what = format!("padding Same keeps the size, which stride {} does not", options.stride);
                return Err(error(name, what).help("padding as numbers"));
            }
            Padding::Same => spans.map(|span| (span / 2, span - span / 2)).collect(),
        };
        let size = &self.x.shape()[self.x.rank() - d..];
        let axes = (0..d).map(|i| ConvAxis {
            stride: stride[i],
            lo: around[i].0 as i64,
            hi: around[i].1 as i64,
            dilation: dilation[i],
            input_dilation: 1,
        });
        let axes: Vec<ConvAxis> = axes.collect();
        match (0..d).find(|&i| axes[i].windows(size[i], kernel[i]) == 0) {
            None => Ok((batched, axes)),
            Some(i) => {
                let span = (kernel[i] - 1).saturating_mul(dilation[i]) + 1;
                let padded = size[i] + around[i].0 + around[i].1;
                let what =
                    format!("a window of {span} does not fit into the padded size {padded} of {}", self.x.shape());
                Err(error(name, what).help("more padding, or a smaller kernel or dilation"))
            }
        }
    }

    #[track_caller]
    fn forward(&self, options: &ConvOptions) -> Tensor {
        match self.axes_of(options) {
            Ok((batched, axes)) => self.record(batched, |x| convolve(x, self.weight, axes, options.groups)),
            Err(error) => self.fail(error, false, options.groups),
        }
    }

    fn transposed_axes(&self, options: &ConvTransposeOptions) -> Result<(bool, Vec<ConvAxis>)> {
        let (name, d) = (self.name, self.axes);
        let batched = batched(name, self.x.shape(), d)?;
        self.check(options.groups, true)?;
        let stride = positive(name, "stride", &options.stride, d)?;
        let dilation = positive(name, "dilation", &options.dilation, d)?;
        let padding = along(name, "padding", &options.padding, d)?;
        let more = along(name, "output_padding", &options.output_padding, d)?;
        if let Some(i) = (0..d).find(|&i| more[i] >= stride[i] && more[i] >= dilation[i]) {
            let (stride, dilation) = (stride[i], dilation[i]);
            let what = format!("output_padding {} is not below stride {stride} or dilation {dilation}", more[i]);
            return Err(error(name, what));
        }
        let (kernel, size) = (&self.weight.shape()[2..], &self.x.shape()[self.x.rank() - d..]);
        let axes: Vec<ConvAxis> = (0..d)
            .map(|i| {
                let reach = (kernel[i] - 1).saturating_mul(dilation[i]).min(i64::MAX as usize / 4) as i64;
                let lo = reach - padding[i] as i64;
                let hi = lo + more[i] as i64;
                ConvAxis { stride: 1, lo, hi, dilation: dilation[i], input_dilation: stride[i] }
            })
            .collect();
        if let Some(i) = (0..d).find(|&i| axes[i].windows(size[i], kernel[i]) == 0) {
            let what = format!("padding {} cuts off all of the result of {}", padding[i], self.x.shape());
            return Err(error(name, what));
        }
        Ok((batched, axes))
    }

    #[track_caller]
    fn transposed(&self, options: &ConvTransposeOptions) -> Tensor {
        match self.transposed_axes(options) {
            Ok((batched, axes)) => self.record(batched, |x| convolve_turned(x, self.weight, axes, options.groups)),
            Err(error) => self.fail(error, true, options.groups),
        }
    }

    #[track_caller]
    fn record(&self, batched: bool, convolved: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        let y = convolved(&with_batch(self.x, batched));
        let y = match self.bias {
            None => y,
            Some(bias) => {
                let shape = [bias.numel()].into_iter().chain(std::iter::repeat_n(1, self.axes)).collect();
                &y + reshape(bias, shape)
            }
        };
        without_batch(y, batched)
    }

    #[track_caller]
    fn fail(&self, error: crate::Error, transposed: bool, groups: usize) -> Tensor {
        let inputs: Vec<&Tensor> = [self.x, self.weight].into_iter().chain(self.bias).collect();
        let (x, w) = (self.x.shape(), self.weight.shape());
        let shape = match x.rank().checked_sub(self.axes + 1) {
            Some(channels) if channels < 2 && w.rank() >= 2 => {
                x.with(channels, if transposed { w[1].saturating_mul(groups) } else { w[0] })
            }
            _ => x.clone(),
        };
        Tensor::fail(error, &inputs, shape, self.x.dtype())
    }
}

impl Tensor {
    /// [`Tensor::conv2d`] with one spatial axis: x `[N, C, L]` or `[C, L]`, weight `[O, C/groups, K]`.
    #[track_caller]
    pub fn conv1d(&self, weight: &Tensor, bias: Option<&Tensor>, options: &ConvOptions) -> Tensor {
        Call { name: "conv1d", axes: 1, x: self, weight, bias }.forward(options)
    }

    /// [`Tensor::conv1d`] with time first: x `[T, N, C]`, weight `[K, C, O]`, bias `[O]`, y `[T', N, O]`; `pad` steps of
    /// zeros on both sides. Torch's `conv_tbc`.
    #[track_caller]
    pub fn conv_tbc(&self, weight: &Tensor, bias: &Tensor, pad: usize) -> Tensor {
        let ranks = [("input", self, 3), ("weight", weight, 3), ("bias", bias, 1)];
        for (what, t, rank) in ranks {
            if t.rank() != rank {
                let error = error("conv_tbc", format!("the {what} {} has {} axes, not {rank}", t.shape(), t.rank()));
                let error = error.help("input [time, batch, channels], weight [window, channels, outputs]");
                return Tensor::fail(error, &[self, weight, bias], self.shape().clone(), self.dtype());
            }
        }
        let (x, weight) = (self.permute([1, 2, 0]), weight.permute([2, 1, 0]));
        let call = Call { name: "conv_tbc", axes: 1, x: &x, weight: &weight, bias: Some(bias) };
        call.forward(&ConvOptions::new().padding(pad)).permute([2, 0, 1])
    }

    /// The cross-correlation y[n, o, p] = bias\[o\] + Σ x[n, c, p·stride + k·dilation − padding]·weight[o, c, k] over the
    /// channels c of the group of o and the window k: x `[N, C, H, W]` or `[C, H, W]`, weight `[O, C/groups, K, K]`,
    /// y `[N, O, H', W']`, H' = ⌊(H + 2·padding − dilation·(K − 1) − 1) / stride⌋ + 1. Torch's `conv2d`.
    ///
    /// ```
    /// use limpid_core::{ConvOptions, Padding, Tensor};
    /// let x = Tensor::from([[[1.0f32, 2.0], [3.0, 4.0]]]);
    /// let w = Tensor::from([[[[1.0f32, 10.0]]]]);
    /// let y = x.conv2d(&w, None, &ConvOptions::new().padding(Padding::Same));
    /// assert_eq!(y.to_vec::<f32>()?, [21.0, 2.0, 43.0, 4.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: shapes, types or groups that do not fit, a stride or dilation of 0, a window larger than the padded
    /// input, [`Padding::Same`] with a stride.
    #[track_caller]
    pub fn conv2d(&self, weight: &Tensor, bias: Option<&Tensor>, options: &ConvOptions) -> Tensor {
        Call { name: "conv2d", axes: 2, x: self, weight, bias }.forward(options)
    }

    /// [`Tensor::conv2d`] with three spatial axes: x `[N, C, D, H, W]` or `[C, D, H, W]`.
    #[track_caller]
    pub fn conv3d(&self, weight: &Tensor, bias: Option<&Tensor>, options: &ConvOptions) -> Tensor {
        Call { name: "conv3d", axes: 3, x: self, weight, bias }.forward(options)
    }

    /// [`Tensor::conv_transpose2d`] with one spatial axis: x `[N, C, L]` or `[C, L]`, weight `[C, O/groups, K]`.
    #[track_caller]
    pub fn conv_transpose1d(&self, weight: &Tensor, bias: Option<&Tensor>, options: &ConvTransposeOptions) -> Tensor {
        Call { name: "conv_transpose1d", axes: 1, x: self, weight, bias }.transposed(options)
    }

    /// The adjoint of [`Tensor::conv2d`] as a layer (Zeiler et al. 2010): each element of the input adds its window
    /// of weights to the result, y[n, o, p·stride + k·dilation − padding] += x[n, c, p]·weight[c, o, k], plus bias\[o\].
    /// x `[N, C, H, W]` or `[C, H, W]`, weight `[C, O/groups, K, K]`, y `[N, O, H', W']`,
    /// H' = (H − 1)·stride − 2·padding + dilation·(K − 1) + output_padding + 1. Torch's `conv_transpose2d`.
    ///
    /// ```
    /// use limpid_core::{ConvTransposeOptions, Tensor};
    /// let x = Tensor::from([[[1.0f32, 2.0]]]);
    /// let w = Tensor::from([[[[1.0f32, 10.0]]]]);
    /// let y = x.conv_transpose2d(&w, None, &ConvTransposeOptions::new());
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 12.0, 20.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: shapes, types or groups that do not fit, a stride or dilation of 0, an output_padding that is not
    /// below stride or dilation.
    #[track_caller]
    pub fn conv_transpose2d(&self, weight: &Tensor, bias: Option<&Tensor>, options: &ConvTransposeOptions) -> Tensor {
        Call { name: "conv_transpose2d", axes: 2, x: self, weight, bias }.transposed(options)
    }

    /// [`Tensor::conv_transpose2d`] with three spatial axes: x `[N, C, D, H, W]` or `[C, D, H, W]`.
    #[track_caller]
    pub fn conv_transpose3d(&self, weight: &Tensor, bias: Option<&Tensor>, options: &ConvTransposeOptions) -> Tensor {
        Call { name: "conv_transpose3d", axes: 3, x: self, weight, bias }.transposed(options)
    }
}
