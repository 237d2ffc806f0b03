//! The part of the record that one evaluation needs, in order, and the key of its structure.

use std::cell::RefCell;
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

/// The nodes below some roots in a topological order: that of recording, but that those without inputs stand before the
/// first that reads them. So the order does not depend on when the leaf of a parameter was made, which another thread may
/// have kept from an earlier step.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) nodes: Vec<Arc<Node>>,
    /// The ids in the order of recording, and where their nodes stand.
    ids: Vec<u64>,
    places: Vec<u32>,
    edges: Vec<u32>,
    /// Where each node's edges end.
    ends: Vec<u32>,
}

/// Where `id`, an input of the `i`-th node, stands: mostly right before it.
fn below(ids: &[u64], i: usize, id: u64) -> u32 {
    let near = i.saturating_sub(4);
    let found = ids[near..i].iter().rposition(|&other| other == id).map(|at| near + at);
    found.unwrap_or_else(|| ids.binary_search(&id).expect("met by the walk")) as u32
}

/// What a walk writes on, kept by each thread: a step makes a few of them.
#[derive(Default)]
struct Scratch {
    found: Vec<Found>,
    children: Vec<u64>,
    stack: Vec<Arc<Node>>,
}

/// The paper of a walk over more edges than this is thrown away.
const SCRATCH_LIMIT: usize = 1 << 16;

/// Of a node whose place is not known yet.
const UNPLACED: u32 = u32::MAX;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A node that a walk has met.
struct Found {
    id: u64,
    node: Arc<Node>,
    /// Its inputs in the list of the walk.
    first: u32,
    count: u32,
}

impl Recording {
    /// Everything that `roots` are computed from; below nodes for which `stop` holds nothing is looked at.
    pub(crate) fn collect(roots: &[Arc<Node>], stop: impl Fn(&Node) -> bool) -> Recording {
        let walk = crate::node::new_walk();
        let mut scratch = SCRATCH.take();
        let Scratch { found, children, stack } = &mut scratch;
        for root in roots {
            stack.push(root.clone());
            while let Some(node) = stack.pop() {
                if !node.visit(walk) {
                    continue;
                }
                let first = children.len() as u32;
                if !stop(&node) {
                    for input in &node.state().inputs {
                        children.push(input.id);
                        if !input.visited(walk) {
                            stack.push(input.clone());
                        }
                    }
                }
                found.push(Found { id: node.id, node, first, count: children.len() as u32 - first });
            }
        }
        // Mostly met from the newest to the oldest.
        found.reverse();
        found.sort_unstable_by_key(|f| f.id);
        // Another thread's walk may have taken a mark away, so that a node was met twice.
        found.dedup_by_key(|f| f.id);
        let ids: Vec<u64> = found.iter().map(|f| f.id).collect();
        let mut recording = Recording {
            nodes: Vec::with_capacity(found.len()),
            edges: Vec::with_capacity(children.len()),
            ends: Vec::with_capacity(found.len()),
            places: vec![UNPLACED; found.len()],
            ids,
        };
        for (i, f) in found.iter().enumerate().filter(|(_, f)| f.count > 0) {
            let inputs = &mut children[f.first as usize..(f.first + f.count) as usize];
            for input in &mut *inputs {
                let at = below(&recording.ids, i, *input);
                recording.leaf(at as usize, found);
                *input = u64::from(at);
            }
            recording.edges.extend(inputs.iter().map(|&at| recording.places[at as usize]));
            recording.push(i, found);
        }
        // What nothing here reads was asked for itself.
        (0..found.len()).for_each(|i| recording.leaf(i, found));
        found.clear();
        children.clear();
        if children.capacity() <= SCRATCH_LIMIT {
            SCRATCH.set(scratch);
        }
        recording
    }

    /// Lets the i-th node that was found follow, whose edges are there.
    fn push(&mut self, i: usize, found: &[Found]) {
        self.places[i] = self.nodes.len() as u32;
        self.nodes.push(found[i].node.clone());
        self.ends.push(self.edges.len() as u32);
    }

    /// The same for a node without inputs, unless it is there.
    fn leaf(&mut self, i: usize, found: &[Found]) {
        if self.places[i] == UNPLACED {
            self.push(i, found);
        }
    }

    /// The inputs of the i-th node, as indices.
    pub(crate) fn inputs(&self, i: usize) -> &[u32] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.edges[start..self.ends[i] as usize]
    }

    /// Where `node` stands, when it is here.
    pub(crate) fn position(&self, node: &Node) -> Option<u32> {
        self.ids.binary_search(&node.id).ok().map(|i| self.places[i])
    }

    /// Appends the structure to `key`: operations, attributes, shapes, types and edges, no values. A node that
    /// is bound from outside counts as which value it is, however it was computed.
    pub(crate) fn key(&self, key: &mut Vec<u64>, bound: impl Fn(usize) -> Option<u32>) {
        key.reserve(self.nodes.len() * 6);
        key.push(self.nodes.len() as u64);
        crate::testing::key(key);
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
