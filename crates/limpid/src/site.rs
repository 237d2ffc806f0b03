//! Where a module stands: its path from the root, the line that made it, and the scope that it opens.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Once, RwLock};

use limpid_core::origin::{self, ScopeGuard};
use limpid_core::{Tensor, seeing};

use crate::module::Module;
use crate::walk::{self, Item};

/// Whether a module trains. A user's module that behaves differently then has a field of this type, which
/// [`Module::train`] and [`Module::eval`] set.
///
/// ```
/// use limpid::prelude::*;
/// #[derive(Module)]
/// struct Noise { mode: Mode }
/// let noise = Noise { mode: Mode::new() };
/// assert!(noise.mode.is_training());
/// noise.eval();
/// assert!(!noise.mode.is_training());
/// ```
#[derive(Debug)]
pub struct Mode(AtomicBool);

impl Mode {
    /// Training, as every module is at first.
    pub const fn new() -> Mode {
        Mode(AtomicBool::new(true))
    }

    /// Whether the module trains.
    pub fn is_training(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Sets it.
    pub fn set(&self, training: bool) {
        if self.0.swap(training, Relaxed) != training {
            limpid_core::invalidate_captures();
        }
    }
}

impl Default for Mode {
    fn default() -> Mode {
        Mode::new()
    }
}

impl Clone for Mode {
    /// A mode of its own that is the same now.
    fn clone(&self) -> Mode {
        Mode(AtomicBool::new(self.is_training()))
    }
}

/// The identity of a module: where it was made, its path once a root has been visited, and its mode.
///
/// Every layer of the library has one. A user's module finds its path from the layers in it; one without
/// any may have a field of this type.
#[derive(Debug)]
pub struct Site {
    made_at: Option<&'static Location<'static>>,
    mode: Mode,
    names: RwLock<Names>,
}

#[derive(Debug, Clone)]
struct Names {
    path: Option<Arc<str>>,
    kind: Option<Arc<str>>,
}

impl Site {
    /// The site of a module that is made by the caller.
    #[track_caller]
    pub fn here() -> Site {
        Site { made_at: Some(Location::caller()), ..Site::unplaced() }
    }

    /// A site that does not know its line.
    pub const fn unplaced() -> Site {
        Site { made_at: None, mode: Mode::new(), names: RwLock::new(Names { path: None, kind: None }) }
    }

    /// The path from the root, when one has been visited.
    pub fn path(&self) -> Option<Arc<str>> {
        self.names().path
    }

    /// Whether the module trains.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    fn names(&self) -> Names {
        self.names.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Takes the path of a visit: a visit from within (whose path is the end of the known one) tells
    /// nothing new.
    pub(crate) fn name(&self, path: &str) {
        let mut names = self.names.write().unwrap_or_else(|e| e.into_inner());
        if !names.path.as_deref().is_some_and(|known| is_tail(known, path)) {
            names.path = Some(path.into());
        }
    }

    /// Path and kind; the kind is described once.
    fn frame<M: Module + ?Sized>(&self, module: &M) -> (Option<Arc<str>>, Arc<str>) {
        let Names { path, kind } = self.names();
        let kind = kind.unwrap_or_else(|| {
            let kind: Arc<str> = module.label().into();
            self.names.write().unwrap_or_else(|e| e.into_inner()).kind = Some(kind.clone());
            kind
        });
        (path, kind)
    }
}

impl Clone for Site {
    /// A clone of a layer may stand elsewhere: it gets a path of its own.
    fn clone(&self) -> Site {
        let names = Names { path: self.names().path, kind: None };
        Site { made_at: self.made_at, mode: self.mode.clone(), names: RwLock::new(names) }
    }
}

/// Whether `tail` is the last parts of `path`, or all of them.
fn is_tail(path: &str, tail: &str) -> bool {
    tail.is_empty() || path.strip_suffix(tail).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

/// Keeps a module's scope open: nodes recorded until it drops carry the module's path. `#[forward]` opens one.
#[derive(Debug)]
pub struct Scope {
    path: Arc<str>,
    kind: Arc<str>,
    _guard: ScopeGuard,
}

impl Scope {
    /// Opens the scope of `module`. Where its path is not known, it is the root, and everything in it is
    /// named.
    #[track_caller]
    pub fn enter<M: Module + ?Sized>(module: &M) -> Scope {
        register();
        let at = Location::caller();
        if let Some(site) = module.site() {
            let (path, kind) = site.frame(module);
            let path = path.unwrap_or_else(|| {
                name(module);
                site.path().unwrap_or_default()
            });
            return Scope::open(path, kind, site.made_at, at);
        }
        let path = walk::first_site(module).unwrap_or_else(inherited);
        Scope::open(path, module.label().into(), None, at)
    }

    /// Opens the scope of a module without a site under the site of the place that holds it.
    #[track_caller]
    pub(crate) fn enter_at<M: Module + ?Sized>(site: &Site, module: &M) -> Scope {
        register();
        let (path, kind) = site.frame(module);
        Scope::open(path.unwrap_or_default(), kind, site.made_at, Location::caller())
    }

    fn open(
        path: Arc<str>,
        kind: Arc<str>,
        made_at: Option<&'static Location<'static>>,
        at: &'static Location<'static>,
    ) -> Scope {
        let guard = origin::enter(path.clone(), kind.clone(), made_at, at);
        Scope { path, kind, _guard: guard }
    }

    /// Shows the module's result to the taps that run, and returns it, or what they put in its place.
    pub fn output(&self, y: Tensor) -> Tensor {
        seeing::offer(&self.path, &self.kind, y)
    }
}

/// A module with no layer in it belongs to the one that runs it.
fn inherited() -> Arc<str> {
    origin::current().map_or_else(|| "".into(), |frame| frame.path.clone())
}

/// Names every site and cell below `root` by its path.
pub(crate) fn name<M: Module + ?Sized>(root: &M) {
    let mut seen = std::collections::HashSet::new();
    walk::walk(root, &mut |path, item| match item {
        Item::Site(site) => {
            // What stands in two places keeps the first name, as in torch.
            if seen.insert(std::ptr::from_ref(site) as usize) {
                site.name(path);
            }
        }
        Item::Parameter(p) => label(p.cell(), path, &mut seen),
        Item::Buffer(b) => label(b.cell(), path, &mut seen),
        Item::Module(_) | Item::Mode(_) | Item::Derived(_) => {}
    });
}

/// Labels the cells of a module that stands at `path`.
pub(crate) fn label_below<M: Module + ?Sized>(module: &M, path: &str) {
    let mut seen = std::collections::HashSet::new();
    walk::walk(module, &mut |below, item| {
        let mut whole = path.to_owned();
        walk::push(&mut whole, below);
        match item {
            Item::Parameter(p) => label(p.cell(), &whole, &mut seen),
            Item::Buffer(b) => label(b.cell(), &whole, &mut seen),
            _ => {}
        }
    });
}

fn label(cell: &Arc<limpid_core::Cell>, path: &str, seen: &mut std::collections::HashSet<usize>) {
    let known = cell.label();
    if seen.insert(Arc::as_ptr(cell) as usize) && !known.is_some_and(|known| is_tail(&known, path)) {
        cell.set_label(path);
    }
}

/// Tells the record once that lines of this crate are no user's lines.
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| origin::register_library(crate::FILE));
}
