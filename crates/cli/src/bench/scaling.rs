//! `limpid bench --scaling`: how time and memory grow with what a user can make larger, beside how they have to.

use std::path::Path;
use std::time::{Duration, Instant};

use limpid::prelude::*;
use limpid::{Error, Result, cpu, set_threads};
use limpid_io::write;

use super::models::{Gpt, lstm};
use super::nets::Rule;
use super::picture::picture;
use crate::terminal::say;

/// One network, and one of its sizes that grows.
struct Series {
    name: &'static str,
    axis: &'static str,
    values: &'static [usize],
    prepare: fn(usize) -> Result<Step>,
    /// The arithmetic of a step, up to a factor.
    time: fn(f64) -> f64,
    /// The values that it has to hold, up to a factor.
    memory: fn(f64) -> f64,
}

type Step = Box<dyn FnMut() -> Result<()>>;

const WIDTH: usize = 128;

const SERIES: &[Series] = &[
    Series {
        name: "MLP, training",
        axis: "batch",
        values: &[128, 256, 512, 1024, 2048],
        prepare: |batch| mlp(batch, 256, 3),
        time: |n| n,
        memory: |n| of_layers(n, 256.0, 3.0),
    },
    Series {
        name: "MLP, training",
        axis: "width",
        values: &[128, 256, 512, 1024],
        prepare: |width| mlp(512, width, 3),
        time: |n| n * n,
        memory: |n| of_layers(512.0, n, 3.0),
    },
    Series {
        name: "MLP, training",
        axis: "depth",
        values: &[2, 4, 8, 16, 32],
        prepare: |depth| mlp(256, 256, depth),
        time: |n| n,
        memory: |n| of_layers(256.0, 256.0, n),
    },
    Series {
        name: "LSTM, training",
        axis: "sequence",
        values: &[16, 32, 64, 128, 256],
        prepare: |time| training(lstm(), Tensor::randn([8, time, 64])),
        time: |n| n,
        // Of each step the four gates, their gradients, the cell and the hidden state; and the weights' gradients.
        memory: |n| n * (8 * 10 * 256) as f64 + (4 * 256 * (64 + 256)) as f64,
    },
    Series {
        name: "attention, forward",
        axis: "sequence",
        values: &[256, 512, 1024, 2048, 4096],
        prepare: attention,
        time: |n| n * n,
        memory: |n| n,
    },
    Series {
        name: "GPT, training",
        axis: "sequence",
        values: &[128, 256, 512, 1024, 2048],
        prepare: |time| training(Gpt::new(65, time, WIDTH, 2, 2), Tensor::randint(0, 65, [1, time])),
        // The products with weights, 12·width² a token, and attention's two of width each with half of the tokens.
        time: |n| n * 12.0 * (WIDTH * WIDTH) as f64 + n * n * WIDTH as f64,
        memory: |n| n,
    },
    Series {
        name: "matrix product",
        axis: "threads",
        values: &[1, 2, 4, 8, 16],
        prepare: product,
        time: |n| 1.0 / n,
        memory: |_| 1.0,
    },
];

/// What training holds: each layer's output, a gradient on its way, and the gradients of the square weights.
fn of_layers(batch: f64, width: f64, depth: f64) -> f64 {
    batch * width * (depth + 1.0) + width * width * depth
}

/// A square network on a batch of random numbers.
fn mlp(batch: usize, width: usize, depth: usize) -> Result<Step> {
    let layers = (0..depth).fold(Sequential::new(), |net, _| net.add(Linear::new(width, width)).add(ReLU));
    training(layers, Tensor::randn([batch, width]))
}

/// Steps of SGD on the cross entropy of each row against the first class.
fn training(model: impl Forward + 'static, x: Tensor) -> Result<Step> {
    x.eval()?;
    let mut apply = Rule::Sgd { lr: 1e-3, momentum: 0.0 }.optimizer(&model);
    Ok(Box::new(move || {
        let scores = model.forward(&x).flatten_range(0, -2);
        let classes = Tensor::zeros_of([scores.size(0)], DType::I64);
        apply(&cross_entropy(&scores, &classes)).map(drop)
    }))
}

fn attention(time: usize) -> Result<Step> {
    let [q, k, v] = [0, 1, 2].map(|_| Tensor::randn([2, time, 64]));
    eval([&q, &k, &v])?;
    Ok(Box::new(move || no_grad(|| q.scaled_dot_product_attention(&k, &v, &AttentionOptions::new())).eval()))
}

/// With so many threads from here on.
fn product(threads: usize) -> Result<Step> {
    set_threads(threads);
    let [a, b] = [0, 1].map(|_| Tensor::randn([768, 768]));
    eval([&a, &b])?;
    Ok(Box::new(move || a.matmul(&b).eval()))
}

/// What was measured of a series, as the picture shows it.
pub struct Curve {
    pub title: String,
    pub axis: &'static str,
    pub unit: &'static str,
    /// The size, and the milliseconds or megabytes.
    pub points: Vec<(f64, f64)>,
    /// What it should be, up to a factor.
    pub expected: Vec<f64>,
}

impl Curve {
    /// The power of the size with which it grows, and with which it should.
    pub fn slopes(&self) -> (f64, f64) {
        let expected = self.points.iter().zip(&self.expected).map(|(p, e)| (p.0, *e)).collect::<Vec<_>>();
        (slope(&self.points), slope(&expected))
    }
}

/// The slope of the line through the logarithms, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.max(1e-12).ln())).collect();
    let n = logs.len().max(1) as f64;
    let (x, y) = logs.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let (up, across) = logs.iter().fold((0.0, 0.0), |(up, across), p| {
        let dx = p.0 - x;
        (up + dx * (p.1 - y), across + dx * dx)
    });
    if across == 0.0 { 0.0 } else { up / across }
}

/// The least time of several steps in milliseconds, and the memory of a step's plan in megabytes: scratch and results.
fn measured(step: &mut Step) -> Result<(f64, f64)> {
    for _ in 0..2 {
        step()?;
    }
    let mut least = f64::INFINITY;
    let (mut steps, begin) = (0, Instant::now());
    while steps < 3 || (steps < 500 && begin.elapsed() < Duration::from_millis(150)) {
        let start = Instant::now();
        step()?;
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
        steps += 1;
    }
    let (profile, done) = limpid::profile(&mut *step);
    done?;
    let memory = profile.memory();
    Ok((least, (memory.scratch + memory.results) as f64 / 1e6))
}

/// Prints how everything grows; `file` is a picture of it.
pub fn scaling(file: Option<&str>) -> Result<()> {
    limpid::manual_seed(0);
    let threads = cpu().pool.threads();
    let mut curves = Vec::new();
    say(&format!(
        "{:22} {:>9}  {:>22}  {:>22}  time slope (theory)  memory slope (theory)\n",
        "", "", "time, ms", "memory, MB"
    ));
    for series in SERIES {
        // More threads than the machine has take turns.
        let most = if series.axis == "threads" { threads } else { usize::MAX };
        let values: Vec<usize> = series.values.iter().copied().filter(|&n| n <= most).collect();
        let mut points = Vec::new();
        for &n in &values {
            points.push((n as f64, measured(&mut (series.prepare)(n)?)?));
        }
        set_threads(threads);
        let curve = |what: &str, unit, of: fn(&(f64, f64)) -> f64, theory: fn(f64) -> f64| Curve {
            title: format!("{}: {what}", series.name),
            axis: series.axis,
            unit,
            points: points.iter().map(|(n, m)| (*n, of(m))).collect(),
            expected: values.iter().map(|&n| theory(n as f64)).collect(),
        };
        let time = curve("time", "ms", |m| m.0, series.time);
        let memory = curve("memory", "MB", |m| m.1, series.memory);
        say(&row(series, &time, &memory));
        curves.push([time, memory]);
    }
    let Some(file) = file else { return Ok(()) };
    let svg = picture(&curves);
    write::atomic(Path::new(file), |out| out.write_all(svg.as_bytes())).map_err(|e| Error::new(e.to_string()))
}

fn row(series: &Series, time: &Curve, memory: &Curve) -> String {
    let ends = |curve: &Curve| match (curve.points.first(), curve.points.last()) {
        (Some(first), Some(last)) => format!("{:.3} … {:.3}", first.1, last.1),
        _ => String::new(),
    };
    let first_last = |values: &[(f64, f64)]| match (values.first(), values.last()) {
        (Some(first), Some(last)) => format!("{}–{}", first.0, last.0),
        _ => String::new(),
    };
    let slopes = |curve: &Curve| {
        let (measured, expected) = curve.slopes();
        if curve.points.len() < 2 { "–".to_owned() } else { format!("{measured:.2} ({expected:.2})") }
    };
    format!(
        "{:22} {:8} {:>9}  {:>20}  {:>20}  {:>12}  {:>12}\n",
        series.name,
        series.axis,
        first_last(&time.points),
        ends(time),
        ends(memory),
        slopes(time),
        slopes(memory)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_powers() {
        let points = |f: fn(f64) -> f64| [1.0, 2.0, 4.0, 8.0].map(|x| (x, f(x)));
        for (f, expected) in
            [(|x: f64| 3.0 * x * x) as fn(f64) -> f64, |x| x.sqrt(), |_| 5.0].into_iter().zip([2.0, 0.5, 0.0])
        {
            assert!((slope(&points(f)) - expected).abs() < 1e-12);
        }
        assert_eq!(slope(&[(1.0, 2.0)]), 0.0);
    }

    #[test]
    fn attention_holds_no_square_of_the_sequence() -> Result<()> {
        let memory = |time| measured(&mut attention(time)?).map(|(_, memory)| memory);
        let (short, long) = (memory(128)?, memory(512)?);
        assert!(long <= 4.2 * short, "{short} MB for 128, {long} MB for 512");
        Ok(())
    }
}
