//! Prints the speed of convolutions, forward and backward, in GFLOP/s of the plain arithmetic.
//!
//! `cargo run --release -p limpid-kernels --example conv [threads] [isa] [part of a name]`

use std::time::{Duration, Instant};

use limpid_kernels::conv::{Axis, Conv, conv, weight_gradient};
use limpid_kernels::{Cpu, Slice, SliceMut};

/// A square image and window with padding that keeps the size, for a stride of 1.
fn shape(n: usize, c_in: usize, c_out: usize, size: usize, kernel: usize, stride: usize) -> Conv {
    let around = (kernel / 2) as isize;
    let axis = Axis { stride, lo: around, hi: around, ..Axis::new(size, kernel) };
    Conv { n, c_in, c_out, groups: 1, axes: [Axis::new(1, 1), axis, axis], turned: false }
}

/// The gradient by the image, as a convolution of the gradient.
fn backward(shape: &Conv) -> Conv {
    let axes = shape.axes.map(|a| {
        let out = a.windows();
        let lo = a.kernel as isize - 1 - a.lo;
        let hi = (a.size + a.kernel - 1) as isize - ((out - 1) * a.stride + 1) as isize - lo;
        Axis { size: out, stride: 1, lo, hi, input_dilation: a.stride, ..a }
    });
    Conv { c_in: shape.c_out, c_out: shape.c_in, axes, turned: true, ..*shape }
}

fn cases() -> Vec<(&'static str, Conv)> {
    vec![
        ("224 stem 7x7/2", shape(1, 3, 64, 224, 7, 2)),
        ("224 64x56", shape(1, 64, 64, 56, 3, 1)),
        ("224 128/2", shape(1, 64, 128, 56, 3, 2)),
        ("224 128x28", shape(1, 128, 128, 28, 3, 1)),
        ("224 256x14", shape(1, 256, 256, 14, 3, 1)),
        ("224 512x7", shape(1, 512, 512, 7, 3, 1)),
        ("224 1x1/2 128", shape(1, 64, 128, 56, 1, 2)),
        ("64 stem 7x7/2", shape(16, 3, 64, 64, 7, 2)),
        ("64 64x16", shape(16, 64, 64, 16, 3, 1)),
        ("64 128/2", shape(16, 64, 128, 16, 3, 2)),
        ("64 128x8", shape(16, 128, 128, 8, 3, 1)),
        ("64 256x4", shape(16, 256, 256, 4, 3, 1)),
        ("64 512x2", shape(16, 512, 512, 2, 3, 1)),
        ("64 1x1/2 256", shape(16, 128, 256, 8, 1, 2)),
        ("cnn 1>32x28", shape(64, 1, 32, 28, 3, 1)),
        ("cnn 32>64x28", shape(64, 32, 64, 28, 3, 1)),
        ("depthwise 128x28", Conv { groups: 128, ..shape(8, 128, 128, 28, 3, 1) }),
        ("1x1 128>256x28", shape(8, 128, 256, 28, 1, 1)),
    ]
}

/// The least time of several runs.
fn best(mut run: impl FnMut()) -> Duration {
    let (mut best, start) = (Duration::MAX, Instant::now());
    while start.elapsed() < Duration::from_millis(150) {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed());
    }
    best
}

fn main() {
    let mut args = std::env::args().skip(1);
    let threads = args.next().map_or(2, |n| n.parse().expect("a number of threads"));
    let isa = args.next().map(|isa| isa.parse().expect("an instruction set"));
    let part = args.next().unwrap_or_default();
    let cpu = Cpu::new(isa, threads);
    println!("{:?}, {threads} threads: GFLOP/s (ms)", cpu.isa);
    let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 1000.0 - 0.5;
    let values = |n: usize| (0..n).map(value).collect::<Vec<f32>>();
    for (name, shape) in cases().into_iter().filter(|(name, _)| name.contains(&part)) {
        let out: usize = shape.out_size().iter().product();
        let pixels: usize = shape.axes.iter().map(|a| a.size).product();
        let taps: usize = shape.axes.iter().map(|a| a.kernel).product();
        let weights = shape.c_out * (shape.c_in / shape.groups) * taps;
        let flop = 2.0 * (shape.n * out * weights) as f64;
        let (mut x, w, mut y) =
            (values(shape.n * shape.c_in * pixels), values(weights), values(shape.n * shape.c_out * out));
        let show =
            |time: Duration| format!("{:7.1} ({:6.2})", flop / time.as_secs_f64() / 1e9, time.as_secs_f64() * 1e3);
        let forward = best(|| conv(&cpu, &shape, Slice::of(&x), Slice::of(&w), None, SliceMut::of(&mut y)));
        let back = backward(&shape);
        let back = best(|| conv(&cpu, &back, Slice::of(&y), Slice::of(&w), None, SliceMut::of(&mut x)));
        let mut v = vec![0.0f32; weights];
        let by_weights = best(|| weight_gradient(&cpu, &shape, Slice::of(&x), Slice::of(&y), SliceMut::of(&mut v)));
        println!("{name:18} forward {} by x {} by w {}", show(forward), show(back), show(by_weights));
    }
}
