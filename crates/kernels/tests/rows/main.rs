//! The kernels that work along an axis, against plain loops.

mod attention;
mod batch_norm;
mod conv;
mod ctc;
mod fold;
mod index;
mod loss;
mod norm;
mod pooling;
mod recurrent;
mod scan;
mod softmax;
mod sort;

use half::{bf16, f16};
use limpid_kernels::{Buffer, Cpu, DType, Element, Number, Slice, SliceMut};

/// Random numbers for tests (splitmix64); the seed stands in the test, so that a failure repeats.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// Roughly normal: the sum of twelve uniform numbers, less 6.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.bits() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }

    pub fn normals(&mut self, n: usize, scale: f64) -> Vec<f64> {
        (0..n).map(|_| self.normal() * scale).collect()
    }

    /// Small whole numbers: any type holds them, and their sums, without rounding.
    pub fn whole(&mut self, dtype: DType, n: usize) -> Vec<f64> {
        let (low, count) = match dtype {
            DType::Bool => (0, 2),
            DType::U8 => (0, 4),
            _ => (-3, 7),
        };
        (0..n).map(|_| (self.below(count) as i64 + low) as f64).collect()
    }
}

fn fill<T: Element>(buffer: &mut Buffer, values: &[f64]) {
    for (slot, &v) in buffer.get_mut::<T>().iter_mut().zip(values) {
        *slot = T::from_number(Number::Float(v));
    }
}

/// `values` stored as `dtype`.
pub fn put(dtype: DType, values: &[f64]) -> Buffer {
    let mut buffer = Buffer::new(values.len() * dtype.size());
    match dtype {
        DType::Bool | DType::U8 => fill::<u8>(&mut buffer, values),
        DType::I32 => fill::<i32>(&mut buffer, values),
        DType::I64 => fill::<i64>(&mut buffer, values),
        DType::F16 => fill::<f16>(&mut buffer, values),
        DType::BF16 => fill::<bf16>(&mut buffer, values),
        DType::F32 => fill::<f32>(&mut buffer, values),
        DType::F64 => fill::<f64>(&mut buffer, values),
    }
    buffer
}

fn numbers<T: Element>(buffer: &Buffer) -> Vec<f64> {
    buffer.get::<T>().iter().map(|x| x.to_number().as_f64()).collect()
}

/// What a buffer of `dtype` holds.
pub fn take(dtype: DType, buffer: &Buffer) -> Vec<f64> {
    match dtype {
        DType::Bool | DType::U8 => numbers::<u8>(buffer),
        DType::I32 => numbers::<i32>(buffer),
        DType::I64 => numbers::<i64>(buffer),
        DType::F16 => numbers::<f16>(buffer),
        DType::BF16 => numbers::<bf16>(buffer),
        DType::F32 => numbers::<f32>(buffer),
        DType::F64 => numbers::<f64>(buffer),
    }
}

/// A buffer of `n` elements whose stale contents no kernel may rely on.
pub fn stale(dtype: DType, n: usize) -> Buffer {
    let mut buffer = Buffer::new(n * dtype.size());
    buffer.bytes_mut().fill(0x55);
    buffer
}

pub fn view(dtype: DType, buffer: &Buffer) -> Slice<'_> {
    Slice::new(dtype, buffer.bytes())
}

pub fn view_mut(dtype: DType, buffer: &mut Buffer) -> SliceMut<'_> {
    SliceMut::new(dtype, buffer.bytes_mut())
}

/// One processor of each thread count that results must not depend on.
pub fn cpus() -> Vec<Cpu> {
    [1, 2, 16].map(|threads| Cpu::new(None, threads)).into()
}

/// All coordinates of `shape` in row-major order.
pub fn coordinates(shape: &[usize]) -> Vec<Vec<usize>> {
    let n: usize = shape.iter().product();
    let unravel = |mut flat: usize| {
        let mut at = vec![0; shape.len()];
        for d in (0..shape.len()).rev() {
            at[d] = flat % shape[d];
            flat /= shape[d];
        }
        at
    };
    (0..n).map(unravel).collect()
}

/// The place of `at` in a contiguous array of `shape`.
pub fn place(shape: &[usize], at: &[usize]) -> usize {
    shape.iter().zip(at).fold(0, |flat, (&size, &i)| flat * size + i)
}

/// Runs `kernel` on 1, 2 and 16 threads; checks that the bytes agree and returns them.
pub fn same_on_all_threads(len: usize, mut kernel: impl FnMut(&Cpu, &mut Buffer)) -> Buffer {
    let mut results = cpus().into_iter().map(|cpu| {
        let mut out = stale(DType::U8, len);
        kernel(&cpu, &mut out);
        out
    });
    let first = results.next().unwrap();
    assert!(results.all(|other| other.bytes() == first.bytes()), "the result depends on the number of threads");
    first
}

/// The types that kernels of real numbers take.
pub const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];

/// Checks `got` against `want` within the type's relative tolerance: of the expected value, or of `size` where
/// that is larger (the size of the terms whose difference the value is).
pub fn close(dtype: DType, got: &[f64], want: &[f64], size: f64, what: &str) {
    let (relative, least) = match dtype {
        DType::F16 => (2f64.powi(-11) * 1.01, 2f64.powi(-25)),
        DType::BF16 => (2f64.powi(-8) * 1.01, 0.0),
        DType::F32 => (1.3e-6, 1e-37),
        _ => (1e-13, 1e-300),
    };
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (&a, &b)) in got.iter().zip(want).enumerate() {
        // What the kernel loses in f32 comes on top of the rounding to a half.
        let tolerance =
            relative * b.abs() + (if dtype.is_float() && dtype.size() > 2 { relative } else { 1.3e-6 }) * size;
        assert!(a == b || (a - b).abs() <= tolerance.max(least), "{dtype} {what}: [{i}] is {a}, not {b}");
    }
}
