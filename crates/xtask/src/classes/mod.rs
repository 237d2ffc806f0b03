//! The table of classes: every public name of PyTorch's libraries for networks, with what to write in Limpid and what
//! proves it, or why there is nothing. Printed, it is `docs/torch.md`.
//!
//! Each line of the tables beside this file is `torch's name | Limpid's | proof`.
//! - Limpid's: a path, `=` for the path of the table with torch's name, words with paths in backticks, `-` for what
//!   can not or need not be, or `missing`.
//! - proof: `cases` (recorded from PyTorch, under the same name or those that follow), or `test FILE::NAME: where its
//!   numbers are from`; where there is nothing, the reason.
//!
//! Torch's names are those of `dir(torch.nn)` and so on, without modules, private names, and what they import.

mod check;

use crate::conformance;

/// One table.
#[derive(Debug)]
pub struct Group {
    /// What has these names in torch.
    pub title: &'static str,
    /// What `=` stands for, before the name.
    here: &'static str,
    /// What the table of conformance calls the group; none for methods, which are no classes.
    pub conformance: Option<&'static str>,
    text: &'static str,
}

const fn group(
    title: &'static str,
    here: &'static str,
    conformance: Option<&'static str>,
    text: &'static str,
) -> Group {
    Group { title, here, conformance, text }
}

/// All tables, in the order of the document.
pub const GROUPS: &[Group] = &[
    group("torch.nn", "nn", Some("modules"), include_str!("nn.txt")),
    group("torch.nn.Module", "Module", None, include_str!("module.txt")),
    group("torch.nn.functional", "Tensor", Some("functionals"), include_str!("functional.txt")),
    group("torch.nn.init", "nn::init", Some("initialisers"), include_str!("init.txt")),
    group("torch.nn.utils", "nn::utils", Some("utils"), include_str!("utils.txt")),
    group("torch.optim", "optim", Some("optimizers"), include_str!("optim.txt")),
    group("torch.optim.Optimizer", "Optimizer", None, include_str!("optimizer.txt")),
    group("torch.optim.lr_scheduler", "optim", Some("schedules"), include_str!("lr_scheduler.txt")),
    group("torch.optim.lr_scheduler.LRScheduler", "LrScheduler", None, include_str!("scheduler.txt")),
    group("torch.optim.swa_utils", "optim", Some("averages"), include_str!("swa_utils.txt")),
];

/// One name of torch.
#[derive(Debug, PartialEq)]
pub struct Name {
    pub torch: &'static str,
    pub found: Found,
}

/// What Limpid has for a name.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// Paths in backticks, and words; and the proof.
    Here(String, Proof),
    /// Why it can not or need not be.
    Never(&'static str),
    /// What to do instead, for now.
    Missing(&'static str),
}

/// Why to believe that it does what torch's does.
#[derive(Debug, PartialEq)]
pub enum Proof {
    /// Cases recorded from PyTorch under these names.
    Cases(Vec<&'static str>),
    /// A test of ours: its file below `crates`, its name, and where its numbers are from.
    Test { file: &'static str, name: &'static str, source: &'static str },
}

impl Group {
    /// The names.
    ///
    /// # Errors
    /// Lines that are not as they should be.
    pub fn names(&self) -> Result<Vec<Name>, String> {
        self.text.lines().map(|line| self.read(line)).collect()
    }

    fn read(&self, line: &'static str) -> Result<Name, String> {
        let columns: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let [torch, here, proof] = columns[..] else {
            return Err(format!("{}: not three columns: {line}", self.title));
        };
        let here = match here {
            "-" => return Ok(Name { torch, found: Found::Never(proof) }),
            "missing" => return Ok(Name { torch, found: Found::Missing(proof) }),
            "=" => format!("`{}::{torch}`", self.here),
            words if words.contains('`') => words.to_owned(),
            path => format!("`{path}`"),
        };
        let proof = match proof.split_once(' ') {
            None if proof == "cases" => Proof::Cases(vec![torch]),
            Some(("cases", names)) => Proof::Cases(names.split(' ').collect()),
            Some(("test", rest)) => {
                test(rest).ok_or_else(|| format!("{}: not FILE::NAME: SOURCE: {line}", self.title))?
            }
            _ => return Err(format!("{}: no proof: {line}", self.title)),
        };
        Ok(Name { torch, found: Found::Here(here, proof) })
    }
}

fn test(text: &'static str) -> Option<Proof> {
    let (file, rest) = text.split_once("::")?;
    let (name, source) = rest.split_once(": ")?;
    Some(Proof::Test { file, name, source })
}

/// Prints the document; whether all that it claims is found in the sources.
///
/// # Errors
/// A table that can not be read.
pub fn run() -> Result<bool, String> {
    print!("{}", document()?);
    let problems = check::problems()?;
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    Ok(problems.is_empty())
}

/// `docs/torch.md`.
fn document() -> Result<String, String> {
    let mut text = include_str!("intro.md").to_owned();
    let (mut counts, mut tables) = (String::new(), String::new());
    for group in GROUPS {
        let names = group.names()?;
        let count = |of: fn(&Found) -> bool| names.iter().filter(|name| of(&name.found)).count();
        let here = count(|found| matches!(found, Found::Here(..)));
        let never = count(|found| matches!(found, Found::Never(_)));
        counts += &format!("| {} | {here} | {never} | {} |\n", group.title, names.len() - here - never);
        tables += &format!("\n## {}\n\n| PyTorch | Limpid | proof |\n|---|---|---|\n", group.title);
        names.iter().for_each(|name| tables += &row(name));
    }
    text += "\n| | there | not needed or not possible | missing |\n|---|---|---|---|\n";
    text += &counts;
    Ok(text + &tables)
}

fn row(name: &Name) -> String {
    let torch = name.torch;
    match &name.found {
        Found::Never(reason) => format!("| `{torch}` | – | {reason} |\n"),
        Found::Missing(instead) => format!("| `{torch}` | missing | {instead} |\n"),
        Found::Here(here, Proof::Cases(names)) if names[..] == [torch] => {
            format!("| `{torch}` | {here} | cases |\n")
        }
        Found::Here(here, Proof::Cases(names)) => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("| `{torch}` | {here} | cases of {} |\n", names.join(", "))
        }
        Found::Here(here, Proof::Test { file, name, source }) => {
            format!("| `{torch}` | {here} | [`{name}`](../crates/{file}): {source} |\n")
        }
    }
}

/// What the conformance table says of the classes that have no cases: group, class, the test and where its numbers are
/// from.
pub fn without_cases() -> Result<Vec<[String; 4]>, String> {
    let mut rows = Vec::new();
    for group in GROUPS {
        let Some(title) = group.conformance else { continue };
        for name in group.names()? {
            if let Found::Here(_, Proof::Test { file, name: test, source }) = name.found {
                rows.push([title, name.torch, &format!("{file}::{test}"), source].map(str::to_owned));
            }
        }
    }
    Ok(rows)
}

/// Whether cases of this name are run.
fn has_cases(name: &str) -> bool {
    conformance::runs(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_claims_is_in_the_sources() {
        let problems = check::problems().expect("the tables can be read");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    #[test]
    fn the_document_is_up_to_date() {
        let file = check::root().join("docs/torch.md");
        let written = std::fs::read_to_string(file).expect("the document");
        let wanted = document().expect("the tables can be read");
        assert!(written == wanted, "run `cargo xtask classes > docs/torch.md`");
    }

    /// The numbers of names in PyTorch 2.15.
    #[test]
    fn all_names_are_there() {
        let counts: Vec<usize> = GROUPS.iter().map(|group| group.names().expect("a table").len()).collect();
        assert_eq!(counts, [169, 50, 136, 26, 54, 17, 11, 16, 5, 7]);
    }

    #[test]
    fn lines_that_are_wrong_are_refused() {
        let of = |text| group("torch.nn", "nn", None, text).names();
        for text in ["ReLU | =", "ReLU | = | proved", "ReLU | = | test file: source", "ReLU | = | test a::b"] {
            assert!(of(text).is_err(), "{text}");
        }
        let read = of("A | = | cases\nB | - | never").expect("a table");
        assert_eq!(read[0].found, Found::Here("`nn::A`".to_owned(), Proof::Cases(vec!["A"])));
        assert_eq!(read[1], Name { torch: "B", found: Found::Never("never") });
    }
}
