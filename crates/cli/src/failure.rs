//! How a command can end that does not succeed.

use limpid::Error;

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// It could not be done: exit code 1.
    Failed(Error),
    /// It was asked for in words that are not understood: exit code 2.
    Misused(Error),
    /// Ctrl-C was pressed, and everything is saved: exit code 130.
    Interrupted(String),
}

impl Failure {
    /// The exit code of the process.
    pub fn code(&self) -> i32 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Misused(_) => 2,
            Failure::Interrupted(_) => 130,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Failed(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Failed(error) | Failure::Misused(error) => write!(f, "error: {error}"),
            Failure::Interrupted(what) => f.write_str(what),
        }
    }
}
