//! Folds structural constants: arithmetic with 0 and 1, constants of constants, casts to the same type,
//! views of views.

use limpid_kernels::Number;
use limpid_kernels::fused::{BinaryFn, UnaryFn};
use smallvec::smallvec;

use crate::error::Result;
use crate::exec::arena::{Class, Edges, GNode, Graph, NodeId, class};
use crate::op::{AxisList, Op, elementwise};
use crate::reference::Array;
use crate::shape::Shape;
use crate::testing::{Fault, planted};

/// x·1 → x; x + 0 → x; f(2, 3) → 6; reshape(reshape(x)) → reshape(x); permute(permute(x)) → permute(x)
///
/// x·0 stays: it is NaN for an infinite x.
pub(crate) fn fold(graph: &Graph) -> Result<Graph> {
    graph.rebuild(|new, node, inputs| {
        if let Some(id) = same(new, node, &inputs) {
            return Ok(id);
        }
        if let Some(n) = constant(new, node, &inputs) {
            return Ok(new.push(GNode { op: Op::Const(n), inputs: Edges::new(), ..node.clone() }));
        }
        if let Some(source) = uniform(new, node, &inputs) {
            return Ok(new.push(GNode { shape: node.shape.clone(), ..source }));
        }
        Ok(match &node.op {
            Op::Reshape => push_reshape(new, node, inputs[0]),
            Op::Permute(axes) => push_permute(new, node, axes, inputs[0]),
            _ => new.push(GNode { inputs, ..node.clone() }),
        })
    })
}

/// The number that all elements of a node are, when that is known.
fn number(graph: &Graph, id: NodeId) -> Option<Number> {
    let node = graph.node(id);
    match node.op {
        Op::Const(n) => Some(Array::round(node.dtype, n)),
        _ => None,
    }
}

/// The number, of the structure or the host, of which the node is a view.
fn uniform(graph: &Graph, node: &GNode, inputs: &Edges) -> Option<GNode> {
    if class(&node.op) != Class::View {
        return None;
    }
    let below = graph.node(inputs[0]);
    matches!(below.op, Op::Const(_) | Op::Scalar(_)).then(|| below.clone())
}

/// The input that the node is equal to, bit by bit.
fn same(graph: &Graph, node: &GNode, inputs: &Edges) -> Option<NodeId> {
    let is = |i: usize, value: f64| {
        number(graph, inputs[i]).is_some_and(|n| n.as_f64() == value && !n.as_f64().is_sign_negative())
    };
    let kept = match node.op {
        Op::Binary(BinaryFn::Mul) if is(1, 1.0) => 0,
        Op::Binary(BinaryFn::Mul) if is(0, 1.0) => 1,
        Op::Binary(BinaryFn::Mul) if is(1, 0.0) && planted(Fault::FoldZero) => 1,
        Op::Binary(BinaryFn::Div | BinaryFn::Pow) if is(1, 1.0) => 0,
        // x + 0 stays for floats: −0 + 0 is 0.
        Op::Binary(BinaryFn::Sub) if is(1, 0.0) => 0,
        Op::Binary(BinaryFn::Add) if is(1, 0.0) && !node.dtype.is_float() => 0,
        Op::Binary(BinaryFn::Add) if is(0, 0.0) && !node.dtype.is_float() => 1,
        Op::Unary(UnaryFn::Abs) if matches!(graph.node(inputs[0]).op, Op::Unary(UnaryFn::Abs)) => 0,
        Op::Broadcast | Op::Reshape if graph.node(inputs[0]).shape == node.shape => 0,
        Op::Cast if graph.node(inputs[0]).dtype == node.dtype => 0,
        _ => return None,
    };
    let input = graph.node(inputs[kept]);
    (input.shape == node.shape && input.dtype == node.dtype).then_some(inputs[kept])
}

/// The number that an elementwise function of numbers is.
fn constant(graph: &Graph, node: &GNode, inputs: &Edges) -> Option<Number> {
    if node.shape.elements() == 0 {
        return None;
    }
    let one = |i: usize| {
        let n = number(graph, *inputs.get(i)?)?;
        Some(Array::filled(Shape::scalar(), graph.node(inputs[i]).dtype, n))
    };
    let array = match node.op {
        // Functions are left to the kernels: they may differ in the last bit from this computation.
        Op::Unary(UnaryFn::Neg | UnaryFn::Abs) => {
            let Op::Unary(f) = node.op else { unreachable!("matched above") };
            elementwise::unary_reference(f, &one(0)?)
        }
        Op::Binary(f @ (BinaryFn::Add | BinaryFn::Sub | BinaryFn::Mul | BinaryFn::Div)) if node.dtype.is_float() => {
            elementwise::binary_reference(f, &one(0)?, &one(1)?).ok()?
        }
        Op::Binary(f) if elementwise::is_comparison(f) => elementwise::binary_reference(f, &one(0)?, &one(1)?).ok()?,
        Op::Cast => one(0)?.cast(node.dtype),
        _ => return None,
    };
    Some(array.data[0])
}

fn push_reshape(new: &mut Graph, node: &GNode, mut input: NodeId) -> NodeId {
    while matches!(new.node(input).op, Op::Reshape) {
        input = new.node(input).inputs[0];
    }
    if new.node(input).shape == node.shape {
        return input;
    }
    new.push(GNode { inputs: smallvec![input], ..node.clone() })
}

fn push_permute(new: &mut Graph, node: &GNode, axes: &AxisList, input: NodeId) -> NodeId {
    let Op::Permute(below) = &new.node(input).op else {
        return new.push(GNode { inputs: smallvec![input], ..node.clone() });
    };
    let joined: AxisList = if planted(Fault::PermuteOrder) {
        below.iter().map(|&a| axes[a]).collect()
    } else {
        axes.iter().map(|&a| below[a]).collect()
    };
    let source = new.node(input).inputs[0];
    if joined.iter().enumerate().all(|(i, &a)| i == a) {
        return source;
    }
    new.push(GNode { op: Op::Permute(joined), inputs: smallvec![source], ..node.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::passes::testing::{changes, stays, traced};

    #[test]
    fn ones_vanish_and_constants_of_constants_are_computed() {
        let graph = traced(&[&[2]], |x| vec![&x[0] * x[0].constant_like(1.0) / x[0].constant_like(1.0)]);
        changes(
            fold,
            &graph,
            &[
                "%0 input f32 [2]",
                "%1 const 1 f32 [2]",
                "%2 mul %0 %1 f32 [2]",
                "%3 const 1 f32 [2]",
                "%4 div %2 %3 f32 [2]",
                "→ %4",
            ],
            &["%0 input f32 [2]", "→ %0"],
        );
        let graph = traced(&[&[]], |x| vec![&x[0] * (x[0].constant_like(2.0) + x[0].constant_like(3.0))]);
        changes(
            fold,
            &graph,
            &[
                "%0 input f32 []",
                "%1 const 2 f32 []",
                "%2 const 3 f32 []",
                "%3 add %1 %2 f32 []",
                "%4 mul %0 %3 f32 []",
                "→ %4",
            ],
            &["%0 input f32 []", "%1 const 5 f32 []", "%2 mul %0 %1 f32 []", "→ %2"],
        );
    }

    #[test]
    fn views_of_views_become_one() {
        let graph = traced(&[&[2, 3, 4]], |x| vec![x[0].permute([1, 2, 0]).permute([1, 0, 2]).exp()]);
        changes(
            fold,
            &graph,
            &[
                "%0 input f32 [2, 3, 4]",
                "%1 permute %0 f32 [3, 4, 2]",
                "%2 permute %1 f32 [4, 3, 2]",
                "%3 exp %2 f32 [4, 3, 2]",
                "→ %3",
            ],
            &["%0 input f32 [2, 3, 4]", "%1 permute %0 f32 [4, 3, 2]", "%2 exp %1 f32 [4, 3, 2]", "→ %2"],
        );
        let graph = traced(&[&[2, 3, 4]], |x| vec![x[0].permute([1, 2, 0]).permute([2, 0, 1]).exp()]);
        changes(
            fold,
            &graph,
            &[
                "%0 input f32 [2, 3, 4]",
                "%1 permute %0 f32 [3, 4, 2]",
                "%2 permute %1 f32 [2, 3, 4]",
                "%3 exp %2 f32 [2, 3, 4]",
                "→ %3",
            ],
            &["%0 input f32 [2, 3, 4]", "%1 exp %0 f32 [2, 3, 4]", "→ %1"],
        );
        let graph = traced(&[&[2, 6]], |x| vec![x[0].reshape([12]).reshape([3, 4]).exp()]);
        changes(
            fold,
            &graph,
            &[
                "%0 input f32 [2, 6]",
                "%1 reshape %0 f32 [12]",
                "%2 reshape %1 f32 [3, 4]",
                "%3 exp %2 f32 [3, 4]",
                "→ %3",
            ],
            &["%0 input f32 [2, 6]", "%1 reshape %0 f32 [3, 4]", "%2 exp %1 f32 [3, 4]", "→ %2"],
        );
    }

    #[test]
    fn what_would_change_a_bit_stays() {
        // ∞·0 is NaN, −0 + 0 is 0, x − x is NaN for infinities.
        stays(fold, &traced(&[&[]], |x| vec![&x[0] * x[0].constant_like(0.0)]));
        stays(fold, &traced(&[&[]], |x| vec![&x[0] + x[0].constant_like(0.0)]));
        stays(fold, &traced(&[&[]], |x| vec![&x[0] - &x[0]]));
        stays(fold, &traced(&[&[]], |x| vec![&x[0] - x[0].constant_like(-0.0)]));
        // A number of the host is not known here, though it is 1.
        stays(fold, &traced(&[&[]], |x| vec![&x[0] * 1.0]));
    }
}
