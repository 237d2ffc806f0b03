//! Convolution as a matrix product: windows by what they see, times what they see by channels.

use std::ops::Range;

use crate::Cpu;
use crate::buffer::Buffer;
use crate::dot::{Placed, Sums};
use crate::parts::Shared;

use super::Conv;
use super::depthwise::for_each_product;
use super::field::{Block, Field, Phases};

/// Columns of the left factor that are multiplied at once, about: the panel of weights for them stays in the first
/// cache.
const DEPTH: usize = 256;
/// A product is cut into this many tasks …
const TASKS: usize = 32;
/// … of at least so many multiply-adds …
const TASK: usize = 1 << 20;
/// … of at least so many windows, as what they see is copied, and at most so many, as their sums stay in cache.
const FEW: usize = 96;
const MANY: usize = 512;
/// Elements of the sums of a task.
const SUMS: usize = 64 << 10;
/// Below this many multiply-adds a fork costs more than it gains.
const FORK: usize = 1 << 18;

/// The convolution, without what no window of any phase sees.
pub(super) fn conv<T: Sums>(cpu: &Cpu, shape: &Conv, src: &[T], weight: &[T], bias: Option<&[T]>, out: &mut [T]) {
    let phases = shape.axes.map(|a| a.phases());
    let out = Shared::new(out);
    for_each_product(&phases, |phases| Product::new(cpu, shape, phases, src, weight, bias, &out).run());
}

/// The convolution of one phase.
struct Product<'a, T> {
    cpu: &'a Cpu,
    shape: &'a Conv,
    phases: Phases<'a>,
    taps: Vec<(usize, [isize; 3])>,
    src: &'a [T],
    weight: &'a [T],
    bias: Option<&'a [T]>,
    out: &'a Shared<'a, T>,
    blocks: Vec<Block>,
    /// Whether all that they see is inside of the images.
    in_place: bool,
    /// Pieces that the channels of the result are cut into.
    pieces: usize,
    /// Channels that are multiplied at once.
    depth: usize,
    /// Columns of a panel of weights, and panels of a group.
    width: usize,
    panels: usize,
}

impl<'a, T: Sums> Product<'a, T> {
    fn new(
        cpu: &'a Cpu,
        shape: &'a Conv,
        phases: Phases<'a>,
        src: &'a [T],
        weight: &'a [T],
        bias: Option<&'a [T]>,
        out: &'a Shared<'a, T>,
    ) -> Product<'a, T> {
        let (channels, made) = shape.group();
        let (width, taps) = (T::width(cpu.isa), phases.taps(shape));
        let panels = made.div_ceil(width);
        let windows = shape.n * phases.windows();
        let tasks = (windows * channels * taps.len() * shape.c_out / TASK).clamp(1, TASKS).div_ceil(shape.groups);
        let most = (SUMS / (panels * width)).clamp(FEW, MANY);
        let size = windows.div_ceil(tasks).clamp(FEW, most);
        let blocks = Block::all(shape.n, &phases, size);
        let pieces = tasks.div_ceil(blocks.len()).min(panels);
        let depth = (DEPTH / taps.len()).clamp(1, channels);
        let in_place = blocks.iter().all(|b| Field::new(phases, b, depth).in_place(shape).is_some());
        Product { cpu, shape, phases, taps, src, weight, bias, out, blocks, in_place, pieces, depth, width, panels }
    }

    /// Ranges of channels that are multiplied at once.
    fn depths(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let (channels, depth) = (self.shape.group().0, self.depth);
        (0..channels).step_by(depth).map(move |c| c..channels.min(c + depth))
    }

    /// Elements of a packed panel of weights.
    fn panel_len(&self) -> usize {
        self.depth * self.taps.len() * self.width
    }

    /// Whether several tasks read one copy of what a block sees.
    fn shares_fields(&self) -> bool {
        self.pieces > 1 && !self.in_place
    }

    fn run(&self) {
        let (groups, depths) = (self.shape.groups, self.depths().count());
        let work = self.shape.n * self.phases.windows() * self.shape.group().0 * self.taps.len() * self.shape.c_out;
        let each = |tasks: usize, task: &(dyn Fn(usize) + Sync)| {
            if work < FORK { (0..tasks).for_each(task) } else { self.cpu.pool.run(tasks, task) }
        };
        // What several tasks read is made ready once, by all.
        let mut weights = Buffer::new(0);
        if self.blocks.len() > 1 {
            let count = groups * depths * self.panels;
            weights = Buffer::new(count * self.panel_len() * size_of::<T>());
            let to = Shared::new(weights.get_mut::<T>());
            let pack = |i: usize| {
                let (g, d, panel) = (i / self.panels / depths, i / self.panels % depths, i % self.panels);
                // SAFETY: panel `i` is this task's.
                let to = unsafe { to.range(i * self.panel_len(), self.panel_len()) };
                self.pack(g, self.depths().nth(d).expect("one of them"), panel, to);
            };
            each(count, &pack);
        }
        let mut fields = Buffer::new(0);
        let field_len = self.blocks.iter().map(|b| Field::new(self.phases, b, self.depth).len()).max().unwrap_or(0);
        if self.shares_fields() {
            let count = groups * self.blocks.len() * depths;
            fields = Buffer::new(count * field_len * size_of::<T>());
            let to = Shared::new(fields.get_mut::<T>());
            let copy = |i: usize| {
                let (g, block, d) = (i / depths / self.blocks.len(), i / depths % self.blocks.len(), i % depths);
                // SAFETY: field `i` is this task's.
                let to = unsafe { to.range(i * field_len, field_len) };
                self.copy(g, &self.blocks[block], self.depths().nth(d).expect("one of them"), to);
            };
            each(count, &copy);
        }
        let (weights, fields) = (weights.get::<T>(), fields.get::<T>());
        each(groups * self.pieces * self.blocks.len(), &|i| {
            let (block, piece, g) =
                (i % self.blocks.len(), i / self.blocks.len() % self.pieces, i / self.blocks.len() / self.pieces);
            let panels = self.panels * piece / self.pieces..self.panels * (piece + 1) / self.pieces;
            let len = depths * field_len;
            let fields = self.shares_fields().then(|| &fields[(g * self.blocks.len() + block) * len..][..len]);
            let len = depths * self.panels * self.panel_len();
            let weights = (self.blocks.len() > 1).then(|| &weights[g * len..][..len]);
            self.task(g, &self.blocks[block], panels, weights, fields);
        });
    }

    /// Packs the weights of some channels for a panel of the result.
    fn pack(&self, g: usize, channels: Range<usize>, panel: usize, to: &mut [T]) {
        let (seen, made) = self.shape.group();
        let all = self.shape.taps();
        // Distances of channels of the result and of the image.
        let (over, within) = if self.shape.turned { (all, made * all) } else { (seen * all, all) };
        let first = panel * self.width;
        let cols = self.width.min(made - first);
        let from = &self.weight[g * seen * made * all + first * over..];
        let whole = self.taps.len() == all;
        if whole && within == all {
            let k = channels.len() * all;
            return T::panel(&from[channels.start * within..], (over, 1), (cols, k), self.width, to);
        }
        for (c, to) in channels.zip(to.chunks_exact_mut(self.taps.len() * self.width)) {
            let from = &from[c * within..];
            if whole {
                T::panel(from, (over, 1), (cols, all), self.width, to);
                continue;
            }
            for (&(tap, _), to) in self.taps.iter().zip(to.chunks_exact_mut(self.width)) {
                T::panel(&from[tap..], (over, 0), (cols, 1), self.width, to);
            }
        }
    }

    /// Copies what a block sees in some channels.
    fn copy(&self, g: usize, block: &Block, channels: Range<usize>, to: &mut [T]) {
        let field = Field::new(self.phases, block, self.depth);
        let first = g * self.shape.group().0 + channels.start;
        field.copy(self.shape, self.src, first, channels.len(), to);
    }

    /// The sums of a block for some panels, from weights and fields that are ready or made here.
    fn task(&self, g: usize, block: &Block, panels: Range<usize>, weights: Option<&[T]>, fields: Option<&[T]>) {
        let (isa, made) = (self.cpu.isa, self.shape.group().1);
        let mut field = Field::new(self.phases, block, self.depth);
        let field_len = fields.map_or(field.len(), |f| f.len() / self.depths().count());
        let placed = field.in_place(self.shape).filter(|_| self.in_place);
        let mut copy = Buffer::new(0);
        if let Some((there, _)) = &placed {
            field = there.clone();
        } else if fields.is_none() {
            copy = Buffer::new(field_len * size_of::<T>());
        }
        let (places, steps) = (field.places(), field.steps(self.depth, &self.taps));
        let mut packed = Buffer::new(if weights.is_none() { self.panel_len() * size_of::<T>() } else { 0 });
        let mut sums = Buffer::new(panels.len() * block.len() * self.width * size_of::<T>());
        let sums = sums.get_mut::<T>();
        for (d, channels) in self.depths().enumerate() {
            let data = if let Some((_, start)) = placed {
                &self.src[start + (g * self.shape.group().0 + channels.start) * self.shape.pixels()..]
            } else if let Some(fields) = fields {
                &fields[d * field_len..][..field_len]
            } else {
                self.copy(g, block, channels.clone(), copy.get_mut());
                copy.get()
            };
            let k = channels.len() * self.taps.len();
            let a = Placed { data, places: &places, steps: &steps[..k] };
            for (panel, sums) in panels.clone().zip(sums.chunks_exact_mut(block.len() * self.width)) {
                let b = if let Some(weights) = weights {
                    &weights[(d * self.panels + panel) * self.panel_len()..][..k * self.width]
                } else {
                    self.pack(g, channels.clone(), panel, packed.get_mut());
                    &packed.get()[..k * self.width]
                };
                T::multiply(isa, &a, b, sums, made - panel * self.width, d > 0);
            }
        }
        for (panel, sums) in panels.zip(sums.chunks_exact(block.len() * self.width)) {
            self.store(g, block, panel, sums);
        }
    }

    /// Writes sums [windows, width] to their places in the result [images, channels, windows], with the bias.
    fn store(&self, g: usize, block: &Block, panel: usize, sums: &[T]) {
        let (made, windows) = (self.shape.group().1, block.windows());
        let cols = self.width.min(made - panel * self.width);
        let mut turned = Buffer::new(cols * windows * size_of::<T>());
        for (image, sums) in block.images.clone().zip(sums.chunks_exact(windows * self.width)) {
            T::panel(sums, (self.width, 1), (windows, cols), windows, turned.get_mut());
            for (o, row) in turned.get::<T>().chunks_exact(windows).enumerate() {
                let o = g * made + panel * self.width + o;
                let bias = self.bias.map_or(T::default(), |b| b[o]);
                self.store_row(block, (image * self.shape.c_out + o) * self.shape.windows(), row, bias);
            }
        }
    }

    /// Writes the sums of the windows of a block in one channel of the result, which begins at `start`.
    fn store_row(&self, block: &Block, start: usize, row: &[T], bias: T) {
        let [_, height, width] = self.shape.out_size();
        let [z, y, x] = [0, 1, 2].map(|i| self.phases.0[i].first + block.at[i].start * self.phases.0[i].step);
        let first = start + (z * height + y) * width + x;
        if self.phases.0.iter().all(|p| p.step == 1) {
            // SAFETY: these windows in this channel are this task's; they follow each other, as a block is cut.
            let out = unsafe { self.out.range(first, row.len()) };
            out.iter_mut().zip(row).for_each(|(out, &sum)| *out = sum + bias);
            return;
        }
        let [(rows, down), (cols, across)] = [1, 2].map(|i| (block.at[i].len(), self.phases.0[i].step));
        for (i, line) in row.chunks_exact(cols).enumerate() {
            let (z, y) = (i / rows * self.phases.0[0].step, i % rows * down);
            let first = first + (z * height + y) * width;
            for (x, &sum) in line.iter().enumerate() {
                // SAFETY: as above, in steps that no other phase has.
                *unsafe { self.out.at(first + x * across) } = sum + bias;
            }
        }
    }
}
