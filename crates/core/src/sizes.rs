//! Sizes along the spatial axes of a convolution or a pooling.

use smallvec::SmallVec;

/// One size for each spatial axis; a single number stands for all of them, as in torch.
///
/// ```
/// use limpid_core::Sizes;
/// assert_eq!(Sizes::from(3).along(2), Some([3, 3][..].into()));
/// assert_eq!(Sizes::from([3, 5]).along(2), Some([3, 5][..].into()));
/// assert_eq!(Sizes::from([3, 5]).along(3), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sizes(SmallVec<[usize; 3]>);

impl Sizes {
    /// The sizes along `axes` axes; `None` where there are several and not that many.
    pub fn along(&self, axes: usize) -> Option<SmallVec<[usize; 3]>> {
        match self.0.as_slice() {
            [one] => Some(SmallVec::from_elem(*one, axes)),
            sizes => (sizes.len() == axes).then(|| self.0.clone()),
        }
    }
}

/// As torch prints them: `3`, `(3, 5)`.
impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            sizes => {
                let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
                write!(f, "({})", sizes.join(", "))
            }
        }
    }
}

impl From<usize> for Sizes {
    fn from(size: usize) -> Sizes {
        Sizes([size][..].into())
    }
}

impl From<&[usize]> for Sizes {
    fn from(sizes: &[usize]) -> Sizes {
        Sizes(sizes.into())
    }
}

impl From<Vec<usize>> for Sizes {
    fn from(sizes: Vec<usize>) -> Sizes {
        Sizes(sizes.into())
    }
}

impl<const N: usize> From<[usize; N]> for Sizes {
    fn from(sizes: [usize; N]) -> Sizes {
        Sizes(sizes[..].into())
    }
}

/// The sizes of an adaptive pooling's result; where there is none (torch's `None`), the input's size stays.
///
/// ```
/// use limpid_core::OutputSizes;
/// assert_eq!(OutputSizes::from([Some(3), None]).to_string(), "(3, None)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutputSizes(SmallVec<[Option<usize>; 3]>);

impl OutputSizes {
    /// The sizes along the axes of `input`; `None` where there are several and not that many.
    pub fn along(&self, input: &[usize]) -> Option<SmallVec<[usize; 3]>> {
        match self.0.as_slice() {
            [one] => Some(input.iter().map(|&size| one.unwrap_or(size)).collect()),
            sizes if sizes.len() != input.len() => None,
            sizes => Some(sizes.iter().zip(input).map(|(one, &size)| one.unwrap_or(size)).collect()),
        }
    }
}

/// As torch prints them: `3`, `(3, None)`.
impl std::fmt::Display for OutputSizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |size: &Option<usize>| size.map_or_else(|| "None".to_owned(), |size| size.to_string());
        match self.0.as_slice() {
            [one] => f.write_str(&word(one)),
            sizes => write!(f, "({})", sizes.iter().map(word).collect::<Vec<_>>().join(", ")),
        }
    }
}

impl From<usize> for OutputSizes {
    fn from(size: usize) -> OutputSizes {
        OutputSizes([Some(size)][..].into())
    }
}

impl From<Option<usize>> for OutputSizes {
    fn from(size: Option<usize>) -> OutputSizes {
        OutputSizes([size][..].into())
    }
}

impl From<Vec<Option<usize>>> for OutputSizes {
    fn from(sizes: Vec<Option<usize>>) -> OutputSizes {
        OutputSizes(sizes.into())
    }
}

impl<const N: usize> From<[Option<usize>; N]> for OutputSizes {
    fn from(sizes: [Option<usize>; N]) -> OutputSizes {
        OutputSizes(sizes[..].into())
    }
}

impl<const N: usize> From<[usize; N]> for OutputSizes {
    fn from(sizes: [usize; N]) -> OutputSizes {
        OutputSizes(sizes.into_iter().map(Some).collect())
    }
}
