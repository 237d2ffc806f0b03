//! Factorisations of small matrices in f64: Cholesky, LU, QR, singular values, triangular systems.
//!
//! All matrices are contiguous and row-major, `[batch, rows, columns]`; each one is worked on by one thread. The
//! algorithms are those of the compounds' bodies in the same order, so that both give the same numbers but for the order
//! of sums. Golub and Van Loan, Matrix Computations (2013).

mod svd;

pub use svd::{SWEEPS, negligible, svd};

use crate::Cpu;
use crate::parts::Shared;

/// Runs `task` on each matrix of a batch.
fn each_matrix(cpu: &Cpu, batch: usize, task: impl Fn(usize) + Sync) {
    if batch == 1 { task(0) } else { cpu.pool.run(batch, &task) }
}

/// The lower factor of A = L·Lᵀ, of which only the lower triangle is read. Where A is not positive definite, the factor
/// holds NaN.
pub fn cholesky(cpu: &Cpu, n: usize, a: &[f64], out: &mut [f64]) {
    assert_eq!(a.len(), out.len());
    out.fill(0.0);
    let batch = a.len().checked_div(n * n).unwrap_or(0);
    let shared = Shared::new(out);
    each_matrix(cpu, batch, |b| {
        // SAFETY: each matrix is one task's.
        let l = unsafe { shared.range(b * n * n, n * n) };
        let a = &a[b * n * n..][..n * n];
        for j in 0..n {
            for i in j..n {
                let dot: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
                let rest = a[i * n + j] - dot;
                l[i * n + j] = if i == j { rest.sqrt() } else { rest / l[j * n + j] };
            }
        }
    });
}

/// X with A·X = B: A `[n, n]` triangular, B and X `[n, k]`. Nothing but the triangle is read, and with `unit` not the
/// diagonal, which counts as ones.
pub fn solve_triangular(
    cpu: &Cpu,
    (n, k): (usize, usize),
    upper: bool,
    unit: bool,
    a: &[f64],
    b: &[f64],
    out: &mut [f64],
) {
    assert_eq!(b.len(), out.len());
    if out.is_empty() {
        return;
    }
    let batch = out.len().checked_div(n * k).unwrap_or(0);
    assert_eq!(a.len(), batch * n * n);
    out.copy_from_slice(b);
    let shared = Shared::new(out);
    each_matrix(cpu, batch, |m| {
        // SAFETY: each matrix is one task's.
        let x = unsafe { shared.range(m * n * k, n * k) };
        let a = &a[m * n * n..][..n * n];
        for step in 0..n {
            let i = if upper { n - 1 - step } else { step };
            let known = if upper { i + 1..n } else { 0..i };
            for j in known {
                let factor = a[i * n + j];
                let (row, other) = two_rows(x, k, i, j);
                row.iter_mut().zip(other).for_each(|(x, y)| *x -= factor * *y);
            }
            if !unit {
                let pivot = a[i * n + i];
                x[i * k..][..k].iter_mut().for_each(|x| *x /= pivot);
            }
        }
    });
}

/// Rows `i` and `j` of rows of `k` elements.
fn two_rows(x: &mut [f64], k: usize, i: usize, j: usize) -> (&mut [f64], &mut [f64]) {
    let (low, high) = x.split_at_mut(i.max(j) * k);
    let (a, b) = (&mut low[i.min(j) * k..][..k], &mut high[..k]);
    if i < j { (a, b) } else { (b, a) }
}

/// P·A = L·U with the largest pivot of each column: L (unit diagonal) and U in one matrix `[m, n]`; `order[i]` is the row
/// of A that became row i; `parity` is 1 or −1, the determinant of P.
pub fn lu(cpu: &Cpu, (m, n): (usize, usize), a: &[f64], out: &mut [f64], order: &mut [i64], parity: &mut [f64]) {
    let batch = parity.len();
    assert!(a.len() == out.len() && a.len() == batch * m * n && order.len() == batch * m);
    out.copy_from_slice(a);
    let (out, order, parity) = (Shared::new(out), Shared::new(order), Shared::new(parity));
    each_matrix(cpu, batch, |b| {
        // SAFETY: each matrix is one task's.
        let (a, order, parity) = unsafe { (out.range(b * m * n, m * n), order.range(b * m, m), parity.at(b)) };
        order.iter_mut().enumerate().for_each(|(i, o)| *o = i as i64);
        *parity = 1.0;
        for k in 0..m.min(n) {
            let mut pivot = k;
            for i in k + 1..m {
                // NaN wins, as it does in an argmax.
                let (new, best) = (a[i * n + k].abs(), a[pivot * n + k].abs());
                if new > best || (new.is_nan() && !best.is_nan()) {
                    pivot = i;
                }
            }
            if pivot != k {
                let (x, y) = two_rows(a, n, k, pivot);
                x.swap_with_slice(y);
                order.swap(k, pivot);
                *parity = -*parity;
            }
            let diagonal = a[k * n + k];
            for i in k + 1..m {
                let factor = if diagonal == 0.0 { 0.0 } else { a[i * n + k] / diagonal };
                let (row, top) = two_rows(a, n, i, k);
                row[k] = factor;
                row[k + 1..].iter_mut().zip(&top[k + 1..]).for_each(|(x, y)| *x -= factor * y);
            }
        }
    });
}

/// A = Q·R by Householder's reflections, with LAPACK's signs: Q `[m, q]` with q = m (complete) or min(m, n), R `[q, n]`.
pub fn qr(cpu: &Cpu, (m, n, q): (usize, usize, usize), a: &[f64], out_q: &mut [f64], out_r: &mut [f64]) {
    let batch = a.len().checked_div(m * n).unwrap_or(0);
    assert!(out_q.len() == batch * m * q && out_r.len() == batch * q * n);
    let (out_q, out_r) = (Shared::new(out_q), Shared::new(out_r));
    each_matrix(cpu, batch, |b| {
        let mut r = a[b * m * n..][..m * n].to_vec();
        let mut whole = vec![0.0; m * m];
        (0..m).for_each(|i| whole[i * m + i] = 1.0);
        let mut v = vec![0.0; m];
        for k in 0..m.min(n) {
            let Some(tau) = reflector(&r, (m, n), k, &mut v) else { continue };
            for j in 0..n {
                let dot: f64 = (k..m).map(|i| v[i] * r[i * n + j]).sum();
                (k..m).for_each(|i| r[i * n + j] -= tau * v[i] * dot);
            }
            for row in whole.chunks_exact_mut(m) {
                let dot: f64 = (k..m).map(|i| row[i] * v[i]).sum();
                (k..m).for_each(|i| row[i] -= tau * dot * v[i]);
            }
        }
        // SAFETY: each matrix is one task's.
        let (to_q, to_r) = unsafe { (out_q.range(b * m * q, m * q), out_r.range(b * q * n, q * n)) };
        for i in 0..m {
            to_q[i * q..][..q].copy_from_slice(&whole[i * m..][..q]);
        }
        for i in 0..q {
            (0..n).for_each(|j| to_r[i * n + j] = if j < i { 0.0 } else { r[i * n + j] });
        }
    });
}

/// v (1 at k, 0 before) and τ of the reflection 1 − τ·v·vᵀ that clears column k below the diagonal; none where it is
/// clear.
fn reflector(r: &[f64], (m, n): (usize, usize), k: usize, v: &mut [f64]) -> Option<f64> {
    let alpha = r[k * n + k];
    let below: f64 = (k + 1..m).map(|i| r[i * n + k].powi(2)).sum();
    if below == 0.0 {
        return None;
    }
    let beta = -(alpha * alpha + below).sqrt().copysign(alpha);
    v[..k].fill(0.0);
    v[k] = 1.0;
    (k + 1..m).for_each(|i| v[i] = r[i * n + k] / (alpha - beta));
    Some((beta - alpha) / beta)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu() -> Cpu {
        Cpu::new(None, 2)
    }

    /// Numbers without a pattern from −1 to 1.
    fn numbers(len: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    /// a·b of `[m, k]` and `[k, n]`, by the definition.
    fn product(a: &[f64], b: &[f64], (m, k, n): (usize, usize, usize)) -> Vec<f64> {
        let at = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        (0..m * n).map(|p| at(p / n, p % n)).collect()
    }

    fn transposed(a: &[f64], (m, n): (usize, usize)) -> Vec<f64> {
        (0..m * n).map(|p| a[p % m * n + p / m]).collect()
    }

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-10)
    }

    #[test]
    fn factors_multiply_to_the_matrix() {
        for (m, n) in [(1, 1), (2, 2), (5, 5), (7, 4), (4, 7), (12, 12)] {
            let a = numbers(2 * m * n, 3 + m as u64);
            let (mut f, mut order, mut parity) = (vec![0.0; 2 * m * n], vec![0i64; 2 * m], vec![0.0; 2]);
            lu(&cpu(), (m, n), &a, &mut f, &mut order, &mut parity);
            let k = m.min(n);
            for b in 0..2 {
                let (a, f, order) = (&a[b * m * n..][..m * n], &f[b * m * n..][..m * n], &order[b * m..][..m]);
                let lower: Vec<f64> = (0..m * k)
                    .map(|p| match (p / k).cmp(&(p % k)) {
                        std::cmp::Ordering::Greater => f[p / k * n + p % k],
                        std::cmp::Ordering::Equal => 1.0,
                        std::cmp::Ordering::Less => 0.0,
                    })
                    .collect();
                let upper: Vec<f64> =
                    (0..k * n).map(|p| if p % n >= p / n { f[p / n * n + p % n] } else { 0.0 }).collect();
                let permuted: Vec<f64> = order.iter().flat_map(|&i| a[i as usize * n..][..n].to_vec()).collect();
                assert!(close(&product(&lower, &upper, (m, k, n)), &permuted), "lu {m}×{n}");
                assert!(lower.iter().all(|l| l.abs() <= 1.0), "the largest pivot");
            }
            for q in [m, k] {
                let (mut to_q, mut to_r) = (vec![0.0; 2 * m * q], vec![0.0; 2 * q * n]);
                qr(&cpu(), (m, n, q), &a, &mut to_q, &mut to_r);
                for b in 0..2 {
                    let (q_, r) = (&to_q[b * m * q..][..m * q], &to_r[b * q * n..][..q * n]);
                    assert!(close(&product(q_, r, (m, q, n)), &a[b * m * n..][..m * n]), "qr {m}×{n}");
                    let gram = product(&transposed(q_, (m, q)), q_, (q, m, q));
                    assert!((0..q * q).all(|p| (gram[p] - f64::from(u8::from(p / q == p % q))).abs() < 1e-12));
                }
            }
        }
    }

    #[test]
    fn cholesky_and_triangles_invert_each_other() {
        for (n, k) in [(1, 1), (5, 3), (9, 1)] {
            let root = numbers(n * n, 11);
            let mut a = product(&root, &transposed(&root, (n, n)), (n, n, n));
            (0..n).for_each(|i| a[i * n + i] += 1.0);
            let mut l = vec![0.0; n * n];
            cholesky(&cpu(), n, &a, &mut l);
            assert!(close(&product(&l, &transposed(&l, (n, n)), (n, n, n)), &a));
            let b = numbers(n * k, 5);
            for upper in [false, true] {
                let t = if upper { transposed(&l, (n, n)) } else { l.clone() };
                let mut x = vec![0.0; n * k];
                solve_triangular(&cpu(), (n, k), upper, false, &t, &b, &mut x);
                assert!(close(&product(&t, &x, (n, n, k)), &b), "upper {upper}");
                let unit: Vec<f64> = (0..n * n).map(|p| if p / n == p % n { 1.0 } else { t[p] }).collect();
                solve_triangular(&cpu(), (n, k), upper, true, &t, &b, &mut x);
                assert!(close(&product(&unit, &x, (n, n, k)), &b), "unit, upper {upper}");
            }
        }
        let mut l = vec![0.0; 4];
        cholesky(&cpu(), 2, &[1.0, 2.0, 2.0, 1.0], &mut l);
        assert!(l[3].is_nan(), "not positive definite");
    }

    #[test]
    fn singular_values_are_sorted_and_multiply_back() {
        for (m, n) in [(1, 1), (5, 5), (8, 3), (6, 6)] {
            let a = numbers(m * n, 17 + n as u64);
            let (mut u, mut s, mut v) = (vec![0.0; m * n], vec![0.0; n], vec![0.0; n * n]);
            svd(&cpu(), (m, n), &a, &mut u, &mut s, &mut v);
            assert!(s.windows(2).all(|p| p[0] >= p[1]) && s[n - 1] > 0.0);
            let scaled: Vec<f64> = (0..m * n).map(|p| u[p] * s[p % n]).collect();
            assert!(close(&product(&scaled, &transposed(&v, (n, n)), (m, n, n)), &a), "{m}×{n}");
        }
        // [[3, 0], [4, 5]]: √45 and √5.
        let (mut u, mut s, mut v) = (vec![0.0; 4], vec![0.0; 2], vec![0.0; 4]);
        svd(&cpu(), (2, 2), &[3.0, 0.0, 4.0, 5.0], &mut u, &mut s, &mut v);
        assert!(close(&s, &[45f64.sqrt(), 5f64.sqrt()]));
        svd(&cpu(), (2, 2), &[1.0, 2.0, 2.0, 4.0], &mut u, &mut s, &mut v);
        assert!((s[0] - 5.0).abs() < 1e-12 && s[1].abs() < 1e-12, "of rank one: {s:?}");
    }
}
