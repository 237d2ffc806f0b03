//! The memory map: when each scratch value is alive, and an offset for it.

use crate::exec::program::{Chain, Home, In, Out, Plain, Program, Slot, Work};
use crate::shape::Shape;
use crate::testing::{Fault, planted};

/// Offsets are cache lines.
const ALIGN: usize = 64;

impl Work {
    /// Calls `f` with every slot that the work reads.
    fn reads(&self, f: &mut dyn FnMut(Slot)) {
        let chain = |chain: &Chain, f: &mut dyn FnMut(Slot)| {
            for input in &chain.inputs {
                if let In::Data { slot, .. } = input {
                    f(*slot);
                }
            }
        };
        match self {
            Work::Fused { chain: c, .. } | Work::Place { chain: c, .. } | Work::Reduce { chain: c, .. } => chain(c, f),
            Work::Dot { a, b, epilogue, .. } => {
                f(a.slot);
                f(b.slot);
                if let Some(c) = epilogue {
                    chain(c, f);
                }
            }
            Work::Primitive { inputs, .. }
            | Work::Compound { inputs, .. }
            | Work::Region { inputs, .. }
            | Work::Branch { inputs, .. } => {
                inputs.iter().for_each(|p: &Plain| f(p.slot));
            }
            Work::Loop(l) => l.inputs.iter().for_each(|p| f(p.slot)),
        }
    }

    /// Calls `f` with every slot that the work writes, scratch memory included.
    fn writes(&self, f: &mut dyn FnMut(Slot)) {
        match self {
            Work::Fused { outs, .. } | Work::Primitive { outs, .. } | Work::Compound { outs, .. } => {
                outs.iter().for_each(|o: &Out| f(o.slot));
            }
            Work::Place { out, .. } | Work::Reduce { out, .. } | Work::Dot { out, .. } => f(out.slot),
            Work::Region { outs, scratch, .. } | Work::Branch { outs, scratch, .. } => {
                outs.iter().for_each(|o| f(o.slot));
                f(*scratch);
            }
            Work::Loop(l) => {
                l.outs.iter().chain(&l.waste).flatten().for_each(|o| f(o.slot));
                l.pairs.iter().flatten().for_each(|o| f(o.slot));
                f(l.scratch);
            }
        }
    }
}

/// The first and last step that touch each scratch slot.
fn lifetimes(program: &Program) -> Vec<Option<(usize, usize)>> {
    let mut alive: Vec<Option<(usize, usize)>> = vec![None; program.slots.len()];
    for (t, step) in program.steps.iter().enumerate() {
        let mut touch = |slot: Slot| {
            let span = alive[slot.0 as usize].get_or_insert((t, t));
            span.1 = t;
        };
        step.work.reads(&mut touch);
        step.work.writes(&mut touch);
    }
    if planted(Fault::MemoryMap) {
        alive.iter_mut().flatten().for_each(|span| span.1 = span.0);
    }
    alive
}

fn is_scratch(program: &Program, slot: Slot) -> bool {
    matches!(program.slots[slot.0 as usize].home, Home::Arena(_))
}

/// An elementwise step writes over an input that dies with it; and over a bound value that it replaces.
pub(crate) fn reuse_in_place(program: &mut Program) {
    let alive = lifetimes(program);
    let mut renamed: Vec<Slot> = (0..program.slots.len() as u32).map(Slot).collect();
    let mut steps = std::mem::take(&mut program.steps);
    // What a slot that took over another one's memory lives until.
    let mut until: Vec<usize> = alive.iter().map(|span| span.map_or(0, |s| s.1)).collect();
    for (t, step) in steps.iter_mut().enumerate() {
        rename(&mut step.work, &renamed);
        let Work::Fused { chain, outs } = &mut step.work else { continue };
        for o in 0..outs.len() {
            let out = outs[o].slot;
            if chain.inputs.iter().any(|i| matches!(i, In::Output(n) if *n == o)) {
                continue;
            }
            let same_place = |slot: Slot| program.slots[slot.0 as usize].home == program.slots[out.0 as usize].home;
            let bytes = program.slots[out.0 as usize].bytes;
            let candidate = (0..chain.inputs.len()).find(|&i| {
                let In::Data { slot, dtype, view } = &chain.inputs[i] else { return false };
                let whole = view.moving.is_empty()
                    && view.offset == 0
                    && view.is_contiguous(&chain.dims)
                    && *dtype == outs[o].dtype
                    && program.slots[slot.0 as usize].bytes == bytes;
                let alone = others(chain, i).all(|other| other != *slot);
                let dying = is_scratch(program, *slot)
                    && is_scratch(program, out)
                    && (until[slot.0 as usize] == t || planted(Fault::InPlace));
                let replaced = !is_scratch(program, *slot) && same_place(*slot);
                whole && alone && (dying || replaced)
            });
            let Some(i) = candidate else { continue };
            let In::Data { slot, .. } = chain.inputs[i] else { unreachable!("found as data") };
            chain.inputs[i] = In::Output(o);
            if is_scratch(program, out) {
                until[slot.0 as usize] = until[out.0 as usize];
                renamed[out.0 as usize] = slot;
                outs[o].slot = slot;
            }
        }
    }
    program.steps = steps;
}

/// The slots that the chain reads beside input `i`.
fn others(chain: &Chain, i: usize) -> impl Iterator<Item = Slot> + '_ {
    chain.inputs.iter().enumerate().filter(move |(j, _)| *j != i).filter_map(|(_, input)| match input {
        In::Data { slot, .. } => Some(*slot),
        _ => None,
    })
}

fn rename(work: &mut Work, renamed: &[Slot]) {
    let to = |slot: &mut Slot| *slot = renamed[slot.0 as usize];
    let chain = |chain: &mut Chain| {
        for input in &mut chain.inputs {
            if let In::Data { slot, .. } = input {
                to(slot);
            }
        }
    };
    match work {
        Work::Fused { chain: c, outs } => {
            chain(c);
            outs.iter_mut().for_each(|o| to(&mut o.slot));
        }
        Work::Place { chain: c, out, .. } | Work::Reduce { chain: c, out, .. } => {
            chain(c);
            to(&mut out.slot);
        }
        Work::Dot { a, b, out, epilogue, .. } => {
            to(&mut a.slot);
            to(&mut b.slot);
            to(&mut out.slot);
            if let Some(c) = epilogue {
                chain(c);
            }
        }
        Work::Primitive { inputs, outs, .. } | Work::Compound { inputs, outs, .. } => {
            inputs.iter_mut().for_each(|p| to(&mut p.slot));
            outs.iter_mut().for_each(|o| to(&mut o.slot));
        }
        Work::Region { inputs, outs, scratch, .. } | Work::Branch { inputs, outs, scratch, .. } => {
            inputs.iter_mut().for_each(|p| to(&mut p.slot));
            outs.iter_mut().for_each(|o| to(&mut o.slot));
            to(scratch);
        }
        Work::Loop(l) => {
            l.inputs.iter_mut().for_each(|p| to(&mut p.slot));
            l.outs.iter_mut().chain(&mut l.waste).flatten().for_each(|o| to(&mut o.slot));
            l.pairs.iter_mut().flatten().for_each(|o| to(&mut o.slot));
            to(&mut l.scratch);
        }
    }
}

/// Gives every scratch slot an offset: the largest first, each as low as those alive at the same time allow.
pub(crate) fn assign(program: &mut Program) {
    let alive = lifetimes(program);
    let size = |i: usize| program.slots[i].bytes.next_multiple_of(ALIGN);
    let mut order: Vec<usize> = (0..program.slots.len())
        .filter(|&i| alive[i].is_some() && matches!(program.slots[i].home, Home::Arena(_)))
        .collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(size(i)), i));
    let mut placed: Vec<(usize, usize, (usize, usize))> = Vec::with_capacity(order.len());
    let mut homes = Vec::with_capacity(order.len());
    for i in order {
        let span = alive[i].expect("filtered");
        let mut offset = 0;
        // Placed ones are sorted by offset.
        for &(start, end, other) in &placed {
            let together = other.0 <= span.1 && span.0 <= other.1;
            if together && start < offset + size(i) && offset < end {
                offset = end;
            }
        }
        let at = placed.partition_point(|p| p.0 < offset);
        placed.insert(at, (offset, offset + size(i), span));
        homes.push((i, offset));
    }
    program.arena = placed.iter().map(|p| p.1).max().unwrap_or(0);
    program.arena_bound = (0..program.steps.len())
        .map(|t| placed.iter().filter(|p| p.2.0 <= t && t <= p.2.1).map(|p| p.1 - p.0).sum())
        .max()
        .unwrap_or(0);
    homes.into_iter().for_each(|(i, offset)| program.slots[i].home = Home::Arena(offset));
    // Slots that nobody touches any more.
    for slot in &mut program.slots {
        if slot.home == Home::Arena(usize::MAX) {
            slot.home = Home::Arena(0);
            slot.bytes = 0;
        }
    }
}

/// Bytes of a contiguous value.
pub(crate) fn bytes_of(shape: &Shape, size: usize) -> usize {
    shape.elements() * size
}
