//! Slices whose element type is known at run time.

use crate::dtype::{DType, Element};

/// Elements to read, of a type known at run time.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    dtype: DType,
    bytes: &'a [u8],
}

/// Elements to write, of a type known at run time.
#[derive(Debug)]
pub struct SliceMut<'a> {
    dtype: DType,
    bytes: &'a mut [u8],
}

fn stored_as<T: Element>(dtype: DType) -> bool {
    dtype == T::DTYPE || (dtype == DType::Bool && T::DTYPE == DType::U8)
}

impl<'a> Slice<'a> {
    /// Bytes seen as elements of `dtype`. Panics when they are not aligned to it, or not whole elements.
    pub fn new(dtype: DType, bytes: &'a [u8]) -> Slice<'a> {
        assert!(bytes.as_ptr().addr().is_multiple_of(dtype.size()) && bytes.len().is_multiple_of(dtype.size()));
        Slice { dtype, bytes }
    }

    /// A typed slice seen as one of run-time type.
    pub fn of<T: Element>(data: &'a [T]) -> Slice<'a> {
        // SAFETY: an Element has no padding and every byte of it is initialised.
        let bytes = unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), size_of_val(data)) };
        Slice { dtype: T::DTYPE, bytes }
    }

    /// The same bytes under another type of the same size (u8 as bool).
    pub fn with_dtype(self, dtype: DType) -> Slice<'a> {
        Slice::new(dtype, self.bytes)
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The elements as `T`. Panics when `T` is not how this type is stored.
    #[inline]
    pub fn get<T: Element>(&self) -> &'a [T] {
        assert!(stored_as::<T>(self.dtype), "a slice of {} read as {}", self.dtype, T::DTYPE);
        // SAFETY: aligned and whole by construction, any bits are a valid Element, lifetime kept.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.bytes.len() / size_of::<T>()) }
    }
}

impl<'a> SliceMut<'a> {
    /// Bytes seen as elements of `dtype`. Panics when they are not aligned to it, or not whole elements.
    pub fn new(dtype: DType, bytes: &'a mut [u8]) -> SliceMut<'a> {
        assert!(bytes.as_ptr().addr().is_multiple_of(dtype.size()) && bytes.len().is_multiple_of(dtype.size()));
        SliceMut { dtype, bytes }
    }

    /// A typed slice seen as one of run-time type.
    pub fn of<T: Element>(data: &'a mut [T]) -> SliceMut<'a> {
        // SAFETY: an Element has no padding, and any bytes written through this are a valid Element.
        let bytes = unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast(), size_of_val(data)) };
        SliceMut { dtype: T::DTYPE, bytes }
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// The elements, to read.
    pub fn as_slice(&self) -> Slice<'_> {
        Slice { dtype: self.dtype, bytes: self.bytes }
    }

    /// A shorter borrow of the same elements.
    pub fn reborrow(&mut self) -> SliceMut<'_> {
        SliceMut { dtype: self.dtype, bytes: self.bytes }
    }

    /// The elements as `T`. Panics when `T` is not how this type is stored.
    #[inline]
    pub fn get<T: Element>(&mut self) -> &mut [T] {
        assert!(stored_as::<T>(self.dtype), "a slice of {} written as {}", self.dtype, T::DTYPE);
        // SAFETY: aligned and whole by construction, any bits are a valid Element, borrow kept.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_mut_ptr().cast(), self.bytes.len() / size_of::<T>()) }
    }
}
