//! One evaluation: which nodes are wanted, which assignments run with them, which values are bound.

use std::sync::{Arc, MutexGuard};

use limpid_kernels::{Buffer, Loc, Number, Workspace, machine_memory};
use smallvec::SmallVec;

use crate::cell::{self, Cell, CellState, Effect};
use crate::compound::Fault;
use crate::config::cpu;
use crate::error::{Error, Result};
use crate::exec::arena::{Edges, GNode, Graph, NodeId};
use crate::exec::cache::{self, Plan, Sketch};
use crate::exec::capture;
use crate::exec::passes::rewrite;
use crate::exec::plan::plan;
use crate::exec::run::{Frame, run};
use crate::exec::stats;
use crate::graph::{IdMap, Recording};
use crate::node::{Node, held_readers, unwatched};
use crate::op::{Arg, Op};
use crate::origin::Origin;
use crate::profile;
use crate::tensor::Tensor;

/// Computes `wanted`, and runs the assignments that this thread has recorded.
///
/// A plan that fails changes nothing: parameters, buffers and counters keep what they were, and the
/// assignments are dropped.
pub(crate) fn evaluate(wanted: &[&Tensor]) -> Result<()> {
    if let Some(error) = wanted.iter().filter(|t| t.node.error().is_some()).min_by_key(|t| t.node.id) {
        return Err(error.node.error().expect("filtered"));
    }
    if capture::capturing() {
        capture::defer(wanted);
        return Ok(());
    }
    if wanted.iter().all(|t| t.node.symbolic() && !t.node.has_value()) {
        return Ok(());
    }
    with_effects(|| {
        wanted.iter().filter(|t| !t.node.has_value() && !t.node.symbolic()).map(|t| t.node.clone()).collect()
    })
}

/// Computes what `roots` says is wanted, with this thread's assignments.
fn with_effects(roots: impl Fn() -> Vec<Arc<Node>>) -> Result<()> {
    loop {
        let (roots, effects) = (roots(), cell::pending());
        if roots.is_empty() && effects.is_empty() {
            return Ok(());
        }
        match Request::new(roots, effects).and_then(Request::execute) {
            Ok(true) => return Ok(()),
            // Another thread's plan took one of the assignments along: what is left is looked at again.
            Ok(false) => {}
            Err(error) => {
                cell::discard();
                return Err(error);
            }
        }
    }
}

/// Runs the assignments that this thread has recorded.
///
/// ```
/// use limpid_core::{Cell, Tensor, settle, stats};
/// let count = Cell::new(&Tensor::from(1i64), false);
/// count.assign(&(count.tensor() + 1));
/// settle()?;
/// let before = stats();
/// assert_eq!(count.to_vec::<i64>()?, [2]);
/// assert_eq!(stats().runs, before.runs);
/// # Ok::<(), limpid_core::Error>(())
/// ```
pub fn settle() -> Result<()> {
    if capture::capturing() {
        return Ok(());
    }
    with_effects(Vec::new)
}

/// Computes everything that is held and reads the current value of one of `cells`, which are about to change.
pub(crate) fn settle_readers<'a>(cells: impl Iterator<Item = &'a Arc<Cell>> + Clone) -> Result<()> {
    let held = held_readers();
    if held.is_empty() {
        return Ok(());
    }
    let recording = Recording::collect(&held, |_| false);
    let find = |cells: SmallVec<[u64; 8]>| Affected::find(&cells, &held, &recording);
    let waiting = find(cells.clone().map(|cell| cell.id()).collect()).waiting;
    let consumed = find(cells.filter(|cell| cell.trainable()).map(|cell| cell.id()).collect()).nodes;
    if !waiting.is_empty() {
        Request::new(waiting, Vec::new())?.execute()?;
    }
    if let Some(by) = consumed.first().map(|n| n.origin.clone()) {
        consumed.iter().for_each(|n| n.consume(&by));
    }
    Ok(())
}

/// Held nodes that were computed, or wait to be computed, from cells that are about to change.
struct Affected {
    nodes: Vec<Arc<Node>>,
    /// Those that wait to be computed and still can be. A thread that lost a race against another one's step
    /// holds nodes that can not: its own read says so, the step must not fail for them.
    waiting: Vec<Arc<Node>>,
}

impl Affected {
    /// Those of `held` that `recording`, in which all of them stand, computes from `cells`.
    fn find(cells: &[u64], held: &[Arc<Node>], recording: &Recording) -> Affected {
        if held.is_empty() || cells.is_empty() {
            return Affected { nodes: Vec::new(), waiting: Vec::new() };
        }
        let mut reaches = vec![false; recording.nodes.len()];
        let mut stale = vec![false; recording.nodes.len()];
        for (i, node) in recording.nodes.iter().enumerate() {
            let below = |list: &[bool]| recording.inputs(i).iter().any(|&j| list[j as usize]);
            (reaches[i], stale[i]) = match &node.op {
                Op::Cell(cell) => (cells.contains(&cell.id()), !Cell::is_current(&cell.state(), node)),
                _ => (below(&reaches), !node.has_value() && below(&stale)),
            };
        }
        let is = |list: &[bool], n: &Arc<Node>| recording.position(n).is_some_and(|i| list[i as usize]);
        let nodes: Vec<Arc<Node>> = held.iter().filter(|n| is(&reaches, n)).cloned().collect();
        let waiting = nodes.iter().filter(|n| !n.has_value() && !is(&stale, n)).cloned().collect();
        Affected { nodes, waiting }
    }
}

/// A result of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Output {
    /// Where the node stands in the recording.
    node: u32,
    /// Which of its results, when it has several.
    part: u32,
}

/// Everything that one run needs to know.
pub(crate) struct Request {
    recording: Recording,
    outputs: Vec<Output>,
    effects: Vec<Effect>,
    /// The output of each effect.
    effect_outputs: Vec<usize>,
    /// Nodes that become plain values, and by what.
    consumed: Vec<Arc<Node>>,
}

impl Request {
    fn new(roots: Vec<Arc<Node>>, effects: Vec<Effect>) -> Result<Request> {
        Request::build(roots, effects, true)
    }

    /// All that a capture has recorded; nothing is kept for a gradient that would be asked later.
    pub(crate) fn capture(roots: Vec<Arc<Node>>) -> Result<Request> {
        Request::build(roots, cell::pending(), false)
    }

    fn build(mut roots: Vec<Arc<Node>>, effects: Vec<Effect>, keep: bool) -> Result<Request> {
        if let Some(error) = effects.iter().find_map(|e| e.value.error()) {
            return Err(error);
        }
        if let Some(error) = roots.iter().find_map(|root| root.error()) {
            return Err(error);
        }
        let given = roots.len();
        let mut consumed = Vec::new();
        let mut whole = None;
        let values = || effects.iter().map(|e| e.value.clone());
        let held = if effects.is_empty() { Vec::new() } else { held_readers() };
        if !held.is_empty() {
            let cells = |wanted: fn(&Cell) -> bool| -> SmallVec<[u64; 8]> {
                effects.iter().filter(|e| wanted(&e.cell)).map(|e| e.cell.id()).collect()
            };
            let (all, trained) = (cells(|_| true), cells(Cell::trainable));
            let everything: Vec<Arc<Node>> = roots.iter().chain(&held).cloned().chain(values()).collect();
            let recording = Recording::collect(&everything, |_| false);
            if trained.len() < all.len() {
                roots.extend(Affected::find(&all, &held, &recording).waiting);
            }
            let affected = Affected::find(&trained, &held, &recording);
            consumed = affected.nodes;
            roots.extend(affected.waiting);
            let wanted = |node: &Arc<Node>| roots.iter().any(|root| Arc::ptr_eq(root, node));
            whole = Some(recording).filter(|all| held.iter().all(wanted) && all.waits_whole());
        }
        let asked = roots.len();
        roots.extend(values());
        // What was walked to find the readers is mostly just what is to be computed.
        let recording = whole.unwrap_or_else(|| Recording::collect(&roots, is_evaluated));
        if spread_errors(&recording) {
            // What is asked for carries the error now; what is only held is left out.
            roots.truncate(given);
            return Request::build(roots, effects, keep);
        }
        let mut outputs: Vec<Output> = Vec::new();
        let mut want = |node: &Arc<Node>| {
            let output = Output { node: recording.position(node).expect("a root is collected"), part: 0 };
            outputs.iter().position(|o| *o == output).unwrap_or_else(|| {
                outputs.push(output);
                outputs.len() - 1
            })
        };
        roots[..asked].iter().for_each(|node| {
            want(node);
        });
        let effect_outputs = effects.iter().map(|e| want(&e.value)).collect();
        if keep {
            keep_for_gradient(&recording, &effects, &mut outputs);
        }
        Ok(Request { recording, outputs, effects, effect_outputs, consumed })
    }

    /// Runs. Returns whether it did: not where another thread has run or replaced one of the assignments since.
    pub(crate) fn execute(self) -> Result<bool> {
        self.execute_observed(|_| {})
    }

    /// [`Request::execute`] that shows to `observe` what was run, before the results are handed out.
    pub(crate) fn execute_observed(self, observe: impl FnOnce(&Observed<'_>)) -> Result<bool> {
        let cells = self.cells();
        let mut locked = Locked::new(&cells);
        if !self.effects.iter().all(|effect| locked.waits(effect)) {
            return Ok(false);
        }
        let (values, of_node) = bind(&self, &locked)?;
        let wishes = locked.wishes(&self, &values);
        let mut key: Vec<u64> = vec![cpu().isa as u64, self.outputs.len() as u64, wishes.len() as u64];
        key.extend(self.outputs.iter().map(|o| u64::from(o.node) | u64::from(o.part) << 32));
        key.extend(wishes.iter().map(|(o, b)| *o as u64 | u64::from(*b) << 32));
        self.recording.key(&mut key, |i| (of_node[i] != UNBOUND).then_some(of_node[i]));
        let mut args: Vec<Arg> = Vec::new();
        let unbound = |i: &usize| of_node[*i] == UNBOUND;
        (0..of_node.len()).filter(unbound).for_each(|i| self.recording.nodes[i].op.host(&mut args));
        let known = cache::find(&key);
        if known.is_none() && crate::show::wants("replan") {
            crate::show::replan(&cache::why(&self.sketch(&of_node)));
        }
        let plan = match known.filter(|_| !crate::show::is_captured()) {
            Some(plan) => plan,
            None => self.compile(key, &values, &of_node, &wishes)?,
        };
        let numbers: SmallVec<[Number; 32]> = args.iter().map(|a| a.number()).collect();
        let origin = |source: u32| &self.recording.nodes[source as usize].origin;
        let results = profile::planned(&plan, origin, || locked.run(&plan, &values, &numbers));
        let results = results.map_err(|(source, fault)| self.explain(source, fault))?;
        observe(&Observed { request: &self, plan: &plan, values: &values, of_node: &of_node, args: &args });
        self.finish(locked, &plan, results);
        Ok(true)
    }

    #[cold]
    fn compile(
        &self,
        key: Vec<u64>,
        values: &[BoundValue],
        of_node: &[u32],
        wishes: &[(usize, u32)],
    ) -> Result<Arc<Plan>> {
        stats::count(|s| s.plans += 1);
        let mut graph = Graph::default();
        let mut map: IdMap<NodeId> = IdMap::default();
        let mut first_of: Vec<Option<NodeId>> = vec![None; values.len()];
        for (i, node) in self.recording.nodes.iter().enumerate() {
            let bound = of_node[i];
            if bound == UNBOUND {
                continue;
            }
            let id = *first_of[bound as usize].get_or_insert_with(|| {
                graph.push(GNode {
                    op: Op::Input(bound),
                    inputs: Edges::new(),
                    shape: node.shape.clone(),
                    dtype: node.dtype,
                    args: 0,
                    source: i as u32,
                })
            });
            // The same memory under another shape or type.
            let first = graph.node(id).clone();
            let id = if first.shape == node.shape && first.dtype == node.dtype {
                id
            } else {
                graph.push(GNode {
                    op: Op::Reshape,
                    inputs: smallvec::smallvec![id],
                    shape: node.shape.clone(),
                    ..first
                })
            };
            map.insert(node.id, id);
        }
        let mut next_arg = 0;
        graph.append(&self.recording, &mut map, &mut next_arg, |i| i);
        for output in &self.outputs {
            let node = &self.recording.nodes[output.node as usize];
            let id = map[&node.id];
            let id = if node.op.has_parts() {
                let (shape, dtype) = result_meta(&self.recording, output);
                let part = GNode {
                    op: Op::Part(output.part),
                    inputs: smallvec::smallvec![id],
                    shape,
                    dtype,
                    ..graph.node(id).clone()
                };
                graph.push(part)
            } else {
                id
            };
            graph.outputs.push(id);
        }
        crate::show::record(&self.recording);
        let graph = rewrite(graph, crate::show::rewritten)?;
        let (program, in_place) = plan(&graph, wishes, true)?;
        crate::show::planned(&program, &self.recording);
        Ok(cache::keep(Plan::new(key, program, in_place, self.sketch(of_node))))
    }

    /// What is to be computed, for people. Values from outside are counted, or have the name of their cell.
    #[cold]
    fn sketch(&self, of_node: &[u32]) -> Sketch {
        let name = |(node, &bound): (&Arc<Node>, &u32)| {
            let name = match &node.op {
                Op::Cell(cell) => cell.label().map_or_else(|| format!("buffer {bound}"), |label| label.to_string()),
                _ if bound != UNBOUND => format!("input {bound}"),
                op => op.name().to_owned(),
            };
            (name, (node.shape.clone(), node.dtype))
        };
        Sketch(self.recording.nodes.iter().zip(of_node).map(name).collect())
    }

    /// The error of a fault: what the operation is and where it was recorded. What was to be computed from the
    /// refused values carries the error from now on, so that it can not fail a later plan.
    #[cold]
    fn explain(&self, source: u32, fault: Fault) -> Error {
        // Memory is missing for the whole; the largest value is what a user can make smaller.
        let largest = || (0..self.recording.nodes.len()).max_by_key(|&i| self.recording.nodes[i].shape.elements());
        let source = if source == UNBOUND { largest().unwrap_or(0) as u32 } else { source };
        let node = &self.recording.nodes[source as usize];
        let error = fault_error(node.op.name(), fault).at(&node.origin);
        node.set_error(error.clone());
        spread_errors(&self.recording);
        error
    }

    /// Hands the results to nodes and cells.
    fn finish(self, mut locked: Locked<'_>, plan: &Plan, mut results: Vec<Option<Arc<Buffer>>>) {
        for (effect, &output) in self.effects.iter().zip(&self.effect_outputs) {
            let buffer = results[output].clone().expect("every output has a buffer");
            locked.commit(&effect.cell, buffer, plan, output);
        }
        let wanted_by_effect_alone = |i: usize| {
            let node = &self.recording.nodes[self.outputs[i].node as usize];
            self.effect_outputs.contains(&i) && Arc::strong_count(node) <= 2 && !node.held()
        };
        let unread: SmallVec<[bool; 32]> = unwatched(|| (0..self.outputs.len()).map(wanted_by_effect_alone).collect());
        for (i, output) in self.outputs.iter().enumerate() {
            let node = &self.recording.nodes[output.node as usize];
            let Some(buffer) = results[i].take() else { continue };
            if unread[i] {
                continue;
            }
            if node.op.has_parts() {
                node.set_part(output.part, buffer);
                continue;
            }
            if let Op::Part(part) = node.op {
                node.inputs().iter().for_each(|whole| {
                    if whole.trainable() {
                        whole.set_part(part, buffer.clone());
                    }
                });
            }
            node.set_value(buffer);
        }
        if let Some(by) = self.effects.iter().find(|e| e.cell.trainable()).map(|e| e.by.clone()) {
            self.consumed.iter().for_each(|n| n.consume(&by));
        }
    }
}

/// Hands the errors of plans that failed on to what was recorded on the refused values; whether there are any.
fn spread_errors(recording: &Recording) -> bool {
    if recording.nodes.iter().all(|node| !node.failed_before()) {
        return false;
    }
    let mut errors: Vec<Option<Error>> = Vec::with_capacity(recording.nodes.len());
    for (i, node) in recording.nodes.iter().enumerate() {
        let below = || recording.inputs(i).iter().find_map(|&j| errors[j as usize].clone());
        let error = node.error().or_else(below);
        if let Some(error) = &error {
            node.set_error(error.clone());
        }
        errors.push(error);
    }
    true
}

/// The error of what a kernel refused.
fn fault_error(name: &str, fault: Fault) -> Error {
    match fault {
        Fault::Index { axis, fault } => crate::op::index::out_of_range(name, fault.value, fault.size, axis)
            .note(format!("at element {} of the index", fault.position)),
        Fault::DivisionByZero => Error::new(format!("{name}: integer division by zero")),
        Fault::NotFinite(what) => crate::op::structure::not_finite(&what),
        Fault::Refused(what) => Error::new(&*what),
        Fault::Memory(bytes) => no_memory(name, bytes),
    }
}

/// The error of a plan that needs so many bytes.
fn no_memory(name: &str, bytes: usize) -> Error {
    let size = |bytes: usize| match bytes as f64 {
        b if b < 1e9 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.1} GB", b / 1e9),
    };
    let there = match machine_memory() {
        Some((all, free)) => format!("the machine has {}, of which {} are free", size(all), size(free)),
        None => "the system has not so much left".to_owned(),
    };
    let error = Error::new(format!("{name}: what is to be computed needs {} of memory, {there}", size(bytes)));
    error.help("a smaller batch, or reading results before more is recorded")
}

const UNBOUND: u32 = u32::MAX;

impl Recording {
    /// Whether everything here that has inputs is still to be computed.
    fn waits_whole(&self) -> bool {
        self.nodes.iter().enumerate().all(|(i, node)| self.inputs(i).is_empty() || !is_evaluated(node))
    }
}

/// Whether the walk ends here: the value is known.
fn is_evaluated(node: &Node) -> bool {
    if node.has_value() {
        return true;
    }
    if let Op::Part(part) = node.op {
        let known = node.inputs().first().and_then(|whole| whole.part(part));
        if let Some(buffer) = known {
            node.set_value(buffer);
            return true;
        }
    }
    false
}

/// Shape and type of one result of a node with several.
fn result_meta(recording: &Recording, output: &Output) -> crate::region::Meta {
    let node = &recording.nodes[output.node as usize];
    let inputs = recording.inputs(output.node as usize);
    node.op
        .result_metas(
            &inputs
                .iter()
                .map(|&j| {
                    let n = &recording.nodes[j as usize];
                    (n.shape.clone(), n.dtype)
                })
                .collect::<Vec<_>>(),
            &(node.shape.clone(), node.dtype),
        )
        .swap_remove(output.part as usize)
}

/// Makes outputs of what a gradient asked for later will read, so that a read before a step pays nothing
/// twice. What this very plan consumes needs nothing.
fn keep_for_gradient(recording: &Recording, effects: &[Effect], outputs: &mut Vec<Output>) {
    let written = |cell: &Arc<Cell>| effects.iter().any(|e| e.cell.id() == cell.id());
    let n = recording.nodes.len();
    let mut gone = vec![false; n];
    let mut needed = vec![false; n];
    for (i, node) in recording.nodes.iter().enumerate() {
        gone[i] = match &node.op {
            Op::Cell(cell) => written(cell) && cell.trainable(),
            _ => recording.inputs(i).iter().any(|&j| gone[j as usize]),
        };
    }
    for (i, node) in recording.nodes.iter().enumerate() {
        let inputs = recording.inputs(i);
        if !node.trainable() || gone[i] || inputs.is_empty() {
            continue;
        }
        let saves = node.op.saves();
        for (k, &j) in inputs.iter().enumerate() {
            // The last bit speaks for all that follow: a concatenation may have more inputs than there are bits.
            if saves.inputs >> k.min(31) & 1 == 1 {
                mark_saved(recording, j, &mut needed);
            }
        }
        if saves.output {
            mark_saved(recording, i as u32, &mut needed);
        }
    }
    for (i, node) in recording.nodes.iter().enumerate().filter(|(i, _)| needed[*i]) {
        if node.op.has_parts() {
            outputs.extend((0..node.op.results() as u32).map(|part| Output { node: i as u32, part }));
        } else if !outputs.iter().any(|o| o.node == i as u32) {
            outputs.push(Output { node: i as u32, part: 0 });
        }
    }
}

/// Marks the node whose memory `i` shows; numbers, indices and what is bound need no memory.
fn mark_saved(recording: &Recording, mut i: u32, needed: &mut [bool]) {
    loop {
        let node = &recording.nodes[i as usize];
        let inputs = recording.inputs(i as usize);
        match &node.op {
            Op::Reshape
            | Op::Permute(_)
            | Op::Broadcast
            | Op::Slice { .. }
            | Op::Window { .. }
            | Op::Mark(_)
            | Op::Part(_)
                if !inputs.is_empty() =>
            {
                i = inputs[0];
            }
            Op::Const(_) | Op::Scalar(_) | Op::Iota { .. } | Op::Random { .. } => return,
            _ if inputs.is_empty() => return,
            _ => {
                needed[i as usize] = true;
                return;
            }
        }
    }
}

/// A value from outside.
#[derive(Debug)]
pub(crate) enum BoundValue {
    Buffer(Arc<Buffer>),
    Cell(Arc<Cell>),
}

/// What a run was: what a capture keeps.
pub(crate) struct Observed<'a> {
    request: &'a Request,
    pub(crate) plan: &'a Arc<Plan>,
    pub(crate) values: &'a [BoundValue],
    of_node: &'a [u32],
    pub(crate) args: &'a [Arg],
}

impl Observed<'_> {
    /// Which output a node is.
    pub(crate) fn output_of(&self, node: &Node) -> Option<usize> {
        let position = self.request.recording.position(node)?;
        self.request.outputs.iter().position(|o| o.node == position)
    }

    /// The cells that are written, and by which output.
    pub(crate) fn effects(&self) -> Vec<(Arc<Cell>, usize)> {
        let cells = self.request.effects.iter().map(|e| e.cell.clone());
        cells.zip(self.request.effect_outputs.iter().copied()).collect()
    }

    /// Where each node was recorded.
    pub(crate) fn origins(&self) -> Vec<Origin> {
        self.request.recording.nodes.iter().map(|node| node.origin.clone()).collect()
    }

    /// Where each number of the host was recorded.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut numbers = Vec::new();
        for (node, _) in self.request.recording.nodes.iter().zip(self.of_node).filter(|(_, b)| **b == UNBOUND) {
            numbers.clear();
            node.op.host(&mut numbers);
            let line = node.origin.user_line();
            lines.extend(numbers.iter().map(|_| format!("{}:{}", line.file(), line.line())));
        }
        lines
    }
}

impl Request {
    /// The cells that the run reads or writes, by id.
    fn cells(&self) -> Vec<Arc<Cell>> {
        let read =
            self.recording.nodes.iter().filter_map(|n| if let Op::Cell(cell) = &n.op { Some(cell) } else { None });
        cell::in_order(self.effects.iter().map(|e| &e.cell).chain(read).cloned().collect())
    }
}

/// The values that a request reads, and which of them each node of the recording is.
fn bind(request: &Request, locked: &Locked<'_>) -> Result<(Vec<BoundValue>, Vec<u32>)> {
    let mut values: Vec<BoundValue> = Vec::new();
    let mut known: IdMap<u32> = IdMap::default();
    let mut of_node = Vec::with_capacity(request.recording.nodes.len());
    for (i, node) in request.recording.nodes.iter().enumerate() {
        if !request.recording.inputs(i).is_empty() {
            of_node.push(UNBOUND);
            continue;
        }
        let (id, value) = match &node.op {
            Op::Cell(cell) => {
                locked.check_current(cell, node)?;
                (cell.id(), BoundValue::Cell(cell.clone()))
            }
            Op::Input(_) => {
                return Err(Error::new("read: the value is not known while a region is recorded").at(&node.origin));
            }
            _ => match node.value() {
                // Addresses and ids are apart: ids are small.
                Some(buffer) => (Arc::as_ptr(&buffer).addr() as u64, BoundValue::Buffer(buffer)),
                None if node.lost() => return Err(changed("what this is computed from", node)),
                None => {
                    of_node.push(UNBOUND);
                    continue;
                }
            },
        };
        of_node.push(*known.entry(id).or_insert_with(|| {
            values.push(value);
            values.len() as u32 - 1
        }));
    }
    Ok((values, of_node))
}

fn changed(what: &str, node: &Node) -> Error {
    let error = Error::new(format!("read: {what} has changed since this was recorded"));
    error.at(&node.origin).help("reading the result before the change, or recording it again")
}

/// From here on the system is asked how much memory there is.
const LARGE: usize = 1 << 28;

/// The cells of a run, locked for as long as it lasts, in the order of their ids.
struct Locked<'a> {
    cells: &'a [Arc<Cell>],
    states: SmallVec<[MutexGuard<'a, CellState>; 8]>,
}

impl<'a> Locked<'a> {
    fn new(cells: &'a [Arc<Cell>]) -> Locked<'a> {
        Locked { cells, states: cell::locked(cells) }
    }

    fn position(&self, cell: &Cell) -> usize {
        cell::position(self.cells, cell)
    }

    fn check_current(&self, cell: &Cell, node: &Node) -> Result<()> {
        if Cell::is_current(&self.states[self.position(cell)], node) {
            return Ok(());
        }
        Err(changed(&cell.name(), node))
    }

    /// Whether the assignment still is the one that its cell waits for.
    fn waits(&self, effect: &Effect) -> bool {
        let pending = self.states[self.position(&effect.cell)].pending.as_ref();
        pending.is_some_and(|pending| Arc::ptr_eq(&pending.value, &effect.value))
    }

    fn alone(&self, cell: &Cell) -> bool {
        self.states[self.position(cell)].value.as_ref().is_some_and(|v| Arc::strong_count(v) == 1)
    }

    /// Which outputs may be written over the old value of their cell: it is read by this plan, and nobody
    /// else holds it.
    fn wishes(&self, request: &Request, values: &[BoundValue]) -> Vec<(usize, u32)> {
        let mut wishes: Vec<(usize, u32)> = Vec::new();
        let mut bound: IdMap<u32> = IdMap::default();
        for (i, value) in values.iter().enumerate() {
            if let BoundValue::Cell(cell) = value {
                bound.insert(cell.id(), i as u32);
            }
        }
        for (effect, &output) in request.effects.iter().zip(&request.effect_outputs) {
            if let Some(&bound) = bound.get(&effect.cell.id())
                && self.alone(&effect.cell)
                && !wishes.iter().any(|(o, _)| *o == output)
            {
                wishes.push((output, bound));
            }
        }
        wishes
    }

    /// Runs the plan; returns a buffer for each output. When it fails, cells keep their values.
    fn run(
        &mut self,
        plan: &Plan,
        values: &[BoundValue],
        args: &[Number],
    ) -> Result<Vec<Option<Arc<Buffer>>>, (u32, Fault)> {
        stats::count(|s| s.runs += 1);
        let mut ws = Workspace::new();
        let program = &plan.program;
        let mut over: SmallVec<[Option<usize>; 32]> = smallvec::smallvec![None; program.results.len()];
        plan.in_place.iter().for_each(|&(o, b)| over[o] = Some(b as usize));
        // All memory is asked for before a cell gives its own away.
        let whole = |o: usize| program.shared[o] == o && over[o].is_none();
        let results = (0..program.results.len()).filter(|&o| whole(o)).map(|o| program.results[o]);
        let need = results.fold(program.arena, usize::saturating_add);
        let missing = || (UNBOUND, Fault::Memory(need));
        // A system that promises more than it has would stop the process when the memory is touched.
        if need >= LARGE && machine_memory().is_some_and(|(all, _)| need > all) {
            return Err(missing());
        }
        let had = |bytes: usize| Buffer::try_new(bytes).ok_or_else(missing);
        let mut owned: SmallVec<[Option<Buffer>; 32]> = SmallVec::new();
        for (o, &bytes) in program.results.iter().enumerate() {
            owned.push(if whole(o) { Some(had(bytes)?) } else { None });
        }
        let arena = ws.own(had(program.arena)?);
        let arena = Loc { buffer: arena, start: 0, len: program.arena };
        let mut bound: SmallVec<[Loc; 32]> = SmallVec::new();
        for (i, value) in values.iter().enumerate() {
            let written = plan.in_place.iter().any(|(_, b)| *b == i as u32);
            let shared = match value {
                BoundValue::Buffer(buffer) => buffer.clone(),
                BoundValue::Cell(cell) => {
                    let at = self.position(cell);
                    let value = &mut self.states[at].value;
                    if written {
                        let buffer =
                            Arc::into_inner(value.take().expect("checked: alone")).expect("nobody else holds it");
                        let len = buffer.len();
                        bound.push(Loc { buffer: ws.own(buffer), start: 0, len });
                        continue;
                    }
                    value.clone().expect("a cell has a value between runs")
                }
            };
            let len = shared.len();
            bound.push(Loc { buffer: ws.share(shared), start: 0, len });
        }
        let mut results: SmallVec<[Loc; 32]> = SmallVec::new();
        for (o, &bytes) in program.results.iter().enumerate() {
            let first = program.shared[o];
            results.push(match over[o] {
                _ if first != o => results[first],
                Some(b) => bound[b],
                None => {
                    let buffer = owned[o].take().expect("asked for above");
                    Loc { buffer: ws.own(buffer), start: 0, len: bytes }
                }
            });
        }
        let done = run(&cpu(), &mut ws, program, Frame { bound: &bound, results: &results, arena }, args);
        if done.is_err() {
            for b in over.into_iter().flatten() {
                if let BoundValue::Cell(cell) = &values[b] {
                    let at = self.position(cell);
                    self.states[at].value = Some(Arc::new(ws.take(bound[b].buffer)));
                }
            }
        }
        done?;
        let mut buffers: Vec<Option<Arc<Buffer>>> = Vec::with_capacity(results.len());
        for (o, loc) in results.iter().enumerate() {
            let first = program.shared[o];
            buffers.push(if first == o { Some(Arc::new(ws.take(loc.buffer))) } else { buffers[first].clone() });
        }
        Ok(buffers)
    }

    fn commit(&mut self, cell: &Cell, buffer: Arc<Buffer>, plan: &Plan, output: usize) {
        let in_place = plan.in_place.iter().any(|(o, _)| *o == output);
        stats::count(|s| if in_place { s.in_place += 1 } else { s.moved += 1 });
        let at = self.position(cell);
        Cell::commit(&mut self.states[at], buffer);
    }
}

/// Runs a captured plan again on other values. None when a cell can not be written as the plan does, since
/// a snapshot holds its value.
pub(crate) fn replay(
    plan: &Arc<Plan>,
    values: &[BoundValue],
    effects: &[(Arc<Cell>, usize)],
    args: &[Number],
    origins: &[Origin],
) -> Result<Option<Vec<Option<Arc<Buffer>>>>> {
    let read = values.iter().filter_map(|v| if let BoundValue::Cell(cell) = v { Some(cell) } else { None });
    let cells = cell::in_order(effects.iter().map(|(cell, _)| cell).chain(read).cloned().collect());
    let mut locked = Locked::new(&cells);
    let writable = plan.in_place.iter().all(|(_, b)| match &values[*b as usize] {
        BoundValue::Cell(cell) => locked.alone(cell),
        BoundValue::Buffer(_) => false,
    });
    // An assignment of another thread would be lost: the recorded step will see it.
    let waits = effects.iter().any(|(cell, _)| locked.states[locked.position(cell)].pending.is_some());
    if !writable || waits {
        return Ok(None);
    }
    let origin = |source: u32| &origins[source as usize];
    let results = profile::planned(plan, origin, || locked.run(plan, values, args));
    let results = results.map_err(|(_, fault)| fault_error("capture", fault))?;
    for (cell, output) in effects {
        locked.commit(cell, results[*output].clone().expect("every output has a buffer"), plan, *output);
    }
    Ok(Some(results))
}
