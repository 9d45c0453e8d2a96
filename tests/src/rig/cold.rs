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

/// Why files under `directory` cannot be made cold, or `None` when they can.
///
/// # Errors
///
/// That of making a temporary file there.
pub fn missing(directory: &Path) -> io::Result<Option<String>> {
    // A read that must not wait starts read-ahead all the same, and a quick disk has the first pages in
    // time for it; so much it has not.
    const SIZE: usize = 1 << 20;
    let mut probe = tempfile::NamedTempFile::new_in(directory)?;
    probe.write_all(&vec![7; SIZE])?;
    evict(probe.path())?;
    let mut bytes = vec![0; SIZE];
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let place = directory.display();
    Ok(
        match preadv2(&probe, &mut buffers, 0, ReadWriteFlags::NOWAIT) {
            Ok(SIZE) => Some(format!("{place} stays in memory")),
            Ok(_) | Err(Errno::AGAIN) => None,
            // tmpfs, overlayfs, FUSE.
            Err(error) => Some(format!("RWF_NOWAIT on {place}: {error}")),
        },
    )
}
