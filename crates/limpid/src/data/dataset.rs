//! Rows of features, and what is to be learned of each.

use limpid_core::{DType, Error, Result, Tensor, eval};

use super::Batches;

/// What is learned of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Which of these classes it belongs to; targets are their numbers, i64.
    Classification {
        /// Names of the classes, by number.
        classes: Vec<String>,
    },
    /// Numbers; targets are f32 `[rows, columns]`.
    Regression {
        /// Names of the columns.
        columns: Vec<String>,
    },
}

impl Task {
    /// How many numbers a model has to give for a row: one for each class, or for each column.
    pub fn outputs(&self) -> usize {
        match self {
            Task::Classification { classes } => classes.len(),
            Task::Regression { columns } => columns.len(),
        }
    }
}

/// Rows of features `[rows, …]` (f32) with targets `[rows]` (i64 classes) or `[rows, columns]` (f32).
///
/// Everything in it was checked when it was made: it has a row at least, no feature is NaN or infinite, and every
/// class exists.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    features: Tensor,
    targets: Tensor,
    task: Task,
    columns: Vec<String>,
}

impl Dataset {
    /// Rows that belong to classes: `features` `[rows, …]`, `labels` `[rows]` from 0 to below `classes.len()`.
    ///
    /// # Errors
    /// No rows; another number of labels than rows; a feature that is NaN or infinite (its row and column are named);
    /// a label out of range (its row is named).
    pub fn classification(name: &str, features: Tensor, labels: Tensor, classes: Vec<String>) -> Result<Dataset> {
        let (features, labels) = (features.to_dtype(DType::F32), labels.to_dtype(DType::I64));
        check_rows(name, &features, &labels)?;
        if labels.rank() != 1 {
            return Err(Error::new(format!("{name}: labels have shape {}, not [rows]", labels.shape())));
        }
        let count = classes.len();
        let wrong = |&label: &i64| label < 0 || label as usize >= count;
        if let Some((row, label)) = labels.to_vec::<i64>()?.into_iter().enumerate().find(|(_, label)| wrong(label)) {
            let error = Error::new(format!("{name}: the label of row {row} is {label}, but there are {count} classes"));
            return Err(error.help(format!("labels from 0 to {}", count.saturating_sub(1))));
        }
        check_features(name, &features)?;
        Ok(Dataset::checked(name, features, labels, Task::Classification { classes }))
    }

    /// Rows with numbers to predict: `features` `[rows, …]`, `targets` `[rows]` or `[rows, columns]`.
    ///
    /// # Errors
    /// No rows; another number of targets than rows, or of names than columns; a number that is NaN or infinite.
    pub fn regression(name: &str, features: Tensor, targets: Tensor, columns: Vec<String>) -> Result<Dataset> {
        let (features, mut targets) = (features.to_dtype(DType::F32), targets.to_dtype(DType::F32));
        check_rows(name, &features, &targets)?;
        if targets.rank() == 1 {
            targets = targets.unsqueeze(-1);
        }
        if targets.rank() != 2 || targets.size(1) != columns.len() {
            let (shape, count) = (targets.shape(), columns.len());
            return Err(Error::new(format!("{name}: targets have shape {shape}, not [rows, {count}]")));
        }
        check_features(name, &features)?;
        check_finite(name, "target", &targets)?;
        Ok(Dataset::checked(name, features, targets, Task::Regression { columns }))
    }

    fn checked(name: &str, features: Tensor, targets: Tensor, task: Task) -> Dataset {
        Dataset { name: name.to_owned(), features, targets, task, columns: Vec::new() }
    }

    /// The same, with names for the columns of features.
    pub fn named_columns(mut self, columns: Vec<String>) -> Dataset {
        self.columns = columns;
        self
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The features, f32 `[rows, …]`.
    pub fn features(&self) -> &Tensor {
        &self.features
    }

    /// The targets: i64 `[rows]`, or f32 `[rows, columns]`.
    pub fn targets(&self) -> &Tensor {
        &self.targets
    }

    /// What is learned of a row.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Names of the columns of features; empty where they have none.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.features.size(0)
    }

    /// The shape of one row's features.
    pub fn row_shape(&self) -> &[usize] {
        self.features.shape().get(1..).unwrap_or(&[])
    }

    /// The class of each row, or an empty list where rows have none.
    pub(crate) fn labels(&self) -> Result<Vec<i64>> {
        match self.task {
            Task::Classification { .. } => self.targets.to_vec(),
            Task::Regression { .. } => Ok(Vec::new()),
        }
    }

    /// The rows at these positions, in this order.
    pub fn select(&self, rows: &[usize]) -> Dataset {
        let index = Tensor::from_vec(rows.iter().map(|&row| row as i64).collect(), [rows.len()]);
        let (features, targets) = (self.features.index_select(0, &index), self.targets.index_select(0, &index));
        // An error here is not lost: the first read meets it again.
        let _ = eval([&features, &targets]);
        Dataset { features, targets, ..self.clone() }
    }

    /// The same rows with other features, for example scaled ones.
    pub fn with_features(&self, features: Tensor) -> Dataset {
        Dataset { features, ..self.clone() }
    }

    /// The same, where every read returns `error`.
    pub(crate) fn failed(&self, error: Error) -> Dataset {
        let (features, targets) = (Tensor::failed(error.clone()), Tensor::failed(error));
        Dataset { features, targets, ..self.clone() }
    }

    /// Batches of `size` rows in order; the last one has what is left.
    pub fn batches(&self, size: usize) -> Batches<'_> {
        Batches::new(self, size)
    }
}

fn check_rows(name: &str, features: &Tensor, targets: &Tensor) -> Result<()> {
    if let Some(error) = features.error().or_else(|| targets.error()) {
        return Err(error);
    }
    if features.rank() == 0 || features.size(0) == 0 {
        return Err(
            Error::new(format!("{name}: the data set is empty: it has no rows")).help("data with a row at least")
        );
    }
    if targets.rank() == 0 || targets.size(0) != features.size(0) {
        let (rows, shape) = (features.size(0), targets.shape());
        return Err(Error::new(format!("{name}: {rows} rows of features, but targets of shape {shape}")));
    }
    Ok(())
}

fn check_features(name: &str, features: &Tensor) -> Result<()> {
    check_finite(name, "feature", features)
}

/// That no number is NaN or infinite; else an error with its row and column.
fn check_finite(name: &str, what: &str, values: &Tensor) -> Result<()> {
    let numbers = values.to_vec::<f32>()?;
    let Some(at) = numbers.iter().position(|x| !x.is_finite()) else { return Ok(()) };
    let width = (numbers.len() / values.size(0)).max(1);
    let (row, column, number) = (at / width, at % width, numbers[at]);
    let error = Error::new(format!("{name}: {what} {column} of row {row} is {number}"));
    Err(error.help("removing the row, or filling in a number"))
}
