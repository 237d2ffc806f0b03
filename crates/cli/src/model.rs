//! A trained model, from the folder of its run.

use std::path::Path;

use limpid::data::{Scale, Task};
use limpid::prelude::*;
use limpid::train::{Network, checkpoint, dict};
use limpid::{Error, Result};

use crate::config::Config;
use crate::folder::{Folder, task_of};
use crate::words;

/// What a run has learned.
pub struct Trained {
    pub folder: Folder,
    pub config: Config,
    pub network: Network,
    pub task: Task,
    /// Names of the columns of features; empty where they have none.
    pub columns: Vec<String>,
    /// How many features a row has.
    pub features: usize,
}

/// Loads the model of a run, in evaluation mode.
///
/// # Errors
/// No run there; no model, or one of another architecture (the names that are missing, unexpected or of another
/// shape).
pub fn load(run: &Path) -> Result<Trained> {
    let (folder, config) = Folder::open(run)?;
    let path = folder.file("model.safetensors");
    if !path.exists() {
        let error = Error::new(format!("{}: there is no model yet", path.display()));
        return Err(error.help(format!("limpid resume {}", run.display())));
    }
    let (tensors, about) = checkpoint::load(&path)?;
    let (task, columns) = task_of(&path, &about)?;
    let of = |name: &str| tensors.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor);
    let features = features(&config, &columns, of("scale.mean"), of("layers.0.weight"));
    let scale = (config.data.scale != "none").then(|| Scale::by(1.0, features));
    let network = Network::new(scale.as_ref(), words::model(&config.model)?);
    let report = network.load_state_dict(&dict(&tensors), false)?;
    if !report.is_clean() {
        let place = path.display();
        let error = Error::new(format!("{place}: the weights of another model than that of run.toml\n  {report}"));
        return Err(error.help("the model.safetensors of this run, or the `model` that it was trained with"));
    }
    network.eval();
    Ok(Trained { folder, config, network, task, columns, features })
}

/// How many features a row has: what the columns, the scale or the first layer's weights say.
fn features(config: &Config, columns: &[String], mean: Option<&Tensor>, weight: Option<&Tensor>) -> usize {
    match (columns.len(), mean, weight) {
        (0, Some(mean), _) => mean.numel(),
        (0, None, Some(weight)) => weight.size(-1),
        (0, None, None) => usize::from(!config.model.is_empty()),
        (columns, _, _) => columns,
    }
}
