//! `limpid predict`: what a trained model says of new rows.

use std::io::{Read, stdin};
use std::path::Path;

use limpid::data::{Task, table};
use limpid::prelude::*;
use limpid::train::{in_eval_mode, predictions};
use limpid::{Error, Result};
use limpid_io::csv::{self, Dialect};
use serde_json::{Value, json};

use crate::args::Args;
use crate::failure::Failure;
use crate::folder::system;
use crate::model::{self, Trained};
use crate::terminal::say;

pub const USAGE: &str = "\
limpid predict RUN [FILE] [--json] [--threads N]

  reads rows from FILE or standard input: CSV with a header, or JSON ([1, 2], [[1, 2], [3, 4]], or objects by
  column); writes a line for each: CSV, or JSON where the input is JSON or --json is given
";

/// `limpid predict`.
pub fn predict(args: &[String]) -> Result<(), Failure> {
    let args = Args::parse(args, &[("json", None), ("threads", Some("N"))], &[]).map_err(Failure::Misused)?;
    args.set_threads().map_err(Failure::Misused)?;
    let (run, file) = match &args.words[..] {
        [run] => (run, None),
        [run, file] => (run, Some(file.as_str())),
        _ => return Err(Failure::Misused(Error::new("predict: which run?").help(USAGE.trim_end()))),
    };
    let trained = model::load(Path::new(run))?;
    let (name, bytes) = read(file)?;
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_json = matches!(first, Some(b'[' | b'{'));
    let rows = if is_json { from_json(&trained, name, &bytes)? } else { from_csv(&trained, name, &bytes)? };
    let lines = answers(&trained, &rows, is_json || args.has("json"))?;
    say(&lines);
    Ok(())
}

fn read(file: Option<&str>) -> Result<(&str, Vec<u8>)> {
    let Some(file) = file.filter(|file| *file != "-") else {
        let mut bytes = Vec::new();
        stdin().read_to_end(&mut bytes).map_err(|error| Error::new(format!("standard input: {error}")))?;
        return Ok(("standard input", bytes));
    };
    Ok((file, std::fs::read(file).map_err(|error| system(Path::new(file), "read", &error))?))
}

/// Rows `[rows, features]` of a table: by the names of the columns that the model was trained on.
fn from_csv(trained: &Trained, name: &str, bytes: &[u8]) -> Result<Tensor> {
    let table = csv::parse(Path::new(name), bytes, Dialect::CSV).map_err(|error| Error::new(error.to_string()))?;
    let columns = if trained.columns.is_empty() { table.header.clone() } else { trained.columns.clone() };
    check_width(trained, name, columns.len())?;
    table::features(&table, &columns)
}

/// Rows `[rows, features]` of a JSON document.
fn from_json(trained: &Trained, name: &str, bytes: &[u8]) -> Result<Tensor> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| Error::new(format!("{name}: {error}")))?;
    let rows = match document {
        Value::Array(items) if items.iter().any(|item| item.is_array() || item.is_object()) => items,
        row => vec![row],
    };
    let mut numbers: Vec<f32> = Vec::with_capacity(rows.len() * trained.features);
    for (i, row) in rows.iter().enumerate() {
        let wrong = |what: String| Error::new(format!("{name}: row {i}: {what}"));
        let values: Vec<&Value> = match row {
            Value::Array(items) => items.iter().collect(),
            Value::Object(object) => {
                let value = |column: &String| object.get(column).ok_or_else(|| wrong(format!("no {column:?}")));
                trained.columns.iter().map(value).collect::<Result<_>>()?
            }
            _ => return Err(wrong("it is neither a list nor an object".to_owned())),
        };
        check_width(trained, &format!("{name}: row {i}"), values.len())?;
        for (column, value) in values.into_iter().enumerate() {
            let number = value.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
            numbers.push(number.ok_or_else(|| wrong(format!("feature {column} is {value}, not a number")))?);
        }
    }
    Ok(Tensor::from_vec(numbers, [rows.len(), trained.features]))
}

fn check_width(trained: &Trained, place: &str, width: usize) -> Result<()> {
    let wanted = trained.features;
    if width == wanted {
        return Ok(());
    }
    Err(Error::new(format!("{place}: {width} features, the model was trained on {wanted}")))
}

/// A line for each row: the class and how sure the model is of it, or the numbers.
fn answers(trained: &Trained, rows: &Tensor, as_json: bool) -> Result<String> {
    let (output, found) = in_eval_mode(&trained.network, || {
        let output = trained.network.forward(rows);
        let found = predictions(&output, &trained.task);
        (output, found)
    });
    let mut out = String::new();
    match &trained.task {
        Task::Classification { classes } => {
            let probability = match output.size(-1) {
                1 => (output.squeeze(-1).abs()).sigmoid(),
                _ => output.softmax(-1).amax(-1),
            };
            eval([&found, &probability])?;
            if !as_json {
                out += "class,probability\n";
            }
            for (class, p) in found.to_vec::<i64>()?.into_iter().zip(probability.to_vec::<f64>()?) {
                let class = &classes[class as usize];
                out += &match as_json {
                    true => format!("{}\n", json!({"class": class, "probability": p})),
                    false => format!("{},{p:.6}\n", field(class)),
                };
            }
        }
        Task::Regression { columns } => {
            let numbers = found.to_vec::<f64>()?;
            if !as_json {
                out += &format!("{}\n", columns.iter().map(|name| field(name)).collect::<Vec<_>>().join(","));
            }
            for row in numbers.chunks(columns.len()) {
                out += &match as_json {
                    true => {
                        let pairs = columns.iter().cloned().zip(row.iter().map(|x| json!(x)));
                        format!("{}\n", Value::Object(pairs.collect()))
                    }
                    false => format!("{}\n", row.iter().map(f64::to_string).collect::<Vec<_>>().join(",")),
                };
            }
        }
    }
    Ok(out)
}

/// A text as a field of a CSV file: quoted where it has to be (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
