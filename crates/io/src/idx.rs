//! IDX: one array of numbers, the format of MNIST; plain or in gzip, which is told by its first bytes.
//!
//! ```text
//! 2 bytes   0
//! 1 byte    type: 8 u8, 9 i8, 11 i16, 12 i32, 13 f32, 14 f64
//! 1 byte    d, number of axes
//! 4 d bytes sizes, big-endian
//! the rest  elements, big-endian, row-major
//! ```
//! Source: LeCun, Cortes, Burges, *The MNIST database of handwritten digits*, section "File formats".

use crate::array::swap_bytes;
use crate::error::sizes;
use crate::source::{Source, open};
use crate::{Array, DType, Error};
use flate2::read::MultiGzDecoder;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

const DAMAGED: &str = "the file is damaged or is no IDX file; get it again";
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Deflate packs at most 258 bytes into two bits.
const BEST_RATIO: u64 = 258 * 4;

/// Reads a file; what is packed is unpacked up to the size that its header states.
///
/// # Errors
/// A file that can not be read, that is no IDX, states a size that is not the number of bytes that follow, or whose
/// gzip is damaged. Offsets are those of the unpacked data.
pub fn read(path: &Path) -> Result<Array, Error> {
    let (mut file, len) = open(path)?;
    let system = |error| Error::system(path, "read", &error);
    let mut magic = Vec::new();
    file.by_ref().take(2).read_to_end(&mut magic).map_err(system)?;
    file.seek(SeekFrom::Start(0)).map_err(system)?;
    if magic == GZIP {
        let unpacked = MultiGzDecoder::new(BufReader::new(file));
        array(Source::new(path, unpacked, len), len.saturating_mul(BEST_RATIO))
    } else {
        array(Source::of_file(path, file, len), len)
    }
}

/// Reads from memory; errors name `path`.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Array, Error> {
    let len = bytes.len() as u64;
    if bytes.starts_with(&GZIP) {
        array(Source::new(path, MultiGzDecoder::new(bytes), len), len.saturating_mul(BEST_RATIO))
    } else {
        array(Source::new(path, bytes, len), len)
    }
}

/// An array from a source of at most `most` bytes.
fn array(mut source: Source, most: u64) -> Result<Array, Error> {
    let magic = source.exactly(4, "magic number", DAMAGED)?;
    if magic[..2] != [0, 0] {
        let what = format!("the file begins with {:#04x} {:#04x}, an IDX file with 0 0", magic[0], magic[1]);
        return Err(source.error(0, "magic number", what, DAMAGED));
    }
    let dtype = match magic[2] {
        0x08 => DType::U8,
        0x09 => DType::I8,
        0x0b => DType::I16,
        0x0c => DType::I32,
        0x0d => DType::F32,
        0x0e => DType::F64,
        code => return Err(source.error(2, "type", format!("{code} is no type of IDX"), DAMAGED)),
    };
    if magic[3] == 0 {
        return Err(source.error(3, "number of axes", "the array has no axes", DAMAGED));
    }
    let axes = source.exactly(4 * u64::from(magic[3]), "sizes", DAMAGED)?;
    let size = |bytes: &[u8]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let shape: Vec<usize> = axes.chunks_exact(4).map(size).collect();
    let (start, room) = (source.offset(), most.saturating_sub(source.offset()));
    let stated = dtype.bytes_of(&shape).map(|bytes| bytes as u64).filter(|&bytes| bytes <= room);
    let Some(stated) = stated else {
        let what = format!("{dtype} of shape {} needs more bytes than the file can hold ({room})", sizes(&shape));
        return Err(source.error(4, "sizes", what, DAMAGED));
    };
    let mut bytes = source.exactly(stated, "elements", DAMAGED)?;
    // This also reads the end of a gzip, where its checksum is.
    if !source.up_to(1, "end")?.is_empty() {
        let what = format!("more bytes follow the {stated} of {dtype} of shape {}", sizes(&shape));
        return Err(source.error(start + stated, "end", what, DAMAGED));
    }
    swap_bytes(&mut bytes, dtype.size());
    Ok(Array { dtype, shape, bytes })
}
