//! What a run shows when it begins and ends: on the terminal, and as a page.

use std::fmt::Write;
use std::io::stdout;

use limpid::Result;
use limpid::data::Dataset;
use limpid::prelude::*;
use limpid::train::{Confusion, Evaluation, Network, Scores};
use limpid_studio::{Curve, Layer, Matrix, Report};
use serde_json::Value;

use crate::config::Config;
use crate::draw;
use crate::folder::Folder;
use crate::parts::Parts;
use crate::progress::measure;
use crate::terminal::{Style, say, styled};

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
    let (name, model, place) = (&config.name, config.model.join(", "), folder.path().display());
    let count = network.num_parameters();
    say(&format!(
        "{name}: {train} rows to learn from, {validation} to choose the epoch, {test} for the end\n\
         {model} ({count} parameters) → {place}\n"
    ));
}

impl Ending<'_> {
    /// Results, curve and confusion matrix on standard output, and what to type next.
    pub fn print(&self) -> Result<()> {
        let (metrics, place) = (self.folder.metrics()?, self.folder.path().display());
        let losses: Vec<f64> = metrics.iter().filter_map(|line| line["loss"].as_f64()).collect();
        let mut out = if losses.len() > 1 { curve(&losses) } else { String::new() };
        if let (Scores::Classes(confusion), Some(classes)) = (&self.test.scores, self.classes())
            && classes.len() <= 20
        {
            out += &draw::confusion_page(&classes, confusion);
        }
        let _ = writeln!(out, "\n  {}", if self.parts.test.is_some() { "test" } else { "training" });
        let scores = self.test.scores.named();
        for (name, value) in [("loss", self.test.loss)].into_iter().chain(scores) {
            let value = format!("{:>10}", measure(name, value));
            let _ = writeln!(out, "  {name:<12}{}", styled(&value, Style::Measure, &stdout()));
        }
        let _ = writeln!(out, "\n{}\n\nnext:", styled(&self.sentence(), Style::Strong, &stdout()));
        let next = [
            (format!("limpid predict {place} < rows.csv"), "what it says of new rows"),
            (format!("limpid eval {place}"), "measures it again"),
            (format!("{place}/report.html"), "all of this as a page"),
            ("limpid new mine".to_owned(), "a run file of your own"),
        ];
        let width = next.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        for (what, why) in next {
            let _ = writeln!(out, "  {what:width$}   {why}");
        }
        say(&out);
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
        let mut facts =
            vec![("result".to_owned(), self.sentence()), ("loss".to_owned(), format!("{:.4}", self.test.loss))];
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

/// The losses of the epochs as a picture, with the largest and the smallest beside it.
fn curve(losses: &[f64]) -> String {
    let range = |pick: fn(f64, f64) -> f64| losses.iter().copied().reduce(pick).unwrap_or(f64::NAN);
    let lines = draw::curve(losses, 60, 8);
    let mut out = format!("\ntraining loss, epoch 1 to {}\n", losses.len());
    for (i, line) in lines.iter().enumerate() {
        let label = match i {
            0 => format!("{:9.4}", range(f64::max)),
            i if i + 1 == lines.len() => format!("{:9.4}", range(f64::min)),
            _ => " ".repeat(9),
        };
        let _ = writeln!(out, "{label} │{line}");
    }
    out
}
