//! Safetensors files, sound and broken.

mod common;

use common::{Messages, Random, files, folder, shared};
use limpid_io::DType;
use limpid_io::safetensors::{Archive, Entry, View, encode, parse, read, read_header, write};
use std::collections::BTreeMap;
use std::path::Path;

fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(std::iter::repeat_n(7, data));
    bytes
}

fn entry(name: &str, dtype: DType, shape: &[usize]) -> Entry {
    let bytes = (0..dtype.bytes_of(shape).unwrap()).map(|at| at as u8).collect();
    Entry { name: name.into(), dtype, shape: shape.to_vec(), bytes }
}

#[test]
fn broken_files_are_refused_with_place_and_reason() {
    let mut messages = Messages::default();
    let long = format!(r#"{{"{}":{{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}}}"#, "n".repeat(100));
    let axes = format!(r#"{{"a":{{"dtype":"F32","shape":[{}1],"data_offsets":[0,8]}}}}"#, "1,".repeat(50));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let texts: [(&str, &str, usize); 33] = [
        ("no object", "[]", 0),
        ("space before the object", " {}", 0),
        ("empty header", "", 0),
        ("cut JSON", r#"{"a":"#, 0),
        ("not JSON", r#"{"a": nothing}"#, 0),
        ("not JSON on the second line", "{\n \"a\" 1}", 0),
        ("text after the object", "{} x", 0),
        ("too deep", &deep, 0),
        ("tensor is no object", r#"{"a":[1,2]}"#, 0),
        ("name twice", r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{}}"#, 1),
        ("member twice", r#"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1),
        ("metadata is no object", r#"{"__metadata__":3}"#, 0),
        ("metadata is no text", r#"{"__metadata__":{"format":1}}"#, 0),
        ("metadata twice", r#"{"__metadata__":{"a":"1"},"__metadata__":{"a":"2"}}"#, 0),
        ("metadata key twice", r#"{"__metadata__":{"a":"1","a":"2"}}"#, 0),
        ("no dtype", r#"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, 4),
        ("no shape", r#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4),
        ("no offsets", r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4),
        ("unknown dtype", r#"{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#, 1),
        ("lower-case dtype", r#"{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}"#, 4),
        ("dtype is no text", r#"{"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}}"#, 4),
        ("negative size", r#"{"a":{"dtype":"F32","shape":[2,-1],"data_offsets":[0,4]}}"#, 4),
        ("size with a point", r#"{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#, 4),
        ("size over 64 bits", r#"{"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}}"#, 4),
        ("sizes overflow", r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0),
        (
            "sizes overflow before 0",
            r#"{"a":{"dtype":"F32","shape":[9223372036854775807,4,0],"data_offsets":[0,0]}}"#,
            0,
        ),
        ("three offsets", r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#, 4),
        ("offsets backwards", r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#, 8),
        ("long name", &long, 8),
        ("many axes", &axes, 8),
        ("ends after the file", r#"{"a":{"dtype":"U8","shape":[9000000000000],"data_offsets":[0,9000000000000]}}"#, 4),
        ("bytes after the last", r#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#, 4),
        ("bytes of nobody", "{}", 1),
    ];
    for (case, header, data) in texts {
        messages.add(case, parse(Path::new("net.safetensors"), &file(header, data)));
    }
    let two = |a: [u64; 2], b: [u64; 2]| {
        let tensor = |at: [u64; 2]| format!(r#"{{"dtype":"U8","shape":[{}],"data_offsets":{at:?}}}"#, at[1] - at[0]);
        file(&format!(r#"{{"a":{},"b":{}}}"#, tensor(a), tensor(b)), 8)
    };
    let bytes: [(&str, Vec<u8>); 9] = [
        ("overlap", two([0, 5], [4, 8])),
        ("the same bytes", two([0, 8], [0, 8])),
        ("an empty one inside", two([0, 8], [4, 4])),
        ("hole", two([0, 3], [4, 8])),
        ("hole in front", two([4, 8], [2, 4])),
        ("empty file", vec![]),
        ("seven bytes", vec![1; 7]),
        ("header as long as memory", u64::MAX.to_le_bytes().to_vec()),
        ("not UTF-8", [&4u64.to_le_bytes()[..], b"{\"\xff\""].concat()),
    ];
    for (case, bytes) in bytes {
        messages.add(case, parse(Path::new("net.safetensors"), &bytes));
    }
    messages.add("no file", read(Path::new("nowhere/net.safetensors")));
    messages.add("a device", read_header(Path::new("/dev/null")));
    messages.compare(include_str!("messages/safetensors.txt"));
}

#[test]
fn a_header_over_100_mb_is_refused_before_it_is_read() {
    let path = folder("long_header").join("long.safetensors");
    let file = std::fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut &file, &100_000_001_u64.to_le_bytes()).unwrap();
    file.set_len(200_000_000).unwrap();
    let error = read(&path).unwrap_err();
    assert_eq!(error.what, "the header would have 100000001 bytes; at most 100000000 are read");
}

#[test]
fn what_is_written_is_read_back() {
    let tensors: Vec<Entry> = DType::ALL.iter().map(|&dtype| entry(dtype.name(), dtype, &[2, 3])).collect();
    let more = [entry("é \"quoted\"\n", DType::F32, &[]), entry("", DType::I64, &[0, 5]), entry("z", DType::U8, &[1])];
    let metadata: BTreeMap<String, String> =
        [("format", "pt"), ("a\u{1}", "ü\"")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let archive = Archive { tensors: [&tensors[..], &more].concat(), metadata };

    let path = folder("round_trip").join("all.safetensors");
    write(&path, &archive.views(), &archive.metadata).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes, encode(&path, &archive.views(), &archive.metadata).unwrap());
    assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()) % 8, 0);

    let back = read(&path).unwrap();
    assert_eq!(back.metadata, archive.metadata);
    assert_eq!(back.tensors.len(), archive.tensors.len());
    archive.tensors.iter().for_each(|entry| assert_eq!(back.get(&entry.name), Some(entry)));
    let widths: Vec<usize> = back.tensors.iter().map(|entry| entry.dtype.size()).collect();
    assert!(widths.is_sorted_by(|a, b| a >= b), "wider elements first: {widths:?}");

    let header = read_header(&path).unwrap();
    let described: Vec<_> = header.tensors.iter().map(|info| (&info.name, info.dtype, &info.shape)).collect();
    let there: Vec<_> = back.tensors.iter().map(|entry| (&entry.name, entry.dtype, &entry.shape)).collect();
    assert_eq!((described, header.metadata), (there, back.metadata));
}

#[test]
fn an_empty_archive_is_ten_bytes_of_header() {
    let bytes = encode(Path::new("x"), &[], &BTreeMap::new()).unwrap();
    assert_eq!(bytes, b"\x08\0\0\0\0\0\0\0{}      ");
    assert_eq!(parse(Path::new("x"), &bytes).unwrap(), Archive::default());
}

#[test]
fn random_archives_survive() {
    let seed = 0x5afe_7e50;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    for _ in 0..200 {
        let mut tensors: Vec<Entry> = (0..random.below(6))
            .map(|at| {
                let shape: Vec<usize> = (0..random.below(4)).map(|_| random.below(5)).collect();
                entry(&format!("{}.{at}", random.below(100)), DType::ALL[random.below(13)], &shape)
            })
            .collect();
        let views: Vec<View> = tensors.iter().map(Entry::view).collect();
        let mut back = parse(Path::new("x"), &encode(Path::new("x"), &views, &BTreeMap::new()).unwrap()).unwrap();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        back.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(back.tensors, tensors);
    }
}

#[test]
fn the_order_of_the_header_is_kept_whatever_the_order_of_the_bytes() {
    let header = r#"{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2],"more":null},"e":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}  "#;
    let mut bytes = file(header, 0);
    bytes.extend([10, 20]);
    let read = parse(Path::new("x"), &bytes).unwrap();
    let seen: Vec<(&str, &[u8])> = read.tensors.iter().map(|entry| (&entry.name[..], &entry.bytes[..])).collect();
    assert_eq!(seen, [("b", &[20][..]), ("e", &[]), ("a", &[10])]);
}

#[test]
fn what_can_not_be_written_leaves_no_file() {
    let folder = folder("refused");
    let path = folder.join("x.safetensors");
    let (a, wrong) = (entry("a", DType::F32, &[2]), View { name: "b", dtype: DType::F32, shape: &[3], bytes: &[0; 8] });
    let cases = [
        (vec![a.view(), a.view()], "two things have the name \"a\""),
        (vec![View { name: "__metadata__", ..a.view() }], "two things have the name \"__metadata__\""),
        (vec![wrong], "tensor \"b\": 8 bytes are not f32 of shape [3]"),
    ];
    for (views, what) in cases {
        assert_eq!(write(&path, &views, &BTreeMap::new()).unwrap_err().what, what);
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
}

/// Python's and Rust's reference libraries wrote these files: writing them again gives the same bytes.
#[test]
fn real_files_are_written_again_byte_for_byte() {
    let mut count = 0;
    for place in ["conformance/torch", "models"] {
        let Some(folder) = shared(place) else { return };
        for path in files(&folder, "safetensors") {
            let archive = read(&path).unwrap_or_else(|error| panic!("{error}"));
            let layout: Vec<_> = archive.tensors.iter().map(|it| (std::cmp::Reverse(it.dtype), &it.name)).collect();
            if !layout.is_sorted() {
                println!("{} is not of the reference libraries", path.display());
                continue;
            }
            let mut again = encode(&path, &archive.views(), &archive.metadata).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            if archive.metadata.len() > 1 {
                // The reference libraries write metadata in the order of a hash table.
                let header = |bytes: &[u8]| 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
                assert_eq!(header(&bytes), header(&again));
                again.drain(..header(&bytes));
                bytes.drain(..header(&bytes));
            }
            assert!(bytes == again, "{} is written differently", path.display());
            count += 1;
        }
    }
    assert!(count > 400, "{count} files");
}
