use std::cmp::Ordering;

use limpid_kernels::DType;
use limpid_kernels::sort::{arg_extremum, sort, top_k};

use super::*;

/// NaN above all.
fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The positions of a line's elements in stable order.
fn plain_order(line: &[f64], descending: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..line.len()).collect();
    order.sort_by(|&a, &b| {
        let ordering = compare(line[a], line[b]);
        if descending { ordering.reverse() } else { ordering }
    });
    order
}

const CASES: [(&[usize], usize); 13] = [
    (&[0], 0),
    (&[1], 0),
    (&[2], 0),
    (&[33], 0),
    (&[4, 0, 3], 1),
    (&[0, 4], 1),
    (&[6, 5], 0),
    (&[6, 5], 1),
    (&[3, 129, 2], 1),
    (&[257, 70], 0),
    (&[2, 30_000], 1),
    (&[511, 2], 0),
    (&[3, 512], 1),
];

/// Numbers with many duplicates; among floats also NaN, both zeros and infinities.
fn values(random: &mut Random, dtype: DType, n: usize) -> Vec<f64> {
    let mut values = random.whole(dtype, n);
    if dtype.is_float() {
        for x in values.iter_mut() {
            *x = match random.below(8) {
                0 => f64::NAN,
                1 => -0.0,
                2 => f64::INFINITY,
                3 => f64::NEG_INFINITY,
                4 => *x * 0.125,
                _ => *x,
            };
        }
    }
    values
}

fn bits(values: Vec<f64>) -> Vec<u64> {
    values.into_iter().map(|x| if x.is_nan() { u64::MAX } else { x.to_bits() }).collect()
}

#[test]
fn sort_and_top_k_equal_a_stable_sort() {
    let mut random = Random(21);
    for (shape, axis) in CASES {
        for (dtype, descending) in DType::ALL.into_iter().flat_map(|d| [(d, false), (d, true)]) {
            let n = shape[axis];
            let src = values(&mut random, dtype, shape.iter().product());
            let stored = put(dtype, &src);
            let mut ks = vec![n, n / 3, n.min(1)];
            ks.dedup();
            for k in ks {
                let mut kept = shape.to_vec();
                kept[axis] = k;
                let mut expected = vec![(0.0, 0i64); kept.iter().product()];
                for mut at in coordinates(&kept).into_iter().filter(|at| at[axis] == 0) {
                    let mut line = at.clone();
                    let get = |t| {
                        line[axis] = t;
                        src[place(shape, &line)]
                    };
                    let line: Vec<f64> = (0..n).map(get).collect();
                    for (t, from) in plain_order(&line, descending).into_iter().take(k).enumerate() {
                        at[axis] = t;
                        expected[place(&kept, &at)] = (line[from], from as i64);
                    }
                }
                let len = expected.len();
                let values = same_on_all_threads(len * dtype.size(), |cpu, values| {
                    let mut indices = vec![-1i64; len];
                    let (src, values) = (view(dtype, &stored), view_mut(dtype, values));
                    if k == n {
                        sort(cpu, shape, axis, descending, src, values, SliceMut::of(&mut indices));
                    } else {
                        top_k(cpu, shape, axis, k, descending, src, values, SliceMut::of(&mut indices));
                    }
                    assert!(indices.iter().eq(expected.iter().map(|(_, i)| i)), "{dtype} {shape:?} axis {axis} k {k}");
                });
                let expected = expected.into_iter().map(|(v, _)| v).collect();
                assert_eq!(bits(take(dtype, &values)), bits(expected), "{dtype} {shape:?} axis {axis} k {k}");
            }
        }
    }
}

#[test]
fn arg_extremum_is_the_first_of_the_best() {
    let mut random = Random(22);
    for (shape, axis) in CASES.into_iter().filter(|(shape, axis)| shape[*axis] > 0) {
        for (dtype, largest) in DType::ALL.into_iter().flat_map(|d| [(d, false), (d, true)]) {
            for with_nan in [false, true] {
                let mut src = values(&mut random, dtype, shape.iter().product());
                if !with_nan {
                    src.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = 1.0);
                }
                let mut lines = shape.to_vec();
                lines[axis] = 1;
                let expected: Vec<i64> = coordinates(&lines)
                    .into_iter()
                    .map(|mut at| {
                        let get = |t| {
                            at[axis] = t;
                            src[place(shape, &at)]
                        };
                        let line: Vec<f64> = (0..shape[axis]).map(get).collect();
                        let nan = line.iter().position(|x| x.is_nan());
                        nan.unwrap_or_else(|| plain_order(&line, largest)[0]) as i64
                    })
                    .collect();
                let stored = put(dtype, &src);
                let out = same_on_all_threads(expected.len() * 8, |cpu, out| {
                    arg_extremum(cpu, shape, axis, largest, view(dtype, &stored), view_mut(DType::I64, out));
                });
                assert_eq!(out.get::<i64>(), expected, "{dtype} {shape:?} axis {axis} largest {largest}");
            }
        }
    }
}

#[test]
fn extreme_integers_are_ordered() {
    let cpu = Cpu::new(None, 1);
    let src = [3, i64::MAX, i64::MIN, -1, 0, i64::MAX - 1, i64::MIN + 1];
    let (mut values, mut indices) = ([0i64; 7], [0i64; 7]);
    sort(&cpu, &[7], 0, false, Slice::of(&src), SliceMut::of(&mut values), SliceMut::of(&mut indices));
    let mut expected = src;
    expected.sort();
    assert_eq!(values, expected);
    let mut best = [0i64];
    for (largest, at) in [(true, 1), (false, 2)] {
        arg_extremum(&cpu, &[7], 0, largest, Slice::of(&src), SliceMut::of(&mut best));
        assert_eq!(best, [at]);
    }
}

#[test]
#[should_panic(expected = "the extremum of no elements")]
fn no_elements_have_no_extremum() {
    let mut out = [0i64; 2];
    arg_extremum(&Cpu::new(None, 1), &[2, 0], 1, true, Slice::of::<f32>(&[]), SliceMut::of(&mut out));
}
