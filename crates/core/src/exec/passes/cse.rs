//! Shares what is computed twice.

use std::collections::HashMap;

use crate::error::Result;
use crate::exec::arena::{GNode, Graph, NodeId};
use crate::op::Op;
use crate::testing::{Fault, planted};

/// a·b + a·b → t = a·b; t + t
///
/// Numbers of the host count as different even when they are equal: their values are not known here.
pub(crate) fn cse(graph: &Graph) -> Result<Graph> {
    let mut seen: HashMap<Vec<u64>, NodeId> = HashMap::new();
    graph.rebuild(|new, node, inputs| {
        let mut key = vec![node.dtype as u64, node.shape.rank() as u64];
        key.extend(node.shape.iter().map(|&s| s as u64));
        node.op.key(&mut key);
        match &node.op {
            Op::Input(_) => {}
            Op::Random { .. } if planted(Fault::MergedDraws) => {}
            Op::Scalar(_) if planted(Fault::MergedScalars) => {}
            // Two draws, slices or scalars are one only when they are the same recorded node.
            Op::Slice { fixed: true, .. } | Op::Write { fixed: true, .. } => {}
            Op::Scalar(_) | Op::Random { .. } | Op::Slice { .. } | Op::Write { .. } => key.push(u64::from(node.args)),
            Op::Call(_) | Op::Region(_) | Op::Loop(_) | Op::Branch(_) => key.push(u64::from(node.args)),
            _ => {}
        }
        key.extend(inputs.iter().map(|i| u64::from(i.0)));
        if let Some(&same) = seen.get(&key) {
            return Ok(same);
        }
        let id = new.push(GNode { inputs, ..node.clone() });
        seen.insert(key, id);
        Ok(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::passes::testing::{changes, stays, traced};

    #[test]
    fn what_is_computed_twice_is_shared() {
        let graph = traced(&[&[4], &[4]], |x| vec![&x[0] * &x[1] + &x[0] * &x[1]]);
        changes(
            cse,
            &graph,
            &[
                "%0 input f32 [4]",
                "%1 input f32 [4]",
                "%2 mul %0 %1 f32 [4]",
                "%3 mul %0 %1 f32 [4]",
                "%4 add %2 %3 f32 [4]",
                "→ %4",
            ],
            &["%0 input f32 [4]", "%1 input f32 [4]", "%2 mul %0 %1 f32 [4]", "%3 add %2 %2 f32 [4]", "→ %3"],
        );
    }

    #[test]
    fn constants_are_shared_and_equal_numbers_of_the_host_are_not() {
        let graph = traced(&[&[4]], |x| vec![(&x[0] + x[0].constant_like(2.0)) * (&x[0] + x[0].constant_like(2.0))]);
        changes(
            cse,
            &graph,
            &[
                "%0 input f32 [4]",
                "%1 const 2 f32 [4]",
                "%2 add %0 %1 f32 [4]",
                "%3 const 2 f32 [4]",
                "%4 add %0 %3 f32 [4]",
                "%5 mul %2 %4 f32 [4]",
                "→ %5",
            ],
            &["%0 input f32 [4]", "%1 const 2 f32 [4]", "%2 add %0 %1 f32 [4]", "%3 mul %2 %2 f32 [4]", "→ %3"],
        );
        stays(cse, &traced(&[&[4]], |x| vec![&x[0] * 2.0 + &x[0] * 2.0]));
    }

    #[test]
    fn two_draws_stay_two() {
        let graph = traced(&[&[4]], |x| vec![x[0].dropout(0.5) - x[0].dropout(0.5)]);
        let left = cse(&graph).expect("the pass succeeds").alive();
        let count = |graph: &Graph| graph.nodes.iter().filter(|n| matches!(n.op, Op::Random { .. })).count();
        assert_eq!((count(&graph), count(&left)), (2, 2));
        assert!(left.nodes.len() < graph.nodes.len(), "what is computed from them is shared where it is equal");
    }

    #[test]
    fn different_attributes_stay_apart() {
        stays(cse, &traced(&[&[3, 3]], |x| vec![x[0].sum_keepdim(0), x[0].sum_keepdim(1), x[0].amax_keepdim(0)]));
        stays(cse, &traced(&[&[3, 3]], |x| vec![x[0].cumsum(0), x[0].cumsum(1), x[0].cumprod(0)]));
        stays(cse, &traced(&[&[6]], |x| vec![x[0].narrow(0, 0, 2), x[0].narrow(0, 2, 2)]));
        stays(cse, &traced(&[&[3, 2]], |x| vec![x[0].reshape([2, 3]), x[0].reshape([6])]));
    }
}
