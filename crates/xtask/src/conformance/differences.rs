//! Gradients of the recorded cases against finite differences in f64, first and second ones.
//!
//! Of L = Σ output·w the slope along a direction v is compared with (L(x + h·v) − L(x − h·v)) / 2h, where x are all
//! leaves that torch has a gradient for; and the slope along v of ⟨∇L, u⟩, by the gradient of the gradient's own graph,
//! with the same difference of ⟨∇L, u⟩. Where the differences of the two sides disagree the point is a kink (relu at 0,
//! a tie of max, a rounding), and a point beside it is looked at.

use std::cell::OnceCell;
use std::path::Path;

use limpid::{DType, Tensor, eval, gradients, manual_seed};

use super::args::{Result, line};
use super::cases::{Case, Class, classes, read_json};
use super::check::{Recorded, weighted, weights};
use super::{caught, functionals, modules, ops};

/// Steps h beside the size of a leaf; the first that agrees is enough. Too large ones bend, too small ones round.
const STEPS: [f64; 4] = [1e-5, 1e-6, 1e-4, 1e-7];

/// The step before the smallest.
const NEXT: f64 = STEPS[1];

/// What a slope may differ by, beside Σ |gradient·v|.
const RELATIVE: f64 = 1e-6;

/// What the numbers that are subtracted may be rounded by.
const ROUNDING: f64 = 1e-13;

/// What is nothing, also where all is tiny.
const NOTHING: f64 = 1e-30;

/// From where on the two sides disagree, beside the slopes.
const KINK: f64 = 1e-3;

/// How far from a kink towards 0, then towards the mean of each leaf is looked first: what is below a bound stays there,
/// and what lies between bounds.
const INWARDS: f64 = 2e-2;

/// How far beside a kink is looked then, beside the size of a leaf.
const BESIDE: [f64; 3] = [1.3e-3, 1.7e-2, -1.1e-1];

/// What is said of gradients that are torch's recorded ones and no derivative: such as of log-probabilities that are
/// taken to be a log-softmax, of a table that a lookup rescales first, of one place that several elements are put in.
const AS_TORCH: &str = "torch's recorded gradient, which is no derivative either (second ones are not compared)";

/// A function of leaves in f64: what records its case.
type Record<'a> = &'a dyn Fn(&Case) -> Result<Recorded>;

type Find = fn(&str) -> Option<Box<dyn Fn(&Case) -> Result<Recorded>>>;

const GROUPS: [(&str, Find); 3] =
    [("modules", modules::recorder), ("functionals", functionals::recorder), ("ops", ops::recorder)];

/// What one slope is beside its difference.
#[derive(Clone, Debug, PartialEq)]
enum Finding {
    Right,
    /// The two sides disagree, or one is outside of the function's domain.
    Kink,
    /// The slope, and the difference nearest to it.
    Wrong(f64, f64),
    /// No derivative, but the gradient that torch gives: see [`AS_TORCH`].
    AsTorch,
    Failed(String),
}

/// What a case showed.
#[derive(Debug)]
struct Found {
    first: Finding,
    second: Finding,
    /// Whether the case's own point is a kink; what was found is then of a point beside it.
    kink: bool,
}

/// The numbers of a direction, or of a point: one list for each leaf.
type Lists = Vec<Vec<f64>>;

/// Outputs (those that are floats and depend on a leaf) and the gradient of L at a point.
struct Values {
    outputs: Lists,
    gradient: Lists,
    /// The gradient of ⟨∇L, u⟩, where it was asked for.
    second: Result<Lists>,
}

/// One line of the table.
#[derive(Default)]
struct Row {
    name: String,
    cases: usize,
    first: usize,
    second: usize,
    kinks: usize,
    /// What is wrong, by case.
    failed: Vec<String>,
    /// Kinks that nothing smooth is beside.
    corners: Vec<String>,
    as_torch: Vec<String>,
}

/// Checks the cases of f64 in `dir` and prints the table; whether none failed. `only`: as [`super::torch`].
///
/// # Errors
/// When the directory is not one of cases.
pub fn run(dir: &str, only: &[&str]) -> Result<bool> {
    let dir = Path::new(dir);
    let index = read_json(dir, "index.json")?;
    let wanted = |class: &str| only.is_empty() || only.iter().any(|name| class.starts_with(name));
    let mut rows = Vec::new();
    for (group, find) in GROUPS {
        for class in classes(&index, group).iter().filter(|class| wanted(&class.name)) {
            rows.extend(find(&class.name).map(|record| row(dir, group, class, &*record)));
        }
    }
    Ok(print(&rows))
}

fn row(dir: &Path, group: &str, class: &Class, record: Record<'_>) -> Row {
    let mut row = Row { name: format!("{group} | {}", class.name), ..Row::default() };
    match class.cases(dir) {
        Ok(cases) => cases.iter().filter(|case| !leaves(case).is_empty()).for_each(|case| row.count(case, record)),
        Err(problem) => row.failed.push(problem),
    }
    row
}

impl Row {
    fn count(&mut self, case: &Case, record: Record<'_>) {
        let Found { first, second, kink } = caught(|| check(case, record)).unwrap_or_else(|problem| Found {
            first: Finding::Failed(problem),
            second: Finding::Right,
            kink: false,
        });
        let id = &case.id;
        self.cases += 1;
        self.first += usize::from(first == Finding::Right);
        self.second += usize::from(first == Finding::Right && second == Finding::Right);
        self.kinks += usize::from(kink);
        for (what, finding) in [("first", first), ("second", second)] {
            match finding {
                Finding::Right => {}
                Finding::AsTorch if what == "first" => self.as_torch.push(id.clone()),
                Finding::AsTorch => {}
                Finding::Kink => self.corners.push(format!("{id} ({what})")),
                Finding::Wrong(ours, difference) => {
                    self.failed.push(format!("{id}: {what} slope is {ours:e}, by differences {difference:e}"));
                }
                Finding::Failed(problem) => self.failed.push(format!("{id}: {what}: {problem}")),
            }
        }
    }
}

fn print(rows: &[Row]) -> bool {
    println!("| group | class | cases | first right | second right | kinks | failed |");
    println!("|---|---|---|---|---|---|---|");
    for row in rows.iter().filter(|row| row.cases > 0) {
        let Row { name, cases, first, second, kinks, failed, .. } = row;
        println!("| {name} | {cases} | {first} | {second} | {kinks} | {} |", failed.len());
    }
    println!();
    for row in rows {
        row.failed.iter().for_each(|problem| println!("{} {problem}", row.name.replace(" |", "")));
    }
    let list = |what: &str, cases: fn(&Row) -> &[String]| {
        println!("\n{what}:");
        for row in rows.iter().filter(|row| !cases(row).is_empty()) {
            println!("{}: {}", row.name.replace(" |", ""), cases(row).join(", "));
        }
    };
    list(AS_TORCH, |row| &row.as_torch);
    list("kinks without a smooth point beside them", |row| &row.corners);
    let total = |count: fn(&Row) -> usize| rows.iter().map(count).sum::<usize>();
    let (first, second, kinks) = (total(|row| row.first), total(|row| row.second), total(|row| row.kinks));
    let failed = total(|row| row.failed.len());
    println!("\ndifferences: {first} first, {second} second, {kinks} kinks, {failed} failed");
    failed == 0
}

/// The names of the leaves in f64 that torch has a gradient for.
fn leaves(case: &Case) -> Vec<&str> {
    let names = case.tensors.keys().filter_map(|name| name.strip_prefix("grad."));
    names.filter(|name| case.tensors.get(*name).is_some_and(|t| t.dtype() == DType::F64)).collect()
}

fn check(case: &Case, record: Record<'_>) -> Result<Found> {
    let names = leaves(case);
    let read = |name: &&str| case.tensors[*name].to_vec::<f64>().map_err(line);
    let start: Lists = names.iter().map(read).collect::<Result<_>>()?;
    let shapes: Vec<_> = names.iter().map(|name| case.tensors[*name].shape()).collect();
    let direction = |salt: usize| -> Lists {
        start.iter().zip(&shapes).enumerate().map(|(i, (x, shape))| along(x, shape, salt + 17 * i)).collect()
    };
    let (v, u, aside) = (direction(1), direction(2), direction(3));
    let inwards =
        |to: fn(&[f64]) -> f64| -> Lists { start.iter().zip(&aside).map(|(x, r)| towards(to(x), x, r)).collect() };
    let (smaller, nearer) = (inwards(|_| 0.0), inwards(mean));
    let at = |x: &Lists, twice: bool| values(case, record, &names, x, twice.then_some(&u));
    let mut found = point(&at, &start, &v, &u)?;
    if matches!(found.first, Finding::Wrong(..)) && is_torchs(case, &names, &at(&start, false)?.gradient)? {
        return Ok(Found { first: Finding::AsTorch, second: Finding::AsTorch, kink: false });
    }
    found.kink = found.first == Finding::Kink || found.second == Finding::Kink;
    // What a kink hides shows beside it; the domain may end there too.
    for (to, by) in [(&smaller, INWARDS), (&nearer, INWARDS)].into_iter().chain(BESIDE.map(|by| (&aside, by))) {
        if found.first != Finding::Kink && found.second != Finding::Kink {
            break;
        }
        if let Ok(there) = point(&at, &moved(&start, to, by), &v, &u) {
            let better = |old: Finding, new: Finding| if old == Finding::Kink { new } else { old };
            (found.first, found.second) = (better(found.first, there.first), better(found.second, there.second));
        }
    }
    Ok(found)
}

/// Whether the gradient is the recorded one.
fn is_torchs(case: &Case, names: &[&str], gradient: &Lists) -> Result<bool> {
    for (name, ours) in names.iter().zip(gradient) {
        let theirs = case.tensors[&format!("grad.{name}")].to_vec::<f64>().map_err(line)?;
        let same = |a: f64, b: f64| (a - b).abs() <= 1e-7 * (1.0 + b.abs()) || (a.is_nan() && b.is_nan());
        if !ours.iter().zip(&theirs).all(|(a, b)| same(*a, *b)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Both slopes at one point, `at` gives the values there.
fn point(at: &dyn Fn(&Lists, bool) -> Result<Values>, x: &Lists, v: &Lists, u: &Lists) -> Result<Found> {
    let here = at(x, true)?;
    let both = |h: f64| Some((at(&moved(x, v, h), false).ok()?, at(&moved(x, v, -h), false).ok()?));
    let sides: [OnceCell<Option<(Values, Values)>>; STEPS.len()] = Default::default();
    let side = |step: usize| sides[step].get_or_init(|| both(STEPS[step])).as_ref();
    let outputs = |step| side(step).map(|(up, down)| (&up.outputs, &down.outputs));
    let gradients = |step| side(step).map(|(up, down)| (&up.gradient, &down.gradient));
    let w: Lists = here.outputs.iter().map(|output| weights(output.len())).collect();
    // Σ |output·w| and Σ |gradient·u|: what is rounded.
    let size = |of: &Lists, by: &Lists| products(of, by).map(f64::abs).sum::<f64>();
    let (low, high) = (size(&here.outputs, &w), size(&here.gradient, u));
    let first = compare(&here.gradient, v, (&here.outputs, &w, low), &outputs);
    let second = match &here.second {
        Ok(second) => compare(second, v, (&here.gradient, u, low + high), &gradients),
        Err(problem) => Finding::Failed(problem.clone()),
    };
    Ok(Found { first, second, kink: false })
}

/// Whether ⟨slope, v⟩ is the difference of Σ values·weights, which is rounded beside `size`. `sides` gives the values after each step up and down.
fn compare<'a>(
    slope: &Lists,
    v: &Lists,
    (here, weights, size): (&Lists, &Lists, f64),
    sides: &dyn Fn(usize) -> Option<(&'a Lists, &'a Lists)>,
) -> Finding {
    let ours = products(slope, v).sum::<f64>();
    let along = |to: &Lists, from: &Lists| {
        // Differences of single values first: fewer digits are lost.
        let pairs = to.iter().flatten().zip(from.iter().flatten());
        pairs.zip(weights.iter().flatten()).map(|((a, b), w)| (a - b) * w).sum::<f64>()
    };
    let magnitude = products(slope, v).map(f64::abs).sum::<f64>();
    if !size.is_finite() {
        return Finding::Kink;
    }
    let (mut nearest, mut previous) = (f64::NAN, f64::NAN);
    for (step, h) in STEPS.iter().enumerate() {
        let Some((up, down)) = sides(step) else { continue };
        let rounding = ROUNDING * size / h + NOTHING;
        let central = along(up, down) / (2.0 * h);
        if (central - ours).abs() <= RELATIVE * magnitude + rounding {
            return Finding::Right;
        }
        if nearest.is_nan() || (central - ours).abs() < (nearest - ours).abs() {
            nearest = central;
        }
        // The last step is the smallest: what bends looks straight there.
        if step + 1 == STEPS.len() {
            let (after, before) = (along(up, here) / h, along(here, down) / h);
            let slopes = after.abs() + before.abs() + magnitude;
            // A jump that is the same on both sides grows from step to step.
            let bend = (after - before).abs().max((central - previous).abs());
            if bend.is_nan() || bend > KINK * slopes + 10.0 * rounding {
                return Finding::Kink;
            }
        }
        if *h == NEXT {
            previous = central;
        }
    }
    if nearest.is_nan() && (!size.is_finite() || ours.is_finite()) {
        Finding::Kink
    } else {
        Finding::Wrong(ours, nearest)
    }
}

fn products<'a>(a: &'a Lists, b: &'a Lists) -> impl Iterator<Item = f64> + 'a {
    a.iter().flatten().zip(b.iter().flatten()).filter(|(_, b)| **b != 0.0).map(|(a, b)| a * b)
}

/// x + h·v.
fn moved(x: &Lists, v: &Lists, h: f64) -> Lists {
    let sum =
        |(x, v): (&Vec<f64>, &Vec<f64>)| x.iter().zip(v).map(|(x, v)| if *v == 0.0 { *x } else { x + h * v }).collect();
    x.iter().zip(v).map(sum).collect()
}

/// A fixed direction of the size of `x`. Where x is made of symmetric matrices it is as well: functions of such read
/// one half, and torch gives both halves of their gradient.
fn along(x: &[f64], shape: &[usize], salt: usize) -> Vec<f64> {
    let finite = || x.iter().filter(|x| x.is_finite());
    let size = (finite().map(|x| x * x).sum::<f64>() / finite().count().max(1) as f64).sqrt();
    let size = if size > 0.0 { size } else { 1.0 };
    let mut state = salt as u64;
    let mut v: Vec<f64> = x.iter().map(|x| if x.is_finite() { size * spread(&mut state) } else { 0.0 }).collect();
    if let [.., n, m] = *shape
        && n == m
        && n > 1
        && symmetric(x, n)
    {
        for matrix in v.chunks_mut(n * n) {
            (0..n).for_each(|i| (0..i).for_each(|j| matrix[i * n + j] = matrix[j * n + i]));
        }
    }
    v
}

fn mean(x: &[f64]) -> f64 {
    let finite = || x.iter().filter(|x| x.is_finite());
    finite().sum::<f64>() / finite().count().max(1) as f64
}

/// The way from each number of `x` to `end`, of different lengths.
fn towards(end: f64, x: &[f64], aside: &[f64]) -> Vec<f64> {
    let most = aside.iter().fold(f64::MIN_POSITIVE, |most, a| most.max(a.abs()));
    let way = |(x, a): (&f64, &f64)| if x.is_finite() { (end - x) * a.abs() / most } else { 0.0 };
    x.iter().zip(aside).map(way).collect()
}

fn symmetric(x: &[f64], n: usize) -> bool {
    let close = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-12 * (a.abs() + b.abs());
    x.chunks(n * n).all(|m| (0..n).all(|i| (0..i).all(|j| close(m[i * n + j], m[j * n + i]))))
}

/// Numbers of ±0.5 … ±1 in no order (splitmix64).
fn spread(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    let size = 0.5 + 0.5 * (z >> 11) as f64 / (1u64 << 53) as f64;
    if z & 1 == 0 { size } else { -size }
}

/// Computes a case where its leaves are `x`, and with `u` the gradient of ⟨∇L, u⟩.
fn values(case: &Case, record: Record<'_>, names: &[&str], x: &Lists, u: Option<&Lists>) -> Result<Values> {
    let mut case = Case { id: String::new(), json: case.json.clone(), tensors: case.tensors.clone() };
    for (name, x) in names.iter().zip(x) {
        let shape = case.tensors[*name].shape().clone();
        case.tensors.insert((*name).to_owned(), Tensor::from_slice(x, &shape));
    }
    // The same draws each time.
    manual_seed(0);
    let recorded = record(&case)?;
    let leaf = |name: &&str| {
        let found = recorded.leaves.iter().find(|(own, _)| own == name);
        found.map(|(_, leaf)| leaf).ok_or_else(|| format!("no leaf {name}"))
    };
    let leaves: Vec<&Tensor> = names.iter().map(leaf).collect::<Result<_>>()?;
    let outputs: Vec<&Tensor> = recorded.outputs.iter().filter(|o| o.dtype().is_float() && o.requires_grad()).collect();
    let sum = |terms: Vec<Tensor>| terms.into_iter().reduce(|a, b| a + b);
    let slopes = |of: Option<Tensor>| -> Result<Vec<Tensor>> {
        let found = match &of {
            Some(of) if of.requires_grad() => gradients(of, &leaves).map_err(line)?,
            _ => vec![None; leaves.len()],
        };
        Ok(found.into_iter().zip(&leaves).map(|(g, leaf)| g.unwrap_or_else(|| leaf.detach().zeros_like())).collect())
    };
    let gradient = slopes(sum(outputs.iter().map(|o| weighted(o, DType::F64)).collect()))?;
    let second = u.map(|u| {
        let u = u.iter().zip(&gradient).map(|(u, g)| (g * Tensor::from_slice(u, g.shape())).sum(..));
        slopes(sum(u.collect()))
    });
    let read = |tensors: &[Tensor]| -> Result<Lists> {
        eval(tensors).map_err(line)?;
        tensors.iter().map(|t| t.detach().to_dtype(DType::F64).to_vec::<f64>().map_err(line)).collect()
    };
    let outputs: Vec<Tensor> = outputs.into_iter().cloned().collect();
    eval(outputs.iter().chain(&gradient)).map_err(line)?;
    let second = second.unwrap_or(Ok(Vec::new())).and_then(|second| read(&second));
    Ok(Values { outputs: read(&outputs)?, gradient: read(&gradient)?, second })
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::conformance::args::Tensors;

    fn found(x: &[f64], f: fn(&Tensor) -> Tensor) -> Found {
        let x = Tensor::from_slice(x, [x.len()]);
        let tensors = Tensors::from([("input0".to_owned(), x.clone()), ("grad.input0".to_owned(), x)]);
        let case = Case { id: "case0".to_owned(), json: Json::Null, tensors };
        let record = |case: &Case| {
            let leaf = case.tensors["input0"].requires_grad_();
            Ok(Recorded { outputs: vec![f(&leaf)], leaves: vec![("input0".to_owned(), leaf)], law: None })
        };
        check(&case, &record).expect("it runs")
    }

    #[test]
    fn right_gradients_are_right() {
        let rows: [fn(&Tensor) -> Tensor; 4] = [Tensor::exp, Tensor::tanh, Tensor::square, Tensor::relu];
        for f in rows {
            let found = found(&[0.3, -1.2, 2.0], f);
            assert_eq!((found.first, found.second, found.kink), (Finding::Right, Finding::Right, false));
        }
    }

    #[test]
    fn a_wrong_gradient_is_found() {
        // The same numbers as exp, but one factor is a constant to the gradient.
        let once = found(&[0.3, -1.2, 2.0], |x| (x * 0.5).exp() * (x * 0.5).exp().detach());
        assert!(matches!(once.first, Finding::Wrong(..)), "{once:?}");
        assert!(!once.kink);
        // x⁴ with the right slope 4·x³, of which one x is a constant to the second gradient.
        let twice = found(&[0.3, -1.2, 2.0], |x| {
            let cube = x.detach().square() * x.detach() * 4.0;
            x.detach().square().square() + (x - x.detach()) * cube
        });
        assert_eq!(twice.first, Finding::Right);
        assert!(matches!(twice.second, Finding::Wrong(..)), "{twice:?}");
    }

    #[test]
    fn a_kink_is_told_apart_and_a_point_beside_it_looked_at() {
        let at = found(&[0.0, -1.2, 2.0], Tensor::relu);
        assert_eq!((at.first, at.second, at.kink), (Finding::Right, Finding::Right, true));
        let tie = found(&[2.0, -1.2, 2.0], |x| x.amax(0));
        assert_eq!((tie.first, tie.second, tie.kink), (Finding::Right, Finding::Right, true));
        let wrong = found(&[0.0, -1.2, 2.0], |x| x.relu() + x.square().detach());
        assert!(wrong.kink && matches!(wrong.first, Finding::Wrong(..)), "{wrong:?}");
        // The domain ends at the point: there is nothing to compare there.
        assert!(found(&[0.0, 1.0], Tensor::sqrt).kink);
        // The gradient of the norm jumps from one side to the other through 0.
        let zero = found(&[0.0, 0.0, 0.0], |x| x.square().sum(..).sqrt());
        assert!(zero.kink && zero.second == Finding::Right, "{zero:?}");
    }
}
