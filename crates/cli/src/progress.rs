//! How far a run is, on standard error: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use limpid::train::{Event, Trainer};

use crate::draw::bar;

/// How often a bar is drawn, and a line written.
const BAR: Duration = Duration::from_millis(80);
const LINE: Duration = Duration::from_secs(2);

/// Shows the progress of a run.
pub struct Progress {
    shown: bool,
    terminal: bool,
    last: Instant,
    begun: Instant,
    /// Steps that were made before this process began.
    before: u64,
    loss: f64,
    validation: String,
}

impl Progress {
    /// Of a run that begins at step `before`; nothing is shown unless `shown`.
    pub fn new(shown: bool, before: u64) -> Progress {
        let (terminal, now) = (stderr().is_terminal(), Instant::now());
        Progress { shown, terminal, last: now, begun: now, before, loss: f64::NAN, validation: String::new() }
    }

    /// Takes note of an event.
    pub fn event(&mut self, trainer: &Trainer<'_>, event: &Event) {
        if !self.shown {
            return;
        }
        match event {
            Event::Step { loss } => self.loss = *loss,
            Event::Epoch(epoch) => {
                self.loss = epoch.loss;
                if let Some(found) = &epoch.validation {
                    let (name, value) = found.scores.named()[0];
                    self.validation = format!("  validation {name} {}", measure(name, value));
                }
            }
        }
        let ends = trainer.state().epoch == trainer.options().epochs;
        if ends || self.last.elapsed() >= if self.terminal { BAR } else { LINE } {
            self.last = Instant::now();
            self.show(trainer);
        }
    }

    fn show(&self, trainer: &Trainer<'_>) {
        let (state, options) = (trainer.state(), trainer.options());
        let all = options.epochs * trainer.steps_per_epoch() as u64;
        let part = state.step as f64 / all.max(1) as f64;
        let seconds = self.begun.elapsed().as_secs_f64().max(1e-9);
        let rate = (state.step - self.before) as f64 / seconds;
        let left = if rate > 0.0 { (all - state.step) as f64 / rate } else { 0.0 };
        let epoch = (state.epoch + u64::from(state.position > 0)).clamp(1, options.epochs);
        let text = format!(
            "epoch {epoch}/{}  loss {:.4}{}  {rate:.0} steps/s  {} left",
            options.epochs,
            self.loss,
            self.validation,
            clock(left)
        );
        // A terminal that is gone is no reason to stop training.
        let _ = match self.terminal {
            true => write!(stderr(), "\r\x1b[2K{} {:3.0} %  {text}", bar(part, 24), part * 100.0),
            false => writeln!(stderr(), "{text}"),
        };
    }

    /// Ends the bar's line.
    pub fn finish(&self) {
        if self.shown && self.terminal {
            let _ = writeln!(stderr());
        }
    }
}

/// 75 seconds as 1:15.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// A measure as text: parts of a whole in percent.
pub fn measure(name: &str, value: f64) -> String {
    match name {
        "accuracy" | "precision" | "recall" | "f1" => format!("{:.2} %", value * 100.0),
        _ => format!("{value:.4}"),
    }
}
