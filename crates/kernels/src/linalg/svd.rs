//! Singular values by one-sided rotations (Hestenes 1958, Jacobi's method): columns are turned in pairs until all are
//! orthogonal; their lengths are the singular values.

use super::each_matrix;
use crate::Cpu;
use crate::parts::Shared;

/// At most so many rounds over all pairs of columns: each squares the angles that are left.
pub const SWEEPS: usize = 16;

/// Whether columns of squared lengths `aa` and `bb` and product `ab` count as orthogonal.
#[inline]
pub fn negligible(aa: f64, bb: f64, ab: f64) -> bool {
    ab * ab <= 1e-30 * (aa * bb)
}

/// A = U·diag(S)·Vᵀ of matrices `[m, n]` with m ≥ n: U `[m, n]`, S `[n]` from the largest on, V `[n, n]`. Where a singular
/// value is 0, the column of U is 0.
pub fn svd(cpu: &Cpu, (m, n): (usize, usize), a: &[f64], u: &mut [f64], s: &mut [f64], v: &mut [f64]) {
    let batch = s.len().checked_div(n).unwrap_or(0);
    assert!(m >= n && a.len() == batch * m * n && u.len() == a.len() && v.len() == batch * n * n);
    let (u, s, v) = (Shared::new(u), Shared::new(s), Shared::new(v));
    each_matrix(cpu, batch, |b| {
        // Columns lie together while they are turned.
        let a = &a[b * m * n..][..m * n];
        let mut columns: Vec<Vec<f64>> = (0..n).map(|j| (0..m).map(|i| a[i * n + j]).collect()).collect();
        let mut turns: Vec<Vec<f64>> = (0..n).map(|j| (0..n).map(|i| f64::from(u8::from(i == j))).collect()).collect();
        for _ in 0..SWEEPS {
            if !sweep(&mut columns, &mut turns) {
                break;
            }
        }
        let lengths: Vec<f64> = columns.iter().map(|c| dot(c, c).sqrt()).collect();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| lengths[j].total_cmp(&lengths[i]));
        // SAFETY: each matrix is one task's.
        let (u, s, v) = unsafe { (u.range(b * m * n, m * n), s.range(b * n, n), v.range(b * n * n, n * n)) };
        for (to, &from) in order.iter().enumerate() {
            let length = lengths[from];
            s[to] = length;
            let inverse = if length == 0.0 { 0.0 } else { 1.0 / length };
            (0..m).for_each(|i| u[i * n + to] = columns[from][i] * inverse);
            (0..n).for_each(|i| v[i * n + to] = turns[from][i]);
        }
    });
}

/// One round over all pairs; whether any was turned.
fn sweep(columns: &mut [Vec<f64>], turns: &mut [Vec<f64>]) -> bool {
    let mut turned = false;
    for p in 0..columns.len() {
        for q in p + 1..columns.len() {
            let (aa, bb) = (dot(&columns[p], &columns[p]), dot(&columns[q], &columns[q]));
            let ab = dot(&columns[p], &columns[q]);
            if negligible(aa, bb, ab) || ab.is_nan() {
                continue;
            }
            turned = true;
            let zeta = (bb - aa) / (2.0 * ab);
            let t = 1f64.copysign(zeta) / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
            let c = 1.0 / (1.0 + t * t).sqrt();
            turn(columns, (p, q), c, c * t);
            turn(turns, (p, q), c, c * t);
        }
    }
    turned
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn turn(columns: &mut [Vec<f64>], (p, q): (usize, usize), c: f64, s: f64) {
    let (low, high) = columns.split_at_mut(q);
    for (a, b) in low[p].iter_mut().zip(&mut high[0]) {
        (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
    }
}
