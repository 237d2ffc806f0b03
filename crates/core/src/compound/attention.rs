//! Scaled dot-product attention (Vaswani et al. 2017).

use limpid_kernels::{DType, Number, attention};

use crate::compound::softmax::wide;
use crate::compound::{Compound, Fault, Io, call_many};
use crate::error::{Error, Result};
use crate::op::contract::{dot, transpose};
use crate::op::{elementwise, movement, source};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// softmax(q·kᵀ·scale + mask)·v. q [B, T, D], k [B, S, D], v [B, S, E], and where there is one the mask that is
/// added, [B or 1, T or 1, S or 1]. Results: y [B, T, E], and log Σ exp of each row's scores [B, T]. A row without
/// any key gives zeros, as torch does.
#[derive(Debug)]
struct Attention {
    scale: f64,
    causal: bool,
    mask: bool,
}

impl Compound for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.extend([u64::from(self.causal) | u64::from(self.mask) << 1, self.scale.to_bits()]);
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
        if self.mask {
            scores = scores + wide(&inputs[3]);
        }
        let shape = scores.shape().clone();
        let barred = source::constant(Number::Float(f64::NEG_INFINITY), scores.dtype()).expand_to(&shape);
        if self.causal {
            let (key, query) = (source::iota(shape.clone(), 2), source::iota(shape.clone(), 1));
            scores = elementwise::select(&key.le(&query), &scores, &barred);
        }
        let lowest = source::constant(Number::Float(f64::NEG_INFINITY), scores.dtype()).expand_to(&shape);
        let max = if shape[2] == 0 { lowest.sum_keepdim(-1) } else { scores.amax_keepdim(-1).detach() };
        let shift = max.zeros_like().where_(&max.eq(max.constant_like(f64::NEG_INFINITY)), &max);
        let weights = (&scores - &shift).exp();
        let sum = weights.sum_keepdim(-1);
        let divisor = sum.constant_like(1.0).where_(&sum.eq(sum.zeros_like()), &sum);
        let y = dot(&(weights / divisor), &v).to_dtype(inputs[0].dtype());
        let lse = sum.log() + shift;
        vec![y, movement::reshape(&lse, Shape::from([shape[0], shape[1]]))]
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (q, k, v) = (&io.shapes[0], &io.shapes[1], &io.shapes[2]);
        let batch = [q[0]];
        let (t, s) = (q[1], k[1]);
        let causal = self.causal.then_some(0);
        let shape = attention::Attention { batch: &batch, t, s, d: q[2], e: v[2], causal, scale: self.scale };
        let strides: Vec<isize> = self
            .mask
            .then(|| &io.shapes[3])
            .map(|m| m.iter().zip(m.strides()).map(|(&n, stride)| if n == 1 { 0 } else { stride }).collect())
            .unwrap_or_default();
        let mask = self.mask.then(|| attention::Mask { data: io.inputs[3], offset: 0, strides: &strides });
        let [out, lse] = &mut io.outputs[..] else { unreachable!("two results") };
        let (out, lse) = (out.reborrow(), lse.reborrow());
        attention::attention(io.cpu, &shape, io.inputs[0], io.inputs[1], io.inputs[2], mask.as_ref(), out, lse);
        Ok(())
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
    /// softmax(q·kᵀ·scale + mask)·v with self as q `[…, T, D]`, k `[…, S, D]`, v `[…, S, E]`, whose batch axes
    /// broadcast. Torch's `scaled_dot_product_attention`.
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
        let shapes = || format!("q {}, k {}, v {}", self.shape(), k.shape(), v.shape());
        if rank < 2 || k.rank() < 2 || v.rank() < 2 {
            return fail(format!("attention: {} need at least 2 axes", shapes()));
        }
        let batches = inputs.map(|t| Shape::from(&t.shape()[..t.rank() - 2]));
        let batch = batches[0].broadcast(&batches[1]).and_then(|joint| joint.broadcast(&batches[2]));
        let fits = k.size(-1) == self.size(-1) && k.size(-2) == v.size(-2);
        let Some(batch) = batch.filter(|_| fits) else {
            return fail(format!("attention: {} do not fit", shapes()));
        };
        if !self.dtype().is_float() || inputs.iter().any(|t| t.dtype() != self.dtype()) {
            return fail(format!("attention: q, k, v are {}, {}, {}", self.dtype(), k.dtype(), v.dtype()));
        }
        let b: usize = batch.elements();
        let (t, s) = (self.size(-2), k.size(-2));
        let flat = |x: &Tensor| {
            let matrix = [x.size(-2), x.size(-1)];
            let wide = movement::broadcast(x, &batch.iter().copied().chain(matrix).collect());
            movement::reshape(&wide, Shape::from([b, matrix[0], matrix[1]]))
        };
        let mut all = vec![flat(self), flat(k), flat(v)];
        let mut mask: Option<Tensor> = None;
        if let Some(given) = &options.mask {
            let full: Shape = batch.iter().copied().chain([t, s]).collect();
            let fits = given.shape().broadcast(&full) == Some(full.clone());
            if !fits || !(given.dtype() == DType::Bool || given.dtype() == self.dtype()) {
                let (have, wants) = (format!("{} {}", given.dtype(), given.shape()), self.dtype());
                return fail(format!("attention: the mask {have} is no bool or {wants} {full}"));
            }
            let added = if given.dtype() == DType::Bool { barrier(given, self.dtype()) } else { given.clone() };
            mask = Some(three_axes(&added, &batch));
        }
        if let Some(length) = &options.length {
            if length.numel() != 1 || length.dtype() != DType::I64 {
                return fail(format!("attention: the length is {} {}, not one i64", length.dtype(), length.shape()));
            }
            let row = Shape::from([1, 1, s]);
            let seen = source::iota(row.clone(), 2).lt(length.reshape([]).expand_to(&row));
            let row = barrier(&seen, self.dtype());
            mask = Some(mask.map_or(row.clone(), |m| m + row));
        }
        all.extend(mask);
        let scale = options.scale.unwrap_or(1.0 / (self.size(-1).max(1) as f64).sqrt());
        let compound = Attention { scale, causal: options.causal, mask: all.len() > 3 };
        let y = call_many(compound, &all.iter().collect::<Vec<_>>()).swap_remove(0);
        let shape: Shape = batch.iter().copied().chain([t, v.size(-1)]).collect();
        movement::reshape(&y, shape)
    }
}

/// 0 where `seen`, −∞ elsewhere: what is added to the scores.
fn barrier(seen: &Tensor, dtype: DType) -> Tensor {
    let zero = source::constant(Number::Float(0.0), dtype).expand_to(seen.shape());
    elementwise::select(seen, &zero, &zero.constant_like(f64::NEG_INFINITY))
}

/// [B or 1, T or 1, S or 1]
fn three_axes(mask: &Tensor, batch: &Shape) -> Tensor {
    let rank = mask.rank();
    let (t, s) = (if rank > 1 { mask.size(-2) } else { 1 }, if rank > 0 { mask.size(-1) } else { 1 });
    let shared = mask.numel() == t * s;
    if shared {
        return movement::reshape(mask, Shape::from([1, t, s]));
    }
    let wide = mask.expand_to(&batch.iter().copied().chain([t, s]).collect());
    movement::reshape(&wide, Shape::from([batch.elements(), t, s]))
}
