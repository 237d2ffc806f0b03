//! Gates and cells of recurrent layers: replaced at every step, and gradients by them, against a plain loop.

use limpid::prelude::*;
use limpid::{Error, Result};

const T: usize = 4;
const N: usize = 2;
const I: usize = 3;
const H: usize = 2;

/// A gate's number (the cell's is 4), step, row of the batch, unit, and the value: what stands in its place.
type Edit<'a> = &'a dyn Fn(usize, usize, usize, usize, f64) -> f64;

struct Plain {
    lstm: bool,
    w: [Vec<f64>; 4],
    x: Vec<f64>,
}

impl Plain {
    fn of(lstm: bool, weights: &limpid::nn::RecurrentWeights, x: &Tensor) -> Result<Plain> {
        let numbers = |p: &Parameter| p.value().and_then(|t| t.to_vec::<f64>());
        let bias = |p: &Option<Parameter>| numbers(p.as_ref().expect("a bias"));
        let w = [numbers(&weights.weight_ih)?, numbers(&weights.weight_hh)?];
        let [ih, hh] = w;
        Ok(Plain { lstm, w: [ih, hh, bias(&weights.bias_ih)?, bias(&weights.bias_hh)?], x: x.to_vec()? })
    }

    /// The hidden states [T, N, H], by the equations of torch's documentation.
    fn run(&self, edit: Edit) -> Vec<f64> {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let [ih, hh, b_ih, b_hh] = &self.w;
        let mut all = Vec::new();
        let (mut h, mut c) = (vec![0.0; N * H], vec![0.0; N * H]);
        for t in 0..T {
            let old = h.clone();
            for (n, j) in (0..N).flat_map(|n| (0..H).map(move |j| (n, j))) {
                let input = |g: usize| {
                    let row = g * H + j;
                    b_ih[row] + (0..I).map(|k| ih[row * I + k] * self.x[(t * N + n) * I + k]).sum::<f64>()
                };
                let hidden = |g: usize| {
                    let row = g * H + j;
                    b_hh[row] + (0..H).map(|k| hh[row * H + k] * old[n * H + k]).sum::<f64>()
                };
                let at = n * H + j;
                let edit = |g: usize, value: f64| edit(g, t, n, j, value);
                if self.lstm {
                    let [i, f, o] = [0, 1, 3].map(|g| edit(g, sigmoid(input(g) + hidden(g))));
                    let g = edit(2, (input(2) + hidden(2)).tanh());
                    c[at] = edit(4, f * c[at] + i * g);
                    h[at] = o * c[at].tanh();
                } else {
                    let [r, z] = [0, 1].map(|g| edit(g, sigmoid(input(g) + hidden(g))));
                    let new = edit(2, (input(2) + r * hidden(2)).tanh());
                    h[at] = (1.0 - z) * new + z * old[at];
                }
            }
            all.extend(&h);
        }
        all
    }

    /// Σ cos(k)·h[k]
    fn loss(&self, edit: Edit) -> f64 {
        self.run(edit).iter().enumerate().map(|(k, h)| (k as f64).cos() * h).sum()
    }
}

fn loss(y: &Tensor) -> Tensor {
    let weights: Vec<f64> = (0..T * N * H).map(|k| (k as f64).cos()).collect();
    (y * Tensor::from(weights).reshape([T, N, H].map(|n| n as isize))).sum(..)
}

fn input() -> Tensor {
    let numbers: Vec<f64> = (0..T * N * I).map(|k| (k as f64 * 0.7 + 0.2).sin()).collect();
    Tensor::from(numbers).reshape([T, N, I].map(|n| n as isize))
}

/// What a tap of gradients with this pattern finds, and the gradients of the weights beside it; `run` is the loss.
fn gradients_of<M: Module>(model: &M, name: &str, run: impl Fn() -> Tensor) -> Result<Vec<f64>> {
    let bits = |t: &Tensor| Ok::<_, Error>(t.to_vec::<f64>()?.into_iter().map(f64::to_bits).collect::<Vec<_>>());
    let weights = |loss: &Tensor| -> Result<Vec<Vec<u64>>> {
        let found = loss.gradients(model)?;
        model.named_parameters().iter().map(|(name, _)| bits(found.get(name).expect("a gradient"))).collect()
    };
    let plain = run();
    let (expected, expected_weights) = (bits(&plain)?, weights(&plain)?);
    let mut beside = Vec::new();
    let seen = Tap::new(name).gradients().run(model, || {
        let loss = run();
        beside = weights(&loss).unwrap_or_default();
        loss
    })?;
    assert_eq!(bits(seen.output())?, expected, "{name}: the loss");
    assert_eq!(beside, expected_weights, "{name}: gradients of the weights");
    seen.gradient(name).expect("a gradient").to_vec()
}

fn holds(plain: &Plain, gate: usize, found: &[f64]) {
    for (k, found) in found.iter().enumerate() {
        let (t, n, j) = (k / N / H, k / H % N, k % H);
        let moved = |by: f64| {
            let here = |g, a, b, c| (g, a, b, c) == (gate, t, n, j);
            plain.loss(&|g, a, b, c, value| if here(g, a, b, c) { value + by } else { value })
        };
        let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((found - expected).abs() < 1e-8, "gate {gate}, step {t}: {found}, not {expected}");
    }
}

#[test]
fn gradients_by_gates_are_those_of_all_that_follows() -> Result<()> {
    manual_seed(5);
    let x = input();
    let (lstm, gru) = (LSTM::new(I, H).dtype(DType::F64), GRU::new(I, H).dtype(DType::F64));
    let plain = Plain::of(true, &lstm.weights[0], &x)?;
    for (gate, name) in ["i_l0", "f_l0", "g_l0", "o_l0", "cell_l0"].into_iter().enumerate() {
        holds(&plain, gate, &gradients_of(&lstm, name, || loss(&lstm.forward(&x, None).0))?);
    }
    let plain = Plain::of(false, &gru.weights[0], &x)?;
    for (gate, name) in ["r_l0", "z_l0", "n_l0"].into_iter().enumerate() {
        holds(&plain, gate, &gradients_of(&gru, name, || loss(&gru.forward(&x, None).0))?);
    }
    Ok(())
}

#[test]
fn what_is_put_in_the_place_of_a_gate_enters_every_step() -> Result<()> {
    manual_seed(6);
    let x = input();
    let (lstm, gru) = (LSTM::new(I, H).dtype(DType::F64), GRU::new(I, H).dtype(DType::F64));
    let near = |found: &[f64], expected: &[f64]| {
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(close), "{found:?}, not {expected:?}");
    };
    let plain = Plain::of(true, &lstm.weights[0], &x)?;
    for (gate, name) in ["i_l0", "f_l0", "g_l0", "o_l0", "cell_l0"].into_iter().enumerate() {
        let tap = Tap::new("**").replace(name, |gate| gate.ones_like() * 0.25);
        let seen = tap.run(&lstm, || lstm.forward(&x, None).0)?;
        near(&seen.output().to_vec::<f64>()?, &plain.run(&|g, _, _, _, value| if g == gate { 0.25 } else { value }));
        assert_eq!(seen.get(name).expect("seen").to_vec::<f64>()?, [0.25; T * N * H]);
    }
    // What else is seen is that of the changed run: without forgetting, the cells are sums.
    let seen = Tap::new("**").replace("f_l0", |f| f.ones_like()).run(&lstm, || lstm.forward(&x, None).0)?;
    let get = |name: &str| seen.get(name).expect("seen").to_vec::<f64>();
    let (i, g, c) = (get("i_l0")?, get("g_l0")?, get("cell_l0")?);
    let sums: Vec<f64> = (0..c.len())
        .map(|k| {
            (0..=k / (N * H))
                .map(|t| {
                    let at = t * N * H + k % (N * H);
                    i[at] * g[at]
                })
                .sum()
        })
        .collect();
    near(&c, &sums);
    // Gates of another run, and a gradient through what is left.
    let plain = Plain::of(false, &gru.weights[0], &x)?;
    let other = tap(&gru, "z_l0", || gru.forward(&(&x * 2.0), None).0)?.get("z_l0").expect("seen").clone();
    let z = other.to_vec::<f64>()?;
    let replaced =
        |g: usize, t: usize, n: usize, j: usize, value: f64| if g == 1 { z[(t * N + n) * H + j] } else { value };
    let put = other.clone();
    let seen = Tap::new("r_l0")
        .gradients()
        .replace("z_l0", move |_| put.clone())
        .run(&gru, || loss(&gru.forward(&x, None).0))?;
    assert!((seen.output().item()? - plain.loss(&replaced)).abs() < 1e-12);
    let found = seen.gradient("r_l0").expect("a gradient").to_vec::<f64>()?;
    let moved = |by: f64| {
        plain.loss(&|g, t, n, j, value| {
            replaced(g, t, n, j, value) + if (g, t, n, j) == (0, 1, 1, 0) { by } else { 0.0 }
        })
    };
    assert!((found[(N + 1) * H] - (moved(1e-5) - moved(-1e-5)) / 2e-5).abs() < 1e-8);
    Ok(())
}

#[test]
fn a_cell_of_one_step_has_gates_too() -> Result<()> {
    manual_seed(7);
    let (x, cell) = (input().select(0, 0), LSTMCell::new(I, H).dtype(DType::F64));
    // An open output gate shows the whole cell.
    let mut state = None;
    let seen = Tap::new("**").replace("o", |o| o.ones_like()).run(&cell, || {
        let (h, c) = cell.forward(&x, None);
        state = Some(c);
        h
    })?;
    let c = state.expect("a cell").to_vec::<f64>()?;
    let h = seen.output().to_vec::<f64>()?;
    assert!(h.iter().zip(&c).all(|(h, c)| (h - c.tanh()).abs() < 1e-15), "{h:?} {c:?}");
    // dh/do = tanh(c), by a run of its own.
    let seen = Tap::new("o").gradients().run(&cell, || cell.forward(&x, None).0.sum(..))?;
    let by_o = seen.gradient("o").expect("a gradient").to_vec::<f64>()?;
    assert!(by_o.iter().zip(&c).all(|(g, c)| (g - c.tanh()).abs() < 1e-12), "{by_o:?} {c:?}");
    Ok(())
}
