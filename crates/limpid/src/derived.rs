//! Parameters whose value is a function of others, and values that stand in for parameters for a while.

use std::cell::{Cell as StdCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use limpid_core::{Error, Result, Tensor};

use crate::nn::utils::parametrize::Parametrization;
use crate::param::Parameter;

/// Where the originals of a parameter `weight` stand in a state dict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In `parametrizations.weight`: `original` or `original0`, …; what belongs to step k in `parametrizations.weight.k`.
    Below,
    /// Beside where the parameter stood: `weight_orig`, `weight_mask`.
    Beside,
}

/// How the value of a parameter is made.
pub(crate) struct Derived {
    pub(crate) style: Style,
    /// The last part of the name, and the parameter.
    pub(crate) originals: Vec<(String, Parameter)>,
    /// The first takes the originals, each other one the value so far.
    pub(crate) steps: Vec<Arc<dyn Parametrization>>,
}

impl Derived {
    /// The value, recorded.
    #[track_caller]
    pub(crate) fn value(&self) -> Tensor {
        let mut value: Vec<Tensor> = Vec::with_capacity(self.originals.len());
        for (_, p) in &self.originals {
            value.push(p.tensor());
        }
        for step in &self.steps {
            value = vec![step.forward(&value)];
        }
        value.swap_remove(0)
    }

    /// Originals of which the steps make `value`.
    pub(crate) fn inverse(steps: &[Arc<dyn Parametrization>], value: &Tensor) -> Result<Vec<Tensor>> {
        let mut values = vec![value.clone()];
        for step in steps.iter().rev() {
            let [one] = &values[..] else {
                return Err(Error::new("parametrize: only the first step may have several originals"));
            };
            values = step.right_inverse(one)?;
        }
        if values.is_empty() {
            return Err(Error::new("parametrize: right_inverse gives no original"));
        }
        Ok(values)
    }

    /// Gives the originals values of which `value` is made.
    pub(crate) fn set(&self, value: &Tensor) -> Result<()> {
        let values = Derived::inverse(&self.steps, value)?;
        if values.len() != self.originals.len() {
            let (found, wanted) = (values.len(), self.originals.len());
            return Err(Error::new(format!("parametrize: right_inverse gives {found} originals, not {wanted}")));
        }
        limpid_core::eval(&values)?;
        self.originals.iter().zip(&values).try_for_each(|((_, p), value)| p.set(value))
    }
}

thread_local! {
    /// Values by the cell that they stand for, innermost last.
    static STAND_INS: RefCell<Vec<HashMap<u64, Tensor>>> = const { RefCell::new(Vec::new()) };
    static ANY: StdCell<bool> = const { StdCell::new(false) };
}

/// What stands for the cell of this number on this thread.
pub(crate) fn stand_in(cell: u64) -> Option<Tensor> {
    if !ANY.get() {
        return None;
    }
    STAND_INS.with_borrow(|all| all.iter().rev().find_map(|values| values.get(&cell).cloned()))
}

/// Runs `run` with these values in place of cells; also where it panics, they stand for them no longer afterwards.
pub(crate) fn with_stand_ins<T>(values: HashMap<u64, Tensor>, run: impl FnOnce() -> T) -> T {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            let left = STAND_INS.with_borrow_mut(|all| {
                let gone = all.pop();
                (gone, all.is_empty())
            });
            ANY.set(!left.1);
        }
    }
    STAND_INS.with_borrow_mut(|all| all.push(values));
    ANY.set(true);
    let _guard = Guard;
    run()
}
