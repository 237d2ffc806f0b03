//! Looking on while values are recorded, and changing them as they flow: what taps are made of.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::origin;
use crate::tensor::Tensor;

/// Sees values that have a name, at the moment at which they are recorded.
pub trait Observer {
    /// Whether it wants the value at `path`, the result of a module of this kind or a named value (kind `tap`).
    fn wants(&self, path: &str, kind: &str) -> bool;

    /// Whether it may put something in the place of the value at `path`.
    fn changes(&self, path: &str, kind: &str) -> bool;

    /// Whether it asks for the gradient of the value at `path`, also where that has to be made for it.
    fn wants_gradient(&self, path: &str, kind: &str) -> bool;

    /// Takes a value that it wants. What it returns flows on in its place.
    fn see(&self, path: &Arc<str>, kind: &Arc<str>, value: &Tensor) -> Tensor;
}

thread_local! {
    /// Those that look on this thread, innermost last.
    static OBSERVERS: RefCell<Vec<Rc<dyn Observer>>> = const { RefCell::new(Vec::new()) };
}

/// Ends the observation when it is dropped.
#[derive(Debug)]
pub struct Observing(());

impl Drop for Observing {
    fn drop(&mut self) {
        OBSERVERS.with_borrow_mut(|observers| observers.pop());
    }
}

/// Lets `observer` look on until the guard is dropped.
pub fn observe(observer: Rc<dyn Observer>) -> Observing {
    OBSERVERS.with_borrow_mut(|observers| observers.push(observer));
    Observing(())
}

/// Those that look on: a copy, since what an observer records may be offered in turn.
#[inline]
fn observers() -> Vec<Rc<dyn Observer>> {
    OBSERVERS.with_borrow(Vec::clone)
}

/// Shows a value to those that want it, the innermost first, and returns what flows on.
#[inline]
pub fn offer(path: &Arc<str>, kind: &Arc<str>, value: Tensor) -> Tensor {
    let observers = observers();
    let wanting = observers.iter().rev().filter(|observer| observer.wants(path, kind));
    wanting.fold(value, |value, observer| observer.see(path, kind, &value))
}

/// Whether somebody looks on.
pub fn observed() -> bool {
    OBSERVERS.with_borrow(|observers| !observers.is_empty())
}

/// Whether somebody wants the value `name` of the running module: where it is not needed otherwise, it is computed for
/// them only.
pub fn tap_wanted(name: &str) -> bool {
    any(name, |observer, path| observer.wants(path, TAP))
}

/// Whether somebody may change the value `name` of the running module.
pub fn tap_changed(name: &str) -> bool {
    any(name, |observer, path| observer.changes(path, TAP))
}

/// Whether somebody wants the gradient of the value `name` of the running module.
pub fn tap_gradient_wanted(name: &str) -> bool {
    any(name, |observer, path| observer.wants_gradient(path, TAP))
}

fn any(name: &str, f: impl Fn(&dyn Observer, &str) -> bool) -> bool {
    observed() && {
        let path = path_of(name);
        observers().iter().any(|observer| f(&**observer, &path))
    }
}

/// Shows `value`, which nothing else needs, under `name`. What somebody puts in its place, if so.
#[track_caller]
pub(crate) fn aside(name: &str, value: &Tensor) -> Option<Tensor> {
    let named = value.named(name);
    let seen = offer(&path_of(name).into(), &TAP.into(), named.clone());
    (!seen.is(&named)).then_some(seen)
}

/// The kind of values that [`Tensor::tap`] names.
pub const TAP: &str = "tap";

/// `name` below the running module.
fn path_of(name: &str) -> String {
    match origin::current() {
        Some(frame) if !frame.path.is_empty() => format!("{}.{name}", frame.path),
        _ => name.to_owned(),
    }
}

/// What is recorded within `f` is part of a body that runs many times or elsewhere: nobody sees it.
pub(crate) fn unseen<T>(f: impl FnOnce() -> T) -> T {
    struct Restore(Vec<Rc<dyn Observer>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OBSERVERS.with_borrow_mut(|observers| *observers = std::mem::take(&mut self.0));
        }
    }
    let _restore = Restore(OBSERVERS.with_borrow_mut(std::mem::take));
    f()
}

impl Tensor {
    /// The value under a name that `tap` finds below the module's path; or what a tap puts in its place.
    #[track_caller]
    pub fn tap(&self, name: &str) -> Tensor {
        let named = self.named(name);
        if !observed() {
            return named;
        }
        offer(&path_of(name).into(), &TAP.into(), named)
    }
}
