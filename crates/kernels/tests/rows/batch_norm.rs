use limpid_kernels::DType;
use limpid_kernels::batch_norm::{Batch, Statistics, batch_norm, batch_norm_grad};

use super::*;

const SHAPES: [[usize; 3]; 6] = [[1, 1, 2], [2, 3, 5], [1, 4, 33], [5, 7, 16], [3, 2, 1000], [64, 19, 25]];
const EPS: f64 = 1e-5;

/// Values of one channel, with their places.
fn channel([n, channels, places]: [usize; 3], c: usize) -> impl Iterator<Item = usize> {
    (0..n).flat_map(move |i| (0..places).map(move |p| (i * channels + c) * places + p))
}

#[test]
fn results_and_gradients_equal_plain_loops() {
    let mut random = Random(64);
    for (shape, dtype, affine) in
        SHAPES.into_iter().flat_map(|s| FLOATS.map(|d| [(s, d, false), (s, d, true)])).flatten()
    {
        let kept = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let [n, channels, places] = shape;
        let (len, count) = (n * channels * places, (n * places) as f64);
        let x: Vec<f64> = random.normals(len, 2.0).into_iter().map(|x| x + 1.0).collect();
        let [x, g] = [put(dtype, &x), put(dtype, &random.normals(len, 1.0))];
        let [w, b] = [(); 2].map(|()| put(kept, &random.normals(channels, 1.0)));
        let (wide_x, wide_g, wide_w, wide_b) = (take(dtype, &x), take(dtype, &g), take(kept, &w), take(kept, &b));
        let (mut y, mut dx) = (vec![0.0; len], vec![0.0; len]);
        let [mut means, mut rstds, mut variances, mut dws, mut dbs] = [(); 5].map(|()| vec![0.0; channels]);
        for c in 0..channels {
            let mean = channel(shape, c).map(|i| wide_x[i]).sum::<f64>() / count;
            let variance = channel(shape, c).map(|i| (wide_x[i] - mean).powi(2)).sum::<f64>() / count;
            let rstd = 1.0 / (variance + EPS).sqrt();
            let (weight, bias) = if affine { (wide_w[c], wide_b[c]) } else { (1.0, 0.0) };
            let dw = channel(shape, c).map(|i| wide_g[i] * (wide_x[i] - mean) * rstd).sum::<f64>();
            let db = channel(shape, c).map(|i| wide_g[i]).sum::<f64>();
            for i in channel(shape, c) {
                let normal = (wide_x[i] - mean) * rstd;
                y[i] = normal * weight + bias;
                dx[i] = weight * rstd * (wide_g[i] - db / count - normal * dw / count);
            }
            (means[c], rstds[c], variances[c], dws[c], dbs[c]) = (mean, rstd, variance, dw, db);
        }
        let (what, batch) = (format!("{shape:?} affine {affine}"), Batch { n, channels, places });
        let [mut mean, mut rstd, mut variance, mut dw, mut db] = [(); 5].map(|()| stale(kept, channels));
        let mut run = |cpu: &Cpu, out: &mut Buffer| {
            let (w, b) = (affine.then(|| view(kept, &w)), affine.then(|| view(kept, &b)));
            let [mean, rstd, variance] = [&mut mean, &mut rstd, &mut variance].map(|s| view_mut(kept, s));
            let to = Statistics { mean, rstd, variance };
            batch_norm(cpu, batch, EPS, view(dtype, &x), w, b, view_mut(dtype, out), to);
        };
        let out = same_on_all_threads(x.len(), &mut run);
        close(dtype, &take(dtype, &out), &y, 4.0, &what);
        close(kept, &take(kept, &mean), &means, 4.0, &what);
        close(kept, &take(kept, &variance), &variances, 4.0, &what);
        let (mean, rstd) = (put(kept, &means), put(kept, &rstds));
        let mut run = |cpu: &Cpu, dx: &mut Buffer| {
            let (w, saved) = (affine.then(|| view(kept, &w)), [view(kept, &mean), view(kept, &rstd)]);
            let sums = [view_mut(kept, &mut dw), view_mut(kept, &mut db)];
            batch_norm_grad(cpu, batch, view(dtype, &x), w, saved, view(dtype, &g), view_mut(dtype, dx), sums);
        };
        let got = same_on_all_threads(x.len(), &mut run);
        let largest = rstds.iter().fold(1.0, |m: f64, &r| m.max(r));
        close(dtype, &take(dtype, &got), &dx, 30.0 * largest, &what);
        let size = 10.0 * count.sqrt();
        close(kept, &take(kept, &dw), &dws, size * largest, &what);
        close(kept, &take(kept, &db), &dbs, size, &what);
    }
}
