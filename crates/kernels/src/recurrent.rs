//! Recurrent layers: the loop over the steps, forward and back.
//!
//! A step is one product with the weights and its gates. Both are cut into tasks, each some units of a few sequences: the
//! units' weights lie in panels that stay in the cache of the thread that has them in all steps, and the gates are
//! computed while the sums are in the first cache. Threads wait for each other once a step. The part of the input,
//! W_ih·x + b of all steps, is computed before; the gradients of the weights are products over all steps, behind it.

mod backward;
mod cut;
mod forward;

use crate::dot::Factor;
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

impl Layer {
    /// The step that runs as the `i`-th one.
    fn step(&self, i: usize) -> usize {
        if self.reverse { self.steps - 1 - i } else { i }
    }

    /// The step that ran before the `i`-th one.
    fn step_before(&self, i: usize) -> Option<usize> {
        i.checked_sub(1).map(|i| self.step(i))
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

/// The lengths of the sequences, where they differ.
#[derive(Clone, Copy, Debug)]
struct Lengths<'a>(Option<&'a [i64]>);

impl Lengths<'_> {
    /// Whether a sequence has such a step.
    #[inline(always)]
    fn reaches(&self, row: usize, step: usize) -> bool {
        self.0.is_none_or(|lengths| (step as i64) < lengths[row])
    }
}
