//! Random graphs: the plan computes what the interpreter says, on every instruction set, and the same bits
//! with any number of threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use limpid_core::reference::{self, Array};
use limpid_core::{Isa, eval, set_isa, set_threads, testing};

use crate::graphs::{Graph, build};
use crate::support::{bytes, floats, machine, seed, tolerance};

const GRAPHS: u64 = 4500;

/// Everything that a graph can hold by its operations' names. Left out are `copy`, which only the compiler
/// puts in, and `shl`, `scatter_mul`, `scatter_max` and `scatter_min`, which no method records yet.
const OPERATIONS: &[&str] = &[
    "leaf",
    "cell",
    "input",
    "const",
    "scalar",
    "iota",
    "random",
    "neg",
    "abs",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "sin",
    "cos",
    "atan",
    "tanh",
    "erf",
    "sigmoid",
    "gelu",
    "gelu_slope",
    "floor",
    "ceil",
    "trunc",
    "round",
    "add",
    "sub",
    "mul",
    "div",
    "div_trunc",
    "div_floor",
    "fmod",
    "remainder",
    "pow",
    "maximum",
    "minimum",
    "eq",
    "ne",
    "lt",
    "le",
    "and",
    "or",
    "xor",
    "shr",
    "select",
    "cast",
    "bitcast",
    "reshape",
    "permute",
    "broadcast",
    "slice",
    "pad",
    "concat",
    "window",
    "overlap_add",
    "write",
    "sum",
    "prod",
    "amax",
    "amin",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "sort",
    "dot",
    "gather",
    "scatter",
    "scatter_add",
    "call",
    "loop",
    "branch",
    "part",
    "detach",
    "watch",
    "tap",
    "finite",
    "relu",
    "softplus",
    "linear",
    "softmax",
    "softmax_grad",
    "log_softmax",
    "log_softmax_grad",
    "layer_norm",
    "layer_norm_grad",
    "rms_norm",
    "rms_norm_grad",
    "batch_norm",
    "batch_norm_grad",
    "cross_entropy",
    "cross_entropy_grad",
    "embedding",
    "binary_cross_entropy",
    "check",
    "ctc_loss",
    "ctc_loss_grad",
    "statistics",
    "conv",
    "conv_by_weight",
    "max_pool",
    "max_pool_grad",
    "avg_pool",
    "avg_pool_grad",
    "attention",
    "attention_grad",
    "rnn",
    "rnn_grad",
    "lstm",
    "lstm_grad",
    "gru",
    "gru_grad",
];

/// Compounds that one step of a graph draws from: each is one of thirty of a kind.
const SPECIAL: &[&str] = &[
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atanh",
    "cosh",
    "digamma",
    "entr",
    "erfc",
    "erfcx",
    "erfinv",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "lgamma",
    "log_ndtr",
    "logit",
    "ndtr",
    "ndtri",
    "polygamma",
    "sinc",
    "sinh",
    "atan2",
    "hypot",
    "logaddexp",
    "logaddexp2",
    "xlogy",
    "xlog1py",
];

const PASSES: &[&str] = &["inline", "fold", "cse", "sink", "legalize"];

/// What is far from the interpreter, when something is.
pub fn compare(graph: &Graph, oracle: &[Array]) -> Result<(), String> {
    for (i, (t, array)) in graph.tensors().into_iter().zip(oracle).enumerate() {
        if (t.shape(), t.dtype()) != (&array.shape, array.dtype) {
            return Err(format!("result {i} is {} {}, not {} {}", t.dtype(), t.shape(), array.dtype, array.shape));
        }
        let (rtol, atol) = tolerance(t.dtype());
        let expected = array.floats();
        let largest = expected.iter().filter(|e| e.is_finite()).fold(0.0f64, |a, e| a.max(e.abs()));
        // Of a gradient no bound is known: it is f64, and has nine digits to lose.
        let (rtol, slack) = match graph.outputs.get(i) {
            Some(v) => (rtol, atol + 4.0 * v.err),
            None => (1e-6, 1e-6 * (1.0 + largest)),
        };
        for (k, (a, e)) in floats(t)?.into_iter().zip(expected).enumerate() {
            let near = e.is_finite() && (a - e).abs() <= rtol * e.abs() + slack;
            if !(a == e || near || (a.is_nan() && e.is_nan())) {
                let (what, shape) = (if i < graph.outputs.len() { "value" } else { "gradient" }, t.shape());
                return Err(format!(
                    "{what} {i}, {} {shape}, element {k} is {a:e}, expected {e:e} ± {slack:e}",
                    t.dtype()
                ));
            }
        }
    }
    Ok(())
}

/// Builds the graph of `seed` and holds its plan against the interpreter.
pub fn check(seed: u64) -> Result<Graph, String> {
    let run = || -> Result<Graph, String> {
        let graph = build(seed);
        let oracle = reference::evaluate(&graph.tensors()).map_err(|e| format!("interpreter: {e}"))?;
        eval(graph.tensors()).map_err(|e| format!("plan: {e}"))?;
        compare(&graph, &oracle).map(|()| graph)
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
    })
}

#[derive(Default)]
struct Counts {
    operations: BTreeMap<&'static str, u64>,
    passes: BTreeMap<String, u64>,
    gradients: u64,
    nodes: u64,
    failures: Vec<String>,
}

impl Counts {
    fn over(seeds: impl Iterator<Item = u64>) -> Counts {
        let mut counts = Counts::default();
        for seed in seeds {
            // Evaluated tensors forget their inputs: the names are read from a graph that is not run.
            let names = catch_unwind(|| {
                let fresh = build(seed);
                let names = testing::operations(&fresh.tensors());
                (names, fresh.slopes.len())
            });
            if let Ok((names, slopes)) = names {
                counts.nodes += names.len() as u64;
                counts.gradients += u64::from(slopes > 0);
                let distinct: std::collections::BTreeSet<&'static str> = names.into_iter().collect();
                distinct.into_iter().for_each(|name| *counts.operations.entry(name).or_default() += 1);
            }
            testing::count_passes();
            if let Err(why) = check(seed) {
                counts.failures.push(format!("seed {seed}: {why}"));
            }
            for (pass, fired) in testing::passes() {
                *counts.passes.entry(pass).or_default() += u64::from(fired > 0);
            }
        }
        counts
    }

    fn join(mut self, other: Counts) -> Counts {
        other.operations.into_iter().for_each(|(name, n)| *self.operations.entry(name).or_default() += n);
        other.passes.into_iter().for_each(|(name, n)| *self.passes.entry(name).or_default() += n);
        self.gradients += other.gradients;
        self.nodes += other.nodes;
        self.failures.extend(other.failures);
        self
    }
}

#[test]
fn plans_compute_what_the_interpreter_says() {
    let first = seed();
    let half = |odd: u64| move || Counts::over((0..GRAPHS / 2).map(move |i| first + 2 * i + odd));
    let counts = std::thread::scope(|scope| {
        let other = scope.spawn(half(1));
        half(0)().join(other.join().expect("failures are collected"))
    });
    println!("{GRAPHS} graphs from seed {first}, {} nodes, {} with gradients", counts.nodes, counts.gradients);
    println!("graphs that hold each operation: {:?}", counts.operations);
    println!("graphs that each pass changes: {:?}", counts.passes);
    let shown = counts.failures.len().min(30);
    assert!(
        counts.failures.is_empty(),
        "{} graphs differ (LIMPID_SEED={first}):\n{}",
        counts.failures.len(),
        counts.failures[..shown].join("\n")
    );
    let rare = |all: &[&'static str], least: u64, seen: &dyn Fn(&str) -> u64| -> Vec<String> {
        all.iter().filter(|name| seen(name) < least).map(|name| format!("{name} {}", seen(name))).collect()
    };
    let operation = |name: &str| counts.operations.get(name).copied().unwrap_or(0);
    let rare_operations = [rare(OPERATIONS, 50, &operation), rare(SPECIAL, 1, &operation)].concat();
    assert!(rare_operations.is_empty(), "in too few graphs: {rare_operations:?}");
    let rare_passes = rare(PASSES, 50, &|name| counts.passes.get(name).copied().unwrap_or(0));
    assert!(rare_passes.is_empty(), "changed fewer than 50 graphs: {rare_passes:?}");
    let unknown = counts.operations.keys().filter(|name| !OPERATIONS.contains(name) && !SPECIAL.contains(name));
    let unknown: Vec<_> = unknown.collect();
    assert!(unknown.is_empty(), "operations that this test does not know: {unknown:?}");
}

/// Every instruction set against the interpreter, and on each the same bits with 1, 2, 3 and 16 threads.
///
/// What is set is set for the whole process. Other tests run beside this one and hold whatever is set.
#[test]
fn no_result_depends_on_threads_and_every_instruction_set_is_right() {
    let _alone = machine();
    let threads = limpid_core::cpu().pool.threads();
    let best = limpid_core::cpu().isa;
    let mut failures = Vec::new();
    let mut count = 0;
    for isa in Isa::available() {
        set_isa(isa);
        let mut expected: Vec<Vec<Vec<u8>>> = Vec::new();
        for (round, n) in [1, 2, 3, 16].into_iter().enumerate() {
            set_threads(n);
            for i in 0..150 {
                let seed = seed() + 1_000_000 + i;
                let graph = if round == 0 {
                    check(seed)
                } else {
                    catch_unwind(|| build(seed)).map_err(|_| "a panic".to_owned())
                };
                let result = graph.and_then(|graph| {
                    eval(graph.tensors()).map_err(|e| e.to_string())?;
                    Ok(bytes(&graph.tensors()))
                });
                count += 1;
                match result {
                    Err(why) => failures.push(format!("{isa:?}, {n} threads, seed {seed}: {why}")),
                    Ok(bytes) if round == 0 => expected.push(bytes),
                    Ok(bytes) if expected.get(i as usize) == Some(&bytes) => {}
                    Ok(_) => {
                        failures.push(format!("{isa:?}, {n} threads, seed {seed}: other bits than with one thread"))
                    }
                }
            }
        }
    }
    set_isa(best);
    set_threads(threads);
    println!("{count} runs over {:?}", Isa::available());
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
}
