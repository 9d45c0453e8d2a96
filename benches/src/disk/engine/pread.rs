//! pread(2) and pwrite(2): what a loop without an engine costs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::blocking::Blocking;

pub(super) struct Pread {
    file: File,
    calls: u64,
}

impl Pread {
    pub(super) fn new(file: File) -> Pread {
        Pread { file, calls: 0 }
    }
}

impl Blocking for Pread {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.calls += 1;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&mut self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        self.calls += 1;
        self.file.write_at(buffer, offset)
    }

    fn sync(&mut self, data_only: bool) -> io::Result<()> {
        self.calls += 1;
        match data_only {
            true => self.file.sync_data(),
            false => self.file.sync_all(),
        }
    }

    fn calls(&self) -> u64 {
        self.calls
    }
}
