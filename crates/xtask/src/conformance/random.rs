//! Random results: torch's own draw is no one else's, so what is tested is the law of the draws.
//!
//! The seeds are fixed, so a verdict is the same each time. Statistics are compared within six standard errors: a right
//! law fails one comparison in 5·10⁸ where the statistic is normal.

use limpid::{Tensor, eval, gradients, manual_seed};

use super::args::{Result, line};
use super::cases::Case;
use super::check::Verdict;

/// How many draws are looked at.
const DRAWS: u64 = 256;

/// How far a statistic may be from its expectation, in standard errors.
const ERRORS: f64 = 6.0;

/// What the draws of a call follow. Each law says how y depends on the first input x.
#[derive(Debug)]
pub enum Law {
    /// Zero with probability `p`, else x/(1 − p). The first `axes` axes of x name a draw, the others share it.
    Dropout { p: f64, axes: usize },
    /// With probability `p` −λα of SELU instead of x, then a·x + b such that mean 0 and variance 1 stay.
    AlphaDropout { p: f64, axes: usize },
    /// x where x > 0, else r·x, r evenly spread over `lower` … `upper` for each element.
    Slopes { lower: f64, upper: f64 },
    /// Each element's mean over draws is this one's: what the call gives without drawing.
    Mean(Tensor),
    /// Nothing is said but that it draws. Where that changes nothing, results are torch's.
    Any,
}

/// y = s·x + at + by·s with a random slope s: what a law says of an element.
struct Slope {
    /// The smallest and the largest.
    range: (f64, f64),
    /// Whether those between occur.
    between: bool,
    mean: f64,
    variance: f64,
    /// E (s − mean)⁴
    fourth: f64,
    at: f64,
    by: f64,
}

impl Slope {
    /// 0 with probability `p`, else `largest`.
    fn of_two(p: f64, largest: f64, at: f64, by: f64) -> Slope {
        let variance = largest * largest * p * (1.0 - p);
        let fourth = largest.powi(2) * variance * (1.0 - 3.0 * p * (1.0 - p));
        Slope { range: (0.0, largest), between: false, mean: largest * (1.0 - p), variance, fourth, at, by }
    }

    fn may_be(&self, s: f64) -> bool {
        let (low, high) = self.range;
        let near = |a: f64| (s - a).abs() <= 1e-6 * a.abs();
        near(low) || near(high) || (self.between && low <= s && s <= high)
    }
}

impl Law {
    /// What the law says of elements that draw, and the axes that name a draw; `None` for laws without slopes.
    fn slope(&self, rank: usize) -> Option<(Slope, usize)> {
        match *self {
            Law::Dropout { p, axes } => Some((Slope::of_two(p, 1.0 / (1.0 - p), 0.0, 0.0), axes)),
            Law::AlphaDropout { p, axes } => {
                let alpha = 1.758_099_340_847_376_6;
                let a = 1.0 / ((1.0 - p) * (1.0 + p * alpha * alpha)).sqrt();
                Some((Slope::of_two(p, a, -a * alpha * (1.0 - p), alpha), axes))
            }
            Law::Slopes { lower, upper } => {
                let (mean, wide) = (f64::midpoint(lower, upper), upper - lower);
                let (variance, fourth) = (wide.powi(2) / 12.0, wide.powi(4) / 80.0);
                let range = (lower, upper);
                Some((Slope { range, between: true, mean, variance, fourth, at: 0.0, by: 0.0 }, rank))
            }
            Law::Mean(_) | Law::Any => None,
        }
    }

    /// Whether an element of this x draws.
    fn random(&self, x: f64) -> bool {
        !matches!(self, Law::Slopes { .. }) || x < 0.0
    }
}

/// The outputs of a seed, and the gradient of their sum by the first input.
struct Draw {
    outputs: Vec<Tensor>,
    slope: Option<Tensor>,
}

impl Draw {
    fn of(seed: u64, leaf: Option<&Tensor>, call: &dyn Fn() -> Result<Vec<Tensor>>) -> Result<Draw> {
        manual_seed(seed);
        let outputs = call()?;
        let sums = outputs.iter().filter(|y| y.requires_grad()).map(|y| y.sum(..));
        let slope = match (leaf.filter(|leaf| leaf.dtype().is_float()), sums.reduce(|a, b| a + b)) {
            (Some(leaf), Some(sum)) => gradients(&sum, &[leaf]).map_err(line)?.remove(0),
            _ => None,
        };
        eval(outputs.iter().chain(&slope)).map_err(line)?;
        Ok(Draw { outputs, slope })
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let parts: Result<Vec<_>> =
            self.outputs.iter().chain(&self.slope).map(|t| t.to_bytes().map_err(line)).collect();
        Ok(parts?.concat())
    }
}

/// Checks that a call follows its law: types and shapes are torch's, the same seed gives the same bits, others differ,
/// and the moments over many seeds are the law's. `call` makes the results anew.
pub fn check(
    verdict: &mut Verdict,
    case: &Case,
    law: &Law,
    leaves: &[(String, Tensor)],
    call: &dyn Fn() -> Result<Vec<Tensor>>,
) -> Result<()> {
    let leaf = leaves.first().map(|(_, leaf)| leaf);
    let draws = (0..DRAWS).map(|seed| Draw::of(seed, leaf, call)).collect::<Result<Vec<_>>>()?;
    for (i, output) in draws[0].outputs.iter().enumerate() {
        let like = case.tensors.get(&format!("output{i}")).map(|t| (t.dtype(), t.shape()));
        if like != Some((output.dtype(), output.shape())) {
            verdict.wrong(format!("output{i} is {} {}, not {like:?}", output.dtype(), output.shape()));
        }
    }
    let bytes = draws.iter().map(Draw::bytes).collect::<Result<Vec<_>>>()?;
    if Draw::of(0, leaf, call)?.bytes()? != bytes[0] {
        verdict.wrong("the same seed gives other bits");
    }
    let x = leaf.map(doubles).transpose()?.unwrap_or_default();
    let random = match law {
        Law::Mean(mean) => mean.numel() > 0,
        Law::Any => draws[0].outputs.iter().any(|y| y.numel() > 0),
        _ => x.iter().any(|&x| law.random(x)),
    };
    if random && bytes.iter().all(|b| *b == bytes[0]) {
        match law {
            Law::Any => settled(verdict, case, &draws[0].outputs),
            _ => verdict.wrong("all seeds give the same bits"),
        }
    }
    match (law, leaf) {
        (Law::Mean(mean), _) => means(verdict, &draws, &doubles(mean)?),
        (Law::Any, _) => Ok(()),
        (_, Some(leaf)) => slopes(verdict, law, &draws, leaf, &x),
        (_, None) => Err("a law of the first input without an input".to_owned()),
    }
}

/// Compares results that do not depend on the draw.
fn settled(verdict: &mut Verdict, case: &Case, outputs: &[Tensor]) {
    for (i, output) in outputs.iter().enumerate() {
        match case.tensors.get(&format!("output{i}")) {
            Some(theirs) => verdict.compare(&format!("output{i}, the same for all seeds"), output, theirs),
            None => verdict.wrong(format!("output{i} has no counterpart")),
        }
    }
}

fn doubles(t: &Tensor) -> Result<Vec<f64>> {
    t.detach().to_vec::<f64>().map_err(line)
}

/// Compares the mean of each element of the first output.
fn means(verdict: &mut Verdict, draws: &[Draw], expected: &[f64]) -> Result<()> {
    let values = draws.iter().map(|draw| doubles(&draw.outputs[0])).collect::<Result<Vec<_>>>()?;
    let n = draws.len() as f64;
    for (i, &theirs) in expected.iter().enumerate() {
        let mean = values.iter().map(|y| y[i]).sum::<f64>() / n;
        let variance = values.iter().map(|y| (y[i] - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let allowed = ERRORS * (variance / n).sqrt() + 1e-5 * (1.0 + theirs.abs());
        near(verdict, &format!("mean of output0[{i}]"), mean, theirs, allowed);
    }
    Ok(())
}

fn near(verdict: &mut Verdict, what: &str, ours: f64, theirs: f64, allowed: f64) {
    let off = (ours - theirs).abs();
    if off.is_nan() || off > allowed {
        verdict.wrong(format!("{what} is {ours:.4}, not {theirs:.4} ± {allowed:.4}"));
    }
}

/// Compares each draw with the line that its slope says, and the moments of the slopes with the law's.
fn slopes(verdict: &mut Verdict, law: &Law, draws: &[Draw], leaf: &Tensor, x: &[f64]) -> Result<()> {
    let Some((slope, axes)) = law.slope(leaf.rank()) else { return Ok(()) };
    // Elements of one draw lie behind each other.
    let together = leaf.shape()[axes.min(leaf.rank())..].iter().product::<usize>().max(1);
    let free: Vec<usize> = (0..x.len()).step_by(together).filter(|&i| law.random(x[i])).collect();
    let mut drawn: Vec<Vec<f64>> = Vec::new();
    for draw in draws {
        let (y, s) = match &draw.slope {
            Some(s) => (doubles(&draw.outputs[0])?, doubles(s)?),
            None => return Err("the result has no gradient by the input".to_owned()),
        };
        let line = |(&x, &s): (&f64, &f64)| {
            if law.random(x) { s * x + slope.at + slope.by * s } else { x }
        };
        let expected: Vec<f64> = x.iter().zip(&s).map(line).collect();
        verdict.numbers("output0 by its slope", &y, &expected, draw.outputs[0].dtype());
        let fits = |i: usize| if law.random(x[i]) { slope.may_be(s[i]) } else { s[i] == 1.0 || x[i] == 0.0 };
        if let Some(i) = (0..x.len()).find(|&i| !fits(i)) {
            verdict.wrong(format!("the slope at {i} is {}", s[i]));
        }
        if let Some(i) = (0..x.len()).find(|&i| together > 1 && s[i] != s[i - i % together]) {
            verdict.wrong(format!("the slope at {i} is not that of its channel"));
        }
        if !verdict.problems.is_empty() {
            return Ok(());
        }
        drawn.push(free.iter().map(|&i| s[i] - slope.mean).collect());
    }
    moments(verdict, &slope, &drawn);
    Ok(())
}

/// `drawn`: of each draw, how far the slopes are from the law's mean. Each has this mean over draws; all together have its
/// variance; and so has the mean of a draw, divided by their number, unless they hang together.
fn moments(verdict: &mut Verdict, slope: &Slope, drawn: &[Vec<f64>]) {
    let (n, count) = (drawn.len() as f64, drawn[0].len());
    if count == 0 {
        return;
    }
    for i in 0..count {
        let mean = drawn.iter().map(|s| s[i]).sum::<f64>() / n;
        near(verdict, &format!("mean of slope {i} less the law's"), mean, 0.0, ERRORS * (slope.variance / n).sqrt());
    }
    let (k, v) = (count as f64, slope.variance);
    let all = drawn.iter().flatten().map(|s| s * s).sum::<f64>() / (n * k);
    near(verdict, "variance of the slopes", all, v, ERRORS * ((slope.fourth - v * v).max(0.0) / (n * k)).sqrt() + 1e-6);
    let of_means = drawn.iter().map(|s| (s.iter().sum::<f64>() / k).powi(2)).sum::<f64>() / n;
    let fourth = slope.fourth / k.powi(3) + 3.0 * (k - 1.0) * v * v / k.powi(3);
    let error = ((fourth - v * v / (k * k)).max(0.0) / n).sqrt();
    near(verdict, "variance of the mean slope", of_means, v / k, ERRORS * error + 1e-6);
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::conformance::args::Tensors;

    fn problems(law: &Law, f: fn(&Tensor) -> Tensor) -> Vec<String> {
        let x = Tensor::from([[1.0f64, -2.0, 0.5], [-1.0, 3.0, -0.25]]).requires_grad_();
        let case = Case {
            id: "case0".to_owned(),
            json: Json::Null,
            tensors: Tensors::from([("output0".to_owned(), x.detach())]),
        };
        let mut verdict = Verdict::default();
        let leaves = [("input0".to_owned(), x.clone())];
        check(&mut verdict, &case, law, &leaves, &|| Ok(vec![f(&x)])).expect("it runs");
        verdict.problems
    }

    #[test]
    fn laws_hold_for_what_follows_them_and_for_nothing_else() {
        let dropout = |p, axes| Law::Dropout { p, axes };
        let slopes = Law::Slopes { lower: 0.1, upper: 0.4 };
        let mean = Law::Mean(Tensor::from([[1.0f64, -2.0, 0.5], [-1.0, 3.0, -0.25]]));
        type F = fn(&Tensor) -> Tensor;
        let rows: &[(&str, &Law, F, bool)] = &[
            ("dropout", &dropout(0.3, 2), |x| x.dropout(0.3), true),
            ("another rate", &dropout(0.3, 2), |x| x.dropout(0.5), false),
            ("no scale", &dropout(0.3, 2), |x| x.dropout(0.3) * 0.7, false),
            ("channels", &dropout(0.3, 1), |x| x.dropout1d(0.3), true),
            ("elements instead of channels", &dropout(0.3, 1), |x| x.dropout(0.3), false),
            ("channels instead of elements", &dropout(0.3, 2), |x| x.dropout1d(0.3), false),
            ("all together", &dropout(0.3, 2), |x| x * Tensor::ones([]).dropout(0.3).to_dtype(x.dtype()), false),
            ("nothing drawn", &dropout(0.3, 2), |x| x / 0.7, false),
            (
                "another mask for the gradient",
                &dropout(0.3, 2),
                |x| x.dropout(0.3).detach() + x.dropout(0.3) * 0.0,
                false,
            ),
            ("alpha", &Law::AlphaDropout { p: 0.4, axes: 2 }, |x| x.alpha_dropout(0.4), true),
            ("no alpha", &Law::AlphaDropout { p: 0.4, axes: 2 }, |x| x.dropout(0.4), false),
            ("slopes", &slopes, |x| x.rrelu(0.1, 0.4), true),
            ("the mean slope only", &slopes, |x| x.leaky_relu(0.25), false),
            ("wider slopes", &slopes, |x| x.rrelu(0.0, 0.5), false),
            ("narrower slopes", &slopes, |x| x.rrelu(0.2, 0.3), false),
            ("a mean", &mean, |x| x.dropout(0.2), true),
            ("another mean", &mean, |x| x.dropout(0.2) * 1.2, false),
            ("a mean without draws", &mean, |x| x * 1.0, false),
            ("any draw", &Law::Any, |x| x * x.rand_like(), true),
            ("no draw", &Law::Any, |x| x * 2.0, false),
        ];
        for (name, law, f, holds) in rows {
            let found = problems(law, *f);
            assert_eq!(found.is_empty(), *holds, "{name}: {found:?}");
        }
    }
}
