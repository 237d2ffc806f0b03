//! Parameters and buffers: the leaves that a module owns.

use std::fmt;
use std::sync::{Arc, RwLock};

use limpid_core::{Cell, DType, Error, Result, Shape, Tensor, Value, fallible};

use crate::derived::{self, Derived};

/// A trainable leaf of a module.
///
/// A clone is the same parameter: two layers that hold clones have tied weights, which are updated once and
/// saved under both names.
///
/// ```
/// use limpid::prelude::*;
/// let w = Parameter::new(&Tensor::from([1.0f32, 2.0]));
/// let loss = (&w * 3.0).sum(..);
/// assert_eq!(loss.item()?, 9.0);
/// w.set(&Tensor::from([0.0f32, 1.0]))?;
/// assert_eq!(w.value()?.to_vec::<f32>()?, [0.0, 1.0]);
/// # Ok::<(), limpid::Error>(())
/// ```
///
/// Its value may be a function of other parameters: see [`parametrize`](crate::nn::utils::parametrize).
#[derive(Clone)]
pub struct Parameter {
    cell: Arc<Cell>,
    /// How its value is made, where it is made of other parameters.
    derived: Arc<RwLock<Option<Arc<Derived>>>>,
}

/// A leaf of a module that is not trained: a running mean, a mask. It is saved, unless it was made
/// [`Buffer::transient`]. A clone is the same buffer.
#[derive(Clone)]
pub struct Buffer {
    cell: Arc<Cell>,
    persistent: bool,
}

/// What both are: reading and writing the cell.
macro_rules! leaf {
    ($name:ident) => {
        impl $name {
            /// The cell that holds the value.
            pub fn cell(&self) -> &Arc<Cell> {
                &self.cell
            }

            /// The current value as a recorded leaf: what a forward pass computes with.
            #[track_caller]
            pub fn tensor(&self) -> Tensor {
                match self.computed() {
                    Some(value) => value,
                    None => self.cell.tensor(),
                }
            }

            /// A snapshot: what is pending runs first, and later updates leave it as it is.
            ///
            /// # Errors
            /// When making the value failed, or an update that is pending does.
            #[track_caller]
            pub fn value(&self) -> Result<Tensor> {
                let Some(value) = self.computed() else { return self.cell.value() };
                let value = value.detach();
                value.eval()?;
                Ok(value)
            }

            /// Gives it the value of `value`, converted to its type. The shape must be the same.
            ///
            /// # Errors
            /// When the shapes differ or `value` can not be computed; it keeps its old value then.
            pub fn set(&self, value: &Tensor) -> Result<()> {
                if let Some(error) = value.error() {
                    return Err(error);
                }
                if *value.shape() != self.shape() {
                    let (to, from) = (self.shape(), value.shape());
                    return Err(Error::new(format!("set: a value of shape {from} for {self:?} of shape {to}")));
                }
                let value = value.detach().to_dtype(self.dtype());
                match self.derived() {
                    Some(derived) => derived.set(&value),
                    None => self.cell.set_value(&value),
                }
            }

            /// Sizes of the value.
            pub fn shape(&self) -> Shape {
                self.cell.shape()
            }

            /// Type of the elements.
            pub fn dtype(&self) -> DType {
                self.cell.dtype()
            }

            /// Number of elements.
            pub fn numel(&self) -> usize {
                self.cell.shape().elements()
            }

            /// A snapshot whose error, if there is one, waits for the read.
            pub(crate) fn snapshot(&self) -> Tensor {
                fallible(|| self.cell.value())
            }
        }

        impl From<&$name> for Arc<Cell> {
            fn from(leaf: &$name) -> Arc<Cell> {
                leaf.cell.clone()
            }
        }

        impl From<&$name> for Value {
            #[track_caller]
            fn from(leaf: &$name) -> Value {
                Value::Tensor(leaf.tensor())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let name = self.cell.label();
                let kind = stringify!($name);
                write!(f, "{kind} {} ({} {})", name.as_deref().unwrap_or("without name"), self.dtype(), self.shape())
            }
        }
    };
}

leaf!(Parameter);
leaf!(Buffer);

impl Parameter {
    /// A parameter with the value of `init`. Where `init` carries an error, reading the parameter returns it.
    pub fn new(init: &Tensor) -> Parameter {
        Parameter { cell: Cell::new(init, true), derived: Arc::default() }
    }

    /// Whether it is trained; of one whose value is made of others, whether these are.
    pub fn requires_grad(&self) -> bool {
        match self.derived() {
            Some(derived) => derived.originals.iter().any(|(_, p)| p.requires_grad()),
            None => self.cell.trainable(),
        }
    }

    /// Freezes it (`false`) or makes it trainable again.
    pub fn requires_grad_(&self, trainable: bool) {
        match self.derived() {
            Some(derived) => derived.originals.iter().for_each(|(_, p)| p.requires_grad_(trainable)),
            None => self.cell.set_trainable(trainable),
        }
    }

    /// How its value is made of others.
    pub(crate) fn derived(&self) -> Option<Arc<Derived>> {
        self.derived.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub(crate) fn set_derived(&self, derived: Option<Arc<Derived>>) {
        *self.derived.write().unwrap_or_else(|e| e.into_inner()) = derived;
        // What was captured reads the value that the parameter had.
        limpid_core::invalidate_captures();
    }

    /// The same cell as a parameter that has its own value: an original.
    pub(crate) fn bare(&self) -> Parameter {
        Parameter { cell: self.cell.clone(), derived: Arc::default() }
    }

    /// The value that is not the cell's.
    #[track_caller]
    fn computed(&self) -> Option<Tensor> {
        match self.derived() {
            Some(derived) => Some(derived.value()),
            None => derived::stand_in(self.cell.id()),
        }
    }
}

impl Buffer {
    /// A buffer with the value of `init`, which is saved with the model.
    pub fn new(init: &Tensor) -> Buffer {
        Buffer { cell: Cell::new(init, false), persistent: true }
    }

    /// A buffer that no state dict holds. Torch's `register_buffer(persistent=False)`.
    pub fn transient(init: &Tensor) -> Buffer {
        Buffer { persistent: false, ..Buffer::new(init) }
    }

    /// A buffer is never made of others.
    fn derived(&self) -> Option<Arc<Derived>> {
        None
    }

    fn computed(&self) -> Option<Tensor> {
        None
    }

    /// Whether state dicts hold it.
    pub fn persistent(&self) -> bool {
        self.persistent
    }

    /// Records that it takes `value`: runs once, with the first plan that evaluates anything recorded later.
    #[track_caller]
    pub fn assign(&self, value: &Tensor) {
        self.cell.assign(&value.detach());
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident,)*) => {$(
        impl<R: Into<Value>> std::ops::$trait<R> for &Parameter {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: R) -> Tensor {
                std::ops::$trait::$method(self.tensor(), other)
            }
        }
        impl<R: Into<Value>> std::ops::$trait<R> for &Buffer {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: R) -> Tensor {
                std::ops::$trait::$method(self.tensor(), other)
            }
        }
    )*};
}
operators! { Add add, Sub sub, Mul mul, Div div, }
