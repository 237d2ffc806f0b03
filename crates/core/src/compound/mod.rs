//! Compounds: operations that are kept whole so that a tuned kernel can run them.
//!
//! A compound *is* its body, a function in primitives that can not be left out. A kernel and a gradient
//! of its own are optimisations: generated tests hold kernel = body and own gradient = body's gradient =
//! finite differences, and `LIMPID_INLINE=softmax,conv` runs bodies instead, to find a bad kernel.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod check;
pub(crate) mod conv;
pub(crate) mod ctc;
pub(crate) mod embedding;
pub(crate) mod fft;
pub(crate) mod linalg;
pub(crate) mod linear;
pub(crate) mod loss;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod recurrence;
pub(crate) mod recurrent;
mod recurrent_grad;
pub(crate) mod softmax;
pub(crate) mod special;
pub(crate) mod statistics;

use std::cell::Cell as StdCell;
use std::fmt::Debug;
use std::sync::Arc;

use limpid_kernels::fused::Fault as FusedFault;
use limpid_kernels::index::IndexFault;
use limpid_kernels::{Cpu, Slice, SliceMut};

use crate::error::Result;
use crate::op::{Backward, Grads, Op, Saves};
use crate::reference::Array;
use crate::region::{Meta, Region, parts};
use crate::shape::{Shape, Strides};
use crate::tensor::Tensor;

/// An operation with a body in primitives.
pub(crate) trait Compound: Debug + Send + Sync {
    /// The name that plans print and `LIMPID_INLINE` takes.
    fn name(&self) -> &'static str;

    /// Appends the attributes that distinguish two of the same name.
    fn key(&self, key: &mut Vec<u64>);

    /// Number of results.
    fn results(&self) -> usize {
        1
    }

    /// Shapes and types of the results, for inputs that the constructor has checked.
    fn metas(&self, inputs: &[Meta]) -> Vec<Meta>;

    /// What the compound means.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor>;

    /// A gradient of its own; without one the gradient goes through the body.
    fn vjp(&self, _b: &Backward<'_>) -> Option<Grads> {
        None
    }

    /// What the gradient reads.
    fn saves(&self) -> Saves {
        Saves::ALL
    }

    /// Whether the gradient by the first input, a table, is one of the rows at the second, an index, where that is asked
    /// for.
    fn reads_rows(&self) -> bool {
        false
    }

    /// Whether there is a kernel for such inputs.
    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        false
    }

    /// Whether the kernel reads the floats of input `i` by strides ([`Io::strides`]), of which none is negative, where
    /// the elements of its last axis are side by side.
    fn reads_rows_apart(&self, _i: usize) -> bool {
        false
    }

    /// Whether the kernel checks values and may refuse them.
    fn may_fail(&self) -> bool {
        false
    }

    /// Whether the kernel can do without this result: it gets an empty slice for it where nobody asks for it.
    fn may_skip(&self, _result: usize) -> bool {
        false
    }

    /// Runs the kernel: inputs that are contiguous, but those it reads by strides, to contiguous results.
    fn run(&self, _io: &mut Io<'_>) -> Result<(), Fault> {
        unreachable!("{} has no kernel", self.name())
    }
}

/// What a kernel is run with.
#[derive(Debug)]
pub(crate) struct Io<'a> {
    pub(crate) cpu: &'a Cpu,
    pub(crate) shapes: &'a [Shape],
    /// Of the inputs, in elements.
    pub(crate) strides: &'a [Strides],
    pub(crate) inputs: Vec<Slice<'a>>,
    pub(crate) outputs: Vec<SliceMut<'a>>,
}

impl Io<'_> {
    /// Rows and columns when all axes but the last are one.
    pub(crate) fn rows(&self, input: usize) -> (usize, usize) {
        let shape = &self.shapes[input];
        let cols = shape.last().copied().unwrap_or(1);
        (shape.elements().checked_div(cols).unwrap_or(0), cols)
    }
}

/// What a kernel refuses.
#[derive(Debug)]
pub(crate) enum Fault {
    /// An index out of range.
    Index { axis: usize, fault: IndexFault },
    /// An integer division by zero.
    DivisionByZero,
    /// A value that had to be finite.
    NotFinite(Arc<str>),
    /// A value that a condition forbids.
    Refused(Arc<str>),
    /// So many bytes are not to be had.
    Memory(usize),
}

impl From<FusedFault> for Fault {
    fn from(fault: FusedFault) -> Fault {
        match fault {
            FusedFault::DivisionByZero => Fault::DivisionByZero,
        }
    }
}

/// Records a call with several results.
#[track_caller]
pub(crate) fn call_many(compound: impl Compound + 'static, inputs: &[&Tensor]) -> Vec<Tensor> {
    let metas: Vec<Meta> = inputs.iter().map(|t| (t.shape().clone(), t.dtype())).collect();
    let metas = compound.metas(&metas);
    parts(Op::Call(Arc::new(compound)), inputs, &metas)
}

/// Records a call of a compound with `N` results.
#[track_caller]
pub(crate) fn call_array<const N: usize>(compound: impl Compound + 'static, inputs: &[&Tensor]) -> [Tensor; N] {
    call_many(compound, inputs).try_into().expect("a compound says how many results it has")
}

/// Records a call and takes its first result.
#[track_caller]
pub(crate) fn call_one(compound: impl Compound + 'static, inputs: &[&Tensor]) -> Tensor {
    call_many(compound, inputs).swap_remove(0)
}

thread_local! {
    static IN_BODY: StdCell<bool> = const { StdCell::new(false) };
}

/// Whether the body of a compound is being recorded in place of the call. Its numbers are functions of the
/// compound's attributes and shapes, which are in the key: they belong to the structure.
pub(crate) fn in_body() -> bool {
    IN_BODY.get()
}

fn record_body(compound: &dyn Compound, metas: &[Meta]) -> Result<(Region, Vec<Tensor>)> {
    let outside = IN_BODY.replace(true);
    let recorded = Region::record(metas, |inputs| compound.body(inputs));
    IN_BODY.set(outside);
    recorded
}

/// The results of the body by the interpreter.
pub(crate) fn reference(compound: &Arc<dyn Compound>, inputs: &[&Array], shift: u64) -> Result<Vec<Array>> {
    let metas: Vec<Meta> = inputs.iter().map(|a| (a.shape.clone(), a.dtype)).collect();
    let (region, captured) = record_body(compound.as_ref(), &metas)?;
    debug_assert!(captured.is_empty(), "the body of {} takes values from outside", compound.name());
    region.reference(inputs, shift)
}

/// The body as a region, to be run in place of a kernel.
pub(crate) fn body_region(compound: &dyn Compound, metas: &[Meta]) -> Result<Region> {
    record_body(compound, metas).map(|(region, _)| region)
}

/// One result of the node whose gradient is asked.
#[track_caller]
pub(crate) fn result(b: &Backward<'_>, i: usize) -> Tensor {
    let Op::Call(compound) = &b.output.node.op else { unreachable!("a compound's rule") };
    let metas: Vec<Meta> = b.inputs.iter().map(|t| (t.shape().clone(), t.dtype())).collect();
    let (shape, dtype) = compound.metas(&metas).swap_remove(i);
    Tensor::record(Op::Part(i as u32), &[b.output], shape, dtype)
}

/// The only result of the node whose gradient is asked.
#[track_caller]
pub(crate) fn first_result(b: &Backward<'_>) -> Tensor {
    result(b, 0)
}
