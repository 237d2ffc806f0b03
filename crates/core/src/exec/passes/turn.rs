//! Permutes pieces before they are joined, so that they are written in their last order at once.

use smallvec::smallvec;

use crate::error::Result;
use crate::exec::arena::{Edges, GNode, Graph, NodeId};
use crate::op::Op;

/// permute(concat(x, y)) → concat(permute(x), permute(y)), where nobody else reads the join
pub(crate) fn turn(graph: &Graph) -> Result<Graph> {
    let mut uses = vec![0u32; graph.nodes.len()];
    graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs).for_each(|id| uses[id.index()] += 1);
    graph.rebuild(|new, node, inputs| {
        if let Op::Permute(axes) = &node.op
            && uses[node.inputs[0].index()] == 1
            && let GNode { op: Op::Concat { axis }, inputs: pieces, .. } = new.node(inputs[0]).clone()
        {
            let turned = |new: &mut Graph, piece: &NodeId| {
                let below = new.node(*piece).clone();
                let shape = axes.iter().map(|&a| below.shape[a]).collect();
                new.push(GNode { op: node.op.clone(), inputs: smallvec![*piece], shape, ..below })
            };
            let inputs: Edges = pieces.iter().map(|piece| turned(new, piece)).collect();
            let axis = axes.iter().position(|&a| a == axis).expect("a permutation has every axis");
            return Ok(new.push(GNode { op: Op::Concat { axis }, inputs, ..node.clone() }));
        }
        Ok(new.push(GNode { inputs, ..node.clone() }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::passes::testing::{changes, stays, traced};
    use crate::tensor::Tensor;

    #[test]
    fn pieces_are_permuted_before_they_are_joined() {
        let graph = traced(&[&[1, 3], &[2, 3]], |x| vec![Tensor::cat(&[&x[0], &x[1]], 0).t()]);
        changes(
            turn,
            &graph,
            &[
                "%0 input f32 [1, 3]",
                "%1 input f32 [2, 3]",
                "%2 concat %0 %1 f32 [3, 3]",
                "%3 permute %2 f32 [3, 3]",
                "→ %3",
            ],
            &[
                "%0 input f32 [1, 3]",
                "%1 input f32 [2, 3]",
                "%2 permute %0 f32 [3, 1]",
                "%3 permute %1 f32 [3, 2]",
                "%4 concat %2 %3 f32 [3, 3]",
                "→ %4",
            ],
        );
        stays(
            turn,
            &traced(&[&[1, 3], &[2, 3]], |x| {
                let joined = Tensor::cat(&[&x[0], &x[1]], 0);
                vec![joined.t(), joined.exp()]
            }),
        );
    }
}
