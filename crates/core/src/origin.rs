//! Where a node comes from: the module that was being run and the line of the caller.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex};

/// One module being run: its path from the root, what it is, and the lines that made and called it.
#[derive(Debug)]
pub struct Frame {
    /// Path from the root, as in a state dict: `encoder.layers.0.linear1`; empty for the root itself.
    pub path: Arc<str>,
    /// What it is, as it prints: `Linear 784→512`.
    pub kind: Arc<str>,
    /// The line that made it, where the module remembers it.
    pub made_at: Option<&'static Location<'static>>,
    /// The line that ran it.
    pub called_at: &'static Location<'static>,
    /// The module that ran it.
    pub parent: Option<Arc<Frame>>,
}

/// Where a node was recorded.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The line of the operation's caller.
    pub at: &'static Location<'static>,
    /// The innermost module that was running.
    pub frame: Option<Arc<Frame>>,
}

/// What a thread records for now.
#[derive(Debug)]
struct Current {
    frame: Option<Arc<Frame>>,
    /// The line that nodes are recorded under instead of their caller's.
    line: Option<&'static Location<'static>>,
}

thread_local! {
    static CURRENT: RefCell<Current> = const { RefCell::new(Current { frame: None, line: None }) };
}

/// Source folders of the library's own crates: lines in them are no caller's lines.
static LIBRARY: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// Tells that files beside `lib_rs` (a crate's `file!()` in its `lib.rs`) belong to the library, so that
/// messages name the user's line above them.
pub fn register_library(lib_rs: &'static str) {
    let folder = lib_rs.strip_suffix("lib.rs").unwrap_or(lib_rs);
    let mut known = LIBRARY.lock().unwrap_or_else(|e| e.into_inner());
    if !known.contains(&folder) {
        known.push(folder);
    }
}

fn in_library(at: &Location<'_>) -> bool {
    let core = file!().strip_suffix("origin.rs").unwrap_or("");
    let known = LIBRARY.lock().unwrap_or_else(|e| e.into_inner());
    at.file().starts_with(core) || known.iter().any(|folder| at.file().starts_with(folder))
}

impl Origin {
    /// The running module and the line `at`.
    #[inline]
    pub fn new(at: &'static Location<'static>) -> Origin {
        CURRENT.with(|current| {
            let current = current.borrow();
            Origin { at: current.line.unwrap_or(at), frame: current.frame.clone() }
        })
    }

    /// The path of the running module; empty outside of any.
    pub fn path(&self) -> &str {
        self.frame.as_ref().map_or("", |frame| &frame.path)
    }

    /// The innermost line that is the user's, not the library's.
    pub fn user_line(&self) -> &'static Location<'static> {
        if !in_library(self.at) {
            return self.at;
        }
        let mut frame = self.frame.as_deref();
        while let Some(f) = frame {
            if !in_library(f.called_at) {
                return f.called_at;
            }
            frame = f.parent.as_deref();
        }
        self.at
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.user_line();
        let Some(frame) = &self.frame else {
            return write!(f, "at  {}:{}", line.file(), line.line());
        };
        let path = if frame.path.is_empty() { "the model" } else { &*frame.path };
        write!(f, "in  {path} ({}", frame.kind)?;
        if let Some(made) = frame.made_at.filter(|made| !in_library(made)) {
            write!(f, ", made at {}:{}", made.file(), made.line())?;
        }
        write!(f, "), called at {}:{}", line.file(), line.line())
    }
}

/// The innermost running module of this thread.
pub fn current() -> Option<Arc<Frame>> {
    CURRENT.with(|current| current.borrow().frame.clone())
}

/// Keeps a module's scope open; closing restores the one before.
#[derive(Debug)]
pub struct ScopeGuard {
    previous: Current,
}

/// Opens a scope: nodes recorded until the guard drops belong to this module.
pub fn enter(
    path: Arc<str>,
    kind: Arc<str>,
    made_at: Option<&'static Location<'static>>,
    called_at: &'static Location<'static>,
) -> ScopeGuard {
    CURRENT.with(|current| {
        let mut current = current.borrow_mut();
        let parent = current.frame.clone();
        let frame = Some(Arc::new(Frame { path, kind, made_at, called_at, parent }));
        let line = current.line;
        ScopeGuard { previous: std::mem::replace(&mut *current, Current { frame, line }) }
    })
}

/// What is recorded until the guard drops is recorded under the line `at`, unless there is such a line already: for what a
/// constructor makes in functions and closures of its own.
pub fn under(at: &'static Location<'static>) -> ScopeGuard {
    CURRENT.with(|current| {
        let mut current = current.borrow_mut();
        let (frame, line) = (current.frame.clone(), current.line.or(Some(at)));
        ScopeGuard { previous: std::mem::replace(&mut *current, Current { frame, line }) }
    })
}

/// Opens the scope of `origin` again: what a gradient rule records belongs to the module and the line of the node
/// that it is the rule of.
pub(crate) fn resume(origin: &Origin) -> ScopeGuard {
    CURRENT.with(|current| {
        let resumed = Current { frame: origin.frame.clone(), line: Some(origin.at) };
        ScopeGuard { previous: current.replace(resumed) }
    })
}

impl Drop for ScopeGuard {
    fn drop(&mut self) {
        CURRENT.with(|current| std::mem::swap(&mut *current.borrow_mut(), &mut self.previous));
    }
}
