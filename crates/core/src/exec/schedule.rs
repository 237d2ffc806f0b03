//! The order of the steps: that of the recording, but for what is written in place. That is written as soon as it may
//! be: after its last reader and every check. So a gradient lives until its parameter's update, not until all are known.

use std::collections::BinaryHeap;

use crate::compound::Compound;
use crate::exec::arena::{Class, Graph, NodeId, class};
use crate::exec::fuse::Cluster;
use crate::graph::IdMap;
use crate::op::{Mark, Op};
use crate::testing::{Fault, planted};
use limpid_kernels::fused::BinaryFn;

/// Clusters in order, and which of the wishes (output, its node, bound value to write it over) are granted.
///
/// A wish is refused when someone must read the old value after the new one is there: then the result gets
/// memory of its own, which replaces the old one when the run has succeeded.
pub(crate) fn schedule(
    graph: &Graph,
    clusters: &[Cluster],
    of: &[Option<usize>],
    wishes: &[(usize, NodeId, u32)],
) -> (Vec<usize>, Vec<(usize, u32)>) {
    let mut edges = Edges::new(graph, clusters, of);
    let readers = readers(graph, of);
    let mut granted = Vec::new();
    for &(output, node, bound) in wishes {
        let writer = of[node.index()].expect("an output is computed");
        let nobody = Vec::new();
        let readers = readers.get(&u64::from(bound)).unwrap_or(&nobody);
        let own = readers.contains(&writer);
        let before: Vec<usize> =
            readers.iter().copied().chain(edges.fallible.iter().copied()).filter(|&c| c != writer).collect();
        let possible = !edges.fallible.contains(&writer)
            && (!own || writes_where_it_reads(graph, &clusters[writer], node, bound))
            && edges.none_follows(writer, &before);
        if possible {
            if !planted(Fault::EarlyWrite) {
                before.iter().for_each(|&c| edges.add(c, writer));
            }
            granted.push((output, bound));
            edges.rank[writer] = 0;
        }
    }
    edges.hasten(graph, of);
    (edges.order(), granted)
}

struct Edges {
    /// The clusters that come after each.
    next: Vec<Vec<usize>>,
    /// The place in the recording of each cluster.
    rank: Vec<u32>,
    fallible: Vec<usize>,
    used: Vec<bool>,
}

impl Edges {
    fn new(graph: &Graph, clusters: &[Cluster], of: &[Option<usize>]) -> Edges {
        let n = clusters.len();
        let mut edges =
            Edges { next: vec![Vec::new(); n], rank: vec![0; n], fallible: Vec::new(), used: vec![false; n] };
        let below = bases(graph);
        for (i, node) in graph.nodes.iter().enumerate() {
            let Some(c) = of[i] else { continue };
            edges.used[c] = true;
            edges.rank[c] = edges.rank[c].max(i as u32);
            let checks = may_fail(&node.op, node.dtype.is_float()) && !planted(Fault::UncheckedWrite);
            if checks && !edges.fallible.contains(&c) {
                edges.fallible.push(c);
            }
            for input in &node.inputs {
                if let Some(p) = of[below[input.index()].index()].filter(|&p| p != c) {
                    edges.add(p, c);
                }
            }
        }
        edges
    }

    fn add(&mut self, from: usize, to: usize) {
        if !self.next[from].contains(&to) {
            self.next[from].push(to);
        }
    }

    /// Whether no path leads from `from` to one of `others`.
    fn none_follows(&self, from: usize, others: &[usize]) -> bool {
        let mut seen = vec![false; self.next.len()];
        let mut stack = vec![from];
        while let Some(c) = stack.pop() {
            if !std::mem::replace(&mut seen[c], true) {
                stack.extend(&self.next[c]);
            }
        }
        others.iter().all(|&c| !seen[c])
    }

    /// Lets what computes single numbers come as soon as it can, so that nothing waits for an optimizer's rates.
    fn hasten(&mut self, graph: &Graph, of: &[Option<usize>]) {
        let mut small = vec![true; self.next.len()];
        for (i, node) in graph.nodes.iter().enumerate() {
            if let Some(c) = of[i] {
                small[c] &= node.shape.elements() <= 1 && class(&node.op) == Class::Elementwise;
            }
        }
        self.rank.iter_mut().zip(small).filter(|(_, small)| *small).for_each(|(rank, _)| *rank = 0);
    }

    /// All clusters; of those that may come next, the one recorded first.
    fn order(&self) -> Vec<usize> {
        let mut waits = vec![0u32; self.next.len()];
        self.next.iter().flatten().for_each(|&c| waits[c] += 1);
        let ready = |c: usize| std::cmp::Reverse((self.rank[c], c));
        let mut heap: BinaryHeap<_> = (0..waits.len()).filter(|&c| self.used[c] && waits[c] == 0).map(ready).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(std::cmp::Reverse((_, c))) = heap.pop() {
            order.push(c);
            for &next in &self.next[c] {
                waits[next] -= 1;
                if waits[next] == 0 {
                    heap.push(ready(next));
                }
            }
        }
        debug_assert_eq!(order.len(), self.used.iter().filter(|u| **u).count(), "the order has a cycle");
        order
    }
}

/// The clusters that read each bound value.
fn readers(graph: &Graph, of: &[Option<usize>]) -> IdMap<Vec<usize>> {
    let below = bases(graph);
    let mut readers: IdMap<Vec<usize>> = IdMap::default();
    for (i, node) in graph.nodes.iter().enumerate() {
        let Some(c) = of[i] else { continue };
        for input in &node.inputs {
            if let Op::Input(bound) = graph.node(below[input.index()]).op {
                let list = readers.entry(u64::from(bound)).or_default();
                if !list.contains(&c) {
                    list.push(c);
                }
            }
        }
    }
    readers
}

/// For each node the one whose memory it shows.
fn bases(graph: &Graph) -> Vec<NodeId> {
    let mut bases: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    for (i, node) in graph.nodes.iter().enumerate() {
        let own = NodeId(i as u32);
        bases.push(if class(&node.op) == Class::View { bases[node.inputs[0].index()] } else { own });
    }
    bases
}

/// Whether an operation checks values and may refuse them.
fn may_fail(op: &Op, float: bool) -> bool {
    match op {
        Op::Scatter { checked, .. } => !checked,
        Op::Gather { .. } | Op::Mark(Mark::Finite(_)) => true,
        Op::Binary(
            BinaryFn::Div | BinaryFn::DivTrunc | BinaryFn::DivFloor | BinaryFn::RemTrunc | BinaryFn::RemFloor,
        ) => !float,
        Op::Call(compound) => Compound::may_fail(compound.as_ref()),
        // A body may hold any of these.
        Op::Region(_) | Op::Loop(_) | Op::Branch(_) => true,
        _ => false,
    }
}

/// Whether the cluster that computes `node` reads the bound value only at the element it writes, or is a
/// write into it.
fn writes_where_it_reads(graph: &Graph, cluster: &Cluster, node: NodeId, bound: u32) -> bool {
    let is_bound = |mut id: NodeId| {
        // A reshape of a bound value is the same elements in the same order.
        while matches!(graph.node(id).op, Op::Reshape) {
            id = graph.node(id).inputs[0];
        }
        matches!(graph.node(id).op, Op::Input(n) if n == bound)
    };
    let through_view = |id: NodeId| {
        let mut id = id;
        while class(&graph.node(id).op) == Class::View {
            id = graph.node(id).inputs[0];
        }
        is_bound(id)
    };
    match cluster.head {
        None => cluster.members.iter().all(|m| graph.node(*m).inputs.iter().all(|&i| is_bound(i) || !through_view(i))),
        Some(head) => {
            let h = graph.node(head);
            let writes = matches!(h.op, Op::Write { .. } | Op::Scatter { .. });
            let base = writes && head == node && is_bound(h.inputs[0]);
            base && h.inputs[1..].iter().all(|&i| !through_view(i))
        }
    }
}
