//! What tests switch on inside the engine: planted faults, bodies in place of kernels, counts of what
//! passes do.
//!
//! A check that never fails proves nothing. Each [`Fault`] is a mistake that such an engine could have; a
//! test plants it, on its own thread alone, and asserts that a check fails. Outside of builds with debug
//! assertions all of this is constant and compiles to nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::graph::Recording;
use crate::op::Op;
use crate::region::Region;
use crate::tensor::Tensor;

/// A mistake that tests plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The gradient of tanh is 1 − y in place of 1 − y².
    GradientOfTanh,
    /// The gradient of a gather overwrites where an index comes twice.
    GradientOfGather,
    /// The gradient of an extremum gives each of several winners all of it.
    GradientOfTies,
    /// The gradient of softmax is the one of its logarithm.
    GradientOfSoftmax,
    /// The gradient of a loop runs through the steps in the order of the loop.
    GradientOfLoop,
    /// A slice begins one element early.
    SliceStart,
    /// All axes of a broadcast value are read with stride 0.
    BroadcastStride,
    /// Windows are dense whatever their dilation or stride.
    WindowStride,
    /// The order of two permutations that become one is exchanged.
    PermuteOrder,
    /// Multiplying by 0 gives 0 even where the other side is infinite.
    FoldZero,
    /// Two random draws of one shape are taken for one.
    MergedDraws,
    /// Two numbers of the host are taken for one.
    MergedScalars,
    /// A number of the host is frozen into the plan.
    FrozenScalar,
    /// A kernel reads a strided input as if it lay in order.
    MissingCopy,
    /// The epilogue of a matrix product is not run.
    DroppedEpilogue,
    /// The second tensor of a concatenation begins one place early.
    ConcatStart,
    /// A step writes over an input that is read again later.
    InPlace,
    /// Memory is given away after the first step that touches it.
    MemoryMap,
    /// The latest assignment to a cell is lost.
    LostEffect,
    /// An assignment in place does not wait for those who read the old value.
    EarlyWrite,
    /// Assignments in place do not wait for the checks of values.
    UncheckedWrite,
    /// All steps of a loop draw the same random numbers.
    LoopCounter,
    /// A plan's key does not say in which direction a scan runs.
    Key,
}

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    static BODIES: Cell<bool> = const { Cell::new(false) };
    static BODY_GRADIENTS: Cell<bool> = const { Cell::new(false) };
    static PASSES: RefCell<Option<BTreeMap<String, u64>>> = const { RefCell::new(None) };
}

/// Plants a fault for this thread until the guard is dropped.
pub fn plant(fault: Fault) -> Planted {
    PLANTED.set(Some(fault));
    Planted(())
}

/// Keeps a fault planted.
#[derive(Debug)]
#[must_use]
pub struct Planted(());

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

#[inline]
pub(crate) fn planted(fault: Fault) -> bool {
    cfg!(debug_assertions) && PLANTED.get() == Some(fault)
}

/// Runs the bodies of compounds in place of their kernels, on this thread.
pub fn force_bodies(on: bool) {
    BODIES.set(on);
}

#[inline]
pub(crate) fn bodies_forced() -> bool {
    cfg!(debug_assertions) && BODIES.get()
}

/// Differentiates compounds through their bodies in place of their own rules, on this thread.
pub fn force_body_gradients(on: bool) {
    BODY_GRADIENTS.set(on);
}

#[inline]
pub(crate) fn body_gradients_forced() -> bool {
    cfg!(debug_assertions) && BODY_GRADIENTS.get()
}

/// What is switched on is part of a plan's key: no other thread may find such a plan.
#[inline]
pub(crate) fn key(key: &mut Vec<u64>) {
    if cfg!(debug_assertions) {
        let fault = PLANTED.get().map_or(0, |fault| fault as u64 + 1);
        let state = fault << 1 | u64::from(BODIES.get());
        if state != 0 {
            key.push(state << 32);
        }
    }
}

/// Begins to count, on this thread, which passes change a graph.
pub fn count_passes() {
    PASSES.set(Some(BTreeMap::new()));
}

/// How many graphs each pass has changed since [`count_passes`].
pub fn passes() -> BTreeMap<String, u64> {
    PASSES.with_borrow(|passes| passes.clone().unwrap_or_default())
}

#[inline]
pub(crate) fn counting_passes() -> bool {
    cfg!(debug_assertions) && PASSES.with_borrow(Option::is_some)
}

pub(crate) fn pass_fired(name: &str) {
    PASSES.with_borrow_mut(|passes| {
        if let Some(passes) = passes {
            *passes.entry(name.to_owned()).or_default() += 1;
        }
    });
}

/// The operations that `tensors` are computed by, regions included, by name, each time that they occur.
pub fn operations(tensors: &[&Tensor]) -> Vec<&'static str> {
    let roots: Vec<_> = tensors.iter().map(|t| t.node.clone()).collect();
    let mut names = Vec::new();
    collect(&Recording::collect(&roots, |_| false), &mut names);
    names
}

fn collect(recording: &Recording, names: &mut Vec<&'static str>) {
    let mut region = |region: &Region| collect(&region.recording, names);
    for node in &recording.nodes {
        match &node.op {
            Op::Region(r) => region(r),
            Op::Loop(l) => region(&l.body),
            Op::Branch(b) => {
                region(&b.then);
                region(&b.otherwise);
            }
            _ => {}
        }
    }
    names.extend(recording.nodes.iter().map(|node| node.op.name()));
}
