//! Prints the time of recurrent layers, forward and back, and their share of the time that their products need at least.
//!
//! `cargo run --release -p limpid-kernels --example recurrent [threads [peak GFLOP/s of one thread]]`

use std::time::{Duration, Instant};

use limpid_kernels::recurrent::{Gradients, Inputs, Kind, Layer, Outputs, Saved, backward, forward};
use limpid_kernels::{Buffer, Cpu, DType, Slice, SliceMut};

fn best(mut run: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = Duration::MAX;
    while begin.elapsed() < Duration::from_millis(600) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed());
    }
    best.as_secs_f64()
}

fn main() {
    let mut args = std::env::args().skip(1).map(|n| n.parse::<f64>().expect("a number"));
    let (threads, peak) = (args.next().unwrap_or(2.0) as usize, args.next().unwrap_or(117.0));
    let cpu = Cpu::new(None, threads);
    println!("{:?}, {threads} threads", cpu.isa);
    for (kind, gates) in [(Kind::Lstm, 4), (Kind::Gru, 3), (Kind::Tanh, 1)] {
        for (steps, batch, hidden) in [(128, 32, 256), (128, 1, 256), (100, 32, 128), (30, 64, 1024)] {
            let layer = Layer { kind, steps, batch, hidden, state: hidden, reverse: false };
            let lstm = kind == Kind::Lstm;
            let all = |n: usize| (0..n).map(|i| ((i * 37) % 101) as f32 / 101.0 - 0.5).collect::<Vec<f32>>();
            let (x, mut w, zeros) =
                (all(steps * batch * gates * hidden), all(gates * hidden * hidden), vec![0.0f32; batch * hidden]);
            w.iter_mut().for_each(|w| *w /= (hidden as f32).sqrt());
            // Buffers, as they are on huge pages.
            let x = Buffer::from_slice(&x);
            let large = || Buffer::zeroed(x.len());
            let (mut kept, mut second, mut y) = (large(), large(), large());
            let (mut h, mut c) = (zeros.clone(), zeros.clone());
            let states = steps * batch * hidden;
            let bias = all(gates * hidden);
            let inputs = Inputs {
                x: Slice::new(DType::F32, x.bytes()),
                w: Slice::of(&w),
                h: Slice::of(&zeros),
                c: lstm.then(|| Slice::of(&zeros)),
                bias: (kind == Kind::Gru).then(|| Slice::of(&bias)),
                projection: None,
                lengths: None,
            };
            let mut run = |kept: &mut Buffer, second: &mut Buffer, keep: bool| {
                let outputs = Outputs {
                    y: SliceMut::of(&mut y.get_mut::<f32>()[..states]),
                    h: SliceMut::of(&mut h),
                    c: lstm.then(|| SliceMut::of(&mut c)),
                    gates: keep.then(|| SliceMut::of(kept.get_mut::<f32>())),
                    second: keep.then(|| SliceMut::of(&mut second.get_mut::<f32>()[..states])),
                };
                forward(&cpu, &layer, &inputs, outputs);
            };
            let infer = best(|| run(&mut kept, &mut second, false));
            let train = best(|| run(&mut kept, &mut second, gates > 1));
            let (mut dx, mut inner, mut dh, mut dc) = (large(), large(), zeros.clone(), zeros.clone());
            let (kept, second, y) = (kept.get::<f32>(), &second.get::<f32>()[..states], &y.get::<f32>()[..states]);
            let saved = Saved {
                gates: (gates > 1).then(|| Slice::of(kept)),
                second: (gates > 1).then(|| Slice::of(second)),
                y: (!lstm).then(|| Slice::of(y)),
                first: (gates > 1).then(|| Slice::of(&zeros)),
                w: Slice::of(&w),
                dy: Slice::of(y),
                dh: Slice::of(&zeros),
                dc: lstm.then(|| Slice::of(&zeros)),
                projection: None,
                lengths: None,
            };
            let back = best(|| {
                let gradients = Gradients {
                    x: SliceMut::of(dx.get_mut::<f32>()),
                    h: SliceMut::of(&mut dh),
                    c: lstm.then(|| SliceMut::of(&mut dc)),
                    inner: (kind == Kind::Gru).then(|| SliceMut::of(&mut inner.get_mut::<f32>()[..states])),
                    projected: None,
                };
                backward(&cpu, &layer, &saved, gradients);
            });
            let least = (2 * steps * batch * gates * hidden * hidden) as f64 / (peak * threads as f64 * 1e9);
            let show = |time: f64| format!("{:8.3} ms ({:4.1} %)", 1e3 * time, 100.0 * least / time);
            println!(
                "{kind:?} {steps:4}×{batch:3}×{hidden:4}: forward {}, keeping {}, back {}",
                show(infer),
                show(train),
                show(back)
            );
        }
    }
}
