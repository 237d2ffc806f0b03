//! Plans by structure, shared between threads, bounded.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::exec::program::Program;
use crate::node::lock;
use crate::region::Meta;

/// A compiled structure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The whole structure: a hash hit is confirmed by it.
    key: Vec<u64>,
    pub(crate) program: Program,
    /// (output, bound value): results that are written over a cell's old value.
    pub(crate) in_place: Vec<(usize, u32)>,
    sketch: Sketch,
    last_used: AtomicU64,
}

/// Operations, shapes and types of a structure in order, for people: why a plan does not fit.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Sketch(pub(crate) Vec<(String, Meta)>);

impl Sketch {
    /// Where this one, of the same operations, has another shape or type than `old`.
    fn difference(&self, old: &Sketch) -> Option<String> {
        let pairs = || self.0.iter().zip(&old.0);
        if self.0.len() != old.0.len() || pairs().any(|((new, _), (old, _))| new != old) {
            return None;
        }
        pairs().find_map(|((name, new), (_, old))| {
            if new.1 != old.1 {
                return Some(format!("{name} was {}, is {}", old.1, new.1));
            }
            if new.0.rank() != old.0.rank() {
                return Some(format!("{name} was {}, is {}", old.0, new.0));
            }
            let axis = (0..new.0.rank()).find(|&axis| new.0[axis] != old.0[axis])?;
            Some(format!("{name} axis {axis} was {}, is {}", old.0[axis], new.0[axis]))
        })
    }
}

impl Plan {
    pub(crate) fn new(key: Vec<u64>, program: Program, in_place: Vec<(usize, u32)>, sketch: Sketch) -> Plan {
        Plan { key, program, in_place, sketch, last_used: AtomicU64::new(0) }
    }

    /// The structure that this is the plan of.
    pub(crate) fn structure(&self) -> &[u64] {
        &self.key
    }
}

/// At most this many plans are kept; then the half that was not used for longest goes.
const LIMIT: usize = 512;

#[derive(Default)]
struct Prehashed(u64);

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only whole hashes are hashed")
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Table = HashMap<u64, Vec<Arc<Plan>>, BuildHasherDefault<Prehashed>>;

static TABLE: Mutex<Option<Table>> = Mutex::new(None);
static CLOCK: AtomicU64 = AtomicU64::new(1);
/// Every key hashes to the same: a test that hits are confirmed.
static COLLIDE: AtomicBool = AtomicBool::new(false);

/// Makes all structures hash alike, so that tests see that a hit is confirmed by the structure.
#[doc(hidden)]
pub fn force_collisions(on: bool) {
    COLLIDE.store(on, Relaxed);
}

fn hash(key: &[u64]) -> u64 {
    if COLLIDE.load(Relaxed) {
        return 7;
    }
    let mut h = 0x9E37_79B9_7F4A_7C15u64;
    for &word in key {
        let wide = u128::from(h ^ word) * 0x9FB2_1C65_1E98_DF25;
        h = (wide >> 64) as u64 ^ wide as u64;
    }
    h
}

/// The plan of a structure.
pub(crate) fn find(key: &[u64]) -> Option<Arc<Plan>> {
    let hash = hash(key);
    let table = lock(&TABLE);
    let plan = table.as_ref()?.get(&hash)?.iter().find(|p| p.key == key)?.clone();
    plan.last_used.store(CLOCK.fetch_add(1, Relaxed), Relaxed);
    Some(plan)
}

/// Keeps a plan; of two threads that made the same one, the first stays.
pub(crate) fn keep(plan: Plan) -> Arc<Plan> {
    let hash = hash(&plan.key);
    let mut guard = lock(&TABLE);
    let table = guard.get_or_insert_with(Table::default);
    plan.last_used.store(CLOCK.fetch_add(1, Relaxed), Relaxed);
    if let Some(same) = table.get(&hash).and_then(|list| list.iter().find(|p| p.key == plan.key)) {
        return same.clone();
    }
    if table.values().map(Vec::len).sum::<usize>() >= LIMIT {
        shrink(table);
    }
    let plan = Arc::new(plan);
    table.entry(hash).or_default().push(plan.clone());
    plan
}

fn shrink(table: &mut Table) {
    let mut ages: Vec<u64> = table.values().flatten().map(|p| p.last_used.load(Relaxed)).collect();
    ages.sort_unstable();
    let middle = ages[ages.len() / 2];
    table.retain(|_, list| {
        list.retain(|p| p.last_used.load(Relaxed) >= middle);
        !list.is_empty()
    });
}

/// Why there is no plan for `sketch`, by the plan of the same operations that was used last.
pub(crate) fn why(sketch: &Sketch) -> String {
    let table = lock(&TABLE);
    let mut plans: Vec<&Arc<Plan>> = table.iter().flat_map(HashMap::values).flatten().collect();
    plans.sort_unstable_by_key(|plan| std::cmp::Reverse(plan.last_used.load(Relaxed)));
    if let Some(difference) = plans.iter().find_map(|plan| sketch.difference(&plan.sketch)) {
        return difference;
    }
    let same = plans.iter().any(|plan| plan.sketch == *sketch);
    let what = if same { "other results are wanted of" } else { "no plan has been made for" };
    format!("{what} these {} operations", sketch.0.len())
}

/// Number of plans that are kept.
pub fn cached_plans() -> usize {
    lock(&TABLE).as_ref().map_or(0, |table| table.values().map(Vec::len).sum())
}
