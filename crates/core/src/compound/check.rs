//! Conditions on values, which are only known when a plan runs.

use std::sync::Arc;

use limpid_kernels::{DType, Number};
use smallvec::smallvec;

use crate::compound::{Compound, Fault, Io, call_one};
use crate::error::{Error, Result};
use crate::op::{Backward, Grads, Saves, elementwise, index, movement, source};
use crate::region::Meta;
use crate::shape::Shape;
use crate::sugar::shape::as_type;
use crate::tensor::{Tensor, numbers};

/// The first input, where every element of the second (bool, of the same shape) is true; else the run fails before
/// anything is written.
#[derive(Debug)]
struct Check {
    what: Arc<str>,
}

impl Compound for Check {
    fn name(&self) -> &'static str {
        "check"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.extend(self.what.bytes().map(u64::from));
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![inputs[0].clone()]
    }

    /// A table of one row is read at row 0 where the condition holds, and at row 1, which does not exist, elsewhere.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, holds) = (&inputs[0], &inputs[1]);
        let row = elementwise::cast(&holds.logical_not(), DType::I64);
        let table = source::constant_of(as_type(Number::Int(1), x.dtype()), x.dtype(), Shape::from([1]));
        let ones = index::gather(&table, 0, &movement::reshape(&row, Shape::from([x.numel()])));
        let held = movement::reshape(&ones, x.shape().clone()).ne(x.zeros_like());
        vec![elementwise::select(&held, x, &x.zeros_like())]
    }

    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        Some(smallvec![b.needs[0].then(|| b.g().clone()), None])
    }

    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn may_fail(&self) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let (x, holds) = (io.inputs[0], io.inputs[1]);
        match holds.get::<u8>().iter().position(|&held| held == 0) {
            None => {
                io.outputs[0].bytes().copy_from_slice(x.bytes());
                Ok(())
            }
            Some(at) => {
                let value = numbers(x).nth(at).expect("both have one shape");
                let value = if x.dtype().is_float() { value.as_f64().to_string() } else { value.as_i64().to_string() };
                let place = place(at, &io.shapes[0]);
                Err(Fault::Refused(format!("{}: element {place} is {value}", self.what).into()))
            }
        }
    }
}

/// Element `at` of a tensor of `shape`, as its indices.
fn place(mut at: usize, shape: &Shape) -> String {
    let mut indices: Vec<String> = Vec::new();
    for &size in shape.iter().rev() {
        indices.insert(0, (at % size).to_string());
        at /= size;
    }
    format!("[{}]", indices.join(", "))
}

impl Tensor {
    /// The same tensor; computing it fails with `what`, and the first element at which `holds` (bools of the same
    /// shape) is false. Such checks run before any parameter or buffer is written.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([0.5f32, 1.5]);
    /// let error = x.check(&x.le(1.0), "p is above 1").to_vec::<f32>().unwrap_err();
    /// assert_eq!(error.what(), "p is above 1: element [1] is 1.5");
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn check(&self, holds: &Tensor, what: &str) -> Tensor {
        if holds.shape() != self.shape() || holds.dtype() != DType::Bool {
            let error = format!("check: {} {} is no condition for {}", holds.dtype(), holds.shape(), self.shape());
            return Tensor::fail(Error::new(error), &[self, holds], self.shape().clone(), self.dtype());
        }
        call_one(Check { what: what.into() }, &[self, holds])
    }
}
