//! Recurrent layers: the loop over the steps, forward and back.
//!
//! A task takes some sequences of the batch through all steps, so that tasks wait for nothing, and the weights are
//! packed once for all steps. The part of the input, W_ih·x + b of all steps, is computed before; the gradients of the
//! weights are products over all steps, computed behind it.

mod backward;
mod forward;

use crate::Cpu;
use crate::dot::{Factor, Panels};
use crate::isa::Arch;
use crate::math;
use crate::real::Real;

pub use backward::{Gradients, Saved, backward};
pub use forward::{Inputs, Outputs, forward};

/// What a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// h' = tanh(x + W·h)
    Tanh,
    /// h' = max(0, x + W·h)
    Relu,
    /// i, f, g, o = σ, σ, tanh, σ of x + W·h; c' = f·c + i·g; h' = o·tanh(c').
    Lstm,
    /// r, z = σ of x + W·h + b; n = tanh(x + r·(W·h + b)); h' = (1 - z)·n + z·h.
    Gru,
}

impl Kind {
    /// Blocks of the weights.
    const fn gates(self) -> usize {
        match self {
            Kind::Tanh | Kind::Relu => 1,
            Kind::Lstm => 4,
            Kind::Gru => 3,
        }
    }
}

/// The sizes of a layer in one direction.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// What a step computes.
    pub kind: Kind,
    /// Number of steps.
    pub steps: usize,
    /// Number of sequences.
    pub batch: usize,
    /// Size of each gate.
    pub hidden: usize,
    /// Size of h: that of a gate, or of the projection.
    pub state: usize,
    /// Whether it runs from the last step to the first.
    pub reverse: bool,
}

/// At most so many tasks, or fewer where the weights do not stay in a second-level cache.
const TASKS: usize = 8;
const LARGE_TASKS: usize = 4;
const CACHE: usize = 1 << 20;

impl Layer {
    /// The step that runs as the `i`-th one.
    fn step(&self, i: usize) -> usize {
        if self.reverse { self.steps - 1 - i } else { i }
    }

    /// How many sequences a task takes.
    fn rows<T: Scalar>(&self, cpu: &Cpu, weights: &Panels<T>) -> usize {
        let tasks = if weights.bytes() > CACHE { LARGE_TASKS } else { TASKS };
        // Whole bands of the product, all of the same height.
        let bands = self.batch.div_ceil(T::rows(cpu.isa)).max(1);
        (self.batch.div_ceil(bands) * bands.div_ceil(tasks)).max(1)
    }
}

/// f32 or f64 with the functions of the gates.
trait Scalar: Real + Factor {
    fn tanh<A: Arch>(self) -> Self;
    fn sigmoid<A: Arch>(self) -> Self;
}

impl Scalar for f32 {
    #[inline(always)]
    fn tanh<A: Arch>(self) -> f32 {
        math::f32::tanh::<A>(self)
    }
    #[inline(always)]
    fn sigmoid<A: Arch>(self) -> f32 {
        math::f32::sigmoid::<A>(self)
    }
}

impl Scalar for f64 {
    #[inline(always)]
    fn tanh<A: Arch>(self) -> f64 {
        math::f64::tanh::<A>(self)
    }
    #[inline(always)]
    fn sigmoid<A: Arch>(self) -> f64 {
        math::f64::sigmoid::<A>(self)
    }
}

/// The rows of a task at one step, and which of them have such a step.
#[derive(Clone, Copy)]
struct Rows<'a> {
    lengths: Option<&'a [i64]>,
    step: usize,
}

impl Rows<'_> {
    #[inline(always)]
    fn active(&self, i: usize) -> bool {
        self.lengths.is_none_or(|lengths| (self.step as i64) < lengths[i])
    }

    /// Whether no sequence has such a step.
    fn none(&self) -> bool {
        self.lengths.is_some_and(|lengths| lengths.iter().all(|&length| length <= self.step as i64))
    }
}
