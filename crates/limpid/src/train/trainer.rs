//! The training loop: epochs of shuffled batches, validation, the best epoch, and state that can be continued.

use std::ops::ControlFlow;
use std::time::Instant;

use limpid_core::{Result, Tensor, cpu, rng_state, set_rng_state};

use super::checkpoint::{Checkpoint, State, Tensors};
use super::evaluate::{Evaluation, Loss, check_output, evaluate, in_eval_mode};
use super::{Schedule, diagnose};
use crate::data::Dataset;
use crate::module::Forward;
use crate::optim::{LossExt, Optimizer};
use crate::state::StateDict;

/// How long and how fast is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How often every row is seen.
    pub epochs: u64,
    /// Rows of a step.
    pub batch: usize,
    /// Of the order of the rows.
    pub seed: u64,
    /// The base learning rate.
    pub lr: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// Epochs in which it grows from almost 0.
    pub warmup: f64,
    /// The largest norm of all gradients together.
    pub clip_norm: Option<f64>,
}

/// What a finished epoch showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: u64,
    /// Steps made so far.
    pub step: u64,
    /// The learning rate of its last step.
    pub lr: f64,
    /// The mean loss of its rows, each measured before the step that it was part of.
    pub loss: f64,
    /// On the validation rows, where there are some.
    pub validation: Option<Evaluation>,
    /// Whether it is the best so far.
    pub best: bool,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A step was made.
    Step {
        /// Its loss.
        loss: f64,
    },
    /// An epoch is finished.
    Epoch(Epoch),
}

/// Trains a model on a data set.
///
/// The order of rows is a function of seed and epoch, the learning rate one of the step, and random numbers are
/// counted, so that a run continued from a [`Checkpoint`] ends with the same bits as one that was never stopped.
pub struct Trainer<'a> {
    model: &'a dyn Forward,
    optimizer: Box<dyn Optimizer + 'a>,
    loss: &'a Loss,
    eval_loss: &'a Loss,
    train: &'a Dataset,
    validation: Option<&'a Dataset>,
    options: Options,
    state: State,
    best: Tensors,
    /// When this part of the run began, and the seconds spent before.
    clock: (Instant, f64),
}

impl<'a> Trainer<'a> {
    /// Trains `model` by `optimizer` on `train` with `loss`. The epoch with the best measure on `validation` wins
    /// (the later one of equals); without validation rows it is the last one.
    ///
    /// `eval_loss` is the loss that is shown for the validation rows: as a rule the same, without smoothing.
    ///
    /// # Errors
    /// A batch of 0 rows, or larger than the training part; a model whose output is not what the task needs.
    pub fn new(
        model: &'a dyn Forward,
        optimizer: Box<dyn Optimizer + 'a>,
        loss: &'a Loss,
        eval_loss: &'a Loss,
        train: &'a Dataset,
        validation: Option<&'a Dataset>,
        options: Options,
    ) -> Result<Trainer<'a>> {
        crate::data::check_batch(train, options.batch)?;
        let row = in_eval_mode(model, || model.forward(&train.features().narrow(0, 0, 1)));
        check_output(&row, 1, train.task())?;
        let state = State::start(options.seed, cpu().isa.name());
        let clock = (Instant::now(), 0.0);
        let best = Tensors::new();
        Ok(Trainer { model, optimizer, loss, eval_loss, train, validation, options, state, best, clock })
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.train.rows().div_ceil(self.options.batch)
    }

    /// Where the run is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How long and how fast is trained.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Seconds of training so far, those before a continuation included.
    pub fn seconds(&self) -> f64 {
        self.clock.1 + self.clock.0.elapsed().as_secs_f64()
    }

    /// Continues where `checkpoint` was taken.
    ///
    /// # Errors
    /// Weights or optimizer state that do not fit.
    pub fn resume(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.model.load_state_dict(&dict(&checkpoint.model), true)?;
        self.optimizer.load_state_dict(&dict(&checkpoint.optimizer))?;
        set_rng_state(checkpoint.state.rng);
        self.clock = (Instant::now(), checkpoint.state.seconds);
        self.state = checkpoint.state;
        self.best = checkpoint.best;
        Ok(())
    }

    /// All that the next step depends on, now.
    pub fn checkpoint(&self) -> Checkpoint {
        let state = State { rng: rng_state(), seconds: self.seconds(), ..self.state.clone() };
        let (model, optimizer) = (tensors(&self.model.state_dict()), tensors(&self.optimizer.state_dict()));
        Checkpoint { state, model, optimizer, best: self.best.clone() }
    }

    /// The weights of the best epoch so far; where none was chosen, those of now.
    pub fn best_weights(&self) -> Tensors {
        if self.best.is_empty() { tensors(&self.model.state_dict()) } else { self.best.clone() }
    }

    /// Gives the model the weights of the best epoch.
    ///
    /// # Errors
    /// Those that the weights carry.
    pub fn load_best(&self) -> Result<()> {
        self.model.load_state_dict(&dict(&self.best_weights()), true).map(|_| ())
    }

    /// Trains until all epochs are finished, or until `watch` breaks. `watch` is told of every step and epoch, with
    /// the trainer in the state after it. Returns whether all epochs are finished.
    ///
    /// # Errors
    /// What a step meets; a loss that is not finite (its step and the first operation that gave such a number); what
    /// `watch` returns. Model and optimizer are as they were before the step that failed.
    pub fn run(&mut self, watch: &mut dyn FnMut(&Trainer<'_>, Event) -> Result<ControlFlow<()>>) -> Result<bool> {
        self.model.train();
        while self.state.epoch < self.options.epochs {
            let batches = self.train.batches(self.options.batch).shuffled(self.options.seed, self.state.epoch);
            for (x, y) in batches.starting_at(self.state.position) {
                let loss = self.step(&x, &y)?;
                // A batch that ends the epoch is told of together with the epoch.
                if self.state.position < self.train.rows() && watch(self, Event::Step { loss })?.is_break() {
                    return Ok(false);
                }
            }
            let epoch = self.finish_epoch()?;
            if watch(self, Event::Epoch(epoch))?.is_break() {
                return Ok(self.state.epoch == self.options.epochs);
            }
        }
        Ok(true)
    }

    fn rate(&self) -> f64 {
        let per_epoch = self.steps_per_epoch();
        let epoch = self.state.step as f64 / per_epoch as f64;
        self.options.schedule.rate(self.options.lr, epoch, self.options.warmup, per_epoch)
    }

    fn step(&mut self, x: &Tensor, y: &Tensor) -> Result<f64> {
        let lr = self.rate();
        self.optimizer.set_lr(lr)?;
        let random = rng_state();
        let output = self.model.forward(x);
        check_output(&output, x.size(0), self.train.task())?;
        // A loss that is not finite fails the step, and a step that fails changes nothing.
        let loss = (self.loss)(&output, y).check_finite("loss");
        if let Some(error) = loss.error() {
            return Err(error);
        }
        let value = self.update(&loss).and_then(|()| loss.item()).map_err(|error| {
            set_rng_state(random);
            diagnose::explain(error, self.model, self.loss, (x, y), self.state.step + 1)
        })?;
        let rows = x.size(0);
        self.state.lr = lr;
        self.state.step += 1;
        self.state.position += rows;
        self.state.loss_sum += value * rows as f64;
        Ok(value)
    }

    fn update(&mut self, loss: &Tensor) -> Result<()> {
        match self.options.clip_norm {
            None => self.optimizer.step(loss).map(|_| ()),
            Some(norm) => {
                let grads = loss.gradients(&self.model)?.clip_norm(norm);
                self.optimizer.apply(grads)
            }
        }
    }

    fn finish_epoch(&mut self) -> Result<Epoch> {
        let validation = match self.validation {
            Some(data) => Some(evaluate(self.model, self.eval_loss, data)?),
            None => None,
        };
        let rows = std::mem::take(&mut self.state.position).max(1);
        let loss = std::mem::take(&mut self.state.loss_sum) / rows as f64;
        self.state.epoch += 1;
        let score = validation.as_ref().map(|found| found.scores.headline());
        let best = score.is_some_and(|score| self.state.best.is_none_or(|(_, best)| score >= best));
        if let (true, Some(score)) = (best, score) {
            self.state.best = Some((self.state.epoch, score));
            self.best = tensors(&self.model.state_dict());
        }
        let (epoch, step, lr) = (self.state.epoch, self.state.step, self.state.lr);
        Ok(Epoch { epoch, step, lr, loss, validation, best })
    }
}

impl std::fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("options", &self.options).field("state", &self.state).finish_non_exhaustive()
    }
}

fn tensors(state: &StateDict) -> Tensors {
    state.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
}

/// Tensors by name as a state dict.
pub fn dict(tensors: &Tensors) -> StateDict {
    let mut state = StateDict::new();
    for (name, tensor) in tensors {
        state.insert(name.clone(), tensor.clone());
    }
    state
}
