//! Convolution of images and volumes, forward.
//!
//! Where every group makes several channels it is a matrix product: the patches that the windows see are laid
//! out as a matrix for a few images at a time (im2col; Chellapilla, Puri, Simard 2006) and multiplied by the
//! weights. Where a group makes one channel (depthwise) rows of the image are added up directly.

use crate::Cpu;
use crate::buffer::Buffer;
use crate::dot::{Dims, Operand, dot};
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::each;
use crate::real::Real;
use crate::slice::{Slice, SliceMut};

/// Bytes of patches that are laid out at once, if one image has no more.
const PATCHES: usize = 16 << 20;
/// Elements of the result that one task of the direct way makes.
const TASK: usize = 8 << 10;

/// The shape of a convolution of images `[n, c_in, h, w]` with weights `[c_out, c_in / groups, kh, kw]`: a [`Conv3d`] of
/// depth 1. Pairs are for the height and the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Number of images.
    pub n: usize,
    /// Channels of an image.
    pub c_in: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Channels of the result.
    pub c_out: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Steps of the window.
    pub stride: [usize; 2],
    /// Zeros before and after the image.
    pub padding: [[usize; 2]; 2],
    /// Steps between the elements of the window.
    pub dilation: [usize; 2],
}

/// The shape of a convolution of volumes `[n, c_in, d, h, w]` with weights `[c_out, c_in / groups, kd, kh, kw]`. Triples
/// are for the depth, the height and the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv3d {
    /// Number of volumes.
    pub n: usize,
    /// Channels of a volume.
    pub c_in: usize,
    /// Sizes of a volume.
    pub size: [usize; 3],
    /// Channels of the result.
    pub c_out: usize,
    /// Sizes of the window.
    pub kernel: [usize; 3],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Steps of the window.
    pub stride: [usize; 3],
    /// Zeros before and after the volume.
    pub padding: [[usize; 2]; 3],
    /// Steps between the elements of the window.
    pub dilation: [usize; 3],
}

impl From<Conv2d> for Conv3d {
    fn from(image: Conv2d) -> Conv3d {
        let Conv2d { n, c_in, c_out, groups, size, kernel, stride, padding, dilation } = image;
        let deep = |[h, w]: [usize; 2]| [1, h, w];
        Conv3d {
            n,
            c_in,
            size: deep(size),
            c_out,
            kernel: deep(kernel),
            groups,
            stride: deep(stride),
            padding: [[0, 0], padding[0], padding[1]],
            dilation: deep(dilation),
        }
    }
}

impl Conv2d {
    /// Height and width of the result: `(size + padding - dilation·(kernel - 1) - 1) / stride + 1`, rounded down;
    /// 0 where the window is larger than the padded image.
    pub fn out_size(&self) -> [usize; 2] {
        let [_, height, width] = Conv3d::from(*self).out_size();
        [height, width]
    }
}

impl Conv3d {
    /// Sizes of the result: `(size + padding - dilation·(kernel - 1) - 1) / stride + 1`, rounded down; 0 where the
    /// window is larger than the padded volume.
    pub fn out_size(&self) -> [usize; 3] {
        [0, 1, 2].map(|i| {
            let padded = self.size[i] + self.padding[i][0] + self.padding[i][1];
            let window = self.dilation[i] * (self.kernel[i] - 1) + 1;
            padded.checked_sub(window).map_or(0, |rest| rest / self.stride[i] + 1)
        })
    }

    /// Windows in a volume.
    fn windows(&self) -> usize {
        self.out_size().iter().product()
    }

    /// Elements of a window in one channel.
    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Elements of a channel of a volume.
    fn pixels(&self) -> usize {
        self.size.iter().product()
    }

    /// The places of element `tap` of a window.
    fn places(&self, tap: usize) -> [usize; 3] {
        let [_, high, wide] = self.kernel;
        [tap / (high * wide), tap / wide % high, tap % wide]
    }

    /// The windows along dimension `i` whose element `k` is inside the volume, and where the first of them has it.
    fn inside(&self, i: usize, k: usize) -> (std::ops::Range<usize>, usize) {
        let (stride, before, shift) = (self.stride[i], self.padding[i][0], k * self.dilation[i]);
        let first = before.saturating_sub(shift).div_ceil(stride);
        let end = (self.size[i] + before).saturating_sub(shift).div_ceil(stride).min(self.out_size()[i]);
        if first >= end { (0..0, 0) } else { (first..end, first * stride + shift - before) }
    }
}

/// `out[n, o, y, x] = bias[o] + Σ weight[o, c, i, j]·src[n, c', y·stride + i·dilation - padding, …]` over the
/// channels c of the group of o (c' = c counted from the group's first) and the window, zero outside of the image.
///
/// All are contiguous and of one float type: `src` `[n, c_in, h, w]`, `weight` `[c_out, c_in/groups, kh, kw]`,
/// `bias` `[c_out]`, `out` `[n, c_out, oh, ow]`. f16 and bf16 are computed in f32 and rounded once.
///
/// # Panics
/// When lengths or types do not fit, groups do not divide the channels, or a kernel, stride, dilation or the
/// number of groups is 0.
pub fn conv2d(cpu: &Cpu, shape: &Conv2d, src: Slice, weight: Slice, bias: Option<Slice>, out: SliceMut) {
    conv3d(cpu, &Conv3d::from(*shape), src, weight, bias, out);
}

/// [`conv2d`] with another axis in front of the height.
///
/// # Panics
/// As [`conv2d`].
pub fn conv3d(cpu: &Cpu, shape: &Conv3d, src: Slice, weight: Slice, bias: Option<Slice>, mut out: SliceMut) {
    let Conv3d { n, c_in, c_out, groups, .. } = *shape;
    let sizes = [shape.kernel, shape.stride, shape.dilation].concat();
    assert!(groups > 0 && sizes.iter().all(|&s| s > 0), "{shape:?} has a zero");
    assert!(c_in % groups == 0 && c_out % groups == 0, "{shape:?}: groups divide the channels");
    assert_eq!(src.len(), n * c_in * shape.pixels());
    assert_eq!(weight.len(), c_out * (c_in / groups) * shape.taps());
    assert_eq!(out.len(), n * c_out * shape.windows());
    assert!(bias.is_none_or(|b| b.len() == c_out && b.dtype() == src.dtype()));
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

fn convolve<T: Real>(cpu: &Cpu, shape: &Conv3d, src: &[T], weight: &[T], bias: Option<&[T]>, out: &mut [T]) {
    if shape.c_out == shape.groups {
        return direct(cpu, shape, src, weight, bias, out);
    }
    multiply(cpu, shape, src, weight, out);
    if let Some(bias) = bias {
        let windows = shape.windows();
        each(&cpu.pool, shape.n * shape.c_out, (out, windows), |i, out| {
            let b = bias[i % shape.c_out];
            out.iter_mut().for_each(|out| *out = *out + b);
        });
    }
}

/// The convolution without bias, as products of the weights and matrices of patches.
fn multiply<T: Real>(cpu: &Cpu, shape: &Conv3d, src: &[T], weight: &[T], out: &mut [T]) {
    let Conv3d { n, c_in, c_out, groups, .. } = *shape;
    let (windows, pixels) = (shape.windows(), shape.pixels());
    let (m, k) = (c_out / groups, c_in / groups * shape.taps());
    // A window of one pixel that steps over every pixel sees the image as it is.
    let plain = shape.taps() == 1 && shape.stride == [1; 3] && shape.padding == [[0, 0]; 3];
    let patches = c_in * shape.taps() * windows;
    let images = if plain { n } else { (PATCHES / (patches * size_of::<T>()).max(1)).clamp(1, n) };
    let mut buffer = Buffer::new(if plain { 0 } else { images * patches * size_of::<T>() });
    for (first, out) in (0..n).step_by(images).zip(out.chunks_mut(images * c_out * windows)) {
        let count = images.min(n - first);
        let src = &src[first * c_in * pixels..][..count * c_in * pixels];
        let matrix = if plain {
            src
        } else {
            let matrix = &mut buffer.get_mut::<T>()[..count * patches];
            each(&cpu.pool, count * c_in, (matrix, shape.taps() * windows), |i, rows| {
                lay_out(shape, &src[i * pixels..][..pixels], rows);
            });
            &buffer.get::<T>()[..count * patches]
        };
        let dims = Dims { batch: &[count, groups], m, n: windows, k };
        let (group, image) = (k * windows, groups * k * windows);
        let a =
            Operand { data: Slice::of(weight), offset: 0, batch: &[0, (m * k) as isize], rows: k as isize, cols: 1 };
        let b = Operand {
            data: Slice::of(matrix),
            offset: 0,
            batch: &[image as isize, group as isize],
            rows: windows as isize,
            cols: 1,
        };
        dot(cpu, &dims, &a, &b, SliceMut::of(out), None);
    }
}

/// The rows of the patch matrix for one channel: row (i, j, k) holds what element (i, j, k) of every window sees.
fn lay_out<T: Real>(shape: &Conv3d, channel: &[T], rows: &mut [T]) {
    let [depth, height, width] = shape.out_size();
    let (image, image_width) = (shape.size[1] * shape.size[2], shape.size[2]);
    for (tap, row) in rows.chunks_exact_mut(depth * height * width).enumerate() {
        let [i, j, k] = shape.places(tap);
        let (zs, mut z_in) = shape.inside(0, i);
        let (ys, y_first) = shape.inside(1, j);
        let (xs, x_in) = shape.inside(2, k);
        row[..zs.start * height * width].fill(T::default());
        row[zs.end * height * width..].fill(T::default());
        for row in row[zs.start * height * width..zs.end * height * width].chunks_exact_mut(height * width) {
            let plane = &channel[z_in * image..][..image];
            let mut y_in = y_first;
            row[..ys.start * width].fill(T::default());
            row[ys.end * width..].fill(T::default());
            for line in row[ys.start * width..ys.end * width].chunks_exact_mut(width) {
                line[..xs.start].fill(T::default());
                line[xs.end..].fill(T::default());
                let pixels = &plane[y_in * image_width..][..image_width];
                let line = &mut line[xs.clone()];
                match shape.stride[2] {
                    _ if line.is_empty() => {}
                    1 => line.copy_from_slice(&pixels[x_in..][..line.len()]),
                    stride => line.iter_mut().zip(pixels[x_in..].iter().step_by(stride)).for_each(|(l, &p)| *l = p),
                }
                y_in += shape.stride[1];
            }
            z_in += shape.stride[0];
        }
    }
}

/// One channel from each group, by adding up shifted rows of the image.
fn direct<T: Real>(cpu: &Cpu, shape: &Conv3d, src: &[T], weight: &[T], bias: Option<&[T]>, out: &mut [T]) {
    let (windows, channels) = (shape.windows(), shape.c_in / shape.groups);
    let (pixels, taps) = (shape.pixels(), shape.taps());
    let per_task = (TASK / windows).max(1);
    each(&cpu.pool, (shape.n * shape.c_out).div_ceil(per_task), (out, per_task * windows), |task, out| {
        for (i, out) in out.chunks_exact_mut(windows).enumerate() {
            let i = task * per_task + i;
            let o = i % shape.c_out;
            let src = &src[i * channels * pixels..][..channels * pixels];
            let weight = &weight[o * channels * taps..][..channels * taps];
            out.fill(bias.map_or(T::default(), |b| b[o]));
            dispatch(cpu.isa, Direct { shape, src, weight, out });
        }
    });
}

struct Direct<'a, T> {
    shape: &'a Conv3d,
    src: &'a [T],
    weight: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Job for Direct<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Direct { shape, src, weight, out } = self;
        let ([_, height, width], [_, image_height, image_width]) = (shape.out_size(), shape.size);
        let (result, image) = (height * width, image_height * image_width);
        for (c, weight) in weight.chunks_exact(shape.taps()).enumerate() {
            let channel = &src[c * shape.pixels()..][..shape.pixels()];
            for (tap, &w) in weight.iter().enumerate() {
                let [i, j, k] = shape.places(tap);
                let (zs, mut z_in) = shape.inside(0, i);
                let (ys, y_first) = shape.inside(1, j);
                let (xs, x_in) = shape.inside(2, k);
                if xs.is_empty() {
                    continue;
                }
                for out in out[zs.start * result..zs.end * result].chunks_exact_mut(result) {
                    let plane = &channel[z_in * image..][..image];
                    let mut y_in = y_first;
                    for line in out[ys.start * width..ys.end * width].chunks_exact_mut(width) {
                        let pixels = &plane[y_in * image_width..][..image_width][x_in..];
                        let line = &mut line[xs.clone()];
                        if shape.stride[2] == 1 {
                            line.iter_mut().zip(pixels).for_each(|(l, &p)| *l = w.fma::<A>(p, *l));
                        } else {
                            let pixels = pixels.iter().step_by(shape.stride[2]);
                            line.iter_mut().zip(pixels).for_each(|(l, &p)| *l = w.fma::<A>(p, *l));
                        }
                        y_in += shape.stride[1];
                    }
                    z_in += shape.stride[0];
                }
            }
        }
    }
}
