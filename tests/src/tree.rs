//! Document roots that tests build, and content that can be checked at any offset without being
//! kept.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Advice, CWD, FileType, Mode, fadvise, mknodat, syncfs};
use tempfile::TempDir;

/// A temporary document root, removed when dropped.
#[derive(Debug)]
pub struct Tree {
    root: TempDir,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// An empty root.
    pub fn new() -> Self {
        Self {
            root: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// The root's path.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Adds a file, and the directories above it.
    pub fn file(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> &Self {
        fs::write(self.place(path.as_ref()), bytes).expect("a new file");
        self
    }

    /// Adds a file of `size` bytes without content on disk: it reads as zeros.
    pub fn sparse(&self, path: impl AsRef<Path>, size: u64) -> File {
        let file = File::create(self.place(path.as_ref())).expect("a new file");
        file.set_len(size).expect("a sparse file");
        file
    }

    /// Sets when `path` was last modified.
    pub fn modified(&self, path: impl AsRef<Path>, time: SystemTime) -> &Self {
        let file = File::options().write(true).open(self.path().join(path));
        let changed = file.and_then(|file| file.set_modified(time));
        changed.expect("a file of this tree");
        self
    }

    /// Adds a directory, and those above it.
    pub fn dir(&self, path: impl AsRef<Path>) -> &Self {
        fs::create_dir_all(self.path().join(path)).expect("a new directory");
        self
    }

    /// Adds a symbolic link at `link` that says `target`.
    pub fn symlink(&self, target: impl AsRef<Path>, link: impl AsRef<Path>) -> &Self {
        symlink(target, self.place(link.as_ref())).expect("a new link");
        self
    }

    /// Adds a FIFO.
    pub fn fifo(&self, path: impl AsRef<Path>) -> &Self {
        let path = self.place(path.as_ref());
        mknodat(CWD, path, FileType::Fifo, Mode::from(0o644), 0).expect("a new FIFO");
        self
    }

    /// Drops every file from the page cache, so that reads wait for the disk. On a file system in
    /// memory nothing changes.
    pub fn evict(&self) {
        let root = File::open(self.path()).expect("own directory");
        // Only clean pages can be dropped.
        syncfs(&root).expect("a directory to sync");
        evict_below(self.path());
    }

    /// The absolute place of `path`, its directory made.
    fn place(&self, path: &Path) -> PathBuf {
        let place = self.path().join(path);
        fs::create_dir_all(place.parent().expect("below the root")).expect("a new directory");
        place
    }
}

fn evict_below(folder: &Path) {
    for entry in fs::read_dir(folder).expect("own directory") {
        let entry = entry.expect("own directory");
        let kind = entry.file_type().expect("own file");
        if kind.is_dir() {
            evict_below(&entry.path());
        } else if kind.is_file() {
            let file = File::open(entry.path()).expect("own file");
            fadvise(&file, 0, None, Advice::DontNeed).expect("advice on a file");
        }
    }
}

/// The first `len` bytes of the pseudo-random stream `seed`.
pub fn content(seed: u64, len: usize) -> Vec<u8> {
    content_at(seed, 0, len)
}

/// `len` bytes of the pseudo-random stream `seed` from `offset` on.
pub fn content_at(seed: u64, offset: u64, len: usize) -> Vec<u8> {
    let skipped = (offset % 8) as usize;
    let words = (skipped + len).div_ceil(8) as u64;
    let mut bytes = Vec::with_capacity(words as usize * 8);
    for word in offset / 8..offset / 8 + words {
        bytes.extend_from_slice(&mix(seed, word).to_le_bytes());
    }
    bytes.truncate(skipped + len);
    bytes.drain(..skipped);
    bytes
}

/// SplitMix64, addressed by position: any word can be had without those before it.
pub fn mix(seed: u64, position: u64) -> u64 {
    let step = position.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut word = seed.wrapping_mul(0xD1B5_4A32_D192_ED03).wrapping_add(step);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::{content, content_at};

    #[test]
    fn content_at_an_offset_is_a_slice_of_the_whole() {
        let whole = content(7, 1000);
        for (offset, len) in [(0, 0), (0, 1000), (1, 7), (8, 8), (13, 500), (999, 1)] {
            let part = content_at(7, offset as u64, len);
            assert_eq!(part, whole[offset..offset + len], "{len} bytes at {offset}");
        }
    }
}
