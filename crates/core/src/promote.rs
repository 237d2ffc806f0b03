//! Type promotion, as PyTorch's: the category decides (bool < integer < float), then the width; a
//! tensor with axes outranks a scalar tensor, which outranks a bare number, within a category.
//!
//! Source: "Tensor Attributes", PyTorch documentation, and `c10/core/ScalarType.h`.

use limpid_kernels::{DType, Number};

/// What takes part in a promotion.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand {
    /// A tensor with at least one axis.
    Array(DType),
    /// A tensor of shape `[]`.
    Scalar(DType),
    /// A Rust number.
    Number(Number),
}

/// 0 for bool, 1 for integers, 2 for floats.
fn category(d: DType) -> u8 {
    match d {
        DType::Bool => 0,
        DType::U8 | DType::I32 | DType::I64 => 1,
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => 2,
    }
}

/// The smallest type that holds both: `f16` with `bf16` is `f32`, integers with floats are the float.
pub fn promote(a: DType, b: DType) -> DType {
    match (a, b) {
        (DType::F16, DType::BF16) | (DType::BF16, DType::F16) => DType::F32,
        // The order of the enum is the order of promotion otherwise (u8 < i32: every u8 is an i32).
        _ => a.max(b),
    }
}

/// The type of a result of `operands`.
pub(crate) fn result_type(operands: &[Operand]) -> DType {
    let mut best: [Option<DType>; 3] = [None; 3];
    for operand in operands {
        let (rank, dtype) = match *operand {
            Operand::Array(d) => (0, d),
            Operand::Scalar(d) => (1, d),
            Operand::Number(Number::Float(_)) => (2, DType::F32),
            Operand::Number(Number::Int(_)) => (2, DType::I64),
        };
        best[rank] = Some(best[rank].map_or(dtype, |b| promote(b, dtype)));
    }
    let mut result: Option<DType> = None;
    for dtype in best.into_iter().flatten() {
        result = Some(match result {
            None => dtype,
            // A lower rank counts only when its category is higher.
            Some(r) if category(dtype) > category(r) => dtype,
            Some(r) => r,
        });
    }
    result.unwrap_or(DType::F32)
}

/// The type in which `f(x)` is computed for functions that only make sense on reals: integers become f32.
pub(crate) fn float_type(d: DType) -> DType {
    if d.is_float() { d } else { DType::F32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DType::*;
    use Operand::*;

    #[test]
    fn the_table_is_torchs() {
        // Checked against torch.result_type.
        let cases: &[(&[Operand], DType)] = &[
            (&[Array(F32), Array(F64)], F64),
            (&[Array(F32), Scalar(F64)], F32),
            (&[Array(I32), Scalar(F64)], F64),
            (&[Array(I64), Number(super::Number::Float(0.5))], F32),
            (&[Array(F16), Number(super::Number::Float(0.5))], F16),
            (&[Array(F16), Array(BF16)], F32),
            (&[Array(U8), Array(I32)], I32),
            (&[Array(Bool), Number(super::Number::Int(1))], I64),
            (&[Array(U8), Number(super::Number::Int(1))], U8),
            (&[Scalar(I64), Array(F16)], F16),
            (&[Scalar(F64), Number(super::Number::Float(1.0))], F64),
            (&[Array(Bool), Array(Bool)], Bool),
            (&[Array(I64), Scalar(I32)], I64),
            (&[Array(U8), Scalar(I64)], U8),
        ];
        for (operands, expected) in cases {
            assert_eq!(result_type(operands), *expected, "{operands:?}");
        }
    }
}
