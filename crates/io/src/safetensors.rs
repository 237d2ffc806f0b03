//! Safetensors: named tensors behind a JSON header, the format in which models are shared.
//!
//! ```text
//! 8 bytes   n, length of the header, little-endian
//! n bytes   {"__metadata__": {"key": "text"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
//! the rest  elements, little-endian, row-major; the offsets count from here and leave no gap
//! ```
//! Source: the format section of <https://github.com/huggingface/safetensors>. Files are written byte for byte as
//! that library writes them: widest elements first, then by name, the header filled up with spaces to 8 bytes.

use crate::error::{quote, sizes};
use crate::source::{Source, open};
use crate::{DType, Error, write};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::Write;
use std::path::Path;

/// The longest header that is read or written, as in the reference library.
const LONGEST_HEADER: u64 = 100_000_000;
const METADATA: &str = "__metadata__";
const DAMAGED: &str = "the file is damaged or is no safetensors file; get it again, or save it again";

/// The contents of a safetensors file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// The tensors, in the order of the header.
    pub tensors: Vec<Entry>,
    /// Free text by key.
    pub metadata: BTreeMap<String, String>,
}

/// A named tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name: a dotted path in a model.
    pub name: String,
    /// The type of an element.
    pub dtype: DType,
    /// Sizes of the axes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, little-endian, row-major.
    pub bytes: Vec<u8>,
}

/// A tensor to write, borrowed from wherever it is.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its name: a dotted path in a model.
    pub name: &'a str,
    /// The type of an element.
    pub dtype: DType,
    /// Sizes of the axes, outermost first; empty for a scalar.
    pub shape: &'a [usize],
    /// The elements, little-endian, row-major.
    pub bytes: &'a [u8],
}

/// What the header says of a file, without the elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The tensors, in the order of the header.
    pub tensors: Vec<Info>,
    /// Free text by key.
    pub metadata: BTreeMap<String, String>,
}

/// What the header says of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name: a dotted path in a model.
    pub name: String,
    /// The type of an element.
    pub dtype: DType,
    /// Sizes of the axes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Where its bytes begin, counted from the end of the header.
    pub start: u64,
    /// How many bytes it has.
    pub len: u64,
}

impl Archive {
    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.tensors.iter().find(|entry| entry.name == name)
    }

    /// All tensors, as [`write()`] takes them.
    pub fn views(&self) -> Vec<View<'_>> {
        self.tensors.iter().map(Entry::view).collect()
    }
}

impl Entry {
    /// The same, borrowed.
    pub fn view(&self) -> View<'_> {
        View { name: &self.name, dtype: self.dtype, shape: &self.shape, bytes: &self.bytes }
    }
}

/// Reads a whole file.
///
/// # Errors
/// A file that can not be read, or that breaks the format: a header that is longer than the file or than 100 MB, no
/// JSON, or has a key twice; an unknown dtype; a shape that is no list of sizes or does not fit its bytes; tensors
/// that overlap, leave a gap, or end before or after the file does.
pub fn read(path: &Path) -> Result<Archive, Error> {
    let (file, len) = open(path)?;
    archive(Source::of_file(path, file, len), path, len)
}

/// Reads a file's header alone: names, dtypes, shapes and metadata. It is checked against the file's length.
///
/// # Errors
/// As [`read`].
pub fn read_header(path: &Path) -> Result<Header, Error> {
    let (file, len) = open(path)?;
    header(&mut Source::of_file(path, file, len), path, len)
}

/// Reads from memory; errors name `path`.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Archive, Error> {
    let len = bytes.len() as u64;
    archive(Source::new(path, bytes, len), path, len)
}

fn archive(mut source: Source, path: &Path, len: u64) -> Result<Archive, Error> {
    let header = header(&mut source, path, len)?;
    // The bytes come in the order of their offsets, the tensors stay in the order of the header.
    let mut by_start: Vec<usize> = (0..header.tensors.len()).collect();
    by_start.sort_by_key(|&at| order(&header.tensors[at]));
    let mut bytes = vec![Vec::new(); header.tensors.len()];
    for at in by_start {
        let info = &header.tensors[at];
        bytes[at] = source.exactly(info.len, &format!("tensor {}", quote(&info.name)), DAMAGED)?;
    }
    let entry = |(info, bytes): (Info, _)| Entry { name: info.name, dtype: info.dtype, shape: info.shape, bytes };
    Ok(Archive { tensors: header.tensors.into_iter().zip(bytes).map(entry).collect(), metadata: header.metadata })
}

/// Empty tensors stand before the one that begins at the same byte.
fn order(info: &Info) -> (u64, u64) {
    (info.start, info.len)
}

fn header(source: &mut Source, path: &Path, len: u64) -> Result<Header, Error> {
    let length = source.exactly(8, "header length", DAMAGED)?;
    let length = u64::from_le_bytes(length.try_into().expect("8 bytes were read"));
    let available = len.saturating_sub(8);
    if length > available {
        let what = format!("the header would have {length} bytes, the file has {available} after its length");
        return Err(source.error(0, "header length", what, DAMAGED));
    }
    if length > LONGEST_HEADER {
        let what = format!("the header would have {length} bytes; at most {LONGEST_HEADER} are read");
        return Err(source.error(0, "header length", what, DAMAGED));
    }
    let text = source.exactly(length, "header", DAMAGED)?;
    let text = std::str::from_utf8(&text)
        .map_err(|error| source.error(8 + error.valid_up_to() as u64, "header", "the header is not UTF-8", DAMAGED))?;
    let parser = Parser { text, path };
    let header = parser.header()?;
    parser.check_layout(&header, available - length)?;
    Ok(header)
}

/// The JSON text of a header, which begins at byte 8.
struct Parser<'a> {
    text: &'a str,
    path: &'a Path,
}

impl<'a> Parser<'a> {
    fn header(&self) -> Result<Header, Error> {
        let mut header = Header::default();
        if !self.text.starts_with('{') {
            return Err(self.error(self.text, "header", "the header does not begin with `{`"));
        }
        for (name, value) in self.object(self.text, "header")? {
            if name == METADATA {
                header.metadata = self.metadata(value)?;
            } else {
                header.tensors.push(self.info(name, value)?);
            }
        }
        Ok(header)
    }

    fn metadata(&self, value: &'a str) -> Result<BTreeMap<String, String>, Error> {
        let text = |(key, value): (String, &'a str)| {
            let field = format!("{METADATA} {}", quote(&key));
            Ok((key, self.value(value, &field, "a text")?))
        };
        self.object(value, METADATA)?.into_iter().map(text).collect()
    }

    fn info(&self, name: String, value: &'a str) -> Result<Info, Error> {
        let tensor = format!("tensor {}", quote(&name));
        let fields = self.object(value, &tensor)?;
        let field = |wanted: &str| match fields.iter().find(|(key, _)| key == wanted) {
            Some((_, value)) => Ok((*value, format!("{tensor}, {wanted}"))),
            None => Err(self.error(value, &tensor, format!("`{wanted}` is missing"))),
        };
        let (text, at) = field("dtype")?;
        let dtype: String = self.value(text, &at, "a text")?;
        let dtype =
            DType::ALL.into_iter().find(|known| known.name().to_ascii_uppercase() == dtype).ok_or_else(|| {
                let help = "convert it where it was made to one of BOOL U8 I8 I16 U16 F16 BF16 I32 U32 F32 F64 I64 U64";
                Error { help: help.into(), ..self.error(text, &at, format!("{} is no dtype of Limpid", quote(&dtype))) }
            })?;
        let (text, at) = field("shape")?;
        let shape: Vec<usize> = self.value(text, &at, "a list of sizes")?;
        let bytes = dtype.bytes_of(&shape).ok_or_else(|| {
            self.error(text, &at, format!("the sizes {} multiply to more bytes than there can be", quote(text)))
        })?;
        let (text, at) = field("data_offsets")?;
        let offsets: Vec<u64> = self.value(text, &at, "two offsets")?;
        let [start, end] = offsets[..] else {
            return Err(self.error(text, &at, format!("expected two offsets, found {}", quote(text))));
        };
        match end.checked_sub(start) {
            None => Err(self.error(text, &at, format!("the data ends at {end}, before it begins at {start}"))),
            Some(len) if len != bytes as u64 => {
                let what = format!("{dtype} of shape {} needs {bytes} bytes, the offsets span {len}", sizes(&shape));
                Err(self.error(text, &at, what))
            }
            Some(len) => Ok(Info { name, dtype, shape, start, len }),
        }
    }

    /// That the tensors fill the `available` bytes after the header, each byte once.
    fn check_layout(&self, header: &Header, available: u64) -> Result<(), Error> {
        let data = 8 + self.text.len() as u64;
        let mut sorted: Vec<&Info> = header.tensors.iter().collect();
        sorted.sort_by_key(|info| order(info));
        let at = |offset: u64, field: String, what: String| {
            let at = crate::At::Byte { offset: data.saturating_add(offset), field };
            Err(Error { at, ..self.error(self.text, "", what) })
        };
        let mut end = 0;
        for info in sorted {
            let field = format!("tensor {}", quote(&info.name));
            if info.start < end {
                return at(info.start, field, format!("the tensor overlaps the one before it, which ends at {end}"));
            }
            if info.start > end {
                return at(end, field, format!("bytes {end} to {} of the data belong to no tensor", info.start));
            }
            end = info.start + info.len;
            if end > available {
                return at(info.start, field, format!("the tensor ends at {end}, the data at {available}"));
            }
        }
        if end < available {
            return at(end, "data".into(), format!("bytes {end} to {available} of the data belong to no tensor"));
        }
        Ok(())
    }

    /// The members of a JSON object, in order, values as text.
    fn object(&self, text: &'a str, field: &str) -> Result<Vec<(String, &'a str)>, Error> {
        let members: Members<'a> = self.value(text, field, "an object")?;
        let mut seen = HashSet::new();
        match members.0.iter().find(|(key, _)| !seen.insert(key)) {
            Some((key, value)) => Err(self.error(value, field, format!("{} stands there twice", quote(key)))),
            None => Ok(members.0),
        }
    }

    fn value<T: Deserialize<'a>>(&self, text: &'a str, field: &str, wanted: &str) -> Result<T, Error> {
        serde_json::from_str(text).map_err(|error| {
            if error.is_data() {
                return self.error(text, field, format!("expected {wanted}, found {}", quote(text)));
            }
            let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
            let place = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            let place = text.get(place..).unwrap_or(&text[text.len()..]);
            self.error(place, field, format!("the header is no JSON: {reason}"))
        })
    }

    /// An error where `part`, a piece of the header's text, begins.
    fn error(&self, part: &str, field: &str, what: impl Into<String>) -> Error {
        let offset = 8 + (part.as_ptr() as usize - self.text.as_ptr() as usize) as u64;
        let at = crate::At::Byte { offset, field: field.into() };
        Error { path: self.path.to_owned(), at, what: what.into(), help: DAMAGED.into() }
    }
}

/// A JSON object that keeps the order of its members, those that are repeated, and the text of the values.
struct Members<'a>(Vec<(String, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((key, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Writes a file, complete or not at all.
///
/// # Errors
/// Before anything is written: a name twice or `__metadata__`, bytes that do not fit dtype and shape, a header over
/// 100 MB. Then those of [`write::atomic`].
pub fn write(path: &Path, tensors: &[View], metadata: &BTreeMap<String, String>) -> Result<(), Error> {
    let (header, sorted) = lay_out(path, tensors, metadata)?;
    write::atomic(path, |out| emit(out, &header, &sorted))
}

/// The bytes of a file; errors name `path`.
///
/// # Errors
/// Those of [`write()`] that come before writing.
pub fn encode(path: &Path, tensors: &[View], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, Error> {
    let (header, sorted) = lay_out(path, tensors, metadata)?;
    let mut out = Vec::new();
    emit(&mut out, &header, &sorted).map_err(|error| Error::system(path, "write", &error))?;
    Ok(out)
}

fn emit(out: &mut dyn Write, header: &str, tensors: &[View]) -> std::io::Result<()> {
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    tensors.iter().try_for_each(|tensor| out.write_all(tensor.bytes))
}

/// The header's text and the tensors in the order of their bytes.
fn lay_out<'a>(
    path: &Path,
    tensors: &[View<'a>],
    metadata: &BTreeMap<String, String>,
) -> Result<(String, Vec<View<'a>>), Error> {
    let mut sorted = tensors.to_vec();
    sorted.sort_by(|a, b| b.dtype.cmp(&a.dtype).then(a.name.cmp(b.name)));
    let mut members = Vec::new();
    if !metadata.is_empty() {
        members.push(format!("{}:{}", json(METADATA), json(metadata)));
    }
    let (mut end, mut seen) = (0, HashSet::new());
    for tensor in &sorted {
        let name = quote(tensor.name);
        if tensor.name == METADATA || !seen.insert(tensor.name) {
            return Err(Error::file(path, format!("two things have the name {name}"), "give each tensor its own name"));
        }
        if tensor.dtype.bytes_of(tensor.shape) != Some(tensor.bytes.len()) {
            let View { dtype, shape, bytes, .. } = tensor;
            let what = format!("tensor {name}: {} bytes are not {dtype} of shape {}", bytes.len(), sizes(shape));
            return Err(Error::file(path, what, "give the elements of the whole tensor"));
        }
        let (start, dtype) = (end, tensor.dtype.name().to_ascii_uppercase());
        end += tensor.bytes.len();
        let (name, shape) = (json(tensor.name), json(tensor.shape));
        members.push(format!(r#"{name}:{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#));
    }
    let mut header = format!("{{{}}}", members.join(","));
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    if header.len() as u64 > LONGEST_HEADER {
        let what = format!("the header would have {} bytes; at most {LONGEST_HEADER} are read", header.len());
        return Err(Error::file(path, what, "save fewer tensors or less metadata in one file"));
    }
    Ok((header, sorted))
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("texts, sizes and maps of texts are JSON")
}
