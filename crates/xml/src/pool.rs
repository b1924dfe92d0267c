//! Scratch space: one block for each thread, so that an idle scanner holds none.

use std::cell::Cell;

use crate::limits::SCRATCH_BYTES_KEPT;
use crate::machine::Machine;

/// What an element needs while it is being scanned.
#[derive(Default)]
pub(crate) struct Work {
    /// The element so far, if it came in more than one piece.
    pub(crate) buffer: Vec<u8>,
    pub(crate) machine: Machine,
    /// Where the block of the frame is put together.
    pub(crate) block: Vec<u8>,
}

impl Work {
    /// Bytes of heap held.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.buffer.capacity()
            + self.block.capacity()
            + self.machine.heap_bytes()
    }
}

/// Takes the thread's scratch space, or makes some; it is ready for a new element.
pub(crate) fn take() -> Box<Work> {
    SPARE.take().unwrap_or_else(|| {
        let mut work = Box::<Work>::default();
        work.machine.reset();
        work
    })
}

/// Leaves scratch space for the thread's next element.
pub(crate) fn give(mut work: Box<Work>) {
    work.buffer = Vec::new();
    work.machine.reset();
    work.block.clear();
    work.block.shrink_to(SCRATCH_BYTES_KEPT);
    SPARE.set(Some(work));
}

thread_local! {
    static SPARE: Cell<Option<Box<Work>>> = const { Cell::new(None) };
}
