//! Prints the speed of the matrix product, and its share of what the multiply-add units can do.
//!
//! `cargo run --release -p limpid-kernels --example gemm [threads]`

use std::time::{Duration, Instant};

use limpid_kernels::dot::{Dims, Operand, dot};
use limpid_kernels::{Cpu, Slice, SliceMut};

/// Multiply-adds on numbers that stay in registers: GFLOP/s of one thread, as far as the compiler's
/// widest vectors go.
fn peak_of_one(cpu: &Cpu) -> f64 {
    const LANES: usize = 16 * 12;
    const STEPS: usize = 20_000;

    #[inline(always)]
    fn body() -> f32 {
        let mut sums = [1.0f32; LANES];
        let (x, y) = (std::hint::black_box(1.000_001f32), std::hint::black_box(1e-9f32));
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = sum.mul_add(x, y);
            }
        }
        sums.iter().sum()
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,fma")]
    fn avx512() -> f32 {
        body()
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2() -> f32 {
        body()
    }

    let start = Instant::now();
    let sum = match cpu.isa {
        // SAFETY: a Cpu has an instruction set of this machine.
        #[cfg(target_arch = "x86_64")]
        limpid_kernels::Isa::Avx512 | limpid_kernels::Isa::Amx => unsafe { avx512() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        limpid_kernels::Isa::Avx2 => unsafe { avx2() },
        _ => f32::NAN,
    };
    std::hint::black_box(sum);
    (2 * LANES * STEPS) as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// The same on all threads at once.
fn peak(cpu: &Cpu) -> f64 {
    let speeds = std::sync::Mutex::new(Vec::new());
    let arrived = std::sync::atomic::AtomicUsize::new(0);
    cpu.pool.run(cpu.pool.threads(), &|_| {
        // All threads must be here, or one would run two tasks, each alone.
        arrived.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        while arrived.load(std::sync::atomic::Ordering::SeqCst) < cpu.pool.threads() {
            std::hint::spin_loop();
        }
        speeds.lock().unwrap().push(peak_of_one(cpu));
    });
    speeds.into_inner().unwrap().iter().sum()
}

fn main() {
    let threads = std::env::args().nth(1).map_or(2, |n| n.parse().expect("a number of threads"));
    let cpu = Cpu::new(None, threads);
    println!("{:?}, {threads} threads", cpu.isa);
    for n in [256, 1024, 2048] {
        let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 1000.0 - 0.5;
        let a: Vec<f32> = (0..n * n).map(value).collect();
        let b: Vec<f32> = (0..n * n).map(|i| value(i + 7)).collect();
        let mut c = vec![0.0f32; n * n];
        let s = n as isize;
        for (name, over_a, over_b) in [("A·B ", (s, 1), (s, 1)), ("A·Bᵀ", (s, 1), (1, s)), ("Aᵀ·B", (1, s), (s, 1))]
        {
            let dims = Dims { batch: &[], m: n, n, k: n };
            let x = Operand { data: Slice::of(&a), offset: 0, batch: &[], rows: over_a.0, cols: over_a.1 };
            let y = Operand { data: Slice::of(&b), offset: 0, batch: &[], rows: over_b.0, cols: over_b.1 };
            let (mut best, mut limit) = (Duration::MAX, 0.0f64);
            let runs = if n < 1000 { 200 } else { 20 * 1024 / n };
            for run in 0..runs {
                if run % 10 == 0 {
                    limit = limit.max(peak(&cpu));
                }
                let start = Instant::now();
                dot(&cpu, &dims, &x, &y, SliceMut::of(&mut c), None);
                best = best.min(start.elapsed());
            }
            let speed = 2.0 * (n * n * n) as f64 / best.as_secs_f64() / 1e9;
            println!("{n:5} {name} {speed:7.1} GFLOP/s of {limit:6.1}: {:5.1} %", 100.0 * speed / limit);
        }
    }
}
