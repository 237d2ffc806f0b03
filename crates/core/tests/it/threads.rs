//! Large kernels give the same bits with any number of threads; many threads record, plan and run at once.

use std::sync::Arc;

use limpid_core::{
    AttentionOptions, Cell, ConvAxis, DType, Isa, Result, Shape, Tensor, cpu, eval, gradients, manual_seed, no_grad,
    set_isa, set_threads,
};

use crate::support::{Dice, bytes, machine, random, seed};

/// Results of kernels that are large enough to be cut.
fn large() -> Result<Vec<Tensor>> {
    manual_seed(5);
    let mut dice = Dice::new(seed() + 30);
    let mut make = |shape: &[usize], dtype| random(&mut dice, &Shape::from(shape), dtype).requires_grad_();
    let x = make(&[300, 700], DType::F32);
    let (w, b) = (make(&[260, 700], DType::F32), make(&[260], DType::F32));
    let hidden = x.linear(&w, Some(&b)).gelu();
    let table = make(&[11, 40], DType::F32);
    let index = Tensor::randint(0, 11, [9000]);
    let rows = table.embedding(&index);
    let image = make(&[4, 8, 30, 30], DType::F32);
    let kernel = make(&[16, 8, 3, 3], DType::F32);
    let pictures = image.conv(&kernel, &[ConvAxis { lo: 1, hi: 1, ..ConvAxis::PLAIN }; 2], 1);
    let q = make(&[8, 70, 16], DType::F32);
    let attended = q.scaled_dot_product_attention(&q, &q, &AttentionOptions::new().is_causal(true));
    let wide = make(&[90_000], DType::F64);
    let counts = Tensor::zeros([7]).scatter_add(0, &Tensor::randint(0, 7, [50_000]), Tensor::rand([50_000]));
    let norm = x.layer_norm([700], None, None, 1e-5);
    let loss = hidden.square().mean(..)
        + rows.sin().sum(..)
        + pictures.tanh().mean(..)
        + attended.square().sum(..)
        + norm.softmax(-1).square().sum(..)
        + wide.sum(..).to_dtype(DType::F32) * 1e-3;
    let wrt = [&x, &w, &b, &table, &image, &kernel, &q, &wide];
    let slopes: Vec<Tensor> = gradients(&loss, &wrt)?.into_iter().flatten().collect();
    assert_eq!(slopes.len(), wrt.len());
    let total =
        slopes.iter().map(|g| g.square().sum(..).to_dtype(DType::F64)).reduce(|a, b| a + b).expect("some").sqrt();
    let more = [
        hidden.sum(0),
        hidden.sum(1),
        hidden.t().flatten(0),
        x.cumsum(1),
        x.sort(0, true).0,
        x.log_softmax(0),
        wide.norm(..),
        Tensor::randn([70_000]),
        x.dropout(0.5),
        counts,
        total,
        loss,
    ];
    Ok(slopes.into_iter().chain(more).collect())
}

#[test]
fn large_kernels_give_the_same_bits_with_any_number_of_threads() -> Result<()> {
    let _alone = machine();
    let (threads, best) = (cpu().pool.threads(), cpu().isa);
    for isa in Isa::available() {
        set_isa(isa);
        let mut expected = Vec::new();
        for n in [1, 2, 3, 16] {
            set_threads(n);
            let results = large()?;
            eval(&results)?;
            let bits = bytes(&results.iter().collect::<Vec<_>>());
            if n == 1 {
                expected = bits;
                continue;
            }
            for (i, (a, b)) in bits.iter().zip(&expected).enumerate() {
                assert!(a == b, "{isa:?}: result {i} has other bits with {n} threads than with one");
            }
        }
    }
    set_isa(best);
    set_threads(threads);
    Ok(())
}

fn network(cells: &[Arc<Cell>; 3], x: &Tensor) -> Tensor {
    let [w, b, v] = cells;
    x.linear(&w.tensor(), Some(&b.tensor())).relu().matmul(&v.tensor())
}

fn parameters() -> [Arc<Cell>; 3] {
    let mut dice = Dice::new(seed() + 31);
    [[8, 6], [1, 8], [8, 2]].map(|shape| {
        let t = random(&mut dice, &Shape::from(shape), DType::F32);
        Cell::new(&(if shape[0] == 1 { t.flatten(0) } else { t }), true)
    })
}

fn batch(i: usize) -> Tensor {
    random(&mut Dice::new(seed() + 100 + i as u64), &Shape::from([3 + i % 4, 6]), DType::F32)
}

#[test]
fn parameters_are_read_from_many_threads() -> Result<()> {
    let cells = parameters();
    let expected: Vec<Vec<f32>> = (0..40).map(|i| network(&cells, &batch(i)).to_vec()).collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for (i, expected) in expected.iter().enumerate() {
                    let y = no_grad(|| network(&cells, &batch(i)));
                    assert_eq!(&y.to_vec::<f32>().expect("a plan runs"), expected, "batch {i}");
                }
            });
        }
    });
    Ok(())
}

/// Trains a network of its own for some steps; returns the weights.
fn trained(salt: usize) -> Result<Vec<Vec<f32>>> {
    let cells = parameters();
    for i in 0..25 {
        let loss = network(&cells, &batch(salt + i)).square().mean(..);
        let leaves = cells.each_ref().map(Cell::tensor);
        let slopes = gradients(&loss, &leaves.iter().collect::<Vec<_>>())?;
        for ((cell, leaf), slope) in cells.iter().zip(&leaves).zip(slopes) {
            cell.assign(&(leaf - slope.expect("every weight is used") * 1e-4));
        }
        loss.eval()?;
    }
    cells.iter().map(Cell::to_vec).collect()
}

#[test]
fn networks_are_trained_on_many_threads_at_once() -> Result<()> {
    let alone: Vec<_> = (0..6).map(trained).collect::<Result<_>>()?;
    let together: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..6).map(|salt| scope.spawn(move || trained(salt))).collect();
        running.into_iter().map(|r| r.join().expect("no thread fails")).collect::<Result<_>>()
    })?;
    assert!(alone.iter().flatten().flatten().all(|v| v.is_finite()));
    assert_eq!(alone, together);
    Ok(())
}

/// One thread trains what others read: each reads the weights of one step, never a mixture.
#[test]
fn a_step_is_seen_whole_or_not_at_all() -> Result<()> {
    let cell = Cell::new(&Tensor::zeros([5000]), true);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0.0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    // A reader that loses the race is told so, and reads again.
                    let Ok(values) = no_grad(|| cell.tensor() + 0.0).to_vec::<f32>() else { continue };
                    assert!(values.iter().all(|v| *v == values[0]), "a mixture of two steps");
                    assert!(values[0] >= last, "an older step after a newer one");
                    last = values[0];
                }
            });
        }
        let written = (0..300).try_for_each(|_| {
            cell.assign(&(cell.tensor() + 1.0));
            cell.settle()
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        written
    })?;
    assert!(cell.to_vec::<f32>()?.iter().all(|v| *v == 300.0));
    Ok(())
}

/// A tensor recorded on one thread is read by several at once.
#[test]
fn one_tensor_is_read_by_many_threads() {
    let x = random(&mut Dice::new(seed()), &Shape::from([50, 50]), DType::F32);
    let y = x.matmul(&x).tanh();
    let z = (&y + 1.0).sum(0);
    let read: Vec<(Vec<f32>, Vec<f32>)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..8).map(|_| scope.spawn(|| (z.to_vec().unwrap(), y.to_vec().unwrap()))).collect();
        running.into_iter().map(|r| r.join().expect("no thread fails")).collect()
    });
    assert!(read.iter().all(|r| *r == read[0]));
}
