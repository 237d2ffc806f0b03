//! Looking for the first value that a condition forbids.

use std::sync::atomic::{AtomicUsize, Ordering};

use half::{bf16, f16};

use crate::Cpu;
use crate::dtype::{DType, Element};
use crate::isa::{Arch, Job, dispatch};
use crate::slice::Slice;

/// Elements that one task looks at.
const TASK: usize = 64 << 10;
/// Elements that are looked at together: whether one of them is forbidden is a sum, which vectorises.
const BLOCK: usize = 512;

/// The first element of `x` that is not from `low` to `high`; NaN is not.
pub fn first_outside(cpu: &Cpu, x: Slice, low: f64, high: f64) -> Option<usize> {
    match x.dtype() {
        DType::F64 => first(cpu, x.get::<f64>(), move |x| low <= x && x <= high),
        DType::F32 => first(cpu, x.get::<f32>(), move |x| low <= f64::from(x) && f64::from(x) <= high),
        DType::F16 => first(cpu, x.get::<f16>(), move |x| low <= x.to_f64() && x.to_f64() <= high),
        DType::BF16 => first(cpu, x.get::<bf16>(), move |x| low <= x.to_f64() && x.to_f64() <= high),
        DType::I64 => first(cpu, x.get::<i64>(), move |x| low <= x as f64 && x as f64 <= high),
        DType::I32 => first(cpu, x.get::<i32>(), move |x| low <= f64::from(x) && f64::from(x) <= high),
        DType::U8 | DType::Bool => first(cpu, x.get::<u8>(), move |x| low <= f64::from(x) && f64::from(x) <= high),
    }
}

/// The first of `holds` (bools) that is false.
pub fn first_false(cpu: &Cpu, holds: Slice) -> Option<usize> {
    first(cpu, holds.get::<u8>(), |held| held != 0)
}

/// The first of `x` that is not `good`.
fn first<T: Element>(cpu: &Cpu, x: &[T], good: impl Fn(T) -> bool + Copy + Sync) -> Option<usize> {
    let found = AtomicUsize::new(usize::MAX);
    cpu.pool.run(x.len().div_ceil(TASK), &|i| {
        let part = &x[i * TASK..x.len().min((i + 1) * TASK)];
        if let Some(at) = dispatch(cpu.isa, Search { x: part, good }) {
            // The smallest of all tasks, whichever comes first.
            found.fetch_min(i * TASK + at, Ordering::Relaxed);
        }
    });
    let found = found.into_inner();
    (found < x.len()).then_some(found)
}

struct Search<'a, T, G> {
    x: &'a [T],
    good: G,
}

impl<T: Element, G: Fn(T) -> bool + Copy> Job for Search<'_, T, G> {
    type Out = Option<usize>;

    #[inline(always)]
    fn run<A: Arch>(self) -> Option<usize> {
        let Search { x, good } = self;
        for (i, block) in x.chunks(BLOCK).enumerate() {
            let bad: u32 = block.iter().map(|&x| u32::from(!good(x))).sum();
            if bad > 0 {
                return block.iter().position(|&x| !good(x)).map(|at| i * BLOCK + at);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_all_tasks_is_found() {
        for threads in [1, 3] {
            let cpu = Cpu::new(None, threads);
            for (len, bad) in [(0, vec![]), (1, vec![0]), (200_000, vec![]), (200_000, vec![199_999, 70_001, 150_000])]
            {
                let mut x = vec![0.5f32; len];
                bad.iter().for_each(|&at| x[at] = if at % 2 == 0 { 1.5 } else { f32::NAN });
                let holds: Vec<u8> = x.iter().map(|&x| u8::from(x <= 1.0)).collect();
                assert_eq!(first_outside(&cpu, Slice::of(&x), 0.0, 1.0), bad.iter().copied().min());
                assert_eq!(first_false(&cpu, Slice::of(&holds)), bad.iter().copied().min());
            }
            assert_eq!(first_outside(&cpu, Slice::of(&[3i64, -1, 4]), 0.0, 3.0), Some(1));
            assert_eq!(first_outside(&cpu, Slice::of(&[0.0f64, -0.0, 1.0]), 0.0, 1.0), None);
        }
    }
}
