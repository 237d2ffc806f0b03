//! P·A = L·U.

use limpid_kernels::DType;
use limpid_kernels::linalg::lu;
use smallvec::smallvec;

use super::triangular::solve_triangular;
use super::{column, element, outer, places, row, transposed};
use crate::compound::{Compound, Fault, Io, call_array, result};
use crate::error::Result;
use crate::op::structure::loop_over;
use crate::op::{Backward, Grads, Saves};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Of A `[b, m, n]`: L (unit diagonal) and U in one matrix `[b, m, n]`; the row of A that became each row `[b, m]`; the
/// determinant of P `[b]`.
#[derive(Debug)]
struct Lu;

impl Compound for Lu {
    fn name(&self) -> &'static str {
        "lu"
    }

    fn key(&self, _key: &mut Vec<u64>) {}

    fn results(&self) -> usize {
        3
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (b, m) = (inputs[0].0[0], inputs[0].0[1]);
        vec![inputs[0].clone(), (Shape::from([b, m]), DType::I64), (Shape::from([b]), DType::F64)]
    }

    /// Column by column: the largest element to the diagonal, then the rows below without their part of that row.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let a = &inputs[0];
        let [b, m, n] = a.dims();
        let (rows, columns) = (places(m), places(n));
        let order = rows.expand_to(&Shape::from([b, m]));
        let start = [a.clone(), order, Tensor::full_of([b, 1], 1.0, DType::F64)];
        let (last, _) = loop_over(&start, &[places(m.min(n))], |carry, step| {
            let k = &step[0];
            let pivot = column(&carry[0], k).abs().where_(&rows.ge(k), -1.0).argmax_keepdim(-1);
            let swapped = k.where_(&rows.eq(&pivot), &rows);
            let swapped = pivot.where_(&rows.eq(k), &swapped);
            let a = carry[0].gather(1, &swapped.unsqueeze(-1).expand_to(&Shape::from([b, m, n])));
            let parity = carry[2].where_(&pivot.eq(k), -&carry[2]);
            let found = column(&a, k);
            let diagonal = element(&found, k);
            // A diagonal of 0 has nothing but zeros below.
            let diagonal = diagonal.where_(&diagonal.ne(0.0), 1.0);
            let factors = (found / diagonal).where_(&rows.gt(k), 0.0);
            let rest = &a - outer(&factors, &row(&a, k).where_(&columns.gt(k), 0.0));
            let below = rows.gt(k).unsqueeze(-1).logical_and(&columns.eq(k));
            let packed = factors.unsqueeze(-1).where_(&below, &rest);
            (vec![packed, carry[1].gather(1, &swapped), parity], vec![])
        });
        vec![last[0].clone(), last[1].clone(), last[2].squeeze(1)]
    }

    /// For square A: P⁻¹·L⁻ᵀ·(tril(Lᵀ·gL, −1) + triu(gU·Uᵀ))·U⁻ᵀ, as torch's `lu_factor`. A diagonal of 0 in U counts as
    /// the smallest step from 1, which makes the gradient of a determinant right where one is 0.
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let [_, m, n] = b.inputs[0].dims();
        let Some(g) = b.grads[0].as_ref().filter(|_| m == n) else {
            return b.grads[0].is_none().then(|| smallvec![None]);
        };
        let (packed, order) = (result(b, 0), result(b, 1));
        let diagonal = places(n).eq(places(n).unsqueeze(-1));
        let zero = packed.eq(0.0).logical_and(&diagonal);
        let packed = packed.constant_like(f64::EPSILON).where_(&zero, &packed);
        let l = packed.tril(-1) + diagonal.to_dtype(DType::F64);
        let inner =
            transposed(&l).matmul(&g.tril(-1)).tril(-1) + g.triu(0).matmul(&transposed(&packed.triu(0))).triu(0);
        let left = solve_triangular(&transposed(&packed), &inner, true, true);
        // X·U⁻ᵀ = (U⁻¹·Xᵀ)ᵀ
        let both = transposed(&solve_triangular(&packed, &transposed(&left), true, false));
        let back = order.argsort(1, false).unsqueeze(-1).expand_to(both.shape());
        Some(smallvec![Some(both.gather(1, &back))])
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let size = (io.shapes[0][1], io.shapes[0][2]);
        let [packed, order, parity] = io.outputs.as_mut_slice() else { unreachable!("three results") };
        lu(io.cpu, size, io.inputs[0].get(), packed.get(), order.get(), parity.get());
        Ok(())
    }
}

/// Factors in one matrix, order of the rows, determinant of the permutation.
#[track_caller]
pub(crate) fn factor(a: &Tensor) -> [Tensor; 3] {
    call_array(Lu, &[a])
}
