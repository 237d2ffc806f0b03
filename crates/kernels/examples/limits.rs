//! Prints what this machine can do at most: `cargo run --release -p limpid-kernels --example limits [THREADS]`.

use limpid_kernels::limits::Limits;
use limpid_kernels::{Cpu, Isa};

fn main() {
    let threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    for isa in Isa::available() {
        let limits = Limits::measure(&Cpu::new(Some(isa), threads));
        let (flop, cached, memory) = (limits.flop / 1e9, limits.cached / 1e9, limits.memory / 1e9);
        println!("{:9} {flop:7.1} GFLOP/s, {cached:6.1} GB/s in caches, {memory:5.1} GB/s in memory", isa.name());
    }
}
