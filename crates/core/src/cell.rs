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
use smallvec::SmallVec;

use crate::error::{Error, Result};
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
    pub(crate) value: Arc<Node>,
    /// Where that was asked.
    by: Origin,
    thread: ThreadId,
    /// The assignment of another thread that this one took the place of, and whose value it reads.
    over: Option<Box<Pending>>,
}

impl Pending {
    /// The assignment of `value` by this thread, in place of `old`.
    #[track_caller]
    fn new(value: Arc<Node>, old: Option<Pending>) -> Pending {
        let thread = std::thread::current().id();
        let over = match old {
            Some(mine) if mine.thread == thread => mine.over,
            theirs => theirs.map(Box::new),
        };
        Pending { value, by: Origin::new(Location::caller()), thread, over }
    }
}

/// An assignment that a plan is to run.
pub(crate) struct Effect {
    pub(crate) cell: Arc<Cell>,
    pub(crate) value: Arc<Node>,
    pub(crate) by: Origin,
}

impl CellState {
    /// Whether `node` is the value of now: what is to be written, or else the leaf of the current version.
    fn shows(&self, node: &Arc<Node>) -> bool {
        match &self.pending {
            Some(pending) => Arc::ptr_eq(&pending.value, node),
            None => Cell::is_current(self, node),
        }
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// Cells with assignments that this thread has recorded, in order.
    static PENDING: RefCell<Vec<Arc<Cell>>> = const { RefCell::new(Vec::new()) };
}

impl Cell {
    /// A cell with the value of `init`. When that fails, reading the cell returns the error.
    pub fn new(init: &Tensor, trainable: bool) -> Arc<Cell> {
        Cell::holding(init.detach_value(), init.shape().clone(), init.dtype(), trainable)
    }

    /// A cell with `number` everywhere, which is not trained. Nothing is recorded: it can be made while a step is
    /// captured, as what an optimizer keeps is made in its first step.
    #[track_caller]
    pub fn filled(shape: impl Into<Shape>, number: f64, dtype: DType) -> Arc<Cell> {
        let shape = shape.into();
        let value = Buffer::try_new(shape.elements().saturating_mul(dtype.size())).ok_or_else(|| {
            let error = Error::new(format!("filled: the system has no memory for {dtype} {shape}"));
            error.at(&Origin::new(Location::caller()))
        });
        let value = value.map(|mut buffer| {
            fill(&mut buffer, dtype, Number::Float(number));
            Arc::new(buffer)
        });
        Cell::holding(value, shape, dtype, false)
    }

    fn holding(value: Result<Arc<Buffer>>, shape: Shape, dtype: DType, trainable: bool) -> Arc<Cell> {
        let (value, error) = match value {
            Ok(buffer) => (Some(buffer), None),
            Err(error) => (None, Some(error)),
        };
        Arc::new(Cell {
            id: NEXT_ID.fetch_add(1, Relaxed),
            trainable: AtomicBool::new(trainable && dtype.is_float()),
            label: Mutex::new(None),
            state: Mutex::new(CellState {
                shape,
                dtype,
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
        crate::exec::capture::invalidate_captures();
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
        let value = self.assignable(&state, value);
        state.pending = Some(Pending::new(value, state.pending.take()));
        drop(state);
        self.enlist();
    }

    /// The node that is written when `value` is assigned: an error where it does not fit.
    #[track_caller]
    fn assignable(&self, state: &CellState, value: &Tensor) -> Arc<Node> {
        let fits = *value.shape() == state.shape && value.dtype() == state.dtype;
        if value.node.symbolic() {
            let error = Error::new(format!("assign: {} is assigned inside a region", self.name()));
            let error = error.help("returning the value from the region and assigning it outside");
            crate::region::complain(error.clone());
            Node::failed(error, state.shape.clone(), state.dtype, Location::caller())
        } else if fits || value.error().is_some() {
            value.node.clone()
        } else {
            let error = Error::new(format!(
                "assign: {} is {} {}, the value is {} {}",
                self.name(),
                state.dtype,
                state.shape,
                value.dtype(),
                value.shape()
            ));
            Node::failed(error, state.shape.clone(), state.dtype, Location::caller())
        }
    }

    /// Puts the cell on this thread's list of those that wait to be written.
    fn enlist(self: &Arc<Self>) {
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
        let pending = self.state().pending.as_ref().map(|pending| pending.value.clone());
        match pending {
            Some(node) => {
                // An assignment of another thread joins this one's.
                self.enlist();
                crate::exec::evaluate(&[&Tensor::hold(node)])
            }
            None => self.state().error.clone().map_or(Ok(()), Err),
        }
    }

    /// Gives the cell another value at once, of any shape and type; drops what is pending. Tensors
    /// recorded before are computed from the old value first.
    pub fn set_value(self: &Arc<Self>, value: &Tensor) -> Result<()> {
        let buffer = value.detach_value()?;
        crate::exec::settle_readers(std::iter::once(self))?;
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

    /// Commits a value that a plan has computed.
    pub(crate) fn commit(state: &mut CellState, buffer: Arc<Buffer>) {
        state.value = Some(buffer);
        state.pending = None;
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

/// An assignment that is made together with others, by [`assign_all`].
#[derive(Clone, Debug)]
pub struct Assignment {
    /// What is assigned to.
    pub cell: Arc<Cell>,
    /// The value of the cell that `new` was recorded from: what [`Cell::tensor`] returned.
    pub old: Tensor,
    /// The value that it takes.
    pub new: Tensor,
}

/// [`Cell::assign`] to several cells at once: to all, or to none where one no longer has the value that it had. An
/// optimizer's step.
///
/// # Errors
/// Another thread has assigned to one of them since its value was read; one of them could not be made.
///
/// ```
/// use limpid_core::{Assignment, Cell, Tensor, assign_all};
/// let count = Cell::new(&Tensor::from(1i64), false);
/// let old = count.tensor();
/// let step = [Assignment { cell: count.clone(), new: &old + 1, old }];
/// assign_all(&step)?;
/// assert_eq!(count.to_vec::<i64>()?, [2]);
/// assert!(assign_all(&step).is_err(), "the count is no longer 1");
/// # Ok::<(), limpid_core::Error>(())
/// ```
#[track_caller]
pub fn assign_all(assignments: &[Assignment]) -> Result<()> {
    let cells = in_order(assignments.iter().map(|a| a.cell.clone()).collect());
    let mut states = locked(&cells);
    let at = |cell: &Cell| position(&cells, cell);
    if let Some(error) = states.iter().find_map(|state| state.error.clone()) {
        return Err(error);
    }
    if let Some(changed) = assignments.iter().find(|a| !states[at(&a.cell)].shows(&a.old.node)) {
        let error = Error::new(format!("assign: {} has changed since it was read", changed.cell.name()));
        let error = error.at(&Origin::new(Location::caller()));
        return Err(error.help("one thread at a time that steps, or recording the step again"));
    }
    for Assignment { cell, new, .. } in assignments {
        let state = &mut states[at(cell)];
        let new = cell.assignable(state, new);
        state.pending = Some(Pending::new(new, state.pending.take()));
    }
    drop(states);
    assignments.iter().for_each(|a| a.cell.enlist());
    Ok(())
}

/// Writes `number` over a buffer of elements of type `dtype`.
fn fill(buffer: &mut Buffer, dtype: DType, number: Number) {
    fn typed<T: Element>(buffer: &mut Buffer, number: Number) {
        buffer.get_mut::<T>().fill(T::from_number(number));
    }
    match dtype {
        DType::Bool => typed::<u8>(buffer, Number::Int(i64::from(number.as_f64() != 0.0))),
        DType::U8 => typed::<u8>(buffer, number),
        DType::I32 => typed::<i32>(buffer, number),
        DType::I64 => typed::<i64>(buffer, number),
        DType::F16 => typed::<half::f16>(buffer, number),
        DType::BF16 => typed::<half::bf16>(buffer, number),
        DType::F32 => typed::<f32>(buffer, number),
        DType::F64 => typed::<f64>(buffer, number),
    }
}

/// By id, each once: the order of locking.
pub(crate) fn in_order(mut cells: Vec<Arc<Cell>>) -> Vec<Arc<Cell>> {
    cells.sort_unstable_by_key(|c| c.id);
    cells.dedup_by_key(|c| c.id);
    cells
}

/// The states of `cells`, which are in order.
pub(crate) fn locked(cells: &[Arc<Cell>]) -> SmallVec<[MutexGuard<'_, CellState>; 8]> {
    cells.iter().map(|cell| cell.state()).collect()
}

/// Where `cell` stands among `cells`, which are in order.
pub(crate) fn position(cells: &[Arc<Cell>], cell: &Cell) -> usize {
    cells.binary_search_by_key(&cell.id, |c| c.id).expect("all cells are listed")
}

/// The assignments that this thread has recorded and that have not run, in order: all of one moment, since another
/// thread may be assigning to several of the cells.
pub(crate) fn pending() -> Vec<Effect> {
    let listed = PENDING.take();
    let order = in_order(listed.clone());
    let states = locked(&order);
    let effect = |cell: &Arc<Cell>| {
        let Pending { value, by, .. } = states[position(&order, cell)].pending.as_ref()?;
        Some(Effect { cell: cell.clone(), value: value.clone(), by: by.clone() })
    };
    let mut effects: Vec<Effect> = listed.iter().filter_map(effect).collect();
    PENDING.set(effects.iter().map(|effect| effect.cell.clone()).collect());
    if planted(Fault::LostEffect) {
        effects.pop();
    }
    effects
}

/// Drops this thread's assignments: a plan with them failed, and the cells keep what they were. What another thread
/// has assigned is for its own step.
pub(crate) fn discard() {
    let thread = std::thread::current().id();
    let order = in_order(PENDING.take());
    for mut state in locked(&order) {
        if let Some(mine) = state.pending.take_if(|pending| pending.thread == thread) {
            state.pending = mine.over.map(|theirs| *theirs);
        }
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
