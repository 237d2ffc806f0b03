//! One step of a recurrent network.

use std::marker::PhantomData;

use limpid_core::{DType, Error, RecurrentCell, Shape, Tensor};

use super::{Elman, Gated, LongShortTerm, RecurrentKind, RecurrentWeights, Settings, gates};
use crate::module::{Module, Visitor};
use crate::nn::draws::Draws;
use crate::site::{Scope, Site};

/// One step of [`RNN`](crate::nn::RNN).
pub type RNNCell = RecurrentStep<Elman>;

/// One step of [`LSTM`](crate::nn::LSTM).
pub type LSTMCell = RecurrentStep<LongShortTerm>;

/// One step of [`GRU`](crate::nn::GRU).
pub type GRUCell = RecurrentStep<Gated>;

/// One step of a recurrent network: [`RNNCell`], [`LSTMCell`] and [`GRUCell`] are its kinds. The input is `[N, input_size]`
/// or, without a batch, `[input_size]`; the state has the hidden size for features.
#[derive(Clone, Debug)]
pub struct RecurrentStep<K> {
    /// The parameters.
    pub weights: RecurrentWeights,
    settings: Settings,
    site: Site,
    draws: Draws,
    kind: PhantomData<K>,
}

impl<K: RecurrentKind> RecurrentStep<K> {
    /// A step with biases, f32.
    #[track_caller]
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        let settings = Settings::new(input_size, hidden_size, K::CELL);
        let (mut weights, draws) = Draws::of(|| settings.weights());
        RecurrentStep { weights: weights.swap_remove(0), settings, site: Site::here(), draws, kind: PhantomData }
    }

    #[track_caller]
    fn again(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings;
        change(&mut settings);
        let (mut weights, draws) = self.draws.again(|| settings.weights());
        RecurrentStep { weights: weights.swap_remove(0), settings, draws, ..self }
    }

    /// Whether there are biases (default: yes).
    #[track_caller]
    pub fn bias(self, bias: bool) -> Self {
        self.again(|s| s.bias = bias)
    }

    /// The type of the parameters (default: f32).
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> Self {
        if dtype == self.settings.dtype {
            return self;
        }
        self.again(|s| s.dtype = dtype)
    }

    /// Why it can not run over `x` from these states.
    fn problem(&self, x: &Tensor, states: &[(&'static str, &Tensor)]) -> Option<Error> {
        let (s, name) = (&self.settings, K::CELL_NAME);
        if let Some(error) = s.problem(name, false) {
            return Some(error);
        }
        if !(1..=2).contains(&x.rank()) {
            let what = format!("{name}: the input {} has {} axes", x.shape(), x.rank());
            return Some(Error::new(what).help("[N, features], or [features] without a batch"));
        }
        if x.dtype() != s.dtype {
            let what = format!("{name}: the input is {}, the parameters are {}", x.dtype(), s.dtype);
            return Some(Error::new(what).help(format!("x.to_dtype(DType::{:?})", s.dtype)));
        }
        if x.size(-1) != s.input_size {
            let what = format!("{name}: the input has {} features, not {}: {}", x.size(-1), s.input_size, x.shape());
            return Some(Error::new(what).help(format!("{name}::new({}, {})", x.size(-1), s.hidden_size)));
        }
        let expected = x.shape().with(x.rank() - 1, s.hidden_size);
        let wrong = states.iter().find(|(_, t)| *t.shape() != expected || t.dtype() != s.dtype);
        wrong.map(|(what, t)| {
            let (have, wants) = (format!("{} {}", t.dtype(), t.shape()), format!("{} {expected}", s.dtype));
            Error::new(format!("{name}: {what} is {have}, not {wants}, for an input {}", x.shape()))
        })
    }

    #[track_caller]
    fn run(&self, x: &Tensor, h: Option<&Tensor>, c: Option<&Tensor>) -> (Tensor, Tensor) {
        let scope = Scope::enter(self);
        let mut states = Vec::new();
        states.extend(h.map(|h| ("h", h)));
        states.extend(c.map(|c| ("c", c)));
        let inputs: Vec<&Tensor> = std::iter::once(x).chain(states.iter().map(|(_, t)| *t)).collect();
        let broken = inputs.iter().find_map(|t| t.error());
        if let Some(error) = broken.or_else(|| self.problem(x, &states)) {
            let shape = match x.rank() {
                0 => Shape::from([self.settings.hidden_size]),
                rank => x.shape().with(rank - 1, self.settings.hidden_size),
            };
            let fail = Tensor::fail(error, &inputs, shape, self.settings.dtype);
            return (scope.output(fail.clone()), fail);
        }
        let unbatched = x.rank() == 1;
        let wide = |t: &Tensor| if unbatched { t.unsqueeze(0) } else { t.clone() };
        let mut layer = self.weights.recurrence(self.settings.cell);
        layer.h0 = h.map(wide);
        layer.c0 = c.map(wide);
        let found = gates::run::<K>(layer, &wide(x).unsqueeze(0), "");
        let narrow = |t: &Tensor| if unbatched { t.squeeze(0) } else { t.clone() };
        let h = scope.output(narrow(&found.h_n));
        let c = match &found.c_n {
            Some(c) => narrow(c).tap("cell"),
            None => h.clone(),
        };
        (h, c)
    }
}

impl RecurrentStep<Elman> {
    /// `"tanh"` (default) or `"relu"`.
    pub fn nonlinearity(mut self, nonlinearity: &str) -> Self {
        self.settings.choose(nonlinearity);
        self
    }

    /// The next hidden state.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, h: Option<&Tensor>) -> Tensor {
        self.run(x, h, None).0
    }
}

impl RecurrentStep<LongShortTerm> {
    /// The next hidden state and cell.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, state: Option<(&Tensor, &Tensor)>) -> (Tensor, Tensor) {
        let (h, c) = state.unzip();
        self.run(x, h, c)
    }
}

impl RecurrentStep<Gated> {
    /// The next hidden state.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, h: Option<&Tensor>) -> Tensor {
        self.run(x, h, None).0
    }
}

impl<K: RecurrentKind> Module for RecurrentStep<K> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.weights.visit("", visitor);
    }
    fn kind(&self) -> &'static str {
        K::CELL_NAME
    }
    fn label(&self) -> String {
        format!("{} {}→{}", K::CELL_NAME, self.settings.input_size, self.settings.hidden_size)
    }
    fn extra_repr(&self) -> String {
        let s = &self.settings;
        let bias = if s.bias { "" } else { ", bias=False" };
        let function = if s.cell == RecurrentCell::Relu { ", nonlinearity=relu" } else { "" };
        format!("{}, {}{bias}{function}", s.input_size, s.hidden_size)
    }
    fn site(&self) -> Option<&Site> {
        Some(&self.site)
    }
}
