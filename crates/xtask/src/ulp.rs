//! The error of the elementary functions of f32, on every one of the 2³² inputs.
//!
//! The true value is taken from f64: the standard library's functions, or Limpid's own for erf and the
//! sigmoid, which the kernels' tests hold against multi-precision arithmetic. Their error, below 2⁻⁵¹, is
//! a few billionths of an f32's ULP.

use std::sync::atomic::{AtomicU32, Ordering};

use limpid_kernels::Isa;
use limpid_kernels::fused::UnaryFn;
use limpid_kernels::math::{unary_f32, unary_f64};

const FUNCTIONS: [(&str, UnaryFn); 10] = [
    ("exp", UnaryFn::Exp),
    ("log", UnaryFn::Log),
    ("tanh", UnaryFn::Tanh),
    ("erf", UnaryFn::Erf),
    ("sigmoid", UnaryFn::Sigmoid),
    ("expm1", UnaryFn::Expm1),
    ("log1p", UnaryFn::Log1p),
    ("sin", UnaryFn::Sin),
    ("cos", UnaryFn::Cos),
    ("atan", UnaryFn::Atan),
];
/// Measured when none is named: those with a promise of 1 ULP.
const PROMISED: usize = 5;
const THREADS: usize = 2;
/// Inputs that are worked on at once.
const BLOCK: usize = 1 << 16;

/// What is known about one function on one instruction set.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    /// Largest distance from the true value, in units of the f32 nearest below its magnitude.
    error: f64,
    /// Where.
    input: f32,
    /// Results that are not the f32 nearest to the true value.
    misrounded: u64,
    /// Largest distance from the nearest f32, in f32s.
    steps: u32,
}

/// Measures the function of this name, or those with a promise, and prints a table.
pub fn run(name: Option<&str>) -> Result<(), String> {
    let chosen: Vec<_> = match name {
        None => FUNCTIONS[..PROMISED].to_vec(),
        Some(name) => FUNCTIONS.into_iter().filter(|f| f.0 == name).collect(),
    };
    if chosen.is_empty() {
        return Err(format!("unknown function {:?}", name.unwrap_or_default()));
    }
    println!("| function | instructions | worst error, ULP | at input | bits | not nearest | steps from nearest |");
    println!("|---|---|---|---|---|---|---|");
    for (name, f) in chosen {
        for (isa, worst) in measure(f) {
            println!(
                "| {name} | {} | {:.4} | {:e} | {:#010x} | {:.3} % | {} |",
                isa.name(),
                worst.error,
                worst.input,
                worst.input.to_bits(),
                100.0 * worst.misrounded as f64 / f64::from(u32::MAX),
                worst.steps
            );
        }
    }
    Ok(())
}

fn measure(f: UnaryFn) -> Vec<(Isa, Worst)> {
    let isas = Isa::available();
    let next = AtomicU32::new(0);
    let blocks = (u64::from(u32::MAX) + 1) / BLOCK as u64;
    let work = || {
        let mut worst = vec![Worst::default(); isas.len()];
        let mut x = vec![0.0f32; BLOCK];
        let mut wide = vec![0.0f64; BLOCK];
        let mut truth = vec![0.0f64; BLOCK];
        let mut y = vec![0.0f32; BLOCK];
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            if u64::from(block) >= blocks {
                return worst;
            }
            for (i, x) in x.iter_mut().enumerate() {
                *x = f32::from_bits(block * BLOCK as u32 + i as u32);
            }
            wide.iter_mut().zip(&x).for_each(|(w, &x)| *w = x.into());
            evaluate(f, &wide, &mut truth);
            for (&isa, worst) in isas.iter().zip(&mut worst) {
                unary_f32(isa, f, &x, &mut y);
                for ((&x, &y), &truth) in x.iter().zip(&y).zip(&truth) {
                    worst.see(x, y, truth);
                }
            }
        }
    };
    let mut total = vec![Worst::default(); isas.len()];
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let part = thread.join().expect("measuring does not panic");
            total.iter_mut().zip(part).for_each(|(total, part)| total.join(part));
        }
    });
    isas.into_iter().zip(total).collect()
}

/// The true values, in f64.
fn evaluate(f: UnaryFn, x: &[f64], y: &mut [f64]) {
    let of: fn(f64) -> f64 = match f {
        UnaryFn::Exp => f64::exp,
        UnaryFn::Expm1 => f64::exp_m1,
        UnaryFn::Log => f64::ln,
        UnaryFn::Log1p => f64::ln_1p,
        UnaryFn::Sin => f64::sin,
        UnaryFn::Cos => f64::cos,
        UnaryFn::Tanh => f64::tanh,
        _ => return unary_f64(Isa::detect(), f, x, y),
    };
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = of(x));
}

impl Worst {
    #[inline]
    fn see(&mut self, x: f32, y: f32, truth: f64) {
        let nearest = truth as f32;
        if y.to_bits() == nearest.to_bits() || (y.is_nan() && nearest.is_nan()) {
            // No more than half a ULP away: only counted while nothing is worse.
            if self.error < 0.5 && !y.is_nan() && y.is_finite() {
                self.keep(x, y, truth);
            }
            return;
        }
        self.misrounded += 1;
        self.steps = self.steps.max(steps(y, nearest));
        self.keep(x, y, truth);
    }

    fn keep(&mut self, x: f32, y: f32, truth: f64) {
        let error = error(y, truth);
        if error > self.error {
            (self.error, self.input) = (error, x);
        }
    }

    fn join(&mut self, other: Worst) {
        self.misrounded += other.misrounded;
        self.steps = self.steps.max(other.steps);
        if other.error > self.error {
            (self.error, self.input) = (other.error, other.input);
        }
    }
}

/// |y − truth| in units of the last place that an f32 as large as the truth has.
fn error(y: f32, truth: f64) -> f64 {
    if y.is_nan() != truth.is_nan() {
        return f64::INFINITY;
    }
    let exponent = ((truth.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let unit = 2f64.powi(exponent.clamp(-126, 127) - 23);
    // What overflows counts as 2^128, the number after the largest.
    let y = if y.is_infinite() { 2f64.powi(128).copysign(y.into()) } else { y.into() };
    let truth = if truth.abs() > 2f64.powi(128) { 2f64.powi(128).copysign(truth) } else { truth };
    (y - truth).abs() / unit
}

/// How many f32s lie from one to the other; zeros of both signs are one step apart.
fn steps(a: f32, b: f32) -> u32 {
    if a.is_nan() || b.is_nan() {
        return u32::MAX;
    }
    let order = |x: f32| {
        let bits = i64::from(x.to_bits() & 0x7fff_ffff);
        if x.is_sign_negative() { -bits - 1 } else { bits }
    };
    order(a).abs_diff(order(b)).try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_in_units_of_the_true_value() {
        assert_eq!(error(1.0, 1.0), 0.0);
        assert_eq!(error(1.0 + f32::EPSILON, 1.0), 1.0);
        assert_eq!(error(0.0, f64::from(f32::from_bits(1))), 1.0);
        assert_eq!(error(f32::INFINITY, f64::from(f32::MAX)), 1.0);
        assert_eq!(error(f32::NAN, 1.0), f64::INFINITY);
        assert_eq!(error(f32::INFINITY, f64::INFINITY), 0.0);
    }

    #[test]
    fn steps_count_floats() {
        assert_eq!(steps(1.0, 1.0), 0);
        assert_eq!(steps(1.0, 1.0 + f32::EPSILON), 1);
        assert_eq!(steps(0.0, -0.0), 1);
        assert_eq!(steps(f32::NAN, 1.0), u32::MAX);
    }

    #[test]
    fn a_wrong_result_is_seen() {
        let mut worst = Worst::default();
        worst.see(2.0, 1.0 + 2.0 * f32::EPSILON, 1.0);
        assert_eq!((worst.error, worst.input, worst.misrounded, worst.steps), (2.0, 2.0, 1, 2));
    }

    #[test]
    fn an_unknown_function_is_refused() {
        assert!(run(Some("gamma")).is_err());
    }
}
