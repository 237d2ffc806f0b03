//! The graph that is compiled: nodes in a vector, named by typed indices, in topological order.

use smallvec::SmallVec;

use crate::error::Result;
use crate::graph::{IdMap, Recording};
use crate::op::{Arg, Mark, Op};
use crate::region::{Meta, Region};
use crate::shape::Shape;
use limpid_kernels::DType;

/// A node of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) u32);

impl NodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The inputs of a node.
pub(crate) type Edges = SmallVec<[NodeId; 3]>;

/// One operation of a graph that is being compiled.
#[derive(Clone, Debug)]
pub(crate) struct GNode {
    /// [`Op::Input`] for whatever is bound when the plan runs.
    pub(crate) op: Op,
    pub(crate) inputs: Edges,
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    /// The first of its numbers of the host.
    pub(crate) args: u32,
    /// Where it stands in the recording: for messages.
    pub(crate) source: u32,
}

impl GNode {
    pub(crate) fn meta(&self) -> Meta {
        (self.shape.clone(), self.dtype)
    }
}

/// Nodes in topological order, and which of them are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<GNode>,
    pub(crate) outputs: Vec<NodeId>,
}

impl Graph {
    pub(crate) fn push(&mut self, node: GNode) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() as u32 - 1)
    }

    pub(crate) fn node(&self, id: NodeId) -> &GNode {
        &self.nodes[id.index()]
    }

    /// The graph of a region, whose numbers of the host begin at `args`; all nodes stand at `source`.
    pub(crate) fn of_region(region: &Region, args: u32, source: u32) -> Graph {
        let mut graph = Graph::default();
        let mut next_arg = args;
        let mut map: IdMap<NodeId> = IdMap::default();
        for (i, place) in region.inputs.iter().enumerate() {
            let node = GNode {
                op: Op::Input(i as u32),
                inputs: Edges::new(),
                shape: place.shape.clone(),
                dtype: place.dtype,
                args: 0,
                source,
            };
            map.insert(place.id, graph.push(node));
        }
        graph.append(&region.recording, &mut map, &mut next_arg, |_| source);
        graph.outputs = region.outputs.iter().map(|o| map[&o.id]).collect();
        graph
    }

    /// Appends the nodes of `recording` that `map` does not bind yet.
    pub(crate) fn append(
        &mut self,
        recording: &Recording,
        map: &mut IdMap<NodeId>,
        next_arg: &mut u32,
        source: impl Fn(u32) -> u32,
    ) {
        let mut numbers: Vec<Arg> = Vec::new();
        for (i, node) in recording.nodes.iter().enumerate() {
            if map.contains_key(&node.id) {
                continue;
            }
            numbers.clear();
            node.op.host(&mut numbers);
            let first = *next_arg;
            *next_arg += numbers.len() as u32;
            let inputs = recording.inputs(i).iter().map(|&j| map[&recording.nodes[j as usize].id]).collect();
            let id = self.push(GNode {
                op: node.op.clone(),
                inputs,
                shape: node.shape.clone(),
                dtype: node.dtype,
                args: first,
                source: source(i as u32),
            });
            map.insert(node.id, id);
        }
    }

    /// Puts `inner`, whose inputs are `inputs`, into this graph; returns where its outputs are.
    pub(crate) fn splice(&mut self, inner: &Graph, inputs: &[NodeId]) -> Vec<NodeId> {
        let mut map: Vec<NodeId> = Vec::with_capacity(inner.nodes.len());
        for node in &inner.nodes {
            let id = match node.op {
                Op::Input(i) => inputs[i as usize],
                _ => self.push(GNode { inputs: node.inputs.iter().map(|j| map[j.index()]).collect(), ..node.clone() }),
            };
            map.push(id);
        }
        inner.outputs.iter().map(|o| map[o.index()]).collect()
    }

    /// Rebuilds the graph node by node: `f` appends to the new graph what stands for a node, given its new
    /// inputs.
    pub(crate) fn rebuild(&self, mut f: impl FnMut(&mut Graph, &GNode, Edges) -> Result<NodeId>) -> Result<Graph> {
        let mut new = Graph::default();
        let mut map: Vec<NodeId> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs = node.inputs.iter().map(|j| map[j.index()]).collect();
            map.push(f(&mut new, node, inputs)?);
        }
        new.outputs = self.outputs.iter().map(|o| map[o.index()]).collect();
        Ok(new)
    }

    /// Without the nodes that no output needs. Inputs stay.
    pub(crate) fn alive(&self) -> Graph {
        let mut live = vec![false; self.nodes.len()];
        self.outputs.iter().for_each(|o| live[o.index()] = true);
        for i in (0..self.nodes.len()).rev() {
            if live[i] {
                self.nodes[i].inputs.iter().for_each(|j| live[j.index()] = true);
            }
        }
        let mut new = Graph::default();
        let mut map = vec![NodeId(u32::MAX); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            if live[i] {
                let inputs = node.inputs.iter().map(|j| map[j.index()]).collect();
                map[i] = new.push(GNode { inputs, ..node.clone() });
            }
        }
        new.outputs = self.outputs.iter().map(|o| map[o.index()]).collect();
        new
    }
}

/// How a node comes to its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Bound from outside.
    Input,
    /// A number, or the index along an axis: never stored.
    Source,
    /// Other strides over the same memory.
    View,
    /// May join a fused kernel.
    Elementwise,
    /// A reduction, which may take elementwise nodes in.
    Reduce,
    /// A matrix product, which may take an epilogue.
    Dot,
    /// One result of the node before.
    Part,
    /// A kernel of its own.
    Kernel,
}

pub(crate) fn class(op: &Op) -> Class {
    match op {
        Op::Leaf | Op::Cell(_) | Op::Input(_) => Class::Input,
        Op::Const(_) | Op::Scalar(_) | Op::Iota { .. } => Class::Source,
        Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Cast | Op::BitCast | Op::Random { .. } => Class::Elementwise,
        Op::Mark(Mark::Copy) => Class::Elementwise,
        Op::Reshape | Op::Permute(_) | Op::Broadcast | Op::Slice { .. } | Op::Window { .. } => Class::View,
        Op::Reduce { .. } => Class::Reduce,
        Op::Dot => Class::Dot,
        Op::Part(_) => Class::Part,
        Op::Mark(Mark::Detach | Mark::Watch | Mark::Tap(_)) => Class::View,
        Op::Mark(Mark::Finite(_))
        | Op::Pad { .. }
        | Op::Concat { .. }
        | Op::OverlapAdd { .. }
        | Op::Write { .. }
        | Op::Scan { .. }
        | Op::Sort { .. }
        | Op::Gather { .. }
        | Op::Scatter { .. }
        | Op::Call(_)
        | Op::Region(_)
        | Op::Loop(_)
        | Op::Branch(_) => Class::Kernel,
    }
}
