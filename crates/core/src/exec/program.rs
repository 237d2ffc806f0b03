//! What a plan is: steps over numbered places in memory.

use std::sync::Arc;

use limpid_kernels::Number;
use limpid_kernels::fused::{Kernel, ReduceFn};

use crate::compound::Compound;
use crate::exec::view::View;
use crate::op::Op;
use crate::shape::Shape;
use limpid_kernels::DType;

/// A place in memory, numbered within a [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot(pub(crate) u32);

/// Where a slot is when the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// The n-th value bound from outside.
    Bound(u32),
    /// Bytes from here on of the program's scratch memory.
    Arena(usize),
    /// The n-th result.
    Result(u32),
}

/// A slot and its size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotInfo {
    pub(crate) bytes: usize,
    pub(crate) home: Home,
}

/// A number that a step takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ArgRef {
    /// The n-th number of the host.
    Host(u32),
    /// A number of the structure.
    Const(Number),
}

/// What a fused kernel reads.
#[derive(Clone, Debug)]
pub(crate) enum In {
    /// Elements of a slot.
    Data { slot: Slot, dtype: DType, view: View },
    /// Indices.
    Index { view: View },
    /// The same elements as an output, in place.
    Output(usize),
    /// The matrix product whose epilogue this is.
    Product,
}

/// A fused kernel with its operands.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) kernel: Kernel,
    pub(crate) dims: Shape,
    pub(crate) inputs: Vec<In>,
    pub(crate) args: Vec<ArgRef>,
}

/// A factor of a product: view with batch axes, rows and columns.
#[derive(Debug)]
pub(crate) struct Factor {
    pub(crate) slot: Slot,
    pub(crate) view: View,
}

/// Contiguous elements that a kernel reads.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) slot: Slot,
    pub(crate) dtype: DType,
    pub(crate) shape: Shape,
    pub(crate) view: View,
}

/// Contiguous elements that a kernel writes: all of a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    pub(crate) slot: Slot,
    pub(crate) dtype: DType,
}

/// One piece of work.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) work: Work,
    /// Where the work stands in the recording: for messages and profiles.
    pub(crate) source: u32,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Work {
    /// A chain of elementwise operations; the outputs are contiguous.
    Fused { chain: Chain, outs: Vec<Out> },
    /// A chain whose result goes into a part of a slot.
    Place { chain: Chain, out: Out, view: View },
    /// A chain whose result is reduced over the last `reduced` axes.
    Reduce { chain: Chain, f: ReduceFn, reduced: usize, out: Out },
    /// A matrix product, perhaps with a chain on its result.
    Dot { batch: Shape, m: usize, n: usize, k: usize, a: Factor, b: Factor, out: Out, epilogue: Option<Chain> },
    /// A kernel of a primitive; `shape` is that of the result.
    Primitive { op: Op, inputs: Vec<Plain>, outs: Vec<Out>, shape: Shape },
    /// A kernel of a compound.
    Compound { compound: Arc<dyn Compound>, inputs: Vec<Plain>, outs: Vec<Out> },
    /// A region, run once.
    Region { body: Box<Program>, inputs: Vec<Plain>, outs: Vec<Out>, scratch: Slot, args: (u32, u32) },
    /// One of two regions.
    Branch {
        then: Box<Program>,
        otherwise: Box<Program>,
        inputs: Vec<Plain>,
        outs: Vec<Out>,
        scratch: Slot,
        args: [(u32, u32); 2],
    },
    /// A region, run for each step.
    Loop(Box<LoopWork>),
}

/// A loop with its operands. Carried values live in two buffers that exchange their roles.
#[derive(Debug)]
pub(crate) struct LoopWork {
    pub(crate) body: Program,
    pub(crate) steps: usize,
    pub(crate) carries: usize,
    pub(crate) sequences: usize,
    pub(crate) counted: bool,
    pub(crate) reverse: bool,
    /// Carried values, sequences, the count where there is one, outside values.
    pub(crate) inputs: Vec<Plain>,
    /// Last carried values, stacks, and the carried values of every step; none where nobody reads them.
    pub(crate) outs: Vec<Option<Out>>,
    /// Two buffers for each carried value.
    pub(crate) pairs: Vec<[Out; 2]>,
    /// Where rows of stacks go that nobody reads.
    pub(crate) waste: Vec<Option<Out>>,
    pub(crate) scratch: Slot,
    pub(crate) args: (u32, u32),
    /// Which of the numbers of the host are counters of random draws.
    pub(crate) counters: Vec<bool>,
}

/// Steps over slots.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) slots: Vec<SlotInfo>,
    pub(crate) steps: Vec<Step>,
    /// Bytes of scratch memory.
    pub(crate) arena: usize,
    /// The least that would do: the largest set of values alive at once.
    pub(crate) arena_bound: usize,
    /// Sizes in bytes of the results.
    pub(crate) results: Vec<usize>,
    /// The result whose memory each one has: its own, or that of an earlier one that is the same.
    pub(crate) shared: Vec<usize>,
}

impl Program {
    /// Number of kernels that a run starts, loops counted once.
    pub(crate) fn kernels(&self) -> usize {
        self.steps
            .iter()
            .map(|s| match &s.work {
                Work::Region { body, .. } => body.kernels(),
                Work::Loop(l) => 1 + l.body.kernels(),
                Work::Branch { then, otherwise, .. } => 1 + then.kernels().max(otherwise.kernels()),
                _ => 1,
            })
            .sum()
    }
}
