//! Elements around images.

use limpid_core::{Error, PadMode, Tensor};

use crate::Module;
use crate::module::Forward;
use crate::nn::{exponent, failed, of_dimensions};
use crate::site::{Scope, Site};

/// How many elements stand around: one number for all sides, or one before and one behind the last axis, then before and
/// behind the one before it, and so on. Negative numbers cut elements off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadSizes(Vec<isize>);

impl From<isize> for PadSizes {
    fn from(all: isize) -> PadSizes {
        PadSizes(vec![all])
    }
}

impl<const M: usize> From<[isize; M]> for PadSizes {
    fn from(sides: [isize; M]) -> PadSizes {
        PadSizes(sides.to_vec())
    }
}

impl From<Vec<isize>> for PadSizes {
    fn from(sides: Vec<isize>) -> PadSizes {
        PadSizes(sides)
    }
}

impl PadSizes {
    /// The numbers around `axes` axes.
    fn sides(&self, axes: usize) -> Vec<isize> {
        match self.0.as_slice() {
            [all] => vec![*all; 2 * axes],
            sides => sides.to_vec(),
        }
    }

    /// As torch prints them.
    fn print(&self, axes: usize) -> String {
        let sides: Vec<String> = self.sides(axes).iter().map(isize::to_string).collect();
        format!("({})", sides.join(", "))
    }
}

/// Layers over one, two and three axes.
macro_rules! pads {
    ($($(#[$doc:meta])* $name:ident, $mode:expr, $one:ident $two:ident $three:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Module)]
        #[module(kind = name, extra_repr = arguments)]
        pub struct $name<const N: usize> {
            #[module(skip)]
            padding: PadSizes,
            #[module(site)]
            site: Site,
        }

        /// PadSizes one axis.
        pub type $one = $name<1>;
        /// PadSizes two axes.
        pub type $two = $name<2>;
        /// PadSizes three axes.
        pub type $three = $name<3>;

        impl<const N: usize> $name<N> {
            /// `padding`: one number for all sides, or one for each: before and behind the last axis, then the one before.
            #[track_caller]
            pub fn new(padding: impl Into<PadSizes>) -> $name<N> {
                $name { padding: padding.into(), site: Site::here() }
            }

            fn name(&self) -> &'static str {
                of_dimensions(N, [stringify!($one), stringify!($two), stringify!($three)])
            }

            fn arguments(&self) -> String {
                self.padding.print(N)
            }
        }

        impl<const N: usize> Forward for $name<N> {
            #[track_caller]
            fn forward(&self, x: &Tensor) -> Tensor {
                let scope = Scope::enter(self);
                scope.output(around(self.name(), N, &self.padding, x, $mode))
            }
        }
    )*};
}

pads! {
    /// The input again around itself, as on a ring: b c | a b c | a b.
    CircularPad, PadMode::Circular, CircularPad1d CircularPad2d CircularPad3d;
    /// The input mirrored at its first and last elements: c b | a b c | b a.
    ///
    /// ```
    /// use limpid::prelude::*;
    /// let y = ReflectionPad1d::new([2, 1]).forward(&Tensor::from([[1.0f32, 2.0, 3.0]]));
    /// assert_eq!(y.to_vec::<f32>()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// # Ok::<(), limpid::Error>(())
    /// ```
    ReflectionPad, PadMode::Reflect, ReflectionPad1d ReflectionPad2d ReflectionPad3d;
    /// The first and last elements again: a a | a b c | c c.
    ReplicationPad, PadMode::Replicate, ReplicationPad1d ReplicationPad2d ReplicationPad3d;
    /// Zeros around the input.
    ZeroPad, PadMode::Constant(0.0), ZeroPad1d ZeroPad2d ZeroPad3d;
}

/// A number around the input.
#[derive(Clone, Debug, Module)]
#[module(kind = name, extra_repr = arguments)]
pub struct ConstantPad<const N: usize> {
    #[module(skip)]
    padding: PadSizes,
    value: f64,
    #[module(site)]
    site: Site,
}

/// PadSizes one axis.
pub type ConstantPad1d = ConstantPad<1>;
/// PadSizes two axes.
pub type ConstantPad2d = ConstantPad<2>;
/// PadSizes three axes.
pub type ConstantPad3d = ConstantPad<3>;

impl<const N: usize> ConstantPad<N> {
    /// `padding`: one number for all sides, or one for each: before and behind the last axis, then the one before.
    #[track_caller]
    pub fn new(padding: impl Into<PadSizes>, value: f64) -> ConstantPad<N> {
        ConstantPad { padding: padding.into(), value, site: Site::here() }
    }

    fn name(&self) -> &'static str {
        of_dimensions(N, ["ConstantPad1d", "ConstantPad2d", "ConstantPad3d"])
    }

    fn arguments(&self) -> String {
        format!("padding={}, value={}", self.padding.print(N), exponent(self.value))
    }
}

impl<const N: usize> Forward for ConstantPad<N> {
    #[track_caller]
    fn forward(&self, x: &Tensor) -> Tensor {
        let scope = Scope::enter(self);
        scope.output(around(self.name(), N, &self.padding, x, PadMode::Constant(self.value)))
    }
}

/// `x` with `padding` around its last `n` axes.
#[track_caller]
fn around(name: &str, n: usize, padding: &PadSizes, x: &Tensor, mode: PadMode) -> Tensor {
    let sides = padding.sides(n);
    let problem = if sides.len() != 2 * n {
        Some(format!("{name}: {} numbers of padding", sides.len())).zip(Some(format!("one number, or {}", 2 * n)))
    } else if x.rank() < n {
        Some(format!("{name}: the input {} has {} axes", x.shape(), x.rank())).zip(Some(format!("{n} or more")))
    } else {
        None
    };
    match problem {
        Some((what, help)) => failed(Error::new(what).help(help), x, x.shape()),
        None => x.pad_with(&sides, mode),
    }
}
