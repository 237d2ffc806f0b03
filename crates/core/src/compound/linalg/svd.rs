//! A = U·diag(S)·Vᵀ.

use limpid_kernels::DType;
use limpid_kernels::linalg::{SWEEPS, svd};
use smallvec::smallvec;

use super::{column, places, transposed};
use crate::compound::{Compound, Fault, Io, call_array, result};
use crate::error::Result;
use crate::op::structure::loop_over;
use crate::op::{Backward, Grads, Saves};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Of A `[b, m, n]` with m ≥ n: U `[b, m, n]`, S `[b, n]` from the largest on, V `[b, n, n]`. Where a singular value is 0,
/// the column of U is 0.
#[derive(Debug)]
struct Svd;

impl Compound for Svd {
    fn name(&self) -> &'static str {
        "svd"
    }

    fn key(&self, _key: &mut Vec<u64>) {}

    fn results(&self) -> usize {
        3
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (b, n) = (inputs[0].0[0], inputs[0].0[2]);
        vec![inputs[0].clone(), (Shape::from([b, n]), DType::F64), (Shape::from([b, n, n]), DType::F64)]
    }

    /// Pairs of columns are turned until all are orthogonal: their lengths are the singular values.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let [b, _, n] = inputs[0].dims();
        let unit = Tensor::eye(n).to_dtype(DType::F64).expand_to(&Shape::from([b, n, n]));
        let [p, q] = pairs(n);
        let (last, _) = loop_over(&[inputs[0].clone(), unit], &[p, q], |carry, step| {
            let [x, y] = [0, 1].map(|i| column(&carry[0], &step[i]));
            let (xx, yy, xy) = (x.square().sum(-1), y.square().sum(-1), (&x * &y).sum(-1));
            let still = xy.square().le(&xx * &yy * 1e-30);
            let zeta = (&yy - &xx) / (&xy * 2.0).where_(&still.logical_not(), 1.0);
            let size = (zeta.abs() + (zeta.square() + 1.0).sqrt()).reciprocal();
            let tangent = size.where_(&zeta.ge(0.0), -&size).where_(&still.logical_not(), 0.0);
            let cosine = (tangent.square() + 1.0).rsqrt();
            let sine = &cosine * tangent;
            let turned = carry.iter().map(|t| turn(t, step, &cosine, &sine)).collect();
            (turned, vec![])
        });
        let lengths = last[0].square().sum(1).sqrt();
        let order = lengths.argsort(-1, true);
        let positive = lengths.ne(0.0);
        let inverse = lengths.where_(&positive, 1.0).reciprocal().where_(&positive, 0.0);
        let u = &last[0] * inverse.unsqueeze(1);
        let sorted = |t: &Tensor| t.gather(2, &order.unsqueeze(1).expand_to(t.shape()));
        vec![sorted(&u), lengths.gather(1, &order), sorted(&last[1])]
    }

    /// U·((skew(Uᵀ·gU)∘K)·S + S·(skew(Vᵀ·gV)∘K) + diag(gS))·Vᵀ + (1 − U·Uᵀ)·gU·S⁻¹·Vᵀ with K = 1/(sⱼ² − sᵢ²): as torch's
    /// `linalg.svd`. By S alone it is defined also where singular values are equal.
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let (u, s, v) = (result(b, 0), result(b, 1), result(b, 2));
        let n = s.size(1);
        let diagonal = places(n).eq(places(n).unsqueeze(-1));
        let squares = s.square();
        let gaps = (squares.unsqueeze(1) - squares.unsqueeze(2)).where_(&diagonal.logical_not(), 1.0);
        let skew = |x: &Tensor| (x - transposed(x)) / &gaps;
        let (row, column) = (s.unsqueeze(1), s.unsqueeze(2));
        let mut inner: Option<Tensor> = None;
        let mut add = |term: Tensor| inner = Some(inner.take().map_or(term.clone(), |sum| sum + &term));
        if let Some(g) = &b.grads[1] {
            add(g.unsqueeze(1).where_(&diagonal, 0.0));
        }
        if let Some(g) = &b.grads[2] {
            add(column * skew(&transposed(&v).matmul(g)));
        }
        let mut outside = None;
        if let Some(g) = &b.grads[0] {
            add(skew(&transposed(&u).matmul(g)) * &row);
            outside = Some((g - u.matmul(&transposed(&u).matmul(g))) / row);
        }
        let whole = u.matmul(&inner?);
        let whole = outside.map_or(whole.clone(), |outside| whole + outside);
        Some(smallvec![Some(whole.matmul(&transposed(&v)))])
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let size = (io.shapes[0][1], io.shapes[0][2]);
        let [u, s, v] = io.outputs.as_mut_slice() else { unreachable!("three results") };
        svd(io.cpu, size, io.inputs[0].get(), u.get(), s.get(), v.get());
        Ok(())
    }
}

/// The pairs p < q of `n` columns in order, for all rounds: pair t of a round is in row p of the triangle that begins at
/// t = p·(2n − p − 1)/2.
fn pairs(n: usize) -> [Tensor; 2] {
    let round = n * n.saturating_sub(1) / 2;
    let t = Tensor::arange(0, (round * SWEEPS) as i64, 1) % round.max(1) as i64;
    let wide = 2.0 * n as f64 - 1.0;
    let root = (t.to_dtype(DType::F64) * -8.0 + wide * wide).sqrt();
    let p = ((-root + wide) * 0.5).floor().to_dtype(DType::I64);
    let begin = &p * (-&p + (2 * n as i64 - 1)) / 2;
    let q = t - begin.to_dtype(DType::I64) + &p + 1;
    [p, q]
}

/// Columns p and q of `a` by an angle: c·x − s·y and s·x + c·y.
fn turn(a: &Tensor, pair: &[Tensor], c: &Tensor, s: &Tensor) -> Tensor {
    let [x, y] = [0, 1].map(|i| column(a, &pair[i]));
    let (c, s) = (c.unsqueeze(-1), s.unsqueeze(-1));
    let [at_p, at_q] = [0, 1].map(|i| places(a.size(2)).eq(&pair[i]));
    let rest = (&s * &x + &c * &y).unsqueeze(-1).where_(&at_q, a);
    (c * x - s * y).unsqueeze(-1).where_(&at_p, rest)
}

/// U, S and V of `[b, m, n]`, m ≥ n, in f64.
#[track_caller]
pub(crate) fn factor(a: &Tensor) -> [Tensor; 3] {
    call_array(Svd, &[a])
}
