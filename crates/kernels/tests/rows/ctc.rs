use limpid_kernels::ctc::{Ctc, Losses, Targets};

use super::*;

/// The labels that a path spells: repetitions once, then without blanks.
fn spelt(path: &[usize], blank: usize) -> Vec<i64> {
    let mut labels = Vec::new();
    for (t, &c) in path.iter().enumerate() {
        if c != blank && (t == 0 || path[t - 1] != c) {
            labels.push(c as i64);
        }
    }
    labels
}

/// Over all paths of one sample that spell `labels`: the sum of their probabilities, and that of the paths through each
/// class at each step.
fn all_paths(sizes: &Ctc, row: impl Fn(usize) -> Vec<f64>, steps: usize, labels: &[i64]) -> (f64, Vec<f64>) {
    let mut total = 0.0;
    let mut through = vec![0.0; sizes.steps * sizes.classes];
    for path in coordinates(&vec![sizes.classes; steps]) {
        if spelt(&path, sizes.blank) == labels {
            let p: f64 = path.iter().enumerate().map(|(t, &c)| row(t)[c].exp()).product();
            total += p;
            path.iter().enumerate().for_each(|(t, &c)| through[t * sizes.classes + c] += p);
        }
    }
    (total, through)
}

#[test]
fn losses_and_gradients_are_sums_over_all_paths() {
    let mut random = Random(81);
    for round in 0..60 {
        let (steps, classes, longest) = (random.below(6), 2 + random.below(2), random.below(4));
        let sizes = Ctc { steps, batch: 1 + random.below(3), classes, longest, blank: random.below(classes) };
        let batch = sizes.batch;
        let logits = random.normals(steps * batch * classes, 2.0);
        let y = super::softmax::plain_softmax(classes, true, &logits);
        // Any class but the blank; behind the labels that count stands what does not.
        let label = |random: &mut Random| ((sizes.blank + 1 + random.below(classes - 1)) % classes) as i64;
        let labels: Vec<i64> = (0..batch * longest).map(|_| label(&mut random)).collect();
        let input_lengths: Vec<i64> = (0..batch).map(|_| random.below(steps + 1) as i64).collect();
        let target_lengths: Vec<i64> = (0..batch).map(|_| random.below(longest + 1) as i64).collect();
        let targets = Targets { labels: &labels, input_lengths: &input_lengths, target_lengths: &target_lengths };
        let g = random.normals(batch, 1.0);
        for dtype in FLOATS {
            let data = put(dtype, &y);
            let stored = take(dtype, &data);
            let mut alpha = stale(DType::F64, batch * steps * sizes.states());
            let nll = same_on_all_threads(batch * 8, |cpu, nll| {
                let (nll, alpha) = (view_mut(DType::F64, nll), view_mut(DType::F64, &mut alpha));
                sizes.losses(cpu, view(dtype, &data), targets, nll, alpha);
            });
            let nll = take(DType::F64, &nll);
            let gradient = same_on_all_threads(data.len(), |cpu, out| {
                let from = Losses { nll: &nll, alpha: alpha.get(), g: &g, zero_infinity: true };
                sizes.gradients(cpu, view(dtype, &data), targets, from, view_mut(dtype, out));
            });
            let gradient = take(dtype, &gradient);
            for n in 0..batch {
                let row = |t: usize| stored[(t * batch + n) * classes..][..classes].to_vec();
                let own = &labels[n * longest..][..target_lengths[n] as usize];
                let length = input_lengths[n] as usize;
                let (total, through) = all_paths(&sizes, row, length, own);
                close(DType::F64, &[nll[n]], &[-total.ln()], 10.0, &format!("round {round}, sample {n}"));
                let slope = |t: usize, c: usize| match t < length && total > 0.0 {
                    true => (row(t)[c].exp() - through[t * classes + c] / total) * g[n],
                    false => 0.0,
                };
                let expected: Vec<f64> = (0..steps * classes).map(|i| slope(i / classes, i % classes)).collect();
                let found = &gradient[n * steps * classes..][..steps * classes];
                close(dtype, found, &expected, 10.0, &format!("gradient, round {round}, sample {n}"));
            }
        }
    }
}

#[test]
fn what_can_not_be_spelt_has_an_infinite_loss() {
    let cpu = Cpu::new(None, 1);
    let sizes = Ctc { steps: 2, batch: 1, classes: 2, longest: 2, blank: 0 };
    let y = [0.5f32.ln(); 4];
    // "1 1" needs a blank between.
    let targets = Targets { labels: &[1, 1], input_lengths: &[2], target_lengths: &[2] };
    let (mut nll, mut alpha) = ([0f64], [0f64; 10]);
    sizes.losses(&cpu, Slice::of(&y), targets, SliceMut::of(&mut nll), SliceMut::of(&mut alpha));
    assert_eq!(nll, [f64::INFINITY]);
    for (zero_infinity, expected) in [(true, "[0.0, 0.0, 0.0, 0.0]"), (false, "[NaN, NaN, NaN, NaN]")] {
        let mut out = [7f32; 4];
        let from = Losses { nll: &nll, alpha: &alpha, g: &[1.0], zero_infinity };
        sizes.gradients(&cpu, Slice::of(&y), targets, from, SliceMut::of(&mut out));
        assert_eq!(format!("{out:?}"), expected);
    }
}
