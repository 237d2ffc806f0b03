//! State dicts: values by name, as torch names them, and their files.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use limpid_core::{Cell, DType, Error, Result, Shape, Tensor};
use limpid_io::safetensors::{self, View};

use crate::module::Module;
use crate::walk::{Item, walk};

/// Tensors by name, in order.
///
/// ```
/// use limpid::prelude::*;
/// let model = Sequential::new().add(Linear::new(2, 3)).add(ReLU);
/// let state = model.state_dict();
/// assert_eq!(state.names().collect::<Vec<_>>(), ["0.weight", "0.bias"]);
/// assert_eq!(*state.get("0.weight").unwrap().shape(), Shape::from([3, 2]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct StateDict {
    entries: Vec<(String, Tensor)>,
    index: HashMap<String, usize>,
}

/// What loading found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Names of the model that the state does not have.
    pub missing: Vec<String>,
    /// Names of the state that the model does not have.
    pub unexpected: Vec<String>,
    /// Names whose shapes differ: the model's shape, the state's.
    pub mismatched: Vec<(String, Shape, Shape)>,
}

impl LoadReport {
    /// Whether everything fitted.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mismatched.is_empty()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("all names match");
        }
        let mut lines = Vec::new();
        if !self.missing.is_empty() {
            lines.push(format!("missing: {}", self.missing.join(", ")));
        }
        if !self.unexpected.is_empty() {
            lines.push(format!("unexpected: {}", self.unexpected.join(", ")));
        }
        for (name, model, state) in &self.mismatched {
            lines.push(format!("wrong shape: {name} is {model} in the model, {state} in the state"));
        }
        f.write_str(&lines.join("\n  "))
    }
}

impl StateDict {
    /// An empty one.
    pub fn new() -> StateDict {
        StateDict::default()
    }

    pub(crate) fn of<M: Module + ?Sized>(module: &M) -> StateDict {
        crate::site::name(module);
        let mut state = StateDict::new();
        walk(module, &mut |path, item| match item {
            // An incomplete state is an error where it is read or saved.
            Item::Module(m) => {
                if let Some(lazy) = m.uninitialised() {
                    for name in lazy.names() {
                        state.insert(below(path, &name), Tensor::failed(lazy.error()));
                    }
                }
            }
            Item::Parameter(p) => state.insert(path, p.snapshot()),
            Item::Buffer(b) if b.persistent() => state.insert(path, b.snapshot()),
            _ => {}
        });
        state
    }

    /// Adds a tensor, or replaces the one of that name.
    pub fn insert(&mut self, name: impl Into<String>, value: Tensor) {
        let name = name.into();
        match self.index.get(&name) {
            Some(&i) => self.entries[i].1 = value,
            None => {
                self.index.insert(name.clone(), self.entries.len());
                self.entries.push((name, value));
            }
        }
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.index.get(name).map(|&i| &self.entries[i].1)
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// Names and tensors in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.entries.iter().map(|(name, t)| (name.as_str(), t))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds all of `other` with `prefix` before their names.
    pub fn extend(&mut self, prefix: &str, other: &StateDict) {
        for (name, value) in other.iter() {
            self.insert(format!("{prefix}{name}"), value.clone());
        }
    }

    /// Those whose names begin with `prefix`, without it.
    pub fn part(&self, prefix: &str) -> StateDict {
        let mut part = StateDict::new();
        for (name, value) in self.iter() {
            if let Some(rest) = name.strip_prefix(prefix) {
                part.insert(rest, value.clone());
            }
        }
        part
    }

    pub(crate) fn load_into<M: Module + ?Sized>(&self, module: &M, strict: bool) -> Result<LoadReport> {
        walk(module, &mut |path, item| {
            if let Item::Module(m) = item
                && let Some(lazy) = m.uninitialised()
            {
                lazy.initialise(path, &|name| self.get(&below(path, name)).map(|t| t.shape().clone()));
            }
        });
        crate::site::name(module);
        let mut report = LoadReport::default();
        let mut known = std::collections::HashSet::new();
        let mut writes: Vec<(std::sync::Arc<Cell>, Tensor)> = Vec::new();
        let mut meet = |path: &str, cell: &std::sync::Arc<Cell>| {
            known.insert(path.to_owned());
            match self.get(path) {
                None => report.missing.push(path.to_owned()),
                Some(t) if t.error().is_none() && *t.shape() != cell.shape() => {
                    report.mismatched.push((path.to_owned(), cell.shape(), t.shape().clone()));
                }
                Some(t) => writes.push((cell.clone(), t.detach().to_dtype(cell.dtype()))),
            }
        };
        let mut without = Vec::new();
        walk(module, &mut |path, item| match item {
            Item::Module(m) => {
                let names = m.uninitialised().map(|lazy| lazy.names()).unwrap_or_default();
                without.extend(names.iter().map(|name| below(path, name)));
            }
            Item::Parameter(p) => meet(path, p.cell()),
            Item::Buffer(b) if b.persistent() => meet(path, b.cell()),
            _ => {}
        });
        report.missing.extend(without);
        report.unexpected = self.names().filter(|name| !known.contains(*name)).map(str::to_owned).collect();
        if strict && !report.is_clean() {
            let kind = module.kind();
            return Err(Error::new(format!("load_state_dict: the state does not fit {kind}"))
                .note(report.to_string())
                .help("load_state_dict(&state, false) to take what fits"));
        }
        // All values are computed before the first one is written.
        limpid_core::eval(writes.iter().map(|(_, t)| t))?;
        for (cell, value) in &writes {
            cell.set_value(value)?;
        }
        Ok(report)
    }

    /// Writes a safetensors file, which is complete or absent.
    ///
    /// # Errors
    /// When a value can not be computed, or what writing meets.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let bytes: Vec<Vec<u8>> = self.entries.iter().map(|(_, t)| t.to_bytes()).collect::<Result<_>>()?;
        let views: Vec<View<'_>> = self
            .entries
            .iter()
            .zip(&bytes)
            .map(|((name, t), bytes)| View { name, dtype: file_type(t.dtype()), shape: t.shape(), bytes })
            .collect();
        let about = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::write(path.as_ref(), &views, &about).map_err(|e| Error::new(e.to_string()))
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// What reading meets, or a tensor of a type that there is none of here (i8, i16, u16, u32, u64).
    pub fn load(path: impl AsRef<Path>) -> Result<StateDict> {
        let path = path.as_ref();
        let archive = safetensors::read(path).map_err(|e| Error::new(e.to_string()))?;
        let mut state = StateDict::new();
        for entry in archive.tensors {
            let Some(dtype) = tensor_type(entry.dtype) else {
                let (path, name, dtype) = (path.display(), &entry.name, entry.dtype.name());
                return Err(Error::new(format!("{path}: {name} is {dtype}, which no tensor can be")));
            };
            state.insert(entry.name, Tensor::from_bytes(&entry.bytes, entry.shape, dtype));
        }
        Ok(state)
    }
}

/// The name of what stands below `path`.
fn below(path: &str, name: &str) -> String {
    let mut whole = path.to_owned();
    crate::walk::push(&mut whole, name);
    whole
}

/// Our types and a file's.
const TYPES: [(DType, limpid_io::DType); 8] = [
    (DType::Bool, limpid_io::DType::Bool),
    (DType::U8, limpid_io::DType::U8),
    (DType::I32, limpid_io::DType::I32),
    (DType::I64, limpid_io::DType::I64),
    (DType::F16, limpid_io::DType::F16),
    (DType::BF16, limpid_io::DType::BF16),
    (DType::F32, limpid_io::DType::F32),
    (DType::F64, limpid_io::DType::F64),
];

fn file_type(dtype: DType) -> limpid_io::DType {
    TYPES.iter().find(|(ours, _)| *ours == dtype).expect("the table has all of ours").1
}

fn tensor_type(dtype: limpid_io::DType) -> Option<DType> {
    TYPES.iter().find(|(_, theirs)| *theirs == dtype).map(|(ours, _)| *ours)
}
