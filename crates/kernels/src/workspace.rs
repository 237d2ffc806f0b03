//! The memory of one run: an arena, buffers that are only read, and buffers that are written.

use std::sync::Arc;

use crate::buffer::Buffer;

/// A place in a [`Workspace`]: bytes `start .. start + len` of buffer `buffer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loc {
    /// Which buffer.
    pub buffer: usize,
    /// First byte.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
}

impl Loc {
    fn overlaps(&self, other: &Loc) -> bool {
        self.buffer == other.buffer
            && self.len > 0
            && other.len > 0
            && self.start < other.start + other.len
            && other.start < self.start + self.len
    }
}

#[derive(Debug)]
enum Entry {
    Shared(Arc<Buffer>),
    Owned(Buffer),
    Taken,
}

/// The buffers of a run. [`Workspace::operands`] lends several places of them at once: any number to
/// read and some to write, refused when a written place overlaps another one.
#[derive(Debug, Default)]
pub struct Workspace {
    entries: Vec<Entry>,
}

/// The places that one kernel reads and writes.
#[derive(Debug)]
pub struct Operands<'a> {
    /// In the order asked for.
    pub reads: Vec<&'a [u8]>,
    /// In the order asked for.
    pub writes: Vec<&'a mut [u8]>,
}

impl Workspace {
    /// An empty workspace.
    pub fn new() -> Workspace {
        Workspace::default()
    }

    /// Adds a buffer that is only read; returns its number.
    pub fn share(&mut self, buffer: Arc<Buffer>) -> usize {
        self.entries.push(Entry::Shared(buffer));
        self.entries.len() - 1
    }

    /// Adds a buffer that may be written; returns its number.
    pub fn own(&mut self, buffer: Buffer) -> usize {
        self.entries.push(Entry::Owned(buffer));
        self.entries.len() - 1
    }

    /// Takes an owned buffer out. Panics when it is shared or already taken: a fault of the caller.
    pub fn take(&mut self, buffer: usize) -> Buffer {
        match std::mem::replace(&mut self.entries[buffer], Entry::Taken) {
            Entry::Owned(b) => b,
            other => panic!("buffer {buffer} can not be taken: {other:?}"),
        }
    }

    /// Forgets all buffers, keeping the table's memory.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    fn bytes(&self, loc: &Loc) -> &[u8] {
        let all = match &self.entries[loc.buffer] {
            Entry::Shared(b) => b.bytes(),
            Entry::Owned(b) => b.bytes(),
            Entry::Taken => panic!("buffer {} was taken", loc.buffer),
        };
        &all[loc.start..loc.start + loc.len]
    }

    /// Bytes to read.
    pub fn read(&self, loc: &Loc) -> &[u8] {
        self.bytes(loc)
    }

    /// Lends `reads` and `writes` together. Panics when a place is out of bounds, when a written one is
    /// shared, or when a written one overlaps any other: faults of the plan, not of a user.
    pub fn operands<'a>(&'a mut self, reads: &[Loc], writes: &[Loc]) -> Operands<'a> {
        for (i, w) in writes.iter().enumerate() {
            assert!(matches!(self.entries[w.buffer], Entry::Owned(_)), "a plan writes to a shared buffer");
            let clash = reads.iter().chain(&writes[..i]).find(|other| w.overlaps(other));
            assert!(clash.is_none(), "a plan writes {w:?} while it uses {clash:?}");
        }
        let lend = |loc: &Loc| -> (*mut u8, usize) {
            // The bounds are checked here; the address is taken from the owner, so that it may be written.
            let _ = self.bytes(loc);
            let base = match &self.entries[loc.buffer] {
                Entry::Shared(b) => b.address(),
                Entry::Owned(b) => b.address(),
                Entry::Taken => unreachable!("checked by bytes()"),
            };
            (base.wrapping_add(loc.start), loc.len)
        };
        // SAFETY: in bounds (checked), initialised (a Buffer always is), alive as long as self is borrowed;
        // nothing that is read overlaps anything that is written (checked above).
        let reads =
            reads.iter().map(lend).map(|(p, n)| unsafe { std::slice::from_raw_parts(p.cast_const(), n) }).collect();
        // SAFETY: as above; written places are pairwise disjoint, and self is borrowed mutably.
        let writes = writes.iter().map(lend).map(|(p, n)| unsafe { std::slice::from_raw_parts_mut(p, n) }).collect();
        Operands { reads, writes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_places_are_lent_together() {
        let mut w = Workspace::new();
        let b = w.own(Buffer::zeroed(128));
        let s = w.share(Arc::new(Buffer::from_slice(&[7u8; 64])));
        let at = |buffer, start, len| Loc { buffer, start, len };
        let ops = w.operands(&[at(s, 0, 64), at(b, 0, 64)], &[at(b, 64, 64)]);
        ops.writes.into_iter().next().unwrap().copy_from_slice(ops.reads[0]);
        assert_eq!(w.read(&at(b, 64, 64)), &[7u8; 64]);
    }

    #[test]
    #[should_panic(expected = "a plan writes")]
    fn overlap_is_refused() {
        let mut w = Workspace::new();
        let b = w.own(Buffer::zeroed(128));
        w.operands(&[Loc { buffer: b, start: 0, len: 65 }], &[Loc { buffer: b, start: 64, len: 8 }]);
    }

    #[test]
    #[should_panic(expected = "shared")]
    fn shared_buffers_are_not_written() {
        let mut w = Workspace::new();
        let s = w.share(Arc::new(Buffer::zeroed(64)));
        w.operands(&[], &[Loc { buffer: s, start: 0, len: 8 }]);
    }
}
