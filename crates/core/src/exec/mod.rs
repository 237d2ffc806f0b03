//! From the record to values: what to compute together, in which memory, and what becomes of it.

mod arena;
pub(crate) mod cache;
pub(crate) mod capture;
mod fuse;
mod lower;
mod memory;
pub(crate) mod passes;
mod plan;
pub(crate) mod program;
mod request;
mod run;
mod schedule;
pub(crate) mod stats;
mod view;

pub use request::settle;
pub(crate) use request::{evaluate, settle_readers};

/// The graph as passes leave it: what `LIMPID_SHOW=rewrite` prints.
pub(crate) type GraphText = arena::Graph;

/// One line a node.
pub(crate) fn arena_text(graph: &GraphText) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<String> = node.inputs.iter().map(|j| format!("%{}", j.0)).collect();
        let what = match &node.op {
            crate::op::Op::Const(n) => format!("const {}", n.as_f64()),
            op => op.name().to_owned(),
        };
        let _ = writeln!(text, "%{i:<4} {what:<14} {:<14} {} {}", inputs.join(" "), node.dtype, node.shape);
    }
    let outputs: Vec<String> = graph.outputs.iter().map(|o| format!("%{}", o.0)).collect();
    let _ = writeln!(text, "→ {}", outputs.join(" "));
    text
}
