//! Lookups and bags: beside plain loops, gradients of rows, rows that are limited, steps that cost what they read.

use limpid::prelude::*;
use limpid::stats;

fn values(p: &Parameter) -> Vec<f64> {
    p.value().unwrap().to_vec().unwrap()
}

/// A table [5, 2] from −0.4 to 0.5.
fn table() -> Tensor {
    Tensor::arange(0, 10, 1).to_dtype(DType::F64).view([5, 2]) / 10.0 - 0.4
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-7 * b.abs() + 1e-9)
}

fn batches() -> [Tensor; 3] {
    [Tensor::from([[3i64, 1, 3], [0, 1, 3]]), Tensor::from([2i64, 3]), Tensor::from([1i64, 1, 4])]
}

const SPARSE_ADAM: [f64; 10] = [
    -0.30000000112938485,
    -0.20000000121626066,
    -0.012204652786351855,
    0.08775733828792734,
    0.07657804741191822,
    0.1765780472773843,
    0.38422885844994126,
    0.4839161097666526,
    0.46746752950549386,
    0.5674675291499087,
];
const ADAGRAD: [f64; 10] = [
    0.09999999998214282,
    0.19999999998076917,
    0.5099462606231722,
    0.5995217211044733,
    0.45454545452272727,
    0.554545454520202,
    0.7563794248036219,
    0.8430950420932501,
    0.8166666666319444,
    0.916666666625,
];
const SGD_UPHILL: [f64; 10] = [
    -0.54,
    -0.43000000000000005,
    -0.728,
    -0.5840000000000001,
    -0.1,
    0.00999999999999997,
    -0.1440000000000001,
    -0.0010000000000001058,
    0.34,
    0.45,
];

type Make = fn(&Embedding) -> Box<dyn Optimizer>;

#[test]
fn sparse_steps_are_those_of_torch() -> limpid::Result<()> {
    // From torch 2.15, three steps of Σ(row − 1)² with repeated rows.
    let cases: [(Make, [f64; 10]); 3] = [
        (|e| Box::new(SparseAdam::new(e).lr(0.1).betas((0.8, 0.9))), SPARSE_ADAM),
        (|e| Box::new(Adagrad::new(e).lr(0.5).lr_decay(0.1)), ADAGRAD),
        (|e| Box::new(SGD::new(e).lr(0.05).maximize(true)), SGD_UPHILL),
    ];
    for (make, expected) in cases {
        for sparse in [true, false] {
            let words = Embedding::from_pretrained(&table()).freeze(false).sparse(sparse);
            let mut optimizer = make(&words);
            let mut step = |ids: &Tensor| optimizer.step(&(words.forward(ids) - 1.0).square().sum(..)).map(drop);
            // The dense steps of SGD and Adagrad leave rows without a gradient where they are too.
            match batches().iter().try_for_each(&mut step) {
                Err(error) => assert!(!sparse && error.what().contains("is dense"), "{error}"),
                Ok(()) => assert!(close(&values(&words.weight), &expected), "{:?} {expected:?}", values(&words.weight)),
            }
        }
    }
    Ok(())
}

#[test]
fn a_sparse_step_writes_its_rows_in_place_in_one_plan() -> limpid::Result<()> {
    let words = Embedding::new(50, 4).sparse(true);
    let mut adam = SparseAdam::new(&words);
    let mut step = |ids: [i64; 3]| adam.step(&words.forward(&Tensor::from(ids)).square().sum(..)).map(drop);
    (0..2).try_for_each(|_| step([3, 3, 7]))?;
    let before = stats();
    [[1, 2, 3], [49, 0, 49], [5, 5, 5]].into_iter().try_for_each(&mut step)?;
    let after = stats();
    assert_eq!(after.plans, before.plans);
    // The table, two moments and the count.
    assert_eq!((after.in_place - before.in_place, after.moved - before.moved), (12, 0));
    Ok(())
}

#[test]
fn a_sparse_step_that_fails_leaves_nothing_behind() -> limpid::Result<()> {
    let words = Embedding::new(5, 2).sparse(true).dtype(DType::F64);
    let mut adam = SparseAdam::new(&words).lr(0.1);
    adam.step(&words.forward(&Tensor::from([1i64, 2])).square().sum(..))?;
    let state = |adam: &SparseAdam| adam.state_dict().iter().map(|(_, t)| t.to_bytes().unwrap()).collect::<Vec<_>>();
    let before = (values(&words.weight), state(&adam));
    // Its gradient does not depend on what was read.
    let error = adam.step(&words.forward(&Tensor::from([1i64, 9])).sum(..)).unwrap_err();
    assert!(error.what().contains("index 9"), "{error}");
    assert_eq!((values(&words.weight), state(&adam)), before);
    Ok(())
}

#[test]
fn sparse_gradients_are_scaled_added_and_clipped() -> limpid::Result<()> {
    let words = Embedding::from_pretrained(&table()).freeze(false).sparse(true);
    let dense = Embedding::from_pretrained(&table()).freeze(false);
    let loss = |e: &Embedding, ids: &[i64]| (e.forward(&Tensor::from(ids.to_vec())) - 1.0).square().sum(..);
    let grads = |e: &Embedding| -> limpid::Result<Gradients> {
        Ok((loss(e, &[3, 3, 0]).gradients(e)? + loss(e, &[0, 2]).gradients(e)?).scale(0.5).clip_norm(1.5))
    };
    let (a, b) = (grads(&words)?, grads(&dense)?);
    let get = |g: &Gradients| g.get("weight").expect("it is read").to_vec::<f64>();
    assert!(close(&get(&a)?, &get(&b)?));
    assert!((a.norm().item()? - 1.5).abs() < 1e-5 && (a.norm().item()? - b.norm().item()?).abs() < 1e-12);
    assert_eq!(a.rows_of(&words.weight).expect("of rows").indices().to_vec::<i64>()?, [3, 3, 0, 0, 2]);
    assert!(b.rows_of(&dense.weight).is_none());
    let limited = |g: &Gradients| g.clone().clip_value(0.3);
    assert!(close(&get(&limited(&a))?, &get(&limited(&b))?));
    let (mut s, mut d) = (SGD::new(&words).lr(0.1), SGD::new(&dense).lr(0.1));
    s.apply(a)?;
    d.apply(b)?;
    assert!(close(&values(&words.weight), &values(&dense.weight)));
    Ok(())
}

#[test]
fn a_table_that_is_read_otherwise_too_has_a_dense_gradient() -> limpid::Result<()> {
    // Tied weights: the table is the output layer as well.
    let words = Embedding::from_pretrained(&table()).freeze(false).sparse(true);
    let rows = words.forward(&Tensor::from([1i64, 1]));
    let tied = rows.matmul(&words.weight.tensor().t()).sum(..);
    let plain = Embedding::from_pretrained(&table()).freeze(false);
    let same = plain.forward(&Tensor::from([1i64, 1])).matmul(&plain.weight.tensor().t()).sum(..);
    let (a, b) = (tied.gradients(&words)?, same.gradients(&plain)?);
    assert!(a.rows_of(&words.weight).is_none());
    let get = |g: &Gradients| g.get("weight").expect("it is read").to_vec::<f64>();
    assert!(close(&get(&a)?, &get(&b)?));
    Ok(())
}

#[test]
fn rows_that_are_too_long_are_scaled_in_the_table() -> limpid::Result<()> {
    let words = Embedding::from_pretrained(&Tensor::from([[3.0f64, 4.0], [0.3, 0.4], [6.0, 8.0]])).max_norm(1.0);
    let y = words.freeze(false);
    let rows = y.forward(&Tensor::from([0i64, 1]));
    let scaled = [3.0 / 5.0, 4.0 / 5.0, 0.3, 0.4];
    assert!(rows.to_vec::<f64>()?.iter().zip(scaled).all(|(a, b)| (a - b).abs() < 1e-6));
    // Row 2 was not read.
    assert_eq!(values(&y.weight)[4..], [6.0, 8.0]);
    assert!((values(&y.weight)[0] - 0.6).abs() < 1e-6);
    // The gradient passes by the scaling.
    let mut sgd = SGD::new(&y).lr(1.0);
    sgd.step(&y.forward(&Tensor::from([2i64])).sum(..))?;
    assert!((values(&y.weight)[4] - (0.6 - 1.0)).abs() < 1e-6, "{:?}", values(&y.weight));
    Ok(())
}

#[test]
fn layers_print_as_torch_prints_them() {
    let texts = [
        (Embedding::new(3, 2).max_norm(1.0).norm_type(1.0).describe(), "Embedding(3, 2, max_norm=1.0, norm_type=1.0)"),
        (
            Embedding::new(4, 2).padding_idx(-1).max_norm(2.0).sparse(true).describe(),
            "Embedding(4, 2, padding_idx=3, max_norm=2.0, sparse=True)",
        ),
        (
            EmbeddingBag::new(4, 2).mode(BagMode::Max).padding_idx(1).describe(),
            "EmbeddingBag(4, 2, mode='max', padding_idx=1)",
        ),
        (
            EmbeddingBag::new(4, 2).max_norm(1.5).norm_type(1.0).scale_grad_by_freq(true).describe(),
            "EmbeddingBag(4, 2, max_norm=1.5, norm_type=1.0, scale_grad_by_freq=True, mode='mean')",
        ),
    ];
    texts.iter().for_each(|(ours, theirs)| assert_eq!(ours, theirs));
}

/// A bag as a plain loop: the places from `start` to `end` of `ids`.
fn bag(mode: BagMode, ids: &[i64], weights: Option<&[f64]>, padding: Option<i64>, rows: &[[f64; 2]]) -> [f64; 2] {
    let mut out = [0.0f64; 2];
    let kept: Vec<usize> = (0..ids.len()).filter(|&i| Some(ids[i]) != padding).collect();
    for (n, &i) in kept.iter().enumerate() {
        for (o, x) in out.iter_mut().zip(rows[ids[i] as usize]) {
            let x = x * weights.map_or(1.0, |w| w[i]);
            *o = if mode == BagMode::Max && n > 0 {
                o.max(x)
            } else if mode == BagMode::Max {
                x
            } else {
                *o + x
            };
        }
    }
    if mode == BagMode::Mean {
        out = out.map(|x| x / kept.len().max(1) as f64);
    }
    out
}

#[test]
fn bags_are_what_a_loop_makes_of_them() -> limpid::Result<()> {
    let rows: [[f64; 2]; 4] = [[1.0, -2.0], [0.5, 3.0], [-1.0, -1.0], [2.0, 0.25]];
    let table = Tensor::from(rows);
    let ids = [0i64, 2, 2, 3, 1, 0, 3];
    let weights = [0.5, 2.0, -1.0, 1.5, 1.0, 0.1, 3.0];
    let x = Tensor::from(ids);
    for mode in [BagMode::Sum, BagMode::Mean, BagMode::Max] {
        for padding in [None, Some(2)] {
            for last in [false, true] {
                for weighted in [false, true] {
                    if weighted && mode != BagMode::Sum {
                        continue;
                    }
                    // Empty bags in the beginning, in the middle and at the end.
                    let offsets = [0i64, 0, 3, 3, 5, 7];
                    let mut options = EmbeddingBagOptions::new()
                        .mode(mode)
                        .offsets(&Tensor::from(offsets))
                        .include_last_offset(last)
                        .rows(EmbeddingOptions::new().padding_idx(padding.map(|p| p as isize)));
                    options.per_sample_weights = weighted.then(|| Tensor::from(weights));
                    let ends = offsets[1..].iter().copied().chain((!last).then_some(7));
                    let expected: Vec<f64> = offsets
                        .iter()
                        .zip(ends)
                        .flat_map(|(&a, b)| {
                            let at = a as usize..b as usize;
                            bag(mode, &ids[at.clone()], weighted.then_some(&weights[at]), padding, &rows)
                        })
                        .collect();
                    let bags = table.embedding_bag(&x, &options);
                    assert_eq!(bags.shape().len(), 2);
                    assert!(close(&bags.to_vec::<f64>()?, &expected), "{mode:?} {padding:?} {last} {weighted}");
                }
            }
        }
        let square = Tensor::from([[0i64, 2, 1], [3, 3, 0]]);
        let options = EmbeddingBagOptions::new().mode(mode);
        let expected: Vec<f64> =
            [[0, 2, 1], [3, 3, 0]].iter().flat_map(|ids| bag(mode, ids, None, None, &rows)).collect();
        assert!(close(&table.embedding_bag(&square, &options).to_vec::<f64>()?, &expected), "{mode:?}");
        // What comes after the last offset belongs to no bag.
        let short = EmbeddingBagOptions::new().mode(mode).offsets(&Tensor::from([0i64, 2])).include_last_offset(true);
        let expected = bag(mode, &ids[..2], None, None, &rows);
        assert!(close(&table.embedding_bag(&x, &short).to_vec::<f64>()?, &expected), "{mode:?}");
        let none = EmbeddingBagOptions::new().mode(mode).offsets(&Tensor::from([0i64, 0]));
        let nothing = table.embedding_bag(&Tensor::zeros_of([0], DType::I64), &none);
        assert_eq!(nothing.to_vec::<f64>()?, [0.0; 4], "{mode:?}");
    }
    Ok(())
}
