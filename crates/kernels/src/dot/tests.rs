//! The product against plain loops: shapes, strides, batches, types, instruction sets, threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::dtype::Number;
use crate::isa::Isa;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number of -4 ..= 4: sums of products are exact in every float type that holds them.
    fn small(&mut self) -> f64 {
        (self.next() % 9) as f64 - 4.0
    }

    /// Uniform in -1 .. 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// How the matrices of an operand lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// Columns side by side.
    Rows,
    /// Rows side by side: a transposed view.
    Columns,
    /// Columns side by side, rows padded.
    Padded,
    /// Every second element of every third row.
    Strided,
    /// Both directions backwards.
    Reversed,
    /// One row for all.
    OneRow,
    /// One column for all.
    OneColumn,
    /// One matrix for the whole batch, columns side by side.
    Shared,
    /// One matrix for the whole batch, rows side by side.
    SharedColumns,
}

use Layout::*;
const LAYOUTS: [Layout; 9] = [Rows, Columns, Padded, Strided, Reversed, OneRow, OneColumn, Shared, SharedColumns];

/// An operand's memory, owned.
struct Owned<T> {
    data: Vec<T>,
    offset: usize,
    batch: Vec<isize>,
    rows: isize,
    cols: isize,
}

impl<T: Element> Owned<T> {
    /// Random values in a layout, with stray elements before and after.
    fn new(batch: &[usize], rows: usize, cols: usize, layout: Layout, mut value: impl FnMut() -> f64) -> Owned<T> {
        let (r, c) = (rows as isize, cols as isize);
        let (row, col, span) = match layout {
            Rows | Shared => (c, 1, r * c),
            Columns | SharedColumns => (1, r, r * c),
            Padded => (c + 3, 1, r * (c + 3)),
            Strided => (3 * (2 * c + 1), 2, 3 * r * (2 * c + 1)),
            Reversed => (-c, -1, r * c),
            OneRow => (0, 1, c),
            OneColumn => (1, 0, r),
        };
        let shared = matches!(layout, Shared | SharedColumns);
        let mut count = span;
        let mut strides = vec![0; batch.len()];
        for d in (0..batch.len()).rev() {
            strides[d] = if shared { 0 } else { count };
            count *= if shared { 1 } else { batch[d] as isize };
        }
        let first = if layout == Reversed { (span - 1).max(0) } else { 0 };
        let data = (0..count + 10).map(|_| T::from_number(Number::Float(value()))).collect();
        Owned { data, offset: (5 + first) as usize, batch: strides, rows: row, cols: col }
    }

    fn operand(&self) -> Operand<'_> {
        Operand {
            data: Slice::of(&self.data),
            offset: self.offset,
            batch: &self.batch,
            rows: self.rows,
            cols: self.cols,
        }
    }

    fn at(&self, batch: &[usize], mut index: usize, i: usize, j: usize) -> f64 {
        let mut at = self.offset as isize + i as isize * self.rows + j as isize * self.cols;
        for d in (0..batch.len()).rev() {
            at += (index % batch[d]) as isize * self.batch[d];
            index /= batch[d];
        }
        self.data[at as usize].to_number().as_f64()
    }
}

/// The product and the product of absolute values, by plain loops in f64.
fn plain<T: Element>(dims: &Dims, a: &Owned<T>, b: &Owned<T>) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    for index in 0..dims.batch.iter().product() {
        for i in 0..dims.m {
            for j in 0..dims.n {
                let terms = (0..dims.k).map(|k| a.at(dims.batch, index, i, k) * b.at(dims.batch, index, k, j));
                out.push(terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs())));
            }
        }
    }
    out
}

fn run<T: Element>(cpu: &Cpu, dims: &Dims, a: &Owned<T>, b: &Owned<T>) -> Vec<T> {
    let size = dims.batch.iter().product::<usize>() * dims.m * dims.n;
    // What was there before must not matter.
    let mut out = vec![T::from_number(Number::Int(77)); size];
    dot(cpu, dims, &a.operand(), &b.operand(), SliceMut::of(&mut out), None);
    out
}

/// Every instruction set, with one and three threads.
fn processors() -> Vec<Cpu> {
    Isa::available().into_iter().flat_map(|isa| [Cpu::new(Some(isa), 1), Cpu::new(Some(isa), 3)]).collect()
}

/// Whole numbers: the result is exact, whatever the order of the sums.
fn exact<T: Element>(cpus: &[Cpu], batch: &[usize], [m, n, k]: [usize; 3], layouts: (Layout, Layout), seed: u64) {
    let mut random = Random(seed);
    let dims = Dims { batch, m, n, k };
    let positive = T::DTYPE == DType::U8;
    let mut value = || if positive { random.small().abs() } else { random.small() };
    let a = Owned::<T>::new(batch, m, k, layouts.0, &mut value);
    let b = Owned::<T>::new(batch, k, n, layouts.1, &mut value);
    // Through the type's own conversion, so that u8 wraps and f16 is rounded.
    let narrow = |(sum, _): (f64, f64)| if T::DTYPE.is_float() { Number::Float(sum) } else { Number::Int(sum as i64) };
    let want: Vec<T> = plain(&dims, &a, &b).into_iter().map(|x| T::from_number(narrow(x))).collect();
    for cpu in cpus {
        let got = run(cpu, &dims, &a, &b);
        let wrong = (0..want.len()).find(|&i| got[i] != want[i]);
        let at = wrong.map(|i| (i, got[i], want[i]));
        assert!(wrong.is_none(), "{} {batch:?} {m}×{n}×{k} {layouts:?} seed {seed} {cpu:?}: {at:?}", T::DTYPE);
    }
}

const SHAPES: [[usize; 3]; 26] = [
    [0, 3, 4],
    [3, 0, 4],
    [3, 4, 0],
    [1, 4, 0],
    [1, 1, 1],
    [1, 1, 100],
    [1, 7, 5],
    [7, 1, 5],
    [1, 530, 33],
    [530, 1, 33],
    [4, 8, 2],
    [2, 3, 4],
    [5, 17, 3],
    [13, 33, 19],
    [12, 32, 64],
    [3, 31, 40],
    [16, 16, 16],
    [31, 32, 33],
    [40, 50, 60],
    [64, 64, 64],
    [100, 10, 257],
    [7, 200, 300],
    [2, 129, 513],
    [90, 70, 90],
    [203, 65, 77],
    [65, 600, 70],
];

#[test]
fn every_shape_layout_and_type_is_exact_on_whole_numbers() {
    let cpus = processors();
    let mut seed = 1;
    for shape in SHAPES {
        for a in LAYOUTS {
            for b in LAYOUTS {
                seed += 1;
                exact::<f32>(&cpus, &[], shape, (a, b), seed);
                if shape.iter().product::<usize>() < 30_000 || (a as usize + b as usize).is_multiple_of(3) {
                    exact::<f64>(&cpus, &[], shape, (a, b), seed);
                    exact::<bf16>(&cpus[cpus.len() - 2..], &[], shape, (a, b), seed);
                    exact::<f16>(&cpus[..2], &[], shape, (a, b), seed);
                    exact::<i64>(&cpus[..2], &[], shape, (a, b), seed);
                    exact::<i32>(&cpus[cpus.len() - 2..], &[], shape, (a, b), seed);
                    exact::<u8>(&cpus[..2], &[], shape, (a, b), seed);
                }
            }
        }
    }
}

#[test]
fn batches_are_exact_on_whole_numbers() {
    let cpus = processors();
    let batches: [&[usize]; 6] = [&[1], &[3], &[2, 3], &[0], &[2, 1, 4], &[40]];
    let shapes = [[4, 8, 2], [1, 9, 5], [9, 1, 5], [1, 1, 3], [20, 33, 17], [3, 4, 0], [40, 41, 42]];
    let mut seed = 10_000;
    for batch in batches {
        for shape in shapes {
            for a in LAYOUTS {
                for b in LAYOUTS {
                    seed += 1;
                    exact::<f32>(&cpus, batch, shape, (a, b), seed);
                    if seed % 5 == 0 {
                        exact::<f64>(&cpus, batch, shape, (a, b), seed);
                        exact::<f16>(&cpus[..2], batch, shape, (a, b), seed);
                        exact::<i32>(&cpus[..2], batch, shape, (a, b), seed);
                    }
                }
            }
        }
    }
}

#[test]
fn products_larger_than_a_stage_are_exact() {
    let cpus = [Cpu::new(None, 2)];
    for (seed, shape) in
        [[30, 4100, 20], [4101, 33, 24], [33, 40, 2100], [260, 270, 1100], [10, 4100, 2050]].into_iter().enumerate()
    {
        exact::<f32>(&cpus, &[], shape, (Rows, Columns), seed as u64);
        exact::<f64>(&cpus, &[], shape, (Columns, Rows), seed as u64);
    }
}

/// Rounding: within k/2 units of the sum of the terms' sizes, the worst case of a chain of k additions.
fn rounded<T: Element>(epsilon: f64, shape: [usize; 3], seed: u64) {
    let [m, n, k] = shape;
    let mut random = Random(seed);
    let dims = Dims { batch: &[], m, n, k };
    let a = Owned::<T>::new(&[], m, k, Rows, || random.unit());
    let b = Owned::<T>::new(&[], k, n, Columns, || random.unit());
    let want = plain(&dims, &a, &b);
    for cpu in processors() {
        for (i, (got, (sum, size))) in run(&cpu, &dims, &a, &b).into_iter().zip(&want).enumerate() {
            let error = (got.to_number().as_f64() - sum).abs();
            // A few roundings of a random walk, far below the worst case.
            let bound = epsilon * size * (k as f64).sqrt().max(1.0);
            assert!(error <= bound, "{} {shape:?} seed {seed} {cpu:?} element {i}: {got:?} for {sum}", T::DTYPE);
        }
    }
}

#[test]
fn sums_are_accurate() {
    for (seed, shape) in [[3, 5, 7], [1, 40, 900], [40, 1, 900], [50, 60, 300], [20, 30, 3000]].into_iter().enumerate()
    {
        rounded::<f32>(f32::EPSILON as f64, shape, seed as u64);
        rounded::<f64>(f64::EPSILON, shape, seed as u64);
        rounded::<bf16>(bf16::EPSILON.to_f64(), shape, seed as u64);
    }
}

#[test]
fn halves_are_rounded_once() {
    // 1 + 2^-9 - 1 in f32; a bf16 accumulator would lose the middle term.
    let a: Vec<bf16> = [1.0, 1.0 / 512.0, -1.0].into_iter().map(bf16::from_f32).collect();
    let b = vec![bf16::from_f32(1.0); 3];
    let mut out = [bf16::ZERO];
    let dims = Dims { batch: &[], m: 1, n: 1, k: 3 };
    let x = Operand { data: Slice::of(&a), offset: 0, batch: &[], rows: 3, cols: 1 };
    let y = Operand { data: Slice::of(&b), offset: 0, batch: &[], rows: 1, cols: 1 };
    dot(&Cpu::new(None, 1), &dims, &x, &y, SliceMut::of(&mut out), None);
    assert_eq!(out[0].to_f32(), 1.0 / 512.0);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let shapes: [(&[usize], [usize; 3]); 9] = [
        (&[], [300, 310, 320]),
        (&[], [1, 3000, 500]),
        (&[], [3000, 1, 500]),
        (&[], [64, 512, 784]),
        (&[], [513, 129, 1030]),
        (&[12], [64, 64, 64]),
        (&[3, 4], [20, 30, 40]),
        (&[2], [300, 300, 300]),
        (&[200], [4, 8, 2]),
    ];
    for isa in Isa::available() {
        let cpus: Vec<Cpu> = [1, 2, 3, 16].into_iter().map(|threads| Cpu::new(Some(isa), threads)).collect();
        for (seed, (batch, [m, n, k])) in shapes.into_iter().enumerate() {
            for layouts in [(Rows, Rows), (Rows, Columns), (Columns, Rows), (Strided, Reversed)] {
                let mut random = Random(seed as u64);
                let dims = Dims { batch, m, n, k };
                let a = Owned::<f32>::new(batch, m, k, layouts.0, || random.unit());
                let b = Owned::<f32>::new(batch, k, n, layouts.1, || random.unit());
                let bits = |cpu| run(cpu, &dims, &a, &b).into_iter().map(f32::to_bits).collect::<Vec<_>>();
                let one = bits(&cpus[0]);
                for cpu in &cpus[1..] {
                    assert!(bits(cpu) == one, "{batch:?} {m}×{n}×{k} {layouts:?} seed {seed} {cpu:?}");
                }
            }
        }
    }
}

#[test]
fn an_epilogue_sees_each_finished_element_once() {
    let shapes = SHAPES.into_iter().map(|s| (&[][..], s)).chain([(&[3, 5][..], [6, 7, 8]), (&[2][..], [90, 1100, 40])]);
    for (seed, (batch, [m, n, k])) in shapes.chain([(&[][..], [100, 1100, 1100]), (&[][..], [4, 4200, 30])]).enumerate()
    {
        let mut random = Random(seed as u64);
        let dims = Dims { batch, m, n, k };
        let a = Owned::<f32>::new(batch, m, k, Rows, || random.small());
        let b = Owned::<f32>::new(batch, k, n, Columns, || random.small());
        let want = plain(&dims, &a, &b);
        for cpu in processors() {
            let seen: Vec<AtomicU32> = want.iter().map(|_| AtomicU32::new(0)).collect();
            let faults = Mutex::new(Vec::new());
            let mut out = vec![f32::NAN; want.len()];
            let epilogue = |start: usize, segment: &mut [f32]| {
                let (col, len) = (start % n, segment.len());
                if !(col + len <= n || (col == 0 && len.is_multiple_of(n))) {
                    faults.lock().unwrap().push((start, len));
                }
                for (i, x) in segment.iter_mut().enumerate() {
                    seen[start + i].fetch_add(1, Ordering::Relaxed);
                    *x = *x * 2.0 + (start + i) as f32;
                }
            };
            dot(&cpu, &dims, &a.operand(), &b.operand(), SliceMut::of(&mut out), Some(&epilogue));
            assert_eq!(faults.into_inner().unwrap(), [], "parts of several rows: {batch:?} {m}×{n}×{k}");
            assert!(seen.iter().all(|s| s.load(Ordering::Relaxed) == 1), "{batch:?} {m}×{n}×{k} {cpu:?}");
            for (i, x) in out.iter().enumerate() {
                assert_eq!(*x, (want[i].0 * 2.0) as f32 + i as f32, "{batch:?} {m}×{n}×{k} {cpu:?} element {i}");
            }
        }
    }
}

#[test]
fn nan_and_infinity_follow_ieee() {
    let shapes = [[1, 8, 9], [8, 1, 9], [3, 5, 9], [40, 40, 40], [3, 40, 11]];
    for [m, n, k] in shapes {
        for (bad, layout) in [(f32::NAN, Rows), (f32::INFINITY, Rows), (f32::NAN, Columns), (f32::INFINITY, Columns)] {
            let dims = Dims { batch: &[], m, n, k };
            // Zero times NaN and zero times infinity are NaN: the row and only the row that meets it.
            let mut a = Owned::<f32>::new(&[], m, k, Rows, || 1.0);
            a.data[a.offset + k - 1] = bad;
            let b = Owned::<f32>::new(&[], k, n, layout, || 0.0);
            for cpu in processors() {
                let out = run(&cpu, &dims, &a, &b);
                assert!(out[..n].iter().all(|x| x.is_nan()), "{m}×{n}×{k} {layout:?} {cpu:?}: {out:?}");
                assert!(out[n..].iter().all(|x| *x == 0.0), "{m}×{n}×{k} {layout:?} {cpu:?}: {out:?}");
            }
        }
    }
}

#[test]
fn nan_and_infinity_in_pairs_of_bf16_follow_ieee() {
    let [m, n, k] = [40, 50, 201];
    for bad in [f32::NAN, f32::INFINITY] {
        for at in [0, 1, k - 1] {
            let dims = Dims { batch: &[], m, n, k };
            let mut a = Owned::<bf16>::new(&[], m, k, Rows, || 1.0);
            a.data[a.offset + at] = bf16::from_f32(bad);
            let b = Owned::<bf16>::new(&[], k, n, Columns, || 2.0);
            for cpu in processors() {
                let out = run(&cpu, &dims, &a, &b);
                let same = |x: &bf16| if bad.is_nan() { x.is_nan() } else { x.to_f32() == bad };
                assert!(out[..n].iter().all(same), "{cpu:?}: {:?}", &out[..n]);
                // 402 in bf16.
                assert!(out[n..].iter().all(|x| x.to_f32() == 402.0), "{cpu:?}: {:?}", &out[n..]);
            }
        }
    }
}

fn refused(change: impl FnOnce(&mut Dims<'_>, &mut Operand<'_>)) -> String {
    let data = vec![1.0f32; 12];
    let mut dims = Dims { batch: &[], m: 3, n: 3, k: 4 };
    let mut a = Operand { data: Slice::of(&data), offset: 0, batch: &[], rows: 4, cols: 1 };
    let b = Operand { data: Slice::of(&data), offset: 0, batch: &[], rows: 3, cols: 1 };
    change(&mut dims, &mut a);
    let result = std::panic::catch_unwind(|| {
        let mut out = vec![0.0f32; 9];
        dot(&Cpu::new(None, 1), &dims, &a, &b, SliceMut::of(&mut out), None);
    });
    let payload = result.expect_err("is refused");
    payload
        .downcast_ref::<String>()
        .cloned()
        .or(payload.downcast_ref::<&str>().map(|s| s.to_string()))
        .expect("a message")
}

#[test]
fn operands_out_of_bounds_are_refused() {
    assert!(refused(|_, a| a.offset = 1).contains("reaches 1..=12 of 12"));
    assert!(refused(|_, a| a.rows = 5).contains("reaches 0..=13 of 12"));
    assert!(refused(|_, a| a.cols = -1).contains("reaches -3..=8 of 12"));
    assert!(refused(|_, a| a.rows = isize::MAX).contains("of 12"));
    assert!(refused(|d, _| d.k = 5).contains("of 12"));
    assert!(refused(|d, _| d.m = 4).contains("elements of the output"));
    assert!(refused(|_, a| a.batch = &[1]).contains("batch strides"));
    assert!(refused(|_, a| a.data = Slice::of(&[1.0f64; 12])).contains("dot of f64 and f32 into f32"));
}

#[test]
#[should_panic(expected = "an epilogue for a product of type f64")]
fn an_epilogue_is_for_f32() {
    let data = [1.0f64];
    let x = Operand { data: Slice::of(&data), offset: 0, batch: &[], rows: 1, cols: 1 };
    let dims = Dims { batch: &[], m: 1, n: 1, k: 1 };
    dot(&Cpu::new(None, 1), &dims, &x, &x, SliceMut::of(&mut [0.0f64]), Some(&|_, _| ()));
}

#[test]
#[should_panic(expected = "dot of bool")]
fn bools_are_refused() {
    let data = [1u8];
    let x = Operand { data: Slice::new(DType::Bool, &data), offset: 0, batch: &[], rows: 1, cols: 1 };
    let dims = Dims { batch: &[], m: 1, n: 1, k: 1 };
    dot(&Cpu::new(None, 1), &dims, &x, &x, SliceMut::new(DType::Bool, &mut [0u8]), None);
}
