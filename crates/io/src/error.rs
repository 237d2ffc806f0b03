//! What is wrong with a file, where, and what to do about it.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What is wrong with a file, where, and what to do.
///
/// ```text
/// net.safetensors: the header says 1000000 bytes, the file has 24
///   at byte 0, header length
///   the file is cut short or is no safetensors file; get it again
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The file or folder.
    pub path: PathBuf,
    /// Where in it.
    pub at: At,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The file as a whole: it can not be opened, for example.
    File,
    /// A byte of a binary file, counted from 0, and the field that it belongs to.
    Byte {
        /// From the start of the file; of the unpacked data in a compressed file.
        offset: u64,
        /// The field's name in the format.
        field: String,
    },
    /// A line of a text file, counted from 1.
    Line {
        /// Counted from 1, as editors do.
        line: u64,
        /// The number of the field in the line, from 1; 0 for the whole line.
        column: usize,
        /// The column's name, quoted; empty where it has none, and for the whole line.
        field: String,
    },
}

impl Error {
    /// An error about the file as a whole.
    pub fn file(path: &Path, what: impl Into<String>, help: impl Into<String>) -> Error {
        Error { path: path.to_owned(), at: At::File, what: what.into(), help: help.into() }
    }

    /// The operating system's refusal to `action` ("read", "write to") `path`, in plain words.
    pub fn system(path: &Path, action: &str, error: &std::io::Error) -> Error {
        let (what, help) = match error.kind() {
            ErrorKind::NotFound => ("there is no such file or folder", "check the spelling and the working folder"),
            ErrorKind::PermissionDenied => ("permission denied", "change its permissions, or choose another place"),
            ErrorKind::ReadOnlyFilesystem => ("it is on a read-only file system", "choose another place"),
            ErrorKind::StorageFull => ("the disk is full", "free some space, or choose another disk"),
            ErrorKind::QuotaExceeded => ("your disk quota is used up", "free some space, or choose another disk"),
            ErrorKind::FileTooLarge => ("the file system takes no file of this size", "choose another disk"),
            ErrorKind::IsADirectory => ("it is a folder", "name a file"),
            ErrorKind::NotADirectory => ("a part of its path is a file, not a folder", "check the path"),
            ErrorKind::DirectoryNotEmpty => ("the folder exists and is not empty", "choose another name, or remove it"),
            ErrorKind::InvalidFilename => ("it does not end in a name that can be used", "check the end of the path"),
            ErrorKind::UnexpectedEof => ("it ended while it was read", "let no other program write it meanwhile"),
            _ => {
                return Error::file(
                    path,
                    format!("can not {action} it: {error}"),
                    "try again, or choose another place",
                );
            }
        };
        Error::file(path, format!("can not {action} it: {what}"), help)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.at {
            At::File => write!(f, "{path}: {}", self.what)?,
            At::Byte { offset, field } => write!(f, "{path}: {}\n  at byte {offset}, {field}", self.what)?,
            // `file:line` is what editors and terminals jump to.
            At::Line { line, column: 0, .. } => write!(f, "{path}:{line}: {}", self.what)?,
            At::Line { line, column, field } if field.is_empty() => {
                write!(f, "{path}:{line}: {}\n  in column {column}", self.what)?;
            }
            At::Line { line, column, field } => {
                write!(f, "{path}:{line}: {}\n  in column {column}, {field}", self.what)?;
            }
        }
        write!(f, "\n  {}", self.help)
    }
}

impl std::error::Error for Error {}

/// Text from a file, quoted and escaped for a message, and cut to a readable length.
pub(crate) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A shape for a message: `[2, 3]`, cut to a readable length.
pub(crate) fn sizes(shape: &[usize]) -> String {
    const MOST: usize = 8;
    match shape.get(..MOST) {
        Some(first) if shape.len() > MOST => format!("{first:?} and {} more axes", shape.len() - MOST),
        _ => format!("{shape:?}"),
    }
}
