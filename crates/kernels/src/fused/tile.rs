//! Running a kernel over one tile: a piece of the index space that the registers hold at once.

use std::cell::Cell;

use super::idiom::Run;
use super::instr::{Instr, UnaryFn};
use super::kernel::{Class, Kernel, TILE, operands};
use super::ops::Arg;
use super::plan::{Blocks, Operand, Place, Plan};
use super::{Fault, convert, ops};
use crate::dtype::{DType, Element, Number};
use crate::isa::Isa;
use crate::math;

/// A piece of the index space, at most a tile.
#[derive(Clone, Copy, Debug)]
pub(super) enum Region {
    /// Elements `start .. start + len` in the order of the walk.
    Line { start: usize, len: usize },
    /// A block of two dimensions.
    Block { blocks: Blocks, number: usize },
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

/// A thread's registers.
#[derive(Default)]
pub(super) struct Scratch {
    lines: Vec<Line>,
    /// Where each register's results go: an address, and how far it moves with each element of `start`.
    homes: Vec<(*mut u8, usize)>,
    /// Where each register of the current tile lies.
    values: Vec<*mut u8>,
    /// Whether a register has one element for all indices.
    single: Vec<bool>,
    /// Whether the idiom that ends at an instruction is run as such.
    whole: Vec<bool>,
    /// Whether an in-place load reads its output where that lies, and not a copy.
    lent: Vec<bool>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Lends this thread's registers.
pub(super) fn with_scratch<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH.take();
    let result = f(&mut scratch);
    SCRATCH.set(scratch);
    result
}

/// A kernel with its operands and arguments.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) isa: Isa,
    pub(super) kernel: &'a Kernel,
    pub(super) plan: &'a Plan,
    pub(super) args: &'a [Number],
}

// SAFETY: the addresses inside are of slices that the caller lends for the run: inputs are only read,
// and each thread writes only the elements of its own tiles.
unsafe impl Sync for Bound<'_> {}

/// Fills `n` elements at `to` with `x`.
///
/// # Safety
/// They must be valid to write, aligned, and referred to by nothing else.
unsafe fn fill<T: Copy>(to: *mut u8, n: usize, x: T) {
    // SAFETY: as promised by the caller.
    unsafe { std::slice::from_raw_parts_mut(to.cast::<T>(), n) }.fill(x);
}

/// A number as an element of a float type, in the registers' f32.
fn float_number(dtype: DType, n: Number) -> f32 {
    match dtype {
        DType::F16 => half::f16::from_number(n).to_f32(),
        DType::BF16 => half::bf16::from_number(n).to_f32(),
        _ => f32::from_number(n),
    }
}

/// A number as an element of an integer type, in the registers' i64.
fn int_number(dtype: DType, n: Number) -> i64 {
    match (dtype, n) {
        (DType::Bool, Number::Int(i)) => i64::from(i != 0),
        (DType::Bool, Number::Float(f)) => i64::from(f != 0.0),
        (DType::U8, _) => i64::from(u8::from_number(n)),
        (DType::I32, _) => i64::from(i32::from_number(n)),
        _ => n.as_i64(),
    }
}

impl Bound<'_> {
    /// Makes room for the registers, and fills those that hold arguments with `len` elements: the most
    /// that a tile will have. Without `direct`, no result is written straight to its output.
    pub(super) fn prepare(&self, scratch: &mut Scratch, len: usize, direct: bool) {
        let Bound { kernel, plan, .. } = *self;
        let lines = kernel.bytes.div_ceil(size_of::<Line>());
        if scratch.lines.len() < lines {
            scratch.lines.resize(lines, Line([0; 64]));
        }
        let base: *mut u8 = scratch.lines.as_mut_ptr().cast();
        scratch.homes.clear();
        scratch.homes.extend(kernel.places.iter().map(|&place| (base.wrapping_add(place), 0)));
        scratch.values.clear();
        scratch.values.resize(kernel.instrs.len(), std::ptr::null_mut());
        scratch.single.clear();
        scratch.single.extend(kernel.instrs.iter().zip(&kernel.wide).map(|(instr, wide)| match *instr {
            Instr::Scalar { .. } => !wide,
            Instr::Load { input } => !wide && plan.is_single(usize::from(input)),
            _ => false,
        }));

        scratch.whole.clear();
        scratch.whole.extend(kernel.idioms.ends.iter().map(|idiom| {
            idiom.is_some_and(|idiom| {
                idiom.uniform().iter().all(|&r| scratch.single[usize::from(r)])
                    && idiom.wide().iter().all(|&r| !scratch.single[usize::from(r)])
            })
        }));
        scratch.lent.clear();
        scratch.lent.resize(kernel.instrs.len(), false);
        for (o, operand) in plan.outputs.iter().enumerate().filter(|_| direct) {
            let r = usize::from(kernel.outputs[o]);
            let defines = !matches!(kernel.instrs[r], Instr::Load { .. } | Instr::Scalar { .. });
            let Some(first) = plan.direct(operand).filter(|_| defines) else { continue };
            // What is updated in place must have been read before.
            let reads = |i: &Instr| matches!(*i, Instr::Load { input } if matches!(plan.inputs[usize::from(input)].place, Place::Output(n) if n == o));
            if kernel.instrs[r..].iter().any(reads) {
                continue;
            }
            scratch.homes[r] = (first, operand.dtype.size());
            // An idiom may read what it writes over, element by element; all others read a copy.
            for load in (0..r).filter(|&load| reads(&kernel.instrs[load])) {
                let done = |i: usize| kernel.idioms.inside[i].filter(|&end| scratch.whole[end]).unwrap_or(i);
                let user = |i: usize| operands(&kernel.instrs[i]).any(|operand| operand == load);
                let allows = |end: usize| end < r || (end == r && scratch.whole[r]);
                scratch.lent[load] = !scratch.single[load]
                    && !kernel.outputs.iter().any(|&o| usize::from(o) == load)
                    && (load..kernel.instrs.len()).filter(|&i| user(i)).all(|i| allows(done(i)));
            }
        }
        for (i, instr) in kernel.instrs.iter().enumerate() {
            if let Instr::Scalar { arg, dtype } = *instr {
                let (home, n) = (scratch.homes[i].0, self.args[usize::from(arg)]);
                let len = if scratch.single[i] { 1 } else { len };
                // SAFETY: the register's own place, which has room for a tile.
                match Class::of(dtype) {
                    Class::F32 => unsafe { fill(home, len, float_number(dtype, n)) },
                    // SAFETY: as above.
                    Class::F64 => unsafe { fill(home, len, n.as_f64()) },
                    // SAFETY: as above.
                    Class::I64 => unsafe { fill(home, len, int_number(dtype, n)) },
                }
            }
        }
    }

    /// Runs the instructions for a region. Returns its number of elements.
    pub(super) fn compute(&self, scratch: &mut Scratch, region: Region) -> Result<usize, Fault> {
        let (start, len) = match region {
            Region::Line { start, len } => (start, len),
            Region::Block { blocks, number } => {
                let block = self.plan.block(&blocks, number, 0);
                (0, block.rows * block.columns)
            }
        };
        debug_assert!(len <= TILE);
        for i in 0..self.kernel.instrs.len() {
            let (home, step) = scratch.homes[i];
            scratch.values[i] = home.wrapping_add(start * step);
            match self.kernel.idioms.inside[i] {
                Some(end) if scratch.whole[end] => {}
                _ if scratch.whole[i] => self.idiom(scratch, i, len),
                _ => self.step(scratch, i, region, len)?,
            }
        }
        Ok(len)
    }

    /// Runs the idiom that ends at instruction `i`.
    fn idiom(&self, scratch: &Scratch, i: usize, len: usize) {
        let idiom = self.kernel.idioms.ends[i].expect("only such are asked for");
        let address = |r: &u16| scratch.values[usize::from(*r)].cast_const().cast::<f32>();
        let mut run = Run { idiom, x: [address(&idiom.wide()[0]); 3], s: [0.0; 3], y: scratch.values[i].cast(), len };
        run.x.iter_mut().zip(idiom.wide()).for_each(|(x, r)| *x = address(r));
        // SAFETY: a register of f32 with one element.
        run.s.iter_mut().zip(idiom.uniform()).for_each(|(s, r)| *s = unsafe { *address(r) });
        // SAFETY: registers of `len` elements of f32, alive until here; the result lies apart from all but the in-place
        // loads that `prepare` lets it write over.
        unsafe { run.run(self.isa) };
    }

    /// Stores the outputs of a region that are not where they belong yet.
    pub(super) fn store(&self, scratch: &Scratch, region: Region) {
        for (o, (operand, &r)) in self.plan.outputs.iter().zip(&self.kernel.outputs).enumerate() {
            let Place::Memory(to) = operand.place else { unreachable!("an output is memory") };
            let from = scratch.values[usize::from(r)];
            match region {
                Region::Line { start, .. } if from == to.wrapping_add(start * operand.dtype.size()) => {}
                // SAFETY: the register holds the region's elements, and the output's bounds were checked. A
                // register that lies in an output's memory lies in that of another, or is the one above.
                Region::Line { start, len } => unsafe {
                    convert::store(self.isa, operand.dtype, from, to, self.plan.axes(operand), start, len);
                },
                Region::Block { blocks, number } => {
                    let block = self.plan.block(&blocks, number, self.plan.inputs.len() + o);
                    // SAFETY: as above; no register lies in an output's memory when the walk is in blocks.
                    unsafe { convert::store_block(self.isa, operand.dtype, from, to, block) };
                }
            }
        }
    }

    /// The value of register `r` of the current tile.
    ///
    /// # Safety
    /// `T` must be the register's class, the tile have `len` elements, and nothing write to the register
    /// while the slice lives.
    pub(super) unsafe fn value<'s, T>(&self, scratch: &'s Scratch, r: usize, len: usize) -> &'s [T] {
        debug_assert_eq!(size_of::<T>(), Class::of(self.kernel.dtypes[r]).size());
        // SAFETY: values point at `len` elements of their class: in the tile's memory, or in an operand
        // whose bounds were checked.
        unsafe { std::slice::from_raw_parts(scratch.values[r].cast(), len) }
    }

    fn load(&self, scratch: &mut Scratch, i: usize, input: usize, region: Region) {
        let operand = &self.plan.inputs[input];
        let (source, number) = match operand.place {
            Place::Output(n) => (&self.plan.outputs[n], self.plan.inputs.len() + n),
            _ => (operand, input),
        };
        match region {
            _ if scratch.single[i] => self.load_line(scratch, i, source, 0, 1),
            Region::Line { start, len } => match self.plan.direct(if scratch.lent[i] { source } else { operand }) {
                // Read where it lies. In place only if it is lent: what is read would be overwritten while it is borrowed.
                Some(first) => scratch.values[i] = first.wrapping_add(start * operand.dtype.size()),
                None => self.load_line(scratch, i, source, start, len),
            },
            Region::Block { blocks, number: at } => {
                let (block, to) = (self.plan.block(&blocks, at, number), scratch.values[i]);
                match source.place {
                    // SAFETY: bounds were checked; `to` is the register's place in the tile's memory.
                    Place::Memory(from) => unsafe { convert::load_block(self.isa, source.dtype, from, block, to) },
                    Place::Index(offset) => {
                        let len = block.rows * block.columns;
                        // SAFETY: the register's place, with room for a tile of i64.
                        let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<i64>(), len) };
                        convert::load_index_block(offset, block, to);
                    }
                    Place::Output(_) => unreachable!("outputs are memory"),
                }
            }
        }
    }

    fn load_line(&self, scratch: &mut Scratch, i: usize, source: &Operand, start: usize, len: usize) {
        let (to, axes) = (scratch.values[i], self.plan.axes(source));
        match source.place {
            // SAFETY: bounds were checked; `to` is the register's place in the tile's memory.
            Place::Memory(from) => unsafe { convert::load(self.isa, source.dtype, from, axes, start, len, to) },
            Place::Index(offset) => {
                // SAFETY: the register's place, with room for a tile of i64.
                let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<i64>(), len) };
                convert::load_index(self.isa, offset, axes, start, to);
            }
            Place::Output(_) => unreachable!("outputs are memory"),
        }
    }

    /// Runs instruction `i`.
    fn step(&self, scratch: &mut Scratch, i: usize, region: Region, len: usize) -> Result<(), Fault> {
        let (isa, instr, dtype) = (self.isa, &self.kernel.instrs[i], self.kernel.dtypes[i]);
        if let Instr::Load { input } = *instr {
            self.load(scratch, i, usize::from(input), region);
            return Ok(());
        }
        if matches!(instr, Instr::Scalar { .. }) {
            return Ok(());
        }
        let first = operands(instr).next().map(|r| Class::of(self.kernel.dtypes[r]));
        let to = scratch.values[i];
        debug_assert!(operands(instr).all(|r| scratch.values[r] != to));
        // SAFETY: the result's place, in the tile's memory or in an output, has room for `len` elements of
        // its class, and no operand of this instruction lies there (`allocate` and `prepare` see to it).
        let (f32s, f64s, i64s) = unsafe {
            match Class::of(dtype) {
                Class::F32 => (std::slice::from_raw_parts_mut(to.cast::<f32>(), len), &mut [][..], &mut [][..]),
                Class::F64 => (&mut [][..], std::slice::from_raw_parts_mut(to.cast::<f64>(), len), &mut [][..]),
                Class::I64 => (&mut [][..], &mut [][..], std::slice::from_raw_parts_mut(to.cast::<i64>(), len)),
            }
        };
        // SAFETY: each is asked for in its own class, which `Kernel::new` has checked, and none is written.
        let f32_of = |r: u16| unsafe { self.value::<f32>(scratch, usize::from(r), len) };
        // SAFETY: as above.
        let f64_of = |r: u16| unsafe { self.value::<f64>(scratch, usize::from(r), len) };
        // SAFETY: as above.
        let i64_of = |r: u16| unsafe { self.value::<i64>(scratch, usize::from(r), len) };
        let f32_arg =
            |r: u16| if scratch.single[usize::from(r)] { Arg::One(f32_of(r)[0]) } else { Arg::Each(f32_of(r)) };
        let f64_arg =
            |r: u16| if scratch.single[usize::from(r)] { Arg::One(f64_of(r)[0]) } else { Arg::Each(f64_of(r)) };
        let i64_arg =
            |r: u16| if scratch.single[usize::from(r)] { Arg::One(i64_of(r)[0]) } else { Arg::Each(i64_of(r)) };

        match (*instr, first) {
            (Instr::Unary { f, a }, Some(Class::F32)) => math::unary_f32(isa, f, f32_of(a), f32s),
            (Instr::Unary { f, a }, Some(Class::F64)) => math::unary_f64(isa, f, f64_of(a), f64s),
            (Instr::Unary { f, a }, _) => ops::unary_i64(isa, f, i64_of(a), i64s),
            (Instr::Binary { f, a, b }, Some(Class::F32)) if f.is_comparison() => {
                ops::compare(isa, f, f32_arg(a), f32_arg(b), i64s);
            }
            (Instr::Binary { f, a, b }, Some(Class::F64)) if f.is_comparison() => {
                ops::compare(isa, f, f64_arg(a), f64_arg(b), i64s);
            }
            (Instr::Binary { f, a, b }, _) if f.is_comparison() => {
                ops::compare(isa, f, i64_arg(a), i64_arg(b), i64s);
            }
            (Instr::Binary { f, a, b }, Some(Class::F32)) => ops::binary(isa, f, f32_arg(a), f32_arg(b), f32s),
            (Instr::Binary { f, a, b }, Some(Class::F64)) => ops::binary(isa, f, f64_arg(a), f64_arg(b), f64s),
            (Instr::Binary { f, a, b }, _) => {
                if f.divides() && ops::has_zero(i64_arg(b)) {
                    return Err(Fault::DivisionByZero);
                }
                ops::binary(isa, f, i64_arg(a), i64_arg(b), i64s);
            }
            (Instr::Select { c, a, b }, _) => match Class::of(dtype) {
                Class::F32 => ops::select(isa, i64_of(c), f32_arg(a), f32_arg(b), f32s),
                Class::F64 => ops::select(isa, i64_of(c), f64_arg(a), f64_arg(b), f64s),
                Class::I64 => ops::select(isa, i64_of(c), i64_arg(a), i64_arg(b), i64s),
            },
            (Instr::Cast { a, .. }, Some(from)) => match (from, Class::of(dtype), dtype) {
                (Class::F32, Class::F32, _) => f32s.copy_from_slice(f32_of(a)),
                (Class::F32, Class::F64, _) => ops::convert(isa, f32_of(a), f64s, f64::from),
                (Class::F32, _, DType::Bool) => ops::convert(isa, f32_of(a), i64s, |x| i64::from(x != 0.0)),
                (Class::F32, Class::I64, _) => ops::convert(isa, f32_of(a), i64s, |x| x as i64),
                (Class::F64, Class::F32, _) => ops::convert(isa, f64_of(a), f32s, |x| x as f32),
                (Class::F64, Class::F64, _) => f64s.copy_from_slice(f64_of(a)),
                (Class::F64, _, DType::Bool) => ops::convert(isa, f64_of(a), i64s, |x| i64::from(x != 0.0)),
                (Class::F64, Class::I64, _) => ops::convert(isa, f64_of(a), i64s, |x| x as i64),
                (Class::I64, Class::F32, _) => ops::convert(isa, i64_of(a), f32s, |x| x as f32),
                (Class::I64, Class::F64, _) => ops::convert(isa, i64_of(a), f64s, |x| x as f64),
                (Class::I64, Class::I64, _) => i64s.copy_from_slice(i64_of(a)),
            },
            (Instr::BitCast { a, to }, _) => {
                let from = self.kernel.dtype(a);
                match (from, to) {
                    (DType::F32, DType::I32) => ops::convert(isa, f32_of(a), i64s, |x| i64::from(x.to_bits() as i32)),
                    (DType::I32, DType::F32) => ops::convert(isa, i64_of(a), f32s, |x| f32::from_bits(x as u32)),
                    (DType::F64, DType::I64) => ops::convert(isa, f64_of(a), i64s, |x| x.to_bits() as i64),
                    (DType::I64, DType::F64) => ops::convert(isa, i64_of(a), f64s, |x| f64::from_bits(x as u64)),
                    (DType::F16, DType::BF16) => ops::convert(isa, f32_of(a), f32s, super::halves::f16_as_bf16),
                    (DType::BF16, DType::F16) => ops::convert(isa, f32_of(a), f32s, super::halves::bf16_as_f16),
                    // The same type, or u8 and bool.
                    _ => match Class::of(dtype) {
                        Class::F32 => f32s.copy_from_slice(f32_of(a)),
                        Class::F64 => f64s.copy_from_slice(f64_of(a)),
                        Class::I64 => i64s.copy_from_slice(i64_of(a)),
                    },
                }
                // Bits stay as they are, but for a byte that becomes a truth value.
                if to == DType::Bool {
                    ops::wrap(isa, to, i64s);
                }
                return Ok(());
            }
            (Instr::Random { index, seed, counter }, _) => {
                let word = |arg: u16| self.args[usize::from(arg)].as_i64() as u64;
                ops::random(isa, i64_of(index), word(seed), word(counter), i64s);
            }
            (Instr::Load { .. } | Instr::Scalar { .. }, _) | (Instr::Cast { .. }, None) => {
                unreachable!("{instr:?} has no operands")
            }
        }
        if !stays_exact(instr) {
            ops::round(isa, dtype, f32s);
            ops::wrap(isa, dtype, i64s);
        }
        Ok(())
    }
}

/// Whether an instruction's results need no rounding or wrapping to their type: they are among its
/// operands, or whole numbers that the type has.
fn stays_exact(instr: &Instr) -> bool {
    match instr {
        Instr::Binary { f, .. } => f.is_comparison() || matches!(f, super::BinaryFn::Max | super::BinaryFn::Min),
        Instr::Unary { f, .. } => matches!(f, UnaryFn::Floor | UnaryFn::Ceil | UnaryFn::Trunc | UnaryFn::Round),
        Instr::Select { .. } | Instr::Random { .. } => true,
        _ => false,
    }
}
