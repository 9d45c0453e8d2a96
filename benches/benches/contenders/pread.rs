//! pread(2) in a loop: what a read costs when nothing is made of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{BLOCK_BYTES, Blocks, Contender, check, now};

/// A file.
pub(super) struct Pread {
    file: File,
    path: PathBuf,
}

impl Pread {
    pub(super) fn new(path: &Path) -> io::Result<Pread> {
        Ok(Pread {
            file: File::open(path)?,
            path: path.to_owned(),
        })
    }
}

impl Contender for Pread {
    /// There is one read at a time whatever `depth` says, but as many buffers are filled in turn:
    /// else its buffer alone would stay in the nearest cache.
    fn read(&mut self, depth: usize, count: u64) -> io::Result<Duration> {
        let blocks = Blocks::new(&self.path, count)?;
        let mut buffers = vec![vec![0; BLOCK_BYTES]; depth];
        let mut number = 0;
        let start = now();
        while let Some(offset) = blocks.next() {
            check(self.file.read_at(&mut buffers[number], offset)?);
            number = if number + 1 == depth { 0 } else { number + 1 };
        }
        Ok(now() - start)
    }
}
