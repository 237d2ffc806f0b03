//! Random numbers: counter-based, so that they are a pure function of (seed, counter, element).
//!
//! A draw takes the next counter of a generator when it is recorded; the numbers themselves are computed
//! when the tensor is, by Philox4x32-10. So a result depends on the seed and the order of recording, never
//! on threads, and a dropout mask need not be stored: its gradient draws it again.

use std::cell::Cell;

use limpid_kernels::DType;

use crate::error::Error;
use crate::op::source;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// PyTorch's default seed, `c10::detail::default_rng_seed_val`.
const DEFAULT_SEED: u64 = 67_280_421_310_721;

thread_local! {
    static GENERATOR: Cell<(u64, u64)> = const { Cell::new((DEFAULT_SEED, 0)) };
}

/// Seeds this thread's generator. Other threads have generators of their own: give them an [`Rng`].
///
/// ```
/// use limpid_core::{Tensor, manual_seed};
/// manual_seed(7);
/// let a = Tensor::rand([3]).to_vec::<f32>()?;
/// manual_seed(7);
/// assert_eq!(a, Tensor::rand([3]).to_vec::<f32>()?);
/// # Ok::<(), limpid_core::Error>(())
/// ```
pub fn manual_seed(seed: u64) {
    GENERATOR.set((seed, 0));
}

/// Seed and counter of this thread's generator: what a checkpoint keeps.
pub fn rng_state() -> (u64, u64) {
    GENERATOR.get()
}

/// Continues this thread's generator where [`rng_state`] was taken.
pub fn set_rng_state(state: (u64, u64)) {
    GENERATOR.set(state);
}

/// A stream of random numbers of its own.
#[derive(Debug)]
pub struct Rng {
    seed: u64,
    counter: Cell<u64>,
}

impl Rng {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng { seed, counter: Cell::new(0) }
    }

    fn draw(&self) -> (u64, u64) {
        let counter = self.counter.get();
        self.counter.set(counter + 1);
        (self.seed, counter)
    }

    /// Numbers evenly spread over [0, 1).
    #[track_caller]
    pub fn rand(&self, shape: impl Into<Shape>, dtype: DType) -> Tensor {
        uniform(&|| self.draw(), shape.into(), dtype)
    }

    /// Numbers of the standard normal distribution.
    #[track_caller]
    pub fn randn(&self, shape: impl Into<Shape>, dtype: DType) -> Tensor {
        normal(&|| self.draw(), shape.into(), dtype)
    }

    /// Integers from `low` to below `high`, i64.
    #[track_caller]
    pub fn randint(&self, low: i64, high: i64, shape: impl Into<Shape>) -> Tensor {
        integers(&|| self.draw(), low, high, shape.into())
    }
}

/// The next counter of this thread's generator.
fn draw() -> (u64, u64) {
    let (seed, counter) = GENERATOR.get();
    GENERATOR.set((seed, counter + 1));
    (seed, counter)
}

type Draw<'a> = &'a dyn Fn() -> (u64, u64);

#[track_caller]
fn bits(draw: Draw<'_>, shape: &Shape) -> Tensor {
    let (seed, counter) = draw();
    source::random(shape.clone(), seed, counter)
}

/// Whole numbers below 2^`digits` as a float of `dtype`: 24 digits for f32 and less, 53 for f64.
#[track_caller]
fn fraction(draw: Draw<'_>, shape: &Shape, dtype: DType) -> (Tensor, f64) {
    let shift = |t: Tensor, n: f64| {
        let places = t.constant_like(n);
        crate::op::elementwise::binary(limpid_kernels::fused::BinaryFn::Shr, &t, &places)
    };
    let high = bits(draw, shape);
    if dtype == DType::F64 {
        let (high, low) = (shift(high, 5.0), shift(bits(draw, shape), 6.0));
        let joined = &high * high.constant_like(f64::from(1 << 26)) + low;
        (joined.to_dtype(DType::F64), (1u64 << 53) as f64)
    } else {
        (shift(high, 8.0).to_dtype(DType::F32), f64::from(1 << 24))
    }
}

#[track_caller]
fn refuse(name: &str, shape: Shape, dtype: DType) -> Tensor {
    Tensor::fail(Error::new(format!("{name}: {dtype} is no float")), &[], shape, dtype)
}

#[track_caller]
fn uniform(draw: Draw<'_>, shape: Shape, dtype: DType) -> Tensor {
    if !dtype.is_float() {
        return refuse("rand", shape, dtype);
    }
    let (whole, range) = fraction(draw, &shape, dtype);
    // The halves round down, so that 1 is not reached.
    let unit = &whole * whole.constant_like(1.0 / range);
    if dtype.size() < 4 {
        (&unit * unit.constant_like(1.0 - 1.0 / 128.0)).to_dtype(dtype)
    } else {
        unit.to_dtype(dtype)
    }
}

/// Box and Muller (1958): √(−2 log u)·cos(2πv), u in (0, 1].
#[track_caller]
fn normal(draw: Draw<'_>, shape: Shape, dtype: DType) -> Tensor {
    if !dtype.is_float() {
        return refuse("randn", shape, dtype);
    }
    let (whole, range) = fraction(draw, &shape, dtype);
    let (angle, _) = fraction(draw, &shape, dtype);
    let k = |t: &Tensor, v: f64| t.constant_like(v);
    let u = (&whole + k(&whole, 1.0)) * k(&whole, 1.0 / range);
    let radius = (u.log() * k(&u, -2.0)).sqrt();
    let turn = &angle * k(&angle, std::f64::consts::TAU / range);
    (radius * turn.cos()).to_dtype(dtype)
}

#[track_caller]
fn integers(draw: Draw<'_>, low: i64, high: i64, shape: Shape) -> Tensor {
    if high <= low || (high as i128 - low as i128) > 1 << 31 {
        let error = Error::new(format!("randint: no numbers from {low} to below {high}"));
        return Tensor::fail(error.help("low < high, at most 2³¹ apart"), &[], shape, DType::I64);
    }
    // Lemire's multiplication spreads 32 bits over the range without a remainder.
    let wide = bits(draw, &shape) * (high - low);
    let places = wide.constant_like(32.0);
    crate::op::elementwise::binary(limpid_kernels::fused::BinaryFn::Shr, &wide, &places) + low
}

/// Numbers of the exponential distribution of mean 1, −log(u), u in (0, 1]; none is 0.
#[track_caller]
pub(crate) fn exponential(shape: Shape, dtype: DType) -> Tensor {
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let (whole, range) = fraction(&draw, &shape, wide);
    let k = |v: f64| whole.constant_like(v);
    // The largest u is 1, whose logarithm is 0: half of the next one's stands for it.
    (-((&whole + k(1.0)) * k(1.0 / range)).log()).maximum(k(0.5 / range)).to_dtype(dtype)
}

impl Tensor {
    /// Numbers evenly spread over [0, 1), f32, from this thread's generator.
    #[track_caller]
    pub fn rand(shape: impl Into<Shape>) -> Tensor {
        uniform(&draw, shape.into(), DType::F32)
    }

    /// Numbers evenly spread over [0, 1) with the shape and float type of self.
    #[track_caller]
    pub fn rand_like(&self) -> Tensor {
        uniform(&draw, self.shape().clone(), self.dtype())
    }

    /// Numbers of the standard normal distribution, f32, from this thread's generator.
    #[track_caller]
    pub fn randn(shape: impl Into<Shape>) -> Tensor {
        normal(&draw, shape.into(), DType::F32)
    }

    /// Numbers of the standard normal distribution with the shape and float type of self.
    #[track_caller]
    pub fn randn_like(&self) -> Tensor {
        normal(&draw, self.shape().clone(), self.dtype())
    }

    /// Integers from `low` to below `high`, i64, from this thread's generator.
    #[track_caller]
    pub fn randint(low: i64, high: i64, shape: impl Into<Shape>) -> Tensor {
        integers(&draw, low, high, shape.into())
    }

    /// The numbers 0 to n − 1 in random order, i64, from this thread's generator.
    #[track_caller]
    pub fn randperm(n: usize) -> Tensor {
        bits(&draw, &Shape::from([n])).argsort(0, false)
    }
}
