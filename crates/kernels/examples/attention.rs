//! Times attention forward and backward: `cargo run --release -p limpid-kernels --example attention -- SAMPLES HEADS T D [THREADS]`.

use std::time::Instant;

use limpid_kernels::attention::{Attention, Forward, Inputs, Rows, attention, attention_grad};
use limpid_kernels::{Cpu, Slice, SliceMut};

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [samples, heads, t, d, ..] = numbers[..] else { panic!("SAMPLES HEADS T D [THREADS]") };
    let cpu = Cpu::new(None, numbers.get(4).copied().unwrap_or(1));
    let shape = Attention { samples, heads, shared: 1, t, s: t, d, e: d, causal: Some(0), scale: 0.125 };
    let (rows, width) = (samples * heads * t, 3 * heads * d);
    let joint: Vec<f32> = (0..3 * rows * d).map(|i| (i as f32 * 0.37).sin()).collect();
    let part = |i: usize| Rows { data: Slice::of(&joint[i * heads * d..]), sample: t * width, head: d, row: width };
    let inputs = Inputs { q: part(0), k: part(1), v: part(2), mask: None };
    let (mut out, mut maxima, mut totals) = (vec![0f32; rows * d], vec![0f32; rows], vec![0f32; rows]);
    let [mut dq, mut dk, mut dv] = [(); 3].map(|_| vec![0f32; rows * d]);
    let flop = (samples * heads * t * (t + 1) * d) as f64;
    for name in ["forward", "backward"] {
        let mut best = f64::INFINITY;
        for _ in 0..50 {
            let begin = Instant::now();
            if name == "forward" {
                let [m, l] = [&mut maxima, &mut totals].map(|x| SliceMut::of(x));
                attention(&cpu, &shape, &inputs, SliceMut::of(&mut out), m, l);
            } else {
                let grad = Rows::by_row(Slice::of(&joint), heads, t, d);
                let below =
                    Forward { out: Slice::of(&out), maxima: Slice::of(&maxima), totals: Slice::of(&totals), grad };
                let [a, b, c] = [&mut dq, &mut dk, &mut dv].map(|x| SliceMut::of(x));
                attention_grad(&cpu, &shape, &inputs, &below, a, b, c);
            }
            best = best.min(begin.elapsed().as_secs_f64());
        }
        let products = if name == "forward" { 2.0 } else { 5.0 };
        println!("{name}: {:.0} µs, {:.1} GFLOP/s", best * 1e6, products * flop / best / 1e9);
    }
}
