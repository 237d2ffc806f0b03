//! `limpid train` and `limpid resume`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use limpid::prelude::*;
use limpid::train::checkpoint::{self, Checkpoint, Metadata};
use limpid::train::{Epoch, Evaluation, Event, Loss, Network, Trainer, evaluate};
use limpid::{Error, Result};
use serde_json::{Map, Value, json};

use crate::args::{Args, Option_};
use crate::config::{Config, WORDS};
use crate::failure::Failure;
use crate::folder::{Folder, metadata};
use crate::parts::{self, Parts};
use crate::progress::Progress;
use crate::settings::{Settings, placed_unknown};
use crate::terminal::{complain, say};
use crate::{builtin, ending, words};

pub const USAGE: &str = "\
limpid train WHAT [options]    WHAT: digits, xor, spiral, moons, circles, mnist DIR, or a run file NAME.toml

  --WORD VALUE            any value of a run file: --epochs 3 --seed 7 --optimizer.lr 1e-3
  --out DIR               the run folder (runs/NAME)
  --overwrite             replaces a run that is there
  --json                  one JSON object a line on standard output
  --quiet                 nothing but errors
  --threads N             threads to use
  --checkpoint-every S    seconds between checkpoints (10)
";

pub const RESUME_USAGE: &str = "\
limpid resume RUN [--epochs N] [--json] [--quiet] [--threads N] [--checkpoint-every S]

  --epochs N              goes on until N epochs are done; a schedule keeps the length that it has
";

const OPTIONS: [Option_; 6] = [
    ("out", Some("DIR")),
    ("overwrite", None),
    ("json", None),
    ("quiet", None),
    ("threads", Some("N")),
    ("checkpoint-every", Some("S")),
];

/// How often Ctrl-C was pressed.
static INTERRUPTED: AtomicU32 = AtomicU32::new(0);

/// What is told, and where.
#[derive(Clone, Copy)]
pub struct Output {
    pub json: bool,
    pub quiet: bool,
}

impl Output {
    fn of(args: &Args) -> Output {
        Output { json: args.has("json"), quiet: args.has("quiet") }
    }

    /// Whether pages for people are written.
    pub fn for_people(self) -> bool {
        !self.json && !self.quiet
    }

    /// A line for programs.
    pub fn event(self, event: &Value) {
        if self.json {
            say(&format!("{event}\n"));
        }
    }
}

/// `limpid train`.
pub fn train(args: &[String]) -> Result<(), Failure> {
    let args = Args::parse(args, &OPTIONS, &WORDS).map_err(Failure::Misused)?;
    args.set_threads().map_err(Failure::Misused)?;
    let mut config = configuration(&args).map_err(Failure::Misused)?;
    if args.value("out") == Some("") {
        return Err(Failure::Misused(Error::new("--out: the name of the folder is missing")));
    }
    let out = args.value("out").map_or_else(|| Path::new("runs").join(&config.name), PathBuf::from);
    let (parts, network) = prepare(&config)?;
    // The run must find its data from whatever folder it is resumed in.
    if let Some(path) = &mut config.data.path
        && let Ok(absolute) = std::path::absolute(&path)
    {
        *path = absolute.display().to_string();
    }
    let (loss, eval_loss) = words::losses(&config.loss);
    // What can not begin leaves no folder.
    drop(trainer(&config, &parts, &network, &*loss, &*eval_loss)?);
    let folder = Folder::create(&out, &config, args.has("overwrite"))?;
    run(&config, &folder, &parts, &network, None, Output::of(&args))
}

/// `limpid resume`.
pub fn resume(args: &[String]) -> Result<(), Failure> {
    let options: Vec<Option_> = OPTIONS.into_iter().skip(2).collect();
    let args = Args::parse(args, &options, &["epochs"]).map_err(Failure::Misused)?;
    args.set_threads().map_err(Failure::Misused)?;
    let [run_folder] = &args.words[..] else {
        return Err(Failure::Misused(Error::new("resume: which run?").help(RESUME_USAGE.trim_end())));
    };
    let (folder, mut config) = Folder::open(Path::new(run_folder))?;
    let mut line = Settings::default();
    for (word, text) in &args.settings {
        line.set(word, text, &WORDS).map_err(Failure::Misused)?;
    }
    let longer = line.whole("epochs", 1).map_err(Failure::Misused)?;
    config.epochs = longer.unwrap_or(config.epochs);
    if let Some(text) = args.value("checkpoint-every") {
        config.checkpoint_every = seconds(text).map_err(Failure::Misused)?;
    }
    let checkpoint = Checkpoint::newest(folder.path())?;
    let (parts, network) = prepare(&config)?;
    if longer.is_some() {
        folder.write("run.toml", &config.to_toml())?;
    }
    folder.cut_metrics(checkpoint.state.step)?;
    run(&config, &folder, &parts, &network, Some(checkpoint), Output::of(&args))
}

/// The resolved configuration of what stands on the line.
fn configuration(args: &Args) -> Result<Config> {
    let mut words = args.words.iter().map(String::as_str);
    let Some(what) = words.next() else {
        return Err(Error::new("train: what?").help(USAGE.trim_end()));
    };
    let mut settings = match builtin::run_file(what) {
        Some(text) => Settings::parse(what, text, &WORDS)?,
        None if what.ends_with(".toml") || Path::new(what).is_file() => Settings::read(Path::new(what), &WORDS)?,
        None => {
            let names: Vec<&str> = builtin::RUNS.iter().map(|(name, _)| *name).collect();
            let error = Error::new(format!("train: {what:?} is no run file and no built-in name"));
            return Err(placed_unknown(error, what, &names));
        }
    };
    if what == "mnist" {
        let Some(folder) = words.next() else {
            return Err(Error::new("train: mnist needs the folder of its files").help("limpid train mnist DIR"));
        };
        // A path is a text whatever it looks like.
        settings.set("data.path", &format!("{folder:?}"), &WORDS)?;
    }
    if let Some(word) = words.next() {
        return Err(Error::new(format!("train: one thing at a time: {word:?} is left over")));
    }
    for (word, text) in &args.settings {
        settings.set(word, text, &WORDS)?;
    }
    if !settings.has("name") {
        let stem = Path::new(what).file_stem().map_or_else(|| what.to_owned(), |s| s.to_string_lossy().into_owned());
        settings.set("name", &format!("{stem:?}"), &WORDS)?;
    }
    let mut config = Config::resolve(&settings)?;
    if let Some(text) = args.value("checkpoint-every") {
        config.checkpoint_every = seconds(text)?;
    }
    Ok(config)
}

fn seconds(text: &str) -> Result<f64> {
    match text.parse() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(seconds),
        _ => Err(Error::new(format!("--checkpoint-every: {text:?} is no number of seconds from 0"))),
    }
}

fn prepare(config: &Config) -> Result<(Parts, Network)> {
    let parts = parts::load(config)?;
    words::check_loss(&config.loss, parts.train.task())?;
    let features = parts.train.row_shape().iter().product();
    let network = parts::network(config, parts.scale.as_ref(), features)?;
    Ok((parts, network))
}

fn trainer<'a>(
    config: &Config,
    parts: &'a Parts,
    network: &'a Network,
    loss: &'a Loss,
    eval_loss: &'a Loss,
) -> Result<Trainer<'a>> {
    let optimizer = words::optimizer(config, network);
    Trainer::new(network, optimizer, loss, eval_loss, &parts.train, parts.validation.as_ref(), config.options())
}

/// Trains to the end, or until Ctrl-C.
fn run(
    config: &Config,
    folder: &Folder,
    parts: &Parts,
    network: &Network,
    from: Option<Checkpoint>,
    output: Output,
) -> Result<(), Failure> {
    let (loss, eval_loss) = words::losses(&config.loss);
    let (train, validation) = (&parts.train, parts.validation.as_ref());
    let mut trainer = trainer(config, parts, network, &*loss, &*eval_loss)?;
    let about = metadata(train.task(), train.columns());
    let mut keeper = Keeper { folder, about, kept: None, saved: Instant::now(), spent: Duration::ZERO };
    if let Some(checkpoint) = from {
        compare(&checkpoint, trainer.state(), output);
        keeper.kept = Some(checkpoint.state.step);
        trainer.resume(checkpoint)?;
    }
    output.event(&json!({"event": "start", "run": folder.path(), "epochs": config.epochs, "seed": config.seed,
        "rows": {"train": train.rows(), "validation": validation.map_or(0, Dataset::rows),
                 "test": parts.test.as_ref().map_or(0, Dataset::rows)},
        "parameters": network.num_parameters()}));
    if output.for_people() {
        ending::greet(config, folder, parts, network);
    }
    catch_interrupts();
    let mut progress = Progress::new(output.for_people(), trainer.state().step);
    let every = Duration::from_secs_f64(config.checkpoint_every);
    let finished = trainer.run(&mut |trainer, event| {
        progress.event(trainer, &event);
        if let Event::Epoch(epoch) = &event {
            let line = metrics(epoch);
            folder.append(&line).map_err(|error| keeper.kept(error))?;
            output.event(&tagged("epoch", &line));
        }
        if INTERRUPTED.load(SeqCst) == 0 && keeper.is_due(every) {
            keeper.save(trainer)?;
        }
        Ok(if INTERRUPTED.load(SeqCst) > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    progress.finish();
    let finished = finished?;
    let seconds = trainer.seconds();
    let place = keeper.save(&trainer)?;
    if !finished {
        let step = trainer.state().step;
        output.event(&json!({"event": "interrupted", "run": folder.path(), "step": step, "checkpoint": place}));
        return Err(Failure::Interrupted(format!(
            "stopped after step {step}: all of it is in {}\n  limpid resume {}",
            place.display(),
            folder.path().display()
        )));
    }
    trainer.load_best()?;
    // Without a test part the training rows are measured.
    let test = evaluate(network, &*eval_loss, parts.test.as_ref().unwrap_or(train))?;
    let chosen = trainer.state().best.map(|(epoch, _)| epoch);
    let result = ending::Ending { config, folder, parts, network, test: &test, chosen, seconds };
    result.write_report()?;
    if output.for_people() {
        result.print()?;
    }
    output.event(&json!({"event": "end", "run": folder.path(), "epochs": trainer.state().epoch,
        "seconds": (seconds * 1e3).round() / 1e3, "test": scores(&test)}));
    Ok(())
}

/// Keeps a run on the disk.
struct Keeper<'a> {
    folder: &'a Folder,
    about: Metadata,
    /// The step of the newest checkpoint.
    kept: Option<u64>,
    /// When it was made, and how long that took.
    saved: Instant,
    spent: Duration,
}

impl Keeper<'_> {
    /// Whether the newest checkpoint is old enough. One that takes long is made less often: they take 2 % of the time
    /// at most.
    fn is_due(&self, every: Duration) -> bool {
        self.saved.elapsed() >= every.max(self.spent * 50)
    }

    /// Writes a checkpoint, and the weights that a user wants: the best so far, else the newest.
    fn save(&mut self, trainer: &Trainer<'_>) -> Result<PathBuf> {
        let begun = Instant::now();
        let path = self.folder.path();
        let place = trainer.checkpoint().save(path, &self.about).map_err(|error| self.kept(error))?;
        self.kept = Some(trainer.state().step);
        checkpoint::save(&self.folder.file("model.safetensors"), &trainer.best_weights(), &self.about)
            .map_err(|error| self.kept(error))?;
        (self.saved, self.spent) = (Instant::now(), begun.elapsed());
        Ok(place)
    }

    /// `error` of writing, with what is not lost.
    fn kept(&self, error: Error) -> Error {
        match self.kept {
            Some(step) => error.note(format!(
                "all up to step {step} is kept, and goes on with: limpid resume {}",
                self.folder.path().display()
            )),
            None => error,
        }
    }
}

/// Says so where the rest of the run will not have the bits of an uninterrupted one.
fn compare(checkpoint: &Checkpoint, here: &checkpoint::State, output: Output) {
    let (then, now) = (&checkpoint.state, here);
    if output.quiet {
        return;
    }
    for (what, then, now) in
        [("instruction set", &then.isa, &now.isa), ("version of limpid", &then.version, &now.version)]
    {
        if then != now {
            complain(&format!(
                "note: the run was begun with the {what} {then}, and goes on with {now}: it may round differently"
            ));
        }
    }
}

fn catch_interrupts() {
    // Where no handler can be set, Ctrl-C ends the process as ever, and the last checkpoint stays.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.fetch_add(1, SeqCst) > 0 {
            std::process::exit(130);
        }
    });
}

/// The line of an epoch in `metrics.jsonl`.
fn metrics(epoch: &Epoch) -> Value {
    let mut line = json!({"epoch": epoch.epoch, "step": epoch.step, "lr": epoch.lr, "loss": epoch.loss});
    if let Some(found) = &epoch.validation {
        line["validation"] = scores(found);
        line["best"] = json!(epoch.best);
    }
    line
}

fn tagged(event: &str, line: &Value) -> Value {
    let mut tagged = Map::from_iter([("event".to_owned(), json!(event))]);
    tagged.extend(line.as_object().cloned().unwrap_or_default());
    Value::Object(tagged)
}

/// Loss and measures as an object.
pub fn scores(found: &Evaluation) -> Value {
    let mut object = Map::from_iter([("loss".to_owned(), json!(found.loss))]);
    object.extend(found.scores.named().into_iter().map(|(name, value)| (name.to_owned(), json!(value))));
    Value::Object(object)
}
