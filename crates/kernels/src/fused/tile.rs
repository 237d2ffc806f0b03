//! Running a kernel over one tile: a piece of the index space that the registers hold at once.

use std::cell::Cell;

use super::instr::{Instr, UnaryFn};
use super::kernel::{Class, Kernel, TILE, operands};
use super::walk::{Axis, collapse, is_distinct, reach};
use super::{Fault, Sink, Source, convert, ops};
use crate::dtype::{DType, Element, Number};
use crate::isa::Isa;
use crate::math;

/// A source or sink, checked: where its elements lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    place: Place,
    dtype: DType,
    /// Which of the plan's axes are its own.
    axes: (usize, usize),
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Address of the first element.
    Memory(*mut u8),
    /// The index itself.
    Index(i64),
    /// Where output `n` lies.
    Output(usize),
}

/// What a run needs to know of its operands. Lives in a thread's storage between runs, so that a run
/// allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Plan {
    axes: Vec<Axis>,
    inputs: Vec<Operand>,
    outputs: Vec<Operand>,
}

impl Plan {
    fn push_axes(&mut self, dims: &[usize], strides: &[isize], order: &[usize]) -> (usize, usize) {
        let start = self.axes.len();
        collapse(order.iter().map(|&d| (dims[d], strides[d])), &mut self.axes);
        (start, self.axes.len())
    }

    /// Checks the inputs against the kernel and the memory that they name. The index space is `dims`
    /// walked in `order`, outermost first, and has at least one element.
    pub(super) fn add_inputs(&mut self, kernel: &Kernel, dims: &[usize], order: &[usize], inputs: &[Source]) {
        assert_eq!(inputs.len(), kernel.inputs.len(), "number of inputs");
        for (i, (source, &dtype)) in inputs.iter().zip(&kernel.inputs).enumerate() {
            let operand = match *source {
                Source::Data { ref data, offset, strides } => {
                    assert_eq!(data.dtype(), dtype, "type of input {i}");
                    check_bounds(dims, strides, offset, data.len());
                    let first = data.bytes().as_ptr().wrapping_add(offset * dtype.size());
                    let axes = self.push_axes(dims, strides, order);
                    Operand { place: Place::Memory(first.cast_mut()), dtype, axes }
                }
                Source::Index { offset, strides } => {
                    assert_eq!(dtype, DType::I64, "type of input {i}, an index");
                    assert_eq!(strides.len(), dims.len(), "strides of input {i}");
                    let axes = self.push_axes(dims, strides, order);
                    Operand { place: Place::Index(offset), dtype, axes }
                }
                Source::Output(n) => {
                    assert_eq!(kernel.dtype(kernel.outputs[n]), dtype, "type of input {i}, in place");
                    Operand { place: Place::Output(n), dtype, axes: (0, 0) }
                }
            };
            self.inputs.push(operand);
        }
    }

    /// Checks the outputs, as [`Plan::add_inputs`] does, and that they have a place for every element.
    pub(super) fn add_outputs(&mut self, kernel: &Kernel, dims: &[usize], order: &[usize], outputs: &mut [Sink]) {
        assert_eq!(outputs.len(), kernel.outputs.len(), "number of outputs");
        for (o, sink) in outputs.iter_mut().enumerate() {
            let dtype = kernel.dtype(kernel.outputs[o]);
            assert_eq!(sink.data.dtype(), dtype, "type of output {o}");
            check_bounds(dims, sink.strides, sink.offset, sink.data.len());
            assert!(is_distinct(dims, sink.strides), "output {o}: several elements in one place");
            let first = sink.data.bytes().as_mut_ptr().wrapping_add(sink.offset * dtype.size());
            let axes = self.push_axes(dims, sink.strides, order);
            self.outputs.push(Operand { place: Place::Memory(first), dtype, axes });
        }
    }

    /// Adds an output that is contiguous from `first` on.
    pub(super) fn add_contiguous_output(&mut self, dtype: DType, first: *mut u8, len: usize) {
        let start = self.axes.len();
        collapse([(len, 1)].into_iter(), &mut self.axes);
        self.outputs.push(Operand { place: Place::Memory(first), dtype, axes: (start, self.axes.len()) });
    }

    fn axes(&self, operand: &Operand) -> &[Axis] {
        &self.axes[operand.axes.0..operand.axes.1]
    }

    /// Address of the elements from `start` on, when they lie side by side as registers hold them.
    fn direct(&self, operand: &Operand) -> Option<*mut u8> {
        let contiguous = matches!(self.axes(operand), [] | [Axis { stride: 1, .. }]);
        match operand.place {
            Place::Memory(first) if contiguous && Class::is_native(operand.dtype) => Some(first),
            _ => None,
        }
    }

    fn clear(&mut self) {
        self.axes.clear();
        self.inputs.clear();
        self.outputs.clear();
    }
}

fn check_bounds(dims: &[usize], strides: &[isize], offset: usize, len: usize) {
    assert_eq!(dims.len(), strides.len(), "one stride for each dimension");
    let inside = reach(dims, strides).is_some_and(|(low, high)| {
        offset.checked_add_signed(low).is_some() && offset.checked_add_signed(high).is_some_and(|end| end < len)
    });
    assert!(inside, "{dims:?} with strides {strides:?} from {offset} reaches outside {len} elements");
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
}

thread_local! {
    static PLAN: Cell<Plan> = Cell::default();
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Lends this thread's plan, empty.
pub(super) fn with_plan<R>(f: impl FnOnce(&mut Plan) -> R) -> R {
    let mut plan = PLAN.take();
    plan.clear();
    let result = f(&mut plan);
    PLAN.set(plan);
    result
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

        for (o, operand) in plan.outputs.iter().enumerate().filter(|_| direct) {
            let r = usize::from(kernel.outputs[o]);
            // What is updated in place must have been read before.
            let reads = |i: &Instr| matches!(*i, Instr::Load { input } if matches!(plan.inputs[usize::from(input)].place, Place::Output(n) if n == o));
            let defines = !matches!(kernel.instrs[r], Instr::Load { .. } | Instr::Scalar { .. });
            if let Some(first) = plan.direct(operand)
                && defines
                && !kernel.instrs[r..].iter().any(reads)
            {
                scratch.homes[r] = (first, operand.dtype.size());
            }
        }
        for (i, instr) in kernel.instrs.iter().enumerate() {
            if let Instr::Scalar { arg, dtype } = *instr {
                let (home, n) = (scratch.homes[i].0, self.args[usize::from(arg)]);
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

    /// Runs the instructions for elements `start .. start + len`, at most a tile.
    pub(super) fn compute(&self, scratch: &mut Scratch, start: usize, len: usize) -> Result<(), Fault> {
        debug_assert!(len <= TILE);
        for i in 0..self.kernel.instrs.len() {
            let (home, step) = scratch.homes[i];
            scratch.values[i] = home.wrapping_add(start * step);
            self.step(scratch, i, start, len)?;
        }
        Ok(())
    }

    /// Stores the outputs of elements `start .. start + len` that are not where they belong yet.
    pub(super) fn store(&self, scratch: &Scratch, start: usize, len: usize) {
        for (operand, &r) in self.plan.outputs.iter().zip(&self.kernel.outputs) {
            let Place::Memory(to) = operand.place else { unreachable!("an output is memory") };
            let from = scratch.values[usize::from(r)];
            if from == to.wrapping_add(start * operand.dtype.size()) {
                continue;
            }
            // SAFETY: the register holds `len` elements, and the output's bounds were checked. A register
            // that lies in an output's memory lies in that of another output, or is the one skipped above.
            unsafe { convert::store(self.isa, operand.dtype, from, to, self.plan.axes(operand), start, len) };
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

    fn load(&self, scratch: &mut Scratch, i: usize, input: usize, start: usize, len: usize) {
        let operand = &self.plan.inputs[input];
        let to = scratch.values[i];
        let source = match operand.place {
            Place::Output(n) => &self.plan.outputs[n],
            _ => operand,
        };
        match (source.place, self.plan.direct(operand)) {
            // Read where it lies. Not in place: what is read would be overwritten while it is borrowed.
            (_, Some(first)) => scratch.values[i] = first.wrapping_add(start * operand.dtype.size()),
            (Place::Memory(from), None) => {
                // SAFETY: bounds were checked; `to` is the register's place in the tile's memory.
                unsafe { convert::load(self.isa, operand.dtype, from, self.plan.axes(source), start, len, to) };
            }
            (Place::Index(offset), None) => {
                // SAFETY: the register's place, with room for a tile of i64.
                let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<i64>(), len) };
                convert::load_index(self.isa, offset, self.plan.axes(source), start, to);
            }
            (Place::Output(_), None) => unreachable!("outputs are memory"),
        }
    }

    /// Runs instruction `i`.
    fn step(&self, scratch: &mut Scratch, i: usize, start: usize, len: usize) -> Result<(), Fault> {
        let (isa, instr, dtype) = (self.isa, &self.kernel.instrs[i], self.kernel.dtypes[i]);
        if let Instr::Load { input } = *instr {
            self.load(scratch, i, usize::from(input), start, len);
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

        match (*instr, first) {
            (Instr::Unary { f, a }, Some(Class::F32)) => math::unary_f32(isa, f, f32_of(a), f32s),
            (Instr::Unary { f, a }, Some(Class::F64)) => math::unary_f64(isa, f, f64_of(a), f64s),
            (Instr::Unary { f, a }, _) => ops::unary_i64(isa, f, i64_of(a), i64s),
            (Instr::Binary { f, a, b }, Some(Class::F32)) if f.is_comparison() => {
                ops::compare(isa, f, f32_of(a), f32_of(b), i64s);
            }
            (Instr::Binary { f, a, b }, Some(Class::F64)) if f.is_comparison() => {
                ops::compare(isa, f, f64_of(a), f64_of(b), i64s);
            }
            (Instr::Binary { f, a, b }, _) if f.is_comparison() => {
                ops::compare(isa, f, i64_of(a), i64_of(b), i64s);
            }
            (Instr::Binary { f, a, b }, Some(Class::F32)) => ops::binary(isa, f, f32_of(a), f32_of(b), f32s),
            (Instr::Binary { f, a, b }, Some(Class::F64)) => ops::binary(isa, f, f64_of(a), f64_of(b), f64s),
            (Instr::Binary { f, a, b }, _) => {
                if f.divides() && ops::has_zero(i64_of(b)) {
                    return Err(Fault::DivisionByZero);
                }
                ops::binary(isa, f, i64_of(a), i64_of(b), i64s);
            }
            (Instr::Select { c, a, b }, _) => match Class::of(dtype) {
                Class::F32 => ops::select(isa, i64_of(c), f32_of(a), f32_of(b), f32s),
                Class::F64 => ops::select(isa, i64_of(c), f64_of(a), f64_of(b), f64s),
                Class::I64 => ops::select(isa, i64_of(c), i64_of(a), i64_of(b), i64s),
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
