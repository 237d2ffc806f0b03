//! Pooling over windows of planes: the largest element and where it is, and the average.

use limpid_kernels::fused::ReduceFn;
use limpid_kernels::index::ScatterFn;
use limpid_kernels::pooling::{self, Divisor, Pooling, Windows};
use limpid_kernels::{DType, Number};
use smallvec::{SmallVec, smallvec};

use crate::compound::softmax::wide;
use crate::compound::{Compound, Fault, Io, call_many, call_one, result};
use crate::error::Result;
use crate::op::movement::{broadcast, overlap_add, pad, permute, reshape, slice, window};
use crate::op::{AxisList, Backward, Grads, Saves, elementwise, index, reduce, source};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The windows along each axis of a plane.
pub(crate) type Axes = SmallVec<[Windows; 3]>;

fn push_key(axes: &Axes, key: &mut Vec<u64>) {
    for axis in axes {
        match *axis {
            Windows::Adaptive { count } => key.extend([0, count as u64]),
            Windows::Sliding { count, size, stride, padding, dilation } => {
                key.extend([1, count as u64, size as u64, stride as u64, padding as u64, dilation as u64]);
            }
        }
    }
}

/// [planes, windows…]
fn pooled(planes: usize, axes: &Axes) -> Shape {
    std::iter::once(planes).chain(axes.iter().map(Windows::count)).collect()
}

/// The kernel's shape of planes [planes, size…].
fn kernel_shape(x: &[usize], axes: &Axes) -> Pooling {
    let missing = 3 - axes.len();
    let size = [0, 1, 2].map(|i| if i < missing { 1 } else { x[i - missing + 1] });
    let windows = [0, 1, 2].map(|i| if i < missing { Windows::ONE } else { axes[i - missing] });
    Pooling { planes: x[0], size, windows }
}

/// The place of each tap of each window on an axis of `n`: i64 [windows, taps], −1 where there is none.
fn places(windows: &Windows, n: usize) -> Tensor {
    let shape = Shape::from([windows.count(), windows.longest(n)]);
    let (o, k) = (source::iota(shape.clone(), 0), source::iota(shape, 1));
    let (place, end) = match *windows {
        Windows::Sliding { stride, padding, dilation, .. } => {
            let place = o * stride as i64 + k * dilation as i64 - padding as i64;
            let end = place.constant_like(n as f64);
            (place, end)
        }
        Windows::Adaptive { count } => {
            let (n, count) = (n as i64, count as i64);
            let end = ((&o + 1) * n + (count - 1)).floor_divide(count);
            ((o * n).floor_divide(count) + k, end)
        }
    };
    let there = place.ge(place.zeros_like()).logical_and(&place.lt(&end));
    elementwise::select(&there, &place, &place.constant_like(-1.0))
}

/// The place in the plane of each tap of each window: i64 [windows of the plane, taps], −1 where there is none.
fn plane_places(axes: &Axes, size: &[usize]) -> Tensor {
    let d = axes.len();
    let strides = Shape::from(size).strides();
    let taps = axes.iter().zip(size).map(|(w, &n)| w.longest(n));
    let shape: Shape = axes.iter().map(Windows::count).chain(taps).collect();
    let one = source::constant(Number::Int(1), DType::Bool);
    let mut sum = broadcast(&source::constant(Number::Int(0), DType::I64), &shape);
    let mut there = broadcast(&one, &shape);
    for (i, windows) in axes.iter().enumerate() {
        let thin: Shape = (0..2 * d).map(|j| if j == i || j == d + i { shape[j] } else { 1 }).collect();
        let along = broadcast(&reshape(&places(windows, size[i]), thin), &shape);
        there = there.logical_and(&along.ge(along.zeros_like()));
        sum = sum + along * strides[i] as i64;
    }
    let flat = Shape::from([shape[..d].iter().product(), shape[d..].iter().product()]);
    reshape(&elementwise::select(&there, &sum, &sum.constant_like(-1.0)), flat)
}

/// Of x [planes, elements] the largest element of each window and its place, where `places` [planes, windows, taps] says
/// which elements it has (−1: none): the first of equal ones; the last NaN, if there is one.
pub(crate) fn largest(x: &Tensor, places: &Tensor) -> (Tensor, Tensor) {
    let shape = places.shape().clone();
    let [planes, windows, taps] = places.dims();
    let there = places.ge(places.zeros_like());
    let safe = elementwise::select(&there, places, &places.zeros_like());
    let seen = index::gather(&x.detach(), 1, &reshape(&safe, Shape::from([planes, windows * taps])));
    let lowest = broadcast(&source::constant(reduce::identity(ReduceFn::Max, x.dtype()), x.dtype()), &shape);
    let seen = elementwise::select(&there, &reshape(&seen, shape.clone()), &lowest);
    let last: AxisList = smallvec![2];
    let best = reduce::reduce(ReduceFn::Max, &seen, &last);
    let far = broadcast(&source::constant(Number::Int(i64::MAX), DType::I64), &shape);
    let none = broadcast(&source::constant(Number::Int(-1), DType::I64), &shape);
    let equal = seen.eq(broadcast(&best, &shape)).logical_and(&there);
    let first = reduce::reduce(ReduceFn::Min, &elementwise::select(&equal, places, &far), &last);
    let nan = reduce::reduce(ReduceFn::Max, &elementwise::select(&seen.ne(&seen), places, &none), &last);
    let place = elementwise::select(&nan.ge(nan.zeros_like()), &nan, &first);
    let place = reshape(&place, Shape::from([planes, windows]));
    (index::gather(x, 1, &place), place)
}

/// The largest element of each window of planes x [P, size…], and its place in the plane. A window has at least one
/// element.
#[derive(Debug)]
struct MaxPool {
    axes: Axes,
}

impl Compound for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn key(&self, key: &mut Vec<u64>) {
        push_key(&self.axes, key);
    }

    fn results(&self) -> usize {
        2
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        let (x, dtype) = &inputs[0];
        let shape = pooled(x[0], &self.axes);
        vec![(shape.clone(), *dtype), (shape, place_type(&x[1..]))]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = &inputs[0];
        let (planes, size) = (x.shape()[0], &x.shape()[1..]);
        let places = plane_places(&self.axes, size);
        let all: Shape = [planes].into_iter().chain(places.shape().iter().copied()).collect();
        let flat = reshape(x, Shape::from([planes, size.iter().product()]));
        let (values, place) = largest(&flat, &broadcast(&places, &all));
        let shape = pooled(planes, &self.axes);
        let place = elementwise::cast(&place, place_type(size));
        vec![reshape(&values, shape.clone()), reshape(&place, shape)]
    }

    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let Some(g) = &b.grads[0] else { return Some(smallvec![None]) };
        let grad = MaxPoolGrad { size: b.inputs[0].shape().clone() };
        Some(smallvec![Some(call_one(grad, &[&result(b, 1), g]))])
    }

    fn saves(&self) -> Saves {
        Saves::OUTPUT
    }

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        inputs[0].1.is_float() && place_type(&inputs[0].0[1..]) == DType::I32
    }

    fn may_skip(&self, result: usize) -> bool {
        result == 1
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let shape = kernel_shape(&io.shapes[0], &self.axes);
        let [out, places] = &mut io.outputs[..] else { unreachable!("two results") };
        pooling::max_pool(io.cpu, &shape, io.inputs[0], out.reborrow(), places.reborrow());
        Ok(())
    }
}

/// The type that holds the places of a plane of `size`.
fn place_type(size: &[usize]) -> DType {
    if size.iter().product::<usize>() <= i32::MAX as usize { DType::I32 } else { DType::I64 }
}

/// The gradient of [`MaxPool`] by its input [P, size…], from the places and the gradient of its result: that of each
/// window is added where its largest element is.
#[derive(Debug)]
struct MaxPoolGrad {
    size: Shape,
}

/// [P, all the rest]
#[track_caller]
fn flat(t: &Tensor) -> Tensor {
    reshape(t, Shape::from([t.shape()[0], t.shape()[1..].iter().product()]))
}

impl Compound for MaxPoolGrad {
    fn name(&self) -> &'static str {
        "max_pool_grad"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.extend(self.size.iter().map(|&n| n as u64));
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![(self.size.clone(), inputs[1].1)]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let (places, g) = (flat(&elementwise::cast(&inputs[0], DType::I64)), flat(&wide(&inputs[1])));
        let zeros = Tensor::zeros_of([self.size[0], self.size[1..].iter().product()], g.dtype());
        let sums = index::scatter(ScatterFn::Add, &zeros, 1, &places, &g);
        vec![reshape(&sums, self.size.clone()).to_dtype(inputs[1].dtype())]
    }

    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let places = flat(&elementwise::cast(&b.inputs[0], DType::I64));
        let taken = index::gather(&flat(b.g()), 1, &places);
        Some(smallvec![None, Some(reshape(&taken, b.inputs[1].shape().clone()))])
    }

    fn has_kernel(&self, inputs: &[Meta]) -> bool {
        inputs[0].1 == DType::I32
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        pooling::max_pool_grad(io.cpu, self.size[0], io.inputs[0], io.inputs[1], io.outputs[0].reborrow());
        Ok(())
    }
}

/// Σ of each window of planes x [P, size…] over its divisor. f16 and bf16 are computed in f32 and rounded once.
#[derive(Clone, Debug)]
struct AvgPool {
    axes: Axes,
    divisor: Divisor,
}

/// The gradient of [`AvgPool`] by its input [P, size…], from that of its result.
#[derive(Clone, Debug)]
struct AvgPoolGrad {
    pool: AvgPool,
    size: Shape,
}

impl AvgPool {
    fn push_key(&self, key: &mut Vec<u64>) {
        push_key(&self.axes, key);
        match self.divisor {
            Divisor::Count { padded } => key.extend([0, u64::from(padded)]),
            Divisor::Number(number) => key.extend([1, number.to_bits()]),
        }
    }

    /// The divisor of each window, as `like` [P, windows…].
    fn divisors(&self, size: &[usize], like: &Tensor) -> Tensor {
        let padded = match self.divisor {
            Divisor::Number(number) => return like.constant_like(number),
            Divisor::Count { padded } => padded,
        };
        let mut product = like.constant_like(1.0);
        for (i, (windows, &n)) in self.axes.iter().zip(size).enumerate() {
            let count = windows.count();
            let weights = match *windows {
                Windows::Sliding { size, stride, padding, .. } if padded => {
                    let start = source::iota(Shape::from([count]), 0) * stride as i64;
                    let end = (&start + size as i64).minimum((n + 2 * padding) as i64);
                    end - start
                }
                _ => {
                    let places = places(windows, n);
                    let there = elementwise::cast(&places.ge(places.zeros_like()), DType::I64);
                    reshape(&reduce::reduce(ReduceFn::Sum, &there, &smallvec![1]), Shape::from([count]))
                }
            };
            let thin: Shape = (0..like.rank()).map(|axis| if axis == i + 1 { count } else { 1 }).collect();
            product = product * reshape(&weights, thin).to_dtype(like.dtype());
        }
        product
    }
}

/// Σ of each window along `axis`.
fn sums(x: &Tensor, axis: usize, windows: &Windows) -> Tensor {
    let n = x.shape()[axis];
    let zero = source::constant(Number::Float(0.0), x.dtype());
    let taps = match *windows {
        Windows::Sliding { count, size, stride, padding, dilation } => {
            let needed = (count - 1) * stride + (size - 1) * dilation + 1;
            let wide = pad(x, axis, padding, 0, needed.max(padding + n), &zero);
            window(&slice(&wide, axis, 0, 1, needed), axis, size, stride, dilation)
        }
        Windows::Adaptive { count } => {
            let places = places(windows, n);
            let longest = places.shape()[1];
            let flat = reshape(&places, Shape::from([count * longest]));
            let taps = x.index_select(axis as isize, &flat.maximum(0));
            // [.., windows, taps, ..], the taps to the end.
            let mut split = x.shape().with(axis, count);
            split = split.inserted(axis + 1, longest);
            let order: AxisList = (0..=axis).chain(axis + 2..split.rank()).chain([axis + 1]).collect();
            let taps = permute(&reshape(&taps, split), order);
            let rank = taps.rank();
            let thin: Shape = (0..rank)
                .map(|i| {
                    if i == axis {
                        count
                    } else if i + 1 == rank {
                        longest
                    } else {
                        1
                    }
                })
                .collect();
            let there = broadcast(&reshape(&places, thin), taps.shape());
            elementwise::select(&there.ge(there.zeros_like()), &taps, &broadcast(&zero, taps.shape()))
        }
    };
    let last = taps.rank() - 1;
    let sum = reduce::reduce(ReduceFn::Sum, &taps, &smallvec![last]);
    let shape = sum.shape().without(last);
    reshape(&sum, shape)
}

/// The adjoint of [`sums`]: along `axis`, which gets `n` places, each the sum of the windows that it is in.
fn spread(g: &Tensor, axis: usize, windows: &Windows, n: usize) -> Tensor {
    let (count, longest) = (windows.count(), windows.longest(n));
    let mut shape = g.shape().clone();
    shape.push(longest);
    let mut thin = g.shape().clone();
    thin.push(1);
    let taps = broadcast(&reshape(g, thin), &shape);
    match *windows {
        Windows::Sliding { size, stride, padding, dilation, .. } => {
            let needed = ((count - 1) * stride + (size - 1) * dilation + 1).max(padding + n);
            slice(&overlap_add(&taps, axis, needed, stride, dilation), axis, padding as i64, 1, n)
        }
        Windows::Adaptive { .. } => {
            let rank = shape.rank();
            let places = places(windows, n);
            let thin: Shape = (0..rank)
                .map(|i| {
                    if i == axis {
                        count
                    } else if i + 1 == rank {
                        longest
                    } else {
                        1
                    }
                })
                .collect();
            let there = broadcast(&reshape(&places, thin), &shape);
            let zero = broadcast(&source::constant(Number::Float(0.0), g.dtype()), &shape);
            let taps = elementwise::select(&there.ge(there.zeros_like()), &taps, &zero);
            // [.., windows, .., taps] → [.., windows·taps, ..]
            let order: AxisList = (0..=axis).chain([rank - 1]).chain(axis + 1..rank - 1).collect();
            let merged = g.shape().with(axis, count * longest);
            let merge = |t: &Tensor| reshape(&permute(t, order.clone()), merged.clone());
            let base = Tensor::zeros_of(g.shape().with(axis, n), g.dtype());
            index::scatter(ScatterFn::Add, &base, axis, &merge(&there.maximum(0)), &merge(&taps))
        }
    }
}

impl Compound for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool"
    }

    fn key(&self, key: &mut Vec<u64>) {
        self.push_key(key);
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![(pooled(inputs[0].0[0], &self.axes), inputs[0].1)]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let mut y = wide(&inputs[0]);
        for (i, windows) in self.axes.iter().enumerate() {
            y = sums(&y, i + 1, windows);
        }
        let y = &y / self.divisors(&inputs[0].shape()[1..], &y);
        vec![y.to_dtype(inputs[0].dtype())]
    }

    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        let grad = AvgPoolGrad { pool: self.clone(), size: b.inputs[0].shape().clone() };
        Some(smallvec![Some(call_one(grad, &[b.g()]))])
    }

    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let shape = kernel_shape(&io.shapes[0], &self.axes);
        pooling::avg_pool(io.cpu, &shape, self.divisor, io.inputs[0], io.outputs[0].reborrow());
        Ok(())
    }
}

impl Compound for AvgPoolGrad {
    fn name(&self) -> &'static str {
        "avg_pool_grad"
    }

    fn key(&self, key: &mut Vec<u64>) {
        self.pool.push_key(key);
        key.extend(self.size.iter().map(|&n| n as u64));
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![(self.size.clone(), inputs[0].1)]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let g = wide(&inputs[0]);
        let mut x = &g / self.pool.divisors(&self.size[1..], &g);
        for (i, windows) in self.pool.axes.iter().enumerate() {
            x = spread(&x, i + 1, windows, self.size[i + 1]);
        }
        vec![x.to_dtype(inputs[0].dtype())]
    }

    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        Some(smallvec![Some(call_one(self.pool.clone(), &[b.g()]))])
    }

    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let shape = kernel_shape(&self.size, &self.pool.axes);
        pooling::avg_pool_grad(io.cpu, &shape, self.pool.divisor, io.inputs[0], io.outputs[0].reborrow());
        Ok(())
    }
}

/// The largest elements of the windows of planes [P, size…], and their places in the plane.
#[track_caller]
pub(crate) fn max_pool(planes: &Tensor, axes: Axes) -> (Tensor, Tensor) {
    let mut both = call_many(MaxPool { axes }, &[planes]);
    let places = elementwise::cast(&both.swap_remove(1), DType::I64);
    (both.swap_remove(0), places)
}

/// The averages of the windows of planes [P, size…].
#[track_caller]
pub(crate) fn avg_pool(planes: &Tensor, axes: Axes, divisor: Divisor) -> Tensor {
    call_one(AvgPool { axes, divisor }, &[planes])
}
