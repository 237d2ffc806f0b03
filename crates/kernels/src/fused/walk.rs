//! Walking the elements of a strided operand in row-major order of the index space.

/// One dimension of an operand: how many steps, and how far each goes, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) size: usize,
    pub(super) stride: isize,
}

/// Appends the dimensions of an operand to `axes`, outermost first, with neighbours merged where the
/// outer one continues the inner one. Dimensions of one element vanish.
pub(super) fn collapse(dims: impl Iterator<Item = (usize, isize)>, axes: &mut Vec<Axis>) {
    let first = axes.len();
    for (size, stride) in dims.filter(|&(size, _)| size != 1) {
        match axes[first..].last_mut() {
            Some(outer) if outer.stride == stride.wrapping_mul(size as isize) => {
                *outer = Axis { size: outer.size * size, stride };
            }
            _ => axes.push(Axis { size, stride }),
        }
    }
}

/// Offset of element `flat` of an operand, in elements.
#[inline]
fn offset_of(axes: &[Axis], mut flat: usize) -> isize {
    let mut offset = 0;
    for axis in axes.iter().rev() {
        offset += (flat % axis.size) as isize * axis.stride;
        flat /= axis.size;
    }
    offset
}

/// Calls `run(offset, stride, at, n)` for each piece of elements `start .. start + len` that lies on one
/// line: elements `offset + i · stride` for i < n are those numbered from `start + at`.
#[inline(always)]
pub(super) fn runs(axes: &[Axis], start: usize, len: usize, mut run: impl FnMut(isize, isize, usize, usize)) {
    let (outer, row, inner) = match axes {
        [] => return run(0, 0, 0, len),
        [only] => return run(start as isize * only.stride, only.stride, 0, len),
        [outer @ .., row, inner] => (outer, row, inner),
    };
    let (mut column, rest) = (start % inner.size, start / inner.size);
    let (mut line, mut block) = (rest % row.size, rest / row.size);
    let mut base = offset_of(outer, block);
    let mut at = 0;
    while at < len {
        let n = (inner.size - column).min(len - at);
        run(base + line as isize * row.stride + column as isize * inner.stride, inner.stride, at, n);
        at += n;
        column = 0;
        line += 1;
        if line == row.size {
            line = 0;
            block += 1;
            base = offset_of(outer, block);
        }
    }
}

/// Lowest and highest offset that an operand reaches from its start. `None` when they overflow.
pub(super) fn reach(dims: &[usize], strides: &[isize]) -> Option<(isize, isize)> {
    let (mut low, mut high) = (0isize, 0isize);
    for (&size, &stride) in dims.iter().zip(strides) {
        let far = isize::try_from(size.checked_sub(1)?).ok()?.checked_mul(stride)?;
        if far < 0 {
            low = low.checked_add(far)?;
        } else {
            high = high.checked_add(far)?;
        }
    }
    Some((low, high))
}

/// Whether every index tuple has an element of its own: by strides that nest, each longer than all that
/// the shorter ones can reach together.
pub(super) fn is_distinct(dims: &[usize], strides: &[isize]) -> bool {
    let mut reached = 0usize;
    let mut below = 0usize;
    // The next longer stride at each turn, so that nothing has to be sorted into memory.
    loop {
        let longer = |&(&size, stride): &(&usize, usize)| size > 1 && stride > below;
        let all = || dims.iter().zip(strides.iter().map(|s| s.unsigned_abs()));
        if all().any(|(&size, stride)| size > 1 && stride == 0) {
            return false;
        }
        let Some(next) = all().filter(longer).map(|(_, stride)| stride).min() else { return true };
        let mut same = all().filter(|&(&size, stride)| size > 1 && stride == next);
        let size = same.next().map_or(1, |(&size, _)| size);
        if same.next().is_some() || next <= reached {
            return false;
        }
        reached += (size - 1) * next;
        below = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collapsed(dims: &[usize], strides: &[isize]) -> Vec<(usize, isize)> {
        let mut axes = Vec::new();
        collapse(dims.iter().copied().zip(strides.iter().copied()), &mut axes);
        axes.iter().map(|a| (a.size, a.stride)).collect()
    }

    #[test]
    fn neighbours_are_merged() {
        assert_eq!(collapsed(&[2, 3, 4], &[12, 4, 1]), [(24, 1)]);
        assert_eq!(collapsed(&[2, 3, 4], &[0, 0, 0]), [(24, 0)]);
        assert_eq!(collapsed(&[2, 1, 4], &[4, 77, 1]), [(8, 1)]);
        assert_eq!(collapsed(&[2, 3, 4], &[0, 4, 1]), [(2, 0), (12, 1)]);
        assert_eq!(collapsed(&[5, 4], &[1, 5]), [(5, 1), (4, 5)]);
        assert_eq!(collapsed(&[5, 4], &[-4, -1]), [(20, -1)]);
        assert_eq!(collapsed(&[1, 1], &[3, 3]), []);
    }

    #[test]
    fn runs_visit_every_element_in_order() {
        let (dims, strides) = ([3usize, 4, 5], [7isize, -50, 2]);
        let mut axes = Vec::new();
        collapse(dims.iter().copied().zip(strides), &mut axes);
        let mut expected = Vec::new();
        for i in 0..3isize {
            for j in 0..4 {
                expected.extend((0..5).map(|k| 7 * i - 50 * j + 2 * k));
            }
        }
        for start in 0..60 {
            for len in 0..=60 - start {
                let mut seen = vec![isize::MAX; len];
                runs(&axes, start, len, |offset, stride, at, n| {
                    (0..n).for_each(|i| seen[at + i] = offset + i as isize * stride);
                });
                assert_eq!(seen, expected[start..start + len], "{start} {len}");
            }
        }
    }

    #[test]
    fn distinct_elements() {
        assert!(is_distinct(&[3, 4], &[4, 1]));
        assert!(is_distinct(&[3, 4], &[1, 3]));
        assert!(is_distinct(&[3, 4], &[-4, 1]));
        assert!(is_distinct(&[3, 1], &[1, 0]));
        assert!(is_distinct(&[], &[]));
        assert!(!is_distinct(&[3, 4], &[3, 1]));
        assert!(!is_distinct(&[3, 4], &[0, 1]));
        assert!(!is_distinct(&[2, 2], &[1, 1]));
    }

    #[test]
    fn reach_of_negative_strides() {
        assert_eq!(reach(&[3, 4], &[-4, 1]), Some((-8, 3)));
        assert_eq!(reach(&[2], &[isize::MAX]), Some((0, isize::MAX)));
        assert_eq!(reach(&[3], &[isize::MAX]), None);
    }
}
