use limpid_kernels::DType;
use limpid_kernels::norm::{Rows, row_norm, row_norm_grad};

use super::*;

const SHAPES: [(usize, usize); 9] =
    [(0, 4), (1, 1), (1, 2), (300, 3), (9, 33), (70, 128), (130, 1000), (5000, 64), (3, 20_001)];
const EPS: f64 = 1e-5;
/// With a weight, and with the mean taken off.
const KINDS: [(bool, bool); 4] = [(false, true), (true, true), (false, false), (true, false)];

/// Result, mean and rstd of each row.
fn plain_norm(centred: bool, cols: usize, x: &[f64], w: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut out, mut means, mut rstds) = (vec![], vec![], vec![]);
    for x in x.chunks(cols) {
        let mean = if centred { x.iter().sum::<f64>() / cols as f64 } else { 0.0 };
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / cols as f64;
        let rstd = 1.0 / (variance + EPS).sqrt();
        out.extend((0..cols).map(|c| (x[c] - mean) * rstd * w[c] + b[c]));
        means.push(mean);
        rstds.push(rstd);
    }
    (out, means, rstds)
}

#[test]
fn rows_equal_plain_loops() {
    let mut random = Random(61);
    for (rows, cols) in SHAPES {
        for (dtype, affine, centred) in KINDS.into_iter().flat_map(|(a, c)| FLOATS.map(|d| (d, a, c))) {
            let kept = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let x: Vec<f64> = random.normals(rows * cols, 2.0).into_iter().map(|x| x + 1.0).collect();
            let (x, w, b) =
                (put(dtype, &x), put(dtype, &random.normals(cols, 1.0)), put(dtype, &random.normals(cols, 1.0)));
            let (wide_w, wide_b) =
                if affine { (take(dtype, &w), take(dtype, &b)) } else { (vec![1.0; cols], vec![0.0; cols]) };
            let (expected, means, rstds) = plain_norm(centred, cols, &take(dtype, &x), &wide_w, &wide_b);
            let (mut mean, mut rstd) = (stale(kept, rows), stale(kept, rows));
            let mut run = |cpu: &Cpu, out: &mut Buffer| {
                let (w, b) = (affine.then(|| view(dtype, &w)), affine.then(|| view(dtype, &b)));
                let (mean, rstd) = (view_mut(kept, &mut mean), view_mut(kept, &mut rstd));
                row_norm(
                    cpu,
                    Rows { rows, cols, centred },
                    EPS,
                    view(dtype, &x),
                    w,
                    b,
                    view_mut(dtype, out),
                    mean,
                    rstd,
                );
            };
            let out = same_on_all_threads(x.len(), &mut run);
            let what = format!("{rows}x{cols} affine {affine} centred {centred}");
            // x - mean loses relative to x, the rest relative to the bias.
            close(dtype, &take(dtype, &out), &expected, 4.0, &what);
            close(kept, &take(kept, &mean), &means, 4.0, &what);
            // A row of one has no variance, and 1/√eps magnifies nothing but zero.
            close(kept, &take(kept, &rstd), &rstds, 0.0, &what);
        }
    }
}

#[test]
fn gradients_equal_plain_loops() {
    let mut random = Random(62);
    for (rows, cols) in SHAPES.into_iter().filter(|s| s.1 > 1) {
        for (dtype, affine, centred) in KINDS.into_iter().flat_map(|(a, c)| FLOATS.map(|d| (d, a, c))) {
            let kept = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
            let [x, g, w] = [rows * cols, rows * cols, cols].map(|n| put(dtype, &random.normals(n, 1.0)));
            let (wide_x, wide_g) = (take(dtype, &x), take(dtype, &g));
            let wide_w = if affine { take(dtype, &w) } else { vec![1.0; cols] };
            let (_, means, rstds) = plain_norm(centred, cols, &wide_x, &wide_w, &vec![0.0; cols]);
            let (mut dx, mut dw, mut db) = (vec![], vec![0f64; cols], vec![0f64; cols]);
            for r in 0..rows {
                let (x, g) = (&wide_x[r * cols..][..cols], &wide_g[r * cols..][..cols]);
                let normal: Vec<f64> = x.iter().map(|x| (x - means[r]) * rstds[r]).collect();
                let h: Vec<f64> = g.iter().zip(&wide_w).map(|(g, w)| g * w).collect();
                let mean_h = if centred { h.iter().sum::<f64>() / cols as f64 } else { 0.0 };
                let mean_hx = h.iter().zip(&normal).map(|(h, x)| h * x).sum::<f64>() / cols as f64;
                for c in 0..cols {
                    dx.push(rstds[r] * (h[c] - mean_h - normal[c] * mean_hx));
                    dw[c] += g[c] * normal[c];
                    db[c] += g[c];
                }
            }
            let (mean, rstd) = (put(kept, &means), put(kept, &rstds));
            let what = format!("{rows}x{cols} affine {affine} centred {centred}");
            let (mut got_dw, mut got_db) = (stale(dtype, cols), stale(dtype, cols));
            let mut run = |cpu: &Cpu, dx: &mut Buffer| {
                let w = affine.then(|| view(dtype, &w));
                let (mean, rstd) = (view(kept, &mean), view(kept, &rstd));
                let (dw, db) = (view_mut(dtype, &mut got_dw), view_mut(dtype, &mut got_db));
                let (x, g, dx) = (view(dtype, &x), view(dtype, &g), view_mut(dtype, dx));
                row_norm_grad(cpu, Rows { rows, cols, centred }, x, w, mean, rstd, g, dx, Some(dw), Some(db));
            };
            let got = same_on_all_threads(x.len(), &mut run);
            // Terms of dx are below 10·rstd, of the sums below 5, growing as √rows.
            let largest = rstds.iter().fold(1.0, |m: f64, &r| m.max(r));
            close(dtype, &take(dtype, &got), &dx, 10.0 * largest, &what);
            let size = 10.0 * (rows as f64).sqrt();
            close(dtype, &take(dtype, &got_dw), &dw, size, &what);
            close(dtype, &take(dtype, &got_db), &db, size, &what);
        }
    }
}

#[test]
fn gradients_are_right_without_the_weights_ones() {
    let mut random = Random(63);
    let [x, g] = [(); 2].map(|_| put(DType::F32, &random.normals(40, 1.0)));
    let ones = put(DType::F32, &[1.0; 10]);
    let (mut dx, mut all) = ([0f32; 40], [0f32; 40]);
    let (mut dw, cpu) = ([0f32; 10], Cpu::new(None, 1));
    let by = Rows { rows: 4, cols: 10, centred: true };
    let [x, g, mean, rstd] = [view(DType::F32, &x), view(DType::F32, &g), Slice::of(&[0f32; 4]), Slice::of(&[1f32; 4])];
    row_norm_grad(&cpu, by, x, None, mean, rstd, g, SliceMut::of(&mut dx), None, None);
    let w = Some(view(DType::F32, &ones));
    row_norm_grad(&cpu, by, x, w, mean, rstd, g, SliceMut::of(&mut all), Some(SliceMut::of(&mut dw)), None);
    assert_eq!(dx, all);
    assert!(dx.iter().any(|&x| x != 0.0) && dw.iter().all(|&x| x != 0.0));
}
