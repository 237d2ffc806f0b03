//! Linear algebra.

use limpid::{DType, MatrixNorm, Tensor};

use super::Call;
use crate::conformance::args::{Args, Result};

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("linalg.cholesky", |a| {
        let a_ = a.required::<Tensor>("A")?;
        Ok(vec![a_.cholesky(a.keywords().or("upper", false)?)])
    }),
    ("linalg.det", |a| Ok(vec![a.required::<Tensor>("A")?.det()])),
    ("linalg.inv", |a| Ok(vec![a.required::<Tensor>("A")?.inv()])),
    ("linalg.lu", |a| {
        let x = a.required::<Tensor>("A")?;
        a.keywords().only("pivot", true)?;
        Ok(x.lu().to_vec())
    }),
    ("linalg.matrix_norm", |a| {
        let x = a.required::<Tensor>("A")?;
        let (ord, dims) = (a.or("ord", MatrixNorm::Fro)?, a.or("dim", vec![-2, -1])?);
        let &[rows, columns] = &dims[..] else { return Err(format!("argument dim not read: {dims:?}")) };
        let keepdim = a.or("keepdim", false)?;
        Ok(vec![typed(a, x)?.matrix_norm(ord, [rows, columns], keepdim)])
    }),
    ("linalg.norm", |a| {
        let (x, ord, dims) = (a.required::<Tensor>("A")?, a.option("ord")?, a.option::<Vec<isize>>("dim")?);
        let keepdim = a.or("keepdim", false)?;
        Ok(vec![typed(a, x)?.linalg_norm(ord, dims.as_deref(), keepdim)])
    }),
    ("linalg.qr", |a| {
        let x = a.required::<Tensor>("A")?;
        match a.or("mode", "reduced".to_owned())?.as_str() {
            "reduced" => Ok(x.qr(false).to_vec()),
            "complete" => Ok(x.qr(true).to_vec()),
            other => Err(format!("argument mode={other} is not built yet")),
        }
    }),
    ("linalg.slogdet", |a| Ok(a.required::<Tensor>("A")?.slogdet().to_vec())),
    ("linalg.solve", |a| {
        let (x, b) = (a.required::<Tensor>("A")?, a.required("B")?);
        let left: bool = a.keywords().or("left", true)?;
        Ok(vec![if left { x.solve(&b) } else { x.solve_right(&b) }])
    }),
    ("linalg.solve_triangular", |a| {
        let (x, b) = (a.required::<Tensor>("A")?, a.required("B")?);
        let upper = a.keywords().required("upper")?;
        let (left, unitriangular) = (a.or("left", true)?, a.or("unitriangular", false)?);
        Ok(vec![x.solve_triangular(&b, upper, left, unitriangular)])
    }),
    ("linalg.svd", |a| {
        let x = a.required::<Tensor>("A")?;
        a.only("full_matrices", false)?;
        a.keywords().absent("driver")?;
        Ok(x.svd().to_vec())
    }),
    ("linalg.svdvals", |a| {
        let x = a.required::<Tensor>("A")?;
        a.keywords().absent("driver")?;
        Ok(vec![x.svdvals()])
    }),
    ("linalg.vector_norm", |a| {
        let (x, ord) = (a.required::<Tensor>("x")?, a.or("ord", 2.0)?);
        let (dims, keepdim) = (a.option::<Vec<isize>>("dim")?, a.or("keepdim", false)?);
        let x = typed(a, x)?;
        let axes = dims.unwrap_or_else(|| (0..x.rank() as isize).collect());
        let f = if keepdim { Tensor::vector_norm_keepdim } else { Tensor::vector_norm };
        Ok(vec![f(&x, ord, &axes[..])])
    }),
];

/// The input in the type that is asked for.
fn typed(a: &mut Args<'_>, x: Tensor) -> Result<Tensor> {
    let dtype: Option<DType> = a.keywords().option("dtype")?;
    Ok(dtype.map_or(x.clone(), |dtype| x.to_dtype(dtype)))
}
