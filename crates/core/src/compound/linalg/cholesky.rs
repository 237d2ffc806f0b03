//! A = L·Lᵀ.

use limpid_kernels::linalg::cholesky;
use smallvec::smallvec;

use super::triangular::solve_triangular;
use super::{column, element, outer, places, transposed};
use crate::compound::{Compound, Fault, Io, call_one, first_result};
use crate::error::Result;
use crate::op::structure::loop_over;
use crate::op::{Backward, Grads, Saves};
use crate::region::Meta;
use crate::tensor::Tensor;

/// The lower factor of the symmetric part of A `[b, n, n]`; NaN where A is not positive definite.
#[derive(Debug)]
struct Cholesky;

impl Compound for Cholesky {
    fn name(&self) -> &'static str {
        "cholesky"
    }

    fn key(&self, _key: &mut Vec<u64>) {}

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![inputs[0].clone()]
    }

    /// Column by column: its root at the diagonal, and the rest of the matrix without what it explains.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let a = symmetric(&inputs[0]);
        let rows = places(a.size(1));
        let start = [a.clone(), a.zeros_like()];
        let (mut last, _) = loop_over(&start, &[rows.clone()], |carry, step| {
            let (rest, k) = (&carry[0], &step[0]);
            let found = column(rest, k);
            let found = (&found / element(&found, k).sqrt()).where_(&rows.ge(k), 0.0);
            let factor = found.unsqueeze(-1).where_(&rows.eq(k), &carry[1]);
            (vec![rest - outer(&found, &found), factor], vec![])
        });
        vec![last.swap_remove(1)]
    }

    /// S = L⁻ᵀ·Φ(Lᵀ·g)·L⁻¹, Φ the lower triangle with half of the diagonal; its symmetric part. Murray (2016).
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let l = first_result(b);
        let inner = transposed(&l).matmul(b.g()).tril(0);
        let inner = &inner - inner.triu(0) * 0.5;
        let upper = transposed(&l);
        let left = solve_triangular(&upper, &inner, true, false);
        let both = solve_triangular(&upper, &transposed(&left), true, false);
        Some(smallvec![Some(symmetric(&both))])
    }

    fn saves(&self) -> Saves {
        Saves { inputs: 0, output: true }
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let n = io.shapes[0][1];
        cholesky(io.cpu, n, io.inputs[0].get(), io.outputs[0].get());
        Ok(())
    }
}

fn symmetric(a: &Tensor) -> Tensor {
    (a + transposed(a)) * 0.5
}

/// The factor of `[b, n, n]` in f64.
#[track_caller]
pub(crate) fn factor(a: &Tensor) -> Tensor {
    call_one(Cholesky, &[&symmetric(a)])
}
