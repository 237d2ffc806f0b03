//! The steps of operations with kernels of their own.

use std::sync::Arc;

use limpid_kernels::DType;
use smallvec::smallvec;

use crate::error::Result;
use crate::exec::arena::{Graph, NodeId};
use crate::exec::memory::bytes_of;
use crate::exec::passes::rewrite;
use crate::exec::plan::{Place, Planner, plan};
use crate::exec::program::{LoopWork, Out, Plain, Program, Work};
use crate::exec::view::View;
use crate::op::{Arg, Op};
use crate::region::{Loop, Region};
use crate::shape::Shape;
use crate::testing::{Fault, planted};

/// Emits the steps of the kernel node `id`.
pub(crate) fn kernel(p: &mut Planner<'_>, id: NodeId) -> Result<()> {
    let node = p.graph.node(id);
    match &node.op {
        Op::Pad { axis, lo, interior } => {
            let out = p.output(id);
            fill(p, id, node.inputs[1], out)?;
            let mut view = View::contiguous(&node.shape);
            view.offset = *lo as isize * view.strides[*axis];
            view.strides[*axis] *= *interior as isize + 1;
            place(p, node.inputs[0], out, view, node.source)
        }
        Op::Concat { axis } => {
            let out = p.output(id);
            let mut start = 0;
            for &input in &node.inputs {
                let mut view = View::contiguous(&node.shape);
                let early = isize::from(start > 0 && planted(Fault::ConcatStart));
                view.offset = (start - early) * view.strides[*axis];
                start += p.graph.node(input).shape[*axis] as isize;
                place(p, input, out, view, node.source)?;
            }
            Ok(())
        }
        Op::Write { axis, start, fixed } => {
            let out = p.output(id);
            copy_base(p, node.inputs[0], out, node.source)?;
            let mut view = View::contiguous(&node.shape);
            let stride = view.strides[*axis];
            if *fixed {
                view.offset += *start as isize * stride;
            } else {
                view.moving.push((node.args, stride));
            }
            place(p, node.inputs[1], out, view, node.source)
        }
        Op::Scatter { .. } => {
            let out = p.output(id);
            copy_base(p, node.inputs[0], out, node.source)?;
            let inputs = vec![p.plain(node.inputs[1]), p.plain(node.inputs[2])];
            p.push(
                Work::Primitive { op: node.op.clone(), inputs, outs: vec![out], shape: node.shape.clone() },
                node.source,
            );
            Ok(())
        }
        Op::Sort { .. } => {
            let metas = [node.meta(), (node.shape.clone(), DType::I64)];
            let outs = p.part_outputs(id, &metas, |_| false);
            let inputs = vec![p.plain(node.inputs[0])];
            p.push(Work::Primitive { op: node.op.clone(), inputs, outs, shape: node.shape.clone() }, node.source);
            Ok(())
        }
        Op::Call(compound) => {
            let metas: Vec<_> = node.inputs.iter().map(|&i| p.graph.node(i).meta()).collect();
            let outs = p.part_outputs(id, &compound.metas(&metas), |result| compound.may_skip(result));
            let inputs = node.inputs.iter().map(|&i| p.plain(i)).collect();
            p.push(Work::Compound { compound: compound.clone(), inputs, outs }, node.source);
            Ok(())
        }
        Op::Region(region) => {
            let args = arg_range(region, node.args);
            let body = body(region, node.source)?;
            let outs = p.part_outputs(id, &region.metas(), |_| false);
            let inputs = node.inputs.iter().map(|&i| p.plain(i)).collect();
            let scratch = p.scratch(body.arena);
            p.push(Work::Region { body: Box::new(body), inputs, outs, scratch, args }, node.source);
            Ok(())
        }
        Op::Branch(branch) => {
            let first = arg_range(&branch.then, node.args);
            let args = [first, arg_range(&branch.otherwise, first.1)];
            let (then, otherwise) = (body(&branch.then, node.source)?, body(&branch.otherwise, node.source)?);
            let outs = p.part_outputs(id, &branch.then.metas(), |_| false);
            let inputs = node.inputs.iter().map(|&i| p.plain(i)).collect();
            let scratch = p.scratch(then.arena.max(otherwise.arena));
            let work =
                Work::Branch { then: Box::new(then), otherwise: Box::new(otherwise), inputs, outs, scratch, args };
            p.push(work, node.source);
            Ok(())
        }
        Op::Loop(l) => run_loop(p, id, l),
        op => {
            let out = p.output(id);
            let inputs = node.inputs.iter().map(|&i| p.plain(i)).collect();
            p.push(Work::Primitive { op: op.clone(), inputs, outs: vec![out], shape: node.shape.clone() }, node.source);
            Ok(())
        }
    }
}

/// The numbers of the host that a region takes, when the first is `first`.
fn arg_range(region: &Region, first: u32) -> (u32, u32) {
    let mut numbers = Vec::new();
    region.host(&mut numbers);
    (first, first + numbers.len() as u32)
}

/// The program of a region.
fn body(region: &Arc<Region>, source: u32) -> Result<Program> {
    let graph = rewrite(Graph::of_region(region, 0, source), |_, _| {})?;
    Ok(plan(&graph, &[], false)?.0)
}

/// Fills all of `out` with the number that `value` is.
fn fill(p: &mut Planner<'_>, id: NodeId, value: NodeId, out: Out) -> Result<()> {
    let node = p.graph.node(id);
    let mut chain = p.copy_chain(value)?;
    // One element, seen at every place.
    for input in &mut chain.inputs {
        if let crate::exec::program::In::Data { view, .. } = input {
            view.strides = smallvec![0; node.shape.rank()];
        }
    }
    chain.dims = node.shape.clone();
    p.push(Work::Fused { chain, outs: vec![out] }, node.source);
    Ok(())
}

/// Copies `value` to the part of `out` that `view` shows.
fn place(p: &mut Planner<'_>, value: NodeId, out: Out, view: View, source: u32) -> Result<()> {
    let chain = p.copy_chain(value)?;
    p.push(Work::Place { chain, out, view }, source);
    Ok(())
}

/// Copies `base` to `out`, unless it is there already.
fn copy_base(p: &mut Planner<'_>, base: NodeId, out: Out, source: u32) -> Result<()> {
    if let Place::Memory(slot, _) = p.place(base)
        && p.program.slots[slot.0 as usize].home == p.program.slots[out.slot.0 as usize].home
        && slot != out.slot
        && matches!(p.program.slots[slot.0 as usize].home, crate::exec::program::Home::Bound(_))
    {
        return Ok(());
    }
    let chain = p.copy_chain(base)?;
    p.push(Work::Fused { chain, outs: vec![out] }, source);
    Ok(())
}

fn run_loop(p: &mut Planner<'_>, id: NodeId, l: &Arc<Loop>) -> Result<()> {
    let node = p.graph.node(id);
    let mut counters: Vec<Arg> = Vec::new();
    l.body.host(&mut counters);
    let args = (node.args, node.args + counters.len() as u32);
    let body = body(&l.body, node.source)?;
    let metas = l.metas();
    let parts = p.parts(id, metas.len());
    let outs: Vec<Option<Out>> = parts.into_iter().map(|part| part.map(|part| p.output(part))).collect();
    let results = l.body.metas();
    let mut memory =
        |(shape, dtype): &(Shape, DType)| Out { slot: p.scratch(bytes_of(shape, dtype.size())), dtype: *dtype };
    let pairs = results[..l.carries].iter().map(|meta| [memory(meta), memory(meta)]).collect();
    let waste = results[l.carries..]
        .iter()
        .zip(&outs[l.carries..])
        .map(|(meta, out)| out.is_none().then(|| memory(meta)))
        .collect();
    let inputs: Vec<Plain> = node.inputs.iter().map(|&i| p.plain(i)).collect();
    let scratch = p.scratch(body.arena);
    let counters = counters.iter().map(|a| matches!(a, Arg::Counter(_))).collect();
    let work = LoopWork {
        body,
        steps: l.steps,
        carries: l.carries,
        sequences: l.sequences,
        counted: l.counted,
        reverse: l.reverse,
        inputs,
        outs,
        pairs,
        waste,
        scratch,
        args,
        counters,
    };
    p.push(Work::Loop(Box::new(work)), node.source);
    Ok(())
}
