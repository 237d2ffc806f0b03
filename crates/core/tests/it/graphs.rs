//! Random graphs: a pure function of a seed.
//!
//! With each value goes how far a plan may be from the interpreter there: a bound of the magnitude, and one of
//! the error, which grows through each operation by its Lipschitz constant and rounding. Operations that
//! jump (comparisons, sorting, rounding to whole numbers) are given only values that are the same to the bit
//! on both sides: leaves, integers, and what IEEE arithmetic makes of them.

use std::sync::Arc;

use limpid_core::{
    AttentionOptions, AvgPoolOptions, Cell, ConvAxis, DType, MaxPoolOptions, NormOptions, Shape, Tensor, branch, call,
    gradients, loop_over, loop_times, manual_seed,
};

use crate::support::{Dice, Layout, laid_out, nonzero, random};

/// A value of a random graph.
#[derive(Clone, Debug)]
pub struct Value {
    pub t: Tensor,
    /// No element is larger.
    mag: f64,
    /// A plan may differ from the interpreter by so much.
    pub err: f64,
    /// The same to the bit on both sides.
    exact: bool,
    /// Too far off, or too large, to be computed with further.
    last: bool,
}

/// A graph: what is wanted of it, and the gradients.
#[derive(Debug)]
pub struct Graph {
    pub outputs: Vec<Value>,
    pub slopes: Vec<Tensor>,
    /// Cells live as long as the graph.
    _cells: Vec<Arc<Cell>>,
}

impl Graph {
    pub fn tensors(&self) -> Vec<&Tensor> {
        self.outputs.iter().map(|v| &v.t).chain(&self.slopes).collect()
    }
}

struct Maker {
    dice: Dice,
    pool: Vec<Value>,
    variables: Vec<Tensor>,
    cells: Vec<Arc<Cell>>,
    dtype: DType,
}

/// Where a function is asked, of a value from −2 to 2.
#[derive(Clone, Copy)]
enum At {
    Near,
    /// From −¾ to ¾.
    Inner,
    /// From ⅛ to ⅞.
    Half,
    Positive,
    Above,
}

/// Functions without a kernel: the function, where, how large it and its slope are there.
type Special = (fn(&Tensor) -> Tensor, At, f64, f64);

const SPECIAL: &[Special] = &[
    (Tensor::acos, At::Inner, 3.2, 1.6),
    (Tensor::acosh, At::Above, 2.0, 1.4),
    (Tensor::asin, At::Inner, 1.0, 1.6),
    (Tensor::asinh, At::Near, 1.5, 1.0),
    (Tensor::atanh, At::Inner, 1.0, 2.3),
    (Tensor::cosh, At::Near, 3.8, 3.7),
    (Tensor::digamma, At::Positive, 1.5, 3.0),
    (Tensor::entr, At::Positive, 3.0, 2.1),
    (Tensor::erfc, At::Near, 2.0, 1.2),
    (Tensor::erfcx, At::Near, 110.0, 440.0),
    (Tensor::erfinv, At::Inner, 1.0, 2.0),
    (Tensor::i0, At::Near, 2.3, 1.6),
    (Tensor::i0e, At::Near, 1.0, 1.0),
    (Tensor::i1, At::Near, 1.6, 1.6),
    (Tensor::i1e, At::Near, 0.3, 0.5),
    (Tensor::lgamma, At::Positive, 1.0, 1.5),
    (Tensor::log_ndtr, At::Near, 4.0, 2.4),
    (|x| x.logit(None), At::Half, 2.0, 9.2),
    (Tensor::ndtr, At::Near, 1.0, 0.4),
    (Tensor::ndtri, At::Half, 1.2, 5.0),
    (|x| x.polygamma(2), At::Positive, 6.0, 24.0),
    (Tensor::sinc, At::Near, 1.0, 1.4),
    (Tensor::sinh, At::Near, 3.7, 3.8),
    (|x| x.atan2(x.cos()), At::Near, 3.2, 2.0),
    (|x| x.hypot(x * 0.5), At::Positive, 3.2, 1.2),
    (|x| x.logaddexp(x * 0.5), At::Near, 2.4, 1.0),
    (|x| x.logaddexp2(x * -0.5), At::Near, 2.4, 1.0),
    (|x| x.xlogy(x), At::Positive, 3.0, 2.1),
    (|x| x.xlog1py(x), At::Positive, 4.0, 2.4),
];

/// The relative error of one operation.
fn eps(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 2e-15,
        DType::F32 => 3e-7,
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        _ => 0.0,
    }
}

/// The graph of `seed`.
pub fn build(seed: u64) -> Graph {
    manual_seed(seed);
    let mut dice = Dice::new(seed);
    let other = [DType::F32, DType::F32, DType::F16, DType::BF16];
    let dtype = if dice.chance(60) { DType::F64 } else { *dice.pick(&other) };
    let mut maker = Maker { dice, pool: Vec::new(), variables: Vec::new(), cells: Vec::new(), dtype };
    let most = if maker.dice.chance(50) { 12 } else { 60 };
    let nodes = 1 + maker.dice.below(most);
    for _ in 0..1 + maker.dice.below(3) {
        maker.leaf(dtype);
    }
    for _ in 0..nodes {
        maker.step();
    }
    maker.finish()
}

impl Maker {
    fn shape(&mut self) -> Shape {
        let sizes: &[usize] = if self.dice.chance(6) { &[130, 257, 64] } else { &[0, 1, 1, 2, 3, 4, 5, 7, 8, 16, 33] };
        let mut rank = *self.dice.pick(&[0, 1, 1, 2, 2, 2, 2, 3, 3, 4]);
        loop {
            // Size 0 is rare: it empties everything behind it.
            let mut size = || {
                let s = *self.dice.pick(sizes);
                if s == 0 && self.dice.chance(70) { 2 } else { s }
            };
            let shape: Shape = (0..rank).map(|_| size()).collect();
            if shape.elements() <= 3000 {
                return shape;
            }
            rank -= 1;
        }
    }

    fn leaf(&mut self, dtype: DType) -> Value {
        let shape = self.shape();
        self.leaf_of(dtype, &shape)
    }

    fn leaf_of(&mut self, dtype: DType, shape: &Shape) -> Value {
        let dice = &mut self.dice;
        let layouts =
            [Layout::Plain, Layout::Plain, Layout::Plain, Layout::Transposed, Layout::Narrowed, Layout::Strided];
        let layout = *dice.pick(&layouts);
        let mut made = dice.clone();
        dice.bits();
        let mut variable: Option<Tensor> = None;
        let cell = self.dice.chance(25);
        let cells = &mut self.cells;
        let t = laid_out(shape, layout, &mut |s| {
            let x = random(&mut made, s, dtype);
            let x = if cell {
                let c = Cell::new(&x, true);
                cells.push(c.clone());
                c.tensor()
            } else if dtype.is_float() {
                x.requires_grad_()
            } else {
                x
            };
            variable = Some(x.clone());
            x
        });
        if dtype.is_float() {
            self.variables.extend(variable);
        }
        let mag = match dtype {
            DType::U8 => 255.0,
            DType::I32 | DType::I64 => 20.0,
            _ => 4.0,
        };
        self.push(Value { t, mag, err: 0.0, exact: true, last: false })
    }

    fn push(&mut self, mut v: Value) -> Value {
        assert!(v.t.error().is_none(), "the generator made a wrong operation: {:?}", v.t.error());
        let dtype = v.t.dtype();
        if dtype.is_float() && v.mag > 20.0 && !v.last {
            v.t = v.t.clamp(-4.0, 4.0);
            v.mag = 4.0;
        } else if !dtype.is_float() && dtype != DType::Bool && v.mag > 1e4 && !v.last {
            v.t = &v.t % 97;
            v.mag = 97.0;
        }
        v.last |= v.err > 2e-2 || v.t.numel() > 6000;
        self.pool.push(v.clone());
        v
    }

    /// A value that `fits`, often a late one; a fresh leaf where there is none.
    fn take(&mut self, dtype: DType, fits: impl Fn(&Value) -> bool) -> Value {
        let good: Vec<usize> = (0..self.pool.len())
            .filter(|&i| self.pool[i].t.dtype() == dtype && !self.pool[i].last && fits(&self.pool[i]))
            .collect();
        if good.is_empty() {
            let leaf = self.leaf(dtype);
            if fits(&leaf) {
                return leaf;
            }
            let shape = Shape::from([3, 4]);
            return self.leaf_of(dtype, &shape);
        }
        let late = good.len() - 1 - self.dice.below(good.len().min(4));
        let at = if self.dice.chance(60) { good[late] } else { *self.dice.pick(&good) };
        self.pool[at].clone()
    }

    fn float(&mut self) -> Value {
        self.take(self.dtype, |_| true)
    }

    fn ranked(&mut self) -> Value {
        self.take(self.dtype, |v| v.t.rank() > 0)
    }

    fn filled(&mut self) -> Value {
        self.take(self.dtype, |v| v.t.rank() > 0 && v.t.numel() > 0)
    }

    fn exact(&mut self, dtype: DType) -> Value {
        self.take(dtype, |v| v.exact && v.t.rank() > 0 && v.t.numel() > 0)
    }

    fn whole(&mut self) -> Value {
        let dtype = *self.dice.pick(&[DType::I64, DType::I64, DType::I32, DType::U8]);
        self.take(dtype, |_| true)
    }

    /// A value of the same type that broadcasts with `x`.
    fn partner(&mut self, x: &Value) -> Value {
        let shape = x.t.shape().clone();
        let with = |v: &Value| v.t.shape().broadcast(&shape).is_some_and(|s| s.elements() <= 6000);
        if self.dice.chance(65) {
            return self.take(x.t.dtype(), with).pick_or(with, || x.clone());
        }
        let thin: Shape = shape.iter().map(|&s| if self.dice.chance(50) { s } else { 1 }).collect();
        self.leaf_of(x.t.dtype(), &thin)
    }

    /// A new value computed from `inputs`: errors multiply by `slope`, and `roundings` are added.
    fn derive(&mut self, t: Tensor, mag: f64, inputs: &[&Value], slope: f64, roundings: f64, exact: bool) -> Value {
        let arriving: f64 = inputs.iter().map(|v| v.err).sum();
        let exact = exact && inputs.iter().all(|v| v.exact);
        let rounding = if exact { 0.0 } else { roundings * eps(t.dtype()) * mag.max(1e-3) };
        self.push(Value { t, mag, err: slope * arriving + rounding, exact, last: false })
    }

    fn moved(&mut self, t: Tensor, x: &Value) -> Value {
        self.derive(t, x.mag, &[x], 1.0, 0.0, true)
    }

    fn axis(&mut self, x: &Value) -> isize {
        let axis = self.dice.below(x.t.rank()) as isize;
        if self.dice.chance(30) { axis - x.t.rank() as isize } else { axis }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..15 => self.unary(),
            15..28 => self.binary(),
            28..44 => self.movement(),
            44..52 => self.reduction(),
            52..58 => self.index(),
            58..62 => self.product(),
            62..84 => self.compound(),
            84..88 => self.region(),
            88..94 => self.integer(),
            94..97 => self.mark(),
            _ => {
                let dtype = self.dtype;
                self.leaf(dtype);
            }
        }
    }

    fn unary(&mut self) {
        let x = self.float();
        let t = x.t.clone();
        let near = if x.mag > 2.0 { t.tanh() } else { t.clone() };
        match self.dice.below(36) {
            28 => self.derive(t.atan(), 1.6, &[&x], 1.0, 2.0, false),
            29..=30 => self.special(&x, &near),
            0 => self.derive(near.exp(), 8.0, &[&x], 8.0, 4.0, false),
            1 => self.derive(near.expm1(), 8.0, &[&x], 8.0, 4.0, false),
            2 => self.derive((t.abs() + 0.5).log(), 4.0, &[&x], 2.0, 6.0, false),
            3 => self.derive(t.abs().log1p(), 4.0, &[&x], 1.0, 4.0, false),
            4 => self.derive((t.abs() + 0.25).sqrt(), 5.0, &[&x], 1.0, 1.0, true),
            5 => self.derive(t.sin(), 1.0, &[&x], 1.0, 2.0, false),
            6 => self.derive(t.cos(), 1.0, &[&x], 1.0, 2.0, false),
            7 => self.derive(t.tanh(), 1.0, &[&x], 1.0, 2.0, false),
            8 => self.derive(t.erf(), 1.0, &[&x], 1.2, 2.0, false),
            9 => self.derive(t.sigmoid(), 1.0, &[&x], 0.3, 2.0, false),
            10 | 34 | 35 => self.derive(t.gelu(), x.mag, &[&x], 1.2, 8.0, false),
            11 => self.derive(t.silu(), x.mag, &[&x], 1.2, 4.0, false),
            12 => self.derive(t.relu(), x.mag, &[&x], 1.0, 0.0, true),
            13 => self.derive(-&t, x.mag, &[&x], 1.0, 0.0, true),
            14 => self.derive(t.abs(), x.mag, &[&x], 1.0, 0.0, true),
            15 | 24 | 25 | 32 | 33 => {
                let x = self.take(self.dtype, |v| v.exact);
                let f = *self.dice.pick(&[
                    Tensor::floor as fn(&Tensor) -> Tensor,
                    Tensor::ceil,
                    Tensor::trunc,
                    Tensor::round,
                ]);
                self.derive(f(&x.t), x.mag + 1.0, &[&x], 1.0, 0.0, true)
            }
            16 => {
                // A number of the host.
                let n = (self.dice.unit() * 8.0).round() / 4.0;
                self.derive(&t * n, x.mag * n.abs(), &[&x], n.abs(), 1.0, true)
            }
            17 => {
                let n = (self.dice.unit() * 8.0).round() / 4.0;
                self.derive(n - &t, x.mag + n.abs(), &[&x], 1.0, 1.0, true)
            }
            18 => {
                // Numbers of the structure: what folds.
                let n = *self.dice.pick(&[0.0, 1.0, 1.0, 2.0, -1.0]);
                let k = t.constant_like(n) * t.constant_like(1.0);
                let y =
                    if self.dice.chance(50) { &t * k } else { (&t - t.constant_like(0.0)) * k / t.constant_like(1.0) };
                self.derive(y, x.mag * 2.0, &[&x], 2.0, 1.0, true)
            }
            19 => self.derive(
                (t.abs() + 0.5).pow(1.5),
                (x.mag + 0.5).powf(1.5),
                &[&x],
                1.5 * (x.mag + 0.5).sqrt(),
                6.0,
                false,
            ),
            27 => self.derive(t.softplus(), x.mag + 0.7, &[&x], 1.0, 4.0, false),
            20 => {
                let y = t.dropout(0.3);
                self.derive(y, x.mag * 1.5, &[&x], 1.5, 2.0, false)
            }
            21 => {
                if self.dice.chance(50) {
                    let y = &t + t.rand_like();
                    self.derive(y, x.mag + 1.0, &[&x], 1.0, 2.0, false)
                } else {
                    // Of 2³² numbers the smallest is √(2·log 2³²) = 6.7 off.
                    let y = &t + t.randn_like();
                    self.derive(y, x.mag + 7.0, &[&x], 1.0, 16.0, false)
                }
            }
            22 => {
                let to = *self.dice.pick(&[DType::F64, DType::F32, DType::F16, DType::BF16]);
                let e = eps(to);
                let y = t.to_dtype(to);
                let v = self.derive(y.clone(), x.mag, &[&x], 1.0, 0.0, true);
                let back = y.to_dtype(self.dtype);
                // A value that is not the same to the bit may round to either side.
                let rounding = if x.exact { 0.0 } else { e * x.mag };
                self.push(Value { t: back, err: v.err + rounding, ..x })
            }
            _ => {
                let x = self.exact(self.dtype);
                let to = match x.t.dtype() {
                    DType::F64 => DType::I64,
                    DType::F32 => DType::I32,
                    DType::F16 => DType::BF16,
                    _ => DType::F16,
                };
                self.push(Value { t: x.t.view_dtype(to), mag: 1e300, err: 0.0, exact: true, last: true })
            }
        };
    }

    fn special(&mut self, x: &Value, near: &Tensor) -> Value {
        let (f, at, mag, slope) = *self.dice.pick(SPECIAL);
        let arg = match at {
            At::Near => near.clone(),
            At::Inner => near.tanh() * 0.75,
            At::Half => near.tanh() * 0.375 + 0.5,
            At::Positive => near.abs() + 0.75,
            At::Above => near.abs() + 1.25,
        };
        self.derive(f(&arg), mag, &[x], slope, 8.0, false)
    }

    fn binary(&mut self) {
        let x = self.float();
        let y = self.partner(&x);
        let (a, b) = (&x.t, &y.t);
        let both = [&x, &y];
        match self.dice.below(13) {
            0 | 1 => self.derive(a + b, x.mag + y.mag, &both, 1.0, 1.0, true),
            2 => self.derive(a - b, x.mag + y.mag, &both, 1.0, 1.0, true),
            3 | 4 => self.derive(a * b, x.mag * y.mag, &both, x.mag.max(y.mag), 1.0, true),
            5 => self.derive(a / (b * b + 1.0), x.mag, &both, 1.0 + x.mag * y.mag, 3.0, true),
            6 => self.derive(a.maximum(b), x.mag.max(y.mag), &both, 1.0, 0.0, true),
            7 => self.derive(a.minimum(b), x.mag.max(y.mag), &both, 1.0, 0.0, true),
            8 => {
                // A condition that is the same on both sides.
                let c = self.exact(self.dtype);
                let shape = c.t.shape().broadcast(a.shape()).and_then(|s| s.broadcast(b.shape()));
                let n = c.t.constant_like(0.5);
                let condition = match self.dice.below(4) {
                    0 => c.t.lt(&n),
                    1 => c.t.le(&n),
                    2 => c.t.ne(c.t.floor()),
                    _ => c.t.eq(c.t.round()),
                };
                if shape.is_none_or(|s| s.elements() > 6000) {
                    let z = condition.to_dtype(c.t.dtype());
                    return drop(self.derive(z, 1.0, &[&c], 0.0, 0.0, true));
                }
                self.derive(a.where_(&condition, b), x.mag.max(y.mag), &both, 1.0, 0.0, true)
            }
            9 | 12 => {
                let (x, y) = (self.exact(self.dtype), self.dice.unit() + 2.5);
                let t = match self.dice.below(4) {
                    0 => x.t.floor_divide(y),
                    1 => x.t.trunc_divide(y),
                    2 => x.t.fmod(y),
                    _ => &x.t % y,
                };
                self.push(Value { t, mag: x.mag, err: 4.0 * eps(self.dtype) * x.mag, exact: false, last: false })
            }
            10 => self.derive((a.abs() + 0.5).pow(b.tanh()), x.mag + 2.5, &both, x.mag + 4.0, 8.0, false),
            _ => {
                let shape = a.shape().broadcast(b.shape()).expect("partners broadcast");
                self.derive(a.expand_to(&shape) * 0.5 + b.expand_to(&shape), x.mag + y.mag, &both, 1.0, 2.0, true)
            }
        };
    }

    fn movement(&mut self) {
        let x = self.ranked();
        let t = x.t.clone();
        let axis = self.axis(&x);
        let size = t.size(axis);
        let y = match self.dice.below(16) {
            0 => t.flatten(0),
            1 => t.flatten_range(0, axis),
            2 => t.unsqueeze(axis),
            3 | 4 => t.transpose(axis, 0),
            5 => t.transpose(0, -1).flatten(0),
            6 => t.unsqueeze(0).expand_to(&t.shape().inserted(0, 2)),
            7 => t.narrow(axis, size / 3, size - size / 3),
            8 => t.slice(axis, Some(self.dice.below(3) as isize), None, 2),
            9 => t.slice(axis, None, None, -1 - self.dice.below(2) as isize),
            10 => t.pad(axis, self.dice.below(3) as isize, self.dice.below(2) as isize, 0.5),
            11 => {
                let other = t.narrow(axis, 0, size - size / 2);
                Tensor::cat(&[&t, &other, &t.flip(axis)], axis)
            }
            12 if size > 0 => t.unfold(axis, 1 + size / 2, 1 + self.dice.below(2)),
            13 if size > 0 => t.roll(1, axis),
            14 if size > 0 => t.select(axis, -1),
            15 if t.numel() > 0 && size.is_multiple_of(2) => t.unflatten(axis, &[2, -1]).transpose(0, -1),
            _ => Tensor::stack(&[&t, &t], axis),
        };
        self.moved(y, &x);
    }

    fn reduction(&mut self) {
        let x = self.filled();
        let t = x.t.clone();
        let axis = self.axis(&x);
        let n = t.size(axis) as f64;
        let all = t.numel() as f64;
        match self.dice.below(14) {
            0 => self.derive(t.sum(axis), n * x.mag, &[&x], n, n, false),
            1 => self.derive(t.sum(..), all * x.mag, &[&x], all, all, false),
            2 => self.derive(t.mean_keepdim(axis), x.mag, &[&x], 1.0, n, false),
            3 => self.derive(t.mean(..), x.mag, &[&x], 1.0, all, false),
            4 => self.derive(
                (t.tanh() * 0.5 + 1.0).prod(axis),
                1.5f64.powf(n),
                &[&x],
                n * 1.5f64.powf(n),
                2.0 * n,
                false,
            ),
            5 => self.derive(t.amax(axis), x.mag, &[&x], 1.0, 0.0, true),
            6 => self.derive(t.amin_keepdim(axis), x.mag, &[&x], 1.0, 0.0, true),
            7 => self.derive(t.cumsum(axis), n * x.mag, &[&x], n, n, false),
            8 => self.derive(t.tanh().cumprod(axis), 1.0, &[&x], n, 2.0 * n, false),
            9 => self.derive(t.cummax(axis).0, x.mag, &[&x], 1.0, 0.0, true),
            10 => self.derive(t.cummin(axis).0, x.mag, &[&x], 1.0, 0.0, true),
            11 => self.derive(t.logsumexp(axis), x.mag + n.ln(), &[&x], 1.0, n + 4.0, false),
            _ => {
                let x = self.exact(self.dtype);
                let axis = self.axis(&x);
                let descending = self.dice.chance(50);
                let (values, order) = x.t.sort(axis, descending);
                self.derive(order, x.t.size(axis) as f64, &[&x], 0.0, 0.0, true);
                self.moved(values, &x)
            }
        };
    }

    fn index(&mut self) {
        let x = self.filled();
        let t = x.t.clone();
        let axis = self.axis(&x);
        let size = t.size(axis) as i64;
        let rows: Vec<i64> =
            (0..1 + self.dice.below(5)).map(|_| self.dice.below(size as usize * 2) as i64 - size).collect();
        match self.dice.below(6) {
            0 | 1 => self.moved(t.index_select(axis, &Tensor::from(rows)), &x),
            2 => self.moved(t.gather(axis, &((t.index_along(axis) * 2 + 1) % size)), &x),
            3 => {
                let y = t.scatter(axis, &t.index_along(axis).flip(axis), &(&t * 0.5));
                self.derive(y, x.mag, &[&x], 1.0, 1.0, true)
            }
            4 => {
                let y = t.scatter_add(axis, &(t.index_along(axis) % 2 % size), &t);
                self.derive(y, (size as f64 + 1.0) * x.mag, &[&x], size as f64 + 1.0, size as f64 + 1.0, false)
            }
            _ => {
                let x = self.exact(self.dtype);
                let axis = self.axis(&x);
                let (best, at) = if self.dice.chance(50) { x.t.max(axis) } else { x.t.min(axis) };
                self.derive(at, x.t.size(axis) as f64, &[&x], 0.0, 0.0, true);
                self.moved(best, &x)
            }
        };
    }

    fn product(&mut self) {
        let x = self.take(self.dtype, |v| v.t.rank() > 0 && v.mag <= 20.0 && v.t.size(-1) <= 64);
        let k = x.t.size(-1);
        let columns = *self.dice.pick(&[1, 2, 3, 8, 17]);
        let flat = self.dice.chance(50);
        let w = self.leaf_of(self.dtype, &Shape::from(if flat { [k, columns] } else { [columns, k] }));
        let y = x.t.matmul(&if flat { w.t.clone() } else { w.t.t() });
        let n = k as f64;
        let y = self.derive(y, (n * x.mag * w.mag).max(1.0), &[&x, &w], n * x.mag.max(w.mag), 2.0, false);
        if self.dice.chance(60) {
            let b = self.leaf_of(self.dtype, &Shape::from([columns]));
            let act = *self.dice.pick(&[Tensor::tanh as fn(&Tensor) -> Tensor, Tensor::relu, Tensor::sigmoid]);
            let z = act(&(&y.t + &b.t));
            self.derive(z, y.mag + b.mag, &[&y, &b], 1.0, 3.0, false);
        }
    }

    fn compound(&mut self) {
        if self.dice.chance(20) {
            return self.recurrent();
        }
        let dtype = self.dtype;
        match self.dice.below(19) {
            17 | 18 => self.pooling(),
            0 | 1 => {
                let x = self.take(dtype, |v| v.t.rank() > 0);
                let axis = self.axis(&x);
                if self.dice.chance(50) {
                    self.derive(x.t.softmax(axis), 1.0, &[&x], 2.0, 4.0 + x.mag, false);
                } else {
                    let n = (x.t.size(axis) as f64).max(1.0).ln();
                    self.derive(x.t.log_softmax(axis), 2.0 * x.mag + n, &[&x], 2.0, 4.0, false);
                }
            }
            2 | 3 => {
                let x = self.take(dtype, |v| v.t.rank() > 0 && v.t.size(-1) <= 64);
                let (k, o) = (x.t.size(-1), 1 + self.dice.below(5));
                let (w, b) = (self.leaf_of(dtype, &Shape::from([o, k])), self.leaf_of(dtype, &Shape::from([o])));
                let y = x.t.linear(&(&w.t * 0.125), Some(&b.t));
                let y = if self.dice.chance(50) { y.relu() } else { y };
                let n = k as f64;
                self.derive(y, n * x.mag * 0.5 + b.mag, &[&x], n * 0.5, 3.0, false);
            }
            4 | 10 | 11 => {
                let x = self.take(dtype, |v| v.t.rank() > 0 && v.t.numel() > 0);
                let k = x.t.size(-1);
                let (w, b) = (self.leaf_of(dtype, &Shape::from([k])), self.leaf_of(dtype, &Shape::from([k])));
                let affine = self.dice.chance(60);
                let y = if self.dice.chance(50) {
                    x.t.layer_norm([k], affine.then_some(&w.t), affine.then_some(&b.t), 1e-2)
                } else {
                    x.t.rms_norm([k], affine.then_some(&w.t), Some(1e-2))
                };
                let n = (k as f64).sqrt();
                // 1/√eps is the steepest that it can be.
                self.derive(y, 4.0 * n + 4.0, &[&x], 400.0, 20.0 * (1.0 + x.mag), false);
            }
            5 => {
                let classes = 1 + self.dice.below(6);
                let rows = self.dice.below(6);
                let x = self.leaf_of(dtype, &Shape::from([rows, classes]));
                let target: Vec<i64> = (0..rows)
                    .map(|_| if self.dice.chance(20) { -7 } else { self.dice.below(classes) as i64 })
                    .collect();
                let y = x.t.cross_entropy_rows(&Tensor::from(target), -7);
                self.derive(y, 2.0 * x.mag + 3.0, &[&x], 2.0, 4.0, false);
            }
            6 => {
                let groups = 1 + self.dice.below(2);
                let (c, o) = (1 + self.dice.below(2), 1 + self.dice.below(2));
                let axes: Vec<ConvAxis> = (0..1 + self.dice.below(2))
                    .map(|_| ConvAxis {
                        stride: 1 + self.dice.below(2),
                        lo: self.dice.below(4) as i64 - 1,
                        hi: self.dice.below(4) as i64 - 1,
                        dilation: 1 + self.dice.below(2),
                        input_dilation: 1 + self.dice.below(2),
                    })
                    .collect();
                let spatial: Vec<usize> = axes.iter().map(|_| 7 + self.dice.below(4)).collect();
                let kernel: Vec<usize> = axes.iter().map(|_| 1 + self.dice.below(3)).collect();
                let shape: Shape = [1 + self.dice.below(2), c * groups].into_iter().chain(spatial).collect();
                let x = self.leaf_of(dtype, &shape);
                let n = (c * kernel.iter().product::<usize>()) as f64;
                let w = self.leaf_of(dtype, &[o * groups, c].into_iter().chain(kernel).collect());
                let y = x.t.conv(&w.t, &axes, groups);
                self.derive(y, n * 16.0, &[&x], n * 4.0, 2.0 * n, false);
            }
            7 => {
                let (rows, width) = (1 + self.dice.below(5), self.dice.below(4));
                let table = self.leaf_of(dtype, &Shape::from([rows, width]));
                let index: Vec<i64> = (0..self.dice.below(7)).map(|_| self.dice.below(rows) as i64).collect();
                self.derive(table.t.embedding(&Tensor::from(index)), table.mag, &[&table], 1.0, 0.0, true);
            }
            8 => {
                let x = self.take(dtype, |v| v.t.numel() <= 1000);
                let target = self.leaf_of(dtype, x.t.shape());
                // Probabilities from ¼ to ¾, where no logarithm is steeper than 4.
                let y = (x.t.sigmoid() * 0.5 + 0.25).binary_cross_entropy_elements(&target.t);
                let size = 1.0 + 2.0 * target.mag;
                self.derive(y, 1.4 * size, &[&x, &target], 1.5 * size, 20.0, false);
            }
            9 => {
                // Exact values: one that is a little off may be counted in the bin beside.
                let x = self.take(dtype, |v| v.exact && v.t.numel() > 1);
                let y = x.t.statistics(self.dice.below(5));
                self.derive(y, x.mag.max(x.t.numel() as f64), &[&x], 0.0, 0.0, false);
            }
            15 => {
                let x = self.take(dtype, |_| true);
                let y = if self.dice.chance(50) {
                    x.t.check(&x.t.lt(1e300), "large")
                } else {
                    x.t.check_within(-1e300, 1e300, "large")
                };
                self.derive(y, x.mag, &[&x], 1.0, 0.0, true);
            }
            16 => self.ctc(),
            12 => {
                let x = self.take(dtype, |v| v.t.rank() > 1 && v.t.numel() > v.t.size(1));
                let c = x.t.size(1);
                let mut options = NormOptions::new().eps(1e-2);
                if self.dice.chance(60) {
                    let [w, b] = [(); 2].map(|()| self.leaf_of(dtype, &Shape::from([c])));
                    options = options.weight(&w.t).bias(&b.t);
                }
                let n = ((x.t.numel() / c) as f64).sqrt();
                let y = x.t.batch_norm(true, &options);
                self.derive(y, 4.0 * n + 4.0, &[&x], 400.0, 20.0 * (1.0 + x.mag), false);
            }
            _ => {
                let (b, t, s, d) =
                    (1 + self.dice.below(2), 1 + self.dice.below(5), 1 + self.dice.below(5), 1 + self.dice.below(4));
                let heads = b * (1 + self.dice.below(3));
                let shapes = [[heads, t, d], [b, s, d], [b, s, 3]];
                let [q, k, v] = shapes.map(|shape| self.leaf_of(dtype, &Shape::from(shape)));
                let options = AttentionOptions::new().is_causal(self.dice.chance(50)).enable_gqa(true);
                let y = q.t.scaled_dot_product_attention(&k.t, &v.t, &options);
                self.derive(y, v.mag, &[&q, &k, &v], 1.0, 64.0 * d as f64, false);
            }
        }
    }

    fn ctc(&mut self) {
        let (steps, batch, classes) = (1 + self.dice.below(5), 1 + self.dice.below(3), 2 + self.dice.below(3));
        let longest = self.dice.below(4);
        let x = self.leaf_of(self.dtype, &Shape::from([steps, batch, classes]));
        let mut draw = |n: usize, below: usize| (0..n).map(|_| self.dice.below(below) as i64).collect::<Vec<_>>();
        let labels = Tensor::from_vec(draw(batch * longest, classes), [batch, longest]);
        let inputs = Tensor::from(draw(batch, steps + 1));
        let targets = Tensor::from(draw(batch, longest + 1));
        let y = x.t.log_softmax(-1).ctc_losses(&labels, &inputs, &targets, self.dice.below(classes), true);
        let n = steps as f64;
        self.derive(y, n * (2.0 * x.mag + 2.0), &[&x], 2.0 * n, 16.0, false);
    }

    fn recurrent(&mut self) {
        let dtype = self.dtype;
        let kind = *self.dice.pick(crate::recurrent::KINDS);
        let sizes = [4, 3, 3, 3].map(|n| 1 + self.dice.below(n));
        let sizes = [sizes[0], sizes[1], sizes[2], sizes[3] + 1];
        let shapes = kind.shapes(sizes);
        let inputs: Vec<Value> = shapes.iter().map(|s| self.leaf_of(dtype, &Shape::from(&s[..]))).collect();
        let lengths: Vec<i64> = (0..sizes[1]).map(|_| 1 + self.dice.below(sizes[0]) as i64).collect();
        let tensors: Vec<Tensor> = inputs.iter().map(|v| &v.t * 0.25).collect();
        let y = kind.run(&tensors, &lengths);
        // A state of max(0, ·) may grow by the width in each step.
        let mag = 8.0 * 4f64.powi(sizes[0] as i32);
        let slope = 16.0 * 2f64.powi(sizes[0] as i32);
        let all: Vec<&Value> = inputs.iter().collect();
        for t in y {
            self.derive(t, mag, &all, slope, 8.0 * slope / mag, false);
        }
    }

    fn pooling(&mut self) {
        let d = 1 + self.dice.below(2);
        let shape: Shape =
            (0..2 + d).map(|i| if i < 2 { 1 + self.dice.below(2) } else { 3 + self.dice.below(5) }).collect();
        let x = self.leaf_of(self.dtype, &shape);
        let [kernel, stride, counts] =
            [3, 2, 6].map(|most| (0..d).map(|_| 1 + self.dice.below(most)).collect::<Vec<_>>());
        let (padding, ceil) = (kernel.iter().map(|k| k / 2).collect::<Vec<_>>(), self.dice.chance(50));
        let counts: Vec<Option<usize>> = counts.into_iter().map(Some).collect();
        let flat = d == 1;
        match self.dice.below(4) {
            0 => {
                let o = MaxPoolOptions::new().stride(stride).padding(padding).ceil_mode(ceil);
                let y = if flat { x.t.max_pool1d(kernel, &o) } else { x.t.max_pool2d(kernel, &o) };
                self.derive(y, x.mag, &[&x], 1.0, 0.0, true);
            }
            1 => {
                let y = if flat { x.t.adaptive_max_pool1d(counts) } else { x.t.adaptive_max_pool2d(counts) };
                self.derive(y, x.mag, &[&x], 1.0, 0.0, true);
            }
            2 => {
                let o = AvgPoolOptions::new().stride(stride).padding(padding).ceil_mode(ceil);
                let o = o.count_include_pad(self.dice.chance(50));
                let y = if flat { x.t.avg_pool1d(kernel, &o) } else { x.t.avg_pool2d(kernel, &o) };
                self.derive(y, x.mag, &[&x], 1.0, 20.0, false);
            }
            _ => {
                let y = if flat { x.t.adaptive_avg_pool1d(counts) } else { x.t.adaptive_avg_pool2d(counts) };
                self.derive(y, x.mag, &[&x], 1.0, 20.0, false);
            }
        }
    }

    fn region(&mut self) {
        match self.dice.below(4) {
            0 => {
                let x = self.float();
                let outside = self.leaf_of(self.dtype, &Shape::scalar());
                let y = call(&[&x.t], |v| vec![v[0].tanh() * &outside.t, v[0].sin()]);
                self.derive(y[0].clone(), 20.0, &[&x], 20.0, 3.0, false);
                self.derive(y[1].clone(), 1.0, &[&x], 1.0, 2.0, false);
            }
            1 => {
                let x = self.take(self.dtype, |v| v.t.rank() > 0 && v.t.size(0) <= 9);
                let steps = x.t.size(0) as f64;
                let state = self.leaf_of(self.dtype, &x.t.shape().iter().skip(1).copied().collect());
                let noise = self.dice.chance(30);
                let (last, rows) = loop_over(&[state.t.clone()], &[x.t.clone()], |c, s| {
                    let h = (&c[0] * 0.5 + &s[0]).tanh();
                    let h = if noise { h.dropout(0.25) } else { h };
                    (vec![h.clone()], vec![h.square()])
                });
                let mag = if noise { 1.34f64 } else { 1.0 };
                let mag = mag.max(if steps == 0.0 { state.mag } else { 0.0 });
                self.derive(last[0].clone(), mag, &[&x, &state], 3.0, 10.0, false);
                self.derive(rows[0].clone(), mag * mag, &[&x, &state], 6.0, 20.0, false);
            }
            2 => {
                let x = self.float();
                let n = self.dice.below(5) as i64;
                let (last, _) =
                    loop_times(&Tensor::from(n), 4, &[x.t.clone()], &[], |c, _| (vec![(&c[0] * 0.5).sin()], vec![]));
                self.derive(last[0].clone(), x.mag, &[&x], 1.0, 8.0, false);
            }
            _ => {
                let x = self.float();
                let c = self.exact(self.dtype);
                let condition = c.t.flatten(0).select(0, 0).gt(0.0);
                let y = branch(&condition, || vec![x.t.tanh()], || vec![&x.t * 0.5]);
                self.derive(y[0].clone(), x.mag.max(1.0), &[&x], 1.0, 2.0, false);
            }
        }
    }

    fn integer(&mut self) {
        let x = self.whole();
        let t = x.t.clone();
        let (mag, dtype) = (x.mag, t.dtype());
        match self.dice.below(13) {
            0 => self.derive(&t + 3, mag + 3.0, &[&x], 0.0, 0.0, true),
            1 => self.derive(&t * &t, if dtype == DType::U8 { 255.0 } else { mag * mag }, &[&x], 0.0, 0.0, true),
            2 => {
                let b = nonzero(&mut self.dice, t.shape(), dtype);
                let y = match self.dice.below(4) {
                    0 => t.floor_divide(&b),
                    1 => t.trunc_divide(&b),
                    2 => t.fmod(&b),
                    _ => &t % &b,
                };
                self.derive(y, mag + 20.0, &[&x], 0.0, 0.0, true)
            }
            3 => self.derive(&t & 6, mag, &[&x], 0.0, 0.0, true),
            4 => self.derive((&t | 5) ^ 3, mag + 8.0, &[&x], 0.0, 0.0, true),
            5 => self.derive(t.sum(..), 1e5, &[&x], 0.0, 0.0, true),
            6 => self.derive(t.to_dtype(self.dtype) * 0.125, mag, &[&x], 0.0, 1.0, true),
            7 if t.rank() > 0 => self.derive(t.sort(-1, true).0, mag, &[&x], 0.0, 0.0, true),
            8 if t.rank() > 0 => self.derive(t.cumsum(0), 1e5, &[&x], 0.0, 0.0, true),
            9 => {
                let shape = self.shape();
                let y = Tensor::randint(-5, 9, shape);
                self.derive(y, 9.0, &[], 0.0, 0.0, true)
            }
            10 => {
                let b = t.gt(3).logical_or(&t.eq(0)).logical_xor(&t.lt(9).logical_and(&t.ne(2)));
                self.derive(b, 1.0, &[&x], 0.0, 0.0, true)
            }
            11 => {
                let c = self.exact(self.dtype);
                let to = *self.dice.pick(&[DType::I64, DType::I32]);
                let y = c.t.to_dtype(to);
                self.derive(y, c.mag, &[&c], 0.0, 0.0, true)
            }
            _ => self.derive(t.maximum(2).minimum(7).abs(), 7.0, &[&x], 0.0, 0.0, true),
        };
    }

    fn mark(&mut self) {
        let x = self.float();
        let y = match self.dice.below(5) {
            0 => x.t.detach(),
            1 => x.t.requires_grad_(),
            2 => x.t.tap("seen"),
            3 => x.t.check_finite("value"),
            _ => {
                let y = x.t.requires_grad_();
                self.variables.push(y.clone());
                y
            }
        };
        self.moved(y, &x);
    }

    /// Wants the last value and some others; where all is f64, gradients of a sum too.
    fn finish(mut self) -> Graph {
        let mut outputs = vec![self.pool.last().expect("never empty").clone()];
        for _ in 0..self.dice.below(4) {
            let v = self.dice.pick(&self.pool).clone();
            outputs.push(v);
        }
        let mut slopes = Vec::new();
        let smooth = |v: &&Value| v.t.dtype() == DType::F64 && !v.last && v.t.numel() > 0;
        if self.dtype == DType::F64 && self.dice.chance(70) {
            let mut wanted: Vec<&Value> = outputs.iter().filter(smooth).collect();
            wanted.extend(self.pool.iter().rev().filter(smooth).take(3));
            let loss = wanted.iter().map(|v| (&v.t * 0.5).tanh().mean(..)).reduce(|a, b| a + b);
            if let Some(loss) = loss {
                let found =
                    gradients(&loss, &self.variables.iter().collect::<Vec<_>>()).expect("all is differentiable");
                slopes = found.into_iter().flatten().collect();
            }
        }
        Graph { outputs, slopes, _cells: self.cells }
    }
}

impl Value {
    fn pick_or(self, fits: impl Fn(&Value) -> bool, other: impl FnOnce() -> Value) -> Value {
        if fits(&self) { self } else { other() }
    }
}
