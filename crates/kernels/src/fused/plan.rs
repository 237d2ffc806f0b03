//! Where the operands of one run lie, checked.

use std::cell::Cell;

use super::convert::Block;
use super::kernel::{Class, Kernel, TILE};
use super::walk::{Axis, collapse, is_distinct, reach};
use super::{Sink, Source};
use crate::dtype::DType;

/// A source or sink, checked: where its elements lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) place: Place,
    pub(super) dtype: DType,
    /// Which of the plan's axes are its own.
    axes: (usize, usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Address of the first element.
    Memory(*mut u8),
    /// The index itself.
    Index(i64),
    /// Where output `n` lies.
    Output(usize),
}

/// What a run needs to know of its operands. Lives in a thread's storage between runs, so that a run
/// allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Plan {
    axes: Vec<Axis>,
    pub(super) inputs: Vec<Operand>,
    pub(super) outputs: Vec<Operand>,
    /// Dimensions of the index space for a walk in blocks, merged where all operands continue.
    sizes: Vec<usize>,
    /// Strides of all inputs, then all outputs, for each of those dimensions.
    strides: Vec<isize>,
}

/// A walk in blocks of two dimensions, for operands that lie transposed to each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// The dimension of a block's rows; that of its columns is the last.
    row_dim: usize,
    rows: usize,
    columns: usize,
    /// How many blocks there are.
    pub(super) count: usize,
}

thread_local! {
    static PLAN: Cell<Plan> = Cell::default();
}

/// Lends this thread's plan, empty.
pub(super) fn with_plan<R>(f: impl FnOnce(&mut Plan) -> R) -> R {
    let mut plan = PLAN.take();
    plan.axes.clear();
    plan.inputs.clear();
    plan.outputs.clear();
    let result = f(&mut plan);
    PLAN.set(plan);
    result
}

impl Plan {
    fn push_axes(&mut self, dims: &[usize], strides: &[isize], order: &[usize]) -> (usize, usize) {
        let start = self.axes.len();
        collapse(order.iter().map(|&d| (dims[d], strides[d])), &mut self.axes);
        (start, self.axes.len())
    }

    /// Checks the inputs against the kernel and the memory that they name. The index space is `dims`
    /// walked in `order`, outermost first, and has at least one element.
    pub(super) fn add_inputs(&mut self, kernel: &Kernel, dims: &[usize], order: &[usize], inputs: &[Source]) {
        assert_eq!(inputs.len(), kernel.inputs.len(), "number of inputs");
        for (i, (source, &dtype)) in inputs.iter().zip(&kernel.inputs).enumerate() {
            let operand = match *source {
                Source::Data { ref data, offset, strides } => {
                    assert_eq!(data.dtype(), dtype, "type of input {i}");
                    check_bounds(dims, strides, offset, data.len());
                    let first = data.bytes().as_ptr().wrapping_add(offset * dtype.size());
                    let axes = self.push_axes(dims, strides, order);
                    Operand { place: Place::Memory(first.cast_mut()), dtype, axes }
                }
                Source::Index { offset, strides } => {
                    assert_eq!(dtype, DType::I64, "type of input {i}, an index");
                    assert_eq!(strides.len(), dims.len(), "strides of input {i}");
                    assert!(reach(dims, strides).is_some(), "strides of input {i} overflow");
                    let axes = self.push_axes(dims, strides, order);
                    Operand { place: Place::Index(offset), dtype, axes }
                }
                Source::Output(n) => {
                    assert!(n < kernel.outputs.len(), "input {i} in place of output {n}");
                    assert_eq!(kernel.dtype(kernel.outputs[n]), dtype, "type of input {i}, in place");
                    Operand { place: Place::Output(n), dtype, axes: (0, 0) }
                }
            };
            self.inputs.push(operand);
        }
    }

    /// Checks the outputs, as [`Plan::add_inputs`] does, and that they have a place for every element.
    pub(super) fn add_outputs(&mut self, kernel: &Kernel, dims: &[usize], order: &[usize], outputs: &mut [Sink]) {
        assert_eq!(outputs.len(), kernel.outputs.len(), "number of outputs");
        for (o, sink) in outputs.iter_mut().enumerate() {
            let dtype = kernel.dtype(kernel.outputs[o]);
            assert_eq!(sink.data.dtype(), dtype, "type of output {o}");
            check_bounds(dims, sink.strides, sink.offset, sink.data.len());
            assert!(is_distinct(dims, sink.strides), "output {o}: several elements in one place");
            let first = sink.data.bytes().as_mut_ptr().wrapping_add(sink.offset * dtype.size());
            let axes = self.push_axes(dims, sink.strides, order);
            self.outputs.push(Operand { place: Place::Memory(first), dtype, axes });
        }
    }

    /// Adds an output that is contiguous from `first` on.
    pub(super) fn add_contiguous_output(&mut self, dtype: DType, first: *mut u8, len: usize) {
        let start = self.axes.len();
        collapse([(len, 1)].into_iter(), &mut self.axes);
        self.outputs.push(Operand { place: Place::Memory(first), dtype, axes: (start, self.axes.len()) });
    }

    /// The dimensions of an operand, outermost first.
    pub(super) fn axes(&self, operand: &Operand) -> &[Axis] {
        &self.axes[operand.axes.0..operand.axes.1]
    }

    /// Address of the elements, when they lie side by side as registers hold them.
    pub(super) fn direct(&self, operand: &Operand) -> Option<*mut u8> {
        let contiguous = matches!(self.axes(operand), [] | [Axis { stride: 1, .. }]);
        match operand.place {
            Place::Memory(first) if contiguous && Class::is_native(operand.dtype) => Some(first),
            _ => None,
        }
    }

    /// Whether all indices have the same element of this input.
    pub(super) fn is_single(&self, input: usize) -> bool {
        let operand = &self.inputs[input];
        !matches!(operand.place, Place::Output(_)) && self.axes(operand).iter().all(|axis| axis.stride == 0)
    }

    /// Decides whether a walk in blocks is better than one along the outputs: it is when some operand has a
    /// shorter stride along another dimension than along the last, so that a walk along the last would
    /// touch a cache line for every element and be back at each only when it has left the cache.
    pub(super) fn blocks(
        &mut self,
        dims: &[usize],
        order: &[usize],
        inputs: &[Source],
        outputs: &[Sink],
    ) -> Option<Blocks> {
        let crosses = |o: &Operand| self.axes(o).len() > 1 && self.axes(o).last().is_some_and(|a| a.stride.abs() > 1);
        if !self.inputs.iter().chain(&self.outputs).any(crosses) {
            return None;
        }
        let operands = inputs.len() + outputs.len();
        let stride = |i: usize, d: usize| match inputs.get(i) {
            Some(Source::Data { strides, .. } | Source::Index { strides, .. }) => strides[d],
            Some(Source::Output(n)) => outputs[*n].strides[d],
            None => outputs[i - inputs.len()].strides[d],
        };
        self.sizes.clear();
        self.strides.clear();
        for &d in order.iter().filter(|&&d| dims[d] != 1) {
            let start = self.strides.len().saturating_sub(operands);
            let continues = |i: usize| self.strides[start + i] == stride(i, d).wrapping_mul(dims[d] as isize);
            match self.sizes.last_mut() {
                Some(size) if (0..operands).all(continues) => {
                    *size *= dims[d];
                    self.strides.truncate(start);
                }
                _ => self.sizes.push(dims[d]),
            }
            self.strides.extend((0..operands).map(|i| stride(i, d)));
        }
        let last = self.sizes.len() - 1;
        let along = |i: usize, d: usize| self.strides[d * operands + i].unsigned_abs();
        let crossing = |i: usize| {
            let shorter = |&d: &usize| along(i, d) > 0 && along(i, d) < along(i, last) && self.sizes[d] >= 4;
            (0..last).filter(shorter).min_by_key(|&d| along(i, d))
        };
        let row_dim = (0..operands).find_map(crossing).filter(|_| self.sizes[last] >= 4)?;
        // As square as the dimensions allow.
        let side = TILE.isqrt();
        let columns = self.sizes[last].min(TILE / self.sizes[row_dim].min(side));
        let rows = self.sizes[row_dim].min(TILE / columns);
        let pieces = |d: usize| match d {
            d if d == last => self.sizes[d].div_ceil(columns),
            d if d == row_dim => self.sizes[d].div_ceil(rows),
            d => self.sizes[d],
        };
        Some(Blocks { row_dim, rows, columns, count: (0..self.sizes.len()).map(pieces).product() })
    }

    /// Where block `number` lies in operand `i`, counted through inputs and outputs.
    pub(super) fn block(&self, blocks: &Blocks, mut number: usize, i: usize) -> Block {
        let (operands, last) = (self.inputs.len() + self.outputs.len(), self.sizes.len() - 1);
        let stride = |d: usize| self.strides[d * operands + i];
        let mut block =
            Block { rows: 0, columns: 0, offset: 0, row_stride: stride(blocks.row_dim), column_stride: stride(last) };
        for d in (0..self.sizes.len()).rev() {
            let step = match d {
                d if d == last => blocks.columns,
                d if d == blocks.row_dim => blocks.rows,
                _ => 1,
            };
            let pieces = self.sizes[d].div_ceil(step);
            let at = number % pieces * step;
            number /= pieces;
            block.offset += at as isize * stride(d);
            if d == last {
                block.columns = step.min(self.sizes[d] - at);
            } else if d == blocks.row_dim {
                block.rows = step.min(self.sizes[d] - at);
            }
        }
        block
    }
}

fn check_bounds(dims: &[usize], strides: &[isize], offset: usize, len: usize) {
    assert_eq!(dims.len(), strides.len(), "one stride for each dimension");
    let inside = reach(dims, strides).is_some_and(|(low, high)| {
        offset.checked_add_signed(low).is_some() && offset.checked_add_signed(high).is_some_and(|end| end < len)
    });
    assert!(inside, "{dims:?} with strides {strides:?} from {offset} reaches outside {len} elements");
}
