//! The arguments of one call, as Python's were: by position or by name, each read once and none forgotten.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use limpid::{DType, Error, MatrixNorm, OutputSizes, Padding, Sizes, Tensor, Value};
use serde_json::{Map, Value as Json};

use super::random::Law;

/// Tensors by the name that the JSON gives them.
pub type Tensors = BTreeMap<String, Tensor>;

/// What reading arguments yields, or why it can not.
pub type Result<T> = std::result::Result<T, String>;

/// The arguments of a call. They are read in the order of torch's signature; [`Args::finish`] refuses what no
/// one asked for.
#[derive(Debug)]
pub struct Args<'a> {
    positional: &'a [Json],
    named: Option<&'a Map<String, Json>>,
    /// The whole call as a sentence, where it is one.
    text: Option<&'a str>,
    tensors: &'a Tensors,
    law: Option<Law>,
    next: usize,
    keyword_only: bool,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Args<'a> {
    /// The arguments of `call`, an object with `args` and `kwargs`.
    pub fn new(call: &'a Json, tensors: &'a Tensors) -> Args<'a> {
        let positional = call["args"].as_array().map_or(&[][..], Vec::as_slice);
        Args { named: call["kwargs"].as_object(), positional, ..Args::named(&Json::Null, tensors) }
    }

    /// Arguments that all have names.
    pub fn named(kwargs: &'a Json, tensors: &'a Tensors) -> Args<'a> {
        let read = RefCell::default();
        let (named, text) = (kwargs.as_object(), kwargs.as_str());
        Args { positional: &[], named, text, tensors, law: None, next: 0, keyword_only: false, read }
    }

    /// From here on the signature takes names only: Python's `*`.
    pub fn keywords(&mut self) -> &mut Self {
        self.keyword_only = true;
        self
    }

    /// The next parameter of the signature, where the call gives it.
    fn find(&mut self, name: &str) -> Result<Option<&'a Json>> {
        self.read.borrow_mut().insert(name.to_owned());
        let named = self.named.and_then(|named| named.get(name));
        if self.keyword_only || self.next >= self.positional.len() {
            return Ok(named);
        }
        if named.is_some() {
            return Err(format!("argument {name} is given twice"));
        }
        self.next += 1;
        Ok(Some(&self.positional[self.next - 1]))
    }

    fn parse<T: Read>(&self, name: &str, json: &Json) -> Result<T> {
        T::read(json, self.tensors).ok_or_else(|| format!("argument {name} not read: {json}"))
    }

    /// The next parameter, which has no default.
    pub fn required<T: Read>(&mut self, name: &str) -> Result<T> {
        let json = self.find(name)?.ok_or_else(|| format!("without argument {name} is not built yet"))?;
        self.parse(name, json)
    }

    /// The next parameter, or its default.
    pub fn or<T: Read>(&mut self, name: &str, default: T) -> Result<T> {
        self.find(name)?.map_or(Ok(default), |json| self.parse(name, json))
    }

    /// The next parameter; absent and `None` are the same.
    pub fn option<T: Read>(&mut self, name: &str) -> Result<Option<T>> {
        match self.find(name)? {
            None | Some(Json::Null) => Ok(None),
            Some(json) => self.parse(name, json).map(Some),
        }
    }

    /// The next parameter, of which Limpid has this value only.
    pub fn only<T: Read + PartialEq + std::fmt::Debug>(&mut self, name: &str, value: T) -> Result<()> {
        match self.option::<T>(name)? {
            Some(given) if given != value => Err(format!("argument {name}={given:?} is not built yet")),
            _ => Ok(()),
        }
    }

    /// The next parameter, which Limpid has not: only `None` is accepted.
    pub fn absent(&mut self, name: &str) -> Result<()> {
        match self.find(name)? {
            None | Some(Json::Null) => Ok(()),
            Some(json) => Err(format!("argument {name}={json} is not built yet")),
        }
    }

    /// A parameter that chooses how torch computes (in place, by foreach, …) and changes no value.
    pub fn no_effect(&mut self, name: &str) -> Result<()> {
        self.find(name).map(drop)
    }

    /// The next argument as the JSON has it, not yet read.
    pub fn peek(&self, name: &str) -> Option<&'a Json> {
        let by_position = self.positional.get(self.next).filter(|_| !self.keyword_only);
        by_position.or_else(|| self.named?.get(name))
    }

    /// The call as a sentence: how the cases write what no JSON can be.
    pub fn sentence(&mut self) -> Result<&'a str> {
        self.text.take().ok_or_else(|| "the call is no sentence".to_owned())
    }

    /// Notes that the result is random: torch's own draw is no one else's, so the law of the draws is tested.
    pub fn draws(&mut self, law: Law) {
        self.law = Some(law);
    }

    /// The law of the result, where it is random.
    pub fn law(&mut self) -> Option<Law> {
        self.law.take()
    }

    /// Refuses a call of which something was not read.
    pub fn finish(&self) -> Result<()> {
        if let Some(text) = self.text {
            return Err(format!("arguments not read: {text}"));
        }
        if let Some(json) = self.positional.get(self.next) {
            return Err(format!("argument {} not read: {json}", self.next));
        }
        let read = self.read.borrow();
        match self.named.and_then(|named| named.iter().find(|(name, _)| !read.contains(*name))) {
            Some((name, json)) => Err(format!("argument {name} not read: {json}")),
            None => Ok(()),
        }
    }
}

/// What an argument can be.
pub trait Read: Sized {
    /// The value of `json`, unless it is another kind of value.
    fn read(json: &Json, tensors: &Tensors) -> Option<Self>;
}

impl Read for Tensor {
    fn read(json: &Json, tensors: &Tensors) -> Option<Tensor> {
        tensors.get(json.get("tensor")?.as_str()?).cloned()
    }
}

impl Read for f64 {
    fn read(json: &Json, _tensors: &Tensors) -> Option<f64> {
        match json.get("float") {
            Some(word) => word.as_str()?.parse().ok(),
            None => json.as_f64(),
        }
    }
}

impl Read for i64 {
    fn read(json: &Json, _tensors: &Tensors) -> Option<i64> {
        json.as_i64()
    }
}

impl Read for isize {
    fn read(json: &Json, _tensors: &Tensors) -> Option<isize> {
        json.as_i64()?.try_into().ok()
    }
}

impl Read for usize {
    fn read(json: &Json, _tensors: &Tensors) -> Option<usize> {
        json.as_u64()?.try_into().ok()
    }
}

impl Read for Sizes {
    fn read(json: &Json, tensors: &Tensors) -> Option<Sizes> {
        Vec::<usize>::read(json, tensors).map(Sizes::from)
    }
}

/// Sizes of which some may be `None`.
impl Read for OutputSizes {
    fn read(json: &Json, tensors: &Tensors) -> Option<OutputSizes> {
        let one = |json: &Json| match json {
            Json::Null => Some(None),
            json => usize::read(json, tensors).map(Some),
        };
        match json.as_array() {
            Some(items) => items.iter().map(one).collect::<Option<Vec<_>>>().map(OutputSizes::from),
            None => one(json).map(OutputSizes::from),
        }
    }
}

impl Read for Padding {
    fn read(json: &Json, tensors: &Tensors) -> Option<Padding> {
        match json.as_str() {
            Some("same") => Some(Padding::Same),
            Some("valid") => Some(Padding::Valid),
            _ => Sizes::read(json, tensors).map(Padding::Sizes),
        }
    }
}

impl Read for u64 {
    fn read(json: &Json, _tensors: &Tensors) -> Option<u64> {
        json.as_u64()
    }
}

impl Read for bool {
    fn read(json: &Json, _tensors: &Tensors) -> Option<bool> {
        json.as_bool()
    }
}

impl Read for String {
    fn read(json: &Json, _tensors: &Tensors) -> Option<String> {
        json.as_str().map(str::to_owned)
    }
}

/// A list, or one item as a list of it.
impl<T: Read> Read for Vec<T> {
    fn read(json: &Json, tensors: &Tensors) -> Option<Vec<T>> {
        match json.as_array() {
            Some(items) => items.iter().map(|item| T::read(item, tensors)).collect(),
            None => Some(vec![T::read(json, tensors)?]),
        }
    }
}

impl<A: Read, B: Read> Read for (A, B) {
    fn read(json: &Json, tensors: &Tensors) -> Option<(A, B)> {
        match json.as_array()?.as_slice() {
            [a, b] => Some((A::read(a, tensors)?, B::read(b, tensors)?)),
            _ => None,
        }
    }
}

/// A tensor or a number.
impl Read for Value {
    fn read(json: &Json, tensors: &Tensors) -> Option<Value> {
        if let Some(tensor) = Tensor::read(json, tensors) {
            return Some(tensor.into());
        }
        match json {
            Json::Bool(b) => Some((*b).into()),
            _ => json.as_i64().map(Value::from).or_else(|| Some(f64::read(json, tensors)?.into())),
        }
    }
}

/// Torch's names of types.
const DTYPES: [(&str, DType); 8] = [
    ("bool", DType::Bool),
    ("uint8", DType::U8),
    ("int32", DType::I32),
    ("int64", DType::I64),
    ("float16", DType::F16),
    ("bfloat16", DType::BF16),
    ("float32", DType::F32),
    ("float64", DType::F64),
];

/// The type of this name.
pub fn dtype(name: &str) -> Result<DType> {
    let found = DTYPES.iter().find(|(theirs, _)| *theirs == name);
    found.map(|(_, ours)| *ours).ok_or_else(|| format!("dtype {name} is not built yet"))
}

/// A word or a number.
impl Read for MatrixNorm {
    fn read(json: &Json, tensors: &Tensors) -> Option<MatrixNorm> {
        match json.as_str() {
            Some("fro") => Some(MatrixNorm::Fro),
            Some("nuc") => Some(MatrixNorm::Nuc),
            Some(_) => None,
            None => f64::read(json, tensors).map(MatrixNorm::Ord),
        }
    }
}

impl Read for DType {
    fn read(json: &Json, _tensors: &Tensors) -> Option<DType> {
        dtype(json.get("dtype")?.as_str()?).ok()
    }
}

/// An error of Limpid as one line.
pub fn line(error: Error) -> String {
    error.what().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with<T>(call: &Json, read: impl FnOnce(&mut Args<'_>) -> Result<T>) -> Result<T> {
        let tensors = Tensors::from([("input0".to_owned(), Tensor::from([1.0f32, 2.0]))]);
        let mut args = Args::new(call, &tensors);
        let value = read(&mut args)?;
        args.finish().map(|()| value)
    }

    #[test]
    fn arguments_are_read_by_position_and_by_name() {
        let signature = |a: &mut Args<'_>| Ok((a.required::<i64>("a")?, a.or("b", 2.5)?, a.option::<bool>("c")?));
        let cases = [
            (json!({"args": [1, 2, true], "kwargs": {}}), (1, 2.0, Some(true))),
            (json!({"args": [1], "kwargs": {"c": false}}), (1, 2.5, Some(false))),
            (json!({"args": [], "kwargs": {"b": {"float": "-inf"}, "a": 3, "c": null}}), (3, f64::NEG_INFINITY, None)),
        ];
        for (call, expected) in cases {
            assert_eq!(with(&call, signature), Ok(expected), "{call}");
        }
    }

    #[test]
    fn what_is_not_read_or_not_built_is_named() {
        let signature = |a: &mut Args<'_>| {
            a.required::<i64>("a")?;
            a.keywords().only("mode", "one".to_owned())?;
            a.absent("generator")?;
            a.no_effect("foreach")
        };
        let cases = [
            (json!({"args": [1, 2], "kwargs": {}}), "argument 1 not read: 2"),
            (json!({"args": [1], "kwargs": {"b": 2}}), "argument b not read: 2"),
            (json!({"args": [1], "kwargs": {"a": 2}}), "argument a is given twice"),
            (json!({"args": [1.5], "kwargs": {}}), "argument a not read: 1.5"),
            (json!({"args": [], "kwargs": {}}), "without argument a is not built yet"),
            (json!({"args": [1], "kwargs": {"mode": "two"}}), "argument mode=\"two\" is not built yet"),
            (json!({"args": [1], "kwargs": {"generator": 3}}), "argument generator=3 is not built yet"),
        ];
        for (call, expected) in cases {
            assert_eq!(with(&call, signature), Err(expected.to_owned()), "{call}");
        }
        let accepted = json!({"args": [1], "kwargs": {"mode": "one", "generator": null, "foreach": true}});
        assert_eq!(with(&accepted, signature), Ok(()));
    }

    #[test]
    fn a_sentence_is_an_argument_too() {
        let (call, none) = (json!("0.95 ** epoch"), Tensors::new());
        let mut args = Args::named(&call, &none);
        assert_eq!(args.finish(), Err("arguments not read: 0.95 ** epoch".to_owned()));
        assert_eq!(args.sentence(), Ok("0.95 ** epoch"));
        assert_eq!(args.finish(), Ok(()));
    }

    #[test]
    fn tensors_numbers_and_lists_are_told_apart() {
        let read = |value: Json| with(&json!({"args": [value], "kwargs": {}}), |a| a.required::<Value>("x"));
        assert!(matches!(read(json!({"tensor": "input0"})), Ok(Value::Tensor(_))));
        assert!(matches!(read(json!(2)), Ok(Value::Number(_))));
        assert!(read(json!({"tensor": "input1"})).is_err());
        assert!(read(json!([1, 2])).is_err());
        let list = |value: Json| with(&json!({"args": [value], "kwargs": {}}), |a| a.required::<Vec<isize>>("dim"));
        assert_eq!(list(json!([0, -1])), Ok(vec![0, -1]));
        assert_eq!(list(json!(3)), Ok(vec![3]));
        assert!(list(json!([0, 0.5])).is_err());
    }
}
