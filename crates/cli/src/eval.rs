//! `limpid eval`: measures a trained model.

use std::fmt::Write;
use std::path::Path;

use limpid::data::{Dataset, Task, table};
use limpid::train::{Scores, evaluate};
use limpid::{Error, Result};
use limpid_io::csv;
use serde_json::json;

use crate::args::Args;
use crate::failure::Failure;
use crate::model::{self, Trained};
use crate::progress::measure;
use crate::terminal::say;
use crate::train::scores;
use crate::{draw, parts, words};

pub const USAGE: &str = "\
limpid eval RUN [--data FILE.csv --target COLUMN] [--json] [--threads N]

  measures the model of a run on its test part, or on the rows of a table with a header
";

/// `limpid eval`.
pub fn eval(args: &[String]) -> Result<(), Failure> {
    let options = [("data", Some("FILE")), ("target", Some("COLUMN")), ("json", None), ("threads", Some("N"))];
    let args = Args::parse(args, &options, &[]).map_err(Failure::Misused)?;
    args.set_threads().map_err(Failure::Misused)?;
    let [run] = &args.words[..] else {
        return Err(Failure::Misused(Error::new("eval: which run?").help(USAGE.trim_end())));
    };
    let trained = model::load(Path::new(run))?;
    let (data, what) = match args.value("data") {
        Some(file) => (table_of(&trained, file, args.value("target"))?, file.to_owned()),
        None => test_part(&trained)?,
    };
    let found = evaluate(&trained.network, &*words::losses(&trained.config.loss).1, &data)?;
    if args.has("json") {
        let end = json!({"event": "end", "run": trained.folder.path(), "rows": data.rows(), "test": scores(&found)});
        say(&format!("{end}\n"));
        return Ok(());
    }
    let mut out = format!("{run} on {} rows: {what}\n", data.rows());
    if let (Scores::Classes(confusion), Task::Classification { classes }) = (&found.scores, &trained.task)
        && classes.len() <= 20
    {
        out += &draw::confusion_page(classes, confusion);
    }
    let _ = writeln!(out, "\n  {:<12}{:>10.4}", "loss", found.loss);
    for (name, value) in found.scores.named() {
        let _ = writeln!(out, "  {name:<12}{:>10}", measure(name, value));
    }
    say(&out);
    Ok(())
}

fn test_part(trained: &Trained) -> Result<(Dataset, String)> {
    let parts = parts::load(&trained.config)?;
    Ok(match parts.test {
        Some(test) => (test, "the test part".to_owned()),
        None => (parts.train, "the training part (the run has no test part)".to_owned()),
    })
}

/// The rows of a table, with the targets as the model knows them.
fn table_of(trained: &Trained, file: &str, target: Option<&str>) -> Result<Dataset> {
    let Some(target) = target.or(trained.config.data.target.as_deref()) else {
        return Err(Error::new("eval: which column of the table is the target?").help("--target COLUMN"));
    };
    let table = csv::read(Path::new(file)).map_err(|error| Error::new(error.to_string()))?;
    let columns = if trained.columns.is_empty() {
        table.header.iter().filter(|name| *name != target).cloned().collect()
    } else {
        trained.columns.clone()
    };
    let features = table::features(&table, &columns)?;
    let targets = table::targets(&table, target, &trained.task)?;
    match &trained.task {
        Task::Classification { classes } => Dataset::classification(file, features, targets, classes.clone()),
        Task::Regression { columns } => Dataset::regression(file, features, targets, columns.clone()),
    }
}
