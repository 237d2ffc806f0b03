//! NPY: one array of numbers, the format of `numpy.save`.
//!
//! ```text
//! 6 bytes   \x93NUMPY
//! 2 bytes   version: 1.0, 2.0 or 3.0
//! 2 or 4    n, length of the header, little-endian (4 bytes from 2.0 on)
//! n bytes   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, spaces, a line end
//! the rest  elements, in the order and byte order of the header
//! ```
//! Source: NumPy's documentation, `numpy.lib.format`. The header is Python text: it is parsed, never evaluated, and
//! arrays of Python objects, whose elements would be executed, are refused.

use crate::array::swap_bytes;
use crate::error::{quote, sizes};
use crate::source::{Source, open};
use crate::{Array, DType, Error, write};
use std::path::Path;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
const DAMAGED: &str = "the file is damaged or is no NPY file; get it again, or save it again";
/// The longest header that is read: more than any list of fewer than a thousand sizes needs.
const LONGEST_HEADER: u64 = 1 << 16;

/// Reads a file of version 1, 2 or 3, either byte order, row-major or column-major.
///
/// # Errors
/// A file that can not be read or breaks the format; a type without a counterpart in [`DType`] (complex numbers,
/// texts, records, objects); more or fewer bytes than the shape needs.
pub fn read(path: &Path) -> Result<Array, Error> {
    let (file, len) = open(path)?;
    array(Source::of_file(path, file, len), len)
}

/// Reads from memory; errors name `path`.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Array, Error> {
    let len = bytes.len() as u64;
    array(Source::new(path, bytes, len), len)
}

fn array(mut source: Source, len: u64) -> Result<Array, Error> {
    let magic = source.exactly(8, "magic number", DAMAGED)?;
    if !magic.starts_with(MAGIC) {
        return Err(source.error(0, "magic number", "the file does not begin with \\x93NUMPY", DAMAGED));
    }
    let width = match magic[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(source.error(6, "version", format!("version {version} is not known"), DAMAGED)),
    };
    let length = source.exactly(width, "header length", DAMAGED)?;
    let length = length.iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
    if length > LONGEST_HEADER.min(len.saturating_sub(source.offset())) {
        let what = format!("the header would have {length} bytes of a file of {len}");
        return Err(source.error(8, "header length", what, DAMAGED));
    }
    let start = source.offset();
    let text = source.exactly(length, "header", DAMAGED)?;
    let fail = |(at, what): (usize, String)| source.error(start + at as u64, "header", what, DAMAGED);
    let header = Header::parse(&text).map_err(fail)?;
    let (big_endian, dtype) = dtype(&header.descr).map_err(|what| {
        source.error(start, "descr", what, "convert it with `astype` to a real or integer type, and save it again")
    })?;
    let room = len.saturating_sub(source.offset());
    let stated = dtype.bytes_of(&header.shape).map(|bytes| bytes as u64).filter(|&bytes| bytes == room);
    let Some(stated) = stated else {
        let what = format!("{dtype} of shape {} does not fit the {room} bytes that follow", sizes(&header.shape));
        return Err(source.error(start, "shape", what, DAMAGED));
    };
    let mut bytes = source.exactly(stated, "elements", DAMAGED)?;
    if big_endian {
        swap_bytes(&mut bytes, dtype.size());
    }
    if header.fortran_order {
        bytes = transposed(&bytes, dtype.size(), &header.shape);
    }
    Ok(Array { dtype, shape: header.shape, bytes })
}

/// Whether the bytes are swapped, and the type, of a `descr` such as `<f4`.
fn dtype(descr: &str) -> Result<(bool, DType), String> {
    let (order, code) = descr.split_at_checked(1).unwrap_or(("", ""));
    let dtype = match code {
        "b1" => DType::Bool,
        "u1" => DType::U8,
        "i1" => DType::I8,
        "i2" => DType::I16,
        "u2" => DType::U16,
        "f2" => DType::F16,
        "i4" => DType::I32,
        "u4" => DType::U32,
        "f4" => DType::F32,
        "f8" => DType::F64,
        "i8" => DType::I64,
        "u8" => DType::U64,
        _ if code.starts_with('O') => return Err("an array of Python objects is not read: it could run code".into()),
        _ => return Err(format!("{} is no type of Limpid", quote(descr))),
    };
    match order {
        "<" => Ok((false, dtype)),
        ">" => Ok((true, dtype)),
        "|" if dtype.size() == 1 => Ok((false, dtype)),
        _ => Err(format!("{} does not say the byte order", quote(descr))),
    }
}

/// Row-major elements of an array whose first axis runs fastest.
fn transposed(bytes: &[u8], size: usize, shape: &[usize]) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    shape.iter().fold(size, |stride, &axis| {
        strides.push(stride);
        stride * axis
    });
    let (mut out, mut index, mut from) = (Vec::with_capacity(bytes.len()), vec![0; shape.len()], 0);
    while out.len() < bytes.len() {
        out.extend_from_slice(&bytes[from..from + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            from += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            from -= strides[axis] * index[axis];
            index[axis] = 0;
        }
    }
    out
}

/// The dictionary of the header.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// The three members, each once, in any order; errors come with their place in the text.
    fn parse(text: &[u8]) -> Result<Header, (usize, String)> {
        let mut text = Text { bytes: text, at: 0 };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        text.expect("{")?;
        while !text.skip("}") {
            let place = text.at;
            let key = text.string()?;
            text.expect(":")?;
            let first = match key.as_str() {
                "descr" if text.skip("[") => {
                    return Err((place, "an array of records is not read: save its columns one by one".into()));
                }
                "descr" => descr.replace(text.string()?).is_none(),
                "fortran_order" => fortran_order.replace(text.truth()?).is_none(),
                "shape" => shape.replace(text.sizes()?).is_none(),
                _ => return Err((place, format!("{} is no member of the header", quote(&key)))),
            };
            if !first {
                return Err((place, format!("`{key}` stands there twice")));
            }
            if !text.skip(",") {
                text.expect("}")?;
                break;
            }
        }
        text.spaces();
        if text.at < text.bytes.len() {
            return Err((text.at, "something follows the header's `}`".into()));
        }
        let missing = |name: &str| (0, format!("`{name}` is missing"));
        Ok(Header {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }
}

/// The few literals of Python that a header is made of.
struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Text<'_> {
    fn spaces(&mut self) {
        self.at += self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    fn skip(&mut self, sign: &str) -> bool {
        self.spaces();
        let found = self.bytes[self.at..].starts_with(sign.as_bytes());
        self.at += if found { sign.len() } else { 0 };
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), (usize, String)> {
        if self.skip(sign) { Ok(()) } else { Err((self.at, format!("`{sign}` should stand here"))) }
    }

    fn string(&mut self) -> Result<String, (usize, String)> {
        let quote = if self.skip("\"") { b'"' } else { b'\'' };
        if quote == b'\'' && !self.skip("'") {
            return Err((self.at, "a text in quotes should stand here".into()));
        }
        let start = self.at;
        let length = self.bytes[start..].iter().position(|&byte| byte == quote);
        let length = length.ok_or_else(|| (start, "the text has no closing quote".to_owned()))?;
        self.at = start + length + 1;
        Ok(String::from_utf8_lossy(&self.bytes[start..start + length]).into_owned())
    }

    fn truth(&mut self) -> Result<bool, (usize, String)> {
        match (self.skip("True"), self.skip("False")) {
            (false, false) => Err((self.at, "True or False should stand here".into())),
            (truth, _) => Ok(truth),
        }
    }

    /// `()`, `(2,)`, `(2, 3)`.
    fn sizes(&mut self) -> Result<Vec<usize>, (usize, String)> {
        let mut sizes = Vec::new();
        self.expect("(")?;
        while !self.skip(")") {
            let start = self.at;
            let length = self.bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let digits = String::from_utf8_lossy(&self.bytes[start..start + length]);
            let size = digits.parse().map_err(|_| (start, "a size should stand here".to_owned()))?;
            self.at += length;
            sizes.push(size);
            // Python 2 wrote long integers.
            self.skip("L");
            if !self.skip(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sizes)
    }
}

/// Writes a file that `numpy.load` reads: version 1 (2 for a header over 64 KiB), little-endian, row-major, elements
/// at a multiple of 64 bytes. Complete or not at all.
///
/// # Errors
/// Bytes that do not fit dtype and shape, bf16 (NumPy has none), and those of [`write::atomic`].
pub fn write(path: &Path, array: &Array) -> Result<(), Error> {
    let header = lay_out(path, array)?;
    write::atomic(path, |out| {
        out.write_all(&header)?;
        out.write_all(&array.bytes)
    })
}

/// The bytes of a file; errors name `path`.
///
/// # Errors
/// Those of [`write()`] that come before writing.
pub fn encode(path: &Path, array: &Array) -> Result<Vec<u8>, Error> {
    let mut out = lay_out(path, array)?;
    out.extend_from_slice(&array.bytes);
    Ok(out)
}

/// All bytes before the elements.
fn lay_out(path: &Path, array: &Array) -> Result<Vec<u8>, Error> {
    let Array { dtype, shape, bytes } = array;
    if dtype.bytes_of(shape) != Some(bytes.len()) {
        let what = format!("{} bytes are not {dtype} of shape {}", bytes.len(), sizes(shape));
        return Err(Error::file(path, what, "give the elements of the whole array"));
    }
    let descr = match dtype {
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::U16 => "<u2",
        DType::F16 => "<f2",
        DType::I32 => "<i4",
        DType::U32 => "<u4",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::I64 => "<i8",
        DType::U64 => "<u8",
        DType::BF16 => return Err(Error::file(path, "NPY has no type bf16", "convert it to f32 first")),
    };
    let tuple: Vec<String> = shape.iter().map(usize::to_string).collect();
    let tuple = tuple.join(", ") + if shape.len() == 1 { "," } else { "" };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({tuple}), }}");
    let fits = text.len() + 64 <= usize::from(u16::MAX);
    let before = MAGIC.len() + if fits { 4 } else { 6 };
    let length = (before + text.len() + 1).next_multiple_of(64) - before;
    if length as u64 > LONGEST_HEADER {
        let what = format!("a header of {length} bytes, more than is read back");
        return Err(Error::file(path, what, "reshape the array to fewer axes"));
    }
    text.extend(std::iter::repeat_n(' ', length - 1 - text.len()));
    text.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend(if fits { [1, 0] } else { [2, 0] });
    out.extend(&(length as u32).to_le_bytes()[..if fits { 2 } else { 4 }]);
    out.extend(text.as_bytes());
    Ok(out)
}
