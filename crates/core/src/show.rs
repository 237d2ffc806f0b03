//! `LIMPID_SHOW`: what a program did at each stage, for a person to read.
//!
//! | stage | what is printed |
//! |---|---|
//! | `record` | the nodes that an evaluation looks at, with module paths and lines |
//! | `rewrite` | the graph after each pass that changed it |
//! | `steps` | each kernel as it runs, with its time |
//! | `replan` | why a plan was made, or a capture recorded again |
//! | `plan` | the steps, what they read and write, and the memory map's total |

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

use crate::config::config;
use crate::exec::program::{Home, In, Out, Plain, Program, Slot, Step, Work};
use crate::exec::{GraphText, arena_text};
use crate::graph::Recording;
use crate::op::Op;
use limpid_kernels::fused::Instr;

thread_local! {
    /// Where text goes instead of standard error, and which stages are wanted there.
    static SINK: RefCell<Option<(Vec<String>, String)>> = const { RefCell::new(None) };
}

/// What `f` does at `stages` (`record`, `rewrite`, `plan`, `steps`, `replan`), as text. Plans are made anew, so that
/// they can be shown.
///
/// ```
/// use limpid_core::{Tensor, shown};
/// let x = Tensor::from([1.0f32, 2.0]);
/// let (text, sum) = shown(&["plan"], || (&x * 2.0).sum(..).item());
/// assert_eq!(sum?, 6.0);
/// assert!(text.contains("mul sum(in0)"), "{text}");
/// # Ok::<(), limpid_core::Error>(())
/// ```
pub fn shown<R>(stages: &[&str], f: impl FnOnce() -> R) -> (String, R) {
    let stages = stages.iter().map(|s| (*s).to_owned()).collect();
    let outer = SINK.with(|sink| sink.replace(Some((stages, String::new()))));
    let result = f();
    let own = SINK.with(|sink| sink.replace(outer));
    (own.map_or_else(String::new, |(_, text)| text), result)
}

/// Whether plans must be made anew.
pub(crate) fn is_captured() -> bool {
    SINK.with(|sink| sink.borrow().is_some())
}

/// Whether a stage is to be shown.
pub(crate) fn wants(stage: &str) -> bool {
    let captured = SINK.with(|sink| sink.borrow().as_ref().map(|(stages, _)| stages.iter().any(|s| s == stage)));
    captured.unwrap_or_else(|| config().show.iter().any(|s| s == stage))
}

fn say(text: &str) {
    let captured = SINK.with(|sink| {
        sink.borrow_mut().as_mut().map(|(_, out)| {
            out.push_str(text);
            out.push('\n');
        })
    });
    if captured.is_none() {
        eprintln!("{text}");
    }
}

/// Whether each step is to be timed and shown.
pub(crate) fn wants_steps() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    *ASKED.get_or_init(|| config().show.iter().any(|s| s == "steps")) || (is_captured() && wants("steps"))
}

/// Shows one step that was run.
pub(crate) fn ran(program: &Program, step: &Step, took: Duration) {
    let mut line = String::new();
    write_step(&mut line, program, step, None, "");
    say(&format!("step {:>9.1} µs  {}", took.as_secs_f64() * 1e6, line.lines().next().unwrap_or_default()));
}

/// Prints what an evaluation looks at.
pub(crate) fn record(recording: &Recording) {
    if wants("record") {
        say(&format!("── record\n{}", recording_text(recording)));
    }
}

/// Prints the graph after a pass.
pub(crate) fn rewritten(pass: &str, graph: &GraphText) {
    if wants("rewrite") {
        say(&format!("── rewrite: {pass}\n{}", arena_text(graph)));
    }
}

/// Says why a plan or a capture could not be used again.
pub(crate) fn replan(why: &str) {
    if wants("replan") {
        say(&format!("replan: {why}"));
    }
}

/// Prints a plan.
pub(crate) fn planned(program: &Program, recording: &Recording) {
    if wants("plan") {
        say(&format!("── plan\n{}", plan_text(program, Some(recording))));
    }
}

/// One line a node: number, operation, inputs, type, shape, module and line.
pub(crate) fn recording_text(recording: &Recording) -> String {
    let mut text = String::new();
    for (i, node) in recording.nodes.iter().enumerate() {
        let inputs: Vec<String> = recording.inputs(i).iter().map(|j| format!("%{j}")).collect();
        let what = match &node.op {
            Op::Cell(cell) => format!("cell {cell:?}"),
            op => op.name().to_owned(),
        };
        let line = node.origin.user_line();
        let path = node.origin.path();
        let at = format!("{}:{}", line.file(), line.line());
        let place = if path.is_empty() { at } else { format!("{path} {at}") };
        let _ = writeln!(
            text,
            "%{i:<4} {what:<14} {:<14} {} {:<12} {place}",
            inputs.join(" "),
            node.dtype,
            node.shape.to_string()
        );
    }
    text
}

/// One line a step.
pub(crate) fn plan_text(program: &Program, recording: Option<&Recording>) -> String {
    let mut text = String::new();
    write_steps(&mut text, program, recording, "");
    let _ = writeln!(
        text,
        "{} kernels, scratch {} bytes, at least {}",
        program.kernels(),
        program.arena,
        program.arena_bound
    );
    text
}

fn write_steps(text: &mut String, program: &Program, recording: Option<&Recording>, indent: &str) {
    for step in &program.steps {
        write_step(text, program, step, recording, indent);
    }
}

/// A step in words.
pub(crate) struct Described {
    /// The kernel and what it computes.
    pub(crate) what: String,
    reads: String,
    writes: String,
    /// The sizes that it goes over.
    pub(crate) shape: String,
}

pub(crate) fn described(program: &Program, step: &Step) -> Described {
    let name = |slot: Slot| match program.slots[slot.0 as usize].home {
        Home::Bound(n) => format!("in{n}"),
        Home::Result(n) => format!("out{n}"),
        Home::Arena(_) => format!("t{}", slot.0),
    };
    let outs = |outs: &[Out]| outs.iter().map(|o| name(o.slot)).collect::<Vec<_>>().join(" ");
    let plains = |inputs: &[Plain]| inputs.iter().map(|p| name(p.slot)).collect::<Vec<_>>().join(" ");
    let chain = |chain: &crate::exec::program::Chain| {
        let reads: Vec<String> = chain
            .inputs
            .iter()
            .filter_map(|i| match i {
                In::Data { slot, .. } => Some(name(*slot)),
                In::Index { .. } => Some("index".to_owned()),
                In::Output(_) => Some("in place".to_owned()),
                In::Product => None,
            })
            .collect();
        let work: Vec<&str> = chain.kernel.instrs().iter().filter_map(instr_name).collect();
        let work = if work.is_empty() { "copy".to_owned() } else { work.join(" ") };
        (work, reads.join(" "), chain.dims.to_string())
    };
    let (what, reads, writes, shape) = match &step.work {
        Work::Fused { chain: c, outs: o } => {
            let (work, reads, dims) = chain(c);
            (work, reads, outs(o), dims)
        }
        Work::Place { chain: c, out, .. } => {
            let (work, reads, dims) = chain(c);
            (format!("{work} into a part"), reads, name(out.slot), dims)
        }
        Work::Reduce { chain: c, f, reduced, out } => {
            let (work, reads, dims) = chain(c);
            let f = crate::op::reduce::reduce_name(*f);
            let work = if work == "copy" { f.to_owned() } else { format!("{work} {f}") };
            (work, reads, name(out.slot), format!("{dims} last {reduced}"))
        }
        Work::Dot { batch, m, n, k, a, b, out, epilogue } => {
            let mut reads = format!("{} {}", name(a.slot), name(b.slot));
            let mut work = "dot".to_owned();
            if let Some(c) = epilogue {
                let (more, also, _) = chain(c);
                work = format!("dot → {more}");
                reads = format!("{reads} {also}");
            }
            let batch = if batch.rank() == 0 { String::new() } else { format!("{batch}·") };
            (work, reads, name(out.slot), format!("{batch}[{m}, {k}]×[{k}, {n}]"))
        }
        Work::Primitive { op, inputs, outs: o, shape } => {
            (op.name().to_owned(), plains(inputs), outs(o), shape.to_string())
        }
        Work::Compound { compound, inputs, outs: o, .. } => {
            (compound.name().to_owned(), plains(inputs), outs(o), inputs[0].shape.to_string())
        }
        Work::Region { inputs, outs: o, .. } => ("call".to_owned(), plains(inputs), outs(o), String::new()),
        Work::Branch { inputs, outs: o, .. } => ("branch".to_owned(), plains(inputs), outs(o), String::new()),
        Work::Loop(l) => {
            let results: Vec<String> = l.outs.iter().flatten().map(|o| name(o.slot)).collect();
            ("loop".to_owned(), plains(&l.inputs), results.join(" "), format!("{} steps", l.steps))
        }
    };
    Described { what, reads, writes, shape }
}

fn write_step(text: &mut String, program: &Program, step: &Step, recording: Option<&Recording>, indent: &str) {
    let Described { what, reads, writes, shape } = described(program, step);
    let place = recording.map_or_else(String::new, |r| {
        let origin = &r.nodes[step.source as usize].origin;
        let line = origin.user_line();
        format!("  {} {}:{}", origin.path(), line.file(), line.line())
    });
    let _ = writeln!(text, "{indent}{writes} ← {what}({}) {shape}{place}", reads.trim());
    match &step.work {
        Work::Region { body, .. } => write_steps(text, body, None, &format!("{indent}  ")),
        Work::Branch { then, otherwise, .. } => {
            write_steps(text, then, None, &format!("{indent}  then "));
            write_steps(text, otherwise, None, &format!("{indent}  else "));
        }
        Work::Loop(l) => write_steps(text, &l.body, None, &format!("{indent}  ")),
        _ => {}
    }
}

fn instr_name(instr: &Instr) -> Option<&'static str> {
    match instr {
        Instr::Load { .. } | Instr::Scalar { .. } => None,
        Instr::Unary { f, .. } => Some(crate::op::elementwise::unary_name(*f)),
        Instr::Binary { f, .. } => Some(crate::op::elementwise::binary_name(*f)),
        Instr::Select { .. } => Some("select"),
        Instr::Cast { .. } => Some("cast"),
        Instr::BitCast { .. } => Some("bitcast"),
        Instr::Random { .. } => Some("random"),
    }
}
