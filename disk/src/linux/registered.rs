//! What io_uring keeps registered: places for files, and memory.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;

use io_uring::IoUring;

/// Pieces of memory that one ring takes.
const PIECES_MAX: u32 = 16;

/// Makes the table of files. How many places it has: none where the kernel has no such thing.
pub(super) fn table(ring: &IoUring, entries: u32, downgrades: &mut Vec<String>) -> usize {
    if entries == 0 {
        return 0;
    }
    match ring.submitter().register_files_sparse(entries) {
        Ok(()) => entries as usize,
        Err(error) => {
            downgrades.push(format!("no table of files (Linux 5.19): {error}"));
            0
        }
    }
}

/// Memory that the kernel keeps mapped.
#[derive(Default)]
pub(super) struct Registered {
    /// By index; none overlaps another.
    pieces: Vec<Range<usize>>,
}

impl Registered {
    pub(super) fn add(
        &mut self,
        ring: &IoUring,
        start: *const u8,
        length: usize,
    ) -> io::Result<()> {
        let submitter = ring.submitter();
        if self.pieces.is_empty() {
            submitter.register_buffers_sparse(PIECES_MAX)?;
        }
        let index = self.pieces.len() as u32;
        if index == PIECES_MAX {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let piece = libc::iovec {
            iov_base: start.cast_mut().cast(),
            iov_len: length,
        };
        // SAFETY: the caller promises that this is memory of the process for as long as the ring
        // lives; what is written there is up to the operations, each with its own loan.
        unsafe { submitter.register_buffers_update(index, &[piece], None)? };
        self.pieces.push(start.addr()..start.addr() + length);
        Ok(())
    }

    /// The number of the piece that holds all of this buffer.
    pub(super) fn index_of(&self, start: *const u8, length: u32) -> Option<u16> {
        let end = start.addr() + length as usize;
        let holds = |piece: &Range<usize>| piece.start <= start.addr() && end <= piece.end;
        let index = self.pieces.iter().position(holds)?;
        Some(index as u16)
    }
}
