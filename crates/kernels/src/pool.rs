//! A fork-join pool: threads that spin briefly, then sleep.
//!
//! A fork opens a *gate* that workers pass while tasks remain; a join closes it and waits for those that
//! passed. A worker that wakes too late finds the gate closed and is not waited for, so a busy machine
//! delays a kernel by no more than the tasks that were really begun elsewhere.
//!
//! Tasks are dealt out in runs: thread t begins with the t-th, and helps others when it is through. So kernels that
//! follow each other over the same memory find in each core's cache what the same core has left there.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread spins before it sleeps: longer than the gaps between the kernels of one step.
const SPIN: Duration = Duration::from_micros(60);

/// Layout of the gate: fork number << 32 | OPEN | workers inside.
const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;

/// A value on a cache line of its own, so that writing it does not disturb its neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

type Task = *const (dyn Fn(usize) + Sync);

/// Tasks that have not begun: end << 32 | first.
#[derive(Debug, Default)]
struct Run(Line<AtomicU64>);

impl Run {
    /// Run `i` of `runs` of so many tasks.
    fn deal(&self, i: usize, runs: usize, tasks: usize) {
        let edge = |i: usize| (i as u128 * tasks as u128 / runs as u128) as u64;
        self.0.0.store(edge(i + 1) << 32 | edge(i), Ordering::Relaxed);
    }

    /// Takes the first task, or the last one.
    fn take(&self, first: bool) -> Option<usize> {
        let (end, start) = (|run: u64| run >> 32, |run: u64| run & 0xffff_ffff);
        let rest = |run| (start(run) < end(run)).then(|| if first { run + 1 } else { run - (1 << 32) });
        let run = self.0.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).ok()?;
        Some(if first { start(run) } else { end(run) - 1 } as usize)
    }
}

/// What the threads of one pool share.
struct Shared {
    gate: Line<AtomicU64>,
    /// For each thread, the tasks of its run that have not begun.
    runs: Box<[Run]>,
    /// The task: written while the gate is closed and nobody is inside.
    work: Line<UnsafeCell<Option<Task>>>,
    /// Whether some caller has the workers.
    taken: AtomicBool,
    stop: AtomicBool,
    /// Whether threads may spin: not when they outnumber the processors.
    spins: bool,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    /// Whether the caller sleeps until the last worker leaves.
    joining: AtomicBool,
    joined: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `work` is written only by the caller that has `taken` the workers, while the gate is closed and
// empty, and read only by threads that passed the gate after that; the task behind its pointer is Sync.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `work` is used only between a fork and its join, during which the caller's borrow lives.
unsafe impl Send for Shared {}

/// Threads that share the work of one kernel.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Spins until `ready`, at most [`SPIN`] long; returns whether it is.
fn spin_until(ready: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..64 {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        // The clock costs as much as a short join, so it is read only when the wait is not short.
        if start.get_or_insert_with(Instant::now).elapsed() > SPIN {
            return false;
        }
    }
}

impl Shared {
    /// Begins tasks until none is left: those of run `own` in order, then the last ones of others. A panic is kept for
    /// the caller, and the tasks not yet begun are dropped.
    fn work(&self, own: usize, task: &(dyn Fn(usize) + Sync)) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            for run in 0..self.runs.len() {
                let theirs = &self.runs[(own + run) % self.runs.len()];
                while let Some(i) = theirs.take(run == 0) {
                    task(i);
                }
            }
        }));
        if let Err(payload) = result {
            self.runs.iter().for_each(|run| run.deal(0, 1, 0));
            lock(&self.panic).get_or_insert(payload);
        }
    }

    /// Whether the gate shows a fork that a worker which last saw fork `seen` may still enter.
    fn is_new(gate: u64, seen: u64) -> bool {
        gate & OPEN != 0 && gate >> 32 != seen
    }

    fn awaits(&self, seen: u64) -> bool {
        Shared::is_new(self.gate.0.load(Ordering::SeqCst), seen) || self.stop.load(Ordering::SeqCst)
    }

    fn worker(&self, own: usize) {
        let mut seen = 0;
        loop {
            if !(self.spins && spin_until(|| self.awaits(seen))) {
                let mut guard = lock(&self.sleep);
                self.sleepers.fetch_add(1, Ordering::SeqCst);
                while !self.awaits(seen) {
                    guard = self.wake.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner());
                }
                self.sleepers.fetch_sub(1, Ordering::SeqCst);
            }
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let entered = self.gate.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |gate| {
                Shared::is_new(gate, seen).then_some(gate + 1)
            });
            let Ok(gate) = entered else { continue };
            seen = gate >> 32;
            // SAFETY: this thread is inside the gate, so the caller neither changes `work` nor returns.
            let work = unsafe { *self.work.0.get() };
            let task = work.expect("an open gate has work");
            // SAFETY: as above: the caller's borrow of the task lives until this thread leaves.
            self.work(own, unsafe { &*task });
            let before = self.gate.0.fetch_sub(1, Ordering::SeqCst);
            if before & (OPEN | INSIDE) == 1 && self.joining.load(Ordering::SeqCst) {
                drop(lock(&self.sleep));
                self.joined.notify_all();
            }
        }
    }

    /// Opens the gate for `tasks` tasks and wakes as many sleepers as have something to do.
    fn fork(&self, task: Task, tasks: usize) {
        // SAFETY: the caller has `taken` the workers, the gate is closed and nobody is inside.
        unsafe { *self.work.0.get() = Some(task) };
        self.runs.iter().enumerate().for_each(|(i, run)| run.deal(i, self.runs.len(), tasks));
        let number = (self.gate.0.load(Ordering::Relaxed) >> 32).wrapping_add(1) & 0xffff_ffff;
        // Number 0 is what a fresh worker has seen.
        self.gate.0.store(number.max(1) << 32 | OPEN, Ordering::SeqCst);
        let sleepers = self.sleepers.load(Ordering::SeqCst);
        if sleepers > 0 {
            drop(lock(&self.sleep));
            for _ in 0..sleepers.min(tasks - 1) {
                self.wake.notify_one();
            }
        }
    }

    /// Closes the gate and waits until nobody is inside.
    fn join(&self) {
        self.gate.0.fetch_and(!OPEN, Ordering::SeqCst);
        let empty = || self.gate.0.load(Ordering::SeqCst) & INSIDE == 0;
        if empty() || (self.spins && spin_until(empty)) {
            return;
        }
        self.joining.store(true, Ordering::SeqCst);
        let mut guard = lock(&self.sleep);
        while !empty() {
            guard = self.joined.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        self.joining.store(false, Ordering::SeqCst);
    }
}

impl Pool {
    /// A pool that runs work on `threads` threads, the caller's among them (at least one; fewer than asked
    /// for when the system refuses more).
    pub fn new(threads: usize) -> Pool {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        let shared = Arc::new(Shared {
            gate: Line::default(),
            runs: (0..threads.max(1)).map(|_| Run::default()).collect(),
            work: Line(UnsafeCell::new(None)),
            taken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            spins: threads <= processors,
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            joining: AtomicBool::new(false),
            joined: Condvar::new(),
            panic: Mutex::new(None),
        });
        let spawn = |i: usize| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("limpid-{i}")).spawn(move || shared.worker(i)).ok()
        };
        let workers = (1..threads).map_while(spawn).collect();
        Pool { shared, workers }
    }

    /// Number of threads, the caller's among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(0)` … `task(tasks - 1)`, each exactly once, on any thread; returns when all are done.
    ///
    /// While the workers are with another caller, or when called from inside a task, the tasks run one after
    /// the other on the calling thread. A panic of a task is raised here after all running tasks ended;
    /// tasks that had not begun are then skipped.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        let alone = tasks <= 1 || self.workers.is_empty() || tasks > u32::MAX as usize;
        if alone || shared.taken.swap(true, Ordering::Acquire) {
            for i in 0..tasks {
                task(i);
            }
            return;
        }
        // SAFETY: only the lifetime changes; `join` returns after the last use of the pointer.
        let erased = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task) };
        shared.fork(erased, tasks);
        shared.work(0, task);
        shared.join();
        let payload = lock(&shared.panic).take();
        shared.taken.store(false, Ordering::Release);
        if let Some(payload) = payload {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.sleep));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of tasks, so it can only have ended well.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} threads)", self.threads())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `tasks` tasks and returns how often each ran.
    fn counts(pool: &Pool, tasks: usize) -> Vec<usize> {
        let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|i| {
            counts[i].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_task_runs_once() {
        for threads in [0, 1, 2, 3, 16] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads.max(1));
            for tasks in [0, 1, 2, 3, 17, 1000] {
                for _ in 0..50 {
                    assert_eq!(counts(&pool, tasks), vec![1; tasks], "{threads} threads");
                }
            }
        }
    }

    #[test]
    fn workers_take_part_also_after_sleeping() {
        let pool = Pool::new(2);
        for _ in 0..3 {
            std::thread::sleep(SPIN * 20);
            // Each of the two tasks waits for the other one, so two threads must run them.
            let arrived = AtomicUsize::new(0);
            pool.run(2, &|_| {
                arrived.fetch_add(1, Ordering::SeqCst);
                while arrived.load(Ordering::SeqCst) < 2 {
                    std::thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_task_may_run_tasks() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        pool.run(8, &|_| {
            pool.run(5, &|i| {
                total.fetch_add(i, Ordering::Relaxed);
            });
        });
        assert_eq!(total.into_inner(), 8 * 10);
    }

    #[test]
    fn several_callers_share_a_pool() {
        let pool = Pool::new(2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for tasks in 0..300 {
                        assert_eq!(counts(&pool, tasks % 7), vec![1; tasks % 7]);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        for threads in [1, 2, 4] {
            let pool = Pool::new(threads);
            for bad in [0, 1, 31] {
                let running = AtomicUsize::new(0);
                let result = catch_unwind(AssertUnwindSafe(|| {
                    pool.run(32, &|i| {
                        running.fetch_add(1, Ordering::SeqCst);
                        let fine = i != bad;
                        running.fetch_sub(1, Ordering::SeqCst);
                        assert!(fine, "task {i} failed");
                    });
                }));
                let message = *result.expect_err("the panic is raised").downcast::<String>().expect("a message");
                assert_eq!(message, format!("task {bad} failed"));
                assert_eq!(running.into_inner(), 0, "all tasks ended before the panic was raised");
                assert_eq!(counts(&pool, 9), vec![1; 9]);
            }
        }
    }

    #[test]
    fn a_task_that_panics_inside_a_task_reaches_the_outer_caller() {
        let pool = Pool::new(2);
        let result = catch_unwind(AssertUnwindSafe(|| pool.run(4, &|_| pool.run(2, &|_| panic!("inner")))));
        assert!(result.is_err());
        assert_eq!(counts(&pool, 3), vec![1; 3]);
    }

    /// A measurement, not a check: `cargo test --release -p limpid-kernels fork_and_join -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn fork_and_join_takes_microseconds() {
        let pool = Pool::new(2);
        let mut best = Duration::MAX;
        for _ in 0..50 {
            let start = Instant::now();
            for _ in 0..100 {
                // Each task waits for the other one, so that the worker really takes part.
                let arrived = AtomicUsize::new(0);
                pool.run(2, &|_| {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    while arrived.load(Ordering::SeqCst) < 2 {
                        std::hint::spin_loop();
                    }
                });
            }
            best = best.min(start.elapsed() / 100);
        }
        println!("fork and join: {best:?}");
        assert!(best < Duration::from_micros(3), "{best:?}");
    }
}
