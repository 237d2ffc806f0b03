//! Puts the bodies of compounds without a kernel in their place, and drops identities.

use crate::compound::body_region;
use crate::config::config;
use crate::error::Result;
use crate::exec::arena::{Edges, GNode, Graph, NodeId};
use crate::op::{Mark, Op};
use crate::region::Meta;
use crate::testing::bodies_forced;

/// relu(x) → select(x ≤ 0, 0, x); detach(x) → x
pub(crate) fn inline(graph: &Graph) -> Result<Graph> {
    // What stands for the results of an inlined call, by the call's new id.
    let mut results: Vec<(NodeId, Vec<NodeId>)> = Vec::new();
    graph.rebuild(|new, node, inputs| match &node.op {
        Op::Mark(Mark::Detach | Mark::Watch | Mark::Tap(_)) => Ok(inputs[0]),
        Op::Part(i) => Ok(match results.iter().find(|(call, _)| *call == inputs[0]) {
            Some((_, parts)) => parts[*i as usize],
            None => new.push(GNode { inputs, ..node.clone() }),
        }),
        Op::Call(compound) => {
            let metas: Vec<Meta> = inputs.iter().map(|&i| new.node(i).meta()).collect();
            let named = |n: &String| n == "all" || n == compound.name();
            let asked = bodies_forced() || config().inline.iter().any(named);
            if compound.has_kernel(&metas) && !asked {
                return Ok(new.push(GNode { inputs, ..node.clone() }));
            }
            let parts = expand(new, node, &inputs)?;
            // The call's own id is asked for by its parts only; a fresh one keeps two calls apart.
            let id = marker(new, parts[0]);
            results.push((id, parts));
            Ok(id)
        }
        _ => Ok(new.push(GNode { inputs, ..node.clone() })),
    })
}

/// The results of the body, itself inlined, appended to `new`.
fn expand(new: &mut Graph, node: &GNode, inputs: &Edges) -> Result<Vec<NodeId>> {
    let Op::Call(compound) = &node.op else { unreachable!("only calls are expanded") };
    let metas: Vec<Meta> = inputs.iter().map(|&i| new.node(i).meta()).collect();
    let region = body_region(compound.as_ref(), &metas)?;
    let body = inline(&Graph::of_region(&region, node.args, node.source))?;
    Ok(new.splice(&body, inputs))
}

/// A node of its own with the shape of `like`, which nothing but parts refers to: it dies with them.
fn marker(new: &mut Graph, like: NodeId) -> NodeId {
    let node = GNode { op: Op::Mark(Mark::Copy), inputs: smallvec::smallvec![like], ..new.node(like).clone() };
    new.push(node)
}
