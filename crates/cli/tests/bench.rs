//! `limpid bench`: the names of the cases, a profile and its trace, and what it refuses.

mod common;

use common::{Place, last_line, text};
use serde_json::Value;

#[test]
fn a_case_says_how_long_a_step_takes() {
    let place = Place::new("bench");
    let names = place.ok(&["bench", "--list"]);
    assert_eq!(names.lines().filter(|name| name.starts_with("train_")).count(), 7, "{names}");
    let mut command = place.command(&["bench", "--only", "train_xor_2-8-1_b4_sgd", "--json", "--threads", "1"]);
    let output = command.env("PEER_BUDGET", "0").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let row = last_line(&text(&output.stdout));
    assert_eq!((&row["name"], &row["threads"]), (&"train_xor_2-8-1_b4_sgd".into(), &1.into()), "{row}");
    let [median, least] = ["median_us", "min_us"].map(|key| row[key].as_f64().unwrap());
    assert!(0.0 < least && least <= median, "{row}");
    let [scratch, bound] = ["scratch_mb", "scratch_bound_mb"].map(|key| row[key].as_f64().unwrap());
    assert!(bound <= scratch && scratch <= 1.2 * bound, "{row}");
    let limits = last_line(&place.ok(&["bench", "--limits", "--json"]));
    assert!(["gflops", "cached_gbs", "memory_gbs"].iter().all(|key| limits[key].as_f64().unwrap() > 0.0), "{limits}");
}

#[test]
fn a_profile_is_a_table_and_a_trace() {
    let place = Place::new("profile");
    let table = place.ok(&["bench", "--profile", "train_xor_2-8-1_b4_sgd", "--trace", "trace.json"]);
    for part in ["train_xor_2-8-1_b4_sgd: ", "\nkernel  ", "\nmodule  ", "\noptimizer ", "% "] {
        assert!(table.contains(part), "{part:?} is not in\n{table}");
    }
    let trace: Value = serde_json::from_slice(&place.read("trace.json")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let complete: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    let [start, length] = ["ts", "dur"].map(|key| move |event: &Value| event[key].as_f64().unwrap());
    let plans: Vec<&&Value> = complete.iter().filter(|event| event["name"] == "plan").collect();
    let kernels: Vec<&&Value> = complete.iter().filter(|event| event["args"]["flop"].is_number()).collect();
    assert!(!plans.is_empty() && kernels.len() > plans.len());
    // Every kernel lies inside the run of a plan. Times are written in nanoseconds.
    for kernel in &kernels {
        let (begin, end) = (start(kernel), start(kernel) + length(kernel));
        let inside = |plan: &&&&Value| start(plan) <= begin + 0.002 && end <= start(plan) + length(plan) + 0.002;
        assert!(plans.iter().any(|plan| inside(&plan)), "{kernel} is in no plan");
    }
    let modules = || complete.iter().filter(|event| event["tid"] == 2);
    assert!(modules().any(|event| event["name"] == "optimizer") && modules().any(|event| event["name"] == "0"));
}

#[test]
fn words_that_do_not_go_together_are_refused() {
    let place = Place::new("bench-words");
    let none = "error: --profile: no case is called \"train_xor\"";
    let said = place.run(&["bench", "--profile", "train_xor"]);
    assert!(text(&said.stderr).starts_with(none), "{}", text(&said.stderr));
    assert_eq!(said.status.code(), Some(2));
    let name = "infer_mlp_b1";
    for (args, message) in [
        (
            &["bench", "--profile", name, "--json"][..],
            "error: bench: --profile and --json do not go together\n  try limpid bench --profile infer_mlp_b1",
        ),
        (&["bench", "--trace", "t.json"], "error: bench: --trace is of a profile\n  try --profile NAME --trace FILE"),
        (
            &["bench", "--captured", "--tapped"],
            "error: bench: --captured and --tapped are two ways to run a step\n  try one of them",
        ),
        (&["bench", name], "error: bench: \"infer_mlp_b1\" is left over\n  try --only infer_mlp_b1"),
        (&["bench", "--threads", "0"], "error: --threads: \"0\" is no number of threads from 1 to 1024"),
    ] {
        place.fails(args, 2, message);
    }
    let args = ["bench", "--profile", name, "--trace", "no/such/folder.json"];
    let said = place.run(&args);
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&said.stderr).starts_with("error: no/such/folder.json"), "{}", text(&said.stderr));
}
