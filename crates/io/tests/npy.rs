//! NPY files, sound and broken.

mod common;

use common::{Messages, folder};
use limpid_io::npy::{encode, parse, read, write};
use limpid_io::{Array, DType};
use std::path::Path;

fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    let length = (header.len() as u32).to_le_bytes();
    bytes.extend(&length[..if version == 1 { 2 } else { 4 }]);
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn broken_files_are_refused_with_place_and_reason() {
    let mut messages = Messages::default();
    let cases = [
        ("no dictionary", "descr"),
        ("not closed", "{'descr': '<f4', "),
        ("text after it", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x"),
        ("code", "__import__('os').system('true')"),
        ("code in a member", "{'descr': '<f4', 'fortran_order': False, 'shape': (1 + 1,)}"),
        ("no descr", "{'fortran_order': False, 'shape': (1,)}"),
        ("no order", "{'descr': '<f4', 'shape': (1,)}"),
        ("no shape", "{'descr': '<f4', 'fortran_order': False}"),
        ("twice", "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}"),
        ("another member", "{'descr': '<f4', 'more': 1}"),
        ("text not closed", "{'descr: 1"),
        ("order is a number", "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}"),
        ("negative size", "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        ("size over 64 bits", "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,)}"),
        ("sizes overflow", "{'descr': '<f4', 'fortran_order': True, 'shape': (9223372036854775807, 9)}"),
        ("too large", "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}"),
        ("too small", "{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}"),
        ("objects", "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"),
        ("complex", "{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}"),
        ("text", "{'descr': '<U3', 'fortran_order': False, 'shape': (1,)}"),
        ("records", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}"),
        ("no byte order", "{'descr': '|f4', 'fortran_order': False, 'shape': (1,)}"),
        ("odd letters in the type", "{'descr': 'äf4', 'fortran_order': False, 'shape': (1,)}"),
        ("no type", "{'descr': '', 'fortran_order': False, 'shape': (1,)}"),
    ];
    for (case, header) in cases {
        messages.add(case, parse(Path::new("x.npy"), &file(1, header, &[0; 4])));
    }
    let bytes: [(&str, Vec<u8>); 6] = [
        ("empty", vec![]),
        ("another magic", b"PK\x03\x04abcdef".to_vec()),
        ("version 4", file(4, "{}", &[])),
        ("no length", file(2, "", &[])[..10].to_vec()),
        ("header after the end", file(1, "{}", &[])[..11].to_vec()),
        ("header as long as memory", [&file(2, "", &[])[..8], &[255; 4]].concat()),
    ];
    for (case, bytes) in bytes {
        messages.add(case, parse(Path::new("x.npy"), &bytes));
    }
    messages.add("no file", read(Path::new("nowhere/x.npy")));
    let bf16 = Array { dtype: DType::BF16, shape: vec![1], bytes: vec![0; 2] };
    messages.add("bf16 written", encode(Path::new("x.npy"), &bf16));
    messages.add("other bytes written", encode(Path::new("x.npy"), &Array { shape: vec![2], ..bf16 }));
    messages.compare(include_str!("messages/npy.txt"));
}

#[test]
fn both_orders_of_bytes_and_axes() {
    let values: Vec<i16> = (0..24).collect();
    let wanted: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let swapped: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    // Element [i, j, k] of shape [2, 3, 4] is 12i + 4j + k; in column-major order i runs fastest.
    let mut columns = Vec::new();
    for k in 0..4 {
        for j in 0..3 {
            columns.extend((0..2).flat_map(|i| (12 * i + 4 * j + k as i16).to_be_bytes()));
        }
    }
    let header =
        |order, fortran| format!("{{'descr': '{order}i2', 'fortran_order': {fortran}, 'shape': (2, 3, 4), }}  \n");
    for version in [1, 2, 3] {
        let cases = [("<", "False", &wanted), (">", "False", &swapped), (">", "True", &columns)];
        for (order, fortran, data) in cases {
            let read = parse(Path::new("x"), &file(version, &header(order, fortran), data)).unwrap();
            assert_eq!(
                read,
                Array { dtype: DType::I16, shape: vec![2, 3, 4], bytes: wanted.clone() },
                "{order} {fortran}"
            );
        }
    }
    let long = "{\"shape\": (2L, 1L), \"fortran_order\": True, \"descr\": \">i2\"}";
    assert_eq!(parse(Path::new("x"), &file(1, long, &[0, 1, 0, 2])).unwrap().bytes, [1, 0, 2, 0]);
    let empty = "{'shape': (9223372036854775807, 0, 8), 'fortran_order': True, 'descr': '|u1'}";
    assert_eq!(parse(Path::new("x"), &file(1, empty, &[])).unwrap().bytes, [0; 0]);
}

#[test]
fn what_is_written_is_read_back() {
    let folder = folder("npy");
    for dtype in DType::ALL.into_iter().filter(|&dtype| dtype != DType::BF16) {
        for shape in [vec![], vec![3], vec![2, 0, 3], vec![2, 3], vec![1; 40]] {
            let bytes = (0..dtype.bytes_of(&shape).unwrap()).map(|at| at as u8).collect();
            let array = Array { dtype, shape, bytes };
            let path = folder.join("x.npy");
            write(&path, &array).unwrap();
            assert_eq!(read(&path).unwrap(), array);
            let file = std::fs::read(&path).unwrap();
            assert_eq!((file.len() - array.bytes.len()) % 64, 0);
            assert_eq!(encode(&path, &array).unwrap(), file);
        }
    }
}

/// The bytes of `numpy.save` for `numpy.arange(3, dtype="<f4")`.
#[test]
fn the_bytes_are_those_of_numpy() {
    let bytes: Vec<u8> = [0f32, 1.0, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let array = Array { dtype: DType::F32, shape: vec![3], bytes: bytes.clone() };
    let mut wanted = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }".to_vec();
    wanted.resize(127, b' ');
    wanted.push(b'\n');
    wanted.extend(bytes);
    assert_eq!(encode(Path::new("x"), &array).unwrap(), wanted);
}
