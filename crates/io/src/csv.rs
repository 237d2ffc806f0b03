//! Tables of text: comma- or tab-separated, with a header; every value knows its line.
//!
//! Source: RFC 4180 for quotes; lines end with `\n`, `\r\n` or `\r`; blank lines and a byte order mark are skipped.

use crate::error::quote;
use crate::source::read_all;
use crate::{At, Error};
use csv::{ByteRecord, ReaderBuilder};
use std::io::Read;
use std::path::{Path, PathBuf};

/// How a table is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The byte between two fields.
    pub delimiter: u8,
    /// Whether a field may stand in double quotes, and then hold delimiters, line ends and doubled quotes.
    pub quotes: bool,
    /// Whether the first row names the columns; they are named `1`, `2`, … otherwise.
    pub header: bool,
}

impl Dialect {
    /// Commas, quotes, a header.
    pub const CSV: Dialect = Dialect { delimiter: b',', quotes: true, header: true };
    /// Tabs, no quotes, a header.
    pub const TSV: Dialect = Dialect { delimiter: b'\t', quotes: false, header: true };
}

/// A table: a name for each column, and rows of as many fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Where it came from.
    pub path: PathBuf,
    /// The names of the columns, no two the same.
    pub header: Vec<String>,
    /// The rows below the header.
    pub rows: Vec<Row>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The line of the file where it begins, from 1.
    pub line: u64,
    /// One text for each column.
    pub fields: Vec<String>,
}

/// Reads a file with a header: [`Dialect::TSV`] where its name ends in `.tsv`, else [`Dialect::CSV`].
///
/// # Errors
/// A file that can not be read or is empty; text that is not UTF-8; a quote that is never closed; a row with more or
/// fewer fields than the header; a header with a name twice, or made of numbers only (it is missing then).
pub fn read(path: &Path) -> Result<Table, Error> {
    let tabs = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
    read_as(path, if tabs { Dialect::TSV } else { Dialect::CSV })
}

/// Reads a file of a given dialect.
///
/// # Errors
/// As [`read`].
pub fn read_as(path: &Path, dialect: Dialect) -> Result<Table, Error> {
    parse(path, &read_all(path)?, dialect)
}

/// Reads from memory; errors name `path`.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, bytes: &[u8], dialect: Dialect) -> Result<Table, Error> {
    let mut rows = rows(path, bytes, dialect)?.into_iter();
    let mut first = rows.next().ok_or_else(|| {
        Error::file(path, "the table is empty: it has no rows", "give a file with a header and rows below it")
    })?;
    let mut rows: Vec<Row> = rows.collect();
    if dialect.header {
        check_header(path, &first)?;
    } else {
        let names = (1..=first.fields.len()).map(|column| column.to_string()).collect();
        rows.insert(0, std::mem::replace(&mut first, Row { line: 1, fields: names }));
    }
    let header = first.fields;
    for row in &rows {
        if row.fields.len() != header.len() {
            let what = format!("expected {} fields, found {}", header.len(), row.fields.len());
            let help = "add or remove fields, and put a field that holds the delimiter in double quotes";
            return Err(at(path, row.line, 0, "", what, help));
        }
    }
    Ok(Table { path: path.to_owned(), header, rows })
}

fn rows(path: &Path, mut bytes: &[u8], dialect: Dialect) -> Result<Vec<Row>, Error> {
    while let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        bytes = rest;
    }
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(dialect.delimiter).quoting(dialect.quotes);
    // One more row after the file: a quote that is still open at the end of the file swallows it.
    let mut reader = builder.from_reader(bytes.chain(&b"\nend"[..]));
    let (mut rows, mut record) = (Vec::new(), ByteRecord::new());
    let (mut line, mut counted) = (1, 0);
    while reader.read_byte_record(&mut record).map_err(|error| system(path, error))? {
        let position = record.position().map_or(bytes.len(), |position| position.byte() as usize);
        let blank = bytes.iter().skip(position).take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        let start = (position + blank).min(bytes.len());
        line += line_ends(&bytes[counted..start]);
        counted = start;
        if start == bytes.len() {
            return Ok(rows);
        }
        rows.push(Row { line, fields: texts(path, line, &record)? });
    }
    let help = "close it with another `\"`, or double it to mean the sign itself";
    Err(at(path, line, 0, "", "a quote that opens in this row is never closed", help))
}

/// How many of `\n`, `\r\n`, `\r` there are.
fn line_ends(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().enumerate().filter(|&(at, &byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count() as u64
}

fn texts(path: &Path, line: u64, record: &ByteRecord) -> Result<Vec<String>, Error> {
    let text = |(column, field): (usize, &[u8])| match std::str::from_utf8(field) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => {
            let what = format!("{} is not UTF-8", quote(&String::from_utf8_lossy(field)));
            Err(at(path, line, column + 1, "", what, "convert the file to UTF-8"))
        }
    };
    record.iter().enumerate().map(text).collect()
}

fn check_header(path: &Path, first: &Row) -> Result<(), Error> {
    if first.fields.iter().all(|name| name.trim().parse::<f64>().is_ok()) {
        let help = "write the names of the columns above it, or read it as a table without a header";
        return Err(at(path, first.line, 0, "", "the header is missing: the first row is numbers", help));
    }
    let mut columns: Vec<usize> = (0..first.fields.len()).collect();
    columns.sort_by_key(|&column| (&first.fields[column], column));
    for pair in columns.windows(2) {
        let name = &first.fields[pair[1]];
        if *name == first.fields[pair[0]] {
            let what = format!("the header has the name {} twice", quote(name));
            return Err(at(path, first.line, pair[1] + 1, name, what, "rename one of the columns"));
        }
    }
    Ok(())
}

impl Table {
    /// The number of the column of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn column(&self, name: &str) -> Result<usize, Error> {
        self.header.iter().position(|column| column == name).ok_or_else(|| {
            const SHOWN: usize = 12;
            let names: Vec<String> = self.header.iter().take(SHOWN).map(|name| quote(name)).collect();
            let more = self.header.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let help = format!("its columns are {}{more}", names.join(", "));
            Error::file(&self.path, format!("there is no column {}", quote(name)), help)
        })
    }

    /// The numbers of these columns, row by row: shape `[rows, columns]`, row-major. Spaces around a number are fine.
    ///
    /// # Errors
    /// There is no such column; a field that is no number, is NaN or infinite, or too large for an `f64`.
    pub fn numeric(&self, columns: &[&str]) -> Result<Vec<f64>, Error> {
        let columns: Vec<usize> = columns.iter().map(|name| self.column(name)).collect::<Result<_, _>>()?;
        let mut numbers = Vec::with_capacity(self.rows.len() * columns.len());
        for row in &self.rows {
            for &column in &columns {
                numbers.push(self.number(row, column)?);
            }
        }
        Ok(numbers)
    }

    fn number(&self, row: &Row, column: usize) -> Result<f64, Error> {
        let text = &row.fields[column];
        let what = match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => return Ok(number),
            Ok(_) => format!("{} is no finite number", quote(text)),
            Err(_) if text.trim().is_empty() => "the field is empty where a number should be".to_owned(),
            Err(_) => format!("{} is no number", quote(text)),
        };
        let help = "correct it, remove the row, or leave the column out";
        Err(at(&self.path, row.line, column + 1, &self.header[column], what, help))
    }
}

fn at(path: &Path, line: u64, column: usize, field: &str, what: impl Into<String>, help: &str) -> Error {
    let at = At::Line { line, column, field: if field.is_empty() { String::new() } else { quote(field) } };
    Error { path: path.to_owned(), at, what: what.into(), help: help.into() }
}

fn system(path: &Path, error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::system(path, "read", &error),
        other => Error::file(path, format!("can not read it: {other:?}"), "check that it is a table of text"),
    }
}
