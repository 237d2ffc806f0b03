use limpid_kernels::softmax::{softmax, softmax_grad};
use limpid_kernels::{Cpu, DType, Isa};

use super::*;

/// Rows and columns: none, one, short, odd, around the lanes and groups, long.
const SHAPES: [(usize, usize); 12] = [
    (0, 5),
    (3, 0),
    (1, 1),
    (5, 1),
    (700, 10),
    (7, 31),
    (9, 127),
    (4, 128),
    (6, 129),
    (70, 1000),
    (2, 4097),
    (1, 70_001),
];

/// What each row's softmax is, in f64.
pub fn plain_softmax(cols: usize, log: bool, x: &[f64]) -> Vec<f64> {
    let row = |x: &[f64]| {
        let m = x.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(x));
        let total: f64 = x.iter().map(|x| (x - m).exp()).sum();
        x.iter().map(|x| if log { x - m - total.ln() } else { (x - m).exp() / total }).collect::<Vec<_>>()
    };
    x.chunks(cols.max(1)).flat_map(row).collect()
}

#[test]
fn rows_equal_plain_loops() {
    let mut random = Random(41);
    for (rows, cols) in SHAPES {
        for (dtype, log) in FLOATS.into_iter().flat_map(|d| [(d, false), (d, true)]) {
            for scale in [0.1, 1.0, 8.0] {
                let x = put(dtype, &random.normals(rows * cols, scale));
                let expected = plain_softmax(cols, log, &take(dtype, &x));
                let out = same_on_all_threads(x.len(), |cpu, out| {
                    softmax(cpu, rows, cols, log, view(dtype, &x), view_mut(dtype, out));
                });
                // A log-softmax is a difference: what it loses is relative to its terms. And far below its row's
                // maximum m, x - m is rounded to more than one millionth.
                let floor = if log { 20.0 * scale } else { (scale > 1.0) as u8 as f64 };
                close(dtype, &take(dtype, &out), &expected, floor, &format!("{rows}x{cols} log {log} scale {scale}"));
            }
        }
    }
}

#[test]
fn gradients_equal_plain_loops() {
    let mut random = Random(42);
    for (rows, cols) in SHAPES {
        for (dtype, log) in FLOATS.into_iter().flat_map(|d| [(d, false), (d, true)]) {
            let y = put(dtype, &plain_softmax(cols, log, &random.normals(rows * cols, 1.0)));
            let g = put(dtype, &random.normals(rows * cols, 1.0));
            let row = |(y, g): (&[f64], &[f64])| {
                let total: f64 = y.iter().zip(g).map(|(y, g)| if log { *g } else { y * g }).sum();
                let term = |(y, g): (&f64, &f64)| if log { g - y.exp() * total } else { y * (g - total) };
                y.iter().zip(g).map(term).collect::<Vec<_>>()
            };
            let (wide_y, wide_g) = (take(dtype, &y), take(dtype, &g));
            let expected: Vec<f64> = wide_y.chunks(cols.max(1)).zip(wide_g.chunks(cols.max(1))).flat_map(row).collect();
            let out = same_on_all_threads(y.len(), |cpu, out| {
                let (y, g) = (view(dtype, &y), view(dtype, &g));
                softmax_grad(cpu, rows, cols, log, y, g, view_mut(dtype, out));
            });
            // g - Σ loses relative to its terms; a y is at most 1.
            close(dtype, &take(dtype, &out), &expected, 4.0, &format!("{rows}x{cols} log {log}"));
        }
    }
}

#[test]
fn special_rows_are_as_in_torch() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    for (dtype, cols) in FLOATS.into_iter().flat_map(|d| [(d, 4), (d, 200)]) {
        let row = |special: [f64; 2]| [special.to_vec(), vec![special[1]; cols - 2]].concat();
        // All -∞; a NaN; a +∞; some -∞; large and equal.
        let x: Vec<f64> =
            [row([-inf, -inf]), row([nan, 1.0]), row([inf, 1.0]), row([0.0, -inf]), row([60000.0, 60000.0])].concat();
        let stored = put(dtype, &x);
        for log in [false, true] {
            let out = same_on_all_threads(stored.len(), |cpu, out| {
                softmax(cpu, 5, cols, log, view(dtype, &stored), view_mut(dtype, out));
            });
            let out = take(dtype, &out);
            assert!(out[..2 * cols].iter().all(|x| x.is_nan()), "{dtype} {cols} log {log}");
            assert!(out[2 * cols].is_nan());
            let (first, rest) = if log { (0.0, -inf) } else { (1.0, 0.0) };
            assert_eq!(out[3 * cols], first);
            assert!(out[3 * cols + 1..4 * cols].iter().all(|&x| x == rest));
            let even = if log { -(cols as f64).ln() } else { 1.0 / cols as f64 };
            close(dtype, &out[4 * cols..], &vec![even; cols], 0.0, "large and equal");
        }
    }
}

#[test]
fn every_instruction_set_is_accurate() {
    let mut random = Random(43);
    let x = put(DType::F32, &random.normals(3 * 1000, 3.0));
    let expected = plain_softmax(1000, false, &take(DType::F32, &x));
    for isa in Isa::available() {
        let mut out = stale(DType::F32, 3000);
        softmax(&Cpu::new(Some(isa), 1), 3, 1000, false, view(DType::F32, &x), view_mut(DType::F32, &mut out));
        close(DType::F32, &take(DType::F32, &out), &expected, 0.0, isa.name());
    }
}
