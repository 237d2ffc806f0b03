//! A profile for a person to read.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::profile::{Event, Profile};

/// What one kernel, or one module, amounts to. Times and counts are of one step where [`Profile::per`] was told how many
/// there are.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileRow {
    /// The kernel with its shapes, or the module's path.
    pub name: String,
    /// How often kernels ran.
    pub calls: f64,
    /// What they took.
    pub time: Duration,
    /// Their arithmetic: a multiply-add is two operations.
    pub flop: f64,
    /// What they have to read and write.
    pub bytes: f64,
    /// The least time that this machine needs for both.
    pub least: Duration,
}

/// Rows that are printed; the others are one more.
const ROWS: usize = 24;
const NAME: usize = 58;

impl Profile {
    /// A row for each kernel with its shapes, those that took longest first.
    pub fn kernels(&self) -> Vec<ProfileRow> {
        self.rows(|event| {
            let kernel = &self.kernels[event.kernel as usize];
            format!("{} {}", kernel.what, kernel.shape).trim_end().to_owned()
        })
    }

    /// A row for each module's own kernels, those that took longest first: what was recorded while the module ran, and
    /// the gradients of that. The path of what no module ran is empty.
    pub fn modules(&self) -> Vec<ProfileRow> {
        self.rows(|event| event.path().to_owned())
    }

    fn rows(&self, name: impl Fn(&Event) -> String) -> Vec<ProfileRow> {
        let limits = self.limits();
        let mut rows: Vec<ProfileRow> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for event in &self.events {
            let cost = self.kernels[event.kernel as usize].cost;
            let least = Duration::from_secs_f64(limits.seconds(cost.flop, cost.bytes));
            let row = ProfileRow {
                name: name(event),
                calls: 1.0,
                time: event.own,
                flop: cost.flop,
                bytes: cost.bytes,
                least,
            };
            match known.get(&row.name) {
                Some(&at) => rows[at].add(&row),
                None => {
                    known.insert(row.name.clone(), rows.len());
                    rows.push(row);
                }
            }
        }
        rows.iter_mut().for_each(|row| row.divide(self.steps));
        rows.sort_by_key(|row| std::cmp::Reverse(row.time));
        rows
    }
}

impl ProfileRow {
    fn add(&mut self, other: &ProfileRow) {
        self.calls += other.calls;
        self.time += other.time;
        self.flop += other.flop;
        self.bytes += other.bytes;
        self.least += other.least;
    }

    fn divide(&mut self, steps: usize) {
        self.calls /= steps as f64;
        self.time /= steps as u32;
        self.flop /= steps as f64;
        self.bytes /= steps as f64;
        self.least /= steps as u32;
    }

    /// Operations a second.
    pub fn flops(&self) -> f64 {
        self.flop / self.time.as_secs_f64().max(1e-12)
    }

    /// Bytes a second.
    pub fn bandwidth(&self) -> f64 {
        self.bytes / self.time.as_secs_f64().max(1e-12)
    }

    /// The share of the limit that is reached: the least time over the time taken.
    pub fn of_limit(&self) -> f64 {
        self.least.as_secs_f64() / self.time.as_secs_f64().max(1e-12)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wall, inside) = (self.wall / self.steps as u32, self.in_kernels() / self.steps as u32);
        let (runs, made) = (self.runs.len(), self.plans_made);
        let share = 100.0 * inside.as_secs_f64() / wall.as_secs_f64().max(1e-12);
        let steps = if self.steps == 1 { String::new() } else { format!(" a step of {}", self.steps) };
        writeln!(
            f,
            "{}{steps}, {} ({share:.0} %) in kernels; {runs} runs of plans, {made} plans made",
            time(wall),
            time(inside)
        )?;
        let limits = self.limits();
        let (flop, cached, memory) = (limits.flop / 1e9, limits.cached / 1e9, limits.memory / 1e9);
        writeln!(f, "the machine: {flop:.0} GFLOP/s, {cached:.0} GB/s in caches, {memory:.0} GB/s in memory")?;
        write_table(f, "kernel", self.kernels())?;
        write_table(f, "module", alike(self.modules()))?;
        let memory = self.memory;
        let [scratch, bound, results] = [memory.scratch, memory.scratch_bound, memory.results].map(|n| n as f64 / 1e6);
        writeln!(f, "\nmemory: scratch {scratch:.1} MB (at least {bound:.1}), results {results:.1} MB")
    }
}

/// Rows that fit the table: where there are more, those of a list's items are one, as `blocks.*.down`.
fn alike(rows: Vec<ProfileRow>) -> Vec<ProfileRow> {
    if rows.len() <= ROWS {
        return rows;
    }
    let item = |part: &str| part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty();
    let mut merged: Vec<ProfileRow> = Vec::new();
    for mut row in rows {
        row.name = row.name.split('.').map(|part| if item(part) { "*" } else { part }).collect::<Vec<_>>().join(".");
        match merged.iter_mut().find(|other| other.name == row.name) {
            Some(other) => other.add(&row),
            None => merged.push(row),
        }
    }
    merged.sort_by_key(|row| std::cmp::Reverse(row.time));
    merged
}

fn write_table(f: &mut fmt::Formatter<'_>, what: &str, mut rows: Vec<ProfileRow>) -> fmt::Result {
    let whole: Duration = rows.iter().map(|row| row.time).sum();
    let rest = rows.split_off(rows.len().min(ROWS));
    if let Some((first, others)) = rest.split_first() {
        let mut row = first.clone();
        others.iter().for_each(|other| row.add(other));
        row.name = format!("{} more", rest.len());
        rows.push(row);
    }
    writeln!(
        f,
        "\n{what:NAME$} {:>7} {:>10} {:>6} {:>8} {:>7} {:>8}",
        "calls", "time", "share", "GFLOP/s", "GB/s", "of limit"
    )?;
    for row in rows {
        let name = if row.name.is_empty() { "(no module)" } else { &row.name };
        let share = 100.0 * row.time.as_secs_f64() / whole.as_secs_f64().max(1e-12);
        let (flops, bandwidth) = (row.flops() / 1e9, row.bandwidth() / 1e9);
        let calls = if row.calls.fract() == 0.0 { format!("{}", row.calls) } else { format!("{:.1}", row.calls) };
        let limit = format!("{:.0} %", 100.0 * row.of_limit());
        let (name, time) = (shortened(name), time(row.time));
        writeln!(f, "{name:NAME$} {calls:>7} {time:>10} {share:>4.1} % {flops:>8.1} {bandwidth:>7.1} {limit:>8}")?;
    }
    Ok(())
}

/// The name in [`NAME`] characters: the middle of a long one is left out, since its end tells the shapes.
fn shortened(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= NAME {
        return name.to_owned();
    }
    let tail = NAME / 2;
    let head = NAME - tail - 1;
    chars[..head].iter().chain(&['…']).chain(&chars[chars.len() - tail..]).collect()
}

fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        m if m < 1e3 => format!("{m:.1} µs"),
        m if m < 1e6 => format!("{:.2} ms", m / 1e3),
        m => format!("{:.2} s", m / 1e6),
    }
}
