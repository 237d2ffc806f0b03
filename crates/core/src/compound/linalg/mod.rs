//! Factorisations of matrices `[batch, rows, columns]` in f64, one file each. Their bodies walk over the columns as the
//! kernels do; what users call is in `sugar/linalg.rs`.

pub(crate) mod cholesky;
pub(crate) mod lu;
pub(crate) mod qr;
pub(crate) mod svd;
pub(crate) mod triangular;

use crate::tensor::Tensor;

/// 0, 1, … along an axis of `n`.
fn places(n: usize) -> Tensor {
    Tensor::arange(0, n as i64, 1)
}

/// Column `k` (one i64) of `[b, m, n]`, as `[b, m]`.
fn column(a: &Tensor, k: &Tensor) -> Tensor {
    a.where_(&places(a.size(2)).eq(k), 0.0).sum(-1)
}

/// Row `k` of `[b, m, n]`, as `[b, n]`.
fn row(a: &Tensor, k: &Tensor) -> Tensor {
    a.where_(&places(a.size(1)).eq(k).unsqueeze(-1), 0.0).sum(1)
}

/// Element `k` of `[b, n]`, as `[b, 1]`.
fn element(a: &Tensor, k: &Tensor) -> Tensor {
    a.where_(&places(a.size(1)).eq(k), 0.0).sum_keepdim(-1)
}

/// a·bᵀ of `[b, m]` and `[b, n]`.
fn outer(a: &Tensor, b: &Tensor) -> Tensor {
    a.unsqueeze(-1) * b.unsqueeze(-2)
}

/// The matrix, transposed.
fn transposed(a: &Tensor) -> Tensor {
    a.transpose(1, 2)
}
