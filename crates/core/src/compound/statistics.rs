//! What a tensor's values are like, without the values.

use limpid_kernels::DType;
use limpid_kernels::statistics::{FIELDS, statistics};
use smallvec::smallvec;

use crate::compound::{Compound, Fault, Io, call_one};
use crate::error::Result;
use crate::op::{Backward, Grads, Saves};
use crate::region::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// [finite, others, zeros, mean, deviation, minimum, maximum, bins…] of one float tensor, in f64.
#[derive(Debug)]
struct Statistics {
    bins: usize,
}

impl Compound for Statistics {
    fn name(&self) -> &'static str {
        "statistics"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(self.bins as u64);
    }

    fn metas(&self, _inputs: &[Meta]) -> Vec<Meta> {
        vec![(Shape::from([FIELDS + self.bins]), DType::F64)]
    }

    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = inputs[0].to_dtype(DType::F64).flatten(0);
        let number = |value: f64| Tensor::full_of([1], value, DType::F64);
        let count = |which: &Tensor| which.to_dtype(DType::F64).sum_keepdim(0);
        if x.numel() == 0 {
            let fields = [0.0, 0.0, 0.0, f64::NAN, f64::NAN, f64::NAN, f64::NAN].map(number);
            let bins = Tensor::zeros_of([self.bins], DType::F64);
            return vec![Tensor::cat(&fields.iter().chain([&bins]).collect::<Vec<_>>(), 0)];
        }
        let ok = x.isfinite();
        let (n, others, zeros) = (count(&ok), count(&ok.logical_not()), count(&x.eq(0.0)));
        let none = n.eq(0.0);
        let extreme = |y: Tensor| number(f64::NAN).where_(&none, y);
        let mean = x.where_(&ok, 0.0).sum_keepdim(0) / &n;
        let squares = (&x - &mean).where_(&ok, 0.0).square().sum_keepdim(0);
        let deviation = number(f64::NAN).where_(&n.lt(2.0), (squares / (&n - 1.0)).sqrt());
        let min = extreme(x.where_(&ok, f64::INFINITY).amin_keepdim(0));
        let max = extreme(x.where_(&ok, f64::NEG_INFINITY).amax_keepdim(0));
        let mut fields = vec![n, others, zeros, mean, deviation, min.clone(), max.clone()];
        if self.bins > 0 {
            // The bins are those of the type of the values, as torch's histc has them.
            let dtype = if inputs[0].dtype() == DType::F64 { DType::F64 } else { DType::F32 };
            let [x, min, max] = [&x, &min, &max].map(|t| t.to_dtype(dtype));
            let scale = ((max - &min) / self.bins as f64).reciprocal();
            let regular = scale.gt(0.0).logical_and(&scale.isfinite());
            let (min, scale) = (min.where_(&regular, 0.0), scale.where_(&regular, 0.0));
            let at = ((x - min) * scale).clamp_max(self.bins as f64 - 1.0).where_(&ok, self.bins as f64);
            let at = at.to_dtype(DType::F64);
            let counts = Tensor::zeros_of([self.bins + 1], DType::F64);
            let counts = counts.scatter_add(0, &at.to_dtype(DType::I64), at.ones_like());
            fields.push(counts.narrow(0, 0, self.bins));
        }
        vec![Tensor::cat(&fields.iter().collect::<Vec<_>>(), 0)]
    }

    /// Nobody trains by them.
    fn vjp(&self, _b: &Backward<'_>) -> Option<Grads> {
        Some(smallvec![None])
    }

    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        statistics(io.cpu, io.inputs[0], io.outputs[0].get());
        Ok(())
    }
}

impl Tensor {
    /// What the values are like, as f64 `[7 + bins]`: how many are finite, how many are not, how many are zero; mean,
    /// standard deviation (over n − 1), minimum and maximum of the finite ones; then how many of those lie in each of
    /// `bins` equal intervals from minimum to maximum. What is undefined is NaN. It has no gradient.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let x = Tensor::from([0.0f32, 1.0, 2.0, 5.0, f32::NAN]);
    /// let found = x.statistics(2).to_vec::<f64>()?;
    /// assert_eq!(found[..4], [4.0, 1.0, 1.0, 2.0]);
    /// assert_eq!(found[5..], [0.0, 5.0, 3.0, 1.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    #[track_caller]
    pub fn statistics(&self, bins: usize) -> Tensor {
        if bins > i32::MAX as usize {
            return self.refuse(format!("statistics: {bins} bins are too many"));
        }
        call_one(Statistics { bins }, &[&self.to_float().detach()])
    }
}
