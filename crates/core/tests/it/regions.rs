//! Regions: calls, loops and branches equal what they say written out, with their gradients.

use limpid_core::{
    DType, Result, Shape, Tensor, branch, call, eval, gradients, loop_over, loop_times, manual_seed, no_grad,
    reference, shown, stats,
};

use crate::gradients::{Point, check};
use crate::support::{Dice, agree, close, floats, seed};

/// The weights of a small recurrent network.
struct Weights {
    input: Tensor,
    state: Tensor,
    bias: Tensor,
}

fn weights(dtype: DType) -> Weights {
    let mut dice = Dice::new(seed() + 20);
    let mut make = |shape: &[usize]| {
        let n = shape.iter().product();
        Tensor::from_vec((0..n).map(|_| dice.unit() * 0.6).collect(), shape).to_dtype(dtype).requires_grad_()
    };
    Weights { input: make(&[4, 3]), state: make(&[4, 4]), bias: make(&[4]) }
}

fn cell(w: &Weights, x: &Tensor, h: &Tensor) -> Tensor {
    (x.linear(&w.input, Some(&w.bias)) + h.linear(&w.state, None)).tanh()
}

/// The last state and all states, [T, batch, 4].
fn looped(w: &Weights, x: &Tensor) -> [Tensor; 2] {
    let h = Tensor::zeros_of([2, 4], x.dtype());
    let (last, all) = loop_over(&[h], std::slice::from_ref(x), |carry, step| {
        let h = cell(w, &step[0], &carry[0]);
        (vec![h.clone()], vec![h])
    });
    [last[0].clone(), all[0].clone()]
}

fn unrolled(w: &Weights, x: &Tensor) -> [Tensor; 2] {
    let mut h = Tensor::zeros_of([2, 4], x.dtype());
    let mut all = Vec::new();
    for t in 0..x.size(0) {
        h = cell(w, &x.select(0, t as isize), &h);
        all.push(h.clone());
    }
    [h, Tensor::stack(&all.iter().collect::<Vec<_>>(), 0)]
}

/// Values, first gradients, and gradients of a penalty on the first ones.
fn derived(rnn: fn(&Weights, &Tensor) -> [Tensor; 2], steps: usize) -> Result<Vec<Tensor>> {
    let w = weights(DType::F64);
    let mut dice = Dice::new(seed() + 21);
    let x = Tensor::from_vec((0..steps * 6).map(|_| dice.unit()).collect(), [steps, 2, 3]).requires_grad_();
    let [last, all] = rnn(&w, &x);
    let loss = last.square().sum(..) + (&all * 0.3).sin().mean(..);
    let wrt = [&w.input, &w.state, &w.bias, &x];
    let first: Vec<Tensor> = gradients(&loss, &wrt)?.into_iter().flatten().collect();
    let penalty = first.iter().map(|g| g.square().sum(..)).reduce(|a, b| a + b).expect("four gradients");
    let second: Vec<Tensor> = gradients(&penalty, &wrt)?.into_iter().flatten().collect();
    assert_eq!((first.len(), second.len()), (4, 4));
    Ok([last, all].into_iter().chain(first).chain(second).collect())
}

#[test]
fn a_loop_of_128_steps_equals_the_unrolled_network() -> Result<()> {
    let (a, b) = (derived(looped, 128)?, derived(unrolled, 128)?);
    eval(&a)?;
    eval(&b)?;
    for (i, (x, y)) in a.iter().zip(&b).enumerate() {
        close(DType::F64, &floats(x).unwrap(), &floats(y).unwrap(), 1.0)
            .unwrap_or_else(|why| panic!("result {i}: {why}"));
    }
    Ok(())
}

#[test]
fn loops_say_what_the_interpreter_says() -> Result<()> {
    for steps in [0, 1, 2, 9] {
        let results = derived(looped, steps)?;
        agree(&results.iter().collect::<Vec<_>>(), 1.0).unwrap_or_else(|why| panic!("{steps} steps: {why}"));
    }
    Ok(())
}

/// The text of a plan has as many lines whatever the number of steps.
#[test]
fn the_plan_of_a_loop_does_not_grow_with_its_steps() -> Result<()> {
    let lines = |steps: usize| -> Result<usize> {
        let results = derived(looped, steps)?;
        let (text, done) = shown(&["plan"], || eval(&results));
        done?;
        Ok(text.lines().count())
    };
    let (few, many) = (lines(5)?, lines(128)?);
    assert_eq!(few, many);
    assert!((20..400).contains(&many), "{many} lines");
    Ok(())
}

#[test]
fn counts_from_none_to_the_bound() -> Result<()> {
    let x = Tensor::from([1.0f64, 2.0, 3.0, 4.0]).requires_grad_();
    let before = stats().plans;
    let mut plans = Vec::new();
    for n in [0i64, 1, 2, 3, 4, 9, -2] {
        let start = Tensor::from(0.5f64).requires_grad_();
        let count = Tensor::from(n);
        let (last, all) = loop_times(&count, 4, std::slice::from_ref(&start), std::slice::from_ref(&x), |c, s| {
            let h = (&c[0] * &s[0]).sin();
            (vec![h.clone()], vec![&h * 2.0])
        });
        let mut h = 0.5f64;
        let mut expected = [0.0f64; 4];
        for t in 0..n.clamp(0, 4) as usize {
            h = (h * (t as f64 + 1.0)).sin();
            expected[t] = h * 2.0;
        }
        let loss = &last[0] + all[0].sum(..);
        let slopes: Vec<Tensor> = gradients(&loss, &[&start, &x])?.into_iter().flatten().collect();
        let results = [&last[0], &all[0], &slopes[0], &slopes[1]];
        agree(&results, 1.0).unwrap_or_else(|why| panic!("{n} steps: {why}"));
        close(DType::F64, &floats(&last[0]).unwrap(), &[h], 1.0).unwrap();
        close(DType::F64, &floats(&all[0]).unwrap(), &expected, 1.0).unwrap();
        plans.push(stats().plans - before);
    }
    assert!(plans.iter().all(|p| *p == plans[0]), "another count made another plan: {plans:?}");
    // Against differences, at a count below the bound.
    let f = |xs: &[Tensor]| {
        let (last, all) = loop_times(&Tensor::from(3i64), 4, &[xs[0].clone()], &[xs[1].clone()], |c, s| {
            let h = (&c[0] * &s[0]).sin();
            (vec![h.clone()], vec![&h * 2.0])
        });
        vec![last[0].clone(), all[0].clone()]
    };
    let mut dice = Dice::new(seed() + 22);
    check(&f, &[Point::new(&mut dice, &[], false), Point::new(&mut dice, &[4], false)], true).unwrap();
    Ok(())
}

#[test]
fn gradients_through_every_kind_of_region() {
    let mut dice = Dice::new(seed() + 23);
    let points = [Point::new(&mut dice, &[3, 2], false), Point::new(&mut dice, &[2], false)];
    type Body = fn(&[Tensor]) -> Vec<Tensor>;
    let cases: &[(&str, Body)] = &[
        ("call", |x| call(&[&x[0], &x[1]], |v| vec![(&v[0] * &v[1]).sin(), v[1].square()])),
        ("call with outside values", |x| {
            let outside = x[1].exp();
            call(&[&x[0]], |v| vec![&v[0] * &outside])
        }),
        ("call in call", |x| call(&[&x[0]], |v| call(&[&v[0]], |u| vec![(&u[0] * &x[1]).tanh()]))),
        ("branch taken", |x| branch(&x[0].sum(..).lt(1e9), || vec![(&x[0] * &x[1]).sin()], || vec![x[0].exp()])),
        ("branch not taken", |x| branch(&x[0].sum(..).gt(1e9), || vec![x[0].exp()], || vec![(&x[0] * &x[1]).sin()])),
        ("loop without outside values", |x| {
            let (last, all) = loop_over(&[x[1].clone()], &[x[0].clone()], |c, s| {
                let h = (&c[0] * 0.7 + &s[0]).tanh();
                (vec![h.clone()], vec![h.square(), &s[0] * &h])
            });
            [last, all].concat()
        }),
        ("loop with two carries, one unused, and outside values", |x| {
            let k = x[1].sin();
            let (last, all) = loop_over(&[x[1].clone(), x[1].square()], &[x[0].clone()], |c, s| {
                (vec![(&c[1] * &k).tanh(), &c[0] + &s[0]], vec![&c[0] * &c[1]])
            });
            [last, all].concat()
        }),
        ("nested loops", |x| {
            let (last, _) = loop_over(&[x[1].clone()], &[x[0].clone()], |c, s| {
                let (inner, _) = loop_times(&Tensor::from(2i64), 3, &[c[0].clone()], &[], |d, _| {
                    (vec![(&d[0] + &s[0]).sin()], vec![])
                });
                (inner, vec![])
            });
            last
        }),
        ("branch in loop", |x| {
            let (last, all) = loop_over(&[x[1].clone()], &[x[0].clone()], |c, s| {
                let y = branch(&s[0].sum(..).gt(0.0371), || vec![(&c[0] + &s[0]).tanh()], || vec![&c[0] * 0.5]);
                (y.clone(), y)
            });
            [last, all].concat()
        }),
        ("loop over a loop's stack, slices inside", |x| {
            let (_, all) = loop_over(&[x[1].clone()], &[x[0].clone()], |c, s| {
                let h = Tensor::cat(&[&s[0].narrow(0, 1, 1), &c[0].narrow(0, 0, 1)], 0) * 1.5;
                (vec![h.tanh()], vec![h])
            });
            loop_over(&[x[1].square()], &[all[0].clone()], |c, s| (vec![(&c[0] * &s[0]).sin()], vec![])).0
        }),
        ("whole numbers carried along", |x| {
            let start = Tensor::from(0i64);
            let (last, _) = loop_over(&[start, x[1].clone()], &[x[0].clone()], |c, s| {
                (vec![&c[0] + 1, &c[1] * (&s[0] + c[0].to_dtype(DType::F64)).sin()], vec![])
            });
            last
        }),
        ("softmax and layer_norm in a loop", |x| {
            loop_over(&[x[1].clone()], &[x[0].clone()], |c, s| {
                let y = (&c[0] + &s[0]).softmax(-1) + s[0].layer_norm([2], None, None, 0.1);
                (vec![y], vec![])
            })
            .0
        }),
    ];
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|(name, f)| check(f, &points, true).err().map(|why| format!("{name}: {why}")))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Each step draws its own mask, and the gradient's loop the same ones again.
#[test]
fn dropout_in_a_loop() -> Result<()> {
    manual_seed(3);
    let x = Tensor::from_vec(vec![1.0f64; 6 * 50], [6, 50]).requires_grad_();
    let (_, rows) = loop_over(&[Tensor::zeros_of([], DType::F64)], std::slice::from_ref(&x), |c, s| {
        (vec![&c[0] + 1.0], vec![s[0].dropout(0.5)])
    });
    let slope = gradients(&rows[0].sum(..), &[&x])?[0].clone().expect("x is used");
    agree(&[&rows[0], &slope], 1.0).unwrap();
    let (kept, slope) = (rows[0].to_vec::<f64>()?, slope.to_vec::<f64>()?);
    // x is 1, so that a row is its own mask: and the slope is that mask.
    assert_eq!(kept, slope);
    let masks: Vec<&[f64]> = kept.chunks(50).collect();
    for (i, a) in masks.iter().enumerate() {
        assert!(a.iter().all(|&v| v == 0.0 || v == 2.0));
        assert!((10..40).contains(&a.iter().filter(|v| **v == 0.0).count()), "mask {i}: {a:?}");
        assert!(masks[..i].iter().all(|b| a != b), "step {i} drew the mask of another one");
    }
    // Another recording of the same seed draws the same; a later one does not.
    let again = || {
        let (_, rows) = loop_over(&[Tensor::zeros_of([], DType::F64)], std::slice::from_ref(&x), |c, s| {
            (vec![&c[0] + 1.0], vec![s[0].dropout(0.5)])
        });
        rows[0].to_vec::<f64>()
    };
    manual_seed(3);
    assert_eq!(again()?, kept);
    assert_ne!(again()?, kept);
    Ok(())
}

#[test]
fn one_branch_runs() -> Result<()> {
    let x = Tensor::from([1.0f32, 2.0]);
    let wrong = Tensor::from([5i64]);
    for (limit, fails) in [(0.0, false), (9.0, true)] {
        let y = branch(
            &x.sum(..).gt(limit),
            || vec![&x * 2.0],
            || vec![x.index_select(0, &wrong).expand_to(&Shape::from([2]))],
        );
        assert_eq!(y[0].to_vec::<f32>().is_err(), fails);
    }
    Ok(())
}

#[test]
fn wrong_regions_are_errors_that_wait() {
    let x = Tensor::from([[1.0f32, 2.0], [3.0, 4.0]]);
    let said = |t: &Tensor| t.item().expect_err("it is wrong").to_string();
    let (last, _) =
        loop_over(&[x.clone()], &[x.clone()], |c, s| (vec![Tensor::cat(&[&c[0], &c[0]], 0) + s[0].sum(..)], vec![]));
    assert!(said(&last[0]).contains("the carried values are"), "{}", said(&last[0]));
    let (last, _) = loop_over(&[x.clone()], &[x.clone(), Tensor::zeros([3])], |c, _| (vec![c[0].clone()], vec![]));
    assert!(said(&last[0]).contains("steps on axis 0"), "{}", said(&last[0]));
    let y = branch(&x.gt(0.0), || vec![x.clone()], || vec![x.clone()]);
    assert!(said(&y[0]).contains("the condition has shape"), "{}", said(&y[0]));
    let y = branch(&x.sum(..).gt(0.0), || vec![x.clone()], || vec![x.sum(..)]);
    assert!(said(&y[0]).contains("one side returns"), "{}", said(&y[0]));
    let y = call(&[&x], |v| vec![v[0].matmul(&Tensor::zeros([3, 2]))]);
    assert!(said(&y[0]).contains("inner sizes differ"), "{}", said(&y[0]));
    let read = call(&[&x], |v| {
        let inside = v[0].sum(..).item();
        assert!(inside.is_err(), "a placeholder has no value");
        vec![v[0].clone()]
    });
    assert_eq!(read[0].to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    assert!(said(&x.masked_select(&x.gt(0.0)).reshape([5])).contains("do not fill"));
}

/// A loop reads parameters and says the same without gradients.
#[test]
fn loops_without_gradients() -> Result<()> {
    let w = weights(DType::F32);
    let x = Tensor::from_vec(vec![0.25f32; 60], [10, 2, 3]);
    let [last, _] = looped(&w, &x);
    let [plain, _] = no_grad(|| looped(&w, &x));
    assert_eq!(last.to_vec::<f32>()?, plain.to_vec::<f32>()?);
    assert!(reference::evaluate(&[&plain]).is_ok());
    Ok(())
}
