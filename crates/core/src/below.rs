//! Asking a recorded value what it is computed from: values with a name, parameters.

use std::sync::Arc;

use crate::cell::Cell;
use crate::grad::overtaken;
use crate::graph::Recording;
use crate::node::Node;
use crate::op::{Mark, Op};
use crate::tensor::Tensor;

impl Tensor {
    /// What [`Tensor::tap`] named among the values that this one is computed from, in the order of recording: the
    /// path of the module that ran, a dot, and the name. What was evaluated before and is not trained has forgotten
    /// how it was made, and the names below it.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([1.0f32, 2.0]);
    /// let y = (&x * 3.0).tap("tripled").sum(..);
    /// let (name, tripled) = &y.taps()[0];
    /// assert_eq!((name.as_str(), tripled.to_vec::<f32>()?), ("tripled", vec![3.0, 6.0]));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    pub fn taps(&self) -> Vec<(String, Tensor)> {
        let recording = Recording::collect(std::slice::from_ref(&self.node), |_| false);
        recording.nodes.iter().filter_map(|node| Some((name(node)?, Tensor::hold(node.clone())))).collect()
    }

    /// Whether a value of `cell`, the current or an earlier one, is below on a path that gradients take, or may have
    /// been before a step of another thread.
    pub fn differentiates(&self, cell: &Arc<Cell>) -> bool {
        let root = std::slice::from_ref(&self.node);
        let recording = Recording::collect(root, |node| !node.trainable());
        let leaf = |node: &Arc<Node>| matches!(&node.op, Op::Cell(read) if node.trainable() && Arc::ptr_eq(read, cell));
        recording.nodes.iter().any(leaf) || overtaken(&recording, root).is_some()
    }
}

fn name(node: &Node) -> Option<String> {
    let Op::Mark(Mark::Tap(name)) = &node.op else { return None };
    let path = node.origin.path();
    Some(if path.is_empty() { name.to_string() } else { format!("{path}.{name}") })
}
