//! bf16 by the processor's own instruction: sums in f32 of two products at a time, at twice the speed of f32.
//!
//! A pair of steps of k is packed as one element: what the micro-kernels take for an f32 is two bf16.

use ::half::bf16;

use crate::Cpu;
use crate::isa::{Arch, Isa, Job, LINE, dispatch, prefetch};

use super::gemm::Factors;
use super::micro::{Ahead, Kernels};
use super::pack::{Range, Source};
use super::{Batch, Dims, Finish, Matrix, Operand, fold, small};

/// The micro-kernels, where this machine has the instruction.
fn kernels(isa: Isa) -> Option<&'static Kernels<f32>> {
    #[cfg(target_arch = "x86_64")]
    if isa.min(Isa::detect()) >= Isa::Avx512 && is_x86_feature_detected!("avx512bf16") {
        return Some(&super::micro_bf16::PAIRS);
    }
    let _ = isa;
    None
}

/// Computes `sums` = a·b in f32 and passes it to `finish`, if this machine has the instruction and the product is worth
/// packing; returns whether it did.
pub(super) fn dot(cpu: &Cpu, dims: &Dims, a: &Operand, b: &Operand, sums: &mut [f32], finish: &Finish<f32>) -> bool {
    let (dims, a, b) = fold(dims, a, b);
    let Some(kernels) = kernels(cpu.isa).filter(|_| small::pays(dims.m, dims.n, dims.k)) else { return false };
    let batch = Batch { x: a.data.get::<bf16>().as_ptr(), y: b.data.get().as_ptr(), c: sums.as_mut_ptr(), dims, a, b };
    batch.run(cpu, Some(finish), &|p, finish| {
        let (a, b) = (Pairs { of: p.a, k: p.k }, Pairs { of: p.b.transposed(), k: p.k });
        let k = p.k.div_ceil(2);
        Factors { kernels, m: p.m, n: p.n, k, a: &a, b: &b, c: p.c, finish }.multiply(cpu);
    });
    true
}

/// A matrix of `k` columns whose steps are pairs of columns; an odd last one is paired with zero.
struct Pairs {
    of: Matrix<bf16>,
    k: usize,
}

impl Source<f32> for Pairs {
    unsafe fn pack(&self, isa: Isa, lanes: Range, k: Range, width: usize, fill: bool, to: *mut f32) {
        let Matrix { data, rows, cols } = self.of;
        if cols == 1 && rows % 2 == 0 && self.k.is_multiple_of(2) && data.cast::<f32>().is_aligned() {
            let whole = Matrix { data: data.cast::<f32>(), rows: rows / 2, cols: 1 };
            // SAFETY: the pairs lie in memory as they are packed, in the same places.
            return unsafe { whole.pack(isa, lanes, k, width, fill, to) };
        }
        dispatch(isa, Pack { of: self, lanes, k, width, fill, to: to.cast() });
    }

    fn ahead(&self, lane: usize, k: Range, line: usize) -> Ahead<f32> {
        let Matrix { data, rows, cols } = self.of;
        let at = |lane: usize, k: usize| data.wrapping_offset(lane as isize * rows + k as isize * cols).cast();
        if rows == 1 {
            let from = at(lane, 2 * k.start + line % (2 * k.len));
            return Ahead { from, step: cols * size_of::<bf16>() as isize };
        }
        let size = LINE / size_of::<bf16>();
        let each = (2 * k.len / size).max(1);
        Ahead::line(at(lane + line / each, 2 * k.start + line % each * size), 0)
    }
}

/// Pairs from matrices of any strides.
struct Pack<'s> {
    of: &'s Pairs,
    lanes: Range,
    k: Range,
    width: usize,
    fill: bool,
    to: *mut u32,
}

/// Pairs of steps that are fetched ahead.
const AHEAD: isize = 8;

impl Pack<'_> {
    /// Panel `first ..`, `lanes` wide. `N`: the number of lanes where they lie side by side, 0 elsewhere.
    #[inline(always)]
    fn panel<const N: usize>(&self, first: usize, lanes: usize) {
        let Matrix { data, rows, cols } = self.of.of;
        let width = if self.fill { self.width } else { lanes };
        let to = self.to.wrapping_add((first - self.lanes.start) * self.k.len);
        for step in 0..self.k.len {
            let k = 2 * (self.k.start + step);
            let (even, both) = (data.wrapping_offset(first as isize * rows + k as isize * cols), k + 1 < self.of.k);
            let odd = even.wrapping_offset(cols);
            let to = to.wrapping_add(step * width);
            // SAFETY: lanes and steps are inside the matrix and the panel has room for them.
            unsafe {
                if N > 0 && both {
                    prefetch(even.wrapping_offset(AHEAD * 2 * cols));
                    prefetch(odd.wrapping_offset(AHEAD * 2 * cols));
                    let (even, odd) = (even.cast::<[u16; N]>().read(), odd.cast::<[u16; N]>().read());
                    let pair = |l: usize| u32::from(even[l]) | u32::from(odd[l]) << 16;
                    to.cast::<[u32; N]>().write(std::array::from_fn(pair));
                    continue;
                }
                for lane in 0..lanes {
                    let at = lane as isize * rows;
                    let bits = |p: *const bf16| u32::from((*p.wrapping_offset(at)).to_bits());
                    *to.add(lane) = bits(even) | if both { bits(odd) << 16 } else { 0 };
                }
                (lanes..width).for_each(|lane| *to.add(lane) = 0);
            }
        }
    }
}

impl Job for Pack<'_> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        for piece in Range::pieces(self.lanes.len, self.width) {
            let first = self.lanes.start + piece.start;
            match piece.len {
                32 if self.of.of.rows == 1 => self.panel::<32>(first, 32),
                12 if self.of.of.rows == 1 => self.panel::<12>(first, 12),
                lanes => self.panel::<0>(first, lanes),
            }
        }
    }
}
