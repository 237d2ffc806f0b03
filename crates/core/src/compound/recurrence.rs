//! A recurrent layer as it is called: its parameters and what it starts from, checked and brought into the form of the
//! compound.

use limpid_kernels::{DType, Number};

use crate::compound::call_many;
use crate::compound::recurrent::{Recurrent, RecurrentCell, RecurrentEdit};
use crate::error::Error;
use crate::node::grad_enabled;
use crate::op::source;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// One layer of a recurrent network in one direction: its weights, as torch shapes and orders them, and how it runs.
/// G is the number of gates, H the hidden size, R the size of the state that is handed on: H, or the size of the
/// projection of an LSTM.
///
/// ```
/// use limpid_core::{Recurrence, RecurrentCell, Tensor};
/// let one = Tensor::from([[1.0f32]]);
/// let layer = Recurrence::new(RecurrentCell::Relu, &one, &one);
/// let x = Tensor::from([[[1.0f32]], [[2.0]], [[3.0]]]); // 3 steps, batch 1, 1 feature
/// assert_eq!(layer.run(&x).output.to_vec::<f32>()?, [1.0, 3.0, 6.0]);
/// # Ok::<(), limpid_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recurrence {
    /// What a step computes.
    pub cell: RecurrentCell,
    /// `[G·H, input]`
    pub weight_ih: Tensor,
    /// `[G·H, R]`
    pub weight_hh: Tensor,
    /// `[G·H]`
    pub bias_ih: Option<Tensor>,
    /// `[G·H]`
    pub bias_hh: Option<Tensor>,
    /// `[R, H]`: the projection of an LSTM.
    pub weight_hr: Option<Tensor>,
    /// The first hidden state `[N, R]`; zeros where there is none.
    pub h0: Option<Tensor>,
    /// The first cell `[N, H]` of an LSTM; zeros where there is none.
    pub c0: Option<Tensor>,
    /// The length of each sequence, i64 `[N]`, from 1 to the number of steps; all steps where there is none.
    pub lengths: Option<Tensor>,
    /// Whether it runs from the last step of each sequence to the first.
    pub reverse: bool,
    /// Whether the gates are wanted.
    pub gates: bool,
    /// Changes of gates, by their place in torch's order, and of the cell, behind them. With any of them the steps are
    /// recorded in primitives, which takes longer.
    pub edits: Vec<(usize, RecurrentEdit)>,
}

/// What a layer in one direction gives.
#[derive(Clone, Debug)]
pub struct Recurred {
    /// The hidden states `[T, N, R]`, 0 behind the end of a sequence.
    pub output: Tensor,
    /// The hidden state after the last step of each sequence `[N, R]`.
    pub h_n: Tensor,
    /// The cell of an LSTM after the last step `[N, H]`.
    pub c_n: Option<Tensor>,
    /// The gates `[T, N, G·H]` of an LSTM (i, f, g, o) or GRU (r, z, n), where they are wanted.
    pub gates: Option<Tensor>,
    /// The cells `[T, N, H]` of an LSTM, where gates are wanted.
    pub cells: Option<Tensor>,
}

impl Recurrence {
    /// A layer without biases that starts from zeros and runs forward.
    pub fn new(cell: RecurrentCell, weight_ih: &Tensor, weight_hh: &Tensor) -> Recurrence {
        Recurrence {
            cell,
            weight_ih: weight_ih.clone(),
            weight_hh: weight_hh.clone(),
            bias_ih: None,
            bias_hh: None,
            weight_hr: None,
            h0: None,
            c0: None,
            lengths: None,
            reverse: false,
            gates: false,
            edits: Vec::new(),
        }
    }

    /// Every tensor beside the input, with the sizes it must have for an input [T, N, I].
    fn expected(&self, x: &Tensor) -> Vec<(&'static str, &Tensor, Shape)> {
        let blocks = self.cell.gates();
        let (n, input) = (x.size(1), x.size(2));
        let width = self.weight_hh.size(0) / blocks;
        let state = self.weight_hr.as_ref().map_or(width, |w| w.size(0));
        let mut all = vec![
            ("weight_ih", &self.weight_ih, Shape::from([blocks * width, input])),
            ("weight_hh", &self.weight_hh, Shape::from([blocks * width, state])),
        ];
        let optional = [
            ("bias_ih", &self.bias_ih, Shape::from([blocks * width])),
            ("bias_hh", &self.bias_hh, Shape::from([blocks * width])),
            ("weight_hr", &self.weight_hr, Shape::from([state, width])),
            ("h0", &self.h0, Shape::from([n, state])),
            ("c0", &self.c0, Shape::from([n, width])),
        ];
        all.extend(optional.into_iter().filter_map(|(name, t, shape)| Some((name, t.as_ref()?, shape))));
        all
    }

    /// What does not fit `x`.
    fn problem(&self, x: &Tensor) -> Option<Error> {
        let name = self.cell.name();
        if x.rank() != 3 || !x.dtype().is_float() {
            let have = format!("{} {}", x.dtype(), x.shape());
            return Some(Error::new(format!("{name}: the input is {have}, not floats [steps, batch, features]")));
        }
        if x.size(0) == 0 {
            return Some(Error::new(format!("{name}: the sequence has no step: {}", x.shape())));
        }
        for (what, t, shape) in self.expected(x) {
            if *t.shape() != shape || t.dtype() != x.dtype() {
                let (have, wants) = (format!("{} {}", t.dtype(), t.shape()), format!("{} {shape}", x.dtype()));
                return Some(Error::new(format!("{name}: {what} is {have}, not {wants}, for an input {}", x.shape())));
            }
        }
        let lstm = self.cell == RecurrentCell::Lstm;
        if !lstm && (self.c0.is_some() || self.weight_hr.is_some()) {
            return Some(Error::new(format!("{name}: only an LSTM has a cell and a projection")));
        }
        let lengths = self.lengths.as_ref().filter(|t| t.shape()[..] != [x.size(1)] || t.dtype() != DType::I64);
        lengths.map(|t| {
            let have = format!("{} {}", t.dtype(), t.shape());
            Error::new(format!("{name}: the lengths are {have}, not i64 [{}]", x.size(1)))
        })
    }

    /// Runs over `x` `[T, N, input]`.
    #[track_caller]
    pub fn run(&self, x: &Tensor) -> Recurred {
        let lstm = self.cell == RecurrentCell::Lstm;
        let width = self.weight_hh.size(0) / self.cell.gates();
        let state = self.weight_hr.as_ref().map_or(width, |w| w.size(0));
        let n = x.size(1);
        if let Some(error) = self.problem(x) {
            let parts = self.expected(x);
            let inputs: Vec<&Tensor> = std::iter::once(x).chain(parts.iter().map(|(_, t, _)| *t)).collect();
            let fail = |shape: Shape| Tensor::fail(error.clone(), &inputs, shape, x.dtype());
            let all = |last: usize| Shape::from([x.size(0), n, last]);
            return Recurred {
                output: fail(all(state)),
                h_n: fail(Shape::from([n, state])),
                c_n: lstm.then(|| fail(Shape::from([n, width]))),
                gates: (self.gates && self.cell.gates() > 1).then(|| fail(all(self.weight_hh.size(0)))),
                cells: (self.gates && lstm).then(|| fail(all(width))),
            };
        }
        // A GRU multiplies W_hn·h + b_hn by a gate, so that its second bias stays in the loop.
        let inside = if self.cell == RecurrentCell::Gru { self.bias_hh.as_ref() } else { None };
        let before = if inside.is_some() { None } else { self.bias_hh.as_ref() };
        let bias = match (&self.bias_ih, before) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.as_ref().or(b).cloned(),
        };
        let projected = x.linear(&self.weight_ih, bias.as_ref());
        let zeros = |last: usize| source::constant_of(Number::Float(0.0), x.dtype(), Shape::from([n, last]));
        let mut inputs = vec![projected, self.weight_hh.clone()];
        inputs.push(match &self.h0 {
            Some(h0) => h0.clone(),
            None => zeros(state),
        });
        if lstm {
            inputs.push(match &self.c0 {
                Some(c0) => c0.clone(),
                None => zeros(width),
            });
        }
        inputs.extend(inside.cloned());
        inputs.extend(self.weight_hr.clone());
        inputs.extend(self.lengths.clone());
        let saved = self.gates || (grad_enabled() && inputs.iter().any(Tensor::requires_grad));
        let compound = Recurrent {
            cell: self.cell,
            reverse: self.reverse,
            bias: inside.is_some(),
            projected: self.weight_hr.is_some(),
            lengths: self.lengths.is_some(),
            saved,
        };
        let results = if self.edits.is_empty() {
            call_many(compound, &inputs.iter().collect::<Vec<_>>())
        } else {
            compound.steps(&inputs, &self.edits)
        };
        let mut results = results.into_iter();
        let (output, h_n) = (results.next().expect("a result"), results.next().expect("a result"));
        let c_n = if lstm { results.next() } else { None };
        let (gates, second) = (results.next(), results.next());
        Recurred { output, h_n, c_n, gates: gates.filter(|_| self.gates), cells: second.filter(|_| self.gates && lstm) }
    }
}
