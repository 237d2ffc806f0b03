//! Arguments that convolutions, poolings and sliding blocks share.

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::op::movement;
use crate::shape::Shape;
use crate::sizes::Sizes;
use crate::tensor::Tensor;

/// One size for each spatial axis.
pub(crate) type PerAxis = SmallVec<[usize; 3]>;

/// No size is larger, so that products of two fit.
const LARGEST: usize = i32::MAX as usize;

/// An error of the function `name`.
pub(crate) fn error(name: &str, what: impl std::fmt::Display) -> Error {
    Error::new(format!("{name}: {what}"))
}

/// The argument `what` along `axes` axes.
pub(crate) fn along(name: &str, what: &str, sizes: &Sizes, axes: usize) -> Result<PerAxis> {
    let found = sizes.along(axes).ok_or_else(|| {
        let help = format!("one number, or one for each of the {axes} spatial axes");
        error(name, format_args!("{what} is {sizes}")).help(help)
    })?;
    match found.iter().find(|&&size| size > LARGEST) {
        Some(size) => Err(error(name, format_args!("{what} {size} is too large"))),
        None => Ok(found),
    }
}

/// The argument `what` along `axes` axes, of which none is 0.
pub(crate) fn positive(name: &str, what: &str, sizes: &Sizes, axes: usize) -> Result<PerAxis> {
    let found = along(name, what, sizes, axes)?;
    if found.contains(&0) { Err(error(name, format_args!("{what} is {sizes}, it must not be 0"))) } else { Ok(found) }
}

/// Whether `x` has a batch before its channels and `axes` spatial axes; an error where it has another number of axes.
pub(crate) fn batched(name: &str, x: &Shape, axes: usize) -> Result<bool> {
    match x.rank() {
        rank if rank == axes + 2 => Ok(true),
        rank if rank == axes + 1 => Ok(false),
        rank => {
            let spatial = ["length", "height, width", "depth, height, width"][axes.clamp(1, 3) - 1];
            let what = format!("the input {x} has {rank} axes, not {} or {}", axes + 1, axes + 2);
            Err(error(name, what).help(format!("[batch, channels, {spatial}] or [channels, {spatial}]")))
        }
    }
}

/// `x` with a batch of one where it has none.
#[track_caller]
pub(crate) fn with_batch(x: &Tensor, batched: bool) -> Tensor {
    if batched { x.clone() } else { movement::reshape(x, x.shape().inserted(0, 1)) }
}

/// The result without the batch that [`with_batch`] put in.
#[track_caller]
pub(crate) fn without_batch(y: Tensor, batched: bool) -> Tensor {
    if batched { y } else { movement::reshape(&y, y.shape().without(0)) }
}
