//! Recurrent networks.

use std::rc::Rc;

use limpid::nn::{GRU, GRUCell, LSTM, LSTMCell, RNN, RNNCell, Recurrent, RecurrentKind, RecurrentStep};
use limpid::{DType, Module, Tensor};

use super::{Built, Make};
use crate::conformance::args::{Args, Result};

type Outputs = Result<Vec<Tensor>>;

fn built<M: Module + 'static>(module: M, forward: fn(&M, &mut Args<'_>) -> Outputs) -> Result<Built> {
    let module = Rc::new(module);
    let called = module.clone();
    Ok(Built { module, forward: Box::new(move |a| forward(&called, a)) })
}

/// The arguments that all networks have, behind the sizes and, of an RNN, its function.
fn common<K: RecurrentKind>(a: &mut Args<'_>, made: Recurrent<K>, dtype: DType) -> Result<Recurrent<K>> {
    let made = made.bias(a.or("bias", true)?).batch_first(a.or("batch_first", false)?);
    Ok(made.dropout(a.or("dropout", 0.0)?).bidirectional(a.or("bidirectional", false)?).dtype(dtype))
}

fn cell<K: RecurrentKind>(a: &mut Args<'_>, dtype: DType) -> Result<RecurrentStep<K>> {
    let made = RecurrentStep::new(a.required("input_size")?, a.required("hidden_size")?);
    Ok(made.bias(a.or("bias", true)?).dtype(dtype))
}

/// Every module by torch's name.
pub const MODULES: &[(&str, Make)] = &[
    ("RNN", |a, dtype| {
        let made = RNN::new(a.required("input_size")?, a.required("hidden_size")?).num_layers(a.or("num_layers", 1)?);
        let made = made.nonlinearity(&a.or("nonlinearity", "tanh".to_owned())?);
        built(common(a, made, dtype)?, |rnn, a| {
            let (output, h) = rnn.forward(&a.required::<Tensor>("input")?, a.option("hx")?.as_ref());
            Ok(vec![output, h])
        })
    }),
    ("LSTM", |a, dtype| {
        let made = LSTM::new(a.required("input_size")?, a.required("hidden_size")?).num_layers(a.or("num_layers", 1)?);
        let made = common(a, made, dtype)?.proj_size(a.or("proj_size", 0)?);
        built(made, |lstm, a| {
            let x: Tensor = a.required("input")?;
            let state = a.option::<(Tensor, Tensor)>("hx")?;
            let (output, (h, c)) = lstm.forward(&x, state.as_ref().map(|(h, c)| (h, c)));
            Ok(vec![output, h, c])
        })
    }),
    ("GRU", |a, dtype| {
        let made = GRU::new(a.required("input_size")?, a.required("hidden_size")?).num_layers(a.or("num_layers", 1)?);
        built(common(a, made, dtype)?, |gru, a| {
            let (output, h) = gru.forward(&a.required::<Tensor>("input")?, a.option("hx")?.as_ref());
            Ok(vec![output, h])
        })
    }),
    ("RNNCell", |a, dtype| {
        let made: RNNCell = cell(a, dtype)?;
        built(made.nonlinearity(&a.or("nonlinearity", "tanh".to_owned())?), |cell, a| {
            Ok(vec![cell.forward(&a.required("input")?, a.option("hx")?.as_ref())])
        })
    }),
    ("LSTMCell", |a, dtype| {
        built::<LSTMCell>(cell(a, dtype)?, |cell, a| {
            let x = a.required("input")?;
            let state = a.option::<(Tensor, Tensor)>("hx")?;
            let (h, c) = cell.forward(&x, state.as_ref().map(|(h, c)| (h, c)));
            Ok(vec![h, c])
        })
    }),
    ("GRUCell", |a, dtype| {
        built::<GRUCell>(cell(a, dtype)?, |cell, a| {
            Ok(vec![cell.forward(&a.required("input")?, a.option("hx")?.as_ref())])
        })
    }),
];
