//! What a block of windows sees of the images: their receptive field.

use std::ops::Range;

use crate::real::Real;

use super::Conv;
use super::axis::Phase;

/// A phase of each axis: windows that all meet the same elements of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases<'a>(pub [&'a Phase; 3]);

impl Phases<'_> {
    /// Windows of an image.
    pub fn windows(&self) -> usize {
        self.0.iter().map(|p| p.count).product()
    }

    /// The elements of the kernel that are met: their place in it, and their offsets.
    pub fn taps(&self, shape: &Conv) -> Vec<(usize, [isize; 3])> {
        let [depth, height, width] = self.0;
        let [kernel_depth, kernel_height, kernel_width] = shape.axes.map(|a| a.kernel);
        let turned = |k: usize, kernel: usize| if shape.turned { kernel - 1 - k } else { k };
        let mut taps = Vec::new();
        for &(i, z) in &depth.taps {
            for &(j, y) in &height.taps {
                for &(k, x) in &width.taps {
                    let (i, j, k) = (turned(i, kernel_depth), turned(j, kernel_height), turned(k, kernel_width));
                    taps.push(((i * kernel_height + j) * kernel_width + k, [z, y, x]));
                }
            }
        }
        // In the order of the weights in memory.
        taps.sort_unstable();
        taps
    }
}

/// Some windows of a phase: a box of them in each of some images.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub images: Range<usize>,
    pub at: [Range<usize>; 3],
}

impl Block {
    /// Windows of an image.
    pub fn windows(&self) -> usize {
        self.at.iter().map(|r| r.len()).product()
    }

    /// All windows.
    pub fn len(&self) -> usize {
        self.images.len() * self.windows()
    }

    /// All windows of `n` images, in blocks of about `size`, so cut that those of an image follow each other.
    pub fn all(n: usize, phases: &Phases<'_>, size: usize) -> Vec<Block> {
        let counts = phases.0.map(|p| p.count);
        let [depth, height, width] = counts;
        // So many pieces of images, of planes, of rows, of a row.
        let pieces = |total: usize, unit: usize| total.div_ceil((size + unit / 2) / unit.max(1)).clamp(1, total.max(1));
        let whole = [n, depth, height, width];
        let cut = if size >= depth * height * width {
            [pieces(n, depth * height * width), 1, 1, 1]
        } else if size >= height * width {
            [n, pieces(depth, height * width), 1, 1]
        } else if size >= width {
            [n, depth, pieces(height, width), 1]
        } else {
            [n, depth, height, pieces(width, 1)]
        };
        let range = |axis: usize, i: usize| whole[axis] * i / cut[axis]..whole[axis] * (i + 1) / cut[axis];
        let mut blocks = Vec::with_capacity(cut.iter().product());
        for i in 0..cut[0] {
            for z in 0..cut[1] {
                for y in 0..cut[2] {
                    blocks.extend(
                        (0..cut[3]).map(|x| Block { images: range(0, i), at: [range(1, z), range(2, y), range(3, x)] }),
                    );
                }
            }
        }
        blocks
    }
}

/// The receptive field of a block: a box in the images, which may reach beyond them, and how it lies in memory.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    phases: Phases<'a>,
    block: &'a Block,
    low: [isize; 3],
    extent: [usize; 3],
    /// Distances of images, of channels, and along the axes.
    image: usize,
    channel: usize,
    axes: [usize; 3],
}

impl<'a> Field<'a> {
    /// The field, as [`Field::copy`] lays it out for `channels` channels.
    pub fn new(phases: Phases<'a>, block: &'a Block, channels: usize) -> Field<'a> {
        let reach = [0, 1, 2].map(|i| phases.0[i].reach(block.at[i].start, block.at[i].len()));
        let extent = reach.map(|(_, extent)| extent);
        let channel = extent.iter().product();
        Field {
            phases,
            block,
            low: reach.map(|(low, _)| low),
            extent,
            image: channels * channel,
            channel,
            axes: [extent[1] * extent[2], extent[2], 1],
        }
    }

    /// Elements that [`Field::copy`] writes.
    pub fn len(&self) -> usize {
        self.block.images.len() * self.image
    }

    /// The same field where it stands in the images, if it is inside of them, and its first element in channel 0.
    pub fn in_place(&self, shape: &Conv) -> Option<(Field<'a>, usize)> {
        let size = shape.axes.map(|a| a.size);
        let inside = |i: usize| self.low[i] >= 0 && self.low[i] as usize + self.extent[i] <= size[i];
        let image = shape.c_in * shape.pixels();
        if !(inside(0) && inside(1) && inside(2)) || self.block.images.len() * image > u32::MAX as usize {
            return None;
        }
        let axes = [size[1] * size[2], size[2], 1];
        let start = (0..3).map(|i| self.low[i] as usize * axes[i]).sum::<usize>() + self.block.images.start * image;
        Some((Field { image, channel: shape.pixels(), axes, ..self.clone() }, start))
    }

    /// Where the windows of the block begin.
    pub fn places(&self) -> Vec<u32> {
        let mut places = Vec::with_capacity(self.block.len());
        let [zs, ys, xs] = [0, 1, 2].map(|i| (self.block.at[i].len(), self.phases.0[i].stride * self.axes[i]));
        for image in 0..self.block.images.len() {
            for z in 0..zs.0 {
                for y in 0..ys.0 {
                    let row = image * self.image + z * zs.1 + y * ys.1;
                    places.extend((0..xs.0).map(|x| (row + x * xs.1) as u32));
                }
            }
        }
        places
    }

    /// Where the elements of a window in `channels` channels are, from its beginning.
    pub fn steps(&self, channels: usize, taps: &[(usize, [isize; 3])]) -> Vec<u32> {
        let [low_z, low_y, low_x] = self.phases.0.map(|p| p.reach(0, 1).0);
        let at = |[z, y, x]: [isize; 3]| {
            (z - low_z) as usize * self.axes[0] + (y - low_y) as usize * self.axes[1] + (x - low_x) as usize
        };
        let taps: Vec<usize> = taps.iter().map(|&(_, offsets)| at(offsets)).collect();
        (0..channels).flat_map(|c| taps.iter().map(move |tap| (c * self.channel + tap) as u32)).collect()
    }

    /// Copies the field from channels `first..` of the images to `to`, zeros where it reaches beyond them.
    pub fn copy<T: Real>(&self, shape: &Conv, src: &[T], first: usize, channels: usize, to: &mut [T]) {
        let pixels = shape.pixels();
        for (i, image) in self.block.images.clone().enumerate() {
            for c in 0..channels {
                let from = &src[(image * shape.c_in + first + c) * pixels..][..pixels];
                self.copy_channel(shape, from, &mut to[i * self.image + c * self.channel..][..self.channel]);
            }
        }
    }

    fn copy_channel<T: Real>(&self, shape: &Conv, from: &[T], to: &mut [T]) {
        let [depth, height, width] = shape.axes.map(|a| a.size);
        // The part of the field that is inside of the image along each axis.
        let inside = |i: usize, size: usize| {
            let start = (-self.low[i]).clamp(0, self.extent[i] as isize) as usize;
            let end = (size as isize - self.low[i]).clamp(start as isize, self.extent[i] as isize) as usize;
            start..end
        };
        let (zs, ys, xs) = (inside(0, depth), inside(1, height), inside(2, width));
        if zs.len() * ys.len() * xs.len() < to.len() {
            to.fill(T::default());
        }
        if xs.is_empty() {
            return;
        }
        let first = (self.low[2] + xs.start as isize) as usize;
        for z in zs {
            for y in ys.clone() {
                let (z_in, y_in) = ((self.low[0] + z as isize) as usize, (self.low[1] + y as isize) as usize);
                let from = &from[(z_in * height + y_in) * width + first..][..xs.len()];
                let to = &mut to[(z * self.extent[1] + y) * self.extent[2] + xs.start..][..xs.len()];
                copy(from, to);
            }
        }
    }
}

/// Copies a row. Most are so short that a call would take longer than the copy.
#[inline]
fn copy<T: Real>(from: &[T], to: &mut [T]) {
    const PIECE: usize = 8;
    if from.len() >= 64 {
        return to.copy_from_slice(from);
    }
    let (whole, rest) = from.as_chunks::<PIECE>();
    let (to_whole, to_rest) = to.as_chunks_mut::<PIECE>();
    to_whole.iter_mut().zip(whole).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(rest).for_each(|(to, &from)| *to = from);
}
