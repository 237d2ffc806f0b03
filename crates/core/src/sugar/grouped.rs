//! Products of groups of rows, each with a matrix of its own.

use std::ops::Range;

use limpid_kernels::DType;

use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;

fn error(what: impl std::fmt::Display) -> Error {
    Error::new(format!("grouped_mm: {what}"))
}

/// The groups that end at `offs`, of an axis of `size`. Their sizes are shapes, so `offs` is read.
fn groups(offs: &Tensor, size: usize) -> Result<Vec<Range<usize>>> {
    if !matches!(offs.dtype(), DType::I32 | DType::I64) || offs.rank() != 1 {
        return Err(error(format_args!("offs is {} {}, not one axis of integers", offs.dtype(), offs.shape())));
    }
    let ends = offs.to_dtype(DType::I64).to_vec::<i64>()?;
    let mut start = 0;
    let mut found = Vec::with_capacity(ends.len());
    for end in ends {
        match usize::try_from(end) {
            Ok(end) if (start..=size).contains(&end) => found.push(start..end),
            _ => {
                let what = format!("a group ends at {end}, behind a start at {start}, of {size}");
                return Err(error(what).help("offs that rise to the size of the axis"));
            }
        }
        start = found.last().map_or(start, |group| group.end);
    }
    Ok(found)
}

/// `parts` one after the other along `axis`, and zeros up to `size`.
#[track_caller]
fn filled(mut parts: Vec<Tensor>, axis: isize, mut shape: [usize; 2], dtype: DType) -> Tensor {
    let at = axis as usize;
    let size: usize = parts.iter().map(|part| part.shape()[at]).sum();
    if size < shape[at] || parts.is_empty() {
        shape[at] -= size;
        parts.push(Tensor::zeros_of(shape, dtype));
    }
    Tensor::cat(&parts.iter().collect::<Vec<_>>(), axis)
}

/// What the product refuses, and its shape.
fn checked(a: &Tensor, b: &Tensor, offs: Option<&Tensor>) -> Result<Shape> {
    let (x, y) = (a.shape(), b.shape());
    if let Some(t) = [x, y].into_iter().find(|t| !(2..=3).contains(&t.rank())) {
        return Err(error(format_args!("{t} is no matrix and no batch of matrices")));
    }
    if offs.is_some() != (x.rank() == 2 || y.rank() == 2) {
        return Err(error(format_args!("{x} and {y} {} offs", if offs.is_some() { "with" } else { "without" }))
            .help("offs where one of them is a matrix, none for two batches"));
    }
    if x[x.rank() - 1] != y[y.rank() - 2] {
        return Err(error(format_args!("inner sizes differ: {x} × {y}")));
    }
    if a.dtype() != b.dtype() || !a.dtype().is_float() {
        return Err(error(format_args!("{} and {} are not the same float type", a.dtype(), b.dtype())));
    }
    let groups = offs.map_or(x[0], Tensor::numel);
    if let Some(t) = [x, y].into_iter().find(|t| t.rank() == 3 && t[0] != groups) {
        return Err(error(format_args!("{t} has {} matrices for {groups} groups", t[0])));
    }
    let (rows, columns) = (x[x.rank() - 2], y[y.rank() - 1]);
    Ok(if x.rank() == y.rank() { Shape::from([groups, rows, columns]) } else { Shape::from([rows, columns]) })
}

impl Tensor {
    /// Products of groups. Rows `[M, K]` with matrices `[G, K, N]`: the rows from `offs[g − 1]` (0 for the first) to
    /// `offs[g]` are multiplied by matrix g, the result is `[M, N]`; rows behind the last group are 0. Matrices `[G, M, K]`
    /// with columns `[K, N]` likewise; `[M, K]` with `[K, N]` grouped along K gives `[G, M, N]`; `[G, M, K]` with
    /// `[G, K, N]` has no `offs`. The sizes of the groups are shapes, so `offs` is evaluated now. Torch's function of that
    /// name.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (rows, experts) = (Tensor::from([[1.0f32], [2.0], [3.0]]), Tensor::from([[[1.0f32]], [[10.0]]]));
    /// let y = rows.grouped_mm(&experts, Some(&Tensor::from([1i64, 3])));
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 20.0, 30.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn grouped_mm(&self, other: &Tensor, offs: Option<&Tensor>) -> Tensor {
        let inputs: Vec<&Tensor> = [self, other].into_iter().chain(offs).collect();
        let shape = match checked(self, other, offs) {
            Ok(shape) => shape,
            Err(error) => return Tensor::fail(error, &inputs, self.shape().clone(), self.dtype()),
        };
        let Some(offs) = offs else { return self.matmul(other) };
        let (by_rows, by_columns) = (self.rank() == 2, other.rank() == 2);
        let along = if by_rows && by_columns { self.shape()[1] } else { shape[usize::from(by_columns)] };
        let groups = match groups(offs, along) {
            Ok(groups) => groups,
            Err(error) => return Tensor::fail(error, &inputs, shape, self.dtype()),
        };
        let mut parts = Vec::with_capacity(groups.len());
        for (g, group) in groups.into_iter().enumerate() {
            let (start, len) = (group.start, group.len());
            parts.push(match (by_rows, by_columns) {
                (true, true) => self.narrow(1, start, len).matmul(&other.narrow(0, start, len)),
                (true, false) => self.narrow(0, start, len).matmul(&other.select(0, g as isize)),
                (false, _) => self.select(0, g as isize).matmul(&other.narrow(1, start, len)),
            });
        }
        if by_rows && by_columns {
            return if parts.is_empty() {
                Tensor::zeros_of(shape, self.dtype())
            } else {
                Tensor::stack(&parts.iter().collect::<Vec<_>>(), 0)
            };
        }
        filled(parts, isize::from(by_columns), [shape[0], shape[1]], self.dtype())
    }
}
