//! How the work of a step is cut: into bands of sequences by blocks of units.

use std::marker::PhantomData;
use std::ops::Range;

use crate::Cpu;
use crate::buffer::Buffer;
use crate::dot::{Band, COLUMNS, Panels};
use crate::dtype::Element;
use crate::parts::Shared;
use crate::phases::{self, Extent};

/// Most sequences of a band, which are computed together.
pub(super) const ROWS: usize = 12;
/// Sequences of a lane, about, and most lanes. Each reads all weights in every step, but waits for no other.
const LANE: usize = 16;
const LANES: usize = 16;
/// Multiply-adds that a task has at least.
const TASK: usize = 1 << 16;
/// Blocks that it has at least where there are several lanes: long rows are read and written faster.
const BLOCKS: usize = 4;
/// Most tasks of a lane.
const TASKS: usize = 16;
/// Below this many multiply-adds a step is too short to be shared.
const SHARED: usize = 1 << 15;

/// The sequences of a batch in lanes of nearly the same height, these in bands, and units in blocks of [`COLUMNS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    batch: usize,
    lanes: usize,
    /// Bands of a lane.
    bands: usize,
    blocks: usize,
    /// Tasks of a lane in each phase.
    tasks: usize,
}

impl Cut {
    /// For a batch of at least one sequence, each of which takes `work` multiply-adds a step.
    pub(super) fn new(batch: usize, units: usize, work: usize) -> Cut {
        let shared = batch * work >= SHARED;
        let lanes = if shared && batch >= LANE { batch.div_ceil(LANE).clamp(2, LANES) } else { 1 };
        let (height, blocks) = (batch.div_ceil(lanes), units.div_ceil(COLUMNS));
        let most = if lanes > 1 { blocks.div_ceil(BLOCKS) } else { blocks };
        let tasks = if shared { (height * work / TASK).clamp(1, most.clamp(1, TASKS)) } else { 1 };
        Cut { batch, lanes, bands: height.div_ceil(ROWS), blocks, tasks }
    }

    /// The most sequences that a band has.
    pub(super) fn height(&self) -> usize {
        self.batch.div_ceil(self.lanes).div_ceil(self.bands)
    }

    /// The sequences of band `band` of a lane.
    fn rows(&self, lane: usize, band: usize) -> Range<usize> {
        let edge = |i: usize| i * self.batch / (self.lanes * self.bands);
        edge(lane * self.bands + band)..edge(lane * self.bands + band + 1)
    }

    /// The sequences of each band.
    pub(super) fn bands(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let cut = *self;
        (0..cut.lanes).flat_map(move |lane| (0..cut.bands).map(move |band| cut.rows(lane, band)))
    }

    /// Runs `work(phase, sequences, units)` for all sequences and units in each phase; what a phase writes for a sequence
    /// is there for the next one. Units come in whole blocks.
    pub(super) fn run(&self, cpu: &Cpu, phases: usize, work: &(dyn Fn(usize, Range<usize>, Range<usize>) + Sync)) {
        let Cut { lanes, bands, blocks, tasks, .. } = *self;
        phases::phases(&cpu.pool, Extent { lanes, phases, tasks }, &|lane, phase, task| {
            let edge = |task: usize| task * blocks / tasks * COLUMNS;
            (0..bands).for_each(|band| work(phase, self.rows(lane, band), edge(task)..edge(task + 1)));
        });
    }
}

/// The left factor of a product, all sequences of the batch, in bands one after the other. Tasks of one phase write their
/// units of it, those of the next one read it.
#[derive(Debug)]
pub(super) struct Factor<'a, T> {
    /// Elements of a row, with what fills up its last block.
    width: usize,
    /// A band of one row.
    band: Band,
    memory: Shared<'a, T>,
}

impl<'a, T: Element> Factor<'a, T> {
    /// Elements that a factor of `b` needs for a batch.
    pub(super) fn len(batch: usize, b: &Panels<T>) -> usize {
        batch * Band::new(1, b).len(b.k())
    }

    /// What `b` is multiplied by, in `memory` of [`Factor::len`] elements.
    pub(super) fn new(b: &Panels<T>, memory: &'a mut [T]) -> Factor<'a, T> {
        let band = Band::new(1, b);
        Factor { width: band.len(b.k()), band, memory: Shared::new(memory) }
    }

    fn band(&self, rows: &Range<usize>) -> Band {
        self.band.of(rows.len())
    }

    /// The band of these sequences.
    ///
    /// # Safety
    /// Nobody writes to it while the result lives.
    pub(super) unsafe fn read(&self, rows: &Range<usize>) -> (&[T], Band) {
        // SAFETY: by the caller.
        (unsafe { self.memory.read(rows.start * self.width, rows.len() * self.width) }, self.band(rows))
    }

    /// Writes the first `count` values to the columns from `k` on of sequence `row`, which lies in the band of `rows`.
    ///
    /// # Safety
    /// Nobody else uses these elements meanwhile.
    #[inline(always)]
    pub(super) unsafe fn put<const WHOLE: bool>(
        &self,
        rows: &Range<usize>,
        row: usize,
        k: usize,
        values: &Units<T>,
        count: usize,
    ) {
        const HALF: usize = COLUMNS / 2;
        let (band, first) = (self.band(rows), rows.start * self.width);
        let mut done = 0;
        while done < count {
            let (at, room) = band.at(row - rows.start, k + done);
            // SAFETY: by the caller.
            unsafe {
                if WHOLE && room == HALF {
                    let to = self.memory.range(first + at, HALF);
                    to.copy_from_slice(&values[done..][..HALF]);
                    done += HALF;
                } else {
                    let now = room.min(count - done);
                    self.memory.range(first + at, now).copy_from_slice(&values[done..][..now]);
                    done += now;
                }
            }
        }
    }
}

/// The values of some units of a sequence, filled up.
pub(super) type Units<T> = [T; COLUMNS];

/// The values, filled up; the compiler copies a `WHOLE` block in a few registers.
#[inline(always)]
pub(super) fn load<T: Element + Default, const WHOLE: bool>(from: &[T]) -> Units<T> {
    let mut units = [T::default(); COLUMNS];
    if WHOLE {
        units.copy_from_slice(&from[..COLUMNS]);
    } else {
        units[..from.len()].copy_from_slice(from);
    }
    units
}

/// The first values of `units`, as many as go into `to`.
#[inline(always)]
pub(super) fn store<T: Element, const WHOLE: bool>(to: &mut [T], units: &Units<T>) {
    if WHOLE {
        to[..COLUMNS].copy_from_slice(units);
    } else {
        to.copy_from_slice(&units[..to.len()]);
    }
}

/// The values of `f`.
#[inline(always)]
pub(super) fn map<T: Element + Default>(f: impl Fn(usize) -> T) -> Units<T> {
    let mut units = [T::default(); COLUMNS];
    for j in 0..COLUMNS {
        units[j] = f(j);
    }
    units
}

/// Products of a band with some blocks of columns, each in a tile of its own.
#[derive(Debug)]
pub(super) struct Sums<T> {
    memory: Buffer,
    /// The first sequence and the first column.
    first: (usize, usize),
    blocks: usize,
    element: PhantomData<T>,
}

/// Elements of a tile.
const TILE: usize = ROWS * COLUMNS;

impl<T: Element> Sums<T> {
    /// Tiles of `products` products for the columns of `units`; they hold anything.
    pub(super) fn new(rows: &Range<usize>, units: &Range<usize>, products: usize) -> Sums<T> {
        let blocks = units.len().div_ceil(COLUMNS);
        let memory = Buffer::new(products * blocks * TILE * size_of::<T>());
        Sums { memory, first: (rows.start, units.start), blocks, element: PhantomData }
    }

    /// The tile of product `i` whose first column is `from`.
    pub(super) fn tile(&mut self, i: usize, from: usize) -> &mut [T] {
        let block = i * self.blocks + (from - self.first.1) / COLUMNS;
        &mut self.memory.get_mut()[block * TILE..][..TILE]
    }

    /// The columns of product `i` from `from` on, of sequence `row`.
    #[inline(always)]
    pub(super) fn row(&self, i: usize, row: usize, from: usize) -> &Units<T> {
        let block = i * self.blocks + (from - self.first.1) / COLUMNS;
        let at = block * TILE + (row - self.first.0) * COLUMNS;
        self.memory.get()[at..].first_chunk().expect("inside")
    }

    /// The same, to write.
    #[inline(always)]
    pub(super) fn row_mut(&mut self, i: usize, row: usize, from: usize) -> &mut Units<T> {
        let at = (row - self.first.0) * COLUMNS;
        self.tile(i, from)[at..].first_chunk_mut().expect("inside")
    }
}
