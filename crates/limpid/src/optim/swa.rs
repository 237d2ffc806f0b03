//! Averages of a model's weights over its training: torch's `optim.swa_utils`.

use std::fmt;
use std::panic::Location;

use limpid_core::{DType, Error, Result, Tensor, eval, no_grad};

use crate::Module;
use crate::module::Forward;
use crate::nn::cumulative;
use crate::optim::optimizer::located;
use crate::param::Buffer;
use crate::walk::{Item, walk};

/// An average's next value, of the average so far, the value of now, and how many values are in it (a scalar of the
/// same type).
pub struct AvgFn(Result<Box<dyn Fn(&Tensor, &Tensor, &Tensor) -> Tensor + Send + Sync>>);

impl AvgFn {
    /// This function.
    pub fn new(average: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor + Send + Sync + 'static) -> AvgFn {
        AvgFn(Ok(Box::new(average)))
    }
}

impl fmt::Debug for AvgFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AvgFn")
    }
}

/// The mean of all values: a + (x − a)/(n + 1), of stochastic weight averaging (Izmailov et al. 2018).
pub fn get_swa_avg_fn() -> AvgFn {
    AvgFn::new(|average, value, count| average + (value - average) / (count + 1.0))
}

/// The exponential moving average decay·a + (1 − decay)·x; torch's decay is 0.999 by itself.
///
/// # Errors
/// At the update, when the decay is not from 0 to 1.
pub fn get_ema_avg_fn(decay: f64) -> AvgFn {
    if !(0.0..=1.0).contains(&decay) {
        let error = Error::new(format!("get_ema_avg_fn: the decay is {decay}"));
        return AvgFn(Err(error.help("a number from 0 to 1")));
    }
    AvgFn::new(move |average, value, _| average * decay + value * (1.0 - decay))
}

/// A model of averages of another's parameters: of all its values (SWA), or exponential moving ones (EMA). Torch's
/// `AveragedModel`, which copies the model; here a second one is built in the same way, with parameters of its own.
///
/// ```
/// use limpid::prelude::*;
/// use limpid::optim::{AveragedModel, get_ema_avg_fn};
/// let model = Linear::new(2, 1);
/// let ema = AveragedModel::new(Linear::new(2, 1)).avg_fn(get_ema_avg_fn(0.9));
/// let mut sgd = SGD::new(&model).lr(0.1);
/// let x = Tensor::from([[1.0f32, -1.0]]);
/// for _ in 0..3 {
///     sgd.step(&model.forward(&x).square().sum(..))?;
///     ema.update_parameters(&model)?;
/// }
/// assert_eq!(ema.n_averaged.value()?.item()?, 3.0);
/// println!("{:.4}", ema.forward(&x).item()?);
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Debug, Module)]
pub struct AveragedModel<M: Module> {
    /// How many values are in the averages, i64.
    pub n_averaged: Buffer,
    /// The model with the averages.
    pub module: M,
    #[module(skip)]
    average: AvgFn,
    #[module(skip)]
    use_buffers: bool,
}

impl<M: Module> AveragedModel<M> {
    /// Means in `module`, whose own values are replaced by the first update.
    pub fn new(module: M) -> AveragedModel<M> {
        let n_averaged = Buffer::new(&Tensor::from(0i64));
        AveragedModel { n_averaged, module, average: get_swa_avg_fn(), use_buffers: false }
    }

    /// With averages by this function: [`get_ema_avg_fn`], [`get_swa_avg_fn`] or one's own.
    pub fn avg_fn(self, average: AvgFn) -> AveragedModel<M> {
        AveragedModel { average, ..self }
    }

    /// Whether buffers are averaged too (default: they take the model's values).
    pub fn use_buffers(self, use_buffers: bool) -> AveragedModel<M> {
        AveragedModel { use_buffers, ..self }
    }

    /// Takes the values of `model` into the averages.
    ///
    /// # Errors
    /// When the model is of another kind, or the same one.
    #[track_caller]
    pub fn update_parameters(&self, model: &(impl Module + ?Sized)) -> Result<()> {
        let here = Location::caller();
        located(no_grad(|| self.update(model)), here)
    }

    fn update(&self, model: &(impl Module + ?Sized)) -> Result<()> {
        let (ours, theirs) = (self.module.named_parameters(), model.named_parameters());
        let (our_buffers, their_buffers) = (self.module.named_buffers(), model.named_buffers());
        matching(&ours, &theirs, |p| (p.shape(), p.cell().id()))?;
        matching(&our_buffers, &their_buffers, |b| (b.shape(), b.cell().id()))?;
        let average = self.average.0.as_ref().map_err(Error::clone)?;
        let count = self.n_averaged.value()?;
        let first = count.item()? == 0.0;
        let next = |old: Tensor, new: Tensor, averaged: bool| {
            if first || !averaged {
                return new.to_dtype(old.dtype());
            }
            let wide = if old.dtype().is_float() { old.dtype() } else { DType::F64 };
            let (a, x) = (old.to_dtype(wide), new.to_dtype(wide));
            average(&a, &x, &count.to_dtype(wide)).to_dtype(old.dtype())
        };
        let mut values = Vec::new();
        for ((_, to), (_, from)) in ours.iter().zip(&theirs) {
            values.push((to.cell(), next(to.tensor().detach(), from.tensor().detach(), true)));
        }
        for ((_, to), (_, from)) in our_buffers.iter().zip(&their_buffers) {
            values.push((to.cell(), next(to.tensor().detach(), from.tensor().detach(), self.use_buffers)));
        }
        if let Some(error) = values.iter().find_map(|(_, value)| value.error()) {
            return Err(error);
        }
        values.iter().for_each(|(cell, value)| cell.assign(value));
        self.n_averaged.assign(&(count + 1i64));
        limpid_core::settle()
    }
}

/// Refuses pairs of other shapes, and values that are both models'.
fn matching<T>(
    ours: &[(String, T)],
    theirs: &[(String, T)],
    of: impl Fn(&T) -> (limpid_core::Shape, u64),
) -> Result<()> {
    let help = "a second model, made by the same constructor";
    if ours.len() != theirs.len() {
        let (a, b) = (ours.len(), theirs.len());
        return Err(Error::new(format!("AveragedModel: {a} values to average, the model has {b}")).help(help));
    }
    for ((name, a), (_, b)) in ours.iter().zip(theirs) {
        let ((a, a_id), (b, b_id)) = (of(a), of(b));
        if a != b {
            return Err(Error::new(format!("AveragedModel: {name} is {a}, in the model {b}")).help(help));
        }
        if a_id == b_id {
            return Err(Error::new(format!("AveragedModel: {name} is the model's own")).help(help));
        }
    }
    Ok(())
}

impl<M: Forward> Forward for AveragedModel<M> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        self.module.forward(x)
    }
}

/// Computes the running statistics of all batch norms in `model` anew, as means over the batches of `loader`: those of
/// averaged weights are no average of statistics. Torch's `update_bn`.
///
/// # Errors
/// What the model's results carry.
///
/// ```
/// use limpid::prelude::*;
/// use limpid::optim::update_bn;
/// let model = Sequential::new().add(BatchNorm1d::new(1));
/// update_bn([Tensor::from([[1.0f32], [3.0]]), Tensor::from([[4.0f32], [6.0]])], &model)?;
/// assert_eq!(model.state_dict().get("0.running_mean").unwrap().item()?, 3.5);
/// # Ok::<(), limpid::Error>(())
/// ```
#[track_caller]
pub fn update_bn(loader: impl IntoIterator<Item = Tensor>, model: &(impl Forward + ?Sized)) -> Result<()> {
    let here = Location::caller();
    let statistics = statistics(model);
    if statistics.is_empty() {
        return Ok(());
    }
    for (buffer, start) in &statistics {
        let value = Tensor::full_of(buffer.shape(), *start, buffer.dtype());
        located(buffer.set(&value), here)?;
    }
    let was_training = model.is_training();
    model.train();
    let run = || loader.into_iter().try_for_each(|batch| eval([&model.forward(&batch)]));
    let done = cumulative(|| no_grad(run));
    if !was_training {
        model.eval();
    }
    located(done, here)
}

/// The running statistics of all batch norms, and where they begin.
fn statistics<M: Module + ?Sized>(model: &M) -> Vec<(Buffer, f64)> {
    const STARTS: [(&str, f64); 3] = [("running_mean", 0.0), ("running_var", 1.0), ("num_batches_tracked", 0.0)];
    let (mut found, mut is_norm) = (Vec::new(), false);
    walk(model, &mut |path, item| match item {
        Item::Module(module) => is_norm = module.kind().starts_with("BatchNorm"),
        Item::Buffer(buffer) if is_norm => {
            let name = path.rsplit('.').next().unwrap_or(path);
            found.extend(STARTS.iter().find(|(known, _)| *known == name).map(|(_, start)| (buffer.clone(), *start)));
        }
        _ => {}
    });
    found
}
