//! What a run is: its configuration with every value resolved. The words are torch's.

use limpid::Result;
use limpid::train::{Options, Schedule};

use crate::settings::{Settings, Value};
use crate::words;

/// All words of a run file.
pub const WORDS: [&str; 37] = [
    "name",
    "seed",
    "epochs",
    "batch",
    "device",
    "model",
    "data.name",
    "data.path",
    "data.target",
    "data.task",
    "data.ignore",
    "data.points",
    "data.arms",
    "data.noise",
    "data.test",
    "data.validation",
    "data.scale",
    "data.divisor",
    "loss.name",
    "loss.label_smoothing",
    "loss.beta",
    "optimizer.name",
    "optimizer.lr",
    "optimizer.weight_decay",
    "optimizer.momentum",
    "optimizer.nesterov",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.eps",
    "optimizer.clip_norm",
    "schedule.name",
    "schedule.step_size",
    "schedule.gamma",
    "schedule.t_max",
    "schedule.eta_min",
    "schedule.warmup",
    "checkpoint_every",
];

const DATA: [&str; 7] = ["digits", "xor", "spiral", "moons", "circles", "mnist", "csv"];
const LOSSES: [&str; 5] = ["CrossEntropyLoss", "BCEWithLogitsLoss", "MSELoss", "L1Loss", "SmoothL1Loss"];
const OPTIMIZERS: [&str; 3] = ["AdamW", "Adam", "SGD"];
const SCHEDULES: [&str; 3] = ["Constant", "StepLR", "CosineAnnealingLR"];

/// Where the rows come from, and how they are divided.
/// The most points and arms of drawn data: a number that was typed with too many zeros is told before memory runs out.
const MOST_POINTS: u64 = 100_000_000;
const MOST_ARMS: u64 = 1000;

#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    pub name: &'static str,
    pub path: Option<String>,
    pub target: Option<String>,
    pub task: &'static str,
    pub ignore: Vec<String>,
    pub points: u64,
    pub arms: u64,
    pub noise: f64,
    /// The part of the rows that is kept for the end; 0: the training rows are measured.
    pub test: f64,
    /// The part of the training rows that chooses the epoch; 0: the last epoch is taken.
    pub validation: f64,
    pub scale: &'static str,
    pub divisor: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LossWords {
    pub name: &'static str,
    pub label_smoothing: f64,
    pub beta: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerWords {
    pub name: &'static str,
    pub lr: f64,
    pub weight_decay: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub clip_norm: Option<f64>,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub name: String,
    pub seed: u64,
    pub epochs: u64,
    pub batch: u64,
    pub checkpoint_every: f64,
    pub model: Vec<String>,
    pub data: Data,
    pub loss: LossWords,
    pub optimizer: OptimizerWords,
    pub schedule: Schedule,
    pub warmup: f64,
}

impl Config {
    /// Every word of `settings` that is there, and defaults for the others.
    ///
    /// # Errors
    /// A value of another kind, out of range, or unknown, with its place; a word that is missing.
    pub fn resolve(settings: &Settings) -> Result<Config> {
        let data = data(settings)?;
        let not_negative = |x: f64| x >= 0.0;
        let number = |word, range: fn(f64) -> bool, wanted: &str, default: f64| {
            Ok(settings.number(word, wanted, range)?.unwrap_or(default))
        };
        settings.choice("device", &["cpu"])?;
        let model = settings.texts("model")?.unwrap_or_default();
        if model.is_empty() {
            let error = limpid::Error::new("the model has no layers");
            return Err(error.help("model = [\"Linear(64, 32)\", \"ReLU\", \"Linear(32, 10)\"]"));
        }
        words::model(&model).map_err(|error| settings.error("model", error))?;
        let epochs = settings.whole("epochs", 1)?.unwrap_or(10);
        let (schedule, warmup) = schedule(settings, epochs)?;
        Ok(Config {
            name: settings.folder_name("name")?.unwrap_or_else(|| data.name.to_owned()),
            seed: settings.whole("seed", 0)?.unwrap_or(0),
            epochs,
            batch: settings.whole("batch", 1)?.unwrap_or(64),
            checkpoint_every: number("checkpoint_every", |x| x >= 0.0, "a number of seconds from 0", 10.0)?,
            model,
            loss: LossWords {
                name: settings.choice("loss.name", &LOSSES)?.unwrap_or(LOSSES[0]),
                label_smoothing: number(
                    "loss.label_smoothing",
                    |x| (0.0..1.0).contains(&x),
                    "a number from 0 to 1",
                    0.0,
                )?,
                beta: number("loss.beta", |x| x > 0.0, "a number over 0", 1.0)?,
            },
            optimizer: OptimizerWords {
                name: settings.choice("optimizer.name", &OPTIMIZERS)?.unwrap_or(OPTIMIZERS[0]),
                lr: number("optimizer.lr", |x| x > 0.0, "a number over 0", 1e-3)?,
                weight_decay: number("optimizer.weight_decay", |x| x >= 0.0, "a number from 0", 0.0)?,
                momentum: number("optimizer.momentum", |x| x >= 0.0, "a number from 0", 0.0)?,
                nesterov: settings.flag("optimizer.nesterov")?.unwrap_or(false),
                beta1: number("optimizer.beta1", |x| (0.0..1.0).contains(&x), "a number from 0 to below 1", 0.9)?,
                beta2: number("optimizer.beta2", |x| (0.0..1.0).contains(&x), "a number from 0 to below 1", 0.999)?,
                eps: number("optimizer.eps", |x| x > 0.0, "a number over 0", 1e-8)?,
                clip_norm: settings
                    .number("optimizer.clip_norm", "a number over 0", |x| not_negative(x) && x != 0.0)?,
            },
            data,
            schedule,
            warmup,
        })
    }

    /// What the trainer needs of it.
    pub fn options(&self) -> Options {
        Options {
            epochs: self.epochs,
            batch: self.batch as usize,
            seed: self.seed,
            lr: self.optimizer.lr,
            schedule: self.schedule.clone(),
            warmup: self.warmup,
            clip_norm: self.optimizer.clip_norm,
        }
    }

    /// The run file that says all of it.
    pub fn to_toml(&self) -> String {
        let text = |text: &str| Value::Text(text.to_owned());
        let whole = |n: u64| Value::Whole(n as i64);
        let list = |items: &[String]| Value::List(items.iter().map(|item| text(item)).collect());
        let number = Value::Number;
        let (d, l, o) = (&self.data, &self.loss, &self.optimizer);
        let mut out = String::new();
        let mut section = |name: &str, lines: Vec<(&str, Option<Value>)>| {
            if !name.is_empty() {
                out += &format!("\n[{name}]\n");
            }
            for (word, value) in lines {
                if let Some(value) = value {
                    out += &format!("{word} = {}\n", value.to_toml());
                }
            }
        };
        section(
            "",
            vec![
                ("name", Some(text(&self.name))),
                ("seed", Some(whole(self.seed))),
                ("epochs", Some(whole(self.epochs))),
                ("batch", Some(whole(self.batch))),
                ("device", Some(text("cpu"))),
                ("checkpoint_every", Some(number(self.checkpoint_every))),
                ("model", Some(list(&self.model))),
            ],
        );
        let drawn = matches!(d.name, "spiral" | "moons" | "circles");
        let table = d.name == "csv";
        section(
            "data",
            vec![
                ("name", Some(text(d.name))),
                ("path", d.path.as_deref().map(text)),
                ("target", d.target.as_deref().map(text)),
                ("task", table.then(|| text(d.task))),
                ("ignore", table.then(|| list(&d.ignore))),
                ("points", drawn.then(|| whole(d.points))),
                ("arms", (d.name == "spiral").then(|| whole(d.arms))),
                ("noise", drawn.then(|| number(d.noise))),
                ("test", Some(number(d.test))),
                ("validation", Some(number(d.validation))),
                ("scale", Some(text(d.scale))),
                ("divisor", (d.scale == "divisor").then(|| number(d.divisor))),
            ],
        );
        section(
            "loss",
            vec![
                ("name", Some(text(l.name))),
                ("label_smoothing", (l.name == "CrossEntropyLoss").then(|| number(l.label_smoothing))),
                ("beta", (l.name == "SmoothL1Loss").then(|| number(l.beta))),
            ],
        );
        let sgd = o.name == "SGD";
        section(
            "optimizer",
            vec![
                ("name", Some(text(o.name))),
                ("lr", Some(number(o.lr))),
                ("weight_decay", Some(number(o.weight_decay))),
                ("momentum", sgd.then(|| number(o.momentum))),
                ("nesterov", sgd.then_some(Value::Flag(o.nesterov))),
                ("beta1", (!sgd).then(|| number(o.beta1))),
                ("beta2", (!sgd).then(|| number(o.beta2))),
                ("eps", (!sgd).then(|| number(o.eps))),
                ("clip_norm", o.clip_norm.map(number)),
            ],
        );
        let (name, words) = match self.schedule {
            Schedule::Constant => ("Constant", vec![]),
            Schedule::StepLR { step_size, gamma } => ("StepLR", vec![("step_size", step_size), ("gamma", gamma)]),
            Schedule::CosineAnnealingLR { t_max, eta_min } => {
                ("CosineAnnealingLR", vec![("t_max", t_max), ("eta_min", eta_min)])
            }
        };
        let mut lines = vec![("name", Some(text(name)))];
        lines.extend(words.into_iter().chain([("warmup", self.warmup)]).map(|(word, x)| (word, Some(number(x)))));
        section("schedule", lines);
        out
    }
}

fn data(settings: &Settings) -> Result<Data> {
    let Some(name) = settings.choice("data.name", &DATA)? else {
        let error = limpid::Error::new("the run has no data");
        return Err(error.help("[data] with name = \"csv\", path and target"));
    };
    let part = |word, default: f64| {
        Ok(settings.number(word, "a number from 0 to below 1", |x| (0.0..1.0).contains(&x))?.unwrap_or(default))
    };
    let needed = |word: &str| match settings.text(word)? {
        Some(text) => Ok(Some(text)),
        None => Err(settings.error("data.name", format!("{name:?} needs `{word}`"))),
    };
    Ok(Data {
        name,
        path: if matches!(name, "mnist" | "csv") { needed("data.path")? } else { None },
        target: if name == "csv" { needed("data.target")? } else { None },
        task: settings.choice("data.task", &["auto", "classification", "regression"])?.unwrap_or("auto"),
        ignore: settings.texts("data.ignore")?.unwrap_or_default(),
        points: settings.whole_up_to("data.points", 1, MOST_POINTS)?.unwrap_or(600),
        arms: settings.whole_up_to("data.arms", 1, MOST_ARMS)?.unwrap_or(3),
        noise: settings.number("data.noise", "a number from 0", |x| x >= 0.0)?.unwrap_or(0.05),
        test: part("data.test", 0.2)?,
        validation: part("data.validation", 0.1)?,
        scale: settings.choice("data.scale", &["none", "standard", "divisor"])?.unwrap_or("none"),
        divisor: settings.number("data.divisor", "a number over 0", |x| x > 0.0)?.unwrap_or(1.0),
    })
}

/// The schedule and the epochs of warm-up.
fn schedule(settings: &Settings, epochs: u64) -> Result<(Schedule, f64)> {
    let number = |word, default: f64| Ok(settings.number(word, "a number over 0", |x| x > 0.0)?.unwrap_or(default));
    let schedule = match settings.choice("schedule.name", &SCHEDULES)?.unwrap_or(SCHEDULES[0]) {
        "StepLR" => {
            Schedule::StepLR { step_size: number("schedule.step_size", 10.0)?, gamma: number("schedule.gamma", 0.1)? }
        }
        "CosineAnnealingLR" => Schedule::CosineAnnealingLR {
            t_max: number("schedule.t_max", epochs as f64)?,
            eta_min: settings.number("schedule.eta_min", "a number from 0", |x| x >= 0.0)?.unwrap_or(0.0),
        },
        _ => Schedule::Constant,
    };
    let warmup = settings.number("schedule.warmup", "a number of epochs from 0", |x| x >= 0.0)?.unwrap_or(0.0);
    Ok((schedule, warmup))
}
