//! The batched matrix product over strided views: dot, with an epilogue that runs while its result is in cache.
//!
//! Which way a product is computed depends on its shape and strides alone, never on the number of threads:
//! - one row or one column: `gemv`, which reads the matrix once;
//! - little work, few rows or few columns: `small`, straight from the operands;
//! - else `gemm`: panels packed into the order in which the micro-kernels read them.
//!
//! f16 and bf16 are widened to f32, summed in f32 and rounded once; integers wrap.

mod blocks;
mod gemm;
mod gemv;
mod half;
mod integer;
mod micro;
#[cfg(target_arch = "x86_64")]
mod micro_avx2;
#[cfg(target_arch = "x86_64")]
mod micro_avx512;
#[cfg(target_arch = "x86_64")]
mod micro_bf16;
mod micro_portable;
mod pack;
mod pairs;
mod panels;
mod placed;
mod small;
mod steps;
#[cfg(test)]
mod tests;
mod vector;

use ::half::{bf16, f16};

use crate::Cpu;
use crate::dtype::{DType, Element};
use crate::slice::{Slice, SliceMut};

pub(crate) use blocks::{Block, Blocks};
use pack::Range;
pub(crate) use panels::{Band, COLUMNS, Factor, Panels};
pub(crate) use placed::{Placed, Sums};
pub(crate) use steps::Upcoming;
use vector::Real;

/// One factor: a matrix for each index of the batch, anywhere in `data`. Strides and offset count elements;
/// a stride may be zero (broadcast) or negative.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The elements.
    pub data: Slice<'a>,
    /// Where element [0.., 0, 0] is.
    pub offset: usize,
    /// Stride of each batch dimension.
    pub batch: &'a [isize],
    /// Stride from row to row.
    pub rows: isize,
    /// Stride from column to column.
    pub cols: isize,
}

/// The sizes of a product: a is [batch.., m, k], b is [batch.., k, n].
#[derive(Clone, Copy, Debug)]
pub struct Dims<'a> {
    /// Sizes of the batch dimensions, the same for both factors (broadcast by stride 0).
    pub batch: &'a [usize],
    /// Rows of a.
    pub m: usize,
    /// Columns of b.
    pub n: usize,
    /// Columns of a and rows of b.
    pub k: usize,
}

/// What is done to finished elements of the product: called with the flat index in `out` of the first one
/// and the consecutive elements from there, which are *a part of one row, or several whole rows*. Every
/// element is passed exactly once, from any thread.
pub type Epilogue<'e> = dyn Fn(usize, &mut [f32]) + Sync + 'e;

/// [`Epilogue`] for either type that sums are made in.
type Finish<'e, T> = dyn Fn(usize, &mut [T]) + Sync + 'e;

/// Below this many multiply-adds a fork costs more than it gains.
const FORK: usize = 1 << 18;
/// Multiply-adds that one task of a batch should have at least.
const TASK: usize = 1 << 17;
/// Products with more multiply-adds than this are cut inside, one after the other.
const LARGE: usize = 1 << 24;

/// A matrix inside a checked operand.
#[derive(Clone, Copy, Debug)]
struct Matrix<T> {
    data: *const T,
    rows: isize,
    cols: isize,
}

impl<T> Matrix<T> {
    /// The address of element [i, j], which must be inside.
    #[inline(always)]
    unsafe fn at(&self, i: usize, j: usize) -> *const T {
        // SAFETY: inside the operand, by the caller.
        unsafe { self.data.offset(i as isize * self.rows + j as isize * self.cols) }
    }

    /// The same matrix with rows and columns exchanged.
    fn transposed(&self) -> Matrix<T> {
        Matrix { data: self.data, rows: self.cols, cols: self.rows }
    }
}

// SAFETY: a matrix is only read.
unsafe impl<T: Sync> Send for Matrix<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Matrix<T> {}

/// One product of the batch: c = a·b, factors of E, c contiguous [m, n]. Its pointers are valid for these sizes, c is
/// not aliased, and no thread but those of the running kernel uses it.
#[derive(Clone, Copy, Debug)]
struct Product<T, E = T> {
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<E>,
    b: Matrix<E>,
    c: *mut T,
}

// SAFETY: the factors are only read; tasks write disjoint parts of c.
unsafe impl<T: Send, E: Sync> Send for Product<T, E> {}
// SAFETY: as above.
unsafe impl<T: Sync, E: Sync> Sync for Product<T, E> {}

/// Passes the elements of rows `i` and columns `j` of `c`, whose rows have `n` elements, to `finish`.
///
/// # Safety
/// They are inside c, and no other thread uses them.
#[inline]
unsafe fn pass_on<T>(c: *mut T, n: usize, finish: Option<&Finish<T>>, i: Range, j: Range) {
    let Some(finish) = finish else { return };
    let segment = |start: usize, len: usize| {
        // SAFETY: by the caller.
        let elements = unsafe { std::slice::from_raw_parts_mut(c.add(start), len) };
        finish(start, elements);
    };
    if j.len == n {
        segment(i.start * n, i.len * n);
    } else {
        (i.start..i.start + i.len).for_each(|i| segment(i * n + j.start, j.len));
    }
}

/// Computes out[b.., i, j] = epilogue(Σ_k a[b.., i, k] · b[b.., k, j]); `out` is contiguous [batch.., m, n].
///
/// All types but bool. f16 and bf16 accumulate in f32 and are rounded once, integers wrap; NaN and infinity
/// follow IEEE 754. The result is bit-identical for any number of threads.
///
/// # Panics
/// When the types of the three differ or are bool, when a stride is missing, when an operand reaches outside
/// its data, when `out` has another size, or when there is an epilogue and the type is not f32.
pub fn dot(cpu: &Cpu, dims: &Dims, a: &Operand, b: &Operand, mut out: SliceMut, epilogue: Option<&Epilogue>) {
    let dtype = out.dtype();
    assert!(
        a.data.dtype() == dtype && b.data.dtype() == dtype,
        "dot of {} and {} into {dtype}",
        a.data.dtype(),
        b.data.dtype()
    );
    assert!(epilogue.is_none() || dtype == DType::F32, "an epilogue for a product of type {dtype}");
    let batch: usize = dims.batch.iter().product();
    assert_eq!(out.len(), batch * dims.m * dims.n, "elements of the output of dot");
    check(dims, a, dims.m, dims.k);
    check(dims, b, dims.k, dims.n);
    if out.is_empty() {
        return;
    }
    match dtype {
        DType::F32 => real(cpu, dims, a, b, out.get::<f32>(), epilogue),
        DType::F64 => real::<f64>(cpu, dims, a, b, out.get(), None),
        DType::F16 => half::dot::<f16>(cpu, dims, a, b, out.get()),
        DType::BF16 => half::dot::<bf16>(cpu, dims, a, b, out.get()),
        DType::I64 => integer::dot::<i64>(cpu, dims, a, b, out.get()),
        DType::I32 => integer::dot::<i32>(cpu, dims, a, b, out.get()),
        DType::U8 => integer::dot::<u8>(cpu, dims, a, b, out.get()),
        DType::Bool => panic!("dot of bool"),
    }
}

/// Panics unless every element of the operand, with matrices of `rows × cols`, is inside its data.
fn check(dims: &Dims, x: &Operand, rows: usize, cols: usize) {
    assert_eq!(x.batch.len(), dims.batch.len(), "batch strides of an operand of dot");
    let sizes = dims.batch.iter().chain([&rows, &cols]);
    let (mut low, mut high) = (x.offset as i128, x.offset as i128);
    for (&size, &stride) in sizes.zip(x.batch.iter().chain([&x.rows, &x.cols])) {
        if size == 0 {
            return;
        }
        let reach = (size - 1) as i128 * stride as i128;
        if reach < 0 { low += reach } else { high += reach }
    }
    assert!(
        low >= 0 && high < x.data.len() as i128,
        "an operand of dot reaches {low}..={high} of {} elements",
        x.data.len()
    );
}

/// Where the matrices of batch index `index` begin, for both operands.
fn offsets(sizes: &[usize], a: &Operand, b: &Operand, mut index: usize) -> (isize, isize) {
    let (mut x, mut y) = (a.offset as isize, b.offset as isize);
    for d in (0..sizes.len()).rev() {
        let i = (index % sizes[d]) as isize;
        index /= sizes[d];
        x += i * a.batch[d];
        y += i * b.batch[d];
    }
    (x, y)
}

/// Makes batch dimensions part of m, or of n, where the strides allow it: [batch, time, channels] times one
/// matrix is one product, not one for each element of the batch.
fn fold<'a>(dims: &Dims<'a>, a: &Operand<'a>, b: &Operand<'a>) -> (Dims<'a>, Operand<'a>, Operand<'a>) {
    let (mut dims, mut a, mut b) = (*dims, *a, *b);
    while let [rest @ .., size] = dims.batch {
        let (over_a, over_b) = (a.batch[rest.len()], b.batch[rest.len()]);
        if *size != 1 {
            if over_b == 0 && (dims.m == 1 || over_a == dims.m as isize * a.rows) {
                a.rows = if dims.m == 1 { over_a } else { a.rows };
                dims.m *= size;
            } else if over_a == 0 && dims.m == 1 && (dims.n == 1 || over_b == dims.n as isize * b.cols) {
                b.cols = if dims.n == 1 { over_b } else { b.cols };
                dims.n *= size;
            } else {
                break;
            }
        }
        dims.batch = rest;
        a.batch = &a.batch[..rest.len()];
        b.batch = &b.batch[..rest.len()];
    }
    (dims, a, b)
}

/// The product in a type that sums are made in.
fn real<T: Real>(cpu: &Cpu, dims: &Dims, a: &Operand, b: &Operand, out: &mut [T], finish: Option<&Finish<T>>) {
    let (dims, a, b) = fold(dims, a, b);
    let batch = Batch { x: a.data.get::<T>().as_ptr(), y: b.data.get::<T>().as_ptr(), c: out.as_mut_ptr(), dims, a, b };
    batch.run(cpu, finish, &|p, finish| product(cpu, p, finish));
}

/// The products of a batch.
struct Batch<'d, T, E = T> {
    dims: Dims<'d>,
    a: Operand<'d>,
    b: Operand<'d>,
    /// The data of a, of b, and of the output.
    x: *const E,
    y: *const E,
    c: *mut T,
}

// SAFETY: the factors are only read; the products write disjoint parts of the output.
unsafe impl<T: Sync, E: Sync> Sync for Batch<'_, T, E> {}

impl<T: Real, E: Element> Batch<'_, T, E> {
    /// Product `index` of the batch.
    #[inline]
    fn item(&self, index: usize) -> Product<T, E> {
        let Dims { batch, m, n, k } = self.dims;
        let (at_a, at_b) = offsets(batch, &self.a, &self.b, index);
        Product {
            m,
            n,
            k,
            // A factor without elements has no address to compute, hence the wrapping kind.
            a: Matrix { data: self.x.wrapping_offset(at_a), rows: self.a.rows, cols: self.a.cols },
            b: Matrix { data: self.y.wrapping_offset(at_b), rows: self.b.rows, cols: self.b.cols },
            c: self.c.wrapping_add(index * m * n),
        }
    }

    /// Computes all products: large ones one after the other, each cut inside; others side by side.
    #[inline]
    fn run(
        &self,
        cpu: &Cpu,
        finish: Option<&Finish<T>>,
        product: &(impl Fn(&Product<T, E>, Option<&Finish<T>>) + Sync),
    ) {
        let Dims { batch, m, n, k } = self.dims;
        if batch.is_empty() {
            return product(&self.item(0), finish);
        }
        let (count, work) = (batch.iter().product::<usize>(), m * n * k);
        let one = |index: usize| match finish {
            None => product(&self.item(index), None),
            Some(f) => product(&self.item(index), Some(&|i: usize, s: &mut [T]| f(index * m * n + i, s))),
        };
        if work > LARGE {
            return (0..count).for_each(one);
        }
        let group = if work * count < FORK { count } else { (TASK / work.max(1)).max(1) };
        cpu.pool.run(count.div_ceil(group), &|task| {
            (task * group..count.min((task + 1) * group)).for_each(one);
        });
    }
}

/// One product, in the way that suits its shape.
fn product<T: Real>(cpu: &Cpu, p: &Product<T>, finish: Option<&Finish<T>>) {
    if p.n == 1 {
        gemv::gemv(cpu, &gemv::MatVec { rows: p.m, k: p.k, a: p.a, x: p.b.data, step: p.b.rows, y: p.c }, finish);
    } else if p.m == 1 {
        gemv::gemv(
            cpu,
            &gemv::MatVec { rows: p.n, k: p.k, a: p.b.transposed(), x: p.a.data, step: p.a.cols, y: p.c },
            finish,
        );
    } else if small::suits(cpu, p) {
        small::small(cpu, p, finish);
    } else {
        let (kernels, b) = (T::kernels(cpu.isa), p.b.transposed());
        gemm::Factors { kernels, m: p.m, n: p.n, k: p.k, a: &p.a, b: &b, c: p.c, finish }.multiply(cpu);
    }
}
