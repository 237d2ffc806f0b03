//! What a module is: a struct whose fields are its parameters and children.

use std::path::Path;
use std::sync::Arc;

use limpid_core::{DType, Error, Result, Tensor};

use crate::describe::{self, Summary};
use crate::glob;
use crate::nn::Uninitialised;
use crate::param::{Buffer, Parameter};
use crate::site::{self, Mode, Site};
use crate::state::{LoadReport, StateDict};
use crate::walk::{self, Item, walk};

/// What visits the fields of a module: see [`Module::visit`].
pub trait Visitor {
    /// A parameter of the module.
    fn parameter(&mut self, name: &str, parameter: &Parameter);
    /// A buffer of the module.
    fn buffer(&mut self, name: &str, buffer: &Buffer);
    /// The identity of the module, where it has a field for it.
    fn site(&mut self, site: &Site);
    /// A flag that follows the mode of the module.
    fn mode(&mut self, mode: &Mode);
    /// A child. The visitor decides whether to look into it.
    fn module(&mut self, name: &str, module: &dyn Module);
    /// Several children under one name: a list. `visit` shows them, named 0, 1, …
    fn group(&mut self, name: &str, kind: &'static str, visit: &dyn Fn(&mut dyn Visitor));
}

/// A part of a network. `#[derive(Module)]` writes [`Module::visit`] and [`Module::kind`] from the fields of a
/// struct; everything else follows from them.
///
/// ```
/// use limpid::prelude::*;
/// #[derive(Module)]
/// struct Net { body: Linear, head: Linear }
/// impl Net {
///     #[forward]
///     fn forward(&self, x: &Tensor) -> Tensor { self.head.forward(&self.body.forward(x).relu()) }
/// }
/// let net = Net { body: Linear::new(4, 8), head: Linear::new(8, 2) };
/// let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["body.weight", "body.bias", "head.weight", "head.bias"]);
/// assert_eq!(net.num_parameters(), 4 * 8 + 8 + 8 * 2 + 2);
/// assert_eq!(*net.forward(&Tensor::zeros([3, 4])).shape(), Shape::from([3, 2]));
/// ```
pub trait Module: Send + Sync {
    /// Shows every field to `visitor`, in the order in which they are written.
    fn visit(&self, visitor: &mut dyn Visitor);

    /// The name of the struct.
    fn kind(&self) -> &'static str;

    /// What messages call it: `Linear 784→512`. The kind, unless it says more.
    fn label(&self) -> String {
        self.kind().to_owned()
    }

    /// What printing says of it in parentheses: `in_features=784, out_features=512, bias=True`.
    fn extra_repr(&self) -> String {
        String::new()
    }

    /// The identity of the module, where it has one.
    fn site(&self) -> Option<&Site> {
        None
    }

    /// What a layer says of itself that has no parameters before its first forward pass.
    #[doc(hidden)]
    fn uninitialised(&self) -> Option<&dyn Uninitialised> {
        None
    }

    /// All parameters, each once, in torch's order.
    fn parameters(&self) -> Vec<Parameter> {
        self.named_parameters().into_iter().map(|(_, p)| p).collect()
    }

    /// All parameters with their paths, each once, under its first name.
    fn named_parameters(&self) -> Vec<(String, Parameter)> {
        site::name(self);
        let mut found: Vec<(String, Parameter)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        walk(self, &mut |path, item| {
            if let Item::Parameter(p) = item
                && seen.insert(p.cell().id())
            {
                found.push((path.to_owned(), p.clone()));
            }
        });
        found
    }

    /// All buffers with their paths, each once.
    fn named_buffers(&self) -> Vec<(String, Buffer)> {
        site::name(self);
        let mut found: Vec<(String, Buffer)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        walk(self, &mut |path, item| {
            if let Item::Buffer(b) = item
                && seen.insert(b.cell().id())
            {
                found.push((path.to_owned(), b.clone()));
            }
        });
        found
    }

    /// All buffers, each once.
    fn buffers(&self) -> Vec<Buffer> {
        self.named_buffers().into_iter().map(|(_, b)| b).collect()
    }

    /// Paths and kinds of this module (path `""`) and all below it.
    fn modules(&self) -> Vec<(String, String)> {
        site::name(self);
        let mut found = Vec::new();
        walk(self, &mut |path, item| {
            if let Item::Module(module) = item {
                found.push((path.to_owned(), module.kind().to_owned()));
            }
        });
        found
    }

    /// Calls `f` with the path of every module in it and the module, children before their parents; last with `""` and the
    /// module itself. Torch's `apply`.
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let model = Sequential::new().add(Linear::new(4, 8)).add(ReLU).add(Linear::new(8, 2));
    /// model.apply(|_, module| {
    ///     if module.kind() == "Linear" {
    ///         init::zeros_(&module.get_parameter("bias").unwrap()).unwrap();
    ///     }
    /// });
    /// assert_eq!(model[2].get_parameter("bias")?.value()?.to_vec::<f32>()?, [0.0, 0.0]);
    /// # Ok::<(), limpid::Error>(())
    /// ```
    fn apply(&self, mut f: impl FnMut(&str, &dyn Module))
    where
        Self: Sized,
    {
        site::name(self);
        walk::apply(self, &mut String::new(), &mut f);
    }

    /// The parameter at `path`: `encoder.0.weight`.
    ///
    /// # Errors
    /// When there is none.
    fn get_parameter(&self, path: &str) -> Result<Parameter> {
        at(self, "get_parameter", path, |item| match item {
            Item::Parameter(p) => Some(Parameter::clone(p)),
            _ => None,
        })
    }

    /// The buffer at `path`: `norm.running_mean`.
    ///
    /// # Errors
    /// When there is none.
    fn get_buffer(&self, path: &str) -> Result<Buffer> {
        at(self, "get_buffer", path, |item| match item {
            Item::Buffer(b) => Some(Buffer::clone(b)),
            _ => None,
        })
    }

    /// Converts all parameters, and the buffers that are floats, to `dtype`: torch's `to(dtype)`, `double()`, `half()`, ….
    /// An optimizer is made afterwards, since what it keeps has the type that its parameters had.
    ///
    /// # Errors
    /// When `dtype` is no float, a lazy layer has no parameters yet, or a value can not be computed. Nothing is changed then.
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let model = Linear::new(2, 1);
    /// model.to_dtype(DType::F64)?;
    /// assert_eq!(model.forward(&Tensor::zeros_of([3, 2], DType::F64)).dtype(), DType::F64);
    /// # Ok::<(), limpid::Error>(())
    /// ```
    fn to_dtype(&self, dtype: DType) -> Result<()> {
        convert(self, dtype)
    }

    /// Puts everything in training mode: dropout drops.
    fn train(&self) {
        set_mode(self, true);
    }

    /// Puts everything in evaluation mode: dropout passes its input on.
    fn eval(&self) {
        set_mode(self, false);
    }

    /// Whether the first layer in it trains; `true` where there is none.
    fn is_training(&self) -> bool {
        let mut mode = None;
        walk(self, &mut |_, item| match item {
            Item::Site(site) => mode = mode.or(Some(site.mode().is_training())),
            Item::Mode(flag) => mode = mode.or(Some(flag.is_training())),
            _ => {}
        });
        mode.unwrap_or(true)
    }

    /// Freezes all parameters (`false`) or makes them trainable.
    fn requires_grad_(&self, trainable: bool) {
        for p in self.parameters() {
            p.requires_grad_(trainable);
        }
    }

    /// Freezes the parameters whose path matches `pattern`: `?` and `*` stand for characters within a part
    /// of the path, `**` for any. Returns how many.
    ///
    /// # Errors
    /// When no path matches.
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let model = Sequential::new().add(Linear::new(2, 2)).add(Linear::new(2, 2));
    /// assert_eq!(model.freeze("0.*")?, 2);
    /// assert!(model.parameters()[3].requires_grad() && !model.parameters()[0].requires_grad());
    /// # Ok::<(), limpid::Error>(())
    /// ```
    fn freeze(&self, pattern: &str) -> Result<usize> {
        set_trainable(self, pattern, false)
    }

    /// The opposite of [`Module::freeze`].
    ///
    /// # Errors
    /// When no path matches.
    fn unfreeze(&self, pattern: &str) -> Result<usize> {
        set_trainable(self, pattern, true)
    }

    /// A snapshot of all parameters and persistent buffers by name; tied ones stand under each name. An
    /// error of a value waits for its read.
    fn state_dict(&self) -> StateDict {
        StateDict::of(self)
    }

    /// Takes the values of `state`, converted to the types of the parameters.
    ///
    /// # Errors
    /// With `strict`, when a name is missing or unexpected or a shape differs; without, only when a value
    /// can not be computed. Nothing is changed then.
    fn load_state_dict(&self, state: &StateDict, strict: bool) -> Result<LoadReport> {
        state.load_into(self, strict)
    }

    /// Writes [`Module::state_dict`] to a safetensors file, which is complete or absent.
    ///
    /// # Errors
    /// What writing meets.
    fn save(&self, path: impl AsRef<Path>) -> Result<()>
    where
        Self: Sized,
    {
        self.state_dict().save(path)
    }

    /// Takes the values of a safetensors file; every name must fit.
    ///
    /// # Errors
    /// As [`Module::load_state_dict`], or what reading the file meets.
    fn load(&self, path: impl AsRef<Path>) -> Result<LoadReport>
    where
        Self: Sized,
    {
        let path = path.as_ref();
        let state = StateDict::load(path)?;
        self.load_state_dict(&state, true).map_err(|e| e.note(format!("in {}", path.display())))
    }

    /// Number of elements of all parameters, tied ones once.
    fn num_parameters(&self) -> usize {
        self.parameters().iter().map(Parameter::numel).sum()
    }

    /// The model as torch prints it.
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let model = Sequential::new().add(Linear::new(2, 3)).add(ReLU);
    /// assert_eq!(model.describe(), "\
    /// Sequential(
    ///   (0): Linear(in_features=2, out_features=3, bias=True)
    ///   (1): ReLU()
    /// )");
    /// ```
    fn describe(&self) -> String {
        describe::print(self)
    }

    /// A table of the modules and their parameters.
    fn summary(&self) -> Summary {
        describe::summary(self)
    }

    /// The table with the shape of each module's result when `run` is run: `|| model.forward(&x)`.
    ///
    /// # Errors
    /// When the result of `run` carries an error.
    fn summary_of(&self, run: impl FnOnce() -> Tensor) -> Result<Summary>
    where
        Self: Sized,
    {
        describe::summary_of(self, run)
    }
}

fn set_mode<M: Module + ?Sized>(module: &M, training: bool) {
    walk(module, &mut |_, item| match item {
        Item::Site(site) => site.mode().set(training),
        Item::Mode(mode) => mode.set(training),
        _ => {}
    });
}

fn set_trainable<M: Module + ?Sized>(module: &M, pattern: &str, trainable: bool) -> Result<usize> {
    let all = module.named_parameters();
    let mut count = 0;
    for (_, p) in all.iter().filter(|(name, _)| glob::matches(pattern, name)) {
        p.requires_grad_(trainable);
        count += 1;
    }
    if count > 0 {
        return Ok(count);
    }
    let word = if trainable { "unfreeze" } else { "freeze" };
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    Err(Error::new(format!("{word}: no parameter matches {pattern:?}")).help(format!("one of {}", names.join(", "))))
}

/// What `wanted` makes of the item at `path`.
fn at<M: Module + ?Sized, T>(module: &M, name: &str, path: &str, wanted: impl Fn(&Item<'_>) -> Option<T>) -> Result<T> {
    let (mut found, mut others) = (None, Vec::new());
    walk(module, &mut |at, item| {
        if let Some(it) = wanted(&item) {
            if at == path {
                found.get_or_insert(it);
            } else {
                others.push(at.to_owned());
            }
        }
    });
    found.ok_or_else(|| {
        let error = Error::new(format!("{name}: there is nothing at {path:?}"));
        if others.is_empty() { error } else { error.help(format!("one of {}", others.join(", "))) }
    })
}

/// Gives the floats of `module` the type `dtype`.
fn convert<M: Module + ?Sized>(module: &M, dtype: DType) -> Result<()> {
    if !dtype.is_float() {
        return Err(Error::new(format!("to_dtype: {dtype} is no float")).help("DType::F32, F64, F16 or BF16"));
    }
    let (mut cells, mut error) = (Vec::new(), None);
    walk(module, &mut |_, item| match item {
        Item::Module(module) => error = error.take().or_else(|| module.uninitialised().map(|lazy| lazy.error())),
        Item::Parameter(p) => cells.push(p.cell().clone()),
        Item::Buffer(b) => cells.push(b.cell().clone()),
        _ => {}
    });
    error.map_or(Ok(()), Err)?;
    cells.retain(|cell| cell.dtype().is_float() && cell.dtype() != dtype);
    let values = cells.iter().map(|cell| Ok(cell.value()?.to_dtype(dtype))).collect::<Result<Vec<_>>>()?;
    limpid_core::eval(&values)?;
    cells.iter().zip(&values).try_for_each(|(cell, value)| cell.set_value(value))
}

/// A module from one tensor to one tensor: what [`Sequential`](crate::nn::Sequential) holds.
pub trait Forward: Module {
    /// The result for `x`.
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor;
}

/// Containers that stand for what they hold.
macro_rules! transparent {
    ($($t:ident => $container:ty),*) => {$(
        impl<$t: Module + ?Sized> Module for $container {
            fn visit(&self, visitor: &mut dyn Visitor) {
                (**self).visit(visitor);
            }
            fn kind(&self) -> &'static str {
                (**self).kind()
            }
            fn label(&self) -> String {
                (**self).label()
            }
            fn extra_repr(&self) -> String {
                (**self).extra_repr()
            }
            fn site(&self) -> Option<&Site> {
                (**self).site()
            }
            fn uninitialised(&self) -> Option<&dyn Uninitialised> {
                (**self).uninitialised()
            }
        }
        impl<$t: Forward + ?Sized> Forward for $container {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Tensor {
                (**self).forward(x)
            }
        }
    )*};
}
transparent!(M => Box<M>, M => Arc<M>, M => &M);

/// What a field of a module may be.
pub trait Field {
    /// Shows the field to `visitor` under `name`.
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor);
}

impl<M: Module> Field for M {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
        visitor.module(name, self);
    }
}

impl Field for Parameter {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
        visitor.parameter(name, self);
    }
}

impl Field for Buffer {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
        visitor.buffer(name, self);
    }
}

impl Field for Site {
    fn visit_field(&self, _name: &str, visitor: &mut dyn Visitor) {
        visitor.site(self);
    }
}

impl Field for Mode {
    fn visit_field(&self, _name: &str, visitor: &mut dyn Visitor) {
        visitor.mode(self);
    }
}

impl<T: Field> Field for Option<T> {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
        if let Some(field) = self {
            field.visit_field(name, visitor);
        }
    }
}

fn list<T: Field>(items: &[T], name: &str, visitor: &mut dyn Visitor) {
    visitor.group(name, "ModuleList", &|visitor| {
        items.iter().enumerate().for_each(|(i, item)| item.visit_field(&i.to_string(), visitor));
    });
}

impl<T: Field> Field for Vec<T> {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
        list(self, name, visitor);
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
        list(self, name, visitor);
    }
}

/// Modules or parameters by name, in the order of the names: torch's `ModuleDict` and `ParameterDict`.
///
/// ```
/// use limpid::prelude::*;
/// use std::collections::BTreeMap;
/// #[derive(Module)]
/// struct Heads { heads: BTreeMap<String, Linear> }
/// let make = |name: &str| (name.to_owned(), Linear::new(2, 3).bias(false));
/// let net = Heads { heads: BTreeMap::from([make("size"), make("colour")]) };
/// let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["heads.colour.weight", "heads.size.weight"]);
/// ```
impl<T: Field> Field for std::collections::BTreeMap<String, T> {
    fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
        visitor.group(name, "ModuleDict", &|visitor| {
            self.iter().for_each(|(name, item)| item.visit_field(name, visitor));
        });
    }
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),*))*) => {$(
        impl<$($t: Field),*> Field for ($($t,)*) {
            fn visit_field(&self, name: &str, visitor: &mut dyn Visitor) {
                visitor.group(name, "ModuleList", &|visitor| {
                    $(self.$i.visit_field(stringify!($i), visitor);)*
                });
            }
        }
    )*};
}
tuples! { (A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) }

/// Configuration is no part of the state.
macro_rules! plain {
    ($($t:ty),*) => {$(
        impl Field for $t {
            fn visit_field(&self, _name: &str, _visitor: &mut dyn Visitor) {}
        }
    )*};
}
plain!(bool, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64, char, String, &'static str, ());
plain!(limpid_core::DType, limpid_core::Shape);

impl<T: ?Sized> Field for std::marker::PhantomData<T> {
    fn visit_field(&self, _name: &str, _visitor: &mut dyn Visitor) {}
}
