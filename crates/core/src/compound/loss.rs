//! Cross entropies: of logits with class indices, of probabilities with probabilities.

use limpid_kernels::{DType, loss};
use smallvec::smallvec;

use crate::compound::softmax::wide;
use crate::compound::{Compound, Fault, Io, call_many, call_one, result};
use crate::error::{Error, Result};
use crate::op::movement::reshape;
use crate::op::{Backward, Grads, Saves, elementwise, index};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// One loss a row: log Σ exp(x) − x[target]; 0 where the target is `ignore`. Results: loss, lse (f32 for the
/// halves). A class out of range fails the run before anything is written.
#[derive(Debug)]
struct CrossEntropy {
    ignore: i64,
}

/// The class, and 0 where it is ignored; whether it counts.
fn safe_target(target: &Tensor, ignore: i64) -> (Tensor, Tensor) {
    let counts = target.ne(target.constant_like(ignore as f64));
    (elementwise::select(&counts, target, &target.zeros_like()), counts)
}

fn column(t: &Tensor) -> Tensor {
    reshape(t, Shape::from([t.numel(), 1]))
}

impl Compound for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(self.ignore as u64);
    }

    fn results(&self) -> usize {
        2
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (shape, dtype) = &inputs[0];
        let rows = Shape::from([shape[0]]);
        let wide = if *dtype == DType::F64 { DType::F64 } else { DType::F32 };
        vec![(rows.clone(), *dtype), (rows, wide)]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, target) = (wide(&inputs[0]), &inputs[1]);
        let max = x.amax_keepdim(-1).detach();
        let lse = (&x - &max).exp().sum_keepdim(-1).log() + max;
        let (class, counts) = safe_target(target, self.ignore);
        let picked = index::gather(&x, 1, &column(&class));
        let loss = &lse - picked;
        let loss = elementwise::select(&column(&counts), &loss, &loss.zeros_like());
        let rows = Shape::from([target.numel()]);
        vec![reshape(&loss.to_dtype(inputs[0].dtype()), rows.clone()), reshape(&lse, rows)]
    }

    /// (softmax − onehot)·g
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        if b.grads[1].is_some() {
            return None;
        }
        let compound = CrossEntropyGrad { ignore: self.ignore };
        let inputs = [&b.inputs[0], &result(b, 1), &b.inputs[1], b.g()];
        Some(smallvec![Some(call_one(compound, &inputs)), None])
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn may_fail(&self) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (rows, classes) = (io.shapes[0][0], io.shapes[0][1]);
        let [out, lse] = &mut io.outputs[..] else { unreachable!("two results") };
        let (out, lse) = (out.reborrow(), lse.reborrow());
        loss::cross_entropy(io.cpu, rows, classes, io.inputs[0], io.inputs[1], self.ignore, out, lse)
            .map_err(|fault| Fault::Index { axis: 1, fault })
    }
}

/// The gradient by the logits, from logits, lse, target and the gradient of each row's loss.
#[derive(Debug)]
struct CrossEntropyGrad {
    ignore: i64,
}

impl Compound for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(self.ignore as u64);
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![inputs[0].clone()]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, lse, target, g) = (wide(&inputs[0]), &inputs[1], &inputs[2], wide(&inputs[3]));
        let probability = (&x - column(lse)).exp();
        let (class, counts) = safe_target(target, self.ignore);
        let classes = crate::op::source::iota(x.shape().clone(), 1);
        let hit = classes.eq(column(&class).expand_to(x.shape()));
        let onehot = elementwise::cast(&hit, x.dtype());
        let slope = (probability - onehot) * column(&g);
        let gx = elementwise::select(&column(&counts).expand_to(x.shape()), &slope, &slope.zeros_like());
        vec![gx.to_dtype(inputs[0].dtype())]
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (rows, classes) = (io.shapes[0][0], io.shapes[0][1]);
        let [x, lse, target, g] = io.inputs[..] else { unreachable!("four inputs") };
        loss::cross_entropy_grad(io.cpu, rows, classes, x, lse, target, self.ignore, g, io.outputs[0].reborrow());
        Ok(())
    }
}

/// −(t·log p + (1 − t)·log(1 − p)) for each element, with logarithms of at least −100.
#[derive(Debug)]
struct BinaryCrossEntropy;

/// log p and log(1 − p), at least −100.
fn logs(p: &Tensor) -> (Tensor, Tensor) {
    let cut = |log: Tensor| {
        let least = log.constant_like(-100.0);
        elementwise::select(&log.lt(&least), &least, &log)
    };
    (cut(p.log()), cut((-p).log1p()))
}

impl Compound for BinaryCrossEntropy {
    fn name(&self) -> &'static str {
        "binary_cross_entropy"
    }

    fn key(&self, _key: &mut Vec<u64>) {}

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![inputs[0].clone()]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (p, t) = (wide(&inputs[0]), wide(&inputs[1]));
        let (log, log_rest) = logs(&p);
        let loss = (&t - t.constant_like(1.0)) * log_rest - t * log;
        vec![loss.to_dtype(inputs[0].dtype())]
    }

    /// g·(p − t) / max(p·(1 − p), 1e-12), which is finite where p is 0 or 1; g·(log(1 − p) − log p).
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let (p, t, g) = (wide(&b.inputs[0]), wide(&b.inputs[1]), wide(b.g()));
        let dtype = b.g().dtype();
        let by_input = || {
            let product = &p * (p.constant_like(1.0) - &p);
            let least = product.constant_like(1e-12);
            let divisor = elementwise::select(&product.lt(&least), &least, &product);
            (&g * ((&p - &t) / divisor)).to_dtype(dtype)
        };
        let by_target = || {
            let (log, log_rest) = logs(&p);
            (&g * (log_rest - log)).to_dtype(dtype)
        };
        Some(smallvec![b.needs[0].then(by_input), b.needs[1].then(by_target)])
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
}

/// −log softmax(logits)[target] for each row: logits [rows, classes], target i64 [rows]; 0 where the
/// target is `ignore`. Shapes and types are checked by the caller.
#[track_caller]
pub(crate) fn cross_entropy_rows(logits: &Tensor, target: &Tensor, ignore: i64) -> Tensor {
    call_many(CrossEntropy { ignore }, &[logits, target]).swap_remove(0)
}

impl Tensor {
    /// The cross entropy of each row of logits `[rows, classes]` with class indices `[rows]` (i64):
    /// `−log softmax(x)[target]`, and 0 where the target is `ignore_index`. The mean over the rows that
    /// count is torch's `cross_entropy`.
    ///
    /// # Errors
    /// At the read, when a class is out of range.
    #[track_caller]
    pub fn cross_entropy_rows(&self, target: &Tensor, ignore_index: i64) -> Tensor {
        let fits = self.rank() == 2 && target.rank() == 1 && target.size(0) == self.size(0);
        let types = self.dtype().is_float() && target.dtype() == DType::I64;
        if fits && types {
            return cross_entropy_rows(self, target, ignore_index);
        }
        let error = Error::new(format!(
            "cross_entropy: logits {} {} and classes {} {} are not float [rows, classes] and i64 [rows]",
            self.dtype(),
            self.shape(),
            target.dtype(),
            target.shape()
        ));
        Tensor::fail(error, &[self, target], Shape::from([self.size(0)]), self.dtype())
    }

    /// −(t·log p + (1 − t)·log(1 − p)) for each element of the probabilities p = self and of `target`, which has
    /// the same shape. Logarithms are at least −100, and the gradient is (p − t) / max(p·(1 − p), 1e-12). Torch's
    /// `binary_cross_entropy` with the reduction `"none"`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let loss = Tensor::from([0.0f32, 1.0]).binary_cross_entropy_elements(&Tensor::from([1.0f32, 1.0]));
    /// assert_eq!(loss.to_vec::<f32>()?, [100.0, 0.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn binary_cross_entropy_elements(&self, target: &Tensor) -> Tensor {
        if target.shape() != self.shape() {
            let what = format!("binary_cross_entropy: input {}, target {}", self.shape(), target.shape());
            return Tensor::fail(Error::new(what), &[self, target], self.shape().clone(), self.dtype());
        }
        let p = self.to_float();
        call_one(BinaryCrossEntropy, &[&p, &target.to_dtype(p.dtype())])
    }
}
