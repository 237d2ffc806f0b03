//! What this machine can do at most, measured in a twentieth of a second: what a kernel's time is held against.

use std::time::Instant;

use crate::parts::each;
use crate::{Cpu, Isa};

/// Rates that no kernel on this processor exceeds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Multiply-adds of f32, each two operations, in operations a second.
    pub flop: f64,
    /// Bytes read and written a second, where all of them stay in the caches.
    pub cached: f64,
    /// Bytes read and written a second, where they come from memory.
    pub memory: f64,
}

/// What is copied in memory: more than caches hold.
const BEYOND: usize = 96 << 20;

/// Independent sums: enough to hide the latency of a multiply-add.
const CHAINS: usize = 12;

/// Multiply-adds in registers: `rounds` times [`CHAINS`] vectors. Returns how many operations that was, and their sum.
/// Written with intrinsics, since a compiler that leaves a register out of a loop would make the limit a low one.
fn multiply_adds(isa: Isa, rounds: usize) -> (usize, f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;

        #[target_feature(enable = "avx512f")]
        fn avx512(rounds: usize) -> (usize, f32) {
            let factor = std::hint::black_box(_mm512_set1_ps(0.999));
            let mut sums = [_mm512_set1_ps(1.0); CHAINS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm512_fmadd_ps(*sum, factor, factor);
                }
            }
            let all = sums.into_iter().fold(factor, |a, b| _mm512_add_ps(a, b));
            (2 * 16 * CHAINS * rounds, _mm512_reduce_add_ps(all))
        }

        #[target_feature(enable = "avx2,fma")]
        fn avx2(rounds: usize) -> (usize, f32) {
            let factor = std::hint::black_box(_mm256_set1_ps(0.999));
            let mut sums = [_mm256_set1_ps(1.0); CHAINS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm256_fmadd_ps(*sum, factor, factor);
                }
            }
            let all = sums.into_iter().fold(factor, |a, b| _mm256_add_ps(a, b));
            (2 * 8 * CHAINS * rounds, _mm256_cvtss_f32(all))
        }

        match isa.min(Isa::detect()) {
            // SAFETY: `Isa::detect` has found these features on this machine.
            Isa::Avx512 | Isa::Amx => return unsafe { avx512(rounds) },
            // SAFETY: as above.
            Isa::Avx2 => return unsafe { avx2(rounds) },
            Isa::Portable => {}
        }
    }
    let _ = isa;
    let factor = std::hint::black_box(0.999f32);
    let mut sums = [[1.0f32; 4]; CHAINS];
    for _ in 0..rounds {
        sums.iter_mut().flatten().for_each(|sum| *sum = *sum * factor + factor);
    }
    (2 * 4 * CHAINS * rounds, sums.iter().flatten().sum())
}

impl Limits {
    /// What caches are taken to hold: bytes that are read and written together.
    pub const CACHED: usize = 8 << 20;

    /// Measures them with the threads and instructions of `cpu`. Each is the best of several tries: what disturbs a try
    /// only makes it slower.
    pub fn measure(cpu: &Cpu) -> Limits {
        let threads = cpu.pool.threads();
        let mut done = vec![(0, 0.0f32); threads];
        let time = best(8, || {
            each(&cpu.pool, threads, (&mut done, 1), |_, done| done[0] = multiply_adds(cpu.isa, 20_000));
        });
        let flop = std::hint::black_box(done).iter().map(|(flop, _)| flop).sum::<usize>() as f64;
        Limits { flop: flop / time, cached: copied(cpu, Limits::CACHED, 12), memory: copied(cpu, BEYOND, 3) }
    }

    /// The least number of seconds for so many operations and bytes.
    pub fn seconds(&self, flop: f64, bytes: f64) -> f64 {
        let rate = if bytes <= Limits::CACHED as f64 { self.cached } else { self.memory };
        (flop / self.flop).max(bytes / rate)
    }
}

/// Bytes a second of copies in which `bytes` are read or written.
fn copied(cpu: &Cpu, bytes: usize, tries: usize) -> f64 {
    const PART: usize = 1 << 17;
    let from = vec![1u8; bytes / 2];
    let mut to = vec![0u8; bytes / 2];
    let time = best(tries, || {
        each(&cpu.pool, from.len().div_ceil(PART), (&mut to, PART), |i, to| {
            to.copy_from_slice(&from[i * PART..][..to.len()]);
        });
    });
    std::hint::black_box(&to);
    bytes as f64 / time
}

/// The least time of several runs, in seconds; a first one is not counted.
fn best(tries: usize, mut run: impl FnMut()) -> f64 {
    run();
    let times = (0..tries).map(|_| {
        let begin = Instant::now();
        run();
        begin.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min).max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_and_number_of_threads_has_limits() {
        for isa in Isa::available() {
            let limits = Limits::measure(&Cpu::new(Some(isa), 2));
            assert!([limits.flop, limits.cached, limits.memory].iter().all(|rate| rate.is_finite() && *rate > 0.0));
            let twice = limits.seconds(2e6, 0.0) / limits.seconds(1e6, 0.0);
            assert!((twice - 2.0).abs() < 1e-9);
            assert_eq!(limits.seconds(1.0, 1e9), 1e9 / limits.memory);
        }
    }
}
