//! Operations that move elements: shapes, joining, indexing.

use limpid::Tensor;

use crate::conformance::args::{Args, Result, line};
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("broadcast_to", |a| ranked(a, "size", expand)),
    ("cat", |a| {
        let (tensors, dim) = (a.required::<Vec<Tensor>>("tensors")?, a.or("dim", 0)?);
        one(Tensor::cat(&tensors.iter().collect::<Vec<_>>(), dim))
    }),
    ("chunk", |a| {
        let (x, chunks, dim) = (a.required::<Tensor>("input")?, a.required("chunks")?, a.or("dim", 0)?);
        Ok(x.chunk(chunks, dim))
    }),
    ("expand", |a| ranked(a, "size", expand)),
    ("flatten", |a| {
        let (x, start, end) = (a.required::<Tensor>("input")?, a.or("start_dim", 0)?, a.or("end_dim", -1)?);
        one(x.flatten_range(start, end))
    }),
    ("flip", |a| ranked(a, "dims", |x, dims| Ok(dims.iter().fold(x.clone(), |x, &dim| x.flip(dim))))),
    ("gather", |a| {
        let (x, dim, index) = (a.required::<Tensor>("input")?, a.required("dim")?, a.required("index")?);
        a.no_effect("sparse_grad")?;
        one(x.gather(dim, &index))
    }),
    ("index_select", |a| {
        let (x, dim) = (a.required::<Tensor>("input")?, a.required("dim")?);
        one(x.index_select(dim, &a.required("index")?))
    }),
    ("masked_fill", |a| {
        let (x, mask) = (a.required::<Tensor>("input")?, a.required("mask")?);
        one(x.masked_fill(&mask, a.required::<limpid::Value>("value")?))
    }),
    ("narrow", |a| {
        let (x, dim) = (a.required::<Tensor>("input")?, a.required("dim")?);
        // Torch takes a tensor of one element too.
        let start = match a.peek("start") {
            Some(start) if start.get("tensor").is_some() => a.required::<Tensor>("start")?.item_i64().map_err(line)?,
            _ => a.required("start")?,
        };
        let start = usize::try_from(start).map_err(|_| format!("argument start={start} is not built yet"))?;
        one(x.narrow(dim, start, a.required("length")?))
    }),
    ("nonzero", |a| {
        let x = a.required::<Tensor>("input")?;
        if !a.keywords().or("as_tuple", false)? {
            return one(x.nonzero());
        }
        // One column of the places for each axis; a scalar has one here.
        let x = if x.rank() == 0 { x.unsqueeze(0) } else { x };
        let places = x.nonzero();
        Ok((0..x.rank() as isize).map(|axis| places.select(1, axis)).collect())
    }),
    ("permute", |a| ranked(a, "dims", permute)),
    ("repeat", |a| {
        let (x, times) = (a.required::<Tensor>("input")?, a.required::<Vec<usize>>("repeats")?);
        one(x.repeat(&times))
    }),
    ("reshape", |a| ranked(a, "shape", |x, shape| Ok(x.reshape_dims(shape)))),
    ("roll", |a| {
        let x = a.required::<Tensor>("input")?;
        let shifts = a.required::<Vec<isize>>("shifts")?;
        let axes = a.option::<Vec<isize>>("dims")?.unwrap_or_default();
        if let ([shift], []) = (&shifts[..], &axes[..]) {
            return one(x.roll_flat(*shift));
        }
        one(shifts.iter().zip(axes).fold(x, |x, (&shift, dim)| x.roll(shift, dim)))
    }),
    ("scatter", |a| {
        let (x, dim, index) = (a.required::<Tensor>("input")?, a.required("dim")?, a.required("index")?);
        let source = a.required("src")?;
        match a.option::<String>("reduce")?.as_deref() {
            None => one(x.scatter(dim, &index, &source)),
            Some("add") => one(x.scatter_add(dim, &index, &source)),
            Some(other) => Err(format!("argument reduce={other} is not built yet")),
        }
    }),
    ("scatter_add", |a| {
        let (x, dim, index) = (a.required::<Tensor>("input")?, a.required("dim")?, a.required("index")?);
        one(x.scatter_add(dim, &index, &a.required("src")?))
    }),
    ("select", |a| {
        let (x, dim) = (a.required::<Tensor>("input")?, a.required("dim")?);
        one(x.select(dim, a.required("index")?))
    }),
    ("slice", |a| {
        let (x, dim) = (a.required::<Tensor>("input")?, a.or("dim", 0)?);
        one(x.slice(dim, a.option("start")?, a.option("end")?, a.or("step", 1)?))
    }),
    ("split", |a| {
        let x = a.required::<Tensor>("input")?;
        if a.peek("split_size_or_sections").is_some_and(|sizes| sizes.is_array()) {
            let sizes = a.required::<Vec<usize>>("split_size_or_sections")?;
            return Ok(x.split_with_sizes(&sizes, a.or("dim", 0)?));
        }
        let size = a.required("split_size_or_sections")?;
        Ok(x.split(size, a.or("dim", 0)?))
    }),
    ("squeeze", |a| {
        let x = a.required::<Tensor>("input")?;
        match a.option::<Vec<isize>>("dim")? {
            Some(axes) => one(x.squeeze(&axes[..])),
            None => one(x.squeeze(..)),
        }
    }),
    ("stack", |a| {
        let (tensors, dim) = (a.required::<Vec<Tensor>>("tensors")?, a.or("dim", 0)?);
        one(Tensor::stack(&tensors.iter().collect::<Vec<_>>(), dim))
    }),
    ("transpose", |a| {
        let x = a.required::<Tensor>("input")?;
        one(x.transpose(a.required("dim0")?, a.required("dim1")?))
    }),
    ("tril", |a| one(a.required::<Tensor>("input")?.tril(a.or("diagonal", 0)?))),
    ("triu", |a| one(a.required::<Tensor>("input")?.triu(a.or("diagonal", 0)?))),
    ("unflatten", |a| {
        let (x, dim) = (a.required::<Tensor>("input")?, a.required("dim")?);
        one(x.unflatten(dim, &a.required::<Vec<isize>>("sizes")?))
    }),
    ("unfold", |a| {
        let (x, dim) = (a.required::<Tensor>("input")?, a.required("dimension")?);
        one(x.unfold(dim, a.required("size")?, a.required("step")?))
    }),
    ("unsqueeze", |a| one(a.required::<Tensor>("input")?.unsqueeze(a.required("dim")?))),
    ("view", |a| ranked(a, "shape", |x, shape| Ok(x.reshape_dims(shape)))),
    // PyTorch's own cases call it as a method of the tensor that is taken where the condition holds.
    ("where", |a| {
        let (x, condition) = (a.required::<Tensor>("input")?, a.required("condition")?);
        one(x.where_(&condition, a.required::<limpid::Value>("other")?))
    }),
];

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

/// A function of the input and a list of sizes or axes.
fn ranked(a: &mut Args<'_>, name: &str, f: fn(&Tensor, &[isize]) -> Result<Tensor>) -> Result<Vec<Tensor>> {
    let x = a.required("input")?;
    one(f(&x, &a.required::<Vec<isize>>(name)?)?)
}

/// Limpid takes arrays, whose length the compiler knows.
fn expand(x: &Tensor, sizes: &[isize]) -> Result<Tensor> {
    Ok(match *sizes {
        [] => x.expand([]),
        [a] => x.expand([a]),
        [a, b] => x.expand([a, b]),
        [a, b, c] => x.expand([a, b, c]),
        [a, b, c, d] => x.expand([a, b, c, d]),
        [a, b, c, d, e] => x.expand([a, b, c, d, e]),
        _ => return Err(format!("argument size={sizes:?} is not built yet")),
    })
}

fn permute(x: &Tensor, axes: &[isize]) -> Result<Tensor> {
    Ok(match *axes {
        [] => x.permute([]),
        [a] => x.permute([a]),
        [a, b] => x.permute([a, b]),
        [a, b, c] => x.permute([a, b, c]),
        [a, b, c, d] => x.permute([a, b, c, d]),
        [a, b, c, d, e] => x.permute([a, b, c, d, e]),
        _ => return Err(format!("argument dims={axes:?} is not built yet")),
    })
}
