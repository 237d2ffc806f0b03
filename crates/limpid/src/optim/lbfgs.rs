//! L-BFGS (Liu, Nocedal 1989).

use std::panic::Location;

use limpid_core::{Assignment, DType, Error, Result, Shape, Tensor, assign_all, eval, settle};

use crate::module::Module;
use crate::optim::core::{Core, Kept};
use crate::optim::line_search::{Point, Search};
use crate::optim::optimizer::{enter, located};
use crate::optim::options::{Group, Options, Range, Spec, spec};
use crate::optim::{CoreRef, Gradients, Optimizer, StepLoss};
use crate::param::Parameter;
use crate::state::StateDict;

/// L-BFGS: steps along an approximate inverse Hessian times the gradient, from the last `history_size` changes of both.
/// Each step asks the loss up to `max_eval` times, so it is given a closure. Torch's `optim.LBFGS`; the rate is 1 unless
/// set. There is one group.
///
/// ```
/// use limpid::prelude::*;
/// let x = Parameter::new(&Tensor::from([-1.2f64, 1.0]));
/// let mut lbfgs = LBFGS::groups([Group::of(&[x.clone()])]).line_search_fn("strong_wolfe");
/// for _ in 0..3 {
///     lbfgs.step_with(|| {
///         let (a, b) = (x.tensor().select(0, 0), x.tensor().select(0, 1));
///         (&a - 1.0).square() + (b - a.square()).square() * 100.0
///     })?;
/// }
/// assert!(x.value()?.to_vec::<f64>()?.iter().all(|x| (x - 1.0).abs() < 1e-4));
/// # Ok::<(), limpid::Error>(())
/// ```
#[derive(Debug)]
pub struct LBFGS {
    core: CoreRef,
    memory: Memory,
}

/// What is kept from step to step.
#[derive(Clone, Debug, Default)]
struct Memory {
    func_evals: usize,
    n_iter: usize,
    last: Option<Last>,
    /// Changes of the gradient, the steps that made them, and the reciprocal of their products.
    changes: Vec<(Tensor, Tensor, f64)>,
    /// The scale of the first approximation.
    scale: f64,
}

/// The last iteration: its direction, step length, gradient and loss.
#[derive(Clone, Debug)]
struct Last {
    direction: Tensor,
    t: f64,
    grad: Tensor,
    loss: f64,
}

const OPTIONS: &[Spec] = &[
    spec("lr", &[1.0], Range::NOT_NEGATIVE),
    spec("max_iter", &[20.0], Range::NOT_NEGATIVE),
    spec("max_eval", &[f64::NAN], Range::new("a number", |_| true)),
    spec("tolerance_grad", &[1e-7], Range::ANY),
    spec("tolerance_change", &[1e-9], Range::ANY),
    spec("history_size", &[100.0], Range::new("at least 1", |x| x[0] >= 1.0)),
    spec("strong_wolfe", &[0.0], Range::FLAG),
    spec("maximize", &[0.0], Range::FLAG),
];

impl LBFGS {
    /// All parameters of `model`, with torch's defaults.
    pub fn new<M: Module + ?Sized>(model: &M) -> LBFGS {
        LBFGS::groups([Group::new(model)])
    }

    /// One group.
    pub fn groups(groups: impl IntoIterator<Item = Group>) -> LBFGS {
        let mut core = Core::new("LBFGS", OPTIONS, groups);
        if core.groups.len() != 1 {
            let error = Error::new(format!("LBFGS: {} groups, but there can be only one", core.groups.len()));
            core.fail(error.help("Group::of with all parameters"));
        }
        LBFGS { core: CoreRef(core), memory: Memory::default() }
    }

    fn with(mut self, name: &str, value: f64) -> LBFGS {
        self.core.0.set_all(name, value);
        self
    }

    /// With this length of a step (default: 1), which a line search begins with.
    pub fn lr(self, lr: f64) -> LBFGS {
        self.with("lr", lr)
    }

    /// With so many iterations in a step (default: 20).
    pub fn max_iter(self, iterations: usize) -> LBFGS {
        self.with("max_iter", iterations as f64)
    }

    /// With so many evaluations of the loss in a step (default: 1.25 times the iterations).
    pub fn max_eval(self, evaluations: usize) -> LBFGS {
        self.with("max_eval", evaluations as f64)
    }

    /// It has arrived when no element of the gradient is larger (default: 1e-7).
    pub fn tolerance_grad(self, tolerance: f64) -> LBFGS {
        self.with("tolerance_grad", tolerance)
    }

    /// It has arrived when loss and parameters change by less (default: 1e-9).
    pub fn tolerance_change(self, tolerance: f64) -> LBFGS {
        self.with("tolerance_change", tolerance)
    }

    /// With so many changes remembered (default: 100), each as large as the parameters twice.
    pub fn history_size(self, size: usize) -> LBFGS {
        self.with("history_size", size as f64)
    }

    /// With a line search: `"strong_wolfe"` is the only one (default: none, steps of length lr).
    pub fn line_search_fn(mut self, name: &str) -> LBFGS {
        if name != "strong_wolfe" {
            let error = Error::new(format!("LBFGS: there is no line_search_fn {name:?}"));
            self.core.0.fail(error.help("\"strong_wolfe\""));
        }
        self.with("strong_wolfe", 1.0)
    }

    /// Uphill.
    pub fn maximize(self, maximize: bool) -> LBFGS {
        self.with("maximize", f64::from(u8::from(maximize)))
    }

    fn name(&self) -> String {
        self.core.0.groups.first().and_then(|group| group.names.first().cloned()).unwrap_or_default()
    }

    fn run(&mut self, closure: &mut dyn FnMut() -> Tensor) -> Result<StepLoss> {
        self.core.0.check()?;
        let loss = closure();
        let named = self.core.0.parameters();
        if named.is_empty() {
            eval([&loss])?;
            return Ok(StepLoss(loss));
        }
        let line = Line::new(&named)?;
        let mut step =
            Step { line: &line, closure, options: &self.core.0.groups[0].options, memory: self.memory.clone() };
        match step.run(&loss) {
            Ok(()) => self.memory = step.memory,
            Err(error) => {
                // A failed step leaves parameters and memory as they were.
                line.restore()?;
                return Err(error);
            }
        }
        Ok(StepLoss(loss))
    }
}

/// The parameters as one vector.
struct Line<'a> {
    named: &'a [(String, Parameter)],
    dtype: DType,
    /// The values at the beginning of the step.
    begin: Vec<Tensor>,
}

impl Line<'_> {
    fn new(named: &[(String, Parameter)]) -> Result<Line<'_>> {
        let dtype = named.iter().map(|(_, p)| p.dtype()).max().unwrap_or(DType::F32);
        let line = Line { named, dtype, begin: Vec::new() };
        Ok(Line { begin: line.values()?, ..line })
    }

    fn values(&self) -> Result<Vec<Tensor>> {
        self.named.iter().map(|(_, p)| p.value()).collect()
    }

    /// Puts the parameters at `from` + t·direction.
    fn move_to(&self, from: &[Tensor], t: f64, direction: &Tensor) -> Result<()> {
        let mut start = 0;
        let mut assignments = Vec::new();
        for ((_, p), from) in self.named.iter().zip(from) {
            let part = direction.narrow(0, start, p.numel()).view(p.shape());
            start += p.numel();
            let new = from + (part * t).to_dtype(p.dtype());
            assignments.push(Assignment { cell: p.cell().clone(), old: p.cell().tensor(), new });
        }
        assign_all(&assignments)?;
        settle()
    }

    fn restore(&self) -> Result<()> {
        self.named.iter().zip(&self.begin).try_for_each(|((_, p), begin)| p.set(begin))
    }

    /// The loss and its gradient as one vector, computed in one plan.
    fn look(&self, loss: &Tensor, maximize: bool) -> Result<(f64, Tensor)> {
        let grads = Gradients::new(loss, self.named.to_vec())?;
        let parts = self.named.iter().map(|(_, p)| {
            let grad = grads.of(p).unwrap_or_else(|| Tensor::zeros_of(p.shape(), p.dtype()));
            grad.detach().flatten(0).view([p.numel()]).to_dtype(self.dtype)
        });
        let parts: Vec<Tensor> = parts.collect();
        let flat = Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0);
        let flat = if maximize { -flat } else { flat };
        eval([loss, &flat])?;
        let value = loss.item()?;
        Ok((if maximize { -value } else { value }, flat))
    }
}

/// One step at work.
struct Step<'a> {
    line: &'a Line<'a>,
    closure: &'a mut dyn FnMut() -> Tensor,
    options: &'a Options,
    memory: Memory,
}

fn dot(a: &Tensor, b: &Tensor) -> Result<f64> {
    (a * b).sum(..).item()
}

fn largest(x: &Tensor) -> Result<f64> {
    if x.numel() == 0 { Ok(0.0) } else { x.abs().amax(..).item() }
}

/// y + factor·x, computed.
fn plus(y: &Tensor, x: &Tensor, factor: f64) -> Result<Tensor> {
    let sum = y + x * factor;
    sum.eval()?;
    Ok(sum)
}

impl Step<'_> {
    fn run(&mut self, first: &Tensor) -> Result<()> {
        let options = self.options;
        let [lr, max_iter, tolerance_change] = ["lr", "max_iter", "tolerance_change"].map(|name| options.number(name));
        let (maximize, wolfe) = (options.flag("maximize"), options.flag("strong_wolfe"));
        let max_iter = max_iter as usize;
        let max_eval = options.number("max_eval");
        let max_eval = if max_eval.is_nan() { max_iter * 5 / 4 } else { max_eval as usize };
        let arrived = |grad: &Tensor| Ok::<bool, Error>(largest(grad)? <= options.number("tolerance_grad"));
        let (mut loss, mut grad) = self.line.look(first, maximize)?;
        let mut evals = 1;
        self.memory.func_evals += 1;
        if arrived(&grad)? {
            return Ok(());
        }
        for iteration in 1..=max_iter {
            self.memory.n_iter += 1;
            let direction = self.direction(&grad)?;
            let from_start = self.memory.n_iter == 1;
            let mut t = if from_start { (1.0 / grad.abs().sum(..).item()?).min(1.0) * lr } else { lr };
            let previous = loss;
            let slope = dot(&grad, &direction)?;
            self.memory.last = Some(Last { direction: direction.clone(), t, grad: grad.clone(), loss });
            // Written so that a slope that is no number goes on, as in torch.
            if slope > -tolerance_change {
                break;
            }
            let from = self.line.values()?;
            let mut asked = 0;
            let mut done = false;
            if wolfe {
                let start = Point { t: 0.0, loss, grad: grad.clone(), slope };
                let (line, closure) = (self.line, &mut self.closure);
                let mut at = |t: f64| {
                    line.move_to(&from, t, &direction)?;
                    let (loss, grad) = line.look(&closure(), maximize)?;
                    let slope = dot(&grad, &direction)?;
                    Ok(Point { t, loss, grad, slope })
                };
                let (longest, max_steps) = (largest(&direction)?, max_eval.saturating_sub(evals));
                let found = Search { start, longest, tolerance_change, max_steps, at: &mut at }.run(t)?;
                (t, loss, grad, asked) = (found.0.t, found.0.loss, found.0.grad, found.1);
                self.line.move_to(&from, t, &direction)?;
                done = arrived(&grad)?;
            } else {
                self.line.move_to(&from, t, &direction)?;
                // Torch does not ask after the last iteration: with samples that change the answer would be of no use.
                if iteration != max_iter {
                    (loss, grad) = self.line.look(&(self.closure)(), maximize)?;
                    done = arrived(&grad)?;
                    asked = 1;
                }
            }
            self.memory.last.iter_mut().for_each(|last| last.t = t);
            evals += asked;
            self.memory.func_evals += asked;
            let still = largest(&direction)? * t.abs() <= tolerance_change;
            if evals >= max_eval || done || still || (loss - previous).abs() < tolerance_change {
                break;
            }
        }
        Ok(())
    }

    /// The approximate inverse Hessian times the gradient, downhill, with the last change taken into it.
    fn direction(&mut self, grad: &Tensor) -> Result<Tensor> {
        let memory = &mut self.memory;
        let Some(last) = memory.last.take().filter(|_| memory.n_iter > 1) else {
            (memory.changes, memory.scale) = (Vec::new(), 1.0);
            return plus(&grad.zeros_like(), grad, -1.0);
        };
        let (change, step) = (plus(grad, &last.grad, -1.0)?, plus(&grad.zeros_like(), &last.direction, last.t)?);
        let product = dot(&change, &step)?;
        if product > 1e-10 {
            memory.scale = product / dot(&change, &change)?;
            if memory.changes.len() >= self.options.number("history_size") as usize {
                drop(memory.changes.remove(0));
            }
            memory.changes.push((change, step, 1.0 / product));
        }
        let mut q = plus(&grad.zeros_like(), grad, -1.0)?;
        let mut weights = vec![0.0; memory.changes.len()];
        for (weight, (change, step, reciprocal)) in weights.iter_mut().zip(&memory.changes).rev() {
            *weight = dot(step, &q)? * reciprocal;
            q = plus(&q, change, -*weight)?;
        }
        q = plus(&q.zeros_like(), &q, memory.scale)?;
        for (weight, (change, step, reciprocal)) in weights.iter().zip(&memory.changes) {
            let back = dot(change, &q)? * reciprocal;
            q = plus(&q, step, weight - back)?;
        }
        Ok(q)
    }
}

/// Nothing is kept for each parameter alone.
fn keeps(_options: &Options, _shape: &Shape) -> Vec<Kept> {
    Vec::new()
}

impl Optimizer for LBFGS {
    fn record(&mut self, _grads: &Gradients) -> Result<()> {
        let error = Error::new("LBFGS: a step needs the loss at several places, not one loss or its gradients");
        Err(error.help("step_with(|| the loss)"))
    }

    fn add_param_group(&mut self, _group: Group) -> Result<()> {
        Err(Error::new("LBFGS: there can be only one group").help("Group::of with all parameters"))
    }

    fn core(&self) -> &CoreRef {
        &self.core
    }

    fn core_mut(&mut self) -> &mut CoreRef {
        &mut self.core
    }

    #[track_caller]
    fn step_by(&mut self, closure: &mut dyn FnMut() -> Tensor) -> Result<StepLoss> {
        let here = Location::caller();
        let _scope = enter();
        located(self.run(closure), here)
    }

    fn state_dict(&self) -> StateDict {
        let mut state = self.core.0.state_dict(keeps);
        let (memory, name) = (&self.memory, self.name());
        let mut put = |what: &str, value: Tensor| state.insert(format!("state.{name}.{what}"), value);
        put("func_evals", Tensor::from(memory.func_evals as i64));
        put("n_iter", Tensor::from(memory.n_iter as i64));
        put("H_diag", Tensor::from(memory.scale));
        if let Some(last) = &memory.last {
            put("d", last.direction.clone());
            put("t", Tensor::from(last.t));
            put("prev_flat_grad", last.grad.clone());
            put("prev_loss", Tensor::from(last.loss));
        }
        if !memory.changes.is_empty() {
            let all = |of: fn(&(Tensor, Tensor, f64)) -> &Tensor| {
                Tensor::stack(&memory.changes.iter().map(of).collect::<Vec<_>>(), 0)
            };
            put("old_dirs", all(|change| &change.0));
            put("old_stps", all(|change| &change.1));
            put("ro", Tensor::from(memory.changes.iter().map(|change| change.2).collect::<Vec<f64>>()));
        }
        state
    }

    fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        let (name, length) = (self.name(), self.core.0.parameters().iter().map(|(_, p)| p.numel()).sum::<usize>());
        let get = |what: &str| state.get(&format!("state.{name}.{what}"));
        let vector = |value: &Tensor| {
            if *value.shape() != Shape::from([length]) {
                let have = value.shape();
                return Err(Error::new(format!("LBFGS: a vector of the state has shape {have}, not [{length}]")));
            }
            value.eval()?;
            Ok(value.detach())
        };
        let count = |what: &str| Ok(get(what).map_or(Ok(0), Tensor::item_i64)?.max(0) as usize);
        let mut memory = Memory { func_evals: count("func_evals")?, n_iter: count("n_iter")?, ..Memory::default() };
        memory.scale = get("H_diag").map_or(Ok(1.0), Tensor::item)?;
        if let (Some(direction), Some(t), Some(grad), Some(loss)) =
            (get("d"), get("t"), get("prev_flat_grad"), get("prev_loss"))
        {
            let (direction, grad) = (vector(direction)?, vector(grad)?);
            memory.last = Some(Last { direction, t: t.item()?, grad, loss: loss.item()? });
        }
        if let (Some(changes), Some(steps), Some(products)) = (get("old_dirs"), get("old_stps"), get("ro")) {
            for (i, reciprocal) in products.to_vec::<f64>()?.into_iter().enumerate() {
                let row = |of: &Tensor| vector(&of.select(0, i as isize));
                memory.changes.push((row(changes)?, row(steps)?, reciprocal));
            }
        }
        self.core.0.load_state_dict(state, keeps)?;
        self.memory = memory;
        Ok(())
    }
}
