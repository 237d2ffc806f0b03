//! Convolution of sequences, images and volumes, forward and backward.
//!
//! A convolution is a matrix product whose left factor has a row for each window, and in it what the window sees. That
//! matrix is never laid out (im2col; Chellapilla, Puri, Simard 2006): its element is wherever the beginning of the window
//! and the place within it say, so the micro-kernels read it from the image, or from a copy of a small part of it with the
//! padding around. Its transpose, in the gradient by the weights, is read in the same way.
//!
//! Where a group makes one channel (depthwise) rows of the image are added up directly.

mod axis;
mod depthwise;
mod field;
mod product;
mod weights;

pub use axis::Axis;

use crate::Cpu;
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::parts::each;
use crate::real::Real;
use crate::slice::{Slice, SliceMut};

use crate::dot::Sums;

/// The shape of a convolution of volumes `[n, c_in, d, h, w]` with weights `[c_out, c_in / groups, kd, kh, kw]`. An image
/// is a volume of depth 1, a sequence one of height 1 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Number of volumes.
    pub n: usize,
    /// Channels of a volume.
    pub c_in: usize,
    /// Channels of the result.
    pub c_out: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Depth, height and width.
    pub axes: [Axis; 3],
    /// Whether the weights are those of the convolution that this is the transpose of: `[c_in, c_out / groups, …]`, each
    /// window from its end.
    pub turned: bool,
}

impl Conv {
    /// Sizes of the result.
    pub fn out_size(&self) -> [usize; 3] {
        self.axes.map(|a| a.windows())
    }

    /// Windows in a volume.
    fn windows(&self) -> usize {
        self.out_size().iter().product()
    }

    /// Elements of a window in one channel.
    fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).product()
    }

    /// Elements of a channel of a volume.
    fn pixels(&self) -> usize {
        self.axes.iter().map(|a| a.size).product()
    }

    /// Channels that a window sees, and that a group makes.
    fn group(&self) -> (usize, usize) {
        (self.c_in / self.groups, self.c_out / self.groups)
    }

    fn check(&self) {
        assert!(self.groups > 0, "{self:?} has no groups");
        let steps = self.axes.iter().flat_map(|a| [a.stride, a.dilation, a.input_dilation]);
        assert!(steps.into_iter().all(|s| s > 0), "{self:?} has a step of zero");
        let divided = self.c_in.is_multiple_of(self.groups) && self.c_out.is_multiple_of(self.groups);
        assert!(divided, "{self:?}: groups divide the channels");
    }
}

/// `out[n, o, p] = bias[o] + Σ weight[o, c, k]·src[n, c', p·stride + k·dilation - lo]` over the channels c of the group of
/// o (c' = c counted from the group's first) and the window k, for places of the image spread by its dilation, zero outside
/// and between.
///
/// All are contiguous and of one float type: `src` `[n, c_in, …]`, `weight` as [`Conv`] says, `bias` `[c_out]`, `out`
/// `[n, c_out, …]`. f16 and bf16 are computed in f32 and rounded once.
///
/// # Panics
/// When lengths or types do not fit, groups do not divide the channels, or a stride, a dilation or the number of groups
/// is 0.
pub fn conv(cpu: &Cpu, shape: &Conv, src: Slice, weight: Slice, bias: Option<Slice>, mut out: SliceMut) {
    shape.check();
    assert_eq!(src.len(), shape.n * shape.c_in * shape.pixels());
    assert_eq!(weight.len(), shape.c_out * (shape.c_in / shape.groups) * shape.taps());
    assert_eq!(out.len(), shape.n * shape.c_out * shape.windows());
    assert!(bias.is_none_or(|b| b.len() == shape.c_out && b.dtype() == src.dtype()));
    assert!(weight.dtype() == src.dtype() && out.dtype() == src.dtype());
    if out.is_empty() {
        return;
    }
    if src.dtype() == DType::F64 {
        return convolve::<f64>(cpu, shape, src.get(), weight.get(), bias.map(|b| b.get()), out.get());
    }
    let (src, weight, bias) = (Floats::new(cpu, src), Floats::new(cpu, weight), bias.map(|b| Floats::new(cpu, b)));
    let mut sums = FloatsMut::new(out);
    convolve::<f32>(cpu, shape, src.get(), weight.get(), bias.as_ref().map(|b| b.get()), sums.get());
    sums.finish(cpu);
}

fn convolve<T: Sums>(cpu: &Cpu, shape: &Conv, src: &[T], weight: &[T], bias: Option<&[T]>, out: &mut [T]) {
    let (channels, made) = shape.group();
    if made == 1 && channels * shape.taps() <= depthwise::LONGEST {
        return depthwise::conv(cpu, shape, src, weight, bias, out);
    }
    if channels == 0 || shape.axes.iter().any(|a| a.leaves_out()) {
        let windows = shape.windows();
        each(&cpu.pool, shape.n * shape.c_out, (out, windows), |i, out| {
            out.fill(bias.map_or(T::default(), |b| b[i % shape.c_out]));
        });
    }
    if channels > 0 {
        product::conv(cpu, shape, src, weight, bias, out);
    }
}

/// The gradient of [`conv`] by its weights: `out[o, c, k] = Σ g[n, o, p]·src[n, c', p·stride + k·dilation - lo]` over the
/// images n and the windows p.
///
/// All are contiguous and of one float type: `src` `[n, c_in, …]`, `g` `[n, c_out, …]`, `out` `[c_out, c_in / groups, …]`.
/// f16 and bf16 are computed in f32 and rounded once.
///
/// # Panics
/// When lengths or types do not fit, the shape is turned, groups do not divide the channels, or a stride, a dilation or
/// the number of groups is 0.
pub fn weight_gradient(cpu: &Cpu, shape: &Conv, src: Slice, g: Slice, mut out: SliceMut) {
    shape.check();
    assert!(!shape.turned, "the gradient by turned weights is that of the transposed convolution");
    assert_eq!(src.len(), shape.n * shape.c_in * shape.pixels());
    assert_eq!(g.len(), shape.n * shape.c_out * shape.windows());
    assert_eq!(out.len(), shape.c_out * (shape.c_in / shape.groups) * shape.taps());
    assert!(g.dtype() == src.dtype() && out.dtype() == src.dtype());
    if out.is_empty() {
        return;
    }
    if src.dtype() == DType::F64 {
        return weights::gradient::<f64>(cpu, shape, src.get(), g.get(), out.get());
    }
    let (src, g) = (Floats::new(cpu, src), Floats::new(cpu, g));
    let mut sums = FloatsMut::new(out);
    weights::gradient::<f32>(cpu, shape, src.get(), g.get(), sums.get());
    sums.finish(cpu);
}

/// Windows whose element `offset` for the first, `stride` further for each, is inside `0..size`.
fn inside(count: usize, stride: usize, offset: isize, size: usize) -> std::ops::Range<usize> {
    let before = |place: isize| (place - offset).max(0) as usize;
    let (first, end) = (before(0).div_ceil(stride), before(size as isize).div_ceil(stride).min(count));
    first.min(end)..end
}
