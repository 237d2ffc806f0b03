//! Layer normalisation (Ba, Kiros, Hinton 2016).

use limpid_kernels::{DType, norm};
use smallvec::smallvec;

use crate::compound::softmax::wide;
use crate::compound::{Compound, Fault, Io, call_many, result};
use crate::error::{Error, Result};
use crate::op::movement::reshape;
use crate::op::{Backward, Grads, Saves};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Over the last axis: y = (x − mean)·rstd·weight + bias, rstd = 1/√(var + eps), var biased. Results: y,
/// mean, rstd (one a row; f32 for the halves). Inputs: x [rows, cols], then weight and bias where `affine`.
#[derive(Debug)]
struct LayerNorm {
    eps: f64,
    weight: bool,
    bias: bool,
}

fn statistic_type(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

impl Compound for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.extend([self.eps.to_bits(), u64::from(self.weight) | u64::from(self.bias) << 1]);
    }

    fn results(&self) -> usize {
        3
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (shape, dtype) = &inputs[0];
        let statistic = (shape.with(1, 1), statistic_type(*dtype));
        vec![(shape.clone(), *dtype), statistic.clone(), statistic]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = wide(&inputs[0]);
        let mean = x.mean_keepdim(-1);
        let centred = &x - &mean;
        let variance = (&centred * &centred).mean_keepdim(-1);
        let rstd = variance.constant_like(1.0) / (&variance + variance.constant_like(self.eps)).sqrt();
        let mut y = centred * &rstd;
        let mut rest = inputs[1..].iter();
        if self.weight {
            y = y * wide(rest.next().expect("checked by the constructor"));
        }
        if self.bias {
            y = y + wide(rest.next().expect("checked by the constructor"));
        }
        vec![y.to_dtype(inputs[0].dtype()), mean, rstd]
    }

    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        // Gradients of mean and rstd arise only in second derivatives: then the body serves.
        if b.grads[1].is_some() || b.grads[2].is_some() {
            return None;
        }
        let (mean, rstd) = (result(b, 1), result(b, 2));
        let mut inputs = vec![&b.inputs[0], &mean, &rstd, b.g()];
        if self.weight {
            inputs.push(&b.inputs[1]);
        }
        let found = call_many(LayerNormGrad { weight: self.weight }, &inputs);
        let like = |t: &Tensor, i: usize| reshape(t, b.inputs[i].shape().clone());
        let mut grads: Grads = smallvec![Some(found[0].clone())];
        if self.weight {
            grads.push(Some(like(&found[1], 1)));
        }
        if self.bias {
            grads.push(Some(like(&found[2], 1 + usize::from(self.weight))));
        }
        Some(grads)
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (rows, cols) = io.rows(0);
        let mut rest = io.inputs[1..].iter().copied();
        let weight = self.weight.then(|| rest.next()).flatten();
        let bias = self.bias.then(|| rest.next()).flatten();
        let [out, mean, rstd] = &mut io.outputs[..] else { unreachable!("three results") };
        let (out, mean, rstd) = (out.reborrow(), mean.reborrow(), rstd.reborrow());
        norm::layer_norm(io.cpu, rows, cols, self.eps, io.inputs[0], weight, bias, out, mean, rstd);
        Ok(())
    }
}

/// The gradients of [`LayerNorm`] by x, weight and bias, from x, mean, rstd, g and the weight.
#[derive(Debug)]
struct LayerNormGrad {
    weight: bool,
}

impl Compound for LayerNormGrad {
    fn name(&self) -> &'static str {
        "layer_norm_grad"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(u64::from(self.weight));
    }

    fn results(&self) -> usize {
        3
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (shape, dtype) = &inputs[0];
        let sum = (Shape::from([1, shape[1]]), *dtype);
        vec![(shape.clone(), *dtype), sum.clone(), sum]
    }

    /// With x̂ = (x − mean)·rstd and h = g·weight: dx = rstd·(h − mean(h) − x̂·mean(h·x̂)), dweight = Σ g·x̂,
    /// dbias = Σ g.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, mean, rstd, g) = (wide(&inputs[0]), &inputs[1], &inputs[2], wide(&inputs[3]));
        let normal = (x - mean) * rstd;
        let h = if self.weight { &g * wide(&inputs[4]) } else { g.clone() };
        let dx = rstd * (&h - h.mean_keepdim(-1) - &normal * (&h * &normal).mean_keepdim(-1));
        let dtype = inputs[0].dtype();
        let results = [dx, (&g * &normal).sum_keepdim(0), g.sum_keepdim(0)];
        results.into_iter().map(|t| t.to_dtype(dtype)).collect()
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (rows, cols) = io.rows(0);
        let weight = self.weight.then(|| io.inputs[4]);
        let [dx, dw, db] = &mut io.outputs[..] else { unreachable!("three results") };
        let (dx, dw, db) = (dx.reborrow(), Some(dw.reborrow()), Some(db.reborrow()));
        norm::layer_norm_grad(
            io.cpu,
            rows,
            cols,
            io.inputs[0],
            weight,
            io.inputs[1],
            io.inputs[2],
            io.inputs[3],
            dx,
            dw,
            db,
        );
        Ok(())
    }
}

impl Tensor {
    /// (x − mean) / √(var + eps) · weight + bias over the last axes, whose sizes are `normalized_shape`;
    /// the variance is the biased one. Torch's `nn.functional.layer_norm`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([[1.0f32, 3.0]]).layer_norm([2], None, None, 0.0);
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn layer_norm(
        &self,
        normalized_shape: impl Into<Shape>,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Tensor {
        let at = std::panic::Location::caller();
        let normalized: Shape = normalized_shape.into();
        let inputs: Vec<&Tensor> = std::iter::once(self).chain(weight).chain(bias).collect();
        let fail = |what: String| Tensor::fail_at(at, Error::new(what), &inputs, self.shape().clone(), self.dtype());
        if normalized.rank() == 0 || !self.shape().ends_with(&normalized) {
            return fail(format!("layer_norm: the last axes of {} are not {normalized}", self.shape()));
        }
        if let Some(t) = inputs[1..].iter().find(|t| *t.shape() != normalized || t.dtype() != self.dtype()) {
            return fail(format!(
                "layer_norm: weight and bias must be {} {normalized}, one is {} {}",
                self.dtype(),
                t.dtype(),
                t.shape()
            ));
        }
        if !self.dtype().is_float() {
            return fail(format!("layer_norm: the input is {}, not a float", self.dtype()));
        }
        let cols = normalized.elements();
        let rows = self.shape()[..self.rank() - normalized.rank()].iter().product::<usize>();
        let x = reshape(self, Shape::from([rows, cols]));
        let flat: Vec<Tensor> = inputs[1..].iter().map(|t| reshape(t, Shape::from([cols]))).collect();
        let all: Vec<&Tensor> = std::iter::once(&x).chain(&flat).collect();
        let compound = LayerNorm { eps, weight: weight.is_some(), bias: bias.is_some() };
        reshape(&call_many(compound, &all)[0], self.shape().clone())
    }
}
