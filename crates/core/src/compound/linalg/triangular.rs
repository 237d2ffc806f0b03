//! Triangular systems.

use limpid_kernels::linalg;
use smallvec::smallvec;

use super::{element, places, row, transposed};
use crate::compound::{Compound, Fault, Io, call_one, first_result};
use crate::error::Result;
use crate::op::structure::loop_over;
use crate::op::{Backward, Grads, Saves};
use crate::region::Meta;
use crate::tensor::Tensor;

/// X with A·X = B: A `[b, n, n]`, of which one triangle is read, with `unit` without its diagonal; B, X `[b, n, k]`.
#[derive(Debug)]
struct SolveTriangular {
    upper: bool,
    unit: bool,
}

impl Compound for SolveTriangular {
    fn name(&self) -> &'static str {
        "solve_triangular"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(u64::from(self.upper) << 1 | u64::from(self.unit));
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![inputs[1].clone()]
    }

    /// Row by row, each without what the rows before it explain.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let a = triangle(&inputs[0], self.upper, self.unit);
        let (b, n) = (&inputs[1], a.size(1));
        let order = if self.upper { places(n).flip(0) } else { places(n) };
        let (mut x, _) = loop_over(&[b.zeros_like()], &[order], |carry, step| {
            let (x, k) = (&carry[0], &step[0]);
            let factors = row(&a, k);
            let mut found = row(b, k) - factors.unsqueeze(1).matmul(x).squeeze(1);
            if !self.unit {
                found = found / element(&factors, k);
            }
            (vec![found.unsqueeze(1).where_(&places(n).eq(k).unsqueeze(-1), x)], vec![])
        });
        vec![x.swap_remove(0)]
    }

    /// B: the transposed system of g; A: −that·Xᵀ on the triangle.
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let x = first_result(b);
        let by_b = solve_triangular(&transposed(&b.inputs[0]), b.g(), !self.upper, self.unit);
        let by_a = || triangle(&-by_b.matmul(&transposed(&x)), self.upper, self.unit);
        Some(smallvec![b.needs[0].then(by_a), b.needs[1].then(|| by_b.clone())])
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let size = (io.shapes[1][1], io.shapes[1][2]);
        let (a, b) = (io.inputs[0].get(), io.inputs[1].get());
        linalg::solve_triangular(io.cpu, size, self.upper, self.unit, a, b, io.outputs[0].get());
        Ok(())
    }
}

/// The part of `a` that is read.
fn triangle(a: &Tensor, upper: bool, unit: bool) -> Tensor {
    let offset = i64::from(unit);
    if upper { a.triu(offset) } else { a.tril(-offset) }
}

/// X with A·X = B, `[b, n, n]` and `[b, n, k]` in f64.
#[track_caller]
pub(crate) fn solve_triangular(a: &Tensor, b: &Tensor, upper: bool, unit: bool) -> Tensor {
    call_one(SolveTriangular { upper, unit }, &[a, b])
}
