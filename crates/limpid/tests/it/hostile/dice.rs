//! What calls draw their arguments from: mostly what fits, often what does not.

use std::fmt::{Debug, Write};

use limpid::prelude::*;

const TYPES: [DType; 8] =
    [DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64, DType::I32, DType::U8, DType::Bool];
const SIZES: [usize; 7] = [0, 1, 2, 2, 3, 3, 7];
/// Sizes that no memory holds, and whose sums and products overflow.
const HUGE: [usize; 5] = [usize::MAX, usize::MAX / 2, usize::MAX / 2 + 1, usize::MAX - 1, 1 << 45];
const REALS: [f64; 12] =
    [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, -0.0, 0.0, 1.0, 2.0, -1.0, -2.5, 1e-300];
/// As many elements as a drawn tensor has at most.
const MOST: usize = 3000;

/// SplitMix64 (Steele, Lea, Flood 2014), and what has been drawn.
pub struct Dice {
    state: u64,
    /// How often of 100 a draw is hostile.
    hostile: usize,
    /// What was drawn, to be read.
    pub log: String,
    /// The floats drawn that gradients are asked of.
    pub leaves: Vec<Tensor>,
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        let mut dice = Dice { state: seed, hostile: 0, log: String::new(), leaves: Vec::new() };
        dice.hostile = [0, 5, 15, 15, 30, 60][dice.below(6)];
        dice
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    fn bad(&mut self) -> bool {
        self.below(100) < self.hostile
    }

    fn note<T: Debug>(&mut self, what: T) -> T {
        let _ = write!(self.log, "{what:?} ");
        what
    }

    /// One of these.
    pub fn pick<T: Clone + Debug>(&mut self, list: &[T]) -> T {
        let at = self.below(list.len());
        self.note(list[at].clone())
    }

    pub fn flag(&mut self) -> bool {
        self.pick(&[false, true])
    }

    /// A size that is usually this one.
    pub fn n(&mut self, usual: usize) -> usize {
        let n = match (self.bad(), self.below(3)) {
            (false, _) => usual,
            (true, 0) => HUGE[self.below(HUGE.len())],
            (true, _) => SIZES[self.below(SIZES.len())],
        };
        self.note(n)
    }

    /// A size that is never huge: of what a call makes one by one.
    pub fn few(&mut self, usual: usize) -> usize {
        let n = if self.bad() { self.below(4) } else { usual };
        self.note(n)
    }

    /// A whole number.
    pub fn int(&mut self, usual: i64) -> i64 {
        let list = [i64::MIN, i64::MAX, i64::MIN + 1, -1, 0, 1, 3, -7, 1 << 40, -(1 << 40)];
        let n = if self.bad() { list[self.below(list.len())] } else { usual };
        self.note(n)
    }

    /// An axis of a tensor of rank `rank`, or what is none.
    pub fn axis(&mut self, rank: usize) -> isize {
        let list = [isize::MIN, isize::MAX, isize::MIN + 1, -1, 0, 6, -7, 2, -3];
        let axis = match self.bad() {
            true => list[self.below(list.len())],
            false => self.below(2 * rank.max(1)) as isize - rank.max(1) as isize,
        };
        self.note(axis)
    }

    /// Several axes, or none at all.
    pub fn axes(&mut self, rank: usize) -> Vec<isize> {
        let count = self.below(3);
        (0..count).map(|_| self.axis(rank)).collect()
    }

    /// A number.
    pub fn real(&mut self, usual: f64) -> f64 {
        let x = if self.bad() { REALS[self.below(REALS.len())] } else { usual };
        self.note(x)
    }

    /// A list that is usually this one.
    pub fn list(&mut self, usual: &[usize]) -> Vec<usize> {
        let length = if self.bad() { self.below(5) } else { usual.len() };
        (0..length).map(|i| self.n(*usual.get(i).unwrap_or(&1))).collect()
    }

    /// A list of whole numbers that is usually this one.
    pub fn ints(&mut self, usual: &[isize]) -> Vec<isize> {
        let length = if self.bad() { self.below(8) } else { usual.len() };
        (0..length).map(|i| self.int(*usual.get(i).unwrap_or(&1) as i64) as isize).collect()
    }

    /// Sizes along axes: usually this one everywhere.
    pub fn sizes(&mut self, usual: usize) -> Sizes {
        match (self.bad(), self.below(4)) {
            (true, 0) => Sizes::from(self.list(&[usual, usual])),
            (true, 1) => Sizes::from(self.list(&[])),
            _ => Sizes::from(self.n(usual)),
        }
    }

    /// A shape that is usually this one.
    pub fn shape(&mut self, usual: &[usize]) -> Vec<usize> {
        let mut shape = usual.to_vec();
        if self.bad() {
            match self.below(5) {
                0 if !shape.is_empty() => {
                    let at = self.below(shape.len());
                    shape[at] = SIZES[self.below(SIZES.len())];
                }
                1 => shape.insert(self.below(shape.len() + 1), SIZES[self.below(SIZES.len())]),
                2 if !shape.is_empty() => {
                    shape.remove(self.below(shape.len()));
                }
                3 => {
                    let at = self.below(shape.len().max(1));
                    shape.iter_mut().skip(at).take(1).for_each(|size| *size = 0);
                }
                _ => shape = (0..self.below(7)).map(|_| SIZES[self.below(SIZES.len())]).collect(),
            }
        }
        while shape.iter().product::<usize>() > MOST {
            let largest = (0..shape.len()).max_by_key(|&i| shape[i]).unwrap_or(0);
            shape[largest] /= 2;
        }
        shape
    }

    fn dtype_near(&mut self, usual: DType) -> DType {
        if self.bad() { TYPES[self.below(TYPES.len())] } else { usual }
    }

    /// A type of elements.
    pub fn dtype(&mut self) -> DType {
        let dtype = self.dtype_near(DType::F32);
        self.note(dtype)
    }

    fn tensor(&mut self, shape: Vec<usize>, dtype: DType, number: &mut dyn FnMut(&mut Dice) -> f64) -> Tensor {
        let count = shape.iter().product::<usize>();
        let odd = self.bad() && self.bad();
        let numbers: Vec<f64> = (0..count)
            .map(|_| match odd && self.below(3) == 0 {
                true => REALS[self.below(REALS.len())],
                false => number(self),
            })
            .collect();
        let _ = write!(self.log, "{dtype}{shape:?}{} ", if odd { "!" } else { "" });
        let t = Tensor::from_vec(numbers, shape).to_dtype(dtype);
        if !dtype.is_float() || self.below(4) == 0 {
            return t;
        }
        let t = t.requires_grad_();
        self.leaves.push(t.clone());
        t
    }

    /// Floats, usually of this shape.
    pub fn f(&mut self, usual: &[usize]) -> Tensor {
        let shape = self.shape(usual);
        let dtype = self.dtype_near(DType::F32);
        self.tensor(shape, dtype, &mut |d| d.below(400) as f64 / 100.0 - 2.0)
    }

    /// Numbers from 0 to 1, usually floats of this shape.
    pub fn part(&mut self, usual: &[usize]) -> Tensor {
        let shape = self.shape(usual);
        let dtype = self.dtype_near(DType::F32);
        self.tensor(shape, dtype, &mut |d| d.below(100) as f64 / 100.0)
    }

    /// Any tensor.
    pub fn x(&mut self) -> Tensor {
        let rank = self.below(5);
        let usual: Vec<usize> = (0..rank).map(|_| 1 + self.below(3)).collect();
        self.f(&usual)
    }

    /// Integers, usually from 0 to below `end` and of this shape.
    pub fn i(&mut self, usual: &[usize], end: usize) -> Tensor {
        let shape = self.shape(usual);
        let dtype = self.dtype_near(DType::I64);
        let odd = self.bad();
        self.tensor(shape, dtype, &mut |d| match odd && d.below(3) == 0 {
            true => [-1.0, -100.0, end as f64, 1e18, -1e19, 255.0][d.below(6)],
            false => d.below(end) as f64,
        })
    }

    /// Bools, usually of this shape.
    pub fn mask(&mut self, usual: &[usize]) -> Tensor {
        let shape = self.shape(usual);
        let dtype = self.dtype_near(DType::Bool);
        self.tensor(shape, dtype, &mut |d| d.below(2) as f64)
    }

    /// What `draw` makes, or none.
    pub fn maybe<T>(&mut self, draw: impl FnOnce(&mut Dice) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| draw(self))
    }

    /// What a layer makes of `x`; gradients are asked of its parameters too.
    pub fn layer(&mut self, layer: &impl Forward, x: &Tensor) -> Vec<Tensor> {
        self.show(layer);
        if self.below(4) == 0 {
            layer.eval();
        }
        vec![layer.forward(x)]
    }

    /// Prints a module, and has gradients asked of its parameters.
    pub fn show(&mut self, module: &impl Module) {
        let _ = (module.label(), module.extra_repr(), module.num_parameters());
        self.leaves.extend(module.parameters().iter().map(Parameter::tensor));
    }

    /// A parameter.
    pub fn parameter(&mut self, usual: &[usize]) -> Parameter {
        Parameter::new(&self.f(usual))
    }
}
