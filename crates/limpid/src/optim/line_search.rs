//! The line search of L-BFGS: a step that satisfies the strong Wolfe conditions (Nocedal, Wright 2006, algorithms 3.5
//! and 3.6), bracketed and refined as minFunc and torch do.

use limpid_core::{Result, Tensor};

/// Sufficient decrease, and decrease of the slope.
const ARMIJO: f64 = 1e-4;
const CURVATURE: f64 = 0.9;

/// What is known of one point of the line.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// How far along the direction.
    pub(super) t: f64,
    pub(super) loss: f64,
    pub(super) grad: Tensor,
    /// The gradient along the direction.
    pub(super) slope: f64,
}

/// Python's `max` and `min`, which keep the first of two that do not compare.
fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

fn smaller(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

/// The lowest point of the cubic through two points with their slopes, within bounds.
fn cubic(a: &Point, b: &Point, bounds: Option<(f64, f64)>) -> f64 {
    let (low, high) = bounds.unwrap_or(if a.t <= b.t { (a.t, b.t) } else { (b.t, a.t) });
    let d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t);
    let square = d1 * d1 - a.slope * b.slope;
    if square.is_nan() || square < 0.0 {
        return (low + high) / 2.0;
    }
    let d2 = square.sqrt();
    let lowest = if a.t <= b.t {
        b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2))
    } else {
        a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2.0 * d2))
    };
    smaller(larger(lowest, low), high)
}

/// Two points with an acceptable one between them, or one that is acceptable.
enum Bracket {
    Found(Point),
    Between(Point, Point),
}

/// A search from `start` along a direction whose largest element is `longest`; `at` evaluates a point.
pub(super) struct Search<'a> {
    pub(super) start: Point,
    pub(super) longest: f64,
    pub(super) tolerance_change: f64,
    pub(super) max_steps: usize,
    pub(super) at: &'a mut dyn FnMut(f64) -> Result<Point>,
}

impl Search<'_> {
    /// The point found, beginning with a step of `t`, and how often the loss was asked.
    pub(super) fn run(mut self, t: f64) -> Result<(Point, usize)> {
        let first = (self.at)(t)?;
        let (mut evals, mut steps) = (1, 0);
        match self.bracket(first, &mut evals, &mut steps)? {
            Bracket::Found(point) => Ok((point, evals)),
            Bracket::Between(a, b) => Ok((self.zoom(a, b, &mut evals, &mut steps)?, evals)),
        }
    }

    /// Whether the loss has fallen too little at `point`.
    fn too_high(&self, point: &Point) -> bool {
        point.loss > self.start.loss + ARMIJO * point.t * self.start.slope
    }

    fn flat_enough(&self, point: &Point) -> bool {
        point.slope.abs() <= -CURVATURE * self.start.slope
    }

    fn bracket(&mut self, mut now: Point, evals: &mut usize, steps: &mut usize) -> Result<Bracket> {
        let mut before = self.start.clone();
        while *steps < self.max_steps {
            if self.too_high(&now) || (*steps > 1 && now.loss >= before.loss) {
                return Ok(Bracket::Between(before, now));
            }
            if self.flat_enough(&now) {
                return Ok(Bracket::Found(now));
            }
            if now.slope >= 0.0 {
                return Ok(Bracket::Between(before, now));
            }
            let bounds = (now.t + 0.01 * (now.t - before.t), now.t * 10.0);
            let next = (self.at)(cubic(&before, &now, Some(bounds)))?;
            before = std::mem::replace(&mut now, next);
            *evals += 1;
            *steps += 1;
        }
        Ok(Bracket::Between(self.start.clone(), now))
    }

    fn zoom(&mut self, a: Point, b: Point, evals: &mut usize, steps: &mut usize) -> Result<Point> {
        let mut ends = [a, b];
        let lower = |ends: &[Point; 2]| if ends[0].loss <= ends[1].loss { 0 } else { 1 };
        let mut low = lower(&ends);
        let mut little_progress = false;
        while *steps < self.max_steps {
            let (left, right) = (smaller(ends[0].t, ends[1].t), larger(ends[0].t, ends[1].t));
            if (ends[1].t - ends[0].t).abs() * self.longest < self.tolerance_change {
                break;
            }
            let mut t = cubic(&ends[0], &ends[1], None);
            // A point close to an end tells little: one at a tenth of the way instead, when that happens twice.
            let margin = 0.1 * (right - left);
            if smaller(right - t, t - left) < margin {
                if little_progress || t >= right || t <= left {
                    t = if (t - right).abs() < (t - left).abs() { right - margin } else { left + margin };
                    little_progress = false;
                } else {
                    little_progress = true;
                }
            } else {
                little_progress = false;
            }
            let point = (self.at)(t)?;
            *evals += 1;
            *steps += 1;
            if self.too_high(&point) || point.loss >= ends[low].loss {
                ends[1 - low] = point;
                low = lower(&ends);
                continue;
            }
            let found = self.flat_enough(&point);
            if !found && point.slope * (ends[1 - low].t - ends[low].t) >= 0.0 {
                ends[1 - low] = ends[low].clone();
            }
            ends[low] = point;
            if found {
                break;
            }
        }
        let [a, b] = ends;
        Ok(if low == 0 { a } else { b })
    }
}
