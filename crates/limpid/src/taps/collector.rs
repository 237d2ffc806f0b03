//! What a running tap gathers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use limpid_core::seeing::{self, Observer};
use limpid_core::{Error, Tensor};

use super::Entry;
use crate::glob;

/// What is put in the place of values.
pub(super) struct Change {
    pub(super) pattern: String,
    pub(super) change: Box<dyn Fn(&Tensor) -> Tensor>,
    /// Whether there was such a value.
    pub(super) made: Cell<bool>,
}

pub(super) struct Collector {
    pub(super) pattern: String,
    pub(super) gradients: bool,
    /// Statistics with so many bins instead of tensors.
    pub(super) bins: Option<usize>,
    pub(super) changes: Vec<Change>,
    pub(super) entries: RefCell<Vec<Entry>>,
    /// The named values that were offered: what a message lists.
    pub(super) offered: RefCell<BTreeSet<String>>,
    /// Whether a backward pass ran.
    backward: Cell<bool>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

impl Collector {
    pub(super) fn new(pattern: String) -> Collector {
        Collector {
            pattern,
            gradients: false,
            bins: None,
            changes: Vec::new(),
            entries: RefCell::default(),
            offered: RefCell::default(),
            backward: Cell::new(false),
        }
    }

    /// The patterns of the changes, and whether each was made.
    pub(super) fn changed(&self) -> Vec<(String, bool)> {
        self.changes.iter().map(|change| (change.pattern.clone(), change.made.get())).collect()
    }

    pub(super) fn lacks_gradients(&self) -> bool {
        self.gradients && !self.backward.get() && !self.entries.borrow().is_empty()
    }

    /// The values that wait for a gradient.
    pub(super) fn values(&self) -> Vec<Tensor> {
        self.entries.borrow().iter().filter_map(|entry| entry.value.clone()).collect()
    }

    /// Takes the gradients of [`Collector::values`].
    pub(super) fn take(&self, found: &mut impl Iterator<Item = Option<Tensor>>) {
        self.backward.set(true);
        for entry in self.entries.borrow_mut().iter_mut().filter(|entry| entry.value.is_some()) {
            let Some(gradient) = found.next().flatten() else { continue };
            match self.bins {
                Some(bins) => {
                    entry.gradient_statistics = Some(gradient.statistics(bins));
                    entry.value = None;
                }
                None => {
                    entry.gradient = Some(match entry.gradient.take() {
                        Some(sum) => sum + gradient,
                        None => gradient,
                    });
                }
            }
        }
    }

    /// The value after the changes for its path.
    fn change(&self, path: &str, kind: &str, value: &Tensor) -> Tensor {
        let mut value = value.clone();
        for Change { pattern, change, made } in &self.changes {
            if !glob::matches_module(pattern, path, kind) {
                continue;
            }
            made.set(true);
            let new = change(&value);
            value = if (new.shape(), new.dtype()) == (value.shape(), value.dtype()) {
                new
            } else {
                let (theirs, ours) =
                    (format!("{} {}", new.dtype(), new.shape()), format!("{} {}", value.dtype(), value.shape()));
                let error = Error::new(format!("tap: {path} is {ours}, what is to replace it is {theirs}"));
                Tensor::fail(error, &[&value, &new], value.shape().clone(), value.dtype())
            };
        }
        value
    }
}

impl Observer for Collector {
    fn wants(&self, path: &str, kind: &str) -> bool {
        if kind == seeing::TAP && !self.offered.borrow().contains(path) {
            self.offered.borrow_mut().insert(path.to_owned());
        }
        let mut patterns = self.changes.iter().map(|change| &change.pattern).chain([&self.pattern]);
        patterns.any(|pattern| glob::matches_module(pattern, path, kind))
    }

    fn changes(&self, path: &str, kind: &str) -> bool {
        self.changes.iter().any(|change| glob::matches_module(&change.pattern, path, kind))
    }

    fn wants_gradient(&self, path: &str, kind: &str) -> bool {
        // Not of everything: it may be dear.
        self.gradients && !self.pattern.ends_with("**") && glob::matches_module(&self.pattern, path, kind)
    }

    fn see(&self, path: &Arc<str>, kind: &Arc<str>, value: &Tensor) -> Tensor {
        let value = self.change(path, kind, value);
        if glob::matches_module(&self.pattern, path, kind) {
            let float = value.dtype().is_float();
            self.entries.borrow_mut().push(Entry {
                path: path.clone(),
                kind: kind.clone(),
                statistics: self.bins.map(|bins| value.statistics(bins)),
                value: (self.bins.is_none() || (self.gradients && float)).then(|| value.clone()),
                gradient: None,
                gradient_statistics: None,
            });
        }
        value
    }
}

thread_local! {
    /// The taps that run on this thread and want gradients.
    static RUNNING: RefCell<Vec<Rc<Collector>>> = const { RefCell::new(Vec::new()) };
}

/// A tap is among the running ones until this is dropped.
pub(super) struct Running;

impl Running {
    pub(super) fn start(collector: &Rc<Collector>) -> Running {
        RUNNING.with_borrow_mut(|running| running.push(collector.clone()));
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(|running| running.pop());
    }
}

/// Values whose gradients the running taps want.
pub(crate) fn watched() -> Vec<Tensor> {
    RUNNING.with_borrow(|running| running.iter().filter(|c| c.gradients).flat_map(|c| c.values()).collect())
}

/// Hands the gradients of what [`watched`] returned to the running taps.
pub(crate) fn arrived(found: Vec<Option<Tensor>>) {
    let mut found = found.into_iter();
    let running = RUNNING.with_borrow(Vec::clone);
    running.iter().filter(|c| c.gradients).for_each(|c| c.take(&mut found));
}
