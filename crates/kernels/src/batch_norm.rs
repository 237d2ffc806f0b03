//! Batch normalisation of contiguous `[n, channels, places]`, and its gradients. A channel is one task: its sums do not
//! depend on the number of threads.

use crate::Cpu;
use crate::dtype::DType;
use crate::floats::{Floats, FloatsMut};
use crate::isa::{Arch, Job, dispatch};
use crate::parts::Shared;
use crate::real::{Real, sum, sums};
use crate::slice::{Slice, SliceMut};

/// What is normalised.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Number of samples.
    pub n: usize,
    /// Number of channels.
    pub channels: usize,
    /// Elements of a channel of a sample.
    pub places: usize,
}

impl Batch {
    fn len(self) -> usize {
        self.n * self.channels * self.places
    }

    /// Values of a channel.
    fn count(self) -> f64 {
        (self.n * self.places) as f64
    }

    /// Where the channel begins in each sample.
    fn starts(self, channel: usize) -> impl Iterator<Item = usize> {
        (0..self.n).map(move |i| (i * self.channels + channel) * self.places)
    }
}

/// What the statistics of each channel are written to.
#[derive(Debug)]
pub struct Statistics<'a> {
    /// The mean.
    pub mean: SliceMut<'a>,
    /// 1/√(variance + eps)
    pub rstd: SliceMut<'a>,
    /// The variance, divided by the number of values.
    pub variance: SliceMut<'a>,
}

/// `out = (x - mean)·rstd·weight + bias` for each channel, with its mean over samples and places and
/// `rstd = 1/√(variance + eps)` (as `torch.nn.functional.batch_norm` in training).
///
/// `src` and `out` are contiguous, of one float type; `weight`, `bias` and the statistics are `[channels]`, f64 for f64,
/// else f32 (no weight: 1, no bias: 0). f16 and bf16 are computed in f32 and rounded once.
///
/// # Panics
/// When lengths or types do not fit each other, or the type is not a float.
pub fn batch_norm(
    cpu: &Cpu,
    batch: Batch,
    eps: f64,
    src: Slice,
    weight: Option<Slice>,
    bias: Option<Slice>,
    mut out: SliceMut,
    mut to: Statistics<'_>,
) {
    assert!(src.dtype() == out.dtype() && src.len() == batch.len() && out.len() == batch.len());
    assert!([&to.mean, &to.rstd, &to.variance].iter().all(|s| s.len() == batch.channels));
    assert!([weight, bias].iter().flatten().all(|s| s.len() == batch.channels));
    if src.dtype() == DType::F64 {
        let statistics = [to.mean.get::<f64>(), to.rstd.get(), to.variance.get()];
        let affine = [weight.map(|w| w.get()), bias.map(|b| b.get())];
        return forward(cpu, batch, eps, src.get(), affine, out.get(), statistics);
    }
    let (x, mut y) = (Floats::new(cpu, src), FloatsMut::new(out));
    let statistics = [to.mean.get::<f32>(), to.rstd.get(), to.variance.get()];
    let affine = [weight.map(|w| w.get()), bias.map(|b| b.get())];
    forward(cpu, batch, eps, x.get(), affine, y.get(), statistics);
    y.finish(cpu);
}

fn forward<T: Real>(
    cpu: &Cpu,
    batch: Batch,
    eps: f64,
    x: &[T],
    affine: [Option<&[T]>; 2],
    out: &mut [T],
    statistics: [&mut [T]; 3],
) {
    let (out, statistics) = (Shared::new(out), statistics.map(Shared::new));
    cpu.pool.run(batch.channels, &|channel| {
        let [weight, bias] = [(affine[0], 1.0), (affine[1], 0.0)]
            .map(|(given, default)| given.map_or(T::from_f64(default), |given| given[channel]));
        // SAFETY: `Pool::run` runs each channel exactly once, and what it takes are elements of that channel.
        let [mean, rstd, variance] = [0, 1, 2].map(|i| unsafe { statistics[i].at(channel) });
        let found = dispatch(cpu.isa, Forward { batch, channel, eps, x, weight, bias, out: &out });
        (*mean, *rstd, *variance) = found;
    });
}

struct Forward<'a, T> {
    batch: Batch,
    channel: usize,
    eps: f64,
    x: &'a [T],
    weight: T,
    bias: T,
    out: &'a Shared<'a, T>,
}

impl<T: Real> Job for Forward<'_, T> {
    type Out = (T, T, T);

    #[inline(always)]
    fn run<A: Arch>(self) -> (T, T, T) {
        let Forward { batch, channel, eps, x, weight, bias, out } = self;
        let rows = || batch.starts(channel).map(|start| &x[start..start + batch.places]);
        let mean = T::from_f64(rows().map(|x| sum(x, |x| x)).sum::<f64>() / batch.count());
        let variance = rows().map(|x| sum(x, |x| (x - mean) * (x - mean))).sum::<f64>() / batch.count();
        let rstd = T::from_f64(1.0 / (variance + eps).sqrt());
        for (start, x) in batch.starts(channel).zip(rows()) {
            // SAFETY: this task alone has this channel.
            let out = unsafe { out.range(start, batch.places) };
            for (y, &x) in out.iter_mut().zip(x) {
                *y = ((x - mean) * rstd).fma::<A>(weight, bias);
            }
        }
        (mean, rstd, T::from_f64(variance))
    }
}

/// The gradients of [`batch_norm`] from the gradient `g` of its result. With x̂ = (x - mean)·rstd: `db = Σ g`,
/// `dw = Σ g·x̂`, `dx = weight·rstd·(g - mean of g - x̂·mean of g·x̂)`, sums and means of each channel.
///
/// # Panics
/// When lengths or types do not fit each other, or the type is not a float.
pub fn batch_norm_grad(
    cpu: &Cpu,
    batch: Batch,
    x: Slice,
    weight: Option<Slice>,
    [mean, rstd]: [Slice; 2],
    g: Slice,
    mut dx: SliceMut,
    [mut dw, mut db]: [SliceMut; 2],
) {
    assert!([x.dtype(), g.dtype()] == [dx.dtype(); 2] && [x.len(), g.len(), dx.len()] == [batch.len(); 3]);
    assert!([mean.len(), rstd.len(), dw.len(), db.len()] == [batch.channels; 4]);
    assert!(weight.is_none_or(|w| w.len() == batch.channels));
    if x.dtype() == DType::F64 {
        let saved = Saved { x: x.get::<f64>(), mean: mean.get(), rstd: rstd.get(), g: g.get() };
        return backward(cpu, batch, saved, weight.map(|w| w.get()), dx.get(), [dw.get(), db.get()]);
    }
    let (x, g, mut dx) = (Floats::new(cpu, x), Floats::new(cpu, g), FloatsMut::new(dx));
    let saved = Saved { x: x.get(), mean: mean.get::<f32>(), rstd: rstd.get(), g: g.get() };
    backward(cpu, batch, saved, weight.map(|w| w.get()), dx.get(), [dw.get(), db.get()]);
    dx.finish(cpu);
}

/// What the backward pass gets.
#[derive(Clone, Copy)]
struct Saved<'a, T> {
    x: &'a [T],
    mean: &'a [T],
    rstd: &'a [T],
    g: &'a [T],
}

fn backward<T: Real>(
    cpu: &Cpu,
    batch: Batch,
    saved: Saved<T>,
    weight: Option<&[T]>,
    dx: &mut [T],
    sums: [&mut [T]; 2],
) {
    let (dx, sums) = (Shared::new(dx), sums.map(Shared::new));
    cpu.pool.run(batch.channels, &|channel| {
        let weight = weight.map_or(T::from_f64(1.0), |weight| weight[channel]);
        // SAFETY: as in `forward`.
        let [dw, db] = [0, 1].map(|i| unsafe { sums[i].at(channel) });
        (*dw, *db) = dispatch(cpu.isa, Backward { batch, channel, saved, weight, dx: &dx });
    });
}

struct Backward<'a, T> {
    batch: Batch,
    channel: usize,
    saved: Saved<'a, T>,
    weight: T,
    dx: &'a Shared<'a, T>,
}

impl<T: Real> Job for Backward<'_, T> {
    type Out = (T, T);

    #[inline(always)]
    fn run<A: Arch>(self) -> (T, T) {
        let Backward { batch, channel, saved, weight, dx } = self;
        let (mean, rstd) = (saved.mean[channel], saved.rstd[channel]);
        let rows = || {
            let row = move |start| (&saved.x[start..start + batch.places], &saved.g[start..start + batch.places]);
            batch.starts(channel).map(row)
        };
        let both = rows().map(|(x, g)| sums([x, g], |[x, g]| [g, g * ((x - mean) * rstd)]));
        let [db, dw] = both.fold([0.0; 2], |total, row| [total[0] + row[0], total[1] + row[1]]);
        let (mean_g, mean_gx) = (T::from_f64(db / batch.count()), T::from_f64(dw / batch.count()));
        let scale = weight * rstd;
        for (start, (x, g)) in batch.starts(channel).zip(rows()) {
            // SAFETY: this task alone has this channel.
            let dx = unsafe { dx.range(start, batch.places) };
            for (dx, (&x, &g)) in dx.iter_mut().zip(x.iter().zip(g)) {
                *dx = scale * (g - mean_g - ((x - mean) * rstd) * mean_gx);
            }
        }
        (T::from_f64(dw), T::from_f64(db))
    }
}
