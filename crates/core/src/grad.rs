//! Gradients as graph → graph: the chain rule appends ordinary nodes.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::graph::{IdMap, Recording};
use crate::node::Node;
use crate::op::{Backward, Grads, Mark, Op, movement, structure};
use crate::origin;
use crate::rows::Rows;
use crate::tensor::Tensor;

/// The gradients of `loss`, which has one element, by each of `wrt`: d loss / d w, shaped as w. `None`
/// where the loss does not depend on it.
///
/// The gradients are recorded like anything else: they can be differentiated again, drawn, or read.
///
/// # Errors
/// When `loss` carries an error, has more than one element, is no float, or was computed from
/// parameters that a step has changed since.
///
/// ```
/// use limpid_core::{Tensor, gradients};
/// let x = Tensor::from([1.0f32, 2.0, 3.0]).requires_grad_();
/// let y = (&x * &x * &x).sum(..);
/// let first = gradients(&y, &[&x])?.remove(0).unwrap();
/// assert_eq!(first.to_vec::<f32>()?, [3.0, 12.0, 27.0]);
/// let second = gradients(&first.sum(..), &[&x])?.remove(0).unwrap();
/// assert_eq!(second.to_vec::<f32>()?, [6.0, 12.0, 18.0]);
/// # Ok::<(), limpid_core::Error>(())
/// ```
#[track_caller]
pub fn gradients(loss: &Tensor, wrt: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
    one_element(loss)?;
    gradients_with(loss, &loss.constant_like(1.0), wrt)
}

fn one_element(loss: &Tensor) -> Result<()> {
    if loss.numel() != 1 && loss.error().is_none() {
        let error = Error::new(format!("gradients: the loss has shape {}, not one element", loss.shape()));
        return Err(error.at(loss.origin()).help("a mean or a sum of it, or gradients_with a weight for each element"));
    }
    Ok(())
}

/// The gradients of Σ loss·weight by each of `wrt`: a vector-Jacobian product. `weight` has the shape of
/// `loss`.
///
/// # Errors
/// As [`gradients`].
#[track_caller]
pub fn gradients_with(loss: &Tensor, weight: &Tensor, wrt: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
    product(loss, weight, wrt, None)
}

fn product(loss: &Tensor, weight: &Tensor, wrt: &[&Tensor], read: Option<&mut [Read]>) -> Result<Vec<Option<Tensor>>> {
    if let Some(error) = loss.error().or_else(|| weight.error()) {
        return Err(error);
    }
    if !loss.dtype().is_float() {
        return Err(Error::new(format!("gradients: the loss is {}", loss.dtype())).at(loss.origin()));
    }
    if weight.shape() != loss.shape() || weight.dtype() != loss.dtype() {
        let (a, b) = (loss.shape(), weight.shape());
        return Err(Error::new(format!(
            "gradients: the loss is {} {a}, its weight {} {b}",
            loss.dtype(),
            weight.dtype()
        )));
    }
    walk(&[(loss.clone(), weight.clone())], wrt, false, read)
}

/// [`gradients`], and beside them, for a table that is only read by sparse lookups
/// ([`EmbeddingOptions::sparse`](crate::EmbeddingOptions::sparse)), the gradient as rows. It is the same gradient: what
/// is not read is not computed.
///
/// # Errors
/// As [`gradients`].
#[track_caller]
pub fn gradients_by_rows(loss: &Tensor, wrt: &[&Tensor]) -> Result<Vec<Option<(Tensor, Option<Rows>)>>> {
    one_element(loss)?;
    let mut read: Vec<Read> = vec![Vec::new(); wrt.len()];
    let dense = product(loss, &loss.constant_like(1.0), wrt, Some(&mut read))?;
    let rows = read.into_iter().zip(wrt).map(|(read, table)| (!read.is_empty()).then(|| Rows::joined(&read, table)));
    Ok(dense.into_iter().zip(rows).map(|(grad, rows)| Some((grad?, rows))).collect())
}

/// The sparse lookups in a table: each index, and the gradient of what was read there.
type Read = Vec<(Tensor, Tensor)>;

/// The gradients at `inputs` of a function of them, given those of its results: what a rule through a
/// body is. Each input counts as a variable of its own, also when two are the same tensor.
pub(crate) fn pullback(
    inputs: &[Tensor],
    needs: &[bool],
    grads: &[Option<Tensor>],
    f: impl FnOnce(&[Tensor]) -> Vec<Tensor>,
) -> Grads {
    let watched: Vec<Tensor> = inputs
        .iter()
        .zip(needs)
        .map(|(t, &needed)| if needed { structure::mark(t, Mark::Watch) } else { t.clone() })
        .collect();
    let results = f(&watched);
    let seeds: Vec<(Tensor, Tensor)> = results
        .into_iter()
        .zip(grads)
        .filter_map(|(r, g)| Some((r, g.clone()?)))
        .filter(|(r, _)| r.dtype().is_float())
        .collect();
    let wanted: Vec<&Tensor> = watched.iter().zip(needs).filter(|(_, n)| **n).map(|(t, _)| t).collect();
    let mut found = match walk(&seeds, &wanted, true, None) {
        Ok(found) => found.into_iter(),
        Err(error) => {
            return inputs
                .iter()
                .map(|t| Some(Tensor::fail(error.clone(), &[], t.shape().clone(), t.dtype())))
                .collect();
        }
    };
    needs.iter().map(|&needed| if needed { found.next().flatten() } else { None }).collect()
}

type Arrived = SmallVec<[Option<Tensor>; 1]>;

/// Reverse accumulation from `seeds` (result, its gradient). With `stop`, nothing is followed below
/// `wrt`. With `read`, what arrives at sparse lookups in each of `wrt` is noted there, unless something else reads it too.
fn walk(
    seeds: &[(Tensor, Tensor)],
    wrt: &[&Tensor],
    stop: bool,
    mut read: Option<&mut [Read]>,
) -> Result<Vec<Option<Tensor>>> {
    let roots: Vec<Arc<Node>> = seeds.iter().map(|(t, _)| t.node.clone()).collect();
    let is_wrt = |node: &Node| wrt.iter().any(|w| std::ptr::eq(Arc::as_ptr(&w.node), node));
    let wrt_ids: IdMap<()> = wrt.iter().map(|w| (w.node.id, ())).collect();
    let recording = Recording::collect(&roots, |node| stop && wrt_ids.contains_key(&node.id) && is_wrt(node));
    if let Some(error) = recording.nodes.iter().find_map(|node| node.error()) {
        return Err(error);
    }
    // Asked after the walk: what a step of another thread takes away from now on is already here.
    if let Some((node, by)) = overtaken(&recording, &roots) {
        return Err(consumed(node, &by));
    }
    let n = recording.nodes.len();
    let mut live = vec![false; n];
    for i in 0..n {
        let node = &recording.nodes[i];
        live[i] = wrt_ids.contains_key(&node.id)
            || (recording.inputs(i).iter().any(|&j| live[j as usize]) && !matches!(node.op, Op::Mark(Mark::Detach)));
    }
    let mut arrived: Vec<Arrived> =
        recording.nodes.iter().map(|node| smallvec::smallvec![None; node.op.results()]).collect();
    for (result, grad) in seeds {
        let i = recording.position(&result.node).expect("a root is collected") as usize;
        add(&mut arrived[i][0], grad.clone());
    }
    for i in (0..n).rev() {
        let node = &recording.nodes[i];
        let inputs = recording.inputs(i);
        if !live[i] || arrived[i].iter().all(Option::is_none) || inputs.is_empty() {
            continue;
        }
        if let Op::Part(part) = node.op {
            let g = arrived[i][0].clone().expect("checked");
            add(&mut arrived[inputs[0] as usize][part as usize], g);
            continue;
        }
        if let Some(read) = &mut read
            && reads_rows(&node.op)
            && let Some(at) = wrt.iter().position(|w| Arc::ptr_eq(&w.node, &recording.nodes[inputs[0] as usize]))
        {
            let index = Tensor::hold(recording.nodes[inputs[1] as usize].clone());
            read[at].push((index, arrived[i][0].clone().expect("checked")));
        }
        let _scope = origin::resume(&node.origin);
        let tensors: SmallVec<[Tensor; 3]> =
            inputs.iter().map(|&j| Tensor::hold(recording.nodes[j as usize].clone())).collect();
        let needs: SmallVec<[bool; 4]> =
            inputs.iter().map(|&j| live[j as usize] && recording.nodes[j as usize].dtype.is_float()).collect();
        let output = Tensor::hold(node.clone());
        let grads = node.op.vjp(&Backward { inputs: &tensors, output: &output, grads: &arrived[i], needs: &needs });
        for ((&j, grad), &needed) in inputs.iter().zip(grads).zip(&needs) {
            let (true, Some(grad)) = (needed, grad) else { continue };
            let input = &recording.nodes[j as usize];
            debug_assert_eq!(
                (grad.shape(), grad.dtype()),
                (&input.shape, input.dtype),
                "gradient of {}",
                node.op.name()
            );
            add(&mut arrived[j as usize][0], grad);
        }
    }
    for (read, w) in read.into_iter().flatten().zip(wrt).filter(|(read, _)| !read.is_empty()) {
        let table = recording.position(&w.node);
        let other = |i: usize| {
            let reads = recording.inputs(i).iter().any(|&j| Some(j) == table);
            reads && live[i] && arrived[i].iter().any(Option::is_some) && !reads_rows(&recording.nodes[i].op)
        };
        if (0..n).any(other) {
            read.clear();
        }
    }
    wrt.iter()
        .map(|w| match recording.position(&w.node) {
            None => Ok(None),
            Some(i) => match arrived[i as usize][0].clone() {
                Some(g) => g.error().map_or(Ok(Some(g)), Err),
                None => Ok(None),
            },
        })
        .collect()
}

fn reads_rows(op: &Op) -> bool {
    matches!(op, Op::Call(compound) if compound.reads_rows())
}

/// A node that a step has taken parameters away from since it was recorded, and that step.
pub(crate) fn overtaken<'a>(recording: &'a Recording, roots: &'a [Arc<Node>]) -> Option<(&'a Node, origin::Origin)> {
    if let Some(found) = roots.iter().find_map(|root| Some((&**root, root.consumed_by()?))) {
        return Some(found);
    }
    recording.nodes.iter().enumerate().filter(|(_, node)| node.trainable()).find_map(|(i, node)| {
        let mut inputs = recording.inputs(i).iter().map(|&j| &recording.nodes[j as usize]);
        Some((&**node, inputs.find_map(|input| input.consumed_after(node.id))?))
    })
}

fn consumed(node: &Node, by: &origin::Origin) -> Error {
    let line = by.user_line();
    let error = Error::new(format!(
        "gradients: the parameters behind this tensor were changed at {}:{}",
        line.file(),
        line.line()
    ));
    error.at(&node.origin).help("computing it again, or taking the gradient before the step")
}

fn add(slot: &mut Option<Tensor>, grad: Tensor) {
    *slot = Some(match slot.take() {
        None => grad,
        Some(sum) => movement::sum_of_pieces(&sum, &grad).unwrap_or_else(|| sum + grad),
    });
}
