//! Scaled dot-product attention (Vaswani et al. 2017).

mod inputs;

use limpid_kernels::{DType, Number, attention};
use smallvec::smallvec;

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

/// softmax(q·kᵀ·scale + mask)·v. q [N, H, T, D], k [N, G, S, D], v [N, G, S, E]: H/G heads, one after the other, share
/// their keys. Then, where there are such, the mask that is added, [N' or 1, H' or 1, T or 1, S or 1] with N'·H' = N·H;
/// the scale, one number, without which it is 1/√D; how many keys count, one i64. Results: y [N, T, H, E], so that the
/// heads of a query stand together, and the largest score m of each row and Σ exp(score − m), both [N, H, T]. A row
/// without any key gives zeros, as torch does.
#[derive(Clone, Copy, Debug)]
struct Attention {
    causal: bool,
    mask: bool,
    scale: bool,
    length: bool,
}

/// The gradients by q [N, T, H, D], k [N, S, G, D] and v [N, S, G, E]. Inputs: those of [`Attention`], its results, and
/// the gradient of y, [N, H, T, E].
#[derive(Debug)]
struct AttentionGrad(Attention);

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

/// The weights of the values, [B, T, S], the largest score and the sum of powers below it, [B, T, 1].
fn weights_of(scores: &Tensor) -> (Tensor, Tensor, Tensor) {
    let lowest = source::constant(Number::Float(f64::NEG_INFINITY), scores.dtype()).expand_to(scores.shape());
    let nothing = || lowest.sum_keepdim(-1) - lowest.sum_keepdim(-1).constant_like(f64::INFINITY);
    let max = if scores.size(-1) == 0 { nothing() } else { scores.amax_keepdim(-1).detach() };
    let powers = (scores - finite(&max)).exp();
    let sum = powers.sum_keepdim(-1);
    let divisor = sum.constant_like(1.0).where_(&sum.eq(sum.zeros_like()), &sum);
    (powers / divisor, max, sum)
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

/// Mask, scale and length, where there are such.
struct Extras<'a, T> {
    mask: Option<&'a T>,
    scale: Option<&'a T>,
    length: Option<&'a T>,
}

/// [N, H, ·, ·] as [N·H, ·, ·].
fn joined(t: &Tensor) -> Tensor {
    let [n, h, rows, cols] = t.dims();
    movement::reshape(t, Shape::from([n * h, rows, cols]))
}

/// [N·H, ·, ·] as [N, ·, H, ·].
fn by_row(t: &Tensor, n: usize, h: usize) -> Tensor {
    let [_, rows, cols] = t.dims();
    movement::permute(&movement::reshape(t, Shape::from([n, h, rows, cols])), smallvec![0, 2, 1, 3])
}

/// [N, ·, H, ·] as [N, H, ·, ·], or the other way round.
fn turned(t: &Tensor) -> Tensor {
    movement::permute(t, smallvec![0, 2, 1, 3])
}

impl Attention {
    /// What is among the inputs behind q, k and v.
    fn extras<'a, T>(&self, inputs: &'a [T]) -> Extras<'a, T> {
        let mut rest = inputs[3..].iter();
        let mut next = |there: bool| if there { rest.next() } else { None };
        Extras { mask: next(self.mask), scale: next(self.scale), length: next(self.length) }
    }

    /// How many inputs there are.
    fn count(&self) -> usize {
        3 + [self.mask, self.scale, self.length].into_iter().filter(|&there| there).count()
    }

    /// The scores [B, T, S] of wide q [B, T, D] and k, and the mask that counts in them.
    fn scores(&self, q: &Tensor, k: &Tensor, extras: &Extras<'_, Tensor>) -> Tensor {
        let mask = extras.mask.map(wide);
        let row = extras.length.map(|length| inputs::seen(length, k.size(-2), q.dtype()));
        let mask = match (mask, row) {
            (Some(mask), Some(row)) => Some(mask + row),
            (mask, row) => mask.or(row),
        };
        scores(q, k, mask.as_ref(), extras.scale, self.causal)
    }

    /// The gradients [B, T, D], [B/g, S, D], [B/g, S, E] and that of the scores [B, T, S].
    ///
    /// With weights p and dp = g·vᵀ: dv = pᵀ·g, dscores = p·(dp − Σ p·dp), dq = dscores·k·scale, dk = dscoresᵀ·q·scale.
    fn gradients(&self, inputs: &[Tensor], g: &Tensor) -> [Tensor; 4] {
        let extras = self.extras(inputs);
        let [q, k, v, g] = [&inputs[0], &inputs[1], &inputs[2], g].map(|t| wide(&joined(t)));
        let ([samples, t, d], [groups, s, _]) = (q.dims(), k.dims());
        let scores = self.scores(&q, &k, &extras);
        let barred = extras.mask.is_some() || extras.length.is_some();
        // Where all of a row is barred, a softmax is NaN.
        let p = if barred { weights_of(&scores).0 } else { softmax::of_rows(&scores) };
        let dv = dot(&transpose(&rows(&p, groups)), &rows(&g, groups));
        let dp = movement::reshape(&dot(&rows(&g, groups), &transpose(&v)), Shape::from([samples, t, s]));
        let scores = softmax::of_rows_grad(&p, &dp);
        let by_group = rows(&scaled(&scores, extras.scale, d), groups);
        let dq = movement::reshape(&dot(&by_group, &k), q.shape().clone());
        let dk = dot(&transpose(&by_group), &rows(&q, groups));
        [dq, dk, dv, scores]
    }
}

impl Compound for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn key(&self, key: &mut Vec<u64>) {
        let flags = [self.causal, self.mask, self.scale, self.length];
        key.push(flags.iter().fold(0, |bits, &flag| bits << 1 | u64::from(flag)));
    }

    fn results(&self) -> usize {
        3
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (q, dtype) = &inputs[0];
        let wide = if *dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let row = || (Shape::from([q[0], q[1], q[2]]), wide);
        vec![(Shape::from([q[0], q[2], q[1], inputs[2].0[3]]), *dtype), row(), row()]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let [n, h, t, _] = inputs[0].dims();
        let [q, k, v] = [0, 1, 2].map(|i| wide(&joined(&inputs[i])));
        let (weights, max, sum) = weights_of(&self.scores(&q, &k, &self.extras(inputs)));
        let [max, sum] = [max, sum].map(|x| movement::reshape(&x, Shape::from([n, h, t])));
        vec![by_row(&weighted(&weights, &v), n, h).to_dtype(inputs[0].dtype()), max, sum]
    }

    /// The weights are computed again. From log Σ exp they would be exp(score − lse); where scores are large, the rounding
    /// of lse makes that wrong in the fifth digit of f32, so maximum and sum are kept apart.
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        // Gradients of the softmax's parts do not arise from the library's own functions.
        if b.grads[1].is_some() || b.grads[2].is_some() {
            return None;
        }
        let (inputs, g) = (b.inputs, turned(b.g()));
        let extras = self.extras(inputs);
        let mut of_mask = None;
        let mut grads: Grads = match extras.mask.filter(|_| b.needs[3]) {
            Some(mask) => {
                let [dq, dk, dv, scores] = self.gradients(inputs, &g);
                of_mask = Some(summed(&scores, mask.shape()).to_dtype(mask.dtype()));
                let own = |(d, x): (&Tensor, &Tensor)| movement::reshape(d, x.shape().clone()).to_dtype(x.dtype());
                [dq, dk, dv].iter().zip(inputs).map(|pair| Some(own(pair))).collect()
            }
            None => {
                let results = [0, 1, 2].map(|i| result(b, i));
                let all: Vec<&Tensor> = inputs.iter().chain(&results).chain([&g]).collect();
                call_many(AttentionGrad(*self), &all).iter().map(|d| Some(turned(d))).collect()
            }
        };
        grads.extend(extras.mask.map(|_| of_mask));
        grads.extend(inputs[grads.len()..].iter().map(|_| None));
        Some(grads)
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn reads_rows_apart(&self, i: usize) -> bool {
        i < 3
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (shape, inputs) = self.problem(io);
        let [out, maxima, totals] = &mut io.outputs[..] else { unreachable!("three results") };
        attention::attention(io.cpu, &shape, &inputs, out.reborrow(), maxima.reborrow(), totals.reborrow());
        Ok(())
    }
}

impl Attention {
    /// What the kernels take.
    fn problem<'a>(&self, io: &Io<'a>) -> (attention::Attention, attention::Inputs<'a>) {
        let (q, k, v) = (&io.shapes[0], &io.shapes[1], &io.shapes[2]);
        let (shapes, extras) = (self.extras(io.shapes), self.extras(&io.inputs));
        let mask = extras.mask.zip(shapes.mask).map(|(&data, shape)| {
            let own = shape.strides();
            let stride = |i: usize| if shape[i] == 1 { 0 } else { own[i] };
            let [_, heads] = mask_batch(q[0] * q[1], shape);
            attention::Mask { data, offset: 0, heads: heads.max(1), strides: [0, 1, 2, 3].map(stride) }
        });
        let scale = extras.scale.and_then(|&scale| numbers(scale).next());
        let length = extras.length.map(|&length| length.get::<i64>()[0].clamp(0, k[2] as i64) as usize);
        let shape = attention::Attention {
            samples: q[0],
            heads: q[1],
            shared: q[1].checked_div(k[1]).unwrap_or(1).max(1),
            t: q[2],
            s: length.unwrap_or(k[2]),
            d: q[3],
            e: v[3],
            causal: self.causal.then_some(0),
            scale: scale.map_or_else(|| usual_scale(q[3]), Number::as_f64),
        };
        (shape, attention::Inputs { q: io.matrices(0), k: io.matrices(1), v: io.matrices(2), mask })
    }
}

impl Io<'_> {
    /// Input `i`, [N, H, ·, ·], by its strides.
    fn matrices<'a>(&self, i: usize) -> attention::Rows<'a>
    where
        Self: 'a,
    {
        let strides = [0, 1, 2].map(|axis| self.strides[i][axis] as usize);
        attention::Rows { data: self.inputs[i], sample: strides[0], head: strides[1], row: strides[2] }
    }
}

impl Compound for AttentionGrad {
    fn name(&self) -> &'static str {
        "attention_grad"
    }

    fn key(&self, key: &mut Vec<u64>) {
        self.0.key(key);
    }

    fn results(&self) -> usize {
        3
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let turned = |(x, dtype): &Meta| (Shape::from([x[0], x[2], x[1], x[3]]), *dtype);
        inputs[..3].iter().map(turned).collect()
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let [dq, dk, dv, _] = self.0.gradients(inputs, &inputs[inputs.len() - 1]);
        let own = |(d, x): (&Tensor, &Tensor)| by_row(d, x.size(0), x.size(1)).to_dtype(x.dtype());
        [dq, dk, dv].iter().zip(inputs).map(own).collect()
    }

    /// A cache that is partly filled is not trained.
    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        !self.0.length
    }

    fn reads_rows_apart(&self, i: usize) -> bool {
        i < 3 || i == self.0.count() + 3
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (shape, inputs) = self.0.problem(io);
        let count = self.0.count();
        let [out, maxima, totals] = [0, 1, 2].map(|i| io.inputs[count + i]);
        let forward = attention::Forward { out, maxima, totals, grad: io.matrices(count + 3) };
        let [dq, dk, dv] = &mut io.outputs[..] else { unreachable!("three results") };
        attention::attention_grad(io.cpu, &shape, &inputs, &forward, dq.reborrow(), dk.reborrow(), dv.reborrow());
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
            Some(weights) => weighted(&weights, &wide(&joined(&flat.v))).to_dtype(self.dtype()),
            None => {
                let Flat { q, k, v, mask, scale, length, .. } = &flat;
                let inputs: Vec<&Tensor> = [q, k, v].into_iter().chain(mask).chain(scale).chain(length).collect();
                turned(&call_many(flat.compound(options.is_causal), &inputs)[0])
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

    fn compound(&self, causal: bool) -> Attention {
        let (mask, scale, length) = (self.mask.is_some(), self.scale.is_some(), self.length.is_some());
        Attention { causal, mask, scale, length }
    }

    /// The weights of the values [B, T, S], in the type in which the halves are computed.
    #[track_caller]
    fn weights(&self, causal: bool) -> Tensor {
        let extras = Extras { mask: self.mask.as_ref(), scale: self.scale.as_ref(), length: self.length.as_ref() };
        let [q, k] = [&self.q, &self.k].map(|t| wide(&joined(t)));
        weights_of(&self.compound(causal).scores(&q, &k, &extras)).0
    }
}
