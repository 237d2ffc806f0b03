//! The rows of a run, divided.

use std::path::Path;

use limpid::data::table::{self, Kind};
use limpid::data::{Dataset, Scale, datasets};
use limpid::prelude::*;
use limpid::train::Network;
use limpid::{Error, Result};

use crate::config::Config;
use crate::words;

/// Rows for training, for choosing the epoch, and for the end.
pub struct Parts {
    pub train: Dataset,
    pub validation: Option<Dataset>,
    pub test: Option<Dataset>,
    /// How features are brought to a common scale, learned on the training rows.
    pub scale: Option<Scale>,
}

/// Loads and divides the data of a run: the same seed gives the same parts.
///
/// # Errors
/// Files that are missing or damaged, and parts without rows.
pub fn load(config: &Config) -> Result<Parts> {
    let words = &config.data;
    let path = Path::new(words.path.as_deref().unwrap_or_default());
    let (points, seed) = (words.points as usize, config.seed);
    let whole = match words.name {
        "digits" => datasets::digits()?,
        "xor" => datasets::xor()?,
        "spiral" => datasets::spiral(points, words.arms as usize, words.noise, seed)?,
        "moons" => datasets::moons(points, words.noise, seed)?,
        "circles" => datasets::circles(points, words.noise, seed)?,
        "mnist" => {
            let (train, test) = datasets::mnist(path)?;
            return divide(config, train, Some(test));
        }
        _ => {
            let kind = match words.task {
                "classification" => Kind::Classification,
                "regression" => Kind::Regression,
                _ => Kind::Auto,
            };
            table::read(path, words.target.as_deref().unwrap_or_default(), kind, &words.ignore)?
        }
    };
    if words.test == 0.0 {
        return divide(config, whole, None);
    }
    let (train, test) = split(&whole, words.test, "data.test", seed)?;
    divide(config, train, Some(test))
}

fn divide(config: &Config, train: Dataset, test: Option<Dataset>) -> Result<Parts> {
    let words = &config.data;
    let (train, validation) = match words.validation {
        0.0 => (train, None),
        part => {
            let (train, validation) = split(&train, part, "data.validation", config.seed)?;
            (train, Some(validation))
        }
    };
    for part in [Some(&train), validation.as_ref(), test.as_ref()].into_iter().flatten() {
        eval([part.features(), part.targets()])?;
    }
    let scale = match words.scale {
        "standard" => Some(Scale::learn(train.features())?),
        "divisor" => Some(Scale::by(words.divisor as f32, train.row_shape().iter().product())),
        _ => None,
    };
    Ok(Parts { train, validation, test, scale })
}

/// All rows but `part` of them, and those.
///
/// # Errors
/// One of both would have no rows; `word` is what says how large the part is.
fn split(data: &Dataset, part: f64, word: &str, seed: u64) -> Result<(Dataset, Dataset)> {
    let (rest, taken) = data.split(1.0 - part, seed);
    if rest.features().error().is_none() {
        return Ok((rest, taken));
    }
    let (name, rows) = (data.name(), data.rows());
    let error = Error::new(format!("{name}: {rows} rows are too few: {word} = {part} leaves a part without rows"));
    Err(error.help(format!("more rows, or --{word} 0")))
}

/// The network of a run with its first weights, checked on a row.
///
/// # Errors
/// Words that are no layers; shapes that do not fit (the layer by its path).
pub fn network(config: &Config, scale: Option<&Scale>, features: usize) -> Result<Network> {
    manual_seed(config.seed);
    let network = Network::new(scale, words::model(&config.model)?);
    let row = no_grad(|| network.forward(&Tensor::zeros([1, features])));
    match row.error() {
        None => Ok(network),
        Some(error) => {
            Err(Error::new(format!("the model does not fit rows of {features} features")).note(without_lines(&error)))
        }
    }
}

/// An error of a layer with the layer's path, and without the lines of this program that made and called it: its user
/// wrote words, not lines.
fn without_lines(error: &Error) -> String {
    let layer = error.origin().and_then(|origin| Some((origin, origin.frame.as_ref()?)));
    match layer {
        Some((origin, frame)) => {
            error.to_string().replace(&origin.to_string(), &format!("in  {} ({})", frame.path, frame.kind))
        }
        None => error.to_string(),
    }
}
