//! The handle that users hold, and reading values out of it.

use std::panic::Location;
use std::sync::Arc;

use limpid_kernels::{Buffer, DType, Element, Number, Slice};

use crate::error::{Error, Result};
use crate::node::{Inputs, Node};
use crate::op::Op;
use crate::origin::Origin;
use crate::shape::Shape;

/// A tensor: a cheap handle on a recorded node.
///
/// Operations look eager and are recorded; values are computed when they are read ([`Tensor::item`],
/// [`Tensor::to_vec`], printing) or when an optimizer steps. A wrong operation yields a tensor that
/// carries the error, which the read returns.
///
/// ```
/// use limpid_core::Tensor;
/// let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
/// let y = (&x * 2.0 + 1.0).sum(-1);
/// assert_eq!(y.to_vec::<f32>()?, [8.0, 16.0]);
///
/// let wrong = x.matmul(&Tensor::zeros([3, 2])).relu();
/// assert!(wrong.to_vec::<f32>().unwrap_err().to_string().starts_with("matmul: inner sizes differ"));
/// # Ok::<(), limpid_core::Error>(())
/// ```
#[must_use = "an operation that nobody reads is never computed"]
pub struct Tensor {
    pub(crate) node: Arc<Node>,
}

impl Clone for Tensor {
    #[inline]
    fn clone(&self) -> Tensor {
        Tensor::hold(self.node.clone())
    }
}

impl Drop for Tensor {
    #[inline]
    fn drop(&mut self) {
        self.node.release();
    }
}

impl Tensor {
    /// A handle on `node`.
    #[inline]
    pub(crate) fn hold(node: Arc<Node>) -> Tensor {
        node.hold();
        Tensor { node }
    }

    /// Records `op` over `inputs`, whose shapes and types have been checked; passes an input's error on.
    #[track_caller]
    pub(crate) fn record(op: Op, inputs: &[&Tensor], shape: Shape, dtype: DType) -> Tensor {
        let at = Location::caller();
        if let Some(error) = first_error(inputs) {
            return Tensor::hold(Node::failed(error, shape, dtype, at));
        }
        if !shape.addressable() {
            return too_large(op.name(), &shape, dtype, at);
        }
        let inputs: Inputs = inputs.iter().map(|t| t.node.clone()).collect();
        let tensor = Tensor::hold(Node::new(op, inputs, shape, dtype, at));
        if tensor.node.too_deep() {
            tensor.evaluate_early();
        }
        tensor
    }

    #[cold]
    fn evaluate_early(&self) {
        // An error here is not lost: the read will meet it again.
        let _ = crate::exec::evaluate(&[self]);
    }

    /// A tensor that carries `error`, of a shape that lets later operations go on: what an operation returns that
    /// refuses its `inputs`. The first error among them wins over it.
    #[track_caller]
    pub fn fail(error: Error, inputs: &[&Tensor], shape: Shape, dtype: DType) -> Tensor {
        Tensor::fail_at(Location::caller(), error, inputs, shape, dtype)
    }

    /// [`Tensor::fail`] at the line `at`: for closures, which do not know who called the function around them.
    pub(crate) fn fail_at(
        at: &'static Location<'static>,
        error: Error,
        inputs: &[&Tensor],
        shape: Shape,
        dtype: DType,
    ) -> Tensor {
        let error = first_error(inputs).unwrap_or(error);
        Tensor::hold(Node::failed(error, shape, dtype, at))
    }

    /// A tensor that carries `error`: what a function that must return a tensor returns when it can not.
    ///
    /// ```
    /// use limpid_core::{Error, Tensor};
    /// let t = Tensor::failed(Error::new("load: no such file")) + 1.0;
    /// assert_eq!(t.item().unwrap_err().what(), "load: no such file");
    /// ```
    #[track_caller]
    pub fn failed(error: Error) -> Tensor {
        Tensor::fail(error, &[], Shape::scalar(), DType::F32)
    }

    /// Sizes, outermost first.
    pub fn shape(&self) -> &Shape {
        &self.node.shape
    }

    /// The sizes as an array: `let [batch, time, channels] = x.dims();`. Where the tensor has another
    /// number of axes, all are 1 (its error, if it carries one, is returned by the read).
    pub fn dims<const N: usize>(&self) -> [usize; N] {
        <[usize; N]>::try_from(&self.node.shape[..]).unwrap_or([1; N])
    }

    /// Size of one axis; negative ones count from the end. 1 for an axis that is not there.
    pub fn size(&self, axis: isize) -> usize {
        self.shape().axis(axis).map_or(1, |axis| self.shape()[axis])
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.node.shape.rank()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.node.shape.elements()
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.node.dtype
    }

    /// Whether both are handles on one recorded value: Python's `is`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::zeros([2]);
    /// assert!(x.is(&x.clone()) && !x.is(&Tensor::zeros([2])));
    /// ```
    pub fn is(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }

    /// Where this was recorded.
    pub fn origin(&self) -> &Origin {
        &self.node.origin
    }

    /// The error that this tensor carries, when it does.
    pub fn error(&self) -> Option<Error> {
        self.node.error()
    }

    /// Whether a gradient can be asked of it: it is a float computed from a parameter.
    pub fn requires_grad(&self) -> bool {
        self.node.trainable()
    }

    /// Computes the value now, if that has not been done.
    pub fn eval(&self) -> Result<()> {
        crate::exec::evaluate(&[self])
    }

    /// The value, evaluated, as one contiguous buffer.
    pub(crate) fn buffer(&self) -> Result<Arc<Buffer>> {
        if crate::exec::capture::capturing() {
            let error = Error::new("capture: a value is read inside the captured function").at(&self.node.origin);
            return Err(self.error().unwrap_or_else(|| error.help("returning the tensor and reading it outside")));
        }
        self.eval()?;
        self.node.value().ok_or_else(|| {
            Error::new("read: the value is not known while a region is recorded")
                .at(&self.node.origin)
                .help("reading outside the body of call, loop_over, branch or capture")
        })
    }

    /// The elements in row-major order, converted to `T` as a cast does.
    ///
    /// # Errors
    /// The error that the tensor carries, or one that computing it meets (an index out of range).
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let buffer = self.buffer()?;
        let slice = Slice::new(self.dtype(), buffer.bytes());
        if T::DTYPE == self.dtype() {
            return Ok(slice.get::<T>().to_vec());
        }
        Ok(numbers(slice).map(T::from_number).collect())
    }

    /// The elements as an array. Errors when the number of elements is not `N`.
    pub fn to_array<T: Element, const N: usize>(&self) -> Result<[T; N]> {
        self.to_vec::<T>()?.try_into().map_err(|v: Vec<T>| {
            Error::new(format!("to_array: {} elements do not fill an array of {N}", v.len())).at(&self.node.origin)
        })
    }

    /// The one element as a number.
    ///
    /// # Errors
    /// When there is not exactly one element, or computing it fails.
    pub fn item(&self) -> Result<f64> {
        let buffer = self.buffer()?;
        if self.numel() != 1 {
            let error = Error::new(format!("item: the tensor has {} elements, shape {}", self.numel(), self.shape()));
            return Err(error.at(&self.node.origin).help("to_vec, or reduce first: sum(..), mean(..)"));
        }
        let first = numbers(Slice::new(self.dtype(), buffer.bytes())).next();
        Ok(first.expect("one element").as_f64())
    }

    /// The one element as an integer, without the detour through floats that [`Tensor::item`] takes.
    pub fn item_i64(&self) -> Result<i64> {
        self.item()?;
        let buffer = self.buffer()?;
        let first = numbers(Slice::new(self.dtype(), buffer.bytes())).next();
        Ok(first.expect("one element").as_i64())
    }
}

/// The elements of a slice as numbers.
pub(crate) fn numbers<'a>(slice: Slice<'a>) -> Box<dyn Iterator<Item = Number> + 'a> {
    fn typed<'a, T: Element>(slice: Slice<'a>) -> Box<dyn Iterator<Item = Number> + 'a> {
        Box::new(slice.get::<T>().iter().map(|x| x.to_number()))
    }
    match slice.dtype() {
        DType::Bool | DType::U8 => typed::<u8>(slice),
        DType::I32 => typed::<i32>(slice),
        DType::I64 => typed::<i64>(slice),
        DType::F16 => typed::<half::f16>(slice),
        DType::BF16 => typed::<half::bf16>(slice),
        DType::F32 => typed::<f32>(slice),
        DType::F64 => typed::<f64>(slice),
    }
}

/// A buffer of `dtype` that holds `numbers`.
pub(crate) fn buffer_of(dtype: DType, numbers: impl Iterator<Item = Number>) -> Buffer {
    fn typed<T: Element>(numbers: impl Iterator<Item = Number>) -> Buffer {
        Buffer::from_slice(&numbers.map(T::from_number).collect::<Vec<T>>())
    }
    match dtype {
        DType::Bool => typed::<u8>(numbers.map(|n| Number::Int(i64::from(n.as_f64() != 0.0)))),
        DType::U8 => typed::<u8>(numbers),
        DType::I32 => typed::<i32>(numbers),
        DType::I64 => typed::<i64>(numbers),
        DType::F16 => typed::<half::f16>(numbers),
        DType::BF16 => typed::<half::bf16>(numbers),
        DType::F32 => typed::<f32>(numbers),
        DType::F64 => typed::<f64>(numbers),
    }
}

/// Computes several tensors in one plan: what they share is computed once.
pub fn eval<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
    crate::exec::evaluate(&tensors.into_iter().collect::<Vec<_>>())
}

/// What stands for a tensor that no memory holds: of its rank, and of a size that nothing overflows with.
#[cold]
fn too_large(name: &str, shape: &Shape, dtype: DType, at: &'static Location<'static>) -> Tensor {
    let error = Error::new(format!("{name}: a tensor of shape {shape} has more elements than memory can address"));
    Tensor::fail_at(at, error, &[], shape.clone(), dtype)
}

/// The earliest recorded error among `inputs`.
fn first_error(inputs: &[&Tensor]) -> Option<Error> {
    inputs.iter().filter(|t| t.node.error().is_some()).min_by_key(|t| t.node.id).and_then(|t| t.node.error())
}

/// Turns a `Result<Tensor>` into a tensor: the error waits for the read, as all others do.
///
/// ```
/// use limpid_core::{Error, Tensor, fallible};
/// let t = fallible(|| Err(Error::new("no data")));
/// assert_eq!(t.item().unwrap_err().what(), "no data");
/// ```
#[track_caller]
pub fn fallible(f: impl FnOnce() -> Result<Tensor>) -> Tensor {
    // A function passed on by name would not know who called.
    match f() {
        Ok(tensor) => tensor,
        Err(error) => Tensor::failed(error),
    }
}
