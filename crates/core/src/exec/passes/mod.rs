//! Rewrite passes: each one file, one idea, one test that shows before and after.

mod cse;
mod fold;
mod inline;
mod legalize;
mod sink;
mod turn;

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
    ("turn", turn::turn),
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

#[cfg(test)]
pub(crate) mod testing {
    use limpid_kernels::DType;

    use super::Pass;
    use crate::exec::arena::Graph;
    use crate::exec::arena_text;
    use crate::region::{Meta, Region};
    use crate::shape::Shape;
    use crate::tensor::Tensor;

    /// The recording of `f` on f32 inputs of `shapes`.
    pub(crate) fn traced(shapes: &[&[usize]], f: fn(&[Tensor]) -> Vec<Tensor>) -> Graph {
        let metas: Vec<Meta> = shapes.iter().map(|s| (Shape::from(*s), DType::F32)).collect();
        let (region, outside) = Region::record(&metas, f).expect("a right recording");
        assert!(outside.is_empty());
        Graph::of_region(&region, 0, 0).alive()
    }

    /// A graph as text, one node a line, with single spaces.
    pub(crate) fn text(graph: &Graph) -> Vec<String> {
        arena_text(graph).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// Holds what a pass is given and what it leaves against text.
    #[track_caller]
    pub(crate) fn changes(pass: Pass, graph: &Graph, before: &[&str], after: &[&str]) {
        assert_eq!(text(graph), before, "before");
        let left = pass(graph).expect("the pass succeeds").alive();
        assert_eq!(text(&left), after, "after");
        assert_eq!(text(&pass(&left).expect("the pass succeeds").alive()), after, "done twice");
    }

    /// Holds that a pass leaves a graph as it is.
    #[track_caller]
    pub(crate) fn stays(pass: Pass, graph: &Graph) {
        assert_eq!(text(&pass(graph).expect("the pass succeeds").alive()), text(graph));
    }
}
