//! Convolution in any number of dimensions, closed under its own gradients.

use limpid_kernels::conv;
use smallvec::smallvec;

use crate::compound::{Compound, Fault, Io, call_one};
use crate::error::{Error, Result};
use crate::op::contract::{dot, transpose};
use crate::op::movement::{pad, permute, reshape, slice, window};
use crate::op::{AxisList, Backward, Grads, Saves, source};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// How a convolution moves along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvAxis {
    /// Places between two windows.
    pub stride: usize,
    /// Zeros before the first element; negative ones cut elements off.
    pub lo: i64,
    /// Zeros behind the last element; negative ones cut elements off.
    pub hi: i64,
    /// Places between two elements of a window.
    pub dilation: usize,
    /// Places between two elements of the input, filled with zeros (1: none): what makes a convolution
    /// transposed.
    pub input_dilation: usize,
}

impl ConvAxis {
    /// One step at a time, no padding.
    pub const PLAIN: ConvAxis = ConvAxis { stride: 1, lo: 0, hi: 0, dilation: 1, input_dilation: 1 };

    /// The padded size of an axis of `size` elements; negative when padding cuts more than is there.
    fn padded(&self, size: usize) -> i64 {
        let spread = if size == 0 { 0 } else { (size as i64 - 1) * self.input_dilation as i64 + 1 };
        spread + self.lo + self.hi
    }

    /// Number of windows of `kernel` elements over an axis of `size` elements.
    pub fn windows(&self, size: usize, kernel: usize) -> usize {
        let span = (kernel as i64 - 1) * self.dilation as i64 + 1;
        let room = self.padded(size) - span;
        if room < 0 || kernel == 0 { 0 } else { room as usize / self.stride + 1 }
    }
}

/// y[n, o, p…] = Σ_{c, k…} x[n, c, p·stride + k·dilation − lo …] · w[o, c, k…]: a cross-correlation, as in
/// torch. x [N, C, …], w [O, C/groups, …]; group i of the outputs reads group i of the channels.
#[derive(Clone, Debug)]
struct Conv {
    axes: Vec<ConvAxis>,
    groups: usize,
    /// Whether the weights are those of the transposed convolution, [C, O/groups, …]: [`turned`] ones are meant.
    turned: bool,
}

/// Zeros around and between, or less than there was.
fn padded(x: &Tensor, axis: usize, a: &ConvAxis) -> Tensor {
    let size = x.shape()[axis];
    let len = a.padded(size);
    if size == 0 || len <= 0 {
        let shape = x.shape().with(axis, len.max(0) as usize);
        return source::constant(limpid_kernels::Number::Float(0.0), x.dtype()).expand_to(&shape);
    }
    let zero = source::constant(limpid_kernels::Number::Float(0.0), x.dtype());
    let spread = a.input_dilation - 1;
    let (lo, hi) = (a.lo.max(0), a.hi.max(0));
    let wide = (size as i64 - 1) * a.input_dilation as i64 + 1;
    let x = pad(x, axis, lo as usize, spread, (wide + lo + hi) as usize, &zero);
    slice(&x, axis, (-a.lo).max(0), 1, len as usize)
}

impl Compound for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(self.groups as u64);
        key.push(u64::from(self.turned));
        for a in &self.axes {
            key.extend([a.stride as u64, a.lo as u64, a.hi as u64, a.dilation as u64, a.input_dilation as u64]);
        }
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (x, w) = (&inputs[0].0, &inputs[1].0);
        let channels = if self.turned { w[1] * self.groups } else { w[0] };
        let spatial = self.axes.iter().enumerate().map(|(i, a)| a.windows(x[i + 2], w[i + 2]));
        vec![([x[0], channels].into_iter().chain(spatial).collect(), inputs[0].1)]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, w) = (&inputs[0], &if self.turned { turned(&inputs[1], self.groups) } else { inputs[1].clone() });
        let (d, g) = (self.axes.len(), self.groups);
        let (n, c, o) = (x.shape()[0], x.shape()[1] / g, w.shape()[0] / g);
        let mut x = x.clone();
        for (i, a) in self.axes.iter().enumerate() {
            x = padded(&x, i + 2, a);
        }
        for (i, a) in self.axes.iter().enumerate() {
            x = window(&x, i + 2, w.shape()[i + 2], a.stride, a.dilation);
        }
        // x is [N, g·C, P…, K…]; the product is over C and K.
        let places: Vec<usize> = x.shape()[2..2 + d].to_vec();
        let split: Shape = [n, g, c].into_iter().chain(x.shape()[2..].iter().copied()).collect();
        let order: AxisList = [1, 0].into_iter().chain(3..3 + d).chain([2]).chain(3 + d..3 + 2 * d).collect();
        let inner = c * w.shape()[2..].iter().product::<usize>();
        let rows = n * places.iter().product::<usize>();
        let x = reshape(&permute(&reshape(&x, split), order), Shape::from([g, rows, inner]));
        let w = reshape(w, Shape::from([g, o, inner]));
        let y = dot(&x, &transpose(&w));
        let split: Shape = [g, n].into_iter().chain(places.iter().copied()).chain([o]).collect();
        let order: AxisList = [1, 0, 2 + d].into_iter().chain(2..2 + d).collect();
        let shape: Shape = [n, g * o].into_iter().chain(places).collect();
        vec![reshape(&permute(&reshape(&y, split), order), shape)]
    }

    /// By x: the transposed convolution of g. By w: [`WeightGradient`], for turned weights that of the convolution which this
    /// is the transpose of.
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let (x, w, g) = (&b.inputs[0], &b.inputs[1], b.g());
        let kernel: AxisList = w.shape()[2..].iter().copied().collect();
        let back = transposed(&self.axes, x.shape(), &kernel, g.shape());
        let by_w = || match self.turned {
            false => weight_gradient(x, g, self.axes.clone(), self.groups, &kernel),
            true => weight_gradient(g, x, back.clone(), self.groups, &kernel),
        };
        Some(smallvec![
            b.needs[0].then(|| convolution(g, w, back.clone(), self.groups, !self.turned)),
            b.needs[1].then(by_w),
        ])
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    /// Up to three axes.
    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        self.axes.len() <= 3 && inputs[0].0.elements() > 0
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (x, w) = (&io.shapes[0], &io.shapes[1]);
        let c_out = if self.turned { w[1] * self.groups } else { w[0] };
        let shape = kernel_shape(&self.axes, self.groups, self.turned, x, &w[2..], c_out);
        conv::conv(io.cpu, &shape, io.inputs[0], io.inputs[1], None, io.outputs[0].reborrow());
        Ok(())
    }
}

/// The shape as the kernels take it: an image is a volume of depth 1, a sequence one of height 1 too.
fn kernel_shape(
    axes: &[ConvAxis],
    groups: usize,
    turned: bool,
    x: &Shape,
    kernel: &[usize],
    c_out: usize,
) -> conv::Conv {
    let skip = 3 - axes.len();
    let axis = |i: usize| {
        let Some(i) = i.checked_sub(skip) else { return conv::Axis::new(1, 1) };
        let ConvAxis { stride, lo, hi, dilation, input_dilation } = axes[i];
        let (lo, hi) = (lo as isize, hi as isize);
        conv::Axis { size: x[i + 2], kernel: kernel[i], stride, lo, hi, dilation, input_dilation }
    };
    conv::Conv { n: x[0], c_in: x[1], c_out, groups, axes: [0, 1, 2].map(axis), turned }
}

/// The axes of the transpose of a convolution that takes `x` to `y`: from every element of y to those of x that it saw.
fn transposed(axes: &[ConvAxis], x: &Shape, kernel: &[usize], y: &Shape) -> Vec<ConvAxis> {
    let axis = |(i, a): (usize, &ConvAxis)| {
        let reach = (kernel[i] as i64 - 1) * a.dilation as i64;
        let lo = reach - a.lo;
        let spread = (y[i + 2] as i64 - 1) * a.stride as i64 + 1;
        let hi = (x[i + 2] as i64 - 1) * a.input_dilation as i64 + 1 + reach - spread - lo;
        ConvAxis { stride: a.input_dilation, lo, hi, dilation: a.dilation, input_dilation: a.stride }
    };
    axes.iter().enumerate().map(axis).collect()
}

/// w̄[o, c, k…] = Σ_{n, p…} g[n, o, p…] · x[n, c, p·stride + k·dilation − lo …]: the gradient of a convolution by its
/// weights, from x [N, C, …] and g [N, O, …] to [O, C/groups, …].
#[derive(Clone, Debug)]
struct WeightGradient {
    axes: Vec<ConvAxis>,
    groups: usize,
    kernel: AxisList,
}

impl Compound for WeightGradient {
    fn name(&self) -> &'static str {
        "conv_by_weight"
    }

    fn key(&self, key: &mut Vec<u64>) {
        Conv { axes: self.axes.clone(), groups: self.groups, turned: false }.key(key);
        key.extend(self.kernel.iter().map(|&k| k as u64));
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (x, g) = (&inputs[0].0, &inputs[1].0);
        vec![([g[1], x[1] / self.groups].into_iter().chain(self.kernel.iter().copied()).collect(), inputs[0].1)]
    }

    /// A convolution of x with g as the kernel, spread by the stride.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, g) = (&inputs[0], &inputs[1]);
        let (d, groups) = (self.axes.len(), self.groups);
        let (n, c) = (x.shape()[0], x.shape()[1] / groups);
        let axes = (0..d)
            .map(|i| {
                let (a, k, out) = (&self.axes[i], self.kernel[i] as i64, g.shape()[i + 2] as i64);
                let wide = (x.shape()[i + 2] as i64 - 1) * a.input_dilation as i64 + 1;
                let hi = (k - 1) * a.dilation as i64 + (out - 1) * a.stride as i64 + 1 - wide - a.lo;
                ConvAxis { stride: a.dilation, lo: a.lo, hi, dilation: a.stride, input_dilation: a.input_dilation }
            })
            .collect();
        let spatial = &x.shape()[2..];
        let split: Shape = [n, groups, c].into_iter().chain(spatial.iter().copied()).collect();
        let order: AxisList = [2, 1, 0].into_iter().chain(3..3 + d).collect();
        let merged: Shape = [c, groups * n].into_iter().chain(spatial.iter().copied()).collect();
        let x = reshape(&permute(&reshape(x, split), order), merged);
        let swap: AxisList = [1, 0].into_iter().chain(2..2 + d).collect();
        vec![permute(&convolution(&x, &permute(g, swap.clone()), axes, groups, false), swap)]
    }

    /// It is linear in both: by x the transposed convolution of g with the gradient v as weights, by g the convolution of x
    /// with v.
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let (x, g, v) = (&b.inputs[0], &b.inputs[1], b.g());
        let back = || transposed(&self.axes, x.shape(), &self.kernel, g.shape());
        Some(smallvec![
            b.needs[0].then(|| convolution(g, v, back(), self.groups, true)),
            b.needs[1].then(|| convolution(x, v, self.axes.clone(), self.groups, false)),
        ])
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }

    /// Up to three axes.
    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        self.axes.len() <= 3 && inputs[0].0.elements() > 0
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (x, g) = (&io.shapes[0], &io.shapes[1]);
        let shape = kernel_shape(&self.axes, self.groups, false, x, &self.kernel, g[1]);
        conv::weight_gradient(io.cpu, &shape, io.inputs[0], io.inputs[1], io.outputs[0].reborrow());
        Ok(())
    }
}

#[track_caller]
fn weight_gradient(x: &Tensor, g: &Tensor, axes: Vec<ConvAxis>, groups: usize, kernel: &[usize]) -> Tensor {
    call_one(WeightGradient { axes, groups, kernel: kernel.iter().copied().collect() }, &[x, g])
}

/// The weights of the transposed convolution: [O, C/groups, …] as [C, O/groups, …] with each window from its end, or
/// the other way round.
fn turned(w: &Tensor, groups: usize) -> Tensor {
    let (o, c, kernel) = (w.shape()[0] / groups, w.shape()[1], &w.shape()[2..]);
    let split: Shape = [groups, o, c].into_iter().chain(kernel.iter().copied()).collect();
    let order: AxisList = [0, 2, 1].into_iter().chain(3..3 + kernel.len()).collect();
    let merged: Shape = [groups * c, o].into_iter().chain(kernel.iter().copied()).collect();
    let mut turned = reshape(&permute(&reshape(w, split), order), merged);
    for (i, &k) in kernel.iter().enumerate() {
        turned = slice(&turned, i + 2, k as i64 - 1, -1, k);
    }
    turned
}

/// The convolution of x and w that the caller has checked.
#[track_caller]
pub(crate) fn convolve(x: &Tensor, w: &Tensor, axes: Vec<ConvAxis>, groups: usize) -> Tensor {
    convolution(x, w, axes, groups, false)
}

/// The convolution of x and the [`turned`] weights: the transpose of one whose weights w are.
#[track_caller]
pub(crate) fn convolve_turned(x: &Tensor, w: &Tensor, axes: Vec<ConvAxis>, groups: usize) -> Tensor {
    convolution(x, w, axes, groups, true)
}

#[track_caller]
fn convolution(x: &Tensor, w: &Tensor, axes: Vec<ConvAxis>, groups: usize, turned: bool) -> Tensor {
    call_one(Conv { axes, groups, turned }, &[x, w])
}

impl Tensor {
    /// The convolution of x `[N, C, …]` with `weight` `[O, C/groups, …]`, one [`ConvAxis`] for each axis
    /// behind the channels: y[n, o, p] = Σ x[n, c, p·stride + k·dilation − lo]·w[o, c, k].
    ///
    /// ```
    /// use limpid_core::{ConvAxis, Tensor};
    /// let x = Tensor::from([[[1.0f32, 2.0, 3.0]]]);
    /// let w = Tensor::from([[[1.0f32, 10.0]]]);
    /// assert_eq!(x.conv(&w, &[ConvAxis::PLAIN], 1).to_vec::<f32>()?, [21.0, 32.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn conv(&self, weight: &Tensor, axes: &[ConvAxis], groups: usize) -> Tensor {
        let at = std::panic::Location::caller();
        let fail = |what: String| {
            Tensor::fail_at(
                at,
                Error::new(format!("conv: {what}")),
                &[self, weight],
                self.shape().clone(),
                self.dtype(),
            )
        };
        let (x, w) = (self.shape(), weight.shape());
        if axes.is_empty() || x.rank() != axes.len() + 2 || w.rank() != axes.len() + 2 {
            return fail(format!("input {x} and weight {w} need {} axes each", axes.len() + 2));
        }
        if groups == 0 || x[1] % groups != 0 || w[0] % groups != 0 {
            return fail(format!("{} input and {} output channels do not divide into {groups} groups", x[1], w[0]));
        }
        if x[1] / groups != w[1] {
            return fail(format!("the input has {} channels in {groups} groups, the weight {w} takes {}", x[1], w[1]));
        }
        if self.dtype() != weight.dtype() || !self.dtype().is_float() {
            return fail(format!("input and weight are {} and {}", self.dtype(), weight.dtype()));
        }
        if axes.iter().any(|a| a.stride == 0 || a.dilation == 0 || a.input_dilation == 0) {
            return fail("a stride or dilation is 0".to_owned());
        }
        let large = |n: u64| n > i32::MAX as u64;
        let sizes = |a: &ConvAxis| [a.stride as u64, a.dilation as u64, a.input_dilation as u64];
        let beside = |a: &ConvAxis| [a.lo.unsigned_abs(), a.hi.unsigned_abs()];
        if axes.iter().any(|a| sizes(a).into_iter().chain(beside(a)).any(large)) {
            return fail("a stride, dilation or padding is too large".to_owned());
        }
        for (i, a) in axes.iter().enumerate() {
            if a.windows(x[i + 2], w[i + 2]) == 0 {
                return fail(format!("the kernel {w} is larger than the padded input {x} on axis {}", i + 2));
            }
        }
        convolve(self, weight, axes.to_vec(), groups)
    }
}
