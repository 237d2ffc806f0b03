//! The folder of a run, and its files.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use limpid::data::Task;
use limpid::train::checkpoint::Metadata;
use limpid::{Error, Result};
use limpid_io::write;
use serde_json::{Value, json};

use crate::config::{Config, WORDS};
use crate::settings::Settings;

const FILES: [&str; 4] = ["run.toml", "model.safetensors", "metrics.jsonl", "report.html"];

/// `runs/NAME`.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder of a new run, with its configuration.
    ///
    /// # Errors
    /// A folder that is there and not empty, unless it is a run and `overwrite` says so; what the system refuses.
    pub fn create(path: &Path, config: &Config, overwrite: bool) -> Result<Folder> {
        let folder = Folder(path.to_owned());
        if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            let place = path.display();
            if !folder.file("run.toml").exists() {
                let error = Error::new(format!("{place}: the folder exists, and is no run"));
                return Err(error.help("--out with another folder"));
            }
            if !overwrite {
                let error = Error::new(format!("{place}: the run exists"));
                return Err(error.help("--overwrite to replace it, or --out with another folder"));
            }
            folder.clear()?;
        }
        fs::create_dir_all(path).map_err(|error| system(path, "make", &error))?;
        folder.write("run.toml", &config.to_toml())?;
        folder.write("metrics.jsonl", "")?;
        Ok(folder)
    }

    /// The folder of a run that was begun, and its configuration.
    ///
    /// # Errors
    /// No run there, or a damaged `run.toml`.
    pub fn open(path: &Path) -> Result<(Folder, Config)> {
        let folder = Folder(path.to_owned());
        let file = folder.file("run.toml");
        if !file.exists() {
            let error = Error::new(format!("{}: there is no run: no run.toml", path.display()));
            return Err(error.help("the folder that `limpid train` made: runs/NAME"));
        }
        let config = Config::resolve(&Settings::read(&file, &WORDS)?)?;
        Ok((folder, config))
    }

    /// Removes what a run consists of, and nothing else. A folder in which nothing can be removed keeps all of it.
    fn clear(&self) -> Result<()> {
        let (checkpoints, aside) = (self.file("checkpoints"), self.file(".checkpoints.old"));
        // Emptied in its place, a folder that can not be removed itself would have lost its checkpoints.
        for folder in [&aside, &checkpoints].into_iter().filter(|folder| folder.is_dir()) {
            let moved = if *folder == aside { Ok(()) } else { fs::rename(folder, &aside) };
            moved.and_then(|()| fs::remove_dir_all(&aside)).map_err(|error| system(folder, "remove", &error))?;
        }
        for file in FILES.map(|name| self.file(name)).into_iter().filter(|file| file.exists()) {
            fs::remove_file(&file).map_err(|error| system(&file, "remove", &error))?;
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Replaces a file, completely or not at all.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        write::atomic(&self.file(name), |out| out.write_all(text.as_bytes()))
            .map_err(|error| Error::new(error.to_string()))
    }

    /// Appends a line to the metrics.
    pub fn append(&self, line: &Value) -> Result<()> {
        let path = self.file("metrics.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).map_err(|error| system(&path, "open", &error))?;
        writeln!(file, "{line}").map_err(|error| system(&path, "write to", &error))
    }

    /// The metrics of the epochs so far.
    ///
    /// # Errors
    /// A line that is no JSON, but for a last one that was cut short.
    pub fn metrics(&self) -> Result<Vec<Value>> {
        Ok(self.metrics_and_lines()?.into_iter().map(|(value, _)| value).collect())
    }

    fn metrics_and_lines(&self) -> Result<Vec<(Value, String)>> {
        let path = self.file("metrics.jsonl");
        let text = fs::read_to_string(&path).map_err(|error| system(&path, "read", &error))?;
        let lines: Vec<&str> = text.lines().collect();
        let mut found = Vec::with_capacity(lines.len());
        for (i, line) in lines.iter().enumerate() {
            match serde_json::from_str(line) {
                Ok(value) => found.push((value, format!("{line}\n"))),
                Err(_) if i + 1 == lines.len() => {}
                Err(error) => return Err(Error::new(format!("{}:{}: {error}", path.display(), i + 1))),
            }
        }
        Ok(found)
    }

    /// Keeps the metrics up to `step` only, letter by letter.
    pub fn cut_metrics(&self, step: u64) -> Result<()> {
        let all = self.metrics_and_lines()?.into_iter();
        let kept = all.filter(|(value, _)| value["step"].as_u64().is_some_and(|at| at <= step));
        self.write("metrics.jsonl", &kept.map(|(_, line)| line).collect::<String>())
    }
}

/// The system's refusal, in plain words.
pub fn system(path: &Path, action: &str, error: &std::io::Error) -> Error {
    Error::new(limpid_io::Error::system(path, action, error).to_string())
}

/// What a file of weights says of the rows that the model takes.
pub fn metadata(task: &Task, columns: &[String]) -> Metadata {
    let (kind, names) = match task {
        Task::Classification { classes } => ("classification", classes),
        Task::Regression { columns } => ("regression", columns),
    };
    let limpid = json!({"task": kind, "outputs": names, "columns": columns});
    Metadata::from([("format".to_owned(), "pt".to_owned()), ("limpid".to_owned(), limpid.to_string())])
}

/// The task and the names of the features' columns that [`metadata`] wrote.
pub fn task_of(path: &Path, metadata: &Metadata) -> Result<(Task, Vec<String>)> {
    let damaged = || Error::new(format!("{}: it does not say what the model was trained for", path.display()));
    let text = metadata.get("limpid").ok_or_else(damaged)?;
    let value: Value = serde_json::from_str(text).map_err(|_| damaged())?;
    let names = |word: &str| -> Option<Vec<String>> {
        value[word].as_array()?.iter().map(|name| Some(name.as_str()?.to_owned())).collect()
    };
    let outputs = names("outputs").ok_or_else(damaged)?;
    let task = match value["task"].as_str() {
        Some("classification") => Task::Classification { classes: outputs },
        Some("regression") => Task::Regression { columns: outputs },
        _ => return Err(damaged()),
    };
    Ok((task, names("columns").ok_or_else(damaged)?))
}
