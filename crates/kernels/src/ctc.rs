//! Connectionist temporal classification (Graves et al. 2006): forward and backward variables of each sample, in f64.

use crate::Cpu;
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::isa::{Arch, Job, dispatch};
use crate::math::f64::{exp, log};
use crate::parts::each3;
use crate::real::Real;
use crate::slice::{Slice, SliceMut};

/// The sizes of a problem: log-probabilities `[steps, batch, classes]`, labels `[batch, longest]`.
#[derive(Clone, Copy, Debug)]
pub struct Ctc {
    /// Steps of the longest input.
    pub steps: usize,
    /// Number of samples.
    pub batch: usize,
    /// Number of classes, with the blank.
    pub classes: usize,
    /// Labels of the longest target.
    pub longest: usize,
    /// The class that stands for no label.
    pub blank: usize,
}

/// Labels and lengths, all i64, which the caller has checked: labels (those that count) from 0 to below `classes`,
/// input lengths from 0 to `steps`, target lengths from 0 to `longest`.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// `[batch, longest]`
    pub labels: &'a [i64],
    /// `[batch]`
    pub input_lengths: &'a [i64],
    /// `[batch]`
    pub target_lengths: &'a [i64],
}

impl Ctc {
    /// States of the longest target: each label, and a blank before, between and behind.
    pub fn states(&self) -> usize {
        2 * self.longest + 1
    }

    fn fits(&self, log_probs: Slice, targets: &Targets) {
        assert_eq!(log_probs.len(), self.steps * self.batch * self.classes);
        assert_eq!(targets.labels.len(), self.batch * self.longest);
        assert!(targets.input_lengths.len() == self.batch && targets.target_lengths.len() == self.batch);
    }

    /// `nll[n]` = −ln of the probability of sample n's labels (f64 `[batch]`), and ln of the forward variables, f64
    /// `[batch, steps, states]`, −∞ where there is none.
    ///
    /// # Panics
    /// When lengths or types do not fit each other.
    pub fn losses(&self, cpu: &Cpu, log_probs: Slice, targets: Targets, nll: SliceMut, alpha: SliceMut) {
        self.fits(log_probs, &targets);
        match log_probs.dtype() {
            DType::F64 => self.losses_of::<f64>(cpu, log_probs.get(), targets, nll, alpha),
            _ => self.losses_of::<f32>(cpu, Floats::new(cpu, log_probs).get(), targets, nll, alpha),
        }
    }

    fn losses_of<T: Real>(&self, cpu: &Cpu, y: &[T], targets: Targets, mut nll: SliceMut, mut alpha: SliceMut) {
        let size = self.steps * self.states();
        let none: (&mut [u8], usize) = (&mut [], 0);
        each3(&cpu.pool, self.batch, (nll.get::<f64>(), 1), (alpha.get::<f64>(), size), none, |n, nll, alpha, _| {
            let chain = Chain::new(self, &targets, n);
            nll[0] = dispatch(cpu.isa, Forward { chain, y, alpha });
        });
    }

    /// The gradient by the log-probabilities, `[batch, steps, classes]` of their type: `g[n]`·(exp(y) − the probability
    /// that the class is at that step, given the labels), 0 behind a sample's input length. That is the gradient by
    /// what a log-softmax was taken of: it does not change what the log-softmax passes on. Where the loss is infinite
    /// it is NaN, or 0 with `zero_infinity`.
    ///
    /// # Panics
    /// As [`Ctc::losses`].
    pub fn gradients(&self, cpu: &Cpu, log_probs: Slice, targets: Targets, from: Losses, out: SliceMut) {
        self.fits(log_probs, &targets);
        assert_eq!(out.len(), log_probs.len());
        if out.dtype() == DType::F64 {
            let mut out = out;
            return self.gradients_of::<f64>(cpu, log_probs.get(), targets, from, out.get());
        }
        let mut out = FloatsMut::new(out);
        self.gradients_of::<f32>(cpu, Floats::new(cpu, log_probs).get(), targets, from, out.get());
        out.finish(cpu);
    }

    fn gradients_of<T: Real>(&self, cpu: &Cpu, y: &[T], targets: Targets, from: Losses, out: &mut [T]) {
        let (size, states) = (self.steps * self.classes, self.steps * self.states());
        let none: (&mut [u8], usize) = (&mut [], 0);
        let none_too: (&mut [u8], usize) = (&mut [], 0);
        each3(&cpu.pool, self.batch, (out, size), none, none_too, |n, out, _, _| {
            if from.zero_infinity && from.nll[n] == f64::INFINITY {
                return out.fill(T::default());
            }
            let chain = Chain::new(self, &targets, n);
            let alpha = &from.alpha[n * states..][..states];
            dispatch(cpu.isa, Backward { chain, y, alpha, nll: from.nll[n], g: from.g[n], out });
        });
    }
}

/// What a forward pass left for the gradient.
#[derive(Clone, Copy, Debug)]
pub struct Losses<'a> {
    /// `[batch]`
    pub nll: &'a [f64],
    /// `[batch, steps, states]`
    pub alpha: &'a [f64],
    /// The gradient of each loss.
    pub g: &'a [f64],
    /// Whether infinite losses have the gradient 0.
    pub zero_infinity: bool,
}

/// One sample: its states in order, each with a class.
struct Chain {
    sizes: Ctc,
    n: usize,
    steps: usize,
    class: Vec<usize>,
    /// 0 where the state may be entered from two before, else −∞; two more at the end.
    skip: Vec<f64>,
}

impl Chain {
    fn new(sizes: &Ctc, targets: &Targets, n: usize) -> Chain {
        let labels = &targets.labels[n * sizes.longest..][..targets.target_lengths[n] as usize];
        let states = 2 * labels.len() + 1;
        let class: Vec<usize> =
            (0..states).map(|s| if s % 2 == 0 { sizes.blank } else { labels[s / 2] as usize }).collect();
        let may_skip = |s: usize| s % 2 == 1 && s >= 2 && s < states && class[s] != class[s - 2];
        let skip = (0..states + 2).map(|s| if may_skip(s) { 0.0 } else { f64::NEG_INFINITY }).collect();
        Chain { sizes: *sizes, n, steps: targets.input_lengths[n] as usize, class, skip }
    }

    /// The log-probabilities of step `t`.
    #[inline(always)]
    fn row<'y, T>(&self, y: &'y [T], t: usize) -> &'y [T] {
        &y[(t * self.sizes.batch + self.n) * self.sizes.classes..][..self.sizes.classes]
    }
}

/// ln(eᵃ + eᵇ + eᶜ)
#[inline(always)]
fn log_sum<A: Arch>(a: f64, b: f64, c: f64) -> f64 {
    let most = if a > b { a } else { b };
    let most = if most > c { most } else { c };
    let shift = if most == f64::NEG_INFINITY { 0.0 } else { most };
    log::<A>(exp::<A>(a - shift) + exp::<A>(b - shift) + exp::<A>(c - shift)) + shift
}

struct Forward<'a, T> {
    chain: Chain,
    y: &'a [T],
    alpha: &'a mut [f64],
}

impl<T: Real> Job for Forward<'_, T> {
    type Out = f64;

    #[inline(always)]
    fn run<A: Arch>(self) -> f64 {
        let Forward { chain, y, alpha } = self;
        let states = chain.class.len();
        // Two states in front that are never reached; before the first step all is in the first blank.
        let mut before = vec![f64::NEG_INFINITY; states + 2];
        before[2] = 0.0;
        let mut now = vec![0.0; states];
        alpha.fill(f64::NEG_INFINITY);
        for t in 0..chain.steps {
            let (stay, step, leap) = (&before[2..][..states], &before[1..][..states], &before[..states]);
            let skip = &chain.skip[..states];
            for s in 0..states {
                now[s] = log_sum::<A>(stay[s], step[s], leap[s] + skip[s]);
            }
            let row = chain.row(y, t);
            now.iter_mut().zip(&chain.class).for_each(|(now, &c)| *now += row[c].as_f64());
            before[2..].copy_from_slice(&now);
            alpha[t * chain.sizes.states()..][..states].copy_from_slice(&now);
        }
        0.0 - log_sum::<A>(before[states + 1], before[states], f64::NEG_INFINITY)
    }
}

struct Backward<'a, T> {
    chain: Chain,
    y: &'a [T],
    alpha: &'a [f64],
    nll: f64,
    g: f64,
    out: &'a mut [T],
}

impl<T: Real> Job for Backward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Backward { chain, y, alpha, nll, g, out } = self;
        let (states, classes) = (chain.class.len(), chain.sizes.classes);
        // Behind the last step all is in the last blank.
        let mut after = vec![f64::NEG_INFINITY; states + 2];
        after[states - 1] = 0.0;
        let mut now = vec![0.0; states];
        let mut share = vec![0.0; states];
        let mut posterior = vec![0.0; classes];
        out[chain.steps * classes..].fill(T::default());
        for t in (0..chain.steps).rev() {
            let (stay, step, leap) = (&after[..states], &after[1..][..states], &after[2..][..states]);
            let skip = &chain.skip[2..][..states];
            for s in 0..states {
                now[s] = log_sum::<A>(stay[s], step[s], leap[s] + skip[s]);
            }
            let alpha = &alpha[t * chain.sizes.states()..][..states];
            for s in 0..states {
                share[s] = exp::<A>(alpha[s] + now[s] + nll);
            }
            posterior.fill(0.0);
            chain.class.iter().zip(&share).for_each(|(&c, share)| posterior[c] += share);
            let row = chain.row(y, t);
            let unreachable = if nll == f64::INFINITY { f64::NAN } else { 0.0 };
            for ((out, y), p) in out[t * classes..][..classes].iter_mut().zip(row).zip(&posterior) {
                *out = T::from_f64((exp::<A>(y.as_f64()) - p + unreachable) * g);
            }
            now.iter_mut().zip(&chain.class).for_each(|(now, &c)| *now += row[c].as_f64());
            after[..states].copy_from_slice(&now);
        }
    }
}
