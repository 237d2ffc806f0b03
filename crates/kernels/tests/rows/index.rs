use limpid_kernels::index::{IndexFault, ScatterFn, gather, scatter};
use limpid_kernels::{Cpu, DType, Slice};

use super::*;

/// shape of the index, axis, shape of the indexed array, strides of the index, its offset, its buffer's length.
type Case = (Vec<usize>, usize, Vec<usize>, Vec<isize>, usize, usize);

fn cases() -> Vec<Case> {
    vec![
        (vec![0], 0, vec![5], vec![1], 0, 0),
        (vec![1], 0, vec![1], vec![1], 0, 1),
        (vec![7], 0, vec![5], vec![1], 0, 7),
        (vec![7], 0, vec![5], vec![-2], 12, 13),
        (vec![7], 0, vec![5], vec![0], 3, 4),
        (vec![70_001], 0, vec![37], vec![1], 0, 70_001),
        (vec![5, 3], 0, vec![4, 3], vec![1, 0], 0, 5),
        (vec![5, 3], 1, vec![5, 9], vec![3, 1], 0, 15),
        (vec![5, 3], 1, vec![6, 9], vec![1, 5], 0, 15),
        (vec![5, 3], 0, vec![2, 4], vec![-3, -1], 14, 15),
        (vec![301, 257], 0, vec![11, 257], vec![1, 0], 0, 301),
        (vec![301, 257], 0, vec![11, 300], vec![257, 1], 0, 301 * 257),
        (vec![301, 257], 1, vec![301, 5], vec![1, 301], 0, 301 * 257),
        (vec![40, 1, 9, 130], 2, vec![40, 1, 4, 130], vec![0, 0, 1, 0], 0, 9),
        (vec![3, 4, 5, 6], 1, vec![3, 2, 5, 6], vec![120, 30, 6, 1], 0, 360),
        (vec![3, 4, 5, 6], 3, vec![4, 4, 6, 2], vec![0, 6, 0, 1], 0, 24),
        (vec![2, 3, 0, 4], 1, vec![2, 3, 0, 4], vec![1, 1, 1, 1], 0, 0),
    ]
}

fn index_at(index: &[i64], offset: usize, strides: &[isize], at: &[usize]) -> i64 {
    let shift: isize = at.iter().zip(strides).map(|(&i, &s)| i as isize * s).sum();
    index[(offset as isize + shift) as usize]
}

#[test]
fn gather_equals_a_plain_loop() {
    let mut random = Random(1);
    for (shape, axis, src_shape, strides, offset, len) in cases() {
        let index: Vec<i64> = (0..len).map(|_| random.below(src_shape[axis]) as i64).collect();
        for dtype in DType::ALL {
            let src = random.whole(dtype, src_shape.iter().product());
            let expected: Vec<f64> = coordinates(&shape)
                .into_iter()
                .map(|mut at| {
                    at[axis] = index_at(&index, offset, &strides, &at) as usize;
                    src[place(&src_shape, &at)]
                })
                .collect();
            let src = put(dtype, &src);
            let out = same_on_all_threads(expected.len() * dtype.size(), |cpu, out| {
                let (src, out) = (view(dtype, &src), view_mut(dtype, out));
                gather(cpu, &shape, axis, src, &src_shape, Slice::of(&index), offset, &strides, out).unwrap();
            });
            assert_eq!(take(dtype, &out), expected, "{dtype} {shape:?} axis {axis} of {src_shape:?} by {strides:?}");
        }
    }
}

#[test]
fn scatter_equals_a_plain_loop() {
    let mut random = Random(2);
    let all = [ScatterFn::Set, ScatterFn::Add, ScatterFn::Mul, ScatterFn::Max, ScatterFn::Min];
    for (shape, axis, base_shape, strides, offset, len) in cases() {
        let index: Vec<i64> = (0..len).map(|_| random.below(base_shape[axis]) as i64).collect();
        for dtype in DType::ALL {
            let updates = random.whole(dtype, shape.iter().product());
            let base = random.whole(dtype, base_shape.iter().product());
            for f in all {
                // Products leave every type's range; ones and zeros do not.
                let ones = |x: &f64| if f == ScatterFn::Mul { (*x != 0.0) as u8 as f64 } else { *x };
                let (updates, base): (Vec<_>, Vec<_>) =
                    (updates.iter().map(ones).collect(), base.iter().map(ones).collect());
                let mut expected = base.clone();
                for (mut at, &u) in coordinates(&shape).into_iter().zip(&updates) {
                    at[axis] = index_at(&index, offset, &strides, &at) as usize;
                    let slot = &mut expected[place(&base_shape, &at)];
                    *slot = match f {
                        ScatterFn::Set => u,
                        ScatterFn::Add if dtype == DType::Bool => slot.max(u),
                        ScatterFn::Add => *slot + u,
                        ScatterFn::Mul => *slot * u,
                        ScatterFn::Max => slot.max(u),
                        ScatterFn::Min => slot.min(u),
                    };
                }
                let expected = take(dtype, &put(dtype, &wrapped(dtype, expected)));
                let (updates, base) = (put(dtype, &updates), put(dtype, &base));
                let out = same_on_all_threads(base.len(), |cpu, out| {
                    out.bytes_mut().copy_from_slice(base.bytes());
                    let (u, out) = (view(dtype, &updates), view_mut(dtype, out));
                    scatter(cpu, f, &shape, axis, u, Slice::of(&index), offset, &strides, out, &base_shape).unwrap();
                });
                assert_eq!(take(dtype, &out), expected, "{f:?} {dtype} {shape:?} axis {axis} by {strides:?}");
            }
        }
    }
}

/// Sums of u8 wrap.
fn wrapped(dtype: DType, values: Vec<f64>) -> Vec<f64> {
    if dtype == DType::U8 { values.into_iter().map(|x| x.rem_euclid(256.0)).collect() } else { values }
}

#[test]
fn rounded_sums_do_not_depend_on_threads() {
    let mut random = Random(3);
    let (n, d) = (2000, 200);
    let index: Vec<i64> = (0..n).map(|_| random.below(7) as i64).collect();
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let updates = random.normals(n * d, 1.0);
        let rounded = take(dtype, &put(dtype, &updates));
        let mut expected = vec![0.0; 7 * d];
        for i in 0..n {
            for j in 0..d {
                expected[index[i] as usize * d + j] += rounded[i * d + j];
            }
        }
        let updates = put(dtype, &updates);
        let out = same_on_all_threads(7 * d * dtype.size(), |cpu, out| {
            out.bytes_mut().fill(0);
            let (u, out) = (view(dtype, &updates), view_mut(dtype, out));
            scatter(cpu, ScatterFn::Add, &[n, d], 0, u, Slice::of(&index), 0, &[1, 0], out, &[7, d]).unwrap();
        });
        // Sums stay below 64: one rounding of a half, or the error of a running sum of about 300 terms.
        let tolerance = match dtype {
            DType::F16 => 32.0 * 2f64.powi(-11),
            DType::BF16 => 32.0 * 2f64.powi(-8),
            DType::F32 => 300.0 * 64.0 * 2f64.powi(-24),
            _ => 1e-11,
        };
        for (a, b) in take(dtype, &out).iter().zip(&expected) {
            assert!((a - b).abs() <= tolerance, "{dtype}: {a} is not {b}");
        }
    }
}

#[test]
fn extrema_keep_nan() {
    let cpu = Cpu::new(None, 1);
    for f in [ScatterFn::Max, ScatterFn::Min] {
        let mut out = [f32::NAN, 1.0, 2.0];
        let updates = [5.0f32, f32::NAN, 3.0];
        scatter(&cpu, f, &[3], 0, Slice::of(&updates), Slice::of(&[0i64, 1, 1]), 0, &[1], SliceMut::of(&mut out), &[3])
            .unwrap();
        assert!(out[0].is_nan() && out[1].is_nan() && out[2] == 2.0, "{f:?}: {out:?}");
    }
}

#[test]
fn the_first_bad_index_is_reported_and_nothing_is_written() {
    let cpu = Cpu::new(None, 4);
    for (bad, rows) in [(-1i64, 3), (5, 3), (i64::MIN, 90_000), (i64::MAX, 90_000)] {
        let mut index = vec![4i64; rows];
        index[rows / 2] = bad;
        index[rows - 1] = 77;
        let fault = IndexFault { position: rows / 2 * 2, value: bad, size: 5 };
        let (src, mut out) = (vec![1i32; 10], vec![7i32; rows * 2]);
        let got = gather(
            &cpu,
            &[rows, 2],
            0,
            Slice::of(&src),
            &[5, 2],
            Slice::of(&index),
            0,
            &[1, 0],
            SliceMut::of(&mut out),
        );
        assert_eq!(got, Err(fault));
        let mut base = vec![9i32; 10];
        for f in [ScatterFn::Set, ScatterFn::Add] {
            let base_slice = SliceMut::of(&mut base);
            let got =
                scatter(&cpu, f, &[rows, 2], 0, Slice::of(&out), Slice::of(&index), 0, &[1, 0], base_slice, &[5, 2]);
            assert_eq!(got, Err(fault));
            assert_eq!(base, [9; 10]);
        }
    }
    let mut out = [0f32; 2];
    let none = Slice::of::<f32>(&[]);
    let got = gather(&cpu, &[2], 0, none, &[0], Slice::of(&[0i64, 0]), 0, &[1], SliceMut::of(&mut out));
    assert_eq!(got, Err(IndexFault { position: 0, value: 0, size: 0 }));
}
