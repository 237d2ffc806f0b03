//! Plans by structure, shared between threads, bounded.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::exec::program::Program;
use crate::node::lock;

/// A compiled structure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The whole structure: a hash hit is confirmed by it.
    key: Vec<u64>,
    pub(crate) program: Program,
    /// (output, bound value): results that are written over a cell's old value.
    pub(crate) in_place: Vec<(usize, u32)>,
    last_used: AtomicU64,
}

impl Plan {
    pub(crate) fn new(key: Vec<u64>, program: Program, in_place: Vec<(usize, u32)>) -> Plan {
        Plan { key, program, in_place, last_used: AtomicU64::new(0) }
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

/// Number of plans that are kept.
pub fn cached_plans() -> usize {
    lock(&TABLE).as_ref().map_or(0, |table| table.values().map(Vec::len).sum())
}
