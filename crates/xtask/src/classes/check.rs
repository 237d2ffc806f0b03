//! Whether what the table claims is so: items are looked up in the text of the sources, tests in their files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Found, GROUPS, Proof, has_cases};

/// The folder of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All claims that are not so.
pub fn problems() -> Result<Vec<String>, String> {
    let sources = sources()?;
    let mut problems = Vec::new();
    for group in GROUPS {
        let mut seen = HashSet::new();
        for name in group.names()? {
            let mut wrong = |what: String| problems.push(format!("{} {}: {what}", group.title, name.torch));
            if !seen.insert(name.torch) {
                wrong("twice".to_owned());
            }
            let Found::Here(here, proof) = &name.found else { continue };
            for path in paths(here) {
                if !sources.iter().any(|source| source.has(path)) {
                    wrong(format!("no public item {path}"));
                }
            }
            match proof {
                Proof::Cases(names) => {
                    let unknown = names.iter().filter(|name| !has_cases(name));
                    unknown.for_each(|name| wrong(format!("no cases of {name} are run")));
                }
                Proof::Test { file, name, .. } if !is_test(file, name) => wrong(format!("no test {file}::{name}")),
                Proof::Test { .. } => {}
            }
        }
    }
    Ok(problems)
}

/// The paths in backticks that name something of Limpid's: not those with anything but names in them.
fn paths(here: &str) -> impl Iterator<Item = &str> {
    let codes = here.split('`').skip(1).step_by(2);
    codes.filter(|code| code.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':'))
}

fn is_test(file: &str, name: &str) -> bool {
    let text = std::fs::read_to_string(root().join("crates").join(file)).unwrap_or_default();
    let start = format!("fn {name}(");
    let mut before = "";
    text.lines().map(str::trim).any(|line| {
        let found = before == "#[test]" && line.starts_with(&start);
        before = line;
        found
    })
}

struct Source {
    text: String,
}

/// The sources that define Limpid's items.
fn sources() -> Result<Vec<Source>, String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates/core/src"), root().join("crates/limpid/src")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                found.push(Source { text });
            }
        }
    }
    Ok(found)
}

/// What comes before the name of an item.
const KINDS: [&str; 7] = ["fn", "struct", "type", "enum", "trait", "const", "mod"];

impl Source {
    /// Whether the last part of `path` is a public item here, and the part before it, if it is a type, has methods here.
    fn has(&self, path: &str) -> bool {
        let (parent, name) = path.rsplit_once("::").unwrap_or(("", path));
        let parent = parent.rsplit("::").next().unwrap_or_default();
        let of_type = parent.starts_with(char::is_uppercase);
        let owner = !of_type
            || self.text.lines().any(|line| {
                let head = line.trim_start().strip_prefix("pub ").unwrap_or(line.trim_start());
                (head.starts_with("impl") || head.starts_with("trait ")) && before(head, parent).is_some()
            });
        let by_macro = KINDS.iter().any(|kind| self.text.contains(&format!("pub {kind} $")));
        let in_trait = of_type && self.text.contains(&format!("pub trait {parent}"));
        owner && self.text.lines().map(str::trim).any(|line| declares(line, name, by_macro, in_trait))
    }
}

/// Whether `line` makes the public item `name`: itself, as a part of a trait, or as a line of a macro that makes such.
fn declares(line: &str, name: &str, by_macro: bool, in_trait: bool) -> bool {
    let Some(head) = before(line, name) else { return false };
    let head = head.trim_end();
    let kind = head.rsplit(' ').next().unwrap_or_default();
    if KINDS.contains(&kind) {
        return head.starts_with("pub ") || (in_trait && head == "fn");
    }
    let code = !line.starts_with("//") && !line.starts_with("use ") && !line.starts_with("pub ");
    by_macro
        && code
        && head.chars().all(|c| c.is_alphanumeric() || c == '_' || " :,(.)".contains(c))
        && !head.ends_with('.')
}

/// What stands before the word `name` in `line`, where it is a word of it.
fn before<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name)
        .map(|(at, _)| (&line[..at], &line[at + name.len()..]))
        .find_map(|(head, rest)| (!head.ends_with(word) && !rest.starts_with(word)).then_some(head))
}
