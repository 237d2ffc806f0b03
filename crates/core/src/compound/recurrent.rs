//! Recurrent networks: one layer in one direction over a whole sequence (Elman 1990; Hochreiter and Schmidhuber 1997;
//! Cho et al. 2014).
//!
//! What depends on the input alone, W_ih·x + b, is one matrix product over all steps before the loop; the gradients of
//! the weights are products over all steps behind it. Only W_hh·h is left in the loop.

use limpid_kernels::fused::ReduceFn;
use limpid_kernels::recurrent as kernel;
use limpid_kernels::{DType, Number, SliceMut};
use smallvec::smallvec;

use crate::compound::recurrent_grad::RecurrentGrad;
use crate::compound::{Compound, Fault, Io, call_many, result};
use crate::error::Result;
use crate::op::contract::{dot, transpose};
use crate::op::elementwise::select;
use crate::op::movement::{broadcast, concat, reshape, slice};
use crate::op::structure::run_loop;
use crate::op::{Backward, Grads, reduce, source};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// What a step of a recurrent layer computes from x, the hidden state h and, in an LSTM, the cell c. σ is the sigmoid,
/// ⊙ the product of elements; W·x and W·h each have their bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecurrentCell {
    /// h' = tanh(W_ih·x + W_hh·h)
    Tanh,
    /// h' = max(0, W_ih·x + W_hh·h)
    Relu,
    /// i, f, g, o from the four blocks of W_ih·x + W_hh·h: σ, σ, tanh, σ. c' = f⊙c + i⊙g, h' = o⊙tanh(c'), then
    /// W_hr·h' where there is a projection.
    Lstm,
    /// r, z by σ from the first two blocks of W_ih·x + W_hh·h, n = tanh(W_in·x + r⊙(W_hn·h)) from the third,
    /// h' = (1 − z)⊙n + z⊙h.
    Gru,
}

impl RecurrentCell {
    /// Blocks of the weights.
    pub fn gates(self) -> usize {
        match self {
            RecurrentCell::Tanh | RecurrentCell::Relu => 1,
            RecurrentCell::Lstm => 4,
            RecurrentCell::Gru => 3,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            RecurrentCell::Tanh | RecurrentCell::Relu => "rnn",
            RecurrentCell::Lstm => "lstm",
            RecurrentCell::Gru => "gru",
        }
    }

    /// Carried values: h, and of an LSTM c.
    pub(crate) fn states(self) -> usize {
        if self == RecurrentCell::Lstm { 2 } else { 1 }
    }
}

/// What is done to a gate or a cell of all steps, `[T, N, H]`.
#[derive(Clone, Debug)]
pub enum RecurrentEdit {
    /// It is added to what the step computes.
    Add(Tensor),
    /// It stands in its place.
    Set(Tensor),
}

/// The loop over the steps. Inputs, in this order: W_ih·x + b of all steps [T, N, G·H], W_hh [G·H, R], h₀ [N, R]; c₀ [N, H]
/// of an LSTM; b_hh [3·H] of a GRU with biases; W_hr [R, H] where `projected`; the length of each sequence [N] (i64)
/// where `lengths`. R is H without a projection.
///
/// Results: h of all steps [T, N, R], the last h, the last c of an LSTM; and where `saved` what the gradient reads: the
/// gates of all steps [T, N, G·H] with c of all steps (LSTM) or W_hn·h + b_hn of all steps (GRU). Behind the end of a
/// sequence its state stays what it was, and what is stacked is 0. A reverse loop begins at the end of each sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recurrent {
    pub(crate) cell: RecurrentCell,
    pub(crate) reverse: bool,
    pub(crate) bias: bool,
    pub(crate) projected: bool,
    pub(crate) lengths: bool,
    pub(crate) saved: bool,
}

/// The inputs by name.
struct Inputs<'a> {
    x: &'a Tensor,
    w: &'a Tensor,
    /// h₀, and c₀ of an LSTM.
    states: &'a [Tensor],
    bias: Option<&'a Tensor>,
    projection: Option<&'a Tensor>,
    lengths: Option<&'a Tensor>,
}

/// One for each place of a batch where its sequence has such a step: [T, N] bool.
pub(crate) fn active(lengths: &Tensor, steps: usize) -> Tensor {
    let shape = Shape::from([steps, lengths.numel()]);
    source::iota(shape.clone(), 0).lt(broadcast(lengths, &shape))
}

/// `value` where the row's sequence goes on, else `other`; all as they are where there is no mask.
pub(crate) fn going_on(mask: Option<&Tensor>, value: Tensor, other: &Tensor) -> Tensor {
    match mask {
        None => value,
        Some(mask) => {
            let column = reshape(mask, Shape::from([mask.numel(), 1]));
            select(&broadcast(&column, value.shape()), &value, other)
        }
    }
}

/// Block `i` of `width` columns on the last axis.
pub(crate) fn block(x: &Tensor, i: usize, width: usize) -> Tensor {
    slice(x, x.rank() - 1, (i * width) as i64, 1, width)
}

/// 1 − x
pub(crate) fn rest(x: &Tensor) -> Tensor {
    x.constant_like(1.0) - x
}

/// The state before each step, from the states behind all steps and the first one.
pub(crate) fn before(states: &Tensor, first: &Tensor, lengths: Option<&Tensor>, reverse: bool) -> Tensor {
    let steps = states.shape()[0];
    let row = reshape(first, first.shape().inserted(0, 1));
    if !reverse {
        return concat(&[&row, &slice(states, 0, 0, 1, steps - 1)], 0);
    }
    let shifted = concat(&[&slice(states, 0, (steps > 1).into(), 1, steps - 1), &row], 0);
    let Some(lengths) = lengths else { return shifted };
    // The last step of a shorter sequence follows on the first state too.
    let next = slice(&active(lengths, steps + 1), 0, 1, 1, steps);
    let mask = broadcast(&reshape(&next, next.shape().inserted(2, 1)), states.shape());
    select(&mask, &shifted, &broadcast(&row, states.shape()))
}

/// Σ_t g[t]ᵀ·h[t − 1], as products over all steps: the gradient of W in W·h.
fn weight_gradient(g: &Tensor, states: &Tensor, first: &Tensor, lengths: Option<&Tensor>, reverse: bool) -> Tensor {
    let steps = g.shape()[0];
    let rows = |x: &Tensor| {
        let last = x.shape()[x.rank() - 1];
        reshape(x, Shape::from([x.shape().iter().rev().skip(1).product(), last]))
    };
    let product = |g: &Tensor, h: &Tensor| dot(&transpose(&rows(g)), &rows(h));
    if steps == 1 {
        return product(g, first);
    }
    if reverse && lengths.is_some() {
        return product(g, &before(states, first, lengths, reverse));
    }
    let part = |x: &Tensor, start: usize, len: usize| slice(x, 0, start as i64, 1, len);
    let (later, earlier) = if reverse { (0, 1) } else { (1, 0) };
    let inner = product(&part(g, later, steps - 1), &part(states, earlier, steps - 1));
    inner + product(&part(g, if reverse { steps - 1 } else { 0 }, 1), first)
}

impl Recurrent {
    fn inputs<'a>(&self, inputs: &'a [Tensor]) -> Inputs<'a> {
        let states = self.cell.states();
        let mut more = inputs[2 + states..].iter();
        let mut next = |there: bool| there.then(|| more.next().expect("given by the constructor"));
        Inputs {
            x: &inputs[0],
            w: &inputs[1],
            states: &inputs[2..2 + states],
            bias: next(self.bias),
            projection: next(self.projected),
            lengths: next(self.lengths),
        }
    }

    /// The sizes, from the shapes of the part of the input and of the weights.
    pub(crate) fn layer(&self, x: &Shape, w: &Shape) -> kernel::Layer {
        let kind = match self.cell {
            RecurrentCell::Tanh => kernel::Kind::Tanh,
            RecurrentCell::Relu => kernel::Kind::Relu,
            RecurrentCell::Lstm => kernel::Kind::Lstm,
            RecurrentCell::Gru => kernel::Kind::Gru,
        };
        let hidden = w[0] / self.cell.gates();
        kernel::Layer { kind, steps: x[0], batch: x[1], hidden, state: w[1], reverse: self.reverse }
    }

    /// The next states from the part of the input and W_hh·h + b_hh, and what the gradient reads. Every gate, and then the
    /// cell of an LSTM, is what `edit` makes of its number and value.
    fn step(
        &self,
        x: &Tensor,
        h: &Tensor,
        states: &[Tensor],
        projection: Option<&Tensor>,
        edit: &dyn Fn(usize, Tensor) -> Tensor,
    ) -> (Vec<Tensor>, Vec<Tensor>) {
        let width = x.shape()[1] / self.cell.gates();
        match self.cell {
            RecurrentCell::Tanh => (vec![(x + h).tanh()], vec![]),
            RecurrentCell::Relu => (vec![(x + h).relu()], vec![]),
            RecurrentCell::Lstm => {
                let sum = x + h;
                let (i, f) = (edit(0, block(&sum, 0, width).sigmoid()), edit(1, block(&sum, 1, width).sigmoid()));
                let (g, o) = (edit(2, block(&sum, 2, width).tanh()), edit(3, block(&sum, 3, width).sigmoid()));
                let c = edit(4, &f * &states[1] + &i * &g);
                let mut next = &o * c.tanh();
                if let Some(w) = projection {
                    next = dot(&next, &transpose(w));
                }
                (vec![next, c.clone()], vec![concat(&[&i, &f, &g, &o], 1), c])
            }
            RecurrentCell::Gru => {
                let both = slice(x, 1, 0, 1, 2 * width) + slice(h, 1, 0, 1, 2 * width);
                let (r, z) = (edit(0, block(&both, 0, width).sigmoid()), edit(1, block(&both, 1, width).sigmoid()));
                let hidden = block(h, 2, width);
                let n = edit(2, (block(x, 2, width) + &r * &hidden).tanh());
                let next = rest(&z) * &n + &z * &states[0];
                (vec![next], vec![concat(&[&r, &z, &n], 1), hidden])
            }
        }
    }

    /// All steps in primitives, with changes of gates and cells by their number.
    pub(crate) fn steps(&self, inputs: &[Tensor], edits: &[(usize, RecurrentEdit)]) -> Vec<Tensor> {
        let given = self.inputs(inputs);
        let steps = given.x.shape()[0];
        let w = transpose(given.w);
        let mask = given.lengths.map(|lengths| active(lengths, steps));
        let changed = edits.iter().map(|(_, edit)| match edit {
            RecurrentEdit::Add(t) | RecurrentEdit::Set(t) => t.clone(),
        });
        let rows: Vec<Tensor> = std::iter::once(given.x.clone()).chain(mask).chain(changed).collect();
        let (mut last, mut stacks) = run_loop(given.states, &rows, None, steps, self.reverse, |states, row| {
            let (mask, changed) = row[1..].split_at(usize::from(self.lengths));
            let edit = |gate: usize, value: Tensor| {
                let all = edits.iter().zip(changed).filter(|((number, _), _)| *number == gate);
                all.fold(value, |value, ((_, edit), t)| match edit {
                    RecurrentEdit::Add(_) => value + t,
                    RecurrentEdit::Set(_) => t.clone(),
                })
            };
            let mut h = dot(&states[0], &w);
            if let Some(bias) = given.bias {
                h = &h + broadcast(bias, h.shape());
            }
            let (next, saved) = self.step(&row[0], &h, states, given.projection, &edit);
            let stacks = std::iter::once(next[0].clone()).chain(saved.into_iter().filter(|_| self.saved));
            let stacks = stacks.map(|t| {
                let zeros = t.zeros_like();
                going_on(mask.first(), t, &zeros)
            });
            let stacks = stacks.collect();
            (next.into_iter().zip(states).map(|(t, old)| going_on(mask.first(), t, old)).collect(), stacks)
        });
        let mut results = vec![stacks.remove(0)];
        results.append(&mut last);
        results.append(&mut stacks);
        results
    }
}

impl Compound for Recurrent {
    fn name(&self) -> &'static str {
        self.cell.name()
    }

    fn key(&self, key: &mut Vec<u64>) {
        let flags = [self.reverse, self.bias, self.projected, self.lengths, self.saved];
        let flags = flags.iter().enumerate().map(|(i, &flag)| u64::from(flag) << i).sum::<u64>();
        key.push(flags | (self.cell as u64) << 8);
    }

    fn results(&self) -> usize {
        1 + self.cell.states() + if self.saved && self.cell.gates() > 1 { 2 } else { 0 }
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (x, dtype) = &inputs[0];
        let states = self.cell.states();
        let mut metas = vec![(inputs[2].0.inserted(0, x[0]), *dtype)];
        metas.extend(inputs[2..2 + states].iter().cloned());
        if self.results() > 1 + states {
            metas.push((x.clone(), *dtype));
            metas.push((x.with(2, x[2] / self.cell.gates()), *dtype));
        }
        metas
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        self.steps(inputs, &[])
    }

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        matches!(inputs[0].1, DType::F32 | DType::F64)
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let lstm = self.cell == RecurrentCell::Lstm;
        let mut more = io.inputs[3..].iter().copied();
        let mut next = |there: bool| if there { more.next() } else { None };
        let inputs = kernel::Inputs {
            x: io.inputs[0],
            w: io.inputs[1],
            h: io.inputs[2],
            c: next(lstm),
            bias: next(self.bias),
            projection: next(self.projected),
            lengths: next(self.lengths),
        };
        let layer = self.layer(&io.shapes[0], &io.shapes[1]);
        let mut results = io.outputs.iter_mut().map(SliceMut::reborrow);
        let mut next = || results.next().expect("a result");
        let (y, h) = (next(), next());
        let c = lstm.then(&mut next);
        let (gates, second) = (results.next(), results.next());
        kernel::forward(io.cpu, &layer, &inputs, kernel::Outputs { y, h, c, gates, second });
        Ok(())
    }

    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let states = self.cell.states();
        // Gradients of what is saved arise only in second derivatives: then the body serves.
        if (self.cell.gates() > 1 && !self.saved) || b.grads[1 + states..].iter().any(Option::is_some) {
            return None;
        }
        let given = self.inputs(b.inputs);
        let metas = self.metas(&b.inputs.iter().map(|t| (t.shape().clone(), t.dtype())).collect::<Vec<_>>());
        let arrived = |i: usize| {
            let zero = || source::constant_of(Number::Float(0.0), metas[i].1, metas[i].0.clone());
            b.grads[i].clone().unwrap_or_else(zero)
        };
        let y = result(b, 0);
        let mut inputs = match self.cell {
            RecurrentCell::Tanh | RecurrentCell::Relu => vec![y.clone()],
            RecurrentCell::Lstm => vec![result(b, 3), result(b, 4), given.states[1].clone()],
            RecurrentCell::Gru => vec![result(b, 2), result(b, 3), y.clone(), given.states[0].clone()],
        };
        inputs.push(given.w.clone());
        inputs.extend((0..=states).map(arrived));
        inputs.extend(given.projection.cloned());
        inputs.extend(given.lengths.cloned());
        let found = call_many(RecurrentGrad(*self), &inputs.iter().collect::<Vec<_>>());
        let mut more = found[1 + states..].iter();
        let over_rows = |x: &Tensor| {
            let sum = reduce::reduce(ReduceFn::Sum, x, &smallvec![0, 1]);
            reshape(&sum, Shape::from([x.shape()[2]]))
        };
        let by_weights = |g: &Tensor| weight_gradient(g, &y, &given.states[0], given.lengths, self.reverse);
        // W_hn·h + b_hn has a gradient of its own, the other gates that of the part of the input.
        let third = if self.cell == RecurrentCell::Gru { more.next() } else { None };
        let both = |f: &dyn Fn(&Tensor) -> Tensor| match third {
            Some(third) => concat(&[&f(&slice(&found[0], 2, 0, 1, 2 * third.shape()[2])), &f(third)], 0),
            None => f(&found[0]),
        };
        let mut grads: Grads = smallvec![Some(found[0].clone()), b.needs[1].then(|| both(&by_weights))];
        grads.extend(found[1..1 + states].iter().cloned().map(Some));
        grads.extend(given.bias.map(|_| Some(both(&over_rows))));
        if let Some(w) = given.projection {
            let g = more.next().expect("its result");
            let width = w.shape()[1];
            let unprojected = block(&result(b, 3), 3, width) * result(b, 4).tanh();
            let rows = |x: &Tensor| reshape(x, Shape::from([x.shape()[0] * x.shape()[1], x.shape()[2]]));
            grads.push(Some(dot(&transpose(&rows(g)), &rows(&unprojected))));
        }
        grads.extend(given.lengths.map(|_| None));
        Some(grads)
    }
}
