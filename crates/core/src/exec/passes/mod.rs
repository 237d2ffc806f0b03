//! Rewrite passes: each one file, one idea, one test that shows before and after.

mod cse;
mod fold;
mod inline;
mod legalize;
mod sink;

use crate::error::Result;
use crate::exec::arena::Graph;
use crate::exec::arena_text;
use crate::testing::{counting_passes, pass_fired};

/// A rewrite of a graph.
type Pass = fn(&Graph) -> Result<Graph>;

/// The passes in the order in which they run.
pub(crate) const PASSES: &[(&str, Pass)] = &[
    ("inline", inline::inline),
    ("fold", fold::fold),
    ("cse", cse::cse),
    ("sink", sink::sink),
    ("cse", cse::cse),
    ("legalize", legalize::legalize),
    // What was copied may now be joined across its reshape.
    ("sink", sink::sink),
    ("legalize", legalize::legalize),
];

/// The graph after all passes; `watch` sees the name of each and what it left.
pub(crate) fn rewrite(graph: Graph, mut watch: impl FnMut(&str, &Graph)) -> Result<Graph> {
    let mut graph = graph.alive();
    for (name, pass) in PASSES {
        let before = counting_passes().then(|| arena_text(&graph));
        graph = pass(&graph)?.alive();
        if before.is_some_and(|before| before != arena_text(&graph)) {
            pass_fired(name);
        }
        watch(name, &graph);
    }
    Ok(graph)
}
