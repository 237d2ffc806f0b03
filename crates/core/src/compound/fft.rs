//! The discrete Fourier transform. A complex number is a pair on the last axis.

use limpid_kernels::{DType, fft};
use smallvec::smallvec;

use crate::compound::{Compound, Fault, Io, call_one};
use crate::error::Result;
use crate::op::{Backward, Grads, Saves};
use crate::region::Meta;
use crate::tensor::Tensor;

/// y[k] = Σ x[j]·exp(∓2πi·jk/n) along the last axis but one of `[…, n, 2]`, f32 or f64: minus, or plus where `inverse`;
/// without a factor.
#[derive(Debug)]
struct Fft {
    inverse: bool,
}

impl Compound for Fft {
    fn name(&self) -> &'static str {
        "fft"
    }

    fn key(&self, key: &mut Vec<u64>) {
        key.push(u64::from(self.inverse));
    }

    fn metas(&self, inputs: &[Meta]) -> Vec<Meta> {
        vec![inputs[0].clone()]
    }

    /// A product with the matrix of roots of one.
    fn body(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let x = inputs[0].to_dtype(DType::F64);
        let n = x.size(-2);
        let places = Tensor::arange(0, n as i64, 1);
        let turns = (places.unsqueeze(-1) * &places) % n.max(1) as i64;
        let sign = if self.inverse { 2.0 } else { -2.0 };
        let angle = turns.to_dtype(DType::F64) * (sign * std::f64::consts::PI / n.max(1) as f64);
        let (cos, sin) = (angle.cos(), angle.sin());
        let [re, im] = [0, 1].map(|part| x.narrow(-1, part, 1));
        let real = cos.matmul(&re) - sin.matmul(&im);
        let imaginary = sin.matmul(&re) + cos.matmul(&im);
        vec![Tensor::cat(&[&real, &imaginary], -1).to_dtype(inputs[0].dtype())]
    }

    /// The transposed matrix of a complex product is the conjugate one.
    fn vjp(&self, b: &Backward<'_>) -> Option<Grads> {
        Some(smallvec![Some(transform(b.g(), !self.inverse))])
    }

    fn saves(&self) -> Saves {
        Saves::NOTHING
    }

    fn has_kernel(&self, _inputs: &[Meta]) -> bool {
        true
    }

    fn run(&self, io: &mut Io<'_>) -> Result<(), Fault> {
        let n = io.shapes[0][io.shapes[0].rank() - 2];
        fft::fft(io.cpu, n, self.inverse, io.inputs[0], io.outputs[0].reborrow());
        Ok(())
    }
}

/// The transform of `[…, n, 2]`, n > 0, in f32 or f64.
#[track_caller]
pub(crate) fn transform(x: &Tensor, inverse: bool) -> Tensor {
    call_one(Fft { inverse }, &[x])
}
