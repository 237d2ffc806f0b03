//! The adjoint of cutting overlapping windows: adding them up where they came from.

use crate::Cpu;
use crate::arithmetic::{Accumulator, Arithmetic, Typed, by_dtype};
use crate::dtype::DType;
use crate::parts::Shared;
use crate::slice::{Slice, SliceMut};

/// Elements of the result that one task sums.
const TASK: usize = 16 << 10;

/// `out[o, p·stride + j·dilation, i] = Σ src[o, p, i, j]` over all windows `p` and their elements `j`: fold
/// (col2im) along one axis.
///
/// `src` is contiguous `[outer, windows, inner, k]`, `out` contiguous `[outer, len, inner]` of the same
/// type and overwritten. Sums run in the order of `p`, then `j`; f16 and bf16 are summed in f32 and rounded
/// once, integers wrap, bool is a logical or.
///
/// # Panics
/// When lengths or types do not fit each other, or a window ends after `len`.
pub fn overlap_add(
    cpu: &Cpu,
    outer: usize,
    windows: usize,
    inner: usize,
    k: usize,
    stride: usize,
    dilation: usize,
    len: usize,
    src: Slice,
    out: SliceMut,
) {
    assert_eq!(src.dtype(), out.dtype());
    assert_eq!(src.len(), outer * windows * inner * k);
    assert_eq!(out.len(), outer * len * inner);
    if out.is_empty() {
        return;
    }
    let fold = Fold { outer, windows, inner, k, stride, dilation, len };
    if windows > 0 && k > 0 {
        assert!((windows - 1) * stride + (k - 1) * dilation < len, "{fold:?}: a window ends after the end");
    }
    by_dtype(src.dtype(), Job { cpu, fold, src, out });
}

#[derive(Clone, Copy, Debug)]
struct Fold {
    outer: usize,
    windows: usize,
    inner: usize,
    k: usize,
    stride: usize,
    dilation: usize,
    len: usize,
}

impl Fold {
    /// Adds to `sums` (positions `start .. end` of one `o`) what the windows of that `o` bring there.
    fn sum<T: Arithmetic>(
        &self,
        src: &[T],
        start: usize,
        end: usize,
        sums: &mut [T::Acc],
        add: impl Fn(T::Acc, T::Acc) -> T::Acc,
    ) {
        let Fold { windows, inner, k, stride, dilation, .. } = *self;
        if k == 0 {
            return;
        }
        // Windows that end before `start` or begin after `end` bring nothing.
        let reach = (k - 1) * dilation;
        let (first, last) = match stride {
            0 => (0, windows),
            _ => (start.saturating_sub(reach).div_ceil(stride), end.div_ceil(stride).min(windows)),
        };
        for p in first..last {
            let window = &src[p * inner * k..(p + 1) * inner * k];
            if inner == 1 && dilation == 1 {
                let (from, to) = (start.max(p * stride), end.min(p * stride + k));
                let brought = &window[from - p * stride..to - p * stride];
                let sums = sums[from - start..to - start].iter_mut();
                sums.zip(brought).for_each(|(sum, &x)| *sum = add(*sum, x.widen()));
                continue;
            }
            for j in 0..k {
                let position = p * stride + j * dilation;
                if (start..end).contains(&position) {
                    let sums = &mut sums[(position - start) * inner..][..inner];
                    let brought = window[j..].iter().step_by(k);
                    sums.iter_mut().zip(brought).for_each(|(sum, &x)| *sum = add(*sum, x.widen()));
                }
            }
        }
    }
}

struct Job<'a> {
    cpu: &'a Cpu,
    fold: Fold,
    src: Slice<'a>,
    out: SliceMut<'a>,
}

impl Typed for Job<'_> {
    type Out = ();

    fn run<T: Arithmetic>(mut self) {
        let Fold { outer, windows, inner, k, len, .. } = self.fold;
        let src = self.src.get::<T>();
        let logical = self.out.dtype() == DType::Bool;
        let out = Shared::new(self.out.get::<T>());
        // A task takes some positions of one `o`, so that a single long signal is shared too.
        let positions = (TASK / inner).clamp(1, len);
        let blocks = len.div_ceil(positions);
        self.cpu.pool.run(outer * blocks, &|task| {
            let (o, start) = (task / blocks, task % blocks * positions);
            let end = (start + positions).min(len);
            let src = &src[o * windows * inner * k..(o + 1) * windows * inner * k];
            let mut sums = vec![T::Acc::default(); (end - start) * inner];
            if logical {
                self.fold.sum(src, start, end, &mut sums, T::Acc::max);
            } else {
                self.fold.sum(src, start, end, &mut sums, T::Acc::add);
            }
            // SAFETY: tasks have different positions.
            let out = unsafe { out.range((o * len + start) * inner, sums.len()) };
            out.iter_mut().zip(&sums).for_each(|(out, &sum)| *out = T::narrow(sum));
        });
    }
}
