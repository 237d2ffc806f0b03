use limpid_kernels::index::IndexFault;
use limpid_kernels::loss::{cross_entropy, cross_entropy_grad};
use limpid_kernels::{Cpu, DType};

use super::softmax::plain_softmax;
use super::*;

const IGNORE: i64 = -100;

/// The type that a kernel keeps a row's number in.
fn kept(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

#[test]
fn losses_and_gradients_equal_plain_loops() {
    let mut random = Random(51);
    for (rows, classes) in [(0, 3), (1, 1), (1, 2), (5000, 10), (33, 127), (20, 128), (3, 1001), (2, 50_257)] {
        for dtype in FLOATS {
            let x = put(dtype, &random.normals(rows * classes, 3.0));
            let target: Vec<i64> =
                (0..rows).map(|_| if random.below(5) == 0 { IGNORE } else { random.below(classes) as i64 }).collect();
            let g = put(dtype, &random.normals(rows, 1.0));
            let (wide_x, wide_g, kept) = (take(dtype, &x), take(dtype, &g), kept(dtype));
            let logs = plain_softmax(classes, true, &wide_x);
            let losses: Vec<f64> = (0..rows)
                .map(|r| if target[r] == IGNORE { 0.0 } else { -logs[r * classes + target[r] as usize] })
                .collect();
            let lses: Vec<f64> = (0..rows).map(|r| wide_x[r * classes] - logs[r * classes]).collect();
            let what = format!("{rows}x{classes}");
            let mut lse = stale(kept, rows);
            let loss = same_on_all_threads(rows * dtype.size(), |cpu, loss| {
                let (x, target, loss) = (view(dtype, &x), Slice::of(&target), view_mut(dtype, loss));
                cross_entropy(cpu, rows, classes, x, target, IGNORE, loss, view_mut(kept, &mut lse)).unwrap();
            });
            close(dtype, &take(dtype, &loss), &losses, 10.0, &what);
            close(kept, &take(kept, &lse), &lses, 10.0, &what);
            let gradient = |i: usize| {
                let (r, c) = (i / classes, (i % classes) as i64);
                let hit = (c == target[r]) as u8 as f64;
                if target[r] == IGNORE { 0.0 } else { (logs[i].exp() - hit) * wide_g[r] }
            };
            let expected: Vec<f64> = (0..rows * classes).map(gradient).collect();
            let dx = same_on_all_threads(x.len(), |cpu, dx| {
                let (x, lse, g, target) = (view(dtype, &x), view(kept, &lse), view(dtype, &g), Slice::of(&target));
                cross_entropy_grad(cpu, rows, classes, x, lse, target, IGNORE, g, view_mut(dtype, dx));
            });
            // exp(x - lse) keeps the absolute error of lse as a relative one.
            close(dtype, &take(dtype, &dx), &expected, 4.0, &what);
        }
    }
}

fn faulty(target: &[i64]) -> Result<(), IndexFault> {
    let cpu = Cpu::new(None, 2);
    let x = vec![0f32; target.len() * 3];
    let (mut loss, mut lse) = (vec![7f32; target.len()], vec![7f32; target.len()]);
    let out = (SliceMut::of(&mut loss), SliceMut::of(&mut lse));
    let result = cross_entropy(&cpu, target.len(), 3, Slice::of(&x), Slice::of(target), IGNORE, out.0, out.1);
    assert!(result.is_ok() || loss.iter().chain(&lse).all(|&x| x == 7.0), "written despite the fault");
    result
}

#[test]
fn the_first_bad_class_is_reported_before_anything_is_written() {
    assert_eq!(faulty(&[0, 2, IGNORE]), Ok(()));
    assert_eq!(faulty(&[0, 3, -1]), Err(IndexFault { position: 1, value: 3, size: 3 }));
    assert_eq!(faulty(&[-1]), Err(IndexFault { position: 0, value: -1, size: 3 }));
}

#[test]
fn a_sure_prediction_costs_nothing_and_a_wrong_one_is_finite() {
    let cpu = Cpu::new(None, 1);
    let (x, target) = ([200f32, 0.0, 200.0, 0.0], [0i64, 1]);
    let (mut loss, mut lse) = ([0f32; 2], [0f32; 2]);
    let out = (SliceMut::of(&mut loss), SliceMut::of(&mut lse));
    cross_entropy(&cpu, 2, 2, Slice::of(&x), Slice::of(&target), IGNORE, out.0, out.1).unwrap();
    assert_eq!((loss, lse), ([0.0, 200.0], [200.0, 200.0]));
}
