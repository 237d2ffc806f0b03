//! State that outlives a recording: what parameters and buffers are made of.
//!
//! A cell holds one value. Reading it records a leaf; assigning to it records a *pending effect*, which
//! runs exactly once, in the first plan that evaluates anything recorded after it, reads the cell, or
//! saves it. An optimizer's step, a running mean, a cache that grows: all are assignments.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread::ThreadId;

use limpid_kernels::{Buffer, DType, Element, Number};

use crate::error::{Error, Result};
use crate::graph::Recording;
use crate::node::{Inputs, Node, grad_enabled, lock};
use crate::op::{Op, movement, source};
use crate::origin::Origin;
use crate::shape::Shape;
use crate::tensor::{Tensor, buffer_of};
use crate::testing::{Fault, planted};

/// One named value that assignments change.
pub struct Cell {
    id: u64,
    trainable: AtomicBool,
    label: Mutex<Option<Arc<str>>>,
    state: Mutex<CellState>,
}

#[derive(Debug)]
pub(crate) struct CellState {
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    /// Absent only while a plan writes it, or when making it failed.
    pub(crate) value: Option<Arc<Buffer>>,
    pub(crate) error: Option<Error>,
    /// Counts the values that the cell has had.
    pub(crate) version: u64,
    /// The recorded value that is to be written, and where that was asked.
    pub(crate) pending: Option<Pending>,
    /// The leaves of the current version: as a constant, and as something to differentiate by.
    leaves: [Weak<Node>; 2],
}

/// An assignment that waits.
#[derive(Debug)]
pub(crate) struct Pending {
    value: Arc<Node>,
    by: Origin,
    thread: ThreadId,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// Cells with assignments that this thread has recorded, in order.
    static PENDING: RefCell<Vec<Arc<Cell>>> = const { RefCell::new(Vec::new()) };
    /// An assignment of this thread that was refused, until it evaluates something.
    static REFUSED: RefCell<Option<Error>> = const { RefCell::new(None) };
}

impl Cell {
    /// A cell with the value of `init`. When that fails, reading the cell returns the error.
    pub fn new(init: &Tensor, trainable: bool) -> Arc<Cell> {
        let (value, error) = match init.detach_value() {
            Ok(buffer) => (Some(buffer), None),
            Err(error) => (None, Some(error)),
        };
        Arc::new(Cell {
            id: NEXT_ID.fetch_add(1, Relaxed),
            trainable: AtomicBool::new(trainable && init.dtype().is_float()),
            label: Mutex::new(None),
            state: Mutex::new(CellState {
                shape: init.shape().clone(),
                dtype: init.dtype(),
                value,
                error,
                version: 0,
                pending: None,
                leaves: [Weak::new(), Weak::new()],
            }),
        })
    }

    /// A number that tells cells apart.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether gradients may be asked by this cell.
    pub fn trainable(&self) -> bool {
        self.trainable.load(Relaxed)
    }

    /// Freezes the cell or makes it trainable again. Leaves recorded before keep what they were.
    pub fn set_trainable(&self, trainable: bool) {
        let mut state = self.state();
        self.trainable.store(trainable && state.dtype.is_float(), Relaxed);
        state.leaves = [Weak::new(), Weak::new()];
    }

    /// The name that plans and messages give it.
    pub fn label(&self) -> Option<Arc<str>> {
        lock(&self.label).clone()
    }

    /// The label, or what stands for it in a message.
    pub(crate) fn name(&self) -> String {
        self.label().map_or_else(|| "a buffer".to_owned(), |label| label.to_string())
    }

    /// Names the cell.
    pub fn set_label(&self, label: &str) {
        *lock(&self.label) = Some(label.into());
    }

    /// Sizes of the value.
    pub fn shape(&self) -> Shape {
        self.state().shape.clone()
    }

    /// Type of the value.
    pub fn dtype(&self) -> DType {
        self.state().dtype
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, CellState> {
        lock(&self.state)
    }

    /// The current value as a recorded tensor: what was assigned last, also when that is still pending.
    #[track_caller]
    pub fn tensor(self: &Arc<Self>) -> Tensor {
        let at = Location::caller();
        let mut state = self.state();
        if let Some(error) = &state.error {
            return Tensor::hold(Node::failed(error.clone(), state.shape.clone(), state.dtype, at));
        }
        if let Some(pending) = &state.pending {
            return Tensor::hold(pending.value.clone());
        }
        let slot = usize::from(grad_enabled() && self.trainable());
        if let Some(leaf) = state.leaves[slot].upgrade() {
            return Tensor::hold(leaf);
        }
        let leaf = Node::new(Op::Cell(self.clone()), Inputs::new(), state.shape.clone(), state.dtype, at);
        state.leaves[slot] = Arc::downgrade(&leaf);
        Tensor::hold(leaf)
    }

    /// Whether `node`, a leaf of this cell, still stands for the current version.
    pub(crate) fn is_current(state: &CellState, node: &Node) -> bool {
        state.leaves.iter().any(|leaf| std::ptr::eq(leaf.as_ptr(), node))
    }

    /// Records that the cell takes `value`, which has its shape and type. It runs with the first plan
    /// that evaluates anything recorded later.
    #[track_caller]
    pub fn assign(self: &Arc<Self>, value: &Tensor) {
        let mut state = self.state();
        let fits = *value.shape() == state.shape && value.dtype() == state.dtype;
        let what = || self.name();
        let node = if value.node.symbolic() {
            let error = Error::new(format!("assign: {} is assigned inside a region", what()));
            let error = error.help("returning the value from the region and assigning it outside");
            crate::region::complain(error.clone());
            Node::failed(error, state.shape.clone(), state.dtype, Location::caller())
        } else if fits || value.error().is_some() {
            value.node.clone()
        } else {
            let error = Error::new(format!(
                "assign: {} is {} {}, the value is {} {}",
                what(),
                state.dtype,
                state.shape,
                value.dtype(),
                value.shape()
            ));
            Node::failed(error, state.shape.clone(), state.dtype, Location::caller())
        };
        let by = Origin::new(Location::caller());
        let thread = std::thread::current().id();
        if let Some(theirs) = state.pending.as_ref().filter(|p| p.thread != thread && !reads(&node, &p.value)) {
            let line = theirs.by.user_line();
            let error = Error::new(format!("assign: another thread is changing {}", self.name())).at(&by);
            let error = error.note(format!("at {}:{}", line.file(), line.line()));
            REFUSED.set(Some(error.help("one thread at a time that steps, or recording the step again")));
            return;
        }
        state.pending = Some(Pending { value: node, by, thread });
        drop(state);
        PENDING.with(|pending| {
            let mut pending = pending.borrow_mut();
            if !pending.iter().any(|cell| cell.id == self.id) {
                pending.push(self.clone());
            }
        });
    }

    /// Records that the part of the cell that starts at `start` along `axis` takes `value`. Runs in
    /// place: nothing else of the cell is copied.
    #[track_caller]
    pub fn write_at(self: &Arc<Self>, axis: isize, start: usize, value: &Tensor) {
        let old = self.tensor();
        let error = match old.shape().axis(axis) {
            None => Some(Error::new(format!("write_at: axis {axis} of a buffer of shape {}", old.shape()))),
            Some(a) => {
                let fits = value.rank() == old.rank()
                    && (0..old.rank()).all(|i| i == a || value.shape()[i] == old.shape()[i])
                    && start + value.shape()[a] <= old.shape()[a]
                    && value.dtype() == old.dtype();
                (!fits).then(|| {
                    Error::new(format!(
                        "write_at: {} {} does not fit into {} {} at {start} along axis {axis}",
                        value.dtype(),
                        value.shape(),
                        old.dtype(),
                        old.shape()
                    ))
                })
            }
        };
        match error {
            Some(error) => self.assign(&Tensor::fail(error, &[value], old.shape().clone(), old.dtype())),
            None => self.assign(&movement::write(&old, old.shape().axis(axis).expect("checked"), start as i64, value)),
        }
    }

    /// The value itself, after what is pending has run: a snapshot. The next assignment writes
    /// elsewhere, once, so that the snapshot stays.
    #[track_caller]
    pub fn value(self: &Arc<Self>) -> Result<Tensor> {
        self.settle()?;
        let state = self.state();
        let buffer = state.value.clone().ok_or_else(|| state.error.clone().expect("no value only after an error"))?;
        Ok(source::leaf(buffer, state.shape.clone(), state.dtype))
    }

    /// Runs what is pending.
    pub fn settle(self: &Arc<Self>) -> Result<()> {
        let pending = self.pending_assignment();
        match pending {
            Some((node, _)) => {
                // An assignment of another thread joins this one's.
                PENDING.with(|pending| {
                    let mut pending = pending.borrow_mut();
                    if !pending.iter().any(|cell| cell.id == self.id) {
                        pending.push(self.clone());
                    }
                });
                crate::exec::evaluate(&[&Tensor::hold(node)])
            }
            None => self.state().error.clone().map_or(Ok(()), Err),
        }
    }

    /// Gives the cell another value at once, of any shape and type; drops what is pending. Tensors
    /// recorded before are computed from the old value first.
    pub fn set_value(self: &Arc<Self>, value: &Tensor) -> Result<()> {
        let buffer = value.detach_value()?;
        crate::exec::settle_readers(self)?;
        let mut state = self.state();
        state.shape = value.shape().clone();
        state.dtype = value.dtype();
        state.value = Some(buffer);
        state.error = None;
        state.pending = None;
        state.version += 1;
        state.leaves = [Weak::new(), Weak::new()];
        Ok(())
    }

    /// Sets a cell of one element to a number of the host, without recording anything: a learning rate.
    pub fn set_number(self: &Arc<Self>, number: f64) -> Result<()> {
        let dtype = self.dtype();
        let buffer = Arc::new(buffer_of(dtype, std::iter::once(Number::Float(number))));
        self.set_value(&source::leaf(buffer, self.shape(), dtype))
    }

    /// What is to be written, and where that was asked.
    pub(crate) fn pending_assignment(&self) -> Option<(Arc<Node>, Origin)> {
        self.state().pending.as_ref().map(|pending| (pending.value.clone(), pending.by.clone()))
    }

    /// Commits a value that a plan has computed, of the assignment of `value`. Another thread's, recorded since then,
    /// stays: it will find that what it read has changed.
    pub(crate) fn commit(state: &mut CellState, value: Option<&Arc<Node>>, buffer: Arc<Buffer>) {
        state.value = Some(buffer);
        state.pending.take_if(|pending| value.is_some_and(|value| Arc::ptr_eq(value, &pending.value)));
        state.version += 1;
        state.leaves = [Weak::new(), Weak::new()];
    }

    /// Number of values that the cell has had before this one.
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// The elements, after what is pending has run.
    pub fn to_vec<T: Element>(self: &Arc<Self>) -> Result<Vec<T>> {
        self.value()?.to_vec()
    }
}

/// Whether `node` is computed from `value`, or is it.
fn reads(node: &Arc<Node>, value: &Arc<Node>) -> bool {
    Recording::collect(std::slice::from_ref(node), |below| below.id < value.id).position(value).is_some()
}

/// The cells whose assignments this thread has recorded and that have not run, in order.
///
/// # Errors
/// One was refused, since another thread was changing the cell: then the others are dropped too.
pub(crate) fn pending() -> Result<Vec<Arc<Cell>>> {
    if let Some(error) = REFUSED.take() {
        discard(&PENDING.take());
        return Err(error);
    }
    Ok(PENDING.with(|pending| {
        let mut pending = pending.borrow_mut();
        pending.retain(|cell| cell.state().pending.is_some());
        let known = pending.len() - usize::from(planted(Fault::LostEffect) && !pending.is_empty());
        pending[..known].to_vec()
    }))
}

/// Drops the assignments of `cells`: a plan with them failed, and the cells keep what they were.
pub(crate) fn discard(cells: &[Arc<Cell>]) {
    let thread = std::thread::current().id();
    for cell in cells {
        // What another thread has assigned is for its own step.
        cell.state().pending.take_if(|pending| pending.thread == thread);
    }
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.label() {
            Some(label) => write!(f, "{label}"),
            None => write!(f, "cell {}", self.id),
        }
    }
}
