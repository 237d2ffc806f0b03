//! Which nodes run together: chains of elementwise operations, with the reduction or the matrix product
//! that they belong to.
//!
//! Nodes are looked at backwards. An elementwise node joins a cluster when all nodes that use it are in
//! that cluster and have its shape: then no path leaves and comes back, so no cycle can arise. What others
//! use as well is computed once and stored.

use crate::exec::arena::{Class, Graph, NodeId, class};
use limpid_kernels::DType;

/// A group of nodes that one step computes.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// What the step is beside its elementwise part: a reduction, a product, a kernel; none for a chain.
    pub(crate) head: Option<NodeId>,
    /// The elementwise nodes in topological order: before a reduction, behind a product.
    pub(crate) members: Vec<NodeId>,
}

/// A kernel of more instructions than this would not keep its registers in the cache.
const LONGEST: usize = 64;

/// The clusters of `graph`, and which one computes each node. What is in `over` is to be written over the old
/// value of a cell that it reads.
pub(crate) fn clusters(graph: &Graph, over: &[NodeId]) -> (Vec<Cluster>, Vec<Option<usize>>) {
    let n = graph.nodes.len();
    let mut users: Vec<Vec<NodeId>> = vec![Vec::new(); n];
    for (i, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|j| users[j.index()].push(NodeId(i as u32)));
    }
    let mut wanted = vec![false; n];
    graph.outputs.iter().for_each(|o| wanted[o.index()] = true);
    let mut of: Vec<Option<usize>> = vec![None; n];
    let mut clusters: Vec<Cluster> = Vec::new();
    for i in (0..n).rev() {
        let id = NodeId(i as u32);
        match class(&graph.nodes[i].op) {
            Class::Input | Class::Source | Class::View | Class::Part => {}
            Class::Elementwise => {
                let joined = consumer(graph, &clusters, &of, &users[i], id, wanted[i]);
                let c = joined.unwrap_or_else(|| {
                    clusters.push(Cluster { head: None, members: Vec::new() });
                    clusters.len() - 1
                });
                clusters[c].members.push(id);
                of[i] = Some(c);
            }
            Class::Reduce | Class::Dot | Class::Kernel => {
                clusters.push(Cluster { head: Some(id), members: Vec::new() });
                of[i] = Some(clusters.len() - 1);
            }
        }
    }
    clusters.iter_mut().for_each(|c| c.members.reverse());
    for i in 0..n {
        if class(&graph.nodes[i].op) == Class::Part {
            of[i] = of[graph.nodes[i].inputs[0].index()];
        }
    }
    join_epilogues(graph, &mut clusters, &mut of, &users, &wanted, over);
    (clusters, of)
}

/// The cluster that all users of `id` are in, when it can take it.
fn consumer(
    graph: &Graph,
    clusters: &[Cluster],
    of: &[Option<usize>],
    users: &[NodeId],
    id: NodeId,
    wanted: bool,
) -> Option<usize> {
    let c = of[users.first()?.index()]?;
    let node = graph.node(id);
    let fits = users.iter().all(|&user| {
        let u = graph.node(user);
        of[user.index()] == Some(c)
            && match class(&u.op) {
                Class::Elementwise => u.shape == node.shape,
                // The head of the cluster: its only input is what it reduces.
                Class::Reduce => true,
                _ => false,
            }
    });
    let reduces = clusters[c].head.is_some();
    (fits && !(reduces && wanted) && clusters[c].members.len() < LONGEST).then_some(c)
}

/// act(a·b + bias) → the chain runs on the product's tiles while they are in registers or cache.
fn join_epilogues(
    graph: &Graph,
    clusters: &mut [Cluster],
    of: &mut [Option<usize>],
    users: &[Vec<NodeId>],
    wanted: &[bool],
    over: &[NodeId],
) {
    for d in 0..clusters.len() {
        let Some(dot) = clusters[d].head.filter(|&h| class(&graph.node(h).op) == Class::Dot) else { continue };
        let Some(chain) = users[dot.index()].first().and_then(|u| of[u.index()]) else { continue };
        let node = graph.node(dot);
        let inside = |u: &NodeId| {
            of[u.index()] == Some(chain)
                && class(&graph.node(*u).op) == Class::Elementwise
                && graph.node(*u).shape == node.shape
        };
        let fits = node.dtype == DType::F32
            && !wanted[dot.index()]
            && clusters[chain].head.is_none()
            && users[dot.index()].iter().all(inside);
        if !fits {
            continue;
        }
        let leaves = |m: &&NodeId| {
            wanted[m.index()]
                || users[m.index()]
                    .iter()
                    .any(|u| of[u.index()] != Some(chain) || class(&graph.node(*u).op) == Class::View)
        };
        let mut results = clusters[chain].members.iter().filter(leaves);
        let (Some(result), None) = (results.next(), results.next()) else { continue };
        // A product gathers its sums in the memory of the result: the old value would be gone.
        if graph.node(*result).dtype != DType::F32 || over.contains(result) {
            continue;
        }
        let members = std::mem::take(&mut clusters[chain].members);
        members.iter().for_each(|m| of[m.index()] = Some(d));
        clusters[d].members = members;
    }
}
