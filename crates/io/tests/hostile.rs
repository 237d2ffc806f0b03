//! Damage at every byte of a sound file: an error or a sound document, never a panic, never memory that a file asks
//! for without having the bytes.

mod common;

use common::Random;
use flate2::{Compression, write::GzEncoder};
use limpid_io::{Array, DType, Error, csv, idx, npy, safetensors};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// A format: its name, sound files, and a reader that checks what it reads.
type Format = (&'static str, Vec<Vec<u8>>, fn(&[u8]) -> Result<(), Error>);

fn path() -> &'static Path {
    Path::new("file")
}

fn check(array: &Array, file: &[u8]) {
    assert_eq!(array.dtype.bytes_of(&array.shape), Some(array.bytes.len()));
    assert!(array.bytes.len() <= file.len() * 1032);
}

fn read_safetensors(file: &[u8]) -> Result<(), Error> {
    let archive = safetensors::parse(path(), file)?;
    for entry in &archive.tensors {
        assert_eq!(entry.dtype.bytes_of(&entry.shape), Some(entry.bytes.len()));
    }
    let total: usize = archive.tensors.iter().map(|entry| entry.bytes.len()).sum();
    assert!(total < file.len());
    let again = safetensors::encode(path(), &archive.views(), &archive.metadata)?;
    assert_eq!(safetensors::parse(path(), &again)?.metadata, archive.metadata);
    Ok(())
}

fn read_idx(file: &[u8]) -> Result<(), Error> {
    idx::parse(path(), file).map(|array| check(&array, file))
}

fn read_npy(file: &[u8]) -> Result<(), Error> {
    npy::parse(path(), file).map(|array| check(&array, file))
}

fn read_csv(file: &[u8]) -> Result<(), Error> {
    let table = csv::parse(path(), file, csv::Dialect::CSV)?;
    assert!(table.rows.iter().all(|row| row.fields.len() == table.header.len()));
    assert!(table.rows.is_sorted_by(|a, b| a.line < b.line));
    let names: Vec<&str> = table.header.iter().map(String::as_str).collect();
    table.numeric(&names).map(|numbers| assert!(numbers.iter().all(|number| number.is_finite())))
}

fn formats() -> [Format; 4] {
    let tensor = |name, dtype, shape, bytes| safetensors::View { name, dtype, shape, bytes };
    let views = [
        tensor("layers.0.weight", DType::F32, &[2, 3][..], &[1; 24][..]),
        tensor("b", DType::F16, &[], &[2; 2]),
        tensor("c", DType::U8, &[0, 4], &[]),
    ];
    let metadata: BTreeMap<String, String> = [("format".to_owned(), "pt\u{1f600}".to_owned())].into();
    let mut plain = b"\0\0\x0c\x02\0\0\0\x02\0\0\0\x03".to_vec();
    plain.extend(0..24);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&plain).unwrap();
    let array = |shape: &[usize]| Array { dtype: DType::F64, shape: shape.to_vec(), bytes: vec![3; 48] };
    let header = b"{'descr': '>u2', 'fortran_order': True, 'shape': (2, 3), }  \n";
    let length = (header.len() as u32).to_le_bytes();
    let columns = [&b"\x93NUMPY\x02\0"[..], &length, header, b"0123456789ab"].concat();
    let table = "a,b,\"c \"\"d\"\"\"\r\n1,2.5,-3e-2\r\n\r\n\"4\",5,6\r\n";
    [
        ("safetensors", vec![safetensors::encode(path(), &views, &metadata).unwrap()], read_safetensors),
        ("idx", vec![plain, gzip.finish().unwrap()], read_idx),
        ("npy", vec![npy::encode(path(), &array(&[2, 3])).unwrap(), columns], read_npy),
        ("csv", vec![table.into(), format!("\u{feff}{table}7,8,9").into()], read_csv),
    ]
}

/// Reads a damaged file; an error must be fit to be printed.
fn survives(read: fn(&[u8]) -> Result<(), Error>, file: &[u8]) -> bool {
    let Err(error) = read(file) else { return true };
    let text = error.to_string();
    assert!(text.starts_with("file:") && matches!(text.lines().count(), 2 | 3) && text.len() < 1000, "{text}");
    assert!(!error.what.is_empty() && !error.help.is_empty(), "{error:?}");
    false
}

/// The most memory that this process ever had mapped, in KiB; 0 where that is not told.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

// One test: the peak is that of the whole process.
#[test]
fn damage_at_every_byte() {
    let seed = 0xbad_f11e;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let before = peak();
    for (name, files, read) in formats() {
        for file in files {
            assert!(survives(read, &file), "{name}: the sound file is read");
            for end in 0..file.len() {
                let whole = survives(read, &file[..end]);
                assert!(!whole || name == "csv", "{name}: was read though it ends at byte {end}");
            }
            for at in 0..file.len() {
                for value in (0..8).map(|bit| file[at] ^ 1 << bit).chain([0, 9, b'"', b'9', 0x7f, 0xff]) {
                    let mut damaged = file.clone();
                    damaged[at] = value;
                    survives(read, &damaged);
                }
                survives(read, &[&file[..at], &file[at + 1..]].concat());
            }
            for _ in 0..3000 {
                survives(read, &mangled(&mut random, &file));
            }
        }
    }
    let grown = peak() - before;
    assert!(grown < 256 << 10, "{grown} KiB of memory for files under 1 KiB");
}

/// A few random edits: bytes set, a piece doubled, a piece cut out, digits put in front of digits.
fn mangled(random: &mut Random, file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(file.len());
        let end = (at + random.below(12)).min(file.len());
        match random.below(4) {
            0 => file[at] = random.below(256) as u8,
            1 => drop(file.splice(at..at, file[at..end].to_vec())),
            2 => drop(file.splice(at..at, *b"99999")),
            _ if file.len() - (end - at) > 1 => drop(file.drain(at..end)),
            _ => {}
        }
    }
    file
}
