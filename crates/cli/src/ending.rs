//! What a run shows when it begins and ends: on the terminal, and as a page.

use std::io::{IsTerminal, stdout};

use limpid::data::Dataset;
use limpid::prelude::*;
use limpid::train::{Confusion, Evaluation, Network, Scores};
use limpid::{Error, Result};
use limpid_studio::{Curve, Layer, Matrix, Report};
use serde_json::Value;

use crate::config::Config;
use crate::draw;
use crate::folder::Folder;
use crate::parts::Parts;
use crate::progress::measure;

/// What is known of a finished run.
pub struct Ending<'a> {
    pub config: &'a Config,
    pub folder: &'a Folder,
    pub parts: &'a Parts,
    pub network: &'a Network,
    pub test: &'a Evaluation,
    /// The epoch whose weights were taken, where validation rows chose it.
    pub chosen: Option<u64>,
    pub seconds: f64,
}

/// What is trained on what.
pub fn greet(config: &Config, folder: &Folder, parts: &Parts, network: &Network) {
    let rows = |part: &Option<Dataset>| part.as_ref().map_or(0, Dataset::rows);
    let (train, validation, test) = (parts.train.rows(), rows(&parts.validation), rows(&parts.test));
    println!("{}: {train} rows to learn from, {validation} to choose the epoch, {test} for the end", config.name);
    println!("{} ({} parameters) → {}", config.model.join(", "), network.num_parameters(), folder.path().display());
}

impl Ending<'_> {
    /// Results, curve and confusion matrix on standard output, and what to type next.
    pub fn print(&self) -> Result<()> {
        let (metrics, place) = (self.folder.metrics()?, self.folder.path().display());
        let losses: Vec<f64> = metrics.iter().filter_map(|line| line["loss"].as_f64()).collect();
        if losses.len() > 1 {
            println!("\ntraining loss, epoch 1 to {}", losses.len());
            let range = |pick: fn(f64, f64) -> f64| losses.iter().copied().reduce(pick).unwrap_or(f64::NAN);
            let lines = draw::curve(&losses, 60, 8);
            let last = lines.len() - 1;
            for (i, line) in lines.iter().enumerate() {
                let label = match i {
                    0 => format!("{:9.4}", range(f64::max)),
                    i if i == last => format!("{:9.4}", range(f64::min)),
                    _ => " ".repeat(9),
                };
                println!("{label} │{line}");
            }
        }
        if let (Scores::Classes(confusion), Some(classes)) = (&self.test.scores, self.classes())
            && classes.len() <= 20
        {
            println!("\na row is the true class, a column what it was taken for");
            draw::confusion(&classes, |i, j| confusion.count(i, j)).iter().for_each(|line| println!("  {line}"));
        }
        println!("\n  {:<12}{:>10}", self.measured(), "");
        println!("  {:<12}{:>10.4}", "loss", self.test.loss);
        for (name, value) in self.test.scores.named() {
            println!("  {name:<12}{:>10}", measure(name, value));
        }
        println!("\n{}", emphasized(&self.sentence()));
        println!("\nnext:");
        println!("  limpid predict {place} < rows.csv     what it says of new rows");
        println!("  limpid eval {place}                   measures it again");
        println!("  {place}/report.html                   the same as a page");
        println!("  limpid new mine                        a run file of your own");
        Ok(())
    }

    /// Writes `report.html`.
    pub fn write_report(&self) -> Result<()> {
        let metrics = self.folder.metrics()?;
        let curve = |name: &str, value: &dyn Fn(&Value) -> Option<f64>| {
            let point = |line: &Value| Some((line["epoch"].as_f64()?, value(line)?));
            Curve { name: name.to_owned(), points: metrics.iter().filter_map(point).collect() }
        };
        let validation = |word: &'static str| move |line: &Value| line["validation"][word].as_f64();
        let headline = match self.test.scores {
            Scores::Classes(_) => "accuracy",
            Scores::Numbers(_) => "r2",
        };
        let mut losses = vec![curve("training", &|line| line["loss"].as_f64())];
        let mut charts = Vec::new();
        if self.parts.validation.is_some() {
            losses.push(curve("validation", &validation("loss")));
            charts.push((headline.to_owned(), vec![curve("validation", &validation(headline))]));
        }
        charts.insert(0, ("loss".to_owned(), losses));
        charts.push(("learning rate".to_owned(), vec![curve("rate", &|line| line["lr"].as_f64())]));
        let mut facts = vec![
            ("result".to_owned(), self.sentence()),
            ("loss".to_owned(), format!("{:.4}", self.test.loss)),
        ];
        facts.extend(self.test.scores.named().into_iter().map(|(name, x)| (name.to_owned(), measure(name, x))));
        facts.push(("seconds of training".to_owned(), format!("{:.2}", self.seconds)));
        let report = Report {
            title: self.config.name.clone(),
            facts,
            charts,
            matrix: self.matrix(),
            layers: self.layers()?,
            configuration: self.config.to_toml(),
        };
        self.folder.write("report.html", &report.html())
    }

    fn classes(&self) -> Option<Vec<String>> {
        match self.parts.train.task() {
            limpid::data::Task::Classification { classes } => Some(classes.clone()),
            limpid::data::Task::Regression { .. } => None,
        }
    }

    fn matrix(&self) -> Option<Matrix> {
        let (Scores::Classes(confusion), Some(classes)) = (&self.test.scores, self.classes()) else { return None };
        let row = |i| (0..classes.len()).map(|j| Confusion::count(confusion, i, j)).collect();
        Some(Matrix { counts: (0..classes.len()).map(row).collect(), classes })
    }

    fn layers(&self) -> Result<Vec<Layer>> {
        let features: usize = self.parts.train.row_shape().iter().product();
        let summary = limpid::train::in_eval_mode(self.network, || {
            self.network.summary_of(|| self.network.forward(&Tensor::zeros([1, features])))
        })?;
        let layer = |row: &limpid::Row| Layer {
            path: row.path.clone(),
            kind: row.kind.clone(),
            output: row.output.as_ref().map_or_else(String::new, Shape::to_string),
            parameters: row.parameters,
        };
        Ok(summary.rows.iter().filter(|row| !row.path.is_empty()).map(layer).collect())
    }

    /// Which rows were measured.
    fn measured(&self) -> &'static str {
        if self.parts.test.is_some() { "test" } else { "training" }
    }

    /// What was learned, in a sentence.
    fn sentence(&self) -> String {
        let rows = self.parts.test.as_ref().unwrap_or(&self.parts.train).rows();
        let kind = if self.parts.test.is_some() { "rows it had never seen" } else { "rows it learned from" };
        let what = match &self.test.scores {
            Scores::Classes(confusion) => {
                let right: u64 = (0..confusion.classes()).map(|class| confusion.count(class, class)).sum();
                format!("{right} of {rows} {kind} are recognised: {:.2} %", confusion.accuracy() * 100.0)
            }
            Scores::Numbers(distance) => {
                format!("on {rows} {kind} it is off by {:.4} on average (R² {:.4})", distance.mae(), distance.r2())
            }
        };
        let epoch = self.chosen.map_or_else(String::new, |epoch| format!(", with the weights of epoch {epoch}"));
        format!("{what}{epoch}, after {:.2} s of training", self.seconds)
    }
}

/// In bold on a terminal.
fn emphasized(text: &str) -> String {
    let colours = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if colours { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}
