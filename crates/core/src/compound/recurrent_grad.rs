//! The gradient of a recurrent layer: a loop the other way over what the forward loop has saved.

use crate::compound::{Compound, Fault, Io};
use crate::error::Result;
use limpid_kernels::recurrent as kernel;
use limpid_kernels::{DType, SliceMut};

use crate::compound::recurrent::{Recurrent, RecurrentCell, active, before, block, going_on, rest};
use crate::op::contract::dot;
use crate::op::movement::concat;
use crate::op::structure::run_loop;
use crate::region::Meta;
use crate::tensor::Tensor;

/// Inputs: what was saved (RNN: h of all steps; LSTM: gates, cells, c₀; GRU: gates, W_hn·h + b_hn, h of all steps, h₀), W_hh, the
/// gradients of h of all steps, of the last h and of the last c of an LSTM; W_hr where there is a projection; the
/// lengths where there are some.
///
/// Results: the gradients of the part of the input [T, N, G·H], of h₀, of c₀ of an LSTM; then of W_hn·h + b_hn in all steps
/// of a GRU (its other gates have the gradients of the part of the input), and of h behind the projection in all steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecurrentGrad(pub(crate) Recurrent);

/// The inputs by name.
struct Inputs<'a> {
    saved: &'a [Tensor],
    w: &'a Tensor,
    /// The gradient of h of all steps.
    y: &'a Tensor,
    /// The gradients of the last states.
    last: &'a [Tensor],
    projection: Option<&'a Tensor>,
    lengths: Option<&'a Tensor>,
}

impl RecurrentGrad {
    /// How many inputs were saved.
    fn saved(&self) -> usize {
        match self.0.cell {
            RecurrentCell::Tanh | RecurrentCell::Relu => 1,
            RecurrentCell::Lstm => 3,
            RecurrentCell::Gru => 4,
        }
    }

    fn inputs<'a>(&self, inputs: &'a [Tensor]) -> Inputs<'a> {
        let (saved, states) = (self.saved(), self.0.cell.states());
        let at = saved + 2 + states;
        Inputs {
            saved: &inputs[..saved],
            w: &inputs[saved],
            y: &inputs[saved + 1],
            last: &inputs[saved + 2..at],
            projection: self.0.projected.then(|| &inputs[at]),
            lengths: self.0.lengths.then(|| &inputs[at + usize::from(self.0.projected)]),
        }
    }

    /// The gradients of one step: of the part of the input, of W_hh·h + b_hh, and of the old states as far as no
    /// product is in them. `dh` is the gradient of the new h (before the projection), `dc` of the new c.
    fn step(&self, saved: &[Tensor], dh: &Tensor, dc: Option<&Tensor>) -> (Tensor, Tensor, Option<Tensor>) {
        match self.0.cell {
            // tanh' = 1 − h² ; relu' = [h > 0]
            RecurrentCell::Tanh => {
                let g = dh * rest(&(&saved[0] * &saved[0]));
                (g.clone(), g, None)
            }
            RecurrentCell::Relu => {
                let zero = dh.zeros_like();
                let g = dh.where_(&saved[0].gt(&zero), &zero);
                (g.clone(), g, None)
            }
            // do = dh⊙tanh c ; dc += dh⊙o⊙(1 − tanh² c) ; di = dc⊙g ; df = dc⊙c₋₁ ; dg = dc⊙i ; dc₋₁ = dc⊙f, each
            // of the gates times σ' = s(1 − s) or tanh' = 1 − t².
            RecurrentCell::Lstm => {
                let width = dh.shape()[1];
                let [i, f, g, o] = [0, 1, 2, 3].map(|k| block(&saved[0], k, width));
                let (c, old) = (saved[1].tanh(), &saved[2]);
                let dc = dc.expect("an LSTM carries it") + dh * &o * rest(&(&c * &c));
                let di = &dc * &g * (&i * rest(&i));
                let df = &dc * old * (&f * rest(&f));
                let dg = &dc * &i * rest(&(&g * &g));
                let d_o = dh * &c * (&o * rest(&o));
                let all = concat(&[&di, &df, &dg, &d_o], 1);
                (all.clone(), all, Some(dc * f))
            }
            // dn = dh⊙(1 − z)⊙(1 − n²) ; dz = dh⊙(h₋₁ − n)⊙z(1 − z) ; dr = dn⊙(W_hn·h + b)⊙r(1 − r) ; dh₋₁ = dh⊙z + …
            RecurrentCell::Gru => {
                let width = dh.shape()[1];
                let [r, z, n] = [0, 1, 2].map(|k| block(&saved[0], k, width));
                let (hidden, old) = (&saved[1], &saved[2]);
                let dn = dh * rest(&z) * rest(&(&n * &n));
                let dz = dh * (old - &n) * (&z * rest(&z));
                let dr = &dn * hidden * (&r * rest(&r));
                (concat(&[&dr, &dz, &dn], 1), concat(&[&dr, &dz, &(&dn * &r)], 1), Some(dh * z))
            }
        }
    }
}

impl Compound for RecurrentGrad {
    fn name(&self) -> &'static str {
        match self.0.cell {
            RecurrentCell::Tanh | RecurrentCell::Relu => "rnn_grad",
            RecurrentCell::Lstm => "lstm_grad",
            RecurrentCell::Gru => "gru_grad",
        }
    }

    fn key(&self, key: &mut Vec<u64>) {
        self.0.key(key);
    }

    fn results(&self) -> usize {
        1 + self.0.cell.states() + usize::from(self.0.cell == RecurrentCell::Gru) + usize::from(self.0.projected)
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (saved, states) = (self.saved(), self.0.cell.states());
        let (y, dtype) = &inputs[saved + 1];
        let mut metas = vec![(y.with(2, inputs[saved].0[0]), *dtype)];
        metas.extend(inputs[saved + 2..saved + 2 + states].iter().cloned());
        metas.extend((self.0.cell == RecurrentCell::Gru).then(|| (y.clone(), *dtype)));
        metas.extend(self.0.projected.then(|| (y.clone(), *dtype)));
        metas
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let given = self.inputs(inputs);
        let steps = given.y.shape()[0];
        let (gru, lstm) = (self.0.cell == RecurrentCell::Gru, self.0.cell == RecurrentCell::Lstm);
        let mut saved: Vec<Tensor> = given.saved.to_vec();
        if gru || lstm {
            // The old h of a GRU, the old c of an LSTM.
            let first = saved.pop().expect("saved");
            let states = if gru { saved.pop().expect("saved") } else { saved[1].clone() };
            saved.push(before(&states, &first, given.lengths, self.0.reverse));
        }
        let kept = saved.len();
        let mask = given.lengths.map(|lengths| active(lengths, steps));
        let rows: Vec<Tensor> = saved.into_iter().chain([given.y.clone()]).chain(mask).collect();
        let (mut last, mut stacks) = run_loop(given.last, &rows, None, steps, !self.0.reverse, |carry, row| {
            let mask = row.get(kept + 1);
            let out = &carry[0] + &row[kept];
            let dh = given.projection.map_or_else(|| out.clone(), |w| dot(&out, w));
            let (x, inner, old) = self.step(&row[..kept], &dh, carry.get(1));
            let mut next = vec![dot(&inner, given.w)];
            match old {
                Some(old) if gru => next[0] = &next[0] + old,
                Some(old) => next.push(old),
                None => {}
            }
            let zero_behind = |t: Tensor| {
                let zeros = t.zeros_like();
                going_on(mask, t, &zeros)
            };
            let mut stacks = vec![zero_behind(x)];
            stacks.extend(gru.then(|| zero_behind(block(&inner, 2, inner.shape()[1] / 3))));
            stacks.extend(given.projection.map(|_| zero_behind(out)));
            (next.into_iter().zip(carry).map(|(t, same)| going_on(mask, t, same)).collect(), stacks)
        });
        let mut results = vec![stacks.remove(0)];
        results.append(&mut last);
        results.append(&mut stacks);
        results
    }

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        matches!(inputs[0].1, DType::F32 | DType::F64)
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (gru, lstm) = (self.0.cell == RecurrentCell::Gru, self.0.cell == RecurrentCell::Lstm);
        let mut inputs = io.inputs.iter().copied();
        let mut next = |there: bool| if there { inputs.next() } else { None };
        let (gates, second, y) = (next(gru || lstm), next(gru || lstm), next(!lstm));
        let first = next(gru || lstm);
        let mut given = || next(true).expect("an input");
        let (w, dy, dh) = (given(), given(), given());
        let (dc, projection, lengths) = (next(lstm), next(self.0.projected), next(self.0.lengths));
        let saved = kernel::Saved { gates, second, y, first, w, dy, dh, dc, projection, lengths };
        let at = self.saved();
        let layer = self.0.layer(&io.shapes[at + 1], &io.shapes[at]);
        let mut results = io.outputs.iter_mut().map(SliceMut::reborrow);
        let mut next = || results.next().expect("a result");
        let (x, h) = (next(), next());
        let (c, inner, projected) = (lstm.then(&mut next), gru.then(&mut next), self.0.projected.then(&mut next));
        kernel::backward(io.cpu, &layer, &saved, kernel::Gradients { x, h, c, inner, projected });
        Ok(())
    }
}
