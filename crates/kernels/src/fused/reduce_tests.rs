//! `reduce` against plain loops over the interpreted elements.

use super::tests::{Case, Rng, Value, interpret, random_case, read};
use super::*;
use crate::buffer::Buffer;

/// What a plain loop makes of the values, and how far a sum or product of floats may be from it.
fn expected(f: ReduceFn, dtype: DType, values: &[Value]) -> (Value, f64) {
    if dtype.is_float() {
        let wide = |v: &Value| match *v {
            Value::F32(x) => f64::from(x),
            Value::F64(x) => x,
            Value::I64(_) => panic!("{v:?} of type {dtype}"),
        };
        let x = values.iter().map(wide);
        let nan_or = |fold: fn(f64, f64) -> f64, start| {
            if values.iter().any(|v| wide(v).is_nan()) { f64::NAN } else { x.clone().fold(start, fold) }
        };
        let unit = match dtype {
            // The loop here adds in f64 too, one after the other.
            DType::F64 => f64::EPSILON * values.len() as f64,
            DType::F32 => f32::EPSILON.into(),
            DType::F16 => 1e-3,
            _ => 8e-3,
        };
        // Partial sums of n elements lose at most a few roundings of the sum of magnitudes.
        let (result, slack) = match f {
            ReduceFn::Sum => (x.clone().sum(), 4.0 * unit * x.clone().map(f64::abs).sum::<f64>()),
            ReduceFn::Prod => {
                let product: f64 = x.clone().product();
                (product, unit * product.abs() * (values.len() + 2) as f64)
            }
            ReduceFn::Max => (nan_or(f64::max, f64::NEG_INFINITY), 0.0),
            ReduceFn::Min => (nan_or(f64::min, f64::INFINITY), 0.0),
        };
        return (Value::F64(result), slack);
    }
    let (low, high) = match dtype {
        DType::Bool => (0, 1),
        DType::U8 => (0, 255),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    };
    let x = values.iter().map(|v| v.i64());
    let result = match f {
        ReduceFn::Sum => x.fold(0, i64::wrapping_add),
        ReduceFn::Prod => x.fold(1, i64::wrapping_mul),
        ReduceFn::Max => x.max().unwrap_or(low),
        ReduceFn::Min => x.min().unwrap_or(high),
    };
    (super::tests::fit(dtype, Value::I64(result)), 0.0)
}

fn close(got: Value, (want, slack): (Value, f64), product: bool) -> bool {
    let got = match got {
        Value::F32(x) => f64::from(x),
        Value::F64(x) => x,
        Value::I64(x) => return x == want.i64(),
    };
    let want = want.f64();
    // Partial products of such sizes leave the range of f16.
    let extreme = product && want.is_finite() && !(1e-4..6e4).contains(&want.abs());
    extreme || got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= slack
}

fn reduce_case(case: &Case, isa: Isa, threads: usize, f: ReduceFn, reduced: usize) -> (Result<(), Fault>, Buffer) {
    let dtype = case.kernel.dtype(case.kernel.outputs()[0]);
    let kept: usize = case.dims[..case.dims.len() - reduced].iter().product();
    let mut out = Buffer::zeroed(kept * dtype.size());
    let data = SliceMut::new(dtype, out.bytes_mut());
    let cpu = Cpu::new(Some(isa), threads);
    let result = reduce(&cpu, &case.kernel, f, &case.dims, reduced, &case.sources(), &case.args, data);
    (result, out)
}

const SHAPES: [&[usize]; 20] = [
    &[],
    &[0],
    &[1],
    &[9],
    &[1023],
    &[70_001],
    &[3, 0],
    &[0, 3],
    &[300, 10],
    &[10, 300],
    &[3, 5000],
    &[5000, 3],
    &[2, 70_000],
    &[1500, 40],
    &[40, 1500],
    &[4, 9, 7],
    &[2, 3, 4, 5],
    &[33, 1, 65],
    &[200, 17, 20],
    &[2, 2, 2, 2, 2, 2, 2, 2, 2, 3],
];
const FUNCTIONS: [ReduceFn; 4] = [ReduceFn::Sum, ReduceFn::Prod, ReduceFn::Max, ReduceFn::Min];

#[test]
fn random_programs_reduce_to_what_plain_loops_give() {
    for seed in 0..300u64 {
        let mut rng = Rng(seed);
        let dims = SHAPES[seed as usize % SHAPES.len()];
        let mut case = random_case(&mut rng, dims);
        // One output, and nothing in place.
        let last = *case.kernel.outputs().last().unwrap();
        let (instrs, inputs) = (case.kernel.instrs().to_vec(), case.kernel.inputs().to_vec());
        case.kernel = Kernel::new(instrs, inputs, vec![last]).unwrap();
        if case.in_place.iter().any(Option::is_some) {
            continue;
        }
        let reduced = rng.below(dims.len() + 1);
        let f = rng.pick(&FUNCTIONS);
        let length: usize = dims[dims.len() - reduced..].iter().product();
        let dtype = case.kernel.dtype(last);
        for isa in Isa::available() {
            let values: Result<Vec<Value>, Fault> = (0..dims.iter().product())
                .map(|flat| Ok(interpret(isa, &case.kernel, &case.input_values(flat), &case.args)?[usize::from(last)]))
                .collect();
            let (result, one) = reduce_case(&case, isa, 1, f, reduced);
            let Ok(values) = values else {
                assert_eq!(result, Err(Fault::DivisionByZero), "seed {seed}");
                continue;
            };
            assert_eq!(result, Ok(()), "seed {seed}");
            for i in 0..one.len() / dtype.size() {
                let got = read(dtype, one.bytes(), i);
                let want = expected(f, dtype, &values[i * length..][..length]);
                assert!(
                    close(got, want, f == ReduceFn::Prod),
                    "seed {seed} {isa:?} {f:?} {dims:?} last {reduced} {dtype} at {i}: {got:?} not {want:?}"
                );
            }
            for threads in [2, 16] {
                assert_eq!(
                    one.bytes(),
                    reduce_case(&case, isa, threads, f, reduced).1.bytes(),
                    "seed {seed}, {threads} threads"
                );
            }
        }
    }
}

/// One input of f32, read as it is.
fn plain() -> Kernel {
    Kernel::new(vec![Instr::Load { input: 0 }], vec![DType::F32], vec![0]).unwrap()
}

#[test]
fn long_sums_are_accurate_along_and_across() {
    let (rows, columns) = (5000, 300);
    let mut rng = Rng(3);
    let x: Vec<f32> = (0..rows * columns).map(|_| (rng.next() >> 40) as f32 / 16_777_216.0).collect();
    for isa in Isa::available() {
        let cpu = Cpu::new(Some(isa), 2);
        for (dims, strides) in [([1, rows * columns], [0, 1]), ([columns, rows], [1, columns as isize])] {
            let mut out = vec![0.0f32; dims[0]];
            let source = Source::Data { data: Slice::of(&x), offset: 0, strides: &strides };
            reduce(&cpu, &plain(), ReduceFn::Sum, &dims, 1, &[source], &[], SliceMut::of(&mut out)).unwrap();
            for (i, &got) in out.iter().enumerate() {
                let at = |j: usize| i * strides[0] as usize + j * strides[1] as usize;
                let want: f64 = (0..dims[1]).map(|j| f64::from(x[at(j)])).sum();
                // Of a million summands; one after the other they would be a thousand times further off.
                assert!((f64::from(got) - want).abs() <= 3e-7 * want, "{isa:?}: {got} not {want}");
            }
        }
    }
}

#[test]
fn a_nan_anywhere_wins_an_extremum() {
    for isa in Isa::available() {
        let cpu = Cpu::new(Some(isa), 1);
        for at in [0, 1, 63, 64, 100, 1023, 1024, 4999] {
            let mut x = vec![1.0f32; 5000];
            x[at] = f32::NAN;
            for f in [ReduceFn::Max, ReduceFn::Min] {
                for (dims, strides, hit) in [([1, 5000], [0, 1], 0), ([50, 100], [1, 50], at % 50)] {
                    let mut out = vec![0.0f32; dims[0]];
                    let source = Source::Data { data: Slice::of(&x), offset: 0, strides: &strides };
                    reduce(&cpu, &plain(), f, &dims, 1, &[source], &[], SliceMut::of(&mut out)).unwrap();
                    let wrong = out.iter().enumerate().find(|&(i, x)| x.is_nan() != (i == hit));
                    assert_eq!(wrong, None, "{isa:?} {f:?} {at}");
                }
            }
        }
    }
}
