//! Regions: pieces of graph with inputs of their own, run once (`call`), in a loop, or one of two.
//!
//! A region is recorded by running its closure once on placeholders. What the closure takes from
//! outside becomes further inputs, so that a region never holds on to the graph around it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

use limpid_kernels::{DType, Number};

use crate::error::{Error, Result};
use crate::graph::{IdMap, Recording};
use crate::node::{Inputs, Node};
use crate::op::{Arg, Op, source};
use crate::reference::{Array, interpret};
use crate::seeing;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Shape and type of a value.
pub(crate) type Meta = (Shape, DType);

/// A recorded piece of graph.
#[derive(Debug)]
pub(crate) struct Region {
    /// The placeholders.
    pub(crate) inputs: Vec<Arc<Node>>,
    /// The results.
    pub(crate) outputs: Vec<Arc<Node>>,
    /// Everything between, in order; also the placeholders that are used.
    pub(crate) recording: Recording,
}

thread_local! {
    /// The first thing that went wrong inside the region being recorded.
    static COMPLAINT: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Reports an error that no tensor carries to the region that is being recorded.
pub(crate) fn complain(error: Error) {
    COMPLAINT.with(|slot| {
        slot.borrow_mut().get_or_insert(error);
    });
}

impl Region {
    /// Records `f` on placeholders of `metas`. Returns the region, and the outside tensors that it uses:
    /// they are its inputs behind those of `metas`.
    pub(crate) fn record(metas: &[Meta], f: impl FnOnce(&[Tensor]) -> Vec<Tensor>) -> Result<(Region, Vec<Tensor>)> {
        let first = crate::node::next_id();
        let placeholders: Vec<Tensor> = metas
            .iter()
            .enumerate()
            .map(|(i, (shape, dtype))| source::input(i as u32, shape.clone(), *dtype))
            .collect();
        let outer = COMPLAINT.with(|slot| slot.borrow_mut().take());
        let outputs = seeing::unseen(|| f(&placeholders));
        let complaint = COMPLAINT.with(|slot| slot.replace(outer));
        if let Some(error) = complaint.or_else(|| outputs.iter().find_map(Tensor::error)) {
            return Err(error);
        }
        Ok(Region::close(first, placeholders, &outputs))
    }

    /// Turns what `outputs` take from outside, from nodes older than `first`, into inputs.
    fn close(first: u64, placeholders: Vec<Tensor>, outputs: &[Tensor]) -> (Region, Vec<Tensor>) {
        let roots: Vec<_> = outputs.iter().map(|t| t.node.clone()).collect();
        let recording = Recording::collect(&roots, |node| node.id < first);
        // What was recorded since belongs inside, but for what is bound to a value that lives outside.
        let inner: Vec<bool> = recording
            .nodes
            .iter()
            .map(|node| node.id >= first && !matches!(node.op, Op::Cell(_)) && !node.has_value())
            .collect();
        let mut used_inside: Vec<bool> =
            recording.nodes.iter().map(|n| roots.iter().any(|r| Arc::ptr_eq(r, n))).collect();
        for i in (0..inner.len()).filter(|&i| inner[i]) {
            recording.inputs(i).iter().for_each(|&j| used_inside[j as usize] = true);
        }
        let mut inputs: Vec<Arc<Node>> = placeholders.iter().map(|p| p.node.clone()).collect();
        let mut captured: Vec<Tensor> = Vec::new();
        let mut map: IdMap<Arc<Node>> = IdMap::default();
        for (i, node) in recording.nodes.iter().enumerate() {
            if !inner[i] && used_inside[i] {
                let place = source::input(inputs.len() as u32, node.shape.clone(), node.dtype);
                inputs.push(place.node.clone());
                captured.push(Tensor::hold(node.clone()));
                map.insert(node.id, place.node.clone());
            } else if inner[i] && recording.inputs(i).iter().any(|&j| map.contains_key(&recording.nodes[j as usize].id))
            {
                let from: Inputs = recording
                    .inputs(i)
                    .iter()
                    .map(|&j| &recording.nodes[j as usize])
                    .map(|n| map.get(&n.id).unwrap_or(n).clone())
                    .collect();
                map.insert(node.id, renewed(node, from));
            }
        }
        let outputs: Vec<_> = roots.iter().map(|r| map.get(&r.id).unwrap_or(r).clone()).collect();
        let recording = Recording::collect(&outputs, |_| false);
        (Region { inputs, outputs, recording }, captured)
    }

    /// Records the region's nodes again on `inputs`: the region written out.
    pub(crate) fn apply(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        if let Some(error) = inputs.iter().find_map(Tensor::error) {
            return self.outputs.iter().map(|o| Tensor::fail(error.clone(), &[], o.shape.clone(), o.dtype)).collect();
        }
        let mut map: IdMap<Arc<Node>> = IdMap::default();
        for (place, input) in self.inputs.iter().zip(inputs) {
            map.insert(place.id, input.node.clone());
        }
        for (i, node) in self.recording.nodes.iter().enumerate() {
            if map.contains_key(&node.id) {
                continue;
            }
            let from: Inputs =
                self.recording.inputs(i).iter().map(|&j| map[&self.recording.nodes[j as usize].id].clone()).collect();
            map.insert(node.id, renewed(node, from));
        }
        self.outputs.iter().map(|o| Tensor::hold(map[&o.id].clone())).collect()
    }

    /// Shapes and types of the results.
    pub(crate) fn metas(&self) -> Vec<Meta> {
        self.outputs.iter().map(|o| (o.shape.clone(), o.dtype)).collect()
    }

    pub(crate) fn key(&self, key: &mut Vec<u64>) {
        key.push(self.inputs.len() as u64);
        for input in &self.inputs {
            key.push(self.recording.position(input).map_or(u64::MAX, u64::from));
        }
        key.push(self.outputs.len() as u64);
        key.extend(self.outputs.iter().map(|o| u64::from(self.recording.position(o).expect("an output is recorded"))));
        self.recording.key(key, |_| None);
    }

    pub(crate) fn host(&self, args: &mut Vec<Arg>) {
        self.recording.host(args);
    }

    /// The results for `inputs` by the interpreter, with random counters shifted by `shift`.
    pub(crate) fn reference(&self, inputs: &[&Array], shift: u64) -> Result<Vec<Array>> {
        let bound: HashMap<u64, Array> =
            self.inputs.iter().zip(inputs).map(|(place, &array)| (place.id, array.clone())).collect();
        let results = interpret(&self.recording, bound, shift)?;
        Ok(self.outputs.iter().map(|o| results[&o.id][0].clone()).collect())
    }
}

/// What is added to the counters of random draws in step `step` of a loop, so that each step draws its own
/// numbers and a gradient's loop, which runs backwards, draws the same ones again.
pub(crate) fn counter_shift(step: usize) -> u64 {
    (step as u64 + 1) << 40
}

/// A copy of `node` on other inputs.
fn renewed(node: &Arc<Node>, inputs: Inputs) -> Arc<Node> {
    let _scope = crate::origin::resume(&node.origin);
    Node::new(node.op.clone(), inputs, node.shape.clone(), node.dtype, node.origin.at)
}

/// A region run once for each step of a sequence.
///
/// The region's inputs are the carried values, then one step of each sequence, then what it takes from
/// outside; its results are the new carried values, then what is stacked. The loop's inputs are the
/// first carried values, the sequences with the steps on axis 0, the number of steps if that is only
/// known at run time, and the outside values. Its results are the last carried values, the stacked
/// results, and the carried values at the beginning of each step, which the gradient needs.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) body: Arc<Region>,
    /// The number of steps, or its bound when the number is an input.
    pub(crate) steps: usize,
    pub(crate) carries: usize,
    pub(crate) sequences: usize,
    /// Whether the number of steps is an input.
    pub(crate) counted: bool,
    /// Whether the steps run from the last to the first.
    pub(crate) reverse: bool,
}

impl Loop {
    pub(crate) fn stacked(&self) -> usize {
        self.body.outputs.len() - self.carries
    }

    pub(crate) fn results(&self) -> usize {
        self.body.outputs.len() + self.carries
    }

    /// Shapes and types of all results.
    pub(crate) fn metas(&self) -> Vec<Meta> {
        let body = self.body.metas();
        let stack = |(shape, dtype): &Meta| (shape.inserted(0, self.steps), *dtype);
        let (carries, stacked) = body.split_at(self.carries);
        carries.iter().cloned().chain(stacked.iter().map(stack)).chain(carries.iter().map(stack)).collect()
    }

    pub(crate) fn key(&self, key: &mut Vec<u64>) {
        key.push(self.steps as u64);
        key.push(
            self.carries as u64
                | (self.sequences as u64) << 20
                | u64::from(self.counted) << 40
                | u64::from(self.reverse) << 41,
        );
        self.body.key(key);
    }

    pub(crate) fn reference(&self, inputs: &[&Array], shift: u64) -> Result<Vec<Array>> {
        let (carries, rest) = inputs.split_at(self.carries);
        let (sequences, rest) = rest.split_at(self.sequences);
        let (count, outside) = rest.split_at(usize::from(self.counted));
        let steps = count.first().map_or(self.steps, |n| (n.data[0].as_i64().max(0) as usize).min(self.steps));
        let mut carry: Vec<Array> = carries.iter().map(|&a| a.clone()).collect();
        let metas = self.metas();
        let mut stacks: Vec<Array> =
            metas[self.carries..].iter().map(|(s, d)| Array::filled(s.clone(), *d, Number::Int(0)).cast(*d)).collect();
        let put = |stack: &mut Array, t: usize, row: &Array| {
            let size = row.data.len();
            stack.data[t * size..(t + 1) * size].clone_from_slice(&row.data);
        };
        for i in 0..steps {
            let t = if self.reverse { steps - 1 - i } else { i };
            let rows: Vec<Array> = sequences
                .iter()
                .map(|s| {
                    let shape = s.shape.without(0);
                    let size = shape.elements();
                    Array { dtype: s.dtype, data: s.data[t * size..(t + 1) * size].to_vec(), shape }
                })
                .collect();
            let all: Vec<&Array> = carry.iter().chain(&rows).chain(outside.iter().copied()).collect();
            let results = self.body.reference(&all, shift.wrapping_add(counter_shift(t)))?;
            let stacked = self.stacked();
            for (stack, c) in stacks[stacked..].iter_mut().zip(&carry) {
                put(stack, t, c);
            }
            for (stack, row) in stacks.iter_mut().zip(&results[self.carries..]) {
                put(stack, t, row);
            }
            carry = results[..self.carries].to_vec();
        }
        Ok(carry.into_iter().chain(stacks).collect())
    }
}

/// One of two regions, by a condition known at run time. The regions take the same inputs.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) then: Arc<Region>,
    pub(crate) otherwise: Arc<Region>,
}

impl Branch {
    pub(crate) fn key(&self, key: &mut Vec<u64>) {
        self.then.key(key);
        self.otherwise.key(key);
    }

    pub(crate) fn reference(&self, inputs: &[&Array], shift: u64) -> Result<Vec<Array>> {
        let taken = if inputs[0].data[0].as_f64() != 0.0 { &self.then } else { &self.otherwise };
        taken.reference(&inputs[1..], shift)
    }
}

/// Records a node with several results and takes them apart.
#[track_caller]
pub(crate) fn parts(op: Op, inputs: &[&Tensor], metas: &[Meta]) -> Vec<Tensor> {
    let at = Location::caller();
    let (shape, dtype) = metas.first().cloned().unwrap_or((Shape::scalar(), DType::F32));
    let whole = Tensor::record(op, inputs, shape, dtype);
    metas
        .iter()
        .enumerate()
        .map(|(i, (shape, dtype))| match whole.error() {
            Some(error) => Tensor::hold(Node::failed(error, shape.clone(), *dtype, at)),
            None => {
                let inputs: Inputs = smallvec::smallvec![whole.node.clone()];
                Tensor::hold(Node::new(Op::Part(i as u32), inputs, shape.clone(), *dtype, at))
            }
        })
        .collect()
}

impl Region {
    /// Records two regions without placeholders of their own that take the same outside tensors.
    pub(crate) fn record_pair(
        first: impl FnOnce() -> Vec<Tensor>,
        second: impl FnOnce() -> Vec<Tensor>,
    ) -> Result<(Region, Region, Vec<Tensor>)> {
        let (mut a, mut outside) = Region::record(&[], |_| first())?;
        let (mut b, theirs) = Region::record(&[], |_| second())?;
        let blank = |t: &Tensor| source::input(0, t.shape().clone(), t.dtype()).node.clone();
        let mut places: Vec<Arc<Node>> = outside.iter().map(blank).collect();
        for (tensor, place) in theirs.into_iter().zip(std::mem::take(&mut b.inputs)) {
            match outside.iter().position(|t| Arc::ptr_eq(&t.node, &tensor.node)) {
                Some(i) => places[i] = place,
                None => {
                    a.inputs.push(blank(&tensor));
                    places.push(place);
                    outside.push(tensor);
                }
            }
        }
        b.inputs = places;
        Ok((a, b, outside))
    }
}
