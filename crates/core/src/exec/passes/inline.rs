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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::passes::testing::{changes, stays, traced};

    #[test]
    fn bodies_stand_in_place_of_compounds_without_kernels() {
        let graph = traced(&[&[3]], |x| vec![x[0].relu()]);
        changes(
            inline,
            &graph,
            &["%0 input f32 [3]", "%1 relu %0 f32 [3]", "%2 part %1 f32 [3]", "→ %2"],
            &["%0 input f32 [3]", "%1 const 0 f32 [3]", "%2 le %0 %1 bool [3]", "%3 select %2 %1 %0 f32 [3]", "→ %3"],
        );
    }

    #[test]
    fn identities_vanish() {
        let graph = traced(&[&[3]], |x| vec![x[0].requires_grad_().detach().tap("t").exp()]);
        changes(
            inline,
            &graph,
            &[
                "%0 input f32 [3]",
                "%1 watch %0 f32 [3]",
                "%2 detach %1 f32 [3]",
                "%3 tap %2 f32 [3]",
                "%4 exp %3 f32 [3]",
                "→ %4",
            ],
            &["%0 input f32 [3]", "%1 exp %0 f32 [3]", "→ %1"],
        );
    }

    #[test]
    fn compounds_with_kernels_stay_unless_bodies_are_asked_for() {
        let graph = traced(&[&[2, 3]], |x| vec![x[0].softmax(-1)]);
        stays(inline, &graph);
        crate::testing::force_bodies(true);
        let bodies = inline(&graph);
        crate::testing::force_bodies(false);
        let names: Vec<&str> = bodies.expect("the body is right").alive().nodes.iter().map(|n| n.op.name()).collect();
        assert_eq!(names, ["input", "amax", "broadcast", "sub", "exp", "sum", "exp", "broadcast", "div"]);
    }
}
