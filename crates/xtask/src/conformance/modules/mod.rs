//! Modules: state by name, outputs, gradients of inputs and parameters, and buffers afterwards.

mod activation;
mod attention;
mod conv;
mod embedding;
mod loss;
mod norm;
mod pool;
mod recurrent;
mod resample;
mod shape;

pub use loss::{older, with_distance};

use std::rc::Rc;

use limpid::nn::{
    BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, GELU, L1Loss, LayerNorm, LeakyReLU, Linear, LogSoftmax, MSELoss,
    NLLLoss, ReLU, Reduction, SiLU, Sigmoid, SmoothL1Loss, Softmax, Tanh,
};
use limpid::{Buffer, DType, Forward, LoadReport, Module, StateDict, Tensor, no_grad};

use crate::conformance::args::{Args, Result, Tensors, dtype, line};
use crate::conformance::cases::Case;
use crate::conformance::check::{Recorded, Verdict};
use crate::conformance::random;

/// A module, and how it is called with the arguments of a forward pass.
pub struct Built {
    module: Rc<dyn Module>,
    forward: Box<dyn Fn(&mut Args<'_>) -> Result<Vec<Tensor>>>,
}

/// Reads the constructor's arguments and makes the module, of parameters of this type.
type Make = fn(&mut Args<'_>, DType) -> Result<Built>;

/// A layer of one input.
fn layer<M: Forward + 'static>(module: M) -> Result<Built> {
    let module = Rc::new(module);
    let called = module.clone();
    Ok(Built { module, forward: Box::new(move |a| Ok(vec![called.forward(&a.required("input")?)])) })
}

/// A factor as the losses keep it.
pub fn buffer(weight: Option<Tensor>) -> Option<Buffer> {
    weight.as_ref().map(Buffer::new)
}

/// A loss of an input and a target.
pub fn loss<M: Module + 'static>(module: M, forward: fn(&M, &Tensor, &Tensor) -> Tensor) -> Result<Built> {
    let module = Rc::new(module);
    let called = module.clone();
    let forward = move |a: &mut Args<'_>| {
        let (input, target) = (a.required("input")?, a.required("target")?);
        Ok(vec![forward(&called, &input, &target)])
    };
    Ok(Built { module, forward: Box::new(forward) })
}

/// A layer without arguments but torch's `inplace`.
fn plain<M: Forward + 'static>(a: &mut Args<'_>, module: M) -> Result<Built> {
    a.no_effect("inplace")?;
    layer(module)
}

/// Every module by torch's name.
const MODULES: &[(&str, Make)] = &[
    ("BCELoss", |a, _| {
        let (weight, size_average, reduce) = (a.option("weight")?, a.option("size_average")?, a.option("reduce")?);
        loss(BCELoss { weight: buffer(weight), reduction: reduction(a, size_average, reduce)? }, BCELoss::forward)
    }),
    ("BCEWithLogitsLoss", |a, _| {
        let (weight, size_average, reduce) = (a.option("weight")?, a.option("size_average")?, a.option("reduce")?);
        let reduction = reduction(a, size_average, reduce)?;
        let pos_weight = a.option("pos_weight")?;
        loss(
            BCEWithLogitsLoss { weight: buffer(weight), reduction, pos_weight: buffer(pos_weight) },
            BCEWithLogitsLoss::forward,
        )
    }),
    ("CrossEntropyLoss", |a, _| {
        let (weight, size_average) = (a.option("weight")?, a.option("size_average")?);
        let (ignore_index, reduce) = (a.or("ignore_index", -100)?, a.option("reduce")?);
        let reduction = reduction(a, size_average, reduce)?;
        let label_smoothing = a.or("label_smoothing", 0.0)?;
        loss(
            CrossEntropyLoss { weight: buffer(weight), ignore_index, reduction, label_smoothing },
            CrossEntropyLoss::forward,
        )
    }),
    ("GELU", |a, _| {
        layer(match a.or("approximate", "none".to_owned())?.as_str() {
            "none" => GELU::new().approximate("none"),
            "tanh" => GELU::new().approximate("tanh"),
            other => return Err(format!("argument approximate not read: {other}")),
        })
    }),
    ("L1Loss", |a, _| {
        let (size_average, reduce) = (a.option("size_average")?, a.option("reduce")?);
        loss(L1Loss::new().reduction(reduction(a, size_average, reduce)?), L1Loss::forward)
    }),
    ("LayerNorm", |a, dtype| {
        let made = LayerNorm::new(a.required::<Vec<usize>>("normalized_shape")?).eps(a.or("eps", 1e-5)?);
        let made = made.elementwise_affine(a.or("elementwise_affine", true)?);
        layer(made.bias(a.or("bias", true)?).dtype(dtype))
    }),
    ("LeakyReLU", |a, _| {
        let slope = a.or("negative_slope", 0.01)?;
        plain(a, LeakyReLU::new(slope))
    }),
    ("Linear", |a, dtype| {
        let made = Linear::new(a.required("in_features")?, a.required("out_features")?);
        layer(made.bias(a.or("bias", true)?).dtype(dtype))
    }),
    ("LogSoftmax", |a, _| layer(LogSoftmax::new(a.required("dim")?))),
    ("MSELoss", |a, _| {
        let (size_average, reduce) = (a.option("size_average")?, a.option("reduce")?);
        loss(MSELoss::new().reduction(reduction(a, size_average, reduce)?), MSELoss::forward)
    }),
    ("NLLLoss", |a, _| {
        let (weight, size_average) = (a.option("weight")?, a.option("size_average")?);
        let (ignore_index, reduce) = (a.or("ignore_index", -100)?, a.option("reduce")?);
        loss(
            NLLLoss { weight: buffer(weight), ignore_index, reduction: reduction(a, size_average, reduce)? },
            NLLLoss::forward,
        )
    }),
    ("ReLU", |a, _| plain(a, ReLU::new())),
    ("SiLU", |a, _| plain(a, SiLU::new())),
    ("Sigmoid", |_, _| layer(Sigmoid::new())),
    ("SmoothL1Loss", |a, _| {
        let (size_average, reduce) = (a.option("size_average")?, a.option("reduce")?);
        let reduction = reduction(a, size_average, reduce)?;
        loss(SmoothL1Loss { reduction, beta: a.or("beta", 1.0)? }, SmoothL1Loss::forward)
    }),
    ("Softmax", |a, _| layer(Softmax::new(a.required("dim")?))),
    ("Tanh", |_, _| layer(Tanh::new())),
];

/// Torch's `reduction`, which its older arguments `size_average` and `reduce` replace where they are given.
pub fn reduction(a: &mut Args<'_>, size_average: Option<bool>, reduce: Option<bool>) -> Result<Reduction> {
    let name: String = a.or("reduction", "mean".to_owned())?;
    let older = size_average.is_some() || reduce.is_some();
    Ok(match (name.as_str(), older, reduce, size_average) {
        (_, true, Some(false), _) | ("none", false, ..) => Reduction::None,
        (_, true, _, Some(false)) | ("sum", false, ..) => Reduction::Sum,
        (_, true, ..) | ("mean", false, ..) => Reduction::Mean,
        ("batchmean", false, ..) => Reduction::BatchMean,
        _ => return Err(format!("argument reduction not read: {name}")),
    })
}

/// All families of modules.
const TABLES: &[&[(&str, Make)]] = &[
    MODULES,
    activation::MODULES,
    attention::MODULES,
    conv::MODULES,
    embedding::MODULES,
    loss::MODULES,
    norm::MODULES,
    pool::MODULES,
    recurrent::MODULES,
    resample::MODULES,
    shape::MODULES,
];

/// What runs the cases of `class`, if it is built.
pub fn find(class: &str) -> Option<Box<dyn Fn(&Case) -> Result<Verdict>>> {
    let (_, make) = TABLES.iter().copied().flatten().find(|(name, _)| *name == class)?;
    Some(Box::new(move |case| run(*make, case)))
}

/// What only records them.
pub fn recorder(class: &str) -> Option<Box<dyn Fn(&Case) -> Result<Recorded>>> {
    let (_, make) = TABLES.iter().copied().flatten().find(|(name, _)| *name == class)?;
    Some(Box::new(move |case| Ready::new(*make, case)?.record(case)))
}

/// The inputs of a case, those that are floats as leaves of the gradient.
pub fn inputs(case: &Case) -> Tensors {
    let inputs = case.tensors.iter().filter(|(name, _)| name.starts_with("input"));
    inputs.map(|(name, t)| (name.clone(), if t.dtype().is_float() { t.requires_grad_() } else { t.clone() })).collect()
}

/// A module with the state of a case, and what its forward pass is called with.
struct Ready {
    built: Built,
    inputs: Tensors,
    /// What the module found of its state.
    report: LoadReport,
}

impl Ready {
    fn new(make: Make, case: &Case) -> Result<Ready> {
        let mut args = Args::new(&case.json["ctor"], &case.tensors);
        let element = dtype(case.json["dtype"].as_str().unwrap_or_default())?;
        let built = make(&mut args, element)?;
        args.finish()?;
        let mut state = StateDict::new();
        for (name, tensor) in &case.tensors {
            if let Some(name) = name.strip_prefix("param.").or_else(|| name.strip_prefix("buffer.")) {
                state.insert(name, tensor.clone());
            }
        }
        let report = built.module.load_state_dict(&state, false).map_err(line)?;
        if case.json["train"].as_bool().unwrap_or(true) {
            built.module.train()
        } else {
            built.module.eval()
        }
        Ok(Ready { built, inputs: inputs(case), report })
    }

    fn record(&self, case: &Case) -> Result<Recorded> {
        let mut args = Args::new(&case.json["forward"], &self.inputs);
        let outputs = (self.built.forward)(&mut args)?;
        args.finish()?;
        let named = self.built.module.named_parameters();
        let parameters = named.iter().map(|(name, p)| (format!("param.{name}"), p.tensor()));
        let inputs = self.inputs.iter().map(|(name, t)| (name.clone(), t.clone()));
        Ok(Recorded { outputs, leaves: inputs.chain(parameters).collect(), law: args.law() })
    }
}

fn run(make: Make, case: &Case) -> Result<Verdict> {
    let ready = Ready::new(make, case)?;
    let mut verdict = Verdict::default();
    if !ready.report.is_clean() {
        verdict.wrong(format!("state: {}", ready.report.to_string().replace("\n ", ";")));
    }
    let Recorded { outputs, leaves, law } = ready.record(case)?;
    let Ready { built: Built { module, forward }, inputs, .. } = ready;
    let call = &case.json["forward"];
    if let Some(law) = law {
        random::check(&mut verdict, case, &law, &leaves, &|| forward(&mut Args::new(call, &inputs)))?;
        return Ok(verdict);
    }
    let count = call["outputs"].as_u64().unwrap_or(0) as usize;
    verdict.outputs(case, count, &outputs, &leaves)?;
    let after = no_grad(|| module.state_dict());
    for (name, _) in module.named_buffers() {
        let expected = case.tensors.get(&format!("buffer_after.{name}"));
        let expected = expected.or_else(|| case.tensors.get(&format!("buffer.{name}")));
        match (after.get(&name), expected) {
            (Some(ours), Some(theirs)) => verdict.compare(&format!("buffer {name}"), ours, theirs),
            (None, None) => {}
            _ => verdict.wrong(format!("buffer {name} is missing on one side")),
        }
    }
    Ok(verdict)
}
