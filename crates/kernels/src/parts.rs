//! Lending parts of one output to the tasks of a [`Pool`](crate::Pool).

use std::marker::PhantomData;

use crate::pool::Pool;

/// A slice that several tasks write at once, each its own elements.
#[derive(Debug)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: it only gives out elements through unsafe functions whose callers promise disjointness.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Takes over `slice` for as long as the tasks run.
    pub(crate) fn new(slice: &'a mut [T]) -> Shared<'a, T> {
        Shared { start: slice.as_mut_ptr(), len: slice.len(), owner: PhantomData }
    }

    /// Elements `start .. start + len`; panics when they are out of bounds.
    ///
    /// # Safety
    /// Nothing else may use any of these elements while the result lives.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn range(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "{start}+{len} of {}", self.len);
        // SAFETY: in bounds of a live slice; the caller promises that nobody else uses these elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// The address of element `i`, or where it would be.
    pub(crate) fn address(&self, i: usize) -> *const T {
        self.start.wrapping_add(i)
    }

    /// Elements `start .. start + len`, to read; panics when they are out of bounds.
    ///
    /// # Safety
    /// Nothing may write any of these elements while the result lives.
    #[inline(always)]
    pub(crate) unsafe fn read(&self, start: usize, len: usize) -> &[T] {
        assert!(start <= self.len && len <= self.len - start, "{start}+{len} of {}", self.len);
        // SAFETY: in bounds of a live slice; the caller promises that nobody writes these elements.
        unsafe { std::slice::from_raw_parts(self.start.add(start), len) }
    }

    /// Element `i`; panics when it is out of bounds.
    ///
    /// # Safety
    /// As [`Shared::range`].
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn at(&self, i: usize) -> &mut T {
        assert!(i < self.len, "{i} of {}", self.len);
        // SAFETY: as in `range`.
        unsafe { &mut *self.start.add(i) }
    }

    /// Part `i` of the slice cut every `size` elements: clamped, so the last may be short or empty.
    ///
    /// # Safety
    /// As [`Shared::range`]; parts of different `i` are disjoint.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, i: usize, size: usize) -> &mut [T] {
        let start = (i * size).min(self.len);
        // SAFETY: passed on to the caller.
        unsafe { self.range(start, size.min(self.len - start)) }
    }
}

/// Runs `task(i, part i of a)` for `tasks` parts of `size` elements each.
pub(crate) fn each<T: Send>(
    pool: &Pool,
    tasks: usize,
    (a, size): (&mut [T], usize),
    task: impl Fn(usize, &mut [T]) + Sync,
) {
    let a = Shared::new(a);
    // SAFETY: `Pool::run` runs each `i` exactly once.
    pool.run(tasks, &|i| task(i, unsafe { a.part(i, size) }));
}

/// As [`each`], with parts of three slices.
pub(crate) fn each3<T: Send, U: Send, V: Send>(
    pool: &Pool,
    tasks: usize,
    (a, a_size): (&mut [T], usize),
    (b, b_size): (&mut [U], usize),
    (c, c_size): (&mut [V], usize),
    task: impl Fn(usize, &mut [T], &mut [U], &mut [V]) + Sync,
) {
    let (a, b, c) = (Shared::new(a), Shared::new(b), Shared::new(c));
    pool.run(tasks, &|i| {
        // SAFETY: `Pool::run` runs each `i` exactly once.
        let (a, b, c) = unsafe { (a.part(i, a_size), b.part(i, b_size), c.part(i, c_size)) };
        task(i, a, b, c);
    });
}

/// How many rows of `cols` elements one task takes, so that a task has about `elements` of them.
pub(crate) fn rows_per_task(cols: usize, elements: usize) -> usize {
    (elements / cols.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_each_element_once() {
        let pool = Pool::new(4);
        for (len, size) in [(0, 3), (1, 3), (9, 3), (10, 3), (1000, 7)] {
            let mut data = vec![0usize; len];
            each(&pool, len.div_ceil(size), (&mut data, size), |i, part| part.iter_mut().for_each(|x| *x += i + 1));
            assert!(data.iter().enumerate().all(|(j, &x)| x == j / size + 1));
        }
    }
}
