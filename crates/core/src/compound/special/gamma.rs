//! The gamma function's logarithm and its derivatives, of f64.

use std::f64::consts::PI;

use super::bodies::{horner, sin_cos_pi};
use super::tables::{BERNOULLI, LGAMMA};
use crate::tensor::Tensor;

/// Below 0 the functions are mirrored at ½: 1 − x there, x elsewhere.
fn mirrored(x: &Tensor) -> Tensor {
    (1f64 - x).where_(&x.lt(0.0), x)
}

/// ln Γ(x) of x ≥ 3, by Stirling's series at 8 or above; Abramowitz & Stegun 6.1.41.
fn stirling(x: &Tensor) -> Tensor {
    let low = x.lt(8.0);
    let product = (1..5).fold(x.clone(), |p, i| p * (x + f64::from(i)));
    let z = (x + 5.0).where_(&low, x);
    let terms: Vec<f64> = (1..=10u32).zip(BERNOULLI).map(|(k, b)| b / f64::from(2 * k * (2 * k - 1))).collect();
    let inverse = 1.0 / &z;
    let series = &inverse * horner(&(&inverse * &inverse), &terms);
    let whole = (&z - 0.5) * (z.log() - 1.0) + (0.5 * (2.0 * PI).ln() - 0.5) + series;
    (&whole - product.log()).where_(&low, &whole)
}

pub(super) fn lgamma(x: &Tensor) -> Tensor {
    let z = mirrored(x);
    // Γ(z) = Γ(z + 1)/z below 1; there and up to 3 a polynomial that has the zeros at 1 and 2.
    let (below, near) = (z.lt(1.0), z.lt(3.0));
    let shifted = (&z + 1.0).where_(&below, &z).minimum(3.0);
    let polynomial = (&shifted - 1.0) * (&shifted - 2.0) * horner(&(&shifted - 2.0), &LGAMMA);
    let small = (&polynomial - z.log()).where_(&below, &polynomial);
    let positive = small.where_(&near, stirling(&z.maximum(3.0)));
    // ln Γ(x) = ln π − ln |sin πx| − ln Γ(1 − x)
    let reflected = PI.ln() - sin_cos_pi(x).0.abs().log() - &positive;
    let found = reflected.where_(&x.lt(0.0), positive);
    found.where_(&x.eq(f64::NEG_INFINITY).logical_not(), f64::INFINITY)
}

pub(super) fn digamma(x: &Tensor) -> Tensor {
    let z = mirrored(x);
    // ψ(z) = ψ(z + 10) − Σ 1/(z + i), and there the asymptotic series; Abramowitz & Stegun 6.3.18.
    let steps = (1..10).fold(1.0 / &z, |sum, i| sum + 1.0 / (&z + f64::from(i)));
    let u = &z + 10.0;
    let inverse = 1.0 / &u;
    let square = &inverse * &inverse;
    let terms: Vec<f64> = (1..=10u32).zip(BERNOULLI).map(|(k, b)| b / f64::from(2 * k)).collect();
    let positive = u.log() - &inverse * 0.5 - &square * horner(&square, &terms) - steps;
    // ψ(x) = ψ(1 − x) − π cot πx, which has no value at −1, −2, …
    let (sin, cos) = sin_cos_pi(x);
    let reflected = &positive - cos / &sin * PI;
    let reflected = reflected.where_(&sin.eq(0.0).logical_not(), f64::NAN);
    reflected.where_(&x.lt(0.0), positive)
}

/// ψ⁽ⁿ⁾(x) = (−1)ⁿ⁺¹ n! ζ(n + 1, x), n ≥ 1; the zeta function of Hurwitz by Euler and Maclaurin's sum.
pub(super) fn polygamma(n: u32, x: &Tensor) -> Tensor {
    let z = mirrored(x);
    let s = f64::from(n) + 1.0;
    let power = |base: &Tensor, exponent: f64| base.pow(base.constant_like(exponent));
    let sign = if n % 2 == 1 { 1.0 } else { -1.0 };
    if n > 170 {
        // n! is more than a number can say: ±∞, as in torch, without a sum of n terms.
        return power(x, -s) * (sign * f64::INFINITY);
    }
    let count = 12 + n;
    let direct = (1..count).fold(power(&z, -s), |sum, i| sum + power(&(&z + f64::from(i)), -s));
    let u = &z + f64::from(count);
    let mut zeta = direct + power(&u, 1.0 - s) / (s - 1.0) + power(&u, -s) * 0.5;
    // B₂ₖ/(2k)!·s(s + 1)…(s + 2k − 2)·u^(1 − s − 2k)
    let (mut factor, mut term) = (s / 2.0, power(&u, -s - 1.0));
    for (k, b) in (1..=10u32).zip(BERNOULLI) {
        zeta = zeta + &term * (b * factor);
        let k = f64::from(k);
        factor *= (s + 2.0 * k - 1.0) * (s + 2.0 * k) / ((2.0 * k + 1.0) * (2.0 * k + 2.0));
        term = term / (&u * &u);
    }
    let factorial: f64 = (1..=n).map(f64::from).product();
    let positive = zeta * (sign * factorial);
    // ψ⁽ⁿ⁾(x) = (−1)ⁿ ψ⁽ⁿ⁾(1 − x) − dⁿ/dxⁿ π cot πx
    let (sin, cos) = sin_cos_pi(x);
    let slope = horner(&(cos / sin), &cotangent_derivative(n)) * PI.powi(n as i32 + 1);
    (&positive * -sign - slope).where_(&x.lt(0.0), &positive)
}

/// The n-th derivative of cot as a polynomial of cot, whose first one is −(1 + cot²).
fn cotangent_derivative(n: u32) -> Vec<f64> {
    let mut polynomial = vec![0.0, 1.0];
    for _ in 0..n {
        let mut next = vec![0.0; polynomial.len() + 1];
        for (i, c) in polynomial.iter().enumerate().skip(1) {
            next[i - 1] -= c * i as f64;
            next[i + 1] -= c * i as f64;
        }
        polynomial = next;
    }
    polynomial
}
