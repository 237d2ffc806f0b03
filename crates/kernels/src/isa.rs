//! Which instructions this machine has, and running one body compiled for each of them.

use std::sync::OnceLock;

/// An instruction set that kernels are compiled for; a later one includes the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Whatever the compiler assumes: no FMA on x86-64.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// AVX-512 and AMX tiles (bf16).
    Amx,
}

impl Isa {
    /// The best instruction set of this machine; asked for once, as a kernel of a few elements takes less time than that.
    #[inline]
    pub fn detect() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(Isa::ask)
    }

    fn ask() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match (avx2, avx512) {
                (true, true) => return Isa::Avx512,
                (true, false) => return Isa::Avx2,
                _ => {}
            }
        }
        Isa::Portable
    }

    /// The instruction sets that this machine has, least first: what a test runs through.
    pub fn available() -> Vec<Isa> {
        [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Amx].into_iter().filter(|&isa| isa <= Isa::detect()).collect()
    }

    /// The name that `LIMPID_ISA` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Amx => "amx",
        }
    }
}

impl std::str::FromStr for Isa {
    type Err = String;

    fn from_str(s: &str) -> Result<Isa, String> {
        [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Amx]
            .into_iter()
            .find(|isa| isa.name() == s)
            .ok_or_else(|| format!("unknown instruction set {s:?}: use portable, avx2, avx512 or amx"))
    }
}

/// Multiply-add as the instruction set has it: fused where there is an instruction for it, else in
/// two roundings (a fused one in software would be a hundred times slower).
///
/// A type, not a value, so that one generic body is compiled for each instruction set.
pub trait Arch {
    /// Whether `a * b + c` is one instruction with one rounding.
    const FMA: bool;

    /// a·b + c
    #[inline(always)]
    fn fma32(a: f32, b: f32, c: f32) -> f32 {
        if Self::FMA { a.mul_add(b, c) } else { a * b + c }
    }

    /// a·b + c
    #[inline(always)]
    fn fma64(a: f64, b: f64, c: f64) -> f64 {
        if Self::FMA { a.mul_add(b, c) } else { a * b + c }
    }
}

/// No fused multiply-add.
#[derive(Debug)]
pub struct Plain;
/// With fused multiply-add (AVX2 and later).
#[derive(Debug)]
pub struct Fma;

impl Arch for Plain {
    const FMA: bool = false;
}
impl Arch for Fma {
    const FMA: bool = true;
}

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Asks for the cache line of `p`, which may be any address.
#[inline(always)]
pub(crate) fn prefetch<T>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) };
    }
    let _ = p;
}

/// A computation that is compiled once for each instruction set, see [`dispatch`].
pub trait Job {
    /// What it returns.
    type Out;
    /// The body: must be `#[inline(always)]`, like everything hot that it calls, so that the compiler
    /// vectorises it with the instructions of the function it is inlined into.
    fn run<A: Arch>(self) -> Self::Out;
}

/// Runs `job` compiled for `isa` (or for the best instruction set below it that this machine has).
#[inline]
pub fn dispatch<J: Job>(isa: Isa, job: J) -> J::Out {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2")]
        fn avx512<J: Job>(job: J) -> J::Out {
            job.run::<Fma>()
        }
        #[target_feature(enable = "avx2,fma,f16c,bmi2")]
        fn avx2<J: Job>(job: J) -> J::Out {
            job.run::<Fma>()
        }
        match isa.min(Isa::detect()) {
            // SAFETY: `Isa::detect` has found these features on this machine.
            Isa::Avx512 | Isa::Amx => return unsafe { avx512(job) },
            // SAFETY: as above.
            Isa::Avx2 => return unsafe { avx2(job) },
            Isa::Portable => {}
        }
    }
    let _ = isa;
    job.run::<Plain>()
}
