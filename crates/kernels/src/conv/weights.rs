//! The gradient of a convolution by its weights: what the windows see, turned around, times the gradient of the result.

use std::ops::Range;

use crate::Cpu;
use crate::buffer::Buffer;
use crate::dot::{Placed, Sums};
use crate::parts::Shared;

use super::Conv;
use super::depthwise::for_each_product;
use super::field::{Block, Field, Phases};

/// Windows that are multiplied at once, about.
const DEPTH: usize = 256;
/// Rows of the result that a task makes, at least: for each the gradient is laid out again.
const ROWS: usize = 288;
/// A gradient is cut into this many tasks, if there are so many multiply-adds for each …
const TASKS: usize = 32;
const TASK: usize = 1 << 20;
/// … and if no more than so many elements of sums come of it.
const SUMS: usize = 2 << 20;
/// Below this many multiply-adds a fork costs more than it gains.
const FORK: usize = 1 << 18;

/// The gradient from images and the gradient of the result.
pub(super) fn gradient<T: Sums>(cpu: &Cpu, shape: &Conv, src: &[T], g: &[T], out: &mut [T]) {
    let phases = shape.axes.map(|a| a.phases());
    let covered =
        phases.iter().zip(&shape.axes).all(|(p, a)| p.iter().map(|p| p.taps.len()).sum::<usize>() == a.kernel);
    if !covered || g.is_empty() || src.is_empty() {
        out.fill(T::default());
    }
    if g.is_empty() || src.is_empty() {
        return;
    }
    let out = Shared::new(out);
    for_each_product(&phases, |phases| Gradient::new(cpu, shape, phases, src, g, &out).run());
}

/// The gradient by the elements of the kernel that the windows of one phase meet.
struct Gradient<'a, T> {
    cpu: &'a Cpu,
    shape: &'a Conv,
    phases: Phases<'a>,
    taps: Vec<(usize, [isize; 3])>,
    src: &'a [T],
    g: &'a [T],
    out: &'a Shared<'a, T>,
    blocks: Vec<Block>,
    /// Runs of blocks whose sums are added up by themselves, and then with each other in order.
    pieces: usize,
    /// Channels of a task, and how many tasks have all.
    channels: usize,
    parts: usize,
    /// Columns of a panel of the gradient, and panels of a group.
    width: usize,
    panels: usize,
}

impl<'a, T: Sums> Gradient<'a, T> {
    fn new(
        cpu: &'a Cpu,
        shape: &'a Conv,
        phases: Phases<'a>,
        src: &'a [T],
        g: &'a [T],
        out: &'a Shared<'a, T>,
    ) -> Gradient<'a, T> {
        let (seen, made) = shape.group();
        let (width, taps) = (T::width(cpu.isa), phases.taps(shape));
        let panels = made.div_ceil(width);
        let blocks = Block::all(shape.n, &phases, DEPTH);
        let channels = ROWS.div_ceil(taps.len()).min(seen);
        let parts = seen.div_ceil(channels);
        let work = shape.n * phases.windows() * seen * taps.len() * shape.c_out;
        let sums = (seen * taps.len() * shape.c_out).max(1);
        let tasks = (work / TASK).clamp(1, TASKS).div_ceil(shape.groups * parts);
        let pieces = tasks.min(SUMS / sums).clamp(1, blocks.len());
        Gradient { cpu, shape, phases, taps, src, g, out, blocks, pieces, channels, parts, width, panels }
    }

    /// Elements of the sums of one panel in one task.
    fn sums_len(&self) -> usize {
        self.channels * self.taps.len() * self.width
    }

    /// The channels of part `i`, counted from the group's first.
    fn part(&self, i: usize) -> Range<usize> {
        i * self.channels..((i + 1) * self.channels).min(self.shape.group().0)
    }

    fn run(&self) {
        let work = self.shape.n * self.phases.windows() * self.shape.group().0 * self.taps.len() * self.shape.c_out;
        let each = |tasks: usize, task: &(dyn Fn(usize) + Sync)| {
            if work < FORK { (0..tasks).for_each(task) } else { self.cpu.pool.run(tasks, task) }
        };
        let groups = self.shape.groups;
        let len = self.panels * self.sums_len();
        let tasks = self.pieces * groups * self.parts;
        let mut sums = Buffer::new(tasks * len * size_of::<T>());
        let shared = Shared::new(sums.get_mut::<T>());
        each(tasks, &|i| {
            // SAFETY: these sums are this task's.
            let sums = unsafe { shared.range(i * len, len) };
            let (piece, g, part) = (i / self.parts / groups, i / self.parts % groups, i % self.parts);
            let blocks = self.blocks.len() * piece / self.pieces..self.blocks.len() * (piece + 1) / self.pieces;
            self.task(g, self.part(part), &self.blocks[blocks], sums);
        });
        each(groups * self.parts * self.panels, &|i| {
            let (g, part, panel) = (i / self.panels / self.parts, i / self.panels % self.parts, i % self.panels);
            let at = |piece: usize| ((piece * groups + g) * self.parts + part) * len + panel * self.sums_len();
            // SAFETY: of all pieces this panel of this part is this task's.
            let piece = |p: usize| unsafe { shared.range(at(p), self.sums_len()) };
            let sums = piece(0);
            for p in 1..self.pieces {
                sums.iter_mut().zip(&*piece(p)).for_each(|(sum, &more)| *sum = *sum + more);
            }
            self.store(g, self.part(part), panel, sums);
        });
    }

    /// The sums over some blocks, for some channels and all panels.
    fn task(&self, g: usize, channels: Range<usize>, blocks: &[Block], sums: &mut [T]) {
        let (seen, made) = self.shape.group();
        let first = g * seen + channels.start;
        let (mut copy, mut packed) = (Buffer::new(0), Buffer::new(0));
        for (i, block) in blocks.iter().enumerate() {
            let mut field = Field::new(self.phases, block, channels.len());
            let placed = field.in_place(self.shape);
            let data = if let Some((there, start)) = placed {
                field = there;
                &self.src[start + first * self.shape.pixels()..]
            } else {
                let len = field.len() * size_of::<T>();
                if copy.len() != len {
                    copy = Buffer::new(len);
                }
                field.copy(self.shape, self.src, first, channels.len(), copy.get_mut());
                copy.get()
            };
            let (places, steps) = (field.steps(channels.len(), &self.taps), field.places());
            let a = Placed { data, places: &places, steps: &steps };
            let len = block.len() * self.width * size_of::<T>();
            if packed.len() != len {
                packed = Buffer::new(len);
            }
            for (panel, sums) in sums.chunks_exact_mut(self.sums_len()).enumerate() {
                self.pack(g, block, panel, packed.get_mut());
                let sums = &mut sums[..places.len() * self.width];
                T::multiply(self.cpu.isa, &a, packed.get(), sums, made - panel * self.width, i > 0);
            }
        }
    }

    /// The gradient at the windows of a block, channels side by side.
    fn pack(&self, g: usize, block: &Block, panel: usize, to: &mut [T]) {
        let made = self.shape.group().1;
        let [_, height, width] = self.shape.out_size();
        let all = self.shape.windows();
        let cols = self.width.min(made - panel * self.width);
        let channel = g * made + panel * self.width;
        let [z, y, x] = [0, 1, 2].map(|i| self.phases.0[i].first + block.at[i].start * self.phases.0[i].step);
        let first = (z * height + y) * width + x;
        let [(rows, down), (line, across)] = [1, 2].map(|i| (block.at[i].len(), self.phases.0[i].step));
        let windows = block.windows();
        for (image, to) in block.images.clone().zip(to.chunks_exact_mut(windows * self.width)) {
            let from = &self.g[(image * self.shape.c_out + channel) * all + first..];
            if self.phases.0.iter().all(|p| p.step == 1) {
                // They follow each other, as a block is cut.
                T::panel(from, (all, 1), (cols, windows), self.width, to);
                continue;
            }
            for (i, to) in to.chunks_exact_mut(line * self.width).enumerate() {
                let (z, y) = (i / rows * self.phases.0[0].step, i % rows * down);
                T::panel(&from[(z * height + y) * width..], (all, across), (cols, line), self.width, to);
            }
        }
    }

    /// Writes sums [channels, taps, width] to the result [channels of the result, channels, taps].
    fn store(&self, g: usize, channels: Range<usize>, panel: usize, sums: &[T]) {
        let ((seen, made), all, taps) = (self.shape.group(), self.shape.taps(), self.taps.len());
        let cols = self.width.min(made - panel * self.width);
        let rows = channels.len() * taps;
        let mut turned = Buffer::new(cols * rows * size_of::<T>());
        T::panel(sums, (self.width, 1), (rows, cols), rows, turned.get_mut());
        for (o, row) in turned.get::<T>().chunks_exact(rows).enumerate() {
            let first = ((g * made + panel * self.width + o) * seen + channels.start) * all;
            if taps == all {
                // SAFETY: these channels of this channel of the result are this task's.
                unsafe { self.out.range(first, rows) }.copy_from_slice(row);
                continue;
            }
            for (c, row) in row.chunks_exact(taps).enumerate() {
                for (&(tap, _), &sum) in self.taps.iter().zip(row) {
                    // SAFETY: as above; no other phase has these elements of the kernel.
                    *unsafe { self.out.at(first + c * all + tap) } = sum;
                }
            }
        }
    }
}
