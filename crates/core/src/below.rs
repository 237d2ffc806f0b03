//! Asking a recorded value what it is computed from.

use std::sync::Arc;

use crate::cell::Cell;
use crate::grad::overtaken;
use crate::graph::Recording;
use crate::node::Node;
use crate::op::Op;
use crate::tensor::Tensor;

impl Tensor {
    /// Whether a value of `cell`, the current or an earlier one, is below on a path that gradients take, or may have
    /// been before a step of another thread.
    pub fn differentiates(&self, cell: &Arc<Cell>) -> bool {
        let root = std::slice::from_ref(&self.node);
        let recording = Recording::collect(root, |node| !node.trainable());
        let leaf = |node: &Arc<Node>| matches!(&node.op, Op::Cell(read) if node.trainable() && Arc::ptr_eq(read, cell));
        recording.nodes.iter().any(leaf) || overtaken(&recording, root).is_some()
    }
}
