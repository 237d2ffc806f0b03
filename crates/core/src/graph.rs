//! The part of the record that one evaluation needs, in order, and the key of its structure.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::node::Node;
use crate::op::Arg;

/// Node ids are their own hash, spread by one multiplication.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(u64::from(b)));
    }
    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}

/// A map by node id.
pub(crate) type IdMap<V> = HashMap<u64, V, BuildHasherDefault<IdHasher>>;

/// The nodes below some roots, in the order of recording, which is a topological order.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) nodes: Vec<Arc<Node>>,
    edges: Vec<u32>,
    /// Where each node's edges end.
    ends: Vec<u32>,
    index: IdMap<u32>,
}

impl Recording {
    /// Everything that `roots` are computed from; below nodes for which `stop` holds nothing is looked at.
    pub(crate) fn collect(roots: &[Arc<Node>], stop: impl Fn(&Node) -> bool) -> Recording {
        let mut index: IdMap<u32> = IdMap::default();
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        let mut found: Vec<(u64, u32, u32)> = Vec::new();
        let mut children: Vec<u64> = Vec::new();
        let mut stack: Vec<Arc<Node>> = roots.to_vec();
        while let Some(node) = stack.pop() {
            if index.insert(node.id, 0).is_some() {
                continue;
            }
            let start = children.len() as u32;
            if !stop(&node) {
                for input in &node.state().inputs {
                    children.push(input.id);
                    if !index.contains_key(&input.id) {
                        stack.push(input.clone());
                    }
                }
            }
            found.push((node.id, start, nodes.len() as u32));
            nodes.push(node);
        }
        let counts: Vec<u32> = found
            .iter()
            .enumerate()
            .map(|(i, f)| found.get(i + 1).map_or(children.len() as u32, |next| next.1) - f.1)
            .collect();
        let mut order: Vec<u32> = (0..found.len() as u32).collect();
        order.sort_unstable_by_key(|&i| found[i as usize].0);
        for (position, &i) in order.iter().enumerate() {
            *index.get_mut(&found[i as usize].0).expect("inserted above") = position as u32;
        }
        let mut recording = Recording { edges: Vec::with_capacity(children.len()), index, ..Recording::default() };
        recording.ends.reserve(order.len());
        for &i in &order {
            let start = found[i as usize].1 as usize;
            let list = &children[start..start + counts[i as usize] as usize];
            recording.edges.extend(list.iter().map(|id| recording.index[id]));
            recording.ends.push(recording.edges.len() as u32);
        }
        recording.nodes = order.iter().map(|&i| nodes[i as usize].clone()).collect();
        recording
    }

    /// The inputs of the i-th node, as indices.
    pub(crate) fn inputs(&self, i: usize) -> &[u32] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.edges[start..self.ends[i] as usize]
    }

    /// Where `node` stands, when it is here.
    pub(crate) fn position(&self, node: &Node) -> Option<u32> {
        self.index.get(&node.id).copied()
    }

    /// Appends the structure to `key`: operations, attributes, shapes, types and edges, no values. A node that
    /// is bound from outside counts as which value it is, however it was computed.
    pub(crate) fn key(&self, key: &mut Vec<u64>, bound: impl Fn(usize) -> Option<u32>) {
        key.reserve(self.nodes.len() * 6);
        key.push(self.nodes.len() as u64);
        for (i, node) in self.nodes.iter().enumerate() {
            let inputs = self.inputs(i);
            key.push(node.dtype as u64 | (node.shape.rank() as u64) << 8 | (inputs.len() as u64) << 32);
            key.extend(node.shape.iter().map(|&size| size as u64));
            match bound(i) {
                Some(value) => key.push(u64::MAX - u64::from(value)),
                None => node.op.key(key),
            }
            key.extend(inputs.iter().map(|&j| u64::from(j)));
        }
    }

    /// Appends the numbers of the host in order.
    pub(crate) fn host(&self, args: &mut Vec<Arg>) {
        for node in &self.nodes {
            node.op.host(args);
        }
    }
}
