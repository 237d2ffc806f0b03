use limpid_kernels::recurrent::{Gradients, Inputs, Kind, Layer, Outputs, Saved, backward, forward};
use limpid_kernels::{DType, Isa};

use super::*;

/// Kind, steps, batch, hidden, state, reverse, lengths: one sequence and few, several bands, several lanes, blocks that
/// are not whole, enough work for several threads, projections.
const LAYERS: [(Kind, usize, usize, usize, usize, bool, bool); 16] = [
    (Kind::Lstm, 3, 1, 5, 5, false, false),
    (Kind::Lstm, 4, 1, 160, 160, false, false),
    (Kind::Lstm, 3, 4, 100, 100, true, true),
    (Kind::Lstm, 3, 13, 33, 33, false, false),
    (Kind::Lstm, 3, 32, 64, 64, false, false),
    (Kind::Lstm, 4, 37, 40, 40, true, true),
    (Kind::Lstm, 3, 20, 70, 37, true, true),
    (Kind::Lstm, 2, 3, 100, 64, false, false),
    (Kind::Gru, 3, 1, 150, 150, true, false),
    (Kind::Gru, 3, 7, 20, 20, false, true),
    (Kind::Gru, 3, 33, 96, 96, false, false),
    (Kind::Gru, 4, 50, 45, 45, true, true),
    (Kind::Tanh, 3, 2, 300, 300, false, false),
    (Kind::Tanh, 4, 40, 65, 65, true, true),
    (Kind::Relu, 3, 5, 31, 31, false, true),
    (Kind::Relu, 1, 16, 64, 64, false, false),
];

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A layer and numbers for all that it reads.
struct Case {
    layer: Layer,
    gates: usize,
    x: Vec<f64>,
    w: Vec<f64>,
    h: Vec<f64>,
    c: Vec<f64>,
    bias: Vec<f64>,
    projection: Vec<f64>,
    lengths: Option<Vec<i64>>,
    dy: Vec<f64>,
}

/// What the loop forward makes: y, h, c, gates, second.
struct Made([Vec<f64>; 5]);

impl Case {
    fn step(&self, i: usize) -> usize {
        if self.layer.reverse { self.layer.steps - 1 - i } else { i }
    }

    fn reaches(&self, row: usize, step: usize) -> bool {
        self.lengths.as_ref().is_none_or(|l| (step as i64) < l[row])
    }

    /// Σ_k w[j, k]·v[k]
    fn times(w: &[f64], v: &[f64]) -> Vec<f64> {
        w.chunks(v.len()).map(|w| w.iter().zip(v).map(|(w, v)| w * v).sum()).collect()
    }

    /// Σ_j w[j, k]·v[j]
    fn transposed(w: &[f64], v: &[f64], k: usize) -> Vec<f64> {
        (0..k).map(|k_| v.iter().enumerate().map(|(j, v)| w[j * k + k_] * v).sum()).collect()
    }

    fn forward(&self) -> Made {
        let Layer { kind, steps, batch, hidden, state, .. } = self.layer;
        let width = self.gates * hidden;
        let (mut h, mut c) = (self.h.clone(), self.c.clone());
        let (mut y, mut gates) = (vec![0.0; steps * batch * state], vec![0.0; steps * batch * width]);
        let mut second = vec![0.0; steps * batch * hidden];
        for (i, row) in (0..steps).flat_map(|i| (0..batch).map(move |row| (i, row))) {
            let step = self.step(i);
            if !self.reaches(row, step) {
                continue;
            }
            let at = step * batch + row;
            let inner = Case::times(&self.w, &h[row * state..][..state]);
            let mut new = vec![0.0; hidden];
            for j in 0..hidden {
                let x = |g: usize| self.x[at * width + g * hidden + j];
                let sum = |g: usize| x(g) + inner[g * hidden + j];
                let biased = |g: usize| inner[g * hidden + j] + self.bias[g * hidden + j];
                let mut keep = |g: usize, v: f64| {
                    gates[at * width + g * hidden + j] = v;
                    v
                };
                new[j] = match kind {
                    Kind::Tanh => sum(0).tanh(),
                    Kind::Relu => sum(0).max(0.0),
                    Kind::Lstm => {
                        let (i, f) = (keep(0, sigmoid(sum(0))), keep(1, sigmoid(sum(1))));
                        let (g, o) = (keep(2, sum(2).tanh()), keep(3, sigmoid(sum(3))));
                        let c = &mut c[row * hidden + j];
                        *c = f * *c + i * g;
                        second[at * hidden + j] = *c;
                        o * c.tanh()
                    }
                    Kind::Gru => {
                        let (r, z) = (keep(0, sigmoid(x(0) + biased(0))), keep(1, sigmoid(x(1) + biased(1))));
                        let n = keep(2, (x(2) + r * biased(2)).tanh());
                        second[at * hidden + j] = biased(2);
                        (1.0 - z) * n + z * h[row * hidden + j]
                    }
                };
            }
            let new = if self.projection.is_empty() { new } else { Case::times(&self.projection, &new) };
            h[row * state..][..state].copy_from_slice(&new);
            y[at * state..][..state].copy_from_slice(&new);
        }
        Made([y, h, c, gates, second])
    }

    /// The gradients of x, the first h, the first c, the third block of W·h + b, and h behind the projection.
    fn backward(&self, made: &Made) -> [Vec<f64>; 5] {
        let Layer { kind, steps, batch, hidden, state, .. } = self.layer;
        let width = self.gates * hidden;
        let Made([y, _, _, gates, second]) = made;
        let mut dx = vec![0.0; steps * batch * width];
        let mut third = vec![0.0; steps * batch * hidden];
        let mut projected = vec![0.0; steps * batch * state];
        // The last states have gradients too: their own values, say.
        let (mut dh, mut dc) = (self.h.clone(), self.c.clone());
        for (i, row) in (0..steps).rev().flat_map(|i| (0..batch).map(move |row| (i, row))) {
            let step = self.step(i);
            if !self.reaches(row, step) {
                continue;
            }
            let at = step * batch + row;
            let before = (i > 0).then(|| self.step(i - 1)).filter(|&step| self.reaches(row, step));
            let old = |states: &[f64], first: &[f64], j: usize| match before {
                Some(step) => states[(step * batch + row) * hidden + j],
                None => first[row * hidden + j],
            };
            let d: Vec<f64> = (0..state).map(|j| dh[row * state + j] + self.dy[at * state + j]).collect();
            projected[at * state..][..state].copy_from_slice(&d);
            let d = if self.projection.is_empty() { d } else { Case::transposed(&self.projection, &d, hidden) };
            let mut inner = vec![0.0; width];
            let mut rest = vec![0.0; state];
            for j in 0..hidden {
                let gate = |g: usize| gates[at * width + g * hidden + j];
                let mut put = |g: usize, v: f64, of_inner: f64| {
                    dx[at * width + g * hidden + j] = v;
                    inner[g * hidden + j] = of_inner;
                };
                let h = y.get(at * state + j).copied().unwrap_or_default();
                match kind {
                    Kind::Tanh => put(0, d[j] * (1.0 - h * h), d[j] * (1.0 - h * h)),
                    Kind::Relu if h > 0.0 => put(0, d[j], d[j]),
                    Kind::Relu => {}
                    Kind::Lstm => {
                        let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                        let c = second[at * hidden + j].tanh();
                        let slope = dc[row * hidden + j] + d[j] * o * (1.0 - c * c);
                        let old = old(second, &self.c, j);
                        for (k, v) in [
                            slope * g * i * (1.0 - i),
                            slope * old * f * (1.0 - f),
                            slope * i * (1.0 - g * g),
                            d[j] * c * o * (1.0 - o),
                        ]
                        .into_iter()
                        .enumerate()
                        {
                            put(k, v, v);
                        }
                        dc[row * hidden + j] = slope * f;
                    }
                    Kind::Gru => {
                        let (r, z, n) = (gate(0), gate(1), gate(2));
                        let dn = d[j] * (1.0 - z) * (1.0 - n * n);
                        let dz = d[j] * (old(y, &self.h, j) - n) * z * (1.0 - z);
                        let dr = dn * second[at * hidden + j] * r * (1.0 - r);
                        put(0, dr, dr);
                        put(1, dz, dz);
                        put(2, dn, dn * r);
                        third[at * hidden + j] = dn * r;
                        rest[j] = d[j] * z;
                    }
                }
            }
            let back = Case::transposed(&self.w, &inner, state);
            (0..state).for_each(|j| dh[row * state + j] = rest[j] + back[j]);
        }
        [dx, dh, dc, third, projected]
    }
}

fn cases() -> Vec<Case> {
    let mut random = Random(71);
    LAYERS
        .into_iter()
        .map(|(kind, steps, batch, hidden, state, reverse, lengths)| {
            let gates = match kind {
                Kind::Lstm => 4,
                Kind::Gru => 3,
                _ => 1,
            };
            let (lstm, scale) = (kind == Kind::Lstm, 1.0 / (state as f64).sqrt());
            // Exact in f32, so that both types mean the same layer.
            let mut numbers = |n: usize, scale: f64| -> Vec<f64> {
                random.normals(n, scale).into_iter().map(|v| f64::from(v as f32)).collect()
            };
            Case {
                layer: Layer { kind, steps, batch, hidden, state, reverse },
                gates,
                x: numbers(steps * batch * gates * hidden, 1.0),
                w: numbers(gates * hidden * state, scale),
                h: numbers(batch * state, 0.5),
                c: numbers(if lstm { batch * hidden } else { 0 }, 0.5),
                bias: numbers(gates * hidden, 0.5),
                projection: numbers(if state < hidden { state * hidden } else { 0 }, 1.0 / (hidden as f64).sqrt()),
                lengths: lengths.then(|| (0..batch).map(|i| 1 + (i % steps) as i64).collect()),
                dy: numbers(steps * batch * state, 0.5),
            }
        })
        .collect()
}

/// Runs `kernel` for both types on every instruction set, and checks what it makes; one and three threads make the same.
fn check(expected: &[Vec<f64>], used: &[bool], layer: &Layer, kernel: impl Fn(&Cpu, DType, &mut [Buffer])) {
    for (isa, dtype) in Isa::available().into_iter().flat_map(|isa| [(isa, DType::F32), (isa, DType::F64)]) {
        let made = [1, 3].map(|threads| {
            let mut out: Vec<Buffer> = expected.iter().map(|e| stale(dtype, e.len())).collect();
            kernel(&Cpu::new(Some(isa), threads), dtype, &mut out);
            out
        });
        for (k, expected) in expected.iter().enumerate().filter(|(k, _)| used[*k]) {
            let what = format!("{layer:?}, {}, result {k}", isa.name());
            assert_eq!(made[0][k].bytes(), made[1][k].bytes(), "{what}: it depends on the number of threads");
            close(dtype, &take(dtype, &made[0][k]), expected, 7.5, &what);
        }
    }
}

#[test]
fn layers_equal_plain_loops() {
    for case in cases() {
        let layer = case.layer;
        let (lstm, gated) = (layer.kind == Kind::Lstm, case.gates > 1);
        let made = case.forward();
        let given = |dtype: DType| {
            [&case.x, &case.w, &case.h, &case.c, &case.bias, &case.projection, &case.dy].map(|v| put(dtype, v))
        };
        let lengths = case.lengths.as_ref().map(|l| Slice::of(&l[..]));
        for kept in [true, false] {
            let kept = kept && gated;
            check(&made.0, &[true, true, lstm, kept, kept], &layer, |cpu, dtype, out| {
                let [x, w, h, c, bias, projection, _] = &given(dtype);
                let inputs = Inputs {
                    x: view(dtype, x),
                    w: view(dtype, w),
                    h: view(dtype, h),
                    c: lstm.then(|| view(dtype, c)),
                    bias: (layer.kind == Kind::Gru).then(|| view(dtype, bias)),
                    projection: (layer.state < layer.hidden).then(|| view(dtype, projection)),
                    lengths,
                };
                let [y, h, c, gates, second] = out else { unreachable!("five results") };
                let outputs = Outputs {
                    y: view_mut(dtype, y),
                    h: view_mut(dtype, h),
                    c: lstm.then(|| view_mut(dtype, c)),
                    gates: kept.then(|| view_mut(dtype, gates)),
                    second: kept.then(|| view_mut(dtype, second)),
                };
                forward(cpu, &layer, &inputs, outputs);
            });
        }
    }
}

#[test]
fn gradients_equal_plain_loops() {
    for case in cases() {
        let layer = case.layer;
        let (lstm, gru) = (layer.kind == Kind::Lstm, layer.kind == Kind::Gru);
        let made = case.forward();
        // What the kernel reads is rounded: so it is for the loop.
        let round = |v: &[f64]| v.iter().map(|&v| f64::from(v as f32)).collect();
        let made = Made(made.0.map(|v| round(&v)));
        let projected = layer.state < layer.hidden;
        let expected = case.backward(&made);
        check(&expected, &[true, true, lstm, gru, projected], &layer, |cpu, dtype, out| {
            let buffer = |v: &[f64]| put(dtype, v);
            let [y, _, _, gates, second] = [0, 1, 2, 3, 4].map(|k| buffer(&made.0[k]));
            let [w, h, c, projection, dy] = [&case.w, &case.h, &case.c, &case.projection, &case.dy].map(|v| buffer(v));
            let saved = Saved {
                gates: (lstm || gru).then(|| view(dtype, &gates)),
                second: (lstm || gru).then(|| view(dtype, &second)),
                y: (!lstm).then(|| view(dtype, &y)),
                first: if lstm { Some(view(dtype, &c)) } else { gru.then(|| view(dtype, &h)) },
                w: view(dtype, &w),
                dy: view(dtype, &dy),
                dh: view(dtype, &h),
                dc: lstm.then(|| view(dtype, &c)),
                projection: projected.then(|| view(dtype, &projection)),
                lengths: case.lengths.as_ref().map(|l| Slice::of(&l[..])),
            };
            let [x, dh, dc, third, behind] = out else { unreachable!("five results") };
            let gradients = Gradients {
                x: view_mut(dtype, x),
                h: view_mut(dtype, dh),
                c: lstm.then(|| view_mut(dtype, dc)),
                inner: gru.then(|| view_mut(dtype, third)),
                projected: projected.then(|| view_mut(dtype, behind)),
            };
            backward(cpu, &layer, &saved, gradients);
        });
    }
}
