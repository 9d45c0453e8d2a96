//! Bytes from one descriptor to another, without a copy through this process where that can be.

use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use crate::buffer::IoBuf;
use crate::file::File;
use crate::kernel::Transfer;
use crate::operation;
use crate::policy::{Lane, Place};
use crate::request::Request;
use crate::ring::Handle;
use crate::write::fits;

/// What a copy through memory moves at a time.
const COPY_BYTES: usize = 128 * 1024;

/// How bytes are spliced: `SPLICE_F_*` of splice(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Splice(u32);

impl Splice {
    /// Do not wait for the pipe: `EAGAIN` (`WouldBlock`) instead.
    pub const NONBLOCK: Splice = Splice(libc::SPLICE_F_NONBLOCK);
    /// More will follow: a socket at the other end may wait for it.
    pub const MORE: Splice = Splice(libc::SPLICE_F_MORE);
}

impl BitOr for Splice {
    type Output = Splice;
    fn bitor(self, other: Splice) -> Splice {
        Splice(self.0 | other.0)
    }
}

impl File {
    /// Takes over a descriptor from elsewhere: a pipe to splice with, a file opened by others. A
    /// pipe may hang, so its operations go to worker threads; all pipes share one queue of
    /// [`Options::remote_max`](crate::Options::remote_max).
    ///
    /// # Errors
    /// Those of statx(2) on it; the descriptor is closed then. If the ring has been shut down.
    pub fn from_fd(handle: &Handle, fd: OwnedFd) -> io::Result<File> {
        let flags = handle.with_kernel(|kernel| kernel.flags(fd.as_fd()))?;
        File::adopt(handle, fd, None, flags)
    }

    /// Another descriptor of the same open file, which shares its position and its locks: fcntl(2)
    /// with `F_DUPFD_CLOEXEC`. A clone of the `File` shares the descriptor itself, and is what most
    /// want.
    ///
    /// # Errors
    /// `EMFILE`; if the ring has been shut down.
    pub fn try_clone(&self) -> io::Result<File> {
        let fd = self
            .ring()
            .with_kernel(|kernel| kernel.duplicate(self.as_fd()))?;
        File::adopt(self.ring(), fd, self.place().lane(), self.flags())
    }

    /// Copies up to `length` bytes from `offset` to `to_offset` of `to`, on a worker thread:
    /// copy_file_range(2), which on some filesystems shares the blocks instead. Between
    /// filesystems, and where it is not known, up to 128 KiB are read and written. Tells how many
    /// bytes were copied.
    ///
    /// Fewer than asked is normal; 0 is the end of this file (or a `length` of 0). `EINTR` before
    /// the first byte is retried.
    ///
    /// # Errors
    /// Those of copy_file_range(2), unchanged: `ENOSPC`, `EBADF` for a file opened for the wrong
    /// way or for appending, `EINVAL` for ranges of one file that overlap, and past `i64::MAX`...
    /// `InvalidInput` if the two belong to different rings.
    ///
    /// # Cancel safety
    /// A dropped copy may still happen, whole or in part.
    pub async fn copy_range(
        &self,
        offset: u64,
        to: &File,
        to_offset: u64,
        length: usize,
    ) -> io::Result<usize> {
        fits(offset.saturating_add(length as u64))?;
        fits(to_offset.saturating_add(length as u64))?;
        let copy = Transfer::Copy {
            from: offset,
            to: to_offset,
        };
        match self.transfer(to, length, copy, false).await {
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EXDEV | libc::EOPNOTSUPP | libc::ENOSYS)
                ) =>
            {
                let room = length.min(COPY_BYTES);
                let buffer = Vec::with_capacity(room).slice(0..room);
                let (result, buffer) = self.read_at(buffer, offset).await;
                result?;
                let buffer = buffer.into_inner();
                let copied = buffer.len();
                let (result, _) = to.write_all_at(buffer, to_offset).await;
                result.map(|()| copied)
            }
            result => result,
        }
    }

    /// Moves up to `length` bytes to `to`, one of the two being a pipe, on a worker thread:
    /// splice(2). Offsets are given for files and not for pipes. Tells how many bytes were moved.
    ///
    /// Fewer than asked is normal: what the pipe holds or has room for. 0 is the end of the file, or
    /// a pipe whose writers are gone. Without [`Splice::NONBLOCK`] it waits for the pipe, and keeps
    /// its thread and its place in the queue of pipes meanwhile: 32 such waits, and the one that
    /// would end them may not get its turn. `EINTR` before the first byte is retried.
    ///
    /// # Errors
    /// Those of splice(2), unchanged: `EINVAL` if neither is a pipe, `ESPIPE` for the offset of a
    /// pipe, `EAGAIN`, `EPIPE` (with the signal `SIGPIPE`)...; `EINVAL` for an offset past
    /// `i64::MAX`; `InvalidInput` if the two belong to different rings.
    ///
    /// # Cancel safety
    /// A dropped splice may still happen, and what it takes out of a pipe is gone.
    pub async fn splice_to(
        &self,
        offset: Option<u64>,
        to: &File,
        to_offset: Option<u64>,
        length: usize,
        how: Splice,
    ) -> io::Result<usize> {
        fits(offset.unwrap_or(0))?;
        fits(to_offset.unwrap_or(0))?;
        let splice = Transfer::Splice {
            from: offset,
            to: to_offset,
            flags: how.0,
        };
        self.transfer(to, length, splice, true).await
    }

    /// Duplicates up to `length` bytes of this pipe into the pipe `to` without taking them out, on a
    /// worker thread: tee(2). Tells how many bytes; 0 if there are none and no writers.
    ///
    /// # Errors
    /// Those of tee(2), unchanged: `EINVAL` if one of them is no pipe, or both are the same;
    /// otherwise as [`File::splice_to`].
    ///
    /// # Cancel safety
    /// A dropped tee may still happen.
    pub async fn tee_to(&self, to: &File, length: usize, how: Splice) -> io::Result<usize> {
        let tee = Transfer::Tee { flags: how.0 };
        self.transfer(to, length, tee, true).await
    }

    async fn transfer(
        &self,
        to: &File,
        length: usize,
        transfer: Transfer,
        may_hang: bool,
    ) -> io::Result<usize> {
        if !self.ring().is_same(to.ring()) {
            let text = "two files of one operation belong to the same ring";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut place = self.place().or_worse(to.place());
        if may_hang && !place.punt() {
            // A FIFO of a local filesystem.
            place = Place::Remote(Lane::crossing(b"pipe"));
        }
        let request = Request::Transfer {
            from: Rc::clone(self.descriptor()),
            to: Rc::clone(to.descriptor()),
            length,
            transfer,
        };
        let (result, _) = operation::run(self.ring(), request, place).await;
        result.map(|moved| moved as usize)
    }
}
