use limpid_kernels::DType;
use limpid_kernels::attention::{Attention, Forward, Inputs, Mask, Rows, attention, attention_grad};

use super::*;

/// Weights `[samples·heads, t, s]` and lse, with a mask of the same shape.
fn plain_weights(shape: &Attention, q: &[f64], k: &[f64], mask: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let Attention { t, s, d, shared, .. } = *shape;
    let (mut weights, mut lses) = (vec![], vec![]);
    for row in 0..shape.samples * shape.heads * t {
        let (b, i) = (row / t, row % t);
        let score = |j: usize| {
            let hidden = shape.causal.is_some_and(|shift| j as isize > i as isize + shift);
            let dot: f64 = (0..d).map(|c| q[row * d + c] * k[(b / shared * s + j) * d + c]).sum();
            if hidden { f64::NEG_INFINITY } else { dot * shape.scale + mask[row * s + j] }
        };
        let scores: Vec<f64> = (0..s).map(score).collect();
        let m = scores.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(x));
        let powers: Vec<f64> = scores.iter().map(|x| if m.is_finite() { (x - m).exp() } else { 0.0 }).collect();
        let total: f64 = powers.iter().sum();
        lses.push(m + total.ln());
        weights.extend(powers.iter().map(|p| if total == 0.0 { 0.0 } else { p / total }));
    }
    (weights, lses)
}

fn plain_attention(shape: &Attention, weights: &[f64], v: &[f64]) -> Vec<f64> {
    let Attention { t, s, e, shared, .. } = *shape;
    let rows = shape.samples * shape.heads * t;
    let sum = |row: usize, c: usize| {
        (0..s).map(|j| weights[row * s + j] * v[(row / t / shared * s + j) * e + c]).sum::<f64>()
    };
    (0..rows).flat_map(|row| (0..e).map(move |c| (row, c))).map(|(row, c)| sum(row, c)).collect()
}

/// The gradients of q, k and v, given that of the result.
fn plain_grads(shape: &Attention, weights: &[f64], [q, k, v, g]: [&[f64]; 4]) -> [Vec<f64>; 3] {
    let Attention { t, s, d, e, shared, scale, .. } = *shape;
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    for row in 0..shape.samples * shape.heads * t {
        let key = |j: usize| row / t / shared * s + j;
        let weights = &weights[row * s..][..s];
        let dp: Vec<f64> = (0..s).map(|j| (0..e).map(|c| g[row * e + c] * v[key(j) * e + c]).sum()).collect();
        let mean: f64 = weights.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
        for j in 0..s {
            let ds = weights[j] * (dp[j] - mean) * scale;
            (0..e).for_each(|c| dv[key(j) * e + c] += weights[j] * g[row * e + c]);
            (0..d).for_each(|c| dq[row * d + c] += ds * k[key(j) * d + c]);
            (0..d).for_each(|c| dk[key(j) * d + c] += ds * q[row * d + c]);
        }
    }
    [dq, dk, dv]
}

/// `[samples, a, b, width]` as `[samples, b, a, width]`.
fn turned(x: &[f64], a: usize, b: usize, width: usize) -> Vec<f64> {
    let place = |i: usize| {
        let (c, i) = (i % width, i / width);
        let (j, i) = (i % a, i / a);
        ((i / b * a + j) * b + i % b) * width + c
    };
    (0..x.len()).map(|i| x[place(i)]).collect()
}

fn shapes() -> Vec<Attention> {
    let shape = |[samples, heads, shared]: [usize; 3], [t, s, d, e]: [usize; 4], causal| Attention {
        samples,
        heads,
        shared,
        t,
        s,
        d,
        e,
        causal,
        scale: 0.4,
    };
    vec![
        shape([1, 1, 1], [1, 1, 1, 1], None),
        shape([3, 1, 1], [0, 4, 2, 2], None),
        shape([3, 1, 1], [4, 0, 2, 2], None),
        shape([0, 2, 1], [4, 3, 2, 2], None),
        shape([2, 1, 1], [3, 5, 0, 4], None),
        shape([2, 1, 1], [3, 5, 4, 0], Some(0)),
        shape([2, 3, 1], [5, 7, 8, 6], None),
        shape([2, 3, 1], [7, 7, 8, 6], Some(0)),
        shape([1, 6, 3], [11, 9, 4, 3], Some(-1)),
        shape([40, 3, 1], [9, 6, 4, 3], Some(3)),
        shape([2, 1, 1], [9, 5, 3, 2], Some(-4)),
        shape([2, 1, 1], [64, 64, 16, 16], Some(0)),
        shape([1, 2, 1], [65, 257, 16, 8], None),
        shape([3, 2, 2], [1, 700, 16, 8], Some(699)),
        shape([1, 4, 2], [300, 300, 16, 16], Some(0)),
        shape([5, 1, 1], [130, 150, 40, 33], Some(20)),
        shape([1, 1, 1], [130, 600, 8, 8], Some(470)),
    ]
}

#[test]
fn attention_and_its_gradient_equal_plain_loops() {
    let mut random = Random(81);
    for (shape, dtype) in shapes().into_iter().flat_map(|shape| FLOATS.map(|dtype| (shape, dtype))) {
        let Attention { samples, heads, shared, t, s, d, e, .. } = shape;
        let (batches, groups) = (samples * heads, heads / shared);
        let kept = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let [q, k, v, g] = [batches * t * d, samples * groups * s * d, samples * groups * s * e, batches * t * e]
            .map(|n| put(dtype, &random.normals(n, 1.0)));
        let [wide_q, wide_k, wide_v, wide_g] = [&q, &k, &v, &g].map(|x| take(dtype, x));
        // For all batches alike, and one of every second key and row of the data; some scores are -∞.
        let mut mask_data = random.normals(4 * t * s, 1.0);
        mask_data.iter_mut().filter(|x| **x > 1.0).for_each(|x| *x = f64::NEG_INFINITY);
        let mask_data = put(dtype, &mask_data);
        let wide_mask = take(dtype, &mask_data);
        for masked in [None, Some((0, [s as isize, 1])), Some((1, [4 * s as isize, 2]))] {
            let what = format!("{shape:?} mask {masked:?}");
            let at = |i: usize, j: usize| {
                masked.map_or(0.0, |(offset, [row, col])| wide_mask[offset + i * row as usize + j * col as usize])
            };
            let mask: Vec<f64> = (0..batches * t * s).map(|n| at(n / s % t, n % s)).collect();
            let (weights, lses) = plain_weights(&shape, &wide_q, &wide_k, &mask);
            let expected = plain_attention(&shape, &weights, &wide_v);
            let mask = masked.map(|(offset, [row, col])| Mask {
                data: view(dtype, &mask_data),
                offset,
                heads: 1,
                strides: [0, 0, row, col],
            });
            let inputs = Inputs {
                q: Rows::by_head(view(dtype, &q), heads, t, d),
                k: Rows::by_head(view(dtype, &k), groups, s, d),
                v: Rows::by_head(view(dtype, &v), groups, s, e),
                mask,
            };
            let (mut maxima, mut totals) = (stale(kept, batches * t), stale(kept, batches * t));
            let out = same_on_all_threads(expected.len() * dtype.size(), |cpu, out| {
                let [m, l] = [&mut maxima, &mut totals].map(|x| view_mut(kept, x));
                attention(cpu, &shape, &inputs, view_mut(dtype, out), m, l);
            });
            // A mean of values below 5; scores below 20, whose error comes out relative to the powers.
            close(dtype, &turned(&take(dtype, &out), t, heads, e), &expected, 5.0, &what);
            let sums = take(kept, &maxima).into_iter().zip(take(kept, &totals)).map(|(m, l)| m + l.ln());
            close(kept, &sums.collect::<Vec<f64>>(), &lses, 5.0, &format!("lse of {what}"));

            let grad = Rows::by_head(view(dtype, &g), heads, t, e);
            let (maxima, totals) = (view(kept, &maxima), view(kept, &totals));
            let forward = Forward { out: view(dtype, &out), maxima, totals, grad };
            let sizes = [&wide_q, &wide_k, &wide_v].map(Vec::len);
            let grads = same_on_all_threads(sizes.iter().sum::<usize>() * dtype.size(), |cpu, grads| {
                let mut rest = grads.bytes_mut();
                let [dq, dk, dv] = sizes.map(|n| {
                    SliceMut::new(dtype, rest.split_off_mut(..n * dtype.size()).expect("as many as there are"))
                });
                attention_grad(cpu, &shape, &inputs, &forward, dq, dk, dv);
            });
            let grads = take(dtype, &grads);
            let expected = plain_grads(&shape, &weights, [&wide_q, &wide_k, &wide_v, &wide_g]);
            let (dq, rest) = grads.split_at(sizes[0]);
            let (dk, dv) = rest.split_at(sizes[1]);
            // Sums over queries or keys of terms that are as large as this.
            let size = 20.0;
            close(dtype, &turned(dq, t, heads, d), &expected[0], size, &format!("dq of {what}"));
            close(dtype, &turned(dk, s, groups, d), &expected[1], size, &format!("dk of {what}"));
            close(dtype, &turned(dv, s, groups, e), &expected[2], size, &format!("dv of {what}"));
        }
    }
}

/// Every instruction set, and inputs that are views of one buffer, as a joint projection makes them.
#[test]
fn attention_reads_by_strides_on_every_instruction_set() {
    let mut random = Random(84);
    let (samples, heads, t, d) = (2, 3, 70, 20);
    let shape = Attention { samples, heads, shared: 1, t, s: t, d, e: d, causal: Some(0), scale: 0.3 };
    let joint = random.normals(samples * t * 3 * heads * d, 1.0);
    let grad = random.normals(samples * t * heads * d, 1.0);
    // [samples, t, 3, heads, d]
    let part = |i: usize| {
        let row = 3 * heads * d;
        let data = Slice::of(&joint[i * heads * d..]);
        Rows { data, sample: t * row, head: d, row }
    };
    let plain = |i: usize| {
        let row = |r: usize| joint[(r * 3 + i) * heads * d..][..heads * d].to_vec();
        turned(&(0..samples * t).flat_map(row).collect::<Vec<f64>>(), t, heads, d)
    };
    let (q, k, v) = (plain(0), plain(1), plain(2));
    let (weights, _) = plain_weights(&shape, &q, &k, &vec![0.0; samples * heads * t * t]);
    let expected = plain_attention(&shape, &weights, &v);
    let expected_grads = plain_grads(&shape, &weights, [&q, &k, &v, &turned(&grad, t, heads, d)]);
    for isa in limpid_kernels::Isa::available() {
        let cpu = Cpu::new(Some(isa), 3);
        let inputs = Inputs { q: part(0), k: part(1), v: part(2), mask: None };
        let rows = samples * heads * t;
        let (mut out, mut maxima, mut totals) = (vec![0f64; rows * d], vec![0f64; rows], vec![0f64; rows]);
        let [o, m, l] = [&mut out, &mut maxima, &mut totals].map(|x| SliceMut::of(x));
        attention(&cpu, &shape, &inputs, o, m, l);
        close(DType::F64, &turned(&out, t, heads, d), &expected, 5.0, isa.name());
        let forward = Forward {
            out: Slice::of(&out),
            maxima: Slice::of(&maxima),
            totals: Slice::of(&totals),
            grad: Rows::by_row(Slice::of(&grad), heads, t, d),
        };
        let [mut dq, mut dk, mut dv] = [(); 3].map(|_| vec![0f64; rows * d]);
        let [a, b, c] = [&mut dq, &mut dk, &mut dv].map(|x| SliceMut::of(x));
        attention_grad(&cpu, &shape, &inputs, &forward, a, b, c);
        for (got, want) in [dq, dk, dv].iter().zip(&expected_grads) {
            close(DType::F64, &turned(got, t, heads, d), want, 50.0, isa.name());
        }
    }
}

#[test]
fn masks_differ_by_batch() {
    let mut random = Random(82);
    let shape = Attention { samples: 2, heads: 3, shared: 1, t: 4, s: 5, d: 3, e: 3, causal: None, scale: 1.0 };
    let [q, k, v] = [4, 5, 5].map(|n| random.normals(6 * n * 3, 1.0));
    // One mask for each sample, the same for its heads.
    let mask = random.normals(2 * 4 * 5, 2.0);
    let full: Vec<f64> = (0..6 * 20).map(|n| mask[n / 60 * 20 + n % 20]).collect();
    let (weights, _) = plain_weights(&shape, &q, &k, &full);
    let expected = plain_attention(&shape, &weights, &v);
    let (mut out, mut maxima, mut totals) = (vec![0f64; 72], vec![0f64; 24], vec![0f64; 24]);
    let inputs = Inputs {
        q: Rows::by_head(Slice::of(&q), 3, 4, 3),
        k: Rows::by_head(Slice::of(&k), 3, 5, 3),
        v: Rows::by_head(Slice::of(&v), 3, 5, 3),
        mask: Some(Mask { data: Slice::of(&mask), offset: 0, heads: 3, strides: [20, 0, 5, 1] }),
    };
    let [o, m, l] = [&mut out, &mut maxima, &mut totals].map(|x| SliceMut::of(x));
    attention(&Cpu::new(None, 1), &shape, &inputs, o, m, l);
    close(DType::F64, &turned(&out, 4, 3, 3), &expected, 5.0, "by batch");
}

#[test]
fn a_query_that_sees_nothing_gives_zeros_and_a_nan_stays() {
    // Few queries, and as many as are computed in blocks.
    for repeats in [1, 5] {
        let t = 3 * repeats;
        let shape = Attention { samples: 1, heads: 1, shared: 1, t, s: 2, d: 1, e: 1, causal: None, scale: 1.0 };
        let (inf, nan) = (f32::NEG_INFINITY, f32::NAN);
        let mask = [inf, inf, inf, nan, 0.0, inf].repeat(repeats);
        let (one, v) = (vec![1f32; t], [3f32, 4.0]);
        let (mut out, mut maxima, mut totals) = (vec![7f32; t], vec![7f32; t], vec![7f32; t]);
        let inputs = Inputs {
            q: Rows::by_head(Slice::of(&one), 1, t, 1),
            k: Rows::by_head(Slice::of(&one[..2]), 1, 2, 1),
            v: Rows::by_head(Slice::of(&v), 1, 2, 1),
            mask: Some(Mask { data: Slice::of(&mask), offset: 0, heads: 1, strides: [0, 0, 2, 1] }),
        };
        let cpu = Cpu::new(None, 1);
        let [o, m, l] = [&mut out, &mut maxima, &mut totals].map(|x| SliceMut::of(x));
        attention(&cpu, &shape, &inputs, o, m, l);
        for i in (0..t).step_by(3) {
            assert_eq!((out[i], maxima[i], totals[i]), (0.0, inf, 0.0), "nothing is seen");
            assert!(out[i + 1].is_nan() && totals[i + 1].is_nan(), "{out:?} {totals:?}");
            assert_eq!((out[i + 2], maxima[i + 2], totals[i + 2]), (3.0, 1.0, 1.0));
        }
        let forward = Forward {
            out: Slice::of(&out),
            maxima: Slice::of(&maxima),
            totals: Slice::of(&totals),
            grad: Rows::by_head(Slice::of(&one), 1, t, 1),
        };
        let [mut dq, mut dk, mut dv] = [vec![7f32; t], vec![7f32; 2], vec![7f32; 2]];
        let [a, b, c] = [&mut dq, &mut dk, &mut dv].map(|x| SliceMut::of(x));
        attention_grad(&cpu, &shape, &inputs, &forward, a, b, c);
        assert!(dq[0] == 0.0 && dq[1].is_nan() && dq[2] == 0.0 && dk[1].is_nan(), "{dq:?} {dk:?}");
    }
}
