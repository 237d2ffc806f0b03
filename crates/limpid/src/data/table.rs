//! Tables of numbers: a CSV file with a header, of which one column is the target.

use std::collections::BTreeSet;
use std::path::Path;

use limpid_core::{Error, Result, Tensor};
use limpid_io::csv::{self, Table};

use super::{Dataset, Task, file_error};

/// What a column of targets means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Texts, and whole numbers of few different values, are classes; else it is numbers.
    #[default]
    Auto,
    /// Each different text is a class.
    Classification,
    /// Numbers.
    Regression,
}

/// The most different whole numbers that [`Kind::Auto`] takes for classes.
const MOST_CLASSES: usize = 20;

/// Reads a table with a header: the column `target` is what is learned, all others are features and must be numbers,
/// but those in `ignore`.
///
/// Classes are numbered in the order of their names (of their values, where all are numbers), so that the order of
/// the rows does not matter.
///
/// # Errors
/// A file that can not be read; a row with more or fewer fields than the header; a text, NaN or nothing where a
/// number belongs (file, line, column); a column that is not there; a table without rows or without features; a
/// target with a single class.
pub fn read(path: &Path, target: &str, kind: Kind, ignore: &[String]) -> Result<Dataset> {
    let table = csv::read(path).map_err(file_error)?;
    let target_column = table.column(target).map_err(file_error)?;
    for name in ignore {
        table.column(name).map_err(file_error)?;
    }
    let columns: Vec<String> =
        table.header.iter().filter(|name| *name != target && !ignore.contains(name)).cloned().collect();
    let place = path.display();
    if columns.is_empty() {
        return Err(Error::new(format!("{place}: there is no column of features beside {target:?}")));
    }
    let features = features(&table, &columns)?;
    let texts: Vec<&str> = table.rows.iter().map(|row| row.fields[target_column].trim()).collect();
    let name = place.to_string();
    let data = if is_classification(kind, &texts) {
        let classes = classes(&table, target_column, target)?;
        let label = |text: &&str| classes.iter().position(|class| class == text).unwrap_or_default() as i64;
        let labels = Tensor::from_vec(texts.iter().map(label).collect::<Vec<i64>>(), [texts.len()]);
        Dataset::classification(&name, features, labels, classes)?
    } else {
        let numbers = table.numeric(&[target]).map_err(file_error)?;
        let targets = Tensor::from_vec(numbers.into_iter().map(|x| x as f32).collect(), [texts.len(), 1]);
        Dataset::regression(&name, features, targets, vec![target.to_owned()])?
    };
    Ok(data.named_columns(columns))
}

/// The columns of a table as features `[rows, columns]`, f32.
///
/// # Errors
/// A table without rows, a column that is not there, a field that is no finite number.
pub fn features(table: &Table, columns: &[String]) -> Result<Tensor> {
    if table.rows.is_empty() {
        let error = Error::new(format!("{}: the data set is empty: it has no rows", table.path.display()));
        return Err(error.help("rows of numbers below the header"));
    }
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let numbers = table.numeric(&names).map_err(file_error)?;
    Ok(Tensor::from_vec(numbers.into_iter().map(|x| x as f32).collect::<Vec<f32>>(), [table.rows.len(), columns.len()]))
}

/// The targets of a table as the numbers that a model trained for `task` was taught, for an evaluation.
///
/// # Errors
/// A class that the model does not know, or a field that is no number (file, line, column).
pub fn targets(table: &Table, target: &str, task: &Task) -> Result<Tensor> {
    let column = table.column(target).map_err(file_error)?;
    let Task::Classification { classes } = task else {
        let numbers = table.numeric(&[target]).map_err(file_error)?;
        return Ok(Tensor::from_vec(numbers.into_iter().map(|x| x as f32).collect(), [table.rows.len(), 1]));
    };
    let mut labels = Vec::with_capacity(table.rows.len());
    for row in &table.rows {
        let text = row.fields[column].trim();
        let Some(label) = classes.iter().position(|class| class == text) else {
            let error = Error::new(format!("{}:{}: {text:?} is no class of the model", table.path.display(), row.line));
            let error = error.note(format!("in column {}, {target:?}", column + 1));
            return Err(error.help(format!("one of {}", classes.join(", "))));
        };
        labels.push(label as i64);
    }
    Ok(Tensor::from_vec(labels, [table.rows.len()]))
}

fn is_classification(kind: Kind, texts: &[&str]) -> bool {
    match kind {
        Kind::Classification => true,
        Kind::Regression => false,
        Kind::Auto => {
            let different: BTreeSet<&str> = texts.iter().copied().collect();
            let whole = different.iter().all(|text| text.parse::<i64>().is_ok());
            let numbers = different.iter().all(|text| text.parse::<f64>().is_ok());
            !numbers || (whole && different.len() <= MOST_CLASSES)
        }
    }
}

/// The different texts of the target column, in order.
fn classes(table: &Table, column: usize, target: &str) -> Result<Vec<String>> {
    let place = table.path.display();
    if let Some(row) = table.rows.iter().find(|row| row.fields[column].trim().is_empty()) {
        let error = Error::new(format!("{place}:{}: the target is empty", row.line));
        return Err(error
            .note(format!("in column {}, {target:?}", column + 1))
            .help("filling it in, or removing the row"));
    }
    let different: BTreeSet<&str> = table.rows.iter().map(|row| row.fields[column].trim()).collect();
    let mut classes: Vec<String> = different.into_iter().map(str::to_owned).collect();
    let number = |text: &String| text.parse::<f64>().ok();
    if classes.iter().all(|class| number(class).is_some()) {
        classes.sort_by(|a, b| number(a).partial_cmp(&number(b)).unwrap_or(std::cmp::Ordering::Equal));
    }
    if classes.len() < 2 {
        let error = Error::new(format!("{place}: the target {target:?} has a single class, {:?}", classes[0]));
        return Err(error.help("a target with two classes at least"));
    }
    Ok(classes)
}
