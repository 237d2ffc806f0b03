//! Tensors from data and from nothing.

use std::sync::Arc;

use half::{bf16, f16};
use limpid_kernels::index::ScatterFn;
use limpid_kernels::{Buffer, DType, Element, Number};

use crate::error::Error;
use crate::op::{movement, source};
use crate::promote::float_type;
use crate::shape::Shape;
use crate::tensor::{Tensor, buffer_of};

impl Tensor {
    /// A tensor of `shape` that holds `data` in row-major order.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2]);
    /// assert_eq!(x.t().to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn from_vec<T: Element>(data: Vec<T>, shape: impl Into<Shape>) -> Tensor {
        Tensor::from_slice(&data, shape)
    }

    /// A tensor of `shape` that holds a copy of `data` in row-major order.
    #[track_caller]
    pub fn from_slice<T: Element>(data: &[T], shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        if shape.elements() != data.len() {
            let error = Error::new(format!("from_vec: {} elements do not fill {shape}", data.len()));
            return Tensor::fail(error, &[], shape, T::DTYPE);
        }
        source::leaf(Arc::new(Buffer::from_slice(data)), shape, T::DTYPE)
    }

    /// A bool tensor of `shape`.
    #[track_caller]
    pub fn from_bools(data: &[bool], shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        if shape.elements() != data.len() {
            let error = Error::new(format!("from_bools: {} elements do not fill {shape}", data.len()));
            return Tensor::fail(error, &[], shape, DType::Bool);
        }
        let bytes: Vec<u8> = data.iter().map(|&b| u8::from(b)).collect();
        source::leaf(Arc::new(Buffer::from_slice(&bytes)), shape, DType::Bool)
    }

    /// A tensor of `dtype` from its bytes (native order, row-major; bool one byte, 0 or 1).
    #[track_caller]
    pub fn from_bytes(bytes: &[u8], shape: impl Into<Shape>, dtype: DType) -> Tensor {
        let shape = shape.into();
        if shape.elements().checked_mul(dtype.size()) != Some(bytes.len()) {
            let error = Error::new(format!("from_bytes: {} bytes do not fill {dtype} {shape}", bytes.len()));
            return Tensor::fail(error, &[], shape, dtype);
        }
        let clean: Vec<u8>;
        let bytes = if dtype == DType::Bool {
            clean = bytes.iter().map(|&b| u8::from(b != 0)).collect();
            &clean[..]
        } else {
            bytes
        };
        source::leaf(Arc::new(Buffer::from_slice(bytes)), shape, dtype)
    }

    /// The elements' bytes in row-major order, native byte order.
    pub fn to_bytes(&self) -> crate::Result<Vec<u8>> {
        Ok(self.buffer()?.bytes().to_vec())
    }

    /// The evaluated value, shared: what a cell takes.
    pub(crate) fn detach_value(&self) -> crate::Result<Arc<Buffer>> {
        self.buffer()
    }

    /// All elements `value`, of type `dtype`.
    #[track_caller]
    pub fn full_of(shape: impl Into<Shape>, value: f64, dtype: DType) -> Tensor {
        let number = if dtype.is_float() { Number::Float(value) } else { Number::Int(value as i64) };
        movement::broadcast(&source::scalar(number, dtype), &shape.into())
    }

    /// All elements `value`, f32.
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, value: f64) -> Tensor {
        Tensor::full_of(shape, value, DType::F32)
    }

    /// All elements 0, f32.
    #[track_caller]
    pub fn zeros(shape: impl Into<Shape>) -> Tensor {
        Tensor::zeros_of(shape, DType::F32)
    }

    /// All elements 0.
    #[track_caller]
    pub fn zeros_of(shape: impl Into<Shape>, dtype: DType) -> Tensor {
        number_of(0, dtype).expand_to(&shape.into())
    }

    /// All elements 1, f32.
    #[track_caller]
    pub fn ones(shape: impl Into<Shape>) -> Tensor {
        number_of(1, DType::F32).expand_to(&shape.into())
    }

    /// Zeros with the shape and type of self.
    #[track_caller]
    pub fn zeros_like(&self) -> Tensor {
        number_of(0, self.dtype()).expand_to(self.shape())
    }

    /// Ones with the shape and type of self.
    #[track_caller]
    pub fn ones_like(&self) -> Tensor {
        number_of(1, self.dtype()).expand_to(self.shape())
    }

    /// `value` with the shape and type of self, as part of the structure: passes may fold it.
    #[track_caller]
    pub fn constant_like(&self, value: f64) -> Tensor {
        let number = if self.dtype().is_float() { Number::Float(value) } else { Number::Int(value as i64) };
        source::constant_of(number, self.dtype(), self.shape().clone())
    }

    /// start, start + step, … below `end` (above it for a negative step), i64.
    #[track_caller]
    pub fn arange(start: i64, end: i64, step: i64) -> Tensor {
        if step == 0 {
            return Tensor::fail(Error::new("arange: the step is 0"), &[], Shape::from([0]), DType::I64);
        }
        let (first, end, by) = (i128::from(start), i128::from(end), i128::from(step));
        let len = ((end - first + by - by.signum()) / by).clamp(0, usize::MAX as i128) as usize;
        let index = source::iota(Shape::from([len]), 0);
        if (start, step) == (0, 1) {
            return index;
        }
        index * step + start
    }

    /// `steps` numbers from `start` to `end`, both included, evenly spaced, f32.
    #[track_caller]
    pub fn linspace(start: f64, end: f64, steps: usize) -> Tensor {
        // The host makes them: they must be there at once.
        let mut numbers: Vec<f32> = Vec::new();
        if numbers.try_reserve_exact(steps).is_err() {
            let error = Error::new(format!("linspace: there is no memory for {steps} steps"));
            return Tensor::fail(error, &[], Shape::from([steps]), DType::F32);
        }
        let at = |i: usize| {
            // From both ends, as torch: symmetric ranges come out symmetric.
            let step = (end - start) / (steps.max(2) - 1) as f64;
            if i < steps / 2 || steps < 2 { start + step * i as f64 } else { end - step * (steps - 1 - i) as f64 }
        };
        numbers.extend((0..steps).map(|i| at(i) as f32));
        Tensor::from_vec(numbers, [steps])
    }

    /// The identity matrix `[n, n]`, f32.
    #[track_caller]
    pub fn eye(n: usize) -> Tensor {
        let shape = Shape::from([n, n]);
        source::iota(shape.clone(), 0).eq(source::iota(shape, 1)).to_dtype(DType::F32)
    }

    /// 1 at the class of each element, 0 elsewhere: integers `[…]` → i64 `[…, classes]`. With `None` there are as many
    /// classes as the largest element says, which is evaluated now. Torch's `one_hot`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// assert_eq!(Tensor::from([2i64, 0]).one_hot(3).to_vec::<i64>()?, [0, 0, 1, 1, 0, 0]);
    /// assert_eq!(Tensor::from([2i64, 0]).one_hot(None).shape()[..], [2, 3]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: elements that are no integers, a class below 0 or beyond the last; `None` and no elements.
    #[track_caller]
    pub fn one_hot(&self, classes: impl Into<Option<usize>>) -> Tensor {
        let fail = |error: Error, classes: usize, at| {
            let shape = self.shape().inserted(self.rank(), classes);
            Tensor::fail_at(at, error, &[self], shape, DType::I64)
        };
        let (at, classes) = (std::panic::Location::caller(), classes.into());
        if self.dtype().is_float() || self.dtype() == DType::Bool {
            let error = Error::new(format!("one_hot: classes of type {}", self.dtype())).help("to_dtype(DType::I64)");
            return fail(error, classes.unwrap_or(1), at);
        }
        let classes = match classes {
            Some(classes) => classes,
            None if self.numel() == 0 => {
                return fail(Error::new("one_hot: the number of classes of no elements").help("Some(number)"), 1, at);
            }
            None => match self.amax(..).item_i64() {
                Ok(last) => usize::try_from(last).map_or(1, |last| last + 1),
                Err(error) => return fail(error, 1, at),
            },
        };
        let place = movement::reshape(&self.to_dtype(DType::I64), self.shape().inserted(self.rank(), 1));
        let zeros = Tensor::zeros_of(self.shape().inserted(self.rank(), classes), DType::I64);
        // A class that is none fails the run.
        crate::op::index::scatter(ScatterFn::Set, &zeros, self.rank(), &place, &place.ones_like())
    }

    /// The value as a float: integers and bools become f32.
    #[track_caller]
    pub fn to_float(&self) -> Tensor {
        self.to_dtype(float_type(self.dtype()))
    }

    /// The value in another type: floats to integers truncate, anything but 0 is true.
    #[track_caller]
    pub fn to_dtype(&self, dtype: DType) -> Tensor {
        crate::op::elementwise::cast(self, dtype)
    }

    /// The same bits as another type of the same size. Torch's `view(dtype)`.
    #[track_caller]
    pub fn view_dtype(&self, dtype: DType) -> Tensor {
        crate::op::elementwise::bitcast(self, dtype)
    }
}

#[track_caller]
fn number_of(n: i64, dtype: DType) -> Tensor {
    let number = if dtype.is_float() { Number::Float(n as f64) } else { Number::Int(n) };
    source::constant(number, dtype)
}

/// A Rust number or nested array of them as a tensor.
trait Nested {
    fn shape(out: &mut Shape);
    fn numbers(&self, out: &mut Vec<Number>);
    const DTYPE: DType;
}

macro_rules! nested {
    ($($t:ty, $d:ident, $n:expr;)*) => {$(
        impl Nested for $t {
            fn shape(_out: &mut Shape) {}
            fn numbers(&self, out: &mut Vec<Number>) { out.push(($n)(*self)) }
            const DTYPE: DType = DType::$d;
        }
        impl From<$t> for Tensor {
            #[track_caller]
            fn from(x: $t) -> Tensor { from_nested(&x) }
        }
        impl From<Vec<$t>> for Tensor {
            #[track_caller]
            fn from(x: Vec<$t>) -> Tensor {
                let len = x.len();
                let buffer = buffer_of(DType::$d, x.into_iter().map($n));
                source::leaf(Arc::new(buffer), Shape::from([len]), DType::$d)
            }
        }
        impl From<&[$t]> for Tensor {
            #[track_caller]
            fn from(x: &[$t]) -> Tensor {
                Tensor::from(x.to_vec())
            }
        }
    )*};
}

nested! {
    bool, Bool, |x: bool| Number::Int(i64::from(x));
    u8, U8, |x: u8| Number::Int(i64::from(x));
    i32, I32, |x: i32| Number::Int(i64::from(x));
    i64, I64, Number::Int;
    f16, F16, |x: f16| Number::Float(x.to_f64());
    bf16, BF16, |x: bf16| Number::Float(x.to_f64());
    f32, F32, |x: f32| Number::Float(f64::from(x));
    f64, F64, Number::Float;
}

impl<T: Nested, const N: usize> Nested for [T; N] {
    fn shape(out: &mut Shape) {
        out.push(N);
        T::shape(out);
    }
    fn numbers(&self, out: &mut Vec<Number>) {
        self.iter().for_each(|x| x.numbers(out));
    }
    const DTYPE: DType = T::DTYPE;
}

impl<T: Nested, const N: usize> From<[T; N]> for Tensor
where
    [T; N]: Nested,
{
    #[track_caller]
    fn from(x: [T; N]) -> Tensor {
        from_nested(&x)
    }
}

#[track_caller]
fn from_nested<T: Nested>(x: &T) -> Tensor {
    let mut shape = Shape::scalar();
    T::shape(&mut shape);
    let mut numbers = Vec::with_capacity(shape.elements());
    x.numbers(&mut numbers);
    source::leaf(Arc::new(buffer_of(T::DTYPE, numbers.into_iter())), shape, T::DTYPE)
}
