//! What this thread has made the engine do: what tests of laziness count.

use std::cell::Cell;

/// Counts since the thread began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Plans made because none fitted.
    pub plans: u64,
    /// Plans run.
    pub runs: u64,
    /// Kernels run.
    pub kernels: u64,
    /// Assignments to cells that wrote over the old value.
    pub in_place: u64,
    /// Assignments to cells that wrote elsewhere, because a snapshot or a reader holds the old value.
    pub moved: u64,
}

thread_local! {
    static STATS: Cell<Stats> = const { Cell::new(Stats { plans: 0, runs: 0, kernels: 0, in_place: 0, moved: 0 }) };
}

/// The counts of this thread.
///
/// ```
/// use limpid_core::{Tensor, stats};
/// let x = Tensor::from([1.0f32]);
/// let before = stats();
/// let y = &x + 1.0;
/// assert_eq!(stats(), before);
/// y.item()?;
/// assert_eq!(stats().kernels, before.kernels + 1);
/// # Ok::<(), limpid_core::Error>(())
/// ```
pub fn stats() -> Stats {
    STATS.get()
}

pub(crate) fn count(f: impl FnOnce(&mut Stats)) {
    let mut stats = STATS.get();
    f(&mut stats);
    STATS.set(stats);
}

pub(crate) fn kernel() {
    count(|s| s.kernels += 1);
}
