//! Where the elements of a node lie: strides over the memory of another.

use limpid_kernels::Number;
use smallvec::SmallVec;

use crate::op::{AxisList, Op};
use crate::shape::{Shape, Strides};
use crate::testing::{Fault, planted};

/// Elements at `offset + Σ index·stride` of some memory, in elements. Part of the offset may be numbers of
/// the host: (which one, how many elements one of it is).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) offset: isize,
    pub(crate) moving: SmallVec<[(u32, isize); 1]>,
    pub(crate) strides: Strides,
}

impl View {
    /// All of a contiguous memory.
    pub(crate) fn contiguous(shape: &Shape) -> View {
        View { offset: 0, moving: SmallVec::new(), strides: shape.strides() }
    }

    /// Whether the elements lie one after the other in row-major order.
    pub(crate) fn is_contiguous(&self, shape: &Shape) -> bool {
        let expected = shape.strides();
        (0..shape.rank()).all(|i| shape[i] <= 1 || self.strides[i] == expected[i]) || shape.elements() == 0
    }

    /// The first element, given the numbers of the host.
    pub(crate) fn start(&self, args: &[Number]) -> isize {
        let moved: isize = self.moving.iter().map(|&(arg, by)| args[arg as usize].as_i64() as isize * by).sum();
        self.offset + moved
    }

    /// The view that `op` makes of this one, which has shape `from`; None where no strides can say it.
    /// `args` is the first number of the host of the operation.
    pub(crate) fn apply(&self, op: &Op, from: &Shape, to: &Shape, args: u32) -> Option<View> {
        let mut view = self.clone();
        match op {
            Op::Reshape => view.strides = reshaped(from, &self.strides, to)?,
            Op::Permute(axes) => view.strides = permuted(&self.strides, axes),
            Op::Broadcast => {
                let new = to.rank() - from.rank();
                let stride =
                    |i: usize| if i < new || (from[i - new] == 1 && to[i] != 1) { 0 } else { self.strides[i - new] };
                view.strides = (0..to.rank()).map(stride).collect();
                if planted(Fault::BroadcastStride) {
                    view.strides.iter_mut().for_each(|s| *s = 0);
                }
            }
            Op::Slice { axis, start, step, fixed } => {
                let stride = self.strides[*axis];
                if *fixed {
                    view.offset += *start as isize * stride;
                } else {
                    view.moving.push((args, stride));
                }
                if planted(Fault::SliceStart) && to[*axis] < from[*axis] && *step > 0 {
                    view.offset -= stride;
                }
                view.strides[*axis] = stride * *step as isize;
            }
            Op::Window { axis, .. } if planted(Fault::WindowStride) => {
                let step = self.strides[*axis];
                view.strides.push(step);
            }
            Op::Window { axis, stride, dilation } => {
                let step = self.strides[*axis];
                view.strides[*axis] = step * *stride as isize;
                view.strides.push(step * *dilation as isize);
            }
            _ => return None,
        }
        Some(view)
    }
}

fn permuted(strides: &Strides, axes: &AxisList) -> Strides {
    axes.iter().map(|&a| strides[a]).collect()
}

/// The strides that show elements of shape `from` under shape `to`, where there are such: axes are matched
/// in runs of equal size, and each run must be contiguous in itself.
fn reshaped(from: &Shape, strides: &Strides, to: &Shape) -> Option<Strides> {
    if from.elements() == 0 {
        return Some(to.strides());
    }
    // Axes of size 1 mean nothing.
    let old: SmallVec<[(usize, isize); 6]> =
        from.iter().zip(strides).filter(|(n, _)| **n != 1).map(|(&n, &s)| (n, s)).collect();
    let mut result: Strides = smallvec::smallvec![0; to.rank()];
    let (mut i, mut j) = (0, 0);
    while i < old.len() {
        let (first, mut have) = (i, old[i].0);
        let begin = j;
        let mut want = 1;
        while j < to.rank() && (want < have || to[j] == 1) {
            want *= to[j];
            j += 1;
        }
        while have != want {
            if have < want {
                i += 1;
                have *= old.get(i)?.0;
            } else {
                want *= to.get(j)?;
                j += 1;
            }
        }
        // The old axes of this run must follow each other without a gap.
        for k in first..i {
            if old[k].1 != old[k + 1].1 * old[k + 1].0 as isize {
                return None;
            }
        }
        let mut stride = old[i].1;
        for k in (begin..j).rev() {
            result[k] = stride;
            stride *= to[k] as isize;
        }
        i += 1;
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_find_strides_where_there_are_some() {
        let cases: &[(&[usize], &[isize], &[usize], Option<&[isize]>)] = &[
            (&[2, 3], &[3, 1], &[6], Some(&[1])),
            (&[2, 3], &[1, 2], &[6], None),
            (&[6], &[1], &[2, 3], Some(&[3, 1])),
            (&[4, 3], &[1, 4], &[2, 2, 3], Some(&[2, 1, 4])),
            (&[2, 3, 4], &[0, 4, 1], &[2, 12], Some(&[0, 1])),
            (&[2, 1, 3], &[3, 99, 1], &[2, 3], Some(&[3, 1])),
            (&[2, 3], &[3, 1], &[2, 1, 3], Some(&[3, 3, 1])),
            (&[], &[], &[1, 1], Some(&[0, 0])),
            (&[5], &[-1], &[5, 1], Some(&[-1, -1])),
            (&[2, 6], &[12, 1], &[4, 3], None),
        ];
        for (from, strides, to, expected) in cases {
            let got = reshaped(&Shape::from(*from), &Strides::from_slice(strides), &Shape::from(*to));
            let same = match (&got, expected) {
                (Some(g), Some(e)) => to.iter().zip(g.iter().zip(*e)).all(|(&n, (a, b))| n == 1 || a == b),
                (None, None) => true,
                _ => false,
            };
            assert!(same, "{from:?} {strides:?} as {to:?}: {got:?}");
        }
    }
}
