//! Reading and writing at indices.

use limpid::{Index, Tensor, Value};
use serde_json::Value as Json;

use crate::conformance::args::{Args, Read, Result, Tensors};
use crate::conformance::ops::Call;

/// Every function by torch's name, with the arguments in the order of torch's signature.
pub const CALLS: &[(&str, Call)] = &[
    ("__getitem__", |a| {
        let x = a.required::<Tensor>("input")?;
        one(x.index(&a.required::<Items>("index")?.0[..]))
    }),
    ("diagonal_scatter", |a| {
        let (x, source) = (a.required::<Tensor>("input")?, a.required("src")?);
        one(x.diagonal_scatter(&source, a.or("offset", 0)?, a.or("dim1", 0)?, a.or("dim2", 1)?))
    }),
    ("index_add", |a| {
        let (x, dim, index) = (a.required::<Tensor>("input")?, a.required("dim")?, a.required("index")?);
        let source = a.required("source")?;
        one(x.index_add(dim, &index, &source, a.keywords().or("alpha", 1.0)?))
    }),
    ("index_copy", |a| {
        let (x, dim, index) = (a.required::<Tensor>("input")?, a.required("dim")?, a.required("index")?);
        one(x.index_copy(dim, &index, &a.required("source")?))
    }),
    ("index_fill", |a| {
        let (x, dim, index) = (a.required::<Tensor>("input")?, a.required("dim")?, a.required("index")?);
        one(x.index_fill(dim, &index, a.required::<Value>("value")?))
    }),
    ("index_put", |a| {
        let (x, index) = (a.required::<Tensor>("input")?, a.required::<Items>("indices")?);
        let values = a.required::<Value>("values")?;
        one(x.index_put(&index.0[..], values, a.or("accumulate", false)?))
    }),
    ("index_reduce", |a| reduced(a, "source", Tensor::index_reduce)),
    ("masked_scatter", |a| {
        let (x, mask) = (a.required::<Tensor>("input")?, a.required("mask")?);
        one(x.masked_scatter(&mask, &a.required("source")?))
    }),
    ("scatter", |a| {
        let (x, dim, index) = (a.required::<Tensor>("input")?, a.required("dim")?, a.required("index")?);
        let value = a.peek("src").is_none() && a.peek("value").is_some();
        let source = a.required::<Value>(if value { "value" } else { "src" })?;
        let reduce = a.keywords().option::<String>("reduce")?;
        one(match reduce.as_deref() {
            None => x.scatter(dim, &index, source),
            Some("add") => x.scatter_add(dim, &index, source),
            Some("multiply") => x.scatter_reduce(dim, &index, source, "prod", true),
            Some(other) => return Err(format!("argument reduce={other} is not read")),
        })
    }),
    ("scatter_add", |a| {
        let (x, dim, index) = (a.required::<Tensor>("input")?, a.required("dim")?, a.required("index")?);
        one(x.scatter_add(dim, &index, a.required::<Tensor>("src")?))
    }),
    ("scatter_reduce", |a| {
        reduced(a, "src", |x, dim, index, source, by, own| x.scatter_reduce(dim, index, source, by, own))
    }),
    ("select_scatter", |a| {
        let (x, source) = (a.required::<Tensor>("input")?, a.required("src")?);
        one(x.select_scatter(&source, a.required("dim")?, a.required("index")?))
    }),
    ("slice_scatter", |a| {
        let (x, source) = (a.required::<Tensor>("input")?, a.required("src")?);
        let (dim, start, end) = (a.or("dim", 0)?, a.option("start")?, a.option("end")?);
        one(x.slice_scatter(&source, dim, start, end, a.or("step", 1)?))
    }),
    ("take_along_dim", |a| {
        let (x, indices) = (a.required::<Tensor>("input")?, a.required("indices")?);
        one(x.take_along_dim(&indices, a.option("dim")?))
    }),
];

fn one(t: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![t])
}

/// Elements or slices combined where an index sends them.
type Reduced = fn(&Tensor, isize, &Tensor, &Tensor, &str, bool) -> Tensor;

fn reduced(a: &mut Args<'_>, source: &str, f: Reduced) -> Result<Vec<Tensor>> {
    let (x, dim, index) = (a.required("input")?, a.required("dim")?, a.required("index")?);
    let (source, reduce) = (a.required(source)?, a.required::<String>("reduce")?);
    one(f(&x, dim, &index, &source, &reduce, a.keywords().or("include_self", true)?))
}

/// What Python's brackets hold. A tuple and a list are both arrays in the cases: one of numbers alone is a list, which
/// takes these places of one axis.
struct Items(Vec<Index>);

impl Read for Items {
    fn read(json: &Json, tensors: &Tensors) -> Option<Items> {
        match json.as_array() {
            Some(items) if items.iter().all(Json::is_i64) => Some(Items(vec![item(json, tensors)?])),
            Some(items) => items.iter().map(|json| item(json, tensors)).collect::<Option<_>>().map(Items),
            None => Some(Items(vec![item(json, tensors)?])),
        }
    }
}

/// One item: a tensor, a list, a slice, a number, `None` or `...`.
fn item(json: &Json, tensors: &Tensors) -> Option<Index> {
    if let Some(bounds) = json.get("slice") {
        let [start, end, step] = bounds.as_array()?.as_slice() else { return None };
        let number = |json: &Json| if json.is_null() { Some(None) } else { isize::read(json, tensors).map(Some) };
        return Some(Index::Slice(number(start)?, number(end)?, number(step)?.unwrap_or(1)));
    }
    if json.get("tensor").is_some() {
        return Tensor::read(json, tensors).map(Index::Places);
    }
    match json {
        Json::Null => Some(Index::NewAxis),
        Json::String(dots) if dots == "..." => Some(Index::Ellipsis),
        Json::Array(_) => Vec::<i64>::read(json, tensors).map(Index::from),
        _ => isize::read(json, tensors).map(Index::At),
    }
}
