//! From a rewritten graph to a program: an order of steps, and a place for every value.

use limpid_kernels::DType;
use limpid_kernels::fused::{Instr, Kernel, Reg};
use smallvec::smallvec;

use crate::error::{Error, Result};
use crate::exec::arena::{Class, GNode, Graph, NodeId, class};
use crate::exec::fuse::{Cluster, clusters};
use crate::exec::lower;
use crate::exec::memory;
use crate::exec::program::{ArgRef, Chain, Factor, Home, In, Out, Plain, Program, Slot, SlotInfo, Step, Work};
use crate::exec::schedule::schedule;
use crate::exec::view::View;
use crate::graph::IdMap;
use crate::op::Op;
use crate::shape::Shape;
use crate::testing::{Fault, planted};

/// Which results are written over a bound value: (output, input), the buffers of a step's parameters.
pub(crate) type InPlace = [(usize, u32)];

/// Plans `graph`, whose inputs are the bound values. With `share`, results that are the same node have one memory; else
/// each has its own. Returns the program and which of `in_place` it honours.
pub(crate) fn plan(graph: &Graph, in_place: &InPlace, share: bool) -> Result<(Program, Vec<(usize, u32)>)> {
    let over: Vec<NodeId> = in_place.iter().map(|(o, _)| graph.outputs[*o]).collect();
    let (clusters, of) = clusters(graph, &over);
    let mut planner = Planner {
        graph,
        leaves: leaves(graph, &of),
        parts: parts(graph),
        clusters,
        of,
        places: vec![None; graph.nodes.len()],
        program: Program::default(),
    };
    planner.bind_inputs();
    let results = planner.results();
    let wishes: Vec<(usize, NodeId, u32)> =
        in_place.iter().filter(|(o, _)| results[*o].1).map(|&(o, i)| (o, graph.outputs[o], i)).collect();
    let (order, granted) = schedule(graph, &planner.clusters, &planner.of, &wishes);
    planner.bind_results(&results, &granted);
    for c in order {
        planner.step(c)?;
    }
    planner.finish(&results, share);
    Ok((planner.program, granted))
}

/// Where the elements of a node are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Strides over a slot.
    Memory(Slot, View),
    /// A number.
    Number(ArgRef),
    /// The index along an axis, seen through a view.
    Index(View),
}

pub(crate) struct Planner<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) clusters: Vec<Cluster>,
    /// The cluster that computes each node.
    of: Vec<Option<usize>>,
    /// Whether a value is needed outside of the cluster that computes it.
    leaves: Vec<bool>,
    /// The part nodes of each node with several results.
    parts: IdMap<Vec<NodeId>>,
    /// Of nodes with several results: of the first; parts have their own.
    pub(crate) places: Vec<Option<Place>>,
    pub(crate) program: Program,
}

/// Which values are needed outside of the cluster that computes them.
fn leaves(graph: &Graph, of: &[Option<usize>]) -> Vec<bool> {
    let mut leaves = vec![false; graph.nodes.len()];
    for (u, node) in graph.nodes.iter().enumerate() {
        let inside = |i: &NodeId| of[u].is_some() && of[u] == of[i.index()] && class(&node.op) != Class::View;
        node.inputs.iter().filter(|i| !inside(i)).for_each(|i| leaves[i.index()] = true);
    }
    graph.outputs.iter().for_each(|o| leaves[o.index()] = true);
    leaves
}

/// The part nodes of each node that has some.
fn parts(graph: &Graph) -> IdMap<Vec<NodeId>> {
    let mut parts: IdMap<Vec<NodeId>> = IdMap::default();
    for (i, node) in graph.nodes.iter().enumerate() {
        if let (Op::Part(_), [whole]) = (&node.op, &node.inputs[..]) {
            parts.entry(u64::from(whole.0)).or_default().push(NodeId(i as u32));
        }
    }
    parts
}

impl Planner<'_> {
    pub(crate) fn slot(&mut self, bytes: usize, home: Home) -> Slot {
        self.program.slots.push(SlotInfo { bytes, home });
        Slot(self.program.slots.len() as u32 - 1)
    }

    /// Scratch memory; its offset is found when all steps are known.
    pub(crate) fn scratch(&mut self, bytes: usize) -> Slot {
        self.slot(bytes, Home::Arena(usize::MAX))
    }

    fn bind_inputs(&mut self) {
        for (i, node) in self.graph.nodes.iter().enumerate() {
            if let Op::Input(n) = node.op {
                let slot = self.slot(node.shape.elements() * node.dtype.size(), Home::Bound(n));
                self.places[i] = Some(Place::Memory(slot, View::contiguous(&node.shape)));
            }
        }
    }

    /// For each output the first output of the same node, and whether it is that itself.
    fn results(&self) -> Vec<(usize, bool)> {
        let outputs = &self.graph.outputs;
        (0..outputs.len())
            .map(|i| {
                let first = outputs.iter().position(|o| *o == outputs[i]).expect("itself at least");
                (first, first == i)
            })
            .collect()
    }

    fn bind_results(&mut self, results: &[(usize, bool)], granted: &[(usize, u32)]) {
        for (i, &id) in self.graph.outputs.iter().enumerate() {
            let node = self.graph.node(id);
            let bytes = node.shape.elements() * node.dtype.size();
            self.program.results.push(bytes);
            if results[i].1 {
                let home = match granted.iter().find(|(o, _)| *o == i) {
                    Some(&(_, bound)) => Home::Bound(bound),
                    None => Home::Result(i as u32),
                };
                let slot = self.slot(bytes, home);
                self.places[id.index()] = Some(Place::Memory(slot, View::contiguous(&node.shape)));
            }
        }
    }

    /// Copies for outputs that are the same node as an earlier one, and the memory map.
    fn finish(&mut self, results: &[(usize, bool)], share: bool) {
        for (i, &(first, own)) in results.iter().enumerate() {
            self.program.shared.push(if share { first } else { i });
            if own || share {
                continue;
            }
            let node = self.graph.node(self.graph.outputs[first]).clone();
            let slot = self.slot(self.program.results[i], Home::Result(i as u32));
            let chain = self.copy_chain(self.graph.outputs[first]).expect("a copy is a kernel");
            let work = Work::Fused { chain, outs: vec![Out { slot, dtype: node.dtype }] };
            self.program.steps.push(Step { work, source: node.source });
        }
        memory::reuse_in_place(&mut self.program);
        memory::assign(&mut self.program);
    }

    /// The memory that a node is computed into; a result's or cell's own where it has that.
    pub(crate) fn output(&mut self, id: NodeId) -> Out {
        let node = self.graph.node(id);
        let slot = match &self.places[id.index()] {
            Some(Place::Memory(slot, _)) => *slot,
            _ => {
                let slot = self.scratch(node.shape.elements() * node.dtype.size());
                self.places[id.index()] = Some(Place::Memory(slot, View::contiguous(&node.shape)));
                slot
            }
        };
        Out { slot, dtype: node.dtype }
    }

    /// The part nodes of a node with several results, by number.
    pub(crate) fn parts(&self, id: NodeId, count: usize) -> Vec<Option<NodeId>> {
        let mut parts = vec![None; count];
        for &part in self.parts.get(&u64::from(id.0)).into_iter().flatten() {
            if let Op::Part(p) = self.graph.node(part).op {
                parts[p as usize] = Some(part);
            }
        }
        parts
    }

    /// The memory of each result of a node with several; those that nobody asks for get scratch memory, or none where
    /// `may_skip` says that they need not be computed.
    pub(crate) fn part_outputs(
        &mut self,
        id: NodeId,
        metas: &[(Shape, DType)],
        may_skip: impl Fn(usize) -> bool,
    ) -> Vec<Out> {
        let parts = self.parts(id, metas.len());
        let parts = parts.into_iter().zip(metas).enumerate();
        parts
            .map(|(i, (part, (shape, dtype)))| match part {
                Some(part) => self.output(part),
                None => {
                    let bytes = if may_skip(i) { 0 } else { shape.elements() * dtype.size() };
                    Out { slot: self.scratch(bytes), dtype: *dtype }
                }
            })
            .collect()
    }

    /// Where the elements of a node are, following views down to memory.
    pub(crate) fn place(&mut self, id: NodeId) -> Place {
        if let Some(place) = &self.places[id.index()] {
            return place.clone();
        }
        let node = self.graph.node(id);
        let place = match &node.op {
            Op::Const(n) => Place::Number(ArgRef::Const(*n)),
            Op::Scalar(n) if planted(Fault::FrozenScalar) => Place::Number(ArgRef::Const(*n)),
            Op::Scalar(_) => Place::Number(ArgRef::Host(node.args)),
            Op::Iota { axis } => {
                let mut strides: crate::shape::Strides = smallvec![0; node.shape.rank()];
                strides[*axis] = 1;
                Place::Index(View { strides, ..View::contiguous(&node.shape) })
            }
            op => {
                debug_assert_eq!(class(op), Class::View, "{} is used before it is computed", op.name());
                let below = node.inputs[0];
                let from = &self.graph.node(below).shape;
                let view = |v: View| v.apply(op, from, &node.shape, node.args).expect("legal views only");
                match self.place(below) {
                    Place::Number(n) => Place::Number(n),
                    Place::Memory(slot, v) => Place::Memory(slot, view(v)),
                    Place::Index(v) => Place::Index(view(v)),
                }
            }
        };
        self.places[id.index()] = Some(place.clone());
        place
    }

    /// Contiguous memory to read.
    pub(crate) fn plain(&mut self, id: NodeId) -> Plain {
        let node = self.graph.node(id);
        match self.place(id) {
            Place::Memory(slot, view) => Plain { slot, dtype: node.dtype, shape: node.shape.clone(), view },
            place => unreachable!("legalize stores the inputs of kernels, not {place:?}"),
        }
    }

    fn factor(&mut self, id: NodeId) -> Factor {
        match self.place(id) {
            Place::Memory(slot, view) => Factor { slot, view },
            place => unreachable!("legalize stores the factors of products, not {place:?}"),
        }
    }

    /// Emits the step of one cluster.
    fn step(&mut self, c: usize) -> Result<()> {
        let cluster = std::mem::replace(&mut self.clusters[c], Cluster { head: None, members: Vec::new() });
        let graph = self.graph;
        match cluster.head {
            None => self.fused_step(&cluster.members)?,
            Some(head) => {
                let node = graph.node(head);
                match class(&node.op) {
                    Class::Reduce => self.reduce_step(head, node, &cluster.members)?,
                    Class::Dot => self.dot_step(head, node, &cluster.members)?,
                    _ => lower::kernel(self, head)?,
                }
            }
        }
        self.clusters[c] = cluster;
        Ok(())
    }

    pub(crate) fn push(&mut self, work: Work, source: u32) {
        self.program.steps.push(Step { work, source });
    }

    fn fused_step(&mut self, members: &[NodeId]) -> Result<()> {
        let results: Vec<NodeId> = members.iter().copied().filter(|m| self.leaves[m.index()]).collect();
        let mut builder = ChainBuilder::new(self.graph.node(members[0]).shape.clone());
        members.iter().try_for_each(|&m| builder.member(self, m))?;
        let chain = builder.finish(&results)?;
        let outs = results.iter().map(|&r| self.output(r)).collect();
        let source = self.graph.node(*members.last().expect("a cluster is not empty")).source;
        self.push(Work::Fused { chain, outs }, source);
        Ok(())
    }

    fn reduce_step(&mut self, head: NodeId, node: &GNode, members: &[NodeId]) -> Result<()> {
        let Op::Reduce { f, axes } = &node.op else { unreachable!("a reduction") };
        let input = node.inputs[0];
        let shape = self.graph.node(input).shape.clone();
        let mut builder = ChainBuilder::new(shape.clone());
        members.iter().try_for_each(|&m| builder.member(self, m))?;
        let value = builder.operand(self, input)?;
        let mut chain = builder.finish_registers(vec![value])?;
        // The reduced axes last: the order of the others is the order of the result.
        let order: Vec<usize> = (0..shape.rank()).filter(|a| !axes.contains(a)).chain(axes.iter().copied()).collect();
        chain.dims = order.iter().map(|&a| shape[a]).collect();
        for input in &mut chain.inputs {
            if let In::Data { view, .. } | In::Index { view } = input {
                view.strides = order.iter().map(|&a| view.strides[a]).collect();
            }
        }
        let out = self.output(head);
        self.push(Work::Reduce { chain, f: *f, reduced: axes.len(), out }, node.source);
        Ok(())
    }

    fn dot_step(&mut self, head: NodeId, node: &GNode, members: &[NodeId]) -> Result<()> {
        let rank = node.shape.rank();
        let (a, b) = (self.factor(node.inputs[0]), self.factor(node.inputs[1]));
        let k = self.graph.node(node.inputs[0]).shape[rank - 1];
        let (m, n) = (node.shape[rank - 2], node.shape[rank - 1]);
        let batch: Shape = node.shape[..rank - 2].iter().copied().collect();
        let (out, epilogue) = match members.last() {
            None => (self.output(head), None),
            Some(&last) => {
                let mut builder = ChainBuilder::new(node.shape.clone());
                builder.product(head, node.dtype);
                members.iter().try_for_each(|&m| builder.member(self, m))?;
                let chain = builder.finish(&[last])?;
                (self.output(last), (!planted(Fault::DroppedEpilogue)).then_some(chain))
            }
        };
        let (batch, m, a, b) = merge_batch(batch, m, a, b);
        self.push(Work::Dot { batch, m, n, k, a, b, out, epilogue }, node.source);
        Ok(())
    }

    /// A chain that only reads `id`.
    pub(crate) fn copy_chain(&mut self, id: NodeId) -> Result<Chain> {
        let mut builder = ChainBuilder::new(self.graph.node(id).shape.clone());
        let value = builder.operand(self, id)?;
        builder.finish_registers(vec![value])
    }
}

/// [b, m, k] × [k, n] with rows that follow each other is one product of b·m rows.
fn merge_batch(mut batch: Shape, mut m: usize, mut a: Factor, mut b: Factor) -> (Shape, usize, Factor, Factor) {
    while batch.rank() > 0 {
        let last = batch.rank() - 1;
        let (outer, row) = (a.view.strides[last], a.view.strides[last + 1]);
        let joined = b.view.strides[last] == 0 && (m == 1 || batch[last] == 1 || outer == row * m as isize);
        if !joined {
            break;
        }
        if m == 1 {
            a.view.strides[last + 1] = outer;
        }
        m *= batch[last];
        batch = batch.without(last);
        a.view.strides.remove(last);
        b.view.strides.remove(last);
    }
    (batch, m, a, b)
}

/// Builds the kernel of a chain from nodes.
pub(crate) struct ChainBuilder {
    shape: Shape,
    instrs: Vec<Instr>,
    inputs: Vec<In>,
    dtypes: Vec<DType>,
    args: Vec<ArgRef>,
    registers: Vec<(NodeId, Reg)>,
}

impl ChainBuilder {
    pub(crate) fn new(shape: Shape) -> ChainBuilder {
        ChainBuilder { shape, instrs: vec![], inputs: vec![], dtypes: vec![], args: vec![], registers: vec![] }
    }

    fn emit(&mut self, instr: Instr) -> Reg {
        self.instrs.push(instr);
        (self.instrs.len() - 1) as Reg
    }

    /// Input 0 is the product that the chain follows.
    fn product(&mut self, id: NodeId, dtype: DType) {
        self.inputs.push(In::Product);
        self.dtypes.push(dtype);
        let reg = self.emit(Instr::Load { input: 0 });
        self.registers.push((id, reg));
    }

    fn arg(&mut self, arg: ArgRef) -> u16 {
        let found = self.args.iter().position(|a| *a == arg);
        found.unwrap_or_else(|| {
            self.args.push(arg);
            self.args.len() - 1
        }) as u16
    }

    /// The register that holds a node's element.
    pub(crate) fn operand(&mut self, planner: &mut Planner<'_>, id: NodeId) -> Result<Reg> {
        if let Some(&(_, reg)) = self.registers.iter().find(|(n, _)| *n == id) {
            return Ok(reg);
        }
        let dtype = planner.graph.node(id).dtype;
        let reg = match planner.place(id) {
            Place::Number(n) => {
                let arg = self.arg(n);
                self.emit(Instr::Scalar { arg, dtype })
            }
            Place::Memory(slot, view) => self.load(In::Data { slot, dtype, view }, dtype),
            Place::Index(view) => self.load(In::Index { view }, DType::I64),
        };
        self.registers.push((id, reg));
        Ok(reg)
    }

    fn load(&mut self, input: In, dtype: DType) -> Reg {
        self.inputs.push(input);
        self.dtypes.push(dtype);
        let input = (self.inputs.len() - 1) as u16;
        self.emit(Instr::Load { input })
    }

    /// Appends an elementwise node.
    fn member(&mut self, planner: &mut Planner<'_>, id: NodeId) -> Result<()> {
        let node = planner.graph.node(id);
        let mut regs = [0; 3];
        for (reg, &input) in regs.iter_mut().zip(&node.inputs) {
            *reg = self.operand(planner, input)?;
        }
        let [a, b, c] = regs;
        let reg = match &node.op {
            Op::Unary(f) => self.emit(Instr::Unary { f: *f, a }),
            Op::Binary(f) => self.emit(Instr::Binary { f: *f, a, b }),
            Op::Select => self.emit(Instr::Select { c: a, a: b, b: c }),
            Op::Cast => self.emit(Instr::Cast { a, to: node.dtype }),
            Op::BitCast => self.emit(Instr::BitCast { a, to: node.dtype }),
            Op::Random { .. } => {
                let index = self.load(In::Index { view: View::contiguous(&self.shape) }, DType::I64);
                let (seed, counter) = (self.arg(ArgRef::Host(node.args)), self.arg(ArgRef::Host(node.args + 1)));
                self.emit(Instr::Random { index, seed, counter })
            }
            Op::Mark(_) => a,
            op => unreachable!("{} is no elementwise operation", op.name()),
        };
        self.registers.push((id, reg));
        Ok(())
    }

    fn finish(self, results: &[NodeId]) -> Result<Chain> {
        let register = |id: &NodeId| self.registers.iter().find(|(n, _)| n == id).expect("a member").1;
        let registers = results.iter().map(register).collect();
        self.finish_registers(registers)
    }

    pub(crate) fn finish_registers(self, registers: Vec<Reg>) -> Result<Chain> {
        let kernel = Kernel::new(self.instrs, self.dtypes, registers).map_err(|why| {
            Error::new(format!("plan: a chain is wrong: {why}")).help("reporting this: it is a fault of the library")
        })?;
        Ok(Chain { kernel, dims: self.shape, inputs: self.inputs, args: self.args })
    }
}
