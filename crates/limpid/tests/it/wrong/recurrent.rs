//! Recurrent networks and packed sequences.

use limpid::prelude::*;

use super::{Wrong, wrong};

fn zeros<const N: usize>(shape: [usize; N]) -> Tensor {
    Tensor::zeros(shape)
}

pub const WRONG: &[Wrong] = &[
    wrong(
        "rnn: no hidden units",
        || Ok(RNN::new(3, 0).forward(&zeros([2, 1, 3]), None).0),
        &["RNN", "hidden_size is 0"],
    ),
    wrong("gru: no features", || Ok(GRU::new(0, 3).forward(&zeros([2, 1, 0]), None).0), &["GRU", "input_size is 0"]),
    wrong(
        "lstm: no layers",
        || Ok(LSTM::new(3, 4).num_layers(0).forward(&zeros([2, 1, 3]), None).0),
        &["LSTM", "num_layers is 0"],
    ),
    wrong(
        "lstm: a projection that is no smaller",
        || Ok(LSTM::new(3, 4).proj_size(4).forward(&zeros([2, 1, 3]), None).0),
        &["proj_size 4", "hidden_size 4"],
    ),
    wrong(
        "rnn: dropout above 1",
        || Ok(RNN::new(3, 4).num_layers(2).dropout(1.5).forward(&zeros([2, 1, 3]), None).0),
        &["dropout", "1.5", "0 to 1"],
    ),
    wrong(
        "rnn: an unknown function",
        || Ok(RNN::new(3, 4).nonlinearity("gelu").forward(&zeros([2, 1, 3]), None).0),
        &["nonlinearity", "gelu", "tanh"],
    ),
    wrong(
        "rnn: another number of features",
        || Ok(RNN::new(3, 4).forward(&zeros([2, 1, 5]), None).0),
        &["5 features", "[2, 1, 5]", "RNN::new(5, 4)"],
    ),
    wrong(
        "gru: a vector",
        || Ok(GRU::new(3, 4).forward(&zeros([3]), None).1),
        &["GRU", "[3]", "1 axes", "[T, N, features]"],
    ),
    wrong(
        "gru: four axes",
        || Ok(GRU::new(3, 4).batch_first(true).forward(&zeros([2, 2, 2, 3]), None).0),
        &["4 axes", "[N, T, features]"],
    ),
    wrong("lstm: no step", || Ok(LSTM::new(3, 4).forward(&zeros([0, 2, 3]), None).0), &["no step", "[0, 2, 3]"]),
    wrong(
        "lstm: no step of a batch-first input",
        || Ok(LSTM::new(3, 4).batch_first(true).forward(&zeros([2, 0, 3]), None).1.1),
        &["no step"],
    ),
    wrong(
        "lstm: f64 into f32",
        || Ok(LSTM::new(3, 4).forward(&zeros([2, 2, 3]).to_dtype(DType::F64), None).0),
        &["f64", "f32", "to_dtype"],
    ),
    wrong("rnn: integers", || Ok(RNN::new(1, 4).forward(&Tensor::from([[[1i64]]]), None).0), &["i64", "f32"]),
    wrong(
        "rnn: a state for one layer of two",
        || Ok(RNN::new(3, 4).num_layers(2).forward(&zeros([2, 5, 3]), Some(&zeros([1, 5, 4]))).0),
        &["h_0", "[1, 5, 4]", "[2, 5, 4]"],
    ),
    wrong(
        "gru: a batch-first state",
        || Ok(GRU::new(3, 4).batch_first(true).forward(&zeros([5, 2, 3]), Some(&zeros([5, 1, 4]))).0),
        &["h_0", "[5, 1, 4]", "[1, 5, 4]", "also with batch_first"],
    ),
    wrong(
        "lstm: a batch of states for one sequence",
        || Ok(LSTM::new(3, 4).forward(&zeros([2, 3]), Some((&zeros([1, 1, 4]), &zeros([1, 1, 4])))).0),
        &["h_0", "[1, 1, 4]", "[1, 4]"],
    ),
    wrong(
        "lstm: a cell of the projection's size",
        || {
            let lstm = LSTM::new(3, 4).proj_size(2);
            Ok(lstm.forward(&zeros([2, 5, 3]), Some((&zeros([1, 5, 2]), &zeros([1, 5, 2])))).0)
        },
        &["c_0", "[1, 5, 2]", "[1, 5, 4]"],
    ),
    wrong(
        "gru: a state of another type",
        || Ok(GRU::new(3, 4).forward(&zeros([2, 5, 3]), Some(&zeros([1, 5, 4]).to_dtype(DType::F64))).1),
        &["h_0", "f64", "f32"],
    ),
    wrong(
        "rnn cell: another number of features",
        || Ok(RNNCell::new(3, 4).forward(&zeros([2, 5]), None)),
        &["RNNCell", "5 features", "not 3"],
    ),
    wrong(
        "rnn cell: an unknown function",
        || Ok(RNNCell::new(3, 4).nonlinearity("Tanh").forward(&zeros([2, 3]), None)),
        &["RNNCell", "\"Tanh\""],
    ),
    wrong(
        "gru cell: a sequence",
        || Ok(GRUCell::new(3, 4).forward(&zeros([5, 2, 3]), None)),
        &["GRUCell", "3 axes", "[N, features]"],
    ),
    wrong(
        "lstm cell: states of another batch",
        || Ok(LSTMCell::new(3, 4).forward(&zeros([2, 3]), Some((&zeros([3, 4]), &zeros([3, 4])))).1),
        &["LSTMCell", "[3, 4]", "[2, 4]"],
    ),
    wrong(
        "pack: lengths that do not fall",
        || Ok(pack_padded_sequence(&zeros([3, 2, 1]), [1, 3], false, true).data()),
        &["do not fall", "[1, 3]", "enforce_sorted false"],
    ),
    wrong(
        "pack: an empty sequence",
        || Ok(pack_padded_sequence(&zeros([3, 2, 1]), [3, 0], false, true).data()),
        &["length 1 is 0"],
    ),
    wrong(
        "pack: a negative length",
        || Ok(pack_padded_sequence(&zeros([3, 2, 1]), &Tensor::from([3i64, -1]), false, false).data()),
        &["length 1 is -1"],
    ),
    wrong(
        "pack: a length beyond the steps",
        || Ok(pack_padded_sequence(&zeros([3, 2, 1]), [4, 2], false, true).batch_sizes()),
        &["length 0 is 4", "3 steps"],
    ),
    wrong(
        "pack: the other layout",
        || Ok(pack_padded_sequence(&zeros([2, 3, 1]), [3, 2], false, true).data()),
        &["2 lengths", "batch of 3", "batch_first"],
    ),
    wrong(
        "pack: broken lengths",
        || Ok(pack_padded_sequence(&zeros([3, 2, 1]), &Tensor::from([2.5f32, 2.0]), false, true).data()),
        &["f32", "2.5"],
    ),
    wrong(
        "pack: a batch without steps",
        || Ok(pack_padded_sequence(&zeros([3]), [3], false, true).data()),
        &["[3]", "steps and batch"],
    ),
    wrong("pack: no sequences", || Ok(pack_sequence(&[], true).data()), &["no sequences"]),
    wrong(
        "lstm: an error of the packed sequence",
        || Ok(LSTM::new(1, 2).forward(&pack_padded_sequence(&zeros([3, 2, 1]), [1, 3], false, true), None).1.1),
        &["do not fall"],
    ),
    wrong(
        "rnn: other features in a packed sequence",
        || Ok(RNN::new(2, 2).forward(&pack_padded_sequence(&zeros([3, 2, 1]), [3, 1], false, true), None).0.data()),
        &["1 features, not 2"],
    ),
    wrong(
        "packed sequence: steps of embeddings that are too many",
        || Ok(pack_padded_sequence(&zeros([3, 2, 1]), [3, 1], false, true).with_data(&zeros([6, 2])).data()),
        &["[6, 2]", "4 steps"],
    ),
    wrong(
        "packed sequence: batch sizes that grow",
        || Ok(PackedSequence::new(&zeros([3, 1]), [1, 2], None).data()),
        &["[3, 1]", "[1, 2]"],
    ),
    wrong(
        "packed sequence: no order",
        || Ok(PackedSequence::new(&zeros([3, 1]), [2, 1], Some(&Tensor::from([0i64, 0]))).data()),
        &["[0, 0]", "2 sequences"],
    ),
    wrong(
        "pad packed: a total length that is too short",
        || Ok(pad_packed_sequence(&pack_sequence(&[&zeros([3])], true), false, 0.0, Some(2)).0),
        &["total_length 2", "3"],
    ),
    wrong(
        "pad: other features",
        || Ok(pad_sequence(&[&zeros([2, 3]), &zeros([1, 2])], true, 0.0, PaddingSide::Right)),
        &["[2, 3]", "[1, 2]"],
    ),
    wrong("pad: no sequences", || Ok(pad_sequence(&[], true, 0.0, PaddingSide::Right)), &["no sequences"]),
    wrong(
        "unpad: a length beyond the steps",
        || Ok(unpad_sequence(&zeros([3, 2]), [2, 5], false).swap_remove(0)),
        &["[2, 5]", "[3, 2]"],
    ),
];
