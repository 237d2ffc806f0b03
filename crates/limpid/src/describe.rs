//! Models as text: as torch prints them, and as a table.

use std::collections::{HashMap, HashSet};
use std::fmt;

use limpid_core::{Result, Shape, Tensor};

use crate::derived::Style;
use crate::module::{Module, Visitor};
use crate::param::{Buffer, Parameter};
use crate::site::{Mode, Site};
use crate::taps::Tap;
use crate::walk::{Item, walk};

/// The model as `print(model)` shows it in torch.
pub(crate) fn print<M: Module + ?Sized>(module: &M) -> String {
    let mut children = Children::default();
    module.visit(&mut children);
    let (kind, extra) = (module.kind(), module.extra_repr());
    if children.derived.is_empty() {
        return block(kind, &extra, children.lines);
    }
    children.lines.push(("parametrizations".to_owned(), block("ModuleDict", "", children.derived)));
    block(&format!("Parametrized{kind}"), &extra, children.lines)
}

/// Name and text of each child.
#[derive(Default)]
struct Children {
    lines: Vec<(String, String)>,
    /// What the values of parameters are made by.
    derived: Vec<(String, String)>,
}

impl Visitor for Children {
    fn parameter(&mut self, name: &str, parameter: &Parameter) {
        if let Some(derived) = parameter.derived().filter(|derived| derived.style == Style::Below) {
            let steps = derived.steps.iter().enumerate().map(|(k, step)| (k.to_string(), print(step.as_ref())));
            self.derived.push((name.to_owned(), block("ParametrizationList", "", steps.collect())));
        }
    }
    fn buffer(&mut self, _name: &str, _buffer: &Buffer) {}
    fn site(&mut self, _site: &Site) {}
    fn mode(&mut self, _mode: &Mode) {}
    fn module(&mut self, name: &str, module: &dyn Module) {
        self.lines.push((name.to_owned(), print(module)));
    }
    fn group(&mut self, name: &str, kind: &'static str, visit: &dyn Fn(&mut dyn Visitor)) {
        let mut children = Children::default();
        visit(&mut children);
        // Parameters alone are no modules: torch prints a list of them otherwise, we leave it out.
        if !children.lines.is_empty() {
            let lines = if kind == "ModuleList" { collapse(children.lines) } else { children.lines };
            self.lines.push((name.to_owned(), block(kind, "", lines)));
        }
    }
}

/// Equal neighbours of a list as one: `(0-5): 6 x Linear(…)`.
fn collapse(lines: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut out: Vec<(String, String, usize, String)> = Vec::new();
    for (name, text) in lines {
        match out.last_mut() {
            Some((_, known, count, last)) if *known == text => {
                *count += 1;
                *last = name;
            }
            _ => out.push((name.clone(), text, 1, name)),
        }
    }
    out.into_iter()
        .map(|(first, text, count, last)| match count {
            1 => (first, text),
            _ => (format!("{first}-{last}"), format!("{count} x {text}")),
        })
        .collect()
}

fn block(kind: &str, extra: &str, children: Vec<(String, String)>) -> String {
    if children.is_empty() {
        return format!("{kind}({extra})");
    }
    let mut out = format!("{kind}(\n");
    if !extra.is_empty() {
        out += &format!("  {extra}\n");
    }
    for (name, text) in children {
        out += &format!("  ({name}): {}\n", text.replace('\n', "\n  "));
    }
    out + ")"
}

/// One module of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Path from the root; empty for the root.
    pub path: String,
    /// Name of the struct.
    pub kind: String,
    /// Shape of its result, where it was run and tells.
    pub output: Option<Shape>,
    /// Elements of the parameters that are its own, not its children's; tied ones count where they stand first.
    pub parameters: usize,
}

/// The modules of a model with their parameters. It prints as a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The modules, each before its children.
    pub rows: Vec<Row>,
    /// Elements of all parameters, tied ones once.
    pub total: usize,
    /// Those of them that are trained.
    pub trainable: usize,
}

pub(crate) fn summary<M: Module + ?Sized>(module: &M) -> Summary {
    crate::site::name(module);
    let mut summary = Summary { rows: Vec::new(), total: 0, trainable: 0 };
    let mut seen = HashSet::new();
    // A parameter of a list belongs to the module that holds the list.
    let mut owners: Vec<(String, usize)> = Vec::new();
    walk(module, &mut |path, item| match item {
        Item::Module(m) => {
            summary.rows.push(Row { path: path.to_owned(), kind: m.kind().to_owned(), output: None, parameters: 0 });
            owners.push((path.to_owned(), summary.rows.len() - 1));
        }
        Item::Parameter(p) if seen.insert(p.cell().id()) => {
            let inside = |owner: &str| owner.is_empty() || path.starts_with(&format!("{owner}."));
            let owner = owners.iter().rev().find(|(owner, _)| inside(owner));
            summary.rows[owner.expect("the root holds everything").1].parameters += p.numel();
            summary.total += p.numel();
            summary.trainable += if p.requires_grad() { p.numel() } else { 0 };
        }
        _ => {}
    });
    summary
}

pub(crate) fn summary_of<M: Module + ?Sized>(module: &M, run: impl FnOnce() -> Tensor) -> Result<Summary> {
    let mut summary = summary(module);
    let seen = Tap::new("**").record(run)?;
    if let Some(error) = seen.output().error() {
        return Err(error);
    }
    let shapes: HashMap<&str, &Shape> = seen.iter().map(|(path, _, t)| (path, t.shape())).collect();
    for row in &mut summary.rows {
        row.output = match shapes.get(row.path.as_str()) {
            Some(shape) => Some((*shape).clone()),
            None if row.path.is_empty() => Some(seen.output().shape().clone()),
            None => None,
        };
    }
    Ok(summary)
}

/// 1234567 as 1,234,567.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |row: &Row| {
            let above = |path: &str| path.is_empty() || row.path.strip_prefix(path).is_some_and(|r| r.starts_with('.'));
            let owners = self.rows.iter().map(|r| r.path.as_str()).filter(|path| above(path) && *path != row.path);
            let (depth, longest) = owners.fold((0, 0), |(depth, longest), path| (depth + 1, path.len().max(longest)));
            // Within its owner: an element of a list is named with the list.
            let own = row.path[longest..].trim_start_matches('.');
            let gap = if own.is_empty() { "" } else { " " };
            format!("{}{own}{gap}{}", "  ".repeat(depth), row.kind)
        };
        let shape = |row: &Row| row.output.as_ref().map_or_else(|| "-".to_owned(), Shape::to_string);
        let count = |row: &Row| if row.parameters == 0 { "-".to_owned() } else { grouped(row.parameters) };
        let width = |header: &str, cell: &dyn Fn(&Row) -> String| {
            self.rows.iter().map(|r| cell(r).chars().count()).chain([header.len()]).max().unwrap_or(0)
        };
        let (a, b, c) = (width("layer", &name), width("output", &shape), width("parameters", &count));
        writeln!(f, "{:a$}  {:b$}  {:>c$}", "layer", "output", "parameters")?;
        writeln!(f, "{}", "─".repeat(a + b + c + 4))?;
        for row in &self.rows {
            writeln!(f, "{:a$}  {:b$}  {:>c$}", name(row), shape(row), count(row))?;
        }
        writeln!(f, "{}", "─".repeat(a + b + c + 4))?;
        write!(f, "{} parameters, {} trained", grouped(self.total), grouped(self.trainable))
    }
}
