//! Sampling images and volumes at places that are themselves data (Jaderberg et al. 2015).

use limpid_kernels::DType;

use crate::compound::softmax::wide;
use crate::error::{Error, Result};
use crate::op::{index, movement};
use crate::options;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// How [`Tensor::grid_sample`] makes a value between elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GridMode {
    /// Linear along each axis.
    #[default]
    Bilinear,
    /// The nearest element.
    Nearest,
    /// On cubics through four neighbours along each axis (Keys 1981).
    Bicubic,
}

/// What [`Tensor::grid_sample`] finds outside of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GridPadding {
    /// Zeros.
    #[default]
    Zeros,
    /// The element at the border.
    Border,
    /// The input mirrored at its borders, as often as needed.
    Reflection,
}

options! {
    /// How [`Tensor::grid_sample`] samples. Torch's names and defaults.
    #[derive(Copy, PartialEq, Eq)]
    GridOptions {
        values {
            /// How values between elements are made (default: bilinear).
            mode: GridMode = GridMode::Bilinear,
            /// What is found outside (default: zeros).
            padding_mode: GridPadding = GridPadding::Zeros,
            /// Whether −1 and 1 are the centres of the outermost elements, instead of the outer edges (default: no).
            align_corners: bool = false,
        }
    }
}

impl GridOptions {
    /// Where grid coordinates, from −1 to 1, are in elements of an axis of `size`.
    #[track_caller]
    fn place(self, grid: &Tensor, size: usize) -> Tensor {
        let n = size as f64;
        if self.align_corners {
            (grid + grid.constant_like(1.0)) * grid.constant_like(0.5 * (n - 1.0))
        } else {
            ((grid + grid.constant_like(1.0)) * grid.constant_like(n) - grid.constant_like(1.0))
                * grid.constant_like(0.5)
        }
    }

    /// Places outside moved to what is found there; what is no number is at 0, unless zeros are outside.
    #[track_caller]
    fn inside(self, at: &Tensor, size: usize) -> Tensor {
        let last = size as f64 - 1.0;
        let at = match self.padding_mode {
            GridPadding::Zeros => return at.clone(),
            // No gradient passes at the border.
            GridPadding::Border => at.hardtanh(0.0, last),
            GridPadding::Reflection if self.align_corners => mirrored(at, 0.0, last).hardtanh(0.0, last),
            GridPadding::Reflection => mirrored(at, -0.5, last + 1.0).hardtanh(0.0, last),
        };
        at.masked_fill(&at.isnan(), 0.0)
    }
}

/// `at` mirrored at `low` and `low + span` until it is between.
#[track_caller]
fn mirrored(at: &Tensor, low: f64, span: f64) -> Tensor {
    if span == 0.0 {
        return at.zeros_like();
    }
    let (low, span) = (at.constant_like(low), at.constant_like(span));
    let off = at - &low;
    let off = off.where_(&off.ge(off.zeros_like()), -&off);
    let (rest, turns) = (off.fmod(&span), (&off / &span).floor());
    let even = (&turns % at.constant_like(2.0)).eq(at.zeros_like());
    rest.where_(&even, span - &rest) + low
}

/// An input `[n, c, …]` of which all samples are taken.
struct Sampled {
    /// `[n, c, elements]`
    flat: Tensor,
    /// The spatial sizes, outermost first.
    sizes: Vec<usize>,
}

impl Sampled {
    /// The elements at whole `places`, one tensor `[n, samples]` for each spatial axis; 0 where one is outside.
    #[track_caller]
    fn at(&self, places: &[Tensor]) -> Tensor {
        let [n, c, _] = self.flat.dims();
        let mut flat: Option<Tensor> = None;
        let mut valid: Option<Tensor> = None;
        for (place, &size) in places.iter().zip(&self.sizes) {
            let place = place.detach();
            let within = place.ge(0.0).logical_and(&place.lt(size as f64));
            let place = place.masked_fill(&within.logical_not(), 0.0).to_dtype(DType::I64);
            flat = Some(match flat {
                Some(flat) => flat * (size as i64) + place,
                None => place,
            });
            valid = Some(match valid {
                Some(valid) => valid.logical_and(&within),
                None => within,
            });
        }
        let (Some(flat), Some(valid)) = (flat, valid) else { return self.flat.clone() };
        let shape = Shape::from([n, c, flat.shape()[1]]);
        let values = index::gather(&self.flat, 2, &movement::broadcast(&flat.unsqueeze(1), &shape));
        values.masked_fill(&valid.logical_not().unsqueeze(1), 0.0)
    }
}

impl Tensor {
    /// The values of self, `[n, c, h, w]` or `[n, c, d, h, w]`, at the places that `grid` says: `[n, h', w', 2]` holds (x, y),
    /// `[n, d', h', w', 3]` holds (x, y, z), each from −1 to 1 within the input: `[n, c, h', w']`. Gradients pass to both.
    /// Torch's `grid_sample`.
    ///
    /// ```
    /// use limpid_core::{GridOptions, Tensor};
    /// let x = Tensor::from([[[[1.0f32, 2.0], [3.0, 4.0]]]]);
    /// let grid = Tensor::from([[[[0.0f32, 0.0], [1.0, 1.0]]]]);
    /// let y = x.grid_sample(&grid, &GridOptions::new().align_corners(true));
    /// assert_eq!(y.to_vec::<f32>()?, [2.5, 4.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: other numbers of axes, batches or types that differ, an input without elements.
    #[track_caller]
    pub fn grid_sample(&self, grid: &Tensor, options: &GridOptions) -> Tensor {
        let spatial = self.rank().saturating_sub(2);
        if let Err(error) = self.check_grid(grid) {
            let shape = if grid.rank() == self.rank() && spatial > 0 {
                self.shape()[..2].iter().chain(&grid.shape()[1..=spatial]).copied().collect()
            } else {
                self.shape().clone()
            };
            return Tensor::fail(error, &[self, grid], shape, self.dtype());
        }
        let (n, c, sizes) = (self.shape()[0], self.shape()[1], self.shape()[2..].to_vec());
        let samples: usize = grid.shape()[1..=spatial].iter().product();
        let out: Shape = [n, c].iter().chain(&grid.shape()[1..=spatial]).copied().collect();
        let (x, points) = (wide(self), movement::reshape(&wide(grid), Shape::from([n, samples, spatial])));
        let flat = movement::reshape(&x, Shape::from([n, c, sizes.iter().product()]));
        // The grid names the last axis first.
        let mut places = Vec::new();
        for (axis, &size) in sizes.iter().enumerate() {
            places.push(options.place(&points.select(-1, (spatial - 1 - axis) as isize), size));
        }
        let input = Sampled { flat, sizes };
        let y = match options.mode {
            GridMode::Nearest => {
                for (place, &size) in places.iter_mut().zip(&input.sizes) {
                    *place = options.inside(place, size).round();
                }
                input.at(&places)
            }
            GridMode::Bilinear => input.linear(&places, options),
            GridMode::Bicubic => input.cubic(&places, options),
        };
        movement::reshape(&y, out).to_dtype(self.dtype())
    }

    fn check_grid(&self, grid: &Tensor) -> Result<()> {
        let error = |what: String, help: &str| Err(Error::new(format!("grid_sample: {what}")).help(help));
        let (x, g) = (self.shape(), grid.shape());
        if !matches!(x.rank(), 4 | 5) {
            let help = "[batch, channels, height, width] or [batch, channels, depth, height, width]";
            return error(format!("the input {x} has {} axes", x.rank()), help);
        }
        if g.rank() != x.rank() || g[0] != x[0] || g[g.rank() - 1] != x.rank() - 2 {
            let help = "the input's batch, the result's sizes, and a coordinate for each axis, the last axis first";
            return error(format!("the grid {g} for the input {x}"), help);
        }
        if self.dtype() != grid.dtype() || !self.dtype().is_float() {
            let what = format!("the input is {}, the grid {}", self.dtype(), grid.dtype());
            return error(what, "one float type: to_dtype");
        }
        if x[2..].contains(&0) {
            return error(format!("the input {x} has no elements"), "sizes above 0 behind the channels");
        }
        Ok(())
    }

    /// The grid of [`Tensor::grid_sample`] that moves each place by an affine map: theta `[n, 2, 3]` and a `size` of
    /// `[n, c, h, w]` give `[n, h, w, 2]`, theta `[n, 3, 4]` and `[n, c, d, h, w]` give `[n, d, h, w, 3]`. Torch's
    /// `affine_grid`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let turn = Tensor::from([[[0.0f32, 1.0, 0.0], [1.0, 0.0, 0.0]]]);
    /// let grid = turn.affine_grid(&[1, 1, 1, 2], false);
    /// assert_eq!(grid.to_vec::<f32>()?, [0.0, -0.5, 0.0, 0.5]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read: a theta that is no float or of another shape, a size with a 0.
    #[track_caller]
    pub fn affine_grid(&self, size: &[usize], align_corners: bool) -> Tensor {
        let spatial = size.len().saturating_sub(2);
        let expected = [size.first().copied().unwrap_or(0), spatial, spatial + 1];
        let out: Shape = size.iter().take(1).chain(size.iter().skip(2)).copied().chain([spatial]).collect();
        let fail = |what: String, help: String| Error::new(format!("affine_grid: {what}")).help(help);
        let error = if !matches!(spatial, 2 | 3) {
            fail(format!("a size of {} axes", size.len()), "[n, c, h, w] or [n, c, d, h, w]".to_owned())
        } else if !self.dtype().is_float() {
            fail(format!("theta is {}", self.dtype()), "a float type".to_owned())
        } else if self.shape()[..] != expected {
            fail(format!("theta {} for size {size:?}", self.shape()), format!("theta of shape {expected:?}"))
        } else if size.contains(&0) || !Shape::from(size).addressable() || !out.addressable() {
            fail(format!("size {size:?}"), "sizes above 0 that memory can hold".to_owned())
        } else {
            let base = base_grid(&size[2..], align_corners).to_dtype(self.dtype());
            let shape: Shape = [size[0]].iter().chain(base.shape().iter()).copied().collect();
            return movement::reshape(&movement::broadcast(&base, &shape).matmul(&self.transpose(1, 2)), out);
        };
        Tensor::fail(error, &[self], out, self.dtype())
    }
}

/// (x, y, 1) or (x, y, z, 1) of each element, from −1 to 1: f64 `[elements, axes + 1]`.
#[track_caller]
fn base_grid(sizes: &[usize], align_corners: bool) -> Tensor {
    let line = |i: usize, n: usize| match (n, align_corners) {
        (1, _) => 0.0,
        (_, true) => 2.0 * i as f64 / (n - 1) as f64 - 1.0,
        (_, false) => (2.0 * i as f64 + 1.0) / n as f64 - 1.0,
    };
    let elements: usize = sizes.iter().product();
    let mut rows = Vec::with_capacity(elements * (sizes.len() + 1));
    for element in 0..elements {
        let mut rest = element;
        for &n in sizes.iter().rev() {
            rows.push(line(rest % n, n));
            rest /= n;
        }
        rows.push(1.0);
    }
    Tensor::from_vec(rows, [elements, sizes.len() + 1])
}

/// Whole places along an axis, and the weight of the elements there.
type Side = (Tensor, Tensor);

impl Sampled {
    /// Σ over the elements around each place, 2 or 4 along each axis, of element · Π weights.
    #[track_caller]
    fn around(&self, sides: &[Vec<Side>]) -> Tensor {
        let mut sum: Option<Tensor> = None;
        for mut corner in 0..sides.iter().map(Vec::len).product() {
            let mut weight: Option<Tensor> = None;
            let mut at = Vec::new();
            for side in sides {
                let (place, part) = &side[corner % side.len()];
                corner /= side.len();
                at.push(place.clone());
                weight = Some(match weight {
                    Some(weight) => weight * part,
                    None => part.clone(),
                });
            }
            let values = self.at(&at);
            // The weights `[n, samples]` are the same for all channels.
            let term = match weight {
                Some(weight) => values * weight.unsqueeze(1),
                None => values,
            };
            sum = Some(match sum {
                Some(sum) => sum + term,
                None => term,
            });
        }
        sum.unwrap_or_else(|| self.flat.clone())
    }

    /// Linear along each axis.
    #[track_caller]
    fn linear(&self, places: &[Tensor], options: &GridOptions) -> Tensor {
        let mut sides = Vec::new();
        for (place, &size) in places.iter().zip(&self.sizes) {
            let at = options.inside(place, size);
            let low = at.floor().detach();
            let (part, one) = (&at - &low, at.constant_like(1.0));
            sides.push(vec![(low.clone(), &one - &part), (low + one, part)]);
        }
        self.around(&sides)
    }

    /// Keys' kernel along each axis. Each element is looked for outside by itself.
    #[track_caller]
    fn cubic(&self, places: &[Tensor], options: &GridOptions) -> Tensor {
        let mut sides = Vec::new();
        for (place, &size) in places.iter().zip(&self.sizes) {
            let low = place.floor().detach();
            let part = place - &low;
            let mut four = Vec::new();
            for k in -1..3 {
                let at = options.inside(&(&low + low.constant_like(f64::from(k))), size).detach();
                four.push((at, keys(&part, k)));
            }
            sides.push(four);
        }
        self.around(&sides)
    }
}

/// Keys' kernel with slope −3/4 at the distance of `part` (0 … 1) from element `k` (−1 … 2).
#[track_caller]
fn keys(part: &Tensor, k: i32) -> Tensor {
    let c = |v: f64| part.constant_like(v);
    let a = -0.75;
    let d = if k <= 0 { part - c(f64::from(k)) } else { c(f64::from(k)) - part };
    if k == 0 || k == 1 {
        ((&d * c(a + 2.0) - c(a + 3.0)) * &d) * &d + c(1.0)
    } else {
        ((&d * c(a) - c(5.0 * a)) * &d + c(8.0 * a)) * &d - c(4.0 * a)
    }
}
