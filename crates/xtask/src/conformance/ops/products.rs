//! Products of vectors and matrices.

use limpid::{Contracted, Tensor};

use crate::conformance::args::{Args, Result};
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("addbmm", |a| scaled(a, ["batch1", "batch2"], Tensor::addbmm)),
    ("addmm", |a| scaled(a, ["mat1", "mat2"], Tensor::addmm)),
    ("addmv", |a| scaled(a, ["mat", "vec"], Tensor::addmv)),
    ("addr", |a| scaled(a, ["vec1", "vec2"], Tensor::addr)),
    ("baddbmm", |a| scaled(a, ["batch1", "batch2"], Tensor::baddbmm)),
    ("cross", |a| {
        let (x, y) = (a.required::<Tensor>("input")?, a.required::<Tensor>("other")?);
        one(match a.option("dim")? {
            Some(dim) => x.cross(&y, dim),
            None => x.cross_first(&y),
        })
    }),
    // PyTorch's own cases give the tensors first.
    ("einsum", |a| {
        let (tensors, equation) = (a.required::<Vec<Tensor>>("operands")?, a.required::<String>("equation")?);
        one(Tensor::einsum(&equation, &tensors.iter().collect::<Vec<_>>()))
    }),
    ("inner", |a| pair(a, Tensor::inner)),
    ("kron", |a| pair(a, Tensor::kron)),
    ("outer", |a| {
        let (x, y) = (a.required::<Tensor>("input")?, a.required("vec2")?);
        one(x.outer(&y))
    }),
    ("tensordot", |a| {
        let (x, y) = (a.required::<Tensor>("a")?, a.required::<Tensor>("b")?);
        let dims = match a.peek("dims") {
            Some(dims) if dims.is_array() => {
                let (first, second): (Vec<isize>, Vec<isize>) = a.required("dims")?;
                Contracted::Axes(first, second)
            }
            _ => a.or("dims", 2usize)?.into(),
        };
        one(x.tensordot(&y, dims))
    }),
    ("trace", |a| one(a.required::<Tensor>("input")?.trace())),
];

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

fn pair(a: &mut Args<'_>, f: fn(&Tensor, &Tensor) -> Tensor) -> Result<Vec<Tensor>> {
    one(f(&a.required("input")?, &a.required("other")?))
}

/// A product with factors of it and of what it is added to.
type Scaled = fn(&Tensor, &Tensor, &Tensor, f64, f64) -> Tensor;

fn scaled(a: &mut Args<'_>, names: [&str; 2], f: Scaled) -> Result<Vec<Tensor>> {
    let (x, first, second) = (a.required("input")?, a.required(names[0])?, a.required(names[1])?);
    let a = a.keywords();
    one(f(&x, &first, &second, a.or("beta", 1.0)?, a.or("alpha", 1.0)?))
}
