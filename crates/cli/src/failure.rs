//! How a command can end that does not succeed.

use std::io::stderr;

use limpid::Error;
use serde_json::json;

use crate::terminal::{Style, complain, say, styled};

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

impl Failure {
    /// Says so on standard error, and with `json` as an event on standard output: a program that reads there need not
    /// look elsewhere. The interruption was told of where it happened.
    pub fn tell(&self, json: bool) {
        match self {
            Failure::Failed(error) | Failure::Misused(error) => {
                if json {
                    say(&format!("{}\n", json!({"event": "error", "message": error.to_string()})));
                }
                complain(&format!("{}: {error}", styled("error", Style::Wrong, &stderr())));
            }
            Failure::Interrupted(what) => complain(what),
        }
    }
}
