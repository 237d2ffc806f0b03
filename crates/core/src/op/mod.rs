//! The primitives: a small set that is closed under its own gradients.
//!
//! Everything about an operation that is not a kernel stands in the file of its family: what it
//! means, its shape and type rule, its gradient, its meaning for the reference interpreter, and which
//! kernel runs it. The matches here and in the families are exhaustive: an operation that misses a
//! rule does not compile.

pub(crate) mod contract;
pub(crate) mod elementwise;
pub(crate) mod index;
pub(crate) mod movement;
pub(crate) mod reduce;
pub(crate) mod source;
pub(crate) mod structure;

use std::sync::Arc;

use limpid_kernels::fused::{BinaryFn, ReduceFn, UnaryFn};
use limpid_kernels::index::ScatterFn;
use limpid_kernels::scan::ScanFn;
use limpid_kernels::{DType, Number};
use smallvec::SmallVec;

use crate::cell::Cell;
use crate::compound::Compound;
use crate::error::Result;
use crate::reference::Array;
use crate::region::{Branch, Loop, Meta, Region};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::testing::{Fault, planted};

/// A few axes.
pub(crate) type AxisList = SmallVec<[usize; 6]>;

/// A primitive operation. Shape and type of the result stand in the node.
///
/// Broadcasting is explicit: the inputs of an elementwise operation have its shape.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    // ── source.rs ──
    /// A value given from outside.
    Leaf,
    /// The current value of a parameter or buffer.
    Cell(Arc<Cell>),
    /// The n-th input of the region that is being recorded.
    Input(u32),
    /// A number that belongs to the structure: it may be folded, and is part of the plan's key.
    Const(Number),
    /// A number of the host: bound at run time, so another value finds the same plan.
    Scalar(Number),
    /// The index along `axis`, i64.
    Iota { axis: usize },
    /// 32 random bits as i64: a pure function of (seed, counter, flat index of the element).
    Random { seed: u64, counter: u64 },

    // ── elementwise.rs ──
    /// y = f(x)
    Unary(UnaryFn),
    /// y = f(a, b)
    Binary(BinaryFn),
    /// y = c ? a : b
    Select,
    /// The value in another type.
    Cast,
    /// The bits as another type of the same size.
    BitCast,

    // ── movement.rs ──
    /// The same elements in row-major order under another shape.
    Reshape,
    /// Axis i of the result is axis `axes[i]` of the input.
    Permute(AxisList),
    /// Axes of size 1 stretched, and axes added in front, to the node's shape.
    Broadcast,
    /// y[i] = x[start + step·i] along `axis`; `start` is a number of the host, unless it is `fixed`: then it
    /// belongs to the structure.
    Slice { axis: usize, start: i64, step: i64, fixed: bool },
    /// y[lo + i·(interior+1)] = x[i] along `axis`, the second input elsewhere.
    Pad { axis: usize, lo: usize, interior: usize },
    /// The inputs one after the other along `axis`.
    Concat { axis: usize },
    /// y[…, o, …, k] = x[…, o·stride + k·dilation, …]: sliding windows along `axis`, k a new last axis.
    Window { axis: usize, stride: usize, dilation: usize },
    /// The adjoint of `Window`: y[o·stride + k·dilation] += x[…, o, …, k].
    OverlapAdd { axis: usize, stride: usize, dilation: usize },
    /// The first input with the second one written at `start` along `axis`; `start` is a number of the host,
    /// unless it is `fixed`.
    Write { axis: usize, start: i64, fixed: bool },

    // ── reduce.rs ──
    /// Combines all elements along `axes`, which stay with size 1.
    Reduce { f: ReduceFn, axes: AxisList },
    /// y[i] = f(x[0], …, x[i]) along `axis`, or from the other end.
    Scan { f: ScanFn, axis: usize, reverse: bool },
    /// Two results: the sorted values along `axis`, and where they came from.
    Sort { axis: usize, descending: bool },

    // ── contract.rs ──
    /// [b…, m, k] × [b…, k, n] → [b…, m, n]
    Dot,

    // ── index.rs ──
    /// y[i] = x[…, index[i], …] along `axis`.
    Gather { axis: usize },
    /// The first input with the third one combined in at the second (index) along `axis`. `checked`: the index has been
    /// read at before, so that it is in range and the result may be written in place.
    Scatter { f: ScatterFn, axis: usize, checked: bool },

    // ── structure.rs ──
    /// A compound: several results, a body in primitives that is its meaning.
    Call(Arc<dyn Compound>),
    /// A region as one node.
    Region(Arc<Region>),
    /// A region run once for each step.
    Loop(Arc<Loop>),
    /// One of two regions.
    Branch(Arc<Branch>),
    /// One of the results of the input.
    Part(u32),
    /// The identity, with a meaning for gradients, taps or checks.
    Mark(Mark),
}

/// What an identity node is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// No gradient passes.
    Detach,
    /// A gradient may be asked by this tensor.
    Watch,
    /// The elements in memory of their own, in order: put in by the compiler where a kernel needs that.
    Copy,
    /// A name that `tap` can ask for.
    Tap(Arc<str>),
    /// The run fails when an element is not finite.
    Finite(Arc<str>),
}

/// Which inputs a gradient rule reads, as bits, and whether it reads the result: what a read before a
/// step keeps, so that nothing is paid twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saves {
    pub(crate) inputs: u32,
    pub(crate) output: bool,
}

impl Saves {
    pub(crate) const NOTHING: Saves = Saves { inputs: 0, output: false };
    pub(crate) const OUTPUT: Saves = Saves { inputs: 0, output: true };
    pub(crate) const INPUTS: Saves = Saves { inputs: u32::MAX, output: false };
    pub(crate) const ALL: Saves = Saves { inputs: u32::MAX, output: true };
}

/// What a gradient rule is given.
pub(crate) struct Backward<'a> {
    /// The inputs of the node.
    pub(crate) inputs: &'a [Tensor],
    /// The node's own result (of several: the node itself, to take parts of).
    pub(crate) output: &'a Tensor,
    /// The gradients that arrived, one for each result; of a node with one result the first counts.
    pub(crate) grads: &'a [Option<Tensor>],
    /// Which inputs need a gradient.
    pub(crate) needs: &'a [bool],
}

impl Backward<'_> {
    /// The gradient of the only result.
    pub(crate) fn g(&self) -> &Tensor {
        self.grads[0].as_ref().expect("a rule runs only where a gradient arrived")
    }
}

/// The gradients that a rule returns, one for each input.
pub(crate) type Grads = SmallVec<[Option<Tensor>; 3]>;

impl Op {
    /// The name as plans and errors print it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Op::Leaf => "leaf",
            Op::Cell(_) => "cell",
            Op::Input(_) => "input",
            Op::Const(_) => "const",
            Op::Scalar(_) => "scalar",
            Op::Iota { .. } => "iota",
            Op::Random { .. } => "random",
            Op::Unary(f) => elementwise::unary_name(*f),
            Op::Binary(f) => elementwise::binary_name(*f),
            Op::Select => "select",
            Op::Cast => "cast",
            Op::BitCast => "bitcast",
            Op::Reshape => "reshape",
            Op::Permute(_) => "permute",
            Op::Broadcast => "broadcast",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::Concat { .. } => "concat",
            Op::Window { .. } => "window",
            Op::OverlapAdd { .. } => "overlap_add",
            Op::Write { .. } => "write",
            Op::Reduce { f, .. } => reduce::reduce_name(*f),
            Op::Scan { f, .. } => reduce::scan_name(*f),
            Op::Sort { .. } => "sort",
            Op::Dot => "dot",
            Op::Gather { .. } => "gather",
            Op::Scatter { f, .. } => index::scatter_name(*f),
            Op::Call(compound) => compound.name(),
            Op::Region(_) => "call",
            Op::Loop(_) => "loop",
            Op::Branch(_) => "branch",
            Op::Part(_) => "part",
            Op::Mark(Mark::Detach) => "detach",
            Op::Mark(Mark::Watch) => "watch",
            Op::Mark(Mark::Copy) => "copy",
            Op::Mark(Mark::Tap(_)) => "tap",
            Op::Mark(Mark::Finite(_)) => "finite",
        }
    }

    /// Appends what distinguishes this operation in a plan's key: everything but numbers of the host.
    pub(crate) fn key(&self, key: &mut Vec<u64>) {
        let mut tag = |code: u64, a: usize, b: usize, c: usize| {
            key.push(code | (a as u64) << 8 | (b as u64) << 24 | (c as u64) << 44);
        };
        match self {
            Op::Leaf => tag(0, 0, 0, 0),
            Op::Cell(_) => tag(1, 0, 0, 0),
            Op::Input(i) => tag(2, *i as usize, 0, 0),
            Op::Const(n) => {
                tag(3, matches!(n, Number::Int(_)) as usize, 0, 0);
                key.push(match n {
                    Number::Int(i) => *i as u64,
                    Number::Float(f) => f.to_bits(),
                });
            }
            Op::Scalar(_) => tag(4, 0, 0, 0),
            Op::Iota { axis } => tag(5, *axis, 0, 0),
            Op::Random { .. } => tag(6, 0, 0, 0),
            Op::Unary(f) => tag(7, *f as usize, 0, 0),
            Op::Binary(f) => tag(8, *f as usize, 0, 0),
            Op::Select => tag(9, 0, 0, 0),
            Op::Cast => tag(10, 0, 0, 0),
            Op::BitCast => tag(11, 0, 0, 0),
            Op::Reshape => tag(12, 0, 0, 0),
            Op::Permute(axes) => {
                tag(13, axes.len(), 0, 0);
                key.extend(axes.iter().map(|&a| a as u64));
            }
            Op::Broadcast => tag(14, 0, 0, 0),
            Op::Slice { axis, start, step, fixed } => {
                tag(15, *axis, *fixed as usize, 0);
                key.extend([*step as u64, if *fixed { *start as u64 } else { 0 }]);
            }
            Op::Pad { axis, lo, interior } => {
                tag(16, *axis, 0, 0);
                key.extend([*lo as u64, *interior as u64]);
            }
            Op::Concat { axis } => tag(17, *axis, 0, 0),
            Op::Window { axis, stride, dilation } => tag(18, *axis, *stride, *dilation),
            Op::OverlapAdd { axis, stride, dilation } => tag(19, *axis, *stride, *dilation),
            Op::Write { axis, start, fixed } => {
                tag(20, *axis, *fixed as usize, 0);
                key.push(if *fixed { *start as u64 } else { 0 });
            }
            Op::Reduce { f, axes } => {
                tag(21, *f as usize, axes.len(), 0);
                key.extend(axes.iter().map(|&a| a as u64));
            }
            Op::Scan { f, axis, .. } if planted(Fault::Key) => tag(22, *f as usize, *axis, 0),
            Op::Scan { f, axis, reverse } => tag(22, *f as usize, *axis, *reverse as usize),
            Op::Sort { axis, descending } => tag(23, *axis, *descending as usize, 0),
            Op::Dot => tag(24, 0, 0, 0),
            Op::Gather { axis } => tag(25, *axis, 0, 0),
            Op::Scatter { f, axis, checked } => tag(26, *f as usize, *axis, *checked as usize),
            Op::Call(compound) => {
                tag(27, compound.name().len(), 0, 0);
                key.extend(compound.name().bytes().map(u64::from));
                compound.key(key);
            }
            Op::Region(region) => {
                tag(28, 0, 0, 0);
                region.key(key);
            }
            Op::Loop(l) => {
                tag(29, 0, 0, 0);
                l.key(key);
            }
            Op::Branch(branch) => {
                tag(30, 0, 0, 0);
                branch.key(key);
            }
            Op::Part(i) => tag(31, *i as usize, 0, 0),
            Op::Mark(Mark::Detach) => tag(32, 0, 0, 0),
            Op::Mark(Mark::Watch) => tag(35, 0, 0, 0),
            Op::Mark(Mark::Copy) => tag(36, 0, 0, 0),
            Op::Mark(Mark::Tap(_)) => tag(33, 0, 0, 0),
            Op::Mark(Mark::Finite(_)) => tag(34, 0, 0, 0),
        }
    }

    /// Appends the numbers of the host, in the order in which the plan takes them.
    pub(crate) fn host(&self, args: &mut Vec<Arg>) {
        match self {
            Op::Scalar(n) => args.push(Arg::Number(*n)),
            Op::Slice { start, fixed: false, .. } | Op::Write { start, fixed: false, .. } => {
                args.push(Arg::Number(Number::Int(*start)));
            }
            Op::Random { seed, counter } => {
                args.push(Arg::Number(Number::Int(*seed as i64)));
                args.push(Arg::Counter(*counter));
            }
            Op::Region(region) => region.host(args),
            Op::Loop(l) => l.body.host(args),
            Op::Branch(branch) => {
                branch.then.host(args);
                branch.otherwise.host(args);
            }
            _ => {}
        }
    }

    /// Number of results; those with several are read through [`Op::Part`].
    pub(crate) fn results(&self) -> usize {
        match self {
            Op::Sort { .. } => 2,
            Op::Call(compound) => compound.results(),
            Op::Region(region) => region.outputs.len(),
            Op::Loop(l) => l.results(),
            Op::Branch(branch) => branch.then.outputs.len(),
            _ => 1,
        }
    }

    /// Shapes and types of the results, for inputs of `inputs` and a node of `own`.
    pub(crate) fn result_metas(&self, inputs: &[Meta], own: &Meta) -> Vec<Meta> {
        match self {
            Op::Sort { .. } => vec![own.clone(), (own.0.clone(), DType::I64)],
            Op::Call(compound) => compound.metas(inputs),
            Op::Region(region) => region.metas(),
            Op::Loop(l) => l.metas(),
            Op::Branch(branch) => branch.then.metas(),
            _ => vec![own.clone()],
        }
    }

    /// Whether results are read through [`Op::Part`].
    pub(crate) fn has_parts(&self) -> bool {
        matches!(self, Op::Sort { .. } | Op::Call(_) | Op::Region(_) | Op::Loop(_) | Op::Branch(_))
    }

    /// What the gradient rule reads.
    pub(crate) fn saves(&self) -> Saves {
        match self {
            Op::Unary(f) => elementwise::unary_saves(*f),
            Op::Binary(f) => elementwise::binary_saves(*f),
            Op::Select => Saves { inputs: 1, output: false },
            Op::Reduce { f: ReduceFn::Sum, .. } => Saves::NOTHING,
            Op::Reduce { .. } | Op::Scan { .. } => Saves::ALL,
            Op::Sort { .. } => Saves::NOTHING,
            Op::Dot => Saves::INPUTS,
            Op::Gather { .. } => Saves { inputs: 2, output: false },
            Op::Scatter { .. } => Saves::ALL,
            Op::Call(compound) => compound.saves(),
            Op::Region(_) | Op::Branch(_) | Op::Loop(_) => Saves::ALL,
            Op::Leaf
            | Op::Cell(_)
            | Op::Input(_)
            | Op::Const(_)
            | Op::Scalar(_)
            | Op::Iota { .. }
            | Op::Random { .. }
            | Op::Cast
            | Op::BitCast
            | Op::Reshape
            | Op::Permute(_)
            | Op::Broadcast
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Concat { .. }
            | Op::Window { .. }
            | Op::OverlapAdd { .. }
            | Op::Write { .. }
            | Op::Part(_)
            | Op::Mark(_) => Saves::NOTHING,
        }
    }

    /// The chain rule of one node, as more nodes.
    pub(crate) fn vjp(&self, b: &Backward<'_>) -> Grads {
        match self {
            Op::Leaf
            | Op::Cell(_)
            | Op::Input(_)
            | Op::Const(_)
            | Op::Scalar(_)
            | Op::Iota { .. }
            | Op::Random { .. } => Grads::new(),
            Op::Unary(f) => elementwise::unary_vjp(*f, b),
            Op::Binary(f) => elementwise::binary_vjp(*f, b),
            Op::Select => elementwise::select_vjp(b),
            Op::Cast => elementwise::cast_vjp(b),
            Op::BitCast => Grads::new(),
            Op::Reshape => movement::reshape_vjp(b),
            Op::Permute(axes) => movement::permute_vjp(axes, b),
            Op::Broadcast => movement::broadcast_vjp(b),
            Op::Slice { axis, start, step, fixed } => movement::slice_vjp(*axis, *start, *step, *fixed, b),
            Op::Pad { axis, lo, interior } => movement::pad_vjp(*axis, *lo, *interior, b),
            Op::Concat { axis } => movement::concat_vjp(*axis, b),
            Op::Window { axis, stride, dilation } => movement::window_vjp(*axis, *stride, *dilation, b),
            Op::OverlapAdd { axis, stride, dilation } => movement::overlap_add_vjp(*axis, *stride, *dilation, b),
            Op::Write { axis, start, .. } => movement::write_vjp(*axis, *start, b),
            Op::Reduce { f, axes } => reduce::reduce_vjp(*f, axes, b),
            Op::Scan { f, axis, reverse } => reduce::scan_vjp(*f, *axis, *reverse, b),
            Op::Sort { axis, .. } => reduce::sort_vjp(*axis, b),
            Op::Dot => contract::dot_vjp(b),
            Op::Gather { axis } => index::gather_vjp(*axis, b),
            Op::Scatter { f, axis, .. } => index::scatter_vjp(*f, *axis, b),
            Op::Call(compound) => structure::call_vjp(compound, b),
            Op::Region(region) => structure::region_vjp(region, b),
            Op::Loop(l) => structure::loop_vjp(l, b),
            Op::Branch(branch) => structure::branch_vjp(branch, b),
            Op::Part(_) => unreachable!("the walk routes parts"),
            Op::Mark(mark) => structure::mark_vjp(mark, b),
        }
    }

    /// What the operation means, computed slowly and plainly: the results for `inputs`. `shape` and
    /// `dtype` are the node's, `shift` is added to random counters.
    pub(crate) fn reference(&self, inputs: &[&Array], shape: &Shape, dtype: DType, shift: u64) -> Result<Vec<Array>> {
        let one = |array: Array| Ok(vec![array]);
        match self {
            Op::Leaf | Op::Cell(_) | Op::Input(_) => unreachable!("the interpreter binds these"),
            Op::Const(n) | Op::Scalar(n) => one(source::number_reference(*n, shape, dtype)),
            Op::Iota { axis } => one(source::iota_reference(*axis, shape)),
            Op::Random { seed, counter } => one(source::random_reference(*seed, counter.wrapping_add(shift), shape)),
            Op::Unary(f) => one(elementwise::unary_reference(*f, inputs[0])),
            Op::Binary(f) => elementwise::binary_reference(*f, inputs[0], inputs[1]).map(|a| vec![a]),
            Op::Select => one(elementwise::select_reference(inputs)),
            Op::Cast => one(inputs[0].cast(dtype)),
            Op::BitCast => one(elementwise::bitcast_reference(inputs[0], dtype)),
            Op::Reshape => one(Array { shape: shape.clone(), ..inputs[0].clone() }),
            Op::Permute(axes) => one(movement::permute_reference(axes, inputs[0], shape)),
            Op::Broadcast => one(movement::broadcast_reference(inputs[0], shape)),
            Op::Slice { axis, start, step, .. } => {
                one(movement::slice_reference(*axis, *start, *step, inputs[0], shape))
            }
            Op::Pad { axis, lo, interior } => one(movement::pad_reference(*axis, *lo, *interior, inputs, shape)),
            Op::Concat { axis } => one(movement::concat_reference(*axis, inputs, shape)),
            Op::Window { axis, stride, dilation } => {
                one(movement::window_reference(*axis, *stride, *dilation, inputs[0], shape))
            }
            Op::OverlapAdd { axis, stride, dilation } => {
                one(movement::overlap_add_reference(*axis, *stride, *dilation, inputs[0], shape))
            }
            Op::Write { axis, start, .. } => one(movement::write_reference(*axis, *start, inputs)),
            Op::Reduce { f, axes } => one(reduce::reduce_reference(*f, axes, inputs[0], shape)),
            Op::Scan { f, axis, reverse } => one(reduce::scan_reference(*f, *axis, *reverse, inputs[0])),
            Op::Sort { axis, descending } => Ok(reduce::sort_reference(*axis, *descending, inputs[0])),
            Op::Dot => one(contract::dot_reference(inputs[0], inputs[1], shape)),
            Op::Gather { axis } => index::gather_reference(*axis, inputs[0], inputs[1]).map(|a| vec![a]),
            Op::Scatter { f, axis, .. } => index::scatter_reference(*f, *axis, inputs).map(|a| vec![a]),
            Op::Call(compound) => crate::compound::reference(compound, inputs, shift),
            Op::Region(region) => region.reference(inputs, shift),
            Op::Loop(l) => l.reference(inputs, shift),
            Op::Branch(branch) => branch.reference(inputs, shift),
            Op::Part(_) => unreachable!("the interpreter takes parts itself"),
            Op::Mark(mark) => structure::mark_reference(mark, inputs[0]).map(|a| vec![a]),
        }
    }
}

/// A number that a plan takes at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arg {
    /// A number of the host.
    Number(Number),
    /// The counter of a random draw: a replay takes a new one, and each step of a loop its own.
    Counter(u64),
}

impl Arg {
    /// The number as kernels take it.
    pub(crate) fn number(self) -> Number {
        match self {
            Arg::Number(n) => n,
            Arg::Counter(c) => Number::Int(c as i64),
        }
    }
}
