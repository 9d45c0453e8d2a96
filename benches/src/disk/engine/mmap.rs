//! Copies from and to a shared mapping of the file: no system call, but page faults.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use memmap2::{MmapOptions, MmapRaw};

use super::Options;
use super::blocking::Blocking;

pub(super) struct Mapping {
    map: MmapRaw,
    calls: u64,
}

impl Mapping {
    /// Maps `file`. What is cut off it later is a SIGBUS, mmap(2).
    pub(super) fn new(file: &File, options: &Options) -> io::Result<Mapping> {
        let found = file.metadata()?;
        let writes = options.rw.writes();
        // A page without a block that finds the disk full would be a SIGBUS as well.
        if writes && std::os::unix::fs::MetadataExt::blocks(&found) * 512 < found.len() {
            let text = "the file has holes: a mapped write that finds no room kills the process";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let map = match writes {
            true => MmapOptions::new().map_raw(file)?,
            false => MmapOptions::new().map_raw_read_only(file)?,
        };
        Ok(Mapping { map, calls: 0 })
    }

    fn check(&self, length: usize, offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        match offset.checked_add(length) {
            Some(end) if end <= self.map.len() => Ok(offset),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Blocking for Mapping {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = self.check(buffer.len(), offset)?;
        // SAFETY: `check` keeps the offset inside the mapping.
        let source = unsafe { self.map.as_ptr().add(offset) };
        // SAFETY: so many bytes are mapped from there on, and the buffer is ours and elsewhere. No
        // reference to the mapping exists: others may change the file, bytes have no wrong value.
        unsafe { source.copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len()) };
        Ok(buffer.len())
    }

    fn write_at(&mut self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        let offset = self.check(buffer.len(), offset)?;
        // SAFETY: `check` keeps the offset inside the mapping, which is writable: the plan has
        // writes only if `new` was told so.
        let target = unsafe { self.map.as_mut_ptr().add(offset) };
        // SAFETY: as in `read_at`.
        unsafe { target.copy_from_nonoverlapping(buffer.as_ptr(), buffer.len()) };
        Ok(buffer.len())
    }

    /// msync(2) of all of it, which is fdatasync(2) of what was written.
    fn sync(&mut self, _data_only: bool) -> io::Result<()> {
        self.calls += 1;
        self.map.flush()
    }

    fn calls(&self) -> u64 {
        self.calls
    }
}
