//! Softmax and its logarithm.

use limpid_kernels::softmax;
use smallvec::smallvec;

use crate::compound::{Compound, Fault, Io, call_one, first_result};
use crate::error::Result;
use crate::op::{Backward, Grads, Saves, movement};
use crate::region::Meta;
use crate::tensor::Tensor;
use crate::testing::{self, planted};

/// Over the last axis, y = exp(x − max) / Σ exp(x − max), or its logarithm. f16 and bf16 are computed in
/// f32 and rounded once.
#[derive(Debug)]
struct Softmax {
    log: bool,
}

/// The type in which the halves are computed.
pub(crate) fn wide(x: &Tensor) -> Tensor {
    if x.dtype().is_float() && x.dtype().size() < 4 { x.to_dtype(limpid_kernels::DType::F32) } else { x.clone() }
}

impl Compound for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn key(&self, _key: &mut Vec<u64>) {}

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        inputs.to_vec()
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        if inputs[0].numel() == 0 {
            return inputs.to_vec();
        }
        let x = wide(&inputs[0]);
        let shifted = &x - x.amax_keepdim(-1).detach();
        let sum = shifted.exp().sum_keepdim(-1);
        let y = if self.log { shifted - sum.log() } else { shifted.exp() / sum };
        vec![y.to_dtype(inputs[0].dtype())]
    }

    /// softmax: y·(g − Σ g·y) ; log_softmax: g − exp(y)·Σ g
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        Some(smallvec![Some(call_one(
            SoftmaxGrad { log: self.log || planted(testing::Fault::GradientOfSoftmax) },
            &[&first_result(b), b.g()]
        ))])
    }

    fn saves(&self) -> Saves {
        Saves::OUTPUT
    }

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        inputs[0].0.rank() > 0
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (rows, cols) = io.rows(0);
        softmax::softmax(io.cpu, rows, cols, self.log, io.inputs[0], io.outputs[0].reborrow());
        Ok(())
    }
}

/// The gradient of softmax from its result y and the gradient g of it.
#[derive(Debug)]
struct SoftmaxGrad {
    log: bool,
}

impl Compound for SoftmaxGrad {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax_grad" } else { "softmax_grad" }
    }

    fn key(&self, _key: &mut Vec<u64>) {}

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![inputs[0].clone()]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (y, g) = (wide(&inputs[0]), wide(&inputs[1]));
        let gx = if self.log { &g - y.exp() * g.sum_keepdim(-1) } else { &y * (&g - (&g * &y).sum_keepdim(-1)) };
        vec![gx.to_dtype(inputs[0].dtype())]
    }

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        inputs[0].0.rank() > 0
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (rows, cols) = io.rows(0);
        softmax::softmax_grad(io.cpu, rows, cols, self.log, io.inputs[0], io.inputs[1], io.outputs[0].reborrow());
        Ok(())
    }
}

/// Softmax over the last axis.
#[track_caller]
pub(crate) fn of_rows(x: &Tensor) -> Tensor {
    call_one(Softmax { log: false }, &[x])
}

/// The gradient by x of y = [`of_rows`]`(x)`.
#[track_caller]
pub(crate) fn of_rows_grad(y: &Tensor, g: &Tensor) -> Tensor {
    call_one(SoftmaxGrad { log: false }, &[y, g])
}

/// `f` applied with axis `dim` moved to the end.
pub(crate) fn over_last(x: &Tensor, axis: usize, f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    if axis + 1 == x.rank() {
        return f(x);
    }
    let mut axes: crate::op::AxisList = (0..x.rank()).collect();
    axes.swap(axis, x.rank() - 1);
    movement::permute(&f(&movement::permute(x, axes.clone())), axes)
}

impl Tensor {
    #[track_caller]
    fn softmax_of(&self, name: &str, dim: isize, log: bool) -> Tensor {
        let x = self.to_float();
        if x.rank() == 0 {
            return if log { x.zeros_like() } else { x.constant_like(1.0) };
        }
        match x.shape().axis(dim) {
            Some(axis) => over_last(&x, axis, |x| call_one(Softmax { log }, &[x])),
            None => self.bad_axis(name, dim),
        }
    }

    /// exp(x) / Σ exp(x) along `dim`, computed without overflow: probabilities from logits. A row of −∞
    /// gives NaN, as in torch.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let p = Tensor::from([2.0f32, 1.0, 0.1]).softmax(-1).to_vec::<f32>()?;
    /// assert!((p[0] - 0.659).abs() < 5e-4 && (p[1] - 0.242).abs() < 5e-4 && (p[2] - 0.099).abs() < 5e-4);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax(&self, dim: isize) -> Tensor {
        self.softmax_of("softmax", dim, false)
    }

    /// log(softmax(x)) along `dim`, computed without overflow or cancellation.
    #[track_caller]
    pub fn log_softmax(&self, dim: isize) -> Tensor {
        self.softmax_of("log_softmax", dim, true)
    }
}
