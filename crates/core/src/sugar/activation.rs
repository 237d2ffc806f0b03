//! Activations: torch.nn.functional's functions of each element, gates and softmins.
//!
//! Where a formula has two sides, the one that is not taken is computed at 0: a large x would make it infinite, and
//! 0·∞ in its gradient is NaN.

use limpid_kernels::Number;
use limpid_kernels::fused::UnaryFn;

use crate::error::Error;
use crate::op::elementwise;
use crate::sugar::operators::Value;
use crate::sugar::shape::as_type;
use crate::tensor::Tensor;

/// α and λ of Klambauer et al. (2017), for which normally distributed values stay so.
pub(crate) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
pub(crate) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

impl Tensor {
    #[track_caller]
    fn wrong_argument(&self, error: Error) -> Tensor {
        Tensor::fail(error, &[self], self.shape().clone(), self.dtype())
    }

    /// A number in the type of self: integers stay integers.
    fn number(&self, n: f64) -> Value {
        Value::Number(as_type(Number::Float(n), self.dtype()))
    }

    /// x·Φ(x) with Φ the distribution of the normal: x/2·(1 + erf(x/√2)). Torch's `gelu`.
    #[track_caller]
    pub fn gelu(&self) -> Tensor {
        elementwise::unary(UnaryFn::Gelu, &self.to_float())
    }

    /// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))). Torch's `gelu(approximate="tanh")`.
    #[track_caller]
    pub fn gelu_tanh(&self) -> Tensor {
        let x = self.to_float();
        let k = |v: f64| x.constant_like(v);
        let inner = k((2.0 / std::f64::consts::PI).sqrt()) * (&x + k(0.044715) * (&x * &x * &x));
        &x * k(0.5) * (k(1.0) + inner.tanh())
    }

    /// x·sigmoid(x). Torch's `silu`, also called swish.
    #[track_caller]
    pub fn silu(&self) -> Tensor {
        let x = self.to_float();
        &x * x.sigmoid()
    }

    /// x·tanh(softplus(x)) (Misra 2019). Torch's `mish`.
    #[track_caller]
    pub fn mish(&self) -> Tensor {
        let x = self.to_float();
        &x * x.softplus().tanh()
    }

    /// x where x > 0, else `negative_slope`·x. Torch's `leaky_relu`.
    #[track_caller]
    pub fn leaky_relu(&self, negative_slope: f64) -> Tensor {
        let x = self.to_float();
        x.where_(&x.gt(x.zeros_like()), &x * negative_slope)
    }

    /// x where x > 0, else w·x, w of shape `[]`, `[1]` or one for each channel: axis 1, where self has one (He et al. 2015).
    /// Torch's `prelu`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([[-1.0f32, -2.0, 3.0]]);
    /// assert_eq!(x.prelu(&Tensor::from([0.5f32, 0.25, 0.0])).to_vec::<f32>()?, [-0.5, -0.5, 3.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: a weight with more axes, of another number or of another type.
    #[track_caller]
    pub fn prelu(&self, weight: &Tensor) -> Tensor {
        let (x, channels) = (self.to_float(), if self.rank() > 1 { self.shape()[1] } else { 1 });
        let fail = |what: String, help: String| Error::new(what).help(help);
        let error = if weight.rank() > 1 || (weight.numel() != 1 && weight.numel() != channels) {
            let what = format!("prelu: the weight has shape {}, the input {}", weight.shape(), self.shape());
            fail(what, format!("one number, or {channels}: one for each channel (axis 1)"))
        } else if weight.dtype() != x.dtype() {
            fail(format!("prelu: the weight is {}, the input {}", weight.dtype(), x.dtype()), "to_dtype".to_owned())
        } else {
            let mut shape = vec![1isize; self.rank()];
            if weight.numel() != 1 {
                shape[1] = channels as isize;
            }
            let positive = x.gt(x.zeros_like());
            let below = x.masked_fill(&positive, 0.0) * weight.reshape_dims(&shape);
            return x.where_(&positive, below);
        };
        Tensor::fail(error, &[self, weight], self.shape().clone(), x.dtype())
    }

    /// x where x > 0, else r·x with r evenly spread over `lower` … `upper`, drawn for each element from this thread's
    /// generator (Xu et al. 2015). Torch's `rrelu` in training; otherwise it is [`Tensor::leaky_relu`] with the
    /// slope (`lower` + `upper`)/2.
    ///
    /// # Errors
    /// At the read: `lower` above `upper`, or one of them not finite.
    #[track_caller]
    pub fn rrelu(&self, lower: f64, upper: f64) -> Tensor {
        if !(lower <= upper && lower.is_finite() && upper.is_finite()) {
            let error = Error::new(format!("rrelu: no slopes from {lower} to {upper}"));
            return self.wrong_argument(error.help("two finite numbers, the lower one first"));
        }
        let x = self.to_float();
        let slope = x.rand_like() * (upper - lower) + lower;
        x.where_(&x.gt(x.zeros_like()), &x * slope)
    }

    /// scale·x where x > 0, else scale·α·expm1(x·inner).
    #[track_caller]
    fn elu_of(&self, alpha: f64, inner: Option<f64>, scale: Option<f64>) -> Tensor {
        let x = self.to_float();
        let low = x.le(x.zeros_like());
        let mut below = x.masked_fill(&low.logical_not(), 0.0);
        if let Some(inner) = inner {
            below = below * inner;
        }
        let above = if let Some(scale) = scale { &x * scale } else { x };
        (below.expm1() * (alpha * scale.unwrap_or(1.0))).where_(&low, above)
    }

    /// x where x > 0, else α·(eˣ − 1) (Clevert et al. 2015); torch's default α is 1. Torch's `elu`.
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Tensor {
        self.elu_of(alpha, None, None)
    }

    /// x where x > 0, else α·(exp(x/α) − 1), smooth at 0 for every α (Barron 2017); torch's default is 1. Torch's `celu`.
    ///
    /// # Errors
    /// At the read: α is 0.
    #[track_caller]
    pub fn celu(&self, alpha: f64) -> Tensor {
        if alpha == 0.0 {
            return self.wrong_argument(Error::new("celu: alpha is 0").help("another number: x is divided by it"));
        }
        self.elu_of(alpha, Some(1.0 / alpha), None)
    }

    /// λ·x where x > 0, else λ·α·(eˣ − 1), λ = 1.0507…, α = 1.6732… (Klambauer et al. 2017). Torch's `selu`.
    #[track_caller]
    pub fn selu(&self) -> Tensor {
        self.elu_of(SELU_ALPHA, None, Some(SELU_SCALE))
    }

    /// x limited to `min` … `max`; the gradient passes between, not at, the limits. Torch's `hardtanh`, −1 and 1 by
    /// default. Integers stay.
    ///
    /// # Errors
    /// At the read: `min` above `max`.
    #[track_caller]
    pub fn hardtanh(&self, min: f64, max: f64) -> Tensor {
        if min > max {
            let error = Error::new(format!("hardtanh: min_val {min} is above max_val {max}"));
            return self.wrong_argument(error.help("the lower limit first"));
        }
        let (low, high) = (self.number(min), self.number(max));
        self.masked_fill(&self.le(low.clone()), low).masked_fill(&self.ge(high.clone()), high)
    }

    /// min(max(0, x), 6) (Krizhevsky 2010). Torch's `relu6`.
    #[track_caller]
    pub fn relu6(&self) -> Tensor {
        self.hardtanh(0.0, 6.0)
    }

    /// relu6(x + 3)/6: 0 below −3, 1 above 3, a line between. Torch's `hardsigmoid`.
    #[track_caller]
    pub fn hardsigmoid(&self) -> Tensor {
        let x = self.to_float();
        let shifted = &x + x.constant_like(3.0);
        shifted.relu6() / x.constant_like(6.0)
    }

    /// x·relu6(x + 3)/6 (Howard et al. 2019). Torch's `hardswish`.
    #[track_caller]
    pub fn hardswish(&self) -> Tensor {
        let x = self.to_float();
        let shifted = &x + x.constant_like(3.0);
        &x * shifted.relu6() / x.constant_like(6.0)
    }

    /// Whether −λ ≤ x ≤ λ.
    #[track_caller]
    fn within(&self, lambda: f64) -> Tensor {
        self.ge(-lambda).logical_and(&self.le(lambda))
    }

    /// x, and 0 where |x| ≤ λ; torch's default is 0.5. Torch's `hardshrink`.
    #[track_caller]
    pub fn hardshrink(&self, lambda: f64) -> Tensor {
        let x = self.to_float();
        x.masked_fill(&x.within(lambda), 0.0)
    }

    /// x moved by λ towards 0, and 0 where |x| ≤ λ; torch's default is 0.5. Torch's `softshrink`.
    ///
    /// # Errors
    /// At the read: λ below 0.
    #[track_caller]
    pub fn softshrink(&self, lambda: f64) -> Tensor {
        if lambda.is_nan() || lambda < 0.0 {
            return self.wrong_argument(Error::new(format!("softshrink: lambd is {lambda}")).help("0 or more"));
        }
        let x = self.to_float();
        let moved = &x - x.detach().sign() * lambda;
        moved.masked_fill(&x.within(lambda), 0.0)
    }

    /// x where x > `threshold`, else `value`. Torch's `threshold`. Integers stay.
    #[track_caller]
    pub fn threshold(&self, threshold: f64, value: f64) -> Tensor {
        self.masked_fill(&self.le(self.number(threshold)), self.number(value))
    }

    /// x − tanh(x). Torch's `tanhshrink`.
    #[track_caller]
    pub fn tanhshrink(&self) -> Tensor {
        let x = self.to_float();
        &x - x.tanh()
    }

    /// x/(1 + |x|). Torch's `softsign`.
    #[track_caller]
    pub fn softsign(&self) -> Tensor {
        let x = self.to_float();
        &x / (x.abs() + x.constant_like(1.0))
    }

    /// log(1 + exp(`beta`·x)) / `beta`, and x itself where `beta`·x > `threshold`. Torch's defaults are 1 and 20.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([0.0f64, 3.0]).softplus_with(2.0, 5.0);
    /// assert_eq!(y.to_vec::<f64>()?, [2f64.ln() / 2.0, 3.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn softplus_with(&self, beta: f64, threshold: f64) -> Tensor {
        let x = self.to_float();
        let scaled = &x * beta;
        let linear = scaled.gt(threshold);
        x.where_(&linear, scaled.softplus() / beta)
    }

    /// log(sigmoid(x)) without overflow. Torch's `logsigmoid`.
    #[track_caller]
    pub fn log_sigmoid(&self) -> Tensor {
        -(-self.to_float()).softplus()
    }

    /// a·sigmoid(b) of the halves a and b along `dim` (Dauphin et al. 2016). Torch's `glu`.
    ///
    /// # Errors
    /// At the read: no such axis, or one of an odd size.
    #[track_caller]
    pub fn glu(&self, dim: isize) -> Tensor {
        let Some(axis) = self.shape().axis(dim) else { return self.bad_axis("glu", dim) };
        let size = self.shape()[axis];
        let (half, shape) = (size / 2, self.shape().with(axis, size / 2));
        if size % 2 == 1 {
            let error = Error::new(format!("glu: axis {dim} of {} has an odd size, {size}", self.shape()));
            return Tensor::fail(error.help("an axis of two halves"), &[self], shape, self.dtype());
        }
        let x = self.to_float();
        x.narrow(dim, 0, half) * x.narrow(dim, half, half).sigmoid()
    }

    /// exp(−x) / Σ exp(−x) along `dim`, without overflow. Torch's `softmin`.
    #[track_caller]
    pub fn softmin(&self, dim: isize) -> Tensor {
        (-self.to_float()).softmax(dim)
    }

    /// softmax((x + g)/τ) along `dim`, g drawn from the Gumbel distribution: a sample of classes with these logits
    /// through which gradients pass (Jang et al. 2016; Maddison et al. 2016). With `hard` it is 1 at the largest element
    /// and 0 elsewhere, with the gradient of the soft one. Torch's `gumbel_softmax`; its defaults are τ 1, not hard, −1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([[0.0f32, 1.0, 9.0]]).gumbel_softmax(0.5, true, -1);
    /// assert_eq!(y.sum(-1).to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn gumbel_softmax(&self, tau: f64, hard: bool, dim: isize) -> Tensor {
        let x = self.to_float();
        let gumbel = -crate::rng::exponential(x.shape().clone(), x.dtype()).log();
        let soft = ((x + gumbel) / tau).softmax(dim);
        if !hard || soft.error().is_some() || soft.rank() == 0 {
            return soft;
        }
        let first = soft.argmax_keepdim(dim);
        let one = soft.index_along(dim).eq(&first).to_dtype(soft.dtype());
        (one - &soft).detach() + soft
    }
}
