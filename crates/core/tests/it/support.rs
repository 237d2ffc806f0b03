//! Random values, layouts, and the comparison of what a plan computes with what the interpreter says.

use limpid_core::reference::{self, Array};
use limpid_core::{DType, Number, Shape, Tensor};

pub const FLOATS: [DType; 4] = [DType::F64, DType::F32, DType::F16, DType::BF16];
pub const TYPES: [DType; 8] =
    [DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64, DType::I32, DType::U8, DType::Bool];

/// The seed of this run: fixed, but for `LIMPID_SEED`.
pub fn seed() -> u64 {
    std::env::var("LIMPID_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_240_607)
}

/// Held by tests that set instruction sets or numbers of threads, which are the whole process's.
pub fn machine() -> std::sync::MutexGuard<'static, ()> {
    static MACHINE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    MACHINE.lock().unwrap_or_else(|e| e.into_inner())
}

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// From −1 to 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A value that suits the type: floats from −4 to 4, all bytes, small integers.
pub fn number(dice: &mut Dice, dtype: DType) -> Number {
    match dtype {
        DType::Bool => Number::Int(dice.below(2) as i64),
        DType::U8 => Number::Int(dice.below(256) as i64),
        DType::I32 | DType::I64 => Number::Int(dice.below(41) as i64 - 20),
        DType::F64 | DType::F32 | DType::F16 | DType::BF16 => Number::Float(dice.unit() * 4.0),
    }
}

/// A leaf of `numbers`.
pub fn leaf(numbers: &[Number], shape: &Shape, dtype: DType) -> Tensor {
    match dtype.is_float() {
        true => Tensor::from_vec(numbers.iter().map(|n| n.as_f64()).collect(), shape).to_dtype(dtype),
        false => Tensor::from_vec(numbers.iter().map(|n| n.as_i64()).collect(), shape).to_dtype(dtype),
    }
    .settled()
}

/// A leaf of random values.
pub fn random(dice: &mut Dice, shape: &Shape, dtype: DType) -> Tensor {
    let numbers: Vec<Number> = (0..shape.elements()).map(|_| number(dice, dtype)).collect();
    leaf(&numbers, shape, dtype)
}

/// A leaf of random values none of which is 0.
pub fn nonzero(dice: &mut Dice, shape: &Shape, dtype: DType) -> Tensor {
    let mut draw = || loop {
        let n = number(dice, dtype);
        if n.as_f64().abs() > 0.05 {
            return n;
        }
    };
    let numbers: Vec<Number> = (0..shape.elements()).map(|_| draw()).collect();
    leaf(&numbers, shape, dtype)
}

trait Settled {
    fn settled(self) -> Self;
}

impl Settled for Tensor {
    fn settled(self) -> Tensor {
        self.eval().expect("a leaf has a value");
        self
    }
}

/// How the elements of an input lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Plain,
    Transposed,
    Narrowed,
    Flipped,
    Strided,
    Broadcast,
}

pub const LAYOUTS: [Layout; 6] =
    [Layout::Plain, Layout::Transposed, Layout::Narrowed, Layout::Flipped, Layout::Strided, Layout::Broadcast];

/// A tensor of `shape` that shows the memory of another leaf, which `make` makes.
pub fn laid_out(shape: &Shape, layout: Layout, make: &mut dyn FnMut(&Shape) -> Tensor) -> Tensor {
    let rank = shape.rank();
    let last = rank.wrapping_sub(1);
    match layout {
        _ if rank == 0 => make(shape),
        Layout::Plain => make(shape),
        Layout::Transposed => {
            let swapped = shape.with(0, shape[last]).with(last, shape[0]);
            make(&swapped).transpose(0, -1)
        }
        Layout::Narrowed => {
            let x =
                make(&shape.with(last, shape[last] + 3).with(0, if last == 0 { shape[0] + 3 } else { shape[0] + 1 }));
            let x = x.narrow(-1, 2, shape[last]);
            if last == 0 { x } else { x.narrow(0, 1, shape[0]) }
        }
        Layout::Flipped => make(shape).flip(0).flip(-1),
        Layout::Strided => make(&shape.with(last, shape[last] * 2)).slice(-1, Some(1), None, 2),
        Layout::Broadcast => {
            let axis = last / 2;
            if shape[axis] == 0 { make(shape) } else { make(&shape.with(axis, 1)).expand_to(shape) }
        }
    }
}

/// Relative and absolute tolerance of a type: torch.testing's.
pub fn tolerance(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::F64 => (1e-7, 1e-7),
        DType::F32 => (1.3e-6, 1e-5),
        DType::F16 => (1e-3, 1e-5),
        DType::BF16 => (1.6e-2, 1e-5),
        _ => (0.0, 0.0),
    }
}

/// Holds `actual` against `expected`, both in row-major order; `slack` multiplies the tolerance.
pub fn close(dtype: DType, actual: &[f64], expected: &[f64], slack: f64) -> Result<(), String> {
    if actual.len() != expected.len() {
        return Err(format!("{} elements, {} expected", actual.len(), expected.len()));
    }
    let (rtol, atol) = tolerance(dtype);
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let same = a == e || (a.is_nan() && e.is_nan());
        let near = e.is_finite() && (a - e).abs() <= slack * (atol + rtol * e.abs());
        if !same && !near {
            return Err(format!("element {i} of {} is {a:e}, expected {e:e} ({dtype})", actual.len()));
        }
    }
    Ok(())
}

/// The values of an evaluated tensor as floats; integers beyond 2⁵³ would not fit, and are not drawn.
pub fn floats(t: &Tensor) -> Result<Vec<f64>, String> {
    let values = if t.dtype().is_float() {
        t.to_vec::<f64>().map_err(|e| e.to_string())?
    } else {
        t.to_vec::<i64>().map_err(|e| e.to_string())?.into_iter().map(|i| i as f64).collect()
    };
    Ok(values)
}

/// Whether a plan computes of `tensors` what the interpreter says. Both may refuse.
pub fn agree(tensors: &[&Tensor], slack: f64) -> Result<Vec<Array>, String> {
    // First: an evaluated tensor forgets how it was made.
    let oracle = reference::evaluate(tensors);
    let planned = limpid_core::eval(tensors.iter().copied());
    match (oracle, planned) {
        (Err(a), Err(b)) if a.what().split(':').next() == b.what().split(':').next() => Ok(Vec::new()),
        (Err(a), b) => Err(format!("the interpreter says {a}, the plan {:?}", b.map(|()| "nothing"))),
        (Ok(_), Err(b)) => Err(format!("the plan says {b}")),
        (Ok(arrays), Ok(())) => {
            for (t, array) in tensors.iter().zip(&arrays) {
                if (t.shape(), t.dtype()) != (&array.shape, array.dtype) {
                    return Err(format!(
                        "{} {} is {} {} for the interpreter",
                        t.dtype(),
                        t.shape(),
                        array.dtype,
                        array.shape
                    ));
                }
                close(t.dtype(), &floats(t)?, &array.floats(), slack)?;
            }
            Ok(arrays)
        }
    }
}

/// The bytes of evaluated tensors.
pub fn bytes(tensors: &[&Tensor]) -> Vec<Vec<u8>> {
    tensors.iter().map(|t| t.to_bytes().expect("it was evaluated")).collect()
}
