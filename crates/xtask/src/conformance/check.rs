//! Whether results are torch's: types, shapes, values and gradients.

use limpid::{DType, Tensor, eval, gradients};

use super::args::{Result, line};
use super::cases::Case;

/// What a case showed.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong; nothing when the case passed.
    pub problems: Vec<String>,
    /// The largest difference among what is wrong.
    pub largest: f64,
}

/// `torch.testing.assert_close`'s relative and absolute tolerance of a type.
fn tolerance(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::F16 => (1e-3, 1e-5),
        DType::BF16 => (1.6e-2, 1e-5),
        DType::F32 => (1.3e-6, 1e-5),
        DType::F64 => (1e-7, 1e-7),
        _ => (0.0, 0.0),
    }
}

impl Verdict {
    /// Notes what is wrong without a number.
    pub fn wrong(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Compares what Limpid computed with what torch did.
    pub fn compare(&mut self, what: &str, ours: &Tensor, theirs: &Tensor) {
        if let Err(problem) = self.try_compare(what, ours, theirs) {
            self.wrong(format!("{what}: {problem}"));
        }
    }

    fn try_compare(&mut self, what: &str, ours: &Tensor, theirs: &Tensor) -> Result<()> {
        eval([ours]).map_err(line)?;
        if ours.dtype() != theirs.dtype() {
            return Err(format!("is {}, not {}", ours.dtype(), theirs.dtype()));
        }
        if ours.shape() != theirs.shape() {
            return Err(format!("has shape {}, not {}", ours.shape(), theirs.shape()));
        }
        if !ours.dtype().is_float() {
            let integers = |t: &Tensor| t.to_dtype(DType::I64).to_vec::<i64>().map_err(line);
            let (a, b) = (integers(ours)?, integers(theirs)?);
            let different = a.iter().zip(&b).filter(|(a, b)| a != b).count();
            return if different == 0 { Ok(()) } else { Err(format!("{different} of {} elements differ", a.len())) };
        }
        let doubles = |t: &Tensor| t.detach().to_dtype(DType::F64).to_vec::<f64>().map_err(line);
        self.numbers(what, &doubles(ours)?, &doubles(theirs)?, ours.dtype());
        Ok(())
    }

    /// Compares numbers within the tolerance of `dtype`.
    pub fn numbers(&mut self, what: &str, ours: &[f64], theirs: &[f64], dtype: DType) {
        let (relative, absolute) = tolerance(dtype);
        let mut largest = 0f64;
        let mut worst = None;
        for (i, (&a, &b)) in ours.iter().zip(theirs).enumerate() {
            if a == b || (a.is_nan() && b.is_nan()) {
                continue;
            }
            let difference = (a - b).abs();
            let close = b.is_finite() && difference <= absolute + relative * b.abs();
            if !close && (worst.is_none() || difference > largest || difference.is_nan()) {
                largest = if difference.is_nan() { f64::INFINITY } else { difference };
                worst = Some((i, a, b));
            }
        }
        if let Some((i, a, b)) = worst {
            self.largest = self.largest.max(largest);
            self.wrong(format!("{what}[{i}] is {a:e}, not {b:e}"));
        }
    }

    /// Compares the outputs, and the gradients of Σ output·w by `leaves`, w[i] = cos(0.7·i + 0.3).
    pub fn outputs(
        &mut self,
        case: &Case,
        count: usize,
        outputs: &[Tensor],
        leaves: &[(String, Tensor)],
    ) -> Result<()> {
        if outputs.len() != count {
            self.wrong(format!("{} outputs, not {count}", outputs.len()));
        }
        for (i, output) in outputs.iter().enumerate() {
            match case.tensors.get(&format!("output{i}")) {
                Some(expected) => self.compare(&format!("output{i}"), output, expected),
                None => self.wrong(format!("output{i} has no counterpart")),
            }
        }
        let expected: Vec<_> = leaves
            .iter()
            .filter_map(|(name, leaf)| Some((format!("grad.{name}"), leaf, case.tensors.get(&format!("grad.{name}"))?)))
            .collect();
        if expected.is_empty() || outputs.iter().any(|output| output.error().is_some()) {
            return Ok(());
        }
        let terms = outputs.iter().filter(|o| o.dtype().is_float() && o.requires_grad()).map(|o| o.dtype());
        let widest = terms.max().unwrap_or(DType::F64);
        let loss = outputs.iter().filter(|o| o.dtype().is_float() && o.requires_grad()).map(|o| weighted(o, widest));
        let found = match loss.reduce(|a, b| a + b) {
            Some(loss) => gradients(&loss, &expected.iter().map(|(_, leaf, _)| *leaf).collect::<Vec<_>>()),
            None => Ok(vec![None; expected.len()]),
        };
        for ((name, leaf, theirs), ours) in expected.iter().zip(found.map_err(line)?) {
            // No path to the leaf is a gradient of zero.
            self.compare(name, &ours.unwrap_or_else(|| leaf.detach().zeros_like()), theirs);
        }
        Ok(())
    }
}

/// Σ output·w as a scalar of type `sum`.
fn weighted(output: &Tensor, sum: DType) -> Tensor {
    let w = (0..output.numel()).map(|i| (0.7 * i as f64 + 0.3).cos()).collect();
    let w = Tensor::from_vec::<f64>(w, output.shape()).to_dtype(output.dtype());
    (output * w).sum(..).to_dtype(sum)
}
