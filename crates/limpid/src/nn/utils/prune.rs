//! Pruning: `torch.nn.utils.prune`. A parameter `weight` becomes `weight_orig`·`weight_mask`: the original is what is
//! trained, the mask a buffer of zeros and ones. Pruning again goes on where the mask is 1. Masks are computed at once,
//! on the host.

use std::sync::Arc;

use limpid_core::{Error, Result, Tensor};

use crate::Module;
use crate::derived::Style;
use crate::nn::utils::parametrize::{self, Parametrization};
use crate::param::{Buffer, Parameter};
use crate::walk::{Item, walk};

/// original·mask
#[derive(Debug, Module)]
#[module(kind = name)]
struct Mask {
    mask: Buffer,
}

const KIND: &str = "_PruningMask";

impl Mask {
    fn name(&self) -> &'static str {
        KIND
    }
}

impl Parametrization for Mask {
    fn forward(&self, originals: &[Tensor]) -> Tensor {
        match originals {
            [original] => original * self.mask.tensor(),
            _ => Tensor::failed(Error::new("prune: not one original")),
        }
    }
}

/// How many elements or channels are pruned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// This part of those that are left, from 0 to 1.
    Part(f64),
    /// So many.
    Count(usize),
}

impl From<f64> for Amount {
    fn from(part: f64) -> Amount {
        Amount::Part(part)
    }
}

impl From<usize> for Amount {
    fn from(count: usize) -> Amount {
        Amount::Count(count)
    }
}

impl Amount {
    /// How many of `left`.
    fn of(self, left: usize) -> Result<usize> {
        match self {
            Amount::Part(part) if !(0.0..=1.0).contains(&part) => {
                Err(Error::new(format!("prune: the part {part}")).help("a number from 0 to 1"))
            }
            // Python rounds halves to the even number.
            Amount::Part(part) => Ok((part * left as f64).round_ties_even() as usize),
            Amount::Count(count) if count > left => {
                Err(Error::new(format!("prune: {count} of the {left} that are left")))
            }
            Amount::Count(count) => Ok(count),
        }
    }
}

/// The places of the `count` smallest of `scores` among `left`; of equal ones the first.
fn smallest(scores: &[f64], left: &[usize], count: usize) -> Vec<usize> {
    let mut order = left.to_vec();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    order.truncate(count);
    order
}

/// The mask that a parameter has, and what it is now.
struct Now {
    mask: Vec<f64>,
    value: Tensor,
}

impl Now {
    fn of(p: &Parameter) -> Result<Now> {
        let value = p.value()?.detach();
        let mask = match mask_of(p)? {
            Some(mask) => mask.value()?.to_vec::<f64>()?,
            None => vec![1.0; value.numel()],
        };
        Ok(Now { mask, value })
    }

    fn left(&self) -> Vec<usize> {
        (0..self.mask.len()).filter(|&i| self.mask[i] == 1.0).collect()
    }

    /// |value|, or |scores| where these are given.
    fn importance(&self, scores: Option<&Tensor>) -> Result<Vec<f64>> {
        let scores = scores.unwrap_or(&self.value);
        if scores.error().is_none() && scores.shape() != self.value.shape() {
            let (theirs, ours) = (scores.shape(), self.value.shape());
            return Err(Error::new(format!("prune: scores of shape {theirs} for a parameter of shape {ours}")));
        }
        scores.detach().abs().to_vec::<f64>()
    }

    /// For each element, its channel along `dim`; and the channels that are not yet pruned whole.
    fn channels(&self, dim: isize) -> Result<(Vec<usize>, Vec<usize>)> {
        let shape = self.value.shape();
        if shape.rank() < 2 {
            return Err(Error::new(format!("prune: channels of a parameter of shape {shape}, which has no others")));
        }
        let Some(axis) = shape.axis(dim) else {
            return Err(Error::new(format!("prune: axis {dim} of a parameter of shape {shape}")));
        };
        let inner: usize = shape[axis + 1..].iter().product();
        let of: Vec<usize> = (0..self.mask.len()).map(|i| i / inner % shape[axis]).collect();
        let mut sums = vec![0.0; shape[axis]];
        of.iter().zip(&self.mask).for_each(|(&channel, mask)| sums[channel] += mask);
        let left = (0..sums.len()).filter(|&channel| sums[channel] != 0.0).collect();
        Ok((of, left))
    }
}

/// The buffer of a parameter's mask.
fn mask_of(p: &Parameter) -> Result<Option<Buffer>> {
    let Some(derived) = p.derived() else { return Ok(None) };
    let mut found = None;
    if derived.steps.iter().any(|step| step.kind() == KIND) {
        walk(derived.steps[0].as_ref(), &mut |_, item| {
            if let Item::Buffer(buffer) = item {
                found = Some(buffer.clone());
            }
        });
    }
    if found.is_none() {
        let error = Error::new(format!("prune: {p:?} has a parametrization"));
        return Err(error.help("parametrize::remove_parametrizations first"));
    }
    Ok(found)
}

/// Puts a mask on a parameter, or in place of the one it has.
fn masked(p: &Parameter, mask: Vec<f64>) -> Result<()> {
    let mask = Tensor::from_vec(mask, p.shape()).to_dtype(p.dtype());
    match mask_of(p)? {
        Some(buffer) => buffer.set(&mask),
        None => {
            let step: Arc<dyn Parametrization> = Arc::new(Mask { mask: Buffer::new(&mask) });
            parametrize::put(p, Style::Beside, &["orig"], step)
        }
    }
}

/// The mask with zeros at these places too.
fn without(mut mask: Vec<f64>, pruned: impl IntoIterator<Item = usize>) -> Vec<f64> {
    pruned.into_iter().for_each(|i| mask[i] = 0.0);
    mask
}

/// A mask of ones: nothing is pruned yet.
///
/// # Errors
/// Where the parameter has a parametrization, or its value can not be computed. So of all functions here.
pub fn identity(p: &Parameter) -> Result<()> {
    let mask = Now::of(p)?.mask;
    masked(p, mask)
}

/// Prunes elements at random.
///
/// # Errors
/// An amount that is no part, or more than is left.
pub fn random_unstructured(p: &Parameter, amount: impl Into<Amount>) -> Result<()> {
    let now = Now::of(p)?;
    let left = now.left();
    let count = amount.into().of(left.len())?;
    let random = Tensor::rand([now.mask.len()]).to_vec::<f64>()?;
    let pruned = smallest(&random, &left, count);
    masked(p, without(now.mask, pruned))
}

/// Prunes the elements whose |value| is smallest, or whose `importance_scores` are.
///
/// ```
/// use limpid::nn::utils::prune;
/// use limpid::prelude::*;
/// let layer = Linear::new(2, 2).bias(false);
/// layer.weight.set(&Tensor::from([[1.0f32, -4.0], [0.5, 3.0]]))?;
/// prune::l1_unstructured(&layer.weight, 0.5, None)?;
/// assert_eq!(layer.weight.value()?.to_vec::<f32>()?, [0.0, -4.0, 0.0, 3.0]);
/// assert_eq!(layer.state_dict().names().collect::<Vec<_>>(), ["weight_orig", "weight_mask"]);
/// prune::remove(&layer.weight)?;
/// assert_eq!(layer.state_dict().names().collect::<Vec<_>>(), ["weight"]);
/// # Ok::<(), limpid::Error>(())
/// ```
///
/// # Errors
/// An amount that is no part, or more than is left; scores of another shape.
pub fn l1_unstructured(p: &Parameter, amount: impl Into<Amount>, importance_scores: Option<&Tensor>) -> Result<()> {
    let now = Now::of(p)?;
    let left = now.left();
    let count = amount.into().of(left.len())?;
    let pruned = smallest(&now.importance(importance_scores)?, &left, count);
    masked(p, without(now.mask, pruned))
}

/// Prunes channels along `dim` at random.
///
/// # Errors
/// An amount that is no part, or more than is left; no such axis, or one alone.
pub fn random_structured(p: &Parameter, amount: impl Into<Amount>, dim: isize) -> Result<()> {
    let now = Now::of(p)?;
    let (of, left) = now.channels(dim)?;
    let count = amount.into().of(left.len())?;
    let random = Tensor::rand([p.numel().max(1)]).to_vec::<f64>()?;
    let pruned = smallest(&random, &left, count);
    masked(p, without(now.mask, (0..of.len()).filter(|&i| pruned.contains(&of[i]))))
}

/// Prunes the channels along `dim` whose n-norm is smallest, of the values or of `importance_scores`.
///
/// # Errors
/// An amount that is no part, or more than is left; no such axis, or one alone; scores of another shape.
pub fn ln_structured(
    p: &Parameter,
    amount: impl Into<Amount>,
    n: f64,
    dim: isize,
    importance_scores: Option<&Tensor>,
) -> Result<()> {
    let now = Now::of(p)?;
    let (of, left) = now.channels(dim)?;
    let count = amount.into().of(left.len())?;
    let _ = now.importance(importance_scores)?;
    let scores = importance_scores.unwrap_or(&now.value).detach();
    let axis = scores.shape().axis(dim).unwrap_or(0);
    let others: Vec<isize> = (0..scores.rank()).filter(|&a| a != axis).map(|a| a as isize).collect();
    let norms = scores.vector_norm(n, &others[..]).to_vec::<f64>()?;
    let pruned = smallest(&norms, &left, count);
    masked(p, without(now.mask, (0..of.len()).filter(|&i| pruned.contains(&of[i]))))
}

/// Prunes where `mask` is 0, and where the parameter is pruned already.
///
/// # Errors
/// A mask of another shape.
pub fn custom_from_mask(p: &Parameter, mask: &Tensor) -> Result<()> {
    let now = Now::of(p)?;
    if mask.error().is_none() && *mask.shape() != p.shape() {
        return Err(Error::new(format!("prune: a mask of shape {} for {p:?}", mask.shape())));
    }
    let mask = mask.detach().to_vec::<f64>()?;
    masked(p, now.mask.iter().zip(mask).map(|(a, b)| a * b).collect())
}

/// How [`global_unstructured`] chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The smallest |value|.
    L1Unstructured,
    /// At random.
    RandomUnstructured,
}

/// Prunes elements of all these parameters together, as if they were one.
///
/// # Errors
/// An amount that is no part, or more than is left.
pub fn global_unstructured(parameters: &[Parameter], method: Method, amount: impl Into<Amount>) -> Result<()> {
    let all: Vec<Now> = parameters.iter().map(Now::of).collect::<Result<_>>()?;
    let mask: Vec<f64> = all.iter().flat_map(|now| now.mask.iter().copied()).collect();
    let left: Vec<usize> = (0..mask.len()).filter(|&i| mask[i] == 1.0).collect();
    let count = amount.into().of(left.len())?;
    let scores = match method {
        Method::RandomUnstructured => Tensor::rand([mask.len()]).to_vec::<f64>()?,
        Method::L1Unstructured => {
            let scores: Vec<Vec<f64>> = all.iter().map(|now| now.importance(None)).collect::<Result<_>>()?;
            scores.concat()
        }
    };
    let pruned = smallest(&scores, &left, count);
    let mask = without(mask, pruned);
    let mut rest = &mask[..];
    for p in parameters {
        let (mine, others) = rest.split_at(p.numel());
        masked(p, mine.to_vec())?;
        rest = others;
    }
    Ok(())
}

/// Takes the mask off: the parameter keeps its pruned values.
///
/// # Errors
/// Where it is not pruned.
pub fn remove(p: &Parameter) -> Result<()> {
    if p.derived().is_none() {
        return Err(Error::new(format!("prune: {p:?} is not pruned")));
    }
    mask_of(p)?;
    parametrize::remove_parametrizations(p, true)
}

/// Whether a parameter of the module, or of one below it, is pruned.
pub fn is_pruned<M: Module + ?Sized>(module: &M) -> bool {
    let mut pruned = false;
    walk(module, &mut |_, item| {
        if let Item::Derived(derived) = item {
            pruned |= derived.steps.iter().any(|step| step.kind() == KIND);
        }
    });
    pruned
}
