//! The arithmetic of Limpid: what turns bytes into other bytes, and nothing else.
//!
//! This crate knows data types, slices, strides, instruction sets and threads. It knows nothing of
//! graphs, tensors or gradients, and it reads no environment variable: whoever calls it passes a
//! [`Cpu`]. It is the only crate that contains `unsafe`; every public function is safe and checks
//! what it is given.
//!
//! Two rules hold everywhere. *Work is cut by shape, never by the number of threads*, so a result is
//! bit-identical for any thread count. *Every value is initialised*: a fresh [`Buffer`] is zeroed, a
//! recycled one holds stale numbers, never undefined bytes.

mod arithmetic;
pub mod attention;
pub mod batch_norm;
mod buffer;
pub mod check;
pub mod conv;
pub mod ctc;
pub mod dot;
mod dtype;
pub mod fft;
mod floats;
pub mod fold;
pub mod fused;
pub mod index;
mod isa;
pub mod limits;
pub mod linalg;
pub mod loss;
pub mod math;
pub mod norm;
mod parts;
mod phases;
pub mod pool;
pub mod pooling;
mod real;
pub mod recurrent;
pub mod scan;
mod slice;
pub mod softmax;
pub mod sort;
pub mod statistics;
mod workspace;

pub use buffer::{Buffer, machine_memory, pooled_bytes, trim_pool};
pub use dtype::{DType, Element, Number};
pub use isa::Isa;
pub use pool::Pool;
pub use slice::{Slice, SliceMut};
pub use workspace::{Loc, Operands, Workspace};

/// What a kernel runs on: an instruction set and a pool of threads.
#[derive(Debug)]
pub struct Cpu {
    /// The instruction set whose kernels are used.
    pub isa: Isa,
    /// The threads that share the work.
    pub pool: Pool,
}

impl Cpu {
    /// A processor limited to `isa` (default: the best that this machine has) with `threads` threads.
    pub fn new(isa: Option<Isa>, threads: usize) -> Cpu {
        let best = Isa::detect();
        Cpu { isa: isa.map_or(best, |wanted| wanted.min(best)), pool: Pool::new(threads) }
    }
}
