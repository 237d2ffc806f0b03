//! IDX files, sound and broken, plain and packed.

mod common;

use common::{Messages, folder, shared};
use flate2::{Compression, write::GzEncoder};
use limpid_io::idx::{parse, read};
use limpid_io::{Array, DType};
use std::io::Write;
use std::path::Path;

fn file(code: u8, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn broken_files_are_refused_with_place_and_reason() {
    let mut messages = Messages::default();
    let good = file(8, &[2, 3], &[1, 2, 3, 4, 5, 6]);
    let with = |at: usize, bytes: &[u8]| {
        let mut file = packed(&good);
        let at = if at == usize::MAX { file.len() } else { at };
        file.splice(at..file.len().min(at + bytes.len()), bytes.iter().copied());
        file
    };
    let checksum = packed(&good).len() - 8;
    let cases: [(&str, Vec<u8>); 20] = [
        ("empty", vec![]),
        ("three bytes", vec![0, 0, 8]),
        ("wrong magic", b"PK\x03\x04".to_vec()),
        ("unknown type", file(10, &[1], &[0])),
        ("no axes", file(8, &[], &[0])),
        ("cut in the sizes", good[..9].to_vec()),
        ("cut in the elements", good[..13].to_vec()),
        ("one byte more", file(8, &[2, 3], &[0; 7])),
        ("sizes of 2^64", file(8, &[u32::MAX, u32::MAX], &[0; 7])),
        ("sizes overflow", file(14, &[u32::MAX; 3], &[0; 7])),
        ("sizes overflow with many axes", file(14, &[2; 255], &[0; 7])),
        ("sizes larger than the file", file(8, &[0xffff, 0xffff], &[0; 7])),
        ("packed, cut in the elements", packed(&good[..13])),
        ("packed, one byte more", packed(&file(8, &[2, 3], &[0; 7]))),
        ("packed, a bomb", packed(&file(8, &[2, 3], &[0; 1 << 20]))),
        ("packed, sizes that can not be", packed(&file(8, &[0xffff, 0xffff], &[0; 7]))),
        ("packed, cut in the gzip", with(30, &[])[..30].to_vec()),
        ("packed, cut in the checksum", packed(&good)[..checksum + 3].to_vec()),
        ("packed, wrong checksum", with(checksum, &[1, 2, 3, 4])),
        ("packed, junk after it", with(usize::MAX, b"junk")),
    ];
    for (case, bytes) in cases {
        messages.add(case, parse(Path::new("digits.idx"), &bytes));
    }
    messages.add("no file", read(Path::new("nowhere/digits.idx")));
    messages.add("a folder", read(Path::new("/")));
    messages.compare(include_str!("messages/idx.txt"));
}

#[test]
fn every_type_is_read_as_little_endian() {
    let path = folder("idx").join("x.idx");
    let cases = [
        (0x08, DType::U8, vec![1, 255], vec![1, 255]),
        (0x09, DType::I8, vec![1, 255], vec![1, 255]),
        (0x0b, DType::I16, vec![0, 1, 255, 254], vec![1, 0, 254, 255]),
        (0x0c, DType::I32, [1i32, -2].map(i32::to_be_bytes).concat(), [1i32, -2].map(i32::to_le_bytes).concat()),
        (0x0d, DType::F32, [1f32, -2.5].map(f32::to_be_bytes).concat(), [1f32, -2.5].map(f32::to_le_bytes).concat()),
        (0x0e, DType::F64, [1f64, -2.5].map(f64::to_be_bytes).concat(), [1f64, -2.5].map(f64::to_le_bytes).concat()),
    ];
    for (code, dtype, stored, bytes) in cases {
        let wanted = Array { dtype, shape: vec![2, 1], bytes };
        let file = file(code, &[2, 1], &stored);
        for file in [file.clone(), packed(&file)] {
            std::fs::write(&path, &file).unwrap();
            assert_eq!(read(&path).unwrap(), wanted);
            assert_eq!(parse(&path, &file).unwrap(), wanted);
        }
    }
    assert_eq!(parse(&path, &file(8, &[0, 28], &[])).unwrap().shape, [0, 28]);
}

#[test]
fn a_gzip_of_several_members_is_one_file() {
    let file = file(8, &[4], &[1, 2, 3, 4]);
    let members = [packed(&file[..5]), packed(&file[5..])].concat();
    assert_eq!(parse(Path::new("x"), &members).unwrap().bytes, [1, 2, 3, 4]);
}

#[test]
fn mnist() {
    let Some(folder) = shared("data/mnist") else { return };
    for (part, count) in [("train", 60_000), ("t10k", 10_000)] {
        let images = read(&folder.join(format!("{part}-images-idx3-ubyte.gz"))).unwrap();
        let labels = read(&folder.join(format!("{part}-labels-idx1-ubyte.gz"))).unwrap();
        assert_eq!((images.dtype, &images.shape[..]), (DType::U8, &[count, 28, 28][..]));
        assert_eq!((labels.dtype, &labels.shape[..]), (DType::U8, &[count][..]));
        assert!(labels.bytes.iter().all(|&label| label < 10));
        if part == "train" {
            assert_eq!(labels.bytes[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
            // The mean that every tutorial divides by: 0.1307 of 255.
            let mean = images.bytes.iter().map(|&it| f64::from(it)).sum::<f64>() / images.bytes.len() as f64 / 255.0;
            assert!((mean - 0.130_660_4).abs() < 1e-6, "{mean}");
        }
    }
}
