//! A checked chain of instructions, with a place in the tile's memory for every register.

use super::idiom::Idioms;
use super::instr::{Instr, Reg};
use crate::dtype::DType;

/// Elements that a register holds: four kilobytes of f32, so that half a dozen fit the first-level cache.
pub(super) const TILE: usize = 1024;

/// How a register is held: halves as f32, all integers and bool as i64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    F32,
    F64,
    I64,
}

impl Class {
    pub(super) const fn of(dtype: DType) -> Class {
        match dtype {
            DType::F16 | DType::BF16 | DType::F32 => Class::F32,
            DType::F64 => Class::F64,
            DType::Bool | DType::U8 | DType::I32 | DType::I64 => Class::I64,
        }
    }

    pub(super) const fn size(self) -> usize {
        match self {
            Class::F32 => 4,
            Class::F64 | Class::I64 => 8,
        }
    }

    /// Whether elements of `dtype` lie in memory as a register holds them.
    pub(super) const fn is_native(dtype: DType) -> bool {
        matches!(dtype, DType::F32 | DType::F64 | DType::I64)
    }
}

/// A chain of elementwise operations whose types have been checked.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(super) instrs: Vec<Instr>,
    pub(super) inputs: Vec<DType>,
    pub(super) outputs: Vec<Reg>,
    /// Type of each register.
    pub(super) dtypes: Vec<DType>,
    /// Where each register lies in the tile's memory, in bytes.
    pub(super) places: Vec<usize>,
    /// Bytes of the tile's memory.
    pub(super) bytes: usize,
    /// Whether a register is used where only an element for each index will do, not one for all.
    pub(super) wide: Vec<bool>,
    pub(super) idioms: Idioms,
}

impl Kernel {
    /// Checks types and operands, and gives each register its place. `inputs` are the types of what
    /// [`Instr::Load`] reads; `outputs` the registers that are stored, in order.
    ///
    /// Errors say which instruction is wrong and why.
    pub fn new(instrs: Vec<Instr>, inputs: Vec<DType>, outputs: Vec<Reg>) -> Result<Kernel, String> {
        if instrs.len() > usize::from(Reg::MAX) {
            return Err(format!("{} instructions, more than registers can be numbered", instrs.len()));
        }
        let mut dtypes = Vec::with_capacity(instrs.len());
        for (i, instr) in instrs.iter().enumerate() {
            let dtype =
                result_type(instr, &inputs, &dtypes).map_err(|why| format!("instruction {i} ({instr:?}): {why}"))?;
            dtypes.push(dtype);
        }
        if let Some(o) = outputs.iter().find(|&&o| usize::from(o) >= instrs.len()) {
            return Err(format!("output register {o} of {} instructions", instrs.len()));
        }
        let idioms = Idioms::find(&instrs, &dtypes, &outputs);
        let (places, bytes) = allocate(&instrs, &dtypes, &outputs, &idioms);
        let wide = used_wide(&instrs, &outputs);
        Ok(Kernel { instrs, inputs, outputs, dtypes, places, bytes, wide, idioms })
    }

    /// The type of register `r`. Panics when there is no such register.
    pub fn dtype(&self, r: Reg) -> DType {
        self.dtypes[usize::from(r)]
    }

    /// The instructions.
    pub fn instrs(&self) -> &[Instr] {
        &self.instrs
    }

    /// Types of the inputs.
    pub fn inputs(&self) -> &[DType] {
        &self.inputs
    }

    /// The registers that are stored.
    pub fn outputs(&self) -> &[Reg] {
        &self.outputs
    }

    /// How many arguments the instructions name: the highest number and one.
    pub fn args(&self) -> usize {
        let highest = |instr: &Instr| match *instr {
            Instr::Scalar { arg, .. } => usize::from(arg) + 1,
            Instr::Random { seed, counter, .. } => usize::from(seed.max(counter)) + 1,
            _ => 0,
        };
        self.instrs.iter().map(highest).max().unwrap_or(0)
    }
}

/// The registers that an instruction reads.
pub(super) fn operands(instr: &Instr) -> impl Iterator<Item = usize> {
    let list = match *instr {
        Instr::Load { .. } | Instr::Scalar { .. } => [None; 3],
        Instr::Unary { a, .. } | Instr::Cast { a, .. } | Instr::BitCast { a, .. } => [Some(a), None, None],
        Instr::Random { index, .. } => [Some(index), None, None],
        Instr::Binary { a, b, .. } => [Some(a), Some(b), None],
        Instr::Select { c, a, b } => [Some(c), Some(a), Some(b)],
    };
    list.into_iter().flatten().map(usize::from)
}

fn result_type(instr: &Instr, inputs: &[DType], dtypes: &[DType]) -> Result<DType, String> {
    if let Some(r) = operands(instr).find(|&r| r >= dtypes.len()) {
        return Err(format!("register {r} is not defined before it"));
    }
    let of = |r: Reg| dtypes[usize::from(r)];
    let same = |a: Reg, b: Reg| {
        if of(a) == of(b) { Ok(of(a)) } else { Err(format!("operands of types {} and {}", of(a), of(b))) }
    };
    match *instr {
        Instr::Load { input } => {
            inputs.get(usize::from(input)).copied().ok_or_else(|| format!("input {input} of {}", inputs.len()))
        }
        Instr::Scalar { dtype, .. } => Ok(dtype),
        Instr::Unary { f, a } => {
            let dtype = of(a);
            let defined =
                dtype.is_float() || (f.takes_integers() && (dtype != DType::Bool || f != super::UnaryFn::Neg));
            if defined { Ok(dtype) } else { Err(format!("not defined for {dtype}")) }
        }
        Instr::Binary { f, a, b } => {
            let dtype = same(a, b)?;
            match f.takes(dtype) {
                true if f.is_comparison() => Ok(DType::Bool),
                true => Ok(dtype),
                false => Err(format!("not defined for {dtype}")),
            }
        }
        Instr::Select { c, a, b } => match of(c) {
            DType::Bool => same(a, b),
            other => Err(format!("the condition is {other}, not bool")),
        },
        Instr::Cast { to, .. } => Ok(to),
        Instr::BitCast { a, to } if of(a).size() == to.size() => Ok(to),
        Instr::BitCast { a, to } => Err(format!("{} and {to} differ in size", of(a))),
        Instr::Random { index, .. } => match of(index) {
            DType::I64 => Ok(DType::I64),
            other => Err(format!("the index is {other}, not i64")),
        },
    }
}

/// Everywhere but as an operand of a binary function or a choice of a selection.
fn used_wide(instrs: &[Instr], outputs: &[Reg]) -> Vec<bool> {
    let mut wide = vec![false; instrs.len()];
    outputs.iter().for_each(|&o| wide[usize::from(o)] = true);
    for instr in instrs {
        match *instr {
            Instr::Binary { .. } => {}
            Instr::Select { c, .. } => wide[usize::from(c)] = true,
            _ => operands(instr).for_each(|r| wide[r] = true),
        }
    }
    wide
}

/// Gives each register a place that no register alive at the same time has. A result never takes the
/// place of its own operands: kernels read and write through slices that must not overlap.
fn allocate(instrs: &[Instr], dtypes: &[DType], outputs: &[Reg], idioms: &Idioms) -> (Vec<usize>, usize) {
    let mut last_use: Vec<usize> = (0..instrs.len()).collect();
    for (i, instr) in instrs.iter().enumerate() {
        // An idiom reads what its instructions read where it ends.
        let end = idioms.inside[i].unwrap_or(i);
        operands(instr).for_each(|r| last_use[r] = last_use[r].max(end));
    }
    outputs.iter().for_each(|&o| last_use[usize::from(o)] = usize::MAX);

    let is_scalar = |r: usize| matches!(instrs[r], Instr::Scalar { .. });
    let mut places = Vec::with_capacity(instrs.len());
    let mut free: Vec<(usize, usize)> = Vec::new();
    let mut bytes = 0;
    let mut ending: Vec<Vec<usize>> = vec![Vec::new(); instrs.len()];
    for (r, &end) in last_use.iter().enumerate().filter(|(r, end)| **end < instrs.len() && !is_scalar(*r)) {
        ending[end].push(r);
    }
    for i in 0..instrs.len() {
        let size = Class::of(dtypes[i]).size();
        // A scalar is filled once for many tiles: no other register may have its place, before or after.
        let place = match free.iter().rposition(|&(s, _)| s == size) {
            Some(found) if !is_scalar(i) => free.remove(found).1,
            _ => {
                let place = bytes;
                // One more cache line, so that registers do not lie a whole number of pages apart.
                bytes += TILE * size + 64;
                place
            }
        };
        places.push(place);
        free.extend(ending[i].iter().map(|&r| (Class::of(dtypes[r]).size(), places[r])));
    }
    (places, bytes)
}
