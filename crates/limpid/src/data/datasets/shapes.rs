//! Points on the plane, computed from a seed: problems small enough to see.

use std::f64::consts::{PI, TAU};

use limpid_core::{Error, Result, Tensor};

use super::numbered;
use crate::data::Dataset;
use crate::data::order::Stream;

/// The four rows of exclusive or: features `[4, 2]`, classes 0, 1, 1, 0.
///
/// # Errors
/// None.
pub fn xor() -> Result<Dataset> {
    let features = Tensor::from([[0.0f32, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
    named("xor", features, Tensor::from([0i64, 1, 1, 0]), 2)
}

/// `arms` spirals of `points` points in all, winding once around the origin: (r cos t, r sin t) with r from 0.1 to 1
/// and t growing by 1.25 turns with r, plus normal noise of deviation `noise`. As in Stanford's CS231n.
///
/// # Errors
/// Fewer points than arms, no arm, or noise that is no number from 0.
pub fn spiral(points: usize, arms: usize, noise: f64, seed: u64) -> Result<Dataset> {
    let at = |class: usize, along: f64| {
        let angle = (class as f64 / arms as f64 + 1.25 * along) * TAU;
        let radius = 0.1 + 0.9 * along;
        (radius * angle.cos(), radius * angle.sin())
    };
    plane("spiral", points, arms, noise, seed, at)
}

/// Two half moons that reach into each other, `points` points in all, with normal noise of deviation `noise`:
/// (cos t, sin t) and (1 − cos t, ½ − sin t), t from 0 to π. As scikit-learn's `make_moons`.
///
/// # Errors
/// Fewer points than two, or noise that is no number from 0.
pub fn moons(points: usize, noise: f64, seed: u64) -> Result<Dataset> {
    let at = |class: usize, along: f64| {
        let (x, y) = ((PI * along).cos(), (PI * along).sin());
        if class == 0 { (x, y) } else { (1.0 - x, 0.5 - y) }
    };
    plane("moons", points, 2, noise, seed, at)
}

/// A circle of radius 1 around one of radius ½, `points` points in all, with normal noise of deviation `noise`. As
/// scikit-learn's `make_circles` with `factor=0.5`.
///
/// # Errors
/// Fewer points than two, or noise that is no number from 0.
pub fn circles(points: usize, noise: f64, seed: u64) -> Result<Dataset> {
    let at = |class: usize, along: f64| {
        let radius = if class == 0 { 1.0 } else { 0.5 };
        (radius * (TAU * along).cos(), radius * (TAU * along).sin())
    };
    plane("circles", points, 2, noise, seed, at)
}

/// Points of classes in turn; `at` gives the place of a class's point from 0 (its first) to 1 (its last).
fn plane(
    name: &str,
    points: usize,
    classes: usize,
    noise: f64,
    seed: u64,
    at: impl Fn(usize, f64) -> (f64, f64),
) -> Result<Dataset> {
    if classes == 0 || points < classes {
        return Err(Error::new(format!("{name}: {points} points for {classes} classes")).help("a point of each class"));
    }
    if !noise.is_finite() || noise < 0.0 {
        return Err(Error::new(format!("{name}: the noise is {noise}")).help("a number from 0"));
    }
    let mut stream = Stream::new(seed, 0);
    let (mut features, mut labels) = (Vec::with_capacity(2 * points), Vec::with_capacity(points));
    for point in 0..points {
        let (class, place) = (point % classes, point / classes);
        let of_class = (points - class).div_ceil(classes);
        let (x, y) = at(class, place as f64 / (of_class.max(2) - 1) as f64);
        features.extend([(x + noise * stream.normal()) as f32, (y + noise * stream.normal()) as f32]);
        labels.push(class as i64);
    }
    named(name, Tensor::from_vec(features, [points, 2]), Tensor::from_vec(labels, [points]), classes)
}

fn named(name: &str, features: Tensor, labels: Tensor, classes: usize) -> Result<Dataset> {
    let data = Dataset::classification(name, features, labels, numbered(classes))?;
    Ok(data.named_columns(vec!["x".to_owned(), "y".to_owned()]))
}
