//! One data set into two parts.

use limpid_core::Error;

use super::Dataset;
use super::order::Stream;

/// Keeps the streams that split apart from those that order epochs.
const LANE: u64 = u64::MAX;

impl Dataset {
    /// Two parts, the first with `fraction` of the rows; the same seed gives the same parts.
    ///
    /// Rows of classes are split class by class, so that both parts have all classes in the proportions of the whole;
    /// the sizes of the parts are still `round(fraction·rows)` and the rest: classes with the largest remainders
    /// give the rows that are left over (Hamilton's method). Both parts are in random order.
    ///
    /// A fraction outside 0 to 1, or one that leaves a part without rows, is an error that the parts' reads return.
    pub fn split(&self, fraction: f64, seed: u64) -> (Dataset, Dataset) {
        let rows = self.rows();
        let first = (fraction * rows as f64).round();
        if !(1.0..rows as f64).contains(&first) {
            let error =
                Error::new(format!("split: {fraction} of {} ({rows} rows) leaves a part without rows", self.name()));
            let error = error.help("a fraction between 0 and 1, and more rows");
            return (self.failed(error.clone()), self.failed(error));
        }
        let groups = match self.labels() {
            Ok(labels) => groups(&labels, rows, self.task().outputs()),
            Err(error) => return (self.failed(error.clone()), self.failed(error)),
        };
        let quotas = quotas(&groups, first as usize);
        let mut stream = Stream::new(seed, LANE);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for (mut group, quota) in groups.into_iter().zip(quotas) {
            stream.shuffle(&mut group);
            b.extend(group.split_off(quota));
            a.append(&mut group);
        }
        stream.shuffle(&mut a);
        stream.shuffle(&mut b);
        (self.select(&a), self.select(&b))
    }
}

/// The rows of each class; all rows in one group where there are no labels.
fn groups(labels: &[i64], rows: usize, classes: usize) -> Vec<Vec<usize>> {
    if labels.is_empty() {
        return vec![(0..rows).collect()];
    }
    let mut groups = vec![Vec::new(); classes];
    for (row, &label) in labels.iter().enumerate() {
        groups[label as usize].push(row);
    }
    groups
}

/// How many of `first` rows each group gives, in proportion to its size.
fn quotas(groups: &[Vec<usize>], first: usize) -> Vec<usize> {
    let rows: usize = groups.iter().map(Vec::len).sum();
    let mut quotas: Vec<usize> = groups.iter().map(|group| group.len() * first / rows).collect();
    let mut by_remainder: Vec<usize> = (0..groups.len()).collect();
    by_remainder.sort_by_key(|&group| std::cmp::Reverse(groups[group].len() * first % rows));
    let left = first - quotas.iter().sum::<usize>();
    for &group in by_remainder.iter().take(left) {
        quotas[group] += 1;
    }
    quotas
}
