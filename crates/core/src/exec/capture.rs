//! A step that is recorded twice and then only run: no recording, no search for a plan.

use std::cell::{Cell as StdCell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use limpid_kernels::{Buffer, Number};

use crate::cell::{self, Cell};
use crate::error::{Error, Result};
use crate::exec::cache::Plan;
use crate::exec::request::{BoundValue, Request, replay, settle, settle_readers};
use crate::node::Node;
use crate::op::{Arg, source};
use crate::origin::Origin;
use crate::region::Meta;
use crate::rng::{rng_state, set_rng_state};
use crate::seeing;
use crate::tensor::Tensor;

thread_local! {
    static CAPTURING: StdCell<bool> = const { StdCell::new(false) };
    /// What was asked to be evaluated inside the capture.
    static DEFERRED: RefCell<Vec<Tensor>> = const { RefCell::new(Vec::new()) };
}

/// Rises when something changes that a frozen recording can not see: modes, freezing.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Tells captures that what they recorded may not hold any more (a mode, a frozen parameter): they record
/// again.
pub fn invalidate_captures() {
    GENERATION.fetch_add(1, Relaxed);
}

/// Whether a capture is recording on this thread.
pub(crate) fn capturing() -> bool {
    CAPTURING.get()
}

/// Leaves an evaluation to the end of the recording.
pub(crate) fn defer(wanted: &[&Tensor]) {
    DEFERRED.with(|list| list.borrow_mut().extend(wanted.iter().map(|t| (*t).clone())));
}

/// A function of tensors that is recorded twice, compared, and from then on replayed.
///
/// The inputs are bound anew at each run, and all assignments (an optimizer's step, running statistics)
/// take place; random numbers go on. A number of the host that differs between the two recordings is
/// refused with its line, and so is reading a value inside.
///
/// ```
/// use limpid_core::{Capture, Cell, Tensor};
/// let count = Cell::new(&Tensor::from(0.0f32), false);
/// let mut step = Capture::new(|x: &[Tensor]| {
///     let sum = count.tensor() + x[0].sum(..);
///     count.assign(&sum);
///     vec![sum]
/// });
/// for i in 0..5 {
///     step.run(&[&Tensor::from([1.0f32, i as f32])])?;
/// }
/// assert_eq!(count.to_vec::<f32>()?, [15.0]);
/// # Ok::<(), limpid_core::Error>(())
/// ```
pub struct Capture<F> {
    f: F,
    stage: Stage,
}

enum Stage {
    Fresh,
    /// Recorded once: to be compared with the second recording.
    Once(Box<Frozen>),
    Frozen(Box<Frozen>),
}

/// A value that the plan reads.
enum FrozenValue {
    Input(usize),
    Cell(Arc<Cell>),
    Buffer(Arc<Buffer>),
}

struct Frozen {
    plan: Arc<Plan>,
    values: Vec<FrozenValue>,
    args: Vec<Arg>,
    /// Where each number of the host was recorded.
    lines: Vec<String>,
    /// Where each node was recorded: for profiles.
    origins: Vec<Origin>,
    /// Cells that are written, and by which output.
    effects: Vec<(Arc<Cell>, usize)>,
    outputs: Vec<(usize, Meta)>,
    inputs: Vec<Meta>,
    /// The generator's counter before, and how many draws were made.
    draws: (u64, u64),
    generation: u64,
}

impl<F: FnMut(&[Tensor]) -> Vec<Tensor>> Capture<F> {
    /// A capture of `f`.
    pub fn new(f: F) -> Capture<F> {
        Capture { f, stage: Stage::Fresh }
    }

    /// Whether the next run with the same shapes is a replay.
    pub fn is_frozen(&self) -> bool {
        matches!(&self.stage, Stage::Frozen(_))
    }

    /// Runs the function on `inputs`: recorded the first two times, replayed from then on. Other shapes or
    /// types, and what [`invalidate_captures`] reports, begin anew; while somebody looks on (`Tap`), every run is recorded.
    ///
    /// # Errors
    /// What the function's tensors carry; a difference between the two recordings; a read inside.
    pub fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        crate::tensor::eval(inputs.iter().copied())?;
        let metas: Vec<Meta> = inputs.iter().map(|t| (t.shape().clone(), t.dtype())).collect();
        let generation = GENERATION.load(Relaxed);
        let stale = match &self.stage {
            Stage::Fresh => None,
            Stage::Once(frozen) | Stage::Frozen(frozen) => frozen.stale(&metas, generation),
        };
        if let Some(why) = stale {
            crate::show::replan(&format!("capture: {why}"));
            self.stage = Stage::Fresh;
        }
        if let Stage::Frozen(frozen) = &self.stage
            && !seeing::observed()
            && let Some(outputs) = frozen.replay(inputs)?
        {
            return Ok(outputs);
        }
        let (outputs, recorded) = self.record(inputs, metas, generation)?;
        if seeing::observed() {
            // What is seen is seen when it is recorded.
            self.stage = Stage::Fresh;
            return Ok(outputs);
        }
        self.stage = match std::mem::replace(&mut self.stage, Stage::Fresh) {
            Stage::Fresh => Stage::Once(Box::new(recorded)),
            Stage::Once(first) => {
                first.compare(&recorded)?;
                Stage::Frozen(Box::new(recorded))
            }
            // A snapshot is held: this run could not write in place, the next one may.
            frozen @ Stage::Frozen(_) => frozen,
        };
        Ok(outputs)
    }

    fn record(&mut self, inputs: &[&Tensor], metas: Vec<Meta>, generation: u64) -> Result<(Vec<Tensor>, Frozen)> {
        let mut leaves: Vec<Tensor> = Vec::new();
        for input in inputs {
            let mut buffer = input.buffer()?;
            // Two inputs are two values, also when they are one tensor now.
            if leaves.iter().any(|l| l.node.value().is_some_and(|b| Arc::ptr_eq(&b, &buffer))) {
                buffer = Arc::new(Buffer::from_slice(buffer.bytes()));
            }
            leaves.push(source::leaf(buffer, input.shape().clone(), input.dtype()));
        }
        let before = rng_state().1;
        let outputs = {
            let _guard = Guard(CAPTURING.replace(true));
            (self.f)(&leaves)
        };
        let deferred = DEFERRED.with(|list| std::mem::take(&mut *list.borrow_mut()));
        let draws = (before, rng_state().1 - before);
        if let Some(error) = outputs.iter().chain(&deferred).find_map(Tensor::error) {
            cell::discard();
            return Err(error);
        }
        let roots: Vec<Arc<Node>> =
            outputs.iter().chain(&deferred).filter(|t| !t.node.has_value()).map(|t| t.node.clone()).collect();
        drop(deferred);
        let mut frozen = None;
        let done = Request::capture(roots).and_then(|request| {
            request.execute_observed(|observed| {
                let value = |v: &BoundValue| match v {
                    BoundValue::Cell(cell) => FrozenValue::Cell(cell.clone()),
                    BoundValue::Buffer(buffer) => {
                        let input = leaves.iter().position(|l| l.node.value().is_some_and(|b| Arc::ptr_eq(&b, buffer)));
                        input.map_or_else(|| FrozenValue::Buffer(buffer.clone()), FrozenValue::Input)
                    }
                };
                frozen = Some(Frozen {
                    plan: observed.plan.clone(),
                    values: observed.values.iter().map(value).collect(),
                    args: observed.args.to_vec(),
                    lines: observed.lines(),
                    origins: observed.origins(),
                    effects: observed.effects(),
                    outputs: outputs
                        .iter()
                        .filter_map(|t| Some((observed.output_of(&t.node)?, (t.shape().clone(), t.dtype()))))
                        .collect(),
                    inputs: metas,
                    draws,
                    generation,
                });
            })
        });
        if let Err(error) = done {
            cell::discard();
            return Err(error);
        }
        let Some(frozen) = frozen else {
            let error = Error::new("capture: another thread is changing what the captured function assigns to");
            return Err(error.help("one thread at a time that steps"));
        };
        if frozen.outputs.len() != outputs.len() {
            let error = Error::new("capture: an output does not depend on what is recorded inside");
            return Err(error.help("returning tensors that are computed in the captured function"));
        }
        Ok((outputs, frozen))
    }
}

struct Guard(bool);

impl Drop for Guard {
    fn drop(&mut self) {
        CAPTURING.set(self.0);
    }
}

impl Frozen {
    /// Why this recording does not hold any more.
    fn stale(&self, inputs: &[Meta], generation: u64) -> Option<String> {
        if self.generation != generation {
            return Some("a mode, a frozen parameter or a tap has changed".to_owned());
        }
        if self.inputs.len() != inputs.len() {
            return Some(format!("{} inputs instead of {}", inputs.len(), self.inputs.len()));
        }
        let (i, (old, new)) = self.inputs.iter().zip(inputs).enumerate().find(|(_, (a, b))| a != b)?;
        Some(format!("input {i} was {} {}, is {} {}", old.1, old.0, new.1, new.0))
    }

    /// The error when two recordings of one function differ.
    fn compare(&self, second: &Frozen) -> Result<()> {
        let help = "passing what changes as an input, or keeping it in a buffer";
        if !Arc::ptr_eq(&self.plan, &second.plan) && self.plan.structure() != second.plan.structure() {
            return Err(Error::new("capture: the two recordings differ in structure").help(help));
        }
        for (i, (a, b)) in self.args.iter().zip(&second.args).enumerate() {
            if let (Arg::Number(x), Arg::Number(y)) = (a, b)
                && x != y
            {
                let (x, y) = (x.as_f64(), y.as_f64());
                let what = format!("capture: a number changed from {x} to {y} between the two recordings");
                return Err(Error::new(what).note(format!("at  {}", second.lines[i])).help(help));
            }
        }
        Ok(())
    }

    /// Runs the plan again. None when a cell can not be written as planned now.
    fn replay(&self, inputs: &[&Tensor]) -> Result<Option<Vec<Tensor>>> {
        settle()?;
        settle_readers(self.effects.iter().map(|(cell, _)| cell))?;
        let (seed_counter, draws) = (rng_state(), self.draws.1);
        let shift = seed_counter.1.wrapping_sub(self.draws.0);
        let numbers: Vec<Number> = self
            .args
            .iter()
            .map(|arg| match arg {
                Arg::Counter(c) => Number::Int(c.wrapping_add(shift) as i64),
                arg => arg.number(),
            })
            .collect();
        let mut values = Vec::with_capacity(self.values.len());
        for value in &self.values {
            values.push(match value {
                FrozenValue::Input(i) => BoundValue::Buffer(inputs[*i].buffer()?),
                FrozenValue::Cell(cell) => BoundValue::Cell(cell.clone()),
                FrozenValue::Buffer(buffer) => BoundValue::Buffer(buffer.clone()),
            });
        }
        let Some(results) = replay(&self.plan, &values, &self.effects, &numbers, &self.origins)? else {
            return Ok(None);
        };
        set_rng_state((seed_counter.0, seed_counter.1 + draws));
        let outputs = self
            .outputs
            .iter()
            .map(|(output, (shape, dtype))| {
                let buffer = results[*output].clone().expect("every output has a buffer");
                source::leaf(buffer, shape.clone(), *dtype)
            })
            .collect();
        Ok(Some(outputs))
    }
}

impl<F> std::fmt::Debug for Capture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stage = match self.stage {
            Stage::Fresh => "not recorded",
            Stage::Once(_) => "recorded once",
            Stage::Frozen(_) => "frozen",
        };
        write!(f, "Capture({stage})")
    }
}
