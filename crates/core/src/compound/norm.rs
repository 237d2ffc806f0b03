//! Normalisation of rows: layer normalisation (Ba, Kiros, Hinton 2016), and by the root mean square (Zhang, Sennrich
//! 2019).

use limpid_kernels::norm::{self, Rows};
use limpid_kernels::{DType, SliceMut};
use smallvec::{SmallVec, smallvec};

use crate::compound::softmax::wide;
use crate::compound::{Compound, Fault, Io, call_many, result};
use crate::error::{Error, Result};
use crate::op::movement::reshape;
use crate::op::{Backward, Grads, Saves};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Over the last axis: y = (x − mean)·rstd·weight + bias, rstd = 1/√(var + eps), var biased. Where it is not `centred`,
/// 0 stands for the mean. Results: y, mean, rstd (one a row; f32 for the halves). Inputs: x [rows, cols], then weight
/// and bias where there are such.
#[derive(Debug)]
struct RowNorm {
    centred: bool,
    eps: f64,
    weight: bool,
    bias: bool,
}

/// The type of means and deviations of values of `dtype`.
pub(crate) fn statistic_type(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

impl Compound for RowNorm {
    fn name(&self) -> &'static str {
        if self.centred { "layer_norm" } else { "rms_norm" }
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
        let mean = if self.centred { mean } else { mean.zeros_like() };
        let centred = if self.centred { &x - &mean } else { x };
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
        let found = call_many(RowNormGrad { centred: self.centred, weight: self.weight }, &inputs);
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

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        // Rows of no element have no place in a kernel that walks elements.
        inputs[0].0.elements() > 0
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (rows, cols) = io.rows(0);
        let mut rest = io.inputs[1..].iter().copied();
        let weight = self.weight.then(|| rest.next()).flatten();
        let bias = self.bias.then(|| rest.next()).flatten();
        let [out, mean, rstd] = &mut io.outputs[..] else { unreachable!("three results") };
        let (out, mean, rstd) = (out.reborrow(), mean.reborrow(), rstd.reborrow());
        let by = Rows { rows, cols, centred: self.centred };
        norm::row_norm(io.cpu, by, self.eps, io.inputs[0], weight, bias, out, mean, rstd);
        Ok(())
    }
}

/// The gradients of [`RowNorm`] by x, weight and bias, from x, mean, rstd, g and the weight.
#[derive(Debug)]
struct RowNormGrad {
    centred: bool,
    weight: bool,
}

impl Compound for RowNormGrad {
    fn name(&self) -> &'static str {
        if self.centred { "layer_norm_grad" } else { "rms_norm_grad" }
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
    /// dbias = Σ g. Without centring there is no mean(h).
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, mean, rstd, g) = (wide(&inputs[0]), &inputs[1], &inputs[2], wide(&inputs[3]));
        let normal = if self.centred { (x - mean) * rstd } else { x * rstd };
        let h = if self.weight { &g * wide(&inputs[4]) } else { g.clone() };
        let centred = if self.centred { &h - h.mean_keepdim(-1) } else { h.clone() };
        let dx = rstd * (centred - &normal * (&h * &normal).mean_keepdim(-1));
        let dtype = inputs[0].dtype();
        let results = [dx, (&g * &normal).sum_keepdim(0), g.sum_keepdim(0)];
        results.into_iter().map(|t| t.to_dtype(dtype)).collect()
    }

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        // Rows of no element have no place in a kernel that walks elements.
        inputs[0].0.elements() > 0
    }

    /// Without weight and bias nobody asks for their gradients.
    fn may_skip(&self, result: usize) -> bool {
        result > 0
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (rows, cols) = io.rows(0);
        let weight = self.weight.then(|| io.inputs[4]);
        let [dx, dw, db] = &mut io.outputs[..] else { unreachable!("three results") };
        let wanted = |sum: &SliceMut| sum.len() == cols;
        let (dw, db) = (wanted(dw).then(|| dw.reborrow()), wanted(db).then(|| db.reborrow()));
        let dx = dx.reborrow();
        norm::row_norm_grad(
            io.cpu,
            Rows { rows, cols, centred: self.centred },
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

/// [`RowNorm`] of the last axes, whose sizes are `normalized`.
#[track_caller]
fn normalised(
    x: &Tensor,
    centred: bool,
    normalized: &Shape,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Tensor {
    let name = if centred { "layer_norm" } else { "rms_norm" };
    let inputs: SmallVec<[&Tensor; 3]> = std::iter::once(x).chain(weight).chain(bias).collect();
    if let Some(error) = refusal(name, x, &inputs[1..], normalized) {
        return Tensor::fail(error, &inputs, x.shape().clone(), x.dtype());
    }
    let cols = normalized.elements();
    let rows = x.shape()[..x.rank() - normalized.rank()].iter().product::<usize>();
    let mut all: SmallVec<[Tensor; 3]> = smallvec![reshape(x, Shape::from([rows, cols]))];
    for t in &inputs[1..] {
        all.push(reshape(t, Shape::from([cols])));
    }
    let compound = RowNorm { centred, eps, weight: weight.is_some(), bias: bias.is_some() };
    let all: SmallVec<[&Tensor; 3]> = all.iter().collect();
    reshape(&call_many(compound, &all)[0], x.shape().clone())
}

/// Why `x` can not be normalised over the last axes with these factors.
fn refusal(name: &str, x: &Tensor, affine: &[&Tensor], normalized: &Shape) -> Option<Error> {
    if !x.dtype().is_float() {
        return Some(Error::new(format!("{name}: the input is {}, not a float", x.dtype())));
    }
    if normalized.rank() == 0 || !x.shape().ends_with(normalized) {
        return Some(Error::new(format!("{name}: the last axes of {} are not {normalized}", x.shape())));
    }
    let t = affine.iter().find(|t| *t.shape() != *normalized || t.dtype() != x.dtype())?;
    let (dtype, theirs) = (x.dtype(), t.dtype());
    let what = format!("{name}: weight and bias must be {dtype} {normalized}, one is {theirs} {}", t.shape());
    Some(Error::new(what))
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
        normalised(self, true, &normalized_shape.into(), weight, bias, eps)
    }

    /// x / √(mean of x² + eps) · weight over the last axes, whose sizes are `normalized_shape`. Without `eps`, the
    /// distance from 1 to the next number of the type in which it is computed. Torch's `nn.functional.rms_norm`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([[3.0f64, 4.0]]).rms_norm([2], None, Some(0.0));
    /// assert_eq!(y.to_vec::<f64>()?, [3.0 / 12.5f64.sqrt(), 4.0 / 12.5f64.sqrt()]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn rms_norm(&self, normalized_shape: impl Into<Shape>, weight: Option<&Tensor>, eps: Option<f64>) -> Tensor {
        let least = if self.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        normalised(self, false, &normalized_shape.into(), weight, None, eps.unwrap_or(least))
    }
}
