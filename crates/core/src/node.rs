//! The recorded graph: immutable nodes behind `Arc`, so that what nobody holds is dead.

use std::cell::{Cell as StdCell, RefCell};
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use limpid_kernels::{Buffer, DType};
use smallvec::SmallVec;

use crate::error::Error;
use crate::op::{Mark, Op};
use crate::origin::Origin;
use crate::shape::Shape;

/// The inputs of a node.
pub(crate) type Inputs = SmallVec<[Arc<Node>; 3]>;

/// One recorded operation. Everything but its state is immutable.
#[derive(Debug)]
pub struct Node {
    /// Rises with the order of recording.
    pub(crate) id: u64,
    pub(crate) op: Op,
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    pub(crate) origin: Origin,
    /// How many `Tensor`s hold this node: those that must survive a step.
    handles: AtomicU32,
    /// Length of the longest unevaluated chain below.
    depth: AtomicU32,
    flags: AtomicU8,
    /// The last walk that met this node.
    mark: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) inputs: Inputs,
    pub(crate) value: Option<Arc<Buffer>>,
    /// The results of a node with several, which parts take.
    parts: Vec<Option<Arc<Buffer>>>,
    pub(crate) error: Option<Error>,
    /// The step that consumed the graph above a parameter, and the id that the next node got then.
    consumed: Option<(Origin, u64)>,
}

/// A gradient may be asked through this node.
const TRAINABLE: u8 = 1;
/// Some cell is read below this node.
const READS_CELLS: u8 = 2;
/// A region's placeholder is below: this node has no value of its own.
const SYMBOLIC: u8 = 4;
const HAS_VALUE: u8 = 8;
const HAS_ERROR: u8 = 16;
/// What it was to be computed from has changed before it was.
const LOST: u8 = 32;
/// A step has changed the parameters behind it.
const CONSUMED: u8 = 64;

/// A chain longer than this is evaluated when it is recorded.
const DEPTH_LIMIT: u32 = 8192;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static NEXT_WALK: AtomicU64 = AtomicU64::new(1);

/// A number for a walk over the graph.
pub(crate) fn new_walk() -> u64 {
    NEXT_WALK.fetch_add(1, Relaxed)
}

type Log = Arc<Mutex<Vec<Weak<Node>>>>;

/// Every thread's log of nodes that read cells: what a step must look through for held values.
static LOGS: Mutex<Vec<Weak<Mutex<Vec<Weak<Node>>>>>> = Mutex::new(Vec::new());

thread_local! {
    static LOG: Log = {
        let log = Log::default();
        lock(&LOGS).push(Arc::downgrade(&log));
        log
    };
    /// How far a log may grow before dead entries are removed.
    static LOG_LIMIT: StdCell<usize> = const { StdCell::new(1024) };
    static NO_GRAD: StdCell<bool> = const { StdCell::new(false) };
    /// The dead that wait to be dropped, so that a long chain does not recurse.
    static GRAVE: RefCell<Option<Vec<Inputs>>> = const { RefCell::new(None) };
}

/// Locks without caring about poison: every state is valid between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Runs `f` while nothing that is recorded can be differentiated: parameters count as constants, and
/// evaluated results forget how they were made.
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            NO_GRAD.set(self.0);
        }
    }
    let _restore = Restore(NO_GRAD.replace(true));
    f()
}

/// Whether gradients can be asked of what is recorded now.
pub fn grad_enabled() -> bool {
    !NO_GRAD.get()
}

impl Node {
    /// Records a node.
    #[inline]
    pub(crate) fn new(op: Op, inputs: Inputs, shape: Shape, dtype: DType, at: &'static Location<'static>) -> Arc<Node> {
        let id = NEXT_ID.fetch_add(1, SeqCst);
        let mut flags = 0;
        let mut depth = 0;
        for input in &inputs {
            flags |= input.flags.load(SeqCst);
            depth = depth.max(input.depth.load(Relaxed));
        }
        flags &= TRAINABLE | READS_CELLS | SYMBOLIC;
        match &op {
            Op::Mark(Mark::Detach) => flags &= !TRAINABLE,
            Op::Mark(Mark::Watch) if dtype.is_float() => flags |= TRAINABLE,
            Op::Cell(cell) => flags |= READS_CELLS | if cell.trainable() && grad_enabled() { TRAINABLE } else { 0 },
            Op::Input(_) => flags |= SYMBOLIC | if dtype.is_float() { TRAINABLE } else { 0 },
            _ if !dtype.is_float() => flags &= !TRAINABLE,
            _ => {}
        }
        let node = Arc::new(Node {
            id,
            op,
            shape,
            dtype,
            origin: Origin::new(at),
            handles: AtomicU32::new(0),
            depth: AtomicU32::new(depth + 1),
            flags: AtomicU8::new(flags),
            mark: AtomicU64::new(0),
            state: Mutex::new(State { inputs, ..State::default() }),
        });
        if flags & (READS_CELLS | SYMBOLIC) == READS_CELLS {
            log(&node);
        }
        node
    }

    /// A node that has its value from the start.
    pub(crate) fn leaf(buffer: Arc<Buffer>, shape: Shape, dtype: DType, at: &'static Location<'static>) -> Arc<Node> {
        let node = Node::new(Op::Leaf, Inputs::new(), shape, dtype, at);
        node.set_value(buffer);
        node
    }

    /// A node that carries an error instead of a value: of a size that nothing overflows with.
    pub(crate) fn failed(error: Error, shape: Shape, dtype: DType, at: &'static Location<'static>) -> Arc<Node> {
        let shape = if shape.addressable() { shape } else { shape.iter().map(|_| 1).collect() };
        let node = Node::new(Op::Leaf, Inputs::new(), shape, dtype, at);
        lock(&node.state).error = Some(error.at(&node.origin));
        node.flags.fetch_or(HAS_ERROR, Relaxed);
        node
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Marks the node as met by `walk`; whether it was not. Walks of several threads may take each other's
    /// marks away: a node can be met twice, never missed.
    pub(crate) fn visit(&self, walk: u64) -> bool {
        let new = self.mark.load(Relaxed) != walk;
        if new {
            self.mark.store(walk, Relaxed);
        }
        new
    }

    /// Whether `walk` has met the node.
    pub(crate) fn visited(&self, walk: u64) -> bool {
        self.mark.load(Relaxed) == walk
    }

    pub(crate) fn inputs(&self) -> Inputs {
        self.state().inputs.clone()
    }

    pub(crate) fn value(&self) -> Option<Arc<Buffer>> {
        if self.flags.load(Relaxed) & HAS_VALUE == 0 {
            return None;
        }
        self.state().value.clone()
    }

    /// One result of a node with several, when it is known.
    pub(crate) fn part(&self, part: u32) -> Option<Arc<Buffer>> {
        self.state().parts.get(part as usize)?.clone()
    }

    pub(crate) fn set_part(&self, part: u32, buffer: Arc<Buffer>) {
        let mut state = self.state();
        let count = self.op.results();
        state.parts.resize(count, None);
        state.parts[part as usize] = Some(buffer);
    }

    pub(crate) fn has_value(&self) -> bool {
        self.flags.load(Relaxed) & HAS_VALUE != 0
    }

    #[inline]
    pub(crate) fn failed_before(&self) -> bool {
        self.flags.load(Relaxed) & HAS_ERROR != 0
    }

    pub(crate) fn error(&self) -> Option<Error> {
        if !self.failed_before() {
            return None;
        }
        self.state().error.clone()
    }

    /// Whether a gradient may be asked through this node.
    pub(crate) fn trainable(&self) -> bool {
        self.flags.load(Relaxed) & TRAINABLE != 0
    }

    /// Whether a placeholder of a region is below.
    pub(crate) fn symbolic(&self) -> bool {
        self.flags.load(Relaxed) & SYMBOLIC != 0
    }

    pub(crate) fn held(&self) -> bool {
        self.handles.load(Relaxed) > 0
    }

    pub(crate) fn hold(&self) {
        self.handles.fetch_add(1, Relaxed);
    }

    pub(crate) fn release(&self) {
        self.handles.fetch_sub(1, Relaxed);
    }

    /// Whether the chain below is so long that it should be evaluated now.
    #[inline]
    pub(crate) fn too_deep(&self) -> bool {
        let depth = self.depth.load(Relaxed);
        depth >= DEPTH_LIMIT && depth.is_multiple_of(DEPTH_LIMIT) && !self.symbolic()
    }

    /// Gives the node its value. Where no trainable leaf is below, it forgets how it was made.
    pub(crate) fn set_value(&self, buffer: Arc<Buffer>) {
        let mut state = self.state();
        state.value = Some(buffer);
        self.flags.fetch_or(HAS_VALUE, Relaxed);
        self.depth.store(0, Relaxed);
        if !self.trainable() {
            self.flags.fetch_and(!READS_CELLS, Relaxed);
            let dead = std::mem::take(&mut state.inputs);
            drop(state);
            bury(dead);
        }
    }

    /// Makes the node carry an error: computing it was refused.
    pub(crate) fn set_error(&self, error: Error) {
        let mut state = self.state();
        state.error = Some(error);
        self.flags.fetch_or(HAS_ERROR, Relaxed);
        self.flags.fetch_and(!READS_CELLS, Relaxed);
        let dead = std::mem::take(&mut state.inputs);
        drop(state);
        bury(dead);
    }

    /// Makes the node a plain value: what it was computed from has been changed by `by`.
    pub(crate) fn consume(&self, by: &Origin) {
        if matches!(self.op, Op::Cell(_)) {
            return;
        }
        let mut state = self.state();
        // Before the id is asked for: a node that still met the flag has a smaller one. And both flags at once: who
        // meets neither of them would miss the step.
        let consumed = |flags: u8| {
            let mark = if flags & TRAINABLE != 0 { CONSUMED } else { 0 };
            Some(flags & !(TRAINABLE | READS_CELLS) | mark)
        };
        let before = self.flags.fetch_update(SeqCst, SeqCst, consumed).expect("always some flags");
        if before & TRAINABLE != 0 {
            state.consumed = Some((by.clone(), next_id()));
        }
        if state.value.is_none() {
            self.flags.fetch_or(LOST, Relaxed);
        }
        let dead = std::mem::take(&mut state.inputs);
        drop(state);
        bury(dead);
    }

    /// Whether it can not be computed any more: a step of another thread changed what it reads.
    pub(crate) fn lost(&self) -> bool {
        self.flags.load(Relaxed) & LOST != 0
    }

    /// What consumed this node, when something has.
    pub(crate) fn consumed_by(&self) -> Option<Origin> {
        self.consumed_after(0)
    }

    /// What consumed this node when the node `id` had been recorded.
    pub(crate) fn consumed_after(&self, id: u64) -> Option<Origin> {
        if self.flags.load(Relaxed) & CONSUMED == 0 {
            return None;
        }
        self.state().consumed.as_ref().filter(|(_, next)| *next > id).map(|(by, _)| by.clone())
    }
}

/// The id that no node has yet: later ones are recorded after this moment.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.load(SeqCst)
}

fn log(node: &Arc<Node>) {
    // A thread that is ending has no log any more: nothing of it can be stepped over.
    let _ = LOG.try_with(|log| {
        let mut log = lock(log);
        log.push(Arc::downgrade(node));
        if log.len() >= LOG_LIMIT.get() {
            log.retain(|node| node.strong_count() > 0);
            LOG_LIMIT.set((log.len() * 2).max(1024));
        }
    });
}

/// The nodes of all threads that handles hold and that still know that they read cells.
pub(crate) fn held_readers() -> Vec<Arc<Node>> {
    let mut held = Vec::new();
    lock(&LOGS).retain(|log| {
        let Some(log) = log.upgrade() else { return false };
        lock(&log).retain(|weak| match weak.upgrade() {
            None => false,
            Some(node) if node.flags.load(Relaxed) & READS_CELLS == 0 => false,
            Some(node) => {
                if node.held() && !matches!(node.op, Op::Cell(_)) {
                    held.push(node);
                }
                true
            }
        });
        true
    });
    held
}

/// Runs `f` while no thread looks through the logs: looking takes hold of a node for a moment, also of one that nobody
/// else has.
pub(crate) fn unwatched<R>(f: impl FnOnce() -> R) -> R {
    let _logs = lock(&LOGS);
    f()
}

/// Drops `inputs` without recursion: what dies below is put on a list, not on the stack.
fn bury(inputs: Inputs) {
    if inputs.is_empty() {
        return;
    }
    let nested = GRAVE.try_with(|grave| {
        let mut grave = grave.borrow_mut();
        match grave.as_mut() {
            Some(list) => {
                list.push(inputs);
                None
            }
            None => {
                *grave = Some(Vec::new());
                Some(inputs)
            }
        }
    });
    let Ok(Some(mut current)) = nested else { return };
    loop {
        drop(current);
        let next = GRAVE.with(|grave| {
            let mut grave = grave.borrow_mut();
            let next = grave.as_mut().and_then(Vec::pop);
            if next.is_none() {
                *grave = None;
            }
            next
        });
        match next {
            Some(inputs) => current = inputs,
            None => return,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(|e| e.into_inner());
        bury(std::mem::take(&mut state.inputs));
    }
}
