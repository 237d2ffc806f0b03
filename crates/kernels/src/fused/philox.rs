//! Philox4x32-10: random numbers from a key and a counter (Salmon, Moraes, Dror, Shaw: *Parallel random
//! numbers: as easy as 1, 2, 3*, SC 2011).

/// Ten rounds: four random words from a counter of four words and a key of two.
#[inline(always)]
pub(super) fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let a = u64::from(c0) * 0xD251_1F53;
        let b = u64::from(c2) * 0xCD9E_8D57;
        (c0, c1, c2, c3) = ((b >> 32) as u32 ^ c1 ^ k0, b as u32, (a >> 32) as u32 ^ c3 ^ k1, a as u32);
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

/// The random word for element `index`.
#[inline(always)]
pub(super) fn word(index: i64, seed: u64, counter: u64) -> i64 {
    let block = (index as u64) >> 2;
    let key = [seed as u32, (seed >> 32) as u32];
    let [w0, w1, w2, w3] = philox([block as u32, (block >> 32) as u32, counter as u32, (counter >> 32) as u32], key);
    let (low, high) = (if index & 1 == 0 { w0 } else { w1 }, if index & 1 == 0 { w2 } else { w3 });
    i64::from(if index & 2 == 0 { low } else { high })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that the authors publish with Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn published_vectors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox(pi, [0xa409_3822, 0x299f_31d0]), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn a_word_is_one_of_four() {
        for index in 0..8 {
            let words = philox([(index / 4) as u32, 0, 5, 6], [7, 8]);
            assert_eq!(word(index, 7 | 8 << 32, 5 | 6 << 32), i64::from(words[(index % 4) as usize]));
        }
    }
}
