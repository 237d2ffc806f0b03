//! Scaled dot-product attention (Vaswani et al. 2017).

use limpid_kernels::{DType, Number};

use crate::compound::softmax::wide;
use crate::compound::{Compound, call_many};
use crate::error::Error;
use crate::op::contract::{dot, transpose};
use crate::op::{elementwise, source};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// softmax(q·kᵀ·scale + mask)·v. q [B, T, D], k [B, S, D], v [B, S, E]; then, where there are any, the mask
/// (bool: true takes part; float: is added) [B, T, S] and the number of keys that count (i64, []).
/// Results: y [B, T, E], and log Σ exp of each row's scores [B, T].
#[derive(Debug)]
struct Attention {
    scale: f64,
    causal: bool,
    mask: bool,
    length: bool,
}

impl Compound for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn key(&self, key: &mut Vec<u64>) {
        let flags = [self.causal, self.mask, self.length];
        key.push(flags.iter().enumerate().map(|(i, &f)| u64::from(f) << i).sum());
        key.push(self.scale.to_bits());
    }

    fn results(&self) -> usize {
        2
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (q, dtype) = &inputs[0];
        let wide = if *dtype == DType::F64 { DType::F64 } else { DType::F32 };
        vec![(q.with(2, inputs[2].0[2]), *dtype), (Shape::from([q[0], q[1]]), wide)]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (q, k, v) = (wide(&inputs[0]), wide(&inputs[1]), wide(&inputs[2]));
        let mut scores = dot(&q, &transpose(&k));
        scores = &scores * scores.constant_like(self.scale);
        let shape = scores.shape().clone();
        let barred = source::constant(Number::Float(f64::NEG_INFINITY), scores.dtype()).expand_to(&shape);
        let mut rest = inputs[3..].iter();
        if self.mask {
            let mask = rest.next().expect("checked by the constructor");
            scores = if mask.dtype() == DType::Bool {
                elementwise::select(mask, &scores, &barred)
            } else {
                scores + wide(mask)
            };
        }
        let key = source::iota(shape.clone(), 2);
        if self.length {
            let length = rest.next().expect("checked by the constructor");
            scores = elementwise::select(&key.lt(&length.expand_to(&shape)), &scores, &barred);
        }
        if self.causal {
            scores = elementwise::select(&key.le(&source::iota(shape, 1)), &scores, &barred);
        }
        let max = scores.amax_keepdim(-1).detach();
        let weights = (&scores - &max).exp();
        let sum = weights.sum_keepdim(-1);
        let y = dot(&(weights / &sum), &v).to_dtype(inputs[0].dtype());
        let lse = sum.log() + max;
        let rows = Shape::from([lse.shape()[0], lse.shape()[1]]);
        vec![y, crate::op::movement::reshape(&lse, rows)]
    }
}

/// What attention leaves out, and how it scales.
#[derive(Clone, Debug, Default)]
pub struct AttentionOptions {
    /// bool (true takes part) or float (is added to the scores), broadcast to `[…, T, S]`.
    pub mask: Option<Tensor>,
    /// Whether query t sees keys 0 to t only.
    pub causal: bool,
    /// The factor of the scores; default 1/√D.
    pub scale: Option<f64>,
    /// How many of the keys count (one i64): a cache that is partly filled. Another length is no other plan.
    pub length: Option<Tensor>,
}

impl Tensor {
    /// softmax(q·kᵀ·scale + mask)·v with self as q `[…, T, D]`, k `[…, S, D]`, v `[…, S, E]`. Torch's
    /// `scaled_dot_product_attention`.
    ///
    /// ```
    /// use limpid_core::{AttentionOptions, Tensor};
    /// let (q, k) = (Tensor::from([[1.0f32, 0.0]]), Tensor::from([[1.0f32, 0.0], [1.0, 0.0]]));
    /// let v = Tensor::from([[1.0f32], [3.0]]);
    /// assert_eq!(q.attention(&k, &v, &AttentionOptions::default()).to_vec::<f32>()?, [2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn attention(&self, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> Tensor {
        let at = std::panic::Location::caller();
        let inputs = [self, k, v];
        let rank = self.rank();
        let fail = |what: String| Tensor::fail_at(at, Error::new(what), &inputs, self.shape().clone(), self.dtype());
        if rank < 2 || k.rank() != rank || v.rank() != rank {
            return fail(format!(
                "attention: q {}, k {}, v {} need the same axes, at least 2",
                self.shape(),
                k.shape(),
                v.shape()
            ));
        }
        let batch: Shape = self.shape()[..rank - 2].iter().copied().collect();
        let same_batch = k.shape().starts_with(&batch) && v.shape().starts_with(&batch);
        if !same_batch || k.size(-1) != self.size(-1) || k.size(-2) != v.size(-2) {
            return fail(format!("attention: q {}, k {}, v {} do not fit", self.shape(), k.shape(), v.shape()));
        }
        if !self.dtype().is_float() || inputs.iter().any(|t| t.dtype() != self.dtype()) {
            return fail(format!("attention: q, k, v are {}, {}, {}", self.dtype(), k.dtype(), v.dtype()));
        }
        let b: usize = batch.elements();
        let (t, s) = (self.size(-2), k.size(-2));
        let flat = |x: &Tensor| crate::op::movement::reshape(x, Shape::from([b, x.size(-2), x.size(-1)]));
        let mut all = vec![flat(self), flat(k), flat(v)];
        if let Some(mask) = &options.mask {
            let full: Shape = batch.iter().copied().chain([t, s]).collect();
            if mask.shape().broadcast(&full) != Some(full.clone())
                || !(mask.dtype() == DType::Bool || mask.dtype() == self.dtype())
            {
                return fail(format!(
                    "attention: the mask {} {} is no bool or {} {full}",
                    mask.dtype(),
                    mask.shape(),
                    self.dtype()
                ));
            }
            all.push(flat(&mask.expand_to(&full)));
        }
        if let Some(length) = &options.length {
            if length.numel() != 1 || length.dtype() != DType::I64 {
                return fail(format!("attention: the length is {} {}, not one i64", length.dtype(), length.shape()));
            }
            all.push(length.reshape([]));
        }
        let scale = options.scale.unwrap_or(1.0 / (self.size(-1).max(1) as f64).sqrt());
        let (mask, length) = (options.mask.is_some(), options.length.is_some());
        let compound = Attention { scale, causal: options.causal, mask, length };
        let y = call_many(compound, &all.iter().collect::<Vec<_>>()).swap_remove(0);
        let shape: Shape = batch.iter().copied().chain([t, v.size(-1)]).collect();
        crate::op::movement::reshape(&y, shape)
    }
}
