//! What a recurrent network is made from: its arguments, and the parameters that they ask for.

use limpid_core::{DType, Error, Recurrence, RecurrentCell, Shape};

use crate::module::Visitor;
use crate::nn::init;
use crate::param::Parameter;

/// The parameters of one layer in one direction. G is the number of gates, H the hidden size, R the size of the hidden
/// state: H, or the size of the projection.
#[derive(Clone, Debug)]
pub struct RecurrentWeights {
    /// `[G·H, input]`
    pub weight_ih: Parameter,
    /// `[G·H, R]`
    pub weight_hh: Parameter,
    /// `[G·H]`
    pub bias_ih: Option<Parameter>,
    /// `[G·H]`
    pub bias_hh: Option<Parameter>,
    /// `[R, H]`, with a projection.
    pub weight_hr: Option<Parameter>,
}

impl RecurrentWeights {
    /// Parameters in U(−1/√H, 1/√H), drawn in torch's order.
    pub(super) fn draw(gates: usize, input: usize, hidden: usize, projection: usize, bias: bool, dtype: DType) -> Self {
        let state = if projection > 0 { projection } else { hidden };
        let rows = gates.saturating_mul(hidden);
        let uniform = |shape: Shape| Parameter::new(&init::default_uniform(shape, dtype, hidden));
        RecurrentWeights {
            weight_ih: uniform(Shape::from([rows, input])),
            weight_hh: uniform(Shape::from([rows, state])),
            bias_ih: bias.then(|| uniform(Shape::from([rows]))),
            bias_hh: bias.then(|| uniform(Shape::from([rows]))),
            weight_hr: (projection > 0).then(|| uniform(Shape::from([projection, hidden]))),
        }
    }

    /// Shows all under torch's names with `suffix` behind them.
    pub(super) fn visit(&self, suffix: &str, visitor: &mut dyn Visitor) {
        visitor.parameter(&format!("weight_ih{suffix}"), &self.weight_ih);
        visitor.parameter(&format!("weight_hh{suffix}"), &self.weight_hh);
        let optional = [("bias_ih", &self.bias_ih), ("bias_hh", &self.bias_hh), ("weight_hr", &self.weight_hr)];
        for (name, parameter) in optional {
            if let Some(parameter) = parameter {
                visitor.parameter(&format!("{name}{suffix}"), parameter);
            }
        }
    }

    /// The layer that computes with them.
    #[track_caller]
    pub(super) fn recurrence(&self, cell: RecurrentCell) -> Recurrence {
        let mut layer = Recurrence::new(cell, &self.weight_ih.tensor(), &self.weight_hh.tensor());
        layer.bias_ih = self.bias_ih.as_ref().map(|p| p.tensor());
        layer.bias_hh = self.bias_hh.as_ref().map(|p| p.tensor());
        layer.weight_hr = self.weight_hr.as_ref().map(|p| p.tensor());
        layer
    }
}

/// The arguments of a network.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) input_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_layers: usize,
    pub(super) cell: RecurrentCell,
    /// A word that names no function.
    pub(super) unknown: Option<String>,
    pub(super) bias: bool,
    pub(super) batch_first: bool,
    pub(super) dropout: f64,
    pub(super) bidirectional: bool,
    pub(super) proj_size: usize,
    pub(super) dtype: DType,
}

impl Settings {
    pub(super) fn new(input_size: usize, hidden_size: usize, cell: RecurrentCell) -> Settings {
        Settings {
            input_size,
            hidden_size,
            num_layers: 1,
            cell,
            unknown: None,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
            proj_size: 0,
            dtype: DType::F32,
        }
    }

    pub(super) fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// The size of the hidden state.
    pub(super) fn state(&self) -> usize {
        if self.proj_size > 0 { self.proj_size } else { self.hidden_size }
    }

    pub(super) fn choose(&mut self, nonlinearity: &str) {
        self.unknown = None;
        match nonlinearity {
            "tanh" => self.cell = RecurrentCell::Tanh,
            "relu" => self.cell = RecurrentCell::Relu,
            other => self.unknown = Some(other.to_owned()),
        }
    }

    pub(super) fn weights(&self) -> Vec<RecurrentWeights> {
        let draw = |k: usize| {
            let directions = self.directions();
            let input = if k < directions { self.input_size } else { directions.saturating_mul(self.state()) };
            let gates = self.cell.gates();
            RecurrentWeights::draw(gates, input, self.hidden_size, self.proj_size, self.bias, self.dtype)
        };
        (0..self.num_layers * self.directions()).map(draw).collect()
    }

    /// An argument of the constructor that torch refuses; a single step takes sizes of 0.
    pub(super) fn problem(&self, name: &str, layered: bool) -> Option<Error> {
        let (hidden, projection) = (self.hidden_size, self.proj_size);
        if self.input_size == 0 && layered {
            return Some(Error::new(format!("{name}: input_size is 0")));
        }
        if hidden == 0 && layered {
            return Some(Error::new(format!("{name}: hidden_size is 0")));
        }
        if self.num_layers == 0 {
            return Some(Error::new(format!("{name}: num_layers is 0")));
        }
        if projection > 0 && projection >= hidden {
            let what = format!("{name}: proj_size {projection} is not below hidden_size {hidden}");
            return Some(Error::new(what).help("a smaller proj_size, or 0 for no projection"));
        }
        if !(0.0..=1.0).contains(&self.dropout) {
            let what = format!("{name}: the probability of dropout is {}", self.dropout);
            return Some(Error::new(what).help("a number from 0 to 1"));
        }
        let word = self.unknown.as_ref()?;
        Some(Error::new(format!("{name}: unknown nonlinearity {word:?}")).help("\"tanh\" or \"relu\""))
    }
}
