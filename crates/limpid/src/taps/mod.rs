//! Looking at what modules compute, and changing it, while a model runs: one mechanism behind hooks, recordings,
//! statistics and pictures.

mod collector;
mod statistics;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use limpid_core::{Error, Result, Tensor, eval, gradients, seeing};

use crate::module::Module;
use collector::{Change, Collector, Running};

pub(crate) use collector::{arrived, watched};
pub use statistics::Statistics;

/// Runs `run`, usually `|| model.forward(&x)`, and keeps the result of every module whose path matches `pattern`: `**`
/// all, `encoder.*` the children of `encoder`, `**:ReLU` all of a kind. All that was seen is computed in one plan with
/// the output. A tap changes no bit of a result. [`Tap`] can do more: gradients, statistics, replacements.
///
/// A value between modules is kept too, where the model's own forward names it: `scores.tap("scores")` in the module
/// `head` is `head.scores`, of kind `tap`. In a plan it costs nothing.
///
/// # Errors
/// When a value can not be computed, or nothing matches `pattern`.
///
/// ```
/// use limpid::prelude::*;
/// let model = Sequential::new().add(Linear::new(2, 3)).add(ReLU);
/// let x = Tensor::ones([1, 2]);
/// let seen = tap(&model, "**:ReLU", || model.forward(&x))?;
/// assert_eq!(seen.paths(), ["1"]);
/// assert_eq!(seen.get("1").unwrap().to_vec::<f32>()?, seen.output().to_vec::<f32>()?);
///
/// #[derive(Module)]
/// struct Gate {
///     linear: Linear,
/// }
/// impl Gate {
///     #[forward]
///     fn forward(&self, x: &Tensor) -> Tensor {
///         x * self.linear.forward(x).sigmoid().tap("open")
///     }
/// }
/// let gate = Gate { linear: Linear::new(2, 2) };
/// let seen = tap(&gate, "**", || gate.forward(&x))?;
/// assert_eq!(seen.get("open").unwrap().to_vec::<f32>()?, seen.output().to_vec::<f32>()?);
/// # Ok::<(), limpid::Error>(())
/// ```
pub fn tap<M: Module + ?Sized>(model: &M, pattern: &str, run: impl FnOnce() -> Tensor) -> Result<Seen> {
    Tap::new(pattern).run(model, run)
}

/// What is to be seen or changed while a model runs. Several taps may run at once, one inside another.
///
/// ```
/// use limpid::prelude::*;
/// let model = Sequential::new().add(Linear::new(2, 3)).add(ReLU).add(Linear::new(3, 1));
/// let x = Tensor::ones([4, 2]);
/// let mut sgd = SGD::new(&model).lr(0.1);
///
/// // What flows forth and back in a training step, as numbers about it.
/// let step = || fallible(|| Ok(sgd.step(&model.forward(&x).square().mean(..))?.into()));
/// let seen = Tap::new("**:ReLU").gradients().statistics(8).run(&model, step)?;
/// println!("{}\n{}", seen.statistics("1").unwrap(), seen.gradient_statistics("1").unwrap());
///
/// // The same run with a layer silenced, scaled, or as it was in another run.
/// let plain = tap(&model, "1", || model.forward(&x))?;
/// let silenced = Tap::new("**").replace("1", |y| y.zeros_like()).run(&model, || model.forward(&x))?;
/// let doubled = Tap::new("**").replace("1", |y| y * 2.0).run(&model, || model.forward(&x))?;
/// let other = plain.get("1").unwrap().clone();
/// let patched = Tap::new("**").replace("1", move |_| other.clone()).run(&model, || model.forward(&x))?;
/// assert_eq!(patched.output().to_vec::<f32>()?, plain.output().to_vec::<f32>()?);
/// # let _ = (silenced, doubled);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Debug)]
pub struct Tap(Collector);

impl Tap {
    /// Keeps the values whose paths match `pattern` (see [`tap`]).
    pub fn new(pattern: impl Into<String>) -> Tap {
        Tap(Collector::new(pattern.into()))
    }

    /// Keeps their gradients too: of every backward pass within the run (a step, `loss.gradients(&model)`), in the same
    /// plan, added up as torch does; or, where there is none, of the loss that the closure returns.
    pub fn gradients(mut self) -> Tap {
        self.0.gradients = true;
        self
    }

    /// Keeps [`Statistics`] with a histogram of so many bins instead of the tensors: a training step takes a few per cent
    /// longer.
    pub fn statistics(mut self, bins: usize) -> Tap {
        self.0.bins = Some(bins);
        self
    }

    /// Puts `change(value)` in the place of every value whose path matches `pattern`, which need not be one that is kept:
    /// set, scaled, silenced, taken from another run. Gradients flow through what `change` records.
    ///
    /// # Errors
    /// At the read, when shape or type differ from those of the value.
    pub fn replace(mut self, pattern: impl Into<String>, change: impl Fn(&Tensor) -> Tensor + 'static) -> Tap {
        let change = Change { pattern: pattern.into(), change: Box::new(change), made: false.into() };
        self.0.changes.push(change);
        self
    }

    /// Runs `run` and computes all that was seen.
    ///
    /// # Errors
    /// When a value can not be computed; when a pattern matches nothing in `model`; when gradients are wanted of a run
    /// without backward pass that returns no loss.
    #[track_caller]
    pub fn run<M: Module + ?Sized>(self, model: &M, run: impl FnOnce() -> Tensor) -> Result<Seen> {
        let all = model.modules();
        let seen = self.record(run)?;
        if let Some(pattern) = seen.unmatched(&all) {
            let named = seen.offered.iter().cloned();
            let known: BTreeSet<String> = all.iter().map(|(path, _)| path.clone()).chain(named).collect();
            let help = format!("one of {}", known.into_iter().collect::<Vec<_>>().join(", "));
            return Err(Error::new(format!("tap: nothing matches {pattern:?}")).help(help));
        }
        eval(seen.entries.iter().flat_map(Entry::tensors).chain([&seen.output]))?;
        Ok(seen)
    }
}

impl Tap {
    /// Runs without computing.
    pub(crate) fn record(self, run: impl FnOnce() -> Tensor) -> Result<Seen> {
        let collector = Rc::new(self.0);
        let running = Running::start(&collector);
        let observing = seeing::observe(collector.clone());
        let output = run();
        drop((observing, running));
        if collector.lacks_gradients() {
            if let Some(error) = output.error() {
                return Err(error);
            }
            if output.numel() != 1 || !output.dtype().is_float() {
                let what = format!("tap: gradients of a run without backward pass that returns {}", output.shape());
                return Err(Error::new(what).help("returning the loss, or a step within the run"));
            }
            let values = collector.values();
            let found = gradients(&output, &values.iter().collect::<Vec<_>>())?;
            collector.take(&mut found.into_iter());
        }
        Ok(Seen {
            entries: collector.entries.take(),
            changed: collector.changed(),
            offered: collector.offered.take(),
            output,
            pattern: collector.pattern.clone(),
        })
    }
}

/// One value that was seen.
#[derive(Clone, Debug)]
struct Entry {
    path: Arc<str>,
    kind: Arc<str>,
    value: Option<Tensor>,
    statistics: Option<Tensor>,
    gradient: Option<Tensor>,
    gradient_statistics: Option<Tensor>,
}

impl Entry {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        [&self.value, &self.statistics, &self.gradient, &self.gradient_statistics].into_iter().flatten()
    }
}

/// What a tap saw: the results of modules and the values with a name, by path, in the order in which they were recorded.
#[derive(Clone, Debug)]
pub struct Seen {
    entries: Vec<Entry>,
    output: Tensor,
    pattern: String,
    /// The named values that were there.
    offered: BTreeSet<String>,
    /// Patterns of replacements, and whether each replaced something.
    changed: Vec<(String, bool)>,
}

impl Seen {
    /// What the closure returned.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    fn last(&self, path: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| *entry.path == *path)
    }

    /// The value at `path`; of the last run, where it ran several times.
    pub fn get(&self, path: &str) -> Option<&Tensor> {
        self.last(path)?.value.as_ref()
    }

    /// The gradient of the loss by the value at `path`; none where the loss does not depend on it.
    pub fn gradient(&self, path: &str) -> Option<&Tensor> {
        self.last(path)?.gradient.as_ref()
    }

    /// What the value at `path` was like.
    pub fn statistics(&self, path: &str) -> Option<Statistics> {
        Statistics::read(self.last(path)?.statistics.as_ref()?)
    }

    /// What the gradient by the value at `path` was like.
    pub fn gradient_statistics(&self, path: &str) -> Option<Statistics> {
        Statistics::read(self.last(path)?.gradient_statistics.as_ref()?)
    }

    /// Path, kind (`Linear 784→512`) and value of each that was kept.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Tensor)> {
        self.entries.iter().filter_map(|entry| Some((&*entry.path, &*entry.kind, entry.value.as_ref()?)))
    }

    /// The paths in the order in which the values were recorded.
    pub fn paths(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| &*entry.path).collect()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A pattern that neither met a value nor would meet a module among `all`.
    fn unmatched(&self, all: &[(String, String)]) -> Option<&str> {
        let met = (self.pattern.as_str(), !self.entries.is_empty());
        let mut patterns = std::iter::once(met).chain(self.changed.iter().map(|(p, met)| (p.as_str(), *met)));
        let exists = |pattern: &str| all.iter().any(|(path, kind)| crate::glob::matches_module(pattern, path, kind));
        patterns.find(|(pattern, met)| !met && !exists(pattern)).map(|(pattern, _)| pattern)
    }
}
