//! Looking at what modules compute, and what is named between them, while a model runs.

use std::cell::RefCell;
use std::sync::Arc;

use limpid_core::{Error, Result, Tensor, eval};

use crate::glob;
use crate::module::Module;

/// What a tap saw: the results of modules, by path, in the order in which they ran; then the values with a name.
#[derive(Clone, Debug)]
pub struct Seen {
    entries: Vec<(Arc<str>, Arc<str>, Tensor)>,
    output: Tensor,
}

impl Seen {
    /// What the closure returned.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// The result of the module at `path`; of the last run, where it ran several times.
    pub fn get(&self, path: &str) -> Option<&Tensor> {
        self.entries.iter().rev().find(|(p, ..)| **p == *path).map(|(_, _, t)| t)
    }

    /// Path, kind (`Linear 784→512`) and result of each run of a module.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Tensor)> {
        self.entries.iter().map(|(path, kind, t)| (&**path, &**kind, t))
    }

    /// The paths in the order in which the modules ended.
    pub fn paths(&self) -> Vec<&str> {
        self.iter().map(|(path, ..)| path).collect()
    }

    /// Number of results.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing matched.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

struct Collector {
    pattern: String,
    entries: Vec<(Arc<str>, Arc<str>, Tensor)>,
}

thread_local! {
    /// The taps that run on this thread, innermost last.
    static COLLECTORS: RefCell<Vec<Collector>> = const { RefCell::new(Vec::new()) };
}

/// Shows a module's result to the taps that run.
#[inline]
pub(crate) fn offer(path: &Arc<str>, kind: &Arc<str>, y: &Tensor) {
    COLLECTORS.with_borrow_mut(|collectors| {
        for c in collectors {
            if glob::matches_module(&c.pattern, path, kind) {
                c.entries.push((path.clone(), kind.clone(), y.clone()));
            }
        }
    });
}

/// Runs `run`, usually `|| model.forward(&x)`, and keeps the result of every module whose path matches
/// `pattern`: `**` all, `encoder.*` the children of `encoder`, `**:ReLU` all of a kind. All that was seen is
/// computed in one plan with the output. A tap changes no bit of a result.
///
/// A value between modules is kept too, where the model's own forward names it: `scores.tap("scores")` in the module
/// `head` is `head.scores`, of kind `tap`. In a plan it costs nothing. It is found when the output depends on it and
/// was not evaluated before.
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
    let all = model.modules();
    let mut seen = collect(pattern, run);
    let kind: Arc<str> = "tap".into();
    let named = seen.output.taps();
    for (path, value) in named.iter().filter(|(path, _)| glob::matches_module(pattern, path, &kind)) {
        seen.entries.push((path.as_str().into(), kind.clone(), value.clone()));
    }
    if seen.is_empty() && !all.iter().any(|(path, kind)| glob::matches_module(pattern, path, kind)) {
        let known = all.iter().map(|(path, _)| path).chain(named.iter().map(|(path, _)| path));
        let help = format!("one of {}", known.map(String::as_str).collect::<Vec<_>>().join(", "));
        return Err(Error::new(format!("tap: nothing matches {pattern:?}")).help(help));
    }
    eval(seen.entries.iter().map(|(_, _, t)| t).chain([&seen.output]))?;
    Ok(seen)
}

/// Records without computing.
pub(crate) fn collect(pattern: &str, run: impl FnOnce() -> Tensor) -> Seen {
    struct Remove;
    impl Drop for Remove {
        fn drop(&mut self) {
            COLLECTORS.with_borrow_mut(|c| c.pop());
        }
    }
    COLLECTORS.with_borrow_mut(|c| c.push(Collector { pattern: pattern.to_owned(), entries: Vec::new() }));
    let remove = Remove;
    let output = run();
    let entries = COLLECTORS.with_borrow_mut(|c| std::mem::take(&mut c.last_mut().expect("pushed above").entries));
    drop(remove);
    Seen { entries, output }
}
