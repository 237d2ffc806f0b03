//! torch's words as layers, losses and optimizers.

use limpid::data::Task;
use limpid::prelude::*;
use limpid::train::Loss;
use limpid::{Error, Result};

use crate::config::{Config, LossWords};
use crate::settings::placed_unknown;

/// A layer that can be named: its word, and its arguments with defaults where they may be left out.
struct Word {
    name: &'static str,
    arguments: &'static [(&'static str, Option<f64>)],
    build: fn(&[f64]) -> Box<dyn Forward>,
}

const LAYERS: [Word; 13] = [
    Word {
        name: "Linear",
        arguments: &[("in_features", None), ("out_features", None), ("bias", Some(1.0))],
        build: |a| Box::new(Linear::new(a[0] as usize, a[1] as usize).bias(a[2] != 0.0)),
    },
    Word { name: "ReLU", arguments: &[], build: |_| Box::new(ReLU::new()) },
    Word { name: "GELU", arguments: &[], build: |_| Box::new(GELU::new()) },
    Word { name: "SiLU", arguments: &[], build: |_| Box::new(SiLU::new()) },
    Word { name: "Sigmoid", arguments: &[], build: |_| Box::new(Sigmoid::new()) },
    Word { name: "Tanh", arguments: &[], build: |_| Box::new(Tanh::new()) },
    Word { name: "LeakyReLU", arguments: &[("negative_slope", Some(0.01))], build: |a| Box::new(LeakyReLU::new(a[0])) },
    Word { name: "Softmax", arguments: &[("dim", Some(-1.0))], build: |a| Box::new(Softmax::new(a[0] as isize)) },
    Word { name: "LogSoftmax", arguments: &[("dim", Some(-1.0))], build: |a| Box::new(LogSoftmax::new(a[0] as isize)) },
    Word { name: "Dropout", arguments: &[("p", Some(0.5))], build: |a| Box::new(Dropout::new(a[0])) },
    Word { name: "LayerNorm", arguments: &[("size", None)], build: |a| Box::new(LayerNorm::new([a[0] as usize])) },
    Word { name: "Identity", arguments: &[], build: |_| Box::new(Identity::new()) },
    Word { name: "Flatten", arguments: &[], build: |_| Box::new(Flatten::new()) },
];

/// The most weights of a layer: 8 GiB. A size that was typed with too many zeros is told before memory runs out.
const MOST_WEIGHTS: f64 = 2_147_483_648.0;

/// The layers of a model.
///
/// # Errors
/// A word that is none, with its place in the list; arguments that are missing, too many, or no numbers.
pub fn model(words: &[String]) -> Result<Sequential> {
    let mut layers = Sequential::new();
    for (i, word) in words.iter().enumerate() {
        layers.push(layer(word).map_err(|error| Error::new(format!("model[{i}]: {error}")))?);
    }
    Ok(layers)
}

/// `Linear(64, 512)`, `Linear(in_features=64, out_features=512, bias=False)`, `ReLU`, `ReLU()`.
fn layer(text: &str) -> Result<Box<dyn Forward>> {
    let (name, inside) = match text.trim().split_once('(') {
        None => (text.trim(), ""),
        Some((name, rest)) => match rest.trim_end().strip_suffix(')') {
            Some(inside) => (name.trim(), inside.trim()),
            None => return Err(Error::new(format!("`{text}` has no closing parenthesis"))),
        },
    };
    let Some(word) = LAYERS.iter().find(|word| word.name == name) else {
        let known: Vec<&str> = LAYERS.iter().map(|word| word.name).collect();
        return Err(placed_unknown(Error::new(format!("unknown layer `{name}`")), name, &known));
    };
    let mut values: Vec<Option<f64>> = word.arguments.iter().map(|(_, default)| *default).collect();
    for (at, part) in inside.split(',').map(str::trim).filter(|part| !part.is_empty()).enumerate() {
        let (at, value) = match part.split_once('=') {
            Some((key, value)) => (word.arguments.iter().position(|(name, _)| *name == key.trim()), value.trim()),
            None => (Some(at), part),
        };
        let Some(slot) = at.and_then(|at| values.get_mut(at)) else {
            return Err(Error::new(format!("`{text}`: {name} has no argument for `{part}`")).help(signature(word)));
        };
        *slot = Some(
            argument(value)
                .ok_or_else(|| Error::new(format!("`{text}`: `{value}` is no number")).help(signature(word)))?,
        );
    }
    let missing = word.arguments.iter().zip(&values).find(|(_, value)| value.is_none());
    if let Some(((argument, _), _)) = missing {
        return Err(Error::new(format!("`{text}`: `{argument}` is missing")).help(signature(word)));
    }
    let values: Vec<f64> = values.into_iter().flatten().collect();
    let sizes = word.arguments.iter().zip(&values).filter(|((_, default), _)| default.is_none());
    for ((argument, _), value) in sizes {
        if value.fract() != 0.0 || !(1.0..=1e9).contains(value) {
            return Err(Error::new(format!("`{text}`: `{argument}` is {value}, not a whole number from 1")));
        }
    }
    let weights: f64 =
        word.arguments.iter().zip(&values).filter(|((_, default), _)| default.is_none()).map(|(_, x)| x).product();
    if weights > MOST_WEIGHTS {
        return Err(Error::new(format!("`{text}`: {weights:e} weights are too many for a layer"))
            .help(format!("{MOST_WEIGHTS} or fewer")));
    }
    Ok((word.build)(&values))
}

fn argument(text: &str) -> Option<f64> {
    match text {
        "True" | "true" => Some(1.0),
        "False" | "false" => Some(0.0),
        number => number.parse().ok().filter(|x: &f64| x.is_finite()),
    }
}

/// `Linear(in_features, out_features, bias=1)`
fn signature(word: &Word) -> String {
    let one = |(name, default): &(&str, Option<f64>)| match default {
        Some(default) => format!("{name}={default}"),
        None => (*name).to_owned(),
    };
    format!("{}({})", word.name, word.arguments.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// The loss of training, and the one that is shown: without smoothing.
pub fn losses(words: &LossWords) -> (Box<Loss>, Box<Loss>) {
    match words.name {
        "BCEWithLogitsLoss" => (Box::new(bce), Box::new(bce)),
        "MSELoss" => (Box::new(mse_loss), Box::new(mse_loss)),
        "L1Loss" => (Box::new(l1_loss), Box::new(l1_loss)),
        "SmoothL1Loss" => {
            let make = |beta| -> Box<Loss> { Box::new(move |x: &Tensor, y: &Tensor| smooth_l1_loss(x, y, beta)) };
            (make(words.beta), make(words.beta))
        }
        _ => {
            let smoothing = CrossEntropyLoss::new().label_smoothing(words.label_smoothing);
            (Box::new(move |x: &Tensor, y: &Tensor| smoothing.forward(x, y)), Box::new(cross_entropy))
        }
    }
}

/// That the loss is one for what is learned.
///
/// # Errors
/// A loss of numbers for classes, or the other way round.
pub fn check_loss(words: &LossWords, task: &Task) -> Result<()> {
    let name = words.name;
    match task {
        Task::Classification { classes } if name == "BCEWithLogitsLoss" && classes.len() != 2 => {
            let error = Error::new(format!("{name} is for two classes, the data has {}", classes.len()));
            Err(error.help("--loss.name CrossEntropyLoss"))
        }
        Task::Classification { .. } if name == "CrossEntropyLoss" || name == "BCEWithLogitsLoss" => Ok(()),
        Task::Classification { classes } => {
            let error = Error::new(format!("{name} is for numbers, the data has {} classes", classes.len()));
            Err(error.help("--loss.name CrossEntropyLoss, or --data.task regression"))
        }
        Task::Regression { .. } if name == "CrossEntropyLoss" || name == "BCEWithLogitsLoss" => {
            let error = Error::new(format!("{name} is for classes, the data has numbers"));
            Err(error.help("--loss.name MSELoss, or --data.task classification"))
        }
        Task::Regression { .. } => Ok(()),
    }
}

/// Of logits `[N, 1]` and classes 0 and 1.
fn bce(x: &Tensor, y: &Tensor) -> Tensor {
    let y = if y.dtype().is_float() { y.clone() } else { y.to_dtype(x.dtype()).unsqueeze(-1) };
    binary_cross_entropy_with_logits(x, &y)
}

/// The optimizer of a model.
pub fn optimizer(config: &Config, model: &impl Module) -> Box<dyn Optimizer> {
    let words = &config.optimizer;
    let betas = (words.beta1, words.beta2);
    match words.name {
        "SGD" => {
            let sgd = SGD::new(model).lr(words.lr).weight_decay(words.weight_decay);
            Box::new(sgd.momentum(words.momentum).nesterov(words.nesterov))
        }
        "Adam" => Box::new(Adam::new(model).lr(words.lr).weight_decay(words.weight_decay).betas(betas).eps(words.eps)),
        _ => Box::new(AdamW::new(model).lr(words.lr).weight_decay(words.weight_decay).betas(betas).eps(words.eps)),
    }
}
