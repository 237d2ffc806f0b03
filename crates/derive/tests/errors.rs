//! What the compiler says, and where, when a macro is used wrongly: a small crate of mistakes is compiled.

use std::path::Path;
use std::process::Command;

/// Each mistake, the place of its error (line within the case from 1, column) and its message.
const MISTAKES: [(&str, &str, &str); 16] = [
    ("#[derive(Module)]\nenum A { B }", "2:1", STRUCT),
    ("#[derive(Module)]\npub union A { b: u8 }", "2:5", STRUCT),
    ("#[derive(Module)]\nstruct A {\n    #[module(skipp)]\n    b: u8,\n}", "3:14", WORDS),
    ("#[derive(Module)]\nstruct A(#[module] u8);", "2:12", WORDS),
    ("#[derive(Module)]\nstruct A(#[module()] u8);", "2:18", WORDS),
    ("#[derive(Module)]\nstruct A(#[module(skip, rename)] u8);", "2:25", WORDS),
    ("#[derive(Module)]\nstruct A(#[module(rename = \"\")] u8);", "2:28", NAME),
    ("#[derive(Module)]\nstruct A(#[module(rename = \"a.b\")] u8);", "2:28", NAME),
    (
        "#[derive(Module)]\nstruct A {\n    b: u8,\n    #[module(rename = \"b\")]\n    c: u8,\n}",
        "5:5",
        "two fields have the name `b`; rename one of them",
    ),
    ("/// Documented.\n#[derive(Module)]\n#[module(skip)]\nstruct A;", "3:10", STRUCT_WORDS),
    ("#[derive(Module)]\n#[module(label(title))]\nstruct A;", "2:10", STRUCT_WORDS),
    (
        "#[derive(Module)]\nstruct A {\n    #[module(site)]\n    b: u8,\n    #[module(site)]\n    c: u8,\n}",
        "6:5",
        "a module has one site",
    ),
    ("#[forward]\nfn a(x: u8) {}", "2:5", METHOD),
    ("struct A;\nimpl A {\n    #[forward]\n    fn a(&mut self) {}\n}", "4:9", METHOD),
    (
        "trait A {\n    #[forward]\n    fn a(&self);\n}",
        "3:16",
        "#[forward] needs a method with a body; put it on the implementation",
    ),
    (
        "struct A;\nimpl A {\n    #[forward]\n    async fn a(&self) {}\n}",
        "4:5",
        "#[forward] can not keep the scope of an async method open",
    ),
];
const STRUCT: &str = "a module is a struct: an enum or a union has no fields to visit";
const WORDS: &str = "#[module(…)] on a field knows `skip`, `site` and `rename = \"name\"`";
const STRUCT_WORDS: &str = "#[module(…)] on a struct knows `kind`, `label` and `extra_repr`, each `= method`";
const NAME: &str = "a name is a plain string, not empty and without dots";
const METHOD: &str = "#[forward] goes on a method with `&self`";

#[test]
fn mistakes_are_named_where_they_are() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"mistakes\"\nedition = \"2024\"\n[workspace]\n[dependencies]\nlimpid-derive.path = {:?}\n",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let mut source = String::from("#![allow(dead_code)]\n");
    let mut wanted = Vec::new();
    for (at, (code, place, message)) in MISTAKES.iter().enumerate() {
        source += &format!("mod case{at} {{\nuse limpid_derive::*;\n");
        let before = source.lines().count();
        source += &format!("{code}\n}}\n");
        let (line, column) = place.split_once(':').unwrap();
        let line = before + line.parse::<usize>().unwrap();
        wanted.push(format!("src/lib.rs:{line}:{column}: error: {message}"));
    }
    std::fs::write(folder.join("src/lib.rs"), &source).unwrap();

    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet", "--message-format=short"])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    let mut errors: Vec<&str> =
        said.lines().filter(|line| line.starts_with("src/") && line.contains("error")).collect();
    errors.sort();
    wanted.sort();
    assert_eq!(errors, wanted, "{said}\n{source}");
}
