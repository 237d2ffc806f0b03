//! The batches of an epoch.

use limpid_core::{Error, Tensor};

use super::Dataset;
use super::order::Stream;

/// Batches of a [`Dataset`], as pairs of features and targets; the last one has what is left.
///
/// In order they are views (`narrow`); shuffled, rows are gathered by a piece of the epoch's order. Either way a
/// batch is the same operations with another offset, so a training step finds the plan of the step before.
///
/// A size of 0, or over the number of rows, is an error that the first batch carries.
#[derive(Debug)]
pub struct Batches<'a> {
    data: &'a Dataset,
    size: usize,
    order: Option<Tensor>,
    next: usize,
    error: Option<Error>,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(data: &'a Dataset, size: usize) -> Batches<'a> {
        let error = check_batch(data, size).err();
        Batches { data, size: size.max(1), order: None, next: 0, error }
    }

    /// In the random order of this seed and epoch.
    pub fn shuffled(mut self, seed: u64, epoch: u64) -> Batches<'a> {
        let mut order: Vec<i64> = (0..self.data.rows() as i64).collect();
        Stream::new(seed, epoch).shuffle(&mut order);
        self.order = Some(Tensor::from_vec(order, [self.data.rows()]));
        self
    }

    /// From the batch that begins after `rows` rows: what is left of an epoch that was stopped there.
    pub fn starting_at(mut self, rows: usize) -> Batches<'a> {
        self.next = rows;
        self
    }

    fn batch(&self, start: usize, len: usize) -> (Tensor, Tensor) {
        let (features, targets) = (self.data.features(), self.data.targets());
        match &self.order {
            None => (features.narrow(0, start, len), targets.narrow(0, start, len)),
            Some(order) => {
                let rows = order.narrow(0, start, len);
                (features.index_select(0, &rows), targets.index_select(0, &rows))
            }
        }
    }
}

/// That batches of `size` rows can be made of `data`.
///
/// # Errors
/// A size of 0, or more than there are rows.
pub(crate) fn check_batch(data: &Dataset, size: usize) -> limpid_core::Result<()> {
    let rows = data.rows();
    if size == 0 {
        return Err(Error::new("batches: a batch has 0 rows").help("a size of 1 at least"));
    }
    if size > rows {
        let error =
            Error::new(format!("batches: a batch of {size} is larger than the data: {} has {rows} rows", data.name()));
        return Err(error.help(format!("a batch of {rows} or less")));
    }
    Ok(())
}

impl Iterator for Batches<'_> {
    type Item = (Tensor, Tensor);

    fn next(&mut self) -> Option<(Tensor, Tensor)> {
        if let Some(error) = self.error.take() {
            self.next = usize::MAX;
            return Some((Tensor::failed(error.clone()), Tensor::failed(error)));
        }
        let left = self.data.rows().saturating_sub(self.next);
        if left == 0 {
            return None;
        }
        let (start, len) = (self.next, self.size.min(left));
        self.next += len;
        Some(self.batch(start, len))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = match &self.error {
            Some(_) => 1,
            None => self.data.rows().saturating_sub(self.next).div_ceil(self.size),
        };
        (count, Some(count))
    }
}

impl ExactSizeIterator for Batches<'_> {}
