//! How good a model is on rows that it need not have seen.

use limpid_core::{DType, Error, Result, Tensor, no_grad};

use super::{Confusion, Distance, Scores};
use crate::data::{Dataset, Task};
use crate::module::{Forward, Module};

/// Rows that are evaluated at once: enough for the kernels, few enough for the memory.
const ROWS: usize = 1024;

/// A loss of a model's output against targets, as one number.
pub type Loss = dyn Fn(&Tensor, &Tensor) -> Tensor;

/// What was measured on a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The mean loss of a row.
    pub loss: f64,
    /// The measures.
    pub scores: Scores,
}

/// The part of the rows of `data` that `model` gives the right class for, in evaluation mode and without recording
/// gradients. Where the targets are numbers it is R².
///
/// # Errors
/// Those that the model's output carries; an output that is not one number for each class.
///
/// ```
/// use limpid::prelude::*;
/// let model = Sequential::new().add(Linear::new(64, 10));
/// let digits = datasets::digits()?;
/// assert!((0.0..=1.0).contains(&accuracy(&model, &digits)?));
/// # Ok::<(), limpid::Error>(())
/// ```
pub fn accuracy<M: Forward + ?Sized>(model: &M, data: &Dataset) -> Result<f64> {
    Ok(evaluate(model, &|_, _| Tensor::zeros([]), data)?.scores.headline())
}

/// Loss and measures of `model` on `data`, in evaluation mode and without recording gradients. The model is in the
/// mode it was in when this returns.
///
/// # Errors
/// Those that the model's output carries; an output that has not a row for each row, and a number for each class
/// or column.
pub fn evaluate<M: Forward + ?Sized>(model: &M, loss: &Loss, data: &Dataset) -> Result<Evaluation> {
    in_eval_mode(model, || {
        let mut total = 0.0;
        let mut scores = match data.task() {
            Task::Classification { classes } => Scores::Classes(Confusion::new(classes.len())),
            Task::Regression { .. } => Scores::Numbers(Distance::default()),
        };
        for (x, y) in data.batches(ROWS.min(data.rows())) {
            let output = model.forward(&x);
            check_output(&output, x.size(0), data.task())?;
            let (loss, found) = (loss(&output, &y), predictions(&output, data.task()));
            limpid_core::eval([&loss, &found])?;
            total += loss.item()? * x.size(0) as f64;
            match &mut scores {
                Scores::Classes(confusion) => {
                    let (truth, found) = (y.to_vec::<i64>()?, found.to_vec::<i64>()?);
                    truth.into_iter().zip(found).for_each(|(truth, found)| confusion.add(truth, found));
                }
                Scores::Numbers(distance) => {
                    let (truth, found) = (y.to_vec::<f64>()?, found.to_vec::<f64>()?);
                    truth.into_iter().zip(found).for_each(|(truth, found)| distance.add(truth, found));
                }
            }
        }
        Ok(Evaluation { loss: total / data.rows() as f64, scores })
    })
}

/// What `output` says: the class of each row (i64 `[rows]`), the largest of its numbers or, where there is one
/// number for two classes, whether it is over 0; for numbers the output itself.
pub fn predictions(output: &Tensor, task: &Task) -> Tensor {
    match task {
        Task::Regression { .. } => output.clone(),
        Task::Classification { .. } if output.size(-1) == 1 => output.gt(0.0).to_dtype(DType::I64).squeeze(-1),
        Task::Classification { .. } => output.argmax(-1),
    }
}

/// Runs `f` with `model` in evaluation mode, without recording gradients.
pub fn in_eval_mode<M: Module + ?Sized, R>(model: &M, f: impl FnOnce() -> R) -> R {
    let training = model.is_training();
    model.eval();
    let result = no_grad(f);
    if training {
        model.train();
    }
    result
}

/// That a model's output has a row for each row, and what the task needs of each.
pub(crate) fn check_output(output: &Tensor, rows: usize, task: &Task) -> Result<()> {
    if let Some(error) = output.error() {
        return Err(error);
    }
    let (shape, wanted) = (output.shape(), task.outputs());
    let one_for_two = wanted == 2 && matches!(task, Task::Classification { .. });
    if shape.rank() == 2 && shape[0] == rows && (shape[1] == wanted || (one_for_two && shape[1] == 1)) {
        return Ok(());
    }
    let what = match task {
        Task::Classification { .. } => "a number for each class",
        Task::Regression { .. } => "a number for each column of the target",
    };
    let error = Error::new(format!("the model gives {shape} for {rows} rows, not [{rows}, {wanted}]: {what}"));
    Err(error.help(format!("a last layer with {wanted} outputs")))
}
