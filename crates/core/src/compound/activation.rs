//! Activations whose own gradient is better than their body's: it reads the result, or it is smooth.

use limpid_kernels::DType;
use smallvec::smallvec;

use crate::compound::{Compound, call_one};
use crate::op::{Backward, Grads, Saves, elementwise};
use crate::region::Meta;
use crate::tensor::Tensor;

/// y = x where x > 0, else 0; NaN stays. The gradient at 0 is 0, as in torch.
#[derive(Debug)]
struct Relu;

impl Compound for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn key(&self, _key: &mut Vec<u64>) {}

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        inputs.to_vec()
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = &inputs[0];
        let zero = x.zeros_like();
        vec![elementwise::select(&x.le(&zero), &zero, x)]
    }

    /// g where y > 0, else 0: reads the result, which the next layer keeps anyway.
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let (g, y) = (b.g(), crate::compound::first_result(b));
        let zero = g.zeros_like();
        Some(smallvec![Some(elementwise::select(&y.le(&zero), &zero, g))])
    }

    fn saves(&self) -> Saves {
        Saves::OUTPUT
    }
}

/// y = log(1 + eˣ) = max(x, 0) + log1p(exp(−|x|)), without overflow. The body has an edge at 0 that the function has
/// not: the gradient of its own is smooth, so that second derivatives are right there.
#[derive(Debug)]
struct Softplus;

impl Compound for Softplus {
    fn name(&self) -> &'static str {
        "softplus"
    }

    fn key(&self, _key: &mut Vec<u64>) {}

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        inputs.to_vec()
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = &inputs[0];
        vec![x.maximum(x.zeros_like()) + (-x.abs()).exp().log1p()]
    }

    /// g·sigmoid(x)
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        Some(smallvec![Some(b.g() * b.inputs[0].sigmoid())])
    }

    fn saves(&self) -> Saves {
        Saves::INPUTS
    }
}

impl Tensor {
    /// log(1 + eˣ) without overflow. Torch's `softplus`, without the threshold above which torch returns x.
    #[track_caller]
    pub fn softplus(&self) -> Tensor {
        call_one(Softplus, &[&self.to_float()])
    }

    /// max(0, x), element by element; NaN stays NaN. The gradient at 0 is 0. Torch's `relu`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert_eq!(Tensor::from([-1.0f32, 0.0, 2.0]).relu().to_vec::<f32>()?, [0.0, 0.0, 2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn relu(&self) -> Tensor {
        if self.dtype() == DType::Bool {
            return self.clone();
        }
        call_one(Relu, &[self])
    }
}
