//! Conditions on values, which are only known when a plan runs.

use std::sync::Arc;

use limpid_kernels::check::{first_false, first_outside};
use limpid_kernels::{DType, Number};

use crate::compound::{Compound, Fault, Io, call_one};
use crate::error::{Error, Result};
use crate::op::{Saves, elementwise, index, movement, source};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::{Tensor, numbers};

/// What must hold of each element.
#[derive(Clone, Copy, Debug)]
enum Condition {
    /// The element of the second input, of bools.
    Given,
    /// It is from one number to another.
    Within(f64, f64),
}

/// `true`, where the condition holds for every element of the first input; else the run fails before anything is
/// written.
#[derive(Debug)]
struct Check {
    what: Arc<str>,
    condition: Condition,
}

impl Compound for Check {
    fn name(&self) -> &'static str {
        "check"
    }

    fn key(&self, key: &mut Vec<u64>) {
        if let Condition::Within(low, high) = self.condition {
            key.extend([low.to_bits(), high.to_bits()]);
        }
        key.push(self.what.len() as u64);
        key.extend(self.what.bytes().map(u64::from));
    }

    fn metas(&self, _inputs: &[Meta]) -> Vec<Meta> {
        vec![(Shape::scalar(), DType::Bool)]
    }

    /// A table of one row is read at row 0 where the condition holds, and at row 1, which does not exist, elsewhere.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = &inputs[0];
        let holds = match self.condition {
            Condition::Given => inputs[1].clone(),
            Condition::Within(low, high) => x.ge(low).logical_and(&x.le(high)),
        };
        let row = elementwise::cast(&holds.logical_not(), DType::I64);
        let table = source::constant_of(Number::Int(1), DType::Bool, Shape::from([1]));
        vec![index::gather(&table, 0, &movement::reshape(&row, Shape::from([x.numel()]))).all(..)]
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
        let x = io.inputs[0];
        let forbidden = match self.condition {
            Condition::Given => first_false(io.cpu, io.inputs[1]),
            Condition::Within(low, high) => first_outside(io.cpu, x, low, high),
        };
        let Some(at) = forbidden else {
            io.outputs[0].bytes().fill(1);
            return Ok(());
        };
        let value = numbers(x).nth(at).expect("both have one shape");
        let value = if x.dtype().is_float() { value.as_f64().to_string() } else { value.as_i64().to_string() };
        let place = place(at, &io.shapes[0]);
        Err(Fault::Refused(format!("{}: element {place} is {value}", self.what).into()))
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

/// `x` in what is computed once the check has passed.
#[track_caller]
fn checked(x: &Tensor, passed: &Tensor) -> Tensor {
    elementwise::select(&movement::broadcast(passed, x.shape()), x, &x.zeros_like())
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
        let check = Check { what: what.into(), condition: Condition::Given };
        checked(self, &call_one(check, &[self, holds]))
    }

    /// [`Tensor::check`] of elements that must be from `low` to `high`; NaN is not. The bounds belong to the plan.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let error = Tensor::from([0.5f32, 1.5]).check_within(0.0, 1.0, "no probability").item().unwrap_err();
    /// assert_eq!(error.what(), "no probability: element [1] is 1.5");
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn check_within(&self, low: f64, high: f64, what: &str) -> Tensor {
        let check = Check { what: what.into(), condition: Condition::Within(low, high) };
        checked(self, &call_one(check, &[self]))
    }
}
