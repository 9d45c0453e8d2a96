//! Cold files: what is on the disk but not in memory.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Evicts the file from the page cache; the next read of it goes to the device.
///
/// Pages that somebody is reading at this moment stay.
///
/// # Errors
///
/// That of `open`, `fsync` or `posix_fadvise`.
pub fn evict(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // Dirty pages would stay.
    file.sync_all()?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(())
}

/// Whether the first byte of the file would have to come from the device.
///
/// Asking starts read-ahead, so the file is not cold for long after a `true`.
///
/// # Errors
///
/// That of `open` or `preadv2`; `EOPNOTSUPP` on file systems without `RWF_NOWAIT` (tmpfs, overlayfs, FUSE).
pub fn is_cold(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    match preadv2(&file, &mut buffers, 0, ReadWriteFlags::NOWAIT) {
        Ok(_) => Ok(false),
        Err(Errno::AGAIN) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// Why files under `directory` cannot be made cold, or `None` when they can.
///
/// # Errors
///
/// That of making a temporary file there.
pub fn missing(directory: &Path) -> io::Result<Option<String>> {
    let mut probe = tempfile::NamedTempFile::new_in(directory)?;
    probe.write_all(&[7; 65536])?;
    // Pages on their way through another processor's batches stay at first.
    for _ in 0..100 {
        evict(probe.path())?;
        match is_cold(probe.path()) {
            Ok(true) => return Ok(None),
            Ok(false) => std::thread::yield_now(),
            Err(error) => {
                return Ok(Some(format!(
                    "RWF_NOWAIT on {}: {error}",
                    directory.display()
                )));
            }
        }
    }
    Ok(Some(format!("{} stays in memory", directory.display())))
}
