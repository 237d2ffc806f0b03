//! Reading a directory of cases: the index, and the tensors of each case under their short names.

use std::collections::HashMap;
use std::path::Path;

use limpid::{DType, StateDict, Tensor};
use serde_json::Value as Json;

use super::args::{Result, Tensors, line};

/// One case: what to call, and its tensors without the case's name before theirs.
#[derive(Debug)]
pub struct Case {
    /// Its name in the index.
    pub id: String,
    /// What the index says.
    pub json: Json,
    /// Inputs, state, expected outputs and gradients.
    pub tensors: Tensors,
}

impl Case {
    /// The same case with f64 in the place of f32.
    pub fn in_f64(&self) -> Case {
        let wide = |t: &Tensor| if t.dtype() == DType::F32 { t.to_dtype(DType::F64) } else { t.clone() };
        let text = self.json.to_string().replace("\"float32\"", "\"float64\"");
        let json = serde_json::from_str(&text).expect("one word of it was exchanged");
        let tensors = self.tensors.iter().map(|(name, t)| (name.clone(), wide(t))).collect();
        Case { id: self.id.clone(), json, tensors }
    }
}

/// The cases of one class.
#[derive(Debug)]
pub struct Class {
    /// The class or function.
    pub name: String,
    /// Its cases, whose tensors are in `file`.
    json: Json,
}

impl Class {
    /// Number of cases.
    pub fn len(&self) -> usize {
        self.json["cases"].as_array().map_or(0, Vec::len)
    }

    /// Reads the cases and their tensors.
    pub fn cases(&self, dir: &Path) -> Result<Vec<Case>> {
        let file = self.json["file"].as_str().ok_or_else(|| format!("{}: the index names no file", self.name))?;
        let mut tensors: HashMap<String, Tensors> = HashMap::new();
        for (path, tensor) in StateDict::load(dir.join(file)).map_err(line)?.iter() {
            let (id, name) = path.split_once('.').ok_or_else(|| format!("{file}: a tensor {path} of no case"))?;
            tensors.entry(id.to_owned()).or_default().insert(name.to_owned(), tensor.clone());
        }
        let cases = self.json["cases"].as_array().into_iter().flatten();
        cases
            .map(|json| {
                let id = json["id"].as_str().ok_or_else(|| format!("{}: a case without id", self.name))?;
                let tensors = tensors.remove(id).unwrap_or_default();
                Ok(Case { id: id.to_owned(), json: json.clone(), tensors })
            })
            .collect()
    }
}

/// A JSON file of the directory.
pub fn read_json(dir: &Path, file: &str) -> Result<Json> {
    let path = dir.join(file);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// The classes of one kind, in the order of their names.
pub fn classes(index: &Json, kind: &str) -> Vec<Class> {
    let groups = index[kind].as_object().into_iter().flatten();
    groups.map(|(name, json)| Class { name: name.clone(), json: json.clone() }).collect()
}
