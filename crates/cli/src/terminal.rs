//! Text for people: standard output that may fail, and a little colour.

use std::io::{Error as IoError, ErrorKind, IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::sync::OnceLock;

use limpid::Error;

/// What stands out on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// What matters most: bold.
    Strong,
    /// A measure: green.
    Measure,
    /// What went wrong: bold and red.
    Wrong,
}

impl Style {
    /// The parameters of "select graphic rendition" (ECMA-48, 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Style::Strong => "1",
            Style::Measure => "32",
            Style::Wrong => "1;31",
        }
    }
}

/// `text` in a style where `stream` is a terminal and `NO_COLOR` (<https://no-color.org>) is not set; else as it is.
pub fn styled(text: &str, style: Style, stream: &impl IsTerminal) -> String {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if forbidden || !stream.is_terminal() {
        return text.to_owned();
    }
    format!("\x1b[{}m{text}\x1b[0m", style.code())
}

/// Why standard output lost something first.
static LOST: OnceLock<IoError> = OnceLock::new();

/// Writes to standard output. A failure ends no run that is under way; [`lost`] tells of it at the end.
pub fn say(text: &str) {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // That nobody reads it any more (`| head`) is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let _ = LOST.set(error);
        }
        _ => {}
    }
}

/// The failure of [`say`], if something was lost.
pub fn lost() -> Option<Error> {
    let error = LOST.get()?;
    Some(Error::new(limpid_io::Error::system(Path::new("standard output"), "write to", error).to_string()))
}

/// Writes a line to standard error, where there is one.
pub fn complain(text: &str) {
    let _ = writeln!(stderr(), "{text}");
}
