//! Signals, images and volumes at another resolution.
//!
//! Each axis is resampled by itself: an element of the result is a weighted sum of a few elements of the input, whose
//! places and weights depend on sizes and factors only.

use limpid_kernels::DType;
use smallvec::SmallVec;

use crate::compound::softmax::wide;
use crate::error::{Error, Result};
use crate::op::movement;
use crate::shape::Shape;
use crate::sizes::Sizes;
use crate::tensor::Tensor;

/// How [`Tensor::interpolate`] makes elements between elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterpolateMode {
    /// The element before: ⌊i·scale⌋.
    Nearest,
    /// The nearest element: ⌊(i + ½)·scale⌋.
    NearestExact,
    /// On the line between two neighbours, `[n, c, l]`.
    Linear,
    /// Linear along both axes of `[n, c, h, w]`.
    Bilinear,
    /// Linear along the three axes of `[n, c, d, h, w]`.
    Trilinear,
    /// On a cubic through four neighbours along both axes of `[n, c, h, w]` (Keys 1981).
    Bicubic,
    /// The mean over the area of an element: adaptive average pooling.
    Area,
}

impl InterpolateMode {
    /// Torch's word.
    pub fn name(self) -> &'static str {
        match self {
            InterpolateMode::Nearest => "nearest",
            InterpolateMode::NearestExact => "nearest-exact",
            InterpolateMode::Linear => "linear",
            InterpolateMode::Bilinear => "bilinear",
            InterpolateMode::Trilinear => "trilinear",
            InterpolateMode::Bicubic => "bicubic",
            InterpolateMode::Area => "area",
        }
    }

    /// The number of spatial axes, where the mode says it.
    fn axes(self) -> Option<usize> {
        match self {
            InterpolateMode::Linear => Some(1),
            InterpolateMode::Bilinear | InterpolateMode::Bicubic => Some(2),
            InterpolateMode::Trilinear => Some(3),
            _ => None,
        }
    }
}

/// One factor for each spatial axis; a single number stands for all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors(SmallVec<[f64; 3]>);

impl Factors {
    /// The factors along `axes` axes; `None` where there are several and not that many.
    pub fn along(&self, axes: usize) -> Option<SmallVec<[f64; 3]>> {
        match self.0.as_slice() {
            [one] => Some(SmallVec::from_elem(*one, axes)),
            factors => (factors.len() == axes).then(|| self.0.clone()),
        }
    }
}

impl From<f64> for Factors {
    fn from(factor: f64) -> Factors {
        Factors([factor][..].into())
    }
}

impl<const N: usize> From<[f64; N]> for Factors {
    fn from(factors: [f64; N]) -> Factors {
        Factors(factors[..].into())
    }
}

impl From<Vec<f64>> for Factors {
    fn from(factors: Vec<f64>) -> Factors {
        Factors(factors.into())
    }
}

/// As torch prints them: `2.0`, `(2.0, 3.0)`.
impl std::fmt::Display for Factors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one:?}"),
            factors => {
                let factors: Vec<String> = factors.iter().map(|factor| format!("{factor:?}")).collect();
                write!(f, "({})", factors.join(", "))
            }
        }
    }
}

/// The resolution that [`Tensor::interpolate`] makes, and how. Torch's names and defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct InterpolateOptions {
    target: Target,
    mode: InterpolateMode,
    align_corners: Option<bool>,
    recompute: bool,
    antialias: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Target {
    Size(Sizes),
    Scale(Factors),
}

impl InterpolateOptions {
    fn of(target: Target) -> InterpolateOptions {
        let mode = InterpolateMode::Nearest;
        InterpolateOptions { target, mode, align_corners: None, recompute: false, antialias: false }
    }

    /// A result of this size.
    pub fn size(size: impl Into<Sizes>) -> InterpolateOptions {
        InterpolateOptions::of(Target::Size(size.into()))
    }

    /// A result that is so many times as large, rounded down.
    pub fn scale_factor(factor: impl Into<Factors>) -> InterpolateOptions {
        InterpolateOptions::of(Target::Scale(factor.into()))
    }

    /// What stands between the elements (default: the nearest).
    pub fn mode(mut self, mode: InterpolateMode) -> InterpolateOptions {
        self.mode = mode;
        self
    }

    /// Whether the centres of the outermost elements stay where they are, instead of the outer edges (default: no). For the
    /// linear and cubic modes only.
    pub fn align_corners(mut self, align: bool) -> InterpolateOptions {
        self.align_corners = Some(align);
        self
    }

    /// Whether the distance between elements is the ratio of the sizes, instead of the factor asked for (default: no).
    pub fn recompute_scale_factor(mut self, recompute: bool) -> InterpolateOptions {
        self.recompute = recompute;
        self
    }

    /// Whether a smaller result is smoothed first (default: no): Pillow's filters. Bilinear and bicubic only.
    pub fn antialias(mut self, antialias: bool) -> InterpolateOptions {
        self.antialias = antialias;
        self
    }
}

/// As torch prints them: `scale_factor=2.0, mode='nearest'`.
impl std::fmt::Display for InterpolateOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.target {
            Target::Size(size) => write!(f, "size={size}")?,
            Target::Scale(factor) => write!(f, "scale_factor={factor}")?,
        }
        write!(f, ", mode='{}'", self.mode.name())
    }
}

/// No result is larger along an axis.
const LARGEST: f64 = i32::MAX as f64;

/// An axis of a result: its size, and the factor where it says the distance between elements.
struct Axis {
    from: usize,
    to: usize,
    factor: Option<f64>,
}

impl InterpolateOptions {
    /// The spatial axes of the result.
    fn along(&self, x: &Shape) -> Result<Vec<Axis>> {
        let error = |what: String, help: &str| Err(Error::new(format!("interpolate: {what}")).help(help));
        let (rank, mode) = (x.rank(), self.mode);
        let fits = (3..=5).contains(&rank) && mode.axes().is_none_or(|axes| axes + 2 == rank);
        if !fits {
            let help = match mode.axes() {
                Some(1) => "[batch, channels, length]",
                Some(2) => "[batch, channels, height, width]",
                Some(_) => "[batch, channels, depth, height, width]",
                None => "[batch, channels, and one to three axes]",
            };
            return error(format!("the input {x} has {rank} axes, mode {}", mode.name()), help);
        }
        let smooth = mode.axes().is_some();
        if self.align_corners.is_some() && !smooth {
            return error(format!("align_corners with mode {}", mode.name()), "a linear or cubic mode");
        }
        if self.antialias && !matches!(mode, InterpolateMode::Bilinear | InterpolateMode::Bicubic) {
            return error(format!("antialias with mode {}", mode.name()), "bilinear or bicubic");
        }
        let (axes, spatial) = (rank - 2, &x[2..]);
        let sizes: Vec<(f64, Option<f64>)> = match &self.target {
            Target::Size(_) if self.recompute => {
                return error("recompute_scale_factor with a size".to_owned(), "a scale_factor, or neither");
            }
            Target::Size(size) => match size.along(axes) {
                Some(sizes) => sizes.iter().map(|&size| (size as f64, None)).collect(),
                None => {
                    return error(
                        format!("size {size} for {x}"),
                        "one number, or one for each axis behind the channels",
                    );
                }
            },
            Target::Scale(factors) => match factors.along(axes) {
                Some(factors) => {
                    let kept = !self.recompute && mode != InterpolateMode::Area;
                    let pair = |(&n, &factor): (&usize, &f64)| ((n as f64 * factor).floor(), kept.then_some(factor));
                    spatial.iter().zip(&factors).map(pair).collect()
                }
                None => {
                    let help = "one number, or one for each axis behind the channels";
                    return error(format!("scale_factor {factors} for {x}"), help);
                }
            },
        };
        let fits = |to: f64| (1.0..=LARGEST).contains(&to);
        if x[1..].contains(&0) || sizes.iter().any(|&(to, _)| !fits(to)) {
            let to: Vec<f64> = sizes.iter().map(|&(to, _)| to).collect();
            return error(format!("{x} to {to:?}"), "sizes above 0; only the batch may be empty");
        }
        Ok(sizes.iter().zip(spatial).map(|(&(to, factor), &from)| Axis { from, to: to as usize, factor }).collect())
    }
}

/// The elements of an axis that make those of the result: `count` places and weights for each of them.
struct Taps {
    count: usize,
    places: Vec<usize>,
    weights: Vec<f64>,
}

impl Axis {
    /// The distance between two elements of the result in those of the input. Torch computes it, and places, in the type
    /// of the values.
    fn scale(&self, align: bool) -> f64 {
        match self.factor {
            _ if align && self.to > 1 => (self.from - 1) as f64 / (self.to - 1) as f64,
            _ if align => 0.0,
            Some(factor) if factor > 0.0 => 1.0 / factor,
            _ => self.from as f64 / self.to as f64,
        }
    }

    /// As torch's forward pass. Its backward pass takes other places where a factor keeps or doubles the size without being
    /// 1 or 2; the gradient here is that of the result.
    fn nearest(&self, exact: bool, round: fn(f64) -> f64) -> Vec<usize> {
        let (scale, shift) = (round(self.scale(false)), if exact { 0.5 } else { 0.0 });
        let place = |i: usize| round((i as f64 + shift) * scale).floor() as usize;
        (0..self.to).map(|i| place(i).min(self.from - 1)).collect()
    }

    fn linear(&self, align: bool, round: fn(f64) -> f64) -> Taps {
        let (scale, last) = (round(self.scale(align)), self.from - 1);
        let mut taps = Taps { count: 2, places: Vec::new(), weights: Vec::new() };
        for i in 0..self.to {
            let i = i as f64;
            let at = if align { round(scale * i) } else { round(round(scale * (i + 0.5)) - 0.5).max(0.0) };
            let at = if self.from == self.to { i } else { at };
            let first = (at.floor() as usize).min(last);
            let part = (at - first as f64).clamp(0.0, 1.0);
            taps.places.extend([first, (first + 1).min(last)]);
            taps.weights.extend([1.0 - part, part]);
        }
        taps
    }

    fn cubic(&self, align: bool, round: fn(f64) -> f64) -> Taps {
        let (scale, last) = (round(self.scale(align)), self.from as i64 - 1);
        let mut taps = Taps { count: 4, places: Vec::new(), weights: Vec::new() };
        for i in 0..self.to {
            let i = i as f64;
            let at = if align { round(scale * i) } else { round(round(scale * (i + 0.5)) - 0.5) };
            let first = at.floor();
            taps.places.extend((-1..3).map(|k| (first as i64 + k).clamp(0, last) as usize));
            taps.weights.extend((-1..3).map(|k| cubic((at - first - k as f64).abs(), -0.75)));
        }
        taps
    }

    /// The weights of each element of the result, dense: a triangle or a cubic as wide as the distance between elements,
    /// as Pillow does it.
    fn smoothed(&self, mode: InterpolateMode, align: bool) -> Vec<f64> {
        let scale = self.scale(align);
        let (radius, widen) = (if mode == InterpolateMode::Bicubic { 2.0 } else { 1.0 }, scale.max(1.0));
        let support = radius * widen;
        let mut dense = vec![0.0; self.from * self.to];
        for i in 0..self.to {
            let centre = scale * (i as f64 + 0.5);
            let low = (centre - support + 0.5).max(0.0) as usize;
            let high = ((centre + support + 0.5) as usize).min(self.from);
            let filter = |j: usize| {
                let d = ((j as f64 - centre + 0.5) / widen).abs();
                if mode == InterpolateMode::Bicubic { cubic(d, -0.5) } else { (1.0 - d).max(0.0) }
            };
            let sum: f64 = (low..high).map(filter).sum();
            for j in low..high {
                dense[j * self.to + i] = if sum == 0.0 { filter(j) } else { filter(j) / sum };
            }
        }
        dense
    }
}

/// Keys' kernel at distance `d` ≥ 0, with slope `a` at 1.
pub(crate) fn cubic(d: f64, a: f64) -> f64 {
    match d {
        d if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
        d if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
        _ => 0.0,
    }
}

/// Places are computed in f32 for all types but f64, as torch does.
fn rounding(dtype: DType) -> fn(f64) -> f64 {
    if dtype == DType::F64 { |x| x } else { |x| f64::from(x as f32) }
}

impl Tensor {
    /// The input `[n, c, …]` at another resolution of its one to three last axes: torch's `interpolate`, which its
    /// `upsample`, `upsample_nearest` and `upsample_bilinear` are older names of.
    ///
    /// ```
    /// use limpid_core::{InterpolateMode, InterpolateOptions, Tensor};
    /// let x = Tensor::from([[[1.0f32, 3.0]]]);
    /// assert_eq!(x.interpolate(&InterpolateOptions::scale_factor(2.0)).to_vec::<f32>()?, [1.0, 1.0, 3.0, 3.0]);
    /// let linear = InterpolateOptions::size(3).mode(InterpolateMode::Linear).align_corners(true);
    /// assert_eq!(x.interpolate(&linear).to_vec::<f32>()?, [1.0, 2.0, 3.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: a number of axes that the mode has not, sizes of 0, options that do not go together.
    #[track_caller]
    pub fn interpolate(&self, options: &InterpolateOptions) -> Tensor {
        let axes = match options.along(self.shape()) {
            Ok(axes) => axes,
            Err(error) => return Tensor::fail(error, &[self], self.shape().clone(), self.dtype()),
        };
        if options.mode == InterpolateMode::Area {
            let (x, sizes) = (self.to_float(), axes.iter().map(|axis| Some(axis.to)).collect::<Vec<_>>());
            return match axes.len() {
                1 => x.adaptive_avg_pool1d(sizes),
                2 => x.adaptive_avg_pool2d(sizes),
                _ => x.adaptive_avg_pool3d(sizes),
            };
        }
        let exact = options.mode == InterpolateMode::NearestExact;
        if exact || options.mode == InterpolateMode::Nearest {
            let mut y = self.clone();
            for (i, axis) in axes.iter().enumerate().rev() {
                y = y.repeated(i + 2, &axis.nearest(exact, rounding(self.dtype())));
            }
            return y;
        }
        let x = self.to_float();
        let (align, mut y) = (options.align_corners.unwrap_or(false), wide(&x));
        for (i, axis) in axes.iter().enumerate().rev() {
            let round = rounding(y.dtype());
            y = match options.mode {
                // As torch: what keeps its size is not smoothed, whatever the factor.
                _ if options.antialias && axis.from == axis.to => y,
                mode if options.antialias => y.combined(i + 2, axis, &axis.smoothed(mode, align)),
                InterpolateMode::Bicubic => y.tapped(i + 2, &axis.cubic(align, round)),
                _ => y.tapped(i + 2, &axis.linear(align, round)),
            };
        }
        y.to_dtype(x.dtype())
    }

    /// The slices at `places` along `axis`.
    #[track_caller]
    fn repeated(&self, axis: usize, places: &[usize]) -> Tensor {
        let size = self.shape()[axis];
        let times = places.len() / size;
        if places.len() == size * times && places.iter().enumerate().all(|(i, &place)| place == i / times) {
            // Each element several times: no index is needed.
            let wide = movement::broadcast(&self.unsqueeze(axis as isize + 1), &self.shape().inserted(axis + 1, times));
            return movement::reshape(&wide, self.shape().with(axis, places.len()));
        }
        self.index_select(axis as isize, &indices(places.iter().copied()))
    }

    /// Σ over taps of the slices at their places times their weights.
    #[track_caller]
    fn tapped(&self, axis: usize, taps: &Taps) -> Tensor {
        let mut sum: Option<Tensor> = None;
        for k in 0..taps.count {
            let places = indices(taps.places.iter().skip(k).step_by(taps.count).copied());
            let weights: Vec<f64> = taps.weights.iter().skip(k).step_by(taps.count).copied().collect();
            let mut thin: Shape = std::iter::repeat_n(1, self.rank()).collect();
            thin = thin.with(axis, weights.len());
            let term =
                self.index_select(axis as isize, &places) * Tensor::from_vec(weights, thin).to_dtype(self.dtype());
            sum = Some(match sum {
                Some(sum) => sum + term,
                None => term,
            });
        }
        sum.unwrap_or_else(|| self.clone())
    }

    /// The product along `axis` with `weights`, `[from, to]`.
    #[track_caller]
    fn combined(&self, axis: usize, along: &Axis, weights: &[f64]) -> Tensor {
        let weights = Tensor::from_slice(weights, [along.from, along.to]).to_dtype(self.dtype());
        self.transpose(axis as isize, -1).matmul(&weights).transpose(axis as isize, -1)
    }
}

fn indices(places: impl Iterator<Item = usize>) -> Tensor {
    Tensor::from(places.map(|place| place as i64).collect::<Vec<_>>())
}
