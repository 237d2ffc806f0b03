//! The reference interpreter: any graph, slowly and plainly.
//!
//! It is the oracle for every kernel and every pass. Each operation is computed in f64 (integers in
//! i64) by a loop that says what it means, then rounded to the type of the node.

use std::collections::HashMap;

use half::{bf16, f16};
use limpid_kernels::{DType, Number, Slice};

use crate::error::{Error, Result};
use crate::graph::Recording;
use crate::node::Node;
use crate::op::Op;
use crate::shape::Shape;
use crate::tensor::{Tensor, numbers};

/// A tensor of the interpreter: one number for each element, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Type of the elements; every number is one that the type can hold.
    pub dtype: DType,
    /// Sizes.
    pub shape: Shape,
    /// The elements.
    pub data: Vec<Number>,
}

impl Array {
    /// `n` rounded to a value of `dtype`, as torch casts.
    pub(crate) fn round(dtype: DType, n: Number) -> Number {
        match dtype {
            DType::Bool => Number::Int(i64::from(n.as_f64() != 0.0)),
            DType::U8 => Number::Int(i64::from(n.as_i64() as u8)),
            DType::I32 => Number::Int(i64::from(n.as_i64() as i32)),
            DType::I64 => Number::Int(n.as_i64()),
            // Through f32, in which the halves are computed, and through which torch casts from f64.
            DType::F16 => Number::Float(f16::from_f32(n.as_f64() as f32).to_f64()),
            DType::BF16 => Number::Float(bf16::from_f32(n.as_f64() as f32).to_f64()),
            DType::F32 => Number::Float(f64::from(n.as_f64() as f32)),
            DType::F64 => Number::Float(n.as_f64()),
        }
    }

    pub(crate) fn filled(shape: Shape, dtype: DType, n: Number) -> Array {
        Array { data: vec![Array::round(dtype, n); shape.elements()], dtype, shape }
    }

    /// The index tuple of the element at `flat`.
    fn unravel(shape: &Shape, mut flat: usize) -> Vec<usize> {
        let mut at = vec![0; shape.rank()];
        for i in (0..shape.rank()).rev() {
            at[i] = flat % shape[i];
            flat /= shape[i];
        }
        at
    }

    fn ravel(&self, at: &[usize]) -> usize {
        at.iter().zip(self.shape.iter()).fold(0, |flat, (&i, &size)| flat * size + i)
    }

    pub(crate) fn from_fn(shape: Shape, dtype: DType, mut f: impl FnMut(&[usize]) -> Number) -> Array {
        let data = (0..shape.elements()).map(|i| f(&Array::unravel(&shape, i))).collect();
        Array { dtype, shape, data }
    }

    pub(crate) fn get(&self, at: &[usize]) -> Number {
        self.data[self.ravel(at)]
    }

    pub(crate) fn set(&mut self, at: &[usize], n: Number) {
        let i = self.ravel(at);
        self.data[i] = n;
    }

    /// Adds without rounding; see [`Array::rounded`].
    pub(crate) fn add(&mut self, at: &[usize], n: Number) {
        let i = self.ravel(at);
        self.data[i] = match (self.data[i], n) {
            (Number::Int(a), Number::Int(b)) => Number::Int(a.wrapping_add(b)),
            (a, b) => Number::Float(a.as_f64() + b.as_f64()),
        };
    }

    pub(crate) fn for_each(&self, mut f: impl FnMut(&[usize], Number)) {
        for (i, &n) in self.data.iter().enumerate() {
            f(&Array::unravel(&self.shape, i), n);
        }
    }

    pub(crate) fn map(&self, dtype: DType, f: impl Fn(Number) -> Number) -> Array {
        let data = self.data.iter().map(|&n| Array::round(dtype, f(n))).collect();
        Array { dtype, shape: self.shape.clone(), data }
    }

    pub(crate) fn zip(&self, other: &Array, dtype: DType, mut f: impl FnMut(Number, Number) -> Number) -> Array {
        let data = self.data.iter().zip(&other.data).map(|(&a, &b)| Array::round(dtype, f(a, b))).collect();
        Array { dtype, shape: self.shape.clone(), data }
    }

    /// Every element rounded to the type.
    pub(crate) fn rounded(self) -> Array {
        self.map(self.dtype, |n| n)
    }

    pub(crate) fn cast(&self, dtype: DType) -> Array {
        self.map(dtype, |n| n)
    }

    pub(crate) fn of_bytes(shape: &Shape, dtype: DType, bytes: &[u8]) -> Array {
        Array { dtype, shape: shape.clone(), data: numbers(Slice::new(dtype, bytes)).collect() }
    }

    /// The elements as floats.
    pub fn floats(&self) -> Vec<f64> {
        self.data.iter().map(|n| n.as_f64()).collect()
    }
}

/// What `tensors` are, by the interpreter alone: no kernel, pass or plan takes part.
///
/// Leaves are what they hold; everything else is computed again from them where its structure is still
/// recorded. Nothing is stored in the tensors, and pending assignments do not run.
pub fn evaluate(tensors: &[&Tensor]) -> Result<Vec<Array>> {
    for t in tensors {
        if let Some(error) = t.error() {
            return Err(error);
        }
    }
    let roots: Vec<_> = tensors.iter().map(|t| t.node.clone()).collect();
    let recording = Recording::collect(&roots, |_| false);
    let results = interpret(&recording, HashMap::new(), 0)?;
    Ok(tensors.iter().map(|t| results[&t.node.id][0].clone()).collect())
}

/// Evaluates the nodes of `recording` in order; `bound` gives the values of placeholders by node id, and
/// `shift` is added to random counters.
pub(crate) fn interpret(
    recording: &Recording,
    bound: HashMap<u64, Array>,
    shift: u64,
) -> Result<HashMap<u64, Vec<Array>>> {
    let mut results: HashMap<u64, Vec<Array>> = bound.into_iter().map(|(id, array)| (id, vec![array])).collect();
    for (i, node) in recording.nodes.iter().enumerate() {
        if results.contains_key(&node.id) {
            continue;
        }
        let inputs = recording.inputs(i).iter().map(|&j| &recording.nodes[j as usize]);
        let value = match &node.op {
            Op::Part(part) => {
                let parent = inputs.map(|n| n.id).next().expect("a part has a whole");
                vec![results[&parent][*part as usize].clone()]
            }
            Op::Cell(cell) => {
                let state = cell.state();
                let buffer = state.value.as_ref().ok_or_else(|| Error::new("a buffer without a value"))?;
                vec![Array::of_bytes(&node.shape, node.dtype, buffer.bytes())]
            }
            Op::Input(_) => return Err(Error::new("read: the value is not known while a region is recorded")),
            _ if node.inputs().is_empty() && node.has_value() => vec![held(node)],
            op => {
                let arrays: Vec<&Array> = inputs.map(|n| &results[&n.id][0]).collect();
                op.reference(&arrays, &node.shape, node.dtype, shift).map_err(|e| e.at(&node.origin))?
            }
        };
        results.insert(node.id, value);
    }
    Ok(results)
}

fn held(node: &Node) -> Array {
    let buffer = node.value().expect("checked by the caller");
    Array::of_bytes(&node.shape, node.dtype, buffer.bytes())
}
