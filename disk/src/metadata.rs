//! What a filesystem knows of a file: statx(2).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The answer of statx(2), basic fields and mount.
///
/// ```
/// # fn example(metadata: ambidex_disk::Metadata) {
/// if metadata.is_file() {
///     println!("{} bytes", metadata.len());
/// }
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Metadata {
    pub(crate) statx: libc::statx,
}

impl Metadata {
    /// Wraps the kernel's answer; for implementations of [`Kernel`](crate::Kernel).
    #[must_use]
    pub fn from_statx(statx: libc::statx) -> Metadata {
        Metadata { statx }
    }

    fn kind(&self) -> u32 {
        u32::from(self.statx.stx_mode) & libc::S_IFMT
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind() == libc::S_IFREG
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }

    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.statx.stx_size
    }

    /// Whether the size is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Permission and type bits, as `st_mode` of stat(2).
    #[must_use]
    pub fn mode(&self) -> u32 {
        u32::from(self.statx.stx_mode)
    }

    /// Names of the file: 0 once the last is gone and it is only open.
    #[must_use]
    pub fn links(&self) -> u32 {
        self.statx.stx_nlink
    }

    /// Inode number: with [`Metadata::device`] it names the file.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.statx.stx_ino
    }

    /// Device as `major << 32 | minor`.
    #[must_use]
    pub fn device(&self) -> u64 {
        u64::from(self.statx.stx_dev_major) << 32 | u64::from(self.statx.stx_dev_minor)
    }

    /// The mount it was reached through, if the kernel tells (Linux 5.8).
    #[must_use]
    pub fn mount(&self) -> Option<u64> {
        (self.statx.stx_mask & libc::STATX_MNT_ID != 0).then_some(self.statx.stx_mnt_id)
    }

    /// Whether the file is in the state that it was in at `earlier`: the same inode, with as many names, the same mode
    /// and size, and the same times of the last change of content and of inode. What changed twice within one tick of
    /// the filesystem's clock (milliseconds; on FAT two seconds) may look unchanged.
    #[must_use]
    pub fn is_unchanged_since(&self, earlier: &Metadata) -> bool {
        let state = |metadata: &Metadata| {
            let status = metadata.statx;
            let [modified, changed] =
                [status.stx_mtime, status.stx_ctime].map(|time| (time.tv_sec, time.tv_nsec));
            let inode = (metadata.device(), metadata.inode(), metadata.mode());
            (inode, metadata.links(), metadata.len(), modified, changed)
        };
        state(self) == state(earlier)
    }

    /// Time of the last change of content, size, names, owner or mode: whole seconds since 1970, negative before. Unlike
    /// that of the content it cannot be set.
    #[must_use]
    pub fn changed_seconds(&self) -> i64 {
        self.statx.stx_ctime.tv_sec
    }

    /// Time of the last change of the content: seconds since 1970, negative before, and
    /// nanoseconds within the second.
    #[must_use]
    pub fn modified_parts(&self) -> (i64, u32) {
        let time = &self.statx.stx_mtime;
        (time.tv_sec, time.tv_nsec)
    }

    /// Time of the last change of the content. `None` if this platform's clock cannot express it.
    #[must_use]
    pub fn modified(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) = self.modified_parts();
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let second = if seconds < 0 {
            UNIX_EPOCH.checked_sub(whole)
        } else {
            UNIX_EPOCH.checked_add(whole)
        };
        second?.checked_add(Duration::from_nanos(u64::from(nanoseconds)))
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("mode", &format_args!("{:o}", self.mode()))
            .field("len", &self.len())
            .field("inode", &self.inode())
            .field("mount", &self.mount())
            .finish_non_exhaustive()
    }
}
