//! Layers of recurrent networks for the tests of compounds, and what sets a mask apart from a shorter sequence.

use limpid_core::{DType, Recurrence, RecurrentCell, Result, Tensor, gradients};

use crate::gradients::Function;
use crate::support::{Dice, close, floats, random, seed};

/// A kind of layer.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    cell: RecurrentCell,
    reverse: bool,
    lengths: bool,
    bias: bool,
    projected: bool,
}

const fn kind(name: &'static str, cell: RecurrentCell, flags: [bool; 4]) -> Kind {
    let [reverse, lengths, bias, projected] = flags;
    Kind { name, cell, reverse, lengths, bias, projected }
}

pub const KINDS: &[Kind] = &[
    kind("rnn", RecurrentCell::Tanh, [false, false, true, false]),
    kind("rnn of relu, reverse, masked", RecurrentCell::Relu, [true, true, true, false]),
    kind("rnn, masked", RecurrentCell::Tanh, [false, true, false, false]),
    kind("lstm", RecurrentCell::Lstm, [false, false, true, false]),
    kind("lstm, reverse, masked", RecurrentCell::Lstm, [true, true, true, false]),
    kind("lstm, projected", RecurrentCell::Lstm, [true, false, false, true]),
    kind("lstm, projected, masked", RecurrentCell::Lstm, [false, true, true, true]),
    kind("gru", RecurrentCell::Gru, [false, false, true, false]),
    kind("gru, reverse, masked", RecurrentCell::Gru, [true, true, true, false]),
    kind("gru, masked", RecurrentCell::Gru, [false, true, true, false]),
    kind("gru without biases", RecurrentCell::Gru, [true, false, false, false]),
];

impl Kind {
    /// The shapes of the inputs: x, h₀, the weights, then what this kind has of c₀, biases and a projection.
    pub fn shapes(&self, [steps, batch, input, width]: [usize; 4]) -> Vec<Vec<usize>> {
        let blocks = self.cell.gates() * width;
        let state = if self.projected { width - 1 } else { width };
        let mut shapes = vec![vec![steps, batch, input], vec![batch, state], vec![blocks, input], vec![blocks, state]];
        shapes.extend((self.cell == RecurrentCell::Lstm).then(|| vec![batch, width]));
        shapes.extend(self.bias.then(|| vec![blocks]));
        shapes.extend(self.bias.then(|| vec![blocks]));
        shapes.extend(self.projected.then(|| vec![state, width]));
        shapes
    }

    /// The layer with inputs of these shapes behind x.
    pub fn layer(&self, inputs: &[Tensor], lengths: &[i64]) -> Recurrence {
        let mut layer = Recurrence::new(self.cell, &inputs[2], &inputs[3]);
        let mut more = inputs[4..].iter().cloned();
        layer.h0 = Some(inputs[1].clone());
        layer.c0 = if self.cell == RecurrentCell::Lstm { more.next() } else { None };
        layer.bias_ih = if self.bias { more.next() } else { None };
        layer.bias_hh = if self.bias { more.next() } else { None };
        layer.weight_hr = if self.projected { more.next() } else { None };
        layer.lengths = self.lengths.then(|| Tensor::from_slice(lengths, [lengths.len()]));
        layer.reverse = self.reverse;
        layer
    }

    /// All results.
    pub fn run(&self, inputs: &[Tensor], lengths: &[i64]) -> Vec<Tensor> {
        let found = self.layer(inputs, lengths).run(&inputs[0]);
        [found.output, found.h_n].into_iter().chain(found.c_n).collect()
    }

    /// A function of its inputs, of 3 steps of 2 sequences, which have 3 and 1 of them where there is a mask.
    pub fn function(self) -> Box<Function<'static>> {
        Box::new(move |inputs| self.run(inputs, &[3, 1]))
    }
}

/// A sequence in a batch with longer ones gives what it gives alone: values, last states, gradients.
#[test]
fn a_masked_sequence_is_the_sequence_alone() -> Result<()> {
    let mut dice = Dice::new(seed() + 31);
    let lengths = [4i64, 1, 3];
    for kind in KINDS.iter().filter(|kind| kind.lengths) {
        let shapes = kind.shapes([4, 3, 2, 3]);
        let inputs: Vec<Tensor> =
            shapes.iter().map(|shape| random(&mut dice, &shape[..].into(), DType::F64).requires_grad_()).collect();
        let together = kind.run(&inputs, &lengths);
        let mut alone_loss = Tensor::zeros_of([], DType::F64);
        let square_sum = |all: &[Tensor]| all.iter().map(|t| t.square().sum(..)).reduce(|a, b| a + b).expect("results");
        for (b, &length) in lengths.iter().enumerate() {
            let mut own = inputs.clone();
            own[0] = inputs[0].narrow(0, 0, length as usize).narrow(1, b, 1);
            own[1] = inputs[1].narrow(0, b, 1);
            if kind.cell == RecurrentCell::Lstm {
                own[4] = inputs[4].narrow(0, b, 1);
            }
            let alone = Kind { lengths: false, ..*kind }.run(&own, &[]);
            let output = together[0].narrow(0, 0, length as usize).narrow(1, b, 1);
            close(DType::F64, &floats(&output).unwrap(), &floats(&alone[0]).unwrap(), 1.0).unwrap();
            for (all, one) in together[1..].iter().zip(&alone[1..]) {
                close(DType::F64, &floats(&all.narrow(0, b, 1)).unwrap(), &floats(one).unwrap(), 1.0).unwrap();
            }
            let behind = together[0].narrow(0, length as usize, 4 - length as usize).narrow(1, b, 1);
            assert!(floats(&behind).unwrap().iter().all(|&y| y == 0.0), "{}", kind.name);
            alone_loss = alone_loss + square_sum(&alone);
        }
        let by: Vec<&Tensor> = inputs.iter().collect();
        let all = gradients(&square_sum(&together), &by)?;
        let each = gradients(&alone_loss, &by)?;
        for (i, (a, b)) in all.into_iter().zip(each).enumerate() {
            let (a, b) = (a.expect("used"), b.expect("used"));
            let same = close(DType::F64, &floats(&a).unwrap(), &floats(&b).unwrap(), 8.0);
            same.unwrap_or_else(|why| panic!("{}, input {i}: {why}", kind.name));
        }
    }
    Ok(())
}

/// Another length of a sequence is no other plan.
#[test]
fn lengths_are_no_part_of_the_plan() -> Result<()> {
    let mut dice = Dice::new(seed() + 32);
    for kind in KINDS.iter().filter(|kind| kind.lengths) {
        let shapes = kind.shapes([4, 3, 2, 3]);
        let inputs: Vec<Tensor> =
            shapes.iter().map(|shape| random(&mut dice, &shape[..].into(), DType::F32).requires_grad_()).collect();
        let mut plans = Vec::new();
        for lengths in [[4i64, 1, 3], [4, 2, 2], [1, 1, 1]] {
            let before = limpid_core::stats().plans;
            let loss = kind.run(&inputs, &lengths).iter().map(|t| t.sum(..)).reduce(|a, b| a + b).expect("results");
            let found = gradients(&loss, &inputs.iter().collect::<Vec<_>>())?;
            limpid_core::eval(found.iter().flatten())?;
            plans.push(limpid_core::stats().plans - before);
        }
        assert_eq!(plans[1..], [0, 0], "{}", kind.name);
    }
    Ok(())
}

/// No sequences, no features: shapes stay.
#[test]
fn nothing_is_a_batch_too() -> Result<()> {
    let mut dice = Dice::new(seed() + 33);
    for kind in KINDS {
        for sizes in [[2, 0, 2, 3], [1, 2, 2, 3], [2, 1, 0, 3]] {
            let shapes = kind.shapes(sizes);
            let inputs: Vec<Tensor> =
                shapes.iter().map(|shape| random(&mut dice, &shape[..].into(), DType::F64).requires_grad_()).collect();
            let lengths: Vec<i64> = (0..sizes[1]).map(|i| 1 + (i % sizes[0]) as i64).collect();
            let results = kind.run(&inputs, &lengths);
            assert_eq!(results[0].shape()[..2], sizes[..2]);
            let loss = results.iter().map(|t| t.square().sum(..)).reduce(|a, b| a + b).expect("results");
            let found = gradients(&loss, &inputs.iter().collect::<Vec<_>>())?;
            for (g, x) in found.iter().zip(&inputs) {
                let g = g.as_ref().expect("used");
                assert_eq!(g.shape(), x.shape(), "{}", kind.name);
                assert!(floats(g).unwrap().iter().all(|v| v.is_finite()), "{}", kind.name);
            }
        }
    }
    Ok(())
}
