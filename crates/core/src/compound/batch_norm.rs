//! Batch normalisation (Ioffe and Szegedy 2015), and instance normalisation (Ulyanov et al. 2016), which is that of each
//! sample alone.

use std::sync::Arc;

use limpid_kernels::DType;
use limpid_kernels::batch_norm::{Batch, Statistics, batch_norm, batch_norm_grad};
use smallvec::{SmallVec, smallvec};

use crate::cell::Cell;
use crate::compound::norm::statistic_type;
use crate::compound::softmax::wide;
use crate::compound::{Compound, Fault, Io, call_array, call_many, result};
use crate::error::{Error, Result};
use crate::op::movement::reshape;
use crate::op::{Backward, Grads, Saves};
use crate::options;
use crate::region::Meta;
use crate::shape::Shape;
use crate::sugar::operators::Value;
use crate::tensor::Tensor;

/// Over axes 0 and 2 of x [n, channels, s]: y = (x − mean)·rstd·weight + bias, rstd = 1/√(var + eps), var biased.
/// Results: y, and mean, rstd, var [1, channels, 1], f32 for the halves. Weight and bias, where there are such, have
/// that type too, and the shape of the mean.
#[derive(Debug)]
struct BatchNorm {
    eps: f64,
    weight: bool,
    bias: bool,
}

impl Compound for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.extend([self.eps.to_bits(), u64::from(self.weight) | u64::from(self.bias) << 1]);
    }

    fn results(&self) -> usize {
        4
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (shape, dtype) = &inputs[0];
        let statistic = (shape.reduced(&[0, 2]), statistic_type(*dtype));
        vec![(shape.clone(), *dtype), statistic.clone(), statistic.clone(), statistic]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = wide(&inputs[0]);
        let mean = x.mean_keepdim([0, 2]);
        let centred = &x - &mean;
        let variance = (&centred * &centred).mean_keepdim([0, 2]);
        let rstd = variance.constant_like(1.0) / (&variance + variance.constant_like(self.eps)).sqrt();
        let mut y = centred * &rstd;
        let mut rest = inputs[1..].iter();
        if self.weight {
            y = y * rest.next().expect("checked by the constructor");
        }
        if self.bias {
            y = y + rest.next().expect("checked by the constructor");
        }
        vec![y.to_dtype(inputs[0].dtype()), mean, rstd, variance]
    }

    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        // Gradients of the statistics arise only in second derivatives: then the body serves.
        if b.grads[1..].iter().any(Option::is_some) {
            return None;
        }
        let (mean, rstd) = (result(b, 1), result(b, 2));
        let mut inputs = vec![&b.inputs[0], &mean, &rstd, b.g()];
        if self.weight {
            inputs.push(&b.inputs[1]);
        }
        let mut found = call_many(BatchNormGrad { weight: self.weight }, &inputs).into_iter();
        let mut grads: Grads = smallvec![found.next()];
        let (dw, db) = (found.next(), found.next());
        if self.weight {
            grads.push(dw);
        }
        if self.bias {
            grads.push(db);
        }
        Some(grads)
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        by_channel(&inputs[0].0)
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let batch = batch_of(&io.shapes[0]);
        let mut rest = io.inputs[1..].iter().copied();
        let weight = self.weight.then(|| rest.next()).flatten();
        let bias = self.bias.then(|| rest.next()).flatten();
        let [out, mean, rstd, variance] = &mut io.outputs[..] else { unreachable!("four results") };
        let to = Statistics { mean: mean.reborrow(), rstd: rstd.reborrow(), variance: variance.reborrow() };
        batch_norm(io.cpu, batch, self.eps, io.inputs[0], weight, bias, out.reborrow(), to);
        Ok(())
    }
}

/// Whether the kernel is faster: it goes through a channel row by row, which should not be short.
fn by_channel(shape: &Shape) -> bool {
    shape[2] >= 4 && shape[0] > 0
}

fn batch_of(shape: &Shape) -> Batch {
    Batch { n: shape[0], channels: shape[1], places: shape[2] }
}

/// The gradients of [`BatchNorm`] by x, weight and bias, from x, mean, rstd, g and the weight.
#[derive(Debug)]
struct BatchNormGrad {
    weight: bool,
}

impl Compound for BatchNormGrad {
    fn name(&self) -> &'static str {
        "batch_norm_grad"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(u64::from(self.weight));
    }

    fn results(&self) -> usize {
        3
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![inputs[0].clone(), inputs[1].clone(), inputs[1].clone()]
    }

    /// With x̂ = (x − mean)·rstd: dweight = Σ g·x̂, dbias = Σ g, dx = weight·rstd·(g − mean(g) − x̂·mean(g·x̂)).
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, mean, rstd, g) = (wide(&inputs[0]), &inputs[1], &inputs[2], wide(&inputs[3]));
        let normal = (&x - mean) * rstd;
        let products = &g * &normal;
        let scale = if self.weight { rstd * &inputs[4] } else { rstd.clone() };
        let dx = scale * (&g - g.mean_keepdim([0, 2]) - &normal * products.mean_keepdim([0, 2]));
        vec![dx.to_dtype(inputs[0].dtype()), products.sum_keepdim([0, 2]), g.sum_keepdim([0, 2])]
    }

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        by_channel(&inputs[0].0)
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let batch = batch_of(&io.shapes[0]);
        let weight = self.weight.then(|| io.inputs[4]);
        let saved = [io.inputs[1], io.inputs[2]];
        let [dx, dw, db] = &mut io.outputs[..] else { unreachable!("three results") };
        let sums = [dw.reborrow(), db.reborrow()];
        batch_norm_grad(io.cpu, batch, io.inputs[0], weight, saved, io.inputs[3], dx.reborrow(), sums);
        Ok(())
    }
}

options! {
    /// What the normalisations by running statistics take beside their input. Torch's defaults.
    ///
    /// The statistics are cells: of a buffer, in a module. Where the input's own are used, running ones take
    /// (1 − momentum)·old + momentum·new, new being the mean and the *unbiased* variance; that assignment is pending, as
    /// every one, and runs once.
    ///
    /// ```
    /// use limpid_core::{Cell, NormOptions, Tensor};
    /// let (mean, var) = (Cell::new(&Tensor::zeros([1]), false), Cell::new(&Tensor::ones([1]), false));
    /// let options = NormOptions::new().running_mean(mean.clone()).running_var(var.clone()).eps(1e-3);
    /// let y = Tensor::from([[1.0f32], [3.0]]).batch_norm(true, &options);
    /// assert!((y.to_vec::<f32>()?[1] - 1.0).abs() < 1e-3);
    /// assert_eq!((mean.to_vec::<f32>()?, var.to_vec::<f32>()?), (vec![0.2], vec![1.1]));
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    NormOptions {
        tensors {
            /// A factor for each channel.
            weight,
            /// What is added to each channel.
            bias,
        }
        optional {
            /// The mean of each channel, over all batches.
            running_mean: Arc<Cell>,
            /// The variance of each channel, over all batches.
            running_var: Arc<Cell>,
        }
        into {
            /// The weight of the new statistics in the running ones (default: 0.1): a number, or a scalar where it is
            /// computed.
            momentum: Value = 0.1,
        }
        values {
            /// What is added to the variance (default: 10⁻⁵).
            eps: f64 = 1e-5,
        }
    }
}

impl NormOptions {
    /// Why `x` can not be normalised so, by its own statistics (`own`) or by running ones.
    fn refusal(&self, name: &str, x: &Tensor, own: bool) -> Option<Error> {
        let (shape, channels) = (x.shape(), x.size(1));
        if !x.dtype().is_float() {
            return Some(Error::new(format!("{name}: the input is {}, not a float", x.dtype())));
        }
        if x.rank() < 2 {
            let what = format!("{name}: the input has shape {shape}, without an axis of channels");
            return Some(Error::new(what).help("[batch, channels, …]; unsqueeze(0) for one sample"));
        }
        if self.eps < 0.0 || (own && name == "batch_norm" && self.eps == 0.0) || self.eps.is_nan() {
            return Some(Error::new(format!("{name}: eps is {}, not positive", self.eps)));
        }
        let halves = x.dtype().size() < 4;
        let (fits, mut given) = (|d| d == x.dtype() || (halves && d == DType::F32), self.types());
        if let Some((what, dtype)) = given.find(|(_, dtype)| !fits(*dtype)) {
            return Some(Error::new(format!("{name}: the input is {}, {what} {dtype}", x.dtype())));
        }
        let cells = [("running_mean", &self.running_mean), ("running_var", &self.running_var)];
        let factors = [("weight", &self.weight), ("bias", &self.bias)];
        let cells = cells.into_iter().filter_map(|(what, cell)| Some((what, cell.as_ref()?.shape())));
        let factors = factors.into_iter().filter_map(|(what, t)| Some((what, t.as_ref()?.shape().clone())));
        for (what, found) in cells.chain(factors) {
            if found[..] != [channels] {
                let what = format!("{name}: {what} has shape {found}, the input {shape} has {channels} channels");
                return Some(Error::new(what));
            }
        }
        let missing = self.running_mean.is_none() || self.running_var.is_none();
        (!own && missing).then(|| {
            let what = format!("{name}: neither the input's statistics are to be used nor both running ones given");
            Error::new(what).help("running_mean and running_var, or training")
        })
    }

    /// Names and types of all that is given.
    fn types(&self) -> impl Iterator<Item = (&'static str, DType)> {
        let cells = [("running_mean", &self.running_mean), ("running_var", &self.running_var)];
        let factors = [("weight", &self.weight), ("bias", &self.bias)];
        let cells = cells.map(|(what, cell)| Some((what, cell.as_ref()?.dtype())));
        let factors = factors.map(|(what, t)| Some((what, t.as_ref()?.dtype())));
        cells.into_iter().chain(factors).flatten()
    }

    /// A tensor of one number a channel in the type of the statistics, as [1, channels, 1].
    #[track_caller]
    fn channelwise(t: &Tensor, dtype: DType) -> Tensor {
        reshape(&t.to_dtype(dtype), Shape::from([1, t.numel(), 1]))
    }

    /// Moves the running statistics on towards these [1, channels, 1], of `count` values each.
    #[track_caller]
    fn track(&self, mean: &Tensor, variance: &Tensor, count: usize) {
        let unbiased = variance * (count as f64 / count.saturating_sub(1) as f64);
        for (cell, new) in [(&self.running_mean, mean.clone()), (&self.running_var, unbiased)] {
            let Some(cell) = cell else { continue };
            let old = cell.tensor().detach();
            let new = reshape(&new.detach(), old.shape().clone()).to_dtype(old.dtype());
            let moved = match &self.momentum {
                Value::Number(number) => {
                    let m = number.as_f64();
                    old * (1.0 - m) + new * m
                }
                Value::Tensor(m) => {
                    let m = m.detach().to_dtype(old.dtype());
                    &old + (new - &old) * m
                }
            };
            cell.assign(&moved);
        }
    }

    /// x [n, channels, s] by its own statistics over n and s: the result, and mean and variance.
    #[track_caller]
    fn by_own(&self, x: &Tensor) -> [Tensor; 3] {
        let dtype = statistic_type(x.dtype());
        let mut inputs: SmallVec<[Tensor; 3]> = smallvec![x.clone()];
        for t in self.weight.iter().chain(&self.bias) {
            inputs.push(NormOptions::channelwise(t, dtype));
        }
        let compound = BatchNorm { eps: self.eps, weight: self.weight.is_some(), bias: self.bias.is_some() };
        let inputs: SmallVec<[&Tensor; 3]> = inputs.iter().collect();
        let [y, mean, _, variance] = call_array(compound, &inputs);
        [y, mean, variance]
    }

    /// (x − running mean) / √(running variance + eps) · weight + bias
    #[track_caller]
    fn by_running(&self, x: &Tensor) -> Tensor {
        let (Some(mean), Some(variance)) = (&self.running_mean, &self.running_var) else { return x.clone() };
        let dtype = statistic_type(x.dtype());
        let of = |t: &Tensor| NormOptions::channelwise(t, dtype);
        let mut scale = (of(&variance.tensor().detach()) + self.eps).rsqrt();
        if let Some(weight) = &self.weight {
            scale = scale * of(weight);
        }
        let mut y = (wide(x) - of(&mean.tensor().detach())) * scale;
        if let Some(bias) = &self.bias {
            y = y + of(bias);
        }
        y.to_dtype(x.dtype())
    }
}

/// [batch, channels, …] as [batch, channels, all the rest].
#[track_caller]
fn three_axes(x: &Tensor) -> Tensor {
    reshape(x, Shape::from([x.size(0), x.size(1), x.shape()[2..].iter().product()]))
}

impl Tensor {
    /// (x − mean) / √(var + eps) · weight + bias for each channel of `[batch, channels, …]`. In `training`, mean and
    /// variance are those of the batch, over all axes but that of the channels, and the running ones move on towards
    /// them; else they are the running ones. Torch's `nn.functional.batch_norm`.
    ///
    /// A batch with one value a channel has no variance: an error in training. A batch of none is returned as it is.
    ///
    /// ```
    /// use limpid_core::{NormOptions, Tensor};
    /// let x = Tensor::from([[1.0f64, 0.0], [3.0, 4.0]]);
    /// let y = x.batch_norm(true, &NormOptions::new().eps(1e-12));
    /// assert!((y.to_vec::<f64>()?[2] - 1.0).abs() < 1e-9);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn batch_norm(&self, training: bool, options: &NormOptions) -> Tensor {
        if self.numel() == 0 && self.rank() < 2 && self.dtype().is_float() {
            return self.clone();
        }
        if let Some(error) = options.refusal("batch_norm", self, training) {
            return Tensor::fail(error, &[self], self.shape().clone(), self.dtype());
        }
        let x = three_axes(self);
        let count = x.size(0) * x.size(2);
        if training && count == 1 {
            let what = format!("batch_norm: one value a channel, shape {}: there is no variance", self.shape());
            let error = Error::new(what).help("a batch of several in training, or eval()");
            return Tensor::fail(error, &[self], self.shape().clone(), self.dtype());
        }
        let y = if !training {
            options.by_running(&x)
        } else if count == 0 {
            options.by_own(&x)[0].clone()
        } else {
            let [y, mean, variance] = options.by_own(&x);
            options.track(&mean, &variance, count);
            y
        };
        reshape(&y, self.shape().clone())
    }

    /// [`Tensor::batch_norm`] of each sample alone: mean and variance are those of a channel of a sample. With
    /// `use_input_stats` (torch's default) they are the input's, and the running ones, where given, move on towards
    /// their means over the batch; without, they are the running ones. Torch's `nn.functional.instance_norm`.
    ///
    /// ```
    /// use limpid_core::{NormOptions, Tensor};
    /// let y = Tensor::from([[[1.0f64, 3.0], [10.0, 30.0]]]).instance_norm(true, &NormOptions::new().eps(0.0));
    /// assert_eq!(y.to_vec::<f64>()?, [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn instance_norm(&self, use_input_stats: bool, options: &NormOptions) -> Tensor {
        if let Some(error) = options.refusal("instance_norm", self, use_input_stats) {
            return Tensor::fail(error, &[self], self.shape().clone(), self.dtype());
        }
        let x = three_axes(self);
        let [n, channels, count] = x.dims();
        if !use_input_stats {
            return reshape(&options.by_running(&x), self.shape().clone());
        }
        if count == 1 {
            let what = format!("instance_norm: one value a channel, shape {}: there is no variance", self.shape());
            let error = Error::new(what).help("an input with more than one place, or another norm");
            return Tensor::fail(error, &[self], self.shape().clone(), self.dtype());
        }
        if x.numel() == 0 || (options.running_mean.is_none() && options.running_var.is_none()) {
            let (weight, bias) = (options.weight.as_ref(), options.bias.as_ref());
            return affine(&x.layer_norm([count], None, None, options.eps), weight, bias).view(self.shape());
        }
        let alone = NormOptions { weight: None, bias: None, ..options.clone() };
        let [y, mean, variance] = alone.by_own(&reshape(&x, Shape::from([1, n * channels, count])));
        let over_batch = |t: &Tensor| reshape(t, Shape::from([n, channels])).mean(0);
        options.track(&over_batch(&mean), &over_batch(&variance), count);
        let y = reshape(&y, x.shape().clone());
        reshape(&affine(&y, options.weight.as_ref(), options.bias.as_ref()), self.shape().clone())
    }

    /// (x − mean) / √(var + eps) for each group of channels of each sample of `[batch, channels, …]`, over the group's
    /// channels and all places; then times `weight` plus `bias`, one number a channel. Torch's
    /// `nn.functional.group_norm`. Wu and He (2018).
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([[1.0f64, 3.0, 10.0, 30.0]]).group_norm(2, None, None, 0.0);
    /// assert_eq!(y.to_vec::<f64>()?, [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn group_norm(&self, num_groups: usize, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
        let fail = |error: Error| (error, self.shape().clone(), self.dtype());
        let (shape, channels) = (self.shape(), self.size(1));
        let wrong = if !self.dtype().is_float() {
            Some(fail(Error::new(format!("group_norm: the input is {}, not a float", self.dtype()))))
        } else if self.rank() < 2 {
            Some(fail(Error::new(format!("group_norm: the input has shape {shape}, without an axis of channels"))))
        } else if num_groups == 0 || !channels.is_multiple_of(num_groups) {
            Some(fail(Error::new(format!("group_norm: {channels} channels are not {num_groups} equal groups"))))
        } else {
            let fits = |d| d == self.dtype() || (self.dtype().size() < 4 && d == DType::F32);
            let t = weight.iter().chain(&bias).find(|t| t.shape()[..] != [channels] || !fits(t.dtype()));
            t.map(|t| {
                let (found, theirs, ours) = (t.shape(), t.dtype(), self.dtype());
                let what = format!("group_norm: weight or bias is {theirs} {found}, the input {ours} {shape}");
                fail(Error::new(what).help(format!("one number for each of {channels} channels")))
            })
        };
        if let Some((error, shape, dtype)) = wrong {
            return Tensor::fail(error, &[self], shape, dtype);
        }
        let x = three_axes(self);
        let [n, _, places] = x.dims();
        let size = channels / num_groups * places;
        // Torch counts the values of a channel of the whole batch.
        if n * size == 1 {
            let error = Error::new(format!("group_norm: one value a group, shape {shape}: there is no variance"));
            return Tensor::fail(error, &[self], shape.clone(), self.dtype());
        }
        let grouped = reshape(&x, Shape::from([n * num_groups, size]));
        let y = reshape(&grouped.layer_norm([size], None, None, eps), x.shape().clone());
        reshape(&affine(&y, weight, bias), self.shape().clone())
    }
}

/// x·weight + bias for each channel of x [batch, channels, places].
#[track_caller]
fn affine(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>) -> Tensor {
    let dtype = statistic_type(x.dtype());
    let mut y = x.clone();
    if let Some(weight) = weight {
        y = wide(&y) * NormOptions::channelwise(weight, dtype);
    }
    if let Some(bias) = bias {
        y = wide(&y) + NormOptions::channelwise(bias, dtype);
    }
    y.to_dtype(x.dtype())
}
