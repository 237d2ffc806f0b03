//! Neighbours along an axis: differences, integrals.

use limpid_kernels::DType;

use crate::error::Error;
use crate::op::movement;
use crate::shape::Shape;
use crate::sugar::operators::Value;
use crate::tensor::Tensor;

impl Tensor {
    /// The differences of neighbours along `dim`, `n` times over; `prepend` and `append` are put before and behind
    /// first. Bools give whether neighbours differ. Torch's `diff`, whose defaults are 1, −1 and nothing.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([1i64, 4, 9, 16]);
    /// assert_eq!(x.diff(1, -1, None, None).to_vec::<i64>()?, [3, 5, 7]);
    /// assert_eq!(x.diff(2, -1, None, None).to_vec::<i64>()?, [2, 2]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn diff(&self, n: usize, dim: isize, prepend: Option<&Tensor>, append: Option<&Tensor>) -> Tensor {
        let Some(axis) = self.shape().axis(dim) else { return self.bad_axis("diff", dim) };
        if n == 0 {
            return self.clone();
        }
        let parts: Vec<&Tensor> = prepend.into_iter().chain([self]).chain(append).collect();
        let mut x = if parts.len() > 1 { Tensor::cat(&parts, dim) } else { self.clone() };
        if x.error().is_some() {
            return x;
        }
        for _ in 0..n.min(x.shape()[axis]) {
            let len = x.shape()[axis].saturating_sub(1);
            let behind = movement::slice(&x, axis, i64::from(len > 0), 1, len);
            let before = movement::slice(&x, axis, 0, 1, len);
            x = if x.dtype() == DType::Bool { behind.ne(&before) } else { behind - before };
        }
        x
    }

    /// The integral along `dim` by trapezia: Σ (y\[i\] + y\[i+1\])/2·Δ. `spacing` is Δ, a number, or the places of the
    /// elements: a vector, or a tensor that broadcasts. Torch's `trapezoid`, whose defaults are 1 and −1.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let y = Tensor::from([1.0f32, 3.0, 5.0]);
    /// assert_eq!(y.trapezoid(0.5, -1).item()?, 3.0);
    /// assert_eq!(y.trapezoid(Tensor::from([0.0f32, 1.0, 3.0]), -1).item()?, 10.0);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn trapezoid(&self, spacing: impl Into<Value>, dim: isize) -> Tensor {
        match self.trapezia("trapezoid", spacing.into(), dim) {
            Ok((areas, axis)) => areas.sum(axis),
            Err(failed) => failed,
        }
    }

    /// [`Tensor::trapezoid`] up to each element but the first. Torch's `cumulative_trapezoid`.
    #[track_caller]
    pub fn cumulative_trapezoid(&self, spacing: impl Into<Value>, dim: isize) -> Tensor {
        match self.trapezia("cumulative_trapezoid", spacing.into(), dim) {
            Ok((areas, axis)) => areas.cumsum(axis),
            Err(failed) => failed,
        }
    }

    /// The area between each two neighbours, and the axis along which they lie.
    #[track_caller]
    fn trapezia(&self, name: &str, spacing: Value, dim: isize) -> Result<(Tensor, isize), Tensor> {
        let Some(axis) = self.shape().axis(dim) else { return Err(self.bad_axis(name, dim)) };
        let y = self.to_float();
        // Counted from the last axis: the places may have more axes than the elements.
        let from_end = axis as isize - self.rank() as isize;
        let width = match spacing {
            Value::Number(n) => Value::Number(n),
            Value::Tensor(x) if x.rank() == 1 && x.numel() == y.shape()[axis] => {
                let thin: Shape = (0..y.rank()).map(|i| if i == axis { x.numel() } else { 1 }).collect();
                movement::reshape(&x, thin).diff(1, from_end, None, None).into()
            }
            Value::Tensor(x)
                if x.rank() > 1 && x.shape().broadcast(y.shape()).is_some() && x.size(from_end) == y.size(from_end) =>
            {
                x.diff(1, from_end, None, None).into()
            }
            Value::Tensor(x) => {
                let error =
                    Error::new(format!("{name}: places {} of elements {} along axis {dim}", x.shape(), y.shape()));
                return Err(Tensor::fail(error, &[self, &x], self.shape().clone(), y.dtype()));
            }
        };
        let len = y.shape()[axis].saturating_sub(1);
        let behind = movement::slice(&y, axis, i64::from(len > 0), 1, len);
        let sums = movement::slice(&y, axis, 0, 1, len) + behind;
        Ok((sums * width * 0.5, from_end))
    }
}
