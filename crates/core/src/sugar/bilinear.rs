//! Products of two vectors with a tensor.

use limpid_kernels::DType;

use crate::error::Error;
use crate::promote::promote;
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Tensor {
    /// y[…, o] = Σᵢⱼ self[…, i]·weight[o, i, j]·other[…, j] + bias\[o\]: self `[…, in1]`, other `[…, in2]`, weight
    /// `[out, in1, in2]`, bias `[out]`. Torch's `nn.functional.bilinear`.
    ///
    /// ```
    /// use limpid_core::Tensor;
    /// let (x, y) = (Tensor::from([1.0f32, 2.0]), Tensor::from([3.0f32]));
    /// let weight = Tensor::from([[[1.0f32], [10.0]]]);
    /// assert_eq!(x.bilinear(&y, &weight, None).to_vec::<f32>()?, [63.0]);
    /// # Ok::<(), limpid_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// At the read, when sizes do not fit each other.
    #[track_caller]
    pub fn bilinear(&self, other: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let inputs: Vec<&Tensor> = [self, other, weight].into_iter().chain(bias).collect();
        let dtype = inputs.iter().map(|t| t.dtype()).fold(self.dtype(), promote);
        if let Some(what) = misfit(self, other, weight, bias, dtype) {
            let out = weight.shape().first().copied().unwrap_or(1);
            let rank = self.rank();
            let shape = if rank == 0 { [out].into() } else { self.shape().with(rank - 1, out) };
            return Tensor::fail(Error::new(format!("bilinear: {what}")), &inputs, shape, dtype);
        }
        let [out, in1, in2] = weight.dims();
        let rows: usize = self.shape()[..self.rank() - 1].iter().product();
        let (x, y) = (self.to_dtype(dtype).view([rows, in1]), other.to_dtype(dtype).view([rows, 1, in2]));
        // [in1, out·in2], so that one product of matrices does the work.
        let weight = weight.to_dtype(dtype).permute([1, 0, 2]).view([in1, out * in2]);
        let products = (x.matmul(&weight).view([rows, out, in2]) * y).sum(-1);
        let result = match bias {
            Some(bias) => products + bias.to_dtype(dtype),
            None => products,
        };
        result.view(self.shape().with(self.rank() - 1, out))
    }
}

fn misfit(x: &Tensor, y: &Tensor, weight: &Tensor, bias: Option<&Tensor>, dtype: DType) -> Option<String> {
    let shapes = [x, y, weight].map(|t| t.shape().clone());
    let [sx, sy, sw] = &shapes;
    if sw.rank() != 3 {
        return Some(format!("the weight has shape {sw}, not [out, in1, in2]"));
    }
    if !dtype.is_float() {
        return Some(format!("the inputs are {dtype}, not floats"));
    }
    let [out, in1, in2] = weight.dims();
    if sx.rank() == 0 || sy.rank() == 0 || sx[..sx.rank() - 1] != sy[..sy.rank() - 1] {
        return Some(format!("inputs {sx} and {sy} differ in more than the last axis"));
    }
    if sx[sx.rank() - 1] != in1 || sy[sy.rank() - 1] != in2 {
        return Some(format!("inputs {sx} and {sy} for a weight {sw} = [out, in1, in2]"));
    }
    let bias = bias.filter(|b| *b.shape() != Shape::from([out]))?;
    Some(format!("the bias has shape {}, not [{out}]", bias.shape()))
}
