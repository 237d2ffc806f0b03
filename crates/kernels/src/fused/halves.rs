//! Rounding to f16 and bf16 inside an f32, and their bits: without branches, so that loops vectorise.

/// The nearest bf16 to `x`, ties to even, as f32.
#[inline(always)]
pub(super) fn round_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    // Rounding up could carry a NaN with a low payload into infinity.
    f32::from_bits(if x.is_nan() { (bits | 0x40_0000) & 0xffff_0000 } else { rounded })
}

/// The nearest f16 to `x`, ties to even, as f32.
#[inline(always)]
pub(super) fn round_f16(x: f32) -> f32 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let sign = bits & 0x8000_0000;
    // Normal f16: keep 10 of the 23 bits of the fraction; from 65520 on the result is infinite.
    let normal = magnitude.wrapping_add(0xfff + ((magnitude >> 13) & 1)) & !0x1fff;
    let normal = if magnitude >= 0x477f_f000 { 0x7f80_0000 } else { normal };
    // Below 2⁻¹⁴ f16 has steps of 2⁻²⁴, as f32 has just above 1/2: adding that rounds to them.
    let small = (f32::from_bits(magnitude) + 0.5) - 0.5;
    let value = if magnitude < 0x3880_0000 { small.to_bits() } else { normal };
    f32::from_bits(sign | if x.is_nan() { 0x7fc0_0000 | (magnitude & !0x1fff) } else { value })
}

/// The f32 with the value of the bf16 with these bits.
#[inline(always)]
pub(super) fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bits of a bf16, from an f32 that has its value.
#[inline(always)]
pub(super) fn to_bf16(x: f32) -> u16 {
    (x.to_bits() >> 16) as u16
}

/// The f32 with the value of the f16 with these bits.
#[inline(always)]
pub(super) fn from_f16(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // The exponent's bias differs by 112; multiplying also makes subnormals right.
    let finite = f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23);
    let value = if magnitude >= 0x0f80_0000 { magnitude | 0x7f80_0000 } else { finite.to_bits() };
    f32::from_bits(value | u32::from(bits & 0x8000) << 16)
}

/// The bits of an f16, from an f32 that has its value.
#[inline(always)]
pub(super) fn to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let finite = (f32::from_bits(magnitude) * f32::from_bits((127 - 112) << 23)).to_bits() >> 13;
    let value = if magnitude >= 0x7f80_0000 { 0x7c00 | ((magnitude >> 13) & 0x3ff) } else { finite };
    (value | ((bits >> 16) & 0x8000)) as u16
}

/// The bf16 with the bits of the f16 `x`, both as f32.
#[inline(always)]
pub(super) fn f16_as_bf16(x: f32) -> f32 {
    from_bf16(to_f16(x))
}

/// The f16 with the bits of the bf16 `x`, both as f32.
#[inline(always)]
pub(super) fn bf16_as_f16(x: f32) -> f32 {
    from_f16(to_bf16(x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    /// All bit patterns whose low 11 bits are near a rounding boundary, which is every case of both types.
    fn patterns() -> impl Iterator<Item = u32> {
        (0..=u32::MAX >> 10).flat_map(|high| [0, 1, 0x1ff, 0x200, 0x201, 0x3ff].map(|low| high << 10 | low))
    }

    #[test]
    fn rounding_agrees_with_the_half_crate() {
        for bits in patterns() {
            let x = f32::from_bits(bits);
            let (a, b) = (round_f16(x), f16::from_f32(x));
            assert!(a.to_bits() == b.to_f32().to_bits() || (a.is_nan() && b.is_nan()), "f16 of {bits:#x}: {a} {b}");
            assert!(a.is_nan() || to_f16(a) == b.to_bits(), "bits of f16 {a}");
            let (a, b) = (round_bf16(x), bf16::from_f32(x));
            assert!(a.to_bits() == b.to_f32().to_bits() || (a.is_nan() && b.is_nan()), "bf16 of {bits:#x}: {a} {b}");
            assert!(a.is_nan() || to_bf16(a) == b.to_bits(), "bits of bf16 {a}");
        }
    }

    #[test]
    fn every_half_is_read_and_written_back() {
        for bits in 0..=u16::MAX {
            let (a, b) = (from_f16(bits), f16::from_bits(bits).to_f32());
            assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()), "{bits:#x}");
            assert_eq!(a.is_nan(), f16::from_bits(to_f16(a)).is_nan());
            assert!(a.is_nan() || to_f16(a) == bits);
            assert_eq!(to_bf16(from_bf16(bits)), bits);
        }
    }
}
