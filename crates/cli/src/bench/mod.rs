//! `limpid bench`: the cases that other frameworks are measured by, under the same names.
//!
//! Each case runs in a process of its own, so that its peak memory is its own. A case binds other input values at
//! each step, and its result is in host memory when a step ends. The plain figures are what the README's code does:
//! everything is recorded at each step; `--captured` measures replays.

mod cases;
mod check;
#[cfg(test)]
mod memory_tests;
mod models;
mod nets;
mod operations;
mod picture;
mod profile;
mod scaling;

use std::process::Command;
use std::time::{Duration, Instant};

use limpid::{Error, Limits, Result, cpu};

use crate::args::{Args, Option_};
use crate::failure::Failure;
use crate::settings::placed_unknown;
use crate::terminal::say;
use cases::{CASES, Case, Does, How};

pub const USAGE: &str = "\
limpid bench [--list] [--json] [--check] [--limits] [--captured | --tapped] [--only NAME,...] [--threads N]
limpid bench --profile NAME [--trace FILE] [--captured | --tapped] [--threads N]
limpid bench --scaling [--picture FILE] [--threads N]

  --list          the names of the cases
  --json          one JSON object a line
  --check         the first 20 losses of the training cases, against PyTorch's
  --captured      training and inference as captured steps
  --tapped        training while a tap takes statistics of all values and gradients
  --only NAMES    these cases only, separated by commas
  --profile NAME  where the time of a case goes: by kernel and by module, and how near the machine's limit that is
  --trace FILE    the profile as a flame graph, for ui.perfetto.dev or chrome://tracing
  --scaling       how time and memory grow with batch, width, depth, sequence and threads, and how they have to
  --picture FILE  the same as a picture (SVG)
  --limits        what this machine can do at most: arithmetic and bandwidth, measured
  --threads N     threads to use
";

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

const OPTIONS: [Option_; 12] = [
    ("list", None),
    ("json", None),
    ("check", None),
    ("limits", None),
    ("captured", None),
    ("tapped", None),
    ("only", Some("NAMES")),
    ("profile", Some("NAME")),
    ("trace", Some("FILE")),
    ("scaling", None),
    ("picture", Some("FILE")),
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
    only.iter().try_for_each(|name| known("--only", name).map(drop))?;
    if args.has("list") {
        say(&CASES.iter().map(|case| format!("{}\n", case.name)).collect::<String>());
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
    if let Some(name) = args.value("profile") {
        if let Some(other) =
            ["json", "check", "only", "scaling", "limits", "picture"].iter().find(|other| args.has(other))
        {
            let error = Error::new(format!("bench: --profile and --{other} do not go together"));
            return Err(Failure::Misused(error.help(format!("limpid bench --profile {name}"))));
        }
        return Ok(profile::profile(known("--profile", name)?, how, args.value("trace"))?);
    }
    if args.has("trace") {
        return Err(Failure::Misused(Error::new("bench: --trace is of a profile").help("--profile NAME --trace FILE")));
    }
    if args.has("scaling") {
        if let Some(other) =
            ["json", "check", "only", "captured", "tapped", "limits"].iter().find(|other| args.has(other))
        {
            let error = Error::new(format!("bench: --scaling and --{other} do not go together"));
            return Err(Failure::Misused(error.help("limpid bench --scaling")));
        }
        return Ok(scaling::scaling(args.value("picture"))?);
    }
    if args.has("picture") {
        return Err(Failure::Misused(Error::new("bench: --picture is of --scaling").help("--scaling --picture FILE")));
    }
    let options = Options { json: args.has("json"), how, only, threads };
    if args.has("check") {
        check::check()?
    } else if args.has("limits") {
        limits(options.json);
    } else {
        all(&options)?
    }
    Ok(())
}

/// The case of this name, which `option` asks for.
fn known(option: &str, name: &str) -> Result<&'static Case, Failure> {
    Case::named(name).ok_or_else(|| {
        let error = Error::new(format!("{option}: no case is called {name:?}"));
        Failure::Misused(placed_unknown(error, name, &CASES.iter().map(|case| case.name).collect::<Vec<_>>()))
    })
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

/// What the machine can do at most.
fn limits(json: bool) {
    let limits = Limits::measure(&cpu());
    let [flop, cached, memory] = [limits.flop, limits.cached, limits.memory].map(|rate| rate / 1e9);
    say(&if json {
        format!(
            "{{\"gflops\":{flop:.1},\"cached_gbs\":{cached:.1},\"memory_gbs\":{memory:.1},\"cached_bytes\":{},\"threads\":{}}}\n",
            Limits::CACHED,
            cpu().pool.threads()
        )
    } else {
        format!("{flop:.1} GFLOP/s of f32, {cached:.1} GB/s in caches, {memory:.1} GB/s in memory\n")
    });
}

/// Scratch memory of the largest plan of a step, and the least that it could be, in MB.
fn scratch(step: &mut dyn FnMut() -> Result<()>) -> Result<(f64, f64)> {
    let (profile, done) = limpid::profile(step);
    done?;
    let memory = profile.memory();
    Ok((memory.scratch as f64 / 1e6, memory.scratch_bound as f64 / 1e6))
}

fn one(name: &str, options: &Options) -> Result<()> {
    limpid::manual_seed(0);
    let case = Case::named(name).expect("checked when the options were read");
    let mut prepared = case.prepare(options.how)?;
    let (median, least) = measure(&mut *prepared.step)?;
    let gflops = match prepared.does {
        Does::Flop(flop) => Some(flop / median / 1e3),
        Does::Step | Does::Tokens(_) => None,
    };
    let (threads, rss) = (cpu().pool.threads(), peak_mb());
    let (scratch, least_scratch) = scratch(&mut *prepared.step)?;
    let number = |v: Option<f64>| v.map_or_else(|| "null".to_owned(), |v| format!("{v:.2}"));
    let line = if options.json {
        format!(
            "{{\"name\":\"{name}\",\"median_us\":{median:.3},\"min_us\":{least:.3},\"gflops\":{},\"threads\":{threads},\"rss_mb\":{},\"scratch_mb\":{scratch:.3},\"scratch_bound_mb\":{least_scratch:.3},\"captured\":{}}}",
            number(gflops),
            number(rss),
            options.how == How::Captured
        )
    } else {
        let rate = match prepared.does {
            Does::Step => String::new(),
            Does::Flop(flop) => format!(" {:8.1} GFLOP/s", flop / median / 1e3),
            Does::Tokens(tokens) => format!(" {:8.1} tokens/s", tokens / median * 1e6),
        };
        let memory = rss.map_or_else(String::new, |m| format!(" {m:7.1} MB"));
        let ratio = scratch / least_scratch.max(1e-9);
        let memory = memory
            + &if scratch > 0.0 { format!(", scratch {scratch:.1} ({ratio:.2} of the least)") } else { String::new() };
        format!("{name:36} {median:12.2} µs  least {least:12.2} µs{rate}{memory}")
    };
    say(&format!("{line}\n"));
    Ok(())
}
