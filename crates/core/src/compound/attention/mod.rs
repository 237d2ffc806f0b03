//! Scaled dot-product attention (Vaswani et al. 2017).

mod inputs;

use limpid_kernels::{DType, Number, attention};

use crate::compound::softmax::{self, wide};
use crate::compound::{Compound, Fault, Io, call_many, result};
use crate::error::Result;
use crate::op::contract::{dot, transpose};
use crate::op::{Backward, Grads, elementwise, movement, source};
use crate::region::Meta;
use crate::seeing;
use crate::shape::Shape;
use crate::tensor::{Tensor, numbers};

pub use inputs::AttentionOptions;
use inputs::Flat;

/// softmax(q·kᵀ·scale + mask)·v. q [B, T, D], k [B/g, S, D], v [B/g, S, E]: g samples, one after the other, share
/// their keys. Then, where there are such, the mask that is added, [N or 1, H or 1, T or 1, S or 1] with B = N·H, and
/// the scale, one number; without it the scale is 1/√D. Results: y [B, T, E], and log Σ exp of each row's scores
/// [B, T]. A row without any key gives zeros, as torch does.
#[derive(Debug)]
struct Attention {
    causal: bool,
    mask: bool,
    scale: bool,
}

/// The scale that is not given.
fn usual_scale(d: usize) -> f64 {
    1.0 / (d.max(1) as f64).sqrt()
}

/// N and H: how B samples are numbered by the mask's first two axes.
fn mask_batch(samples: usize, mask: &Shape) -> [usize; 2] {
    let rest = |n: usize| samples.checked_div(n).unwrap_or(1);
    match (mask[0], mask[1]) {
        (1, 1) => [1, samples],
        (1, h) => [rest(h), h],
        (n, _) => [n, rest(n)],
    }
}

/// [B, T, ·] as [B/g, g·T, ·]: the queries that share keys are the rows of one product.
fn rows(t: &Tensor, groups: usize) -> Tensor {
    let [b, t_len, last] = t.dims();
    movement::reshape(t, Shape::from([groups, (b * t_len).checked_div(groups).unwrap_or(0), last]))
}

fn scaled(scores: &Tensor, scale: Option<&Tensor>, d: usize) -> Tensor {
    match scale {
        Some(scale) => scores * movement::reshape(scale, Shape::scalar()).expand_to(scores.shape()),
        None => scores * scores.constant_like(usual_scale(d)),
    }
}

/// The scores [B, T, S] of wide inputs, −∞ where a key is not seen.
fn scores(q: &Tensor, k: &Tensor, mask: Option<&Tensor>, scale: Option<&Tensor>, causal: bool) -> Tensor {
    let [b, t, d] = q.dims();
    let [groups, s, _] = k.dims();
    let shape = Shape::from([b, t, s]);
    let product = dot(&rows(q, groups), &transpose(k));
    let mut scores = scaled(&movement::reshape(&product, shape.clone()), scale, d);
    if let Some(mask) = mask {
        let [n, h] = mask_batch(b, mask.shape());
        scores = scores + movement::reshape(&mask.expand_to(&Shape::from([n, h, t, s])), shape.clone());
    }
    if causal {
        let lowest = source::constant(Number::Float(f64::NEG_INFINITY), scores.dtype()).expand_to(&shape);
        let (key, query) = (source::iota(shape.clone(), 2), source::iota(shape, 1));
        scores = elementwise::select(&key.le(&query), &scores, &lowest);
    }
    scores
}

/// `x`, or 0 where it is −∞: what is subtracted from the scores of a row that sees nothing.
fn finite(x: &Tensor) -> Tensor {
    x.zeros_like().where_(&x.eq(x.constant_like(f64::NEG_INFINITY)), x)
}

/// The weights of the values, [B, T, S], and log Σ exp of the scores, [B, T, 1].
fn weights_of(scores: &Tensor) -> (Tensor, Tensor) {
    let lowest = source::constant(Number::Float(f64::NEG_INFINITY), scores.dtype()).expand_to(scores.shape());
    let max = if scores.size(-1) == 0 { lowest.sum_keepdim(-1) } else { scores.amax_keepdim(-1).detach() };
    let shift = finite(&max);
    let powers = (scores - &shift).exp();
    let sum = powers.sum_keepdim(-1);
    let divisor = sum.constant_like(1.0).where_(&sum.eq(sum.zeros_like()), &sum);
    (powers / divisor, sum.log() + shift)
}

/// Σ weights·v.
fn weighted(weights: &Tensor, v: &Tensor) -> Tensor {
    let [b, t, _] = weights.dims();
    movement::reshape(&dot(&rows(weights, v.size(0)), v), Shape::from([b, t, v.size(-1)]))
}

/// What of a gradient [B, T, S] arrives at a mask of this shape.
fn summed(scores: &Tensor, mask: &Shape) -> Tensor {
    let [b, t, s] = scores.dims();
    let [n, h] = mask_batch(b, mask);
    let full = [n, h, t, s];
    let mut sum = movement::reshape(scores, Shape::from(full));
    for axis in (0..4).filter(|&axis| mask[axis] == 1 && full[axis] != 1) {
        sum = sum.sum_keepdim(axis as isize);
    }
    sum
}

impl Attention {
    /// Mask and scale among the inputs.
    fn extras<'a, T>(&self, inputs: &'a [T]) -> (Option<&'a T>, Option<&'a T>) {
        (self.mask.then(|| &inputs[3]), self.scale.then(|| &inputs[3 + usize::from(self.mask)]))
    }
}

impl Compound for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(u64::from(self.causal) | u64::from(self.mask) << 1 | u64::from(self.scale) << 2);
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
        let (mask, scale) = self.extras(inputs);
        let (weights, lse) = weights_of(&scores(&q, &k, mask.map(wide).as_ref(), scale, self.causal));
        let by_row = Shape::from(&weights.shape()[..2]);
        vec![weighted(&weights, &v).to_dtype(inputs[0].dtype()), movement::reshape(&lse, by_row)]
    }

    /// With weights p and dp = g·vᵀ: dv = pᵀ·g, dscores = p·(dp − Σ p·dp), dq = dscores·k·scale, dk = dscoresᵀ·q·scale.
    ///
    /// The weights are computed again. From lse they would be exp(scores − lse), in one pass less; where scores are
    /// large, the rounding of lse makes that wrong in the fifth digit of f32.
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        // A gradient of lse does not arise from the library's own functions.
        if b.grads[1].is_some() {
            return None;
        }
        let inputs = b.inputs;
        let (mask, scale) = self.extras(inputs);
        let [q, k, v] = [0, 1, 2].map(|i| wide(&inputs[i]));
        let g = wide(b.g());
        let ([samples, t, d], [groups, s, _]) = (q.dims(), k.dims());
        let mut p = softmax::of_rows(&scores(&q, &k, mask.map(wide).as_ref(), scale, self.causal));
        if mask.is_some() {
            // What sees no key is NaN in a softmax.
            let lse = movement::reshape(&result(b, 1), Shape::from([samples, t, 1])).expand_to(p.shape());
            p = elementwise::select(&lse.eq(lse.constant_like(f64::NEG_INFINITY)), &p.zeros_like(), &p);
        }
        let dv = dot(&transpose(&rows(&p, groups)), &rows(&g, groups));
        let dp = movement::reshape(&dot(&rows(&g, groups), &transpose(&v)), Shape::from([samples, t, s]));
        let scores = softmax::of_rows_grad(&p, &dp);
        let of_mask = mask.filter(|_| b.needs[3]).map(|mask| summed(&scores, mask.shape()).to_dtype(mask.dtype()));
        let scores = rows(&scaled(&scores, scale, d), groups);
        let dq = movement::reshape(&dot(&scores, &k), q.shape().clone());
        let dk = dot(&transpose(&scores), &rows(&q, groups));
        let mut grads: Grads = [dq, dk, dv].iter().zip(inputs).map(|(d, x)| Some(d.to_dtype(x.dtype()))).collect();
        grads.extend(mask.map(|_| of_mask));
        grads.extend(scale.map(|_| None));
        Some(grads)
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (q, k, v) = (&io.shapes[0], &io.shapes[1], &io.shapes[2]);
        let (mask_shape, _) = self.extras(io.shapes);
        let (mask, scale) = self.extras(&io.inputs);
        let batch = mask_shape.map_or([q[0], 1], |mask| mask_batch(q[0], mask));
        let strides: Vec<isize> = mask_shape
            .map(|m| m.iter().zip(m.strides()).map(|(&n, stride)| if n == 1 { 0 } else { stride }).collect())
            .unwrap_or_default();
        let mask = mask.map(|&data| attention::Mask { data, offset: 0, strides: &strides });
        let given = scale.and_then(|&scale| numbers(scale).next());
        let shape = attention::Attention {
            batch: &batch,
            shared: q[0].checked_div(k[0]).unwrap_or(1).max(1),
            t: q[1],
            s: k[1],
            d: q[2],
            e: v[2],
            causal: self.causal.then_some(0),
            scale: given.map_or_else(|| usual_scale(q[2]), Number::as_f64),
        };
        let [out, lse] = &mut io.outputs[..] else { unreachable!("two results") };
        let (out, lse) = (out.reborrow(), lse.reborrow());
        if q[0] > 0 {
            attention::attention(io.cpu, &shape, io.inputs[0], io.inputs[1], io.inputs[2], mask.as_ref(), out, lse);
        }
        Ok(())
    }
}

impl Tensor {
    /// softmax(q·kᵀ·scale + mask)·v with self as q `[…, T, D]`, k `[…, S, D]`, v `[…, S, E]`, whose batch axes
    /// broadcast. The matrix of weights is never in memory, unless some are dropped. With `enable_gqa` the third axis
    /// from the end counts heads, and H/G heads of the queries share one of G of the keys, which are not repeated. A
    /// query that sees no key gives zeros. A `tap` finds the weights as `weights` below the path of the module that runs; they
    /// are computed for it alone. Torch's `nn.functional.scaled_dot_product_attention`; Vaswani et al. (2017).
    ///
    /// ```
    /// use limpid_core::{AttentionOptions, Tensor};
    /// let (q, k) = (Tensor::from([[1.0f32, 0.0]]), Tensor::from([[1.0f32, 0.0], [1.0, 0.0]]));
    /// let v = Tensor::from([[1.0f32], [3.0]]);
    /// assert_eq!(q.scaled_dot_product_attention(&k, &v, &AttentionOptions::new()).to_vec::<f32>()?, [2.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn scaled_dot_product_attention(&self, k: &Tensor, v: &Tensor, options: &AttentionOptions) -> Tensor {
        let flat = match Flat::of(self, k, v, options) {
            Ok(flat) => flat,
            Err(error) => return Tensor::fail(error, &[self, k, v], self.shape().clone(), self.dtype()),
        };
        let y = match flat.replaced(self.dtype(), options) {
            Some(weights) => weighted(&weights, &wide(&flat.v)).to_dtype(self.dtype()),
            None => {
                let Flat { q, k, v, mask, scale, .. } = &flat;
                let compound = Attention { causal: options.is_causal, mask: mask.is_some(), scale: scale.is_some() };
                let inputs: Vec<&Tensor> = [q, k, v].into_iter().chain(mask).chain(scale).collect();
                call_many(compound, &inputs).swap_remove(0)
            }
        };
        movement::reshape(&y, flat.batch.iter().copied().chain([self.size(-2), v.size(-1)]).collect())
    }

    /// softmax(q·kᵀ·scale + mask) with self as q `[…, T, D]` and k `[…, S, D]`: the weights `[…, T, S]` by which
    /// [`Tensor::scaled_dot_product_attention`] adds up values, before any is dropped.
    ///
    /// ```
    /// use limpid_core::{AttentionOptions, Tensor};
    /// let (q, k) = (Tensor::from([[1.0f32, 0.0]]), Tensor::from([[0.0f32, 3.0], [0.0, 5.0]]));
    /// assert_eq!(q.attention_weights(&k, &AttentionOptions::new()).to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn attention_weights(&self, k: &Tensor, options: &AttentionOptions) -> Tensor {
        let flat = match Flat::of(self, k, k, options) {
            Ok(flat) => flat,
            Err(error) => return Tensor::fail(error, &[self, k], self.shape().clone(), self.dtype()),
        };
        let shape: Shape = flat.batch.iter().copied().chain([self.size(-2), k.size(-2)]).collect();
        movement::reshape(&flat.weights(options.is_causal).to_dtype(self.dtype()), shape)
    }
}

impl Flat {
    /// The weights that take the place of the kernel's own: with dropout, and where a tap changes them. To one that
    /// only looks at them they are shown beside the kernel, whose result stays the same to the bit.
    #[track_caller]
    fn replaced(&self, dtype: DType, options: &AttentionOptions) -> Option<Tensor> {
        let mut own = None;
        if seeing::tap_wanted("weights") {
            let weights = self.weights(options.is_causal);
            let [_, t, s] = weights.dims();
            let shape = self.batch.iter().copied().chain([t, s]).collect();
            let shown = movement::reshape(&weights.to_dtype(dtype), shape);
            own = seeing::aside("weights", &shown).map(|new| movement::reshape(&wide(&new), weights.shape().clone()));
        }
        if options.dropout_p == 0.0 {
            return own;
        }
        let weights = match own {
            Some(weights) => weights,
            None => self.weights(options.is_causal),
        };
        Some(weights.dropout(options.dropout_p))
    }

    /// The weights of the values [B, T, S], in the type in which the halves are computed.
    #[track_caller]
    fn weights(&self, causal: bool) -> Tensor {
        let mask = self.mask.as_ref().map(wide);
        weights_of(&scores(&wide(&self.q), &wide(&self.k), mask.as_ref(), self.scale.as_ref(), causal)).0
    }
}
