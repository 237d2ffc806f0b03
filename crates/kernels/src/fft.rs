//! The discrete Fourier transform of contiguous lines of complex numbers.
//!
//! Lengths are factored into primes (Cooley and Tukey 1965); a length with a large prime factor becomes a convolution of
//! a power of two (Bluestein 1970). Everything is computed in f64 and rounded once.

use std::f64::consts::PI;
use std::ops::{Add, Mul, Sub};

use crate::Cpu;
use crate::dtype::DType;
use crate::parts::{each, rows_per_task};
use crate::real::Real;
use crate::slice::{Slice, SliceMut};

/// A prime factor beyond this is not summed term by term.
const LARGEST: usize = 61;
/// Elements that one task takes.
const TASK: usize = 8 << 10;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Complex {
    re: f64,
    im: f64,
}

impl Complex {
    /// exp(i·2π·k/n)
    fn root(k: usize, n: usize) -> Complex {
        let (im, re) = (2.0 * PI * (k % n) as f64 / n as f64).sin_cos();
        Complex { re, im }
    }
    fn conj(self) -> Complex {
        Complex { re: self.re, im: -self.im }
    }
}

impl Add for Complex {
    type Output = Complex;
    fn add(self, o: Complex) -> Complex {
        Complex { re: self.re + o.re, im: self.im + o.im }
    }
}

impl Sub for Complex {
    type Output = Complex;
    fn sub(self, o: Complex) -> Complex {
        Complex { re: self.re - o.re, im: self.im - o.im }
    }
}

impl Mul for Complex {
    type Output = Complex;
    fn mul(self, o: Complex) -> Complex {
        Complex { re: self.re * o.re - self.im * o.im, im: self.re * o.im + self.im * o.re }
    }
}

/// How lines of one length are transformed.
enum Plan {
    /// By the prime factors: the roots exp(−2πi·k/n), and the factors.
    Factors { roots: Vec<Complex>, factors: Vec<usize> },
    /// As a convolution: the chirp exp(−πi·k²/n), the transform of its conjugate around 0, and the plan of that length.
    Chirp { chirp: Vec<Complex>, kernel: Vec<Complex>, inner: Box<Plan> },
}

impl Plan {
    fn new(n: usize) -> Plan {
        let factors = factors(n);
        if factors.iter().all(|&p| p <= LARGEST) {
            return Plan::Factors { roots: (0..n).map(|k| Complex::root(k, n).conj()).collect(), factors };
        }
        // k² modulo 2n keeps the angle small.
        let chirp: Vec<Complex> =
            (0..n as u128).map(|k| Complex::root((k * k % (2 * n as u128)) as usize, 2 * n).conj()).collect();
        let size = (2 * n - 1).next_power_of_two();
        let inner = Plan::new(size);
        let mut around = vec![Complex::default(); size];
        for k in 0..n {
            around[k] = chirp[k].conj();
            around[(size - k) % size] = chirp[k].conj();
        }
        let mut kernel = vec![Complex::default(); size];
        inner.forward(&around, &mut kernel);
        Plan::Chirp { chirp, kernel, inner: Box::new(inner) }
    }

    /// out[k] = Σ x[j]·exp(−2πi·jk/n)
    fn forward(&self, x: &[Complex], out: &mut [Complex]) {
        match self {
            Plan::Factors { roots, factors } => split(x, 1, out, factors, roots),
            Plan::Chirp { chirp, kernel, inner } => {
                let size = kernel.len();
                let (mut a, mut b) = (vec![Complex::default(); size], vec![Complex::default(); size]);
                a.iter_mut().zip(x).zip(chirp).for_each(|((a, &x), &c)| *a = x * c);
                inner.forward(&a, &mut b);
                // The inverse transform is the conjugate of the transform of the conjugate.
                a.iter_mut().zip(&b).zip(kernel).for_each(|((a, &b), &k)| *a = (b * k).conj());
                inner.forward(&a, &mut b);
                let scale = Complex { re: 1.0 / size as f64, im: 0.0 };
                out.iter_mut().zip(&b).zip(chirp).for_each(|((out, b), &c)| *out = b.conj() * scale * c);
            }
        }
    }
}

fn factors(mut n: usize) -> Vec<usize> {
    let (mut found, mut p) = (Vec::new(), 2);
    while n > 1 {
        if n.is_multiple_of(p) {
            found.push(p);
            n /= p;
        } else if p * p > n {
            p = n;
        } else {
            p += 1;
        }
    }
    found
}

/// The transform of every `stride`-th element of `x`: p shorter transforms, then p-fold sums of them.
fn split(x: &[Complex], stride: usize, out: &mut [Complex], factors: &[usize], roots: &[Complex]) {
    let Some((&p, rest)) = factors.split_first() else {
        out[0] = x[0];
        return;
    };
    let (n, m) = (out.len(), out.len() / p);
    for r in 0..p {
        split(&x[r * stride..], stride * p, &mut out[r * m..][..m], rest, roots);
    }
    let step = roots.len() / n;
    if p == 2 {
        for k in 0..m {
            let (a, b) = (out[k], out[k + m] * roots[k * step]);
            (out[k], out[k + m]) = (a + b, a - b);
        }
        return;
    }
    let mut terms = [Complex::default(); LARGEST];
    for k in 0..m {
        for r in 0..p {
            terms[r] = out[r * m + k] * roots[r * k * step % roots.len()];
        }
        for q in 0..p {
            let spoke = roots.len() / p;
            let sum = |s: Complex, r: usize| s + terms[r] * roots[r * q % p * spoke];
            out[q * m + k] = (1..p).fold(terms[0], sum);
        }
    }
}

/// `out[k] = Σ x[j]·exp(∓2πi·jk/n)` along lines of `n` complex numbers (pairs of re and im), f32 or f64: minus, or plus
/// where `inverse`; without a factor.
///
/// # Panics
/// When types or lengths do not fit.
pub fn fft(cpu: &Cpu, n: usize, inverse: bool, x: Slice, mut out: SliceMut) {
    assert!(x.dtype() == out.dtype() && x.len() == out.len() && (n == 0 || x.len().is_multiple_of(2 * n)));
    if x.is_empty() {
        return;
    }
    match x.dtype() {
        DType::F64 => lines::<f64>(cpu, n, inverse, x.get(), out.get()),
        _ => lines::<f32>(cpu, n, inverse, x.get(), out.get()),
    }
}

fn lines<T: Real>(cpu: &Cpu, n: usize, inverse: bool, x: &[T], out: &mut [T]) {
    let plan = Plan::new(n);
    let size = rows_per_task(2 * n, TASK) * 2 * n;
    // The inverse transform is the conjugate of the transform of the conjugate.
    let sign = if inverse { -1.0 } else { 1.0 };
    each(&cpu.pool, out.len().div_ceil(size), (out, size), |i, out| {
        let (mut line, mut done) = (vec![Complex::default(); n], vec![Complex::default(); n]);
        for (x, out) in x[i * size..][..out.len()].chunks_exact(2 * n).zip(out.chunks_exact_mut(2 * n)) {
            for (z, x) in line.iter_mut().zip(x.chunks_exact(2)) {
                *z = Complex { re: x[0].as_f64(), im: sign * x[1].as_f64() };
            }
            plan.forward(&line, &mut done);
            for (z, out) in done.iter().zip(out.chunks_exact_mut(2)) {
                (out[0], out[1]) = (T::from_f64(z.re), T::from_f64(sign * z.im));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition.
    fn plain(n: usize, inverse: bool, x: &[f64]) -> Vec<f64> {
        let sign = if inverse { 1.0 } else { -1.0 };
        let mut out = Vec::new();
        for line in x.chunks(2 * n) {
            for k in 0..n {
                let (mut re, mut im) = (0.0, 0.0);
                for j in 0..n {
                    let (s, c) = (sign * 2.0 * PI * (j * k % n) as f64 / n as f64).sin_cos();
                    re += line[2 * j] * c - line[2 * j + 1] * s;
                    im += line[2 * j] * s + line[2 * j + 1] * c;
                }
                out.extend([re, im]);
            }
        }
        out
    }

    #[test]
    fn every_kind_of_length_follows_the_definition() {
        for n in [1, 2, 3, 4, 6, 8, 15, 61, 64, 67, 100, 134, 243, 251] {
            let x: Vec<f64> = (0..3 * 2 * n).map(|i| ((i * 7919 % 1009) as f64 - 504.0) / 504.0).collect();
            for inverse in [false, true] {
                let wanted = plain(n, inverse, &x);
                let mut out = vec![0.0f64; x.len()];
                fft(&Cpu::new(None, 2), n, inverse, Slice::of(&x[..]), SliceMut::of(&mut out[..]));
                assert!(out.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-11), "n {n}, inverse {inverse}");
                let short: Vec<f32> = x.iter().map(|&v| v as f32).collect();
                let mut out = vec![0.0f32; x.len()];
                fft(&Cpu::new(None, 1), n, inverse, Slice::of(&short[..]), SliceMut::of(&mut out[..]));
                assert!(out.iter().zip(&wanted).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-4), "f32, n {n}");
            }
        }
    }

    #[test]
    fn long_primes_do_not_crawl() {
        let n = 100_003;
        let mut x = vec![0.0f64; 2 * n];
        x[2] = 1.0;
        let mut out = vec![0.0f64; 2 * n];
        fft(&Cpu::new(None, 1), n, false, Slice::of(&x[..]), SliceMut::of(&mut out[..]));
        for k in [0, 1, 777, n - 1] {
            let root = Complex::root(k, n).conj();
            assert!((out[2 * k] - root.re).abs() < 1e-9 && (out[2 * k + 1] - root.im).abs() < 1e-9, "{k}");
        }
    }
}
