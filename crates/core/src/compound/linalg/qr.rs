//! A = Q·R.

use limpid_kernels::DType;
use limpid_kernels::linalg::qr;
use smallvec::smallvec;

use super::triangular::solve_triangular;
use super::{column, element, outer, places, transposed};
use crate::compound::{Compound, Fault, Io, call_array, result};
use crate::error::Result;
use crate::op::structure::loop_over;
use crate::op::{Backward, Grads, Saves};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Of A `[b, m, n]`: Q `[b, m, q]` with orthogonal columns and R `[b, q, n]` upper triangular; q is m when `complete`, else
/// the smaller of m and n. Signs are LAPACK's.
#[derive(Debug)]
struct Qr {
    complete: bool,
}

impl Qr {
    fn columns(&self, m: usize, n: usize) -> usize {
        if self.complete { m } else { m.min(n) }
    }
}

impl Compound for Qr {
    fn name(&self) -> &'static str {
        "qr"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(u64::from(self.complete));
    }

    fn results(&self) -> usize {
        2
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (b, m, n) = (inputs[0].0[0], inputs[0].0[1], inputs[0].0[2]);
        let q = self.columns(m, n);
        vec![(Shape::from([b, m, q]), DType::F64), (Shape::from([b, q, n]), DType::F64)]
    }

    /// One reflection for each column: 1 − τ·v·vᵀ sends what is on and below the diagonal to the diagonal.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let [b, m, n] = inputs[0].dims();
        let (rows, q) = (places(m), self.columns(m, n));
        let unit = Tensor::eye(m).to_dtype(DType::F64).expand_to(&Shape::from([b, m, m]));
        let (last, _) = loop_over(&[unit, inputs[0].clone()], &[places(m.min(n))], |carry, step| {
            let (whole, r, k) = (&carry[0], &carry[1], &step[0]);
            let found = column(r, k);
            let alpha = element(&found, k);
            let below = found.where_(&rows.gt(k), 0.0);
            let squares = below.square().sum_keepdim(-1);
            let clear = squares.eq(0.0);
            let length = (alpha.square() + &squares).where_(&clear.logical_not(), 1.0).sqrt();
            let beta = length.where_(&alpha.lt(0.0), -&length);
            let difference = (&alpha - &beta).where_(&clear.logical_not(), 1.0);
            let v = below / difference + rows.eq(k).to_dtype(DType::F64);
            let tau = ((&beta - alpha) / beta).where_(&clear.logical_not(), 0.0).unsqueeze(-1);
            let r = r - &tau * outer(&v, &v.unsqueeze(1).matmul(r).squeeze(1));
            let whole = whole - &tau * outer(&whole.matmul(&v.unsqueeze(-1)).squeeze(-1), &v);
            (vec![whole, r], vec![])
        });
        vec![last[0].narrow(2, 0, q), last[1].narrow(1, 0, q).triu(0)]
    }

    /// For m ≥ n, reduced: (gQ + Q·copyltu(R·gRᵀ − gQᵀ·Q))·R⁻ᵀ, copyltu the symmetric matrix of the lower triangle.
    /// Walter and Lehmann (2018).
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let [_, m, n] = b.inputs[0].dims();
        if m < n || (self.complete && m > n) {
            return None;
        }
        let (q, r) = (result(b, 0), result(b, 1));
        let zeros = |t: &Tensor, g: &Option<Tensor>| g.clone().unwrap_or_else(|| t.zeros_like());
        let (by_q, by_r) = (zeros(&q, &b.grads[0]), zeros(&r, &b.grads[1]));
        let inner = r.matmul(&transposed(&by_r)) - transposed(&by_q).matmul(&q);
        let inner = inner.tril(0) + transposed(&inner.tril(-1));
        let left = by_q + q.matmul(&inner);
        // X·R⁻ᵀ = (R⁻¹·Xᵀ)ᵀ
        Some(smallvec![Some(transposed(&solve_triangular(&r, &transposed(&left), true, false)))])
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        inputs[0].0.elements() > 0
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (m, n) = (io.shapes[0][1], io.shapes[0][2]);
        let [q, r] = io.outputs.as_mut_slice() else { unreachable!("two results") };
        qr(io.cpu, (m, n, self.columns(m, n)), io.inputs[0].get(), q.get(), r.get());
        Ok(())
    }
}

/// Q and R of `[b, m, n]` in f64.
#[track_caller]
pub(crate) fn factor(a: &Tensor, complete: bool) -> [Tensor; 2] {
    call_array(Qr { complete }, &[a])
}
