//! Runs a program on the CPU.

use std::time::Instant;

use limpid_kernels::dot::{self, Dims, Operand};
use limpid_kernels::fused::{self, Sink, Source};
use limpid_kernels::{Cpu, Loc, Number, Slice, SliceMut, Workspace, fold, index, scan, sort};
use smallvec::SmallVec;

use crate::compound::{Fault, Io};
use crate::exec::program::{ArgRef, Chain, Factor, Home, In, LoopWork, Out, Plain, Program, Slot, Step, Work};
use crate::exec::stats;
use crate::exec::view::View;
use crate::op::{Mark, Op};
use crate::profile;
use crate::region::counter_shift;
use crate::shape::{Shape, Strides};
use crate::testing::{self, planted};

/// Where the outside values of a program are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) bound: &'a [Loc],
    pub(crate) results: &'a [Loc],
    pub(crate) arena: Loc,
}

type Few<T> = SmallVec<[T; 8]>;

/// Runs all steps. A fault names where in the recording it happened.
pub(crate) fn run(
    cpu: &Cpu,
    ws: &mut Workspace,
    program: &Program,
    frame: Frame<'_>,
    args: &[Number],
) -> Result<(), (u32, Fault)> {
    let mut machine = Machine { cpu, ws, program, frame, args };
    let (shows, profiles) = (crate::show::wants_steps(), profile::on());
    for step in &program.steps {
        let begin = (shows || profiles).then(Instant::now);
        if profiles {
            profile::begins();
        }
        machine.step(step).map_err(|fault| match fault {
            Stop::Here(fault) => (step.source, fault),
            Stop::Inside(source, fault) => (source, fault),
        })?;
        if let Some(begin) = begin {
            let took = begin.elapsed();
            if shows {
                crate::show::ran(program, step, took);
            }
            if profiles {
                profile::ends(program, step, begin, took);
            }
        }
    }
    Ok(())
}

/// A fault of this program, or of one inside it.
enum Stop {
    Here(Fault),
    Inside(u32, Fault),
}

impl<F: Into<Fault>> From<F> for Stop {
    fn from(fault: F) -> Stop {
        Stop::Here(fault.into())
    }
}

struct Machine<'a> {
    cpu: &'a Cpu,
    ws: &'a mut Workspace,
    program: &'a Program,
    frame: Frame<'a>,
    args: &'a [Number],
}

/// A chain's sources over what the workspace lends.
fn sources<'a>(chain: &'a Chain, reads: &[&'a [u8]], args: &[Number]) -> Few<Source<'a>> {
    let mut reads = reads.iter();
    chain
        .inputs
        .iter()
        .map(|input| match input {
            In::Data { dtype, view, .. } => Source::Data {
                data: Slice::new(*dtype, reads.next().expect("one for each input in memory")),
                offset: view.start(args) as usize,
                strides: &view.strides,
            },
            In::Index { view } => Source::Index { offset: view.start(args) as i64, strides: &view.strides },
            In::Output(n) => Source::Output(*n),
            In::Product => Source::Output(0),
        })
        .collect()
}

impl Machine<'_> {
    fn loc(&self, slot: Slot) -> Loc {
        let info = &self.program.slots[slot.0 as usize];
        match info.home {
            Home::Bound(n) => self.frame.bound[n as usize],
            Home::Result(n) => self.frame.results[n as usize],
            Home::Arena(offset) => {
                Loc { buffer: self.frame.arena.buffer, start: self.frame.arena.start + offset, len: info.bytes }
            }
        }
    }

    fn numbers(&self, chain: &Chain) -> Few<Number> {
        chain
            .args
            .iter()
            .map(|a| match a {
                ArgRef::Host(i) => self.args[*i as usize],
                ArgRef::Const(n) => *n,
            })
            .collect()
    }

    fn chain_locs(&self, chain: &Chain) -> Few<Loc> {
        let slot = |input: &In| if let In::Data { slot, .. } = input { Some(self.loc(*slot)) } else { None };
        chain.inputs.iter().filter_map(slot).collect()
    }

    fn out_locs(&self, outs: &[Out]) -> Few<Loc> {
        outs.iter().map(|o| self.loc(o.slot)).collect()
    }

    /// The bytes of a contiguous value.
    fn plain_loc(&self, p: &Plain) -> Loc {
        let loc = self.loc(p.slot);
        let (size, count) = (p.dtype.size(), p.shape.elements());
        let start = if count == 0 { 0 } else { p.view.start(self.args) as usize * size };
        Loc { start: loc.start + start, len: count * size, ..loc }
    }

    /// The bytes from the first to the last element of a value whose strides are not negative.
    fn reached_loc(&self, p: &Plain) -> Loc {
        let loc = self.plain_loc(p);
        let reach = |(&n, &stride): (&usize, &isize)| n.saturating_sub(1) * stride.unsigned_abs();
        let span = 1 + p.shape.iter().zip(&p.view.strides).map(reach).sum::<usize>();
        Loc { len: if loc.len == 0 { 0 } else { span * p.dtype.size() }, ..loc }
    }

    fn step(&mut self, step: &Step) -> Result<(), Stop> {
        stats::kernel();
        match &step.work {
            Work::Fused { chain, outs } => self.fused(chain, outs, None),
            Work::Place { chain, out, view } => self.fused(chain, std::slice::from_ref(out), Some(view)),
            Work::Reduce { chain, f, reduced, out } => {
                let (reads, writes, numbers) = (self.chain_locs(chain), [self.loc(out.slot)], self.numbers(chain));
                let lent = self.ws.operands(&reads, &writes);
                let sources = sources(chain, &lent.reads, self.args);
                let data = SliceMut::new(out.dtype, lent.writes.into_iter().next().expect("one"));
                Ok(fused::reduce(self.cpu, &chain.kernel, *f, &chain.dims, *reduced, &sources, &numbers, data)?)
            }
            Work::Dot { batch, m, n, k, a, b, out, epilogue } => {
                self.dot(&Dims { batch, m: *m, n: *n, k: *k }, a, b, *out, epilogue.as_ref());
                Ok(())
            }
            Work::Primitive { op, inputs, outs, shape } => self.primitive(op, inputs, outs, shape),
            Work::Compound { compound, inputs, outs } => {
                let reads: Few<Loc> = inputs.iter().map(|p| self.reached_loc(p)).collect();
                let writes = self.out_locs(outs);
                let shapes: Few<Shape> = inputs.iter().map(|p| p.shape.clone()).collect();
                let strides: Few<Strides> = inputs.iter().map(|p| p.view.strides.clone()).collect();
                let lent = self.ws.operands(&reads, &writes);
                let mut io = Io {
                    cpu: self.cpu,
                    shapes: &shapes,
                    strides: &strides,
                    inputs: lent.reads.iter().zip(inputs).map(|(bytes, p)| Slice::new(p.dtype, bytes)).collect(),
                    outputs: lent
                        .writes
                        .into_iter()
                        .zip(outs)
                        .map(|(bytes, o)| SliceMut::new(o.dtype, bytes))
                        .collect(),
                };
                Ok(compound.run(&mut io)?)
            }
            Work::Region { body, inputs, outs, scratch, args } => self.region(body, inputs, outs, *scratch, *args),
            Work::Branch { then, otherwise, inputs, outs, scratch, args } => {
                let taken = self.ws.read(&self.plain_loc(&inputs[0]))[0] != 0;
                let (body, args) = if taken { (then, args[0]) } else { (otherwise, args[1]) };
                self.region(body, &inputs[1..], outs, *scratch, args)
            }
            Work::Loop(l) => self.run_loop(l),
        }
    }

    fn fused(&mut self, chain: &Chain, outs: &[Out], view: Option<&View>) -> Result<(), Stop> {
        if is_done_in_place(chain) && view.is_none() {
            return Ok(());
        }
        let (reads, writes, numbers) = (self.chain_locs(chain), self.out_locs(outs), self.numbers(chain));
        let lent = self.ws.operands(&reads, &writes);
        let sources = sources(chain, &lent.reads, self.args);
        let order = chain.dims.strides();
        let (offset, strides): (usize, &Strides) =
            view.map_or((0, &order), |v| (v.start(self.args) as usize, &v.strides));
        let mut sinks: Few<Sink<'_>> = lent
            .writes
            .into_iter()
            .zip(outs)
            .map(|(bytes, o)| Sink { data: SliceMut::new(o.dtype, bytes), offset, strides })
            .collect();
        Ok(fused::run(self.cpu, &chain.kernel, &chain.dims, &sources, &numbers, &mut sinks)?)
    }

    fn dot(&mut self, dims: &Dims<'_>, a: &Factor, b: &Factor, out: Out, epilogue: Option<&Chain>) {
        let mut reads: Few<Loc> = smallvec::smallvec![self.loc(a.slot), self.loc(b.slot)];
        if let Some(chain) = epilogue {
            reads.extend(self.chain_locs(chain));
        }
        let writes = [self.loc(out.slot)];
        let numbers = epilogue.map(|chain| self.numbers(chain));
        let lent = self.ws.operands(&reads, &writes);
        let dtype = out.dtype;
        let operand = |f: &'_ Factor, bytes: &'_ [u8]| -> (usize, isize, isize) {
            let _ = bytes;
            let rank = f.view.strides.len();
            (f.view.start(self.args).max(0) as usize, f.view.strides[rank - 2], f.view.strides[rank - 1])
        };
        let (ao, ar, ac) = operand(a, lent.reads[0]);
        let (bo, br, bc) = operand(b, lent.reads[1]);
        let batch = dims.batch.len();
        let a = Operand {
            data: Slice::new(dtype, lent.reads[0]),
            offset: ao,
            batch: &a.view.strides[..batch],
            rows: ar,
            cols: ac,
        };
        let b = Operand {
            data: Slice::new(dtype, lent.reads[1]),
            offset: bo,
            batch: &b.view.strides[..batch],
            rows: br,
            cols: bc,
        };
        let data = SliceMut::new(dtype, lent.writes.into_iter().next().expect("one"));
        let Some(chain) = epilogue else {
            return dot::dot(self.cpu, dims, &a, &b, data, None);
        };
        let sources = sources(chain, &lent.reads[2..], self.args);
        let numbers = numbers.expect("there is a chain");
        let isa = self.cpu.isa;
        let finish = |start: usize, segment: &mut [f32]| {
            let done = fused::run_segment(isa, &chain.kernel, &chain.dims, start, segment, &sources, &numbers);
            debug_assert!(done.is_ok(), "a chain of floats does not divide integers");
        };
        dot::dot(self.cpu, dims, &a, &b, data, Some(&finish));
    }

    fn primitive(&mut self, op: &Op, inputs: &[Plain], outs: &[Out], shape: &Shape) -> Result<(), Stop> {
        // An index is read by its strides, everything else in order.
        let strided = |i: usize| matches!((op, i), (Op::Gather { .. }, 1) | (Op::Scatter { .. }, 0));
        let reads: Few<Loc> = inputs
            .iter()
            .enumerate()
            .map(|(i, p)| if strided(i) { self.loc(p.slot) } else { self.plain_loc(p) })
            .collect();
        let writes = self.out_locs(outs);
        let lent = self.ws.operands(&reads, &writes);
        let data: Few<Slice<'_>> = lent.reads.iter().zip(inputs).map(|(b, p)| Slice::new(p.dtype, b)).collect();
        let mut results = lent.writes.into_iter().zip(outs).map(|(b, o)| SliceMut::new(o.dtype, b));
        let mut out = || results.next().expect("as many as the operation has");
        let cpu = self.cpu;
        match op {
            Op::Gather { axis } => {
                let (src, index) = (&inputs[0], &inputs[1]);
                let offset = index.view.start(self.args).max(0) as usize;
                index::gather(
                    cpu,
                    &index.shape,
                    *axis,
                    data[0],
                    &src.shape,
                    data[1],
                    offset,
                    &index.view.strides,
                    out(),
                )
                .map_err(|fault| Stop::Here(Fault::Index { axis: *axis, fault }))
            }
            Op::Scatter { f, axis, .. } => {
                let (index, updates) = (&inputs[0], &inputs[1]);
                let offset = index.view.start(self.args).max(0) as usize;
                index::scatter(
                    cpu,
                    *f,
                    &updates.shape,
                    *axis,
                    data[1],
                    data[0],
                    offset,
                    &index.view.strides,
                    out(),
                    shape,
                )
                .map_err(|fault| Stop::Here(Fault::Index { axis: *axis, fault }))
            }
            Op::Scan { f, axis, reverse } => {
                scan::scan(cpu, *f, &inputs[0].shape, *axis, *reverse, data[0], out());
                Ok(())
            }
            Op::Sort { axis, descending } => {
                let (values, order) = (out(), out());
                sort::sort(cpu, &inputs[0].shape, *axis, *descending, data[0], values, order);
                Ok(())
            }
            Op::OverlapAdd { axis, stride, dilation } => {
                let windows = &inputs[0].shape;
                let (outer, inner) = (shape[..*axis].iter().product(), shape[*axis + 1..].iter().product());
                let (count, size) = (windows[*axis], windows[windows.rank() - 1]);
                fold::overlap_add(cpu, outer, count, inner, size, *stride, *dilation, shape[*axis], data[0], out());
                Ok(())
            }
            Op::Mark(Mark::Finite(what)) => {
                if !all_finite(data[0]) {
                    return Err(Stop::Here(Fault::NotFinite(what.clone())));
                }
                out().bytes().copy_from_slice(data[0].bytes());
                Ok(())
            }
            op => unreachable!("{} has no kernel", op.name()),
        }
    }

    fn region(
        &mut self,
        body: &Program,
        inputs: &[Plain],
        outs: &[Out],
        scratch: Slot,
        args: (u32, u32),
    ) -> Result<(), Stop> {
        let bound: Few<Loc> = inputs.iter().map(|p| self.plain_loc(p)).collect();
        let results = self.out_locs(outs);
        let frame = Frame { bound: &bound, results: &results, arena: self.loc(scratch) };
        let args = &self.args[args.0 as usize..args.1 as usize];
        run(self.cpu, self.ws, body, frame, args).map_err(|(source, fault)| Stop::Inside(source, fault))
    }

    fn run_loop(&mut self, l: &LoopWork) -> Result<(), Stop> {
        let bound: Few<Loc> = l.inputs.iter().map(|p| self.plain_loc(p)).collect();
        let (carries, rest) = bound.split_at(l.carries);
        let (sequences, rest) = rest.split_at(l.sequences);
        let (count, outside) = rest.split_at(usize::from(l.counted));
        let steps = count.first().map_or(l.steps, |loc| {
            let n = Slice::new(limpid_kernels::DType::I64, self.ws.read(loc)).get::<i64>()[0];
            (n.max(0) as usize).min(l.steps)
        });
        let outs: Few<Option<Loc>> = l.outs.iter().map(|o| o.map(|o| self.loc(o.slot))).collect();
        let (stacks, starts) = outs[l.carries..].split_at(l.waste.len());
        if steps < l.steps {
            stacks.iter().chain(starts).flatten().for_each(|loc| self.fill_zero(loc));
        }
        let row = |loc: &Loc, t: usize| {
            let len = loc.len / l.steps;
            Loc { start: loc.start + t * len, len, ..*loc }
        };
        let mut carry: Few<Loc> = carries.iter().copied().collect();
        let mut args: Few<Number> = self.args[l.args.0 as usize..l.args.1 as usize].iter().copied().collect();
        let counters = args.clone();
        for i in 0..steps {
            let t = if l.reverse { steps - 1 - i } else { i };
            for (start, now) in starts.iter().zip(&carry) {
                if let Some(loc) = start {
                    self.copy(now, &row(loc, t));
                }
            }
            let inside: Few<Loc> = carry
                .iter()
                .copied()
                .chain(sequences.iter().map(|s| row(s, t)))
                .chain(outside.iter().copied())
                .collect();
            let next: Few<Loc> = l.pairs.iter().map(|pair| self.loc(pair[i % 2].slot)).collect();
            let rows = stacks.iter().zip(&l.waste).map(|(stack, waste)| match (stack, waste) {
                (Some(stack), _) => row(stack, t),
                (None, waste) => self.loc(waste.expect("memory for what nobody reads").slot),
            });
            let results: Few<Loc> = next.iter().copied().chain(rows).collect();
            let step = if planted(testing::Fault::LoopCounter) { 0 } else { t };
            for ((arg, first), counter) in args.iter_mut().zip(&counters).zip(&l.counters) {
                if *counter {
                    *arg = Number::Int((first.as_i64() as u64).wrapping_add(counter_shift(step)) as i64);
                }
            }
            let frame = Frame { bound: &inside, results: &results, arena: self.loc(l.scratch) };
            run(self.cpu, self.ws, &l.body, frame, &args).map_err(|(source, fault)| Stop::Inside(source, fault))?;
            carry = next;
        }
        for (out, last) in outs[..l.carries].iter().zip(&carry) {
            if let Some(out) = out {
                self.copy(last, out);
            }
        }
        Ok(())
    }

    fn copy(&mut self, from: &Loc, to: &Loc) {
        let lent = self.ws.operands(&[*from], &[*to]);
        lent.writes.into_iter().for_each(|w| w.copy_from_slice(lent.reads[0]));
    }

    fn fill_zero(&mut self, loc: &Loc) {
        self.ws.operands(&[], &[*loc]).writes.into_iter().for_each(|w| w.fill(0));
    }
}

/// A copy of memory onto itself.
fn is_done_in_place(chain: &Chain) -> bool {
    matches!(chain.inputs[..], [In::Output(0)])
        && matches!(chain.kernel.instrs(), [fused::Instr::Load { .. }])
        && chain.kernel.outputs().len() == 1
}

fn all_finite(data: Slice<'_>) -> bool {
    use limpid_kernels::DType;
    match data.dtype() {
        DType::F64 => data.get::<f64>().iter().all(|x| x.is_finite()),
        DType::F32 => data.get::<f32>().iter().all(|x| x.is_finite()),
        DType::F16 => data.get::<half::f16>().iter().all(|x| x.is_finite()),
        DType::BF16 => data.get::<half::bf16>().iter().all(|x| x.is_finite()),
        DType::Bool | DType::U8 | DType::I32 | DType::I64 => true,
    }
}
