//! Errors are values, and they wait for a read.
//!
//! An operation on wrong shapes neither panics nor returns a `Result`: it yields a tensor that
//! carries the error, every operation on that passes the first error on, and the first read returns
//! it. Model code stays free of `?`, and nothing is lost: the error still names the operation, the
//! shapes, the module and the lines.

use std::fmt;
use std::sync::Arc;

use crate::origin::Origin;

/// What went wrong, where, and what to do. Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Message>);

/// The result of everything that reads a tensor's values.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone)]
struct Message {
    what: String,
    origin: Option<Origin>,
    notes: Vec<String>,
    help: Option<String>,
}

impl Error {
    /// An error that says `what`, as `operation: what is wrong`.
    pub fn new(what: impl Into<String>) -> Error {
        Error(Arc::new(Message { what: what.into(), origin: None, notes: Vec::new(), help: None }))
    }

    fn edit(mut self, change: impl FnOnce(&mut Message)) -> Error {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The same error, with what to do about it.
    pub fn help(self, help: impl Into<String>) -> Error {
        self.edit(|m| m.help = Some(help.into()))
    }

    /// The same error, with one more line of circumstances.
    pub fn note(self, note: impl Into<String>) -> Error {
        self.edit(|m| m.notes.push(note.into()))
    }

    /// The same error, with where it was recorded. The first origin given wins.
    pub fn at(self, origin: &Origin) -> Error {
        if self.0.origin.is_some() {
            return self;
        }
        self.edit(|m| m.origin = Some(origin.clone()))
    }

    /// What is wrong, without where and what to do.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Where the failing operation was recorded, when that is known.
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if let Some(origin) = &self.0.origin {
            write!(f, "\n  {origin}")?;
        }
        for note in &self.0.notes {
            write!(f, "\n  {note}")?;
        }
        if let Some(help) = &self.0.help {
            write!(f, "\n  try {help}")?;
        }
        Ok(())
    }
}

/// The same as `Display`: what `main` prints when it returns an error.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
