//! Tables of text, sound and broken.

mod common;

use common::{Messages, files, folder, shared};
use limpid_io::csv::{Dialect, Table, parse, read, read_as};
use std::path::Path;

fn table(text: &str) -> Table {
    parse(Path::new("t.csv"), text.as_bytes(), Dialect::CSV).unwrap_or_else(|error| panic!("{error}"))
}

/// The rows as `line: a|b`.
fn rows(table: &Table) -> Vec<String> {
    table.rows.iter().map(|row| format!("{}: {}", row.line, row.fields.join("|"))).collect()
}

#[test]
fn broken_tables_are_refused_with_line_and_reason() {
    let mut messages = Messages::default();
    let long = [&b"a,b\n1,2,"[..], &[b'x'; 5000]].concat();
    let cases: [(&str, &[u8]); 15] = [
        ("empty file", b""),
        ("only blank lines", b"\n\r\n\n"),
        ("only a byte order mark", b"\xef\xbb\xbf"),
        ("no header", b"1,2.5\n3,4\n"),
        ("name twice", b"a,b,a\n1,2,3\n"),
        ("no name twice", b"a,,\n1,2,3\n"),
        ("too few fields", b"a,b\n1,2\n3\n"),
        ("too many fields", b"a,b\n1,2\n\n3,4,5\n"),
        ("too many fields after a quoted line end", b"a,b\r\n\"1\r\n1\",2\r\n3,4,5\r\n"),
        ("quote never closed", b"a,b\n1,\"2\n3,4\n"),
        ("quote never closed in the header", b"a,\"b\n1,2\n3,4"),
        ("not UTF-8", b"a,b\n1,caf\xe9\n"),
        ("header not UTF-8", b"caf\xe9,b\n1,2\n"),
        ("UTF-16", b"\xff\xfea\0,\0b\0\n\0"),
        ("a long field too many", &long),
    ];
    for (case, bytes) in cases {
        messages.add(case, parse(Path::new("t.csv"), bytes, Dialect::CSV));
    }
    let fields: [(&str, &str); 9] = [
        ("a text", "abc"),
        ("empty", ""),
        ("spaces", "\"  \""),
        ("NaN", "nan"),
        ("infinity", "-inf"),
        ("too large", "1e999"),
        ("decimal comma", "\"3,5\""),
        ("hexadecimal", "0x10"),
        ("a line end in it", "\"1\n2\""),
    ];
    for (case, field) in fields {
        let table = table(&format!("name,age\n\nx,1\ny,{field}\n"));
        messages.add(&format!("no number: {case}"), table.numeric(&["age"]));
    }
    messages.add("no such column", table("name,age\nx,1\n").numeric(&["age", "size"]));
    let wide: Vec<String> = (0..40).map(|column| format!("c{column}")).collect();
    messages.add("no such column of many", table(&wide.join(",")).numeric(&["size"]));
    messages.add("no such column, odd names", table("\"a\nb\",c\n").numeric(&["size"]));
    messages.add("no file", read(Path::new("nowhere/t.csv")));
    messages.compare(include_str!("messages/csv.txt"));
}

#[test]
fn rows_know_their_lines() {
    let cases: [(&str, &[&str]); 9] = [
        ("a,b\n1,2\n3,4\n", &["2: 1|2", "3: 3|4"]),
        ("a,b\n1,2\n3,4", &["2: 1|2", "3: 3|4"]),
        ("a,b\r\n1,2\r\n\r\n3,4\r\n", &["2: 1|2", "4: 3|4"]),
        ("\n\na,b\n\n\n1,2\n\n3,4\n\n", &["6: 1|2", "8: 3|4"]),
        ("a,b\r1,2\r\r3,4\r", &["2: 1|2", "4: 3|4"]),
        ("\u{feff}a,b\n1,2\n", &["2: 1|2"]),
        ("a,b\n\"1\n1\",\"x \"\"y\"\"\"\n3,4\n", &["2: 1\n1|x \"y\"", "4: 3|4"]),
        ("a,b\n5\" pipe,\"\"\n,\n", &["2: 5\" pipe|", "3: |"]),
        ("a,b\n", &[]),
    ];
    for (text, wanted) in cases {
        let table = table(text);
        assert_eq!(
            (table.header.join(","), rows(&table)),
            ("a,b".to_owned(), wanted.to_vec().iter().map(|row| row.to_string()).collect()),
            "{text:?}"
        );
    }
}

#[test]
fn numbers_come_row_by_row_in_the_order_asked_for() {
    let table = table("a,b,c\n 1 ,x,-2.5e3\n4,y,+.5\n");
    assert_eq!(table.numeric(&["c", "a"]).unwrap(), [-2500.0, 1.0, 0.5, 4.0]);
    assert_eq!(table.numeric(&[]).unwrap(), [0.0; 0]);
    assert_eq!((table.column("b").unwrap(), table.column("c").unwrap()), (1, 2));
}

#[test]
fn other_dialects() {
    let folder = folder("tsv");
    std::fs::write(folder.join("t.TSV"), "a\tb\n\"x, y\t2\n").unwrap();
    let table = read(&folder.join("t.TSV")).unwrap();
    assert_eq!((table.header.join(","), rows(&table)), ("a,b".into(), vec!["2: \"x, y|2".into()]));

    let bare = Dialect { delimiter: b';', header: false, ..Dialect::CSV };
    let table = parse(Path::new("t"), b"\n1;2\n3;4\n", bare).unwrap();
    assert_eq!((table.header.join(","), rows(&table)), ("1,2".into(), vec!["2: 1|2".into(), "3: 3|4".into()]));
}

#[test]
fn real_tables() {
    let Some(folder) = shared("data") else { return };
    let sizes =
        [("breast_cancer", 569, 31), ("diabetes", 442, 11), ("digits", 1797, 65), ("iris", 150, 5), ("wine", 178, 14)];
    assert_eq!(files(&folder.join("tabular"), "csv").len(), sizes.len());
    for (name, rows, columns) in sizes {
        let table = read(&folder.join(format!("tabular/{name}.csv"))).unwrap();
        assert_eq!((table.rows.len(), table.header.len()), (rows, columns), "{name}");
        assert_eq!(table.rows.last().unwrap().line, rows as u64 + 1);
        let names: Vec<&str> = table.header.iter().map(String::as_str).collect();
        assert_eq!(table.numeric(&names).unwrap().len(), rows * columns);
    }
    let iris = read(&folder.join("tabular/iris.csv")).unwrap();
    assert_eq!(iris.numeric(&["sepal_length_(cm)", "target"]).unwrap()[..4], [5.1, 0.0, 4.9, 0.0]);

    let series = read(&folder.join("series/ETTh1.csv")).unwrap();
    assert_eq!((series.rows.len(), &series.rows[0].fields[0][..]), (17420, "2016-07-01 00:00:00"));
    assert_eq!(read(&folder.join("text/books_titles.tsv")).unwrap().rows.len(), 135);
    let bare = |dialect| Dialect { header: false, ..dialect };
    let sentences = read_as(&folder.join("sts/stsb_en_train.csv"), bare(Dialect::CSV)).unwrap();
    assert_eq!((sentences.rows.len(), sentences.numeric(&["3"]).unwrap().len()), (5749, 5749));
    assert_eq!(read_as(&folder.join("sentiment/sst2_train.tsv"), bare(Dialect::TSV)).unwrap().rows.len(), 6920);
}
