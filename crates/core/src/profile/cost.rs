//! How much arithmetic a step of a plan is, and how many bytes it has to read and write.

use limpid_kernels::DType;
use limpid_kernels::fused::Instr;

use crate::compound::{Compound, body_region};
use crate::exec::program::{Chain, Factor, In, Out, Plain, Program, Slot, Step, Work};
use crate::graph::Recording;
use crate::op::Op;
use crate::region::Meta;
use crate::shape::Shape;

/// The least that a step has to do: each operand read once, each result written once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    /// Operations on numbers; a multiply-add is two, a function of one number is one.
    pub(crate) flop: f64,
    pub(crate) bytes: f64,
}

impl Cost {
    pub(crate) fn of(program: &Program, step: &Step) -> Cost {
        let slot = |slot: Slot| program.slots[slot.0 as usize].bytes as f64;
        let outs = |outs: &[Out]| outs.iter().map(|out| slot(out.slot)).sum::<f64>();
        let plain = |p: &Plain| slot(p.slot).min((p.shape.elements() * p.dtype.size()) as f64);
        let plains = |inputs: &[Plain]| inputs.iter().map(plain).sum::<f64>();
        let chain = |chain: &Chain, outs: &[Out]| {
            let reads = chain.inputs.iter().map(|input| match input {
                In::Data { slot: at, dtype, view } => distinct(&chain.dims, &view.strides, *dtype).min(slot(*at)),
                In::Output(n) => outs.get(*n).map_or(0.0, |out| slot(out.slot)),
                In::Index { .. } | In::Product => 0.0,
            });
            Cost { flop: elements(&chain.dims) * operations(chain) as f64, bytes: reads.sum() }
        };
        match &step.work {
            Work::Fused { chain: c, outs: o } => chain(c, o).and(0.0, outs(o)),
            Work::Place { chain: c, out, .. } => chain(c, &[]).and(0.0, elements(&c.dims) * out.dtype.size() as f64),
            Work::Reduce { chain: c, out, .. } => chain(c, &[]).and(elements(&c.dims), slot(out.slot)),
            Work::Dot { batch, m, n, k, a, b, out, epilogue } => {
                let factor = |f: &Factor, rows: usize, cols: usize| {
                    let dims: Shape = batch.iter().copied().chain([rows, cols]).collect();
                    distinct(&dims, &f.view.strides, out.dtype).min(slot(f.slot))
                };
                let flop = 2.0 * elements(batch) * (*m as f64) * (*n as f64) * (*k as f64);
                let more = epilogue.as_ref().map_or_else(Cost::default, |c| chain(c, &[]));
                more.and(flop, factor(a, *m, *k) + factor(b, *k, *n) + slot(out.slot))
            }
            // Of what it reads from, a gather needs as much as it writes.
            Work::Primitive { op: Op::Gather { .. }, inputs, outs: o, .. } => {
                Cost { flop: 0.0, bytes: 2.0 * outs(o) + plains(&inputs[1..]) }
            }
            Work::Primitive { op, inputs, outs: o, shape } => {
                let counts = matches!(op, Op::Scan { .. } | Op::OverlapAdd { .. } | Op::Scatter { .. });
                let flop = if counts { inputs.last().map_or(elements(shape), |p| elements(&p.shape)) } else { 0.0 };
                Cost { flop, bytes: plains(inputs) + outs(o) }
            }
            Work::Compound { compound, inputs, outs: o } => {
                let metas: Vec<Meta> = inputs.iter().map(|p| (p.shape.clone(), p.dtype)).collect();
                Cost { flop: of_compound(&**compound, &metas), bytes: plains(inputs) + outs(o) }
            }
            // What they run counts for itself.
            Work::Region { .. } | Work::Branch { .. } | Work::Loop(_) => Cost::default(),
        }
    }

    fn and(self, flop: f64, bytes: f64) -> Cost {
        Cost { flop: self.flop + flop, bytes: self.bytes + bytes }
    }
}

fn elements(shape: &Shape) -> f64 {
    shape.iter().map(|&n| n as f64).product()
}

/// Bytes of the elements that such strides show, those shown several times counted once.
fn distinct(dims: &Shape, strides: &[isize], dtype: DType) -> f64 {
    let counts = dims.iter().zip(strides).map(|(&n, &stride)| if stride == 0 { 1.0 } else { n as f64 });
    counts.product::<f64>() * dtype.size() as f64
}

fn operations(chain: &Chain) -> usize {
    let counts = |instr: &&Instr| matches!(instr, Instr::Unary { .. } | Instr::Binary { .. } | Instr::Select { .. });
    chain.kernel.instrs().iter().filter(counts).count()
}

/// The arithmetic of what the compound means: its kernel may do it with less.
fn of_compound(compound: &dyn Compound, inputs: &[Meta]) -> f64 {
    body_region(compound, inputs).map_or(0.0, |body| of_recording(&body.recording))
}

fn of_recording(recording: &Recording) -> f64 {
    (0..recording.nodes.len()).map(|i| of_node(recording, i)).sum()
}

fn of_node(recording: &Recording, i: usize) -> f64 {
    let node = &recording.nodes[i];
    let input = |k: usize| &recording.nodes[recording.inputs(i)[k] as usize].shape;
    match &node.op {
        Op::Unary(_) | Op::Binary(_) | Op::Select => elements(&node.shape),
        Op::Reduce { .. } | Op::Scan { .. } | Op::OverlapAdd { .. } => elements(input(0)),
        Op::Scatter { .. } => elements(input(2)),
        Op::Dot => 2.0 * elements(&node.shape) * input(0).last().map_or(1.0, |&k| k as f64),
        Op::Call(compound) => {
            let inputs = recording.inputs(i).iter().map(|&j| &recording.nodes[j as usize]);
            of_compound(&**compound, &inputs.map(|n| (n.shape.clone(), n.dtype)).collect::<Vec<_>>())
        }
        Op::Region(body) => of_recording(&body.recording),
        Op::Loop(l) => l.steps as f64 * of_recording(&l.body.recording),
        _ => 0.0,
    }
}
