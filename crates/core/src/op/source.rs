//! Where values come from: leaves, numbers, indices, random bits.

use std::panic::Location;
use std::sync::Arc;

use limpid_kernels::{Buffer, DType, Number};

use crate::node::{Inputs, Node};
use crate::op::Op;
use crate::reference::Array;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// A tensor with its value from the start.
#[track_caller]
pub(crate) fn leaf(buffer: Arc<Buffer>, shape: Shape, dtype: DType) -> Tensor {
    Tensor::hold(Node::leaf(buffer, shape, dtype, Location::caller()))
}

/// A number that belongs to the structure, shape `[]`.
#[track_caller]
pub(crate) fn constant(n: Number, dtype: DType) -> Tensor {
    constant_of(n, dtype, Shape::scalar())
}

/// A number that belongs to the structure, at each element of `shape`.
#[track_caller]
pub(crate) fn constant_of(n: Number, dtype: DType, shape: Shape) -> Tensor {
    Tensor::record(Op::Const(n), &[], shape, dtype)
}

/// A number of the host, shape `[]`; of the structure in the body of a compound.
#[track_caller]
pub(crate) fn scalar(n: Number, dtype: DType) -> Tensor {
    scalar_of(n, dtype, Shape::scalar())
}

/// [`scalar`] at each element of `shape`.
#[track_caller]
pub(crate) fn scalar_of(n: Number, dtype: DType, shape: Shape) -> Tensor {
    let op = if crate::compound::in_body() { Op::Const(n) } else { Op::Scalar(n) };
    Tensor::record(op, &[], shape, dtype)
}

/// The number that `x` is, at each element of `shape`: what needs no node to stretch it.
#[track_caller]
pub(crate) fn filled(x: &Tensor, shape: &Shape) -> Option<Tensor> {
    match &x.node.op {
        op @ (Op::Const(_) | Op::Scalar(_)) => Some(Tensor::record(op.clone(), &[], shape.clone(), x.dtype())),
        _ => None,
    }
}

/// The index along `axis` at each element, i64.
#[track_caller]
pub(crate) fn iota(shape: Shape, axis: usize) -> Tensor {
    Tensor::record(Op::Iota { axis }, &[], shape, DType::I64)
}

/// 32 random bits at each element, as i64 in 0 … 2³²−1.
#[track_caller]
pub(crate) fn random(shape: Shape, seed: u64, counter: u64) -> Tensor {
    Tensor::record(Op::Random { seed, counter }, &[], shape, DType::I64)
}

/// The n-th placeholder of a region.
#[track_caller]
pub(crate) fn input(index: u32, shape: Shape, dtype: DType) -> Tensor {
    Tensor::hold(Node::new(Op::Input(index), Inputs::new(), shape, dtype, Location::caller()))
}

pub(crate) fn number_reference(n: Number, shape: &Shape, dtype: DType) -> Array {
    Array::filled(shape.clone(), dtype, n)
}

pub(crate) fn iota_reference(axis: usize, shape: &Shape) -> Array {
    Array::from_fn(shape.clone(), DType::I64, |at| Number::Int(at[axis] as i64))
}

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), written
/// from the paper, independent of the kernel.
pub(crate) fn random_reference(seed: u64, counter: u64, shape: &Shape) -> Array {
    let data = (0..shape.elements() as u64)
        .map(|i| {
            let block = i / 4;
            let mut c = [block as u32, (block >> 32) as u32, counter as u32, (counter >> 32) as u32];
            let mut k = [seed as u32, (seed >> 32) as u32];
            for round in 0..10 {
                if round > 0 {
                    k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
                }
                let p0 = u64::from(c[0]) * 0xD251_1F53;
                let p1 = u64::from(c[2]) * 0xCD9E_8D57;
                c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
            }
            Number::Int(i64::from(c[(i % 4) as usize]))
        })
        .collect();
    Array { dtype: DType::I64, shape: shape.clone(), data }
}
