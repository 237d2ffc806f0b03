//! Whether results are torch's: types, shapes, values and gradients.

use std::collections::BTreeMap;

use limpid::{DType, Tensor, eval, gradients};

use super::args::{Result, line};
use super::cases::Case;
use super::random::Law;

/// The largest rounding of torch's f32 that is believed: beside the largest number of the tensor, and where all cancel.
const ROUNDING: (f64, f64) = (1e-2, 1e-4);

/// A case that was called: nothing is computed yet.
pub struct Recorded {
    pub outputs: Vec<Tensor>,
    /// What gradients are taken by: inputs and parameters, each with its name.
    pub leaves: Vec<(String, Tensor)>,
    /// What the outputs follow where they are random.
    pub law: Option<Law>,
}

/// What a case showed.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong; nothing when the case passed.
    pub problems: Vec<String>,
    /// The largest difference among what is wrong.
    pub largest: f64,
    /// Where torch's own rounding is what differs: see [`Verdict::settle`].
    pub rounded: Vec<String>,
    /// Numbers that differ: which problem says so.
    misses: Vec<Miss>,
    /// All numbers that were compared, by what they are.
    values: BTreeMap<String, Vec<f64>>,
}

#[derive(Debug)]
struct Miss {
    problem: usize,
    what: String,
    theirs: Vec<f64>,
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
    /// A case that went wrong before anything was compared.
    pub fn of(problem: String) -> Verdict {
        Verdict { problems: vec![problem], ..Verdict::default() }
    }

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
        let doubles = |t: &Tensor| t.detach().to_dtype(DType::F64).to_vec::<f64>().map_err(line);
        if ours.dtype().is_float() {
            self.values.insert(what.to_owned(), doubles(ours)?);
        }
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
            self.misses.push(Miss { problem: self.problems.len(), what: what.to_owned(), theirs: theirs.to_vec() });
            self.wrong(format!("{what}[{i}] is {a:e}, not {b:e}"));
        }
    }

    /// Whether numbers differ, so that the same case in f64 can tell whose rounding it is.
    pub fn differs(&self) -> bool {
        !self.misses.is_empty()
    }

    /// The wider tolerance, where `exact` is the same case computed in f64 (whose own cases hold to 1e-7): torch's f32
    /// numbers are rounded too, and where sums are long or cancel, by more than the tolerance. A number passes that is
    /// within the tolerance of the exact one, or no farther from it than twice the farthest of torch's (the
    /// farthest of some hundred roundings scatters as much). That is rounding
    /// only where it is small beside the numbers; else the case is a mistake of ours, in both types.
    pub fn settle(&mut self, exact: &Verdict, dtype: DType) {
        let (relative, absolute) = tolerance(dtype);
        let mut settled = Vec::new();
        for miss in &self.misses {
            let (Some(ours), Some(exact)) = (self.values.get(&miss.what), exact.values.get(&miss.what)) else {
                continue;
            };
            if ours.len() != exact.len() || miss.theirs.len() != exact.len() {
                continue;
            }
            let far = |values: &[f64]| values.iter().zip(exact).map(|(v, e)| (v - e).abs()).fold(0.0, f64::max);
            let (ours_off, theirs_off) = (far(ours), far(&miss.theirs));
            let largest = exact.iter().map(|e| e.abs()).fold(0.0, f64::max);
            let fits = theirs_off <= (ROUNDING.0 * largest).max(ROUNDING.1)
                && ours.iter().zip(exact).zip(&miss.theirs).all(|((a, e), b)| {
                    let wide = (absolute + relative * e.abs()).max(2.0 * theirs_off);
                    (a - e).abs() <= wide || (a.is_nan() && b.is_nan()) || a == b
                });
            if fits {
                let what = &miss.what;
                self.rounded.push(format!("{what}: torch is off by {theirs_off:.1e}, Limpid by {ours_off:.1e}"));
                settled.push(miss.problem);
            }
        }
        let mut at = 0..;
        self.problems.retain(|_| !settled.contains(&at.next().expect("endless")));
    }

    /// Compares the outputs, and the gradients of Σ output·w by `leaves`, `w[i] = cos(0.7·i + 0.3)`.
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
        let terms: Vec<&Tensor> = outputs.iter().filter(|o| o.dtype().is_float() && o.requires_grad()).collect();
        let widest = terms.iter().map(|o| o.dtype()).max().unwrap_or(DType::F64);
        let loss = terms.iter().map(|o| weighted(o, widest));
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

/// The w of `n` elements: w\[i\] = cos(0.7·i + 0.3).
pub fn weights(n: usize) -> Vec<f64> {
    (0..n).map(|i| (0.7 * i as f64 + 0.3).cos()).collect()
}

/// Σ output·w as a scalar of type `sum`.
pub fn weighted(output: &Tensor, sum: DType) -> Tensor {
    let w = Tensor::from_vec::<f64>(weights(output.numel()), output.shape()).to_dtype(output.dtype());
    (output * w).sum(..).to_dtype(sum)
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::conformance::args::Tensors;

    fn problems(compare: impl FnOnce(&mut Verdict)) -> usize {
        let mut verdict = Verdict::default();
        compare(&mut verdict);
        verdict.problems.len()
    }

    #[test]
    fn values_are_compared_within_the_tolerance_of_their_type() {
        let nan = f64::NAN;
        let rows = [
            (DType::F64, 1.0, 1.0 + 1.9e-7, true),
            (DType::F64, 1.0, 1.0 + 2.1e-7, false),
            (DType::F32, 100.0, 100.0 + 1.3e-4, true),
            (DType::F32, 100.0, 100.0 + 1.5e-4, false),
            (DType::F64, nan, nan, true),
            (DType::F64, nan, 1.0, false),
            (DType::F64, 1.0, nan, false),
            (DType::F64, f64::INFINITY, f64::INFINITY, true),
            (DType::F64, f64::MAX, f64::INFINITY, false),
            (DType::F64, 0.0, -0.0, true),
        ];
        for (dtype, ours, theirs, close) in rows {
            assert_eq!(problems(|v| v.numbers("x", &[ours], &[theirs], dtype)) == 0, close, "{ours} {theirs} {dtype}");
        }
    }

    #[test]
    fn the_same_case_in_f64_tells_whose_rounding_it_is() {
        let verdict = |ours: f64, dtype: DType| {
            let mut verdict = Verdict::default();
            verdict.compare("x", &Tensor::from([ours, 1.0]).to_dtype(dtype), &Tensor::from([2.0f32, 1.0]));
            verdict
        };
        // torch's 2 is off by 1e-3: what is off by up to twice that passes, and is listed.
        for (ours, fits) in [(2.001, true), (2.0028, true), (2.0032, false), (1.9, false)] {
            let mut found = verdict(ours, DType::F32);
            assert!(found.differs());
            found.settle(&verdict(2.001, DType::F64), DType::F32);
            assert_eq!((found.problems.is_empty(), found.rounded.len()), (fits, usize::from(fits)), "{ours}");
        }
        // A mistake of ours in both types is no rounding of torch's.
        let mut found = verdict(2.1, DType::F32);
        found.settle(&verdict(2.1, DType::F64), DType::F32);
        assert_eq!((found.problems.len(), found.rounded.len()), (1, 0));
        // Where torch is right there is nothing to settle.
        let mut found = verdict(2.0001, DType::F32);
        found.settle(&verdict(2.0, DType::F64), DType::F32);
        assert_eq!((found.problems.len(), found.rounded.len()), (1, 0));
    }

    #[test]
    fn types_shapes_and_integers_must_be_equal() {
        let one = Tensor::from([1.0f32, 2.0]);
        assert_eq!(problems(|v| v.compare("x", &one, &one)), 0);
        assert_eq!(problems(|v| v.compare("x", &one, &one.to_dtype(DType::F64))), 1);
        assert_eq!(problems(|v| v.compare("x", &one, &one.unsqueeze(0))), 1);
        assert_eq!(problems(|v| v.compare("x", &Tensor::from([1i64, 2]), &Tensor::from([1i64, 3]))), 1);
        assert_eq!(problems(|v| v.compare("x", &one.narrow(0, 0, 9), &one)), 1);
    }

    #[test]
    fn gradients_of_the_weighted_sum_are_compared() {
        let x = Tensor::from([1.0f64, 2.0]).requires_grad_();
        let w = [0.3f64.cos(), 1.0f64.cos()];
        let case = |scale: f64| Case {
            id: "case0".to_owned(),
            json: Json::Null,
            tensors: Tensors::from([
                ("output0".to_owned(), Tensor::from([1.0f64, 4.0])),
                ("grad.input0".to_owned(), Tensor::from([2.0 * w[0], 4.0 * w[1] * scale])),
            ]),
        };
        let run = |case: &Case, count| {
            let leaves = [("input0".to_owned(), x.clone())];
            problems(|v| v.outputs(case, count, &[x.square()], &leaves).expect("it runs"))
        };
        assert_eq!(run(&case(1.0), 1), 0);
        assert_eq!(run(&case(1.001), 1), 1);
        assert_eq!(run(&case(1.0), 2), 1, "the number of outputs");
    }
}
