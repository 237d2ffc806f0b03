//! The memory of plans, and why a plan was made.

use limpid_core::{Cell, Result, Tensor, eval, gradients, settle, shown};

use crate::graphs::build;
use crate::support::seed;

/// Scratch memory of each plan that `f` makes, and the largest set of values alive at once, which no plan can do without.
fn maps(f: impl FnOnce()) -> Vec<(usize, usize)> {
    let (text, ()) = shown(&["plan"], f);
    let number = |line: &str, before: &str| -> Option<usize> {
        line.split(before).nth(1)?.split_whitespace().next()?.parse().ok()
    };
    text.lines().filter_map(|line| Some((number(line, "scratch ")?, number(line, "at least ")?))).collect()
}

#[test]
fn memory_maps_are_near_the_least_possible() {
    let mut worst = (0.0, 0);
    for seed in seed()..seed() + 300 {
        let graph = build(seed);
        for (bytes, least) in maps(|| drop(eval(graph.tensors()))) {
            assert!(bytes >= least);
            let ratio = bytes as f64 / least.max(1) as f64;
            worst = if ratio > worst.0 { (ratio, seed) } else { worst };
        }
    }
    assert!(worst.0 <= 1.2, "seed {}: {} of the least", worst.1, worst.0);
}

/// A step of gradient descent on layers of these widths, all in one plan.
fn step(widths: &[usize]) -> Vec<(usize, usize)> {
    let pairs = || widths.windows(2).map(|w| [w[1], w[0]]);
    let cells: Vec<_> = pairs().map(|shape| Cell::new(&Tensor::full(shape, 0.01), true)).collect();
    let momenta: Vec<_> = pairs().map(|shape| Cell::new(&Tensor::full(shape, 0.0), false)).collect();
    let record = || -> Result<()> {
        let weights: Vec<Tensor> = cells.iter().map(|cell| cell.tensor()).collect();
        let x = Tensor::full([64, widths[0]], 0.5);
        let loss = weights.iter().fold(x, |x, w| x.matmul(&w.permute([1, 0])).tanh()).square().mean(..);
        let slopes = gradients(&loss, &weights.iter().collect::<Vec<_>>())?;
        for (i, slope) in slopes.into_iter().enumerate() {
            let m = momenta[i].tensor() * 0.9 + slope.expect("all are reached");
            cells[i].assign(&(&weights[i] - &m * 0.1));
            momenta[i].assign(&m);
        }
        drop(weights);
        drop(loss);
        settle()
    };
    maps(|| record().expect("a right step"))
}

#[test]
fn a_training_step_takes_little_more_than_it_must() {
    for widths in [&[100, 300, 200, 10][..], &[784, 512, 512, 10], &[33, 65, 129, 257, 31, 7], &[256; 12]] {
        let maps = step(widths);
        let (bytes, least) = *maps.iter().max().expect("a plan");
        assert!(bytes as f64 <= 1.2 * least as f64, "{widths:?}: {bytes} bytes, at least {least}");
    }
}

/// A gradient lives until its parameter's update: with many layers they are not all there at once.
#[test]
fn gradients_are_used_as_soon_as_they_are_known() {
    let scratch = |layers: usize| step(&vec![256; layers + 1]).into_iter().max().expect("a plan").0;
    let (few, many) = (scratch(4), scratch(24));
    // Each layer more keeps its output, 64·256 numbers, and not its gradient of 256·256.
    let activation = 64 * 256 * 4;
    assert!(many - few <= 20 * activation + activation, "{few} bytes for 4 layers, {many} for 24");
}

#[test]
fn a_plan_that_does_not_fit_says_why() -> Result<()> {
    let run = |n: usize| {
        let x = Tensor::from_vec(vec![0.25f32; n], [n]);
        (x.sin().cos().sin() * 3.5).eval()
    };
    run(128)?;
    let (text, done) = shown(&["replan"], || run(128));
    done?;
    assert_eq!(text, "", "there is a plan");
    let (text, done) = shown(&["replan"], || run(37));
    done?;
    assert_eq!(text, "replan: input 0 axis 0 was 128, is 37\n");
    Ok(())
}
