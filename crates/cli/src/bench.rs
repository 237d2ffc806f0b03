//! `limpid bench`: the cases that other frameworks are measured by, under the same names.
//!
//! Each case runs in a process of its own, so that its peak memory is its own. A case binds other input values at
//! each step, and its result is in host memory when a step ends. The plain figures are what the README's code does:
//! everything is recorded at each step; `--captured` measures replays.

use std::process::Command;
use std::time::{Duration, Instant};

use limpid::prelude::*;
use limpid::{Capture, Cell, Error, Result, cpu};

use crate::args::{Args, Option_};
use crate::failure::Failure;
use crate::settings::placed_unknown;
use crate::terminal::say;

pub const USAGE: &str = "\
limpid bench [--list] [--json] [--check] [--captured | --tapped] [--only NAME,...] [--threads N]

  --list        the names of the cases
  --json        one JSON object a line
  --check       the first 20 losses of the training cases, against PyTorch's
  --captured    training and inference as captured steps
  --tapped      training while a tap takes statistics of all values and gradients
  --only NAMES  these cases only, separated by commas
  --threads N   threads to use
";

/// What a case repeats, and how many floating-point operations one step is.
struct Prepared {
    step: Box<dyn FnMut() -> Result<()>>,
    flop: Option<f64>,
}

/// How a step of a network is run.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Recorded,
    Captured,
    Tapped,
}

impl How {
    fn option(self) -> Option<&'static str> {
        match self {
            How::Recorded => None,
            How::Captured => Some("--captured"),
            How::Tapped => Some("--tapped"),
        }
    }
}

struct Case {
    name: &'static str,
    build: fn(how: How) -> Result<Prepared>,
}

const CASES: &[Case] = &[
    Case { name: "gemm_f32_256", build: |_| gemm(256) },
    Case { name: "gemm_f32_1024", build: |_| gemm(1024) },
    Case { name: "gemm_f32_2048", build: |_| gemm(2048) },
    Case { name: "gemm_f32_4096", build: |_| gemm(4096) },
    Case { name: "copy_64MB", build: |_| copy() },
    Case { name: "gelu_64MB", build: |_| unary(&[MB64], |x| x.gelu()) },
    Case { name: "exp_64MB", build: |_| unary(&[MB64], |x| x.exp()) },
    Case { name: "softmax_4096x1024", build: |_| unary(&[4096, 1024], |x| x.softmax(-1)) },
    Case { name: "layernorm_4096x1024", build: |_| unary(&[4096, 1024], |x| x.layer_norm([1024], None, None, 1e-5)) },
    Case { name: "train_xor_2-8-1_b4_sgd", build: |how| training(Net::Xor, how) },
    Case { name: "train_mlp_784-512-512-10_b128_adam", build: |how| training(Net::Mlp, how) },
    Case { name: "infer_mlp_b1", build: inference },
    Case { name: "record_1000_nodes", build: |_| record(1000) },
];

const MB64: usize = (64 << 20) / 4;

/// A chain of `nodes` operations on four numbers: recorded, its plan found, run, dropped. Its arithmetic takes next to
/// nothing, so a thousandth of the time is what a node costs.
fn record(nodes: usize) -> Result<Prepared> {
    let inputs = [[0.5f32, 1.0, 1.5, 2.0], [2.0, 1.5, 1.0, 0.5]].map(Tensor::from);
    let mut turn = 0;
    let step = move || {
        turn += 1;
        let (x, y) = (&inputs[turn % 2], &inputs[(turn + 1) % 2]);
        // A product, a sum, a number and a product with it: four nodes.
        (0..nodes / 4).fold(x.clone(), |t, _| (t * y + x) * 0.25).eval()
    };
    Ok(Prepared { step: Box::new(step), flop: None })
}

fn gemm(n: usize) -> Result<Prepared> {
    let inputs: Vec<Tensor> = (0..3).map(|_| Tensor::randn([n, n])).collect();
    eval(&inputs)?;
    let mut turn = 0;
    let step = move || {
        turn += 1;
        inputs[turn % 3].matmul(&inputs[(turn + 1) % 3]).eval()
    };
    Ok(Prepared { step: Box::new(step), flop: Some(2.0 * (n as f64).powi(3)) })
}

fn copy() -> Result<Prepared> {
    let inputs = [Tensor::randn([MB64]), Tensor::randn([MB64])];
    eval(&inputs)?;
    let target = Cell::new(&Tensor::zeros([MB64]), false);
    let mut turn = 0;
    let step = move || {
        turn += 1;
        target.assign(&inputs[turn % 2]);
        target.settle()
    };
    Ok(Prepared { step: Box::new(step), flop: None })
}

fn unary(shape: &[usize], f: fn(&Tensor) -> Tensor) -> Result<Prepared> {
    let inputs = [Tensor::randn(shape), Tensor::randn(shape)];
    eval(&inputs)?;
    let mut turn = 0;
    let step = move || {
        turn += 1;
        f(&inputs[turn % 2]).eval()
    };
    Ok(Prepared { step: Box::new(step), flop: None })
}

#[derive(Clone, Copy, PartialEq)]
enum Net {
    Xor,
    Mlp,
}

impl Net {
    fn model(self) -> Sequential {
        match self {
            Net::Xor => Sequential::new().add(Linear::new(2, 8)).add(Tanh).add(Linear::new(8, 1)),
            Net::Mlp => Sequential::new()
                .add(Linear::new(784, 512))
                .add(ReLU)
                .add(Linear::new(512, 512))
                .add(ReLU)
                .add(Linear::new(512, 10)),
        }
    }

    fn batch(self, turn: usize) -> (Tensor, Tensor) {
        match self {
            Net::Xor => {
                let x = Tensor::from([[0.0f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
                (x + 0.001 * turn as f64, Tensor::from([[0.0f32], [1.0], [1.0], [0.0]]))
            }
            Net::Mlp => (Tensor::randn([128, 784]), Tensor::randint(0, 10, [128])),
        }
    }

    fn loss(self, model: &Sequential, x: &Tensor, y: &Tensor) -> Tensor {
        match self {
            Net::Xor => mse_loss(&model.forward(x), y),
            Net::Mlp => cross_entropy(&model.forward(x), y),
        }
    }

    fn optimizer(self, model: &Sequential) -> Box<dyn FnMut(&Tensor) -> Result<Tensor>> {
        match self {
            Net::Xor => {
                let mut sgd = SGD::new(model).lr(0.1);
                Box::new(move |loss| sgd.step(loss).map(|loss| (*loss).clone()))
            }
            Net::Mlp => {
                let mut adam = Adam::new(model).lr(1e-3);
                Box::new(move |loss| adam.step(loss).map(|loss| (*loss).clone()))
            }
        }
    }
}

fn training(net: Net, how: How) -> Result<Prepared> {
    let model = net.model();
    let batches: Vec<(Tensor, Tensor)> = (0..4).map(|i| net.batch(i)).collect();
    for (x, y) in &batches {
        eval([x, y])?;
    }
    let mut apply = net.optimizer(&model);
    let mut turn = 0;
    let mut body = move |x: &Tensor, y: &Tensor| {
        let mut run = || apply(&net.loss(&model, x, y));
        if how != How::Tapped {
            return run();
        }
        let tap = Tap::new("**").gradients().statistics(32);
        tap.run(&model, || run().unwrap_or_else(Tensor::failed)).map(|seen| seen.output().clone())
    };
    let step: Box<dyn FnMut() -> Result<()>> = if how == How::Captured {
        let mut capture =
            Capture::new(move |input: &[Tensor]| vec![body(&input[0], &input[1]).unwrap_or_else(Tensor::failed)]);
        Box::new(move || {
            turn += 1;
            let (x, y) = &batches[turn % 4];
            capture.run(&[x, y]).map(drop)
        })
    } else {
        Box::new(move || {
            turn += 1;
            let (x, y) = &batches[turn % 4];
            body(x, y)?.item().map(drop)
        })
    };
    Ok(Prepared { step, flop: None })
}

fn inference(how: How) -> Result<Prepared> {
    let model = Net::Mlp.model();
    model.eval();
    let inputs: Vec<Tensor> = (0..4).map(|_| Tensor::randn([1, 784])).collect();
    eval(&inputs)?;
    let mut turn = 0;
    let step: Box<dyn FnMut() -> Result<()>> = if how == How::Captured {
        let mut capture = Capture::new(move |input: &[Tensor]| vec![no_grad(|| model.forward(&input[0]))]);
        Box::new(move || {
            turn += 1;
            capture.run(&[&inputs[turn % 4]]).map(drop)
        })
    } else {
        Box::new(move || {
            turn += 1;
            no_grad(|| model.forward(&inputs[turn % 4])).eval()
        })
    };
    Ok(Prepared { step, flop: None })
}

/// Median and least time of a step in microseconds: short steps are timed in groups, so that the clock's own
/// cost does not count.
fn measure(step: &mut dyn FnMut() -> Result<()>) -> Result<(f64, f64)> {
    for _ in 0..5 {
        step()?;
    }
    let begin = Instant::now();
    step()?;
    let group = (200.0 / (begin.elapsed().as_secs_f64() * 1e6).max(0.1)).max(1.0) as usize;
    let budget = std::env::var("PEER_BUDGET").ok().and_then(|s| s.parse().ok()).unwrap_or(4.0);
    let budget = Duration::from_secs_f64(budget);
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 7 || (begin.elapsed() < budget && times.len() < 2000) {
        let start = Instant::now();
        for _ in 0..group {
            step()?;
        }
        times.push(start.elapsed().as_secs_f64() * 1e6 / group as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[0]))
}

/// The most memory that this process has held, in MB.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb / 1024.0)
}

/// What the user asks for.
struct Options {
    json: bool,
    how: How,
    only: Vec<String>,
    threads: Option<String>,
}

const OPTIONS: [Option_; 7] = [
    ("list", None),
    ("json", None),
    ("check", None),
    ("captured", None),
    ("tapped", None),
    ("only", Some("NAMES")),
    ("threads", Some("N")),
];

/// `limpid bench`.
pub fn bench(args: &[String]) -> Result<(), Failure> {
    let args = Args::parse(args, &OPTIONS, &[]).map_err(Failure::Misused)?;
    args.set_threads().map_err(Failure::Misused)?;
    if let Some(word) = args.words.first() {
        return Err(Failure::Misused(
            Error::new(format!("bench: {word:?} is left over")).help(format!("--only {word}")),
        ));
    }
    let only = args.value("only").map_or_else(Vec::new, |names| names.split(',').map(str::to_owned).collect());
    let names = CASES.iter().map(|case| case.name);
    if let Some(name) = only.iter().find(|name| !names.clone().any(|known| known == name.as_str())) {
        let error = Error::new(format!("--only: no case is called {name:?}"));
        return Err(Failure::Misused(placed_unknown(error, name, &names.collect::<Vec<_>>())));
    }
    if args.has("list") {
        say(&names.map(|name| format!("{name}\n")).collect::<String>());
        return Ok(());
    }
    let threads = args.value("threads").map(str::to_owned);
    let how = match (args.has("captured"), args.has("tapped")) {
        (true, true) => {
            let error = Error::new("bench: --captured and --tapped are two ways to run a step");
            return Err(Failure::Misused(error.help("one of them")));
        }
        (true, false) => How::Captured,
        (false, true) => How::Tapped,
        (false, false) => How::Recorded,
    };
    let options = Options { json: args.has("json"), how, only, threads };
    if args.has("check") {
        check()?
    } else {
        all(&options)?
    }
    Ok(())
}

fn all(options: &Options) -> Result<()> {
    if let [name] = &options.only[..] {
        return one(name, options);
    }
    // Each case alone in a process.
    let program = std::env::current_exe().map_err(|e| Error::new(format!("this program's own file: {e}")))?;
    for case in CASES.iter().filter(|c| options.only.is_empty() || options.only.iter().any(|n| n == c.name)) {
        let mut command = Command::new(&program);
        command.args(["bench", "--only", case.name]);
        command.args(options.json.then_some("--json")).args(options.how.option());
        if let Some(threads) = &options.threads {
            command.args(["--threads", threads]);
        }
        let status = command.status().map_err(|e| Error::new(format!("{}: {e}", case.name)))?;
        if !status.success() {
            return Err(Error::new(format!("{}: {status}", case.name)));
        }
    }
    Ok(())
}

fn one(name: &str, options: &Options) -> Result<()> {
    limpid::manual_seed(0);
    let case = CASES.iter().find(|c| c.name == name).expect("checked when the options were read");
    let mut prepared = (case.build)(options.how)?;
    let (median, least) = measure(&mut *prepared.step)?;
    let gflops = prepared.flop.map(|flop| flop / median / 1e3);
    let (threads, rss) = (cpu().pool.threads(), peak_mb());
    let number = |v: Option<f64>| v.map_or_else(|| "null".to_owned(), |v| format!("{v:.2}"));
    let line = if options.json {
        format!(
            "{{\"name\":\"{name}\",\"median_us\":{median:.3},\"min_us\":{least:.3},\"gflops\":{},\"threads\":{threads},\"rss_mb\":{},\"captured\":{}}}",
            number(gflops),
            number(rss),
            options.how == How::Captured
        )
    } else {
        let rate = gflops.map_or_else(String::new, |g| format!(" {g:8.1} GFLOP/s"));
        let memory = rss.map_or_else(String::new, |m| format!(" {m:7.1} MB"));
        format!("{name:36} {median:12.2} µs  least {least:12.2} µs{rate}{memory}")
    };
    say(&format!("{line}\n"));
    Ok(())
}

/// PyTorch's first 20 losses of each training case, made by `crates/cli/bench/losses.py`.
const LOSSES: &str = include_str!("../bench/losses.tsv");

/// Torch's tolerance for f32; after 20 steps of training its rounding has grown, so ten times that.
const TOLERANCE: f64 = 1.3e-5;

/// Weights and batches from a formula, so that they need no file: element i of tensor t is
/// scale·cos(0.7·i + 0.3 + t).
fn formula(shape: &[usize], t: usize, scale: f64) -> Tensor {
    let n: usize = shape.iter().product();
    let values = (0..n).map(|i| (scale * (0.7 * i as f64 + 0.3 + t as f64).cos()) as f32).collect();
    Tensor::from_vec(values, shape)
}

fn check() -> Result<()> {
    for (net, name) in [(Net::Xor, CASES[9].name), (Net::Mlp, CASES[10].name)] {
        let expected: Vec<f64> = LOSSES
            .lines()
            .find_map(|l| l.strip_prefix(name))
            .map(|l| l.split_whitespace().filter_map(|v| v.parse().ok()).collect())
            .ok_or_else(|| Error::new(format!("{name}: no losses are kept")))?;
        let model = net.model();
        for (t, (_, p)) in model.named_parameters().into_iter().enumerate() {
            let fan = p.shape().last().copied().unwrap_or(1) as f64;
            p.set(&formula(&p.shape(), t, 1.0 / fan.sqrt()))?;
        }
        let mut apply = net.optimizer(&model);
        let mut worst: f64 = 0.0;
        for (i, expected) in expected.iter().enumerate() {
            let (x, y) = match net {
                Net::Xor => net.batch(0),
                Net::Mlp => {
                    let classes: Vec<i64> = (0..128).map(|j| (j * 7 + i as i64) % 10).collect();
                    (formula(&[128, 784], 100 + i, 1.0), Tensor::from(classes))
                }
            };
            let loss = apply(&net.loss(&model, &x, &y))?.item()?;
            let difference = (loss - expected).abs() / expected.abs();
            worst = if difference.is_nan() { difference } else { worst.max(difference) };
        }
        say(&format!("{name}: 20 losses, largest relative difference {worst:.1e} (at most {TOLERANCE:.1e})\n"));
        if worst.is_nan() || worst > TOLERANCE {
            return Err(Error::new(format!("{name}: the losses differ from PyTorch's by {worst:.1e}")));
        }
    }
    Ok(())
}
