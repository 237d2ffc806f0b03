//! Whatever the arguments, no call panics, hangs or takes absurd memory: it gives a value that can be computed, and
//! whose gradient can, or an error that names the line.
//!
//! `LIMPID_SEED` draws other arguments, `LIMPID_HOSTILE_ROUNDS` more of them, `LIMPID_HOSTILE` names the calls to make
//! (a part of the name) and says what they draw.

mod dice;
mod functions;
mod layers;
mod losses;
mod optim;
mod shapes;
mod windows;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use limpid::gradients_with;
use limpid::prelude::*;

pub use dice::Dice;

/// A name, and a call that draws its arguments.
pub type Call = (&'static str, fn(&mut Dice) -> Vec<Tensor>);

const CALLS: &[&[Call]] = &[
    functions::OF_ONE,
    functions::OF_TWO,
    functions::NUMBERS,
    functions::REDUCTIONS,
    functions::PRODUCTS,
    shapes::SHAPES,
    shapes::PLACES,
    windows::WINDOWS,
    layers::LAYERS,
    layers::SEQUENCES,
    losses::LOSSES,
    optim::STEPS,
    optim::SCHEDULES,
    optim::PARAMETERS,
];

const ROUNDS: u64 = 12;
/// More than this is not computed: what is small in memory may be large in numbers.
const COMPUTED: usize = 1 << 20;
/// A call that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// A call that takes so many bytes more takes absurdly many.
const MEMORY: u64 = 1 << 30;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The most memory that this process has had, where the system says it.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok())
        .map_or(0, |kilobytes: u64| kilobytes << 10)
}

/// Reads what a call returned, and the gradients: every error must name a line of these files.
fn read(outputs: &[Tensor], leaves: &[Tensor]) -> Result<(), String> {
    let wrt: Vec<&Tensor> = leaves.iter().collect();
    for y in outputs {
        let _ = (y.shape().to_string(), y.rank(), y.dtype());
        if y.error().is_none() && y.numel() > COMPUTED {
            continue;
        }
        if let Err(error) = y.to_vec::<f64>() {
            place(&error.to_string())?;
            continue;
        }
        if !y.dtype().is_float() || !y.requires_grad() {
            continue;
        }
        let grads = match gradients_with(y, &y.ones_like(), &wrt) {
            Ok(grads) => grads,
            Err(error) => {
                place(&error.to_string())?;
                continue;
            }
        };
        for (x, grad) in leaves.iter().zip(grads).filter_map(|(x, grad)| Some((x, grad?))) {
            if let Err(error) = grad.to_vec::<f64>() {
                return Err(format!("the value is known, its gradient not: {error}"));
            }
            if grad.shape() != x.shape() {
                return Err(format!("a gradient {} of {}", grad.shape(), x.shape()));
            }
        }
    }
    Ok(())
}

fn place(error: &str) -> Result<(), String> {
    let named = error.contains("it/hostile/");
    if named { Ok(()) } else { Err(format!("no line of the call: {error}")) }
}

fn mixed(name: &str, seed: u64, round: u64) -> u64 {
    let letters = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    letters ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ round.wrapping_mul(0xD1B5_4A32_D192_ED03)
}

/// What is wrong with this call with these arguments.
fn problem((name, call): Call, seed: u64, loud: bool) -> Option<String> {
    let mut dice = Dice::new(seed);
    manual_seed(seed);
    let (start, before) = (Instant::now(), peak());
    if loud {
        eprint!("{name} {seed}: ");
    }
    let made = catch_unwind(AssertUnwindSafe(|| call(&mut dice)));
    if loud {
        eprintln!("{}", dice.log);
    }
    let told = match made {
        Err(_) => Err("panics".to_owned()),
        Ok(outputs) => catch_unwind(AssertUnwindSafe(|| read(&outputs, &dice.leaves)))
            .unwrap_or_else(|_| Err("panics where it is computed".to_owned())),
    };
    let told = told.and_then(|()| match peak().saturating_sub(before) {
        more if more > MEMORY => Err(format!("takes {} MiB", more >> 20)),
        _ => Ok(()),
    });
    let told = told.and_then(|()| match start.elapsed() {
        time if time > PATIENCE => Err(format!("takes {time:?}")),
        _ => Ok(()),
    });
    told.err().map(|what| format!("{name} {what}\n    arguments: {}", dice.log))
}

#[test]
fn no_call_panics_whatever_the_arguments() {
    let seed = setting("LIMPID_SEED", 20_260_101);
    let rounds = setting("LIMPID_HOSTILE_ROUNDS", ROUNDS);
    let only = std::env::var("LIMPID_HOSTILE").ok();
    let calls: Vec<Call> = CALLS.concat();
    println!("{} calls, {rounds} rounds, seed {seed}", calls.len());
    let mut names = std::collections::BTreeSet::new();
    let mut problems = Vec::new();
    for call in calls {
        assert!(names.insert(call.0), "two calls are named {}", call.0);
        if only.as_ref().is_some_and(|part| !call.0.contains(part.as_str())) {
            continue;
        }
        let found = (0..rounds).find_map(|round| problem(call, mixed(call.0, seed, round), only.is_some()));
        problems.extend(found);
    }
    assert!(problems.is_empty(), "{} of {} calls, seed {seed}:\n{}", problems.len(), names.len(), problems.join("\n"));
}
