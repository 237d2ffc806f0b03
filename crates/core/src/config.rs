//! The documented environment variables, read once and passed down.

use std::sync::{Arc, OnceLock, RwLock};

use limpid_kernels::{Cpu, Isa};

/// What the environment asks for.
///
/// | variable | meaning |
/// |---|---|
/// | `LIMPID_ISA` | the best instruction set to use: `portable`, `avx2`, `avx512`, `amx` |
/// | `LIMPID_THREADS` | number of threads; default: the processors that this process may use |
/// | `LIMPID_SHOW` | what to print to standard error: any of `record`, `rewrite`, `plan`, `steps`, `replan`, by commas |
/// | `LIMPID_INLINE` | compounds whose bodies run instead of their kernels: `softmax,conv`, or `all` |
#[derive(Debug, Default, Clone)]
pub struct Config {
    /// `LIMPID_ISA`
    pub isa: Option<Isa>,
    /// `LIMPID_THREADS`
    pub threads: Option<usize>,
    /// `LIMPID_SHOW`
    pub show: Vec<String>,
    /// `LIMPID_INLINE`
    pub inline: Vec<String>,
    /// Variables that were set to something that is not understood, as messages.
    pub complaints: Vec<String>,
}

impl Config {
    fn read() -> Config {
        let list = |name: &str| -> Vec<String> {
            let text = std::env::var(name).unwrap_or_default();
            text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
        };
        let mut config = Config { show: list("LIMPID_SHOW"), inline: list("LIMPID_INLINE"), ..Config::default() };
        if let Ok(text) = std::env::var("LIMPID_ISA") {
            match text.parse() {
                Ok(isa) => config.isa = Some(isa),
                Err(e) => config.complaints.push(format!("LIMPID_ISA: {e}")),
            }
        }
        if let Ok(text) = std::env::var("LIMPID_THREADS") {
            match text.parse() {
                Ok(n) if n > 0 => config.threads = Some(n),
                _ => config.complaints.push(format!("LIMPID_THREADS: {text:?} is no number of threads")),
            }
        }
        const STAGES: [&str; 5] = ["record", "rewrite", "plan", "steps", "replan"];
        for stage in config.show.iter().filter(|s| !STAGES.contains(&s.as_str())) {
            config.complaints.push(format!("LIMPID_SHOW: unknown stage {stage:?}: use {}", STAGES.join(", ")));
        }
        config
    }
}

/// The configuration of this process.
pub fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(Config::read)
}

fn slot() -> &'static RwLock<Arc<Cpu>> {
    static CPU: OnceLock<RwLock<Arc<Cpu>>> = OnceLock::new();
    CPU.get_or_init(|| {
        let threads = config().threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
        RwLock::new(Arc::new(Cpu::new(config().isa, threads)))
    })
}

/// The processor that plans run on.
pub fn cpu() -> Arc<Cpu> {
    slot().read().unwrap_or_else(|e| e.into_inner()).clone()
}

/// Uses `threads` threads from now on. No result depends on it.
pub fn set_threads(threads: usize) {
    let isa = cpu().isa;
    *slot().write().unwrap_or_else(|e| e.into_inner()) = Arc::new(Cpu::new(Some(isa), threads.max(1)));
}

/// Uses the kernels of `isa` (or the best below it that this machine has) from now on.
pub fn set_isa(isa: Isa) {
    let threads = cpu().pool.threads();
    *slot().write().unwrap_or_else(|e| e.into_inner()) = Arc::new(Cpu::new(Some(isa), threads));
}
