use limpid_kernels::DType;
use limpid_kernels::attention::{Attention, Mask, attention};

use super::*;

/// The result and lse, with a mask of [batch, t, s].
fn plain_attention(shape: &Attention, q: &[f64], k: &[f64], v: &[f64], mask: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let Attention { t, s, d, e, .. } = *shape;
    let (mut out, mut lses) = (vec![], vec![]);
    for row in 0..shape.batch.iter().product::<usize>() * t {
        let (b, i) = (row / t, row % t);
        let score = |j: usize| {
            let hidden = shape.causal.is_some_and(|shift| j as isize > i as isize + shift);
            let dot: f64 = (0..d).map(|c| q[row * d + c] * k[(b * s + j) * d + c]).sum();
            if hidden { f64::NEG_INFINITY } else { dot * shape.scale + mask[row * s + j] }
        };
        let scores: Vec<f64> = (0..s).map(score).collect();
        let m = scores.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(x));
        let powers: Vec<f64> = scores.iter().map(|x| if m.is_finite() { (x - m).exp() } else { 0.0 }).collect();
        let total: f64 = powers.iter().sum();
        lses.push(m + total.ln());
        let sum = |c: usize| (0..s).map(|j| powers[j] * v[(b * s + j) * e + c]).sum::<f64>();
        out.extend((0..e).map(|c| if total == 0.0 { 0.0 } else { sum(c) / total }));
    }
    (out, lses)
}

fn shapes() -> Vec<Attention<'static>> {
    let shape =
        |batch, [t, s, d, e]: [usize; 4], causal| Attention { batch, t, s, d, e, causal, scale: 0.4, shared: 1 };
    vec![
        shape(&[], [1, 1, 1, 1], None),
        shape(&[3], [0, 4, 2, 2], None),
        shape(&[3], [4, 0, 2, 2], None),
        shape(&[0, 2], [4, 3, 2, 2], None),
        shape(&[2], [3, 5, 0, 4], None),
        shape(&[2], [3, 5, 4, 0], Some(0)),
        shape(&[2, 3], [5, 7, 8, 6], None),
        shape(&[2, 3], [7, 7, 8, 6], Some(0)),
        shape(&[40, 3], [6, 9, 4, 3], Some(3)),
        shape(&[2], [9, 5, 3, 2], Some(-4)),
        shape(&[2], [64, 64, 16, 16], Some(0)),
        shape(&[2], [65, 257, 16, 8], None),
        shape(&[3], [1, 700, 16, 8], Some(699)),
        shape(&[1, 2], [300, 300, 16, 16], Some(0)),
        shape(&[1], [130, 600, 8, 8], Some(470)),
    ]
}

#[test]
fn attention_equals_plain_loops() {
    let mut random = Random(81);
    for (shape, dtype) in shapes().into_iter().flat_map(|shape| FLOATS.map(|dtype| (shape, dtype))) {
        let batches: usize = shape.batch.iter().product();
        let Attention { t, s, d, e, .. } = shape;
        let kept = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let [q, k, v] = [t * d, s * d, s * e].map(|n| put(dtype, &random.normals(batches * n, 1.0)));
        // For all batches alike, and one of every second key and row of the data; some scores are -∞.
        let mut mask_data = random.normals(4 * t * s, 1.0);
        mask_data.iter_mut().filter(|x| **x > 1.0).for_each(|x| *x = f64::NEG_INFINITY);
        let mask_data = put(dtype, &mask_data);
        let wide_mask = take(dtype, &mask_data);
        for masked in [None, Some((0, [s as isize, 1])), Some((1, [4 * s as isize, 2]))] {
            let at = |i: usize, j: usize| {
                masked.map_or(0.0, |(offset, [row, col])| wide_mask[offset + i * row as usize + j * col as usize])
            };
            let mask: Vec<f64> = (0..batches * t * s).map(|n| at(n / s % t, n % s)).collect();
            let (expected, lses) = plain_attention(&shape, &take(dtype, &q), &take(dtype, &k), &take(dtype, &v), &mask);
            let strides = |inner: [isize; 2]| [vec![0; shape.batch.len()], inner.to_vec()].concat();
            let masked = masked.map(|(offset, inner)| (offset, strides(inner)));
            let mask = masked.as_ref().map(|(offset, strides)| Mask {
                data: view(dtype, &mask_data),
                offset: *offset,
                strides,
            });
            let mut lse = stale(kept, batches * t);
            let out = same_on_all_threads(expected.len() * dtype.size(), |cpu, out| {
                let (q, k, v) = (view(dtype, &q), view(dtype, &k), view(dtype, &v));
                let (out, lse) = (view_mut(dtype, out), view_mut(kept, &mut lse));
                attention(cpu, &shape, q, k, v, mask.as_ref(), out, lse);
            });
            // A mean of values below 5; scores below 20, whose error comes out relative to the powers.
            close(dtype, &take(dtype, &out), &expected, 5.0, &format!("{shape:?} mask {masked:?}"));
            close(kept, &take(kept, &lse), &lses, 5.0, &format!("lse of {shape:?} mask {masked:?}"));
        }
    }
}

#[test]
fn masks_differ_by_batch() {
    let mut random = Random(82);
    let shape = Attention { batch: &[2, 3], shared: 1, t: 4, s: 5, d: 3, e: 3, causal: None, scale: 1.0 };
    let [q, k, v] = [4, 5, 5].map(|n| random.normals(6 * n * 3, 1.0));
    // One mask for each sample, the same for its heads.
    let mask = random.normals(2 * 4 * 5, 2.0);
    let full: Vec<f64> = (0..6 * 20).map(|n| mask[n / 60 * 20 + n % 20]).collect();
    let (expected, _) = plain_attention(&shape, &q, &k, &v, &full);
    let (mut out, mut lse) = (vec![0f64; 72], vec![0f64; 24]);
    let view = Mask { data: Slice::of(&mask), offset: 0, strides: &[20, 0, 5, 1] };
    let (q, k, v) = (Slice::of(&q), Slice::of(&k), Slice::of(&v));
    attention(&Cpu::new(None, 1), &shape, q, k, v, Some(&view), SliceMut::of(&mut out), SliceMut::of(&mut lse));
    close(DType::F64, &out, &expected, 5.0, "by batch");
}

#[test]
fn a_query_that_sees_nothing_gives_zeros_and_a_nan_stays() {
    let shape = Attention { batch: &[], shared: 1, t: 3, s: 2, d: 1, e: 1, causal: None, scale: 1.0 };
    let (inf, nan) = (f32::NEG_INFINITY, f32::NAN);
    let mask = [inf, inf, nan, inf, 0.0, inf];
    let (one, v) = ([1f32; 3], [3f32, 4.0]);
    let (mut out, mut lse) = ([7f32; 3], [7f32; 3]);
    let view = Mask { data: Slice::of(&mask), offset: 0, strides: &[2, 1] };
    let (q, k) = (Slice::of(&one), Slice::of(&one[..2]));
    attention(
        &Cpu::new(None, 1),
        &shape,
        q,
        k,
        Slice::of(&v),
        Some(&view),
        SliceMut::of(&mut out),
        SliceMut::of(&mut lse),
    );
    assert!(out[0] == 0.0 && lse[0] == inf && out[1].is_nan() && lse[1].is_nan(), "{out:?} {lse:?}");
    assert_eq!((out[2], lse[2]), (3.0, 1.0));
}

#[test]
fn shared_keys_are_repeated_keys() {
    let mut random = Random(83);
    for (t, s) in [(3, 5), (70, 300)] {
        let wide = Attention { batch: &[2, 3], shared: 1, t, s, d: 4, e: 3, causal: Some(0), scale: 0.5 };
        let (q, k, v) =
            (random.normals(6 * t * 4, 1.0), random.normals(2 * s * 4, 1.0), random.normals(2 * s * 3, 1.0));
        let repeat = |x: &[f64]| x.chunks(x.len() / 2).flat_map(|sample| sample.repeat(3)).collect::<Vec<_>>();
        let run = |shape: &Attention, k: &[f64], v: &[f64]| {
            let (mut out, mut lse) = (vec![0f64; 6 * t * 3], vec![0f64; 6 * t]);
            let (outs, lses) = (SliceMut::of(&mut out), SliceMut::of(&mut lse));
            attention(&Cpu::new(None, 1), shape, Slice::of(&q), Slice::of(k), Slice::of(v), None, outs, lses);
            (out, lse)
        };
        assert_eq!(run(&Attention { shared: 3, ..wide }, &k, &v), run(&wide, &repeat(&k), &repeat(&v)));
    }
}
