//! A profile as a flame graph: events of the format that Chrome and Perfetto read.

use std::fmt::Write;
use std::time::Duration;

use crate::profile::{Event, Profile};

/// The rows of the picture.
const KERNELS: u32 = 1;
const MODULES: u32 = 2;

impl Profile {
    /// The events as JSON (Trace Event Format): plans and kernels in one row, modules as they contain each other in
    /// another. Open it at `https://ui.perfetto.dev` or `chrome://tracing`.
    pub fn trace(&self) -> String {
        let mut events: Vec<String> = [(KERNELS, "kernels"), (MODULES, "modules")]
            .map(|(row, name)| {
                format!(r#"{{"name":"thread_name","ph":"M","pid":1,"tid":{row},"args":{{"name":"{name}"}}}}"#)
            })
            .into();
        events.extend(self.runs.iter().map(|run| complete("plan", KERNELS, run.begin, run.took, "")));
        events.extend(self.events.iter().map(|event| self.kernel_event(event)));
        events.extend(self.module_events());
        format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{}\n]}}\n", events.join(",\n"))
    }

    fn kernel_event(&self, event: &Event) -> String {
        let kernel = &self.kernels[event.kernel as usize];
        let line = event.origin.as_ref().map(|origin| origin.user_line());
        let line = line.map_or_else(String::new, |line| format!("{}:{}", line.file(), line.line()));
        let (path, line, shape) = (quoted(event.path()), quoted(&line), quoted(&kernel.shape));
        let (flop, bytes) = (kernel.cost.flop, kernel.cost.bytes);
        let args =
            format!(r#","args":{{"module":{path},"line":{line},"shape":{shape},"flop":{flop},"bytes":{bytes}}}"#);
        complete(&kernel.what, KERNELS, event.begin, event.took, &args)
    }

    /// Kernels that follow each other in one module are one span, and so it is for each module around it.
    fn module_events(&self) -> Vec<String> {
        let mut ordered: Vec<&Event> = self.events.iter().filter(|event| event.own == event.took).collect();
        ordered.sort_by_key(|event| event.begin);
        let mut done = Vec::new();
        let mut open: Vec<(&str, Duration)> = Vec::new();
        let mut end = Duration::ZERO;
        let mut close = |open: &mut Vec<(&str, Duration)>, keep: usize, end: Duration| {
            for (name, begin) in open.drain(keep..).rev() {
                done.push(complete(name, MODULES, begin, end.saturating_sub(begin), ""));
            }
        };
        for event in ordered {
            let path: Vec<&str> = event.path().split('.').filter(|p| !p.is_empty()).collect();
            let common = open.iter().zip(&path).take_while(|((name, _), part)| name == *part).count();
            close(&mut open, common, end);
            open.extend(path[common..].iter().map(|part| (*part, event.begin)));
            end = event.begin + event.took;
        }
        close(&mut open, 0, end);
        done
    }
}

/// An event that has a beginning and a length.
fn complete(name: &str, row: u32, begin: Duration, took: Duration, args: &str) -> String {
    let (name, begin, took) = (quoted(name), begin.as_secs_f64() * 1e6, took.as_secs_f64() * 1e6);
    format!(r#"{{"name":{name},"ph":"X","pid":1,"tid":{row},"ts":{begin:.3},"dur":{took:.3}{args}}}"#)
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
