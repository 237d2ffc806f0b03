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
