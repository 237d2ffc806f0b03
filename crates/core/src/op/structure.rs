//! Structure: compounds, regions, loops, branches, and identities with a meaning.

use std::sync::Arc;

use limpid_kernels::{DType, Number};
use smallvec::smallvec;

use crate::compound::Compound;
use crate::error::{Error, Result};
use crate::grad::pullback;
use crate::op::{Backward, Grads, Mark, Op, source};
use crate::reference::Array;
use crate::region::{Branch, Loop, Meta, Region, parts};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::testing::{Fault, body_gradients_forced, planted};

/// The identity with a meaning.
#[track_caller]
pub(crate) fn mark(x: &Tensor, mark: Mark) -> Tensor {
    Tensor::record(Op::Mark(mark), &[x], x.shape().clone(), x.dtype())
}

/// detach: none; others: g.
pub(crate) fn mark_vjp(mark: &Mark, b: &Backward<'_>) -> Grads {
    match mark {
        Mark::Detach => smallvec![None],
        Mark::Watch | Mark::Copy | Mark::Tap(_) | Mark::Finite(_) => smallvec![Some(b.g().clone())],
    }
}

pub(crate) fn mark_reference(mark: &Mark, x: &Array) -> Result<Array> {
    match mark {
        Mark::Finite(what) if x.data.iter().any(|n| !n.as_f64().is_finite()) => Err(not_finite(what)),
        _ => Ok(x.clone()),
    }
}

/// The error of a value that had to be finite.
pub(crate) fn not_finite(what: &str) -> Error {
    Error::new(format!("{what}: not finite"))
}

/// The compound's own rule, or the chain rule through its body.
pub(crate) fn call_vjp(compound: &Arc<dyn Compound>, b: &Backward<'_>) -> Grads {
    if !body_gradients_forced()
        && let Some(grads) = compound.vjp(b)
    {
        return grads;
    }
    pullback(b.inputs, b.needs, b.grads, |inputs| compound.body(inputs))
}

/// The region's gradient is a region again.
pub(crate) fn region_vjp(region: &Arc<Region>, b: &Backward<'_>) -> Grads {
    let count = b.inputs.len();
    let given: Vec<Tensor> = b.grads.iter().flatten().cloned().collect();
    let all: Vec<&Tensor> = b.inputs.iter().chain(&given).collect();
    let results = call(&all, |inputs| {
        let grads = regroup(b.grads, &inputs[count..]);
        let grads = pullback(&inputs[..count], b.needs, &grads, |inputs| region.apply(inputs));
        filled(grads, b.needs, &inputs[..count])
    });
    spread(results, b.needs)
}

/// The gradients that are there, replaced by `given` in order.
fn regroup(grads: &[Option<Tensor>], given: &[Tensor]) -> Vec<Option<Tensor>> {
    let mut given = given.iter();
    grads.iter().map(|g| g.as_ref().and_then(|_| given.next().cloned())).collect()
}

/// The gradients of the needed inputs, zeros where none arrived.
fn filled(grads: Grads, needs: &[bool], inputs: &[Tensor]) -> Vec<Tensor> {
    let mut grads = grads.into_iter();
    needs
        .iter()
        .zip(inputs)
        .filter_map(|(&needed, input)| {
            let grad = grads.next().flatten();
            needed.then(|| grad.unwrap_or_else(|| input.zeros_like()))
        })
        .collect()
}

/// `results` at the needed places, none elsewhere.
fn spread(results: Vec<Tensor>, needs: &[bool]) -> Grads {
    let mut results = results.into_iter();
    needs.iter().map(|&needed| if needed { results.next() } else { None }).collect()
}

/// A loop backwards over the gradient of the body. The forward values of each step are computed again
/// from the carried values at its beginning, which the forward loop has stacked.
pub(crate) fn loop_vjp(l: &Arc<Loop>, b: &Backward<'_>) -> Grads {
    let (carries, stacked, sequences) = (l.carries, l.stacked(), l.sequences);
    let outside_at = carries + sequences + usize::from(l.counted);
    let outside = &b.inputs[outside_at..];
    let outside_needs = &b.needs[outside_at..];
    let metas = l.metas();
    let part = |i: usize| Tensor::record(Op::Part(i as u32), &[b.output], metas[i].0.clone(), metas[i].1);
    let grad = |i: usize| {
        b.grads[i].clone().unwrap_or_else(|| source::constant(Number::Float(0.0), metas[i].1).expand_to(&metas[i].0))
    };
    // Only floats carry gradients.
    let real = |i: &usize| metas[*i].1.is_float();
    let real_carries: Vec<usize> = (0..carries).filter(real).collect();
    let real_stacks: Vec<usize> = (carries..carries + stacked).filter(real).collect();

    let first: Vec<Tensor> = real_carries.iter().map(|&i| grad(i)).collect();
    let sums: Vec<Tensor> =
        outside.iter().zip(outside_needs).filter(|(_, n)| **n).map(|(t, _)| t.zeros_like()).collect();
    let saved: Vec<Tensor> = (0..carries).map(|i| part(carries + stacked + i)).collect();
    let saved_grads: Vec<Tensor> = real_carries.iter().map(|&i| grad(carries + stacked + i)).collect();
    let stack_grads: Vec<Tensor> = real_stacks.iter().map(|&i| grad(i)).collect();
    let given = &b.inputs[carries..carries + sequences];
    let rows: Vec<Tensor> = saved.iter().chain(given).chain(&saved_grads).chain(&stack_grads).cloned().collect();
    let sequence_needs: Vec<bool> = given.iter().map(|t| t.dtype().is_float()).collect();

    let begin: Vec<Tensor> = first.iter().chain(&sums).cloned().collect();
    let count = l.counted.then(|| &b.inputs[carries + sequences]);
    let body = &l.body;
    let reverse = l.reverse == planted(Fault::GradientOfLoop);
    let result = run_loop(&begin, &rows, count, l.steps, reverse, |carry, step| {
        let (dc, sums) = carry.split_at(real_carries.len());
        let (c, rest) = step.split_at(carries);
        let (x, rest) = rest.split_at(sequences);
        let (dsaved, dstack) = rest.split_at(real_carries.len());
        let mut grads: Vec<Option<Tensor>> = vec![None; carries + stacked];
        real_carries.iter().zip(dc).for_each(|(&i, g)| grads[i] = Some(g.clone()));
        real_stacks.iter().zip(dstack).for_each(|(&i, g)| grads[i] = Some(g.clone()));
        let inputs: Vec<Tensor> = c.iter().chain(x).chain(outside).cloned().collect();
        let needs: Vec<bool> = c
            .iter()
            .map(|t| t.dtype().is_float())
            .chain(sequence_needs.iter().copied())
            .chain(outside_needs.iter().copied())
            .collect();
        let grads = pullback(&inputs, &needs, &grads, |inputs| body.apply(inputs));
        let grads = filled(grads, &needs, &inputs);
        let (gc, rest) = grads.split_at(real_carries.len());
        let (gx, go) = rest.split_at(sequence_needs.iter().filter(|n| **n).count());
        let carry = gc.iter().zip(dsaved).chain(go.iter().zip(sums)).map(|(a, b)| a + b).collect();
        (carry, gx.to_vec())
    });
    let (last, gx) = result;
    let (gc, go) = last.split_at(real_carries.len());
    let mut grads: Grads = smallvec![None; b.inputs.len()];
    real_carries.iter().zip(gc).for_each(|(&i, g)| grads[i] = Some(g.clone()));
    let real_sequences = (0..sequences).filter(|&i| sequence_needs[i]);
    real_sequences.zip(gx).for_each(|(i, g)| grads[carries + i] = Some(g));
    let needed = (0..outside.len()).filter(|&i| outside_needs[i]);
    needed.zip(go).for_each(|(i, g)| grads[outside_at + i] = Some(g.clone()));
    grads
}

/// The gradient of the region that was taken.
pub(crate) fn branch_vjp(taken: &Arc<Branch>, b: &Backward<'_>) -> Grads {
    let needs = &b.needs[1..];
    let side = |region: &Arc<Region>| {
        let region = region.clone();
        move || {
            let grads = pullback(&b.inputs[1..], needs, b.grads, |inputs| region.apply(inputs));
            filled(grads, needs, &b.inputs[1..])
        }
    };
    let results = branch(&b.inputs[0], side(&taken.then), side(&taken.otherwise));
    std::iter::once(None).chain(spread(results, needs)).collect()
}

/// Records `f` on `inputs` as one node: its own plan inside the plan, run once.
///
/// ```
/// use limpid_core::{Tensor, call};
/// let x = Tensor::from([1.0f32, 2.0]);
/// let y = &call(&[&x], |v| vec![&v[0] * &v[0] + 1.0])[0];
/// assert_eq!(y.to_vec::<f32>()?, [2.0, 5.0]);
/// # Ok::<(), limpid_core::Error>(())
/// ```
#[track_caller]
pub fn call(inputs: &[&Tensor], f: impl FnOnce(&[Tensor]) -> Vec<Tensor>) -> Vec<Tensor> {
    let metas: Vec<Meta> = inputs.iter().map(|t| (t.shape().clone(), t.dtype())).collect();
    match Region::record(&metas, f) {
        Err(error) => vec![Tensor::failed(error)],
        Ok((region, captured)) => {
            let metas = region.metas();
            let all: Vec<&Tensor> = inputs.iter().copied().chain(&captured).collect();
            parts(Op::Region(Arc::new(region)), &all, &metas)
        }
    }
}

/// Runs `f` once for each step along axis 0 of `sequences`, handing the carried values on.
///
/// `f` gets the carried values and one step of each sequence, and returns the next carried values and
/// what is to be stacked. The result is the last carried values and the stacks. The plan holds the body
/// once, whatever the number of steps; gradients, and gradients of gradients, are loops again.
///
/// ```
/// use limpid_core::{Tensor, loop_over};
/// let x = Tensor::from([1.0f32, 2.0, 3.0]);
/// let (last, sums) = loop_over(&[Tensor::zeros([])], &[x], |carry, step| {
///     let sum = &carry[0] + &step[0];
///     (vec![sum.clone()], vec![sum])
/// });
/// assert_eq!(last[0].item()?, 6.0);
/// assert_eq!(sums[0].to_vec::<f32>()?, [1.0, 3.0, 6.0]);
/// # Ok::<(), limpid_core::Error>(())
/// ```
#[track_caller]
pub fn loop_over(
    carry: &[Tensor],
    sequences: &[Tensor],
    f: impl FnOnce(&[Tensor], &[Tensor]) -> (Vec<Tensor>, Vec<Tensor>),
) -> (Vec<Tensor>, Vec<Tensor>) {
    let steps = sequences.first().map_or(0, |s| s.shape().first().copied().unwrap_or(0));
    run_loop(carry, sequences, None, steps, false, f)
}

/// [`loop_over`] with a number of steps that is known at run time: `count` (i64, shape `[]`), at most
/// `bound`, which is also the length of the sequences and the stacks. Stacks are zero behind `count`.
///
/// ```
/// use limpid_core::{Tensor, loop_times};
/// let (last, _) = loop_times(&Tensor::from(5i64), 8, &[Tensor::from(1.0f32)], &[], |carry, _| {
///     (vec![&carry[0] * 2.0], vec![])
/// });
/// assert_eq!(last[0].item()?, 32.0);
/// # Ok::<(), limpid_core::Error>(())
/// ```
#[track_caller]
pub fn loop_times(
    count: &Tensor,
    bound: usize,
    carry: &[Tensor],
    sequences: &[Tensor],
    f: impl FnOnce(&[Tensor], &[Tensor]) -> (Vec<Tensor>, Vec<Tensor>),
) -> (Vec<Tensor>, Vec<Tensor>) {
    if count.numel() != 1 || count.dtype() != DType::I64 {
        let error = Error::new(format!("loop: the count must be one i64, not {} {}", count.dtype(), count.shape()));
        let failed = Tensor::fail(error, &[count], Shape::scalar(), DType::F32);
        return (vec![failed; carry.len().max(1)], vec![]);
    }
    run_loop(carry, sequences, Some(count), bound, false, f)
}

/// [`loop_times`], without a count where all steps are run, and from the last step to the first where `reverse`.
#[track_caller]
pub(crate) fn run_loop(
    carry: &[Tensor],
    sequences: &[Tensor],
    count: Option<&Tensor>,
    steps: usize,
    reverse: bool,
    f: impl FnOnce(&[Tensor], &[Tensor]) -> (Vec<Tensor>, Vec<Tensor>),
) -> (Vec<Tensor>, Vec<Tensor>) {
    let carries = carry.len();
    let failed = |error: Error, stacked: usize| {
        let tensor = Tensor::failed(error);
        (vec![tensor.clone(); carries.max(1)], vec![tensor; stacked])
    };
    let wrong = sequences.iter().find(|s| s.rank() == 0 || s.shape()[0] != steps);
    if let Some(s) = wrong {
        let error =
            Error::new(format!("loop: every sequence needs {steps} steps on axis 0, one has shape {}", s.shape()));
        return failed(error, 1);
    }
    let metas: Vec<Meta> = carry
        .iter()
        .map(|t| (t.shape().clone(), t.dtype()))
        .chain(sequences.iter().map(|s| (s.shape().without(0), s.dtype())))
        .collect();
    let mut stacked = 0;
    let recorded = Region::record(&metas, |inputs| {
        let (mut next, stack) = f(&inputs[..carries], &inputs[carries..]);
        stacked = stack.len();
        let fits = next.len() == carries
            && next.iter().zip(&metas).all(|(t, (shape, dtype))| t.shape() == shape && t.dtype() == *dtype);
        if !fits && next.iter().all(|t| t.error().is_none()) {
            let list = |metas: &mut dyn Iterator<Item = String>| metas.collect::<Vec<_>>().join(", ");
            crate::region::complain(
                Error::new(format!(
                    "loop: the carried values are {}, the body returns {}",
                    list(&mut metas[..carries].iter().map(|(s, d)| format!("{d} {s}"))),
                    list(&mut next.iter().map(|t| format!("{} {}", t.dtype(), t.shape()))),
                ))
                .help("returning carried values of the shapes and types that the loop began with"),
            );
        }
        next.extend(stack);
        next
    });
    let (body, captured) = match recorded {
        Ok(recorded) => recorded,
        Err(error) => return failed(error, stacked.max(1)),
    };
    let counted = count.is_some();
    let l = Loop { body: Arc::new(body), steps, carries, sequences: sequences.len(), counted, reverse };
    let all: Vec<&Tensor> = carry.iter().chain(sequences).chain(count).chain(&captured).collect();
    let metas = l.metas();
    let mut results = parts(Op::Loop(Arc::new(l)), &all, &metas);
    results.truncate(carries + stacked);
    let stacks = results.split_off(carries);
    (results, stacks)
}

/// Runs `then` where `condition` (one bool) is true, else `otherwise`; both return the same shapes and
/// types. Only the one that is taken is computed.
///
/// ```
/// use limpid_core::{Tensor, branch};
/// let x = Tensor::from([-1.0f32, 4.0]);
/// let y = branch(&x.sum(..).gt(0.0), || vec![x.sqrt()], || vec![x.abs()]);
/// assert!(y[0].to_vec::<f32>()?[0].is_nan());
/// # Ok::<(), limpid_core::Error>(())
/// ```
#[track_caller]
pub fn branch(
    condition: &Tensor,
    then: impl FnOnce() -> Vec<Tensor>,
    otherwise: impl FnOnce() -> Vec<Tensor>,
) -> Vec<Tensor> {
    if condition.numel() != 1 {
        let error = Error::new(format!("branch: the condition has shape {}", condition.shape()));
        let error = error.help("one bool: any(..) or all(..)");
        return vec![Tensor::fail(error, &[condition], Shape::scalar(), DType::F32)];
    }
    // Both sides take the outside values of either, so that they have the same inputs.
    let recorded = Region::record_pair(then, otherwise);
    let (then, otherwise, captured) = match recorded {
        Ok(recorded) => recorded,
        Err(error) => return vec![Tensor::fail(error, &[condition], Shape::scalar(), DType::F32)],
    };
    let (a, b) = (then.metas(), otherwise.metas());
    if a != b {
        let error = Error::new(format!("branch: one side returns {a:?}, the other {b:?}"));
        return vec![Tensor::fail(error, &[condition], Shape::scalar(), DType::F32)];
    }
    let truth = condition.reshape([]).to_dtype(DType::Bool);
    let all: Vec<&Tensor> = std::iter::once(&truth).chain(&captured).collect();
    parts(Op::Branch(Arc::new(Branch { then: Arc::new(then), otherwise: Arc::new(otherwise) })), &all, &a)
}
