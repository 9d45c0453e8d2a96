//! A file's extents: sync, allocate, truncate, advise.

use std::io;
use std::ops::BitOr;
use std::rc::Rc;

use crate::file::File;
use crate::kernel::Change;
use crate::request::Request;
use crate::write::fits;

/// How blocks are allocated: `FALLOC_FL_*` of fallocate(2).
///
/// ```
/// use ambidex_disk::Allocate;
/// assert_ne!(Allocate::KEEP_SIZE | Allocate::ZERO, Allocate::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocate(i32);

impl Allocate {
    /// The length of the file stays as it is.
    pub const KEEP_SIZE: Allocate = Allocate(libc::FALLOC_FL_KEEP_SIZE);
    /// What is in the range becomes zeros. Not every filesystem can.
    pub const ZERO: Allocate = Allocate(libc::FALLOC_FL_ZERO_RANGE);
}

impl BitOr for Allocate {
    type Output = Allocate;
    fn bitor(self, other: Allocate) -> Allocate {
        Allocate(self.0 | other.0)
    }
}

/// What a program is going to do with a file: posix_fadvise(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing in particular.
    Normal,
    /// Read here and there: no read-ahead.
    Random,
    /// Read from front to back: more read-ahead.
    Sequential,
    /// Read soon: start reading into the page cache.
    WillNeed,
    /// Not read again soon: drop what is clean from the page cache.
    DontNeed,
    /// Read once.
    NoReuse,
}

impl Advice {
    fn raw(self) -> i32 {
        match self {
            Advice::Normal => libc::POSIX_FADV_NORMAL,
            Advice::Random => libc::POSIX_FADV_RANDOM,
            Advice::Sequential => libc::POSIX_FADV_SEQUENTIAL,
            Advice::WillNeed => libc::POSIX_FADV_WILLNEED,
            Advice::DontNeed => libc::POSIX_FADV_DONTNEED,
            Advice::NoReuse => libc::POSIX_FADV_NOREUSE,
        }
    }
}

/// What [`File::write_synced_at`] has on the disk when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// The bytes, and what of the metadata is needed to find them: fdatasync(2).
    Data,
    /// All of the metadata too: fsync(2).
    All,
}

/// Each of these goes to the ring, which hands it to a thread of the kernel; a sync of a memory
/// filesystem, which has nothing to do, is made on the calling thread. `EINTR` is retried: made
/// twice, each has the same effect as made once.
impl File {
    async fn change(&self, change: Change) -> io::Result<()> {
        let file = Rc::clone(self.descriptor());
        let (result, _) = self.run(Request::Change { file, change }).await;
        result.map(drop)
    }

    /// Waits until content and metadata are on the disk: fsync(2). A file that was just created
    /// also needs its directory synced.
    ///
    /// # Errors
    /// Those of fsync(2), unchanged: `EIO`, `ENOSPC`, `EDQUOT` of writes that failed late, reported
    /// once; the data may be gone by then. `EINVAL` for what cannot be synced, `EBADF` for a
    /// directory opened with [`OpenOptions::directory`](crate::OpenOptions::directory).
    ///
    /// # Cancel safety
    /// A dropped sync may still happen.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.change(Change::Sync).await
    }

    /// Waits until the content is on the disk, and what of the metadata is needed to read it:
    /// fdatasync(2).
    ///
    /// # Errors
    /// As [`File::sync_all`].
    ///
    /// # Cancel safety
    /// A dropped sync may still happen.
    pub async fn sync_data(&self) -> io::Result<()> {
        self.change(Change::SyncData).await
    }

    /// Waits until dirty pages of a range have been written out: sync_file_range(2), with all three
    /// flags. A `length` of 0 is all that follows. No metadata and no flush of the disk's own cache:
    /// this paces a writer, it does not make data safe.
    ///
    /// # Errors
    /// Those of sync_file_range(2), unchanged: `EIO`, `ENOSPC`; `ESPIPE` for what has no offsets;
    /// `EINVAL` for a range past `i64::MAX`.
    ///
    /// # Cancel safety
    /// A dropped sync may still happen.
    pub async fn sync_range(&self, offset: u64, length: u64) -> io::Result<()> {
        within(offset, length)?;
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        self.change(Change::SyncRange {
            offset,
            length,
            flags,
        })
        .await
    }

    /// Makes sure that writes to a range find room: fallocate(2). The file grows to its end, unless
    /// told otherwise.
    ///
    /// # Errors
    /// Those of fallocate(2), unchanged: `ENOSPC`, `EFBIG`, `EOPNOTSUPP` where the filesystem
    /// cannot; `EINVAL` for a length of 0 and for a range past `i64::MAX`.
    ///
    /// # Cancel safety
    /// A dropped allocation may still happen.
    pub async fn allocate(&self, offset: u64, length: u64, how: Allocate) -> io::Result<()> {
        let mode = how.0;
        self.extent(mode, offset, length).await
    }

    /// Gives the blocks of a range back: it reads as zeros from now on, and the length of the file
    /// stays (`FALLOC_FL_PUNCH_HOLE`, fallocate(2)).
    ///
    /// # Errors
    /// As [`File::allocate`].
    ///
    /// # Cancel safety
    /// A dropped call may still happen.
    pub async fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        self.extent(mode, offset, length).await
    }

    async fn extent(&self, mode: i32, offset: u64, length: u64) -> io::Result<()> {
        within(offset, length)?;
        self.change(Change::Allocate {
            mode,
            offset,
            length,
        })
        .await
    }

    /// Cuts the file off at `length` bytes, or extends it with a hole: ftruncate(2). io_uring can
    /// since Linux 6.9; before, a worker thread does it.
    ///
    /// # Errors
    /// Those of ftruncate(2), unchanged: `EINVAL` for a file that is not opened for writing and for
    /// a length past `i64::MAX`, `EFBIG`, `ENOSPC`.
    ///
    /// # Cancel safety
    /// A dropped call may still happen.
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        fits(length)?;
        self.change(Change::Truncate { length }).await
    }

    /// Says what the program is going to do with a range: posix_fadvise(2). A `length` of 0 is all
    /// that follows.
    ///
    /// # Errors
    /// Those of posix_fadvise(2): `ESPIPE` for a pipe, `EINVAL` for a range past `i64::MAX`.
    ///
    /// # Cancel safety
    /// A dropped call may still happen.
    pub async fn advise(&self, offset: u64, length: u64, advice: Advice) -> io::Result<()> {
        within(offset, length)?;
        let advice = advice.raw();
        self.change(Change::Advise {
            offset,
            length,
            advice,
        })
        .await
    }
}

/// Some system calls take a range that wraps for one without end: here each is an error.
fn within(offset: u64, length: u64) -> io::Result<()> {
    fits(offset.saturating_add(length))
}
