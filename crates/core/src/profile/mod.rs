//! Where the time goes: every kernel that a piece of program runs, with the module that recorded it, how much arithmetic
//! and how many bytes it is, and how near that comes to what the machine can do.
//!
//! It reads what plans know of their steps; nothing is recorded, planned or computed in another way than without it.

mod cost;
mod table;
mod trace;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use limpid_kernels::limits::Limits;

use crate::config::cpu;
use crate::exec::cache::Plan;
use crate::exec::program::{Program, Step};
use crate::exec::stats::{Stats, stats};
use crate::origin::Origin;
use crate::show::described;
use cost::Cost;

pub use table::ProfileRow;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// What `f` runs on this thread, kernel by kernel, and its result. The limits of the machine are measured when they are
/// asked for, which takes a tenth of a second.
///
/// ```
/// use limpid_core::{Tensor, profile};
/// let x = Tensor::ones([64, 64]);
/// let (profile, sum) = profile(|| x.matmul(&x).sum(..).item());
/// assert_eq!(sum?, 64.0 * 64.0 * 64.0);
/// println!("{profile}");
/// assert!(profile.kernels().iter().any(|row| row.flop == 2.0 * 64.0 * 64.0 * 64.0));
/// # Ok::<(), limpid_core::Error>(())
/// ```
pub fn profile<R>(f: impl FnOnce() -> R) -> (Profile, R) {
    let outer = RECORDER.replace(Some(Recorder::new()));
    let was_on = ON.replace(true);
    let before = stats();
    let begin = Instant::now();
    let result = f();
    let wall = begin.elapsed();
    let after = stats();
    ON.set(was_on);
    let recorder = RECORDER.replace(outer).expect("put there above");
    (recorder.finish(wall, before, after), result)
}

/// What was run: printed, it is a table by kernel and a table by module.
#[derive(Debug)]
pub struct Profile {
    kernels: Vec<Kernel>,
    events: Vec<Event>,
    runs: Vec<Run>,
    wall: Duration,
    steps: usize,
    plans_made: u64,
    memory: ProfileMemory,
    limits: OnceLock<Limits>,
}

/// The memory of the plans that were run, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProfileMemory {
    /// The largest scratch memory of a plan.
    pub scratch: usize,
    /// The least that its scratch memory could be: the largest set of values that are alive at once.
    pub scratch_bound: usize,
    /// The most bytes of results that a plan hands out, without those that it writes over an old value.
    pub results: usize,
}

/// A kernel with its operands' shapes.
#[derive(Debug)]
struct Kernel {
    what: String,
    shape: String,
    cost: Cost,
}

/// A kernel that was run.
#[derive(Clone, Debug)]
struct Event {
    kernel: u32,
    /// Where it was recorded; known when its plan is done.
    origin: Option<Origin>,
    /// Since the profile began.
    begin: Duration,
    took: Duration,
    /// Without the kernels that it ran itself: a loop's are its steps.
    own: Duration,
}

/// A plan that was run.
#[derive(Clone, Copy, Debug)]
struct Run {
    begin: Duration,
    took: Duration,
}

struct Recorder {
    start: Instant,
    kernels: Vec<Kernel>,
    /// Which kernel a step is. Plans that were run are kept, so that no other step comes to stand at its address.
    known: HashMap<*const Step, u32>,
    plans: Vec<Arc<Plan>>,
    events: Vec<Event>,
    /// The source of each event of the plan that runs.
    sources: Vec<u32>,
    /// How long the kernels inside each kernel that runs have taken.
    inside: Vec<Duration>,
    runs: Vec<Run>,
}

/// Bytes of the results that have memory of their own.
fn handed_out(plan: &Plan) -> usize {
    let own = |o: &usize| plan.program.shared[*o] == *o && plan.in_place.iter().all(|(output, _)| output != o);
    (0..plan.program.results.len()).filter(own).map(|o| plan.program.results[o]).sum()
}

/// Whether this thread is being profiled.
pub(crate) fn on() -> bool {
    ON.get()
}

fn with(f: impl FnOnce(&mut Recorder)) {
    RECORDER.with_borrow_mut(|recorder| recorder.as_mut().map(f));
}

/// A kernel begins.
pub(crate) fn begins() {
    with(|recorder| recorder.inside.push(Duration::ZERO));
}

/// The kernel that began last is done.
pub(crate) fn ends(program: &Program, step: &Step, begin: Instant, took: Duration) {
    with(|recorder| recorder.add(program, step, begin, took));
}

/// Runs a plan by `run`; `origin` tells where a node of its recording comes from.
pub(crate) fn planned<'o, R>(plan: &Arc<Plan>, origin: impl Fn(u32) -> &'o Origin, run: impl FnOnce() -> R) -> R {
    if !on() {
        return run();
    }
    let begin = Instant::now();
    with(|recorder| {
        recorder.inside.clear();
        recorder.sources.clear();
        if !recorder.plans.iter().any(|known| Arc::ptr_eq(known, plan)) {
            recorder.plans.push(plan.clone());
        }
    });
    let result = run();
    let took = begin.elapsed();
    with(|recorder| {
        let first = recorder.events.len() - recorder.sources.len();
        for (event, source) in recorder.events[first..].iter_mut().zip(recorder.sources.drain(..)) {
            event.origin = Some(origin(source).clone());
        }
        recorder.runs.push(Run { begin: begin - recorder.start, took });
    });
    result
}

impl Event {
    /// The path of the module that recorded it.
    fn path(&self) -> &str {
        self.origin.as_ref().map_or("", Origin::path)
    }
}

impl Recorder {
    fn new() -> Recorder {
        Recorder {
            start: Instant::now(),
            kernels: Vec::new(),
            known: HashMap::new(),
            plans: Vec::new(),
            events: Vec::new(),
            sources: Vec::new(),
            inside: Vec::new(),
            runs: Vec::new(),
        }
    }

    fn add(&mut self, program: &Program, step: &Step, begin: Instant, took: Duration) {
        let kernel = *self.known.entry(std::ptr::from_ref(step)).or_insert_with(|| {
            let text = described(program, step);
            self.kernels.push(Kernel { what: text.what, shape: text.shape, cost: Cost::of(program, step) });
            self.kernels.len() as u32 - 1
        });
        let inside = self.inside.pop().unwrap_or_default();
        if let Some(outside) = self.inside.last_mut() {
            *outside += took;
        }
        let begin = begin.saturating_duration_since(self.start);
        self.events.push(Event { kernel, origin: None, begin, took, own: took.saturating_sub(inside) });
        self.sources.push(step.source);
    }

    fn finish(self, wall: Duration, before: Stats, after: Stats) -> Profile {
        let largest = self.plans.iter().map(|plan| &plan.program).max_by_key(|program| program.arena);
        let results = self.plans.iter().map(|plan| handed_out(plan)).max();
        let memory = ProfileMemory {
            scratch: largest.map_or(0, |program| program.arena),
            scratch_bound: largest.map_or(0, |program| program.arena_bound),
            results: results.unwrap_or(0),
        };
        Profile {
            kernels: self.kernels,
            events: self.events,
            runs: self.runs,
            wall,
            steps: 1,
            plans_made: after.plans - before.plans,
            memory,
            limits: OnceLock::new(),
        }
    }
}

impl Profile {
    /// Tells that what was run is `steps` alike: the table is of one of them.
    pub fn per(mut self, steps: usize) -> Profile {
        self.steps = steps.max(1);
        self
    }

    /// How long all of it took.
    pub fn wall(&self) -> Duration {
        self.wall
    }

    /// How long its kernels took; the rest is recording, finding plans, and what the program does itself.
    pub fn in_kernels(&self) -> Duration {
        self.events.iter().map(|event| event.own).sum()
    }

    /// What the machine can do at most.
    fn limits(&self) -> Limits {
        *self.limits.get_or_init(|| Limits::measure(&cpu()))
    }

    /// The memory of its plans.
    pub fn memory(&self) -> ProfileMemory {
        self.memory
    }
}
