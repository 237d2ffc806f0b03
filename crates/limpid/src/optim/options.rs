//! The options of an optimizer: numbers by torch's names, with defaults and ranges, for each group of parameters.

use limpid_core::{Error, Result};

use crate::module::Module;
use crate::param::Parameter;
use crate::walk::{Item, walk};

/// The value of an option: a number, several, or a flag (1 or 0).
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers(pub(crate) Vec<f64>);

impl From<f64> for Numbers {
    fn from(number: f64) -> Numbers {
        Numbers(vec![number])
    }
}

impl From<bool> for Numbers {
    fn from(flag: bool) -> Numbers {
        Numbers(vec![f64::from(u8::from(flag))])
    }
}

impl From<(f64, f64)> for Numbers {
    fn from((a, b): (f64, f64)) -> Numbers {
        Numbers(vec![a, b])
    }
}

impl From<(f64, f64, f64)> for Numbers {
    fn from((a, b, c): (f64, f64, f64)) -> Numbers {
        Numbers(vec![a, b, c])
    }
}

/// What values an option may have.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    says: &'static str,
    holds: fn(&[f64]) -> bool,
}

impl Range {
    pub(crate) const ANY: Range = Range { says: "a number", holds: |x| x.iter().all(|x| !x.is_nan()) };
    pub(crate) const FLAG: Range = Range { says: "true or false", holds: |x| x.iter().all(|&x| x == 0.0 || x == 1.0) };
    pub(crate) const NOT_NEGATIVE: Range = Range { says: "at least 0", holds: |x| x.iter().all(|&x| x >= 0.0) };
    pub(crate) const POSITIVE: Range = Range { says: "more than 0", holds: |x| x.iter().all(|&x| x > 0.0) };
    pub(crate) const NOT_POSITIVE: Range = Range { says: "at most 0", holds: |x| x.iter().all(|&x| x <= 0.0) };
    pub(crate) const PART: Range = Range { says: "from 0 to 1", holds: |x| x.iter().all(|x| (0.0..=1.0).contains(x)) };
    pub(crate) const BELOW_ONE: Range =
        Range { says: "at least 0 and below 1", holds: |x| x.iter().all(|x| (0.0..1.0).contains(x)) };

    pub(crate) const fn new(says: &'static str, holds: fn(&[f64]) -> bool) -> Range {
        Range { says, holds }
    }
}

/// One option: its name in torch, its default, what it may be.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub(crate) name: &'static str,
    pub(crate) default: &'static [f64],
    pub(crate) range: Range,
}

/// A row of an optimizer's table of options.
pub(crate) const fn spec(name: &'static str, default: &'static [f64], range: Range) -> Spec {
    Spec { name, default, range }
}

/// The options of one group.
#[derive(Clone, Debug)]
pub struct Options {
    specs: &'static [Spec],
    values: Vec<Numbers>,
    /// Whether the group was given the value itself.
    own: Vec<bool>,
}

impl Options {
    pub(crate) fn new(specs: &'static [Spec]) -> Options {
        let values = specs.iter().map(|spec| Numbers(spec.default.to_vec())).collect();
        Options { specs, values, own: vec![false; specs.len()] }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.specs.iter().position(|spec| spec.name == name)
    }

    /// The option of that name; none where the optimizer has none.
    pub(crate) fn get(&self, name: &str) -> Option<&[f64]> {
        self.position(name).map(|i| &self.values[i].0[..])
    }

    /// The numbers of an option that the optimizer has.
    pub(crate) fn all<const N: usize>(&self, name: &str) -> [f64; N] {
        let found = self.get(name).and_then(|values| values.try_into().ok());
        found.unwrap_or([f64::NAN; N])
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.all::<1>(name)[0]
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.number(name) != 0.0
    }

    /// Whether the group was given the option itself.
    pub(crate) fn owns(&self, name: &str) -> bool {
        self.position(name).is_some_and(|i| self.own[i])
    }

    pub(crate) fn set(&mut self, name: &str, value: Numbers, own: bool) {
        if let Some(i) = self.position(name) {
            self.values[i] = value;
            self.own[i] |= own;
        }
    }

    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &[f64])> {
        self.specs.iter().zip(&self.values).map(|(spec, value)| (spec.name, &value.0[..]))
    }

    /// Refuses values that an option can not have.
    pub(crate) fn check(&self, optimizer: &str) -> Result<()> {
        for (spec, Numbers(value)) in self.specs.iter().zip(&self.values) {
            let (name, wanted) = (spec.name, spec.default.len());
            if value.len() != wanted {
                let numbers = if wanted == 1 { "number" } else { "numbers" };
                let what = format!("{optimizer}: {name} has {} values", value.len());
                return Err(Error::new(what).help(format!("{wanted} {numbers}")));
            }
            if !(spec.range.holds)(value) {
                let have = value.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
                let error = Error::new(format!("{optimizer}: {name} is {have}, which must be {}", spec.range.says));
                let usual: Vec<String> = spec.default.iter().map(f64::to_string).collect();
                return Err(error.help(format!("torch's default: {}", usual.join(", "))));
            }
        }
        Ok(())
    }
}

/// Parameters with options of their own.
///
/// ```
/// use limpid::prelude::*;
/// let model = Linear::new(2, 1);
/// let bias = model.bias.clone().expect("it has one");
/// let slow = Group::of(&[bias]).lr(1e-4).option("momentum", 0.5);
/// let sgd = SGD::groups([Group::of(&[model.weight.clone()]), slow]).lr(0.1).momentum(0.9);
/// assert_eq!(sgd.rates(), [0.1, 1e-4]);
/// ```
#[derive(Clone, Debug)]
pub struct Group {
    pub(crate) names: Vec<String>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) own: Vec<(String, Numbers)>,
    /// Why it can not be trained: for the step.
    pub(crate) error: Option<Error>,
}

impl Group {
    /// The parameters of `module`.
    pub fn new<M: Module + ?Sized>(module: &M) -> Group {
        let (names, parameters) = module.named_parameters().into_iter().unzip();
        let mut error = None;
        walk(module, &mut |path, item| {
            if let Item::Module(m) = item
                && let Some(lazy) = m.uninitialised()
            {
                error.get_or_insert_with(|| {
                    lazy.error().note(format!("an optimizer was made for the layer at {path:?}"))
                });
            }
        });
        Group { names, parameters, own: Vec::new(), error }
    }

    /// These parameters.
    pub fn of(parameters: &[Parameter]) -> Group {
        let names = parameters
            .iter()
            .enumerate()
            .map(|(i, p)| p.cell().label().map_or_else(|| i.to_string(), |label| label.to_string()))
            .collect();
        Group { names, parameters: parameters.to_vec(), own: Vec::new(), error: None }
    }

    /// With its own value of the option that torch calls `name`, which the optimizer's setter does not replace: a
    /// number, a flag, or a pair as `betas`.
    ///
    /// # Errors
    /// At the step, when the optimizer has no such option or it can not have this value.
    pub fn option(mut self, name: &str, value: impl Into<Numbers>) -> Group {
        self.own.push((name.to_owned(), value.into()));
        self
    }

    /// With its own learning rate.
    pub fn lr(self, lr: f64) -> Group {
        self.option("lr", lr)
    }

    /// With its own weight decay.
    pub fn weight_decay(self, decay: f64) -> Group {
        self.option("weight_decay", decay)
    }
}
