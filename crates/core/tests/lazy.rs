//! What a lazily recorded engine gets wrong unless it is designed: each test counts kernels run, plans made
//! or assignments moved, after a sentence of the design.

use std::sync::Arc;

use limpid_core::{Capture, Cell, DType, Error, Result, Stats, Tensor, gradients, manual_seed, no_grad, stats};

fn since(before: Stats) -> Stats {
    let now = stats();
    Stats {
        plans: now.plans - before.plans,
        runs: now.runs - before.runs,
        kernels: now.kernels - before.kernels,
        in_place: now.in_place - before.in_place,
        moved: now.moved - before.moved,
    }
}

/// One step of gradient descent: everything in one plan.
#[track_caller]
fn step(loss: &Tensor, cells: &[&Arc<Cell>], lr: f64) -> Result<()> {
    let leaves: Vec<Tensor> = cells.iter().map(|c| c.tensor()).collect();
    let grads = gradients(loss, &leaves.iter().collect::<Vec<_>>())?;
    for ((cell, leaf), grad) in cells.iter().zip(&leaves).zip(grads) {
        if let Some(grad) = grad {
            cell.assign(&(leaf - grad * lr));
        }
    }
    loss.eval()
}

fn model() -> (Arc<Cell>, Arc<Cell>) {
    manual_seed(7);
    (Cell::new(&(Tensor::randn([3, 4]) * 0.5), true), Cell::new(&Tensor::zeros([3]), true))
}

fn forward(w: &Arc<Cell>, b: &Arc<Cell>, x: &Tensor) -> Tensor {
    x.linear(&w.tensor(), Some(&b.tensor())).tanh()
}

fn data() -> (Tensor, Tensor) {
    manual_seed(3);
    let (x, y) = (Tensor::randn([8, 4]), Tensor::rand([8, 3]));
    limpid_core::eval([&x, &y]).unwrap();
    (x, y)
}

fn mse(pred: &Tensor, y: &Tensor) -> Tensor {
    (pred - y).square().mean(..)
}

#[test]
fn a_step_is_one_plan_and_updates_in_place() -> Result<()> {
    let ((w, b), (x, y)) = (model(), data());
    let mut last = f64::INFINITY;
    for i in 0..5 {
        let before = stats();
        let loss = mse(&forward(&w, &b, &x), &y);
        step(&loss, &[&w, &b], 0.5)?;
        let did = since(before);
        // Another test may have planned the first step already.
        assert!(did.plans <= u64::from(i == 0) && did.runs == 1, "step {i}: {did:?}");
        assert_eq!((did.in_place, did.moved), (2, 0), "step {i}");
        let value = loss.item()?;
        assert!(value < last, "the loss falls: {last} {value}");
        last = value;
    }
    Ok(())
}

#[test]
fn the_values_are_those_of_plain_arithmetic() -> Result<()> {
    // One step by hand in f64, no engine: w ← w − lr·dL/dw for L = mean((x·w − y)²).
    let w = Cell::new(&Tensor::from([[0.5f64], [-1.0]]), true);
    let x = Tensor::from([[1.0f64, 2.0], [3.0, -1.0]]);
    let y = Tensor::from([[1.0f64], [0.0]]);
    let loss = mse(&x.matmul(&w.tensor()), &y);
    step(&loss, &[&w], 0.1)?;
    // residuals: −1.5−1 = −2.5, 2.5−0 = 2.5; dL/dw = 2/2·xᵀr = [5, −7.5]
    assert_eq!(loss.item()?, 6.25);
    assert_eq!(w.to_vec::<f64>()?, [0.5 - 0.5, -1.0 + 0.75]);
    Ok(())
}

#[test]
fn item_then_step_pays_the_forward_once() -> Result<()> {
    let ((w, b), (x, y)) = (model(), data());
    let counted = |read_first: bool| -> Result<u64> {
        let loss = mse(&forward(&w, &b, &x), &y);
        let before = stats();
        if read_first {
            loss.item()?;
        }
        step(&loss, &[&w, &b], 0.1)?;
        Ok(since(before).kernels)
    };
    let (together, apart) = (counted(false)?, counted(true)?);
    // The read splits fused steps, but computes no product again: the products are two in the whole.
    assert!(apart <= together + 2, "{together} kernels in one plan, {apart} with a read before");
    Ok(())
}

#[test]
fn pred_held_across_a_step_has_the_old_value() -> Result<()> {
    let ((w, b), (x, y)) = (model(), data());
    let expected = forward(&w, &b, &x).to_vec::<f32>()?;
    let pred = forward(&w, &b, &x);
    let before = stats();
    step(&mse(&pred, &y), &[&w, &b], 0.1)?;
    assert_eq!(since(before).runs, 1, "pred is computed in the plan of the step");
    let before = stats();
    assert_eq!(pred.to_vec::<f32>()?, expected);
    assert_eq!(since(before).kernels, 0);
    assert_ne!(forward(&w, &b, &x).to_vec::<f32>()?, expected);
    Ok(())
}

#[test]
fn a_gradient_after_the_step_names_the_step() -> Result<()> {
    let ((w, b), (x, y)) = (model(), data());
    let loss = mse(&forward(&w, &b, &x), &y);
    let line = line!() + 1;
    step(&loss, &[&w, &b], 0.1)?;
    let error = gradients(&loss, &[&w.tensor()]).unwrap_err().to_string();
    assert!(error.contains("were changed at"), "{error}");
    // The line is that of the assignment's caller: here the helper of this file.
    assert!(error.contains("lazy.rs:"), "{error} (the step is at line {line})");
    Ok(())
}

#[test]
fn a_total_over_many_steps_costs_one_scalar() -> Result<()> {
    let w = Cell::new(&Tensor::from(1.0f64), true);
    let mut total = Tensor::from(0.0f64);
    let mut plans = 0;
    for i in 0..100_000 {
        let loss = w.tensor() * w.tensor();
        total = total + &loss;
        let before = stats();
        step(&loss, &[&w], 0.0)?;
        if i > 2 {
            plans += since(before).plans;
        }
    }
    assert_eq!(plans, 0, "one plan for all steps");
    assert_eq!(total.item()?, 100_000.0);
    Ok(())
}

#[test]
fn a_snapshot_moves_the_next_step_once() -> Result<()> {
    let ((w, b), (x, y)) = (model(), data());
    let train = || step(&mse(&forward(&w, &b, &x), &y), &[&w, &b], 0.1);
    train()?;
    let snapshot = w.value()?;
    let kept = snapshot.to_vec::<f32>()?;
    let before = stats();
    train()?;
    assert_eq!((since(before).in_place, since(before).moved), (1, 1));
    let before = stats();
    train()?;
    assert_eq!((since(before).in_place, since(before).moved), (2, 0));
    assert_eq!(snapshot.to_vec::<f32>()?, kept);
    Ok(())
}

#[test]
fn two_losses_share_one_forward() -> Result<()> {
    let ((w, b), (x, y)) = (model(), data());
    let pred = forward(&w, &b, &x);
    let (first, second) = (mse(&pred, &y), pred.abs().sum(..));
    let before = stats();
    limpid_core::eval([&first, &second])?;
    assert_eq!(since(before).runs, 1);
    let both = since(before).kernels;
    let before = stats();
    first.item()?;
    second.item()?;
    assert_eq!(since(before).kernels, 0, "nothing is computed again");
    assert!(both <= 5, "one product and two reductions, not {both} kernels");
    Ok(())
}

#[test]
fn numbers_of_the_host_do_not_make_plans() -> Result<()> {
    let ((w, b), (x, y)) = (model(), data());
    let dataset = Tensor::arange(0, 469 * 4, 1).to_dtype(DType::F32).reshape([469, 4]);
    dataset.eval()?;
    let run = |i: usize| -> Result<()> {
        let weight = i as f64 / 100.0;
        let batch = dataset.narrow(0, i, 1);
        let noisy = forward(&w, &b, &x).dropout(0.001 * i as f64) + batch.sum(..) * 0.0;
        let loss = mse(&noisy, &y) * weight + w.tensor().square().sum(..) * (1.0 - weight);
        step(&loss, &[&w, &b], 1e-3 / (i + 1) as f64)
    };
    run(0)?;
    let before = stats();
    (1..469).try_for_each(run)?;
    assert_eq!(since(before).plans, 0, "an annealed weight, a moving batch, a changing p and rate: one plan");
    Ok(())
}

#[test]
fn a_failed_step_changes_nothing() -> Result<()> {
    let table = Cell::new(&Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]), true);
    let other = Cell::new(&Tensor::from([1.0f32, 1.0]), true);
    let count = Cell::new(&Tensor::from(0i64), false);
    count.assign(&(count.tensor() + 1));
    let rows = table.tensor().embedding(&Tensor::from([0i64, 7]));
    let loss = (rows * other.tensor()).sum(..);
    let error = step(&loss, &[&table, &other], 0.1).unwrap_err().to_string();
    assert!(error.starts_with("embedding: index 7 is out of range for axis 0 of size 2"), "{error}");
    assert_eq!(table.to_vec::<f32>()?, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(other.to_vec::<f32>()?, [1.0, 1.0]);
    assert_eq!(count.to_vec::<i64>()?, [0]);
    let loss = (table.tensor().embedding(&Tensor::from([0i64])) * other.tensor()).sum(..);
    step(&loss, &[&table, &other], 0.1)?;
    assert_eq!(other.to_vec::<f32>()?, [0.9, 0.8]);
    Ok(())
}

#[test]
fn a_finite_check_runs_before_the_update() -> Result<()> {
    let w = Cell::new(&Tensor::from([1.0f32, -1.0]), true);
    let loss = w.tensor().sqrt().sum(..).check_finite("loss");
    let error = step(&loss, &[&w], 0.1).unwrap_err();
    assert_eq!(error.what(), "loss: not finite");
    assert_eq!(w.to_vec::<f32>()?, [1.0, -1.0]);
    Ok(())
}

#[test]
fn an_unread_assignment_runs_once_with_the_next_plan() -> Result<()> {
    let mean = Cell::new(&Tensor::from(0.0f32), false);
    for i in 1..=10 {
        mean.assign(&(mean.tensor() + f64::from(i)));
    }
    let before = stats();
    (Tensor::from(1.0f32) + 1.0).item()?;
    assert_eq!(since(before).runs, 1);
    let before = stats();
    assert_eq!(mean.to_vec::<f32>()?, [55.0]);
    assert_eq!(since(before).kernels, 0, "it has run already");
    Ok(())
}

#[test]
fn assignments_that_read_each_other_see_the_old_values() -> Result<()> {
    let (a, b) = (Cell::new(&Tensor::from([1.0f32]), false), Cell::new(&Tensor::from([10.0f32]), false));
    let (old_a, old_b) = (a.tensor(), b.tensor());
    a.assign(&(&old_a + &old_b));
    b.assign(&(&old_b - &old_a));
    assert_eq!((a.to_vec::<f32>()?, b.to_vec::<f32>()?), (vec![11.0], vec![9.0]));
    // An exchange: neither may be written before the other is read.
    let (old_a, old_b) = (a.tensor(), b.tensor());
    a.assign(&(&old_b * 1.0));
    b.assign(&(&old_a * 1.0));
    assert_eq!((a.to_vec::<f32>()?, b.to_vec::<f32>()?), (vec![9.0], vec![11.0]));
    Ok(())
}

#[test]
fn a_write_at_an_offset_copies_nothing() -> Result<()> {
    let cache = Cell::new(&Tensor::zeros([64, 8]), false);
    let mut plans = 0;
    for i in 0..64 {
        cache.write_at(0, i, &Tensor::full([1, 8], i as f64));
        let before = stats();
        cache.settle()?;
        let did = since(before);
        assert_eq!((did.in_place, did.moved), (1, 0), "row {i}");
        plans += did.plans;
    }
    assert!(plans <= 1, "{plans} plans for one structure");
    let rows = cache.to_vec::<f32>()?;
    assert!((0..64).all(|i| rows[i * 8..(i + 1) * 8].iter().all(|&v| v == i as f32)));
    Ok(())
}

#[test]
fn a_structure_is_confirmed_behind_its_hash() -> Result<()> {
    limpid_core::force_collisions(true);
    let x = Tensor::from([1.0f32, 2.0]);
    let sums: Vec<f64> =
        (1..20).map(|n| (0..n).fold(x.clone(), |t, _| t + 1.0).sum(..).item()).collect::<Result<_>>()?;
    limpid_core::force_collisions(false);
    assert_eq!(sums, (1..20).map(|n| 3.0 + 2.0 * f64::from(n)).collect::<Vec<_>>());
    Ok(())
}

/// The leaf of a cell lives as long as somebody holds it: before an input is made or behind it.
#[test]
fn a_plan_does_not_depend_on_when_leaves_were_made() -> Result<()> {
    let (w, b) = (Cell::new(&Tensor::from([[1.0f32, 2.0]]), false), Cell::new(&Tensor::from([3.0f32]), false));
    let run = |x: &Tensor| (x.matmul(&w.tensor().t()) + b.tensor()).to_vec::<f32>();
    assert_eq!(run(&Tensor::from([[1.0f32, 1.0]]))?, [6.0]);
    let before = stats();
    let held = (b.tensor(), w.tensor());
    assert_eq!(run(&Tensor::from([[2.0f32, 1.0]]))?, [7.0]);
    drop(held);
    assert_eq!(run(&Tensor::from([[0.0f32, 1.0]]))?, [5.0]);
    assert_eq!(stats().plans, before.plans, "one structure, one plan");
    Ok(())
}

#[test]
fn a_long_chain_is_built_evaluated_and_dropped() -> Result<()> {
    let mut x = Tensor::from(0.0f64);
    for _ in 0..1_000_000 {
        x = x + 1.0;
    }
    assert_eq!(x.item()?, 1_000_000.0);
    // With a trainable leaf below nothing may be forgotten: the whole chain lives until here.
    let w = Cell::new(&Tensor::from(0.0f64), true);
    let mut y = w.tensor();
    for _ in 0..1_000_000 {
        y = y + 1.0;
    }
    assert_eq!(y.item()?, 1_000_000.0);
    drop(y);
    Ok(())
}

#[test]
fn evaluated_results_without_parameters_forget_their_inputs() -> Result<()> {
    let x = Tensor::from(vec![1.0f32; 1000]);
    let weak = {
        let y = &x * 2.0;
        let z = &y + 1.0;
        z.eval()?;
        let before = stats();
        // y is not kept: reading it computes it again, from x alone.
        y.eval()?;
        assert_eq!(since(before).kernels, 1);
        z
    };
    assert_eq!(weak.to_vec::<f32>()?[0], 3.0);
    let w = Cell::new(&x, true);
    let y = no_grad(|| w.tensor() * 2.0);
    assert!(!y.requires_grad());
    Ok(())
}

#[test]
fn captured_steps_equal_recorded_ones() -> Result<()> {
    let (x, y) = data();
    let train = |captured: bool| -> Result<(Vec<f64>, Vec<f32>)> {
        let (w, b) = model();
        manual_seed(11);
        let mut losses = Vec::new();
        let body = |input: &[Tensor]| {
            let loss = mse(&forward(&w, &b, &input[0]).dropout(0.2), &input[1]);
            step(&loss, &[&w, &b], 0.1).unwrap();
            vec![loss]
        };
        let mut capture = Capture::new(body);
        for i in 0..8 {
            let loss =
                if captured { capture.run(&[&x, &y])?.remove(0) } else { body(&[x.clone(), y.clone()]).remove(0) };
            losses.push(loss.item()?);
            assert!(!captured || capture.is_frozen() == (i > 0));
        }
        drop(capture);
        Ok((losses, w.to_vec::<f32>()?))
    };
    assert_eq!(train(true)?, train(false)?);
    Ok(())
}

#[test]
fn a_replay_records_nothing_and_updates_in_place() -> Result<()> {
    let ((w, b), (x, y)) = (model(), data());
    let mut capture = Capture::new(|input: &[Tensor]| {
        let loss = mse(&forward(&w, &b, &input[0]), &input[1]);
        step(&loss, &[&w, &b], 0.1).unwrap();
        vec![loss]
    });
    (0..2).try_for_each(|_| capture.run(&[&x, &y]).map(drop))?;
    let before = stats();
    capture.run(&[&x, &y])?;
    assert_eq!((since(before).plans, since(before).runs, since(before).in_place), (0, 1, 2));
    // Other shapes are recorded anew.
    let (x, y) = (x.narrow(0, 0, 4), y.narrow(0, 0, 4));
    capture.run(&[&x, &y])?;
    assert!(!capture.is_frozen());
    Ok(())
}

#[test]
fn a_capture_refuses_what_it_would_freeze() -> Result<()> {
    let x = Tensor::from([1.0f32]);
    let mut i = 0.0;
    let mut counting = Capture::new(|input: &[Tensor]| {
        i += 1.0;
        vec![&input[0] * i]
    });
    counting.run(&[&x])?;
    let error = counting.run(&[&x]).unwrap_err().to_string();
    assert!(error.starts_with("capture: a number changed from 1 to 2 between the two recordings"), "{error}");
    assert!(error.contains("lazy.rs:"), "{error}");

    let mut reading = Capture::new(|input: &[Tensor]| match input[0].item() {
        Ok(v) => vec![&input[0] * v],
        Err(error) => vec![Tensor::failed(error)],
    });
    let error: Error = reading.run(&[&x]).unwrap_err();
    assert!(error.what().starts_with("capture: a value is read inside"), "{error}");
    Ok(())
}

#[test]
fn an_error_keeps_its_first_line_through_operations() {
    let line = line!() + 1;
    let wrong = Tensor::zeros([2, 3]).matmul(&Tensor::zeros([2, 3]));
    let later = (wrong.relu() + Tensor::zeros([9])).sum(..);
    let error = later.item().unwrap_err();
    assert_eq!(error.what(), "matmul: inner sizes differ: [2, 3] × [2, 3]; 3 ≠ 2");
    assert_eq!(error.origin().unwrap().user_line().line(), line);
    assert!(format!("{later}").contains("matmul: inner sizes differ"));
}

#[test]
fn a_plan_that_needs_more_than_the_machine_has_runs_nothing() -> Result<()> {
    let cell = Cell::new(&Tensor::from(1.0f32), false);
    let x = Tensor::arange(0, 1 << 22, 1).to_dtype(DType::F32);
    x.eval()?;
    cell.assign(&(cell.tensor() + 1.0));
    let line = line!() + 1;
    let large = x.unsqueeze(0) + x.unsqueeze(1);
    let before = stats();
    let error = large.eval().unwrap_err();
    assert_eq!(stats().kernels, before.kernels);
    let text = error.to_string();
    assert!(text.contains("needs 70368.7 GB of memory") && text.contains(&format!("lazy.rs:{line}")), "{text}");
    assert!(text.contains("\n  try a smaller batch"), "{text}");
    assert_eq!(cell.to_vec::<f32>()?, [1.0], "the plan failed, and what it was to assign is dropped");
    Ok(())
}
