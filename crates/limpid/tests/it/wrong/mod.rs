//! Wrong arguments: each fails at the first read with a message that says what is wrong, at the line of the call, and
//! never with a panic. One table, a file for each family.

mod activation;
mod attention;
mod conv;
mod embedding;
mod linear;
mod loss;
mod norm;
mod operations;
mod optim;
mod pool;
mod recurrent;
mod resample;
mod shape;
mod utils;

use std::panic::{AssertUnwindSafe, catch_unwind};

use limpid::prelude::*;
use limpid::{Error, Result};

/// A name, a call with a mistake in it, and words of the message.
pub struct Wrong {
    name: &'static str,
    call: fn() -> Result<Tensor>,
    says: &'static [&'static str],
}

/// A row of the table.
pub const fn wrong(name: &'static str, call: fn() -> Result<Tensor>, says: &'static [&'static str]) -> Wrong {
    Wrong { name, call, says }
}

const FAMILIES: &[(&str, &[Wrong])] = &[
    ("activation.rs", activation::WRONG),
    ("attention.rs", attention::WRONG),
    ("conv.rs", conv::WRONG),
    ("embedding.rs", embedding::WRONG),
    ("linear.rs", linear::WRONG),
    ("loss.rs", loss::WRONG),
    ("norm.rs", norm::WRONG),
    ("operations.rs", operations::WRONG),
    ("optim.rs", optim::WRONG),
    ("pool.rs", pool::WRONG),
    ("recurrent.rs", recurrent::WRONG),
    ("resample.rs", resample::WRONG),
    ("shape.rs", shape::WRONG),
    ("utils.rs", utils::WRONG),
];

/// Why this row does not hold, if so.
fn problem(file: &str, row: &Wrong) -> Option<String> {
    let read = || -> std::result::Result<Tensor, Error> {
        let y = (row.call)()?;
        eval([&y])?;
        Ok(y)
    };
    let error = match catch_unwind(AssertUnwindSafe(read)) {
        Err(_) => return Some("it panics".to_owned()),
        Ok(Ok(y)) => return Some(format!("no error, but a tensor of shape {}", y.shape())),
        Ok(Err(error)) => error.to_string(),
    };
    let missing: Vec<_> = row.says.iter().filter(|word| !error.contains(**word)).collect();
    if row.says.is_empty() || !missing.is_empty() {
        return Some(format!("{missing:?} is not said by: {error}"));
    }
    let place = format!("wrong/{file}:");
    (!error.contains(&place)).then(|| format!("the line of the call is not named: {error}"))
}

#[test]
fn wrong_arguments_are_named_at_the_line_of_the_call() {
    let mut problems = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for (file, rows) in FAMILIES {
        for row in *rows {
            assert!(names.insert(row.name), "two rows are called {}", row.name);
            problems.extend(problem(file, row).map(|problem| format!("{}: {problem}", row.name)));
        }
    }
    assert!(problems.is_empty(), "{} of {}\n{}", problems.len(), names.len(), problems.join("\n"));
}
