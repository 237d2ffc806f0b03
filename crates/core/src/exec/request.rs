//! One evaluation: which nodes are wanted, which assignments run with them, which values are bound.

use std::sync::{Arc, MutexGuard};

use limpid_kernels::{Buffer, Loc, Number, Workspace};
use smallvec::SmallVec;

use crate::cell::{self, Cell, CellState};
use crate::compound::Fault;
use crate::config::cpu;
use crate::error::{Error, Result};
use crate::exec::arena::{Edges, GNode, Graph, NodeId};
use crate::exec::cache::{self, Plan};
use crate::exec::passes::rewrite;
use crate::exec::plan::plan;
use crate::exec::run::{Frame, run};
use crate::exec::stats;
use crate::graph::{IdMap, Recording};
use crate::node::{Node, held_readers};
use crate::op::{Arg, Op};
use crate::origin::Origin;
use crate::tensor::Tensor;

/// Computes `wanted`, and runs the assignments that this thread has recorded.
///
/// A plan that fails changes nothing: parameters, buffers and counters keep what they were, and the
/// assignments are dropped.
pub(crate) fn evaluate(wanted: &[&Tensor]) -> Result<()> {
    if let Some(error) = wanted.iter().filter(|t| t.node.error().is_some()).min_by_key(|t| t.node.id) {
        return Err(error.node.error().expect("filtered"));
    }
    let roots: Vec<Arc<Node>> =
        wanted.iter().filter(|t| !t.node.has_value() && !t.node.symbolic()).map(|t| t.node.clone()).collect();
    let settles = wanted.iter().any(|t| t.node.has_value());
    if roots.is_empty() && !settles {
        return Ok(());
    }
    let effects = Effect::pending();
    if roots.is_empty() && effects.is_empty() {
        return Ok(());
    }
    let cells: Vec<Arc<Cell>> = effects.iter().map(|e| e.cell.clone()).collect();
    let done = Request::new(roots, effects).and_then(Request::execute);
    if done.is_err() {
        cell::discard(&cells);
    }
    done
}

/// Computes everything that is held and reads the current value of `cell`, which is about to change.
pub(crate) fn settle_readers(cell: &Arc<Cell>) -> Result<()> {
    let affected = Affected::find(&[cell.id()], held_readers());
    let roots: Vec<Arc<Node>> = affected.nodes.iter().filter(|n| !n.has_value()).cloned().collect();
    if !roots.is_empty() {
        Request::new(roots, Vec::new())?.execute()?;
    }
    if cell.trainable()
        && let Some(by) = affected.nodes.first().map(|n| n.origin.clone())
    {
        affected.nodes.iter().for_each(|n| n.consume(&by));
    }
    Ok(())
}

/// An assignment that waits.
struct Effect {
    cell: Arc<Cell>,
    value: Arc<Node>,
    by: Origin,
}

impl Effect {
    /// This thread's assignments.
    fn pending() -> Vec<Effect> {
        let cells = cell::pending();
        cells
            .into_iter()
            .filter_map(|cell| {
                let (value, by) = cell.pending_assignment()?;
                Some(Effect { cell, value, by })
            })
            .collect()
    }
}

/// Held nodes that were computed, or wait to be computed, from cells that are about to change.
struct Affected {
    nodes: Vec<Arc<Node>>,
}

impl Affected {
    fn find(cells: &[u64], held: Vec<Arc<Node>>) -> Affected {
        if held.is_empty() || cells.is_empty() {
            return Affected { nodes: Vec::new() };
        }
        let recording = Recording::collect(&held, |_| false);
        let mut reaches = vec![false; recording.nodes.len()];
        for (i, node) in recording.nodes.iter().enumerate() {
            reaches[i] = match &node.op {
                Op::Cell(cell) => cells.contains(&cell.id()),
                _ => recording.inputs(i).iter().any(|&j| reaches[j as usize]),
            };
        }
        let hit = |n: &Arc<Node>| recording.position(n).is_some_and(|i| reaches[i as usize]);
        Affected { nodes: held.into_iter().filter(hit).collect() }
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
struct Request {
    recording: Recording,
    outputs: Vec<Output>,
    effects: Vec<Effect>,
    /// The output of each effect.
    effect_outputs: Vec<usize>,
    /// Nodes that become plain values, and by what.
    consumed: Vec<Arc<Node>>,
}

impl Request {
    fn new(mut roots: Vec<Arc<Node>>, effects: Vec<Effect>) -> Result<Request> {
        if let Some(error) = effects.iter().find_map(|e| e.value.error()) {
            return Err(error);
        }
        let mut consumed = Vec::new();
        if !effects.is_empty() {
            let all: Vec<u64> = effects.iter().map(|e| e.cell.id()).collect();
            let trained: Vec<u64> = effects.iter().filter(|e| e.cell.trainable()).map(|e| e.cell.id()).collect();
            let held = held_readers();
            if trained.len() < all.len() {
                let readers = Affected::find(&all, held.clone()).nodes;
                roots.extend(readers.into_iter().filter(|n| !n.has_value()));
            }
            consumed = Affected::find(&trained, held).nodes;
            roots.extend(consumed.iter().filter(|n| !n.has_value()).cloned());
        }
        let asked = roots.len();
        roots.extend(effects.iter().map(|e| e.value.clone()));
        let recording = Recording::collect(&roots, is_evaluated);
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
        keep_for_gradient(&recording, &effects, &mut outputs);
        Ok(Request { recording, outputs, effects, effect_outputs, consumed })
    }

    fn execute(self) -> Result<()> {
        let cells = self.cells();
        let mut bindings = Bindings::new(&self, &cells)?;
        let wishes = bindings.wishes(&self);
        let mut key: Vec<u64> = vec![cpu().isa as u64, self.outputs.len() as u64, wishes.len() as u64];
        key.extend(self.outputs.iter().map(|o| u64::from(o.node) | u64::from(o.part) << 32));
        key.extend(wishes.iter().map(|(o, b)| *o as u64 | u64::from(*b) << 32));
        key.extend(bindings.of_node.iter().map(|b| u64::from(*b)));
        self.recording.key(&mut key);
        let mut args: Vec<Arg> = Vec::new();
        self.recording.host(&mut args);
        let plan = match cache::find(&key) {
            Some(plan) => plan,
            None => self.compile(key, &bindings, &args, &wishes)?,
        };
        let numbers: Vec<Number> = args.iter().map(|a| a.number()).collect();
        stats::count(|s| s.runs += 1);
        let results = bindings.run(&plan, &numbers).map_err(|(source, fault)| self.explain(source, fault))?;
        self.finish(bindings, &plan, results);
        Ok(())
    }

    #[cold]
    fn compile(
        &self,
        key: Vec<u64>,
        bindings: &Bindings<'_>,
        args: &[Arg],
        wishes: &[(usize, u32)],
    ) -> Result<Arc<Plan>> {
        stats::count(|s| s.plans += 1);
        let mut graph = Graph::default();
        let mut map: IdMap<NodeId> = IdMap::default();
        let mut first_of: Vec<Option<NodeId>> = vec![None; bindings.values.len()];
        for (i, node) in self.recording.nodes.iter().enumerate() {
            let bound = bindings.of_node[i];
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
        let graph = rewrite(graph, |name, graph| crate::show::rewritten(name, graph))?;
        let (program, in_place) = plan(&graph, args, wishes)?;
        crate::show::planned(&program, &self.recording);
        Ok(cache::keep(Plan::new(key, program, in_place)))
    }

    /// The error of a fault: what the operation is and where it was recorded.
    #[cold]
    fn explain(&self, source: u32, fault: Fault) -> Error {
        let node = &self.recording.nodes[source as usize];
        let name = node.op.name();
        let error = match fault {
            Fault::Index { axis, fault } => crate::op::index::out_of_range(name, fault.value, fault.size, axis)
                .note(format!("at element {} of the index", fault.position)),
            Fault::DivisionByZero => Error::new(format!("{name}: integer division by zero")),
            Fault::NotFinite(what) => crate::op::structure::not_finite(&what),
        };
        error.at(&node.origin)
    }

    /// Hands the results to nodes and cells.
    fn finish(self, mut bindings: Bindings<'_>, plan: &Plan, results: Vec<Option<Arc<Buffer>>>) {
        let mut results = results;
        for (effect, &output) in self.effects.iter().zip(&self.effect_outputs) {
            let buffer = results[output].clone().expect("every output has a buffer");
            if plan.in_place.iter().any(|(o, _)| *o == output) {
                stats::count(|s| s.in_place += 1);
            } else {
                stats::count(|s| s.moved += 1);
            }
            bindings.commit(&effect.cell, buffer);
        }
        for (i, output) in self.outputs.iter().enumerate() {
            let node = &self.recording.nodes[output.node as usize];
            let wanted_by_effect_alone =
                self.effect_outputs.contains(&i) && Arc::strong_count(node) <= 2 && !node.held();
            let Some(buffer) = results[i].take() else { continue };
            if wanted_by_effect_alone {
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

const UNBOUND: u32 = u32::MAX;

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
            if saves.inputs >> k & 1 == 1 {
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
enum Bound {
    Buffer(Arc<Buffer>),
    Cell(usize),
}

/// The values that a run reads. The cells among them are locked for as long as it lasts.
struct Bindings<'a> {
    values: Vec<Bound>,
    /// The bound value of each node of the recording.
    of_node: Vec<u32>,
    /// All cells that are read or written, in the order of their ids, which is the order of locking.
    cells: &'a [Arc<Cell>],
    states: SmallVec<[MutexGuard<'a, CellState>; 8]>,
}

impl Request {
    /// The cells that the run reads or writes, by id.
    fn cells(&self) -> Vec<Arc<Cell>> {
        let mut cells: Vec<Arc<Cell>> = self.effects.iter().map(|e| e.cell.clone()).collect();
        for node in &self.recording.nodes {
            if let Op::Cell(cell) = &node.op {
                cells.push(cell.clone());
            }
        }
        cells.sort_by_key(|c| c.id());
        cells.dedup_by_key(|c| c.id());
        cells
    }
}

impl<'a> Bindings<'a> {
    fn new(request: &Request, cells: &'a [Arc<Cell>]) -> Result<Bindings<'a>> {
        let states = cells.iter().map(|c| c.state()).collect();
        let of_node = Vec::with_capacity(request.recording.nodes.len());
        let mut bindings = Bindings { values: Vec::new(), of_node, cells, states };
        let mut buffers: IdMap<u32> = IdMap::default();
        for (i, node) in request.recording.nodes.iter().enumerate() {
            let bound = match &node.op {
                Op::Cell(cell) => bindings.cell(cell, node)?,
                Op::Input(_) => {
                    return Err(Error::new("read: the value is not known while a region is recorded").at(&node.origin));
                }
                _ if request.recording.inputs(i).is_empty() => match node.value() {
                    None => UNBOUND,
                    Some(buffer) => *buffers.entry(Arc::as_ptr(&buffer).addr() as u64).or_insert_with(|| {
                        bindings.values.push(Bound::Buffer(buffer));
                        bindings.values.len() as u32 - 1
                    }),
                },
                _ => UNBOUND,
            };
            bindings.of_node.push(bound);
        }
        Ok(bindings)
    }

    fn position(&self, cell: &Cell) -> usize {
        self.cells.binary_search_by_key(&cell.id(), |c| c.id()).expect("all cells are listed")
    }

    fn cell(&mut self, cell: &Cell, node: &Node) -> Result<u32> {
        let at = self.position(cell);
        if !Cell::is_current(&self.states[at], node) {
            let label = cell.label().map_or_else(|| "a buffer".to_owned(), |label| label.to_string());
            let error = Error::new(format!("read: {label} has changed since this was recorded"));
            return Err(error.at(&node.origin).help("reading the result before the change, or recording it again"));
        }
        let known = self.values.iter().position(|v| matches!(v, Bound::Cell(c) if *c == at));
        Ok(known.unwrap_or_else(|| {
            self.values.push(Bound::Cell(at));
            self.values.len() - 1
        }) as u32)
    }

    /// Which outputs may be written over the old value of their cell: it is read by this plan, and nobody
    /// else holds it.
    fn wishes(&self, request: &Request) -> Vec<(usize, u32)> {
        let mut wishes: Vec<(usize, u32)> = Vec::new();
        for (effect, &output) in request.effects.iter().zip(&request.effect_outputs) {
            let at = self.position(&effect.cell);
            let bound = self.values.iter().position(|v| matches!(v, Bound::Cell(c) if *c == at));
            let alone = self.states[at].value.as_ref().is_some_and(|v| Arc::strong_count(v) == 1);
            if let Some(bound) = bound
                && alone
                && !wishes.iter().any(|(o, _)| *o == output)
            {
                wishes.push((output, bound as u32));
            }
        }
        wishes
    }

    /// Runs the plan; returns a buffer for each output. When it fails, cells keep their values.
    fn run(&mut self, plan: &Plan, args: &[Number]) -> Result<Vec<Option<Arc<Buffer>>>, (u32, Fault)> {
        let mut ws = Workspace::new();
        let program = &plan.program;
        let arena = ws.own(Buffer::new(program.arena));
        let arena = Loc { buffer: arena, start: 0, len: program.arena };
        let mut bound: SmallVec<[Loc; 16]> = SmallVec::new();
        for (i, value) in self.values.iter().enumerate() {
            let written = plan.in_place.iter().any(|(_, b)| *b == i as u32);
            let shared = match value {
                Bound::Buffer(buffer) => buffer.clone(),
                Bound::Cell(at) if written => {
                    let value = self.states[*at].value.take().expect("checked by wishes");
                    let buffer = Arc::into_inner(value).expect("nobody else holds it");
                    let len = buffer.len();
                    bound.push(Loc { buffer: ws.own(buffer), start: 0, len });
                    continue;
                }
                Bound::Cell(at) => self.states[*at].value.clone().expect("a cell has a value between runs"),
            };
            let len = shared.len();
            bound.push(Loc { buffer: ws.share(shared), start: 0, len });
        }
        let in_place = |o: usize| plan.in_place.iter().find(|(output, _)| *output == o).map(|(_, b)| *b as usize);
        let results: SmallVec<[Loc; 16]> = program
            .results
            .iter()
            .enumerate()
            .map(|(o, &bytes)| match in_place(o) {
                Some(b) => bound[b],
                None => Loc { buffer: ws.own(Buffer::new(bytes)), start: 0, len: bytes },
            })
            .collect();
        let done = run(&cpu(), &mut ws, program, Frame { bound: &bound, results: &results, arena }, args);
        let failed = done.is_err();
        let mut buffers: Vec<Option<Arc<Buffer>>> = Vec::with_capacity(results.len());
        for (o, loc) in results.iter().enumerate() {
            if failed && in_place(o).is_none() {
                continue;
            }
            let buffer = Arc::new(ws.take(loc.buffer));
            match in_place(o) {
                Some(b) if failed => {
                    if let Bound::Cell(at) = &self.values[b] {
                        self.states[*at].value = Some(buffer);
                    }
                }
                _ => buffers.push(Some(buffer)),
            }
        }
        done.map(|()| buffers)
    }

    fn commit(&mut self, cell: &Cell, buffer: Arc<Buffer>) {
        let at = self.position(cell);
        Cell::commit(&mut self.states[at], buffer);
    }
}
