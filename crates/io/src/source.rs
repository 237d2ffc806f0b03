//! Bytes from a file, counted, and never more memory than bytes that are really there.

use crate::{At, Error};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Bytes in order from a file or from memory.
pub struct Source<'a> {
    path: PathBuf,
    reader: Box<dyn Read + 'a>,
    offset: u64,
    /// How many bytes are known to come: memory for them is taken at once, for others as they arrive.
    known: u64,
}

/// Opens a regular file; also its length.
pub fn open(path: &Path) -> Result<(File, u64), Error> {
    let system = |error| Error::system(path, "read", &error);
    let file = File::open(path).map_err(system)?;
    let kind = file.metadata().map_err(system)?;
    if kind.is_dir() {
        return Err(Error::file(path, "it is a folder", "name a file in it"));
    }
    if !kind.is_file() {
        return Err(Error::file(path, "it is a device or a pipe, so its size is not known", "copy it to a file"));
    }
    Ok((file, kind.len()))
}

/// All bytes of a regular file.
pub fn read_all(path: &Path) -> Result<Vec<u8>, Error> {
    let (mut file, _) = open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| Error::system(path, "read", &error))?;
    Ok(bytes)
}

impl<'a> Source<'a> {
    /// The bytes of `reader`, which stand in `known` bytes of file or memory; errors name `path`.
    pub fn new(path: &Path, reader: impl Read + 'a, known: u64) -> Source<'a> {
        Source { path: path.to_owned(), reader: Box::new(reader), offset: 0, known }
    }

    /// The bytes of an opened file of length `len`.
    pub fn of_file(path: &Path, file: File, len: u64) -> Source<'a> {
        Source::new(path, BufReader::with_capacity(1 << 16, file), len)
    }

    /// How many bytes were taken.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// An error at byte `offset`.
    pub fn error(&self, offset: u64, field: impl Into<String>, what: impl Into<String>, help: &str) -> Error {
        let at = At::Byte { offset, field: field.into() };
        Error { path: self.path.clone(), at, what: what.into(), help: help.into() }
    }

    /// At most `count` bytes: fewer where the source ends. Memory grows with the bytes that arrive.
    pub fn up_to(&mut self, count: u64, field: &str) -> Result<Vec<u8>, Error> {
        let sure = count.min(self.known.saturating_sub(self.offset));
        let mut bytes = Vec::with_capacity(usize::try_from(sure).unwrap_or(0));
        if let Err(error) = self.reader.by_ref().take(count).read_to_end(&mut bytes) {
            return Err(self.reading(error, self.offset + bytes.len() as u64, field));
        }
        bytes.shrink_to_fit();
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// Exactly `count` bytes of `field`.
    pub fn exactly(&mut self, count: u64, field: &str, help: &str) -> Result<Vec<u8>, Error> {
        let start = self.offset;
        let bytes = self.up_to(count, field)?;
        if (bytes.len() as u64) < count {
            let what = format!("{field} should have {count} bytes, {} are there", bytes.len());
            return Err(self.error(start, field, what, help));
        }
        Ok(bytes)
    }

    /// A failure of the reader: of these kinds where it unpacks a gzip and finds it wrong, else of the system.
    fn reading(&self, error: io::Error, offset: u64, field: &str) -> Error {
        let what = match error.kind() {
            ErrorKind::UnexpectedEof => "the gzip is cut short, or something follows it".to_owned(),
            ErrorKind::InvalidData | ErrorKind::InvalidInput => format!("the gzip is damaged: {error}"),
            _ => {
                let at = At::Byte { offset, field: field.into() };
                return Error { at, ..Error::system(&self.path, "read", &error) };
            }
        };
        self.error(offset, field, what, "get the file again")
    }
}
