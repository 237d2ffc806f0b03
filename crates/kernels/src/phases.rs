//! Work in phases: in each of some lanes, the tasks of a phase begin when all of the phase before are done.
//!
//! A fork and join for each phase would cost more than a step of a small recurrent network. Here threads come together
//! once. Each has tasks of its own, the same in all phases, so that what they read stays in its cache, and whole lanes
//! where there are enough of them: then it waits for nobody. Otherwise it looks at a counter until the others are done,
//! and begins their tasks only when they are late.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::pool::Pool;

/// How often a thread looks before it begins tasks of others: about a microsecond.
const PATIENCE: usize = 50;
/// How often it looks before it lets others run on its processor.
const SPINS: usize = 5_000;

/// A counter that shares its cache line with no other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counter(AtomicUsize);

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Lanes, which do not wait for each other.
    pub(crate) lanes: usize,
    /// Phases of each lane.
    pub(crate) phases: usize,
    /// Tasks of each phase.
    pub(crate) tasks: usize,
}

struct Phases<'a> {
    extent: Extent,
    /// Called with the lane, the phase, and the task's number in it.
    task: &'a (dyn Fn(usize, usize, usize) + Sync),
    /// For each task of each lane, in how many phases it was begun.
    begun: Vec<Counter>,
    /// For each lane, how many tasks are done, those of all phases together.
    done: Vec<Counter>,
    /// Whether a task has panicked: then nobody waits any more.
    failed: AtomicBool,
}

/// Runs `task(lane, phase, i)` for all lanes, phases and tasks, each exactly once, those of a phase when all of the phase
/// before in the same lane are done. A panic of a task is raised here.
pub(crate) fn phases(pool: &Pool, extent: Extent, task: &(dyn Fn(usize, usize, usize) + Sync)) {
    let Extent { lanes, phases, tasks } = extent;
    let members = pool.threads().min(lanes * tasks);
    if members <= 1 {
        for (phase, i) in (0..phases).flat_map(|phase| (0..tasks).map(move |i| (phase, i))) {
            (0..lanes).for_each(|lane| task(lane, phase, i));
        }
        return;
    }
    let counters = |n: usize| (0..n).map(|_| Counter::default()).collect();
    let (begun, done) = (counters(lanes * tasks), counters(lanes));
    let all = Phases { extent, task, begun, done, failed: AtomicBool::new(false) };
    pool.run(members, &|member| {
        let _guard = Guard(&all.failed);
        let edge = |i: usize| i * lanes * tasks / members;
        let own = edge(member)..edge(member + 1);
        if all.own(own.clone()) {
            all.others(own.end / tasks);
        }
    });
}

/// Tells the others when its thread panics.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

impl Phases<'_> {
    /// A thread's own tasks, lane by lane, in all phases; false when another one has failed.
    fn own(&self, own: Range<usize>) -> bool {
        let Extent { phases, tasks, .. } = self.extent;
        let lanes = own.start / tasks..own.end.div_ceil(tasks);
        let mut counts = vec![0; lanes.len()];
        for phase in 0..phases {
            if !lanes.clone().all(|lane| self.is_ready(lane, phase)) {
                return false;
            }
            // The same task of all lanes in turn: they read the same weights.
            for i in 0..tasks {
                for lane in lanes.clone().filter(|lane| own.contains(&(lane * tasks + i))) {
                    counts[lane - lanes.start] += self.begin(lane, phase, i);
                }
            }
            lanes.clone().zip(&mut counts).for_each(|(lane, count)| self.end(lane, std::mem::take(count)));
        }
        true
    }

    /// What others are late with, beginning with lane `first`.
    fn others(&self, first: usize) {
        let Extent { lanes, phases, tasks } = self.extent;
        for lane in (first..lanes).chain(0..first.min(lanes)) {
            for phase in self.done[lane].0.load(Ordering::Acquire) / tasks..phases {
                (0..tasks).rev().for_each(|i| self.end(lane, self.begin(lane, phase, i)));
                if !self.is_done(lane, phase + 1, usize::MAX) {
                    return;
                }
            }
        }
    }

    /// Runs a task unless somebody has begun it; how many it has run.
    fn begin(&self, lane: usize, phase: usize, i: usize) -> usize {
        let begun = &self.begun[lane * self.extent.tasks + i].0;
        let mine = begun.load(Ordering::Relaxed) == phase
            && begun.compare_exchange(phase, phase + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            (self.task)(lane, phase, i);
        }
        mine.into()
    }

    /// Tells that so many tasks are done: what they have written is there for whoever sees the sum.
    fn end(&self, lane: usize, count: usize) {
        if count > 0 {
            self.done[lane].0.fetch_add(count, Ordering::AcqRel);
        }
    }

    /// Waits until a phase may begin, and does what others are late with; false when one has failed.
    fn is_ready(&self, lane: usize, phase: usize) -> bool {
        self.is_done(lane, phase, PATIENCE) || {
            (0..self.extent.tasks).for_each(|i| self.end(lane, self.begin(lane, phase - 1, i)));
            self.is_done(lane, phase, usize::MAX)
        }
    }

    /// Waits until so many phases of a lane are done, looking so often; whether they are.
    fn is_done(&self, lane: usize, phases: usize, looks: usize) -> bool {
        let enough = phases * self.extent.tasks;
        for look in 0..looks {
            if self.done[lane].0.load(Ordering::Acquire) >= enough {
                return true;
            }
            if look >= SPINS {
                if self.failed.load(Ordering::Relaxed) {
                    return false;
                }
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each task adds up what all tasks of the phase before have left, so one that begins too early gives another sum.
    #[test]
    fn a_phase_sees_all_of_the_phase_before() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for (lanes, phases, tasks) in
                [(1, 0, 3), (1, 1, 1), (2, 3, 0), (1, 200, 1), (1, 200, 2), (2, 500, 7), (3, 200, 1), (5, 50, 64)]
            {
                let values: Vec<[Vec<AtomicUsize>; 2]> = (0..lanes)
                    .map(|lane| [0, 1].map(|_| (0..tasks).map(|i| AtomicUsize::new(lane + i)).collect()))
                    .collect();
                let runs = AtomicUsize::new(0);
                super::phases(&pool, Extent { lanes, phases, tasks }, &|lane, phase, i| {
                    let sum: usize = values[lane][phase % 2].iter().map(|v| v.load(Ordering::Relaxed)).sum();
                    values[lane][(phase + 1) % 2][i].store((sum + phase * i) % 1009, Ordering::Relaxed);
                    runs.fetch_add(1, Ordering::Relaxed);
                });
                for lane in 0..lanes {
                    let mut expected: Vec<usize> = (lane..lane + tasks).collect();
                    for phase in 0..phases {
                        let sum: usize = expected.iter().sum();
                        expected = (0..tasks).map(|i| (sum + phase * i) % 1009).collect();
                    }
                    let found: Vec<usize> =
                        values[lane][phases % 2].iter().map(|v| v.load(Ordering::Relaxed)).collect();
                    assert_eq!(found, expected, "{threads} threads, {phases} phases of {tasks}");
                }
                assert_eq!(runs.into_inner(), lanes * phases * tasks);
            }
        }
    }

    #[test]
    fn threads_that_do_not_come_are_not_waited_for() {
        let pool = Pool::new(2);
        let runs = AtomicUsize::new(0);
        // The workers are taken by the outer call, so that one thread does all.
        pool.run(2, &|_| {
            phases(&pool, Extent { lanes: 3, phases: 20, tasks: 5 }, &|_, _, _| {
                runs.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(runs.into_inner(), 600);
    }

    #[test]
    fn a_panic_ends_all_threads() {
        let pool = Pool::new(3);
        for fails in [0, 4, 9] {
            let run = std::panic::AssertUnwindSafe(|| {
                let extent = Extent { lanes: 2, phases: 10, tasks: 5 };
                phases(&pool, extent, &|lane, phase, i| assert!(phase != fails || i + lane != 3, "planted"));
            });
            assert!(std::panic::catch_unwind(run).is_err());
        }
    }
}
