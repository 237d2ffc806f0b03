//! Recurrent networks: PyTorch's numbers, what is easily mixed up, packed sequences, taps.

use limpid::prelude::*;
use limpid::{Result, gradients};

fn wave<S: Into<Shape>>(shape: S, k: f64) -> Tensor {
    let shape = shape.into();
    Tensor::from_vec((0..shape.elements()).map(|i| (0.7 * i as f64 + k).cos()).collect::<Vec<f64>>(), &shape)
}

/// Σ t·cos(0.7·i + 0.3)
fn dot(t: &Tensor) -> Tensor {
    (t * wave(t.shape().clone(), 0.3)).sum(..)
}

/// Parameter j takes 0.8·cos(0.7·i + j).
fn waves<M: Module>(model: &M) -> Result<()> {
    for (j, p) in model.parameters().iter().enumerate() {
        p.set(&(wave(p.shape(), j as f64) * 0.8))?;
    }
    Ok(())
}

/// Results, gradients of the inputs, and the sum over those of the parameters, each as [`dot`].
fn numbers<M: Module>(model: &M, results: &[Tensor], inputs: &[Tensor]) -> Result<Vec<f64>> {
    let loss = results.iter().map(dot).reduce(|a, b| a + b).expect("results");
    let parameters: Vec<Tensor> = model.parameters().iter().map(|p| p.tensor()).collect();
    let found = gradients(&loss, &inputs.iter().chain(&parameters).collect::<Vec<_>>())?;
    let found: Vec<Tensor> = found.into_iter().map(|g| dot(&g.expect("used"))).collect();
    let (own, rest) = found.split_at(inputs.len());
    let rest = rest.iter().cloned().reduce(|a, b| a + b).expect("parameters");
    results.iter().map(dot).chain(own.iter().cloned()).chain([rest]).map(|t| t.item()).collect()
}

fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 2e-8, "{found:?}, not {expected:?}");
    }
}

const LENGTHS: [i64; 4] = [2, 4, 1, 3];

/// torch 2: two layers in both directions over a packed, unsorted batch, from given states.
#[test]
fn packed_batches_give_torchs_numbers() -> Result<()> {
    let x = wave([4, 4, 3], 0.1).requires_grad_();
    let packed = pack_padded_sequence(&x, LENGTHS, false, false);
    let h0 = wave([4, 4, 3], 0.2).requires_grad_();
    let c0 = wave([4, 4, 3], 0.4).requires_grad_();
    let padded = |y: &PackedSequence| pad_packed_sequence(y, false, 0.0, None).0;
    for (function, expected) in [
        ("tanh", [0.526674017, -1.037836318, 4.742213539, -2.149090446, 29.677211732]),
        ("relu", [2.831552899, 1.050242984, -0.403712894, 7.911291221, 45.22758787]),
    ] {
        let rnn = RNN::new(3, 3).num_layers(2).nonlinearity(function).bidirectional(true).dtype(DType::F64);
        waves(&rnn)?;
        let (y, h) = rnn.forward(&packed, Some(&h0));
        near(&numbers(&rnn, &[padded(&y), h], &[x.clone(), h0.clone()])?, &expected);
    }
    let gru = GRU::new(3, 3).num_layers(2).bidirectional(true).dtype(DType::F64);
    waves(&gru)?;
    let (y, h) = gru.forward(&packed, Some(&h0));
    let expected = [0.882188014, 6.014828534, 0.72841072, 8.714260601, -11.204522618];
    near(&numbers(&gru, &[padded(&y), h], &[x.clone(), h0])?, &expected);
    for (projection, expected) in [
        (0, [0.362192483, 1.669719065, 4.753863312, 0.203736858, 1.313632999, 8.957118346, 1.642339196]),
        (2, [-0.840278722, -0.083419835, 3.343609008, -0.48246737, -0.577809091, 5.673504178, -11.562952546]),
    ] {
        let lstm = LSTM::new(3, 3).num_layers(2).bidirectional(true).proj_size(projection).dtype(DType::F64);
        waves(&lstm)?;
        let h0 = wave([4, 4, if projection > 0 { projection } else { 3 }], 0.2).requires_grad_();
        let (y, (h, c)) = lstm.forward(&packed, Some((&h0, &c0)));
        near(&numbers(&lstm, &[padded(&y), h, c], &[x.clone(), h0, c0.clone()])?, &expected);
    }
    Ok(())
}

/// What stands behind the ends reaches nothing, not even as NaN.
#[test]
fn padding_reaches_nothing() -> Result<()> {
    let x = wave([4, 4, 3], 0.1);
    let inside = Tensor::arange(0, 4, 1).unsqueeze(1).lt(Tensor::from(LENGTHS).unsqueeze(0)).unsqueeze(2);
    let spoiled = x.where_(&inside, f64::NAN);
    let lstm = LSTM::new(3, 3).bidirectional(true).dtype(DType::F64);
    let mut all = Vec::new();
    for x in [x, spoiled] {
        let (y, (h, c)) = lstm.forward(&pack_padded_sequence(&x, LENGTHS, false, false), None);
        all.push(numbers(&lstm, &[y.data(), h, c], &[])?);
    }
    assert_eq!(all[0], all[1]);
    Ok(())
}

#[test]
fn parameters_are_named_ordered_and_drawn_as_in_torch() -> Result<()> {
    manual_seed(5);
    let lstm = LSTM::new(3, 16).num_layers(2).bidirectional(true).proj_size(2);
    let names: Vec<String> = lstm.named_parameters().into_iter().map(|(name, _)| name).collect();
    let mut expected = Vec::new();
    for layer in ["l0", "l0_reverse", "l1", "l1_reverse"] {
        expected.extend(["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"].map(|w| format!("{w}_{layer}")));
    }
    assert_eq!(names, expected);
    let shapes: Vec<Shape> = lstm.parameters().iter().map(|p| p.shape()).collect();
    assert_eq!(shapes[..5], [[64, 3].into(), [64, 2].into(), [64].into(), [64].into(), Shape::from([2, 16])]);
    assert_eq!(shapes[10], Shape::from([64, 4]));
    for p in lstm.parameters() {
        let values = p.value()?.to_vec::<f32>()?;
        assert!(values.iter().all(|v| v.abs() <= 0.25) && values.iter().any(|v| v.abs() > 0.15), "U(±1/√16)");
    }
    // Setters draw what the constructor with these arguments would have drawn.
    let draw = |f: &dyn Fn() -> GRU| -> Result<Vec<f32>> {
        manual_seed(6);
        f().parameters()[1].value()?.to_vec()
    };
    let early = draw(&|| GRU::new(2, 3).bias(false).num_layers(2))?;
    assert_eq!(early, draw(&|| GRU::new(2, 3).num_layers(3).num_layers(2).bias(true).bias(false))?);
    Ok(())
}

#[test]
fn modules_print_as_in_torch() {
    let lstm =
        LSTM::new(3, 4).num_layers(2).bias(false).batch_first(true).dropout(0.5).bidirectional(true).proj_size(2);
    let expected =
        "LSTM(3, 4, proj_size=2, num_layers=2, bias=False, batch_first=True, dropout=0.5, bidirectional=True)";
    assert_eq!(lstm.describe(), expected);
    assert_eq!(RNN::new(3, 4).nonlinearity("relu").describe(), "RNN(3, 4)");
    assert_eq!(RNNCell::new(3, 4).nonlinearity("relu").describe(), "RNNCell(3, 4, nonlinearity=relu)");
    assert_eq!(GRUCell::new(3, 4).bias(false).describe(), "GRUCell(3, 4, bias=False)");
}

/// The last states are layer by layer, forward before reverse, and `batch_first` leaves them so.
#[test]
fn last_states_stand_by_layer_and_direction() -> Result<()> {
    let gru = GRU::new(3, 4).num_layers(2).bidirectional(true);
    let x = wave([5, 2, 3], 0.0).to_dtype(DType::F32);
    let (y, h) = gru.forward(&x, None);
    assert_eq!((y.shape(), h.shape()), (&Shape::from([5, 2, 8]), &Shape::from([4, 2, 4])));
    let forward = y.select(0, 4).narrow(-1, 0, 4);
    let reverse = y.select(0, 0).narrow(-1, 4, 4);
    assert_eq!(h.select(0, 2).to_vec::<f32>()?, forward.to_vec::<f32>()?);
    assert_eq!(h.select(0, 3).to_vec::<f32>()?, reverse.to_vec::<f32>()?);

    let first = gru.clone().batch_first(true);
    let (by, bh) = first.forward(&x.transpose(0, 1), None);
    assert_eq!(*by.shape(), Shape::from([2, 5, 8]));
    assert_eq!(by.transpose(0, 1).to_vec::<f32>()?, y.to_vec::<f32>()?);
    assert_eq!((bh.shape().clone(), bh.to_vec::<f32>()?), (h.shape().clone(), h.to_vec::<f32>()?));

    let (one, last) = gru.forward(&x.select(1, 1), None);
    assert_eq!((one.shape(), last.shape()), (&Shape::from([5, 8]), &Shape::from([4, 4])));
    let both = one.to_vec::<f32>()?.into_iter().zip(y.select(1, 1).to_vec::<f32>()?);
    assert!(both.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
    Ok(())
}

/// A cell, step by step, is the layer.
#[test]
fn cells_step_by_step_are_the_layer() -> Result<()> {
    let (lstm, cell) = (LSTM::new(3, 4).dtype(DType::F64), LSTMCell::new(3, 4).dtype(DType::F64));
    waves(&lstm)?;
    waves(&cell)?;
    let x = wave([3, 2, 3], 0.5);
    let (y, (h, c)) = lstm.forward(&x, None);
    let mut state: Option<(Tensor, Tensor)> = None;
    for t in 0..3 {
        state = Some(cell.forward(&x.select(0, t), state.as_ref().map(|(h, c)| (h, c))));
    }
    let (last, cells) = state.expect("three steps");
    let all = [(&h.select(0, 0), &last), (&c.select(0, 0), &cells), (&y.select(0, 2), &last)];
    for (a, b) in all {
        near(&a.to_vec::<f64>()?, &b.to_vec::<f64>()?);
    }
    // One step without a batch.
    let alone = cell.forward(&x.select(0, 0).select(0, 1), None).0;
    near(&alone.to_vec::<f64>()?, &y.select(0, 0).select(0, 1).to_vec::<f64>()?);
    Ok(())
}

/// torch: dropout acts between layers, so not behind the last and not with one.
#[test]
fn dropout_acts_between_layers_in_training() -> Result<()> {
    manual_seed(3);
    let x = wave([6, 4, 3], 0.0).to_dtype(DType::F32);
    let run = |model: &RNN| model.forward(&x, None).0.to_vec::<f32>();
    let one = RNN::new(3, 8).dropout(0.5);
    assert_eq!(run(&one)?, run(&one)?);
    let two = RNN::new(3, 8).num_layers(2).dropout(0.5);
    assert_ne!(run(&two)?, run(&two)?);
    assert!(run(&two)?.iter().all(|&y| y != 0.0), "nothing is dropped behind the last layer");
    two.eval();
    assert_eq!(run(&two)?, run(&two)?);
    let plain = two.clone().dropout(0.0);
    assert_eq!(run(&two)?, run(&plain)?);
    Ok(())
}

/// torch's numbers.
#[test]
fn sequences_are_padded_packed_and_back() -> Result<()> {
    let (a, b, c) = (Tensor::from([1.0f32, 2.0, 3.0]), Tensor::from([4.0f32]), Tensor::from([5.0f32, 6.0]));
    let all = [&a, &b, &c];
    let behind = pad_sequence(&all, false, 9.0, PaddingSide::Right);
    assert_eq!(behind.to_vec::<f32>()?, [1.0, 4.0, 5.0, 2.0, 9.0, 6.0, 3.0, 9.0, 9.0]);
    let before = pad_sequence(&all, true, 0.0, PaddingSide::Left);
    assert_eq!(before.to_vec::<f32>()?, [1.0, 2.0, 3.0, 0.0, 0.0, 4.0, 0.0, 5.0, 6.0]);
    let packed = pack_sequence(&all, false);
    assert_eq!(packed.data().to_vec::<f32>()?, [1.0, 5.0, 4.0, 2.0, 6.0, 3.0]);
    assert_eq!(packed.batch_sizes().to_vec::<i64>()?, [3, 2, 1]);
    assert_eq!(packed.sorted_indices().expect("sorted").to_vec::<i64>()?, [0, 2, 1]);
    assert_eq!(packed.unsorted_indices().expect("sorted").to_vec::<i64>()?, [0, 2, 1]);
    let (padded, lengths) = pad_packed_sequence(&packed, true, -1.0, Some(5));
    let rows = [[1.0, 2.0, 3.0, -1.0, -1.0], [4.0, -1.0, -1.0, -1.0, -1.0], [5.0, 6.0, -1.0, -1.0, -1.0]];
    assert_eq!(padded.to_vec::<f32>()?, rows.concat());
    assert_eq!(lengths.to_vec::<i64>()?, [3, 1, 2]);
    for (found, expected) in unpack_sequence(&packed).iter().zip(all) {
        assert_eq!(found.to_vec::<f32>()?, expected.to_vec::<f32>()?);
    }
    for (batch_first, padded) in [(false, behind), (true, padded)] {
        let found = unpad_sequence(&padded, [3, 1, 2], batch_first);
        let found = found.iter().map(|t| t.to_vec::<f32>()).collect::<Result<Vec<_>>>()?;
        assert_eq!(found, [vec![1.0, 2.0, 3.0], vec![4.0], vec![5.0, 6.0]]);
    }
    // From its parts, as torch's constructor takes them; other data in the same places.
    let again = PackedSequence::new(&packed.data(), &packed.batch_sizes(), packed.sorted_indices().as_ref());
    assert_eq!(pad_packed_sequence(&again, true, -1.0, Some(5)).0.to_vec::<f32>()?, rows.concat());
    let twice = packed.with_data(&(packed.data() * 2.0));
    assert_eq!(unpack_sequence(&twice)[2].to_vec::<f32>()?, [10.0, 12.0]);
    // Lengths of any type of integer, and an input that is longer than all.
    let x = pad_sequence(&all, true, 7.0, PaddingSide::Right).pad(1, 0, 2, 7.0);
    for dtype in [DType::U8, DType::I32, DType::I64] {
        let packed = pack_padded_sequence(&x, &Tensor::from([3i64, 1, 2]).to_dtype(dtype), true, false);
        assert_eq!(*pad_packed_sequence(&packed, true, 0.0, None).0.shape(), Shape::from([3, 3]));
    }
    Ok(())
}

/// The gradient of what is packed and padded again is 1 inside and 0 behind the ends.
#[test]
fn gradients_pass_through_packing() -> Result<()> {
    let x = wave([3, 4], 0.0).requires_grad_();
    let packed = pack_padded_sequence(&x, [2, 4, 1], true, false);
    let padded = pad_packed_sequence(&packed, true, 5.0, None).0;
    let data = packed.with_data(&packed.data().square()).data();
    for (y, slope) in [(padded.sum(..), 1.0), (data.sum(..), 2.0)] {
        let g = gradients(&y, &[&x])?.remove(0).expect("used").to_vec::<f64>()?;
        let values = x.to_vec::<f64>()?;
        for (i, length) in [2, 4, 1].into_iter().enumerate() {
            for t in 0..4 {
                let expected = if slope == 1.0 { 1.0 } else { 2.0 * values[4 * i + t] };
                assert_eq!(g[4 * i + t], if t < length { expected } else { 0.0 });
            }
        }
    }
    Ok(())
}

#[derive(Module)]
struct Net {
    lstm: LSTM,
    gru: GRU,
    head: Linear,
}

impl Net {
    #[forward]
    fn forward(&self, x: &Tensor) -> Tensor {
        let (y, _) = self.lstm.forward(x, None);
        self.head.forward(&self.gru.forward(&y, None).1.select(0, 0))
    }
}

/// Hidden states, cells and gates are found by name, fulfil the equations, and looking changes no bit.
#[test]
fn gates_and_states_are_seen() -> Result<()> {
    let net = Net { lstm: LSTM::new(3, 4).bidirectional(true), gru: GRU::new(8, 5), head: Linear::new(5, 2) };
    let x = wave([6, 2, 3], 0.0).to_dtype(DType::F32);
    let plain = net.forward(&x).to_vec::<f32>()?;
    let frozen = no_grad(|| net.forward(&x)).to_vec::<f32>()?;
    let seen = tap(&net, "**", || net.forward(&x))?;
    assert_eq!(seen.output().to_vec::<f32>()?, plain);
    assert_eq!(frozen, plain);
    let get = |name: &str| seen.get(name).unwrap_or_else(|| panic!("{name} among {:?}", seen.paths())).to_vec::<f32>();
    let [i, f, g, o] = ["i", "f", "g", "o"].map(|gate| get(&format!("lstm.{gate}_l0_reverse")));
    let (i, f, g, o, c, h) = (i?, f?, g?, o?, get("lstm.cell_l0_reverse")?, get("lstm.hidden_l0_reverse")?);
    for k in 0..6 * 2 * 4 {
        let old = if k + 8 < c.len() { c[k + 8] } else { 0.0 };
        assert!((c[k] - (f[k] * old + i[k] * g[k])).abs() < 1e-6 && (h[k] - o[k] * c[k].tanh()).abs() < 1e-6);
    }
    let (z, n, h) = (get("gru.z_l0")?, get("gru.n_l0")?, get("gru.hidden_l0")?);
    for k in 0..h.len() {
        let old = if k >= 10 { h[k - 10] } else { 0.0 };
        assert!((h[k] - ((1.0 - z[k]) * n[k] + z[k] * old)).abs() < 1e-6);
    }
    assert_eq!(seen.get("lstm.i_l0").expect("seen").shape(), &Shape::from([6, 2, 4]));
    assert!(seen.get("lstm").is_some() && seen.get("gru.r_l0").is_some());

    let only = tap(&net, "lstm.f_*", || net.forward(&x))?;
    assert_eq!(only.paths(), ["lstm.f_l0", "lstm.f_l0_reverse"]);
    Ok(())
}

/// A sequence task that needs memory: the sign of the first step, told at the last one.
#[test]
fn networks_learn_to_remember() -> Result<()> {
    manual_seed(1);
    let lstm = LSTM::new(1, 8).batch_first(true);
    let head = Linear::new(8, 1);
    #[derive(Module)]
    struct Both(LSTM, Linear);
    let model = Both(lstm, head);
    let mut adam = Adam::new(&model).lr(0.05);
    let first = Tensor::from([1.0f32, -1.0, 1.0, -1.0]).reshape([4, 1, 1]);
    let noise = wave([4, 7, 1], 0.0).to_dtype(DType::F32) * 0.3;
    let x = Tensor::cat(&[&first, &noise], 1);
    let mut last = f64::NAN;
    for _ in 0..60 {
        let (_, (h, _)) = model.0.forward(&x, None);
        let loss = mse_loss(&model.1.forward(&h.select(0, 0)), &first.reshape([4, 1]));
        last = adam.step(&loss)?.item()?;
    }
    assert!(last < 0.01, "{last}");
    Ok(())
}
