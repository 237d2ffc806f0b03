//! Puts copies where a view can not be had and where a kernel needs its input in order.

use limpid_kernels::DType;
use smallvec::smallvec;

use crate::error::Result;
use crate::exec::arena::{Class, GNode, Graph, NodeId, class};
use crate::exec::view::View;
use crate::op::{Mark, Op};
use crate::testing::{Fault, planted};

/// reshape(permute(x)) → reshape(copy(permute(x))); sort(permute(x)) → sort(copy(permute(x)))
pub(crate) fn legalize(graph: &Graph) -> Result<Graph> {
    let mut views: Vec<View> = Vec::new();
    let mut new = graph.rebuild(|new, node, mut inputs| {
        match class(&node.op) {
            Class::View => {
                let below = inputs[0];
                let (shape, view) = (new.node(below).shape.clone(), &views[below.index()]);
                let own = view.apply(&node.op, &shape, &node.shape, node.args);
                match own {
                    Some(view) => {
                        views.push(view);
                        return Ok(new.push(GNode { inputs, ..node.clone() }));
                    }
                    None => inputs[0] = copy(new, &mut views, below),
                }
            }
            Class::Kernel => {
                for (i, input) in inputs.iter_mut().enumerate() {
                    let fits = match need(&node.op, i) {
                        Need::Nothing => true,
                        Need::Stored => stored(new, *input),
                        Need::Rows => {
                            let (below, view) = (new.node(*input), &views[input.index()]);
                            stored(new, *input) && (view.is_contiguous(&below.shape) || rows_apart(below, view))
                        }
                        Need::Plain => {
                            let ordered = views[input.index()].is_contiguous(&new.node(*input).shape);
                            stored(new, *input) && (ordered || planted(Fault::MissingCopy))
                        }
                    };
                    if !fits {
                        *input = copy(new, &mut views, *input);
                    }
                }
            }
            Class::Dot => {
                for input in inputs.iter_mut() {
                    if !stored(new, *input) {
                        *input = copy(new, &mut views, *input);
                    }
                }
            }
            Class::Input | Class::Source | Class::Elementwise | Class::Reduce | Class::Part => {}
        }
        let view = match (&node.op, class(&node.op)) {
            (_, Class::View) => {
                let below = new.node(inputs[0]).shape.clone();
                views[inputs[0].index()].apply(&node.op, &below, &node.shape, node.args).expect("a view of a copy")
            }
            (Op::Const(_) | Op::Scalar(_), _) => {
                View { strides: smallvec![0; node.shape.rank()], ..View::contiguous(&node.shape) }
            }
            (Op::Iota { axis }, _) => {
                let mut strides: crate::shape::Strides = smallvec![0; node.shape.rank()];
                strides[*axis] = 1;
                View { strides, ..View::contiguous(&node.shape) }
            }
            _ => View::contiguous(&node.shape),
        };
        let id = new.push(GNode { inputs, ..node.clone() });
        views.push(view);
        Ok(id)
    })?;
    // An output must have memory of its own.
    for i in 0..new.outputs.len() {
        let id = below_reshapes(&new, new.outputs[i]);
        new.outputs[i] = id;
        if matches!(class(&new.node(id).op), Class::Input | Class::Source | Class::View) {
            new.outputs[i] = copy(&mut new, &mut views, id);
        }
    }
    Ok(new)
}

fn copy(new: &mut Graph, views: &mut Vec<View>, id: NodeId) -> NodeId {
    let node = new.node(id);
    let copy = GNode { op: Op::Mark(Mark::Copy), inputs: smallvec![id], args: 0, ..node.clone() };
    views.push(View::contiguous(&copy.shape));
    new.push(copy)
}

/// The computed node whose elements, in their order, are those of `id`; `id` itself where there is none.
fn below_reshapes(graph: &Graph, id: NodeId) -> NodeId {
    let mut base = id;
    while matches!(graph.node(base).op, Op::Reshape) {
        base = graph.node(base).inputs[0];
    }
    let computed = !matches!(class(&graph.node(base).op), Class::Input | Class::Source | Class::View);
    if computed { base } else { id }
}

/// Whether the elements lie in memory: not a number or an index seen through views.
fn stored(graph: &Graph, mut id: NodeId) -> bool {
    while class(&graph.node(id).op) == Class::View {
        id = graph.node(id).inputs[0];
    }
    class(&graph.node(id).op) != Class::Source
}

/// Whether kernels that read by strides can take such elements. Halves are widened as a whole, so they should not stand
/// between others.
fn rows_apart(node: &GNode, view: &View) -> bool {
    let side_by_side = node.shape.last().is_none_or(|&n| n <= 1) || view.strides.last() == Some(&1);
    matches!(node.dtype, DType::F32 | DType::F64) && side_by_side && view.strides.iter().all(|&s| s >= 0)
}

/// What a kernel asks of an input.
enum Need {
    /// It is read through an elementwise copy.
    Nothing,
    /// Any strides over memory.
    Stored,
    /// Elements in memory, those of the last axis side by side.
    Rows,
    /// Elements in memory, in order.
    Plain,
}

fn need(op: &Op, i: usize) -> Need {
    match (op, i) {
        (Op::Pad { .. } | Op::Concat { .. } | Op::Write { .. }, _) | (Op::Scatter { .. }, 0) => Need::Nothing,
        (Op::Gather { .. } | Op::Scatter { .. }, 1) => Need::Stored,
        (Op::Call(compound), i) if compound.reads_rows_apart(i) => Need::Rows,
        _ => Need::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::passes::testing::{changes, stays, traced};

    #[test]
    fn a_kernel_reads_elements_in_order() {
        let graph = traced(&[&[2, 3]], |x| vec![x[0].t().cumsum(0)]);
        changes(
            legalize,
            &graph,
            &["%0 input f32 [2, 3]", "%1 permute %0 f32 [3, 2]", "%2 cumsum %1 f32 [3, 2]", "→ %2"],
            &[
                "%0 input f32 [2, 3]",
                "%1 permute %0 f32 [3, 2]",
                "%2 copy %1 f32 [3, 2]",
                "%3 cumsum %2 f32 [3, 2]",
                "→ %3",
            ],
        );
        stays(legalize, &traced(&[&[2, 3]], |x| vec![x[0].cumsum(0)]));
    }

    #[test]
    fn a_view_that_no_strides_can_say_is_one_of_a_copy() {
        let graph = traced(&[&[2, 3]], |x| vec![x[0].t().reshape([6]).exp()]);
        changes(
            legalize,
            &graph,
            &["%0 input f32 [2, 3]", "%1 permute %0 f32 [3, 2]", "%2 reshape %1 f32 [6]", "%3 exp %2 f32 [6]", "→ %3"],
            &[
                "%0 input f32 [2, 3]",
                "%1 permute %0 f32 [3, 2]",
                "%2 copy %1 f32 [3, 2]",
                "%3 reshape %2 f32 [6]",
                "%4 exp %3 f32 [6]",
                "→ %4",
            ],
        );
        stays(legalize, &traced(&[&[2, 3]], |x| vec![x[0].reshape([3, 2]).t().exp()]));
    }

    #[test]
    fn an_output_has_memory_of_its_own() {
        let graph = traced(&[&[2, 3]], |x| vec![x[0].t()]);
        changes(
            legalize,
            &graph,
            &["%0 input f32 [2, 3]", "%1 permute %0 f32 [3, 2]", "→ %1"],
            &["%0 input f32 [2, 3]", "%1 permute %0 f32 [3, 2]", "%2 copy %1 f32 [3, 2]", "→ %2"],
        );
    }
}
