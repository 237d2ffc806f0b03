//! Aligned memory that is recycled: fresh pages cost more than most kernels.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Mutex;

use crate::dtype::Element;
use crate::slice::{Slice, SliceMut};

/// Every buffer starts on a cache line, which is also the widest vector.
const ALIGN: usize = 64;
/// From here on a buffer asks for huge pages.
const HUGE: usize = 4 << 20;
/// No processor addresses more.
const LARGEST: usize = isize::MAX as usize / 2;
/// Smaller buffers go straight to the allocator: it is as fast as a pool for them.
const POOLED: usize = 16 << 10;
/// The pool keeps at most this much.
const POOL_LIMIT: usize = 1 << 30;

/// Bytes on a cache line of their own, always initialised. Dropped ones go back to a pool.
pub struct Buffer {
    start: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: a Buffer owns its memory, as a Vec does.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

/// Free memory by capacity, newest (warmest) last.
struct FreeList {
    bytes: usize,
    free: Vec<(usize, Vec<usize>)>,
}

static FREE: Mutex<FreeList> = Mutex::new(FreeList { bytes: 0, free: Vec::new() });

/// Capacities are an eighth of a power of two apart, so that little is wasted and much is reused.
fn capacity_for(len: usize) -> usize {
    if len < POOLED {
        return len.next_multiple_of(ALIGN).max(ALIGN);
    }
    let step = (len.next_power_of_two() / 16).max(4096);
    len.next_multiple_of(step)
}

fn layout(capacity: usize) -> Layout {
    let align = if capacity >= HUGE { 2 << 20 } else { ALIGN };
    Layout::from_size_align(capacity, align).expect("a buffer larger than the address space")
}

/// Zero bytes; none where the system has not so many.
fn fresh(capacity: usize) -> Option<NonNull<u8>> {
    let layout = layout(capacity);
    let huge = capacity >= HUGE;
    // SAFETY: the layout has a size above zero.
    let start = unsafe { if huge { alloc(layout) } else { alloc_zeroed(layout) } };
    let start = NonNull::new(start)?;
    if huge {
        // The hint must come before the first touch: pages that exist stay small.
        #[cfg(target_os = "linux")]
        // SAFETY: the range was just allocated. A refused hint changes nothing, so its answer is ignored.
        unsafe {
            libc::madvise(start.as_ptr().cast(), capacity, libc::MADV_HUGEPAGE)
        };
        // SAFETY: the range was just allocated with this size.
        unsafe { start.as_ptr().write_bytes(0, capacity) };
    }
    Some(start)
}

impl Buffer {
    /// A buffer of `len` bytes: zeros, or what its last user left. See [`Buffer::zeroed`].
    pub fn new(len: usize) -> Buffer {
        Buffer::try_new(len).unwrap_or_else(|| handle_alloc_error(layout(capacity_for(len))))
    }

    /// [`Buffer::new`]; none where the system has not so much memory.
    pub fn try_new(len: usize) -> Option<Buffer> {
        if len > LARGEST {
            return None;
        }
        let capacity = capacity_for(len);
        if capacity >= POOLED {
            let mut free = FREE.lock().unwrap_or_else(|e| e.into_inner());
            let found = free.free.iter_mut().find(|(size, _)| *size == capacity).and_then(|(_, list)| list.pop());
            if let Some(address) = found {
                free.bytes -= capacity;
                let start =
                    NonNull::new(std::ptr::with_exposed_provenance_mut(address)).expect("pooled pointers are not null");
                return Some(Buffer { start, len, capacity });
            }
        }
        fresh(capacity).map(|start| Buffer { start, len, capacity })
    }

    /// A buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> Buffer {
        let mut buffer = Buffer::new(len);
        buffer.bytes_mut().fill(0);
        buffer
    }

    /// A copy of `data`.
    pub fn from_slice<T: Element>(data: &[T]) -> Buffer {
        let bytes = Slice::of(data).bytes();
        let mut buffer = Buffer::new(bytes.len());
        buffer.bytes_mut().copy_from_slice(bytes);
        buffer
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: start is valid for `len` initialised bytes for as long as self lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as `bytes`, and self is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The elements as `T`. Panics when the length is not a whole number of them.
    pub fn get<T: Element>(&self) -> &[T] {
        Slice::new(T::DTYPE, self.bytes()).get()
    }

    /// The elements as `T`, to write. Panics when the length is not a whole number of them.
    pub fn get_mut<T: Element>(&mut self) -> &mut [T] {
        let len = self.len / size_of::<T>();
        let slice = SliceMut::new(T::DTYPE, self.bytes_mut()).get::<T>() as *mut [T];
        // SAFETY: the slice points into this buffer, which stays borrowed mutably for as long.
        let elements = unsafe { &mut *slice };
        debug_assert_eq!(elements.len(), len);
        elements
    }

    pub(crate) fn address(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.capacity >= POOLED {
            let mut free = FREE.lock().unwrap_or_else(|e| e.into_inner());
            if free.bytes + self.capacity <= POOL_LIMIT {
                free.bytes += self.capacity;
                let address = self.start.as_ptr().expose_provenance();
                match free.free.iter_mut().find(|(size, _)| *size == self.capacity) {
                    Some((_, list)) => list.push(address),
                    None => free.free.push((self.capacity, vec![address])),
                }
                return;
            }
        }
        // SAFETY: allocated by `fresh` with the same layout, and owned by self alone.
        unsafe { dealloc(self.start.as_ptr(), layout(self.capacity)) };
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

/// The machine's memory in bytes, with what it swaps to, and how much of it nobody uses; none where that is not known.
pub fn machine_memory() -> Option<(usize, usize)> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: zeros are a value of it: it holds numbers alone.
        let mut info: libc::sysinfo = unsafe { std::mem::zeroed() };
        // SAFETY: the call writes one such struct.
        if unsafe { libc::sysinfo(&mut info) } == 0 {
            let bytes =
                |units: u64| usize::try_from(units).unwrap_or(usize::MAX).saturating_mul(info.mem_unit as usize);
            return Some((bytes(info.totalram + info.totalswap), bytes(info.freeram + info.freeswap)));
        }
    }
    None
}

/// Bytes that the pool keeps for reuse.
pub fn pooled_bytes() -> usize {
    FREE.lock().unwrap_or_else(|e| e.into_inner()).bytes
}

/// Gives the pool's memory back to the system.
pub fn trim_pool() {
    let mut free = FREE.lock().unwrap_or_else(|e| e.into_inner());
    for (capacity, list) in free.free.drain(..) {
        for address in list {
            // SAFETY: put there by drop, allocated by `fresh` with this capacity's layout.
            unsafe { dealloc(std::ptr::with_exposed_provenance_mut(address), layout(capacity)) };
        }
    }
    free.bytes = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_reused() {
        let len = 3 << 20;
        let first = Buffer::zeroed(len);
        let address = first.address();
        drop(first);
        let second = Buffer::new(len - 8);
        assert_eq!(second.address(), address);
        assert_eq!(second.len(), len - 8);
        assert!(second.bytes().iter().all(|&b| b == 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_machine_has_memory() {
        let (all, free) = machine_memory().unwrap();
        assert!(all >= 64 << 20 && free <= all, "{free} of {all}");
    }

    #[test]
    fn capacities_waste_little() {
        for len in [1, 63, 64, 65, 16 << 10, (16 << 10) + 1, 1 << 20, (5 << 20) + 3] {
            let capacity = capacity_for(len);
            assert!(capacity >= len);
            assert!(capacity <= len + 64.max(len / 8).max(4096), "{len} takes {capacity}");
        }
    }
}
