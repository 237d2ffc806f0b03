//! Connectionist temporal classification (Graves et al. 2006).

use limpid_kernels::{DType, Slice, ctc};
use smallvec::smallvec;

use crate::compound::{Compound, Fault, Io, call_many, call_one, result};
use crate::error::{Error, Result};
use crate::op::structure::loop_over;
use crate::op::{Backward, Grads, Saves, source};
use crate::region::Meta;
use crate::shape::Shape;
use crate::sugar::operators::Value;
use crate::tensor::Tensor;

/// Inputs: log-probabilities y `[steps, batch, classes]`, labels `[batch, longest]`, and the lengths of inputs and
/// targets `[batch]`, all i64 and checked. Results, in f64: −ln of the probability of the labels `[batch]`, and ln of
/// the forward variables α `[batch, steps, states]`, which the gradient needs. There are 2·longest + 1 states: a blank
/// before, between and behind the labels. All is computed in f64, whatever the type of y.
///
/// The gradient is that of a y that is a log-softmax, exp(y) − posterior, as in torch: with exp(y) it is the gradient
/// by what the log-softmax was taken of, and the log-softmax takes the added part out again.
#[derive(Debug)]
struct CtcLoss {
    blank: usize,
    zero_infinity: bool,
}

/// What both passes need of the labels: the class of each state as an index into y, and where a state may be entered
/// from two before.
struct States {
    class: Tensor,
    skip: Tensor,
    count: usize,
}

impl States {
    fn new(labels: &Tensor, blank: usize) -> States {
        let [batch, longest] = labels.dims();
        let blanks = labels.constant_like(blank as f64);
        // blank, label, blank, label, …, blank
        let class = Tensor::stack(&[&blanks, labels], 2).view([batch, 2 * longest]);
        let class = class.pad(1, 0, 1, blank as i64);
        let earlier = shifted(&class, 2, -1);
        let label = (class.index_along(1) % 2).eq(1);
        let skip = label.logical_and(&class.ne(&earlier)).logical_and(&class.index_along(1).ge(2));
        States { class, skip, count: 2 * longest + 1 }
    }

    /// y at each state: `[steps, batch, states]`.
    fn emitted(&self, y: &Tensor) -> Tensor {
        let [steps, batch, _] = y.dims();
        y.gather(2, &self.class.unsqueeze(0).expand_to(&Shape::from([steps, batch, self.count])))
    }
}

fn none(like: &Tensor) -> Tensor {
    like.constant_like(f64::NEG_INFINITY)
}

/// ln Σ exp over tensors of one shape, with a gradient of 0 where all are −∞.
fn log_sum(terms: &[Tensor]) -> Tensor {
    let most = terms[1..].iter().fold(terms[0].clone(), |most, t| most.maximum(t)).detach();
    let dead = most.eq(none(&most));
    let shift = most.zeros_like().where_(&dead, &most);
    let sum = terms.iter().map(|t| (t - &shift).exp()).reduce(|a, b| a + b).expect("terms");
    none(&sum).where_(&dead, sum.constant_like(1.0).where_(&dead, &sum).log() + shift)
}

/// Moved by `by` states towards the end (or the beginning), with `fill` coming in.
fn shifted(x: &Tensor, by: isize, fill: impl Into<Value>) -> Tensor {
    let most = x.size(1) as isize;
    let by = by.clamp(-most, most);
    x.pad(1, by, -by, fill)
}

/// [`shifted`] with −∞ coming in.
fn moved(x: &Tensor, by: isize) -> Tensor {
    shifted(x, by, f64::NEG_INFINITY)
}

/// Whether step `t` (one number) is within each sample's input: `[batch, 1]`.
fn within(t: &Tensor, lengths: &Tensor) -> Tensor {
    t.lt(lengths).unsqueeze(1)
}

impl Compound for CtcLoss {
    fn name(&self) -> &'static str {
        "ctc_loss"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.extend([self.blank as u64, u64::from(self.zero_infinity)]);
    }

    fn results(&self) -> usize {
        2
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let ([steps, batch, _], longest) = (sizes(&inputs[0].0), inputs[1].0[1]);
        let alpha = Shape::from([batch, steps, 2 * longest + 1]);
        vec![(Shape::from([batch]), DType::F64), (alpha, DType::F64)]
    }

    /// αₜ(s) = (αₜ₋₁(s) + αₜ₋₁(s−1) + [skip] αₜ₋₁(s−2))·yₜ(s), in logarithms, from all in the first blank.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let y = inputs[0].to_dtype(DType::F64);
        let (labels, lengths, targets) = (&inputs[1], &inputs[2], &inputs[3]);
        let [steps, batch, _] = y.dims();
        let states = States::new(labels, self.blank);
        let steps_at = source::iota(Shape::from([steps]), 0);
        let first = source::iota(Shape::from([batch, states.count]), 1).to_dtype(DType::F64);
        let first = none(&first).where_(&first.gt(0.0), first.zeros_like());
        let (last, alpha) = loop_over(&[first], &[states.emitted(&y), steps_at.clone()], |carry, step| {
            let (before, y) = (&carry[0], &step[0]);
            let leap = moved(before, 2).where_(&states.skip, none(before));
            let now = log_sum(&[before.clone(), moved(before, 1), leap]) + y;
            let now = now.where_(&within(&step[1], lengths), before);
            (vec![now.clone()], vec![now])
        });
        // The last blank, and the last label where there is one.
        let end = (targets * 2).unsqueeze(1);
        let blank = last[0].gather(1, &end);
        let label = last[0].gather(1, &(&end - 1).clamp_min(0));
        let label = label.where_(&end.gt(0), none(&label));
        let nll = -log_sum(&[blank, label]).squeeze(1);
        // 0, with the gradient exp(y).
        let power = y.exp();
        let zero = (&power - power.detach()).sum(-1).t();
        let counted = steps_at.unsqueeze(0).lt(lengths.unsqueeze(1));
        vec![nll + zero.where_(&counted, 0.0).sum(-1), alpha[0].transpose(0, 1)]
    }

    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        // A gradient of α arises only in second derivatives: then the body serves.
        let g = b.grads[0].as_ref().filter(|_| b.grads[1].is_none())?;
        let (nll, alpha) = (result(b, 0), result(b, 1));
        let compound = CtcLossGrad { blank: self.blank, zero_infinity: self.zero_infinity };
        let gy = call_one(compound, &[&b.inputs[0], &b.inputs[1], &b.inputs[2], &b.inputs[3], &nll, &alpha, g]);
        Some(smallvec![Some(gy.transpose(0, 1)), None, None, None])
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let sizes = kernel_sizes(io, self.blank);
        let targets = kernel_targets(&io.inputs);
        let y = io.inputs[0];
        let [nll, alpha] = &mut io.outputs[..] else { unreachable!("two results") };
        sizes.losses(io.cpu, y, targets, nll.reborrow(), alpha.reborrow());
        Ok(())
    }
}

fn sizes(shape: &Shape) -> [usize; 3] {
    [shape[0], shape[1], shape[2]]
}

fn kernel_sizes(io: &Io<'_>, blank: usize) -> ctc::Ctc {
    let [steps, batch, classes] = sizes(&io.shapes[0]);
    ctc::Ctc { steps, batch, classes, longest: io.shapes[1][1], blank }
}

fn kernel_targets<'a>(inputs: &[Slice<'a>]) -> ctc::Targets<'a> {
    ctc::Targets { labels: inputs[1].get(), input_lengths: inputs[2].get(), target_lengths: inputs[3].get() }
}

/// The gradient of [`CtcLoss`] by y, `[batch, steps, classes]`, from its inputs and results and the gradient g of each
/// loss: g·(exp(y) − posterior).
#[derive(Debug)]
struct CtcLossGrad {
    blank: usize,
    zero_infinity: bool,
}

impl Compound for CtcLossGrad {
    fn name(&self) -> &'static str {
        "ctc_loss_grad"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.extend([self.blank as u64, u64::from(self.zero_infinity)]);
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let [steps, batch, classes] = sizes(&inputs[0].0);
        vec![(Shape::from([batch, steps, classes]), inputs[0].1)]
    }

    /// βₜ(s) = (βₜ₊₁(s)·yₜ₊₁(s) + …(s+1) + [skip] …(s+2)), in logarithms, to all in the last blank; αₜ(s)·βₜ(s) is the
    /// probability of all ways through state s at step t.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let y = inputs[0].to_dtype(DType::F64);
        let (labels, lengths, targets) = (&inputs[1], &inputs[2], &inputs[3]);
        let (nll, alpha, g) = (&inputs[4], &inputs[5], &inputs[6]);
        let [steps, batch, classes] = y.dims();
        let states = States::new(labels, self.blank);
        let steps_at = source::iota(Shape::from([steps]), 0);
        let place = source::iota(Shape::from([batch, states.count]), 1);
        let end = place.eq((targets * 2).unsqueeze(1).expand_to(place.shape()));
        let last = place.to_dtype(DType::F64).zeros_like();
        let last = last.where_(&end, none(&last));
        let rows = [states.emitted(&y).flip(0), steps_at.flip(0)];
        let leap_from = shifted(&states.skip.to_dtype(DType::I64), -2, 0).ne(0);
        let (_, beta) = loop_over(&[last], &rows, |carry, step| {
            let (after, y) = (&carry[0], &step[0]);
            let leap = moved(after, -2).where_(&leap_from, none(after));
            let now = log_sum(&[after.clone(), moved(after, -1), leap]);
            let on = (&now + y).where_(&within(&step[1], lengths), after);
            (vec![on], vec![now])
        });
        let beta = beta[0].flip(0).transpose(0, 1);
        let share = (alpha + beta + nll.view([batch, 1, 1])).exp();
        let class = states.class.unsqueeze(1).expand_to(share.shape());
        let power = y.exp().transpose(0, 1);
        let posterior = Tensor::zeros_of([batch, steps, classes], DType::F64).scatter_add(2, &class, &share);
        let counted = steps_at.unsqueeze(0).lt(lengths.unsqueeze(1)).unsqueeze(2);
        let infinite = nll.isinf().view([batch, 1, 1]);
        let lost = if self.zero_infinity { 0.0 } else { f64::NAN };
        let gy = (power - posterior) * g.view([batch, 1, 1]);
        let gy = gy.constant_like(lost).where_(&infinite, gy);
        vec![gy.where_(&counted, gy.zeros_like()).to_dtype(inputs[0].dtype())]
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let sizes = kernel_sizes(io, self.blank);
        let targets = kernel_targets(&io.inputs);
        let [nll, alpha, g] = [4, 5, 6].map(|i| io.inputs[i].get::<f64>());
        let from = ctc::Losses { nll, alpha, g, zero_infinity: self.zero_infinity };
        sizes.gradients(io.cpu, io.inputs[0], targets, from, io.outputs[0].reborrow());
        Ok(())
    }
}

impl Tensor {
    /// −ln of the probability that log-probabilities self `[steps, batch, classes]` give to the labels of each sample
    /// `[batch, longest]`, over all ways to spell them with repetitions and blanks: `[batch]`. It is infinite where the
    /// input is too short for its labels, and then 0 with `zero_infinity`. Integers are i64, `input_lengths` and
    /// `target_lengths` `[batch]`; labels behind a target's length do not count. Computed in f64; the gradient is
    /// that of a self that is a log-softmax, as in torch.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// // Two steps, one label: "1 blank", "blank 1" and "1 1".
    /// let y = Tensor::from([[[0.5f64, 0.5]], [[0.5, 0.5]]]).log();
    /// let (two, one) = (Tensor::from([2i64]), Tensor::from([1i64]));
    /// let loss = y.ctc_losses(&Tensor::from([[1i64]]), &two, &one, 0, false).item()?;
    /// assert!((loss + 0.75f64.ln()).abs() < 1e-12);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: shapes and types that do not fit, lengths, labels and a blank out of range.
    #[track_caller]
    pub fn ctc_losses(
        &self,
        labels: &Tensor,
        input_lengths: &Tensor,
        target_lengths: &Tensor,
        blank: usize,
        zero_infinity: bool,
    ) -> Tensor {
        let inputs = [self, labels, input_lengths, target_lengths];
        let batch = self.shape().get(1).copied().unwrap_or(1);
        if let Some(what) = misfit(inputs, batch, blank) {
            let error = Error::new(format!("ctc_loss: {what}"));
            return Tensor::fail(error, &inputs, Shape::from([batch]), self.dtype());
        }
        let [steps, _, classes] = self.dims();
        let longest = labels.size(1);
        let what = format!("ctc_loss: an input length is not between 0 and {steps}, the number of steps");
        let input_lengths = input_lengths.check_within(0.0, steps as f64, &what);
        let what = format!("ctc_loss: a target length is not between 0 and {longest}, the number of labels");
        let target_lengths = target_lengths.check_within(0.0, longest as f64, &what);
        let counts = labels.index_along(1).lt(target_lengths.unsqueeze(1));
        let labels = labels.where_(&counts, blank as i64);
        let what = format!("ctc_loss: a label is not between 0 and {}, the last class", classes - 1);
        let labels = labels.check_within(0.0, (classes - 1) as f64, &what);
        let compound = CtcLoss { blank, zero_infinity };
        let losses = call_many(compound, &[self, &labels, &input_lengths, &target_lengths]).swap_remove(0);
        let losses = if zero_infinity { losses.masked_fill(&losses.eq(f64::INFINITY), 0.0) } else { losses };
        losses.to_dtype(self.dtype())
    }
}

fn misfit([y, labels, lengths, targets]: [&Tensor; 4], batch: usize, blank: usize) -> Option<String> {
    if y.rank() != 3 || !y.dtype().is_float() {
        return Some(format!("log-probabilities {} {} are not floats [steps, batch, classes]", y.dtype(), y.shape()));
    }
    if blank >= y.size(2) {
        return Some(format!("the blank is {blank}, there are {} classes", y.size(2)));
    }
    if labels.rank() != 2 || labels.size(0) != batch {
        return Some(format!("labels {} for a batch of {batch}, not [batch, longest]", labels.shape()));
    }
    let wrong = [("input", lengths), ("target", targets)].into_iter().find(|(_, t)| t.shape()[..] != [batch]);
    if let Some((name, t)) = wrong {
        return Some(format!("{name} lengths of shape {} for a batch of {batch}", t.shape()));
    }
    let other = [labels, lengths, targets].into_iter().find(|t| t.dtype() != DType::I64)?;
    Some(format!("labels and lengths are i64, one is {}", other.dtype()))
}
