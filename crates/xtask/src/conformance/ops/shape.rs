//! Operations that move elements: shapes, joining, indexing.

use limpid::Tensor;

use crate::conformance::args::{Args, Result, line};
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("atleast_1d", |a| each(a, Tensor::atleast_1d)),
    ("atleast_2d", |a| each(a, Tensor::atleast_2d)),
    ("atleast_3d", |a| each(a, Tensor::atleast_3d)),
    ("block_diag", |a| one(Tensor::block_diag(&several(a)?.iter().collect::<Vec<_>>()))),
    ("broadcast_to", |a| ranked(a, "size", expand)),
    ("cartesian_prod", |a| one(Tensor::cartesian_prod(&several(a)?.iter().collect::<Vec<_>>()))),
    ("cat", |a| {
        let (tensors, dim) = (a.required::<Vec<Tensor>>("tensors")?, a.or("dim", 0)?);
        one(Tensor::cat(&tensors.iter().collect::<Vec<_>>(), dim))
    }),
    ("chunk", |a| {
        let (x, chunks, dim) = (a.required::<Tensor>("input")?, a.required("chunks")?, a.or("dim", 0)?);
        Ok(x.chunk(chunks, dim))
    }),
    ("column_stack", |a| joined(a, Tensor::column_stack)),
    ("combinations", |a| {
        let (x, r) = (a.required::<Tensor>("input")?, a.or("r", 2)?);
        one(x.combinations(r, a.or("with_replacement", false)?))
    }),
    ("diag", |a| one(a.required::<Tensor>("input")?.diag(a.or("diagonal", 0)?))),
    ("diag_embed", |a| {
        let (x, offset) = (a.required::<Tensor>("input")?, a.or("offset", 0)?);
        one(x.diag_embed(offset, a.or("dim1", -2)?, a.or("dim2", -1)?))
    }),
    ("diagonal", |a| {
        let (x, offset) = (a.required::<Tensor>("input")?, a.or("offset", 0)?);
        one(x.diagonal(offset, a.or("dim1", 0)?, a.or("dim2", 1)?))
    }),
    ("dstack", |a| joined(a, Tensor::dstack)),
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
    ("hstack", |a| joined(a, Tensor::hstack)),
    ("index_select", |a| {
        let (x, dim) = (a.required::<Tensor>("input")?, a.required("dim")?);
        one(x.index_select(dim, &a.required("index")?))
    }),
    ("masked_fill", |a| {
        let (x, mask) = (a.required::<Tensor>("input")?, a.required("mask")?);
        one(x.masked_fill(&mask, a.required::<limpid::Value>("value")?))
    }),
    ("meshgrid", |a| {
        let tensors = several(a)?;
        let indexing: String = a.keywords().or("indexing", "ij".to_owned())?;
        Ok(Tensor::meshgrid(&tensors.iter().collect::<Vec<_>>(), &indexing))
    }),
    ("movedim", |a| {
        let (x, source) = (a.required::<Tensor>("input")?, a.required::<Vec<isize>>("source")?);
        one(x.movedim(&source, &a.required::<Vec<isize>>("destination")?))
    }),
    ("narrow", |a| {
        let (x, dim) = (a.required::<Tensor>("input")?, a.required("dim")?);
        // Torch takes a tensor of one element too.
        let start = match a.peek("start") {
            Some(start) if start.get("tensor").is_some() => a.required::<Tensor>("start")?.item_i64().map_err(line)?,
            _ => a.required("start")?,
        };
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
    ("repeat_interleave", |a| {
        let (x, repeats) = (a.required::<Tensor>("input")?, a.required::<limpid::Value>("repeats")?);
        let dim = a.option("dim")?;
        // The size of the result, which follows from the repeats.
        a.keywords().no_effect("output_size")?;
        one(x.repeat_interleave(repeats, dim))
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
    ("rot90", |a| {
        let (x, k) = (a.required::<Tensor>("input")?, a.or("k", 1)?);
        let (from, towards) = a.or("dims", (0, 1))?;
        one(x.rot90(k, [from, towards]))
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
    ("tile", |a| {
        let x = a.required::<Tensor>("input")?;
        one(x.tile(&a.required::<Vec<usize>>("dims")?))
    }),
    ("transpose", |a| {
        let x = a.required::<Tensor>("input")?;
        one(x.transpose(a.required("dim0")?, a.required("dim1")?))
    }),
    ("tril", |a| one(a.required::<Tensor>("input")?.tril(a.or("diagonal", 0)?))),
    ("triu", |a| one(a.required::<Tensor>("input")?.triu(a.or("diagonal", 0)?))),
    ("unbind", |a| {
        let x = a.required::<Tensor>("input")?;
        Ok(x.unbind(a.or("dim", 0)?))
    }),
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
    ("vstack", |a| joined(a, Tensor::vstack)),
    // PyTorch's own cases call it as a method of the tensor that is taken where the condition holds.
    ("where", |a| {
        let (x, condition) = (a.required::<Tensor>("input")?, a.required("condition")?);
        one(x.where_(&condition, a.required::<limpid::Value>("other")?))
    }),
];

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

/// Tensors in one list, or one argument after the other.
fn several(a: &mut Args<'_>) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::new();
    while a.peek("tensors").is_some() {
        tensors.extend(a.required::<Vec<Tensor>>("tensors")?);
    }
    Ok(tensors)
}

/// A function of each of them.
fn each(a: &mut Args<'_>, f: fn(&Tensor) -> Tensor) -> Result<Vec<Tensor>> {
    Ok(several(a)?.iter().map(f).collect())
}

/// A function of a list of tensors.
fn joined(a: &mut Args<'_>, f: fn(&[&Tensor]) -> Tensor) -> Result<Vec<Tensor>> {
    let tensors = a.required::<Vec<Tensor>>("tensors")?;
    one(f(&tensors.iter().collect::<Vec<_>>()))
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
