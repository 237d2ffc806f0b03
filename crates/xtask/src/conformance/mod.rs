//! Conformance: cases recorded from other implementations, run by Limpid.
//!
//! The driver only translates arguments. What Limpid lacks is counted as skipped, an argument that is not read
//! fails the case, and nothing is computed here that Limpid should compute.

mod args;
mod cases;
mod check;
mod differences;
mod functionals;
mod initialisers;
mod modules;
mod ops;
mod optimizers;
mod random;
mod schedules;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use limpid::DType;
use serde_json::Value as Json;

use crate::classes::without_cases;
use args::Result;
use cases::{Case, Class, classes, read_json};
use check::Verdict;

/// One line of the table.
struct Row {
    group: &'static str,
    class: String,
    passed: usize,
    /// Those of what is not built yet.
    skipped: usize,
    failed: Vec<(String, Verdict)>,
    /// Passed by the wider tolerance of [`Verdict::settle`].
    rounded: Vec<(String, Verdict)>,
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

/// Whether cases of this name are run: of the class, or of its variants.
pub fn runs(name: &str) -> bool {
    GROUPS.iter().any(|(_, find)| find(name).is_some())
        || functionals::has_variants(name)
        || schedules::find(name).is_some()
        || initialisers::find(name).is_some()
        || name == GAINS
}

/// The class of the gains.
const GAINS: &str = "calculate_gain";

/// Runs PyTorch's cases in `dir` and prints the table; whether all passed that were run. `only`: the classes whose
/// names begin with one of these, or all where there is none.
///
/// # Errors
/// When the directory is not one of cases.
pub fn torch(dir: &str, only: &[&str]) -> Result<bool> {
    Ok(print(&quiet(|| rows(Path::new(dir), only))?, &untold(only)?))
}

/// Checks the gradients of the cases in `dir` by finite differences: see [`differences`].
///
/// # Errors
/// When the directory is not one of cases.
pub fn by_differences(dir: &str, only: &[&str]) -> Result<bool> {
    quiet(|| differences::run(dir, only))
}

/// Runs cases: a panic in one is reported as its failure, not where it happens.
fn quiet<T>(run: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = run();
    std::panic::set_hook(hook);
    done
}

/// What `case` gives, or why it has nothing; a panic is such a reason.
fn caught<T>(case: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(case)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Err(format!("panic: {text}"))
    })
}

/// What is proved by tests of ours, of the classes whose names begin with one of `only`.
fn untold(only: &[&str]) -> Result<Vec<[String; 4]>> {
    let mut rows = without_cases()?;
    rows.retain(|[_, class, ..]| only.is_empty() || only.iter().any(|name| class.starts_with(name)));
    Ok(rows)
}

/// Runs what is asked for in `dir`.
fn rows(dir: &Path, only: &[&str]) -> Result<Vec<Row>> {
    let wanted = |class: &str| only.is_empty() || only.iter().any(|name| class.starts_with(name));
    let index = read_json(dir, "index.json")?;
    let mut rows = Vec::new();
    for (group, find) in GROUPS {
        rows.extend(
            classes(&index, group)
                .iter()
                .filter(|class| wanted(&class.name))
                .map(|class| row_of(dir, group, class, find)),
        );
    }
    let schedules = read_json(dir, "schedulers.json")?;
    rows.extend(listed("schedules", &schedules["cases"], "scheduler", schedules::find, &wanted));
    let initial = read_json(dir, "initialisers.json")?;
    rows.extend(listed("initialisers", &initial["cases"], "init", initialisers::find, &wanted));
    rows.extend(wanted(GAINS).then(|| gains(&initial["gains"])));
    Ok(rows)
}

impl Row {
    fn new(group: &'static str, class: &str) -> Row {
        Row { group, class: class.to_owned(), passed: 0, skipped: 0, failed: Vec::new(), rounded: Vec::new() }
    }

    /// Runs one case and counts it.
    fn run(&mut self, id: &str, case: impl FnOnce() -> Result<Verdict>) {
        let verdict = caught(case).unwrap_or_else(Verdict::of);
        if verdict.problems.is_empty() {
            self.passed += 1;
            if !verdict.rounded.is_empty() {
                self.rounded.push((id.to_owned(), verdict));
            }
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
        Ok(cases) => cases.iter().for_each(|case| row.run(&case.id, || judge(&*run, case))),
        Err(problem) => (0..class.len()).for_each(|i| row.run(&format!("#{i}"), || Err(problem.clone()))),
    }
    row
}

/// Runs a case; where numbers of f32 differ, also in f64, to tell whose rounding it is.
fn judge(run: &dyn Fn(&Case) -> Result<Verdict>, case: &Case) -> Result<Verdict> {
    let mut verdict = run(case)?;
    let floats = case.tensors.values().map(limpid::Tensor::dtype).filter(|dtype| dtype.is_float());
    if verdict.differs() && floats.min() == Some(DType::F32) {
        verdict.settle(&run(&case.in_f64())?, DType::F32);
    }
    Ok(verdict)
}

/// The rows of cases that stand in one list, each with its class under `key`.
fn listed(
    group: &'static str,
    cases: &Json,
    key: &str,
    find: fn(&str) -> Option<Box<dyn Fn(&Json) -> Result<Verdict>>>,
    wanted: &dyn Fn(&str) -> bool,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (i, case) in cases.as_array().into_iter().flatten().enumerate() {
        let class = case[key].as_str().unwrap_or_default();
        if !wanted(class) {
            continue;
        }
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
    let mut row = Row::new("initialisers", GAINS);
    for (name, gain) in gains.as_object().into_iter().flatten() {
        row.run(name, || initialisers::gain(name, gain.as_f64().unwrap_or(f64::NAN)));
    }
    row
}

/// Prints the table, the classes without cases in it, and what failed; whether nothing did.
fn print(rows: &[Row], untold: &[[String; 4]]) -> bool {
    println!("| group | class | cases | passed | skipped | failed |");
    println!("|---|---|---|---|---|---|");
    for row in rows {
        let cases = row.passed + row.skipped + row.failed.len();
        let skipped = if row.skipped > 0 { format!("{} (not built yet)", row.skipped) } else { "0".to_owned() };
        let largest = row.failed.iter().map(|(_, verdict)| verdict.largest).fold(0.0, f64::max);
        let failed =
            if largest > 0.0 { format!("{} ({largest:.1e})", row.failed.len()) } else { row.failed.len().to_string() };
        println!("| {} | {} | {cases} | {} | {skipped} | {failed} |", row.group, row.class, row.passed);
    }
    for [group, class, test, source] in untold {
        println!("| {group} | {class} | no cases | {test} | {source} | |");
    }
    println!();
    for row in rows {
        for (id, verdict) in &row.failed {
            println!("{} {} {id}: {}", row.group, row.class, verdict.problems.join("; "));
        }
    }
    let rounded = rows.iter().flat_map(|row| row.rounded.iter().map(move |(id, verdict)| (row, id, verdict)));
    let rounded: Vec<_> = rounded.collect();
    if !rounded.is_empty() {
        println!("\nwider tolerance: torch's f32 is farther from the same case in f64 than the tolerance");
    }
    for (row, id, verdict) in rounded {
        println!("{} {} {id}: {}", row.group, row.class, verdict.rounded.join("; "));
    }
    println!();
    let total = |count: fn(&Row) -> usize| rows.iter().map(count).sum::<usize>();
    let failed = total(|row| row.failed.len());
    println!("torch: {} passed, {failed} failed, {} skipped", total(|row| row.passed), total(|row| row.skipped));
    failed == 0
}

#[cfg(test)]
mod tests {
    use limpid::{StateDict, Tensor};
    use serde_json::json;

    use super::*;

    /// A directory of cases with one of each outcome.
    fn write(dir: &Path) {
        let case = |id: &str, kwargs: Json| {
            let forward = json!({"args": [{"tensor": "input0"}], "kwargs": kwargs, "outputs": 1});
            let ctor = json!({"args": [], "kwargs": {"inplace": true}});
            json!({"id": id, "dtype": "float32", "train": true, "ctor": ctor, "forward": forward})
        };
        let cases = [case("case0", json!({})), case("case1", json!({})), case("case2", json!({"scale": 2}))];
        let relu = json!({"file": "modules/ReLU.safetensors", "cases": cases});
        let strange = json!({"file": "modules/Strange.safetensors", "cases": [case("case0", json!({}))]});
        let lost = json!({"file": "modules/Tanh.safetensors", "cases": [case("case0", json!({}))]});
        let index = json!({"modules": {"ReLU": relu, "Strange": strange, "Tanh": lost}});
        let schedule = |rate: f64| json!({"scheduler": "LinearLR", "kwargs": {}, "base_lr": 0.3, "lr": [0.1, rate]});
        std::fs::create_dir_all(dir.join("modules")).expect("a directory");
        let put = |name: &str, json: Json| std::fs::write(dir.join(name), json.to_string()).expect("a file");
        put("index.json", index);
        put("schedulers.json", json!({"cases": [schedule(0.14), schedule(0.15)]}));
        put("initialisers.json", json!({"cases": [], "gains": {"relu": 2f64.sqrt(), "tanh": 1.5}}));
        let mut state = StateDict::new();
        for (id, output) in [("case0", 2.0f32), ("case1", 2.1), ("case2", 2.0)] {
            state.insert(format!("{id}.input0"), Tensor::from([-1.0f32, 2.0]));
            state.insert(format!("{id}.output0"), Tensor::from([0.0, output]));
            state.insert(format!("{id}.grad.input0"), Tensor::from([0.0, 1f32.cos()]));
        }
        state.save(dir.join("modules/ReLU.safetensors")).expect("a file");
    }

    #[test]
    fn every_outcome_is_counted_and_named() {
        let dir = std::env::temp_dir().join(format!("limpid-conformance-{}", std::process::id()));
        write(&dir);
        let rows = rows(&dir, &[]).expect("the directory is read");
        let some = super::rows(&dir, &["Str", "calc"]).expect("the directory is read");
        assert_eq!(some.iter().map(|r| &r.class[..]).collect::<Vec<_>>(), ["Strange", "calculate_gain"]);
        std::fs::remove_dir_all(&dir).expect("it is ours");
        let outcomes: Vec<_> = rows.iter().map(|r| (r.class.as_str(), r.passed, r.skipped, r.failed.len())).collect();
        let expected = [
            ("ReLU", 1, 0, 2),
            ("Strange", 0, 1, 0),
            ("Tanh", 0, 0, 1),
            ("LinearLR", 1, 0, 1),
            ("calculate_gain", 1, 0, 1),
        ];
        assert_eq!(outcomes, expected);
        let (first, second) = (&rows[0].failed[0], &rows[0].failed[1]);
        assert_eq!(
            (first.0.as_str(), &first.1.problems[0][..]),
            ("case1", "output0[1] is 2e0, not 2.0999999046325684e0")
        );
        assert_eq!((second.0.as_str(), &second.1.problems[0][..]), ("case2", "argument scale not read: 2"));
        assert!(!print(&rows, &[]));
    }

    #[test]
    fn a_panic_fails_its_case_only() {
        let mut row = Row::new("modules", "Any");
        row.run("case0", || panic!("shape {}", 3));
        row.run("case1", || Ok(Verdict::default()));
        assert_eq!((row.passed, row.failed[0].1.problems[0].as_str()), (1, "panic: shape 3"));
    }

    #[test]
    fn a_directory_without_cases_is_an_error() {
        assert!(torch("no/such/directory", &[]).is_err());
    }
}
