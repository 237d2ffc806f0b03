//! Conformance: cases recorded from other implementations, run by Limpid.
//!
//! The driver only translates arguments. What Limpid lacks is counted as skipped, an argument that is not read
//! fails the case, and nothing is computed here that Limpid should compute.

mod args;
mod cases;
mod check;
mod functionals;
mod initialisers;
mod modules;
mod ops;
mod ops_reduce;
mod ops_shape;
mod optimizers;
mod schedules;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::Value as Json;

use args::Result;
use cases::{Case, Class, classes, read_json};
use check::Verdict;

/// One line of the table.
struct Row {
    group: &'static str,
    class: String,
    passed: usize,
    skipped: usize,
    failed: Vec<(String, Verdict)>,
}

/// What runs a case of a class, if the class is built.
type Find = fn(&str) -> Option<Box<dyn Fn(&Case) -> Result<Verdict>>>;

/// The groups of the index, in the order of the table.
const GROUPS: [(&str, Find); 4] = [
    ("optimizers", optimizers::find),
    ("modules", modules::find),
    ("functionals", functionals::find),
    ("ops", ops::find),
];

const NOT_BUILT: &str = "not built yet";

/// Runs PyTorch's cases in `dir` and prints the table; whether all passed that were run.
///
/// # Errors
/// When the directory is not one of cases.
pub fn torch(dir: &str) -> Result<bool> {
    let dir = Path::new(dir);
    let index = read_json(dir, "index.json")?;
    // A panic in a case is reported as its failure.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut rows = Vec::new();
    for (group, find) in GROUPS {
        rows.extend(classes(&index, group).iter().map(|class| row_of(dir, group, class, find)));
    }
    rows.extend(listed("schedules", &read_json(dir, "schedulers.json")?["cases"], "scheduler", schedules::find));
    let initial = read_json(dir, "initialisers.json")?;
    rows.extend(listed("initialisers", &initial["cases"], "init", initialisers::find));
    rows.push(gains(&initial["gains"]));
    std::panic::set_hook(hook);
    Ok(print(&rows))
}

impl Row {
    fn new(group: &'static str, class: &str) -> Row {
        Row { group, class: class.to_owned(), passed: 0, skipped: 0, failed: Vec::new() }
    }

    /// Runs one case and counts it.
    fn run(&mut self, id: &str, case: impl FnOnce() -> Result<Verdict>) {
        let verdict = match catch_unwind(AssertUnwindSafe(case)) {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(problem)) => Verdict { problems: vec![problem], largest: 0.0 },
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message");
                Verdict { problems: vec![format!("panic: {text}")], largest: 0.0 }
            }
        };
        if verdict.problems.is_empty() {
            self.passed += 1;
        } else {
            self.failed.push((id.to_owned(), verdict));
        }
    }
}

fn row_of(dir: &Path, group: &'static str, class: &Class, find: Find) -> Row {
    let mut row = Row::new(group, &class.name);
    let Some(run) = find(&class.name) else {
        row.skipped = class.len();
        return row;
    };
    match class.cases(dir) {
        Ok(cases) => cases.iter().for_each(|case| row.run(&case.id, || run(case))),
        Err(problem) => (0..class.len()).for_each(|i| row.run(&format!("#{i}"), || Err(problem.clone()))),
    }
    row
}

/// The rows of cases that stand in one list, each with its class under `key`.
fn listed(
    group: &'static str,
    cases: &Json,
    key: &str,
    find: fn(&str) -> Option<Box<dyn Fn(&Json) -> Result<Verdict>>>,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (i, case) in cases.as_array().into_iter().flatten().enumerate() {
        let class = case[key].as_str().unwrap_or_default();
        let at = rows.iter().position(|row| row.class == class).unwrap_or_else(|| {
            rows.push(Row::new(group, class));
            rows.len() - 1
        });
        match find(class) {
            Some(run) => rows[at].run(&format!("#{i}"), || run(case)),
            None => rows[at].skipped += 1,
        }
    }
    rows
}

fn gains(gains: &Json) -> Row {
    let mut row = Row::new("initialisers", "calculate_gain");
    for (name, gain) in gains.as_object().into_iter().flatten() {
        row.run(name, || initialisers::gain(name, gain.as_f64().unwrap_or(f64::NAN)));
    }
    row
}

fn print(rows: &[Row]) -> bool {
    println!("| group | class | cases | passed | skipped | failed |");
    println!("|---|---|---|---|---|---|");
    for row in rows {
        let cases = row.passed + row.skipped + row.failed.len();
        let skipped = if row.skipped > 0 { format!("{} ({NOT_BUILT})", row.skipped) } else { "0".to_owned() };
        let largest = row.failed.iter().map(|(_, verdict)| verdict.largest).fold(0.0, f64::max);
        let failed =
            if largest > 0.0 { format!("{} ({largest:.1e})", row.failed.len()) } else { row.failed.len().to_string() };
        println!("| {} | {} | {cases} | {} | {skipped} | {failed} |", row.group, row.class, row.passed);
    }
    println!();
    for row in rows {
        for (id, verdict) in &row.failed {
            println!("{} {} {id}: {}", row.group, row.class, verdict.problems.join("; "));
        }
    }
    let total = |count: fn(&Row) -> usize| rows.iter().map(count).sum::<usize>();
    let failed = total(|row| row.failed.len());
    println!("torch: {} passed, {failed} failed, {} skipped", total(|row| row.passed), total(|row| row.skipped));
    failed == 0
}
