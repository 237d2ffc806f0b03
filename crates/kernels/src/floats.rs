//! f16 and bf16 arrays seen as f32, for kernels that compute in f32 and round once.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::Cpu;
use crate::buffer::Buffer;
use crate::dtype::DType;
use crate::parts::each;
use crate::slice::{Slice, SliceMut};

/// Elements that one task converts.
const TASK: usize = 32 << 10;

/// Floats to read as f32: the same memory when they are, else a converted copy.
#[derive(Debug)]
pub(crate) enum Floats<'a> {
    Same(&'a [f32]),
    Copy(Buffer),
}

impl<'a> Floats<'a> {
    /// Panics when `x` is neither f16, bf16 nor f32.
    pub(crate) fn new(cpu: &Cpu, x: Slice<'a>) -> Floats<'a> {
        match x.dtype() {
            DType::F32 => Floats::Same(x.get()),
            _ => Floats::Copy(widened(cpu, x)),
        }
    }

    /// The elements.
    pub(crate) fn get(&self) -> &[f32] {
        match self {
            Floats::Same(x) => x,
            Floats::Copy(buffer) => buffer.get(),
        }
    }
}

/// Floats to write as f32: the same memory when they are, else a buffer that [`FloatsMut::finish`] rounds.
#[derive(Debug)]
pub(crate) struct FloatsMut<'a> {
    out: SliceMut<'a>,
    copy: Option<Buffer>,
}

impl<'a> FloatsMut<'a> {
    /// Any numbers, to be overwritten. Panics when `out` is neither f16, bf16 nor f32.
    pub(crate) fn new(out: SliceMut<'a>) -> FloatsMut<'a> {
        let copy = match out.dtype() {
            DType::F32 => None,
            DType::F16 | DType::BF16 => Some(Buffer::new(out.len() * size_of::<f32>())),
            other => panic!("{other} is not written through f32"),
        };
        FloatsMut { out, copy }
    }

    /// What `out` holds.
    pub(crate) fn keeping(cpu: &Cpu, out: SliceMut<'a>) -> FloatsMut<'a> {
        let copy = (out.dtype() != DType::F32).then(|| widened(cpu, out.as_slice()));
        FloatsMut { out, copy }
    }

    /// The elements.
    pub(crate) fn get(&mut self) -> &mut [f32] {
        match &mut self.copy {
            None => self.out.get(),
            Some(buffer) => buffer.get_mut(),
        }
    }

    /// Rounds to the type of the memory.
    pub(crate) fn finish(mut self, cpu: &Cpu) {
        let Some(copy) = &self.copy else { return };
        let x: &[f32] = copy.get();
        let tasks = x.len().div_ceil(TASK);
        let part = |i: usize, len: usize| &x[i * TASK..][..len];
        match self.out.dtype() {
            DType::F16 => each(&cpu.pool, tasks, (self.out.get::<f16>(), TASK), |i, out| {
                out.convert_from_f32_slice(part(i, out.len()));
            }),
            _ => each(&cpu.pool, tasks, (self.out.get::<bf16>(), TASK), |i, out| {
                out.convert_from_f32_slice(part(i, out.len()));
            }),
        }
    }
}

fn widened(cpu: &Cpu, x: Slice) -> Buffer {
    let mut buffer = Buffer::new(x.len() * size_of::<f32>());
    let tasks = x.len().div_ceil(TASK);
    let out = (buffer.get_mut::<f32>(), TASK);
    match x.dtype() {
        DType::F16 => each(&cpu.pool, tasks, out, |i, out| {
            x.get::<f16>()[i * TASK..][..out.len()].convert_to_f32_slice(out);
        }),
        DType::BF16 => each(&cpu.pool, tasks, out, |i, out| {
            x.get::<bf16>()[i * TASK..][..out.len()].convert_to_f32_slice(out);
        }),
        other => panic!("{other} is not converted to f32"),
    }
    buffer
}
