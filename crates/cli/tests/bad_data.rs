//! Data that can not be used: exactly what the program says, its exit code, and that no run folder is left.

mod common;

use std::fs;

use common::{Place, run_file, text};

#[test]
fn data_that_can_not_be_used_is_named_by_file_line_and_column() {
    let place = Place::new("data");
    place.write("run.toml", run_file("[\"Linear(2, 1)\"]"));
    for (table, message) in [
        (
            "a,b,y\n1,2,3\n1,2\n",
            "error: table.csv:3: expected 3 fields, found 2\n  add or remove fields, and put a field that holds the \
             delimiter in double quotes",
        ),
        (
            "a,b,y\n1,2,0.5\n1,two,1.5\n",
            "error: table.csv:3: \"two\" is no number\n  in column 2, \"b\"\n  correct it, remove the row, or leave the \
             column out",
        ),
        (
            "a,b,y\n1,2,0.5\n1,NaN,1.5\n",
            "error: table.csv:3: \"NaN\" is no finite number\n  in column 2, \"b\"\n  correct it, remove the row, or \
             leave the column out",
        ),
        ("a,b,y\n", "error: table.csv: the data set is empty: it has no rows\n  try rows of numbers below the header"),
        ("a,b,z\n1,2,3\n", "error: table.csv: there is no column \"y\"\n  its columns are \"a\", \"b\", \"z\""),
    ] {
        place.write("table.csv", table);
        place.fails(&["train", "run.toml"], 1, message);
    }
    fs::remove_file(place.0.join("table.csv")).unwrap();
    let message = "error: table.csv: can not read it: there is no such file or folder\n  check the spelling and the \
                   working folder";
    place.fails(&["train", "run.toml"], 1, message);
    let message = "error: batches: a batch of 2000 is larger than the data: digits has 1294 rows\n  try a batch of 1294 \
                   or less";
    place.fails(&["train", "digits", "--quiet", "--batch", "2000"], 1, message);
    assert!(!place.0.join("runs").exists(), "a run that can not begin leaves no folder");
}

#[test]
fn tables_are_checked_to_the_last_field() {
    let place = Place::new("fields");
    let regression = run_file("[\"Linear(2, 1)\"]");
    let classes = regression.replace("regression", "classification").replace("MSELoss", "CrossEntropyLoss");
    for (file, table, message) in [
        (
            &regression,
            "",
            "table.csv: the table is empty: it has no rows\n  give a file with a header and rows below it",
        ),
        (
            &regression,
            "a,b,y\n1,2,3\n1,\"2",
            "table.csv:3: a quote that opens in this row is never closed\n  close it with another `\"`, or double it to mean the sign itself",
        ),
        (
            &regression,
            "a,b,y\n1,,3\n",
            "table.csv:2: the field is empty where a number should be\n  in column 2, \"b\"\n  correct it, remove the row, or leave the column out",
        ),
        (
            &regression,
            "a,b,y\n1,2,inf\n",
            "table.csv:2: \"inf\" is no finite number\n  in column 3, \"y\"\n  correct it, remove the row, or leave the column out",
        ),
        (
            &regression,
            "a,b,y\n1,1e39,3\n",
            "table.csv: feature 1 of row 0 is inf\n  try removing the row, or filling in a number",
        ),
        (
            &regression,
            "a,b,y\n1,2,3\n",
            "table.csv: 1 rows are too few: data.test = 0.25 leaves a part without rows\n  try more rows, or --data.test 0",
        ),
        (
            &regression,
            "1,2,3\n4,5,6\n",
            "table.csv:1: the header is missing: the first row is numbers\n  write the names of the columns above it, or read it as a table without a header",
        ),
        (
            &classes,
            "a,b,y\n1,2,cat\n1,2,\n",
            "table.csv:3: the target is empty\n  in column 3, \"y\"\n  try filling it in, or removing the row",
        ),
        (
            &classes,
            "a,b,y\n1,2,cat\n3,4,cat\n",
            "table.csv: the target \"y\" has a single class, \"cat\"\n  try a target with two classes at least",
        ),
    ] {
        place.write("run.toml", file);
        place.write("table.csv", table);
        place.fails(&["train", "run.toml"], 1, &format!("error: {message}"));
    }
    fs::create_dir(place.0.join("folder")).unwrap();
    place.fails(
        &["train", "run.toml", "--data.path", "folder"],
        1,
        "error: folder: it is a folder\n  name a file in it",
    );
}

#[test]
fn rows_for_a_trained_model_are_checked_against_it() {
    let place = Place::new("rows");
    place.write("table.csv", "a,b,y\n1,2,cat\n2,1,dog\n1,3,cat\n3,1,dog\n1,4,cat\n4,1,dog\n1,5,cat\n5,1,dog\n");
    let file = run_file("[\"Linear(2, 2)\"]");
    place.write("pets.toml", file.replace("regression", "classification").replace("MSELoss", "CrossEntropyLoss"));
    place.ok(&["train", "pets.toml", "--quiet"]);
    for (table, message) in [
        (
            "a,b,y\n1,2,cow\n",
            "error: new.csv:2: \"cow\" is no class of the model\n  in column 3, \"y\"\n  try one of cat, dog",
        ),
        ("a,y\n1,cat\n", "error: new.csv: there is no column \"b\"\n  its columns are \"a\", \"y\""),
        ("a,b,y\n", "error: new.csv: the data set is empty: it has no rows\n  try rows of numbers below the header"),
    ] {
        place.write("new.csv", table);
        place.fails(&["eval", "runs/pets", "--data", "new.csv"], 1, message);
    }
    for (file, rows, message) in [
        (
            "new.csv",
            "a,b\n1,NaN\n",
            "error: new.csv:2: \"NaN\" is no finite number\n  in column 2, \"b\"\n  correct it, remove the row, or leave the column out",
        ),
        (
            "new.csv",
            "a,b\n",
            "error: new.csv: the data set is empty: it has no rows\n  try rows of numbers below the header",
        ),
        ("new.json", "[[1, \"two\"]]", "error: new.json: row 0: feature 1 is \"two\", not a number"),
        ("new.json", "[[1, 2]", "error: new.json: EOF while parsing a list at line 1 column 7"),
        ("new.json", "[{\"a\": 1}]", "error: new.json: row 0: no \"b\""),
        ("new.json", "[]", "error: new.json: row 0: 0 features, the model was trained on 2"),
        (
            "new.csv",
            "",
            "error: new.csv: the table is empty: it has no rows\n  give a file with a header and rows below it",
        ),
    ] {
        place.write(file, rows);
        place.fails(&["predict", "runs/pets", file], 1, message);
    }
}

/// An IDX file of bytes.
fn idx(sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let sizes_bytes: Vec<u8> = sizes.iter().flat_map(|size| size.to_be_bytes()).collect();
    [&[0, 0, 8, sizes.len() as u8][..], &sizes_bytes, elements].concat()
}

/// As a gzip file of one block that is stored as it is (RFC 1951, 3.2.4; RFC 1952), with a wrong checksum.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len() as u16;
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    [&head[..], &len.to_le_bytes(), &(!len).to_le_bytes(), bytes, &[0; 8]].concat()
}

#[test]
fn idx_files_that_lie_or_are_missing_are_named() {
    let place = Place::new("mnist");
    let message = "error: none/train-images-idx3-ubyte: can not read it: there is no such file or folder\n  check the \
                   spelling and the working folder";
    place.fails(&["train", "mnist", "none"], 1, message);
    // Two images of 2×2 pixels are promised, one is there.
    place.write("short/train-images-idx3-ubyte", [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4]);
    let output = place.run(&["train", "mnist", "short"]);
    let message = "error: short/train-images-idx3-ubyte: u8 of shape [2, 2, 2] needs more bytes than the file can hold \
                   (4)\n  at byte 4, sizes\n  the file is damaged or is no IDX file; get it again\n";
    assert_eq!(text(&output.stderr), message);
    assert_eq!(output.status.code(), Some(1));
    place.fails(
        &["train", "mnist"],
        2,
        "error: train: mnist needs the folder of its files\n  try limpid train mnist DIR",
    );
}

#[test]
fn files_of_mnist_are_checked_to_the_last_byte() {
    let images = idx(&[3, 2, 2], &[7; 12]);
    let labels = idx(&[3], &[0, 1, 2]);
    let huge = idx(&[u32::MAX, u32::MAX, u32::MAX], &[7; 12]);
    let (images_gz, cut_gz) = ("mnist/train-images-idx3-ubyte.gz", packed(&images));
    for (file, bytes, message) in [
        (
            "mnist/train-images-idx3-ubyte",
            images[..9].to_vec(),
            "mnist/train-images-idx3-ubyte: sizes should have 12 bytes, 5 are there\n  at byte 4, sizes\n  the file is damaged or is no IDX file; get it again",
        ),
        (
            "mnist/train-images-idx3-ubyte",
            images[..20].to_vec(),
            "mnist/train-images-idx3-ubyte: u8 of shape [3, 2, 2] needs more bytes than the file can hold (4)\n  at byte 4, sizes\n  the file is damaged or is no IDX file; get it again",
        ),
        (
            "mnist/train-images-idx3-ubyte",
            [&images[..], &[1]].concat(),
            "mnist/train-images-idx3-ubyte: more bytes follow the 12 of u8 of shape [3, 2, 2]\n  at byte 28, end\n  the file is damaged or is no IDX file; get it again",
        ),
        (
            "mnist/train-images-idx3-ubyte",
            huge,
            "mnist/train-images-idx3-ubyte: u8 of shape [4294967295, 4294967295, 4294967295] needs more bytes than the file can hold (12)\n  at byte 4, sizes\n  the file is damaged or is no IDX file; get it again",
        ),
        (
            "mnist/train-images-idx3-ubyte",
            Vec::new(),
            "mnist/train-images-idx3-ubyte: magic number should have 4 bytes, 0 are there\n  at byte 0, magic number\n  the file is damaged or is no IDX file; get it again",
        ),
        (
            "mnist/train-images-idx3-ubyte",
            b"<html>not found</html>".to_vec(),
            "mnist/train-images-idx3-ubyte: the file begins with 0x3c 0x68, an IDX file with 0 0\n  at byte 0, magic number\n  the file is damaged or is no IDX file; get it again",
        ),
        (
            "mnist/train-images-idx3-ubyte",
            idx(&[12], &[7; 12]),
            "mnist/train-images-idx3-ubyte: it holds u8 of shape [12], not u8 of 3 axes\n  try the file of this name from MNIST",
        ),
        (
            "mnist/train-images-idx3-ubyte",
            idx(&[0, 2, 2], &[]),
            "mnist/train-labels-idx1-ubyte: 3 labels for 0 images in mnist/train-images-idx3-ubyte\n  try the files of one data set",
        ),
        (
            "mnist/train-labels-idx1-ubyte",
            idx(&[2], &[0, 1]),
            "mnist/train-labels-idx1-ubyte: 2 labels for 3 images in mnist/train-images-idx3-ubyte\n  try the files of one data set",
        ),
        (
            "mnist/train-labels-idx1-ubyte",
            idx(&[3], &[0, 10, 2]),
            "mnist/train-labels-idx1-ubyte: label 1 is 10, but there are 10 classes\n  at byte 9, labels\n  try labels from 0 to 9",
        ),
        (
            "mnist/t10k-images-idx3-ubyte",
            idx(&[3, 3, 2], &[7; 18]),
            "mnist: training images have 4 pixels, test images 6",
        ),
        (
            images_gz,
            cut_gz[..cut_gz.len() - 12].to_vec(),
            "mnist/train-images-idx3-ubyte.gz: the gzip is cut short, or something follows it\n  at byte 24, elements\n  get the file again",
        ),
        (
            images_gz,
            cut_gz[..12].to_vec(),
            "mnist/train-images-idx3-ubyte.gz: the gzip is cut short, or something follows it\n  at byte 0, magic number\n  get the file again",
        ),
        (
            images_gz,
            cut_gz,
            "mnist/train-images-idx3-ubyte.gz: the gzip is damaged: corrupt gzip stream does not have a matching checksum\n  at byte 28, end\n  get the file again",
        ),
    ] {
        let place = Place::new("mnist-bytes");
        for prefix in ["train", "t10k"] {
            place.write(&format!("mnist/{prefix}-images-idx3-ubyte"), &images);
            place.write(&format!("mnist/{prefix}-labels-idx1-ubyte"), &labels);
        }
        if let Some(plain) = file.strip_suffix(".gz") {
            fs::remove_file(place.0.join(plain)).unwrap();
        }
        place.write(file, bytes);
        place.fails(&["train", "mnist", "mnist"], 1, &format!("error: {message}"));
        assert!(!place.0.join("runs").exists(), "a run that can not begin leaves no folder");
    }
    let place = Place::new("mnist-empty");
    place.write("none/train-images-idx3-ubyte", idx(&[0, 2, 2], &[]));
    place.write("none/train-labels-idx1-ubyte", idx(&[0], &[]));
    let message = "error: mnist: the data set is empty: it has no rows\n  try data with a row at least";
    place.fails(&["train", "mnist", "none"], 1, message);
}
