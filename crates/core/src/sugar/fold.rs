//! Sliding blocks of images as columns, and back: torch's `nn.functional.unfold` and `fold`.

use crate::error::Result;
use crate::op::AxisList;
use crate::op::movement::{overlap_add, pad, permute, reshape, slice, window, windows};
use crate::op::source;
use crate::options;
use crate::shape::Shape;
use crate::sizes::Sizes;
use crate::sugar::windows::{along, batched, error, positive, with_batch, without_batch};
use crate::tensor::Tensor;

options! {
    /// How the blocks of [`Tensor::im2col`] and [`Tensor::fold`] move. Torch's names and defaults.
    #[derive(PartialEq, Eq)]
    FoldOptions {
        into {
            /// Steps between two elements of a block (default: 1).
            dilation: Sizes = 1,
            /// Zeros around the image (default: 0).
            padding: Sizes = 0,
            /// Steps between two blocks (default: 1).
            stride: Sizes = 1,
        }
    }
}

/// The blocks of an image of a size.
struct Blocks {
    size: [usize; 2],
    kernel: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 2],
    stride: [usize; 2],
    /// Numbers of blocks along the axes.
    counts: [usize; 2],
}

impl Blocks {
    fn of(name: &str, size: [usize; 2], kernel: &Sizes, o: &FoldOptions) -> Result<Blocks> {
        let pair = |sizes: crate::sugar::windows::PerAxis| [sizes[0], sizes[1]];
        let kernel = pair(positive(name, "kernel_size", kernel, 2)?);
        let dilation = pair(positive(name, "dilation", &o.dilation, 2)?);
        let padding = pair(along(name, "padding", &o.padding, 2)?);
        let stride = pair(positive(name, "stride", &o.stride, 2)?);
        let counts = [0, 1].map(|i| windows(size[i] + 2 * padding[i], kernel[i], stride[i], dilation[i]));
        if counts.contains(&0) {
            let what = format!("blocks of {kernel:?} with dilation {dilation:?} do not fit into {size:?}");
            return Err(error(name, format_args!("{what} with padding {padding:?}")));
        }
        Ok(Blocks { size, kernel, dilation, padding, stride, counts })
    }

    fn padded(&self, i: usize) -> usize {
        self.size[i] + 2 * self.padding[i]
    }
}

impl Tensor {
    fn im2col_blocks(&self, kernel: &Sizes, options: &FoldOptions) -> Result<(bool, Blocks)> {
        let name = "im2col";
        let batched = batched(name, self.shape(), 2)?;
        if !self.dtype().is_float() {
            return Err(error(name, format_args!("the input is {}, not a float", self.dtype())));
        }
        let rank = self.rank();
        let blocks = Blocks::of(name, [self.shape()[rank - 2], self.shape()[rank - 1]], kernel, options)?;
        Ok((batched, blocks))
    }

    /// The sliding blocks of an image as columns: x `[N, C, H, W]` or `[C, H, W]` → `[N, C·K·K, L]`, L the number of
    /// blocks, which are counted row by row. Torch's `nn.functional.unfold`; its method `unfold` of tensors is
    /// [`Tensor::unfold`].
    ///
    /// ```
    /// use limpid_core::{FoldOptions, Tensor};
    /// let x = Tensor::from([[[1.0f32, 2.0, 3.0]]]);
    /// assert_eq!(x.im2col([1, 2], &FoldOptions::new()).to_vec::<f32>()?, [1.0, 2.0, 2.0, 3.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn im2col(&self, kernel_size: impl Into<Sizes>, options: &FoldOptions) -> Tensor {
        let (batched, blocks) = match self.im2col_blocks(&kernel_size.into(), options) {
            Ok(found) => found,
            Err(error) => return self.unpooled(error),
        };
        let mut y = with_batch(self, batched);
        let (n, c) = (y.shape()[0], y.shape()[1]);
        let zero = source::constant(limpid_kernels::Number::Float(0.0), y.dtype());
        for i in 0..2 {
            y = pad(&y, i + 2, blocks.padding[i], 0, blocks.padded(i), &zero);
        }
        for i in 0..2 {
            y = window(&y, i + 2, blocks.kernel[i], blocks.stride[i], blocks.dilation[i]);
        }
        // [N, C, blocks…, taps…] → [N, C, taps…, blocks…]
        let order: AxisList = [0, 1, 4, 5, 2, 3].into_iter().collect();
        let (taps, count) = (blocks.kernel.iter().product::<usize>(), blocks.counts.iter().product());
        without_batch(reshape(&permute(&y, order), Shape::from([n, c * taps, count])), batched)
    }

    fn fold_blocks(&self, output_size: &Sizes, kernel: &Sizes, options: &FoldOptions) -> Result<Blocks> {
        let name = "fold";
        let x = self.shape();
        if x.rank() != 2 && x.rank() != 3 {
            let what = format!("the input {x} has {} axes, not 2 or 3", x.rank());
            return Err(error(name, what).help("[batch, channels·kernel, blocks] or [channels·kernel, blocks]"));
        }
        if !self.dtype().is_float() {
            return Err(error(name, format_args!("the input is {}, not a float", self.dtype())));
        }
        let size = positive(name, "output_size", output_size, 2)?;
        let blocks = Blocks::of(name, [size[0], size[1]], kernel, options)?;
        let (rows, count) = (x[x.rank() - 2], x[x.rank() - 1]);
        let (taps, counts) = (blocks.kernel.iter().product::<usize>(), blocks.counts.iter().product::<usize>());
        if rows == 0 || rows % taps != 0 {
            let what = format!("{rows} rows of the input {x} are not a multiple of the {taps} elements of a block");
            return Err(error(name, what));
        }
        if count != counts {
            let what = format!("the input {x} has {count} blocks, output_size {output_size} has {counts}");
            return Err(error(name, what));
        }
        Ok(blocks)
    }

    /// The sum of sliding blocks at their places in an image, the adjoint of [`Tensor::im2col`]: x `[N, C·K·K, L]` or
    /// `[C·K·K, L]` → `[N, C, H, W]`, H and W from `output_size`. Torch's `nn.functional.fold`.
    ///
    /// ```
    /// use limpid_core::{FoldOptions, Tensor};
    /// let x = Tensor::from([[1.0f32, 2.0], [2.0, 3.0]]);
    /// assert_eq!(x.fold([1, 3], [1, 2], &FoldOptions::new()).to_vec::<f32>()?, [1.0, 4.0, 3.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn fold(&self, output_size: impl Into<Sizes>, kernel_size: impl Into<Sizes>, options: &FoldOptions) -> Tensor {
        let blocks = match self.fold_blocks(&output_size.into(), &kernel_size.into(), options) {
            Ok(blocks) => blocks,
            Err(error) => return self.unpooled(error),
        };
        let batched = self.rank() == 3;
        let x = with_batch(self, batched);
        let taps: usize = blocks.kernel.iter().product();
        let (n, c) = (x.shape()[0], x.shape()[1] / taps);
        let split: Shape = [n, c].into_iter().chain(blocks.kernel).chain(blocks.counts).collect();
        // [N, C, taps…, blocks…] → [N, C, blocks…, taps…]
        let order: AxisList = [0, 1, 4, 5, 2, 3].into_iter().collect();
        let mut y = permute(&reshape(&x, split), order);
        for i in [1, 0] {
            y = overlap_add(&y, i + 2, blocks.padded(i), blocks.stride[i], blocks.dilation[i]);
        }
        for i in 0..2 {
            y = slice(&y, i + 2, blocks.padding[i] as i64, 1, blocks.size[i]);
        }
        without_batch(y, batched)
    }
}
