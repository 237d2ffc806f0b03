//! The QR decomposition of small matrices on the host, in f64, with LAPACK's signs: by Householder's reflections.

/// The factors of a decomposition: what LAPACK's `geqrf` returns. Matrices are lists of columns.
pub(crate) struct Qr {
    /// R on and above the diagonal, below it the vectors of the reflections, whose element on the diagonal is 1.
    pub(crate) columns: Vec<f64>,
    /// The factors of the reflections I − τ·v·vᵀ.
    pub(crate) tau: Vec<f64>,
    rows: usize,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// column ← (I − τ·v·vᵀ)·column, where v is 1 followed by `tail`.
fn reflect(tau: f64, tail: &[f64], column: &mut [f64]) {
    let Some((first, rest)) = column.split_first_mut() else { return };
    let along = tau * (*first + dot(tail, rest));
    *first -= along;
    rest.iter_mut().zip(tail).for_each(|(x, v)| *x -= along * v);
}

/// The decomposition of a matrix with so many rows, at least as many as columns.
pub(crate) fn decompose(mut columns: Vec<f64>, rows: usize) -> Qr {
    let mut tau = Vec::new();
    for k in 0..columns.len().checked_div(rows).unwrap_or(0) {
        let (before, after) = columns[k * rows..].split_at_mut(rows);
        let below = dot(&before[k + 1..], &before[k + 1..]);
        let alpha = before[k];
        // LAPACK makes no reflection of a column that has nothing below its diagonal.
        let factor = if below == 0.0 {
            0.0
        } else {
            let beta = -(alpha * alpha + below).sqrt().copysign(alpha);
            before[k + 1..].iter_mut().for_each(|x| *x /= alpha - beta);
            before[k] = beta;
            (beta - alpha) / beta
        };
        after.chunks_exact_mut(rows).for_each(|column| reflect(factor, &before[k + 1..], &mut column[k..]));
        tau.push(factor);
    }
    Qr { columns, tau, rows }
}

impl Qr {
    /// The diagonal of R.
    pub(crate) fn diagonal(&self) -> impl Iterator<Item = f64> {
        (0..self.tau.len()).map(|k| self.columns[k * self.rows + k])
    }

    /// The columns of Q, as many as there were.
    fn q(&self) -> Vec<f64> {
        let (rows, count) = (self.rows, self.tau.len());
        let mut q = vec![0.0; count * rows];
        for (k, column) in q.chunks_exact_mut(rows).enumerate() {
            column[k] = 1.0;
            for i in (0..=k).rev() {
                reflect(self.tau[i], &self.columns[i * rows + i + 1..][..rows - i - 1], &mut column[i..]);
            }
        }
        q
    }
}

/// Orthonormal columns that span those given, such that R has a positive diagonal.
pub(crate) fn orthonormal(columns: Vec<f64>, rows: usize) -> Vec<f64> {
    let qr = decompose(columns, rows);
    let signs: Vec<f64> = qr.diagonal().map(|d| if d < 0.0 { -1.0 } else { 1.0 }).collect();
    let mut q = qr.q();
    q.chunks_exact_mut(rows.max(1)).zip(signs).for_each(|(column, sign)| column.iter_mut().for_each(|x| *x *= sign));
    q
}
