//! The directory that servers serve when they are measured: one hot file and many cold ones.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tempfile::TempDir;

use crate::Error;
use crate::cold::write_whole;

/// The number of the hot file's content: no cold file has it.
const HOT_SEED: u64 = u64::MAX >> 32;
/// What statfs(2) says of tmpfs.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// A directory with `hot.bin` and `cold/`.
#[derive(Debug)]
pub struct Site {
    path: PathBuf,
    /// Removed with it, if nobody asked for it by name.
    _temporary: Option<TempDir>,
}

impl Site {
    /// In `directory`, which is made if it is missing; or in one of its own, which is removed when
    /// this is dropped.
    ///
    /// # Errors
    /// [`Error::Start`] if it cannot be made, or is in memory.
    pub fn make(directory: Option<&Path>, hot_bytes: u64) -> Result<Site, Error> {
        let (path, temporary) = match directory {
            Some(path) => (path.to_owned(), None),
            None => {
                // What is left there by others survives a restart: it is on a disk.
                let made = tempfile::Builder::new()
                    .prefix("ambidex-bench-")
                    .tempdir_in("/var/tmp");
                let made = made.map_err(|error| {
                    Error::Start(format!(
                        "cannot make a directory in /var/tmp: {error}; say --directory"
                    ))
                })?;
                (made.path().to_owned(), Some(made))
            }
        };
        let wrong = |error| Error::Start(format!("cannot make {}: {error}", path.display()));
        check_no_stale_mount(&path.join("cold"))?;
        fs::create_dir_all(path.join("cold")).map_err(wrong)?;
        check_on_disk(&path)?;
        let hot = path.join("hot.bin");
        if fs::metadata(&hot).map_or(true, |found| found.len() != hot_bytes) {
            write_whole(&hot, HOT_SEED, hot_bytes).map_err(wrong)?;
        }
        Ok(Site {
            path,
            _temporary: temporary,
        })
    }

    /// What is to be served.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the cold files are.
    #[must_use]
    pub fn cold(&self) -> PathBuf {
        self.path.join("cold")
    }
}

/// Nobody answers for a mount of [`SlowDisk`](crate::slow_disk::SlowDisk) whose process was killed.
fn check_no_stale_mount(directory: &Path) -> Result<(), Error> {
    match rustix::fs::statfs(directory) {
        Err(Errno::NOTCONN) => Err(Error::Start(format!(
            "{0} is mounted over, and who answered for it was killed: umount {0}, or fusermount3 -u {0}",
            directory.display()
        ))),
        _ => Ok(()),
    }
}

/// A file in memory is never cold.
///
/// # Errors
/// [`Error::Start`] if `directory` is on tmpfs, or is not there, or is a mount that a killed run has left.
pub fn check_on_disk(directory: &Path) -> Result<(), Error> {
    check_no_stale_mount(directory)?;
    let wrong = |why: &str| Error::Start(format!("{}: {why}", directory.display()));
    let found = rustix::fs::statfs(directory).map_err(|error| wrong(&error.to_string()))?;
    if found.f_type as u64 == TMPFS_MAGIC {
        return Err(wrong(
            "tmpfs is memory, where no file is ever cold: choose a directory on a disk",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_its_own_is_removed() {
        let site = Site::make(None, 1024).unwrap();
        let path = site.path().to_owned();
        assert_eq!(fs::metadata(path.join("hot.bin")).unwrap().len(), 1024);
        drop(site);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_was_named_is_kept() {
        let parent = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = parent.path().join("site");
        drop(Site::make(Some(&path), 100).unwrap());
        assert!(path.join("cold").is_dir() && path.join("hot.bin").is_file());
    }

    #[test]
    fn memory_is_refused() {
        if rustix::fs::statfs("/dev/shm").is_ok_and(|found| found.f_type as u64 == TMPFS_MAGIC) {
            let told = check_on_disk(Path::new("/dev/shm"))
                .unwrap_err()
                .to_string();
            assert!(told.contains("/dev/shm: tmpfs is memory"), "{told}");
        } else {
            println!("SKIPPED memory_is_refused: /dev/shm is no tmpfs");
        }
    }
}
