//! Planted faults: each is caught by one of the checks of this binary, which pass without it.
//!
//! Faults are planted on one thread alone, where debug assertions are on.

#![cfg(debug_assertions)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use limpid_core::testing::{Fault, plant};
use limpid_core::{Cell, DType, Shape, Tensor, branch, gradients, loop_over, manual_seed};

use crate::gradients::{Point, check as differentiate};
use crate::random_graphs;
use crate::support::{Dice, agree, random, seed};

type Outcome = Result<(), String>;

fn say(error: limpid_core::Error) -> String {
    error.to_string()
}

/// A random tensor that is not a variable.
fn tensor(shape: &[usize]) -> Tensor {
    random(&mut Dice::new(seed() + shape.len() as u64), &Shape::from(shape), DType::F64)
}

fn single(shape: &[usize]) -> Tensor {
    random(&mut Dice::new(seed() + 50 + shape.len() as u64), &Shape::from(shape), DType::F32)
}

/// The plans of `results` against the interpreter.
fn plans(results: &[Tensor]) -> Outcome {
    agree(&results.iter().collect::<Vec<_>>(), 1.0).map(|_| ())
}

/// Gradients of `f` at a random point [4, 3] against differences.
fn slopes(f: fn(&Tensor) -> Tensor) -> Outcome {
    let point = Point::new(&mut Dice::new(seed() + 60), &[4, 3], false);
    differentiate(&|xs| vec![f(&xs[0])], &[point], false)
}

/// Expects `actual` to be `expected`.
fn same(actual: Result<Vec<f64>, limpid_core::Error>, expected: &[f64]) -> Outcome {
    let actual = actual.map_err(say)?;
    if actual == expected { Ok(()) } else { Err(format!("{actual:?}, expected {expected:?}")) }
}

fn tanh() -> Outcome {
    slopes(Tensor::tanh)
}

fn gather() -> Outcome {
    slopes(|x| x.index_select(0, &Tensor::from([1i64, 1, 3])).square())
}

fn ties() -> Outcome {
    let x = Tensor::from([2.0f64, 2.0, 1.0]).requires_grad_();
    let slope = gradients(&x.amax(0), &[&x]).map_err(say)?[0].clone().expect("x is used");
    same(slope.to_vec(), &[0.5, 0.5, 0.0])
}

fn softmax() -> Outcome {
    slopes(|x| x.softmax(-1))
}

fn recurrence() -> Outcome {
    slopes(|x| {
        let (last, _) = loop_over(&[x.select(0, 0)], std::slice::from_ref(x), |c, s| {
            (vec![(&c[0] * 0.5 + s[0].sin() * &c[0]).tanh() + &s[0]], vec![])
        });
        last[0].clone()
    })
}

fn slices() -> Outcome {
    plans(&[tensor(&[9]).narrow(0, 3, 4) * 2.0])
}

fn broadcasts() -> Outcome {
    plans(&[tensor(&[4, 3]) + tensor(&[3])])
}

fn windows() -> Outcome {
    plans(&[tensor(&[9]).unfold(0, 3, 2) * 2.0])
}

fn permutations() -> Outcome {
    plans(&[
        tensor(&[2, 3, 4]).permute([1, 2, 0]).permute([1, 0, 2]) + 1.0,
        tensor(&[3, 3, 3]).permute([1, 2, 0]).permute([1, 0, 2]).exp(),
    ])
}

fn infinities() -> Outcome {
    let x = Tensor::from([f64::INFINITY, 1.0]);
    plans(&[&x * x.constant_like(0.0)])
}

fn draws() -> Outcome {
    manual_seed(1);
    plans(&[Tensor::rand([50]) - Tensor::rand([50])])
}

fn scalars() -> Outcome {
    let x = tensor(&[5]);
    plans(&[(&x + 0.25) * (&x + 0.75)])
}

/// A weight that changes from step to step: one plan, other numbers.
fn annealing() -> Outcome {
    let x = Tensor::from([1.0f64, 2.0]);
    for (weight, expected) in [(0.5, [0.5, 1.0]), (0.25, [0.25, 0.5]), (2.0, [2.0, 4.0])] {
        same((&x * weight).to_vec(), &expected)?;
    }
    Ok(())
}

fn copies() -> Outcome {
    plans(&[tensor(&[4, 5]).t().cumsum(1)])
}

fn epilogues() -> Outcome {
    plans(&[(single(&[4, 5]).matmul(&single(&[5, 3])) + single(&[3])).relu()])
}

fn concatenations() -> Outcome {
    plans(&[Tensor::cat(&[&tensor(&[3, 2]), &tensor(&[2, 2])], 0)])
}

/// A value that is read late, after steps that would like its memory.
fn late_reads() -> Outcome {
    let x = tensor(&[64]);
    let a = (&x * 2.0).cumsum(0);
    let b = (&a + 1.0).cumsum(0);
    let c = (&b * 0.5).cumsum(0);
    plans(&[&c + &a])
}

fn effects() -> Outcome {
    let (w, n) = (Cell::new(&Tensor::from([1.0f64]), true), Cell::new(&Tensor::from([0.0f64]), false));
    for step in 1..4 {
        w.assign(&(w.tensor() * 2.0));
        n.assign(&(n.tensor() + 1.0));
        Tensor::from([f64::from(step)]).square().eval().map_err(say)?;
    }
    (w.tensor() + 0.0).eval().map_err(say)?;
    same(w.to_vec(), &[8.0])?;
    same(n.to_vec(), &[3.0])
}

/// The old value is read in the plan that writes the new one over it.
fn readers() -> Outcome {
    let w = Cell::new(&Tensor::from([1.0f64, 2.0]), false);
    let new = w.tensor() * 10.0;
    let read = w.tensor().cumsum(0).cumsum(0);
    w.assign(&new);
    same(read.to_vec(), &[1.0, 4.0])?;
    same(w.to_vec(), &[10.0, 20.0])
}

/// A step with an index out of range changes nothing.
fn checks() -> Outcome {
    let w = Cell::new(&Tensor::from([1.0f64, 2.0]), false);
    let table = tensor(&[3]);
    w.assign(&(w.tensor() * 10.0));
    let wrong = table.cumsum(0).index_select(0, &Tensor::from([7i64]));
    if wrong.eval().is_ok() {
        return Err("an index out of range is taken".to_owned());
    }
    same(w.to_vec(), &[1.0, 2.0])
}

fn masks() -> Outcome {
    manual_seed(2);
    let (_, rows) = loop_over(&[tensor(&[])], &[Tensor::zeros([4, 30]) + 1.0], |c, s| {
        (vec![c[0].clone()], vec![s[0].dropout(0.5)])
    });
    plans(&[rows[0].clone()])
}

/// Two structures that differ in one attribute.
fn keys() -> Outcome {
    let x = tensor(&[7]).requires_grad_();
    let forward = x.cumsum(0);
    let slope = gradients(&forward.square().sum(..), &[&x]).map_err(say)?[0].clone().expect("x is used");
    let leaf = tensor(&[7]);
    let ahead = leaf.cumsum(0);
    let one = Tensor::from(1.0f64);
    // The gradient of a running sum is one from the other end: the same structure but for that.
    let y = leaf.detach().requires_grad_();
    let back = limpid_core::gradients_with(&y.cumsum(0), &leaf, &[&y]).map_err(say)?[0].clone().expect("y is used");
    plans(&[ahead])?;
    plans(&[back])?;
    plans(&[slope, one])
}

const FAULTS: &[(Fault, fn() -> Outcome)] = &[
    (Fault::GradientOfTanh, tanh),
    (Fault::GradientOfGather, gather),
    (Fault::GradientOfTies, ties),
    (Fault::GradientOfSoftmax, softmax),
    (Fault::GradientOfLoop, recurrence),
    (Fault::SliceStart, slices),
    (Fault::BroadcastStride, broadcasts),
    (Fault::WindowStride, windows),
    (Fault::PermuteOrder, permutations),
    (Fault::FoldZero, infinities),
    (Fault::MergedDraws, draws),
    (Fault::MergedScalars, scalars),
    (Fault::FrozenScalar, annealing),
    (Fault::MissingCopy, copies),
    (Fault::DroppedEpilogue, epilogues),
    (Fault::ConcatStart, concatenations),
    (Fault::InPlace, late_reads),
    (Fault::MemoryMap, late_reads),
    (Fault::LostEffect, effects),
    (Fault::EarlyWrite, readers),
    (Fault::UncheckedWrite, checks),
    (Fault::LoopCounter, masks),
    (Fault::Key, keys),
];

/// A panic is caught too: an engine that stops computes nothing wrong.
fn outcome(check: fn() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| Err("a panic".to_owned()))
}

#[test]
fn every_planted_fault_is_caught() {
    let mut wrong = Vec::new();
    for &(fault, check) in FAULTS {
        if let Err(why) = outcome(check) {
            wrong.push(format!("{fault:?}: the check fails without it: {why}"));
            continue;
        }
        let planted = plant(fault);
        match outcome(check) {
            Err(why) => println!("{fault:?} is caught: {}", why.lines().next().unwrap_or_default()),
            Ok(()) => wrong.push(format!("{fault:?} is not caught")),
        }
        drop(planted);
        if let Err(why) = outcome(check) {
            wrong.push(format!("{fault:?} is still there when it is gone: {why}"));
        }
    }
    assert!(FAULTS.len() >= 20);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Random graphs find by themselves what is wrong with plans.
#[test]
fn random_graphs_catch_faults_of_plans() {
    let faults = [
        Fault::SliceStart,
        Fault::BroadcastStride,
        Fault::WindowStride,
        Fault::PermuteOrder,
        Fault::MergedDraws,
        Fault::MergedScalars,
        Fault::MissingCopy,
        Fault::DroppedEpilogue,
        Fault::ConcatStart,
        Fault::InPlace,
        Fault::MemoryMap,
        Fault::LoopCounter,
    ];
    let missed: Vec<String> = faults
        .into_iter()
        .filter_map(|fault| {
            let planted = plant(fault);
            let found = (0..600).find(|i| random_graphs::check(seed() + i).is_err());
            drop(planted);
            println!("{fault:?} is found by graph {found:?}");
            found.is_none().then(|| format!("{fault:?}"))
        })
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// Random programs find by themselves what is wrong with assignments.
#[test]
fn random_programs_catch_faults_of_effects() {
    for fault in [Fault::LostEffect, Fault::EarlyWrite, Fault::UncheckedWrite] {
        let planted = plant(fault);
        let found = (0..300).find(|i| crate::effects::check(seed() + i).is_err());
        drop(planted);
        println!("{fault:?} is found by program {found:?}");
        assert!(found.is_some(), "{fault:?} is not found");
    }
}

/// A branch that is not taken is not computed: nothing in it may fail.
#[test]
fn the_checks_themselves_see_errors() {
    let x = tensor(&[2]);
    let y = branch(&x.sum(..).lt(1e9), || vec![&x * 1.0], || vec![x.index_select(0, &Tensor::from([9i64, 9]))]);
    assert!(plans(&y).is_ok());
    assert!(same(x.to_vec(), &[0.0, 0.0]).is_err());
    assert!(slopes(|x| x.detach() * x).is_err());
}
