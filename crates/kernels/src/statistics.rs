//! What a tensor's values are like, in two passes.

use std::array::from_fn;
use std::borrow::Cow;

use crate::Cpu;
use crate::dtype::DType;
use crate::floats::Floats;
use crate::isa::{Arch, Job, dispatch};
use crate::parts::each;
use crate::real::{Real, join};
use crate::slice::Slice;

/// Number of results before the histogram: finite elements, others, zeros, mean, standard deviation, minimum, maximum.
pub const FIELDS: usize = 7;

/// Elements that one task takes.
const TASK: usize = 16 << 10;
/// Elements that are looked at several times while they are in the first cache.
const BLOCK: usize = 4096;
/// Elements side by side.
const LANES: usize = 16;

/// Counts, mean, deviation (over n − 1), minimum and maximum of the finite elements of `src`, then a histogram of
/// `out.len() - FIELDS` equal bins from minimum to maximum, the last one closed; where both are the same, all are in the
/// first. What is undefined (the mean of nothing, the deviation of one) is NaN.
///
/// # Panics
/// When `src` is not of floats or `out` has no room for the fields.
pub fn statistics(cpu: &Cpu, src: Slice, out: &mut [f64]) {
    assert!(out.len() >= FIELDS);
    if src.dtype() == DType::F64 {
        of::<f64>(cpu, src.get(), out)
    } else {
        of::<f32>(cpu, Floats::new(cpu, src).get(), out)
    }
}

fn of<T: Real>(cpu: &Cpu, x: &[T], out: &mut [f64]) {
    let tasks = x.len().div_ceil(TASK);
    let part = |i: usize| &x[i * TASK..x.len().min((i + 1) * TASK)];
    let mut firsts = vec![First::default(); tasks];
    each(&cpu.pool, tasks, (&mut firsts, 1), |i, first| {
        first[0] = dispatch(cpu.isa, Extent(part(i)));
        // A sum with infinities or NaN is not finite.
        if !first[0].sum.is_finite() {
            first[0] = dispatch(cpu.isa, Extent(&finite(part(i))));
        }
    });
    let first = firsts.iter().copied().fold(First::default(), First::join);
    let n = first.finite as f64;
    let (fields, bins) = out.split_at_mut(FIELDS);
    let mean = if first.finite == 0 { f64::NAN } else { first.sum / n };
    let (min, max) = if first.finite == 0 { (f64::NAN, f64::NAN) } else { (first.min, first.max) };
    let bin = Bin::new(T::from_f64(min), T::from_f64(max), bins.len());
    // The squares of each task, then its counts.
    let stride = 1 + bins.len();
    let mut seconds = vec![0.0; tasks * stride];
    each(&cpu.pool, tasks, (&mut seconds, stride), |i, out| {
        let whole = firsts[i].finite == part(i).len() as u64;
        let x = if whole { Cow::Borrowed(part(i)) } else { Cow::Owned(finite(part(i))) };
        dispatch(cpu.isa, Spread { x: &x, mean, bin, out });
    });
    bins.fill(0.0);
    let mut squares = 0.0;
    for second in seconds.chunks_exact(stride) {
        squares += second[0];
        bins.iter_mut().zip(&second[1..]).for_each(|(bin, count)| *bin += count);
    }
    let deviation = if first.finite < 2 { f64::NAN } else { (squares / (n - 1.0)).sqrt() };
    fields.copy_from_slice(&[n, x.len() as f64 - n, first.zeros as f64, mean, deviation, min, max]);
}

fn finite<T: Real>(x: &[T]) -> Vec<T> {
    x.iter().copied().filter(|v| v.as_f64().is_finite()).collect()
}

/// Of the first pass.
#[derive(Clone, Copy)]
struct First {
    finite: u64,
    zeros: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Default for First {
    fn default() -> First {
        First { finite: 0, zeros: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl First {
    fn join(self, other: First) -> First {
        First {
            finite: self.finite + other.finite,
            zeros: self.zeros + other.zeros,
            sum: self.sum + other.sum,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

struct Extent<'a, T>(&'a [T]);

impl<T: Real> Job for Extent<'_, T> {
    type Out = First;

    #[inline(always)]
    fn run<A: Arch>(self) -> First {
        let mut first = First::default();
        for block in self.0.chunks(BLOCK) {
            first = first.join(extent(block));
        }
        first
    }
}

#[inline(always)]
fn extent<T: Real>(x: &[T]) -> First {
    let smaller = |a: T, b: T| if b < a { b } else { a };
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut sum = [0.0f64; LANES];
    let (mut min, mut max) = ([T::from_f64(f64::INFINITY); LANES], [T::NEG_INFINITY; LANES]);
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        sum = from_fn(|l| sum[l] + chunk[l].as_f64());
        min = from_fn(|l| smaller(min[l], chunk[l]));
        max = from_fn(|l| larger(max[l], chunk[l]));
    }
    for (l, &v) in rest.iter().enumerate() {
        sum[l] += v.as_f64();
        (min[l], max[l]) = (smaller(min[l], v), larger(max[l], v));
    }
    First {
        finite: x.len() as u64,
        zeros: x.iter().map(|&v| u32::from(v == T::default())).sum::<u32>().into(),
        sum: join(sum, |a, b| a + b),
        min: join(min, smaller).as_f64(),
        max: join(max, larger).as_f64(),
    }
}

/// Which bin an element is in: (v − min) · scale, rounded down; computed in the type of the elements, as torch's
/// `histc` does.
#[derive(Clone, Copy)]
struct Bin<T> {
    min: T,
    scale: T,
    last: T,
}

impl<T: Real> Bin<T> {
    fn new(min: T, max: T, bins: usize) -> Bin<T> {
        let width = (max - min) / T::from_f64(bins.max(1) as f64);
        // f32 can not tell more bins than this apart.
        let last = T::from_f64(bins.saturating_sub(1).min(1 << 24) as f64);
        let scale = T::ONE / width;
        // All are in the first bin when all are the same, or further apart than the type can tell.
        let regular = scale.as_f64() > 0.0 && scale.as_f64().is_finite();
        if regular { Bin { min, scale, last } } else { Bin { min: T::default(), scale: T::default(), last } }
    }

    /// Of a finite element.
    #[inline(always)]
    fn of(self, v: T) -> i32 {
        let at = (v - self.min) * self.scale;
        let at = if at < self.last { at } else { self.last };
        let at = if at > T::default() { at } else { T::default() };
        // SAFETY: from 0 to `last`, which is below 2³¹, and no NaN: the first comparison replaces it.
        unsafe { at.truncate() }
    }
}

/// The second pass: Σ (x − mean)², then how many are in each bin.
struct Spread<'a, T> {
    x: &'a [T],
    mean: f64,
    bin: Bin<T>,
    out: &'a mut [f64],
}

impl<T: Real> Job for Spread<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Spread { x, mean, bin, out } = self;
        let (squares, counts) = out.split_first_mut().expect("room for the squares");
        *squares = deviations(x, mean);
        match counts.len() {
            0 => {}
            1..=Counters::BINS => {
                let found = Counters::of(x, bin).counts();
                counts.iter_mut().zip(found).for_each(|(count, n)| *count = n.into());
            }
            _ => x.iter().for_each(|&v| counts[bin.of(v) as usize] += 1.0),
        }
    }
}

/// Σ (x − mean)²
#[inline(always)]
fn deviations<T: Real>(x: &[T], mean: f64) -> f64 {
    let square = |v: T| (v.as_f64() - mean) * (v.as_f64() - mean);
    let mut squares = [0.0f64; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        squares = from_fn(|l| squares[l] + square(chunk[l]));
    }
    squares.iter_mut().zip(rest).for_each(|(sum, &v)| *sum += square(v));
    join(squares, |a, b| a + b)
}

/// Words that are counted side by side: registers enough that one need not wait for another.
const WORDS: usize = 32;
type Words = [u32; WORDS];

/// a + b + c, digit by digit: `c` becomes the sum, the carries are returned.
#[inline(always)]
fn add_three(a: Words, b: Words, c: &mut Words) -> Words {
    let (mut sum, mut carry) = ([0; WORDS], [0; WORDS]);
    for l in 0..WORDS {
        sum[l] = a[l] ^ b[l] ^ c[l];
        carry[l] = a[l] & b[l] | (a[l] ^ b[l]) & c[l];
    }
    *c = sum;
    carry
}

/// Counts of [`Counters::BINS`] bins in each lane, written across: bit b of word l of plane p is the digit 2ᵖ of the
/// number of elements of bin b in lane l. So carry-save adders count all bins at once (Harley and Seal's way to count
/// bits; Warren, Hacker's Delight, 5–1), while a count in memory would wait for the one before it.
struct Counters {
    planes: [Words; Counters::PLANES],
}

impl Counters {
    const BINS: usize = u32::BITS as usize;
    /// Words that are added before a carry goes beyond the lower planes.
    const GROUP: usize = 16;
    const LOWER: usize = Counters::GROUP.ilog2() as usize;
    /// A lane counts up to `TASK / WORDS`.
    const PLANES: usize = (TASK / WORDS).ilog2() as usize + 1;

    #[inline(always)]
    fn of<T: Real>(x: &[T], bin: Bin<T>) -> Counters {
        let mut counters = Counters { planes: [[0; WORDS]; Counters::PLANES] };
        let (groups, rest) = x.as_chunks::<{ WORDS * Counters::GROUP }>();
        let mut words = [[0; WORDS]; Counters::GROUP];
        for group in groups {
            let group: &[T; WORDS * Counters::GROUP] = group;
            for (word, &v) in words.as_flattened_mut().iter_mut().zip(group) {
                *word = 1 << bin.of(v);
            }
            counters.add(words);
        }
        words = [[0; WORDS]; Counters::GROUP];
        for (word, &v) in words.as_flattened_mut().iter_mut().zip(rest) {
            *word = 1 << bin.of(v);
        }
        counters.add(words);
        counters
    }

    #[inline(always)]
    fn add(&mut self, mut words: [Words; Counters::GROUP]) {
        let (lower, upper) = self.planes.split_at_mut(Counters::LOWER);
        let mut n = Counters::GROUP;
        for plane in lower {
            n /= 2;
            // Two of this plane and the plane make one of the next.
            for i in 0..n {
                words[i] = add_three(words[2 * i], words[2 * i + 1], plane);
            }
        }
        let mut carry = words[0];
        for plane in upper {
            carry = add_three(carry, [0; WORDS], plane);
        }
    }

    /// The number of elements of each bin.
    #[inline(always)]
    fn counts(&self) -> [u32; Counters::BINS] {
        let mut counts = [0; Counters::BINS];
        for (p, plane) in self.planes.iter().enumerate() {
            for word in plane {
                for b in 0..Counters::BINS {
                    counts[b] += ((word >> b) & 1) << p;
                }
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    /// The definition, one element at a time.
    fn plain(x: &[f64], bins: usize) -> Vec<f64> {
        let finite: Vec<f64> = x.iter().copied().filter(|v| v.is_finite()).collect();
        let n = finite.len() as f64;
        let mean = finite.iter().sum::<f64>() / n;
        let deviation = (finite.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let deviation = if finite.len() < 2 { f64::NAN } else { deviation };
        let min = finite.iter().copied().fold(f64::NAN, f64::min);
        let max = finite.iter().copied().fold(f64::NAN, f64::max);
        let mut counts = vec![0.0; bins];
        for v in &finite {
            let at = if max > min { (v - min) / (max - min) * bins as f64 } else { 0.0 };
            counts[(at as usize).min(bins - 1)] += 1.0;
        }
        let zeros = finite.iter().filter(|v| **v == 0.0).count() as f64;
        [n, x.len() as f64 - n, zeros, mean, deviation, min, max].into_iter().chain(counts).collect()
    }

    #[test]
    fn they_are_those_of_the_definition_on_every_instruction_set_and_thread() {
        let nan = f64::NAN;
        let ramp: Vec<f64> = (0..40_000).map(|i| f64::from((i * 7919 + 3) % 1021) / 8.0 - 50.0).collect();
        let mut holes = ramp.clone();
        holes.iter_mut().step_by(37).for_each(|v| *v = f64::INFINITY);
        holes.iter_mut().step_by(41).for_each(|v| *v = nan);
        let rows: [&[f64]; 8] =
            [&ramp, &holes, &[], &[2.5], &[3.0, 3.0, 3.0], &[nan, -f64::INFINITY], &[0.0, -0.0, 1.0], &ramp[..77]];
        for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
            for threads in [1, 3] {
                let cpu = Cpu::new(Some(isa), threads);
                for x in rows {
                    let mut out = vec![0.0; FIELDS + 7];
                    statistics(&cpu, Slice::of(x), &mut out);
                    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * b.abs() || a.is_nan() && b.is_nan();
                    let wanted = plain(x, 7);
                    assert!(out.iter().zip(&wanted).all(close), "{out:?} {wanted:?}");
                    let halves: Vec<f32> = x.iter().map(|&v| v as f32).collect();
                    statistics(&cpu, Slice::of(&halves[..]), &mut out);
                    assert!(out.iter().zip(&wanted).all(close), "f32 {out:?} {wanted:?}");
                }
            }
        }
    }
}
