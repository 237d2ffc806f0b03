//! Orders and noise that are functions of a seed alone.

/// SplitMix64 (Steele, Lea, Flood 2014): a stream of 64-bit numbers from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Stream(u64);

impl Stream {
    /// The stream of `seed` and a `lane` beside it: another lane is another stream.
    pub fn new(seed: u64, lane: u64) -> Stream {
        let mut stream = Stream(lane ^ 0x6c69_6d70_6964);
        Stream(seed ^ stream.next())
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, without bias worth the name: 2⁻⁶⁴·bound (Lemire 2019, without the rejection).
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Evenly spread over [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of the standard normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Puts `items` into random order (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stream;

    #[test]
    fn the_first_numbers_of_seed_0_are_the_published_ones() {
        // Vigna's splitmix64.c with x = 0.
        let mut stream = Stream(0);
        assert_eq!([stream.next(), stream.next()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn a_shuffle_keeps_all_items_and_depends_on_seed_and_lane() {
        let order = |seed, lane| {
            let mut items: Vec<usize> = (0..100).collect();
            Stream::new(seed, lane).shuffle(&mut items);
            items
        };
        let mut sorted = order(7, 0);
        assert_ne!(sorted, (0..100).collect::<Vec<_>>());
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(order(7, 3), order(7, 3));
        assert_ne!(order(7, 3), order(7, 4));
        assert_ne!(order(7, 3), order(8, 3));
        // Seed and lane are not interchangeable.
        assert_ne!(order(3, 7), order(7, 3));
    }

    #[test]
    fn the_normal_numbers_have_mean_0_and_variance_1() {
        let mut stream = Stream::new(1, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 2e4;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 2e4;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
    }
}
