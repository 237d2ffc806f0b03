//! `run` and `reduce` against a plain interpreter that works through one element at a time.

use super::*;
use crate::buffer::Buffer;
use crate::dtype::Element;
use crate::math;
use half::{bf16, f16};

/// SplitMix64 (Steele, Lea, Flood 2014): reproducible test data.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// One element in the class of its type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    F32(f32),
    F64(f64),
    I64(i64),
}

impl Value {
    fn same(self, other: Value) -> bool {
        match (self, other) {
            (Value::F32(a), Value::F32(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Value::I64(a), Value::I64(b)) => a == b,
            _ => false,
        }
    }

    fn f32(self) -> f32 {
        if let Value::F32(x) = self { x } else { panic!("{self:?} is not f32") }
    }

    pub(super) fn f64(self) -> f64 {
        if let Value::F64(x) = self { x } else { panic!("{self:?} is not f64") }
    }

    pub(super) fn i64(self) -> i64 {
        if let Value::I64(x) = self { x } else { panic!("{self:?} is not i64") }
    }
}

pub(super) fn read(dtype: DType, bytes: &[u8], at: usize) -> Value {
    let slice = Slice::new(dtype, bytes);
    match dtype {
        DType::Bool | DType::U8 => Value::I64(slice.get::<u8>()[at].into()),
        DType::I32 => Value::I64(slice.get::<i32>()[at].into()),
        DType::I64 => Value::I64(slice.get::<i64>()[at]),
        DType::F16 => Value::F32(slice.get::<f16>()[at].to_f32()),
        DType::BF16 => Value::F32(slice.get::<bf16>()[at].to_f32()),
        DType::F32 => Value::F32(slice.get::<f32>()[at]),
        DType::F64 => Value::F64(slice.get::<f64>()[at]),
    }
}

fn write(dtype: DType, bytes: &mut [u8], at: usize, value: Value) {
    let mut slice = SliceMut::new(dtype, bytes);
    match dtype {
        DType::Bool | DType::U8 => slice.get::<u8>()[at] = value.i64() as u8,
        DType::I32 => slice.get::<i32>()[at] = value.i64() as i32,
        DType::I64 => slice.get::<i64>()[at] = value.i64(),
        DType::F16 => slice.get::<f16>()[at] = f16::from_f32(value.f32()),
        DType::BF16 => slice.get::<bf16>()[at] = bf16::from_f32(value.f32()),
        DType::F32 => slice.get::<f32>()[at] = value.f32(),
        DType::F64 => slice.get::<f64>()[at] = value.f64(),
    }
}

/// Rounds or wraps a result to its type.
pub(super) fn fit(dtype: DType, value: Value) -> Value {
    match (dtype, value) {
        (DType::F16, Value::F32(x)) => Value::F32(f16::from_f32(x).to_f32()),
        (DType::BF16, Value::F32(x)) => Value::F32(bf16::from_f32(x).to_f32()),
        (DType::Bool, Value::I64(x)) => Value::I64((x != 0).into()),
        (DType::U8, Value::I64(x)) => Value::I64((x as u8).into()),
        (DType::I32, Value::I64(x)) => Value::I64((x as i32).into()),
        _ => value,
    }
}

fn unary(isa: Isa, f: UnaryFn, a: Value) -> Value {
    match a {
        // The functions have tests of their own; the rest is written out.
        Value::F32(x) => Value::F32(match f {
            UnaryFn::Neg => -x,
            UnaryFn::Abs => x.abs(),
            UnaryFn::Sqrt => x.sqrt(),
            UnaryFn::Floor => x.floor(),
            UnaryFn::Ceil => x.ceil(),
            UnaryFn::Trunc => x.trunc(),
            UnaryFn::Round => x.round_ties_even(),
            _ => {
                let mut y = [0.0];
                math::unary_f32(isa, f, &[x], &mut y);
                y[0]
            }
        }),
        Value::F64(x) => Value::F64(match f {
            UnaryFn::Neg => -x,
            UnaryFn::Abs => x.abs(),
            UnaryFn::Sqrt => x.sqrt(),
            UnaryFn::Floor => x.floor(),
            UnaryFn::Ceil => x.ceil(),
            UnaryFn::Trunc => x.trunc(),
            UnaryFn::Round => x.round_ties_even(),
            _ => {
                let mut y = [0.0];
                math::unary_f64(isa, f, &[x], &mut y);
                y[0]
            }
        }),
        Value::I64(x) => Value::I64(match f {
            UnaryFn::Neg => x.wrapping_neg(),
            UnaryFn::Abs => x.wrapping_abs(),
            _ => x,
        }),
    }
}

/// The rules for floats, in one type for both classes; rounding to f32 after each is exact enough for the
/// quotient and remainder only when they are computed in f32, so those are not here.
fn extremum(larger: bool, a: f64, b: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, _) => a,
        (_, true) => b,
        _ if (a > b) == larger && a != b => a,
        _ => b,
    }
}

fn binary(isa: Isa, f: BinaryFn, a: Value, b: Value) -> Result<Value, Fault> {
    use BinaryFn::*;
    let truth = |t: bool| Ok(Value::I64(t.into()));
    match (a, b) {
        (Value::F32(x), Value::F32(y)) => Ok(Value::F32(match f {
            Add => x + y,
            Sub => x - y,
            Mul => x * y,
            Div => x / y,
            DivTrunc => (x / y).trunc(),
            Max => extremum(true, x.into(), y.into()) as f32,
            Min => extremum(false, x.into(), y.into()) as f32,
            Eq => return truth(x == y),
            Ne => return truth(x != y),
            Lt => return truth(x < y),
            Le => return truth(x <= y),
            RemTrunc => x % y,
            _ => {
                let mut out = [0.0];
                ops::binary(isa, f, ops::Arg::Each(&[x]), ops::Arg::Each(&[y]), &mut out);
                out[0]
            }
        })),
        (Value::F64(x), Value::F64(y)) => Ok(Value::F64(match f {
            Add => x + y,
            Sub => x - y,
            Mul => x * y,
            Div => x / y,
            DivTrunc => (x / y).trunc(),
            Max => extremum(true, x, y),
            Min => extremum(false, x, y),
            Eq => return truth(x == y),
            Ne => return truth(x != y),
            Lt => return truth(x < y),
            Le => return truth(x <= y),
            RemTrunc => x % y,
            _ => {
                let mut out = [0.0];
                ops::binary(isa, f, ops::Arg::Each(&[x]), ops::Arg::Each(&[y]), &mut out);
                out[0]
            }
        })),
        (Value::I64(x), Value::I64(y)) => {
            if f.divides() && y == 0 {
                return Err(Fault::DivisionByZero);
            }
            Ok(Value::I64(match f {
                Add => x.wrapping_add(y),
                Sub => x.wrapping_sub(y),
                Mul => x.wrapping_mul(y),
                DivTrunc => x.wrapping_div(y),
                DivFloor => {
                    (i128::from(x).div_euclid(y.into()) - i128::from(y < 0 && x.wrapping_rem(y) != 0) * 2
                        + i128::from(y < 0 && x.wrapping_rem(y) != 0)) as i64
                }
                RemTrunc => x.wrapping_rem(y),
                RemFloor => {
                    let rem = i128::from(x) % i128::from(y);
                    (if rem != 0 && (rem < 0) != (y < 0) { rem + i128::from(y) } else { rem }) as i64
                }
                Pow if y < 0 => match x {
                    1 => 1,
                    -1 => 1 - 2 * (y & 1),
                    _ => 0,
                },
                Pow => x.wrapping_pow(y.try_into().unwrap_or(u32::MAX)),
                Max => std::cmp::max(x, y),
                Min => std::cmp::min(x, y),
                Eq => i64::from(x == y),
                Ne => i64::from(x != y),
                Lt => i64::from(x < y),
                Le => i64::from(x <= y),
                And => x & y,
                Or => x | y,
                Xor => x ^ y,
                Shl => u32::try_from(y).ok().and_then(|n| x.checked_shl(n)).unwrap_or(0),
                Shr => u32::try_from(y).ok().and_then(|n| x.checked_shr(n)).unwrap_or(-i64::from(x < 0)),
                Div => unreachable!("not for integers"),
            }))
        }
        _ => panic!("operands {a:?} and {b:?}"),
    }
}

fn cast(from: Value, to: DType) -> Value {
    let wide = match from {
        Value::F32(x) => Number::Float(x.into()),
        Value::F64(x) => Number::Float(x),
        Value::I64(x) => Number::Int(x),
    };
    let value = match to {
        DType::Bool => Value::I64((wide.as_f64() != 0.0).into()),
        DType::U8 | DType::I32 | DType::I64 => Value::I64(wide.as_i64()),
        DType::F64 => Value::F64(wide.as_f64()),
        _ => Value::F32(match wide {
            Number::Int(i) => i as f32,
            Number::Float(x) => x as f32,
        }),
    };
    fit(to, value)
}

/// One element of every register of a kernel, given one element of every input.
pub(super) fn interpret(isa: Isa, kernel: &Kernel, inputs: &[Value], args: &[Number]) -> Result<Vec<Value>, Fault> {
    let mut values: Vec<Value> = Vec::new();
    for (i, instr) in kernel.instrs().iter().enumerate() {
        let dtype = kernel.dtype(i as Reg);
        let of = |r: Reg| values[usize::from(r)];
        let value = match *instr {
            Instr::Load { input } => inputs[usize::from(input)],
            Instr::Scalar { arg, dtype } => {
                let mut bytes = Buffer::zeroed(8);
                let n = args[usize::from(arg)];
                match dtype {
                    DType::F16 => bytes.get_mut::<f16>()[0] = f16::from_number(n),
                    DType::BF16 => bytes.get_mut::<bf16>()[0] = bf16::from_number(n),
                    DType::F32 => bytes.get_mut::<f32>()[0] = f32::from_number(n),
                    DType::F64 => bytes.get_mut::<f64>()[0] = f64::from_number(n),
                    DType::I64 => bytes.get_mut::<i64>()[0] = i64::from_number(n),
                    DType::I32 => bytes.get_mut::<i32>()[0] = i32::from_number(n),
                    DType::U8 => bytes.get_mut::<u8>()[0] = u8::from_number(n),
                    DType::Bool => bytes.get_mut::<u8>()[0] = (n.as_f64() != 0.0).into(),
                }
                read(dtype, &bytes.bytes()[..dtype.size()], 0)
            }
            Instr::Unary { f, a } => fit(dtype, unary(isa, f, of(a))),
            Instr::Binary { f, a, b } => fit(dtype, binary(isa, f, of(a), of(b))?),
            Instr::Select { c, a, b } => {
                if of(c).i64() != 0 {
                    of(a)
                } else {
                    of(b)
                }
            }
            Instr::Cast { a, to } => cast(of(a), to),
            Instr::BitCast { a, to } => {
                let from = kernel.dtype(a);
                let mut bytes = Buffer::zeroed(8);
                write(from, &mut bytes.bytes_mut()[..from.size()], 0, of(a));
                fit(to, read(to, &bytes.bytes()[..to.size()], 0))
            }
            Instr::Random { index, seed, counter } => {
                let word = |arg: u16| args[usize::from(arg)].as_i64() as u64;
                Value::I64(philox::word(of(index).i64(), word(seed), word(counter)))
            }
        };
        values.push(value);
    }
    Ok(values)
}

/// A buffer of `n` elements with ordinary and extreme values.
fn random_data(rng: &mut Rng, dtype: DType, n: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(n.max(1) * dtype.size());
    for i in 0..n {
        let small = (rng.next() % 2001) as f64 / 250.0 - 4.0;
        let special = [0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-40, -3e38, 65519.0, 1e300];
        let x = if rng.below(12) == 0 { rng.pick(&special) } else { small };
        let int = if rng.below(12) == 0 { rng.next() as i64 } else { rng.below(21) as i64 - 10 };
        let value = match dtype {
            DType::Bool => Value::I64(int & 1),
            DType::F64 => Value::F64(x),
            d if d.is_float() => Value::F32(x as f32),
            _ => Value::I64(int),
        };
        write(dtype, buffer.bytes_mut(), i, fit(dtype, value));
    }
    buffer
}

/// A program of up to `steps` random instructions after its loads, scalars and index.
fn random_kernel(rng: &mut Rng, inputs: Vec<DType>, steps: usize) -> (Kernel, Vec<Number>) {
    let mut instrs: Vec<Instr> = (0..inputs.len()).map(|i| Instr::Load { input: i as u16 }).collect();
    let args = vec![Number::Float(1.5), Number::Int(-3), Number::Int(rng.next() as i64), Number::Float(-0.1)];
    for arg in 0..2 {
        instrs.push(Instr::Scalar { arg: arg * 3, dtype: rng.pick(&DType::ALL) });
    }
    let mut wanted = instrs.len() + steps;
    let mut tries = 0;
    while instrs.len() < wanted && tries < 10_000 {
        tries += 1;
        let r = |rng: &mut Rng| rng.below(instrs.len()) as Reg;
        let instr = match rng.below(10) {
            0..3 => Instr::Unary { f: rng.pick(&UnaryFn::ALL), a: r(rng) },
            3..7 => Instr::Binary { f: rng.pick(&BinaryFn::ALL), a: r(rng), b: r(rng) },
            7 => Instr::Select { c: r(rng), a: r(rng), b: r(rng) },
            8 => Instr::Cast { a: r(rng), to: rng.pick(&DType::ALL) },
            _ if rng.below(2) == 0 => Instr::BitCast { a: r(rng), to: rng.pick(&DType::ALL) },
            _ => Instr::Random { index: r(rng), seed: 2, counter: 1 },
        };
        let mut longer = instrs.clone();
        longer.push(instr);
        if Kernel::new(longer, inputs.clone(), vec![]).is_ok() {
            instrs.push(instr);
        }
        wanted = wanted.min(usize::from(Reg::MAX));
    }
    let n = instrs.len();
    let outputs = (0..1 + rng.below(3)).map(|_| rng.below(n) as Reg).chain([(n - 1) as Reg]).collect();
    (Kernel::new(instrs, inputs, outputs).unwrap(), args)
}

/// Strides for `dims` (permuted, spaced, reversed; broadcast when allowed), the offset, and the elements needed.
fn random_layout(rng: &mut Rng, dims: &[usize], broadcast: bool) -> (usize, Vec<isize>, usize) {
    let mut order: Vec<usize> = (0..dims.len()).collect();
    if rng.below(2) == 0 {
        (1..order.len()).for_each(|i| order.swap(i, rng.below(i + 1)));
    }
    let (mut strides, mut step, mut offset) = (vec![0isize; dims.len()], 1, 0);
    if rng.below(4) == 0 {
        step += rng.below(3);
    }
    for &d in order.iter().rev() {
        if broadcast && rng.below(4) == 0 {
            continue;
        }
        strides[d] = step as isize;
        if rng.below(6) == 0 {
            strides[d] = -strides[d];
            offset += (dims[d].max(1) - 1) * step;
        }
        step *= dims[d].max(1) + if rng.below(8) == 0 { 1 } else { 0 };
    }
    let start = rng.below(3);
    (offset + start, strides, step + start + 1)
}

fn flat_offset(dims: &[usize], strides: &[isize], mut flat: usize) -> isize {
    let mut offset = 0;
    for (&size, &stride) in dims.iter().zip(strides).rev() {
        offset += (flat % size) as isize * stride;
        flat /= size;
    }
    offset
}

const SHAPES: [&[usize]; 18] = [
    &[],
    &[0],
    &[1],
    &[7],
    &[1023],
    &[1025],
    &[40_000],
    &[3, 0, 2],
    &[1, 5],
    &[300, 10],
    &[10, 300],
    &[70, 90],
    &[130, 3, 3],
    &[2, 3, 4, 5],
    &[33, 1, 65],
    &[5, 7, 1, 3, 2, 2],
    &[2, 2, 2, 2, 2, 2, 2, 2, 2, 3],
    &[17_000, 2],
];

pub(super) struct Case {
    pub(super) kernel: Kernel,
    pub(super) args: Vec<Number>,
    pub(super) dims: Vec<usize>,
    data: Vec<Option<Buffer>>,
    layouts: Vec<(usize, Vec<isize>, usize)>,
    sinks: Vec<(usize, Vec<isize>, usize)>,
    /// Per input: the output that it is in place of.
    pub(super) in_place: Vec<Option<usize>>,
    initial: Vec<Buffer>,
}

pub(super) fn random_case(rng: &mut Rng, dims: &[usize]) -> Case {
    let inputs: Vec<DType> = (0..1 + rng.below(4)).map(|_| rng.pick(&DType::ALL)).collect();
    let steps = rng.below(14);
    let (kernel, args) = random_kernel(rng, inputs.clone(), steps);
    let sinks: Vec<_> = kernel.outputs().iter().map(|_| random_layout(rng, dims, false)).collect();
    let initial = kernel.outputs().iter().zip(&sinks).map(|(&o, s)| random_data(rng, kernel.dtype(o), s.2)).collect();
    let mut case = Case {
        args,
        dims: dims.to_vec(),
        data: Vec::new(),
        layouts: Vec::new(),
        sinks,
        in_place: Vec::new(),
        initial,
        kernel,
    };
    for &dtype in &inputs {
        let same = case.kernel.outputs().iter().position(|&o| case.kernel.dtype(o) == dtype);
        let layout = random_layout(rng, dims, true);
        case.in_place.push(same.filter(|_| rng.below(2) == 0));
        case.data.push((dtype != DType::I64 || rng.below(2) == 0).then(|| random_data(rng, dtype, layout.2)));
        case.layouts.push(layout);
    }
    case
}

impl Case {
    pub(super) fn sources(&self) -> Vec<Source<'_>> {
        (0..self.data.len())
            .map(|i| match (&self.data[i], self.in_place[i]) {
                (_, Some(o)) => Source::Output(o),
                (Some(data), None) => Source::Data {
                    data: Slice::new(
                        self.kernel.inputs()[i],
                        &data.bytes()[..self.layouts[i].2 * self.kernel.inputs()[i].size()],
                    ),
                    offset: self.layouts[i].0,
                    strides: &self.layouts[i].1,
                },
                (None, None) => Source::Index { offset: -5, strides: &self.layouts[i].1 },
            })
            .collect()
    }

    pub(super) fn input_values(&self, flat: usize) -> Vec<Value> {
        (0..self.data.len())
            .map(|i| {
                let at = |layout: &(usize, Vec<isize>, usize)| {
                    layout.0.checked_add_signed(flat_offset(&self.dims, &layout.1, flat)).unwrap()
                };
                let dtype = self.kernel.inputs()[i];
                match (&self.data[i], self.in_place[i]) {
                    (_, Some(o)) => read(dtype, self.initial[o].bytes(), at(&self.sinks[o])),
                    (Some(data), None) => read(dtype, data.bytes(), at(&self.layouts[i])),
                    (None, None) => Value::I64(flat_offset(&self.dims, &self.layouts[i].1, flat) as i64 - 5),
                }
            })
            .collect()
    }

    fn run(&self, isa: Isa, threads: usize) -> (Result<(), Fault>, Vec<Buffer>) {
        let cpu = Cpu::new(Some(isa), threads);
        let mut buffers: Vec<Buffer> = self.initial.iter().map(|b| Buffer::from_slice(b.bytes())).collect();
        let mut sinks: Vec<Sink> = buffers
            .iter_mut()
            .zip(&self.sinks)
            .zip(self.kernel.outputs())
            .map(|((buffer, (offset, strides, _)), &o)| Sink {
                data: SliceMut::new(self.kernel.dtype(o), buffer.bytes_mut()),
                offset: *offset,
                strides,
            })
            .collect();
        let result = run(&cpu, &self.kernel, &self.dims, &self.sources(), &self.args, &mut sinks);
        (result, buffers)
    }

    /// What each output's memory must hold afterwards, all of it.
    fn expected(&self, isa: Isa) -> Result<Vec<Buffer>, Fault> {
        let mut buffers: Vec<Buffer> = self.initial.iter().map(|b| Buffer::from_slice(b.bytes())).collect();
        for flat in 0..self.dims.iter().product() {
            let values = interpret(isa, &self.kernel, &self.input_values(flat), &self.args)?;
            for (o, (buffer, sink)) in buffers.iter_mut().zip(&self.sinks).enumerate() {
                let r = self.kernel.outputs()[o];
                let at = sink.0.checked_add_signed(flat_offset(&self.dims, &sink.1, flat)).unwrap();
                write(self.kernel.dtype(r), buffer.bytes_mut(), at, values[usize::from(r)]);
            }
        }
        Ok(buffers)
    }
}

#[test]
fn random_programs_agree_with_the_interpreter() {
    let mut faults = 0;
    for seed in 0..400 {
        let mut rng = Rng(seed);
        let dims = SHAPES[seed as usize % SHAPES.len()];
        let case = random_case(&mut rng, dims);
        for isa in Isa::available() {
            let expected = case.expected(isa);
            for threads in [1, 2, 16] {
                let (result, buffers) = case.run(isa, threads);
                let Ok(expected) = &expected else {
                    assert_eq!(result, Err(Fault::DivisionByZero), "seed {seed}");
                    faults += 1;
                    continue;
                };
                assert_eq!(result, Ok(()), "seed {seed}");
                for (o, (a, b)) in buffers.iter().zip(expected).enumerate() {
                    let dtype = case.kernel.dtype(case.kernel.outputs()[o]);
                    for at in 0..a.len() / dtype.size() {
                        let (a, b) = (read(dtype, a.bytes(), at), read(dtype, b.bytes(), at));
                        assert!(
                            a.same(b),
                            "seed {seed} {isa:?} {threads} threads, output {o} {dtype} at {at}: {a:?} not {b:?}\n{:#?}",
                            case.kernel
                        );
                    }
                }
            }
        }
    }
    assert!(faults > 0, "no program divided by zero");
}
