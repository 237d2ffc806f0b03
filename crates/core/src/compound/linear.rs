//! y = x·Wᵀ + b.

use limpid_kernels::DType;
use limpid_kernels::fused::ReduceFn;
use smallvec::smallvec;

use crate::compound::{Compound, call_one};
use crate::error::Error;
use crate::op::contract::{dot, transpose};
use crate::op::movement::{broadcast, reshape};
use crate::op::{Backward, Grads, Saves, reduce};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// x [..., in], W [out, in], b [out] → [..., out]. There is no kernel of its own: the body is one matrix
/// product whose epilogue adds the bias, and passes may join the activation to it.
#[derive(Debug)]
struct Linear;

/// All axes but the last as one.
fn rows(x: &Tensor) -> Tensor {
    let last = x.shape()[x.rank() - 1];
    let rows = x.shape()[..x.rank() - 1].iter().product::<usize>();
    reshape(x, Shape::from([rows, last]))
}

impl Compound for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn key(&self, _key: &mut Vec<u64>) {}

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (x, w) = (&inputs[0], &inputs[1]);
        vec![(x.0.with(x.0.rank() - 1, w.0[0]), x.1)]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, w) = (&inputs[0], &inputs[1]);
        let mut y = dot(&rows(x), &transpose(w));
        if let Some(bias) = inputs.get(2) {
            y = &y + broadcast(bias, y.shape());
        }
        let shape = x.shape().with(x.rank() - 1, w.shape()[0]);
        vec![reshape(&y, shape)]
    }

    /// g·W ; gᵀ·x ; Σ g
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let (x, w, g) = (&b.inputs[0], &b.inputs[1], rows(b.g()));
        let mut grads: Grads = smallvec![
            b.needs[0].then(|| reshape(&dot(&g, w), x.shape().clone())),
            b.needs[1].then(|| dot(&transpose(&g), &rows(x))),
        ];
        if b.inputs.len() > 2 {
            let sum = || reduce::reduce(ReduceFn::Sum, &g, &smallvec![0]);
            grads.push(b.needs[2].then(|| reshape(&sum(), b.inputs[2].shape().clone())));
        }
        Some(grads)
    }

    fn saves(&self) -> Saves {
        Saves { inputs: 0b11, output: false }
    }
}

impl Tensor {
    /// y = x·Wᵀ + b over the last axis: x `[..., in]`, `weight` `[out, in]`, `bias` `[out]`. With `weight` `[in]`
    /// and `bias` `[]` the last axis disappears. Torch's `nn.functional.linear`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[2.0f32, 3.0]]);
    /// let y = x.linear(&Tensor::from([[0.5f32, 0.2]]), Some(&Tensor::from([1.0f32])));
    /// assert_eq!(y.to_vec::<f32>()?, [2.6]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let at = std::panic::Location::caller();
        if weight.rank() == 1 && bias.is_none_or(|b| b.rank() == 0) {
            let bias = bias.map(|b| b.unsqueeze(0));
            let y = self.linear(&weight.unsqueeze(0), bias.as_ref());
            return if y.error().is_some() { y } else { y.squeeze(-1) };
        }
        let inputs: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        let (out, within) = (weight.size(0), weight.size(-1));
        let guess = if self.rank() == 0 { Shape::from([out]) } else { self.shape().with(self.rank() - 1, out) };
        let fail = |error: Error| Tensor::fail_at(at, error, &inputs, guess.clone(), self.dtype());
        if weight.rank() != 2 || bias.is_some_and(|b| b.shape()[..] != [out]) {
            let bias = bias.map_or_else(|| "none".to_owned(), |b| b.shape().to_string());
            return fail(Error::new(format!(
                "linear: weight {} and bias {bias} are not [out, in] and [out]",
                weight.shape()
            )));
        }
        if self.rank() == 0 || self.size(-1) != within {
            let have = if self.rank() == 0 { 1 } else { self.size(-1) };
            let flat = self.numel().checked_div(self.size(0)).filter(|&n| self.rank() > 1 && n == within);
            let mut help = format!("Linear::new({have}, {out})");
            if let Some(n) = flat {
                help = format!("flatten(1) to [{}, {n}]", self.size(0));
            }
            return fail(
                Error::new(format!(
                    "linear: inner sizes differ: {} × [{within}, {out}]; {have} ≠ {within}",
                    self.shape()
                ))
                .help(help),
            );
        }
        if inputs.iter().any(|t| t.dtype() != self.dtype()) || self.dtype() == DType::Bool {
            let types: Vec<String> = inputs.iter().map(|t| t.dtype().to_string()).collect();
            return fail(
                Error::new(format!("linear: types differ: {}", types.join(", ")))
                    .help(format!("x.to_dtype(DType::{:?})", weight.dtype())),
            );
        }
        call_one(Linear, &inputs)
    }
}
