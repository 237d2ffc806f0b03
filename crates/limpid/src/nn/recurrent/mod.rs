//! Recurrent networks: RNN, LSTM and GRU over sequences.

mod gates;
mod settings;
mod step;

use std::fmt::Debug;
use std::marker::PhantomData;

use limpid_core::{DType, Error, RecurrentCell, Shape, Tensor};

use crate::module::{Module, Visitor};
use crate::nn::draws::Draws;
use crate::nn::packed::{Sequences, Steps};
use crate::nn::python;
use crate::site::{Scope, Site};

pub use settings::RecurrentWeights;
use settings::Settings;
pub use step::{GRUCell, LSTMCell, RNNCell, RecurrentStep};

/// Which network a [`Recurrent`] or a [`RecurrentStep`] is.
pub trait RecurrentKind: Clone + Debug + Send + Sync + 'static {
    /// The name of the layer over sequences; of one step it is this with `Cell` behind it.
    const NAME: &'static str;
    /// The name of the module of one step.
    const CELL_NAME: &'static str;
    /// What a step computes, unless it is chosen.
    const CELL: RecurrentCell;
    /// The names of the gates, in torch's order.
    const GATES: &'static [&'static str];
}

/// Elman's network.
#[derive(Clone, Copy, Debug)]
pub struct Elman;

/// Long short-term memory.
#[derive(Clone, Copy, Debug)]
pub struct LongShortTerm;

/// Gated recurrent units.
#[derive(Clone, Copy, Debug)]
pub struct Gated;

impl RecurrentKind for Elman {
    const NAME: &'static str = "RNN";
    const CELL_NAME: &'static str = "RNNCell";
    const CELL: RecurrentCell = RecurrentCell::Tanh;
    const GATES: &'static [&'static str] = &[];
}

impl RecurrentKind for LongShortTerm {
    const NAME: &'static str = "LSTM";
    const CELL_NAME: &'static str = "LSTMCell";
    const CELL: RecurrentCell = RecurrentCell::Lstm;
    const GATES: &'static [&'static str] = &["i", "f", "g", "o"];
}

impl RecurrentKind for Gated {
    const NAME: &'static str = "GRU";
    const CELL_NAME: &'static str = "GRUCell";
    const CELL: RecurrentCell = RecurrentCell::Gru;
    const GATES: &'static [&'static str] = &["r", "z", "n"];
}

/// h' = tanh(W_ih·x + b_ih + W_hh·h + b_hh), or max(0, …). Elman (1990).
pub type RNN = Recurrent<Elman>;

/// i, f, o = σ(…), g = tanh(…) of W_ih·x + b_ih + W_hh·h + b_hh; c' = f⊙c + i⊙g, h' = o⊙tanh(c'), and with
/// `proj_size` W_hr·h'. Hochreiter and Schmidhuber (1997), Gers et al. (2000).
pub type LSTM = Recurrent<LongShortTerm>;

/// r, z = σ(W·x + b + U·h + b'), n = tanh(W·x + b + r⊙(U·h + b')), h' = (1 − z)⊙n + z⊙h. Cho et al. (2014).
pub type GRU = Recurrent<Gated>;

/// A recurrent network over sequences: one or more layers, each over the hidden states of the one below, in one direction
/// or both. [`RNN`], [`LSTM`] and [`GRU`] are its kinds.
///
/// The input is `[T, N, input_size]`, with `batch_first` `[N, T, input_size]`, without a batch `[T, input_size]`, or a
/// [`PackedSequence`](crate::nn::PackedSequence). The output holds the hidden states of the last layer in all steps, of both
/// directions side by side: `[T, N, D·R]`; D is the number of directions, R the hidden size or the projection's. The last
/// states are `[layers·D, N, R]`, whatever `batch_first` is: layer by layer, forward before reverse.
///
/// A [`tap`](crate::tap) finds the hidden states of each layer as `hidden_l0`, `hidden_l0_reverse`, …, the cells of an LSTM as
/// `cell_l0` and the gates as `i_l0`, `f_l0`, `g_l0`, `o_l0` (LSTM) or `r_l0`, `z_l0`, `n_l0` (GRU), each `[T, N, size]`. What it
/// puts in the place of hidden states flows on to the next layer and the output; what it puts in the place of gates or cells
/// enters at every step, made of the gates of the layer as it would have been. Their gradient is that of the loss by a gate at a
/// step with all that follows from it; since it takes a second run it is computed where the pattern names gates
/// (`**.f_l0`), not where it asks for everything (`**`).
///
/// ```
/// use limpid::prelude::*;
/// let lstm = LSTM::new(10, 20).num_layers(2).bidirectional(true);
/// let (output, (h, c)) = lstm.forward(&Tensor::zeros([5, 3, 10]), None);
/// assert_eq!(*output.shape(), Shape::from([5, 3, 40]));
/// assert_eq!((h.shape(), c.shape()), (&Shape::from([4, 3, 20]), &Shape::from([4, 3, 20])));
///
/// // Sequences of 2 and 5 steps.
/// let packed = pack_padded_sequence(&Tensor::zeros([5, 2, 10]), [2, 5], false, false);
/// let (output, _) = lstm.forward(&packed, None);
/// assert_eq!(*output.data().shape(), Shape::from([7, 40]));
/// ```
#[derive(Clone, Debug)]
pub struct Recurrent<K> {
    /// Of each layer, forward before reverse.
    pub weights: Vec<RecurrentWeights>,
    settings: Settings,
    site: Site,
    draws: Draws,
    kind: PhantomData<K>,
}

impl<K: RecurrentKind> Recurrent<K> {
    /// One layer in one direction with biases, f32.
    #[track_caller]
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        let settings = Settings::new(input_size, hidden_size, K::CELL);
        let (weights, draws) = Draws::of(|| settings.weights());
        Recurrent { weights, settings, site: Site::here(), draws, kind: PhantomData }
    }

    /// The layer with changed settings, drawn as the constructor would.
    #[track_caller]
    fn again(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings;
        change(&mut settings);
        let (weights, draws) = self.draws.again(|| settings.weights());
        Recurrent { weights, settings, draws, ..self }
    }

    /// Number of layers (default: 1).
    #[track_caller]
    pub fn num_layers(self, num_layers: usize) -> Self {
        self.again(|s| s.num_layers = num_layers)
    }

    /// Whether there are biases (default: yes).
    #[track_caller]
    pub fn bias(self, bias: bool) -> Self {
        self.again(|s| s.bias = bias)
    }

    /// Whether input and output are `[N, T, features]` (default: `[T, N, features]`). The states are not: they stay
    /// `[layers·D, N, size]`.
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.settings.batch_first = batch_first;
        self
    }

    /// The probability of dropout on the output of each layer but the last, in training (default: 0). With one layer
    /// it does nothing.
    pub fn dropout(mut self, dropout: f64) -> Self {
        self.settings.dropout = dropout;
        self
    }

    /// Whether each layer also runs from the end to the beginning (default: no).
    #[track_caller]
    pub fn bidirectional(self, bidirectional: bool) -> Self {
        self.again(|s| s.bidirectional = bidirectional)
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> Self {
        if dtype == self.settings.dtype {
            return self;
        }
        self.again(|s| s.dtype = dtype)
    }

    /// `_l0`, `_l0_reverse`, `_l1`, …
    fn suffix(&self, k: usize) -> String {
        let directions = self.settings.directions();
        format!("_l{}{}", k / directions, if k % directions == 1 { "_reverse" } else { "" })
    }

    /// Why it can not run over `steps` from these states.
    fn problem(&self, steps: &Steps, states: &[(&'static str, &Tensor, usize)]) -> Option<Error> {
        let (s, name) = (&self.settings, K::NAME);
        if let Some(error) = s.problem(name, true) {
            return Some(error);
        }
        let x = &steps.x;
        let given = if steps.unbatched { x.shape().without(1) } else { x.shape().clone() };
        if x.rank() != 3 {
            let what = format!("{name}: the input {given} has {} axes", x.rank());
            let layout = if s.batch_first { "[N, T, features]" } else { "[T, N, features]" };
            return Some(Error::new(what).help(format!("{layout}, or [T, features] without a batch")));
        }
        if x.dtype() != s.dtype {
            let what = format!("{name}: the input is {}, the parameters are {}", x.dtype(), s.dtype);
            return Some(Error::new(what).help(format!("x.to_dtype(DType::{:?})", s.dtype)));
        }
        if x.size(2) != s.input_size {
            let what = format!("{name}: the input has {} features, not {}: {}", x.size(2), s.input_size, x.shape());
            return Some(Error::new(what).help(format!("{name}::new({}, {})", x.size(2), s.hidden_size)));
        }
        if x.size(0) == 0 {
            return Some(Error::new(format!("{name}: the sequence has no step: {}", x.shape())));
        }
        let count = s.num_layers * s.directions();
        for (what, state, size) in states {
            let expected =
                if steps.unbatched { Shape::from([count, *size]) } else { Shape::from([count, x.size(1), *size]) };
            if *state.shape() != expected || state.dtype() != s.dtype {
                let (have, wants) = (format!("{} {}", state.dtype(), state.shape()), format!("{} {expected}", s.dtype));
                let error = Error::new(format!("{name}: {what} is {have}, not {wants}"));
                let help =
                    "[layers · directions, batch, size], also with batch_first; no batch where the input has none";
                return Some(error.help(help));
            }
        }
        None
    }

    /// The output of the last layer, and the last h and c.
    #[track_caller]
    fn run<S: Sequences>(&self, x: &S, h0: Option<&Tensor>, c0: Option<&Tensor>) -> (S, Tensor, Tensor) {
        let scope = Scope::enter(self);
        let s = &self.settings;
        let steps = x.steps(s.batch_first);
        let (count, width) = (s.num_layers * s.directions(), s.directions().saturating_mul(s.state()));
        let mut states = Vec::new();
        states.extend(h0.map(|h| ("h_0", h, s.state())));
        states.extend(c0.map(|c| ("c_0", c, s.hidden_size)));
        let inputs: Vec<&Tensor> = std::iter::once(&steps.x).chain(states.iter().map(|(_, t, _)| *t)).collect();
        let broken = inputs.iter().find_map(|t| t.error());
        if let Some(error) = broken.or_else(|| self.problem(&steps, &states)) {
            let batch = if steps.x.rank() == 3 { steps.x.size(1) } else { 1 };
            let last = |size: usize| match steps.unbatched {
                true => Shape::from([count, size]),
                false => Shape::from([count, batch, size]),
            };
            let output = match steps.x.rank() {
                0 => Shape::from([width]),
                rank => steps.x.shape().with(rank - 1, width),
            };
            let output = Tensor::fail(error.clone(), &inputs, output, s.dtype);
            let h_n = Tensor::fail(error.clone(), &inputs, last(s.state()), s.dtype);
            let c_n = Tensor::fail(error, &inputs, last(s.hidden_size), s.dtype);
            return (x.close(&scope.output(output), s.batch_first), h_n, c_n);
        }
        let enter = |state: Option<&Tensor>| {
            let state = state.map(|t| if steps.unbatched { t.unsqueeze(1) } else { t.clone() });
            match (state, &steps.order) {
                (Some(t), Some((sorted, _))) => Some(t.index_select(1, sorted)),
                (state, _) => state,
            }
        };
        let (h0, c0) = (enter(h0), enter(c0));
        let (output, h_n, c_n) = self.layers(&steps, h0.as_ref(), c0.as_ref());
        let leave = |states: &[Tensor]| {
            let all = Tensor::stack(&states.iter().collect::<Vec<_>>(), 0);
            match &steps.order {
                _ if steps.unbatched => all.squeeze(1),
                Some((_, unsorted)) => all.index_select(1, unsorted),
                None => all,
            }
        };
        let c_n = if c_n.is_empty() { output.clone() } else { leave(&c_n) };
        let output = scope.output(output);
        (x.close(&output, s.batch_first), leave(&h_n), c_n)
    }

    #[track_caller]
    fn layers(&self, steps: &Steps, h0: Option<&Tensor>, c0: Option<&Tensor>) -> (Tensor, Vec<Tensor>, Vec<Tensor>) {
        let s = &self.settings;
        let mut x = steps.x.clone();
        let (mut h_n, mut c_n) = (Vec::new(), Vec::new());
        for layer in 0..s.num_layers {
            let mut outputs = Vec::new();
            for direction in 0..s.directions() {
                let k = layer * s.directions() + direction;
                let suffix = self.suffix(k);
                let mut recurrence = self.weights[k].recurrence(s.cell);
                recurrence.h0 = h0.map(|h| h.select(0, k as isize));
                recurrence.c0 = c0.map(|c| c.select(0, k as isize));
                recurrence.lengths = steps.lengths.clone();
                recurrence.reverse = direction == 1;
                let found = gates::run::<K>(recurrence, &x, &suffix);
                outputs.push(found.output.tap(&format!("hidden{suffix}")));
                h_n.push(found.h_n);
                c_n.extend(found.c_n);
            }
            x = match &outputs[..] {
                [one] => one.clone(),
                both => Tensor::cat(&both.iter().collect::<Vec<_>>(), -1),
            };
            if s.dropout > 0.0 && layer + 1 < s.num_layers && self.site.mode().is_training() {
                x = x.dropout(s.dropout);
            }
        }
        (x, h_n, c_n)
    }
}

impl Recurrent<Elman> {
    /// `"tanh"` (default) or `"relu"`.
    pub fn nonlinearity(mut self, nonlinearity: &str) -> Self {
        self.settings.choose(nonlinearity);
        self
    }

    /// The output and the last hidden state, from the first one or from zeros.
    #[track_caller]
    pub fn forward<S: Sequences>(&self, x: &S, h0: Option<&Tensor>) -> (S, Tensor) {
        let (output, h_n, _) = self.run(x, h0, None);
        (output, h_n)
    }
}

impl Recurrent<LongShortTerm> {
    /// The size of the projection of the hidden state, below the hidden size; 0 (default) for none. Sak et al. (2014).
    #[track_caller]
    pub fn proj_size(self, proj_size: usize) -> Self {
        self.again(|s| s.proj_size = proj_size)
    }

    /// The output and the last hidden state and cell, from the first ones or from zeros.
    #[track_caller]
    pub fn forward<S: Sequences>(&self, x: &S, state: Option<(&Tensor, &Tensor)>) -> (S, (Tensor, Tensor)) {
        let (h0, c0) = state.unzip();
        let (output, h_n, c_n) = self.run(x, h0, c0);
        (output, (h_n, c_n))
    }
}

impl Recurrent<Gated> {
    /// The output and the last hidden state, from the first one or from zeros.
    #[track_caller]
    pub fn forward<S: Sequences>(&self, x: &S, h0: Option<&Tensor>) -> (S, Tensor) {
        let (output, h_n, _) = self.run(x, h0, None);
        (output, h_n)
    }
}

impl<K: RecurrentKind> Module for Recurrent<K> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        for (k, weights) in self.weights.iter().enumerate() {
            weights.visit(&self.suffix(k), visitor);
        }
    }
    fn kind(&self) -> &'static str {
        K::NAME
    }
    fn label(&self) -> String {
        format!(
            "{} {}→{}",
            K::NAME,
            self.settings.input_size,
            self.settings.directions().saturating_mul(self.settings.state())
        )
    }
    fn extra_repr(&self) -> String {
        let s = &self.settings;
        let mut text = format!("{}, {}", s.input_size, s.hidden_size);
        let mut add = |there: bool, name: &str, value: String| {
            if there {
                text += &format!(", {name}={value}");
            }
        };
        add(s.proj_size != 0, "proj_size", s.proj_size.to_string());
        add(s.num_layers != 1, "num_layers", s.num_layers.to_string());
        add(!s.bias, "bias", python(s.bias).to_owned());
        add(s.batch_first, "batch_first", python(s.batch_first).to_owned());
        add(s.dropout != 0.0, "dropout", format!("{:?}", s.dropout));
        add(s.bidirectional, "bidirectional", python(s.bidirectional).to_owned());
        text
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}
