//! Losses of sequences without an alignment.

use limpid_core::{DType, Tensor};

use super::{Reduction, no_batch_mean, refuse, setters};
use crate::Module;
use crate::nn::Lengths;

/// −log of the probability of each target over all its alignments with the input, divided by the target's length, the
/// mean over the batch: log-probabilities `[T, N, C]` (of a log-softmax) against labels, padded `[N, S]` or one after the
/// other `[Σ target_lengths]`; or `[T, C]` against `[S]`. Lengths are tensors of integers or lists. Graves et al. (2006).
/// Torch's `ctc_loss`, whose other arguments are setters of [`CTCLoss`].
///
/// ```
/// use limpid::prelude::*;
/// let log_probs = Tensor::zeros([50, 2, 20]).log_softmax(-1);
/// let targets = Tensor::from([[3i64, 5, 5], [7, 0, 0]]);
/// let loss = ctc_loss(&log_probs, &targets, [50, 40], [3, 1]);
/// assert!(loss.item()?.is_finite());
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn ctc_loss(
    log_probs: &Tensor,
    targets: &Tensor,
    input_lengths: impl Into<Lengths>,
    target_lengths: impl Into<Lengths>,
) -> Tensor {
    CTCLoss::new().forward(log_probs, targets, input_lengths, target_lengths)
}

/// As a tensor, which is not read.
#[track_caller]
fn tensor(lengths: Lengths) -> Tensor {
    match lengths {
        Lengths::Numbers(numbers) => Tensor::from(numbers),
        Lengths::Tensor(lengths) => lengths,
    }
}

/// See [`ctc_loss`]. Torch's `CTCLoss`.
///
/// A target that no alignment with its input can spell has an infinite loss and NaN as gradient, as in torch; with
/// `zero_infinity` both are 0. A length or label out of range is an error at the read.
#[derive(Clone, Debug, Default, Module)]
pub struct CTCLoss {
    /// The class that stands for no label.
    pub blank: usize,
    /// How the losses become one.
    #[module(skip)]
    pub reduction: Reduction,
    /// Whether infinite losses are 0.
    pub zero_infinity: bool,
}

impl CTCLoss {
    /// With the blank 0 and the mean, where infinite losses stay.
    pub fn new() -> CTCLoss {
        CTCLoss::default()
    }

    /// The loss of log-probabilities against labels.
    #[track_caller]
    pub fn forward(
        &self,
        log_probs: &Tensor,
        targets: &Tensor,
        input_lengths: impl Into<Lengths>,
        target_lengths: impl Into<Lengths>,
    ) -> Tensor {
        let (input_lengths, target_lengths) = (tensor(input_lengths.into()), tensor(target_lengths.into()));
        let inputs = [log_probs, targets, &input_lengths, &target_lengths];
        if let Some(what) = misfit(inputs) {
            return refuse("ctc_loss", what, &inputs);
        }
        let one = log_probs.rank() == 2;
        let y = if one { log_probs.unsqueeze(1) } else { log_probs.clone() };
        let count = y.size(1);
        let input_lengths = input_lengths.to_dtype(DType::I64).view([count]);
        let target_lengths = target_lengths.to_dtype(DType::I64).view([count]);
        let targets = targets.to_dtype(DType::I64);
        let (labels, lengths) = match (targets.rank(), one) {
            (1, false) => padded(&targets, &target_lengths, y.size(0)),
            (1, true) => (targets.unsqueeze(0), target_lengths.clone()),
            _ => (targets, target_lengths.clone()),
        };
        let losses = y.ctc_losses(&labels, &input_lengths, &lengths, self.blank, self.zero_infinity);
        match self.reduction {
            Reduction::None if one => losses.squeeze(0),
            Reduction::None => losses,
            Reduction::Sum => losses.sum(..),
            Reduction::Mean => (losses / target_lengths.clamp_min(1).to_dtype(y.dtype())).mean(..),
            Reduction::BatchMean => no_batch_mean("ctc_loss", &losses),
        }
    }
}

setters!(CTCLoss {
    /// With another class that stands for no label.
    blank: usize,
    /// With another reduction.
    reduction: Reduction,
    /// Whether infinite losses, and their gradients, are 0 (default: no).
    zero_infinity: bool,
});

fn misfit([y, targets, input_lengths, target_lengths]: [&Tensor; 4]) -> Option<String> {
    let (shape, own) = (y.shape(), targets.shape());
    if !(2..=3).contains(&shape.rank()) || !y.dtype().is_float() {
        return Some(format!("log-probabilities {} {shape} are not floats [T, N, C] or [T, C]", y.dtype()));
    }
    let count = if shape.rank() == 3 { shape[1] } else { 1 };
    let fits = own.rank() == 1 || own.rank() == 2 && own[0] == count;
    if !fits {
        return Some(format!("targets {own} for a batch of {count} are not [{count}, S] or one after the other"));
    }
    for (name, t) in [("targets", targets), ("input lengths", input_lengths), ("target lengths", target_lengths)] {
        if t.dtype().is_float() || t.dtype() == DType::Bool {
            return Some(format!("the {name} are {}, not integers", t.dtype()));
        }
    }
    let lengths = [("input", input_lengths), ("target", target_lengths)];
    let (name, t) = lengths.into_iter().find(|(_, t)| t.numel() != count || t.rank() > 1)?;
    Some(format!("{} {name} lengths for a batch of {count}", t.numel()))
}

/// Labels that stand one after the other as rows `[N, S]`, and how many of each row count. Where a target is longer than
/// all inputs its row is cut behind the first label too many: its loss is infinite all the same.
#[track_caller]
fn padded(targets: &Tensor, lengths: &Tensor, steps: usize) -> (Tensor, Tensor) {
    let (total, count) = (targets.numel(), lengths.numel());
    let last = lengths.index_along(0).eq(count as i64 - 1);
    let ends = lengths.cumsum(0);
    let fits = ends.eq(total as i64).logical_or(&last.logical_not()).logical_and(&lengths.ge(0));
    let what = format!("ctc_loss: the target lengths do not add up to the {total} labels that there are; their sums");
    let ends = ends.check(&fits, &what);
    let longest = total.min(steps + 1);
    if longest == 0 {
        return (Tensor::zeros_of([count, 0], DType::I64), ends);
    }
    let place = Tensor::zeros_of([count, longest], DType::I64).index_along(1) + (&ends - lengths).unsqueeze(1);
    let labels = targets.take(&place.clamp(0, total as i64 - 1));
    (labels, lengths.clamp_max(longest as i64))
}

#[cfg(test)]
mod tests {
    use limpid_core::Error;

    use super::*;

    #[test]
    fn labels_one_after_the_other_become_rows() -> Result<(), Error> {
        let (labels, lengths) = padded(&Tensor::from([1i64, 2, 3, 4]), &Tensor::from([3i64, 0, 1]), 2);
        let counts = labels.index_along(1).lt(lengths.unsqueeze(1));
        assert_eq!(labels.where_(&counts, 0).to_vec::<i64>()?, [1, 2, 3, 0, 0, 0, 4, 0, 0]);
        assert_eq!(lengths.to_vec::<i64>()?, [3, 0, 1]);
        Ok(())
    }
}
