//! Prints the speed of the matrix product, and its share of what the multiply-add units can do.
//!
//! `cargo run --release -p limpid-kernels --example gemm [THREADS [MxNxK[:bf16] …]]`, with `LIMPID_ISA` the instruction set.

use std::time::{Duration, Instant};

use half::bf16;
use limpid_kernels::dot::{Dims, Operand, dot};
use limpid_kernels::{Buffer, Cpu, Element, Number, Slice, SliceMut};

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

/// A product to be measured.
struct Shape {
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    /// In bf16, not f32.
    half: bool,
}

impl Shape {
    /// From `MxNxK`, or `BxMxNxK` for a batch of B; `:bf16` after it for that type.
    fn parse(text: &str) -> Option<Shape> {
        let (text, half) = text.strip_suffix(":bf16").map_or((text, false), |text| (text, true));
        let sizes: Vec<usize> = text.split('x').map(|size| size.parse().ok()).collect::<Option<_>>()?;
        match sizes[..] {
            [m, n, k] => Some(Shape { batch: 1, m, n, k, half }),
            [batch, m, n, k] => Some(Shape { batch, m, n, k, half }),
            _ => None,
        }
    }

    /// The shortest and the median time of a product, for the strides of rows and columns of A and of B.
    fn times<T: Element>(&self, cpu: &Cpu, over_a: (isize, isize), over_b: (isize, isize)) -> (f64, f64) {
        let &Shape { batch, m, n, k, .. } = self;
        let value = |i: usize| ((i * 2_654_435_761) % 1000) as f64 / 1000.0 - 0.5;
        let value = |i: usize| T::from_number(Number::Float(value(i)));
        let a = Buffer::from_slice(&(0..batch * m * k).map(value).collect::<Vec<T>>());
        let b = Buffer::from_slice(&(0..batch * k * n).map(|i| value(i + 7)).collect::<Vec<T>>());
        let mut c = Buffer::zeroed(batch * m * n * size_of::<T>());
        let (step_a, step_b) = ([(m * k) as isize], [(k * n) as isize]);
        let dims = Dims { batch: &[batch], m, n, k };
        let x = Operand { data: Slice::of(a.get::<T>()), offset: 0, batch: &step_a, rows: over_a.0, cols: over_a.1 };
        let y = Operand { data: Slice::of(b.get::<T>()), offset: 0, batch: &step_b, rows: over_b.0, cols: over_b.1 };
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < 5 || begin.elapsed() < Duration::from_millis(300) {
            let start = Instant::now();
            dot(cpu, &dims, &x, &y, SliceMut::of(c.get_mut::<T>()), None);
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        (times[0], times[times.len() / 2])
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let threads = args.next().map_or(2, |n| n.parse().expect("a number of threads"));
    let mut shapes: Vec<Shape> = args.map(|text| Shape::parse(&text).expect("MxNxK or BxMxNxK")).collect();
    if shapes.is_empty() {
        shapes = [256, 1024, 2048].map(|n| Shape { batch: 1, m: n, n, k: n, half: false }).into();
    }
    let isa = std::env::var("LIMPID_ISA").ok().map(|name| name.parse().expect("an instruction set"));
    let cpu = Cpu::new(isa, threads);
    let limit = (0..10).map(|_| peak(&cpu)).fold(0.0, f64::max);
    println!(
        "{:?}, {threads} threads, {limit:.1} GFLOP/s; time: least, median; share of the limit: best, median",
        cpu.isa
    );
    for shape in &shapes {
        let &Shape { batch, m, n, k, half } = shape;
        let (m_, n_, k_) = (m as isize, n as isize, k as isize);
        for (name, over_a, over_b) in
            [("A·B  ", (k_, 1), (n_, 1)), ("A·Bᵀ ", (k_, 1), (1, k_)), ("Aᵀ·B ", (1, m_), (n_, 1))]
        {
            let times = if half { Shape::times::<bf16> } else { Shape::times::<f32> };
            let (least, median) = times(shape, &cpu, over_a, over_b);
            let share = |time: f64| 2.0 * (batch * m * n * k) as f64 / time / 1e9 / limit * 100.0;
            let name = if half { format!("bf16 {name}") } else { format!("f32  {name}") };
            println!(
                "{batch:3} × {m:5} {n:5} {k:5} {name} {:10.1} {:10.1} µs   {:5.1} {:5.1} %",
                least * 1e6,
                median * 1e6,
                share(least),
                share(median)
            );
        }
    }
}
