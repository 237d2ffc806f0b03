//! Checkpoints: all that the next step depends on, complete on the disk or not there.
//!
//! ```text
//! RUN/checkpoints/STEP/model.safetensors      parameters and buffers
//!                      optimizer.safetensors  the optimizer's state
//!                      best.safetensors       parameters and buffers of the best epoch so far
//!                      state.json             [`State`]
//! ```
//! A checkpoint is written beside its place, synced, and made visible by one rename.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use limpid_core::{DType, Error, Result, Tensor};
use limpid_io::safetensors::{self, View};
use limpid_io::write;
use serde_json::{Value, json};

use crate::data::file_error;

/// Tensors by name, in order.
pub type Tensors = Vec<(String, Tensor)>;

/// Free text that a file of tensors carries.
pub type Metadata = BTreeMap<String, String>;

/// How many checkpoints are kept; each has the best epoch's weights as well.
const KEPT: usize = 3;

/// All that the next step depends on, beside the tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The version of Limpid that wrote it.
    pub version: String,
    /// The instruction set: another one rounds differently.
    pub isa: String,
    /// The seed of the run.
    pub seed: u64,
    /// Seed and counter of the random generator.
    pub rng: (u64, u64),
    /// Epochs that are finished.
    pub epoch: u64,
    /// Rows of the current epoch's order that are consumed.
    pub position: usize,
    /// Steps made.
    pub step: u64,
    /// The learning rate of the last step.
    pub lr: f64,
    /// Σ loss·rows of the current epoch.
    pub loss_sum: f64,
    /// Seconds spent on training so far.
    pub seconds: f64,
    /// The best epoch so far: its number from 1, and its score.
    pub best: Option<(u64, f64)>,
}

impl State {
    /// Before the first step.
    pub fn start(seed: u64, isa: &str) -> State {
        State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            isa: isa.to_owned(),
            seed,
            rng: limpid_core::rng_state(),
            epoch: 0,
            position: 0,
            step: 0,
            lr: 0.0,
            loss_sum: 0.0,
            seconds: 0.0,
            best: None,
        }
    }

    fn to_json(&self) -> String {
        // Floats are kept by their bits too: what is read again must be what was.
        let exact = |x: f64| json!({"value": x, "bits": format!("{:016x}", x.to_bits())});
        let best = self.best.map(|(epoch, score)| json!({"epoch": epoch, "score": exact(score)}));
        let value = json!({
            "version": self.version,
            "instruction_set": self.isa,
            "seed": self.seed,
            "random": {"seed": self.rng.0, "counter": self.rng.1},
            "epoch": self.epoch,
            "position": self.position,
            "step": self.step,
            "learning_rate": exact(self.lr),
            "loss_sum": exact(self.loss_sum),
            "seconds": self.seconds,
            "best": best,
        });
        format!("{value:#}\n")
    }

    fn parse(path: &Path, text: &str) -> Result<State> {
        let damaged = |what: String| {
            Error::new(format!("{}: {what}", path.display())).help("resuming from an older checkpoint: remove this one")
        };
        let value: Value = serde_json::from_str(text).map_err(|error| damaged(format!("no JSON: {error}")))?;
        let missing = |name: &str| damaged(format!("`{name}` is missing or no such value"));
        let member = |of: &Value, name: &str| of.get(name).cloned().ok_or_else(|| missing(name));
        let whole = |of: &Value, name: &str| member(of, name)?.as_u64().ok_or_else(|| missing(name));
        let text = |name: &str| Ok(member(&value, name)?.as_str().ok_or_else(|| missing(name))?.to_owned());
        let exact = |of: &Value, name: &str| {
            let bits = member(&member(of, name)?, "bits")?;
            let bits = bits.as_str().and_then(|bits| u64::from_str_radix(bits, 16).ok());
            Ok(f64::from_bits(bits.ok_or_else(|| missing(name))?))
        };
        let random = member(&value, "random")?;
        let best = match member(&value, "best")? {
            Value::Null => None,
            best => Some((whole(&best, "epoch")?, exact(&best, "score")?)),
        };
        Ok(State {
            version: text("version")?,
            isa: text("instruction_set")?,
            seed: whole(&value, "seed")?,
            rng: (whole(&random, "seed")?, whole(&random, "counter")?),
            epoch: whole(&value, "epoch")?,
            position: whole(&value, "position")? as usize,
            step: whole(&value, "step")?,
            lr: exact(&value, "learning_rate")?,
            loss_sum: exact(&value, "loss_sum")?,
            seconds: member(&value, "seconds")?.as_f64().ok_or_else(|| missing("seconds"))?,
            best,
        })
    }
}

/// What a checkpoint holds.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The numbers.
    pub state: State,
    /// Parameters and buffers.
    pub model: Tensors,
    /// The optimizer's state.
    pub optimizer: Tensors,
    /// Parameters and buffers of the best epoch so far; empty before the first.
    pub best: Tensors,
}

impl Checkpoint {
    /// Writes it into the run folder and removes the oldest beyond the last few.
    ///
    /// # Errors
    /// The system's: a full disk, a read-only folder. Then no folder of this step is there.
    pub fn save(&self, run: &Path, metadata: &Metadata) -> Result<PathBuf> {
        let folder = run.join("checkpoints");
        fs::create_dir_all(&folder).map_err(|error| file_error(limpid_io::Error::system(&folder, "make", &error)))?;
        let path = folder.join(format!("{:08}", self.state.step));
        if path.exists() {
            return Ok(path);
        }
        let parts = [("model", &self.model), ("optimizer", &self.optimizer), ("best", &self.best)];
        let encoded = parts
            .into_iter()
            .map(|(name, tensors)| Ok((name, encode(&path, tensors, metadata)?)))
            .collect::<Result<Vec<_>>>()?;
        write::atomic_dir(&path, |place| {
            for (name, bytes) in &encoded {
                let file = place.join(format!("{name}.safetensors"));
                fs::write(&file, bytes).map_err(|error| limpid_io::Error::system(&file, "write to", &error))?;
            }
            let file = place.join("state.json");
            fs::write(&file, self.state.to_json()).map_err(|error| limpid_io::Error::system(&file, "write to", &error))
        })
        .map_err(file_error)?;
        let mut all = list(&folder);
        all.truncate(all.len().saturating_sub(KEPT));
        for (_, old) in all {
            // One that can not be removed costs space, not correctness.
            let _ = fs::remove_dir_all(old);
        }
        Ok(path)
    }

    /// The newest checkpoint of a run.
    ///
    /// # Errors
    /// There is none, or a file of it is damaged.
    pub fn newest(run: &Path) -> Result<Checkpoint> {
        let folder = run.join("checkpoints");
        let Some((_, path)) = list(&folder).pop() else {
            let error = Error::new(format!("{}: there is no checkpoint to resume from", run.display()));
            return Err(error.help("a folder that `limpid train` has written"));
        };
        let file = path.join("state.json");
        let text =
            fs::read_to_string(&file).map_err(|error| file_error(limpid_io::Error::system(&file, "read", &error)))?;
        let part = |name: &str| Ok(load(&path.join(format!("{name}.safetensors")))?.0);
        Ok(Checkpoint {
            state: State::parse(&file, &text)?,
            model: part("model")?,
            optimizer: part("optimizer")?,
            best: part("best")?,
        })
    }
}

/// The checkpoints of a folder by step, oldest first.
fn list(folder: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let step = |path: PathBuf| Some((path.file_name()?.to_str()?.parse().ok()?, path));
    let mut all: Vec<(u64, PathBuf)> = entries.flatten().filter_map(|entry| step(entry.path())).collect();
    all.sort();
    all
}

/// Writes tensors to a safetensors file, complete or not at all.
///
/// # Errors
/// Those that the tensors carry, and the system's.
pub fn save(path: &Path, tensors: &Tensors, metadata: &Metadata) -> Result<()> {
    let bytes = encode(path, tensors, metadata)?;
    write::atomic(path, |out| out.write_all(&bytes)).map_err(file_error)
}

/// Reads a safetensors file.
///
/// # Errors
/// Those of [`safetensors::read`], and a type that tensors do not have.
pub fn load(path: &Path) -> Result<(Tensors, Metadata)> {
    let archive = safetensors::read(path).map_err(file_error)?;
    let tensor = |entry: safetensors::Entry| {
        let Some(dtype) = DType::ALL.into_iter().find(|dtype| dtype.name() == entry.dtype.name()) else {
            let (place, dtype, name) = (path.display(), entry.dtype, &entry.name);
            return Err(Error::new(format!("{place}: {name} is {dtype}, which no tensor is")));
        };
        Ok((entry.name, Tensor::from_bytes(&entry.bytes, entry.shape, dtype)))
    };
    Ok((archive.tensors.into_iter().map(tensor).collect::<Result<_>>()?, archive.metadata))
}

fn encode(path: &Path, tensors: &Tensors, metadata: &Metadata) -> Result<Vec<u8>> {
    let mut parts = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let dtype = limpid_io::DType::ALL.into_iter().find(|dtype| dtype.name() == tensor.dtype().name());
        let dtype = dtype.ok_or_else(|| Error::new(format!("{name}: {} can not be saved", tensor.dtype())))?;
        parts.push((name, dtype, tensor.shape().to_vec(), tensor.to_bytes()?));
    }
    let views: Vec<View> =
        parts.iter().map(|(name, dtype, shape, bytes)| View { name, dtype: *dtype, shape, bytes }).collect();
    safetensors::encode(path, &views, metadata).map_err(file_error)
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, Metadata, State, Tensor, list};

    fn at(step: u64) -> Checkpoint {
        let mut state = State::start(7, "avx2");
        state.step = step;
        state.lr = 0.1 + 0.2;
        state.loss_sum = f64::NAN;
        state.best = Some((3, 1.0 / 3.0));
        state.rng = (u64::MAX, 5);
        let weights = Tensor::from([[1.5f32, f32::MIN_POSITIVE / 2.0]]);
        Checkpoint { state, model: vec![("0.weight".to_owned(), weights)], optimizer: Vec::new(), best: Vec::new() }
    }

    #[test]
    fn what_is_read_is_what_was_written_to_the_bit_and_the_last_few_are_kept() {
        let run = std::env::temp_dir().join(format!("limpid-checkpoint-{}", std::process::id()));
        let error = Checkpoint::newest(&run).unwrap_err();
        assert!(error.what().ends_with(": there is no checkpoint to resume from"), "{error}");
        for step in [2, 10, 100, 1000] {
            at(step).save(&run, &Metadata::new()).unwrap();
        }
        let steps: Vec<u64> = list(&run.join("checkpoints")).into_iter().map(|(step, _)| step).collect();
        assert_eq!(steps, [10, 100, 1000]);
        let (read, written) = (Checkpoint::newest(&run).unwrap(), at(1000));
        assert_eq!(read.state.loss_sum.to_bits(), written.state.loss_sum.to_bits());
        let comparable = |state: &State| State { loss_sum: 0.0, ..state.clone() };
        assert_eq!(comparable(&read.state), comparable(&written.state));
        assert_eq!(read.model[0].0, "0.weight");
        assert_eq!(read.model[0].1.to_bytes().unwrap(), written.model[0].1.to_bytes().unwrap());
        std::fs::remove_dir_all(&run).unwrap();
    }

    #[test]
    fn a_damaged_state_is_named() {
        let run = std::env::temp_dir().join(format!("limpid-damaged-{}", std::process::id()));
        let folder = at(1).save(&run, &Metadata::new()).unwrap();
        let file = folder.join("state.json");
        let text = std::fs::read_to_string(&file).unwrap();
        for (damaged, expected) in [
            (text.replace("\"step\"", "\"stop\""), "`step` is missing or no such value"),
            (text.replace("\"seed\": 7", "\"seed\": -7"), "`seed` is missing or no such value"),
            (text[..text.len() / 2].to_owned(), "no JSON: "),
        ] {
            std::fs::write(&file, damaged).unwrap();
            let error = Checkpoint::newest(&run).unwrap_err();
            assert!(error.what().starts_with(&format!("{}: {expected}", file.display())), "{error}");
        }
        std::fs::remove_dir_all(&run).unwrap();
    }
}
