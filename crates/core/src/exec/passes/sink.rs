//! Moves reshapes behind elementwise operations, so that a chain is not cut by them.
//!
//! Bound values are contiguous, so a reshape of them costs nothing wherever it stands.

use smallvec::smallvec;

use crate::error::Result;
use crate::exec::arena::{Class, Edges, GNode, Graph, NodeId, class};
use crate::op::Op;
use crate::shape::Shape;

/// relu(reshape(x)) → reshape(relu(x)); reshape(x) + reshape(y) → reshape(x + y), x and y of one shape
pub(crate) fn sink(graph: &Graph) -> Result<Graph> {
    graph.rebuild(|new, node, inputs| {
        Ok(match common_shape(new, node, &inputs) {
            Some(shape) => {
                let inner: Edges = inputs.iter().map(|&i| under(new, i, &shape)).collect();
                let moved = new.push(GNode { inputs: inner, shape, ..node.clone() });
                new.push(GNode { op: Op::Reshape, inputs: smallvec![moved], ..node.clone() })
            }
            None => new.push(GNode { inputs, ..node.clone() }),
        })
    })
}

/// Whether all elements are one number of the structure or the host.
fn uniform(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op, Op::Const(_) | Op::Scalar(_))
}

/// The shape below the reshapes that are the inputs of an elementwise node; others may be uniform.
fn common_shape(graph: &Graph, node: &GNode, inputs: &Edges) -> Option<Shape> {
    if class(&node.op) != Class::Elementwise || matches!(node.op, Op::Random { .. }) {
        return None;
    }
    let mut shape: Option<&Shape> = None;
    for &i in inputs.iter().filter(|&&i| !uniform(graph, i)) {
        let input = graph.node(i);
        if class(&input.op) == Class::Input {
            continue;
        }
        let below = match input.op {
            // A reshape of what is not computed here gains nothing by moving.
            Op::Reshape
                if !matches!(class(&graph.node(input.inputs[0]).op), Class::Input | Class::Source | Class::View) =>
            {
                &graph.node(input.inputs[0]).shape
            }
            _ => return None,
        };
        if shape.is_some_and(|s| s != below) {
            return None;
        }
        shape = Some(below);
    }
    shape.cloned()
}

/// What stands for input `i` in `shape`.
fn under(new: &mut Graph, i: NodeId, shape: &Shape) -> NodeId {
    let like = new.node(i).clone();
    if class(&like.op) == Class::Input {
        return new.push(GNode { op: Op::Reshape, inputs: smallvec![i], shape: shape.clone(), ..like });
    }
    if uniform(new, i) {
        return new.push(GNode { shape: shape.clone(), ..like });
    }
    like.inputs[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::passes::testing::{changes, stays, traced};

    #[test]
    fn a_reshape_moves_behind_what_follows() {
        let graph = traced(&[&[2, 3], &[3, 2]], |x| vec![x[0].matmul(&x[1]).reshape([4]).exp()]);
        changes(
            sink,
            &graph,
            &[
                "%0 input f32 [2, 3]",
                "%1 input f32 [3, 2]",
                "%2 dot %0 %1 f32 [2, 2]",
                "%3 reshape %2 f32 [4]",
                "%4 exp %3 f32 [4]",
                "→ %4",
            ],
            &[
                "%0 input f32 [2, 3]",
                "%1 input f32 [3, 2]",
                "%2 dot %0 %1 f32 [2, 2]",
                "%3 exp %2 f32 [2, 2]",
                "%4 reshape %3 f32 [4]",
                "→ %4",
            ],
        );
        let graph = traced(&[&[2, 3], &[3, 2]], |x| {
            let y = x[0].matmul(&x[1]);
            vec![y.reshape([4]) + y.exp().reshape([4]) * 2.0]
        });
        changes(
            sink,
            &graph,
            &[
                "%0 input f32 [2, 3]",
                "%1 input f32 [3, 2]",
                "%2 dot %0 %1 f32 [2, 2]",
                "%3 reshape %2 f32 [4]",
                "%4 exp %2 f32 [2, 2]",
                "%5 reshape %4 f32 [4]",
                "%6 scalar f32 [4]",
                "%7 mul %5 %6 f32 [4]",
                "%8 add %3 %7 f32 [4]",
                "→ %8",
            ],
            &[
                "%0 input f32 [2, 3]",
                "%1 input f32 [3, 2]",
                "%2 dot %0 %1 f32 [2, 2]",
                "%3 exp %2 f32 [2, 2]",
                "%4 scalar f32 [2, 2]",
                "%5 mul %3 %4 f32 [2, 2]",
                "%6 add %2 %5 f32 [2, 2]",
                "%7 reshape %6 f32 [4]",
                "→ %7",
            ],
        );
    }

    #[test]
    fn different_shapes_below_stay() {
        stays(
            sink,
            &traced(&[&[2, 3], &[3, 2], &[4, 1]], |x| vec![x[0].matmul(&x[1]).reshape([4]) + x[2].exp().reshape([4])]),
        );
    }
}
