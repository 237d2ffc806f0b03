//! Sizes of a tensor, and the arithmetic of sizes: broadcasting, axes counted from the end, strides.

use smallvec::SmallVec;

/// The sizes of a tensor, outermost first; `[]` is a scalar.
#[derive(PartialEq, Eq, Hash, Default)]
pub struct Shape(SmallVec<[usize; 6]>);

impl Clone for Shape {
    /// One copy of memory; the derived one would go element by element, in the hottest place of recording.
    #[inline]
    fn clone(&self) -> Shape {
        Shape(SmallVec::from_slice(&self.0))
    }
}

/// Strides in elements, outermost first.
pub type Strides = SmallVec<[isize; 6]>;

impl Shape {
    /// The shape of a scalar.
    pub fn scalar() -> Shape {
        Shape::default()
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        // Only what an error stands for has more than a number can say.
        self.0.iter().fold(1, |product: usize, &size| product.saturating_mul(size))
    }

    /// Whether memory can address so many elements, were those counted that axes of size 0 hide: products of some of the
    /// sizes do not overflow then either.
    pub(crate) fn addressable(&self) -> bool {
        const MOST: usize = 1 << 48;
        self.0.iter().fold(1, |product: usize, &size| product.saturating_mul(size.max(1))) <= MOST
    }

    /// Strides of a contiguous tensor of this shape.
    pub fn strides(&self) -> Strides {
        let mut strides: Strides = smallvec::smallvec![0; self.rank()];
        let mut step = 1isize;
        for (stride, &size) in strides.iter_mut().zip(&self.0).rev() {
            *stride = step;
            step *= size.max(1) as isize;
        }
        strides
    }

    /// The shape with size `size` on axis `axis`.
    pub fn with(&self, axis: usize, size: usize) -> Shape {
        let mut shape = self.clone();
        shape.0[axis] = size;
        shape
    }

    /// The shape with 1 on each of `axes`.
    pub fn reduced(&self, axes: &[usize]) -> Shape {
        let mut shape = self.clone();
        for &axis in axes {
            shape.0[axis] = 1;
        }
        shape
    }

    /// The shape without axis `axis`.
    pub fn without(&self, axis: usize) -> Shape {
        let mut shape = self.clone();
        shape.0.remove(axis);
        shape
    }

    /// The shape with an axis of `size` inserted before axis `axis`.
    pub fn inserted(&self, axis: usize, size: usize) -> Shape {
        let mut shape = self.clone();
        shape.0.insert(axis, size);
        shape
    }

    /// Appends an axis.
    pub fn push(&mut self, size: usize) {
        self.0.push(size);
    }

    /// The axis that `axis` names: negative ones count from the end, `-1` is the last.
    pub fn axis(&self, axis: isize) -> Option<usize> {
        let rank = self.rank() as isize;
        let at = if axis < 0 { axis + rank } else { axis };
        (0..rank).contains(&at).then_some(at as usize)
    }

    /// The shape that both broadcast to: sizes are aligned from the right, 1 stretches.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let at = |s: &Shape, i: usize| (i + s.rank()).checked_sub(rank).map_or(1, |j| s.0[j]);
        (0..rank)
            .map(|i| match (at(self, i), at(other, i)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect::<Option<SmallVec<_>>>()
            .map(Shape)
    }
}

impl std::ops::Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Shape {
        Shape(SmallVec::from_slice(sizes))
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Shape {
        Shape(SmallVec::from_vec(sizes))
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Shape {
        shape.clone()
    }
}

impl From<usize> for Shape {
    fn from(size: usize) -> Shape {
        Shape(smallvec::smallvec![size])
    }
}

impl From<()> for Shape {
    fn from(_: ()) -> Shape {
        Shape::scalar()
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Shape {
        Shape::from(&sizes[..])
    }
}

impl<const N: usize> From<&[usize; N]> for Shape {
    fn from(sizes: &[usize; N]) -> Shape {
        Shape::from(&sizes[..])
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(sizes: I) -> Shape {
        Shape(sizes.into_iter().collect())
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[")?;
        for (i, size) in self.0.iter().enumerate() {
            write!(f, "{}{size}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// What names axes of a tensor: one (`-1`), several (`[0, -1]`), or all (`..`).
pub trait Axes {
    /// The axes of `shape` that are named, in rising order; the offending number when one is out of
    /// range or named twice.
    fn resolve(&self, shape: &Shape) -> Result<SmallVec<[usize; 6]>, isize>;
}

impl Axes for &[isize] {
    fn resolve(&self, shape: &Shape) -> Result<SmallVec<[usize; 6]>, isize> {
        let mut axes: SmallVec<[usize; 6]> = SmallVec::new();
        for &axis in *self {
            // A scalar may be reduced over axis 0 or -1, as in torch.
            if shape.rank() == 0 && (axis == 0 || axis == -1) {
                continue;
            }
            let at = shape.axis(axis).ok_or(axis)?;
            if axes.contains(&at) {
                return Err(axis);
            }
            axes.push(at);
        }
        axes.sort_unstable();
        Ok(axes)
    }
}

impl Axes for isize {
    fn resolve(&self, shape: &Shape) -> Result<SmallVec<[usize; 6]>, isize> {
        [*self].as_slice().resolve(shape)
    }
}

impl<const N: usize> Axes for [isize; N] {
    fn resolve(&self, shape: &Shape) -> Result<SmallVec<[usize; 6]>, isize> {
        self.as_slice().resolve(shape)
    }
}

impl Axes for std::ops::RangeFull {
    fn resolve(&self, shape: &Shape) -> Result<SmallVec<[usize; 6]>, isize> {
        Ok((0..shape.rank()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_is_torchs() {
        let cases: &[(&[usize], &[usize], Option<&[usize]>)] = &[
            (&[2, 3], &[3], Some(&[2, 3])),
            (&[2, 1], &[3], Some(&[2, 3])),
            (&[], &[4], Some(&[4])),
            (&[0], &[1], Some(&[0])),
            (&[2], &[3], None),
            (&[0], &[2], None),
        ];
        for &(a, b, expected) in cases {
            assert_eq!(Shape::from(a).broadcast(&Shape::from(b)), expected.map(Shape::from), "{a:?} {b:?}");
            assert_eq!(Shape::from(b).broadcast(&Shape::from(a)), expected.map(Shape::from), "{b:?} {a:?}");
        }
    }

    #[test]
    fn axes_are_checked() {
        let shape = Shape::from([2, 3, 4]);
        assert_eq!([-1, 0].resolve(&shape).unwrap().as_slice(), &[0, 2]);
        assert_eq!([3].resolve(&shape), Err(3));
        assert_eq!([0, -3].resolve(&shape), Err(-3));
        assert_eq!((..).resolve(&shape).unwrap().len(), 3);
        assert!((-1).resolve(&Shape::scalar()).unwrap().is_empty());
    }
}
