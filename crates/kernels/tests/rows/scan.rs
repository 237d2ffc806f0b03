use limpid_kernels::DType;
use limpid_kernels::scan::{ScanFn, scan};

use super::*;

fn plain(f: ScanFn, dtype: DType, a: f64, b: f64) -> f64 {
    match (f, dtype) {
        _ if a.is_nan() || b.is_nan() => f64::NAN,
        (ScanFn::Sum, DType::Bool) | (ScanFn::Max, _) => a.max(b),
        (ScanFn::Prod, DType::Bool) | (ScanFn::Min, _) => a.min(b),
        (ScanFn::Sum, DType::U8) => (a + b).rem_euclid(256.0),
        (ScanFn::Prod, DType::U8) => (a * b).rem_euclid(256.0),
        (ScanFn::Sum, _) => a + b,
        (ScanFn::Prod, _) => a * b,
    }
}

fn plain_scan(f: ScanFn, dtype: DType, shape: &[usize], axis: usize, reverse: bool, src: &[f64]) -> Vec<f64> {
    let mut out = src.to_vec();
    let mut order = coordinates(shape);
    if reverse {
        order.reverse();
    }
    for at in order {
        let mut before = at.clone();
        before[axis] = if reverse { at[axis] + 1 } else { at[axis].wrapping_sub(1) };
        if before[axis] < shape[axis] {
            out[place(shape, &at)] = plain(f, dtype, out[place(shape, &before)], src[place(shape, &at)]);
        }
    }
    out
}

const ALL: [ScanFn; 4] = [ScanFn::Sum, ScanFn::Prod, ScanFn::Max, ScanFn::Min];

#[test]
fn scans_equal_plain_loops() {
    let mut random = Random(11);
    let cases: [(&[usize], usize); 9] = [
        (&[0], 0),
        (&[1], 0),
        (&[19], 0),
        (&[3, 0, 2], 1),
        (&[5, 7], 0),
        (&[5, 7], 1),
        (&[3, 130, 2], 1),
        (&[400, 201], 0),
        (&[400, 201], 1),
    ];
    for (shape, axis) in cases {
        for dtype in DType::ALL {
            for (f, reverse) in ALL.into_iter().flat_map(|f| [(f, false), (f, true)]) {
                let mut src = random.whole(dtype, shape.iter().product());
                if f == ScanFn::Prod {
                    // Signs and now and then a zero: products stay exact.
                    src.iter_mut().for_each(|x| *x = if *x > 0.0 || dtype == DType::U8 { 1.0 } else { x.max(-1.0) });
                }
                let expected = plain_scan(f, dtype, shape, axis, reverse, &src);
                let src = put(dtype, &src);
                let out = same_on_all_threads(src.len(), |cpu, out| {
                    scan(cpu, f, shape, axis, reverse, view(dtype, &src), view_mut(dtype, out));
                });
                assert_eq!(take(dtype, &out), expected, "{f:?} {dtype} {shape:?} axis {axis} reverse {reverse}");
            }
        }
    }
}

#[test]
fn long_sums_are_rounded_once() {
    let mut random = Random(12);
    let src = take(DType::F32, &put(DType::F32, &random.normals(100_000, 1.0)));
    let expected = plain_scan(ScanFn::Sum, DType::F64, &[100_000], 0, false, &src);
    let src = put(DType::F32, &src);
    let out = same_on_all_threads(src.len(), |cpu, out| {
        scan(cpu, ScanFn::Sum, &[100_000], 0, false, view(DType::F32, &src), view_mut(DType::F32, out));
    });
    for (&got, want) in out.get::<f32>().iter().zip(expected) {
        assert_eq!(got, want as f32);
    }
}

#[test]
fn nan_stays_in_extrema() {
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let src = put(dtype, &[1.0, 3.0, f64::NAN, 9.0, -9.0]);
        for f in [ScanFn::Max, ScanFn::Min] {
            let out = same_on_all_threads(src.len(), |cpu, out| {
                scan(cpu, f, &[5], 0, false, view(dtype, &src), view_mut(dtype, out));
            });
            let out = take(dtype, &out);
            assert!(
                out[..2].iter().all(|x| !x.is_nan()) && out[2..].iter().all(|x| x.is_nan()),
                "{f:?} {dtype} {out:?}"
            );
        }
    }
}

#[test]
fn integers_wrap() {
    let src = [i32::MAX, 1, i32::MIN];
    let mut out = [0; 3];
    scan(&Cpu::new(None, 1), ScanFn::Sum, &[3], 0, false, Slice::of(&src), SliceMut::of(&mut out));
    assert_eq!(out, [i32::MAX, i32::MIN, 0]);
}
