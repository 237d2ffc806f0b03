//! f16 and bf16: widened to f32, multiplied there, rounded once; bf16 as it is where the processor multiplies it.

use ::half::slice::HalfFloatSliceExt;
use ::half::{bf16, f16};

use crate::Cpu;
use crate::buffer::Buffer;
use crate::dtype::Element;
use crate::slice::Slice;

use super::{Dims, Finish, Operand, pairs, real};

/// Elements that one task converts.
const CHUNK: usize = 1 << 15;

/// f16 or bf16.
pub(super) trait Half: Element {
    /// Writes the values of `from` to `to`.
    fn widen(from: &[Self], to: &mut [f32]);
    /// The value of one element.
    fn wide(self) -> f32;
    /// Writes `from` rounded to nearest, ties to even, to `to`.
    fn round(from: &[f32], to: &mut [Self]);
    /// Computes the product in f32 from factors that are not widened, and passes it to `finish`, where that is faster;
    /// returns whether it did.
    fn narrow(_: &Cpu, _: &Dims, _: &Operand, _: &Operand, _: &mut [f32], _: &Finish<f32>) -> bool {
        false
    }
}

impl Half for f16 {
    fn widen(from: &[f16], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    fn wide(self) -> f32 {
        self.to_f32()
    }

    fn round(from: &[f32], to: &mut [f16]) {
        to.convert_from_f32_slice(from);
    }
}

impl Half for bf16 {
    fn widen(from: &[bf16], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }

    fn wide(self) -> f32 {
        self.to_f32()
    }

    fn round(from: &[f32], to: &mut [bf16]) {
        to.convert_from_f32_slice(from);
    }

    fn narrow(cpu: &Cpu, dims: &Dims, a: &Operand, b: &Operand, sums: &mut [f32], finish: &Finish<f32>) -> bool {
        pairs::dot(cpu, dims, a, b, sums, finish)
    }
}

/// An operand in f32: each element of the original once, dimensions with stride 0 still broadcast.
struct Wide {
    data: Buffer,
    strides: Vec<isize>,
}

impl Wide {
    /// Widens an operand of `rows × cols` matrices.
    fn new<H: Half>(cpu: &Cpu, batch: &[usize], x: &Operand, rows: usize, cols: usize) -> Wide {
        let mut sizes: Vec<usize> = batch.iter().copied().chain([rows, cols]).collect();
        let from: Vec<isize> = x.batch.iter().copied().chain([x.rows, x.cols]).collect();
        for (size, &stride) in sizes.iter_mut().zip(&from) {
            *size = if stride == 0 { (*size).min(1) } else { *size };
        }
        // The innermost dimension of the copy is the one that lies side by side in the original.
        let rank = sizes.len();
        let inner = if x.rows == 1 && x.cols != 1 { rank - 2 } else { rank - 1 };
        let mut order: Vec<usize> = (0..rank).filter(|&d| d != inner).collect();
        order.push(inner);
        let mut strides = vec![0; rank];
        let mut count = 1;
        for &d in order.iter().rev() {
            strides[d] = if from[d] == 0 { 0 } else { count as isize };
            count *= sizes[d];
        }
        let mut data = Buffer::new(count * size_of::<f32>());
        if count > 0 {
            let source = x.data.get::<H>();
            let start = |mut line: usize| {
                let mut at = x.offset as isize;
                for &d in order[..rank - 1].iter().rev() {
                    at += (line % sizes[d]) as isize * from[d];
                    line /= sizes[d];
                }
                at
            };
            fill(cpu, source, data.get_mut(), sizes[inner], from[inner], &start);
        }
        Wide { data, strides }
    }

    fn operand(&self) -> Operand<'_> {
        let (batch, matrix) = self.strides.split_at(self.strides.len() - 2);
        Operand { data: Slice::of(self.data.get::<f32>()), offset: 0, batch, rows: matrix[0], cols: matrix[1] }
    }
}

/// Widens lines of `len` elements with stride `step`, line `i` beginning at `start(i)`.
fn fill<H: Half>(
    cpu: &Cpu,
    from: &[H],
    to: &mut [f32],
    len: usize,
    step: isize,
    start: &(dyn Fn(usize) -> isize + Sync),
) {
    let lines = to.len() / len;
    let group = (CHUNK / len).max(1);
    let base = to.as_mut_ptr().expose_provenance();
    cpu.pool.run(lines.div_ceil(group), &|task| {
        for line in task * group..lines.min((task + 1) * group) {
            let target = std::ptr::with_exposed_provenance_mut::<f32>(base).wrapping_add(line * len);
            // SAFETY: line `line` of `to`, which is borrowed mutably and which no other task touches.
            let to = unsafe { std::slice::from_raw_parts_mut(target, len) };
            let at = start(line);
            if step == 1 {
                H::widen(&from[at as usize..at as usize + len], to);
            } else {
                for (i, to) in to.iter_mut().enumerate() {
                    *to = from[(at + i as isize * step) as usize].wide();
                }
            }
        }
    });
}

/// The product of halves.
pub(super) fn dot<H: Half>(cpu: &Cpu, dims: &Dims, a: &Operand, b: &Operand, out: &mut [H]) {
    let mut sums = Buffer::new(out.len() * size_of::<f32>());
    let base = out.as_mut_ptr().expose_provenance();
    let round = |index: usize, sums: &mut [f32]| {
        let target = std::ptr::with_exposed_provenance_mut::<H>(base).wrapping_add(index);
        // SAFETY: the elements of `out` (borrowed mutably) for these sums; each is passed once.
        let to = unsafe { std::slice::from_raw_parts_mut(target, sums.len()) };
        H::round(sums, to);
    };
    if H::narrow(cpu, dims, a, b, sums.get_mut(), &round) {
        return;
    }
    let a = Wide::new::<H>(cpu, dims.batch, a, dims.m, dims.k);
    let b = Wide::new::<H>(cpu, dims.batch, b, dims.k, dims.n);
    real::<f32>(cpu, dims, &a.operand(), &b.operand(), sums.get_mut(), Some(&round));
}
